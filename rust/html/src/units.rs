//! Units: the parts of a page that are kept whole or dropped whole, as their elements say.
//!
//! A table and its rows, a list and its items, a term with its definitions, a piece of code, a figure with its caption.
//! Units stand in a tree, numbered in document order; a block belongs to the innermost unit around it. A table that
//! only lays the page out, and a list whose items are posts or products, are units that hold nothing together.

use std::ops::Range;

use crate::page::{NONE, Page, meaning};
use crate::tags::Tag;

/// A table with a longer cell, in bytes, lays the page out.
const MAX_CELL_BYTES: u32 = 1200;
/// So does one with a cell of more blocks.
const MAX_CELL_BLOCKS: u32 = 12;
/// An item, a definition or a figure of more blocks is a container (a post, a product).
const MAX_ITEM_BLOCKS: u32 = 4;

/// A page of more units was made by a machine, or to take memory: what follows stands in no unit.
const MAX_UNITS: usize = 1 << 16;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// table
    Table,
    /// tr
    Row,
    /// ul, ol, menu, dir
    List,
    /// li
    Item,
    /// dl
    Definitions,
    /// One dt or several, and the dd that follow
    Definition,
    /// pre
    Code,
    /// figure
    Figure,
}

impl Kind {
    /// What a reader of an explanation is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Row => "row",
            Self::List => "list",
            Self::Item => "item",
            Self::Definitions => "definition list",
            Self::Definition => "definition",
            Self::Code => "code",
            Self::Figure => "figure",
        }
    }
}

/// One unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// The unit around it; `NONE` without one.
    pub parent: u32,
    /// Its element; of a definition its first.
    pub node: u32,
    /// Its blocks, those of units inside it too.
    pub blocks: Range<u32>,
    /// Whether it holds its blocks together; false for layout and containers.
    pub holds: bool,
    /// A row of headings: in thead, or of nothing but th.
    pub head: bool,
}

/// The units of a page.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// In document order: a unit comes after the one around it.
    pub all: Vec<Unit>,
    /// The innermost unit around each block; `NONE` without one.
    pub of_block: Vec<u32>,
}

/// What is counted of a table or a row while its elements go by.
#[derive(Clone, Copy, Default)]
struct Seen {
    rows: u32,
    cells: u32,
    heads: u32,
    layout: bool,
    /// The definition that the next dd belongs to.
    open: u32,
    /// Whether that has a dd.
    defined: bool,
}

impl Units {
    /// The units of a page, in one pass over its elements.
    pub fn of(page: &Page) -> Self {
        let mut units = Self::default();
        let mut seen: Vec<Seen> = Vec::new();
        let mut of_node = vec![NONE; page.nodes.len()];
        for (at, node) in page.nodes.iter().enumerate() {
            let above = of_node.get(node.parent as usize).copied().unwrap_or(NONE);
            of_node[at] = units.at(page, at, above, &mut seen);
        }
        units.judge(&seen);
        let of_block = page.blocks.iter().map(|block| of_node[block.node as usize]);
        units.of_block = of_block.collect();
        units
    }

    /// The innermost unit around an element, which is the unit that it begins or `above`.
    fn at(&mut self, page: &Page, at: usize, above: u32, seen: &mut Vec<Seen>) -> u32 {
        let node = &page.nodes[at];
        let within = self.kind(above);
        if self.all.len() >= MAX_UNITS {
            return above;
        }
        let kind = match node.tag {
            Tag::TABLE => {
                if let Some(table) = self.table(above) {
                    seen[table].layout = true;
                }
                Kind::Table
            }
            Tag::TR if within == Some(Kind::Table) => {
                seen[above as usize].rows += 1;
                Kind::Row
            }
            Tag::TD | Tag::TH if within == Some(Kind::Row) => {
                self.cell(page, at, above, seen);
                return above;
            }
            Tag::UL | Tag::OL | Tag::MENU | Tag::DIR => Kind::List,
            Tag::LI if within == Some(Kind::List) => Kind::Item,
            Tag::DL => Kind::Definitions,
            Tag::DT | Tag::DD => return self.definition(page, at, above, seen),
            Tag::PRE | Tag::LISTING | Tag::XMP => Kind::Code,
            Tag::FIGURE => Kind::Figure,
            _ if node.meaning & meaning::VERBATIM != 0 && within != Some(Kind::Code) => Kind::Code,
            _ => return above,
        };
        self.push(page, at, kind, above, seen)
    }

    fn push(
        &mut self,
        page: &Page,
        at: usize,
        kind: Kind,
        parent: u32,
        seen: &mut Vec<Seen>,
    ) -> u32 {
        let node = &page.nodes[at];
        let head = kind == Kind::Row
            && page
                .nodes
                .get(node.parent as usize)
                .is_some_and(|around| around.tag == Tag::THEAD);
        seen.push(Seen {
            open: NONE,
            ..Seen::default()
        });
        self.all.push(Unit {
            kind,
            parent,
            node: at as u32,
            blocks: node.blocks.clone(),
            holds: true,
            head,
        });
        self.all.len() as u32 - 1
    }

