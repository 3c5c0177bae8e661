//! Characters by class and script, from one histogram of the bytes; those that are not ASCII are looked at one by one.

use std::sync::LazyLock;

use curate_text::chars::{self, ALPHA, SPACE, UPPER, WORD};
use regex_syntax::hir::{Class, HirKind};

use crate::measures::Values;
use crate::share;

/// Counts of one text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Characters {
    pub all: usize,
    pub spaces: usize,
    pub newlines: usize,
    pub hashes: usize,
    /// A line break that is not ASCII: U+0085, U+2028, U+2029.
    pub odd_breaks: bool,
}

impl Characters {
    pub fn measure(text: &str, ascii: bool, values: &mut Values) -> Self {
        let bytes = text.as_bytes();
        let counts = histogram(bytes);
        let of = |from: u8, to: u8| {
            counts[from as usize..=to as usize]
                .iter()
                .map(|&n| n as usize)
                .sum::<usize>()
        };
        let mut upper = of(b'A', b'Z');
        let mut digits = of(b'0', b'9');
        let mut letters = upper + of(b'a', b'z');
        let mut found = Self {
            all: bytes.len() - of(0x80, 0xBF),
            spaces: of(9, 13) + of(0x1C, 0x20),
            newlines: of(b'\n', b'\n'),
            hashes: of(b'#', b'#'),
            odd_breaks: false,
        };
        let parentheses = of(b'(', b')');
        let (mut scripts, mut styled, mut odd_styled) = ([0_usize; N_SCRIPTS], 0, 0);
        scripts[LATIN] = letters;
        if !ascii {
            for code in others(bytes) {
                let class = chars::classes(code);
                if class & ALPHA != 0 {
                    scripts[script(code)] += 1;
                }
                if is_styled(code) {
                    styled += 1;
                    odd_styled += usize::from(class & ALPHA == 0);
                }
                upper += usize::from(class & UPPER != 0);
                letters += usize::from(class & ALPHA != 0);
                digits += usize::from(class & (ALPHA | WORD) == WORD);
                found.spaces += usize::from(class & SPACE != 0);
                found.odd_breaks |= matches!(code, 0x85 | 0x2028 | 0x2029);
            }
        }
        values.n_chars = found.all as f64;
        values.uppercase_share = share(upper, found.all);
        values.digit_share = share(digits, found.all);
        values.whitespace_share = share(found.spaces, found.all);
        let rest = found.all - letters - digits - found.spaces;
        values.non_alnum_share = share(rest, found.all);
        values.parenthesis_share = share(parentheses, found.all);
        values.main_script_share = share(scripts.into_iter().max().unwrap_or(0), letters);
        values.styled_letter_share = share(styled, letters + odd_styled);
        found
    }
}

const LATIN: usize = 0;
const N_SCRIPTS: usize = 64;

/// A number of the script that a letter belongs to, by its block. Han and Kana are one, since Japanese mixes them.
fn script(code: u32) -> usize {
    match code {
        0..=0x24F | 0x250..=0x2AF | 0x1D00..=0x1DBF | 0x1E00..=0x1EFF | 0x2100..=0x214F => LATIN,
        0x2C60..=0x2C7F | 0xA720..=0xA7FF | 0xAB30..=0xAB6F | 0xFB00..=0xFB06 => LATIN,
        0xFF21..=0xFF5A | 0x1D400..=0x1D7FF => LATIN,
        0x370..=0x3FF | 0x1F00..=0x1FFF => 1,
        0x400..=0x52F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => 2,
        0x530..=0x58F | 0xFB13..=0xFB17 => 3,
        0x590..=0x5FF | 0xFB1D..=0xFB4F => 4,
        0x600..=0x6FF | 0x750..=0x77F | 0x870..=0x8FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFF => 5,
        0x10A0..=0x10FF | 0x1C90..=0x1CBF | 0x2D00..=0x2D2F => 6,
        0x1100..=0x11FF | 0x3130..=0x318F | 0xA960..=0xA97F | 0xAC00..=0xD7FF => 7,
        0x1200..=0x139F | 0x2D80..=0x2DDF => 8,
        0x13A0..=0x13FF | 0xAB70..=0xABBF => 9,
        0x3005..=0x3007 | 0x3040..=0x312F | 0x31F0..=0x31FF | 0x3400..=0x9FFF => 10,
        0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x1AFF0..=0x1B16F | 0x20000..=0x3FFFF => 10,
        // From Devanagari to Khmer every half block of 256 is a script; what is left shares numbers.
        0x700..=0xFFF => 11 + (code as usize - 0x700) / 0x80,
        _ => 30 + (code as usize >> 8) % (N_SCRIPTS - 30),
    }
}

