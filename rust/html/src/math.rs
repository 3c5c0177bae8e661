//! MathML as TeX: what its author wrote as TeX where that is there, else made of the tree.

use memchr::memmem;

use crate::characters::collapse;

/// Deeper trees are no formula for people.
const MAX_DEPTH: usize = 60;
/// Parts of one element.
const MAX_PARTS: usize = 4_000;
/// The longest name of a command that a letter after it must stand apart from.
const LONGEST_COMMAND: usize = 24;

/// The TeX of a math element: its annotation, its alternative text, or its tree; empty where it has none.
pub fn tex(content: &[u8], alternative: &[u8]) -> String {
    let annotated = annotation(content).map(decoded).unwrap_or_default();
    if !annotated.is_empty() {
        return unwrapped(&annotated);
    }
    let alternative = decoded(alternative);
    if alternative.contains(['\\', '^', '_', '{', '=']) || alternative.len() == 1 {
        return unwrapped(&alternative);
    }
    let mut reader = Reader { content, at: 0 };
    let mut parts = Vec::new();
    reader.children(b"", 0, &mut parts);
    joined(&parts)
}

/// Formulas as writers of TeX hand them on: without the command for the size of a displayed formula around it.
pub fn unwrapped(tex: &str) -> String {
    let tex = tex.trim();
    let inner = tex.strip_prefix('{').and_then(|tex| tex.strip_suffix('}'));
    let inner = inner.and_then(|tex| {
        tex.strip_prefix("\\displaystyle")
            .or_else(|| tex.strip_prefix("\\textstyle"))
    });
    inner.map_or(tex, str::trim).to_owned()
}

fn decoded(text: &[u8]) -> String {
    let mut out = Vec::new();
    collapse(text, &mut out, &mut false);
    String::from_utf8_lossy(&out).into_owned()
}

/// The content of the annotation element that says it is TeX.
fn annotation(content: &[u8]) -> Option<&[u8]> {
    for at in memmem::find_iter(content, b"<annotation").take(8) {
        let open = at + memchr::memchr(b'>', &content[at..])? + 1;
        if memmem::find(&content[at..open], b"tex").is_some()
            || memmem::find(&content[at..open], b"TeX").is_some()
        {
            let end = memmem::find(&content[open..], b"</annotation")?;
            return Some(&content[open..open + end]);
        }
    }
    None
}

/// A reader of MathML, which is small and well formed or no formula.
struct Reader<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Appends the TeX of every child up to the end tag of `name`.
    fn children(&mut self, name: &[u8], depth: usize, parts: &mut Vec<String>) {
        while self.at < self.content.len() {
            let rest = &self.content[self.at..];
            let Some(tag) = memchr::memchr(b'<', rest) else {
                self.at = self.content.len();
                return push_text(&decoded(rest), parts);
            };
            if tag > 0 {
                push_text(&decoded(&rest[..tag]), parts);
                self.at += tag;
            }
            let rest = &self.content[self.at..];
            let end = memchr::memchr(b'>', rest).map_or(rest.len(), |n| n + 1);
            self.at += end;
            let inside = &rest[1..end.saturating_sub(1).max(1)];
            if inside.first() == Some(&b'/') {
                if local(&inside[1..]) == name || name.is_empty() || depth > MAX_DEPTH {
                    return;
                }
                continue;
            }
            let child = local(inside);
            if inside.ends_with(b"/") || child.is_empty() || matches!(inside[0], b'!' | b'?') {
                if child == b"mspace" {
                    parts.push("\\ ".to_owned());
                } else if child == b"none" || child == b"mprescripts" {
                    parts.push(String::new());
                }
                continue;
            }
            if depth > MAX_DEPTH || parts.len() > MAX_PARTS {
                continue;
            }
            let mut own = Vec::new();
            self.children(child, depth + 1, &mut own);
            parts.push(element(child, inside, &own));
        }
    }
}

