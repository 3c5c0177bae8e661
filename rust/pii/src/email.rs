//! E-mail addresses: `name@domain.tld`.
//!
//! The name is up to 256 bytes of letters and digits of any script, `. _ % + - '` and the other characters of RFC 5322,
//! or a quoted text; the domain is dotted labels of letters, digits and hyphens of any script, at most 253 bytes, and
//! its last label is two letters or more (or punycode). What stands beside an address is left out: the rest of a URL
//! or of its query, words of a script without spaces, `key=`. Not addresses: `@handle`, `@user@server`,
//! `package@1.2.3`, `icon@2x.png`, `git@host:path`.

use curate_text::chars::{self, ALPHA, MARK, UNSPACED, WORD};

/// Bytes of a name; RFC 5321 allows 64, and mailing lists write more.
const MAX_NAME: usize = 256;
/// Characters of a script without spaces that a name may end with.
const MAX_UNSPACED: usize = 16;
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;
const IMAGES: [&[u8]; 6] = [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp"];
/// Users of repositories, whom many share.
const SHARED: [&[u8]; 3] = [b"git", b"hg", b"svn"];

/// The address around the `@` at `place`, which does not reach back beyond `floor`.
pub(crate) fn at(text: &[u8], place: usize, floor: usize) -> Option<(usize, usize)> {
    // The domain is looked at first: most lone signs fail on the byte that follows.
    let domain = domain(text, place + 1)?;
    let start =
        quoted(text, place, floor).or_else(|| name(text, place, floor, domain.international))?;
    let remote = text.get(domain.end) == Some(&b':')
        && text.get(domain.end + 1).is_some_and(|&byte| byte > b' ');
    if remote && SHARED.contains(&&text[start..place]) {
        return None;
    }
    Some((start, domain.end))
}

// -- the name -----------------------------------------------------------------------------------------------

/// Where a name in quotation marks begins: `"jane doe"@example.com`.
fn quoted(text: &[u8], place: usize, floor: usize) -> Option<usize> {
    let end = place
        .checked_sub(1)
        .filter(|&end| end > floor && text[end] == b'"')?;
    let window = &text[floor.max(end.saturating_sub(MAX_NAME))..end];
    let inside = window
        .iter()
        .rev()
        .take_while(|&&byte| byte != b'"' && byte >= b' ')
        .count();
    let start = end
        .checked_sub(inside + 1)
        .filter(|&start| start >= floor && text[start] == b'"')?;
    let apart = start == 0 || !(text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'=');
    (inside > 0 && apart).then_some(start)
}

fn name(text: &[u8], place: usize, floor: usize, international: bool) -> Option<usize> {
    let last = *text.get(place.checked_sub(1)?)?;
    if place == floor || last == b'.' || is_unusual(last) {
        return None;
    }
    // `张三@例子.公司` stands between words that no space sets apart; where the name is of another script, it ends
    // where that script begins.
    let unspaced = international && class_before(&text[floor..place]).0 & UNSPACED != 0;
    let (mut start, mut foreign) = (place, 0);
    while start > floor {
        let byte = text[start - 1];
        if byte.is_ascii() {
            if !(is_usual(byte) || is_unusual(byte)) {
                break;
            }
            start -= 1;
        } else {
            let (classes, length) = class_before(&text[floor..start]);
            let foreigner = classes & UNSPACED != 0;
            if classes & (WORD | MARK) == 0 || foreigner && (!unspaced || foreign == MAX_UNSPACED) {
                break;
            }
            foreign += usize::from(foreigner);
            start -= length;
        }
        if place - start > MAX_NAME {
            return None;
        }
    }
    if start > 0 && text[start - 1] == b'@' {
        return None;
    }
    start += begin(&text[start..place]);
    // Quotes, dots and dashes before the name belong to the sentence.
    while start < place
        && !(text[start].is_ascii_alphanumeric() || matches!(text[start], b'_' | b'/' | 0x80..))
    {
        start += 1;
    }
    let path = text.get(start) == Some(&b'/') && !text[start..place].contains(&b'=');
    start += usize::from(path);
    (start < place).then_some(start)
}

/// Characters that names have as a rule.
fn is_usual(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte)
}

/// Characters that a name may have, and that mostly stand beside one.
fn is_unusual(byte: u8) -> bool {
    b"&/=!#$~?*^`{|}".contains(&byte)
}

/// Classes of the last character of `text`, and its length; none at the beginning.
fn class_before(text: &[u8]) -> (u8, usize) {
    let Some(first) = text.iter().rposition(|byte| byte & 0xC0 != 0x80) else {
        return (0, 1);
    };
    let (code, length) = chars::decode(text, first);
    (chars::classes(code), length)
}

