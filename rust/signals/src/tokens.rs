//! Measures of words, by two definitions: between whitespace, and the words of Unicode (UAX 29).
//!
//! The text is cut at ASCII whitespace, where every definition has a boundary. A chunk that is all ASCII, as
//! nearly all are, is one whitespace word, and its Unicode words are found by a few rules on bytes; any other
//! chunk goes character by character. Of a chunk that is one run of letters and digits, with a mark behind or not, as
//! most are, the end is known from the runs of `\w`, so that no loop over its bytes ends where none foresees it.

use std::ops::Range;

use curate_text::bits::LOWEST;
use curate_text::chars::{self, ALPHA, SPACE, WORD};
use curate_text::hash::{hash_bytes, hash_short};

use crate::measures::Values;
use crate::{n_chars, segment, share};

/// The Unicode words of one text, and what its words between whitespace are.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Hash of each Unicode word as written (case counts); punctuation is left out.
    pub hashes: Vec<u64>,
    /// Characters of each.
    pub chars: Vec<u32>,
    /// Unicode words that hold a letter.
    pub alpha: usize,
    /// Unicode words that hold letters of two scripts that look alike.
    mixed: usize,
    /// Words between whitespace of each line (between newlines).
    pub lines: Vec<LineWords>,
    /// The text has a line break of ASCII other than the newline.
    pub odd_breaks: bool,
    /// How many words between whitespace have each length, up to `LENGTHS - 1` characters and more.
    lengths: Vec<u32>,
    counts: Counts,
}

/// Words between whitespace of one line: how many, and the characters of the longest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineWords {
    pub words: u32,
    pub longest: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    words: usize,
    chars: usize,
    alpha: usize,
    stops: usize,
    lower_stops: usize,
    symbols: usize,
    alnum: usize,
    line: LineWords,
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const BLANK: u8 = 4;
/// Separates words for Python but not for fastText, or the other way round: NUL and 1C to 1F.
const ODD: u8 = 8;
const HIGH: u8 = 16;
const HASH: u8 = 32;
/// Ends a line for str.splitlines, and is no newline.
const BREAK: u8 = 64;
/// Any other mark.
const OTHER: u8 = 128;

/// In every byte: 1, the highest bit, an underscore.
const ONES: u128 = u128::MAX / 0xFF;
const HIGHS: u128 = ONES << 7;
const LINES: u128 = ONES * b'_' as u128;

/// Longer words are counted as one length: the median of a text is below it.
const LENGTHS: usize = 64;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut value = 0;
    while value < 256 {
        let byte = value as u8;
        classes[value] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            0xB..=0xD => BLANK | BREAK,
            9 | b'\n' | b' ' => BLANK,
            0x1C..=0x1E => BLANK | ODD | BREAK,
            0x1F => BLANK | ODD,
            0 => ODD,
            b'#' => HASH,
            0x80.. => HIGH,
            _ => OTHER,
        };
        value += 1;
    }
    classes
};

impl Tokens {
    /// `starts` and `ends` are the runs of `\w` in the text.
    pub fn measure(&mut self, text: &str, starts: &[u32], ends: &[u32], values: &mut Values) {
        self.hashes.clear();
        self.chars.clear();
        self.lines.clear();
        self.lengths.clear();
        self.lengths.resize(LENGTHS, 0);
        (self.alpha, self.mixed, self.counts) = (0, 0, Counts::default());
        let odd = self.chunks(text, starts, ends);
        self.odd_breaks = odd & BREAK != 0;
        if odd & ODD != 0 {
            self.counts.alnum = alnum_words(text);
        }
        let counts = self.counts;
        values.n_space_words = counts.words as f64;
        values.n_alnum_words = counts.alnum as f64;
        values.mean_word_chars = share(counts.chars, counts.words);
        values.alpha_word_share = share(counts.alpha, counts.words);
        values.n_stop_words = counts.stops as f64;
        let longest = self.lines.iter().map(|line| line.longest).max();
        values.longest_word_chars = f64::from(longest.unwrap_or(0));
        values.mixed_script_word_share = share(self.mixed, self.hashes.len());
        values.dolma_median_word_chars = self.median();
        values.dolma_symbol_word_share = share(counts.symbols, counts.words);
        values.dolma_n_stop_words = counts.lower_stops as f64;
    }

