//! A page as the tokenizer leaves it: block-level elements as nodes, and the blocks of text between their tags.
//!
//! There is no tree to walk: a node knows its parent, and covers a contiguous range of blocks, so whatever is
//! asked of a subtree is a difference of two prefix sums.

use std::ops::Range;

use crate::hash::Fnv;
use crate::tags::Tag;

/// Where a node has no parent, or a block no heading before it.
pub const NONE: u32 = u32::MAX;

/// What the attribute itemprop says, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemProp {
    /// No itemprop, or one that says nothing about text.
    #[default]
    Other,
    /// articleBody: schema.org's word for what is looked for.
    ArticleBody,
}

/// One block-level element.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its parent among the nodes; `NONE` for the first.
    pub parent: u32,
    /// The element.
    pub tag: Tag,
    /// Nodes above it.
    pub depth: u16,
    /// What text inside it stands in: `tags::context` bits of it and of everything above it.
    pub context: u32,
    /// Its class and id tokens in `Page::tokens`.
    pub tokens: Range<u32>,
    /// The blocks inside it.
    pub blocks: Range<u32>,
    /// Hash of the element and its tokens: equal for elements that repeat.
    pub signature: u32,
    /// Hash of the signatures from the root to here.
    pub path: u32,
    /// Its itemprop.
    pub itemprop: ItemProp,
    /// `meaning` bits.
    pub meaning: u16,
    /// Columns that a cell covers, at least 1.
    pub columns: u16,
    /// Rows that a cell covers, at least 1.
    pub rows: u16,
    /// The number of a list's item; for a list the number that its next item has.
    pub number: i32,
    /// The declared language of code, in `Page::values`.
    pub language: Range<u32>,
}

/// What an element's name, class or style says of the text in it, as a set of bits.
pub mod meaning {
    /// Not shown, or shown once more elsewhere: it is no text.
    pub const SKIP: u16 = 1;
    /// Numbers of lines, unless anything but digits stands in it.
    pub const GUTTER: u16 = 1 << 1;
    /// A line of code.
    pub const LINE: u16 = 1 << 2;
    /// Code: white space is kept.
    pub const VERBATIM: u16 = 1 << 3;
    /// A cell that holds code where a cell of line numbers stands before it.
    pub const CODE_CELL: u16 = 1 << 4;
    /// White space is kept, though it is no code.
    pub const PRESERVED: u16 = 1 << 5;
    /// An image that is a character.
    pub const CHARACTER: u16 = 1 << 6;
    /// An image of a formula, whose alternative text is TeX.
    pub const FORMULA: u16 = 1 << 7;
    /// An image of a formula that is also there as MathML.
    pub const FALLBACK: u16 = 1 << 8;
    /// A list whose numbers fall.
    pub const REVERSED: u16 = 1 << 9;
    /// A list with a number for its first item.
    pub const NUMBERED: u16 = 1 << 10;
    /// A table that only lays out the page.
    pub const LAYOUT: u16 = 1 << 11;
    /// An element whose class may be set apart by the style sheet.
    pub const CLASSED: u16 = 1 << 12;
    /// An element in one that is no text, or that one.
    pub const SKIPPED: u16 = 1 << 13;
}

/// What an inline element makes of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inline {
    /// A link; its address is the value.
    Link,
    /// code, tt, kbd, samp.
    Code,
    /// b, strong.
    Strong,
    /// i, em.
    Emphasis,
    /// del.
    Deleted,
    /// TeX between dollar signs.
    Formula,
    /// An image at one place; its address is the value, the alternative text follows.
    Image,
}

/// Where an inline element begins or ends in the text.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The place in `Page::text`; white space on either side of it belongs to no mark.
    pub at: u32,
    /// What the element is.
    pub kind: Inline,
    /// Whether it begins here.
    pub begins: bool,
    /// The number of a link's or image's address in `Page::addresses`.
    pub address: u32,
}

/// The address of a link or an image, and the alternative text of the image: bytes of `Page::values` as they stand
/// in the page.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// href or src.
    pub address: Range<u32>,
    /// alt.
    pub alt: Range<u32>,
}

/// An image outside of all blocks.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The number of its address in `Page::addresses`.
    pub address: u32,
    /// The block that follows.
    pub block: u32,
    /// The node around it.
    pub node: u32,
}

