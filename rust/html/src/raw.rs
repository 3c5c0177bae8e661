//! Elements whose content is no markup for the page: scripts, styles, titles, drawings, formulas.

use memchr::{memchr, memmem};

use crate::math;
use crate::page::declared;
use crate::tags::{Tag, context};
use crate::tokenizer::{Said, Tokenizer};

/// Raw text other than scripts and styles ends here at the latest: an unclosed title must not eat the page.
const MAX_RAW: usize = 400_000;
/// A longer formula is read as any other element.
const MAX_FORMULA: usize = 40_000;
/// `@type` entries that are looked at in one JSON-LD script.
const MAX_TYPES: usize = 200;

impl Tokenizer<'_> {
    /// Skips the content of a raw element, which begins at `at`; reads a title, and the types in JSON-LD.
    pub fn raw(&mut self, tag: Tag, said: &Said<'_>, at: usize) -> usize {
        let (end, after) = self.raw_end(tag, at);
        let content = &self.html[at..end];
        if tag == Tag::SCRIPT && said.kind.starts_with(b"math/") && content.len() < MAX_FORMULA {
            self.formula_script(said.kind, content);
        }
        if tag == Tag::SVG && self.builder.top().context & context::FIGURE != 0 {
            let parts = described(content);
            if !parts.is_empty() {
                self.builder.drawing(&parts);
            }
        }
        let page = &mut self.builder.page;
        if tag == Tag::TITLE && page.title.is_empty() {
            crate::characters::collapse(content, &mut page.title, &mut false);
        } else if said.json_ld {
            page.declared |= declared_types(content);
        }
        after
    }

    /// A script that is the source of a formula, which MathJax reads.
    fn formula_script(&mut self, kind: &[u8], content: &[u8]) {
        let displayed = memmem::find(kind, b"display").is_some();
        if kind.starts_with(b"math/tex") {
            let source = String::from_utf8_lossy(content);
            let tex = source
                .trim()
                .trim_start_matches("% <![CDATA[")
                .trim_end_matches("%]]>");
            self.builder.formula(tex.trim(), displayed, true);
        } else if kind.starts_with(b"math/mml") {
            let tex = math::tex(content, b"");
            self.builder.formula(&tex, displayed, true);
        }
    }

    /// Where a script ends: an end tag counts only where no `<!--` with another `<script` stands before it. None
    /// where no such end follows, or where that makes no difference.
    fn nested_script_end(&mut self, start: usize, first_end: usize) -> Option<usize> {
        let html = self.html;
        let comment = memmem::find(&html[start..first_end], b"<!--")?;
        if self.missing.nested_script_end {
            return None;
        }
        // 1: in a comment, 2: in a script in it.
        let (mut at, mut depth) = (start + comment + 4, 1);
        while let Some(n) = memchr::memchr2(b'<', b'-', &html[at..]) {
            at += n;
            let rest = &html[at..];
            let is = |name: &[u8]| {
                rest.len() >= name.len() && rest[..name.len()].eq_ignore_ascii_case(name)
            };
            if depth > 0 && rest.starts_with(b"-->") {
                depth = 0;
                at += 3;
            } else if is(b"</script") {
                if depth < 2 {
                    return Some(at);
                }
                depth = 1;
                at += 8;
            } else if depth == 1 && is(b"<script") {
                depth = 2;
                at += 7;
            } else if depth == 0 && rest.starts_with(b"<!--") {
                depth = 1;
                at += 4;
            } else {
                at += 1;
            }
        }
        self.missing.nested_script_end = true;
        None
    }

    /// Where a drawing ends, drawings in it included, and where the page goes on.
    fn drawing_end(&mut self, start: usize) -> (usize, usize) {
        let html = self.html;
        let (mut depth, mut last) = (1, None);
        if start >= self.missing.raw_end[Tag::SVG.0 as usize] {
            for n in memmem::find_iter(&html[start..], b"<") {
                let rest = &html[start + n..];
                let is = |name: &[u8]| {
                    rest.len() >= name.len() && rest[..name.len()].eq_ignore_ascii_case(name)
                };
                if is(b"</svg") {
                    depth -= 1;
                    last = Some(start + n);
                    if depth == 0 {
                        break;
                    }
                } else if is(b"<svg") && !self.closes_itself(start + n) {
                    depth += 1;
                }
            }
        }
        match last {
            Some(end) => (end, self.after_angle(end)),
            None => {
                self.missing.raw_end[Tag::SVG.0 as usize] = usize::MAX;
                (start, start)
            }
        }
    }

    fn closes_itself(&self, tag: usize) -> bool {
        let end = memchr(b'>', &self.html[tag..]);
        end.is_some_and(|n| n > 0 && self.html[tag + n - 1] == b'/')
    }

    /// Where a raw element's content ends, and where the page goes on. Without an end tag a script or a style
    /// takes the rest of the page, and any other element nothing.
    pub fn raw_end(&mut self, tag: Tag, start: usize) -> (usize, usize) {
        if tag == Tag::SVG {
            return self.drawing_end(start);
        }
        let html = self.html;
        let name = tag.name().as_bytes();
        let takes_rest = matches!(tag, Tag::SCRIPT | Tag::STYLE);
        let limit = match tag {
            _ if takes_rest => html.len(),
            Tag::MATH => html.len().min(start + MAX_FORMULA),
            _ => html.len().min(start + MAX_RAW),
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
                let nested = (tag == Tag::SCRIPT).then(|| self.nested_script_end(start, end));
                let end = nested.flatten().unwrap_or(end);
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

/// The title and the description that a drawing begins with: those further down belong to its parts.
fn described(drawing: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = drawing.trim_ascii_start();
    for name in [&b"title"[..], b"desc"] {
        let begins = rest.len() > name.len() && rest[1..].starts_with(name);
        let Some(open) = memchr(b'>', rest).filter(|_| begins) else {
            continue;
        };
        let Some(length) = memchr(b'<', &rest[open + 1..]) else {
            break;
        };
        parts.push(&rest[open + 1..open + 1 + length]);
        let after = &rest[open + 1 + length..];
        let end = memchr(b'>', after).map_or(after.len(), |at| at + 1);
        rest = after[end..].trim_ascii_start();
    }
    parts
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
