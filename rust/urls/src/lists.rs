//! List files line by line, and the search of an address in all of them.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use curate_text::Texts;

use crate::Error;
use crate::address::{Address, is_suffix};
use crate::table::{Rolling, Table};

/// What the lines of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hosts; a host is on the list with all hosts below it. Lines of a hosts file (`0.0.0.0 name`) are read, too.
    Domains,
    /// Addresses, with or without a scheme; an address is on the list where an entry ends at one of its parts.
    Urls,
    /// Rules of ad blockers, of which `||domain^` are read.
    Adblock,
    /// Words of an address: runs of letters and digits.
    Words,
    /// Letters in a row anywhere in an address, where `-` and `.` do not count.
    Subwords,
    /// Words of which an address must have several.
    SoftWords,
}

/// What became of the lines of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Entries; lines that repeat one are counted, too.
    pub entries: usize,
    /// Entries that are public suffixes: such a host alone is on the list, not what is below it.
    pub suffixes: usize,
    /// Lines that are neither entries nor comments nor empty.
    pub unread: usize,
}

/// Where an address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The number of the list, by the order in which lists were added.
    pub list: u32,
    /// The entry; of soft words all that were found.
    pub entry: String,
}

/// All lists. `add` them, then `build`, then `find`.
pub struct Lists {
    domains: Table,
    urls: Table,
    words: Table,
    soft: Table,
    subwords: Vec<(String, u32)>,
    automaton: Option<AhoCorasick>,
    /// Different soft words that an address must have.
    min_soft: usize,
    count: u32,
}

impl Lists {
    /// No lists yet; an address is on a list of soft words with `min_soft` different ones.
    pub fn new(min_soft: usize) -> Self {
        Self {
            domains: Table::new(true),
            urls: Table::new(false),
            words: Table::new(false),
            soft: Table::new(false),
            subwords: Vec::new(),
            automaton: None,
            min_soft: min_soft.max(1),
            count: 0,
        }
    }

    /// Add the lines of a list; bytes that are no UTF-8 are read as replacement characters.
    pub fn add(&mut self, kind: Kind, file: &[u8]) -> Result<Added, Error> {
        let list = self.count;
        self.count += 1;
        let mut added = Added::default();
        for line in file.split(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.trim().trim_start_matches('\u{feff}');
            let comments: &[char] = if kind == Kind::Adblock {
                &['!', '[']
            } else {
                &['#']
            };
            if line.is_empty() || line.starts_with(comments) {
                continue;
            }
            let read = match kind {
                Kind::Domains => self.add_domain(named(line), list, &mut added)?,
                Kind::Adblock => match line
                    .strip_prefix("||")
                    .and_then(|rule| rule.strip_suffix('^'))
                {
                    Some(host) if !host.contains(['/', '*', '$']) => {
                        self.add_domain(host, list, &mut added)?
                    }
                    _ => false,
                },
                Kind::Urls => self.add_url(line, list)?,
                Kind::Words => add_word(&mut self.words, line, list)?,
                Kind::SoftWords => add_word(&mut self.soft, line, list)?,
                Kind::Subwords => {
                    let word = line.to_lowercase().replace(['-', '.'], "");
                    let some = !word.is_empty();
                    self.subwords.extend(some.then_some((word, list)));
                    some
                }
            };
            added.entries += usize::from(read);
            added.unread += usize::from(!read);
        }
        Ok(added)
    }

