//! Which blocks are the page's main content, given how probable each is.
//!
//! A page has a threshold of its own (`limits`). What stands in a unit (`units`) is decided with it: by the unit's
//! mean, so that no cell leaves a row and no item a list; then rows and items of a unit that is dropped may stay by
//! their own mean. Blocks of equal markup are decided by their mean too, so that a list does not end where its
//! probability has fallen below the threshold.

use std::ops::Range;

use crate::features::measured::Measured;
use crate::features::second::{mean, weight};
use crate::kinds::Kinds;
use crate::limits::{Limits, Policy};
use crate::notes::cited;
use crate::page::{NONE, Page};
use crate::tags::{Tag, context};
use crate::twins::twins;
use crate::units::{Kind, Unit, Units};

/// This part of the demand is enough for a block that leads one that is kept.
const LEAD: f32 = 0.2;
/// For a unit that stands between kept blocks of the element around it,
const BETWEEN: f32 = 0.5;
/// for a table there, and for code that follows the kept text that introduces it.
const LISTING: f32 = 0.25;
/// The part of the threshold from which on a block stays with equals whose mean is above the threshold.
const EQUALS: f32 = 0.5;
/// The part of the threshold from which on a row stays with kept rows of its table, an item or a definition with kept
/// ones of its list.
const AMONG: f32 = 0.3;
/// The fewest blocks of equal markup that are decided together.
const MIN_EQUALS: u32 = 3;
/// From this share of its words on, what is kept of a unit brings the rest.
const MOST: f32 = 0.6;
/// What happens to readers' comments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comments {
    /// They are text like any other: chosen where the model finds them to be content.
    #[default]
    Keep,
    /// They are left out, unless more than half of what was chosen stands in them (as on a forum).
    Drop,
}

/// Why a block is kept or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// By its own probability.
    Itself,
    /// By the mean probability of blocks of equal markup.
    Equals(f32),
    /// By the mean probability of this unit.
    Unit(u32, f32),
    /// With this unit, most of which is kept.
    MostOf(u32),
    /// In this row, item or definition, which stays with others of its table or list.
    Among(u32),
    /// It heads or captions this table, of which rows are kept.
    HeadOf(u32),
    /// In this unit, which stands between kept blocks or is introduced by one.
    Beside(u32),
    /// In this list of notes, which kept text cites.
    Cited(u32),
    /// It leads this block.
    Leads(u32),
    /// It stands among comments, which are dropped.
    Comment,
    /// It says the same as this block, elsewhere on the page.
    Repeats(u32),
}

/// What was decided about the blocks of a page.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Which blocks are kept.
    pub kept: Vec<bool>,
    /// Why each is kept or not.
    pub why: Vec<Why>,
    /// The threshold on each block's probability.
    pub limits: Vec<f32>,
}

/// Decides about all blocks of a page.
pub fn choose(
    page: &Page,
    measured: &Measured,
    units: &Units,
    kinds: &Kinds,
    probabilities: &[f32],
    comments: Comments,
    policy: Policy,
) -> Choice {
    let weights: Vec<f32> = measured
        .shapes
        .iter()
        .map(|shape| weight(shape.words))
        .collect();
    let Limits {
        of_block: limits,
        headline,
    } = Limits::of(
        page,
        measured,
        units,
        kinds,
        probabilities,
        &weights,
        policy,
    );
    let pairs = probabilities.iter().zip(&limits);
    let mut chooser = Chooser {
        page,
        units,
        weights: &weights,
        probabilities,
        kept: pairs.map(|(p, limit)| p >= limit).collect(),
        limits,
        why: vec![Why::Itself; probabilities.len()],
    };
    chooser.equals(measured);
    let masses = units.masses(probabilities, &weights);
    chooser.decide_units(&masses, measured.knows_language());
    chooser.beside(&masses);
    chooser.notes();
    chooser.leads();
    if let Some(headline) = headline {
        chooser.keep(headline.block, Why::Leads(headline.text as u32));
    }
    if comments == Comments::Drop {
        chooser.drop_comments();
    }
    chooser.drop_twins();
    Choice {
        kept: chooser.kept,
        why: chooser.why,
        limits: chooser.limits,
    }
}

struct Chooser<'a> {
    page: &'a Page,
    units: &'a Units,
    weights: &'a [f32],
    probabilities: &'a [f32],
    /// The threshold of each block.
    limits: Vec<f32>,
    kept: Vec<bool>,
    why: Vec<Why>,
}

