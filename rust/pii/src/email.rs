//! E-mail addresses: `name@domain.tld`.
//!
//! The name is 1 to 64 characters: letters and digits of any script that is written with spaces, and `. _ % + - '`
//! inside; the domain is dotted labels of ASCII letters, digits and hyphens, at most 253 bytes, and its last label
//! is two letters or more (or punycode). Not addresses: `@handle`, `@user@server`, `package@1.2.3`, `icon@2x.png`.

use curate_text::chars::{self, UNSPACED, WORD};

const MAX_NAME: usize = 64;
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;
const IMAGES: [&[u8]; 6] = [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp"];

/// The address around the `@` at `place`, which does not reach back beyond `floor`.
pub(crate) fn at(text: &[u8], place: usize, floor: usize) -> Option<(usize, usize)> {
    // The domain is looked at first: most lone signs fail on the byte that follows.
    let end = domain(text, place + 1)?;
    Some((name(text, place, floor)?, end))
}

fn name(text: &[u8], place: usize, floor: usize) -> Option<usize> {
    let mut start = place;
    let mut characters = 0;
    while start > floor {
        let Some(length) = name_character(&text[floor..start]) else {
            break;
        };
        start -= length;
        characters += 1;
        if characters > MAX_NAME {
            return None;
        }
    }
    if start > 0 && text[start - 1] == b'@' {
        return None;
    }
    // Quotes, dots and dashes before the name belong to the sentence.
    while start < place
        && !(text[start].is_ascii_alphanumeric() || text[start] == b'_' || text[start] >= 0x80)
    {
        start += 1;
    }
    (start < place && text[place - 1] != b'.').then_some(start)
}

/// Length of the last character of `text` if it can stand in a name.
fn name_character(text: &[u8]) -> Option<usize> {
    let last = *text.last()?;
    if last.is_ascii() {
        return (last.is_ascii_alphanumeric() || b"._%+-'".contains(&last)).then_some(1);
    }
    let first = text.iter().rposition(|byte| byte & 0xC0 != 0x80)?;
    let (code, length) = chars::decode(text, first);
    (chars::classes(code) & (WORD | UNSPACED) == WORD).then_some(length)
}

/// End of the longest domain that begins at `start`.
fn domain(text: &[u8], start: usize) -> Option<usize> {
    let text = &text[..text.len().min(start + MAX_DOMAIN)];
    let mut end = None;
    let mut label = start;
    loop {
        let rest = &text[label..];
        let length = rest
            .iter()
            .take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'-')
            .count();
        let hyphens = rest[..length]
            .iter()
            .rev()
            .take_while(|&&byte| byte == b'-')
            .count();
        let part = &rest[..length - hyphens];
        if part.is_empty() || part.len() > MAX_LABEL || part[0] == b'-' {
            return end;
        }
        let top = top_level(part);
        if label > start && is_top_level(top) && !is_image(&text[start..label - 1], top) {
            end = Some(label + top.len());
        }
        if hyphens > 0 || rest.get(length) != Some(&b'.') {
            return end;
        }
        label += length + 1;
    }
}

/// What of a label can be the end of a domain: `a@b.com-thanks` holds `a@b.com`.
fn top_level(label: &[u8]) -> &[u8] {
    let hyphen = label
        .iter()
        .position(|&byte| byte == b'-')
        .filter(|_| !label.starts_with(b"xn--"));
    &label[..hyphen.unwrap_or(label.len())]
}

fn is_top_level(label: &[u8]) -> bool {
    (label.len() >= 2 && label.iter().all(u8::is_ascii_alphabetic))
        || (label.len() > 4 && label.starts_with(b"xn--"))
}

/// `icon@2x.png` is a picture for dense screens.
fn is_image(before: &[u8], label: &[u8]) -> bool {
    matches!(before, [b'0'..=b'9', b'x' | b'X', ..])
        && IMAGES.iter().any(|kind| label.eq_ignore_ascii_case(kind))
}
