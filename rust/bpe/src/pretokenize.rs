//! Patterns by name or as regular expressions: "gpt2", "gpt4", "llama3", "qwen2", "o200k", or any other.
//!
//! The named patterns, and the same patterns written out, run as hand-written scanners (see `scan`). Any other
//! goes through a backtracking regex engine in its Oniguruma mode, because that is the engine with which the
//! `tokenizers` library reads the same pattern from a tokenizer file; `\w` is written out for that, and only
//! `\b` still differs, beside ², ³, ¹, ¼, ½, ¾ and zero-width joiners. What a pattern does not match is a
//! piece too, so the pieces always add up to the text.
//!
//! Every named pattern has variants for numbers, which stand in its expression: `\p{N}` (one by one),
//! `\p{N}{1,3}` (threes from the left), and with a look ahead threes from the right. Several patterns make a
//! chain: each splits the pieces of the one before, as `Sequence` does in tokenizer files.

use crate::Error;
use crate::classes::Classes;
use crate::piece::prefetch_line;
use crate::rules::{LEFT, RIGHT, RUN, SINGLE};
use crate::scan::{Gpt2, Gpt4, O200k, Reader, Scanner};
use crate::window::{WIDTH, classify_avx2, classify_avx512, places, places_avx512};
use curate_text::Cpu;
use curate_text::cpu::Path;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT4: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The names and what they stand for; Llama 3 uses the pattern of GPT-4.
const NAMES: [(&str, &str); 5] = [
    ("gpt2", GPT2),
    ("gpt4", GPT4),
    ("llama3", GPT4),
    ("qwen2", QWEN2),
    ("o200k", O200K),
];

/// Steps of backtracking for one match; a text that needs more is an error, not a hang.
const BACKTRACK_LIMIT: usize = 50_000_000;

/// Pieces after which a batch is handed on.
const FULL: usize = 96;
/// Pieces that are handed on at a time at most: a full window may come on top.
pub const BATCH: usize = FULL + WIDTH;

/// What takes the pieces of a text, a batch at a time.
pub trait Sink {
    /// A batch's pieces from the nth on: a window, and where they end in it, a bit each.
    #[inline(always)]
    fn window(&mut self, _nth: usize, _window: &[u8; WIDTH], _found: u64) {}

    /// The nth piece of a batch, which no window gave.
    #[inline(always)]
    fn piece(&mut self, _nth: usize, _start: usize, _end: usize) {}

    /// As [`Pretokenizer::split`] says.
    fn batch(&mut self, start: usize, ends: &[usize]);
}

impl<F: FnMut(usize, &[usize])> Sink for F {
    #[inline(always)]
    fn batch(&mut self, start: usize, ends: &[usize]) {
        self(start, ends);
    }
}

/// The expressions of the ways to split numbers.
const NUMBERS: [(u8, &str); 4] = [
    (RUN, r" ?\p{N}+"),
    (SINGLE, r"\p{N}"),
    (LEFT, r"\p{N}{1,3}"),
    (RIGHT, r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"),
];

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Gpt2,
    Gpt4,
    O200k,
}

enum Kind {
    Known(Family, u8),
    Regex(Box<fancy_regex::Regex>),
}

impl Kind {
    fn new(pattern: &str) -> Result<Self, Error> {
        // Each family as it is written with its own way of numbers; RUN is GPT-2's alone.
        let families = [
            (Family::Gpt2, GPT2, 0),
            (Family::Gpt4, GPT4, 2),
            (Family::O200k, O200K, 2),
        ];
        for (family, expression, own) in families {
            for (numbers, text) in NUMBERS {
                let possible = family == Family::Gpt2 || numbers != RUN;
                if possible && expression.replacen(NUMBERS[own].1, text, 1) == pattern {
                    return Ok(Self::Known(family, numbers));
                }
            }
        }
        Ok(Self::Regex(Box::new(compile(pattern)?)))
    }
}

/// Splits text into pieces; opened once, then pure.
pub struct Pretokenizer {
    cpu: Cpu,
    classes: Classes,
    patterns: Vec<String>,
    kinds: Vec<Kind>,
}

