//! An HTTP message: its status, the header fields that say what the body is, and the body.

use memchr::memchr;

use crate::heads::trim;

/// An HTTP response, as far as reading it asks.
#[derive(Debug, Default)]
pub struct Message<'a> {
    /// None where the status line has none.
    pub status: Option<u16>,
    pub body: &'a [u8],
    /// Values, joined by a comma where a field is there more than once; `content_type` is the first one.
    pub content_type: Vec<u8>,
    pub content_encoding: Vec<u8>,
    pub transfer_encoding: Vec<u8>,
}

/// The message in a record's body; none where it does not begin as one.
pub fn message(block: &[u8]) -> Option<Message<'_>> {
    let (line, mut rest) = split_line(block);
    let mut message = Message::default();
    let first = line.split(|b| *b == b' ').next().unwrap_or(b"");
    if first.len() >= 4 && first[..4].eq_ignore_ascii_case(b"HTTP")
        || first.eq_ignore_ascii_case(b"ICY")
    {
        let second = line[first.len()..].trim_ascii_start();
        let digits = second.iter().take_while(|b| b.is_ascii_digit()).count();
        message.status = std::str::from_utf8(&second[..digits]).ok()?.parse().ok();
    } else if memchr(b':', line).is_none_or(|at| at == 0 && !line.starts_with(b":status"))
        || !is_field(line)
    {
        return None;
    } else {
        rest = block; // the status line is missing
    }
    let mut folded: Option<usize> = None; // the value that a line with a space in front goes on with
    loop {
        let (line, after) = split_line(rest);
        if line.is_empty() {
            message.body = after;
            return Some(message);
        }
        rest = after;
        let values = [
            &mut message.content_type,
            &mut message.content_encoding,
            &mut message.transfer_encoding,
        ];
        if matches!(line[0], b' ' | b'\t') {
            if let Some(slot) = folded {
                values[slot].push(b' ');
                values[slot].extend_from_slice(trim(line));
            }
            continue;
        }
        folded = None;
        let Some(colon) = memchr(b':', line) else {
            continue;
        };
        let name = trim(&line[..colon]);
        let slot = match name.len() {
            12 if name.eq_ignore_ascii_case(b"Content-Type") => 0,
            16 if name.eq_ignore_ascii_case(b"Content-Encoding") => 1,
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => 2,
            _ => continue,
        };
        let value = trim(&line[colon + 1..]);
        if !values[slot].is_empty() {
            if slot == 0 {
                continue;
            }
            values[slot].push(b',');
        }
        folded = Some(slot);
        values[slot].extend_from_slice(value);
    }
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', bytes) {
        Some(end) => {
            let line = &bytes[..end];
            (line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..])
        }
        None => (bytes, &[]),
    }
}

/// Whether a line is a header field: a name of the characters that names have, and a colon.
fn is_field(line: &[u8]) -> bool {
    let line = line.strip_prefix(b":").unwrap_or(line);
    memchr(b':', line).is_some_and(|colon| {
        colon > 0
            && line[..colon]
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

/// A media type without its parameters, in lower case.
pub fn media_type(value: &[u8]) -> Vec<u8> {
    let end = value
        .iter()
        .position(|b| matches!(b, b';' | b','))
        .unwrap_or(value.len());
    trim(&value[..end]).to_ascii_lowercase()
}

/// The parameter `charset` of a media type, without quotes, in lower case; empty where there is none.
pub fn charset(value: &[u8]) -> Vec<u8> {
    let mut parameters = value.split(|b| *b == b';').skip(1);
    let found = parameters.find_map(|parameter| {
        let equals = memchr(b'=', parameter)?;
        let (name, value) = (trim(&parameter[..equals]), &parameter[equals + 1..]);
        name.eq_ignore_ascii_case(b"charset").then_some(value)
    });
    let found = found.unwrap_or(b"");
    let found = trim(&found[..memchr(b',', found).unwrap_or(found.len())]);
    let found = found.strip_prefix(b"\"").unwrap_or(found);
    trim(found.strip_suffix(b"\"").unwrap_or(found)).to_ascii_lowercase()
}

/// Whether a media type says nothing about what the body is.
pub fn is_general(media: &[u8]) -> bool {
    const GENERAL: [&[u8]; 10] = [
        b"",
        b"application/octet-stream",
        b"binary/octet-stream",
        b"application/binary",
        b"application/unknown",
        b"application/x-unknown",
        b"application/x-unknown-content-type",
        b"unknown/unknown",
        b"content/unknown",
        b"*/*",
    ];
    GENERAL.contains(&media) || memchr(b'/', media).is_none()
}

/// Whether a body of this media type is text, so that a coding which it begins as is not its content.
pub fn is_textual(media: &[u8]) -> bool {
    let holds = |word: &[u8]| memchr::memmem::find(media, word).is_some();
    is_general(media)
        || media.starts_with(b"text/")
        || holds(b"html")
        || holds(b"xml")
        || holds(b"json")
        || holds(b"javascript")
}
