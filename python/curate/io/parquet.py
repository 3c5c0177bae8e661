"""Parquet files: columns we know as the schema's types, others carried on as they are or inside `extra`.

A row is one of the file, and its origin_offset is its number there. A value that a column of ours cannot hold (the text
"soon" where a time is wanted) goes into `extra` under its own name, and the column is null there.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.errors import DataError
from curate.io import columns
from curate.io.batches import (
    BATCH_BYTES,
    BATCH_ROWS,
    REPLACED,
    ReadCounts,
    Rows,
    Verdict,
    row_bytes,
    split_by_bytes,
    verdict_batch,
)
from curate.io.compressed import open_file
from curate.io.inputs import Slice

_PIECE = 1 << 20  # stored bytes of a column that are read at once
_AHEAD = 32 << 20  # bytes that rows may decode to at once, before they are cut
_ROWS_OF_DICTIONARY = 64  # that are read to see a dictionary
_ROWS_OF_SHARED = 32  # that are decoded at once at least, of values that share their beginnings


def read_parquet(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """DOCUMENT rows, or RAW rows where there is an `html` column and no text.

    The slice is row groups [start, end). Where a group is damaged, the rows of it that cannot be read are counted as
    skipped and the next group is read. DataError where the file is no Parquet, SchemaError where it has no text.
    """
    # A file without row groups is one empty slice.
    if piece.end == 0:
        return
    with open_file(piece.path) as handle:
        try:
            file = _opened(handle)
        except pa.ArrowException as error:
            raise DataError(f"{piece.path}: not a readable Parquet file: {error}") from None
        sorter = Sorter(piece, file.schema_arrow, counts)
        end = file.metadata.num_row_groups if piece.end is None else piece.end
        # The number of the first row: ids follow from it, so it counts from the beginning of the file.
        row = sum(file.metadata.row_group(i).num_rows for i in range(piece.start))
        for index in range(piece.start, end):
            group = file.metadata.row_group(index)
            done = 0
            try:
                for part in _batches(handle, file, index):
                    yield sorter.rows(part, row + done)
                    done += part.num_rows
            except (OSError, pa.ArrowException) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # the disk or the network, not the content
                lost = group.num_rows - done
                size = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
                what = f"{lost:,} rows from row {row + done:,} on cannot be read: {error}"
                counts.damage(piece.rel, what, size * lost // max(1, group.num_rows))
            row += group.num_rows


def _opened(handle: BinaryIO, metadata: pq.FileMetaData | None = None, dictionaries: Sequence[str] = ()) -> Any:
    """The file to be read piece by piece: a column of a row group may have gigabytes, and is never held whole.

    `metadata` spares reading the footer again; columns of the paths `dictionaries` come as dictionary and indices.
    """
    return pq.ParquetFile(handle, metadata=metadata, read_dictionary=list(dictionaries), buffer_size=_PIECE)


def _batches(handle: BinaryIO, file: pq.ParquetFile, index: int) -> Iterator[pa.RecordBatch]:
    """A row group's rows, dictionaries as plain values, in batches of at most BATCH_BYTES, or one row.

    Where the group is damaged, the rows before the damage are given, and then the error of the library is raised.
    """
    held: list[pa.RecordBatch] = []
    size = rows = 0
    try:
        for batch in file.iter_batches(batch_size=_rows_at_once(handle, file.metadata, index), row_groups=[index]):
            for part in decoded_parts(batch):
                more = row_bytes(part)
                if held and (size + more > BATCH_BYTES or rows + part.num_rows > BATCH_ROWS):
                    yield held[0] if len(held) == 1 else pa.concat_batches(held)
                    held, size, rows = [], 0, 0
                held.append(part)
                size, rows = size + more, rows + part.num_rows
    except (OSError, pa.ArrowException):
        if held:
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
        raise
    if held:
        yield held[0] if len(held) == 1 else pa.concat_batches(held)


# Bytes of a value of Parquet's types of fixed size; those of FIXED_LEN_BYTE_ARRAY stand in the schema.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


def _rows_at_once(handle: BinaryIO, metadata: pq.FileMetaData, index: int) -> int:
    """Rows of a group to be decoded at once, so that they take about BATCH_BYTES, and never many times _AHEAD.

    Sizes in the footer are those of encoded values. A column of texts whose values stand once in a dictionary, or share
    their beginnings with the one before, may decode to a thousand times that; there the longest value decides.
    """
    group = metadata.row_group(index)
    chunks = [group.column(i) for i in range(group.num_columns)]
    widths: list[int] = [_WIDTHS.get(c.physical_type, metadata.schema.column(i).length) for i, c in enumerate(chunks)]
    size = sum(max(c.total_uncompressed_size, c.num_values * w) for c, w in zip(chunks, widths, strict=True))
    rows: int = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(1, size)))
    most = 0.0  # bytes that a row may decode to
    for chunk in chunks:
        shared = "DELTA_BYTE_ARRAY" in chunk.encodings
        if chunk.physical_type != "BYTE_ARRAY" or not (shared or chunk.has_dictionary_page):
            continue
        longest = chunk.total_uncompressed_size
        if chunk.has_dictionary_page and not shared and longest * rows > BATCH_BYTES:
            longest = _longest(handle, metadata, index, chunk.path_in_schema)
        elif shared:  # a value may be as long as the column, and hardly ever is
            longest = min(longest, _AHEAD // _ROWS_OF_SHARED)
        most += longest * max(1.0, chunk.num_values / max(1, group.num_rows))
    return max(1, min(rows, int(_AHEAD // max(1.0, most))))


def _longest(handle: BinaryIO, metadata: pq.FileMetaData, index: int, path: str) -> int:
    """Bytes of the longest value in the dictionary of a column of a row group."""
    file = _opened(handle, metadata, [path])
    for batch in file.iter_batches(batch_size=_ROWS_OF_DICTIONARY, row_groups=[index], columns=[path]):
        values = [one.dictionary for one in _leaves(batch.column(0)) if pa.types.is_dictionary(one.type)]
        if any(map(len, values)):
            longest: int = max(pc.max(pc.binary_length(one)).as_py() or 0 for one in values)
            return longest
    return 0  # all values are null


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The columns inside a nested one, or the column itself."""
    if pa.types.is_struct(column.type):
        for child in column.flatten():
            yield from _leaves(child)
    elif columns.is_list(column.type) or pa.types.is_map(column.type):
        yield from _leaves(column.cast(pa.list_(column.type.value_field)).values)
    else:
        yield column