/// The name of a tag without the prefix of its name space.
fn local(tag: &[u8]) -> &[u8] {
    let end = tag
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == b'/')
        .unwrap_or(tag.len());
    let name = &tag[..end];
    name.iter()
        .position(|&byte| byte == b':')
        .map_or(name, |colon| &name[colon + 1..])
}

fn push_text(text: &str, parts: &mut Vec<String>) {
    if !text.is_empty() {
        parts.push(text.to_owned());
    }
}

fn element(name: &[u8], tag: &[u8], parts: &[String]) -> String {
    let part = |at: usize| parts.get(at).map_or("", String::as_str);
    match name {
        b"mi" => identifier(&parts.concat(), tag),
        b"mn" => parts.concat(),
        b"mo" => operator(&parts.concat()),
        b"mtext" | b"ms" => {
            let text = parts.concat();
            if text.trim().is_empty() {
                " ".to_owned()
            } else {
                format!("\\text{{{text}}}")
            }
        }
        b"msup" => format!("{}^{}", based(part(0)), grouped(part(1))),
        b"msub" => format!("{}_{}", based(part(0)), grouped(part(1))),
        b"msubsup" => format!(
            "{}_{}^{}",
            based(part(0)),
            grouped(part(1)),
            grouped(part(2))
        ),
        b"munder" => under(part(0), Some(part(1)), None),
        b"mover" => over(part(0), part(1)),
        b"munderover" => under(part(0), Some(part(1)), Some(part(2))),
        b"mfrac" => format!("\\frac{{{}}}{{{}}}", part(0), part(1)),
        b"msqrt" => format!("\\sqrt{{{}}}", joined(parts)),
        b"mroot" => format!("\\sqrt[{}]{{{}}}", part(1), part(0)),
        b"mfenced" => fenced(tag, parts),
        b"mtable" => format!("\\begin{{matrix}} {} \\end{{matrix}}", parts.join(" \\\\ ")),
        b"mtr" | b"mlabeledtr" => parts.join(" & "),
        b"mmultiscripts" => format!(
            "{}_{}^{}",
            based(part(0)),
            grouped(part(1)),
            grouped(part(2))
        ),
        b"semantics" => part(0).to_owned(),
        b"annotation" | b"annotation-xml" => String::new(),
        b"mphantom" => String::new(),
        _ => joined(parts),
    }
}

/// Parts between the signs that the element names, by default parentheses and commas.
fn fenced(tag: &[u8], parts: &[String]) -> String {
    let said = |name: &str, usual: &str| {
        attribute(tag, name).map_or_else(|| usual.to_owned(), |value| operator(&decoded(value)))
    };
    let side = |sign: String| {
        if sign.is_empty() {
            ".".to_owned()
        } else {
            sign
        }
    };
    let (open, close) = (side(said("open", "(")), side(said("close", ")")));
    let between = said("separators", ",");
    format!("\\left{open}{}\\right{close}", parts.join(&between))
}

/// The value of an attribute in double or single quotes.
fn attribute<'t>(tag: &'t [u8], name: &str) -> Option<&'t [u8]> {
    ["\"", "'"].iter().find_map(|quote| {
        let begins = format!(" {name}={quote}");
        let start = memmem::find(tag, begins.as_bytes())? + begins.len();
        let length = memmem::find(&tag[start..], quote.as_bytes())?;
        Some(&tag[start..start + length])
    })
}

fn identifier(name: &str, tag: &[u8]) -> String {
    let name = name.trim();
    let upright = memmem::find(tag, b"normal").is_some();
    match name.chars().count() {
        0 => String::new(),
        1 if !upright => symbol(name).map_or_else(|| name.to_owned(), str::to_owned),
        _ if matches!(
            name,
            "sin"
                | "cos"
                | "tan"
                | "log"
                | "ln"
                | "exp"
                | "lim"
                | "max"
                | "min"
                | "det"
                | "dim"
                | "ker"
                | "sup"
                | "inf"
        ) =>
        {
            format!("\\{name}")
        }
        1 => symbol(name).map_or_else(|| name.to_owned(), str::to_owned),
        _ => format!("\\mathrm{{{name}}}"),
    }
}

