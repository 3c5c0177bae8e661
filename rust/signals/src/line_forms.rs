//! What the rules on lines look for inside a line.

use std::borrow::Cow;

use curate_text::chars::{self, ALPHA, SPACE, UPPER, WORD};
use memchr::memmem;

use crate::count_bytes;
use crate::line_rules::LinesOf;

const COUNTED: [&str; 12] = [
    "likes",
    "shares",
    "comments",
    "retweets",
    "reposts",
    "quotes",
    "bookmarks",
    "upvotes",
    "downvotes",
    "downloads",
    "views",
    "followers",
];

/// `\[\d*\]|\[edit\]|\[citation needed\]`, as bytes from and to.
pub(crate) fn citations(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut found = vec![];
    for place in memchr::memchr_iter(b'[', bytes) {
        let inside = &line[place + 1..];
        let digits = inside.trim_start_matches(is_digit);
        let end = [
            digits,
            inside.strip_prefix("edit").unwrap_or(""),
            inside.strip_prefix("citation needed").unwrap_or(""),
        ]
        .into_iter()
        .find_map(|rest| rest.strip_prefix(']'))
        .map(|rest| line.len() - rest.len());
        found.extend(end.map(|end| (place, end)));
    }
    found
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c as u32 >= 0x80 && is_number(chars::classes(c as u32))
}

fn is_number(class: u8) -> bool {
    class & (ALPHA | WORD) == WORD
}

/// The line without these spans.
pub(crate) fn without<'a>(line: &'a str, spans: &[(usize, usize)]) -> Cow<'a, str> {
    if spans.is_empty() {
        return Cow::Borrowed(line);
    }
    let (mut left, mut start) = (String::with_capacity(line.len()), 0);
    for &(from, to) in spans {
        left.push_str(&line[start..from]);
        start = to;
    }
    left.push_str(&line[start..]);
    Cow::Owned(left)
}

/// Whether a line ends as C4 wants it: with . ? ! or a double quote, of datatrove an apostrophe too, and not with an
/// ellipsis.
pub(crate) fn ends_with_mark(line: &str, whose: LinesOf) -> bool {
    match line.as_bytes().last() {
        Some(b'.') => !line.ends_with("..."),
        Some(b'?' | b'!' | b'"') => true,
        Some(b'\'') => whose == LinesOf::C4Datatrove,
        _ => false,
    }
}

/// Upper-case characters and numbers of a line.
pub(crate) fn upper_and_digits(line: &str) -> (usize, usize) {
    let bytes = line.as_bytes();
    let mut upper = count_bytes(bytes, |byte| byte.is_ascii_uppercase());
    let mut digits = count_bytes(bytes, |byte| byte.is_ascii_digit());
    if !line.is_ascii() {
        for code in crate::characters::others(bytes) {
            let class = chars::classes(code);
            upper += usize::from(class & UPPER != 0);
            digits += usize::from(is_number(class));
        }
    }
    (upper, digits)
}

/// DCLM's `^\W*\d(?:,|\.|\d)*(?:K|k|M|m|B|b)?\s+(?:likes|shares|…)\W*$` on the lower-cased line.
pub(crate) fn is_counter(line: &str) -> bool {
    let outside = |c: char| chars::classes(c as u32) & WORD == 0;
    let line = line.trim_end_matches(outside);
    let bytes = line.as_bytes();
    // All of these words end so.
    if !line.ends_with(['s', 'S']) {
        return false;
    }
    let Some(word) = COUNTED.iter().find(|word| {
        let start = bytes.len().saturating_sub(word.len());
        bytes[start..].eq_ignore_ascii_case(word.as_bytes())
    }) else {
        return false;
    };
    let before = &line[..line.len() - word.len()];
    let number = before.trim_end_matches(|c| chars::classes(c as u32) & SPACE != 0);
    let number_end = number
        .strip_suffix(['K', 'k', 'M', 'm', 'B', 'b'])
        .unwrap_or(number);
    let rest = number_end.trim_end_matches(|c| is_digit(c) || c == ',' || c == '.');
    let digits = &number_end[rest.len()..];
    number.len() < before.len()
        && number_end.ends_with(|c| is_digit(c) || c == ',' || c == '.')
        && digits.contains(is_digit)
        && rest.chars().all(outside)
}

/// Phrases of shops and feeds, whatever their case: "items in cart" anywhere, "read more" and three characters at the
/// end, "sign-in" at the beginning; each with a whitespace beside it.
pub(crate) fn phrases(line: &str) -> Vec<(usize, usize)> {
    let lower = line.to_ascii_lowercase();
    let mut found = vec![];
    let space_before = |place: usize| match line[..place].chars().next_back() {
        Some(c) if chars::classes(c as u32) & SPACE != 0 => place - c.len_utf8(),
        _ => place,
    };
    if lower.starts_with("sign-in") {
        let after = line["sign-in".len()..].chars().next();
        let space = after.filter(|&c| chars::classes(c as u32) & SPACE != 0);
        found.push((0, "sign-in".len() + space.map_or(0, char::len_utf8)));
    }
    let mut end = found.first().map_or(0, |span: &(usize, usize)| span.1);
    for place in memmem::find_iter(lower.as_bytes(), "items in cart") {
        if place >= end {
            found.push((space_before(place).max(end), place + "items in cart".len()));
            end = place + "items in cart".len();
        }
    }
    if let Some((dots, _)) = line.char_indices().rev().nth(2)
        && lower[..dots].ends_with("read more")
        && dots >= end + "read more".len()
    {
        found.push((space_before(dots - "read more".len()).max(end), line.len()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_cut_out() {
        let line = "One[1] two[] three[edit] four[citation needed] five[note] six[[2]] seven[";
        let left = without(line, &citations(line));
        assert_eq!(left, "One two three four five[note] six[] seven[");
    }

    #[test]
    fn counters_of_awkward_forms() {
        for line in [
            "3 likes",
            "* 1,204.5K  Shares!",
            "12m views",
            "٣ views",
            "1. comments…",
        ] {
            assert!(is_counter(line), "{line}");
        }
        for line in [
            "likes",
            "3likes",
            "a 3 likes",
            "3 likes today",
            "3 unlikes",
            "K likes",
            ", likes",
            "",
        ] {
            assert!(!is_counter(line), "{line}");
        }
    }

    #[test]
    fn phrases_with_a_space_beside_them() {
        for (line, left) in [
            ("Sign-In here", "here"),
            ("3 items in cart now", "3 now"),
            ("About us Read more...", "About us"),
            ("read more", "read more"),
            ("please sign-in", "please sign-in"),
            ("sign-in items in cart read more…!?", ""),
        ] {
            assert_eq!(without(line, &phrases(line)), left, "{line}");
        }
    }

    #[test]
    fn marks_at_the_end() {
        assert!(
            ends_with_mark("So.", LinesOf::C4Tfds) && ends_with_mark("\"So?\"", LinesOf::C4Tfds)
        );
        assert!(!ends_with_mark("So...", LinesOf::C4Tfds) && !ends_with_mark("", LinesOf::C4Tfds));
        assert!(
            !ends_with_mark("'So'", LinesOf::C4Tfds)
                && ends_with_mark("'So'", LinesOf::C4Datatrove)
        );
    }
}
