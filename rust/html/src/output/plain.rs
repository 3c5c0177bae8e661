//! Plain text: the words of the page, the numbers of its items, and the breaks between them.

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
        let text = self.text(&unit);
        if self.out.is_empty() && matches!(text, Cow::Borrowed(_)) {
            self.out = std::mem::take(&mut unit.text); // it may be all of a large page
        } else {
            let text = text.into_owned();
            self.out.push_str(&text);
            unit.text = String::new();
        }
        self.last = Some(unit);
    }

    /// The text of the next unit: of a table a line a row, a tab between cells; the first of a numbered item begins
    /// with its number.
    pub fn text<'u>(&self, unit: &'u Unit) -> Cow<'u, str> {
        let text = match &unit.kind {
            Kind::Table(table) => {
                let rows: Vec<String> = table.rows.iter().map(|row| row.join("\t")).collect();
                Cow::Owned(rows.join("\n"))
            }
            _ => Cow::Borrowed(unit.text.as_str()),
        };
        let numbers = self.numbers(unit);
        if numbers.is_empty() {
            return text;
        }
        let line = matches!(unit.kind, Kind::Table(_) | Kind::Code(_));
        Cow::Owned(format!("{numbers}{}{text}", if line { '\n' } else { ' ' }))
    }

    /// The numbers of the items that begin with a unit, the outer first: `2.`
    fn numbers(&self, unit: &Unit) -> String {
        let before = self.last.as_ref().map_or(&[][..], |last| &last.around);
        let common = before.iter().zip(&unit.around).take_while(|(a, b)| a == b);
        let begun = unit.around[common.count()..].iter();
        let numbers = begun.filter_map(|around| around.number(self.page));
        let numbers: Vec<String> = numbers.map(|number| format!("{number}.")).collect();
        numbers.join(" ")
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
