//! Markdown: every unit with its marks, and what it stands in before each of its lines.

use std::collections::BTreeMap;

use crate::output::inline::{self, Style, runs};
use crate::output::units::{Around, Kind, Unit};
use crate::page::Page;

/// A fence is at least this long.
const FENCE: usize = 3;

/// A quotation or an item that was begun, and what its further lines begin with.
struct Open {
    around: Around,
    prefix: String,
    mark: u8,
}

/// The Markdown of the units so far.
pub struct Writer<'a> {
    page: &'a Page,
    last: Option<Unit>,
    out: String,
    open: Vec<Open>,
    /// The sign of each list that was begun: lists side by side have different ones.
    marks: BTreeMap<u32, u8>,
}

impl<'a> Writer<'a> {
    /// Of a page of which nothing was written.
    pub fn new(page: &'a Page) -> Self {
        Self {
            page,
            last: None,
            out: String::new(),
            open: Vec::new(),
            marks: BTreeMap::new(),
        }
    }

    /// The whole text: after all units the addresses of numbered links.
    pub fn finish(mut self, style: &Style) -> String {
        self.addresses(style);
        self.out
    }

    /// Appends the next unit.
    pub fn unit(&mut self, unit: Unit) {
        let same = self
            .open
            .iter()
            .zip(&unit.around)
            .take_while(|(open, around)| open.around == **around);
        let common = same.count();
        if let Some(last) = self.last.take() {
            self.separate(&last, &unit, common);
        }
        let closed = self
            .open
            .get(common)
            .map(|open| (open.around.item, open.mark));
        self.open.truncate(common);
        let begins: String = self.open.iter().map(|open| open.prefix.as_str()).collect();
        self.out.push_str(&begins);
        for (depth, &around) in unit.around.iter().enumerate().skip(common) {
            let beside = closed.filter(|_| depth == common);
            self.begin(around, beside);
        }
        self.content(&unit);
        self.last = Some(unit);
    }

    /// What stands between two units: a line's end where the second goes on with a list or a line, else an empty
    /// line, which has the signs of the quotations that go on.
    fn separate(&mut self, last: &Unit, unit: &Unit, common: usize) {
        self.out.push('\n');
        if self.is_tight(last, unit, common) {
            return;
        }
        let prefix: String = self.open[..common]
            .iter()
            .map(|open| open.prefix.as_str())
            .collect();
        self.out.push_str(prefix.trim_end());
        self.out.push('\n');
    }

    fn is_tight(&self, last: &Unit, unit: &Unit, common: usize) -> bool {
        let lines = matches!(last.kind, Kind::Paragraph | Kind::Line);
        match unit.around.get(common) {
            // An item begins: after one of the same list, or below the text of the item around it.
            Some(Around {
                item: Some(list), ..
            }) => {
                let sibling = self
                    .open
                    .get(common)
                    .is_some_and(|open| open.around.item == Some(*list));
                let below = self.open.len() == common && common > 0 && lines;
                let number = unit.around[common].number(self.page);
                let interrupts = number.is_none_or(|number| number == 1);
                let in_item = common > 0 && unit.around[common - 1].item.is_some();
                (sibling && !matches!(last.kind, Kind::Table(_)))
                    || (below && in_item && interrupts)
            }
            Some(_) => false,
            None => {
                let goes_on = self.open.len() == common;
                let both_lines = matches!((&last.kind, &unit.kind), (Kind::Line, Kind::Line));
                goes_on && both_lines && last.node != unit.node
            }
        }
    }

    /// The signs that begin a quotation or an item; `beside` is the list that ended just before, and its sign.
    fn begin(&mut self, around: Around, beside: Option<(Option<u32>, u8)>) {
        let Some(list) = around.item else {
            self.out.push_str("> ");
            self.open.push(Open {
                around,
                prefix: "> ".to_owned(),
                mark: b'>',
            });
            return;
        };
        let number = around.number(self.page);
        let (usual, other) = if number.is_some() {
            (b'.', b')')
        } else {
            (b'-', b'*')
        };
        let neighbor = beside.filter(|(item, _)| item.is_some_and(|item| item != list));
        let mark = *self.marks.entry(list).or_insert_with(|| match neighbor {
            Some((_, mark)) if mark == usual => other,
            _ => usual,
        });
        let number = number.map_or(String::new(), |number| number.to_string());
        let sign = format!("{number}{} ", char::from(mark));
        self.out.push_str(&sign);
        let prefix = " ".repeat(sign.len());
        self.open.push(Open {
            around,
            prefix,
            mark,
        });
    }

    fn content(&mut self, unit: &Unit) {
        match &unit.kind {
            Kind::Heading(level) => {
                let text = unit.text.trim();
                self.out
                    .push_str(&"######"[..usize::from(*level).clamp(1, 6)]);
                self.out.push(' ');
                self.out.push_str(text);
                let rest = text.trim_end_matches('#');
                if rest.len() < text.len()
                    && (rest.is_empty() || rest.ends_with(char::is_whitespace))
                {
                    self.out.insert(self.out.len() - 1, '\\');
                }
            }
            Kind::Code(node) => {
                let fence = "`".repeat(FENCE.max(runs(&unit.text, '`').max().unwrap_or(0) + 1));
                let language = self.language(*node);
                let lines = std::iter::once(format!("{fence}{language}"));
                let lines = lines
                    .chain(unit.text.split('\n').map(str::to_owned))
                    .chain([fence]);
                self.lines(lines);
            }
            Kind::Table(table) => {
                let row = |cells: &Vec<String>| format!("| {} |", cells.join(" | "));
                let width = table.rows.first().map_or(0, Vec::len);
                let rule = format!("|{}", " --- |".repeat(width));
                let mut lines: Vec<String> = table.rows.iter().map(row).collect();
                lines.insert(1.min(lines.len()), rule);
                self.lines(lines.into_iter());
            }
            _ => self.lines(unit.text.split('\n').map(str::to_owned)),
        }
    }

    /// Lines, each but the first behind what it stands in.
    fn lines(&mut self, lines: impl Iterator<Item = String>) {
        let prefix: String = self.open.iter().map(|open| open.prefix.as_str()).collect();
        for (at, line) in lines.enumerate() {
            if at > 0 {
                self.out.push('\n');
                self.out.push_str(if line.is_empty() {
                    prefix.trim_end()
                } else {
                    &prefix
                });
            }
            self.out.push_str(&line);
        }
    }

    /// The language that code declares: its own, that of the code element in it, or that of an element close around.
    fn language(&self, node: u32) -> String {
        let page = self.page;
        let mut at = node;
        for _ in 0..4 {
            let Some(node) = page.nodes.get(at as usize) else {
                break;
            };
            if !node.language.is_empty() {
                return String::from_utf8_lossy(page.value(&node.language)).into_owned();
            }
            at = node.parent;
        }
        String::new()
    }

    /// The addresses of numbered links.
    fn addresses(&mut self, style: &Style) {
        let mut labels: Vec<(u32, u32)> = style
            .labels
            .iter()
            .map(|(address, label)| (*label, *address))
            .collect();
        labels.sort_unstable();
        labels.dedup_by_key(|(label, _)| *label);
        for (at, (label, address)) in labels.into_iter().enumerate() {
            self.out.push_str(if at == 0 { "\n\n" } else { "\n" });
            self.out.push_str(&format!(
                "[{label}]: {}",
                inline::address(self.page, address)
            ));
        }
    }
}
