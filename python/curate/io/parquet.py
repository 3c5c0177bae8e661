"""Parquet files: columns we know as the schema's types, others carried on as they are or inside `extra`.

A row is one of the file, and its origin_offset is its number there. A value that a column of ours cannot hold (the text
"soon" where a time is wanted) goes into `extra` under its own name, and the column is null there.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.errors import DataError
from curate.io import columns
from curate.io.batches import BATCH_BYTES, BATCH_ROWS, REPLACED, ReadCounts, Rows, split_by_bytes
from curate.io.compressed import open_file
from curate.io.inputs import Slice


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
            file = pq.ParquetFile(handle)
        except pa.ArrowException as error:
            raise DataError(f"{piece.path}: not a readable Parquet file: {error}") from None
        table = columns.table_of(file.schema_arrow, piece.columns, trusted=piece.trusted, where=piece.path)
        sorter = Sorter(piece, file.schema_arrow.names, table)
        end = file.metadata.num_row_groups if piece.end is None else piece.end
        # The number of the first row: ids follow from it, so it counts from the beginning of the file.
        row = sum(file.metadata.row_group(i).num_rows for i in range(piece.start))
        for index in range(piece.start, end):
            group = file.metadata.row_group(index)
            done = 0
            try:
                for part in _batches(file, index):
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


def _batches(file: pq.ParquetFile, index: int) -> Iterator[pa.RecordBatch]:
    """A row group's rows, dictionaries as plain values, in batches of about BATCH_BYTES."""
    group = file.metadata.row_group(index)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)))
    for batch in file.iter_batches(batch_size=rows, row_groups=[index]):
        arrays = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
        yield from split_by_bytes(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names))


class Sorter:
    """Puts the columns of one file's batches in their places."""

    def __init__(self, piece: Slice, names: list[str], table: columns.Table) -> None:
        """`names` are the file's columns, `table` says what each of them stands for."""
        self.piece, self.names, self.table = piece, names, table
        self.carried = columns.from_text(piece.carried)
        self.known = schema.SCHEMA_OF[table.kind]
        self.schema = pa.schema([*self.known, *self.carried])

    def rows(self, batch: pa.RecordBatch, row: int) -> Rows:
        """The rows of a batch whose first is row `row` of the file.

        Each column becomes a column of the kind, one that all files of the run carry, or part of `extra`. Whatever the
        file holds, the result has the schema that all batches of its kind have in the run.
        """
        n = batch.num_rows
        found: dict[str, pa.Array] = {}
        extras = _Extras(n)
        replaced: set[int] = set()
        for name, target, column in zip(self.names, self.table.targets, batch.columns, strict=True):
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
        if cast is None:
            values = _values(column)
            convert = columns.converter(field.name, kind)
            made = [None if value is None else convert(value) for value in values]
            left = [i for i, value in enumerate(values) if value is not None and made[i] is None]
            extras.add(name, left, [values[i] for i in left])
            cast = pa.array(made, kind)
        return cast.dictionary_encode().cast(field.type) if kind != field.type else cast

    def _verdicts(self, n: int, missing: pa.Array | None, replaced: set[int]) -> pa.RecordBatch | None:
        """Rows without a text are dropped, rows with a mended one are marked; None where there are neither."""
        lost = set(pc.indices_nonzero(missing).to_pylist()) if missing is not None else set()
        if not lost and not replaced:
            return None
        rule = ["read.no_text" if i in lost else REPLACED.rule if i in replaced else None for i in range(n)]
        detail = ["the text is null" if i in lost else REPLACED.detail if i in replaced else None for i in range(n)]
        action = [REPLACED.action if i in replaced and i not in lost else None for i in range(n)]
        return schema.verdicts(rule, detail=detail, action=action)


class _Extras:
    """What the rows of a batch say that has no column: name -> value, in the order of the columns."""

    def __init__(self, n: int) -> None:
        """`n` is the number of rows of the batch."""
        self.n = n
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
    """The column in Arrow's own type, where it has an extension type (a UUID, for example)."""
    return column.storage if isinstance(column.type, pa.BaseExtensionType) else column


def _carried(column: pa.Array, kind: pa.DataType, name: str, extras: _Extras, replaced: set[int]) -> pa.Array:
    """A column as the type in which all files of the run carry it, or all of it in `extra`.

    A column that is carried as text takes any value, as text. A column of nulls agrees with any type.
    """
    column = _storage(column)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    own = columns.plain(column.type)
    if own == kind:
        text = _as_text(column, kind, replaced) if columns.is_text(kind) else _cast(column, kind)
        if text is not None:
            return text
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


def _values(column: pa.Array) -> list[Any]:
    """A column as what JSON can say: bytes stay bytes (they become hex digits), times and decimals become text."""
    column = _storage(column)
    wanted = _json_type(column.type)
    if wanted != column.type:
        try:
            column = column.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return [None if not value.is_valid else str(value) for value in column]
    if columns.is_text(column.type):
        repaired = _as_text(column, pa.large_string(), set())
        assert repaired is not None
        column = repaired
    values: list[Any] = column.to_pylist()
    return values


def _json_type(kind: pa.DataType) -> pa.DataType:
    """The type in which `_values` reads a column: times and decimals as text, inside structs and lists too."""
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_json_type(f.type)) for f in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_json_type(kind.value_type)))
    return kind
