//! The Python module `curate._rust`: unwrap Arrow, release the GIL, call a kernel, wrap.

mod arrow;
mod bpe;
mod errors;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _rust(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<arrow::Column>()?;
    bpe::register(module)
}
