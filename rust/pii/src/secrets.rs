//! What is looked for on demand: hardware addresses, wallets, API keys and private keys.
//!
//! ```text
//! mac          six pairs of hexadecimal digits set apart by : or -, or three groups of four by full stops
//! wallet       base58 with its checksum (Bitcoin, Litecoin, Dogecoin, Tron …), bech32 with its own (bc1, tb1, ltc1),
//!              0x and 40 hexadecimal digits (Ethereum)
//! api_key      the prefix of a known issuer, or a word such as "api_key" before it, and enough entropy
//! private_key  -----BEGIN … PRIVATE KEY----- to its end, or as far as it looks like one
//! ```
//!
//! The text is walked once, by runs of letters, digits, `_` and `-`.

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::context::{Words, before};
use crate::{Hit, Kind, Kinds};

/// Prefix of a key, the least number of characters behind it, and whether `.` may be among them.
const PREFIXES: [(&str, usize, bool); 27] = [
    ("AKIA", 16, false),
    ("ASIA", 16, false),
    ("AIza", 35, false),
    ("ghp_", 36, false),
    ("gho_", 36, false),
    ("ghu_", 36, false),
    ("ghs_", 36, false),
    ("ghr_", 36, false),
    ("github_pat_", 50, false),
    ("glpat-", 20, false),
    ("sk_live_", 20, false),
    ("sk_test_", 20, false),
    ("rk_live_", 20, false),
    ("pk_live_", 20, false),
    ("sk-ant-", 30, false),
    ("sk-proj-", 30, false),
    ("sk-", 32, false),
    ("xoxb-", 20, false),
    ("xoxp-", 20, false),
    ("xoxa-", 20, false),
    ("hf_", 30, false),
    ("npm_", 36, false),
    ("pypi-", 50, false),
    ("SG", 40, true),
    ("shpat_", 32, false),
    ("dop_v1_", 60, false),
    ("eyJ", 60, true),
];
/// Words before a key that has no prefix, and the signs that set it apart.
static KEY_WORDS: Words = Words::new(&[
    "api_key",
    "apikey",
    "api-key",
    "api key",
    "secret",
    "token",
    "access_key",
    "accesskey",
    "auth_key",
    "client_key",
    "private_key",
    "bearer",
    "credential",
]);
const KEY_WINDOW: usize = 28;
const MAX_KEY: usize = 400;
/// Bits of entropy a character, of a key without and with a prefix.
const ENTROPY: [f64; 2] = [3.5, 3.0];
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Adds the wanted kinds to `hits`, in order.
pub(crate) fn find(text: &[u8], kinds: Kinds, hits: &mut Vec<Hit>) {
    let begin = memmem::Finder::new(b"-----BEGIN ");
    let mut key = if kinds.has(Kind::PrivateKey) {
        begin.find(text)
    } else {
        None
    };
    let mut place = 0;
    while place < text.len() {
        if let Some(start) = key.filter(|&start| start <= place) {
            let end = private_key(text, start);
            if let Some(end) = end {
                hits.push(Hit {
                    kind: Kind::PrivateKey,
                    start,
                    end,
                });
            }
            let next = end.unwrap_or(start + 1);
            key = begin.find(&text[next..]).map(|found| next + found);
            place = place.max(end.unwrap_or(place));
            continue;
        }
        if !is_token(text[place]) {
            place += 1;
            continue;
        }
        let length = text[place..]
            .iter()
            .take_while(|&&byte| is_token(byte))
            .count();
        let found = one(text, place, place + length, kinds);
        let next = found.map_or(place + length, |hit| hit.end.max(place + length));
        hits.extend(found);
        place = key
            .filter(|&start| start > place)
            .map_or(next, |start| next.min(start.max(place + 1)));
    }
}

#[inline]
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// What the run of letters, digits, `_` and `-` at `start..end` is the beginning of.
fn one(text: &[u8], start: usize, end: usize, kinds: Kinds) -> Option<Hit> {
    let token = &text[start..end];
    let mac = || {
        let end = matches!(token.len(), 2 | 4 | 17)
            .then(|| mac(text, start))
            .flatten()?;
        Some(Hit {
            kind: Kind::Mac,
            start,
            end,
        })
    };
    let wallet = || {
        is_wallet(token).then_some(Hit {
            kind: Kind::Wallet,
            start,
            end,
        })
    };
    let key = || {
        let end = api_key(text, start, end)?;
        Some(Hit {
            kind: Kind::ApiKey,
            start,
            end,
        })
    };
    let wanted =
        |kind, found: &dyn Fn() -> Option<Hit>| if kinds.has(kind) { found() } else { None };
    wanted(Kind::Mac, &mac)
        .or_else(|| wanted(Kind::Wallet, &wallet))
        .or_else(|| wanted(Kind::ApiKey, &key))
}

// -- hardware addresses -------------------------------------------------------------------------------------

/// The end of the hardware address that begins at `start`, one of six bytes that are not all alike.
fn mac(text: &[u8], start: usize) -> Option<usize> {
    let joined = |byte: u8| byte.is_ascii_alphanumeric() || b":.-_".contains(&byte);
    if start > 0 && joined(text[start - 1]) {
        return None;
    }
    let (pairs, signs) = if text.get(start + 4) == Some(&b'.') {
        (4, &b"."[..])
    } else {
        (2, &b":-"[..])
    };
    let length = if pairs == 4 { 14 } else { 17 };
    let address = text.get(start..start + length)?;
    let sign = address[pairs];
    let formed = address.iter().enumerate().all(|(i, &byte)| {
        if i % (pairs + 1) == pairs {
            byte == sign
        } else {
            byte.is_ascii_hexdigit()
        }
    });
    let alike = address
        .iter()
        .all(|&byte| byte == sign || byte == address[0]);
    let ends = match text[start + length..] {
        [byte, ..] if byte.is_ascii_alphanumeric() || byte == b'_' => false,
        [byte, next, ..] if b":.-".contains(&byte) => !next.is_ascii_alphanumeric(),
        _ => true,
    };
    (formed && !alike && ends && signs.contains(&sign)).then_some(start + length)
}