impl Pretokenizer {
    /// A pattern by name or as a regular expression; a bad expression is an error that shows the position.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        Self::chain(&[pattern])
    }

    /// Patterns one after the other, each on the pieces of the one before; none leaves the text whole.
    pub fn chain<S: AsRef<str>>(patterns: &[S]) -> Result<Self, Error> {
        let expression = |pattern: &S| {
            let named = NAMES.iter().find(|(name, _)| *name == pattern.as_ref());
            named
                .map_or(pattern.as_ref(), |(_, expression)| expression)
                .to_owned()
        };
        let patterns: Vec<String> = patterns.iter().map(expression).collect();
        let kinds = patterns.iter().map(|pattern| Kind::new(pattern));
        Ok(Self {
            cpu: with_vbmi_and_bitalg(Cpu::detect()?),
            classes: Classes::new(),
            kinds: kinds.collect::<Result<_, _>>()?,
            patterns,
        })
    }

    /// The regular expression of the first pattern, as it stands in a tokenizer file.
    pub fn pattern(&self) -> &str {
        self.patterns.first().map_or("", String::as_str)
    }

    /// The same with the instructions of another path.
    #[cfg(test)]
    pub(crate) fn on(self, cpu: Cpu) -> Self {
        let cpu = with_vbmi_and_bitalg(cpu);
        Self { cpu, ..self }
    }

    /// The instructions that splitting uses.
    pub(crate) fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Calls `batch(start, ends)` for up to [`BATCH`] pieces at a time: the first begins at `start`, each ends
    /// where the next begins. No piece is empty, and all together are the text; a batch may be empty.
    ///
    /// Batches, not pieces, because the scanner's loop stays small that way, and what looks pieces up can ask
    /// for the memory of a whole batch before it waits for any of it.
    #[inline]
    pub fn split(&self, text: &str, batch: impl FnMut(usize, &[usize])) -> Result<(), Error> {
        self.split_into(text, batch)
    }

    /// Gives the pieces to a sink.
    #[inline]
    pub(crate) fn split_into(&self, text: &str, sink: impl Sink) -> Result<(), Error> {
        match self.kinds.as_slice() {
            [_] => self.split_by(0, text, sink),
            _ => self.split_by_all(text, sink),
        }
    }

    #[inline]
    fn split_by(&self, step: usize, text: &str, sink: impl Sink) -> Result<(), Error> {
        use Family::{Gpt2 as G2, Gpt4 as G4, O200k as O2};
        let (reader, bytes) = (Reader::new(&self.classes), text.as_bytes());
        match &self.kinds[step] {
            Kind::Known(G2, RUN) => scan(self.cpu, &Gpt2::<RUN>(reader), bytes, sink),
            Kind::Known(G2, SINGLE) => scan(self.cpu, &Gpt2::<SINGLE>(reader), bytes, sink),
            Kind::Known(G2, LEFT) => scan(self.cpu, &Gpt2::<LEFT>(reader), bytes, sink),
            Kind::Known(G2, _) => scan(self.cpu, &Gpt2::<RIGHT>(reader), bytes, sink),
            Kind::Known(G4, SINGLE) => scan(self.cpu, &Gpt4::<SINGLE>(reader), bytes, sink),
            Kind::Known(G4, LEFT) => scan(self.cpu, &Gpt4::<LEFT>(reader), bytes, sink),
            Kind::Known(G4, _) => scan(self.cpu, &Gpt4::<RIGHT>(reader), bytes, sink),
            Kind::Known(O2, SINGLE) => scan(self.cpu, &O200k::<SINGLE>(reader), bytes, sink),
            Kind::Known(O2, LEFT) => scan(self.cpu, &O200k::<LEFT>(reader), bytes, sink),
            Kind::Known(O2, _) => scan(self.cpu, &O200k::<RIGHT>(reader), bytes, sink),
            Kind::Regex(regex) => return self.split_by_regex(step, regex, text, sink),
        }
        Ok(())
    }

    fn split_by_all(&self, text: &str, sink: impl Sink) -> Result<(), Error> {
        let mut ends = vec![text.len()];
        for step in 0..self.kinds.len() {
            let (mut finer, mut start) = (Vec::new(), 0);
            for end in ends {
                let found = |_, batch: &[usize]| finer.extend(batch.iter().map(|end| start + end));
                self.split_by(step, &text[start..end], found)?;
                start = end;
            }
            ends = finer;
        }
        let mut batches = Batches::new(sink);
        ends.into_iter().for_each(|end| batches.cut(end));
        batches.flush();
        Ok(())
    }

    fn split_by_regex(
        &self,
        step: usize,
        regex: &fancy_regex::Regex,
        text: &str,
        sink: impl Sink,
    ) -> Result<(), Error> {
        let mut batches = Batches::new(sink);
        for found in regex.find_iter(text) {
            let found = found.map_err(|error| Error::PatternGaveUp {
                pattern: self.patterns[step].clone(),
                position: batches.at,
                reason: error.to_string(),
            })?;
            batches.cut(found.start());
            batches.cut(found.end());
        }
        batches.cut(text.len());
        batches.flush();
        Ok(())
    }
}

