//! The heuristic measures that filters decide on, all in one pass over a text.
//!
//! Measuring is apart from deciding: the numbers here are kept in a table, so that a limit can be moved, or two
//! presets compared, without reading a text again. Each measure has one definition ([`MEASURES`]), which is that
//! of the `gopher@dclm` preset where systems differ: the same thresholds under other definitions of word, line
//! and duplicate drop other pages (up to 15 % of them).
//!
//! ```text
//! text --lines-->  stripped, non-empty lines and paragraphs     duplicates, bullets, ellipses
//!      --tokens--> whitespace words and Unicode words           lengths, stop words, symbols
//!      --repetition--> n-grams of the Unicode words, n = 2..10  repeated characters
//! ```

mod lines;
mod measures;
mod repetition;
mod segment;
mod tokens;

use curate_text::{Cpu, Texts, Words};

pub use measures::{MEASURES, Measure, N_MEASURES};

/// What can be wrong with the input.
pub type Error = curate_text::Error;

/// Every measure of every text: column i holds `MEASURES[i]`, one number a row.
pub fn measure(texts: Texts<'_>, cpu: Cpu) -> Result<Vec<Vec<f64>>, Error> {
    let mut columns: Vec<_> = (0..N_MEASURES)
        .map(|_| Vec::with_capacity(texts.len()))
        .collect();
    let mut meter = Meter::new(cpu);
    for row in 0..texts.len() {
        let values = meter.measure(row, texts.text(row)?)?.into_array();
        columns
            .iter_mut()
            .zip(values)
            .for_each(|(column, value)| column.push(value));
    }
    Ok(columns)
}

/// Buffers that are kept from text to text.
struct Meter {
    words: Words,
    lines: lines::Lines,
    tokens: tokens::Tokens,
    repetition: repetition::Repetition,
}

impl Meter {
    fn new(cpu: Cpu) -> Self {
        Self {
            words: Words::new(cpu),
            lines: lines::Lines::default(),
            tokens: tokens::Tokens::default(),
            repetition: repetition::Repetition::default(),
        }
    }

    fn measure(&mut self, row: usize, text: &str) -> Result<measures::Values, Error> {
        self.words.scan(row, text)?;
        let mut values = measures::Values {
            n_bytes: text.len() as f64,
            n_chars: n_chars(text.as_bytes()) as f64,
            n_words: self.words.hashes().len() as f64,
            ..measures::Values::default()
        };
        self.lines.measure(text, &mut values);
        self.tokens.measure(text, &mut values);
        self.repetition
            .measure(&self.tokens.hashes, &self.tokens.chars, &mut values);
        Ok(values)
    }
}

/// Characters (code points) of a text: the bytes that continue none.
fn n_chars(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

/// part / whole, and 0 where there is no whole.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
