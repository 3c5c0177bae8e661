use super::*;
use curate_text::Offsets;
use proptest::prelude::*;

fn column(text: &str) -> (Vec<i64>, Vec<u8>) {
    (vec![0, text.len() as i64], text.as_bytes().to_vec())
}

/// The text with every hit replaced, and that spans are in order and at borders of characters.
fn redacted_as(text: &str, kinds: impl IntoIterator<Item = Kind>, style: Style<'_>) -> String {
    let (offsets, values) = column(text);
    let texts = Texts::new(Offsets::Large(&offsets), &values);
    let found = find_all(texts, kinds.into_iter().collect()).unwrap();
    let names: String = found.hits.iter().map(|hit| hit.kind.name()).collect();
    let mut places = vec![0];
    places.extend(found.hits.iter().scan(0, |end, hit| {
        *end += hit.kind.name().len() as i64;
        Some(*end)
    }));
    let starts: Vec<u32> = found.hits.iter().map(|hit| hit.start as u32).collect();
    let ends: Vec<u32> = found.hits.iter().map(|hit| hit.end as u32).collect();
    let kinds = Texts::new(Offsets::Large(&places), names.as_bytes());
    let spans = Spans {
        rows: &found.rows,
        starts: &starts,
        ends: &ends,
        kinds,
    };
    String::from_utf8(replace(texts, spans, style).unwrap().values).unwrap()
}

fn redacted(text: &str) -> String {
    redacted_as(
        text,
        Kind::ALL,
        Style {
            placeholder: "<{type}>",
            realistic: false,
        },
    )
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(&redacted(text), expected, "of {text}");
    }
}

fn stay(texts: &[&str]) {
    for text in texts {
        assert_eq!(&redacted(text), text);
    }
}

#[test]
fn email_addresses() {
    check(&[
        (
            "write to jane.doe+x@mail.example.co.uk.",
            "write to <EMAIL>.",
        ),
        ("<a_b%c@x-y.org>, 'o'neill@x.ie'", "<<EMAIL>>, '<EMAIL>'"),
        (
            "a@b.com,c@d.org;e@f.net|g@h.io",
            "<EMAIL>,<EMAIL>;<EMAIL>|<EMAIL>",
        ),
        ("x@xn--bcher-kva.xn--p1ai a@b.com-c", "<EMAIL> <EMAIL>-c"),
        (
            "192.0.1.7@example.com and 8.8.8.8@example.com",
            "<EMAIL> and <EMAIL>",
        ),
        (
            "mailto:ann@example.org?subject=x",
            "mailto:<EMAIL>?subject=x",
        ),
        (
            "**bold@example.org** `code@example.org`",
            "**<EMAIL>** `<EMAIL>`",
        ),
        // names that are long or unusual
        (&format!("{}@example.org", "n".repeat(200)), "<EMAIL>"),
        (
            "r&d@example.com sales/support@example.com o!k#1@example.com",
            "<EMAIL> <EMAIL> <EMAIL>",
        ),
        ("bounce-12-jane=example.com@lists.example.org", "<EMAIL>"),
        ("/G=Jane/S=Doe/O=Org@gate.example.org", "<EMAIL>"),
        ("to \"jane doe\"@example.org now", "to <EMAIL> now"),
        // what stands beside a name
        (
            "https://example.org/u/ann@example.com",
            "https://example.org/u/<EMAIL>",
        ),
        (
            "example.org/x?mail=ann@example.com&y=1",
            "example.org/x?mail=<EMAIL>&y=1",
        ),
        // names and domains of any script
        ("jöse@example.com info@müller.example", "<EMAIL> <EMAIL>"),
        ("kontakt@bücher.de heute", "<EMAIL> heute"),
        ("иван@пример.рф, 用户@例子.公司。", "<EMAIL>, <EMAIL>。"),
        ("请联系foo@bar.com谢谢", "请联系<EMAIL>谢谢"),
        ("메일foo@bar.com으로 문의", "<EMAIL>으로 문의"),
    ]);
    stay(&[
        "@jack and @jill@mastodon.social",
        "medium.com/@jane.doe users/@jane.doe",
        "a @ b.com me@localhost a.@b.com @ a@b.c",
        "pkg@1.2.3 pkg@1.2.3-beta.rc icon@2x.png",
        "git@example.com:team/tool.git",
        "今天很开心@某人 谢谢@jack.chen",
    ]);
}

