//! MinHash as the packages datasketch and datatrove define it, bit for bit: for exchange with what they signed.
//!
//! Slot k is the least (a_k h + b_k mod 2^64) mod (2^61 - 1) over the hashes h of a set, of which the low 32 bits
//! count (datasketch) or all (datatrove). The product wraps before the modulus, as theirs does.

use curate_text::Cpu;
use curate_text::cpu::Path;

const PRIME: u64 = (1 << 61) - 1;
const LANES: usize = 8;

/// The slots of datasketch for shingles of which the low 32 bits are taken.
pub fn minima(
    cpu: Cpu,
    a: &[u64],
    b: &[u64],
    set: impl Iterator<Item = u64> + Clone,
    out: &mut Vec<u32>,
) {
    let mut full = vec![0; a.len()];
    slots(cpu, a, b, set, 0xFFFF_FFFF, &mut full);
    out.clear();
    out.extend(full.iter().map(|&slot| slot as u32));
}

/// The least values of all slots over hash & mask of a set, each & mask; the mask for an empty set.
pub fn slots(
    cpu: Cpu,
    a: &[u64],
    b: &[u64],
    set: impl Iterator<Item = u64> + Clone,
    mask: u64,
    out: &mut [u64],
) {
    match cpu.path() {
        // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { slots_avx512(a, b, set, mask, out) },
        _ => work(a, b, set, mask, out),
    }
}

/// The same code: the compiler has 64-bit multiplications of eight lanes here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn slots_avx512(
    a: &[u64],
    b: &[u64],
    set: impl Iterator<Item = u64> + Clone,
    mask: u64,
    out: &mut [u64],
) {
    work(a, b, set, mask, out);
}

#[inline(always)]
fn work(a: &[u64], b: &[u64], set: impl Iterator<Item = u64> + Clone, mask: u64, out: &mut [u64]) {
    out.fill(mask);
    for ((a, b), out) in a
        .chunks(LANES)
        .zip(b.chunks(LANES))
        .zip(out.chunks_mut(LANES))
    {
        let (mut factor, mut term, mut least) = ([0; LANES], [0; LANES], [mask; LANES]);
        factor[..a.len()].copy_from_slice(a);
        term[..b.len()].copy_from_slice(b);
        for hash in set.clone() {
            for lane in 0..LANES {
                let image = (hash & mask)
                    .wrapping_mul(factor[lane])
                    .wrapping_add(term[lane]);
                let folded = (image & PRIME) + (image >> 61);
                let rest = folded.min(folded.wrapping_sub(PRIME));
                least[lane] = least[lane].min(rest & mask);
            }
        }
        out.copy_from_slice(&least[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_path_follows_the_formula(
            set in proptest::collection::vec(any::<u64>(), 1..20),
            parameters in proptest::collection::vec((1..PRIME, 0..PRIME), 1..20),
            mask in prop_oneof![Just(u64::MAX), Just(0xFFFF_FFFF_u64)],
        ) {
            let (a, b): (Vec<u64>, Vec<u64>) = parameters.into_iter().unzip();
            let image = |h: u64, k: usize| ((h & mask).wrapping_mul(a[k]).wrapping_add(b[k]) % PRIME) & mask;
            let expected: Vec<u64> = (0..a.len()).map(|k| set.iter().map(|&h| image(h, k)).min().unwrap()).collect();
            for cpu in Cpu::all() {
                let mut seen = vec![0; a.len()];
                slots(cpu, &a, &b, set.iter().copied(), mask, &mut seen);
                prop_assert_eq!(&seen, &expected);
            }
        }
    }
}
