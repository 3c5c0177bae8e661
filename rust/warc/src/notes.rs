//! What was wrong with a file: where, what, and how many bytes gave nothing.

/// Places that are told one by one; of later ones only the numbers.
const TOLD: usize = 20;

/// One place that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Byte of the file: of the member, or of the record where the file is not compressed.
    pub offset: u64,
    /// What is wrong, in a few words.
    pub what: &'static str,
    /// Bytes that gave nothing: of the file as stored, or of a member as decompressed.
    pub skipped: u64,
}

/// Notes of one file or slice, in the order they were made.
pub struct Notes {
    held: Vec<Note>,
    told: usize,
    more: Vec<(&'static str, u64, u64)>,
    /// While a slice looks for its first record: what it passes is told by the slice before.
    pub muted: bool,
    /// What is wrong before this byte of the file is told by the slice before.
    pub from: u64,
    /// The first member of the slice after: what is wrong there is told by that slice.
    pub stop: u64,
}

impl Notes {
    pub fn new() -> Self {
        Self {
            held: Vec::new(),
            told: 0,
            more: Vec::new(),
            muted: false,
            from: 0,
            stop: u64::MAX,
        }
    }

    /// Adds a note. The same thing at the same place is told once, since a rewind meets it again.
    pub fn add(&mut self, offset: u64, what: &'static str, skipped: u64) {
        let note = Note {
            offset,
            what,
            skipped,
        };
        let elsewhere = self.muted || offset < self.from || offset >= self.stop;
        if elsewhere || self.held.iter().rev().take(16).any(|n| *n == note) {
            return;
        }
        if self.held.len() + self.told < TOLD {
            self.held.push(note);
            return;
        }
        match self.more.iter_mut().find(|(known, _, _)| *known == what) {
            Some((_, places, bytes)) => {
                *places += 1;
                *bytes += skipped;
            }
            None => self.more.push((what, 1, skipped)),
        }
    }

    /// The notes since the last call.
    pub fn take(&mut self) -> Vec<Note> {
        self.told += self.held.len();
        std::mem::take(&mut self.held)
    }

    /// What there was beyond those that were told one by one: what, places, bytes.
    pub fn rest(&mut self) -> Vec<(&'static str, u64, u64)> {
        std::mem::take(&mut self.more)
    }
}

/// Stored bytes that are read at once to try whether a member or frame begins somewhere.
pub const TRIAL: usize = 64 << 10;
/// Decompressed bytes that decide whether it begins with a record.
pub const HEAD: usize = 2 << 10;
/// Decompressed bytes that show that it is one at all.
pub const SOUND: usize = 1 << 20;
/// Work that each byte searched earns for trials.
pub const EARNED: u64 = 32;
/// Work that is there from the start.
const GIVEN: u64 = 128 << 20;

/// Work that a hostile file can ask for, held to a multiple of its bytes: what is read again, what is tried.
pub struct Budget {
    left: u64,
}

impl Budget {
    pub fn new() -> Self {
        Self { left: GIVEN }
    }

    pub fn earn(&mut self, work: u64) {
        self.left = self.left.saturating_add(work);
    }

    /// Whether there was enough for `work`, which is then spent.
    pub fn spend(&mut self, work: u64) -> bool {
        let enough = self.left >= work;
        if enough {
            self.left -= work;
        }
        enough
    }
}
