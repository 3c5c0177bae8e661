//! Vectors of texts by their words (latent semantic analysis), and clusters of vectors, the same on every machine.
//!
//! ```text
//! text --words--> 2^16 buckets, sqrt(count) x idf, length 1 --basis--> DIM values, length ONE, as int16
//! fit:  rows of a sample --subspace iteration--> an orthonormal basis of what they vary in most
//! vectors --k-means--> centroids --nearest--> the clusters of a vector
//! ```
//!
//! Every sum has one order: over the rows or buckets, for all values of a vector side by side. Dots of quantized vectors
//! are sums of integers. So no instruction set and no number of threads changes a bit.

use crate::Error;
use crate::dots::dots;
use curate_text::hash::Stream;
use curate_text::{Cpu, Texts, Words};

/// The length of a quantized vector: a dot of two is ONE^2 times their cosine.
pub const ONE: f64 = 8192.0;

/// Texts as sparse rows: the buckets of their words, ascending, and how often each comes.
#[derive(Debug, Default, PartialEq)]
pub struct Counts {
    /// Row i has the entries `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<i64>,
    /// Buckets.
    pub bucket: Vec<u32>,
    /// Occurrences.
    pub count: Vec<u32>,
}

/// Counts the words of every text, of its first `words` words.
pub fn counts(texts: Texts<'_>, words: usize, cpu: Cpu) -> Result<Counts, Error> {
    let mut out = Counts {
        offsets: vec![0],
        ..Counts::default()
    };
    let mut scanner = Words::new(cpu);
    let mut buckets: Vec<u32> = Vec::new();
    for row in 0..texts.len() {
        scanner.scan(row, texts.text(row)?)?;
        buckets.clear();
        let hashes = scanner.hashes().iter().take(words);
        buckets.extend(hashes.map(|hash| (hash >> 48) as u32));
        buckets.sort_unstable();
        for group in buckets.chunk_by(|a, b| a == b) {
            out.bucket.push(group[0]);
            out.count.push(group.len() as u32);
        }
        out.offsets.push(out.bucket.len() as i64);
    }
    Ok(out)
}

/// Sparse rows as they come from a column of lists.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Row i has the entries `offsets[i]..offsets[i + 1]`.
    pub offsets: &'a [i64],
    /// Buckets, ascending in a row.
    pub bucket: &'a [u32],
    /// Occurrences.
    pub count: &'a [u32],
}

impl Rows<'_> {
    fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The weights of a row, of length 1: sqrt(count) x idf. Fills `weights` with (bucket, weight).
    fn weigh(&self, row: usize, idf: &[f32], weights: &mut Vec<(u32, f32)>) -> Result<(), Error> {
        weights.clear();
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        let mut sum = 0.0_f64;
        for place in range {
            let bucket = self.bucket[place];
            let idf = *idf.get(bucket as usize).ok_or(Error::OutOfRange {
                name: "bucket",
                value: bucket as usize,
                min: 0,
                max: idf.len().saturating_sub(1),
            })?;
            let weight = f64::from(self.count[place]).sqrt() * f64::from(idf);
            sum += weight * weight;
            weights.push((bucket, weight as f32));
        }
        let length = sum.sqrt();
        if length > 0.0 {
            weights
                .iter_mut()
                .for_each(|(_, weight)| *weight = (f64::from(*weight) / length) as f32);
        }
        Ok(())
    }
}

/// The quantized vectors of rows: `dim` values of each. A row without weights has zeros.
pub fn embed(rows: Rows<'_>, idf: &[f32], basis: &[f32], dim: usize) -> Result<Vec<i16>, Error> {
    check_basis(idf, basis, dim)?;
    let mut out = Vec::with_capacity(rows.len() * dim);
    let (mut weights, mut sums) = (Vec::new(), vec![0.0_f32; dim]);
    for row in 0..rows.len() {
        rows.weigh(row, idf, &mut weights)?;
        sums.fill(0.0);
        for &(bucket, weight) in &weights {
            add(&mut sums, weight, &basis[bucket as usize * dim..][..dim]);
        }
        quantize(sums.iter().map(|&sum| f64::from(sum)), &mut out);
    }
    Ok(out)
}

