//! Character classes and lower-casing as CPython 3.11 sees them, frozen at Unicode 14.0.
//!
//! A two-stage table: 8,704 block numbers (code point >> 7), then blocks of 128 class bytes. The file is
//! written by `unicode/generate.py` and never changes, since word hashes are stored.

use std::sync::LazyLock;

/// A character of `\w`: `str.isalnum()` or an underscore.
pub const WORD: u8 = 1;
/// `str.isalpha()`.
pub const ALPHA: u8 = 2;
/// `str.isspace()`, which is what `str.split()` and `str.strip()` go by.
pub const SPACE: u8 = 4;
/// A character of a script written without spaces: Han, Kana, Thai, Lao, Khmer, Myanmar.
pub const UNSPACED: u8 = 8;
/// Its lower-case form is another character.
pub const CASED: u8 = 16;
/// `str.isupper()`.
pub const UPPER: u8 = 32;
/// A combining mark (category M).
pub const MARK: u8 = 64;

static TABLE: &[u8] = include_bytes!("unicode14.bin");
const INDEX: usize = 8;
const BLOCKS: usize = INDEX + 0x110000 / 128;

/// The classes of a code point, as a set of the bits above.
#[inline]
pub fn classes(code: u32) -> u8 {
    let block = TABLE[INDEX + (code >> 7) as usize] as usize;
    TABLE[BLOCKS + block * 128 + (code & 127) as usize]
}

/// The simple lower-case mapping, one code point for one: İ becomes i, a final Σ becomes σ.
#[inline]
pub fn lower(code: u32) -> u32 {
    if code < 128 {
        return if matches!(code, 0x41..=0x5A) {
            code | 0x20
        } else {
            code
        };
    }
    if classes(code) & CASED == 0 {
        code
    } else {
        lower_cased(code)
    }
}

/// `lower` for a code point that has the class `CASED`.
#[inline(never)]
fn lower_cased(code: u32) -> u32 {
    let (pairs, _) = TABLE[BLOCKS + u32_at(0) as usize * 128..].as_chunks::<8>();
    let key = |pair: &[u8; 8]| u32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]);
    match pairs.binary_search_by_key(&code, key) {
        Ok(place) => {
            let pair = pairs[place];
            u32::from_le_bytes([pair[4], pair[5], pair[6], pair[7]])
        }
        Err(_) => code,
    }
}

fn u32_at(place: usize) -> u32 {
    u32::from_le_bytes([
        TABLE[place],
        TABLE[place + 1],
        TABLE[place + 2],
        TABLE[place + 3],
    ])
}

/// The character that begins at `place` and its length in bytes. The text must be UTF-8 and `place` a boundary.
#[inline]
pub fn decode(text: &[u8], place: usize) -> (u32, usize) {
    let first = u32::from(text[place]);
    let next = |i: usize| u32::from(text[place + i] & 0x3F);
    match first {
        0..=0x7F => (first, 1),
        0x80..=0xDF => ((first & 0x1F) << 6 | next(1), 2),
        0xE0..=0xEF => ((first & 0x0F) << 12 | next(1) << 6 | next(2), 3),
        _ => (
            (first & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3),
            4,
        ),
    }
}

/// A character of two bytes: U+0080 to U+07FF.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair {
    /// Its classes.
    pub classes: u8,
    /// Whether it belongs to words and its lower-case form has another length.
    pub resized: bool,
    /// Its lower-case form, or itself where that has another length.
    pub lower: [u8; 2],
}

/// All characters of two bytes, at their code points: one look-up in 8 KB. None of them is `UNSPACED`.
pub fn pairs() -> &'static [Pair; 2048] {
    static PAIRS: LazyLock<[Pair; 2048]> = LazyLock::new(|| {
        std::array::from_fn(|code| {
            let (first, second) = (0xC0 | (code >> 6) as u8, 0x80 | (code & 0x3F) as u8);
            let classes = classes(code as u32);
            let (mut pair, mut buffer) = (Pair::default(), [0; 4]);
            (pair.classes, pair.lower) = (classes, [first, second]);
            let lowered =
                char::from_u32(lower(code as u32)).map(|c| c.encode_utf8(&mut buffer).len());
            match lowered {
                Some(2) => pair.lower.copy_from_slice(&buffer[..2]),
                _ => pair.resized = classes & (WORD | CASED) == WORD | CASED,
            }
            pair
        })
    });
    &PAIRS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_python() {
        let of = |c: char| classes(c as u32);
        assert_eq!(of('_'), WORD);
        assert_eq!(of('A'), WORD | ALPHA | CASED | UPPER);
        assert_eq!(of('½'), WORD);
        assert_eq!(of('\u{1c}'), SPACE);
        assert_eq!(of('\u{301}'), MARK, "re's \\w has no combining marks");
        assert_eq!(of('漢') & (WORD | UNSPACED), WORD | UNSPACED);
        assert_eq!(of('ー') & (WORD | UNSPACED), WORD | UNSPACED);
        assert_eq!(
            of('ั') & (WORD | UNSPACED),
            UNSPACED,
            "a Thai vowel sign is no word"
        );
        assert_eq!(of('한') & UNSPACED, 0, "Korean has spaces");
    }

    #[test]
    fn lower_casing_is_one_for_one() {
        let pairs = [
            ('A', 'a'),
            ('z', 'z'),
            ('[', '['),
            ('Σ', 'σ'),
            ('İ', 'i'),
            ('Ⱥ', 'ⱥ'),
            ('ß', 'ß'),
            ('𐐀', '𐐨'),
        ];
        for (upper, expected) in pairs {
            assert_eq!(
                char::from_u32(lower(upper as u32)),
                Some(expected),
                "{upper}"
            );
        }
    }

    #[test]
    fn one_bit_says_all_about_the_common_han() {
        assert!((0x4E00..0xA000).all(|code| classes(code) == WORD | ALPHA | UNSPACED));
    }

    #[test]
    fn pairs_are_the_classes_and_lower_case_of_two_bytes() {
        for code in 0x80..0x800_u32 {
            let pair = pairs()[code as usize];
            assert_eq!(pair.classes, classes(code));
            assert_eq!(pair.classes & UNSPACED, 0);
            let lower = char::from_u32(lower(code)).unwrap().to_string();
            let same_size = lower.len() == 2;
            let itself = char::from_u32(code).unwrap().to_string();
            assert_eq!(
                pair.lower,
                (if same_size { lower } else { itself }).as_bytes()
            );
            assert_eq!(
                pair.resized,
                !same_size && classes(code) & WORD != 0,
                "{code:x}"
            );
        }
    }

    #[test]
    fn decoding_inverts_encoding() {
        for c in ['a', 'é', '漢', '𐐀', '\u{10FFFF}', '\u{800}', '\u{7F}'] {
            let text = format!("x{c}y");
            assert_eq!(decode(text.as_bytes(), 1), (c as u32, c.len_utf8()));
        }
    }
}
