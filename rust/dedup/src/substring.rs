//! Repeated substrings of at least `min_length` bytes, wherever in a corpus they stand: found by sampled hashes, and
//! verified byte for byte.
//!
//! ```text
//! anchors        ^          ^              ^         ^            (anchors.rs)
//! context     <--+-- gram --+-->                                  as far as a repeat with this anchor may reach
//! ```
//!
//! Equal stretches have an anchor in common: equal anchors meet, and nothing else needs to be looked at. An anchor is
//! compared with those of equal hash before it, in both directions as far as a repeat may reach that holds it; longer
//! repeats have more anchors. With the first `per_anchor` different contexts of a hash every later one is compared. Of
//! the contexts after those, one is compared with at most `per_anchor` that share 7/8 of a repeat at the same distance
//! from the anchor, as each of its repeats does (Crowded); what lies beyond is counted.

use std::collections::BTreeSet;

use crate::Error;
use crate::anchors::{check, gram};
use curate_text::Texts;
use curate_text::hash::hash_bytes;

/// Anchors of many texts, in the order in which the texts stay: the first of equal stretches is the one that stays.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Hash of the window.
    pub hash: &'a [u64],
    /// The part of the texts that holds its text.
    pub part: &'a [u32],
    /// The row there.
    pub row: &'a [u32],
    /// Where the window begins, in bytes.
    pub place: &'a [u64],
}

/// Stretches that stand in an earlier place, too.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// The anchor, by its number among those given, ascending.
    pub anchor: Vec<u32>,
    /// Where the stretch begins in the anchor's text, in bytes, at the border of a character.
    pub start: Vec<u64>,
    /// Where it ends.
    pub end: Vec<u64>,
    /// The earlier anchor with the longest stretch in common.
    pub other: Vec<u32>,
    /// Anchors that were not compared with all earlier contexts of their hash.
    pub beyond: u64,
}

/// The repeats around anchors of equal hash, verified in the texts.
pub fn repeats(
    anchors: Placed<'_>,
    texts: &[Texts<'_>],
    min_length: usize,
    per_anchor: usize,
) -> Result<Repeats, Error> {
    check(min_length)?;
    let rows = anchors.hash.len();
    for (name, length) in [
        ("part", anchors.part.len()),
        ("row", anchors.row.len()),
        ("place", anchors.place.len()),
    ] {
        if length != rows {
            return Err(Error::LengthsDiffer {
                name,
                rows: length,
                other: "hash",
                expected: rows,
            });
        }
    }
    crate::clusters::check_count(rows)?;
    let mut order: Vec<(u64, u32)> = anchors.hash.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let search = Search {
        anchors,
        texts,
        min_length,
        gram: gram(min_length),
    };
    let mut found: Vec<(u32, u64, u64, u32)> = Vec::new();
    let mut beyond = 0;
    let mut contexts: Vec<Context<'_>> = Vec::new();
    let mut crowded = Crowded::default();
    for group in order.chunk_by(|a, b| a.0 == b.0).filter(|g| g.len() > 1) {
        contexts.clear();
        crowded.clear();
        for &(_, number) in group {
            let here = search.context(number)?;
            let keys = (contexts.len() == per_anchor).then(|| search.keys(&here));
            let keys = keys.as_deref().unwrap_or_default();
            let (repeat, known) = search.compare(&here, contexts.iter().chain(crowded.like(keys)));
            if let Some((start, end, other)) = repeat {
                found.push((number, start, end, other));
            }
            if known {
                continue;
            }
            if contexts.len() < per_anchor {
                contexts.push(here);
            } else if !crowded.add(here, keys, per_anchor) {
                beyond += 1;
            }
        }
    }
    drop(order);
    found.sort_unstable();
    let mut out = Repeats {
        beyond,
        ..Repeats::default()
    };
    for (anchor, start, end, other) in found {
        out.anchor.push(anchor);
        out.start.push(start);
        out.end.push(end);
        out.other.push(other);
    }
    Ok(out)
}

/// The contexts of one hash after the first `per_anchor`, by keys of which those with a repeat in common share one.
#[derive(Default)]
struct Crowded<'a> {
    contexts: Vec<Context<'a>>,
    by_key: BTreeSet<(u64, u32)>, // a key, and the place of a context
}

