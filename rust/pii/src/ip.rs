//! Public IP addresses: globally routable by the registries of IANA.
//!
//! IPv4 is four decimal numbers of 0 to 255 without leading zeros, not part of a longer dotted number, and not
//! after the word version, release or the like; `1.2.3.4` alone is taken for an address. IPv6 is what RFC 4291
//! writes, within 2000::/3. Private, loopback, link-local, documentation, benchmark, multicast and reserved
//! addresses name nobody and stay.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Words after which four numbers are a version, in lower case.
const VERSION_WORDS: [&[u8]; 8] = [
    b"v",
    b"ver",
    b"version",
    b"versions",
    b"release",
    b"build",
    b"firmware",
    b"section",
];
/// The longest form of an IPv6 address, with an IPv4 address at its end.
const MAX_V6: usize = 45;

/// The public address that begins with the digit at `place`.
pub(crate) fn at(text: &[u8], place: usize) -> Option<(usize, usize)> {
    let before = place.checked_sub(1).map(|before| text[before]);
    if before
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"._:".contains(&byte) || byte >= 0x80)
    {
        return None;
    }
    let end = v4(text, place).or_else(|| v6(text, place))?;
    Some((place, end))
}

fn v4(text: &[u8], start: usize) -> Option<usize> {
    let mut place = start;
    let mut octets = [0; 4];
    for (i, octet) in octets.iter_mut().enumerate() {
        if i > 0 {
            place += usize::from(*text.get(place)? == b'.');
        }
        let digits = text[place..]
            .iter()
            .take(4)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = &text[place..place + digits];
        if digits == 0 || digits > 3 || (digits > 1 && number[0] == b'0') {
            return None;
        }
        let value = number
            .iter()
            .fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
        *octet = u8::try_from(value).ok()?;
        place += digits;
        if i < 3 && text.get(place) != Some(&b'.') {
            return None;
        }
    }
    let dotted_on = text.get(place) == Some(&b'.')
        && text.get(place + 1).is_some_and(u8::is_ascii_alphanumeric);
    if dotted_on || !ends_number(text, place) || follows_version_word(text, start) {
        return None;
    }
    is_public_v4(Ipv4Addr::from(octets)).then_some(place)
}

/// Whether nothing that belongs to the same number or name stands at `place`.
fn ends_number(text: &[u8], place: usize) -> bool {
    text.get(place)
        .is_none_or(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'))
}

fn follows_version_word(text: &[u8], start: usize) -> bool {
    let window = &text[start.saturating_sub(16)..start];
    let trimmed = window.trim_ascii_end();
    let trimmed = trimmed
        .strip_suffix(b".")
        .or(trimmed.strip_suffix(b":"))
        .unwrap_or(trimmed);
    let letters = trimmed
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let word = &trimmed[trimmed.len() - letters..];
    VERSION_WORDS
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// By the special-purpose registry of IPv4 (RFC 6890 and later), without multicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xC0 == 64;
    let assigned = a == 192 && b == 0 && c == 0;
    let benchmark = a == 198 && b & 0xFE == 18;
    !(a == 0
        || a >= 224
        || shared
        || assigned
        || benchmark
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn v6(text: &[u8], start: usize) -> Option<usize> {
    // 2000::/3 always writes four hexadecimal digits first.
    if !matches!(text[start], b'2' | b'3') || text.get(start + 4) != Some(&b':') {
        return None;
    }
    let rest = &text[start..text.len().min(start + MAX_V6 + 1)];
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b':' || **byte == b'.';
    let mut length = rest.iter().take_while(is_part).count();
    if length > MAX_V6 || !ends_number(text, start + length) {
        return None;
    }
    // A full stop, or a colon, at the end belongs to the sentence.
    while rest[..length].ends_with(b".")
        || (rest[..length].ends_with(b":") && !rest[..length].ends_with(b"::"))
    {
        length -= 1;
    }
    let address: Ipv6Addr = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
    is_public_v6(address).then_some(start + length)
}

/// Global unicast, without the blocks for protocols (2001::/23) and documentation; 6to4 holds a real IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xE000 == 0x2000;
    let protocols = a == 0x2001 && b < 0x200;
    let documentation = (a == 0x2001 && b == 0xDB8) || (a == 0x3FFF && b < 0x1000);
    global && !protocols && !documentation
}
