//! Connected components of pairs of ids, by union-find in flat integers: 4 bytes a document beside its id.

use crate::{Error, Id};

/// Every id of the edges (a[i], b[i]) once, sorted, with the smallest id of its component.
pub fn clusters(a: &[Id], b: &[Id]) -> Result<(Vec<Id>, Vec<Id>), Error> {
    if a.len() != b.len() {
        return Err(Error::LengthsDiffer {
            name: "b",
            rows: b.len(),
            other: "a",
            expected: a.len(),
        });
    }
    let mut ids: Vec<Id> = [a, b].concat();
    ids.sort_unstable();
    ids.dedup();
    if u32::try_from(ids.len()).is_err() {
        return Err(Error::TooManyRows {
            rows: ids.len(),
            limit: u32::MAX as usize,
        });
    }
    let index = Index::new(&ids);
    let mut parents: Vec<u32> = (0..ids.len() as u32).collect();
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (
            root(&mut parents, index.find(a)),
            root(&mut parents, index.find(b)),
        );
        // Ids are sorted, so the smaller number is the smaller id.
        parents[a.max(b) as usize] = a.min(b);
    }
    // A parent is never larger than its child, so in this order every parent is a root already.
    for child in 0..parents.len() {
        parents[child] = parents[parents[child] as usize];
    }
    let roots = parents.iter().map(|&parent| ids[parent as usize]).collect();
    Ok((ids, roots))
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
        fn components_are_those_of_the_graph(edges in proptest::collection::vec((0_u32..60, 0_u32..60), 0..60)) {
            let a: Vec<Id> = edges.iter().map(|e| id(e.0)).collect();
            let b: Vec<Id> = edges.iter().map(|e| id(e.1)).collect();
            prop_assert_eq!(clusters(&a, &b).unwrap(), oracle(&a, &b));
        }
    }
}
