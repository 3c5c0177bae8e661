"""What every reader gives: rows of one kind with their verdicts beside them, and counts of what was no row."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

import pyarrow as pa

from curate import schema
from curate.schema import Kind

BATCH_BYTES = 8 << 20  # of the texts or pages of a batch; a single row may have more
BATCH_ROWS = 4096
_NAMES = 100  # names of columns and keys that are remembered, for messages
_NAME_LENGTH = 200  # characters of such a name; longer ones are not remembered


class Rows(NamedTuple):
    """A batch of RAW or DOCUMENT rows, followed by the columns carried on from the input.

    `verdicts` holds schema.VERDICT rows, one a row of the batch; None where no row has one.
    """

    kind: Kind
    batch: pa.RecordBatch
    verdicts: pa.RecordBatch | None = None

    def slice(self, start: int, length: int | None = None) -> "Rows":
        """The rows from `start` on, `length` of them, with their verdicts; nothing is copied."""
        verdicts = None if self.verdicts is None else self.verdicts.slice(start, length)
        return Rows(self.kind, self.batch.slice(start, length), verdicts)


class Verdict(NamedTuple):
    """Why a row is of no use (action None: it is dropped), or what was mended in it (action "mark").

    The fields are the columns of schema.VERDICT; value and limit are in the unit of the rule, bytes for read.too_large.
    """

    rule: str
    value: float | None = None
    limit: float | None = None
    detail: str | None = None
    action: str | None = None


REPLACED = Verdict("read.invalid_utf8", detail="invalid bytes became U+FFFD", action="mark")


@dataclass
class ReadCounts:
    """What a reader saw beside documents; goes into the task's receipt."""

    documents: int = 0  # rows given, those with a verdict too
    bytes: int = 0  # of the slices read to their end, as stored
    # kind of record that is no document -> their number: request, revisit, ...
    other_records: Counter[str] = field(default_factory=Counter)
    skipped_bytes: int = 0  # of the file as it is stored; within a member of a WARC, as decompressed
    named: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, name in the input that the setting `columns` gives) -> rows that have it; 0 where none has."""
    names: set[str] = field(default_factory=set)  # of columns and keys that there are, at most _NAMES
    aside: dict[tuple[str, str], "Aside"] = field(default_factory=dict)
    """(name in the input, column of ours) -> values that the column cannot hold, and which went into `extra`."""
    warnings: list[str] = field(default_factory=list)  # one a place that is damaged, at most 20

    def damage(self, where: str, what: str, skipped: int = 0) -> None:
        """Note damaged input: `skipped` bytes could not be read; the first 20 places are named."""
        self.skipped_bytes += skipped
        if len(self.warnings) < 20:
            self.warnings.append(f"{where}: {what}" + (f" ({skipped:,} bytes skipped)" if skipped else ""))

    def meet(self, names: Iterable[str]) -> None:
        """Note names of columns or keys that there are: of hostile ones, which may be many or long, only some."""
        if len(self.names) < _NAMES:
            short = (name for name in islice(names, _NAMES) if len(name) <= _NAME_LENGTH)
            self.names.update(name.encode("utf-8", "replace").decode() for name in short)

    def put_aside(self, name: str, column: str, values: int, value: Any, where: str) -> None:
        """Note values that a known column cannot hold; `value` is one of them, and `where` its place."""
        found = self.aside.setdefault((name, column), Aside(0, _WORDS.get(type(value), "something else"), where))
        self.aside[name, column] = found._replace(values=found.values + values)

    def about_columns(self) -> dict[str, Any]:
        """What is known of columns, as plain data for a receipt."""
        named: dict[str, dict[str, int]] = {}
        for (source, name), rows in sorted(self.named.items()):
            named.setdefault(source, {})[name] = rows
        aside: dict[str, dict[str, Any]] = {}
        for (name, column), found in sorted(self.aside.items()):
            aside.setdefault(name, {})[column] = found._asdict()
        return {"named": named, "names": sorted(self.names)[:_NAMES], "aside": aside}


class Aside(NamedTuple):
    """Values of one column that went into `extra`; of one of them what it is, and where."""

    values: int
    what: str
    where: str


# How messages call a value: it is not shown, since it may be personal.
_WORDS = {
    str: "text", bytes: "bytes", bool: "true or false", int: "a number", float: "a number", list: "a list",
    dict: "an object",
}  # fmt: skip


class Batcher:
    """Collects rows given as dicts into batches of BATCH_BYTES, more only where one row is.

    `carried` are the columns that follow those of the kind; a row that lacks one has null there.
    """

    def __init__(self, source: str, rel: str, kind: Kind, carried: pa.Schema) -> None:
        """`source` and `rel` (the file's name, relative to its root) become columns of every row."""
        self.source, self.rel, self.kind = source, rel, kind
        self.schema = pa.schema([*schema.SCHEMA_OF[kind], *carried])
        self.rows: list[dict[str, Any]] = []
        self.verdicts: list[Verdict | None] = []
        self.size = 0

    def add(self, row: dict[str, Any], size: int, verdict: Verdict | None = None) -> Iterator[Rows]:
        """Collect a row of `size` bytes; gives the rows before it where it would be too much with them."""
        if self.size + size > BATCH_BYTES or len(self.rows) == BATCH_ROWS:
            yield from self.rest()
        self.rows.append({"source": self.source, "origin_file": self.rel, **row})
        self.verdicts.append(verdict)
        self.size += size

    def rest(self) -> Iterator[Rows]:
        """The rows that are left, if there are any."""
        if self.rows:
            batch, verdicts = self._batch(), verdict_batch(self.verdicts)
            self.rows, self.verdicts, self.size = [], [], 0
            yield Rows(self.kind, batch, verdicts)

    def _batch(self) -> pa.RecordBatch:
        """The collected rows as a batch. Columns that no row has are null; a text is never null."""
        present = set(chain.from_iterable(self.rows))
        columns = []
        for f in self.schema:
            if f.name not in present and f.name != "text":
                columns.append(pa.nulls(len(self.rows), f.type))
                continue
            values = [row.get(f.name) for row in self.rows]
            if f.name == "text":
                values = [value or "" for value in values]
            if pa.types.is_dictionary(f.type):
                columns.append(pa.array(values, pa.string()).dictionary_encode().cast(f.type))
            else:
                columns.append(pa.array(values, f.type))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def verdict_batch(found: list[Verdict | None]) -> pa.RecordBatch | None:
    """The verdicts of a batch's rows as schema.VERDICT; None where no row has one."""
    if not any(found):
        return None
    columns = [[verdict and verdict[i] for verdict in found] for i in range(5)]
    rule, value, limit, detail, action = columns
    return schema.verdicts(rule, value, limit, detail, action)


def row_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of the rows: of a dictionary column those of the indices only, since slices share the dictionary."""
    return sum(c.indices.nbytes if pa.types.is_dictionary(c.type) else c.nbytes for c in batch.columns)


def split_by_bytes(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Halve a batch until each part holds at most BATCH_BYTES, or one row."""
    if batch.num_rows <= 1 or row_bytes(batch) <= BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from split_by_bytes(batch.slice(0, half))
    yield from split_by_bytes(batch.slice(half))
