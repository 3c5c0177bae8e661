//! The members of a gzip file, and what stands between them.

use std::io;

use flate2::{Crc, Decompress, FlushDecompress, Status};
use memchr::memmem::{self, Finder};

use crate::heads::{Format, format_of, is_head};
use crate::inflate::{GZIP, Libdeflate, gzip_header};
use crate::input::Input;
use crate::notes::{Budget, EARNED, HEAD, Notes, SOUND, TRIAL};
use crate::stream::{Edge, Output};

/// Decompressed bytes of a member that is taken at once; a longer one is streamed.
const WHOLE: usize = 8 << 20;
/// Stored bytes that are looked at for a member that is taken at once.
const AHEAD: usize = 4 << 20;
const REFILL: usize = 1 << 20;
/// Decompressed bytes that a streamed member gives at once.
const PIECE: usize = 256 << 10;
/// Work that each byte read earns for going back.
const EARNED_BACK: u64 = 4;

pub const CUT: &str = "the file ends inside a record";
pub const DAMAGED: &str = "damaged gzip member";
const CHECKSUM: &str = "a gzip member whose checksum is wrong";
const GARBAGE: &str = "no gzip member";

struct Open {
    /// Byte of the file at which the member begins.
    start: u64,
    /// Decompressed bytes so far.
    made: u64,
}

/// Reads members. `pull` gives some bytes of the file's content.
pub struct Gzip {
    whole: Libdeflate,
    inflate: Decompress,
    crc: Crc,
    magic: Finder<'static>,
    open: Option<Open>,
    /// Records that are not compressed follow a member.
    text: bool,
    trials: Budget,
    back: Budget,
    scratch: Vec<u8>,
    /// First byte after the slice.
    pub end: u64,
}

impl Gzip {
    pub fn new() -> Self {
        Self {
            whole: Libdeflate::new(),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            magic: Finder::new(GZIP),
            open: None,
            text: false,
            trials: Budget::new(),
            back: Budget::new(),
            scratch: vec![0; TRIAL],
            end: u64::MAX,
        }
    }

    /// Forgets what it was in the middle of.
    pub fn reset(&mut self) {
        (self.open, self.text) = (None, false);
    }

    /// What the member at the input's place begins as.
    pub fn peek(&mut self, input: &mut Input) -> Option<Format> {
        let header = gzip_header(input.bytes())?;
        self.inflate.reset(false);
        let (data, head) = (&input.bytes()[header..], &mut self.scratch[..HEAD]);
        let _ = self.inflate.decompress(data, head, FlushDecompress::None);
        format_of(&head[..self.inflate.total_out() as usize])
    }

    /// Whether a member begins at the input's place, or the file ends there.
    pub fn on_edge(&mut self, input: &mut Input) -> io::Result<bool> {
        if self.open.is_some() || self.text {
            return Ok(false);
        }
        input.fill(REFILL)?;
        Ok(input.bytes().is_empty() || gzip_header(input.bytes()).is_some())
    }

    /// Appends some bytes to `out`; false at the end of the file.
    pub fn pull(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
    ) -> io::Result<bool> {
        if self.open.is_some() {
            return self.stream(input, out, notes);
        }
        if self.text {
            return self.plain(input, out);
        }
        input.fill(REFILL)?;
        let bytes = input.bytes();
        if bytes.is_empty() {
            return Ok(false);
        }
        let Some(header) = gzip_header(bytes) else {
            return self.between(input, out, notes);
        };
        let start = input.position();
        let beyond = start >= self.end;
        if beyond && notes.stop == u64::MAX {
            notes.stop = start;
        }
        out.mark(Edge::Start {
            member: start,
            beyond,
        });
        loop {
            let given = input.bytes().len();
            if let Some(used) = self.whole.gzip(input.bytes(), &mut out.window, WHOLE) {
                input.consume(used);
                self.back.earn(used as u64 * EARNED_BACK);
                return Ok(true);
            }
            if given >= AHEAD || !input.fill(given + 1)? {
                break;
            }
            input.fill(AHEAD)?;
        }
        input.consume(header);
        self.inflate.reset(false);
        self.crc.reset();
        self.open = Some(Open { start, made: 0 });
        Ok(true)
    }

