//! Where pieces begin in 64 bytes, found for all of them at once.
//!
//! A window begins where a piece begins. Its bytes become one bit mask a class (letters, digits, ...), and what the
//! patterns say of neighbors becomes shifts of these masks, so that there is no branch a piece: fourteen pieces of
//! English in some 60 steps. A letter of two or three bytes sets the bits of all its bytes, so that shifts are right for
//! it too. A window ends before a character of four bytes, before numbers and white space that are not ASCII, and
//! before a trailing run of white space, whose pieces depend on what follows; what it leaves is for the scanner of one
//! piece at a time (`scan`).

use crate::classes::Classes;
use crate::rules::{LEFT, RIGHT, RUN, SINGLE, contraction};

/// Bytes looked at together.
pub const WIDTH: usize = 64;

/// First bytes, from and to, of characters that are all letters: ideographs, and syllables of Korean.
const IDEOGRAPHS: (u8, u8) = (0xe5, 0xe9);
const SYLLABLES: (u8, u8) = (0xeb, 0xec);

/// One bit a byte, the first byte the lowest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    pub letters: u64,
    pub digits: u64,
    /// The space itself.
    pub spaces: u64,
    /// White space that is neither space nor newline.
    pub tabs: u64,
    /// `[\r\n]`.
    pub newlines: u64,
    pub apostrophes: u64,
    /// Bytes of 128 and more.
    pub high: u64,
    /// Of these the first bytes of characters.
    pub leads: u64,
    /// Of these the ones of [`IDEOGRAPHS`] and [`SYLLABLES`].
    pub sure: u64,
    /// Bytes at which the window ends, because what they are is not known.
    pub unknown: u64,
}

/// The window cut to what is known: what is neither of the classes, and the last place where a piece may be known
/// to begin.
struct Known {
    window: Window,
    others: u64,
    last: u32,
}

impl Window {
    /// Adds the classes of the characters of more than one byte; `length` bytes are text.
    #[inline(always)]
    pub fn of_characters(mut self, text: &[u8; WIDTH], length: usize, classes: &Classes) -> Self {
        self.unknown = u64::MAX.checked_shl(length as u32).unwrap_or(0);
        let mut letters = 0;
        if self.sure != 0 {
            // A character that begins in the last two bytes may not end there.
            let late = u64::MAX.checked_shl(length.saturating_sub(2) as u32);
            letters = self.sure & !late.unwrap_or(0);
        }
        let mut leads = self.leads & !self.unknown & !letters;
        while leads != 0 {
            let at = leads.trailing_zeros() as usize;
            let (is_letter, is_unknown) = classes.letter_or_unknown(text, at, length);
            letters |= is_letter << at;
            self.unknown |= is_unknown << at;
            leads &= leads - 1;
        }
        self.with_letters(letters)
    }

