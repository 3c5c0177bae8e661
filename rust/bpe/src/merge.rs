//! The merge itself: join the neighbors of lowest rank, leftmost first, until none can be joined.
//!
//! Short pieces (nearly all) are searched linearly in two small arrays, those of up to 32 symbols in two registers
//! where there is AVX-512; from 64 symbols on a heap does it in O(n log n), so that 512 KiB of one letter take less than
//! 0.1 s, not minutes.

use crate::Error;
use crate::piece::{TokenIndex, Vocab};
use curate_text::Cpu;
use curate_text::cpu::Path;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where the linear search gives way to the heap, in symbols.
const LINEAR: usize = 64;
/// Symbols whose ranks fill a register.
#[cfg(target_arch = "x86_64")]
const FEW: usize = 16;
/// No such id, or position.
const NONE: u32 = u32::MAX;
/// Bits of an id and of a rank where merges are found.
const ID_BITS: u32 = 21;
const RANK_BITS: u32 = 22;
/// What a pair that does not merge becomes: later than any rank.
const NEVER: u32 = (1 << RANK_BITS) - 1;
/// An id that no merge has.
const NO_ID: u32 = (1 << ID_BITS) - 1;

/// Merges whose hashes agree in so many bits that they share a cache line: each a pair, and behind it how far its rank
/// is from [`NEVER`], so that what is not there is 0. They fill a line from its beginning; where it is full, the next.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

impl Line {
    /// All are looked at, so that there is no branch that cannot be foreseen.
    #[inline(always)]
    fn find(&self, pair: u64) -> u64 {
        let found = self.0.map(|merge| match merge >> RANK_BITS == pair {
            true => merge & u64::from(NEVER),
            false => 0,
        });
        found.into_iter().fold(0, |all, one| all | one)
    }

    fn is_full(&self) -> bool {
        self.0[7] != 0
    }
}

/// The merges of a model, found by pair.
pub struct Merges {
    cpu: Cpu,
    /// Half full.
    lines: Vec<Line>,
    /// A bit for the hash of every pair that merges, 16 times as many as there are: most pairs are known by them to be
    /// none, from a memory so small that it stays near.
    filter: Vec<u64>,
    /// What the merge of each rank makes, and at last 0.
    made: Vec<u32>,
    id_of_byte: [u32; 256],
    /// The ranks of every two bytes, where bytes are what merges begin with: most look-ups of a new piece.
    of_bytes: Vec<u32>,
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
        cpu: Cpu,
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
        if vocab.len() >= NO_ID as usize || left.len() >= NEVER as usize {
            return Err(Error::Model(format!(
                "{} tokens and {} merges are too many: it can have {NO_ID} and {NEVER}",
                vocab.len(),
                left.len()
            )));
        }
        let mut merges = Self {
            cpu,
            lines: vec![Line::default(); (left.len() / 4).next_power_of_two().max(2)],
            filter: vec![0; (left.len() / 4).next_power_of_two().max(2)],
            made: Vec::with_capacity(left.len() + 1),
            id_of_byte,
            of_bytes: Vec::new(),
            id_of_character: byte_ids.map(|_| CharacterIds::new(vocab, index)),
        };
        let mut joined = Vec::new();
        for (rank, (&left, &right)) in (0u32..).zip(left.iter().zip(right)) {
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
            merges.made.push(id);
            merges.insert(pair(left, right), rank);
        }
        merges.made.push(0);
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

    /// The number of the line that a hash belongs to, of which it is the upper bits.
    #[inline(always)]
    fn line(&self, hash: u64) -> usize {
        (hash >> (64 - self.lines.len().trailing_zeros())) as usize
    }

    /// The word and the bit of the filter.
    #[inline(always)]
    fn filter_bit(&self, hash: u64) -> (usize, u64) {
        let place = hash >> (64 - 6 - self.filter.len().trailing_zeros());
        ((place >> 6) as usize, 1 << (place & 63))
    }

    fn insert(&mut self, pair: u64, rank: u32) {
        let merge = pair << RANK_BITS | u64::from(NEVER - rank);
        let (word, bit) = self.filter_bit(hash(pair));
        self.filter[word] |= bit;
        let mut line = self.line(hash(pair));
        loop {
            // A pair that is listed twice keeps its later rank, as in a map that is filled in order.
            let is_place = |known: &&mut u64| **known == 0 || **known >> RANK_BITS == pair;
            if let Some(place) = self.lines[line].0.iter_mut().find(is_place) {
                *place = merge;
                return;
            }
            line = (line + 1) % self.lines.len();
        }
    }

