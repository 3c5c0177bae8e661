//! What kind of page it is: article, forum, product, listing, collection, documentation or service.
//!
//! One table of tokens with a weight for each kind, summed over the tokens that a page has: names of its elements,
//! classes and ids, words of its title, and its measures, each cut into a few steps. Fitted by multinomial logistic
//! regression; a page of nothing known has the probabilities of the training pages.

use crate::Error;
use crate::bytes::Bytes;
use crate::features::shape::{Words, measure};
use crate::hash::Fnv;
use crate::page::Page;
use crate::tags::{Tag, context};

/// The kinds, as WCXB names them; columns of the table.
pub const KINDS: [&str; 7] = [
    "article",
    "forum",
    "product",
    "listing",
    "collection",
    "documentation",
    "service",
];
/// The places of two of them.
pub const DOCUMENTATION: usize = 5;
/// Pages that offer a service.
pub const SERVICE: usize = 6;
const N: usize = KINDS.len();
/// A weight of 1 is stored as this number.
const SCALE: f32 = 48.0;
/// The token that every page has.
const EVERY: u32 = 1;

/// The probability of each kind, in the order of `KINDS`.
pub type Kinds = [f32; N];

/// The weights of tokens, sorted by token.
#[derive(Clone, Debug, Default)]
pub struct KindTable {
    /// Open addressing: the token, and one more than its place in `weights`; 0 for a free slot.
    slots: Vec<(u32, u32)>,
    weights: Vec<[i8; N]>,
}

impl KindTable {
    /// u32 entries, that many u32 tokens, that many times seven i8 weights.
    pub fn read(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let n = bytes.u32()? as usize;
        let (tokens, _) = bytes.take(n.saturating_mul(4))?.as_chunks::<4>();
        let (rows, _) = bytes.take(n.saturating_mul(N))?.as_chunks::<N>();
        let mut table = Self {
            slots: vec![(0, 0); (n * 3).next_power_of_two().max(2)],
            weights: rows
                .iter()
                .map(|row| row.map(|weight| weight as i8))
                .collect(),
        };
        for (at, token) in tokens.iter().enumerate() {
            let token = u32::from_le_bytes(*token);
            let place = table.find(token);
            table.slots[place] = (token, at as u32 + 1);
        }
        Ok(table)
    }

    /// The slot that holds a token, or the free one where it would stand; a third of them are taken at most.
    fn find(&self, token: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = token as usize & mask;
        while self.slots[place].1 != 0 && self.slots[place].0 != token {
            place = (place + 1) & mask;
        }
        place
    }

    /// How probable each kind is for a page; all the same for an untrained table.
    pub fn kinds(&self, page: &Page) -> Kinds {
        let mut sums = [0_i32; N];
        if !self.slots.is_empty() {
            let mut seen = vec![false; self.weights.len()];
            each_token(page, |token| {
                let (_, row) = self.slots[self.find(token)];
                let Some(row) = (row as usize).checked_sub(1).filter(|&row| !seen[row]) else {
                    return;
                };
                seen[row] = true;
                for (sum, &weight) in sums.iter_mut().zip(&self.weights[row]) {
                    *sum += i32::from(weight);
                }
            });
        }
        let highest = sums.iter().copied().max().unwrap_or(0);
        let powers = sums.map(|sum| exp_of_sum(sum - highest));
        let all: f32 = powers.iter().sum();
        powers.map(|power| power / all)
    }
}

/// The number of the most probable kind, the first of equals.
pub fn most_probable(kinds: &Kinds) -> usize {
    (1..N).fold(
        0,
        |best, at| if kinds[at] > kinds[best] { at } else { best },
    )
}

/// exp(sum / SCALE) for a sum <= 0 by multiplications only, so that every machine gives the same bits.
fn exp_of_sum(sum: i32) -> f32 {
    // (1 + x / 1024)^1024 by ten squarings: exact enough for a probability, monotone, and 0 far below.
    let x = (sum as f32 / SCALE).max(-80.0);
    let mut power = 1.0 + x / 1024.0;
    for _ in 0..10 {
        power *= power;
    }
    power
}

