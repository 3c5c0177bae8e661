//! Words under normalization: their hashes, and on demand their spans in the text as it stands.
//!
//! NFKD, lower case; combining marks U+0300 to U+036F, soft hyphens, zero-width characters and apostrophes are
//! dropped (`don’t` is `dont`); a full stop or comma between digits is dropped too (`1,000` is `1000`). Letters,
//! digits and other combining marks make words, and anything else separates them, newlines and underscores too;
//! in scripts written without spaces each character with its marks is a word.
//!
//! Two passes over a text. The first writes the normalized words with a space between them: ASCII by a table of bytes,
//! 32 at a time, and the other characters of the BMP by a table of what each becomes (768 KB, made once). The second
//! finds each space within 16 bytes by arithmetic and hashes the word before it.

use std::sync::LazyLock;

use curate_text::chars::{self, MARK, UNSPACED, WORD};
use curate_text::hash;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// The words of one text, kept with its buffers from text to text.
#[derive(Debug, Default)]
pub struct Normalizer {
    /// Normalized words, a space or more between them.
    out: Vec<u8>,
    /// The byte of the text at which the character behind each byte of `out` begins; filled for spans only.
    origins: Vec<u32>,
    hashes: Vec<u64>,
    /// Combining marks at the end of `out`.
    marks: usize,
    /// `out` ends with a character of an unspaced script, which only marks can follow.
    full: bool,
}

const SPACE: u8 = b' ';
const SPACES: u128 = u128::from_le_bytes([SPACE; 16]);
/// Bytes that are looked at together.
const CHUNK: usize = 32;
const POINT: u8 = 1;

/// What an ASCII byte becomes; 0 for an apostrophe, which vanishes.
static ASCII: [u8; 128] = {
    let mut bytes = [SPACE; 128];
    let mut value = 0;
    while value < 128 {
        let byte = value as u8;
        bytes[value] = match byte {
            b'0'..=b'9' | b'a'..=b'z' => byte,
            b'A'..=b'Z' => byte | 0x20,
            b'\'' => 0,
            // Told apart, since between digits it vanishes.
            b'.' | b',' => POINT,
            _ => SPACE,
        };
        value += 1;
    }
    bytes
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Separator,
    Dropped,
    Word,
    Unspaced,
    Mark,
    /// Its decomposition is long, or of several kinds: it is looked at part by part.
    Mixed,
}

/// What a character becomes: `bytes[..length]`, lower case and without the marks that are dropped.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: Kind,
    length: u8,
    bytes: [u8; 10],
}

const NOTHING: Entry = Entry {
    kind: Kind::Dropped,
    length: 0,
    bytes: [0; 10],
};

/// Every character of the BMP at its code point.
fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> =
        LazyLock::new(|| (0..0x10000).map(|code| entry(code as u32)).collect());
    &ENTRIES
}

fn entry(code: u32) -> Entry {
    let original = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut made = NOTHING;
    decompose_compatible(original, |part| {
        let next = part_entry(part);
        let length = usize::from(made.length + next.length);
        let first = made.kind == Kind::Dropped;
        if next.kind == Kind::Dropped {
        } else if length > made.bytes.len()
            || !first && (made.kind, next.kind) != (Kind::Word, Kind::Word)
        {
            made.kind = if made.kind == Kind::Separator && next.kind == Kind::Separator {
                Kind::Separator
            } else {
                Kind::Mixed
            };
        } else {
            made.kind = next.kind;
            made.bytes[usize::from(made.length)..length]
                .copy_from_slice(&next.bytes[..usize::from(next.length)]);
            made.length = length as u8;
        }
    });
    made
}

/// The entry of a character that has no decomposition.
fn part_entry(part: char) -> Entry {
    let classes = chars::classes(part as u32);
    let kind = if is_dropped(part) {
        Kind::Dropped
    } else if classes & WORD != 0 && part != '_' {
        if classes & UNSPACED != 0 {
            Kind::Unspaced
        } else {
            Kind::Word
        }
    } else if classes & MARK != 0 {
        Kind::Mark
    } else {
        Kind::Separator
    };
    let mut made = Entry { kind, ..NOTHING };
    if !matches!(kind, Kind::Dropped | Kind::Separator) {
        let lower = char::from_u32(chars::lower(part as u32)).unwrap_or(part);
        made.length = lower.encode_utf8(&mut made.bytes[..4]).len() as u8;
    }
    made
}

impl Normalizer {
    /// The hash of each word of `text`, which is row `row` of its column. Texts of 4 GiB and more are refused.
    pub fn scan(&mut self, row: usize, text: &str) -> Result<&[u64], curate_text::Error> {
        self.write::<false>(row, text.as_bytes())?;
        self.hash_words(|_, _| ());
        Ok(&self.hashes)
    }

