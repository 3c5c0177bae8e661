//! Special cases by their text, and the memo of chunks.

use curate_text::hash::hash_bytes;

use super::Word;

/// Chunks and words that the memo holds at most.
const MEMO_CHUNKS: usize = 1 << 18;
const MEMO_WORDS: usize = 1 << 20;
/// Bits of the filter before special cases.
const FILTER: usize = 1 << 15;

/// A text that is a special case, and the words that it is.
#[derive(Debug)]
struct Case {
    hash: u64,
    text: String,
    words: Vec<String>,
}

/// Special cases: an open table from the hash, behind a bit for each hash, as most texts are none.
#[derive(Debug)]
pub(super) struct Cases {
    filter: Vec<u64>,
    /// Number of the case and 1; 0 where there is none.
    slots: Vec<u32>,
    cases: Vec<Case>,
}

impl Cases {
    pub fn new(cases: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        let mut made = Self {
            filter: vec![0; FILTER / 64],
            slots: vec![],
            cases: vec![],
        };
        let cases: Vec<_> = cases.into_iter().collect();
        made.slots.resize((4 * cases.len()).next_power_of_two(), 0);
        for (text, words) in cases {
            let hash = hash_bytes(text.as_bytes());
            let place = made.place(hash, &text);
            if made.slots[place] == 0 {
                made.filter[hash as usize % FILTER / 64] |= 1 << (hash % 64);
                made.cases.push(Case { hash, text, words });
                made.slots[place] = made.cases.len() as u32;
            }
        }
        made
    }

    /// Whether the text of a hash can be a special case.
    #[inline]
    pub fn may_have(&self, hash: u64) -> bool {
        self.filter[hash as usize % FILTER / 64] >> (hash % 64) & 1 != 0
    }

    #[inline]
    pub fn get(&self, text: &str) -> Option<&[String]> {
        self.get_hashed(text, hash_bytes(text.as_bytes()))
    }

    /// The words of a text whose hash is known.
    #[inline]
    pub fn get_hashed(&self, text: &str, hash: u64) -> Option<&[String]> {
        if !self.may_have(hash) {
            return None;
        }
        let number = self.slots[self.place(hash, text)];
        (number != 0).then(|| self.cases[number as usize - 1].words.as_slice())
    }

    /// The place of a text, or the free one where it would be.
    fn place(&self, hash: u64, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = (hash >> 20) as usize & mask;
        loop {
            match self.slots[place] {
                0 => return place,
                number => {
                    let case = &self.cases[number as usize - 1];
                    if case.hash == hash && case.text == text {
                        return place;
                    }
                }
            }
            place = (place + 1) & mask;
        }
    }
}

/// Chunks that were taken apart, as their words: an open table that grows. It takes no more when it is full.
#[derive(Debug, Default)]
pub(super) struct Memo {
    slots: Vec<Slot>,
    words: Vec<Word>,
    chunks: usize,
}

/// A chunk by its hash (0 where there is none), and where its words lie.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    first: u32,
    count: u32,
}

impl Memo {
    fn place(slots: &[Slot], hash: u64) -> usize {
        let mask = slots.len() - 1;
        let mut place = (hash >> 20) as usize & mask;
        while slots[place].hash != 0 && slots[place].hash != hash {
            place = (place + 1) & mask;
        }
        place
    }

    #[inline]
    pub fn get(&self, hash: u64) -> Option<&[Word]> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[Self::place(&self.slots, hash)];
        let first = slot.first as usize;
        (slot.hash != 0).then(|| &self.words[first..first + slot.count as usize])
    }

    pub fn put(&mut self, hash: u64, words: &[Word]) {
        if self.chunks == MEMO_CHUNKS || self.words.len() + words.len() > MEMO_WORDS {
            return;
        }
        if 2 * self.chunks >= self.slots.len() {
            let size = (2 * self.slots.len()).max(1 << 12);
            let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
            for slot in old.into_iter().filter(|slot| slot.hash != 0) {
                let place = Self::place(&self.slots, slot.hash);
                self.slots[place] = slot;
            }
        }
        let place = Self::place(&self.slots, hash);
        self.slots[place] = Slot {
            hash,
            first: self.words.len() as u32,
            count: words.len() as u32,
        };
        self.words.extend_from_slice(words);
        self.chunks += 1;
    }
}
