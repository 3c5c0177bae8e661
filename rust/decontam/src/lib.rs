//! Benchmark text in training text: an index of items, and the places where documents hold one.
//!
//! Words are normalized so that a copy is found under other typography ([`Normalizer`]), hashed, and combined to
//! n-grams at every position of a document. 56,000 benchmark items are some 1.9 million 5-grams; the index
//! ([`Index`]) is a set of columns that lie in a file and are mapped. Opening it makes a filter that stays in cache, a
//! look-up table, and the weight of each word.
//!
//! [`Aligned`] finds edited copies: n-grams are seeds, and a weighted alignment with the question decides. [`Ngrams`]
//! has the rules of other tools, which count n-grams.

mod align;
mod aligned;
mod columns;
mod found;
mod index;
mod ngrams;
mod normalize;
mod phrases;
mod rule;
mod seeds;
mod weights;
mod window;

pub use aligned::Aligned;
pub use columns::{Columns, Postings};
pub use found::Found;
pub use index::{Index, MAX_QUESTION, Seeding, Sources, State};
pub use ngrams::{Counting, Ngrams};
pub use normalize::Normalizer;
pub use phrases::{Phrases, Place, ngram_hashes};
pub use weights::{count_stretches, weights};

/// What can be wrong with the input; every message names the value, the row and the limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that cannot be read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// An n outside its range.
    #[error("n is {0}: it must be 1 to {MAX_N} words")]
    Length(usize),
    /// Columns of items that do not belong together.
    #[error(
        "{questions} questions, {answers} answers, {option_counts} counts of options that make {counted}, and {options} options do not belong together"
    )]
    Counts {
        /// Rows of questions.
        questions: usize,
        /// Rows of answers.
        answers: usize,
        /// Counts of options.
        option_counts: usize,
        /// Their sum.
        counted: usize,
        /// Rows of options.
        options: usize,
    },
    /// A column of an index that is shorter or longer than the others say.
    #[error(
        "the column {column} of the index has {found} rows, and {wanted} belong to the others: make the index again"
    )]
    Column {
        /// Its name.
        column: &'static str,
        /// Its rows.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
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

fn check_length(n: usize) -> Result<(), Error> {
    if (1..=MAX_N).contains(&n) {
        Ok(())
    } else {
        Err(Error::Length(n))
    }
}
