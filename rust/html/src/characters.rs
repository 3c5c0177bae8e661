//! Character data: character references decoded, white space collapsed.

use memchr::memchr;

/// The longest reference that is looked at: 31 letters for a name, or a number with many zeros.
const LONGEST_REFERENCE: usize = 40;

/// Appends `text` to `out`, runs of white space as one space. `space` is whether white space came last, which
/// is written only when something follows it.
pub fn collapse(text: &[u8], out: &mut Vec<u8>, space: &mut bool) {
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        if byte <= b' ' {
            *space = true;
            at += 1;
            continue;
        }
        if byte == b'&' {
            let (decoded, next) = reference(text, at);
            push_collapsed(decoded.as_bytes(), out, space);
            at = next;
            continue;
        }
        let end = text[at..]
            .iter()
            .position(|&b| b <= b' ' || b == b'&')
            .map_or(text.len(), |n| at + n);
        push_collapsed(&text[at..end], out, space);
        at = end;
    }
}

/// Appends a run without ASCII white space; no-break spaces count as white space, soft hyphens and zero-width
/// spaces as nothing.
fn push_collapsed(run: &[u8], out: &mut Vec<u8>, space: &mut bool) {
    if memchr(0xC2, run).is_none() && memchr(0xE2, run).is_none() && run != b" " {
        push_spaced(run, out, space);
        return;
    }
    let mut rest = run;
    while !rest.is_empty() {
        let (gap, is_space) = match rest {
            [b' ', ..] => (1, true),
            [0xC2, 0xA0, ..] => (2, true),
            [0xC2, 0xAD, ..] => (2, false),
            [0xE2, 0x80, 0x8B, ..] => (3, false),
            _ => (0, false),
        };
        if gap > 0 {
            *space |= is_space;
            rest = &rest[gap..];
            continue;
        }
        let end = (1..rest.len())
            .find(|&i| matches!(rest[i], b' ' | 0xC2 | 0xE2))
            .unwrap_or(rest.len());
        push_spaced(&rest[..end], out, space);
        rest = &rest[end..];
    }
}

#[inline]
fn push_spaced(run: &[u8], out: &mut Vec<u8>, space: &mut bool) {
    if *space {
        if out.last().is_some_and(|&last| last != b'\n') {
            out.push(b' ');
        }
        *space = false;
    }
    out.extend_from_slice(run);
}

/// Appends `text` with its white space as it is (carriage returns aside, no-break spaces as spaces), references decoded.
pub fn keep(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'&' => {
                let (decoded, next) = reference(text, at);
                if decoded.as_str() == "\u{a0}" {
                    out.push(b' ');
                } else {
                    out.extend_from_slice(decoded.as_bytes());
                }
                at = next;
            }
            b'\r' => at += 1,
            0xC2 if text.get(at + 1) == Some(&0xA0) => {
                out.push(b' ');
                at += 2;
            }
            _ => {
                let end = text[at + 1..]
                    .iter()
                    .position(|&b| matches!(b, b'&' | b'\r' | 0xC2))
                    .map_or(text.len(), |n| at + 1 + n);
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
        }
    }
}

/// What a reference stands for; borrowed where that is usual.
enum Decoded {
    Fixed(&'static str),
    Owned(String),
}

impl Decoded {
    fn as_str(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Owned(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

/// The reference at `text[at]`, which is an ampersand, and where the text goes on. What is no reference stands
/// for itself.
fn reference(text: &[u8], at: usize) -> (Decoded, usize) {
    let longest = text.len().min(at + LONGEST_REFERENCE);
    let mut end = at + 1;
    while end < longest && (text[end].is_ascii_alphanumeric() || text[end] == b'#') {
        end += 1;
    }
    let name = &text[at + 1..end];
    if end < text.len() && text[end] == b';' {
        end += 1;
    }
    let usual = match name {
        b"nbsp" | b"#160" | b"#xa0" | b"#xA0" => "\u{a0}",
        b"amp" | b"#38" | b"#038" => "&",
        b"quot" | b"#34" => "\"",
        b"#39" | b"#039" | b"apos" | b"#x27" => "'",
        b"lt" => "<",
        b"gt" => ">",
        b"" => return (Decoded::Fixed("&"), at + 1),
        _ => "",
    };
    if !usual.is_empty() {
        return (Decoded::Fixed(usual), end);
    }
    let decoded = htmlize::unescape_bytes_in(&text[at..end], htmlize::Context::General);
    match String::from_utf8(decoded.into_owned()) {
        // Control characters and white space by number are white space.
        Ok(text) if text.chars().all(|c| c <= ' ') => (Decoded::Fixed(" "), end),
        Ok(text) => (Decoded::Owned(text), end),
        Err(_) => (Decoded::Fixed("&"), at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(parts: &[&str]) -> String {
        let (mut out, mut space) = (Vec::new(), false);
        for part in parts {
            collapse(part.as_bytes(), &mut out, &mut space);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn white_space_collapses_across_the_pieces_of_a_text() {
        assert_eq!(collapsed(&["a  b", " ", "\t c\n"]), "a b c");
        assert_eq!(collapsed(&["a&nbsp;&nbsp;b", "\u{a0}c"]), "a b c");
    }

    #[test]
    fn references_are_decoded_by_name_by_number_and_without_a_semicolon() {
        assert_eq!(
            collapsed(&["&eacute;t&eacute &#233; &#x1F600; &copy2024"]),
            "été é 😀 ©2024"
        );
        assert_eq!(
            collapsed(&["a &amp;amp; b & c &nosuch; &#146;"]),
            "a &amp; b & c &nosuch; ’"
        );
        assert_eq!(collapsed(&["&", "&#", "&#;", "&#0;x"]), "&&#&#;\u{fffd}x");
    }

    #[test]
    fn soft_hyphens_and_zero_width_spaces_leave_no_trace() {
        assert_eq!(
            collapsed(&["Donau\u{ad}dampf&shy;schiff x\u{200b}y&ZeroWidthSpace;z"]),
            "Donaudampfschiff xyz"
        );
    }

    #[test]
    fn kept_text_keeps_its_white_space() {
        let mut out = Vec::new();
        keep(
            "  a\r\n\tb &lt;c&gt;&nbsp;d\u{a0}e\u{a9}".as_bytes(),
            &mut out,
        );
        assert_eq!(out, "  a\n\tb <c> d e\u{a9}".as_bytes());
    }
}
