//! Words under normalization, with their spans in the text as it stands.
//!
//! NFKD, lower case; combining marks U+0300 to U+036F, soft hyphens, zero-width characters and apostrophes are
//! dropped (`don’t` is `dont`); a full stop or comma between digits is dropped too (`1,000` is `1000`). Letters,
//! digits and other combining marks make words, and anything else separates them, newlines and underscores too;
//! in scripts written without spaces each character with its marks is a word.
//!
//! A run of ASCII letters and digits, which nearly every word is, is lower-cased and hashed where it stands; the
//! rest goes character by character through the decompositions of Unicode.

use curate_text::chars::{self, MARK, UNSPACED, WORD};
use curate_text::hash;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// The words of one text, kept with its buffers from text to text.
#[derive(Debug, Default)]
pub struct Normalizer {
    starts: Vec<u32>,
    ends: Vec<u32>,
    hashes: Vec<u64>,
    word: Word,
    bytes: Vec<u8>,
}

/// The word that is being read, where it takes more than a run of ASCII.
#[derive(Debug, Default)]
struct Word {
    chars: Vec<char>,
    start: usize,
    end: usize,
    /// Only marks can follow: the word is a character of an unspaced script.
    full: bool,
}

const ALNUM: u8 = 1;
const DIGIT: u8 = 2;
const APOSTROPHE: u8 = 4;
const POINT: u8 = 8;
const HIGH: u8 = 16;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut value = 0;
    while value < 256 {
        classes[value] = match value as u8 {
            b'0'..=b'9' => ALNUM | DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' => ALNUM,
            b'\'' => APOSTROPHE,
            b'.' | b',' => POINT,
            0x80.. => HIGH,
            _ => 0,
        };
        value += 1;
    }
    classes
};

impl Normalizer {
    /// Byte at which each word begins.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Byte after each word's last.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Hash of each normalized word.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Finds the words of `text`, which is row `row` of its column. Texts of 4 GiB and more are refused.
    pub fn scan(&mut self, row: usize, text: &str) -> Result<(), curate_text::Error> {
        let bytes = text.as_bytes();
        if bytes.len() >= u32::MAX as usize {
            return Err(curate_text::Error::TooLong {
                row,
                bytes: bytes.len(),
                limit: u32::MAX as usize - 1,
            });
        }
        self.starts.clear();
        self.ends.clear();
        self.hashes.clear();
        let mut place = 0;
        while place < bytes.len() {
            let class = CLASSES[bytes[place] as usize];
            place = if class & ALNUM != 0 {
                self.ascii_run(bytes, place)
            } else if class & HIGH != 0 {
                self.other_char(bytes, place)
            } else {
                if class & APOSTROPHE == 0 && !joins_digits(bytes, place) {
                    self.flush();
                }
                place + 1
            };
        }
        self.flush();
        Ok(())
    }

    /// Takes the run of ASCII letters and digits at `place`; returns its end.
    #[inline]
    fn ascii_run(&mut self, text: &[u8], place: usize) -> usize {
        let length = text[place..]
            .iter()
            .take_while(|&&byte| CLASSES[byte as usize] & ALNUM != 0)
            .count();
        let end = place + length;
        let next = text.get(end).map_or(0, |&byte| CLASSES[byte as usize]);
        let whole =
            next & (HIGH | APOSTROPHE) == 0 && !(next & POINT != 0 && joins_digits(text, end));
        if whole && self.word.chars.is_empty() {
            self.push_ascii(text, place, length);
        } else {
            let run = text[place..end]
                .iter()
                .map(|byte| char::from(byte.to_ascii_lowercase()));
            if self.word.full {
                self.flush();
            }
            if self.word.chars.is_empty() {
                self.word.start = place;
            }
            self.word.chars.extend(run);
            self.word.end = end;
        }
        end
    }

    #[inline]
    fn push_ascii(&mut self, text: &[u8], place: usize, length: usize) {
        /// Set in every ASCII digit and lower-case letter, and clear in just the upper-case letters.
        const LOWER: u128 = u128::from_le_bytes([0x20; 16]);
        let hash = match text[place..].first_chunk::<16>() {
            Some(chunk) if length <= 16 => {
                let kept =
                    (u128::from_le_bytes(*chunk) | LOWER) & (u128::MAX >> (128 - 8 * length));
                hash::hash_short(kept as u64, (kept >> 64) as u64, length)
            }
            _ => {
                self.bytes.clear();
                self.bytes.extend(
                    text[place..place + length]
                        .iter()
                        .map(u8::to_ascii_lowercase),
                );
                hash::hash_bytes(&self.bytes)
            }
        };
        self.starts.push(place as u32);
        self.ends.push((place + length) as u32);
        self.hashes.push(hash);
    }

    /// Takes the non-ASCII character at `place`; returns its end.
    fn other_char(&mut self, text: &[u8], place: usize) -> usize {
        let (code, length) = chars::decode(text, place);
        let (start, end) = (place, place + length);
        let original = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        decompose_compatible(original, |part| self.part(part, start, end));
        end
    }

