//! Byte-level BPE: split text into pieces, learn merges from the counted pieces, encode, decode, pack.
//!
//! The work of a tokenizer is repetition. 91 MB of prose and source code hold 21 million pieces, but only half
//! a million different ones, so everything here looks a piece up before it works on it: training merges the
//! distinct pieces weighted by their counts, and encoding keeps the ids of pieces it has seen.
//!
//! ```text
//! text --Pretokenizer--> pieces --PieceCounter--> (piece, count) --train--> vocabulary, merges
//! text --Pretokenizer--> pieces --Encoder (cache, then merge)--> ids
//! ```
//!
//! Results are those of the `tokenizers` library: the same pieces, the same merges with the same ties, the
//! same ids. Counts are 64 bits wide, where that library's overflow at 2^31.

mod alphabet;
mod cache;
mod classes;
mod count;
mod encode;
mod ids;
mod look;
mod memory;
mod merge;
mod normal;
mod oniguruma;
mod pack;
mod pairs;
mod piece;
mod pieces;
mod pretokenize;
mod rules;
mod scan;
mod short;
mod train;
mod window;

pub use alphabet::{Alphabet, byte_order};
pub use count::{PieceCounter, PieceCounts};
pub use encode::{EncodeScratch, Encoder, Parts};
pub use ids::TokenId;
pub use memory::{give_back, room};
pub use normal::{Added, Normal};
pub use pack::{MAX_ROW_LENGTH, Placement, pack};
pub use piece::Vocab;
pub use pretokenize::Pretokenizer;
pub use train::{Base, Model, TrainOptions, extend, train};

/// What can be wrong with the input; every message names the value and the limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what its fields are"
)]
pub enum Error {
    /// A pattern that is neither a known name nor a valid regular expression.
    #[error("pattern {pattern:?} is not a valid regular expression: {reason}, at byte {position}")]
    Pattern {
        pattern: String,
        reason: String,
        position: usize,
    },
    /// A regular expression that gave up on a text, because it needs too many steps of backtracking.
    #[error(
        "pattern {pattern:?} gave up at byte {position} of the text: {reason}; use a pattern that backtracks less"
    )]
    PatternGaveUp {
        pattern: String,
        position: usize,
        reason: String,
    },
    /// A vocabulary that cannot hold even the special tokens and the 256 bytes.
    #[error(
        "vocab_size {vocab_size} is too small: {special} special tokens, 256 bytes and {characters} characters need at least {minimum}"
    )]
    VocabTooSmall {
        vocab_size: usize,
        special: usize,
        characters: usize,
        minimum: usize,
    },
    /// A special token that cannot be one.
    #[error("special token {token:?} {reason}")]
    SpecialToken { token: String, reason: &'static str },
    /// More distinct text than 32-bit positions can address.
    #[error(
        "the distinct pretokens hold {bytes} bytes, more than the limit of {limit}: train on a sample"
    )]
    TooManyBytes { bytes: u64, limit: u64 },
    /// Counts whose sum does not fit 64 bits, or a count below zero.
    #[error(
        "count {count} of pretoken {row} is out of range: counts are at least 0 and sum to less than 2^63"
    )]
    Count { row: usize, count: i64 },
    /// A piece that cannot be read as characters.
    #[error("pretoken {row} is not valid UTF-8")]
    NotText { row: usize },
    /// A vocabulary and merges that do not belong together.
    #[error("not a byte-level BPE model: {0}")]
    Model(String),
    /// An id that decodes to nothing.
    #[error(
        "token id {id} at position {position} is outside the vocabulary of {vocab_size} tokens"
    )]
    TokenId {
        id: u32,
        position: usize,
        vocab_size: usize,
    },
    /// A value of CURATE_CPU that names no path.
    #[error(transparent)]
    Cpu(#[from] curate_text::Error),
    /// More documents or rows than 32-bit numbers can tell apart.
    #[error(
        "{count} {what} are over the limit of {limit}: pack fewer documents at once, or longer rows"
    )]
    TooMany {
        what: &'static str,
        count: u64,
        limit: u64,
    },
    /// A packing row that can hold nothing.
    #[error("row_length {row_length} is out of range: 1 to {limit} tokens")]
    RowLength { row_length: u64, limit: u64 },
}
