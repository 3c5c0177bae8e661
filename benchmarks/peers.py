"""The extractors that ours is measured beside, each a function of page bytes and declared charset.

They run in the sandbox of `curate.extract`, one page at a time in a child that is killed after its deadline, because
several of them hang or crash on some pages. All get the page decoded by the same function; what decoding costs is
part of each one's time, as it is of ours.
"""

import json
import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from curate.extract import extractors
from curate.extract.sandbox import Crashed, Sandbox, Timeout
from models.extractor.truth import Page

DEADLINE = 30.0
"""CPU seconds that a page may take."""
MEMORY = 4 << 30

_LANG = re.compile(rb"<html[^>]*\slang=[\"']?([A-Za-z]{2})", re.IGNORECASE)
_STOPLISTS = {
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "cs": "Czech", "nl": "Dutch", "sv": "Swedish",
}  # fmt: skip


def trafilatura_fast(page: bytes, charset: str | None = None) -> str:
    import trafilatura

    html = extractors.decode(page, charset)
    return trafilatura.extract(html, fast=True, include_comments=False, include_tables=True, deduplicate=False) or ""


def readability(page: bytes, charset: str | None = None) -> str:
    """readability-lxml gives HTML, whose text is taken with lxml: a line a block, as it has no text output."""
    import lxml.html
    from readability import Document

    summary = lxml.html.fromstring(Document(extractors.decode(page, charset)).summary())
    for element in summary.iter("p", "div", "li", "br", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "td", "pre"):
        element.tail = "\n" + (element.tail or "")
    return str(summary.text_content())


def justext(page: bytes, charset: str | None = None) -> str:
    """jusText with the stoplist of the language that the page declares, English where it declares none; for a
    language it has no stoplist for, its mode without one."""
    import justext as library

    declared = _LANG.search(page[:4096])
    language = declared.group(1).decode().lower() if declared else "en"
    html = extractors.decode(page, charset)
    if language in _STOPLISTS:
        paragraphs = library.justext(html, library.get_stoplist(_STOPLISTS[language]))
    else:
        paragraphs = library.justext(html, frozenset(), stopwords_low=0, stopwords_high=0)
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


PEERS: dict[str, Callable[..., str]] = {
    "trafilatura": extractors.trafilatura,
    "trafilatura fast": trafilatura_fast,
    "resiliparse": extractors.resiliparse,
    "cascade": extractors.cascade,
    "readability-lxml": readability,
    "jusText": justext,
}


def extract(page: bytes, *, peer: str, charset: str | None = None) -> str:
    """The sandbox's entry: JSON of the CPU seconds and the text."""
    began = time.process_time()
    text = PEERS[peer](page, charset)
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
