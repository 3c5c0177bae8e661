//! Plain text: the words of the page and the breaks between them.

use crate::output::units::{Kind, Unit};
use crate::page::Page;

/// The text of all units.
pub fn write(page: &Page, units: &[Unit]) -> String {
    let mut out = String::new();
    for (at, unit) in units.iter().enumerate() {
        if at > 0 {
            out.push_str(separator(page, &units[at - 1], unit));
        }
        out.push_str(&text(unit));
    }
    out
}

/// The text of one unit: of a table a line a row, a tab between cells.
pub fn text(unit: &Unit) -> String {
    match &unit.kind {
        Kind::Table(table) => {
            let rows: Vec<String> = table.rows.iter().map(|row| row.join("\t")).collect();
            rows.join("\n")
        }
        _ => unit.text.clone(),
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