def decoded_parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows of a batch in parts of at most BATCH_BYTES, or one row; cut before dictionaries become plain values."""
    sizes = [_coded_bytes(column) for column in batch.columns]
    # A list that is a part of another still has all its values, and a cast converts them all: such a part is copied.
    lists = [columns.is_list(c.type) or pa.types.is_struct(c.type) for c in batch.columns]
    nested = [of.any() and nests for of, nests in zip(sizes, lists, strict=True)]
    ends = np.cumsum(sum(sizes, np.zeros(batch.num_rows, np.int64)))
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + BATCH_BYTES, "right")))
        part = batch.slice(start, end - start)
        rows = pa.array(range(end - start))
        arrays = [_plain(c.take(rows) if copied else c) for c, copied in zip(part.columns, nested, strict=True)]
        yield from split_by_bytes(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names))
        start = end


def _plain(column: pa.Array) -> pa.Array:
    """A column with every value in its place: no dictionary, no runs."""
    if pa.types.is_run_end_encoded(column.type):
        return _plain(pc.run_end_decode(column))
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _coded_bytes(column: pa.Array) -> Any:
    """Of every row the bytes of texts that stand once for many rows: in a dictionary, or for a run of rows."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        ends = np.minimum(column.run_ends.to_numpy() - column.offset, len(column)).clip(0)
        return np.repeat(_bytes_of(column.values), np.diff(ends, prepend=0))
    if pa.types.is_dictionary(kind):
        sizes = pa.array(_bytes_of(column.dictionary)).take(column.indices)
        return pc.fill_null(sizes, 0).to_numpy(zero_copy_only=False)
    if pa.types.is_struct(kind):
        return sum((_coded_bytes(child) for child in column.flatten()), np.zeros(len(column), np.int64))
    if columns.is_list(kind):
        ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
        inner = np.append(0, np.cumsum(_coded_bytes(column.flatten())))
        return np.diff(inner[ends], prepend=0)
    return np.zeros(len(column), np.int64)


