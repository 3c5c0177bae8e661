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
/// The rank of a pair that does not merge.
const NONE: u32 = u32::MAX;
/// No such position.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    pair: u64,
    rank: u32,
    id: u32,
}

/// The merges of a model, found by pair.
pub struct Merges {
    slots: Vec<Slot>,
    id_of_byte: [u32; 256],
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
    ranks: Vec<u32>,
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
            rank: NONE,
            id: 0,
        };
        let mut merges = Self {
            slots: vec![empty; (left.len() * 2).next_power_of_two().max(2)],
            id_of_byte,
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
            let slot = merges.slot(pair(left, right));
            // A pair that is listed twice keeps its later rank, as in a map that is filled in order.
            merges.slots[slot] = Slot {
                pair: pair(left, right),
                rank: rank as u32,
                id,
            };
        }
        Ok(merges)
    }

    #[inline(always)]
    fn slot(&self, pair: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.slots[at].pair != pair && self.slots[at].pair != u64::MAX {
            at = (at + 1) & mask;
        }
        at
    }

    /// The rank of a pair, [`NONE`] where it does not merge, and the id that it merges into.
    #[inline(always)]
    fn find(&self, left: u32, right: u32) -> (u32, u32) {
        let slot = self.slots[self.slot(pair(left, right))];
        (slot.rank, slot.id)
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

    fn encode_short(&self, piece: &[u8], out: &mut Vec<u32>) {
        let (mut ids, mut ranks) = ([0u32; LINEAR], [NONE; LINEAR]);
        let mut length = 0;
        self.symbols(piece, |id| {
            ids[length] = id;
            length += 1;
        });
        for at in 0..length.saturating_sub(1) {
            ranks[at] = self.find(ids[at], ids[at + 1]).0;
        }
        // ranks[at] belongs to the pair (at, at + 1); the last symbol's stays NONE.
        loop {
            let (mut best, mut at) = (NONE, 0);
            for (place, &rank) in ranks[..length].iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, place);
                }
            }
            if best == NONE {
                break;
            }
            ids[at] = self.find(ids[at], ids[at + 1]).1;
            ids.copy_within(at + 2..length, at + 1);
            ranks.copy_within(at + 1..length, at);
            length -= 1;
            ranks[at] = if at + 1 < length {
                self.find(ids[at], ids[at + 1]).0
            } else {
                NONE
            };
            if at > 0 {
                ranks[at - 1] = self.find(ids[at - 1], ids[at]).0;
            }
        }
        out.extend_from_slice(&ids[..length]);
    }

    /// The same with a heap of (rank, position) and a linked list. A heap entry counts only while the pair at
    /// its position still has its rank.
    fn encode_long(&self, piece: &[u8], scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let MergeScratch {
            ids,
            ranks,
            next,
            previous,
            heap,
        } = scratch;
        ids.clear();
        self.symbols(piece, |id| ids.push(id));
        let length = ids.len() as u32;
        next.clear();
        next.extend((1..length).chain([NOWHERE]));
        previous.clear();
        previous.extend([NOWHERE].into_iter().chain(0..length - 1));
        ranks.clear();
        ranks.extend(
            ids.windows(2)
                .map(|pair| self.find(pair[0], pair[1]).0)
                .chain([NONE]),
        );
        let entry = |rank: u32, at: u32| Reverse(u64::from(rank) << 32 | u64::from(at));
        let mut entries = std::mem::take(heap).into_vec();
        entries.clear();
        entries.extend(
            (0..length)
                .filter(|&at| ranks[at as usize] != NONE)
                .map(|at| entry(ranks[at as usize], at)),
        );
        *heap = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32 as usize);
            if ranks[at] != rank {
                continue;
            }
            let right = next[at] as usize;
            ids[at] = self.find(ids[at], ids[right]).1;
            ranks[right] = NONE;
            let after = next[right];
            next[at] = after;
            ranks[at] = NONE;
            if after != NOWHERE {
                previous[after as usize] = at as u32;
                ranks[at] = self.find(ids[at], ids[after as usize]).0;
                if ranks[at] != NONE {
                    heap.push(entry(ranks[at], at as u32));
                }
            }
            let before = previous[at];
            if before != NOWHERE {
                let rank = self.find(ids[before as usize], ids[at]).0;
                ranks[before as usize] = rank;
                if rank != NONE {
                    heap.push(entry(rank, before));
                }
            }
        }
        let mut at = 0u32;
        while at != NOWHERE {
            out.push(ids[at as usize]);
            at = next[at as usize];
        }
    }
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
