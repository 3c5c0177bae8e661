//! A supervised model: its words, its labels, and the matrices between them.

use curate_text::hash::hash_bytes;

use crate::Error;
use crate::file::File;

const MAGIC: i32 = 793_712_314;
const VERSIONS: [i32; 2] = [11, 12];
const SUPERVISED: i32 = 3;
/// The token that ends a text.
pub const END: &[u8] = b"</s>";
/// Centroids of one part of a quantized row.
const CENTROIDS: usize = 256;
/// The most numbers that a quantized matrix may have: 4 GiB.
const LARGEST: usize = 1 << 30;

/// How scores of labels become probabilities.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Softmax over all labels.
    Softmax,
    /// A Huffman tree of labels: (left, right) of every inner node, the root last; labels come before inner nodes.
    Tree(Vec<(u32, u32)>),
    /// Each label on its own, with the logistic function.
    Each,
}

/// Numbers in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl Matrix {
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}

/// A model as read from its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The labels, without the `__label__` before them.
    pub labels: Vec<String>,
    /// The words by id.
    pub(crate) words: Words,
    pub(crate) word_ngrams: usize,
    pub(crate) characters: (usize, usize),
    pub(crate) bucket: u64,
    /// Bucket -> row, of a model whose n-grams were pruned; sorted.
    pub(crate) pruned: Option<Vec<(u32, u32)>>,
    pub(crate) loss: Loss,
    /// What a word adds: rows of the model, or their scores.
    pub(crate) input: Matrix,
    /// Weights of the labels; None where `input` holds scores.
    pub(crate) output: Option<Matrix>,
}

/// The vocabulary: an open-addressed table from a word to its id. A word is known by two hashes, 96 bits together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    table: Vec<Slot>,
    count: usize,
}

/// A place of the table; its id is FREE where no word stands there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    hash: u32,
    id: u32,
    check: u64,
}

const FREE: u32 = u32::MAX;

impl Words {
    fn new(words: &[&[u8]]) -> Self {
        let slots = (words.len() * 2).next_power_of_two().max(2);
        let free = Slot {
            hash: 0,
            id: FREE,
            check: 0,
        };
        let mut table = vec![free; slots];
        for (id, word) in words.iter().enumerate() {
            let hash = hash(word);
            let mut slot = hash as usize & (slots - 1);
            while table[slot].id != FREE {
                slot = (slot + 1) & (slots - 1);
            }
            table[slot] = Slot {
                hash,
                id: id as u32,
                check: hash_bytes(word),
            };
        }
        Self {
            table,
            count: words.len(),
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Asks for the place where a word of this hash stands, which takes a while to come.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch(&self.table, hash as usize & (self.table.len() - 1));
    }

    /// The id of a word by its two hashes.
    #[inline]
    pub fn find(&self, hash: u32, check: u64) -> Option<u32> {
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.table[slot];
            if found.id == FREE {
                return None;
            }
            if found.hash == hash && found.check == check {
                return Some(found.id);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Asks for the line of memory that holds `values[place]`.
#[inline(always)]
pub fn prefetch<T>(values: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and faults nowhere, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, place);
}

/// FNV-1a of 32 bits over bytes taken as signed, which numbers n-grams in model files.
#[inline]
pub fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |h: u32, &byte| {
        (h ^ (byte as i8 as u32)).wrapping_mul(16_777_619)
    })
}

impl Model {
    /// A model from the bytes of its file; an error where they are none, are damaged, or hold no classifier.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut file = File::new(bytes);
        if file.i32("its first number")? != MAGIC {
            return Err(Error::Model("it does not begin as such a file does".into()));
        }
        let version = file.i32("its version")?;
        if !VERSIONS.contains(&version) {
            return Err(Error::Model(format!(
                "its version is {version}; 11 and 12 are read"
            )));
        }
        let settings = Settings::read(&mut file, version)?;
        let (words, labels, counts, pruned) = dictionary(&mut file, &settings)?;
        let quantized = file.bool("a mark")?;
        if !quantized && pruned.is_some() {
            return Err(Error::Model("its n-grams are pruned, its rows not".into()));
        }
        let input = matrix(&mut file, quantized, settings.width)?;
        let quantized = file.bool("a mark")? && quantized;
        let output = matrix(&mut file, quantized, settings.width)?;
        let rows = words.len() + pruned.as_ref().map_or(settings.bucket, Vec::len);
        if rows > u32::MAX as usize {
            return Err(Error::Model(format!("it has {rows} words and n-grams")));
        }
        let outputs = if settings.loss == 1 {
            labels.len() - 1
        } else {
            labels.len()
        };
        // A model whose n-grams were pruned keeps as many rows as are left; a tree may have a row that nothing uses.
        if input.rows < rows || output.rows < outputs {
            return Err(Error::Model(format!(
                "it has {} rows for {rows} words and n-grams, and {} for {} labels",
                input.rows,
                output.rows,
                labels.len()
            )));
        }
        let loss = match settings.loss {
            1 => Loss::Tree(tree(&counts)?),
            3 => Loss::Softmax,
            _ => Loss::Each,
        };
        let (input, output) = if output.rows < input.width {
            (projected(&input, &output)?, None)
        } else {
            (input, Some(output))
        };
        Ok(Self {
            labels,
            words,
            word_ngrams: settings.word_ngrams,
            characters: settings.characters,
            bucket: settings.bucket as u64,
            pruned,
            loss,
            input,
            output,
        })
    }

