//! The distinct pieces that training merges in, end to end in one array, with their counts.
//!
//! One slot of 4 bytes a byte of text, and a gap after every piece. A symbol stands in its first and its last slot, so
//! the neighbor on the right begins where it ends, and the one on the left ends before it: no links are needed. Which
//! piece a slot belongs to follows from the gaps before it, counted by lines of 16 slots, which are one cache line.

use crate::Error;
use crate::memory::on_large_pages;
use crate::piece::prefetch;

/// From here on a slot holds no symbol: it lies inside one, or belongs to a character that is none.
pub const NO_SYMBOL: u32 = u32::MAX - 1;
/// Between pieces.
const GAP: u32 = u32::MAX;
/// Places are 32 bits wide.
const MAX_SLOTS: u64 = NO_SYMBOL as u64;
/// Slots in a cache line.
const LINE: usize = 16;

/// 1 for each of the slots of a line before its nth.
static BEFORE: [[u32; LINE]; LINE] = {
    let mut before = [[0; LINE]; LINE];
    let (mut place, mut nth) = (0, 0);
    while place < LINE {
        before[place][nth] = (nth < place) as u32;
        nth = (nth + 1) % LINE;
        place += (nth == 0) as usize;
    }
    before
};

/// The pieces and their counts.
pub struct Pieces {
    pub slots: Vec<u32>,
    /// How many gaps there are before each line of slots.
    gaps: Vec<u32>,
    /// How often each piece occurs.
    pub counts: Vec<i64>,
}

impl Pieces {
    pub fn new() -> Self {
        Self {
            slots: vec![GAP],
            gaps: vec![0],
            counts: Vec::new(),
        }
    }

    /// Makes room for pieces of these lengths.
    pub fn reserve(&mut self, lengths: impl Iterator<Item = usize>) {
        let (mut n_slots, mut n_pieces) = (LINE, 0);
        for length in lengths.filter(|&length| length > 1) {
            n_slots += length + 1;
            n_pieces += 1;
        }
        let n_slots = n_slots.min(MAX_SLOTS as usize);
        self.slots.reserve_exact(n_slots);
        on_large_pages(&self.slots);
        self.gaps.reserve_exact(n_slots / LINE + 1);
        self.counts.reserve_exact(n_pieces);
    }

    /// An error where one more piece of this length would have no place.
    pub fn check_room(&self, length: usize) -> Result<(), Error> {
        let bytes = (self.slots.len() + length + 1) as u64;
        if bytes + LINE as u64 > MAX_SLOTS {
            return Err(Error::TooManyBytes {
                bytes,
                limit: MAX_SLOTS,
            });
        }
        Ok(())
    }

    /// Adds a piece: its symbols, [`NO_SYMBOL`] for what is none, and the bytes of each.
    pub fn push(&mut self, count: i64, symbols: impl Iterator<Item = (u32, usize)>) {
        self.counts.push(count);
        for (symbol, length) in symbols {
            let start = self.slots.len();
            self.slots.push(symbol);
            if length > 1 {
                self.slots.resize(start + length, NO_SYMBOL);
                self.slots[start + length - 1] = symbol;
            }
        }
        self.slots.push(GAP);
        // This piece's gap is the last slot; every line that begins at or before it has all gaps but this before it.
        let before = self.counts.len() as u32;
        self.gaps.resize((self.slots.len() - 1) / LINE + 1, before);
    }

    /// How often the piece occurs that the slot `at` belongs to.
    #[inline(always)]
    pub fn count_at(&self, at: usize) -> i64 {
        let (line, place) = (at / LINE, at % LINE);
        let mut gaps = self.gaps[line];
        let slots = &self.slots[line * LINE..];
        if let Some(slots) = slots.first_chunk::<LINE>() {
            // All 16 are looked at, so that there is no loop whose end cannot be foreseen.
            for (&slot, &counts) in slots.iter().zip(&BEFORE[place]) {
                gaps += u32::from(slot == GAP) & counts;
            }
        } else {
            gaps += slots[..place].iter().filter(|&&slot| slot == GAP).count() as u32;
        }
        // The first slot of all is a gap too.
        self.counts[gaps as usize - 1]
    }

    /// Asks for the memory of a slot and of the count of its line.
    #[inline(always)]
    pub fn prefetch(&self, at: usize) {
        prefetch(&self.slots, at);
        prefetch(&self.gaps, at / LINE);
    }

    /// Calls `found(pair, place, piece)` for every two neighbors; `length` gives the bytes of a symbol.
    pub fn for_each_pair(
        &self,
        length: impl Fn(u32) -> usize,
        mut found: impl FnMut(u64, u32, usize),
    ) {
        let (mut at, mut piece) = (1, 0);
        while at + 1 < self.slots.len() {
            let left = self.slots[at];
            if left >= NO_SYMBOL {
                piece += usize::from(left == GAP);
                at += 1;
                continue;
            }
            let next = at + length(left);
            let right = self.slots[next];
            if right < NO_SYMBOL {
                found(crate::pairs::pair(left, right), at as u32, piece);
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_knows_its_piece() {
        let mut pieces = Pieces::new();
        let lengths: Vec<usize> = (0..200).map(|nth| 1 + nth * 7 % 40).collect();
        for (nth, &length) in lengths.iter().enumerate() {
            pieces.push(nth as i64, (0..length).map(|_| (5, 1)));
        }
        let mut at = 1;
        for (nth, &length) in lengths.iter().enumerate() {
            for place in at..at + length {
                assert_eq!(pieces.count_at(place), nth as i64, "slot {place}");
            }
            at += length + 1;
        }
        let mut seen = Vec::new();
        pieces.for_each_pair(|_| 1, |_, _, piece| seen.push(piece));
        let expected = lengths.iter().enumerate();
        let expected = expected.flat_map(|(nth, &length)| vec![nth; length - 1]);
        assert_eq!(seen, expected.collect::<Vec<_>>());
    }
}
