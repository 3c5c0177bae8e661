//! The words of a text with their byte spans and hashes: 0.6 (Cyrillic) to 2.3 GB/s on one core with AVX-512.
//!
//! A word is a maximal run of `\w` (what CPython's `re` means by it) in the lower-cased text; in scripts
//! written without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar) every such character is a word. The text is
//! turned into one bit a byte, "is part of a word", 64 bytes at a time; words are the runs of ones:
//!
//! ```text
//! text     A t l a s ,   t w o   漢 - - 字 - -
//! member   1 1 1 1 1 0 0 1 1 1 0 1  1 1 1  1 1      bytes of \w; a multi-byte character sets all of its bits
//! cut      0 0 0 0 0 0 0 0 0 0 0 1  0 0 1  0 0      a word begins here even inside a run
//! starts = member and (not previous member or cut);  ends = previous member and (not member or cut)
//! ```
//!
//! ASCII and the Han characters are dealt with by masks, the others one by one: those of two bytes (Latin, Greek,
//! Cyrillic, Hebrew, Arabic) by one look-up that gives class and lower-case form. Lower-casing is the simple mapping
//! (`chars::lower`).

use crate::bits::LOWEST;
use crate::chars::{self, CASED, UNSPACED, WORD};
use crate::cpu::Cpu;
use crate::{Error, hash, masks};

/// The words of one text, kept with its buffers from text to text.
#[derive(Debug)]
pub struct Words {
    cpu: Cpu,
    starts: Vec<u32>,
    ends: Vec<u32>,
    hashes: Vec<u64>,
    masks: masks::Masks,
    /// Places of characters whose lower-case form has another length: one in a million, at most.
    resized: Vec<u32>,
}

impl Words {
    /// Empty buffers for texts to come.
    pub fn new(cpu: Cpu) -> Self {
        let masks = masks::Masks::default();
        Self {
            cpu,
            starts: vec![],
            ends: vec![],
            hashes: vec![],
            masks,
            resized: vec![],
        }
    }

    /// Byte at which each word begins.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Byte after each word's last.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// `hash::hash_bytes` of each lower-cased word.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The text as it was scanned last, of this many bytes, with ASCII and same-length letters lower-cased.
    pub fn lower(&self, bytes: usize) -> &[u8] {
        &self.masks.lower[..bytes]
    }

    /// Finds the words of `text`, which is row `row` of its column, and their hashes. Texts of 4 GiB and more are
    /// refused.
    pub fn scan(&mut self, row: usize, text: &str) -> Result<(), Error> {
        self.find(row, text)?;
        self.hash(text.as_bytes());
        Ok(())
    }

    /// Like `scan`, without the hashes.
    pub fn find(&mut self, row: usize, text: &str) -> Result<(), Error> {
        let bytes = text.as_bytes();
        if bytes.len() >= u32::MAX as usize {
            return Err(Error::TooLong {
                row,
                bytes: bytes.len(),
                limit: u32::MAX as usize - 1,
            });
        }
        self.masks.fill(self.cpu, bytes);
        self.resized.clear();
        if !self.masks.ascii {
            self.add_non_ascii(bytes);
        }
        self.masks.spans(self.cpu, &mut self.starts, &mut self.ends);
        self.hashes.clear();
        Ok(())
    }

    /// Adds the words of all characters that are not ASCII to the masks, block by block. What reaches over the end of
    /// a block is carried into the next.
    fn add_non_ascii(&mut self, text: &[u8]) {
        let Self { masks, resized, .. } = self;
        let pairs = chars::pairs();
        let (mut over, mut cut_over) = (0, 0);
        for block in 0..masks.lead.len() {
            let han = masks.han[block];
            let mut member = over | han | han << 1 | han << 2;
            let mut cut = cut_over | han | han << 3;
            (over, cut_over) = (han >> 63 | han >> 62, han >> 61);
            let mut lead = masks.lead[block];
            while lead != 0 {
                let bit = lead.trailing_zeros();
                lead &= lead - 1;
                let place = block * 64 + bit as usize;
                if text[place] < 0xE0 {
                    let code =
                        usize::from(text[place] & 0x1F) << 6 | usize::from(text[place + 1] & 0x3F);
                    let pair = pairs[code];
                    masks.lower[place..place + 2].copy_from_slice(&pair.lower);
                    if pair.resized {
                        resized.push(place as u32);
                    }
                    let word = u64::from(pair.classes & WORD);
                    member |= (word * 3) << bit;
                    over |= word & u64::from(bit == 63);
                    continue;
                }
                let (code, length) = chars::decode(text, place);
                let classes = chars::classes(code);
                if classes & WORD == 0 {
                    continue;
                }
                let bits = ((1_u128 << length) - 1) << bit;
                member |= bits as u64;
                over |= (bits >> 64) as u64;
                if classes & UNSPACED != 0 {
                    let ends = (1 | 1_u128 << length) << bit;
                    cut |= ends as u64;
                    cut_over |= (ends >> 64) as u64;
                }
                if classes & CASED != 0 {
                    lower_case(
                        code,
                        &mut masks.lower[place..place + length],
                        place,
                        resized,
                    );
                }
            }
            masks.member[block] |= member;
            masks.cut[block] |= cut;
        }
    }

