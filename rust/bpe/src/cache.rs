//! What a piece encodes to, remembered: two tables of bounded size.
//!
//! A short piece (up to 15 bytes) is its own key and nearly always 1 to 3 ids, so key and ids share one
//! 32-byte entry, and the two entries where a piece can be share one cache line. A newcomer takes the second
//! place, and moves to the first when it is met again: what comes once cannot drive out what comes often.
//! Longer pieces, common where a letter takes two bytes or words have no spaces between them, have one place
//! each and keep bytes and ids in arenas that are emptied when full. The ids are the same whether they come
//! from here or from the merge.

use crate::piece::prefetch;

/// Two entries each: 8 MB. Larger tables help text in dozens of languages (19 bits: a quarter faster when warm) and
/// cost every cold start, which must touch them all.
const SHORT_BITS: u32 = 17;
/// One entry each: 4 MB, a quarter faster on Russian than 1 MB.
const LONG_BITS: u32 = 17;
/// Ids that an entry holds itself.
const HERE: usize = 3;
/// The longest piece worth remembering, in bytes.
const LONGEST: usize = 256;
/// Bytes, and ids, that an arena holds before it is emptied.
const ARENA: usize = 1 << 22;

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Short {
    low: u64,
    high: u64,
    /// The ids, or where they begin in the arena.
    ids: [u32; HERE],
    n_ids: u32,
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

impl Short {
    #[inline(always)]
    fn is(&self, key: u128) -> bool {
        self.low == key as u64 && self.high == (key >> 64) as u64
    }
}

/// Two entries in one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([Short; 2]);

/// The two tables, about 12 MB and at most 50 MB more.
pub struct Cache {
    short: Vec<Line>,
    short_ids: Vec<u32>,
    long: Vec<Long>,
    long_bytes: Vec<u8>,
    long_ids: Vec<u32>,
}

/// What the cache says about a short piece.
pub enum Found<'a> {
    /// One to three ids: the first `.1` of `.0`.
    Here(&'a [u32; HERE], usize),
    /// More than three.
    Aside(&'a [u32]),
    Unknown,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            short: vec![Line::default(); 1 << SHORT_BITS],
            short_ids: Vec::new(),
            long: vec![Long::default(); 1 << LONG_BITS],
            long_bytes: Vec::new(),
            long_ids: Vec::new(),
        }
    }
}

#[inline(always)]
fn place(hash: u64, bits: u32) -> usize {
    (hash >> (64 - bits)) as usize
}

impl Cache {
    #[inline(always)]
    pub fn prefetch_short(&self, hash: u64) {
        prefetch(&self.short, place(hash, SHORT_BITS));
    }

    #[inline(always)]
    pub fn prefetch_long(&self, hash: u64) {
        prefetch(&self.long, place(hash, LONG_BITS));
    }

    #[inline(always)]
    pub fn short(&mut self, key: u128, hash: u64) -> Found<'_> {
        let Line(line) = &mut self.short[place(hash, SHORT_BITS)];
        if !line[0].is(key) {
            if !line[1].is(key) {
                return Found::Unknown;
            }
            line.swap(0, 1);
        }
        let entry = &line[0];
        let n_ids = entry.n_ids as usize;
        if n_ids <= HERE {
            return Found::Here(&entry.ids, n_ids);
        }
        let start = entry.ids[0] as usize;
        Found::Aside(&self.short_ids[start..start + n_ids])
    }

    pub fn put_short(&mut self, key: u128, hash: u64, ids: &[u32]) {
        let mut here = [0; HERE];
        if ids.len() <= HERE {
            here[..ids.len()].copy_from_slice(ids);
        } else {
            if self.short_ids.len() > ARENA {
                self.short_ids.clear();
                self.short.fill(Line::default());
            }
            here[0] = self.short_ids.len() as u32;
            self.short_ids.extend_from_slice(ids);
        }
        self.short[place(hash, SHORT_BITS)].0[1] = Short {
            low: key as u64,
            high: (key >> 64) as u64,
            ids: here,
            n_ids: ids.len() as u32,
        };
    }

    #[inline(always)]
    pub fn long(&self, piece: &[u8], hash: u64) -> Option<&[u32]> {
        let entry = &self.long[place(hash, LONG_BITS)];
        if entry.hash != hash || entry.length as usize != piece.len() {
            return None;
        }
        let start = entry.start as usize;
        if &self.long_bytes[start..start + piece.len()] != piece {
            return None;
        }
        Some(&self.long_ids[entry.ids_start as usize..(entry.ids_start + entry.n_ids) as usize])
    }

    pub fn put_long(&mut self, piece: &[u8], hash: u64, ids: &[u32]) {
        if piece.len() > LONGEST {
            return;
        }
        if self.long_bytes.len().max(self.long_ids.len()) > ARENA {
            self.long_bytes.clear();
            self.long_ids.clear();
            self.long.fill(Long::default());
        }
        self.long[place(hash, LONG_BITS)] = Long {
            hash,
            start: self.long_bytes.len() as u32,
            length: piece.len() as u32,
            ids_start: self.long_ids.len() as u32,
            n_ids: ids.len() as u32,
        };
        self.long_bytes.extend_from_slice(piece);
        self.long_ids.extend_from_slice(ids);
    }
}
