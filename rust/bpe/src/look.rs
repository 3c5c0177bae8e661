//! How pieces of up to [`INLINE`] bytes are looked up in the table of short pieces: by which keys, and in which line.
//!
//! A piece is known by two keys of 8 bytes: its bytes, and behind them 0xff. One of up to [`ALONE`] bytes has one key,
//! twice. Where AVX-512 finds the pieces of a window (see `window`), it makes their keys in the same registers, four
//! pieces at a time: one permutation takes the bytes of all four out of the window.

use crate::piece::{INLINE, prefetch_line};
use crate::pretokenize::BATCH;
use crate::window::WIDTH;
use curate_text::bits::LOWEST;

/// The longest piece of one key.
pub const ALONE: usize = 7;
/// Makes the last byte of the second of two keys 0xfe.
pub const SECOND: u64 = 1 << 56;
/// Set in a place where one key is enough: ones for all lanes of a line.
const ONE_KEY: u32 = 0b1111;
/// Bytes of a line, as a power of two.
const LINE: u32 = 6;
/// What the keys are multiplied by.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// 0xff behind the bytes of a piece of each length.
static BEHIND: [[u64; 2]; INLINE + 1] = {
    let mut all = [[0; 2]; INLINE + 1];
    let mut length = 0;
    while length <= INLINE {
        let behind = !LOWEST[length];
        all[length] = [behind as u64, (behind >> 64) as u64];
        length += 1;
    }
    all
};

/// The keys of a piece, and its place: the first byte of its line, counted from that of the table, and [`ONE_KEY`].
#[derive(Clone, Copy)]
pub struct Look {
    /// Of a piece that is too long for the table, its hash.
    pub keys: [u64; 2],
    pub place: u32,
}

impl Look {
    /// That of a piece that is too long for the table: no line has its keys.
    #[inline]
    fn longer(hash: u64) -> Self {
        Self {
            keys: [hash, 0],
            place: 0,
        }
    }

    /// The number of the line.
    #[inline(always)]
    pub fn line(&self) -> usize {
        (self.place >> LINE) as usize
    }

    /// The lanes that one equal key is enough for.
    #[inline(always)]
    pub fn alone(&self) -> u32 {
        self.place & ONE_KEY
    }

    /// The same in the neighboring line.
    pub fn beside(&self) -> Self {
        Self {
            place: self.place ^ 1 << LINE,
            ..*self
        }
    }
}

/// Only the upper bits are good: one multiplication a word, without the fold that would bring them down.
#[inline(always)]
pub fn hash_of(first: u64, second: u64) -> u64 {
    let low = first.wrapping_mul(FACTORS[0]);
    low.wrapping_add(second.wrapping_mul(FACTORS[1]))
}

/// Keys of a piece of up to [`INLINE`] bytes, and a hash.
#[inline(always)]
pub fn keys(text: &[u8], start: usize, end: usize) -> ([u64; 2], u64) {
    let length = end - start;
    let behind = &BEHIND[length & INLINE];
    let words = if start + 16 <= text.len() {
        // SAFETY: the text has the 16 bytes that are read, and bytes are aligned anywhere.
        words(unsafe { &*text.as_ptr().add(start).cast() })
    } else {
        padded(&text[start..end])
    };
    let first = words[0] | behind[0];
    let second = (words[1] | behind[1]) ^ SECOND;
    let hash = hash_of(first, second);
    let second = if length <= ALONE { first } else { second };
    ([first, second], hash)
}

#[inline(always)]
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let words = bytes.as_chunks().0;
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

/// The first bytes of a piece near the end of the text.
#[cold]
fn padded(piece: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    let length = piece.len().min(16);
    bytes[..length].copy_from_slice(&piece[..length]);
    words(&bytes)
}

/// Where a table lies, and how many bits of a hash are not the number of a line.
#[derive(Clone, Copy)]
pub struct View {
    lines: *const u8,
    unused: u32,
}

impl View {
    pub fn new<L>(lines: &[L]) -> Self {
        debug_assert!(size_of::<L>() == 1 << LINE && lines.len().is_power_of_two());
        Self {
            lines: lines.as_ptr().cast(),
            unused: 64 - lines.len().trailing_zeros(),
        }
    }