    /// The words of a text that `scan` has read, and the bytes of it that each came from. It reads the text again.
    pub fn spans(&mut self, row: usize, text: &str) -> Result<Vec<(u32, u32)>, curate_text::Error> {
        let bytes = text.as_bytes();
        self.write::<true>(row, bytes)?;
        let origins = std::mem::take(&mut self.origins);
        let mut spans = Vec::new();
        self.hash_words(|start, end| {
            let last = origins[end - 1] as usize;
            let (_, length) = chars::decode(bytes, last);
            spans.push((origins[start], (last + length) as u32));
        });
        self.origins = origins;
        Ok(spans)
    }

    /// The first pass: normalized words into `out`.
    fn write<const SPANS: bool>(
        &mut self,
        row: usize,
        text: &[u8],
    ) -> Result<(), curate_text::Error> {
        if text.len() >= u32::MAX as usize {
            return Err(curate_text::Error::TooLong {
                row,
                bytes: text.len(),
                limit: u32::MAX as usize - 1,
            });
        }
        let entries = entries();
        self.out.clear();
        self.origins.clear();
        (self.marks, self.full) = (0, false);
        let mut place = 0;
        while place < text.len() {
            if !SPANS && let Some(plain) = plain_chunk(text, place) {
                self.settle();
                if self.full {
                    self.out.push(SPACE);
                    self.full = false;
                }
                self.out.extend_from_slice(&plain);
                place += CHUNK;
                continue;
            }
            // To the end of the chunk one by one: what is not plain is not looked at twice.
            let end = (place + CHUNK).min(text.len());
            while place < end {
                if text[place] < 0x80 {
                    self.ascii::<SPANS>(text, place);
                    place += 1;
                } else {
                    let (code, length) = chars::decode(text, place);
                    match entries.get(code as usize) {
                        Some(entry) if entry.kind != Kind::Mixed => self.put::<SPANS>(entry, place),
                        _ => {
                            let original =
                                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                            decompose_compatible(original, |part| {
                                self.put::<SPANS>(&part_entry(part), place)
                            });
                        }
                    }
                    place += length;
                }
            }
        }
        self.settle();
        Ok(())
    }

    /// Appends what the ASCII byte at `place` becomes.
    #[inline]
    fn ascii<const SPANS: bool>(&mut self, text: &[u8], place: usize) {
        self.settle();
        if self.full {
            self.push::<SPANS>(&[SPACE], place);
            self.full = false;
        }
        let byte = match ASCII[usize::from(text[place] & 0x7F)] {
            POINT if joins_digits(text, place) => 0,
            POINT => SPACE,
            byte => byte,
        };
        if byte != 0 {
            self.push::<SPANS>(&[byte], place);
        }
    }

    /// Appends what a character at `place` becomes, or a part of it.
    #[inline]
    fn put<const SPANS: bool>(&mut self, entry: &Entry, place: usize) {
        let bytes = &entry.bytes[..usize::from(entry.length)];
        match entry.kind {
            Kind::Dropped | Kind::Mixed => return,
            Kind::Mark if self.out.last().is_some_and(|&last| last != SPACE) => {
                self.push::<SPANS>(bytes, place);
                self.marks += 1;
                return;
            }
            Kind::Mark | Kind::Separator => {
                self.settle();
                self.push::<SPANS>(&[SPACE], place);
                self.full = false;
                return;
            }
            Kind::Word | Kind::Unspaced => {}
        }
        self.settle();
        if self.full || entry.kind == Kind::Unspaced {
            self.push::<SPANS>(&[SPACE], place);
        }
        self.push::<SPANS>(bytes, place);
        self.full = entry.kind == Kind::Unspaced;
    }

    #[inline]
    fn push<const SPANS: bool>(&mut self, bytes: &[u8], place: usize) {
        self.out.extend_from_slice(bytes);
        if SPANS {
            self.origins.resize(self.out.len(), place as u32);
        }
    }

    /// Puts the marks that `out` ends with into canonical order.
    #[inline]
    fn settle(&mut self) {
        if self.marks > 1 {
            order_marks(&mut self.out, self.marks);
        }
        self.marks = 0;
    }

