//! Suffix arrays: the places of a text in the order of what follows them, by libsais.
//!
//! Words are looked up in it by binary search. Four bytes a byte of text; time is linear.

use crate::Error;
use libsais::SuffixArrayConstruction;

/// The most bytes that one array is made of.
pub const LIMIT: usize = 1 << 30;

/// Every place of `text`, in the order of the bytes from there to its end.
pub fn suffix_array(text: &[u8]) -> Result<Vec<u32>, Error> {
    if text.len() > LIMIT {
        return Err(Error::OutOfRange {
            name: "bytes of a block",
            value: text.len(),
            min: 0,
            max: LIMIT,
        });
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let made = SuffixArrayConstruction::for_text(text)
        .in_owned_buffer32()
        .single_threaded()
        .run();
    let made = made.map_err(|_| Error::OutOfRange {
        name: "bytes of a block",
        value: text.len(),
        min: 0,
        max: LIMIT,
    })?;
    Ok(made
        .suffix_array()
        .iter()
        .map(|&place| place as u32)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_sorted_by_what_follows(text in proptest::collection::vec(b'a'..=b'c', 0..80)) {
            let mut expected: Vec<u32> = (0..text.len() as u32).collect();
            expected.sort_by_key(|&place| &text[place as usize..]);
            prop_assert_eq!(suffix_array(&text).unwrap(), expected);
        }
    }
}
