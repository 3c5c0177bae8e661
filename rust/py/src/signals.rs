//! Bindings of `curate_signals`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StructArray};
use arrow_schema::{DataType, Field};
use curate_signals::MEASURES;
use curate_text::Cpu;
use pyo3::prelude::*;

use crate::arrow::{Column, TextColumn, arrow_error};
use crate::errors::Error;

/// The heuristic measures of every row: a struct of float64 fields, with units in the field metadata.
#[pyfunction]
fn signals(py: Python<'_>, text: TextColumn) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    let rows = text.texts().len();
    let columns = py.detach(|| curate_signals::measure(text.texts(), cpu))?;
    let fields = MEASURES.iter().map(|measure| {
        let unit = [("unit".to_owned(), measure.unit.to_owned())];
        Field::new(measure.name, DataType::Float64, false).with_metadata(unit)
    });
    let arrays = columns
        .into_iter()
        .map(|column| Arc::new(Float64Array::from(column)) as ArrayRef);
    let table = StructArray::try_new_with_length(fields.collect(), arrays.collect(), None, rows);
    Ok(Column::new(table.map_err(arrow_error)?))
}

/// Name, unit and definition of every measure, in the order of the fields of `signals`.
#[pyfunction]
fn measures() -> Vec<(&'static str, &'static str, &'static str)> {
    MEASURES
        .iter()
        .map(|measure| (measure.name, measure.unit, measure.definition))
        .collect()
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(signals, module)?)?;
    module.add_function(wrap_pyfunction!(measures, module)?)
}
