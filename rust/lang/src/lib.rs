//! The language of a text: naive Bayes over byte n-grams that one automaton finds, the method of langid.py
//! (Lui and Baldwin 2012) with the model that py3langid trained.
//!
//! ```text
//! py3langid's arrays --prepare--> one file --Model::read--> Model --identify--> language and probability
//! ```
//!
//! No data of the model is part of this crate. The score of a language is its prior plus the sum over the distinct
//! n-grams of log(1 + count) * weight. Weights are whole numbers of 1/512, so that the sums over n-grams of one count
//! are exact, and the result is the same on every machine whatever the order of the additions.

mod automaton;
mod identify;
mod model;

pub use identify::{Found, Identifier};
pub use model::{Arrays, Model, prepare};

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A column of texts.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// A model that this version cannot use.
    #[error("the language model cannot be used: {0}")]
    Model(String),
}
