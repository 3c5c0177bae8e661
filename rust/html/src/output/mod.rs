//! The chosen blocks as text: plain, as Markdown, or as a list of typed blocks.
//!
//! ```text
//! page, kept --units--> paragraphs, headings, items, tables, code --plain, markdown--> text
//! ```
//!
//! Plain text has the words of the page and little else: an empty line between paragraphs, a line for each list
//! item, row and line of code, a tab between cells, the numbers of ordered lists. Markdown is that of CommonMark with the tables and the deleted
//! text of GFM: a parser of it finds the structure of the page again.

mod escape;
mod inline;
mod markdown;
mod plain;
mod tables;
mod units;

use crate::page::Page;
use inline::Style;
use units::{Kind, Unit};

/// How the text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Words and line breaks.
    #[default]
    Text,
    /// Headings, lists, quotes, code, tables, emphasis are marked.
    Markdown,
    /// Plain text, and beside it the list of its typed blocks.
    Blocks,
}

/// What comes of links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// Their text.
    #[default]
    Text,
    /// Their text and address: `[text](address)`. Markdown only.
    Inline,
    /// Their text and a number; the addresses stand at the end. Markdown only.
    Reference,
    /// Nothing.
    Drop,
}

/// What comes of images that are neither characters nor formulas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Nothing.
    #[default]
    Drop,
    /// Their alternative text.
    Alt,
    /// `![alternative text](address)`. Markdown only.
    Inline,
}

/// The form of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Text, Markdown, blocks.
    pub format: Format,
    /// What comes of links.
    pub links: Links,
    /// What comes of images.
    pub images: Images,
}

/// A block of the text with what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// heading, paragraph, item, quote, definition, code, table or caption.
    pub kind: &'static str,
    /// Level of a heading, depth of an item's list, depth of a quotation; else 0.
    pub level: u8,
    /// Plain text; a table has a line a row and a tab between cells, an item of an ordered list begins with its number.
    pub text: String,
    /// Mean probability of its bytes, 0..1.
    pub score: f32,
}

/// The text of the blocks that are kept.
pub fn write(page: &Page, kept: &[bool], form: Form) -> String {
    let style = Style::new(page, kept, form);
    if form.format == Format::Markdown {
        let mut writer = markdown::Writer::new(page);
        units::each(page, kept, &style, |unit| writer.unit(unit));
        return writer.finish(&style);
    }
    let mut writer = plain::Writer::new(page);
    units::each(page, kept, &style, |unit| writer.unit(unit));
    writer.out
}

/// The plain text of the kept blocks, and these one by one; `scores` are the probabilities of all blocks of the page.
pub fn typed(page: &Page, kept: &[bool], form: Form, scores: &[f32]) -> (String, Vec<Typed>) {
    let style = Style::new(page, kept, form);
    let score = |unit: &Unit| {
        let (mut sum, mut bytes) = (0.0, 0.0);
        for block in unit.blocks.clone().filter(|&block| kept[block]) {
            let length = page.blocks[block].text.len() as f32;
            sum += scores[block] * length;
            bytes += length;
        }
        if bytes > 0.0 { sum / bytes } else { 0.0 }
    };
    let quotes = |unit: &Unit| {
        unit.around
            .iter()
            .filter(|around| around.item.is_none())
            .count()
    };
    let items = |unit: &Unit| {
        unit.around
            .iter()
            .filter(|around| around.item.is_some())
            .count()
    };
    let (mut typed, mut writer) = (Vec::new(), plain::Writer::new(page));
    units::each(page, kept, &style, |unit| {
        let (kind, level) = match unit.kind {
            Kind::Heading(level) => ("heading", usize::from(level)),
            Kind::Code(_) => ("code", 0),
            Kind::Table(_) => ("table", 0),
            Kind::Caption => ("caption", 0),
            Kind::Definition(_) => ("definition", 0),
            Kind::Paragraph | Kind::Line if items(&unit) > 0 => ("item", items(&unit)),
            Kind::Paragraph | Kind::Line if quotes(&unit) > 0 => ("quote", quotes(&unit)),
            Kind::Paragraph | Kind::Line => ("paragraph", 0),
        };
        typed.push(Typed {
            kind,
            level: level as u8,
            text: writer.text(&unit).into_owned(),
            score: score(&unit),
        });
        writer.unit(unit);
    });
    (writer.out, typed)
}
