//! The stored bytes of a file through one window that moves forwards, and back when it is told to.

use std::io::{self, Read, Seek, SeekFrom};

/// What a file is read from.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Bytes that are read at once when reading goes on, and after a jump.
const READ: usize = 1 << 20;
const READ_AFTER_JUMP: usize = 16 << 10;

/// A window over a file.
pub struct Input {
    source: Box<dyn Source>,
    /// Stored bytes from `base` on; those before `at` were consumed.
    buffer: Vec<u8>,
    at: usize,
    base: u64,
    /// The buffer reaches the end of the file.
    ended: bool,
    read: usize,
}

impl Input {
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            at: 0,
            base: 0,
            ended: false,
            read: READ_AFTER_JUMP,
        }
    }

    /// Bytes of the file; none where the source does not tell.
    pub fn size(&mut self) -> Option<u64> {
        let size = self.source.seek(SeekFrom::End(0)).ok()?;
        let back = self.base + self.buffer.len() as u64;
        self.source.seek(SeekFrom::Start(back)).ok()?;
        Some(size)
    }

    /// Place in the file of the next byte.
    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// What is available from `position` on.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Whether `bytes` reaches the end of the file.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Makes `n` bytes available; false where the file ends before.
    pub fn fill(&mut self, n: usize) -> io::Result<bool> {
        while self.buffer.len() - self.at < n {
            if self.ended {
                return Ok(false);
            }
            let left = self.buffer.len() - self.at;
            // Moved only when at most as much is kept as was consumed, so that all moves together are linear.
            if self.at >= left {
                self.buffer.copy_within(self.at.., 0);
                self.buffer.truncate(left);
                self.base += self.at as u64;
                self.at = 0;
            }
            let want = self.read.max(n - left);
            self.read = (self.read * 2).min(READ);
            self.buffer.reserve(want);
            let got = (&mut self.source)
                .take(want as u64)
                .read_to_end(&mut self.buffer)?;
            self.ended = got < want;
        }
        Ok(true)
    }

    /// Moves on by `n` of the available bytes.
    pub fn consume(&mut self, n: usize) {
        self.at += n.min(self.buffer.len() - self.at);
    }

    /// Moves to a place of the file, within the window where it is there.
    pub fn seek(&mut self, to: u64) -> io::Result<()> {
        if to >= self.base && to <= self.base + self.buffer.len() as u64 {
            self.at = (to - self.base) as usize;
            return Ok(());
        }
        self.source.seek(SeekFrom::Start(to))?;
        self.buffer.clear();
        (self.at, self.base, self.ended) = (0, to, false);
        self.read = READ_AFTER_JUMP;
        Ok(())
    }
}
