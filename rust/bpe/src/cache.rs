//! What a piece encodes to, remembered: four tables of bounded size that grow with what they meet.
//!
//! Nearly all pieces have up to 8 bytes and few ids: such a piece is its own key, and key and ids share an entry of 16
//! bytes, four to a cache line, because a look-up takes as long as its line needs to arrive: the denser the table, the
//! more of it stays near. A piece of up to 15 bytes is a key of 16 bytes with as many bytes of ids, two to a line; one
//! of up to 31 bytes has a line to itself. So nearly every look-up touches one line, compares a register or two, and
//! copies 8 to 32 bytes of ids, of which the last number says how many there are. Of a piece of up to 15 bytes that has
//! more ids than fit, as scripts have that the vocabulary knows little of, an arena holds the ids and the entry their
//! place. A longer one leaves a mark and is found in the last table, which keeps bytes and ids in arenas too. Arenas are
//! emptied when full, and with them the tables that point there.
//!
//! Eviction is CLOCK-like: an entry that was not hit since it was inserted is replaced first. A table doubles when as
//! much was put into it as it has lines, up to a limit: a short text does not pay for the tables of a long one. The ids
//! are the same whether they come from here or from the merge.

use crate::memory::Table;
use crate::piece::{INLINE, first_bytes, fold, hash_bytes, inline_key, prefetch, prefetch_line};
use curate_text::bits::LOWEST;

/// Lines of the first table at first and at most: 256 KB and 16 MB.
const QUICK_BITS: (u32, u32) = (12, 18);
/// Lines of the second: the same.
const SHORT_BITS: (u32, u32) = (12, 18);
/// Lines of the third: 256 KB and 8 MB.
const MEDIUM_BITS: (u32, u32) = (12, 17);
/// Entries of the table of longer pieces, 32 bytes each: 128 KB and 4 MB.
const LONG_BITS: (u32, u32) = (12, 17);
/// The longest piece that the first table takes, in bytes.
pub const QUICK: usize = 8;
/// The longest piece with a line to itself, in bytes.
pub const MEDIUM: usize = 31;
/// The longest piece worth remembering, in bytes.
const LONGEST: usize = 256;
/// Bytes, and ids, that an arena holds before it is emptied.
const ARENA: usize = 1 << 22;
/// In place of a number of ids: an arena, or the last table, has them.
const ELSEWHERE: u32 = 0x3f;
/// Where their number stands then.
const COUNT: u32 = 8;
/// Ids that a look-up copies at most: 32 bytes of them.
pub const MOST_IDS: usize = 16;
/// Set beside the number of ids when a piece is met again.
const MET: u32 = 0x40;
/// Any fixed number: an entry that meets another only replaces it.
const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;

/// An integer that token ids are written as.
pub trait TokenId: Copy + Default {
    /// As many as fill 8 bytes.
    type Fewest: Copy + Default + AsRef<[Self]> + AsMut<[Self]>;
    /// As many as fill 16 bytes.
    type Few: Copy + Default + AsRef<[Self]> + AsMut<[Self]>;
    /// As many as fill 32 bytes.
    type Several: Copy + Default + AsRef<[Self]> + AsMut<[Self]>;

    /// The id in this width; an [`crate::Encoder`] is used with a width that holds all its ids.
    fn from_id(id: u32) -> Self;

    /// The id.
    fn id(self) -> u32;
}

impl TokenId for u16 {
    type Fewest = [u16; 4];
    type Few = [u16; 8];
    type Several = [u16; 16];

    #[inline(always)]
    fn from_id(id: u32) -> Self {
        id as Self
    }

    #[inline(always)]
    fn id(self) -> u32 {
        u32::from(self)
    }
}

impl TokenId for u32 {
    type Fewest = [u32; 2];
    type Few = [u32; 4];
    type Several = [u32; 8];

    #[inline(always)]
    fn from_id(id: u32) -> Self {
        id
    }

    #[inline(always)]
    fn id(self) -> u32 {
        self
    }
}

/// How many ids a row of `Fewest`, `Few` or `Several` holds, or None where it only marks that they are elsewhere.
#[inline(always)]
pub fn count_of<T: TokenId>(row: &[T]) -> Option<usize> {
    let count = row[row.len() - 1].id() & ELSEWHERE;
    (count != ELSEWHERE).then_some(count as usize)
}