#[test]
fn public_ip_addresses() {
    check(&[
        (
            "8.8.8.8 and 8.8.4.4:53, 1.1.1.1/24.",
            "<IP> and <IP>:53, <IP>/24.",
        ),
        (
            "IP:93.184.216.34 from=93.184.216.34 ::93.184.216.34",
            "IP:<IP> from=<IP> <IP>",
        ),
        (
            "“93.184.216.34” ：93.184.216.34、地址93.184.216.34是",
            "“<IP>” ：<IP>、地址<IP>是",
        ),
        (
            "\u{a0}93.184.216.34\u{a0}93.184.216.34에서",
            "\u{a0}<IP>\u{a0}<IP>에서",
        ),
        (
            "93.184.216.34-93.184.216.40 93.184.216.34_access",
            "<IP>-<IP> <IP>_access",
        ),
        ("93.184.216.34.", "<IP>."),
        (
            "[2001:4860:4860::8888]:80 client:2606:4700:4700::1111",
            "[<IP>]:80 client:<IP>",
        ),
        (
            "at 2a00:1450:4001:81b::200e. add:2606:4700::1",
            "at <IP>. add:<IP>",
        ),
        (
            "mapped ::ffff:93.184.216.34 or ::FFFF:5db8:d822",
            "mapped <IP> or <IP>",
        ),
        (
            "64:ff9b::93.184.216.34 0:0:0:0:0:FFFF:93.184.216.34",
            "<IP> <IP>",
        ),
        ("\"2606:4700::1111\"，“2606:4700::1111”", "\"<IP>\"，“<IP>”"),
        ("1.2.3.4", "<IP>"),
    ]);
    stay(&[
        "127.0.0.1 192.168.1.9 10.0.0.1 172.16.5.5 169.254.1.1 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255",
        "192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1",
        "::ffff:10.0.0.1 64:ff9b::192.168.0.1 2001:db8::1 2001::1 fe80::1 ::1 fc00::2",
        "1.2.3.4.5 1.2.3 256.1.1.1 01.2.3.4 1.2.3.4a x1.2.3.4 2000::foo 2001:4860 3.14159.26535.89793",
        "12:30:45 2023:10:11",
    ]);
}

#[test]
fn versions_are_told_from_addresses_by_what_stands_around() {
    stay(&[
        "version 1.2.3.4, v5.6.7.8, Firmware: 9.9.9.9, versions 1.2.3.4 and 1.2.3.5",
        "Tool/4.0.24.8 (Linux) tool-1.2.3.4.tar.gz lib-1.2.3.4 pkg>=1.2.3.4 1.2.3.4-beta 1.2.3.4-1ubuntu2",
        "Section 1.2.3.4 of it, opencv 4.8.0.76, Player 10.0.32.18, Tool 5.3.2.77, Section\u{a0}7.8.2.1",
        "7.8 Plans\n7.8.2 Windows\n7.8.2.1 One\n7.8.2.2 Two\n",
    ]);
    check(&[(
        "host-93.184.216.34 ip-8.8.8.8 whois.example/8.8.8.8",
        "host-<IP> ip-<IP> whois.example/<IP>",
    )]);
}

#[test]
fn phone_numbers() {
    check(&[
        (
            "+1 212-555-0143, +44 20 7946 0958, +4930123456",
            "<PHONE>, <PHONE>, <PHONE>",
        ),
        (
            "(212) 555-0143 or 212.555.0143x12, 1-800-555-0143 ext. 9",
            "<PHONE> or <PHONE>, <PHONE>",
        ),
        ("+46 (0)8 928 571 38", "<PHONE>"),
        (
            "+1 212-555-0143 4111 1111 1111 1111 5500 0000 0000 0004 212-555-0143",
            "<PHONE> <CARD> <CARD> <PHONE>",
        ),
        (
            "01 84 17 61 18 and 0490 75 40 81; 0049 30 1234567",
            "<PHONE> and <PHONE>; <PHONE>",
        ),
        (
            "Phone: 555-0143, call 2125550143, fax\n9472 7916",
            "Phone: <PHONE>, call <PHONE>, fax\n<PHONE>",
        ),
        ("416 60 039 office", "<PHONE> office"),
        ("电话：010 1234 5678。", "电话：<PHONE>。"),
        ("tel\u{a0}030\u{a0}1234567", "tel\u{a0}<PHONE>"),
        (
            "1234 5678 9012 345 (212) 555-0143",
            "1234 5678 9012 345 <PHONE>",
        ),
    ]);
    stay(&[
        "ISBN 978-3-16-148410-0 and 0-306-40615-2, ISSN 1234-5678, call for papers ISSN 2049-3630",
        "2016-01-10, 12-31-2019, 1998-2003 2004, 10.12.2020 12:30",
        "3.14159265358979, 1,234,567.89, $212-555-0143, €123 456 789, 123 456 789 €, 12345678%",
        "123 4567 and 9472 7916 and 2125550143 alone",
        "/2125550143/ id#212-555-0143 abc-212-555-0143 212-555-0143-99",
        "hotel 123 4567, Nature (1999) 401-45678",
        "7 12 23 34 45, 07 12 23 34 45",
    ]);
}

