//! Hashes of words and of word n-grams: 64 bits, the same for ever.
//!
//! They are stored (band keys, shingles, benchmark indexes), so every constant here is a file format and the
//! tests hold vectors that may not change. A word takes two 64 x 64 -> 128-bit multiplications up to 16 bytes;
//! an n-gram is a polynomial of its word hashes modulo 2^64, which rolls along the text at two multiplications
//! a position whatever n is, and a finalizer that spreads every bit over the whole result.

const K0: u64 = 0x9E37_79B9_7F4A_7C15;
const K1: u64 = 0xD1B5_4A32_D192_ED03;
const K2: u64 = 0x8CB9_2BA7_2F3D_8DD7;
const K3: u64 = 0xABC9_8388_FB8F_AC03;
/// Base of the polynomial: 3 modulo 8, so that B - 1, B + 1 and their products keep few factors of two.
const B: u64 = 0xD6E8_FEB8_6659_FD93;

/// The two halves of the 128-bit product, folded by exclusive or.
#[inline(always)]
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Spreads every bit of `x` over the result; a bijection (Stafford's variant 13 of the murmur3 finalizer).
#[inline(always)]
pub fn finish(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The stream of 64-bit numbers that a seed stands for (splitmix64).
#[derive(Clone, Debug)]
pub struct Stream(u64);

impl Stream {
    /// Numbers for `seed`, from the first.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the stream; it has no end.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(K0);
        finish(self.0)
    }
}

/// The hash of a string of bytes, normally one lower-cased word in UTF-8.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut last = [0; 16];
    let long = bytes.len().saturating_sub(1) / 16 * 16;
    let mut state = 0;
    for chunk in bytes[..long].as_chunks::<16>().0 {
        let (low, high) = halves(chunk);
        state = mix(low ^ K0 ^ state, high ^ K1);
    }
    let rest = &bytes[long..];
    last[..rest.len()].copy_from_slice(rest);
    let (low, high) = halves(&last);
    finish_word(low, high, bytes.len(), state)
}

/// `hash_bytes` of a word of at most 16 bytes, given as two zero-padded little-endian halves.
#[inline(always)]
pub fn hash_short(low: u64, high: u64, length: usize) -> u64 {
    finish_word(low, high, length, 0)
}

#[inline(always)]
fn finish_word(low: u64, high: u64, length: usize, state: u64) -> u64 {
    mix(mix(low ^ K0 ^ state, high ^ K1) ^ K2, K3 ^ length as u64)
}

#[inline(always)]
fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*bytes);
    (both as u64, (both >> 64) as u64)
}

/// The hashes of all n-grams of `words` in reading order: words.len() - n + 1 of them, or none.
///
/// The hash of (w0 .. wn-1) is finish(n * K2 + w0 * B^(n-1) + ... + wn-1), and n is at least 1.
#[inline]
pub fn ngrams(words: &[u64], n: usize) -> impl ExactSizeIterator<Item = u64> + Clone {
    let whole = n >= 1 && words.len() >= n;
    let (head, tail) = words.split_at(if whole { n - 1 } else { words.len() });
    let power = B.wrapping_pow(n as u32);
    let start = (n as u64).wrapping_mul(K2);
    let mut sum = head
        .iter()
        .fold(0_u64, |sum, &word| sum.wrapping_mul(B).wrapping_add(word));
    let mut leaves = 0;
    tail.iter().zip(words).map(move |(&enters, &first)| {
        let shift = enters.wrapping_sub(leaves);
        leaves = first.wrapping_mul(power);
        sum = sum.wrapping_mul(B).wrapping_add(shift);
        finish(sum.wrapping_add(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These numbers are in files on disk: a change here is a change of every format that holds hashes.
    #[test]
    fn vectors_never_change() {
        let words = [
            "",
            "a",
            "the",
            "language",
            "decontamination",
            "0123456789abcdef",
            "0123456789abcdefg",
            "漢",
        ];
        let hashes: Vec<u64> = words.iter().map(|w| hash_bytes(w.as_bytes())).collect();
        assert_eq!(hashes, VECTORS);
        assert_eq!(ngrams(&hashes, 5).collect::<Vec<_>>(), GRAMS);
        let mut stream = Stream::new(1);
        assert_eq!(
            [stream.next_u64(), stream.next_u64()],
            [10451216379200822465, 13757245211066428519]
        );
    }

    const VECTORS: [u64; 8] = [
        0x4C08_551E_AD76_701E,
        0x0F96_51CD_F5A0_B048,
        0x7B87_9211_7BE4_130D,
        0x4989_C465_F166_CF08,
        0xED66_0BA3_1217_0750,
        0xBB1E_BC3C_10D7_93A1,
        0xD473_E158_81C2_F34E,
        0x4F4D_8B5B_72AA_456B,
    ];
    const GRAMS: [u64; 4] = [
        0xEDB9_4347_8768_F280,
        0x6EA9_861B_DC7B_5781,
        0x05B3_E7B3_8B6F_B68F,
        0xFC8D_3CBB_A88B_64D5,
    ];

    #[test]
    fn short_and_long_forms_agree() {
        for length in 0..=16 {
            let bytes: Vec<u8> = (1..=length as u8).collect();
            let mut padded = [0; 16];
            padded[..length].copy_from_slice(&bytes);
            let (low, high) = halves(&padded);
            assert_eq!(
                hash_short(low, high, length),
                hash_bytes(&bytes),
                "{length}"
            );
        }
    }

    #[test]
    fn rolling_equals_starting_anew() {
        let words: Vec<u64> = (0..50).map(|i| hash_bytes(&[i])).collect();
        for n in [1, 2, 5, 13, 50, 51] {
            let rolled: Vec<u64> = ngrams(&words, n).collect();
            let anew: Vec<u64> = words.windows(n).flat_map(|gram| ngrams(gram, n)).collect();
            assert_eq!(rolled, anew, "{n}");
        }
    }

    /// A flipped input bit flips each output bit half of the time: 64 x 64 counts, five sigma of slack.
    #[test]
    fn every_bit_of_a_word_reaches_every_bit_of_its_hash() {
        let mut stream = Stream::new(7);
        let mut flips = vec![[0_u32; 64]; 64];
        let trials = 2000;
        for _ in 0..trials {
            let word = stream.next_u64();
            let hash = hash_bytes(&word.to_le_bytes());
            for (bit, row) in flips.iter_mut().enumerate() {
                let change = hash ^ hash_bytes(&(word ^ 1 << bit).to_le_bytes());
                row.iter_mut()
                    .enumerate()
                    .for_each(|(j, count)| *count += (change >> j & 1) as u32);
            }
        }
        let slack = (5.0 * (f64::from(trials) * 0.25).sqrt()) as u32;
        assert!(
            flips
                .iter()
                .flatten()
                .all(|count| count.abs_diff(trials / 2) < slack)
        );
    }
}
