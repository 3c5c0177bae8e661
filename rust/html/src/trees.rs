//! Boosted trees over rows of features, all rows of a page at once.
//!
//! A feature's value becomes the number of thresholds below it (one byte), so that every comparison in every tree
//! is one of bytes. A tree is not walked: for 64 rows at a time, each of its nodes strikes out the leaves that a
//! row can no longer reach, and the lowest leaf left is the row's (QuickScorer: Lucchese et al., SIGIR 2015). Eight
//! leaves are the bits of one byte, and most nodes have leaves of one such byte to their left (1.2 on average), so
//! that everything is done on vectors of 64 bytes. Leaves are 16-bit integers, so that a sum is exact and the same on
//! every machine.

use curate_text::Cpu;
use curate_text::cpu::Path;

use crate::Error;
use crate::bytes::Bytes;

/// Rows that are looked at together.
const LANES: usize = 64;
/// A tree's leaves are bits of one u32.
const MAX_LEAVES: usize = 32;
/// Fewer thresholds are searched, more are counted.
const FEW_THRESHOLDS: usize = 64;
/// Bytes of the bits of leaves.
const PLANES: usize = MAX_LEAVES / 8;

#[derive(Clone, Copy, Debug)]
struct Node {
    feature: u8,
    /// Rows whose bin is higher go right.
    bin: u8,
    /// The leaves that remain for rows that go right, as bits.
    right: u32,
}

/// What a node does to one byte of the bits of leaves.
#[derive(Clone, Copy, Debug)]
struct Strike {
    feature: u8,
    /// Rows whose bin is higher go right.
    bin: u8,
    /// The leaves that remain for rows that go right, as bits.
    right: u8,
}

#[derive(Clone, Debug)]
struct Tree {
    nodes: Vec<Node>,
    /// The nodes again, for each byte of the leaves those that strike any of it.
    planes: [Vec<Strike>; PLANES],
    leaves: [i16; MAX_LEAVES],
    /// Training weight of each leaf, for explanations.
    weights: [f32; MAX_LEAVES],
}

/// A sum of trees, and the logistic function of it.
#[derive(Clone, Debug)]
pub struct Forest {
    /// Ascending thresholds of each feature.
    thresholds: Vec<Vec<f32>>,
    trees: Vec<Tree>,
    /// What a leaf of 1 counts.
    scale: f32,
}

impl Forest {
    /// Reads a forest over `features` features. Little-endian: u16 features, for each a u8 count and that many f32;
    /// f32 scale; u16 trees, each a u8 number of leaves, for each inner node in preorder its feature, its threshold
    /// and how many leaves lie to its left (u8 each), for each leaf its value (i16) and its weight (u8, 8 log2).
    pub fn read(bytes: &mut Bytes<'_>, features: usize) -> Result<Self, Error> {
        let stored = usize::from(bytes.u16()?);
        if stored != features {
            return Err(Error::Model {
                what: format!("it has {stored} features where this version measures {features}"),
            });
        }
        let mut thresholds = Vec::with_capacity(features);
        for _ in 0..features {
            let count = bytes.u8()?;
            thresholds.push(
                (0..count)
                    .map(|_| bytes.f32())
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
        let scale = bytes.f32()?;
        let trees = bytes.u16()?;
        let trees = (0..trees)
            .map(|_| Tree::read(bytes, &thresholds))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            thresholds,
            trees,
            scale,
        })
    }

    /// The probabilities of `n` rows, in order; `write` appends the features of a row to a buffer, so that no more
    /// than 64 rows are in memory.
    pub fn probabilities(
        &self,
        n: usize,
        mut write: impl FnMut(usize, &mut Vec<f32>),
        cpu: Cpu,
        out: &mut Vec<f32>,
    ) {
        out.clear();
        let width = self.thresholds.len();
        let mut columns = vec![[0_u8; LANES]; width];
        let mut values = vec![[0_f32; LANES]; width];
        let mut row = Vec::with_capacity(width);
        for first in (0..n).step_by(LANES) {
            let lanes = LANES.min(n - first);
            for lane in 0..lanes {
                row.clear();
                write(first + lane, &mut row);
                for (column, &value) in values.iter_mut().zip(&row) {
                    column[lane] = value;
                }
            }
            let sums = sums(self, &values, &mut columns, cpu);
            let score = |&sum: &i32| logistic(f64::from(sum) * f64::from(self.scale));
            out.extend(sums[..lanes].iter().map(score));
        }
    }

