//! From tags and text to nodes and blocks: the stack of open elements, and where the text is cut.
//!
//! Inline tags do not cut; a block-level start or end, a rule and a double line break do. What browsers mend
//! (end tags that are missing, crossed or too many) is mended here as far as it moves text: p, li, dt, dd, tr,
//! td, option and headings end where the next begins. Each look up the stack is bounded, so time is linear.

use crate::characters::{collapse, keep};
use crate::page::{Block, ItemProp, NONE, Node, Page};
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
/// Indentation kept from white space before the first element of a pre.
const MAX_INDENT: usize = 200;

struct Open {
    tag: Tag,
    node: u32,
    inline: bool,
    context: u32,
}

/// What the attributes of a start tag said.
#[derive(Default)]
pub struct Attributes {
    /// `context` bits of the role, and of class, id and itemprop.
    pub context: u32,
    /// Its itemprop.
    pub itemprop: ItemProp,
}

/// The page so far.
pub struct Builder {
    /// What was read; complete after `finish`.
    pub page: Page,
    open: Vec<Open>,
    block: Block,
    in_block: bool,
    space: bool,
    /// Line breaks since the last text.
    breaks: u8,
    links: u32,
    strongs: u32,
    pres: u32,
    /// No text came since the end of a link.
    after_link: bool,
    n_images: u16,
    n_inputs: u16,
    indent: Vec<u8>,
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
        });
        let root = Open {
            tag: Tag::HTML,
            node: 0,
            inline: false,
            context: 0,
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
        }
    }

    /// Ends whatever is open.
    pub fn finish(mut self) -> Page {
        self.flush();
        while self.pop() {}
        self.page
    }

    /// A start tag whose tokens are `page.tokens[tokens..]`.
    pub fn start(&mut self, tag: Tag, attributes: &Attributes, tokens: usize) {
        if tag.is(property::NO_TOKENS) {
            self.page.tokens.truncate(tokens);
        }
        match tag {
            Tag::BR => self.line_break(),
            Tag::IMG => {
                self.n_images = self.n_images.saturating_add(1);
                self.page.n_images += 1;
            }
            Tag::INPUT => self.n_inputs = self.n_inputs.saturating_add(1),
            Tag::HR | Tag::BODY => self.flush(),
            _ if tag.is(property::VOID) || matches!(tag, Tag::HTML | Tag::HEAD) => {}
            _ if self.pres > 0 && is_line_of_code(tag) && self.block_bytes() < MAX_CODE => {
                self.new_line();
                self.push_inline(tag, attributes, tokens);
            }
            _ => {
                self.end_implied(tag);
                if self.open.len() >= MAX_DEPTH {
                    self.page.tokens.truncate(tokens);
                } else if tag.is(property::BLOCK) {
                    self.push_node(tag, attributes, tokens);
                } else {
                    self.push_inline(tag, attributes, tokens);
                }
            }
        }
    }

    fn end_implied(&mut self, tag: Tag) {
        if !tag.is(property::BLOCK) {
            if tag == Tag::A && self.top().tag == Tag::A {
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

    fn push_node(&mut self, tag: Tag, attributes: &Attributes, tokens: usize) {
        let (node, above) = (self.top().node, self.top().context);
        let parent = &self.page.nodes[node as usize];
        let own = self.page.tokens[tokens..].iter();
        let signature = own.fold(u32::from(tag.0), |hash, token| {
            (hash.rotate_left(5) ^ token).wrapping_mul(0x9E37_79B1)
        });
        let path = (parent.path.rotate_left(7) ^ signature).wrapping_mul(0x85EB_CA6B);
        let depth = parent.depth + 1;
        let context = above | tag.context() | attributes.context;
        let first_block = self.page.blocks.len() as u32;
        self.open.push(Open {
            tag,
            node: self.page.nodes.len() as u32,
            inline: false,
            context,
        });
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
        });
        if context_starts_pre(tag) {
            self.pres += 1;
            self.indent.clear();
        }
    }

    fn push_inline(&mut self, tag: Tag, attributes: &Attributes, tokens: usize) {
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
            _ => {}
        }
        let context = self.top().context | tag.context() | attributes.context;
        let node = self.top().node;
        self.open.push(Open {
            tag,
            node,
            inline: true,
            context,
        });
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
        if self.pres > 0 && is_line_of_code(tag) && self.top().tag == tag && self.top().inline {
            self.new_line();
            self.pop();
            return;
        }
        let block_level = tag.is(property::BLOCK);
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

    /// Character data.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        if self.in_block {
            return self.put(text);
        }
        let Some(first) = text.iter().position(|&byte| byte > b' ') else {
            if self.pres > 0 {
                self.note_indent(text);
            }
            return;
        };
        let top = &self.open[self.open.len() - 1];
        self.block.node = top.node;
        self.block.context = top.context;
        self.block.text.start = self.page.text.len() as u32;
        self.block.n_links = u16::from(self.links > 0);
        self.block.n_images = std::mem::take(&mut self.n_images);
        self.block.n_inputs = std::mem::take(&mut self.n_inputs);
        self.in_block = true;
        self.space = false;
        self.breaks = 0;
        if self.pres > 0 {
            self.note_indent(&text[..first]);
            self.page.text.append(&mut self.indent);
        }
        self.put(&text[first..]);
    }

    /// Remembers what of this white space stands on the line that the text of a pre will begin on.
    fn note_indent(&mut self, white: &[u8]) {
        let line = white.iter().rposition(|&byte| byte == b'\n');
        if line.is_some() {
            self.indent.clear();
        }
        let kept = &white[line.map_or(0, |at| at + 1)..];
        let room = MAX_INDENT.saturating_sub(self.indent.len());
        let blanks = kept
            .iter()
            .copied()
            .filter(|byte| matches!(byte, b' ' | b'\t'));
        self.indent.extend(blanks.take(room));
    }

    fn put(&mut self, mut text: &[u8]) {
        self.after_link = false;
        let before = self.page.text.len();
        if self.breaks > 0 {
            let Some(first) = text.iter().position(|&byte| byte > b' ') else {
                return;
            };
            text = &text[first..];
            self.page.text.push(b'\n');
            self.space = false;
            self.breaks = 0;
        }
        if self.pres > 0 {
            keep(text, &mut self.page.text);
        } else {
            collapse(text, &mut self.page.text, &mut self.space);
        }
        let added = (self.page.text.len() - before) as u32;
        if self.links > 0 {
            self.block.link_bytes += added;
        }
        if self.strongs > 0 {
            self.block.strong_bytes += added;
        }
    }

    /// Begins a line of code, unless one was begun.
    fn new_line(&mut self) {
        if self.in_block && self.page.text.last().is_some_and(|&last| last != b'\n') {
            self.page.text.push(b'\n');
        }
    }

    fn block_bytes(&self) -> usize {
        if self.in_block {
            self.page.text.len() - self.block.text.start as usize
        } else {
            0
        }
    }

    fn line_break(&mut self) {
        if self.pres > 0 {
            if self.in_block {
                self.page.text.push(b'\n');
            }
        } else if self.breaks > 0 {
            self.flush();
            self.breaks = 1;
        } else {
            self.breaks = 1;
            if self.in_block {
                self.block.n_breaks = self.block.n_breaks.saturating_add(1);
            }
        }
    }

    /// Ends the block, if one is open.
    fn flush(&mut self) {
        self.breaks = 0;
        if !self.in_block {
            return;
        }
        self.in_block = false;
        self.space = false;
        let start = self.block.text.start as usize;
        let text = &mut self.page.text;
        while text.len() > start && text[text.len() - 1] <= b' ' {
            text.pop();
        }
        let block = std::mem::take(&mut self.block);
        if text.len() > start {
            let end = text.len() as u32;
            text.push(b'\n');
            self.page.blocks.push(Block {
                text: block.text.start..end,
                ..block
            });
        }
    }

    fn top(&self) -> &Open {
        // The root never leaves before `finish`.
        &self.open[self.open.len() - 1]
    }

    fn pop(&mut self) -> bool {
        let Some(open) = self.open.pop() else {
            return false;
        };
        if open.inline {
            match open.tag {
                Tag::A => {
                    self.links -= 1;
                    self.after_link = true;
                }
                Tag::B | Tag::STRONG => self.strongs -= 1,
                _ => {}
            }
            return true;
        }
        // The stack holds the element no more, but its text still belongs to it.
        self.flush();
        if context_starts_pre(open.tag) {
            self.pres -= 1;
        }
        self.page.nodes[open.node as usize].blocks.end = self.page.blocks.len() as u32;
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

/// Elements that highlighters put around the lines of a pre: there they are lines and no blocks.
fn is_line_of_code(tag: Tag) -> bool {
    matches!(tag, Tag::DIV | Tag::P | Tag::OL | Tag::UL | Tag::LI)
}

fn context_starts_pre(tag: Tag) -> bool {
    tag.context() & context::PRE != 0
}
