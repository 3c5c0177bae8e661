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

/// Adds the function of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(nfc, module)?)
}
