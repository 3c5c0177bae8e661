//! Exact Jaccard similarity of sets that are sorted lists of hashes.

use crate::Error;

/// Sets as one buffer: set i is `values[offsets[i]..offsets[i + 1]]`, sorted and distinct.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    offsets: &'a [i64],
    values: &'a [u64],
}

impl<'a> Sets<'a> {
    /// Checks that every set is sorted and distinct: nothing after that can go wrong quietly.
    pub fn new(offsets: &'a [i64], values: &'a [u64]) -> Result<Self, Error> {
        let sets = Self { offsets, values };
        for row in 0..sets.len() {
            if let Some(place) = sets.get(row).windows(2).position(|two| two[0] >= two[1]) {
                return Err(Error::NotASet {
                    row,
                    place: place + 1,
                });
            }
        }
        Ok(sets)
    }

    /// Sets whose rows are checked when they are asked for.
    pub fn unchecked(offsets: &'a [i64], values: &'a [u64]) -> Self {
        Self { offsets, values }
    }

    /// Row `row`, if it lies within the values; rows of a damaged file may not.
    pub fn checked(&self, row: usize) -> Result<&'a [u64], Error> {
        let (start, end) = (self.offsets[row], self.offsets[row + 1]);
        self.values
            .get(start as usize..end as usize)
            .ok_or(Error::OutsideValues {
                row,
                end,
                values: self.values.len(),
            })
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are no sets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, row: usize) -> &'a [u64] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// The set in this row of this part of several; an error names `pair` where there is none.
pub(crate) fn placed<'a>(
    parts: &[Sets<'a>],
    (part, row): (u32, u32),
    pair: usize,
) -> Result<&'a [u64], Error> {
    match parts.get(part as usize) {
        Some(sets) if (row as usize) < sets.len() => sets.checked(row as usize),
        found => Err(Error::NoSuchRow {
            pair,
            row,
            rows: found.map_or(0, Sets::len),
        }),
    }
}

/// |A and B| / |A or B| of sets a[i] and b[i], 0 to 1; two empty sets have 0, for nothing shows them alike.
pub fn jaccard(sets: Sets<'_>, a: &[u32], b: &[u32]) -> Result<Vec<f64>, Error> {
    if a.len() != b.len() {
        return Err(Error::LengthsDiffer {
            name: "b",
            rows: b.len(),
            other: "a",
            expected: a.len(),
        });
    }
    let set = |pair: usize, row: u32| {
        let missing = Error::NoSuchRow {
            pair,
            row,
            rows: sets.len(),
        };
        if (row as usize) < sets.len() {
            Ok(sets.get(row as usize))
        } else {
            Err(missing)
        }
    };
    let of_pair =
        |(pair, (&a, &b)): (usize, (&u32, &u32))| Ok(similarity(set(pair, a)?, set(pair, b)?));
    a.iter().zip(b).enumerate().map(of_pair).collect()
}

/// The similarity of two sets, both sorted and distinct; 0 where both are empty.
pub fn similarity(a: &[u64], b: &[u64]) -> f64 {
    let shared = intersection(a, b);
    let union = a.len() + b.len() - shared;
    if union == 0 {
        0.0
    } else {
        shared as f64 / union as f64
    }
}

/// The similarity of two sets where it is at least `least`, 0 to 1; else None, as soon as that is certain.
///
/// Both sorted and distinct. The sizes alone decide many pairs: the similarity is at most the smaller size divided by
/// the larger. All tests divide, as the similarity itself does, so that a pair exactly at `least` passes each of them.
pub fn at_least(a: &[u64], b: &[u64], least: f64) -> Option<f64> {
    const BLOCK: usize = 512;
    let (small, large) = (a.len().min(b.len()), a.len().max(b.len()));
    if large == 0 || small as f64 / (large as f64) < least {
        return None;
    }
    if a == b {
        return Some(1.0);
    }
    let similarity = |shared: usize| shared as f64 / (a.len() + b.len() - shared) as f64;
    let (mut i, mut j, mut shared) = (0, 0, 0);
    loop {
        for _ in 0..BLOCK {
            let (Some(x), Some(y)) = (a.get(i), b.get(j)) else {
                let jaccard = similarity(shared);
                return (jaccard >= least).then_some(jaccard);
            };
            shared += usize::from(x == y);
            i += usize::from(x <= y);
            j += usize::from(y <= x);
        }
        if similarity(shared + (a.len() - i).min(b.len() - j)) < least {
            return None;
        }
    }
}

/// Members of both sets; the merge takes a step in one or both by arithmetic, since no branch could be guessed.
fn intersection(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bad_sets_and_pairs_are_named() {
        let unsorted = Sets::new(&[0, 1, 3], &[5, 4, 4]).unwrap_err();
        assert_eq!(unsorted, Error::NotASet { row: 1, place: 1 });
        let sets = Sets::new(&[0, 0, 1], &[5]).unwrap();
        assert_eq!(
            jaccard(sets, &[0, 1, 0], &[0, 1, 1]).unwrap(),
            [0.0, 1.0, 0.0]
        );
        let missing = jaccard(sets, &[0, 1], &[1, 2]).unwrap_err();
        assert_eq!(
            missing,
            Error::NoSuchRow {
                pair: 1,
                row: 2,
                rows: 2
            }
        );
    }

    /// 0.55 * 100 is more than 55 in binary fractions, while 55 / 100 is 0.55.
    #[test]
    fn a_pair_exactly_at_the_limit_is_a_pair() {
        for large in 1..=200_u64 {
            for small in 1..=large {
                let (a, b): (Vec<u64>, Vec<u64>) = ((0..small).collect(), (0..large).collect());
                let similarity = small as f64 / large as f64;
                assert_eq!(at_least(&a, &b, similarity), Some(similarity));
            }
        }
    }

    proptest! {
        #[test]
        fn merges_as_sets_do(a in proptest::collection::btree_set(0_u64..50, 0..40),
                             b in proptest::collection::btree_set(0_u64..50, 0..40)) {
            let values: Vec<u64> = a.iter().chain(&b).copied().collect();
            let offsets = [0, a.len() as i64, values.len() as i64];
            let seen = jaccard(Sets::new(&offsets, &values).unwrap(), &[0], &[1]).unwrap();
            let union = a.union(&b).collect::<BTreeSet<_>>().len();
            let expected = a.intersection(&b).count() as f64 / union.max(1) as f64;
            prop_assert_eq!(&seen, &[expected]);
            for least in [0.0, 0.3, 0.7, 1.0] {
                let (a, b): (Vec<u64>, Vec<u64>) = (a.iter().copied().collect(), b.iter().copied().collect());
                let wanted = (expected >= least && union > 0).then_some(expected);
                prop_assert_eq!(at_least(&a, &b, least), wanted);
            }
        }
    }
}
