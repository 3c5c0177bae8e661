//! Bindings of `curate_text`.

use pyo3::prelude::*;

use crate::arrow::{Column, TextColumn};
use crate::errors::Error;

/// Every row in Unicode normalization form C: large_string.
#[pyfunction]
fn nfc(py: Python<'_>, text: TextColumn) -> Result<Column, Error> {
    let (offsets, values) = py.detach(|| curate_text::nfc::nfc(text.texts()))?;
    Ok(Column::strings(offsets, values)?)
}

/// Every row in its one form, with no more than `max_blank_lines` empty lines in a row: large_string.
#[pyfunction]
fn tidy(py: Python<'_>, text: TextColumn, max_blank_lines: usize) -> Result<Column, Error> {
    let (offsets, values) = py.detach(|| curate_text::tidy::tidy(text.texts(), max_blank_lines))?;
    Ok(Column::strings(offsets, values)?)
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tidy, module)?)?;
    module.add_function(wrap_pyfunction!(nfc, module)?)
}
