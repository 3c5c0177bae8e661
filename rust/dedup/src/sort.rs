//! Sorting 64-bit hashes, which are uniform: one pass by their top bits leaves almost nothing to do.

/// Sorts hashes and drops repeats; `scratch` is memory to reuse.
///
/// They are dealt into about as many buckets as there are hashes, so a bucket holds one or two. Input that is
/// not uniform is still sorted in O(n log n): large buckets go to the library's sort.
pub fn sort_distinct(hashes: &mut Vec<u64>, scratch: &mut Scratch) {
    if hashes.len() < 64 {
        hashes.sort_unstable();
    } else {
        deal(hashes, scratch);
        std::mem::swap(hashes, &mut scratch.dealt);
        sort_buckets(hashes, &scratch.ends);
    }
    hashes.dedup();
}

/// Buffers that are kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    dealt: Vec<u64>,
    ends: Vec<u32>,
}

fn deal(hashes: &[u64], scratch: &mut Scratch) {
    let bits = (hashes.len() / 2).ilog2().clamp(4, 14);
    let bucket = |hash: u64| (hash >> (64 - bits)) as usize;
    let Scratch { dealt, ends } = scratch;
    ends.clear();
    ends.resize((1 << bits) + 1, 0);
    for &hash in hashes {
        ends[bucket(hash) + 1] += 1;
    }
    let mut sum = 0;
    for end in ends.iter_mut() {
        sum += *end;
        *end = sum;
    }
    dealt.clear();
    dealt.resize(hashes.len(), 0);
    // What counts up from each bucket's start ends as the start of the next one: its end.
    for &hash in hashes {
        let place = &mut ends[bucket(hash)];
        dealt[*place as usize] = hash;
        *place += 1;
    }
}

fn sort_buckets(hashes: &mut [u64], ends: &[u32]) {
    let mut start = 0;
    for &end in &ends[..ends.len() - 1] {
        let bucket = &mut hashes[start..end as usize];
        if bucket.len() > 16 {
            bucket.sort_unstable();
        } else {
            insertion_sort(bucket);
        }
        start = end as usize;
    }
}

#[inline]
fn insertion_sort(values: &mut [u64]) {
    for end in 1..values.len() {
        let value = values[end];
        let mut place = end;
        while place > 0 && values[place - 1] > value {
            values[place] = values[place - 1];
            place -= 1;
        }
        values[place] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::hash::Stream;
    use proptest::prelude::*;

    fn check(mut hashes: Vec<u64>) {
        let mut expected = hashes.clone();
        expected.sort_unstable();
        expected.dedup();
        sort_distinct(&mut hashes, &mut Scratch::default());
        assert_eq!(hashes, expected);
    }

    #[test]
    fn uniform_and_hostile_hashes() {
        for length in [0, 1, 2, 63, 64, 65, 1000, 100_000] {
            let mut stream = Stream::new(length);
            check((0..length).map(|_| stream.next_u64()).collect());
            check((0..length).map(|_| stream.next_u64() % 50).collect());
            check((0..length).rev().collect());
            check(vec![u64::MAX; length as usize]);
        }
    }

    proptest! {
        #[test]
        fn any_hashes(hashes in proptest::collection::vec(any::<u64>(), 0..500)) {
            check(hashes);
        }
    }
}
