//! Packing documents into rows of fixed length, best fit decreasing: the longest document first, each into
//! the row whose room it leaves smallest.
//!
//! Rows are kept in stacks by the room that is left, and a three-level bitmap (64 x 64 x n) finds the next
//! larger room in a few instructions, so a million documents take about 0.1 s. All is integer and
//! ordered, so the same lengths always give the same rows.

use crate::Error;

/// One piece of a document: `length` tokens from `start` of document `doc`, in row `row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The row, from 0.
    pub row: u32,
    /// The document, as an index into the lengths.
    pub doc: u32,
    /// The first token of the document that lies here.
    pub start: u32,
    /// How many tokens lie here.
    pub length: u32,
}

/// The longest row, in tokens: there is a stack for every length of room.
pub const MAX_ROW_LENGTH: u64 = 1 << 26;

const NONE: u32 = u32::MAX;

/// Places documents of `lengths[i]` tokens into rows of `row_length` tokens.
///
/// A document longer than a row becomes full rows and a rest; an empty one takes no place. Of equally long
/// pieces the smaller document comes first. The result is sorted by row and by place in the row.
pub fn pack(lengths: &[u32], row_length: u64) -> Result<Vec<Placement>, Error> {
    if !(1..=MAX_ROW_LENGTH).contains(&row_length) {
        return Err(Error::RowLength {
            row_length,
            limit: MAX_ROW_LENGTH,
        });
    }
    let of_document = |&length: &u32| u64::from(length) / row_length;
    check_count("documents", lengths.len() as u64)?;
    check_count("rows", lengths.iter().map(of_document).sum())?;
    let row_length = row_length as u32;
    let mut placements = Vec::with_capacity(lengths.len());
    let mut rests = Vec::with_capacity(lengths.len());
    let mut n_rows = 0u32;
    for (doc, &length) in (0u32..).zip(lengths) {
        let mut start = 0;
        while length - start >= row_length {
            placements.push(Placement {
                row: n_rows,
                doc,
                start,
                length: row_length,
            });
            n_rows += 1;
            start += row_length;
        }
        if start < length {
            rests.push(Placement {
                row: NONE,
                doc,
                start,
                length: length - start,
            });
        }
    }
    // A stable sort: documents of one length stay in their order.
    rests.sort_by_key(|rest| std::cmp::Reverse(rest.length));

    let full_rows = n_rows;
    let mut open = OpenRows::new(row_length);
    for rest in &mut rests {
        let (row, room) = match open.take(rest.length) {
            Some(found) => found,
            None => {
                check_count("rows", u64::from(n_rows) + 1)?;
                n_rows += 1;
                (n_rows - 1, row_length)
            }
        };
        rest.row = row;
        open.put(row - full_rows, row, room - rest.length);
    }
    placements.extend(in_row_order(&rests, full_rows, n_rows));
    Ok(placements)
}

/// An error where 32-bit numbers do not suffice; the greatest of them stands for no row.
fn check_count(what: &'static str, count: u64) -> Result<(), Error> {
    let limit = u64::from(NONE);
    if count <= limit {
        return Ok(());
    }
    Err(Error::TooMany { what, count, limit })
}

/// Sorts by row and keeps the order within a row.
fn in_row_order(rests: &[Placement], first_row: u32, n_rows: u32) -> Vec<Placement> {
    let mut ends = vec![0u32; (n_rows - first_row) as usize + 1];
    for rest in rests {
        ends[(rest.row - first_row) as usize + 1] += 1;
    }
    for row in 1..ends.len() {
        ends[row] += ends[row - 1];
    }
    let mut sorted = vec![
        Placement {
            row: 0,
            doc: 0,
            start: 0,
            length: 0
        };
        rests.len()
    ];
    for &rest in rests {
        let next = &mut ends[(rest.row - first_row) as usize];
        sorted[*next as usize] = rest;
        *next += 1;
    }
    sorted
}

/// Rows that have room, by the room they have.
struct OpenRows {
    /// The row last put back with this room.
    last: Vec<u32>,
    /// The row put back before it, by row.
    before: Vec<u32>,
    /// Which rooms occur; bit i of a level says that word i of the level below is not zero.
    levels: [Vec<u64>; 3],
    first_row: u32,
}

impl OpenRows {
    fn new(row_length: u32) -> Self {
        let n = row_length as usize + 1;
        let words = |n: usize| n.div_ceil(64);
        let levels = [
            vec![0; words(n)],
            vec![0; words(words(n))],
            vec![0; words(words(words(n)))],
        ];
        Self {
            last: vec![NONE; n],
            before: Vec::new(),
            levels,
            first_row: 0,
        }
    }

