//! Learning merges: again and again join the most frequent pair of neighbors, wherever it stands.
//!
//! The distinct pieces lie end to end in one array with a gap between them, one slot a byte. A symbol writes
//! its id into its first and its last slot, so the neighbor on the right begins at `at + length`, the one on
//! the left ends at `at - 1`, and no links are needed. A pair keeps the list of places where it arose; places that
//! have changed since are passed over. Counts in the heap may be too high and are put right when they come up.
//! 31,743 merges of 520 thousand distinct pieces take about 0.5 s.
//!
//! Of 605 thousand pairs that arise there, 32 thousand are merged, so only the frequent ones are candidates with a
//! list and a place in the heap, some four for each merge that is still to come. Of the others the count is kept;
//! should the candidates run out, one pass over all pieces finds the places of more.
//!
//! The rules are those of the `tokenizers` trainer, ties included: the highest count first, then the smaller
//! (left, right) ids. Ids are special tokens, then the 256 bytes in the order of the characters that stand for
//! them in tokenizer files, then merges. Where that library's 32-bit counts overflow, these do not.
//!
//! One rule is ours: a merge that would spell a special token is left out, for otherwise text could become it.

use crate::Error;
use crate::alphabet::{Alphabet, byte_name, byte_order, characters, check_special_tokens};
use crate::memory::give_back;
use crate::pairs::{PairCounts, Side, pair};
use crate::piece::{TokenIndex, Vocab};
use crate::pieces::{NO_SYMBOL, Pieces};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nothing.
const NONE: u32 = u32::MAX;
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
    give_back();
    let pieces = pieces.into_iter();
    let alphabet = match options.alphabet {
        Alphabet::Bytes => Vec::new(),
        Alphabet::Characters { initial, limit } => characters(pieces.clone(), initial, limit)?,
    };
    train_sparing(pieces, options, &alphabet, CANDIDATES)
}

/// A model that training goes on from.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Every token by id, without bytes where the numbering has a hole.
    pub vocab: &'a Vocab,
    /// Ids that no merge makes, such as special tokens.
    pub no_text: &'a [u32],
}

