//! What is written of a page: the same structure in every form, and Markdown that a parser reads back.

use curate_html::output::{Form, Format, Images, Links, typed, write};
use curate_html::page::Page;
use proptest::prelude::*;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

fn parse(html: &str) -> Page {
    curate_html::parse(html).expect("no page here has too many blocks")
}

fn form(format: Format) -> Form {
    Form {
        format,
        ..Form::default()
    }
}

/// The whole page in this form.
fn all(html: &str, format: Format) -> String {
    let page = parse(html);
    write(&page, &vec![true; page.blocks.len()], form(format))
}

fn text(html: &str) -> String {
    all(html, Format::Text)
}

fn markdown(html: &str) -> String {
    all(html, Format::Markdown)
}

/// The page without the blocks of these texts.
fn without(html: &str, dropped: &[&str], format: Format) -> String {
    let page = parse(html);
    let kept: Vec<bool> = (0..page.blocks.len())
        .map(|block| !dropped.contains(&&*page.text_of(block)))
        .collect();
    write(&page, &kept, form(format))
}

#[test]
fn a_cell_stays_in_its_column_whatever_is_empty_spanned_or_dropped() {
    let page = "<table><tr><th>a<th>b<th>c<tr><td>1<td><td>3<tr><td colspan=2>4<td>6<tr><td rowspan=2>7<td><p>8</p><ul><li>x<li>y</ul>\
                <td>9<tr><td>p|q<td>r</table>";
    assert_eq!(text(page), "a\tb\tc\n1\t\t3\n4\t\t6\n7\t8 x y\t9\n\tp|q\tr");
    assert_eq!(
        markdown(page),
        "| a | b | c |\n| --- | --- | --- |\n| 1 |  | 3 |\n| 4 |  | 6 |\n| 7 | 8 x y | 9 |\n|  | p\\|q | r |"
    );
    assert_eq!(
        without(page, &["1", "4", "6"], Format::Text),
        "a\tb\tc\n\t\t3\n7\t8 x y\t9\n\tp|q\tr"
    );
}

#[test]
fn a_table_that_lays_out_a_page_is_none() {
    let page = "<table><tr><td><h2>News</h2><p>one</p><td><p>two</table>";
    assert_eq!(markdown(page), "## News\n\none\n\ntwo");
    assert_eq!(
        markdown("<table><caption>Rain</caption><tr><td>x<td>y<tr><td>1<td>2</table>"),
        "Rain\n\n| x | y |\n| --- | --- |\n| 1 | 2 |"
    );
}

#[test]
fn spans_that_no_table_has_cost_nothing() {
    let row = "<tr><td rowspan=900 colspan=900>a<td colspan=900>b";
    let page = format!("<table><tr><th>h<th>i{}</table>", row.repeat(300));
    assert!(text(&page).len() < 50_000);
}

#[test]
fn items_keep_their_numbers_and_what_they_hold() {
    let page = "<ol start=5><li>five<li value=9>nine<ul><li>in<li>side</ul><li><p>ten</p><pre>code\n  more</pre></ol><ol reversed><li>two<li>one</ol>";
    assert_eq!(
        markdown(page),
        "5. five\n9. nine\n   - in\n   - side\n10. ten\n\n    ```\n    code\n      more\n    ```\n\n2) two\n1) one"
    );
    assert_eq!(
        text(page),
        "five\nnine\nin\nside\nten\n\ncode\n  more\n\ntwo\none"
    );
    let quoted =
        "<blockquote><p>said</p><ul><li>so</ul><blockquote><p>again</blockquote></blockquote>";
    assert_eq!(markdown(quoted), "> said\n>\n> - so\n>\n> > again");
}

