//! Tokenizer kernels: pretokenize, count, train, encode, pack.

use pyo3::prelude::*;

/// Adds the functions of this file to the module.
pub fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
