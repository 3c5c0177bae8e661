//! The words of spaCy's English tokenizer, by the patterns and special cases of an installed spaCy.
//!
//! A text is cut at whitespace. From each chunk affixes are taken off, as long as there are any: a prefix, a suffix,
//! both; what is left is a special case ("don't" is do, n't), a URL, or is cut at infixes. Special cases that hold
//! affixes themselves are put together again in a second pass. All of it depends on the chunk alone, so that a memo of
//! chunks is exact.
//!
//! Most chunks need no pattern: [`short`] has the same rules for ASCII and quotation marks, which are used where they say
//! what the patterns say of some thousand probes.
//!
//! Chunks of more than [`MOST`] bytes are one word, where spaCy's time grows with their square. Patterns that run out
//! of steps match nothing.

mod short;

use curate_text::chars::{self, ALPHA, SPACE};
use curate_text::hash::hash_bytes;
use fancy_regex::{Regex, RegexBuilder};

use self::short::{PROBES, may_be_url};
use crate::characters::{is_punctuation, is_symbol, is_terminal};
use crate::tokens::hash_word;
use crate::{Error, n_chars};

/// Bytes of the longest chunk that is taken apart.
const MOST: usize = 1024;
/// Steps of a pattern that goes back and tries again.
const STEPS: usize = 100_000;
/// Bytes at either end of a chunk that patterns of affixes are given first.
const WINDOW: usize = 96;
/// Bytes of the longest chunk in the memo; chunks and words that it holds at most.
const MEMO_BYTES: usize = 256;
const MEMO_CHUNKS: usize = 1 << 18;
const MEMO_WORDS: usize = 1 << 20;
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
    prefix: Regex,
    suffix: Regex,
    infix: Regex,
    url: Regex,
    special: Cases,
    /// Special cases that affixes would cut: as the words that the first pass makes of them.
    compound: Cases,
    /// First words of those.
    first: Cases,
    /// Whether the short rules say what the patterns do.
    short: bool,
    memo: Memo,
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