    /// Goes on with a member that is long, cut or damaged: every byte before the damage is given.
    fn stream(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
    ) -> io::Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(true);
        };
        input.fill(1)?;
        let (before, read) = (out.window.len(), self.inflate.total_in());
        out.window.reserve(PIECE);
        let done =
            self.inflate
                .decompress_vec(input.bytes(), &mut out.window, FlushDecompress::None);
        let used = (self.inflate.total_in() - read) as usize;
        input.consume(used);
        self.back.earn(used as u64 * EARNED_BACK);
        self.crc.update(&out.window[before..]);
        open.made += (out.window.len() - before) as u64;
        let (start, made, here) = (open.start, open.made, input.position());
        match done {
            Ok(Status::StreamEnd) => self.finish(input, out, notes),
            Ok(_) if used > 0 || out.window.len() > before => Ok(true),
            Ok(_) => {
                self.open = None;
                notes.add(start, CUT, 0);
                out.mark(Edge::Cut(CUT));
                // Damage may have hidden the members after it.
                self.look_back(input, start, here, made)
            }
            Err(_) => {
                self.open = None;
                out.mark(Edge::Cut(DAMAGED));
                let more = self.look_back(input, start, here, made)? || {
                    input.seek(here)?;
                    self.next_member(input, u64::MAX)?
                };
                notes.add(start, DAMAGED, input.position().saturating_sub(here));
                Ok(more)
            }
        }
    }

    /// The trailer of a streamed member.
    fn finish(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
    ) -> io::Result<bool> {
        let Some(Open { start, made }) = self.open.take() else {
            return Ok(true);
        };
        if !input.fill(8)? {
            notes.add(start, CUT, 0);
            input.consume(8);
            return Ok(true);
        }
        let trailer = input.bytes();
        let word = |at: usize| {
            u32::from_le_bytes([
                trailer[at],
                trailer[at + 1],
                trailer[at + 2],
                trailer[at + 3],
            ])
        };
        let right = word(0) == self.crc.sum() && word(4) == made as u32;
        let end = input.position();
        if !right {
            notes.add(start, CHECKSUM, 0);
            out.bad.push_back((out.end() - made, out.end()));
            // The trailer may be that of no member: the next one may begin in it.
            if self.look_back(input, start, end + 8, made)? {
                out.mark(Edge::Cut(CHECKSUM));
                return Ok(true);
            }
            input.seek(end)?;
        }
        input.consume(8);
        Ok(true)
    }

    /// Looks for a member that begins with a record within [start + 1, end) of a damaged one, which gave `made` bytes,
    /// and moves there.
    fn look_back(
        &mut self,
        input: &mut Input,
        start: u64,
        end: u64,
        made: u64,
    ) -> io::Result<bool> {
        if !self.back.spend(end - start + made / 8) {
            return Ok(false);
        }
        input.seek(start + 1)?;
        self.search(input, end, true)
    }

    /// Moves to the next member at or after the input's place; false where there is none before byte `limit`.
    pub fn next_member(&mut self, input: &mut Input, limit: u64) -> io::Result<bool> {
        self.search(input, limit, false)
    }

    /// As `next_member`, for one that begins with a record.
    pub fn next_record_member(&mut self, input: &mut Input, limit: u64) -> io::Result<bool> {
        self.search(input, limit, true)
    }

    fn search(&mut self, input: &mut Input, limit: u64, record: bool) -> io::Result<bool> {
        loop {
            input.fill(TRIAL)?;
            let here = input.position();
            let bytes = input.bytes();
            let room = limit.saturating_sub(here);
            if bytes.len() < GZIP.len() || room == 0 {
                let rest = if room == 0 { 0 } else { bytes.len() };
                input.consume(rest);
                return Ok(false);
            }
            let found = self.magic.find(bytes);
            let step = found.unwrap_or(bytes.len() - 2);
            self.trials.earn(step as u64 * EARNED);
            if step as u64 >= room {
                input.consume(room as usize);
                return Ok(false);
            }
            input.consume(step);
            if found.is_some() {
                if self.is_member(input, record)? {
                    return Ok(true);
                }
                input.consume(1);
            }
        }
    }

    /// Whether a member begins at the input's place. The magic bytes alone say little: they occur by chance once in
    /// 16 MiB. It begins with a record, or (`record` false) decodes to its end with the right checksum, or decodes for
    /// a MiB.
    fn is_member(&mut self, input: &mut Input, record: bool) -> io::Result<bool> {
        input.fill(TRIAL)?;
        let Some(header) = gzip_header(input.bytes()) else {
            return Ok(false);
        };
        let here = input.position();
        if !self.trials.spend(256 + (header as u64).max(HEAD as u64)) {
            return Ok(false);
        }
        input.consume(header);
        let found = self.try_member(input, record);
        input.seek(here)?;
        found
    }

    fn try_member(&mut self, input: &mut Input, record: bool) -> io::Result<bool> {
        self.inflate.reset(false);
        let mut crc = Crc::new();
        let mut room = HEAD;
        loop {
            let (read, before) = (self.inflate.total_in(), self.inflate.total_out());
            let piece = &mut self.scratch[..room];
            let done = self
                .inflate
                .decompress(input.bytes(), piece, FlushDecompress::None);
            let used = (self.inflate.total_in() - read) as usize;
            let made = (self.inflate.total_out() - before) as usize;
            input.consume(used);
            crc.update(&piece[..made]);
            if before == 0 && format_of(&piece[..made]).is_some() {
                return Ok(true);
            }
            if record || !self.trials.spend(made as u64) {
                return Ok(false);
            }
            match done {
                Ok(Status::StreamEnd) => {
                    return Ok(input.fill(8)? && input.bytes()[..4] == crc.sum().to_le_bytes());
                }
                Ok(_) if self.inflate.total_out() >= SOUND as u64 => return Ok(true),
                Ok(_) if used > 0 || made > 0 => {}
                _ => return Ok(false),
            }
            input.fill(1)?;
            room = TRIAL;
        }
    }

    /// What stands between members: padding, records that are not compressed, garbage.
    fn between(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
    ) -> io::Result<bool> {
        let bytes = input.bytes();
        let padding = bytes
            .iter()
            .take_while(|b| matches!(b, 0 | b'\r' | b'\n'))
            .count();
        if padding > 0 {
            input.consume(padding);
            return Ok(true);
        }
        let start = input.position();
        if input.ended() && bytes.len() < 18 && GZIP.starts_with(&bytes[..bytes.len().min(3)]) {
            let rest = bytes.len();
            notes.add(start, CUT, rest as u64);
            input.consume(rest);
            return Ok(true);
        }
        loop {
            // A record stands as it is, at the beginning of a line, before any member: it is read on from there.
            input.fill(TRIAL)?;
            let bytes = input.bytes();
            if bytes.is_empty() {
                break;
            }
            let member = self.magic.find(bytes).unwrap_or(bytes.len());
            let record =
                memmem::find_iter(&bytes[..bytes.len().min(member + 5)], b"WARC/").find(|&at| {
                    let begins = if at == 0 {
                        input.position() == start
                    } else {
                        bytes[at - 1] == b'\n'
                    };
                    at < member && begins && is_head(&bytes[at..])
                });
            if let Some(at) = record {
                input.consume(at);
                self.text = true;
                break;
            }
            let step = if member < bytes.len() {
                member
            } else {
                bytes.len().saturating_sub(256).max(1)
            };
            self.trials.earn(step as u64 * EARNED);
            input.consume(step);
            if step == member {
                if self.is_member(input, false)? {
                    break;
                }
                input.consume(1);
            }
        }
        let here = input.position();
        if here > start {
            notes.add(start, GARBAGE, here - start);
            out.mark(Edge::Cut(GARBAGE));
        }
        if self.text {
            out.mark(Edge::Start {
                member: here,
                beyond: false,
            });
        }
        Ok(true)
    }

    /// Bytes that are not compressed, up to the next member.
    fn plain(&mut self, input: &mut Input, out: &mut Output) -> io::Result<bool> {
        input.fill(PIECE)?;
        let bytes = input.bytes();
        if bytes.is_empty() {
            return Ok(false);
        }
        let found = self.magic.find(bytes);
        let step = match found {
            Some(at) => at,
            None if input.ended() => bytes.len(),
            None => bytes.len() - 2,
        };
        self.trials.earn(step as u64 * EARNED);
        out.window.extend_from_slice(&bytes[..step]);
        input.consume(step);
        if found.is_some() {
            if self.is_member(input, true)? {
                self.text = false;
            } else {
                out.window.extend_from_slice(&input.bytes()[..1]);
                input.consume(1);
            }
        }
        Ok(true)
    }
}
