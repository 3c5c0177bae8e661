//! What several scanners need of bits and bytes.

/// `LOWEST[n]` has ones in the n lowest bytes.
pub static LOWEST: [u128; 17] = {
    let mut masks = [u128::MAX; 17];
    let mut length = 0;
    while length < 16 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// The places of the bits that are set, a byte each from the lowest on; zeros behind them.
///
/// # Safety
///
/// The processor has the features named here; a caller that is compiled for them need not check.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
pub fn places_avx512(bits: u64) -> std::arch::x86_64::__m512i {
    use std::arch::x86_64::*;
    const ALL: [u8; 64] = {
        let mut all = [0; 64];
        let mut place = 0;
        while place < 64 {
            all[place] = place as u8;
            place += 1;
        }
        all
    };
    // SAFETY: the array is 64 bytes, and the load needs no alignment.
    let all = unsafe { _mm512_loadu_si512(ALL.as_ptr().cast()) };
    _mm512_maskz_compress_epi8(bits, all)
}