impl<'a> Crowded<'a> {
    /// Contexts that are kept at most, about 20 MB of them.
    const MOST: usize = 1 << 16;

    fn clear(&mut self) {
        self.contexts.clear();
        self.by_key.clear();
    }

    fn with_key(&self, key: u64) -> impl Iterator<Item = &Context<'a>> {
        let range = self.by_key.range((key, 0)..=(key, u32::MAX));
        range.map(|&(_, at)| &self.contexts[at as usize])
    }

    /// The contexts that share one of these keys; such as share several come several times.
    fn like(&self, keys: &[u64]) -> impl Iterator<Item = &Context<'a>> {
        keys.iter().flat_map(|&key| self.with_key(key))
    }

    /// Takes a context; false where one of its keys has `most` contexts already, and does not lead to this one.
    fn add(&mut self, context: Context<'a>, keys: &[u64], most: usize) -> bool {
        if self.contexts.len() == Self::MOST {
            return false;
        }
        let at = self.contexts.len() as u32;
        let mut whole = true;
        self.contexts.push(context);
        for &key in keys {
            if self.with_key(key).nth(most.saturating_sub(1)).is_none() {
                self.by_key.insert((key, at));
            } else {
                whole = false;
            }
        }
        whole
    }
}

struct Search<'a> {
    anchors: Placed<'a>,
    texts: &'a [Texts<'a>],
    min_length: usize,
    gram: usize,
}

/// An anchor's text, and where its window begins.
#[derive(Clone, Copy)]
struct Context<'a> {
    number: u32,
    text: &'a [u8],
    place: usize,
}

impl<'a> Search<'a> {
    fn context(&self, number: u32) -> Result<Context<'a>, Error> {
        let at = number as usize;
        let (part, row) = (self.anchors.part[at] as usize, self.anchors.row[at]);
        let place = self.anchors.place[at] as usize;
        let texts = self
            .texts
            .get(part)
            .filter(|texts| (row as usize) < texts.len());
        let text = texts.map(|texts| texts.bytes(row as usize));
        match text.filter(|text| place + self.gram <= text.len()) {
            Some(text) => Ok(Context {
                number,
                text,
                place,
            }),
            None => Err(Error::NoSuchRow {
                pair: at,
                row,
                rows: self.texts.get(part).map_or(0, Texts::len),
            }),
        }
    }

    /// Hashes of 7/8 of a repeat at fixed distances from the anchor, one of which lies in every repeat that holds it:
    /// a repeat that begins k bytes before the anchor holds the bytes from (k / step) * step before it on.
    fn keys(&self, here: &Context<'a>) -> Vec<u64> {
        let step = self.min_length / 8;
        let places = (0..=self.min_length - self.gram).step_by(step);
        let chunk = |before: usize| {
            let start = here.place.checked_sub(before)?;
            here.text.get(start..start + self.min_length - step)
        };
        let key = |before: usize| Some(hash_bytes(chunk(before)?) ^ before as u64);
        places.filter_map(key).collect()
    }

    /// The stretch that holds the anchor and stands in earlier contexts, too, with the one that has most of it; and
    /// whether one of them has the whole context, so that this one need not be kept.
    fn compare<'b>(
        &self,
        here: &Context<'a>,
        earlier: impl Iterator<Item = &'b Context<'a>>,
    ) -> (Option<(u64, u64, u32)>, bool)
    where
        'a: 'b,
    {
        let reach = self.min_length - self.gram;
        let (mut start, mut end, mut longest, mut other) = (usize::MAX, 0, 0, 0);
        let mut known = false;
        for that in earlier {
            let left = equal_before(here, that, reach);
            let right = equal_after(here, that, self.gram + reach);
            if right < self.gram || left + right < self.min_length {
                continue;
            }
            let (mut from, to) = (here.place - left, here.place + right);
            known |= left == reach && right == self.gram + reach;
            if self.same_text(here, that) {
                // What stays must not be cut: min_length bytes of the earlier one.
                from = from.max(that.place - left + self.min_length);
            }
            if from >= to {
                continue;
            }
            (start, end) = (start.min(from), end.max(to));
            if left + right > longest {
                (longest, other) = (left + right, that.number);
            }
        }
        if start >= end {
            return (None, known);
        }
        let (start, end) = (
            next_border(here.text, start),
            previous_border(here.text, end),
        );
        (
            (start < end).then_some((start as u64, end as u64, other)),
            known,
        )
    }

    fn same_text(&self, a: &Context<'_>, b: &Context<'_>) -> bool {
        let (a, b) = (a.number as usize, b.number as usize);
        (self.anchors.part[a], self.anchors.row[a]) == (self.anchors.part[b], self.anchors.row[b])
    }
}