/// Ids with their number behind them, or the mark where they are too many.
fn row_of<T: TokenId, R: Default + AsMut<[T]>>(ids: &[T]) -> R {
    let mut row = R::default();
    let places = row.as_mut();
    let last = places.len() - 1;
    let fits = ids.len() <= last;
    if fits {
        places[..ids.len()].copy_from_slice(ids);
    }
    places[last] = T::from_id(if fits { ids.len() as u32 } else { ELSEWHERE });
    row
}

#[inline(always)]
fn is_met<T: TokenId>(row: &[T]) -> bool {
    row[row.len() - 1].id() & MET != 0
}

#[inline(always)]
fn set_met<T: TokenId>(row: &mut [T], met: bool) {
    let last = row.len() - 1;
    let without = row[last].id() & !MET;
    row[last] = T::from_id(if met { without | MET } else { without });
}

/// A piece of up to [`INLINE`] bytes as a number; see [`short_key`].
pub type Key = [u64; 2];

/// Four entries of the first table in one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Quick<T: TokenId> {
    keys: [u64; 4],
    ids: [T::Fewest; 4],
}

/// In place of a key: no piece is eight bytes of 0xff, which no UTF-8 has.
const NO_KEY: u64 = u64::MAX;

impl<T: TokenId> Default for Quick<T> {
    fn default() -> Self {
        Self {
            keys: [NO_KEY; 4],
            ids: Default::default(),
        }
    }
}

/// Two entries in one cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line<T: TokenId> {
    keys: [Key; 2],
    ids: [T::Few; 2],
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

/// A table whose places are the upper bits of hashes.
struct Growing<E> {
    entries: Table<E>,
    bits: u32,
    most: u32,
    put: usize,
}

impl<E: Copy + Default> Growing<E> {
    fn new((bits, most): (u32, u32)) -> Self {
        Self {
            entries: Table::new(1 << bits),
            bits,
            most,
            put: 0,
        }
    }

    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        (hash >> (64 - self.bits)) as usize
    }

    #[inline(always)]
    fn at(&mut self, hash: u64) -> &mut E {
        let place = self.place(hash);
        &mut self.entries[place]
    }

    /// Counts what is put, and gives the entries of the smaller table when it is time for a larger one: when so many were
    /// put for each line.
    fn grow(&mut self, per_line: usize) -> Option<Table<E>> {
        self.put += 1;
        if self.put <= per_line * self.entries.len() || self.bits == self.most {
            return None;
        }
        self.bits += 1;
        let larger = Table::new(1 << self.bits);
        Some(std::mem::replace(&mut self.entries, larger))
    }
}

/// The key of a piece of more than [`INLINE`] and up to [`MEDIUM`] bytes: its bytes, zeros, and the length in the top
/// byte.
#[inline(always)]
pub fn medium_key(text: &[u8], start: usize, end: usize) -> [u64; 4] {
    let length = end - start;
    debug_assert!(length > INLINE);
    let first = text[start..].first_chunk::<16>();
    let low = first.map_or(0, |first| u128::from_le_bytes(*first));
    let high = inline_key(text, start + 16, end);
    let top = (high >> 64) as u64 & (u64::MAX >> 8) | (length as u64) << 56;
    [low as u64, (low >> 64) as u64, high as u64, top]
}

#[inline(always)]
pub fn hash_medium(key: &[u64; 4]) -> u64 {
    let low = fold(key[0] ^ SEED, key[1] ^ 0x9e37_79b9_7f4a_7c15);
    low ^ fold(key[2] ^ 0xd6e8_feb8_6659_fd93, key[3] ^ SEED)
}

#[inline(always)]
pub fn hash_long(piece: &[u8]) -> u64 {
    hash_bytes(piece, SEED)
}

/// The key of a piece of up to [`INLINE`] bytes of UTF-8: its bytes, and behind them 0xff, which no UTF-8 has.
#[inline(always)]
pub fn short_key(text: &[u8], start: usize, end: usize) -> Key {
    let key = first_bytes(text, start, end) | !LOWEST[(end - start) & INLINE];
    [key as u64, (key >> 64) as u64]
}

