//! Bindings of `curate_text`.

use arrow_array::types::Int64Type;
use curate_text::mojibake::Gate;
use curate_text::windows::{Windows, windows as cut};
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

/// The beginning of every text and, of long ones, further windows: (row: int64, part: large_string).
#[pyfunction]
#[pyo3(signature = (text, *, first, further, length, least))]
fn windows(
    py: Python<'_>,
    text: TextColumn,
    first: usize,
    further: usize,
    length: usize,
    least: usize,
) -> Result<(Column, Column), Error> {
    let settings = Windows {
        first,
        further,
        length,
        least,
    };
    let parts = py.detach(|| cut(text.texts(), settings))?;
    Ok((
        Column::primitive::<Int64Type>(parts.rows),
        Column::strings(parts.offsets, parts.values)?,
    ))
}

/// Finds lines that may be mojibake. Opened once a worker; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct MojibakeGate(Gate);

#[pymethods]
impl MojibakeGate {
    #[new]
    fn new(encodings: Vec<String>, alone: &str) -> Self {
        let characters: Vec<Vec<char>> = encodings.iter().map(|e| e.chars().collect()).collect();
        Self(Gate::new(&characters, alone))
    }

    fn lines(&self, py: Python<'_>, text: TextColumn) -> Result<(Column, Column, Column), Error> {
        let lines = py.detach(|| self.0.lines(text.texts()))?;
        let column = |values: Vec<i64>| Column::primitive::<Int64Type>(values);
        Ok((
            column(lines.iter().map(|line| line.row as i64).collect()),
            column(lines.iter().map(|line| line.start as i64).collect()),
            column(lines.iter().map(|line| line.end as i64).collect()),
        ))
    }
}

/// Adds the functions and the class of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<MojibakeGate>()?;
    module.add_function(wrap_pyfunction!(windows, module)?)?;
    module.add_function(wrap_pyfunction!(tidy, module)?)?;
    module.add_function(wrap_pyfunction!(nfc, module)?)
}
