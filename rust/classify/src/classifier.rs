//! The probability of every label of a model, for one text after another.

use curate_text::Texts;
use curate_text::hash::hash_bytes;

use crate::Error;
use crate::model::{END, LANES, Loss, Model, hash, prefetch};
use crate::tokens::plain_tokens;

/// What fastText adds to a probability before it takes the logarithm, and so what its scores are too high by.
const ADDED: f64 = 1e-5;
/// Steps of fastText's table of the logistic function, and where it ends.
const TABLE: usize = 512;
const BOUND: f64 = 8.0;
/// Tokens of a text that are looked up together, and how far ahead memory is asked for.
const BLOCK: usize = 1024;
const AHEAD: usize = 12;
/// The multiplier by which hashes of words become those of n-grams.
const FACTOR: u64 = 116_049_371;

/// What the tokens of labels begin with.
const LABEL: &[u8] = b"__label__";

/// A token by its two hashes.
struct Token {
    hash: u32,
    check: u64,
    is_label: bool,
}

/// The form in which a model reads texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Raw,
    /// In the form of `plain_tokens`.
    Plain,
    /// Like `Plain`; what stands in a text more than once counts once.
    Distinct,
}

/// Applies a model, and keeps its memory from text to text.
pub struct Classifier<'a> {
    model: &'a Model,
    form: Form,
    /// Of every row the number of the last text that counted it, where rows count once a text.
    counted: Vec<u32>,
    /// The number of the text at hand, from 1.
    number: u32,
    sums: Vec<f64>,
    /// Tokens of the text at hand, and the rows that they stand for: all are found first and added afterwards, so that
    /// memory is asked for long before it is read.
    tokens: Vec<Token>,
    rows: Vec<u32>,
    /// Hashes of the last tokens, of which n-grams are made.
    hashes: Vec<u32>,
    word: Vec<u8>,
    plain: Vec<u8>,
    logistic: Vec<f32>,
}

impl<'a> Classifier<'a> {
    /// A classifier of texts of this form with its own scratch memory.
    pub fn new(model: &'a Model, form: Form) -> Self {
        let logistic = (0..=TABLE).map(|step| {
            let x = (step as f64 * 2.0 * BOUND) / TABLE as f64 - BOUND;
            (1.0 / (1.0 + (-x).exp())) as f32
        });
        let counted = if form == Form::Distinct {
            model.input.rows
        } else {
            0
        };
        Self {
            model,
            form,
            counted: vec![0; counted],
            number: 0,
            sums: vec![0.0; model.input.width],
            tokens: Vec::new(),
            rows: Vec::new(),
            hashes: Vec::new(),
            word: Vec::new(),
            plain: Vec::new(),
            logistic: logistic.collect(),
        }
    }

    /// The probabilities of every text, one after another: `labels` numbers a text, 0..1.
    ///
    /// A text in which the model knows nothing has the same probability for every label.
    pub fn scores(&mut self, texts: Texts<'_>) -> Result<Vec<f32>, Error> {
        let mut found = Vec::with_capacity(texts.len() * self.model.labels.len());
        for row in 0..texts.len() {
            let text = texts.text(row)?;
            if self.form != Form::Raw {
                let mut tokens = std::mem::take(&mut self.plain);
                tokens.clear();
                plain_tokens(text, &mut tokens);
                self.add(&tokens, &mut found);
                self.plain = tokens;
            } else {
                self.add(text.as_bytes(), &mut found);
            }
        }
        Ok(found)
    }

    /// Appends the probabilities of one text.
    fn add(&mut self, text: &[u8], found: &mut Vec<f32>) {
        self.number += 1;
        let rows = self.sum(text);
        let labels = self.model.labels.len();
        if rows == 0 {
            found.extend(std::iter::repeat_n(1.0 / labels as f32, labels));
            return;
        }
        let share = 1.0 / rows as f64;
        let means = self.sums.iter().map(|sum| sum * share);
        let scores: Vec<f64> = match &self.model.output {
            None => means.take(labels).collect(),
            Some(output) => {
                let means: Vec<f64> = means.collect();
                let dot =
                    |row: &[f32]| row.iter().zip(&means).map(|(&w, x)| f64::from(w) * x).sum();
                (0..output.rows.min(labels))
                    .map(|row| dot(output.row(row)))
                    .collect()
            }
        };
        match &self.model.loss {
            Loss::Softmax => {
                let best = scores.iter().copied().fold(f64::MIN, f64::max);
                let powers: Vec<f64> = scores.iter().map(|score| (score - best).exp()).collect();
                let sum: f64 = powers.iter().sum();
                found.extend(powers.iter().map(|power| shown(power / sum)));
            }
            Loss::Each => found.extend(
                scores
                    .iter()
                    .map(|&score| shown(f64::from(self.logistic(score)))),
            ),
            Loss::Tree(nodes) => leaves(nodes, &scores, labels, found),
        }
    }

    fn logistic(&self, score: f64) -> f32 {
        if score < -BOUND {
            0.0
        } else if score > BOUND {
            1.0
        } else {
            self.logistic[((score + BOUND) * TABLE as f64 / BOUND / 2.0) as usize]
        }
    }

