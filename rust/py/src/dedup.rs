//! Bindings of `curate_dedup`.

use arrow_array::types::{
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type,
};
use curate_dedup::minhash::{Params, Scheme};
use curate_dedup::{
    anchors as sampled, clusters as components, heads, jaccard as similarity, lsh, mersenne,
    minhash, pairs, semantic, sha256 as digests, substring, suffixes, templates, units,
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
#[pyo3(signature = (text, *, ngram = 5, bands = 14, rows = 8, seed = 1, scheme = "classic", parameters = None, shingles = true))]
#[expect(clippy::too_many_arguments)] // they are Python's keywords
fn minhash_sign(
    py: Python<'_>,
    text: TextColumn,
    ngram: usize,
    bands: usize,
    rows: usize,
    seed: u64,
    scheme: &str,
    parameters: Option<Pair<UInt64Type>>,
    shingles: bool,
) -> Result<(Column, Column), Error> {
    let cpu = Cpu::detect()?;
    let scheme = match (scheme, &parameters) {
        ("classic", None) => Scheme::Classic,
        ("fss", None) => Scheme::Fss,
        ("datasketch", Some((a, b))) => Scheme::Datasketch { a, b },
        _ => return Err(Error::Scheme(scheme.to_owned())),
    };
    let params = Params {
        scheme,
        ngram,
        bands,
        rows,
        seed,
    };
    let wanted = if shingles {
        minhash::Shingles::Sorted
    } else {
        minhash::Shingles::None
    };
    let out = py.detach(|| minhash::sign(text.texts(), params, wanted, cpu))?;
    let keys = Column::fixed_lists::<UInt64Type>(bands, out.keys, out.valid)?;
    Ok((
        keys,
        Column::lists::<UInt64Type>(out.offsets, out.shingles)?,
    ))
}

type Pair<T> = (Primitive<T>, Primitive<T>);

/// The slots of a signature over lists of shingle hashes, for who wants to estimate from them.
#[pyfunction]
fn minhash_slots(
    py: Python<'_>,
    hashes: Lists<UInt64Type>,
    slots: usize,
    seed: u64,
    scheme: &str,
) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    let scheme = match scheme {
        "classic" => Scheme::Classic,
        "fss" => Scheme::Fss,
        _ => return Err(Error::Scheme(scheme.to_owned())),
    };
    let params = Params {
        scheme,
        ngram: 1,
        bands: slots,
        rows: 1,
        seed,
    };
    let rows = hashes.offsets().len() - 1;
    let sets = similarity::Sets::unchecked(hashes.offsets(), hashes.values());
    let out = py.detach(|| {
        let (mut sketch, mut row_slots) = (minhash::Sketch::new(params)?, Vec::new());
        let mut out = Vec::with_capacity(rows * slots);
        for row in 0..rows {
            sketch.fill(cpu, sets.checked(row)?.iter().copied(), &mut row_slots);
            out.extend_from_slice(&row_slots[..slots]);
        }
        Ok::<_, curate_dedup::Error>(out)
    })?;
    Ok(Column::fixed_lists::<UInt32Type>(
        slots,
        out,
        vec![true; rows],
    )?)
}

/// The slots of the datasketch and datatrove formula over lists of hashes.
#[pyfunction]
fn mersenne_slots(
    py: Python<'_>,
    hashes: Lists<UInt64Type>,
    a: Primitive<UInt64Type>,
    b: Primitive<UInt64Type>,
    mask: u64,
) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    if a.len() != b.len() {
        return Err(curate_dedup::Error::LengthsDiffer {
            name: "b",
            rows: b.len(),
            other: "a",
            expected: a.len(),
        }
        .into());
    }
    let rows = hashes.offsets().len() - 1;
    let sets = similarity::Sets::unchecked(hashes.offsets(), hashes.values());
    let out = py.detach(|| {
        let mut out = vec![0; rows * a.len()];
        for (row, slots) in out.chunks_mut(a.len().max(1)).enumerate() {
            mersenne::slots(cpu, &a, &b, sets.checked(row)?.iter().copied(), mask, slots);
        }
        Ok::<_, curate_dedup::Error>(out)
    })?;
    Ok(Column::fixed_lists::<UInt64Type>(
        a.len(),
        out,
        vec![true; rows],
    )?)
}

