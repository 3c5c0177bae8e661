//! Measures of lines and paragraphs: split once, then each system's way of counting over the same list.

use curate_text::chars::{self, SPACE};
use curate_text::hash::{hash_bytes, mix};

use crate::characters::{self, Characters};
use crate::measures::Values;
use crate::tokens::{LineWords, Tokens};
use crate::{n_chars, share};

const BULLETS: [&str; 4] = ["●", "•", "*", "-"];
const ELLIPSES: [&str; 3] = ["...", ". . .", "…"];
/// Characters of FineWeb's short lines.
const SHORT: u32 = 30;

/// A line between newlines, and what of it is left without the whitespace at its ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    pub start: usize,
    pub end: usize,
    pub inner_start: usize,
    pub inner_end: usize,
    chars: u32,
    inner_chars: u32,
    hash: u64,
    inner_hash: u64,
}

impl Line {
    fn is_blank(&self) -> bool {
        self.inner_start == self.inner_end
    }
}

/// A line as str.splitlines finds it, with its words between whitespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitLine {
    pub start: usize,
    pub end: usize,
    pub words: LineWords,
}

/// The lines of one text.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub lines: Vec<Line>,
    pub split: Vec<SplitLine>,
    /// Hash of each line or paragraph with its characters.
    seen: Vec<(u64, u32)>,
}

/// How much of a list of parts is repeated.
#[derive(Clone, Copy, Debug, Default)]
struct Repeats {
    parts: usize,
    chars: usize,
    /// Parts that occur more than once, all occurrences; and their characters.
    all: (usize, usize),
    /// All but the first occurrence; and their characters.
    later: (usize, usize),
}

impl Lines {
    /// Splits the text and measures its lines and paragraphs. `tokens` have the words of its lines.
    pub fn measure(
        &mut self,
        text: &str,
        tokens: &Tokens,
        characters: &Characters,
        values: &mut Values,
    ) {
        self.split_text(text, tokens, characters);
        let blank = self.lines.iter().filter(|line| line.is_blank()).count();
        let full = self.lines.len() - blank;
        let (mut bullets, mut ellipses, mut terminal, mut short, mut plain) = (0, 0, 0, 0, true);
        let (mut dolma_bullets, mut dolma_ellipses) = (0, 0);
        for line in &self.lines {
            let whole = &text[line.start..line.end];
            dolma_bullets += usize::from(whole.starts_with(['*', '-']));
            dolma_ellipses += usize::from(whole.ends_with('…'));
            if line.is_blank() {
                plain &= whole.is_empty();
                continue;
            }
            let inner = &text[line.inner_start..line.inner_end];
            plain &= inner.len() == whole.len();
            bullets += usize::from(BULLETS.iter().any(|bullet| inner.starts_with(bullet)));
            ellipses += usize::from(ELLIPSES.iter().any(|ellipsis| inner.ends_with(ellipsis)));
            short += usize::from(line.chars <= SHORT);
            terminal += usize::from(characters::last(whole).is_some_and(characters::is_terminal));
        }
        values.n_lines = full as f64;
        values.bullet_line_share = share(bullets, full);
        values.ellipsis_line_share = share(ellipses, full);
        values.dolma_bullet_line_share = share(dolma_bullets, self.lines.len());
        values.dolma_ellipsis_line_share = share(dolma_ellipses, self.lines.len());
        values.terminal_line_share = share(terminal, full);
        values.short_line_share = share(short, full);
        self.repeated_lines(text, characters, plain, values);
        self.repeated_paragraphs(text, characters, values);
        self.split_lines(text, values);
    }