    /// The second pass: the hash of each word, and `word(start, end)` of its place in `out`.
    #[inline]
    fn hash_words(&mut self, mut word: impl FnMut(usize, usize)) {
        let end = self.out.len();
        self.out.extend_from_slice(&[SPACE; 17]);
        self.hashes.clear();
        self.hashes.reserve(end / 4);
        let mut place = 0;
        while place < end {
            let Some(chunk) = self.out[place..].first_chunk::<16>() else {
                return;
            };
            let both = u128::from_le_bytes(*chunk);
            let found = spaces(both as u64) as u128 | (spaces((both >> 64) as u64) as u128) << 64;
            let length = found.trailing_zeros() as usize / 8;
            if length == 0 {
                place += (both ^ SPACES).trailing_zeros() as usize / 8;
                continue;
            }
            let (length, hash) = if length < 16 {
                let kept = both & (u128::MAX >> (128 - 8 * length));
                (
                    length,
                    hash::hash_short(kept as u64, (kept >> 64) as u64, length),
                )
            } else {
                let rest = &self.out[place..];
                let length = rest
                    .iter()
                    .position(|&byte| byte == SPACE)
                    .unwrap_or(rest.len());
                (length, hash::hash_bytes(&rest[..length]))
            };
            self.hashes.push(hash);
            word(place, place + length);
            place += length + 1;
        }
    }
}

/// The high bit of the lowest byte that is a space; bits above it mean nothing.
#[inline(always)]
fn spaces(eight: u64) -> u64 {
    let zero = eight ^ 0x2020_2020_2020_2020;
    zero.wrapping_sub(0x0101_0101_0101_0101) & !zero & 0x8080_8080_8080_8080
}

/// What the CHUNK bytes at `place` become, where that is as many bytes: all are ASCII, none is an apostrophe or joins
/// digits, and there is a byte on both sides. The loop has no branch, so that a compiler makes vectors of it.
#[inline]
fn plain_chunk(text: &[u8], place: usize) -> Option<[u8; CHUNK]> {
    let around = text
        .get(place.checked_sub(1)?..)?
        .first_chunk::<{ CHUNK + 2 }>()?;
    let mut out = [0; CHUNK];
    let mut other = 0;
    for (at, to) in out.iter_mut().enumerate() {
        let is_digit = |byte: u8| byte.wrapping_sub(b'0') < 10;
        let byte = around[at + 1];
        let lower = byte | 0x20;
        let joins =
            ((byte == b'.') | (byte == b',')) & is_digit(around[at]) & is_digit(around[at + 2]);
        other |= u8::from(joins | (byte == b'\'') | (byte >= 0x80));
        let letter = lower.wrapping_sub(b'a') < 26;
        *to = if letter { lower } else { SPACE };
        *to = if is_digit(byte) { byte } else { *to };
    }
    (other == 0).then_some(out)
}

/// Whether the byte at `place` stands between two digits.
#[inline]
fn joins_digits(text: &[u8], place: usize) -> bool {
    let is_digit = |place: usize| text.get(place).is_some_and(u8::is_ascii_digit);
    place > 0 && is_digit(place - 1) && is_digit(place + 1)
}

/// Characters that are neither part of a word nor between words.
fn is_dropped(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36F}' | '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}'
            | '\'' | '\u{2019}' | '\u{2BC}'
    )
}

