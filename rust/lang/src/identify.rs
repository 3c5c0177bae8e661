//! Scores of a text, and the language that has the best.

use std::borrow::Cow;

use curate_text::cpu::Path;
use curate_text::nfc::composed;
use curate_text::windows::head;
use curate_text::{Cpu, Texts};

use crate::Error;
use crate::model::{Model, Row, SCALE, WIDTH};

/// Texts of at least this many bytes are walked in four streams at once.
const STREAMED: usize = 64;
/// Rows of weights that are fetched ahead of their use: most are in no cache.
const AHEAD: usize = 6;

/// What was found in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The language, as an index into the labels of the model; of several columns for one language the first.
    pub language: usize,
    /// Its probability: the softmax of score / sqrt(bytes), which makes short and long texts comparable.
    pub probability: f32,
}

/// Identifies texts one after another, and keeps its memory between them.
pub struct Identifier<'a> {
    model: &'a Model,
    cpu: Cpu,
    /// How often each n-gram stands in the text; the last place is for "none".
    counts: Vec<u32>,
    /// The distinct n-grams of the text.
    seen: Vec<u32>,
    /// Those of them that stand in it more than once, with their counts.
    repeated: Vec<(u32, u32)>,
    /// (first column, other column) of languages with several.
    twins: Vec<(usize, usize)>,
}

impl<'a> Identifier<'a> {
    /// An identifier with its own scratch memory, .4 MB.
    pub fn new(model: &'a Model, cpu: Cpu) -> Self {
        let first = |label| {
            model
                .labels
                .iter()
                .position(|l| l == label)
                .unwrap_or_default()
        };
        let columns = model
            .labels
            .iter()
            .enumerate()
            .map(|(i, label)| (first(label), i));
        Self {
            model,
            cpu,
            counts: vec![0; model.weights.len() + 1],
            seen: Vec::new(),
            repeated: Vec::new(),
            twins: columns.filter(|(first, other)| first != other).collect(),
        }
    }

    /// The language of every text, by its first `characters` characters.
    pub fn identify(&mut self, texts: Texts<'_>, characters: usize) -> Result<Vec<Found>, Error> {
        (0..texts.len())
            .map(|row| Ok(self.find(head(texts.text(row)?, characters))))
            .collect()
    }

    /// The language of a text.
    pub fn find(&mut self, text: &str) -> Found {
        let text = prepared(text);
        self.walk(text.as_bytes());
        let mut scores = self.scores();
        let cooled = 1.0 / (text.len().max(1) as f64).sqrt();
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        for score in &mut scores {
            *score = ((*score - best) * cooled).exp();
        }
        let sum: f64 = scores.iter().sum();
        for &(first, other) in &self.twins {
            scores[first] += std::mem::take(&mut scores[other]);
        }
        let mut language = 0;
        for (column, &score) in scores.iter().enumerate() {
            if score > scores[language] {
                language = column;
            }
        }
        Found {
            language,
            probability: (scores[language] / sum) as f32,
        }
    }

    /// Count the n-grams of a text.
    ///
    /// A long text is walked in four streams, each of which begins `depth` bytes before its part, from the root: what
    /// the automaton remembers is no longer than that. Steps of one stream wait for memory, the others go on.
    fn walk(&mut self, text: &[u8]) {
        let automaton = &self.model.automaton;
        let none = self.model.weights.len();
        self.seen.clear();
        let (counts, seen) = (&mut self.counts, &mut self.seen);
        let mut put = |state: u32| {
            let feature = automaton.feature(state);
            let count = &mut counts[feature as usize];
            if *count == 0 {
                seen.push(feature);
            }
            *count += 1;
        };
        let mut tail = 0;
        let mut states = [0; 4];
        let part = text.len() / 4;
        if text.len() >= STREAMED && part >= automaton.depth() {
            for (stream, state) in states.iter_mut().enumerate().skip(1) {
                for &byte in &text[stream * part - automaton.depth()..stream * part] {
                    *state = automaton.step(*state, byte);
                }
            }
            let (first, rest) = text.split_at(part);
            let (second, rest) = rest.split_at(part);
            let (third, rest) = rest.split_at(part);
            for (((&a, &b), &c), &d) in first.iter().zip(second).zip(third).zip(rest) {
                for (state, byte) in states.iter_mut().zip([a, b, c, d]) {
                    *state = automaton.step(*state, byte);
                    put(*state);
                }
            }
            tail = 4 * part;
        }
        let mut state = states[3];
        for &byte in &text[tail..] {
            state = automaton.step(state, byte);
            put(state);
        }
        counts[none] = 0;
        seen.retain(|&feature| feature as usize != none);
    }