fn operator(sign: &str) -> String {
    let sign = sign.trim();
    match symbol(sign) {
        Some(tex) => tex.to_owned(),
        None => match sign {
            "{" => "\\{".to_owned(),
            "}" => "\\}".to_owned(),
            "−" => "-".to_owned(),
            // Invisible operators: function application, times, separator, plus.
            "\u{2061}" | "\u{2062}" | "\u{2063}" | "\u{2064}" => String::new(),
            _ => sign.to_owned(),
        },
    }
}

/// The command of a sign that TeX writes as one.
fn symbol(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "α" => "\\alpha",
        "β" => "\\beta",
        "γ" => "\\gamma",
        "δ" => "\\delta",
        "ε" | "ϵ" => "\\epsilon",
        "ζ" => "\\zeta",
        "η" => "\\eta",
        "θ" => "\\theta",
        "ι" => "\\iota",
        "κ" => "\\kappa",
        "λ" => "\\lambda",
        "μ" => "\\mu",
        "ν" => "\\nu",
        "ξ" => "\\xi",
        "π" => "\\pi",
        "ρ" => "\\rho",
        "σ" => "\\sigma",
        "τ" => "\\tau",
        "υ" => "\\upsilon",
        "φ" | "ϕ" => "\\phi",
        "χ" => "\\chi",
        "ψ" => "\\psi",
        "ω" => "\\omega",
        "Γ" => "\\Gamma",
        "Δ" => "\\Delta",
        "Θ" => "\\Theta",
        "Λ" => "\\Lambda",
        "Ξ" => "\\Xi",
        "Π" => "\\Pi",
        "Σ" => "\\Sigma",
        "Φ" => "\\Phi",
        "Ψ" => "\\Psi",
        "Ω" => "\\Omega",
        "∑" => "\\sum",
        "∏" => "\\prod",
        "∫" => "\\int",
        "∮" => "\\oint",
        "∂" => "\\partial",
        "∇" => "\\nabla",
        "∞" => "\\infty",
        "×" => "\\times",
        "⋅" | "·" => "\\cdot",
        "±" => "\\pm",
        "∓" => "\\mp",
        "÷" => "\\div",
        "≤" => "\\leq",
        "≥" => "\\geq",
        "≠" => "\\neq",
        "≈" => "\\approx",
        "≡" => "\\equiv",
        "∼" => "\\sim",
        "∝" => "\\propto",
        "∈" => "\\in",
        "∉" => "\\notin",
        "⊂" => "\\subset",
        "⊆" => "\\subseteq",
        "∪" => "\\cup",
        "∩" => "\\cap",
        "∅" => "\\emptyset",
        "→" => "\\to",
        "←" => "\\leftarrow",
        "⇒" => "\\Rightarrow",
        "⇔" => "\\Leftrightarrow",
        "↦" => "\\mapsto",
        "∀" => "\\forall",
        "∃" => "\\exists",
        "¬" => "\\neg",
        "∧" => "\\land",
        "∨" => "\\lor",
        "⊕" => "\\oplus",
        "⊗" => "\\otimes",
        "∘" => "\\circ",
        "…" => "\\ldots",
        "⋯" => "\\cdots",
        "⟨" => "\\langle",
        "⟩" => "\\rangle",
        "‖" => "\\|",
        "′" => "'",
        "ℝ" => "\\mathbb{R}",
        "ℤ" => "\\mathbb{Z}",
        "ℕ" => "\\mathbb{N}",
        "ℂ" => "\\mathbb{C}",
        "ℚ" => "\\mathbb{Q}",
        "%" => "\\%",
        "#" => "\\#",
        "&" => "\\&",
        "$" => "\\$",
        _ => return None,
    })
}

