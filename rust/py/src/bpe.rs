//! Tokenizer kernels: pretokenize, count, train, encode, decode, pack.

use std::sync::{Mutex, PoisonError};

use arrow_array::types::{Int64Type, UInt16Type, UInt32Type};
use curate_bpe::{
    Added, Alphabet, Base, EncodeScratch, Normal, Parts, PieceCounter, Pretokenizer, TokenId,
    TrainOptions, Vocab,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyList};

use crate::arrow::{Column, Lists, Primitive, TextColumn};
use crate::errors::Error;

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(pattern_expression, module)?)?;
    module.add_function(wrap_pyfunction!(pretokenize, module)?)?;
    module.add_function(wrap_pyfunction!(count_pretokens, module)?)?;
    module.add_function(wrap_pyfunction!(add_counts, module)?)?;
    module.add_function(wrap_pyfunction!(train_bpe, module)?)?;
    module.add_function(wrap_pyfunction!(extend_bpe, module)?)?;
    module.add_function(wrap_pyfunction!(pack, module)?)?;
    module.add_class::<Encoder>()
}

fn in_row(row: usize) -> impl Fn(curate_bpe::Error) -> Error {
    move |error| Error::BpeRow { row, error }
}

/// An index as the uint32 that result columns hold.
fn uint32(value: usize, what: &str) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| {
        let message = format!("{what} {value} is over the limit of {}", u32::MAX);
        Error::Python(PyValueError::new_err(message))
    })
}

#[pyfunction]
fn pattern_expression(pattern: &str) -> Result<String, Error> {
    Ok(Pretokenizer::new(pattern)?.pattern().to_owned())
}

#[pyfunction]
#[pyo3(signature = (text, *, pattern))]
fn pretokenize(
    py: Python<'_>,
    text: TextColumn,
    pattern: &str,
) -> Result<(Column, Column, Column), Error> {
    let (rows, starts, ends) = py.detach(|| {
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let pretokenizer = Pretokenizer::new(pattern)?;
        let texts = text.texts();
        for row in 0..texts.len() {
            let text = texts.text(row)?;
            let row_id = uint32(row, "row")?;
            uint32(text.len(), "text length")?;
            let split = pretokenizer.split(text, |mut start, batch| {
                for &end in batch {
                    rows.push(row_id);
                    starts.push(start as u32);
                    ends.push(end as u32);
                    start = end;
                }
            });
            split.map_err(in_row(row))?;
        }
        Ok::<_, Error>((rows, starts, ends))
    })?;
    let column = Column::primitive::<UInt32Type>;
    Ok((column(rows), column(starts), column(ends)))
}

#[pyfunction]
#[pyo3(signature = (text, *, pattern))]
fn count_pretokens(
    py: Python<'_>,
    text: TextColumn,
    pattern: &str,
) -> Result<(Column, Column), Error> {
    let counted = py.detach(|| {
        let pretokenizer = Pretokenizer::new(pattern)?;
        let mut counter = PieceCounter::new();
        let texts = text.texts();
        for row in 0..texts.len() {
            counter
                .add_text(&pretokenizer, texts.text(row)?)
                .map_err(in_row(row))?;
        }
        Ok::<_, Error>(counter.finish())
    })?;
    let pieces = Column::binaries(counted.offsets, counted.bytes)?;
    Ok((pieces, Column::primitive::<Int64Type>(counted.counts)))
}

/// Pieces and counts, one of each a row.
fn pieces_of<'a>(
    pretokens: &'a TextColumn,
    counts: &'a Primitive<Int64Type>,
) -> Result<impl Iterator<Item = (&'a [u8], i64)> + Clone, Error> {
    let pieces = pretokens.texts();
    if pieces.len() != counts.len() {
        let message = format!("{} pretokens but {} counts", pieces.len(), counts.len());
        return Err(Error::Python(PyValueError::new_err(message)));
    }
    Ok((0..pieces.len()).map(move |row| (pieces.bytes(row), counts[row])))
}

