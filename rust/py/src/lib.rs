//! The Python module `curate._rust`: unwrap Arrow, release the GIL, call a kernel, wrap.

mod arrow;
mod bpe;
mod classify;
mod confine;
mod decontam;
mod dedup;
mod errors;
mod html;
mod lang;
mod pii;
mod signals;
mod text;
mod urls;
mod warc;

use curate_text::Cpu;
use pyo3::prelude::*;

/// Which kernels this process uses: "avx512", "avx2" or "portable" (CURATE_CPU forces a lower one).
#[pyfunction]
fn cpu_path() -> Result<&'static str, errors::Error> {
    Ok(Cpu::detect()?.name())
}

#[pymodule(gil_used = false)]
fn _rust(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<arrow::Column>()?;
    module.add_function(wrap_pyfunction!(cpu_path, module)?)?;
    text::register(module)?;
    dedup::register(module)?;
    decontam::register(module)?;
    html::register(module)?;
    lang::register(module)?;
    signals::register(module)?;
    pii::register(module)?;
    bpe::register(module)?;
    classify::register(module)?;
    urls::register(module)?;
    confine::register(module)?;
    warc::register(module)
}
