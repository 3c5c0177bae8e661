//! Bytes of a page to text: by byte order mark, by what is declared and fits, else by detection.
//!
//! Valid UTF-8 is UTF-8 whatever is declared: text in another encoding is almost never valid by chance, and about
//! three pages in a hundred declare a wrong one.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_MAC_CYRILLIC};

/// A meta element is looked for in this many bytes; the standard says 1,024, and pages put scripts before it.
const META_BYTES: usize = 16_384;
/// Damaged UTF-8 is still UTF-8 where it has at least this many good sequences for each bad one.
const GOOD_FOR_BAD: usize = 4;
/// Bytes that detection looks at, and in which damage is counted.
const DETECTION_BYTES: usize = 262_144;

/// A page as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text, without NUL characters.
    pub text: Cow<'a, str>,
    /// The name of the encoding by the Encoding Standard.
    pub encoding: &'static str,
    /// Replacement characters that stand for what could not be decoded.
    pub n_replaced: usize,
}

/// Decodes a page. `declared` is the charset that the server declared, if any; unknown names are ignored.
pub fn decode<'a>(page: &'a [u8], declared: Option<&str>) -> Decoded<'a> {
    if let Some(decoded) = utf32(page) {
        return decoded;
    }
    let (encoding, body) = match Encoding::for_bom(page) {
        Some((encoding, length)) => (encoding, &page[length..]),
        None => (without_mark(page, declared), page),
    };
    let (text, damaged) = match simdutf8::basic::from_utf8(body) {
        Ok(text) if encoding == UTF_8 => (Cow::Borrowed(text), false),
        _ => encoding.decode_without_bom_handling(body),
    };
    let n_replaced = if damaged {
        text.matches('\u{fffd}').count()
    } else {
        0
    };
    let text = if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        text
    };
    Decoded {
        text,
        encoding: encoding.name(),
        n_replaced,
    }
}

fn without_mark(page: &[u8], declared: Option<&str>) -> &'static Encoding {
    if let Some(encoding) = utf16(page) {
        return encoding;
    }
    if page.contains(&0x1b) && fits(ISO_2022_JP, page) {
        return ISO_2022_JP;
    }
    let Err(error) = simdutf8::compat::from_utf8(page) else {
        return UTF_8;
    };
    if mostly_utf8(page, error.valid_up_to()) {
        return UTF_8;
    }
    let candidates = [
        declared.and_then(|name| Encoding::for_label(name.as_bytes())),
        meta(&page[..page.len().min(META_BYTES)]),
    ];
    let mut undecided = None;
    for encoding in candidates.into_iter().flatten() {
        if encoding == UTF_8 || encoding == UTF_16LE || encoding == UTF_16BE {
            continue; // both were looked for above
        }
        if fits(encoding, page) {
            return encoding;
        }
        undecided = undecided.or(Some(encoding));
    }
    if undecided.is_none() && is_mac_cyrillic(page) {
        return X_MAC_CYRILLIC;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&page[..page.len().min(DETECTION_BYTES)], true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    match undecided {
        Some(encoding) if !fits(guess, page) => encoding,
        _ => guess,
    }
}

/// Whether every byte decodes.
fn fits(encoding: &'static Encoding, page: &[u8]) -> bool {
    encoding
        .decode_without_bom_handling_and_without_replacement(page)
        .is_some()
}

