//! The compression function of SHA-256 in sixteen lanes.

use std::arch::x86_64::*;

use curate_text::Cpu;
use curate_text::cpu::Path;

use super::{LANES, Message};

/// Round constants: the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Truth table of x ^ y ^ z.
const XOR: i32 = 0x96;
/// Truth table of "y where x, else z".
const CHOOSE: i32 = 0xCA;
/// Truth table of "two of three".
const MAJORITY: i32 = 0xE8;

/// Takes `steps` blocks of every busy lane into its state. No lane may have fewer left; idle lanes take zeros.
pub fn advance(
    cpu: Cpu,
    states: &mut [[u32; LANES]; 8],
    busy: &mut [Option<Message<'_>>],
    steps: usize,
) {
    assert!(cpu.path() == Path::Avx512 && busy.len() == LANES);
    // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
    unsafe { advance_avx512(states, busy, steps) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn advance_avx512(states: &mut [[u32; LANES]; 8], busy: &mut [Option<Message<'_>>], steps: usize) {
    const IDLE: [u8; 64] = [0; 64];
    let mut registers = [_mm512_setzero_si512(); 8];
    for (register, words) in registers.iter_mut().zip(states.iter()) {
        // SAFETY: a row of the state is 64 bytes, and the load needs no alignment.
        *register = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    for _ in 0..steps {
        let mut blocks = [_mm512_setzero_si512(); LANES];
        for (block, message) in blocks.iter_mut().zip(busy.iter_mut()) {
            let bytes = message.as_mut().map_or(&IDLE, Message::next_block);
            // SAFETY: a block is 64 bytes, and the load needs no alignment.
            let raw = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            *block = _mm512_shuffle_epi8(raw, swap);
        }
        compress(&mut registers, transpose(blocks));
    }
    for (register, words) in registers.iter().zip(states.iter_mut()) {
        // SAFETY: as for the load.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *register) };
    }
}

/// From a register a text to a register a word: 16 x 16 numbers, in four rounds of shuffles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut a = rows;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    let mut out = b;
    for i in 0..4 {
        let low = _mm512_shuffle_i32x4::<0x88>(b[i], b[i + 4]);
        let high = _mm512_shuffle_i32x4::<0xDD>(b[i], b[i + 4]);
        let low2 = _mm512_shuffle_i32x4::<0x88>(b[i + 8], b[i + 12]);
        let high2 = _mm512_shuffle_i32x4::<0xDD>(b[i + 8], b[i + 12]);
        out[i] = _mm512_shuffle_i32x4::<0x88>(low, low2);
        out[i + 4] = _mm512_shuffle_i32x4::<0x88>(high, high2);
        out[i + 8] = _mm512_shuffle_i32x4::<0xDD>(low, low2);
        out[i + 12] = _mm512_shuffle_i32x4::<0xDD>(high, high2);
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn compress(state: &mut [__m512i; 8], mut words: [__m512i; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (part, sixteen) in ROUNDS.as_chunks::<16>().0.iter().enumerate() {
        for (i, &constant) in sixteen.iter().enumerate() {
            let keyed = _mm512_add_epi32(words[i], _mm512_set1_epi32(constant as i32));
            let sum1 = _mm512_ternarylogic_epi32::<XOR>(
                _mm512_ror_epi32::<6>(e),
                _mm512_ror_epi32::<11>(e),
                _mm512_ror_epi32::<25>(e),
            );
            let chosen = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
            let first =
                _mm512_add_epi32(_mm512_add_epi32(h, keyed), _mm512_add_epi32(sum1, chosen));
            let sum0 = _mm512_ternarylogic_epi32::<XOR>(
                _mm512_ror_epi32::<2>(a),
                _mm512_ror_epi32::<13>(a),
                _mm512_ror_epi32::<22>(a),
            );
            let second = _mm512_add_epi32(sum0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
            (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, first));
            (d, c, b, a) = (c, b, a, _mm512_add_epi32(first, second));
            // For the last sixteen rounds nobody will ask again.
            if part < 3 {
                words[i] = next_word(&words, i);
            }
        }
    }
    for (before, after) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *before = _mm512_add_epi32(*before, after);
    }
}

/// The word sixteen rounds after word i, whose place it takes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn next_word(words: &[__m512i; 16], i: usize) -> __m512i {
    let (w1, w14) = (words[(i + 1) % 16], words[(i + 14) % 16]);
    let s0 = _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<7>(w1),
        _mm512_ror_epi32::<18>(w1),
        _mm512_srli_epi32::<3>(w1),
    );
    let s1 = _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<17>(w14),
        _mm512_ror_epi32::<19>(w14),
        _mm512_srli_epi32::<10>(w14),
    );
    let sum = _mm512_add_epi32(words[i], words[(i + 9) % 16]);
    _mm512_add_epi32(sum, _mm512_add_epi32(s0, s1))
}
