//! The rules of other tools, which count word n-grams of an item and align nothing.

use curate_text::{Texts, hash};

use crate::columns::Postings;
use crate::found::{Found, Match, best_of_spans};
use crate::seeds::Seeds;
use crate::{Error, Normalizer, check_length};

/// What a rule counts, and the share of it that is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counting {
    /// One n-gram of any item.
    Any,
    /// The words of an item that its n-grams in the document cover, among all its words.
    Words(f64),
    /// The distinct n-grams of an item in the document, among all of them.
    Grams(f64),
    /// The n-grams of a line of the document that are of any item, among all of the line.
    Paragraph(f64),
}

/// What a worker makes of an index, once.
#[derive(Debug)]
pub struct Ngrams {
    n: usize,
    counting: Counting,
    seeds: Seeds,
}

impl Ngrams {
    /// `n` is the number of words of the grams in `postings`, `lengths[i]` that of item i.
    pub fn new(
        postings: Postings<'_>,
        lengths: &[u32],
        n: usize,
        counting: Counting,
    ) -> Result<Self, Error> {
        check_length(n)?;
        postings.check(lengths.len())?;
        Ok(Self {
            n,
            counting,
            seeds: Seeds::new(postings.grams)?,
        })
    }

    /// Every item that the rule finds in every text; postings and lengths are those that it was made with.
    pub fn find(
        &self,
        postings: Postings<'_>,
        lengths: &[u32],
        texts: Texts<'_>,
    ) -> Result<Found, Error> {
        let mut search = Search {
            rule: self,
            postings,
            lengths,
            slots: vec![NONE; lengths.len()],
            touched: Vec::new(),
            covered: Vec::new(),
            positions: Vec::new(),
        };
        let mut normalizer = Normalizer::default();
        let (mut found, mut owners) = (Found::default(), Vec::new());
        for row in 0..texts.len() {
            let text = texts.text(row)?;
            if let Counting::Paragraph(limit) = self.counting {
                let mut first = 0;
                for line in text.split('\n') {
                    let matches = search.line(normalizer.scan(row, line)?, limit);
                    if !matches.is_empty() {
                        let spans = normalizer.spans(row, line)?;
                        let moved: Vec<(u32, u32)> = spans
                            .iter()
                            .map(|&(start, end)| (start + first, end + first))
                            .collect();
                        found.add(row, &matches, &moved);
                    }
                    first += line.len() as u32 + 1;
                }
                continue;
            }
            let hashes = normalizer.scan(row, text)?;
            let (hits, words) = (search.hits(hashes), hashes.len());
            if hits.is_empty() {
                continue;
            }
            let matches = match self.counting {
                Counting::Words(limit) | Counting::Grams(limit) => search.covering(&hits, limit),
                _ => search.runs(&hits),
            };
            if !matches.is_empty() {
                let kept = best_of_spans(matches, words, &mut owners, |_, _| false);
                found.add(row, &kept, &normalizer.spans(row, text)?);
            }
        }
        Ok(found)
    }
}

const NONE: u32 = u32::MAX;

/// A position of a document, and the place of its n-gram among those of the index.
type Hit = (usize, usize);

struct Search<'a> {
    rule: &'a Ngrams,
    postings: Postings<'a>,
    lengths: &'a [u32],
    /// A number for each item that was hit; it is the place in `touched`.
    slots: Vec<u32>,
    touched: Vec<u32>,
    /// A bit for each word of the items that were hit, each beginning with a new number.
    covered: Vec<u64>,
    positions: Vec<u32>,
}

