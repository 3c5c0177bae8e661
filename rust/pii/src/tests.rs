use super::*;
use curate_text::Offsets;
use proptest::prelude::*;

fn redacted(text: &str) -> String {
    let offsets = [0, text.len() as i64];
    let placeholders = Placeholders {
        email: Some("<EMAIL>"),
        ip: Some("<IP>"),
    };
    let out = redact(
        Texts::new(Offsets::Large(&offsets), text.as_bytes()),
        placeholders,
    )
    .unwrap();
    let mut rebuilt = String::new();
    let mut copied = 0;
    for hit in &out.hits {
        assert!(copied <= hit.start && hit.start < hit.end);
        rebuilt += &text[copied..hit.start];
        rebuilt += if hit.kind == Kind::Email {
            "<EMAIL>"
        } else {
            "<IP>"
        };
        copied = hit.end;
    }
    rebuilt += &text[copied..];
    assert_eq!(
        rebuilt.as_bytes(),
        out.values,
        "spans and text tell the same"
    );
    rebuilt
}

#[test]
fn what_is_replaced() {
    for (text, expected) in [
        (
            "write to jane.doe+x@mail.example.co.uk.",
            "write to <EMAIL>.",
        ),
        ("<a_b%c@x-y.org>, 'o'neill@x.ie'", "<<EMAIL>>, '<EMAIL>'"),
        ("jöse@example.com", "<EMAIL>"),
        ("请联系foo@bar.com谢谢", "请联系<EMAIL>谢谢"),
        ("a@b.com,c@d.org", "<EMAIL>,<EMAIL>"),
        ("x@xn--bcher-kva.xn--p1ai", "<EMAIL>"),
        ("a@b.com-c", "<EMAIL>-c"),
        (
            "8.8.8.8 and 8.8.4.4:53, 1.1.1.1/24.",
            "<IP> and <IP>:53, <IP>/24.",
        ),
        ("[2001:4860:4860::8888]:80", "[<IP>]:80"),
        ("at 2a00:1450:4001:81b::200e.", "at <IP>."),
        ("192.0.1.7@example.com", "<EMAIL>"),
        ("1.2.3.4", "<IP>"),
    ] {
        assert_eq!(redacted(text), expected);
    }
}

#[test]
fn what_stays() {
    for text in [
        "@jack and @jill@mastodon.social",
        "a @ b.com",
        "me@localhost",
        "pkg@1.2.3",
        "icon@2x.png",
        "a.@b.com",
        "@",
        "a@b.c",
        "127.0.0.1 192.168.1.9 10.0.0.1 172.16.5.5 169.254.1.1 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255",
        "192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1",
        "version 1.2.3.4, v5.6.7.8, Firmware: 9.9.9.9",
        "1.2.3.4.5 1.2.3 256.1.1.1 01.2.3.4 1.2.3.4-beta 1.2.3.4a x1.2.3.4",
        "12:30:45 2023:10:11",
        "2001:db8::1 2001::1",
        "fe80::1 ::1 fc00::2",
        "2000::foo",
        "2001:4860",
        "3.14159.26535.89793",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn a_kind_without_placeholder_stays() {
    let mut hits = Vec::new();
    find("a@b.com 8.8.8.8", false, true, &mut hits);
    assert_eq!(
        hits,
        [Hit {
            kind: Kind::Ip,
            start: 8,
            end: 15
        }]
    );
    find("a@b.com 8.8.8.8", true, false, &mut hits);
    assert_eq!(
        hits,
        [Hit {
            kind: Kind::Email,
            start: 0,
            end: 7
        }]
    );
}

/// Twice the input takes about twice the time; quadratic matchers would take minutes here.
#[test]
fn hostile_input_takes_linear_time() {
    let start = std::time::Instant::now();
    for unit in [
        "a.a.a.", "@", "1", "1:", "a@", "1.1.", "a.b@c.", "2001:", "1.2.3.4.", "é@", "x@a-", "@a.b",
    ] {
        redacted(&unit.repeat(1_000_000 / unit.len()));
    }
    assert!(
        start.elapsed().as_secs_f64() < 20.0,
        "{:?}",
        start.elapsed()
    );
}

proptest! {
    #[test]
    fn any_text_is_cut_at_characters(text in r"([a-z0-9.@:_'é漢-]|\PC|[a-z]@[a-z]\.com|8\.8\.8\.8){0,60}") {
        redacted(&text);
    }
}
