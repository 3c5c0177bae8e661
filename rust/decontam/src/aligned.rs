//! The rule for edited copies: n-grams of an item as seeds, then a weighted alignment with its question.
//!
//! ```text
//! seeds      every position of a document is looked up; hits of one item are one group while gaps are at most
//!            len/2 + 12 words
//! bound      a group whose window lacks too many of the question's words is given up
//! align      s = (cL + cR) / 2: cL is the share of the question's bits that is matched, cR that in runs of 2 or more
//! evidence   options or the answer near the question
//! template   T are the bits of the question that few items share, cT their matched share
//! ```
//!
//! Thresholds were chosen on plants of other seeds than those that measure them: benchmarks/decontamination.md.

use curate_text::{Texts, hash};

use crate::align::{Aligner, UNIT};
use crate::found::{Found, Match, best_of_spans};
use crate::index::list;
use crate::seeds::Seeds;
use crate::weights::Words;
use crate::{Error, Normalizer};

/// Words around the window in which options and answers are looked for.
const NEAR: usize = 60;
/// With so many n-grams in a question, a share SEEN of them must be hit.
const MANY_GRAMS: usize = 12;
const SEEN: f64 = 0.12;
/// No rule fires below this score, so no window that holds fewer of the question's bits need be aligned.
const LEAST: f64 = 0.58;

/// An index as slices; they are described at `Index`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Columns<'a> {
    pub question_offsets: &'a [i64],
    pub questions: &'a [u32],
    pub frequencies: &'a [u16],
    pub option_counts: &'a [u32],
    pub option_offsets: &'a [i64],
    pub options: &'a [u32],
    pub answer_offsets: &'a [i64],
    pub answers: &'a [u32],
    pub postings: Postings<'a>,
}

/// n-grams and where they stand, as slices; they are described at `Index`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Postings<'a> {
    pub grams: &'a [u64],
    pub offsets: &'a [i64],
    pub items: &'a [u32],
    pub places: &'a [u16],
}

impl<'a> Postings<'a> {
    /// Every posting is of one of `items` items.
    pub(crate) fn check(self, items: usize) -> Result<(), Error> {
        let wanted = self.offsets.last().map_or(0, |&end| end as usize);
        equal("gram", self.grams.len() + 1, self.offsets.len())?;
        equal("item", self.items.len(), wanted)?;
        equal("place", self.places.len(), wanted)?;
        let most = self.items.iter().max().map_or(0, |&item| item as usize + 1);
        equal("items", most.max(items), items)
    }

    /// (item, place) of every posting of an n-gram.
    #[inline]
    pub(crate) fn of(self, gram: usize) -> impl Iterator<Item = (u32, usize)> + 'a {
        let range = self.offsets[gram] as usize..self.offsets[gram + 1] as usize;
        let places = self.places[range.clone()].iter().map(|&place| usize::from(place));
        self.items[range].iter().copied().zip(places)
    }
}

impl Columns<'_> {
    /// The columns belong together, so that no place in one is outside of another.
    fn check(&self) -> Result<(), Error> {
        let items = self.option_counts.len();
        let options: usize = self.option_counts.iter().map(|&count| count as usize).sum();
        equal("question", self.question_offsets.len(), items + 1)?;
        equal("frequency", self.frequencies.len(), self.questions.len())?;
        equal("option", self.option_offsets.len(), options + 1)?;
        equal("answer", self.answer_offsets.len(), items + 1)?;
        self.postings.check(items)
    }
}

fn equal(column: &'static str, found: usize, wanted: usize) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(Error::Column { column, found, wanted }) }
}

/// What is known of an item beside its words.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Sums of the question's weights, in 1/256 bit: all of them, and what few items share.
    total: u32,
    rest: u32,
    /// A hash of the question's words.
    question: u64,
    first_option: u32,
}

