//! The codings of a body undone: chunks, gzip, deflate, brotli, zstd. Nothing here trusts what a header says.

use std::io::{ErrorKind, Read};

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use memchr::memchr;

use crate::inflate::{End, GZIP, Libdeflate, gzip_header, inflate};

/// Bytes that a body may decode to.
pub const MAX_DECODED: usize = 64 << 20;
/// Codings of one body that are undone.
const MAX_CODINGS: usize = 4;
/// Window of a zstd body, as a power of 2; RFC 9659 allows 2^23.
const WINDOW_LOG: u32 = 25;
/// A first chunk of so many bytes that is not there is no chunk size but a number that a text begins with.
const UNLIKELY: usize = 1 << 24;
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// How undoing a coding came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Whole.
    Whole,
    /// The coded bytes end early; what they hold was given.
    Short,
    /// They are not of this coding: they stay as they are.
    Not,
    /// They are damaged.
    Bad,
    /// They hold more than `MAX_DECODED` bytes.
    TooLarge,
}

/// What the rules of decoding a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Decoded, or nothing was to do.
    Whole,
    /// Decoded, but the body ends early, in this coding.
    Short(&'static str),
    /// Damaged in this coding.
    Bad(&'static str),
    TooLarge,
}

/// Undoes codings.
pub struct Decoder {
    whole: Libdeflate,
}

impl Decoder {
    pub fn new() -> Self {
        Self {
            whole: Libdeflate::new(),
        }
    }

    /// Appends to `out` the body behind `body`: chunks undone where `chunked` or where it consists of nothing else, a
    /// second time where they were made twice; then the codings of a `Content-Encoding` list (the last one first); then,
    /// with `look`, whatever it still looks like.
    pub fn decode(
        &mut self,
        body: &[u8],
        chunked: bool,
        codings: &[u8],
        look: bool,
        out: &mut Vec<u8>,
    ) -> Body {
        let begin = out.len();
        let mut short = None;
        let mut decoded = false; // whether the body stands in `out`
        if let Some(whole) = unchunk(body, chunked, out) {
            short = (!whole).then_some("chunked");
            decoded = true;
            if is_chunked(&out[begin..]) {
                let outer = out.split_off(begin);
                unchunk(&outer, true, out);
            }
        }
        let names = codings
            .split(|b| *b == b',')
            .filter_map(|name| coding_named(name.trim_ascii()));
        let mut names: Vec<&str> = names.collect();
        let mut held = Vec::new(); // what a coding before gave, while the next one is undone
        for _ in 0..MAX_CODINGS {
            let now = if decoded { &out[begin..] } else { body };
            let asked = names.pop();
            let Some(name) = asked.or_else(|| looks_like(now).filter(|_| look)) else {
                break;
            };
            if decoded {
                held = out.split_off(begin);
            }
            let from = if decoded { &held } else { body };
            let undone = self.undo(name, from, out, begin);
            match undone {
                Undone::TooLarge => return Body::TooLarge,
                Undone::Bad if asked.is_some() || name == "gzip" => return Body::Bad(name),
                Undone::Not | Undone::Bad => {
                    out.truncate(begin);
                    out.extend_from_slice(if decoded { &held } else { body });
                }
                Undone::Short => short = short.or(Some(name)),
                Undone::Whole => {}
            }
            decoded = true;
            if asked.is_none() && matches!(undone, Undone::Not | Undone::Bad) {
                break;
            }
        }
        if !decoded {
            out.extend_from_slice(body);
        }
        short.map_or(Body::Whole, Body::Short)
    }

    fn undo(&mut self, name: &str, body: &[u8], out: &mut Vec<u8>, begin: usize) -> Undone {
        if body.is_empty() {
            return Undone::Not;
        }
        let cap = begin + MAX_DECODED;
        match name {
            "gzip" => self.gunzip(body, out, cap),
            "deflate" => undeflate(body, out, cap),
            "br" if is_text(body) => Undone::Not,
            "br" => {
                let mut reader = Decompressor::new(
                    Given {
                        rest: body,
                        over: false,
                    },
                    64 << 10,
                );
                reader.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                match read_to(&mut reader, out, cap) {
                    Undone::Bad if reader.get_ref().over => Undone::Short,
                    undone => undone,
                }
            }
            _ if !body.starts_with(ZSTD) => Undone::Not,
            _ => {
                let Ok(mut reader) = zstd::stream::read::Decoder::with_buffer(body) else {
                    return Undone::Bad;
                };
                match reader.window_log_max(WINDOW_LOG) {
                    Ok(()) => read_to(reader, out, cap),
                    Err(_) => Undone::Bad,
                }
            }
        }
    }

    fn gunzip(&mut self, body: &[u8], out: &mut Vec<u8>, cap: usize) -> Undone {
        if !body.starts_with(&GZIP[..2]) {
            return Undone::Not;
        }
        let begin = out.len();
        // The trailer says how much it holds, unless it lies: deflate gives at most 1032 bytes for one.
        if let [.., a, b, c, d] = *body {
            let size = u32::from_le_bytes([a, b, c, d]) as usize;
            if size <= body.len().saturating_mul(1032).min(cap - out.len()) {
                if self.whole.gzip(body, out, size) == Some(body.len()) {
                    return Undone::Whole;
                }
                out.truncate(begin);
            }
        }
        let mut rest = body;
        while let Some(header) = gzip_header(rest) {
            match inflate(&rest[header..], false, out, cap) {
                End::Whole(used) => {
                    let after = header + used + 8;
                    if after > rest.len() {
                        return Undone::Short;
                    }
                    rest = &rest[after..];
                }
                End::Short => return Undone::Short,
                End::Bad => return Undone::Bad,
                End::Full => return Undone::TooLarge,
            }
        }
        if out.len() == begin && rest.len() == body.len() {
            return if body.len() < 18 {
                Undone::Short
            } else {
                Undone::Bad
            };
        }
        Undone::Whole
    }
}

/// zlib or raw deflate: servers send both under this name, and archives bodies that were decoded.
fn undeflate(body: &[u8], out: &mut Vec<u8>, cap: usize) -> Undone {
    let begin = out.len();
    let mut found = Undone::Bad;
    for header in [true, false] {
        if header && !is_zlib(body) {
            continue;
        }
        out.truncate(begin);
        match inflate(body, header, out, cap) {
            End::Whole(_) => return Undone::Whole,
            End::Full => return Undone::TooLarge,
            End::Short if header && out.len() > begin => {
                found = Undone::Short;
                break;
            }
            End::Short if out.len() > begin && !is_text(body) => found = Undone::Short,
            _ => {}
        }
    }
    if found == Undone::Bad && is_text(body) {
        Undone::Not
    } else {
        found
    }
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flags, ..] if cmf & 15 == 8 && cmf >> 4 <= 7
        && (u16::from(*cmf) << 8 | u16::from(*flags)).is_multiple_of(31) && flags & 32 == 0)
}

