//! The main content of an HTML page, without a DOM: bytes in, text out, in time linear in the page.
//!
//! ```text
//! bytes --decode--> text --tokenizer, builder--> nodes and blocks --features::first--> rows --first forest-->
//! probabilities --features::second--> rows --second forest--> probabilities --choose--> blocks --output--> text
//! ```
//!
//! A block is what stands between two block-level tags; the decision is made for each by itself, because no single
//! subtree holds the content of most pages. The first forest knows the block, its words, the names of the elements
//! around it and the shape of the page; the second also knows what the first said of its neighbors. Both are
//! trained by the code that uses them: `training` gives rows and tokens, `model/` holds what came of them.

mod builder;
pub mod bytes;
mod characters;
pub mod choose;
mod class;
pub mod decode;
mod extract;
pub mod features;
mod flow;
mod hash;
pub mod kinds;
pub mod limits;
mod linear;
mod math;
mod meanings;
mod mend;
mod model;
mod notes;
pub mod output;
pub mod page;
mod raw;
mod scripts;
mod shifted;
pub mod tags;
mod tokenizer;
pub mod training;
mod trees;
mod twins;
pub mod units;

pub use choose::Comments;
pub use decode::{Decoded, decode};
pub use extract::{Decision, Extracted, Extractor, Settings};
pub use limits::Policy;
pub use linear::Linear;
pub use model::Model;
pub use output::{Form, Format, Images, Links, Typed};
pub use tokenizer::parse;

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A column of pages, or CURATE_CPU.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// A model file that this version cannot use.
    #[error("the extractor model cannot be used: {what}; train it anew with this version")]
    Model {
        /// What is wrong with it.
        what: String,
    },
    /// A page that the extractor failed on, which is a mistake of the extractor.
    #[error("the extractor failed on this page: {what}")]
    Failed {
        /// What it said.
        what: String,
    },
    /// A page whose places do not fit 32 bits.
    #[error("a page of {bytes} bytes is over the limit of {limit}: cut it first")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most that there may be.
        limit: usize,
    },
    /// A page in so many pieces that only a machine can have written it.
    #[error("the page has more than {limit} {what}, which no page for people has")]
    TooManyBlocks {
        /// Of what.
        what: &'static str,
        /// The most that there may be.
        limit: usize,
    },
    /// Numbers that do not belong to the pages they came with.
    #[error("{given} numbers for {blocks} blocks")]
    Mismatch {
        /// Numbers given.
        given: usize,
        /// Blocks of the pages.
        blocks: usize,
    },
}