fn check_basis(idf: &[f32], basis: &[f32], dim: usize) -> Result<(), Error> {
    if basis.len() == idf.len() * dim {
        return Ok(());
    }
    Err(Error::LengthsDiffer {
        name: "basis",
        rows: basis.len() / dim.max(1),
        other: "idf",
        expected: idf.len(),
    })
}

/// Values scaled to the length ONE and rounded; zeros where they have no length.
pub fn quantize(values: impl Iterator<Item = f64> + Clone, out: &mut Vec<i16>) {
    let length = values
        .clone()
        .map(|value| value * value)
        .sum::<f64>()
        .sqrt();
    let scale = if length > 0.0 { ONE / length } else { 0.0 };
    out.extend(values.map(|value| (value * scale).round() as i16));
}

/// An orthonormal basis, `dim` values of each bucket, of the subspace in which the rows vary most.
pub fn basis(rows: Rows<'_>, idf: &[f32], dim: usize, seed: u64) -> Result<Vec<f32>, Error> {
    const ROUNDS: usize = 3;
    let mut stream = Stream::new(seed);
    let mut sparse: Vec<Vec<(u32, f32)>> = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        let mut weights = Vec::new();
        rows.weigh(row, idf, &mut weights)?;
        sparse.push(weights);
    }
    let sign = |bits: u64| if bits & 1 == 0 { 1.0_f32 } else { -1.0 };
    let mut columns: Vec<f32> = (0..idf.len() * dim)
        .map(|_| sign(stream.next_u64() >> 40))
        .collect();
    let mut left = vec![0.0_f32; rows.len() * dim];
    for _ in 0..ROUNDS {
        left.fill(0.0);
        for (row, sums) in sparse.iter().zip(left.chunks_exact_mut(dim)) {
            for &(bucket, weight) in row {
                add(sums, weight, &columns[bucket as usize * dim..][..dim]);
            }
        }
        orthonormalize(&mut left, dim);
        columns.fill(0.0);
        for (row, sums) in sparse.iter().zip(left.chunks_exact(dim)) {
            for &(bucket, weight) in row {
                add(&mut columns[bucket as usize * dim..][..dim], weight, sums);
            }
        }
    }
    orthonormalize(&mut columns, dim);
    Ok(columns)
}

