//! From buckets to pairs that are alike: exact Jaccard where it can still join two groups, and nowhere else.
//!
//! ```text
//! bucket      f a b c d e        members in the order of their rows; f, the first, is tried with all, over all its
//!                                buckets
//! groups      f a b | c          a and b are alike with f (Jaccard similarity >= min_jaccard), c is not
//! d tries     f a b, c           those it is not connected with, one of each group in turn, at most 64
//! ```
//!
//! What is connected already is not tried, so a page copied 100,000 times costs 100,000 comparisons, and a bucket
//! of a million that have nothing in common costs 64 a member, never the square. In buckets of up to 65 every pair
//! is decided: the clusters are then exactly the components of the verified pairs.
//!
//! What is found of the buckets of one first member depends on their keys and on the order of their rows, never on how
//! ids compare, and stands together: it is the same in whatever partitions and rounds they are worked on. A row takes
//! 24 bytes beside the columns, which stay where they lie, and a document some 60: no bucket, however large, takes more.

use crate::clusters::{Index, NOWHERE, Place, check_count, distinct, hex, places, root};
use crate::jaccard::{Sets, at_least};
use crate::{Error, Id};

/// Comparisons that a member of a bucket may cost, beside the one with the bucket's first.
const TRIES: usize = 64;
/// Pairs of a group that are kept with their repeats before these are dropped.
const REPEATS: usize = 1 << 16;

/// What counts as a pair.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Least exact similarity of a pair, 0 to 1.
    pub min_jaccard: f64,
    /// Report also pairs that connect nothing new, each member with the 64 before it in its bucket. What is linked
    /// does not depend on it.
    pub all: bool,
}

/// Pairs a < b, those of one first member together, sorted and distinct.
///
/// A pair whose documents share buckets of two first members comes once for each.
#[derive(Debug, Default, PartialEq)]
pub struct Pairs {
    /// The smaller id.
    pub a: Vec<Id>,
    /// The larger id.
    pub b: Vec<Id>,
    /// Exact similarity; 1 where nothing was compared.
    pub jaccard: Vec<f64>,
    /// Whether the pair is one of those that connect the members; others are only reported.
    pub links: Vec<bool>,
}

/// One part of the bucket rows (see `lsh::Members`): first, key and member, of one length.
pub type Rows<'a> = (&'a [Id], &'a [u64], &'a [Id]);

