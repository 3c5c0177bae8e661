"""The extractors that ours is measured beside, each a function from decoded HTML to text.

They run in the sandbox of `curate.extract`, one page at a time in a child that is killed after its deadline, because
several of them hang or crash on some pages. All get the page decoded by the same function, whose cost is part of
their time, as decoding is part of ours.
"""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import py3langid

from curate.extract import extractors
from curate.extract.sandbox import Crashed, Sandbox, Timeout
from models.extractor.truth import Page

py3langid.classify("")  # it reads its model by way of a file, which a child of the sandbox cannot write
DEADLINE = 30.0
"""CPU seconds that a page may take."""
MEMORY = 4 << 30


def decode(page: bytes, charset: str | None) -> str:
    """The page as text: what is valid UTF-8 is that, whatever was declared, else as the extract stage decodes it.

    Of 1,919 pages 29 declare what they are not; a peer's parser shall not be blamed for it.
    """
    try:
        return page.decode("utf-8-sig")
    except UnicodeDecodeError:
        return extractors.decode(page, charset)


def trafilatura(html: str, *, fast: bool = False) -> str:
    """As the extract stage calls it: no comments, tables, no deduplication (which would remember other pages)."""
    import trafilatura as library

    return library.extract(html, fast=fast, include_comments=False, include_tables=True, deduplicate=False) or ""


def resiliparse(html: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=True, alt_texts=False))


def cascade(html: str) -> str:
    return extractors.cascade(html.encode("utf-8", "replace"), "utf-8")


def readability(html: str) -> str:
    """readability-lxml gives HTML, whose text is taken with lxml: a line a block, as it has no text output."""
    import lxml.html
    from readability import Document

    summary = lxml.html.fromstring(Document(html).summary())
    for element in summary.iter("p", "div", "li", "br", "tr", "td", "pre", "h1", "h2", "h3", "h4", "h5", "h6"):
        element.tail = "\n" + (element.tail or "")
    return str(summary.text_content())


def justext(html: str) -> str:
    """jusText needs a language's list of frequent words. It gets the list of the language that py3langid sees in the
    page's whole text; where it has none for it (Chinese), it runs in its mode without a list."""
    import justext as library
    from resiliparse.extract.html2text import extract_plain_text

    name = _STOPLISTS.get(py3langid.classify(extract_plain_text(html, main_content=False))[0])
    if name is None:
        paragraphs = library.justext(html, frozenset(), stopwords_low=0, stopwords_high=0)
    else:
        paragraphs = library.justext(html, library.get_stoplist(name))
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


_STOPLISTS = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "gl": "Galician", "he": "Hebrew", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ko": "Korean",
    "lt": "Lithuanian", "nl": "Dutch", "no": "Norwegian_Bokmal", "nb": "Norwegian_Bokmal", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese",
}  # fmt: skip

PEERS: dict[str, Callable[[str], str]] = {
    "trafilatura": trafilatura,
    "trafilatura fast": partial(trafilatura, fast=True),
    "resiliparse": resiliparse,
    "cascade": cascade,
    "readability-lxml": readability,
    "jusText": justext,
}


def extract(page: bytes, *, peer: str, charset: str | None = None) -> str:
    """The sandbox's entry: JSON of the CPU seconds from bytes to text, and the text."""
    began = time.process_time()
    text = PEERS[peer](decode(page, charset))
    return json.dumps([time.process_time() - began, text])


class Outcome(NamedTuple):
    """What a peer gave for a page: an empty text where it failed, and why."""

    text: str
    seconds: float
    failure: str | None


def outcomes(peer: str, pages: Iterable[Page]) -> dict[str, Outcome]:
    """What the peer gives for each page, by record id."""
    sandbox = Sandbox("benchmarks.peers:extract", timeout=DEADLINE, memory_bytes=MEMORY)
    made = {}
    try:
        # The first page would pay for the imports.
        sandbox.call(b"<p>warm up", peer=peer)
    except Crashed:
        pass
    for page in pages:
        try:
            seconds, text = json.loads(sandbox.call(page.html, peer=peer, charset=page.charset))
            made[page.record_id] = Outcome(text, seconds, None)
        except Timeout:
            made[page.record_id] = Outcome("", DEADLINE, f"more than {DEADLINE:g} s")
        except Crashed as error:
            made[page.record_id] = Outcome("", 0.0, str(error))
    sandbox.close()
    return made
