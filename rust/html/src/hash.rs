//! Hashes of names and words, and two small tables over them. The model was trained on these hashes, so they
//! are fixed for ever.
//!
//! Both tables look at no more than [`PROBES`] places for a key: past that, a key counts as the one in the last
//! place. Real pages never get there; a page made of colliding words stays linear.

const START: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;
const PROBES: usize = 32;

/// FNV-1a over bytes given one by one.
#[derive(Clone, Copy)]
pub struct Fnv(u32);

impl Fnv {
    /// The hash of nothing.
    #[inline]
    pub fn new() -> Self {
        Self(START)
    }

    /// Takes one byte in.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(PRIME);
    }

    /// Takes a whole hash in.
    #[inline]
    pub fn push_hash(&mut self, hash: u32) {
        self.0 = (self.0 ^ hash).wrapping_mul(PRIME);
    }

    /// The hash so far, its high bits folded into the low ones.
    #[inline]
    pub fn finish(self) -> u32 {
        self.0 ^ (self.0 >> 15)
    }

    /// The hash of a byte string.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut hash = Self::new();
        bytes.iter().for_each(|&byte| hash.push(byte));
        hash.finish()
    }
}

/// Five word hashes as one.
#[inline]
pub fn shingle(words: &[u32]) -> u32 {
    let mut hash = words[0];
    for &word in &words[1..5] {
        hash = hash.rotate_left(5).wrapping_mul(0x9E37_79B1) ^ word;
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x85EB_CA6B);
    hash ^ (hash >> 13)
}

/// Gives equal keys equal numbers: 0, 1, 2 … in order of first sight.
#[derive(Default)]
pub struct Numbers {
    slots: Vec<(u32, u32)>,
    len: u32,
}

const FREE: u32 = u32::MAX;

impl Numbers {
    /// Forgets everything, and makes place for `n` keys.
    pub fn reset(&mut self, n: usize) {
        self.slots.clear();
        self.slots
            .resize((n * 2).next_power_of_two().max(64), (0, FREE));
        self.len = 0;
    }

    /// The key's number, and whether it is new.
    #[inline]
    pub fn number(&mut self, key: u32) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut place = spread(key) & mask;
        for _ in 1..PROBES {
            let (held, number) = self.slots[place];
            if number == FREE {
                break;
            }
            if held == key {
                return (number, false);
            }
            place = (place + 1) & mask;
        }
        let (_, number) = self.slots[place];
        if number != FREE {
            return (number, false);
        }
        self.slots[place] = (key, self.len);
        self.len += 1;
        (self.len - 1, true)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

/// Which block holds a key first, and whether another one does too.
#[derive(Default)]
pub struct Owners {
    slots: Vec<(u32, u32)>,
    room: usize,
}

const SHARED: u32 = 1 << 31;

impl Owners {
    /// Forgets everything, and makes place for `n` keys; more are not remembered.
    pub fn reset(&mut self, n: usize) {
        self.slots.clear();
        self.slots
            .resize((n * 2).next_power_of_two().max(64), (0, FREE));
        self.room = n;
    }

    #[inline]
    fn find(&self, key: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = spread(key) & mask;
        for _ in 1..PROBES {
            let (held, owner) = self.slots[place];
            if owner == FREE || held == key {
                break;
            }
            place = (place + 1) & mask;
        }
        place
    }

    /// Whether an earlier block holds the key; `block` holds it from now on.
    #[inline]
    pub fn seen_before(&mut self, key: u32, block: u32) -> bool {
        let place = self.find(key);
        let (_, owner) = self.slots[place];
        if owner == FREE {
            if self.room > 0 {
                self.room -= 1;
                self.slots[place] = (key, block);
            }
            return false;
        }
        let other = owner & !SHARED != block;
        if other {
            self.slots[place].1 |= SHARED;
        }
        other
    }

    /// Whether two blocks hold the key.
    #[inline]
    pub fn shared(&self, key: u32) -> bool {
        let (_, owner) = self.slots[self.find(key)];
        owner != FREE && owner & SHARED != 0
    }
}

#[inline]
fn spread(key: u32) -> usize {
    (u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fixed_for_ever() {
        assert_eq!(Fnv::of(b""), 0x811d9ffc);
        assert_eq!(Fnv::of(b"comment"), 0x67a60b13);
        assert_ne!(Fnv::of(b"comment"), Fnv::of(b"content"));
    }

    #[test]
    fn keys_that_collide_cost_no_more_than_a_few_looks_and_lose_nothing_else() {
        let mut numbers = Numbers::default();
        numbers.reset(100);
        let first: Vec<_> = (0..100).map(|key| numbers.number(key).0).collect();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
        assert_eq!(numbers.number(42), (42, false));
        assert_eq!(numbers.len(), 100);
    }

    #[test]
    fn a_key_is_shared_once_two_blocks_hold_it() {
        let mut owners = Owners::default();
        owners.reset(8);
        assert!(!owners.seen_before(7, 0));
        assert!(!owners.seen_before(7, 0));
        assert!(!owners.shared(7));
        assert!(owners.seen_before(7, 3));
        assert!(owners.shared(7));
    }
}
