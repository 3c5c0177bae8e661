//! The Python module `curate._rust`: unwrap Arrow, release the GIL, call a kernel, wrap.

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _rust(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