/// What a worker makes of an index, once: filter and look-up table, and the weight of each word of each item.
#[derive(Debug)]
pub struct Aligned {
    n: usize,
    seeds: Seeds,
    weights: Vec<u16>,
    rest: Vec<u16>,
    /// Sum of the weights of each option.
    masses: Vec<u32>,
    facts: Vec<Facts>,
}

impl Aligned {
    /// `weights[i]` is the weight of word i of the vocabulary, in 1/256 bit; `n` the words of an n-gram.
    pub fn new(columns: Columns<'_>, vocabulary: &[u32], weights: &[u16], n: usize) -> Result<Self, Error> {
        crate::check_length(n)?;
        columns.check()?;
        equal("weight", weights.len(), vocabulary.len())?;
        let words = Words::new(vocabulary);
        let weight = |&word: &u32| words.find(word).map_or(0, |at| weights[at]);
        let of_questions: Vec<u16> = columns.questions.iter().map(weight).collect();
        let rest: Vec<u16> =
            of_questions.iter().zip(columns.frequencies).map(|(&weight, &shared)| own_share(weight, shared)).collect();
        let sum = |values: &[u16]| values.iter().map(|&value| u32::from(value)).sum();
        let mut first_option = 0;
        let facts = columns.option_counts.iter().enumerate().map(|(item, &options)| {
            let question = list(columns.question_offsets, columns.questions, item);
            let facts = Facts {
                total: sum(list(columns.question_offsets, &of_questions, item)),
                rest: sum(list(columns.question_offsets, &rest, item)),
                question: question.iter().fold(1, |state, &word| hash::mix(state ^ u64::from(word), 0x9E37_79B9_7F4A_7C15)),
                first_option,
            };
            first_option += options;
            facts
        });
        let facts = facts.collect();
        let masses = (0..columns.option_offsets.len().saturating_sub(1))
            .map(|option| list(columns.option_offsets, columns.options, option).iter().map(|w| u32::from(weight(w))).sum())
            .collect();
        Ok(Self { n, seeds: Seeds::new(columns.postings.grams)?, weights: of_questions, rest, masses, facts })
    }

    /// Every item that the rule finds in every text, the best of each span.
    pub fn find(&self, columns: Columns<'_>, texts: Texts<'_>) -> Result<Found, Error> {
        let mut search = Search::new(self, columns);
        let mut normalizer = Normalizer::default();
        let (mut found, mut owners) = (Found::default(), Vec::new());
        for row in 0..texts.len() {
            let text = texts.text(row)?;
            let hashes = normalizer.scan(row, text)?;
            let words = hashes.len();
            let matches = search.document(hashes);
            if !matches.is_empty() {
                let same = |a: u32, b: u32| self.facts[a as usize].question == self.facts[b as usize].question;
                let kept = best_of_spans(matches, words, &mut owners, same);
                found.add(row, &kept, &normalizer.spans(row, text)?);
            }
        }
        Ok(found)
    }
}

/// The part of a word's weight that is left where `shared` items have the words around it: all at 3, none at 12.
fn own_share(weight: u16, shared: u16) -> u16 {
    let lost = (f64::from(shared.max(1)) / 3.0).ln() / 4.0_f64.ln();
    (f64::from(weight) * (1.0 - lost.clamp(0.0, 1.0))).round() as u16
}

/// Hits of one item that stand close together.
#[derive(Debug)]
struct Group {
    item: u32,
    /// The word of the last hit.
    last: usize,
    /// Where the item begins and ends if its words stand as its hits do, with a quarter more on both sides.
    low: i64,
    high: i64,
    /// Distinct places in the item that were hit; no more than are asked for.
    places: Vec<u16>,
}

/// The search of one batch of documents, with its buffers.
struct Search<'a> {
    rule: &'a Aligned,
    columns: Columns<'a>,
    positions: Vec<u32>,
    /// The open group of each item, by its number in `groups`.
    open: Vec<u32>,
    groups: Vec<Group>,
    used: usize,
    window: Window,
    matches: Vec<Match>,
}

