//! From bytes to text, and to an explanation of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use curate_text::Cpu;

use crate::Error;
use crate::choose::{Choice, Comments, Why, choose};
use crate::decode::decode;
use crate::features::measured::Measured;
use crate::features::second::weight;
use crate::features::{first, second};
use crate::kinds::{KINDS, Kinds, most_probable};
use crate::limits::Policy;
use crate::model::Model;
use crate::output::{self, Form, Format, Typed};
use crate::page::{NONE, Page};
use crate::tokenizer::parse;
use crate::units::Units;

/// Larger pages are refused: places are 32 bits, and references can make text longer than its page.
const MAX_BYTES: usize = 1 << 30;

/// From this many blocks on rows are made twice instead of kept.
const MANY_BLOCKS: usize = 2048;

/// How a page is extracted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The form of the text.
    pub form: Form,
    /// What happens to readers' comments.
    pub comments: Comments,
}

/// What came of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// The main content by each policy that was asked for.
    pub texts: Vec<Text>,
    /// The title element, white space collapsed.
    pub title: String,
    /// The language tag that the page declares, in lower case; empty where it declares none.
    pub language: String,
    /// The kind of page that is most probable, one of `KINDS`; empty where the page has no text.
    pub kind: &'static str,
    /// How probable that kind is, 0..1.
    pub kind_score: f32,
    /// The encoding that the page was decoded by.
    pub encoding: &'static str,
    /// Replacement characters in the decoded page.
    pub n_replaced: usize,
    /// The typed blocks of the text, where they were asked for.
    pub blocks: Vec<Typed>,
}

/// The main content of a page by one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The text, without NUL characters and without white space around it.
    pub text: String,
    /// Mean probability of the words chosen, 0..1; 0 where nothing was chosen.
    pub score: f32,
    /// Words chosen among the words of the page, 0..1.
    pub share: f32,
}

/// One block of a page, and what was decided about it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its text.
    pub text: String,
    /// The elements around it, outermost first: `body > div > p`.
    pub path: String,
    /// What the first stage said.
    pub first: f32,
    /// What the second stage said, which decides.
    pub probability: f32,
    /// Whether it is part of the text.
    pub kept: bool,
    /// The units around it, outermost first, each with its number: `table 3 > row 5`; empty without one.
    pub unit: String,
    /// Why it is kept or not.
    pub why: String,
    /// Features by how far they moved the score (log-odds), the farthest first: feature, value, movement.
    pub reasons: Vec<(String, f32, f32)>,
}

/// A model and the buffers that it works in.
pub struct Extractor<'m> {
    model: &'m Model,
    cpu: Cpu,
    measured: Measured,
    rows: Vec<f32>,
    said: Vec<f32>,
    probabilities: Vec<f32>,
}

impl<'m> Extractor<'m> {
    /// An extractor by this model.
    pub fn new(model: &'m Model, cpu: Cpu) -> Self {
        Self {
            model,
            cpu,
            measured: Measured::default(),
            rows: Vec::new(),
            said: Vec::new(),
            probabilities: Vec::new(),
        }
    }

    /// The main content of a page by each of the policies; `declared` is the charset that the server declared. A
    /// panic is an error, and the extractor goes on with the next page.
    pub fn extract(
        &mut self,
        page: &[u8],
        declared: Option<&str>,
        settings: Settings,
        policies: &[Policy],
    ) -> Result<Extracted, Error> {
        self.guarded(page, |this| this.run(page, declared, settings, policies))?
    }

    /// Every block of a page with what was decided about it by a policy, and why.
    pub fn explain(
        &mut self,
        page: &[u8],
        declared: Option<&str>,
        settings: Settings,
        policy: Policy,
    ) -> Result<Vec<Decision>, Error> {
        self.guarded(page, |this| {
            this.decisions(page, declared, settings, policy)
        })?
    }