/// The pairs of bucket rows, of any partitions; rows of one bucket are in the order of its members. Without `shingles` every member is taken to be alike
/// with the first of its bucket (and, with `all`, with the 64 before it).
///
/// `shingles` are (ids, sets) in parts; every member must be in one of them.
pub fn bucket_pairs(
    parts: &[Rows<'_>],
    shingles: Option<&[(&[Id], Sets<'_>)]>,
    rule: Rule,
) -> Result<Pairs, Error> {
    for (first, key, member) in parts {
        for (name, rows) in [("key", key.len()), ("member", member.len())] {
            if rows != first.len() {
                return Err(Error::LengthsDiffer {
                    name,
                    rows,
                    other: "first",
                    expected: first.len(),
                });
            }
        }
    }
    let ids = distinct(parts.iter().flat_map(|part| [part.0, part.2]));
    check_count(ids.len())?;
    let index = Index::new(&ids);
    let mut rows: Vec<(u32, u64, u32, u32)> =
        Vec::with_capacity(parts.iter().map(|part| part.0.len()).sum());
    for (first, key, member) in parts {
        for i in 0..first.len() {
            // The number of the row keeps equal (first, key) in their order.
            let number = rows.len() as u32;
            rows.push((
                index.find(&first[i]),
                key[i],
                number,
                index.find(&member[i]),
            ));
        }
    }
    check_count(rows.len())?;
    rows.sort_unstable();
    let sets = shingles
        .map(|parts| Shingles::new(parts, &ids))
        .transpose()?;
    let mut search = Search {
        ids: &ids,
        sets,
        rule,
        parents: (0..ids.len() as u32).collect(),
        tried: Tried::new(ids.len()),
        seen: vec![false; ids.len()],
        found: Vec::new(),
    };
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        search.group(group)?;
    }
    let mut out = Pairs::default();
    for pair in search.found {
        out.a.push(ids[pair.a as usize]);
        out.b.push(ids[pair.b as usize]);
        out.jaccard.push(pair.jaccard);
        out.links.push(pair.links);
    }
    Ok(out)
}

struct Search<'a> {
    ids: &'a [Id],
    sets: Option<Shingles<'a>>,
    rule: Rule,
    parents: Vec<u32>,
    tried: Tried,
    seen: Vec<bool>,
    found: Vec<Pair>,
}

/// A pair that is alike, by the numbers of its ids, a < b.
#[derive(Clone, Copy)]
struct Pair {
    a: u32,
    b: u32,
    jaccard: f64,
    links: bool,
}

/// Which pairs of a group were compared already, so that a second bucket with the same members costs nothing.
///
/// The first 64 ids that others are compared with have a bit each in the mask of every other id: 8 bytes an id. A pair
/// of ids without a bit is compared again where a second bucket holds it, which changes no result.
struct Tried {
    with_bit: Vec<u32>,
    masks: Vec<u64>,
}

impl Tried {
    fn new(ids: usize) -> Self {
        Self {
            with_bit: Vec::with_capacity(64),
            masks: vec![0; ids],
        }
    }

    /// Notes that a and b, a < b, are compared now; false where it was noted before.
    fn insert(&mut self, a: u32, b: u32) -> bool {
        let known = self.with_bit.iter().position(|&id| id == a);
        let bit = match known {
            Some(bit) => bit,
            None if self.with_bit.len() < 64 => {
                self.with_bit.push(a);
                self.with_bit.len() - 1
            }
            None => return true,
        };
        let mask = &mut self.masks[b as usize];
        let new = *mask & 1 << bit == 0;
        *mask |= 1 << bit;
        new
    }
}

impl Search<'_> {
    /// All buckets of one first member: rows (first, key, number of the row, member). It leaves every id by itself again.
    fn group(&mut self, rows: &[(u32, u64, u32, u32)]) -> Result<(), Error> {
        let first = rows[0].0;
        let mut buckets: Vec<Vec<u32>> = Vec::new();
        for bucket in rows.chunk_by(|a, b| a.1 == b.1) {
            let members = self.once(bucket.iter().map(|row| row.3));
            if !buckets.contains(&members) {
                buckets.push(members);
            }
        }
        let (start, mut known) = (self.found.len(), REPEATS);
        for member in self.once(buckets.iter().flatten().copied()) {
            if !self.joined(first, member) {
                self.pair_once(first, member, true)?;
            }
        }
        for bucket in &buckets {
            if self.sets.is_some() {
                self.rest(first, bucket)?;
            }
            if self.found.len() - start > 2 * known {
                known = self.drop_repeats(start).max(REPEATS);
            }
        }
        // What is only reported comes last, when all that links is decided.
        for bucket in buckets.iter().filter(|_| self.rule.all).collect::<Vec<_>>() {
            self.neighbors(first, bucket)?;
            if self.found.len() - start > 2 * known {
                known = self.drop_repeats(start).max(REPEATS);
            }
        }
        self.drop_repeats(start);
        for id in rows.iter().map(|row| row.3).chain([first]) {
            self.parents[id as usize] = id;
            self.tried.masks[id as usize] = 0;
        }
        self.tried.with_bit.clear();
        Ok(())
    }

    /// These ids without repeats, in their order.
    fn once(&mut self, ids: impl Iterator<Item = u32>) -> Vec<u32> {
        let seen = &mut self.seen;
        let found: Vec<u32> = ids
            .filter(|&id| !std::mem::replace(&mut seen[id as usize], true))
            .collect();
        found.iter().for_each(|&id| seen[id as usize] = false);
        found
    }

    /// Sorts what was found from `start` on and drops what was found twice; returns how many stay.
    fn drop_repeats(&mut self, start: usize) -> usize {
        self.found[start..].sort_unstable_by_key(|pair| (pair.a, pair.b, !pair.links));
        let mut end = start;
        for place in start..self.found.len() {
            let pair = self.found[place];
            if end == start || (self.found[end - 1].a, self.found[end - 1].b) != (pair.a, pair.b) {
                self.found[end] = pair;
                end += 1;
            }
        }
        self.found.truncate(end);
        end - start
    }

    fn joined(&mut self, a: u32, b: u32) -> bool {
        root(&mut self.parents, a) == root(&mut self.parents, b)
    }

    /// Compares two members, and records them where they are alike; `links`: it joins them, too.
    fn pair(&mut self, a: u32, b: u32, links: bool) -> Result<(), Error> {
        let (a, b) = (a.min(b), a.max(b));
        let similar = match &self.sets {
            None => Some(1.0),
            Some(sets) => at_least(
                sets.get(self.ids, a)?,
                sets.get(self.ids, b)?,
                self.rule.min_jaccard,
            ),
        };
        if let Some(jaccard) = similar {
            if links {
                let (x, y) = (root(&mut self.parents, a), root(&mut self.parents, b));
                self.parents[x.max(y) as usize] = x.min(y);
            }
            self.found.push(Pair {
                a,
                b,
                jaccard,
                links,
            });
        }
        Ok(())
    }

    /// `pair`, where this group has not tried the two before.
    fn pair_once(&mut self, a: u32, b: u32, links: bool) -> Result<(), Error> {
        if self.tried.insert(a.min(b), a.max(b)) {
            self.pair(a, b, links)?;
        }
        Ok(())
    }

    /// Every member with the first and the 64 before it, whether they are connected or not.
    fn neighbors(&mut self, first: u32, bucket: &[u32]) -> Result<(), Error> {
        for (place, &b) in bucket.iter().enumerate() {
            self.pair_once(first, b, false)?;
            for &a in &bucket[place.saturating_sub(TRIES)..place] {
                self.pair_once(a, b, false)?;
            }
        }
        Ok(())
    }

    /// The members of a bucket among each other. `groups` are those that hang together, the first's before all, in
    /// the order of their first members; a member tries one of each group, then a second of each, and so on.
    fn rest(&mut self, first: u32, bucket: &[u32]) -> Result<(), Error> {
        let mut groups: Vec<Vec<u32>> = vec![vec![first]];
        for &b in bucket {
            let mut home = None;
            for (place, group) in groups.iter().enumerate() {
                if root(&mut self.parents, group[0]) == root(&mut self.parents, b) {
                    home = Some(place);
                    break;
                }
            }
            // In a large bucket a member that has its group does not look for a second.
            if home.is_none() || bucket.len() <= TRIES {
                self.try_groups(&groups, b)?;
                let mut joined =
                    (0..groups.len()).filter(|&place| self.joined(groups[place][0], b));
                home = joined.next();
            }
            match home {
                Some(place) if groups[place].len() <= TRIES => groups[place].push(b),
                None if groups.len() <= TRIES => groups.push(vec![b]),
                _ => {}
            }
        }
        Ok(())
    }

    fn try_groups(&mut self, groups: &[Vec<u32>], b: u32) -> Result<(), Error> {
        let deepest = groups.iter().map(Vec::len).max().unwrap_or(0);
        let mut tries = 0;
        for depth in 0..deepest {
            for group in groups {
                let Some(&a) = group.get(depth) else { continue };
                if tries == TRIES {
                    return Ok(());
                }
                if !self.joined(a, b) {
                    tries += 1;
                    self.pair_once(a, b, true)?;
                }
            }
        }
        Ok(())
    }
}