    fn split_text(&mut self, text: &str, tokens: &Tokens, characters: &Characters) {
        let ascii = characters.all == text.len();
        let count = |part: &str| if ascii { part.len() } else { n_chars(part.as_bytes()) } as u32;
        self.lines.clear();
        self.split.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            let whole = &text[start..end];
            let inner = strip(whole);
            let inner_start = inner.as_ptr() as usize - text.as_ptr() as usize;
            let mut line = Line {
                start,
                end,
                inner_start,
                inner_end: inner_start + inner.len(),
                ..Line::default()
            };
            line.inner_chars = count(inner);
            line.inner_hash = hash_bytes(inner.as_bytes());
            (line.chars, line.hash) = (line.inner_chars, line.inner_hash);
            if inner.len() < whole.len() {
                (line.chars, line.hash) = (count(whole), hash_bytes(whole.as_bytes()));
            }
            self.lines.push(line);
            start = end + 1;
        }
        if tokens.odd_breaks || characters.odd_breaks {
            for (start, end) in python_lines(text) {
                let words = words_of(&text[start..end]);
                self.split.push(SplitLine { start, end, words });
            }
            return;
        }
        let lines = self.lines.iter().zip(&tokens.lines);
        self.split.extend(lines.map(|(line, &words)| SplitLine {
            start: line.start,
            end: line.end,
            words,
        }));
        // What follows the last newline is a line only where there is something.
        self.split.pop_if(|line| line.start == line.end);
    }

    fn repeated_lines(
        &mut self,
        text: &str,
        characters: &Characters,
        plain: bool,
        values: &mut Values,
    ) {
        let Self { lines, seen, .. } = self;
        seen.clear();
        let full = lines.iter().filter(|line| !line.is_blank());
        seen.extend(full.map(|line| (line.inner_hash, line.inner_chars)));
        let stripped = repeats(seen);
        values.dup_line_share = share(stripped.all.0, stripped.parts);
        values.dup_line_char_share = share(stripped.all.1, stripped.chars);
        let (mut whole, mut blank_chars) = (stripped, 0);
        if !plain {
            seen.clear();
            let blank = lines
                .iter()
                .filter(|line| line.is_blank() && line.start < line.end);
            seen.extend(blank.map(|line| (line.hash, line.chars)));
            blank_chars = repeats(seen).later.1;
            seen.clear();
            let whole_lines = lines.iter().filter(|line| line.start < line.end);
            seen.extend(whole_lines.map(|line| (line.hash, line.chars)));
            whole = repeats(seen);
        }
        // A newline at the beginning, and one at the end, has an empty line beside it; more in a row have none.
        let empty = usize::from(text.starts_with('\n')) + usize::from(text.ends_with('\n'));
        let parts = (whole.parts + empty).max(1);
        let later = whole.later.0 + usize::from(empty == 2);
        values.datatrove_dup_line_share = share(later, parts);
        values.datatrove_dup_line_char_share = share(whole.later.1, characters.all);
        let without_newlines = characters.all - characters.newlines;
        values.repeated_line_char_share = share(whole.later.1 - blank_chars, without_newlines);
    }

    /// A paragraph is a run of lines that are not empty. DCLM strips each of them and drops what is blank; datatrove
    /// strips the text as a whole.
    fn repeated_paragraphs(&mut self, text: &str, characters: &Characters, values: &mut Values) {
        let ascii = characters.all == text.len();
        let inner = strip(text);
        let first = inner.as_ptr() as usize - text.as_ptr() as usize;
        let last = first + inner.len();
        let Self { lines, seen, .. } = self;
        let cut = |line: &Line, from: usize, to: usize| -> (u64, u32) {
            let (from, to) = (line.start.max(from), line.end.min(to));
            match (from, to) {
                _ if (from, to) == (line.start, line.end) => (line.hash, line.chars),
                _ if (from, to) == (line.inner_start, line.inner_end) => {
                    (line.inner_hash, line.inner_chars)
                }
                _ => {
                    let part = &text.as_bytes()[from..to];
                    let chars = if ascii { part.len() } else { n_chars(part) };
                    (hash_bytes(part), chars as u32)
                }
            }
        };
        // The hash and the characters of lines with the newlines between them, from byte `from` to byte `to`.
        let joined = |run: &[Line], from: usize, to: usize| {
            let (mut hash, mut chars) = (0, run.len() as u32 - 1);
            for line in run {
                let part = cut(line, from, to);
                hash = mix(hash ^ part.0, 0x9E37_79B9_7F4A_7C15);
                chars += part.1;
            }
            (hash, chars)
        };
        let runs = || {
            lines
                .split(|line| line.start == line.end)
                .filter(|run| !run.is_empty())
        };
        seen.clear();
        for run in runs() {
            let begin = run.iter().position(|line| !line.is_blank());
            let end = run.iter().rposition(|line| !line.is_blank());
            if let (Some(begin), Some(end)) = (begin, end) {
                let (from, to) = (run[begin].inner_start, run[end].inner_end);
                seen.push(joined(&run[begin..=end], from, to));
            }
        }
        let stripped = repeats(seen);
        values.n_paragraphs = stripped.parts as f64;
        values.dup_paragraph_share = share(stripped.all.0, stripped.parts);
        values.dup_paragraph_char_share = share(stripped.all.1, stripped.chars);
        seen.clear();
        for run in runs() {
            // Lines that lie in the stripped text, in part at least.
            let begin = run.partition_point(|line| line.end <= first);
            let end = run.partition_point(|line| line.start < last);
            if begin < end {
                seen.push(joined(&run[begin..end], first, last));
            }
        }
        let whole = repeats(seen);
        values.datatrove_dup_paragraph_share = share(whole.later.0, whole.parts);
        values.datatrove_dup_paragraph_char_share = share(whole.later.1, characters.all);
    }

    fn split_lines(&self, text: &str, values: &mut Values) {
        let (mut bullets, mut ellipses) = (0, 0);
        for line in &self.split {
            let inner = strip(&text[line.start..line.end]);
            bullets += usize::from(inner.starts_with(['•', '-']));
            ellipses += usize::from(inner.ends_with("...") || inner.ends_with('…'));
        }
        values.datatrove_bullet_line_share = share(bullets, self.split.len());
        values.datatrove_ellipsis_line_share = share(ellipses, self.split.len());
    }
}

