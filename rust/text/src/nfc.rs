//! Unicode normalization form C: one way to write a character that could be a letter and its marks.

use std::borrow::Cow;

use crate::{Error, Texts};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Every text in normalization form C: row i is `values[offsets[i]..offsets[i + 1]]`.
///
/// Time is n log n in the longest run of combining marks. (CPython's `unicodedata.normalize` sorts such a run by
/// insertion: a megabyte of marks takes it minutes.)
pub fn nfc(texts: Texts<'_>) -> Result<(Vec<i64>, Vec<u8>), Error> {
    let mut offsets = vec![0];
    let mut values = String::with_capacity(texts.total_bytes());
    for row in 0..texts.len() {
        values.push_str(&composed(texts.text(row)?));
        offsets.push(values.len() as i64);
    }
    Ok((offsets, values.into_bytes()))
}

/// A text in normalization form C; borrowed where it is in that form already.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offsets;
    use std::time::Instant;

    fn column(text: &str) -> String {
        let offsets = [0, 0, text.len() as i64];
        let (ends, values) = nfc(Texts::new(Offsets::Large(&offsets), text.as_bytes())).unwrap();
        assert_eq!(ends, [0, 0, values.len() as i64]);
        String::from_utf8(values).unwrap()
    }

    #[test]
    fn marks_are_composed_and_put_in_order() {
        assert_eq!(column("cafe\u{301} Å"), "café Å");
        assert_eq!(column("a\u{301}\u{323}"), "\u{1ea1}\u{301}");
        assert_eq!(column("\u{1100}\u{1161}"), "가");
    }

    #[test]
    fn a_megabyte_of_marks_takes_no_square() {
        let began = Instant::now();
        column(&"\u{301}\u{323}".repeat(1 << 18));
        assert!(began.elapsed().as_secs_f64() < 2.0);
    }
}