const NO_GROUP: u32 = u32::MAX;

impl<'a> Search<'a> {
    fn new(rule: &'a Aligned, columns: Columns<'a>) -> Self {
        Self {
            rule,
            columns,
            positions: Vec::new(),
            open: vec![NO_GROUP; rule.facts.len()],
            groups: Vec::new(),
            used: 0,
            window: Window::default(),
            matches: Vec::new(),
        }
    }

    /// The items that the rule finds in a document of these words.
    fn document(&mut self, words: &[u64]) -> Vec<Match> {
        let Self { rule, columns, .. } = *self;
        // Positions that pass the filter are stored without a branch: what is not kept is written over.
        let grams = hash::ngrams(words, rule.n);
        self.positions.clear();
        self.positions.resize(grams.len() + 1, 0);
        let mut count = 0;
        for (position, gram) in grams.enumerate() {
            self.positions[count] = position as u32;
            count += usize::from(rule.seeds.may_have(gram));
        }
        let mut positions = std::mem::take(&mut self.positions);
        positions.truncate(count);
        self.window.halves.clear();
        for &position in &positions {
            let at = position as usize;
            let gram = hash::ngrams(&words[at..at + rule.n], rule.n).next().unwrap_or(0);
            if let Some(place) = rule.seeds.find(columns.postings.grams, gram) {
                for (item, question_place) in columns.postings.of(place) {
                    self.hit(item, question_place, at, words);
                }
            }
        }
        self.positions = positions;
        for group in 0..self.used {
            self.open[self.groups[group].item as usize] = NO_GROUP;
            self.judge(group, words);
        }
        self.used = 0;
        std::mem::take(&mut self.matches)
    }

    /// Takes a hit of an item: it belongs to the open group, or ends it and begins another.
    fn hit(&mut self, item: u32, place: usize, at: usize, words: &[u64]) {
        let length = self.length(item);
        let mut slot = self.open[item as usize] as usize;
        if slot == NO_GROUP as usize {
            slot = self.used;
            self.used += 1;
            self.open[item as usize] = slot as u32;
            if slot == self.groups.len() {
                self.groups.push(Group { item, last: 0, low: 0, high: 0, places: Vec::new() });
            }
            self.begin(slot, item, at);
        } else if at - self.groups[slot].last > length / 2 + 12 {
            self.judge(slot, words);
            self.begin(slot, item, at);
        }
        let wanted = seeds_wanted(length, self.rule.n);
        let group = &mut self.groups[slot];
        let (at, place, length) = (at as i64, place as i64, length as i64);
        let behind = length - place;
        group.last = at as usize;
        group.low = group.low.min(at - place - (place / 4 + 2));
        group.high = group.high.max(at + behind + behind.max(0) / 4 + 3);
        if group.places.len() < wanted && !group.places.contains(&(place as u16)) {
            group.places.push(place as u16);
        }
    }

    fn begin(&mut self, slot: usize, item: u32, at: usize) {
        let group = &mut self.groups[slot];
        (group.item, group.last, group.low, group.high) = (item, at, i64::MAX, 0);
        group.places.clear();
    }

    fn length(&self, item: u32) -> usize {
        list(self.columns.question_offsets, self.columns.questions, item as usize).len()
    }

    /// Aligns the item of a group with its window; with several in turn where hits reach further than an item can.
    fn judge(&mut self, slot: usize, words: &[u64]) {
        let (item, low, high) = (self.groups[slot].item, self.groups[slot].low, self.groups[slot].high);
        let length = self.length(item);
        if self.groups[slot].places.len() < seeds_wanted(length, self.rule.n) {
            return;
        }
        if self.window.halves.is_empty() {
            self.window.halves.extend(words.iter().map(|&word| word as u32));
        }
        let low = low.clamp(0, words.len() as i64) as usize;
        let high = (high.max(low as i64 + 1) as usize).min(words.len());
        let longest = 4 * length + NEAR;
        let mut start = low;
        loop {
            let end = high.min(start + longest);
            if let Some(found) = self.window.compare(self.rule, self.columns, item, start, end) {
                self.matches.push(found);
            }
            if end == high {
                return;
            }
            start += longest / 2;
        }
    }
}

