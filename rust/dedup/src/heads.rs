//! Which documents of a cluster stay, and which one each of the others goes for.
//!
//! ```text
//! keep order   a b c d e f      members of a cluster, the one that is wanted most before all others
//! a            stays            it is compared with nothing
//! b ~ a        goes for a       alike by min_jaccard or more
//! c            stays            shares a band key with a, and is not alike
//! d ~ b        stays            b went, so that it counts for nothing: chains end here
//! e ~ c        goes for c       of a and c first the one with more band keys in common
//! ```
//!
//! A star: every document that goes is alike to the one that it goes for, by the similarity that is given. A member
//! is compared with documents that stay and share a band key with it, of each key the first `per_key`: what a document
//! costs has a bound, and its comparisons that a bound has cut off are counted.

use crate::Error;
use crate::jaccard::{Sets, at_least, placed, similarity};

/// The members of clusters: those of a cluster stand together, in keep order.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// The number of the cluster.
    pub group: &'a [u32],
    /// Not 0 where the document stays whatever it is like. In its cluster it stands before all others.
    pub fixed: &'a [u8],
    /// The part of `sets` that holds its shingles.
    pub part: &'a [u32],
    /// Its row there.
    pub row: &'a [u32],
    /// Band keys, `bands` of every member.
    pub keys: &'a [u64],
    /// Keys of a member.
    pub bands: usize,
}

/// How the documents that stay are chosen.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// The first of each cluster stays, and all others go for it, however little they are like it.
    Connected,
    /// A document goes only for one that stays and is alike.
    Star {
        /// Least exact similarity of a document to the one that it goes for, 0 to 1.
        min_jaccard: f64,
        /// Documents that stay, of one band key, with which others are compared.
        per_key: usize,
    },
}

/// What became of the members, one entry each.
#[derive(Debug, Default, PartialEq)]
pub struct Heads {
    /// The member that it goes for, by its place among the members; its own where it stays.
    pub head: Vec<u32>,
    /// The exact similarity to that one; 1 where it stays.
    pub similarity: Vec<f64>,
    /// Documents that stay with which later ones of the same key are not compared, one for each key.
    pub beyond: u64,
}

/// Chooses the documents that stay. `sets` are the shingles, in parts.
pub fn heads(members: Members<'_>, sets: &[Sets<'_>], rule: Rule) -> Result<Heads, Error> {
    let rows = members.group.len();
    for (name, length) in [
        ("fixed", members.fixed.len()),
        ("part", members.part.len()),
        ("row", members.row.len()),
        ("keys", members.keys.len() / members.bands.max(1)),
    ] {
        if length != rows {
            return Err(Error::LengthsDiffer {
                name,
                rows: length,
                other: "group",
                expected: rows,
            });
        }
    }
    let mut out = Heads {
        head: (0..rows as u32).collect(),
        similarity: vec![1.0; rows],
        beyond: 0,
    };
    let mut start = 0;
    for cluster in members.group.chunk_by(|a, b| a == b) {
        let cluster = Cluster {
            members,
            sets,
            start,
            len: cluster.len(),
        };
        match rule {
            Rule::Connected => cluster.first(&mut out)?,
            Rule::Star {
                min_jaccard,
                per_key,
            } => cluster.star(min_jaccard, per_key, &mut out)?,
        }
        start += cluster.len;
    }
    Ok(out)
}

/// One cluster: the members `start..start + len`, which are numbered from 0 here.
struct Cluster<'a> {
    members: Members<'a>,
    sets: &'a [Sets<'a>],
    start: usize,
    len: usize,
}

