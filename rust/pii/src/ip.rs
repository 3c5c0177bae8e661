//! Public IP addresses: globally routable by the registries of IANA.
//!
//! IPv4 is four decimal numbers of 0 to 255 without leading zeros, not part of a longer dotted number or of a name, and
//! no version by what stands around it (`follows_version`, `continues_version`). IPv6 is what RFC 4291 writes, within
//! 2000::/3 or written in full, or a form that holds a public IPv4 address: mapped, translated (RFC 6052, RFC 8215) or compatible.
//! Private, loopback, link-local, documentation, benchmark, multicast and reserved addresses name nobody and stay.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::context::{is_one_of, word_before};

/// Words after which four numbers are a version or a section.
const VERSION_WORDS: [&str; 29] = [
    "v",
    "ver",
    "vers",
    "version",
    "versions",
    "release",
    "releases",
    "rel",
    "build",
    "firmware",
    "fw",
    "section",
    "sections",
    "sec",
    "rev",
    "revision",
    "update",
    "patch",
    "driver",
    "drivers",
    "oid",
    "chapter",
    "clause",
    "article",
    "paragraph",
    "para",
    "table",
    "figure",
    "fig",
];
/// Words before an address: after them neither a hyphen nor small numbers tell a version.
const HOST_WORDS: [&str; 34] = [
    "ip", "ipv4", "address", "addr", "host", "hosts", "server", "client", "node", "dns", "from",
    "to", "at", "by", "is", "on", "and", "or", "the", "of", "via", "ping", "user", "peer", "src",
    "dst", "source", "remote", "gateway", "for", "with", "in", "ec", "range",
];
/// What stands behind a version, set off by a hyphen, an underscore or a plus.
const VERSION_ENDS: [&str; 12] = [
    "alpha", "beta", "rc", "dev", "snapshot", "release", "final", "ga", "preview", "pre", "git",
    "el",
];
/// Ends of the names of files that carry a version: `tool-1.2.3.4.tar.gz`.
const FILES: [&str; 17] = [
    "tar", "tgz", "zip", "gz", "bz", "xz", "exe", "dll", "jar", "war", "msi", "deb", "rpm", "dmg",
    "so", "whl", "nupkg",
];
/// Servers that answer for all, and the address of examples: never a version without a word that says so.
const WELL_KNOWN: [[u8; 4]; 7] = [
    [8, 8, 8, 8],
    [8, 8, 4, 4],
    [1, 1, 1, 1],
    [1, 0, 0, 1],
    [9, 9, 9, 9],
    [4, 2, 2, 2],
    [1, 2, 3, 4],
];
/// Bytes between a heading and the one below it: `7.8.2` and `7.8.2.1`.
const OUTLINE: usize = 600;
/// The longest form of an IPv6 address, with an IPv4 address at its end.
const MAX_V6: usize = 45;

/// What was seen before in the text.
#[derive(Default)]
pub(crate) struct Seen {
    /// Where the last version ended: "1.2.3.4 and 1.2.3.5" are two, if the first is one.
    version: Option<usize>,
    /// The last heading of three numbers, or the first three of one of four, and where it ended.
    heading: Option<([u8; 3], usize)>,
    /// Where the last run of hexadecimal digits and colons ends that is no address.
    colons: usize,
}

/// The public address of which the digit at `place` is part, none of it before `floor`.
#[inline]
pub(crate) fn at(
    text: &[u8],
    place: usize,
    floor: usize,
    seen: &mut Seen,
) -> Option<(usize, usize)> {
    let digits = text[place..]
        .iter()
        .take(5)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let next = text.get(place + digits).copied().unwrap_or(0);
    let before = if place > 0 { text[place - 1] } else { 0 };
    let colons = before == b':' || next == b':' || is_hex_letter(before) || is_hex_letter(next);
    if digits > 4 || !(colons || next == b'.') {
        return None;
    }
    if colons && place >= seen.colons {
        if let Some(span) = v6(text, place, floor) {
            return Some(span);
        }
        let run = text[place..].iter().take(MAX_V6 + 1);
        seen.colons = place
            + run
                .take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':')
                .count();
    }
    (next == b'.')
        .then(|| v4(text, place, seen))
        .flatten()
        .map(|end| (place, end))
}

fn is_hex_letter(byte: u8) -> bool {
    matches!(byte, b'a'..=b'f' | b'A'..=b'F')
}

// -- IPv4 ---------------------------------------------------------------------------------------------------

