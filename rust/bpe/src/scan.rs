//! Hand-written scanners: where does the piece that starts here end?
//!
//! The regex engine finds some 5 million pieces of English a second, these find 120 million, and 600 million where
//! a window of 64 bytes is looked at together (see `window`), because the patterns need no backtracking once the
//! class of each character is known. `\s+(?!\S)`, the part that seems to need it, says: a run of spaces before a
//! word leaves its last character to the word.
//!
//! Every scanner gives exactly the matches of its pattern for valid UTF-8 (see the differential tests), and
//! on any bytes it moves ahead by at least one and stays inside the text.

use std::cell::Cell;

use crate::classes::{Classes, LETTER, LOWER, NEWLINE, NUMBER, SPACE, UPPER, is_other};
use crate::rules::{LEFT, RUN, SINGLE, contraction};
use crate::window::{self, WIDTH, Window};

/// Finds the end of one piece; `at < text.len()`, and the result lies in `at + 1..=text.len()`.
pub trait Scanner {
    fn end(&self, text: &[u8], at: usize) -> usize;

    /// Whether `ends` may be asked.
    const HAS_WINDOWS: bool = true;

    /// Ends of pieces in a window that begins where a piece does, one bit each; fewer than there are, or none, where
    /// more text would have to be seen. The window has the classes of all its characters.
    fn ends(&self, window: Window, text: &[u8; WIDTH]) -> u64;

    /// The classes of characters.
    fn classes(&self) -> &Classes;
}

/// What a scanner reads with: the classes, and how many numbers of the run at hand are left (for `RIGHT`, which
/// would otherwise count a long run again for every group).
pub struct Reader<'a> {
    classes: &'a Classes,
    rest: Cell<(usize, usize)>,
}

impl<'a> Reader<'a> {
    pub fn new(classes: &'a Classes) -> Self {
        Self {
            classes,
            rest: Cell::new((usize::MAX, 0)),
        }
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, other `NUMBERS` instead of
/// ` ?\p{N}+`.
pub struct Gpt2<'a, const NUMBERS: u8>(pub Reader<'a>);

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
/// or other `NUMBERS`.
pub struct Gpt4<'a, const NUMBERS: u8>(pub Reader<'a>);

/// As [`Gpt4`], but a word is split where case says so, keeps its contraction, and `/` ends with newlines.
pub struct O200k<'a, const NUMBERS: u8>(pub Reader<'a>);

impl<const NUMBERS: u8> Scanner for Gpt2<'_, NUMBERS> {
    #[inline(always)]
    fn ends(&self, window: Window, text: &[u8; WIDTH]) -> u64 {
        window::gpt2::<NUMBERS>(window, text)
    }

    #[inline(always)]
    fn classes(&self) -> &Classes {
        self.0.classes
    }

    #[inline(always)]
    fn end(&self, text: &[u8], at: usize) -> usize {
        let classes = self.0.classes;
        let first = text[at];
        if first == b'\''
            && let Some(end) = contraction(text, at, false)
        {
            return end;
        }
        let (mut class, mut length) = classes.at(text, at);
        let mut start = at;
        if first == b' ' && at + 1 < text.len() {
            let (next_class, next_length) = classes.at(text, at + 1);
            let joins = NUMBERS == RUN || next_class & NUMBER == 0;
            if next_class & SPACE == 0 && joins {
                (class, length, start) = (next_class, next_length, at + 1);
            }
        }
        if class & LETTER != 0 {
            letters(classes, text, start + length)
        } else if class & NUMBER != 0 {
            numbers::<NUMBERS>(&self.0, text, start, length)
        } else if class & SPACE == 0 {
            run(classes, text, start + length, is_other)
        } else {
            spaces(classes, text, at).0
        }
    }
}

