"""line_dedup: lines, paragraphs or sentences that many documents share are cut, and the documents stay.

Menus, cookie notices and footers stand in thousands of pages that are otherwise different. count hashes every unit
of every document, pick finds the hashes that at least `min_count` documents hold, apply cuts them; every span is in
the rejects, with the number of documents it stood in.

    line          between line ends
    paragraph     between empty lines
    sentences     three in a row, as C4 does (with min_count: 2); shorter
                  documents have none

Units are compared in lower case, with every digit as 0 and white space joined, so that "Page 3 of 9" is one line
wherever it stands. Shorter ones than `min_length` are never cut: code is full of them. With keep: first a unit
stays in one document, chosen by a hash of doc_id; with keep: none it goes everywhere. A document of which
nothing is left is dropped. The list of repeated units is in memory: 20 bytes each, some 20 MB a million.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.config import Settings, setting
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage, with_column, with_verdict

WINDOW = 3
UNIT_BYTES = 200  # that a row of counts takes while they are added up
_UNITS = {
    "line": re.compile(r"[^\n]*\n|[^\n]+"),
    "paragraph": re.compile(r".+?(?:\n[^\S\n]*\n\s*|\Z)", re.DOTALL),
    "sentences": re.compile(r".+?(?:[.!?\u2026]+[\"')\]\u201d]*\s+|[\u3002\uff01\uff1f]+\s*|\n\s*|\Z)", re.DOTALL),
}
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7], np.uint64)


class LineDedup(Settings):
    unit: Literal["line", "paragraph", "sentences"] = setting("line", "what is counted and cut")
    min_count: int = setting(6, "documents that a unit must stand in to be cut", unit="documents", ge=2)
    min_length: int = setting(20, "shorter units stay", unit="characters", ge=1)
    keep: Literal["first", "none"] = setting("first", "first: a unit stays in one document; none: in none")


class Pieces(NamedTuple):
    """The units of a batch, one after the other; `starts[i]` is the first of document i, one more at the end.

    Row j of hashes is unit j (of sentences: the three that begin there); `valid` is false where it does not count.
    """

    units: list[str]
    starts: np.ndarray
    hashes: np.ndarray
    valid: np.ndarray


def cut_up(texts: list[str], config: LineDedup) -> Pieces:
    """Units whose concatenation is the text, with the hashes by which they are compared."""
    found = [_UNITS[config.unit].findall(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(units) for units in found])]).astype(np.int64)
    units = [unit for part in found for unit in part]
    column = pc.utf8_lower(pa.array(units, pa.large_string()))
    column = pc.replace_substring_regex(column, r"\d", "0")
    column = pc.utf8_trim_whitespace(pc.replace_substring_regex(column, r"\s+", " "))
    lengths = pc.utf8_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
    digests = kernels.sha256(column)
    hashes = np.frombuffer(digests.buffers()[1], "<u8", 4 * len(units))[::4].copy()
    if config.unit == "sentences":
        hashes, lengths = _windows(hashes, lengths, starts)
    return Pieces(units, starts, hashes, lengths >= config.min_length)


def _windows(hashes: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash and length of the three sentences from each on; the last two of a document begin none: length 0."""
    n = len(hashes)
    total, size = np.zeros(n, np.uint64), np.zeros(n, np.int64)
    for place, factor in enumerate(_FACTORS):
        whole = max(0, n - WINDOW + 1)
        total[:whole] += hashes[place : place + whole] * factor
        size[:whole] += lengths[place : place + whole]
    for back in range(1, WINDOW):
        ends = starts[1:] - back
        size[ends[ends >= starts[:-1]]] = 0
    return total, size


def _ranks(ids: pa.Array) -> np.ndarray:
    """A hash of each doc_id, for who keeps a unit: ids that are plain numbers would all begin with zeros."""
    digests = kernels.sha256(ids.cast(pa.binary()))
    return np.frombuffer(digests.buffers()[1], "<u8", 4 * len(ids))[::4]


def count(batch: pa.RecordBatch, config: LineDedup) -> Applied:
    pieces = cut_up(batch.column("text").to_pylist(), config)
    owner = np.repeat(np.arange(batch.num_rows), np.diff(pieces.starts))[pieces.valid]
    hashes = pieces.hashes[pieces.valid]
    order = np.lexsort((hashes, owner))
    owner, hashes = owner[order], hashes[order]
    new = np.ones(len(order), bool)  # the first of a unit in its document
    new[1:] = (owner[1:] != owner[:-1]) | (hashes[1:] != hashes[:-1])
    rows = {
        "hash": pa.array(hashes[new], pa.uint64()),
        "documents": pa.array(np.ones(new.sum(), np.int64)),
        "first": pa.array(_ranks(batch.column("doc_id"))[owner[new]], pa.uint64()),
    }
    return Applied(batch, emits={"units": pa.RecordBatch.from_pydict(rows)})


