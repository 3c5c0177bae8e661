//! The table of short pieces, which nearly all pieces are: read without a branch that cannot be foreseen.
//!
//! A cache line is four lanes: 32 bytes of rows, then 32 bytes of keys. A piece of up to 7 bytes takes one lane, a key
//! and a row of 8 bytes each; one of up to [`crate::piece::INLINE`] bytes takes two neighboring lanes. Both kinds share
//! the lines, because which of them the next piece is cannot be foreseen: one comparison of four keys serves both, and
//! 16 bytes of ids are copied whatever their number is. The first number of a row says how many of them count.
//!
//! Keys are bytes of UTF-8 and behind them 0xff, which no UTF-8 has. So a key of one lane ends in 0xff; of two lanes the
//! first ends in a byte of text and the second in 0xfe, and neither can be taken for the other.
//!
//! A full line gives what is put into it to its neighbor, where a look-up that fails goes on. Where both are full, what was
//! not met again since it was put there is replaced first, as in CLOCK.
//!
//! Of a piece that has more ids than fit, as scripts have that the vocabulary knows little of, an arena holds the ids,
//! and the row their place.

use std::ops::Range;

use crate::ids::TokenId;
use crate::look::{ALONE, Look, SECOND, View, hash_of, keys};
use crate::memory::Growing;

/// Lines at first and at most: 8 MB, in which a vocabulary of usual size and the first megabytes of a text fill few
/// lines, and 32 MB. With a quarter of it the first 10 MB took a tenth to a quarter longer: it grew twice, and more
/// look-ups went on to a neighboring line.
const BITS: (u32, u32) = (17, 19);
/// Entries that are put into a table for each line before it doubles.
const PER_LINE: usize = 2;
/// Lanes of a line.
const LANES: usize = 4;
/// Ids that an arena holds before it is emptied.
pub const ARENA: usize = 1 << 22;
/// Ids that a look-up copies at most.
pub const MOST_IDS: usize = 16;
/// Set beside the number of ids until the piece is met again: such an entry is replaced first.
const FRESH: u32 = 0x40;
/// In place of a number of ids: the arena has them.
const ELSEWHERE: u32 = 0x80;
/// Where their number stands then.
const COUNT: u32 = 8;
/// In place of a key where a lane is free.
const NO_KEY: u64 = u64::MAX;

/// Which lanes have these keys, the first in even and the second in odd ones, a bit each.
#[inline(always)]
pub fn equal(lanes: &[u8; 32], keys: &[u64; 2]) -> u32 {
    let words = lanes.as_chunks::<8>().0.iter().zip(0..);
    let bit = |(word, nth): (&[u8; 8], usize)| {
        u32::from(u64::from_ne_bytes(*word) == keys[nth & 1]) << nth
    };
    words.map(bit).sum()
}

/// As [`equal`], by AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub fn equal_avx2(lanes: &[u8; 32], keys: &[u64; 2]) -> u32 {
    use std::arch::x86_64::*;
    // SAFETY: 32 and 16 bytes are read, which is what the arrays have, and neither load needs alignment.
    let (lanes, keys) = unsafe {
        (
            _mm256_loadu_si256(lanes.as_ptr().cast()),
            _mm_loadu_si128(keys.as_ptr().cast()),
        )
    };
    let equal = _mm256_cmpeq_epi64(lanes, _mm256_broadcastsi128_si256(keys));
    _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as u32
}

/// Four lanes: their rows, then their keys.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line([u8; 64]);

impl Default for Line {
    fn default() -> Self {
        let mut line = Self([0; 64]);
        (0..LANES).for_each(|lane| line.set_key(lane, NO_KEY));
        line
    }
}

impl Line {
    #[inline(always)]
    fn keys(&self) -> &[u8; 32] {
        self.0.last_chunk().expect("half of a line")
    }

    /// The number of ids, or marks, of the row at a lane, and the 16 bytes behind: ids, and what follows them.
    #[inline(always)]
    fn row<T: TokenId>(&self, lane: usize) -> (u32, &[u8; 16]) {
        let row = &self.0[8 * (lane % LANES)..];
        let ids = row[size_of::<T>()..].first_chunk();
        (
            T::read(row).id(),
            ids.expect("the lanes end far before the line"),
        )
    }

