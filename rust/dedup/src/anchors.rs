//! Anchors: sampled windows of texts, equal ones of which two equal stretches share.
//!
//! ```text
//! text      ....................................................
//! windows   every place of GRAM bytes has a rolling hash
//! anchors        ^          ^              ^         ^            the least of every min_length - gram + 1 windows
//! ```
//!
//! Two equal stretches of `min_length` bytes hold the same windows, so that the least hash of them is the same and both
//! have an anchor with it. One anchor comes for some `(min_length - gram) / 2` bytes of text.
//!
//! Of equal windows the last is the anchor, which in a text with a short period makes anchors of one hash at every
//! period. Of such a row the first two and the last two stay, and of the others one in at most `min_length - gram`
//! bytes: a repeat that holds an end of the row has an anchor at the same place in both texts, and inside of the row
//! any two places are alike. Time is linear in the text, whatever it holds.

use crate::Error;
use curate_text::Texts;
use curate_text::hash::finish;

/// Odd, with many bits set: the base of the rolling hash, modulo 2^64.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;
/// The least length of repeats: below it anchors would be as many as bytes.
pub const LEAST: usize = 32;

/// The windows that are hashed have so many bytes: a quarter of a repeat, so that anchors are few and rarely equal by
/// chance.
pub fn gram(min_length: usize) -> usize {
    (min_length / 4).max(16)
}

/// The anchors of a column of texts, in the order of rows and places.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Anchors {
    /// The row.
    pub row: Vec<u32>,
    /// Hash of the window.
    pub hash: Vec<u64>,
    /// Where the window begins, in bytes of the row's text.
    pub place: Vec<u64>,
}

/// The anchors of every text for repeats of at least `min_length` bytes.
pub fn anchors(texts: Texts<'_>, min_length: usize) -> Result<Anchors, Error> {
    check(min_length)?;
    let gram = gram(min_length);
    let leaving = (0..gram).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let mut out = Anchors::default();
    let mut window = Window::new(min_length - gram + 1);
    for (row, text) in texts.iter().enumerate() {
        if text.len() < min_length {
            continue;
        }
        window.clear();
        let mut run = Run::default();
        let first = text[..gram].iter();
        let mut rolling = first.fold(0_u64, |hash, &byte| {
            hash.wrapping_mul(BASE).wrapping_add(value(byte))
        });
        window.push(finish(rolling));
        for (&entering, &left) in text[gram..].iter().zip(text) {
            rolling = rolling
                .wrapping_mul(BASE)
                .wrapping_add(value(entering))
                .wrapping_sub(value(left).wrapping_mul(leaving));
            if let Some((hash, place)) = window.push(finish(rolling)) {
                run.add(&mut out, row as u32, hash, place, &window, gram);
            }
        }
    }
    Ok(out)
}

/// The row of equal windows that a text's last anchors belong to: `gap` bytes lie between each and the next, at most as
/// many as a window has, so that the text has this period from the first of them to the end of the last.
#[derive(Default)]
struct Run {
    hash: u64,
    place: usize, // of the last one
    gap: usize,   // 0 where there is one only
    kept: usize,  // of its windows, those that no smaller hash hid and that are anchors
}

impl Run {
    /// Adds the window at `place` to the anchors, with the first two of its row that the least hash so far hid.
    fn add(
        &mut self,
        out: &mut Anchors,
        row: u32,
        hash: u64,
        place: usize,
        window: &Window,
        gram: usize,
    ) {
        let gap = place - self.place;
        if self.kept == 0 || hash != self.hash || gap > gram {
            let (first, gap) = window.row_before(place, gram);
            (self.hash, self.gap, self.kept) = (hash, gap, 0);
            for hidden in [first, first + gap] {
                if hidden < place {
                    out.insert(row, hash, hidden as u64);
                }
            }
        } else if self.gap != gap {
            // The one before begins a row of its own.
            (self.gap, self.kept) = (gap, 1);
        } else if self.kept >= 4 {
            let n = out.place.len();
            if self.place as u64 - out.place[n - 3] <= (window.size - 1) as u64 {
                out.place[n - 2] = self.place as u64;
                out.place[n - 1] = place as u64;
                self.place = place;
                return;
            }
        }
        out.push(row, hash, place as u64);
        self.place = place;
        self.kept += 1;
    }
}

