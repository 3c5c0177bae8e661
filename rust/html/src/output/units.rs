//! From the blocks of a page to what a reader sees: paragraphs, headings, items, tables, code, and what they stand in.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::output::Images;
use crate::output::inline::{self, Place, Style};
use crate::output::tables::{self, Table};
use crate::page::{NONE, Page, meaning};
use crate::tags::{Tag, context};

/// An item of more blocks of its own is a container (a post, a product), no list item; steps of a procedure are long.
const MAX_ITEM_BLOCKS: u32 = 12;
const MAX_STEP_BLOCKS: u32 = 30;
/// A heading of more blocks was never closed.
const MAX_HEADING_BLOCKS: usize = 4;
/// From this many bytes on a block without an element of its own is a paragraph.
const PARAGRAPH_BYTES: usize = 80;
/// The largest number of an item that a parser of Markdown reads.
const MAX_NUMBER: i32 = 999_999_999;
/// Quotations and lists that may stand in one another; what is deeper stands in the last of these.
const MAX_AROUND: usize = 12;

/// What a unit is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A paragraph.
    Paragraph,
    /// Short text without an element that says what it is.
    Line,
    /// A heading and its level.
    Heading(u8),
    /// A term or its definition, in this dl.
    Definition(u32),
    /// Code, and the node that declares its language.
    Code(u32),
    /// A table.
    Table(Table),
    /// The caption of the table that follows.
    Caption,
}

/// A quotation or an item of a list around a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// The node of the quotation or of the item.
    pub node: u32,
    /// For an item its list.
    pub item: Option<u32>,
}

impl Around {
    /// The number that the page gives an item of an ordered list; None for another one, and for a quotation.
    pub fn number(&self, page: &Page) -> Option<i32> {
        let list = &page.nodes[self.item? as usize];
        if list.tag != Tag::OL {
            return None;
        }
        let number = page.nodes[self.node as usize].number;
        // A list that counts down to 1 was counted up.
        let falls = list.meaning & (meaning::REVERSED | meaning::NUMBERED) == meaning::REVERSED;
        let number = if falls {
            list.number.saturating_sub(number)
        } else {
            number
        };
        Some(number.clamp(0, MAX_NUMBER))
    }
}

/// One unit of the text.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// What it stands in, outermost first.
    pub around: Vec<Around>,
    /// Its text, in the form asked for; of a table nothing.
    pub text: String,
    /// The blocks that it was made of, some of which may not be kept.
    pub blocks: Range<usize>,
    /// The innermost node around it.
    pub node: u32,
}

/// Hands on the units of the blocks that are kept, in the order of the page; none is without text. A page may have a
/// hundred thousand: they are never held all at once.
pub fn each(page: &Page, kept: &[bool], style: &Style, mut take: impl FnMut(Unit)) {
    let mut reader = Reader {
        page,
        kept,
        style,
        holds: None,
        tables: Vec::new(),
        before: BTreeMap::new(),
        units: Vec::new(),
        image: 0,
    };
    let mut block = 0;
    while block < kept.len() {
        block = if kept[block] {
            reader.unit(block)
        } else {
            block + 1
        };
        reader.units.drain(..).for_each(&mut take);
    }
    reader.images(kept.len());
    reader.units.drain(..).for_each(take);
}

struct Reader<'a> {
    page: &'a Page,
    kept: &'a [bool],
    style: &'a Style,
    /// For each node what an item that holds it is, once asked for.
    holds: Option<Vec<Holds>>,
    /// For each node whether it is a table of data, once asked for.
    tables: Vec<Option<bool>>,
    /// The item before a list that stands between items, once asked for.
    before: BTreeMap<u32, Option<u32>>,
    /// Read and not handed on yet.
    units: Vec<Unit>,
    /// The next of the images outside of blocks.
    image: usize,
}

/// What stands in a node: sections of a page, and how many blocks in lists and tables.
#[derive(Clone, Copy, Default)]
struct Holds {
    sections: bool,
    listed: u32,
}

