//! One way to write the same text: line ends, spaces, characters without a meaning, composed characters, empty lines.

use std::borrow::Cow;

use crate::nfc::composed;
use crate::{Error, Texts};

/// What becomes of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Stays,
    LineEnd,
    Space,
    Removed,
}

/// First bytes of characters that may change, in UTF-8.
const MAY_CHANGE: [bool; 256] = {
    let mut may = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        may[byte] = byte != b'\t' as usize && byte != b'\n' as usize;
        byte += 1;
    }
    may[0x7f] = true;
    may[0xc2] = true; // U+0080 to U+00BF
    may[0xe1] = true; // U+1680
    may[0xe2] = true; // U+2000 to U+206F
    may[0xe3] = true; // U+3000
    may[0xef] = true; // U+FDD0 to U+FFFF
    may
};

/// Typographic and no-break spaces become plain ones. Controls, the soft hyphen, the zero-width space, the word joiner,
/// byte order marks and noncharacters are removed. The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji
/// need them.
fn change(c: char) -> Change {
    match c {
        '\t' | '\n' => Change::Stays,
        '\r' | '\x0b' | '\x0c' | '\u{85}' | '\u{2028}' | '\u{2029}' => Change::LineEnd,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Change::Space
        }
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{200b}' | '\u{2060}' => Change::Removed,
        '\u{feff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' => Change::Removed,
        _ => Change::Stays,
    }
}

/// Every text in its one form: row i is `values[offsets[i]..offsets[i + 1]]`.
///
/// Every form of a line end is \n; blanks (spaces, tabs) at line ends and empty lines at both ends of the text are
/// removed; more than `max_blank_lines` empty lines in a row become that many. A text in this form stays as it is.
pub fn tidy(texts: Texts<'_>, max_blank_lines: usize) -> Result<(Vec<i64>, Vec<u8>), Error> {
    let mut offsets = vec![0];
    let mut values = String::with_capacity(texts.total_bytes());
    for row in 0..texts.len() {
        let plain = plain(texts.text(row)?);
        push_lines(&composed(&plain), max_blank_lines, &mut values);
        offsets.push(values.len() as i64);
    }
    Ok((offsets, values.into_bytes()))
}

/// The text with every character changed as `change` says; borrowed where none changes.
fn plain(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(next) = bytes[at..]
        .iter()
        .position(|&byte| MAY_CHANGE[usize::from(byte)])
    {
        at += next;
        let Some(c) = text[at..].chars().next() else {
            break;
        };
        let end = at + c.len_utf8();
        let becomes = change(c);
        if becomes != Change::Stays {
            out.push_str(&text[copied..at]);
            copied = end;
        }
        match becomes {
            // \r\n is one line end: \n stays.
            Change::LineEnd if c == '\r' && bytes.get(end) == Some(&b'\n') => {}
            Change::LineEnd => out.push('\n'),
            Change::Space => out.push(' '),
            Change::Removed | Change::Stays => {}
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Appends the lines of a text without blanks at their ends, and not more than `most` empty ones in a row.
fn push_lines(text: &str, most: usize, out: &mut String) {
    let begin = out.len();
    let mut empty = 0;
    for line in text.split('\n') {
        let line = line.trim_end_matches([' ', '\t']);
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if out.len() > begin {
            out.extend(std::iter::repeat_n('\n', empty.min(most) + 1));
        }
        out.push_str(line);
        empty = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offsets;
    use proptest::prelude::*;

    fn one(text: &str, most: usize) -> String {
        let offsets = [0, text.len() as i64];
        let texts = Texts::new(Offsets::Large(&offsets), text.as_bytes());
        String::from_utf8(tidy(texts, most).unwrap().1).unwrap()
    }

    #[test]
    fn lines_end_in_one_way_and_without_blanks() {
        assert_eq!(one("a \t\r\nb\rc\u{85}d\u{2028}e\x0c", 2), "a\nb\nc\nd\ne");
        assert_eq!(one("\n \n  a\n\n\n\n \nb\n\n", 2), "  a\n\n\nb");
        assert_eq!(one("a\n\n\nb", 1), "a\n\nb");
        assert_eq!(one(" \t\n ", 2), "");
    }

    #[test]
    fn spaces_become_plain_and_what_says_nothing_goes() {
        assert_eq!(
            one("\u{feff}a\u{a0}b\u{3000}c\u{ad}d\0e\u{200b}f\u{ffff}", 2),
            "a b cdef"
        );
        assert_eq!(
            one("\u{645}\u{200c}\u{6cc} cafe\u{301}", 2),
            "\u{645}\u{200c}\u{6cc} café"
        );
    }

    proptest! {
        #[test]
        fn a_text_in_its_one_form_stays(text in "[a \t\r\n\u{85}\u{a0}\u{301}\u{ad}é\u{3000}\0中]{0,40}") {
            let once = one(&text, 2);
            prop_assert_eq!(one(&once, 2), once.clone());
            prop_assert!(!once.contains("\n\n\n\n") && !once.contains(" \n"));
        }
    }
}