/// Every token of a page, some more than once.
pub fn each_token(page: &Page, mut each: impl FnMut(u32)) {
    each(EVERY);
    page.tokens.iter().for_each(|&token| each(token));
    let mut words = Words::default();
    if !page.title.is_empty() {
        measure(&page.title, &mut words);
    }
    // A word of the title is another token than the same word as a class.
    words
        .first
        .iter()
        .for_each(|&word| each(word.rotate_left(7) ^ 0x7a3d_11c5));
    for (number, value) in measures(page).into_iter().enumerate() {
        each(Fnv::of(&[0xff, number as u8, value]));
    }
}

/// What is measured of a page: its elements, its text, what it declares; each as the number of its step.
fn measures(page: &Page) -> [u8; 20] {
    let mut counts = [0_u32; 128];
    page.nodes
        .iter()
        .for_each(|node| counts[usize::from(node.tag.0 & 127)] += 1);
    let n_tags = |tags: &[Tag]| {
        tags.iter()
            .map(|tag| counts[usize::from(tag.0)])
            .sum::<u32>()
    };
    let mut chars = [0_u32; 4]; // in all, in links, in article, in comments
    let (mut long, mut questions, mut prices) = (0, 0, 0);
    for (at, block) in page.blocks.iter().enumerate() {
        let text = page.bytes(at);
        let n = text.len() as u32;
        let within = |bit: u32| if block.context & bit != 0 { n } else { 0 };
        let parts = [
            n,
            block.link_bytes.min(n),
            within(context::ARTICLE),
            within(context::COMMENTS),
        ];
        chars
            .iter_mut()
            .zip(parts)
            .for_each(|(sum, part)| *sum += part);
        long += u32::from(n >= 200 && block.link_bytes * 3 < n);
        questions += u32::from(text.ends_with(b"?"));
        prices += u32::from(n < 40 && is_price(text));
    }
    let [all, links, in_article, in_comments] = chars;
    let share = |part: u32| (u64::from(part) * 10 / u64::from(all.max(1))) as u8;
    [
        page.og_type as u8,
        page.declared as u8,
        steps(all),
        steps(page.blocks.len() as u32),
        steps(all / (page.blocks.len() as u32).max(1)),
        share(links),
        share(in_article),
        share(in_comments),
        steps(long),
        steps(questions),
        steps(prices),
        steps(page.n_images),
        steps(n_tags(&[Tag::ARTICLE])),
        steps(n_tags(&[Tag::PRE, Tag::LISTING])),
        steps(n_tags(&[Tag::TABLE])),
        steps(n_tags(&[Tag::LI])),
        steps(n_tags(&[Tag::P])),
        steps(n_tags(&[Tag::H2, Tag::H3])),
        steps(n_tags(&[Tag::FORM, Tag::BUTTON, Tag::SELECT])),
        steps(n_tags(&[Tag::DL, Tag::DETAILS, Tag::BLOCKQUOTE])),
    ]
}

/// A number by its size: 0, 1, 2, 3 to 4, 5 to 8 and so on.
fn steps(number: u32) -> u8 {
    match number {
        0 => 0,
        n => (32 - (n - 1).leading_zeros()) as u8 + 1,
    }
}

/// Whether a short text has a currency sign and a digit.
fn is_price(text: &[u8]) -> bool {
    let currency = text.contains(&b'$')
        || memchr::memmem::find(text, "€".as_bytes()).is_some()
        || memchr::memmem::find(text, "£".as_bytes()).is_some();
    currency && text.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_kind_that_its_tokens_weigh_for() {
        let mut file = Vec::from(1_u32.to_le_bytes());
        file.extend(EVERY.to_le_bytes());
        file.extend([0_i8, 96, 0, 0, 0, 0, 0].map(|weight| weight as u8));
        let table = KindTable::read(&mut Bytes::new(&file)).unwrap();
        let page = crate::parse("<p>text").unwrap();
        let kinds = table.kinds(&page);
        assert!((kinds[1] - 0.552).abs() < 0.005, "{kinds:?}"); // e^2 / (e^2 + 6)
        assert!((kinds.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(KindTable::default().kinds(&page), [1.0 / 7.0; 7]);
    }

    #[test]
    fn numbers_fall_into_steps() {
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 8, 9].map(steps),
            [0, 1, 2, 3, 3, 4, 4, 5]
        );
    }
}