impl Reader<'_> {
    /// Reads the unit that begins with this block; gives the block after it.
    fn unit(&mut self, block: usize) -> usize {
        self.images(block);
        let page = self.page;
        let chain = self.chain(block);
        if let Some(code) = chain.code {
            return self.code(block, code, chain.around);
        }
        if let Some(table) = chain.table {
            return self.table(block, table, chain.around);
        }
        if let Some(heading) = chain
            .heading
            .filter(|&heading| self.is_heading(heading, block))
        {
            return self.heading(block, heading, chain.around);
        }
        let it = &page.blocks[block];
        let own = page.node_of(block).tag;
        let is_code = inline::is_code(page, block);
        let kind = match own {
            _ if is_code => Kind::Code(it.node),
            Tag::CAPTION => Kind::Caption,
            Tag::DT | Tag::DD => Kind::Definition(page.nodes[it.node as usize].parent),
            _ if own == Tag::P || it.text.len() >= PARAGRAPH_BYTES => Kind::Paragraph,
            _ => Kind::Line,
        };
        let text = if is_code {
            page.text_of(block).into_owned()
        } else {
            inline::write(page, block, self.style, Place::Lines)
        };
        self.push(kind, chain.around, text, block..block + 1, it.node);
        block + 1
    }

    fn push(
        &mut self,
        kind: Kind,
        around: Vec<Around>,
        text: String,
        blocks: Range<usize>,
        node: u32,
    ) {
        if !text.trim().is_empty() || matches!(kind, Kind::Table(_)) {
            self.units.push(Unit {
                kind,
                around,
                text,
                blocks,
                node,
            });
        }
    }

    /// Whether a block is part of the heading around it: one that was never closed has its first block alone.
    fn is_heading(&self, heading: u32, block: usize) -> bool {
        let inside = &self.page.nodes[heading as usize].blocks;
        inside.len() <= MAX_HEADING_BLOCKS || inside.start as usize == block
    }

    /// The heading that this block begins, its blocks in one line.
    fn heading(&mut self, block: usize, heading: u32, around: Vec<Around>) -> usize {
        let node = &self.page.nodes[heading as usize];
        let closed = node.blocks.len() <= MAX_HEADING_BLOCKS;
        let end = if closed {
            (node.blocks.end as usize).max(block + 1)
        } else {
            block + 1
        };
        let kept = (block..end).filter(|&at| self.kept[at]);
        let texts: Vec<String> = kept
            .map(|at| inline::write(self.page, at, self.style, Place::Heading))
            .collect();
        let kind = Kind::Heading(node.tag.0 - Tag::H1.0 + 1);
        self.push(kind, around, texts.join(" "), block..end, heading);
        end
    }

    /// The code that this block begins, all blocks of it, lines without text included.
    fn code(&mut self, block: usize, code: u32, around: Vec<Around>) -> usize {
        let page = self.page;
        let inside = page.nodes[code as usize].blocks.clone();
        let end = inside.end as usize;
        let mut text = String::new();
        let mut cells = empty_lines(page, code).into_iter().peekable();
        for at in block..end.max(block + 1) {
            while cells.next_if(|&cell| (cell as usize) < at).is_some() {}
            if !self.kept[at] {
                continue;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            while cells.next_if(|&cell| cell as usize == at).is_some() {
                if !text.is_empty() {
                    text.push('\n');
                }
            }
            text.push_str(&page.text_of(at));
        }
        self.push(
            Kind::Code(code),
            around,
            text,
            block..end.max(block + 1),
            code,
        );
        end.max(block + 1)
    }

    /// The table that this block begins.
    fn table(&mut self, block: usize, table: u32, around: Vec<Around>) -> usize {
        let page = self.page;
        let end = (page.nodes[table as usize].blocks.end as usize).max(block + 1);
        let captions = |at: &usize| self.kept[*at] && tables::is_caption(page, table, *at);
        for at in (block..end).filter(captions).collect::<Vec<_>>() {
            let text = inline::write(page, at, self.style, Place::Lines);
            self.push(
                Kind::Caption,
                around.clone(),
                text,
                at..at + 1,
                page.blocks[at].node,
            );
        }
        let table = (table, tables::read(page, self.kept, table, self.style));
        if !table.1.rows.is_empty() {
            self.push(
                Kind::Table(table.1),
                around,
                String::new(),
                block..end,
                table.0,
            );
        }
        end
    }

    /// What a block stands in, from one walk up.
    fn chain(&mut self, block: usize) -> Chain {
        let page = self.page;
        let (mut chain, mut item) = (Chain::default(), None);
        let bits = page.blocks[block].context;
        if bits & INSIDE == 0 {
            return chain;
        }
        let mut at = page.blocks[block].node;
        while at != NONE {
            let node = &page.nodes[at as usize];
            match node.tag {
                _ if node.meaning & meaning::VERBATIM != 0 => {
                    chain = Chain::default();
                    item = None;
                    chain.code = Some(at);
                }
                Tag::TABLE
                    if chain
                        .code
                        .is_some_and(|code| page.nodes[code as usize].tag == Tag::TD) =>
                {
                    chain.code = Some(at); // a cell of code is a line of it
                }
                Tag::TABLE
                    if chain.code.is_none() && chain.heading.is_none() && self.is_data(at) =>
                {
                    chain = Chain::default();
                    item = None;
                    chain.table = Some(at);
                }
                tag if tag.is_heading() && chain.code.is_none() => {
                    chain.heading = chain.heading.or(Some(at))
                }
                Tag::BLOCKQUOTE => chain.around.push(Around {
                    node: at,
                    item: None,
                }),
                Tag::LI if item.is_none() && self.is_item(at) => item = Some(at),
                Tag::UL | Tag::OL | Tag::MENU | Tag::DIR => {
                    if let Some(node) = item.take() {
                        chain.around.push(Around {
                            node,
                            item: Some(at),
                        });
                        item = self.item_before(at);
                    }
                }
                _ => {}
            }
            at = node.parent;
        }
        chain.around.reverse();
        chain.around.truncate(MAX_AROUND);
        chain
    }

    fn is_data(&mut self, table: u32) -> bool {
        if self.tables.is_empty() {
            self.tables.resize(self.page.nodes.len(), None);
        }
        *self.tables[table as usize].get_or_insert_with(|| tables::is_data(self.page, table))
    }

    /// The item that a list goes with which stands between the items of another instead of in one.
    fn item_before(&mut self, list: u32) -> Option<u32> {
        let nodes = &self.page.nodes;
        let outer = nodes[list as usize].parent;
        let is_list = |node: u32| nodes[node as usize].tag.context() & context::LIST != 0;
        if outer == NONE || !is_list(outer) {
            return None;
        }
        if let Some(&known) = self.before.get(&list) {
            return known;
        }
        let mut before = list - 1;
        while before > outer && nodes[before as usize].parent != outer {
            before = nodes[before as usize].parent;
        }
        let is_item = before > outer && nodes[before as usize].tag == Tag::LI;
        let found = (is_item && self.is_item(before)).then_some(before);
        self.before.insert(list, found);
        found
    }

    /// Whether an li is an item of a list, and no container of a post, a product or a section of the page.
    fn is_item(&mut self, item: u32) -> bool {
        let page = self.page;
        let holds = self.holds.get_or_insert_with(|| holds(page))[item as usize];
        let parent = page.nodes[item as usize].parent as usize;
        let limit = if page.nodes[parent].tag == Tag::OL {
            MAX_STEP_BLOCKS
        } else {
            MAX_ITEM_BLOCKS
        };
        !holds.sections
            && (page.nodes[item as usize].blocks.len() as u32).saturating_sub(holds.listed) <= limit
    }

    /// Writes the images that stand before this block and outside of all blocks, where their surroundings are kept.
    fn images(&mut self, block: usize) {
        let page = self.page;
        while let Some(image) = page.images.get(self.image) {
            if image.block as usize > block {
                return;
            }
            self.image += 1;
            if self.style.form.images == Images::Drop || !self.is_kept_around(image.node) {
                continue;
            }
            let text = inline::image(page, image.address, self.style);
            self.push(Kind::Paragraph, Vec::new(), text, block..block, image.node);
        }
    }

    /// Whether at least half of the blocks of the nearest element with text are kept.
    fn is_kept_around(&self, mut node: u32) -> bool {
        while node != NONE {
            let (inside, parent) = (
                &self.page.nodes[node as usize].blocks,
                self.page.nodes[node as usize].parent,
            );
            if !inside.is_empty() {
                let kept = &self.kept[inside.start as usize..inside.end as usize];
                let sample = kept.iter().take(64);
                return sample.clone().filter(|&&kept| kept).count() * 2 >= sample.len();
            }
            node = parent;
        }
        false
    }
}

