//! What stands in place of a value: a placeholder with its type and number, or a made-up value of the same form.
//!
//! Equal values of a text have equal numbers, in the order in which they first occur. Values are equal by what they
//! mean: an address in any case, a phone number however it is grouped.
//!
//! Made-up values belong to nobody: domains and addresses that are reserved for documentation (RFC 2606, 5737, 3849,
//! 7042), phone numbers for fiction, card and account numbers whose check fails, social security numbers that were
//! never given out. Other types keep a placeholder. A value that stood for one is replaced by itself.

use std::collections::BTreeMap;
use std::io::Write;

use curate_text::{Texts, hash};

use crate::numbers::luhn_sum;
use crate::{Error, Kind, checked};

/// Spans to replace, by row and start; `kinds` are their types by name, any name at all.
#[derive(Clone, Copy, Debug)]
pub struct Spans<'a> {
    /// Row of each span.
    pub rows: &'a [u32],
    /// Its first byte.
    pub starts: &'a [u32],
    /// The byte after its last.
    pub ends: &'a [u32],
    /// Its type.
    pub kinds: Texts<'a>,
}

/// How values are replaced.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// The placeholder; `{type}` in it is the type in upper case, `{n}` the number of the value in its text.
    pub placeholder: &'a str,
    /// Made-up values in place of placeholders, for the types that have some.
    pub realistic: bool,
}

/// A column of texts: row i is `values[offsets[i]..offsets[i + 1]]`, which is UTF-8.
#[derive(Debug)]
pub struct Replaced {
    /// Where each row begins, and the end of the last.
    pub offsets: Vec<i64>,
    /// The bytes of all rows.
    pub values: Vec<u8>,
}

/// The texts with every span replaced.
pub fn replace(texts: Texts<'_>, spans: Spans<'_>, style: Style<'_>) -> Result<Replaced, Error> {
    let template = Template::parse(style.placeholder)?;
    let count = spans.rows.len();
    if [spans.starts.len(), spans.ends.len(), spans.kinds.len()] != [count; 3] {
        let (rows, starts, ends, kinds) = (
            count,
            spans.starts.len(),
            spans.ends.len(),
            spans.kinds.len(),
        );
        return Err(Error::Lengths {
            rows,
            starts,
            ends,
            kinds,
        });
    }
    let mut out = Replaced {
        offsets: Vec::with_capacity(texts.len() + 1),
        values: Vec::new(),
    };
    out.offsets.push(0);
    out.values.reserve(texts.total_bytes());
    let mut span = 0;
    for row in 0..texts.len() {
        let text = checked(texts, row)?;
        let mut numbers = Numbers::default();
        let mut copied = 0;
        while span < count && spans.rows[span] as usize == row {
            let (start, end) = (spans.starts[span] as usize, spans.ends[span] as usize);
            let (Some(before), Some(value)) = (text.get(copied..start), text.get(start..end))
            else {
                return Err(no_part(spans, span));
            };
            let kind = spans.kinds.text(span)?;
            out.values.extend_from_slice(before.as_bytes());
            numbers.write(kind, value, &template, style.realistic, &mut out.values);
            (copied, span) = (end, span + 1);
        }
        out.values.extend_from_slice(&text.as_bytes()[copied..]);
        out.offsets.push(out.values.len() as i64);
    }
    if span < count {
        Err(no_part(spans, span))
    } else {
        Ok(out)
    }
}

fn no_part(spans: Spans<'_>, span: usize) -> Error {
    Error::Span {
        span,
        row: spans.rows[span],
        start: spans.starts[span],
        end: spans.ends[span],
    }
}

// -- placeholders -------------------------------------------------------------------------------------------

enum Part<'a> {
    Words(&'a str),
    Type,
    Number,
}

struct Template<'a>(Vec<Part<'a>>);

impl<'a> Template<'a> {
    fn parse(template: &'a str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            parts.push(Part::Words(&rest[..open]));
            let inside = &rest[open..];
            let (part, length) = if inside.starts_with("{type}") {
                (Part::Type, 6)
            } else if inside.starts_with("{n}") {
                (Part::Number, 3)
            } else {
                return Err(Error::Placeholder {
                    template: template.to_string(),
                });
            };
            parts.push(part);
            rest = &inside[length..];
        }
        parts.push(Part::Words(rest));
        Ok(Self(parts))
    }

    fn write(&self, kind: &str, number: usize, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Words(words) => out.extend_from_slice(words.as_bytes()),
                Part::Type => out.extend(kind.bytes().map(|byte| byte.to_ascii_uppercase())),
                Part::Number => {
                    let _never_fails = write!(out, "{number}");
                }
            }
        }
    }
}