/// Equal bytes before the two places, at most `limit`.
fn equal_before(a: &Context<'_>, b: &Context<'_>, limit: usize) -> usize {
    let length = limit.min(a.place).min(b.place);
    let (x, y) = (
        &a.text[a.place - length..a.place],
        &b.text[b.place - length..b.place],
    );
    let words = x.rchunks_exact(8).zip(y.rchunks_exact(8));
    let whole = 8 * words.take_while(|(x, y)| x == y).count();
    let rest = x[..length - whole]
        .iter()
        .rev()
        .zip(y[..length - whole].iter().rev());
    whole + rest.take_while(|(x, y)| x == y).count()
}

/// Equal bytes from the two places on, at most `limit`.
fn equal_after(a: &Context<'_>, b: &Context<'_>, limit: usize) -> usize {
    let length = limit
        .min(a.text.len() - a.place)
        .min(b.text.len() - b.place);
    let (x, y) = (
        &a.text[a.place..a.place + length],
        &b.text[b.place..b.place + length],
    );
    let words = x.chunks_exact(8).zip(y.chunks_exact(8));
    let whole = 8 * words.take_while(|(x, y)| x == y).count();
    whole
        + x[whole..]
            .iter()
            .zip(&y[whole..])
            .take_while(|(x, y)| x == y)
            .count()
}

fn is_border(text: &[u8], place: usize) -> bool {
    text.get(place).is_none_or(|&byte| byte & 0xC0 != 0x80)
}

fn next_border(text: &[u8], mut place: usize) -> usize {
    while !is_border(text, place) {
        place += 1;
    }
    place
}

