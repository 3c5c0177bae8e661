//! Bindings of `curate_warc`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{LargeBinaryArray, LargeStringArray, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use curate_warc::{Batch, Options, Rows, Source, Strings, Verdict};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arrow::{Column, arrow_error};
use crate::errors::Error;

/// A Python file object that reads bytes and seeks.
struct Handle(Py<PyAny>);

impl Read for Handle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let given = self.0.bind(py).call_method1("read", (buffer.len(),))?;
            let bytes = given.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes();
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            Ok(n)
        })
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (offset as i64, 0),
            SeekFrom::Current(offset) => (offset, 1),
            SeekFrom::End(offset) => (offset, 2),
        };
        Python::attach(|py| {
            let place = self.0.bind(py).call_method1("seek", (offset, whence))?;
            Ok(place.extract()?)
        })
    }
}

/// The contents of a batch while an Arrow array holds them.
struct Lent(Vec<u8>);

impl Drop for Lent {
    fn drop(&mut self) {
        curate_warc::recycle(std::mem::take(&mut self.0));
    }
}

/// The rows of a WARC or ARC file, or of a part of it, batch by batch. It releases the GIL.
#[pyclass(frozen, module = "curate._rust")]
struct WarcReader {
    rows: Mutex<Rows>,
    wet: bool,
}

#[pymethods]
impl WarcReader {
    #[new]
    #[pyo3(signature = (file, name, *, start = 0, end = None, wet = false, verify = false))]
    fn new(
        py: Python<'_>,
        file: Bound<'_, PyAny>,
        name: String,
        start: u64,
        end: Option<u64>,
        wet: bool,
        verify: bool,
    ) -> Result<Self, Error> {
        let source: Box<dyn Source> = if file.hasattr("read")? {
            Box::new(Handle(file.unbind()))
        } else {
            Box::new(File::open(file.extract::<PathBuf>()?).map_err(PyErr::from)?)
        };
        let options = Options {
            file: name,
            start,
            end,
            wet,
            verify,
        };
        let rows = py
            .detach(|| Rows::new(source, options))
            .map_err(PyErr::from)?;
        Ok(Self {
            rows: Mutex::new(rows),
            wet,
        })
    }

    fn next_batch<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyDict>>, Error> {
        let found = py.detach(|| {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.next_batch()
        });
        let Some(batch) = found.map_err(PyErr::from)? else {
            return Ok(None);
        };
        let columns = PyDict::new(py);
        for (name, column) in columns_of(batch, self.wet)? {
            columns.set_item(name, Bound::new(py, column)?)?;
        }
        Ok(Some(columns))
    }

    fn counts(&self, py: Python<'_>) -> PyResult<Counts> {
        py.detach(|| {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            let others = rows.others().into_iter().collect();
            let notes = rows.notes();
            let notes = notes
                .into_iter()
                .map(|note| (note.offset, note.what, note.skipped));
            Ok((
                others,
                notes.collect(),
                rows.more_notes(),
                rows.unreadable_dates(),
            ))
        })
    }
}

type Note = (u64, &'static str, u64);
type Counts = (
    Vec<(&'static str, u64)>,
    Vec<Note>,
    Vec<(&'static str, u64, u64)>,
    u64,
);

/// The columns of a batch by their names; those of the verdicts only where a row has one.
fn columns_of(batch: Batch, wet: bool) -> PyResult<Vec<(&'static str, Column)>> {
    let (content, name) = if wet {
        (large_text(batch.contents)?, "text")
    } else {
        (large_binary(batch.contents)?, "payload")
    };
    let mut columns = vec![
        ("doc_id", Column::fixed(batch.ids)?),
        ("url", text(batch.urls)?),
        (
            "crawled_at",
            Column::new(
                batch
                    .times
                    .into_iter()
                    .collect::<PrimitiveArray<Int64Type>>(),
            ),
        ),
        (
            "origin_offset",
            Column::primitive::<Int64Type>(batch.offsets),
        ),
        (name, content),
    ];
    if !wet {
        columns.push(("content_type", text(batch.types)?));
        columns.push(("charset", text(batch.charsets)?));
    }
    if batch.verdicts.iter().any(Option::is_some) {
        columns.extend(verdicts_of(&batch.verdicts));
    }
    Ok(columns)
}

fn verdicts_of(verdicts: &[Option<Verdict>]) -> [(&'static str, Column); 5] {
    let texts = |of: &dyn Fn(&Verdict) -> Option<String>| {
        Column::new(
            verdicts
                .iter()
                .map(|v| v.as_ref().and_then(of))
                .collect::<StringArray>(),
        )
    };
    let numbers = |of: &dyn Fn(&Verdict) -> Option<f64>| {
        let values = verdicts.iter().map(|v| v.as_ref().and_then(of));
        Column::new(values.collect::<PrimitiveArray<Float64Type>>())
    };
    [
        (
            "verdict.action",
            texts(&|v| v.mark.then(|| "mark".to_owned())),
        ),
        ("verdict.rule", texts(&|v| Some(v.rule.to_owned()))),
        ("verdict.value", numbers(&|v| v.value)),
        ("verdict.limit", numbers(&|v| v.limit)),
        ("verdict.detail", texts(&|v| v.detail.clone())),
    ]
}

type Parts = (OffsetBuffer<i64>, Buffer, Option<NullBuffer>);

fn parts(strings: Strings) -> Parts {
    let nulls =
        (!strings.valid.iter().all(|valid| *valid)).then(|| NullBuffer::from(strings.valid));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(strings.offsets));
    (offsets, Buffer::from_vec(strings.values), nulls)
}

fn large_text(strings: Strings) -> PyResult<Column> {
    let (offsets, values, nulls) = parts(strings);
    Ok(Column::new(
        LargeStringArray::try_new(offsets, values, nulls).map_err(arrow_error)?,
    ))
}

/// A column of contents; their memory is used again when nothing holds the column any more.
fn large_binary(mut strings: Strings) -> PyResult<Column> {
    let lent = Lent(std::mem::take(&mut strings.values));
    let (offsets, _, nulls) = parts(strings);
    let (data, size) = (NonNull::from(lent.0.as_slice()).cast::<u8>(), lent.0.len());
    // SAFETY: `data` points to `size` bytes that `lent` owns and that nothing writes to or moves until it is dropped.
    let values = unsafe { Buffer::from_custom_allocation(data, size, Arc::new(lent)) };
    Ok(Column::new(
        LargeBinaryArray::try_new(offsets, values, nulls).map_err(arrow_error)?,
    ))
}

/// A column of short texts: they count to the bytes of a batch, so that 32-bit offsets do.
fn text(strings: Strings) -> PyResult<Column> {
    let (offsets, values, nulls) = parts(strings);
    let offsets: Vec<i32> = offsets.iter().map(|offset| *offset as i32).collect();
    let array = StringArray::try_new(OffsetBuffer::new(offsets.into()), values, nulls);
    Ok(Column::new(array.map_err(arrow_error)?))
}

/// Adds the class of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<WarcReader>()
}