    /// The rank of a pair, or [`NEVER`].
    #[inline(always)]
    fn find(&self, left: u32, right: u32) -> u32 {
        let pair = pair(left, right);
        let (word, bit) = self.filter_bit(hash(pair));
        if self.filter[word] & bit == 0 {
            return NEVER;
        }
        let mut line = self.line(hash(pair));
        loop {
            let found = self.lines[line].find(pair);
            if found != 0 || !self.lines[line].is_full() {
                return NEVER - found as u32;
            }
            line = (line + 1) % self.lines.len();
        }
    }

    /// What a merge makes; 0 where there is none.
    #[inline(always)]
    fn made(&self, rank: u32) -> u32 {
        self.made[(rank as usize).min(self.made.len() - 1)]
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
        if piece.len() > LINEAR {
            return self.encode_long(piece, scratch, out);
        }
        match self.cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 if piece.len() <= FEW => unsafe { self.encode_few::<1>(piece, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 if piece.len() <= 2 * FEW => unsafe { self.encode_few::<2>(piece, out) },
            // SAFETY: as above, and of the other path that it has AVX2.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 | Path::Avx2 => unsafe { self.encode_avx2(piece, out) },
            _ => self.encode_short(piece, out),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn encode_avx2(&self, piece: &[u8], out: &mut Vec<u32>) {
        self.encode_short(piece, out);
    }

    /// The symbols of a piece from `ids[0]` on and the ranks of each and the next; gives the number of symbols.
    #[inline(always)]
    fn begin(&self, piece: &[u8], ids: &mut [u32], ranks: &mut [u32]) -> usize {
        let mut length = 0;
        self.symbols(piece, |id| {
            ids[length] = id;
            length += 1;
        });
        if self.of_bytes.is_empty() {
            for (pair, rank) in ids[..length].windows(2).zip(ranks) {
                *rank = self.find(pair[0], pair[1]);
            }
        } else {
            for (pair, rank) in piece.windows(2).zip(ranks) {
                *rank = self.of_bytes[usize::from(pair[0]) << 8 | usize::from(pair[1])];
            }
        }
        length
    }

    /// Symbols that were joined to the one before stay where they are; `there` has a bit for every other.
    #[inline(always)]
    fn encode_short(&self, piece: &[u8], out: &mut Vec<u32>) {
        let (mut ids, mut ranks) = ([0u32; LINEAR], [NEVER; LINEAR]);
        // ranks[at] belongs to the symbol at `at` and the next; the last symbol's stays NEVER.
        let length = self.begin(piece, &mut ids, &mut ranks);
        let mut there = u64::MAX.checked_shr((LINEAR - length) as u32).unwrap_or(0);
        loop {
            let (mut best, mut at) = (NEVER, 0);
            for (place, &rank) in ranks[..length].iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, place);
                }
            }
            if best == NEVER {
                break;
            }
            let behind = (u64::MAX << at) << 1;
            let right = (there & behind).trailing_zeros() as usize;
            (ids[at], ranks[at], ranks[right]) = (self.made(best), NEVER, NEVER);
            there &= !(1 << right);
            let (before, after) = (there & !(u64::MAX << at), there & behind);
            if after != 0 {
                ranks[at] = self.find(ids[at], ids[after.trailing_zeros() as usize]);
            }
            if before != 0 {
                let before = 63 - before.leading_zeros() as usize;
                ranks[before] = self.find(ids[before], ids[at]);
            }
        }
        while there != 0 {
            out.push(ids[there.trailing_zeros() as usize]);
            there &= there - 1;
        }
    }

