//! From tags and text to nodes and blocks: the stack of open elements, and where the text is cut.
//!
//! Inline tags do not cut; a block-level start or end, a rule and a double line break do. What browsers mend
//! (end tags that are missing, crossed or too many) is mended here as far as it moves text: p, li, dt, dd, tr,
//! td, option and headings end where the next begins. Each look up the stack is bounded, so time is linear.

use crate::hash::Fnv;
use crate::page::{Block, Inline, ItemProp, NONE, Node, Page, meaning};
use crate::tags::{Tag, context, property};

/// Deeper elements are ignored, their text kept.
const MAX_DEPTH: usize = 400;
/// How far up the stack an end tag looks for its element.
const END_LOOKS: usize = 120;
const INLINE_END_LOOKS: usize = 24;
/// How far up a start tag looks for an element that it ends.
const IMPLIED_END_LOOKS: usize = 40;
/// A pre of more bytes was hardly meant to be one: its elements cut again.
const MAX_CODE: usize = 50_000;

/// Marks of a page; later links and emphasis leave their text and no mark.
pub const MAX_MARKS: usize = 1 << 18;
/// Items of a page that links may lead to; later ones are not known as such.
const MAX_TARGETS: usize = 1 << 16;
/// A longer address is none.
pub const MAX_ADDRESS: usize = 4_000;
/// A longer alternative text is no character.
pub const MAX_CHARACTER: usize = 32;

/// An open element.
pub struct Open {
    pub tag: Tag,
    pub node: u32,
    pub inline: bool,
    pub context: u32,
    /// `meaning` bits.
    pub meaning: u16,
    /// What it marks its text as, and the number of its address.
    pub mark: Option<(Inline, u32)>,
    /// Bytes of text, marks and blocks when it began.
    pub text: u32,
    pub marks: u32,
    pub blocks: u32,
}

/// What the attributes of a start tag said.
#[derive(Default)]
pub struct Attributes<'a> {
    /// `context` bits of the role, and of class, id and itemprop.
    pub context: u32,
    /// Its itemprop.
    pub itemprop: ItemProp,
    /// `meaning` bits of class and style.
    pub meaning: u16,
    /// Whether it may be what Doxygen writes around code.
    pub is_fragment: bool,
    /// The language of code that class or data-lang name.
    pub language: &'a [u8],
    /// href or src.
    pub address: &'a [u8],
    /// alt.
    pub alt: &'a [u8],
    /// colspan; 0 where there is none.
    pub columns: u16,
    /// rowspan; 0 where there is none.
    pub rows: u16,
    /// start or value.
    pub number: Option<i32>,
    /// id, or the name of a link's target.
    pub id: &'a [u8],
}

/// The page so far.
pub struct Builder {
    /// What was read; complete after `finish`.
    pub page: Page,
    pub(crate) open: Vec<Open>,
    pub(crate) block: Block,
    pub(crate) in_block: bool,
    pub(crate) space: bool,
    /// Line breaks since the last text.
    pub(crate) breaks: u8,
    pub(crate) links: u32,
    pub(crate) strongs: u32,
    pub(crate) pres: u32,
    /// No text came since the end of a link.
    pub(crate) after_link: bool,
    pub(crate) n_images: u16,
    pub(crate) n_inputs: u16,
    pub(crate) indent: Vec<u8>,
    /// Open elements that keep white space and are no code.
    pub(crate) preserved: u32,
    /// Open elements whose content is no text.
    pub(crate) skipping: u32,
    /// Open elements that mark their text, and those of them that are code.
    pub(crate) marked: u32,
    pub(crate) codes: u32,
    /// A line of code ended and no text came since.
    pub(crate) line_ended: bool,
    /// A cell of line numbers ended, and no other cell since.
    pub(crate) after_gutter: bool,
    /// A number of a line ended just now.
    pub(crate) after_number: bool,
    /// Where an element ended that the style sheet may set apart from the next, and the bytes of its text.
    pub(crate) set_apart: (u32, u32),
    /// The next text is apart from the last if both are letters or digits.
    pub(crate) apart: bool,
    pub(crate) formula: Formula,
}