    /// Cuts the text at ASCII whitespace; returns all classes that were met.
    fn chunks(&mut self, text: &str, starts: &[u32], ends: &[u32]) -> u8 {
        let bytes = text.as_bytes();
        let mut runs = starts.iter().zip(ends).peekable();
        let (mut place, mut met) = (0, 0);
        while place < bytes.len() {
            let class = CLASSES[bytes[place] as usize];
            if class & BLANK != 0 {
                met |= class;
                if bytes[place] == b'\n' {
                    self.end_line();
                }
                place += 1;
                continue;
            }
            while runs.next_if(|run| (*run.0 as usize) < place).is_some() {}
            if let Some(run) = runs.next_if(|run| *run.0 as usize == place) {
                let run = place..*run.1 as usize;
                if let Some(mark) = self.plain_chunk(bytes, run.clone()) {
                    met |= mark;
                    place = run.end + usize::from(mark != 0);
                    continue;
                }
            }
            // Classes of all bytes of the chunk, and of all but the last.
            let (start, mut all, mut but_last) = (place, 0, 0);
            while place < bytes.len() {
                let class = CLASSES[bytes[place] as usize];
                if class & BLANK != 0 {
                    break;
                }
                but_last = all;
                all |= class;
                place += 1;
            }
            met |= all;
            if all & HIGH == 0 {
                self.ascii_chunk(bytes, start..place, all, but_last);
            } else {
                self.other_chunk(&text[start..place]);
            }
        }
        self.end_line();
        met
    }

    fn end_line(&mut self) {
        self.lines.push(std::mem::take(&mut self.counts.line));
    }

    /// Counts the chunk that begins with a run of `\w` where it is one of at most 16 letters and digits of ASCII, the
    /// first a letter, and at most one mark; returns the class of the mark, 0 for none.
    #[inline(always)]
    fn plain_chunk(&mut self, text: &[u8], run: Range<usize>) -> Option<u8> {
        let length = run.len();
        let both = u128::from_le_bytes(*text[run.start..].first_chunk::<16>()?);
        let class = |place: usize| {
            text.get(place)
                .map_or(BLANK, |&byte| CLASSES[byte as usize])
        };
        let next = class(run.end);
        let marked = next & (BLANK | HIGH) == 0;
        if length > 16 || class(run.start) != LETTER || marked && class(run.end + 1) & BLANK == 0 {
            return None;
        }
        let word = both & LOWEST[length];
        // A byte of 80 and more, or one that is an underscore: zero after the exclusive or, and only then its highest
        // bit comes out of the subtraction (or that of a byte behind an underscore).
        let lines = word ^ LINES;
        if (word | lines.wrapping_sub(ONES) & !lines) & HIGHS != 0 || !marked && next & HIGH != 0 {
            return None;
        }
        let mark = if marked { next } else { 0 };
        let whole = &text[run.start..run.end + usize::from(marked)];
        self.counts.alnum += 1;
        self.counts.symbols += usize::from(mark & HASH != 0);
        self.space_word(whole, whole.len(), true);
        self.chars.push(length as u32);
        self.alpha += 1;
        self.hashes
            .push(hash_short(word as u64, (word >> 64) as u64, length));
        Some(mark)
    }

    #[inline(always)]
    fn ascii_chunk(&mut self, text: &[u8], span: Range<usize>, all: u8, but_last: u8) {
        let chunk = &text[span.clone()];
        self.counts.alnum += usize::from(CLASSES[chunk[0] as usize] & (LETTER | DIGIT) != 0);
        self.counts.symbols += usize::from(all & HASH != 0);
        self.space_word(chunk, chunk.len(), all & LETTER != 0);
        // Nearly all chunks are letters and digits, or that with one mark behind.
        let plain = |classes: u8| classes & !(LETTER | DIGIT) == 0;
        let last = chunk[chunk.len() - 1];
        let word = match all {
            _ if plain(all) => span,
            _ if plain(but_last) && last != b'_' => span.start..span.end - 1,
            _ => {
                segment::ascii_words(chunk, |word, letters| {
                    self.hashes.push(hash_bytes(word));
                    self.chars.push(word.len() as u32);
                    self.alpha += usize::from(letters);
                });
                return;
            }
        };
        if !word.is_empty() {
            self.chars.push(word.len() as u32);
            self.alpha += usize::from(but_last & LETTER != 0 || plain(all) && all & LETTER != 0);
            self.hashes.push(hash_word(text, word));
        }
    }

    fn other_chunk(&mut self, chunk: &str) {
        let has = |text: &str, class| text.chars().any(|c| chars::classes(c as u32) & class != 0);
        self.counts.alnum += usize::from(begins_alnum(chunk));
        let words = chunk.split(|c| chars::classes(c as u32) & SPACE != 0);
        for word in words.filter(|word| !word.is_empty()) {
            self.counts.symbols += usize::from(word.contains(['#', '…']));
            self.space_word(word.as_bytes(), n_chars(word.as_bytes()), has(word, ALPHA));
        }
        segment::words(chunk, |word| {
            if begins_alnum(word) {
                self.hashes.push(hash_bytes(word.as_bytes()));
                self.chars.push(n_chars(word.as_bytes()) as u32);
                self.alpha += usize::from(has(word, ALPHA));
                self.mixed += usize::from(is_mixed(word));
            }
        });
    }

