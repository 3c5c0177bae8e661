//! What a piece encodes to, remembered: three tables of bounded size that grow with what they meet.
//!
//! Nearly all pieces have up to 15 bytes and few ids: `short` has them. One of up to 31 bytes is a key of 32 bytes with as
//! many bytes of ids, and has a cache line to itself. So nearly every look-up touches one line, compares a register or
//! two, and copies 16 or 32 bytes of ids, because a look-up takes as long as its line needs to arrive. A longer piece, or
//! one of more ids, is found in the last table, which keeps bytes and ids in arenas. Arenas are emptied when full, and
//! with them the tables that point there.
//!
//! A table doubles when as much was put into it as it has lines, up to a limit: a short text does not pay for the tables
//! of a long one. The ids are the same whether they come from here or from the merge.

use crate::ids::TokenId;
use crate::memory::Growing;
use crate::piece::{INLINE, fold, hash_bytes, inline_key, prefetch};
use crate::short::{ARENA, Short};

/// Lines of the table of pieces of up to [`MEDIUM`] bytes at first and at most: 256 KB and 8 MB.
const MEDIUM_BITS: (u32, u32) = (12, 17);
/// Entries of the table of longer pieces, 32 bytes each: 128 KB and 4 MB.
const LONG_BITS: (u32, u32) = (12, 17);
/// Places of these tables for each entry that is put into them before they double.
const PER_ENTRY: usize = 2;
/// The longest piece with a line to itself, in bytes.
const MEDIUM: usize = 31;
/// The longest piece worth remembering, in bytes.
const LONGEST: usize = 256;
/// In place of a number of ids: the last table has them.
const ELSEWHERE: u32 = 0x3f;
/// Any fixed number: an entry that meets another only replaces it.
const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;

/// How many ids a row holds, or None where it only marks that they are elsewhere.
#[inline(always)]
fn count_of<T: TokenId>(row: &T::Several) -> Option<usize> {
    let row = row.as_ref();
    let count = row[row.len() - 1].id();
    (count != ELSEWHERE).then_some(count as usize)
}