    /// The same of few symbols, whose ranks are in `N` registers. Before and behind them stands [`NO_ID`], so that every
    /// symbol has neighbors; a bit of `there` and what a merge would make have the places of `ids`.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn encode_few<const N: usize>(&self, piece: &[u8], out: &mut Vec<u32>) {
        use std::arch::x86_64::*;
        let (mut ids, mut made) = ([NO_ID; LINEAR], [0; LINEAR]);
        let (mut first, mut ranks) = ([[NEVER; FEW]; N], [_mm512_setzero_si512(); N]);
        let after_last = 1 + N * FEW;
        let length = self.begin(piece, &mut ids[1..after_last], first.as_flattened_mut());
        for (&rank, made) in first.as_flattened()[..length].iter().zip(&mut made[1..]) {
            *made = self.made(rank);
        }
        for (ranks, first) in ranks.iter_mut().zip(&first) {
            // SAFETY: the array is 64 bytes, and the load needs no alignment.
            *ranks = unsafe { _mm512_loadu_si512(first.as_ptr().cast()) };
        }
        let mut there = ((2u64 << length) - 1) | 1 << after_last;
        loop {
            let least = ranks[1..]
                .iter()
                .fold(ranks[0], |least, &ranks| _mm512_min_epu32(least, ranks));
            let best = _mm512_reduce_min_epu32(least);
            if best == NEVER {
                break;
            }
            let mut is_best = 0;
            for (nth, &ranks) in ranks.iter().enumerate() {
                let here = _mm512_cmpeq_epi32_mask(ranks, _mm512_set1_epi32(best as i32));
                is_best |= u64::from(here) << (FEW * nth + 1);
            }
            let at = is_best.trailing_zeros() % 64;
            let behind = there & (u64::MAX - 1) << at;
            let right = behind & behind.wrapping_neg();
            let after = (behind ^ right).trailing_zeros() % 64;
            let before = (63 - (there & !(u64::MAX << at)).leading_zeros()) % 64;
            let id = made[at as usize];
            ids[at as usize] = id;
            there ^= right;
            let next = self.find(id, ids[after as usize]);
            let previous = self.find(ids[before as usize], id);
            made[at as usize] = self.made(next);
            made[before as usize] = self.made(previous);
            for (place, rank) in [(right, NEVER), (1 << at, next), (1 << before, previous)] {
                for (nth, ranks) in ranks.iter_mut().enumerate() {
                    let place = (place >> (FEW * nth + 1)) as u16;
                    *ranks = _mm512_mask_set1_epi32(*ranks, place, rank as i32);
                }
            }
        }
        there &= !(1 | 1 << after_last);
        while there != 0 {
            out.push(ids[there.trailing_zeros() as usize % 64]);
            there &= there - 1;
        }
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
        next.extend((1..length).chain([NONE]));
        previous.clear();
        previous.extend([NONE].into_iter().chain(0..length - 1));
        ranks.clear();
        ranks.extend(
            ids.windows(2)
                .map(|pair| self.find(pair[0], pair[1]))
                .chain([NEVER]),
        );
        let entry = |rank: u32, at: u32| Reverse(u64::from(rank) << 32 | u64::from(at));
        let mut entries = std::mem::take(heap).into_vec();
        entries.clear();
        entries.extend(
            (0..length)
                .filter(|&at| ranks[at as usize] != NEVER)
                .map(|at| entry(ranks[at as usize], at)),
        );
        *heap = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32 as usize);
            if ranks[at] != rank {
                continue;
            }
            let right = next[at] as usize;
            ids[at] = self.made(rank);
            ranks[right] = NEVER;
            let after = next[right];
            next[at] = after;
            ranks[at] = NEVER;
            if after != NONE {
                previous[after as usize] = at as u32;
                ranks[at] = self.find(ids[at], ids[after as usize]);
                if ranks[at] != NEVER {
                    heap.push(entry(ranks[at], at as u32));
                }
            }
            let before = previous[at];
            if before != NONE {
                let rank = self.find(ids[before as usize], ids[at]);
                ranks[before as usize] = rank;
                if rank != NEVER {
                    heap.push(entry(rank, before));
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
    u64::from(left) << ID_BITS | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{TrainOptions, train};
    use proptest::prelude::*;

    proptest! {
        /// All ways give the same ids, on pieces made of the letters that were trained on.
        #[test]
        fn heap_equals_linear_search(piece in "[ab]{1,64}|[a-d]{1,64}") {
            let words: [(&[u8], i64); 4] = [(b"abcabdabc", 9), (b"aaaaaaab", 7), (b"bbabab", 5), (b"ddcc", 2)];
            let options = TrainOptions { vocab_size: 290, ..TrainOptions::default() };
            let model = train(words, &options).expect("trains");
            let mut index = TokenIndex::with_capacity(model.vocab.len());
            (0..model.vocab.len() as u32).for_each(|id| index.insert(&model.vocab, id));
            let mut expected = None;
            for cpu in Cpu::all() {
                let merges = Merges::new(cpu, &model.vocab, &index, &model.left, &model.right, None).expect("a model");
                let (mut short, mut long) = (Vec::new(), Vec::new());
                merges.encode(piece.as_bytes(), &mut MergeScratch::default(), &mut short);
                merges.encode_long(piece.as_bytes(), &mut MergeScratch::default(), &mut long);
                prop_assert_eq!(&short, expected.get_or_insert(long));
            }
        }
    }
}
