"""Reading slices into RAW or DOCUMENT batches of about 8 MiB, losing nothing silently.

A row that cannot be used (a line that is not JSON, a record that is cut) comes out like any other, with its
verdict filled in: the run layer records it as a reject. What is no document (requests, revisits, warcinfo) and
what could not be read at all (garbage between members) is counted in `ReadCounts`.
"""

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import zstandard

from curate import schema
from curate.errors import DataError, SchemaError
from curate.io.inputs import Slice, TaskInput

BATCH_BYTES = 8 << 20
BATCH_ROWS = 4096
MAX_LINE = 512 << 20
MAX_WINDOW = 1 << 31  # zstd --long=31, the longest window there is


@dataclass
class ReadCounts:
    """What a reader saw beside documents; goes into the task's receipt."""

    documents: int = 0
    bytes: int = 0
    other_records: Counter[str] = field(default_factory=Counter)
    skipped_bytes: int = 0
    warnings: list[str] = field(default_factory=list)

    def damage(self, where: str, what: str, skipped: int = 0) -> None:
        """Note damaged input: `skipped` bytes could not be read; the first 20 places are named."""
        self.skipped_bytes += skipped
        if len(self.warnings) < 20:
            self.warnings.append(f"{where}: {what}" + (f" ({skipped:,} bytes skipped)" if skipped else ""))


class Batcher:
    """Collects rows given as dicts into batches of BATCH_BYTES, more only where one row is; `schema_of` is RAW or
    DOCUMENT.
    """

    def __init__(self, source: str, rel: str, schema_of: pa.Schema) -> None:
        self.source, self.rel = source, rel
        self.schema = pa.schema([*schema_of, *schema.VERDICT])
        self.rows: list[dict[str, Any]] = []
        self.size = 0

    def add(self, row: dict[str, Any], size: int) -> Iterator[pa.RecordBatch]:
        """Collect a row; gives the rows before it where it would be too much with them."""
        if self.size + size > BATCH_BYTES or len(self.rows) == BATCH_ROWS:
            yield from self.rest()
        self.rows.append({"source": self.source, "origin_file": self.rel, **row})
        self.size += size

    def rest(self) -> Iterator[pa.RecordBatch]:
        """The rows that are left, if there are any."""
        if self.rows:
            yield self._take()

    def _take(self) -> pa.RecordBatch:
        columns = []
        for f in self.schema:
            values = [row.get(f.name) for row in self.rows]
            if f.name == "text":
                values = [value or "" for value in values]
            if pa.types.is_dictionary(f.type):
                columns.append(pa.array(values, pa.string()).dictionary_encode().cast(f.type))
            else:
                columns.append(pa.array(values, f.type))
        self.rows, self.size = [], 0
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def read(task: TaskInput, counts: ReadCounts) -> Iterator[pa.RecordBatch]:
    """Every batch of the task's slices in order, stopping after `task.limit` documents.

    Raises DataError where a slice cannot be opened, SchemaError where a table lacks what is needed.
    """
    left = task.limit
    for piece in task.slices:
        try:
            for batch in _READERS[piece.format](piece, counts):
                if left is not None and batch.num_rows > left:
                    batch = batch.slice(0, left)
                counts.documents += batch.num_rows
                if batch.num_rows:
                    yield batch
                if left is not None:
                    left -= batch.num_rows
                    if left <= 0:
                        return
        except OSError as error:
            raise DataError(f"{piece.path}: cannot be read: {error.strerror or error}") from None
        counts.bytes += piece.size


# -- lines and text ------------------------------------------------------------------------------------------


def open_decompressed(path: str) -> BinaryIO:
    """The file's bytes, decompressed where its name ends in .gz or .zst (any window length)."""
    handle: BinaryIO = fsspec.open(path, "rb").open()
    lower = path.lower()
    if lower.endswith(".gz"):
        return gzip.GzipFile(fileobj=handle)  # type: ignore[return-value]
    if lower.endswith(".zst"):
        return io.BufferedReader(_ZstdFrames(handle), 1 << 20)
    return handle