/// The last formula: its text, its marks, and whether it was one that is written once more.
#[derive(Clone, Copy, Default)]
pub struct Formula {
    pub start: u32,
    pub end: u32,
    pub marks: u32,
    pub again: bool,
}

impl Builder {
    /// A page of nothing but its root.
    pub fn new(n_bytes: usize) -> Self {
        let mut page = Page {
            n_bytes: n_bytes as u32,
            ..Page::default()
        };
        page.text.reserve(n_bytes / 6);
        page.nodes.push(Node {
            parent: NONE,
            tag: Tag::HTML,
            depth: 0,
            context: 0,
            tokens: 0..0,
            blocks: 0..0,
            signature: 1,
            path: 1,
            itemprop: ItemProp::Other,
            meaning: 0,
            columns: 1,
            rows: 1,
            number: 1,
            language: 0..0,
        });
        let root = Open {
            tag: Tag::HTML,
            node: 0,
            inline: false,
            context: 0,
            meaning: 0,
            mark: None,
            text: 0,
            marks: 0,
            blocks: 0,
        };
        Self {
            page,
            open: vec![root],
            block: Block::default(),
            in_block: false,
            space: false,
            breaks: 0,
            links: 0,
            strongs: 0,
            pres: 0,
            after_link: false,
            n_images: 0,
            n_inputs: 0,
            indent: Vec::new(),
            preserved: 0,
            skipping: 0,
            marked: 0,
            codes: 0,
            line_ended: false,
            after_gutter: false,
            after_number: false,
            set_apart: (0, 0),
            apart: false,
            formula: Formula::default(),
        }
    }

    /// Ends whatever is open.
    pub fn finish(mut self) -> Page {
        self.flush();
        while self.pop() {}
        self.page
    }

    /// A start tag whose tokens are `page.tokens[tokens..]`.
    pub fn start(&mut self, tag: Tag, attributes: &Attributes<'_>, tokens: usize) {
        if tag.is(property::NO_TOKENS) || self.skipping > 0 {
            self.page.tokens.truncate(tokens);
        }
        match tag {
            _ if self.skipping > 0 => {
                if !tag.is(property::VOID) && self.open.len() < MAX_DEPTH {
                    self.push_skipped(tag, 0);
                }
            }
            Tag::BR => self.line_break(),
            Tag::IMG => self.image(attributes),
            Tag::INPUT => self.n_inputs = self.n_inputs.saturating_add(1),
            Tag::HR | Tag::BODY => self.flush(),
            _ if tag.is(property::VOID) || matches!(tag, Tag::HTML | Tag::HEAD) => {}
            _ if self.pres > 0 && is_line_of_code(tag) && self.block_bytes() < MAX_CODE => {
                self.begin_line(true);
                self.push_inline(tag, attributes, tokens, meaning::LINE);
            }
            _ if attributes.meaning & meaning::SKIP != 0 || matches!(tag, Tag::RT | Tag::RP) => {
                self.end_implied(tag);
                self.page.tokens.truncate(tokens);
                if self.open.len() < MAX_DEPTH {
                    self.push_skipped(tag, meaning::SKIP);
                }
            }
            _ => {
                self.end_implied(tag);
                if self.open.len() >= MAX_DEPTH {
                    self.page.tokens.truncate(tokens);
                } else if tag.is(property::BLOCK) && !self.is_in_sentence(tag) {
                    self.push_node(tag, attributes, tokens);
                } else {
                    self.push_inline(tag, attributes, tokens, 0);
                }
            }
        }
    }

    /// Whether a custom element stands in a line of text, which it does not cut.
    fn is_in_sentence(&self, tag: Tag) -> bool {
        if tag != Tag::CUSTOM {
            return false;
        }
        let around = self.page.nodes[self.top().node as usize].tag;
        let holds_text = matches!(
            around,
            Tag::LI
                | Tag::TD
                | Tag::TH
                | Tag::DT
                | Tag::DD
                | Tag::FIGCAPTION
                | Tag::CAPTION
                | Tag::SUMMARY
                | Tag::DIV
        );
        around == Tag::P || around.is_heading() || holds_text && self.in_block
    }

