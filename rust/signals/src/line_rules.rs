//! Rules on single lines: C4's as its reference code and datatrove have them, and RefinedWeb's as DCLM has them.
//!
//! A line that fails a rule is cut; some rules cut a part of a line. What they decide about a document as a whole
//! (sentences left, words removed) are measures. Whitespace at the ends of lines, and lines of nothing else, go without
//! a note where the followed tool strips them.

use std::borrow::Cow;

use memchr::memmem;

use crate::line_forms::{
    citations, ends_with_mark, is_counter, phrases, upper_and_digits, without,
};
use crate::lines::{Lines, SplitLine, strip, words_of};
use crate::n_chars;
use crate::tokens::{LineWords, alnum_words};

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesOf {
    /// `c4_utils.py` of TensorFlow Datasets.
    C4Tfds,
    /// datatrove's C4QualityFilter.
    C4Datatrove,
    /// The line modifiers of `dclm_baseline_refinedweb.yaml`.
    RefinedWeb,
}

macro_rules! line_rules {
    ($($rule:ident, $name:literal, $meaning:literal;)*) => {
        /// What can cut a line, or a part of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LineRule { $(#[doc = $meaning] $rule),* }

        /// All rules in the order of their numbers, by name.
        pub const LINE_RULES: [(LineRule, &str); N_LINE_RULES] = [$((LineRule::$rule, $name)),*];

        /// How many there are.
        pub const N_LINE_RULES: usize = [$($name),*].len();
    };
}

line_rules! {
    LongWord, "long_word", "A word of more characters than the limit.";
    Citation, "citation", "`[1]`, `[edit]`, `[citation needed]`: cut out of the line.";
    EndMark, "end_mark", "The line does not end with a mark, or it ends with an ellipsis.";
    FewWords, "few_words", "Fewer words between whitespace than the limit.";
    Javascript, "javascript", "The line names JavaScript.";
    Policy, "policy", "The line has a phrase of cookie and privacy notices.";
    Uppercase, "uppercase", "A larger share of upper-case characters than the limit.";
    Digits, "digits", "A larger share of numbers than the limit.";
    Counter, "counter", "The line is a counter such as \"3 likes\".";
    Phrase, "phrase", "A phrase of shops and feeds in a line of few words: cut out of the line.";
}

/// The rules to go by; those without a limit are off. A rule that compares nothing is on with any limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineRules {
    /// Whose they are.
    pub whose: LinesOf,
    /// By number of the rule.
    pub limits: [Option<f64>; N_LINE_RULES],
    /// Whether "lorem ipsum" ends the reading of a document, which its measure then says.
    pub lorem_ipsum: bool,
    /// Whether a curly bracket does.
    pub curly_bracket: bool,
}

impl LineRules {
    /// The rules as they are published.
    pub fn published(whose: LinesOf) -> Self {
        use LineRule::{
            Citation, Counter, Digits, EndMark, FewWords, Javascript, LongWord, Phrase, Policy,
            Uppercase,
        };
        let c4 = |few| {
            vec![
                (LongWord, 1000.0),
                (Citation, 0.0),
                (EndMark, 0.0),
                (FewWords, few),
                (Javascript, 0.0),
                (Policy, 0.0),
            ]
        };
        let on = match whose {
            LinesOf::C4Tfds => c4(5.0),
            LinesOf::C4Datatrove => c4(3.0),
            LinesOf::RefinedWeb => vec![
                (Uppercase, 0.5),
                (Digits, 0.999_999),
                (Counter, 0.0),
                (FewWords, 2.0),
                (Phrase, 10.0),
            ],
        };
        let mut limits = [None; N_LINE_RULES];
        for (rule, limit) in on {
            limits[rule as usize] = Some(limit);
        }
        let c4 = whose != LinesOf::RefinedWeb;
        Self {
            whose,
            limits,
            lorem_ipsum: c4,
            curly_bracket: c4,
        }
    }

    fn limit(&self, rule: LineRule) -> Option<f64> {
        self.limits[rule as usize]
    }

    fn on(&self, rule: LineRule) -> bool {
        self.limit(rule).is_some()
    }
}

/// Takes what is cut and what is left.
pub(crate) trait Sink {
    /// Bytes of the text that a rule cut, with what it measured where that is a number.
    fn cut(&mut self, rule: LineRule, value: Option<f64>, from: usize, to: usize);
    /// What is left of the next line.
    fn keep(&mut self, line: &str);
}

/// Takes nothing: for the measures alone.
pub(crate) struct Nothing;

impl Sink for Nothing {
    fn cut(&mut self, _: LineRule, _: Option<f64>, _: usize, _: usize) {}
    fn keep(&mut self, _: &str) {}
}

