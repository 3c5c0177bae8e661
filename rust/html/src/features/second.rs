//! The features of the second stage: what the first stage said of the blocks around, of the elements around and
//! of blocks alike. They follow the first stage's features in the row.

use crate::features::measured::{LEVELS, Measured};
use crate::features::{flag, group, named};
use crate::page::{NONE, Page};
use crate::units::Units;

/// Above this probability a block counts as accepted for the distances.
const ACCEPTED: f32 = 0.5;
/// Distances in blocks are cut off here.
const FAR: i64 = 100;
/// A distance in words where there is no accepted block.
const NO_WORDS: f32 = 1e6;
const SMALL: f32 = 1e-3;

const OFFSETS: [i32; 8] = [-4, -3, -2, -1, 1, 2, 3, 4];
const WINDOWS: [usize; 3] = [3, 8, 20];
const LEADS: std::ops::Range<usize> = 1..4;

group! {
    /// A block a few places away.
    Other {
        p: "probability", "what the first stage said of it, -1 without one";
    }
}

group! {
    /// The blocks around, weighted by their words.
    Around {
        p: "probability", "mean of the blocks around, the block left out";
    }
}

group! {
    /// An ancestor of more blocks than the one below.
    Level {
        p: "probability", "mean of its blocks";
        f1: "share", "F1 that choosing just its blocks would have";
    }
}

group! {
    /// The rest of what the first stage said.
    Said {
        p: "probability", "of the block itself";
        before: "probability", "mean of the three blocks before";
        after: "probability", "mean of the three blocks after";
        best_f1: "share", "highest F1 of any element around it";
        in_best: "0 or 1", "it stands in the element with the page's highest F1";
        page_f1: "share", "the page's highest F1 of an element";
        alike: "probability", "mean of the blocks with the same path";
        alike_words: "share", "the page's words in those";
        mass_before: "share", "accepted words of the page before it";
        mass_after: "share", "accepted words of the page after it";
        page: "probability", "mean of the page";
        page_words: "words", "accepted words of the page";
        page_max: "probability", "highest on the page";
        since_accepted: "blocks", "since the last accepted block, at most 100";
        until_accepted: "blocks", "until the next accepted block, at most 100";
        words_since: "words", "between the last accepted block and this one";
        words_until: "words", "between this block and the next accepted one";
        above_threshold: "probability", "its probability less the page's best threshold";
        threshold_f1: "share", "F1 expected at that threshold";
        rank: "share", "the page's words in blocks at least as probable";
        same_element: "probability", "mean of the blocks with the same element, class and id";
        heading: "probability", "of the last heading before it, -1 without one";
    }
}

group! {
    /// Relative to the content area, the element with the page's highest F1, and to units and equal elements.
    Area {
        p: "probability", "mean of the area";
        of_area: "share", "its probability beside that mean";
        before: "share", "the area's words before it; -1 and 2 before and after the area";
        unit: "probability", "mean of the outermost table, list, code or figure around it, -1 without one";
        part: "probability", "mean of the innermost row, item or other unit around it, -1 without one";
        elements: "probability", "mean of the blocks with the same path of elements";
        elements_words: "share", "the page's words in those";
    }
}

group! {
    /// The first block of an ancestor.
    Lead {
        p: "probability", "what the first stage said of it";
    }
}

/// The features in the order of a row, after those of the first stage.
pub fn names() -> Vec<(String, &'static str, &'static str)> {
    let mut names = Vec::new();
    for offset in OFFSETS {
        named(&mut names, &format!("said{offset:+}"), Other::FEATURES);
    }
    for blocks in WINDOWS {
        named(
            &mut names,
            &format!("said_window{blocks}"),
            Around::FEATURES,
        );
    }
    for level in 0..LEVELS {
        named(
            &mut names,
            &format!("said_ancestor{level}"),
            Level::FEATURES,
        );
    }
    for level in LEADS {
        named(&mut names, &format!("said_lead{level}"), Lead::FEATURES);
    }
    named(&mut names, "said", Said::FEATURES);
    named(&mut names, "said_area", Area::FEATURES);
    names
}

/// What a block counts when blocks are weighed: its words, and a little for being there.
#[inline]
pub fn weight(words: f32) -> f32 {
    words + 0.3
}

/// The mean probability of (weight times probability, weight).
#[inline]
pub fn mean((accepted, words): (f32, f32)) -> f32 {
    accepted / words.max(SMALL)
}

/// Prefix sums of probability times weight, and of weight.
struct Mass {
    accepted: Vec<f32>,
    words: Vec<f32>,
}