    /// The row of an n-gram's bucket, where it has one.
    #[inline]
    pub(crate) fn bucket_row(&self, bucket: u64) -> Option<u32> {
        let words = self.words.len() as u32;
        match &self.pruned {
            None => Some(words + bucket as u32),
            Some(kept) => kept
                .binary_search_by_key(&(bucket as u32), |&(from, _)| from)
                .ok()
                .map(|at| words + kept[at].1),
        }
    }
}

/// What of the settings of training matters afterwards.
struct Settings {
    width: usize,
    word_ngrams: usize,
    loss: i32,
    bucket: usize,
    /// The shortest and the longest character n-gram; no longest, no n-grams.
    characters: (usize, usize),
}

impl Settings {
    fn read(file: &mut File<'_>, version: i32) -> Result<Self, Error> {
        let mut numbers = [0; 12];
        for number in &mut numbers {
            *number = file.i32("a setting")?;
        }
        file.take(8, "a setting")?;
        let [
            dim,
            _,
            _,
            _,
            _,
            word_ngrams,
            loss,
            model,
            bucket,
            minn,
            maxn,
            _,
        ] = numbers;
        let refuse = |what: String| Err(Error::Model(what));
        if model != SUPERVISED {
            return refuse("it holds word vectors and no labels".into());
        }
        if !(1..=4).contains(&loss) {
            return refuse(format!("its loss is number {loss}; 1 to 4 are known"));
        }
        let sound =
            (1..=1 << 16).contains(&dim) && bucket >= 0 && minn >= 0 && (0..=64).contains(&maxn);
        if !sound || !(0..=64).contains(&word_ngrams) {
            return refuse(format!(
                "its settings are out of range: dim {dim}, wordNgrams {word_ngrams}, bucket {bucket}, minn {minn}, maxn {maxn}"
            ));
        }
        if bucket == 0 && (word_ngrams > 1 || maxn > 0) {
            return refuse("it has n-grams and no buckets for them".into());
        }
        let longest = if version == 11 { 0 } else { maxn as usize };
        Ok(Self {
            width: dim as usize,
            word_ngrams: word_ngrams as usize,
            loss,
            bucket: if word_ngrams > 1 || longest > 0 {
                bucket as usize
            } else {
                0
            },
            characters: (minn as usize, longest),
        })
    }
}

/// (words, labels, counts of labels, buckets kept) of the dictionary.
#[allow(clippy::type_complexity)]
fn dictionary(
    file: &mut File<'_>,
    settings: &Settings,
) -> Result<(Words, Vec<String>, Vec<i64>, Option<Vec<(u32, u32)>>), Error> {
    let entries = file.count("its number of words and labels")?;
    let n_words = file.count("its number of words")?;
    let n_labels = file.count("its number of labels")?;
    file.i64("its number of tokens")?;
    let kept = file.i64("its number of n-grams kept")?;
    if n_labels == 0 || n_words + n_labels != entries {
        return Err(Error::Model(format!(
            "it has {n_words} words and {n_labels} labels in {entries} entries"
        )));
    }
    let (mut words, mut labels, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for entry in 0..entries {
        let word = file.word("a word")?;
        let count = file.i64("a count")?;
        let is_label = file.take(1, "a kind")?[0] == 1;
        if is_label != (entry >= n_words) {
            return Err(Error::Model(format!(
                "entry {entry} is no {}",
                if is_label { "word" } else { "label" }
            )));
        }
        if is_label {
            let name = String::from_utf8_lossy(word);
            labels.push(name.strip_prefix("__label__").unwrap_or(&name).to_owned());
            counts.push(count);
        } else {
            words.push(word);
        }
    }
    let mut pruned = None;
    if kept >= 0 {
        let mut pairs = Vec::new();
        for _ in 0..kept {
            let (from, to) = (file.count("a bucket")?, file.count("a bucket")?);
            if from >= settings.bucket || to >= kept as usize {
                return Err(Error::Model(format!(
                    "bucket {from} leads to {to} of {kept}"
                )));
            }
            pairs.push((from as u32, to as u32));
        }
        pairs.sort_unstable();
        pruned = Some(pairs);
    }
    Ok((Words::new(&words), labels, counts, pruned))
}

/// A matrix of `width` columns; of a quantized one the rows are made from their centroids.
fn matrix(file: &mut File<'_>, quantized: bool, width: usize) -> Result<Matrix, Error> {
    if !quantized {
        let (rows, columns) = (file.long("its number of rows")?, file.long("its width")?);
        check_width(columns, width)?;
        let values = file.floats(rows.saturating_mul(width), "a matrix")?;
        return Ok(Matrix {
            rows,
            width,
            values,
        });
    }
    let normed = file.bool("a mark")?;
    let (rows, columns) = (file.long("its number of rows")?, file.long("its width")?);
    check_width(columns, width)?;
    let codes = file.count("its number of codes")?;
    let codes = file.take(codes, "its codes")?;
    let parts = Parts::read(file, width)?;
    if rows.saturating_mul(parts.count) != codes.len() || rows.saturating_mul(width) > LARGEST {
        return Err(Error::Model(format!(
            "it has {} codes for {rows} rows of {} parts",
            codes.len(),
            parts.count
        )));
    }
    let norms = if normed {
        let codes = file.take(rows, "its codes of norms")?;
        Some((codes, Parts::read(file, 1)?))
    } else {
        None
    };
    let mut values = Vec::with_capacity(rows * width);
    for row in 0..rows {
        let norm = norms
            .as_ref()
            .map_or(1.0, |(codes, parts)| parts.of(0, codes[row])[0]);
        for part in 0..parts.count {
            let centroid = parts.of(part, codes[row * parts.count + part]);
            values.extend(centroid.iter().map(|value| value * norm));
        }
    }
    Ok(Matrix {
        rows,
        width,
        values,
    })
}

fn check_width(found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Model(format!(
        "a matrix has {found} columns and not {expected}"
    )))
}