// -- wallets ------------------------------------------------------------------------------------------------

fn is_wallet(token: &[u8]) -> bool {
    match token {
        [b'0', b'x', digits @ ..] if digits.len() == 40 => {
            digits.iter().all(u8::is_ascii_hexdigit) && entropy(digits) >= 2.0
        }
        _ if (26..=35).contains(&token.len()) => base58check(token),
        _ if (14..=90).contains(&token.len()) => is_segwit(token),
        _ => false,
    }
}

/// Base58 of 21 bytes (version and hash) and of the first four of their double SHA-256.
fn base58check(token: &[u8]) -> bool {
    let mut bytes = [0_u8; 25];
    for byte in token {
        let Some(digit) = BASE58.iter().position(|known| known == byte) else {
            return false;
        };
        let mut carry = digit as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let check = Sha256::digest(Sha256::digest(&bytes[..21]));
    check[..4] == bytes[21..]
}

/// Bech32 or bech32m (BIP 173, BIP 350) of a Bitcoin or Litecoin address.
fn is_segwit(token: &[u8]) -> bool {
    let mixed =
        token.iter().any(u8::is_ascii_uppercase) && token.iter().any(u8::is_ascii_lowercase);
    let lower = token.to_ascii_lowercase();
    let Some(data) = [&b"bc1"[..], b"tb1", b"ltc1"]
        .iter()
        .find_map(|prefix| lower.strip_prefix(*prefix))
    else {
        return false;
    };
    let name = &lower[..lower.len() - data.len() - 1];
    let mut check = 1_u32;
    let mut step = |value: u8| {
        let top = check >> 25;
        check = (check & 0x1FF_FFFF) << 5 ^ u32::from(value);
        for (bit, generator) in [
            0x3B6A_57B2,
            0x2650_8E6D,
            0x1EA1_19FA,
            0x3D42_33DD,
            0x2A14_62B3,
        ]
        .iter()
        .enumerate()
        {
            check ^= if top >> bit & 1 == 1 { *generator } else { 0 };
        }
    };
    name.iter().for_each(|byte| step(byte >> 5));
    step(0);
    name.iter().for_each(|byte| step(byte & 31));
    for byte in data {
        let Some(value) = BECH32.iter().position(|known| known == byte) else {
            return false;
        };
        step(value as u8);
    }
    !mixed && matches!(check, 1 | 0x2BC8_30A3)
}

// -- API keys -----------------------------------------------------------------------------------------------

/// The end of the key that begins at `start`, whose first run of characters ends at `end`.
fn api_key(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let token = &text[start..end];
    for (prefix, least, dots) in PREFIXES {
        if !token.starts_with(prefix.as_bytes()) {
            continue;
        }
        let end = if dots { run(text, end, b"._-=") } else { end };
        let rest = &text[start + prefix.len()..end];
        if rest.len() >= least && rest.len() <= 20 * MAX_KEY && entropy(rest) >= ENTROPY[1] {
            return Some(end);
        }
    }
    if token.len() < 8 || !before(text, start, KEY_WINDOW, &KEY_WORDS) || !is_assigned(text, start)
    {
        return None;
    }
    let end = run(text, end, b"._-/+=");
    let token = &text[start..end];
    let mixed = token.iter().any(u8::is_ascii_digit) && token.iter().any(u8::is_ascii_alphabetic);
    ((20..=MAX_KEY).contains(&token.len()) && mixed && entropy(token) >= ENTROPY[0]).then_some(end)
}

/// Whether `:`, `=`, a quotation mark or "bearer " stands right before the key.
fn is_assigned(text: &[u8], start: usize) -> bool {
    let before = text[..start].trim_ascii_end();
    before.last().is_some_and(|byte| b":=\"'`>".contains(byte))
        || crate::context::word_before(text, before.len()).eq_ignore_ascii_case(b"bearer")
}

/// The end of the run of letters, digits and `signs` that goes on at `end`.
fn run(text: &[u8], end: usize, signs: &[u8]) -> usize {
    let more = text[end..].iter().take(20 * MAX_KEY);
    end + more
        .take_while(|byte| byte.is_ascii_alphanumeric() || signs.contains(byte))
        .count()
}

/// Bits a character, by how often each occurs.
fn entropy(token: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    token
        .iter()
        .for_each(|&byte| counts[usize::from(byte)] += 1);
    let total = token.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

// -- private keys -------------------------------------------------------------------------------------------

/// The end of the private key whose header begins at `start`; None where the header is another one's.
fn private_key(text: &[u8], start: usize) -> Option<usize> {
    let rest = &text[start..];
    let header = &rest[..rest.len().min(64)];
    let title = memmem::find(header, b"PRIVATE KEY")?;
    let body = title + memmem::find(&rest[title..rest.len().min(title + 40)], b"-----")? + 5;
    // Base64, its line ends (written out, too), and the headers of an encrypted key.
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n \t\\:,".contains(byte);
    let length = rest[body..].iter().take_while(|byte| is_part(byte)).count();
    let end = &rest[body + length..];
    if end.starts_with(b"-----END") {
        let line = &end[..end.len().min(80)];
        let closing = memmem::find(&line[5..], b"-----").map_or(8, |place| place + 10);
        return Some(start + body + length + closing);
    }
    (length >= 40).then_some(start + body + length)
}
