//! The text of one block: as it is, or with the marks of its links, code, emphasis and images.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::characters::collapse;
use crate::output::escape::{Escaper, line_starts};
use crate::output::{Form, Format, Images, Links};
use crate::page::{Inline, Mark, Page};

/// Where a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On lines of its own.
    Lines,
    /// In one line, after the signs of a heading.
    Heading,
    /// In one line, between two bars or tabs.
    Cell,
}

/// How the blocks of a page are written: the form, and for links by number the number of each address.
pub struct Style {
    /// What is asked for.
    pub form: Form,
    /// Number of each address in `Page::addresses` that is written.
    pub labels: BTreeMap<u32, u32>,
}

impl Style {
    /// Of a page's kept blocks; links to one address have one number.
    pub fn new(page: &Page, kept: &[bool], form: Form) -> Self {
        let mut labels = BTreeMap::new();
        if form.format == Format::Markdown && form.links == Links::Reference {
            let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
            let blocks = page.blocks.iter().zip(kept).filter(|(_, kept)| **kept);
            let marks = blocks.flat_map(|(block, _)| marks(page, &block.marks));
            for mark in marks.filter(|mark| mark.kind == Inline::Link && mark.begins) {
                let address = address(page, mark.address);
                if !address.is_empty() {
                    let next = numbers.len() as u32 + 1;
                    labels.insert(mark.address, *numbers.entry(address).or_insert(next));
                }
            }
        }
        Self { form, labels }
    }

    fn marks_text(&self) -> bool {
        self.form.format == Format::Markdown
    }
}

/// An inline element's part of a text; an image has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub kind: Inline,
    pub address: u32,
    pub start: usize,
    pub end: usize,
}

fn marks<'a>(page: &'a Page, range: &Range<u32>) -> &'a [Mark] {
    &page.marks[range.start as usize
        ..(range.end as usize)
            .min(page.marks.len())
            .max(range.start as usize)]
}

/// The text of a block. Without marks that are asked for it is what the page says.
pub fn write(page: &Page, block: usize, style: &Style, place: Place) -> String {
    let it = &page.blocks[block];
    let text = page.text_of(block);
    let marks = marks(page, &it.marks);
    let form = style.form;
    let plain = !style.marks_text() && form.links != Links::Drop && form.images == Images::Drop;
    let out = if plain || !style.marks_text() && marks.is_empty() {
        text.into_owned()
    } else {
        let spans = spans(&text, marks, it.text.start as usize, style, place);
        let mut writer = Writer {
            page,
            style,
            place,
            text: &text,
            escaper: Escaper::new(&text, &spans, style, place),
            borders: borders(&spans),
            out: String::with_capacity(text.len() + text.len() / 8),
        };
        writer.write(&spans);
        writer.out
    };
    match place {
        Place::Lines if style.marks_text() => line_starts(&out),
        Place::Lines => out,
        Place::Heading | Place::Cell if out.contains(['\n', '\t']) => {
            out.replace(['\n', '\t'], " ")
        }
        Place::Heading | Place::Cell => out,
    }
}

/// Whether a block is all code and has lines, though it is no pre.
pub fn is_code(page: &Page, block: usize) -> bool {
    let it = &page.blocks[block];
    let marks = marks(page, &it.marks);
    let begins = marks
        .first()
        .is_some_and(|mark| mark.kind == Inline::Code && mark.at <= it.text.start);
    if !begins || memchr::memchr(b'\n', page.bytes(block)).is_none() {
        return false;
    }
    let (mut open, mut end) = (0, it.text.end);
    for mark in marks.iter().filter(|mark| mark.kind == Inline::Code) {
        open += if mark.begins { 1 } else { -1 };
        if open == 0 {
            end = mark.at;
            break;
        }
    }
    end >= it.text.end
}

/// The elements of a text that are written, outer ones first: those that are marked in its place, without text that
/// is only white space, neighbors of one kind as one.
fn spans(text: &str, marks: &[Mark], base: usize, style: &Style, place: Place) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for mark in marks {
        let at = text.floor_char_boundary((mark.at as usize).saturating_sub(base).min(text.len()));
        let new = |end| Span {
            kind: mark.kind,
            address: mark.address,
            start: at,
            end,
        };
        match (mark.kind, mark.begins) {
            (Inline::Image, _) => spans.push(new(at)),
            (_, true) => {
                open.push(spans.len());
                spans.push(new(text.len()));
            }
            (kind, false) => {
                if let Some(place) = open.iter().rposition(|&span| spans[span].kind == kind) {
                    let span = open.remove(place);
                    spans[span].end = at;
                }
            }
        }
    }
    for span in &mut spans {
        if span.kind != Inline::Image && span.start < span.end {
            let inside = &text[span.start..span.end];
            span.end -= inside.len() - inside.trim_end().len();
            span.start +=
                (inside.len() - inside.trim_start().len()).min(span.end.saturating_sub(span.start));
        }
    }
    let wanted = |span: &Span| {
        is_wanted(span.kind, style, place) && (span.kind == Inline::Image || span.start < span.end)
    };
    spans.retain(wanted);
    spans.sort_by(|a, b| {
        (a.start, std::cmp::Reverse(a.end)).cmp(&(b.start, std::cmp::Reverse(b.end)))
    });
    nested(spans)
}

