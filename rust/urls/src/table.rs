//! A set of byte strings, each with the number of the list it is on: an open-addressed table of entries in one buffer.

use crate::Error;

/// Multiplies a hash after each byte; odd, with bits all over.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash that is fed byte by byte, so that all beginnings (or ends) of a text are hashed in one walk.
#[derive(Clone, Copy)]
pub struct Rolling(u64);

impl Rolling {
    pub fn new() -> Self {
        Self(FACTOR)
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(FACTOR);
    }

    fn slot(self, slots: usize) -> usize {
        (self.0 ^ (self.0 >> 32)) as usize & (slots - 1)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    length: u32,
    list: u32,
}

const FREE: u32 = u32::MAX;

/// The set. Strings are hashed from their last byte to their first where `backwards`, else the other way.
pub struct Table {
    backwards: bool,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    slots: Vec<u32>,
}

impl Table {
    pub fn new(backwards: bool) -> Self {
        Self {
            backwards,
            bytes: Vec::new(),
            entries: Vec::new(),
            slots: vec![FREE; 16],
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Add a string; of one that is there already the first list stays.
    pub fn add(&mut self, text: &[u8], list: u32) -> Result<(), Error> {
        let hash = self.hash(text);
        if self.find(hash, text).is_some() {
            return Ok(());
        }
        let (start, length) = (u32::try_from(self.bytes.len()), u32::try_from(text.len()));
        let (Ok(start), Ok(length)) = (start, length) else {
            return Err(Error::TooLarge);
        };
        self.bytes.extend_from_slice(text);
        self.entries.push(Entry {
            start,
            length,
            list,
        });
        if self.entries.len() * 2 > self.slots.len() {
            self.slots = vec![FREE; self.slots.len() * 2];
            for id in 0..self.entries.len() {
                self.place(self.hash(self.text(id)), id as u32);
            }
        } else {
            self.place(hash, self.entries.len() as u32 - 1);
        }
        Ok(())
    }

    fn place(&mut self, hash: Rolling, id: u32) {
        let mut slot = hash.slot(self.slots.len());
        while self.slots[slot] != FREE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = id;
    }

    fn text(&self, id: usize) -> &[u8] {
        let Entry { start, length, .. } = self.entries[id];
        &self.bytes[start as usize..start as usize + length as usize]
    }

    fn hash(&self, text: &[u8]) -> Rolling {
        let mut hash = Rolling::new();
        if self.backwards {
            text.iter().rev().for_each(|&byte| hash.push(byte));
        } else {
            text.iter().for_each(|&byte| hash.push(byte));
        }
        hash
    }

    /// The list that a string with this hash is on.
    #[inline]
    pub fn find(&self, hash: Rolling, text: &[u8]) -> Option<u32> {
        let mut slot = hash.slot(self.slots.len());
        loop {
            let id = self.slots[slot];
            if id == FREE {
                return None;
            }
            if self.text(id as usize) == text {
                return Some(self.entries[id as usize].list);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// The list that a string is on.
    pub fn get(&self, text: &[u8]) -> Option<u32> {
        self.find(self.hash(text), text)
    }
}
