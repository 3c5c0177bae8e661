//! The learned weights of hashed names and words: two tables of small integers, one summand a token.
//!
//! They turn what no rule could list (`entry-content`, `related-posts`, "Share on") into a number that the trees
//! can ask for. Fitted by logistic regression on the tokens of a block's ancestors and on its first words.

/// Slots of the table for element, class and id tokens.
pub const NAME_SLOTS: usize = 1 << 14;
/// Slots of the table for words.
pub const WORD_SLOTS: usize = 1 << 15;
/// A weight of 1 is stored as this number.
const SCALE: f32 = 48.0;

/// Both tables.
#[derive(Clone, Debug)]
pub struct Linear {
    names: Vec<i8>,
    words: Vec<i8>,
}

impl Linear {
    /// The tables one after the other: `NAME_SLOTS + WORD_SLOTS` bytes. None where there are not as many.
    pub fn new(tables: &[i8]) -> Option<Self> {
        (tables.len() == NAME_SLOTS + WORD_SLOTS).then(|| Self {
            names: tables[..NAME_SLOTS].to_vec(),
            words: tables[NAME_SLOTS..].to_vec(),
        })
    }

    /// Tables in which every weight is 0: what the weights are learned from.
    pub fn untrained() -> Self {
        Self {
            names: vec![0; NAME_SLOTS],
            words: vec![0; WORD_SLOTS],
        }
    }

    /// The slot of an element, class or id token.
    #[inline]
    pub fn name_slot(token: u32) -> usize {
        token as usize & (NAME_SLOTS - 1)
    }

    /// The slot of a word.
    #[inline]
    pub fn word_slot(word: u32) -> usize {
        word as usize & (WORD_SLOTS - 1)
    }

    /// The weight of an element, class or id token.
    #[inline]
    pub fn name(&self, token: u32) -> f32 {
        f32::from(self.names[Self::name_slot(token)]) / SCALE
    }

    /// The weight of a word.
    #[inline]
    pub fn word(&self, word: u32) -> f32 {
        f32::from(self.words[Self::word_slot(word)]) / SCALE
    }
}
