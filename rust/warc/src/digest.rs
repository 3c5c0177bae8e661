//! Digests of records, as WARC headers give them: `sha1:` or `sha256:` and base 32 or hex digits.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Whether `declared` is the digest of `bytes`; none where it is of no kind known here.
pub fn agrees(declared: &[u8], bytes: &[u8]) -> Option<bool> {
    let colon = memchr::memchr(b':', declared)?;
    let (name, text) = (&declared[..colon], declared[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"sha1") || name.eq_ignore_ascii_case(b"sha-1") {
        return Some(decoded(text, 20)? == Sha1::digest(bytes)[..]);
    }
    if name.eq_ignore_ascii_case(b"sha256") || name.eq_ignore_ascii_case(b"sha-256") {
        return Some(decoded(text, 32)? == Sha256::digest(bytes)[..]);
    }
    None
}

/// A digest of `size` bytes from hex digits or base 32; none where it is neither.
fn decoded(text: &[u8], size: usize) -> Option<Vec<u8>> {
    let (bits, text) = if text.len() == 2 * size {
        (4, text)
    } else {
        let end = text.iter().position(|b| *b == b'=').unwrap_or(text.len());
        (5, &text[..end])
    };
    let mut bytes = Vec::with_capacity(size);
    let (mut held, mut have) = (0_u32, 0);
    for symbol in text {
        let value = match (bits, symbol.to_ascii_uppercase()) {
            (4, digit) => (digit as char).to_digit(16)?,
            (_, letter @ b'A'..=b'Z') => u32::from(letter - b'A'),
            (_, digit @ b'2'..=b'7') => u32::from(digit - b'2') + 26,
            _ => return None,
        };
        held = (held << bits | value) & 0xffff;
        have += bits;
        if have >= 8 {
            have -= 8;
            bytes.push((held >> have) as u8);
        }
    }
    (bytes.len() == size).then_some(bytes)
}
