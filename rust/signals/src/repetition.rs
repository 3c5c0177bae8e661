//! Characters in repeated word n-grams, n = 2 to 10, at a cost that is nearly that of n = 2 to 4.
//!
//! An (n+1)-gram at word i can occur twice only where the n-grams at i and at i + 1 do, so each level looks only
//! at what the level before left over: on ordinary prose a few per cent of the words reach n = 5. For
//! the first levels a bitmap of 16 bits a candidate, "once" and "twice", drops single n-grams before any table.

use curate_text::hash::mix;

use crate::measures::Values;
use crate::share;

/// Whose measures the words at hand are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Dclm,
    Datatrove,
    Both,
}

/// Buffers that are kept from text to text.
#[derive(Debug, Default)]
pub(crate) struct Repetition {
    /// First word of each candidate n-gram, rising.
    places: Vec<u32>,
    /// Its hash.
    hashes: Vec<u64>,
    /// Its group: candidates with one hash.
    groups: Vec<u32>,
    /// Members of each group, and the first of them.
    members: Vec<(u32, u32)>,
    /// Whether a member of each group was met.
    met: Vec<bool>,
    table: Table,
    once: Vec<u64>,
    twice: Vec<u64>,
    /// Characters before each word.
    before: Vec<u32>,
}

impl Repetition {
    /// `words` are the hashes of the words of a text, `chars` their lengths; `text_chars` those of the whole text, by
    /// which datatrove divides.
    pub fn measure(
        &mut self,
        words: &[u64],
        chars: &[u32],
        text_chars: usize,
        whose: Whose,
        values: &mut Values,
    ) {
        self.before.clear();
        self.before.push(0);
        let mut sum = 0;
        self.before.extend(chars.iter().map(|chars| {
            sum += chars;
            sum
        }));
        self.places.clear();
        self.hashes.clear();
        self.places.extend(0..words.len().saturating_sub(1) as u32);
        self.hashes.extend(
            words
                .windows(2)
                .map(|pair| extend(mix(pair[0], SALT), pair[1])),
        );
        let total = sum as usize;
        for n in 2..=10 {
            if self.places.len() > 32 && n <= 4 {
                self.drop_singles();
            }
            self.group();
            if whose != Whose::Datatrove {
                let repeated = if n <= 4 { self.top(n) } else { self.covered(n) };
                *dclm_value(values, n) = share(repeated, total);
            }
            if whose != Whose::Dclm {
                let repeated = match n {
                    2..=4 if words.len() >= n => self.first_top(n),
                    2..=4 => 0,
                    _ => self.met_again(n),
                };
                *datatrove_value(values, n) = share(repeated, text_chars);
            }
            self.next_level(words, n);
        }
    }

    /// Drops candidates whose place in a bitmap was hit once only; what is left may still be single.
    fn drop_singles(&mut self) {
        let bits = (self.places.len() * 16).next_power_of_two();
        for map in [&mut self.once, &mut self.twice] {
            map.clear();
            map.resize(bits / 64, 0);
        }
        let bit = |hash: u64| ((hash >> 24) as usize & (bits - 1), 1 << (hash >> 24 & 63));
        for &hash in &self.hashes {
            let (place, bit) = bit(hash);
            self.twice[place / 64] |= self.once[place / 64] & bit;
            self.once[place / 64] |= bit;
        }
        let mut kept = 0;
        for i in 0..self.places.len() {
            let (place, bit) = bit(self.hashes[i]);
            self.places[kept] = self.places[i];
            self.hashes[kept] = self.hashes[i];
            kept += usize::from(self.twice[place / 64] & bit != 0);
        }
        self.places.truncate(kept);
        self.hashes.truncate(kept);
    }

    fn group(&mut self) {
        self.table.clear(self.places.len());
        self.groups.clear();
        self.members.clear();
        for (&hash, &place) in self.hashes.iter().zip(&self.places) {
            let group = self.table.find_or_insert(hash, self.members.len() as u32);
            self.groups.push(group);
            match self.members.get_mut(group as usize) {
                Some(members) => members.0 += 1,
                None => self.members.push((1, place)),
            }
        }
    }

    fn chars(&self, from: usize, to: usize) -> usize {
        (self.before[to] - self.before[from]) as usize
    }

    /// Characters of the most frequent n-gram times its count; of equally frequent ones the longest.
    fn top(&self, n: usize) -> usize {
        let most = self
            .members
            .iter()
            .map(|members| members.0)
            .max()
            .unwrap_or(0);
        if most < 2 {
            return 0;
        }
        let frequent = self.members.iter().filter(|members| members.0 == most);
        let longest = frequent
            .map(|&(_, first)| self.chars(first as usize, first as usize + n))
            .max();
        longest.unwrap_or(0) * most as usize
    }

    /// Characters of the words inside any n-gram that occurs twice, each word once.
    fn covered(&self, n: usize) -> usize {
        let (mut chars, mut end) = (0, 0);
        for (&place, &group) in self.places.iter().zip(&self.groups) {
            if self.members[group as usize].0 > 1 {
                let (from, to) = (end.max(place as usize), place as usize + n);
                chars += self.chars(from, to);
                end = to;
            }
        }
        chars
    }

    /// Characters of the most frequent n-gram with the spaces between its words, times its count; of equally frequent
    /// ones the first, which is the first n-gram of the text where none occurs twice.
    fn first_top(&self, n: usize) -> usize {
        let mut most = (1, 0);
        for &(count, first) in &self.members {
            if count > most.0 {
                most = (count, first);
            }
        }
        let (count, first) = (most.0 as usize, most.1 as usize);
        (self.chars(first, first + n) + n - 1) * count
    }

