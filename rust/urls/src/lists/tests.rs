use super::*;

fn lists(all: &[(Kind, &str)]) -> Lists {
    let mut made = Lists::new(2);
    for (kind, lines) in all {
        made.add(*kind, lines.as_bytes()).expect("a list");
    }
    made.build().expect("lists");
    made
}

fn entry(lists: &Lists, url: &str) -> Option<String> {
    lists.find(url).map(|hit| hit.entry)
}

#[test]
fn a_domain_stands_for_all_hosts_below_it_and_for_no_other() {
    let found = lists(&[(
        Kind::Domains,
        "# a comment\nBad.Example.COM\r\n0.0.0.0 hosts.test\nwww.site.test\n10.0.0.7\n",
    )]);
    for url in [
        "http://bad.example.com/",
        "https://www.bad.example.com/x",
        "http://a.b.bad.example.com:80/",
        "HTTP://BAD.EXAMPLE.COM",
        "http://hosts.test/",
        "http://site.test/",
        "http://x.site.test/",
        "http://10.0.0.7/a",
    ] {
        assert!(entry(&found, url).is_some(), "{url}");
    }
    for url in [
        "http://example.com/bad.example.com",
        "http://notbad.example.com/",
        "http://bad.example.com.test/",
        "",
        "http://110.0.0.7/",
    ] {
        assert_eq!(entry(&found, url), None, "{url}");
    }
}

#[test]
fn a_public_suffix_is_its_own_host_only() {
    let mut made = Lists::new(2);
    let added = made
        .add(Kind::Domains, b"blogspot.com\ncom\na.blogspot.com")
        .expect("a list");
    assert_eq!((added.entries, added.suffixes, added.unread), (3, 2, 0));
    made.build().expect("lists");
    assert_eq!(
        entry(&made, "http://blogspot.com/x").as_deref(),
        Some("blogspot.com")
    );
    assert_eq!(entry(&made, "http://b.blogspot.com/"), None);
    assert_eq!(
        entry(&made, "http://x.a.blogspot.com/").as_deref(),
        Some("a.blogspot.com")
    );
}

#[test]
fn an_address_is_on_a_list_with_all_that_is_below_it() {
    let found = lists(&[(
        Kind::Urls,
        "http://www.example.com/Bad/\nexample.org/page?id=7",
    )]);
    for url in [
        "https://example.com/bad",
        "http://example.com/bad/x",
        "http://EXAMPLE.com/BAD?x",
        "http://example.org/page?id=7&x=1",
    ] {
        assert!(entry(&found, url).is_some(), "{url}");
    }
    for url in [
        "http://example.com/badly",
        "http://example.com/",
        "http://sub.example.com/bad",
        "http://example.org/page?id=77",
    ] {
        assert_eq!(entry(&found, url), None, "{url}");
    }
}

#[test]
fn of_adblock_rules_the_plain_domains_are_read() {
    let mut made = Lists::new(2);
    let file = b"[Adblock Plus 2.0]\n! comment\n||ads.test^\n||ads2.test^$third-party\n@@||good.test^\n/banner/*\nexample.com##.ad\n||x.test/path^\n";
    let added = made.add(Kind::Adblock, file).expect("a list");
    assert_eq!((added.entries, added.unread), (1, 5));
    assert_eq!(
        entry(&made, "http://a.ads.test/").as_deref(),
        Some("ads.test")
    );
    assert_eq!(entry(&made, "http://ads2.test/"), None);
}

#[test]
fn words_are_whole_subwords_are_not_and_soft_ones_must_be_two() {
    let found = lists(&[
        (Kind::Words, "Casino\n\u{43f}\u{43e}\u{440}\u{43d}\u{43e}"),
        (Kind::Subwords, "free-poker"),
        (Kind::SoftWords, "hot\nteen\n"),
    ]);
    assert_eq!(
        entry(&found, "http://a.test/best-CASINO_games").as_deref(),
        Some("casino")
    );
    assert_eq!(entry(&found, "http://a.test/casinos"), None);
    assert_eq!(
        entry(&found, "http://a.test/%D0%BF%D0%BE%D1%80%D0%BD%D0%BE").as_deref(),
        Some("\u{43f}\u{43e}\u{440}\u{43d}\u{43e}")
    );
    assert_eq!(
        entry(&found, "http://myFREE.poker-x.test/").as_deref(),
        Some("freepoker")
    );
    assert_eq!(entry(&found, "http://a.test/hot-hot"), None);
    assert_eq!(
        entry(&found, "http://a.test/hot-teen").as_deref(),
        Some("hot teen")
    );
    assert_eq!(
        found.find("http://a.test/hot-teen").map(|hit| hit.list),
        Some(2)
    );
}

proptest::proptest! {
    #[test]
    fn domains_are_found_as_a_plain_search_finds_them(
        listed in proptest::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){1,2}\\.test", 0..20),
        host in "[ab]{1,2}(\\.[ab]{1,2}){0,4}\\.test",
    ) {
        let found = lists(&[(Kind::Domains, &listed.join("\n"))]);
        let below = |entry: &String| host == *entry || host.ends_with(&format!(".{entry}"));
        proptest::prop_assert_eq!(entry(&found, &format!("http://{host}/")).is_some(), listed.iter().any(below));
    }
}
