//! What is kept, given how probable each block is: units stay whole, equals stay together, copies go.

use curate_html::choose::{Choice, Why, choose};
use curate_html::features::measured::Measured;
use curate_html::features::second;
use curate_html::kinds::{DOCUMENTATION, KINDS, Kinds, SERVICE};
use curate_html::units::Units;
use curate_html::{Comments, Linear, Policy, parse};

/// Decides about a page whose blocks end in their probability in percent: `<p>some words 80`.
fn chosen(html: &str, policy: Policy) -> (Vec<String>, Choice) {
    chosen_of(html, policy, 1.0)
}

/// The same where this share of the page's words is known.
fn chosen_of(html: &str, policy: Policy, known_words: f32) -> (Vec<String>, Choice) {
    chosen_on(html, policy, known_words, [1.0 / 7.0; 7])
}

/// The same where these kinds of page are so probable.
fn chosen_on(html: &str, policy: Policy, known_words: f32, kinds: Kinds) -> (Vec<String>, Choice) {
    let page = parse(html).expect("no page here has too many blocks");
    let texts: Vec<String> = (0..page.blocks.len())
        .map(|block| page.text_of(block).into_owned())
        .collect();
    let percent = |text: &String| text.rsplit(' ').next()?.parse::<f32>().ok();
    let probabilities: Vec<f32> = texts
        .iter()
        .map(|text| percent(text).unwrap_or_else(|| panic!("no percentage in {text:?}")) / 100.0)
        .collect();
    let mut measured = Measured::default();
    measured.measure(&page, &Linear::untrained());
    measured.known_words = known_words;
    let choice = choose(
        &page,
        &measured,
        &Units::of(&page),
        &kinds,
        &probabilities,
        Comments::Keep,
        policy,
    );
    (texts, choice)
}

fn kept(html: &str) -> Vec<String> {
    let (texts, choice) = chosen(html, Policy::Balanced);
    let pairs = texts.into_iter().zip(choice.kept);
    pairs
        .filter(|(_, kept)| *kept)
        .map(|(text, _)| text)
        .collect()
}

/// Two paragraphs that are surely kept, around what is looked at; menu and footer that are surely not.
fn page(middle: &str) -> String {
    let sentence = "a sentence of an article that goes on for a while, as sentences of articles do";
    format!(
        "<ul class=menu><li>Home 2<li>About us 2</ul><div><p>{sentence} 98</p>{middle}<p>and {sentence} 97</p></div>\
         <footer>All rights reserved 1</footer>"
    )
}

fn middle_of(html: &str) -> Vec<String> {
    let kept = kept(&page(html));
    kept[1..kept.len() - 1].to_vec()
}

#[test]
fn a_row_is_kept_whole_or_dropped_whole() {
    let table =
        "<table><tr><td>rain of the year 90<td>x 20<tr><td>snow of the year 85<td>y 30</table>";
    assert_eq!(
        middle_of(table),
        ["rain of the year 90", "x 20", "snow of the year 85", "y 30"]
    );
    let mixed = "<table><tr><th>what 30<th>how much 30\
                 <tr><td>rain of the year 95<td>x 90<td>the same every year 90\
                 <tr><td>more of our pages 4<td>x 95<td>read them all, every one of them, today 3\
                 <tr><td>more of our offers 4<td>read all of them too 3<td>y 3</table>";
    assert_eq!(
        middle_of(mixed),
        [
            "what 30",
            "how much 30",
            "rain of the year 95",
            "x 90",
            "the same every year 90"
        ]
    );
}

#[test]
fn rows_and_items_stay_with_those_that_are_kept_where_their_probability_falls() {
    let other = "all the other pages that we have, every one of them, today and tomorrow and on any other day 1";
    let among = |html: &str, known| {
        let (texts, choice) = chosen_of(&page(html), Policy::Balanced, known);
        let why = |text: &str| {
            let at = texts.iter().position(|own| own.starts_with(text));
            at.map(|at| (choice.kept[at], matches!(choice.why[at], Why::Among(_))))
        };
        [why("rain"), why("snow"), why("all")].map(Option::unwrap_or_default)
    };
    let stays = [(true, false), (true, true), (false, false)];
    let table = format!(
        "<table><tr><td>of 90<td>rain 90<tr><td>of 27<td>snow and more of it 27\
         <tr><td>read 1<td>{other}</table>"
    );
    assert_eq!(among(&table, 1.0), stays);
    assert_eq!(among(&table, 0.2), stays);
    let list = format!("<ul><li>rain 90<li>snow and more of it 27<li>{other}</ul>");
    assert_eq!(among(&list, 1.0), stays);
    assert_eq!(
        among(&list, 0.2),
        [(true, false), (false, false), (false, false)]
    );
}

