//! Connected components of pairs of ids, by union-find in flat integers.
//!
//! Pairs come in parts and stay where they lie, in mapped files as a rule. Beside them a document that has a pair
//! costs 20 bytes (its id and its parent), and some 40 while the ids are gathered.

use crate::{Error, Id};

/// One part of the pairs: (a, b), of one length.
pub type Pairs<'a> = (&'a [Id], &'a [Id]);

/// The documents that have a pair, and what the pairs make of them.
#[derive(Debug, Default, PartialEq)]
pub struct Clusters {
    /// Every id once, sorted.
    pub ids: Vec<Id>,
    /// The place in `ids` of the smallest id of its component.
    pub roots: Vec<u32>,
}

/// The components of the edges (a[i], b[i]) of all parts.
pub fn clusters(parts: &[Pairs<'_>]) -> Result<Clusters, Error> {
    for &(a, b) in parts {
        if b.len() != a.len() {
            return Err(Error::LengthsDiffer {
                name: "b",
                rows: b.len(),
                other: "a",
                expected: a.len(),
            });
        }
    }
    let ids = distinct(parts.iter().flat_map(|&(a, b)| [a, b]));
    check_count(ids.len())?;
    let index = Index::new(&ids);
    let mut roots: Vec<u32> = (0..ids.len() as u32).collect();
    for &(a, b) in parts {
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (index.find(a), index.find(b));
            let (a, b) = (root(&mut roots, a), root(&mut roots, b));
            // Ids are sorted, so the smaller number is the smaller id.
            roots[a.max(b) as usize] = a.min(b);
        }
    }
    // A parent is never larger than its child, so in this order every parent is a root already.
    for child in 0..roots.len() {
        roots[child] = roots[roots[child] as usize];
    }
    Ok(Clusters { ids, roots })
}

/// Where an id stands: (part, row).
pub type Place = (u32, u32);

/// What stands for an id that is in no part.
pub const NOWHERE: Place = (u32::MAX, u32::MAX);

/// The place of each of `ids` (sorted, distinct) in the parts; of an id that stands in two places, the later one.
pub fn places(parts: &[&[Id]], ids: &[Id]) -> Vec<Place> {
    let mut places = vec![NOWHERE; ids.len()];
    let index = Index::new(ids);
    for (part, listed) in parts.iter().enumerate() {
        for (row, id) in listed.iter().enumerate() {
            let place = index.find(id) as usize;
            if ids.get(place) == Some(id) {
                places[place] = (part as u32, row as u32);
            }
        }
    }
    places
}

/// An id in hex digits, as messages show it.
pub(crate) fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every id once, sorted. Repeats are dropped whenever the buffer has grown by half: memory stays below 1.5 times the
/// distinct ids.
pub(crate) fn distinct<'a>(parts: impl Iterator<Item = &'a [Id]>) -> Vec<Id> {
    const CHUNK: usize = 1 << 16;
    let mut ids: Vec<Id> = Vec::new();
    let mut known = 0;
    for chunk in parts.flat_map(|part| part.chunks(CHUNK)) {
        if ids.len() > known + (known / 2).max(4 * CHUNK) {
            sort_distinct(&mut ids);
            known = ids.len();
        }
        ids.extend_from_slice(chunk);
    }
    sort_distinct(&mut ids);
    ids.shrink_to_fit();
    ids
}

fn sort_distinct(ids: &mut Vec<Id>) {
    ids.sort_unstable();
    ids.dedup();
}

/// An error where numbers of 32 bits cannot tell so many rows or ids apart.
pub(crate) fn check_count(rows: usize) -> Result<(), Error> {
    if u32::try_from(rows).is_ok() {
        return Ok(());
    }
    let limit = u32::MAX as usize;
    Err(Error::TooManyRows { rows, limit })
}

/// The root of a node's tree, flattening the way to it.
pub(crate) fn root(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        // Path halving keeps the trees flat without a second walk.
        let above = parents[parents[node as usize] as usize];
        parents[node as usize] = above;
        node = above;
    }
    node
}

/// Places of sorted ids: their first two bytes narrow the search, for ids are hashes.
pub(crate) struct Index<'a> {
    ids: &'a [Id],
    starts: Vec<u32>,
}

impl<'a> Index<'a> {
    pub fn new(ids: &'a [Id]) -> Self {
        let mut starts = vec![0; (1 << 16) + 1];
        ids.iter().for_each(|id| starts[prefix(id) + 1] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { ids, starts }
    }

    /// The place of an id, or where it would stand.
    pub fn find(&self, id: &Id) -> u32 {
        let (start, end) = (self.starts[prefix(id)], self.starts[prefix(id) + 1]);
        let found = self.ids[start as usize..end as usize].partition_point(|other| other < id);
        start + found as u32
    }
}

fn prefix(id: &Id) -> usize {
    usize::from(u16::from_be_bytes([id[0], id[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u32) -> Id {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B9).to_be_bytes());
        id
    }

    /// Labels spread along the edges until nothing changes.
    fn oracle(a: &[Id], b: &[Id]) -> (Vec<Id>, Vec<Id>) {
        let mut ids = [a, b].concat();
        ids.sort_unstable();
        ids.dedup();
        let mut labels = ids.clone();
        let place = |id: &Id| ids.binary_search(id).unwrap();
        for _ in 0..ids.len() {
            for (a, b) in a.iter().zip(b) {
                let least = labels[place(a)].min(labels[place(b)]);
                labels[place(a)] = least;
                labels[place(b)] = least;
            }
        }
        (ids, labels)
    }

    proptest! {
        #[test]
        fn components_are_those_of_the_graph(
            edges in proptest::collection::vec((0_u32..60, 0_u32..60), 0..60),
            cut in 0_usize..60,
        ) {
            let a: Vec<Id> = edges.iter().map(|e| id(e.0)).collect();
            let b: Vec<Id> = edges.iter().map(|e| id(e.1)).collect();
            let cut = cut.min(edges.len());
            let seen = clusters(&[(&a[..cut], &b[..cut]), (&a[cut..], &b[cut..])]).unwrap();
            let smallest: Vec<Id> = seen.roots.iter().map(|&root| seen.ids[root as usize]).collect();
            prop_assert_eq!((seen.ids.clone(), smallest), oracle(&a, &b));
            let wanted = distinct([&b[cut..]].into_iter());
            for (id, place) in wanted.iter().zip(places(&[&a, &b[..cut]], &wanted)) {
                let parts = [&a[..], &b[..cut]];
                let found = (place != NOWHERE).then(|| parts[place.0 as usize][place.1 as usize]);
                prop_assert_eq!(found, parts.concat().contains(id).then_some(*id));
            }
        }
    }

    #[test]
    fn more_ids_than_32_bits_can_number_are_refused() {
        assert_eq!(check_count(u32::MAX as usize), Ok(()));
        let error = check_count(1 << 32).unwrap_err().to_string();
        assert!(error.contains("4294967296 rows are over the limit of 4294967295"));
    }

    #[test]
    fn repeats_are_dropped_while_ids_are_gathered() {
        let many: Vec<Id> = (0..1_500_000).map(|n| id(n % 1000)).collect();
        let mut expected: Vec<Id> = (0..1000).map(id).collect();
        expected.sort_unstable();
        assert_eq!(distinct([&many[..], &many[..7]].into_iter()), expected);
    }
}
