"""What the extractor decided about each block of one page, and why, for a person at a terminal.

`find` gets the page, `facts` makes plain data of it (what `--json` prints), `show` makes lines of the facts.
"""

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from curate import kernels
from curate.console import width
from curate.errors import ConfigError, DataError
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts, read
from curate.stages.extract import Extract

REASONS = 3  # features shown for each block, those that moved its probability most
ELEMENTS = 4  # last elements shown of a block's path; the first are the same for most blocks

Line = list[tuple[str, dict[str, Any]]]
"""(text, style as of click.style) parts; console.styled prints them and makes the texts harmless."""


class Page(NamedTuple):
    """A page as a server gave it: its file name or URL, its bytes, and the charset declared beside it, if any."""

    name: str
    html: bytes
    charset: str | None


def find(target: str, inputs: Sequence[InputSettings]) -> Page:
    """The page: a file, a URL among the pages of `inputs`, or, without inputs, a URL that is fetched now.

    Raises ConfigError where the file cannot be read or the inputs hold no pages, and DataError where no page has the
    URL or it cannot be fetched.
    """
    if not inputs and "://" not in target:
        try:
            return Page(target, Path(target).read_bytes(), None)
        except OSError as error:
            raise ConfigError(
                f"{target}: {error.strerror or error}; give an HTML file, a URL, or a URL and the files it is in"
            ) from None
    if not inputs:
        return _fetched(target)
    seen: list[str] = []
    for batch in _pages(inputs):
        urls = batch.column("url").to_pylist()
        if target in urls:
            row = batch.slice(urls.index(target), 1).to_pylist()[0]
            return Page(target, row["payload"] or b"", row["charset"])
        seen += [url for url in urls if url]
    near = difflib.get_close_matches(target, seen, n=1, cutoff=0.3)
    hint = f"; the nearest is {near[0]}" if near else ""
    raise DataError(f"none of the {len(seen):,} pages of the inputs has the URL {target}{hint}")


def _pages(inputs: Sequence[InputSettings]) -> Iterator[pa.RecordBatch]:
    """The pages of all inputs, batch by batch (schema.RAW)."""
    for task in cut(list_files(inputs)):
        for rows in read(task, ReadCounts()):
            if rows.kind != "raw":
                raise ConfigError("the inputs hold documents, not pages; give the crawl itself")
            yield rows.batch


def _fetched(url: str) -> Page:
    """Fetch one URL as `curate fetch` would: robots.txt is obeyed, redirects are followed, links are not."""
    from curate.fetch.crawl import fetch
    from curate.fetch.settings import FetchSettings

    # Five requests allow for redirects. The user named this URL, so it may be one of this machine or its network.
    settings = FetchSettings(max_pages=5, follow=False, allow_private=True)
    with tempfile.TemporaryDirectory() as folder:
        summary = fetch(settings, [url], Path(folder))
        if summary.pages == 0:
            what = summary.errors[0][1] if summary.errors else "its host's robots.txt forbids it"
            raise DataError(f"{url} cannot be read: {what}")
        for batch in _pages([InputSettings(path=folder, format="warc")]):
            row = batch.to_pylist()[-1]
            return Page(row["url"], row["payload"] or b"", row["charset"])
    raise DataError(f"{url} has no page")


def facts(page: Page, config: Extract) -> dict[str, Any]:
    """Everything about a page as plain data: what came out, and each block with its probability and reasons.

    Keys: page (its name), those of kernels.extract_html but `error`, `rejected` (the rule that would reject the page,
    or None), and `blocks` by the first policy (text, path, first and probability: 0..1, kept, unit: the units around
    it, why: it is kept or not, reasons with feature, value and moved: log-odds). Raises DataError where the extractor
    fails on the page.
    """
    found = kernels.extract_html(
        pa.array([page.html], pa.large_binary()),
        pa.array([page.charset or ""]),
        format=config.output,
        links=config.links,
        images=config.images,
        comments=config.comments,
        policies=config.policy,
    )
    whole = found.to_pylist()[0]
    if whole["error"] is not None:
        raise DataError(f"{page.name}: {whole['error']}")
    blocks = [
        {
            "text": text, "path": path, "first": first, "probability": probability, "kept": kept, "unit": unit,
            "why": why,
            "reasons": [{"feature": name, "value": value, "moved": moved} for name, value, moved in reasons],
        }
        for text, path, first, probability, kept, unit, why, reasons in kernels.explain_html(
            page.html, page.charset, comments=config.comments, policy=config.policy[0]
        )
    ]  # fmt: skip
    about = {key: value for key, value in whole.items() if key != "error"}
    return {"page": page.name, **about, "rejected": _rejected(page, whole, config), "blocks": blocks}


def _rejected(page: Page, whole: dict[str, Any], config: Extract) -> str | None:
    """The rule by which a run with these settings would reject the page, with its value and limit; None if none."""
    chars, least = len(whole["text"]), config.min_chars
    if len(page.html) > config.max_bytes:
        return f"extract.too_large: {len(page.html):,} bytes, limit {config.max_bytes:,}"
    if chars < least:
        return f"extract.empty: {chars:,} characters, limit {least:,}"
    if whole["score"] < config.min_score:
        return f"extract.low_score: {whole['score']:.2f}, limit {config.min_score:g}"
    return None


def show(found: dict[str, Any]) -> Iterator[Line]:
    """The facts for a terminal: a head, then each block with its probability, place, text and reasons."""
    blocks = found["blocks"]
    kept = sum(block["kept"] for block in blocks)
    yield [(found["page"], {"bold": True})]
    lost = f", {found['n_replaced']:,} characters lost" if found["n_replaced"] else ""
    language = found["language"] or "none"
    yield [(f"title {found['title'] or 'none'} · declares language {language} · {found['encoding']}{lost}", {})]
    if found["page_type"]:
        yield [(f"{found['page_type']}, {found['page_type_score']:.2f} sure", {})]
    yield [(f"{kept:,} of {len(blocks):,} blocks kept, {found['share']:.0%} of the words, score {found['score']:.2f}",
            {})]  # fmt: skip
    if found["rejected"]:
        yield [(f"a run would reject it: {found['rejected']}", {"fg": "red"})]
    yield []
    yield [("p      block (+ kept, - left out), its elements, and what moved its log-odds most", {})]
    yield [("       its number, the units around it, and what decided", {})]
    yield []
    for number, block in enumerate(blocks):
        yield from _block(number, block)


def _block(number: int, block: dict[str, Any]) -> Iterator[Line]:
    """Three lines: probability, sign and text of a block; its path and the features that moved its probability; its
    number, the units around it, and why it is kept or not."""
    sign, color = ("+", "green") if block["kept"] else ("-", "red")
    text = " ".join(block["text"].split())
    room = width() - 9  # columns after the probability and the sign
    shown = text if len(text) <= room else text[: room - 1] + "…"
    path = " > ".join(block["path"].split(" > ")[-ELEMENTS:])
    why = " · ".join(f"{r['moved']:+.2f} {r['feature']} {r['value']:.4g}" for r in block["reasons"][:REASONS])
    yield [(f"{block['probability']:.2f} {sign} ", {"fg": color, "bold": block["kept"]}),
           (shown, {"dim": not block["kept"]})]  # fmt: skip
    yield [(f"       {path}", {"fg": "blue"}), (f"  {why}" if why else "", {})]
    unit = f"in {block['unit']}: " if block["unit"] else ""
    yield [(f"       {number} {unit}{block['why']}", {"dim": True})]