/// How many distinct places of an item must be hit.
fn seeds_wanted(length: usize, n: usize) -> usize {
    let grams = length.saturating_sub(n - 1);
    if grams >= MANY_GRAMS { (SEEN * grams as f64).ceil() as usize } else { 1 }
}

/// What is measured of an item in a window. Shares are of bits.
#[derive(Clone, Copy, Debug)]
struct Measures {
    /// Bits of the question, and of what few items share of it.
    bits: f64,
    own_bits: f64,
    /// The share that is matched, that in runs, and that in runs of what few items share.
    matched: f64,
    in_runs: f64,
    own_in_runs: f64,
    /// Share of the options' bits that stands near; none where there are no options.
    options: Option<f64>,
    /// Share of the answer that stands near, if it has three words or more.
    answer: Option<f64>,
}

impl Measures {
    fn score(&self) -> f64 {
        (self.matched + self.in_runs) / 2.0
    }

    /// Whether what stands near is evidence, and whether it is nearly all.
    fn evidence(&self) -> (bool, bool) {
        let answer = self.answer.unwrap_or(0.0);
        match self.options {
            Some(options) => (options >= 0.5 || answer >= 0.8, options >= 0.8),
            None => (answer >= 0.6, answer >= 0.8),
        }
    }

    /// The limit that the score reaches, and whether the match is sure; none where the rule does not fire.
    fn fires(&self) -> Option<(f64, bool)> {
        let (some, full) = self.evidence();
        let usual = 0.65 + 0.25 * ((60.0 - self.bits) / 30.0).clamp(0.0, 1.0);
        let limits = [
            (self.bits >= 30.0).then_some(usual),
            (self.bits >= 20.0 && some).then_some((usual - 0.12).max(LEAST)),
            (self.bits < 30.0 && full).then_some(0.9),
        ];
        let sure = self.bits >= 60.0 || full;
        if self.own_bits < (0.15 * self.bits).max(20.0) {
            let exact = self.matched >= 0.97 && self.in_runs >= 0.97;
            return (exact && (self.bits >= 45.0 || full)).then_some((0.97, sure));
        }
        let limit = limits.into_iter().flatten().reduce(f64::min)?;
        let template = self.own_bits < 0.95 * self.bits && self.own_in_runs < 0.75;
        (self.score() >= limit && !template).then_some((limit, sure))
    }

    /// What decides between items of one span.
    fn rank(&self) -> f64 {
        let beside = self.options.unwrap_or(0.0) + 0.5 * self.answer.unwrap_or(0.0);
        1000.0 * self.score() + 10.0 * self.own_in_runs + beside
    }
}

/// The comparison of an item with a stretch of a document, with its buffers.
#[derive(Debug, Default)]
struct Window {
    /// The low half of each hash of the document.
    halves: Vec<u32>,
    sorted: Vec<u32>,
    aligner: Aligner,
    near: Near,
}