class _ZstdFrames(io.RawIOBase):
    """The frames of a zstd file one after the other: what was decoded comes out before damage is told, and a file
    that ends inside a frame is an EOFError."""

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.decoder: Any = None
        self.data = self.out = b""
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.out and not self.ended:
            self._decode()
        size = min(len(buffer), len(self.out))
        buffer[:size] = self.out[:size]
        self.out = self.out[size:]
        return size

    def _decode(self) -> None:
        self.data = self.data or self.handle.read(1 << 16)
        if not self.data:
            if self.decoder is not None:
                raise EOFError("the file ends inside a zstd frame")
            self.ended = True
            return
        if self.decoder is None:
            self.decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        data, self.data = self.data, b""
        self.out = self.decoder.decompress(data)
        if self.decoder.eof:
            self.data, self.decoder = self.decoder.unused_data, None


def _lines(piece: Slice, counts: ReadCounts) -> Iterator[tuple[int, bytes]]:
    """(offset, line without its end) of every line that starts in the slice; offsets in decompressed bytes."""
    with open_decompressed(piece.path) as handle:
        position = piece.start
        if position:
            handle.seek(position - 1)
            position += len(handle.readline(MAX_LINE)) - 1  # the line that began in the slice before
        while piece.end is None or position < piece.end:
            try:
                line = handle.readline(MAX_LINE)
            except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
                counts.damage(piece.rel, f"damaged after {position:,} decompressed bytes: {error}")
                return
            if not line:
                return
            yield position, line.rstrip(b"\r\n")
            position += len(line)


def _read_jsonl(piece: Slice, counts: ReadCounts) -> Iterator[pa.RecordBatch]:
    batcher: Batcher | None = None
    ignored: set[str] = set()
    for offset, line in _lines(piece, counts):
        if not line.strip():
            continue
        row, size = _json_row(piece, offset, line, ignored)
        kind = schema.RAW if "payload" in row else schema.DOCUMENT
        if batcher is None:
            batcher = Batcher(piece.source, piece.rel, kind)
        yield from batcher.add(row, size)
    if batcher is not None:
        yield from batcher.rest()
    if ignored:
        counts.warnings.append(f"{piece.rel}: keys that are not carried on: {', '.join(sorted(ignored))}")


_REPLACED = {
    "reject_action": "mark", "reject_rule": "read.invalid_utf8", "reject_detail": "invalid bytes became U+FFFD"
}  # fmt: skip
_JSON_KEYS = ("doc_id", "url", "crawled_at", "text", "synthetic", "lang", "lang_score", "quality_score")
_ALIASES = {"id": "record_id", "timestamp": "crawled_at", "date": "crawled_at"}


def _json_row(piece: Slice, offset: int, line: bytes, ignored: set[str]) -> tuple[dict[str, Any], int]:
    """The row of one JSON line, with its verdict where the line is of no use."""
    base: dict[str, Any] = {"origin_offset": offset, "doc_id": schema.doc_id(piece.rel, offset)}
    bad: dict[str, Any] = {"text": line[:400].decode("utf-8", "replace")}
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        try:
            value = json.loads(line.decode("utf-8", "replace"))
            base["invalid_utf8"] = True
        except (ValueError, RecursionError):
            return {**base, **bad, "reject_rule": "read.not_json", "reject_detail": str(error)[:200]}, len(line)
    except (ValueError, RecursionError) as error:
        return {**base, **bad, "reject_rule": "read.not_json", "reject_detail": str(error)[:200]}, len(line)
    if not isinstance(value, dict):
        detail = f"a JSON {type(value).__name__}, not an object"
        return {**base, **bad, "reject_rule": "read.not_json", "reject_detail": detail}, len(line)
    renamed = {source: name for name, source in piece.columns.items()}
    fields: dict[str, Any] = {}
    for key, item in value.items():
        name = renamed.get(key) or _ALIASES.get(key) or key
        fields[name] = item
    if not isinstance(fields.get("text"), str):
        has = ", ".join(sorted(value)) or "nothing"
        detail = f'no text under the key "{piece.columns.get("text", "text")}"; the line has: {has}'
        return {**base, **bad, "reject_rule": "read.no_text", "reject_detail": detail[:200]}, len(line)
    return _document_row(base, fields, ignored), len(line)


