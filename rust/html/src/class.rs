//! What the class names of highlighters, formula writers and documentation tools say of the text in their elements.

use crate::page::meaning;
use crate::tags::Tag;

/// The longest name of a programming language.
const LONGEST_LANGUAGE: usize = 24;

/// `meaning` bits of a class attribute, and the language of code that it names; empty where it names none.
pub fn read(tag: Tag, class: &[u8]) -> (u16, &[u8]) {
    let (mut bits, mut language) = (0, &class[..0]);
    let mut names_next = false;
    let names = class.split(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b':'));
    for name in names.filter(|name| !name.is_empty()) {
        if names_next {
            (language, names_next) = (name, false);
            continue;
        }
        match name {
            b"gutter" | b"linenos" | b"lineno" | b"linenodiv" | b"linenumber" | b"line-number"
            | b"line-numbers" | b"linenumbers" | b"lineNumbers" | b"lnt" | b"ln" | b"blob-num"
            | b"crayon-nums" | b"crayon-num" | b"hljs-ln-numbers" | b"rouge-gutter" | b"LineNr"
            | b"src-line-numbers" => bits |= meaning::GUTTER,
            b"line" | b"code-line" | b"token-line" | b"view-line" | b"crayon-line" => {
                bits |= meaning::LINE
            }
            b"code" | b"blob-code" | b"crayon-code" | b"hljs-ln-code" | b"rouge-code" => {
                bits |= meaning::CODE_CELL;
            }
            b"katex-html"
            | b"MathJax"
            | b"MathJax_Preview"
            | b"MathJax_Display"
            | b"MathJax_SVG"
            | b"MathJax_SVG_Display"
            | b"MathJax_CHTML"
            | b"mw-editsection"
            | b"headerlink"
            | b"ttc" => {
                bits |= meaning::SKIP;
            }
            b"emoji" | b"wp-smiley" | b"emoticon" => bits |= meaning::CHARACTER,
            b"latex"
            | b"tex"
            | b"math"
            | b"ql-img-inline-formula"
            | b"ql-img-displayed-equation" => {
                bits |= meaning::FORMULA;
            }
            b"mwe-math-fallback-image-inline" | b"mwe-math-fallback-image-display" => {
                bits |= meaning::FORMULA | meaning::FALLBACK;
            }
            b"brush" | b"sourceCode" => names_next = true,
            _ if language.is_empty() => language = language_of(tag, name),
            _ => {}
        }
    }
    (bits, plausible(language))
}

/// The language of a name such as language-python; empty where it is none.
fn language_of(tag: Tag, name: &[u8]) -> &[u8] {
    let prefixes: &[&[u8]] = match tag {
        Tag::PRE | Tag::CODE => &[b"language-", b"lang-"],
        Tag::DIV | Tag::FIGURE => &[b"language-", b"highlight-source-", b"highlight-"],
        _ => &[],
    };
    let after = prefixes
        .iter()
        .find_map(|prefix| name.strip_prefix(*prefix));
    after.unwrap_or(&name[..0])
}

/// The name, unless it is none of a programming language.
pub fn plausible(name: &[u8]) -> &[u8] {
    let fits = name.len() <= LONGEST_LANGUAGE
        && name.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'#' | b'-' | b'.' | b'_')
        });
    let says_none = matches!(
        name,
        b"text" | b"none" | b"default" | b"plain" | b"plaintext" | b"notranslate"
    );
    if fits && !says_none { name } else { &name[..0] }
}

/// What a style attribute says of white space.
pub fn style(style: &[u8]) -> u16 {
    let lower = style.to_ascii_lowercase();
    let Some(at) = memchr::memmem::find(&lower, b"white-space") else {
        return 0;
    };
    let value: Vec<u8> = lower[at + 11..]
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .take_while(|&byte| byte != b';')
        .collect();
    let value = value.strip_prefix(b":").unwrap_or(&value);
    let value = value.strip_suffix(b"!important").unwrap_or(value);
    let is_code = [&b"monospace"[..], b"courier", b"consolas", b"menlo"]
        .iter()
        .any(|font| memchr::memmem::find(&lower, font).is_some());
    match value {
        b"pre" | b"pre-wrap" | b"break-spaces" if is_code => meaning::VERBATIM,
        b"pre" | b"pre-wrap" | b"break-spaces" => meaning::PRESERVED,
        _ => 0,
    }
}
