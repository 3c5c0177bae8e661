"""From pairs of similar documents to clusters: which document of each stays, and which clusters are suspiciously large.

Clusters are the connected components of the pairs, so that a chain of small changes joins documents that have little
in common. The similarity of a document in the keep list is that to the nearest member of its cluster, which need not
be the representative. Clusters of GIANT members and more are reported with the least similarity in a sample.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.dedup.costs import CLUSTER_BYTES, ID_BYTES, KEEP_LIST_BYTES, PAIR_BYTES
from curate.dedup.keep import RANK_COLUMNS, grouped
from curate.dedup.sorting import LIST_ROWS, Rounds, key_view, ranges
from curate.errors import FatalError

GIANT = 1000  # clusters of at least so many members are reported
SAMPLED = 32  # members of a giant cluster that are compared with each other
SAMPLED_AT_ONCE = 16  # giant clusters whose samples are read in one go
REPORTED = 5  # giant clusters that the run tells of; the table has all


class Documents(NamedTuple):
    """The documents that may be in a cluster, as mapped tables of RANK_COLUMNS and shingles."""

    own: pa.Table
    indexed: Sequence[pa.Table]  # of earlier runs: these stay, before all others


class Clusters(NamedTuple):
    """The documents that have a pair, one a row, sorted by doc_id: 40 bytes a row."""

    doc_id: pa.Array
    root: np.ndarray  # uint32, the row of the smallest doc_id of the cluster
    nearest: pa.Array  # float64, the similarity to the nearest member of the cluster; null where nothing was compared
    head: np.ndarray  # uint32 by root: the row of the representative
    n_copies: np.ndarray  # uint32 by root: what the representative stands for


def check_memory(pairs: pa.Table, rounds: Rounds) -> None:
    """FatalError where the documents that have a pair are too many to be joined to clusters in memory."""
    if 2 * pairs.num_rows * CLUSTER_BYTES <= rounds.memory:
        return
    count = 0
    ends = pa.concat_tables([pairs.select([name]).rename_columns(["doc_id"]) for name in ("doc_a", "doc_b")])
    for (part,) in rounds.parts(ends, [], "doc_id", ID_BYTES):
        count += pc.count_distinct(part.column("doc_id")).as_py()
    if count * CLUSTER_BYTES > rounds.memory:
        raise FatalError(
            f"near_dedup: {count:,} documents have a copy, and joining them to clusters takes {CLUSTER_BYTES} bytes"
            f" each, where --memory leaves {rounds.memory:,}: run the same command again with"
            f" {(count * CLUSTER_BYTES - rounds.memory) // 10**6 + 1} MB more"
        )


def find_clusters(pairs: pa.Table, documents: Documents, verified: bool, rounds: Rounds) -> Clusters:
    """The clusters of `pairs` with their representatives, which are chosen some clusters at a time."""
    doc_id, roots, nearest = kernels.clusters(pairs)
    root = roots.to_numpy()
    head, n_copies = root.copy(), np.ones(len(root), np.uint32)
    listed = pa.table({"doc_id": doc_id, "root": roots, "row": pa.array(np.arange(len(root), dtype=np.uint32))})
    for (members,) in rounds.parts(listed, [], "root", KEEP_LIST_BYTES, held=CLUSTER_BYTES * len(root)):
        if members.num_rows:
            _choose(members, documents, head, n_copies)
        del members  # before the next round's are copied
    return Clusters(doc_id, root, nearest if verified else pa.nulls(len(root), pa.float64()), head, n_copies)


def _choose(members: pa.Table, documents: Documents, head: np.ndarray, n_copies: np.ndarray) -> None:
    """Sets `head` and `n_copies` of the clusters that these are the members of."""
    groups = grouped(_with_ranks(members, documents), "root")
    first = groups.rows.take(pa.array(groups.starts))
    cluster = first.column("root").to_numpy()
    head[cluster], n_copies[cluster] = first.column("row").to_numpy(), groups.n_copies


def _with_ranks(members: pa.Table, documents: Documents) -> pa.Table:
    """`members` (sorted by doc_id) with their RANK_COLUMNS; indexed documents rank before all others."""
    listed = key_view(members.column("doc_id").combine_chunks())
    parts, places = [], []
    for table in (documents.own, *documents.indexed):
        for batch in table.select(list(RANK_COLUMNS)).to_batches():
            ids = key_view(batch.column("doc_id"))
            at = np.minimum(np.searchsorted(listed, ids), len(listed) - 1)
            here = listed[at] == ids
            part = batch.filter(pa.array(here))
            if table is not documents.own:
                first = pa.array(np.full(part.num_rows, -np.inf))
                part = part.set_column(part.schema.get_field_index("rank"), "rank", first)
            parts.append(part)
            places.append(at[here])
    rest = members.drop_columns(["doc_id"]).take(pa.array(np.concatenate(places)))
    ranked = pa.Table.from_batches(parts)
    for name in rest.column_names:
        ranked = ranked.append_column(name, rest.column(name))
    return ranked


def keep_list(clusters: Clusters) -> Iterator[pa.Table]:
    """The keep list (see dedup/keep.py), sorted by doc_id, in batches of LIST_ROWS rows."""
    for start in range(0, len(clusters.root), LIST_ROWS):
        root = clusters.root[start : start + LIST_ROWS]
        yield pa.table(
            {
                "doc_id": clusters.doc_id.slice(start, LIST_ROWS),
                "cluster_id": clusters.doc_id.take(pa.array(clusters.head[root])),
                "n_copies": pa.array(clusters.n_copies[root]),
                "similarity": clusters.nearest.slice(start, LIST_ROWS),
            }
        )


def distinct_pairs(pairs: pa.Table, verified: bool, memory: int) -> Iterator[pa.Table]:
    """The distinct pairs (doc_a, doc_b, jaccard) in order; jaccard is null where nothing was compared."""

    def distinct(part: pa.Table) -> pa.Table:
        found = part.group_by(["doc_a", "doc_b"]).aggregate([("jaccard", "max")])
        found = found.rename_columns(["doc_a", "doc_b", "jaccard"])
        if not verified:
            found = found.set_column(2, "jaccard", pa.nulls(found.num_rows, pa.float64()))
        return found.sort_by([("doc_a", "ascending"), ("doc_b", "ascending")])

    return map(distinct, ranges(pairs, "doc_a", PAIR_BYTES, memory / 2))


GIANTS = pa.schema([("cluster_id", schema.DOC_ID), ("members", pa.int64()), ("least_jaccard", pa.float64())])


def giants(clusters: Clusters, documents: Documents, verified: bool) -> pa.Table:
    """Clusters of GIANT members and more, largest first: GIANTS. least_jaccard is the least similarity of two of
    SAMPLED members, null without `verified`: a low one says that the cluster is a chain."""
    sizes = np.bincount(clusters.root, minlength=1)
    rows = np.flatnonzero(sizes[clusters.root] >= GIANT)
    rows = rows[np.argsort(clusters.root[rows], kind="stable")]
    members = np.split(rows, np.flatnonzero(np.diff(clusters.root[rows])) + 1) if len(rows) else []
    chosen = [m[np.linspace(0, len(m) - 1, SAMPLED).astype(np.int64)] for m in members]
    least: list[float | None] = [None] * len(members)
    for start in range(0, len(members) if verified else 0, SAMPLED_AT_ONCE):
        samples = [clusters.doc_id.take(pa.array(rows)) for rows in chosen[start : start + SAMPLED_AT_ONCE]]
        least[start : start + SAMPLED_AT_ONCE] = _least_similarities(samples, documents)
    found: list[dict[str, Any]] = [
        {"cluster_id": clusters.doc_id[int(clusters.head[clusters.root[m[0]]])].as_py(), "members": len(m),
         "least_jaccard": similarity}
        for m, similarity in zip(members, least, strict=True)
    ]  # fmt: skip
    found.sort(key=lambda row: (-row["members"], row["cluster_id"]))
    return pa.Table.from_pylist(found, schema=GIANTS)


def _least_similarities(samples: Sequence[pa.Array], documents: Documents) -> list[float]:
    """The least similarity of two documents of each sample."""
    wanted = pa.concat_arrays(samples)
    tables = [table.select(["doc_id", "shingles"]) for table in (documents.own, *documents.indexed)]
    rows = pa.concat_tables([t.filter(pc.is_in(t.column("doc_id"), value_set=wanted)) for t in tables])
    ids, shingles = rows.column("doc_id").combine_chunks(), rows.column("shingles").combine_chunks()
    found = []
    for sample in samples:
        here = pc.indices_nonzero(pc.is_in(ids, value_set=sample)).to_numpy().astype(np.uint32)
        a, b = np.triu_indices(len(here), 1)
        found.append(float(pc.min(kernels.jaccard(shingles, pa.array(here[a]), pa.array(here[b]))).as_py()))
    return found


def giants_in_words(table: pa.Table) -> list[str]:
    """A line for each of the largest."""
    lines = []
    for row in table.slice(0, REPORTED).to_pylist():
        sample = (
            ""
            if row["least_jaccard"] is None
            else f"; the least Jaccard similarity of two of {SAMPLED} sampled members is {row['least_jaccard']:.2f}"
        )
        lines.append(
            f"near_dedup: a cluster of {row['members']:,} documents, represented by {row['cluster_id'].hex()}{sample}"
        )
    return lines
