//! Candidate pairs: documents that share a band key, O(members) pairs a bucket.

use crate::{Error, Id};

/// Buckets up to this size give all their pairs.
const ALL_PAIRS: usize = 16;

/// The pairs (smaller id, larger id), sorted and distinct, of the rows that share band and key.
///
/// A bucket of m distinct ids gives all m (m - 1) / 2 pairs up to 16 ids; a larger one gives each id with the
/// smallest and with its neighbour in id order, about 2 m pairs: a page that was copied 100,000 times is one
/// cluster after that, without 5 billion pairs.
pub fn lsh_pairs(bands: &[u16], keys: &[u64], ids: &[Id]) -> Result<Vec<(Id, Id)>, Error> {
    same_length("key", keys.len(), bands.len())?;
    same_length("doc_id", ids.len(), bands.len())?;
    if u32::try_from(ids.len()).is_err() {
        return Err(Error::TooManyRows {
            rows: ids.len(),
            limit: u32::MAX as usize,
        });
    }
    // 16 bytes a row: rows with one key become neighbours, in whatever order.
    let mut rows: Vec<(u64, u16, u32)> = keys
        .iter()
        .zip(bands)
        .enumerate()
        .map(|(row, (&key, &band))| (key, band, row as u32))
        .collect();
    rows.sort_unstable();
    let (mut pairs, mut members) = (Vec::new(), Vec::new());
    for bucket in rows
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .filter(|bucket| bucket.len() > 1)
    {
        members.clear();
        members.extend(bucket.iter().map(|&(_, _, row)| ids[row as usize]));
        members.sort_unstable();
        members.dedup();
        pair_up(&members, &mut pairs);
    }
    pairs.sort_unstable();
    pairs.dedup();
    Ok(pairs)
}

fn same_length(name: &'static str, rows: usize, expected: usize) -> Result<(), Error> {
    if rows == expected {
        Ok(())
    } else {
        Err(Error::LengthsDiffer {
            name,
            rows,
            other: "band",
            expected,
        })
    }
}

fn pair_up(members: &[Id], pairs: &mut Vec<(Id, Id)>) {
    if members.len() <= ALL_PAIRS {
        for (place, &a) in members.iter().enumerate() {
            pairs.extend(members[place + 1..].iter().map(|&b| (a, b)));
        }
    } else {
        pairs.extend(members[1..].iter().map(|&b| (members[0], b)));
        pairs.extend(members[1..].windows(2).map(|two| (two[0], two[1])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        [number; 16]
    }

    #[test]
    fn rows_pair_within_band_and_key_only() {
        let bands = [0, 0, 1, 0, 0, 1];
        let keys = [7, 7, 7, 8, 7, 7];
        let ids = [id(3), id(1), id(2), id(9), id(3), id(1)];
        let pairs = lsh_pairs(&bands, &keys, &ids).unwrap();
        assert_eq!(pairs, [(id(1), id(2)), (id(1), id(3))]);
    }

    #[test]
    fn large_buckets_give_few_pairs_that_still_connect() {
        for members in [16, 17, 100] {
            let ids: Vec<Id> = (0..members).rev().map(id).collect();
            let pairs = lsh_pairs(&vec![0; ids.len()], &vec![0; ids.len()], &ids).unwrap();
            let m = ids.len();
            assert_eq!(
                pairs.len(),
                if m <= 16 { m * (m - 1) / 2 } else { 2 * m - 3 }
            );
            assert!((1..members).all(|b| pairs.binary_search(&(id(0), id(b))).is_ok()));
        }
    }

    #[test]
    fn lengths_must_agree() {
        let error = lsh_pairs(&[0], &[1], &[]).unwrap_err().to_string();
        assert!(
            error.contains("doc_id has 0 rows where band has 1"),
            "{error}"
        );
    }
}
