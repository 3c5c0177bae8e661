"""What a text keeps of its page's structure: code, tables, headings, lists, links, formulas, beside other extractors.

    python -m benchmarks.structure                  # the half of the generators that nobody worked on
    python -m benchmarks.structure work             # the other half

The truth are the elements of each page's main part (structure_pages.py). An element counts as kept where its letters
and digits stand in the text without a gap. html2text chooses no main content: it converts the whole page, and shows
what a converter keeps.

    code verbatim       its lines with their indentation relative to each other, one after the other
    rows in one line    all cells with text in one line, in order; with the right number of cells: as many as the row
                        or the table has; tables whole: all rows so; valid: their first row has a delimiter row below
    headings            a line of as many `#`; their text: of those marked, nothing else stands in the line
    items               a bullet or a number before the first 25 letters and digits; nested items are indented
    links, inline code  as `[text](address)` and in backticks
    formulas            \\( \\) and the TeX of MathML (annotation or alttext); MathML once: as often as on the page, of
                        formulas that are more than letters and digits
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
from lxml import etree

from benchmarks.harness import Report, run
from benchmarks.structure_pages import Document, documents
from curate import kernels

Counts = dict[str, list[int]]
"""Measure -> [found, of]."""

NUMBERS = ("gutter", "linenos", "lineno", "linenodiv", "ln")
SIGNS = ("headerlink", "mw-editsection", "anchor", "doc-anchor", "self-link", "generated_id_link")


# -- extractors ----------------------------------------------------------------------------------------------


def ours(page: str, **settings: str) -> str:
    data = pa.array([page.encode("utf-8", "replace")], pa.large_binary())
    return str(kernels.extract_html(data, pa.array(["utf-8"]), **settings).field("text")[0])


def trafilatura(page: str) -> str:
    import trafilatura as library

    asked = {"include_links": True, "include_tables": True, "include_formatting": True, "include_comments": False}
    return library.extract(page, output_format="markdown", deduplicate=False, **asked) or ""


def resiliparse(page: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(page, main_content=True, preserve_formatting=True, links=False, alt_texts=False))


def html2text(page: str) -> str:
    import html2text as library

    converter = library.HTML2Text(bodywidth=0)
    converter.pad_tables = False
    return str(converter.handle(page))


EXTRACTORS: dict[str, Callable[[str], str]] = {
    "curate markdown": partial(ours, format="markdown", links="inline"),
    "curate text": ours,
    "trafilatura": trafilatura,
    "resiliparse": resiliparse,
    "html2text": html2text,
}


# -- what a page has -----------------------------------------------------------------------------------------


def squash(text: str) -> str:
    """Letters and digits alone."""
    return "".join(c for c in text if c.isalnum())


def words(element: etree._Element, classes: Sequence[str] = (), until: Sequence[str] = ()) -> str:
    """The text of an element without that of elements of these classes, up to the first of the elements `until`."""
    parts: list[str] = []

    def walk(node: etree._Element) -> bool:
        """Whether the text goes on after the node."""
        if node is not element and node.tag in until:
            return False
        if node.tag == "br":
            parts.append("\n")
        named = isinstance(node.tag, str)
        if node is element or (named and not set((node.get("class") or "").split()) & set(classes)):
            parts.append(node.text or "")
            if not all(walk(child) for child in node):
                return False
        if node is not element:
            parts.append(node.tail or "")
        return True

    walk(element)
    return "".join(parts)


def above(element: etree._Element, main: etree._Element, *names: str) -> int:
    """How many elements of these names stand around it inside the main part."""
    return sum(1 for node in element.iterancestors(*names) if main in (node, *node.iterancestors()))


def code_of(main: etree._Element) -> Iterator[list[str]]:
    """The lines of every code block."""
    for pre in main.xpath(".//pre|.//div[@class='fragment']"):
        if above(pre, main, "pre") or set((pre.get("class") or "").split()) & set(NUMBERS):
            continue
        if above(pre, main, "td") and any(
            set((cell.get("class") or "").split()) & set(NUMBERS) for cell in pre.iterancestors("td")
        ):
            continue
        if pre.tag == "div":
            text = "\n".join(words(line, NUMBERS).replace("\xa0", " ") for line in pre.xpath("./div[@class='line']"))
        else:
            text = words(pre, NUMBERS).replace("\xa0", " ")
        lines = [line.rstrip() for line in text.split("\n")]
        while lines and not lines[0]:
            lines.pop(0)
        while lines and not lines[-1]:
            lines.pop()
        if lines and squash("".join(lines)):
            yield lines


@dataclass
class Row:
    cells: list[str]
    widths: set[int] = field(default_factory=set)


def tables_of(main: etree._Element) -> Iterator[list[Row]]:
    """The rows of every table of data: no table in it, no heading, no code of several lines, two columns or more."""
    for table in main.iter("table"):
        if table.xpath(".//table|.//h1|.//h2|.//h3|.//h4|.//math|.//div[@class='fragment']") or any(
            "\n" in words(p).strip() for p in table.iter("pre")
        ):
            continue
        if above(table, main, "table") or set((table.get("class") or "").split()) & {"highlighttable", "navbar"}:
            continue
        rows = [Row([words(cell, SIGNS) for cell in row.xpath("./td|./th")]) for row in table.iter("tr")]
        spans = [sum(_span(cell) for cell in row.xpath("./td|./th")) for row in table.iter("tr")]
        rows_with = [row for row in rows if any(squash(cell) for cell in row.cells)]
        if len(rows_with) > 1 and max(map(len, (row.cells for row in rows)), default=0) > 1:
            for row in rows:
                row.widths = {len(row.cells), max(spans)}
            yield rows_with


def _span(cell: etree._Element) -> int:
    value = cell.get("colspan") or "1"
    return int(value) if value.isdigit() else 1


LAID_OUT = ".//h1|.//h2|.//h3|.//h4|.//h5|.//section"
"""What makes an item of a list a part of the page's layout."""


