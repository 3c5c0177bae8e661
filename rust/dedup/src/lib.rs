//! Deduplication: exact by SHA-256, near by MinHash and bands, verified by exact Jaccard, joined to clusters.
//!
//! ```text
//! text --sha256--> digest                                    equal texts
//! text --minhash--> band keys (14 x 8 bytes), shingle hashes
//!      --lsh_buckets--> documents that share a key, by the first of them
//!      --bucket_pairs--> pairs by exact Jaccard of the true sets, O(members) a bucket      similar texts
//!      --clusters--> smallest id of each component
//!      --heads--> which documents of a component stay, and which one each of the others goes for
//! text --units--> lines, paragraphs or sentences, which many texts may share
//! text --anchors--> sampled hashes --repeats--> stretches that stand in an earlier place, too
//! text --counts--> words by bucket --embed--> vectors --kmeans, alike--> documents in nearly the same words
//! text --suffix_array--> every place in the order of what follows it, in which words are looked up
//! ```
//!
//! Everything is a pure function of its input and seed: no order, time or machine enters a result.

pub mod anchors;
pub mod clusters;
pub mod dots;
pub mod fss;
pub mod heads;
pub mod jaccard;
pub mod lsh;
pub mod mersenne;
pub mod minhash;
pub mod pairs;
pub mod permute;
pub mod semantic;
pub mod sha256;
mod sort;
pub mod substring;
pub mod suffixes;
pub mod templates;
pub mod units;

/// A document id: it sorts as bytes.
pub type Id = [u8; 16];

/// What can be wrong with the input; every message names the value, the row and the limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that cannot be read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// A setting outside its range.
    #[error("{name} is {value}: it must be {min} to {max}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least that it may be.
        min: usize,
        /// The most that it may be.
        max: usize,
    },
    /// Columns of one table that differ in length.
    #[error(
        "{name} has {rows} rows where {other} has {expected}: the columns of a table are of one length"
    )]
    LengthsDiffer {
        /// The column.
        name: &'static str,
        /// Its rows.
        rows: usize,
        /// The column it is compared with.
        other: &'static str,
        /// The rows of that one.
        expected: usize,
    },
    /// A pair that points outside the shingles.
    #[error("pair {pair} names row {row} of shingles, which has {rows} rows")]
    NoSuchRow {
        /// The pair, from 0.
        pair: usize,
        /// The row it names.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// A set that is not sorted or holds a value twice.
    #[error(
        "row {row} of shingles is not sorted and distinct: value {place} is not above the one before"
    )]
    NotASet {
        /// The row, from 0.
        row: usize,
        /// The place in the row, from 0.
        place: usize,
    },
    /// A document whose shingles are nowhere.
    #[error(
        "document {id} shares a band key, but its shingles are in none of the files: one was damaged or removed"
    )]
    NoSuchId {
        /// The id in hex digits.
        id: String,
    },
    /// A list that points outside its values.
    #[error(
        "row {row} of shingles ends at {end}, but there are {values} values: the file is damaged"
    )]
    OutsideValues {
        /// The row, from 0.
        row: usize,
        /// Where it ends.
        end: i64,
        /// How many values there are.
        values: usize,
    },
    /// More rows than 32-bit row numbers can count.
    #[error("{rows} rows are over the limit of {limit}: split the partition")]
    TooManyRows {
        /// The rows.
        rows: usize,
        /// The most that there may be.
        limit: usize,
    },
}