#[test]
fn code_is_verbatim_in_every_shape() {
    let expected = "def f(x):\n    if x:\n\n        return \"`\"";
    let lines = |before: &str, after: &str, between: &str, space: &str| {
        let lines: Vec<String> = expected
            .lines()
            .map(|line| format!("{before}{}{after}", line.replace(' ', space)))
            .collect();
        lines.join(between)
    };
    let gutter = "<td class=gutter><pre>1\n2\n3\n4\n</pre></td>";
    for (name, page) in [
        ("pre", format!("<pre>{}</pre>", lines("", "", "\n", " "))),
        (
            "spans",
            format!(
                "<pre>{}</pre>",
                lines("<span class=line>", "</span>", "", " ")
            ),
        ),
        (
            "spans and lines",
            format!(
                "<pre>{}</pre>",
                lines("<span class=line>", "</span>", "\n", " ")
            ),
        ),
        (
            "divs",
            format!("<pre>{}</pre>", lines("<div>", "</div>", "", " ")),
        ),
        (
            "items",
            format!("<pre><ol>{}</ol></pre>", lines("<li>", "</li>", "", " ")),
        ),
        (
            "numbers",
            format!(
                "<pre>{}</pre>",
                lines("<span class=lineno>7 </span>", "", "\n", " ")
            ),
        ),
        ("xmp", format!("<xmp>{}</xmp>", lines("", "", "\n", " "))),
        (
            "gutter",
            format!(
                "<figure><table><tr>{gutter}<td class=code><pre>{}</pre></td></table></figure>",
                lines("<span class=line>", "</span>", "<br>", " ")
            ),
        ),
        (
            "cells",
            format!(
                "<table>{}</table>",
                lines(
                    "<tr><td class=blob-num></td><td class=blob-code>",
                    "</td></tr>",
                    "",
                    " "
                )
            ),
        ),
        (
            "cells without lines",
            format!(
                "<table><tr>{gutter}<td class=code>{}</td></table>",
                lines("<div class=line><code>", "</code></div>", "", "&nbsp;")
            ),
        ),
        (
            "fragment",
            format!(
                "<div class=\"fragment\">{}</div>",
                lines(
                    "<div class=\"line\"><span class=lineno>  12</span>&#160;",
                    "</div>",
                    "\n",
                    " "
                )
            ),
        ),
        (
            "breaks",
            format!("<p><code>{}</code></p>", lines("", "", "<br>\n", "&nbsp;")),
        ),
        (
            "style",
            format!(
                "<div style='white-space: pre; font: monospace'>{}</div>",
                lines("", "", "\n", " ")
            ),
        ),
    ] {
        assert_eq!(text(&page), expected, "{name}: {page}");
        assert_eq!(markdown(&page), format!("```\n{expected}\n```"), "{name}");
    }
    assert_eq!(
        markdown("<pre class='brush: js'>a\n```\nb</pre>"),
        "````js\na\n```\nb\n````"
    );
    assert_eq!(
        markdown("<div class='highlight-python'><pre>a</pre></div>"),
        "```python\na\n```"
    );
}

#[test]
fn what_elements_say_is_written_where_it_changes_the_meaning() {
    for (page, expected) in [
        (
            "<p>some 10<sup>9</sup> drops of H<sub>2</sub>",
            "some 10^9 drops of H_2",
        ),
        ("<p>rain<sup><a href=#1>1</a></sup> falls", "rain[1] falls"),
        (
            "<p><ruby>気象<rp>(</rp><rt>きしょう</rt><rp>)</rp></ruby>は",
            "気象は",
        ),
        (
            "<p>he said <q>it rains</q> twice",
            "he said “it rains” twice",
        ),
        (
            "<p>we won <img class=emoji alt='🎉'> today",
            "we won 🎉 today",
        ),
        (
            "<p>speed <img class=latex alt='v_t &lt; 3'> m",
            "speed $v_t < 3$ m",
        ),
        (
            "<p>as <script type='math/tex; mode=display'>\\frac{1}{2}</script> says",
            "as $$\\frac{1}{2}$$ says",
        ),
        (
            "<p>of <math><msup><mi>e</mi><mi>x</mi></msup></math> the",
            "of $e^{x}$ the",
        ),
        (
            "<p>a <span class=katex><span class=katex-mathml><math><annotation encoding='application/x-tex'>x_1</annotation></math></span><span class=katex-html aria-hidden=true>x1</span></span> b",
            "a $x_1$ b",
        ),
        (
            "<p>a <span class=MathJax><math><mi>x</mi></math></span><script type=math/tex>x</script> b",
            "a $x$ b",
        ),
        ("<h2>Rain <a class=headerlink href=#r>¶</a></h2>", "Rain"),
        (
            "<h2>Rain<span class=mw-editsection>[<a href=e>edit</a>]</span></h2>",
            "Rain",
        ),
        (
            "<p><span class=d>12</span><span class=m>May</span>",
            "12 May",
        ),
        ("<p>Wind<img src=a.png>north", "Wind north"),
        (
            "<p>go <g-emoji>🚀</g-emoji> now<template><p>x</p></template>",
            "go 🚀 now",
        ),
        ("<p>a<!--->b<!-- x --!>c<!-- y --->d", "abcd"),
        (
            "<p>a<script><!-- s = '<script>x</script>'; y //--></script>b",
            "ab",
        ),
        ("<p>a<svg><g><svg/><text>b</text></svg>c", "ac"),
    ] {
        assert_eq!(text(page), expected, "{page}");
    }
}

