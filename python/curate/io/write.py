"""Writing files that are there whole or not at all, and the same bytes every time.

Every file is written under a temporary name in its own folder, synced and renamed; a reader never sees half of
one. Rows are re-cut to row groups of 4,096 rows (or 8 MiB, whichever comes first) before writing, so that the
bytes do not depend on how batches happened to arrive.
"""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from curate.errors import CurateError

GROUP_ROWS = 4096
GROUP_BYTES = 8 << 20
SPILL_BYTES = 64 << 20
TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class Written:
    """A committed file, as receipts name it; path is relative to the run's folder."""

    path: str
    rows: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@contextlib.contextmanager
def committed(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end, removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise told(error, path.parent) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def told(error: OSError, where: Path) -> Exception:
    """A full disk in words; any other failure as it is."""
    if error.errno == errno.ENOSPC:
        return CurateError(f"{where}: the disk is full; make room and run the same command again to continue")
    return error


def write_bytes(path: Path, data: bytes) -> None:
    """Commit a small file."""
    with committed(path) as temporary:
        temporary.write_bytes(data)


def sha256_file(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(path: Path, root: Path, rows: int) -> Written:
    return Written(path.relative_to(root).as_posix(), rows, path.stat().st_size, sha256_file(path))


class Regrouper:
    """Collects batches and gives them back as tables of GROUP_ROWS rows, or fewer where they are large."""

    def __init__(self) -> None:
        self.pending: list[pa.RecordBatch] = []
        self.rows = 0
        self.size = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        for start in range(0, batch.num_rows, GROUP_ROWS):
            part = batch.slice(start, GROUP_ROWS)
            if self.rows + part.num_rows > GROUP_ROWS:
                head = GROUP_ROWS - self.rows
                self._push(part.slice(0, head))
                yield self.take()
                part = part.slice(head)
            if self.rows and self.size + part.nbytes > GROUP_BYTES:
                yield self.take()
            self._push(part)
            if self.rows >= GROUP_ROWS or self.size >= GROUP_BYTES:
                yield self.take()

    def _push(self, part: pa.RecordBatch) -> None:
        if part.num_rows:
            self.pending.append(part)
            self.rows += part.num_rows
            self.size += part.nbytes

    def take(self) -> pa.Table:
        table = pa.Table.from_batches(self.pending).unify_dictionaries().combine_chunks()
        self.pending, self.rows, self.size = [], 0, 0
        return table


def _abandon(stack: contextlib.ExitStack) -> None:
    """Close a half-written file's writer and `committed` as a failure does, so that the temporary file goes."""
    with contextlib.suppress(RuntimeError, OSError, pa.ArrowException):
        stack.__exit__(RuntimeError, RuntimeError("aborted"), None)


class TableFile:
    """A Parquet (zstd 3) or Arrow IPC (uncompressed, mappable) file in the making; `close` commits it.

    No file appears where no row was written.
    """

    def __init__(self, path: Path, root: Path, metadata: dict[str, str] | None = None) -> None:
        self.path, self.root, self.metadata = path, root, metadata
        self.groups = Regrouper()
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        for table in self.groups.add(batch):
            self._write(table)

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            schema = table.schema
            if self.metadata:
                schema = schema.with_metadata({**(schema.metadata or {}), **self.metadata})
            temporary = self._stack.enter_context(committed(self.path))
            if self.path.suffix == ".parquet":
                # A dictionary of texts, and the first and the last of them, are copies that nobody looks up.
                names = [name for name in schema.names if name != "text"]
                settings = {"use_dictionary": names, "write_statistics": names, "write_batch_size": 16}
                writer = pq.ParquetWriter(temporary, schema, compression="zstd", compression_level=3, **settings)
            else:
                # IPC allows one dictionary a column in a file: categories are written as plain strings.
                schema = pa.schema([_plain(f) for f in schema], metadata=schema.metadata)
                writer = pa.ipc.new_file(str(temporary), schema)
            self._writer = self._stack.enter_context(writer)
            self._schema = schema
        self._writer.write_table(table.cast(self._schema))
        self.rows += table.num_rows

    def close(self) -> Written | None:
        try:
            if self.groups.rows:
                self._write(self.groups.take())
        except BaseException:
            self.abort()
            raise
        if self._writer is None:
            return None
        self._stack.close()
        return describe(self.path, self.root, self.rows)

    def abort(self) -> None:
        """Remove what was written so far."""
        _abandon(self._stack)


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


class ShuffleFile:
    """One Arrow IPC file a task, its rows grouped by partition; `places[p]` lists the batches of partition p.

    Rows are held until `spill` bytes are there, then written as one batch a partition: the file grows with the
    task, and memory does not.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        partitions: int,
        by: str | None,
        combine: Any = None,
        spill: int = SPILL_BYTES,
    ) -> None:
        self.path, self.root, self.partitions, self.by, self.combine = path, root, partitions, by, combine
        self.spill = spill
        self.pending: list[pa.RecordBatch] = []
        self.size = self.rows = self.batches = 0
        self.places: list[list[int]] = [[] for _ in range(partitions if by else 1)]
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self.pending.append(batch)
        self.size += batch.nbytes
        if self.size >= self.spill:
            self._spill()

    def _spill(self) -> None:
        table = pa.Table.from_batches(self.pending)
        self.pending, self.size = [], 0
        if self.combine:
            table = self.combine(table)
        table = table.cast(pa.schema([_plain(f) for f in table.schema]))
        if self._writer is None:
            temporary = self._stack.enter_context(committed(self.path))
            self._writer = self._stack.enter_context(pa.ipc.new_file(str(temporary), table.schema))
        for p, part in partition_table(table, self.by, self.partitions):
            # Rows of one partition lie apart and are put together; a whole table is written as it is.
            for batch in (part.combine_chunks() if self.by else part).to_batches():
                self._writer.write_batch(batch)
                self.places[p].append(self.batches)
                self.batches += 1
        self.rows += table.num_rows

    def close(self) -> Written | None:
        try:
            if self.pending:
                self._spill()
        except BaseException:
            self.abort()
            raise
        if self._writer is None:
            return None
        self._stack.close()
        return describe(self.path, self.root, self.rows)

    def abort(self) -> None:
        """Remove what was written so far."""
        _abandon(self._stack)


def partition_table(table: pa.Table, by: str | None, partitions: int) -> Iterable[tuple[int, pa.Table]]:
    """(partition, rows) for every partition that has rows; rows keep their order."""
    import numpy as np

    if by is None:
        return [(0, table)]
    key = partition_of(table.column(by), partitions)
    order = np.argsort(key, kind="stable")
    counts = np.bincount(key, minlength=partitions)
    edges = np.concatenate([[0], np.cumsum(counts)])
    rows = table.take(pa.array(order))
    return [(p, rows.slice(edges[p], counts[p])) for p in range(partitions) if counts[p]]


def partition_of(column: pa.ChunkedArray, partitions: int) -> Any:
    """The partition of every row: the high 32 bits of its hash modulo the number of partitions."""
    import numpy as np

    parts = [(_hashes(chunk) >> np.uint64(32)).astype(np.uint32) % np.uint32(partitions) for chunk in column.chunks]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def round_of(chunk: pa.Array, rounds: int) -> Any:
    """The round of every row: equal values share one, and the rows of a partition spread evenly over the rounds."""
    import numpy as np

    mixed = _hashes(chunk) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return (mixed * np.uint64(rounds) >> np.uint64(32)).astype(np.int64)


def _hashes(chunk: pa.Array) -> Any:
    """Numbers are hashes already. Bytes may be ids that someone else numbered 0, 1, 2: they are hashed here."""
    import numpy as np

    if not pa.types.is_fixed_size_binary(chunk.type):
        return chunk.to_numpy(zero_copy_only=False).astype(np.uint64)
    halves = np.frombuffer(chunk.buffers()[1], "<u8", 2 * len(chunk), chunk.offset * 16).reshape(-1, 2)
    key = halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1] * np.uint64(0xD1B54A32D192ED03)
    return (key ^ key >> np.uint64(32)) * np.uint64(0xABC98388FB8FAC03)
