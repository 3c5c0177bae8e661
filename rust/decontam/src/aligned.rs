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

use crate::columns::{Columns, equal};
use crate::found::{Found, Match, best_of_spans};
use crate::index::list;
use crate::seeds::Seeds;
use crate::weights::Words;
use crate::window::Window;
use crate::{Error, Normalizer};

/// With so many n-grams in a question, a share SEEN of them must be hit.
const MANY_GRAMS: usize = 12;
const SEEN: f64 = 0.12;

/// What is known of an item beside its words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Sums of the question's weights, in 1/256 bit: all of them, and what few items share.
    pub total: u32,
    pub rest: u32,
    /// A hash of the question's words.
    question: u64,
    pub first_option: u32,
}

/// What a worker makes of an index, once: filter and look-up table, and the weight of each word of each item.
#[derive(Debug)]
pub struct Aligned {
    n: usize,
    seeds: Seeds,
    pub(crate) weights: Vec<u16>,
    pub(crate) rest: Vec<u16>,
    /// Sum of the weights of each option.
    pub(crate) masses: Vec<u32>,
    pub(crate) facts: Vec<Facts>,
}

impl Aligned {
    /// `weights[i]` is the weight of word i of the vocabulary, in 1/256 bit; `n` the words of an n-gram.
    pub fn new(
        columns: Columns<'_>,
        vocabulary: &[u32],
        weights: &[u16],
        n: usize,
    ) -> Result<Self, Error> {
        crate::check_length(n)?;
        columns.check()?;
        equal("weight", weights.len(), vocabulary.len())?;
        let words = Words::new(vocabulary);
        let weight = |&word: &u32| words.find(word).map_or(0, |at| weights[at]);
        let of_questions: Vec<u16> = columns.questions.iter().map(weight).collect();
        let rest: Vec<u16> = of_questions
            .iter()
            .zip(columns.frequencies)
            .map(|(&weight, &shared)| own_share(weight, shared))
            .collect();
        let sum = |values: &[u16]| values.iter().map(|&value| u32::from(value)).sum();
        let mut first_option = 0;
        let facts = columns
            .option_counts
            .iter()
            .enumerate()
            .map(|(item, &options)| {
                let question = list(columns.question_offsets, columns.questions, item);
                let facts = Facts {
                    total: sum(list(columns.question_offsets, &of_questions, item)),
                    rest: sum(list(columns.question_offsets, &rest, item)),
                    question: question.iter().fold(1, |state, &word| {
                        hash::mix(state ^ u64::from(word), 0x9E37_79B9_7F4A_7C15)
                    }),
                    first_option,
                };
                first_option += options;
                facts
            });
        let facts = facts.collect();
        let masses = (0..columns.option_offsets.len().saturating_sub(1))
            .map(|option| {
                list(columns.option_offsets, columns.options, option)
                    .iter()
                    .map(|w| u32::from(weight(w)))
                    .sum()
            })
            .collect();
        Ok(Self {
            n,
            seeds: Seeds::new(columns.postings.grams)?,
            weights: of_questions,
            rest,
            masses,
            facts,
        })
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
                let same = |a: u32, b: u32| {
                    self.facts[a as usize].question == self.facts[b as usize].question
                };
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
        let mut positions = std::mem::take(&mut self.positions);
        rule.seeds
            .candidates(hash::ngrams(words, rule.n), &mut positions);
        self.window.halves.clear();
        for &position in &positions {
            let at = position as usize;
            let gram = hash::ngrams(&words[at..at + rule.n], rule.n)
                .next()
                .unwrap_or(0);
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
                self.groups.push(Group {
                    item,
                    last: 0,
                    low: 0,
                    high: 0,
                    places: Vec::new(),
                });
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
        list(
            self.columns.question_offsets,
            self.columns.questions,
            item as usize,
        )
        .len()
    }

    /// Aligns the item of a group with its window: with several in turn where hits reach further than an item can, and
    /// again with what is left of a window on both sides of a match.
    fn judge(&mut self, slot: usize, words: &[u64]) {
        let (item, low, high) = (
            self.groups[slot].item,
            self.groups[slot].low,
            self.groups[slot].high,
        );
        let length = self.length(item);
        if self.groups[slot].places.len() < seeds_wanted(length, self.rule.n) {
            return;
        }
        if self.window.halves.is_empty() {
            self.window
                .halves
                .extend(words.iter().map(|&word| word as u32));
        }
        let low = low.clamp(0, words.len() as i64) as usize;
        let high = (high.max(low as i64 + 1) as usize).min(words.len());
        let longest = 4 * length + 60;
        let mut stretches = vec![(low, high)];
        while let Some((start, high)) = stretches.pop() {
            let end = high.min(start + longest);
            let found = self
                .window
                .compare(self.rule, self.columns, item, start, end);
            if let Some(found) = found {
                self.matches.push(found);
                // Another copy may stand on either side.
                let sides = [(start, found.start), (found.end, high)];
                stretches.extend(sides.iter().filter(|(from, to)| 2 * (to - from) >= length));
            } else if end < high {
                stretches.push((start + longest / 2, high));
            }
        }
    }
}

/// How many distinct places of an item must be hit.
fn seeds_wanted(length: usize, n: usize) -> usize {
    let grams = length.saturating_sub(n - 1);
    if grams >= MANY_GRAMS {
        (SEEN * grams as f64).ceil() as usize
    } else {
        1
    }
}