    /// The score of every column, and zero counts for the next text. Without an n-gram every score is 0.
    fn scores(&mut self) -> Vec<f64> {
        let languages = self.model.labels.len();
        let mut scores = vec![0.0; languages];
        if self.seen.is_empty() {
            return scores;
        }
        let (counts, repeated) = (&mut self.counts, &mut self.repeated);
        repeated.clear();
        self.seen.retain(|&feature| {
            let count = std::mem::take(&mut counts[feature as usize]);
            if count > 1 {
                repeated.push((count, feature));
            }
            count == 1
        });
        repeated.sort_unstable();
        // Sums over n-grams of one count are whole numbers, so exact.
        let mut add = |count: u32, features: &[u32]| {
            let mut sums = [0i32; WIDTH];
            add_rows(self.cpu, &mut sums, &self.model.weights, features);
            let factor = f64::from(count).ln_1p() / SCALE;
            for (score, &sum) in scores.iter_mut().zip(&sums) {
                *score += factor * f64::from(sum);
            }
        };
        add(1, &self.seen);
        for same in repeated.chunk_by(|a, b| a.0 == b.0) {
            self.seen.clear();
            self.seen.extend(same.iter().map(|&(_, feature)| feature));
            add(same[0].0, &self.seen);
        }
        for (score, &prior) in scores.iter_mut().zip(&self.model.priors) {
            *score += f64::from(prior);
        }
        scores
    }
}

/// A text as the model has seen texts: in normalization form C, and in lower case where all of it is in capitals.
fn prepared(text: &str) -> Cow<'_, str> {
    if is_upper(text) {
        Cow::Owned(composed(&text.to_lowercase()).into_owned())
    } else {
        composed(text)
    }
}

/// Whether a text has a letter with case and all of them are capitals, as Python's `str.isupper` has it.
fn is_upper(text: &str) -> bool {
    let mut found = false;
    for c in text.chars() {
        if c.is_lowercase() || is_title(c) {
            return false;
        }
        found |= c.is_uppercase();
    }
    found
}

/// Letters in title case: digraphs such as Dž, and Greek capitals with iota adscript.
fn is_title(c: char) -> bool {
    matches!(c as u32, 0x1c5 | 0x1c8 | 0x1cb | 0x1f2 | 0x1f88..=0x1f8f | 0x1f98..=0x1f9f | 0x1fa8..=0x1faf | 0x1fbc | 0x1fcc | 0x1ffc)
}

