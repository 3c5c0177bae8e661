"""From pairs of similar documents to clusters: which documents stay, and which one each of the others goes for.

Pairs are joined to connected components first, in which a chain of small changes joins documents that have little in
common. Inside a component documents are then taken in keep order:

    star       a document goes only for one that stays and is alike by `min_jaccard`; it is compared with those that
               share a band key with it, of each key with the first PER_KEY
    connected  the first stays, and all others go for it, however little they are like it

Either way the similarity in the keep list is the exact one to the document that a document goes for. Clusters of GIANT
members and more are reported with the least similarity in a sample. Stars whose members differ from the one that stays
in the same places are reported as templates, and more than one of their variants may stay.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import console, kernels, schema
from curate.dedup.costs import CLUSTER_BYTES, ID_BYTES, PAIR_BYTES, member_bytes
from curate.dedup.keep import RANK_COLUMNS, Groups, before_all, grouped, listed
from curate.dedup.sorting import LIST_ROWS, Rounds, ranges
from curate.errors import DataError, FatalError

PER_KEY = 256  # documents that stay, of one band key, with which the later ones are compared
GIANT = 1000  # clusters of at least so many members are reported
SAMPLED = 32  # members of a giant cluster that are compared with each other
REPORTED = 5  # giant clusters, and templates, that the run tells of; the tables have all
VARIANTS = 8  # different documents beside the one that stays that make a template
SAME_PLACES = 0.8  # the share of all that they lack of it that lies in places where a quarter of them differ


class Documents(NamedTuple):
    """The documents that may be in a cluster, as mapped tables of RANK_COLUMNS, keys and shingles."""

    own: pa.Table
    indexed: Sequence[pa.Table]  # of earlier runs: these stay, before all others

    def batches(self) -> list[pa.RecordBatch]:
        """Their batches as they lie, the run's own first."""
        return [batch for table in (self.own, *self.indexed) for batch in table.to_batches()]


class Rule(NamedTuple):
    """How the documents that stay are chosen."""

    star: bool  # False: connected
    verified: bool  # False: nothing was compared, and there are no shingles
    min_jaccard: float
    bands: int  # keys of a document
    ngram: int  # words of a shingle
    templates: int  # documents of a template that stay


class Chosen(NamedTuple):
    """What became of the members of some components."""

    keep: pa.Table  # the rows of a keep list, in no order
    giants: pa.Table  # GIANTS
    templates: pa.Table  # TEMPLATES
    beyond: int  # documents that stay, one for each key, with which later ones of the key were not compared


GIANTS = pa.schema([("cluster_id", schema.DOC_ID), ("members", pa.int64()), ("least_jaccard", pa.float64())])
TEMPLATES = pa.schema(
    [("cluster_id", schema.DOC_ID), ("members", pa.int64()), ("variants", pa.int64()), ("slots", pa.int64()),
     ("kept", pa.int64())]
)  # fmt: skip
_MEMBERS = pa.schema([("root", schema.DOC_ID), ("doc_id", schema.DOC_ID)])


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


def components(pairs: pa.Table) -> Iterator[pa.Table]:
    """(root, doc_id) of every document that has a pair, sorted by doc_id, in batches of LIST_ROWS rows; root is the
    smallest doc_id of the component, a name for it and no more."""
    doc_id, roots = kernels.clusters(pairs)
    for start in range(0, len(doc_id), LIST_ROWS):
        part = roots.slice(start, LIST_ROWS)
        yield pa.table([doc_id.take(part), doc_id.slice(start, len(part))], schema=_MEMBERS)


def choose(members: pa.Table, documents: Documents, rule: Rule, rounds: Rounds) -> Iterator[Chosen]:
    """What becomes of the members (root, doc_id) of whole components, some components at a time.

    FatalError where one component does not fit the memory by itself.
    """
    batches = documents.batches()
    own = len(documents.own.to_batches())
    size = member_bytes(rule.bands)
    for (part,) in rounds.parts(members, [], "root", size):
        if part.num_rows == 0:
            continue
        largest = int(np.unique(pc.rank(part.column("root"), tiebreaker="dense"), return_counts=True)[1].max())
        if largest * size > rounds.memory:
            raise FatalError(
                f"near_dedup: {largest:,} documents hang together in one component, and choosing which of them stay"
                f" takes {size} bytes each, where --memory leaves {rounds.memory:,}: run the same command again with"
                f" {(largest * size - rounds.memory) // 10**6 + 1} MB more, or with fewer workers"
            )
        yield _choose(part, batches, own, rule)
        del part  # before the next round's are copied


