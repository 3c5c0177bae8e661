//! The units of a text that line_dedup compares: lines, paragraphs, sentences. Together they are the text.
//!
//! ```text
//! line        up to and with a line end
//! paragraph   up to and with an empty line (a line of white space alone) and the white space after it
//! sentence    up to and with . ! ? or U+2026 (any number), closing quotes and brackets, and white space;
//!             or a full stop of Chinese or Japanese and white space; or a line end and white space
//! ```
//!
//! A paragraph or sentence has at least one character before what ends it. Every character is looked at once or
//! twice, whatever the text: where a run of full stops ends no sentence, none of its tails is tried again.

use crate::Error;
use curate_text::Texts;

/// What a text is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Between line ends.
    Line,
    /// Between empty lines.
    Paragraph,
    /// Between full stops, or line ends.
    Sentence,
}

/// The units of a column of texts, counted over all rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Row i has the units `rows[i]..rows[i + 1]`.
    pub rows: Vec<i64>,
    /// Unit j is the bytes `bounds[j]..bounds[j + 1]` of all texts one after the other.
    pub bounds: Vec<i64>,
}

/// Cuts every text.
pub fn cut(texts: Texts<'_>, unit: Unit) -> Result<Units, Error> {
    let mut out = Units {
        rows: vec![0],
        bounds: vec![0],
    };
    let mut start = 0;
    for row in 0..texts.len() {
        let text = texts.text(row)?;
        let mut at = 0;
        while at < text.len() {
            at = match unit {
                Unit::Line => end_of_line(text, at),
                Unit::Paragraph => end_of_paragraph(text, at),
                Unit::Sentence => end_of_sentence(text, at),
            };
            out.bounds.push(start + at as i64);
        }
        start += text.len() as i64;
        out.rows.push(out.bounds.len() as i64 - 1);
    }
    Ok(out)
}

fn end_of_line(text: &str, at: usize) -> usize {
    let newline = text.as_bytes()[at..].iter().position(|&byte| byte == b'\n');
    newline.map_or(text.len(), |length| at + length + 1)
}

fn end_of_paragraph(text: &str, at: usize) -> usize {
    let mut from = at + length_at(text, at);
    while let Some(length) = text.as_bytes()[from..]
        .iter()
        .position(|&byte| byte == b'\n')
    {
        let next_line = from + length + 1;
        let text_begins = run(text, next_line, is_space);
        if text[next_line..text_begins].contains('\n') {
            return text_begins;
        }
        from = text_begins;
    }
    text.len()
}

fn end_of_sentence(text: &str, at: usize) -> usize {
    let mut from = at + length_at(text, at);
    loop {
        let Some(length) = text[from..].find(ends_a_sentence) else {
            return text.len();
        };
        let stop = from + length;
        let western = text[stop..].starts_with(is_full_stop);
        let closed = if western {
            run(text, run(text, stop, is_full_stop), closes)
        } else if text[stop..].starts_with('\n') {
            stop + 1
        } else {
            run(text, stop, is_wide_full_stop)
        };
        let next = run(text, closed, is_space);
        // A Western full stop ends a sentence only before white space: "3.5" and "a.b" are no two.
        if next > closed || !western {
            return next;
        }
        // What closes is no full stop, so that the search goes on behind it.
        from = closed;
    }
}

fn length_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// The end of the run of such characters that begins at `at`.
fn run(text: &str, at: usize, is_in: impl Fn(char) -> bool) -> usize {
    text[at..]
        .find(|c| !is_in(c))
        .map_or(text.len(), |length| at + length)
}

fn ends_a_sentence(c: char) -> bool {
    c == '\n' || is_full_stop(c) || is_wide_full_stop(c)
}

fn is_full_stop(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '\u{2026}')
}

fn is_wide_full_stop(c: char) -> bool {
    matches!(c, '\u{3002}' | '\u{ff01}' | '\u{ff1f}')
}

fn closes(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '\u{201d}')
}

/// White space as Python has it: the separators U+001C to U+001F belong to it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;
    use std::time::Instant;

    fn units(text: &str, unit: Unit) -> Vec<&str> {
        let offsets = [0, 0, text.len() as i64];
        let texts = Texts::new(Offsets::Large(&offsets), text.as_bytes());
        let found = cut(texts, unit).unwrap();
        assert_eq!(found.rows, [0, 0, found.bounds.len() as i64 - 1]);
        let bounds: Vec<usize> = found.bounds.iter().map(|&bound| bound as usize).collect();
        bounds
            .windows(2)
            .map(|ends| &text[ends[0]..ends[1]])
            .collect()
    }

    #[test]
    fn texts_are_cut_where_they_should_be() {
        let text = "a\n\nb. c\n";
        assert_eq!(units(text, Unit::Line), ["a\n", "\n", "b. c\n"]);
        assert_eq!(units(text, Unit::Paragraph), ["a\n\n", "b. c\n"]);
        assert_eq!(units(text, Unit::Sentence), ["a\n\n", "b. ", "c\n"]);
        let quoted = "He said \"Go!\" (3.5 km...) Then?\u{201d} 好。对 end";
        let expected = [
            "He said \"Go!\" ",
            "(3.5 km...) ",
            "Then?\u{201d} ",
            "好。",
            "对 end",
        ];
        assert_eq!(units(quoted, Unit::Sentence), expected);
        assert_eq!(units(". x\n", Unit::Sentence), [". x\n"]);
        assert_eq!(units("", Unit::Sentence), [""; 0]);
    }

    /// Time may not grow with the square of a run: 4 MB of each take a second at most.
    #[test]
    fn hostile_texts_take_linear_time() {
        for pattern in [
            ".", "?\"", "....)", "\n", " ", "\n ", "。", ". ", ".\"\n", "\"",
        ] {
            let text = pattern.repeat((4 << 20) / pattern.len());
            for unit in [Unit::Line, Unit::Paragraph, Unit::Sentence] {
                let began = Instant::now();
                assert_eq!(units(&text, unit).concat().len(), text.len());
                assert!(began.elapsed().as_secs_f64() < 1.0, "{pattern:?} {unit:?}");
            }
        }
    }
}
