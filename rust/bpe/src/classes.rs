//! What every code point is, in one byte: letter, number, white space, newline, upper- or lower-like.
//!
//! A two-stage table of 256-code-point blocks; equal blocks are stored once, so that 1,114,112 code points
//! take less than 100 KB and ASCII is the first block. The table is made from the same Unicode 16 data that the
//! regex engine uses, which is also what the `tokenizers` library (oniguruma) and `tiktoken` see: all three
//! agree on every code point, so scanner and pattern cannot drift apart.

use regex_syntax::hir::{Class as HirClass, HirKind};

/// `\p{L}`.
pub const LETTER: u8 = 1;
/// `\p{N}`.
pub const NUMBER: u8 = 2;
/// `\s`, which is White_Space, newlines included.
pub const SPACE: u8 = 4;
/// `[\r\n]`.
pub const NEWLINE: u8 = 8;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what can begin a word in patterns that look at case.
pub const UPPER: u8 = 16;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what can continue one.
pub const LOWER: u8 = 32;

/// Neither letter, number nor space: what patterns write as `[^\s\p{L}\p{N}]`.
pub const fn is_other(class: u8) -> bool {
    class & (LETTER | NUMBER | SPACE) == 0
}

const BLOCK: usize = 256;
const CODE_POINTS: usize = 0x11_0000;

/// The table; made once a pretokenizer (about 1 ms).
pub struct Classes {
    /// Code points of one and two bytes, read most.
    first: [u8; 0x800],
    /// Which characters of two and three bytes are letters, and which numbers or white space: a bit by the six bits of
    /// the last byte, two words by those before.
    by_prefix: Box<[[u64; 2]; 0x400]>,
    block_of: Vec<u16>,
    blocks: Vec<u8>,
}

impl Classes {
    pub fn new() -> Self {
        let mut flat = vec![0u8; CODE_POINTS];
        for (pattern, flags) in [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", SPACE),
            (r"[\r\n]", NEWLINE),
            (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", UPPER),
            (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", LOWER),
        ] {
            for (first, last) in ranges(pattern) {
                for class in &mut flat[first..=last] {
                    *class |= flags;
                }
            }
        }
        let mut first = [0u8; 0x800];
        first.copy_from_slice(&flat[..0x800]);
        let bits = |prefix: usize, flags: u8| {
            let bits = (0..64).map(|k| u64::from(flat[prefix << 6 | k] & flags != 0) << k);
            bits.fold(0, |word, bit| word | bit)
        };
        let both = |prefix| [bits(prefix, LETTER), bits(prefix, NUMBER | SPACE)];
        let by_prefix = Box::new(std::array::from_fn(both));
        let (mut block_of, mut blocks) = (Vec::new(), Vec::<u8>::new());
        for block in flat.chunks(BLOCK) {
            let known = blocks.chunks(BLOCK).position(|other| other == block);
            let index = known.unwrap_or(blocks.len() / BLOCK);
            if known.is_none() {
                blocks.extend_from_slice(block);
            }
            // At most 4,352 blocks exist, so the index always fits.
            block_of.push(index as u16);
        }
        Self {
            first,
            by_prefix,
            block_of,
            blocks,
        }
    }

    /// The class of the character that starts at `at`, and its length in bytes.
    ///
    /// On bytes that are not UTF-8 the answer is some class and a length that stays inside the text.
    #[inline(always)]
    pub fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        let first = text[at];
        if first < 0x80 {
            return (self.first[usize::from(first)], 1);
        }
        self.at_multibyte(text, at)
    }

    #[inline]
    fn at_multibyte(&self, text: &[u8], at: usize) -> (u8, usize) {
        let first = u32::from(text[at]);
        let byte = |k: usize| text.get(at + k).map_or(0, |&b| u32::from(b) & 0x3f);
        let (code_point, length) = match first {
            0xc0..0xe0 => {
                let class = self.first[((first & 0x1f) << 6 | byte(1)) as usize];
                return (class, 2.min(text.len() - at));
            }
            0xe0..0xf0 => ((first & 0x0f) << 12 | byte(1) << 6 | byte(2), 3),
            _ => (
                (first & 0x07) << 18 | byte(1) << 12 | byte(2) << 6 | byte(3),
                4,
            ),
        };
        let block = self
            .block_of
            .get((code_point >> 8) as usize)
            .copied()
            .unwrap_or(0);
        let class = self.blocks[usize::from(block) * BLOCK + (code_point & 0xff) as usize];
        (class, length.min(text.len() - at))
    }
}

impl Classes {
    /// Of the character of more than one byte at `at`, as 0 or 1: whether it is a letter, and whether it is neither
    /// letter nor symbol, has four bytes or reaches beyond `length`.
    #[inline(always)]
    pub fn letter_or_unknown(&self, text: &[u8; 64], at: usize, length: usize) -> (u64, u64) {
        let byte = |k: usize| text[(at + k) & 63];
        let (lead, second, third) = (byte(0), byte(1) & 0x3f, byte(2) & 0x3f);
        let is_two = lead < 0xe0;
        let last = if is_two { second } else { third };
        let [letters, unknown] = self.by_prefix(byte(0), byte(1));
        let is_unknown = lead >= 0xf0 || at + 3 - usize::from(is_two) > length;
        (
            letters >> last & 1,
            unknown >> last & 1 | u64::from(is_unknown),
        )
    }

