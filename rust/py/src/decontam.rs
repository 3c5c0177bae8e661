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

/// The n-grams to look for, opened once a worker; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct NgramFinder(curate_decontam::Finder<Primitive<UInt64Type>>);

#[pymethods]
impl NgramFinder {
    #[new]
    #[pyo3(signature = (grams, *, n))]
    fn new(py: Python<'_>, grams: Primitive<UInt64Type>, n: usize) -> Result<Self, Error> {
        Ok(Self(py.detach(|| curate_decontam::Finder::new(grams, n))?))
    }

    /// Every position whose word n-gram is one of them: (row, gram, start, end), all uint32.
    fn hits(
        &self,
        py: Python<'_>,
        text: TextColumn,
    ) -> Result<(Column, Column, Column, Column), Error> {
        let hits = py.detach(|| self.0.hits(text.texts()))?;
        Ok((
            Column::primitive::<UInt32Type>(hits.rows),
            Column::primitive::<UInt32Type>(hits.grams),
            Column::primitive::<UInt32Type>(hits.starts),
            Column::primitive::<UInt32Type>(hits.ends),
        ))
    }
}

/// Adds the functions and the class of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NgramFinder>()?;
    module.add_function(wrap_pyfunction!(ngram_hashes, module)?)
}