/// Members of the buckets of band keys: (first, key, member).
#[pyfunction]
fn lsh_buckets(
    py: Python<'_>,
    key: Primitive<UInt64Type>,
    doc_id: Ids,
) -> Result<(Column, Column, Column), Error> {
    let out = py.detach(|| lsh::lsh_buckets(&key, &doc_id))?;
    Ok((
        Column::fixed(out.first)?,
        Column::primitive::<UInt64Type>(out.key),
        Column::fixed(out.member)?,
    ))
}

type BucketRows = (Ids, Primitive<UInt64Type>, Ids);

/// Pairs of the members of buckets, compared by the shingles of `documents` where these are given.
#[pyfunction]
#[pyo3(signature = (members, documents, *, min_jaccard, all))]
fn bucket_pairs(
    py: Python<'_>,
    members: Vec<BucketRows>,
    documents: Option<Vec<(Ids, Lists<UInt64Type>)>>,
    min_jaccard: f64,
    all: bool,
) -> Result<(Column, Column, Column, Column), Error> {
    let out = py.detach(|| {
        let parts: Option<Vec<_>> = documents.as_ref().map(|parts| {
            let parts = parts.iter();
            parts
                .map(|(ids, lists)| {
                    (
                        &**ids,
                        similarity::Sets::unchecked(lists.offsets(), lists.values()),
                    )
                })
                .collect()
        });
        let rule = pairs::Rule { min_jaccard, all };
        let rows: Vec<pairs::Rows<'_>> = members
            .iter()
            .map(|(first, key, member)| (&**first, &**key, &**member))
            .collect();
        pairs::bucket_pairs(&rows, parts.as_deref(), rule)
    })?;
    Ok((
        Column::fixed(out.a)?,
        Column::fixed(out.b)?,
        Column::primitive::<Float64Type>(out.jaccard),
        Column::primitive::<UInt8Type>(out.links.into_iter().map(u8::from).collect()),
    ))
}

/// Which documents of clusters stay, the one that each of the others goes for, and how alike the two are.
#[pyfunction]
#[pyo3(signature = (group, fixed, part, row, keys, shingles, *, bands, min_jaccard, per_key))]
#[expect(clippy::too_many_arguments)] // they are the columns of a table
fn cluster_heads(
    py: Python<'_>,
    group: Primitive<UInt32Type>,
    fixed: Primitive<UInt8Type>,
    part: Primitive<UInt32Type>,
    row: Primitive<UInt32Type>,
    keys: Primitive<UInt64Type>,
    shingles: Vec<Lists<UInt64Type>>,
    bands: usize,
    min_jaccard: Option<f64>,
    per_key: usize,
) -> Result<(Column, Column, u64), Error> {
    let out = py.detach(|| {
        let sets: Vec<similarity::Sets<'_>> = shingles
            .iter()
            .map(|lists| similarity::Sets::unchecked(lists.offsets(), lists.values()))
            .collect();
        let members = heads::Members {
            group: &group,
            fixed: &fixed,
            part: &part,
            row: &row,
            keys: &keys,
            bands,
        };
        let rule = match min_jaccard {
            None => heads::Rule::Connected,
            Some(min_jaccard) => heads::Rule::Star {
                min_jaccard,
                per_key,
            },
        };
        heads::heads(members, &sets, rule)
    })?;
    Ok((
        Column::primitive::<UInt32Type>(out.head),
        Column::primitive::<Float64Type>(out.similarity),
        out.beyond,
    ))
}

