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
    /// First bytes of the characters that are to be looked at one by one: not ASCII, not in `han`.
    pub lead: Vec<u64>,
    /// First bytes of U+4E00 to U+9FFF, all of them Han letters of three bytes: one bit says all about them. (Of those
    /// below U+5000, not where the first byte is the last of its block.)
    pub han: Vec<u64>,
    /// The text with ASCII letters lower-cased, and zeros up to 80 bytes beyond its end.
    pub lower: Vec<u8>,
    /// All characters are ASCII: then `cut` is all zeros.
    pub ascii: bool,
}

const MEMBER: u8 = 1;
const LEAD: u8 = 2;
const HAN: u8 = 4;
const FOUR: u8 = 8;
const LATE: u8 = 16;
/// First bytes of U+5000..=U+9FFF.
const HAN_FIRST: u8 = 0xE5;
const HAN_LAST: u8 = 0xE9;
/// First byte of U+4000..=U+4FFF, and the least second byte of those from U+4E00 on.
const HAN_FOUR: u8 = 0xE4;
const HAN_LATE: u8 = 0xB8;

/// Class bits and lower-case form of every byte.
static BYTES: [(u8, u8); 256] = {
    let mut bytes = [(0, 0); 256];
    let mut value = 0;
    while value < 256 {
        let byte = value as u8;
        let member = byte.is_ascii_alphanumeric() || byte == b'_';
        let class = match byte {
            HAN_FIRST..=HAN_LAST => HAN | LEAD,
            HAN_FOUR => FOUR | LEAD,
            HAN_LATE..=0xBF => LATE,
            0xC0.. => LEAD,
            _ if member => MEMBER,
            _ => 0,
        };
        bytes[value] = (class, byte.to_ascii_lowercase());
        value += 1;
    }
    bytes
};

impl Masks {
    /// Fills all masks for the ASCII of a text, which is UTF-8; the bits of other characters are left for the caller.
    pub fn fill(&mut self, cpu: Cpu, text: &[u8]) {
        // One block more than the text fills, so that the last word ends inside a mask.
        let blocks = text.len() / 64 + 1;
        self.lower.clear();
        self.lower.extend_from_slice(text);
        self.lower.resize(blocks * 64 + 16, 0);
        self.member.resize(blocks, 0);
        self.lead.resize(blocks, 0);
        self.han.resize(blocks, 0);
        let (lower, _) = self.lower.as_chunks_mut::<64>();
        let (member, lead, han) = (&mut self.member, &mut self.lead, &mut self.han);
        match cpu.path() {
            // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::fill_avx512(lower, member, lead, han) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { x86::fill_avx2(lower, member, lead, han) },
            _ => fill_portable(lower, member, lead, han),
        }
        let others = self.lead.iter().zip(&self.han);
        self.ascii = others.fold(0, |all, (lead, han)| all | lead | han) == 0;
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

fn fill_portable(lower: &mut [[u8; 64]], members: &mut [u64], leads: &mut [u64], hans: &mut [u64]) {
    let masks = members.iter_mut().zip(leads).zip(hans);
    for (block, ((member, lead), han)) in lower.iter_mut().zip(masks) {
        let mut classes = [0_u64; 3];
        for (place, byte) in block.iter_mut().enumerate() {
            let (class, lowered) = BYTES[*byte as usize];
            *byte = lowered;
            for (bit, mask) in classes.iter_mut().enumerate() {
                *mask |= u64::from(class >> bit & 1) << place;
            }
        }
        [*member, *lead, *han] = classes;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{HAN_FIRST, HAN_FOUR, HAN_LAST, HAN_LATE, for_edges};
    use crate::bits::places_avx512;

    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn fill_avx512(
        lower: &mut [[u8; 64]],
        members: &mut [u64],
        leads: &mut [u64],
        hans: &mut [u64],
    ) {
        let all = |byte: u8| _mm512_set1_epi8(byte as i8);
        let between = |bytes: __m512i, low: u8, high: u8| {
            _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, all(low)), all(high - low))
        };
        let masks = members.iter_mut().zip(leads).zip(hans);
        for (block, ((member, lead), han)) in lower.iter_mut().zip(masks) {
            // SAFETY: the block is 64 bytes, and the load needs no alignment.
            let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            let letters = between(_mm512_or_si512(bytes, all(0x20)), b'a', b'z');
            let upper = between(bytes, b'A', b'Z');
            let rest = between(bytes, b'0', b'9') | _mm512_cmpeq_epi8_mask(bytes, all(b'_'));
            *member = letters | rest;
            let four = _mm512_cmpeq_epi8_mask(bytes, all(HAN_FOUR));
            *han = between(bytes, HAN_FIRST, HAN_LAST) | four & between(bytes, HAN_LATE, 0xBF) >> 1;
            *lead = _mm512_cmpge_epu8_mask(bytes, all(0xC0)) & !*han;
            let lowered = _mm512_mask_add_epi8(bytes, upper, bytes, all(0x20));
            // SAFETY: as for the load.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), lowered) };
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn fill_avx2(
        lower: &mut [[u8; 64]],
        members: &mut [u64],
        leads: &mut [u64],
        hans: &mut [u64],
    ) {
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let between = |bytes: __m256i, low: u8, high: u8| {
            let shifted = _mm256_sub_epi8(bytes, all(low));
            _mm256_cmpeq_epi8(_mm256_min_epu8(shifted, all(high - low)), shifted)
        };
        let bits = |bytes: __m256i| u64::from(_mm256_movemask_epi8(bytes) as u32);
        let masks = members.iter_mut().zip(leads).zip(hans);
        for (block, ((member, lead), han)) in lower.iter_mut().zip(masks) {
            let (mut in_word, mut first, mut in_han) = (0, 0, 0);
            let (mut four, mut late) = (0, 0);
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
                first |= bits(between(bytes, 0xC0, 0xFF)) << (32 * half);
                in_han |= bits(between(bytes, HAN_FIRST, HAN_LAST)) << (32 * half);
                four |= bits(_mm256_cmpeq_epi8(bytes, all(HAN_FOUR))) << (32 * half);
                late |= bits(between(bytes, HAN_LATE, 0xBF)) << (32 * half);
                let lowered = _mm256_add_epi8(bytes, _mm256_and_si256(upper, all(0x20)));
                // SAFETY: as for the load.
                unsafe { _mm256_storeu_si256(chunk.as_mut_ptr().cast(), lowered) };
            }
            *han = in_han | four & late >> 1;
            (*member, *lead) = (in_word, first & !*han);
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

    /// Stores the places of the bits 16 at a time, with no branch a bit.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    fn push_bits_avx512(block: usize, bits: u64, out: &mut Vec<u32>) {
        let count = bits.count_ones() as usize;
        out.reserve(64);
        let places = places_avx512(bits);
        let block = _mm512_set1_epi32(block as i32);
        let quarters = [
            _mm512_castsi512_si128(places),
            _mm512_extracti32x4_epi32::<1>(places),
            _mm512_extracti32x4_epi32::<2>(places),
            _mm512_extracti32x4_epi32::<3>(places),
        ];
        for (quarter, &sixteen) in quarters[..count.div_ceil(16)].iter().enumerate() {
            let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(sixteen), block);
            // SAFETY: `reserve` left room for 64 numbers beyond the length.
            unsafe {
                let to = out.as_mut_ptr().add(out.len() + 16 * quarter);
                _mm512_storeu_si512(to.cast(), wide);
            }
        }
        // SAFETY: these were stored just now.
        unsafe { out.set_len(out.len() + count) };
    }
}
