//! Prefixes, infixes, suffixes and URLs by automata that are made of their patterns.
//!
//! A pattern such as `(?<=[0-9])[+*](?=[0-9])|\.\.+` is an alternation of branches, each with a body that an automaton
//! can match, and looks at what stands before and behind it, which are automata of their own. What a pattern has that
//! is of no such form stays with the engine that goes back and tries again.

use fancy_regex::{Expr, Regex};

use super::automaton::{Automaton, Branch, How, Way, n_chars, write};

/// What is matched at a place of a part: a prefix at its beginning, an infix anywhere.
#[derive(Debug)]
pub(super) struct Starts {
    groups: Vec<Group>,
    /// Bytes that a match can begin with.
    first: [bool; 256],
}

/// Branches in a row, or one that looks to a side.
#[derive(Debug)]
struct Group {
    before: Option<Automaton>,
    /// The body, and what must be behind it.
    body: Automaton,
    /// Characters of the latter.
    behind: usize,
    not_behind: Option<Automaton>,
}

impl Starts {
    /// None where a branch is of another form. `at_start`: whether the branches match at the beginning only.
    pub fn new(pattern: &str, at_start: bool) -> Option<Self> {
        let tree = Expr::parse_tree(pattern).ok()?;
        let (mut groups, mut plain) = (vec![], String::new());
        for branch in Branch::of(&tree.expr) {
            if branch.at_start != at_start || branch.at_end {
                return None;
            }
            let mut body = String::new();
            branch.write(How::Exactly, &mut body)?;
            if branch.before.is_none() && branch.behind.is_none() {
                plain.push_str(if plain.is_empty() { "" } else { "|" });
                plain.push_str(&body);
                continue;
            }
            if !plain.is_empty() {
                groups.push(Group::plain(&std::mem::take(&mut plain))?);
            }
            groups.push(Group::new(&branch, body)?);
        }
        if !plain.is_empty() {
            groups.push(Group::plain(&plain)?);
        }
        let first = std::array::from_fn(|byte| {
            let begins = |group: &Group| group.body.begins_with(byte as u8);
            groups.iter().any(begins)
        });
        Some(Self { groups, first })
    }

    /// The end of the match that begins at a place.
    #[inline]
    pub fn at(&self, part: &str, place: usize) -> Option<usize> {
        let byte = *part.as_bytes().get(place)?;
        if !self.first[byte as usize] {
            return None;
        }
        let found = |group: &Group| {
            let fits = group.body.begins_with(byte);
            fits.then(|| group.at(part, place)).flatten()
        };
        self.groups.iter().find_map(found)
    }

    /// All matches from left to right, none of which overlaps another.
    pub fn all(&self, part: &str, mut emit: impl FnMut(usize, usize)) {
        let mut place = 0;
        while place < part.len() {
            match self.at(part, place) {
                Some(end) => {
                    emit(place, end);
                    place = end;
                }
                None => place += 1,
            }
        }
    }

    /// See `Automaton::can_match`.
    pub fn can_match(&self, bytes: impl Iterator<Item = u8> + Clone) -> bool {
        self.groups.iter().any(|group| {
            let before = group.before.as_ref();
            group.body.can_match(bytes.clone())
                && before.is_none_or(|before| before.can_match(bytes.clone()))
        })
    }
}

impl Group {
    fn plain(body: &str) -> Option<Self> {
        Some(Self {
            before: None,
            body: Automaton::new(body, Way::First)?,
            behind: 0,
            not_behind: None,
        })
    }

    fn new(branch: &Branch<'_>, mut body: String) -> Option<Self> {
        let alone = |expr: &Expr, way| {
            let mut text = String::new();
            write(expr, How::Exactly, &mut text)?;
            Automaton::new(&text, way)
        };
        let (mut behind, mut not_behind) = (0, None);
        match branch.behind {
            Some((expr, true)) => {
                behind = n_chars(expr)?;
                write(expr, How::Exactly, &mut body)?;
            }
            Some((expr, false)) => {
                // Only of bodies of one length is the first that is found the only one.
                branch.n_chars()?;
                not_behind = Some(alone(expr, Way::First)?);
            }
            None => {}
        }
        Some(Self {
            before: match branch.before {
                Some(expr) => Some(alone(expr, Way::Backward)?),
                None => None,
            },
            body: Automaton::new(&body, Way::First)?,
            behind,
            not_behind,
        })
    }