    fn hash(&mut self, text: &[u8]) {
        let lower = &self.masks.lower;
        self.hashes.clear();
        let spans = self.starts.iter().zip(&self.ends);
        self.hashes.extend(spans.map(|(&start, &end)| {
            let (start, length) = (start as usize, (end - start) as usize);
            match lower.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
                Some(chunk) if length <= 16 => {
                    let both = u128::from_le_bytes(*chunk) & LOWEST[length];
                    hash::hash_short(both as u64, (both >> 64) as u64, length)
                }
                _ => hash::hash_bytes(&lower[start..start + length]),
            }
        }));
        // Places ascend; a word with many of them is hashed once, or time would grow with its square.
        let mut last = usize::MAX;
        for &place in &self.resized {
            let word = self.starts.partition_point(|&start| start <= place) - 1;
            if word == last {
                continue;
            }
            last = word;
            let (start, end) = (self.starts[word] as usize, self.ends[word] as usize);
            self.hashes[word] = hash::hash_bytes(&lower_slowly(&text[start..end]));
        }
    }
}

/// Writes the lower-case form over a character, or notes its place where that has another length.
fn lower_case(code: u32, to: &mut [u8], place: usize, resized: &mut Vec<u32>) {
    let mut buffer = [0; 4];
    let lower = char::from_u32(chars::lower(code)).map(|c| c.encode_utf8(&mut buffer).len());
    if lower == Some(to.len()) {
        to.copy_from_slice(&buffer[..to.len()]);
    } else {
        resized.push(place as u32);
    }
}

fn lower_slowly(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len() + 4);
    let mut place = 0;
    while place < word.len() {
        let (code, length) = chars::decode(word, place);
        let lower = char::from_u32(chars::lower(code)).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
        place += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, character by character.
    fn oracle(text: &str) -> Vec<(u32, u32, String)> {
        let mut words: Vec<(u32, u32, String)> = Vec::new();
        let mut open = false;
        for (place, c) in text.char_indices() {
            let class = chars::classes(c as u32);
            let (start, end) = (place as u32, (place + c.len_utf8()) as u32);
            let lower = char::from_u32(chars::lower(c as u32)).unwrap();
            if class & WORD == 0 {
                open = false;
            } else if open && class & UNSPACED == 0 {
                let word = words.last_mut().unwrap();
                word.1 = end;
                word.2.push(lower);
            } else {
                words.push((start, end, lower.to_string()));
                open = class & UNSPACED == 0;
            }
        }
        words
    }

    fn check(text: &str) {
        let expected = oracle(text);
        for cpu in Cpu::all() {
            let mut words = Words::new(cpu);
            words
                .scan(
                    0,
                    "something else first, longer than the text that follows it",
                )
                .unwrap();
            words.scan(0, text).unwrap();
            let spans: Vec<_> = words
                .starts
                .iter()
                .copied()
                .zip(words.ends.iter().copied())
                .collect();
            let wanted: Vec<_> = expected.iter().map(|w| (w.0, w.1)).collect();
            assert_eq!(spans, wanted, "{} {text:?}", cpu.name());
            let wanted: Vec<_> = expected
                .iter()
                .map(|w| hash::hash_bytes(w.2.as_bytes()))
                .collect();
            assert_eq!(words.hashes, wanted, "{} {text:?}", cpu.name());
        }
    }

    #[test]
    fn words_of_awkward_texts() {
        for text in [
            "",
            "a",
            "_",
            " ",
            "Ⱥ",
            "İstanbul ⱯB Kelvin K",
            "漢字かなカナー ไทย ພາສາ",
            "a漢b",
            "naïve ΑΣ",
            "½ e\u{301}a",
        ] {
            check(text);
        }
        for length in [15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 127, 128, 129, 200] {
            check(&"x".repeat(length));
            check(&"ab ".repeat(length));
            check(&("é".repeat(length) + "漢字"));
            check(&(" ".repeat(length) + "漢字Z"));
        }
    }

    proptest! {
        #[test]
        fn words_of_random_texts(text in r"([a-zA-Z0-9_ .,\n]|[a-z]{1,20} |\PC|[漢字かなกำİȺſKé]){0,200}") {
            check(&text);
        }
    }
}
