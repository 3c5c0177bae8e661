//! Records, one after the other, and what is wrong with them.
//!
//! ```text
//! SEEK the next head > HEAD to its blank line > BODY by Content-Length > CHECK what follows
//! ```
//!
//! After damage, and where a header or a length is wrong, it goes on at the next head or member.

use std::io;

use memchr::memchr;

use crate::extent::{Extent, Head};
use crate::heads::{
    ARC_LOOK, Format, WARC_LOOK, arc_line, content_length, find_head, is_head, is_version,
};
use crate::input::Source;
use crate::notes::Note;
use crate::stream::Stream;

/// Bytes of a record's body that are kept; a longer one is passed over.
pub const MAX_BODY: usize = 64 << 20;
/// Bytes of a record's header.
const MAX_HEADER: usize = 1 << 20;
/// Bytes that are searched at once.
pub const STEP: usize = 64 << 10;

const GARBAGE: &str = "no record";
const UNFINISHED: &str = "record header without an end";

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its body has more than `MAX_BODY` bytes and is not given.
    TooLarge,
    /// Its body or header ends early, and why.
    Cut(&'static str),
    /// The checksum of its member is wrong: some byte of it is, too.
    Checksum,
    /// Its body was found by what follows it, since its length is missing or wrong.
    Length(&'static str),
}

/// A record; valid until the next one is asked for.
#[derive(Debug)]
pub struct Record<'a> {
    /// Which of the two formats its header is of.
    pub format: Format,
    /// Byte of the file at which the record begins, in a compressed file its member.
    pub offset: u64,
    /// Number of the record in its member; 0 where the file is not compressed.
    pub ordinal: u64,
    /// The lines of the header, without the blank line.
    pub header: &'a [u8],
    /// The block, without the line ends behind it.
    pub body: &'a [u8],
    /// Bytes of the body that the header says.
    pub declared: Option<u64>,
    /// None where the record is whole.
    pub fault: Option<Fault>,
}

/// Reads the records of a file, or of a part of it, that begin in [start, end).
pub struct Reader {
    pub(crate) stream: Stream,
    start: u64,
    arc: Option<bool>,
    /// Bytes of the file, where it is not compressed.
    pub(crate) size: Option<u64>,
    /// No record of the slice was found yet.
    pub(crate) entering: bool,
    /// (offset, logical place) at which garbage began.
    garbage: Option<(u64, u64)>,
    /// The byte before the next one ends a line.
    pub(crate) line: bool,
    /// Member of the last record, and the number of records in it.
    last: Option<(u64, u64)>,
    pub(crate) rewinds: u32,
    /// Header of a record whose body was passed over.
    pub(crate) header: Vec<u8>,
    finished: bool,
}

impl Reader {
    /// The records of a file that begin in bytes [start, end); `end` is none for the rest of it. In a compressed file
    /// those of the members that begin there.
    pub fn new(source: Box<dyn Source>, start: u64, end: Option<u64>) -> io::Result<Self> {
        // A file that is not compressed is entered a record's greatest length before the slice: from any head there,
        // one inside a record too, the records that follow lead to the same heads.
        let end = end.unwrap_or(u64::MAX);
        let (mut stream, format) = Stream::new(source, start, end)?;
        let size = stream.plain_size();
        if stream.is_plain() {
            stream.jump(start.saturating_sub((MAX_BODY + MAX_HEADER) as u64))?;
        }
        let within = stream.is_plain() && stream.at() > 0;
        stream.notes.muted = start > 0 && !stream.is_plain();
        stream.notes.from = if stream.is_plain() { start } else { 0 };
        let mut reader = Self {
            line: stream.at() == 0 || !stream.is_plain(),
            stream,
            start,
            arc: format.map(|format| format == Format::Arc),
            size,
            entering: start > 0,
            garbage: None,
            last: None,
            rewinds: 0,
            header: Vec::new(),
            finished: false,
        };
        if within {
            reader.resync()?;
        }
        Ok(reader)
    }

    /// Whether offsets are those of members.
    pub fn is_compressed(&self) -> bool {
        !self.stream.is_plain()
    }

    /// What was wrong since the last call.
    pub fn notes(&mut self) -> Vec<Note> {
        self.stream.notes.take()
    }

