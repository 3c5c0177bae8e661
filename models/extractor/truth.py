"""Crawled pages beside what a person, or a publisher's own parser, says their main text is.

A folder holds WARC files, one `*ground_truth.jsonl.zst` and, where the pages have several sources, a
`manifest.jsonl.zst`; both tables name pages by their WARC record id. Pages come through the project's own reader,
so that training and evaluation see the bytes that the extract stage sees.

A row of truth has a `kind`:

    full, full_p_tags, publisher_parser   `main` is the whole main text (full_p_tags: with <p> and </p> around lines)
    html                                  `main` is the main text as HTML, in the manner of one algorithm
    elements                              `main` is the text of the page's main element (documentation.py)
    segments                              `with` lists passages that belong to the text, `without` some that do not
    prefix                                `main` is how the text begins
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tld import get_fld

from curate import schema
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts, open_decompressed, read

FULL = frozenset(("full", "full_p_tags", "publisher_parser"))
"""The kinds whose truth is the whole text, so that precision and recall can both be measured."""

ELEMENTS = "elements"
"""The kind whose truth is the whole text of a page's main element: to learn from, not to score by."""

KINDS = ("article", "forum", "product", "listing", "collection", "documentation", "service")
"""The kinds of pages that WCXB tells apart, in the order of the model's tables (rust/html/src/kinds.rs)."""


@dataclass(frozen=True)
class Page:
    """One page as it was crawled: `html` is transfer- and content-decoded, and in the charset it came in."""

    record_id: str
    url: str
    source: str
    page_type: str | None
    lang: str | None
    html: bytes
    charset: str | None
    """As the server declared it; None where it declared none."""
    truth: dict[str, Any] | None


def pages(folder: Path) -> Iterator[Page]:
    """Every page of the folder's WARC files in their order, re-crawls (`dup_of`) left out.

    Raises ValueError where a response of the WARC files does not stand in the tables exactly once, and where one with
    a truth was not read: an evaluation must not shrink unnoticed.
    """
    truths = {row["record_id"]: row for path in sorted(folder.glob("*ground_truth.jsonl.zst")) for row in _rows(path)}
    manifest = folder / "manifest.jsonl.zst"
    known = list(_rows(manifest)) if manifest.exists() else list(truths.values())
    by_url: dict[str, list[dict[str, Any]]] = {}
    for row in known:
        by_url.setdefault(row["url"].strip(), []).append(row)
    missing = set(truths)
    for found in _responses(folder):
        rows = [row for row in by_url.get(found["url"], []) if _is(row, found)]
        if len(rows) != 1:
            raise ValueError(
                f"{found['origin_file']}: {len(rows)} rows of the tables are the response for {found['url']}"
            )
        row = rows[0]
        if row.get("dup_of"):
            continue
        missing.discard(row["record_id"])
        yield _page(row, found, truths.get(row["record_id"]))
    if missing:
        raise ValueError(f"{folder}: {len(missing)} pages with a truth were not read, one is {min(missing)}")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open_decompressed(str(path)) as lines:
        for line in lines:
            yield json.loads(line)


def _responses(folder: Path) -> Iterator[dict[str, Any]]:
    counts = ReadCounts()
    for task in cut(list_files([InputSettings(path=str(folder), format="warc")])):
        for rows in read(task, counts):
            yield from rows.batch.to_pylist()


def _is(row: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the response is the row's record; its doc_id is made of the place and the record id."""
    made = schema.doc_id(found["origin_file"], found["origin_offset"], row["record_id"])
    return bool(made == found["doc_id"])


def _page(row: dict[str, Any], found: dict[str, Any], truth: dict[str, Any] | None) -> Page:
    kind = row.get("page_type")
    return Page(
        record_id=row["record_id"],
        url=row["url"].strip(),
        source=row["source"],
        page_type=None if kind and "=" in kind else kind,  # some rows carry another label there: `true_charset=…`
        lang=row.get("lang"),
        html=found["payload"],
        charset=found["charset"],
        truth=truth,
    )


def domain(url: str) -> str:
    """The registered domain (`bbc.co.uk`); the host where it has none, as an address or a bare name has none."""
    found = get_fld(url, fix_protocol=True, fail_silently=True)
    if found:
        return str(found)
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def fold(url: str, folds: int = 5) -> int:
    """The part of a cross-validation that a page belongs to: pages of one registered domain share it."""
    return zlib.crc32(domain(url).encode()) % folds
