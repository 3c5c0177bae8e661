//! A column of texts as slices: all bytes in one buffer and an offset a row, as Arrow keeps them.

use crate::Error;

/// Where the rows begin: row i is `values[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Copy, Debug)]
pub enum Offsets<'a> {
    /// 32-bit offsets: Arrow's `utf8` and `binary`.
    Small(&'a [i32]),
    /// 64-bit offsets: Arrow's `large_utf8` and `large_binary`.
    Large(&'a [i64]),
}

impl Offsets<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Small(offsets) => offsets.len(),
            Self::Large(offsets) => offsets.len(),
        }
    }

    fn get(&self, index: usize) -> usize {
        // A negative offset becomes a huge one, which slicing refuses.
        match self {
            Self::Small(offsets) => offsets[index] as usize,
            Self::Large(offsets) => offsets[index] as usize,
        }
    }
}

/// A borrowed column of texts. Copying it copies three words, never text.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    offsets: Offsets<'a>,
    values: &'a [u8],
}

impl<'a> Texts<'a> {
    /// `offsets` has one entry more than there are rows (none at all also means no rows).
    pub fn new(offsets: Offsets<'a>, values: &'a [u8]) -> Self {
        Self { offsets, values }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all rows together.
    pub fn total_bytes(&self) -> usize {
        match self.len() {
            0 => 0,
            rows => self.offsets.get(rows) - self.offsets.get(0),
        }
    }

    /// The bytes of a row. Panics where there is no such row.
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        &self.values[self.offsets.get(row)..self.offsets.get(row + 1)]
    }

    /// The text of a row, or the byte at which it stops being UTF-8.
    pub fn text(&self, row: usize) -> Result<&'a str, Error> {
        let bytes = self.bytes(row);
        // Six times as fast as the standard library where text is not ASCII; that one says where it fails.
        simdutf8::basic::from_utf8(bytes)
            .or_else(|_| std::str::from_utf8(bytes))
            .map_err(|error| Error::NotUtf8 {
                row,
                byte: error.valid_up_to(),
            })
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let texts = *self;
        (0..texts.len()).map(move |row| texts.bytes(row))
    }
}
