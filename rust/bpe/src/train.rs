//! Learning merges: again and again join the most frequent pair of neighbors, wherever it stands.
//!
//! The distinct pieces lie end to end in one array with a gap between them, one slot a byte. A symbol writes
//! its id into its first and its last slot, so the neighbor on the right begins at `at + length`, the one on
//! the left ends at `at - 1`, and no links are needed. Each pair keeps the list of places where it arose;
//! places that have changed since are passed over. Counts in the heap may be too high and are put right when
//! they come up. 31,743 merges of 520 thousand distinct pieces take about 0.6 s.
//!
//! The rules are those of the `tokenizers` trainer, ties included: the highest count first, then the smaller
//! (left, right) ids. Ids are special tokens, then the 256 bytes in the order of the characters that stand for
//! them in tokenizer files, then merges. Where that library's 32-bit counts overflow, these do not.
//!
//! One rule is ours: a merge that would spell a special token is left out, for otherwise text could become it.

use crate::Error;
use crate::alphabet::{Alphabet, byte_name, byte_order, characters, check_special_tokens};
use crate::pairs::{PairCounts, pair};
use crate::piece::{TokenIndex, Vocab, prefetch};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots that hold no symbol: gaps between pieces, and slots inside a symbol.
const NONE: u32 = u32::MAX;
/// Positions are 32 bits wide and `NONE` is not one.
const MAX_SLOTS: u64 = NONE as u64 - 1;
/// How many places ahead memory is asked for.
const AHEAD: usize = 16;

/// What to learn. The default asks for nothing beyond the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainOptions<'a> {
    /// Tokens in all: special tokens, 256 bytes, merges. Training stops earlier where no pair is left.
    pub vocab_size: usize,
    /// The first ids, in this order.
    pub special_tokens: &'a [String],
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Tokens longer than this many bytes (or characters, where they are the alphabet) are not made; a pair of
    /// single ones always may be.
    pub max_token_length: Option<usize>,
    /// What merges begin with.
    pub alphabet: Alphabet<'a>,
}

/// What was learned.
#[derive(Debug, Default)]
pub struct Model {
    /// Every token by id; a special token is its text.
    pub vocab: Vocab,
    /// The left half of merge i; merges are in order of rank.
    pub left: Vec<u32>,
    /// The right half of merge i.
    pub right: Vec<u32>,
}

/// Learns a vocabulary from pieces and their counts. A piece that comes twice counts twice.
pub fn train<'p, P>(pieces: P, options: &TrainOptions<'_>) -> Result<Model, Error>
where
    P: IntoIterator<Item = (&'p [u8], i64)>,
    P::IntoIter: Clone,
{
    let pieces = pieces.into_iter();
    let alphabet = match options.alphabet {
        Alphabet::Bytes => Vec::new(),
        Alphabet::Characters { initial, limit } => characters(pieces.clone(), initial, limit)?,
    };
    let mut trainer = Trainer::new(options, &alphabet)?;
    trainer.add_pieces(pieces)?;
    trainer.count_pairs();
    trainer.merge_all();
    Ok(trainer.model)
}

/// A pair in the heap: its count when it was put there, and the list of its places.
/// Ordered by count, and then by ids, the smaller pair on top.
type Candidate = (i64, Reverse<u64>, u32);

/// One byte of a piece. Symbol and piece lie together, because whoever needs the one needs the other.
#[derive(Clone, Copy)]
struct Slot {
    symbol: u32,
    /// Index into `counts`.
    piece: u32,
}

const GAP: Slot = Slot {
    symbol: NONE,
    piece: 0,
};

struct Trainer<'a> {
    options: TrainOptions<'a>,
    model: Model,
    index: TokenIndex,
    /// Bytes of special tokens, as far as text can spell them.
    forbidden: Vec<Vec<u8>>,
    slots: Vec<Slot>,
    counts: Vec<i64>,
    pairs: PairCounts,
    places: Vec<Vec<u32>>,
    /// Lists whose pair is merged: their numbers are given again.
    free: Vec<u32>,
    heap: BinaryHeap<Candidate>,
    sides: [Side; 2],
}

/// The neighbors that a merge met on one side: how often each symbol stood there, and where the new pairs are.
#[derive(Default)]
struct Side {
    /// Index into `met`, by symbol; NONE where it was not met.
    slot_of: Vec<u32>,
    met: Vec<Met>,
}

struct Met {
    symbol: u32,
    count: i64,
    places: Vec<u32>,
}

impl Side {
    #[inline(always)]
    fn note(&mut self, symbol: u32, count: i64, place: u32) {
        let slot = self.slot_of[symbol as usize];
        if slot == NONE {
            self.slot_of[symbol as usize] = self.met.len() as u32;
            self.met.push(Met {
                symbol,
                count,
                places: vec![place],
            });
        } else {
            let met = &mut self.met[slot as usize];
            met.count += count;
            met.places.push(place);
        }
    }
}

