//! Bindings of `curate_classify`.

use arrow_array::types::Float32Type;
use curate_classify::{Form, Model};
use pyo3::prelude::*;

use crate::arrow::{Column, TextColumn};
use crate::errors::Error;

/// A text classifier in fastText's file format. Opened once a worker; it releases the GIL; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct Classifier(Model);

#[pymethods]
impl Classifier {
    #[new]
    fn new(py: Python<'_>, file: &[u8]) -> Result<Self, Error> {
        Ok(Self(py.detach(|| Model::read(file))?))
    }

    #[getter]
    fn labels(&self) -> Vec<&str> {
        self.0.labels.iter().map(String::as_str).collect()
    }

    #[pyo3(signature = (text, *, form))]
    fn scores(&self, py: Python<'_>, text: TextColumn, form: &str) -> Result<Column, Error> {
        let form = match form {
            "raw" => Form::Raw,
            "plain" => Form::Plain,
            "distinct" => Form::Distinct,
            _ => {
                return Err(Error::Choice {
                    setting: "form",
                    value: form.to_owned(),
                    known: "raw, plain, distinct",
                });
            }
        };
        let scores =
            py.detach(|| curate_classify::Classifier::new(&self.0, form).scores(text.texts()))?;
        let rows = vec![true; text.texts().len()];
        Ok(Column::fixed_lists::<Float32Type>(
            self.0.labels.len(),
            scores,
            rows,
        )?)
    }
}

/// Every text in the form in which our own classifiers read it: large_string.
#[pyfunction]
fn plain_tokens(py: Python<'_>, text: TextColumn) -> Result<Column, Error> {
    let (offsets, values) = py.detach(|| {
        let texts = text.texts();
        let (mut offsets, mut values) = (vec![0], Vec::new());
        for row in 0..texts.len() {
            curate_classify::plain_tokens(texts.text(row)?, &mut values);
            offsets.push(values.len() as i64);
        }
        Ok::<_, curate_text::Error>((offsets, values))
    })?;
    Ok(Column::strings(offsets, values)?)
}

/// Adds the functions and classes of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Classifier>()?;
    module.add_function(wrap_pyfunction!(plain_tokens, module)?)
}