    fn end_implied(&mut self, tag: Tag) {
        if !tag.is(property::BLOCK) || self.is_in_sentence(tag) {
            let top = self.top().tag;
            if tag == Tag::A && top == Tag::A
                || matches!(tag, Tag::RT | Tag::RP) && matches!(top, Tag::RT | Tag::RP)
            {
                self.pop();
            }
            return;
        }
        self.flush();
        if tag.is(property::ENDS_P) {
            self.end_paragraph();
        }
        match tag {
            Tag::LI => self.end_open(&[Tag::LI], &[Tag::UL, Tag::OL, Tag::MENU, Tag::DIR]),
            Tag::DT | Tag::DD => self.end_open(&[Tag::DT, Tag::DD], &[Tag::DL]),
            Tag::TR => self.end_open(&[Tag::TR], &[Tag::TABLE]),
            Tag::TD | Tag::TH => self.end_open(&[Tag::TD, Tag::TH], &[Tag::TABLE, Tag::TR]),
            Tag::OPTION => self.end_open(&[Tag::OPTION], &[Tag::SELECT]),
            Tag::TBODY | Tag::THEAD | Tag::TFOOT => {
                self.end_open(&[Tag::TBODY, Tag::THEAD, Tag::TFOOT], &[Tag::TABLE]);
            }
            _ if tag.is_heading() && self.top().tag.is_heading() => {
                self.pop();
            }
            _ => {}
        }
    }

    fn push_node(&mut self, tag: Tag, attributes: &Attributes<'_>, tokens: usize) {
        let meaning = self.meaning_of(tag, attributes);
        let (node, above) = (self.top().node, self.top().context);
        let parent = &self.page.nodes[node as usize];
        let own = self.page.tokens[tokens..].iter();
        let signature = own.fold(u32::from(tag.0), |hash, token| {
            (hash.rotate_left(5) ^ token).wrapping_mul(0x9E37_79B1)
        });
        let path = (parent.path.rotate_left(7) ^ signature).wrapping_mul(0x85EB_CA6B);
        let depth = parent.depth + 1;
        let verbatim = meaning & meaning::VERBATIM != 0;
        let code = if verbatim { context::PRE } else { 0 };
        let context = above | tag.context() | attributes.context | code;
        let first_block = self.page.blocks.len() as u32;
        self.open.push(Open {
            tag,
            node: self.page.nodes.len() as u32,
            inline: false,
            context,
            meaning,
            mark: None,
            text: self.page.text.len() as u32,
            marks: self.page.marks.len() as u32,
            blocks: first_block,
        });
        let number = self.number_of(tag, node, attributes);
        let language = self.page.keep_value(attributes.language);
        self.page.nodes.push(Node {
            parent: node,
            tag,
            depth,
            context,
            tokens: tokens as u32..self.page.tokens.len() as u32,
            blocks: first_block..first_block,
            signature,
            path,
            itemprop: attributes.itemprop,
            meaning,
            columns: attributes.columns.max(1),
            rows: attributes.rows.max(1),
            number,
            language,
        });
        let own = self.page.nodes.len() as u32 - 1;
        self.note_target(if tag == Tag::LI { own } else { node }, attributes.id);
        if verbatim {
            self.pres += 1;
            self.indent.clear();
            self.line_ended = false;
        }
        self.preserved += u32::from(meaning & meaning::PRESERVED != 0);
    }

    /// Notes that links to `id` lead to this node, if it is an item.
    fn note_target(&mut self, node: u32, id: &[u8]) {
        let known = self.page.targets.len() < MAX_TARGETS;
        if known && !id.is_empty() && self.page.nodes[node as usize].tag == Tag::LI {
            self.page.targets.push((Fnv::of(id), node));
        }
    }

