//! Bytes of a page to text: by byte order mark, by what is declared and fits, else by detection.
//!
//! Valid UTF-8 is UTF-8 whatever is declared: text in another encoding is almost never valid by chance, and about
//! three pages in a hundred declare a wrong one. UTF-8 that was encoded twice is mended (`mend`).

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_MAC_CYRILLIC,
};

use crate::mend::mended;
use crate::shifted::{hz, iso_2022_kr};

/// A meta element is looked for in this many bytes; the standard says 1,024, and pages put scripts before it.
const META_BYTES: usize = 16_384;
/// Damaged UTF-8 is still UTF-8 where it has at least this many good sequences for each bad one.
const GOOD_FOR_BAD: usize = 4;
/// Bytes that detection looks at, and in which damage is counted.
const DETECTION_BYTES: usize = 262_144;
/// Bytes in which UTF-16 shows.
const WIDE_BYTES: usize = 4096;
/// Of a page in UTF-16 at least one character in this many is ASCII.
const MIN_MARKUP: usize = 6;
const HZ: &str = "HZ-GB-2312";
/// The name for UTF-8 that was encoded twice, and is mended.
const TWICE: &str = "UTF-8 encoded twice";

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
    if let Some(decoded) = utf32(page).or_else(|| seven_bits(page, declared)) {
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
    let mended = if encoding == UTF_8 {
        mended(&text)
    } else {
        None
    };
    let name = if mended.is_some() {
        TWICE
    } else {
        encoding.name()
    };
    Decoded {
        text: without_nul(mended.map_or(text, Cow::Owned)),
        encoding: name,
        n_replaced,
    }
}

fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        text
    }
}

/// Encodings of seven bits that are no ASCII, and that encoding_rs has not.
fn seven_bits(page: &[u8], declared: Option<&str>) -> Option<Decoded<'static>> {
    let is_hz = |name: &[u8]| name.eq_ignore_ascii_case(HZ.as_bytes());
    let says_hz = || {
        declared.is_some_and(|name| is_hz(name.as_bytes()))
            || meta_names(&page[..page.len().min(META_BYTES)], |name| {
                is_hz(name).then_some(())
            })
            .is_some()
    };
    let (text, encoding) = if page.contains(&0x1b) {
        (iso_2022_kr(page)?, "ISO-2022-KR")
    } else {
        memchr::memmem::find(page, b"~{")?;
        (hz(page, says_hz())?, HZ)
    };
    let text = without_nul(Cow::Owned(text)).into_owned();
    Some(Decoded {
        text: Cow::Owned(text),
        encoding,
        n_replaced: 0,
    })
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
    by_bytes(
        page,
        declared.and_then(|name| Encoding::for_label(name.as_bytes())),
        meta(&page[..page.len().min(META_BYTES)]),
    )
}

/// The encoding of a page that is no Unicode: what the server or the page declares, where the bytes agree.
///
/// windows-1252 gives every byte a meaning, and servers declare it (as ISO-8859-1) without looking: it is believed
/// only where the bytes beyond ASCII stand as letters with accents do, one by one between others. Where server and page
/// disagree and both fit, detection decides between them.
fn by_bytes(
    page: &[u8],
    server: Option<&'static Encoding>,
    own: Option<&'static Encoding>,
) -> &'static Encoding {
    // UTF-8 and UTF-16 were looked for; the replacement encoding stands for names that may not be decoded.
    let known =
        |encoding: &&'static Encoding| ![UTF_8, UTF_16LE, UTF_16BE, REPLACEMENT].contains(encoding);
    let declared: Vec<&'static Encoding> =
        [server, own].into_iter().flatten().filter(known).collect();
    let fitting: Vec<&'static Encoding> = declared
        .iter()
        .copied()
        .filter(|&encoding| fits(encoding, page))
        .filter(|&encoding| encoding != WINDOWS_1252 || has_accents_only(page))
        .collect();
    match fitting[..] {
        [one] => return one,
        [server, own] if server == own => return server,
        _ => {}
    }
    if declared.is_empty() && is_mac_cyrillic(page) {
        return X_MAC_CYRILLIC;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&page[..page.len().min(DETECTION_BYTES)], true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    match (&fitting[..], &declared[..]) {
        ([server, own], _) => {
            // Both fit: the one that detection names, else the one that is not every server's default.
            let named = [*server, *own]
                .into_iter()
                .find(|&encoding| encoding == guess);
            named.unwrap_or(if *server == WINDOWS_1252 {
                *own
            } else {
                *server
            })
        }
        (_, [first, ..]) if !fits(guess, page) => first,
        _ => guess,
    }
}

/// Whether bytes beyond ASCII mostly stand alone, as accented letters and quotation marks do: those of alphabets that
/// are not Latin, and of characters of two bytes, come in runs. Equal neighbors say nothing (no-break spaces, rules).
fn has_accents_only(page: &[u8]) -> bool {
    let page = &page[..page.len().min(DETECTION_BYTES)];
    let high = page.iter().filter(|&&byte| byte >= 0x80).count();
    let in_runs = page
        .windows(2)
        .filter(|pair| pair[0] >= 0x80 && pair[1] >= 0x80 && pair[0] != pair[1])
        .count();
    in_runs * 2 <= high
}

/// Whether every byte decodes.
fn fits(encoding: &'static Encoding, page: &[u8]) -> bool {
    encoding
        .decode_without_bom_handling_and_without_replacement(page)
        .is_some()
}