    /// Characters of the n-grams that were met before, going from the left and jumping over each that is found.
    fn met_again(&mut self, n: usize) -> usize {
        self.met.clear();
        self.met.resize(self.members.len(), false);
        let (mut chars, mut free) = (0, 0);
        for (&place, &group) in self.places.iter().zip(&self.groups) {
            let place = place as usize;
            if place < free || self.members[group as usize].0 < 2 {
                continue;
            }
            if std::mem::replace(&mut self.met[group as usize], true) {
                chars += self.chars(place, place + n);
                free = place + n;
            }
        }
        chars
    }

    /// Keeps the candidates of level n + 1: repeated n-grams whose right neighbour is repeated too.
    fn next_level(&mut self, words: &[u64], n: usize) {
        let mut kept = 0;
        let repeated =
            |groups: &[u32], members: &[(u32, u32)], i: usize| members[groups[i] as usize].0 > 1;
        for i in 0..self.places.len().saturating_sub(1) {
            let place = self.places[i];
            if self.places[i + 1] == place + 1
                && repeated(&self.groups, &self.members, i)
                && repeated(&self.groups, &self.members, i + 1)
            {
                self.hashes[kept] = extend(self.hashes[i], words[place as usize + n]);
                self.places[kept] = place;
                kept += 1;
            }
        }
        self.places.truncate(kept);
        self.hashes.truncate(kept);
    }
}

const SALT: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash of an n-gram and one word more.
#[inline]
fn extend(gram: u64, word: u64) -> u64 {
    mix(gram ^ 0xD1B5_4A32_D192_ED03, word ^ SALT)
}

fn dclm_value(values: &mut Values, n: usize) -> &mut f64 {
    match n {
        2 => &mut values.top_2gram_char_share,
        3 => &mut values.top_3gram_char_share,
        4 => &mut values.top_4gram_char_share,
        5 => &mut values.dup_5gram_char_share,
        6 => &mut values.dup_6gram_char_share,
        7 => &mut values.dup_7gram_char_share,
        8 => &mut values.dup_8gram_char_share,
        9 => &mut values.dup_9gram_char_share,
        _ => &mut values.dup_10gram_char_share,
    }
}

fn datatrove_value(values: &mut Values, n: usize) -> &mut f64 {
    match n {
        2 => &mut values.datatrove_top_2gram_char_share,
        3 => &mut values.datatrove_top_3gram_char_share,
        4 => &mut values.datatrove_top_4gram_char_share,
        5 => &mut values.datatrove_dup_5gram_char_share,
        6 => &mut values.datatrove_dup_6gram_char_share,
        7 => &mut values.datatrove_dup_7gram_char_share,
        8 => &mut values.datatrove_dup_8gram_char_share,
        9 => &mut values.datatrove_dup_9gram_char_share,
        _ => &mut values.datatrove_dup_10gram_char_share,
    }
}

/// The most repeats, back to back, of one run of 1 to 13 words: 1 where nothing repeats, 0 without words.
///
/// A word is alike where it is as the one a period later. `most` is beaten by `period * most` such words in a row, and
/// so many have one among every `period * most`th word of the text: only these are looked at, and what is about those
/// that are alike.
pub(crate) fn periodic_repeats(words: &[u64]) -> usize {
    let mut most = usize::from(!words.is_empty());
    for period in 1..=13.min(words.len()) {
        let alike = |place: &usize| words[*place] == words[*place + period];
        let (mut place, end) = (period * most - 1, words.len() - period);
        while place < end {
            if alike(&place) {
                // What lies before was passed, or is shorter than a step.
                let before = (0..place).rev().take_while(alike).count();
                let after = (place..end).take_while(alike).count();
                most = most.max((before + after) / period + 1);
                place += after;
            }
            place += period * most;
        }
    }
    most
}

/// An open hash table from hash to number that is emptied by counting up an epoch.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    epoch: u32,
    mask: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    epoch: u32,
    number: u32,
}

impl Table {
    /// Empties the table and makes room for `entries`.
    fn clear(&mut self, entries: usize) {
        let size = (entries * 2).next_power_of_two().max(64);
        if self.slots.len() < size || self.epoch == u32::MAX {
            self.slots.clear();
            self.slots.resize(size, Slot::default());
            self.epoch = 0;
        }
        self.epoch += 1;
        self.mask = size - 1;
    }

    /// The number that the hash was inserted with, which is `number` where it is new.
    #[inline]
    fn find_or_insert(&mut self, hash: u64, number: u32) -> u32 {
        let mut place = (hash >> 20) as usize & self.mask;
        loop {
            let slot = &mut self.slots[place];
            if slot.epoch != self.epoch {
                *slot = Slot {
                    hash,
                    epoch: self.epoch,
                    number,
                };
                return number;
            }
            if slot.hash == hash {
                return slot.number;
            }
            place = (place + 1) & self.mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, by every run of words from every place.
    fn by_all_runs(words: &[u64]) -> usize {
        let repeats = |place: usize, period: usize| {
            let run = &words[place..place + period];
            let rest = words[place..].chunks_exact(period);
            rest.take_while(|&next| next == run).count()
        };
        let of = |period| (0..=words.len() - period).map(move |place| repeats(place, period));
        (1..=13.min(words.len())).flat_map(of).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn repeats_are_those_of_all_runs(
            words in prop::collection::vec(0u64..3, 0..60),
            run in prop::collection::vec(0u64..3, 1..16),
            times in 0usize..6,
            place in 0usize..60,
        ) {
            let mut words = words;
            let place = place.min(words.len());
            words.splice(place..place, run.repeat(times));
            prop_assert_eq!(periodic_repeats(&words), by_all_runs(&words));
        }
    }
}
