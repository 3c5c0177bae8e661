"""Pages that make HTML parsers hang, run out of memory or crash, each of a size that is asked for.

`PAGES[name](n)` is a page of n bytes, give or take one repetition, the same for the same n. Cost must grow with n
and not with its square: whoever parses them takes the time at n and at 2 n. Some are the pages that brought other
extractors down (many short paragraphs, rows or links, deep nesting, one huge paragraph); the rest aims at what a
tokenizer looks for and may look for again and again: an end that never comes, a stack that is never emptied, names,
references, attributes and ancestors without number.
"""

import random
from collections.abc import Callable

SENTENCE = "The quick brown fox, number {}, jumps over the lazy dog and is not seen again. "

Maker = Callable[[int], bytes]


def _wrapped(body: bytes) -> bytes:
    return b"<!DOCTYPE html><html><head><title>Torture</title></head><body>" + body + b"</body></html>"


def _repeated(unit: str, before: str = "", after: str = "") -> Maker:
    """`unit` again and again, between `before` and `after`."""

    def make(n: int) -> bytes:
        room = n - len(before.encode()) - len(after.encode())
        return _wrapped(before.encode() + unit.encode() * max(1, room // len(unit.encode())) + after.encode())

    return make


def _numbered(unit: str, before: str = "", after: str = "") -> Maker:
    """`unit` with every `{}` replaced by a running number, so that no two are equal."""

    def make(n: int) -> bytes:
        parts, size, i = [], len(before) + len(after), 0
        while size < n:
            parts.append(unit.replace("{}", str(i)))
            size += len(parts[-1].encode())
            i += 1
        return _wrapped((before + "".join(parts) + after).encode())

    return make


def _nested(opening: str, closing: str = "", inside: str = "text") -> Maker:
    """Elements inside each other; without `closing` they are never closed."""

    def make(n: int) -> bytes:
        depth = max(1, n // len((opening + closing).encode()))
        return _wrapped((opening * depth + inside + closing * depth).encode())

    return make


def _around(opening: str, closing: str, unit: str = "word ", before: str = "<p>") -> Maker:
    """A long text in 300 elements, each of which looks at what it held when it ends."""

    def make(n: int) -> bytes:
        count = (n - 300 * len(opening + closing)) // len(unit)
        return _wrapped((before + opening * 300 + unit * count + "x" + closing * 300).encode())

    return make


def _halves(first: str, second: str, before: str = "") -> Maker:
    """`first` again and again, then `second` as often; 40,000 of each at most, since more blocks are refused."""

    def make(n: int) -> bytes:
        count = min(40_000, n // len(first + second))
        return _wrapped((before + first * count + second * count).encode())

    return make


def _raw(unit: bytes) -> Maker:
    """Bytes without any page around them."""
    return lambda n: (unit * (n // len(unit) + 1))[:n]


def _binary(n: int) -> bytes:
    """Random bytes, a third of them NUL, that claim to be a page."""
    made = random.Random(1)
    third = made.randbytes(2 * n // 3 + 1)
    return _wrapped(b"".join(bytes((third[2 * i], 0, third[2 * i + 1])) for i in range(n // 3)))


def _soup(n: int) -> bytes:
    """Pieces of markup in a random order."""
    made = random.Random(2)
    pieces = (
        ["<div>", "</div>", "<p>", "</p>", "<table>", "<tr>", "<td>", "</table>", "<ul>", "<li>", "</ul>", "<a href='"]
        + ["<b>", "</b>", "<!--", "-->", "<script>", "</script>", "<svg>", "</svg>", "<pre>", "</pre>", '="', "'", ">"]
        + ["&amp;", "&#x41;", "&", "<br>", "<", "/>", "<select><option>", "</h1>", "<h1>", "<title>", "text and words "]
    )
    parts: list[str] = []
    size = 0
    while size < n:
        parts.append(made.choice(pieces))
        size += len(parts[-1])
    return _wrapped("".join(parts).encode())


def _one_attribute(n: int) -> bytes:
    return _wrapped(b"<p title='" + b"x" * n + b"'>text</p>")


def _ends_below_a_deep_stack(n: int) -> bytes:
    """A stack that every end tag would have to be looked for in."""
    return _wrapped(b"<div>" * (n // 12) + b"</span>" * (n // 12))


def _texts_at_every_depth(n: int) -> bytes:
    """Every level has text and class names: what is summed over ancestors is summed over all of them."""
    return _wrapped(b"".join(b"<div class='level l%d'>Some words here" % i for i in range(n // 42)))


def _utf16(n: int) -> bytes:
    """UTF-16 with a byte order mark and half a character at the end."""
    return b"\xff\xfe" + ("<p>Grüße, 世界 😀 </p>" * (n // 40)).encode("utf-16-le") + b"\x00"


PAGES: dict[str, Maker] = {
    # what brought others down
    "paragraphs": _numbered(f"<p>{SENTENCE}</p>"),
    "short paragraphs": _repeated("<p>word</p>"),
    "table rows": _numbered("<tr><td>cell {}</td><td>{}</td></tr>", "<table>", "</table>"),
    "links": _numbered("<li><a href='/page/{}'>Link number {}</a></li>", "<ul>", "</ul>"),
    "nested div": _nested("<div>", "</div>"),
    "nested div, never closed": _nested("<div>"),
    "one paragraph": _numbered(SENTENCE, "<p>", "</p>"),
    "binary": _binary,
    "NUL": _repeated("\0", "<p>"),
    "colspan": _repeated("<td colspan=1000000000 rowspan=1000000000>x</td>", "<table><tr>", "</table>"),
    "one attribute": _one_attribute,
    "many attributes": _numbered("a{}={} ", "<p ", ">text</p>"),
    "script": _numbered("var x{} = '<p>not text</p>';\n", "<script>", "</script><p>text</p>"),
    "rows of unlike lengths": _halves("<td>x", "<tr><td>y", "<table><tr>"),
    "spans in rows": _repeated("<tr><td colspan=1000>x<td>y", "<table><th>z"),
    "wide spans": _repeated("<td colspan=1000>x", "<table><tr><th>y<tr>"),
    "nested tables": _nested("<table><tr><td>", "</td></tr></table>"),
    "nested tables, never closed": _nested("<table><tr><td>cell"),
    # ends that never come
    "<": _repeated("<"),
    "<p": _repeated("<p"),
    "<p ": _repeated("<p "),
    "</": _repeated("</"),
    "</p": _repeated("</p"),
    "quote opened": _repeated("<a href='"),
    "quote opened and a word": _repeated('<a href="x">word <a title=\'y '),
    "comment opened": _repeated("<!--"),
    "comment of dashes": _repeated("-", "<!--"),
    "comment almost closed": _repeated("<!-- x --!", "<p>"),
    "declaration opened": _repeated("<!DOCTYPE "),
    "instruction opened": _repeated("<?php "),
    "CDATA opened": _repeated("<![CDATA["),
    "script opened": _repeated("<script>"),
    "script almost closed": _repeated("<script></scrip"),
    "script with a comment": _repeated("<script><!--<script>", "", "</script>"),
    "svg opened": _repeated("<svg>"),
    "svg nested": _nested("<svg>", "</svg>"),
    "style, title and textarea opened": _repeated("<style><title><textarea>"),
    "iframe opened": _repeated("<iframe>x"),
    # references
    "&": _repeated("&"),
    "&#": _repeated("&#"),
    "& and letters": _repeated("a", "<p>&"),
    "references without an end": _repeated("&amp&lt&notit;&#65", "<p>"),
    "references of no character": _repeated("&#0;&#x110000;&#xD800;&#99999999999999999999;", "<p>"),
    # stacks and ancestors
    "a never closed": _repeated("<a href=x>link "),
    "b never closed": _nested("<b>"),
    "formatting never closed": _repeated("<a><b><i><font><p>x"),
    "p, li, dt, dd, td, option never closed": _repeated("<p>x<li>x<dt>x<dd>x<td>x<option>x"),
    "nested sup around a text": _around("<sup>", "</sup>"),
    "nested q around a text": _around("<q>", "</q>"),
    "nested line numbers around digits": _around("<span class=lineno>", "</span>", "1 ", "<pre>"),
    "nested gutters around digits": _around("<div class=gutter>", "</div>", "1 "),
    "nested lists": _nested("<ul><li>item", "</li></ul>"),
    "ends of nothing": _repeated("</div></p></table></li>"),
    "ends below a deep stack": _ends_below_a_deep_stack,
    "texts at every depth": _texts_at_every_depth,
    "sections of headings": _numbered("<section><h2>Heading {}</h2>", "", "</section>"),
    # blocks
    "equal blocks": _repeated("<p>The same sentence stands here over and over, and it is long enough.</p>"),
    "one word": _repeated("x", "<p>"),
    "the same word": _repeated("word ", "<p>"),
    "ideographs": _repeated("漢字かな", "<p>"),
    "lower case longer than upper": _repeated("İ", "<p>"),
    "combining marks": _repeated("\u0301", "<p>e"),
    "white space": _repeated(" \n\t\u00a0"),
    "br": _repeated("<br>x"),
    "br and hr": _repeated("<br><br><hr>"),
    "lines of code": _numbered("    x{} = y\n", "<pre><code>", "</code></pre>"),
    "class names": _numbered("name-{}OfMany ", "<p class='", "'>text</p>"),
    "hidden": _repeated("<div style='display:none' hidden aria-hidden=true>x</div>"),
    "meta": _repeated("<meta charset=x><meta property='og:type' content='article'>"),
    "JSON-LD": _repeated('{"@type": "Article", ', "<script type='application/ld+json'>", "</script>"),
    "soup": _soup,
    # bytes
    "bytes that are no UTF-8": _raw(b"<p>\xff\xfe\xc3(\xed\xa0\x80 "),
    "lead bytes": _raw(b"\xc3"),
    "letters of many charsets": _raw(bytes(range(128, 256))),
    "UTF-16": _utf16,
    "escape sequences": _raw(b"\x1b$B\x1b(B"),
}