/// Ids with their number behind them, or the mark where they are too many.
fn row_of<T: TokenId>(ids: &[T]) -> T::Several {
    let mut row = T::Several::default();
    let places = row.as_mut();
    let last = places.len() - 1;
    let fits = ids.len() <= last;
    if fits {
        places[..ids.len()].copy_from_slice(ids);
    }
    places[last] = T::from_id(if fits { ids.len() as u32 } else { ELSEWHERE });
    row
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Medium<T: TokenId> {
    key: [u64; 4],
    ids: T::Several,
}

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Long {
    hash: u64,
    start: u32,
    length: u32,
    ids_start: u32,
    n_ids: u32,
}

/// The key of a piece of more than [`INLINE`] and up to [`MEDIUM`] bytes: its bytes, zeros, and the length in the top
/// byte.
#[inline(always)]
fn medium_key(text: &[u8], start: usize, end: usize) -> [u64; 4] {
    let length = end - start;
    debug_assert!(length > INLINE);
    let first = text[start..].first_chunk::<16>();
    let low = first.map_or(0, |first| u128::from_le_bytes(*first));
    let high = inline_key(text, start + 16, end);
    let top = (high >> 64) as u64 & (u64::MAX >> 8) | (length as u64) << 56;
    [low as u64, (low >> 64) as u64, high as u64, top]
}

#[inline(always)]
fn hash_medium(key: &[u64; 4]) -> u64 {
    let low = fold(key[0] ^ SEED, key[1] ^ 0x9e37_79b9_7f4a_7c15);
    low ^ fold(key[2] ^ 0xd6e8_feb8_6659_fd93, key[3] ^ SEED)
}

#[inline(always)]
fn hash_long(piece: &[u8]) -> u64 {
    hash_bytes(piece, SEED)
}

/// The three tables, 8.4 MB at first and 44 MB at most, and at most 36 MB of arenas.
pub struct Cache<T: TokenId> {
    /// Pieces of up to [`INLINE`] bytes.
    pub short: Short<T>,
    medium: Growing<Medium<T>>,
    long: Growing<Long>,
    long_bytes: Vec<u8>,
    long_ids: Vec<T>,
}

impl<T: TokenId> Default for Cache<T> {
    fn default() -> Self {
        Self {
            short: Short::default(),
            medium: Growing::new(MEDIUM_BITS),
            long: Growing::new(LONG_BITS),
            long_bytes: Vec::new(),
            long_ids: Vec::new(),
        }
    }
}

impl<T: TokenId> Cache<T> {
    /// The hash of a piece of more than [`INLINE`] bytes, whose entry is asked for.
    #[inline]
    pub fn prefetch_longer(&self, text: &[u8], start: usize, end: usize) -> u64 {
        if end - start <= MEDIUM {
            let hash = hash_medium(&medium_key(text, start, end));
            prefetch(&self.medium.entries, self.medium.place(hash));
            return hash;
        }
        let hash = hash_long(&text[start..end]);
        prefetch(&self.long.entries, self.long.place(hash));
        hash
    }

    /// The ids of a piece of more than [`INLINE`] and up to [`MEDIUM`] bytes, and their number, if they are known and not
    /// too many; the hash is that of [`Self::prefetch_longer`].
    #[inline(always)]
    pub fn medium(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        hash: u64,
    ) -> Option<(&T::Several, usize)> {
        if end - start > MEDIUM {
            return None;
        }
        let (key, place) = (medium_key(text, start, end), self.medium.place(hash));
        let both = [place, place ^ 1].map(|place| &self.medium.entries[place]);
        let entry = both.into_iter().find(|entry| entry.key == key)?;
        Some((&entry.ids, count_of::<T>(&entry.ids)?))
    }

    /// The ids of a piece of more than [`INLINE`] bytes that `medium` does not give, if they are known.
    pub fn longer(&self, piece: &[u8], mut hash: u64) -> Option<&[T]> {
        if piece.len() <= MEDIUM {
            hash = hash_long(piece);
        }
        self.long(piece, hash)
    }

    /// The ids of any piece that was longer, or had more ids, than the other tables take.
    #[inline]
    fn long(&self, piece: &[u8], hash: u64) -> Option<&[T]> {
        let place = self.long.place(hash);
        let both = [place, place ^ 1].map(|place| &self.long.entries[place]);
        let is_piece = |entry: &&Long| {
            let start = entry.start as usize;
            entry.hash == hash
                && self.long_bytes.get(start..start + entry.length as usize) == Some(piece)
        };
        let entry = both.into_iter().find(is_piece)?;
        Some(&self.long_ids[entry.ids_start as usize..(entry.ids_start + entry.n_ids) as usize])
    }

    /// Remembers the ids of a piece that is not known.
    pub fn put(&mut self, piece: &[u8], ids: &[T]) {
        if piece.len() <= INLINE {
            return self.short.put(piece, ids);
        }
        if piece.len() <= MEDIUM {
            let key = medium_key(piece, 0, piece.len());
            if let Some(smaller) = self.medium.grow(self.medium.entries.len() / PER_ENTRY) {
                for entry in smaller.iter().filter(|entry| entry.key != [0; 4]) {
                    let hash = hash_medium(&entry.key);
                    self.medium.put(hash, *entry, |other| other.key == [0; 4]);
                }
            }
            let entry = Medium {
                key,
                ids: row_of(ids),
            };
            let hash = hash_medium(&key);
            self.medium.put(hash, entry, |other| other.key == [0; 4]);
            if ids.len() < T::Several::default().as_ref().len() {
                return;
            }
        }
        if piece.len() <= LONGEST {
            self.put_long(piece, ids);
        }
    }

    fn put_long(&mut self, piece: &[u8], ids: &[T]) {
        if self.long_bytes.len().max(self.long_ids.len()) > ARENA {
            self.long_bytes.clear();
            self.long_ids.clear();
            self.long.entries.fill(Long::default());
        }
        if let Some(smaller) = self.long.grow(self.long.entries.len() / PER_ENTRY) {
            for entry in smaller.iter().filter(|entry| entry.length > 0) {
                self.long.put(entry.hash, *entry, |other| other.length == 0);
            }
        }
        let hash = hash_long(piece);
        let entry = Long {
            hash,
            start: self.long_bytes.len() as u32,
            length: piece.len() as u32,
            ids_start: self.long_ids.len() as u32,
            n_ids: ids.len() as u32,
        };
        self.long.put(hash, entry, |other| other.length == 0);
        self.long_bytes.extend_from_slice(piece);
        self.long_ids.extend_from_slice(ids);
    }
}
