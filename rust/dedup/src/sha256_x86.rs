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

/// Bytes that a lane is fetched ahead of its use: sixteen texts at once are too many for the processor to follow.
const AHEAD: usize = 512;

/// Truth table of x ^ y ^ z.
const XOR: i32 = 0x96;
/// Truth table of "y where x, else z".
const CHOOSE: i32 = 0xCA;
/// Truth table of "two of three".
const MAJORITY: i32 = 0xE8;

/// Asks for the lines at both ends of a text; what lies between is fetched as it is read on.
pub fn prefetch(text: &[u8]) {
    for place in [0, 64, text.len() & !63] {
        // SAFETY: a prefetch reads nothing and faults nowhere, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(text.as_ptr().wrapping_add(place).cast()) };
    }
}

/// Takes as many blocks as the shortest stretch of all busy lanes has into their states; returns how many. Idle lanes
/// take zeros.
pub fn advance(
    cpu: Cpu,
    states: &mut [[u32; LANES]; 8],
    busy: &[Option<Message<'_>>; LANES],
) -> usize {
    static IDLE: [[u8; 64]; 64] = [[0; 64]; 64];
    assert!(cpu.path() == Path::Avx512);
    let stretches: [&[[u8; 64]]; LANES] = std::array::from_fn(|lane| {
        let message = busy[lane].as_ref();
        message.map_or(&IDLE[..], Message::stretch)
    });
    let steps = stretches.iter().map(|s| s.len()).min().unwrap_or(0);
    // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
    unsafe { advance_avx512(states, stretches.map(|stretch| &stretch[..steps])) };
    steps
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn advance_avx512(states: &mut [[u32; LANES]; 8], stretches: [&[[u8; 64]]; LANES]) {
    let mut registers = [_mm512_setzero_si512(); 8];
    for (register, words) in registers.iter_mut().zip(states.iter()) {
        // SAFETY: a row of the state is 64 bytes, and the load needs no alignment.
        *register = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    for step in 0..stretches[0].len() {
        let mut blocks = [_mm512_setzero_si512(); LANES];
        for (block, stretch) in blocks.iter_mut().zip(&stretches) {
            let place = stretch[step].as_ptr();
            // SAFETY: a block is 64 bytes, and the load needs no alignment; a prefetch faults nowhere.
            let raw = unsafe {
                _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(AHEAD).cast());
                _mm512_loadu_si512(place.cast())
            };
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

/// Round I of sixteen, with the word and the constant of that place. The eight registers of the state change their
/// names from round to round, and nothing moves: a is register -I modulo 8, b the one after it, and so on.
macro_rules! round {
    ($state:ident, $words:ident, $constants:ident, $i:literal) => {
        let [a, b, c, d, e, f, g, h] = const {
            let mut names = [0; 8];
            let mut name = 0;
            while name < 8 {
                names[name] = (16 + name - $i) % 8;
                name += 1;
            }
            names
        };
        let keyed = _mm512_add_epi32($words[$i], _mm512_set1_epi32($constants[$i] as i32));
        let sum1 = _mm512_ternarylogic_epi32::<XOR>(
            _mm512_ror_epi32::<6>($state[e]),
            _mm512_ror_epi32::<11>($state[e]),
            _mm512_ror_epi32::<25>($state[e]),
        );
        let chosen = _mm512_ternarylogic_epi32::<CHOOSE>($state[e], $state[f], $state[g]);
        let first = _mm512_add_epi32(
            _mm512_add_epi32($state[h], keyed),
            _mm512_add_epi32(sum1, chosen),
        );
        let sum0 = _mm512_ternarylogic_epi32::<XOR>(
            _mm512_ror_epi32::<2>($state[a]),
            _mm512_ror_epi32::<13>($state[a]),
            _mm512_ror_epi32::<22>($state[a]),
        );
        let most = _mm512_ternarylogic_epi32::<MAJORITY>($state[a], $state[b], $state[c]);
        $state[d] = _mm512_add_epi32($state[d], first);
        $state[h] = _mm512_add_epi32(first, _mm512_add_epi32(sum0, most));
    };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn compress(before: &mut [__m512i; 8], mut words: [__m512i; 16]) {
    let mut state = *before;
    // Every place is written out, so that words and state stay in registers.
    macro_rules! sixteen {
        (scheduling, $constants:ident: $($i:literal)*) => {
            $(
                round!(state, words, $constants, $i);
                words[$i] = next_word(&words, $i);
            )*
        };
        (last, $constants:ident: $($i:literal)*) => {
            $(round!(state, words, $constants, $i);)*
        };
    }
    let [first @ .., last] = ROUNDS.as_chunks::<16>().0 else {
        unreachable!("there are 64 rounds")
    };
    for constants in first {
        sixteen!(scheduling, constants: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
    // After the last sixteen rounds nobody will ask for words again.
    sixteen!(last, last: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (before, after) in before.iter_mut().zip(state) {
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
