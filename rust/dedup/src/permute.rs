//! The least image of a set under each of many permutations: the inner loop of MinHash.
//!
//! Slot k of set S is min over h in S of a_k * half_k(h) modulo 2^32, half_k the low 32 bits of h for even k and the
//! high 32 for odd k. A register that holds h in every 64-bit lane has the halves in just that order.
//!
//! A set comes as an iterator: what makes its hashes runs on the scalar units while the vector units are busy here.

use curate_text::Cpu;
use curate_text::cpu::Path;
use curate_text::hash::Stream;

/// Slots are worked on 16 at a time: the count is rounded up and the rest is ignored.
const LANES: usize = 16;

/// The factors of all permutations, in groups of 16.
#[derive(Debug)]
pub struct Permutations(Vec<[u32; LANES]>);

impl Permutations {
    /// The permutations of `slots` slots.
    pub fn new(slots: usize, seed: u64) -> Self {
        let mut factors = vec![[0; LANES]; slots.div_ceil(LANES)];
        let mut stream = Stream::new(seed);
        factors
            .as_flattened_mut()
            .fill_with(|| (stream.next_u64() >> 32) as u32 | 1);
        Self(factors)
    }

    /// The minima over `set` of every slot (a multiple of 16 of them); u32::MAX for an empty set.
    pub fn minima(&self, cpu: Cpu, set: impl Iterator<Item = u64> + Clone, out: &mut Vec<u32>) {
        out.clear();
        out.resize(self.0.len() * LANES, u32::MAX);
        let (out, _) = out.as_chunks_mut::<LANES>();
        match cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::minima_avx512(&self.0, set, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { x86::minima_avx2(&self.0, set, out) },
            _ => minima_portable(&self.0, set, out),
        }
    }
}

fn minima_portable(
    a: &[[u32; LANES]],
    set: impl Iterator<Item = u64> + Clone,
    out: &mut [[u32; LANES]],
) {
    for (a, least) in a.iter().zip(out) {
        for hash in set.clone() {
            let halves = [hash as u32, (hash >> 32) as u32];
            for lane in 0..LANES {
                least[lane] = least[lane].min(a[lane].wrapping_mul(halves[lane % 2]));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::LANES;

    /// One pass over the set, by the code that is compiled for this number of registers.
    macro_rules! passes {
        ($pass:ident, $a:ident, $set:ident, $out:ident) => {
            match $a.len() {
                8 => $pass::<8>($a, $set.clone(), $out),
                7 => $pass::<7>($a, $set.clone(), $out),
                6 => $pass::<6>($a, $set.clone(), $out),
                5 => $pass::<5>($a, $set.clone(), $out),
                4 => $pass::<4>($a, $set.clone(), $out),
                3 => $pass::<3>($a, $set.clone(), $out),
                2 => $pass::<2>($a, $set.clone(), $out),
                _ => $pass::<1>($a, $set.clone(), $out),
            }
        };
    }

    /// Registers of 16 slots: 7 of them are the usual 112 slots, 8 are 128.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn minima_avx512(
        a: &[[u32; LANES]],
        set: impl Iterator<Item = u64> + Clone,
        out: &mut [[u32; LANES]],
    ) {
        for (a, out) in a.chunks(8).zip(out.chunks_mut(8)) {
            passes!(pass_avx512, a, set, out);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn pass_avx512<const N: usize>(
        a: &[[u32; LANES]],
        set: impl Iterator<Item = u64> + Clone,
        out: &mut [[u32; LANES]],
    ) {
        // SAFETY: each group is 64 bytes, and the load needs no alignment.
        let load = |group: &[u32; LANES]| unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
        let mut factors = [_mm512_setzero_si512(); N];
        let mut least = [_mm512_set1_epi32(-1); N];
        for group in 0..N {
            factors[group] = load(&a[group]);
        }
        for hash in set {
            let halves = _mm512_set1_epi64(hash as i64);
            for group in 0..N {
                let image = _mm512_mullo_epi32(halves, factors[group]);
                least[group] = _mm512_min_epu32(least[group], image);
            }
        }
        for group in 0..N {
            // SAFETY: as for the loads.
            unsafe { _mm512_storeu_si512(out[group].as_mut_ptr().cast(), least[group]) };
        }
    }

    /// Registers of 8 slots: seven of them with their factors are 14 of the 16 there are.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn minima_avx2(
        a: &[[u32; LANES]],
        set: impl Iterator<Item = u64> + Clone,
        out: &mut [[u32; LANES]],
    ) {
        let a = a.as_flattened().as_chunks::<8>().0;
        let out = out.as_flattened_mut().as_chunks_mut::<8>().0;
        for (a, out) in a.chunks(7).zip(out.chunks_mut(7)) {
            passes!(pass_avx2, a, set, out);
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn pass_avx2<const N: usize>(
        a: &[[u32; 8]],
        set: impl Iterator<Item = u64> + Clone,
        out: &mut [[u32; 8]],
    ) {
        // SAFETY: each half group is 32 bytes, and the load needs no alignment.
        let load = |half: &[u32; 8]| unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let mut factors = [_mm256_setzero_si256(); N];
        let mut least = [_mm256_set1_epi32(-1); N];
        for group in 0..N {
            factors[group] = load(&a[group]);
        }
        for hash in set {
            let halves = _mm256_set1_epi64x(hash as i64);
            for group in 0..N {
                let image = _mm256_mullo_epi32(halves, factors[group]);
                least[group] = _mm256_min_epu32(least[group], image);
            }
        }
        for group in 0..N {
            // SAFETY: as for the loads.
            unsafe { _mm256_storeu_si256(out[group].as_mut_ptr().cast(), least[group]) };
        }
    }
}
