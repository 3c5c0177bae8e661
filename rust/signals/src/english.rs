//! The words of spaCy's English tokenizer, by the patterns and special cases of an installed spaCy.
//!
//! A text is cut at whitespace. From each chunk affixes are taken off, as long as there are any: a prefix, a suffix,
//! both; what is left is a special case ("don't" is do, n't), a URL, or is cut at infixes. Special cases that hold
//! affixes themselves are put together again in a second pass. All of it depends on the chunk alone, so that a memo of
//! chunks is exact.
//!
//! Most chunks are letters of ASCII, with one mark behind or not. Where no pattern can match in such letters, which the
//! automata made of the patterns ([`automaton`]) prove when they are read, these are words without a look at the
//! memo.
//!
//! Chunks of more than [`MOST`] bytes are one word, where spaCy's time grows with their square. Patterns that are no
//! automata and run out of steps match nothing.

mod affixes;
mod automaton;
mod memo;

use std::sync::LazyLock;

use curate_text::bits::LOWEST;
use curate_text::chars::{self, ALPHA, SPACE};
use curate_text::hash::hash_short;
use fancy_regex::{Regex, RegexBuilder};

use self::affixes::{Ends, Starts, Whole};
use self::memo::{Cases, Memo};
use crate::characters::{is_punctuation, is_symbol, is_terminal};
use crate::tokens::hash_word;
use crate::{Error, n_chars};

/// Bytes of the longest chunk that is taken apart.
const MOST: usize = 1024;
/// Steps of a pattern that goes back and tries again.
const STEPS: usize = 100_000;
/// Bytes at either end of a chunk that patterns of affixes are given first.
const WINDOW: usize = 96;
/// Bytes of the longest chunk in the memo.
const MEMO_BYTES: usize = 256;
/// Words of the longest special case, counted as affixes cut it.
const SPECIAL_WORDS: usize = 24;

/// What an installed spaCy says about English.
#[derive(Clone, Debug)]
pub struct EnglishRules {
    /// The patterns of `prefix_search`, `suffix_search`, `infix_finditer` and `url_match`.
    pub prefix: String,
    /// See `prefix`.
    pub suffix: String,
    /// See `prefix`.
    pub infix: String,
    /// See `prefix`.
    pub url: String,
    /// Special cases: a text and the words that it is.
    pub special: Vec<(String, Vec<String>)>,
}

/// The tokenizer, with a memo that fills as texts go by.
#[derive(Debug)]
pub struct English {
    /// Each pattern, and the automata made of it where it has their form.
    prefix: (Regex, Option<Starts>),
    suffix: (Regex, Option<Ends>),
    infix: (Regex, Option<Starts>),
    url: (Regex, Whole),
    special: Cases,
    /// Special cases that affixes would cut: as the words that the first pass makes of them.
    compound: Cases,
    /// First words of those.
    first: Cases,
    /// No pattern matches in letters of ASCII.
    plain_letters: bool,
    /// Marks of ASCII as words, but those that a special case begins with.
    marks: Vec<Option<Word>>,
    memo: Memo,
    /// Words of a chunk, and suffixes: buffers.
    spans: Vec<Span>,
    suffixes: Vec<Span>,
    fresh: Vec<Word>,
}

type Span = (usize, usize);

/// A word of a text, with what measures ask of it, so that a word of the memo is not read again.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Its first byte in the text, and the one after its last.
    pub from: u32,
    /// See `from`.
    pub to: u32,
    /// `hash_bytes` of it.
    pub(crate) hash: u64,
    pub(crate) chars: u32,
    /// It holds more than symbols.
    pub(crate) counts: bool,
    /// It holds a letter.
    pub(crate) alpha: bool,
    /// It is punctuation and nothing else.
    pub(crate) punctuation: bool,
    /// It is one mark that ends sentences.
    pub(crate) mark: bool,
}

/// What a character is to a word.
const COUNTS: u8 = 1;
const LETTER: u8 = 2;
const NO_PUNCTUATION: u8 = 4;

fn kind(code: u32) -> u8 {
    let bit = |is, bit| if is { bit } else { 0 };
    bit(!is_symbol(code), COUNTS)
        | bit(chars::classes(code) & ALPHA != 0, LETTER)
        | bit(!is_punctuation(code), NO_PUNCTUATION)
}

/// Those of ASCII.
static KINDS: LazyLock<[u8; 128]> = LazyLock::new(|| std::array::from_fn(|code| kind(code as u32)));