#[test]
fn a_table_that_lays_the_page_out_holds_nothing_together() {
    let long = "words ".repeat(300);
    let html = format!(
        "<table><tr><td>menu 2<td>{long} 95<tr><td>footer of it 2<td>end of the text 90</table>"
    );
    let texts = kept(&html);
    assert_eq!(texts.len(), 2, "{texts:?}");
}

#[test]
fn linked_items_stay_in_a_list_and_a_term_with_its_definition() {
    let list =
        "<ul><li>the first thing to do 90<li><a href=x>link 20</a><li>the last thing to do 80</ul>";
    assert_eq!(middle_of(list).len(), 3);
    let definitions = "<dl><dt>rime 30<dd>ice that fog leaves on trees and wires 90\
                       <dt>graupel 20<dd>snow in the shape of small pellets 88</dl>";
    assert_eq!(middle_of(definitions).len(), 4);
    let between = "<dl><dt>rime 45<dd>ice of fog 45<dt>graupel 45<dd>pellets of snow 45</dl>";
    assert_eq!(middle_of(between).len(), 4);
}

#[test]
fn a_listing_stays_with_the_text_that_introduces_it() {
    assert_eq!(
        middle_of("<pre>go(1) 30</pre><h2>next 60</h2><pre>go(2) 30</pre>").len(),
        3
    );
    let alone = format!("{}<div><pre>go(3) 30</pre></div>", page(""));
    assert!(!kept(&alone).iter().any(|text| text.contains("go(3)")));
}

#[test]
fn blocks_of_equal_markup_stay_together_where_their_probability_falls() {
    let entries: String = (0..12)
        .map(|i| {
            format!(
                "<div class=entry>an entry of many that look alike {}</div>",
                88 - 4 * i
            )
        })
        .collect();
    assert_eq!(middle_of(&entries).len(), 12);
}

#[test]
fn notes_that_kept_text_cites_are_kept_with_their_heading() {
    let cites =
        "<p>as was found<sup><a href=#n1>[1]</a></sup> and found again<a href='?x#b'>2</a> 90</p>";
    let notes = "<h2>Notes 10</h2><ol><li id=n1>a book of long ago 5<li><a name=b></a>another one 4<li>a third 3</ol>";
    assert_eq!(middle_of(&format!("{cites}{notes}")).len(), 5);
    let unordered = notes.replace("ol>", "ul>");
    let longer = cites
        .replace("[1]", "the chapter of this name")
        .replace(">2<", ">and that one<");
    let cited_by_itself = notes.replace("a book", "<a href=#b>1</a> a book <a href=#n1>2</a>");
    for middle in [
        format!("{cites}{unordered}"),
        format!("{longer}{notes}"),
        cited_by_itself,
    ] {
        let kept = middle_of(&middle);
        assert!(
            !kept.iter().any(|text| text.contains("long ago")),
            "{kept:?}"
        );
    }
}

#[test]
fn the_headline_of_kept_text_is_kept() {
    let html = "<h1>Of rain and snow 35</h1><p>a long sentence of an article, which goes on and on for long 97</p>\
                <p>footer 1</p>";
    assert_eq!(kept(html).len(), 2);
}

#[test]
fn an_entry_of_the_contents_is_no_copy_of_the_heading_that_it_links_to() {
    let contents = "<ul><li><a href=#n>of the wind that blows from the north 90</a>\
                    <li><a href=#s>of the one that blows from the south 90</a></ul>";
    let sections = "<h2 id=n>of the wind that blows from the north 90</h2><p>it is cold 90</p>\
                    <h2 id=s>of the one that blows from the south 90</h2><p>it is not 90</p>";
    assert_eq!(middle_of(&format!("{contents}{sections}")).len(), 6);
}

#[test]
fn a_copy_for_small_screens_is_dropped_and_what_repeats_among_its_own_is_not() {
    let verse = "<p>and the rain it raineth every day, with hey and ho 90</p>";
    let verses = verse.repeat(3);
    assert_eq!(middle_of(&verses).len(), 3);
    let command = "<p>run it now 90</p><pre>curate extract crawl/a.warc.gz --out out 90</pre>\
                   <p>and once more 90</p><pre>curate extract crawl/a.warc.gz --out out 90</pre>";
    assert_eq!(middle_of(command).len(), 4);
    let row = "<tr><td>no support, as far as anyone of us knows 90<td>9 months 90";
    assert_eq!(middle_of(&format!("<table>{row}{row}</table>")).len(), 4);
    let copy = "<div class=mobile><p>a sentence that stands on the page for small screens again 90</p></div>\
                <div class=desktop><p>a sentence that stands on the page for small screens again 90</p></div>";
    assert_eq!(middle_of(copy).len(), 1);
}