impl Anchors {
    fn push(&mut self, row: u32, hash: u64, place: u64) {
        self.row.push(row);
        self.hash.push(hash);
        self.place.push(place);
    }

    /// Adds an anchor of the last row at its place, which is near the end, unless it is there.
    fn insert(&mut self, row: u32, hash: u64, place: u64) {
        let mut at = self.place.len();
        while at > 0 && self.row[at - 1] == row && self.place[at - 1] > place {
            at -= 1;
        }
        if at == 0 || self.row[at - 1] != row || self.place[at - 1] != place {
            self.row.insert(at, row);
            self.hash.insert(at, hash);
            self.place.insert(at, place);
        }
    }
}

/// The least of the last `size` values, the last one of equal ones. The last 2 `size` values are held.
///
/// A value is compared with the least; where that one leaves, the least of the others is looked for, which happens once
/// in some `size` / 2 values. Values are hashes of bytes, so that few can be made to ascend.
struct Window {
    size: usize,
    held: Vec<u64>,
    before: usize,       // values that are no longer held
    least: (u64, usize), // and its place
    told: usize,         // the place that was last told
}

impl Window {
    fn new(size: usize) -> Self {
        Self {
            size,
            held: Vec::with_capacity(4 * size.max(1024)),
            before: 0,
            least: (u64::MAX, 0),
            told: usize::MAX,
        }
    }

    fn clear(&mut self) {
        self.held.clear();
        (self.before, self.least, self.told) = (0, (u64::MAX, 0), usize::MAX);
    }

    /// Takes a value; gives the least of a full window, with its place, where it is another than before.
    fn push(&mut self, value: u64) -> Option<(u64, usize)> {
        if self.held.len() == self.held.capacity() {
            let gone = self.held.len() - 2 * self.size;
            self.held.drain(..gone);
            self.before += gone;
        }
        self.held.push(value);
        let count = self.before + self.held.len();
        if value <= self.least.0 {
            self.least = (value, count - 1);
        } else if self.least.1 + self.size < count {
            let last = &self.held[self.held.len() - self.size..];
            let least = last.iter().copied().fold(u64::MAX, u64::min);
            let place = last.iter().rposition(|&other| other == least).unwrap_or(0);
            self.least = (least, count - self.size + place);
        }
        if count < self.size || self.told == self.least.1 {
            return None;
        }
        self.told = self.least.1;
        Some(self.least)
    }

    /// The first of the equal values that come before `place` at equal distances of at most `most`, and the distance;
    /// `place` and 0 where there is none.
    fn row_before(&self, place: usize, most: usize) -> (usize, usize) {
        let at = place - self.before;
        let value = self.held[at];
        let near = &self.held[at.saturating_sub(most)..at];
        let Some(gap) = near.iter().rev().position(|&other| other == value) else {
            return (place, 0);
        };
        let gap = gap + 1;
        let more = self.held[..at].iter().rev().skip(gap - 1).step_by(gap);
        let count = more.take_while(|&&other| other == value).count();
        (place - count * gap, gap)
    }
}

/// A byte as the rolling hash takes it: zeros count, too.
fn value(byte: u8) -> u64 {
    u64::from(byte) + 1
}

pub(crate) fn check(min_length: usize) -> Result<(), Error> {
    if min_length >= LEAST {
        return Ok(());
    }
    Err(Error::OutOfRange {
        name: "min_length",
        value: min_length,
        min: LEAST,
        max: usize::MAX,
    })
}