    #[inline]
    fn head<T: TokenId>(&self, lane: usize) -> u32 {
        self.row::<T>(lane).0
    }

    #[inline]
    fn set_head<T: TokenId>(&mut self, lane: usize, head: u32) {
        T::from_id(head).write(&mut self.0[8 * lane..]);
    }

    #[inline]
    fn key(&self, lane: usize) -> u64 {
        u64::from_ne_bytes(self.keys().as_chunks().0[lane])
    }

    #[inline]
    fn set_key(&mut self, lane: usize, key: u64) {
        self.0.as_chunks_mut().0[LANES + lane] = key.to_ne_bytes();
    }

    /// The lanes of the entry that a lane belongs to; a free lane is by itself.
    #[inline]
    fn entry(&self, lane: usize) -> Range<usize> {
        if self.key(lane | 1) >> 56 == 0xfe {
            lane & !1..(lane | 1) + 1
        } else {
            lane..lane + 1
        }
    }

    /// The entries: their lanes.
    fn entries(&self) -> impl Iterator<Item = Range<usize>> {
        let all = (0..LANES).map(|lane| self.entry(lane));
        let first = all.zip(0..).filter(|(lanes, lane)| lanes.start == *lane);
        first.filter_map(|(lanes, lane)| (self.key(lane) != NO_KEY).then_some(lanes))
    }

    /// Where there is room for so many lanes. Entries of one fill a line from its end, those of two from its beginning.
    #[inline]
    fn room(&self, width: usize) -> Option<usize> {
        let free = equal(self.keys(), &[NO_KEY; 2]);
        let place = if width == 1 {
            31 - free.leading_zeros() as i32
        } else {
            (free & free >> 1 & 0b101).trailing_zeros() as i32
        };
        (0..LANES as i32).contains(&place).then_some(place as usize)
    }

    /// Makes room for so many lanes: what was not met again goes, or else what is first, and all counts as not met.
    #[inline(never)]
    fn make_room<T: TokenId>(&mut self, width: usize) -> usize {
        let first = |lane| self.entry(lane).start;
        let is_fresh = |lane| self.key(lane) == NO_KEY || self.head::<T>(first(lane)) & FRESH != 0;
        let mut places = (0..LANES).step_by(width);
        let fresh = places.find(|&place| (place..place + width).all(is_fresh));
        let place = fresh.unwrap_or_else(|| {
            for lane in 0..LANES {
                let first = self.entry(lane).start;
                self.set_head::<T>(first, self.head::<T>(first) | FRESH);
            }
            0
        });
        for lane in place..place + width {
            for lane in self.entry(lane) {
                self.set_key(lane, NO_KEY);
            }
        }
        place
    }

    #[inline]
    fn write(&mut self, place: usize, keys: &[u64; 2], row: &[u8], width: usize) {
        (0..width).for_each(|lane| {
            self.set_key(place + lane, keys[lane]);
            self.0[8 * (place + lane)..][..8].copy_from_slice(&row[8 * lane..][..8])
        });
    }
}

/// What a look-up finds: ids, copied whole, and how many there are.
pub enum Found<'a, T> {
    /// Nearly always.
    Few(&'a [u8; 16], usize),
    /// From the arena.
    Many(&'a [T; MOST_IDS], usize),
}

impl<T: TokenId> Found<'_, T> {
    /// Appends the ids to others.
    pub fn append(&self, out: &mut Vec<T>) {
        match self {
            Self::Few(bytes, count) => {
                let ids = bytes.chunks(size_of::<T>()).take(*count);
                out.extend(ids.map(T::read));
            }
            Self::Many(ids, count) => out.extend_from_slice(&ids[..*count]),
        }
    }
}