def _document_row(base: dict[str, Any], fields: dict[str, Any], ignored: set[str]) -> dict[str, Any]:
    row = dict(base)
    row["text"], replaced = valid_text(fields["text"])
    if replaced or row.pop("invalid_utf8", False):
        row |= _REPLACED
    for key in _JSON_KEYS:
        if key == "text" or fields.get(key) is None:
            continue
        row[key] = _convert(key, fields[key])
    if row.get("doc_id") is None:
        row["doc_id"] = base["doc_id"]
    ignored.update(key for key in fields if key not in _JSON_KEYS and key != "record_id")
    return row


def _convert(key: str, value: Any) -> Any:
    """A JSON value as the column's type; what cannot be one is null, as an unknown value is."""
    try:
        if key == "doc_id":
            found = bytes.fromhex(value) if isinstance(value, str) else b""
            return found if len(found) == 16 else None
        if key == "crawled_at":
            return parse_time(value)
        if key in ("lang_score", "quality_score"):
            return float(value)
        return value is True if key == "synthetic" else valid_text(str(value))[0]
    except (ValueError, TypeError, OverflowError):
        return None


def parse_time(value: Any) -> Any:
    """ISO 8601 text or Unix seconds as a UTC datetime; None where it is neither."""
    from datetime import UTC, datetime

    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def valid_text(text: str) -> tuple[str, bool]:
    """`text` without lone surrogates (JSON can spell them, UTF-8 cannot), and whether any was replaced."""
    try:
        text.encode("utf-8")
        return text, False
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), True


def _read_text(piece: Slice, counts: ReadCounts) -> Iterator[pa.RecordBatch]:
    """One document a file: plain text and source code."""
    batcher = Batcher(piece.source, piece.rel, schema.DOCUMENT)
    with open_decompressed(piece.path) as handle:
        try:
            data = handle.read(MAX_LINE + 1)
        except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            counts.damage(piece.rel, f"damaged: {error}", piece.size)
            return
    row: dict[str, Any] = {"origin_offset": 0, "doc_id": schema.doc_id(piece.rel, 0)}
    if len(data) > MAX_LINE:
        row |= {
            "text": "",
            "reject_rule": "read.too_large",
            "reject_value": float(piece.size),
            "reject_limit": float(MAX_LINE),
        }
    else:
        row["text"] = data.decode("utf-8-sig", "replace")
        if "\ufffd" in row["text"] and b"\xef\xbf\xbd" not in data:
            row |= _REPLACED
    yield from batcher.add(row, len(data))
    yield from batcher.rest()


# -- Parquet -------------------------------------------------------------------------------------------------


def _read_parquet(piece: Slice, counts: ReadCounts) -> Iterator[pa.RecordBatch]:
    """DOCUMENT or RAW rows; other columns are carried on. `columns` renames, an `html` column is a payload."""
    import pyarrow.parquet as pq

    with fsspec.open(piece.path, "rb") as handle:
        try:
            file = pq.ParquetFile(handle)
        except pa.ArrowInvalid as error:
            raise DataError(f"{piece.path}: not a readable Parquet file: {error}") from None
        if piece.end == 0:
            return
        end = file.metadata.num_row_groups if piece.end is None else piece.end
        row = sum(file.metadata.row_group(i).num_rows for i in range(piece.start))
        for index in range(piece.start, end):
            group = file.metadata.row_group(index)
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)))
            for batch in file.iter_batches(batch_size=rows, row_groups=[index]):
                for part in split_by_bytes(batch):
                    yield _as_rows(part, piece, row, counts)
                    row += part.num_rows


