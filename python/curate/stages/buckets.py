"""buckets: how a document's score stands among the others of its kind, as a number that mixing can weigh.

The documents of each value of `by` (a label, a language) are cut into `count` buckets of as many documents as near as
equal scores allow: bucket 0 has the lowest scores. The bucket goes into the column `<column>_bucket`. Mixing goes by
source, so `source_name` makes sources of buckets: {source}-{bucket}, or {by}-{bucket}. Documents without a score have
no bucket and keep their source. Where `by` is empty all documents are of one kind.

With `edges` the buckets are those between fixed scores instead: of `n_copies` the edges 2, 3, 5, 100, 1000 make the
groups of cluster sizes that FineWeb-2 weighs apart (`train mixture rule --preset fineweb-2`).

The limits of all buckets are buckets/limits.parquet in the run's folder.

    curate buckets scored/ --by topic --source-name {by}-{bucket} --out mixed
    curate buckets kept/ --column n_copies --edges 2 --edges 5 --out mixed
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import model_validator

from curate import schema
from curate.config import Settings, fill, setting
from curate.errors import SchemaError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage, with_column

DIGITS = 0xFFFF_F800  # bits of a 32-bit score that count: 13 of 24, so that a list of distinct scores stays short


class Buckets(Settings):
    """The score, the kinds of documents, and how many buckets each has."""

    column: str = setting("quality_score", "column of the score", min_length=1)
    by: str = setting("", "column of the kinds, such as label or lang; empty: one kind")
    count: int = setting(10, "buckets of each kind", ge=2, le=250)
    edges: list[float] = setting([], "scores that begin the second bucket, the third, …; in place of `count`")
    source_name: str = setting(
        "", "sources by bucket: a pattern of {source}, {by}, {bucket}; empty leaves them as they are"
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.edges != sorted(set(self.edges)) or len(self.edges) > 249:
            raise ValueError(f"edges: at most 249 numbers, each larger than the one before, found {self.edges}")
        return self

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        fill(self.source_name, source="", by="", bucket="")
        return self


def _scores(batch: pa.RecordBatch, config: Buckets) -> np.ndarray:
    """The scores rounded down to 13 significant bits, NaN for none. SchemaError for a column that is no number."""
    column = batch.column(config.column)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError(f"buckets.column: {config.column} is {column.type}, no number")
    scores = np.asarray(pc.fill_null(column.cast(pa.float32(), safe=False), np.nan)).copy()
    bits = scores.view(np.uint32)
    bits &= np.uint32(DIGITS)
    return np.where(np.isfinite(scores), scores, np.nan)


def _kinds(batch: pa.RecordBatch, config: Buckets) -> pa.Array:
    """The kind of each row; null counts as a kind of its own, the empty one."""
    if not config.by:
        return pa.array([""] * batch.num_rows, pa.string())
    return pc.fill_null(batch.column(config.by).cast(pa.string()), "")


def count(batch: pa.RecordBatch, config: Buckets) -> Applied:
    """Emits (kind, score, rows): how many documents have each score."""
    scores = _scores(batch, config)
    known = ~np.isnan(scores)
    kinds = _kinds(batch, config).filter(pa.array(known))
    ones = pa.array(np.ones(known.sum(), np.int64))
    rows = pa.table({"kind": kinds, "score": pa.array(scores[known]), "rows": ones})
    return Applied(batch, emits={"counts": pa.RecordBatch.from_pylist(add_up(rows).to_pylist(), COUNTS)})


COUNTS = pa.schema({"kind": pa.string(), "score": pa.float32(), "rows": pa.int64()})


def add_up(table: pa.Table) -> pa.Table:
    """One row for each kind and score, sorted."""
    summed = table.group_by(["kind", "score"]).aggregate([("rows", "sum")]).rename_columns(["kind", "score", "rows"])
    return summed.sort_by([("kind", "ascending"), ("score", "ascending")]).combine_chunks()


def limits(config: Buckets, reads: Reads) -> Mapping[str, Any]:
    """(kind, bucket, min_score, rows) of every bucket that has documents; what is told of kinds with fewer buckets."""
    table = reads.table("count.counts")
    table = add_up(table) if table.num_rows else COUNTS.empty_table()
    kinds = np.asarray(table.column("kind").to_pylist(), dtype=object)
    scores, rows = table.column("score").to_numpy(), table.column("rows").to_numpy()
    found, notes = [], []
    for kind in dict.fromkeys(kinds):
        mine = kinds == kind
        counts = rows[mine]
        before = np.cumsum(counts) - counts
        if config.edges:
            buckets = np.searchsorted(config.edges, scores[mine], "right")
        else:  # a score's bucket is that of the middle one of its documents
            buckets = ((before + counts / 2) * config.count / counts.sum()).astype(int)
        used, first = np.unique(buckets, return_index=True)
        held = np.add.reduceat(counts, first)
        found += [
            {"kind": kind, "bucket": int(bucket), "min_score": float(scores[mine][at]), "rows": int(n)}
            for bucket, at, n in zip(used, first, held, strict=True)
        ]
        if not config.edges and len(used) < config.count:
            notes.append(f'buckets: the scores of kind "{kind}" make {len(used)} buckets of {config.count}')
    fields = {"kind": pa.string(), "bucket": pa.int64(), "min_score": pa.float32(), "rows": pa.int64()}
    made: dict[str, Any] = {"limits": pa.Table.from_pylist(found, pa.schema(fields))}
    return made | ({"notes": "\n".join(notes).encode()} if notes else {})


class State(NamedTuple):
    """The settings, and the least scores of the buckets of each kind."""

    config: Buckets
    limits: dict[str, tuple[np.ndarray, np.ndarray]]  # kind -> (least score, bucket), by score


def open_state(config: Buckets, side: Side) -> State:
    """The limits that the phase before found."""
    found: dict[str, list[tuple[float, int]]] = {}
    for file in side.files("limits.limits"):
        for row in pq.read_table(file.path).to_pylist():
            found.setdefault(row["kind"], []).append((row["min_score"], row["bucket"]))
    arrays = {kind: np.array(sorted(pairs)) for kind, pairs in found.items()}
    return State(config, {kind: (pairs[:, 0].astype(np.float32), pairs[:, 1]) for kind, pairs in arrays.items()})


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Sets the bucket and, with a pattern, the source of every row that has a score."""
    config, scores = state.config, _scores(batch, state.config)
    kinds = _kinds(batch, config)
    buckets = np.full(batch.num_rows, -1)
    names = np.asarray(kinds.to_pylist(), dtype=object)
    for kind in pc.unique(kinds).to_pylist():
        mine = (names == kind) & ~np.isnan(scores)
        if mine.any():
            least, numbers = state.limits[kind]
            buckets[mine] = numbers[np.searchsorted(least, scores[mine], "right") - 1]
    made = pa.array(buckets, pa.int64(), mask=buckets < 0).cast(pa.uint8())
    batch = with_column(batch, f"{config.column}_bucket", made)
    if config.source_name:
        old = batch.column("source").cast(pa.string()).to_pylist()
        named = [
            source if bucket < 0 else fill(config.source_name, source=source or "", by=kind, bucket=str(bucket))
            for source, kind, bucket in zip(old, names, buckets.tolist(), strict=True)
        ]
        batch = with_column(batch, "source", pa.array(named, pa.string()).dictionary_encode().cast(schema.CATEGORY))
    return Applied(batch)


def needs(config: Buckets) -> Sequence[str]:
    """The score and the kind."""
    return (config.column, *([config.by] if config.by else []))


STAGE = Stage(
    name="buckets",
    version=1,
    summary="Cut documents into buckets by score, within a label.",
    config=Buckets,
    needs=needs,
    phases=(
        Phase(
            "count", "each", apply=count, documents=False, emits=(Channel("counts", combine=add_up),),
            settings=("column", "by"),
        ),
        Phase(
            "limits", "all", run=limits, side=("count.counts",),
            emits=(Channel("limits", path="buckets/limits.parquet"),), settings=("count", "edges"),
        ),
        Phase("apply", "each", open=open_state, apply=apply, side=("limits.limits",)),
    ),
)  # fmt: skip
