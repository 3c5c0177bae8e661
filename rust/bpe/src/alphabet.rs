//! What training begins with: special tokens, then the 256 bytes, then (in the byte fallback form) characters.

use crate::Error;
use std::collections::BTreeMap;

/// The symbols that merges begin with.
#[derive(Debug, Clone, Copy, Default)]
pub enum Alphabet<'a> {
    /// The 256 bytes.
    #[default]
    Bytes,
    /// The characters of the text. A character that is none of them becomes its bytes, which do not merge.
    Characters {
        /// Characters that get a token even where the text lacks them.
        initial: &'a [char],
        /// At most so many, the most frequent, `initial` first; of equals the smaller code point.
        limit: Option<usize>,
    },
}

/// The name of the token that stands for a byte in the byte fallback form.
pub fn byte_name(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The characters that get a token, in ascending order.
pub fn characters<'p>(
    pieces: impl Iterator<Item = (&'p [u8], i64)>,
    initial: &[char],
    limit: Option<usize>,
) -> Result<Vec<char>, Error> {
    let mut counts: BTreeMap<char, i64> = initial.iter().map(|&c| (c, i64::MAX)).collect();
    for (row, (piece, count)) in pieces.enumerate() {
        let text = std::str::from_utf8(piece).map_err(|_| Error::NotText { row })?;
        if count > 0 {
            for character in text.chars() {
                let known = counts.entry(character).or_default();
                *known = known.saturating_add(count);
            }
        }
    }
    let mut found: Vec<(char, i64)> = counts.into_iter().collect();
    found.sort_by_key(|&(character, count)| (std::cmp::Reverse(count), character));
    found.truncate(limit.unwrap_or(usize::MAX).max(initial.len()));
    let mut characters: Vec<char> = found.into_iter().map(|(character, _)| character).collect();
    characters.sort_unstable();
    Ok(characters)
}

/// The bytes in the order of their ids: printable ones first, because tokenizer files write a byte as a
/// character and the others as characters from U+0100 on.
pub fn byte_order() -> impl Iterator<Item = u8> {
    let printable = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    (0u8..=255)
        .filter(printable)
        .chain((0u8..=255).filter(move |byte| !printable(byte)))
}

/// The bytes that text would need to spell each special token, where it can.
pub fn check_special_tokens(tokens: &[String], of_bytes: bool) -> Result<Vec<Vec<u8>>, Error> {
    let characters: Vec<char> = byte_order()
        .zip(0..)
        .map(|(byte, rank)| byte_character(byte, rank))
        .collect();
    let bytes: Vec<u8> = byte_order().collect();
    let mut spelled = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let refuse = |reason| {
            Err(Error::SpecialToken {
                token: token.clone(),
                reason,
            })
        };
        if token.is_empty() {
            return refuse("is empty");
        }
        if tokens[..place].contains(token) {
            return refuse("is given twice");
        }
        let byte_of = |c| {
            characters
                .iter()
                .position(|&known| known == c)
                .map(|rank| bytes[rank])
        };
        if !of_bytes {
            if token.chars().count() == 1 || (0..=255).any(|byte| byte_name(byte) == *token) {
                return refuse("is the name of a character or byte in tokenizer files");
            }
            spelled.push(token.clone().into_bytes());
        } else if let Some(spelling) = token.chars().map(byte_of).collect::<Option<Vec<u8>>>() {
            if spelling.len() == 1 {
                return refuse("is the name of a single byte in tokenizer files");
            }
            spelled.push(spelling);
        }
    }
    Ok(spelled)
}

/// The character that stands for a byte in tokenizer files; `rank` is its place in [`byte_order`].
fn byte_character(byte: u8, rank: u32) -> char {
    const PRINTABLE: u32 = 188;
    if rank < PRINTABLE {
        char::from(byte)
    } else {
        char::from_u32(0x100 + rank - PRINTABLE).unwrap_or(' ')
    }
}
