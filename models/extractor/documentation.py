"""Documentation as pages with a truth: what a generator writes into a page's main part is the page's content.

The benchmarks of extraction have 44 pages of documentation in all, and their truth, a text that persons or programs
copied, often lacks tables, code and lists of links. Here the truth is every word of the main element. The generators
are those of the half that benchmarks/structure does not measure, and some that it does not know, so that its figures
are those of unseen generators.
"""

from collections.abc import Iterator

from lxml import etree

from benchmarks.structure_pages import GENERATORS, Document, Generator, half, pages_of
from models.extractor.truth import ELEMENTS, Page

OTHERS = (
    Generator("nodejs", "nodejs-doc", "**/api/*.html", "//div[@id='apicontent']"),
    Generator("gi-docgen", "libgtk-4-doc", "**/*.html", "//section[@id='main']"),
    Generator("docutils", "docutils-doc", "**/*.html", "//div[contains(concat(@class, ' '), 'document ')]"),
    Generator("docbook-debian", "debian-reference-en", "**/*.en.html", "//body"),
    Generator("postfix", "postfix-doc", "**/*.html", "//body"),
    Generator("pldoc", "swi-prolog-doc", "**/doc/packages/*.html", "//body"),
    Generator("sdop", "exim4-doc-html", "**/*.html", "//div[@id='content']"),
    Generator("boostbook", "libboost1.74-doc", "**/doc/html/**/*.html", "(//div[@class='section'])[1]"),
)
"""Generators that are only learned from."""

PAGES = 16
"""Pages of each generator."""
BYTES = 120_000
"""Longer pages are left out: labels are made in time of the square of a page's words."""
INLINE = frozenset(
    ["a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd"]
    + ["mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "tt", "u", "var", "wbr"]
)
"""Elements that do not set words apart."""


def generators() -> tuple[Generator, ...]:
    """Those whose pages are learned from; those of a crawl have a truth already."""
    worked_on = (each for each in GENERATORS if half(each.name) == "work" and each.where != "crawl")
    return (*worked_on, *OTHERS)


def pages() -> Iterator[Page]:
    """The first pages of each generator, which has a domain of its own."""
    for generator in generators():
        for document in pages_of(generator, PAGES, BYTES):
            yield _page(document)


def _page(document: Document) -> Page:
    url = f"https://{document.generator}.invalid/{document.name}"
    return Page(
        record_id=url,
        url=url,
        source="documentation",
        page_type=None,
        lang="en",
        html=document.html.encode("utf-8", "replace"),
        charset="utf-8",
        truth={"kind": ELEMENTS, "main": text_of(document.main)},
    )


def text_of(element: etree._Element) -> str:
    """All text in it; elements other than those in a line are set apart."""
    parts: list[str] = []
    for event, node in etree.iterwalk(element, events=("start", "end", "comment", "pi")):
        named = isinstance(node.tag, str)
        if named and node.tag not in INLINE:
            parts.append(" ")
        if event == "start":
            parts.append(node.text or "")
        elif node is not element:
            parts.append(node.tail or "")
    return "".join(parts)
