//! Bindings of `curate_decontam`.

use arrow_array::types::{UInt32Type, UInt64Type};
use pyo3::prelude::*;

use crate::arrow::{Column, Primitive, TextColumn};
use crate::errors::Error;

/// Hashes of the word n-grams of every row in reading order: large_list<uint64>.
#[pyfunction]
#[pyo3(signature = (text, *, n))]
fn ngram_hashes(py: Python<'_>, text: TextColumn, n: usize) -> Result<Column, Error> {
    let (offsets, values) = py.detach(|| curate_decontam::ngram_hashes(text.texts(), n))?;
    Ok(Column::lists::<UInt64Type>(offsets, values)?)
}

/// Every position whose word n-gram is in `grams`: (row, gram, start, end), all uint32.
#[pyfunction]
#[pyo3(signature = (text, grams, *, n))]
fn ngram_hits(
    py: Python<'_>,
    text: TextColumn,
    grams: Primitive<UInt64Type>,
    n: usize,
) -> Result<(Column, Column, Column, Column), Error> {
    let hits = py.detach(|| curate_decontam::ngram_hits(text.texts(), &grams, n))?;
    Ok((
        Column::primitive::<UInt32Type>(hits.rows),
        Column::primitive::<UInt32Type>(hits.grams),
        Column::primitive::<UInt32Type>(hits.starts),
        Column::primitive::<UInt32Type>(hits.ends),
    ))
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ngram_hashes, module)?)?;
    module.add_function(wrap_pyfunction!(ngram_hits, module)?)
}
