"""line_dedup: lines, paragraphs or sentences that many documents share are cut, and the documents stay.

Menus, cookie notices and footers stand in thousands of pages that are otherwise different. The phase count hashes
every unit of every document, pick finds the hashes that at least `min_count` documents have, merge makes one sorted
list of them, and apply cuts these units. Every span that is cut is in the rejects, with the number of documents that
it stood in.

    line          between line ends
    paragraph     between empty lines
    sentences     three in a row, as in C4 (arXiv 1910.10683, with
                  min_count: 2); a document of fewer has no unit

dedup/units.py says how units are compared. A unit of fewer than `min_length` characters is never cut: code is full of
short lines that repeat. With `keep: first` a repeated unit stays in one document, chosen by a hash of doc_id; with
`keep: none` it is cut everywhere. With `--against` the units of those documents count, and a repeated one that they
have stays there alone. A document of which nothing is left is dropped. The list of repeated units is a file
that workers map into memory, 24 bytes a unit.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.config import Settings, setting
from curate.dedup.costs import MERGE_BYTES, UNIT_BYTES
from curate.dedup.sorting import SortedBatches, merged, recut
from curate.dedup.units import WINDOW, Unit, Units, first_hashes, units_of, without
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage, with_column


class LineDedup(Settings):
    """What a unit is, and how often it may be repeated."""

    unit: Unit = setting("line", "what is counted and cut")
    min_count: int = setting(6, "documents that a unit must stand in to be cut", unit="documents", ge=2)
    min_length: int = setting(20, "shorter units stay", unit="characters", ge=1)
    keep: Literal["first", "none"] = setting("first", "first: a unit stays in one document; none: in none")


def _ranks(ids: pa.Array) -> np.ndarray:
    """uint64 hashes of doc_ids; the document with the smallest keeps a unit. Ids themselves would not do: where they
    are plain numbers, all begin with zeros.
    """
    return first_hashes(ids.cast(pa.binary()))


def count(batch: pa.RecordBatch, config: LineDedup) -> Applied:
    """Emits (hash, documents: 1, first: hash of the doc_id) for every distinct unit of every document."""
    units = units_of(batch.column("text"), config.unit, config.min_length)
    owner, hashes = units.rows()[units.valid], units.hashes[units.valid]
    order = np.lexsort((hashes, owner))
    owner, hashes = owner[order], hashes[order]
    new = np.ones(len(order), bool)  # where a unit comes for the first time in its document
    new[1:] = (owner[1:] != owner[:-1]) | (hashes[1:] != hashes[:-1])
    rows = {
        "hash": pa.array(hashes[new], pa.uint64()),
        "documents": pa.array(np.ones(new.sum(), np.int64)),
        "first": pa.array(_ranks(batch.column("doc_id"))[owner[new]], pa.uint64()),
    }
    return Applied(batch, emits={"units": pa.RecordBatch.from_pydict(rows)})


def count_against(batch: pa.RecordBatch, config: LineDedup) -> Applied:
    """What `count` emits, for documents that keep their units: `first` is below every hash."""
    units = count(batch, config).emits["units"]
    return Applied(
        batch, emits={"units": units.set_column(2, "first", pa.repeat(pa.scalar(0, pa.uint64()), len(units)))}
    )


def combine(rows: pa.Table) -> pa.Table:
    """One row a hash: the number of documents that have the unit, and the smallest `first` of them."""
    made = rows.group_by("hash").aggregate([("documents", "sum"), ("first", "min")])
    return made.rename_columns(["hash", "documents", "first"]).sort_by("hash")


def pick(config: LineDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a partition, added up, of units that at least `min_count` documents have."""
    rows = reads.rows("count.units")
    parts = reads.parts(rows, [], "hash", UNIT_BYTES) if rows.num_rows else iter(())

    def repeated(part: list[pa.Table]) -> pa.Table:
        counted = combine(part[0])
        return counted.filter(pc.greater_equal(counted.column("documents"), config.min_count))

    yield from (("repeated", table) for table in recut(map(repeated, parts)))


