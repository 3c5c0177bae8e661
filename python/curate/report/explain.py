"""What the extractor decided about each block of one page, and why, for a person at a terminal."""

import difflib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import pyarrow as pa

from curate import kernels
from curate.errors import ConfigError, DataError
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts, read
from curate.report import terminal

REASONS = 3
"""Features that are shown of a block."""


class Page(NamedTuple):
    name: str
    html: bytes
    charset: str | None


def find(target: str, inputs: Sequence[InputSettings]) -> Page:
    """The page: a file, a URL among the pages of `inputs`, or, without inputs, a URL that is asked for now."""
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


def _pages(inputs: Sequence[InputSettings]) -> Any:
    for task in cut(list_files(inputs)):
        for batch in read(task, ReadCounts()):
            if "payload" not in batch.schema.names:
                raise ConfigError("the inputs hold documents, not pages; give the crawl itself")
            yield batch


def _fetched(url: str) -> Page:
    from curate.fetch.crawl import fetch
    from curate.fetch.settings import FetchSettings

    settings = FetchSettings(max_pages=5, scope=(url,), exclude=(".",), allow_private=True)
    with tempfile.TemporaryDirectory() as folder:
        summary = fetch(settings, [url], Path(folder))
        if summary.pages == 0:
            what = summary.errors[0][1] if summary.errors else "its host's robots.txt forbids it"
            raise DataError(f"{url} cannot be read: {what}")
        for batch in _pages([InputSettings(path=folder, format="warc")]):
            row = batch.to_pylist()[-1]
            return Page(row["url"], row["payload"] or b"", row["charset"])
    raise DataError(f"{url} has no page")


def facts(page: Page, comments: str) -> dict[str, Any]:
    """Everything about a page as plain data: what came out, and each block with its probability and reasons."""
    found = kernels.extract_html(
        pa.array([page.html], pa.large_binary()), pa.array([page.charset or ""]), comments=comments
    )
    whole = found.to_pylist()[0]
    if whole["error"] is not None:
        raise DataError(whole["error"])
    blocks = [
        {
            "text": text, "path": path, "first": first, "probability": probability, "kept": kept,
            "reasons": [{"feature": name, "value": value, "moved": moved} for name, value, moved in reasons],
        }
        for text, path, first, probability, kept, reasons in kernels.explain_html(
            page.html, page.charset, comments=comments
        )
    ]  # fmt: skip
    return {"page": page.name, **{key: value for key, value in whole.items() if key != "error"}, "blocks": blocks}


def show(found: dict[str, Any]) -> str:
    """The facts for a terminal: a head, then each block with its probability, place, text and reasons."""
    blocks = found["blocks"]
    kept = sum(block["kept"] for block in blocks)
    lines = [
        click.style(found["page"], bold=True),
        f"title {found['title'] or 'none'} · declares language {found['language'] or 'none'} · {found['encoding']}"
        + (f", {found['n_replaced']:,} characters lost" if found["n_replaced"] else ""),
        f"{kept:,} of {len(blocks):,} blocks kept, {found['share']:.0%} of the words, score {found['score']:.2f}",
        "",
        "p      block (+ kept, - left out), its elements, and what moved its log-odds most",
        "",
    ]
    for block in blocks:
        lines += _block(block)
    return "\n".join(lines)


def _block(block: dict[str, Any]) -> list[str]:
    width = terminal.width()
    sign, color = ("+", "green") if block["kept"] else ("-", "red")
    text = " ".join(block["text"].split())
    room = width - 9
    shown = text if len(text) <= room else text[: room - 1] + "…"
    # Only the last elements: the first are the same for most blocks.
    path = " > ".join(block["path"].split(" > ")[-4:])
    why = " · ".join(f"{r['moved']:+.2f} {r['feature']} {r['value']:.4g}" for r in block["reasons"][:REASONS])
    head = f"{block['probability']:.2f} {sign} "
    return [
        click.style(head, fg=color, bold=block["kept"]) + click.style(_harmless(shown), dim=not block["kept"]),
        click.style(f"       {path}", fg="blue") + (f"  {why}" if why else ""),
    ]


def _harmless(text: str) -> str:
    """Text of a page without the control characters that would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)