    /// How far each feature moves the score of a row (log-odds), summed over the trees: at every node on the row's
    /// way, the difference that the branch makes to the mean of the leaves below (Saabas 2014).
    pub fn contributions(&self, row: &[f32]) -> Vec<f32> {
        let mut moved = vec![0.0; self.thresholds.len()];
        for tree in &self.trees {
            let (mut at, mut leaves) = (0, 0..tree.nodes.len() + 1);
            let mut mean = tree.mean(leaves.clone());
            while leaves.len() > 1 {
                let node = tree.nodes[at];
                let left_end = left_end(node, leaves.clone());
                let feature = usize::from(node.feature);
                let goes_left = row[feature] <= self.thresholds[feature][usize::from(node.bin)];
                (at, leaves) = if goes_left {
                    (at + 1, leaves.start..left_end)
                } else {
                    (at + left_end - leaves.start, left_end..leaves.end)
                };
                let below = tree.mean(leaves.clone());
                moved[feature] += (below - mean) * self.scale;
                mean = below;
            }
        }
        moved
    }
}

/// Where the leaves to the left of a node over `leaves` end.
fn left_end(node: Node, leaves: std::ops::Range<usize>) -> usize {
    leaves.start + (!node.right >> leaves.start).trailing_ones() as usize
}

impl Tree {
    fn read(bytes: &mut Bytes<'_>, thresholds: &[Vec<f32>]) -> Result<Self, Error> {
        let n_leaves = usize::from(bytes.u8()?);
        if !(1..=MAX_LEAVES).contains(&n_leaves) {
            return Err(Error::Model {
                what: format!("a tree has {n_leaves} leaves, not 1 to {MAX_LEAVES}"),
            });
        }
        let mut nodes = Vec::with_capacity(n_leaves - 1);
        // In preorder, the leaves of the subtrees that are still to be read, the next one last.
        let mut open = vec![(0, n_leaves)];
        while let Some((start, end)) = open.pop() {
            if end - start == 1 {
                continue;
            }
            let (feature, bin, left) = (bytes.u8()?, bytes.u8()?, usize::from(bytes.u8()?));
            let known = thresholds.get(usize::from(feature)).map_or(0, Vec::len);
            if usize::from(bin) >= known || left == 0 || left >= end - start {
                return Err(Error::Model {
                    what: format!(
                        "a node asks for threshold {bin} of feature {feature} and {left} leaves"
                    ),
                });
            }
            let middle = start + left;
            let gone = (((1_u64 << left) - 1) << start) as u32;
            nodes.push(Node {
                feature,
                bin,
                right: !gone,
            });
            open.push((middle, end));
            open.push((start, middle));
        }
        let planes = std::array::from_fn(|plane| {
            let strikes = nodes.iter().map(|node| Strike {
                feature: node.feature,
                bin: node.bin,
                right: node.right.to_le_bytes()[plane],
            });
            strikes.filter(|strike| strike.right != u8::MAX).collect()
        });
        let mut tree = Self {
            nodes,
            planes,
            leaves: [0; MAX_LEAVES],
            weights: [0.0; MAX_LEAVES],
        };
        for leaf in 0..n_leaves {
            tree.leaves[leaf] = bytes.i16()?;
            tree.weights[leaf] = (f32::from(bytes.u8()?) / 8.0).exp2();
        }
        Ok(tree)
    }

    fn mean(&self, leaves: std::ops::Range<usize>) -> f32 {
        let weights = &self.weights[leaves.clone()];
        let values = self.leaves[leaves].iter().zip(weights);
        let sum: f32 = values.map(|(&leaf, weight)| f32::from(leaf) * weight).sum();
        sum / weights.iter().sum::<f32>()
    }
}