impl<'a> Trainer<'a> {
    fn new(options: &TrainOptions<'a>, alphabet: &[char]) -> Result<Self, Error> {
        let special = options.special_tokens.len();
        let minimum = special + 256 + alphabet.len();
        if options.vocab_size < minimum {
            return Err(Error::VocabTooSmall {
                vocab_size: options.vocab_size,
                special,
                characters: alphabet.len(),
                minimum,
            });
        }
        let of_bytes = matches!(options.alphabet, Alphabet::Bytes);
        let mut forbidden = check_special_tokens(options.special_tokens, of_bytes)?;
        let mut model = Model::default();
        for token in options.special_tokens {
            model.vocab.push(token.as_bytes());
        }
        let mut index = TokenIndex::with_capacity(options.vocab_size.min(1 << 20));
        if of_bytes {
            for byte in byte_order() {
                let id = model.vocab.push(&[byte]);
                index.insert(&model.vocab, id);
            }
        } else {
            // Their names are tokens too, so no merge may spell one.
            forbidden.extend((0..=255).map(|byte| byte_name(byte).into_bytes()));
            (0..=255).for_each(|byte| _ = model.vocab.push(&[byte]));
        }
        for character in alphabet {
            let id = model.vocab.push(character.to_string().as_bytes());
            index.insert(&model.vocab, id);
        }
        Ok(Self {
            options: *options,
            model,
            index,
            forbidden,
            slots: vec![GAP],
            counts: Vec::new(),
            pairs: PairCounts::new(),
            places: Vec::new(),
            free: Vec::new(),
            heap: BinaryHeap::new(),
            sides: Default::default(),
        })
    }

    fn add_pieces<'p>(
        &mut self,
        pieces: impl Iterator<Item = (&'p [u8], i64)> + Clone,
    ) -> Result<(), Error> {
        let mut id_of_byte = [0; 256];
        for (id, byte) in (self.options.special_tokens.len() as u32..).zip(byte_order()) {
            id_of_byte[usize::from(byte)] = id;
        }
        let n_slots: usize = pieces.clone().map(|(piece, _)| piece.len() + 1).sum();
        self.slots.reserve_exact(n_slots.min(MAX_SLOTS as usize));
        let of_bytes = matches!(self.options.alphabet, Alphabet::Bytes);
        // No pair can occur more often than all bytes together, so no later sum overflows either.
        let mut total = 0i64;
        for (row, (text, count)) in pieces.enumerate() {
            let weight = count
                .checked_mul(text.len().max(1) as i64)
                .filter(|weight| *weight >= 0);
            total = weight
                .and_then(|weight| total.checked_add(weight))
                .ok_or(Error::Count { row, count })?;
            if count == 0 || text.len() < 2 {
                continue;
            }
            let n_slots = self.slots.len() as u64 + text.len() as u64 + 1;
            if n_slots > MAX_SLOTS {
                return Err(Error::TooManyBytes {
                    bytes: n_slots,
                    limit: MAX_SLOTS,
                });
            }
            let piece = self.counts.len() as u32;
            self.counts.push(count);
            if of_bytes {
                let symbols = text.iter().map(|&byte| id_of_byte[usize::from(byte)]);
                self.slots
                    .extend(symbols.map(|symbol| Slot { symbol, piece }));
            } else {
                self.add_characters(text, piece);
            }
            self.slots.push(GAP);
        }
        Ok(())
    }

    /// One slot a byte; a character that is no symbol leaves a gap, over which nothing merges.
    fn add_characters(&mut self, text: &[u8], piece: u32) {
        for character in String::from_utf8_lossy(text).chars() {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            let symbol = self.index.find(&self.model.vocab, bytes).unwrap_or(NONE);
            let start = self.slots.len();
            let inside = Slot {
                symbol: NONE,
                piece,
            };
            self.slots.resize(start + bytes.len(), inside);
            self.slots[start].symbol = symbol;
            self.slots[start + bytes.len() - 1].symbol = symbol;
        }
    }

    fn count_pairs(&mut self) {
        let mut at = 1;
        while at + 1 < self.slots.len() {
            let Slot {
                symbol: left,
                piece,
            } = self.slots[at];
            if left == NONE {
                at += 1;
                continue;
            }
            let next = at + self.model.vocab.token(left).len();
            let right = self.slots[next].symbol;
            if right != NONE {
                let (entry, is_new) = self.pairs.entry(pair(left, right));
                self.pairs.counts[entry] += self.counts[piece as usize];
                if is_new {
                    self.places.push(Vec::new());
                }
                // Until the first merge the list of a pair has the number of the pair.
                self.places[entry].push(at as u32);
            }
            at = next;
        }
        let keys = self.pairs.keys.iter().zip(&self.pairs.counts).zip(0u32..);
        self.heap = keys
            .map(|((&key, &count), list)| (count, Reverse(key), list))
            .collect();
    }