def items_of(main: etree._Element) -> Iterator[tuple[str, str | None, int]]:
    """(text up to what stands in it, number or None, depth) of every item of a list; not where a page is laid out by
    items, which hold headings."""
    for item in main.iter("li"):
        parent = item.getparent()
        own = words(item, until=("ul", "ol", "dl", "pre", "table"))
        laid_out = above(item, main, "table") or item.xpath(LAID_OUT)
        if parent is None or parent.tag not in ("ul", "ol") or not squash(own) or laid_out:
            continue
        number = None
        if parent.tag == "ol":
            start = parent.get("start") or "1"
            before = [sibling for sibling in parent.iterchildren("li")]
            if start.isdigit() and not any(sibling.get("value") for sibling in before):
                number = str(int(start) + before.index(item))
        depth = 1 + sum(not outer.xpath(LAID_OUT) for outer in item.iterancestors("li"))
        yield own, number, depth


# -- what a text has -----------------------------------------------------------------------------------------


@dataclass
class Line:
    """A line of the text and its letters and digits; with its marks read where it has some."""

    text: str
    squashed: str
    mark: str
    indent: int
    cells: list[str]


_ITEM = re.compile(r"^(?P<indent>[ >\t]*)(?P<mark>[-*+•]|\d{1,9}[.)])\s+(?=\S)")


def lines_of(text: str) -> list[Line]:
    found = []
    for line in text.split("\n"):
        item = _ITEM.match(line)
        mark, indent = (item["mark"], len(item["indent"])) if item else ("", 0)
        body = line[item.end() :] if item else line
        bare = re.sub(r"\]\([^)\s]*(?: \"[^\"]*\")?\)", "]", body)
        cells: list[str] = []
        if "\t" in line:
            cells = line.split("\t")
        elif "|" in line:
            inner = re.sub(r"^[ >\t]*(?:[-*+]\s|\d+[.)]\s)?\|?|\|\s*$", "", bare)
            cells = re.split(r"(?<!\\)\|", inner)
        found.append(Line(line, squash(bare), mark, indent, cells))
    return found