impl Chooser<'_> {
    fn keep(&mut self, block: usize, why: Why) {
        if !self.kept[block] {
            self.kept[block] = true;
            self.why[block] = why;
        }
    }

    fn drop(&mut self, block: usize, why: Why) {
        if self.kept[block] {
            self.kept[block] = false;
            self.why[block] = why;
        }
    }

    /// Keeps blocks below the threshold whose equals are above it in the mean.
    fn equals(&mut self, measured: &Measured) {
        let paths = &measured.paths;
        let n = paths.iter().max().map_or(0, |&last| last as usize + 1);
        let mut groups = vec![(0.0, 0.0, 0); n];
        for (block, &path) in paths.iter().enumerate() {
            let (accepted, words, count) = &mut groups[path as usize];
            *accepted += self.weights[block] * self.probabilities[block];
            *words += self.weights[block];
            *count += 1;
        }
        for (block, &path) in paths.iter().enumerate() {
            let (accepted, words, count) = groups[path as usize];
            let (mean, limit) = (accepted / words, self.limits[block]);
            let near = self.probabilities[block] >= limit * EQUALS;
            if count >= MIN_EQUALS && mean >= limit && near {
                self.keep(block, Why::Equals(mean));
            }
        }
    }

    /// Decides units from the outermost in: one whose mean is high enough is kept whole; of another, rows, items and
    /// definitions are kept or dropped whole, less probable ones beside those that are kept, and where they are most
    /// of it, the rest is kept too. Lists in an unknown language are left as they are: teasers are lists.
    fn decide_units(&mut self, masses: &[(f32, f32)], knows_language: bool) {
        let n = self.units.all.len();
        let mut whole = vec![false; n];
        for (at, unit) in self.units.all.iter().enumerate() {
            let above = unit.parent as usize;
            if whole.get(above).copied().unwrap_or(false) {
                whole[at] = true;
            } else if unit.holds {
                whole[at] = mean(masses[at]) >= self.limit_of(unit);
            }
        }
        let among = self.among(masses, &mut whole, knows_language);
        self.most(masses, &mut whole);
        let outermost = self.units.outermost();
        for block in 0..self.kept.len() {
            let unit = self.units.of_block[block];
            if unit == NONE || outermost[unit as usize] == NONE {
                continue;
            }
            let decided = self.decider(unit, &whole);
            let mean = mean(masses[decided as usize]);
            self.kept[block] = whole[unit as usize];
            self.why[block] = if !self.kept[block] || mean >= self.limits[block] {
                Why::Unit(decided, mean)
            } else if among[decided as usize] {
                Why::Among(decided)
            } else {
                Why::MostOf(decided)
            };
        }
        self.heads();
    }

    /// The threshold of a unit is that of its first block; a unit without blocks is never kept.
    fn limit_of(&self, unit: &Unit) -> f32 {
        let first = self.limits.get(unit.blocks.start as usize);
        first.copied().unwrap_or(1.0)
    }

    /// The unit that decides about a block in this one: the outermost that is kept whole, or, where none is, the
    /// innermost that holds its blocks together.
    fn decider(&self, mut unit: u32, whole: &[bool]) -> u32 {
        let above = |unit: u32| self.units.all[unit as usize].parent;
        if whole[unit as usize] {
            while whole.get(above(unit) as usize) == Some(&true) {
                unit = above(unit);
            }
        } else {
            while !self.units.all[unit as usize].holds {
                unit = above(unit);
            }
        }
        unit
    }

    /// Keeps rows beside kept rows of their table, where asked for items and definitions alike; says which.
    fn among(&self, masses: &[(f32, f32)], whole: &mut [bool], lists: bool) -> Vec<bool> {
        let units = &self.units.all;
        let mut some = vec![false; units.len()]; // tables and lists of which a part is kept that is no head
        for (at, unit) in units.iter().enumerate() {
            if let Some(some) = some.get_mut(unit.parent as usize) {
                *some |= whole[at] && !unit.head;
            }
        }
        let mut among = vec![false; units.len()];
        for (at, unit) in units.iter().enumerate() {
            let above = unit.parent as usize;
            if whole.get(above).copied().unwrap_or(false) {
                whole[at] = true;
                continue;
            }
            let part = match unit.kind {
                Kind::Row => true,
                Kind::Item | Kind::Definition => lists,
                _ => false,
            };
            among[at] = part
                && unit.holds
                && !whole[at]
                && some.get(above).copied().unwrap_or(false)
                && units[above].holds
                && mean(masses[at]) >= self.limit_of(unit) * AMONG;
            whole[at] |= among[at];
        }
        among
    }

    /// Keeps the rest of a table or a list of which most words are kept.
    fn most(&self, masses: &[(f32, f32)], whole: &mut [bool]) {
        let mut kept = vec![0.0; whole.len()];
        for (at, unit) in self.units.all.iter().enumerate() {
            let above = unit.parent as usize;
            let first = whole[at] && !whole.get(above).copied().unwrap_or(false);
            if first && self.units.all.get(above).is_some_and(|around| around.holds) {
                kept[above] += masses[at].1;
            }
        }
        for at in 0..whole.len() {
            let above = self.units.all[at].parent as usize;
            whole[at] |= kept[at] > 0.0 && kept[at] >= MOST * masses[at].1;
            whole[at] |= whole.get(above).copied().unwrap_or(false);
        }
    }

    /// A table of which rows are kept keeps its rows of headings and its caption.
    fn heads(&mut self) {
        let units = self.units;
        let mut some = vec![false; units.all.len()];
        for (block, &unit) in units.of_block.iter().enumerate() {
            if self.kept[block] && unit != NONE && units.all[unit as usize].kind == Kind::Row {
                some[units.all[unit as usize].parent as usize] = true;
            }
        }
        for block in 0..self.kept.len() {
            let Some(unit) = units.all.get(units.of_block[block] as usize) else {
                continue;
            };
            let table = match unit.kind {
                Kind::Row if unit.head => unit.parent,
                Kind::Table => units.of_block[block],
                _ => continue,
            };
            if some[table as usize] && units.all[table as usize].holds {
                self.keep(block, Why::HeadOf(table));
            }
        }
    }

    /// Keeps units that stand between kept blocks, and code that a kept block introduces.
    fn beside(&mut self, masses: &[(f32, f32)]) {
        let outermost = self.units.outermost();
        for (at, unit) in self.units.all.iter().enumerate() {
            let blocks = unit.blocks.start as usize..unit.blocks.end as usize;
            if outermost[at] != at as u32 || blocks.is_empty() || self.kept[blocks.start] {
                continue;
            }
            let mean = mean(masses[at]);
            let around = self.around(unit.node);
            let before = around.start < blocks.start && self.introduced(&around, blocks.start);
            let after = blocks.end < around.end && self.kept[blocks.end];
            let limit = self.limit_of(unit);
            let enough = match unit.kind {
                Kind::Code => before && mean >= limit * LISTING,
                Kind::Table => before && after && mean >= limit * LISTING,
                _ => before && after && mean >= limit * BETWEEN,
            };
            if enough {
                blocks.for_each(|block| self.keep(block, Why::Beside(at as u32)));
            }
        }
    }

    /// Whether the last block before `block` that is no heading is kept.
    fn introduced(&self, around: &Range<usize>, block: usize) -> bool {
        let before = (around.start..block).rev().take(3);
        let mut texts = before.filter(|&b| self.kept[b] || !self.page.node_of(b).tag.is_heading());
        texts.next().is_some_and(|block| self.kept[block])
    }

    /// The blocks of the nearest element around a node that has others beside it.
    fn around(&self, node: u32) -> Range<usize> {
        let nodes = &self.page.nodes;
        let own = &nodes[node as usize].blocks;
        let mut at = nodes[node as usize].parent;
        while let Some(node) = nodes.get(at as usize) {
            if node.blocks != *own {
                return node.blocks.start as usize..node.blocks.end as usize;
            }
            at = node.parent;
        }
        own.start as usize..own.end as usize
    }

    /// Keeps the lists of notes that kept text cites.
    fn notes(&mut self) {
        for list in cited(self.page, self.units, &self.kept) {
            let blocks = self.units.all[list as usize].blocks.clone();
            for block in blocks.start as usize..blocks.end as usize {
                self.keep(block, Why::Cited(list));
            }
        }
    }

    /// A heading, a term or a question is kept with the text that follows it, which makes little sense without.
    fn leads(&mut self) {
        for block in (1..self.kept.len()).rev().map(|next| next - 1) {
            let tag = self.page.node_of(block).tag;
            let leads =
                tag.is_heading() || matches!(tag, Tag::DT | Tag::TH | Tag::BUTTON | Tag::SUMMARY);
            let cited = matches!(self.why[block + 1], Why::Cited(_));
            let part = if cited { 0.0 } else { LEAD };
            if leads
                && self.kept[block + 1]
                && !self.units.in_row(block)
                && self.probabilities[block] >= self.limits[block] * part
            {
                self.keep(block, Why::Leads(block as u32 + 1));
            }
        }
    }

    fn drop_comments(&mut self) {
        let is_comment = |block: usize| self.page.blocks[block].context & context::COMMENTS != 0;
        let sum = |chooser: &Self, which: &dyn Fn(usize) -> bool| -> f32 {
            let chosen =
                (0..chooser.kept.len()).filter(|&block| chooser.kept[block] && which(block));
            chosen.map(|block| chooser.weights[block]).sum()
        };
        if sum(self, &is_comment) * 2.0 <= sum(self, &|_| true) {
            for block in (0..self.kept.len()).filter(|&block| is_comment(block)) {
                self.drop(block, Why::Comment);
            }
        }
    }

    fn drop_twins(&mut self) {
        // A cell must not leave its row; an item that is the only one of its list to repeat may.
        let held: Vec<bool> = (0..self.kept.len())
            .map(|block| self.units.in_row(block))
            .collect();
        for (block, twin) in twins(self.page, self.probabilities, &self.kept, &held) {
            self.drop(block, Why::Repeats(twin as u32));
        }
    }
}
