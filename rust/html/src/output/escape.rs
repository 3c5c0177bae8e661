//! What must be escaped for a parser of Markdown to see the words of the page and no structure: signs that would be
//! emphasis, code, a link, an element or the beginning of a block, and only where they would be.

use std::ops::Range;

use crate::output::Links;
use crate::output::inline::{Place, Span, Style, is_punctuation, is_space, runs};
use crate::page::Inline;

/// A longer text between the signs of TeX is none.
const MAX_TEX: usize = 2_000;
/// A longer run of one sign is escaped wherever it stands.
const LONGEST_RUN: usize = 64;
/// The longest name of a character reference, with its signs.
const LONGEST_REFERENCE: usize = 34;

/// What was found out about a text before it is written.
pub struct Escaper {
    /// Signs of elements stand beside those of the text.
    marked: bool,
    stars: bool,
    underscores: bool,
    backticks: bool,
    tildes: bool,
    numbered_links: bool,
    cell: bool,
    /// TeX, which is written as it is.
    tex: Vec<Range<usize>>,
}

impl Escaper {
    /// Of a text whose elements are `spans`.
    pub fn new(text: &str, spans: &[Span], style: &Style, place: Place) -> Self {
        let has = |kind: Inline| spans.iter().any(|span| span.kind == kind);
        let signs = [
            Inline::Strong,
            Inline::Emphasis,
            Inline::Deleted,
            Inline::Link,
        ];
        let marked = signs.into_iter().any(has);
        let tex = tex(text);
        let flanking = |sign: char| {
            let places = text
                .match_indices(sign)
                .filter(|(at, _)| !within(&tex, *at));
            places
                .filter(|(at, _)| is_flanking(text, *at, sign))
                .take(2)
                .count()
        };
        Self {
            marked,
            stars: flanking('*') > 1,
            underscores: flanking('_') > 1,
            // Marks of emphasis may stand between the signs of one run.
            backticks: has(Inline::Code) || text.matches('`').take(2).count() > 1,
            tildes: has(Inline::Deleted) || runs(text, '~').take(2).count() > 1,
            numbered_links: style.form.links == Links::Reference,
            cell: place == Place::Cell,
            tex,
        }
    }

    /// Appends a part of the text; `in_link` where it is the text of a link.
    pub fn write(&self, text: &str, range: Range<usize>, in_link: bool, out: &mut String) {
        let special = |c: char| {
            matches!(
                c,
                '\\' | '*' | '_' | '`' | '~' | '[' | ']' | '<' | '&' | '|'
            )
        };
        let mut at = range.start;
        while let Some(found) = text[at..range.end].find(special) {
            let place = at + found;
            out.push_str(&text[at..place]);
            let sign = text.as_bytes()[place] as char;
            let raw = within(&self.tex, place);
            let cell_bar = sign == '|' && self.cell;
            // A sign may follow the part that is no sign of the text.
            let before_sign = sign == '\\' && place + 1 == range.end;
            if cell_bar || !raw && (before_sign || self.is_structure(text, place, sign, in_link)) {
                out.push('\\');
            }
            out.push(sign);
            at = place + 1;
        }
        out.push_str(&text[at..range.end]);
    }

    fn is_structure(&self, text: &str, at: usize, sign: char, in_link: bool) -> bool {
        let rest = &text[at + 1..];
        let next = rest.chars().next();
        match sign {
            '\\' => next.is_none_or(|c| c.is_ascii_punctuation() || c == '\n'),
            '*' => self.marked || self.stars && is_flanking(text, at, '*'),
            '_' if self.marked => !is_within_word(text, at, '_'),
            '_' => self.underscores && is_flanking(text, at, '_'),
            '`' => self.backticks,
            '~' => self.tildes,
            '<' => next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')),
            '&' => is_reference(rest),
            ']' => in_link || matches!(next, Some('(' | '[')),
            '[' => {
                let digits =
                    rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                in_link || self.numbered_links && digits > 0 && rest[digits..].starts_with(']')
            }
            _ => false,
        }
    }
}

