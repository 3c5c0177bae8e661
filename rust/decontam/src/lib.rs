//! Benchmark text in training text: the n-grams of items, and every place where a document holds one.
//!
//! Words are normalized so that a copy is found under other typography ([`Normalizer`]), hashed, and combined to
//! n-grams at every position. 45,000 benchmark items are some 1.5 million 5-grams; they come as a sorted column.
//! Opening it ([`Finder`]) makes two tables, once a worker: a filter of 16 bits a gram or more that answers "no" for
//! 99 % of the others, and the first place of each prefix. That takes 3.5 ms and 11 MB.

mod finder;
mod normalize;

pub use finder::{Finder, Hits};
pub use normalize::Normalizer;

use curate_text::{Texts, hash};

/// What can be wrong with the input; every message names the value, the row and the limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that cannot be read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// An n outside its range.
    #[error("n is {0}: it must be 1 to {MAX_N} words")]
    Length(usize),
    /// Grams that are not sorted or hold a value twice.
    #[error(
        "row {row} of grams is {value}, not above {before} in the row before: sort them and drop repeats"
    )]
    Unsorted {
        /// The row, from 0.
        row: usize,
        /// Its value.
        value: u64,
        /// The value before it.
        before: u64,
    },
    /// More grams than 32-bit numbers can count.
    #[error("{grams} grams are over the limit of {}", u32::MAX)]
    TooManyGrams {
        /// How many.
        grams: usize,
    },
}

/// The most words that an n-gram can have.
pub const MAX_N: usize = 64;

/// The hashes of the word n-grams of every text in reading order: row i is `values[offsets[i]..offsets[i + 1]]`.
///
/// A text with fewer than `n` words has none.
pub fn ngram_hashes(texts: Texts<'_>, n: usize) -> Result<(Vec<i64>, Vec<u64>), Error> {
    check_length(n)?;
    let mut normalizer = Normalizer::default();
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..texts.len() {
        normalizer.scan(row, texts.text(row)?)?;
        values.extend(hash::ngrams(normalizer.hashes(), n));
        offsets.push(values.len() as i64);
    }
    Ok((offsets, values))
}

fn check_length(n: usize) -> Result<(), Error> {
    if (1..=MAX_N).contains(&n) {
        Ok(())
    } else {
        Err(Error::Length(n))
    }
}
