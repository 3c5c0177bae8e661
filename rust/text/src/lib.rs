//! Columns of text as plain slices, the words in them, and the hashes of those words.

mod column;

pub use column::{Offsets, Texts};

/// What can be wrong with a column of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes that are no text.
    #[error("row {row} is not UTF-8: byte {byte} begins no valid character")]
    NotUtf8 {
        /// The row, from 0.
        row: usize,
        /// The byte within the row, from 0.
        byte: usize,
    },
}
