//! What the head of a record looks like, in WARC and in ARC, and the fields it has.

use memchr::{memchr, memmem};

/// Bytes that decide whether a WARC head begins somewhere.
pub const WARC_LOOK: usize = 256;
/// The longest header line of an ARC record that is looked for, in bytes.
pub const ARC_LOOK: usize = 16 << 10;

/// The bytes without white space around them.
pub fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// Whether `data` begins with a version: `WARC/` and a digit, in any case. Asked where a record is expected.
pub fn is_version(data: &[u8]) -> bool {
    data.len() >= 6 && data[..5].eq_ignore_ascii_case(b"WARC/") && data[5].is_ascii_digit()
}

/// Whether `data` begins with a version line and a header line. Asked where a record may begin: in a body, in garbage.
pub fn is_head(data: &[u8]) -> bool {
    if !is_version(data) {
        return false;
    }
    let Some(end) = memchr(b'\n', &data[..data.len().min(24)]) else {
        return false;
    };
    let version = trim(&data[5..end]);
    if !version.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
        return false;
    }
    let line = &data[end + 1..data.len().min(end + 1 + 128)];
    memchr(b':', line).is_some_and(|colon| {
        colon > 0
            && line[..colon]
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    })
}

/// An ARC record's header line: URL, IP address, date, media type, length; version 2 has more between type and length.
pub struct ArcLine<'a> {
    pub url: &'a [u8],
    pub date: &'a [u8],
    pub media: &'a [u8],
    pub length: u64,
}

fn is_arc_date(word: &[u8]) -> bool {
    (8..=17).contains(&word.len()) && word.iter().all(u8::is_ascii_digit)
}

/// The header line of an ARC record, without its line end. `strict` is asked where a record may begin: an address with
/// a scheme, a date, and at least five words; else three words of which the last is a number do.
pub fn arc_line(line: &[u8], strict: bool) -> Option<ArcLine<'_>> {
    let line = trim(line);
    if line.len() > ARC_LOOK || !line.last()?.is_ascii_digit() {
        return None;
    }
    let words: Vec<&[u8]> = line
        .split(|b| matches!(b, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
        .collect();
    let last = std::str::from_utf8(words.last()?).ok()?;
    let length = last.parse().ok()?;
    let date = words.iter().skip(1).position(|word| is_arc_date(word));
    if words.len() < if strict { 5 } else { 3 } {
        return None;
    }
    if strict {
        let colon = memchr(b':', &line[..line.len().min(40)])?;
        let scheme = line[..colon]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if colon < 2 || !scheme || date.is_none() {
            return None;
        }
    }
    let at = date.map(|at| at + 1);
    Some(ArcLine {
        url: words[0],
        date: at.map_or(b"", |at| words[at]),
        media: at
            .and_then(|at| words.get(at + 1))
            .filter(|_| words.len() > 3)
            .copied()
            .unwrap_or(b""),
        length,
    })
}

/// Whether `data` begins with the strict header line of an ARC record.
pub fn is_arc_head(data: &[u8]) -> bool {
    let end = memchr(b'\n', &data[..data.len().min(ARC_LOOK)]);
    end.is_some_and(|end| data.starts_with(b"filedesc:") || arc_line(&data[..end], true).is_some())
}

/// What the content of a file or member begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ISO 28500, and the drafts before it.
    Warc,
    /// The Internet Archive's format before WARC, version 1 and 2.
    Arc,
}

/// The format of content that begins so; none where it begins like neither.
pub fn format_of(data: &[u8]) -> Option<Format> {
    let blank = data
        .iter()
        .take_while(|b| b.is_ascii_whitespace() || **b == 0)
        .count();
    let data = &data[blank..];
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    if is_version(data) {
        return Some(Format::Warc);
    }
    is_arc_head(data).then_some(Format::Arc)
}

/// The first head in `data[from..to]` that begins a line; `data[..from]` is what stands before. `line` says whether
/// `data` itself begins a line.
pub fn find_head(data: &[u8], from: usize, to: usize, line: bool, arc: bool) -> Option<usize> {
    let begins_line = |at: usize| {
        if at == 0 { line } else { data[at - 1] == b'\n' }
    };
    let to = to.min(data.len());
    let found = memmem::find_iter(&data[from.min(to)..data.len().min(to + 4)], b"WARC/")
        .map(|at| from + at)
        .find(|&at| at < to && begins_line(at) && is_head(&data[at..]));
    if !arc {
        return found;
    }
    let to = found.unwrap_or(to);
    let mut at = from;
    while at < to {
        if begins_line(at) && is_arc_head(&data[at..]) {
            return Some(at);
        }
        at = memchr(b'\n', &data[at..to]).map_or(to, |end| at + end + 1);
    }
    found
}