#[test]
fn a_page_of_nothing_but_a_menu_has_no_content() {
    assert!(kept("<ul><li>Home 3<li>About us 4</ul><p>All rights reserved 2</p>").is_empty());
    // What a script would have filled: the best is a greeting in the menu.
    let shell = "<ul><li>I am looking for 27</ul><p>Help 17</p><p>All rights reserved 2</p>";
    let count = |policy: Policy| chosen(shell, policy).1.kept.iter().filter(|&&k| k).count();
    assert_eq!([Policy::Precision, Policy::Balanced].map(count), [0, 0]);
    assert_eq!(count(Policy::Recall), 2);
    assert_eq!(
        kept("<p>a short notice and nothing else 32</p><p>All rights reserved 2</p>").len(),
        1
    );
}

#[test]
fn in_an_unknown_language_what_stands_beside_an_article_is_measured_by_it() {
    let text = "and goes on for a long while, as the text of an article does ".repeat(5);
    let teasers = "<p class=a>a teaser of another article, as it seems 60</p>".repeat(9);
    let count = |html: &str, known| {
        let (_, choice) = chosen_of(html, Policy::Balanced, known);
        choice.kept.iter().filter(|&&kept| kept).count()
    };
    let article = page(&format!(
        "<p>the article begins {text} 97</p></div><div>{teasers}"
    ));
    assert_eq!((count(&article, 0.9), count(&article, 0.2)), (12, 3));
    let table =
        "<table><tr><td>rain of the year 80<td>9 80<tr><td>snow of the year 80<td>8 80</table>";
    let with_table = article.replace("</div><div>", &format!("{table}</div><div>"));
    assert_eq!(count(&with_table, 0.2), 7);
    let list = page(&teasers);
    assert_eq!((count(&list, 0.9), count(&list, 0.2)), (11, 11));
}

#[test]
fn policies_move_the_threshold() {
    let html = page(
        "<p class=likely>a paragraph that is likely, as it seems to be 72</p><p class=other>one that is hardly likely at all 28</p>",
    );
    let counts = [Policy::Precision, Policy::Balanced, Policy::Recall].map(|policy| {
        let (_, choice) = chosen(&html, policy);
        choice.kept.iter().filter(|&&kept| kept).count()
    });
    assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
}

#[test]
fn every_cell_of_a_row_is_decided_alike() {
    use proptest::prelude::*;
    let cell = (0..100_u32, "[a-z]{1,9}( [a-z]{1,9}){0,4}");
    let row = prop::collection::vec(cell, 1..5);
    let tables = prop::collection::vec(row, 2..6);
    proptest!(|(rows in tables)| {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells: String = row.iter().map(|(p, text)| format!("<td>{text} {p}")).collect();
                format!("<tr>{cells}")
            })
            .collect();
        let html = page(&format!("<table>{}</table>", rows.concat()));
        let parsed = parse(&html).expect("few blocks");
        let (_, choice) = chosen(&html, Policy::Balanced);
        for node in parsed.nodes.iter().filter(|node| node.tag.name() == "tr") {
            let row = &choice.kept[node.blocks.start as usize..node.blocks.end as usize];
            prop_assert!(rows.iter().all(|row| row.matches("<td>").count() < 2) || row.iter().all(|&kept| kept == row[0]));
        }
    });
}

#[test]
fn less_is_asked_for_inside_the_content_than_beside_it() {
    let html = page("<p class=inside>a likely paragraph of a few words 63</p>");
    let beside = "<p class=beside>as likely a paragraph, elsewhere 63</p><p class=legal>all the rights to what stands \
                  here and above are reserved by those who made it, drew it and wrote it down 1</p>";
    let (texts, choice) = chosen(&format!("{html}{beside}"), Policy::Balanced);
    let found = |class: &str| {
        let at = texts.iter().position(|text| text.starts_with(class));
        at.map(|at| choice.kept[at])
    };
    assert_eq!(
        (found("a likely"), found("as likely")),
        (Some(true), Some(false)),
        "{:?}",
        choice.limits
    );
}

