//! One tolerant pass over the markup: tags, attributes, comments, raw text. Nothing is looked at twice.
//!
//! Every search that runs to the end of the page and fails is remembered (`Missing`), so that a page full of
//! opening quotes or unclosed scripts takes no longer than any other of its size.

use memchr::{memchr, memmem};

use crate::Error;
use crate::builder::{Attributes, Builder};
use crate::hash::Fnv;
use crate::page::{ItemProp, OgType, Page, declared};
use crate::tags::{Tag, context, property};

/// Raw text other than scripts and styles ends here at the latest: an unclosed title must not eat the page.
const MAX_RAW: usize = 400_000;
/// Tokens kept of one id, one class, one of the other attributes.
const ID_TOKENS: usize = 8;
const CLASS_TOKENS: usize = 12;
const OTHER_TOKENS: usize = 4;
/// `@type` entries that are looked at in one JSON-LD script.
const MAX_TYPES: usize = 200;

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
struct Missing {
    comment_end: bool,
    double_quote: bool,
    single_quote: bool,
    cdata_end: bool,
    /// No end tag of this raw element begins before this place.
    raw_end: [usize; 128],
}

impl Default for Missing {
    fn default() -> Self {
        Self {
            comment_end: false,
            double_quote: false,
            single_quote: false,
            cdata_end: false,
            raw_end: [0; 128],
        }
    }
}

struct Tokenizer<'a> {
    html: &'a [u8],
    builder: Builder,
    missing: Missing,
}

/// What a start tag's attributes say beyond `Attributes`.
#[derive(Default)]
struct Said<'a> {
    attributes: Attributes,
    self_closing: bool,
    json_ld: bool,
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
    fn after_angle(&self, from: usize) -> usize {
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
            if html[body..].starts_with(b">") {
                return body + 1;
            }
            if !self.missing.comment_end {
                if let Some(n) = memmem::find(&html[body..], b"-->") {
                    return body + n + 3;
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
        let tag = Tag::of(&html[name..name + length]);
        let tokens = self.builder.page.tokens.len();
        let (said, after) = self.attributes(tag, name + length);
        if tag == Tag::META {
            self.builder.page.tokens.truncate(tokens);
            self.meta(&said);
            return after;
        }
        if tag == Tag::HTML && self.builder.page.language.is_empty() {
            self.builder.page.language = language(said.language);
        }
        if tag.is(property::RAW) && !(tag == Tag::SVG && said.self_closing) {
            self.builder.page.tokens.truncate(tokens);
            return self.raw(tag, &said, after);
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
            2 if is(b"id") => attributes.context |= add_tokens(value, ID_TOKENS, tokens),
            4 if is(b"role") => attributes.context |= role(value),
            4 if is(b"lang") => said.language = value,
            4 if tag == Tag::META && is(b"name") && said.meta.is_empty() => said.meta = value,
            4 if tag == Tag::SCRIPT && is(b"type") => {
                said.json_ld = memmem::find(value, b"ld+json").is_some();
            }
            5 if is(b"class") => attributes.context |= add_tokens(value, CLASS_TOKENS, tokens),
            5 if is(b"style") && hides(value) => attributes.context |= context::HIDDEN,
            6 if is(b"hidden") => attributes.context |= context::HIDDEN,
            7 if tag == Tag::META && is(b"content") => said.content = value,
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

    /// Skips the content of a raw element, which begins at `at`; reads a title, and the types in JSON-LD.
    fn raw(&mut self, tag: Tag, said: &Said<'_>, at: usize) -> usize {
        let (end, after) = self.raw_end(tag, at);
        let content = &self.html[at..end];
        let page = &mut self.builder.page;
        if tag == Tag::TITLE && page.title.is_empty() {
            crate::characters::collapse(content, &mut page.title, &mut false);
        } else if said.json_ld {
            page.declared |= declared_types(content);
        }
        after
    }

    /// Where a raw element's content ends, and where the page goes on. Without an end tag a script or a style
    /// takes the rest of the page, and any other element nothing.
    fn raw_end(&mut self, tag: Tag, start: usize) -> (usize, usize) {
        let html = self.html;
        let name = tag.name().as_bytes();
        let takes_rest = matches!(tag, Tag::SCRIPT | Tag::STYLE);
        let limit = if takes_rest {
            html.len()
        } else {
            html.len().min(start + MAX_RAW)
        };
        let known = &mut self.missing.raw_end[tag.0 as usize];
        let mut at = start.max(*known);
        while at < limit {
            let Some(n) = memmem::find(&html[at..limit], b"</") else {
                break;
            };
            let end = at + n;
            let candidate = html.get(end + 2..end + 2 + name.len());
            if candidate.is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                return (end, self.after_angle(end));
            }
            at = end + 2;
        }
        *known = limit.saturating_sub(1).max(*known);
        if takes_rest {
            (html.len(), html.len())
        } else {
            (start, start)
        }
    }
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
    let names: [&[u8]; 6] = [
        b"comment",
        b"comments",
        b"commentlist",
        b"disqus",
        b"usercomments",
        b"kommentare",
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

/// The `declared` bits of what follows each "@type" of a JSON-LD script.
fn declared_types(script: &[u8]) -> u32 {
    let mut bits = 0;
    for at in memmem::find_iter(script, b"\"@type\"").take(MAX_TYPES) {
        let after = &script[at + 7..script.len().min(at + 47)];
        let has = |word: &[u8]| memmem::find(after, word).is_some();
        if has(b"Article") || has(b"BlogPosting") || has(b"Report") {
            bits |= declared::ARTICLE;
        }
        if has(b"\"Product\"") {
            bits |= declared::PRODUCT;
        }
        if has(b"Discussion") || has(b"QAPage") || has(b"Question") {
            bits |= declared::DISCUSSION;
        }
        if has(b"ItemList") || has(b"CollectionPage") {
            bits |= declared::LIST;
        }
    }
    bits
}
