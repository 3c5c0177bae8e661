//! Counting distinct pieces: 21 million lookups for 90 MB of text, so a lookup is all the time there is.
//!
//! Pieces of up to 15 bytes live in a table of 24-byte slots (key, count), longer ones in a table that keeps
//! their bytes aside. The pieces of a text come in batches of 32: the slots of all are prefetched before the
//! first is counted. Both tables are at most half full.

use crate::memory::table;
use crate::piece::{INLINE, hash_bytes, hash_inline, inline_key, prefetch};
use crate::pretokenize::BATCH;
use crate::{Error, Pretokenizer};
use std::hash::{BuildHasher, Hasher, RandomState};

#[derive(Clone, Copy, Default)]
struct ShortSlot {
    low: u64,
    high: u64,
    count: u64,
}

impl ShortSlot {
    #[inline(always)]
    fn key(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

#[derive(Clone, Copy, Default)]
struct LongSlot {
    hash: u64,
    start: usize,
    length: usize,
    count: u64,
}

/// Counts distinct pieces with 64-bit counts. Counters of parts are combined with [`PieceCounter::add`].
pub struct PieceCounter {
    short: Vec<ShortSlot>,
    n_short: usize,
    long: Vec<LongSlot>,
    n_long: usize,
    long_bytes: Vec<u8>,
    seed: u64,
}

/// Distinct pieces in ascending order of their bytes: piece i is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PieceCounts {
    /// All pieces, one after the other.
    pub bytes: Vec<u8>,
    /// Where each begins, and at last where the last one ends.
    pub offsets: Vec<i64>,
    /// How often each occurred.
    pub counts: Vec<i64>,
}

impl PieceCounts {
    /// Every piece with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> + Clone {
        let spans = self
            .offsets
            .windows(2)
            .map(|w| &self.bytes[w[0] as usize..w[1] as usize]);
        spans.zip(self.counts.iter().copied())
    }
}

