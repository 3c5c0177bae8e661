//! Sorting 64-bit hashes, which are uniform: one pass by their top bits leaves almost nothing to do.

/// A bucket of more is sorted by the library before insertion sort sees it.
const CROWD: u32 = 12;

/// Sorts hashes and drops repeats; `scratch` is memory to reuse.
///
/// They are dealt into up to twice as many buckets as there are hashes, in order of buckets, so that few have a
/// neighbor to change places with, and its branches are predicted well. A hash that a text repeats
/// crowds its bucket, which is then sorted by itself: input that is not uniform takes O(n log n).
pub fn sort_distinct(hashes: &mut Vec<u64>, scratch: &mut Scratch) {
    if hashes.len() < 48 {
        hashes.sort_unstable();
    } else {
        deal(hashes, scratch);
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
    crowded: Vec<(u32, u32)>,
}

/// Puts the hashes into `scratch.dealt` by bucket, crowded buckets sorted.
fn deal(hashes: &[u64], scratch: &mut Scratch) {
    let bits = hashes.len().next_power_of_two().ilog2().min(16);
    let bucket = |hash: u64| (hash >> (64 - bits)) as usize;
    let Scratch {
        dealt,
        places,
        crowded,
    } = scratch;
    places.clear();
    places.resize(1 << bits, 0);
    for &hash in hashes {
        places[bucket(hash)] += 1;
    }
    crowded.clear();
    let mut sum = 0;
    for place in places.iter_mut() {
        let count = std::mem::replace(place, sum);
        if count > CROWD {
            crowded.push((sum, sum + count));
        }
        sum += count;
    }
    dealt.resize(hashes.len(), 0);
    for &hash in hashes {
        let place = &mut places[bucket(hash)];
        dealt[*place as usize] = hash;
        *place += 1;
    }
    for &(start, end) in crowded.iter() {
        dealt[start as usize..end as usize].sort_unstable();
    }
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
            check(
                (0..length)
                    .map(|i| if i % 3 > 0 { stream.next_u64() } else { i % 2 })
                    .collect(),
            );
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
