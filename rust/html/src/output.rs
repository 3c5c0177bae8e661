//! The chosen blocks as text: plain, or with the light marks of Markdown.
//!
//! Plain text has the words of the page and nothing else: an empty line between paragraphs, a line for each list
//! item, row and line of code, a tab between cells. Markdown adds `#`, `-`, `1.`, `>`, fences and `|`.

use crate::page::{NONE, Page};
use crate::tags::{Tag, context};

/// How the text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Words and line breaks.
    #[default]
    Text,
    /// Headings, lists, quotes, code and tables are marked.
    Markdown,
}

/// Longer cells are paragraphs of a page that is laid out as a table.
const MAX_CELL: usize = 400;
/// An item of more blocks is a container (a post, a product), no list item.
const MAX_ITEM_BLOCKS: u32 = 3;
/// From this many bytes on a block without an element of its own is a paragraph.
const PARAGRAPH_BYTES: usize = 80;

/// What a block is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Paragraph,
    /// Short text without an element that says what it is.
    Line,
    Heading(u8),
    /// In this list item.
    Item(u32),
    /// In this row, in this cell.
    Cell(u32, u32),
    /// A term or its definition, in this dl.
    Definition(u32),
    /// In this pre.
    Code(u32),
}

struct Written {
    kind: Kind,
    quoted: bool,
    node: u32,
    /// The list around an item, the table around a row.
    around: u32,
}

/// The text of the blocks that are kept.
pub fn write(page: &Page, kept: &[bool], format: Format) -> String {
    let mut writer = Writer {
        page,
        format,
        out: String::new(),
        items: vec![0; page.nodes.len()],
    };
    let mut last: Option<Written> = None;
    for block in (0..kept.len()).filter(|&block| kept[block]) {
        let next = writer.look(block);
        writer.separate(last.as_ref(), &next);
        writer.block(block, last.as_ref(), &next);
        last = Some(next);
    }
    writer.end(last.as_ref());
    writer.out
}

struct Writer<'a> {
    page: &'a Page,
    format: Format,
    out: String,
    /// Items written of each list; for an item its number, once it was begun.
    items: Vec<u32>,
}

