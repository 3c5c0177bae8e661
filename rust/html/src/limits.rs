//! The threshold on the probability of each block of a page.
//!
//! It follows from the F1 that the best choice of blocks can expect, lies in a gap between the probabilities, and is
//! lower in the content area, on kinds of pages whose content is made of short blocks, in tables of data, and between
//! the headline of an article and its text.

use std::ops::Range;

use crate::features::first::first_words;
use crate::features::measured::Measured;
use crate::features::second::{mean, threshold};
use crate::kinds::{DOCUMENTATION, Kinds, SERVICE};
use crate::page::Page;
use crate::tags::Tag;
use crate::units::Units;

/// A block is chosen from this part of the F1 on that the best choice can expect: half of it is the optimum where
/// blocks are right or wrong by themselves (Lipton, Elkan, Narayanaswamy 2014); they are not, and what is content
/// stands together.
const DEMAND: f32 = 0.45;
/// On a page with a block as probable as this more is demanded of the others: false positives come in
/// rows there, such as a column of teasers beside an article.
const SURE: f32 = 0.9;
const DEMAND_BESIDE_SURE: f32 = 0.7;
/// In a language that was not trained on, what the model finds likely rests on shape alone,
const DEMAND_UNKNOWN_LANGUAGE: f32 = 0.85;
/// and what stands beside an article is no longer improbable, but only less probable than the article: on a page with
/// so many words at so high a probability a block is chosen from this part of the page's highest one on.
const ARTICLE_WORDS: f32 = 60.0;
const ARTICLE: f32 = 0.8;
const BESIDE_ARTICLE: f32 = 0.85;
/// A page whose best block is less probable has no content: an error page, or a menu around what a script would load.
/// None of WCXB's nine pages below it has content among its blocks.
const CONTENT: f32 = 0.3;
/// No threshold is lower.
const LOWEST: f32 = 0.05;
/// The threshold of a block in the content area is lower by this part where the area is nothing but content, and by
/// less the less of it is.
const INSIDE: f32 = 0.2;
/// The mean probability of an area from which on its threshold is lower.
const AREA: f32 = 0.5;
/// The part by which the threshold inside the content area falls on documentation, where even what looks like a menu is
/// content: lists of links, entries of one word.
const IN_DOCUMENTATION: f32 = 0.7;
/// The probability of documentation from which that threshold begins to fall, and from which it has fallen by the whole
/// part.
const IS_DOCUMENTATION: Range<f32> = 0.25..0.45;
/// The same in a language that was not trained on, where some news are taken for documentation.
const IS_DOCUMENTATION_UNKNOWN_LANGUAGE: Range<f32> = 0.5..0.7;
/// The part by which the threshold falls on a page of a service, which says what it has to say in short blocks all over
/// the page.
const ON_SERVICE: f32 = 0.8;
/// The probability of a service from which the threshold begins to fall, above that of most articles, and from which it
/// has fallen by the whole part.
const IS_SERVICE: Range<f32> = 0.45..0.9;
/// The threshold moves to the widest gap between the probabilities in this range around it.
const GAP: Range<f32> = 0.85..1.1;

/// The text of an article in a language that was not trained on begins with the first block of so many words that is
/// above the threshold;
const BEGINS_WORDS: f32 = 15.0;
/// its headline is an h1 at most this many blocks before it
const HEADLINE_BLOCKS: usize = 12;
/// of whose first words this share is in the page's title.
const IN_TITLE: f32 = 0.55;

/// Where the threshold lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// For the highest F1.
    #[default]
    Balanced,
    /// Higher: less that is no content, and less content.
    Precision,
    /// Lower: more content, and more that is none.
    Recall,
}

impl Policy {
    /// Multiplies the demand.
    fn factor(self) -> f32 {
        match self {
            Self::Balanced => 1.0,
            Self::Precision => 1.25,
            Self::Recall => 0.4,
        }
    }
}

/// The headline of an article and the first block of its text.
#[derive(Clone, Copy, Debug)]
pub struct Headline {
    /// The headline.
    pub block: usize,
    /// Where the text begins, after a lede, names and dates.
    pub text: usize,
}

impl Headline {
    /// That of a page in a language that was not trained on, where a headline's words weigh nothing; None where the
    /// title of the page does not tell it.
    fn of(page: &Page, measured: &Measured, probabilities: &[f32], limits: &[f32]) -> Option<Self> {
        if measured.knows_language() {
            return None;
        }
        let begins = |&block: &usize| {
            probabilities[block] >= limits[block] && measured.shapes[block].words >= BEGINS_WORDS
        };
        let text = (0..probabilities.len()).find(begins)?;
        let title = first_words(&page.title);
        let is_headline = |&block: &usize| {
            page.node_of(block).tag == Tag::H1 && measured.like(block, &title).0 >= IN_TITLE
        };
        let before = text.saturating_sub(HEADLINE_BLOCKS)..text;
        before
            .rev()
            .find(is_headline)
            .map(|block| Self { block, text })
    }
}

/// The thresholds of a page.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The threshold on each block's probability.
    pub of_block: Vec<f32>,
    /// The headline of its article, where it had to be looked for.
    pub headline: Option<Headline>,
}

