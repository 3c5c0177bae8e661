//! Markdown of random pages, read back by a parser: the same structure; and no form loses a word.

mod common;

use common::*;
use curate_html::output::{Form, Format, Links, typed, write};
use proptest::prelude::*;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

// -- Markdown is read back -----------------------------------------------------------------------------------

/// A page as it is made; its inline text is HTML beside what a reader of it sees, code in ⟦ ⟧, links in ⟨ ⟩, TeX in
/// ⟪ ⟫.
#[derive(Clone, Debug)]
enum Part {
    Paragraph(Words),
    Heading(u8, Words),
    Code(String),
    Quote(Vec<Part>),
    List(Option<u32>, Vec<Vec<Part>>),
    Table(Vec<Vec<Words>>),
}

type Words = (String, String);

const ADDRESS: &str = "/a (b)*?c|d_e_";
const WRITTEN: &str = "/a%20%28b%29%2A?c%7Cd_e_";

fn words() -> impl Strategy<Value = Words> {
    let sign = prop::sample::select(vec![
        "*",
        "**",
        "_",
        "__",
        "`",
        "``",
        "[",
        "]",
        "[x](y)",
        "![x](y)",
        "[x]: y",
        "<b>",
        "</p>",
        "&amp;",
        "&",
        "#",
        "##",
        "-",
        "+",
        "1.",
        "2)",
        ">",
        "|",
        "\\",
        "\\*",
        "~~",
        "~",
        "snake_case",
        "a*b*c",
        "---",
        "===",
        "***",
        "|---|",
        "```",
        "<http://x.y>",
        "!",
        "[ ]",
        ":",
        "“",
        "é",
        "中文",
    ]);
    let piece = prop_oneof![
        3 => ("[a-z]{1,4}", Just(0)).prop_map(|(word, kind)| (word, kind)),
        4 => sign.prop_map(|sign| (sign.to_owned(), 0)),
        1 => ("[a-z`*|]{1,4}( [a-z`]{1,3})?", 1..6_u8).prop_map(|(word, kind)| (word, kind)),
        1 => ("[a-z][_*|][{][a-z]{1,3}[}]", Just(6)).prop_map(|(tex, kind)| (tex, kind)),
    ];
    let pieces = prop::collection::vec((piece, any::<bool>()), 0..7);
    ("[a-z]{1,3}", pieces).prop_map(|(first, pieces)| {
        let (mut html, mut seen) = (String::new(), String::new());
        let all = std::iter::once(((first, 0), true)).chain(pieces);
        for ((text, kind), space) in all {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
            html += &match kind {
                1 => format!("<code>{escaped}</code>"),
                2 => format!("<b>{escaped}</b>"),
                3 => format!("<i>{escaped}</i>"),
                4 => format!("<del>{escaped}</del>"),
                5 => format!("<a href='{ADDRESS}'>{escaped}</a>"),
                6 => format!(
                    " <math><mi>x</mi><annotation encoding='application/x-tex'>{escaped}</annotation></math> "
                ),
                _ => escaped,
            };
            seen += &match kind {
                1 => format!("⟦{text}⟧"),
                4 => format!("\u{1}{text}\u{1}"),
                5 => format!("⟨{text}⟩"),
                6 => format!(" ⟪{text}⟫ "),
                _ => text,
            };
            if space {
                html.push(' ');
                seen.push(' ');
            }
        }
        // Code side by side is one, and links side by side are words apart.
        (html, plain(&apart(&seen.replace("⟧⟦", "").replace("⟩⟨", "⟩ ⟨"))))
    })
}

