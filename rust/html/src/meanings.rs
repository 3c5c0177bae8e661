//! What elements mean beyond where they cut: formulas, images, scripts, quotations, lines and numbers of code.

use crate::builder::{
    Attributes, Builder, Formula, MAX_ADDRESS, MAX_CHARACTER, MAX_MARKS, Open, is_apart,
};
use crate::characters::collapse;
use crate::math;
use crate::page::{Address, Inline, Mark, Standing, meaning};
use crate::scripts;
use crate::tags::Tag;

/// What the link of a heading to itself shows.
const PERMALINKS: [&str; 9] = [
    "¶", "#", "§", "🔗", "⚓", "∞", "\u{f0c1}", "\u{200b}", "Anchor",
];
/// Signs that a price begins or ends with.
const PRICES: [&str; 4] = ["$", "€", "£", "¥"];
/// Bytes of a script, of the link of a heading, of a quotation that may bring its own signs.
const MAX_MEANT: usize = 4_000;
/// Bytes of the numbers of lines.
const MAX_NUMBERS: usize = 100_000;
/// An element of fewer bytes may be a letter that is drawn apart from its word.
const SHORT: u32 = 2;

impl Builder {
    /// A formula, as TeX; `is_source` where it is what a script draws a formula from.
    pub fn formula(&mut self, tex: &str, displayed: bool, is_source: bool) {
        let here = self.page.text.len() as u32;
        let last = self.formula;
        if self.in_block && last.again && is_source && last.end == here {
            self.space = self.page.text[last.start as usize] == b' ';
            self.page.text.truncate(last.start as usize);
            self.page.marks.truncate(last.marks as usize);
        }
        let tex = tex.trim();
        if tex.is_empty() {
            return;
        }
        let again = std::mem::take(&mut self.skipping);
        if !self.in_block {
            // The element around may be hidden, since a script shows the formula.
            let node = self.top().node;
            self.block.node = node;
            self.block.context = self.page.nodes[node as usize].context;
            self.block.text.start = self.page.text.len() as u32;
            self.begin_block();
        }
        let (marks, start) = (self.page.marks.len() as u32, self.page.text.len() as u32);
        self.mark(Inline::Formula, true, 0);
        let fence = if displayed { "$$" } else { "$" };
        self.literal(&format!(
            "{fence}{}{fence}",
            tex.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        self.mark(Inline::Formula, false, 0);
        self.skipping = again;
        let (end, again) = (self.page.text.len() as u32, again > 0);
        self.formula = Formula {
            start,
            end,
            marks,
            again,
        };
    }

    /// What a drawing in a figure is called and shows, each a block of its own.
    pub fn drawing(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.flush();
            self.text(part);
        }
        self.flush();
    }

    /// Text that stands in no text of the page: an image's alternative text, a formula.
    fn literal(&mut self, text: &str) {
        let text = text.replace('&', "&amp;");
        self.text(text.as_bytes());
    }

    /// An image: a character, a formula, or one that is only counted.
    pub fn image(&mut self, attributes: &Attributes<'_>) {
        let mut alt = Vec::new();
        let says = meaning::CHARACTER | meaning::FORMULA;
        if attributes.meaning & says != 0
            || attributes
                .alt
                .first()
                .is_some_and(|&first| first >= 0xE2 || first == b'&')
        {
            collapse(attributes.alt, &mut alt, &mut false);
        }
        let alt = String::from_utf8_lossy(&alt).into_owned();
        if attributes.meaning & meaning::FORMULA != 0 && !alt.is_empty() {
            let drawn_before = self.formula.end == self.page.text.len() as u32 && self.in_block;
            if attributes.meaning & meaning::FALLBACK == 0 || !drawn_before {
                self.formula(&math::unwrapped(&alt), false, false);
            }
            return;
        }
        let is_character = attributes.meaning & meaning::CHARACTER != 0 && !alt.is_empty();
        if alt.len() <= MAX_CHARACTER && (is_character || is_emoji(&alt)) {
            return self.literal(&alt);
        }
        self.n_images = self.n_images.saturating_add(1);
        self.page.n_images += 1;
        self.apart |= self.is_in_words();
        self.keep_image(attributes);
    }

    fn keep_image(&mut self, attributes: &Attributes<'_>) {
        if self.page.addresses.len() >= MAX_MARKS
            || attributes.address.len() > MAX_ADDRESS
            || self.pres > 0
        {
            return;
        }
        let number = self.page.addresses.len() as u32;
        let address = Address {
            address: self.page.keep_value(attributes.address),
            alt: self
                .page
                .keep_value(&attributes.alt[..attributes.alt.len().min(MAX_ADDRESS)]),
        };
        self.page.addresses.push(address);
        if self.in_block {
            self.mark(Inline::Image, true, number);
        } else {
            self.page.images.push(Standing {
                address: number,
                block: self.page.blocks.len() as u32,
                node: self.top().node,
            });
        }
    }

    fn mark(&mut self, kind: Inline, begins: bool, address: u32) {
        if self.page.marks.len() < MAX_MARKS || !begins {
            let at = self.page.text.len() as u32;
            self.page.marks.push(Mark {
                at,
                kind,
                begins,
                address,
            });
        }
    }

    /// Begins what an inline element marks; nothing in code, and nothing where a page has too many marks.
    pub fn begin_mark(&mut self, tag: Tag, attributes: &Attributes<'_>) -> Option<(Inline, u32)> {
        let kind = match tag {
            Tag::A if !attributes.address.is_empty() && attributes.address.len() <= MAX_ADDRESS => {
                Inline::Link
            }
            Tag::CODE | Tag::TT | Tag::KBD | Tag::SAMP => Inline::Code,
            Tag::B | Tag::STRONG => Inline::Strong,
            Tag::I | Tag::EM => Inline::Emphasis,
            Tag::DEL => Inline::Deleted,
            _ => return None,
        };
        if self.pres > 0 || self.page.marks.len() >= MAX_MARKS {
            return None;
        }
        let mut number = 0;
        if kind == Inline::Link {
            number = self.page.addresses.len() as u32;
            let address = self.page.keep_value(attributes.address);
            self.page.addresses.push(Address { address, alt: 0..0 });
        }
        self.marked += 1;
        self.codes += u32::from(kind == Inline::Code);
        if self.in_block {
            self.mark(kind, true, number);
        }
        Some((kind, number))
    }

    /// Ends an inline element that was taken from the stack.
    pub fn end_inline(&mut self, open: &Open) {
        if open.meaning & meaning::SKIPPED != 0 {
            self.skipping -= u32::from(open.meaning & meaning::SKIP != 0);
            return;
        }
        if let Some((kind, number)) = open.mark {
            self.marked -= 1;
            self.codes -= u32::from(kind == Inline::Code);
            if self.in_block {
                self.mark(kind, false, number);
            }
        }
        match open.tag {
            Tag::A => {
                self.links -= 1;
                self.after_link = true;
                self.end_permalink(open);
            }
            Tag::B | Tag::STRONG => self.strongs -= 1,
            Tag::SUP | Tag::SUB => self.end_script(open),
            Tag::Q => self.end_quotation(open),
            tag if is_apart(tag) => self.apart |= self.is_in_words(),
            _ => {}
        }
        if open.meaning == 0 {
            return;
        }
        if open.meaning & meaning::GUTTER != 0 {
            self.end_number(open);
        }
        if open.meaning & meaning::LINE != 0 && self.pres > 0 && self.in_block {
            let ends_itself =
                self.page.text.len() as u32 > open.text && self.page.text.last() == Some(&b'\n');
            self.line_ended = !ends_itself;
        }
        if open.meaning & meaning::CLASSED != 0 && is_set_apart(open.tag) {
            let end = self.page.text.len() as u32;
            self.set_apart = (end, end.saturating_sub(open.text));
        }
    }

    /// The text since an element began, if it is all of one block that is still open, and of at most so many bytes:
    /// elements in one another would all read a longer one again.
    fn content(&self, open: &Open, longest: usize) -> Option<&str> {
        let same = self.in_block
            && open.blocks == self.page.blocks.len() as u32
            && open.text >= self.block.text.start
            && self.page.text.len() - open.text as usize <= longest;
        let content = same.then(|| &self.page.text[open.text as usize..]);
        content.and_then(|content| std::str::from_utf8(content).ok())
    }

    /// Takes back what was written since an element of the open block began.
    fn take_back(&mut self, open: &Open) {
        self.page.text.truncate(open.text as usize);
        let begun = self
            .block
            .marks
            .start
            .max(open.marks.saturating_sub(u32::from(open.mark.is_some())));
        self.page.marks.truncate(begun as usize);
    }

    /// The link of a heading to itself is no part of the heading.
    fn end_permalink(&mut self, open: &Open) {
        let heading = self.page.nodes[open.node as usize].tag.is_heading();
        let sign = heading
            && self
                .content(open, MAX_MEANT)
                .is_some_and(|text| PERMALINKS.contains(&text.trim()));
        if sign {
            let removed = self.page.text.len() as u32 - open.text;
            self.block.link_bytes = self.block.link_bytes.saturating_sub(removed);
            self.take_back(open);
        }
    }

    fn end_script(&mut self, open: &Open) {
        if self.pres > 0 || open.text <= self.block.text.start {
            return;
        }
        let Some(content) = self.content(open, MAX_MEANT) else {
            return;
        };
        let start = (open.text as usize)
            .saturating_sub(64)
            .max(self.block.text.start as usize);
        let before = String::from_utf8_lossy(&self.page.text[start..open.text as usize]);
        let first = open.marks as usize;
        let linked = self.page.marks[first.min(self.page.marks.len())..]
            .iter()
            .any(|mark| mark.kind == Inline::Link);
        let (prefix, suffix) = scripts::around(&before, content, open.tag == Tag::SUB, linked);
        if !prefix.is_empty() {
            self.insert(open.text, prefix, first);
            self.page.text.extend_from_slice(suffix.as_bytes());
        }
    }

    /// The sign that closes a quotation; none around one that is empty or brings its own.
    fn end_quotation(&mut self, open: &Open) {
        let sign = "“".len();
        let Some(content) = self.content(open, MAX_MEANT) else {
            if self.in_block {
                self.page.text.extend_from_slice("”".as_bytes());
            }
            return;
        };
        let Some(at) = content.find('“') else {
            return;
        };
        let inner = &content[at + sign..];
        if inner.is_empty() {
            return self.take_back(open);
        }
        if inner.starts_with(['"', '“', '„', '«', '\'', '‘', '「']) {
            let at = open.text as usize + at;
            self.page.text.drain(at..at + sign);
            for mark in &mut self.page.marks[open.marks as usize..] {
                if mark.at as usize > at {
                    mark.at -= sign as u32;
                }
            }
            return;
        }
        self.page.text.extend_from_slice("”".as_bytes());
    }

    /// Inserts text at a place of the open block; the marks from `first` on stand after it.
    fn insert(&mut self, at: u32, text: &str, first: usize) {
        let place = at as usize;
        self.page.text.splice(place..place, text.bytes());
        for mark in &mut self.page.marks[first..] {
            mark.at += text.len() as u32;
        }
    }

    /// Begins a line of code; `cuts` where the element is one that begins a line anywhere.
    pub fn begin_line(&mut self, cuts: bool) {
        let within = self.in_block && self.page.text.len() as u32 > self.block.text.start;
        let unfinished = self.page.text.last().is_some_and(|&last| last != b'\n');
        if self.in_block && (self.line_ended || cuts && within && unfinished) {
            self.page.text.push(b'\n');
        }
        self.line_ended = false;
    }

    /// Text after a line of code: its own line, unless it begins with the line's end.
    pub fn continue_line(&mut self, text: &[u8]) {
        let first = text
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        if let Some(first) = first {
            if text[first] != b'\n' {
                self.page.text.push(b'\n');
            }
            self.line_ended = false;
        }
    }

    /// The number of a line is no code.
    fn end_number(&mut self, open: &Open) {
        let is_number = self.content(open, MAX_NUMBERS).is_some_and(is_numbering);
        if is_number {
            self.take_back(open);
            self.after_number = true;
        }
    }

    /// Numbers of lines that stand in an element of their own are no text.
    pub fn end_gutter(&mut self, open: &Open) {
        let text = &self.page.text[(open.text as usize).min(self.page.text.len())..];
        let empty = text.is_empty() || text.iter().all(u8::is_ascii_whitespace);
        let numbers =
            text.len() <= MAX_NUMBERS && std::str::from_utf8(text).is_ok_and(is_numbering);
        if !empty && !numbers {
            self.page.nodes[open.node as usize].meaning &= !meaning::GUTTER;
            return;
        }
        self.page.text.truncate(open.text as usize);
        self.page.marks.truncate(open.marks as usize);
        self.page.blocks.truncate(open.blocks as usize);
        for node in &mut self.page.nodes[open.node as usize..] {
            node.blocks = node.blocks.start.min(open.blocks)..node.blocks.end.min(open.blocks);
        }
        self.after_gutter = true;
    }

    /// A raw element that shows its content as it stands; a textarea has references in it.
    pub fn verbatim(&mut self, tag: Tag, attributes: &Attributes<'_>, tokens: usize, text: &[u8]) {
        self.start(tag, attributes, tokens);
        if tag == Tag::TEXTAREA {
            self.text(text);
        } else {
            let shown = String::from_utf8_lossy(text).replace('&', "&amp;");
            self.text(shown.as_bytes());
        }
        self.end(tag);
    }

    /// Notes that an element with a class begins: where it follows another, the style sheet may set it apart.
    pub fn note_apart(&mut self, tag: Tag) {
        let (end, length) = self.set_apart;
        let follows = end == self.page.text.len() as u32 && length >= SHORT;
        self.apart |= follows && is_set_apart(tag) && self.is_in_words();
    }

    /// Whether text goes on that is neither code nor ended by white space.
    pub(crate) fn is_in_words(&self) -> bool {
        self.in_block && self.codes == 0 && self.pres == 0 && !self.space
    }

    /// Sets `text` apart from what stands before it where both would be one word.
    pub fn set_apart(&mut self, text: &[u8]) {
        self.apart = false;
        let last = self.page.text.last().copied().unwrap_or(b' ');
        let first = text.first().copied().unwrap_or(b' ');
        let begins = first.is_ascii_alphanumeric()
            || PRICES.iter().any(|sign| text.starts_with(sign.as_bytes()));
        let ends = last.is_ascii_alphanumeric()
            || PRICES
                .iter()
                .any(|sign| self.page.text.ends_with(sign.as_bytes()));
        self.space |= begins && ends;
    }
}

/// Whether a text is nothing but pictures of Unicode.
fn is_emoji(text: &str) -> bool {
    let is_picture = |c: char| matches!(c as u32, 0x2600..=0x27BF | 0x1F000..=0x1FAFF);
    let joins = |c: char| matches!(c as u32, 0x200D | 0xFE0F | 0xE0020..=0xE007F);
    text.contains(is_picture) && text.chars().all(|c| is_picture(c) || joins(c))
}

/// Whether such an element stands for a part of a line that may have a place of its own.
fn is_set_apart(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::SPAN | Tag::TIME | Tag::SMALL | Tag::B | Tag::STRONG | Tag::LABEL
    )
}

/// Whether a text is nothing but numbers, each on a line of its own.
fn is_numbering(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || c.is_whitespace() || matches!(c, '.' | ':' | '|'))
}