def merge(config: LineDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """The repeated units of all partitions, sorted by hash, for lookups by binary search."""
    rows = reads.rows("pick.repeated")
    # A quarter of the memory is for what does not grow with the rows, buffers of files for example.
    tables = merged(rows, ["hash"], MERGE_BYTES, 0.75 * reads.memory) if rows.num_rows else iter(())
    yield from (("repeated", table) for table in tables)


class State(NamedTuple):
    """What a worker needs to cut: the settings and the list of repeated units."""

    config: LineDedup
    repeated: SortedBatches  # hash, documents, first


def open_repeated(config: LineDedup, side: Side) -> State:
    """The list of repeated units, mapped from its file, once a worker."""
    return State(config, SortedBatches(side.table("merge.repeated"), "hash"))


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Cuts the repeated units out of the texts, marks every span, and drops documents that are blank afterwards.

    A dropped document keeps its text in the batch, so that its reject shows how it began.
    """
    config = state.config
    units = units_of(batch.column("text"), config.unit, config.min_length)
    documents = _documents(units, batch.column("doc_id"), state)
    if config.unit == "sentences":
        # A sentence is cut if any three that it belongs to are; its count is the largest of theirs.
        alone = documents.copy()
        for back in range(1, WINDOW):
            documents[back:] = np.maximum(documents[back:], alone[:-back])
    cut = np.flatnonzero(documents)
    if not len(cut):
        return Applied(batch)
    row = units.rows()[cut]
    touched = np.zeros(batch.num_rows, bool)
    touched[row] = True
    before, left = batch.column("text"), without(units, documents > 0)
    # Where the end of a text was cut, the line end before it goes, unless the text ended with one.
    ends = pa.array(touched & ~pc.ends_with(before, "\n").to_numpy(zero_copy_only=False))
    left = pc.if_else(ends, pc.utf8_rtrim(left, "\n"), left)
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(left)), 0).to_numpy(zero_copy_only=False)
    dropped = pa.array(touched & blank)
    rules = pc.if_else(dropped, pa.scalar("line_dedup.empty"), pa.scalar(None, pa.string()))
    texts = pc.if_else(dropped, before, left)
    return Applied(
        with_column(batch, "text", texts),
        schema.verdicts(rules),
        marks=_marks(units, cut, row, documents[cut], config.min_count),
    )


def _documents(units: Units, ids: pa.Array, state: State) -> np.ndarray:
    """int64, one a unit: the number of documents that it stands in if it is to be cut, else 0."""
    documents = np.zeros(len(units.hashes), np.int64)
    asked = np.flatnonzero(units.valid)
    keeps_first = state.config.keep == "first"
    ranks = _ranks(ids)[units.rows()[asked]] if keeps_first else None
    for listed, found, places in state.repeated.find(units.hashes[asked]):
        if ranks is not None:
            elsewhere = listed.column("first").to_numpy()[places] != ranks[found]
            found, places = found[elsewhere], places[elsewhere]
        documents[asked[found]] = listed.column("documents").to_numpy()[places]
    return documents


def _marks(units: Units, cut: np.ndarray, row: np.ndarray, documents: np.ndarray, limit: int) -> pa.RecordBatch:
    """MARK rows, one a unit that was cut. Memory follows the number of units and not the length of texts.

    `cut` are places among all units, `row` the row of each, `documents` its count, `limit` the setting min_count. Spans
    are bytes of the row's text before the cut.
    """
    first = units.bounds[units.starts[row]]
    start, end = units.bounds[cut] - first, units.bounds[cut + 1] - first
    return schema.marks(row, "cut", "line_dedup.repeated", start, end, documents.astype(np.float64), float(limit))


STAGE = Stage(
    name="line_dedup",
    version=2,
    summary="Cut lines that many documents share.",
    config=LineDedup,
    rules=lambda config: {"line_dedup.repeated": "documents", "line_dedup.empty": ""},
    phases=(
        Phase(
            "count",
            "each",
            apply=count,
            against=count_against,
            emits=(Channel("units", by="hash", combine=combine),),
            documents=False,
            settings=("unit", "min_length"),
        ),
        Phase("pick", "part", run=pick, reads=("count.units",), emits=(Channel("repeated"),), settings=("min_count",)),
        Phase("merge", "all", run=merge, reads=("pick.repeated",), emits=(Channel("repeated"),), settings=()),
        Phase("apply", "each", open=open_repeated, apply=apply, side=("merge.repeated",)),
    ),
)
