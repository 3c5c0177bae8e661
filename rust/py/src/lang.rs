//! Bindings of `curate_lang`.

use arrow_array::types::{Float32Type, Int32Type, UInt16Type, UInt32Type};
use curate_lang::{Arrays, Identifier, Model};
use curate_text::Cpu;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrow::{Column, Primitive, TextColumn};
use crate::errors::Error;

/// The file of a language model, from the arrays of py3langid's.
#[pyfunction]
#[pyo3(signature = (labels, priors, weights, rows, row, feature))]
fn prepare_languages<'py>(
    py: Python<'py>,
    labels: Vec<String>,
    priors: Primitive<Float32Type>,
    weights: Primitive<UInt16Type>,
    rows: Primitive<UInt32Type>,
    row: Primitive<UInt32Type>,
    feature: Primitive<Int32Type>,
) -> Result<Bound<'py, PyBytes>, Error> {
    let file = py.detach(|| {
        curate_lang::prepare(&Arrays {
            labels,
            priors: &priors,
            weights: &weights,
            rows: &rows,
            row: &row,
            feature: &feature,
        })
    })?;
    Ok(PyBytes::new(py, &file))
}

/// A language model. Opened once a worker; it releases the GIL; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct Languages(Model);

#[pymethods]
impl Languages {
    #[new]
    fn new(py: Python<'_>, file: &[u8]) -> Result<Self, Error> {
        Ok(Self(py.detach(|| Model::read(file))?))
    }

    #[getter]
    fn labels(&self) -> Vec<&str> {
        self.0.labels.iter().map(String::as_str).collect()
    }

    #[pyo3(signature = (text, *, characters))]
    fn identify(
        &self,
        py: Python<'_>,
        text: TextColumn,
        characters: usize,
    ) -> Result<(Column, Column), Error> {
        let cpu = Cpu::detect()?;
        let found =
            py.detach(|| Identifier::new(&self.0, cpu).identify(text.texts(), characters))?;
        Ok((
            Column::primitive::<Int32Type>(found.iter().map(|f| f.language as i32).collect()),
            Column::primitive::<Float32Type>(found.iter().map(|f| f.probability).collect()),
        ))
    }
}

/// Adds the functions and classes of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Languages>()?;
    module.add_function(wrap_pyfunction!(prepare_languages, module)?)
}