/// Whether a character stands for a Latin letter in another style: bold, full-width, circled, small capital.
fn is_styled(code: u32) -> bool {
    matches!(
        code,
        0x1D00..=0x1D2B
            | 0x249C..=0x24E9
            | 0xFF21..=0xFF3A
            | 0xFF41..=0xFF5A
            | 0x1D400..=0x1D7CB
            | 0x1F110..=0x1F169
            | 0x1F170..=0x1F189
    )
}

/// How often each byte occurs. Four tables, so that equal bytes in a row need not wait for one another.
fn histogram(bytes: &[u8]) -> [u32; 256] {
    let mut tables = [[0_u32; 256]; 4];
    let (fours, rest) = bytes.as_chunks::<4>();
    for four in fours {
        for (table, &byte) in tables.iter_mut().zip(four) {
            table[byte as usize] += 1;
        }
    }
    for &byte in rest {
        tables[0][byte as usize] += 1;
    }
    std::array::from_fn(|byte| tables.iter().map(|table| table[byte]).sum())
}

/// The characters that are not ASCII, in order.
pub(crate) fn others(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let mut place = 0;
    std::iter::from_fn(move || {
        place += high(&bytes[place..])?;
        let (code, length) = chars::decode(bytes, place);
        place += length;
        Some(code)
    })
}

/// The place of the first byte that is not ASCII; eight are looked at at once.
fn high(bytes: &[u8]) -> Option<usize> {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let high = u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080;
        if high != 0 {
            return Some(number * 8 + high.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|&byte| byte >= 0x80)?;
    Some(eights.len() * 8 + place)
}

/// Ranges of code points, sorted.
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Those of a class such as `\p{P}`; the pattern is one of ours and has one.
    fn of(pattern: &str) -> Self {
        let parsed = regex_syntax::parse(pattern);
        match parsed.as_ref().map(regex_syntax::hir::Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => Self(
                class
                    .iter()
                    .map(|range| (range.start() as u32, range.end() as u32))
                    .collect(),
            ),
            _ => unreachable!("{pattern} is no class of characters"),
        }
    }

    fn has(&self, code: u32) -> bool {
        let place = self.0.partition_point(|range| range.1 < code);
        self.0.get(place).is_some_and(|range| range.0 <= code)
    }
}

/// Whether a character ends sentences: Sentence_Terminal of Unicode 16, and three Khmer signs that datatrove adds.
pub(crate) fn is_terminal(code: u32) -> bool {
    static TERMINAL: LazyLock<Ranges> =
        LazyLock::new(|| Ranges::of(r"[\p{Sentence_Terminal}\u{17D6}\u{17D9}\u{17DA}]"));
    match code {
        0..0x80 => matches!(code as u8, b'.' | b'!' | b'?'),
        _ => TERMINAL.has(code),
    }
}

/// Whether a character is punctuation (category P).
pub(crate) fn is_punctuation(code: u32) -> bool {
    static PUNCTUATION: LazyLock<Ranges> = LazyLock::new(|| Ranges::of(r"\p{P}"));
    match code {
        0..0x80 => {
            let byte = code as u8;
            byte.is_ascii_punctuation()
                && !matches!(
                    byte,
                    b'$' | b'+' | b'<' | b'=' | b'>' | b'^' | b'`' | b'|' | b'~'
                )
        }
        _ => PUNCTUATION.has(code),
    }
}

/// Whether datatrove's word count takes a character for a symbol: ASCII punctuation and control characters but tab
/// and newline, terminal marks, and these few.
pub(crate) fn is_symbol(code: u32) -> bool {
    match code {
        9 | 10 => false,
        0..0x20 | 0x7F..0xA0 => true,
        0x20..0x7F => (code as u8).is_ascii_punctuation(),
        0xAB
        | 0xB4
        | 0xBB
        | 0x2013
        | 0x2014
        | 0x2019
        | 0x201C..=0x201E
        | 0x2026
        | 0x2236
        | 0x2501
        | 0x25BA
        | 0x3001
        | 0x3002
        | 0x3008..=0x300D
        | 0x3010
        | 0x3011
        | 0xFF01
        | 0xFF05
        | 0xFF08
        | 0xFF09
        | 0xFF0C
        | 0xFF0E
        | 0xFF11
        | 0xFF1A
        | 0xFF1B
        | 0xFF1F
        | 0xFF5E => true,
        _ => is_terminal(code),
    }
}

/// The last character of a text.
pub(crate) fn last(text: &str) -> Option<u32> {
    text.chars().next_back().map(u32::from)
}
