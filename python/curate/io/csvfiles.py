"""CSV and TSV: a row a document, every value as text; the first row has the names of the columns.

Quoting is that of RFC 4180: a quoted value may hold separators, line ends and doubled quotes. A row with more or fewer
values than there are names is told as a mark (read.ragged_row): values without a name go into `extra`. A quote that is
never closed would take the rest of the file into one value; such a row ends after `max_line` bytes and is dropped as
read.too_large, with all that it took.
"""

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO

from curate import schema
from curate.errors import SchemaError
from curate.io import columns
from curate.io.batches import REPLACED, Batcher, ReadCounts, Rows, Verdict
from curate.io.compressed import Damaged, open_utf8, skipped_bytes
from curate.io.inputs import Slice
from curate.io.jsonl import RowMaker, rest_of_line, useless

_SEPARATORS = {"csv": ",", "tsv": "\t"}


class _TooLong(Exception):
    """A row is longer than it may be."""


def read_csv(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows of a table. A row's origin_offset is the byte at which it starts, in the decompressed file.

    SchemaError where the table has no column of text.
    """
    csv.field_size_limit(max(csv.field_size_limit(), piece.max_line + 1))
    with open_utf8(piece.path, piece.codec) as handle:
        lines = _Lines(handle, piece.max_line)
        maker = RowMaker(piece, counts)
        batcher = Batcher(piece.source, piece.rel, "document", maker.carried)
        try:
            found = _records(lines, _separator(piece, handle))
            names = next((values for values, *_ in found if values), None)
            if names is None:
                return
            _check_names(names, piece)
            maker.has(names)
            for values, offset, length, fault in found:
                if not (values or fault):
                    continue  # an empty line
                row, verdict = (useless(lines.first), fault) if fault else _row(maker, names, values, lines, offset)
                place = {"origin_offset": offset, "doc_id": schema.doc_id(piece.rel, offset)}
                yield from batcher.add(place | row, min(length, piece.max_line), verdict)
        except Damaged as error:
            skipped = skipped_bytes(handle, lines.position, piece.size)
            counts.damage(piece.rel, f"damaged after {lines.position:,} decompressed bytes: {error}", skipped)
        yield from batcher.rest()


def _separator(piece: Slice, handle: BinaryIO) -> str:
    """The separator of values: of CSV a semicolon where the first line has some and no comma, as in half of Europe."""
    begin = b""
    try:
        begin = handle.peek(1 << 12)  # type: ignore[attr-defined]
    except Damaged:
        pass  # which is told when it is read
    line = begin.partition(b"\n")[0]
    return ";" if piece.format == "csv" and b"," not in line and b";" in line else _SEPARATORS[piece.format]


def _records(lines: "_Lines", separator: str) -> Iterator[tuple[list[str], int, int, Verdict | None]]:
    """(values, offset, bytes, None) of every row; one that cannot be read has no values, and a verdict."""
    while True:
        reader = csv.reader(lines, delimiter=separator)
        offset = lines.begin_row()
        try:
            for values in reader:
                yield values, offset, lines.position - offset, None
                offset = lines.begin_row()
            return
        except _TooLong:
            length = lines.position - offset
            yield [], offset, length, Verdict("read.too_large", float(length), float(lines.limit))
        except csv.Error as error:
            yield [], offset, lines.position - offset, Verdict("read.bad_row", detail=str(error))


class _Lines:
    """The lines of a file for csv.reader, which asks for as many as a row has; at most `limit` bytes a row."""

    def __init__(self, handle: BinaryIO, limit: int) -> None:
        self.handle, self.limit = handle, limit
        self.position = self.row = 0  # bytes given so far, and before this row
        self.first = b""  # the line that the row begins with
        self.replaced = False  # whether the row has bytes that are not UTF-8

    def begin_row(self) -> int:
        """The offset of the row that begins now."""
        self.row, self.first, self.replaced = self.position, b"", False
        return self.position

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.handle.readline(self.limit + 2)
        if not line:
            raise StopIteration
        start, self.position = self.position, self.position + len(line)
        self.first = self.first or line
        if len(line) == self.limit + 2 and not line.endswith(b"\n"):
            self.position += sum(rest_of_line(self.handle))
        if self.position - self.row > self.limit + 2:
            raise _TooLong
        if not start:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.replaced = True
            return line.decode("utf-8", "replace")


def _check_names(names: list[str], piece: Slice) -> None:
    """SchemaError where no column of the table is the text."""
    wanted = piece.columns.get("text", "text")
    if wanted not in names:
        raise SchemaError(
            f"{piece.path}: no column `{wanted}`; it has: {', '.join(names[:50])}; "
            "name the one that holds the text with `columns: {text: NAME}`, or --columns text=NAME"
        )


def _row(
    maker: RowMaker, names: list[str], values: list[str], lines: _Lines, offset: int
) -> tuple[dict[str, Any], Verdict | None]:
    """The row of the record at `offset`. An empty value says nothing, as null."""
    given: dict[str, Any] = {}
    for name, value in zip(names, values, strict=False):
        if value:
            columns.put(given, name, value)
    if values[len(names) :]:
        columns.put(given, "more_values", values[len(names) :])
    row, verdict = maker.of_object(given, lines.first, offset)
    if verdict is None and len(values) != len(names):
        verdict = Verdict("read.ragged_row", float(len(values)), float(len(names)), action="mark")
    return row, verdict or (REPLACED if lines.replaced else None)