/// Collects the ends of pieces that do not come from a scanner.
struct Batches<S> {
    sink: S,
    ends: [usize; FULL],
    filled: usize,
    start: usize,
    at: usize,
}

impl<S: Sink> Batches<S> {
    fn new(sink: S) -> Self {
        Self {
            sink,
            ends: [0; FULL],
            filled: 0,
            start: 0,
            at: 0,
        }
    }

    /// Ends a piece at `end`, unless it would be empty.
    fn cut(&mut self, end: usize) {
        if end > self.at {
            self.sink.piece(self.filled, self.at, end);
            self.at = end;
            self.ends[self.filled] = end;
            self.filled += 1;
            if self.filled == FULL {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        self.sink.batch(self.start, &self.ends[..self.filled]);
        (self.start, self.filled) = (self.at, 0);
    }
}

/// A processor of AVX-512 has VBMI and BITALG too, as Ice Lake and Zen 4 have, or else counts as one of AVX2.
fn with_vbmi_and_bitalg(cpu: Cpu) -> Cpu {
    #[cfg(target_arch = "x86_64")]
    if cpu.path() == Path::Avx512
        && !(is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512bitalg"))
    {
        return Cpu::at_most(Path::Avx2);
    }
    cpu
}

#[inline]
fn scan<S: Scanner>(cpu: Cpu, scanner: &S, text: &[u8], sink: impl Sink) {
    match cpu.path() {
        // SAFETY: a `Cpu` of this path proves that the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 if S::HAS_WINDOWS => unsafe { scan_avx512(scanner, text, sink) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 if S::HAS_WINDOWS => unsafe { scan_avx2(scanner, text, sink) },
        _ => scan_by(scanner, text, sink, |_, _| None, places),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bitalg,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn scan_avx512<S: Scanner>(scanner: &S, text: &[u8], sink: impl Sink) {
    let ends_in = |text: &[u8; WIDTH], length| {
        let window = classify_avx512(text);
        Some(scanner.ends(
            window.of_characters_avx512(text, length, scanner.classes()),
            text,
        ))
    };
    scan_by(scanner, text, sink, ends_in, |found, at, ends| {
        places_avx512(found, at, ends)
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn scan_avx2<S: Scanner>(scanner: &S, text: &[u8], sink: impl Sink) {
    let ends_in = |text: &[u8; WIDTH], length| {
        let window = classify_avx2(text);
        Some(scanner.ends(window.of_characters(text, length, scanner.classes()), text))
    };
    scan_by(scanner, text, sink, ends_in, places);
}

/// The ends in a window at a time where `ends_in` gives some, else a piece at a time.
#[inline(always)]
fn scan_by<S: Scanner>(
    scanner: &S,
    text: &[u8],
    mut sink: impl Sink,
    ends_in: impl Fn(&[u8; WIDTH], usize) -> Option<u64>,
    places: impl Fn(u64, usize, &mut [usize; WIDTH]),
) {
    /// Bytes at the end of a text that are worth a window.
    const FEW: usize = 16;
    /// How far ahead text is asked for: looking pieces up keeps the processor from doing so itself.
    const AHEAD: usize = 1024;
    let mut ends = [0; BATCH];
    let mut start = 0;
    while start < text.len() {
        let (mut at, mut filled) = (start, 0);
        while at < text.len() && filled < FULL {
            let rest = &text[at..];
            prefetch_line(rest.as_ptr().wrapping_add(AHEAD));
            let whole = rest.first_chunk::<WIDTH>();
            let mut padded = [0; WIDTH];
            if whole.is_none() && rest.len() >= FEW {
                padded[..rest.len()].copy_from_slice(rest);
            }
            if let Some(window) = whole.or((rest.len() >= FEW).then_some(&padded))
                && let Some(found) = ends_in(window, rest.len().min(WIDTH))
                && found != 0
                && let Some(room) = ends[filled..].first_chunk_mut()
            {
                places(found, at, room);
                sink.window(filled, window, found);
                at += 63 - found.leading_zeros() as usize;
                filled += found.count_ones() as usize;
            } else {
                let end = scanner.end(text, at);
                sink.piece(filled, at, end);
                (at, ends[filled]) = (end, end);
                filled += 1;
            }
        }
        // The one place that calls it, so that it is compiled into this loop, with this path's instructions.
        sink.batch(start, &ends[..filled]);
        start = at;
    }
}

fn compile(pattern: &str) -> Result<fancy_regex::Regex, Error> {
    // In Oniguruma's own syntax ^ and $ are about lines.
    let build = |pattern: &str| {
        fancy_regex::RegexBuilder::new(pattern)
            .oniguruma_mode(true)
            .multi_line(true)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
    };
    let refuse = |error: fancy_regex::Error| {
        let (position, reason) = place_of(&error, pattern);
        Error::Pattern {
            pattern: pattern.to_owned(),
            reason,
            position,
        }
    };
    // The pattern as it was written comes first, so that an error shows a place in it.
    let regex = build(pattern).map_err(refuse)?;
    let rewritten = crate::oniguruma::as_oniguruma(pattern);
    if rewritten == pattern {
        Ok(regex)
    } else {
        build(&rewritten).map_err(refuse)
    }
}

/// Where a pattern is wrong, and why. The engine's compiler does not say where, but the parser below it does.
fn place_of(error: &fancy_regex::Error, pattern: &str) -> (usize, String) {
    use regex_syntax::ast::ErrorKind::{UnsupportedBackreference, UnsupportedLookAround};
    if let fancy_regex::Error::ParseError(position, reason) = error {
        return (*position, reason.to_string());
    }
    match regex_syntax::parse(pattern) {
        Err(regex_syntax::Error::Parse(found))
            if !matches!(
                found.kind(),
                UnsupportedBackreference | UnsupportedLookAround
            ) =>
        {
            (found.span().start.offset, found.kind().to_string())
        }
        Err(regex_syntax::Error::Translate(found)) => {
            (found.span().start.offset, found.kind().to_string())
        }
        _ => (0, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn pieces(pretokenizer: &Pretokenizer, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let batch = |mut start: usize, ends: &[usize]| {
            for &end in ends {
                out.push(text[start..end].to_owned());
                start = end;
            }
        };
        pretokenizer.split(text, batch).expect("no error");
        out
    }

    /// The same pattern, forced through the regex engine.
    fn by_regex(pattern: &str) -> Pretokenizer {
        let kind = Kind::Regex(Box::new(compile(pattern).expect("valid")));
        Pretokenizer {
            cpu: Cpu::at_most(Path::Portable),
            classes: Classes::new(),
            patterns: vec![pattern.to_owned()],
            kinds: vec![kind],
        }
    }

    #[test]
    fn pieces_as_documented() {
        let split = |name, text| pieces(&Pretokenizer::new(name).expect("valid"), text);
        assert_eq!(
            split("gpt2", "It's  1234 a\n b"),
            ["It", "'s", " ", " 1234", " a", "\n", " b"]
        );
        assert_eq!(
            split("gpt4", "It'S  1234 a\n b"),
            ["It", "'S", " ", " ", "123", "4", " a", "\n", " b"]
        );
        assert_eq!(split("qwen2", "12"), ["1", "2"]);
        assert_eq!(
            split("o200k", "HTTPServer'll a/\n"),
            ["HTTPServer'll", " a", "/\n"]
        );
        assert_eq!(split("a+", "baac"), ["b", "aa", "c"]);
        assert_eq!(split("x*", "ab"), ["a", "b"]);
        assert_eq!(
            split(r"[\w-]+|\w+|\\\\w", "a-b¼ \\\\w"),
            ["a-b", "¼", " ", "\\\\w"]
        );
    }

    #[test]
    fn numbers_are_split_as_asked() {
        let split = |numbers: &str| {
            let pattern = GPT2.replacen(NUMBERS[0].1, numbers, 1);
            pieces(&Pretokenizer::new(&pattern).expect("valid"), "a 1234567 89")
        };
        assert_eq!(
            split(NUMBERS[2].1),
            ["a", " ", "123", "456", "7", " ", "89"]
        );
        assert_eq!(
            split(NUMBERS[3].1),
            ["a", " ", "1", "234", "567", " ", "89"]
        );
        // A run is counted once, not again for every group.
        let long = "7".repeat(1 << 20);
        let right = GPT2.replacen(NUMBERS[0].1, NUMBERS[3].1, 1);
        assert_eq!(
            pieces(&Pretokenizer::new(&right).expect("valid"), &long)[0],
            "7"
        );
    }

    #[test]
    fn a_chain_splits_the_pieces_of_the_step_before() {
        let chain =
            |patterns: &[&str]| pieces(&Pretokenizer::chain(patterns).expect("valid"), "a 12b c");
        assert_eq!(chain(&[r"\p{N}", "gpt2"]), ["a", " ", "1", "2", "b", " c"]);
        assert_eq!(chain(&[]), ["a 12b c"]);
    }

    #[test]
    fn patterns_are_read_as_oniguruma_reads_them() {
        let split = |pattern, text| pieces(&Pretokenizer::new(pattern).expect("valid"), text);
        assert_eq!(split(r"\b", "ab\u{200d}c"), ["ab", "\u{200d}", "c"]);
        assert_eq!(split(r"(?m)b.+", "ab\nc"), ["a", "b\nc"]);
        assert_eq!(
            split("[[:punct:]]+", "a\u{2014}$b"),
            ["a", "\u{2014}$", "b"]
        );
    }

    #[test]
    fn a_bad_pattern_names_the_place() {
        for (bad, place) in [("a(b", 3), (r"a\p{Nope}", 1), ("b[z-a]", 2), ("*", 0)] {
            match Pretokenizer::new(bad).err() {
                Some(Error::Pattern { position, .. }) => assert_eq!(position, place, "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }

    /// Every known pattern by the scanners of each instruction set, and by the regex engine.
    static BOTH_WAYS: LazyLock<Vec<(Vec<Pretokenizer>, Pretokenizer)>> = LazyLock::new(|| {
        let mut patterns: Vec<String> = NAMES.map(|(_, pattern)| pattern.to_owned()).into();
        for (expression, own) in [(GPT2, 0), (GPT4, 2), (O200K, 2)] {
            let variant = |(_, text)| expression.replacen(NUMBERS[own].1, text, 1);
            patterns.extend(NUMBERS.into_iter().skip(1).map(variant));
        }
        let both = |pattern: String| {
            let on = |cpu| {
                let scanner = Pretokenizer::new(&pattern).expect("valid").on(cpu);
                assert!(matches!(scanner.kinds[..], [Kind::Known(..)]), "{pattern}");
                scanner
            };
            let scanners = Cpu::all().into_iter().map(on).collect();
            (scanners, by_regex(&pattern))
        };
        patterns.into_iter().map(both).collect()
    });

    /// 2,000, or PROPTEST_CASES: fuzzing is the same tests for longer.
    fn cases() -> ProptestConfig {
        match std::env::var("PROPTEST_CASES") {
            Ok(_) => ProptestConfig::default(),
            Err(_) => ProptestConfig::with_cases(2000),
        }
    }

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn scanners_equal_their_patterns(text in prop_oneof![
            "[ '\\r\\n\\tsStTrReEvVlLdDmM19a/.\u{17f}\u{a0}\u{3000}\u{301}\u{2b0}\u{1c5}éÉ中٣²123]{0,24}",
            any::<String>(),
            // Longer than a window: ASCII with few and with many other characters, words, and numbers.
            "[ '\\r\\n\\tsStTrReEvVlLdDmM19a/.,\u{b}\u{1c}]{60,400}",
            "([ '\\r\\n\\tsrevltd19A/.]{1,90}[\u{17f}\u{a0}é²中]){1,6}",
            "(([a-zA-Z]{1,12}|[0-9]{1,9}|'(s|re|ll|x)|[.(\\t]|\\r?\\n *\\n?)[ \\n]{0,3}){10,60}",
            "([а-яёґ]{1,9}[ ,]|[א-ת]{1,9} |[ก-๙]{1,9}|[一-龥]{1,6}|[가-힣]{1,5} |[α-ωά]{1,7} ){5,30}",
        ]) {
            for (scanners, regex) in BOTH_WAYS.iter() {
                let expected = pieces(regex, &text);
                for scanner in scanners {
                    prop_assert_eq!(&pieces(scanner, &text), &expected, "{} {}", scanner.cpu.name(), regex.pattern());
                }
            }
        }

        #[test]
        fn scanners_survive_any_bytes(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            proptest::collection::vec(prop_oneof![9 => b' '..b'z', 1 => any::<u8>()], 60..300),
        ]) {
            let classes = Classes::new();
            for cpu in Cpu::all() {
                let mut total = 0;
                let mut add = |start, ends: &[usize]| {
                    assert!(ends.is_sorted_by(|a, b| a < b) && ends.first().is_none_or(|end| *end > start));
                    total += ends.last().map_or(0, |end| end - start);
                };
                scan(cpu, &Gpt2::<RUN>(Reader::new(&classes)), &bytes, &mut add);
                scan(cpu, &Gpt4::<RIGHT>(Reader::new(&classes)), &bytes, &mut add);
                scan(cpu, &O200k::<LEFT>(Reader::new(&classes)), &bytes, &mut add);
                prop_assert_eq!(total, 3 * bytes.len());
            }
        }
    }
}