/// Only the upper bits are good: one multiplication a word, without the fold that would bring them down.
#[inline(always)]
fn hash_short(key: &Key) -> u64 {
    let low = key[0].wrapping_mul(0x9e37_79b9_7f4a_7c15);
    low.wrapping_add(key[1].wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// Which of two keys this one is: bit 0 or bit 2, or 0 for neither.
#[inline(always)]
pub fn which(keys: &[Key; 2], key: &Key) -> usize {
    let is = |nth: usize| usize::from((keys[nth][0] ^ key[0]) | (keys[nth][1] ^ key[1]) == 0);
    is(0) | is(1) << 2
}

/// As [`which`], by AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub fn which_avx2(keys: &[Key; 2], key: &Key) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: 32 and 16 bytes are read, which is what the arrays have, and neither load needs alignment.
    let (keys, key) = unsafe {
        (
            _mm256_loadu_si256(keys.as_ptr().cast()),
            _mm_loadu_si128(key.as_ptr().cast()),
        )
    };
    let equal = _mm256_cmpeq_epi64(keys, _mm256_broadcastsi128_si256(key));
    let words = _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as usize;
    words & words >> 1 & 0b101
}

/// Which of four keys this one is, a bit each.
#[inline(always)]
pub fn which_of_four(keys: &[u64; 4], key: u64) -> usize {
    let is = |nth: usize| usize::from(keys[nth] == key) << nth;
    is(0) | is(1) | is(2) | is(3)
}

/// As [`which_of_four`], by AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub fn which_of_four_avx2(keys: &[u64; 4], key: u64) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: the array is 32 bytes, and the load needs no alignment.
    let keys = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
    let equal = _mm256_cmpeq_epi64(keys, _mm256_set1_epi64x(key as i64));
    _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as usize
}

/// The four tables, 1 MB at first and 44 MB at most, and at most 36 MB of arenas.
pub struct Cache<T: TokenId> {
    quick: Growing<Quick<T>>,
    short: Growing<Line<T>>,
    /// The ids that entries of the first two tables have no room for, and [`MOST_IDS`] more.
    many: Vec<T>,
    medium: Growing<Medium<T>>,
    long: Growing<Long>,
    long_bytes: Vec<u8>,
    long_ids: Vec<T>,
}

impl<T: TokenId> Default for Cache<T> {
    fn default() -> Self {
        Self {
            quick: Growing::new(QUICK_BITS),
            short: Growing::new(SHORT_BITS),
            many: vec![T::default(); MOST_IDS],
            medium: Growing::new(MEDIUM_BITS),
            long: Growing::new(LONG_BITS),
            long_bytes: Vec::new(),
            long_ids: Vec::new(),
        }
    }
}

impl<T: TokenId> Cache<T> {
    /// The place of a piece of up to [`INLINE`] bytes in the first or second table, asked for so that its line is here
    /// when it is needed.
    #[inline(always)]
    pub fn prefetch_short(&self, key: &Key, length: usize) -> usize {
        // A selection in place of a branch, for how long the next piece is cannot be foreseen.
        let (lines, bits) = if length <= QUICK {
            (
                self.quick.entries.as_ptr().cast::<[u8; 64]>(),
                self.quick.bits,
            )
        } else {
            (self.short.entries.as_ptr().cast(), self.short.bits)
        };
        let place = (hash_short(key) >> (64 - bits)) as usize;
        prefetch_line(lines.wrapping_add(place));
        place
    }

    /// The ids of a piece of up to [`QUICK`] bytes, if they are known: see [`count_of`].
    #[inline(always)]
    pub fn quick(
        &mut self,
        key: &Key,
        place: usize,
        which: impl Fn(&[u64; 4], u64) -> usize,
    ) -> Option<&T::Fewest> {
        let line = &mut self.quick.entries[place];
        let found = which(&line.keys, key[0]);
        if found == 0 {
            return None;
        }
        let ids = &mut line.ids[found.trailing_zeros() as usize & 3];
        if !is_met(ids.as_ref()) {
            set_met(ids.as_mut(), true);
        }
        Some(ids)
    }

