"""Extractors of other projects: page bytes and declared charset in, plain text of the main content out.

They run in the child process of sandbox.py. cascade is trafilatura's fast mode, or resiliparse's main content where
the former found less than a quarter of it. On WCXB (2,008 pages) that is F1 .828 dev / .864 test against .823 / .863
for trafilatura's default mode, at 1.3 times its speed, and it repairs forums (.565 -> .80).
"""

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from curate import kernels, plugins

MAX_DEPTH = 1000  # resiliparse's main content is quadratic in nesting: 2.6 s at 10,000, 89 s at 40,000
MAX_ELEMENTS = 20_000  # trafilatura takes seconds from here on
CASCADE_SHARE = 0.25  # least length of trafilatura's text as a share of resiliparse's

# Tags, and elements that hold nothing or whose end tag is often left out, for an estimate of the nesting depth.
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)([^>]*)>")
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
    + ("p", "li", "td", "tr", "th", "dt", "dd", "option")
)


def decode(page: bytes, charset: str | None) -> str:
    """The page as text; the encoding is found by the same rules for every extractor (kernels.decode_html)."""
    decoded = kernels.decode_html(pa.array([page], pa.large_binary()), pa.array([charset or ""]))
    return str(decoded.field("text")[0].as_py())


def trafilatura(page: bytes, charset: str | None = None) -> str:
    """trafilatura's default mode."""
    return _trafilatura(decode(page, charset), fast=False)


def trafilatura_precision(page: bytes, charset: str | None = None) -> str:
    """trafilatura with favor_precision: less text that is not content, and less that is."""
    return _trafilatura(decode(page, charset), fast=False, favor_precision=True)


def resiliparse(page: bytes, charset: str | None = None) -> str:
    """resiliparse's main content; of a page nested deeper than MAX_DEPTH its whole text."""
    html = decode(page, charset)
    return _resiliparse(html, main=_depth(html) <= MAX_DEPTH)


def cascade(page: bytes, charset: str | None = None) -> str:
    """trafilatura's fast mode, or resiliparse where it finds far more; see the top of this file."""
    html = decode(page, charset)
    rich = _resiliparse(html, main=_depth(html) <= MAX_DEPTH)
    # A page of very many elements, a table of data for example, would take trafilatura longer than a page may.
    if len(re.findall(r"<(?:p|tr|li)\b", html, re.IGNORECASE)) > MAX_ELEMENTS:
        return rich
    fast = _trafilatura(html, fast=True)
    return rich if len(fast) < CASCADE_SHARE * len(rich) else fast


EXTRACTORS: dict[str, Callable[..., str]] = {
    "cascade": cascade,
    "trafilatura": trafilatura,
    "trafilatura-precision": trafilatura_precision,
    "resiliparse": resiliparse,
}


WARM_UP = b"<!doctype html><title>a</title><article><h1>a</h1><p>one two three four five</p><ul><li>six</ul></article>"
"""The page of a probe: with it an extractor imports and compiles what it needs, seconds that are no page's."""


def extract(
    page: bytes, *, extractor: str, allowed: Sequence[str] = (), charset: str | None = None, probe: bool = False
) -> str:
    """The entry of the child process: the text of a page by one of EXTRACTORS or by the user's function.

    `allowed` are the packages whose code the command line allows. With `probe` the user's function is only looked up,
    and one of EXTRACTORS is tried with WARM_UP. Raises ConfigError where it cannot be imported, TypeError where it
    returns no text, and whatever the extractor raises.
    """
    function: Callable[..., str] = EXTRACTORS.get(extractor) or plugins.load(extractor, allowed)
    if probe:
        return EXTRACTORS[extractor](WARM_UP) if extractor in EXTRACTORS else ""
    text = function(page, charset)
    if not isinstance(text, str):
        raise TypeError(f"{extractor} returned {type(text).__name__}, not str")
    return text


def _trafilatura(html: str, *, fast: bool, favor_precision: bool = False) -> str:
    """Text with tables and without comments; empty where nothing was found."""
    import trafilatura as library

    text = library.extract(
        html,
        fast=fast,
        favor_precision=favor_precision,
        include_comments=False,
        include_tables=True,
        deduplicate=False,  # its deduplication remembers other pages: output would depend on order
    )
    return text or ""


def _resiliparse(html: str, *, main: bool) -> str:
    """Text with line ends as laid out; `main` for the main content alone."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=main, alt_texts=False, preserve_formatting=True))


def _depth(html: str) -> int:
    """An upper estimate of the nesting depth; elements whose end tag may be left out do not count."""
    depth = deepest = 0
    for match in _TAG.finditer(html):
        end, name, rest = match.groups()
        if name.lower() in _VOID or rest.endswith("/"):
            continue
        depth += -1 if end else 1
        deepest = max(deepest, depth)
    return deepest
