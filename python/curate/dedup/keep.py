"""Which copy stays: the keep list that a deduplicating stage writes once and looks up for every document.

Rows of a keep list are the members of groups of two or more: doc_id, cluster_id (the representative's doc_id),
n_copies (the sum over the group) and similarity (Jaccard, to the representative; null where nothing was compared). The
list is sorted by doc_id and stays on disk, 44 bytes a row, mapped by every worker.
"""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.dedup.sorting import SortedBatches, id_bytes, key_view

Keep = Literal["first", "longest", "quality", "source"]
KEEP_MEANING = (
    "which copy stays: first by file name and place in it, longest, quality (highest quality_score), or source (by the"
    " list `sources`); ties go to the first"
)
SOURCES_MEANING = "sources from most to least wanted, for keep: source; others come after these"

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


def columns_of(keep: Keep) -> tuple[str, ...]:
    """The columns that a rule reads, beside those that every row has."""
    return {"longest": ("text",), "quality": ("quality_score",)}.get(keep, ())


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
        "n_copies": _n_copies(batch),
        "rank": rank,
    }


def before_all(ranks: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with RANK_COLUMNS that rank before all others: they stay, whatever they are like."""
    first = pa.array(np.full(ranks.num_rows, -np.inf))
    return ranks.set_column(ranks.schema.get_field_index("rank"), "rank", first)


def _n_copies(batch: pa.RecordBatch) -> pa.Array:
    """What each row stands for so far: itself alone where no step said otherwise. Pages have no such column."""
    if batch.schema.get_field_index("n_copies") < 0:
        return pa.array(np.ones(batch.num_rows, np.uint32))
    return pc.fill_null(batch.column("n_copies"), 1).cast(pa.uint32())


class Groups(NamedTuple):
    """Rows with RANK_COLUMNS, the members of a group side by side, its representative first."""

    rows: pa.Table
    starts: np.ndarray  # the first row of each group
    sizes: np.ndarray  # members of each group


def grouped(table: pa.Table, group: str) -> Groups:
    """The rows of `table` (RANK_COLUMNS and the column `group`) in ascending order of the group.

    The same rows in any order give the same groups and representatives.
    """
    names = (group, "rank", "origin_file", "origin_offset", "doc_id")
    table = table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])).combine_chunks()
    codes = pc.rank(table.column(group), tiebreaker="dense").to_numpy() if table.num_rows else np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return Groups(table, starts, np.diff(np.append(starts, len(codes))))


def keep_list(table: pa.Table, group: str) -> pa.Table:
    """The rows of a keep list in the order of the groups; groups of one are left out."""
    rows, starts, sizes = grouped(table, group)
    heads = np.repeat(starts, sizes)
    copies = rows.column("n_copies").to_numpy()
    return listed(rows.column("doc_id"), heads, copies, pa.nulls(rows.num_rows, pa.float64()))


def listed(ids: pa.Array, heads: np.ndarray, copies: np.ndarray, similarity: pa.Array) -> pa.Table:
    """The rows of a keep list, in the order of `ids`; rows that stay and that no other goes for are left out.

    `heads` is for each row the place of the one that it goes for, its own where it stays; `copies` what each row
    stands for by itself. In the list, n_copies is the sum over a head's rows, at most 2^32 - 1.
    """
    total = np.zeros(len(heads), np.uint64)
    np.add.at(total, heads, copies.astype(np.uint64))
    rows = np.flatnonzero(np.bincount(heads, minlength=len(heads))[heads] > 1)
    return pa.table(
        {
            "doc_id": ids.take(pa.array(rows)),
            "cluster_id": ids.take(pa.array(heads[rows])),
            "n_copies": pa.array(np.minimum(total[heads[rows]], 2**32 - 1).astype(np.uint32)),
            "similarity": similarity.take(pa.array(rows)),
        }
    )


class Copies(NamedTuple):
    """What a keep list says of the rows of a batch."""

    cluster_id: pa.Array
    n_copies: pa.Array
    verdicts: pa.RecordBatch  # schema.VERDICT; a copy has the rule


class KeepList:
    """A keep list, sorted by doc_id, opened for lookups."""

    def __init__(self, table: pa.Table) -> None:
        self.listed = SortedBatches(table, "doc_id")

    def look_up(self, batch: pa.RecordBatch, rule: str, limit: float | None, detail: str) -> Copies:
        """The representatives and counts of the rows of `batch`, and a verdict on every row that is a copy: `rule`,
        its similarity, `limit`, and `detail` with the representative's doc_id after it."""
        n = batch.num_rows
        ids = key_view(batch.column("doc_id"))
        clusters = ids.copy()
        copies = _n_copies(batch).to_numpy().copy()
        rules: list[str | None] = [None] * n
        values: list[float | None] = [None] * n
        details: list[str | None] = [None] * n
        for listed, rows, places in self.listed.find(ids):
            found = listed.take(pa.array(places))
            heads = key_view(found.column("cluster_id"))
            stays = heads == ids[rows]
            copies[rows[stays]] = found.column("n_copies").to_numpy()[stays]
            clusters[rows] = heads
            similarity = found.column("similarity").to_pylist()
            for i in np.flatnonzero(~stays):
                row = int(rows[i])
                rules[row], values[row], details[row] = rule, similarity[i], f"{detail} {id_bytes(heads[i]).hex()}"
        cluster_ids = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, n, [None, pa.py_buffer(clusters.tobytes())])
        limits = [limit if rule else None for rule in rules]
        return Copies(cluster_ids, pa.array(copies, pa.uint32()), schema.verdicts(rules, values, limits, details))
