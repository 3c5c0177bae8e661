//! The bytes of a model file, read in order; what does not fit is an error with the place.

use crate::Error;

/// A cursor over the file.
pub struct File<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> File<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    /// The next `length` bytes; an error, naming `what` they would be, where the file ends before.
    pub fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], Error> {
        let left = self.bytes.len() - self.place;
        if length > left {
            return Err(Error::Model(format!(
                "{what} would take {length} bytes at byte {}, and {left} are left",
                self.place
            )));
        }
        let taken = &self.bytes[self.place..self.place + length];
        self.place += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut found = [0; N];
        found.copy_from_slice(self.take(N, what)?);
        Ok(found)
    }

    pub fn i32(&mut self, what: &str) -> Result<i32, Error> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub fn i64(&mut self, what: &str) -> Result<i64, Error> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub fn bool(&mut self, what: &str) -> Result<bool, Error> {
        Ok(self.take(1, what)?[0] != 0)
    }

    /// A count: a number that is not negative.
    pub fn count(&mut self, what: &str) -> Result<usize, Error> {
        let value = self.i32(what)?;
        usize::try_from(value).map_err(|_| Error::Model(format!("{what} is {value}")))
    }

    /// A count of 64 bits.
    pub fn long(&mut self, what: &str) -> Result<usize, Error> {
        let value = self.i64(what)?;
        usize::try_from(value).map_err(|_| Error::Model(format!("{what} is {value}")))
    }

    /// Bytes up to the next zero byte, which is passed.
    pub fn word(&mut self, what: &str) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.place..];
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| Error::Model(format!("{what} at byte {} does not end", self.place)))?;
        self.place += end + 1;
        Ok(&rest[..end])
    }

    /// `length` numbers, all of them finite.
    pub fn floats(&mut self, length: usize, what: &str) -> Result<Vec<f32>, Error> {
        let bytes = length
            .checked_mul(4)
            .ok_or_else(|| Error::Model(format!("{what} has {length} numbers")))?;
        let (numbers, _) = self.take(bytes, what)?.as_chunks::<4>();
        let found: Vec<f32> = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match found.iter().find(|value| !value.is_finite()) {
            None => Ok(found),
            Some(value) => Err(Error::Model(format!("{what} holds {value}"))),
        }
    }
}