    fn merge_all(&mut self) {
        while self.model.vocab.len() < self.options.vocab_size {
            let Some((count, Reverse(key), list)) = self.heap.pop() else {
                break;
            };
            let (entry, _) = self.pairs.entry(key);
            let now = self.pairs.counts[entry];
            if now != count {
                self.heap.push((now, Reverse(key), list));
                continue;
            }
            if count < 1 || (count as u64) < self.options.min_frequency {
                break;
            }
            let places = std::mem::take(&mut self.places[list as usize]);
            self.free.push(list);
            let (left, right) = ((key >> 32) as u32, key as u32);
            let joined = [self.model.vocab.token(left), self.model.vocab.token(right)].concat();
            if self.forbidden.contains(&joined) {
                continue;
            }
            let new = self.token(&joined);
            self.model.left.push(left);
            self.model.right.push(right);
            self.merge(left, right, new, &places);
            self.update_neighbors(left, right, new);
        }
    }

    /// The id of a token, a new one unless some other merge made the same bytes before.
    fn token(&mut self, bytes: &[u8]) -> u32 {
        if let Some(known) = self.index.find(&self.model.vocab, bytes) {
            return known;
        }
        let id = self.model.vocab.push(bytes);
        self.index.insert(&self.model.vocab, id);
        id
    }

    /// Replaces (left, right) by `new` at the places where it still stands, from left to right.
    fn merge(&mut self, left: u32, right: u32, new: u32, places: &[u32]) {
        let length = |symbol: u32| self.model.vocab.token(symbol).len();
        let (left_length, right_length) = (length(left), length(right));
        for side in &mut self.sides {
            side.slot_of.resize(self.model.vocab.len(), NONE);
        }
        let slots = &mut self.slots[..];
        for (nth, &place) in places.iter().enumerate() {
            // The places of a pair are all over memory, and known long before their turn.
            if let Some(&ahead) = places.get(nth + AHEAD) {
                prefetch(slots, ahead as usize);
            }
            let at = place as usize;
            let middle = at + left_length;
            let Slot { symbol, piece } = slots[at];
            // A place that changed may lie so that the right half would begin beyond the array.
            if symbol != left || slots.get(middle).map(|slot| slot.symbol) != Some(right) {
                continue;
            }
            let end = middle + right_length;
            let count = self.counts[piece as usize];
            let (before, after) = (slots[at - 1].symbol, slots[end].symbol);
            if before != NONE {
                let start = at - self.model.vocab.token(before).len();
                self.sides[0].note(before, count, start as u32);
            }
            if after != NONE {
                self.sides[1].note(after, count, place);
            }
            slots[middle].symbol = NONE;
            slots[at].symbol = new;
            slots[end - 1].symbol = new;
        }
    }