    /// As [`Self::of_characters`], by AVX-512: characters that differ in their last byte only are looked at together, and
    /// most scripts have few others.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bitalg,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
    )]
    pub fn of_characters_avx512(
        mut self,
        text: &[u8; WIDTH],
        length: usize,
        classes: &Classes,
    ) -> Self {
        use std::arch::x86_64::*;
        let from = |at: usize| u64::MAX.checked_shl(at as u32).unwrap_or(0);
        self.unknown = from(length);
        if self.leads & !self.unknown == 0 {
            return self;
        }
        // SAFETY: the array is 64 bytes, and the load needs no alignment.
        let bytes = unsafe { _mm512_loadu_si512(text.as_ptr().cast()) };
        let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8));
        let not_below = |byte: u8| _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(byte as i8));
        // Bytes whose lowest six bits are the place of a bit that is set.
        let chosen = |of: u64| _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64(of as i64), bytes);
        let three = not_below(0xe0);
        let late = from(length - 1) | three & from(length - 2) | not_below(0xf0);
        self.unknown |= self.leads & late;
        let mut letters = self.sure & !self.unknown;
        let mut leads = self.leads & !self.unknown & !letters;
        while leads != 0 {
            let at = leads.trailing_zeros() as usize;
            let (lead, second) = (text[at], text[(at + 1) % WIDTH]);
            let is_three = three >> at & 1;
            let same = leads & is(lead) & (is(second) >> 1 | is_three.wrapping_sub(1));
            let [is_letter, is_unknown] = classes.by_prefix(lead, second).map(chosen);
            letters |= same & is_letter >> 1 >> is_three;
            self.unknown |= same & is_unknown >> 1 >> is_three;
            leads &= !same;
        }
        self.with_letters(letters)
    }

    /// Adds letters of more than one byte, by their first bytes.
    #[inline(always)]
    fn with_letters(mut self, letters: u64) -> Self {
        // Adding one to the bytes that follow a letter's first carries through them.
        let following = self.high & !self.leads;
        self.letters |= letters | following & !following.wrapping_add(letters << 1);
        self
    }

    /// `stop` is a mask of bytes at which the window ends.
    #[inline(always)]
    fn known(mut self, stop: u64) -> Known {
        let length = stop.trailing_zeros();
        let valid = if length == 64 {
            u64::MAX
        } else {
            (1 << length) - 1
        };
        for mask in [
            &mut self.letters,
            &mut self.digits,
            &mut self.spaces,
            &mut self.tabs,
            &mut self.newlines,
            &mut self.apostrophes,
        ] {
            *mask &= valid;
        }
        let white = self.spaces | self.tabs | self.newlines;
        let after_text = 64 - (valid & !white).leading_zeros();
        Known {
            window: self,
            others: valid & !(self.letters | self.digits | white),
            last: after_text.min(length.saturating_sub(1)),
        }
    }
}

/// A piece ends before each bit of `starts` up to `last`, the first byte left out.
#[inline(always)]
fn ends(starts: u64, last: u32) -> u64 {
    starts & !1 & (u64::MAX >> (63 - last))
}

/// Bytes at which a window ends: digits too, where their pieces depend on where the run of them ends.
#[inline(always)]
fn stop<const NUMBERS: u8>(window: Window) -> u64 {
    if NUMBERS == RIGHT {
        window.unknown | window.digits
    } else {
        window.unknown
    }
}

/// The first digit of every piece of digits.
#[inline(always)]
fn groups<const NUMBERS: u8>(digits: u64) -> u64 {
    if NUMBERS == SINGLE {
        return digits;
    }
    let mut starts = digits & !(digits << 1);
    if NUMBERS == LEFT {
        let threes = digits & digits << 1 & digits << 2;
        let mut next = starts << 3 & threes;
        while next != 0 {
            starts |= next;
            next = next << 3 & threes;
        }
    }
    starts
}

/// Masks of the second bytes of contractions, and of the bytes after them.
#[inline(always)]
fn contractions(text: &[u8; WIDTH], mut apostrophes: u64, fold: bool) -> (u64, u64) {
    let (mut second, mut after) = (0, 0);
    while apostrophes != 0 {
        let at = apostrophes.trailing_zeros() as usize;
        apostrophes &= apostrophes - 1;
        if let Some(end) = contraction(text, at, fold) {
            second |= 2 << at;
            // One that ends with the window has nothing after it there.
            after |= 1u64.checked_shl(end as u32).unwrap_or(0);
        }
    }
    (second, after)
}