impl<'a> Cluster<'a> {
    fn set(&self, number: usize) -> Result<&'a [u64], Error> {
        let place = self.start + number;
        let at = (self.members.part[place], self.members.row[place]);
        placed(self.sets, at, place)
    }

    fn first(&self, out: &mut Heads) -> Result<(), Error> {
        let head = self.set(0)?;
        for number in 1..self.len {
            let place = self.start + number;
            if self.members.fixed[place] == 0 {
                out.head[place] = self.start as u32;
                out.similarity[place] = similarity(head, self.set(number)?);
            }
        }
        Ok(())
    }

    fn star(&self, min_jaccard: f64, per_key: usize, out: &mut Heads) -> Result<(), Error> {
        let keys = self.shared_keys();
        let mut staying: Vec<Vec<u32>> = vec![Vec::new(); keys.count];
        let mut counts = vec![0_u16; self.len];
        let mut candidates: Vec<u32> = Vec::new();
        for number in 0..self.len {
            let own = &keys.of[keys.starts[number]..keys.starts[number + 1]];
            let place = self.start + number;
            if self.members.fixed[place] == 0 {
                for &other in own.iter().flat_map(|&key| &staying[key as usize]) {
                    if counts[other as usize] == 0 {
                        candidates.push(other);
                    }
                    counts[other as usize] = counts[other as usize].saturating_add(1);
                }
                // More keys in common make a document more likely alike; of equal ones the first in keep order.
                candidates
                    .sort_unstable_by_key(|&other| (u16::MAX - counts[other as usize], other));
                candidates
                    .iter()
                    .for_each(|&other| counts[other as usize] = 0);
                let found = self.first_alike(number, &candidates, min_jaccard)?;
                candidates.clear();
                if let Some((other, jaccard)) = found {
                    out.head[place] = (self.start + other as usize) as u32;
                    out.similarity[place] = jaccard;
                    continue;
                }
            }
            for &key in own {
                let list = &mut staying[key as usize];
                if list.len() < per_key {
                    list.push(number as u32);
                } else {
                    out.beyond += 1;
                }
            }
        }
        Ok(())
    }

    fn first_alike(
        &self,
        number: usize,
        candidates: &[u32],
        min_jaccard: f64,
    ) -> Result<Option<(u32, f64)>, Error> {
        let set = self.set(number)?;
        for &other in candidates {
            if let Some(jaccard) = at_least(self.set(other as usize)?, set, min_jaccard) {
                return Ok(Some((other, jaccard)));
            }
        }
        Ok(None)
    }

    /// The band keys that two members or more have, numbered; by member.
    fn shared_keys(&self) -> Keys {
        let bands = self.members.bands;
        let keys = &self.members.keys[self.start * bands..(self.start + self.len) * bands];
        let mut rows: Vec<(u64, u32)> = keys
            .iter()
            .enumerate()
            .map(|(place, &key)| (key, (place / bands) as u32))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        let mut found: Vec<(u32, u32)> = Vec::new();
        let mut count = 0;
        for bucket in rows.chunk_by(|a, b| a.0 == b.0).filter(|b| b.len() > 1) {
            found.extend(bucket.iter().map(|&(_, number)| (number, count as u32)));
            count += 1;
        }
        drop(rows);
        found.sort_unstable();
        let mut starts = vec![0; self.len + 1];
        found
            .iter()
            .for_each(|&(number, _)| starts[number as usize + 1] += 1);
        for number in 0..self.len {
            starts[number + 1] += starts[number];
        }
        Keys {
            count,
            starts,
            of: found.into_iter().map(|(_, key)| key).collect(),
        }
    }
}

/// The keys of member i are `of[starts[i]..starts[i + 1]]`, numbers from 0 to `count`.
struct Keys {
    count: usize,
    starts: Vec<usize>,
    of: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Members of two clusters, each with keys and shingles; those numbered in `fixed` stay.
    fn choose(
        documents: &[(BTreeSet<u64>, BTreeSet<u64>)],
        cut: usize,
        fixed: usize,
        rule: Rule,
    ) -> Heads {
        const BANDS: usize = 3;
        let (mut offsets, mut values, mut keys) = (vec![0], vec![], vec![]);
        for (number, (set, of)) in documents.iter().enumerate() {
            values.extend(set.iter().copied());
            offsets.push(values.len() as i64);
            // A document that lacks a key has one of its own there.
            let own = (0..BANDS as u64).map(|band| 1000 + number as u64 * 10 + band);
            keys.extend(of.iter().copied().chain(own).take(BANDS));
        }
        let n = documents.len();
        let group: Vec<u32> = (0..n).map(|i| u32::from(i >= cut)).collect();
        let stays: Vec<u8> = (0..n).map(|i| u8::from(i < fixed.min(cut))).collect();
        let rows: Vec<u32> = (0..n as u32).collect();
        let members = Members {
            group: &group,
            fixed: &stays,
            part: &vec![0; n],
            row: &rows,
            keys: &keys,
            bands: BANDS,
        };
        heads(members, &[Sets::unchecked(&offsets, &values)], rule).unwrap()
    }