    fn add_domain(&mut self, host: &str, list: u32, added: &mut Added) -> Result<bool, Error> {
        let host = host
            .strip_prefix("*.")
            .or(host.strip_prefix('.'))
            .unwrap_or(host);
        match Address::parse(host) {
            Some(Address {
                host,
                rest: "" | "/",
            }) => {
                added.suffixes += usize::from(is_suffix(&host));
                self.domains.add(host.as_bytes(), list)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn add_url(&mut self, url: &str, list: u32) -> Result<bool, Error> {
        let Some(address) = Address::parse(url) else {
            return Ok(false);
        };
        let whole = whole(&address);
        self.urls
            .add(whole.trim_end_matches('/').as_bytes(), list)?;
        Ok(true)
    }

    /// Make the lists ready; none may be added afterwards.
    pub fn build(&mut self) -> Result<(), Error> {
        if !self.subwords.is_empty() {
            let words = self.subwords.iter().map(|(word, _)| word);
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(words);
            self.automaton = Some(built.map_err(|error| Error::Words(error.to_string()))?);
        }
        Ok(())
    }

    /// Where each address of a column is found; lists of domains come first, then addresses, subwords, words, soft
    /// words. Of an address that cannot be parsed its words are looked at.
    pub fn find_all(&self, urls: Texts<'_>) -> Result<Vec<Option<Hit>>, Error> {
        (0..urls.len())
            .map(|row| Ok(self.find(urls.text(row)?)))
            .collect()
    }

    /// Where an address is found.
    pub fn find(&self, url: &str) -> Option<Hit> {
        if let Some(address) = Address::parse(url) {
            let hit = self
                .find_domain(&address.host)
                .or_else(|| self.find_url(&address));
            if hit.is_some() {
                return hit;
            }
        }
        self.find_words(url)
    }

    /// The shortest end of a host that is listed: `a.b.example.com` is on a list with `example.com`.
    fn find_domain(&self, host: &str) -> Option<Hit> {
        if self.domains.is_empty() {
            return None;
        }
        let bytes = host.as_bytes();
        let mut hash = Rolling::new();
        for place in (0..bytes.len()).rev() {
            hash.push(bytes[place]);
            if place > 0 && bytes[place - 1] != b'.' {
                continue;
            }
            if let Some(list) = self.domains.find(hash, &bytes[place..])
                && (place == 0 || !is_suffix(&host[place..]))
            {
                return Some(Hit {
                    list,
                    entry: host[place..].to_owned(),
                });
            }
        }
        None
    }

    /// The shortest listed beginning of an address that ends at one of its parts.
    fn find_url(&self, address: &Address<'_>) -> Option<Hit> {
        if self.urls.is_empty() {
            return None;
        }
        let whole = whole(address);
        let bytes = whole.as_bytes();
        let mut hash = Rolling::new();
        for (place, &byte) in bytes.iter().enumerate() {
            hash.push(byte);
            let ends = bytes
                .get(place + 1)
                .is_none_or(|next| matches!(next, b'/' | b'?' | b'#' | b'&'));
            if ends && let Some(list) = self.urls.find(hash, &bytes[..=place]) {
                return Some(Hit {
                    list,
                    entry: whole[..=place].to_owned(),
                });
            }
        }
        None
    }

    fn find_words(&self, url: &str) -> Option<Hit> {
        if self.automaton.is_none() && self.words.is_empty() && self.soft.is_empty() {
            return None;
        }
        let text = decoded(url).to_lowercase();
        if let Some(automaton) = &self.automaton {
            let joined: String = text.chars().filter(|c| !matches!(c, '-' | '.')).collect();
            if let Some(found) = automaton.find(&joined) {
                let (word, list) = &self.subwords[found.pattern().as_usize()];
                return Some(Hit {
                    list: *list,
                    entry: word.clone(),
                });
            }
        }
        let words = || {
            text.split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
        };
        for word in words() {
            if let Some(list) = self.words.get(word.as_bytes()) {
                return Some(Hit {
                    list,
                    entry: word.to_owned(),
                });
            }
        }
        if self.soft.is_empty() {
            return None;
        }
        let mut found: Vec<(&str, u32)> = Vec::new();
        for word in words() {
            if let Some(list) = self.soft.get(word.as_bytes())
                && !found.iter().any(|&(other, _)| other == word)
            {
                found.push((word, list));
                if found.len() == self.min_soft {
                    let entries: Vec<&str> = found.iter().map(|&(word, _)| word).collect();
                    return Some(Hit {
                        list: found[0].1,
                        entry: entries.join(" "),
                    });
                }
            }
        }
        None
    }
}

/// The name of a line of a hosts file, `0.0.0.0 name`, or the line itself; what follows a `#` is a comment.
fn named(line: &str) -> &str {
    let line = line.split('#').next().unwrap_or(line).trim_end();
    match line.split_once(|c: char| c.is_ascii_whitespace()) {
        Some((address, name)) if address.parse::<std::net::IpAddr>().is_ok() => name.trim_start(),
        _ => line,
    }
}

/// Adds the words of a line, each of which is an entry; whether there is one.
fn add_word(table: &mut Table, line: &str, list: u32) -> Result<bool, Error> {
    let lower = line.to_lowercase();
    let mut some = false;
    for word in lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        table.add(word.as_bytes(), list)?;
        some = true;
    }
    Ok(some)
}

/// Host and rest in lower case, without a fragment.
fn whole(address: &Address<'_>) -> String {
    let rest = address.rest.split('#').next().unwrap_or_default();
    format!("{}{}", address.host, rest.to_lowercase())
}

/// A text with its %-escapes resolved; bytes that are no UTF-8 become replacement characters.
fn decoded(url: &str) -> Cow<'_, str> {
    if !url.contains('%') {
        return Cow::Borrowed(url);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = url.as_bytes();
    let (mut made, mut place) = (Vec::with_capacity(bytes.len()), 0);
    while place < bytes.len() {
        match (
            bytes[place],
            digit(bytes.get(place + 1)),
            digit(bytes.get(place + 2)),
        ) {
            (b'%', Some(high), Some(low)) => {
                made.push((high * 16 + low) as u8);
                place += 3;
            }
            (byte, _, _) => {
                made.push(byte);
                place += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&made).into_owned())
}

#[cfg(test)]
mod tests;