/// The place (part, row) of each of the ids in parts of ids; 2^32 - 1 twice where it is in none.
#[pyfunction]
fn id_places(py: Python<'_>, parts: Vec<Ids>, ids: Ids) -> Result<(Column, Column), Error> {
    let out = py.detach(|| {
        let parts: Vec<&[curate_dedup::Id]> = parts.iter().map(|part| &**part).collect();
        components::places(&parts, &ids)
    });
    let (part, row) = out.into_iter().unzip();
    Ok((
        Column::primitive::<UInt32Type>(part),
        Column::primitive::<UInt32Type>(row),
    ))
}

type DifferenceColumns = (Column, Column, Column);

/// How the members `ends[i - 1]..ends[i]` differ from the first of them: (variants, varying, share).
#[pyfunction]
fn cluster_differences(
    py: Python<'_>,
    part: Primitive<UInt32Type>,
    row: Primitive<UInt32Type>,
    ends: Primitive<Int64Type>,
    shingles: Vec<Lists<UInt64Type>>,
) -> Result<DifferenceColumns, Error> {
    let out = py.detach(|| {
        let sets: Vec<similarity::Sets<'_>> = shingles
            .iter()
            .map(|lists| similarity::Sets::unchecked(lists.offsets(), lists.values()))
            .collect();
        let places: Vec<(u32, u32)> = part.iter().copied().zip(row.iter().copied()).collect();
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts
            .zip(ends.iter())
            .map(|(start, &end)| {
                let cluster = &places[start as usize..end as usize];
                templates::differences(cluster[0], &cluster[1..], &sets)
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok((
        Column::primitive::<UInt32Type>(out.iter().map(|one| one.variants).collect()),
        Column::primitive::<UInt32Type>(out.iter().map(|one| one.varying).collect()),
        Column::primitive::<Float64Type>(out.iter().map(|one| one.share).collect()),
    ))
}

/// The anchors of every row for repeats of `min_length` bytes: (row, hash, place).
#[pyfunction]
#[pyo3(signature = (text, *, min_length))]
fn anchors(
    py: Python<'_>,
    text: TextColumn,
    min_length: usize,
) -> Result<(Column, Column, Column), Error> {
    let out = py.detach(|| sampled::anchors(text.texts(), min_length))?;
    Ok((
        Column::primitive::<UInt32Type>(out.row),
        Column::primitive::<UInt64Type>(out.hash),
        Column::primitive::<UInt64Type>(out.place),
    ))
}

type RepeatColumns = (Column, Column, Column, Column, u64);

/// The repeats around anchors of equal hash, verified in the texts: (anchor, start, end, other, beyond).
#[pyfunction]
#[pyo3(signature = (hash, part, row, place, texts, *, min_length, per_anchor))]
#[expect(clippy::too_many_arguments)] // they are the columns of a table
fn repeats(
    py: Python<'_>,
    hash: Primitive<UInt64Type>,
    part: Primitive<UInt32Type>,
    row: Primitive<UInt32Type>,
    place: Primitive<UInt64Type>,
    texts: Vec<TextColumn>,
    min_length: usize,
    per_anchor: usize,
) -> Result<RepeatColumns, Error> {
    let out = py.detach(|| {
        let texts: Vec<_> = texts.iter().map(TextColumn::texts).collect();
        let placed = substring::Placed {
            hash: &hash,
            part: &part,
            row: &row,
            place: &place,
        };
        substring::repeats(placed, &texts, min_length, per_anchor)
    })?;
    Ok((
        Column::primitive::<UInt32Type>(out.anchor),
        Column::primitive::<UInt64Type>(out.start),
        Column::primitive::<UInt64Type>(out.end),
        Column::primitive::<UInt32Type>(out.other),
        out.beyond,
    ))
}

/// The buckets of the words of every row, and how often each comes.
#[pyfunction]
#[pyo3(signature = (text, *, words))]
fn word_counts(py: Python<'_>, text: TextColumn, words: usize) -> Result<(Column, Column), Error> {
    let cpu = Cpu::detect()?;
    let out = py.detach(|| semantic::counts(text.texts(), words, cpu))?;
    Ok((
        Column::lists::<UInt32Type>(out.offsets.clone(), out.bucket)?,
        Column::lists::<UInt32Type>(out.offsets, out.count)?,
    ))
}

/// Offsets that begin with 0, as those of a column that is no slice do; with as many values as the other column has.
fn word_rows<'a>(
    bucket: &'a Lists<UInt32Type>,
    count: &'a Lists<UInt32Type>,
) -> Result<semantic::Rows<'a>, curate_dedup::Error> {
    if bucket.offsets() != count.offsets() || bucket.values().len() != count.values().len() {
        return Err(curate_dedup::Error::LengthsDiffer {
            name: "count",
            rows: count.values().len(),
            other: "bucket",
            expected: bucket.values().len(),
        });
    }
    Ok(semantic::Rows {
        offsets: bucket.offsets(),
        bucket: bucket.values(),
        count: count.values(),
    })
}

/// The basis of vectors, fitted to rows of words.
#[pyfunction]
#[pyo3(signature = (bucket, count, idf, *, dim, seed))]
fn word_basis(
    py: Python<'_>,
    bucket: Lists<UInt32Type>,
    count: Lists<UInt32Type>,
    idf: Primitive<Float32Type>,
    dim: usize,
    seed: u64,
) -> Result<Column, Error> {
    let out = py.detach(|| semantic::basis(word_rows(&bucket, &count)?, &idf, dim, seed))?;
    Ok(Column::primitive::<Float32Type>(out))
}

/// The vectors of rows of words, `dim` values each.
#[pyfunction]
#[pyo3(signature = (bucket, count, idf, basis, *, dim))]
fn word_vectors(
    py: Python<'_>,
    bucket: Lists<UInt32Type>,
    count: Lists<UInt32Type>,
    idf: Primitive<Float32Type>,
    basis: Primitive<Float32Type>,
    dim: usize,
) -> Result<Column, Error> {
    let out = py.detach(|| semantic::embed(word_rows(&bucket, &count)?, &idf, &basis, dim))?;
    Ok(Column::primitive::<Int16Type>(out))
}

/// Centroids of vectors by spherical k-means, `dim` values each.
#[pyfunction]
#[pyo3(signature = (vectors, *, dim, k, rounds, seed))]
fn vector_centers(
    py: Python<'_>,
    vectors: Primitive<Int16Type>,
    dim: usize,
    k: usize,
    rounds: usize,
    seed: u64,
) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    let out = py.detach(|| semantic::kmeans(&vectors, dim, k, rounds, seed, cpu));
    Ok(Column::primitive::<Int16Type>(out))
}

/// The nearest and the second nearest center of each vector.
#[pyfunction]
#[pyo3(signature = (vectors, centers, *, dim))]
fn nearest_centers(
    py: Python<'_>,
    vectors: Primitive<Int16Type>,
    centers: Primitive<Int16Type>,
    dim: usize,
) -> Result<(Column, Column), Error> {
    let cpu = Cpu::detect()?;
    let (first, second) = py.detach(|| {
        semantic::nearest_two(&vectors, &centers, dim.max(1), cpu)
            .map(|(first, second)| (first as u32, second as u32))
            .unzip()
    });
    Ok((
        Column::primitive::<UInt32Type>(first),
        Column::primitive::<UInt32Type>(second),
    ))
}

/// Pairs of vectors of one cluster that are alike: (row, other, dot).
#[pyfunction]
#[pyo3(signature = (vectors, ends, *, dim, least, per_vector))]
fn alike_vectors(
    py: Python<'_>,
    vectors: Primitive<Int16Type>,
    ends: Primitive<Int64Type>,
    dim: usize,
    least: i32,
    per_vector: usize,
) -> Result<(Column, Column, Column), Error> {
    let cpu = Cpu::detect()?;
    let (mut rows, mut others, mut dots) = (Vec::new(), Vec::new(), Vec::new());
    py.detach(|| {
        let mut start = 0;
        for &end in ends.iter() {
            let cluster = &vectors[start * dim..end as usize * dim];
            for (row, other, dot) in semantic::alike(cluster, dim, least, per_vector, cpu) {
                rows.push(start as u32 + row);
                others.push(start as u32 + other);
                dots.push(dot);
            }
            start = end as usize;
        }
    });
    Ok((
        Column::primitive::<UInt32Type>(rows),
        Column::primitive::<UInt32Type>(others),
        Column::primitive::<Int32Type>(dots),
    ))
}

/// Every place of the bytes of row 0, in the order of what follows it.
#[pyfunction]
fn suffix_array(py: Python<'_>, text: TextColumn) -> Result<Column, Error> {
    let out = py.detach(|| suffixes::suffix_array(text.texts().bytes(0)))?;
    Ok(Column::primitive::<UInt32Type>(out))
}

/// The lines, paragraphs or sentences of every row: (rows, bounds), both int64.
#[pyfunction]
#[pyo3(signature = (text, *, unit))]
fn text_units(py: Python<'_>, text: TextColumn, unit: &str) -> Result<(Column, Column), Error> {
    let unit = match unit {
        "line" => units::Unit::Line,
        "paragraph" => units::Unit::Paragraph,
        "sentence" => units::Unit::Sentence,
        _ => {
            return Err(Error::Choice {
                setting: "unit",
                value: unit.to_owned(),
                known: "line, paragraph or sentence",
            });
        }
    };
    let out = py.detach(|| units::cut(text.texts(), unit))?;
    Ok((
        Column::primitive::<Int64Type>(out.rows),
        Column::primitive::<Int64Type>(out.bounds),
    ))
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

/// Connected components: every id once, sorted, and the row of its component's smallest id.
#[pyfunction]
fn clusters(py: Python<'_>, pairs: Vec<(Ids, Ids)>) -> Result<(Column, Column), Error> {
    let out = py.detach(|| {
        let parts: Vec<components::Pairs<'_>> = pairs.iter().map(|(a, b)| (&**a, &**b)).collect();
        components::clusters(&parts)
    })?;
    Ok((
        Column::fixed(out.ids)?,
        Column::primitive::<UInt32Type>(out.roots),
    ))
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sha256, module)?)?;
    module.add_function(wrap_pyfunction!(minhash_sign, module)?)?;
    module.add_function(wrap_pyfunction!(minhash_slots, module)?)?;
    module.add_function(wrap_pyfunction!(mersenne_slots, module)?)?;
    module.add_function(wrap_pyfunction!(lsh_buckets, module)?)?;
    module.add_function(wrap_pyfunction!(bucket_pairs, module)?)?;
    module.add_function(wrap_pyfunction!(jaccard, module)?)?;
    module.add_function(wrap_pyfunction!(clusters, module)?)?;
    module.add_function(wrap_pyfunction!(cluster_heads, module)?)?;
    module.add_function(wrap_pyfunction!(id_places, module)?)?;
    module.add_function(wrap_pyfunction!(cluster_differences, module)?)?;
    module.add_function(wrap_pyfunction!(anchors, module)?)?;
    module.add_function(wrap_pyfunction!(repeats, module)?)?;
    module.add_function(wrap_pyfunction!(suffix_array, module)?)?;
    module.add_function(wrap_pyfunction!(word_counts, module)?)?;
    module.add_function(wrap_pyfunction!(word_basis, module)?)?;
    module.add_function(wrap_pyfunction!(word_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(vector_centers, module)?)?;
    module.add_function(wrap_pyfunction!(nearest_centers, module)?)?;
    module.add_function(wrap_pyfunction!(alike_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(text_units, module)?)
}