fn add(sums: &mut [f32], weight: f32, values: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

/// Makes the columns of a matrix of `dim` columns orthonormal, by the Cholesky factor of their Gram matrix, twice. A
/// column that depends on those before it becomes zero.
fn orthonormalize(matrix: &mut [f32], dim: usize) {
    for _ in 0..2 {
        let factor = cholesky(gram(matrix, dim), dim);
        for row in matrix.chunks_exact_mut(dim) {
            // Solves x R = row for x, R upper triangular.
            for i in 0..dim {
                let diagonal = factor[i * dim + i];
                let value = if diagonal > 0.0 {
                    f64::from(row[i]) / diagonal
                } else {
                    0.0
                };
                row[i] = value as f32;
                let (value, scale) = (value as f32, &factor[i * dim + i + 1..(i + 1) * dim]);
                for (rest, &r) in row[i + 1..].iter_mut().zip(scale) {
                    *rest -= value * r as f32;
                }
            }
        }
    }
}

/// The dots of all pairs of columns, the upper half.
fn gram(matrix: &[f32], dim: usize) -> Vec<f64> {
    let mut sums = vec![0.0_f64; dim * dim];
    for row in matrix.chunks_exact(dim) {
        for i in 0..dim {
            let value = f64::from(row[i]);
            if value != 0.0 {
                for (sum, &other) in sums[i * dim + i..(i + 1) * dim].iter_mut().zip(&row[i..]) {
                    *sum += value * f64::from(other);
                }
            }
        }
    }
    sums
}

/// The upper triangular R with R^T R = the matrix; rows of columns that depend on others are zero.
fn cholesky(mut matrix: Vec<f64>, dim: usize) -> Vec<f64> {
    for i in 0..dim {
        let whole = matrix[i * dim + i];
        let (before, row) = matrix.split_at_mut(i * dim);
        for earlier in before.chunks_exact(dim) {
            let value = earlier[i];
            for (entry, &other) in row[i..dim].iter_mut().zip(&earlier[i..]) {
                *entry -= value * other;
            }
        }
        let diagonal = if row[i] > whole * 1e-9 {
            row[i].sqrt()
        } else {
            0.0
        };
        let scale = if diagonal > 0.0 { 1.0 / diagonal } else { 0.0 };
        row[i + 1..dim].iter_mut().for_each(|entry| *entry *= scale);
        row[i] = diagonal;
    }
    matrix
}

/// `k` centroids of quantized vectors by spherical k-means from a seed: the first is drawn, every other one is the vector
/// that is farthest from those before it of 16 drawn; then `rounds` rounds. A centroid that no vector is near to stays.
pub fn kmeans(
    vectors: &[i16],
    dim: usize,
    k: usize,
    rounds: usize,
    seed: u64,
    cpu: Cpu,
) -> Vec<i16> {
    let n = vectors.len() / dim.max(1);
    let vector = |i: usize| &vectors[i * dim..(i + 1) * dim];
    let mut centroids: Vec<i16> = Vec::with_capacity(k * dim);
    let mut stream = Stream::new(seed);
    let mut drawn = || (stream.next_u64() % n.max(1) as u64) as usize;
    // The largest dot of a vector that was drawn with the first so many centroids.
    let mut nearness = vec![(i32::MIN, 0); n];
    for number in 0..k.min(n) {
        let mut farthest = (i32::MAX, 0);
        for _ in 0..if number == 0 { 1 } else { 16 } {
            let i = drawn();
            let (near, known) = &mut nearness[i];
            each_dot(vector(i), &centroids[*known * dim..], cpu, |_, dot| {
                *near = dot.max(*near)
            });
            *known = number;
            if *near < farthest.0 {
                farthest = (*near, i);
            }
        }
        centroids.extend(vector(farthest.1));
    }
    for _ in 0..rounds {
        let mut sums = vec![0_i64; centroids.len()];
        for (i, (nearest, _)) in nearest_two(vectors, &centroids, dim, cpu).enumerate() {
            for (sum, &value) in sums[nearest * dim..(nearest + 1) * dim]
                .iter_mut()
                .zip(vector(i))
            {
                *sum += i64::from(value);
            }
        }
        for (number, sums) in sums.chunks_exact(dim).enumerate() {
            if sums.iter().any(|&sum| sum != 0) {
                let mut made = Vec::with_capacity(dim);
                quantize(sums.iter().map(|&sum| sum as f64), &mut made);
                centroids[number * dim..(number + 1) * dim].copy_from_slice(&made);
            }
        }
    }
    centroids
}

/// Vectors by fours, and how many of them count: the first of the last, fewer than four, stands for those missing.
fn fours(vectors: &[i16], dim: usize) -> impl Iterator<Item = ([&[i16]; 4], usize)> {
    vectors.chunks(4 * dim.max(1)).map(move |four| {
        let count = four.len() / dim;
        let at = |i: usize| &four[if i < count { i * dim } else { 0 }..][..dim];
        ([at(0), at(1), at(2), at(3)], count)
    })
}

/// Gives the numbers of `others` and their dots with a vector, in order.
fn each_dot(one: &[i16], others: &[i16], cpu: Cpu, mut found: impl FnMut(usize, i32)) {
    for ((four, count), group) in fours(others, one.len()).zip(0..) {
        for (place, &dot) in dots(four, one, cpu)[..count].iter().enumerate() {
            found(4 * group + place, dot);
        }
    }
}

/// The nearest centroid of every vector and the second nearest, of equal ones the first; both the same where there is one.
pub fn nearest_two<'a>(
    vectors: &'a [i16],
    centroids: &'a [i16],
    dim: usize,
    cpu: Cpu,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    fours(vectors, dim).flat_map(move |(four, count)| {
        let mut nearest = [((i32::MIN, 0), (i32::MIN, 0)); 4];
        for (number, centroid) in centroids.chunks_exact(dim).enumerate() {
            for (dot, (first, second)) in dots(four, centroid, cpu).into_iter().zip(&mut nearest) {
                if dot > second.0 {
                    *second = (dot, number);
                    if dot > first.0 {
                        std::mem::swap(first, second);
                    }
                }
            }
        }
        nearest.into_iter().take(count).map(|(first, second)| {
            let alone = second.0 == i32::MIN;
            (first.1, if alone { first.1 } else { second.1 })
        })
    })
}

