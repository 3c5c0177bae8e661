//! Bindings of `curate_dedup`.

use arrow_array::types::{Float64Type, UInt16Type, UInt32Type, UInt64Type};
use curate_dedup::minhash::Params;
use curate_dedup::{
    clusters as components, jaccard as similarity, lsh, minhash, sha256 as digests,
};
use curate_text::Cpu;
use pyo3::prelude::*;

use crate::arrow::{Column, Ids, Lists, Primitive, TextColumn};
use crate::errors::Error;

/// SHA-256 of every row: fixed_size_binary(32).
#[pyfunction]
fn sha256(py: Python<'_>, text: TextColumn) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    let out = py.detach(|| digests::sha256(text.texts(), cpu));
    Ok(Column::fixed(out)?)
}

/// Band keys and shingle hashes of every row.
#[pyfunction]
#[pyo3(signature = (text, *, ngram = 5, bands = 14, rows = 8, seed = 1))]
fn minhash_sign(
    py: Python<'_>,
    text: TextColumn,
    ngram: usize,
    bands: usize,
    rows: usize,
    seed: u64,
) -> Result<(Column, Column), Error> {
    let cpu = Cpu::detect()?;
    let params = Params {
        ngram,
        bands,
        rows,
        seed,
    };
    let out = py.detach(|| minhash::sign(text.texts(), params, cpu))?;
    let keys = Column::fixed_lists::<UInt64Type>(bands, out.keys, out.valid)?;
    Ok((
        keys,
        Column::lists::<UInt64Type>(out.offsets, out.shingles)?,
    ))
}

/// Candidate pairs of the rows that share band and key.
#[pyfunction]
fn lsh_pairs(
    py: Python<'_>,
    band: Primitive<UInt16Type>,
    key: Primitive<UInt64Type>,
    doc_id: Ids,
) -> Result<(Column, Column), Error> {
    let pairs = py.detach(|| lsh::lsh_pairs(&band, &key, &doc_id))?;
    let (a, b) = pairs.into_iter().unzip();
    Ok((Column::fixed::<16>(a)?, Column::fixed::<16>(b)?))
}

/// Exact Jaccard similarity of rows a[i] and b[i]: float64.
#[pyfunction]
fn jaccard(
    py: Python<'_>,
    shingles: Lists<UInt64Type>,
    a: Primitive<UInt32Type>,
    b: Primitive<UInt32Type>,
) -> Result<Column, Error> {
    let out = py.detach(|| {
        let sets = similarity::Sets::new(shingles.offsets(), shingles.values())?;
        similarity::jaccard(sets, &a, &b)
    })?;
    Ok(Column::primitive::<Float64Type>(out))
}

/// Connected components: every id once, sorted, with the smallest id of its component.
#[pyfunction]
fn clusters(py: Python<'_>, a: Ids, b: Ids) -> Result<(Column, Column), Error> {
    let (ids, roots) = py.detach(|| components::clusters(&a, &b))?;
    Ok((Column::fixed(ids)?, Column::fixed(roots)?))
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sha256, module)?)?;
    module.add_function(wrap_pyfunction!(minhash_sign, module)?)?;
    module.add_function(wrap_pyfunction!(lsh_pairs, module)?)?;
    module.add_function(wrap_pyfunction!(jaccard, module)?)?;
    module.add_function(wrap_pyfunction!(clusters, module)?)
}