/// A product quantizer: a row is cut into parts, each of which is one of 256 centroids.
struct Parts {
    count: usize,
    width: usize,
    last: usize,
    centroids: Vec<f32>,
}

impl Parts {
    fn read(file: &mut File<'_>, dim: usize) -> Result<Self, Error> {
        check_width(file.count("its dimensions")?, dim)?;
        let count = file.count("its number of parts")?;
        let width = file.count("the width of a part")?;
        let last = file.count("the width of the last part")?;
        let whole = count
            .checked_sub(1)
            .map(|n| n.saturating_mul(width).saturating_add(last));
        if whole != Some(dim) || last > width {
            return Err(Error::Model(format!(
                "{count} parts of {width}, the last of {last}, are not {dim}"
            )));
        }
        let centroids = file.floats(dim * CENTROIDS, "its centroids")?;
        Ok(Self {
            count,
            width,
            last,
            centroids,
        })
    }

    fn of(&self, part: usize, code: u8) -> &[f32] {
        let width = if part + 1 == self.count {
            self.last
        } else {
            self.width
        };
        let start = part * CENTROIDS * self.width + usize::from(code) * width;
        &self.centroids[start..start + width]
    }
}

/// The Huffman tree of labels by their counts, as fastText builds it; labels come sorted by falling count.
fn tree(counts: &[i64]) -> Result<Vec<(u32, u32)>, Error> {
    if !counts.is_sorted_by(|a, b| a >= b) || counts.iter().any(|&count| count < 0) {
        return Err(Error::Model("its labels are not sorted by count".into()));
    }
    let labels = counts.len();
    let mut all: Vec<i64> = counts.to_vec();
    all.resize((2 * labels).saturating_sub(1), 1_000_000_000_000_000);
    let mut nodes = Vec::new();
    let (mut leaf, mut node) = (labels, labels);
    for made in labels..all.len() {
        let mut least = || {
            if leaf > 0 && all[leaf - 1] < all.get(node).copied().unwrap_or(i64::MAX) {
                leaf -= 1;
                leaf
            } else {
                node += 1;
                node - 1
            }
        };
        let (left, right) = (least(), least());
        if left >= made || right >= made {
            return Err(Error::Model(
                "the counts of its labels are out of range".into(),
            ));
        }
        all[made] = all[left].saturating_add(all[right]);
        nodes.push((left as u32, right as u32));
    }
    Ok(nodes)
}

/// Numbers of a row that are added at once; rows of scores are filled up with zeros to a multiple of it.
pub const LANES: usize = 4;

/// The scores of every row: row times the weights of each label, in 64 bits.
fn projected(input: &Matrix, output: &Matrix) -> Result<Matrix, Error> {
    let width = output.rows.next_multiple_of(LANES);
    let mut values = Vec::with_capacity(input.rows * width);
    for row in 0..input.rows {
        let row = input.row(row);
        for label in 0..output.rows {
            let products = row.iter().zip(output.row(label));
            let sum: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            values.push(sum as f32);
        }
        values.resize(values.len().next_multiple_of(LANES), 0.0);
    }
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::Model(format!("a word scores {value}")));
    }
    Ok(Matrix {
        rows: input.rows,
        width,
        values,
    })
}
