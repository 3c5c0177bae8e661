//! Parts of texts that stand for the whole: the beginning and, of long texts, places spread evenly over the rest.

use crate::{Error, Texts};

/// How texts are sampled; lengths in characters.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Length of the beginning.
    pub first: usize,
    /// How many further windows a text of `least` bytes or more has.
    pub further: usize,
    /// Their length.
    pub length: usize,
    /// Bytes of a text that has further windows.
    pub least: usize,
}

/// The parts of every text in order: the row of each, and all of them as offsets and bytes.
pub struct Parts {
    /// The row that each part is of.
    pub rows: Vec<i64>,
    /// Part i is `values[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
    /// The bytes of all parts.
    pub values: Vec<u8>,
}

/// The windows of all texts. Time follows from the number of windows, not from the length of the texts, but for the
/// check that they are UTF-8.
pub fn windows(texts: Texts<'_>, settings: Windows) -> Result<Parts, Error> {
    let mut parts = Parts {
        rows: Vec::new(),
        offsets: vec![0],
        values: Vec::new(),
    };
    for row in 0..texts.len() {
        let text = texts.text(row)?;
        let first = head(text, settings.first);
        parts.push(row, first);
        if text.len() < settings.least.max(first.len() + 1) {
            continue;
        }
        let rest = &text[first.len()..];
        // The last window ends where the text ends.
        let end = tail(rest, settings.length);
        for number in 1..=settings.further {
            let mut start = end / settings.further * number;
            while !rest.is_char_boundary(start) {
                start += 1;
            }
            let start = if number == settings.further {
                end
            } else {
                start
            };
            parts.push(row, head(&rest[start..], settings.length));
        }
    }
    Ok(parts)
}

impl Parts {
    fn push(&mut self, row: usize, part: &str) {
        self.rows.push(row as i64);
        self.values.extend_from_slice(part.as_bytes());
        self.offsets.push(self.values.len() as i64);
    }
}

/// The first `characters` characters.
pub fn head(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    let end = text.char_indices().nth(characters);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Where the last `characters` characters begin.
fn tail(text: &str, characters: usize) -> usize {
    let last = characters
        .checked_sub(1)
        .and_then(|n| text.char_indices().nth_back(n));
    last.map_or(
        if characters == 0 { text.len() } else { 0 },
        |(place, _)| place,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offsets;

    #[test]
    fn long_texts_have_windows_up_to_their_end_and_short_ones_their_beginning() {
        let long: String = ('a'..='z').cycle().take(100).collect::<String>() + "äöü";
        let all = format!("short{long}");
        let offsets = [0, 5, all.len() as i64];
        let settings = Windows {
            first: 4,
            further: 3,
            length: 2,
            least: 50,
        };
        let parts = windows(
            Texts::new(Offsets::Large(&offsets), all.as_bytes()),
            settings,
        )
        .expect("UTF-8");
        let texts: Vec<&str> = (0..parts.rows.len())
            .map(|i| {
                std::str::from_utf8(
                    &parts.values[parts.offsets[i] as usize..parts.offsets[i + 1] as usize],
                )
                .expect("UTF-8")
            })
            .collect();
        assert_eq!(parts.rows, [0, 1, 1, 1, 1]);
        assert_eq!(texts, ["shor", "abcd", "kl", "qr", "öü"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_windows(text: String, first in 0usize..9, further in 0usize..5, length in 0usize..9, least in 0usize..40) {
            let offsets = [0, text.len() as i64];
            let settings = Windows { first, further, length, least };
            let parts = windows(Texts::new(Offsets::Large(&offsets), text.as_bytes()), settings).expect("UTF-8");
            proptest::prop_assert!(std::str::from_utf8(&parts.values).is_ok());
        }
    }
}
