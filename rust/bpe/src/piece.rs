//! Pieces as table keys: up to 15 bytes fit in one 128-bit number, length in the top byte, so that nine in
//! ten lookups compare two registers and touch one cache line. Longer pieces go by hash and bytes.

use curate_text::bits::LOWEST;

/// The longest piece that is a key in itself.
pub const INLINE: usize = 15;

/// The bytes of a piece of up to [`INLINE`] from the lowest on, and in the others whatever follows it in the text.
#[inline(always)]
pub fn first_bytes(text: &[u8], start: usize, end: usize) -> u128 {
    debug_assert!(end - start <= INLINE);
    if let Some(window) = text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
        return u128::from_le_bytes(*window);
    }
    let mut window = [0; 16];
    window[..end - start].copy_from_slice(&text[start..end]);
    u128::from_le_bytes(window)
}

/// The key of a piece of 1 to 15 bytes: its bytes from the lowest, zeros, and the length in the top byte.
#[inline(always)]
pub fn inline_key(text: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    first_bytes(text, start, end) & LOWEST[length & INLINE] | (length as u128) << 120
}

/// Mixes a key into 64 bits whose upper bits are good: one wide multiplication, folded.
#[inline(always)]
pub fn hash_inline(key: u128, seed: u64) -> u64 {
    fold(
        key as u64 ^ seed,
        (key >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15,
    )
}

/// The hash of a longer piece, eight bytes a step.
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), 0xd6e8_feb8_6659_fd93);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(last), 0xa076_1d64_78bd_642f)
}

/// The two halves of a 64 x 64 bit product, xored.
#[inline(always)]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Asks for the cache line of `slots[index]`, so that it arrives while other pieces are being scanned.
#[inline(always)]
pub fn prefetch<T>(slots: &[T], index: usize) {
    if let Some(slot) = slots.get(index) {
        prefetch_line(std::ptr::from_ref(slot));
    }
}

/// Asks for the cache line of an address, which may be any.
#[inline(always)]
pub fn prefetch_line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing into the program and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Finds tokens by their bytes: an open-addressing table of ids over a vocabulary that is kept elsewhere.
pub struct TokenIndex {
    ids: Vec<u32>,
    used: usize,
}

const EMPTY: u32 = u32::MAX;

impl TokenIndex {
    /// An index with room for about `tokens` tokens; it grows as needed.
    pub fn with_capacity(tokens: usize) -> Self {
        Self {
            ids: vec![EMPTY; (tokens * 2).next_power_of_two().max(64)],
            used: 0,
        }
    }

    /// The id of the token that has these bytes.
    pub fn find(&self, vocab: &Vocab, bytes: &[u8]) -> Option<u32> {
        let id = self.ids[self.slot(vocab, bytes)];
        (id != EMPTY).then_some(id)
    }

    /// Adds a token of `vocab`; where its bytes are known already, the earlier id stays.
    pub fn insert(&mut self, vocab: &Vocab, id: u32) {
        if self.used * 2 >= self.ids.len() {
            let mut larger = Self::with_capacity(self.ids.len());
            for &known in self.ids.iter().filter(|&&known| known != EMPTY) {
                larger.insert(vocab, known);
            }
            *self = larger;
        }
        let slot = self.slot(vocab, vocab.token(id));
        if self.ids[slot] == EMPTY {
            self.ids[slot] = id;
            self.used += 1;
        }
    }

    fn slot(&self, vocab: &Vocab, bytes: &[u8]) -> usize {
        let mask = self.ids.len() - 1;
        let mut slot = hash_bytes(bytes, 0) as usize & mask;
        while self.ids[slot] != EMPTY && vocab.token(self.ids[slot]) != bytes {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// The bytes of every token: token i is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocab {
    /// All tokens, one after the other.
    pub bytes: Vec<u8>,
    /// Where each begins, and at last where the last one ends.
    pub offsets: Vec<i64>,
}

impl Default for Vocab {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl Vocab {
    /// Adds a token and gives its id.
    pub fn push(&mut self, token: &[u8]) -> u32 {
        self.bytes.extend_from_slice(token);
        self.offsets.push(self.bytes.len() as i64);
        self.len() as u32 - 1
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one token; `id` must be below `len`.
    #[inline]
    pub fn token(&self, id: u32) -> &[u8] {
        let id = id as usize;
        &self.bytes[self.offsets[id] as usize..self.offsets[id + 1] as usize]
    }
}
