//! Addresses against lists: of domains, of addresses, of words in addresses.
//!
//! ```text
//! lines of list files --Lists::add--> Lists --Lists::find--> the first list that an address is on, and its entry
//! ```
//!
//! Both sides are brought into one form first: hosts in lower case, without `www.`, port, user and final dot, their
//! labels in ASCII (punycode); the rest of an address in lower case. A million domains are added in .3 s and take some
//! 50 MB; an address is looked up in .2 µs.

mod address;
mod lists;
mod table;

pub use address::{Address, is_suffix, site};
pub use lists::{Added, Hit, Kind, Lists};

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A column of texts.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// More entries than 32-bit numbers can count.
    #[error(
        "the lists have more than {} bytes of entries: leave some out",
        u32::MAX
    )]
    TooLarge,
    /// Words that no automaton can be made of.
    #[error("the words cannot be looked for: {0}")]
    Words(String),
}