    fn jaccard(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
        a.intersection(b).count() as f64 / a.union(b).count().max(1) as f64
    }

    proptest! {
        /// By definition: in order, for the first alike of those that stay and share a key, most keys first.
        #[test]
        fn a_star_is_that_of_its_definition(
            documents in proptest::collection::vec(
                (proptest::collection::btree_set(0_u64..6, 1..5), proptest::collection::btree_set(0_u64..6, 0..3)), 1..16),
            cut in 0_usize..16, fixed in 0_usize..4,
        ) {
            let cut = cut.min(documents.len());
            let rule = Rule::Star { min_jaccard: 0.5, per_key: 100 };
            let seen = choose(&documents, cut, fixed, rule);
            let mut stay: Vec<usize> = Vec::new();
            for (i, (set, keys)) in documents.iter().enumerate() {
                let mut near: Vec<usize> = stay.iter().copied()
                    .filter(|&j| (j >= cut) == (i >= cut) && !keys.is_disjoint(&documents[j].1)).collect();
                near.sort_by_key(|&j| (usize::MAX - keys.intersection(&documents[j].1).count(), j));
                let is_fixed = i < fixed.min(cut);
                let head = near.iter().copied().find(|&j| !is_fixed && jaccard(set, &documents[j].0) >= 0.5);
                prop_assert_eq!(seen.head[i] as usize, head.unwrap_or(i));
                prop_assert_eq!(seen.similarity[i], head.map_or(1.0, |j| jaccard(set, &documents[j].0)));
                if head.is_none() { stay.push(i); }
            }
            prop_assert_eq!(seen.beyond, 0);
        }

        #[test]
        fn connected_keeps_the_first_and_tells_how_like_the_others_are(
            documents in proptest::collection::vec(
                (proptest::collection::btree_set(0_u64..6, 1..5), proptest::collection::btree_set(0_u64..6, 0..3)), 1..16),
            cut in 0_usize..16,
        ) {
            let seen = choose(&documents, cut, 0, Rule::Connected);
            for (i, (set, _)) in documents.iter().enumerate() {
                let head = if i < cut { 0 } else { cut };
                prop_assert_eq!(seen.head[i] as usize, head);
                prop_assert_eq!(seen.similarity[i], jaccard(set, &documents[head].0));
            }
        }
    }

    #[test]
    fn comparisons_of_a_key_have_a_bound_that_is_told() {
        let set = |i: u64| (BTreeSet::from([i % 9]), BTreeSet::from([7]));
        let sets: Vec<_> = (0..10).map(set).collect();
        let star = |per_key| Rule::Star {
            min_jaccard: 0.5,
            per_key,
        };
        let all = choose(&sets, 0, 0, star(9));
        assert_eq!((all.head[9], all.beyond), (0, 0));
        let few = choose(&sets[1..], 0, 0, star(3));
        assert_eq!((few.head[8], few.beyond), (8, 6));
    }

    #[test]
    fn rows_that_do_not_exist_are_named() {
        let members = Members {
            group: &[0, 0],
            fixed: &[0, 0],
            part: &[0, 0],
            row: &[0, 5],
            keys: &[1, 1],
            bands: 1,
        };
        let sets = Sets::unchecked(&[0, 1], &[3]);
        let error = heads(members, &[sets], Rule::Connected).unwrap_err();
        assert!(error.to_string().contains("row 5"), "{error}");
        let short = Members {
            fixed: &[0],
            ..members
        };
        assert!(heads(short, &[sets], Rule::Connected).is_err());
    }
}