/// Where the pieces of GPT-2's pattern end, one bit an end.
#[inline(always)]
pub fn gpt2<const NUMBERS: u8>(window: Window, text: &[u8; WIDTH]) -> u64 {
    let Known {
        window: w,
        others,
        mut last,
    } = window.known(stop::<NUMBERS>(window));
    let white = w.spaces | w.tabs | w.newlines;
    let text_after = (w.letters | w.digits | others) >> 1;
    // A space joins the letters or symbols after it.
    let joined = w.spaces << 1;
    let others_start = others & !(others << 1) & !joined;
    let mut starts = w.letters & !(w.letters << 1) & !joined;
    starts |= others_start | white & (!(white << 1) | text_after);
    starts |= if NUMBERS == RUN {
        w.digits & !(w.digits << 1) & !joined
    } else {
        groups::<NUMBERS>(w.digits)
    };
    let apostrophes = w.apostrophes & others_start;
    if apostrophes != 0 {
        let (second, after) = contractions(text, apostrophes, false);
        starts = starts & !second | after;
        // Whether the letter after an apostrophe begins a piece depends on the letter after that.
        last = last.min((apostrophes & 3 << 62).trailing_zeros());
    }
    ends(starts, last)
}

/// Where the pieces of GPT-4's pattern end, one bit an end.
#[inline(always)]
pub fn gpt4<const NUMBERS: u8>(window: Window, text: &[u8; WIDTH]) -> u64 {
    let Known {
        window: w,
        others,
        mut last,
    } = window.known(stop::<NUMBERS>(window));
    let blanks = w.spaces | w.tabs;
    let words = w.letters | w.digits;
    let others_start = others & !(others << 1) & !(w.spaces << 1);
    // A blank, or a symbol that stands alone, joins the letters after it: one added to the first symbol of a run, the
    // run without the first bytes of its others, carries to what follows that symbol.
    let firsts = others & !(others & (!w.high | w.leads) & !others_start);
    let after_first = firsts.wrapping_add(others_start) & !firsts;
    let mut starts = w.letters & !(w.letters << 1) & !(blanks << 1 | after_first);
    starts |= others_start | groups::<NUMBERS>(w.digits);
    // Symbols take the newlines after them, blanks those in the same run of white space.
    starts |= w.newlines & words << 1;
    starts |= blanks & ((words | others | w.newlines) << 1 | (words | others) >> 1);
    let indents = blanks & w.newlines << 1;
    if indents.wrapping_add(blanks) & !blanks & w.newlines != 0 {
        // Blanks between newlines belong to the piece of the first one: leave that to the scanner.
        last = last.min(indents.trailing_zeros() - 1);
    }
    let apostrophes = w.apostrophes & others_start;
    if apostrophes != 0 {
        starts |= contractions(text, apostrophes, true).1;
    }
    ends(starts, last)
}

/// The masks of 64 bytes by AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
pub fn classify_avx512(text: &[u8; WIDTH]) -> Window {
    use std::arch::x86_64::*;
    // SAFETY: the array is 64 bytes, and the load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(text.as_ptr().cast()) };
    let all = |byte: u8| _mm512_set1_epi8(byte as i8);
    let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, all(byte));
    let between = |bytes: __m512i, low: u8, high: u8| {
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, all(low)), all(high - low))
    };
    let newlines = is(b'\n') | is(b'\r');
    Window {
        letters: between(_mm512_or_si512(bytes, all(0x20)), b'a', b'z'),
        digits: between(bytes, b'0', b'9'),
        spaces: is(b' '),
        tabs: between(bytes, b'\t', b'\r') & !newlines,
        newlines,
        apostrophes: is(b'\''),
        high: _mm512_movepi8_mask(bytes),
        leads: _mm512_cmpge_epu8_mask(bytes, all(0xc0)),
        sure: between(bytes, IDEOGRAPHS.0, IDEOGRAPHS.1) | between(bytes, SYLLABLES.0, SYLLABLES.1),
        unknown: 0,
    }
}

