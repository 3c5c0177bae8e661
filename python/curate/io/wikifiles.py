"""Articles as WikiExtractor writes them: `<doc id="12" url="…" title="…">`, the text, `</doc>`; many in a file."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from curate import schema
from curate.io import columns
from curate.io.batches import REPLACED, Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_utf8, skipped_bytes
from curate.io.inputs import Slice

_BEGIN = re.compile(rb'<doc id="([^"]*)"(?: revid="[^"]*")?(?: url="([^"]*)")?(?: title="([^"]*)")?[^>]*>\s*')


def read_wiki(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """A DOCUMENT row an article. Its origin_offset is the byte of its `<doc`, in the decompressed file; text outside of
    articles is dropped as read.no_text, an article over `max_line` bytes as read.too_large."""
    batcher = Batcher(piece.source, piece.rel, "document", columns.from_text(piece.carried))
    with open_utf8(piece.path, piece.codec) as handle:
        position = 0
        article = _Article(piece, 0, b"")
        try:
            while line := handle.readline(piece.max_line + 2):
                begins = _BEGIN.match(line)
                if begins:
                    yield from article.row(batcher)
                    article = _Article(piece, position, line)
                elif line.rstrip() == b"</doc>":
                    yield from article.row(batcher)
                    article = _Article(piece, position + len(line), b"")
                else:
                    article.add(line)
                position += len(line)
        except Damaged as error:
            skipped = skipped_bytes(handle, position, piece.size)
            counts.damage(piece.rel, f"damaged after {position:,} decompressed bytes: {error}", skipped)
        yield from article.row(batcher)
        yield from batcher.rest()


class _Article:
    """An article while its lines are read, or, without a first line, what stands between articles."""

    def __init__(self, piece: Slice, offset: int, first: bytes) -> None:
        self.piece, self.offset, self.first = piece, offset, first
        self.lines: list[bytes] = []
        self.size = 0

    def add(self, line: bytes) -> None:
        """A line of it; no more than `max_line` bytes are kept."""
        if self.size <= self.piece.max_line:
            self.lines.append(line)
        self.size += len(line)

    def row(self, batcher: Batcher) -> Iterator[Rows]:
        """Its row, unless it is an empty place between articles."""
        data = b"".join(self.lines).strip()
        begins = _BEGIN.match(self.first)
        if not (begins or data):
            return
        text = data.decode("utf-8", "replace")
        verdict = None
        row: dict[str, Any] = {
            "origin_offset": self.offset, "doc_id": schema.doc_id(self.piece.rel, self.offset), "text": text,
        }  # fmt: skip
        if begins:
            names = ("source_id", "url", "title")
            given = (
                part and columns.valid_text(unescape(part.decode("utf-8", "replace")))[0] for part in begins.groups()
            )
            row |= {name: value or None for name, value in zip(names, given, strict=True)}
        if self.size > self.piece.max_line:
            row["text"] = text[:8000]
            verdict = Verdict("read.too_large", float(self.size), float(self.piece.max_line))
        elif not begins:
            verdict = Verdict("read.no_text", detail="text outside of <doc>")
        elif "\ufffd" in text and b"\xef\xbf\xbd" not in data:
            verdict = REPLACED
        yield from batcher.add(row, min(self.size, self.piece.max_line), verdict)
