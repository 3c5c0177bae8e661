//! The least image of a set under each of many permutations: the inner loop of MinHash.
//!
//! Slot k of set S is min over h in S of a_k * half_k(h) + b_k modulo 2^32, half_k the low 32 bits of h for even k
//! and the high 32 for odd k. A register that holds h in every 64-bit lane has the halves in just that order.

use curate_text::Cpu;
use curate_text::cpu::Path;

use crate::minhash::parameters;

/// Slots are worked on 16 at a time: the count is rounded up and the rest is ignored.
const LANES: usize = 16;
/// Groups of 16 slots that stay in registers during one pass over the set: 7 groups are the usual 112 slots.
const GROUPS: usize = 7;

/// The parameters of all permutations, in groups of 16.
#[derive(Debug)]
pub struct Permutations {
    a: Vec<[u32; LANES]>,
    b: Vec<[u32; LANES]>,
}

impl Permutations {
    /// The permutations of `slots` slots.
    pub fn new(slots: usize, seed: u64) -> Self {
        let parameters = parameters(slots.next_multiple_of(LANES), seed);
        let group = |of: fn(&(u32, u32)) -> u32| {
            let values: Vec<u32> = parameters.iter().map(of).collect();
            values.as_chunks::<LANES>().0.to_vec()
        };
        Self {
            a: group(|p| p.0),
            b: group(|p| p.1),
        }
    }

    /// The minima over `set` of every slot (a multiple of 16 of them); u32::MAX for an empty set.
    pub fn minima(&self, cpu: Cpu, set: &[u64], out: &mut Vec<u32>) {
        out.clear();
        out.resize(self.a.len() * LANES, u32::MAX);
        let (out, _) = out.as_chunks_mut::<LANES>();
        match cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::minima_avx512(&self.a, &self.b, set, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { x86::minima_avx2(&self.a, &self.b, set, out) },
            _ => minima_portable(&self.a, &self.b, set, out),
        }
    }
}

fn minima_portable(a: &[[u32; LANES]], b: &[[u32; LANES]], set: &[u64], out: &mut [[u32; LANES]]) {
    for ((a, b), least) in a.iter().zip(b).zip(out) {
        for &hash in set {
            let halves = [hash as u32, (hash >> 32) as u32];
            for lane in 0..LANES {
                let image = a[lane].wrapping_mul(halves[lane % 2]).wrapping_add(b[lane]);
                least[lane] = least[lane].min(image);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUPS, LANES};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn minima_avx512(
        a: &[[u32; LANES]],
        b: &[[u32; LANES]],
        set: &[u64],
        out: &mut [[u32; LANES]],
    ) {
        for ((a, b), out) in a
            .chunks(GROUPS)
            .zip(b.chunks(GROUPS))
            .zip(out.chunks_mut(GROUPS))
        {
            match a.len() {
                7 => pass_avx512::<7>(a, b, set, out),
                6 => pass_avx512::<6>(a, b, set, out),
                5 => pass_avx512::<5>(a, b, set, out),
                4 => pass_avx512::<4>(a, b, set, out),
                3 => pass_avx512::<3>(a, b, set, out),
                2 => pass_avx512::<2>(a, b, set, out),
                _ => pass_avx512::<1>(a, b, set, out),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn pass_avx512<const N: usize>(
        a: &[[u32; LANES]],
        b: &[[u32; LANES]],
        set: &[u64],
        out: &mut [[u32; LANES]],
    ) {
        // SAFETY: each group is 64 bytes, and the load needs no alignment.
        let load = |group: &[u32; LANES]| unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
        let mut factors = [_mm512_setzero_si512(); N];
        let mut terms = factors;
        let mut least = [_mm512_set1_epi32(-1); N];
        for group in 0..N {
            factors[group] = load(&a[group]);
            terms[group] = load(&b[group]);
        }
        for &hash in set {
            let halves = _mm512_set1_epi64(hash as i64);
            for group in 0..N {
                let image =
                    _mm512_add_epi32(_mm512_mullo_epi32(halves, factors[group]), terms[group]);
                least[group] = _mm512_min_epu32(least[group], image);
            }
        }
        for group in 0..N {
            // SAFETY: as for the loads.
            unsafe { _mm512_storeu_si512(out[group].as_mut_ptr().cast(), least[group]) };
        }
    }

    /// Two groups, which are four registers of 8 slots, a pass: with their parameters 12 of the 16 there are.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn minima_avx2(
        a: &[[u32; LANES]],
        b: &[[u32; LANES]],
        set: &[u64],
        out: &mut [[u32; LANES]],
    ) {
        let (a, b) = (
            a.as_flattened().as_chunks::<8>().0,
            b.as_flattened().as_chunks::<8>().0,
        );
        let out = out.as_flattened_mut().as_chunks_mut::<8>().0;
        for ((a, b), out) in a.chunks(4).zip(b.chunks(4)).zip(out.chunks_mut(4)) {
            if a.len() == 4 {
                pass_avx2::<4>(a, b, set, out);
            } else {
                pass_avx2::<2>(a, b, set, out);
            }
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn pass_avx2<const N: usize>(
        a: &[[u32; 8]],
        b: &[[u32; 8]],
        set: &[u64],
        out: &mut [[u32; 8]],
    ) {
        // SAFETY: each half group is 32 bytes, and the load needs no alignment.
        let load = |half: &[u32; 8]| unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let mut factors = [_mm256_setzero_si256(); N];
        let mut terms = factors;
        let mut least = [_mm256_set1_epi32(-1); N];
        for group in 0..N {
            factors[group] = load(&a[group]);
            terms[group] = load(&b[group]);
        }
        for &hash in set {
            let halves = _mm256_set1_epi64x(hash as i64);
            for group in 0..N {
                let image =
                    _mm256_add_epi32(_mm256_mullo_epi32(halves, factors[group]), terms[group]);
                least[group] = _mm256_min_epu32(least[group], image);
            }
        }
        for group in 0..N {
            // SAFETY: as for the loads.
            unsafe { _mm256_storeu_si256(out[group].as_mut_ptr().cast(), least[group]) };
        }
    }
}
