//! The comparison of an item with a stretch of a document: bound, alignment, evidence.

use curate_text::hash;

use crate::align::{Aligner, UNIT};
use crate::aligned::Aligned;
use crate::columns::Columns;
use crate::found::Match;
use crate::index::list;
use crate::rule::{LEAST, Measures};

/// Words around the window in which options and answers are looked for.
const NEAR: usize = 60;

/// The comparison of an item with a stretch of a document, with its buffers.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The low half of each hash of the document.
    pub halves: Vec<u32>,
    sorted: Vec<u32>,
    aligner: Aligner,
    near: Near,
}

/// Words that may stand between a question and the answer that follows it, such as "The answer is".
const BEFORE_ANSWER: usize = 3;

impl Window {
    /// Compares an item with the words `start..end`.
    pub fn compare(
        &mut self,
        rule: &Aligned,
        columns: Columns<'_>,
        item: u32,
        start: usize,
        end: usize,
    ) -> Option<Match> {
        let question = list(columns.question_offsets, columns.questions, item as usize);
        let weights = list(columns.question_offsets, &rule.weights, item as usize);
        let rest = list(columns.question_offsets, &rule.rest, item as usize);
        let facts = rule.facts[item as usize];
        let total = f64::from(facts.total);
        let window = &self.halves[start..end];
        self.sorted.clear();
        self.sorted.extend_from_slice(window);
        self.sorted.sort_unstable();
        let there = question
            .iter()
            .zip(weights)
            .filter(|(word, _)| self.sorted.binary_search(word).is_ok());
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
            answered: false,
        };
        if measures.score() < LEAST {
            return None;
        }
        self.look_near(rule, columns, item, start, end, &mut measures);
        let answer = list(columns.answer_offsets, columns.answers, item as usize);
        measures.answered = self.follows(answer, start + last + 1);
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

    /// Whether an answer begins at most BEFORE_ANSWER words behind the word before `at`.
    fn follows(&self, answer: &[u32], at: usize) -> bool {
        let end = (at + BEFORE_ANSWER + answer.len()).min(self.halves.len());
        let behind = self.halves.get(at..end).unwrap_or(&[]);
        !answer.is_empty() && behind.windows(answer.len()).any(|words| words == answer)
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
        let reach = NEAR
            + options
                .clone()
                .map(|option| words(option).len() + 1)
                .sum::<usize>();
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
            return f64::from(u8::from(
                near.windows(text.len()).any(|window| window == text),
            ));
        }
        if !self.made {
            self.trigrams.clear();
            self.trigrams.extend(near.windows(3).map(trigram));
            self.trigrams.sort_unstable();
            self.made = true;
        }
        let found = text
            .windows(3)
            .filter(|three| self.trigrams.binary_search(&trigram(three)).is_ok())
            .count();
        found as f64 / (text.len() - 2) as f64
    }
}

fn trigram(words: &[u32]) -> u64 {
    words.iter().fold(0, |state, &word| {
        hash::mix(state ^ u64::from(word), 0x9E37_79B9_7F4A_7C15)
    })
}