/// Counts of parts by hash; the list is sorted on the way.
fn repeats(seen: &mut [(u64, u32)]) -> Repeats {
    let mut found = Repeats {
        parts: seen.len(),
        chars: seen.iter().map(|part| part.1 as usize).sum(),
        ..Repeats::default()
    };
    seen.sort_unstable();
    for group in seen
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() > 1)
    {
        let chars = group.iter().map(|part| part.1 as usize).sum::<usize>();
        found.all.0 += group.len();
        found.all.1 += chars;
        found.later.0 += group.len() - 1;
        found.later.1 += chars - group[0].1 as usize;
    }
    found
}

/// The lines of str.splitlines, as bytes from and to.
fn python_lines(text: &str) -> Vec<(usize, usize)> {
    let mut found = vec![];
    let (mut start, mut after_return) = (0, false);
    for (place, c) in text.char_indices() {
        let second = after_return && c == '\n';
        after_return = c == '\r';
        match c {
            // The newline of "\r\n" belongs to the break that the line before ended with.
            '\n' if second => start = place + 1,
            '\n'
            | '\r'
            | '\u{B}'
            | '\u{C}'
            | '\u{1C}'..='\u{1E}'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}' => {
                found.push((start, place));
                start = place + c.len_utf8();
            }
            _ => {}
        }
    }
    if start < text.len() {
        found.push((start, text.len()));
    }
    found
}

/// Words between whitespace.
pub(crate) fn words_of(line: &str) -> LineWords {
    let mut found = LineWords::default();
    let words = line.split(|c| chars::classes(c as u32) & SPACE != 0);
    for word in words.filter(|word| !word.is_empty()) {
        found.words += 1;
        found.longest = found.longest.max(n_chars(word.as_bytes()) as u32);
    }
    found
}

/// The text without the whitespace (`str.isspace`) at its ends.
pub(crate) fn strip(text: &str) -> &str {
    let plain = |byte: Option<&u8>| byte.is_some_and(|byte| (0x21..0x80).contains(byte));
    match text.as_bytes() {
        bytes if plain(bytes.first()) && plain(bytes.last()) => text,
        _ => text.trim_matches(|c| chars::classes(c as u32) & SPACE != 0),
    }
}