/// UTF-16 without a mark: half of the first bytes are zero, all on one side.
fn utf16(page: &[u8]) -> Option<&'static Encoding> {
    let head = &page[..page.len().min(1024) & !1];
    let zeros = |side: usize| {
        head.iter()
            .skip(side)
            .step_by(2)
            .filter(|&&byte| byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let most = head.len() / 2 * 7 / 10;
    match (even, odd) {
        _ if head.len() < 8 => None,
        (0, odd) if odd > most => Some(UTF_16LE),
        (even, 0) if even > most => Some(UTF_16BE),
        _ => None,
    }
}

/// UTF-32, which the Encoding Standard has not: with a mark, or with a zero in the highest byte of every character.
fn utf32(page: &[u8]) -> Option<Decoded<'static>> {
    let (units, rest) = page.as_chunks::<4>();
    let head = &units[..units.len().min(256)];
    if head.len() < 4 || !rest.is_empty() {
        return None;
    }
    let fits = |decode: fn([u8; 4]) -> u32| {
        head.iter()
            .all(|&unit| (1..0x11_0000).contains(&decode(unit)))
    };
    let (decode, encoding): (fn([u8; 4]) -> u32, _) =
        match (fits(u32::from_le_bytes), fits(u32::from_be_bytes)) {
            (true, false) => (u32::from_le_bytes, "UTF-32LE"),
            (false, true) => (u32::from_be_bytes, "UTF-32BE"),
            _ => return None,
        };
    let mut text: String = units
        .iter()
        .map(|&unit| char::from_u32(decode(unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
        .filter(|&c| c != '\0')
        .collect();
    if text.starts_with('\u{feff}') {
        text.drain(..3);
    }
    let n_replaced = text.matches(char::REPLACEMENT_CHARACTER).count();
    Some(Decoded {
        text: Cow::Owned(text),
        encoding,
        n_replaced,
    })
}

/// Cyrillic of old Macs, which detection does not know: runs of bytes from E0 on are small letters there as in
/// windows-1251, but capitals lie in 80 to 9F instead of C0 to DF, and the last letter is DF instead of FF.
fn is_mac_cyrillic(page: &[u8]) -> bool {
    let page = &page[..page.len().min(DETECTION_BYTES)];
    let count = |is: fn(u8) -> bool| page.iter().filter(|&&byte| is(byte)).count();
    let small = count(|byte| (0xE0..=0xFE).contains(&byte));
    let mac = count(|byte| (0x80..=0x9F).contains(&byte) || byte == 0xDF);
    let windows = count(|byte| (0xC0..=0xDD).contains(&byte) || byte == 0xFF);
    let high = count(|byte| byte >= 0x80);
    let in_runs = page
        .windows(2)
        .filter(|pair| pair[0] >= 0x80 && pair[1] >= 0x80)
        .count();
    small * 2 > high && in_runs * 2 > high && mac * 20 > high && mac > windows * 4
}

/// Whether most sequences beyond ASCII are valid UTF-8; `valid` bytes are known to be.
fn mostly_utf8(page: &[u8], valid: usize) -> bool {
    let count = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte >= 0xC0).count();
    let (mut good, mut bad) = (count(&page[..valid]), 0);
    let mut rest = &page[valid..page.len().min(valid + DETECTION_BYTES)];
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(_) => {
                good += count(rest);
                break;
            }
            Err(error) => {
                good += count(&rest[..error.valid_up_to()]);
                bad += 1;
                rest = &rest[error.valid_up_to()
                    + error
                        .error_len()
                        .unwrap_or(rest.len() - error.valid_up_to())..];
            }
        }
    }
    good > 0 && good >= bad * GOOD_FOR_BAD
}