impl<const NUMBERS: u8> Scanner for Gpt4<'_, NUMBERS> {
    #[inline(always)]
    fn ends(&self, window: Window, text: &[u8; WIDTH]) -> u64 {
        window::gpt4::<NUMBERS>(window, text)
    }

    #[inline(always)]
    fn classes(&self) -> &Classes {
        self.0.classes
    }

    #[inline(always)]
    fn end(&self, text: &[u8], at: usize) -> usize {
        let classes = self.0.classes;
        let (class, length) = classes.at(text, at);
        if class & LETTER != 0 {
            return letters(classes, text, at + length);
        }
        if class & NUMBER != 0 {
            return numbers::<NUMBERS>(&self.0, text, at, length);
        }
        if text[at] == b'\''
            && let Some(end) = contraction(text, at, true)
        {
            return end;
        }
        if class & NEWLINE == 0 && at + length < text.len() {
            let (next_class, next_length) = classes.at(text, at + length);
            if next_class & LETTER != 0 {
                return letters(classes, text, at + length + next_length);
            }
        }
        symbols_or_spaces(classes, text, at, class, length, |byte| {
            matches!(byte, b'\r' | b'\n')
        })
    }
}

impl<const NUMBERS: u8> Scanner for O200k<'_, NUMBERS> {
    const HAS_WINDOWS: bool = false;

    fn ends(&self, _: Window, _: &[u8; WIDTH]) -> u64 {
        0
    }

    fn classes(&self) -> &Classes {
        self.0.classes
    }

    #[inline(always)]
    fn end(&self, text: &[u8], at: usize) -> usize {
        let classes = self.0.classes;
        let (class, length) = classes.at(text, at);
        if class & NUMBER != 0 {
            return numbers::<NUMBERS>(&self.0, text, at, length);
        }
        // Any one character but a newline, letter or number may lead a word; a mark may lead or belong to it.
        let leads = class & (NEWLINE | LETTER) == 0 && at + length < text.len();
        let after_lead = |find: fn(&Classes, &[u8], usize) -> Option<usize>| {
            let led = if leads {
                find(classes, text, at + length)
            } else {
                None
            };
            led.or_else(|| find(classes, text, at))
        };
        if let Some(end) = after_lead(lower_word).or_else(|| after_lead(upper_word)) {
            return contraction(text, end, true).unwrap_or(end);
        }
        symbols_or_spaces(classes, text, at, class, length, |byte| {
            matches!(byte, b'\r' | b'\n' | b'/')
        })
    }
}

/// `UPPER*LOWER+`: with backtracking, so that a run of upper-like characters gives back as few as it must.
fn lower_word(classes: &Classes, text: &[u8], at: usize) -> Option<usize> {
    let (mut end, mut after_last_both) = (at, None);
    while end < text.len() {
        let (class, length) = classes.at(text, end);
        if class & UPPER == 0 {
            if class & LOWER != 0 {
                return Some(run(classes, text, end + length, |class| class & LOWER != 0));
            }
            break;
        }
        end += length;
        if class & LOWER != 0 {
            after_last_both = Some(end);
        }
    }
    after_last_both
}

/// `UPPER+LOWER*`, tried where `UPPER*LOWER+` failed, so no lower-like character follows the run.
fn upper_word(classes: &Classes, text: &[u8], at: usize) -> Option<usize> {
    let end = run(classes, text, at, |class| class & UPPER != 0);
    (end > at).then_some(end)
}

/// The alternatives that the newer patterns share: ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.
#[inline(always)]
fn symbols_or_spaces(
    classes: &Classes,
    text: &[u8],
    at: usize,
    class: u8,
    length: usize,
    is_tail: impl Fn(u8) -> bool,
) -> usize {
    let mut start = (class & SPACE == 0).then_some(at + length);
    if text[at] == b' ' && at + 1 < text.len() {
        let (next_class, next_length) = classes.at(text, at + 1);
        start = is_other(next_class).then_some(at + 1 + next_length);
    }
    if let Some(start) = start {
        let mut end = run(classes, text, start, is_other);
        while end < text.len() && is_tail(text[end]) {
            end += 1;
        }
        return end;
    }
    let (end, after_newline) = spaces(classes, text, at);
    after_newline.unwrap_or(end)
}