/// Pairs (later, earlier, dot) of vectors of one cluster, in keep order, whose dot is `least` or more: of each vector
/// those with the vectors that went for none, at most `per_vector`, the nearest first.
pub fn alike(
    vectors: &[i16],
    dim: usize,
    least: i32,
    per_vector: usize,
    cpu: Cpu,
) -> Vec<(u32, u32, i32)> {
    let (mut numbers, mut staying): (Vec<u32>, Vec<i16>) = Default::default();
    let mut found = Vec::new();
    let mut near: Vec<(i32, u32)> = Vec::new();
    for (i, vector) in vectors.chunks_exact(dim.max(1)).enumerate() {
        near.clear();
        each_dot(vector, &staying, cpu, |place, dot| {
            if dot >= least {
                near.push((-dot, numbers[place]));
            }
        });
        near.sort_unstable();
        let nearest = near.iter().take(per_vector);
        found.extend(nearest.map(|&(dot, other)| (i as u32, other, -dot)));
        if near.is_empty() {
            numbers.push(i as u32);
            staying.extend(vector);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dots::dot;

    fn sample(n: usize, topics: usize) -> Counts {
        let mut stream = Stream::new(3);
        let mut out = Counts {
            offsets: vec![0],
            ..Counts::default()
        };
        for row in 0..n {
            let mut of: Vec<u32> = (0..40)
                .map(|_| ((row % topics) * 100) as u32 + (stream.next_u64() % 60) as u32)
                .collect();
            of.sort_unstable();
            of.dedup();
            out.count.extend(of.iter().map(|_| 1));
            out.bucket.extend(of);
            out.offsets.push(out.bucket.len() as i64);
        }
        out
    }

    fn rows(counts: &Counts) -> Rows<'_> {
        Rows {
            offsets: &counts.offsets,
            bucket: &counts.bucket,
            count: &counts.count,
        }
    }

    #[test]
    fn the_basis_is_orthonormal_and_holds_what_the_rows_are_made_of() {
        let counts = sample(200, 4);
        let idf = vec![1.0; 500];
        let basis = basis(rows(&counts), &idf, 8, 1).unwrap();
        for i in 0..8 {
            for j in 0..8 {
                let dot: f64 = (0..500)
                    .map(|row| f64::from(basis[row * 8 + i]) * f64::from(basis[row * 8 + j]))
                    .sum();
                assert!(
                    (dot - f64::from(u8::from(i == j))).abs() < 1e-4,
                    "{i} {j} {dot}"
                );
            }
        }
        let vectors = embed(rows(&counts), &idf, &basis, 8).unwrap();
        let cosine = |a: usize, b: usize| {
            f64::from(dot(&vectors[a * 8..a * 8 + 8], &vectors[b * 8..b * 8 + 8])) / ONE / ONE
        };
        assert!(cosine(0, 4) > 0.7 && cosine(0, 1) < 0.2 && (cosine(5, 5) - 1.0).abs() < 1e-3);
        let cpu = Cpu::detect().unwrap();
        let centroids = kmeans(&vectors, 8, 4, 5, 1, cpu);
        let of: Vec<_> = nearest_two(&vectors, &centroids, 8, cpu).collect();
        assert!(
            (0..200).all(|row| of[row].0 == of[row % 4].0),
            "a topic is a cluster"
        );
        assert_eq!(basis, super::basis(rows(&counts), &idf, 8, 1).unwrap());
    }

    #[test]
    fn few_rows_leave_columns_empty() {
        let counts = sample(3, 3);
        let basis = basis(rows(&counts), &vec![1.0; 500], 8, 1).unwrap();
        let used = (0..8)
            .filter(|&i| (0..500).any(|row| basis[row * 8 + i].abs() > 1e-6))
            .count();
        assert_eq!(used, 3);
        assert!(embed(rows(&counts), &[1.0; 10], &basis, 8).is_err());
    }

    #[test]
    fn a_vector_goes_with_those_that_went_for_none() {
        let mut vectors = Vec::new();
        for angle in [0.0_f64, 0.2, 0.4, 2.0, 0.0] {
            quantize([angle.cos(), angle.sin()].into_iter(), &mut vectors);
        }
        let least = (0.95 * ONE * ONE) as i32;
        let found: Vec<(u32, u32)> = alike(&vectors, 2, least, 9, Cpu::detect().unwrap())
            .iter()
            .map(|p| (p.0, p.1))
            .collect();
        assert_eq!(found, [(1, 0), (4, 0)]);
    }
}