impl Word {
    pub(crate) fn new(text: &str, from: usize, to: usize) -> Self {
        let word = &text[from..to];
        let (first, chars) = (word.chars().next(), n_chars(word.as_bytes()) as u32);
        let kinds = if chars as usize == word.len() {
            let kinds = &*KINDS;
            word.bytes().fold(0, |all, byte| all | kinds[byte as usize])
        } else {
            word.chars().fold(0, |all, c| all | kind(c as u32))
        };
        Self {
            from: from as u32,
            to: to as u32,
            hash: hash_word(text.as_bytes(), from..to),
            chars,
            counts: kinds & COUNTS != 0,
            alpha: kinds & LETTER != 0,
            punctuation: kinds & NO_PUNCTUATION == 0,
            mark: chars == 1 && first.is_some_and(|c| is_terminal(c as u32)),
        }
    }

    /// The word of a chunk that begins `places` bytes further on.
    fn moved(self, places: u32) -> Self {
        Self {
            from: self.from + places,
            to: self.to + places,
            ..self
        }
    }
}

impl English {
    /// Reads the patterns; Error names the one that is none.
    pub fn new(rules: &EnglishRules) -> Result<Self, Error> {
        let pattern = |name: &'static str, pattern: &str| {
            let built = RegexBuilder::new(pattern).backtrack_limit(STEPS).build();
            built.map_err(|error| Error::Pattern {
                name,
                message: error.to_string(),
            })
        };
        let special = || {
            let cases = rules.special.iter();
            cases.map(|(key, words)| (key.clone(), words.clone()))
        };
        let mut made = Self {
            prefix: (
                pattern("prefix", &rules.prefix)?,
                Starts::new(&rules.prefix, true),
            ),
            suffix: (pattern("suffix", &rules.suffix)?, Ends::new(&rules.suffix)),
            infix: (
                pattern("infix", &rules.infix)?,
                Starts::new(&rules.infix, false),
            ),
            url: (pattern("url", &rules.url)?, Whole::new(&rules.url)),
            special: Cases::new(special()),
            compound: Cases::new([]),
            first: Cases::new([]),
            plain_letters: false,
            marks: vec![],
            memo: Memo::default(),
            spans: vec![],
            suffixes: vec![],
            fresh: vec![],
        };
        made.plain_letters = made.are_letters_plain();
        let mut compound = vec![];
        for (key, _) in &rules.special {
            let cut = made.prefix_length(key) > 0
                || made.suffix_length(key) > 0
                || made.infix.0.is_match(key).unwrap_or(false)
                || key.contains(' ');
            if cut {
                let mut spans = vec![];
                made.affixes(key, false, &mut spans, &mut vec![]);
                let words: Vec<_> = spans
                    .iter()
                    .map(|&(from, to)| key[from..to].to_owned())
                    .collect();
                if !words.is_empty() {
                    compound.push((key.clone(), words));
                }
            }
        }
        made.first = Cases::new(compound.iter().map(|(_, words)| (words[0].clone(), vec![])));
        made.compound = Cases::new(compound);
        let marks = (0..128).map(char::from).map(|mark| {
            let mark = mark.is_ascii_punctuation().then(|| mark.to_string())?;
            let free = made.first.get(&mark).is_none();
            free.then(|| Word::new(&mark, 0, 1))
        });
        made.marks = marks.collect();
        Ok(made)
    }

    /// Whether the automata show that no pattern has a match in a text of letters of ASCII alone.
    fn are_letters_plain(&self) -> bool {
        let letters = (b'a'..=b'z').chain(b'A'..=b'Z');
        let (prefix, suffix, infix) = (&self.prefix.1, &self.suffix.1, &self.infix.1);
        let starts = |starts: &Option<Starts>| {
            let starts = starts.as_ref();
            starts.is_some_and(|starts| !starts.can_match(letters.clone()))
        };
        let suffix = suffix.as_ref();
        starts(prefix)
            && starts(infix)
            && suffix.is_some_and(|suffix| !suffix.can_match(letters.clone()))
            && !self.url.1.can_match(letters)
    }

    /// The words of a text; whitespace is none.
    pub fn words(&mut self, text: &str, found: &mut Vec<Word>) {
        found.clear();
        let bytes = text.as_bytes();
        let mut end = 0;
        loop {
            let start = end + length_of(&bytes[end..], true);
            if let Some(next) = self.plain_chunk(text, start, found) {
                end = next;
                continue;
            }
            end = start + length_of(&bytes[start..], false);
            if start == end {
                return;
            }
            self.chunk(text, start, end, found);
        }
    }

    /// Takes the chunk at a place where it is fewer than 16 letters, or those and a mark that is a suffix, and no
    /// special case is about; returns its end.
    #[inline(always)]
    fn plain_chunk(&self, text: &str, start: usize, found: &mut Vec<Word>) -> Option<usize> {
        let bytes = text.as_bytes();
        let both = u128::from_le_bytes(*bytes[start..].first_chunk::<17>()?.first_chunk()?);
        let length = letters(both);
        if !(1..16).contains(&length) || !self.plain_letters {
            return None;
        }
        let end = start + length;
        let word = both & LOWEST[length];
        let hash = hash_short(word as u64, (word >> 64) as u64, length);
        let next = bytes[end];
        let mut mark = None;
        if !is_space(next) {
            let whole = both & LOWEST[length + 1];
            let whole = hash_short(whole as u64, (whole >> 64) as u64, length + 1);
            mark = Some((*self.marks.get(next as usize)?)?);
            if !bytes.get(end + 1).is_some_and(|&byte| is_space(byte))
                || self.special.may_have(whole)
                || self.first.may_have(hash)
            {
                return None;
            }
            let part = &text[start..=end];
            if self.prefix_length(part) > 0 || self.suffix_length(part) != 1 {
                return None;
            }
        }
        if self.special.may_have(hash) {
            return None;
        }
        found.push(Word {
            from: start as u32,
            to: end as u32,
            hash,
            chars: length as u32,
            counts: true,
            alpha: true,
            punctuation: false,
            mark: false,
        });
        let Some(mark) = mark else {
            return Some(end);
        };
        found.push(mark.moved(end as u32));
        Some(end + 1)
    }

    fn chunk(&mut self, text: &str, start: usize, end: usize, found: &mut Vec<Word>) {
        if end - start > MOST {
            found.push(Word::new(text, start, end));
            return;
        }
        let hash = hash_word(text.as_bytes(), start..end).max(1);
        if let Some(words) = self.memo.get(hash) {
            found.extend(words.iter().map(|word| word.moved(start as u32)));
            return;
        }
        let chunk = &text[start..end];
        let mut spans = std::mem::take(&mut self.spans);
        let mut suffixes = std::mem::take(&mut self.suffixes);
        self.take_apart(chunk, &mut spans, &mut suffixes);
        let word = |&(from, to): &Span| Word::new(chunk, from, to);
        self.fresh.clear();
        self.fresh.extend(spans.iter().map(word));
        (self.spans, self.suffixes) = (spans, suffixes);
        if chunk.len() <= MEMO_BYTES {
            self.memo.put(hash, &self.fresh);
        }
        found.extend(self.fresh.iter().map(|word| word.moved(start as u32)));
    }

    /// Both passes over a chunk.
    fn take_apart(&self, chunk: &str, spans: &mut Vec<Span>, suffixes: &mut Vec<Span>) {
        spans.clear();
        self.affixes(chunk, true, spans, suffixes);
        let word = |span: Span| &chunk[span.0..span.1];
        if spans.len() < 2
            || !spans
                .iter()
                .any(|&span| self.first.get(word(span)).is_some())
        {
            return;
        }
        let mut candidates = vec![];
        for from in 0..spans.len() {
            if self.first.get(word(spans[from])).is_none() {
                continue;
            }
            for to in from + 1..=spans.len().min(from + SPECIAL_WORDS) {
                let whole = &chunk[spans[from].0..spans[to - 1].1];
                let same = |words: &[String]| {
                    words.len() == to - from
                        && spans[from..to]
                            .iter()
                            .zip(words)
                            .all(|(&s, w)| word(s) == w)
                };
                if self.compound.get(whole).is_some_and(same) {
                    candidates.push((from, to));
                }
            }
        }
        // The longest first, of equals the leftmost; none overlaps another, be that one taken or not.
        candidates.sort_by_key(|&(from, to)| (std::cmp::Reverse(to - from), from));
        let mut taken = vec![false; spans.len()];
        let mut kept = vec![];
        for (from, to) in candidates {
            if !taken[from] && !taken[to - 1] {
                kept.push((from, to));
            }
            taken[from..to].fill(true);
        }
        kept.sort_unstable();
        let (mut joined, mut next) = (vec![], 0);
        for (from, to) in kept {
            joined.extend_from_slice(&spans[next..from]);
            let start = spans[from].0;
            self.special_case(&chunk[start..spans[to - 1].1], start, &mut joined);
            next = to;
        }
        joined.extend_from_slice(&spans[next..]);
        *spans = joined;
    }

    /// The first pass. Without `special` no special case is looked for.
    fn affixes(&self, chunk: &str, special: bool, spans: &mut Vec<Span>, suffixes: &mut Vec<Span>) {
        suffixes.clear();
        if special && self.special_case(chunk, 0, spans) {
            return;
        }
        let is_special = |part: &str| special && self.special.get(part).is_some();
        let (mut from, mut to) = (0, chunk.len());
        let mut before = usize::MAX;
        while from < to && to - from != before {
            let part = &chunk[from..to];
            if is_special(part) {
                break;
            }
            before = to - from;
            let prefix = self.prefix_length(part);
            if prefix > 0 && prefix < part.len() && is_special(&part[prefix..]) {
                spans.push((from, from + prefix));
                from += prefix;
                break;
            }
            let suffix = self.suffix_length(&part[prefix..]);
            if suffix > 0 && suffix < part.len() && is_special(&part[..part.len() - suffix]) {
                suffixes.push((to - suffix, to));
                to -= suffix;
                break;
            }
            if prefix > 0 {
                spans.push((from, from + prefix));
                from += prefix;
            }
            if suffix > 0 && from + suffix <= to {
                suffixes.push((to - suffix, to));
                to -= suffix;
            }
        }
        if from < to {
            self.stem(chunk, (from, to), special, spans);
        }
        spans.extend(suffixes.iter().rev());
    }

    /// What is left when all affixes are off.
    fn stem(&self, chunk: &str, (from, to): Span, special: bool, spans: &mut Vec<Span>) {
        let part = &chunk[from..to];
        if special && self.special_case(part, from, spans) {
            return;
        }
        if self.url.1.is_match(part, &self.url.0) {
            spans.push((from, to));
            return;
        }
        let mut start = 0;
        self.infixes(part, |infix, end| {
            if infix == 0 {
                return;
            }
            if infix > start {
                spans.push((from + start, from + infix));
            }
            if infix < end {
                spans.push((from + infix, from + end));
            }
            start = end;
        });
        if start < part.len() {
            spans.push((from + start, to));
        }
    }

    /// The infixes of a part in order.
    fn infixes(&self, part: &str, mut emit: impl FnMut(usize, usize)) {
        let (pattern, automata) = &self.infix;
        if let Some(automata) = automata {
            automata.all(part, emit);
            return;
        }
        for infix in pattern.find_iter(part).map_while(Result::ok) {
            emit(infix.start(), infix.end());
        }
    }

    fn special_case(&self, part: &str, base: usize, spans: &mut Vec<Span>) -> bool {
        let Some(words) = self.special.get(part) else {
            return false;
        };
        let mut start = base;
        for word in words {
            spans.push((start, start + word.len()));
            start += word.len();
        }
        true
    }

    /// Bytes of the prefix.
    fn prefix_length(&self, part: &str) -> usize {
        let (pattern, automata) = &self.prefix;
        if let Some(automata) = automata {
            return automata.at(part, 0).unwrap_or(0);
        }
        let window = &part[..part.floor_char_boundary(WINDOW)];
        let end = |text: &str| {
            pattern
                .find(text)
                .ok()
                .flatten()
                .map_or(0, |found| found.end())
        };
        match end(window) {
            length if length + 16 > window.len() && window.len() < part.len() => end(part),
            length => length,
        }
    }

    /// Bytes of the suffix.
    fn suffix_length(&self, part: &str) -> usize {
        let (pattern, automata) = &self.suffix;
        if let Some(automata) = automata {
            return automata.longest(part);
        }
        let cut = part.ceil_char_boundary(part.len().saturating_sub(WINDOW));
        let start = |text: &str| {
            pattern
                .find(text)
                .ok()
                .flatten()
                .map_or(text.len(), |found| found.start())
        };
        let window = &part[cut..];
        match start(window) {
            place if place < 16 && cut > 0 => part.len() - start(part),
            place => window.len() - place,
        }
    }
}