/// A run of white space: where `\s+(?!\S)|\s+` ends, and where the last newline in the run ends.
#[inline(always)]
fn spaces(classes: &Classes, text: &[u8], at: usize) -> (usize, Option<usize>) {
    let (mut end, mut last, mut after_newline) = (at, at, None);
    while end < text.len() {
        let (class, length) = classes.at(text, end);
        if class & SPACE == 0 {
            // The last character of a longer run is left to what follows.
            return (if last > at { last } else { end }, after_newline);
        }
        last = end;
        end += length;
        if class & NEWLINE != 0 {
            after_newline = Some(end);
        }
    }
    (end, after_newline)
}

/// The end of a run of letters; eight ASCII letters a step, or four of two or three bytes.
#[inline(always)]
fn letters(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let rest = &text[at..];
        let (found, full) = match rest[0] {
            0..0x80 => (rest.first_chunk().map(leading_ascii_letters), 8),
            0xc0..0xe0 => (
                rest.first_chunk()
                    .map(|pairs| 2 * classes.letters_of_two(pairs)),
                8,
            ),
            0xe0..0xf0 => (
                rest.first_chunk()
                    .map(|triples| 3 * classes.letters_of_three(triples)),
                12,
            ),
            _ => (None, 8),
        };
        let found = found.unwrap_or(0);
        at += found;
        if found == full {
            continue;
        }
        if at == text.len() {
            break;
        }
        let (class, length) = classes.at(text, at);
        if class & LETTER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// How many of eight bytes, from the first, are `A-Z` or `a-z`.
#[inline(always)]
fn leading_ascii_letters(word: &[u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*word);
    let lower = (word | (ONES * 0x20)) & (ONES * 0x7f);
    // The high bit of each byte: at least 'a', and not beyond 'z', and not a byte above 0x7f. No sum carries.
    let letter =
        (lower + ONES * (0x80 - 0x61)) & !(lower + ONES * (0x80 - 0x7b)) & !word & (ONES * 0x80);
    ((!letter & (ONES * 0x80)).trailing_zeros() / 8) as usize
}

/// The end of the piece of numbers that begins at `at` with a character of `length` bytes.
#[inline(always)]
fn numbers<const NUMBERS: u8>(reader: &Reader<'_>, text: &[u8], at: usize, length: usize) -> usize {
    let classes = reader.classes;
    match NUMBERS {
        RUN => run(classes, text, at + length, |class| class & NUMBER != 0),
        SINGLE => at + length,
        LEFT => digits(classes, text, at + length, 2),
        _ => group_from_the_right(reader, text, at),
    }
}

#[inline(never)]
fn group_from_the_right(reader: &Reader<'_>, text: &[u8], at: usize) -> usize {
    let (place, mut left) = reader.rest.get();
    if place != at {
        (left, _) = count_numbers(reader.classes, text, at, usize::MAX);
    }
    let group = (left - 1) % 3 + 1;
    let (_, end) = count_numbers(reader.classes, text, at, group);
    let rest = left - group;
    reader.rest.set(if rest > 0 {
        (end, rest)
    } else {
        (usize::MAX, 0)
    });
    end
}

/// How many numbers, at most `most`, stand from `at` on, and where the last of them ends.
fn count_numbers(classes: &Classes, text: &[u8], mut at: usize, most: usize) -> (usize, usize) {
    let mut found = 0;
    while found < most && at < text.len() {
        let (class, length) = classes.at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        (found, at) = (found + 1, at + length);
    }
    (found, at)
}

/// The end of at most `most` further numbers.
#[inline(always)]
fn digits(classes: &Classes, text: &[u8], at: usize, most: usize) -> usize {
    count_numbers(classes, text, at, most).1
}

#[inline(always)]
fn run(classes: &Classes, text: &[u8], mut at: usize, is_in: impl Fn(u8) -> bool) -> usize {
    while at < text.len() {
        let (class, length) = classes.at(text, at);
        if !is_in(class) {
            break;
        }
        at += length;
    }
    at
}
