//! Sorting 64-bit hashes, which are uniform: one pass by their top bits leaves almost nothing to do.

/// Longest run in one bucket that insertion sort still takes.
const CROWD: u32 = 16;

/// Sorts hashes and drops repeats; `scratch` is memory to reuse.
///
/// They are dealt into two to four times as many buckets as there are hashes, in order of buckets, so that hardly
/// one in eight has a neighbour to change places with, and no branch goes another way than it usually does. Input
/// that is not uniform is still sorted in O(n log n): a crowded bucket sends it to the library's sort.
pub fn sort_distinct(hashes: &mut Vec<u64>, scratch: &mut Scratch) {
    if hashes.len() < 48 || !deal(hashes, scratch) {
        hashes.sort_unstable();
    } else {
        std::mem::swap(hashes, &mut scratch.dealt);
        insertion_sort(hashes);
    }
    hashes.dedup();
}

/// Buffers that are kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    dealt: Vec<u64>,
    places: Vec<u32>,
}

/// Puts the hashes into `scratch.dealt` by bucket; false, and nothing done, where a bucket is crowded.
fn deal(hashes: &[u64], scratch: &mut Scratch) -> bool {
    let bits = (hashes.len() * 2).next_power_of_two().ilog2().min(16);
    let bucket = |hash: u64| (hash >> (64 - bits)) as usize;
    let Scratch { dealt, places } = scratch;
    places.clear();
    places.resize(1 << bits, 0);
    for &hash in hashes {
        places[bucket(hash)] += 1;
    }
    let (mut sum, mut most) = (0, 0);
    for place in places.iter_mut() {
        let count = std::mem::replace(place, sum);
        sum += count;
        most = most.max(count);
    }
    if most > CROWD {
        return false;
    }
    dealt.resize(hashes.len(), 0);
    for &hash in hashes {
        let place = &mut places[bucket(hash)];
        dealt[*place as usize] = hash;
        *place += 1;
    }
    true
}

/// Linear where every value is close to its place.
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
