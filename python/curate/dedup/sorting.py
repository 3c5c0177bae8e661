"""Tables larger than memory in sorted order: ranges of a column, batches of one size, and binary search in them.

A list that a stage looks up for every document is written once, sorted, in batches of LIST_ROWS rows, however many
partitions its rows came from: a lookup costs one binary search over the first keys of the batches and one in each
batch that may hold something. The batches stay where they lie, in mapped files.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LIST_ROWS = 1 << 18  # of a batch of a sorted list: 12 MB of a keep list
SAMPLES = 64  # values looked at for each range, so that ranges are of about one size


class Rounds(Protocol):
    """The part of `Reads` (stages/protocol.py) by which work that would not fit memory is done in rounds."""

    memory: int

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]: ...


def key_view(column: pa.Array) -> np.ndarray:
    """A column of ids or of uint64 as numpy sees it, without a copy; ids sort and compare as their bytes do."""
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(column.buffers()[1], "S16", len(column), column.offset * 16)
    numbers: np.ndarray = column.to_numpy()
    return numbers


def id_bytes(key: bytes) -> bytes:
    """All 16 bytes of an id: numpy takes zeros at the end of a value away."""
    return bytes(key).ljust(16, b"\0")


def ranges(table: pa.Table, by: str, row_bytes: int, memory: float) -> Iterator[pa.Table]:
    """The rows of `table` by ascending ranges of the column `by`, each of which takes about `memory` bytes at
    `row_bytes` bytes a row. Equal values come in one range."""
    batches = [batch for batch in table.to_batches() if batch.num_rows]
    count = -(-table.num_rows * row_bytes // max(1, int(memory)))
    edges: list[Any] = [None, *_edges([batch.column(by) for batch in batches], count), None]
    for low, high in pairwise(edges):
        # No name refers to a range while the next one is made: memory holds one.
        yield pa.Table.from_batches([_within(batch, by, low, high) for batch in batches], table.schema)


def _edges(columns: list[pa.Array], count: int) -> list[pa.Scalar]:
    """At most count - 1 distinct values, ascending, that cut the values of the columns into parts of about one size."""
    if count <= 1 or not columns:
        return []
    step = max(1, sum(map(len, columns)) // (SAMPLES * count))
    samples = pa.concat_arrays([column.take(pa.array(np.arange(0, len(column), step))) for column in columns])
    samples = samples.take(pc.sort_indices(samples))
    chosen = samples.take(pa.array(np.arange(1, count) * len(samples) // count))
    return list(pc.unique(chosen))


def _within(batch: pa.RecordBatch, by: str, low: pa.Scalar | None, high: pa.Scalar | None) -> pa.RecordBatch:
    """The rows with low <= `by` < high, where None is no limit."""
    if low is not None:
        batch = batch.filter(pc.greater_equal(batch.column(by), low))
    return batch.filter(pc.less(batch.column(by), high)) if high is not None else batch


def recut(tables: Iterable[pa.Table], rows: int = LIST_ROWS) -> Iterator[pa.Table]:
    """The same rows in batches of `rows` rows, the last one smaller: what is written does not depend on the rounds
    in which it was made."""
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        pending.append(table)
        count += table.num_rows
        if count >= rows:
            whole = pa.concat_tables(pending)
            for start in range(0, count - rows + 1, rows):
                yield whole.slice(start, rows).combine_chunks()
            count %= rows
            # A slice would keep all rows in memory: the few that are left are copied.
            pending = [whole.take(pa.array(np.arange(whole.num_rows - count, whole.num_rows)))]
            del whole
        del table
    if count:
        yield pa.concat_tables(pending).combine_chunks()


def merged(table: pa.Table, keys: Sequence[str], row_bytes: int, memory: float) -> Iterator[pa.Table]:
    """All rows sorted by `keys`, in batches of LIST_ROWS rows."""
    order = [(name, "ascending") for name in keys]
    return recut(map(lambda part: part.sort_by(order), ranges(table, keys[0], row_bytes, memory)))


class SortedBatches:
    """A list sorted by the column `by`, opened for lookups; see `merged`."""

    def __init__(self, table: pa.Table, by: str) -> None:
        self.batches = [batch for batch in table.to_batches() if batch.num_rows]
        self.keys = [key_view(batch.column(by)) for batch in self.batches]
        self.firsts = np.array([keys[0] for keys in self.keys])
        if any(before[-1] > after[0] for before, after in pairwise(self.keys)):
            raise ValueError(f"the list is not sorted by {by}")

    def find(self, keys: np.ndarray) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
        """(batch, rows of `keys` that are in it, their places in it) for every batch that may hold one of `keys`."""
        if not self.batches:
            return
        owner = np.searchsorted(self.firsts, keys, "right") - 1
        order = np.argsort(owner, kind="stable")
        order = order[np.searchsorted(owner[order], 0) :]
        for rows in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1) if len(order) else []:
            number = owner[rows[0]]
            places = np.minimum(np.searchsorted(self.keys[number], keys[rows]), len(self.keys[number]) - 1)
            here = self.keys[number][places] == keys[rows]
            yield self.batches[number], rows[here], places[here]
