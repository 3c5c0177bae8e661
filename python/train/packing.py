"""Documents packed into rows of T tokens; a step copies out of the shards only the tokens it trains on.

Packing is by best fit (arXiv 2404.10830): a document longer than a row is split, nothing is lost, and rows are above
99.9 % full. It depends on the shards and T alone, and is kept as `<source>-<T>.arrow`, a row of pieces (doc, start,
length) each.

In a row, the piece doc[start : start + n] is what has to be predicted, from the tokens one place before it:

    targets    t0  t1  t2 EOD | t512 t513 … | (padding: IGNORE)
    inputs    EOD  t0  t1  t2 | t511 t512 … | EOD …
    documents   0   0   0   0 |    1    1 … |   2 …

so every token of every document is a target exactly once an epoch, and the end-of-document id starts a document.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import DataError
from train.checkpoint import write_file
from train.loss import IGNORE
from train.shards import Int, Manifest, Source

PACKING_VERSION = 1


class Packed:
    """A source cut into rows of T tokens: row r holds the pieces p from first[r] to below first[r + 1].

    Piece p is doc[p] from token start[p] on, length[p] tokens long.
    """

    def __init__(self, source: Source, row_length: int, table: pa.RecordBatch) -> None:
        self.source, self.row_length = source, row_length
        self.first: Int = table.column("doc").offsets.to_numpy()
        parts = (table.column(name).values.to_numpy() for name in ("doc", "start", "length"))
        self.doc, self.start, self.length = parts

    @property
    def rows(self) -> int:
        return len(self.first) - 1

    def pieces(self, rows: Int) -> tuple[Int, Int]:
        """The pieces of these rows, one after the other, and the place of each piece's row in `rows`."""
        counts = self.first[rows + 1] - self.first[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        return np.arange(len(row)) - (np.cumsum(counts) - counts - self.first[rows])[row], row

    def read(self, rows: Int, end_of_document: int) -> "Batch":
        """Rows `rows`, in that order."""
        size = (len(rows), self.row_length)
        targets, inputs, starts = np.full(size, IGNORE), np.empty(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        pieces, row = self.pieces(rows)
        doc, start, length = (part[pieces].astype(np.int64) for part in (self.doc, self.start, self.length))
        ends = np.cumsum(length)
        first_of_row = np.searchsorted(row, np.arange(len(rows)))  # piece
        place = ends - length - (ends - length)[first_of_row][row] + row * size[1]  # in the flattened rows
        chunk = np.searchsorted(self.source.first, doc, side="right") - 1
        at, before = np.empty_like(doc), np.full(len(doc), end_of_document)
        for one in np.unique(chunk).tolist():
            here, held = chunk == one, self.source.chunks[one]
            at[here] = held.offsets[doc[here] - self.source.first[one]] + start[here]
            inner = here & (start > 0)  # a document's later piece follows the token before it
            before[inner] = held.values[at[inner] - 1]
        flat = targets.reshape(-1)
        for one, to, begin, n in zip(chunk.tolist(), place.tolist(), at.tolist(), length.tolist(), strict=True):
            flat[to : to + n] = self.source.chunks[one].values[begin : begin + n]
        padding = targets == IGNORE
        inputs[:, 1:] = targets[:, :-1]
        inputs[padding] = end_of_document
        inputs.reshape(-1)[place] = before
        starts.reshape(-1)[place] = 1
        documents = np.cumsum(starts, axis=1) - 1
        documents[padding] = size[1]
        return Batch(inputs, targets, documents)


def pack(
    source: Source, row_length: int, end_of_document: int, cache: Path | None = None, documents: int | None = None
) -> Packed:
    """The first `documents` documents (all of them by default) of a source in rows of `row_length` tokens.

    cache: a folder where the packing is kept and found again, as long as the source's files stay the same.
    """
    path = cache / f"{file_name(source.name)}-{row_length}.arrow" if cache else None
    mark = f"{PACKING_VERSION}:{row_length}:{source.fingerprint}".encode()
    if path and path.exists():
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if (reader.schema.metadata or {}).get(b"packing") == mark:
            return Packed(source, row_length, reader.get_batch(0))
    source.check_ends(end_of_document)
    row, doc, start, length = pack_lengths(source.lengths()[:documents], row_length)
    first = np.concatenate([[0], np.cumsum(np.bincount(row))]).astype(np.int64)
    parts = {"doc": doc, "start": start, "length": length}
    columns = {name: pa.LargeListArray.from_arrays(first, values) for name, values in parts.items()}
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata({"packing": mark})
    if path:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        write_file(path, sink.getvalue())
    return Packed(source, row_length, batch)


def file_name(source: str) -> str:
    """The name of a source as a part of a file name: letters, digits, `_`, `-`, `~`; the rest as %XX."""
    return quote(source, safe="").replace(".", "%2E")


def pack_lengths(lengths: npt.NDArray[np.uint32], row_length: int) -> tuple[npt.NDArray[np.uint32], ...]:
    """Pieces (row, doc, start, length), sorted by row and place; an empty column where there are no documents."""
    from curate import kernels

    if not len(lengths):
        return (np.zeros(0, dtype=np.uint32),) * 4
    return tuple(column.to_numpy() for column in kernels.pack(pa.array(lengths), row_length=row_length))


class Batch(NamedTuple):
    """Rows as the model takes them, int64 [B, T] each; targets are IGNORE where nothing is to be predicted."""

    inputs: Int
    targets: Int
    documents: Int


class Weighted(NamedTuple):
    """A batch whose targets have a weight in the loss each, fp32 [B, T]."""

    inputs: Int
    targets: Int
    documents: Int
    weights: npt.NDArray[np.float32]


def read_batch(packed: Sequence[Packed], sources: Int, rows: Int, manifest: Manifest) -> Batch:
    """Row rows[i] of packed[sources[i]] for every i. Raises DataError for an id outside the vocabulary."""
    size = (len(rows), packed[0].row_length)
    batch = Batch(*(np.empty(size, dtype=np.int64) for _ in Batch._fields))
    for source in np.unique(sources).tolist():
        here = np.flatnonzero(sources == source)
        for whole, part in zip(batch, packed[source].read(rows[here], manifest.end_of_document), strict=True):
            whole[here] = part
    if batch.targets.max() >= manifest.vocab_size:
        raise DataError(
            f"a token id is {batch.targets.max()}, but the vocabulary has {manifest.vocab_size} tokens; "
            "check the shards with --set verify=true"
        )
    return batch


def documents_of(packed: Sequence[Packed], sources: Int, rows: Int) -> list[bytes]:
    """The doc_ids of the documents that have a piece in these rows, each once, in the order of rows."""
    found: dict[bytes, None] = {}
    for source, row in zip(sources.tolist(), rows, strict=True):
        one = packed[source]
        pieces, _ = one.pieces(np.array([row]))
        found.update(dict.fromkeys(one.source.doc_ids(one.doc[pieces].astype(np.int64))))
    return list(found)