/// Where in `run`, all that could be a name before the sign, the name begins.
fn begin(run: &[u8]) -> usize {
    let after = |found: Option<usize>| found.map_or(0, |place| place + 1);
    let mut start = after(run.iter().rposition(|byte| b"?*^`{|}".contains(byte)));
    // `/G=Jane/S=Doe/O=Org@example.com` is a name of X.400.
    let rest = &run[start..];
    if rest.len() > 2 && rest[0] == b'/' && rest[1].is_ascii_alphabetic() && rest[2] == b'=' {
        return start;
    }
    if let Some(place) = rest.iter().rposition(|&byte| byte == b'=') {
        let (key, value) = (&rest[..place], &rest[place + 1..]);
        // `bounce-12-jane=example.com` is a name that carries another address; `mail=jane` is a key and a value.
        let carried = key.iter().any(|byte| b"+-".contains(byte))
            && !key.contains(&b'&')
            && ends_as_domain(value);
        if !carried {
            start += place + 1;
        }
    }
    let rest = &run[start..];
    let slashes = rest.iter().filter(|&&byte| byte == b'/').count();
    let host = rest
        .iter()
        .position(|&byte| byte == b'/')
        .is_some_and(|first| rest[..first].contains(&b'.'));
    if slashes > 2 || host || rest.windows(2).any(|two| two == b"//") {
        start += after(rest.iter().rposition(|&byte| byte == b'/'));
    }
    start
}

fn ends_as_domain(value: &[u8]) -> bool {
    let dot = value.iter().rposition(|&byte| byte == b'.');
    dot.is_some_and(|dot| dot > 0 && is_top_level(&value[dot + 1..]))
}

// -- the domain ---------------------------------------------------------------------------------------------

struct Domain {
    end: usize,
    /// It has letters that are not ASCII.
    international: bool,
}

/// The longest domain that begins at `start`.
fn domain(text: &[u8], start: usize) -> Option<Domain> {
    let text = &text[..text.len().min(start + MAX_DOMAIN)];
    let mut end = None;
    let (mut place, mut numeric) = (start, true);
    loop {
        let label = &text[place..place + label_length(&text[place..])];
        let hyphens = label.iter().rev().take_while(|&&byte| byte == b'-').count();
        let part = &label[..label.len() - hyphens];
        if part.is_empty()
            || part.len() > MAX_LABEL * (1 + usize::from(!part.is_ascii()))
            || part[0] == b'-'
        {
            break;
        }
        // Two numbers first are a version: package@1.2.3-beta.rc.
        numeric &= part.iter().all(u8::is_ascii_digit);
        if numeric && place > start {
            return None;
        }
        let top = top_level(part);
        if place > start && !top.is_empty() && !is_image(&text[start..place - 1], top) {
            end = Some(place + top.len());
        }
        let mixed = part.iter().any(u8::is_ascii_alphanumeric)
            && !part.is_ascii()
            && top.is_ascii()
            && !top.is_empty();
        if hyphens > 0 || text.get(place + label.len()) != Some(&b'.') || mixed {
            break;
        }
        place += label.len() + 1;
    }
    let end = end?;
    Some(Domain {
        end,
        international: !text[start..end].is_ascii(),
    })
}

/// Bytes of the label that `text` begins with: letters, digits, marks and hyphens.
fn label_length(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(&byte) = text.get(length) {
        if byte.is_ascii() {
            if !byte.is_ascii_alphanumeric() && byte != b'-' {
                break;
            }
            length += 1;
            continue;
        }
        // The text may be cut inside a character.
        let size = text[length..]
            .iter()
            .skip(1)
            .take_while(|&&byte| byte & 0xC0 == 0x80)
            .count()
            + 1;
        let whole = size == byte.leading_ones() as usize;
        if !whole || chars::classes(chars::decode(text, length).0) & (WORD | MARK) == 0 {
            break;
        }
        length += size;
    }
    length
}

/// What of a label can be the end of a domain, and is empty if nothing can: `com` of `com-thanks` and of `com谢谢`.
fn top_level(label: &[u8]) -> &[u8] {
    let is_ascii = label[0].is_ascii();
    let cut = if is_ascii {
        let hyphen = label
            .iter()
            .position(|&byte| byte == b'-')
            .filter(|_| !label.starts_with(b"xn--"));
        let label = &label[..hyphen.unwrap_or(label.len())];
        // Latin letters with accents belong to the word; others begin another one.
        let latin = label.iter().all(|&byte| byte < 0xCA);
        if latin {
            label.len()
        } else {
            label.iter().take_while(|byte| byte.is_ascii()).count()
        }
    } else {
        let mut cut = 0;
        while cut < label.len() && !label[cut].is_ascii() {
            let (code, length) = chars::decode(label, cut);
            if chars::classes(code) & (ALPHA | MARK) == 0 {
                break;
            }
            cut += length;
        }
        cut
    };
    if is_top_level(&label[..cut]) {
        &label[..cut]
    } else {
        &label[..0]
    }
}

fn is_top_level(label: &[u8]) -> bool {
    if !label.is_ascii() {
        return label.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() >= 2;
    }
    (label.len() >= 2 && label.iter().all(u8::is_ascii_alphabetic))
        || (label.len() > 4 && label.starts_with(b"xn--"))
}

/// `icon@2x.png` is a picture for dense screens.
fn is_image(before: &[u8], label: &[u8]) -> bool {
    let dense = before.first().is_some_and(u8::is_ascii_digit)
        && before.iter().any(|byte| matches!(byte, b'x' | b'X'));
    dense && IMAGES.iter().any(|kind| label.eq_ignore_ascii_case(kind))
}
