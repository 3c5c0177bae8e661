//! The words around a place, which tell a phone number from a page number and a version from an address.

use curate_text::chars::{self, ALPHA, UNSPACED};

/// Words (lower case) to look for, and the bytes that they begin with in either case.
pub(crate) struct Words {
    words: &'static [&'static str],
    begins: [bool; 256],
}

impl Words {
    pub(crate) const fn new(words: &'static [&'static str]) -> Self {
        let mut begins = [false; 256];
        let mut i = 0;
        while i < words.len() {
            let first = words[i].as_bytes()[0];
            begins[first as usize] = true;
            begins[first.to_ascii_uppercase() as usize] = true;
            i += 1;
        }
        Self { words, begins }
    }
}

/// Whether one of `words` begins within the last `window` bytes before `start`, at the beginning of a word where it
/// begins with an ASCII letter: "tel" is in "Tel. 12", and not in "hotel 12".
pub(crate) fn before(text: &[u8], start: usize, window: usize, words: &Words) -> bool {
    let from = start.saturating_sub(window);
    within(text, from, start, words)
}

/// Whether one of `words` begins within the first `window` bytes from `end` on, at the beginning of a word.
pub(crate) fn after(text: &[u8], end: usize, window: usize, words: &Words) -> bool {
    within(text, end, text.len().min(end + window), words)
}

fn within(text: &[u8], from: usize, to: usize, words: &Words) -> bool {
    (from..to).any(|place| {
        words.begins[usize::from(text[place])]
            && !(text[place].is_ascii_alphabetic()
                && place > 0
                && text[place - 1].is_ascii_alphabetic())
            && words.words.iter().any(|word| {
                let word = word.as_bytes();
                place + word.len() <= to
                    && text[place..place + word.len()].eq_ignore_ascii_case(word)
            })
    })
}

/// The run of ASCII letters that ends at `end`.
pub(crate) fn word_before(text: &[u8], end: usize) -> &[u8] {
    let letters = text[..end]
        .iter()
        .rev()
        .take(24)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    &text[end - letters..end]
}

/// Whether `word` is one of `words` (lower case), whatever its case.
pub(crate) fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// The character that ends at `end`; None at the beginning of the text.
pub(crate) fn character_before(text: &[u8], end: usize) -> Option<u32> {
    let first = text[..end].iter().rposition(|byte| byte & 0xC0 != 0x80)?;
    Some(chars::decode(text, first).0)
}

/// Whether a character is a letter that words are written with, or an underscore; scripts without spaces have none,
/// since in them a number stands beside letters.
pub(crate) fn joins(code: u32) -> bool {
    code == u32::from('_') || chars::classes(code) & (ALPHA | UNSPACED) == ALPHA
}
