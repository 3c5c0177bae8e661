"""What is known of the documents that spans come from: columns of theirs, and how many copies of them there are.

`n_copies` counts a near copy as one. `mass` counts it by how like it is: with s(d) documents whose text is that of d,
it is s(d) + the sum of jaccard(d, e) * s(e) over the documents e that are like d. Pairs come from the `pairs/` of a run
of `near_dedup` with `pairs: true`; without them only the pairs in its rejects are known, of a copy and the document
that stayed, and the mass of a document that did not stay is a lower bound.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from curate.errors import DataError
from train.intervals import Floats, Ints

EXACT, NEAR = "exact_dedup.copy", "near_dedup.copy"

Pairs = dict[bytes, dict[bytes, float]]  # by document those that are like it, with the similarity


class Copies(NamedTuple):
    """Of the documents asked for: cluster (a dense number), n_copies and mass; NaN where the run does not know them."""

    cluster: Ints
    n_copies: Floats
    mass: Floats


def _table(folder: Path, columns: Sequence[str], where: Any = None) -> pa.Table | None:
    """The columns that there are of the Parquet files in a folder; None where there is no such file or column."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        return None
    try:
        data = ds.dataset([str(path) for path in files], format="parquet")
        there = [name for name in columns if name in data.schema.names]
        return data.to_table(columns=there, filter=where) if len(there) > 1 else None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{folder}: cannot be read: {error}") from None


def _ids(values: Collection[bytes]) -> pa.Array:
    return pa.array(sorted(set(values)), pa.binary(16))


def columns_of(run: Path, ids: Sequence[bytes], names: Sequence[str]) -> dict[str, pa.Array]:
    """The columns of RUN/documents that there are, by name, in the order of `ids`; null for a document not there."""
    table = _table(run / "documents", ["doc_id", *names], ds.field("doc_id").isin(_ids(ids)))
    if table is None:
        return {}
    place = {one: row for row, one in enumerate(table.column("doc_id").to_pylist())}
    rows = pa.array([place.get(one) for one in ids], pa.int64())
    return {name: table.column(name).combine_chunks().take(rows) for name in names if name in table.column_names}


def copies_of(run: Path, ids: Sequence[bytes]) -> Copies | None:
    """What a run's deduplication found of these documents; None where RUN has no documents with `n_copies`."""
    dropped = _Dropped(run / "rejects")
    roots, exact = dropped.roots(ids, (EXACT, NEAR)), dropped.roots(ids, (EXACT,))
    found = columns_of(run, roots, ["n_copies"])
    if not found:
        return None
    like = _listed(run / "pairs", exact) if (run / "pairs").is_dir() else dropped.pairs(exact)
    sizes = dropped.sizes({*exact, *(other for others in like.values() for other in others)})
    mass = [sizes[one] + sum(like[one][other] * sizes[other] for other in like.get(one, ())) for one in exact]
    n_copies = numbers(found["n_copies"])
    place: dict[bytes, int] = {}
    cluster = [place.setdefault(root, len(place)) for root in roots]
    return Copies(np.array(cluster, np.int64), n_copies, np.where(np.isnan(n_copies), np.nan, mass))


class _Dropped:
    """The copies that a run dropped, each with the document that it went for; only rows that are asked for are held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _edges(self, where: Any, kinds: Collection[str]) -> Iterator[tuple[bytes, bytes, float]]:
        """(copy, the document it went for, similarity) of the rejects that `where` holds for."""
        where = where & ds.field("rule").isin(list(kinds))
        table = _table(self.folder, ["doc_id", "value", "detail"], where)
        for child, value, detail in _rows(table, ("doc_id", "value", "detail")):
            try:
                parent = bytes.fromhex(detail[-32:])
            except (TypeError, ValueError):
                raise DataError(f"{self.folder}: the reject of {child.hex()} names no document: {detail}") from None
            yield child, parent, 1.0 if value is None else value

    def _children(self, parents: Collection[bytes], kinds: Collection[str]) -> list[tuple[bytes, bytes, float]]:
        details = [f"{words} {one.hex()}" for one in sorted(parents) for words in ("copy of", "in the cluster of")]
        return list(self._edges(ds.field("detail").isin(details), kinds)) if details else []

    def _parents(self, children: Collection[bytes], kinds: Collection[str]) -> list[tuple[bytes, bytes, float]]:
        return list(self._edges(ds.field("doc_id").isin(_ids(children)), kinds)) if children else []

    def roots(self, ids: Sequence[bytes], kinds: Collection[str]) -> list[bytes]:
        """The document that stayed for each, going by drops of these kinds; itself where it stayed."""
        above: dict[bytes, bytes] = {}
        open_ = set(ids)
        while open_:
            found = {child: parent for child, parent, _ in self._parents(open_, kinds) if parent != child}
            above.update(found)
            open_ = set(found.values()) - above.keys()
        return [_last(above, one) for one in ids]

    def sizes(self, ids: Collection[bytes]) -> dict[bytes, int]:
        """How many documents have the text of each, itself included."""
        counts, root_of = dict.fromkeys(ids, 1), {one: one for one in ids}
        open_ = set(ids)
        while open_:
            found = [edge for edge in self._children(open_, (EXACT,)) if edge[0] not in root_of]
            for child, parent, _ in found:
                root_of[child] = root_of[parent]
                counts[root_of[parent]] += 1
            open_ = {child for child, _, _ in found}
        return counts

    def pairs(self, ids: Collection[bytes]) -> Pairs:
        """The documents that are like each, as far as rejects tell."""
        wanted = set(ids)
        return _pairs([*self._parents(wanted, (NEAR,)), *self._children(wanted, (NEAR,))], wanted)


def _last(above: Mapping[bytes, bytes], one: bytes) -> bytes:
    for _ in range(len(above)):
        if one not in above:
            break
        one = above[one]
    return one


def _listed(folder: Path, ids: Sequence[bytes]) -> Pairs:
    where = ds.field("doc_a").isin(_ids(ids)) | ds.field("doc_b").isin(_ids(ids))
    names = ("doc_a", "doc_b", "jaccard")
    return _pairs(_rows(_table(folder, names, where), names), set(ids))


def _pairs(edges: Iterable[tuple[bytes, bytes, float | None]], wanted: Collection[bytes]) -> Pairs:
    """By document of `wanted` those that are like it, each once; similarity 1 where nothing was compared."""
    found: Pairs = {}
    for a, b, jaccard in edges:
        for one, other in ((a, b), (b, a)):
            if one in wanted:
                found.setdefault(one, {})[other] = 1.0 if jaccard is None else jaccard
    return found


def _rows(table: pa.Table | None, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    if table is not None and table.num_rows:
        yield from zip(*(table.column(name).to_pylist() for name in names), strict=True)


def numbers(column: pa.Array) -> Floats:
    """A column as numbers, NaN for null."""
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))
