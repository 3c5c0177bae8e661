//! Arrow columns in and out of Python through the C data interface, without a copy.
//!
//! Any object with `__arrow_c_array__` can be an argument: a pyarrow, polars, nanoarrow or DuckDB array. The
//! two capsules it gives are moved into arrow-rs, so a column costs a few hundred nanoseconds however many
//! rows it has. What a kernel sees are plain slices: [`Texts`], `&[u64]`, `&[[u8; 16]]`, offsets.
//!
//! ```text
//! argument --TextColumn, Primitive<T>, Ids, Lists<T>--> slices --kernel--> Vec --Column--> result
//! ```
//!
//! A null is an error that names its row, since no kernel knows what a missing text would mean.

use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, from_ffi, to_ffi};
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, LargeListArray, LargeStringArray,
    PrimitiveArray, make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, DataType, Field};
use curate_text::{Offsets, Texts};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";

/// The array behind any object with `__arrow_c_array__`.
fn import(object: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let Ok(method) = object.getattr("__arrow_c_array__") else {
        let name = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "expected an Arrow array, got {name}: pass one with __arrow_c_array__ (combine the chunks of a chunked array)"
        )));
    };
    let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) =
        method.call0()?.extract()?;
    let schema = schema
        .pointer_checked(Some(SCHEMA))?
        .cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: the names of the capsules were checked, and the interface says what such a capsule holds. The
    // array is moved out of its capsule, which leaves a released one behind; the schema is only read while
    // the capsule lives.
    let data = unsafe {
        let array = FFI_ArrowArray::from_raw(array.as_ptr());
        from_ffi(array, schema.as_ref())
    };
    Ok(make_array(data.map_err(arrow_error)?))
}

pub fn arrow_error(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn wrong_type(array: &ArrayRef, expected: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "expected a column of {expected}, got {}",
        array.data_type()
    ))
}

fn reject_nulls(array: &dyn Array, what: &str) -> PyResult<()> {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(()),
        Some(nulls) => {
            let row = nulls.iter().position(|valid| !valid).unwrap_or(0);
            Err(PyValueError::new_err(format!(
                "row {row} of a {what} column is null, one of {}: fill or drop nulls first",
                nulls.null_count()
            )))
        }
    }
}

/// A column of text or bytes: utf8, large_utf8, binary, large_binary, or a view type (which is copied).
pub struct TextColumn(ArrayRef);

impl<'a, 'py> FromPyObject<'a, 'py> for TextColumn {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = import(&object)?;
        reject_nulls(&array, "text")?;
        match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                Ok(Self(array))
            }
            DataType::Utf8View => Ok(Self(flatten(
                array.as_string_view().iter().map(|v| v.map(str::as_bytes)),
            ))),
            DataType::BinaryView => Ok(Self(flatten(array.as_binary_view().iter()))),
            _ => Err(wrong_type(&array, "text or binary")),
        }
    }
}

fn flatten<'v>(values: impl Iterator<Item = Option<&'v [u8]>>) -> ArrayRef {
    Arc::new(values.collect::<arrow_array::LargeBinaryArray>())
}

impl TextColumn {
    /// The rows as slices; whether they are UTF-8 is for the kernel to ask.
    pub fn texts(&self) -> Texts<'_> {
        match self.0.data_type() {
            DataType::Utf8 => {
                let array = self.0.as_string::<i32>();
                Texts::new(Offsets::Small(array.value_offsets()), array.values())
            }
            DataType::Binary => {
                let array = self.0.as_binary::<i32>();
                Texts::new(Offsets::Small(array.value_offsets()), array.values())
            }
            DataType::LargeUtf8 => {
                let array = self.0.as_string::<i64>();
                Texts::new(Offsets::Large(array.value_offsets()), array.values())
            }
            _ => {
                let array = self.0.as_binary::<i64>();
                Texts::new(Offsets::Large(array.value_offsets()), array.values())
            }
        }
    }
}

/// A column of numbers without nulls; it is a slice of them.
pub struct Primitive<T: ArrowPrimitiveType>(PrimitiveArray<T>);

impl<'a, 'py, T: ArrowPrimitiveType> FromPyObject<'a, 'py> for Primitive<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = import(&object)?;
        let typed = array.as_primitive_opt::<T>();
        let typed = typed.ok_or_else(|| wrong_type(&array, &T::DATA_TYPE.to_string()))?;
        reject_nulls(typed, &T::DATA_TYPE.to_string())?;
        Ok(Self(typed.clone()))
    }
}

impl<T: ArrowPrimitiveType> std::ops::Deref for Primitive<T> {
    type Target = [T::Native];

    fn deref(&self) -> &Self::Target {
        self.0.values()
    }
}

/// A column of document ids, fixed_size_binary(16); it is a slice of them.
pub struct Ids(FixedSizeBinaryArray);

impl<'a, 'py> FromPyObject<'a, 'py> for Ids {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = import(&object)?;
        let ids = array
            .as_fixed_size_binary_opt()
            .filter(|ids| ids.value_length() == 16);
        let ids = ids.ok_or_else(|| wrong_type(&array, "fixed_size_binary(16)"))?;
        reject_nulls(ids, "doc_id")?;
        Ok(Self(ids.clone()))
    }
}

impl std::ops::Deref for Ids {
    type Target = [[u8; 16]];

