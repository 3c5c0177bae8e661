//! One bit a byte, 64 bytes at a time: the classes of ASCII, and the text with its ASCII lower-cased.
//!
//! Each path fills the same masks: a table look-up a byte, two AVX2 registers a block, or one of AVX-512.

use crate::cpu::{Cpu, Path};

/// Buffers of one text: bit i of word k of a mask is byte 64 k + i.
#[derive(Debug, Default)]
pub(crate) struct Masks {
    /// Bytes that belong to a word.
    pub member: Vec<u64>,
    /// Bytes at which a word begins although the byte before belongs to one too.
    pub cut: Vec<u64>,
    /// Bytes of 128 and more.
    pub high: Vec<u64>,
    /// The text with ASCII letters lower-cased, and zeros up to 80 bytes beyond its end.
    pub lower: Vec<u8>,
    /// No byte is high: then `cut` is all zeros.
    pub ascii: bool,
}

/// Sets `length` bits (1 to 64) of a mask, from `place`.
#[inline]
pub(crate) fn set_range(mask: &mut [u64], place: usize, length: usize) {
    let bits = u128::from(u64::MAX >> (64 - length)) << (place % 64);
    mask[place / 64] |= bits as u64;
    if let Some(next) = mask.get_mut(place / 64 + 1) {
        *next |= (bits >> 64) as u64;
    }
}

const MEMBER: u8 = 1;
const HIGH: u8 = 2;

/// Class bits and lower-case form of every byte.
static BYTES: [(u8, u8); 256] = {
    let mut bytes = [(0, 0); 256];
    let mut value = 0;
    while value < 256 {
        let byte = value as u8;
        let member = byte.is_ascii_alphanumeric() || byte == b'_';
        let class = if member { MEMBER } else { 0 } | if byte.is_ascii() { 0 } else { HIGH };
        bytes[value] = (class, byte.to_ascii_lowercase());
        value += 1;
    }
    bytes
};

impl Masks {
    /// Fills all masks for the ASCII of a text; the bits of non-ASCII characters are left for the caller.
    pub fn fill(&mut self, cpu: Cpu, text: &[u8]) {
        // One block more than the text fills, so that the last word ends inside a mask.
        let blocks = text.len() / 64 + 1;
        self.lower.clear();
        self.lower.extend_from_slice(text);
        self.lower.resize(blocks * 64 + 16, 0);
        self.member.resize(blocks, 0);
        self.high.resize(blocks, 0);
        let (lower, _) = self.lower.as_chunks_mut::<64>();
        match cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::fill_avx512(lower, &mut self.member, &mut self.high) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { x86::fill_avx2(lower, &mut self.member, &mut self.high) },
            _ => fill_portable(lower, &mut self.member, &mut self.high),
        }
        self.ascii = self.high.iter().fold(0, |all, &mask| all | mask) == 0;
        self.cut.clear();
        self.cut.resize(blocks, 0);
    }

    /// Turns the masks into the spans of the words, in order.
    pub fn spans(&self, cpu: Cpu, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
        starts.clear();
        ends.clear();
        match cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::spans_avx512(&self.member, &self.cut, starts, ends) },
            _ => self.edges(|block, start, end| {
                push_bits(block, start, starts);
                push_bits(block, end, ends);
            }),
        }
    }

    #[inline(always)]
    fn edges(&self, emit: impl FnMut(usize, u64, u64)) {
        for_edges(&self.member, &self.cut, emit);
    }
}

/// Calls `emit` with the first byte of each block, and the masks of where words start and end in it.
#[inline(always)]
fn for_edges(member: &[u64], cut: &[u64], mut emit: impl FnMut(usize, u64, u64)) {
    let mut carry = 0;
    for (block, (&member, &cut)) in member.iter().zip(cut).enumerate() {
        let before = member << 1 | carry;
        carry = member >> 63;
        emit(
            block * 64,
            member & (!before | cut),
            before & (!member | cut),
        );
    }
}

#[inline(always)]
fn push_bits(block: usize, mut bits: u64, out: &mut Vec<u32>) {
    while bits != 0 {
        out.push(block as u32 + bits.trailing_zeros());
        bits &= bits - 1;
    }
}

