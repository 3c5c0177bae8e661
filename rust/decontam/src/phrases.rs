//! Word n-grams of texts as hashes, and the places where texts hold one of a list.

use curate_text::{Texts, hash};

use crate::{Error, Normalizer, check_length};

/// The hashes of the word n-grams of every text in reading order: row i is `values[offsets[i]..offsets[i + 1]]`.
///
/// A text with fewer than `n` words has none.
pub fn ngram_hashes(texts: Texts<'_>, n: usize) -> Result<(Vec<i64>, Vec<u64>), Error> {
    check_length(n)?;
    let mut normalizer = Normalizer::default();
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..texts.len() {
        values.extend(hash::ngrams(normalizer.scan(row, texts.text(row)?)?, n));
        offsets.push(values.len() as i64);
    }
    Ok((offsets, values))
}

/// N-grams to look for: sorted and distinct, with a filter of 16 bits or more for each.
pub struct Phrases {
    grams: Vec<u64>,
    filter: Vec<u64>,
    shift: u32,
    n: usize,
}

/// A place where a text holds an n-gram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row of the text.
    pub row: u32,
    /// The n-gram, by its place in the list.
    pub gram: u32,
    /// The first byte in the text.
    pub start: u32,
    /// The end, exclusive.
    pub end: u32,
}

impl Phrases {
    /// `grams` are hashes of n-grams of `n` words, sorted and distinct.
    pub fn new(grams: Vec<u64>, n: usize) -> Result<Self, Error> {
        check_length(n)?;
        if let Some(row) = (1..grams.len()).find(|&row| grams[row - 1] >= grams[row]) {
            let (value, before) = (grams[row], grams[row - 1]);
            return Err(Error::Unsorted { row, value, before });
        }
        if u32::try_from(grams.len()).is_err() {
            return Err(Error::TooManyGrams { grams: grams.len() });
        }
        let bits = (grams.len() * 16).next_power_of_two().max(64);
        let shift = 64 - bits.trailing_zeros();
        let mut filter = vec![0; bits / 64];
        for gram in &grams {
            let bit = (gram >> shift) as usize;
            filter[bit / 64] |= 1 << (bit % 64);
        }
        Ok(Self {
            grams,
            filter,
            shift,
            n,
        })
    }

    /// Every place of every text with one of the n-grams, in order.
    pub fn find(&self, texts: Texts<'_>) -> Result<Vec<Place>, Error> {
        let mut normalizer = Normalizer::default();
        let mut found: Vec<(usize, u32)> = Vec::new();
        let mut places = Vec::new();
        for row in 0..texts.len() {
            let text = texts.text(row)?;
            found.clear();
            let words = normalizer.scan(row, text)?;
            for (word, gram) in hash::ngrams(words, self.n).enumerate() {
                let bit = (gram >> self.shift) as usize;
                if self.filter[bit / 64] >> (bit % 64) & 1 != 0
                    && let Ok(at) = self.grams.binary_search(&gram)
                {
                    found.push((word, at as u32));
                }
            }
            if found.is_empty() {
                continue;
            }
            let spans = normalizer.spans(row, text)?;
            places.extend(found.iter().map(|&(word, gram)| Place {
                row: row as u32,
                gram,
                start: spans[word].0,
                end: spans[word + self.n - 1].1,
            }));
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;

    #[test]
    fn phrases_are_found_under_other_typography_with_their_bytes() {
        let texts = |all: &'static str| {
            Texts::new(
                Offsets::Large(Box::leak(Box::new([0, all.len() as i64]))),
                all.as_bytes(),
            )
        };
        let (offsets, mut grams) = ngram_hashes(texts("bad words"), 2).expect("n-grams");
        assert_eq!(offsets, [0, 1]);
        grams.sort_unstable();
        let places = Phrases::new(grams, 2)
            .and_then(|phrases| phrases.find(texts("é Bád-Words, bad words badwords")))
            .expect("places");
        let spans: Vec<(u32, u32)> = places
            .iter()
            .map(|place| (place.start, place.end))
            .collect();
        assert_eq!(spans, [(3, 13), (15, 24)]);
        assert!(Phrases::new(vec![2, 1], 1).is_err() && Phrases::new(vec![], 0).is_err());
        let none = Phrases::new(vec![], 1).and_then(|phrases| phrases.find(texts("a b")));
        assert_eq!(none, Ok(vec![]));
    }
}