def count(document: Document, text: str) -> Counts:
    """What a text keeps of a page, measure by measure."""
    counts: Counts = {}

    def add(measure: str, found: bool) -> None:
        entry = counts.setdefault(measure, [0, 0])
        entry[0] += found
        entry[1] += 1

    lines = lines_of(text)
    whole = "".join(line.squashed for line in lines)
    _code(document, text, whole, add)
    _tables(document, lines, add)
    _headings(document, lines, whole, add)
    _items(document, lines, whole, add)
    _inline(document, text, add)
    _formulas(document, text, add)
    return counts


Add = Callable[[str, bool], None]


def _code(document: Document, text: str, whole: str, add: Add) -> None:
    lines = [line.rstrip() for line in text.split("\n")]
    places: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        places.setdefault(line.strip(" >"), []).append(at)
    for code in code_of(document.main):
        kept = squash("".join(code)) in whole
        add("code: text kept", kept)
        add("code: verbatim", any(_same(code, lines, at) for at in places.get(code[0].strip(" >"), [])))


def _same(code: list[str], lines: list[str], at: int) -> bool:
    """Whether these lines of code stand at this place, all as far to the right."""
    shift = len(lines[at]) - len(code[0])
    if shift < 0 and code[0][:-shift].strip():
        return False
    for line, found in zip(code, lines[at : at + len(code)], strict=False):
        if not line.strip():
            same = not found.strip(" >")
        elif shift < 0:
            same = line[-shift:] == found
        else:
            same = found.endswith(line) and len(found) == len(line) + shift
        if not same:
            return False
    return at + len(code) <= len(lines)


def _tables(document: Document, lines: list[Line], add: Add) -> None:
    index: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        index.setdefault(line.squashed, []).append(at)
    for rows in tables_of(document.main):
        all_right, first = True, None
        for row in rows:
            joined = "".join(squash(cell) for cell in row.cells)
            places = index.get(joined, [])
            add("rows: in one line", bool(places))
            right = [at for at in places if _right(row, lines[at])]
            add("rows: right number of cells", bool(right))
            if any(not cell.strip() for cell in row.cells):
                add("rows with an empty cell: right number of cells", bool(right))
            all_right &= bool(right)
            first = right[0] if row is rows[0] and right else first
        add("tables: whole", all_right)
        below = lines[first + 1].text if first is not None and first + 1 < len(lines) else ""
        rule = re.fullmatch(r"[ >]*\|?(\s*:?-+:?\s*\|)+\s*(:?-+:?)?\s*", below)
        add("tables: valid Markdown", bool(rule))


def _right(row: Row, line: Line) -> bool:
    """Whether a line has as many cells as the row or the table, and the row's in their order."""
    if len(line.cells) not in row.widths:
        return len(row.cells) == 1
    cells = [squash(cell) for cell in line.cells]
    own = [squash(cell) for cell in row.cells]
    return cells == own if len(cells) == len(own) else [c for c in cells if c] == [c for c in own if c]


def _headings(document: Document, lines: list[Line], whole: str, add: Add) -> None:
    marked: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        heading = re.match(r"^[ >]*(#{1,6}) (.*)$", line.text)
        if heading:
            marked.setdefault(line.squashed, []).append((len(heading[1]), heading[2]))
    for element in document.main.iter("h1", "h2", "h3", "h4", "h5", "h6"):
        text = words(element, SIGNS)
        bare = squash(text)
        if not bare:
            continue
        found = marked.get(bare, [])
        add("headings: text kept", bare in whole)
        add("headings: marked, same level", any(level == int(element.tag[1]) for level, _ in found))
        if found:
            clean = [re.sub(r"\\(?=\W)|[*`]|\]\([^)]*\)|\[", "", shown) for _, shown in found]
            add("headings: nothing but their text", any(_plain(shown) == _plain(text) for shown in clean))


def _plain(text: str) -> str:
    return "".join(re.sub(r"[*`\[\]\\]", "", text).split())


