//! Arbitrary bytes through decoder, tokenizer and the whole extractor, on every instruction set.
//!
//!     FUZZ_SECONDS=1800 cargo test --release -p curate-html --test fuzz -- --ignored --nocapture

use curate_html::{Comments, Extractor, Form, Format, Images, Links, Model, Policy, Settings};
use curate_text::Cpu;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Pieces that tokenizers stumble over, between bytes of any kind.
fn page() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "<p>", "<div class=\"a b-c\" id='d'>", "</div>", "<table><tr><td>", "</td>", "<a href=x>", "</a>", "<li>",
            "<pre>", "</pre>", "<script>", "</script>", "<style", "<!--", "-->", "<![CDATA[", "]]>", "<title>", "<svg>",
            "<svg/>", "<textarea>", "<textarea readonly>x\ny", "</textarea>", "<figure><svg><title>x</title><desc>",
            "<del>", "</del>", "<q>", "</q>", "<sup>1</sup>", "<math><mi>x</mi></math>", "$x_1$", "<x-y>", "</x-y>",
            "<table><tr><td rowspan=3>", "<pre class='brush: 1'><ol><li>", "<img alt='😀'>", "<blockquote>", "<code>",
            "<ol start=7 reversed><li>", "&amp;", "&#x", "&#1114112;", "&#0;", "&nbsp", "&", "<", "</", "<a b='", "\" ",
            "<br><br>", "<h1>Title</h1>", "<meta charset=utf-16>", "<meta charset=koi8-r>", "<html lang=xx-yy-zz>",
            "\u{feff}", "\u{ad}", "Some words that look like a sentence, with a comma. ", "我来自北京。", "\0", "\r\n\t ",
            "<script type=application/ld+json>{\"@type\":", "<div style=\"display:none\">", "<ul><li>one<li>two</ul>",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => "\\PC{0,12}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

fn check(model: &Model, page: &[u8]) -> Result<(), TestCaseError> {
    let mut all = Vec::new();
    for cpu in Cpu::all() {
        let mut extractor = Extractor::new(model, cpu);
        for (format, links, images, comments) in [
            (Format::Text, Links::Text, Images::Drop, Comments::Keep),
            (Format::Markdown, Links::Text, Images::Drop, Comments::Keep),
            (
                Format::Markdown,
                Links::Inline,
                Images::Inline,
                Comments::Drop,
            ),
        ] {
            let form = Form {
                format,
                links,
                images,
            };
            let policies = [Policy::Balanced, Policy::Precision, Policy::Recall];
            let settings = Settings { form, comments };
            let extracted = extractor.extract(page, None, settings, &policies);
            let extracted = extracted.map_err(|error| TestCaseError::fail(error.to_string()))?;
            for text in &extracted.texts {
                prop_assert!(
                    (0.0..=1.0).contains(&text.score) && (0.0..=1.0).contains(&text.share)
                );
            }
            all.push(extracted);
        }
    }
    for one in all.chunks(3).skip(1) {
        prop_assert_eq!(one, &all[..3], "a path gives another text");
    }
    // The same is kept, however it is written.
    let letters = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphabetic())
            .collect::<String>()
    };
    for (text, marked) in all[0].texts.iter().zip(&all[1].texts) {
        prop_assert_eq!(letters(&text.text), letters(&marked.text));
        prop_assert_eq!((text.score, text.share), (marked.score, marked.share));
    }
    Ok(())
}

#[test]
fn no_page_makes_the_extractor_fail_and_every_path_gives_the_same() {
    let model = Model::built_in().unwrap();
    let mut runner = TestRunner::new(Config::with_cases(60));
    runner.run(&page(), |page| check(&model, &page)).unwrap();
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz() {
    let seconds: u64 = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    let model = Model::built_in().unwrap();
    let began = std::time::Instant::now();
    let mut cases = 0;
    while began.elapsed().as_secs() < seconds {
        let mut runner = TestRunner::new(Config {
            cases: 2000,
            failure_persistence: None,
            ..Config::default()
        });
        runner.run(&page(), |page| check(&model, &page)).unwrap();
        cases += 2000;
    }
    println!("{cases} pages in {:?}, no finding", began.elapsed());
}