fn fill_portable(lower: &mut [[u8; 64]], members: &mut [u64], highs: &mut [u64]) {
    for ((block, member), high) in lower.iter_mut().zip(members).zip(highs) {
        let (mut in_word, mut not_ascii) = (0, 0);
        for (place, byte) in block.iter_mut().enumerate() {
            let (class, lowered) = BYTES[*byte as usize];
            *byte = lowered;
            in_word |= u64::from(class & MEMBER) << place;
            not_ascii |= u64::from(class & HIGH) >> 1 << place;
        }
        (*member, *high) = (in_word, not_ascii);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{for_edges, push_bits};

    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn fill_avx512(lower: &mut [[u8; 64]], members: &mut [u64], highs: &mut [u64]) {
        let all = |byte: u8| _mm512_set1_epi8(byte as i8);
        let between = |bytes: __m512i, low: u8, high: u8| {
            _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, all(low)), all(high - low))
        };
        for ((block, member), high) in lower.iter_mut().zip(members).zip(highs) {
            // SAFETY: the block is 64 bytes, and the load needs no alignment.
            let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            let letters = between(_mm512_or_si512(bytes, all(0x20)), b'a', b'z');
            let upper = between(bytes, b'A', b'Z');
            let rest = between(bytes, b'0', b'9') | _mm512_cmpeq_epi8_mask(bytes, all(b'_'));
            *member = letters | rest;
            *high = _mm512_movepi8_mask(bytes);
            let lowered = _mm512_mask_add_epi8(bytes, upper, bytes, all(0x20));
            // SAFETY: as for the load.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), lowered) };
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn fill_avx2(lower: &mut [[u8; 64]], members: &mut [u64], highs: &mut [u64]) {
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let between = |bytes: __m256i, low: u8, high: u8| {
            let shifted = _mm256_sub_epi8(bytes, all(low));
            _mm256_cmpeq_epi8(_mm256_min_epu8(shifted, all(high - low)), shifted)
        };
        let bits = |bytes: __m256i| u64::from(_mm256_movemask_epi8(bytes) as u32);
        for ((block, member), high) in lower.iter_mut().zip(members).zip(highs) {
            let (mut in_word, mut not_ascii) = (0, 0);
            for (half, chunk) in block.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                // SAFETY: the chunk is 32 bytes, and the load needs no alignment.
                let bytes = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
                let letters = between(_mm256_or_si256(bytes, all(0x20)), b'a', b'z');
                let upper = between(bytes, b'A', b'Z');
                let rest = _mm256_or_si256(
                    between(bytes, b'0', b'9'),
                    _mm256_cmpeq_epi8(bytes, all(b'_')),
                );
                in_word |= bits(_mm256_or_si256(letters, rest)) << (32 * half);
                not_ascii |= bits(bytes) << (32 * half);
                let lowered = _mm256_add_epi8(bytes, _mm256_and_si256(upper, all(0x20)));
                // SAFETY: as for the load.
                unsafe { _mm256_storeu_si256(chunk.as_mut_ptr().cast(), lowered) };
            }
            (*member, *high) = (in_word, not_ascii);
        }
    }

    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn spans_avx512(member: &[u64], cut: &[u64], starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
        for_edges(member, cut, |block, start, end| {
            push_bits_avx512(block, start, starts);
            push_bits_avx512(block, end, ends);
        });
    }

    /// Compresses the numbers 0..64 by the mask and stores them 16 at a time, with no branch a bit.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn push_bits_avx512(block: usize, bits: u64, out: &mut Vec<u32>) {
        const IOTA: [u8; 64] = {
            let mut iota = [0; 64];
            let mut i = 0;
            while i < 64 {
                iota[i] = i as u8;
                i += 1;
            }
            iota
        };
        let count = bits.count_ones() as usize;
        if count > 16 {
            return push_bits(block, bits, out);
        }
        out.reserve(16);
        // SAFETY: IOTA has 64 bytes.
        let iota = unsafe { _mm512_loadu_si512(IOTA.as_ptr().cast()) };
        let places = _mm512_castsi512_si128(_mm512_maskz_compress_epi8(bits, iota));
        let places = _mm512_add_epi32(
            _mm512_cvtepu8_epi32(places),
            _mm512_set1_epi32(block as i32),
        );
        // SAFETY: `reserve` left room for 16 numbers beyond the length, of which `count` are kept.
        unsafe {
            _mm512_storeu_si512(out.as_mut_ptr().add(out.len()).cast(), places);
            out.set_len(out.len() + count);
        }
    }
}