#[pyfunction]
fn add_counts(
    py: Python<'_>,
    pretokens: Vec<TextColumn>,
    counts: Vec<Primitive<Int64Type>>,
) -> Result<(Column, Column), Error> {
    if pretokens.len() != counts.len() {
        let message = format!(
            "{} columns of pretokens but {} of counts",
            pretokens.len(),
            counts.len()
        );
        return Err(Error::Python(PyValueError::new_err(message)));
    }
    let counted = py.detach(|| {
        curate_bpe::give_back();
        let mut counter = PieceCounter::new();
        for (pretokens, counts) in pretokens.iter().zip(&counts) {
            let pieces = pieces_of(pretokens, counts)?;
            if let Some(row) = counts.iter().position(|&count| count < 0) {
                let count = counts[row];
                return Err(curate_bpe::Error::Count { row, count }.into());
            }
            counter.add(pieces.map(|(piece, count)| (piece, count as u64)));
        }
        Ok::<_, Error>(counter.finish())
    })?;
    let pieces = Column::binaries(counted.offsets, counted.bytes)?;
    Ok((pieces, Column::primitive::<Int64Type>(counted.counts)))
}

#[pyfunction]
#[pyo3(signature = (pretokens, counts, *, vocab_size, special_tokens, min_frequency = 0, max_token_length = None,
                    characters = None, limit_alphabet = None))]
#[expect(
    clippy::too_many_arguments,
    reason = "they are the keyword arguments of the Python function"
)]
fn train_bpe(
    py: Python<'_>,
    pretokens: TextColumn,
    counts: Primitive<Int64Type>,
    vocab_size: usize,
    special_tokens: Vec<String>,
    min_frequency: u64,
    max_token_length: Option<usize>,
    characters: Option<String>,
    limit_alphabet: Option<usize>,
) -> Result<(Column, Column, Column), Error> {
    let initial: Option<Vec<char>> = characters.map(|characters| characters.chars().collect());
    let alphabet = match &initial {
        None => Alphabet::Bytes,
        Some(initial) => Alphabet::Characters {
            initial,
            limit: limit_alphabet,
        },
    };
    let options = TrainOptions {
        vocab_size,
        special_tokens: &special_tokens,
        min_frequency,
        max_token_length,
        alphabet,
    };
    let model = py.detach(|| {
        Ok::<_, Error>(curate_bpe::train(
            pieces_of(&pretokens, &counts)?,
            &options,
        )?)
    })?;
    columns_of(model)
}

#[pyfunction]
#[pyo3(signature = (tokens, counts, vocab, *, no_text, vocab_size, min_frequency = 0, max_token_length = None))]
#[expect(
    clippy::too_many_arguments,
    reason = "they are the keyword arguments of the Python function"
)]
fn extend_bpe(
    py: Python<'_>,
    tokens: Lists<UInt32Type>,
    counts: Primitive<Int64Type>,
    vocab: TextColumn,
    no_text: Vec<u32>,
    vocab_size: usize,
    min_frequency: u64,
    max_token_length: Option<usize>,
) -> Result<(Column, Column, Column), Error> {
    let (offsets, ids) = (tokens.offsets(), tokens.values());
    if offsets.len() != counts.len() + 1
        || no_text.iter().any(|&id| id as usize >= vocab.texts().len())
    {
        let message =
            "as many rows of tokens as counts are expected, and no_text within the vocabulary";
        return Err(Error::Python(PyValueError::new_err(message)));
    }
    let options = TrainOptions {
        vocab_size,
        min_frequency,
        max_token_length,
        ..TrainOptions::default()
    };
    let model = py.detach(|| {
        let mut known = Vocab::default();
        vocab.texts().iter().for_each(|token| _ = known.push(token));
        let base = Base {
            vocab: &known,
            no_text: &no_text,
        };
        let pieces = offsets.windows(2).zip(counts.iter());
        let pieces = pieces.map(|(span, &count)| (&ids[span[0] as usize..span[1] as usize], count));
        curate_bpe::extend(base, pieces, &options)
    })?;
    columns_of(model)
}

/// (vocab, left, right).
fn columns_of(model: curate_bpe::Model) -> Result<(Column, Column, Column), Error> {
    let ids = Column::primitive::<UInt32Type>;
    Ok((
        Column::binaries(model.vocab.offsets, model.vocab.bytes)?,
        ids(model.left),
        ids(model.right),
    ))
}

#[pyfunction]
#[pyo3(signature = (lengths, *, row_length))]
fn pack(
    py: Python<'_>,
    lengths: Primitive<UInt32Type>,
    row_length: u64,
) -> Result<(Column, Column, Column, Column), Error> {
    let placements = py.detach(|| curate_bpe::pack(&lengths, row_length))?;
    let column = |field: fn(&curate_bpe::Placement) -> u32| {
        Column::primitive::<UInt32Type>(placements.iter().map(field).collect())
    };
    Ok((
        column(|p| p.row),
        column(|p| p.doc),
        column(|p| p.start),
        column(|p| p.length),
    ))
}

