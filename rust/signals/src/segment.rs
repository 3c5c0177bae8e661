//! The words of Unicode (UAX 29), with a short form of its rules for ASCII.

use unicode_segmentation::UnicodeSegmentation;

/// All segments between word boundaries, punctuation too.
pub(crate) fn words(chunk: &str, emit: impl FnMut(&str)) {
    chunk.split_word_bounds().for_each(emit);
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const LINE: u8 = 4;
/// Joins two letters: rules WB6 and WB7.
const MID_LETTER: u8 = 8;
/// Joins two digits: rules WB11 and WB12.
const MID_DIGIT: u8 = 16;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut value = 0;
    while value < 256 {
        classes[value] = match value as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'_' => LINE,
            b'.' | b'\'' => MID_LETTER | MID_DIGIT,
            b':' => MID_LETTER,
            b',' | b';' => MID_DIGIT,
            _ => 0,
        };
        value += 1;
    }
    classes
};

/// The segments of a chunk of ASCII without whitespace that begin with a letter or number, and whether each holds a
/// letter.
#[inline]
pub(crate) fn ascii_words(chunk: &[u8], mut emit: impl FnMut(&[u8], bool)) {
    let class = |place: usize| chunk.get(place).map_or(0, |&byte| CLASSES[byte as usize]);
    let mut place = 0;
    while place < chunk.len() {
        let start = place;
        let mut last = class(place);
        place += 1;
        if last & (LETTER | DIGIT | LINE) == 0 {
            continue;
        }
        let wanted = last & (LETTER | DIGIT) != 0;
        let mut all = last;
        loop {
            let next = class(place);
            if next & (LETTER | DIGIT | LINE) != 0 {
                (last, place) = (next, place + 1);
                all |= next;
            } else if next & (MID_LETTER | MID_DIGIT) == 0 {
                break;
            } else {
                let joins = if next & MID_LETTER != 0 { LETTER } else { 0 }
                    | if next & MID_DIGIT != 0 { DIGIT } else { 0 };
                if last & joins & class(place + 1) == 0 {
                    break;
                }
                (last, place) = (last, place + 2);
            }
        }
        if wanted {
            emit(&chunk[start..place], all & LETTER != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(chunk: &str) {
        let mut seen = Vec::new();
        ascii_words(chunk.as_bytes(), |word, letters| {
            assert_eq!(letters, word.iter().any(u8::is_ascii_alphabetic));
            seen.push(std::str::from_utf8(word).unwrap().to_owned())
        });
        let expected: Vec<_> = chunk
            .split_word_bounds()
            .filter(|w| w.as_bytes()[0].is_ascii_alphanumeric())
            .collect();
        assert_eq!(seen, expected, "{chunk:?}");
    }

    #[test]
    fn awkward_chunks() {
        for chunk in [
            "can't", "3.14", "e.g.", "a_b", "_a", "1,000.50", "12:30", "a:b", "a.1", "1.a",
            "it's.x", "--a--", "a''b", "x'",
        ] {
            check(chunk);
        }
    }

    proptest! {
        #[test]
        fn ascii_follows_the_full_rules(chunk in "[!-~]{1,30}|[a1_.,:;'-]{1,30}") {
            check(&chunk);
        }
    }
}
