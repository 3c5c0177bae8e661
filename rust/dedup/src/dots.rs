//! Dots of quantized vectors, four at a time: sums of integers, the same in any order and on any machine.

use curate_text::Cpu;
use curate_text::cpu::Path;

/// The dots of four vectors with one, all of one length. For vectors of the length that semantic.rs gives them 32
/// bits hold every sum.
#[inline]
pub fn dots(four: [&[i16]; 4], one: &[i16], cpu: Cpu) -> [i32; 4] {
    match cpu.path() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
        Path::Avx2 | Path::Avx512 => unsafe { x86::dots(four, one) },
        _ => four.map(|other| dot(one, other)),
    }
}

/// The dot of two vectors.
pub fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| i32::from(x) * i32::from(y))
        .sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::dot;

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn dots(four: [&[i16]; 4], one: &[i16]) -> [i32; 4] {
        // SAFETY: each group is 32 bytes, and the load needs no alignment.
        let load = |group: &[i16; 16]| unsafe { _mm256_loadu_si256(group.as_ptr().cast()) };
        let (groups, rest) = one.as_chunks::<16>();
        let others = four.map(|other| &other.as_chunks::<16>().0[..groups.len()]);
        let mut sums = [_mm256_setzero_si256(); 4];
        for (place, group) in groups.iter().enumerate() {
            let values = load(group);
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(values, load(&other[place])));
            }
        }
        let pairs = [
            _mm256_hadd_epi32(sums[0], sums[1]),
            _mm256_hadd_epi32(sums[2], sums[3]),
        ];
        let halves = _mm256_hadd_epi32(pairs[0], pairs[1]);
        let low = _mm256_castsi256_si128(halves);
        let total = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(halves));
        let mut found = [0; 4];
        // SAFETY: `found` is 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(found.as_mut_ptr().cast(), total) };
        if !rest.is_empty() {
            let done = one.len() - rest.len();
            for (sum, other) in found.iter_mut().zip(four) {
                *sum += dot(rest, &other[done..]);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::hash::Stream;

    #[test]
    fn four_dots_are_the_dots_of_each_for_any_length() {
        let mut stream = Stream::new(5);
        for len in [0, 1, 15, 16, 17, 64, 100, 256, 300] {
            let mut made = || -> Vec<i16> {
                (0..len)
                    .map(|_| (stream.next_u64() >> 51) as i16 - 4096)
                    .collect()
            };
            let (one, four) = (made(), [made(), made(), made(), made()]);
            let four = four.each_ref().map(Vec::as_slice);
            let wanted = four.map(|other| dot(&one, other));
            for path in [Path::Portable, Path::Avx2, Path::Avx512] {
                assert_eq!(dots(four, &one, Cpu::at_most(path)), wanted, "{len}");
            }
        }
    }
}
