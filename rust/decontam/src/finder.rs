//! Looking up the n-grams of documents among those of benchmarks.

use std::ops::Deref;

use curate_text::{Texts, hash};

use crate::{Error, Normalizer, check_length};

/// Where documents hold benchmark n-grams, by (row, start).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The document.
    pub rows: Vec<u32>,
    /// The place of the n-gram in the column of grams.
    pub grams: Vec<u32>,
    /// First byte of its first word.
    pub starts: Vec<u32>,
    /// Byte after its last word.
    pub ends: Vec<u32>,
}

/// Sorted hashes of word n-grams with a filter, and the first place of each prefix: opened once, read by any thread.
///
/// Hashes are uniform, so their first bits alone spread them evenly: a prefix has one gram or two. The filter
/// is made of words of 64 bits: the first bits of a hash choose a word, its last 18 bits three bits therein.
pub struct Finder<Grams> {
    n: usize,
    grams: Grams,
    filter: Vec<u64>,
    filter_shift: u32,
    firsts: Vec<u32>,
    firsts_shift: u32,
}

impl<Grams: Deref<Target = [u64]>> Finder<Grams> {
    /// `grams` are hashes of n-grams of `n` words, sorted and distinct.
    pub fn new(grams: Grams, n: usize) -> Result<Self, Error> {
        check_length(n)?;
        if u32::try_from(grams.len()).is_err() {
            return Err(Error::TooManyGrams { grams: grams.len() });
        }
        if let Some(place) = grams.windows(2).position(|two| two[0] >= two[1]) {
            return Err(Error::Unsorted {
                row: place + 1,
                value: grams[place + 1],
                before: grams[place],
            });
        }
        let bits = (grams.len().max(64) * 16).next_power_of_two().ilog2();
        let (filter_shift, firsts_shift) = (64 - (bits - 6), 64 - (bits - 4));
        let mut filter = vec![0; 1 << (bits - 6)];
        let mut firsts = vec![0_u32; (1 << (bits - 4)) + 1];
        for &gram in grams.iter() {
            filter[(gram >> filter_shift) as usize] |= three_bits(gram);
            firsts[(gram >> firsts_shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for first in &mut firsts {
            sum += *first;
            *first = sum;
        }
        Ok(Self {
            n,
            grams,
            filter,
            filter_shift,
            firsts,
            firsts_shift,
        })
    }

    /// Every position of every text whose word n-gram is one of the grams.
    pub fn hits(&self, texts: Texts<'_>) -> Result<Hits, Error> {
        let mut normalizer = Normalizer::default();
        let mut out = Hits::default();
        for row in 0..texts.len() {
            normalizer.scan(row, texts.text(row)?)?;
            for (word, hash) in hash::ngrams(normalizer.hashes(), self.n).enumerate() {
                if let Some(gram) = self.find(hash) {
                    out.rows.push(row as u32);
                    out.grams.push(gram);
                    out.starts.push(normalizer.starts()[word]);
                    out.ends.push(normalizer.ends()[word + self.n - 1]);
                }
            }
        }
        Ok(out)
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<u32> {
        let bits = three_bits(hash);
        if self.filter[(hash >> self.filter_shift) as usize] & bits != bits {
            return None;
        }
        let prefix = (hash >> self.firsts_shift) as usize;
        let (first, last) = (self.firsts[prefix], self.firsts[prefix + 1]);
        let found = self.grams[first as usize..last as usize]
            .binary_search(&hash)
            .ok()?;
        Some(first + found as u32)
    }
}

#[inline]
fn three_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;

    fn hits(text: &str, grams: &[u64], n: usize) -> Result<Hits, Error> {
        let offsets = [0, 0, text.len() as i64];
        Finder::new(grams, n)?.hits(Texts::new(Offsets::Large(&offsets), text.as_bytes()))
    }

    fn grams(text: &str, n: usize) -> Vec<u64> {
        let offsets = [0, text.len() as i32];
        let (_, mut grams) =
            crate::ngram_hashes(Texts::new(Offsets::Small(&offsets), text.as_bytes()), n).unwrap();
        grams.sort_unstable();
        grams.dedup();
        grams
    }

    #[test]
    fn a_copy_is_found_where_it_stands() {
        let item = grams("What is the capital city of France?", 5);
        let text = "Quiz: “WHAT is\nthe capital-city  of FRANCE”. What is the time?";
        let seen = hits(text, &item, 5).unwrap();
        assert_eq!(seen.rows, [1, 1, 1]);
        let found: Vec<&str> = seen
            .starts
            .iter()
            .zip(&seen.ends)
            .map(|(&start, &end)| &text[start as usize..end as usize])
            .collect();
        assert_eq!(
            found,
            [
                "WHAT is\nthe capital-city",
                "is\nthe capital-city  of",
                "the capital-city  of FRANCE"
            ]
        );
        assert_eq!(
            hits("What is the capital", &item, 5).unwrap(),
            Hits::default()
        );
    }

    #[test]
    fn every_gram_is_found_and_no_other() {
        let known: String = (0..3000).map(|i| format!("k{i} ")).collect();
        let other: String = (0..3000).map(|i| format!("o{i} ")).collect();
        for n in [1, 2, 13] {
            let grams = grams(&known, n);
            let seen = hits(&format!("{other}{known}"), &grams, n).unwrap();
            assert_eq!(seen.grams.len(), 3000 - n + 1);
            assert!(
                seen.starts
                    .iter()
                    .all(|&start| start as usize >= other.len())
            );
            let mut found = seen.grams;
            found.sort_unstable();
            assert!(found.into_iter().eq(0..grams.len() as u32));
        }
        assert_eq!(hits("anything", &[], 1).unwrap(), Hits::default());
    }

    #[test]
    fn bad_grams_and_lengths_are_named() {
        assert_eq!(
            hits("", &[3, 3], 5).unwrap_err(),
            Error::Unsorted {
                row: 1,
                value: 3,
                before: 3
            }
        );
        assert_eq!(hits("", &[], 0).unwrap_err(), Error::Length(0));
        assert_eq!(hits("", &[], 65).unwrap_err(), Error::Length(65));
    }
}