fn v4(text: &[u8], start: usize, seen: &mut Seen) -> Option<usize> {
    if start > 0 && text[start - 1].is_ascii_alphanumeric() {
        return None;
    }
    // After a full stop only where that ends a sentence, or is one of several.
    if start > 0
        && text[start - 1] == b'.'
        && start
            .checked_sub(2)
            .is_some_and(|at| text[at].is_ascii_alphanumeric())
    {
        return None;
    }
    let (octets, count, end) = dotted_numbers(text, start);
    let [a, b, c, d] = octets;
    if count == 3 {
        seen.heading = Some(([a, b, c], end));
    }
    if count != 4 || !ends(text, end) {
        return None;
    }
    let continued = seen
        .version
        .is_some_and(|last| joins_versions(&text[last..start]));
    let below = |(head, last): ([u8; 3], usize)| head == [a, b, c] && start - last <= OUTLINE;
    let outline =
        octets.iter().all(|&octet| octet <= 40) && d > 0 && seen.heading.is_some_and(below);
    if outline {
        seen.heading = Some(([a, b, c], end));
    }
    if outline || continued || follows_version(text, start, octets) || continues_version(text, end)
    {
        seen.version = Some(end);
        return None;
    }
    is_public_v4(Ipv4Addr::from(octets)).then_some(end)
}

/// Whether four numbers with full stops between them, and no more, stand at `start`.
pub(crate) fn looks_like_v4(text: &[u8], start: usize) -> bool {
    let (_, count, end) = dotted_numbers(text, start);
    count == 4 && ends(text, end)
}

/// Numbers of 0 to 255 with full stops between them, four at most: their values, how many, and where they end.
fn dotted_numbers(text: &[u8], start: usize) -> ([u8; 4], usize, usize) {
    let (mut octets, mut end) = ([0; 4], start);
    for count in 0..4 {
        let dot = usize::from(count > 0);
        let rest = &text[end..];
        if count > 0 && rest.first() != Some(&b'.') {
            return (octets, count, end);
        }
        let digits = rest[dot..]
            .iter()
            .take(4)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = &rest[dot..dot + digits];
        let value = number
            .iter()
            .fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
        let Ok(octet) = u8::try_from(value) else {
            return (octets, 0, end);
        };
        if digits == 0 {
            return (octets, count, end);
        }
        if digits > 3 || (digits > 1 && number[0] == b'0') {
            return (octets, 0, end);
        }
        octets[count] = octet;
        end += dot + digits;
    }
    (octets, 4, end)
}

/// Whether the address may end at `end`: no letter or digit follows, no fifth number, and no end of a file's name.
fn ends(text: &[u8], end: usize) -> bool {
    let rest = &text[end..];
    match rest {
        [byte, ..] if byte.is_ascii_alphanumeric() => false,
        [b'.', byte, ..] if byte.is_ascii_digit() => false,
        [b'.', ..] => {
            let letters = rest[1..]
                .iter()
                .take(8)
                .take_while(|byte| byte.is_ascii_alphabetic())
                .count();
            !is_one_of(&rest[1..=letters], &FILES)
        }
        _ => true,
    }
}

/// Whether what stands before `start` says that four numbers are a version: a word such as "version", a comparison
/// (`>=`), or the name of a product (`Tool/`, `tool-`, `tool ` before small numbers).
fn follows_version(text: &[u8], start: usize, octets: [u8; 4]) -> bool {
    let before = &text[start.saturating_sub(32)..start];
    if [&b"=="[..], b">=", b"<=", b"~=", b"!=", b"~", b"^"]
        .iter()
        .any(|sign| before.ends_with(sign))
    {
        return true;
    }
    let trimmed = trimmed(before);
    let bare = trimmed
        .strip_suffix(b".")
        .or(trimmed.strip_suffix(b":"))
        .or(trimmed.strip_suffix(b"("));
    let word = word_before(bare.unwrap_or(trimmed), bare.unwrap_or(trimmed).len());
    if is_one_of(word, &VERSION_WORDS) {
        return true;
    }
    let Some((&last, name)) = before.split_last() else {
        return false;
    };
    let word = word_before(name, name.len());
    if word.is_empty()
        || is_one_of(word, &HOST_WORDS)
        || octets.iter().filter(|&&octet| octet >= 100).count() > 1
    {
        return false;
    }
    match last {
        b'-' => true,
        // `Tool/1.2.3.4` begins a word, and what comes after a path of a URL does not.
        b'/' => name[..name.len() - word.len()]
            .last()
            .is_none_or(|&byte| b" \n\t(\"'".contains(&byte)),
        b' ' => {
            let small = octets[..3].iter().all(|&octet| octet <= 30);
            !WELL_KNOWN.contains(&octets) && (small || octets[0] <= 30 && octets[1..].contains(&0))
        }
        _ => false,
    }
}

