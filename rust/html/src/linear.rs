//! The learned weights of names and words: two tables of small integers, one summand a token.
//!
//! They turn what no rule could list (`entry-content`, `related-posts`, "Share on") into a number that the trees
//! can ask for. Fitted by logistic regression on the tokens of a block's ancestors and on its first words. A token
//! that the tables do not hold weighs nothing: a page in a language that was not trained on is judged by its shape.

use crate::Error;
use crate::bytes::Bytes;

/// A weight of 1 is stored as this number.
const SCALE: f32 = 48.0;

/// Weights of hashes, in open addressing.
#[derive(Clone, Debug, Default)]
struct Table {
    slots: Vec<(u32, i8)>,
    mask: usize,
}

impl Table {
    /// u32 entries, that many u32 hashes in rising order, that many i8 weights, none of them 0.
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let n = bytes.u32()? as usize;
        let (hashes, _) = bytes.take(n.saturating_mul(4))?.as_chunks::<4>();
        let weights = bytes.take(n)?;
        let size = (n * 3).next_power_of_two().max(2);
        let mut table = Self {
            slots: vec![(0, 0); size],
            mask: size - 1,
        };
        for (hash, &weight) in hashes.iter().zip(weights) {
            let hash = u32::from_le_bytes(*hash);
            let mut place = hash as usize & table.mask;
            while table.slots[place].1 != 0 {
                place = (place + 1) & table.mask;
            }
            if weight == 0 {
                return Err(Error::Model {
                    what: "a token has the weight 0".to_owned(),
                });
            }
            table.slots[place] = (hash, weight as i8);
        }
        Ok(table)
    }

    /// The weight of a hash, if the table holds it.
    #[inline]
    fn get(&self, hash: u32) -> Option<f32> {
        let mut place = hash as usize & self.mask;
        loop {
            let (held, weight) = *self.slots.get(place)?;
            if weight == 0 {
                return None; // a free slot: a third of them are taken at most
            }
            if held == hash {
                return Some(f32::from(weight) / SCALE);
            }
            place = (place + 1) & self.mask;
        }
    }
}

/// Both tables.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    names: Table,
    words: Table,
}

impl Linear {
    /// Tables that hold nothing: what the weights are learned from.
    pub fn untrained() -> Self {
        Self::default()
    }

    /// The table of names, then that of words.
    pub fn read(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        Ok(Self {
            names: Table::read(bytes)?,
            words: Table::read(bytes)?,
        })
    }

    /// The weight of an element, class or id token; 0 for an unknown one.
    #[inline]
    pub fn name(&self, token: u32) -> f32 {
        self.names.get(token).unwrap_or(0.0)
    }

    /// The weight of a word, if it is known.
    #[inline]
    pub fn word(&self, word: u32) -> Option<f32> {
        self.words.get(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tokens_have_their_weights_and_unknown_ones_none() {
        let mut file = Vec::new();
        for (hashes, weights) in [
            (vec![7_u32, 0x1000_0007], vec![48_i8, -24]),
            (vec![], vec![]),
        ] {
            file.extend((hashes.len() as u32).to_le_bytes());
            hashes
                .iter()
                .for_each(|hash| file.extend(hash.to_le_bytes()));
            file.extend(weights.iter().map(|&weight| weight as u8));
        }
        let mut bytes = Bytes::new(&file);
        let linear = Linear::read(&mut bytes).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(
            (linear.name(7), linear.name(0x1000_0007), linear.name(8)),
            (1.0, -0.5, 0.0)
        );
        assert_eq!(linear.word(7), None);
        assert_eq!(Linear::untrained().word(7), None);
    }
}
