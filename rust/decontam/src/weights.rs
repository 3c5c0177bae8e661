//! What words weigh: the fewer items and stretches of documents have one, the more it tells.

use curate_text::Texts;

use crate::align::UNIT;
use crate::{Error, Normalizer};

/// Words of a stretch of a document, in which a word counts once.
const STRETCH: usize = 200;
/// Fewer items or stretches than this say little of how rare a word is: frequencies are taken among so many.
const LEAST: u32 = 1000;
/// The weight of a word that is everywhere, in bits.
const LIGHTEST: f64 = 0.05;

/// In how many stretches of 200 words each word of the vocabulary (sorted) stands, and how many stretches there are.
pub fn count_stretches(texts: Texts<'_>, vocabulary: &[u32]) -> Result<(Vec<u32>, u32), Error> {
    let words = Words::new(vocabulary);
    let mut normalizer = Normalizer::default();
    let mut counts = vec![0; vocabulary.len()];
    let mut last = vec![0_u32; vocabulary.len()];
    let mut stretches = 0;
    for row in 0..texts.len() {
        for stretch in normalizer.scan(row, texts.text(row)?)?.chunks(STRETCH) {
            stretches += 1;
            for &hash in stretch {
                if let Some(at) = words.find(hash as u32)
                    && last[at] != stretches
                {
                    last[at] = stretches;
                    counts[at] += 1;
                }
            }
        }
    }
    Ok((counts, stretches))
}

/// The weight of each word in 1/256 bit: -log2 of its frequency in items or in stretches, whichever is larger.
///
/// Of `items` questions `in_items[i]` have word i, of `stretches` stretches `in_stretches[i]`.
pub fn weights(in_items: &[u32], items: u32, in_stretches: &[u32], stretches: u32) -> Vec<u16> {
    let of_items = f64::from(items.saturating_add(1).max(LEAST));
    let of_stretches = f64::from(stretches.saturating_add(1)).max(of_items);
    let weight = |(&a, &b): (&u32, &u32)| {
        let frequency = ((f64::from(a) + 0.5) / of_items).max((f64::from(b) + 0.5) / of_stretches);
        ((-frequency.log2()).max(LIGHTEST) * UNIT).round() as u16
    };
    in_items.iter().zip(in_stretches).map(weight).collect()
}

/// Sorted words, with the first place of each prefix: a look-up is one step or two.
#[derive(Debug)]
pub struct Words<'a> {
    words: &'a [u32],
    firsts: Vec<u32>,
    shift: u32,
}

impl<'a> Words<'a> {
    /// `words` are sorted and distinct.
    pub fn new(words: &'a [u32]) -> Self {
        let bits = (words.len().max(16) * 2)
            .next_power_of_two()
            .ilog2()
            .min(31);
        let shift = 32 - bits;
        let mut firsts = vec![0_u32; (1 << bits) + 1];
        for &word in words {
            firsts[(word >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for first in &mut firsts {
            sum += *first;
            *first = sum;
        }
        Self {
            words,
            firsts,
            shift,
        }
    }

    /// The place of a word.
    #[inline]
    pub fn find(&self, word: u32) -> Option<usize> {
        let prefix = (word >> self.shift) as usize;
        let (first, last) = (
            self.firsts[prefix] as usize,
            self.firsts[prefix + 1] as usize,
        );
        (first..last).find(|&at| self.words[at] == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;

    #[test]
    fn a_word_counts_once_a_stretch() {
        let word = |text: &str| Normalizer::default().scan(0, text).unwrap()[0] as u32;
        let mut vocabulary = vec![word("the"), word("whale"), word("absent")];
        vocabulary.sort_unstable();
        let text = "the the whale ".to_string() + &"the ".repeat(250);
        let offsets = [0, text.len() as i64];
        let (counts, stretches) = count_stretches(
            Texts::new(Offsets::Large(&offsets), text.as_bytes()),
            &vocabulary,
        )
        .unwrap();
        let of = |text: &str| counts[vocabulary.binary_search(&word(text)).unwrap()];
        assert_eq!(
            (of("the"), of("whale"), of("absent"), stretches),
            (2, 1, 0, 2)
        );
    }

    #[test]
    fn rare_words_weigh_more() {
        // 1.5 / 1,000; 999.5 / 999 is more than 1; 0.5 / 4,000; 1,000.5 / 4,000.
        let made = weights(&[1, 999, 0, 0], 999, &[0, 0, 0, 1000], 3999);
        let bits: Vec<f64> = made
            .iter()
            .map(|&weight| f64::from(weight) / UNIT)
            .collect();
        let expected = [1000.0_f64 / 1.5, 1.0353, 1000.0 / 0.5, 4000.0 / 1000.5].map(f64::log2);
        assert!(
            bits.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01),
            "{bits:?} {expected:?}"
        );
        // A benchmark of three items does not make its words common.
        assert!(weights(&[3], 3, &[0], 0)[0] > 8 * 256);
    }
}
