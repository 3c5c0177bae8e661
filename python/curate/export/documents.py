"""Documents as JSON lines, CSV, or WebDataset shards.

    jsonl       an object a document, a key a column, null where there is none. Bytes (doc_id) are hex digits, times
                ISO 8601, `extra` an object of its own. NaN and infinities are text, since JSON has no number for them
    csv         a header, then a line a document. Null is an empty cell, every text is in quotes, so that an empty text
                is "". Quotes are doubled; line ends stay inside of the quotes. Columns of lists and records do not fit
    webdataset  a tar file with DOC_ID.txt, the text, and DOC_ID.json, all other columns, for each document

A file of any form is a beginning, records, and an end; no record depends on another.
"""

import contextlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from curate.config import suggest
from curate.errors import ConfigError, DamageError
from curate.export.settings import ExportSettings, Limit
from curate.io.columns import json_text
from curate.io.store import Store, Target, Written
from curate.run.manifest import RunFolder

ZSTD_LEVEL, GZIP_LEVEL = 3, 6
GZIP_FORM = 31  # zlib's window bits for a gzip header, which then holds no time and no name
REMEDY = "run the run's own command again with --verify-files, then export"
BLOCK = 512  # bytes that members of a tar file are padded to

Encode = Callable[[Sequence[str], Sequence[Any]], bytes]  # (names, values) of a document -> its record


@dataclass(frozen=True)
class Columns:
    """What is written of a run's documents, decided from the files' schemas before the first row is read."""

    names: tuple[str, ...]
    left_out: dict[str, str]  # column -> why the form has no place for it


def columns_of(folder: RunFolder, files: Sequence[Written], settings: ExportSettings) -> Columns:
    """The columns to write. ConfigError where one that is asked for is not there, or does not fit the form."""
    types: dict[str, list[pa.DataType]] = {}
    for file in files:
        with _open(folder.products, file) as reader:
            for field in reader.schema_arrow:
                types.setdefault(field.name, []).append(field.type)
    for name in settings.columns:
        if name not in types:
            raise ConfigError(f"--columns {name}: the documents have no such column{suggest(name, list(types))}")
    wanted = [name for name in types if not settings.columns or name in settings.columns]
    if settings.to == "webdataset":
        wanted = [name for name in types if name in wanted or name in ("doc_id", "text")]
    left_out = {
        name: why for name in wanted if (why := next(filter(None, map(_why_not(settings.to), types[name])), ""))
    }
    for name in settings.columns:
        if name in left_out:
            raise ConfigError(f"--columns {name}: {settings.to} cannot hold it: {left_out[name]}")
    return Columns(tuple(name for name in wanted if name not in left_out), left_out)


def _why_not(form: str) -> Callable[[pa.DataType], str]:
    """A function that says why a column of a type does not fit a form; "" where it does."""

    def why_not(kind: pa.DataType) -> str:
        if not pa.types.is_nested(kind):
            return ""
        if form == "csv":
            return f"a cell holds no {kind}"
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        if any(pa.types.is_temporal(one) or why_not(one) for one in inner):
            return f"times inside of {kind} have no form in JSON"
        return ""

    return why_not


def records(
    folder: RunFolder, files: Sequence[Written], names: Sequence[str], encode: Encode, skip: int
) -> Iterator[bytes]:
    """A record for each document, in the order of the files' names and rows, without the first `skip`.

    Memory: a row group of a file, of some 8 MiB or one document.
    """
    for file in files:
        if skip >= file.rows:
            skip -= file.rows
            continue
        with _open(folder.products, file) as reader:
            there = [name for name in names if name in reader.schema_arrow.names]
            for group in range(reader.num_row_groups):
                rows = reader.metadata.row_group(group).num_rows
                if skip >= rows:
                    skip -= rows
                    continue
                table = reader.read_row_group(group, there)
                columns = [_values(table, name)[skip:] for name in names]
                skip = 0
                for values in zip(*columns, strict=True):
                    yield encode(names, values)


@contextlib.contextmanager
def _open(store: Store, file: Written) -> Iterator[pq.ParquetFile]:
    """The opened file; DamageError where it is not as its receipt says."""
    try:
        with store.open(file.path) as handle:
            reader = pq.ParquetFile(handle)
            if reader.metadata.num_rows != file.rows:
                found = f"{reader.metadata.num_rows:,} rows, and its receipt says {file.rows:,}"
                raise DamageError(file.path, f"holds {found}; {REMEDY}")
            yield reader
    except (OSError, pa.ArrowInvalid) as error:
        raise DamageError(file.path, f"cannot be read ({error}); {REMEDY}") from None