    /// What was wrong beyond the places that were told one by one: what, places, bytes that gave nothing.
    pub fn more_notes(&mut self) -> Vec<(&'static str, u64, u64)> {
        self.stream.notes.rest()
    }

    fn offset(&self) -> u64 {
        if self.stream.is_plain() {
            self.stream.at()
        } else {
            self.stream.member
        }
    }

    pub(crate) fn consume(&mut self, n: usize) {
        if n > 0 {
            self.line = self.stream.bytes()[n - 1] == b'\n';
            self.stream.consume(n);
        }
    }

    /// The next record, none at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            let Some((format, line)) = self.seek()? else {
                return Ok(None);
            };
            let (at, offset) = (self.stream.at(), self.offset());
            let passed = self.stream.is_plain() && at < self.start;
            if !passed {
                self.entering = false;
                self.stream.notes.muted = false;
            }
            let extent = self.extent(format, line, offset)?;
            let ordinal = match self.last {
                Some((member, n)) if member == offset && !self.stream.is_plain() => n + 1,
                _ => 0,
            };
            self.last = Some((offset, ordinal));
            if passed {
                self.consume(extent.1.next);
                continue;
            }
            return Ok(Some(self.given(format, offset, ordinal, extent)));
        }
    }

    /// The record whose extent is known; the stream moves on behind it.
    fn given(
        &mut self,
        format: Format,
        offset: u64,
        ordinal: u64,
        (declared, extent): (Option<u64>, Extent),
    ) -> Record<'_> {
        let mut fault = extent.fault;
        if fault.is_none() && self.stream.is_bad(extent.end) {
            fault = Some(Fault::Checksum);
        }
        self.consume(extent.next);
        let (header, body): (&[u8], &[u8]) = if fault == Some(Fault::TooLarge) {
            (&self.header, &[])
        } else {
            let record = self.stream.consumed(extent.next);
            (&record[..extent.header], &record[extent.body..extent.end])
        };
        Record {
            format,
            offset,
            ordinal,
            header,
            body,
            declared,
            fault,
        }
    }

    /// Moves to the next head that is the slice's: its format, and the length of its first line.
    fn seek(&mut self) -> io::Result<Option<(Format, usize)>> {
        loop {
            self.skip_blank()?;
            let more = self.stream.ensure(1)?;
            self.stream.pass_marks();
            if !more || self.finished || self.stream.beyond {
                self.finished = true;
                self.end_garbage();
                return Ok(None);
            }
            // A member that a slice begins with may begin in the middle of a record.
            let strict = self.entering && !self.stream.is_plain();
            self.stream.ensure(if strict { WARC_LOOK } else { 6 })?;
            let bytes = self.stream.bytes();
            if if strict {
                is_head(bytes)
            } else {
                is_version(bytes)
            } {
                self.arc.get_or_insert(false);
                self.end_garbage();
                return Ok(Some((Format::Warc, 0)));
            }
            let length = self.first_line()?;
            let line = &self.stream.bytes()[..length];
            let strict = self.arc != Some(true) || self.garbage.is_some();
            let arc = line.starts_with(b"filedesc:") || arc_line(line, strict).is_some();
            if arc && self.arc != Some(false) {
                self.arc.get_or_insert(true);
                self.end_garbage();
                return Ok(Some((Format::Arc, length)));
            }
            self.resync()?;
        }
    }

    /// Passes line ends, spaces, NUL and byte order marks.
    fn skip_blank(&mut self) -> io::Result<()> {
        while self.stream.ensure(1)? {
            self.stream.ensure(3)?;
            let bytes = self.stream.bytes();
            let blank = bytes
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0))
                .count();
            let mark = bytes[blank..].starts_with(b"\xef\xbb\xbf");
            let n = blank + if mark { 3 } else { 0 };
            if n == 0 {
                return Ok(());
            }
            self.consume(n);
        }
        Ok(())
    }

    /// Length of the line that begins here, without its end; at most `ARC_LOOK`.
    fn first_line(&mut self) -> io::Result<usize> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr(b'\n', &self.stream.bytes()[seen..]) {
                return Ok((seen + at).min(ARC_LOOK));
            }
            seen = self.stream.bytes().len();
            if seen >= ARC_LOOK || !self.stream.ensure(seen + 1)? {
                return Ok(seen.min(ARC_LOOK));
            }
        }
    }

    fn end_garbage(&mut self) {
        if let Some((offset, at)) = self.garbage.take() {
            let skipped = self.stream.at() - at;
            self.stream.notes.add(offset, GARBAGE, skipped);
        }
    }

    /// Passes what is no record, to the next head at the beginning of a line or to the next member.
    fn resync(&mut self) -> io::Result<()> {
        if self.garbage.is_none() {
            self.garbage = Some((self.offset(), self.stream.at()));
        }
        if !self.stream.ensure(1)? {
            return Ok(());
        }
        self.consume(1);
        let arc = self.arc != Some(false);
        let look = if arc { ARC_LOOK } else { WARC_LOOK };
        loop {
            let more = self.stream.ensure(look + STEP)?;
            if self.stream.mark_at(0) {
                return Ok(());
            }
            let bytes = self.stream.bytes();
            let to = if more {
                bytes.len() - look
            } else {
                bytes.len()
            };
            let mark = self.stream.starts_within(to).next();
            let to = mark.unwrap_or(to);
            let found = find_head(bytes, 0, to, self.line, arc);
            let n = found.unwrap_or(to);
            self.consume(n);
            let outside =
                self.entering && self.stream.is_plain() && self.stream.at() >= self.stream.end;
            if found.is_some() || mark.is_some() || !more || outside {
                return Ok(());
            }
            self.stream.pass_marks();
        }
    }

    /// The record that begins here: the length it declares, and where its parts lie.
    fn extent(
        &mut self,
        format: Format,
        line: usize,
        offset: u64,
    ) -> io::Result<(Option<u64>, Extent)> {
        let head = match format {
            Format::Warc => self.warc_head(offset)?,
            Format::Arc => self.arc_head(line),
        };
        let extent = if head.whole {
            self.body(&head, format == Format::Arc, offset)?
        } else {
            Extent {
                header: head.header,
                body: head.body,
                end: head.body,
                next: head.body,
                fault: Some(Fault::Cut(UNFINISHED)),
            }
        };
        Ok((head.declared, extent))
    }

    fn arc_head(&self, line: usize) -> Head {
        let bytes = self.stream.bytes();
        Head {
            header: line,
            body: (line + 1).min(bytes.len()),
            declared: arc_line(&bytes[..line], false).map(|line| line.length),
            whole: line < bytes.len(),
        }
    }

    fn warc_head(&mut self, offset: u64) -> io::Result<Head> {
        let mut at = 0;
        let mut declared = None;
        let whole = loop {
            let end = loop {
                let bytes = self.stream.bytes();
                if let Some(end) = memchr(b'\n', &bytes[at..]) {
                    break Some(at + end);
                }
                let n = bytes.len();
                if n > MAX_HEADER || !self.stream.ensure(n + 1)? {
                    break None;
                }
            };
            let end = end.unwrap_or(self.stream.bytes().len().min(MAX_HEADER));
            if let Some((cut, _)) = self.stream.cut_within(end) {
                at = cut;
                break false;
            }
            // Damage may have taken the end of this header: a record that begins a member ends it.
            let next = self.stream.starts_within(end + 1).next();
            if let Some(next) = next.filter(|next| is_head(&self.stream.bytes()[*next..])) {
                at = next;
                break false;
            }
            let bytes = self.stream.bytes();
            let line = &bytes[at..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if end == bytes.len() || end >= MAX_HEADER {
                // The last line may be whole but for its end.
                declared = declared.or_else(|| content_length(line));
                at = end;
                break false;
            }
            if at > 0 && line.is_empty() {
                let body = end + 1;
                return Ok(Head {
                    header: at,
                    body,
                    declared,
                    whole: true,
                });
            }
            if at > 0 && is_version(line) && !line.contains(&b':') {
                break false;
            }
            if at > 0 {
                declared = declared.or_else(|| content_length(line));
            }
            at = end + 1;
        };
        self.stream.notes.add(offset, UNFINISHED, 0);
        Ok(Head {
            header: at,
            body: at,
            declared,
            whole,
        })
    }
}
