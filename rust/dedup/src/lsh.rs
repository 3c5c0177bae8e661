//! Buckets: documents that share a band key, as rows (first member, key, other member) in the order of the keys.
//!
//! Members stand in the order in which their rows are given, which is that of their places in the input: nothing
//! depends on how ids compare. The rows of one first member, from whatever partition of the keys, come together again
//! in `pairs`, which tries the members of a bucket against each other. Most keys belong to one document and give no
//! row.
//! A band key holds the number of its band, so equal keys are keys of one band.

use crate::clusters::check_count;
use crate::{Error, Id};

/// Rows dealt to one run of equal top bits; a run is sorted in the first-level cache.
const RUN: usize = 512;

/// Members of buckets, a row each: sorted by key, those of a key in the order of their rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The first id of the bucket.
    pub first: Vec<Id>,
    /// The band key.
    pub key: Vec<u64>,
    /// Another id of the bucket.
    pub member: Vec<Id>,
}

/// The buckets of two or more distinct ids. 24 bytes a row in, some 16 beside it while it works.
pub fn lsh_buckets(keys: &[u64], ids: &[Id]) -> Result<Members, Error> {
    if ids.len() != keys.len() {
        return Err(Error::LengthsDiffer {
            name: "doc_id",
            rows: ids.len(),
            other: "key",
            expected: keys.len(),
        });
    }
    check_count(ids.len())?;
    let rows = by_key(keys);
    let mut out = Members::default();
    for bucket in rows.chunk_by(|a, b| a.0 == b.0).filter(|b| b.len() > 1) {
        let first = ids[bucket[0].1 as usize];
        let start = out.member.len();
        out.member
            .extend(bucket[1..].iter().map(|&(_, row)| ids[row as usize]));
        drop_repeats(&mut out.member, start, first);
        out.first.resize(out.member.len(), first);
        out.key.resize(out.member.len(), bucket[0].0);
    }
    Ok(out)
}

/// Drops of the members from `start` on those that are `first`, and all but the first of equal ones.
fn drop_repeats(members: &mut Vec<Id>, start: usize, first: Id) {
    if members.len() == start + 1 && members[start] != first {
        return; // most buckets have two members
    }
    let mut ids = members[start..].to_vec();
    ids.sort_unstable();
    if ids.binary_search(&first).is_err() && ids.windows(2).all(|two| two[0] != two[1]) {
        return;
    }
    let mut seen = vec![false; ids.len()];
    let mut end = start;
    for place in start..members.len() {
        let known = &mut seen[ids.partition_point(|id| *id < members[place])];
        if members[place] != first && !std::mem::replace(known, true) {
            members[end] = members[place];
            end += 1;
        }
    }
    members.truncate(end);
}

/// (key, row) with equal keys side by side: dealt by the top bits, for keys are hashes, then sorted run by run.
fn by_key(keys: &[u64]) -> Vec<(u64, u32)> {
    let bits = (keys.len() / RUN).next_power_of_two().ilog2().clamp(1, 24);
    let run = |key: u64| (key >> (64 - bits)) as usize;
    let mut places = vec![0_u32; (1 << bits) + 1];
    for &key in keys {
        places[run(key) + 1] += 1;
    }
    for place in 1..places.len() {
        places[place] += places[place - 1];
    }
    let starts = places.clone();
    let mut rows = vec![(0, 0); keys.len()];
    for (row, &key) in keys.iter().enumerate() {
        let place = &mut places[run(key)];
        rows[*place as usize] = (key, row as u32);
        *place += 1;
    }
    for ends in starts.windows(2) {
        rows[ends[0] as usize..ends[1] as usize].sort_unstable();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        [number; 16]
    }

    #[test]
    fn buckets_hold_their_ids_once_in_the_order_of_rows() {
        let keys = [9, u64::MAX, 7, 9, 9, 9, u64::MAX, 5, 5];
        let ids = [3, 1, 2, 1, 3, 2, 0, 4, 4].map(id);
        let seen = lsh_buckets(&keys, &ids).unwrap();
        assert_eq!(seen.first, [id(3), id(3), id(1)]);
        assert_eq!(seen.key, [9, 9, u64::MAX]);
        assert_eq!(seen.member, [id(1), id(2), id(0)]);
        assert_eq!(lsh_buckets(&[], &[]).unwrap(), Members::default());
    }

    #[test]
    fn lengths_must_agree() {
        let error = lsh_buckets(&[1], &[]).unwrap_err().to_string();
        assert!(
            error.contains("doc_id has 0 rows where key has 1"),
            "{error}"
        );
    }
}
