//! Looking up hashes in a sorted column, with a filter in front that answers "no" for 99 % of the others.

use crate::Error;

/// The two tables over a sorted column of hashes: the column itself stays where it lies, in a mapped file.
///
/// Hashes are uniform, so their first bits alone spread them evenly: a prefix has one hash or two. The filter
/// is made of words of 64 bits: the first bits of a hash choose a word, its last 18 bits three bits therein.
/// 1.5 million hashes take a filter of 4 MB and first places of 8 MB, made in 5 ms.
#[derive(Debug)]
pub struct Seeds {
    filter: Vec<u64>,
    filter_shift: u32,
    firsts: Vec<u32>,
    firsts_shift: u32,
}

/// Hashes that are looked up together.
const BLOCK: usize = 256;

impl Seeds {
    /// `grams` are sorted and distinct.
    pub fn new(grams: &[u64]) -> Result<Self, Error> {
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
        for &gram in grams {
            filter[(gram >> filter_shift) as usize] |= three_bits(gram);
            firsts[(gram >> firsts_shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for first in &mut firsts {
            sum += *first;
            *first = sum;
        }
        Ok(Self {
            filter,
            filter_shift,
            firsts,
            firsts_shift,
        })
    }

    /// The places in `hashes` of those that may be in the column; 1 % of those that are not are among them.
    ///
    /// The filter is larger than the near caches. So all words of it that a block of hashes needs are loaded before any
    /// is looked at: a processor has some twenty loads under way at a time.
    pub fn candidates(&self, mut hashes: impl Iterator<Item = u64>, out: &mut Vec<u32>) {
        out.clear();
        let (mut block, mut words) = ([0; BLOCK], [0; BLOCK]);
        let mut first = 0;
        loop {
            let mut length = 0;
            for (to, hash) in block.iter_mut().zip(&mut hashes) {
                *to = hash;
                length += 1;
            }
            for (word, hash) in words.iter_mut().zip(&block[..length]) {
                *word = self.filter[(hash >> self.filter_shift) as usize];
            }
            let kept = out.len();
            out.resize(kept + length, 0);
            // What is not kept is written over, without a branch.
            let (to, mut count) = (&mut out[kept..], 0);
            for (at, (&word, &hash)) in words[..length].iter().zip(&block).enumerate() {
                let bits = three_bits(hash);
                to[count] = first + at as u32;
                count += usize::from(word & bits == bits);
            }
            out.truncate(kept + count);
            if length < BLOCK {
                return;
            }
            first += BLOCK as u32;
        }
    }

    /// The place of a hash in the column.
    #[inline]
    pub fn find(&self, grams: &[u64], hash: u64) -> Option<usize> {
        let prefix = (hash >> self.firsts_shift) as usize;
        let (first, last) = (
            self.firsts[prefix] as usize,
            self.firsts[prefix + 1] as usize,
        );
        Some(first + grams[first..last].binary_search(&hash).ok()?)
    }
}

#[inline(always)]
fn three_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::hash::Stream;

    #[test]
    fn every_hash_is_found_and_hardly_another_passes() {
        let mut stream = Stream::new(3);
        let mut known: Vec<u64> = (0..20_000).map(|_| stream.next_u64()).collect();
        known.sort_unstable();
        let seeds = Seeds::new(&known).unwrap();
        for (place, &hash) in known.iter().enumerate() {
            assert_eq!(seeds.find(&known, hash), Some(place));
        }
        let others: Vec<u64> = (0..20_000).map(|_| stream.next_u64()).collect();
        assert!(
            others
                .iter()
                .all(|&hash| seeds.find(&known, hash).is_none())
        );
        let candidates = |hashes: &[u64]| {
            let mut out = vec![7];
            seeds.candidates(hashes.iter().copied(), &mut out);
            out
        };
        assert!(candidates(&known).into_iter().eq(0..20_000));
        assert!(candidates(&known[..BLOCK]).into_iter().eq(0..BLOCK as u32));
        let passed = candidates(&others).len();
        assert!(passed < 600, "{passed} of 20,000 pass the filter");
        assert_eq!(Seeds::new(&[]).unwrap().find(&[], 7), None);
    }

    #[test]
    fn a_column_out_of_order_is_named() {
        let error = Seeds::new(&[3, 3]).unwrap_err();
        assert_eq!(
            error,
            Error::Unsorted {
                row: 1,
                value: 3,
                before: 3
            }
        );
    }
}