/// In every byte: 1, the highest bit, the bit that makes letters small.
const ONES: u128 = u128::MAX / 0xFF;
const HIGHS: u128 = ONES << 7;
const SMALL: u128 = ONES << 5;

/// How many bytes are letters of ASCII, from the lowest on.
#[inline]
fn letters(bytes: u128) -> usize {
    let small = (bytes | SMALL) & !HIGHS;
    // No byte comes to more than 9E, so that none reaches into the next.
    let from_a = small + ONES * (0x80 - b'a' as u128);
    let after_z = small + ONES * (0x7F - b'z' as u128);
    let others = (bytes | after_z | !from_a) & HIGHS;
    others.trailing_zeros() as usize / 8
}

/// Whether a byte of ASCII is whitespace.
#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, 9..=13 | 0x1C..=0x20)
}

/// Bytes from the beginning that are whitespace, or that are none.
fn length_of(bytes: &[u8], space: bool) -> usize {
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let (is_space, length) = match byte {
            0..0x80 => (is_space(byte), 1),
            _ => {
                let (code, length) = chars::decode(bytes, place);
                (chars::classes(code) & SPACE != 0, length)
            }
        };
        if is_space != space {
            break;
        }
        place += length;
    }
    place
}

#[cfg(test)]
mod tests;
