//! One tolerant pass over the markup: tags, attributes, comments, raw text. Nothing is looked at twice.
//!
//! Every search that runs to the end of the page and fails is remembered (`Missing`), so that a page full of
//! opening quotes or unclosed scripts takes no longer than any other of its size.

use memchr::{memchr, memmem};

use crate::Error;
use crate::builder::{Attributes, Builder};
use crate::class;
use crate::hash::Fnv;
use crate::math;
use crate::page::{ItemProp, OgType, Page, meaning};
use crate::tags::{Tag, context, property};

/// Tokens kept of one id, one class, one of the other attributes.
const ID_TOKENS: usize = 8;
const CLASS_TOKENS: usize = 12;
const OTHER_TOKENS: usize = 4;
/// Columns or rows that one cell may cover.
const MAX_SPAN: i32 = 1_000;
/// Blocks and elements that a page may have: no page that was written for people comes near.
const MAX_BLOCKS: usize = 100_000;
const MAX_NODES: usize = 300_000;

/// Reads a page. A page of more than 100,000 blocks or 300,000 block-level elements is refused.
pub fn parse(html: &str) -> Result<Page, Error> {
    let mut tokenizer = Tokenizer {
        html: html.as_bytes(),
        builder: Builder::new(html.len()),
        missing: Missing::default(),
    };
    tokenizer.run()?;
    let Tokenizer { builder, .. } = tokenizer;
    Ok(builder.finish())
}

/// What does not come again up to the end of the page.
pub(crate) struct Missing {
    comment_end: bool,
    double_quote: bool,
    single_quote: bool,
    cdata_end: bool,
    /// No script ends by the rules for a script in a comment in a script.
    pub nested_script_end: bool,
    /// No end tag of this raw element begins before this place.
    pub raw_end: [usize; 128],
}

impl Default for Missing {
    fn default() -> Self {
        Self {
            comment_end: false,
            double_quote: false,
            single_quote: false,
            cdata_end: false,
            nested_script_end: false,
            raw_end: [0; 128],
        }
    }
}

pub(crate) struct Tokenizer<'a> {
    pub html: &'a [u8],
    pub builder: Builder,
    pub missing: Missing,
}

/// What a start tag's attributes say beyond `Attributes`.
#[derive(Default)]
pub(crate) struct Said<'a> {
    attributes: Attributes<'a>,
    self_closing: bool,
    pub json_ld: bool,
    /// type of a script.
    pub kind: &'a [u8],
    /// alttext of a formula.
    alternative: &'a [u8],
    /// Whether a formula stands on a line of its own.
    displayed: bool,
    /// Whether a template is the shown content of its parent.
    shown: bool,
    /// Whether a textarea shows what it holds rather than asks for it.
    shows_code: bool,
    /// name, property or http-equiv of a meta.
    meta: &'a [u8],
    content: &'a [u8],
    language: &'a [u8],
}

impl<'a> Tokenizer<'a> {
    fn run(&mut self) -> Result<(), Error> {
        let html = self.html;
        let mut at = 0;
        while at < html.len() {
            let (blocks, nodes) = (
                self.builder.page.blocks.len(),
                self.builder.page.nodes.len(),
            );
            if blocks > MAX_BLOCKS || nodes > MAX_NODES {
                return Err(Error::TooManyBlocks {
                    what: if blocks > MAX_BLOCKS {
                        "blocks of text"
                    } else {
                        "block-level elements"
                    },
                    limit: if blocks > MAX_BLOCKS {
                        MAX_BLOCKS
                    } else {
                        MAX_NODES
                    },
                });
            }
            let tag = memchr(b'<', &html[at..]).map_or(html.len(), |n| at + n);
            if tag > at {
                self.builder.text(&html[at..tag]);
            }
            at = match html.get(tag + 1) {
                None => break,
                Some(byte) if byte.is_ascii_alphabetic() => self.start_tag(tag + 1),
                Some(b'/') => self.end_tag(tag + 2),
                Some(b'!') => self.declaration(tag),
                Some(b'?') => self.after_angle(tag),
                Some(_) => {
                    self.builder.text(b"<");
                    tag + 1
                }
            };
        }
        Ok(())
    }

