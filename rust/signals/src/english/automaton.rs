//! Automata that read each byte once, and regular expressions without looks to either side, of which they are made.

use std::collections::BTreeSet;

use fancy_regex::{Expr, LookAround};
use regex_automata::dfa::Automaton as _;
use regex_automata::dfa::{StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, MatchKind};

/// Bytes of the largest automaton; a larger one is not made.
const MOST: usize = 16 << 20;
/// Repeats of an expression up to this number are counted, in `How::Wider` and `How::Narrower`.
const COUNTED: usize = 16;

/// How an automaton reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From left to right: the match that a search finds which tries the branches in order.
    First,
    /// From left to right: whether the whole is a match.
    Whole,
    /// From right to left: the longest match.
    Backward,
}

/// An automaton for matches that begin at the place where it begins to read, and are not empty.
#[derive(Debug)]
pub(super) struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    /// Bytes that a match can begin with, in the direction of reading.
    first: [bool; 256],
}

impl Automaton {
    /// None where the expression is too large, looks to either side, or matches the empty text.
    pub fn new(expression: &str, way: Way) -> Option<Self> {
        let config = thompson::Config::new()
            .reverse(way == Way::Backward)
            .which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new()
            .configure(config)
            .build(expression)
            .ok()?;
        let kind = match way {
            Way::First => MatchKind::LeftmostFirst,
            Way::Whole | Way::Backward => MatchKind::All,
        };
        let config = dense::Config::new()
            .match_kind(kind)
            .start_kind(StartKind::Anchored)
            .accelerate(false)
            .dfa_size_limit(Some(MOST))
            .determinize_size_limit(Some(MOST));
        let dfa = dense::Builder::new()
            .configure(config)
            .build_from_nfa(&nfa)
            .ok()?;
        let start = dfa.universal_start_state(Anchored::Yes)?;
        if dfa.is_match_state(dfa.next_eoi_state(start)) {
            return None;
        }
        let first =
            std::array::from_fn(|byte| !dfa.is_dead_state(dfa.next_state(start, byte as u8)));
        Some(Self { dfa, start, first })
    }

    /// Whether a match can begin with this byte, in the direction of reading.
    #[inline]
    pub fn begins_with(&self, byte: u8) -> bool {
        self.first[byte as usize]
    }

    /// Bytes of the match at the beginning.
    #[inline]
    pub fn forward(&self, bytes: &[u8]) -> Option<usize> {
        self.read(bytes.iter().copied())
    }

    /// Bytes of the longest match at the end.
    #[inline]
    pub fn backward(&self, bytes: &[u8]) -> Option<usize> {
        self.read(bytes.iter().rev().copied())
    }

    /// Whether all of it is a match.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        let mut state = self.start;
        for &byte in bytes {
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_dead_state(state) {
                return false;
            }
        }
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }

    #[inline]
    fn read(&self, bytes: impl Iterator<Item = u8>) -> Option<usize> {
        let (mut state, mut found, mut read) = (self.start, None, 0);
        for byte in bytes {
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_special_state(state) {
                // A match is known one byte behind its end.
                match self.dfa.is_match_state(state) {
                    true => found = Some(read),
                    false => return found,
                }
            }
            read += 1;
        }
        match self.dfa.is_match_state(self.dfa.next_eoi_state(state)) {
            true => Some(read),
            false => found,
        }
    }

    /// Whether any text of nothing but these bytes has a match: all states that they lead to are gone through.
    pub fn can_match(&self, bytes: impl Iterator<Item = u8> + Clone) -> bool {
        let (mut seen, mut next) = (BTreeSet::from([self.start]), vec![self.start]);
        while let Some(state) = next.pop() {
            if self.dfa.is_match_state(self.dfa.next_eoi_state(state)) {
                return true;
            }
            for byte in bytes.clone() {
                let state = self.dfa.next_state(state, byte);
                if self.dfa.is_match_state(state) {
                    return true;
                }
                if !self.dfa.is_dead_state(state) && seen.insert(state) {
                    next.push(state);
                }
            }
        }
        false
    }
}

/// What becomes of the parts of an expression that an automaton cannot have, or only at great cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// There must be none.
    Exactly,
    /// All that the expression matches, and more: looks to either side are fulfilled, long repeats endless, and classes
    /// have every character that is not ASCII.
    Wider,
    /// Of texts of no more characters than those repeats, some of what the expression matches: looks to either side
    /// fail, long repeats are endless, and classes have ASCII alone.
    Narrower,
}

