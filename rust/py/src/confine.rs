//! Bindings of `curate_confine`.

use curate_confine::Left;
use pyo3::prelude::*;

/// (why files can still be changed, why the network is still there), after both were taken from this thread and what
/// it starts; None where it holds.
#[pyfunction]
fn confine() -> (Option<String>, Option<String>) {
    pair(curate_confine::confine())
}

/// What `confine` would return; nothing is given up.
#[pyfunction]
fn probe_confinement(py: Python<'_>) -> (Option<String>, Option<String>) {
    pair(py.detach(curate_confine::probe))
}

fn pair(left: Left) -> (Option<String>, Option<String>) {
    (left.files, left.network)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(confine, module)?)?;
    module.add_function(wrap_pyfunction!(probe_confinement, module)?)
}