/// A struck-out text, between U+0001, is no part of the words beside it.
fn apart(seen: &str) -> String {
    let mut out = String::new();
    for (at, c) in seen.char_indices() {
        let is_text = |c: &char| !matches!(c, '⟦' | '⟧' | '⟨' | '⟩' | '\u{1}');
        if c == '\u{1}' {
            let last = out.chars().rev().find(is_text);
            let next = seen[at..].chars().find(is_text);
            let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            if word(last) && word(next) {
                out.push(' ');
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let code = "[a-z`<*]{1,5}(\n {0,4}[a-z`>|]{0,5}){0,3}\n[a-z]{1,2}";
    let leaf = prop_oneof![
        4 => words().prop_map(Part::Paragraph),
        1 => code.prop_map(Part::Code),
        1 => (2..4_usize).prop_flat_map(|width| prop::collection::vec(prop::collection::vec(words(), width), 2..4)).prop_map(Part::Table),
    ];
    let nested = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(Part::Quote),
            2 => (
                prop::option::of(0..200_u32),
                prop::collection::vec((words(), prop::collection::vec(inner, 0..3)), 1..4),
            )
                .prop_map(|(start, items)| {
                    let item = |(words, rest): (Words, Vec<Part>)| {
                        std::iter::once(Part::Paragraph(words)).chain(rest).collect()
                    };
                    Part::List(start, items.into_iter().map(item).collect())
                }),
        ]
    });
    let top = prop_oneof![4 => nested, 1 => (1..7_u8, words()).prop_map(|(level, words)| Part::Heading(level, words))];
    prop::collection::vec(top, 1..6)
}

fn html(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Paragraph(words) => format!("<p>{}</p>", words.0),
        Part::Heading(level, words) => format!("<h{level}>{}</h{level}>", words.0),
        Part::Code(code) => format!(
            "<pre>{}</pre>",
            code.replace('&', "&amp;").replace('<', "&lt;")
        ),
        Part::Quote(parts) => format!("<blockquote>{}</blockquote>", html(parts)),
        Part::List(start, items) => {
            let items: String = items
                .iter()
                .map(|item| format!("<li>{}</li>", html(item)))
                .collect();
            start.map_or_else(
                || format!("<ul>{items}</ul>"),
                |n| format!("<ol start={n}>{items}</ol>"),
            )
        }
        Part::Table(rows) => {
            let row = |row: &Vec<Words>| {
                format!(
                    "<tr><th>{}</tr>",
                    row.iter()
                        .map(|w| w.0.as_str())
                        .collect::<Vec<_>>()
                        .join("<th>")
                )
            };
            format!(
                "<table>{}</table>",
                rows.iter().map(row).collect::<String>()
            )
        }
    };
    parts.iter().map(part).collect()
}

/// Each part in a line, with what it stands in.
fn outline(parts: &[Part], around: &str, lines: &mut Vec<String>) {
    for part in parts {
        match part {
            Part::Paragraph(words) => lines.push(format!("{around}p {}", words.1)),
            Part::Heading(level, words) => lines.push(format!("{around}h{level} {}", words.1)),
            Part::Code(code) => lines.push(format!("{around}code {code:?}")),
            Part::Quote(parts) => {
                lines.push(format!("{around}quote"));
                outline(parts, &format!("{around}> "), lines);
            }
            Part::List(start, items) => {
                lines.push(format!("{around}list {start:?}"));
                for item in items {
                    lines.push(format!("{around}item"));
                    outline(item, &format!("{around}  "), lines);
                }
            }
            Part::Table(rows) => {
                for row in rows {
                    let cells: Vec<&str> = row.iter().map(|words| words.1.as_str()).collect();
                    lines.push(format!("{around}row {cells:?}"));
                }
            }
        }
    }
}