    fn deref(&self) -> &Self::Target {
        // The buffer of a sliced array may reach further than its rows do.
        let (ids, _rest) = self.0.value_data().as_chunks::<16>();
        &ids[..self.0.len()]
    }
}

/// A column of lists of numbers (list or large_list, no nulls at either level): offsets and values.
pub struct Lists<T: ArrowPrimitiveType> {
    offsets: ScalarBuffer<i64>,
    values: PrimitiveArray<T>,
}

impl<'a, 'py, T: ArrowPrimitiveType> FromPyObject<'a, 'py> for Lists<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = import(&object)?;
        let expected = || wrong_type(&array, &format!("lists of {}", T::DATA_TYPE));
        reject_nulls(&array, "list")?;
        let (offsets, values) = match array.data_type() {
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                (
                    lists
                        .value_offsets()
                        .iter()
                        .map(|&o| i64::from(o))
                        .collect(),
                    lists.values(),
                )
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                (lists.offsets().inner().clone(), lists.values())
            }
            _ => return Err(expected()),
        };
        let values = values.as_primitive_opt::<T>().ok_or_else(expected)?.clone();
        reject_nulls(&values, "list value")?;
        Ok(Self { offsets, values })
    }
}

impl<T: ArrowPrimitiveType> Lists<T> {
    /// Row i is `values()[offsets()[i]..offsets()[i + 1]]`; one offset more than rows, the first may be > 0.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    pub fn values(&self) -> &[T::Native] {
        self.values.values()
    }
}

/// A result: an Arrow array that Python takes with `__arrow_c_array__`.
#[pyclass(frozen, module = "curate._rust")]
pub struct Column(ArrayRef);

#[pymethods]
impl Column {
    /// The schema and the array as capsules; a requested schema is ignored, as the interface allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        drop(requested_schema);
        let (array, schema) = to_ffi(&self.0.to_data()).map_err(arrow_error)?;
        let schema = PyCapsule::new_with_value(py, schema, SCHEMA)?;
        let array = PyCapsule::new_with_value(py, array, ARRAY)?;
        PyTuple::new(py, [schema, array])
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

impl Column {
    /// Any array at all.
    pub fn new(array: impl Array + 'static) -> Self {
        Self(Arc::new(array))
    }

    /// Numbers without nulls.
    pub fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> Self {
        Self::new(PrimitiveArray::<T>::new(values.into(), None))
    }

    /// Byte strings of one width, for instance ids (16) and digests (32).
    pub fn fixed<const WIDTH: usize>(values: Vec<[u8; WIDTH]>) -> PyResult<Self> {
        let buffer = Buffer::from_vec(values.into_flattened());
        let array = FixedSizeBinaryArray::try_new(width(WIDTH)?, buffer, None);
        Ok(Self::new(array.map_err(arrow_error)?))
    }

    /// large_list: row i is `values[offsets[i]..offsets[i + 1]]`.
    pub fn lists<T: ArrowPrimitiveType>(
        offsets: Vec<i64>,
        values: Vec<T::Native>,
    ) -> PyResult<Self> {
        let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
        let field = Arc::new(Field::new("item", T::DATA_TYPE, false));
        let array = LargeListArray::try_new(field, offset_buffer(offsets)?, values, None);
        Ok(Self::new(array.map_err(arrow_error)?))
    }

    /// fixed_size_list: row i is `values[i * size..(i + 1) * size]`, or null where `valid[i]` is false.
    pub fn fixed_lists<T: ArrowPrimitiveType>(
        size: usize,
        values: Vec<T::Native>,
        valid: Vec<bool>,
    ) -> PyResult<Self> {
        let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
        let field = Arc::new(Field::new("item", T::DATA_TYPE, false));
        let nulls = NullBuffer::from(valid);
        let array = FixedSizeListArray::try_new(field, width(size)?, values, Some(nulls));
        Ok(Self::new(array.map_err(arrow_error)?))
    }

    /// large_utf8: row i is `values[offsets[i]..offsets[i + 1]]`, which is checked to be UTF-8.
    pub fn strings(offsets: Vec<i64>, values: Vec<u8>) -> PyResult<Self> {
        let array =
            LargeStringArray::try_new(offset_buffer(offsets)?, Buffer::from_vec(values), None);
        Ok(Self::new(array.map_err(arrow_error)?))
    }

    /// large_binary: row i is `values[offsets[i]..offsets[i + 1]]`.
    pub fn binaries(offsets: Vec<i64>, values: Vec<u8>) -> PyResult<Self> {
        let values = Buffer::from_vec(values);
        let array = arrow_array::LargeBinaryArray::try_new(offset_buffer(offsets)?, values, None);
        Ok(Self::new(array.map_err(arrow_error)?))
    }
}

/// Offsets from a kernel: they start at 0 and never fall, or the kernel has a mistake that is named here.
fn offset_buffer(offsets: Vec<i64>) -> PyResult<OffsetBuffer<i64>> {
    if offsets.first() != Some(&0) || !offsets.is_sorted() {
        return Err(PyValueError::new_err(
            "offsets of a result must start at 0 and never fall",
        ));
    }
    Ok(OffsetBuffer::new(offsets.into()))
}

fn width(width: usize) -> PyResult<i32> {
    i32::try_from(width).map_err(|_| {
        PyValueError::new_err(format!("width {width} is over the limit of {}", i32::MAX))
    })
}
