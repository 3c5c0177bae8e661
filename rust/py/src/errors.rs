//! One place where the failures of the kernels become Python exceptions.
//!
//! Every kernel error is the fault of a value (a null, a setting out of range, text that is no UTF-8) and says
//! so with the row and the limit, so all of them are ValueError with the kernel's own words.

use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

/// What a function of this module can return with `?`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that a kernel cannot read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// Deduplication.
    #[error(transparent)]
    Dedup(#[from] curate_dedup::Error),
    /// Personal data.
    #[error(transparent)]
    Pii(#[from] curate_pii::Error),
    /// Decontamination.
    #[error(transparent)]
    Decontam(#[from] curate_decontam::Error),
    /// Extraction of main content.
    #[error(transparent)]
    Html(#[from] curate_html::Error),
    /// Language identification.
    #[error(transparent)]
    Lang(#[from] curate_lang::Error),
    /// Text classifiers.
    #[error(transparent)]
    Classify(#[from] curate_classify::Error),
    /// Lists of addresses.
    #[error(transparent)]
    Urls(#[from] curate_urls::Error),
    /// Measures and rules on lines.
    #[error(transparent)]
    Signals(#[from] curate_signals::Error),
    /// Columns of one call that differ in length.
    #[error(
        "{pages} pages and {charsets} charsets: give one charset a page, empty where none was declared"
    )]
    Lengths {
        /// Rows of pages.
        pages: usize,
        /// Rows of charsets.
        charsets: usize,
    },
    /// A setting with a value that there is not.
    #[error("{setting} is {value:?}: use one of {known}")]
    Choice {
        /// The setting.
        setting: &'static str,
        /// The value.
        value: String,
        /// The values there are.
        known: &'static str,
    },
    /// Tokenizer kernels.
    #[error(transparent)]
    Bpe(#[from] curate_bpe::Error),
    /// Tokenizer kernels, where a row is at fault.
    #[error("row {row}: {error}")]
    BpeRow {
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        error: curate_bpe::Error,
    },
    /// A MinHash scheme that there is not, or parameters that it does not have.
    #[error(
        "scheme {0:?}: use classic or fss without parameters, or datasketch with parameters (a, b)"
    )]
    Scheme(String),
    /// A result that Arrow refuses, or a failure of Python itself.
    #[error(transparent)]
    Python(#[from] PyErr),
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Python(error) => error,
            kernel => PyValueError::new_err(kernel.to_string()),
        }
    }
}