/// Where the shingles of each id are: parts stay where they lie, in mapped files as a rule.
struct Shingles<'a> {
    parts: &'a [(&'a [Id], Sets<'a>)],
    places: Vec<Place>,
}

impl<'a> Shingles<'a> {
    fn new(parts: &'a [(&'a [Id], Sets<'a>)], ids: &[Id]) -> Result<Self, Error> {
        for (listed, sets) in parts {
            if listed.len() != sets.len() {
                return Err(Error::LengthsDiffer {
                    name: "shingles",
                    rows: sets.len(),
                    other: "doc_id",
                    expected: listed.len(),
                });
            }
        }
        let listed: Vec<&[Id]> = parts.iter().map(|part| part.0).collect();
        Ok(Self {
            parts,
            places: places(&listed, ids),
        })
    }

    fn get(&self, ids: &[Id], number: u32) -> Result<&'a [u64], Error> {
        let (part, row) = self.places[number as usize];
        if (part, row) == NOWHERE {
            return Err(Error::NoSuchId {
                id: hex(&ids[number as usize]),
            });
        }
        self.parts[part as usize].1.checked(row as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(number: u8) -> Id {
        [number; 16]
    }

    fn flat(sets: &[BTreeSet<u64>]) -> (Vec<Id>, Vec<i64>, Vec<u64>) {
        let mut offsets = vec![0];
        for set in sets {
            offsets.push(offsets[offsets.len() - 1] + set.len() as i64);
        }
        let ids = (0..sets.len() as u8).map(id).collect();
        (ids, offsets, sets.iter().flatten().copied().collect())
    }

    fn run(buckets: &[BTreeSet<u8>], sets: &[BTreeSet<u64>], all: bool) -> Pairs {
        let (mut first, mut key, mut member) = (vec![], vec![], vec![]);
        for (number, bucket) in buckets.iter().enumerate() {
            for &other in bucket.iter().skip(1) {
                first.push(id(*bucket.first().unwrap()));
                key.push(number as u64);
                member.push(id(other));
            }
        }
        let (ids, offsets, values) = flat(sets);
        let parts = [(ids.as_slice(), Sets::unchecked(&offsets, &values))];
        let rule = Rule {
            min_jaccard: 0.5,
            all,
        };
        let whole = bucket_pairs(&[(&first, &key, &member)], Some(&parts), rule).unwrap();
        // The rows of one smallest id by themselves give their share of it, in its place.
        let apart: Vec<_> = (0..sets.len() as u8)
            .flat_map(|smallest| {
                let keep = |i: &usize| first[*i] == id(smallest);
                let of: Vec<usize> = (0..first.len()).filter(keep).collect();
                let firsts: Vec<Id> = of.iter().map(|&i| first[i]).collect();
                let keys: Vec<u64> = of.iter().map(|&i| key[i]).collect();
                let members: Vec<Id> = of.iter().map(|&i| member[i]).collect();
                let found = bucket_pairs(&[(&firsts, &keys, &members)], Some(&parts), rule);
                let found = found.unwrap();
                found.a.into_iter().zip(found.b).collect::<Vec<_>>()
            })
            .collect();
        let together: Vec<_> = whole
            .a
            .iter()
            .copied()
            .zip(whole.b.iter().copied())
            .collect();
        assert_eq!(together, apart);
        whole
    }

    fn similarity(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
        a.intersection(b).count() as f64 / a.union(b).count().max(1) as f64
    }

    proptest! {
        /// In small buckets: the components are those of all pairs of a bucket that are alike, and `all` lists these.
        #[test]
        fn small_buckets_are_decided_in_full(
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u64..8, 0..6), 20),
            buckets in proptest::collection::vec(proptest::collection::btree_set(0_u8..20, 2..12), 1..6),
        ) {
            let mut expected = BTreeSet::new();
            for bucket in &buckets {
                for &a in bucket {
                    for &b in bucket.iter().filter(|&&b| b > a) {
                        if similarity(&sets[a as usize], &sets[b as usize]) >= 0.5 {
                            expected.insert((id(a), id(b)));
                        }
                    }
                }
            }
            let listed = run(&buckets, &sets, true);
            let seen: BTreeSet<_> = listed.a.iter().copied().zip(listed.b.iter().copied()).collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert!(listed.a.len() <= expected.len() * buckets.len());
            for ((a, b), jaccard) in listed.a.iter().zip(&listed.b).zip(&listed.jaccard) {
                prop_assert_eq!(*jaccard, similarity(&sets[a[0] as usize], &sets[b[0] as usize]));
            }
            let few = run(&buckets, &sets, false);
            prop_assert!(few.links.iter().all(|&links| links));
            let linked = |pairs: &Pairs| -> Vec<(Id, Id)> {
                (0..pairs.a.len()).filter(|&i| pairs.links[i]).map(|i| (pairs.a[i], pairs.b[i])).collect()
            };
            prop_assert_eq!(linked(&few), linked(&listed));
            let components = |a: &[Id], b: &[Id]| {
                let found = crate::clusters::clusters(&[(a, b)]).unwrap();
                (found.ids, found.roots)
            };
            let (a, b): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
            prop_assert_eq!(components(&few.a, &few.b), components(&a, &b));
        }
    }

    #[test]
    fn a_large_bucket_costs_no_square() {
        let ids: Vec<Id> = (0..200_000_u32)
            .map(|n| {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&n.to_be_bytes());
                id
            })
            .collect();
        let rows = ids.len() - 1;
        let rule = Rule {
            min_jaccard: 0.7,
            all: false,
        };
        let (first, key) = (vec![ids[0]; rows], vec![1; rows]);
        let search = |values: &[u64]| {
            let offsets: Vec<i64> = (0..=ids.len() as i64).collect();
            let parts = [(ids.as_slice(), Sets::unchecked(&offsets, values))];
            bucket_pairs(&[(&first, &key, &ids[1..])], Some(&parts), rule).unwrap()
        };
        assert_eq!(search(&vec![7; ids.len()]).a.len(), rows);
        let different: Vec<u64> = (0..ids.len() as u64).collect();
        assert_eq!(search(&different).a.len(), 0);
        // Half of them one text, half another: two clusters, though the first belongs to only one of them.
        let halves: Vec<u64> = (0..ids.len() as u64).map(|n| n % 2).collect();
        assert_eq!(search(&halves).a.len(), rows - 1);
    }

    #[test]
    fn an_id_without_shingles_is_named() {
        let rule = Rule {
            min_jaccard: 0.7,
            all: false,
        };
        let error = bucket_pairs(&[(&[id(1)], &[1], &[id(2)])], Some(&[]), rule).unwrap_err();
        assert!(error.to_string().contains("01010101"), "{error}");
        let free = bucket_pairs(&[(&[id(1)], &[1], &[id(2)])], None, rule).unwrap();
        assert_eq!((free.a, free.b), (vec![id(1)], vec![id(2)]));
    }
}