    fn put(&mut self, index: u32, row: u32, room: u32) {
        self.first_row = row - index;
        if self.before.len() <= index as usize {
            self.before.resize(index as usize + 1, NONE);
        }
        if room == 0 {
            return;
        }
        self.before[index as usize] = std::mem::replace(&mut self.last[room as usize], row);
        let mut bit = room as usize;
        for level in &mut self.levels {
            level[bit / 64] |= 1 << (bit % 64);
            bit /= 64;
        }
    }

    /// Takes out a row with the smallest room of at least `length`.
    fn take(&mut self, length: u32) -> Option<(u32, u32)> {
        let room = self.next_room(length as usize)?;
        let row = self.last[room];
        self.last[room] = self.before[(row - self.first_row) as usize];
        if self.last[room] == NONE {
            let mut bit = room;
            for level in &mut self.levels {
                level[bit / 64] &= !(1 << (bit % 64));
                if level[bit / 64] != 0 {
                    break;
                }
                bit /= 64;
            }
        }
        Some((row, room as u32))
    }

    /// The smallest room that occurs and is at least `from`: up until a level has a later bit, then down.
    fn next_room(&self, from: usize) -> Option<usize> {
        let mut bit = from;
        for depth in 0..self.levels.len() {
            let rest = self.levels[depth]
                .get(bit / 64)
                .map_or(0, |word| word & (u64::MAX << (bit % 64)));
            if rest != 0 {
                return Some(self.descend(depth, bit / 64 * 64 + rest.trailing_zeros() as usize));
            }
            bit = bit / 64 + 1;
        }
        let top = &self.levels[2];
        let word = (bit..top.len()).find(|&word| top[word] != 0)?;
        Some(self.descend(2, word * 64 + top[word].trailing_zeros() as usize))
    }

    fn descend(&self, depth: usize, mut bit: usize) -> usize {
        for level in self.levels[..depth].iter().rev() {
            bit = bit * 64 + level[bit].trailing_zeros() as usize;
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Best fit decreasing, written down naively: how many tokens each row ends up with.
    fn naive_rows(lengths: &[u32], row_length: u32) -> Vec<u32> {
        let mut rows: Vec<u32> = Vec::new();
        let mut rests: Vec<u32> = Vec::new();
        for &length in lengths {
            rows.extend(std::iter::repeat_n(
                row_length,
                (length / row_length) as usize,
            ));
            rests.extend((length % row_length > 0).then_some(length % row_length));
        }
        rests.sort_by_key(|&rest| std::cmp::Reverse(rest));
        for rest in rests {
            match rows
                .iter_mut()
                .filter(|used| **used + rest <= row_length)
                .max()
            {
                Some(used) => *used += rest,
                None => rows.push(rest),
            }
        }
        rows.sort_unstable();
        rows
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_rows_are_best_fit(
            lengths in proptest::collection::vec(0u32..400, 0..200), row_length in 1u32..300,
        ) {
            let placements = pack(&lengths, row_length.into()).expect("valid");
            prop_assert!(placements.is_sorted_by_key(|placement| placement.row));
            let mut next = vec![0; lengths.len()];
            let mut by_document = placements.clone();
            by_document.sort_by_key(|placement| (placement.doc, placement.start));
            for placement in by_document {
                prop_assert_eq!(placement.start, next[placement.doc as usize]);
                next[placement.doc as usize] += placement.length;
            }
            prop_assert_eq!(&next, &lengths);
            let n_rows = placements.last().map_or(0, |placement| placement.row + 1);
            let mut rows = vec![0; n_rows as usize];
            placements.iter().for_each(|placement| rows[placement.row as usize] += placement.length);
            rows.sort_unstable();
            prop_assert_eq!(rows, naive_rows(&lengths, row_length));
        }
    }

    #[test]
    fn large_rooms_are_found_through_every_level() {
        let lengths = [300_000, 200_000, 5, 99_995, 262_144 * 2];
        let placements = pack(&lengths, 1 << 19).expect("valid");
        let rows: Vec<(u32, u32)> = placements.iter().map(|p| (p.row, p.doc)).collect();
        assert_eq!(rows, [(0, 4), (1, 0), (1, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn more_rows_than_32_bits_can_number_are_refused() {
        let error = pack(&[u32::MAX, 2], 1).unwrap_err().to_string();
        assert!(
            error.contains("4294967297 rows are over the limit of 4294967295"),
            "{error}"
        );
    }

    #[test]
    fn a_row_must_have_a_length() {
        for row_length in [0, MAX_ROW_LENGTH + 1] {
            assert!(pack(&[1], row_length).is_err());
        }
    }
}