/// The same of Markdown, by a parser.
fn read(markdown: &str) -> Vec<String> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    let (mut lines, mut around, mut text) = (Vec::new(), vec![String::new()], String::new());
    let (mut cells, mut in_code) = (Vec::new(), false);
    let mut tight = String::new();
    for event in Parser::new_ext(markdown, options) {
        let here = around.last().cloned().unwrap_or_default();
        // A tight item holds its text without a paragraph.
        let block = matches!(
            event,
            Event::Start(
                Tag::List(_)
                    | Tag::BlockQuote(_)
                    | Tag::CodeBlock(_)
                    | Tag::Paragraph
                    | Tag::Table(_)
            ) | Event::End(TagEnd::Item)
        );
        if block && !tight.is_empty() && !plain(&text).is_empty() {
            lines.push(format!("{tight}p {}", plain(&std::mem::take(&mut text))));
        }
        match event {
            Event::Start(Tag::Item) => {
                lines.push(format!("{here}item"));
                around.push(format!("{here}  "));
                tight = format!("{here}  ");
            }
            Event::End(TagEnd::Item) => {
                around.pop();
                tight = around.last().cloned().unwrap_or_default();
            }
            Event::Start(Tag::List(start)) => lines.push(format!("{here}list {start:?}")),
            Event::Start(Tag::BlockQuote(_)) => {
                lines.push(format!("{here}quote"));
                around.push(format!("{here}> "));
            }
            Event::End(TagEnd::BlockQuote(_)) => {
                around.pop();
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                assert!(
                    matches!(kind, CodeBlockKind::Fenced(_)),
                    "indented code in {markdown}"
                );
                in_code = true;
            }
            Event::End(TagEnd::CodeBlock) => {
                in_code = false;
                let code = std::mem::take(&mut text);
                lines.push(format!(
                    "{here}code {:?}",
                    code.strip_suffix('\n').unwrap_or(&code)
                ));
            }
            Event::End(TagEnd::Paragraph) => {
                lines.push(format!("{here}p {}", plain(&std::mem::take(&mut text))))
            }
            Event::End(TagEnd::Heading(level)) => {
                let level = match level {
                    HeadingLevel::H1 => 1,
                    HeadingLevel::H2 => 2,
                    HeadingLevel::H3 => 3,
                    HeadingLevel::H4 => 4,
                    HeadingLevel::H5 => 5,
                    HeadingLevel::H6 => 6,
                };
                lines.push(format!(
                    "{here}h{level} {}",
                    plain(&std::mem::take(&mut text))
                ));
            }
            Event::End(TagEnd::TableCell) => cells.push(plain(&std::mem::take(&mut text))),
            Event::End(TagEnd::TableRow | TagEnd::TableHead) => {
                lines.push(format!("{here}row {:?}", std::mem::take(&mut cells)));
            }
            Event::Text(found) if in_code => text += &found,
            Event::Text(found) => text += &found,
            Event::Code(found) => text += &format!("⟦{found}⟧"),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::Start(Tag::Link { dest_url, .. }) if &*dest_url == WRITTEN => text.push('⟨'),
            Event::End(TagEnd::Link) => text.push('⟩'),
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => text += "LINK",
            Event::InlineMath(found) => text += &format!("⟪{found}⟫"),
            Event::Html(found) | Event::InlineHtml(found) => text += &format!("HTML{found}"),
            Event::TaskListMarker(_) | Event::Rule => text += "OTHER",
            _ => {}
        }
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_parser_of_markdown_finds_the_structure_of_the_page(parts in parts()) {
        let page = parse(&html(&parts));
        let mut expected = Vec::new();
        outline(&parts, "", &mut expected);
        for links in [Links::Inline, Links::Reference, Links::Text] {
            let form = Form { format: Format::Markdown, links, ..Form::default() };
            let written = write(&page, &vec![true; page.blocks.len()], form);
            if links == Links::Text {
                expected.iter_mut().for_each(|line| line.retain(|c| !matches!(c, '⟨' | '⟩')));
            }
            prop_assert_eq!(read(&written), expected.clone(), "{}", written);
        }
    }

    #[test]
    fn no_form_loses_a_word_of_what_is_kept(parts in parts(), dropped in any::<u64>()) {
        let page = parse(&html(&parts));
        let kept: Vec<bool> = (0..page.blocks.len()).map(|block| dropped >> (block % 64) & 1 == 0).collect();
        let words = |text: &str| text.chars().filter(char::is_ascii_lowercase).collect::<String>();
        let expected: String = (0..kept.len()).filter(|&block| kept[block]).map(|block| words(&page.text_of(block))).collect();
        for format in [Format::Text, Format::Markdown] {
            prop_assert_eq!(words(&write(&page, &kept, form(format))), expected.clone());
        }
        let (_, blocks) = typed(&page, &kept, form(Format::Blocks), &vec![0.5; kept.len()]);
        prop_assert_eq!(blocks.iter().map(|block| words(&block.text)).collect::<String>(), expected);
    }
}
