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

/// A line between newlines. A text may be nothing but newlines, so that a line is small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    start: u32,
    end: u32,
    chars: u32,
    /// Nothing but whitespace, or nothing at all.
    blank: bool,
    /// No whitespace at its ends.
    plain: bool,
    hash: u64,
}

impl Line {
    /// Its first byte and the one after its last.
    pub fn span(&self) -> (usize, usize) {
        (self.start as usize, self.end as usize)
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn whole<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start as usize..self.end as usize]
    }

    /// What is left without the whitespace at its ends.
    fn inner<'t>(&self, text: &'t str) -> &'t str {
        if self.plain {
            self.whole(text)
        } else {
            strip(self.whole(text))
        }
    }

    /// Hash and characters of that.
    fn stripped(&self, text: &str) -> (u64, u32) {
        if self.plain {
            return (self.hash, self.chars);
        }
        let inner = self.inner(text).as_bytes();
        (hash_bytes(inner), n_chars(inner) as u32)
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
    /// Those of str.splitlines, where the text has line breaks that are no newlines.
    odd: Option<Vec<SplitLine>>,
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
        let (mut full, mut bullets, mut ellipses, mut terminal, mut short) = (0, 0, 0, 0, 0);
        let (mut dolma_bullets, mut dolma_ellipses, mut plain) = (0, 0, true);
        for line in &self.lines {
            plain &= line.plain;
            let (whole, inner) = (line.whole(text), line.inner(text));
            dolma_bullets += usize::from(whole.starts_with(['*', '-']));
            dolma_ellipses += usize::from(whole.ends_with('…'));
            if line.blank {
                continue;
            }
            full += 1;
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
        self.split_lines(text, &tokens.lines, values);
    }

    fn split_text(&mut self, text: &str, tokens: &Tokens, characters: &Characters) {
        let ascii = characters.all == text.len();
        let count = |part: &str| if ascii { part.len() } else { n_chars(part.as_bytes()) } as u32;
        self.lines.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            let whole = &text[start..end];
            let inner = strip(whole);
            self.lines.push(Line {
                start: start as u32,
                end: end as u32,
                chars: count(whole),
                blank: inner.is_empty(),
                plain: inner.len() == whole.len(),
                hash: hash_bytes(whole.as_bytes()),
            });
            start = end + 1;
        }
        let odd = tokens.odd_breaks || characters.odd_breaks;
        self.odd = odd.then(|| python_lines(text));
    }

    /// How many lines str.splitlines finds: what follows the last break is one only where there is something.
    pub fn n_split(&self) -> usize {
        match &self.odd {
            Some(lines) => lines.len(),
            None => self.lines.len() - usize::from(self.lines.last().is_some_and(Line::is_empty)),
        }
    }

    /// One of them; `words` are those of the lines between newlines.
    pub fn split_line(&self, number: usize, words: &[LineWords]) -> SplitLine {
        match &self.odd {
            Some(lines) => lines[number],
            None => {
                let (start, end) = self.lines[number].span();
                SplitLine {
                    start,
                    end,
                    words: words[number],
                }
            }
        }
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
        let full = lines.iter().filter(|line| !line.blank);
        seen.extend(full.map(|line| line.stripped(text)));
        let stripped = repeats(seen);
        values.dup_line_share = share(stripped.all.0, stripped.parts);
        values.dup_line_char_share = share(stripped.all.1, stripped.chars);
        let (mut whole, mut blank_chars) = (stripped, 0);
        if !plain {
            let of = |line: &Line| (line.hash, line.chars);
            seen.clear();
            seen.extend(
                lines
                    .iter()
                    .filter(|line| line.blank && !line.is_empty())
                    .map(of),
            );
            blank_chars = repeats(seen).later.1;
            seen.clear();
            seen.extend(lines.iter().filter(|line| !line.is_empty()).map(of));
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
            let (start, end) = line.span();
            if from <= start && end <= to {
                return (line.hash, line.chars);
            }
            let part = &text.as_bytes()[start.max(from)..end.min(to)];
            let chars = if ascii { part.len() } else { n_chars(part) };
            (hash_bytes(part), chars as u32)
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
        let runs = || lines.split(Line::is_empty).filter(|run| !run.is_empty());
        seen.clear();
        for run in runs() {
            let begin = run.iter().position(|line| !line.blank);
            let end = run.iter().rposition(|line| !line.blank);
            if let (Some(begin), Some(end)) = (begin, end) {
                let place = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
                let last = run[end].inner(text);
                let (from, to) = (place(run[begin].inner(text)), place(last) + last.len());
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
            let begin = run.partition_point(|line| line.end as usize <= first);
            let end = run.partition_point(|line| (line.start as usize) < last);
            if begin < end {
                seen.push(joined(&run[begin..end], first, last));
            }
        }
        let whole = repeats(seen);
        values.datatrove_dup_paragraph_share = share(whole.later.0, whole.parts);
        values.datatrove_dup_paragraph_char_share = share(whole.later.1, characters.all);
    }

    fn split_lines(&self, text: &str, words: &[LineWords], values: &mut Values) {
        let (mut bullets, mut ellipses) = (0, 0);
        for number in 0..self.n_split() {
            let line = self.split_line(number, words);
            let inner = strip(&text[line.start..line.end]);
            bullets += usize::from(inner.starts_with(['•', '-']));
            ellipses += usize::from(inner.ends_with("...") || inner.ends_with('…'));
        }
        values.datatrove_bullet_line_share = share(bullets, self.n_split());
        values.datatrove_ellipsis_line_share = share(ellipses, self.n_split());
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

/// The lines of str.splitlines.
fn python_lines(text: &str) -> Vec<SplitLine> {
    let mut found = vec![];
    let mut push = |start, end| {
        let words = words_of(&text[start..end]);
        found.push(SplitLine { start, end, words });
    };
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
                push(start, place);
                start = place + c.len_utf8();
            }
            _ => {}
        }
    }
    if start < text.len() {
        push(start, text.len());
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
