//! Measures of words, by two definitions: between whitespace, and the words of Unicode (UAX 29).
//!
//! The text is cut at ASCII whitespace, where every definition has a boundary. A chunk that is all ASCII, as
//! nearly all are, is one whitespace word, and its Unicode words are found by a few rules on bytes; any other
//! chunk goes character by character.

use curate_text::chars::{self, ALPHA, SPACE, WORD};
use curate_text::hash::hash_bytes;
use memchr::memmem;

use crate::measures::Values;
use crate::{n_chars, segment, share};

/// Buffers of one text, and its Unicode words without punctuation.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Hash of each Unicode word as written (case counts).
    pub hashes: Vec<u64>,
    /// Characters of each.
    pub chars: Vec<u32>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    words: usize,
    chars: usize,
    alpha: usize,
    stops: usize,
    alnum: usize,
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const BLANK: u8 = 4;
/// Separates words for Python but not for fastText, or the other way round: NUL and 1C to 1F.
const ODD: u8 = 8;
const HIGH: u8 = 16;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut value = 0;
    while value < 256 {
        let byte = value as u8;
        classes[value] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            9..=13 | b' ' => BLANK,
            0x1C..=0x1F => BLANK | ODD,
            0 => ODD,
            0x80.. => HIGH,
            _ => 0,
        };
        value += 1;
    }
    classes
};

impl Tokens {
    pub fn measure(&mut self, text: &str, values: &mut Values) {
        self.hashes.clear();
        self.chars.clear();
        self.counts = Counts::default();
        let odd = self.chunks(text);
        if odd {
            self.counts.alnum = alnum_words(text);
        }
        let Counts {
            words,
            chars,
            alpha,
            stops,
            alnum,
        } = self.counts;
        values.n_space_words = words as f64;
        values.n_alnum_words = alnum as f64;
        values.mean_word_chars = share(chars, words);
        values.alpha_word_share = share(alpha, words);
        values.n_stop_words = stops as f64;
        values.symbol_word_ratio = share(symbols(text.as_bytes()), words);
    }

    /// Cuts the text at ASCII whitespace; returns whether a byte was odd.
    fn chunks(&mut self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let (mut place, mut odd) = (0, 0);
        while place < bytes.len() {
            let class = CLASSES[bytes[place] as usize];
            if class & BLANK != 0 {
                odd |= class;
                place += 1;
                continue;
            }
            let (start, mut all) = (place, 0);
            while place < bytes.len() {
                let class = CLASSES[bytes[place] as usize];
                if class & BLANK != 0 {
                    break;
                }
                all |= class;
                place += 1;
            }
            odd |= all;
            if all & HIGH == 0 {
                self.ascii_chunk(&bytes[start..place], all);
            } else {
                self.other_chunk(&text[start..place]);
            }
        }
        odd & ODD != 0
    }

    #[inline]
    fn ascii_chunk(&mut self, chunk: &[u8], all: u8) {
        self.counts.alnum += usize::from(CLASSES[chunk[0] as usize] & (LETTER | DIGIT) != 0);
        self.space_word(chunk, chunk.len(), all & LETTER != 0);
        segment::ascii_words(chunk, |word| {
            self.hashes.push(hash_bytes(word));
            self.chars.push(word.len() as u32);
        });
    }

    fn other_chunk(&mut self, chunk: &str) {
        let has = |text: &str, class| text.chars().any(|c| chars::classes(c as u32) & class != 0);
        self.counts.alnum += usize::from(begins_alnum(chunk));
        let words = chunk.split(|c| chars::classes(c as u32) & SPACE != 0);
        for word in words.filter(|word| !word.is_empty()) {
            self.space_word(word.as_bytes(), n_chars(word.as_bytes()), has(word, ALPHA));
        }
        segment::words(chunk, |word| {
            if begins_alnum(word) {
                self.hashes.push(hash_bytes(word.as_bytes()));
                self.chars.push(n_chars(word.as_bytes()) as u32);
            }
        });
    }

    #[inline]
    fn space_word(&mut self, word: &[u8], chars: usize, alpha: bool) {
        self.counts.words += 1;
        self.counts.chars += chars;
        self.counts.alpha += usize::from(alpha);
        self.counts.stops += usize::from(is_stop_word(word));
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

/// Up to four bytes as a number, the bit of lower case set in each: exact where the other side is letters.
#[inline]
const fn pack(word: &[u8]) -> u32 {
    let mut packed = 0;
    let mut i = 0;
    while i < word.len() {
        packed = packed << 8 | (word[i] | 0x20) as u32;
        i += 1;
    }
    packed
}

/// Words between fastText's separators that begin with a letter or number, for texts with odd control characters.
fn alnum_words(text: &str) -> usize {
    text.split(['\0', ' ', '\n', '\r', '\t', '\u{B}', '\u{C}'])
        .filter(|word| begins_alnum(word))
        .count()
}

/// Occurrences of Gopher's symbols, each counted as `str.count` does: from the left, without overlap.
fn symbols(text: &[u8]) -> usize {
    let hashes = text.iter().filter(|&&byte| byte == b'#').count();
    let others = ["...", ". . .", "…"].map(|symbol| memmem::find_iter(text, symbol).count());
    hashes + others.iter().sum::<usize>()
}