impl Mass {
    fn new(said: &[f32], weights: &[f32]) -> Self {
        let mut mass = Self {
            accepted: vec![0.0],
            words: vec![0.0],
        };
        let (mut accepted, mut words) = (0.0, 0.0);
        for (p, weight) in said.iter().zip(weights) {
            accepted += p * weight;
            words += weight;
            mass.accepted.push(accepted);
            mass.words.push(words);
        }
        mass
    }

    /// (accepted words, words) of a range of blocks.
    #[inline]
    fn of(&self, blocks: std::ops::Range<usize>) -> (f32, f32) {
        let sum = |sums: &[f32]| sums[blocks.end] - sums[blocks.start];
        (sum(&self.accepted), sum(&self.words))
    }

    fn mean(&self, blocks: std::ops::Range<usize>) -> f32 {
        mean(self.of(blocks))
    }
}

/// The threshold on probabilities with the highest expected F1 of words, that F1, and each block's rank: the share
/// of words in blocks no less probable.
pub fn threshold(said: &[f32], weights: &[f32]) -> (f32, f32, Vec<f32>) {
    let mut order: Vec<u32> = (0..said.len() as u32).collect();
    order.sort_by(|&a, &b| {
        said[b as usize]
            .total_cmp(&said[a as usize])
            .then(a.cmp(&b))
    });
    let all: f32 = weights.iter().sum();
    let accepted: f32 = said.iter().zip(weights).map(|(p, w)| p * w).sum();
    let (mut hits, mut chosen, mut best, mut limit) = (0.0, 0.0, -1.0, f32::INFINITY);
    let mut ranks = vec![0.0; said.len()];
    for block in order {
        let block = block as usize;
        hits += said[block] * weights[block];
        chosen += weights[block];
        ranks[block] = chosen / all;
        let f1 = 2.0 * hits / (chosen + accepted + 1e-6);
        if f1 > best {
            (best, limit) = (f1, said[block]);
        }
    }
    (limit, best, ranks)
}

/// What is the same for all blocks of a page; `said` are the first stage's probabilities.
pub struct View<'a> {
    page: &'a Page,
    measured: &'a Measured,
    said: &'a [f32],
    mass: Mass,
    /// Mean probability and F1 of each node, and the highest F1 from the root to it.
    nodes: Vec<(f32, f32, f32)>,
    best: usize,
    alike: Vec<(f32, f32)>,
    same_element: Vec<(f32, f32)>,
    elements: Vec<(f32, f32)>,
    units: &'a Units,
    outermost: Vec<u32>,
    masses: Vec<(f32, f32)>,
    threshold: f32,
    threshold_f1: f32,
    ranks: Vec<f32>,
    highest: f32,
    /// The last accepted block before each block, and the next one after it.
    accepted: Vec<(Option<u32>, Option<u32>)>,
}

impl<'a> View<'a> {
    /// Of a page that has blocks, one probability each.
    pub fn new(page: &'a Page, measured: &'a Measured, units: &'a Units, said: &'a [f32]) -> Self {
        let weights: Vec<f32> = measured
            .shapes
            .iter()
            .map(|shape| weight(shape.words))
            .collect();
        let mass = Mass::new(said, &weights);
        let (nodes, best) = weigh_nodes(page, &mass, said.len());
        let (threshold, threshold_f1, ranks) = threshold(said, &weights);
        let sums = |numbers: &[u32]| {
            let n = numbers
                .iter()
                .max()
                .map_or(0, |&highest| highest as usize + 1);
            let mut sums = vec![(0.0, 0.0); n];
            for (block, &number) in numbers.iter().enumerate() {
                let sum = &mut sums[number as usize];
                *sum = (sum.0 + said[block] * weights[block], sum.1 + weights[block]);
            }
            sums
        };
        Self {
            page,
            measured,
            said,
            nodes,
            best,
            alike: sums(&measured.paths),
            same_element: sums(&measured.signatures),
            elements: sums(&measured.element_paths),
            units,
            outermost: units.outermost(),
            masses: units.masses(said, &weights),
            threshold,
            threshold_f1,
            ranks,
            highest: said.iter().copied().fold(0.0, f32::max),
            accepted: accepted(said),
            mass,
        }
    }

    /// Appends the features of a block.
    pub fn write(&self, block: usize, row: &mut Vec<f32>) {
        let n = self.said.len();
        for offset in OFFSETS {
            let other = block.checked_add_signed(offset as isize);
            let p = other
                .and_then(|other| self.said.get(other))
                .copied()
                .unwrap_or(-1.0);
            Other { p }.write(row);
        }
        let (own, weight) = self.mass.of(block..block + 1);
        for blocks in WINDOWS {
            let range = block.saturating_sub(blocks)..(block + blocks + 1).min(n);
            let (accepted, words) = self.mass.of(range);
            Around {
                p: (accepted - own) / (words - weight).max(SMALL),
            }
            .write(row);
        }
        let levels = &self.measured.levels[block];
        for &level in levels {
            let (p, f1, _) = self.nodes[level as usize];
            Level { p, f1 }.write(row);
        }
        for &level in &levels[LEADS] {
            let first = self.page.nodes[level as usize].blocks.start as usize;
            Lead {
                p: self.said[first],
            }
            .write(row);
        }
        self.said(block).write(row);
        self.area(block).write(row);
    }

