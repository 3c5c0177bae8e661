//! What happens to a text before it is split: composition, marks for spaces, a prefix, and added tokens found in it.

use crate::Error;
use aho_corasick::{AhoCorasick, MatchKind};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// What happens to a text before it is split.
#[derive(Debug, Clone, Default)]
pub struct Normal {
    /// Compose characters (NFC).
    pub nfc: bool,
    /// What stands for a space.
    pub space: Option<String>,
    /// What every text that is not empty begins with.
    pub prefix: Option<String>,
    /// The prefix is left out where the text begins with it already.
    pub prefix_once: bool,
}

impl Normal {
    /// The text with all of it.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        if self.nfc {
            text = Cow::Owned(text.nfc().collect());
        }
        if let Some(mark) = &self.space {
            text = Cow::Owned(text.replace(' ', mark));
        }
        if let Some(prefix) = &self.prefix
            && !text.is_empty()
            && !(self.prefix_once && text.starts_with(prefix.as_str()))
        {
            text = Cow::Owned(format!("{prefix}{text}"));
        }
        text
    }

    /// Takes back, in what was decoded, what `apply` did to spaces.
    pub(crate) fn undo(&self, out: &mut Vec<u8>, start: usize) {
        let (Some(mark), Ok(text)) = (&self.space, std::str::from_utf8(&out[start..])) else {
            return;
        };
        let mut text = text.replace(mark.as_str(), " ");
        if self.prefix.is_some() && text.starts_with(' ') {
            text.remove(0);
        }
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
}

/// A token that was added to a vocabulary and stands for its text wherever that occurs.
#[derive(Debug, Clone)]
pub struct Added {
    /// What it stands for.
    pub text: String,
    /// Its number.
    pub id: u32,
    /// It is looked for after `Normal` was applied, not before.
    pub normalized: bool,
}

/// Finds added tokens.
pub struct Finder {
    texts: AhoCorasick,
    ids: Vec<u32>,
}

impl Finder {
    /// A finder of those of `added` that are looked for at this point; None where there are none.
    pub fn new(added: &[Added], normal: &Normal, normalized: bool) -> Result<Option<Self>, Error> {
        let chosen: Vec<&Added> = added
            .iter()
            .filter(|added| added.normalized == normalized)
            .collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let text = |added: &&Added| match normalized {
            true => normal.apply(&added.text).into_owned(),
            false => added.text.clone(),
        };
        let texts = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(chosen.iter().map(text))
            .map_err(|error| Error::Model(format!("its added tokens cannot be found: {error}")))?;
        let ids = chosen.iter().map(|added| added.id).collect();
        Ok(Some(Self { texts, ids }))
    }

    /// Calls `found` with the text before each added token and the token, then with what is left and None.
    pub fn split(
        finder: Option<&Self>,
        text: &str,
        mut found: impl FnMut(&str, Option<u32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = 0;
        if let Some(finder) = finder {
            for token in finder.texts.find_iter(text) {
                let id = finder.ids[token.pattern().as_usize()];
                found(&text[at..token.start()], Some(id))?;
                at = token.end();
            }
        }
        found(&text[at..], None)
    }
}
