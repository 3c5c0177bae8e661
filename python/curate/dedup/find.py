"""Texts that can be searched: blocks of documents with the suffix array of their bytes, in mapped files.

A block is one row of find/TASK.arrow: `text` holds the UTF-8 of its documents one after the other, each followed by the
byte 0xFF, which no text has; document i begins at `start[i]`; `suffixes` are all places of `text` in the order of what
follows them. So places where some words begin lie side by side, and two binary searches find them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curate import kernels, schema
from curate.errors import ConfigError, DataError

PATH = "find/{task}.arrow"  # below the run's folder
END = b"\xff"  # between documents
AROUND = 60  # bytes of a hit's surroundings on each side

BLOCK = pa.schema(
    [
        ("doc_id", pa.large_list(schema.DOC_ID)),
        ("start", pa.large_list(pa.int64())),
        ("text", pa.large_binary()),
        ("suffixes", pa.large_list(pa.uint32())),
    ]
)


def block(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The texts of a batch of documents as one row of BLOCK; no row of none."""
    if batch.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=BLOCK)
    texts = [text.encode() for text in batch.column("text").to_pylist()]
    joined = END.join([*texts, b""])
    starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    row = {
        "doc_id": pa.LargeListArray.from_arrays([0, len(texts)], batch.column("doc_id")),
        "start": pa.LargeListArray.from_arrays([0, len(texts)], pa.array(starts, pa.int64())),
        "text": pa.array([joined], pa.large_binary()),
        "suffixes": pa.LargeListArray.from_arrays([0, len(joined)], kernels.suffix_array(joined)),
    }
    return pa.RecordBatch.from_arrays([row[field.name].cast(field.type) for field in BLOCK], schema=BLOCK)


class Hit(NamedTuple):
    """A place where the words stand."""

    doc_id: bytes
    start: int  # in bytes of the document's text
    before: str  # at most AROUND bytes before the words, and after them
    after: str


class Texts:
    """The searchable texts of a run, mapped."""

    def __init__(self, run: Path) -> None:
        """ConfigError where the run keeps none, DataError where a file is damaged."""
        paths = sorted((run / "find").glob("*.arrow"))
        if not paths:
            raise ConfigError(
                f"{run} keeps no texts to search (no find/*.arrow there): run substring-dedup with --keep-index"
            )
        self.rows: list[pa.RecordBatch] = []
        for path in paths:
            try:
                batches = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_batches()
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(f"{path} is damaged ({error}); run substring-dedup again") from None
            self.rows += [batch.slice(row, 1) for batch in batches for row in range(batch.num_rows)]

    def find(self, words: str) -> tuple[int, Iterator[Hit]]:
        """(how often the words stand in the texts, byte for byte; the places, in the order of blocks and bytes)."""
        wanted = words.encode()
        ranges = [_range(row, wanted) for row in self.rows]
        hits = (hit for row, found in zip(self.rows, ranges, strict=True) for hit in _hits(row, len(wanted), *found))
        return sum(high - low for low, high in ranges), hits


def _columns(row: pa.RecordBatch) -> tuple[memoryview, np.ndarray]:
    """The text and the suffixes of a block, where they lie."""
    suffixes = row.column("suffixes").flatten().to_numpy()
    return memoryview(row.column("text")[0].as_buffer()), suffixes


def _range(row: pa.RecordBatch, wanted: bytes) -> tuple[int, int]:
    """The first suffix that begins with `wanted`, and one past the last."""
    text, suffixes = _columns(row)
    length = len(wanted)

    def first(after: bool) -> int:
        low, high = 0, len(suffixes)
        while low < high:
            middle = (low + high) // 2
            place = int(suffixes[middle])
            head = bytes(text[place : place + length])
            if head < wanted or (after and head == wanted):
                low = middle + 1
            else:
                high = middle
        return low

    low = first(after=False)
    return low, first(after=True) if low < len(suffixes) else low


def _hits(row: pa.RecordBatch, length: int, low: int, high: int) -> Iterator[Hit]:
    """The places of a block, ascending."""
    if low == high:
        return
    text, suffixes = _columns(row)
    starts = row.column("start").flatten().to_numpy()
    ids = row.column("doc_id").flatten()
    places = np.sort(suffixes[low:high]).astype(np.int64)
    owners = np.searchsorted(starts, places, "right") - 1
    for place, owner in zip(places.tolist(), owners.tolist(), strict=True):
        begin = int(starts[owner])
        end = int(starts[owner + 1]) - 1 if owner + 1 < len(starts) else len(text) - 1
        before = bytes(text[max(begin, place - AROUND) : place]).decode(errors="ignore")
        after = bytes(text[place + length : min(end, place + length + AROUND)]).decode(errors="ignore")
        yield Hit(ids[owner].as_py(), place - begin, before, after)
