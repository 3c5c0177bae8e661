//! Patterns as Oniguruma reads them, for an engine that reads some of them in another way.

/// Rewrites what Oniguruma reads in another way than this engine.
///
/// - `\w`, `\W`, `\b` and `\B`: its words are without the zero-width joiners, which are part of words for the engine,
///   and outside of brackets with the superscripts and fractions of Latin-1.
/// - `(?m)` lets a dot match line ends, which the engine calls `s`; a flag alone, as in `a(?i)b|c`, is about the rest of
///   its group, alternatives included.
/// - `[[:punct:]]` is Unicode's punctuation and symbols, where the engine has those of ASCII.
pub fn as_oniguruma(pattern: &str) -> String {
    const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";
    const ALONE: &str = "²³¹¼-¾";
    let word = format!("[{WORD}{ALONE}]");
    let boundary = |border: [&str; 2]| {
        let [first, second] = border;
        format!("(?:(?<={word})(?{first}{word})|(?<!{word})(?{second}{word}))")
    };
    let mut out = String::with_capacity(pattern.len());
    // Open brackets; for each open group, the parentheses that its flags opened, the pattern itself first.
    let (mut brackets, mut groups) = (0_usize, vec![0_usize]);
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => character.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match token {
            r"\w" | r"\W" => {
                let not = if token == r"\W" { "^" } else { "" };
                let alone = if brackets == 0 { ALONE } else { "" };
                out.push_str(&format!("[{not}{WORD}{alone}]"));
            }
            r"\b" if brackets == 0 => out.push_str(&boundary(["!", "="])),
            r"\B" if brackets == 0 => out.push_str(&boundary(["=", "!"])),
            "[" => {
                brackets += 1;
                if let Some(after) = rest.strip_prefix(":punct:]").filter(|_| brackets > 1) {
                    out.push_str(r"[\p{P}\p{S}");
                    rest = &rest[rest.len() - after.len() - 1..];
                } else if let Some(after) = rest.strip_prefix(":^punct:]").filter(|_| brackets > 1)
                {
                    out.push_str(r"[^\p{P}\p{S}");
                    rest = &rest[rest.len() - after.len() - 1..];
                } else {
                    out.push('[');
                }
            }
            "]" => {
                brackets = brackets.saturating_sub(1);
                out.push(']');
            }
            "(" if brackets == 0 => {
                let flags = rest.strip_prefix('?').unwrap_or("");
                let end = flags
                    .find(|c: char| !matches!(c, 'i' | 'm' | 'x' | '-'))
                    .unwrap_or(0);
                let (flags, after) = flags.split_at(end);
                let alone = after.starts_with(')');
                if flags.is_empty() || !(alone || after.starts_with(':')) {
                    groups.push(0);
                    out.push('(');
                    continue;
                }
                out.push_str(&format!("(?{}:", flags.replace('m', "s")));
                rest = &after[1..];
                match groups.last_mut() {
                    Some(open) if alone => *open += 1,
                    _ => groups.push(0),
                }
            }
            ")" if brackets == 0 => {
                let flags = groups.pop().unwrap_or(0);
                out.extend(std::iter::repeat_n(')', flags + 1));
            }
            _ => out.push_str(token),
        }
    }
    out.extend(std::iter::repeat_n(')', groups.iter().sum()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_classes_are_written_out() {
        assert_eq!(as_oniguruma("(?i)a|(b(?m-i)c|.)d"), "(?i:a|(b(?s-i:c|.))d)");
        assert_eq!(
            as_oniguruma("(?im:a)(?:b)(?=c)[(?m)]"),
            "(?is:a)(?:b)(?=c)[(?m)]"
        );
        assert_eq!(
            as_oniguruma(r"[[:punct:]a](?<n>x)"),
            r"[[\p{P}\p{S}]a](?<n>x)"
        );
    }
}
