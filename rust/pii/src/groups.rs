//! Groups of digits, and what sets them apart.

const MAX_GROUPS: usize = 12;
const MAX_DIGITS: usize = 40;

/// Bytes and kind of what sets two groups apart: one sign, or two with a parenthesis among them (kind `(`).
#[inline]
pub fn gap(text: &[u8], place: usize) -> Option<(usize, u8)> {
    let rest = &text[place..];
    let is_sign = |byte: u8| b" -./()".contains(&byte);
    match *rest {
        [b'(' | b')', next, ..] => Some((1 + usize::from(is_sign(next)), b'(')),
        [first, b'(' | b')', ..] if is_sign(first) => Some((2, b'(')),
        [first, ..] if is_sign(first) => Some((1, first)),
        [0xC2, 0xA0, ..] => Some((2, b' ')), // no-break space
        [0xE2, 0x80, 0x90 | 0x91, ..] => Some((3, b'-')), // hyphens of Unicode
        _ => None,
    }
}

/// Groups of digits with what sets them apart.
#[derive(Default)]
pub struct Groups {
    /// First byte and end of each group.
    bounds: [(usize, usize); MAX_GROUPS],
    /// How many groups.
    pub count: usize,
    /// Kind of the gap behind each group.
    gaps: [u8; MAX_GROUPS],
    digits: [u8; MAX_GROUPS],
    all: Digits,
}

/// The digits of all groups, without what sets them apart.
struct Digits {
    values: [u8; MAX_DIGITS],
    count: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self {
            values: [0; MAX_DIGITS],
            count: 0,
        }
    }
}

impl Groups {
    /// The groups in `place..end`; None where they are too many for a number of any kind.
    pub fn read(text: &[u8], mut place: usize, end: usize) -> Option<Self> {
        let mut groups = Self::default();
        loop {
            let length = text[place..end]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let next = place + length;
            let (space, kind) = if next < end { gap(text, next)? } else { (0, 0) };
            groups.push(&text[place..next], place, kind)?;
            if next == end {
                return Some(groups);
            }
            place = next + space;
        }
    }

    fn push(&mut self, group: &[u8], start: usize, gap: u8) -> Option<()> {
        let all = &mut self.all;
        all.values
            .get_mut(all.count..all.count + group.len())?
            .copy_from_slice(group);
        all.count += group.len();
        *self.bounds.get_mut(self.count)? = (start, start + group.len());
        self.digits[self.count] = group.len() as u8;
        self.gaps[self.count] = gap;
        self.count += 1;
        Some(())
    }

    /// Digits of each group.
    pub fn shape(&self) -> &[u8] {
        &self.digits[..self.count]
    }

    /// Kinds of the gaps between groups.
    pub fn gaps(&self) -> &[u8] {
        &self.gaps[..self.count - 1]
    }

    /// Whether all gaps are of one kind, and of these.
    pub fn evenly(&self, kinds: &[u8]) -> bool {
        let gaps = self.gaps();
        gaps.iter()
            .all(|gap| *gap == gaps[0] && kinds.contains(gap))
    }

    /// The digits of all groups, as text.
    pub fn digits(&self) -> &[u8] {
        &self.all.values[..self.all.count]
    }

    /// The first byte.
    pub fn start(&self) -> usize {
        self.bounds[0].0
    }

    /// The place behind the last byte.
    pub fn end(&self) -> usize {
        self.bounds[self.count - 1].1
    }
}
