//! What the class names of highlighters, formula writers and documentation tools say of the text in their elements.

use crate::page::meaning;
use crate::tags::Tag;

/// The longest name of a programming language.
const LONGEST_LANGUAGE: usize = 24;

/// Languages that a class may name without a word before it; none is a word for something else.
const LANGUAGES: &str = "bash c clojure cpp csharp css dart elixir erlang fsharp go groovy haskell html java \
    javascript js json julia kotlin lua matlab perl php python r ruby rust scala sql swift typescript xml yaml";

/// `meaning` bits of a class attribute, and the language of code that it names; empty where it names none.
pub fn read(tag: Tag, class: &[u8]) -> (u16, &[u8]) {
    let (mut bits, mut language) = (0, &class[..0]);
    let (mut names_next, mut highlights) = (false, false);
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
            | b"editsection"
            | b"headerlink"
            | b"ttc" => {
                bits |= meaning::SKIP;
            }
            // The code once more, to be copied.
            b"crayon-plain" if tag == Tag::TEXTAREA => bits |= meaning::SKIP,
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
            b"highlight" | b"syntaxhighlighter" if matches!(tag, Tag::DIV | Tag::FIGURE) => {
                highlights = true;
            }
            _ if language.is_empty() => language = language_of(tag, highlights, name),
            _ => {}
        }
    }
    (bits, plausible(language))
}

/// The language of a name such as language-python, or of the bare name of a language on an element of code; empty
/// where it is none. `highlights` is whether the name of a highlighter stood before it.
fn language_of(tag: Tag, highlights: bool, name: &[u8]) -> &[u8] {
    let prefixes: &[&[u8]] = match tag {
        Tag::PRE | Tag::CODE => &[b"language-", b"lang-", b"src-"],
        Tag::DIV | Tag::FIGURE => &[
            b"language-",
            b"highlight-source-",
            b"highlight-",
            b"mw-highlight-lang-",
        ],
        _ => return &name[..0],
    };
    let after = prefixes
        .iter()
        .find_map(|prefix| name.strip_prefix(*prefix));
    let bare = highlights || matches!(tag, Tag::PRE | Tag::CODE);
    match after {
        Some(language) => language,
        None if bare && is_programming(name) => name,
        None => &name[..0],
    }
}

/// Whether it is the bare name of a programming language.
pub fn is_programming(name: &[u8]) -> bool {
    LANGUAGES
        .split(' ')
        .any(|language| language.as_bytes() == name)
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
        b"pre" | b"pre-wrap" | b"break-spaces" | b"pre-line" => meaning::PRESERVED,
        _ => 0,
    }
}