    fn at(&self, part: &str, place: usize) -> Option<usize> {
        let bytes = part.as_bytes();
        if let Some(before) = &self.before {
            before.backward(&bytes[..place])?;
        }
        let mut end = place + self.body.forward(&bytes[place..])?;
        for _ in 0..self.behind {
            end = part.floor_char_boundary(end - 1);
        }
        let barred = |bar: &Automaton| bar.forward(&bytes[end..]).is_some();
        (!self.not_behind.as_ref().is_some_and(barred)).then_some(end)
    }
}

/// What is matched at the end of a part: a suffix, the longest.
#[derive(Debug)]
pub(super) struct Ends {
    /// Of suffixes with so many characters before them that are looked at, both backwards.
    groups: Vec<(usize, Automaton)>,
}

impl Ends {
    /// None where a branch is of another form.
    pub fn new(pattern: &str) -> Option<Self> {
        let tree = Expr::parse_tree(pattern).ok()?;
        let mut bodies: Vec<(usize, String)> = vec![];
        for branch in Branch::of(&tree.expr) {
            if branch.at_start || !branch.at_end || branch.behind.is_some() {
                return None;
            }
            let mut body = String::new();
            let before = branch.before.map_or(Some(0), n_chars)?;
            if let Some(expr) = branch.before {
                write(expr, How::Exactly, &mut body)?;
            }
            branch.write(How::Exactly, &mut body)?;
            match bodies.iter_mut().find(|group| group.0 == before) {
                Some(group) => {
                    group.1.push('|');
                    group.1.push_str(&body);
                }
                None => bodies.push((before, body)),
            }
        }
        let groups = bodies
            .iter()
            .map(|(before, body)| Some((*before, Automaton::new(body, Way::Backward)?)));
        Some(Self {
            groups: groups.collect::<Option<_>>()?,
        })
    }

    /// Bytes of the longest suffix.
    #[inline]
    pub fn longest(&self, part: &str) -> usize {
        let Some(&last) = part.as_bytes().last() else {
            return 0;
        };
        let length = |(before, body): &(usize, Automaton)| {
            if !body.begins_with(last) {
                return 0;
            }
            let Some(length) = body.backward(part.as_bytes()) else {
                return 0;
            };
            let looked_at = part[part.len() - length..].chars().take(*before);
            length - looked_at.map(char::len_utf8).sum::<usize>()
        };
        self.groups.iter().map(length).max().unwrap_or(0)
    }

    /// See `Automaton::can_match`.
    pub fn can_match(&self, bytes: impl Iterator<Item = u8> + Clone) -> bool {
        self.groups
            .iter()
            .any(|group| group.1.can_match(bytes.clone()))
    }
}

/// What is matched as a whole: a URL. Two automata hold more and less than the pattern; it is asked where they differ.
#[derive(Debug, Default)]
pub(super) struct Whole {
    wider: Option<Automaton>,
    /// With the bytes of the longest part that it holds for.
    narrower: Option<(usize, Automaton)>,
}

impl Whole {
    pub fn new(pattern: &str) -> Self {
        let made = |how| {
            let tree = Expr::parse_tree(pattern).ok()?;
            let [branch] = &Branch::of(&tree.expr)[..] else {
                return None;
            };
            if !branch.at_start
                || !branch.at_end
                || branch.before.is_some()
                || branch.behind.is_some()
            {
                return None;
            }
            let mut body = String::new();
            let longest = branch.write(how, &mut body)?;
            Some((longest, Automaton::new(&body, Way::Whole)?))
        };
        Self {
            wider: made(How::Wider).map(|found| found.1),
            narrower: made(How::Narrower),
        }
    }

    #[inline]
    pub fn is_match(&self, part: &str, pattern: &Regex) -> bool {
        let bytes = part.as_bytes();
        if let Some(wider) = &self.wider
            && !wider.is_match(bytes)
        {
            return false;
        }
        if let Some((longest, narrower)) = &self.narrower
            && bytes.len() <= *longest
            && narrower.is_match(bytes)
        {
            return true;
        }
        pattern.is_match(part).unwrap_or(false)
    }

    /// See `Automaton::can_match`.
    pub fn can_match(&self, bytes: impl Iterator<Item = u8> + Clone) -> bool {
        let wider = self.wider.as_ref();
        wider.is_none_or(|wider| wider.can_match(bytes))
    }
}