fn is_wanted(kind: Inline, style: &Style, place: Place) -> bool {
    match kind {
        Inline::Link => style.form.links != Links::Text,
        Inline::Image => style.form.images != Images::Drop,
        Inline::Strong => style.marks_text() && place != Place::Heading,
        _ => style.marks_text(),
    }
}

/// Spans that stand in one another or apart, in one kind once, and nothing in code; a link around code stays.
fn nested(sorted: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(sorted.len());
    let mut open: Vec<usize> = Vec::new();
    let mut last: BTreeMap<u8, usize> = BTreeMap::new();
    for span in sorted {
        while open
            .last()
            .is_some_and(|&above| out[above].end <= span.start && span.kind != Inline::Image)
        {
            open.pop();
        }
        let crosses = open.iter().any(|&above| span.end > out[above].end);
        let inside = |kind: Inline| open.iter().any(|&above| out[above].kind == kind);
        if crosses || inside(span.kind) || inside(Inline::Code) || inside(Inline::Formula) {
            // A link that is all of a code stands around it.
            if let Some(&above) = open.last()
                && span.kind == Inline::Link
                && (out[above].start, out[above].end, out[above].kind)
                    == (span.start, span.end, Inline::Code)
            {
                out.insert(above, span);
                open.push(above + 1);
            }
            continue;
        }
        let joins = matches!(
            span.kind,
            Inline::Strong | Inline::Emphasis | Inline::Deleted | Inline::Code
        );
        if joins
            && let Some(&before) = last.get(&(span.kind as u8))
            && out[before].end == span.start
            && out[out.len() - 1].start < span.start
            && open.iter().all(|&above| above < before)
        {
            out[before].end = span.end;
            open.push(before);
            continue;
        }
        if span.kind != Inline::Image {
            last.insert(span.kind as u8, out.len());
            open.push(out.len());
        }
        out.push(span);
    }
    out
}

struct Writer<'a> {
    page: &'a Page,
    style: &'a Style,
    place: Place,
    text: &'a str,
    escaper: Escaper,
    /// How many elements begin or end at a place.
    borders: BTreeMap<usize, u32>,
    out: String,
}

fn borders(spans: &[Span]) -> BTreeMap<usize, u32> {
    let mut borders = BTreeMap::new();
    for span in spans {
        *borders.entry(span.start).or_insert(0) += 1;
        *borders.entry(span.end).or_insert(0) += 1;
    }
    borders
}

