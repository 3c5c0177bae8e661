"""Plain text and source code: a document a file.

The file is read whole, up to `max_line` bytes; a longer one is dropped as read.too_large, a damaged one as
read.truncated. Its doc_id follows from its name alone.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from curate import schema
from curate.io import columns
from curate.io.batches import REPLACED, Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_utf8
from curate.io.inputs import Slice


def read_text(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """One DOCUMENT row: the file's text, without a byte order mark."""
    batcher = Batcher(piece.source, piece.rel, "document", columns.from_text(piece.carried))
    row: dict[str, Any] = {"origin_offset": 0, "doc_id": schema.doc_id(piece.rel, 0), "text": ""}
    with open_utf8(piece.path, piece.codec) as handle:
        data, verdict = whole(handle, piece, counts)
    if verdict is None:
        row["text"] = data.decode("utf-8-sig", "replace")
        # A U+FFFD that the file does not spell itself stands for bytes that are not UTF-8.
        if "\ufffd" in row["text"] and b"\xef\xbf\xbd" not in data:
            verdict = REPLACED
    yield from batcher.add(row, len(data), verdict)
    yield from batcher.rest()


def whole(handle: BinaryIO, piece: Slice, counts: ReadCounts) -> tuple[bytes, Verdict | None]:
    """The bytes of a file that is one row; a verdict where it is longer than `max_line`, or damaged."""
    data, verdict = b"", None
    try:
        data = handle.read(piece.max_line + 1)
    except Damaged as error:
        counts.damage(piece.rel, f"damaged: {error}", piece.size)
        verdict = Verdict("read.truncated", detail=str(error))
    if len(data) > piece.max_line:
        verdict = Verdict("read.too_large", float(max(piece.size, len(data))), float(piece.max_line))
    return data, verdict
