//! Templates: clusters whose documents differ from the one that stays in the same few places.
//!
//! ```text
//! stays    Rent a car in Rome from 20 EUR a day . Call us now ...
//!                        ^^^^      ^^                               what many variants lack of its shingles
//! variant  Rent a car in Oslo from 35 EUR a day . Call us now ...
//! ```
//!
//! A variant is a document with other shingles than the one that stays, equal ones counted once. Of copies that were
//! edited each lacks other shingles of the one that stays; of a template all lack the same, those that hold a slot.

use crate::Error;
use crate::jaccard::{Sets, placed};
use curate_text::hash::finish;

/// A shingle of the document that stays varies where one variant in so many lacks it.
const VARIES: usize = 4;
/// Spreads a digest before the next number is added: 2^64 divided by the golden ratio.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// How the documents that go for one differ from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    /// Different sets of shingles among them, the one of the document that stays left out.
    pub variants: u32,
    /// Shingles of the document that stays that a quarter of the variants or more lack.
    pub varying: u32,
    /// The share of all shingles that variants lack that are of these, 0 to 1.
    pub share: f64,
}

/// The differences of documents (part, row of `sets`) to the one that stays; 0 where none differs.
pub fn differences(
    stays: (u32, u32),
    others: &[(u32, u32)],
    sets: &[Sets<'_>],
) -> Result<Differences, Error> {
    let set = |place| placed(sets, place, 0);
    let head = set(stays)?;
    let digest = |set: &[u64]| {
        set.iter().fold(set.len() as u64, |hash, &value| {
            finish(hash.wrapping_mul(ODD) ^ value)
        })
    };
    let mut variants: Vec<(u64, (u32, u32))> = Vec::with_capacity(others.len());
    for &place in others {
        variants.push((digest(set(place)?), place));
    }
    variants.sort_unstable();
    variants.dedup_by_key(|variant| variant.0);
    variants.retain(|variant| variant.0 != digest(head));
    let mut lacking = vec![0_usize; head.len()];
    for &(_, place) in &variants {
        let other = set(place)?;
        let mut at = 0;
        for (value, count) in head.iter().zip(&mut lacking) {
            while other.get(at).is_some_and(|found| found < value) {
                at += 1;
            }
            *count += usize::from(other.get(at) != Some(value));
        }
    }
    let many: Vec<usize> = lacking
        .iter()
        .copied()
        .filter(|&count| count > 0 && count * VARIES >= variants.len())
        .collect();
    let total: usize = lacking.iter().sum();
    Ok(Differences {
        variants: variants.len() as u32,
        varying: many.len() as u32,
        share: many.iter().sum::<usize>() as f64 / total.max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(documents: &[Vec<u64>]) -> Differences {
        let (mut offsets, mut values) = (vec![0], Vec::new());
        for set in documents {
            let mut set = set.clone();
            set.sort_unstable();
            values.extend(set);
            offsets.push(values.len() as i64);
        }
        let others: Vec<(u32, u32)> = (1..documents.len() as u32).map(|row| (0, row)).collect();
        differences((0, 0), &others, &[Sets::unchecked(&offsets, &values)]).unwrap()
    }

    #[test]
    fn slots_are_told_from_edits_and_copies() {
        let text: Vec<u64> = (0..100).collect();
        let filled = |number: u64| -> Vec<u64> {
            let slot = |value: u64| {
                if (40..45).contains(&value) {
                    1000 + 10 * number + value
                } else {
                    value
                }
            };
            text.iter().copied().map(slot).collect()
        };
        let mut documents: Vec<Vec<u64>> = (0..20).map(filled).collect();
        documents.push(documents[0].clone());
        documents.push(documents[3].clone());
        assert_eq!(
            of(&documents),
            Differences {
                variants: 19,
                varying: 5,
                share: 1.0
            }
        );
        let edited = |number: u64| -> Vec<u64> {
            let changed = |value: u64| {
                if value / 5 == number {
                    1000 + value
                } else {
                    value
                }
            };
            text.iter().copied().map(changed).collect()
        };
        let documents: Vec<Vec<u64>> = [text.clone()]
            .into_iter()
            .chain((0..20).map(edited))
            .collect();
        assert_eq!(
            of(&documents),
            Differences {
                variants: 20,
                varying: 0,
                share: 0.0
            }
        );
        assert_eq!(
            of(&[text.clone(), text]),
            Differences {
                variants: 0,
                varying: 0,
                share: 0.0
            }
        );
    }
}