impl Word {
    pub(crate) fn new(text: &str, from: usize, to: usize) -> Self {
        let word = &text[from..to];
        let (first, chars) = (word.chars().next(), n_chars(word.as_bytes()) as u32);
        Self {
            from: from as u32,
            to: to as u32,
            hash: hash_word(text.as_bytes(), from..to),
            chars,
            counts: word.chars().any(|c| !is_symbol(c as u32)),
            alpha: word.chars().any(|c| chars::classes(c as u32) & ALPHA != 0),
            punctuation: word.chars().all(|c| is_punctuation(c as u32)),
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
        let mut made = Self {
            prefix: pattern("prefix", &rules.prefix)?,
            suffix: pattern("suffix", &rules.suffix)?,
            infix: pattern("infix", &rules.infix)?,
            url: pattern("url", &rules.url)?,
            special: Cases::new(
                rules
                    .special
                    .iter()
                    .map(|(key, words)| (key.clone(), words.clone())),
            ),
            compound: Cases::default(),
            first: Cases::default(),
            short: false,
            memo: Memo::default(),
        };
        made.short = made.agrees();
        let mut compound = vec![];
        for (key, _) in &rules.special {
            let cut = made.prefix_length(key) > 0
                || made.suffix_length(key) > 0
                || made.infix.is_match(key).unwrap_or(false)
                || key.contains(' ');
            if cut {
                let mut spans = vec![];
                made.affixes(key, false, &mut spans);
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
        Ok(made)
    }

    /// The words of a text; whitespace is none.
    pub fn words(&mut self, text: &str, found: &mut Vec<Word>) {
        found.clear();
        let mut end = 0;
        loop {
            let start = end + length_of(&text.as_bytes()[end..], true);
            end = start + length_of(&text.as_bytes()[start..], false);
            if start == end {
                return;
            }
            self.chunk(text, start, end, found);
        }
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
        let spans = self.take_apart(chunk);
        let word = |&(from, to): &Span| Word::new(chunk, from, to);
        let words: Vec<_> = spans.iter().map(word).collect();
        if chunk.len() <= MEMO_BYTES {
            self.memo.put(hash, &words);
        }
        found.extend(words.iter().map(|word| word.moved(start as u32)));
    }

    /// Both passes over a chunk.
    fn take_apart(&self, chunk: &str) -> Vec<Span> {
        let mut spans = vec![];
        self.affixes(chunk, true, &mut spans);
        let word = |span: Span| &chunk[span.0..span.1];
        if spans.len() < 2
            || !spans
                .iter()
                .any(|&span| self.first.get(word(span)).is_some())
        {
            return spans;
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
        joined
    }

    /// The first pass. Without `special` no special case is looked for.
    fn affixes(&self, chunk: &str, special: bool, spans: &mut Vec<Span>) {
        if special && self.special_case(chunk, 0, spans) {
            return;
        }
        let is_special = |part: &str| special && self.special.get(part).is_some();
        let (mut from, mut to) = (0, chunk.len());
        let mut suffixes = vec![];
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
        spans.extend(suffixes.into_iter().rev());
    }

    /// What is left when all affixes are off.
    fn stem(&self, chunk: &str, (from, to): Span, special: bool, spans: &mut Vec<Span>) {
        let part = &chunk[from..to];
        if special && self.special_case(part, from, spans) {
            return;
        }
        let may_be_url = if self.short {
            may_be_url(part)
        } else {
            part.contains('.')
        };
        if may_be_url && self.url.is_match(part).unwrap_or(false) {
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
        if self.short && short::has_infixes(part) {
            short::infixes(part.as_bytes(), emit);
            return;
        }
        for infix in self.infix.find_iter(part).map_while(Result::ok) {
            emit(infix.start(), infix.end());
        }
    }

    /// Whether the short rules say of every probe what the patterns say.
    fn agrees(&self) -> bool {
        let probe = |text: &str| {
            let mut found = [vec![], vec![]];
            let infixes = self.infix.find_iter(text).map_while(Result::ok);
            found[0].extend(infixes.map(|infix| (infix.start(), infix.end())));
            short::infixes(text.as_bytes(), |from, to| found[1].push((from, to)));
            (!short::has_infixes(text) || found[0] == found[1])
                && short::prefix(text).is_none_or(|length| length == self.prefix_length(text))
                && short::suffix(text).is_none_or(|length| length == self.suffix_length(text))
                && (may_be_url(text) || !self.url.is_match(text).unwrap_or(false))
        };
        let mut text = String::new();
        PROBES.iter().all(|a| {
            PROBES.iter().all(|b| {
                PROBES.iter().all(|c| {
                    text.clear();
                    [a, b, c].iter().for_each(|part| text.push_str(part));
                    probe(&text)
                })
            })
        })
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
        if let Some(length) = short::prefix(part).filter(|_| self.short) {
            return length;
        }
        let window = &part[..part.floor_char_boundary(WINDOW)];
        let end = |text: &str| {
            self.prefix
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
        if let Some(length) = short::suffix(part).filter(|_| self.short) {
            return length;
        }
        let cut = part.ceil_char_boundary(part.len().saturating_sub(WINDOW));
        let start = |text: &str| {
            self.suffix
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

/// Bytes from the beginning that are whitespace, or that are none.
fn length_of(bytes: &[u8], space: bool) -> usize {
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let (is_space, length) = match byte {
            9..=13 | 0x1C..=0x20 => (true, 1),
            0..0x80 => (false, 1),
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

/// Texts with the words that they are, found by hash.
#[derive(Debug, Default)]
struct Cases {
    hashes: Vec<u64>,
    words: Vec<(String, Vec<String>)>,
    longest: usize,
}

impl Cases {
    fn new(cases: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        let mut words: Vec<_> = cases.into_iter().collect();
        words.sort_by_key(|(key, _)| hash_bytes(key.as_bytes()));
        words.dedup_by(|a, b| a.0 == b.0);
        Self {
            hashes: words
                .iter()
                .map(|(key, _)| hash_bytes(key.as_bytes()))
                .collect(),
            longest: words.iter().map(|(key, _)| key.len()).max().unwrap_or(0),
            words,
        }
    }

    fn get(&self, key: &str) -> Option<&[String]> {
        if key.len() > self.longest {
            return None;
        }
        let place = self
            .hashes
            .binary_search(&hash_bytes(key.as_bytes()))
            .ok()?;
        (self.words[place].0 == key).then(|| self.words[place].1.as_slice())
    }
}

/// Chunks that were taken apart, as their words: an open table that grows. It takes no more when it is full.
#[derive(Debug, Default)]
struct Memo {
    slots: Vec<Slot>,
    words: Vec<Word>,
    chunks: usize,
}

/// A chunk by its hash (0 where there is none), and where its words lie.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    first: u32,
    count: u32,
}

impl Memo {
    fn place(slots: &[Slot], hash: u64) -> usize {
        let mask = slots.len() - 1;
        let mut place = (hash >> 20) as usize & mask;
        while slots[place].hash != 0 && slots[place].hash != hash {
            place = (place + 1) & mask;
        }
        place
    }

    #[inline]
    fn get(&self, hash: u64) -> Option<&[Word]> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[Self::place(&self.slots, hash)];
        let first = slot.first as usize;
        (slot.hash != 0).then(|| &self.words[first..first + slot.count as usize])
    }

    fn put(&mut self, hash: u64, words: &[Word]) {
        if self.chunks == MEMO_CHUNKS || self.words.len() + words.len() > MEMO_WORDS {
            return;
        }
        if 2 * self.chunks >= self.slots.len() {
            let size = (2 * self.slots.len()).max(1 << 12);
            let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
            for slot in old.into_iter().filter(|slot| slot.hash != 0) {
                let place = Self::place(&self.slots, slot.hash);
                self.slots[place] = slot;
            }
        }
        let place = Self::place(&self.slots, hash);
        self.slots[place] = Slot {
            hash,
            first: self.words.len() as u32,
            count: words.len() as u32,
        };
        self.words.extend_from_slice(words);
        self.chunks += 1;
    }
}

#[cfg(test)]
mod tests;