fn previous_border(text: &[u8], mut place: usize) -> usize {
    while !is_border(text, place) {
        place -= 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchors::anchors;
    use curate_text::Offsets;
    use proptest::prelude::*;

    const N: usize = 32;

    fn cut(documents: &[Vec<u8>]) -> (Vec<Vec<bool>>, u64) {
        cut_with(documents, 1000)
    }

    fn cut_with(documents: &[Vec<u8>], per_anchor: usize) -> (Vec<Vec<bool>>, u64) {
        let mut offsets = vec![0_i64];
        for text in documents {
            offsets.push(offsets[offsets.len() - 1] + text.len() as i64);
        }
        let values = documents.concat();
        let texts = Texts::new(Offsets::Large(&offsets), &values);
        let found = anchors(texts, N).unwrap();
        let placed = Placed {
            hash: &found.hash,
            part: &vec![0; found.hash.len()],
            row: &found.row,
            place: &found.place,
        };
        let repeats = repeats(placed, &[texts], N, per_anchor).unwrap();
        let mut gone: Vec<Vec<bool>> = documents
            .iter()
            .map(|text| vec![false; text.len()])
            .collect();
        for i in 0..repeats.anchor.len() {
            let row = found.row[repeats.anchor[i] as usize] as usize;
            gone[row][repeats.start[i] as usize..repeats.end[i] as usize].fill(true);
        }
        (gone, repeats.beyond)
    }

    /// Bytes of windows of N bytes that stand in an earlier document.
    fn oracle(documents: &[Vec<u8>]) -> Vec<Vec<bool>> {
        let mut gone: Vec<Vec<bool>> = documents
            .iter()
            .map(|text| vec![false; text.len()])
            .collect();
        for (number, text) in documents.iter().enumerate() {
            for start in 0..(text.len() + 1).saturating_sub(N) {
                let stretch = &text[start..start + N];
                if documents[..number]
                    .iter()
                    .any(|other| other.windows(N).any(|w| w == stretch))
                {
                    gone[number][start..start + N].fill(true);
                }
            }
        }
        gone
    }

    proptest! {
        /// Documents of random letters with pieces of a few shared ones: exactly what stands in earlier documents goes.
        #[test]
        fn what_stands_in_an_earlier_document_goes_and_nothing_else(
            shared in proptest::collection::vec(proptest::collection::vec(b'a'..=b'z', 100), 3),
            plan in proptest::collection::vec(
                proptest::collection::vec((0_usize..4, 0_usize..60, 10_usize..80, proptest::collection::vec(b'A'..=b'Z', 0..30)), 0..5), 1..6),
        ) {
            let documents: Vec<Vec<u8>> = plan.iter().enumerate().map(|(number, pieces)| {
                let mut text = Vec::new();
                for (which, start, length, own) in pieces {
                    if let Some(source) = shared.get(*which) {
                        text.extend(&source[*start..(*start + *length).min(source.len())]);
                    }
                    // No two documents have these in common, nor one document twice.
                    text.extend(own.iter().map(|&byte| byte ^ number as u8));
                    text.extend(format!("<{number} {}>", text.len()).into_bytes());
                }
                text
            }).collect();
            let (gone, beyond) = cut(&documents);
            let expected = oracle(&documents);
            prop_assert_eq!(beyond, 0);
            for (number, text) in documents.iter().enumerate() {
                for place in 0..text.len() {
                    // In its own document an earlier copy may cut more; never less.
                    if expected[number][place] {
                        prop_assert!(gone[number][place], "document {} byte {}", number, place);
                    } else if gone[number][place] {
                        let stretch = |start: usize| text.get(start..start + N);
                        prop_assert!((place.saturating_sub(N - 1)..=place).any(|start| stretch(start).is_some_and(
                            |s| text.windows(N).filter(|w| *w == s).count() > 1)), "document {} byte {}", number, place);
                    }
                }
            }
        }
    }

    proptest! {
        /// Documents of few words, each of them many times: short and long periods, and windows that come again soon.
        /// All that stands in an earlier document goes, and all that stands in its own at least N bytes before.
        #[test]
        fn texts_with_periods_hide_no_repeat(
            plan in proptest::collection::vec(
                proptest::collection::vec((0_usize..9, 1_usize..20, 0_usize..12), 1..8), 1..5),
        ) {
            let words = ["=", "ab", "x", "abcde", "0123456789abcdef", "0123456789abcdefgh", "the quick brown fox ",
                         "[row] ", "0123456789abcdefghijklmnopqrstu"];
            let documents: Vec<Vec<u8>> = plan.iter().map(|pieces| {
                let piece = |&(word, times, end): &(usize, usize, usize)| {
                    let word = words[word];
                    word.repeat(times) + &word[..end % word.len()]
                };
                pieces.iter().map(piece).collect::<String>().into_bytes()
            }).collect();
            let (gone, beyond) = cut(&documents);
            prop_assert_eq!(beyond, 0);
            let expected = oracle(&documents);
            for (number, text) in documents.iter().enumerate() {
                let mut wanted = expected[number].clone();
                for start in N..(text.len() + 1).saturating_sub(N) {
                    if text[..start].windows(N).any(|w| *w == text[start..start + N]) {
                        wanted[start..start + N].fill(true);
                    }
                }
                for place in 0..text.len() {
                    prop_assert!(gone[number][place] || !wanted[place], "document {} byte {}", number, place);
                    // Nothing else: a byte that goes is in a stretch that stands before, here or elsewhere.
                    prop_assert!(!gone[number][place] || (place.saturating_sub(N - 1)..=place).any(|start| {
                        let Some(stretch) = text.get(start..start + N) else { return false };
                        let inside = &text[..start + N - 1];
                        inside.windows(N).any(|w| w == stretch)
                            || documents[..number].iter().any(|other| other.windows(N).any(|w| w == stretch))
                    }), "document {} byte {} stays", number, place);
                }
            }
        }
    }

    proptest! {
        /// A window that stands in many documents, between other bytes in each, and pairs of repeats with it.
        #[test]
        fn a_repeat_is_found_in_a_crowd(
            before in proptest::collection::vec(0_usize..N, 20),
            pairs in proptest::collection::vec((0_usize..20, 0_usize..20), 1..6),
            own in any::<u64>(),
        ) {
            let mut random = curate_text::hash::Stream::new(own);
            let mut letters = |count: usize| -> Vec<u8> {
                (0..count).map(|_| b'a' + (random.next_u64() % 26) as u8).collect()
            };
            let crowd = letters(gram(N));
            let contexts: Vec<Vec<u8>> = before.iter()
                .map(|&length| [letters(length), crowd.clone(), letters(N - length)].concat()).collect();
            let mut documents: Vec<Vec<u8>> = contexts.iter()
                .map(|context| [letters(7), context.clone(), letters(9)].concat()).collect();
            for (a, b) in pairs {
                documents.push([letters(5), contexts[a].clone(), letters(40), contexts[b].clone()].concat());
            }
            let (gone, beyond) = cut_with(&documents, 4);
            let (wanted, _) = cut_with(&documents, 1000);
            prop_assert_eq!((beyond, gone), (0, wanted));
        }
    }

    #[test]
    fn of_a_repeat_in_one_document_the_first_stays() {
        let line: Vec<u8> = (0..60_u8).map(|i| b'a' + i % 23 + i / 23).collect();
        let text = [line.clone(), b"<>".to_vec(), line.clone()].concat();
        let (gone, _) = cut(&[text]);
        assert!(gone[0][..62].iter().all(|&g| !g) && gone[0][62..].iter().all(|&g| g));
    }

    #[test]
    fn runs_of_one_letter_are_repeats() {
        let (gone, _) = cut(&[vec![b'x'; 1000]]);
        let left = gone[0].iter().filter(|&&g| !g).count();
        assert!((N..=3 * N).contains(&left), "{left}");
        let (gone, _) = cut(&[
            b"start".iter().copied().chain([b'='; 40]).collect(),
            vec![b'='; 40],
        ]);
        // Of a run N bytes stay, once.
        assert!(gone[0][..5 + N].iter().all(|&g| !g) && gone[0][5 + N..].iter().all(|&g| g));
        assert!(gone[1].iter().all(|&g| g));
    }

    #[test]
    fn spans_end_at_characters() {
        let shared = "漢字仮名交じり文の繰り返しである".to_owned();
        let texts = [format!("é{shared}é"), format!("ê{shared}ê")].map(String::into_bytes);
        let (gone, _) = cut(&texts);
        let left: Vec<u8> = (0..texts[1].len())
            .filter(|&i| !gone[1][i])
            .map(|i| texts[1][i])
            .collect();
        assert_eq!(String::from_utf8(left).unwrap(), "êê");
    }

    #[test]
    fn hostile_texts_take_linear_time_and_few_anchors() {
        for pattern in ["a", "ab", "abc\n", "0123456789", "é"] {
            let text = pattern.repeat((4 << 20) / pattern.len());
            let offsets = [0, text.len() as i64];
            let began = std::time::Instant::now();
            let found =
                anchors(Texts::new(Offsets::Large(&offsets), text.as_bytes()), 400).unwrap();
            assert!(
                found.hash.len() < text.len() / 200,
                "{pattern}: {}",
                found.hash.len()
            );
            assert!(began.elapsed().as_secs_f64() < 1.0, "{pattern}");
        }
        assert!(anchors(Texts::new(Offsets::Large(&[]), &[]), 7).is_err());
    }
}