def combine(rows: pa.Table) -> pa.Table:
    """One row a hash: in how many documents it stands, and the smallest of them."""
    made = rows.group_by("hash").aggregate([("documents", "sum"), ("first", "min")])
    return made.rename_columns(["hash", "documents", "first"]).sort_by("hash")


def pick(config: LineDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    rows = reads.rows("count.units")
    for (part,) in reads.parts(rows, [], "hash", UNIT_BYTES) if rows.num_rows else []:
        counted = combine(part)
        yield "repeated", counted.filter(pc.greater_equal(counted.column("documents"), config.min_count))


class Repeated(NamedTuple):
    config: LineDedup
    hashes: np.ndarray  # sorted
    documents: np.ndarray
    first: np.ndarray


def open_repeated(config: LineDedup, side: Side) -> Repeated:
    table = side.table("pick.repeated")
    if table.num_rows == 0:
        return Repeated(config, *(np.zeros(0, np.uint64) for _ in range(3)))
    table = table.sort_by("hash")
    return Repeated(config, *(table.column(name).to_numpy() for name in ("hash", "documents", "first")))


def apply(batch: pa.RecordBatch, state: Repeated) -> Applied:
    pieces = cut_up(batch.column("text").to_pylist(), state.config)
    place = np.minimum(np.searchsorted(state.hashes, pieces.hashes), max(len(state.hashes) - 1, 0))
    listed = pieces.valid & (state.hashes[place] == pieces.hashes) if len(state.hashes) else pieces.valid & False
    if state.config.keep == "first" and listed.any():
        ranks = np.repeat(_ranks(batch.column("doc_id")), np.diff(pieces.starts))
        listed &= state.first[place] != ranks
    texts = batch.column("text").to_pylist()
    marks: list[dict[str, object]] = []
    rules: list[str | None] = [None] * batch.num_rows
    touched = np.unique(np.searchsorted(pieces.starts, np.flatnonzero(listed), "right") - 1)
    for row in map(int, touched):
        span = slice(pieces.starts[row], pieces.starts[row + 1])
        units = pieces.units[span]
        at = {int(i): int(state.documents[place[span][i]]) for i in np.flatnonzero(listed[span])}
        cut = dict(_cut(units, at, WINDOW if state.config.unit == "sentences" else 1))
        for start, end, documents in _spans(units, cut):
            marks.append({"row": row, "action": "cut", "rule": "line_dedup.repeated", "value": float(documents),
                          "limit": float(state.config.min_count), "span_start": start, "span_end": end})  # fmt: skip
        left = "".join(unit for i, unit in enumerate(units) if i not in cut)
        if left.strip():
            texts[row] = left.rstrip("\n") if not texts[row].endswith("\n") else left
        else:
            rules[row] = "line_dedup.empty"
    batch = with_verdict(batch, rules)
    marked = pa.RecordBatch.from_pylist(marks, schema=schema.MARK) if marks else None
    return Applied(with_column(batch, "text", pa.array(texts, pa.large_string())), marked)


def _cut(units: list[str], at: dict[int, int], window: int) -> Iterator[tuple[int, int]]:
    """(unit, documents) of every unit that a listed hash covers; the largest count where several do."""
    found: dict[int, int] = {}
    for begin, documents in at.items():
        for i in range(begin, min(begin + window, len(units))):
            found[i] = max(found.get(i, 0), documents)
    yield from sorted(found.items())


def _spans(units: list[str], cut: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    """(start, end, documents) in bytes of the text, a span a unit."""
    start = 0
    for i, unit in enumerate(units):
        end = start + len(unit.encode())
        if i in cut:
            yield start, end, cut[i]
        start = end


STAGE = Stage(
    name="line_dedup",
    version=1,
    summary="Cut lines that many documents share.",
    config=LineDedup,
    phases=(
        Phase(
            "count",
            "each",
            apply=count,
            emits=(Channel("units", by="hash", combine=combine),),
            settings=("unit", "min_length"),
        ),
        Phase("pick", "part", run=pick, reads=("count.units",), emits=(Channel("repeated"),), settings=("min_count",)),
        Phase("apply", "each", open=open_repeated, apply=apply, side=("pick.repeated",)),
    ),
)