/// Elements that make a unit more than a paragraph or a line.
const INSIDE: u32 = context::PRE
    | context::TABLE
    | context::HEADING
    | context::QUOTE
    | context::LIST
    | context::ITEM
    | context::CELL;

/// What a block stands in.
#[derive(Default)]
struct Chain {
    code: Option<u32>,
    table: Option<u32>,
    heading: Option<u32>,
    around: Vec<Around>,
}

/// For each cell of code without text the block that follows it; none outside of tables.
fn empty_lines(page: &Page, code: u32) -> Vec<u32> {
    let depth = page.nodes[code as usize].depth;
    let inside = page.nodes[code as usize + 1..]
        .iter()
        .take_while(|node| node.depth > depth);
    let empty = inside.filter(|node| {
        node.tag == Tag::TD
            && node.blocks.is_empty()
            && node.context & context::PRE != 0
            && node.meaning & meaning::GUTTER == 0
    });
    empty.map(|node| node.blocks.start).collect()
}

/// For each node whether sections of a page stand in it, and the blocks of the lists and tables in it.
fn holds(page: &Page) -> Vec<Holds> {
    let mut all = vec![Holds::default(); page.nodes.len()];
    for (at, node) in page.nodes.iter().enumerate().skip(1).rev() {
        let own = all[at];
        let above = &mut all[node.parent as usize];
        let has_own = matches!(
            node.tag,
            Tag::UL | Tag::OL | Tag::MENU | Tag::DIR | Tag::TABLE
        );
        let is_section = node.tag.is_heading()
            || matches!(
                node.tag,
                Tag::ARTICLE
                    | Tag::SECTION
                    | Tag::HEADER
                    | Tag::FOOTER
                    | Tag::FORM
                    | Tag::NAV
                    | Tag::ASIDE
                    | Tag::MAIN
            );
        above.sections |= own.sections || is_section && !node.blocks.is_empty();
        above.listed += if has_own {
            node.blocks.len() as u32
        } else {
            own.listed
        };
    }
    all
}
