//! What the tokenizer makes of markup, good and bad.

use curate_html::page::Page;
use curate_html::tags::context;
use proptest::prelude::*;

fn parse(html: &str) -> Page {
    curate_html::parse(html).expect("no page here has too many blocks")
}

fn texts(html: &str) -> Vec<String> {
    let page = parse(html);
    (0..page.blocks.len())
        .map(|block| page.text_of(block).into_owned())
        .collect()
}

fn context_of(page: &Page, text: &str) -> u32 {
    let block = (0..page.blocks.len()).find(|&block| page.text_of(block) == text);
    page.blocks[block.unwrap_or_else(|| panic!("no block is {text:?}"))].context
}

#[test]
fn block_level_tags_cut_and_inline_tags_do_not() {
    assert_eq!(
        texts("<div>one <b>two</b> <a href=x>three</a><p>four<div>five</div>six"),
        ["one two three", "four", "five", "six"]
    );
}

#[test]
fn links_side_by_side_are_words_apart() {
    assert_eq!(
        texts("<p><a>one</a><a>two</a> th<a>re</a>e<p><a>x</a><b><a>y</a></b>"),
        ["one two three", "x y"]
    );
}

#[test]
fn one_line_break_is_a_line_and_two_are_a_paragraph() {
    assert_eq!(texts("<p>a<br>b<br/> <br>c<hr>d"), ["a\nb", "c", "d"]);
}

#[test]
fn end_tags_that_are_left_out_are_implied() {
    let page =
        parse("<ul><li>a<li>b<ul><li>c</ul><li>d</ul><table><tr><td>1<td>2<tr><td>3</table>e");
    let parent_tags: Vec<_> = (0..page.blocks.len())
        .map(|block| {
            (
                page.text_of(block).into_owned(),
                page.node_of(block).tag.name(),
            )
        })
        .collect();
    let expected = [
        ("a", "li"),
        ("b", "li"),
        ("c", "li"),
        ("d", "li"),
        ("1", "td"),
        ("2", "td"),
        ("3", "td"),
        ("e", "html"),
    ];
    assert_eq!(
        parent_tags,
        expected.map(|(text, tag)| (text.to_owned(), tag))
    );
    assert_eq!(
        page.nodes
            .iter()
            .filter(|node| node.tag.name() == "tr")
            .map(|node| node.depth)
            .max(),
        Some(2)
    );
}

#[test]
fn end_tags_that_are_too_many_or_crossed_end_nothing_else() {
    let page =
        parse("<table><tr><td><div>a</div></div></p></li>b</td></tr></table><i>c<b>d</i>e</b><p>f");
    assert_ne!(context_of(&page, "b") & context::CELL, 0);
    assert_eq!(context_of(&page, "cde") & context::CELL, 0);
}

#[test]
fn scripts_styles_comments_and_drawings_are_no_text() {
    let html = "a<script>if (a</b) '</scr'+'ipt>'</script>b<style>p{}</style>c<!-- <p>x -- > -->d<svg><text>y</text></svg>e\
                <!DOCTYPE html>f<?php echo ?>g<iframe><p>z</iframe>h<![CDATA[i]]>j";
    assert_eq!(texts(html).join(""), "abcdefghij");
}

#[test]
fn what_is_never_closed_takes_no_more_than_it_must() {
    assert_eq!(texts("a<script>b"), ["a"]);
    assert_eq!(texts("<title>t<p>a<svg>b<p>c"), ["t", "ab", "c"]);
    assert_eq!(texts("a<!-- b > c"), ["a c"]);
    assert_eq!(texts("<p class=\"x>a<p>b"), ["a", "b"]);
    assert_eq!(texts("a < b <3 </>c<"), ["a < b <3 c"]);
}

#[test]
fn code_keeps_its_white_space_and_its_indentation() {
    assert_eq!(
        texts("<pre>\n  <span>if</span> x:\n\tgo(1,  2)\n\n</pre><p>a  b"),
        ["  if x:\n\tgo(1,  2)", "a b"]
    );
    assert_eq!(
        texts("<pre><div>if x:</div><div>  go()</div><ol><li>a<li>b</ol></pre><div>c</div>"),
        ["if x:\n  go()\na\nb", "c"]
    );
}

#[test]
fn attributes_say_what_text_stands_in() {
    let page = parse(
        "<div role=navigation>a</div><div style='x:y; display : none'>b</div><div class='post userComments'>c</div>\
         <div aria-hidden=true>d</div><div itemprop=articleBody>e</div><div>f</div>",
    );
    let bits = ["a", "b", "c", "d", "e", "f"].map(|text| context_of(&page, text));
    assert_eq!(
        bits,
        [
            context::NAV,
            context::HIDDEN,
            context::COMMENTS,
            context::HIDDEN,
            context::ARTICLE_BODY,
            0
        ]
    );
}

#[test]
fn the_head_is_read_for_title_language_and_types() {
    let page = parse(
        "<html lang='pt_BR'><head><meta property=og:type content=article><title> A &amp;\n B </title>\
         <script type='application/ld+json'>{\"@type\": \"Product\"}</script>",
    );
    assert_eq!(
        (page.title.as_slice(), page.language.as_str()),
        (&b"A & B"[..], "pt-br")
    );
    assert_eq!(
        (page.og_type as u8, page.declared),
        (1, curate_html::page::declared::PRODUCT)
    );
    assert_eq!(
        parse("<meta http-equiv=Content-Language content='de, en'>").language,
        "de"
    );
}

/// Markup made of known words, with tags opened, closed and broken at random.
fn markup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,8} ",
        2 => prop::sample::select(vec![
            "<p>", "</p>", "<div class='a-b'>", "</div>", "<li>", "</li>", "<ul>", "</ul>", "<td>", "</td>", "<tr>",
            "<table>", "</table>", "<a href=\"x\">", "</a>", "<b>", "</b>", "<br>", "<hr/>", "<h2>", "</h2>", "<pre>",
            "</pre>", "<!-- c -->", "<script>x</script>", "</section>", "<x-y>", "</x-y>", "<option>", "<body>",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_word_is_in_one_block_in_order(html in markup()) {
        let without_tags = regex_free_words(&html);
        let found: Vec<String> = texts(&html).iter().flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
        prop_assert_eq!(found.concat(), without_tags.concat());
    }

    #[test]
    fn nodes_cover_their_blocks(html in markup()) {
        let page = parse(&html);
        for (at, node) in page.nodes.iter().enumerate().skip(1) {
            let parent = &page.nodes[node.parent as usize];
            prop_assert!((node.parent as usize) < at);
            prop_assert!(parent.blocks.start <= node.blocks.start && node.blocks.end <= parent.blocks.end);
        }
        for (at, block) in page.blocks.iter().enumerate() {
            prop_assert!(page.nodes[block.node as usize].blocks.contains(&(at as u32)));
        }
    }
}

/// The words of such markup, tags, comments and scripts cut out by hand.
fn regex_free_words(html: &str) -> Vec<String> {
    let html = html
        .replace("<script>x</script>", " ")
        .replace("<!-- c -->", " ");
    let mut words = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => {
                inside = true;
                words.push(' ');
            }
            '>' => inside = false,
            _ if !inside => words.push(c),
            _ => {}
        }
    }
    words.split_whitespace().map(str::to_owned).collect()
}