/// Learns tokens beyond those of `base` from pieces, which are given as tokens of it, and their counts.
///
/// Ids of the base stay, and the vocabulary holds its tokens first; merges are the new ones. `options` say nothing of
/// special tokens and the alphabet, which are the base's.
pub fn extend<'p, P>(base: Base<'_>, pieces: P, options: &TrainOptions<'_>) -> Result<Model, Error>
where
    P: IntoIterator<Item = (&'p [u32], i64)>,
    P::IntoIter: Clone,
{
    give_back();
    let mut trainer = Trainer::of_base(base, options);
    trainer.add_tokens(pieces.into_iter())?;
    trainer.count_pairs();
    trainer.merge_all();
    Ok(trainer.model)
}

fn train_sparing<'p>(
    pieces: impl Iterator<Item = (&'p [u8], i64)> + Clone,
    options: &TrainOptions<'_>,
    alphabet: &[char],
    spare: usize,
) -> Result<Model, Error> {
    let mut trainer = Trainer::new(options, alphabet, spare)?;
    trainer.add_pieces(pieces)?;
    trainer.count_pairs();
    trainer.merge_all();
    Ok(trainer.model)
}

/// A pair in the heap: its count when it was put there, and the list of its places.
/// Ordered by count, and then by ids, the smaller pair on top.
type Candidate = (i64, Reverse<u64>, u32);

/// Pairs are left out when there are twice as many candidates as are kept: twice the merges to come, and these.
const CANDIDATES: usize = 1 << 14;

struct Trainer<'a> {
    options: TrainOptions<'a>,
    model: Model,
    index: TokenIndex,
    /// Bytes of special tokens, as far as text can spell them.
    forbidden: Vec<Vec<u8>>,
    pieces: Pieces,
    pairs: PairCounts,
    /// Whether a pair is a candidate or was merged, by its entry.
    states: Vec<State>,
    places: Vec<Vec<u32>>,
    /// Lists whose pair is merged or left out: their numbers are given again.
    free: Vec<u32>,
    heap: BinaryHeap<Candidate>,
    /// Every pair that occurs more often is a candidate or was merged.
    floor: i64,
    /// `CANDIDATES`, and fewer in tests.
    spare: usize,
    sides: [Side; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    LeftOut,
    Candidate,
    Merged,
}

impl<'a> Trainer<'a> {
    fn new(options: &TrainOptions<'a>, alphabet: &[char], spare: usize) -> Result<Self, Error> {
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
        Ok(Self::with(options, model, index, forbidden, spare))
    }

    fn of_base(base: Base<'_>, options: &TrainOptions<'a>) -> Self {
        let vocab = base.vocab.clone();
        let mut index = TokenIndex::with_capacity(options.vocab_size.min(1 << 20));
        for id in 0..vocab.len() as u32 {
            if !vocab.token(id).is_empty() && !base.no_text.contains(&id) {
                index.insert(&vocab, id);
            }
        }
        let special = base.no_text.iter();
        let forbidden = special.map(|&id| vocab.token(id).to_vec()).collect();
        let model = Model {
            vocab,
            ..Model::default()
        };
        Self::with(options, model, index, forbidden, CANDIDATES)
    }

    fn with(
        options: &TrainOptions<'a>,
        model: Model,
        index: TokenIndex,
        forbidden: Vec<Vec<u8>>,
        spare: usize,
    ) -> Self {
        Self {
            options: *options,
            model,
            index,
            forbidden,
            pieces: Pieces::new(),
            pairs: PairCounts::new(),
            states: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            heap: BinaryHeap::new(),
            // What occurs less often than is asked for is never merged.
            floor: options.min_frequency.clamp(1, i64::MAX as u64) as i64 - 1,
            spare,
            sides: Default::default(),
        }
    }

    fn add_pieces<'p>(
        &mut self,
        pieces: impl Iterator<Item = (&'p [u8], i64)> + Clone,
    ) -> Result<(), Error> {
        let mut id_of_byte = [0; 256];
        for (id, byte) in (self.options.special_tokens.len() as u32..).zip(byte_order()) {
            id_of_byte[usize::from(byte)] = id;
        }
        self.pieces
            .reserve(pieces.clone().map(|(piece, _)| piece.len()));
        let of_bytes = matches!(self.options.alphabet, Alphabet::Bytes);
        let mut total = 0;
        for (row, (text, count)) in pieces.enumerate() {
            total = added(total, count, text.len(), row)?;
            if count == 0 || text.len() < 2 {
                continue;
            }
            self.pieces.check_room(text.len())?;
            if of_bytes {
                let symbols = text.iter().map(|&byte| id_of_byte[usize::from(byte)]);
                self.pieces.push(count, symbols.map(|symbol| (symbol, 1)));
            } else {
                let text = String::from_utf8_lossy(text);
                let symbol_of = |character: char| {
                    let mut buffer = [0; 4];
                    let bytes = character.encode_utf8(&mut buffer).as_bytes();
                    let known = self.index.find(&self.model.vocab, bytes);
                    (known.unwrap_or(NO_SYMBOL), bytes.len())
                };
                self.pieces.push(count, text.chars().map(symbol_of));
            }
        }
        Ok(())
    }

    fn add_tokens<'p>(
        &mut self,
        pieces: impl Iterator<Item = (&'p [u32], i64)> + Clone,
    ) -> Result<(), Error> {
        let vocab = &self.model.vocab;
        for (row, (ids, _)) in pieces.clone().enumerate() {
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab.len()) {
                return Err(Error::TokenId {
                    id,
                    position: row,
                    vocab_size: vocab.len(),
                });
            }
        }
        let length = |ids: &[u32]| ids.iter().map(|&id| vocab.token(id).len()).sum::<usize>();
        self.pieces
            .reserve(pieces.clone().map(|(ids, _)| length(ids)));
        let mut total = 0;
        for (row, (ids, count)) in pieces.enumerate() {
            total = added(total, count, length(ids), row)?;
            if count > 0 && ids.len() > 1 {
                self.pieces.check_room(length(ids))?;
                let symbols = ids.iter().map(|&id| (id, vocab.token(id).len()));
                self.pieces.push(count, symbols);
            }
        }
        Ok(())
    }

    /// Calls `found(pair, place, piece)` for every two neighbors.
    fn for_each_pair(&self, found: impl FnMut(u64, u32, usize)) {
        let length = |symbol: u32| self.model.vocab.token(symbol).len();
        self.pieces.for_each_pair(length, found);
    }

    fn count_pairs(&mut self) {
        let mut pairs = std::mem::replace(&mut self.pairs, PairCounts::new());
        self.for_each_pair(|key, _, piece| {
            let (entry, _) = pairs.entry(key);
            pairs.counts[entry] += self.pieces.counts[piece];
        });
        self.states = vec![State::LeftOut; pairs.counts.len()];
        self.pairs = pairs;
        self.add_candidates();
    }

    /// Makes candidates of all pairs above the floor that are none yet.
    fn add_candidates(&mut self) {
        let mut number_of = vec![NONE; self.pairs.counts.len()];
        let mut wanted = Vec::new();
        for (entry, &count) in self.pairs.counts.iter().enumerate() {
            if self.states[entry] == State::LeftOut && count > self.floor {
                number_of[entry] = wanted.len() as u32;
                wanted.push(entry);
            }
        }
        let number = |key: u64| {
            let number = self.pairs.find(key).map_or(NONE, |entry| number_of[entry]);
            (number != NONE).then_some(number as usize)
        };
        // Each list is made as long as it will be: they are most of what training needs to hold.
        let mut lengths = vec![0usize; wanted.len()];
        self.for_each_pair(|key, _, _| {
            if let Some(number) = number(key) {
                lengths[number] += 1;
            }
        });
        let mut lists: Vec<Vec<u32>> = lengths.into_iter().map(Vec::with_capacity).collect();
        self.for_each_pair(|key, place, _| {
            if let Some(number) = number(key) {
                lists[number].push(place);
            }
        });
        for (entry, places) in wanted.into_iter().zip(lists) {
            self.push(entry, places);
        }
    }

    /// A candidate with these places.
    fn push(&mut self, entry: usize, places: Vec<u32>) -> u32 {
        let list = self.free.pop().unwrap_or(self.places.len() as u32);
        if list as usize == self.places.len() {
            self.places.push(places);
        } else {
            self.places[list as usize] = places;
        }
        if self.states[entry] == State::LeftOut {
            self.states[entry] = State::Candidate;
        }
        let (count, key) = (self.pairs.counts[entry], self.pairs.keys[entry]);
        self.heap.push((count, Reverse(key), list));
        list
    }

    /// Leaves out the least frequent candidates where there are far more than merges to come.
    fn leave_out(&mut self) {
        let to_come = self.options.vocab_size - self.model.vocab.len();
        let kept = to_come.saturating_mul(2).saturating_add(self.spare);
        if self.heap.len() / 2 <= kept {
            return;
        }
        let mut candidates = std::mem::take(&mut self.heap).into_vec();
        for (count, Reverse(key), _) in &mut candidates {
            *count = self
                .pairs
                .find(*key)
                .map_or(0, |entry| self.pairs.counts[entry]);
        }
        let (_, &mut (count, ..), _) =
            candidates.select_nth_unstable_by_key(kept, |&(count, ..)| Reverse(count));
        self.floor = self.floor.max(count);
        candidates.retain(|&(count, Reverse(key), list)| {
            let entry = self.pairs.find(key).filter(|_| count <= self.floor);
            let out = entry.filter(|&entry| self.states[entry] == State::Candidate);
            if let Some(entry) = out {
                self.states[entry] = State::LeftOut;
                self.places[list as usize] = Vec::new();
                self.free.push(list);
            }
            out.is_none()
        });
        self.heap = BinaryHeap::from(candidates);
    }

    fn merge_all(&mut self) {
        let least = self.options.min_frequency.clamp(1, i64::MAX as u64) as i64;
        while self.model.vocab.len() < self.options.vocab_size {
            let top = self.heap.peek().map_or(0, |&(count, ..)| count);
            if top <= self.floor && self.floor >= least {
                self.floor = (self.floor / 4).max(least - 1);
                self.add_candidates();
                continue;
            }
            let Some((count, Reverse(key), list)) = self.heap.pop() else {
                break;
            };
            let (entry, _) = self.pairs.entry(key);
            let now = self.pairs.counts[entry];
            if now != count {
                self.heap.push((now, Reverse(key), list));
                continue;
            }
            if count < least {
                break;
            }
            self.states[entry] = State::Merged;
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
            let grown = self.update_neighbors(left, right, new);
            self.list_new_pairs(new);
            self.list_older_places(grown);
            self.leave_out();
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
        let pieces = &mut self.pieces;
        for (nth, &place) in places.iter().enumerate() {
            // The places of a pair are all over memory, and known long before their turn.
            if let Some(&ahead) = places.get(nth + AHEAD) {
                pieces.prefetch(ahead as usize);
            }
            let at = place as usize;
            let middle = at + left_length;
            // A place that changed may lie so that the right half would begin beyond the array.
            let slots = &pieces.slots;
            if slots[at] != left || slots.get(middle) != Some(&right) {
                continue;
            }
            let end = middle + right_length;
            // Before anything is written: what reads a whole line would wait for it.
            let count = pieces.count_at(at);
            let slots = &mut pieces.slots;
            let (before, after) = (slots[at - 1], slots[end]);
            slots[middle] = NO_SYMBOL;
            slots[at] = new;
            slots[end - 1] = new;
            if before < NO_SYMBOL {
                let start = at - self.model.vocab.token(before).len();
                self.sides[0].note(before, count, start as u32);
            }
            if after < NO_SYMBOL {
                self.sides[1].note(after, count, place);
            }
        }
    }

    /// (before, left) and (right, after) became (before, new) and (new, after).
    ///
    /// Gives the entries of pairs that had occurred already, as they can where `new` is an older token that is spelled
    /// alike, and that are no candidates.
    fn update_neighbors(&mut self, left: u32, right: u32, new: u32) -> Vec<usize> {
        let of_bytes = matches!(self.options.alphabet, Alphabet::Bytes);
        let vocab = &self.model.vocab;
        let length = |symbol: u32| match vocab.token(symbol) {
            bytes if of_bytes => bytes.len(),
            bytes => bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count(),
        };
        let new_length = length(new);
        let limit = self.options.max_token_length.unwrap_or(usize::MAX);
        let (mut gone, mut grown) = (Vec::new(), Vec::new());
        for (is_after, side) in [false, true].into_iter().zip(&mut self.sides) {
            for met in &mut side.met {
                let symbol = met.symbol;
                side.slot_of[symbol as usize] = NONE;
                let (old, key) = if is_after {
                    (pair(right, symbol), pair(new, symbol))
                } else {
                    (pair(symbol, left), pair(symbol, new))
                };
                gone.push((old, met.count));
                if limit == usize::MAX || length(symbol) + new_length < limit {
                    let (entry, is_new) = self.pairs.entry(key);
                    if is_new {
                        self.states.push(State::LeftOut);
                    } else if self.states[entry] == State::LeftOut && !(is_after && symbol == new) {
                        grown.push(entry);
                    }
                    self.pairs.counts[entry] += met.count;
                    met.new = entry as u32;
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
        grown
    }

    /// Makes candidates of the pairs that the last merge met, now that their counts are complete.
    fn list_new_pairs(&mut self, new: u32) {
        let mut sides = std::mem::take(&mut self.sides);
        // (new, new) may have been met on both sides.
        let mut of_new = NONE;
        for side in &mut sides {
            for met in side.met.iter_mut().filter(|met| met.new != NONE) {
                let entry = std::mem::replace(&mut met.new, NONE) as usize;
                if met.symbol == new && of_new != NONE {
                    met.new = of_new;
                } else if self.pairs.counts[entry] > self.floor {
                    met.new = self.push(entry, Vec::with_capacity(met.n_places as usize));
                    of_new = if met.symbol == new { met.new } else { of_new };
                }
            }
            for (slot, place) in side.places.drain(..) {
                let list = side.met[slot as usize].new;
                if list != NONE {
                    self.places[list as usize].push(place);
                }
            }
            side.met.clear();
        }
        if of_new != NONE {
            self.places[of_new as usize].sort_unstable();
        }
        self.sides = sides;
    }

    /// Lists the older places of pairs that became candidates with the new ones alone.
    fn list_older_places(&mut self, grown: Vec<usize>) {
        for entry in grown {
            if self.states[entry] == State::Candidate {
                let (key, list) = (
                    self.pairs.keys[entry],
                    self.heap.iter().find(|c| c.1.0 == self.pairs.keys[entry]),
                );
                let newer = list.map_or(&[][..], |&(.., list)| &self.places[list as usize]);
                let mut older = Vec::new();
                self.for_each_pair(|found, place, _| {
                    if found == key && newer.binary_search(&place).is_err() {
                        older.push(place);
                    }
                });
                self.push(entry, older);
            }
        }
    }
}

/// The bytes of all pieces so far, with `count` pieces of `length` more. No pair can occur more often than all bytes
/// together, so that no later sum overflows either.
fn added(total: i64, count: i64, length: usize, row: usize) -> Result<i64, Error> {
    let weight = count.checked_mul(length.max(1) as i64);
    let weight = weight.filter(|weight| *weight >= 0);
    let sum = weight.and_then(|weight| total.checked_add(weight));
    sum.ok_or(Error::Count { row, count })
}

#[cfg(test)]
mod tests;