#[test]
fn links_and_images_are_written_as_asked() {
    let page = "<h2>Go</h2><p>See <a href='/a b'>the <b>page</b></a> and <a href=javascript:x()>act</a><img src=i.png alt='an image'>.<p>End <a href='/a b'>it</a></p><img src=j.png alt=last>";
    let page = parse(page);
    let written = |format, links, images| {
        let form = Form {
            format,
            links,
            images,
        };
        write(&page, &vec![true; page.blocks.len()], form)
    };
    assert_eq!(
        written(Format::Text, Links::Text, Images::Drop),
        "Go\n\nSee the page and act.\n\nEnd it"
    );
    assert_eq!(
        written(Format::Text, Links::Drop, Images::Alt),
        "Go\n\nSee and an image.\n\nEnd \n\nlast"
    );
    assert_eq!(
        written(Format::Markdown, Links::Inline, Images::Inline),
        "## Go\n\nSee [the **page**](/a%20b) and act ![an image](i.png).\n\nEnd [it](/a%20b)\n\n![last](j.png)"
    );
    assert_eq!(
        written(Format::Markdown, Links::Reference, Images::Drop),
        "## Go\n\nSee [the **page**][1] and act.\n\nEnd [it][1]\n\n[1]: /a%20b"
    );
}

#[test]
fn signs_are_escaped_only_where_they_would_be_structure() {
    for (page, expected) in [
        ("snake_case and 5*3", "snake_case and 5*3"),
        ("*bold* _it_ _all_", "\\*bold\\* \\_it\\_ \\_all\\_"),
        ("# no heading", "\\# no heading"),
        ("1. no item", "1\\. no item"),
        (
            "a &lt;b&gt; c &lt; d &amp;amp; e & f",
            "a \\<b> c < d \\&amp; e & f",
        ),
        ("[x](y) and [z]", "[x\\](y) and [z]"),
        ("\\(a_b*c_d*\\) stays", "\\(a_b*c_d*\\) stays"),
        ("- no<br>===", "\\- no\n\\==="),
    ] {
        assert_eq!(markdown(&format!("<p>{page}")), expected);
    }
}

#[test]
fn typed_blocks_say_what_each_part_is() {
    let page = parse(
        "<h3>a</h3><p>b</p><ul><li>c<ul><li>d</ul></ul><blockquote><p>e</blockquote><pre>f</pre><table><tr><th>g<th>h<tr><td>i<td></table>",
    );
    let scores: Vec<f32> = (0..page.blocks.len()).map(|n| n as f32 / 10.0).collect();
    let blocks = typed(
        &page,
        &vec![true; page.blocks.len()],
        form(Format::Blocks),
        &scores,
    );
    let found: Vec<_> = blocks
        .iter()
        .map(|b| (b.kind, b.level, b.text.as_str()))
        .collect();
    let expected = [
        ("heading", 3, "a"),
        ("paragraph", 0, "b"),
        ("item", 1, "c"),
        ("item", 2, "d"),
        ("quote", 1, "e"),
        ("code", 0, "f"),
        ("table", 0, "g\th\ni\t"),
    ];
    assert_eq!(found, expected);
    assert!((blocks[6].score - 0.7).abs() < 1e-6);
}

// -- Markdown is read back -----------------------------------------------------------------------------------

/// A page as it is made; its inline text is HTML beside what a reader of it sees, code in ⟦ ⟧.
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
        1 => ("[a-z`*|]{1,4}( [a-z`]{1,3})?", 1..5_u8).prop_map(|(word, kind)| (word, kind)),
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
                _ => escaped,
            };
            seen += &if kind == 1 {
                format!("⟦{text}⟧")
            } else {
                text
            };
            if space {
                html.push(' ');
                seen.push(' ');
            }
        }
        // Code side by side is one.
        (html, plain(&seen.replace("⟧⟦", "")))
    })
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
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
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
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => text += "LINK",
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
        let written = markdown(&html(&parts));
        let mut expected = Vec::new();
        outline(&parts, "", &mut expected);
        let start = |line: &str| line.replace("list Some", "list Some");
        let expected: Vec<String> = expected.iter().map(|line| start(line)).collect();
        prop_assert_eq!(read(&written), expected, "{}", written);
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
        let blocks = typed(&page, &kept, form(Format::Blocks), &vec![0.5; kept.len()]);
        prop_assert_eq!(blocks.iter().map(|block| words(&block.text)).collect::<String>(), expected);
    }
}
