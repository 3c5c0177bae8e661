//! Which blocks are the page's main content, given how probable each is.

use crate::features::measured::Measured;
use crate::features::second::{threshold, weight};
use crate::hash::{Fnv, Numbers};
use crate::page::Page;
use crate::tags::{Tag, context};

/// A block is chosen from this part of the F1 on that the best choice can expect: half of it is the optimum where
/// blocks are right or wrong by themselves (Lipton, Elkan, Narayanaswamy 2014).
const DEMAND: f32 = 0.5;
/// On a page with a block as probable as this more is demanded of the others: false positives come in
/// rows there, such as a column of teasers beside an article.
const SURE: f32 = 0.9;
const DEMAND_BESIDE_SURE: f32 = 0.7;
/// Where less of a page's words is known, its language is none that was trained on: what the model finds likely rests
/// on shape alone there, and more is demanded. (German pages know .59 and more of their words, Polish ones .2 to .4,
/// Greek ones .1.)
const KNOWN_LANGUAGE: f32 = 0.4;
const DEMAND_UNKNOWN_LANGUAGE: f32 = 0.8;
/// This part of the demand is enough for a block that leads one that is kept.
const LEAD: f32 = 0.4;
/// Of blocks with equal text, at least this many bytes long, only one is kept.
const MIN_TWIN_BYTES: usize = 30;
/// A later twin is kept instead of an earlier one where it is more probable by this much.
const TWIN_MARGIN: f32 = 0.05;

/// What happens to readers' comments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comments {
    /// They are text like any other: chosen where the model finds them to be content.
    #[default]
    Keep,
    /// They are left out, unless more than half of what was chosen stands in them (as on a forum).
    Drop,
}

/// The blocks to keep: those above a threshold of the page's own, equal texts once.
pub fn choose(
    page: &Page,
    measured: &Measured,
    probabilities: &[f32],
    comments: Comments,
) -> Vec<bool> {
    let weights: Vec<f32> = measured
        .shapes
        .iter()
        .map(|shape| weight(shape.words))
        .collect();
    let (_, f1, _) = threshold(probabilities, &weights);
    let highest = probabilities.iter().copied().fold(0.0, f32::max);
    let demand = if measured.known_words < KNOWN_LANGUAGE {
        DEMAND_UNKNOWN_LANGUAGE
    } else if highest >= SURE {
        DEMAND_BESIDE_SURE
    } else {
        DEMAND
    };
    let limit = (f1 * demand).min(highest);
    let mut kept: Vec<bool> = probabilities.iter().map(|&p| p >= limit).collect();
    keep_leads(page, probabilities, limit, &mut kept);
    if comments == Comments::Drop {
        drop_comments(page, &weights, &mut kept);
    }
    drop_twins(page, probabilities, &mut kept);
    kept
}

/// A heading, a term or a question is kept with the text that follows it, which makes little sense without.
fn keep_leads(page: &Page, probabilities: &[f32], limit: f32, kept: &mut [bool]) {
    for block in (1..kept.len()).rev().map(|next| next - 1) {
        let tag = page.node_of(block).tag;
        let leads =
            tag.is_heading() || matches!(tag, Tag::DT | Tag::TH | Tag::BUTTON | Tag::SUMMARY);
        kept[block] |= leads && kept[block + 1] && probabilities[block] >= limit * LEAD;
    }
}

fn drop_comments(page: &Page, weights: &[f32], kept: &mut [bool]) {
    let is_comment = |block: usize| page.blocks[block].context & context::COMMENTS != 0;
    let chosen = || (0..weights.len()).filter(|&block| kept[block]);
    let all: f32 = chosen().map(|block| weights[block]).sum();
    let comments: f32 = chosen()
        .filter(|&block| is_comment(block))
        .map(|block| weights[block])
        .sum();
    if comments * 2.0 <= all {
        for (block, keep) in kept.iter_mut().enumerate() {
            *keep &= !is_comment(block);
        }
    }
}

fn drop_twins(page: &Page, probabilities: &[f32], kept: &mut [bool]) {
    let mut numbers = Numbers::default();
    numbers.reset(kept.len());
    let mut best: Vec<usize> = Vec::new();
    for block in 0..kept.len() {
        let text = page.bytes(block);
        if !kept[block] || text.len() < MIN_TWIN_BYTES {
            continue;
        }
        let mut hash = Fnv::new();
        text.iter()
            .for_each(|byte| hash.push(byte.to_ascii_lowercase()));
        let (number, new) = numbers.number(hash.finish());
        if new {
            best.push(block);
            continue;
        }
        let twin = &mut best[number as usize];
        if !page.bytes(*twin).eq_ignore_ascii_case(text) {
            continue; // another text with the same hash
        }
        if probabilities[block] > probabilities[*twin] + TWIN_MARGIN {
            kept[*twin] = false;
            *twin = block;
        } else {
            kept[block] = false;
        }
    }
}
