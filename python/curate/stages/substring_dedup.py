"""substring_dedup: stretches that stand in the corpus before are cut, wherever in a text they are.

Licence texts, quoted articles, boilerplate that no line or paragraph delimits: of every stretch of at least
`min_length` bytes that stands in the corpus several times the first stays (by the order of files, rows and bytes), and
the others are cut, in any document, at the borders of characters. Every span that is cut is in the rejects, with its
bytes and the document that holds them too. A document of which nothing is left is dropped.

    anchors  sampled hashes of each text: equal stretches share one
    match    texts with equal anchors are compared byte for byte
    merge    one sorted list of spans a document
    apply    the spans are cut

All repeats of `min_length` bytes are found, and none is invented: a span is cut only where its bytes were compared. Of
one hash an anchor is compared with at most 256 different contexts; a run says where there were more.

The work lies on disk: the texts once more, uncompressed and mapped, and 32 bytes for every anchor, of which there is
one in some (3/8 `min_length`) bytes; memory holds the anchors of one partition.

With `keep_index` the run's find/ folder holds the texts that stay with their suffix arrays, five bytes a byte of text:
`curate find "some words" RUN` answers in milliseconds which documents hold the words, and where.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.config import ByteSize, Settings, setting
from curate.dedup.costs import ANCHOR_BYTES, ANCHOR_DISK, SPAN_BYTES, anchors_of
from curate.dedup.find import PATH, block
from curate.dedup.sorting import SortedBatches, key_view, recut
from curate.dedup.spans import FOUND, joined, without
from curate.stages.protocol import Amounts, Applied, Channel, Forecast, Phase, Reads, Side, Stage, with_column

PER_ANCHOR = 256  # different contexts of one hash that share most of a repeat with an anchor


class SubstringDedup(Settings):
    """How long a repeat must be, and whether the texts can be searched afterwards."""

    min_length: ByteSize = setting(
        400, "shorter repeats stay; some 100 tokens of English", unit="bytes", ge=32, le=1 << 20
    )
    keep_index: bool = setting(False, "keep the texts with their suffix arrays in find/, for `curate find`")


def anchors(batch: pa.RecordBatch, config: SubstringDedup) -> Applied:
    """Emits (hash, doc_id, place) of the anchors of every text, and the texts that have some."""
    row, hashes, place = kernels.anchors(batch.column("text"), min_length=config.min_length)
    ids = batch.column("doc_id")
    emitted = pa.RecordBatch.from_pydict({"hash": hashes, "doc_id": ids.take(row), "place": place})
    held = pc.unique(row)
    texts = pa.RecordBatch.from_pydict({"doc_id": ids.take(held), "text": batch.column("text").take(held)})
    return Applied(batch, emits={"anchors": emitted, "texts": texts})


def match(config: SubstringDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """The spans around the anchors of a partition that stand in an earlier place, too."""
    rows = reads.rows("anchors.anchors")
    if rows.num_rows == 0:
        return
    batches = reads.table("anchors.texts").to_batches()
    ids, texts = ([batch.column(name) for batch in batches] for name in ("doc_id", "text"))
    beyond = 0

    def spans(part: list[pa.Table]) -> pa.Table:
        nonlocal beyond
        met = _met(part[0])
        wanted = pc.unique(met.column("doc_id")).sort()
        found_part, found_row = kernels.id_places(ids, wanted)
        at = pa.array(np.searchsorted(key_view(wanted), key_view(met.column("doc_id").combine_chunks())))
        placed = pa.table({"hash": met.column("hash"), "part": found_part.take(at), "row": found_row.take(at),
                           "place": met.column("place")})  # fmt: skip
        anchor, start, end, other, more = kernels.repeats(
            placed, texts, min_length=config.min_length, per_anchor=PER_ANCHOR
        )
        beyond += more
        owner, source = (met.column("doc_id").combine_chunks().take(numbers) for numbers in (anchor, other))
        return pa.table([owner, start.cast(pa.int64()), end.cast(pa.int64()), source], schema=FOUND)

    yield from (("spans", table) for table in recut(map(spans, reads.parts(rows, [], "hash", ANCHOR_BYTES))))
    yield "beyond", pa.table({"beyond": pa.array([beyond], pa.int64())})


def _met(rows: pa.Table) -> pa.Table:
    """The anchors whose hash comes more than once, in their order, as one chunk."""
    hashes = rows.column("hash").to_numpy()
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    several = np.zeros(len(hashes), bool)
    several[order[1:][same]] = several[order[:-1][same]] = True
    return rows.filter(pa.array(several)).combine_chunks()


def merge(config: SubstringDedup, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """The list of spans of all partitions (dedup/spans.py)."""
    found = reads.rows("match.spans")
    if found.num_rows:
        # A quarter of the memory is for what does not grow with the rows, buffers of files for example.
        yield from (("spans", table) for table in joined(found, SPAN_BYTES, 0.75 * reads.memory))
    counted = reads.rows("match.beyond")
    beyond = pc.sum(counted.column("beyond")).as_py() if counted.num_rows else 0
    if beyond:
        yield (
            "notes",
            (
                f"substring_dedup: {beyond:,} times a stretch came after {PER_ANCHOR} or more that are nearly the same,"
                " and later ones were not compared with it: repeats of it may stay"
            ).encode(),
        )


class State(NamedTuple):
    """What a worker needs to cut: the settings and the list of spans."""

    config: SubstringDedup
    spans: SortedBatches


def open_spans(config: SubstringDedup, side: Side) -> State:
    """The list of spans, mapped from its file, once a worker."""
    return State(config, SortedBatches(side.table("merge.spans"), "doc_id"))


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Cuts the spans out of the texts, marks each, and drops documents that are blank afterwards.

    A dropped document keeps its text in the batch, so that its reject shows how it began.
    """
    n = batch.num_rows
    texts: list[str | None] = [None] * n
    rules: list[str | None] = [None] * n
    marks: list[pa.RecordBatch] = []
    column = batch.column("text")
    for listed, rows, places in state.spans.find(key_view(batch.column("doc_id"))):
        found = listed.take(pa.array(places))
        for i, row in enumerate(rows.tolist()):
            starts, ends, others = (found.column(name)[i].as_py() for name in ("start", "end", "other"))
            left = without(column[row].as_py(), starts, ends)
            if left.strip():
                texts[row] = left
            else:
                rules[row] = "substring_dedup.empty"
            marks.append(_marks(row, starts, ends, others, state.config.min_length))
    changed = pa.array(texts, pa.large_string())
    made = with_column(batch, "text", pc.coalesce(changed, column.cast(pa.large_string()))) if marks else batch
    emits = {}
    if state.config.keep_index:
        emits["index"] = block(made.filter(pa.array([rule is None for rule in rules], pa.bool_())))
    return Applied(
        made,
        schema.verdicts(rules) if any(rules) else None,
        marks=pa.Table.from_batches(marks).combine_chunks().to_batches()[0] if marks else None,
        emits=emits,
    )