def split_by_bytes(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Halve a batch until each part holds at most BATCH_BYTES, or one row."""
    if batch.num_rows <= 1 or batch.nbytes <= BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from split_by_bytes(batch.slice(0, half))
    yield from split_by_bytes(batch.slice(half))


def _as_rows(batch: pa.RecordBatch, piece: Slice, row: int, counts: ReadCounts) -> pa.RecordBatch:
    renamed = {source: name for name, source in piece.columns.items()}
    known = {renamed.get(name, name) for name in batch.schema.names}
    names = [
        renamed.get(name) or ("payload" if name == "html" and "text" not in known else name)
        for name in batch.schema.names
    ]
    batch = batch.rename_columns(names)
    raw = "text" not in names and "payload" in names
    if not raw and "text" not in names:
        raise SchemaError(
            f"{piece.path}: no column `text` (nor `html`); it has: {', '.join(names)}; "
            "name the one that holds the text with `columns: {text: NAME}`"
        )
    n = batch.num_rows
    batch = _with_ids(batch, piece, row)
    for name, kind, value in (
        ("source", schema.CATEGORY, piece.source),
        ("origin_file", schema.CATEGORY, piece.rel),
    ):
        if name not in batch.schema.names:
            batch = batch.append_column(pa.field(name, kind), pa.array([value] * n).dictionary_encode().cast(kind))
    if "origin_offset" not in batch.schema.names:
        batch = batch.append_column("origin_offset", pa.array(range(row, row + n), pa.int64()))
    if raw:
        return schema.conform(batch, schema.RAW)
    return _repair_text(schema.conform(_without_null_text(batch), schema.DOCUMENT))


def _with_ids(batch: pa.RecordBatch, piece: Slice, row: int) -> pa.RecordBatch:
    """Keep a doc_id column of 16 bytes or 32 hex digits; make one from the row's place otherwise."""
    index = batch.schema.get_field_index("doc_id")
    made = [schema.doc_id(piece.rel, row + i) for i in range(batch.num_rows)]
    if index < 0:
        return batch.append_column("doc_id", pa.array(made, schema.DOC_ID))
    column = batch.column(index)
    if column.type == schema.DOC_ID and column.null_count == 0:
        return batch
    values = [_convert("doc_id", value) or fallback for value, fallback in zip(column.to_pylist(), made, strict=True)]
    return batch.set_column(index, "doc_id", pa.array(values, schema.DOC_ID))


def _without_null_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A null text is a reject of the reader, with an empty text in its place."""
    index = batch.schema.get_field_index("text")
    column = batch.column(index)
    if column.null_count == 0:
        return batch
    rule = [None if value else "read.no_text" for value in column.is_valid().to_pylist()]
    batch = batch.set_column(index, "text", column.fill_null(""))
    for f in schema.VERDICT:
        values = pa.array(rule, f.type) if f.name == "reject_rule" else pa.nulls(batch.num_rows, f.type)
        batch = batch.append_column(f, values)
    return batch


def _repair_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Parquet does not check UTF-8; the kernels rely on it."""
    index = batch.schema.get_field_index("text")
    column = batch.column(index)
    try:
        column.validate(full=True)
        return batch
    except pa.ArrowInvalid:
        values = [value.decode("utf-8", "replace") for value in column.cast(pa.large_binary()).to_pylist()]
        return batch.set_column(index, batch.schema.field(index), pa.array(values, pa.large_string()))


def _read_warc(piece: Slice, counts: ReadCounts) -> Iterator[pa.RecordBatch]:
    from curate.io import warc

    yield from warc.read_warc(piece, counts)


_READERS: dict[str, Callable[[Slice, ReadCounts], Iterator[pa.RecordBatch]]] = {
    "jsonl": _read_jsonl,
    "text": _read_text,
    "parquet": _read_parquet,
    "warc": _read_warc,
    "wet": _read_warc,
}
