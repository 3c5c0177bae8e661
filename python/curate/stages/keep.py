"""Which copy stays: the keep list that a deduplication stage writes once and looks up for every document.

Rows of a keep list are the members of groups of two or more: `head` (the first 8 bytes of doc_id as a
big-endian number, the sort order), doc_id, cluster_id (the representative's doc_id), n_copies (the sum over the
group) and similarity (of a copy, to what it was matched with). A lookup is a binary search in memory-mapped
columns: 48 bytes a listed document on disk, none of them copied into a worker.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.stages.protocol import with_column, with_verdict

Keep = Literal["first", "longest"]
KEEP_MEANING = "which copy stays: first by file name and place in it, or longest; ties go to the smallest doc_id"

# What a stage emits about each document so that the representative can be chosen.
RANK_COLUMNS = ("doc_id", "origin_file", "origin_offset", "n_copies", "length")


def rank_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The RANK_COLUMNS of a batch; length is the text's UTF-8 bytes."""
    return {
        "doc_id": batch.column("doc_id"),
        "origin_file": batch.column("origin_file").cast(pa.string()),
        "origin_offset": batch.column("origin_offset"),
        "n_copies": pc.fill_null(batch.column("n_copies"), 1).cast(pa.uint32()),
        "length": pc.binary_length(batch.column("text")),
    }


def keep_list(table: pa.Table, group: str, keep: Keep) -> pa.Table:
    """The keep list of the rows of `table` (RANK_COLUMNS, a `group` column, optionally `similarity`).

    Groups of one are left out. The same rows in any order give the same list.
    """
    order = [(group, "ascending")] + ([("length", "descending")] if keep == "longest" else [])
    order += [("origin_file", "ascending"), ("origin_offset", "ascending"), ("doc_id", "ascending")]
    table = table.take(pc.sort_indices(table, sort_keys=order)).combine_chunks()
    codes = pc.rank(table.column(group), tiebreaker="dense").to_numpy() if table.num_rows else np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    sizes = np.diff(np.append(starts, len(codes)))
    listed = np.repeat(sizes > 1, sizes)
    copies = table.column("n_copies").to_numpy().astype(np.uint64)
    total = np.add.reduceat(copies, starts) if len(starts) else copies
    similarity = (
        table.column("similarity") if "similarity" in table.schema.names else pa.nulls(table.num_rows, pa.float64())
    )
    rows = pa.table(
        {
            "head": _heads(table.column("doc_id")),
            "doc_id": table.column("doc_id"),
            "cluster_id": table.column("doc_id").take(pa.array(np.repeat(starts, sizes))),
            "n_copies": pa.array(np.repeat(np.minimum(total, 2**32 - 1), sizes).astype(np.uint32)),
            "similarity": similarity,
        }
    ).filter(pa.array(listed))
    return rows.take(pc.sort_indices(rows, sort_keys=[("head", "ascending"), ("doc_id", "ascending")]))


def _heads(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [
        np.frombuffer(c.buffers()[1], ">u8", len(c) * 2, c.offset * 16)[::2].astype(np.uint64) for c in chunks if len(c)
    ]
    return pa.array(np.concatenate(parts) if parts else np.zeros(0, np.uint64), pa.uint64())


class KeepList:
    """Keep lists opened for looking documents up; each table is sorted by head."""

    def __init__(self, table: pa.Table) -> None:
        self.parts = [batch for batch in table.to_batches() if batch.num_rows]

    def apply(self, batch: pa.RecordBatch, rule: str, limit: float | None) -> pa.RecordBatch:
        """`batch` with cluster_id and n_copies set, and a verdict on every row that is a copy."""
        ids = batch.column("doc_id")
        wanted = ids.to_pylist()
        heads = _heads(ids).to_numpy()
        clusters: list[bytes] = list(wanted)
        copies = pc.fill_null(batch.column("n_copies"), 1).to_pylist()
        rules: list[str | None] = [None] * len(wanted)
        values: list[float | None] = [None] * len(wanted)
        details: list[str | None] = [None] * len(wanted)
        for part in self.parts:
            listed = part.column("head").to_numpy()
            for i in np.flatnonzero(np.searchsorted(listed, heads, "left") < np.searchsorted(listed, heads, "right")):
                at = int(np.searchsorted(listed, heads[i], "left"))
                while at < len(listed) and listed[at] == heads[i]:
                    if part.column("doc_id")[at].as_py() == wanted[i]:
                        clusters[i] = part.column("cluster_id")[at].as_py()
                        if clusters[i] == wanted[i]:
                            copies[i] = part.column("n_copies")[at].as_py()
                        else:
                            rules[i] = rule
                            values[i] = part.column("similarity")[at].as_py()
                            details[i] = f"copy of {clusters[i].hex()}"
                    at += 1
        batch = with_column(batch, "cluster_id", pa.array(clusters, schema.DOC_ID))
        batch = with_column(batch, "n_copies", pa.array(copies, pa.uint32()))
        return with_verdict(batch, rules, values, [limit if rule else None for rule in rules], details)