    #[inline(always)]
    fn space_word(&mut self, word: &[u8], chars: usize, alpha: bool) {
        let counts = &mut self.counts;
        counts.words += 1;
        counts.chars += chars;
        counts.alpha += usize::from(alpha);
        if is_stop_word(word) {
            counts.stops += 1;
            counts.lower_stops += usize::from(word.iter().all(u8::is_ascii_lowercase));
        }
        counts.line.words += 1;
        counts.line.longest = counts.line.longest.max(chars as u32);
        self.lengths[chars.min(LENGTHS - 1)] += 1;
    }

    /// The median length of the words; the mean of the two in the middle where their number is even.
    fn median(&self) -> f64 {
        let words = self.counts.words;
        let at = |rank: usize| {
            let mut seen = 0;
            let place = self.lengths.iter().position(|&count| {
                seen += count as usize;
                seen > rank
            });
            place.unwrap_or(0) as f64
        };
        match words {
            0 => 0.0,
            _ => (at((words - 1) / 2) + at(words / 2)) / 2.0,
        }
    }
}

/// Whether a word holds letters of two of Latin, Greek and Cyrillic, whose letters can be taken for one another.
fn is_mixed(word: &str) -> bool {
    let script = |c: char| match c {
        'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => 1,
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => 2,
        '\u{400}'..='\u{52F}' => 4,
        _ => 0_u32,
    };
    let letters = word
        .chars()
        .filter(|&c| chars::classes(c as u32) & ALPHA != 0);
    letters
        .map(script)
        .fold(0, |all, one| all | one)
        .count_ones()
        > 1
}

/// `hash_bytes` of a word of the text, with one load where it is short and not at the end.
#[inline]
pub(crate) fn hash_word(text: &[u8], word: Range<usize>) -> u64 {
    let length = word.len();
    match text[word.start..].first_chunk::<16>() {
        Some(chunk) if length <= 16 => {
            let both = u128::from_le_bytes(*chunk) & LOWEST[length];
            hash_short(both as u64, (both >> 64) as u64, length)
        }
        _ => hash_bytes(&text[word]),
    }
}

/// `str.isalnum` of the first character.
fn begins_alnum(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|c| c != '_' && chars::classes(c as u32) & WORD != 0)
}

/// Whether a word is, in lower case, one of Gopher's eight.
#[inline]
fn is_stop_word(word: &[u8]) -> bool {
    const STOPS: [u32; 8] = [
        pack(b"the"),
        pack(b"be"),
        pack(b"to"),
        pack(b"of"),
        pack(b"and"),
        pack(b"that"),
        pack(b"have"),
        pack(b"with"),
    ];
    matches!(word.len(), 2..=4) && STOPS.contains(&pack(word))
}

/// The first two and the last two of two to four bytes as a number, the bit of lower case set in each: exact where the
/// other side is letters. Of fewer than four that bit of the last byte is not set, as "the" is not "thhe".
#[inline]
const fn pack(word: &[u8]) -> u32 {
    let n = word.len();
    let both = u32::from_le_bytes([word[0], word[1], word[n - 2], word[n - 1]]);
    (both | 0x2020_2020) ^ ((n < 4) as u32) << 29
}

/// Words between fastText's separators that begin with a letter or number.
pub(crate) fn alnum_words(text: &str) -> usize {
    text.split(['\0', ' ', '\n', '\r', '\t', '\u{B}', '\u{C}'])
        .filter(|word| begins_alnum(word))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::{Cpu, Words};
    use proptest::prelude::*;

    /// Words, lines and values of a text, with its runs of `\w`, or without: then every chunk goes the long way.
    fn measured(text: &str, runs: bool) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut words = Words::new(Cpu::detect().unwrap());
        words.find(0, text).unwrap();
        let (mut tokens, mut values) = (Tokens::default(), Values::default());
        let of = |all: &[u32]| all[..if runs { all.len() } else { 0 }].to_vec();
        tokens.measure(text, &of(words.starts()), &of(words.ends()), &mut values);
        let lines = tokens.lines.iter().map(|line| (line.words, line.longest));
        let lines: Vec<(u32, u32)> = lines.collect();
        (tokens.hashes, tokens.chars, lines, values.into_array())
    }

    proptest! {
        #[test]
        fn chunks_of_one_word_are_counted_as_all_others(
            text in "([a-zA-Z0-9_]{0,20}[ \n,.#'\u{e9}\u{2019}\u{6f22}\0\x1c]{1,2}){0,12}.{0,20}"
        ) {
            prop_assert_eq!(measured(&text, true), measured(&text, false));
        }
    }

    #[test]
    fn stop_words_in_any_case_and_nothing_like_them() {
        for word in [
            "the", "THE", "be", "To", "of", "and", "That", "have", "with",
        ] {
            assert!(is_stop_word(word.as_bytes()), "{word}");
        }
        for word in [
            "", "a", "thhe", "annd", "bebe", "toto", "ofof", "th", "he", "tha", "withs", "be,",
            "t@",
        ] {
            assert!(!is_stop_word(word.as_bytes()), "{word}");
        }
    }
}