impl Limits {
    /// Those of a page; `weights` are what the blocks count.
    pub fn of(
        page: &Page,
        measured: &Measured,
        units: &Units,
        kinds: &Kinds,
        probabilities: &[f32],
        weights: &[f32],
        policy: Policy,
    ) -> Self {
        let (_, f1, _) = threshold(probabilities, weights);
        let highest = probabilities.iter().copied().fold(0.0, f32::max);
        let content = CONTENT * policy.factor();
        if highest < content {
            return Self {
                of_block: vec![content; probabilities.len()],
                headline: None,
            };
        }
        let demand = if !measured.knows_language() {
            DEMAND_UNKNOWN_LANGUAGE
        } else if highest >= SURE {
            DEMAND_BESIDE_SURE
        } else {
            DEMAND
        };
        let pairs = probabilities.iter().zip(weights);
        let sure = pairs.filter(|(p, _)| **p >= ARTICLE);
        let words: f32 = sure.map(|(_, words)| words).sum();
        let demanded = f1 * demand * policy.factor();
        let beside = if measured.knows_language() || words < ARTICLE_WORDS {
            demanded
        } else {
            let part = 1.0 - (1.0 - BESIDE_ARTICLE) / policy.factor();
            demanded.max(highest * part)
        };
        let [demanded, limit] =
            [demanded, beside].map(|limit| gap(probabilities, limit).min(highest));
        let area = Area::of(page, probabilities, weights);
        let is_documentation = if measured.knows_language() {
            IS_DOCUMENTATION
        } else {
            IS_DOCUMENTATION_UNKNOWN_LANGUAGE
        };
        let documentation = 1.0 - IN_DOCUMENTATION * part(kinds[DOCUMENTATION], is_documentation);
        let service = 1.0 - ON_SERVICE * part(kinds[SERVICE], IS_SERVICE);
        let lower = |factor: f32| (limit * factor).max(limit.min(LOWEST));
        let inside = lower(service * documentation * area.factor());
        let mut limits = vec![lower(service); probabilities.len()];
        limits[area.blocks.clone()].fill(inside);
        // Tables of data, and what stands between a headline and its text, are nothing that stands beside articles;
        // the latter is content even where it stands outside of the area.
        for (block, limit_of_block) in limits.iter_mut().enumerate() {
            if units.in_row(block) {
                *limit_of_block *= demanded / limit;
            }
        }
        let headline = Headline::of(page, measured, probabilities, &limits);
        if let Some(Headline { block, text }) = headline {
            for limit_of_block in &mut limits[block..text] {
                *limit_of_block = inside * demanded / limit * (DEMAND / demand);
            }
        }
        Self {
            of_block: limits,
            headline,
        }
    }
}

/// The threshold moved into the widest gap near it, at the upper end of that gap.
fn gap(probabilities: &[f32], limit: f32) -> f32 {
    let (low, high) = (limit * GAP.start, limit * GAP.end);
    let within = probabilities
        .iter()
        .copied()
        .filter(|&p| low <= p && p <= high);
    let mut near: Vec<f32> = within.chain([high]).collect();
    near.sort_by(f32::total_cmp);
    let (mut last, mut widest, mut moved) = (low, 0.0, limit);
    for p in near {
        // The gap that the threshold lies in already wins unless another one is half as wide again.
        let width = if last < limit && limit <= p { 1.5 } else { 1.0 } * (p - last);
        if width > widest {
            (widest, moved) = (width, p);
        }
        last = p;
    }
    moved
}

/// How far a value has gone through a range, 0..1.
fn part(value: f32, range: Range<f32>) -> f32 {
    ((value - range.start) / (range.end - range.start)).clamp(0.0, 1.0)
}

/// The content area: the element with the highest F1 that the choice of all its blocks can expect.
struct Area {
    blocks: Range<usize>,
    /// Mean probability of its words.
    mean: f32,
}

impl Area {
    fn of(page: &Page, probabilities: &[f32], weights: &[f32]) -> Self {
        let mut sums = vec![(0.0, 0.0)];
        let (mut accepted, mut words) = (0.0, 0.0);
        for (p, weight) in probabilities.iter().zip(weights) {
            (accepted, words) = (accepted + p * weight, words + weight);
            sums.push((accepted, words));
        }
        let mut highest = 0.0;
        let mut area = Self {
            blocks: 0..0,
            mean: 0.0,
        };
        for node in &page.nodes {
            let blocks = node.blocks.start as usize..node.blocks.end as usize;
            let (start, end) = (sums[blocks.start], sums[blocks.end]);
            let within = (end.0 - start.0, end.1 - start.1);
            let f1 = 2.0 * mean((within.0, within.1 + accepted));
            if f1 > highest {
                highest = f1;
                area = Self {
                    blocks,
                    mean: mean(within),
                };
            }
        }
        area
    }

    /// What the threshold is multiplied by inside.
    fn factor(&self) -> f32 {
        1.0 - INSIDE * part(self.mean, AREA..1.0)
    }
}