/// What the line rules say about a document.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    pub sentences: usize,
    pub lorem_ipsum: bool,
    pub curly_bracket: bool,
    /// Words that begin with a letter or number in what was cut, over those of the stripped text; 1 without words.
    pub removed_share: f64,
}

pub(crate) const JAVASCRIPT: u8 = 1;
pub(crate) const LOREM: u8 = 2;
pub(crate) const POLICY: u8 = 4;

/// Looks for the phrases of C4's rules.
#[derive(Debug)]
pub(crate) struct Phrases {
    finders: [(memmem::Finder<'static>, u8); 4],
    cookie: memmem::Finder<'static>,
    /// Of RefinedWeb's rule.
    shop: [memmem::Finder<'static>; 3],
}

impl Default for Phrases {
    fn default() -> Self {
        let of = |phrase: &'static str, kind| (memmem::Finder::new(phrase), kind);
        Self {
            finders: [
                of("javascript", JAVASCRIPT),
                of("lorem ipsum", LOREM),
                of("terms of use", POLICY),
                of("privacy policy", POLICY),
            ],
            cookie: memmem::Finder::new("cookie"),
            shop: ["sign-in", "read more", "items in cart"].map(memmem::Finder::new),
        }
    }
}

impl Phrases {
    /// (place, kind) of every phrase in a lower-cased text, in order.
    pub fn find(&self, lower: &[u8], found: &mut Vec<(usize, u8)>) {
        found.clear();
        for (finder, kind) in &self.finders {
            found.extend(finder.find_iter(lower).map(|place| (place, *kind)));
        }
        let cookies = self.cookie.find_iter(lower).filter(|&place| {
            let (before, after) = lower.split_at(place);
            let used = [&b"uses "[..], b"use of ", b"use "];
            after.starts_with(b"cookie policy")
                || after.starts_with(b"cookies") && used.iter().any(|used| before.ends_with(used))
        });
        found.extend(cookies.map(|place| (place, POLICY)));
        found.sort_unstable();
    }
}

impl Phrases {
    /// Whether a lower-cased text has a phrase of RefinedWeb's rule anywhere.
    pub fn any_of_shops(&self, lower: &[u8]) -> bool {
        self.shop.iter().any(|finder| finder.find(lower).is_some())
    }
}

/// A document whose lines are judged.
pub(crate) struct Document<'a> {
    pub text: &'a str,
    pub lines: &'a Lines,
    /// The words of each line between newlines.
    pub words: &'a [LineWords],
    /// Places of phrases, in order.
    pub phrases: &'a [(usize, u8)],
    pub finder: &'a Phrases,
    /// The text, lower-cased.
    pub lower: &'a [u8],
}

impl Document<'_> {
    /// One of the lines of str.splitlines.
    pub fn line(&self, number: usize) -> SplitLine {
        self.lines.split_line(number, self.words)
    }

    /// C4's rules. `count` gives the sentences of the line with a number, or of one whose text was changed.
    pub fn c4(
        &self,
        rules: &LineRules,
        mut count: impl FnMut(usize, Option<&str>) -> usize,
        sink: &mut impl Sink,
    ) -> Judged {
        use LineRule::{Citation, EndMark, FewWords, Javascript, LongWord, Policy};
        let mut judged = Judged::default();
        let mut next = 0;
        for number in 0..self.lines.n_split() {
            let line = self.line(number);
            let mut kinds = 0;
            while let Some(&(_, kind)) = self.phrases.get(next).filter(|hit| hit.0 < line.end) {
                kinds |= kind;
                next += 1;
            }
            let inner = strip(&self.text[line.start..line.end]);
            let mut cut = |rule, value| sink.cut(rule, value, line.start, self.after(line.end));
            let longest = f64::from(line.words.longest);
            if rules.limit(LongWord).is_some_and(|limit| longest > limit) {
                cut(LongWord, Some(longest));
                continue;
            }
            let start = inner.as_ptr() as usize - self.text.as_ptr() as usize;
            let citations = if rules.on(Citation) {
                citations(inner)
            } else {
                vec![]
            };
            let left = without(inner, &citations);
            if rules.on(EndMark) && !ends_with_mark(&left, rules.whose) {
                if !inner.is_empty() {
                    cut(EndMark, None);
                }
                continue;
            }
            let words = match left {
                Cow::Owned(ref left) if rules.whose == LinesOf::C4Tfds => words_of(left).words,
                _ => line.words.words,
            };
            if rules
                .limit(FewWords)
                .is_some_and(|limit| f64::from(words) < limit)
            {
                if !inner.is_empty() {
                    cut(FewWords, Some(f64::from(words)));
                }
                continue;
            }
            if let Cow::Owned(left) = &left {
                let mut found = vec![];
                self.finder
                    .find(left.to_ascii_lowercase().as_bytes(), &mut found);
                kinds = found.iter().fold(0, |kinds, found| kinds | found.1);
            }
            if rules.lorem_ipsum && kinds & LOREM != 0 {
                judged.lorem_ipsum = true;
                return judged;
            }
            if rules.on(Javascript) && kinds & JAVASCRIPT != 0 {
                cut(Javascript, None);
                continue;
            }
            if rules.curly_bracket && memchr::memchr(b'{', left.as_bytes()).is_some() {
                judged.curly_bracket = true;
                return judged;
            }
            if rules.on(Policy) && kinds & POLICY != 0 {
                cut(Policy, None);
                continue;
            }
            let changed = match &left {
                Cow::Owned(left) => Some(left.as_str()),
                Cow::Borrowed(_) => None,
            };
            judged.sentences += count(number, changed);
            for (from, to) in citations {
                sink.cut(Citation, None, start + from, start + to);
            }
            sink.keep(&left);
        }
        judged
    }

    /// RefinedWeb's rules, on the text without the whitespace at its ends.
    /// `words` are those of the text that begin with a letter or number.
    pub fn refined_web(&self, rules: &LineRules, words: f64, sink: &mut impl Sink) -> Judged {
        let mut judged = Judged::default();
        let inner = strip(self.text);
        let first = inner.as_ptr() as usize - self.text.as_ptr() as usize;
        let last = first + inner.len();
        let few = rules
            .limit(LineRule::Phrase)
            .filter(|_| self.finder.any_of_shops(self.lower));
        let (all, mut removed) = (words_of_inner(self.text, inner, first, words), 0);
        for (line, words) in self.lines.lines.iter().zip(self.words) {
            let (start, end) = line.span();
            if end <= first || start >= last {
                continue;
            }
            let (from, to) = (start.max(first), end.min(last));
            let part = &self.text[from..to];
            if part.is_empty() {
                sink.keep(part);
                continue;
            }
            let words = f64::from(words.words);
            if let Some((rule, value)) = refined_web_line(part, words, rules) {
                sink.cut(rule, value, start, self.after(end));
                removed += alnum_words(part);
                continue;
            }
            let short = few.is_some_and(|limit| words <= limit);
            let spans = if short { phrases(part) } else { vec![] };
            let left = without(part, &spans);
            if !spans.is_empty() {
                removed += alnum_words(part).saturating_sub(alnum_words(&left));
                if strip(&left).is_empty() {
                    sink.cut(LineRule::Phrase, None, start, self.after(end));
                    continue;
                }
            }
            for (begin, stop) in spans {
                sink.cut(LineRule::Phrase, None, from + begin, from + stop);
            }
            sink.keep(&left);
        }
        judged.removed_share = if all == 0.0 {
            1.0
        } else {
            removed as f64 / all
        };
        judged
    }

    /// The byte after the line break at `end`.
    fn after(&self, end: usize) -> usize {
        let rest = &self.text[end..];
        let length = if rest.starts_with("\r\n") {
            2
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        end + length
    }
}

/// Words of the stripped text, which are those of the text unless it begins with whitespace that is no separator.
fn words_of_inner(text: &str, inner: &str, first: usize, words: f64) -> f64 {
    let separator = |byte: &u8| matches!(byte, 9..=13 | b' ');
    match text.as_bytes()[..first].iter().all(separator) {
        true => words,
        false => alnum_words(inner) as f64,
    }
}

/// The first rule of RefinedWeb's that a line fails, with what it measured.
fn refined_web_line(line: &str, words: f64, rules: &LineRules) -> Option<(LineRule, Option<f64>)> {
    let above = |rule, value: f64| {
        rules
            .limit(rule)
            .is_some_and(|limit| value > limit)
            .then_some((rule, Some(value)))
    };
    let chars = n_chars(line.as_bytes()) as f64;
    let (upper, digits) = upper_and_digits(line);
    let counter =
        || (rules.on(LineRule::Counter) && is_counter(line)).then_some((LineRule::Counter, None));
    let few = || {
        let fails = rules
            .limit(LineRule::FewWords)
            .is_some_and(|limit| words < limit);
        fails.then_some((LineRule::FewWords, Some(words)))
    };
    above(LineRule::Uppercase, upper as f64 / chars)
        .or_else(|| above(LineRule::Digits, digits as f64 / chars))
        .or_else(counter)
        .or_else(few)
}