    /// (before, left) and (right, after) became (before, new) and (new, after).
    fn update_neighbors(&mut self, left: u32, right: u32, new: u32) {
        let of_bytes = matches!(self.options.alphabet, Alphabet::Bytes);
        let vocab = &self.model.vocab;
        let length = |symbol: u32| match vocab.token(symbol) {
            bytes if of_bytes => bytes.len(),
            bytes => bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count(),
        };
        let new_length = length(new);
        let limit = self.options.max_token_length.unwrap_or(usize::MAX);
        let (mut touched, mut gone) = (Vec::new(), Vec::new());
        for (is_after, side) in [false, true].into_iter().zip(&mut self.sides) {
            for Met {
                symbol,
                count,
                places,
            } in side.met.drain(..)
            {
                side.slot_of[symbol as usize] = NONE;
                let (old, key) = if is_after {
                    (pair(right, symbol), pair(new, symbol))
                } else {
                    (pair(symbol, left), pair(symbol, new))
                };
                gone.push((old, count));
                if limit == usize::MAX || length(symbol) + new_length < limit {
                    let (entry, _) = self.pairs.entry(key);
                    self.pairs.counts[entry] += count;
                    touched.push((key, entry, places));
                }
            }
        }
        // In a run such as aaaa a pair that arose at one place may be gone again with the next, so what is
        // gone is taken off after all that is new has its entry. Pairs without one were too long to count.
        for (old, count) in gone {
            if let Some(entry) = self.pairs.find(old) {
                self.pairs.counts[entry] -= count;
            }
        }
        // Only now are the counts of the new pairs complete: (new, new) may have been met on both sides.
        touched.sort_by_key(|(key, ..)| *key);
        touched.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.2.append(&mut next.2);
                kept.2.sort_unstable();
            }
            same
        });
        for (key, entry, places) in touched {
            let count = self.pairs.counts[entry];
            if count > 0 {
                let list = self.free.pop().unwrap_or(self.places.len() as u32);
                if list as usize == self.places.len() {
                    self.places.push(places);
                } else {
                    self.places[list as usize] = places;
                }
                self.heap.push((count, Reverse(key), list));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The rules written down naively: count all pairs anew before every merge.
    fn naive_merges(words: &[(Vec<u8>, i64)], options: &TrainOptions<'_>) -> Vec<(u32, u32)> {
        let order: Vec<u8> = byte_order().collect();
        let id = |byte: &u8| {
            order
                .iter()
                .position(|known| known == byte)
                .expect("all are listed") as u32
        };
        let mut lengths = vec![1usize; 256];
        let mut words: Vec<(Vec<u32>, i64)> = words
            .iter()
            .map(|(word, count)| (word.iter().map(id).collect(), *count))
            .collect();
        let mut merges = Vec::new();
        while lengths.len() < options.vocab_size {
            let mut counts: BTreeMap<(u32, u32), i64> = BTreeMap::new();
            for (word, count) in &words {
                for pair in word.windows(2) {
                    let length = lengths[pair[0] as usize] + lengths[pair[1] as usize];
                    if length == 2 || options.max_token_length.is_none_or(|limit| length < limit) {
                        *counts.entry((pair[0], pair[1])).or_default() += count;
                    }
                }
            }
            let best = counts
                .into_iter()
                .max_by_key(|&(pair, count)| (count, Reverse(pair)));
            let Some((pair, count)) = best else { break };
            if count < 1 || (count as u64) < options.min_frequency {
                break;
            }
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if (word[at], word[at + 1]) == pair {
                        word.splice(at..at + 2, [lengths.len() as u32]);
                    }
                    at += 1;
                }
            }
            lengths.push(lengths[pair.0 as usize] + lengths[pair.1 as usize]);
            merges.push(pair);
        }
        merges
    }

    proptest! {
        #[test]
        fn merges_are_those_of_the_naive_rules(
            words in proptest::collection::vec(("[ab]{1,12}|[abc ]{1,6}|a{1,20}", 0i64..9), 0..12),
            vocab_size in 256usize..290,
            min_frequency in 0u64..4,
            max_token_length in proptest::option::of(1usize..8),
        ) {
            let words: Vec<(Vec<u8>, i64)> =
                words.into_iter().map(|(word, count)| (word.into_bytes(), count)).collect();
            let options = TrainOptions { vocab_size, special_tokens: &[], min_frequency, max_token_length, ..TrainOptions::default() };
            let pieces = words.iter().map(|(word, count)| (word.as_slice(), *count));
            let model = train(pieces, &options).expect("trains");
            let merges: Vec<(u32, u32)> = model.left.into_iter().zip(model.right).collect();
            prop_assert_eq!(merges, naive_merges(&words, &options));
        }
    }

    fn error(vocab_size: usize, special_tokens: &[&str], count: i64) -> String {
        let special_tokens: Vec<String> = special_tokens
            .iter()
            .map(|token| (*token).to_owned())
            .collect();
        let options = TrainOptions {
            vocab_size,
            special_tokens: &special_tokens,
            ..TrainOptions::default()
        };
        train([(b"ab".as_slice(), count)], &options)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn what_cannot_be_trained_is_refused_with_the_limit() {
        assert!(error(256, &["<|endoftext|>"], 1).contains("at least 257"));
        assert!(error(300, &["a"], 1).contains("single byte"));
        assert!(error(300, &["<x>", "<x>"], 1).contains("twice"));
        assert!(error(300, &[""], 1).contains("empty"));
        assert!(error(300, &[], -1).contains("-1"));
        assert!(error(300, &[], i64::MAX).contains("2^63"));
    }

    #[test]
    fn counts_may_be_larger_than_32_bits() {
        let words: [(&[u8], i64); 2] = [(b"ab", 3 << 40), (b"cd", 1 << 41)];
        let options = TrainOptions {
            vocab_size: 257,
            ..TrainOptions::default()
        };
        assert_eq!(
            train(words, &options).expect("trains").vocab.token(256),
            b"ab"
        );
    }

    #[test]
    fn text_never_becomes_a_special_token() {
        let special_tokens = vec!["<eod>".to_owned()];
        let options = TrainOptions {
            vocab_size: 400,
            special_tokens: &special_tokens,
            ..TrainOptions::default()
        };
        let model = train([(b"<eod>".as_slice(), 5)], &options).expect("trains");
        assert!((1..model.vocab.len() as u32).all(|id| model.vocab.token(id) != b"<eod>"));
        assert_eq!(model.left.len(), 3);
    }
}