    /// Just after the next `>`.
    pub fn after_angle(&self, from: usize) -> usize {
        memchr(b'>', &self.html[from..]).map_or(self.html.len(), |n| from + n + 1)
    }

    fn end_tag(&mut self, name: usize) -> usize {
        let html = self.html;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':');
        let length = html[name..].iter().take_while(|byte| is_name(byte)).count();
        if length > 0 {
            self.builder.end(Tag::of(&html[name..name + length]));
        }
        self.after_angle(name + length)
    }

    /// A comment, a CDATA section, a doctype: `html[at..]` begins with `<!`.
    fn declaration(&mut self, at: usize) -> usize {
        let html = self.html;
        let rest = &html[at + 2..];
        if rest.starts_with(b"--") {
            let body = at + 4;
            for short in [&b">"[..], b"->"] {
                if html[body..].starts_with(short) {
                    return body + short.len();
                }
            }
            if !self.missing.comment_end {
                let ends = memmem::find_iter(&html[body..], b"--").map(|n| body + n + 2);
                for end in ends {
                    match html.get(end..) {
                        Some([b'>', ..]) => return end + 1,
                        Some([b'!', b'>', ..]) => return end + 2,
                        // The third of three dashes.
                        Some([b'-', b'>', ..]) => return end + 2,
                        _ => {}
                    }
                }
                self.missing.comment_end = true;
            }
            return self.after_angle(at);
        }
        if rest.starts_with(b"[CDATA[") {
            let body = at + 9;
            if !self.missing.cdata_end {
                if let Some(n) = memmem::find(&html[body..], b"]]>") {
                    self.builder.text(&html[body..body + n]);
                    return body + n + 3;
                }
                self.missing.cdata_end = true;
            }
            return body;
        }
        self.after_angle(at)
    }

    fn start_tag(&mut self, name: usize) -> usize {
        let html = self.html;
        let ends = |byte: &u8| is_white(*byte) || matches!(byte, b'/' | b'>');
        let length = html[name..].iter().take_while(|byte| !ends(byte)).count();
        let mut tag = Tag::of(&html[name..name + length]);
        let tokens = self.builder.page.tokens.len();
        let (mut said, after) = self.attributes(tag, name + length);
        if tag == Tag::CUSTOM && html[name..].starts_with(b"mjx-") {
            // The elements that MathJax draws a formula with; what it says of it is MathML.
            if html[name..name + length].eq_ignore_ascii_case(b"mjx-math") {
                said.attributes.meaning |= meaning::SKIP;
            }
            tag = Tag(0);
        }
        if tag == Tag::META {
            self.builder.page.tokens.truncate(tokens);
            self.meta(&said);
            return after;
        }
        if tag == Tag::HTML && self.builder.page.language.is_empty() {
            self.builder.page.language = language(said.language);
        }
        if tag.is(property::RAW) && !(tag == Tag::SVG && said.self_closing) {
            if tag == Tag::XMP || tag == Tag::TEXTAREA && said.shows_code {
                let (end, next) = self.raw_end(tag, after);
                let content = &html[after..end];
                if tag == Tag::XMP || memchr(b'\n', content.trim_ascii()).is_some() {
                    self.builder
                        .verbatim(tag, &said.attributes, tokens, content);
                    return next;
                }
            }
            self.builder.page.tokens.truncate(tokens);
            return self.raw(tag, &said, after);
        }
        match tag {
            Tag::MATH if !said.self_closing => {
                let (end, next) = self.raw_end(tag, after);
                if next > after {
                    let tex = math::tex(&html[after..end], said.alternative);
                    self.builder.page.tokens.truncate(tokens);
                    self.builder.formula(&tex, said.displayed, false);
                    return next;
                }
            }
            Tag::TEMPLATE if !said.shown => said.attributes.meaning |= meaning::SKIP,
            Tag::DIV if said.attributes.is_fragment => {
                // What Doxygen writes around lines of code; others call other things so.
                let rest = &html[after.min(html.len())..html.len().min(after + 200)];
                if rest.trim_ascii_start().starts_with(b"<div class=\"line\"") {
                    said.attributes.meaning |= meaning::VERBATIM;
                }
            }
            _ => {}
        }
        self.builder.start(tag, &said.attributes, tokens);
        after
    }

    /// Reads attributes from `at`; class and id tokens go to the page. Gives the place after the tag's `>`.
    fn attributes(&mut self, tag: Tag, mut at: usize) -> (Said<'a>, usize) {
        let html = self.html;
        let mut said = Said::default();
        loop {
            while at < html.len() && (is_white(html[at]) || html[at] == b'/') {
                said.self_closing = html[at] == b'/';
                at += 1;
            }
            if at >= html.len() {
                return (said, at);
            }
            if html[at] == b'>' {
                return (said, at + 1);
            }
            said.self_closing = false;
            let start = at;
            at += 1; // a name may begin with an equals sign
            while at < html.len() && !is_white(html[at]) && !matches!(html[at], b'=' | b'/' | b'>')
            {
                at += 1;
            }
            let name = &html[start..at];
            let value;
            (value, at) = self.value(at);
            self.attribute(tag, name, value, &mut said);
        }
    }

    /// The value after an attribute's name, which ends at `at`; empty where there is none.
    fn value(&mut self, mut at: usize) -> (&'a [u8], usize) {
        let html = self.html;
        let skip_white = |mut at: usize| {
            while at < html.len() && is_white(html[at]) {
                at += 1;
            }
            at
        };
        at = skip_white(at);
        if html.get(at) != Some(&b'=') {
            return (&[], at);
        }
        at = skip_white(at + 1);
        let Some(&quote) = html.get(at) else {
            return (&[], at);
        };
        let missing = match quote {
            b'"' => &mut self.missing.double_quote,
            b'\'' => &mut self.missing.single_quote,
            _ => {
                let length = html[at..]
                    .iter()
                    .take_while(|&&byte| !is_white(byte) && byte != b'>');
                let end = at + length.count();
                return (&html[at..end], end);
            }
        };
        if !*missing {
            if let Some(n) = memchr(quote, &html[at + 1..]) {
                return (&html[at + 1..at + 1 + n], at + n + 2);
            }
            *missing = true;
        }
        let end = memchr(b'>', &html[at + 1..]).map_or(html.len(), |n| at + 1 + n);
        (&html[at + 1..end], end)
    }

    fn attribute(&mut self, tag: Tag, name: &[u8], value: &'a [u8], said: &mut Said<'a>) {
        let is = |expected: &[u8]| name.eq_ignore_ascii_case(expected);
        let attributes = &mut said.attributes;
        let tokens = &mut self.builder.page.tokens;
        match name.len() {
            2 if is(b"id") => {
                attributes.id = value;
                attributes.context |= add_tokens(value, ID_TOKENS, tokens);
            }
            4 if tag == Tag::A && is(b"name") => attributes.id = value,
            3 if tag == Tag::IMG && is(b"src") => attributes.address = value,
            3 if tag == Tag::IMG && is(b"alt") => attributes.alt = value,
            4 if tag == Tag::A && is(b"href") => attributes.address = value,
            4 if is(b"role") => {
                attributes.context |= role(value);
                if tag == Tag::TABLE && matches!(value, b"presentation" | b"none") {
                    attributes.meaning |= meaning::LAYOUT;
                }
            }
            4 if tag == Tag::PRE && is(b"lang") && class::is_programming(value) => {
                attributes.language = value;
            }
            4 if is(b"lang") => said.language = value,
            4 if tag == Tag::META && is(b"name") && said.meta.is_empty() => said.meta = value,
            4 if tag == Tag::SCRIPT && is(b"type") => {
                said.json_ld = memmem::find(value, b"ld+json").is_some();
                said.kind = value;
            }
            4 if tag == Tag::MATH && is(b"mode") => said.displayed |= value == b"display",
            5 if is(b"class") => {
                attributes.context |= add_tokens(value, CLASS_TOKENS, tokens);
                let (bits, language) = class::read(tag, value);
                attributes.meaning |= bits | meaning::CLASSED;
                attributes.is_fragment = tag == Tag::DIV && value == b"fragment";
                if attributes.language.is_empty() {
                    attributes.language = language;
                }
            }
            5 if is(b"style") => {
                if hides(value) {
                    attributes.context |= context::HIDDEN;
                }
                if tag.is(property::BLOCK) {
                    attributes.meaning |= class::style(value);
                }
            }
            5 if tag == Tag::OL && is(b"start") || tag == Tag::LI && is(b"value") => {
                attributes.number = number(value);
            }
            6 if is(b"hidden") => attributes.context |= context::HIDDEN,
            7 if tag == Tag::META && is(b"content") => said.content = value,
            7 if matches!(tag, Tag::TD | Tag::TH) && is(b"colspan") => {
                attributes.columns = number(value).unwrap_or(1).clamp(1, MAX_SPAN) as u16;
            }
            7 if matches!(tag, Tag::TD | Tag::TH) && is(b"rowspan") => {
                // 0 is the rest of the table.
                let rows = number(value).unwrap_or(1);
                attributes.rows = if rows == 0 {
                    MAX_SPAN
                } else {
                    rows.clamp(1, MAX_SPAN)
                } as u16;
            }
            7 if tag == Tag::MATH && is(b"alttext") => said.alternative = value,
            7 if tag == Tag::MATH && is(b"display") => said.displayed |= value == b"block",
            8 if tag == Tag::OL && is(b"reversed") => attributes.meaning |= meaning::REVERSED,
            4 if tag == Tag::TEXTAREA && is(b"name") => said.shows_code |= value == b"code",
            8 if tag == Tag::TEXTAREA && is(b"readonly") => said.shows_code = true,
            8 if is(b"property") => said.meta = value,
            8 if is(b"itemprop") => {
                if value == b"articleBody" {
                    attributes.itemprop = ItemProp::ArticleBody;
                    attributes.context |= context::ARTICLE_BODY;
                }
                attributes.context |= add_tokens(value, OTHER_TOKENS, tokens);
            }
            8 if is(b"itemtype") => {
                let start = value
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .map_or(0, |n| n + 1);
                attributes.context |= add_tokens(&value[start..], OTHER_TOKENS, tokens);
            }
            9 if matches!(tag, Tag::PRE | Tag::CODE) && is(b"data-lang") => {
                attributes.language = class::plausible(value)
            }
            13 if matches!(tag, Tag::PRE | Tag::CODE) && is(b"data-language") => {
                attributes.language = class::plausible(value)
            }
            14 if tag == Tag::TEMPLATE && is(b"shadowrootmode") => said.shown = true,
            10 if tag == Tag::META && is(b"http-equiv") => said.meta = value,
            11 if is(b"aria-hidden") && value == b"true" => attributes.context |= context::HIDDEN,
            _ => {}
        }
    }

    fn meta(&mut self, said: &Said<'_>) {
        let page = &mut self.builder.page;
        let is = |expected: &[u8]| said.meta.eq_ignore_ascii_case(expected);
        if is(b"og:type") {
            page.og_type = match said.content {
                b"article" => OgType::Article,
                b"website" => OgType::Website,
                value if value.starts_with(b"product") || value.starts_with(b"og:product") => {
                    OgType::Product
                }
                _ => OgType::Other,
            };
        } else if page.description.is_empty() && (is(b"description") || is(b"og:description")) {
            crate::characters::collapse(said.content, &mut page.description, &mut false);
        } else if page.language.is_empty() && (is(b"content-language") || is(b"og:locale")) {
            page.language = language(said.content);
        }
    }
}

