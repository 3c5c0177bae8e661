//! How superscripts and subscripts are written in a line of text: `10^9`, `x_1`, `e^{-x}`, a note's number as `[1]`.

/// Longer ones are text that is set high or low, no script.
const LONGEST: usize = 24;
/// From this many letters on a word before a raised number is followed by a note, and no unit or variable.
const WORD: usize = 3;
/// Longer words that are raised to a power.
const FUNCTIONS: [&str; 8] = ["sin", "cos", "tan", "cot", "log", "exp", "mile", "inch"];

/// What stands before and after the content of a sup (or, with `low`, a sub) that follows `before`; nothing where the
/// two are one word or are apart anyway. `linked` is whether the content is a link.
pub fn around(
    before: &str,
    content: &str,
    low: bool,
    linked: bool,
) -> (&'static str, &'static str) {
    let none = ("", "");
    let Some(last) = before.chars().next_back() else {
        return none;
    };
    if content.is_empty()
        || content.len() > LONGEST
        || content.starts_with(char::is_whitespace)
        || content.starts_with('[')
        || last.is_whitespace()
    {
        return none;
    }
    let digits = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | ' ' | '-' | '–'))
    };
    if !low
        && digits(content)
        && content.contains(|c: char| c.is_ascii_digit())
        && (linked || is_noted(before))
    {
        return ("[", "]");
    }
    if !(last.is_alphanumeric() || matches!(last, ')' | ']' | '}')) {
        return none;
    }
    let letters = content.chars().all(char::is_alphabetic);
    if !low && letters {
        // 2nd, XIXe, Mme: one word; a single letter after a letter is a power.
        let one = content.chars().count() == 1;
        let ordinal = last.is_numeric() && (!one || matches!(content, "e" | "o" | "a" | "º" | "ª"));
        if ordinal || (!last.is_numeric() && (!one || last.is_uppercase())) {
            return none;
        }
    }
    let labels = content
        .split(|c: char| !c.is_alphabetic())
        .any(|letters| letters.chars().count() >= WORD);
    if labels && content.contains(|c: char| c.is_ascii_digit()) {
        return none; // a number with a word for those who hear the page
    }
    if !content.contains(|c: char| c.is_alphanumeric()) {
        return none; // signs of notes, trade marks, degrees
    }
    let simple = content.strip_prefix(['-', '−', '+']).unwrap_or(content);
    match (simple.chars().all(char::is_alphanumeric), low) {
        (true, false) => ("^", ""),
        (true, true) => ("_", ""),
        (false, false) => ("^{", "}"),
        (false, true) => ("_{", "}"),
    }
}

/// Whether a raised number after this text is that of a note.
fn is_noted(before: &str) -> bool {
    let last = before.chars().next_back().unwrap_or(' ');
    if matches!(
        last,
        '.' | ',' | ';' | ':' | '!' | '?' | '"' | '”' | '’' | '»'
    ) {
        return true;
    }
    let start = before
        .char_indices()
        .rev()
        .take(32)
        .take_while(|(_, c)| c.is_alphabetic())
        .last();
    let word = start.map_or("", |(at, _)| &before[at..]);
    word.chars().count() >= WORD && !FUNCTIONS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_indices_notes_and_ordinals_are_told_apart() {
        for (before, content, low, expected) in [
            ("about 10", "9", false, ("^", "")),
            ("10", "−4", false, ("^", "")),
            ("5 km", "2", false, ("^", "")),
            ("e", "x", false, ("^", "")),
            ("(a+b)", "n+1", false, ("^{", "}")),
            ("x", "1", true, ("_", "")),
            ("as the harbour master says.", "3", false, ("[", "]")),
            ("the harbour", "12", false, ("[", "]")),
            ("the 2", "nd", false, ("", "")),
            ("M", "me", false, ("", "")),
            ("Gauge", "®", false, ("", "")),
            ("a word ", "1", false, ("", "")),
            ("a word", "[1]", false, ("", "")),
            ("in a 401k", "6Footnote", false, ("", "")),
        ] {
            assert_eq!(
                around(before, content, low, false),
                expected,
                "{before}{content}"
            );
        }
        assert_eq!(around("rain", "1", false, true), ("[", "]"));
    }
}