/// A maximal run of text inside one innermost block-level element.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The innermost node around it.
    pub node: u32,
    /// Its bytes in `Page::text`.
    pub text: Range<u32>,
    /// Bytes of it inside links.
    pub link_bytes: u32,
    /// Links that begin in it, or that it begins in.
    pub n_links: u16,
    /// Bytes of it in b and strong.
    pub strong_bytes: u32,
    /// `tags::context` bits of the elements around its first character, inline ones too.
    pub context: u32,
    /// Images since the block before.
    pub n_images: u16,
    /// Class and id tokens of inline elements that began just before it.
    pub tokens: Range<u32>,
    /// Single line breaks inside it.
    pub n_breaks: u16,
    /// Form fields since the block before.
    pub n_inputs: u16,
    /// Its marks in `Page::marks`.
    pub marks: Range<u32>,
}

/// The types that JSON-LD declares, as a set of bits.
pub mod declared {
    /// Article, BlogPosting, Report.
    pub const ARTICLE: u32 = 1;
    /// Product.
    pub const PRODUCT: u32 = 2;
    /// Discussion, question and answer.
    pub const DISCUSSION: u32 = 4;
    /// ItemList, CollectionPage.
    pub const LIST: u32 = 8;
}

/// og:type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OgType {
    /// None declared.
    #[default]
    None = 0,
    /// article
    Article = 1,
    /// website
    Website = 2,
    /// product
    Product = 3,
    /// Anything else.
    Other = 4,
}

/// Everything that was read of one page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Block-level elements in document order; the first is the page.
    pub nodes: Vec<Node>,
    /// Blocks in document order.
    pub blocks: Vec<Block>,
    /// The text of all blocks, whitespace collapsed outside pre, entities decoded; valid UTF-8.
    pub text: Vec<u8>,
    /// Hashed class and id tokens of all elements.
    pub tokens: Vec<u32>,
    /// Where inline elements begin and end, in the order of the text; not inside code.
    pub marks: Vec<Mark>,
    /// Addresses of links and images.
    pub addresses: Vec<Address>,
    /// Images outside of all blocks.
    pub images: Vec<Standing>,
    /// Values of attributes, as they stand in the page.
    pub values: Vec<u8>,
    /// Items of lists that a link may lead to: the hash of an id (see `fragment`) and the node of the
    /// item, which has that id or holds the element that has.
    pub targets: Vec<(u32, u32)>,
    /// The title element.
    pub title: Vec<u8>,
    /// What a meta element says the page is about.
    pub description: Vec<u8>,
    /// The language that the page declares, as declared; empty where it declares none.
    pub language: String,
    /// og:type.
    pub og_type: OgType,
    /// `declared` bits.
    pub declared: u32,
    /// img elements.
    pub n_images: u32,
    /// Bytes of the page, as UTF-8.
    pub n_bytes: u32,
}

impl Page {
    /// The bytes of a block's text.
    #[inline]
    pub fn bytes(&self, block: usize) -> &[u8] {
        let range = &self.blocks[block].text;
        &self.text[range.start as usize..range.end as usize]
    }

    /// A block's text.
    pub fn text_of(&self, block: usize) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(block))
    }

    /// The node around a block.
    #[inline]
    pub fn node_of(&self, block: usize) -> &Node {
        &self.nodes[self.blocks[block].node as usize]
    }

    /// An attribute's value, as it stands in the page.
    #[inline]
    pub fn value(&self, range: &Range<u32>) -> &[u8] {
        &self.values[range.start as usize..range.end as usize]
    }

    /// The hash of what a link's address names behind its number sign; None without one.
    pub fn fragment(&self, address: u32) -> Option<u32> {
        let address = self.value(&self.addresses[address as usize].address);
        let sign = address.iter().rposition(|&byte| byte == b'#')?;
        Some(Fnv::of(&address[sign + 1..]))
    }

    /// Keeps an attribute's value; gives its place.
    pub fn keep_value(&mut self, value: &[u8]) -> Range<u32> {
        let start = self.values.len() as u32;
        self.values.extend_from_slice(value);
        start..self.values.len() as u32
    }

    /// A node's hashed tokens.
    #[inline]
    pub fn tokens_of(&self, node: &Node) -> &[u32] {
        &self.tokens[node.tokens.start as usize..node.tokens.end as usize]
    }
}