#[test]
fn less_is_asked_for_on_documentation_inside_the_content_and_on_services_everywhere() {
    let html = "<p>before the content there is a line 35<div><p>a long sentence of the content, with many words in it 95\
                <ul><li>an entry 24<li>another 23</ul><p>another sentence of the content, with as many words 94</div>";
    let count = |kind: usize, p: f32, known_words: f32| {
        let mut kinds = [(1.0 - p) / 6.0; KINDS.len()];
        kinds[kind] = p;
        let (_, choice) = chosen_on(html, Policy::Balanced, known_words, kinds);
        choice.kept.iter().filter(|&&kept| kept).count()
    };
    assert_eq!(count(0, 0.9, 1.0), 2);
    assert_eq!(
        [0.25, 0.45, 0.9].map(|p| count(DOCUMENTATION, p, 1.0)),
        [2, 4, 4]
    );
    assert_eq!([0.5, 0.9].map(|p| count(DOCUMENTATION, p, 0.0)), [2, 4]);
    assert_eq!([0.4, 0.9].map(|p| count(SERVICE, p, 1.0)), [2, 5]);
    assert_eq!(
        [KINDS[DOCUMENTATION], KINDS[SERVICE]],
        ["documentation", "service"]
    );
}

/// The second stage's feature of this name for every block of a page, to three places.
fn feature(html: &str, said: &[f32], name: &str) -> Vec<f32> {
    let page = parse(html).expect("no page here has too many blocks");
    let mut measured = Measured::default();
    measured.measure(&page, &Linear::untrained());
    let units = Units::of(&page);
    let view = second::View::new(&page, &measured, &units, said);
    let place = second::names().iter().position(|(own, _, _)| own == name);
    let place = place.unwrap_or_else(|| panic!("no feature {name}"));
    let row = |block| {
        let mut row = Vec::new();
        view.write(block, &mut row);
        row[place]
    };
    (0..page.blocks.len())
        .map(|block| (row(block) * 1000.0).round() / 1000.0)
        .collect()
}

#[test]
fn equal_elements_have_one_mean_whatever_their_ids() {
    let html = "<section id=first><p>three words here</p></section>\
                <section id=second><p>three words there</p></section>";
    assert_eq!(feature(html, &[0.2, 0.8], "said.alike"), [0.2, 0.8]);
    assert_eq!(feature(html, &[0.2, 0.8], "said_area.elements"), [0.5, 0.5]);
}

#[test]
fn places_are_told_relative_to_the_area_that_is_content() {
    let html = "<ul><li>Home and more<li>About all this</ul>\
                <div><p>one two three</p><p>four five six</p></div><p>at the end</p>";
    let said = [0.1, 0.1, 0.9, 0.7, 0.1];
    assert_eq!(
        feature(html, &said, "said_area.before"),
        [-1.0, -1.0, 0.0, 0.5, 2.0]
    );
    assert_eq!(feature(html, &said, "said_area.of_area")[3], 0.875);
    assert_eq!(feature(html, &said, "said_area.unit")[0], 0.1);
    assert_eq!(feature(html, &said, "said_area.unit")[2], -1.0);
}

#[test]
fn an_article_in_an_unknown_language_keeps_its_headline_and_lede() {
    let sentence = "zdanie artykułu, które trwa przez chwilę, jak to mają w zwyczaju zdania wszystkich artykułów";
    let other = format!("<p>{sentence} 2").repeat(9);
    let article = format!("<p>{sentence} 98").repeat(9);
    let html = format!(
        "<title>Deszcz w górach - Dziennik 1</title><ul><li>Strona główna 2</ul><h1>Deszcz w górach 12</h1>\
         <div>Anna Nowak, wtorek 82</div><div>{sentence} 83</div><section>{other}</section><div>{article}</div>\
         <div>Przeczytaj też, co pisaliśmy o śniegu 83</div><h1>Śnieg w dolinach 12</h1>"
    );
    let (texts, choice) = chosen_of(&html, Policy::Balanced, 0.1);
    let names = |kept: bool| -> Vec<&str> {
        let pairs = texts.iter().zip(&choice.kept);
        pairs
            .filter(|(_, k)| **k == kept)
            .filter_map(|(text, _)| text.rsplit(' ').next())
            .collect()
    };
    assert_eq!(names(true)[..3], ["12", "82", "83"]);
    assert_eq!(names(false)[10..], ["83", "12"]);
    // Without the title nothing tells the headline; in a language that the model knows, its own word counts.
    let untitled = html
        .replace("Dziennik", "")
        .replacen("Deszcz w górach", "", 1);
    for (html, known) in [(untitled, 0.1), (html, 1.0)] {
        assert!(!chosen_of(&html, Policy::Balanced, known).1.kept[1]);
    }
}