    /// Sums the rows of a text into `sums`; returns how many there are.
    ///
    /// Tokens are what ASCII white space and zero bytes separate. A text ends with a token of its own, and where it
    /// holds that token, there.
    fn sum(&mut self, text: &[u8]) -> usize {
        self.sums.fill(0.0);
        self.hashes.clear();
        let mut count = 0;
        let separates = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        let tokens = text.split(separates).filter(|token| !token.is_empty());
        for token in tokens.take_while(|&token| token != END) {
            self.note(token);
            if self.tokens.len() == BLOCK {
                count += self.add_tokens();
            }
        }
        self.note(END);
        count + self.add_tokens()
    }

    /// Notes a token, and the rows of its character n-grams.
    #[inline]
    fn note(&mut self, token: &[u8]) {
        let hash = hash(token);
        self.model.words.prefetch(hash);
        self.tokens.push(Token {
            hash,
            check: hash_bytes(token),
            is_label: token.starts_with(LABEL),
        });
        if self.model.characters.1 > 0 && token != END && self.counts(token, hash) {
            self.character_ngrams(token);
        }
    }

    /// Whether a token has rows: one of the form of a label is none of the words.
    fn counts(&self, token: &[u8], hash: u32) -> bool {
        let known = || self.model.words.find(hash, hash_bytes(token)).is_some();
        !token.starts_with(LABEL) || known()
    }

    /// Adds what was noted to `sums`; returns the number of rows.
    fn add_tokens(&mut self) -> usize {
        let model = self.model;
        let tokens = std::mem::take(&mut self.tokens);
        for token in &tokens {
            let id = model.words.find(token.hash, token.check);
            // A token of the form of a label is none of the words.
            if id.is_none() && token.is_label {
                continue;
            }
            self.rows.extend(id);
            if model.word_ngrams > 1 {
                self.word_ngrams(token.hash);
            }
        }
        self.tokens = tokens;
        self.tokens.clear();
        self.add_rows()
    }

    /// Notes the rows of the n-grams, of two words and more, that end with the token of this hash.
    ///
    /// The sums of a text do not depend on the order in which its n-grams are added but for rounding in 64 bits.
    #[inline]
    fn word_ngrams(&mut self, hash: u32) {
        let model = self.model;
        let first = (self.hashes.len() + 1).saturating_sub(model.word_ngrams);
        for start in first..self.hashes.len() {
            let signed = |hash: u32| i64::from(hash as i32) as u64;
            let rest = self.hashes[start + 1..].iter().chain([&hash]);
            let gram = rest.fold(signed(self.hashes[start]), |h, &next| {
                h.wrapping_mul(FACTOR).wrapping_add(signed(next))
            });
            self.rows.extend(model.bucket_row(gram % model.bucket));
        }
        self.hashes.push(hash);
    }

    /// Notes the rows of the character n-grams of `<token>`.
    fn character_ngrams(&mut self, token: &[u8]) {
        let (least, most) = self.model.characters;
        let mut word = std::mem::take(&mut self.word);
        word.clear();
        word.push(b'<');
        word.extend_from_slice(token);
        word.push(b'>');
        let continues = |place: usize| word.get(place).is_some_and(|byte| byte & 0xC0 == 0x80);
        for start in (0..word.len()).filter(|&place| !continues(place)) {
            let mut end = start;
            for n in 1..=most {
                if end >= word.len() {
                    break;
                }
                end += 1;
                while continues(end) {
                    end += 1;
                }
                let edge = n == 1 && (start == 0 || end == word.len());
                if n >= least && !edge {
                    let bucket = u64::from(hash(&word[start..end])) % self.model.bucket;
                    self.rows.extend(self.model.bucket_row(bucket));
                }
            }
        }
        self.word = word;
    }

    /// Adds the rows that were noted to `sums`; returns how many.
    fn add_rows(&mut self) -> usize {
        if self.form == Form::Distinct {
            let (counted, number) = (&mut self.counted, self.number);
            self.rows
                .retain(|&row| std::mem::replace(&mut counted[row as usize], number) != number);
        }
        let (sums, last_sums) = self.sums.as_chunks_mut::<LANES>();
        let width = self.model.input.width;
        for (place, &row) in self.rows.iter().enumerate() {
            if let Some(&later) = self.rows.get(place + AHEAD) {
                prefetch(&self.model.input.values, later as usize * width);
            }
            let (values, last) = self.model.input.row(row as usize).as_chunks::<LANES>();
            for (sums, values) in sums.iter_mut().zip(values) {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += f64::from(value);
                }
            }
            for (sum, &value) in last_sums.iter_mut().zip(last) {
                *sum += f64::from(value);
            }
        }
        let count = self.rows.len();
        self.rows.clear();
        count
    }
}

/// A probability as fastText shows it, and at most 1.
fn shown(probability: f64) -> f32 {
    (probability + ADDED).min(1.0) as f32
}

/// The probabilities of the leaves of a tree of labels: the products along the ways down to them.
fn leaves(nodes: &[(u32, u32)], scores: &[f64], labels: usize, found: &mut Vec<f32>) {
    let mut logs = vec![0.0; labels + nodes.len()];
    for (inner, &(left, right)) in nodes.iter().enumerate().rev() {
        let right_share = 1.0 / (1.0 + (-scores[inner]).exp());
        let above = logs[labels + inner];
        logs[left as usize] = above + (1.0 - right_share + ADDED).ln();
        logs[right as usize] = above + (right_share + ADDED).ln();
    }
    found.extend(logs[..labels].iter().map(|log| log.exp().min(1.0) as f32));
}

#[cfg(test)]
mod tests;
