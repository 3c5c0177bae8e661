//! The anchors of a text, `@` and the first digit of every number, and what is looked for at each.

use crate::{Hit, Kind, Kinds, email, iban, ip, numbers, secrets};

const BLOCK: usize = 64;
const BY_DIGITS: [Kind; 5] = [Kind::Ip, Kind::Phone, Kind::Card, Kind::Iban, Kind::Ssn];
const ON_DEMAND: [Kind; 4] = [Kind::Mac, Kind::Wallet, Kind::ApiKey, Kind::PrivateKey];

/// Finds the wanted kinds in a text; hits are in order and do not overlap.
pub fn find(text: &str, kinds: Kinds, hits: &mut Vec<Hit>) {
    hits.clear();
    let text = text.as_bytes();
    if kinds.any(&BY_DIGITS) || kinds.has(Kind::Email) {
        by_anchors(text, kinds, hits);
    }
    if kinds.any(&ON_DEMAND) {
        secrets::find(text, kinds, hits);
        join(hits);
    }
}

fn by_anchors(text: &[u8], kinds: Kinds, hits: &mut Vec<Hit>) {
    let mut anchors = Anchors::new(text);
    let mut seen = ip::Seen::default();
    let digits = kinds.any(&BY_DIGITS);
    let by_groups = kinds.any(&[Kind::Phone, Kind::Card, Kind::Ssn]);
    let (mut place, mut floor, mut email_floor) = (0, 0, 0);
    while let Some(anchor) = anchors.next(place) {
        place = anchor + 1;
        if text[anchor] == b'@' {
            if !kinds.has(Kind::Email) {
                continue;
            }
            if let Some((mut start, end)) = email::at(text, anchor, email_floor) {
                // The name of an address may hold what looked like something else: 192.0.1.7@example.com.
                while let Some(hit) = hits.pop_if(|hit| hit.end > start) {
                    start = start.min(hit.start);
                }
                hits.push(Hit {
                    kind: Kind::Email,
                    start,
                    end,
                });
                (place, floor, email_floor) = (end, end, end);
            }
            continue;
        }
        if !digits {
            continue;
        }
        let single = if kinds.has(Kind::Ip)
            && let Some((start, end)) = ip::at(text, anchor, floor, &mut seen)
        {
            Some(Hit {
                kind: Kind::Ip,
                start,
                end,
            })
        } else if kinds.has(Kind::Iban)
            && let Some((start, end)) = iban::at(text, anchor, floor)
        {
            Some(Hit {
                kind: Kind::Iban,
                start,
                end,
            })
        } else {
            None
        };
        if let Some(hit) = single {
            (place, floor) = (hit.end, hit.end);
            hits.push(hit);
        } else if by_groups {
            place = numbers::at(text, anchor, floor, kinds, hits);
            floor = hits.last().map_or(0, |hit| hit.end).max(floor);
        }
    }
}

/// Sorts hits of several passes; what overlaps becomes one hit of the kind that begins first.
fn join(hits: &mut Vec<Hit>) {
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
    hits.dedup_by(|next, hit| {
        let inside = next.start < hit.end;
        if inside {
            hit.end = hit.end.max(next.end);
        }
        inside
    });
}

/// The anchors of a text, a block at a time.
struct Anchors<'t> {
    text: &'t [u8],
    /// Where the block begins whose anchors are in `bits`.
    block: usize,
    bits: u64,
}

impl<'t> Anchors<'t> {
    fn new(text: &'t [u8]) -> Self {
        let mut anchors = Self {
            text,
            block: 0,
            bits: 0,
        };
        anchors.load(0);
        anchors
    }

    /// The first anchor at or after `from`, which never goes back.
    #[inline]
    fn next(&mut self, from: usize) -> Option<usize> {
        if from >= self.block + BLOCK {
            self.load(from - from % BLOCK);
        }
        self.bits &= u64::MAX << from.saturating_sub(self.block);
        while self.bits == 0 {
            if self.block + BLOCK >= self.text.len() {
                return None;
            }
            self.load(self.block + BLOCK);
        }
        Some(self.block + self.bits.trailing_zeros() as usize)
    }

    #[inline]
    fn load(&mut self, block: usize) {
        self.block = block;
        let rest = self.text.get(block..).unwrap_or_default();
        let (signs, digits) = match rest.first_chunk::<BLOCK>() {
            Some(bytes) => marks(bytes),
            None => {
                let mut bytes = [0; BLOCK];
                bytes[..rest.len()].copy_from_slice(rest);
                marks(&bytes)
            }
        };
        let before = block
            .checked_sub(1)
            .is_some_and(|place| self.text[place].is_ascii_digit());
        self.bits = signs | digits & !(digits << 1 | u64::from(before));
    }
}

/// The places of `@` and of digits in a block, a bit a byte.
#[cfg(target_arch = "x86_64")]
#[inline]
fn marks(bytes: &[u8; BLOCK]) -> (u64, u64) {
    use std::arch::x86_64::*;
    let (mut signs, mut digits) = (0, 0);
    for (i, part) in bytes.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: SSE2 is part of x86-64, and the load reads the 16 bytes of `part`.
        let (sign, digit) = unsafe {
            let values = _mm_loadu_si128(part.as_ptr().cast());
            let offsets = _mm_sub_epi8(values, _mm_set1_epi8(b'0' as i8));
            let digit = _mm_cmpeq_epi8(_mm_min_epu8(offsets, _mm_set1_epi8(9)), offsets);
            let sign = _mm_cmpeq_epi8(values, _mm_set1_epi8(b'@' as i8));
            (_mm_movemask_epi8(sign), _mm_movemask_epi8(digit))
        };
        signs |= u64::from(sign as u16) << (16 * i);
        digits |= u64::from(digit as u16) << (16 * i);
    }
    (signs, digits)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn marks(bytes: &[u8; BLOCK]) -> (u64, u64) {
    portable_marks(bytes)
}

/// `marks`, a byte at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_marks(bytes: &[u8; BLOCK]) -> (u64, u64) {
    let bits = |wanted: fn(u8) -> bool| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |bits, &byte| bits << 1 | u64::from(wanted(byte)))
    };
    (
        bits(|byte| byte == b'@'),
        bits(|byte| byte.is_ascii_digit()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_has_the_same_marks_on_every_path(bytes in proptest::array::uniform32(b'.'..b'C')) {
            let mut block = [0; super::BLOCK];
            block[..32].copy_from_slice(&bytes);
            block[32..].copy_from_slice(&bytes.map(|byte| byte ^ 0x80));
            prop_assert_eq!(super::marks(&block), super::portable_marks(&block));
        }

        #[test]
        fn anchors_are_signs_and_first_digits(text in "[ab@0-9é]{0,200}") {
            let bytes = text.as_bytes();
            let expected: Vec<usize> = (0..bytes.len())
                .filter(|&i| bytes[i] == b'@' || bytes[i].is_ascii_digit() && !(i > 0 && bytes[i - 1].is_ascii_digit()))
                .collect();
            let mut anchors = super::Anchors::new(bytes);
            let (mut found, mut place) = (Vec::new(), 0);
            while let Some(anchor) = anchors.next(place) {
                found.push(anchor);
                place = anchor + 1;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