def _bytes_of(values: pa.Array) -> Any:
    """The bytes of each text of a column; 0 of what is no text."""
    if columns.is_text(values.type) or columns.is_bytes(values.type):
        return pc.fill_null(pc.binary_length(values), 0).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return np.zeros(len(values), np.int64)


class Sorter:
    """Puts the columns of one file's batches in their places."""

    def __init__(self, piece: Slice, columns_of: pa.Schema, counts: ReadCounts) -> None:
        """`columns_of` are the file's columns; SchemaError where there is no text among them."""
        self.piece, self.counts = piece, counts
        self.lift = columns.Lift.of(columns_of, piece.columns.values())
        self.names = self.lift.schema.names
        self.table = columns.table_of(self.lift.schema, piece.columns, trusted=piece.trusted, where=piece.path)
        self.carried = columns.from_text(piece.carried)
        self.known = schema.SCHEMA_OF[self.table.kind]
        self.schema = pa.schema([*self.known, *self.carried])
        counts.meet(self.lift.names)
        self.named = columns.wanted(piece.columns, trusted=piece.trusted)

    def rows(self, batch: pa.RecordBatch, row: int) -> Rows:
        """The rows of a batch whose first is row `row` of the file.

        Each column becomes a column of the kind, one that all files of the run carry, or part of `extra`. Whatever the
        file holds, the result has the schema that all batches of its kind have in the run.
        """
        n = batch.num_rows
        found: dict[str, pa.Array] = {}
        extras = _Extras(n, row)
        replaced: set[int] = set()
        for name in self.named:
            self.counts.named[self.piece.source, name] += n if name in self.lift.names or name in self.names else 0
        for name, target, column in zip(self.names, self.table.targets, self.lift.columns(batch), strict=True):
            if target == "extra" and columns.is_text(column.type):
                extras.base = column.cast(pa.large_string())
            elif target is not None and target != "extra" and self.known.get_field_index(target) >= 0:
                found[target] = self._known(self.known.field(target), column, name, extras, replaced)
            elif target is not None and self.carried.get_field_index(target) >= 0 and target not in found:
                found[target] = _carried(column, self.carried.field(target).type, name, extras, replaced)
            else:
                extras.add(name, range(n), _values(column))
        missing = found["text"].is_null() if self.table.kind == "document" else None
        found |= self._places(found, row, n)
        found["extra"] = extras.column()
        arrays = [found[f.name] if f.name in found else pa.nulls(n, f.type) for f in self.schema]
        verdicts = self._verdicts(n, missing, replaced)
        return Rows(self.table.kind, pa.RecordBatch.from_arrays(arrays, schema=self.schema), verdicts)

    def _places(self, found: dict[str, pa.Array], row: int, n: int) -> dict[str, pa.Array]:
        """Identity and provenance of every row, where the file does not keep its own; no null text."""
        ids = found.get("doc_id")
        if ids is None or ids.null_count:
            given = ids.to_pylist() if ids is not None else [None] * n
            made = [given[i] or schema.doc_id(self.piece.rel, row + i) for i in range(n)]
            ids = pa.array(made, schema.DOC_ID)
        ours = {"doc_id": ids}
        for name, value in (("source", self.piece.source), ("origin_file", self.piece.rel)):
            column = found.get(name)
            texts = pa.nulls(n, pa.string()) if column is None else column.cast(pa.string())
            texts = pc.if_else(pc.equal(texts, ""), None, texts)  # an empty source is unknown, as null is
            ours[name] = pc.fill_null(texts, value).dictionary_encode().cast(schema.CATEGORY)
        rows = pa.array(range(row, row + n), pa.int64())
        ours["origin_offset"] = pc.coalesce(found["origin_offset"], rows) if "origin_offset" in found else rows
        if "text" in found:
            ours["text"] = found["text"].fill_null("")
        return ours

    def _known(self, field: pa.Field, column: pa.Array, name: str, extras: "_Extras", replaced: set[int]) -> pa.Array:
        """A column as the schema's type; values that cannot be of it go into `extra`.

        The whole column is cast at once where every value stays the same. Otherwise each value is converted by itself.
        """
        column = _storage(column)
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name == "source_id" and columns.is_bytes(column.type):
            cast = None  # bytes of an id are no text
        else:
            cast = _as_text(column, kind, replaced) if columns.is_text(kind) else _cast(column, kind)
        if cast is not None and pa.types.is_float32(kind) and not pc.all(pc.is_finite(cast), min_count=0).as_py():
            cast = None  # no score is infinite, or no number
        if cast is None:
            values = _values(column)
            convert = columns.converter(field.name, kind)
            made = [None if value is None else convert(value) for value in values]
            left = [i for i, value in enumerate(values) if value is not None and made[i] is None]
            if field.name == "source":
                left = [i for i in left if values[i] != ""]
            extras.add(name, left, [values[i] for i in left])
            if left and field.name != "text":  # without a text the row is a reject
                where = f"{self.piece.rel} at {extras.row + left[0]:,}"
                self.counts.put_aside(name, field.name, len(left), values[left[0]], where)
            cast = pa.array(made, kind)
        return cast.dictionary_encode().cast(field.type) if kind != field.type else cast

    def _verdicts(self, n: int, missing: pa.Array | None, replaced: set[int]) -> pa.RecordBatch | None:
        """Rows without a text are dropped, rows with a mended one are marked; None where there are neither."""
        found = dict.fromkeys(replaced, REPLACED)
        if missing is not None:
            lost = Verdict("read.no_text", detail="the text is null")
            found |= dict.fromkeys(pc.indices_nonzero(missing).to_pylist(), lost)
        return verdict_batch([found.get(row) for row in range(n)]) if found else None


