//! Columns of text as plain slices, the words in them, and the hashes of those words.
//!
//! The leaf that every kernel stands on: `Texts` is what Arrow keeps (bytes and offsets), `Words` finds words at
//! 0.6 to 2.3 GB/s, `hash` turns them into 64-bit numbers that are stored and so never change. Unicode is version
//! 14.0 as CPython 3.11 has it, frozen in a table of 49 KB.

pub mod bits;
pub mod chars;
mod column;
pub mod cpu;
pub mod hash;
mod masks;
pub mod mojibake;
pub mod nfc;
pub mod tidy;
pub mod windows;
mod words;

pub use column::{Offsets, Texts};
pub use cpu::Cpu;
pub use words::Words;

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
    /// A text whose places do not fit 32 bits.
    #[error("row {row} has {bytes} bytes, more than the limit of {limit}: cut it first")]
    TooLong {
        /// The row, from 0.
        row: usize,
        /// Its bytes.
        bytes: usize,
        /// The most that there may be.
        limit: usize,
    },
    /// A value of the environment variable CURATE_CPU that names no path.
    #[error("CURATE_CPU is {value:?}: use portable, avx2 or avx512")]
    UnknownCpu {
        /// The value.
        value: String,
    },
}
