//! Texts that a page holds twice: a copy for small screens or for print is dropped, a refrain is not.
//!
//! A copy stands elsewhere: what repeats among its own like (verses, commands, cells, entries alike) is meant to.

use crate::hash::{Fnv, Numbers};
use crate::page::{Inline, Mark, Page};
use crate::tags::context;

/// Shorter texts are no copies: labels, values, names.
const MIN_BYTES: usize = 30;
/// A later copy is kept instead of an earlier one where it is more probable by this much.
const MARGIN: f32 = 0.05;
/// Blocks with the same place among elements are copies from this many bytes of one run on.
const MIN_RUN_BYTES: usize = 400;
/// And from this many blocks.
const MIN_RUN_BLOCKS: usize = 3;

/// Gives the blocks to drop, each with the block that it repeats; `held` says which may not leave alone.
pub fn twins(
    page: &Page,
    probabilities: &[f32],
    kept: &[bool],
    held: &[bool],
) -> Vec<(usize, usize)> {
    let mut numbers = Numbers::default();
    numbers.reset(kept.len());
    let mut best: Vec<usize> = Vec::new();
    let mut dropped = Vec::new();
    let mut run = Run::default();
    for block in (0..kept.len()).filter(|&block| kept[block]) {
        let text = page.bytes(block);
        let mut hash = Fnv::new();
        text.iter()
            .for_each(|byte| hash.push(byte.to_ascii_lowercase()));
        let (number, new) = numbers.number(hash.finish());
        if new {
            run.end(page, &mut dropped);
            best.push(block);
            continue;
        }
        let twin = best[number as usize];
        if !page.bytes(twin).eq_ignore_ascii_case(text) {
            run.end(page, &mut dropped);
            continue; // another text with the same hash
        }
        let elsewhere = page.node_of(block).path != page.node_of(twin).path
            && page.blocks[block].context & context::PRE == 0
            && !is_entry(page, block, twin)
            && !is_entry(page, twin, block);
        if elsewhere && text.len() >= MIN_BYTES && !held[block] && !held[twin] {
            run.end(page, &mut dropped);
            if probabilities[block] > probabilities[twin] + MARGIN {
                dropped.push((twin, block));
                best[number as usize] = block;
            } else {
                dropped.push((block, twin));
            }
            continue;
        }
        run.add(block, twin, page, &mut dropped);
    }
    run.end(page, &mut dropped);
    dropped
}

/// Whether a block is an entry of the page's contents: a link to a place in it that has the text of this heading.
fn is_entry(page: &Page, block: usize, heading: usize) -> bool {
    let marks = page.blocks[block].marks.clone();
    let marks = page.marks.get(marks.start as usize..marks.end as usize);
    let within = |mark: &Mark| {
        let address = page.addresses.get(mark.address as usize);
        address.is_some_and(|link| page.value(&link.address).starts_with(b"#"))
    };
    page.node_of(heading).tag.is_heading()
        && !page.node_of(block).tag.is_heading()
        && marks
            .unwrap_or_default()
            .iter()
            .any(|mark| mark.kind == Inline::Link && mark.begins && within(mark))
}

/// Blocks one after the other that repeat others one after the other.
#[derive(Default)]
struct Run {
    pairs: Vec<(usize, usize)>,
    bytes: usize,
}

impl Run {
    fn add(&mut self, block: usize, twin: usize, page: &Page, dropped: &mut Vec<(usize, usize)>) {
        let goes_on = self.pairs.last().is_some_and(|&(_, last)| twin > last);
        let overlaps = self.pairs.first().is_some_and(|&(first, _)| twin >= first);
        if !goes_on || overlaps {
            self.end(page, dropped);
        }
        self.pairs.push((block, twin));
        self.bytes += page.bytes(block).len();
    }

    /// Drops the run if it is long enough to be a copy, and begins another.
    fn end(&mut self, page: &Page, dropped: &mut Vec<(usize, usize)>) {
        let blocks = &page.blocks;
        // Verses and entries repeat one another within one element; a copy has one of its own.
        let apart = self
            .pairs
            .first()
            .zip(self.pairs.last())
            .is_some_and(|(first, last)| {
                blocks[last.1].node != blocks[first.0].node && last.1 < first.0
            });
        if apart && self.pairs.len() >= MIN_RUN_BLOCKS && self.bytes >= MIN_RUN_BYTES {
            dropped.append(&mut self.pairs);
        }
        self.pairs.clear();
        self.bytes = 0;
    }
}