    fn meaning_of(&mut self, tag: Tag, attributes: &Attributes<'_>) -> u16 {
        let mut bits = attributes.meaning;
        match tag {
            Tag::PRE | Tag::LISTING | Tag::XMP | Tag::TEXTAREA => bits |= meaning::VERBATIM,
            Tag::TD if self.after_gutter && bits & meaning::CODE_CELL != 0 => {
                bits |= meaning::VERBATIM
            }
            Tag::OL if attributes.number.is_some() => bits |= meaning::NUMBERED,
            _ => {}
        }
        if matches!(tag, Tag::TD | Tag::TABLE) {
            self.after_gutter = false;
        }
        bits
    }

    /// The number of a list's next item, or of this item, whose node's parent is `parent`.
    fn number_of(&mut self, tag: Tag, parent: u32, attributes: &Attributes<'_>) -> i32 {
        if tag != Tag::LI {
            return attributes.number.unwrap_or(1);
        }
        let list = &mut self.page.nodes[parent as usize];
        let number = attributes.number.unwrap_or(list.number);
        let falls = meaning::REVERSED | meaning::NUMBERED;
        let step = if list.meaning & falls == falls { -1 } else { 1 };
        list.number = number.saturating_add(step);
        number
    }

    /// An element whose content is no text.
    fn push_skipped(&mut self, tag: Tag, bits: u16) {
        let (node, context) = (self.top().node, self.top().context);
        self.skipping += u32::from(bits & meaning::SKIP != 0);
        self.open.push(Open {
            tag,
            node,
            inline: true,
            context,
            meaning: bits | meaning::SKIPPED,
            mark: None,
            text: self.page.text.len() as u32,
            marks: self.page.marks.len() as u32,
            blocks: self.page.blocks.len() as u32,
        });
    }

    fn push_inline(&mut self, tag: Tag, attributes: &Attributes<'_>, tokens: usize, bits: u16) {
        let mut meaning = attributes.meaning | bits;
        if self.pres > 0 {
            if meaning & meaning::LINE != 0 && bits == 0 {
                self.begin_line(false);
            }
            let node = self.top().node as usize;
            if tag == Tag::CODE && self.page.nodes[node].language.is_empty() {
                self.page.nodes[node].language = self.page.keep_value(attributes.language);
            }
        } else {
            meaning &= !(meaning::LINE | meaning::GUTTER);
            if meaning & meaning::CLASSED != 0 {
                self.note_apart(tag);
            }
        }
        let mark = self.begin_mark(tag, attributes);
        self.note_target(self.top().node, attributes.id);
        match tag {
            Tag::A => {
                // Links side by side are words apart, as buttons and tags are.
                self.space |= self.after_link && self.pres == 0;
                self.links += 1;
                if self.in_block {
                    self.block.n_links = self.block.n_links.saturating_add(1);
                }
            }
            Tag::B | Tag::STRONG => self.strongs += 1,
            _ if is_apart(tag) => self.apart |= self.is_in_words(),
            _ => {}
        }
        let context = self.top().context | tag.context() | attributes.context;
        let node = self.top().node;
        self.open.push(Open {
            tag,
            node,
            inline: true,
            context,
            meaning,
            mark,
            text: self.page.text.len() as u32,
            marks: self.page.marks.len() as u32,
            blocks: self.page.blocks.len() as u32,
        });
        if tag == Tag::Q {
            self.text("“".as_bytes());
        }
        if self.in_block {
            self.page.tokens.truncate(tokens);
        } else if self.page.tokens.len() > tokens {
            // They belong to the block that begins next; neighboring ranges are one.
            let (first, end) = (tokens as u32, self.page.tokens.len() as u32);
            let range = &mut self.block.tokens;
            let joins = range.end == first && range.end > range.start;
            *range = if joins { range.start } else { first }..end;
        }
    }