impl Window {
    /// Compares an item with the words `start..end`.
    fn compare(&mut self, rule: &Aligned, columns: Columns<'_>, item: u32, start: usize, end: usize) -> Option<Match> {
        let question = list(columns.question_offsets, columns.questions, item as usize);
        let weights = list(columns.question_offsets, &rule.weights, item as usize);
        let rest = list(columns.question_offsets, &rule.rest, item as usize);
        let facts = rule.facts[item as usize];
        let total = f64::from(facts.total);
        let window = &self.halves[start..end];
        self.sorted.clear();
        self.sorted.extend_from_slice(window);
        self.sorted.sort_unstable();
        let there = question.iter().zip(weights).filter(|(word, _)| self.sorted.binary_search(word).is_ok());
        let present: u32 = there.map(|(_, &weight)| u32::from(weight)).sum();
        if total == 0.0 || f64::from(present) < LEAST * total {
            return None;
        }
        self.aligner.align(question, weights, window);
        let (mut matched, mut in_runs, mut own) = (0_u32, 0_u32, 0_u32);
        let (mut first, mut last) = (usize::MAX, 0);
        for (i, &at) in self.aligner.matched.iter().enumerate() {
            if at == usize::MAX {
                continue;
            }
            matched += u32::from(weights[i]);
            if self.aligner.in_run(i) {
                in_runs += u32::from(weights[i]);
                own += u32::from(rest[i]);
                (first, last) = (first.min(at), last.max(at));
            }
        }
        let mut measures = Measures {
            bits: total / UNIT,
            own_bits: f64::from(facts.rest) / UNIT,
            matched: f64::from(matched) / total,
            in_runs: f64::from(in_runs) / total,
            own_in_runs: f64::from(own) / f64::from(facts.rest.max(1)),
            options: None,
            answer: None,
        };
        if measures.score() < LEAST {
            return None;
        }
        self.look_near(rule, columns, item, start, end, &mut measures);
        let (limit, sure) = measures.fires()?;
        Some(Match {
            item,
            score: measures.score(),
            limit,
            evidence: measures.options.or(measures.answer).unwrap_or(-1.0),
            sure,
            start: start + first,
            end: start + last + 1,
            rank: measures.rank(),
        })
    }

    /// Fills in how much of the item's options and answer stands near.
    fn look_near(
        &mut self,
        rule: &Aligned,
        columns: Columns<'_>,
        item: u32,
        start: usize,
        end: usize,
        measures: &mut Measures,
    ) {
        let first = rule.facts[item as usize].first_option as usize;
        let options = first..first + columns.option_counts[item as usize] as usize;
        let words = |option: usize| list(columns.option_offsets, columns.options, option);
        let reach = NEAR + options.clone().map(|option| words(option).len() + 1).sum::<usize>();
        let near = &self.halves[start.saturating_sub(NEAR)..(end + reach).min(self.halves.len())];
        self.near.begin();
        let (mut mass, mut found) = (0.0, 0.0);
        for option in options.clone() {
            mass += f64::from(rule.masses[option]);
            found += f64::from(rule.masses[option]) * self.near.share(near, words(option));
        }
        if !options.is_empty() {
            measures.options = Some(if mass > 0.0 { found / mass } else { 0.0 });
        }
        let answer = list(columns.answer_offsets, columns.answers, item as usize);
        if answer.len() >= 3 {
            measures.answer = Some(self.near.share(near, answer));
        }
    }
}

/// How much of a text stands in a stretch of words: all or nothing up to 5 words, else the share of its trigrams.
#[derive(Debug, Default)]
struct Near {
    trigrams: Vec<u64>,
    made: bool,
}

impl Near {
    /// Forgets the stretch before.
    fn begin(&mut self) {
        self.made = false;
    }

    fn share(&mut self, near: &[u32], text: &[u32]) -> f64 {
        if text.is_empty() {
            return 0.0;
        }
        if text.len() <= 5 {
            return f64::from(u8::from(near.windows(text.len()).any(|window| window == text)));
        }
        if !self.made {
            self.trigrams.clear();
            self.trigrams.extend(near.windows(3).map(trigram));
            self.trigrams.sort_unstable();
            self.made = true;
        }
        let found = text.windows(3).filter(|three| self.trigrams.binary_search(&trigram(three)).is_ok()).count();
        found as f64 / (text.len() - 2) as f64
    }
}

fn trigram(words: &[u32]) -> u64 {
    words.iter().fold(0, |state, &word| hash::mix(state ^ u64::from(word), 0x9E37_79B9_7F4A_7C15))
}
