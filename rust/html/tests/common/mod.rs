//! Pages written with every block kept.
#![allow(dead_code, reason = "each test file uses some of it")]

use curate_html::output::{Form, Format, write};
use curate_html::page::Page;

pub fn parse(html: &str) -> Page {
    curate_html::parse(html).expect("no page here has too many blocks")
}

pub fn form(format: Format) -> Form {
    Form {
        format,
        ..Form::default()
    }
}

/// The whole page in this form.
pub fn all(html: &str, format: Format) -> String {
    let page = parse(html);
    write(&page, &vec![true; page.blocks.len()], form(format))
}

pub fn text(html: &str) -> String {
    all(html, Format::Text)
}

pub fn markdown(html: &str) -> String {
    all(html, Format::Markdown)
}
