//! Bindings of `curate_pii`.

use arrow_array::StringArray;
use arrow_array::types::UInt32Type;
use curate_pii::Placeholders;
use pyo3::prelude::*;

use crate::arrow::{Column, TextColumn};
use crate::errors::Error;

/// Replaces personal data: the texts, and (row, start, end, kind) of what was replaced.
#[pyfunction]
#[pyo3(signature = (text, *, email, ip))]
fn redact(
    py: Python<'_>,
    text: TextColumn,
    email: Option<&str>,
    ip: Option<&str>,
) -> Result<(Column, Column, Column, Column, Column), Error> {
    let out = py.detach(|| curate_pii::redact(text.texts(), Placeholders { email, ip }))?;
    // A text is below 4 GiB, so its places fit 32 bits.
    let starts = out.hits.iter().map(|hit| hit.start as u32).collect();
    let ends = out.hits.iter().map(|hit| hit.end as u32).collect();
    let kinds = StringArray::from_iter_values(out.hits.iter().map(|hit| hit.kind.name()));
    Ok((
        Column::strings(out.offsets, out.values)?,
        Column::primitive::<UInt32Type>(out.rows),
        Column::primitive::<UInt32Type>(starts),
        Column::primitive::<UInt32Type>(ends),
        Column::new(kinds),
    ))
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(redact, module)?)
}