impl Writer<'_> {
    fn look(&self, block: usize) -> Written {
        let page = self.page;
        let (it, bytes) = (&page.blocks[block], page.blocks[block].text.len());
        let at = |tags: &[Tag]| {
            let mut at = it.node;
            while at != NONE && !tags.contains(&page.nodes[at as usize].tag) {
                at = page.nodes[at as usize].parent;
            }
            at
        };
        let within = |bit: u32| it.context & bit != 0;
        let own = page.node_of(block).tag;
        let mut around = NONE;
        let kind = if within(context::PRE) {
            Kind::Code(at(&[Tag::PRE, Tag::LISTING]))
        } else if within(context::HEADING) {
            let heading = at(&[Tag::H1, Tag::H2, Tag::H3, Tag::H4, Tag::H5, Tag::H6]);
            Kind::Heading(
                page.nodes
                    .get(heading as usize)
                    .map_or(2, |node| node.tag.0 - Tag::H1.0 + 1),
            )
        } else if matches!(own, Tag::TD | Tag::TH) && bytes <= MAX_CELL {
            around = at(&[Tag::TABLE]);
            Kind::Cell(page.node_of(block).parent, it.node)
        } else if matches!(own, Tag::DT | Tag::DD) {
            Kind::Definition(at(&[Tag::DL]))
        } else if within(context::ITEM) && self.is_item(at(&[Tag::LI])) {
            around = at(&[Tag::UL, Tag::OL, Tag::MENU, Tag::DIR]);
            Kind::Item(at(&[Tag::LI]))
        } else if own == Tag::P || bytes >= PARAGRAPH_BYTES {
            Kind::Paragraph
        } else {
            Kind::Line
        };
        Written {
            kind,
            quoted: within(context::QUOTE),
            node: it.node,
            around,
        }
    }

    fn is_item(&self, item: u32) -> bool {
        let node = self.page.nodes.get(item as usize);
        node.is_some_and(|node| node.blocks.end - node.blocks.start <= MAX_ITEM_BLOCKS)
    }

    /// What stands between two blocks.
    fn separate(&mut self, last: Option<&Written>, next: &Written) {
        let Some(last) = last else {
            return;
        };
        let markdown = self.format == Format::Markdown;
        let same_list =
            |a: &Written, b: &Written| a.around == b.around || self.nested(a.around, b.around);
        let separator = match (last.kind, next.kind) {
            (Kind::Code(a), Kind::Code(b)) if a == b => "\n",
            (Kind::Cell(_, a), Kind::Cell(_, b)) if a == b => " ",
            (Kind::Cell(a, _), Kind::Cell(b, _)) if a == b => {
                if markdown {
                    " | "
                } else {
                    "\t"
                }
            }
            (Kind::Cell(..), Kind::Cell(..)) if last.around == next.around => "\n",
            (Kind::Definition(a), Kind::Definition(b)) if a == b => "\n",
            (Kind::Item(_), Kind::Item(_)) if same_list(last, next) => "\n",
            (Kind::Line, Kind::Line) if last.node != next.node && last.quoted == next.quoted => {
                "\n"
            }
            _ => "\n\n",
        };
        let leaves_row =
            !matches!((last.kind, next.kind), (Kind::Cell(a, _), Kind::Cell(b, _)) if a == b);
        if markdown && leaves_row && matches!(last.kind, Kind::Cell(..)) {
            self.out.push_str(" |");
        }
        let leaves_code =
            !matches!((last.kind, next.kind), (Kind::Code(a), Kind::Code(b)) if a == b);
        if markdown && leaves_code && matches!(last.kind, Kind::Code(_)) {
            self.out.push_str("\n```");
        }
        let within_quote = markdown && last.quoted && next.quoted && separator == "\n\n";
        self.out
            .push_str(if within_quote { "\n>\n" } else { separator });
    }

    fn end(&mut self, last: Option<&Written>) {
        if self.format == Format::Markdown {
            match last.map(|last| last.kind) {
                Some(Kind::Cell(..)) => self.out.push_str(" |"),
                Some(Kind::Code(_)) => self.out.push_str("\n```"),
                _ => {}
            }
        }
    }

    /// Whether one of two lists stands in the other.
    fn nested(&self, a: u32, b: u32) -> bool {
        let nodes = &self.page.nodes;
        let (Some(a), Some(b)) = (nodes.get(a as usize), nodes.get(b as usize)) else {
            return false;
        };
        let holds = |outer: &std::ops::Range<u32>, inner: &std::ops::Range<u32>| {
            outer.start <= inner.start && inner.end <= outer.end
        };
        holds(&a.blocks, &b.blocks) || holds(&b.blocks, &a.blocks)
    }

    fn block(&mut self, block: usize, last: Option<&Written>, next: &Written) {
        let text = self.page.text_of(block);
        if self.format == Format::Text {
            self.out.push_str(&text);
            return;
        }
        let quote = if next.quoted { "> " } else { "" };
        let one_line = || text.replace('\n', " ");
        match next.kind {
            Kind::Code(pre) => {
                if !last.is_some_and(|last| last.kind == Kind::Code(pre)) {
                    self.out.push_str("```\n");
                }
                self.out.push_str(&text);
            }
            Kind::Heading(level) => {
                let marks = &"######"[..usize::from(level)];
                self.out.push_str(&format!("{quote}{marks} {}", one_line()));
            }
            Kind::Cell(row, _) => {
                let begins =
                    !last.is_some_and(|last| matches!(last.kind, Kind::Cell(r, _) if r == row));
                if begins {
                    self.out.push_str("| ");
                }
                self.out.push_str(&one_line().replace('|', "\\|"));
            }
            Kind::Item(item) => self.item(item, next.around, &text),
            _ => {
                let lines: Vec<String> =
                    text.lines().map(|line| format!("{quote}{line}")).collect();
                self.out.push_str(&lines.join("\n"));
            }
        }
    }

    fn item(&mut self, item: u32, list: u32, text: &str) {
        let nodes = &self.page.nodes;
        let mut depth = 0;
        let mut at = nodes.get(list as usize).map_or(NONE, |list| list.parent);
        while at != NONE {
            depth += usize::from(matches!(
                nodes[at as usize].tag,
                Tag::UL | Tag::OL | Tag::MENU | Tag::DIR
            ));
            at = nodes[at as usize].parent;
        }
        let begins = self.items[item as usize] == 0;
        if begins {
            let count = self.items.get_mut(list as usize).map_or(1, |count| {
                *count += 1;
                *count
            });
            self.items[item as usize] = count;
        }
        let ordered = nodes
            .get(list as usize)
            .is_some_and(|list| list.tag == Tag::OL);
        let mark = match (begins, ordered) {
            (false, _) => "  ".to_owned(),
            (true, false) => "- ".to_owned(),
            (true, true) => format!("{}. ", self.items[item as usize]),
        };
        let indent = "  ".repeat(depth.min(8));
        self.out
            .push_str(&format!("{indent}{mark}{}", text.replace('\n', " ")));
    }
}