/// The fields of a WARC record's header that say what to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    pub kind: &'a [u8],
    pub uri: &'a [u8],
    pub date: &'a [u8],
    pub id: &'a [u8],
    /// The media type of the block.
    pub media: &'a [u8],
    /// The media type that the crawler found the payload to be.
    pub identified: &'a [u8],
    /// Why the crawler cut the record, where it did.
    pub truncated: &'a [u8],
    pub segment: &'a [u8],
    pub payload_digest: &'a [u8],
    pub block_digest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a header; of one that is there twice, the first.
    pub fn of(header: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for line in header.split(|b| *b == b'\n').skip(1) {
            let Some(colon) = memchr(b':', line) else {
                continue;
            };
            let name = trim(&line[..colon]);
            let slot = match name.len() {
                9 if name.eq_ignore_ascii_case(b"WARC-Type") => &mut fields.kind,
                9 if name.eq_ignore_ascii_case(b"WARC-Date") => &mut fields.date,
                12 if name.eq_ignore_ascii_case(b"Content-Type") => &mut fields.media,
                14 if name.eq_ignore_ascii_case(b"WARC-Record-ID") => &mut fields.id,
                14 if name.eq_ignore_ascii_case(b"WARC-Truncated") => &mut fields.truncated,
                15 if name.eq_ignore_ascii_case(b"WARC-Target-URI") => &mut fields.uri,
                17 if name.eq_ignore_ascii_case(b"WARC-Block-Digest") => &mut fields.block_digest,
                19 if name.eq_ignore_ascii_case(b"WARC-Payload-Digest") => {
                    &mut fields.payload_digest
                }
                19 if name.eq_ignore_ascii_case(b"WARC-Segment-Number") => &mut fields.segment,
                28 if name.eq_ignore_ascii_case(b"WARC-Identified-Payload-Type") => {
                    &mut fields.identified
                }
                _ => continue,
            };
            if slot.is_empty() {
                *slot = trim(&line[colon + 1..]);
            }
        }
        fields
    }
}

/// The value of a `Content-Length` line, none for another line or a value that is no number.
pub fn content_length(line: &[u8]) -> Option<u64> {
    let colon = memchr(b':', line)?;
    let name = trim(&line[..colon]);
    if name.len() != 14 || !name.eq_ignore_ascii_case(b"Content-Length") {
        return None;
    }
    std::str::from_utf8(trim(&line[colon + 1..]))
        .ok()?
        .parse()
        .ok()
}

/// Microseconds since 1970 of a date as WARC (`2026-01-02T03:04:05.25Z`, shorter forms too, an offset for the `Z`) or
/// ARC (`20260102030405`, shorter ones too) has it; none where it is none.
pub fn timestamp(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    if text.iter().all(u8::is_ascii_digit) {
        let n = text.len();
        if !(4..=17).contains(&n) || !(n.is_multiple_of(2) || n == 17) {
            return None;
        }
        let part = |at: usize, width: usize, default: i64| {
            text.get(at..at + width).map_or(Some(default), number)
        };
        let millis = part(14, 3, 0)?;
        let day = (part(0, 4, 1)?, part(4, 2, 1)?, part(6, 2, 1)?);
        let seconds = seconds_of(day, (part(8, 2, 0)?, part(10, 2, 0)?, part(12, 2, 0)?))?;
        return Some(seconds * 1_000_000 + millis * 1000);
    }
    let mut rest = text;
    let mut take = |mark: &[u8], width: usize| -> Option<Option<i64>> {
        // None: it is there and no number. Some(None): the text does not go on with it.
        let Some((first, after)) = rest.split_first() else {
            return Some(None);
        };
        let body = if mark.is_empty() {
            rest
        } else if mark.contains(first) {
            after
        } else {
            return Some(None);
        };
        let value = number(body.get(..width)?)?;
        rest = &body[width..];
        Some(Some(value))
    };
    let year = take(b"", 4)??;
    let day = (
        year,
        take(b"-", 2)?.unwrap_or(1),
        take(b"-", 2)?.unwrap_or(1),
    );
    let hour = take(b"Tt ", 2)?.unwrap_or(0);
    let clock = (
        hour,
        take(b":", 2)?.unwrap_or(0),
        take(b":", 2)?.unwrap_or(0),
    );
    let mut micros = 0;
    if let [b'.' | b',', after @ ..] = rest {
        let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..6 {
            micros = micros * 10
                + after
                    .get(place)
                    .filter(|_| place < digits)
                    .map_or(0, |b| i64::from(b - b'0'));
        }
        rest = &after[digits..];
    }
    let shift = match rest {
        b"" | b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h0, h1, minutes @ ..] => {
            let minutes = minutes.strip_prefix(b":").unwrap_or(minutes);
            let minutes = if minutes.is_empty() {
                0
            } else {
                number(minutes).filter(|_| minutes.len() == 2)?
            };
            let shift = number(&[*h0, *h1])? * 3600 + minutes * 60;
            if *sign == b'+' { shift } else { -shift }
        }
        _ => return None,
    };
    Some((seconds_of(day, clock)? - shift) * 1_000_000 + micros)
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

/// Seconds since 1970 of a day and a time of day, none where there is no such day or time.
fn seconds_of(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days before a month, counted from March, so that the leap day is the last of its year.
    let (from_march, years) = ((month + 9) % 12, year - i64::from(month < 3));
    let before = (153 * from_march + 2) / 5;
    let since = 365 * years + years / 4 - years / 100 + years / 400 + before + day - 1;
    Some((since - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}