class _Extras:
    """What the rows of a batch say that has no column: name -> value, in the order of the columns."""

    def __init__(self, n: int, row: int) -> None:
        """`n` is the number of rows of the batch, `row` the number of the first of them in the file."""
        self.n, self.row = n, row
        self.base: pa.Array | None = None  # an `extra` column of our own making
        self.rows: dict[int, dict[str, Any]] = {}

    def add(self, name: str, rows: Any, values: list[Any]) -> None:
        """Add a column's values for some rows of the batch; nulls say nothing and are left out."""
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                columns.put(self.rows.setdefault(row, {}), name, value)

    def column(self) -> pa.Array:
        """The column `extra`: one JSON object a row, null where there is nothing to say."""
        if not self.rows:
            return pa.nulls(self.n, pa.large_string()) if self.base is None else self.base
        base = [None] * self.n if self.base is None else self.base.to_pylist()
        texts = [columns.joined(base[i], self.rows.get(i, {})) for i in range(self.n)]
        return pa.array(texts, pa.large_string())


def _storage(column: pa.Array) -> pa.Array:
    """The column in Arrow's own type, where it has an extension type (as a UUID has), no dictionary and no view."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if columns.is_view(column.type):  # a cast of the library gives lists that cannot be read
        ends = np.cumsum(pc.if_else(column.is_valid(), column.sizes, 0).to_numpy(zero_copy_only=False))
        column = pa.LargeListArray.from_arrays(np.append(0, ends), column.flatten(), mask=column.is_null())
    return _plain(column)


def _carried(column: pa.Array, kind: pa.DataType, name: str, extras: _Extras, replaced: set[int]) -> pa.Array:
    """A column as the type in which all files of the run carry it, or all of it in `extra`.

    A column that is carried as text takes any value, as text. A column of nulls agrees with any type.
    """
    column = _storage(column)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    own = columns.plain(column.type)
    if own == kind:
        made = _as_text(column, kind, replaced) if columns.is_text(kind) else _cast(column, kind)
        if made is not None and pa.types.is_nested(kind):
            made = _valid(made, replaced)
        if made is not None:
            return made
    if columns.is_text(kind):
        return pa.array([None if v is None else columns.as_text(v) for v in _values(column)], kind)
    extras.add(name, range(len(column)), _values(column))
    return pa.nulls(len(column), kind)


def _as_text(column: pa.Array, kind: pa.DataType, replaced: set[int]) -> pa.Array | None:
    """A column of text (or of bytes that are to be text) with valid UTF-8; the rows that were mended join `replaced`.

    Parquet does not check UTF-8, and whatever comes after relies on it. None where the column is neither.
    """
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    if not columns.is_text(column.type) and not columns.is_bytes(column.type):
        return None
    try:
        column.validate(full=True)
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = []
        for i, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
            try:
                texts.append(value if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(value.decode("utf-8", "replace"))
                replaced.add(i)
        return pa.array(texts, kind)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The column as another type of the same family; None where some value would not be the same.

    Families are whole numbers, times, and text with bytes of any size; nested types and floats are tried too. Times may
    lose digits below a microsecond, and floats those that the narrower type has not.
    """
    if column.type == kind:
        return column
    families: tuple[Callable[[pa.DataType], bool], ...] = (
        pa.types.is_integer,
        pa.types.is_temporal,
        lambda one: bool(columns.is_text(one) or columns.is_bytes(one)) and not pa.types.is_fixed_size_binary(kind),
    )
    near = any(family(column.type) and family(kind) for family in families)
    if (
        not near
        and not pa.types.is_nested(kind)
        and not (pa.types.is_floating(column.type) and pa.types.is_floating(kind))
    ):
        return pa.nulls(len(column), kind) if pa.types.is_null(column.type) else None
    try:
        options = pc.CastOptions(target_type=kind, allow_time_truncate=True)
        return pc.cast(column, options=options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _valid(column: pa.Array, replaced: set[int]) -> pa.Array:
    """A nested column with valid UTF-8 in all its texts; the rows that were mended join `replaced`."""
    try:
        column.validate(full=True)
        return column
    except pa.ArrowInvalid:
        as_bytes = column.cast(_mapped(column.type, lambda kind: pa.binary() if columns.is_text(kind) else kind))
        made = pa.array([_decoded(value, column.type) for value in as_bytes.to_pylist()], column.type)
        again = made.cast(as_bytes.type)
        replaced.update(i for i in range(len(made)) if again[i] != as_bytes[i])
        return made


def _decoded(value: Any, kind: pa.DataType) -> Any:
    """A value of a nested type, its texts given as bytes, with these decoded; invalid bytes become U+FFFD."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _decoded(value[f.name], f.type) for f in kind}
    if pa.types.is_list(kind):
        return [_decoded(one, kind.value_type) for one in value]
    return value.decode("utf-8", "replace") if columns.is_text(kind) else value


def _values(column: pa.Array) -> list[Any]:
    """A column as what JSON can say: bytes stay bytes (they become hex digits), times and decimals become text."""
    column = _storage(column)
    kind = columns.plain(column.type)
    try:
        if kind is not None and pa.types.is_nested(kind):
            column = _valid(column.cast(kind), set())
        elif columns.is_text(column.type):
            column = _as_text(column, pa.large_string(), set())
        column = column.cast(_mapped(column.type, _json_type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return [None if not value.is_valid else str(value) for value in column]
    values: list[Any] = column.to_pylist()
    return values


def _json_type(kind: pa.DataType) -> pa.DataType:
    """The type in which `_values` reads a column of a plain type: times and decimals as text."""
    return pa.string() if pa.types.is_temporal(kind) or pa.types.is_decimal(kind) else kind


def _mapped(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type with `leaf` of every type that holds no other, inside structs and lists too."""
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _mapped(f.type, leaf)) for f in kind])
    return pa.list_(_mapped(kind.value_type, leaf)) if pa.types.is_list(kind) else leaf(kind)
