//! Bindings of `curate_pii`.

use arrow_array::StringArray;
use arrow_array::types::UInt32Type;
use curate_pii::{Kinds, Spans, Style};
use pyo3::prelude::*;

use crate::arrow::{Column, Primitive, TextColumn};
use crate::errors::Error;

/// Personal data and secrets of the kinds named: (row, start, end, kind) of each.
#[pyfunction]
#[pyo3(signature = (text, *, kinds))]
fn find_personal(
    py: Python<'_>,
    text: TextColumn,
    kinds: Vec<String>,
) -> Result<(Column, Column, Column, Column), Error> {
    let wanted = Kinds::named(kinds.iter().map(String::as_str))?;
    let found = py.detach(|| curate_pii::find_all(text.texts(), wanted))?;
    // A text is below 4 GiB, so its places fit 32 bits.
    let starts = found.hits.iter().map(|hit| hit.start as u32).collect();
    let ends = found.hits.iter().map(|hit| hit.end as u32).collect();
    let kinds = StringArray::from_iter_values(found.hits.iter().map(|hit| hit.kind.name()));
    Ok((
        Column::primitive::<UInt32Type>(found.rows),
        Column::primitive::<UInt32Type>(starts),
        Column::primitive::<UInt32Type>(ends),
        Column::new(kinds),
    ))
}

/// The texts with spans replaced by placeholders, or by made-up values.
#[pyfunction]
#[pyo3(signature = (text, row, start, end, kind, *, placeholder, realistic))]
#[expect(clippy::too_many_arguments)] // they are Python's
fn replace_spans(
    py: Python<'_>,
    text: TextColumn,
    row: Primitive<UInt32Type>,
    start: Primitive<UInt32Type>,
    end: Primitive<UInt32Type>,
    kind: TextColumn,
    placeholder: &str,
    realistic: bool,
) -> Result<Column, Error> {
    let style = Style {
        placeholder,
        realistic,
    };
    let out = py.detach(|| {
        let spans = Spans {
            rows: &row,
            starts: &start,
            ends: &end,
            kinds: kind.texts(),
        };
        curate_pii::replace(text.texts(), spans, style)
    })?;
    Ok(Column::strings(out.offsets, out.values)?)
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(find_personal, module)?)?;
    module.add_function(wrap_pyfunction!(replace_spans, module)?)
}
