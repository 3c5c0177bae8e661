//! Where a record's body ends.
//!
//! After a body there must be line ends and then a head, a member or the end: then nothing is searched. Where something
//! else stands, and no blank line ends the record, its length is wrong: it was too long where a head stands inside the
//! body, else too short, and the record goes on to the next head, member or cut.

use std::io;

use crate::gzip::CUT;
use crate::heads::{ARC_LOOK, WARC_LOOK, find_head, is_arc_head, is_head, is_version};
use crate::record::{Fault, MAX_BODY, Reader, STEP};

/// Bytes of line ends that may follow a record.
const MAX_BLANK: usize = 4096;
/// Records whose length proved to be wrong only after 64 MiB, and which are then read again.
const REWINDS: u32 = 4;

const TRUNCATED: &str = "record cut short";
const TOO_LONG: &str = "Content-Length longer than the record";
const TOO_SHORT: &str = "Content-Length shorter than the record";
const MISSING: &str = "record without Content-Length";

/// Where a record's parts lie from its first byte on, and where the next one is looked for.
pub struct Extent {
    pub header: usize,
    pub body: usize,
    pub end: usize,
    pub next: usize,
    pub fault: Option<Fault>,
}

/// A header: its length, where its body begins, the length that it declares, and whether it has an end.
pub struct Head {
    pub header: usize,
    pub body: usize,
    pub declared: Option<u64>,
    pub whole: bool,
}

impl Reader {
    /// The extent of the record with this header.
    pub(crate) fn body(&mut self, head: &Head, arc: bool, offset: u64) -> io::Result<Extent> {
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
            if self.ends_well(want, arc)? {
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
        if self.is_terminated(want)? {
            return Ok(part(want, want, None)); // garbage follows
        }
        let (end, next) = self.extended(head.body, want, arc)?;
        if end - want > (length as usize).max(1024) {
            return Ok(part(want, want, None)); // rather garbage than a part of the record
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
            if self.ends_well(0, arc)? || (fault.is_some() && self.is_terminated(0)?) {
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
        is_head(bytes) || (arc && is_arc_head(bytes))
    }

    /// Whether a record can end `at` bytes on: line ends follow, and then a head, a mark or the end.
    fn ends_well(&mut self, at: usize, arc: bool) -> io::Result<bool> {
        let mut after = at;
        loop {
            if self.stream.on_edge(after)?
                || !self.stream.ensure(after + 1)?
                || self.stream.mark_at(after)
            {
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
