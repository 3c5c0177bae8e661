//! Records, one after the other, and what is wrong with them.
//!
//! ```text
//! SEEK the next head > HEAD to its blank line > BODY by Content-Length > CHECK what follows
//! ```
//!
//! After a body there must be line ends and then a head, a member or the end: then nothing is searched. Where something
//! else stands, and no blank line ends the record, its length is wrong: it was too long where a head stands inside the
//! body, else too short, and the record goes on to the next head, member or cut.

use std::io;

use memchr::memchr;

use crate::gzip::CUT;
use crate::heads::{
    ARC_LOOK, Format, WARC_LOOK, arc_line, content_length, find_head, is_arc_head, is_head,
    is_version,
};
use crate::input::Source;
use crate::notes::Note;
use crate::stream::Stream;

/// Bytes of a record's body that are kept; a longer one is passed over.
pub const MAX_BODY: usize = 64 << 20;
/// Bytes of a record's header.
const MAX_HEADER: usize = 1 << 20;
/// Bytes of line ends that may follow a record.
const MAX_BLANK: usize = 4096;
/// Bytes that are searched at once.
const STEP: usize = 64 << 10;
/// Records whose length proved to be wrong only after 64 MiB, and which are then read again.
const REWINDS: u32 = 4;

const GARBAGE: &str = "no record";
const TRUNCATED: &str = "record cut short";
const UNFINISHED: &str = "record header without an end";
const TOO_LONG: &str = "Content-Length longer than the record";
const TOO_SHORT: &str = "Content-Length shorter than the record";
const MISSING: &str = "record without Content-Length";

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

/// Where a record's parts lie from its first byte on, and where the next one is looked for.
struct Extent {
    header: usize,
    body: usize,
    end: usize,
    next: usize,
    fault: Option<Fault>,
}

/// A header: its length, where its body begins, the length that it declares, and whether it has an end.
struct Head {
    header: usize,
    body: usize,
    declared: Option<u64>,
    whole: bool,
}

/// Reads the records of a file, or of a part of it, that begin in [start, end).
pub struct Reader {
    stream: Stream,
    start: u64,
    arc: Option<bool>,
    /// Bytes of the file, where it is not compressed.
    size: Option<u64>,
    /// No record of the slice was found yet.
    entering: bool,
    /// (offset, logical place) at which garbage began.
    garbage: Option<(u64, u64)>,
    /// The byte before the next one ends a line.
    line: bool,
    /// Member of the last record, and the number of records in it.
    last: Option<(u64, u64)>,
    rewinds: u32,
    /// Header of a record whose body was passed over.
    header: Vec<u8>,
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