fn under(base: &str, below: Option<&str>, above: Option<&str>) -> String {
    let mut out = based(base);
    if let Some(below) = below {
        out += &format!("_{}", grouped(below));
    }
    if let Some(above) = above {
        out += &format!("^{}", grouped(above));
    }
    out
}

fn over(base: &str, above: &str) -> String {
    let accent = match above.trim() {
        "^" | "\u{302}" | "ˆ" => "\\hat",
        "~" | "˜" | "\u{303}" | "\\sim" => "\\tilde",
        "¯" | "‾" | "―" | "\u{304}" => "\\bar",
        "\\to" | "⃗" => "\\vec",
        "˙" | "." => "\\dot",
        "¨" => "\\ddot",
        _ => return under(base, None, Some(above)),
    };
    format!("{accent}{{{base}}}")
}

/// What carries a script: a group, unless it is one sign or one command.
fn based(base: &str) -> String {
    let command = base
        .strip_prefix('\\')
        .is_some_and(|name| name.chars().all(char::is_alphabetic));
    if command || base.chars().count() <= 1 || base.chars().all(|c| c.is_ascii_digit()) {
        base.to_owned()
    } else {
        format!("{{{base}}}")
    }
}

fn grouped(script: &str) -> String {
    format!("{{{script}}}")
}

/// The parts one after the other, a command apart from the letter that follows it.
fn joined(parts: &[String]) -> String {
    let mut out = String::new();
    for part in parts {
        if part.starts_with(|c: char| c.is_ascii_alphabetic()) && ends_with_command(&out) {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

fn ends_with_command(tex: &str) -> bool {
    let bytes = tex.as_bytes();
    let letters = bytes
        .iter()
        .rev()
        .take(LONGEST_COMMAND)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    letters > 0 && bytes[..bytes.len() - letters].ends_with(b"\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_author_wrote_comes_before_the_tree() {
        let tree = b"<mrow><msup><mi>e</mi><mn>2</mn></msup></mrow>";
        assert_eq!(tex(tree, b"e^{2}"), "e^{2}");
        let both = b"<semantics><mi>x</mi><annotation encoding=\"application/x-tex\">{\\displaystyle a &lt; b}</annotation></semantics>";
        assert_eq!(tex(both, b""), "a < b");
        assert_eq!(tex(tree, b""), "e^{2}");
    }

    #[test]
    fn fractions_roots_scripts_and_tables_are_made_of_the_tree() {
        for (tree, expected) in [
            (
                "<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mn>1</mn></mrow></mfrac>",
                "\\frac{a}{b+1}",
            ),
            (
                "<msqrt><mi>x</mi></msqrt><mroot><mi>y</mi><mn>3</mn></mroot>",
                "\\sqrt{x}\\sqrt[3]{y}",
            ),
            (
                "<munderover><mo>&#x2211;</mo><mi>i</mi><mi>n</mi></munderover><mi>i</mi>",
                "\\sum_{i}^{n}i",
            ),
            ("<mi>&alpha;</mi><mi>x</mi>", "\\alpha x"),
            ("<m:msub><m:mi>x</m:mi><m:mn>1</m:mn></m:msub>", "x_{1}"),
            (
                "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr></mtable>",
                "\\begin{matrix} a & b \\end{matrix}",
            ),
            ("<mover><mi>v</mi><mo>→</mo></mover>", "\\vec{v}"),
            (
                "<mfenced open='[' close=''><mi>a</mi><mi>b</mi></mfenced>",
                "\\left[a,b\\right.",
            ),
            (
                "<msup><mrow><mi>a</mi><mi>b</mi></mrow><mn>2</mn></msup>",
                "{ab}^{2}",
            ),
        ] {
            assert_eq!(tex(tree.as_bytes(), b""), expected);
        }
    }
}