/// Writes an expression for an automaton. None where it has a part that no automaton can have; else the fewest repeats
/// that were made endless.
pub(super) fn write(expr: &Expr, how: How, text: &mut String) -> Option<usize> {
    let mut fewest = usize::MAX;
    let mut part = |expr, text: &mut String| {
        fewest = fewest.min(write(expr, how, text)?);
        Some(())
    };
    match expr {
        Expr::Delegate { inner, casei } if how != How::Exactly => {
            text.push_str(&match how {
                _ if *casei => return None,
                How::Wider => format!(r"[{inner}[^\x00-\x7F]]"),
                _ => format!(r"[\x00-\x7F&&{inner}]"),
            });
        }
        Expr::Empty | Expr::Any { .. } | Expr::Literal { .. } | Expr::Delegate { .. } => {
            text.push_str("(?:");
            expr.to_str(text, 0);
            text.push(')');
        }
        Expr::Group(child) => part(child, text)?,
        Expr::Concat(children) => children.iter().try_for_each(|child| part(child, text))?,
        Expr::Alt(children) => {
            for (number, child) in children.iter().enumerate() {
                text.push_str(if number == 0 { "(?:" } else { "|" });
                part(child, text)?;
            }
            text.push(')');
        }
        &Expr::Repeat {
            ref child,
            lo,
            hi,
            greedy,
        } => {
            text.push_str("(?:");
            part(child, text)?;
            text.push(')');
            if hi == usize::MAX || how != How::Exactly && hi > COUNTED {
                fewest = fewest.min(hi);
                text.push_str(&format!("{{{lo},}}"));
            } else {
                text.push_str(&format!("{{{lo},{hi}}}"));
            }
            text.push_str(if greedy { "" } else { "?" });
        }
        Expr::LookAround(..) if how == How::Wider => {}
        Expr::LookAround(..) if how == How::Narrower => text.push_str(r"[^\s\S]"),
        _ => return None,
    }
    Some(fewest)
}

/// Characters of all that an expression matches, where these are as many always.
pub(super) fn n_chars(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Empty => Some(0),
        Expr::Any { .. } | Expr::Delegate { .. } => Some(1),
        Expr::Literal { val, casei: false } => Some(val.chars().count()),
        Expr::Group(child) => n_chars(child),
        Expr::Concat(children) => children.iter().map(n_chars).sum(),
        Expr::Alt(children) => {
            let first = n_chars(children.first()?)?;
            children
                .iter()
                .all(|child| n_chars(child) == Some(first))
                .then_some(first)
        }
        Expr::Repeat { child, lo, hi, .. } if lo == hi => Some(n_chars(child)? * lo),
        _ => None,
    }
}

/// A branch of a pattern: a body, and what must be before and behind it.
#[derive(Debug)]
pub(super) struct Branch<'p> {
    /// It begins where the text does, and ends where it does.
    pub at_start: bool,
    /// See `at_start`.
    pub at_end: bool,
    pub before: Option<&'p Expr>,
    /// And whether it must be there, or must not.
    pub behind: Option<(&'p Expr, bool)>,
    body: &'p [Expr],
}

impl<'p> Branch<'p> {
    /// The branches of a pattern. What is left as body may be more than an automaton can have.
    pub fn of(pattern: &'p Expr) -> Vec<Self> {
        match pattern {
            Expr::Alt(branches) => branches.iter().map(Self::new).collect(),
            _ => vec![Self::new(pattern)],
        }
    }

    fn new(branch: &'p Expr) -> Self {
        use fancy_regex::Assertion::{EndText, StartText};
        let mut made = Self {
            at_start: false,
            at_end: false,
            before: None,
            behind: None,
            body: match branch {
                Expr::Concat(items) => items,
                _ => std::slice::from_ref(branch),
            },
        };
        if let [Expr::Assertion(StartText), rest @ ..] = made.body {
            (made.at_start, made.body) = (true, rest);
        }
        if let [rest @ .., Expr::Assertion(EndText)] = made.body {
            (made.at_end, made.body) = (true, rest);
        }
        if let [Expr::LookAround(before, LookAround::LookBehind), rest @ ..] = made.body {
            (made.before, made.body) = (Some(&**before), rest);
        }
        if let [rest @ .., Expr::LookAround(behind, look)] = made.body
            && matches!(look, LookAround::LookAhead | LookAround::LookAheadNeg)
        {
            (made.behind, made.body) = (Some((&**behind, *look == LookAround::LookAhead)), rest);
        }
        made
    }

    /// Writes the body, see `write`.
    pub fn write(&self, how: How, text: &mut String) -> Option<usize> {
        let mut parts = self.body.iter();
        parts.try_fold(usize::MAX, |fewest, part| {
            Some(fewest.min(write(part, how, text)?))
        })
    }

    /// See `n_chars`.
    pub fn n_chars(&self) -> Option<usize> {
        self.body.iter().map(n_chars).sum()
    }
}