/// One pattern, or several that split one after the other.
#[derive(FromPyObject)]
enum Patterns {
    One(String),
    Chain(Vec<String>),
}

impl Patterns {
    fn open(&self) -> Result<Pretokenizer, curate_bpe::Error> {
        match self {
            Self::One(pattern) => Pretokenizer::new(pattern),
            Self::Chain(patterns) => Pretokenizer::chain(patterns),
        }
    }
}

/// An exact BPE encoder. Threads may share it: each call takes a cache of its own from the pool.
#[pyclass(frozen, module = "curate._rust")]
struct Encoder {
    encoder: curate_bpe::Encoder,
    narrow: Pool<u16>,
    wide: Pool<u32>,
    /// Every id as Python's integer, made when lists are first asked for.
    numbers: PyOnceLock<Vec<Py<PyInt>>>,
}

/// Scratches that no call uses just now.
type Pool<T> = Mutex<Vec<EncodeScratch<T>>>;

// A poisoned pool still holds whole scratches: they are put back only after a call that ended well.

fn take<T: TokenId>(pool: &Pool<T>) -> Option<EncodeScratch<T>> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn put_back<T: TokenId>(pool: &Pool<T>, scratch: EncodeScratch<T>) {
    pool.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(scratch);
}

#[pymethods]
impl Encoder {
    #[new]
    #[pyo3(signature = (vocab, left, right, *, pattern, special_ids, ignore_merges = false, byte_ids = None,
                        nfc = false, space = None, prefix = None, prefix_once = false, added = Vec::new()))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the keyword arguments of the Python class"
    )]
    fn new(
        py: Python<'_>,
        vocab: TextColumn,
        left: Primitive<UInt32Type>,
        right: Primitive<UInt32Type>,
        pattern: Patterns,
        special_ids: Vec<u32>,
        ignore_merges: bool,
        byte_ids: Option<[u32; 256]>,
        nfc: bool,
        space: Option<String>,
        prefix: Option<String>,
        prefix_once: bool,
        added: Vec<(String, u32, bool)>,
    ) -> Result<Self, Error> {
        let normal = Normal {
            nfc,
            space,
            prefix,
            prefix_once,
        };
        let added: Vec<Added> = added
            .into_iter()
            .map(|(text, id, normalized)| Added {
                text,
                id,
                normalized,
            })
            .collect();
        let encoder = py.detach(|| {
            let mut tokens = Vocab::default();
            for token in vocab.texts().iter() {
                tokens.push(token);
            }
            let parts = Parts {
                vocab: tokens,
                left: &left,
                right: &right,
                special_ids: &special_ids,
                ignore_merges,
                byte_ids: byte_ids.as_ref(),
                normal,
                added: &added,
            };
            curate_bpe::Encoder::new(parts, pattern.open()?)
        });
        let encoder = Self {
            encoder: encoder?,
            narrow: Mutex::default(),
            wide: Mutex::default(),
            numbers: PyOnceLock::new(),
        };
        // What the first call needs is part of opening.
        if encoder.is_narrow() {
            put_back(&encoder.narrow, encoder.encoder.scratch());
        } else {
            put_back(&encoder.wide, encoder.encoder.scratch());
        }
        Ok(encoder)
    }

    /// Ids run from 0 to below this.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.encoder.vocab_size()
    }

    #[pyo3(signature = (text, *, end_of_document = None))]
    fn encode(
        &self,
        py: Python<'_>,
        text: TextColumn,
        end_of_document: Option<u32>,
    ) -> Result<Column, Error> {
        self.check_end(end_of_document)?;
        if self.is_narrow() {
            let (offsets, ids) =
                py.detach(|| self.encode_rows(&self.narrow, rows_of(&text), end_of_document))?;
            Ok(Column::lists::<UInt16Type>(offsets, ids)?)
        } else {
            let (offsets, ids) =
                py.detach(|| self.encode_rows(&self.wide, rows_of(&text), end_of_document))?;
            Ok(Column::lists::<UInt32Type>(offsets, ids)?)
        }
    }

    #[pyo3(signature = (texts, *, end_of_document = None))]
    fn encode_lists<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<PyBackedStr>,
        end_of_document: Option<u32>,
    ) -> Result<Bound<'py, PyList>, Error> {
        self.check_end(end_of_document)?;
        let bytes = texts.iter().map(|text| text.len()).sum();
        let rows = || (texts.iter().map(|text| Ok(&**text)), bytes);
        if self.is_narrow() {
            let encoded = py.detach(|| self.encode_rows(&self.narrow, rows(), end_of_document))?;
            self.lists(py, &encoded)
        } else {
            let encoded = py.detach(|| self.encode_rows(&self.wide, rows(), end_of_document))?;
            self.lists(py, &encoded)
        }
    }

    fn decode(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> Result<Column, Error> {
        let (offsets, bytes) = if let Ok(lists) = tokens.extract::<Lists<UInt16Type>>() {
            py.detach(|| self.decode_rows(lists.offsets(), lists.values()))?
        } else {
            let lists = tokens.extract::<Lists<UInt32Type>>()?;
            py.detach(|| self.decode_rows(lists.offsets(), lists.values()))?
        };
        Ok(Column::binaries(offsets, bytes)?)
    }
}

