//! Numbers in groups of digits: payment cards, US social security numbers, phone numbers.
//!
//! One walk takes the groups that spaces, hyphens, full stops, parentheses or slashes set apart and goes on behind the
//! last of them, so that a table of numbers is walked once.
//!
//! ```text
//! card   12 to 19 digits, the prefix and length of a network, Luhn's check digit, one kind of separator
//! ssn    3-2-4 digits set apart by hyphens (by spaces after the words for it), in the ranges that were given out
//! phone  strong forms: + and 8 to 15 digits, (area) number, 3-3-4 as in North America, national forms with 0;
//!        weak forms, as 3-4 or ten digits, only beside a word such as "phone" or "call"
//! ```

use crate::context::{Words, after, before, character_before, joins};
use crate::ip::looks_like_v4;
use crate::{Hit, Kind, Kinds, phone};

const MAX_GROUPS: usize = 12;
const MAX_DIGITS: usize = 40;
/// Bytes of the longest number of any kind, with what sets its groups apart.
const MAX_BYTES: usize = 48;
/// Bytes of a card number in groups of four.
const CARD_BYTES: usize = 19;
/// Bytes before a number in which a word may say that it is a phone number.
const WINDOW: usize = 40;
static PHONE_WORDS: Words = Words::new(&[
    "phone",
    "telephone",
    "tel",
    "ph:",
    "call",
    "fax",
    "mobile",
    "cell",
    "contact",
    "whatsapp",
    "dial",
    "text me",
    "hotline",
    "helpline",
    "reach me",
    "reach us",
    "answering at",
    "messages to",
    "my number",
    "her number",
    "his number",
    "desk:",
    "office:",
    "sms",
    "telefon",
    "telefono",
    "teléfono",
    "telefone",
    "téléphone",
    "handy",
    "móvil",
    "cellulare",
    "тел",
    "电话",
    "電話",
]);
/// The same, behind a number.
static PHONE_WORDS_BEHIND: Words = Words::new(&["office", "fax", "mobile", "cell", "phone"]);
/// Words before numbers of other kinds.
static OTHER_WORDS: Words = Words::new(&[
    "isbn", "issn", "isni", "orcid", "doi", "pmid", "oclc", "ean", "iva", "vat", "ust", "steuer",
    "siret", "siren", "cnpj", "cpf", "инн", "огрн", "kvk", "abn", "order", "invoice", "konto",
]);
static SSN_WORDS: Words = Words::new(&["ssn", "social security", "social sec", "ss#"]);
/// Signs of money, before or behind an amount.
const MONEY: [char; 9] = ['$', '£', '€', '¥', '₹', '₽', '₩', '¢', '%'];

/// Looks at the groups of digits from `place` on, pushes what they are, and returns where to go on.
pub(crate) fn at(
    text: &[u8],
    place: usize,
    floor: usize,
    kinds: Kinds,
    hits: &mut Vec<Hit>,
) -> usize {
    let (end, digits) = extent(text, place);
    if digits < 7 {
        return end;
    }
    let judge = Judge { text, floor, kinds };
    // A space may set two numbers apart: "1998 212-555-0143 4111 1111 1111 1111". From each place on, the longest is
    // tried first: all that is left, up to the next area in parentheses, a card, up to the next space.
    let (mut begin, mut area, mut fresh) = (place, place, true);
    while begin < end {
        if area <= begin {
            area = cut(text, begin, end, opens_area);
        }
        let space = cut(text, begin, end, is_space);
        // Four groups of four digits are a card, whatever comes behind.
        let card = if end - begin > CARD_BYTES && text[begin + 4] == b' ' {
            begin + CARD_BYTES
        } else {
            space
        };
        // Behind a group that is no number a long one does not begin: it would be the rest of another.
        let stops = if fresh {
            [end, area, card, space]
        } else {
            [card, card, card, space]
        };
        let found = (0..stops.len())
            .filter(|&i| {
                !stops[..i].contains(&stops[i]) && (7..=MAX_BYTES).contains(&(stops[i] - begin))
            })
            .find_map(|i| {
                let hit = judge.hit(begin, stops[i])?;
                let fits = fresh || stops[i] == space || hit.kind == Kind::Card;
                fits.then_some((hit, stops[i]))
            });
        let found = found.or_else(|| {
            let plus = fresh && begin > floor && text[begin - 1] == b'+';
            plus.then(|| international(&judge, begin, end)).flatten()
        });
        let stop = found.map_or(space, |(_, stop)| stop);
        fresh = found.is_some() || stop == area;
        hits.extend(found.map(|(hit, _)| hit));
        begin = stop
            + if stop < end {
                gap(text, stop).map_or(1, |(length, _)| length)
            } else {
                0
            };
    }
    hits.last().map_or(end, |hit| hit.end.max(end))
}

/// The longest number from `begin` on, behind a `+`, that ends at a space, and where it ends.
fn international(judge: &Judge<'_>, begin: usize, end: usize) -> Option<(Hit, usize)> {
    let mut longest = None;
    let mut stop = begin;
    while stop < end && stop - begin <= MAX_BYTES {
        stop = cut(judge.text, stop + 1, end, is_space);
        longest = judge.hit(begin, stop).map(|hit| (hit, stop)).or(longest);
    }
    longest
}