def _values(table: pa.Table, name: str) -> list[Any]:
    """A column as Python values: times as ISO 8601 text, float32 as the shortest number that is read back the same."""
    if name not in table.schema.names:
        return [None] * table.num_rows
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return list(pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1).to_pylist())
    if pa.types.is_temporal(column.type):
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_float32(column.type):
        return [None if text is None else float(text) for text in column.cast(pa.string()).to_pylist()]
    return list(column.to_pylist())


# -- forms -----------------------------------------------------------------------------------------------------


def json_object(names: Sequence[str], values: Sequence[Any]) -> str:
    """A document as a JSON object on one line. `extra` stands in it as the object that it is, unless it is none."""
    row = dict(zip(names, values, strict=True))
    extra = row.get("extra")
    if extra is None or not _is_object(extra):
        return json_text(row)
    del row["extra"]
    return json_text(row)[:-1] + (", " if row else "") + f'"extra": {extra}}}'


def _is_object(text: str) -> bool:
    """Whether a text is a JSON object on one line."""
    try:
        return "\n" not in text and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _json_line(names: Sequence[str], values: Sequence[Any]) -> bytes:
    return json_object(names, values).encode() + b"\n"


def _cell(value: Any) -> str:
    """A cell of CSV."""
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.hex() if isinstance(value, bytes) else str(value)


def _csv_line(names: Sequence[str], values: Sequence[Any]) -> bytes:
    return (",".join(map(_cell, values)) + "\n").encode()


def _sample(names: Sequence[str], values: Sequence[Any]) -> bytes:
    """The two members of a tar file that are a document."""
    row = dict(zip(names, values, strict=True))
    key, text = row["doc_id"].hex(), row.pop("text")
    about = json_object(tuple(row), tuple(row.values()))
    return _member(f"{key}.txt", text.encode()) + _member(f"{key}.json", about.encode())


def _member(name: str, data: bytes) -> bytes:
    """A file in a tar file: its header, without time and owner, and its bytes, padded."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


@dataclass(frozen=True)
class Shape:
    """What a form makes of documents."""

    suffix: str  # of the files' names
    encode: Encode
    head: Callable[[Sequence[str]], bytes] = lambda names: b""  # how a file begins, from the columns' names
    tail: bytes = b""  # how it ends


SHAPES = {
    "jsonl": Shape(".jsonl", _json_line),
    "jsonl.gz": Shape(".jsonl.gz", _json_line),
    "jsonl.zst": Shape(".jsonl.zst", _json_line),
    "csv": Shape(".csv", _csv_line, head=lambda names: _csv_line((), names)),
    "webdataset": Shape(".tar", _sample, tail=bytes(2 * BLOCK)),
}


class DocumentFile:
    """A file of records in the making. `size` counts bytes as they are written, behind the compression.

    A compressor holds back up to some 128 KB, so that a compressed file may become larger than its limit by that.
    """

    def __init__(self, store: Store, stem: str, shape: Shape, names: Sequence[str], limit: Limit) -> None:
        self.shape, self.limit, self.rows, self.size = shape, limit, 0, 0
        self.target: Target = store.create(stem + shape.suffix)
        self.coder = _coder(shape.suffix)
        self._put(shape.head(names))

    @property
    def full(self) -> bool:
        """Whether the file ends here."""
        unit, amount = self.limit
        return (self.rows if unit == "documents" else self.size) >= amount

    def write(self, record: bytes) -> None:
        """Append a document."""
        self._put(record)
        self.rows += 1

    def _put(self, data: bytes) -> None:
        if self.coder:
            data = self.coder.compress(data)
        if data:
            self.size += len(data)
            self.target.write(data)

    def commit(self) -> dict[str, Any]:
        """Complete the file; returns its entry of the manifest."""
        self._put(self.shape.tail)
        if self.coder:
            self.target.write(self.coder.flush())
        written = self.target.commit(self.rows)
        return {"path": written.path, "documents": self.rows, "bytes": written.bytes, "sha256": written.sha256}

    def abort(self) -> None:
        """Leave nothing of it."""
        self.target.abort()


def _coder(suffix: str) -> Any:
    """The compressor of a file with this suffix: one stream a file, whose bytes follow from its content."""
    if suffix.endswith(".zst"):
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORM) if suffix.endswith(".gz") else None