#[test]
fn cards_accounts_and_social_security_numbers() {
    check(&[
        (
            "4111 1111 1111 1111, 4111111111111111; 5500-0000-0000-0004",
            "<CARD>, <CARD>; <CARD>",
        ),
        (
            "378282246310005 30569309025904 6011000990139424",
            "<CARD> <CARD> <CARD>",
        ),
        (
            "IBAN:GB82 WEST 1234 5698 7654 32. de89370400440532013000",
            "IBAN:<IBAN>. <IBAN>",
        ),
        ("514-69-0360, ssn 514 69 0360", "<SSN>, ssn <SSN>"),
    ]);
    stay(&[
        "4111 1111 1111 1112, 0000000000000000, 9780306406157, 1234567812345670, +4111111111111111111",
        "GB82 WEST 1234 5698 7654 33, XX82WEST12345698765432, AGB82WEST12345698765432",
        "000-12-3456 666-12-3456 912-12-3456 514-00-0360 514-69-0000 514 69 0360 1514-69-0360",
    ]);
}

#[test]
fn what_is_found_on_demand() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq1xMIIEpAIBAAKCAQEA7bq1xMIIEpAIB\nzzzz+/==\n-----END RSA PRIVATE KEY-----";
    let keys = [
        format!("AKIA{}", "Z7Q2XK4M9P1TB6WD"),
        format!("ghp_{}", "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6"),
    ];
    check(&[
        (
            "00:1A:2b:3c:4D:5e 00-1a-2b-3c-4d-5e 001a.2b3c.4d5e",
            "<MAC> <MAC> <MAC>",
        ),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "<WALLET>"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "<WALLET>"),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "<WALLET>"),
        (
            &format!("use {} or {}!", keys[0], keys[1]),
            "use <API_KEY> or <API_KEY>!",
        ),
        (
            "api_key = \"q8Zr2Lw9Xc4Vb7Nm1Kj6Hg3F\"",
            "api_key = \"<API_KEY>\"",
        ),
        (&format!("key:\n{key}\nend"), "key:\n<PRIVATE_KEY>\nend"),
        (
            &format!("cut short {}", &key[..85]),
            "cut short <PRIVATE_KEY>",
        ),
    ]);
    stay(&[
        "00:00:00:00:00:00 00:1A:2b:3c:4D 12:30:45:00:11:22:33",
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyU bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5 0x5290840009",
        "api_key = \"your_api_key_goes_in_here\" AKIAIOSFODNN ghp_short sk-learn-something",
        "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----",
    ]);
}

#[test]
fn only_the_kinds_asked_for_are_found() {
    let text = "a@b.com 8.8.8.8 (212) 555-0143 4111111111111111 514-69-0360";
    let plain = Style {
        placeholder: "<{type}>",
        realistic: false,
    };
    let of = |kind| redacted_as(text, [kind], plain);
    assert_eq!(
        of(Kind::Email),
        "<EMAIL> 8.8.8.8 (212) 555-0143 4111111111111111 514-69-0360"
    );
    assert_eq!(
        of(Kind::Ip),
        "a@b.com <IP> (212) 555-0143 4111111111111111 514-69-0360"
    );
    assert_eq!(
        of(Kind::Phone),
        "a@b.com 8.8.8.8 <PHONE> 4111111111111111 514-69-0360"
    );
    assert_eq!(
        of(Kind::Card),
        "a@b.com 8.8.8.8 (212) 555-0143 <CARD> 514-69-0360"
    );
    assert_eq!(
        of(Kind::Ssn),
        "a@b.com 8.8.8.8 (212) 555-0143 4111111111111111 <SSN>"
    );
    assert_eq!(of(Kind::Mac), text);
}

#[test]
fn equal_values_have_equal_numbers() {
    let text = "Ann@b.com, bob@b.com and ann@B.COM; +1 212 555 0143, +12125550143, 8.8.8.8";
    let expected = "<EMAIL_1>, <EMAIL_2> and <EMAIL_1>; <PHONE_1>, <PHONE_1>, <IP_1>";
    assert_eq!(
        redacted_as(
            text,
            Kind::ALL,
            Style {
                placeholder: "<{type}_{n}>",
                realistic: false
            }
        ),
        expected
    );
}

