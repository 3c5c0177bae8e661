//! Counts by pair of symbols, and the new pairs that a merge makes, for training.

/// No entry.
const NONE: u32 = u32::MAX;

/// Two ids as one key, the left one on top.
#[inline(always)]
pub fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// 64-bit counts by pair: an open-addressing table of entry numbers, the entries in order of arrival.
pub struct PairCounts {
    table: Vec<u32>,
    pub keys: Vec<u64>,
    pub counts: Vec<i64>,
}

impl PairCounts {
    pub fn new() -> Self {
        Self {
            table: vec![NONE; 1 << 12],
            keys: Vec::new(),
            counts: Vec::new(),
        }
    }

    #[inline(always)]
    fn slot(&self, key: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.table[at] != NONE && self.keys[self.table[at] as usize] != key {
            at = (at + 1) & mask;
        }
        at
    }

    #[inline(always)]
    pub fn find(&self, key: u64) -> Option<usize> {
        let entry = self.table[self.slot(key)];
        (entry != NONE).then_some(entry as usize)
    }

    /// The entry of a pair, and whether it was made just now, with count 0.
    #[inline(always)]
    pub fn entry(&mut self, key: u64) -> (usize, bool) {
        let mut slot = self.slot(key);
        if self.table[slot] != NONE {
            return (self.table[slot] as usize, false);
        }
        if (self.keys.len() + 1) * 2 > self.table.len() {
            self.table = vec![NONE; self.table.len() * 2];
            for entry in 0..self.keys.len() {
                let slot = self.slot(self.keys[entry]);
                self.table[slot] = entry as u32;
            }
            slot = self.slot(key);
        }
        self.table[slot] = self.keys.len() as u32;
        self.keys.push(key);
        self.counts.push(0);
        (self.keys.len() - 1, true)
    }
}

/// The neighbors that a merge met on one side: how often each symbol stood there, and where the new pairs are.
#[derive(Default)]
pub struct Side {
    /// Index into `met`, by symbol; NONE where it was not met.
    pub slot_of: Vec<u32>,
    pub met: Vec<Met>,
    /// (index into `met`, place of the new pair), in the order of the places.
    pub places: Vec<(u32, u32)>,
}

pub struct Met {
    pub symbol: u32,
    pub n_places: u32,
    pub count: i64,
    /// Entry of the new pair, or NONE where it would be too long; then its list, if it is a candidate.
    pub new: u32,
}

impl Side {
    #[inline(always)]
    pub fn note(&mut self, symbol: u32, count: i64, place: u32) {
        let slot = &mut self.slot_of[symbol as usize];
        if *slot == NONE {
            *slot = self.met.len() as u32;
            self.met.push(Met {
                symbol,
                n_places: 0,
                count: 0,
                new: NONE,
            });
        }
        let met = &mut self.met[*slot as usize];
        met.count += count;
        met.n_places += 1;
        self.places.push((*slot, place));
    }
}