def _choose(members: pa.Table, batches: Sequence[pa.RecordBatch], own: int, rule: Rule) -> Chosen:
    groups = grouped(_with_ranks(members, batches, own), "root")
    table = groups.rows
    head, similarity, beyond = _heads(groups, batches, rule)
    templates = _templates(table, head, batches, rule)
    keep = listed(table.column("doc_id").combine_chunks(), head, table.column("n_copies").to_numpy(), similarity)
    return Chosen(keep, _giants(table, head, batches, rule), templates, beyond)


def _heads(groups: Groups, batches: Sequence[pa.RecordBatch], rule: Rule) -> tuple[np.ndarray, pa.Array, int]:
    """For every row the row that it goes for (its own where it stays) and the similarity of the two, and `beyond`."""
    table = groups.rows
    group = np.repeat(np.arange(len(groups.starts), dtype=np.uint32), groups.sizes)
    if not rule.verified:
        return groups.starts[group], pa.nulls(table.num_rows, pa.float64()), 0
    columns = {"group": pa.array(group), "fixed": pc.equal(table.column("rank"), -np.inf).cast(pa.uint8())}
    columns |= {name: table.column(name) for name in ("part", "row", "keys")}
    head, similarity, beyond = kernels.cluster_heads(
        pa.table(columns),
        [batch.column("shingles") for batch in batches],
        bands=rule.bands,
        min_jaccard=rule.min_jaccard if rule.star else None,
        per_key=PER_KEY,
    )
    return head.to_numpy().astype(np.int64), similarity, beyond


def _with_ranks(members: pa.Table, batches: Sequence[pa.RecordBatch], own: int) -> pa.Table:
    """`members` with RANK_COLUMNS, keys, part and row (where their shingles lie); documents of an index, which are
    those from batch `own` on, rank before all others."""
    members = members.sort_by("doc_id")
    part, row = kernels.id_places([batch.column("doc_id") for batch in batches], members.column("doc_id"))
    parts = part.to_numpy()
    if len(parts) and parts.max() >= len(batches):
        lost = members.column("doc_id")[int(parts.argmax())].as_py().hex()
        raise DataError(f"near_dedup: document {lost} is in none of the files: one was damaged or removed; run again")
    names = [*(name for name in RANK_COLUMNS if name != "doc_id"), "keys"]
    order = np.argsort(parts, kind="stable")
    taken = []
    for rows in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        number = int(parts[rows[0]])
        found = batches[number].select(names).take(row.take(pa.array(rows)))
        taken.append(before_all(found) if number >= own else found)
    ranked = pa.Table.from_batches(taken)
    places = pa.array(order)
    for name, column in (("root", members.column("root")), ("doc_id", members.column("doc_id")), ("part", part),
                         ("row", row)):  # fmt: skip
        ranked = ranked.append_column(name, column.take(places))
    return ranked


def distinct_pairs(pairs: pa.Table, verified: bool, memory: int) -> Iterator[pa.Table]:
    """The distinct pairs (doc_a, doc_b, jaccard) in order; jaccard is null where nothing was compared."""

    def distinct(part: pa.Table) -> pa.Table:
        found = part.group_by(["doc_a", "doc_b"]).aggregate([("jaccard", "max")])
        found = found.rename_columns(["doc_a", "doc_b", "jaccard"])
        if not verified:
            found = found.set_column(2, "jaccard", pa.nulls(found.num_rows, pa.float64()))
        return found.sort_by([("doc_a", "ascending"), ("doc_b", "ascending")])

    return map(distinct, ranges(pairs, "doc_a", PAIR_BYTES, memory / 2))


# -- templates ---------------------------------------------------------------------------------------------------


