//! Rules of the patterns that the scanners of one piece (`scan`) and of 64 bytes (`window`) share.

/// How numbers are split: as GPT-2 does, the whole run with the space before it.
pub const RUN: u8 = 0;
/// `\p{N}`: one by one.
pub const SINGLE: u8 = 1;
/// `\p{N}{1,3}`: groups of three from the left.
pub const LEFT: u8 = 3;
/// `\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`: groups of three from the right, as people write thousands.
pub const RIGHT: u8 = 4;

/// The end of `'s`, `'t`, `'m`, `'d`, `'re`, `'ve` or `'ll` at `at`; with `fold` in any case, where the
/// long s (U+017F) is an s too.
#[inline]
pub fn contraction(text: &[u8], at: usize, fold: bool) -> Option<usize> {
    let rest = &text[at..];
    if rest.first() != Some(&b'\'') {
        return None;
    }
    let lower = |k: usize| {
        rest.get(k).map(|byte| {
            if fold {
                byte.to_ascii_lowercase()
            } else {
                *byte
            }
        })
    };
    let length = match (lower(1)?, lower(2)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r', Some(b'e')) | (b'v', Some(b'e')) | (b'l', Some(b'l')) => 3,
        (0xc5, Some(0xbf)) if fold => 3,
        _ => return None,
    };
    Some(at + length)
}