/// The ids of a piece, if its line has them.
#[inline(always)]
pub fn find<'a, T: TokenId>(
    lines: &'a mut [Line],
    many: &'a [T],
    look: &Look,
    equal: impl Fn(&[u8; 32], &[u64; 2]) -> u32,
) -> Option<Found<'a, T>> {
    let line = &mut lines[look.line()];
    let equal = equal(line.keys(), &look.keys);
    // Of two keys both must be equal.
    let found = equal & (equal >> 1 & 0b101 | look.alone());
    if found == 0 {
        return None;
    }
    let lane = found.trailing_zeros() as usize % LANES;
    let head = line.head::<T>(lane);
    if head < FRESH {
        return Some(Found::Few(line.row::<T>(lane).1, head as usize));
    }
    let head = head & !FRESH;
    line.set_head::<T>(lane, head);
    if head < ELSEWHERE {
        return Some(Found::Few(line.row::<T>(lane).1, head as usize));
    }
    let [a, b, c, d, ..] = *line.row::<T>(lane).1;
    let ids = many[u32::from_ne_bytes([a, b, c, d]) as usize..].first_chunk();
    let ids = ids.expect("every place has MOST_IDS behind it");
    Some(Found::Many(ids, (head >> COUNT) as usize))
}

/// The table, 32 MB at most, and its arena.
pub struct Short<T: TokenId> {
    lines: Growing<Line>,
    /// The ids that rows have no room for, and [`MOST_IDS`] more.
    many: Vec<T>,
}

impl<T: TokenId> Default for Short<T> {
    fn default() -> Self {
        Self {
            lines: Growing::new(BITS),
            many: vec![T::default(); MOST_IDS],
        }
    }
}

impl<T: TokenId> Short<T> {
    /// What looks are made with until the table grows.
    #[inline(always)]
    pub fn view(&self) -> View {
        View::new(&self.lines.entries)
    }

    /// The lines, and the ids that they have no room for.
    #[inline(always)]
    pub fn parts(&mut self) -> (&mut [Line], &[T]) {
        (&mut self.lines.entries, &self.many)
    }