/// The rows of a column, and their bytes.
fn rows_of(text: &TextColumn) -> (impl ExactSizeIterator<Item = Result<&str, Error>>, usize) {
    let texts = text.texts();
    let rows = (0..texts.len()).map(move |row| Ok(texts.text(row)?));
    (rows, texts.total_bytes())
}

impl Encoder {
    /// Whether ids are 16 bits wide.
    fn is_narrow(&self) -> bool {
        self.encoder.vocab_size() <= 1 << 16
    }

    fn check_end(&self, end_of_document: Option<u32>) -> Result<(), Error> {
        let vocab_size = self.encoder.vocab_size();
        if let Some(id) = end_of_document.filter(|&id| id as usize >= vocab_size) {
            let message =
                format!("end_of_document {id} is outside the vocabulary of {vocab_size} tokens");
            return Err(Error::Python(PyValueError::new_err(message)));
        }
        Ok(())
    }

    /// Offsets and ids of texts that have so many bytes together.
    fn encode_rows<'t, T: TokenId>(
        &self,
        pool: &Pool<T>,
        (texts, bytes): (impl ExactSizeIterator<Item = Result<&'t str, Error>>, usize),
        end_of_document: Option<u32>,
    ) -> Result<(Vec<i64>, Vec<T>), Error> {
        let mut scratch = take(pool).unwrap_or_else(|| self.encoder.scratch());
        let mut offsets = Vec::with_capacity(texts.len() + 1);
        offsets.push(0);
        // Most text has 3 to 5 bytes a token; too small a guess only costs a copy.
        let mut ids = curate_bpe::room(bytes / 3 + texts.len());
        for (row, text) in texts.enumerate() {
            let encoded = self.encoder.encode(text?, &mut scratch, &mut ids);
            encoded.map_err(in_row(row))?;
            ids.extend(end_of_document.map(T::from_id));
            offsets.push(ids.len() as i64);
        }
        put_back(pool, scratch);
        Ok((offsets, ids))
    }

    /// Rows of ids as Python's lists; all share one integer an id, so that none is made anew.
    fn lists<'py, T: TokenId>(
        &self,
        py: Python<'py>,
        (offsets, ids): &(Vec<i64>, Vec<T>),
    ) -> Result<Bound<'py, PyList>, Error> {
        let numbers = self.numbers.get_or_init(py, || {
            let all = 0..self.encoder.vocab_size() as u32;
            all.map(|id| PyInt::new(py, id).unbind()).collect()
        });
        let list = |span: &[i64]| {
            let ids = &ids[span[0] as usize..span[1] as usize];
            PyList::new(py, ids.iter().map(|id| numbers[id.id() as usize].bind(py)))
        };
        let lists: Vec<_> = offsets.windows(2).map(list).collect::<PyResult<_>>()?;
        Ok(PyList::new(py, lists)?)
    }

    fn decode_rows<T: Copy + Into<u32>>(
        &self,
        rows: &[i64],
        ids: &[T],
    ) -> Result<(Vec<i64>, Vec<u8>), Error> {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for (row, span) in rows.windows(2).enumerate() {
            let ids = ids[span[0] as usize..span[1] as usize]
                .iter()
                .map(|&id| id.into());
            self.encoder.decode(ids, &mut bytes).map_err(in_row(row))?;
            offsets.push(bytes.len() as i64);
        }
        Ok((offsets, bytes))
    }
}