    /// Which last bytes make a character of two or three bytes that begins with these a letter, and which a number or
    /// white space: a bit by their lowest six bits.
    #[inline(always)]
    pub fn by_prefix(&self, lead: u8, second: u8) -> [u64; 2] {
        let lead = usize::from(lead);
        self.by_prefix[if lead < 0xe0 {
            lead & 0x1f
        } else {
            (lead & 0xf) << 6 | usize::from(second & 0x3f)
        }]
    }

    /// How many of the first four characters, if each has two bytes, are letters before one that is none.
    ///
    /// `text` has at least 8 bytes. A character of another size counts as none.
    #[inline(always)]
    pub fn letters_of_two(&self, text: &[u8; 8]) -> usize {
        leading_ones(|nth| {
            let (lead, last) = (text[2 * nth], text[2 * nth + 1]);
            u64::from(lead & 0xe0 == 0xc0)
                & self.by_prefix[usize::from(lead & 0x1f)][0] >> (last & 0x3f)
        })
    }

    /// The same of three bytes.
    #[inline(always)]
    pub fn letters_of_three(&self, text: &[u8; 12]) -> usize {
        leading_ones(|nth| {
            let (lead, second, last) = (text[3 * nth], text[3 * nth + 1], text[3 * nth + 2]);
            let prefix = usize::from(lead & 0xf) << 6 | usize::from(second & 0x3f);
            u64::from(lead & 0xf0 == 0xe0) & self.by_prefix[prefix][0] >> (last & 0x3f)
        })
    }
}

/// How many of four bits are set before one that is not; without a branch, for where words end cannot be foreseen.
#[inline(always)]
fn leading_ones(bit: impl Fn(usize) -> u64) -> usize {
    let one = bit(0);
    let two = one & bit(1);
    let three = two & bit(2);
    (one + two + three + (three & bit(3))) as usize
}

/// The inclusive code point ranges of a character class, read from the regex engine's own tables.
fn ranges(class: &str) -> Vec<(usize, usize)> {
    let hir = regex_syntax::parse(class).expect("the class is a constant of this file");
    match hir.kind() {
        HirKind::Class(HirClass::Unicode(unicode)) => unicode
            .iter()
            .map(|r| (r.start() as usize, r.end() as usize))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(classes: &Classes, flag: u8) -> usize {
        (0..CODE_POINTS as u32)
            .filter_map(char::from_u32)
            .filter(|c| classes.at(c.to_string().as_bytes(), 0).0 & flag != 0)
            .count()
    }

    /// The counts that the `tokenizers` and `tiktoken` packages give when every code point is tried.
    /// Another version of Unicode would change pieces and so every token file: this must stop it.
    #[test]
    fn classes_are_those_of_unicode_16() {
        let classes = Classes::new();
        assert_eq!(count(&classes, LETTER), 141_028);
        assert_eq!(count(&classes, NUMBER), 1_911);
        assert_eq!(count(&classes, SPACE), 25);
        assert_eq!(count(&classes, NEWLINE), 2);
        assert_eq!(count(&classes, UPPER), 1_858 + 31 + 404 + 136_477 + 2_501);
        assert_eq!(count(&classes, LOWER), 2_258 + 404 + 136_477 + 2_501);
        assert!(classes.blocks.len() < 100_000, "{}", classes.blocks.len());
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_inside_the_text() {
        let classes = Classes::new();
        for text in [
            &[0xf0u8][..],
            &[0xff, 0xff],
            &[0xe4, 0xb8],
            &[0x80],
            &[0xf7, 0xbf, 0xbf, 0xbf],
        ] {
            assert!(classes.at(text, 0).1 <= text.len());
        }
    }
}