    fn area(&self, block: usize) -> Area {
        let p = self.nodes[self.best].0;
        let best = &self.page.nodes[self.best].blocks;
        let area = best.start as usize..best.end as usize;
        let of = |unit: u32| self.masses.get(unit as usize).copied().map_or(-1.0, mean);
        let unit = self.units.of_block[block];
        let outermost = self.outermost.get(unit as usize).copied();
        let elements = self.elements[self.measured.element_paths[block] as usize];
        Area {
            p,
            of_area: self.said[block] / p.max(SMALL),
            before: if block < area.start {
                -1.0
            } else if block >= area.end {
                2.0
            } else {
                let words = self.mass.of(area.clone()).1;
                self.mass.of(area.start..block).1 / words.max(SMALL)
            },
            unit: outermost.map_or(-1.0, of),
            part: of(unit),
            elements: mean(elements),
            elements_words: elements.1 / self.mass.of(0..self.said.len()).1.max(SMALL),
        }
    }

    fn said(&self, block: usize) -> Said {
        let (n, mass) = (self.said.len(), &self.mass);
        let (total, all) = mass.of(0..n);
        let best = &self.page.nodes[self.best].blocks;
        let alike = self.alike[self.measured.paths[block] as usize];
        let (last, next) = self.accepted[block];
        let (last, next) = (
            last.map(|last| last as usize),
            next.map(|next| next as usize),
        );
        let heading = self.measured.headings[block];
        Said {
            p: self.said[block],
            before: mass.mean(block.saturating_sub(3)..block),
            after: mass.mean(block + 1..(block + 4).clamp(block + 1, n)),
            best_f1: self.nodes[self.measured.levels[block][0] as usize].2,
            in_best: flag(best.contains(&(block as u32))),
            page_f1: self.nodes[self.best].1,
            alike: mean(alike),
            alike_words: alike.1 / all,
            mass_before: mass.of(0..block).0 / total.max(SMALL),
            mass_after: mass.of(block + 1..n).0 / total.max(SMALL),
            page: total / all,
            page_words: total,
            page_max: self.highest,
            since_accepted: last.map_or(FAR, |last| ((block - last) as i64).min(FAR)) as f32,
            until_accepted: next.map_or(FAR, |next| ((next - block) as i64).min(FAR)) as f32,
            words_since: last.map_or(NO_WORDS, |last| mass.of(last + 1..block).1),
            words_until: next.map_or(NO_WORDS, |next| mass.of(block + 1..next).1),
            above_threshold: self.said[block] - self.threshold,
            threshold_f1: self.threshold_f1,
            rank: self.ranks[block],
            same_element: mean(self.same_element[self.measured.signatures[block] as usize]),
            heading: if heading == NONE {
                -1.0
            } else {
                self.said[heading as usize]
            },
        }
    }
}

/// (mean probability, F1, highest F1 from the root) of each node, and the node with the highest F1.
fn weigh_nodes(page: &Page, mass: &Mass, n: usize) -> (Vec<(f32, f32, f32)>, usize) {
    let total = mass.of(0..n).0;
    let (mut nodes, mut best) = (Vec::with_capacity(page.nodes.len()), 0);
    for (at, node) in page.nodes.iter().enumerate() {
        let (accepted, words) = mass.of(node.blocks.start as usize..node.blocks.end as usize);
        let f1 = if node.blocks.is_empty() {
            0.0
        } else {
            2.0 * accepted / (words + total).max(SMALL)
        };
        let above = nodes
            .get(node.parent as usize)
            .map_or(0.0, |&(_, _, highest)| highest);
        nodes.push((mean((accepted, words)), f1, f32::max(f1, above)));
        if f1 > nodes[best].1 {
            best = at;
        }
    }
    (nodes, best)
}

fn accepted(said: &[f32]) -> Vec<(Option<u32>, Option<u32>)> {
    let mut accepted = vec![(None, None); said.len()];
    let mut last = None;
    for (block, &p) in said.iter().enumerate() {
        accepted[block].0 = last;
        if p > ACCEPTED {
            last = Some(block as u32);
        }
    }
    let mut next = None;
    for (block, &p) in said.iter().enumerate().rev() {
        accepted[block].1 = next;
        if p > ACCEPTED {
            next = Some(block as u32);
        }
    }
    accepted
}