fn add_rows(cpu: Cpu, sums: &mut [i32; WIDTH], weights: &[Row], features: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    if cpu.path() >= Path::Avx2 {
        // SAFETY: the path says that the machine has AVX2.
        return unsafe { add_rows_avx2(sums, weights, features) };
    }
    let _ = cpu;
    add_rows_plain(sums, weights, features);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_rows_avx2(sums: &mut [i32; WIDTH], weights: &[Row], features: &[u32]) {
    add_rows_plain(sums, weights, features);
}

#[inline(always)]
fn add_rows_plain(sums: &mut [i32; WIDTH], weights: &[Row], features: &[u32]) {
    for (i, &feature) in features.iter().enumerate() {
        if let Some(&later) = features.get(i + AHEAD) {
            fetch(&weights[later as usize]);
        }
        let row = &weights[feature as usize];
        for (sum, &weight) in sums.iter_mut().zip(row) {
            *sum += i32::from(weight);
        }
    }
}

/// Ask for a row of weights before it is needed.
#[inline(always)]
fn fetch(row: &Row) {
    #[cfg(target_arch = "x86_64")]
    for part in row.as_chunks::<32>().0 {
        // SAFETY: a prefetch reads nothing and cannot fail; the address is that of a reference.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                part.as_ptr().cast(),
            );
        }
    }
    let _ = row;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrays, prepare};
    use proptest::prelude::*;

    const GRAMS: [&str; 9] = ["a", "ab", "b", "bab", "abba", "ba", "é", "caba", "b a"];

    /// The dense automaton of GRAMS by definition: a state is a prefix of one, and goes to the longest suffix of what it
    /// has read that is a prefix too; it holds the longest n-gram that is a suffix of it.
    fn model() -> Model {
        let mut states: Vec<Vec<u8>> = vec![Vec::new()];
        for gram in GRAMS {
            for end in 1..=gram.len() {
                states.push(gram.as_bytes()[..end].to_vec());
            }
        }
        states.sort();
        states.dedup();
        let longest = |read: &[u8]| {
            let suffixes = (0..=read.len()).map(|from| &read[from..]);
            suffixes
                .filter_map(|s| states.iter().position(|state| state == s))
                .next()
        };
        let (mut rows, mut feature) = (Vec::new(), Vec::new());
        for state in &states {
            for byte in 0..=255 {
                let read = [state.as_slice(), &[byte]].concat();
                rows.push(longest(&read).unwrap() as u32);
            }
            feature.push(best(state).map_or(-1, |gram| gram as i32));
        }
        let row: Vec<u32> = (0..states.len() as u32).collect();
        // Weights of 1.0, 0.5 and -2.0, and so on: three languages, of which two are one.
        let weights: Vec<u16> = (0..GRAMS.len() * 3)
            .map(|i| [0x3c00, 0x3800, 0xc000, 0x3e00][i % 4])
            .collect();
        let labels = ["x", "y", "x"].map(str::to_string).to_vec();
        let arrays = Arrays {
            labels,
            priors: &[-1.0, -0.5, -2.0],
            weights: &weights,
            rows: &rows,
            row: &row,
            feature: &feature,
        };
        Model::read(&prepare(&arrays).unwrap()).unwrap()
    }

    /// The longest n-gram that a text ends with.
    fn best(read: &[u8]) -> Option<usize> {
        let fits = (0..GRAMS.len()).filter(|&gram| read.ends_with(GRAMS[gram].as_bytes()));
        fits.max_by_key(|&gram| GRAMS[gram].len())
    }

    /// The probability of both languages by definition.
    fn probabilities(model: &Model, text: &str) -> [f64; 2] {
        let mut counts = [0u32; GRAMS.len()];
        for end in 1..=text.len() {
            if let Some(gram) = best(&text.as_bytes()[..end]) {
                counts[gram] += 1;
            }
        }
        let found = counts.iter().any(|&count| count > 0);
        let mut scores = [0.0; 3];
        for (language, score) in scores.iter_mut().enumerate() {
            for (gram, &count) in counts.iter().enumerate() {
                *score +=
                    f64::from(count).ln_1p() * f64::from(model.weights[gram][language]) / SCALE;
            }
            *score += if found {
                f64::from(model.priors[language])
            } else {
                0.0
            };
        }
        let [x, y, other] = scores.map(|score| (score / (text.len().max(1) as f64).sqrt()).exp());
        [(x + other) / (x + y + other), y / (x + y + other)]
    }

    proptest! {
        #[test]
        fn the_language_follows_from_the_definition(text in "[ab cé]{0,300}") {
            let model = model();
            let expected = probabilities(&model, &text);
            for cpu in Cpu::all() {
                let found = Identifier::new(&model, cpu).find(&text);
                prop_assert!((f64::from(found.probability) - expected[found.language]).abs() < 1e-6);
                prop_assert!(expected[found.language] >= expected[1 - found.language] - 1e-9);
            }
        }
    }

    #[test]
    fn a_damaged_file_is_no_model() {
        let file = model().write();
        for place in (0..file.len()).step_by(97) {
            let mut damaged = file.clone();
            damaged[place] ^= 4;
            assert!(Model::read(&damaged).is_err());
        }
        assert!(Model::read(&file[..file.len() - 1]).is_err() && Model::read(&[]).is_err());
    }

    #[test]
    fn capitals_are_taken_in_lower_case_and_marks_composed() {
        assert_eq!(prepared("ÀB 1"), "àb 1");
        assert_eq!(prepared("Àb 1"), "Àb 1");
        assert_eq!(prepared("12"), "12");
        assert_eq!(prepared("e\u{301}"), "é");
        assert_eq!(head("aéb", 2), "aé");
    }
}
