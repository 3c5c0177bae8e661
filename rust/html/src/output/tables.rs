//! Tables: which are tables of data, and their cells in rows and columns.

use crate::output::inline::{self, Place, Style};
use crate::page::{NONE, Node, Page, meaning};
use crate::tags::Tag;

/// Bytes and blocks of a cell of data: in a table with a head, and in one without, which may only lay out the page.
const MAX_CELL: (usize, usize) = (4_000, 40);
const MAX_CELL_WITHOUT_HEAD: (usize, usize) = (1_000, 12);
/// A table has at most this many places for each of its cells, and these beyond: spans that ask for more do not count,
/// and rows of lengths that differ more make no table.
const MAX_GROWTH: usize = 8;
const MAX_GROWN: usize = 1_000;

/// The cells of a table: every row has as many.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Text of each cell, in the form asked for; empty where a cell has none or another cell covers its place.
    pub rows: Vec<Vec<String>>,
}

/// The nodes inside a node, with their numbers.
fn inside(page: &Page, node: u32) -> impl Iterator<Item = (u32, &Node)> {
    let depth = page.nodes[node as usize].depth;
    let after = node + 1;
    page.nodes[after as usize..]
        .iter()
        .take_while(move |node| node.depth > depth)
        .enumerate()
        .map(move |(at, node)| (after + at as u32, node))
}

fn is_cell(tag: Tag) -> bool {
    matches!(tag, Tag::TD | Tag::TH)
}

/// Whether a table's rows are rows: not where a page is laid out by it, or code stands in it.
pub fn is_data(page: &Page, table: u32) -> bool {
    if page.nodes[table as usize].meaning & meaning::LAYOUT != 0 {
        return false;
    }
    let (mut rows, mut columns, mut widest) = (0, 0, 0);
    let (mut cells, mut in_row, mut longest) = (0, 0, 0);
    let (mut row, mut head) = (NONE, false);
    let mut largest = (0, 0);
    for (_, node) in inside(page, table) {
        let lays_out = node.tag.is_heading()
            || matches!(
                node.tag,
                Tag::TABLE
                    | Tag::ARTICLE
                    | Tag::SECTION
                    | Tag::FORM
                    | Tag::NAV
                    | Tag::ASIDE
                    | Tag::HEADER
                    | Tag::FOOTER
            );
        let lines =
            node.meaning & meaning::VERBATIM != 0 && (node.tag == Tag::TD || has_lines(page, node));
        if lays_out || lines {
            return false;
        }
        head |= matches!(node.tag, Tag::TH | Tag::THEAD | Tag::CAPTION);
        if is_cell(node.tag) && node.meaning & meaning::GUTTER == 0 {
            if row != node.parent {
                (row, columns, in_row) = (node.parent, 0, 0);
                rows += 1;
            }
            cells += 1;
            in_row += 1;
            longest = longest.max(in_row);
            columns += usize::from(node.columns);
            widest = widest.max(columns);
            let (bytes, blocks) = size(page, node);
            largest = (largest.0.max(bytes), largest.1.max(blocks));
            if bytes > MAX_CELL.0 || blocks > MAX_CELL.1 {
                return false;
            }
        }
    }
    let fits = largest.0 <= MAX_CELL_WITHOUT_HEAD.0 && largest.1 <= MAX_CELL_WITHOUT_HEAD.1;
    rows > 1 && (widest > 1 || head) && (head || fits) && rows * longest <= places(cells)
}

/// How many places a table of so many cells may have.
fn places(cells: usize) -> usize {
    cells * MAX_GROWTH + MAX_GROWN
}

fn has_lines(page: &Page, node: &Node) -> bool {
    node.blocks.len() > 1
        || node
            .blocks
            .clone()
            .any(|block| page.bytes(block as usize).contains(&b'\n'))
}

fn size(page: &Page, cell: &Node) -> (usize, usize) {
    if cell.blocks.is_empty() {
        return (0, 0);
    }
    let first = page.blocks[cell.blocks.start as usize].text.start;
    let last = page.blocks[cell.blocks.end as usize - 1].text.end;
    ((last - first) as usize, cell.blocks.len())
}

/// Whether a block of a table stands in no cell, as that of a caption does.
pub fn is_caption(page: &Page, table: u32, block: usize) -> bool {
    let mut at = page.blocks[block].node;
    while at != table && at != NONE {
        if is_cell(page.nodes[at as usize].tag) {
            return false;
        }
        at = page.nodes[at as usize].parent;
    }
    true
}

/// The rows of a table of data that have a kept cell, every cell in its column.
pub fn read(page: &Page, kept: &[bool], table: u32, style: &Style) -> Table {
    let mut rows: Vec<Vec<&Node>> = Vec::new();
    let (mut row, mut n_cells, mut cell_depth) = (NONE, 0, u16::MAX);
    for (_, node) in inside(page, table) {
        // Cells in cells come of markup that was never closed; their text is that of the outer one.
        if !is_cell(node.tag) || node.depth > cell_depth && row != node.parent {
            continue;
        }
        if row != node.parent {
            (row, cell_depth) = (node.parent, node.depth);
            rows.push(Vec::new());
        }
        n_cells += 1;
        if let Some(last) = rows.last_mut() {
            last.push(node);
        }
    }
    let limit = places(n_cells);
    let spanned = width(&rows, true, limit);
    let spans = rows.len() * spanned <= limit;
    let width = if spans {
        spanned
    } else {
        width(&rows, false, limit)
    };
    let mut table = Table::default();
    let mut covered = vec![0_u16; width];
    for row in &rows {
        let mut cells = vec![String::new(); width];
        let (mut at, mut any) = (0, false);
        for cell in row {
            while covered.get(at).is_some_and(|&rows| rows > 0) {
                at += 1;
            }
            let (columns, below) = if spans {
                (usize::from(cell.columns), cell.rows - 1)
            } else {
                (1, 0)
            };
            let blocks = cell.blocks.start as usize..cell.blocks.end as usize;
            for block in blocks.filter(|&block| kept[block]) {
                any = true;
                let text = inline::write(page, block, style, Place::Cell);
                if let Some(written) = cells.get_mut(at) {
                    if !written.is_empty() {
                        written.push(' ');
                    }
                    written.push_str(text.trim());
                }
            }
            for place in covered.iter_mut().skip(at).take(columns) {
                *place = (*place).max(below.saturating_add(1));
            }
            at += columns;
        }
        covered
            .iter_mut()
            .for_each(|rows| *rows = rows.saturating_sub(1));
        if any {
            table.rows.push(cells);
        }
    }
    table
}

/// The columns of the widest row, with those that cells of the rows above cover; `limit` or one more where a row has
/// more than that.
fn width(rows: &[Vec<&Node>], spans: bool, limit: usize) -> usize {
    let mut covered: Vec<u16> = Vec::new();
    let mut widest = 0;
    for row in rows {
        let mut at = 0;
        for cell in row {
            while covered.get(at).is_some_and(|&rows| rows > 0) {
                at += 1;
            }
            let (columns, below) = if spans {
                (usize::from(cell.columns), cell.rows)
            } else {
                (1, 1)
            };
            if at + columns > limit {
                return limit + 1;
            }
            if covered.len() < at + columns {
                covered.resize(at + columns, 0);
            }
            covered[at..at + columns].fill(below);
            at += columns;
        }
        widest = widest.max(
            covered
                .iter()
                .rposition(|&rows| rows > 0)
                .map_or(0, |last| last + 1),
        );
        covered
            .iter_mut()
            .for_each(|rows| *rows = rows.saturating_sub(1));
    }
    widest
}