    /// The ids of a row of the first two tables that says they are elsewhere, and their number.
    #[inline(always)]
    pub fn many(&self, row: &[T]) -> (&[T; MOST_IDS], usize) {
        let bits = 8 * size_of::<T>() as u32;
        let words = row[..4 / size_of::<T>()].iter().zip(0..);
        let place = words.fold(0, |place, (word, nth)| place | word.id() << (bits * nth));
        let count = row[row.len() - 1].id() >> COUNT;
        let ids = self.many[place as usize..].first_chunk();
        (
            ids.expect("every place has MOST_IDS behind it"),
            count as usize,
        )
    }

    /// The row of a piece in the first two tables.
    fn row_or_place<R: Default + AsMut<[T]>>(&mut self, ids: &[T]) -> R {
        let mut row = row_of(ids);
        let places: &mut [T] = R::as_mut(&mut row);
        let last = places.len() - 1;
        if ids.len() <= last {
            return row;
        }
        if self.many.len() > ARENA {
            self.many.truncate(MOST_IDS);
            self.quick.entries.fill(Quick::default());
            self.short.entries.fill(Line::default());
        }
        let place = (self.many.len() - MOST_IDS) as u32;
        self.many.truncate(place as usize);
        self.many.extend_from_slice(ids);
        self.many.resize(self.many.len() + MOST_IDS, T::default());
        let bits = 8 * size_of::<T>() as u32;
        for (word, nth) in places[..4 / size_of::<T>()].iter_mut().zip(0..) {
            *word = T::from_id(place >> (bits * nth));
        }
        places[last] = T::from_id(ELSEWHERE | (ids.len() as u32) << COUNT);
        row
    }

    #[inline(always)]
    pub fn prefetch_medium(&self, hash: u64) {
        prefetch(&self.medium.entries, self.medium.place(hash));
    }

    /// The ids of a piece of up to [`INLINE`] bytes, if they are known: see [`count_of`].
    #[inline(always)]
    pub fn short(
        &mut self,
        key: &Key,
        mut place: usize,
        which: impl Fn(&[Key; 2], &Key) -> usize,
    ) -> Option<&T::Few> {
        let mut found = which(&self.short.entries[place].keys, key);
        if found == 0 {
            place ^= 1;
            found = which(&self.short.entries[place].keys, key);
            if found == 0 {
                return None;
            }
        }
        // An index in place of a branch, for which of two it is cannot be foreseen.
        let ids = &mut self.short.entries[place].ids[found >> 2];
        if !is_met(ids.as_ref()) {
            set_met(ids.as_mut(), true);
        }
        Some(ids)
    }

    /// The ids of a piece of up to [`MEDIUM`] bytes, if they are known.
    #[inline(always)]
    pub fn medium(&mut self, key: &[u64; 4], hash: u64) -> Option<&T::Several> {
        let entry = self.medium.at(hash);
        (entry.key == *key).then_some(&entry.ids)
    }

    #[inline(always)]
    pub fn prefetch_long(&self, hash: u64) {
        prefetch(&self.long.entries, self.long.place(hash));
    }

    /// The ids of any piece that was longer, or had more ids, than the other tables take.
    #[inline(always)]
    pub fn long(&self, piece: &[u8], hash: u64) -> Option<&[T]> {
        let entry = &self.long.entries[self.long.place(hash)];
        if entry.hash != hash || entry.length as usize != piece.len() {
            return None;
        }
        let start = entry.start as usize;
        if &self.long_bytes[start..start + piece.len()] != piece {
            return None;
        }
        Some(&self.long_ids[entry.ids_start as usize..(entry.ids_start + entry.n_ids) as usize])
    }

    /// Remembers the ids of a piece that is not known.
    pub fn put(&mut self, piece: &[u8], ids: &[T]) {
        if piece.len() <= QUICK {
            let row = self.row_or_place(ids);
            return self.put_quick(short_key(piece, 0, piece.len()), row);
        }
        if piece.len() <= INLINE {
            let row = self.row_or_place(ids);
            return self.put_short(short_key(piece, 0, piece.len()), row);
        }
        if piece.len() <= MEDIUM {
            let key = medium_key(piece, 0, piece.len());
            if let Some(smaller) = self.medium.grow(1) {
                for entry in smaller.iter().filter(|entry| entry.key != [0; 4]) {
                    *self.medium.at(hash_medium(&entry.key)) = *entry;
                }
            }
            *self.medium.at(hash_medium(&key)) = Medium {
                key,
                ids: row_of(ids),
            };
            if ids.len() < T::Several::default().as_ref().len() {
                return;
            }
        }
        if piece.len() <= LONGEST {
            self.put_long(piece, ids);
        }
    }

