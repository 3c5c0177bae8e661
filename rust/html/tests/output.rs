//! What is written of a page: the same structure in every form, and Markdown that a parser reads back.

mod common;

use common::*;
use curate_html::output::{Form, Format, Images, Links, typed, write};

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
        "5. five\n9. nine\nin\nside\n10. ten\n\ncode\n  more\n\n2. two\n1. one"
    );
    assert_eq!(
        text("<ol><li><ol><li>a<li>b</ol><li><pre>c\n  d</pre></ol>"),
        "1. 1. a\n2. b\n\n2.\nc\n  d"
    );
    assert_eq!(
        markdown("<ul><li>a<li>b</li><ul><li>c</li></ul><li>d</ul>"),
        "- a\n- b\n  - c\n- d"
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
            "textarea",
            format!(
                "<textarea readonly>\n{}\n</textarea><textarea>asks\nus</textarea>",
                lines("", "", "\n", " ")
            ),
        ),
        (
            "textarea of a highlighter",
            format!(
                "<textarea name=code>{}</textarea>",
                lines("", "", "\n", " ")
            ),
        ),
        (
            "lines of divs with no-break spaces",
            format!(
                "<table><tr><td class=crayon-nums><div>1</div><div>2</div></td><td class=crayon-code>{}</td></tr></table>\
                 <textarea class=crayon-plain readonly>{expected}</textarea>",
                lines("<div class=crayon-line>", "</div>", "", "&nbsp;")
            ),
        ),
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
    for says in [
        "<div class='highlight-python'><pre>a</pre></div>",
        "<pre class='code python literal-block'>a</pre>",
        "<pre lang=python>a</pre>",
        "<pre class='src src-python'>a</pre>",
        "<pre><code class='hljs python'>a</code></pre>",
        "<figure class='highlight python'><table><tr><td class=gutter><pre>1</pre><td class=code><pre>a</pre></table></figure>",
        "<div class='mw-highlight mw-highlight-lang-python'><pre>a</pre></div>",
        "<div class='syntaxhighlighter python'><table><tr><td class=gutter>1<td class=code>a</table></div>",
    ] {
        assert_eq!(markdown(says), "```python\na\n```", "{says}");
    }
    assert_eq!(markdown("<pre class='text wide'>a</pre>"), "```\na\n```");
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
        (
            "<p>open <del>8</del><ins>9</ins> to 5, mug<s>€20</s>€15, cat<ins>s</ins>",
            "open 8 9 to 5, mug €20 €15, cats",
        ),
        (
            "<p>so <img alt='❤️' src=h.svg> &<img alt='&#x1F680;'>, not <img alt='Ann' src=a.png>",
            "so ❤️ &🚀, not",
        ),
        (
            "<details><summary>More</summary><p>on <abbr title='sea level'>SL</abbr></details><noscript><p>Shown</noscript>",
            "More\n\non SL\n\nShown",
        ),
        (
            "<div>written by<x-name>Ann</x-name>in May</div>",
            "written by Ann in May",
        ),
        (
            "<div style='white-space:pre-line'>one\ntwo</div>",
            "one\ntwo",
        ),
        (
            "<figure><svg><title>Tides</title><desc>High at noon</desc><g><title>x</title></g></svg></figure>",
            "Tides\n\nHigh at noon",
        ),
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
        "<h3>a</h3><p>b</p><ol start=4><li>c<ul><li>d</ul></ol><blockquote><p>e</blockquote><pre>f</pre><table><tr><th>g<th>h<tr><td>i<td></table>",
    );
    let scores: Vec<f32> = (0..page.blocks.len()).map(|n| n as f32 / 10.0).collect();
    let (_, blocks) = typed(
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
        ("item", 1, "4. c"),
        ("item", 2, "d"),
        ("quote", 1, "e"),
        ("code", 0, "f"),
        ("table", 0, "g\th\ni\t"),
    ];
    assert_eq!(found, expected);
    assert!((blocks[6].score - 0.7).abs() < 1e-6);
}