/// A text without white space at its end, no-break spaces among it.
fn trimmed(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    text.strip_suffix(b"\xC2\xA0").map_or(text, trimmed)
}

/// Whether what stands from `end` on says that four numbers are a version: `-beta`, `_rc`, `-1ubuntu`.
fn continues_version(text: &[u8], end: usize) -> bool {
    let Some((b'-' | b'_' | b'+' | b'~', rest)) = text[end..].split_first() else {
        return false;
    };
    let digits = rest
        .iter()
        .take(4)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let letters = rest[digits..]
        .iter()
        .take(10)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    if digits > 0 {
        digits < 4 && letters > 0
    } else {
        is_one_of(&rest[..letters], &VERSION_ENDS)
    }
}

/// Whether a text between two versions makes them one list.
fn joins_versions(between: &[u8]) -> bool {
    between.len() <= 6
        && matches!(
            between.trim_ascii(),
            b"," | b"and" | b"or" | b"to" | b"-" | b"&" | b"/" | b", and"
        )
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

// -- IPv6 ---------------------------------------------------------------------------------------------------

fn v6(text: &[u8], place: usize, floor: usize) -> Option<(usize, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    let back = text[floor..place]
        .iter()
        .rev()
        .take(MAX_V6 + 1)
        .take_while(|byte| is_part(byte))
        .count();
    let ahead = text[place..]
        .iter()
        .take(MAX_V6 + 1)
        .take_while(|byte| is_part(byte) || **byte == b'.')
        .count();
    if back + ahead > MAX_V6 {
        return None;
    }
    let (mut start, mut end) = (place - back, place + ahead);
    if text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    // A full stop, or a colon, at the end belongs to the sentence, and so does a colon at the beginning.
    while end > place && (text[end - 1] == b'.' || text[end - 1] == b':' && text[end - 2] != b':') {
        end -= 1;
    }
    if text[start] == b':' && text[start + 1] != b':' {
        start += 1;
    } else if start > 0 && text[start - 1].is_ascii_alphanumeric() {
        return None;
    }
    if text[start..end]
        .iter()
        .filter(|&&byte| byte == b':')
        .count()
        < 2
    {
        return None;
    }
    // `add:2001:…` begins with a word that could be a number of the address.
    while start <= place {
        if is_public_form(&text[start..end]) {
            return Some((start, end));
        }
        let word = text[start..place]
            .iter()
            .take_while(|byte| is_hex_letter(**byte))
            .count();
        if word == 0 || text[start + word] != b':' {
            return None;
        }
        start += word + 1;
    }
    None
}

/// Whether a text is an address that is public, or that holds a public IPv4 address.
fn is_public_form(text: &[u8]) -> bool {
    let address = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<Ipv6Addr>().ok());
    let Some(address) = address else {
        return false;
    };
    let [a, b, c, d, e, f, high, low] = address.segments();
    let head = [a, b, c, d, e, f];
    let mapped = head == [0, 0, 0, 0, 0, 0xFFFF] || head == [0, 0, 0, 0, 0xFFFF, 0];
    let translated = head == [0x64, 0xFF9B, 0, 0, 0, 0] || (a, b, c) == (0x64, 0xFF9B, 1);
    let compatible = head == [0; 6] && text.contains(&b'.');
    if mapped || translated || compatible {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(w, x, y, z));
    }
    // Blocks that nobody has been given are public, too, where all of an address is written.
    let written = text.iter().filter(|byte| byte.is_ascii_hexdigit()).count() >= 20
        && !text.windows(2).any(|two| two == b"::");
    is_public_v6(address) || written && !is_special(address)
}

/// Outside 2000::/3: local, multicast, and other blocks with a purpose of their own.
fn is_special(address: Ipv6Addr) -> bool {
    let [a, ..] = address.segments();
    let local = a & 0xFE00 == 0xFC00 || a & 0xFFC0 == 0xFE80 || a & 0xFFC0 == 0xFEC0;
    local || a & 0xFF00 == 0xFF00 || a & 0xE000 == 0x2000 || matches!(a, 0 | 0x64 | 0x100 | 0x5F00)
}

/// Global unicast, without the blocks for protocols (2001::/23) and documentation; 6to4 holds a real IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xE000 == 0x2000;
    let protocols = a == 0x2001 && b < 0x200;
    let documentation = (a == 0x2001 && b == 0xDB8) || (a == 0x3FFF && b < 0x1000);
    global && !protocols && !documentation
}