def _items(document: Document, lines: list[Line], whole: str, add: Add) -> None:
    marked: dict[str, list[Line]] = {}
    for at, line in enumerate(lines):
        if line.mark:
            begins = _begins(lines, at)
            for length in range(1, len(begins) + 1):
                marked.setdefault(begins[:length], []).append(line)
    for own, number, depth in items_of(document.main):
        bare = squash(own)
        found = marked.get(bare[:25], [])
        add("items: text kept", bare in whole)
        add("items: marked", bool(found))
        if number is not None:
            add("items: number", any(line.mark[:-1] == number for line in found))
        if depth > 1:
            add("nested items: indented", any(line.indent > 0 for line in found))


def _begins(lines: list[Line], at: int) -> str:
    """The first 25 letters and digits of the item that begins in this line; its title may have a line of its own."""
    begins = lines[at].squashed
    for line in lines[at + 1 :]:
        if len(begins) >= 25 or line.mark:
            break
        begins += line.squashed
    return begins[:25]


def _inline(document: Document, text: str, add: Add) -> None:
    for link in document.main.xpath(".//a[@href]"):
        href = link.get("href").strip()
        if (
            squash(words(link, SIGNS))
            and not href.startswith(("#", "javascript:"))
            and not above(link, document.main, "pre")
        ):
            add("links: address kept", f"]({href}" in text or f"](<{href}" in text)
    spans = [squash(span) for span in re.findall(r"`+([^`\n]+)`+", text)]
    found = set(spans)
    for code in document.main.iter("code", "tt", "kbd", "samp"):
        bare = squash(words(code))
        if bare and not above(
            code, document.main, "pre", "code", "tt", "kbd", "samp", "h1", "h2", "h3", "h4", "h5", "h6"
        ):
            add("inline code: marked", bare in found)


def _formulas(document: Document, text: str, add: Add) -> None:
    bare = "".join(text.split())
    main = document.main
    for formula in re.findall(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", words(main), re.S):
        tex = "".join("".join(formula).split())
        add("TeX in signs: kept", tex in bare)
    texs = []
    for element in main.iter("{*}math", "math"):
        notes = [note.text or "" for note in element.iter("{*}annotation", "annotation")]
        tex = (notes or [element.get("alttext") or ""])[0]
        tex = "".join(re.sub(r"^\{\\(display|text)style(.*)\}$", r"\2", tex.strip(), flags=re.S).split())
        if tex:
            texs.append(tex)
    for tex in texs:
        add("MathML: TeX kept", tex in bare)
    for tex in {tex for tex in texs if not tex.isalnum()}:  # a letter stands in words too
        longer = sum(other.count(tex) for other in texs)
        add("MathML: TeX once", bare.count(tex) == longer)


# -- the table -----------------------------------------------------------------------------------------------


def _measure(report: Report, which: str) -> None:
    chosen = documents(which)
    names = list(dict.fromkeys(document.generator for document in chosen))
    title = f"The {which} half: {len(chosen)} pages of {', '.join(names)}"
    print(title, file=sys.stderr, flush=True)
    totals: dict[str, Counts] = {}
    for name, extract in EXTRACTORS.items():
        totals[name] = {}
        for document in chosen:
            for measure, (found, of) in count(document, extract(document.html)).items():
                entry = totals[name].setdefault(measure, [0, 0])
                entry[0] += found
                entry[1] += of
    lines = []
    own = totals["curate markdown"]
    for measure in own:
        cells = [totals[name].get(measure, [0, 0]) for name in EXTRACTORS]
        lines.append([measure, *(f"{found}/{of} ({found / max(of, 1):.3f})" for found, of in cells)])
        found, of = own[measure]
        theirs = totals["trafilatura"].get(measure, [0, 0])
        rate = theirs[0] / max(theirs[1], 1)
        report.row(f"{which} {measure}", found / max(of, 1), "share", 1, "trafilatura", rate, f"{of}", table=title)
    report.table(title, ["measure", *EXTRACTORS], lines)


def measured(report: Report) -> None:
    """The half of the generators that nobody worked on."""
    _measure(report, "measured")


def work(report: Report) -> None:
    """The half that was worked on."""
    _measure(report, "work")


if __name__ == "__main__":
    run("structure", [measured, work], ["trafilatura", "resiliparse", "html2text", "lxml"])