/// The numbers of the values of one text.
#[derive(Default)]
struct Numbers<'t> {
    /// Number by the hash of type and meaning.
    known: BTreeMap<u64, usize>,
    /// Each type that occurred, with the values so far.
    counts: Vec<(&'t str, usize)>,
    meaning: Vec<u8>,
}

impl<'t> Numbers<'t> {
    /// Writes what stands for `value`.
    fn write(
        &mut self,
        kind: &'t str,
        value: &str,
        template: &Template<'_>,
        realistic: bool,
        out: &mut Vec<u8>,
    ) {
        let known = Kind::named(kind);
        let place = self.counts.iter().position(|(name, _)| *name == kind);
        let place = place.unwrap_or_else(|| {
            self.counts.push((kind, 0));
            self.counts.len() - 1
        });
        meaning(known, value, &mut self.meaning);
        let key = hash::mix(
            hash::hash_bytes(kind.as_bytes()),
            hash::hash_bytes(&self.meaning),
        );
        let count = &mut self.counts[place].1;
        let number = *self.known.entry(key).or_insert_with(|| {
            *count += 1;
            *count
        });
        match known
            .filter(|_| realistic)
            .and_then(|kind| made_up(kind, value, number))
        {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => template.write(kind, number, out),
        }
    }
}

/// A value without what makes no difference.
fn meaning(kind: Option<Kind>, value: &str, out: &mut Vec<u8>) {
    out.clear();
    match kind {
        Some(Kind::Email | Kind::Ip) if !value.is_ascii() => {
            out.extend_from_slice(value.to_lowercase().as_bytes())
        }
        Some(Kind::Email | Kind::Ip) => {
            out.extend(value.bytes().map(|byte| byte.to_ascii_lowercase()))
        }
        Some(Kind::Phone | Kind::Card | Kind::Ssn) => {
            out.extend(value.bytes().filter(u8::is_ascii_digit))
        }
        Some(Kind::Iban | Kind::Mac) => {
            out.extend(
                value
                    .bytes()
                    .filter(u8::is_ascii_alphanumeric)
                    .map(|byte| byte.to_ascii_uppercase()),
            );
        }
        _ => out.extend_from_slice(value.as_bytes()),
    }
}

// -- made-up values -----------------------------------------------------------------------------------------

/// A value of the same form that belongs to nobody; none for kinds that have no such values.
fn made_up(kind: Kind, value: &str, number: usize) -> Option<String> {
    let n = number - 1;
    Some(match kind {
        Kind::Email => format!("reader{number}@example.org"),
        Kind::Ip if value.contains(':') => format!("2001:db8::{number:x}"),
        Kind::Ip => {
            let block = ["192.0.2", "198.51.100", "203.0.113"][n / 254 % 3];
            format!("{block}.{}", n % 254 + 1)
        }
        Kind::Phone if value.starts_with('+') => format!("+44 7700 900{:03}", n % 1000),
        Kind::Phone => format!("202-555-01{:02}", n % 100),
        Kind::Ssn => format!("987-65-43{}", 20 + n % 10),
        Kind::Mac => format!("00:00:5E:00:53:{:02X}", n % 256),
        Kind::Card => in_groups_of(value, &card(value, number)),
        Kind::Iban => {
            // Check digits 00 are given to no account.
            let width = count(value).saturating_sub(4);
            in_groups_of(
                value,
                &format!("{}00{number:0width$}", value.get(..2).unwrap_or("XX")),
            )
        }
        Kind::Wallet | Kind::ApiKey | Kind::PrivateKey => return None,
    })
}

/// A number as long as `value` with the prefix of a network and a check digit that Luhn's check refuses.
fn card(value: &str, number: usize) -> String {
    let width = count(value).saturating_sub(7);
    let body = format!("400000{number:0width$}");
    let sum = luhn_sum(format!("{body}0").as_bytes());
    // 10 - sum is right, so one more is wrong.
    format!("{body}{}", (11 - sum % 10) % 10)
}

/// Letters and digits of a value.
fn count(value: &str) -> usize {
    value.bytes().filter(u8::is_ascii_alphanumeric).count()
}

/// `digits` set apart as those of `value` are.
fn in_groups_of(value: &str, digits: &str) -> String {
    let mut next = digits.chars();
    value
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                next.next().unwrap_or('0')
            } else {
                c
            }
        })
        .collect()
}