#[test]
fn made_up_values_keep_the_form_belong_to_nobody_and_stay() {
    let style = Style {
        placeholder: "<{type}_{n}>",
        realistic: true,
    };
    let text = "Ann@b.com 8.8.8.8 2606:4700::1111 +49 30 123456 (212) 555-0143, 4111 1111 1111 1111, \
                378282246310005, GB82 WEST 1234 5698 7654 32 514-69-0360, 00:1A:2b:3c:4D:5e ann@b.com \
                1BoatSLRHtKNngkdXEeobR76b53LETtpyT";
    let expected = "reader1@example.org 192.0.2.1 2001:db8::2 +44 7700 900000 202-555-0101, 4000 0000 0000 0011, \
                    400000000000023, GB00 0000 0000 0000 0000 01 987-65-4320, 00:00:5E:00:53:00 reader1@example.org \
                    <WALLET_1>";
    let once = redacted_as(text, Kind::ALL, style);
    assert_eq!(once, expected);
    assert_eq!(
        redacted_as(&once, Kind::ALL, style),
        once,
        "a second redaction changes nothing"
    );
    let found: Vec<_> = redacted(&once)
        .match_indices('<')
        .map(|(at, _)| at)
        .collect();
    assert_eq!(
        found.len(),
        6,
        "three addresses, two numbers and the placeholder: {}",
        redacted(&once)
    );
}

#[test]
fn spans_and_placeholders_that_cannot_be_are_refused() {
    let (offsets, values) = column("aé b");
    let texts = Texts::new(Offsets::Large(&offsets), &values);
    let kinds = Texts::new(Offsets::Large(&[0, 1, 2]), b"xx");
    let style = Style {
        placeholder: "<{type}>",
        realistic: false,
    };
    for (rows, starts, ends) in [
        ([0, 0], [0, 1], [1, 2]), // inside a character
        ([0, 0], [0, 0], [1, 1]), // overlap
        ([0, 0], [3, 0], [4, 1]), // order
        ([0, 1], [0, 0], [1, 1]), // no such row
        ([0, 0], [0, 4], [1, 9]), // beyond the end
    ] {
        let spans = Spans {
            rows: &rows,
            starts: &starts,
            ends: &ends,
            kinds,
        };
        assert!(
            matches!(
                replace(texts, spans, style),
                Err(Error::Span { span: 1, .. })
            ),
            "{starts:?}"
        );
    }
    let spans = Spans {
        rows: &[0, 0],
        starts: &[0],
        ends: &[1, 2],
        kinds,
    };
    assert!(matches!(
        replace(texts, spans, style),
        Err(Error::Lengths { starts: 1, .. })
    ));
    for placeholder in ["{", "{x}", "}", "{n", "{TYPE}"] {
        let spans = Spans {
            rows: &[],
            starts: &[],
            ends: &[],
            kinds: Texts::new(Offsets::Small(&[]), &[]),
        };
        let refused = replace(
            texts,
            spans,
            Style {
                placeholder,
                realistic: false,
            },
        );
        assert!(
            matches!(refused, Err(Error::Placeholder { .. })),
            "{placeholder}"
        );
    }
    assert!(matches!(
        Kinds::named(["email", "mail"]),
        Err(Error::UnknownKind { .. })
    ));
}

/// Twice the input takes about twice the time; quadratic matchers would take minutes here.
#[test]
fn hostile_input_takes_linear_time() {
    let start = std::time::Instant::now();
    for unit in [
        "a.a.a.",
        "@",
        "1",
        "1:",
        "a@",
        "1.1.",
        "a.b@c.",
        "2001:",
        "1.2.3.4.",
        "é@",
        "x@a-",
        "@a.b",
        "1 2 3 4 5 ",
        "123 4567 89.01 ",
        "DE89",
        "+1",
        "(1) ",
        "f:1",
        "a@b.com",
        "\"@",
        "\"a\"@b.co",
        "用@例.公",
        "1.2.3.4 and ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "api_key=",
        "AKIA",
        "eyJ.",
        "0x",
        "00:",
        "call 12 ",
        "bc1",
        "a=b@c.d/",
        "a/",
        "/a=@b.co",
        "1-",
        "é1",
        "8.8.8.8-",
    ] {
        redacted(&unit.repeat(500_000 / unit.len()));
    }
    assert!(
        start.elapsed().as_secs_f64() < 20.0,
        "{:?}",
        start.elapsed()
    );
}

proptest! {
    #[test]
    fn any_text_is_cut_at_characters(
        text in r#"([a-z0-9.@:_'é漢/=&+() -]|\PC|[a-z]@[a-z]\.com|8\.8\.8\.8|\+1 212-555-014[0-9]|"|ssn|tel ){0,60}"#
    ) {
        redacted(&text);
        redacted_as(&text, Kind::ALL, Style { placeholder: "", realistic: true });
    }

    #[test]
    fn any_groups_of_digits_are_cut_at_characters(
        text in r#"([0-9]{1,5}[ .()/-]{0,2}|4111 1111 1111 1111 |\+|tel |\(212\) |\xA0| {0,2}|x[0-9]|GB82 |[a-f:]{1,3}|\.[0-9]{1,3}){0,40}"#
    ) {
        redacted(&text);
    }
}