/// UTF-16 without a mark: markup makes zeros on one side of the pairs and on that alone, be the text of any script.
fn utf16(page: &[u8]) -> Option<&'static Encoding> {
    let head = &page[..page.len().min(WIDE_BYTES) & !1];
    let zeros = |side: usize| {
        let bytes = head.iter().skip(side).step_by(2);
        bytes.filter(|&&byte| byte == 0).count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let pairs = head.len() / 2;
    let (encoding, zeros, others) = if odd > even {
        (UTF_16LE, odd, even)
    } else {
        (UTF_16BE, even, odd)
    };
    // Chinese has characters whose lower byte is zero: one in 256.
    let enough = zeros * MIN_MARKUP >= pairs && others * 50 <= zeros;
    let whole = || fits(encoding, head) || fits(encoding, &head[..head.len() - 2]); // a surrogate may be cut
    (pairs >= 4 && enough && whole()).then_some(encoding)
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
    small * 2 > high && in_runs * 2 > high && mac * 25 > high && mac > windows * 4
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

/// The encoding that the page itself names.
fn meta(head: &[u8]) -> Option<&'static Encoding> {
    meta_names(head, |name| {
        let encoding = Encoding::for_label(name)?;
        Some(if name == b"x-user-defined" {
            WINDOWS_1252
        } else {
            encoding
        })
    })
}

/// The first charset that `known` knows of those that a meta element or an XML declaration names, in lower case,
/// wherever `charset=` or `encoding=` stands in one.
fn meta_names<T>(head: &[u8], known: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
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
            if let Some(found) = known(&value) {
                return Some(found);
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

    #[test]
    fn windows_1252_is_the_last_guess_and_the_page_knows_better_than_its_server() {
        let russian = "Дождь идёт третий день, и река поднялась до моста, так что дорога закрыта.";
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
        let mut page = b"<meta charset=windows-1251><p>".to_vec();
        page.extend_from_slice(&bytes);
        assert!(decoded(&page, Some("ISO-8859-1")).0.ends_with(russian));
        let chinese = "河水涨到了桥边，道路已经封闭，雨还在下，村里的人都在等待。";
        let (bytes, _, _) = encoding_rs::GBK.encode(chinese);
        assert_eq!(decoded(&bytes, Some("ISO-8859-1")).0, chinese);
        // A Latin page is believed, whatever else its meta says that fits as well.
        let french =
            "La rivière est montée jusqu'au pont et la route est fermée à cause de la pluie.";
        let (bytes, _, _) = WINDOWS_1252.encode(french);
        assert_eq!(decoded(&bytes, Some("ISO-8859-1")).0, french);
        let mut page = b"<meta charset=windows-1251><p>".to_vec();
        page.extend_from_slice(&bytes);
        assert!(decoded(&page, Some("ISO-8859-1")).0.ends_with(french));
    }

    #[test]
    fn utf16_without_a_mark_is_told_by_its_markup_in_any_script() {
        let page = "<html lang=ja><head><title>雨</title></head><body><p>川の水が橋まで上がり、道路は閉鎖されました。\
                    雨はまだ降り続いています。村の人々は待っています。</p></body></html>";
        for (encode, name) in [
            (u16::to_le_bytes as fn(u16) -> [u8; 2], "UTF-16LE"),
            (u16::to_be_bytes, "UTF-16BE"),
        ] {
            let bytes: Vec<u8> = page.encode_utf16().flat_map(encode).collect();
            assert_eq!(decoded(&bytes, None), (page.into(), name, 0));
        }
    }

    #[test]
    fn encodings_that_shift_are_decoded_and_ascii_with_tildes_is_not() {
        let (wide, _, _) = encoding_rs::EUC_KR.encode("비가 사흘째 내린다");
        let mut page = b"\x1b$)C<p>".to_vec();
        for part in wide.split(|&byte| byte == b' ') {
            page.extend([0x0E]);
            page.extend(part.iter().map(|byte| byte & 0x7F));
            page.extend([0x0F, b' ']);
        }
        let (text, name, _) = decoded(&page, None);
        assert_eq!(
            (text.trim(), name),
            ("<p>비가 사흘째 내린다", "ISO-2022-KR")
        );
        let (wide, _, _) = encoding_rs::GBK.encode("河水涨到了桥边道路已经封闭");
        let pairs: Vec<u8> = wide.iter().map(|byte| byte & 0x7F).collect();
        let page = [b"<p>a ~~ b ~{".as_slice(), &pairs, b"~}"].concat();
        let expected = "<p>a ~ b 河水涨到了桥边道路已经封闭".to_owned();
        assert_eq!(decoded(&page, None), (expected, "HZ-GB-2312", 0));
        let short = [
            b"<meta charset=hz-gb-2312>~{".as_slice(),
            &pairs[..2],
            b"~}",
        ]
        .concat();
        assert!(decoded(&short, None).0.ends_with('河'));
        for ascii in ["let a = `~{b}~`; ~{cd~}", "~{", "a~{~}b ~~ c"] {
            assert_eq!(decoded(ascii.as_bytes(), None), (ascii.into(), "UTF-8", 0));
        }
    }

    #[test]
    fn utf8_that_was_encoded_twice_is_mended_and_named() {
        let text = "Über die Brücke führt kein Weg mehr, größer war das Hochwasser nie – nirgends";
        let (twice, _) = WINDOWS_1252.decode_without_bom_handling(text.as_bytes());
        assert_eq!(
            decoded(twice.as_bytes(), Some("utf-8")),
            (text.into(), "UTF-8 encoded twice", 0)
        );
    }
}
