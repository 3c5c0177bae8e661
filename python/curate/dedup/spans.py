"""Spans of texts that are cut: joined where they overlap, one row a document, and texts without them.

A list of spans has the columns doc_id, start, end and other (the doc_id of a document with the same bytes): int64 lists
of bytes of the document's text, ascending, that neither overlap nor touch.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.dedup.sorting import ranges, recut

FOUND = pa.schema(
    [("doc_id", schema.DOC_ID), ("start", pa.int64()), ("end", pa.int64()), ("other", schema.DOC_ID)]
)  # a span as it is found, any number for a document
SPANS = pa.schema(
    [("doc_id", schema.DOC_ID), ("start", pa.large_list(pa.int64())), ("end", pa.large_list(pa.int64())),
     ("other", pa.large_list(schema.DOC_ID))]
)  # fmt: skip


def joined(found: pa.Table, row_bytes: int, memory: float) -> Iterator[pa.Table]:
    """The list of spans of the rows of `found` (FOUND), sorted by doc_id, in batches of one size; a row of `found`
    takes `row_bytes` bytes while it is worked on."""
    return recut(map(_joined, ranges(found, "doc_id", row_bytes, memory)))


def _joined(found: pa.Table) -> pa.Table:
    if found.num_rows == 0:
        return SPANS.empty_table()
    order = pc.sort_indices(found, sort_keys=[(name, "ascending") for name in ("doc_id", "start", "end", "other")])
    found = found.take(order).combine_chunks()
    start, end = (found.column(name).to_numpy() for name in ("start", "end"))
    document = pc.rank(found.column("doc_id"), tiebreaker="dense").to_numpy().astype(np.int64)
    # The furthest end so far in the same document: ends are raised by more than any of them with each document.
    step = int(end.max()) + 1
    furthest = np.maximum.accumulate(document * step + end)
    new = np.ones(len(start), bool)
    new[1:] = document[1:] * step + start[1:] > furthest[:-1]
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(start)) - 1
    ends = furthest[last] - document[last] * step
    owner = document[first]
    offsets = np.append(np.flatnonzero(np.diff(owner, prepend=0)), len(owner))
    others = found.column("other").combine_chunks().take(pa.array(first))
    lists = (pa.array(start[first]), pa.array(ends), others)
    ids = found.column("doc_id").combine_chunks().take(pa.array(first[offsets[:-1]]))
    return pa.table([ids, *(pa.LargeListArray.from_arrays(offsets, values) for values in lists)], schema=SPANS)


def without(text: str, starts: list[int], ends: list[int]) -> str:
    """The text without these spans of its UTF-8 bytes, which lie at the borders of characters."""
    data = text.encode()
    edges = [0, *(edge for span in zip(starts, ends, strict=True) for edge in span), len(data)]
    return b"".join(data[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)).decode()
