//! spaCy's English affixes, infixes and URLs for ASCII and quotation marks, without patterns.

/// Pieces of which texts are made that the short rules and the patterns must agree on.
pub(super) const PROBES: [&str; 20] = [
    "a", "bc", "B", "1", ".", ",", "-", "+", "/", "'", "$", "%", "(", "=", "~", "@", "|", "’", "—",
    "km",
];

/// ASCII that is both a prefix and a suffix of one byte.
const CUT_AT_BOTH: &[u8] = b",:;!?()[]{}<>_#*&\"'`";
/// Characters of three bytes that are both, too.
const QUOTES: [char; 4] = ['‘', '’', '“', '”'];
const DASHES: [char; 2] = ['–', '—'];
/// ASCII that is neither.
const NEVER_CUT: &[u8] = b"-/@\\^|~";

/// Bytes of the prefix; None where only the pattern knows. Letters and digits begin none but in units of money.
pub(super) fn prefix(part: &str) -> Option<usize> {
    let first = *part.as_bytes().first()?;
    match first {
        b'0'..=b'9' | b'a'..=b'z' => Some(0),
        b'A'..=b'Z' if !part.contains('$') => Some(0),
        _ if CUT_AT_BOTH.contains(&first) || matches!(first, b'$' | b'%' | b'=') => Some(1),
        // One period is no prefix.
        b'.' => Some(run(part.bytes())).filter(|&dots| dots > 1).or(Some(0)),
        _ if NEVER_CUT.contains(&first) => Some(0),
        0xE2 if part.starts_with(QUOTES) || part.starts_with(DASHES) => Some(3),
        _ => None,
    }
}

/// Bytes of the suffix, as above.
pub(super) fn suffix(part: &str) -> Option<usize> {
    let bytes = part.as_bytes();
    match *bytes.last()? {
        last if CUT_AT_BOTH.contains(&last) => Some(1),
        last if NEVER_CUT.contains(&last) || last == b'=' => Some(0),
        b'0'..=b'9' => Some(0),
        b'.' => match bytes {
            [.., b'.', _] => Some(run(part.bytes().rev())),
            // Behind a digit, a small letter, or two capitals.
            [.., a, b, _] if b.is_ascii_uppercase() && a.is_ascii() => {
                Some(usize::from(a.is_ascii_uppercase()))
            }
            [.., b, _] if b.is_ascii_digit() || b.is_ascii_lowercase() => Some(1),
            _ => None,
        },
        b's' | b'S' if part[..part.len() - 1].ends_with('\'') => Some(2),
        b's' | b'S' if part[..part.len() - 1].ends_with('’') => Some(4),
        // Units follow digits; other letters are no suffix.
        b'a'..=b'z' | b'A'..=b'Z' if !bytes.iter().any(u8::is_ascii_digit) => Some(0),
        0x80.. if part.ends_with(QUOTES) || part.ends_with(DASHES) => Some(3),
        _ => None,
    }
}

/// How many periods come first.
fn run(bytes: impl Iterator<Item = u8>) -> usize {
    bytes.take_while(|&byte| byte == b'.').count()
}

/// Whether a part can be a URL: a domain ends in two small letters behind a period, an address has three periods.
pub(super) fn may_be_url(part: &str) -> bool {
    let bytes = part.as_bytes();
    let small = |byte: &u8| byte.is_ascii_lowercase() || *byte >= 0x80;
    let mut periods = 0;
    memchr::memchr_iter(b'.', bytes).any(|place| {
        periods += 1;
        let domain = matches!(&bytes[place + 1..], [a, b, ..] if small(a) && small(b));
        periods > 2 || domain
    })
}

/// Whether `infixes` knows all of the part's characters.
pub(super) fn has_infixes(part: &str) -> bool {
    part.is_ascii() || part.chars().all(|c| c.is_ascii() || QUOTES.contains(&c))
}

/// The infixes of a part of ASCII and quotation marks, in order: from and to.
pub(super) fn infixes(part: &[u8], mut emit: impl FnMut(usize, usize)) {
    let letter = |place: usize| part.get(place).is_some_and(u8::is_ascii_alphabetic);
    let digit = |place: usize| part.get(place).is_some_and(u8::is_ascii_digit);
    let mut place = 0;
    while place < part.len() {
        let byte = part[place];
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            place += 1;
            continue;
        }
        let before = place.wrapping_sub(1);
        let (digit_before, joins) = (digit(before), digit(before) || letter(before));
        let counts = digit_before && (digit(place + 1) || part.get(place + 1) == Some(&b'-'));
        let length = match byte {
            b'.' if part.get(place + 1) == Some(&b'.') => part[place..]
                .iter()
                .take_while(|&&byte| byte == b'.')
                .count(),
            b'.' => usize::from(
                (quote_ends(&part[..place])
                    || part[..place].last().is_some_and(u8::is_ascii_lowercase))
                    && (quote_begins(&part[place + 1..])
                        || part.get(place + 1).is_some_and(u8::is_ascii_uppercase)),
            ),
            b'+' | b'*' | b'^' => usize::from(counts),
            b'-' if counts => 1,
            b'-' if joins => {
                let dashes = part[place..]
                    .iter()
                    .take_while(|&&byte| byte == b'-')
                    .count();
                if dashes <= 3 && letter(place + dashes) {
                    dashes
                } else {
                    0
                }
            }
            b'~' | b':' | b'<' | b'>' | b'=' | b'/' => usize::from(joins && letter(place + 1)),
            b',' => usize::from(letter(before) && letter(place + 1)),
            _ => 0,
        };
        if length > 0 {
            emit(place, place + length);
        }
        place += length.max(1);
    }
}

/// Whether bytes end with a quotation mark of spaCy's, the comma among them.
fn quote_ends(part: &[u8]) -> bool {
    matches!(part.last(), Some(b'\'' | b'"' | b'`' | b','))
        || part.last().is_some_and(|&b| b >= 0x80)
}

/// Whether bytes begin with one.
fn quote_begins(part: &[u8]) -> bool {
    matches!(part.first(), Some(b'\'' | b'"' | b'`' | b','))
        || part.first().is_some_and(|&b| b >= 0x80)
}
