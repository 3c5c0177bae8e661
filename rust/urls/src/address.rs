//! The one form in which addresses are compared.

use std::borrow::Cow;

/// The parts of an address that lists speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The host: lower case, labels in ASCII, without `www.`, port, user and final dot.
    pub host: Cow<'a, str>,
    /// Path, query and fragment, as they stand; empty, or beginning with `/`, `?` or `#`.
    pub rest: &'a str,
}

impl<'a> Address<'a> {
    /// The parts of a URL, or of an address without a scheme (`example.com/page`); None where it has no host.
    pub fn parse(url: &'a str) -> Option<Self> {
        let url = url.trim_matches(|c: char| c.is_ascii_whitespace() || c.is_control());
        let after = match url.find([':', '/', '?', '#']) {
            Some(place) if url[place..].starts_with("://") => &url[place + 3..],
            Some(0) if url.starts_with("//") => &url[2..],
            _ => url,
        };
        let end = after.find(['/', '?', '#', '\\']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let host = match host.rsplit_once(':') {
            Some((host, port))
                if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') =>
            {
                host
            }
            Some((host, _)) if host.ends_with(']') => host,
            _ => host,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = folded(host)?;
        let host = match host.strip_prefix("www.") {
            Some(bare) if !bare.is_empty() && !is_suffix(bare) => Cow::Owned(bare.to_owned()),
            _ => host,
        };
        Some(Self { host, rest })
    }
}

/// The site of a host: the name below its public suffix, or the host where there is none.
pub fn site(host: &str) -> &str {
    let found = psl::domain_str(host)
        .filter(|_| psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known()));
    found.unwrap_or(host)
}

/// Whether a host is a public suffix, such as `co.uk` or `blogspot.com`, below which anyone may have a site.
pub fn is_suffix(host: &str) -> bool {
    use psl::Psl;

    let found = psl::List.suffix(host.as_bytes());
    found.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() == host.len())
}

/// A host in lower case with labels in ASCII; None where it can be none.
fn folded(host: &str) -> Option<Cow<'_, str>> {
    if host.is_empty()
        || host
            .bytes()
            .any(|byte| byte <= b' ' || matches!(byte, b'<' | b'>' | b'"' | b'%' | 127))
    {
        return None;
    }
    if host.is_ascii() {
        let upper = host.bytes().any(|byte| byte.is_ascii_uppercase());
        return Some(if upper {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        });
    }
    let mut made = String::with_capacity(host.len() + 8);
    for (number, label) in host.to_lowercase().split(['.', '\u{3002}']).enumerate() {
        if number > 0 {
            made.push('.');
        }
        if label.is_ascii() {
            made.push_str(label);
        } else {
            made.push_str("xn--");
            punycode(label, &mut made)?;
        }
    }
    Some(Cow::Owned(made))
}

/// Characters of a label: DNS allows 63 bytes, and the time of the encoding is the square of its length.
const LONGEST: usize = 63;

/// Appends the punycode of a label (RFC 3492); None for one that is too long to be of a name.
fn punycode(label: &str, out: &mut String) -> Option<()> {
    const FIRST: u32 = 128;
    let characters: Vec<u32> = label.chars().map(u32::from).collect();
    if characters.len() > LONGEST {
        return None;
    }
    let plain: Vec<char> = label.chars().filter(char::is_ascii).collect();
    out.extend(&plain);
    if !plain.is_empty() {
        out.push('-');
    }
    let (mut code, mut delta, mut bias) = (FIRST, 0u32, 72u32);
    let mut written = plain.len() as u32;
    while (written as usize) < characters.len() {
        let next = characters.iter().copied().filter(|&c| c >= code).min()?;
        delta += (next - code) * (written + 1);
        code = next;
        for &character in &characters {
            if character < code {
                delta += 1;
            } else if character == code {
                number(delta, bias, out);
                bias = adapted(delta, written + 1, written as usize == plain.len());
                (delta, written) = (0, written + 1);
            }
        }
        (delta, code) = (delta + 1, code + 1);
    }
    Some(())
}

/// Appends a number in the variable-length form of punycode: digits a to z and 0 to 9, the lowest first.
fn number(mut value: u32, bias: u32, out: &mut String) {
    let digit = |value: u32| {
        char::from(if value < 26 {
            b'a' + value as u8
        } else {
            b'0' + (value - 26) as u8
        })
    };
    for k in (36..).step_by(36) {
        let least = (k.max(bias + 1) - bias).clamp(1, 26);
        if value < least {
            break;
        }
        let (rest, base) = (value - least, 36 - least);
        out.push(digit(least + rest % base));
        value = rest / base;
    }
    out.push(digit(value));
}

/// How the thresholds of digits follow from the numbers written before.
fn adapted(delta: u32, written: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / written;
    let mut steps = 0;
    while delta > 455 {
        delta /= 35;
        steps += 36;
    }
    steps + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Option<String> {
        Address::parse(url).map(|address| address.host.into_owned())
    }

    #[test]
    fn addresses_of_one_host_have_one_form() {
        for url in [
            "http://Example.COM/a",
            "https://www.example.com",
            "//example.com/",
            "example.com/a?b",
            " example.com. ",
            "http://user:pw@example.com:8080/x",
            "example.com:80",
            "HTTP://WWW.EXAMPLE.COM#x",
            "http://example.com\\a",
        ] {
            assert_eq!(host(url).as_deref(), Some("example.com"), "{url}");
        }
        assert_eq!(
            host("http://[2001:db8::1]:80/"),
            Some("[2001:db8::1]".into())
        );
        assert_eq!(host("http://www.co.uk/"), Some("www.co.uk".into()));
        assert_eq!(
            host("https://archive.org/http://b.net/").as_deref(),
            Some("archive.org")
        );
        for none in [
            "",
            "http://",
            "/path",
            "mailto",
            "http://a b/",
            "http://a%20b/",
        ] {
            assert_ne!(host(none).as_deref(), Some("example.com"));
        }
        assert_eq!(host("/path"), None);
    }

    #[test]
    fn labels_beyond_ascii_are_punycode() {
        for (label, expected) in [
            ("bücher.de", "xn--bcher-kva.de"),
            ("BÜCHER.de", "xn--bcher-kva.de"),
            ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
            ("他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"),
            ("παράδειγμα.gr", "xn--hxajbheg2az3al.gr"),
        ] {
            assert_eq!(host(label).as_deref(), Some(expected));
        }
        assert_eq!(host(&"ü".repeat(1000)), None);
    }

    #[test]
    fn public_suffixes_are_known() {
        for host in ["com", "co.uk", "blogspot.com", "github.io"] {
            assert!(is_suffix(host), "{host}");
        }
        assert_eq!(
            [
                site("a.b.example.co.uk"),
                site("x.blogspot.com"),
                site("10.0.0.1"),
                site("localhost")
            ],
            ["example.co.uk", "x.blogspot.com", "10.0.0.1", "localhost"]
        );
        for host in ["example.com", "a.blogspot.com", "localhost", "10.0.0.1", ""] {
            assert!(!is_suffix(host), "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(url: String) {
            let _ = Address::parse(&url);
        }
    }
}
