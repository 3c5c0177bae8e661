//! The content of a file, decompressed, as one stream of bytes with marks.
//!
//! A *member* is what can be entered in the middle of a file: a gzip member, a zstd frame, the whole of a file that is
//! not compressed. A mark says where in the stream a member begins, or where damage cut it. Places in the stream are
//! *logical*; those of an uncompressed file are its bytes.

use std::collections::VecDeque;
use std::io;

use crate::gzip::Gzip;
use crate::heads::{Format, format_of};
use crate::inflate::GZIP;
use crate::input::{Input, Source};
use crate::notes::Notes;
use crate::zstd::{self, Zstd};

/// Bytes that a window may have before its consumed part is given up.
const SLACK: usize = 1 << 20;
/// Bytes of an uncompressed file that are taken at once.
const PLAIN: usize = 256 << 10;
/// Bytes within which a file that begins with garbage is searched for its first member.
const LEADING: usize = 1 << 20;

/// A place in the stream.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Logical.
    pub at: u64,
    pub what: Edge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A member begins, at this byte of the file. `beyond`: it is the slice's after.
    Start { member: u64, beyond: bool },
    /// Damage, and what it is: what follows does not belong to what stands before.
    Cut(&'static str),
}

/// What decompressed bytes are written to: a window, and the marks in it.
#[derive(Default)]
pub struct Output {
    pub window: Vec<u8>,
    /// Bytes at the front of the window that were consumed.
    start: usize,
    /// Logical place of the window's first byte.
    base: u64,
    pub marks: VecDeque<Mark>,
    /// Cuts among the marks.
    cuts: usize,
    /// Logical ranges of members that are longer or other than their checksum says.
    pub bad: VecDeque<(u64, u64)>,
}

impl Output {
    /// Logical place after the last byte.
    pub fn end(&self) -> u64 {
        self.base + self.window.len() as u64
    }

    pub fn mark(&mut self, what: Edge) {
        self.cuts += usize::from(matches!(what, Edge::Cut(_)));
        self.marks.push_back(Mark {
            at: self.end(),
            what,
        });
    }
}

enum Form {
    Plain,
    Gzip(Box<Gzip>),
    Zstd(Box<Zstd>),
}

/// The stream of one file from a byte of it on.
pub struct Stream {
    form: Form,
    input: Input,
    out: Output,
    /// Of the byte at `at`: where its member begins in the file, and whether that is beyond the slice.
    pub member: u64,
    pub beyond: bool,
    /// Logical place at which that member begins.
    pub member_at: u64,
    /// First byte after the slice.
    end: u64,
    ended: bool,
    pub notes: Notes,
}

impl Stream {
    /// The stream from `start` on, where the file can be entered there, and the format that the file begins as.
    pub fn new(
        source: Box<dyn Source>,
        start: u64,
        end: u64,
    ) -> io::Result<(Self, Option<Format>)> {
        let mut input = Input::new(source);
        let (mut form, format) = sniff(&mut input)?;
        if let Form::Gzip(gzip) = &mut form {
            gzip.end = end;
        }
        if let Form::Zstd(zstd) = &mut form {
            zstd.end = end;
        }
        input.seek(start)?;
        let mut stream = Self {
            form,
            input,
            out: Output {
                base: start,
                ..Output::default()
            },
            member: start,
            beyond: false,
            member_at: start,
            end,
            ended: false,
            notes: Notes::new(),
        };
        if start > 0 {
            stream.enter()?;
        }
        Ok((stream, format))
    }

    /// Moves to the first member at or after the start of a slice that does not begin the file.
    fn enter(&mut self) -> io::Result<()> {
        let found = match &mut self.form {
            Form::Plain => true,
            Form::Gzip(gzip) => gzip.next_member(&mut self.input)?,
            Form::Zstd(zstd) => zstd.next_member(&mut self.input)?,
        };
        self.ended = !found;
        Ok(())
    }