/// Whether a space, or a no-break one, stands at `place`.
fn is_space(text: &[u8], place: usize) -> bool {
    matches!(text[place], b' ' | 0xC2)
}

/// Whether the gap at `place` is a space and the parenthesis of an area of two digits or more.
fn opens_area(text: &[u8], place: usize) -> bool {
    text[place] == b' ' && text.get(place + 1) == Some(&b'(') && digits_at(text, place + 2) > 1
}

/// The first gap behind the group at `place` that `cuts` chooses; `end` where there is none.
fn cut(text: &[u8], mut place: usize, end: usize, cuts: impl Fn(&[u8], usize) -> bool) -> usize {
    loop {
        place += digits_at(text, place);
        if place >= end || cuts(text, place) {
            return place.min(end);
        }
        place += gap(text, place).map_or(1, |(length, _)| length);
    }
}

/// Digits that stand at `place`.
#[inline]
fn digits_at(text: &[u8], place: usize) -> usize {
    text[place..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

/// Where the groups of digits that begin at `place` end, and how many digits they have. Behind a space an IPv4 address
/// is none of them.
#[inline]
fn extent(text: &[u8], mut place: usize) -> (usize, usize) {
    let mut digits = 0;
    loop {
        let begin = place;
        while text.get(place).is_some_and(u8::is_ascii_digit) {
            place += 1;
        }
        digits += place - begin;
        let next = gap(text, place)
            .filter(|(length, _)| text.get(place + length).is_some_and(u8::is_ascii_digit));
        match next {
            Some((length, kind)) if kind != b' ' || !looks_like_v4(text, place + length) => {
                place += length
            }
            _ => return (place, digits),
        }
    }
}

/// Bytes and kind of what sets two groups apart: one sign, or two with a parenthesis among them (kind `(`).
#[inline]
fn gap(text: &[u8], place: usize) -> Option<(usize, u8)> {
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
pub(crate) struct Groups {
    /// First byte and end of each group.
    bounds: [(usize, usize); MAX_GROUPS],
    count: usize,
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
    fn read(text: &[u8], mut place: usize, end: usize) -> Option<Self> {
        let mut groups = Self::default();
        loop {
            // A stretch that ends inside a gap is none.
            let length = text
                .get(place..end)?
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
    pub(crate) fn shape(&self) -> &[u8] {
        &self.digits[..self.count]
    }

    /// Kinds of the gaps between groups.
    pub(crate) fn gaps(&self) -> &[u8] {
        &self.gaps[..self.count - 1]
    }

    /// Whether all gaps are of one kind, and of these.
    pub(crate) fn evenly(&self, kinds: &[u8]) -> bool {
        let gaps = self.gaps();
        gaps.iter()
            .all(|gap| *gap == gaps[0] && kinds.contains(gap))
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.all.values[..self.all.count]
    }

    fn start(&self) -> usize {
        self.bounds[0].0
    }

    fn end(&self) -> usize {
        self.bounds[self.count - 1].1
    }
}

/// What decides on groups of digits of a text.
struct Judge<'t> {
    text: &'t [u8],
    floor: usize,
    kinds: Kinds,
}

impl Judge<'_> {
    /// What the groups in `start..end` are.
    fn hit(&self, start: usize, end: usize) -> Option<Hit> {
        let groups = &Groups::read(self.text, start, end)?;
        if groups.all.count < 7 || !self.stands_alone(groups) {
            return None;
        }
        if self.kinds.has(Kind::Card) && self.is_card(groups) {
            return Some(Hit {
                kind: Kind::Card,
                start: groups.start(),
                end: groups.end(),
            });
        }
        if self.kinds.has(Kind::Ssn) && self.is_ssn(groups) {
            return Some(Hit {
                kind: Kind::Ssn,
                start: groups.start(),
                end: groups.end(),
            });
        }
        self.kinds
            .has(Kind::Phone)
            .then(|| self.phone(groups))
            .flatten()
    }

    /// Whether the number is no part of a name, a longer number, an amount or a path.
    fn stands_alone(&self, groups: &Groups) -> bool {
        let (text, start, end) = (self.text, groups.start(), groups.end());
        let is_digit =
            |place: Option<usize>| place.is_some_and(|place| text[place].is_ascii_digit());
        if let Some(code) = character_before(text, start) {
            let sign = char::from_u32(code).unwrap_or(' ');
            let before = start.checked_sub(2);
            let joined = match sign {
                '.' | ',' => is_digit(before),
                '-' => before.is_some_and(|place| text[place].is_ascii_alphanumeric()),
                '#' | '/' | '\\' => true,
                '0'..='9' => true,
                _ => joins(code) || MONEY.contains(&sign),
            };
            if joined {
                return false;
            }
        }
        let rest = &text[end..];
        match *rest {
            [b'x' | b'X', next, ..] if next.is_ascii_digit() => true,
            [byte, ..] if byte.is_ascii_alphanumeric() || b"_%$".contains(&byte) => false,
            [b',', next, ..] if next.is_ascii_digit() => groups.count > 1,
            [b'/' | b'-' | b'.', next, ..] if next.is_ascii_digit() => false,
            // The text is UTF-8, and groups end between characters.
            [byte, ..] if byte >= 0x80 => {
                let (code, _) = curate_text::chars::decode(rest, 0);
                !joins(code) && !MONEY.contains(&char::from_u32(code).unwrap_or(' '))
            }
            _ => true,
        }
    }

    /// Whether `+` or `(` stands right before the number, at the beginning of a word.
    fn opens_with(&self, groups: &Groups, sign: u8) -> bool {
        let Some(place) = groups
            .start()
            .checked_sub(1)
            .filter(|&place| place >= self.floor)
        else {
            return false;
        };
        let apart = place == 0
            || !(self.text[place - 1].is_ascii_alphanumeric()
                || b"+/".contains(&self.text[place - 1]));
        self.text[place] == sign && apart
    }

    fn is_card(&self, groups: &Groups) -> bool {
        let digits = groups.digits();
        if !is_network(digits) || !luhn(digits) || self.opens_with(groups, b'+') {
            return false;
        }
        let shape = groups.shape();
        let grouped = (3..=5).contains(&shape.len())
            && groups.evenly(b" -")
            && shape[..shape.len() - 1]
                .iter()
                .all(|length| (4..=6).contains(length));
        (shape.len() == 1 || grouped) && !before(self.text, groups.start(), 16, &OTHER_WORDS)
    }

    fn is_ssn(&self, groups: &Groups) -> bool {
        if groups.shape() != [3, 2, 4] || !groups.evenly(b"- ") {
            return false;
        }
        let digits = groups.digits();
        let given = !digits.starts_with(b"000")
            && !digits.starts_with(b"666")
            && digits[0] != b'9'
            && &digits[3..5] != b"00"
            && &digits[5..] != b"0000";
        given && (groups.evenly(b"-") || before(self.text, groups.start(), WINDOW, &SSN_WORDS))
    }

    fn phone(&self, groups: &Groups) -> Option<Hit> {
        let digits = groups.digits();
        if groups.gaps().contains(&b'/') || groups.count > 7 || digits.len() > 16 {
            return None;
        }
        let (plus, open) = (self.opens_with(groups, b'+'), self.opens_with(groups, b'('));
        let strong = if plus {
            phone::is_international(groups)
        } else {
            phone::is_national(groups) || open && phone::has_area(groups)
        };
        if !(strong || !plus && phone::is_weak(groups) && self.is_said_to_be_phone(groups)) {
            return None;
        }
        if before(self.text, groups.start(), 16, &OTHER_WORDS) {
            return None;
        }
        let closes = open && groups.gaps().first() == Some(&b'(');
        Some(Hit {
            kind: Kind::Phone,
            start: groups.start() - usize::from(plus || closes),
            end: self.extension(groups.end()),
        })
    }

    fn is_said_to_be_phone(&self, groups: &Groups) -> bool {
        // "12345 is her number" comes close behind; before it the words may stand further away.
        before(self.text, groups.start(), WINDOW, &PHONE_WORDS)
            || after(self.text, groups.end(), 8, &PHONE_WORDS_BEHIND)
    }

    /// The end of a number with its extension: `x123`, ` ext. 123`.
    fn extension(&self, end: usize) -> usize {
        let rest = &self.text[end..];
        for sign in ["x", "X", " x", " ext", ", ext", " Ext", ", Ext"] {
            let Some(more) = rest.strip_prefix(sign.as_bytes()) else {
                continue;
            };
            let stops = more
                .iter()
                .take(2)
                .take_while(|byte| b". ".contains(byte))
                .count();
            let digits = more[stops..]
                .iter()
                .take(7)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if (1..=6).contains(&digits) {
                return end + sign.len() + stops + digits;
            }
        }
        end
    }
}

// -- cards --------------------------------------------------------------------------------------------------

/// Whether a number has the prefix and the length of a card network.
fn is_network(digits: &[u8]) -> bool {
    if !(12..=19).contains(&digits.len()) {
        return false;
    }
    let prefix = |length: usize| {
        digits[..length]
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
    };
    match (prefix(4), digits.len()) {
        (4000..=4999, 13 | 16 | 19) => true,
        (5100..=5599 | 2221..=2720, 16) => true,
        (3400..=3499 | 3700..=3799 | 2131 | 1800, 15) => true,
        (3000..=3059 | 3095 | 3600..=3699 | 3800..=3999, 14) => true,
        (3500..=3599, 16) => true,
        (6011 | 6200..=6299 | 6440..=6599, 16..=19) => true,
        // Maestro
        (5000..=5099 | 5600..=5999 | 6000..=6999, 12..=19) => true,
        _ => false,
    }
}

/// Luhn's sum of digits, the last of them the check digit.
pub(crate) fn luhn_sum(digits: &[u8]) -> u32 {
    digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') << (place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum()
}

/// Luhn's check of the last digit; a number of one digit repeated is none.
fn luhn(digits: &[u8]) -> bool {
    luhn_sum(digits).is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}
