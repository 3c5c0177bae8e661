//! Buckets: documents that share a band key, as rows (smallest id, key, other member) in the order of the keys.
//!
//! The rows of one smallest id, from whatever partition of the keys, come together again in `pairs`, which tries
//! the members of a bucket against each other. Most keys belong to one document and give no row.
//! A band key holds the number of its band, so equal keys are keys of one band.

use crate::clusters::check_count;
use crate::{Error, Id};

/// Rows dealt to one run of equal top bits; a run is sorted in the first-level cache.
const RUN: usize = 512;

/// Members of buckets, a row each: sorted by (key, member).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The smallest id of the bucket.
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
    let (mut out, mut members) = (Members::default(), Vec::new());
    for bucket in rows.chunk_by(|a, b| a.0 == b.0).filter(|b| b.len() > 1) {
        members.clear();
        members.extend(bucket.iter().map(|&(_, row)| ids[row as usize]));
        members.sort_unstable();
        members.dedup();
        let others = &members[1..];
        out.first.resize(out.first.len() + others.len(), members[0]);
        out.key.resize(out.key.len() + others.len(), bucket[0].0);
        out.member.extend_from_slice(others);
    }
    Ok(out)
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
    fn buckets_hold_their_ids_once() {
        let keys = [9, u64::MAX, 7, 9, 9, 9, u64::MAX, 5, 5];
        let ids = [3, 1, 2, 1, 3, 2, 0, 4, 4].map(id);
        let seen = lsh_buckets(&keys, &ids).unwrap();
        assert_eq!(seen.first, [id(1), id(1), id(0)]);
        assert_eq!(seen.key, [9, 9, u64::MAX]);
        assert_eq!(seen.member, [id(2), id(3), id(1)]);
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
