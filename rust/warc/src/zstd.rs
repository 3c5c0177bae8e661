//! The frames of a zstd file. A skippable frame at its front may hold the dictionary of all frames (the layout of
//! `.warc.zst`), itself compressed or not.

use std::io::{self, Read};

use memchr::memmem;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::gzip::CUT;
use crate::heads::{Format, format_of};
use crate::input::Input;
use crate::notes::{Budget, EARNED, HEAD, Notes, SOUND, TRIAL};
use crate::stream::{Edge, Output};

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
const DICTIONARY: [u8; 4] = 0x184d_2a5d_u32.to_le_bytes();
/// The window of a frame is at most 2^27 bytes; it is held in memory.
const WINDOW_LOG: u32 = 27;
const LONGEST_DICTIONARY: usize = 16 << 20;
const PIECE: usize = 128 << 10;

pub const DAMAGED: &str = "damaged zstd frame";
const GARBAGE: &str = "no zstd frame";

fn is_skippable(head: &[u8]) -> bool {
    head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == DICTIONARY[1..]
}

/// Whether a frame begins here, a skippable one too.
pub fn is_frame(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || is_skippable(head)
}

/// Reads frames. `pull` gives some bytes of the file's content.
pub struct Zstd {
    decoder: Decoder<'static>,
    /// Byte of the file at which the frame begins that is being read.
    open: Option<u64>,
    trials: Budget,
    /// First byte after the slice.
    pub end: u64,
}

impl Zstd {
    /// The reader of a file, with the dictionary at its front if there is one.
    pub fn new(input: &mut Input) -> io::Result<Self> {
        let dictionary = dictionary(input)?;
        let mut decoder = Decoder::with_dictionary(&dictionary)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self {
            decoder,
            open: None,
            trials: Budget::new(),
            end: u64::MAX,
        })
    }

    /// Forgets what it was in the middle of.
    pub fn reset(&mut self) {
        self.open = None;
    }

    /// What the first frame begins as.
    pub fn peek(&mut self, input: &mut Input) -> io::Result<Option<Format>> {
        input.seek(0)?;
        while is_skippable(input.bytes()) && skip(input)? {}
        input.fill(TRIAL)?;
        self.decoder.reinit()?;
        let mut head = vec![0; HEAD];
        let (mut from, mut to) = (
            InBuffer::around(input.bytes()),
            OutBuffer::around(&mut head[..]),
        );
        let _ = self.decoder.run(&mut from, &mut to);
        let made = to.pos();
        Ok(format_of(&head[..made]))
    }

    /// Whether a frame begins at the input's place, or the file ends there.
    pub fn on_edge(&mut self, input: &mut Input) -> io::Result<bool> {
        if self.open.is_some() {
            return Ok(false);
        }
        input.fill(MAGIC.len())?;
        Ok(input.bytes().is_empty() || input.bytes().starts_with(&MAGIC))
    }

    /// Appends some bytes to `out`; false at the end of the file.
    pub fn pull(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
    ) -> io::Result<bool> {
        if let Some(start) = self.open {
            return self.frame(input, out, notes, start);
        }
        input.fill(8)?;
        let (start, bytes) = (input.position(), input.bytes());
        if bytes.is_empty() {
            return Ok(false);
        }
        if is_skippable(bytes) {
            if !skip(input)? {
                notes.add(start, CUT, input.position() - start);
            }
            return Ok(true);
        }
        if bytes.starts_with(&MAGIC) {
            let beyond = start >= self.end;
            if beyond && notes.stop == u64::MAX {
                notes.stop = start;
            }
            out.mark(Edge::Start {
                member: start,
                beyond,
            });
            self.decoder.reinit()?;
            self.open = Some(start);
            return Ok(true);
        }
        self.next_member(input, u64::MAX)?;
        notes.add(start, GARBAGE, input.position() - start);
        out.mark(Edge::Cut(GARBAGE));
        Ok(true)
    }

    fn frame(
        &mut self,
        input: &mut Input,
        out: &mut Output,
        notes: &mut Notes,
        start: u64,
    ) -> io::Result<bool> {
        input.fill(1)?;
        let before = out.window.len();
        out.window.resize(before + PIECE, 0);
        let (mut from, mut to) = (
            InBuffer::around(input.bytes()),
            OutBuffer::around(&mut out.window[before..]),
        );
        let done = self.decoder.run(&mut from, &mut to);
        let (used, made) = (from.pos(), to.pos());
        out.window.truncate(before + made);
        input.consume(used);
        match done {
            Ok(0) => self.open = None,
            Ok(_) if used > 0 || made > 0 => {}
            Ok(_) => {
                self.open = None;
                notes.add(start, CUT, 0);
                out.mark(Edge::Cut(CUT));
                return Ok(false);
            }
            Err(_) => {
                self.open = None;
                let fault = input.position();
                out.mark(Edge::Cut(DAMAGED));
                // The library says only roughly where the damage is: the next frame is looked for from this one on,
                // but no further back than a frame's header and one block.
                input.seek((start + 4).max(fault.saturating_sub(PIECE as u64 + 64)))?;
                let more = self.next_member(input, u64::MAX)?;
                notes.add(start, DAMAGED, input.position().saturating_sub(fault));
                return Ok(more);
            }
        }
        Ok(true)
    }

    /// Moves to the next frame at or after the input's place; false where there is none before byte `limit`.
    pub fn next_member(&mut self, input: &mut Input, limit: u64) -> io::Result<bool> {
        while input.position() < limit {
            input.fill(TRIAL)?;
            let bytes = input.bytes();
            if bytes.len() < MAGIC.len() {
                let rest = bytes.len();
                input.consume(rest);
                return Ok(false);
            }
            let found = memmem::find(bytes, &MAGIC);
            let step = found.unwrap_or(bytes.len() - 3);
            self.trials.earn(step as u64 * EARNED);
            input.consume(step);
            if found.is_some() {
                if self.is_member(input)? {
                    return Ok(true);
                }
                input.consume(1);
            }
        }
        Ok(false)
    }

    /// Whether a frame begins at the input's place: it begins with a record, or decodes to its end or for a MiB.
    fn is_member(&mut self, input: &mut Input) -> io::Result<bool> {
        let here = input.position();
        let found = self.try_member(input);
        input.seek(here)?;
        found
    }

    fn try_member(&mut self, input: &mut Input) -> io::Result<bool> {
        self.decoder.reinit()?;
        let mut piece = vec![0; TRIAL];
        let (mut room, mut total) = (HEAD, 0);
        loop {
            input.fill(1)?;
            let (mut from, mut to) = (
                InBuffer::around(input.bytes()),
                OutBuffer::around(&mut piece[..room]),
            );
            let done = self.decoder.run(&mut from, &mut to);
            let (used, made) = (from.pos(), to.pos());
            input.consume(used);
            if total == 0 && format_of(&piece[..made]).is_some() {
                return Ok(true);
            }
            total += made;
            if !self.trials.spend(256 + made as u64) {
                return Ok(false);
            }
            match done {
                Ok(0) => return Ok(true),
                Ok(_) if total >= SOUND => return Ok(true),
                Ok(_) if used > 0 || made > 0 => room = TRIAL,
                _ => return Ok(false),
            }
        }
    }
}

