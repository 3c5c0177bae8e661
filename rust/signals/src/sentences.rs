//! Sentences of a line, by their end marks.

use curate_text::chars::{self, WORD};

use crate::characters::{self, is_terminal};

/// 0 for a line without a letter or number, else 1 and 1 more for each mark that a word follows. A period that a
/// letter or number follows at once (3.14, example.org) is no mark.
pub(crate) fn sentences(line: &str) -> usize {
    let bytes = line.as_bytes();
    let ascii = bytes.is_ascii();
    // A mark of another script, of which a text has many or none.
    if !ascii && characters::others(bytes).any(is_terminal) {
        return by_characters(line);
    }
    let has_word = |part: &[u8]| {
        part.iter()
            .any(|&byte| byte < 0x80 && is_word(u32::from(byte)))
            || !ascii && characters::others(part).any(is_word)
    };
    let (mut found, mut ended, mut start) = (0, true, 0);
    for mark in memchr::memchr3_iter(b'.', b'!', b'?', bytes).chain([bytes.len()]) {
        if ended && has_word(&bytes[start..mark]) {
            found += 1;
            ended = false;
        }
        let inside = bytes.get(mark) == Some(&b'.')
            && mark + 1 < bytes.len()
            && is_word(chars::decode(bytes, mark + 1).0);
        ended |= !inside;
        start = mark + 1;
    }
    found
}

fn by_characters(line: &str) -> usize {
    let (mut found, mut ended) = (0, true);
    let mut rest = line.chars().map(u32::from).peekable();
    while let Some(code) = rest.next() {
        if is_word(code) {
            found += usize::from(ended);
            ended = false;
        } else if is_terminal(code) {
            let inside = code == u32::from('.') && rest.peek().is_some_and(|&code| is_word(code));
            ended |= !inside;
        }
    }
    found
}

fn is_word(code: u32) -> bool {
    chars::classes(code) & WORD != 0
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
            assert_eq!(by_characters(line), expected, "{line}");
            assert_eq!(sentences(&format!("{line}\u{a0}")), expected, "{line}");
        }
    }
}
