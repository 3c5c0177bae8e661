"""Which copy stays: the keep list that a deduplication stage writes once and looks up for every document.

Rows of a keep list are the members of groups of two or more, sorted by doc_id: doc_id, cluster_id (the
representative's doc_id), n_copies (the sum over the group) and similarity (of a copy, to what it was matched with).
A lookup is a binary search in memory-mapped columns: 44 bytes a listed document on disk, none of them copied into a
worker.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.stages.protocol import with_column, with_verdict

Keep = Literal["first", "longest", "quality", "source"]
KEEP_MEANING = (
    "which copy stays: first by file name and place in it, longest, quality (highest quality_score), or source (by the"
    " list `sources`); ties go to the first"
)
SOURCES_MEANING = "sources from most to least wanted, for keep: source; others come after these"

KEEP_LIST_BYTES = 320  # that a member of a group takes while the keep list is made: 265 with names of files of 46
# What a stage emits about each document so that the representative can be chosen.
RANK_COLUMNS = ("doc_id", "origin_file", "origin_offset", "n_copies", "rank")


def check_keep(keep: str, sources: list[str]) -> None:
    """ValueError where the list of sources and the rule do not belong together."""
    if (keep == "source") != bool(sources):
        raise ValueError(
            "keep: source needs the list `sources`, for example [wiki, books]"
            if keep == "source"
            else "`sources` is read by keep: source only; set that, or leave the list out"
        )


def rank_columns(batch: pa.RecordBatch, keep: Keep, sources: list[str]) -> dict[str, pa.Array]:
    """The RANK_COLUMNS of a batch; the smallest rank stays. Longer counts in UTF-8 bytes; no score is the lowest."""
    if keep == "longest":
        rank = pc.negate(pc.binary_length(batch.column("text")).cast(pa.float64()))
    elif keep == "quality":
        rank = pc.negate(pc.fill_null(batch.column("quality_score").cast(pa.float64()), -1.0))
    elif keep == "source":
        place = pc.index_in(batch.column("source").cast(pa.string()), value_set=pa.array(sources, pa.string()))
        rank = pc.fill_null(place.cast(pa.float64()), float(len(sources)))
    else:
        rank = pa.array(np.zeros(batch.num_rows))
    return {
        "doc_id": batch.column("doc_id"),
        "origin_file": batch.column("origin_file").cast(pa.string()),
        "origin_offset": batch.column("origin_offset"),
        "n_copies": pc.fill_null(batch.column("n_copies"), 1).cast(pa.uint32()),
        "rank": rank,
    }


def keep_list(table: pa.Table, group: str) -> pa.Table:
    """The keep list of the rows of `table` (RANK_COLUMNS, a `group` column, optionally `similarity`).

    Groups of one are left out. The same rows in any order give the same list.
    """
    names = (group, "rank", "origin_file", "origin_offset", "doc_id")
    table = table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])).combine_chunks()
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
            "doc_id": table.column("doc_id"),
            "cluster_id": table.column("doc_id").take(pa.array(np.repeat(starts, sizes))),
            "n_copies": pa.array(np.repeat(np.minimum(total, 2**32 - 1), sizes).astype(np.uint32)),
            "similarity": similarity,
        }
    ).filter(pa.array(listed))
    return rows.sort_by("doc_id").combine_chunks()


class KeepList:
    """Keep lists opened for looking documents up; each batch is sorted by doc_id."""

    def __init__(self, table: pa.Table) -> None:
        self.parts = [batch for batch in table.to_batches() if batch.num_rows]

    def find(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(part, row) of every id, part -1 where it is not listed."""
        part_of, row_of = np.full(len(names), -1), np.zeros(len(names), np.int64)
        for number, part in enumerate(self.parts):
            listed = names_of(part.column("doc_id"))
            at = np.minimum(np.searchsorted(listed, names), len(listed) - 1)
            found = listed[at] == names
            part_of[found], row_of[found] = number, at[found]
        return part_of, row_of

    def apply(self, batch: pa.RecordBatch, rule: str, limit: float | None) -> pa.RecordBatch:
        """`batch` with cluster_id and n_copies set, and a verdict on every row that is a copy."""
        clusters = names_of(batch.column("doc_id")).copy()
        part_of, row_of = self.find(clusters)
        copies = pc.fill_null(batch.column("n_copies"), 1).to_numpy(zero_copy_only=False).astype(np.uint32)
        n = batch.num_rows
        rules: list[str | None] = [None] * n
        values: list[float | None] = [None] * n
        details: list[str | None] = [None] * n
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(part_of == number)
            if not len(rows):
                continue
            listed = part.take(pa.array(row_of[rows]))
            heads_of = names_of(listed.column("cluster_id"))
            stays = heads_of == clusters[rows]
            copies[rows[stays]] = listed.column("n_copies").to_numpy()[stays]
            similarity = listed.column("similarity").to_pylist()
            for i in np.flatnonzero(~stays):
                row = int(rows[i])
                rules[row], values[row] = rule, similarity[i]
                details[row] = f"copy of {_bytes(heads_of[i]).hex()}"
            clusters[rows] = heads_of
        ids_back = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, n, [None, pa.py_buffer(clusters.tobytes())])
        batch = with_column(batch, "cluster_id", ids_back)
        batch = with_column(batch, "n_copies", pa.array(copies, pa.uint32()))
        return with_verdict(batch, rules, values, [limit if rule else None for rule in rules], details)


def names_of(column: pa.Array) -> np.ndarray:
    """Ids as numpy sees 16 bytes: they sort and compare as bytes do."""
    return np.frombuffer(column.buffers()[1], "S16", len(column), column.offset * 16)


def _bytes(name: bytes) -> bytes:
    """All 16 bytes of an id: numpy takes zeros at the end of a value away."""
    return bytes(name).ljust(16, b"\0")