impl Writer<'_> {
    fn write(&mut self, spans: &[Span]) {
        let mut at = 0;
        let mut open: Vec<(usize, String)> = Vec::new();
        for span in spans {
            self.close(&mut open, span.start, &mut at);
            if span.start < at {
                continue; // inside of what was written whole
            }
            self.plain(at..span.start, &open);
            at = span.start;
            match span.kind {
                Inline::Image => self.image(span.address, at),
                Inline::Code => {
                    self.code(&self.text[span.start..span.end]);
                    at = span.end;
                }
                Inline::Formula => {
                    self.raw(&self.text[span.start..span.end]);
                    at = span.end;
                }
                Inline::Link if self.style.form.links == Links::Drop => {
                    at = span.end;
                    at += usize::from(self.out.ends_with(' ') && self.text[at..].starts_with(' '));
                }
                Inline::Link => {
                    let label = self.style.labels.get(&span.address);
                    let target = match (self.style.form.links, label) {
                        (Links::Inline, _) => address(self.page, span.address),
                        (Links::Reference, Some(label)) => label.to_string(),
                        _ => String::new(),
                    };
                    if self.style.marks_text() && !target.is_empty() {
                        if self.out.ends_with('!') {
                            self.out.insert(self.out.len() - 1, '\\');
                        }
                        self.out.push('[');
                        let inline = self.style.form.links == Links::Inline;
                        let end = if inline {
                            format!("]({target})")
                        } else {
                            format!("][{target}]")
                        };
                        open.push((span.end, end));
                    }
                }
                kind => {
                    let sign = match kind {
                        Inline::Strong => "**",
                        Inline::Deleted => "~~",
                        _ => "*",
                    };
                    if self.can_mark(span) {
                        self.out.push_str(sign);
                        open.push((span.end, sign.to_owned()));
                    }
                }
            }
        }
        self.close(&mut open, usize::MAX, &mut at);
        self.plain(at..self.text.len(), &open);
    }

    /// Ends what ends before `until`.
    fn close(&mut self, open: &mut Vec<(usize, String)>, until: usize, at: &mut usize) {
        while open.last().is_some_and(|(end, _)| *end <= until) {
            if let Some((end, sign)) = open.pop() {
                self.plain(*at..end.max(*at), open);
                *at = end.max(*at);
                self.out.push_str(&sign);
            }
        }
    }

    fn plain(&mut self, range: Range<usize>, open: &[(usize, String)]) {
        let in_link = open.iter().any(|(_, sign)| sign.starts_with(']'));
        if self.style.marks_text() {
            self.escaper.write(self.text, range, in_link, &mut self.out);
        } else {
            self.out.push_str(&self.text[range]);
        }
    }

    /// Whether a parser will see the signs of emphasis around this text: they must touch it, and be at the border of
    /// a word where it begins or ends with punctuation.
    fn can_mark(&self, span: &Span) -> bool {
        let inside = &self.text[span.start..span.end];
        // Another element may begin or end at the same place, whose sign is punctuation.
        let signed = |at: usize| self.borders.get(&at).is_some_and(|&count| count > 1);
        let (first, last) = (inside.chars().next(), inside.chars().next_back());
        let before = self.text[..span.start].chars().next_back();
        let after = self.text[span.end..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| !is_space(c) && !is_punctuation(c));
        let punctuation = |c: Option<char>, at: usize| c.is_some_and(is_punctuation) || signed(at);
        !(punctuation(first, span.start) && word(before)
            || punctuation(last, span.end) && word(after))
    }

    fn code(&mut self, code: &str) {
        if self.out.ends_with('`') && !self.out.ends_with("\\`") {
            self.out.push(' ');
        }
        let code = code.replace('\n', " ");
        let longest = runs(&code, '`').max().unwrap_or(0);
        let fence = if longest == 0 {
            "`".to_owned()
        } else {
            (1..)
                .find(|n| !runs(&code, '`').any(|run| run == *n))
                .map_or_else(String::new, |n| "`".repeat(n))
        };
        let blank = !code.is_empty() && code.chars().all(|c| c == ' ');
        let padded = code.starts_with('`')
            || code.ends_with('`')
            || code.starts_with(' ') && code.ends_with(' ') && !blank;
        let space = if padded { " " } else { "" };
        let code = if self.place == Place::Cell {
            code.replace('|', "\\|")
        } else {
            code
        };
        self.out
            .push_str(&format!("{fence}{space}{code}{space}{fence}"));
    }

    fn raw(&mut self, text: &str) {
        if self.place == Place::Cell {
            self.out.push_str(&text.replace('|', "\\|"));
        } else {
            self.out.push_str(text);
        }
    }

    fn image(&mut self, number: u32, at: usize) {
        let text = image(self.page, number, self.style);
        if text.is_empty() {
            return;
        }
        if !self.out.is_empty() && !self.out.ends_with([' ', '\n', '[']) {
            self.out.push(' ');
        }
        self.out.push_str(&if self.place == Place::Cell {
            text.replace('|', "\\|")
        } else {
            text
        });
        if self.text[at..].starts_with(char::is_alphanumeric) {
            self.out.push(' ');
        }
    }
}

/// An image as the style asks for it; empty where it has neither words nor an address.
pub fn image(page: &Page, number: u32, style: &Style) -> String {
    let alt = value(page.value(&page.addresses[number as usize].alt));
    let inline = style.marks_text() && style.form.images == Images::Inline;
    let source = if inline {
        address(page, number)
    } else {
        String::new()
    };
    let plain = Style {
        form: Form {
            links: Links::Text,
            ..style.form
        },
        labels: BTreeMap::new(),
    };
    let escaped = if style.marks_text() {
        let mut out = String::new();
        Escaper::new(&alt, &[], &plain, Place::Cell).write(&alt, 0..alt.len(), true, &mut out);
        out.replace("\\|", "|")
    } else {
        alt
    };
    if source.is_empty() {
        escaped
    } else {
        format!("![{escaped}]({source})")
    }
}

fn value(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    collapse(bytes, &mut out, &mut false);
    String::from_utf8_lossy(&out).into_owned()
}

/// The address of a link or an image as Markdown writes it; empty where it names nothing that can be fetched.
pub fn address(page: &Page, number: u32) -> String {
    let address = value(page.value(&page.addresses[number as usize].address));
    let scheme = address.split(':').next().unwrap_or("").to_ascii_lowercase();
    if matches!(scheme.as_str(), "javascript" | "data" | "blob" | "about") {
        return String::new();
    }
    let mut out = String::with_capacity(address.len());
    for c in address.chars() {
        match c {
            ' ' | '(' | ')' | '<' | '>' | '|' | '\\' | '"' | '`' => {
                out.push_str(&format!("%{:02X}", c as u32))
            }
            '*' => out.push_str("%2A"),
            _ if c.is_control() => {}
            _ => out.push(c),
        }
    }
    out
}

/// The lengths of the runs of a sign.
pub fn runs(text: &str, sign: char) -> impl Iterator<Item = usize> + '_ {
    text.split(move |c| c != sign)
        .map(str::len)
        .filter(|&length| length > 0)
}

/// White space as CommonMark sees it beside the signs of emphasis.
pub fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// Punctuation or a symbol as CommonMark sees it beside the signs of emphasis.
pub fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || !(c.is_alphanumeric() || c.is_whitespace() || c.is_ascii())
}
