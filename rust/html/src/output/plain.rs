//! Plain text: the words of the page and the breaks between them.

use std::borrow::Cow;

use crate::output::units::{Kind, Unit};
use crate::page::Page;

/// The text of the units so far.
pub struct Writer<'a> {
    page: &'a Page,
    last: Option<Unit>,
    /// The text.
    pub out: String,
}

impl<'a> Writer<'a> {
    /// Of a page of which nothing was written.
    pub fn new(page: &'a Page) -> Self {
        Self {
            page,
            last: None,
            out: String::new(),
        }
    }

    /// Appends the next unit.
    pub fn unit(&mut self, mut unit: Unit) {
        if let Some(last) = &self.last {
            self.out.push_str(separator(self.page, last, &unit));
        }
        if self.out.is_empty() && !matches!(unit.kind, Kind::Table(_)) {
            self.out = std::mem::take(&mut unit.text); // it may be all of a large page
        } else {
            self.out.push_str(&text(&unit));
            unit.text = String::new();
        }
        self.last = Some(unit);
    }
}

/// The text of one unit: of a table a line a row, a tab between cells.
pub fn text(unit: &Unit) -> Cow<'_, str> {
    match &unit.kind {
        Kind::Table(table) => {
            let rows: Vec<String> = table.rows.iter().map(|row| row.join("\t")).collect();
            Cow::Owned(rows.join("\n"))
        }
        _ => Cow::Borrowed(&unit.text),
    }
}

fn separator(page: &Page, last: &Unit, next: &Unit) -> &'static str {
    let one_line = match (&last.kind, &next.kind) {
        (Kind::Definition(a), Kind::Definition(b)) => a == b,
        (Kind::Caption, Kind::Table(_)) => true,
        (Kind::Paragraph | Kind::Line, Kind::Paragraph | Kind::Line) => {
            let lists = (
                last.around.last().and_then(|a| a.item),
                next.around.last().and_then(|a| a.item),
            );
            match lists {
                (Some(a), Some(b)) => {
                    let paragraphs =
                        matches!((&last.kind, &next.kind), (Kind::Paragraph, Kind::Paragraph));
                    let same_item = paragraphs && last.around == next.around;
                    !same_item && (is_within(page, a, b) || is_within(page, b, a))
                }
                (None, None) => {
                    let lines = matches!((&last.kind, &next.kind), (Kind::Line, Kind::Line));
                    lines && last.node != next.node && last.around == next.around
                }
                _ => false,
            }
        }
        _ => false,
    };
    if one_line { "\n" } else { "\n\n" }
}

/// Whether a node is the other or stands in it.
fn is_within(page: &Page, inner: u32, outer: u32) -> bool {
    let (inner, outer) = (
        &page.nodes[inner as usize].blocks,
        &page.nodes[outer as usize].blocks,
    );
    outer.start <= inner.start && inner.end <= outer.end
}