    /// An end tag.
    pub fn end(&mut self, tag: Tag) {
        match tag {
            Tag::BR => return self.line_break(),
            Tag::BODY | Tag::HTML | Tag::HEAD => return self.flush(),
            Tag(0) => {
                if self.top().tag == tag {
                    self.pop();
                }
                return;
            }
            _ => {}
        }
        let top = self.top();
        if top.tag == tag
            && top.inline
            && (top.meaning & (meaning::LINE | meaning::SKIP) != 0 || self.skipping > 0)
        {
            self.pop();
            return;
        }
        let block_level =
            tag.is(property::BLOCK) && !(tag == Tag::CUSTOM && self.ends_in_sentence());
        if self.skipping > 0
            && !self
                .open
                .iter()
                .rev()
                .take(END_LOOKS)
                .any(|open| open.tag == tag)
        {
            return;
        }
        if block_level {
            self.flush();
        }
        let looks = if block_level {
            END_LOOKS
        } else {
            INLINE_END_LOOKS
        };
        for at in (1..self.open.len()).rev().take(looks) {
            let open = &self.open[at];
            if open.tag == tag {
                return self.pop_to(at);
            }
            let stops = if block_level {
                let leaves_cell = matches!(open.tag, Tag::TD | Tag::TH)
                    && !matches!(
                        tag,
                        Tag::TABLE | Tag::TR | Tag::TBODY | Tag::THEAD | Tag::TFOOT
                    );
                leaves_cell || open.tag == Tag::TABLE && matches!(tag, Tag::P | Tag::LI)
            } else {
                !open.inline && tag != Tag::A
            };
            if stops {
                return;
            }
        }
    }

    /// Whether the nearest open custom element stands in a line of text.
    fn ends_in_sentence(&self) -> bool {
        let mut near = self.open.iter().rev().take(INLINE_END_LOOKS);
        near.find(|open| open.tag == Tag::CUSTOM)
            .is_some_and(|open| open.inline)
    }

    pub(crate) fn top(&self) -> &Open {
        // The root never leaves before `finish`.
        &self.open[self.open.len() - 1]
    }

    fn pop(&mut self) -> bool {
        let Some(open) = self.open.pop() else {
            return false;
        };
        if open.inline {
            self.end_inline(&open);
            return true;
        }
        // The stack holds the element no more, but its text still belongs to it.
        self.flush();
        self.pres -= u32::from(open.meaning & meaning::VERBATIM != 0);
        self.preserved -= u32::from(open.meaning & meaning::PRESERVED != 0);
        self.page.nodes[open.node as usize].blocks.end = self.page.blocks.len() as u32;
        if open.meaning & meaning::GUTTER != 0 {
            self.end_gutter(&open);
        }
        self.block.tokens = 0..0;
        true
    }

    fn pop_to(&mut self, at: usize) {
        while self.open.len() > at {
            self.pop();
        }
    }

    /// Ends an open paragraph with nothing but inline elements above it.
    fn end_paragraph(&mut self) {
        for at in (1..self.open.len()).rev() {
            if self.open[at].tag == Tag::P {
                return self.pop_to(at);
            }
            if !self.open[at].inline {
                return;
            }
        }
    }

    /// Ends the nearest of `tags`, unless one of `within` is nearer.
    fn end_open(&mut self, tags: &[Tag], within: &[Tag]) {
        for at in (1..self.open.len()).rev().take(IMPLIED_END_LOOKS) {
            if tags.contains(&self.open[at].tag) {
                return self.pop_to(at);
            }
            if within.contains(&self.open[at].tag) {
                return;
            }
        }
    }
}

/// Elements whose text is no part of the words beside it: what was struck out, and what a page made elements for.
pub(crate) fn is_apart(tag: Tag) -> bool {
    matches!(tag, Tag::DEL | Tag::S | Tag::STRIKE | Tag::CUSTOM)
}

/// Elements that highlighters put around the lines of a pre: there they are lines and no blocks.
fn is_line_of_code(tag: Tag) -> bool {
    matches!(tag, Tag::DIV | Tag::P | Tag::OL | Tag::UL | Tag::LI)
}