/// Whether the beginning of a body has no control character, as text has none.
fn is_text(body: &[u8]) -> bool {
    let head = &body[..body.len().min(512)];
    head.iter()
        .all(|b| *b >= 0x20 && *b != 0x7f || matches!(b, b'\t' | b'\n' | b'\r' | 0x0c))
}

/// A body of which it is told whether more was asked for than it has.
struct Given<'a> {
    rest: &'a [u8],
    over: bool,
}

impl Read for Given<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.over |= self.rest.is_empty();
        self.rest.read(buffer)
    }
}

/// Reads a decoder to its end, to at most `cap` bytes in `out`.
fn read_to(mut reader: impl Read, out: &mut Vec<u8>, cap: usize) -> Undone {
    let mut piece = [0; 32 << 10];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Undone::Whole,
            Ok(n) if out.len() + n > cap => return Undone::TooLarge,
            Ok(n) => out.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Undone::Short,
            Err(_) => return Undone::Bad,
        }
    }
}

/// The coding that a name means; none for `identity` and for what is no coding known here.
fn coding_named(name: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &'static str); 6] = [
        (b"gzip", "gzip"),
        (b"x-gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"x-deflate", "deflate"),
        (b"br", "br"),
        (b"zstd", "zstd"),
    ];
    let found = known
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    found.map(|(_, coding)| *coding)
}

/// The coding that a body begins as, where its first bytes tell.
fn looks_like(body: &[u8]) -> Option<&'static str> {
    if gzip_header(body).is_some() {
        return Some("gzip");
    }
    if body.starts_with(ZSTD) {
        return Some("zstd");
    }
    (body.len() > 8 && is_zlib(body) && body[0] == 0x78 && !is_text(body)).then_some("deflate")
}

/// The size in a chunk's first line, and the length of that line with its end.
fn chunk_size(body: &[u8]) -> Option<(usize, usize)> {
    let end = memchr(b'\n', &body[..body.len().min(4096)])?;
    let line = &body[..end];
    let digits = line[..memchr(b';', line).unwrap_or(end)].trim_ascii();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let size = digits.iter().try_fold(0_usize, |size, digit| {
        let value = (*digit as char).to_digit(16)? as usize;
        size.checked_mul(16)?.checked_add(value)
    })?;
    Some((size, end + 1))
}

/// Whether a body is whole chunks from its first to its last byte.
fn is_chunked(mut body: &[u8]) -> bool {
    loop {
        let Some((size, line)) = chunk_size(body) else {
            return false;
        };
        body = &body[line..];
        if size == 0 {
            // Trailer fields and a blank line may follow; a body that goes on is no chunked one.
            return body.len() < 1024;
        }
        let Some(rest) = body.get(size..) else {
            return false;
        };
        body = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            _ => return false,
        };
    }
}

/// Appends the content of chunks to `out`: whether they were whole; none where the body is not chunked.
///
/// A body whose first line is no chunk size was decoded before it was archived. After a later line that is none, the
/// rest is taken as it stands. Without `declared` every chunk must be as it should.
pub fn unchunk(body: &[u8], declared: bool, out: &mut Vec<u8>) -> Option<bool> {
    if !declared && !is_chunked(body) {
        return None;
    }
    let (mut rest, mut first) = (body, true);
    loop {
        let Some((size, line)) = chunk_size(rest) else {
            if first {
                return None;
            }
            out.extend_from_slice(rest);
            return Some(false);
        };
        rest = &rest[line..];
        if size == 0 {
            return Some(true);
        }
        let take = size.min(rest.len());
        if first && size > rest.len() && size >= UNLIKELY {
            return None;
        }
        out.extend_from_slice(&rest[..take]);
        rest = &rest[take..];
        if take < size || rest.is_empty() {
            return Some(false);
        }
        rest = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            _ => rest,
        };
        first = false;
    }
}