/// The parts of a text that are TeX between its signs.
fn tex(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains(['\\', '$']) {
        return found;
    }
    let mut at = 0;
    // No end of this kind before this place.
    let mut missing = [0; 3];
    while let Some(n) = text[at..].find(['\\', '$']) {
        let start = at + n;
        at = start + 1;
        let kinds = [("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$")];
        let Some(kind) = kinds
            .iter()
            .position(|(begins, _)| text[start..].starts_with(begins))
        else {
            continue;
        };
        let limit = text.floor_char_boundary((start + MAX_TEX).min(text.len()));
        let from = missing[kind].max(start + 2);
        match text
            .get(from..limit)
            .and_then(|inside| inside.find(kinds[kind].1))
        {
            Some(n) => {
                at = from + n + 2;
                found.push(start..at);
            }
            None => missing[kind] = text.floor_char_boundary(limit.saturating_sub(1)),
        }
    }
    found
}

fn within(ranges: &[Range<usize>], at: usize) -> bool {
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).is_some_and(|range| range.contains(&at))
}

/// What stands before and after a run of signs: nothing for a run that is longer than any of emphasis.
fn around(text: &str, at: usize, sign: char) -> Option<(Option<char>, Option<char>)> {
    let is_sign = |c: &char| *c == sign;
    let after = text[at..].chars().take(LONGEST_RUN).take_while(is_sign);
    let before = text[..at]
        .chars()
        .rev()
        .take(LONGEST_RUN)
        .take_while(is_sign);
    if after.count() + before.count() >= LONGEST_RUN {
        return None;
    }
    let before = text[..at].chars().rev().find(|&c| c != sign);
    let after = text[at..].chars().find(|&c| c != sign);
    Some((before, after))
}

/// Whether a sign could begin or end emphasis: not between blanks, and an underscore not within a word.
fn is_flanking(text: &str, at: usize, sign: char) -> bool {
    let blank = |c: Option<char>| c.is_none_or(is_space);
    around(text, at, sign).is_none_or(|(before, after)| !(blank(before) && blank(after)))
        && !(sign == '_' && is_within_word(text, at, sign))
}

fn is_within_word(text: &str, at: usize, sign: char) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| !is_space(c) && !is_punctuation(c));
    around(text, at, sign).is_some_and(|(before, after)| word(before) && word(after))
}

/// Whether a character reference goes on like this after its ampersand.
fn is_reference(rest: &str) -> bool {
    let end = rest
        .bytes()
        .take(LONGEST_REFERENCE)
        .position(|byte| byte == b';');
    end.is_some_and(|end| {
        end > 0
            && rest.as_bytes()[..end]
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#')
    })
}

/// The lines of a text with the beginnings escaped that would be those of a heading, a list, a quotation, a rule, a
/// fence, a table or the address of a link.
pub fn line_starts(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        match structure(line) {
            Some(at) => {
                out.push_str(&line[..at]);
                out.push('\\');
                out.push_str(&line[at..]);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Where a line must be escaped lest it begin a block.
fn structure(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let ends = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_whitespace);
    let only = |signs: &[u8]| bytes.iter().all(|byte| signs.contains(byte));
    let begins = match bytes[0] {
        b'#' => {
            let signs = bytes.iter().take_while(|byte| **byte == b'#').count();
            signs <= 6 && ends(signs)
        }
        b'>' => true,
        b'-' => ends(1) || only(b"- |:"),
        b'+' => ends(1),
        b'*' => ends(1) || only(b"* "),
        b'_' => bytes.len() > 2 && only(b"_ "),
        b'=' => only(b"= "),
        b':' | b'|' => only(b"- |:"),
        b'~' => line.starts_with("~~~"),
        b'`' => line.starts_with("```") && !line[3..].contains('`'),
        b'[' => {
            let task = matches!(bytes, [b'[', b' ' | b'x' | b'X', b']', ..]) && ends(3);
            let defines = line
                .find("]:")
                .is_some_and(|at| !line[1..at].contains(['[', ']']));
            task || defines
        }
        b'0'..=b'9' => {
            let digits = bytes
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let mark = matches!(bytes.get(digits), Some(b'.' | b')'));
            return (digits <= 9 && mark && ends(digits + 1)).then_some(digits);
        }
        _ => false,
    };
    begins.then_some(0)
}