def _marks(row: int, starts: list[int], ends: list[int], others: list[bytes], limit: int) -> pa.RecordBatch:
    """MARK rows, one a span of one document."""
    values = [float(end - start) for start, end in zip(starts, ends, strict=True)]
    details = [f"also in {other.hex()}" for other in others]
    rule = "substring_dedup.repeated"
    return schema.marks([row] * len(starts), "cut", rule, starts, ends, values, float(limit), details)


COLUMNS = ("disk texts", "disk anchors", "match")


def forecast(config: SubstringDedup, amounts: Sequence[Amounts]) -> Forecast:
    """What these and larger volumes take on disk, and in the memory of a task."""

    def costs(text_bytes: float, partitions: int) -> tuple[float, float, float]:
        anchors = anchors_of(text_bytes, config.min_length)
        return text_bytes, anchors * ANCHOR_DISK, anchors / partitions * ANCHOR_BYTES

    texts, disk, memory = costs(1e12, 4096)
    sentences = [
        f"substring_dedup: repeats of {config.min_length} bytes and more. 1 TB of text would take"
        f" {texts / 1e12:.1f} TB of disk for the texts, {disk / 1e9:,.0f} GB for anchors, and {memory / 1e6:,.0f} MB of"
        " memory in a task that matches a partition at once; with less it works in rounds."
    ]
    rows = [(a.documents, *costs(a.text_bytes, a.partitions)) for a in amounts]
    return Forecast(sentences, COLUMNS, rows)


STAGE = Stage(
    name="substring_dedup",
    version=3,
    summary="Cut stretches that stand in the corpus before.",
    config=SubstringDedup,
    forecast=forecast,
    rules=lambda config: {"substring_dedup.repeated": "bytes", "substring_dedup.empty": ""},
    limits=lambda config: {"substring_dedup.repeated": config.min_length},
    phases=(
        Phase(
            "anchors",
            "each",
            apply=anchors,
            against=anchors,  # these come first, and so does what they hold
            emits=(Channel("anchors", by="hash"), Channel("texts")),
            documents=False,
            settings=("min_length",),
        ),
        Phase(
            "match",
            "part",
            run=match,
            reads=("anchors.anchors",),
            side=("anchors.texts",),
            emits=(Channel("spans"), Channel("beyond")),
            settings=("min_length",),
        ),
        Phase(
            "merge",
            "all",
            run=merge,
            reads=("match.spans", "match.beyond"),
            emits=(Channel("spans"),),
            settings=(),
        ),
        Phase(
            "apply",
            "each",
            open=open_spans,
            apply=apply,
            side=("merge.spans",),
            emits=(Channel("index", path=PATH, words=True, only_with="keep_index"),),
        ),
    ),
)
