//! Buckets: documents that share a band key, as rows (smallest id, key, other member).
//!
//! The rows of one smallest id, from whatever partition of the keys, come together again in `pairs`, which tries
//! the members of a bucket against each other. Most keys belong to one document and give no row.
//! A band key holds the number of its band, so equal keys are keys of one band.

use crate::{Error, Id};

/// Rows dealt to one run of equal top bits; a run is sorted in the first-level cache.
const RUN: usize = 512;

/// Members of buckets, a row each: sorted by (first, key, member).
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
    if u32::try_from(ids.len()).is_err() {
        return Err(Error::TooManyRows {
            rows: ids.len(),
            limit: u32::MAX as usize,
        });
    }
    let rows = by_key(keys);
    let (mut buckets, mut members) = (Vec::new(), Vec::new());
    for bucket in rows.chunk_by(|a, b| a.0 == b.0).filter(|b| b.len() > 1) {
        let start = members.len();
        members.extend(bucket.iter().map(|&(_, row)| ids[row as usize]));
        members[start..].sort_unstable();
        let distinct = dedup_from(&mut members, start);
        if distinct > 1 {
            buckets.push((members[start], bucket[0].0, start));
        } else {
            members.truncate(start);
        }
    }
    drop(rows);
    let mut ends: Vec<usize> = buckets.iter().skip(1).map(|bucket| bucket.2).collect();
    ends.push(members.len());
    let mut order: Vec<u32> = (0..buckets.len() as u32).collect();
    order.sort_unstable_by_key(|&place| (buckets[place as usize].0, buckets[place as usize].1));
    let mut out = Members::default();
    for place in order {
        let (first, key, start) = buckets[place as usize];
        let others = &members[start + 1..ends[place as usize]];
        out.first.resize(out.first.len() + others.len(), first);
        out.key.resize(out.key.len() + others.len(), key);
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

/// Drops repeats in the sorted tail; returns how many stay.
fn dedup_from(ids: &mut Vec<Id>, start: usize) -> usize {
    let mut end = start;
    for place in start..ids.len() {
        if end == start || ids[end - 1] != ids[place] {
            ids[end] = ids[place];
            end += 1;
        }
    }
    ids.truncate(end);
    end - start
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
        assert_eq!(seen.first, [id(0), id(1), id(1)]);
        assert_eq!(seen.key, [u64::MAX, 9, 9]);
        assert_eq!(seen.member, [id(1), id(2), id(3)]);
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
