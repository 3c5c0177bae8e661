use super::*;

/// A small language of the same make: brackets and marks as affixes, a hyphen as infix, a few special cases.
fn small() -> English {
    let special = [
        ("don't", vec!["do", "n't"]),
        (":)", vec![":)"]),
        ("a.m.", vec!["a.m."]),
    ];
    English::new(&EnglishRules {
        prefix: r#"^[("…]|^\.\.+"#.into(),
        suffix: r#"[)".,…]$|\.\.+$|(?<=[0-9])(?:km|%)$"#.into(),
        infix: r"(?<=[a-z])[-–](?=[a-z])|\.\.+|…".into(),
        url: r"^(?:www\.)?[a-z]+\.(?:org|com)$".into(),
        special: special
            .iter()
            .map(|(key, words)| {
                (
                    key.to_string(),
                    words.iter().map(ToString::to_string).collect(),
                )
            })
            .collect(),
    })
    .unwrap()
}

fn words(english: &mut English, text: &str) -> Vec<String> {
    let mut spans = vec![];
    english.words(text, &mut spans);
    spans
        .iter()
        .map(|word| text[word.from as usize..word.to as usize].to_owned())
        .collect()
}

#[test]
fn affixes_infixes_and_special_cases() {
    let mut english = small();
    for _cold_then_warm in 0..2 {
        for (text, expected) in [
            (
                "(well-known) \u{a0} words.",
                vec!["(", "well", "-", "known", ")", "words", "."],
            ),
            ("I don't.", vec!["I", "do", "n't", "."]),
            ("at 5 a.m.", vec!["at", "5", "a.m."]),
            (
                "see www.example.org, 20km",
                vec!["see", "www.example.org", ",", "20", "km"],
            ),
            ("yes…no", vec!["yes", "…", "no"]),
            ("(:)", vec!["(", ":)"]),
            ("", vec![]),
            (" \t\n", vec![]),
        ] {
            assert_eq!(words(&mut english, text), expected, "{text}");
        }
    }
}

#[test]
fn long_chunks_take_linear_time() {
    let mut english = small();
    assert_eq!(words(&mut english, &"x.".repeat(4_000_000)).len(), 1);
    let dots = "…".repeat(MOST / 3);
    assert_eq!(words(&mut english, &dots).len(), MOST / 3);
    let pages = format!("{dots}x {dots}y {dots}z ").repeat(3);
    assert_eq!(words(&mut english, &pages).len(), 9 * (MOST / 3 + 1));
}

#[test]
fn a_pattern_that_is_none_is_named() {
    let rules = EnglishRules {
        prefix: "(".into(),
        suffix: String::new(),
        infix: String::new(),
        url: String::new(),
        special: vec![],
    };
    let message = English::new(&rules).unwrap_err().to_string();
    assert!(message.starts_with("the prefix pattern"), "{message}");
}