/// The masks of 64 bytes by AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub fn classify_avx2(text: &[u8; WIDTH]) -> Window {
    use std::arch::x86_64::*;
    let (halves, _) = text.as_chunks::<32>();
    // SAFETY: each half is 32 bytes, and the load needs no alignment.
    let load = |half: usize| unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) };
    let bytes = [load(0), load(1)];
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let bits = |bytes: __m256i| u64::from(_mm256_movemask_epi8(bytes) as u32);
    let both = |low: __m256i, high: __m256i| bits(low) | bits(high) << 32;
    let is = |byte: u8| {
        both(
            _mm256_cmpeq_epi8(bytes[0], all(byte)),
            _mm256_cmpeq_epi8(bytes[1], all(byte)),
        )
    };
    let between = |folded: u8, low: u8, high: u8| {
        let one = |bytes: __m256i| {
            let shifted = _mm256_sub_epi8(_mm256_or_si256(bytes, all(folded)), all(low));
            _mm256_cmpeq_epi8(_mm256_min_epu8(shifted, all(high - low)), shifted)
        };
        both(one(bytes[0]), one(bytes[1]))
    };
    let newlines = is(b'\n') | is(b'\r');
    let high = both(bytes[0], bytes[1]);
    let doubled = |bytes: __m256i| _mm256_add_epi8(bytes, bytes);
    // Few texts have such bytes at all.
    let not_below = |bytes| _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, all(IDEOGRAPHS.0)), bytes);
    let either = _mm256_or_si256(not_below(bytes[0]), not_below(bytes[1]));
    let mut sure = 0;
    if _mm256_movemask_epi8(either) != 0 {
        sure = between(0, IDEOGRAPHS.0, IDEOGRAPHS.1) | between(0, SYLLABLES.0, SYLLABLES.1);
    }
    Window {
        letters: between(0x20, b'a', b'z'),
        digits: between(0, b'0', b'9'),
        spaces: is(b' '),
        tabs: between(0, b'\t', b'\r') & !newlines,
        newlines,
        apostrophes: is(b'\''),
        high,
        leads: high & both(doubled(bytes[0]), doubled(bytes[1])),
        sure,
        unknown: 0,
    }
}

/// Writes the places of the bits that are set, counted from `from`. Sixteen at a time, more than most windows have,
/// whether there are as many or not: how often a loop over them would run cannot be foreseen.
#[inline(always)]
pub fn places(mut bits: u64, from: usize, out: &mut [usize; WIDTH]) {
    for sixteen in out.as_chunks_mut::<16>().0 {
        for place in sixteen {
            *place = from + bits.trailing_zeros() as usize;
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
    }
}

/// As [`places`], by AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
pub fn places_avx512(bits: u64, from: usize, out: &mut [usize; WIDTH]) {
    use std::arch::x86_64::*;
    let mut places = curate_text::bits::places_avx512(bits);
    let mut left = bits.count_ones() as usize;
    for sixteen in out.as_chunks_mut::<16>().0 {
        let low = _mm512_castsi512_si128(places);
        let eights = [low, _mm_bsrli_si128::<8>(low)];
        for (eight, out) in eights.into_iter().zip(sixteen.as_chunks_mut::<8>().0) {
            let wide =
                _mm512_add_epi64(_mm512_cvtepu8_epi64(eight), _mm512_set1_epi64(from as i64));
            // SAFETY: the chunk is 64 bytes, and the store needs no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), wide) };
        }
        if left <= 16 {
            break;
        }
        left -= 16;
        places = _mm512_shuffle_i32x4::<0b11_11_10_01>(places, places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LETTER;

    #[test]
    fn all_letters_are_letters() {
        let classes = Classes::new();
        let is_sure = |lead: u8| {
            let mut sure = [IDEOGRAPHS, SYLLABLES].into_iter();
            sure.any(|(low, high)| (low..=high).contains(&lead))
        };
        let characters = (0x80..0x1_0000)
            .filter_map(char::from_u32)
            .map(String::from);
        let sure: Vec<_> = characters.filter(|c| is_sure(c.as_bytes()[0])).collect();
        assert_eq!(sure.len(), 7 * 64 * 64);
        assert!(
            sure.iter()
                .all(|c| classes.at(c.as_bytes(), 0).0 & LETTER != 0)
        );
    }
}
