//! The merge itself: join the neighbors of lowest rank, leftmost first, until none can be joined.
//!
//! Short pieces (nearly all) are searched linearly in two small arrays; from 64 symbols on a heap does it in
//! O(n log n), so that 512 KiB of one letter take less than 0.1 s, not minutes.

use crate::Error;
use crate::piece::{TokenIndex, Vocab};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where the linear search gives way to the heap, in symbols.
const LINEAR: usize = 64;
/// No such id, or position.
const NONE: u32 = u32::MAX;
/// What a pair that does not merge becomes: later than any rank.
const NEVER: u64 = u64::MAX;

/// What a pair becomes: the rank of its merge in the upper half, the id in the lower. The smallest comes first.
type Merge = u64;

#[derive(Clone, Copy)]
struct Slot {
    pair: u64,
    merge: Merge,
}

/// The merges of a model, found by pair.
pub struct Merges {
    slots: Vec<Slot>,
    /// A bit for the hash of every pair that merges, 16 times as many as there are: most pairs are known by them to be
    /// none, from a memory so small that it stays near.
    filter: Vec<u64>,
    id_of_byte: [u32; 256],
    /// What every two bytes become, where bytes are what merges begin with: most look-ups of a new piece.
    of_bytes: Vec<Merge>,
    /// The id of every character that has one, where characters are what merges begin with.
    id_of_character: Option<CharacterIds>,
}

/// Ids by code point, in blocks of 256; a block without any is the first, which is empty.
struct CharacterIds {
    block_of: Vec<u16>,
    blocks: Vec<[u32; 256]>,
}

impl CharacterIds {
    fn new(vocab: &Vocab, index: &TokenIndex) -> Self {
        let mut ids = Self {
            block_of: vec![0; 0x11_0000 / 256],
            blocks: vec![[NONE; 256]],
        };
        for id in 0..vocab.len() as u32 {
            let Ok(text) = std::str::from_utf8(vocab.token(id)) else {
                continue;
            };
            let mut characters = text.chars();
            if let (Some(character), None) = (characters.next(), characters.next())
                && let Some(known) = index.find(vocab, text.as_bytes())
            {
                let (block, place) = (character as usize >> 8, character as usize & 0xff);
                if ids.block_of[block] == 0 {
                    // There are 4,352 blocks, so the number fits.
                    ids.block_of[block] = ids.blocks.len() as u16;
                    ids.blocks.push([NONE; 256]);
                }
                ids.blocks[usize::from(ids.block_of[block])][place] = known;
            }
        }
        ids
    }

    fn find(&self, character: char) -> Option<u32> {
        let block = self.block_of[character as usize >> 8];
        let id = self.blocks[usize::from(block)][character as usize & 0xff];
        (id != NONE).then_some(id)
    }
}

