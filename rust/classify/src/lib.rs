//! Linear text classifiers in fastText's file format: supervised models, quantized or not, read and applied.
//!
//! ```text
//! bytes of a model file --Model::read--> Model --Classifier--> the probability of every label, for each text
//! ```
//!
//! A text is the mean of the rows of its words, their character n-grams and word n-grams; the labels are a linear
//! function of that mean. So where a model has fewer labels than dimensions, each row is multiplied by the labels'
//! weights once, when the file is read, and a text is the mean of its rows' scores: a model of two labels then reads 8
//! bytes a word where it would read 256. Sums are made in 64 bits in the order of the words, so that the same text has
//! the same scores on every machine, equal to those of the fastText program but for its rounding (5e-6 at most).
//!
//! A model file is the user's and may be damaged: every length and index in it is checked against its bytes.

mod classifier;
mod file;
mod model;
mod tokens;

pub use classifier::{Classifier, Form};
pub use model::Model;
pub use tokens::plain_tokens;

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A column of texts.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// Bytes that are no model, or one that cannot be applied.
    #[error("this is no fastText classifier: {0}")]
    Model(String),
}