    fn put_quick(&mut self, key: Key, ids: T::Fewest) {
        if let Some(smaller) = self.quick.grow(2) {
            for &Quick { keys, ids } in smaller.iter() {
                for (key, ids) in keys.into_iter().zip(ids) {
                    if key != NO_KEY {
                        self.place_quick([key, u64::MAX], ids);
                    }
                }
            }
        }
        self.place_quick(key, ids);
    }

    /// In its line: where it was, else where there is room, else in place of one that was not met again.
    fn place_quick(&mut self, key: Key, ids: T::Fewest) {
        let line = self.quick.at(hash_short(&key));
        let is_room = |&known: &u64| known == key[0] || known == NO_KEY;
        let room = line.keys.iter().position(is_room);
        let unmet = || line.ids.iter().position(|ids| !is_met(ids.as_ref()));
        let place = room.or_else(unmet).unwrap_or_else(|| {
            for ids in &mut line.ids {
                set_met(ids.as_mut(), false);
            }
            3
        });
        (line.keys[place], line.ids[place]) = (key[0], ids);
    }

    fn put_short(&mut self, key: Key, ids: T::Few) {
        if let Some(smaller) = self.short.grow(1) {
            for &Line { keys, ids } in smaller.iter() {
                for (key, ids) in keys.into_iter().zip(ids) {
                    if key != [0; 2] {
                        self.place_short(key, ids);
                    }
                }
            }
        }
        self.place_short(key, ids);
    }

    /// In its line or the neighboring one if there is room, else in place of an entry of its line.
    fn place_short(&mut self, key: Key, ids: T::Few) {
        let mut place = self.short.place(hash_short(&key));
        let is_full = |line: &Line<T>| line.keys[1] != [0; 2];
        if is_full(&self.short.entries[place]) && !is_full(&self.short.entries[place ^ 1]) {
            place ^= 1;
        }
        let line = &mut self.short.entries[place];
        let unmet = |ids: &T::Few| !is_met(ids.as_ref());
        let victim = if line.keys[0] == [0; 2] {
            0
        } else if !is_full(line) || unmet(&line.ids[1]) {
            1
        } else if unmet(&line.ids[0]) {
            0
        } else {
            line.ids
                .iter_mut()
                .for_each(|ids| set_met(ids.as_mut(), false));
            1
        };
        (line.keys[victim], line.ids[victim]) = (key, ids);
    }

    fn put_long(&mut self, piece: &[u8], ids: &[T]) {
        if self.long_bytes.len().max(self.long_ids.len()) > ARENA {
            self.long_bytes.clear();
            self.long_ids.clear();
            self.long.entries.fill(Long::default());
        }
        if let Some(smaller) = self.long.grow(1) {
            for entry in smaller.iter().filter(|entry| entry.length > 0) {
                *self.long.at(entry.hash) = *entry;
            }
        }
        let hash = hash_long(piece);
        *self.long.at(hash) = Long {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_without_room_are_found_until_their_arena_is_emptied() {
        let mut cache = Cache::<u16>::default();
        let key = |nth: usize| short_key(format!("{nth:012}").as_bytes(), 0, 12);
        let last = ARENA / 12 + 2;
        for nth in 0..=last {
            cache.put(format!("{nth:012}").as_bytes(), &[nth as u16; 12]);
        }
        let place = |cache: &Cache<u16>, nth| cache.short.place(hash_short(&key(nth)));
        let (first, second) = (place(&cache, 0), place(&cache, last));
        assert!(cache.short(&key(0), first, which).is_none());
        let row = *cache.short(&key(last), second, which).expect("just put");
        let (ids, count) = cache.many(&row);
        assert_eq!(
            (&ids[..count], count_of(&row)),
            (&[last as u16; 12][..], None)
        );
    }
}