    /// Whether places in the stream are bytes of the file.
    pub fn is_plain(&self) -> bool {
        matches!(self.form, Form::Plain)
    }

    /// Bytes of the file, where it is not compressed and its size is known.
    pub fn plain_size(&mut self) -> Option<u64> {
        if self.is_plain() {
            self.input.size()
        } else {
            None
        }
    }

    /// Logical place of the next byte.
    pub fn at(&self) -> u64 {
        self.out.base + self.out.start as u64
    }

    pub fn bytes(&self) -> &[u8] {
        &self.out.window[self.out.start..]
    }

    /// `bytes`, and before them `n` consumed ones.
    pub fn consumed(&self, n: usize) -> &[u8] {
        &self.out.window[self.out.start - n..]
    }

    pub fn consume(&mut self, n: usize) {
        self.out.start += n;
        debug_assert!(self.out.start <= self.out.window.len());
    }

    /// Makes `n` bytes available; false where the stream ends before.
    #[inline]
    pub fn ensure(&mut self, n: usize) -> io::Result<bool> {
        if self.bytes().len() >= n {
            return Ok(true);
        }
        self.pull(n)
    }

    fn pull(&mut self, n: usize) -> io::Result<bool> {
        while self.bytes().len() < n {
            if self.ended {
                return Ok(false);
            }
            let out = &mut self.out;
            let left = out.window.len() - out.start;
            if out.start > 0 && (left == 0 || (out.start > SLACK && out.start >= left)) {
                out.base += out.start as u64;
                out.window.copy_within(out.start.., 0);
                out.window.truncate(left);
                out.start = 0;
            }
            let more = match &mut self.form {
                Form::Plain => {
                    let want = PLAIN.min(n.max(8 << 10));
                    self.input.fill(want)?;
                    let bytes = self.input.bytes();
                    let bytes = &bytes[..bytes.len().min(PLAIN)];
                    out.window.extend_from_slice(bytes);
                    let got = bytes.len();
                    self.input.consume(got);
                    got > 0
                }
                Form::Gzip(gzip) => gzip.pull(&mut self.input, out, &mut self.notes)?,
                Form::Zstd(zstd) => zstd.pull(&mut self.input, out, &mut self.notes)?,
            };
            self.ended = !more;
        }
        Ok(true)
    }

    /// Passes the marks at or before the next byte.
    pub fn pass_marks(&mut self) {
        let at = self.at();
        while let Some(mark) = self.out.marks.front().copied().filter(|mark| mark.at <= at) {
            match mark.what {
                Edge::Start { member, beyond } => {
                    (self.member, self.beyond, self.member_at) = (member, beyond, mark.at);
                }
                Edge::Cut(_) => self.out.cuts -= 1,
            }
            self.out.marks.pop_front();
        }
        while self.out.bad.front().is_some_and(|(_, end)| *end <= at) {
            self.out.bad.pop_front();
        }
        if self.is_plain() {
            self.beyond = at >= self.end;
        }
    }

    /// The first cut after the next byte, at most `n` bytes on: its distance, and what it is.
    pub fn cut_within(&self, n: usize) -> Option<(usize, &'static str)> {
        if self.out.cuts == 0 {
            return None;
        }
        let at = self.at();
        let marks = self
            .out
            .marks
            .iter()
            .take_while(|mark| mark.at <= at + n as u64);
        marks
            .filter(|mark| mark.at > at)
            .find_map(|mark| match mark.what {
                Edge::Cut(what) => Some(((mark.at - at) as usize, what)),
                Edge::Start { .. } => None,
            })
    }

    /// Distances of the members that begin after the next byte, less than `n` bytes on.
    pub fn starts_within(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        let at = self.at();
        self.out
            .marks
            .iter()
            .take_while(move |mark| mark.at < at + n as u64)
            .filter(move |mark| mark.at > at && matches!(mark.what, Edge::Start { .. }))
            .map(move |mark| (mark.at - at) as usize)
    }

