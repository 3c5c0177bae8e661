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
    ascii: [u8; 128],
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
        let mut ascii = [0u8; 128];
        ascii.copy_from_slice(&flat[..128]);
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
            ascii,
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
            return (self.ascii[usize::from(first)], 1);
        }
        self.at_multibyte(text, at)
    }

    #[inline]
    fn at_multibyte(&self, text: &[u8], at: usize) -> (u8, usize) {
        let first = u32::from(text[at]);
        let byte = |k: usize| text.get(at + k).map_or(0, |&b| u32::from(b) & 0x3f);
        let (code_point, length) = match first {
            0xc0..0xe0 => ((first & 0x1f) << 6 | byte(1), 2),
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