/// A whole number, as far as the value begins with one.
fn number(value: &[u8]) -> Option<i32> {
    let value = value.trim_ascii();
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let length = digits
        .iter()
        .take(9)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number: i32 = std::str::from_utf8(&digits[..length]).ok()?.parse().ok()?;
    Some(if value.starts_with(b"-") {
        -number
    } else {
        number
    })
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// Appends the hashed parts of a class or id: split at whatever is no letter and where a capital follows a small
/// letter; parts of 2 to 23 letters count, the first `limit` of them. Gives the context that the parts say.
fn add_tokens(value: &[u8], limit: usize, tokens: &mut Vec<u32>) -> u32 {
    let start = tokens.len();
    let (mut hash, mut length, mut after_small, mut said) = (Fnv::new(), 0, false, 0);
    let mut begin = 0;
    for (at, &byte) in value.iter().chain(b" ").enumerate() {
        let small = byte.is_ascii_lowercase() || byte >= 0x80;
        let capital = byte.is_ascii_uppercase();
        if !small && !capital || capital && after_small {
            if (2..24).contains(&length) && tokens.len() - start < limit {
                tokens.push(hash.finish());
                if names_comments(&value[begin..at]) {
                    said |= context::COMMENTS;
                }
            }
            (hash, length) = (Fnv::new(), 0);
        }
        if small || capital {
            if length == 0 {
                begin = at;
            }
            hash.push(byte | 0x20);
            length += 1;
        }
        after_small = small;
    }
    said
}

fn names_comments(part: &[u8]) -> bool {
    let names: [&[u8]; 18] = [
        b"comment",
        b"comments",
        b"commentlist",
        b"disqus",
        b"usercomments",
        b"kommentar",
        b"kommentare",
        b"kommentarer",
        b"kommentarii",
        b"komentarz",
        b"komentarze",
        b"komentare",
        b"commentaires",
        b"comentarios",
        b"commenti",
        b"reacties",
        b"yorumlar",
        b"pinglun",
    ];
    names.iter().any(|name| part.eq_ignore_ascii_case(name))
}

fn role(value: &[u8]) -> u32 {
    match value {
        b"navigation" | b"menu" | b"menubar" | b"tablist" => context::NAV,
        b"main" => context::MAIN,
        b"complementary" => context::ASIDE,
        b"contentinfo" => context::FOOTER,
        b"banner" => context::HEADER,
        b"search" | b"form" => context::FORM,
        b"dialog" | b"alertdialog" => context::DIALOG,
        b"article" => context::ARTICLE,
        b"button" | b"tab" | b"menuitem" => context::BUTTON,
        _ => 0,
    }
}

/// Whether a style has display: none; long ones are not looked at.
fn hides(style: &[u8]) -> bool {
    if style.len() > 300 {
        return false;
    }
    let compact: Vec<u8> = style
        .iter()
        .filter(|byte| !is_white(**byte))
        .map(u8::to_ascii_lowercase)
        .collect();
    memmem::find(&compact, b"display:none").is_some()
}

/// A language tag in lower case, as far as it looks like one.
fn language(value: &[u8]) -> String {
    let tag: String = value
        .iter()
        .take(35)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .map(|&byte| {
            if byte == b'_' {
                '-'
            } else {
                byte.to_ascii_lowercase() as char
            }
        })
        .collect();
    let letters = tag.bytes().take_while(u8::is_ascii_alphabetic).count();
    if (2..=3).contains(&letters) {
        tag
    } else {
        String::new()
    }
}
