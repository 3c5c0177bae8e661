//! Seven-bit encodings that shift between ASCII and a table of two bytes a character: ISO-2022-KR and HZ-GB-2312.
//!
//! The Encoding Standard has neither, because shifts can hide markup from a filter; here the text is only read. Both
//! are their eight-bit relatives (EUC-KR, GB18030) with the high bits left out between the shifts.

use encoding_rs::{EUC_KR, Encoding, GB18030};

/// The line that announces ISO-2022-KR.
const KOREAN: &[u8] = b"\x1b$)C";
const SHIFT_OUT: u8 = 0x0E;
const SHIFT_IN: u8 = 0x0F;
/// Undeclared HZ needs this many characters between its shifts: `~{` alone may be anything.
const MIN_HZ_CHARACTERS: usize = 8;

/// A page in ISO-2022-KR, which says so by its escape sequence; None for any other.
pub fn iso_2022_kr(page: &[u8]) -> Option<String> {
    memchr::memmem::find(page, KOREAN)?;
    if !page.is_ascii() || !page.contains(&SHIFT_OUT) {
        return None;
    }
    let (mut wide, mut shifted) = (Vec::with_capacity(page.len()), false);
    let mut rest = page;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0x1b if after.starts_with(&KOREAN[1..]) => rest = &after[KOREAN.len() - 1..],
            SHIFT_OUT => shifted = true,
            SHIFT_IN => shifted = false,
            b'\n' => {
                shifted = false; // a line begins in ASCII
                wide.push(byte);
            }
            _ if shifted && byte > b' ' => wide.push(byte | 0x80),
            _ => wide.push(byte),
        }
    }
    whole(EUC_KR, &wide)
}

/// A page in HZ-GB-2312 that says so (`declared`), or has enough text between `~{` and `~}` that is nothing else.
pub fn hz(page: &[u8], declared: bool) -> Option<String> {
    memchr::memmem::find(page, b"~{")?;
    if !page.is_ascii() {
        return None;
    }
    let (mut wide, mut characters) = (Vec::with_capacity(page.len()), 0);
    let mut rest = page;
    while let Some(at) = memchr::memchr(b'~', rest) {
        wide.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.first() {
            Some(b'{') => {
                let pairs = pairs(&rest[1..])?;
                characters += pairs.len() / 2;
                wide.extend(pairs.iter().map(|byte| byte | 0x80));
                rest = &rest[1 + pairs.len() + 2..];
            }
            Some(b'~') => {
                wide.push(b'~');
                rest = &rest[1..];
            }
            Some(b'\n') => rest = &rest[1..],
            _ => wide.push(b'~'),
        }
    }
    wide.extend_from_slice(rest);
    if characters == 0 || !declared && characters < MIN_HZ_CHARACTERS {
        return None;
    }
    whole(GB18030, &wide)
}

/// The bytes up to `~}`, where they are pairs of the rows of GB 2312.
fn pairs(text: &[u8]) -> Option<&[u8]> {
    let (rows, _) = text.as_chunks::<2>();
    let is_pair =
        |pair: &&[u8; 2]| (0x21..0x78).contains(&pair[0]) && (0x21..0x7F).contains(&pair[1]);
    let n = rows.iter().take_while(is_pair).count() * 2;
    text[n..].starts_with(b"~}").then_some(&text[..n])
}

fn whole(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}
