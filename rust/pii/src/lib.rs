//! Personal data and secrets in text: found by pattern and check, replaced by placeholders or by made-up values.
//!
//! ```text
//! text --find--> (kind, start, end)     six kinds by default, four on demand
//!      --replace--> text                spans from here or from any other recognizer
//! ```
//!
//! Two bytes anchor the default kinds: `@` for an e-mail address, the first digit of a number for the others (a public
//! IPv6 address begins with 2 or 3, and an IBAN has digits at its third and fourth place). Blocks of 64 bytes without
//! either are passed over. At an anchor, hand-written matchers look at a bounded window, and a walk over groups of
//! digits ends where the next one begins, so any input takes linear time.
//!
//! What counts is said in the module of each kind. Known limits: four numbers without a word before them that tells
//! look like an IPv4 address, and `user@host` of a repository like an e-mail address.

mod context;
mod email;
mod iban;
mod ip;
mod numbers;
mod phone;
mod replace;
mod scan;
mod secrets;

use curate_text::Texts;

pub use replace::{Replaced, Spans, Style, replace};
pub use scan::find;

/// What can be wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that cannot be read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// A kind that there is not.
    #[error("no kind of personal data is named {name:?}: use one of {known}")]
    UnknownKind {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A span that its text does not have, or that overlaps the one before.
    #[error(
        "span {span} (row {row}, bytes {start} to {end}) is no part of its text behind the span before it: sort spans \
         by row and start, without overlaps, at borders of characters"
    )]
    Span {
        /// The span, from 0.
        span: usize,
        /// Its row.
        row: u32,
        /// Its first byte.
        start: u32,
        /// The byte after its last.
        end: u32,
    },
    /// Columns of spans that differ in length.
    #[error(
        "spans have {rows} rows, {starts} starts, {ends} ends and {kinds} kinds: give one of each a span"
    )]
    Lengths {
        /// Rows given.
        rows: usize,
        /// Starts given.
        starts: usize,
        /// Ends given.
        ends: usize,
        /// Kinds given.
        kinds: usize,
    },
    /// A placeholder that cannot be filled in.
    #[error("placeholder {template:?}: only {{type}} and {{n}} can stand in braces")]
    Placeholder {
        /// The placeholder.
        template: String,
    },
}

/// What kind of personal data or secret a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A public IPv4 or IPv6 address.
    Ip,
    /// A phone number, international, of North America, or in a national form.
    Phone,
    /// A payment card number.
    Card,
    /// An international bank account number.
    Iban,
    /// A social security number of the United States.
    Ssn,
    /// The hardware address of a network card.
    Mac,
    /// The address of a crypto wallet.
    Wallet,
    /// An API key or access token.
    ApiKey,
    /// A private key in PEM form.
    PrivateKey,
}

impl Kind {
    /// All kinds, in the order of their bits in `Kinds`.
    pub const ALL: [Self; 10] = [
        Self::Email,
        Self::Ip,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::Mac,
        Self::Wallet,
        Self::ApiKey,
        Self::PrivateKey,
    ];

    /// Its name in settings, rules and placeholders: "email", "api_key", …
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Mac => "mac",
            Self::Wallet => "wallet",
            Self::ApiKey => "api_key",
            Self::PrivateKey => "private_key",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// The kinds with these names.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, Error> {
        let kind = |name| {
            Kind::named(name).ok_or_else(|| Error::UnknownKind {
                name: name.to_string(),
                known: Kind::ALL.map(Kind::name).join(", "),
            })
        };
        names.into_iter().map(kind).collect()
    }

    /// Whether the kind is one of them.
    #[inline]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// Whether any of these kinds is one of them.
    pub fn any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|&kind| self.has(kind))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(
            kinds
                .into_iter()
                .fold(0, |bits, kind| bits | 1 << kind as u16),
        )
    }
}

/// Bytes `start..end` of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// The hits of a column of texts, by row and start; those of a row do not overlap.
#[derive(Debug, Default)]
pub struct Found {
    /// Row of each hit.
    pub rows: Vec<u32>,
    /// The hits, in bytes of their row's text.
    pub hits: Vec<Hit>,
}

/// Finds the wanted kinds in every text.
pub fn find_all(texts: Texts<'_>, kinds: Kinds) -> Result<Found, Error> {
    let mut out = Found::default();
    let mut hits = Vec::new();
    for row in 0..texts.len() {
        find(checked(texts, row)?, kinds, &mut hits);
        out.rows.resize(out.rows.len() + hits.len(), row as u32);
        out.hits.append(&mut hits);
    }
    Ok(out)
}

/// The text of a row, whose places fit 32 bits.
fn checked(texts: Texts<'_>, row: usize) -> Result<&str, Error> {
    let text = texts.text(row)?;
    if text.len() >= u32::MAX as usize {
        let (bytes, limit) = (text.len(), u32::MAX as usize - 1);
        return Err(curate_text::Error::TooLong { row, bytes, limit }.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