def _templates(table: pa.Table, head: np.ndarray, batches: Sequence[pa.RecordBatch], rule: Rule) -> pa.Table:
    """The stars that are templates: TEMPLATES. Sets `head` so that the first `rule.templates` documents of each stay,
    in keep order, equal ones left out; `slots` are places where variants differ, of up to `ngram` words each."""
    found: list[dict[str, Any]] = []
    sizes = np.bincount(head, minlength=len(head))
    if rule.star and (sizes > VARIANTS).any():
        order = np.argsort(head, kind="stable")
        order = order[sizes[head[order]] > VARIANTS]
        # In its cluster the one that stays comes before all that go for it.
        ends = np.append(np.flatnonzero(np.diff(head[order])) + 1, len(order))
        places = table.select(["part", "row"]).take(pa.array(order)).combine_chunks()
        variants, varying, share = kernels.cluster_differences(
            places.column("part").combine_chunks(),
            places.column("row").combine_chunks(),
            pa.array(ends),
            [batch.column("shingles") for batch in batches],
        )
        columns = (variants.to_pylist(), varying.to_pylist(), share.to_pylist())
        for members, n, differing, same in zip(np.split(order, ends[:-1]), *columns, strict=True):
            if n < VARIANTS or same < SAME_PLACES:
                continue
            stay = _variants(table, members, batches, rule.templates)
            head[stay] = stay
            found.append({"cluster_id": table.column("doc_id")[int(members[0])].as_py(), "members": len(members),
                          "variants": n + 1, "slots": -(-differing // rule.ngram), "kept": len(stay)})  # fmt: skip
    return pa.Table.from_pylist(found, schema=TEMPLATES)


def _variants(table: pa.Table, members: np.ndarray, batches: Sequence[pa.RecordBatch], count: int) -> np.ndarray:
    """The first `count` of the members that have different shingles."""
    seen: dict[bytes, int] = {}
    for row in members.tolist():
        if len(seen) == count:
            break
        part, place = table.column("part")[row].as_py(), table.column("row")[row].as_py()
        shingles = batches[part].column("shingles")[place].values.to_numpy()
        seen.setdefault(hashlib.sha256(shingles.tobytes()).digest(), row)
    return np.array(sorted(seen.values()), np.int64)


def templates_in_words(table: pa.Table) -> list[str]:
    """A line for each of the largest."""
    return [
        f"near_dedup: a template of {row['members']:,} documents, {row['variants']:,} of them different, which differ"
        f" in some {console.plural(row['slots'], 'place')}; {console.plural(row['kept'], 'document')} of it stay"
        f"{'s' if row['kept'] == 1 else ''}, first {row['cluster_id'].hex()}"
        for row in table.slice(0, REPORTED).to_pylist()
    ]


# -- giant clusters --------------------------------------------------------------------------------------------


def _giants(table: pa.Table, head: np.ndarray, batches: Sequence[pa.RecordBatch], rule: Rule) -> pa.Table:
    """Clusters of GIANT members and more: GIANTS. least_jaccard is the least similarity of two of SAMPLED members, null
    without shingles: a low one says that the cluster is a chain, or a template."""
    sizes = np.bincount(head, minlength=1)
    found: list[dict[str, Any]] = []
    for row in np.flatnonzero(sizes >= GIANT).tolist():
        members = np.flatnonzero(head == row)
        sampled = members[np.linspace(0, len(members) - 1, SAMPLED).astype(np.int64)]
        least = _least_similarity(table.take(pa.array(sampled)), batches) if rule.verified else None
        found.append({"cluster_id": table.column("doc_id")[row].as_py(), "members": len(members),
                      "least_jaccard": least})  # fmt: skip
    return pa.Table.from_pylist(found, schema=GIANTS)


def _least_similarity(sample: pa.Table, batches: Sequence[pa.RecordBatch]) -> float:
    places = zip(sample.column("part").to_pylist(), sample.column("row").to_pylist(), strict=True)
    shingles = pa.concat_arrays([batches[part].column("shingles").slice(row, 1) for part, row in places])
    a, b = np.triu_indices(len(shingles), 1)
    least = pc.min(kernels.jaccard(shingles, pa.array(a.astype(np.uint32)), pa.array(b.astype(np.uint32))))
    return float(least.as_py())


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


def beyond_in_words(beyond: int) -> str:
    """What the limit PER_KEY left out."""
    return (
        f"near_dedup: of one band key the first {PER_KEY} documents that stay are compared with the later ones;"
        f" {beyond:,} times a document that stays came after these, so that copies of it may stay that share no"
        " other key with it"
    )