/// Passes a skippable frame; false where the file ends inside it.
fn skip(input: &mut Input) -> io::Result<bool> {
    input.fill(8)?;
    let bytes = input.bytes();
    let Some(&[a, b, c, d]) = bytes.get(4..8) else {
        let rest = bytes.len();
        input.consume(rest);
        return Ok(false);
    };
    let mut left = 8 + u32::from_le_bytes([a, b, c, d]) as usize;
    while left > 0 && input.fill(1)? {
        let step = left.min(input.bytes().len());
        input.consume(step);
        left -= step;
    }
    Ok(left == 0)
}

/// The dictionary in the skippable frame that a file may begin with; empty where there is none, or a longer one.
fn dictionary(input: &mut Input) -> io::Result<Vec<u8>> {
    input.seek(0)?;
    input.fill(8)?;
    let bytes = input.bytes();
    if !bytes.starts_with(&DICTIONARY) || bytes.len() < 8 {
        return Ok(Vec::new());
    }
    let size = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
    if size > LONGEST_DICTIONARY || !input.fill(8 + size)? {
        return Ok(Vec::new());
    }
    let stored = &input.bytes()[8..8 + size];
    if !stored.starts_with(&MAGIC) {
        return Ok(stored.to_vec());
    }
    let mut content = Vec::new();
    let reader = ::zstd::stream::read::Decoder::with_buffer(stored)?;
    // A damaged dictionary shows where the frames that need it are read.
    let _ = reader
        .take(LONGEST_DICTIONARY as u64)
        .read_to_end(&mut content);
    Ok(content)
}
