use super::*;
use proptest::prelude::*;

/// A small language of the same make: brackets and marks as affixes, a hyphen as infix, a few special cases.
fn small() -> English {
    English::new(&small_rules()).unwrap()
}

fn small_rules() -> EnglishRules {
    let special = [
        ("don't", vec!["do", "n't"]),
        (":)", vec![":)"]),
        ("a.m.", vec!["a.m."]),
    ];
    EnglishRules {
        prefix: r#"^[("…]|^\.\.+|^\+(?![0-9])|^US\$|^\+\+"#.into(),
        suffix: r#"[)",…]$|\.\.+$|(?<=[0-9])(?:k?m²?|%)$|(?<=[a-zé)])\.$|(?<=°[CF])\.$|(?<=[A-Z][A-Z])\.$"#.into(),
        infix: r"(?<=[a-zé])(?:-|–|--|~)(?=[a-zé])|\.\.+|…|(?<=[0-9])[+*](?=[0-9-])".into(),
        url: r"^(?:\S+@)?(?:(?!10)[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[a-z]{0,62}[a-z]\.(?:org|com))(?:/\S*)?$".into(),
        special: special
            .iter()
            .map(|(key, words)| {
                (
                    key.to_string(),
                    words.iter().map(ToString::to_string).collect(),
                )
            })
            .collect(),
    }
}

/// The same without automata: every pattern goes to the engine that goes back and tries again.
fn by_patterns(rules: &EnglishRules) -> English {
    let mut made = English::new(rules).unwrap();
    (made.prefix.1, made.suffix.1, made.infix.1) = (None, None, None);
    (made.url.1, made.plain_letters) = (Whole::default(), false);
    made
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
                "see me@example.org, 20km",
                vec!["see", "me@example.org", ",", "20", "km"],
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

/// Pieces that the patterns are about, and letters.
fn texts() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "word",
        "é",
        "AB",
        "U",
        "US",
        "$",
        "0",
        "10",
        "km",
        "m",
        "²",
        "%",
        ".",
        "..",
        "-",
        "–",
        "~",
        "+",
        "*",
        "…",
        "(",
        ")",
        "\"",
        ",",
        "°C",
        "@",
        "example.org",
        "10.0.0.1",
        "1.2.3.4",
        "/",
        "don't",
        ":)",
        "a.m.",
        " ",
        "\n",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..14)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn automata_match_what_the_patterns_match(text in texts(), letters in "[a-zA-Z]{1,18}[.,$%m ]?") {
        let rules = small_rules();
        let (mut ours, mut theirs) = (English::new(&rules).unwrap(), by_patterns(&rules));
        prop_assert!(ours.prefix.1.is_some() && ours.suffix.1.is_some() && ours.infix.1.is_some());
        prop_assert!(ours.plain_letters);
        let text = format!("{letters} {text} {letters} and what fills the rest");
        prop_assert_eq!(words(&mut ours, &text), words(&mut theirs, &text));
    }
}

#[test]
fn letters_are_plain_only_where_no_pattern_can_match_in_them() {
    for (prefix, suffix, infix, url) in [
        ("^un", "s$", "x", "^w$"),
        ("^un", ",$", "-", "^w\\.$"),
        ("^\\+", "(?<=[a-z])ing$", "-", "^w\\.$"),
        ("^\\+", ",$", "(?<=c)k(?=[a-z])", "^w\\.$"),
        ("^\\+", ",$", "-", "^(?!w)[a-z]+$"),
        ("^\\+", ",$", "\\b-", "^w\\.$"),
    ] {
        let rules = EnglishRules {
            prefix: prefix.into(),
            suffix: suffix.into(),
            infix: infix.into(),
            url: url.into(),
            special: vec![],
        };
        let (mut ours, mut theirs) = (English::new(&rules).unwrap(), by_patterns(&rules));
        assert!(!ours.plain_letters, "{rules:?}");
        let text = "under thinking, hacks un-w\u{e9}, w. and what fills the rest";
        assert_eq!(
            words(&mut ours, text),
            words(&mut theirs, text),
            "{rules:?}"
        );
    }
}

#[test]
fn letters_of_all_bytes() {
    for byte in 0..=255_u8 {
        for place in 0..16 {
            let mut bytes = *b"azAZmMbyBYkKqQxX";
            bytes[place] = byte;
            let expected = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic());
            assert_eq!(letters(u128::from_le_bytes(bytes)), expected.count());
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