    /// A dt begins a definition, unless it follows another dt; a dd belongs to the one before it.
    fn definition(&mut self, page: &Page, at: usize, above: u32, seen: &mut Vec<Seen>) -> u32 {
        let node = &page.nodes[at];
        let list = above as usize;
        // A dt or dd inside another one that was never closed, or without a dl, is no more than its text.
        if self.kind(above) != Some(Kind::Definitions) {
            return above;
        }
        let is_term = node.tag == Tag::DT;
        let open = seen[list].open;
        let unit = if open == NONE || is_term && seen[list].defined {
            self.push(page, at, Kind::Definition, above, seen)
        } else {
            self.all[open as usize].blocks.end = node.blocks.end;
            open
        };
        seen[list].open = unit;
        seen[list].defined = !is_term;
        unit
    }

    fn cell(&mut self, page: &Page, at: usize, row: u32, seen: &mut [Seen]) {
        let node = &page.nodes[at];
        let blocks = node.blocks.start as usize..node.blocks.end as usize;
        let bytes: u32 = page.blocks[blocks.clone()]
            .iter()
            .map(|block| block.text.len() as u32)
            .sum();
        let counts = &mut seen[row as usize];
        counts.cells += 1;
        counts.heads += u32::from(node.tag == Tag::TH);
        let is_layout = bytes > MAX_CELL_BYTES || blocks.len() as u32 > MAX_CELL_BLOCKS;
        if is_layout && let Some(table) = self.table(row) {
            seen[table].layout = true;
        }
    }

    /// Decides which units hold their blocks together.
    fn judge(&mut self, seen: &[Seen]) {
        let mut wide = vec![false; seen.len()]; // tables with a row of two cells or more
        let mut large = vec![false; seen.len()]; // lists with a container for an item
        for (at, unit) in self.all.iter().enumerate() {
            let parent = unit.parent as usize;
            match unit.kind {
                Kind::Row => wide[parent] |= seen[at].cells > 1,
                Kind::Item | Kind::Definition => {
                    large[at] = unit.blocks.len() as u32 > MAX_ITEM_BLOCKS;
                    large[parent] |= large[at];
                }
                _ => {}
            }
        }
        for at in 0..self.all.len() {
            let parent = self.all[at].parent as usize;
            let holds = match self.all[at].kind {
                Kind::Table => !seen[at].layout && seen[at].rows > 1 && wide[at],
                Kind::Row => self.all[parent].holds,
                Kind::List | Kind::Definitions | Kind::Item | Kind::Definition => !large[at],
                Kind::Code => true,
                Kind::Figure => self.all[at].blocks.len() as u32 <= MAX_ITEM_BLOCKS,
            };
            let unit = &mut self.all[at];
            unit.holds = holds;
            unit.head |=
                unit.kind == Kind::Row && seen[at].cells > 0 && seen[at].heads == seen[at].cells;
        }
    }

    fn kind(&self, unit: u32) -> Option<Kind> {
        self.all.get(unit as usize).map(|unit| unit.kind)
    }

    /// The table around a unit, or the unit itself.
    fn table(&self, mut unit: u32) -> Option<usize> {
        // A table in a list in a table is found at most a few units up; what is deeper is no table of data anyway.
        for _ in 0..4 {
            match self.kind(unit)? {
                Kind::Table => return Some(unit as usize),
                _ => unit = self.all[unit as usize].parent,
            }
        }
        None
    }

    /// Whether a block stands in a row of a table of data, which is decided whole.
    pub fn in_row(&self, block: usize) -> bool {
        let unit = self.all.get(self.of_block[block] as usize);
        unit.is_some_and(|unit| unit.kind == Kind::Row && unit.holds)
    }

    /// The units around a block by kind and number, outermost first: `table 3 > row 5`; empty without one.
    pub fn path(&self, block: usize) -> String {
        let mut names = Vec::new();
        let mut at = self.of_block[block];
        while let Some(unit) = self.all.get(at as usize) {
            names.push(format!("{} {at}", unit.kind.name()));
            at = unit.parent;
        }
        names.reverse();
        names.join(" > ")
    }

    /// Weight times probability, and weight, of each unit, those inside it included.
    pub fn masses(&self, probabilities: &[f32], weights: &[f32]) -> Vec<(f32, f32)> {
        let mut masses = vec![(0.0, 0.0); self.all.len()];
        for ((&unit, p), weight) in self.of_block.iter().zip(probabilities).zip(weights) {
            if let Some(sum) = masses.get_mut(unit as usize) {
                *sum = (sum.0 + p * weight, sum.1 + weight);
            }
        }
        for at in (0..masses.len()).rev() {
            let own = masses[at];
            if let Some(sum) = masses.get_mut(self.all[at].parent as usize) {
                *sum = (sum.0 + own.0, sum.1 + own.1);
            }
        }
        masses
    }

    /// The outermost unit that holds each unit's blocks together, itself included; `NONE` where none does.
    pub fn outermost(&self) -> Vec<u32> {
        let mut outermost: Vec<u32> = Vec::with_capacity(self.all.len());
        for (at, unit) in self.all.iter().enumerate() {
            let above = outermost.get(unit.parent as usize).copied().unwrap_or(NONE);
            outermost.push(if above == NONE && unit.holds {
                at as u32
            } else {
                above
            });
        }
        outermost
    }
}