impl Default for PieceCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl PieceCounter {
    /// An empty counter.
    pub fn new() -> Self {
        // A seed that nobody knows keeps hostile text from filling one chain; the result is sorted and so
        // does not depend on it.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            short: table(1 << 12),
            n_short: 0,
            long: table(1 << 8),
            n_long: 0,
            long_bytes: Vec::new(),
            seed,
        }
    }

    /// Counts every piece of a text once.
    pub fn add_text(&mut self, pretokenizer: &Pretokenizer, text: &str) -> Result<(), Error> {
        let bytes = text.as_bytes();
        pretokenizer.split(text, |mut start, ends| {
            let mut queue = [(0u128, 0u64); BATCH];
            let mut queued = 0;
            for &end in ends {
                if end - start > INLINE {
                    self.add_long(&bytes[start..end], 1);
                } else {
                    let key = inline_key(bytes, start, end);
                    queue[queued] = (key, self.ask(key));
                    queued += 1;
                }
                start = end;
            }
            self.reserve_short(queued);
            for &(key, hash) in &queue[..queued] {
                self.count_short(key, hash, 1);
            }
        })
    }

    /// Adds pieces with their occurrences, as another counter has found them.
    pub fn add<'p>(&mut self, pieces: impl Iterator<Item = (&'p [u8], u64)>) {
        let mut queue = [(0u128, 0u64, 0u64); BATCH];
        let mut queued = 0;
        let pieces = pieces.filter(|(piece, count)| !piece.is_empty() && *count > 0);
        for (piece, count) in pieces {
            if piece.len() > INLINE {
                self.add_long(piece, count);
                continue;
            }
            let key = inline_key(piece, 0, piece.len());
            queue[queued] = (key, self.ask(key), count);
            queued += 1;
            if queued == BATCH {
                self.add_queue(&queue);
                queued = 0;
            }
        }
        self.add_queue(&queue[..queued]);
    }

    fn add_queue(&mut self, queue: &[(u128, u64, u64)]) {
        self.reserve_short(queue.len());
        for &(key, hash, count) in queue {
            self.count_short(key, hash, count);
        }
    }

    /// Asks for the slot of a key; gives its hash.
    #[inline(always)]
    fn ask(&self, key: u128) -> u64 {
        let hash = hash_inline(key, self.seed);
        prefetch(&self.short, hash as usize & (self.short.len() - 1));
        hash
    }

    #[inline(always)]
    fn count_short(&mut self, key: u128, hash: u64, count: u64) {
        let mask = self.short.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &mut self.short[at];
            if slot.key() == key {
                slot.count += count;
                return;
            }
            if slot.count == 0 {
                *slot = ShortSlot {
                    low: key as u64,
                    high: (key >> 64) as u64,
                    count,
                };
                self.n_short += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn reserve_short(&mut self, more: usize) {
        if (self.n_short + more) * 2 <= self.short.len() {
            return;
        }
        let larger = table(self.short.len() * 2);
        let smaller = std::mem::replace(&mut self.short, larger);
        self.n_short = 0;
        for slot in smaller.iter().filter(|slot| slot.count > 0) {
            self.count_short(slot.key(), hash_inline(slot.key(), self.seed), slot.count);
        }
    }

    fn add_long(&mut self, piece: &[u8], count: u64) {
        if count == 0 {
            return;
        }
        if (self.n_long + 1) * 2 > self.long.len() {
            self.grow_long();
        }
        let hash = hash_bytes(piece, self.seed);
        let mask = self.long.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &mut self.long[at];
            if slot.count == 0 {
                *slot = LongSlot {
                    hash,
                    start: self.long_bytes.len(),
                    length: piece.len(),
                    count,
                };
                self.long_bytes.extend_from_slice(piece);
                self.n_long += 1;
                return;
            }
            if slot.hash == hash && &self.long_bytes[slot.start..slot.start + slot.length] == piece
            {
                slot.count += count;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow_long(&mut self) {
        let larger = table(self.long.len() * 2);
        let smaller = std::mem::replace(&mut self.long, larger);
        let mask = self.long.len() - 1;
        for slot in smaller.into_iter().filter(|slot| slot.count > 0) {
            let mut at = slot.hash as usize & mask;
            while self.long[at].count > 0 {
                at = (at + 1) & mask;
            }
            self.long[at] = slot;
        }
    }

    /// The distinct pieces and their counts, sorted by the pieces' bytes. Counts beyond 2^63 - 1 stay there.
    pub fn finish(self) -> PieceCounts {
        // With its first byte on top and its length at the bottom, an inline key sorts as its bytes do. The tables
        // are sorted where they are and given back in part, for here memory is at its peak.
        let mut short = self.short;
        short.retain(|slot| slot.count > 0);
        short.shrink_to_fit();
        short.sort_unstable_by_key(|slot| slot.key().swap_bytes());
        let long_bytes = self.long_bytes;
        let piece = |slot: &LongSlot| &long_bytes[slot.start..slot.start + slot.length];
        let mut long = self.long;
        long.retain(|slot| slot.count > 0);
        long.shrink_to_fit();
        long.sort_unstable_by(|a, b| piece(a).cmp(piece(b)));

        let n_pieces = short.len() + long.len();
        let short_bytes: usize = short.iter().map(|slot| (slot.high >> 56) as usize).sum();
        let mut out = PieceCounts {
            bytes: Vec::with_capacity(short_bytes + long_bytes.len()),
            offsets: Vec::with_capacity(n_pieces + 1),
            counts: Vec::with_capacity(n_pieces),
        };
        out.offsets.push(0);
        let mut push = |bytes: &[u8], count: u64| {
            out.bytes.extend_from_slice(bytes);
            out.offsets.push(out.bytes.len() as i64);
            out.counts.push(i64::try_from(count).unwrap_or(i64::MAX));
        };
        let mut long = long.iter().peekable();
        for slot in short {
            let (window, count) = (slot.key().to_le_bytes(), slot.count);
            let bytes = &window[..usize::from(window[INLINE])];
            while let Some(slot) = long.next_if(|slot| piece(slot) < bytes) {
                push(piece(slot), slot.count);
            }
            push(bytes, count);
        }
        for slot in long {
            push(piece(slot), slot.count);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn counts_equal_a_sorted_map(
            pieces in proptest::collection::vec(proptest::collection::vec(0u8..3, 1..20), 0..3000)
        ) {
            let mut expected: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            let mut counter = PieceCounter::new();
            for piece in &pieces {
                *expected.entry(piece.clone()).or_default() += 2;
            }
            counter.add(pieces.iter().map(|piece| (piece.as_slice(), 2)));
            let found = counter.finish();
            let listed: Vec<(Vec<u8>, i64)> =
                found.iter().map(|(piece, count)| (piece.to_vec(), count)).collect();
            prop_assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_text_is_counted_piece_by_piece() {
        let pretokenizer = Pretokenizer::new("gpt2").expect("known");
        let mut counter = PieceCounter::new();
        let text = "a b a incomprehensibilities incomprehensibilities\0".repeat(50);
        counter.add_text(&pretokenizer, &text).expect("no error");
        let found = counter.finish();
        assert_eq!(found.counts.iter().sum::<i64>(), 50 * 6);
        assert_eq!(found.counts, [50, 50, 50, 100, 50]);
    }
}
