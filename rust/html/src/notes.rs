//! Lists of notes: what a text cites stays with it.

use std::collections::BTreeMap;

use crate::page::{Inline, Page};
use crate::tags::Tag;
use crate::units::{Kind, Units};

/// An ordered list is one of notes where this part of its items is cited by what is kept,
const CITED: f32 = 0.5;
/// by links of at most this many bytes: `[12]`, `note 3`.
const MAX_CITATION: u32 = 10;

/// The ordered lists, by the numbers of their units, whose items kept text elsewhere cites.
pub fn cited(page: &Page, units: &Units, kept: &[bool]) -> Vec<u32> {
    if page.targets.is_empty() {
        return Vec::new();
    }
    let mut targets = page.targets.clone();
    targets.sort_unstable();
    let mut items = vec![0; units.all.len()]; // of each list
    let mut cited = vec![0; units.all.len()];
    let mut of_node = BTreeMap::new();
    for (at, unit) in units.all.iter().enumerate() {
        if unit.kind == Kind::Item && !unit.blocks.is_empty() {
            items[unit.parent as usize] += 1;
            of_node.insert(unit.node, at);
        }
    }
    let mut seen = vec![false; units.all.len()];
    for block in (0..kept.len()).filter(|&block| kept[block]) {
        for address in citations(page, block) {
            let Some(fragment) = page.fragment(address) else {
                continue;
            };
            let first = targets.partition_point(|&(hash, _)| hash < fragment);
            let Some(&item) = targets
                .get(first)
                .filter(|(hash, _)| *hash == fragment)
                .and_then(|(_, node)| of_node.get(node))
            else {
                continue;
            };
            let list = units.all[item].parent;
            let inside = units.all[list as usize].blocks.contains(&(block as u32));
            if !inside && !seen[item] {
                seen[item] = true;
                cited[list as usize] += 1;
            }
        }
    }
    let is_cited = |&list: &usize| {
        let ordered = page.nodes[units.all[list].node as usize].tag == Tag::OL;
        ordered && cited[list] > 0 && cited[list] as f32 >= CITED * items[list] as f32
    };
    let lists = (0..units.all.len()).filter(is_cited);
    lists.map(|list| list as u32).collect()
}

/// The addresses of a block's links that may cite a note.
fn citations(page: &Page, block: usize) -> impl Iterator<Item = u32> {
    let marks = page.blocks[block].marks.clone();
    let marks = page.marks.get(marks.start as usize..marks.end as usize);
    let links = marks
        .unwrap_or_default()
        .iter()
        .filter(|mark| mark.kind == Inline::Link);
    let ends = links.clone().skip(1);
    links
        .zip(ends)
        .filter(|(begin, end)| begin.begins && !end.begins && end.at - begin.at <= MAX_CITATION)
        .map(|(begin, _)| begin.address)
}