    /// The ids of a piece that its line does not have, if the neighboring one has them, where it is put only if its own
    /// is full.
    pub fn find_beside(&mut self, look: &Look) -> Option<Found<'_, T>> {
        let width = if look.alone() == 0 { 2 } else { 1 };
        if self.lines.entries[look.line()].room(width).is_some() {
            return None;
        }
        find(&mut self.lines.entries, &self.many, &look.beside(), equal)
    }

    /// Remembers the ids of a piece of up to [`crate::piece::INLINE`] bytes.
    pub fn put(&mut self, piece: &[u8], ids: &[T]) {
        let (keys, hash) = keys(piece, 0, piece.len());
        let width = if piece.len() <= ALONE { 1 } else { 2 };
        let row = self.row(ids, 8 * width);
        if let Some(smaller) = self.lines.grow(PER_LINE * self.lines.entries.len()) {
            for line in smaller.iter() {
                for lanes in line.entries() {
                    let (first, second) = (line.key(lanes.start), line.key(lanes.end - 1));
                    let all = if first == second {
                        NO_KEY ^ SECOND
                    } else {
                        second
                    };
                    let row = &line.0[8 * lanes.start..8 * lanes.end];
                    self.place(hash_of(first, all), &[first, second], row, lanes.len());
                }
            }
        }
        self.place(hash, &keys, &row, width);
    }

    /// Puts an entry where there is room, in its line or the neighboring one, else in place of another.
    #[inline]
    fn place(&mut self, hash: u64, keys: &[u64; 2], row: &[u8], width: usize) {
        let home = self.lines.place(hash);
        let lines = &mut self.lines.entries;
        let room = |line| Some((line, Line::room(&lines[line], width)?));
        let place = room(home).or_else(|| room(home ^ 1));
        let (line, place) = place.unwrap_or_else(|| (home, lines[home].make_room::<T>(width)));
        lines[line].write(place, keys, row, width);
    }

    /// A row of so many bytes.
    fn row(&mut self, ids: &[T], size: usize) -> [u8; 16] {
        let mut row = [0; 16];
        if size_of_val(ids) < size {
            T::from_id(FRESH | ids.len() as u32).write(&mut row);
            let places = row.chunks_mut(size_of::<T>()).skip(1);
            ids.iter()
                .zip(places)
                .for_each(|(id, place)| id.write(place));
            return row;
        }
        if self.many.len() > ARENA {
            self.many.truncate(MOST_IDS);
            self.lines.entries.fill(Line::default());
        }
        let place = self.many.len() - MOST_IDS;
        self.many.truncate(place);
        self.many.extend_from_slice(ids);
        self.many.resize(self.many.len() + MOST_IDS, T::default());
        T::from_id(FRESH | ELSEWHERE | (ids.len() as u32) << COUNT).write(&mut row);
        row[size_of::<T>()..][..4].copy_from_slice(&(place as u32).to_ne_bytes());
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids under a piece, if there are some.
    fn ids_of(short: &mut Short<u16>, piece: &str) -> Option<Vec<u16>> {
        let look = short.view().look(piece.as_bytes(), 0, piece.len());
        let mut ids = Vec::new();
        let (lines, many) = short.parts();
        if let Some(found) = find(lines, many, &look, equal) {
            found.append(&mut ids);
        } else {
            short.find_beside(&look)?.append(&mut ids);
        }
        Some(ids)
    }

    #[test]
    fn no_piece_is_taken_for_another() {
        // Of every length, parts of each other, ends of keys that other pieces' first bytes are.
        let text = "abcdefgh\0\u{fe}ijklmnopqrs";
        let cut = |start, end| text.get(start..end).filter(|piece: &&str| piece.len() < 16);
        let spans =
            (0..text.len()).flat_map(|start| (start + 1..=text.len()).map(move |end| (start, end)));
        let pieces: Vec<&str> = spans.filter_map(|(start, end)| cut(start, end)).collect();
        let mut short = Short::default();
        for (nth, piece) in (0u16..).zip(&pieces) {
            assert_eq!(ids_of(&mut short, piece), None);
            let ids: Vec<u16> = (nth..nth + piece.len() as u16).collect();
            short.put(piece.as_bytes(), &ids);
            assert_eq!(ids_of(&mut short, piece), Some(ids));
        }
        let known = (0u16..)
            .zip(&pieces)
            .filter_map(|(nth, piece)| Some((nth, ids_of(&mut short, piece)?)));
        let known: Vec<_> = known.collect();
        assert!(
            known.len() * 10 > pieces.len() * 9,
            "{} of {}",
            known.len(),
            pieces.len()
        );
        assert!(known.iter().all(|(nth, ids)| ids[0] == *nth));
    }

    #[test]
    fn a_full_line_gives_up_what_was_not_met_again() {
        let one = |nth: u64| [nth | 0xff << 56; 2];
        let two = |nth: u64| [nth, nth | 0xfe << 56];
        let row = |nth: u8| {
            let mut row = [0; 16];
            (row[0], row[2]) = (1 | FRESH as u8, nth);
            row
        };
        let (mut short, mut seen) = (Short::<u16>::default(), Vec::new());
        let mut put = |keys, nth, width| {
            short.place(0, &keys, &row(nth), width);
            let lines = &mut short.lines.entries[..2];
            let ids = |line: &Line| {
                line.entries()
                    .map(|lanes| line.0[8 * lanes.start + 2])
                    .collect()
            };
            let ids: Vec<Vec<u8>> = lines.iter().map(ids).collect();
            // Those before the sixth are met again.
            lines.iter_mut().filter(|_| nth < 6).for_each(|line| {
                (0..LANES).for_each(|lane| line.set_head::<u16>(line.entry(lane).start, 1));
            });
            seen.push(ids);
        };
        put(two(1), 1, 2);
        put(one(2), 2, 1);
        put(one(3), 3, 1);
        put(two(4), 4, 2);
        put(two(5), 5, 2);
        put(one(6), 6, 1);
        put(two(7), 7, 2);
        let expected: [&[&[u8]]; 7] = [
            &[&[1], &[]],
            &[&[1, 2], &[]],
            &[&[1, 3, 2], &[]],
            &[&[1, 3, 2], &[4]],
            &[&[1, 3, 2], &[4, 5]],
            &[&[6, 3, 2], &[4, 5]],
            &[&[7, 3, 2], &[4, 5]],
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn ids_without_room_are_found_until_their_arena_is_emptied() {
        let mut short = Short::<u16>::default();
        let piece = |nth: usize| format!("{nth:012}");
        let last = ARENA / 12 + 2;
        for nth in 0..=last {
            short.put(piece(nth).as_bytes(), &[nth as u16; 12]);
        }
        assert_eq!(ids_of(&mut short, &piece(0)), None);
        assert_eq!(
            ids_of(&mut short, &piece(last)),
            Some(vec![last as u16; 12])
        );
    }
}