    fn consume(&mut self, n: usize) {
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
            self.stream.ensure(6)?;
            if is_version(self.stream.bytes()) {
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
            if found.is_some() || mark.is_some() || !more {
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
            if at > 0 && is_version(line) && (!line.contains(&b':') || self.stream.mark_at(at)) {
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

    fn body(&mut self, head: &Head, arc: bool, offset: u64) -> io::Result<Extent> {
        let part = |end: usize, next: usize, fault: Option<Fault>| Extent {
            header: head.header,
            body: head.body,
            end,
            next,
            fault,
        };
        let Some(length) = head.declared else {
            let (end, next) = self.extended(head.body, head.body, arc)?;
            self.stream.notes.add(offset, MISSING, 0);
            return Ok(part(end, next, Some(Fault::Length(MISSING))));
        };
        let large = length > MAX_BODY as u64;
        if (large || (self.entering && self.stream.is_plain()))
            && let Some(extent) = self.pass_over(head, length, arc, offset)?
        {
            return Ok(extent);
        }
        if large {
            let (end, next) = self.extended(head.body, head.body, arc)?;
            let fault = if next - head.body >= MAX_BODY {
                Fault::TooLarge
            } else {
                Fault::Length(TOO_LONG)
            };
            self.keep_header(head.header);
            self.stream.notes.add(offset, TOO_LONG, 0);
            return Ok(part(end, next, Some(fault)));
        }
        let want = head.body + length as usize;
        let whole = self.stream.ensure(want)?;
        let cut = self.stream.cut_within(want).filter(|(at, _)| *at < want);
        if whole && cut.is_none() {
            let inside = self
                .stream
                .starts_within(want)
                .find(|&at| at >= head.body && self.is_head_at(at, arc));
            if let Some(at) = inside {
                self.stream.notes.add(offset, TOO_LONG, 0);
                return Ok(part(
                    self.stripped(head.body, at),
                    at,
                    Some(Fault::Length(TOO_LONG)),
                ));
            }
            if self.ends_well(want, arc)? || self.is_terminated(want)? {
                return Ok(part(want, want, None));
            }
        }
        let stop = cut
            .map_or(want, |(at, _)| at)
            .min(self.stream.bytes().len());
        if let Some(at) = find_head(self.stream.bytes(), head.body, stop, false, arc) {
            self.stream.notes.add(offset, TOO_LONG, 0);
            return Ok(part(
                self.stripped(head.body, at),
                at,
                Some(Fault::Length(TOO_LONG)),
            ));
        }
        if stop < want {
            self.stream.notes.add(offset, TRUNCATED, 0);
            let why = cut.map_or(CUT, |(_, what)| what);
            return Ok(part(
                stop.max(head.body),
                stop.max(head.body),
                Some(Fault::Cut(why)),
            ));
        }
        let (end, next) = self.extended(head.body, want, arc)?;
        if end - want > (length as usize).max(1024) {
            // More follows than the record has: rather garbage than a part of it.
            return Ok(part(want, want, None));
        }
        self.stream.notes.add(offset, TOO_SHORT, 0);
        Ok(part(end, next, Some(Fault::Length(TOO_SHORT))))
    }

    fn keep_header(&mut self, n: usize) {
        self.header.clear();
        self.header.extend_from_slice(&self.stream.bytes()[..n]);
    }

    /// Passes over a body without holding it. None where its length proves wrong: the stream is then again where the
    /// record begins, or as far behind as it could not go back.
    fn pass_over(
        &mut self,
        head: &Head,
        length: u64,
        arc: bool,
        offset: u64,
    ) -> io::Result<Option<Extent>> {
        self.keep_header(head.header);
        let begin = self.stream.at();
        let target = begin
            .saturating_add(head.body as u64)
            .saturating_add(length);
        let fault = (length > MAX_BODY as u64).then_some(Fault::TooLarge);
        let passed = |next: usize, fault: Option<Fault>| Extent {
            header: 0,
            body: 0,
            end: 0,
            next,
            fault,
        };
        if self.stream.is_plain() {
            if self.size.is_none_or(|size| target > size) {
                return Ok(None);
            }
            self.stream.jump(target)?;
            if self.ends_well(0, arc)? || self.is_terminated(0)? {
                return Ok(Some(passed(0, fault)));
            }
            self.stream.jump(begin)?;
            self.stream.ensure(head.body)?;
            return Ok(None);
        }
        self.skim(head, target, arc, offset)
            .map(|skimmed| skimmed.then(|| passed(0, Some(Fault::TooLarge))))
    }

    /// `pass_over` for compressed files: reads on to `target`. It is told whether the length was right by what stands
    /// there; else the stream goes back to the first head that it passed, a few times in a file.
    fn skim(&mut self, head: &Head, target: u64, arc: bool, offset: u64) -> io::Result<bool> {
        let mut first: Option<(u64, u64, u64)> = None; // head passed: its place; its member, and the place of that
        self.consume(head.body);
        let wrong = loop {
            self.stream.pass_marks();
            let left = target - self.stream.at();
            if left == 0 {
                let right = self.ends_well(0, arc)? || self.is_terminated(0)?;
                break (!right).then_some(TOO_LONG);
            }
            let more = self.stream.ensure(STEP + WARC_LOOK)?;
            let bytes = self.stream.bytes();
            if bytes.is_empty() {
                break Some(TRUNCATED);
            }
            let to = if more {
                bytes.len() - WARC_LOOK
            } else {
                bytes.len()
            };
            let to = (to as u64).min(left) as usize;
            if let Some((at, _)) = self.stream.cut_within(to) {
                self.consume(at);
                break Some(TRUNCATED);
            }
            let inside = self
                .stream
                .starts_within(to)
                .find(|&at| self.is_head_at(at, arc));
            if let Some(at) = inside {
                self.consume(at);
                self.stream.notes.add(offset, TOO_LONG, 0);
                return Ok(true);
            }
            if first.is_none()
                && let Some(at) = find_head(bytes, 0, to, self.line, arc)
            {
                if self.rewinds >= REWINDS {
                    self.consume(at);
                    self.stream.notes.add(offset, TOO_LONG, 0);
                    return Ok(true);
                }
                first = Some((
                    self.stream.at() + at as u64,
                    self.stream.member,
                    self.stream.member_at,
                ));
            }
            self.consume(to);
        };
        if let Some(what) = wrong {
            self.stream
                .notes
                .add(offset, if first.is_some() { TOO_LONG } else { what }, 0);
            if let Some((place, member, member_at)) = first {
                self.rewinds += 1;
                self.stream.rewind(member, member_at)?;
                while self.stream.at() < place && self.stream.ensure(1)? {
                    let n = (place - self.stream.at()).min(self.stream.bytes().len() as u64);
                    self.consume(n as usize);
                }
            }
        }
        Ok(true)
    }

    fn is_head_at(&self, at: usize, arc: bool) -> bool {
        let bytes = &self.stream.bytes()[at..];
        is_version(bytes) || (arc && is_arc_head(bytes))
    }

    /// Whether a record can end `at` bytes on: line ends follow, and then a head, a mark or the end.
    fn ends_well(&mut self, at: usize, arc: bool) -> io::Result<bool> {
        let mut after = at;
        loop {
            if !self.stream.ensure(after + 1)? || self.stream.mark_at(after) {
                return Ok(true);
            }
            match self.stream.bytes()[after] {
                b'\r' | b'\n' | 0 if after - at < MAX_BLANK => after += 1,
                b'\r' | b'\n' | 0 => return Ok(false),
                _ => break,
            }
        }
        self.stream
            .ensure(after + if arc { ARC_LOOK } else { WARC_LOOK })?;
        let bytes = &self.stream.bytes()[after..];
        Ok(if after == at {
            is_head(bytes)
        } else {
            is_version(bytes)
        } || (arc && is_arc_head(bytes)))
    }

    /// Whether the two line ends that end a record stand `at` bytes on.
    fn is_terminated(&mut self, at: usize) -> io::Result<bool> {
        self.stream.ensure(at + 4)?;
        let bytes = &self.stream.bytes()[at..];
        Ok(bytes.starts_with(b"\r\n\r\n") || bytes.starts_with(b"\n\n"))
    }

    /// `end` without the two line ends that end a record before it.
    fn stripped(&self, begin: usize, mut end: usize) -> usize {
        let bytes = self.stream.bytes();
        for _ in 0..2 {
            if end > begin && bytes[end - 1] == b'\n' {
                end -= 1;
                end -= usize::from(end > begin && bytes[end - 1] == b'\r');
            }
        }
        end
    }

    /// Where a record ends whose length is not known: at the next head, mark or end from `from` on, or after `MAX_BODY`
    /// bytes. (End of the body, where the next record is looked for.)
    fn extended(&mut self, body: usize, from: usize, arc: bool) -> io::Result<(usize, usize)> {
        let look = if arc { ARC_LOOK } else { WARC_LOOK };
        let mut seen = from;
        loop {
            let more = self.stream.ensure(seen + look + STEP)?;
            let bytes = self.stream.bytes();
            let to = if more {
                bytes.len() - look
            } else {
                bytes.len()
            };
            let mark = self.stream.next_mark(from).filter(|mark| *mark <= to);
            let to = mark.unwrap_or(to);
            let found = find_head(bytes, seen, to, false, arc);
            if found.is_some() || mark.is_some() || !more {
                let next = found.unwrap_or(to);
                return Ok((self.stripped(body, next).max(from.min(next)), next));
            }
            if to - body >= MAX_BODY {
                return Ok((to, to));
            }
            seen = to;
        }
    }
}