/// Memory that long merges reuse.
#[derive(Default)]
pub struct MergeScratch {
    ids: Vec<u32>,
    merges: Vec<Merge>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Merges {
    /// The table of `left[i] + right[i]`, rank i. `index` finds a token by its bytes, special tokens left out.
    ///
    /// With `byte_ids` merges begin with characters, and a character without a token becomes these ids of its
    /// bytes; such ids must not be in `index`.
    pub fn new(
        vocab: &Vocab,
        index: &TokenIndex,
        left: &[u32],
        right: &[u32],
        byte_ids: Option<&[u32; 256]>,
    ) -> Result<Self, Error> {
        let mut id_of_byte = byte_ids.copied().unwrap_or([0; 256]);
        if byte_ids.is_none() {
            for (byte, id) in (0u8..=255).zip(&mut id_of_byte) {
                *id = index.find(vocab, &[byte]).ok_or_else(|| {
                    Error::Model(format!("no token stands for the byte 0x{byte:02x}"))
                })?;
            }
        }
        if left.len() != right.len() {
            return Err(Error::Model(format!(
                "{} left but {} right halves of merges",
                left.len(),
                right.len()
            )));
        }
        let empty = Slot {
            pair: u64::MAX,
            merge: NEVER,
        };
        let mut merges = Self {
            slots: vec![empty; (left.len() * 2).next_power_of_two().max(2)],
            filter: vec![0; (left.len() / 4).next_power_of_two().max(2)],
            id_of_byte,
            of_bytes: Vec::new(),
            id_of_character: byte_ids.map(|_| CharacterIds::new(vocab, index)),
        };
        let mut joined = Vec::new();
        for (rank, (&left, &right)) in left.iter().zip(right).enumerate() {
            for id in [left, right] {
                if id as usize >= vocab.len() {
                    return Err(Error::Model(format!(
                        "merge {rank} uses token {id}, the vocabulary has {}",
                        vocab.len()
                    )));
                }
            }
            joined.clear();
            joined.extend_from_slice(vocab.token(left));
            joined.extend_from_slice(vocab.token(right));
            let id = index.find(vocab, &joined).ok_or_else(|| {
                Error::Model(format!(
                    "merge {rank} ({left}, {right}) makes a token that the vocabulary lacks"
                ))
            })?;
            let (word, bit) = merges.filter_bit(hash(pair(left, right)));
            merges.filter[word] |= bit;
            let slot = merges.slot(pair(left, right));
            // A pair that is listed twice keeps its later rank, as in a map that is filled in order.
            merges.slots[slot] = Slot {
                pair: pair(left, right),
                merge: (rank as u64) << 32 | u64::from(id),
            };
        }
        if byte_ids.is_none() {
            let pairs = id_of_byte
                .iter()
                .flat_map(|&left| id_of_byte.map(|right| (left, right)));
            merges.of_bytes = pairs
                .map(|(left, right)| merges.find(left, right))
                .collect();
        }
        Ok(merges)
    }

    #[inline(always)]
    fn slot(&self, pair: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (hash(pair) >> 32) as usize & mask;
        while self.slots[at].pair != pair && self.slots[at].pair != u64::MAX {
            at = (at + 1) & mask;
        }
        at
    }

    /// The word and the bit of the filter that belong to a hash, of which they are the upper bits.
    #[inline(always)]
    fn filter_bit(&self, hash: u64) -> (usize, u64) {
        let place = hash >> (64 - 6 - self.filter.len().trailing_zeros());
        ((place >> 6) as usize, 1 << (place & 63))
    }

    /// What a pair becomes.
    #[inline(always)]
    fn find(&self, left: u32, right: u32) -> Merge {
        let pair = pair(left, right);
        let (word, bit) = self.filter_bit(hash(pair));
        if self.filter[word] & bit == 0 {
            return NEVER;
        }
        self.slots[self.slot(pair)].merge
    }

    /// The symbols of a piece before any merge.
    #[inline(always)]
    fn symbols(&self, piece: &[u8], mut push: impl FnMut(u32)) {
        let Some(ids) = &self.id_of_character else {
            for &byte in piece {
                push(self.id_of_byte[usize::from(byte)]);
            }
            return;
        };
        for chunk in piece.utf8_chunks() {
            for character in chunk.valid().chars() {
                if let Some(id) = ids.find(character) {
                    push(id);
                } else {
                    for &byte in character.encode_utf8(&mut [0; 4]).as_bytes() {
                        push(self.id_of_byte[usize::from(byte)]);
                    }
                }
            }
            for &byte in chunk.invalid() {
                push(self.id_of_byte[usize::from(byte)]);
            }
        }
    }

    /// Appends the ids of one piece to `out`.
    pub fn encode(&self, piece: &[u8], scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        if piece.len() <= LINEAR {
            self.encode_short(piece, out)
        } else {
            self.encode_long(piece, scratch, out)
        }
    }

    /// Symbols that were joined to the one before stay where they are; `there` has a bit for every other.
    fn encode_short(&self, piece: &[u8], out: &mut Vec<u32>) {
        let (mut ids, mut merges) = ([0u32; LINEAR], [NEVER; LINEAR]);
        let mut length = 0;
        self.symbols(piece, |id| {
            ids[length] = id;
            length += 1;
        });
        // merges[at] belongs to the symbol at `at` and the next; the last symbol's stays NEVER.
        if self.of_bytes.is_empty() {
            for at in 1..length {
                merges[at - 1] = self.find(ids[at - 1], ids[at]);
            }
        } else {
            for (pair, merge) in piece.windows(2).zip(&mut merges) {
                *merge = self.of_bytes[usize::from(pair[0]) << 8 | usize::from(pair[1])];
            }
        }
        let mut there = u64::MAX.checked_shr((LINEAR - length) as u32).unwrap_or(0);
        loop {
            let (mut best, mut at) = (NEVER, 0);
            for (place, &merge) in merges[..length].iter().enumerate() {
                if merge < best {
                    (best, at) = (merge, place);
                }
            }
            if best == NEVER {
                break;
            }
            let behind = (u64::MAX << at) << 1;
            let right = (there & behind).trailing_zeros() as usize;
            (ids[at], merges[at], merges[right]) = (best as u32, NEVER, NEVER);
            there &= !(1 << right);
            let (before, after) = (there & !(u64::MAX << at), there & behind);
            if after != 0 {
                merges[at] = self.find(ids[at], ids[after.trailing_zeros() as usize]);
            }
            if before != 0 {
                let before = 63 - before.leading_zeros() as usize;
                merges[before] = self.find(ids[before], ids[at]);
            }
        }
        while there != 0 {
            out.push(ids[there.trailing_zeros() as usize]);
            there &= there - 1;
        }
    }

    /// The same with a heap of (rank, position) and a linked list. A heap entry counts only while the pair at
    /// its position still has its rank.
    fn encode_long(&self, piece: &[u8], scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let MergeScratch {
            ids,
            merges,
            next,
            previous,
            heap,
        } = scratch;
        ids.clear();
        self.symbols(piece, |id| ids.push(id));
        let length = ids.len() as u32;
        next.clear();
        next.extend((1..length).chain([NONE]));
        previous.clear();
        previous.extend([NONE].into_iter().chain(0..length - 1));
        merges.clear();
        merges.extend(
            ids.windows(2)
                .map(|pair| self.find(pair[0], pair[1]))
                .chain([NEVER]),
        );
        let entry = |merge: Merge, at: u32| Reverse(merge >> 32 << 32 | u64::from(at));
        let mut entries = std::mem::take(heap).into_vec();
        entries.clear();
        entries.extend(
            (0..length)
                .filter(|&at| merges[at as usize] != NEVER)
                .map(|at| entry(merges[at as usize], at)),
        );
        *heap = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = (top >> 32, top as u32 as usize);
            if merges[at] >> 32 != rank {
                continue;
            }
            let right = next[at] as usize;
            ids[at] = merges[at] as u32;
            merges[right] = NEVER;
            let after = next[right];
            next[at] = after;
            merges[at] = NEVER;
            if after != NONE {
                previous[after as usize] = at as u32;
                merges[at] = self.find(ids[at], ids[after as usize]);
                if merges[at] != NEVER {
                    heap.push(entry(merges[at], at as u32));
                }
            }
            let before = previous[at];
            if before != NONE {
                let merge = self.find(ids[before as usize], ids[at]);
                merges[before as usize] = merge;
                if merge != NEVER {
                    heap.push(entry(merge, before));
                }
            }
        }
        let mut at = 0u32;
        while at != NONE {
            out.push(ids[at as usize]);
            at = next[at as usize];
        }
    }
}

/// Only the upper bits are good.
#[inline(always)]
fn hash(pair: u64) -> u64 {
    pair.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline(always)]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{TrainOptions, train};
    use proptest::prelude::*;

    proptest! {
        /// Both ways give the same ids, on pieces made of the letters that were trained on.
        #[test]
        fn heap_equals_linear_search(piece in "[ab]{1,64}|[a-d]{1,64}") {
            let words: [(&[u8], i64); 4] = [(b"abcabdabc", 9), (b"aaaaaaab", 7), (b"bbabab", 5), (b"ddcc", 2)];
            let options = TrainOptions { vocab_size: 290, ..TrainOptions::default() };
            let model = train(words, &options).expect("trains");
            let mut index = TokenIndex::with_capacity(model.vocab.len());
            (0..model.vocab.len() as u32).for_each(|id| index.insert(&model.vocab, id));
            let merges = Merges::new(&model.vocab, &index, &model.left, &model.right, None).expect("a model");
            let (mut short, mut long) = (Vec::new(), Vec::new());
            merges.encode_short(piece.as_bytes(), &mut short);
            merges.encode_long(piece.as_bytes(), &mut MergeScratch::default(), &mut long);
            prop_assert_eq!(short, long);
        }
    }
}