    /// How a piece of up to [`INLINE`] bytes is looked up.
    #[inline(always)]
    pub fn look(&self, text: &[u8], start: usize, end: usize) -> Look {
        let (keys, hash) = keys(text, start, end);
        let line = (hash >> (self.unused & 63)) as u32;
        let alone = if end - start <= ALONE { ONE_KEY } else { 0 };
        Look {
            keys,
            place: line << LINE | alone,
        }
    }

    /// Asks for the line of a place, so that it is here when it is needed.
    #[inline(always)]
    fn prefetch(&self, place: u32) {
        prefetch_line(self.lines.wrapping_add(place as usize));
    }
}

/// Those of a batch.
#[repr(align(64))]
pub struct Looks {
    keys: [[u64; 2]; BATCH],
    places: [u32; BATCH],
    /// The numbers of pieces in windows that are longer than [`INLINE`] bytes, and how many there are.
    longer: [u8; BATCH + WIDTH],
    n_longer: usize,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            keys: [[0; 2]; BATCH],
            places: [0; BATCH],
            longer: [0; BATCH + WIDTH],
            n_longer: 0,
        }
    }
}

impl Looks {
    #[inline(always)]
    pub fn get(&self, nth: usize) -> Look {
        Look {
            keys: self.keys[nth],
            place: self.places[nth],
        }
    }

    #[inline(always)]
    fn set(&mut self, nth: usize, look: Look) {
        (self.keys[nth], self.places[nth]) = (look.keys, look.place);
    }

    /// That of a piece of up to [`INLINE`] bytes, whose line is asked for.
    #[inline(always)]
    pub fn short(&mut self, nth: usize, view: View, text: &[u8], start: usize, end: usize) {
        let look = view.look(text, start, end);
        view.prefetch(look.place);
        self.set(nth, look);
    }

    /// That of a longer piece, of which it only keeps the hash.
    #[inline(always)]
    pub fn long(&mut self, nth: usize, hash: u64) {
        self.set(nth, Look::longer(hash));
    }

    /// Sets those of the longer pieces of windows, whose hashes `hash` gives by their numbers.
    #[inline(always)]
    pub fn hash_longer(&mut self, hash: impl Fn(usize) -> u64) {
        for at in 0..self.n_longer {
            let nth = usize::from(self.longer[at]);
            self.long(nth, hash(nth));
        }
        self.n_longer = 0;
    }

    /// Those of the pieces of a window, which end at the bits of `found`, from the nth on, whose lines are asked for;
    /// [`Self::hash_longer`] must follow. Sixteen at a time, whether there are as many or not, as in
    /// [`crate::window::places`]: what is written beyond them is overwritten by what comes next.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn of_window(&mut self, nth: usize, view: View, window: &[u8; WIDTH], found: u64) {
        let pieces = vectors::Pieces::new(window, found);
        let (mut longer, mut number) = (0, 0);
        let keys = self.keys[nth..].as_chunks_mut::<8>().0;
        let places = self.places[nth..].as_chunks_mut::<8>().0;
        for (keys, places) in keys.iter_mut().zip(places) {
            let keys = keys.as_chunks_mut::<4>().0;
            for (keys, places) in keys.iter_mut().zip(places.as_chunks_mut().0) {
                longer |= pieces.four(number, view.unused, keys, places) << number;
                number += 4;
            }
            places.iter().for_each(|&place| view.prefetch(place));
            if number % 16 == 0 && number >= found.count_ones() {
                break;
            }
        }
        if let Some(room) = self.longer[self.n_longer..].first_chunk_mut() {
            vectors::numbers(longer, nth, room);
            self.n_longer += longer.count_ones() as usize;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::{FACTORS, LINE, ONE_KEY, SECOND, WIDTH};
    use curate_text::bits::places_avx512;
    use std::arch::x86_64::*;

    /// The places of the bits that are set, counted from `from`.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn numbers(bits: u64, from: usize, out: &mut [u8; 64]) {
        let numbers = _mm512_add_epi8(places_avx512(bits), _mm512_set1_epi8(from as i8));
        // SAFETY: the array has the 64 bytes that are written, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), numbers) };
    }

    /// A window, and where its pieces begin and end, a byte each.
    pub struct Pieces {
        window: __m512i,
        starts: __m512i,
        ends: __m512i,
    }