    fn guarded<T>(&mut self, page: &[u8], work: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        if page.len() > MAX_BYTES {
            return Err(Error::TooLarge {
                bytes: page.len(),
                limit: MAX_BYTES,
            });
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        outcome.map_err(|panic| {
            *self = Self::new(self.model, self.cpu);
            let words = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            Error::Failed {
                what: words.unwrap_or_else(|| "no reason given".to_owned()),
            }
        })
    }

    fn run(
        &mut self,
        bytes: &[u8],
        declared: Option<&str>,
        settings: Settings,
        policies: &[Policy],
    ) -> Result<Extracted, Error> {
        let decoded = decode(bytes, declared);
        let page = parse(&decoded.text)?;
        let mut extracted = Extracted {
            texts: vec![Text::default(); policies.len()],
            title: String::from_utf8_lossy(&page.title).into_owned(),
            language: page.language.clone(),
            encoding: decoded.encoding,
            n_replaced: decoded.n_replaced,
            ..Extracted::default()
        };
        drop(decoded); // it may be as large as the page
        if page.blocks.is_empty() {
            return Ok(extracted);
        }
        let units = Units::of(&page);
        let kinds = self.model.kinds.kinds(&page);
        let kind = most_probable(&kinds);
        (extracted.kind, extracted.kind_score) = (KINDS[kind], kinds[kind]);
        self.score(&page, &units, &kinds);
        for (at, &policy) in policies.iter().enumerate() {
            let kept = self.choose(&page, &units, &kinds, settings, policy).kept;
            let (score, share) = self.confidence(&kept);
            let form = settings.form;
            let text = if at == 0 && form.format == Format::Blocks {
                let text;
                (text, extracted.blocks) = output::typed(&page, &kept, form, &self.probabilities);
                text
            } else {
                output::write(&page, &kept, form)
            };
            extracted.texts[at] = Text {
                text: trimmed(text),
                score,
                share,
            };
        }
        if page.blocks.len() > MANY_BLOCKS {
            *self = Self::new(self.model, self.cpu); // one huge page must not hold memory for ever
        }
        Ok(extracted)
    }

    fn choose(
        &self,
        page: &Page,
        units: &Units,
        kinds: &Kinds,
        settings: Settings,
        policy: Policy,
    ) -> Choice {
        choose(
            page,
            &self.measured,
            units,
            kinds,
            &self.probabilities,
            settings.comments,
            policy,
        )
    }

    /// Fills `said` and `probabilities`.
    fn score(&mut self, page: &Page, units: &Units, kinds: &Kinds) {
        let n = page.blocks.len();
        let (model, cpu, measured, rows) =
            (self.model, self.cpu, &mut self.measured, &mut self.rows);
        measured.measure(page, &model.linear);
        let first = first::View::new(page, &model.linear, measured, kinds);
        // The second stage reads the first's rows again; those of a page of many blocks are made twice instead.
        let keeps = n <= MANY_BLOCKS;
        rows.clear();
        let write = |block: usize, row: &mut Vec<f32>| {
            first.write(block, row);
            if keeps {
                rows.extend_from_slice(row);
            }
        };
        model.first.probabilities(n, write, cpu, &mut self.said);
        let second = second::View::new(page, measured, units, &self.said);
        let width = rows.len() / n;
        let write = |block: usize, row: &mut Vec<f32>| {
            if keeps {
                row.extend_from_slice(&rows[block * width..][..width]);
            } else {
                first.write(block, row);
            }
            second.write(block, row);
        };
        model
            .second
            .probabilities(n, write, cpu, &mut self.probabilities);
    }

    fn confidence(&self, kept: &[bool]) -> (f32, f32) {
        let (mut chosen, mut all, mut sure) = (0.0, 0.0, 0.0);
        for (block, shape) in self.measured.shapes.iter().enumerate() {
            let words = weight(shape.words);
            all += words;
            if kept[block] {
                chosen += words;
                sure += words * self.probabilities[block];
            }
        }
        let score = if chosen > 0.0 { sure / chosen } else { 0.0 };
        (score, chosen / all)
    }

    fn decisions(
        &mut self,
        bytes: &[u8],
        declared: Option<&str>,
        settings: Settings,
        policy: Policy,
    ) -> Result<Vec<Decision>, Error> {
        let decoded = decode(bytes, declared);
        let page = parse(&decoded.text)?;
        if page.blocks.is_empty() {
            return Ok(Vec::new());
        }
        let units = Units::of(&page);
        let kinds = self.model.kinds.kinds(&page);
        self.score(&page, &units, &kinds);
        let choice = self.choose(&page, &units, &kinds, settings, policy);
        let names = crate::features::all();
        let first = first::View::new(&page, &self.model.linear, &self.measured, &kinds);
        let second = second::View::new(&page, &self.measured, &units, &self.said);
        let decide = |block: usize| {
            let mut row = Vec::new();
            first.write(block, &mut row);
            second.write(block, &mut row);
            let moved = self.model.second.contributions(&row);
            let mut order: Vec<usize> = (0..moved.len()).filter(|&f| moved[f] != 0.0).collect();
            order.sort_by(|&a, &b| moved[b].abs().total_cmp(&moved[a].abs()).then(a.cmp(&b)));
            let reasons = order
                .iter()
                .map(|&f| (names[f].0.clone(), row[f], moved[f]));
            Decision {
                text: page.text_of(block).into_owned(),
                path: path(&page, block),
                first: self.said[block],
                probability: self.probabilities[block],
                kept: choice.kept[block],
                unit: units.path(block),
                why: said_of(choice.why[block], choice.limits[block], &units),
                reasons: reasons.collect(),
            }
        };
        Ok((0..page.blocks.len()).map(decide).collect())
    }
}

/// A reason as a person reads it; blocks and units are named by their numbers from 0.
fn said_of(why: Why, limit: f32, units: &Units) -> String {
    let name = |unit: u32| format!("{} {unit}", units.all[unit as usize].kind.name());
    match why {
        Why::Itself => format!("by itself, limit {limit:.2}"),
        Why::Equals(mean) => format!("equal markup has {mean:.2} in the mean, limit {limit:.2}"),
        Why::Unit(unit, mean) => {
            format!("{} has {mean:.2} in the mean, limit {limit:.2}", name(unit))
        }
        Why::MostOf(unit) => format!("most of {} is kept", name(unit)),
        Why::Among(unit) => format!("{} stays with others that are kept", name(unit)),
        Why::HeadOf(unit) => format!("head of {}", name(unit)),
        Why::Beside(unit) => format!("{} stands among kept text", name(unit)),
        Why::Cited(unit) => format!("{} has the notes of kept text", name(unit)),
        Why::Leads(block) => format!("leads block {block}"),
        Why::Comment => "comment".to_owned(),
        Why::Repeats(block) => format!("repeats block {block}"),
    }
}

/// Without white space around it, as Python's `str.strip` means it.
fn trimmed(mut text: String) -> String {
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    text.truncate(text.trim_end_matches(blank).len());
    text.drain(..text.len() - text.trim_start_matches(blank).len());
    text
}

fn path(page: &Page, block: usize) -> String {
    let mut names = Vec::new();
    let mut at = page.blocks[block].node;
    while at != NONE {
        names.push(page.nodes[at as usize].tag.name());
        at = page.nodes[at as usize].parent;
    }
    names.reverse();
    names.join(" > ")
}