impl Search<'_> {
    fn hits(&mut self, words: &[u64]) -> Vec<Hit> {
        let (n, seeds, grams) = (self.rule.n, &self.rule.seeds, self.postings.grams);
        seeds.candidates(hash::ngrams(words, n), &mut self.positions);
        let places = self.positions.iter().map(|&position| position as usize);
        let found = places.map(|at| (at, hash::ngrams(&words[at..at + n], n).next().unwrap_or(0)));
        found
            .filter_map(|(at, gram)| Some((at, seeds.find(grams, gram)?)))
            .collect()
    }

    /// The number of an item among those that were hit, given at its first hit; whether this is the first.
    fn slot(&mut self, item: u32) -> (usize, bool) {
        let slot = &mut self.slots[item as usize];
        let new = *slot == NONE;
        if new {
            *slot = self.touched.len() as u32;
            self.touched.push(item);
        }
        (*slot as usize, new)
    }

    fn forget(&mut self) {
        for &item in &self.touched {
            self.slots[item as usize] = NONE;
        }
        self.touched.clear();
    }

    /// The items that have the most of these n-grams, and how many.
    fn most(&mut self, hits: &[Hit]) -> (Vec<u32>, usize) {
        let mut counts: Vec<usize> = Vec::new();
        for &(_, gram) in hits {
            let mut last = NONE;
            for (item, _) in self.postings.of(gram) {
                // Postings of a gram are sorted by item; one that has it twice counts once.
                if item != last {
                    let (slot, new) = self.slot(item);
                    if new {
                        counts.push(0);
                    }
                    counts[slot] += 1;
                    last = item;
                }
            }
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        let best = self
            .touched
            .iter()
            .zip(&counts)
            .filter(|&(_, &count)| count == most);
        let mut items: Vec<u32> = best.map(|(&item, _)| item).collect();
        items.sort_unstable();
        self.forget();
        (items, most)
    }

    /// Runs of n-grams that overlap or touch, each with the items that have most of them.
    fn runs(&mut self, hits: &[Hit]) -> Vec<Match> {
        let mut matches = Vec::new();
        for run in hits.chunk_by(|a, b| b.0 <= a.0 + self.rule.n) {
            let (items, most) = self.most(run);
            let (start, end) = (run[0].0, run[run.len() - 1].0 + self.rule.n);
            matches.extend(
                items
                    .into_iter()
                    .map(|item| found(item, most as f64, 1.0, start, end)),
            );
        }
        matches
    }

    /// Items of which the document holds enough, at each run of their n-grams.
    fn covering(&mut self, hits: &[Hit], limit: f64) -> Vec<Match> {
        let n = self.rule.n;
        let of_words = matches!(self.rule.counting, Counting::Words(_));
        let mut firsts: Vec<usize> = Vec::new();
        self.covered.clear();
        for &(_, gram) in hits {
            let postings = self.postings;
            for (item, place) in postings.of(gram) {
                let (slot, new) = self.slot(item);
                if new {
                    firsts.push(self.covered.len());
                    self.covered.resize(
                        self.covered.len() + self.lengths[item as usize] as usize / 64 + 1,
                        0,
                    );
                }
                let bits = &mut self.covered[firsts[slot]..];
                for word in place..place + if of_words { n } else { 1 } {
                    bits[word / 64] |= 1 << (word % 64);
                }
            }
        }
        firsts.push(self.covered.len());
        let scores: Vec<f64> = self
            .touched
            .iter()
            .zip(firsts.windows(2))
            .map(|(&item, two)| {
                let marked: u32 = self.covered[two[0]..two[1]]
                    .iter()
                    .map(|bits| bits.count_ones())
                    .sum();
                let words = self.lengths[item as usize] as usize;
                f64::from(marked) / if of_words { words } else { words + 1 - n } as f64
            })
            .collect();
        let matches = self.spans_of(hits, limit, &scores);
        self.forget();
        matches
    }

    /// The runs of n-grams of each item whose score is enough.
    fn spans_of(&self, hits: &[Hit], limit: f64, scores: &[f64]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let mut open: Vec<usize> = vec![usize::MAX; scores.len()];
        for &(at, gram) in hits {
            for (item, _) in self.postings.of(gram) {
                let slot = self.slots[item as usize] as usize;
                if scores[slot] < limit {
                    continue;
                }
                match matches.get_mut(open[slot]) {
                    Some(last) if at <= last.end => last.end = at + self.rule.n,
                    _ => {
                        open[slot] = matches.len();
                        matches.push(found(item, scores[slot], limit, at, at + self.rule.n));
                    }
                }
            }
        }
        matches
    }

    /// The items that have most of a line's n-grams, where enough of these are known.
    fn line(&mut self, words: &[u64], limit: f64) -> Vec<Match> {
        let hits = self.hits(words);
        let all = (words.len() + 1).saturating_sub(self.rule.n);
        let share = hits.len() as f64 / all.max(1) as f64;
        if hits.is_empty() || share < limit {
            return Vec::new();
        }
        let (items, _) = self.most(&hits);
        items
            .into_iter()
            .map(|item| found(item, share, limit, 0, words.len()))
            .collect()
    }
}

fn found(item: u32, score: f64, limit: f64, start: usize, end: usize) -> Match {
    Match {
        item,
        score,
        limit,
        evidence: -1.0,
        sure: true,
        start,
        end,
        rank: score,
    }
}