    impl Pieces {
        #[inline]
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
        )]
        pub fn new(window: &[u8; WIDTH], found: u64) -> Self {
            Self {
                // SAFETY: the array is 64 bytes, and the load needs no alignment.
                window: unsafe { _mm512_loadu_si512(window.as_ptr().cast()) },
                starts: places_avx512(found | 1),
                ends: places_avx512(found),
            }
        }

        /// Keys and places of the pieces from a number on, and a bit for each that is too long.
        #[inline]
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
        )]
        pub fn four(
            &self,
            number: u32,
            unused: u32,
            keys: &mut [[u64; 2]; 4],
            places: &mut [u32; 4],
        ) -> u64 {
            // Sixteen bytes a piece: its number, where it begins and ends, and where its bytes are in the window.
            let nth = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
            let nth = _mm512_add_epi32(nth, _mm512_set1_epi32(number as i32));
            let nth = _mm512_shuffle_epi8(nth, _mm512_set1_epi32(0));
            let starts = _mm512_permutexvar_epi8(nth, self.starts);
            let ends = _mm512_permutexvar_epi8(nth, self.ends);
            let sixteen = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let at = _mm512_add_epi8(starts, _mm512_broadcast_i32x4(sixteen));
            let is_piece = _mm512_cmplt_epu8_mask(at, ends);
            let behind = _mm512_set1_epi8(-1);
            let words = _mm512_mask_permutexvar_epi8(behind, is_piece, at, self.window);
            let second = _mm512_broadcast_i32x4(_mm_set_epi64x(SECOND as i64, 0));
            let words = _mm512_xor_si512(words, second);
            let [low, high] = FACTORS;
            let factors = _mm512_broadcast_i32x4(_mm_set_epi64x(high as i64, low as i64));
            let products = _mm512_mullo_epi64(words, factors);
            let swapped = _mm512_shuffle_epi32::<0b01_00_11_10>(products);
            let hashes = _mm512_add_epi64(products, swapped);
            let lines = _mm512_srl_epi64(hashes, _mm_cvtsi32_si128(unused as i32));
            let lines = _mm512_sll_epi64(lines, _mm_cvtsi32_si128(LINE as i32));
            // All eight bytes are the piece's length: as numbers they compare as it does.
            let eight = _mm512_set1_epi8(8);
            let alone = _mm512_cmplt_epu64_mask(_mm512_sub_epi8(ends, starts), eight);
            let words = _mm512_mask_unpacklo_epi64(words, alone, words, words);
            let one_key = _mm512_set1_epi64(i64::from(ONE_KEY));
            let found = _mm512_mask_or_epi64(lines, alone, lines, one_key);
            let evens = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
            let found = _mm512_castsi512_si128(_mm512_permutexvar_epi32(evens, found));
            // SAFETY: the arrays have the 64 and 16 bytes that are written, and neither store needs alignment.
            unsafe {
                _mm512_storeu_si512(keys.as_mut_ptr().cast(), words);
                _mm_storeu_si128(places.as_mut_ptr().cast(), found);
            }
            _pext_u64(is_piece, 0x8000_8000_8000_8000)
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_gives_the_keys_that_its_pieces_have(
            text in proptest::collection::vec(any::<u8>(), WIDTH..100),
            found in prop_oneof![any::<u64>(), any::<[u64; 3]>().prop_map(|[a, b, c]| a & b & c)],
            nth in 0..BATCH - WIDTH,
        ) {
            if !is_x86_feature_detected!("avx512vbmi") || !is_x86_feature_detected!("avx512vbmi2") {
                return Ok(());
            }
            let lines = vec![[0u8; 64]; 1 << 10];
            let (view, mut looks, found) = (View::new(&lines), Looks::default(), found & !1);
            let window = text.first_chunk().expect("it is as long");
            // SAFETY: the processor has what was asked for, and with it the rest of AVX-512.
            unsafe { looks.of_window(nth, view, window, found) };
            let longer: Vec<u8> = looks.longer[..looks.n_longer].to_vec();
            let (mut start, mut expected) = (0, Vec::new());
            for (nth, end) in (nth..).zip((0..WIDTH).filter(|end| found >> end & 1 == 1)) {
                if end - start > INLINE {
                    expected.push(nth as u8);
                } else {
                    let look = view.look(&text, start, end);
                    prop_assert_eq!(looks.keys[nth], look.keys);
                    prop_assert_eq!(looks.places[nth], look.place);
                }
                start = end;
            }
            prop_assert_eq!(longer, expected);
        }
    }
}