/// The encoding that a meta element or an XML declaration names, wherever `charset=` or `encoding=` stands in one.
fn meta(head: &[u8]) -> Option<&'static Encoding> {
    let lower = head.to_ascii_lowercase();
    let mut at = 0;
    while let Some(n) = memchr::memchr(b'<', &lower[at..]) {
        at += n + 1;
        let tag = &lower[at..];
        let key: &[u8] = if tag.starts_with(b"meta") {
            b"charset"
        } else if tag.starts_with(b"?xml") {
            b"encoding"
        } else {
            continue;
        };
        let tag = &tag[..memchr::memchr(b'>', tag).unwrap_or(tag.len())];
        for found in memchr::memmem::find_iter(tag, key) {
            let value = tag[found + key.len()..].trim_ascii_start();
            let Some(value) = value.strip_prefix(b"=") else {
                continue;
            };
            let is_part = |byte: &u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.')
            };
            let value: Vec<u8> = value
                .iter()
                .copied()
                .skip_while(|byte| !is_part(byte))
                .take_while(is_part)
                .collect();
            if let Some(encoding) = Encoding::for_label(&value) {
                return Some(if value == b"x-user-defined" {
                    WINDOWS_1252
                } else {
                    encoding
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(page: &[u8], declared: Option<&str>) -> (String, &'static str, usize) {
        let d = decode(page, declared);
        (d.text.into_owned(), d.encoding, d.n_replaced)
    }

    #[test]
    fn a_mark_wins_and_is_not_part_of_the_text() {
        assert_eq!(
            decoded(b"\xef\xbb\xbfh\xc3\xa9", Some("koi8-r")),
            ("hé".into(), "UTF-8", 0)
        );
        assert_eq!(
            decoded(b"\xff\xfeh\0\xe9\0", None),
            ("hé".into(), "UTF-16LE", 0)
        );
    }

    #[test]
    fn valid_utf8_is_utf8_whatever_is_declared() {
        assert_eq!(decoded("naïve".as_bytes(), Some("windows-1252")).1, "UTF-8");
    }

    #[test]
    fn what_is_declared_holds_where_it_fits() {
        assert_eq!(
            decoded(b"\xe4\xf6\xfc", Some("iso-8859-1")),
            ("äöü".into(), "windows-1252", 0)
        );
        let page = b"<html><meta charset='koi8-r'><p>\xf0\xd2\xc9\xd7\xc5\xd4";
        assert!(decoded(page, None).0.ends_with("Привет"));
        assert!(decoded(page, Some("no-such-charset")).0.ends_with("Привет"));
    }

    #[test]
    fn damaged_utf8_is_utf8_and_the_damage_is_counted() {
        let mut page = "Grüße aus Köln, schöne Straßen überall".as_bytes().to_vec();
        page.insert(12, 0xff);
        let (text, encoding, replaced) = decoded(&page, None);
        assert_eq!((encoding, replaced), ("UTF-8", 1));
        assert!(text.contains('\u{fffd}') && text.ends_with("überall"));
    }

    #[test]
    fn utf16_without_a_mark_and_nuls_in_other_text() {
        let page: Vec<u8> = "<p>plain text</p>"
            .bytes()
            .flat_map(|byte| [byte, 0])
            .collect();
        assert_eq!(
            decoded(&page, None),
            ("<p>plain text</p>".into(), "UTF-16LE", 0)
        );
        assert_eq!(decoded(b"a\0b", None), ("ab".into(), "UTF-8", 0));
    }

    #[test]
    fn utf32_and_the_cyrillic_of_old_macs_are_told_by_their_bytes() {
        let text = "Привет, мир. Это письмо со старого компьютера, и в нём я пишу о погоде.";
        let wide: Vec<u8> = text
            .chars()
            .flat_map(|c| (c as u32).to_be_bytes())
            .collect();
        assert_eq!(decoded(&wide, None), (text.into(), "UTF-32BE", 0));
        let (page, _, _) = X_MAC_CYRILLIC.encode(text);
        assert_eq!(decoded(&page, None), (text.into(), "x-mac-cyrillic", 0));
        let german = "Straße, Füße, Größe, Maß, Öl, Äpfel, Übermaß, große weiße Schüssel";
        let (page, _, _) = WINDOWS_1252.encode(german);
        assert_eq!(decoded(&page, None), (german.into(), "windows-1252", 0));
    }

    #[test]
    fn what_is_not_declared_is_detected() {
        let text = "В начале было слово, и слово было у двери, и никто не знал, что с ним делать.";
        let (page, _, _) = encoding_rs::WINDOWS_1251.encode(text);
        assert_eq!(decoded(&page, None), (text.into(), "windows-1251", 0));
    }
}