/// The sums of the leaves of 64 rows, by the best path of this machine.
fn sums(
    forest: &Forest,
    values: &[[f32; LANES]],
    columns: &mut [[u8; LANES]],
    cpu: Cpu,
) -> [i32; LANES] {
    #[cfg(target_arch = "x86_64")]
    match cpu.path() {
        // SAFETY: `cpu` is proof that the machine has these instructions.
        Path::Avx512 => return unsafe { sums_avx512(forest, values, columns) },
        // SAFETY: as above.
        Path::Avx2 => return unsafe { sums_avx2(forest, values, columns) },
        Path::Portable => {}
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = cpu;
    sums_portable(forest, values, columns)
}

/// A vector of 64 rows is one register.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
fn sums_avx512(
    forest: &Forest,
    values: &[[f32; LANES]],
    columns: &mut [[u8; LANES]],
) -> [i32; LANES] {
    use std::arch::x86_64::*;
    for ((column, values), thresholds) in columns.iter_mut().zip(values).zip(&forest.thresholds) {
        if thresholds.len() < FEW_THRESHOLDS {
            bin_avx512(thresholds, values, column);
        } else {
            bin(thresholds, values, column);
        }
    }
    let columns = &*columns;
    let strike = |strikes: &[Strike], plane: &mut [u8; LANES]| {
        let all = _mm512_set1_epi8(-1);
        let mut leaves = all;
        for strike in strikes {
            // SAFETY: a column has 64 bytes.
            let bins =
                unsafe { _mm512_loadu_si512(columns[usize::from(strike.feature)].as_ptr().cast()) };
            let goes_right = _mm512_cmpgt_epu8_mask(bins, _mm512_set1_epi8(strike.bin as i8));
            let right = _mm512_set1_epi8(strike.right as i8);
            leaves = _mm512_and_si512(leaves, _mm512_mask_blend_epi8(goes_right, all, right));
        }
        // SAFETY: a plane has 64 bytes.
        unsafe { _mm512_storeu_si512(plane.as_mut_ptr().cast(), leaves) };
    };
    // The leaves of a tree are the 32 words of one register, which a permutation looks up.
    let add = |leaves: &[i16; MAX_LEAVES], lowest: &[u8; LANES], sums: &mut [i32; LANES]| {
        // SAFETY: there are 64 bytes of leaves.
        let leaves = unsafe { _mm512_loadu_si512(leaves.as_ptr().cast()) };
        let (numbers, _) = lowest.as_chunks::<32>();
        let (sums, _) = sums.as_chunks_mut::<32>();
        for (numbers, sums) in numbers.iter().zip(sums) {
            // SAFETY: there are 32 numbers and 32 sums, which are 128 bytes.
            unsafe {
                let numbers = _mm256_loadu_si256(numbers.as_ptr().cast());
                let words = _mm512_permutexvar_epi16(_mm512_cvtepu8_epi16(numbers), leaves);
                let halves = [
                    _mm512_castsi512_si256(words),
                    _mm512_extracti64x4_epi64::<1>(words),
                ];
                for (half, sums) in halves.into_iter().zip(sums.as_chunks_mut::<16>().0) {
                    let sum = _mm512_loadu_si512(sums.as_ptr().cast());
                    let sum = _mm512_add_epi32(sum, _mm512_cvtepi16_epi32(half));
                    _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum);
                }
            }
        }
    };
    sums_by(forest, strike, add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn sums_avx2(
    forest: &Forest,
    values: &[[f32; LANES]],
    columns: &mut [[u8; LANES]],
) -> [i32; LANES] {
    sums_portable(forest, values, columns)
}

#[inline(always)]
fn sums_portable(
    forest: &Forest,
    values: &[[f32; LANES]],
    columns: &mut [[u8; LANES]],
) -> [i32; LANES] {
    for ((column, values), thresholds) in columns.iter_mut().zip(values).zip(&forest.thresholds) {
        bin(thresholds, values, column);
    }
    let columns = &*columns;
    let strike = |strikes: &[Strike], plane: &mut [u8; LANES]| {
        for strike in strikes {
            let column = &columns[usize::from(strike.feature)];
            for (leaves, &bin) in plane.iter_mut().zip(column) {
                // All bits where the row goes left.
                *leaves &= strike.right | u8::from(bin <= strike.bin).wrapping_neg();
            }
        }
    };
    let add = |leaves: &[i16; MAX_LEAVES], lowest: &[u8; LANES], sums: &mut [i32; LANES]| {
        for (sum, &leaf) in sums.iter_mut().zip(lowest) {
            *sum += i32::from(leaves[usize::from(leaf) % MAX_LEAVES]);
        }
    };
    sums_by(forest, strike, add)
}

/// Adds up each row's lowest leaf of every tree: `strike` clears the leaves of a plane that its nodes strike out, `add`
/// adds the leaves of one tree by their numbers.
#[inline(always)]
fn sums_by(
    forest: &Forest,
    strike: impl Fn(&[Strike], &mut [u8; LANES]),
    add: impl Fn(&[i16; MAX_LEAVES], &[u8; LANES], &mut [i32; LANES]),
) -> [i32; LANES] {
    let mut sums = [0_i32; LANES];
    for tree in &forest.trees {
        let mut planes = [[u8::MAX; LANES]; PLANES];
        for (plane, strikes) in planes.iter_mut().zip(&tree.planes) {
            strike(strikes, plane);
        }
        add(&tree.leaves, &lowest(&planes), &mut sums);
    }
    sums
}

/// The number of the lowest leaf that each row can still reach; selections only, so that it is done on vectors.
#[inline(always)]
fn lowest(planes: &[[u8; LANES]; PLANES]) -> [u8; LANES] {
    let mut numbers = [0; LANES];
    for (lane, number) in numbers.iter_mut().enumerate() {
        let (mut leaves, mut first) = (planes[PLANES - 1][lane], 8 * (PLANES as u8 - 1));
        for plane in (0..PLANES - 1).rev() {
            let here = planes[plane][lane];
            leaves = if here != 0 { here } else { leaves };
            first = if here != 0 { 8 * plane as u8 } else { first };
        }
        let lowest = leaves & leaves.wrapping_neg();
        let upper = u8::from(lowest & 0xf0 != 0) << 2;
        let middle = u8::from(lowest & 0xcc != 0) << 1;
        *number = first + upper + middle + u8::from(lowest & 0xaa != 0);
    }
    numbers
}

/// The number of thresholds below each value.
#[inline(always)]
fn bin(thresholds: &[f32], values: &[f32; LANES], column: &mut [u8; LANES]) {
    // Sixteen rows at a time: their values and counts stay in registers.
    let (columns, _) = column.as_chunks_mut::<16>();
    let (values, _) = values.as_chunks::<16>();
    for (column, values) in columns.iter_mut().zip(values) {
        let mut bins = [0_i32; 16];
        for &threshold in thresholds {
            for (bin, &value) in bins.iter_mut().zip(values) {
                *bin += i32::from(value > threshold);
            }
        }
        // A feature has at most 255 thresholds.
        *column = bins.map(|bin| bin as u8);
    }
}

/// The same of fewer than [`FEW_THRESHOLDS`] by binary search: they are in four registers, infinite behind the last.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn bin_avx512(thresholds: &[f32], values: &[f32; LANES], column: &mut [u8; LANES]) {
    use std::arch::x86_64::*;
    let there = (1_u64 << thresholds.len()) - 1;
    let mut parts = [_mm512_set1_ps(f32::INFINITY); FEW_THRESHOLDS / 16];
    for (nth, part) in parts.iter_mut().enumerate() {
        let from = thresholds.as_ptr().wrapping_add(16 * nth);
        // SAFETY: only the thresholds that are there are read.
        *part = unsafe { _mm512_mask_loadu_ps(*part, (there >> (16 * nth)) as u16, from) };
    }
    let middle = _mm512_set1_ps(thresholds.get(31).copied().unwrap_or(f32::INFINITY));
    let (columns, _) = column.as_chunks_mut::<16>();
    let (values, _) = values.as_chunks::<16>();
    for (column, values) in columns.iter_mut().zip(values) {
        // SAFETY: there are 16 values, which are 64 bytes.
        let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        let upper = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(values, middle);
        let mut bins = _mm512_maskz_set1_epi32(upper, 32);
        for step in [16, 8, 4, 2, 1] {
            let at = _mm512_add_epi32(bins, _mm512_set1_epi32(step - 1));
            let low = _mm512_permutex2var_ps(parts[0], at, parts[1]);
            let high = _mm512_permutex2var_ps(parts[2], at, parts[3]);
            let threshold = _mm512_mask_blend_ps(upper, low, high);
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(values, threshold);
            bins = _mm512_mask_add_epi32(bins, above, bins, _mm512_set1_epi32(step));
        }
        // SAFETY: there are 16 bytes.
        unsafe { _mm_storeu_si128(column.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(bins)) };
    }
}

/// 1 / (1 + exp(-x)), by additions and multiplications only, so that every machine gives the same bits.
fn logistic(x: f64) -> f32 {
    let scaled = (-x * std::f64::consts::LOG2_E).clamp(-1000.0, 1000.0);
    let whole = scaled.round();
    let rest = (scaled - whole) * std::f64::consts::LN_2;
    // Taylor's series: |rest| <= ln 2 / 2, where the ninth term is below 1e-10.
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..=9 {
        term *= rest / f64::from(k);
        sum += term;
    }
    let power = f64::from_bits(((whole as i64 + 1023) as u64) << 52);
    (1.0 / (1.0 + sum * power)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features; x0 <= 1.5 ? (x1 <= 0 ? 10 : 20) : (x1 <= 7 ? 30 : 40), and a tree of one leaf.
    fn forest() -> Forest {
        let mut file = vec![2, 0, 1];
        file.extend(1.5_f32.to_le_bytes());
        file.push(2);
        file.extend(0.0_f32.to_le_bytes());
        file.extend(7.0_f32.to_le_bytes());
        file.extend(0.125_f32.to_le_bytes());
        file.extend([2, 0, 4, 0, 0, 2, 1, 0, 1, 1, 1, 1]);
        for leaf in [10_i16, 20, 30, 40] {
            file.extend(leaf.to_le_bytes());
            file.push(0);
        }
        file.extend([1, 1, 0, 0]);
        let mut bytes = Bytes::new(&file);
        let forest = Forest::read(&mut bytes, 2).unwrap();
        assert!(bytes.is_empty());
        forest
    }

    #[test]
    fn rows_reach_the_leaves_that_walking_would() {
        let mut rows = Vec::new();
        let mut expected = Vec::new();
        for i in 0..150 {
            let (x0, x1) = ([1.0, 1.5, 2.0][i % 3], [-1.0, 0.0, 0.5, 7.0, 8.0][i % 5]);
            rows.push([x0, x1]);
            let leaf = match (x0 <= 1.5, x1) {
                (true, x1) => {
                    if x1 <= 0.0 {
                        10
                    } else {
                        20
                    }
                }
                (false, x1) => {
                    if x1 <= 7.0 {
                        30
                    } else {
                        40
                    }
                }
            };
            expected.push((1.0 / (1.0 + (-f64::from(leaf + 1) * 0.125).exp())) as f32);
        }
        for cpu in Cpu::all() {
            let mut out = Vec::new();
            forest().probabilities(150, |i, row| row.extend(rows[i]), cpu, &mut out);
            for (p, e) in out.iter().zip(&expected) {
                assert!((p - e).abs() < 1e-7, "{} {p} {e}", cpu.name());
            }
            assert_eq!(out.len(), 150);
        }
    }

    #[test]
    fn every_path_counts_the_thresholds_below_a_value() {
        for n in [0_u8, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 62, 63, 64, 255] {
            let thresholds: Vec<f32> = (0..n).map(|i| f32::from(i) - 3.0).collect();
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
            let values: [f32; LANES] = std::array::from_fn(|i| match odd.get(i) {
                Some(&odd) => odd,
                None => f32::from(i as u8 * 4) / f32::from(i as u8 % 3 + 1) - 9.5,
            });
            let expected = values.map(|v| thresholds.iter().filter(|&&t| v > t).count() as u8);
            let mut column = [1; LANES];
            bin(&thresholds, &values, &mut column);
            assert_eq!(column, expected, "{n}");
            #[cfg(target_arch = "x86_64")]
            if usize::from(n) < FEW_THRESHOLDS
                && Cpu::all()
                    .iter()
                    .any(|cpu| matches!(cpu.path(), Path::Avx512))
            {
                // SAFETY: this machine has these instructions.
                unsafe { bin_avx512(&thresholds, &values, &mut column) };
                assert_eq!(column, expected, "{n}");
            }
        }
    }

    #[test]
    fn contributions_add_up_from_the_mean_to_the_score() {
        let moved = forest().contributions(&[2.0, 9.0]);
        assert_eq!(moved, [1.25, 0.625]); // from 25 to 35 by x0, to 40 by x1, an eighth each
    }

    #[test]
    fn a_forest_that_is_cut_or_asks_for_what_there_is_not_is_refused() {
        assert!(Forest::read(&mut Bytes::new(&[2, 0, 1]), 2).is_err());
        assert!(Forest::read(&mut Bytes::new(&[3, 0]), 2).is_err());
        let wrong = [1, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 1];
        assert!(Forest::read(&mut Bytes::new(&wrong), 1).is_err());
    }

    #[test]
    fn the_logistic_function_is_exact_to_the_last_places() {
        for i in -400..=400 {
            let x = f64::from(i) / 10.0;
            let expected = (1.0 / (1.0 + (-x).exp())) as f32;
            assert!(
                (logistic(x) - expected).abs() <= 1e-7 * expected.max(1e-3),
                "{x}"
            );
        }
        assert_eq!(logistic(1e9), 1.0);
        assert!(logistic(-1e9) >= 0.0);
    }
}
