//! Patterns by name or as regular expressions: "gpt2", "gpt4", "llama3", "qwen2", "o200k", or any other.
//!
//! The named patterns, and the same patterns written out, run as hand-written scanners (see `scan`). Any other
//! goes through a backtracking regex engine in its Oniguruma mode, because that is the engine with which the
//! `tokenizers` library reads the same pattern from a tokenizer file; `\w` is written out for that, and only
//! `\b` still differs, beside ², ³, ¹, ¼, ½, ¾ and zero-width joiners. What a pattern does not match is a
//! piece too, so the pieces always add up to the text.

use crate::Error;
use crate::classes::Classes;
use crate::scan::{Gpt2, Gpt4, O200k, Scanner};

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

/// Pieces that are handed on at a time.
pub const BATCH: usize = 32;

enum Kind {
    Gpt2,
    Gpt4,
    Qwen2,
    O200k,
    Regex(Box<fancy_regex::Regex>),
}

/// Splits text into pieces; opened once, then pure.
pub struct Pretokenizer {
    classes: Classes,
    pattern: String,
    kind: Kind,
}

impl Pretokenizer {
    /// A pattern by name or as a regular expression; a bad expression is an error that shows the position.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let named = NAMES.iter().find(|(name, _)| *name == pattern);
        let pattern = named.map_or(pattern, |(_, expression)| expression);
        let kind = match pattern {
            GPT2 => Kind::Gpt2,
            GPT4 => Kind::Gpt4,
            QWEN2 => Kind::Qwen2,
            O200K => Kind::O200k,
            _ => Kind::Regex(Box::new(compile(pattern)?)),
        };
        Ok(Self {
            classes: Classes::new(),
            pattern: pattern.to_owned(),
            kind,
        })
    }

    /// The regular expression, as it stands in a tokenizer file.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Calls `batch(start, ends)` for up to [`BATCH`] pieces at a time: the first begins at `start`, each ends
    /// where the next begins. No piece is empty, and all together are the text.
    ///
    /// Batches, not pieces, because the scanner's loop stays small that way, and what looks pieces up can ask
    /// for the memory of a whole batch before it waits for any of it.
    #[inline]
    pub fn split(&self, text: &str, batch: impl FnMut(usize, &[usize])) -> Result<(), Error> {
        match &self.kind {
            Kind::Gpt2 => scan(&Gpt2(&self.classes), text.as_bytes(), batch),
            Kind::Gpt4 => scan(&Gpt4::<3>(&self.classes), text.as_bytes(), batch),
            Kind::Qwen2 => scan(&Gpt4::<1>(&self.classes), text.as_bytes(), batch),
            Kind::O200k => scan(&O200k(&self.classes), text.as_bytes(), batch),
            Kind::Regex(regex) => return self.split_by_regex(regex, text, batch),
        }
        Ok(())
    }

    fn split_by_regex(
        &self,
        regex: &fancy_regex::Regex,
        text: &str,
        batch: impl FnMut(usize, &[usize]),
    ) -> Result<(), Error> {
        let mut batches = Batches::new(batch);
        for found in regex.find_iter(text) {
            let found = found.map_err(|error| Error::PatternGaveUp {
                pattern: self.pattern.clone(),
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

/// Collects the ends of pieces.
struct Batches<F> {
    batch: F,
    ends: [usize; BATCH],
    filled: usize,
    start: usize,
    at: usize,
}

impl<F: FnMut(usize, &[usize])> Batches<F> {
    #[inline(always)]
    fn new(batch: F) -> Self {
        Self {
            batch,
            ends: [0; BATCH],
            filled: 0,
            start: 0,
            at: 0,
        }
    }

    /// Ends a piece at `end`, unless it would be empty.
    #[inline(always)]
    fn cut(&mut self, end: usize) {
        if end <= self.at {
            return;
        }
        self.at = end;
        self.ends[self.filled] = end;
        self.filled += 1;
        if self.filled == BATCH {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        (self.batch)(self.start, &self.ends[..self.filled]);
        (self.start, self.filled) = (self.at, 0);
    }
}

#[inline]
fn scan(scanner: &impl Scanner, text: &[u8], batch: impl FnMut(usize, &[usize])) {
    let mut batches = Batches::new(batch);
    while batches.at < text.len() {
        batches.cut(scanner.end(text, batches.at));
    }
    batches.flush();
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
    let rewritten = with_oniguruma_words(pattern);
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

/// Writes out `\w` and `\W` as Oniguruma means them: without the zero-width joiners, which are part of words
/// for the engine, and outside of brackets with the superscripts and fractions of Latin-1.
fn with_oniguruma_words(pattern: &str) -> String {
    const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";
    const ALONE: &str = "²³¹¼-¾";
    let (mut out, mut depth) = (String::with_capacity(pattern.len()), 0usize);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' {
            characters.next()
        } else {
            None
        };
        let alone = if depth == 0 { ALONE } else { "" };
        match (character, escaped) {
            ('\\', Some('w')) => out.push_str(&format!("[{WORD}{alone}]")),
            ('\\', Some('W')) => out.push_str(&format!("[^{WORD}{alone}]")),
            _ => {
                depth = match character {
                    '[' => depth + 1,
                    ']' => depth.saturating_sub(1),
                    _ => depth,
                };
                out.push(character);
                out.extend(escaped);
            }
        }
    }
    out
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
            classes: Classes::new(),
            pattern: pattern.to_owned(),
            kind,
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
    fn a_bad_pattern_names_the_place() {
        for (bad, place) in [("a(b", 3), (r"a\p{Nope}", 1), ("b[z-a]", 2), ("*", 0)] {
            match Pretokenizer::new(bad).err() {
                Some(Error::Pattern { position, .. }) => assert_eq!(position, place, "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }

    static BOTH_WAYS: LazyLock<Vec<(Pretokenizer, Pretokenizer)>> = LazyLock::new(|| {
        NAMES
            .map(|(name, pattern)| (Pretokenizer::new(name).expect("valid"), by_regex(pattern)))
            .into()
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn scanners_equal_their_patterns(text in prop_oneof![
            "[ '\\r\\n\\tsStTrReEvVlLdDmM19a/.\u{17f}\u{a0}\u{3000}\u{301}\u{2b0}\u{1c5}éÉ中٣²]{0,24}",
            any::<String>(),
        ]) {
            for (scanner, regex) in BOTH_WAYS.iter() {
                prop_assert_eq!(pieces(scanner, &text), pieces(regex, &text), "{}", regex.pattern());
            }
        }

        #[test]
        fn scanners_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let classes = Classes::new();
            let mut total = 0;
            let mut add = |start, ends: &[usize]| {
                assert!(ends.is_sorted_by(|a, b| a < b) && ends.first().is_none_or(|end| *end > start));
                total += ends.last().map_or(0, |end| end - start);
            };
            scan(&Gpt2(&classes), &bytes, &mut add);
            scan(&Gpt4::<3>(&classes), &bytes, &mut add);
            scan(&O200k(&classes), &bytes, &mut add);
            prop_assert_eq!(total, 3 * bytes.len());
        }
    }
}
