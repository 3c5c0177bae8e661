//! Sentences of a line, by their end marks.

use curate_text::chars::{self, WORD};

use crate::characters::is_terminal;

/// 0 for a line without a letter or number, else 1 and 1 more for each mark that a word follows. A period that a
/// letter or number follows at once (3.14, example.org) is no mark.
pub(crate) fn sentences(line: &str) -> usize {
    if line.is_ascii() {
        ascii_sentences(line.as_bytes())
    } else {
        let (mut found, mut ended) = (0, true);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if is_word(c) {
                found += usize::from(ended);
                ended = false;
            } else if is_terminal(c as u32) {
                let inside = c == '.' && rest.peek().is_some_and(|&c| is_word(c));
                ended |= !inside;
            }
        }
        found
    }
}

fn is_word(c: char) -> bool {
    chars::classes(c as u32) & WORD != 0
}

fn ascii_sentences(line: &[u8]) -> usize {
    let has_word = |part: &[u8]| part.iter().any(|&byte| is_word(byte as char));
    let (mut found, mut ended, mut start) = (0, true, 0);
    for mark in memchr::memchr3_iter(b'.', b'!', b'?', line).chain([line.len()]) {
        if ended && has_word(&line[start..mark]) {
            found += 1;
            ended = false;
        }
        let inside = line.get(mark) == Some(&b'.')
            && line
                .get(mark + 1)
                .is_some_and(|&byte| is_word(byte as char));
        ended |= !inside;
        start = mark + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_awkward_lines() {
        for (line, expected) in [
            ("", 0),
            ("...", 0),
            ("one", 1),
            ("One. Two! Three?", 3),
            ("See example.org, it is 3.14.", 1),
            ("Wait... what?! Yes.", 3),
            ("\"So.\" He left", 2),
            ("今日は。明日は！", 2),
            ("Ça va. Oui… non.", 2),
            ("! a", 1),
        ] {
            assert_eq!(sentences(line), expected, "{line}");
            if line.is_ascii() {
                assert_eq!(sentences(&format!("{line}\u{a0}")), expected, "{line}");
            }
        }
    }
}