    /// Takes one character of the decomposition of the character at `start..end`.
    fn part(&mut self, part: char, start: usize, end: usize) {
        if is_dropped(part) {
            return;
        }
        let classes = chars::classes(part as u32);
        let in_word = classes & WORD != 0 && part != '_';
        if !in_word && (classes & MARK == 0 || self.word.chars.is_empty()) {
            self.flush();
            return;
        }
        let unspaced = classes & UNSPACED != 0;
        if in_word && (self.word.full || unspaced) {
            self.flush();
        }
        if self.word.chars.is_empty() {
            self.word.start = start;
        }
        self.word
            .chars
            .push(char::from_u32(chars::lower(part as u32)).unwrap_or(part));
        self.word.full |= in_word && unspaced;
        self.word.end = end;
    }

    /// Ends the word that is being read, if there is one.
    #[inline]
    fn flush(&mut self) {
        if !self.word.chars.is_empty() {
            self.flush_word();
        }
    }

    #[cold]
    fn flush_word(&mut self) {
        order_marks(&mut self.word.chars);
        self.bytes.clear();
        let mut buffer = [0; 4];
        for c in self.word.chars.drain(..) {
            self.bytes
                .extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
        self.starts.push(self.word.start as u32);
        self.ends.push(self.word.end as u32);
        self.hashes.push(hash::hash_bytes(&self.bytes));
        self.word.full = false;
    }
}

/// Whether the byte at `place` is a full stop or comma between two digits.
#[inline]
fn joins_digits(text: &[u8], place: usize) -> bool {
    let is_digit = |place: usize| text.get(place).is_some_and(u8::is_ascii_digit);
    CLASSES[text[place] as usize] & POINT != 0
        && place > 0
        && is_digit(place - 1)
        && is_digit(place + 1)
}

/// Characters that are neither part of a word nor between words.
fn is_dropped(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36F}' | '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}'
            | '\'' | '\u{2019}' | '\u{2BC}'
    )
}

/// The canonical order of marks: each run of them sorted by combining class, equal ones as they stand.
fn order_marks(chars: &mut [char]) {
    let is_mark = |c: &char| canonical_combining_class(*c) != 0;
    for run in chars
        .chunk_by_mut(|a, b| is_mark(a) && is_mark(b))
        .filter(|run| run.len() > 1)
    {
        run.sort_by_key(|c| canonical_combining_class(*c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    fn scan(text: &str) -> Normalizer {
        let mut normalizer = Normalizer::default();
        normalizer.scan(0, text).unwrap();
        normalizer
    }

    fn check(text: &str, words: &[&str]) {
        let seen = scan(text);
        let expected: Vec<u64> = words
            .iter()
            .map(|word| hash::hash_bytes(word.as_bytes()))
            .collect();
        assert_eq!(seen.hashes, expected, "{text:?}");
    }

    #[test]
    fn words_of_the_rule() {
        check(
            "Don’t PANIC, it's 1,000.50 km!",
            &["dont", "panic", "its", "100050", "km"],
        );
        check(
            "snake_case a.b 3.x 3. 4",
            &["snake", "case", "a", "b", "3", "x", "3", "4"],
        );
        check(
            "ca\u{301}fe\u{301} café CAFÉ ca\u{AD}fe",
            &["cafe", "cafe", "cafe", "cafe"],
        );
        check(
            "ﬁn zero\u{200B}width ½ ＡＢＣ １２",
            &["fin", "zerowidth", "1", "2", "abc", "12"],
        );
        check("漢字x カナ", &["漢", "字", "x", "カ", "ナ"]);
        check(
            "dogs' 'quoted' rock'n'roll",
            &["dogs", "quoted", "rocknroll"],
        );
        check(
            "abcdefghijklmnopqrstuvwxyz0123456789",
            &["abcdefghijklmnopqrstuvwxyz0123456789"],
        );
        check(
            "İstanbul STRASSE straße",
            &["istanbul", "strasse", "straße"],
        );
    }

    #[test]
    fn spans_point_into_the_text() {
        let text = " «Ça» 1,000; don't ﬁ漢 x";
        let seen = scan(text);
        let spans = seen
            .starts
            .iter()
            .zip(&seen.ends)
            .map(|(&start, &end)| &text[start as usize..end as usize]);
        assert_eq!(
            spans.collect::<Vec<_>>(),
            ["Ça", "1,000", "don't", "ﬁ", "漢", "x"]
        );
    }

    proptest! {
        /// Typography does not matter: composed, decomposed, in capitals or with soft hyphens, words are the same.
        #[test]
        fn forms_of_one_text_have_the_same_words(text in "([a-zé0-9 .,']|[а-яάήα]|[àçñüאָ한漢]|\u{5d0}\u{5b8}\u{5c1}){0,60}") {
            let expected = scan(&text).hashes;
            prop_assert_eq!(&scan(&text.nfc().collect::<String>()).hashes, &expected);
            prop_assert_eq!(&scan(&text.nfd().collect::<String>()).hashes, &expected);
            prop_assert_eq!(&scan(&text.nfkd().collect::<String>()).hashes, &expected);
        }

        #[test]
        fn spans_rise_and_lie_on_characters(text in r"(\PC|[a-z' .,0-9\u{301}漢]){0,80}") {
            let seen = scan(&text);
            let mut last = 0;
            for (&start, &end) in seen.starts.iter().zip(&seen.ends) {
                // Two words can come from one character: ½ is 1 and 2.
                prop_assert!(start < end && start >= last && text.is_char_boundary(start as usize));
                prop_assert!(text.is_char_boundary(end as usize));
                last = start;
            }
        }
    }
}