/// The canonical order of the last `count` characters, which are marks: by combining class, equal ones as they stand.
#[cold]
fn order_marks(out: &mut [u8], count: usize) {
    let mut first = out.len();
    for _ in 0..count {
        first -= 1;
        while out[first] & 0xC0 == 0x80 {
            first -= 1;
        }
    }
    let mut marks: Vec<char> = String::from_utf8_lossy(&out[first..]).chars().collect();
    for run in marks.chunk_by_mut(|a, b| {
        canonical_combining_class(*a) != 0 && canonical_combining_class(*b) != 0
    }) {
        run.sort_by_key(|c| canonical_combining_class(*c));
    }
    let ordered: String = marks.into_iter().collect();
    out[first..].copy_from_slice(ordered.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    fn scan(text: &str) -> Vec<u64> {
        let mut normalizer = Normalizer::default();
        normalizer
            .scan(0, "something else first, that is longer: 1,000 καὶ ἄλλα")
            .unwrap();
        normalizer.scan(0, text).unwrap().to_vec()
    }

    fn spans(text: &str) -> Vec<(u32, u32)> {
        Normalizer::default().spans(0, text).unwrap()
    }

    fn hashed(words: &[&str]) -> Vec<u64> {
        words
            .iter()
            .map(|word| hash::hash_bytes(word.as_bytes()))
            .collect()
    }

    /// The definition, character by character.
    fn oracle(text: &str) -> Vec<u64> {
        let source: Vec<char> = text.chars().collect();
        let mut joined = String::new();
        for (i, &c) in source.iter().enumerate() {
            let digit = |at: Option<&char>| at.is_some_and(char::is_ascii_digit);
            let between = i > 0 && digit(source.get(i - 1)) && digit(source.get(i + 1));
            if !(between && (c == '.' || c == ',')) {
                joined.push(c);
            }
        }
        let mut words: Vec<String> = vec![];
        let (mut open, mut full) = (false, false);
        for c in joined.nfkd().filter(|&c| !is_dropped(c)) {
            let classes = chars::classes(c as u32);
            let lower = char::from_u32(chars::lower(c as u32)).unwrap();
            if classes & WORD != 0 && c != '_' {
                let unspaced = classes & UNSPACED != 0;
                if !open || full || unspaced {
                    words.push(String::new());
                }
                words.last_mut().unwrap().push(lower);
                (open, full) = (true, unspaced);
            } else if classes & MARK != 0 && open {
                words.last_mut().unwrap().push(c);
            } else {
                (open, full) = (false, false);
            }
        }
        words
            .iter()
            .map(|word| hash::hash_bytes(word.as_bytes()))
            .collect()
    }

    #[test]
    fn words_of_the_rule() {
        for (text, words) in [
            (
                "Don’t PANIC, it's 1,000.50 km!",
                &["dont", "panic", "its", "100050", "km"][..],
            ),
            (
                "snake_case a.b 3.x 3. 4",
                &["snake", "case", "a", "b", "3", "x", "3", "4"],
            ),
            (
                "ca\u{301}fe\u{301} café CAFÉ ca\u{AD}fe",
                &["cafe", "cafe", "cafe", "cafe"],
            ),
            (
                "ﬁn zero\u{200B}width ½ ＡＢＣ １２",
                &["fin", "zerowidth", "1", "2", "abc", "12"],
            ),
            ("漢字x カナ", &["漢", "字", "x", "カ", "ナ"]),
            (
                "dogs' 'quoted' rock'n'roll",
                &["dogs", "quoted", "rocknroll"],
            ),
            (
                "abcdefghijklmnopqrstuvwxyz0123456789",
                &["abcdefghijklmnopqrstuvwxyz0123456789"],
            ),
            (
                "abcdefghijklmno abcdefghijklmnop",
                &["abcdefghijklmno", "abcdefghijklmnop"],
            ),
            (
                "İstanbul STRASSE straße",
                &["istanbul", "strasse", "straße"],
            ),
            ("", &[]),
            (" \n. ,", &[]),
        ] {
            assert_eq!(scan(text), hashed(words), "{text:?}");
        }
    }

    #[test]
    fn spans_point_into_the_text() {
        let text = " «Ça» 1,000; don't ﬁ漢 x, and so on until the chunk of 32 bytes is full";
        let words: Vec<&str> = spans(text)[..7]
            .iter()
            .map(|&(start, end)| &text[start as usize..end as usize])
            .collect();
        assert_eq!(words, ["Ça", "1,000", "don't", "ﬁ", "漢", "x", "and"]);
    }

    #[test]
    fn a_megabyte_of_marks_takes_no_square() {
        let began = std::time::Instant::now();
        scan(&("\u{5d0}".to_string() + &"\u{5b8}\u{5c1}".repeat(1 << 18)));
        assert!(began.elapsed().as_secs_f64() < 2.0);
    }

    proptest! {
        #[test]
        fn hashes_are_those_of_the_definition(text in r"(\PC|[a-z' .,0-9\u{301}漢]|[àçñüאָ한漢कि]|\u{5d0}\u{5c1}\u{5b8}){0,80}") {
            // A mark right behind an apostrophe, which no script writes, is read in another way.
            let bare = |rest: &str| !rest.starts_with(unicode_normalization::char::is_combining_mark);
            prop_assume!(text.split('\'').skip(1).all(bare));
            // Marks of a later Unicode than that of the classes separate words, before they are put in order.
            prop_assume!(text.chars().all(|c| canonical_combining_class(c) == 0 || chars::classes(c as u32) & MARK != 0));
            prop_assert_eq!(scan(&text), oracle(&text));
        }

        /// Typography does not matter: composed, decomposed, in capitals or with soft hyphens, words are the same.
        #[test]
        fn forms_of_one_text_have_the_same_words(text in "([a-zé0-9 .,']|[а-яάήα]|[àçñüאָ한漢]|\u{5d0}\u{5b8}\u{5c1}){0,60}") {
            let expected = scan(&text);
            prop_assert_eq!(&scan(&text.nfc().collect::<String>()), &expected);
            prop_assert_eq!(&scan(&text.nfd().collect::<String>()), &expected);
            prop_assert_eq!(&scan(&text.nfkd().collect::<String>()), &expected);
        }

        #[test]
        fn spans_rise_and_lie_on_characters(text in r"(\PC|[a-z' .,0-9\u{301}漢]){0,80}") {
            let seen = spans(&text);
            prop_assert_eq!(seen.len(), scan(&text).len());
            let mut last = 0;
            for (start, end) in seen {
                // Two words can come from one character: ½ is 1 and 2.
                prop_assert!(start < end && start >= last && text.is_char_boundary(start as usize));
                prop_assert!(text.is_char_boundary(end as usize));
                last = start;
            }
        }
    }
}