    /// Whether a mark stands `n` bytes on.
    pub fn mark_at(&self, n: usize) -> bool {
        let at = self.at() + n as u64;
        let marks = self.out.marks.iter().take_while(|mark| mark.at <= at);
        marks.into_iter().any(|mark| mark.at == at)
    }

    /// Whether the available bytes are `n`, and a member or the end of the file follows. So the window can be empty when
    /// the next member is read, which is then written where the last one was, in the processor's cache.
    pub fn on_edge(&mut self, n: usize) -> io::Result<bool> {
        if self.bytes().len() != n || self.ended {
            return Ok(self.bytes().len() == n);
        }
        match &mut self.form {
            Form::Plain => Ok(false),
            Form::Gzip(gzip) => gzip.on_edge(&mut self.input),
            Form::Zstd(zstd) => zstd.on_edge(&mut self.input),
        }
    }

    /// Distance of the first mark of any kind, at least `n` bytes on and not at the next byte.
    pub fn next_mark(&self, n: usize) -> Option<usize> {
        let at = self.at();
        let mut marks = self.out.marks.iter();
        marks
            .find(|mark| mark.at >= at + n.max(1) as u64)
            .map(|mark| (mark.at - at) as usize)
    }

    /// Whether the next `n` bytes are of a member whose checksum is wrong.
    pub fn is_bad(&self, n: usize) -> bool {
        let (from, to) = (self.at(), self.at() + n as u64);
        self.out.bad.iter().any(|(a, b)| *a < to && *b > from)
    }

    /// Moves to a byte of an uncompressed file.
    pub fn jump(&mut self, to: u64) -> io::Result<()> {
        let here = self.out.base..=self.out.end();
        if here.contains(&to) {
            self.out.start = (to - self.out.base) as usize;
            return Ok(());
        }
        self.input.seek(to)?;
        self.out.window.clear();
        (self.out.base, self.out.start, self.ended) = (to, 0, false);
        Ok(())
    }

    /// Moves back to the member that begins at byte `member` of the file and at logical place `at`.
    pub fn rewind(&mut self, member: u64, at: u64) -> io::Result<()> {
        match &mut self.form {
            Form::Plain => return self.jump(at),
            Form::Gzip(gzip) => gzip.reset(),
            Form::Zstd(zstd) => zstd.reset(),
        }
        self.input.seek(member)?;
        self.out = Output {
            window: std::mem::take(&mut self.out.window),
            base: at,
            ..Output::default()
        };
        self.out.window.clear();
        self.ended = false;
        Ok(())
    }
}

/// How a file is compressed, and what its content begins as, by its first bytes.
fn sniff(input: &mut Input) -> io::Result<(Form, Option<Format>)> {
    input.fill(64 << 10)?;
    if input.bytes().starts_with(&GZIP[..2]) {
        let mut gzip = Gzip::new();
        let format = gzip.peek(input);
        return Ok((Form::Gzip(Box::new(gzip)), format));
    }
    if zstd::is_frame(input.bytes()) {
        let mut zstd = Zstd::new(input)?;
        let format = zstd.peek(input)?;
        return Ok((Form::Zstd(Box::new(zstd)), format));
    }
    let head = input.bytes();
    let format = format_of(&head[..head.len().min(32 << 10)]);
    if format.is_none() {
        // Garbage in front: a gzip member with a record in it decides, unless a record stands before it as it is.
        let mut gzip = Gzip::new();
        input.fill(LEADING)?;
        let text = crate::heads::find_head(input.bytes(), 0, LEADING, true, false);
        let limit = text.unwrap_or(LEADING) as u64;
        if gzip.next_record_member(input, limit)? {
            return Ok((Form::Gzip(Box::new(gzip)), None));
        }
    }
    Ok((Form::Plain, format))
}
