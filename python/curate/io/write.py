"""Writing tables whose bytes follow from their rows and fixed sizes, not from the machine.

Rows are re-cut to row groups of 4,096 rows before writing, however they arrive. A group that reaches 8 MiB before that
ends at the boundary of a batch. Shuffled rows are spilled at 16 MiB. None of these sizes, nor those of the batches that
readers give, depends on the memory that there is or on the number of workers, so a task gives the same bytes in every
run.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from curate.errors import DamageError
from curate.io.batches import row_bytes
from curate.io.store import Store, Target, Written

GROUP_ROWS = 4096  # of a row group of Parquet, or of a batch of Arrow
GROUP_BYTES = 8 << 20  # of a group, beyond which no batch is added to it
SPILL_BYTES = 16 << 20  # of a shuffle file; it is held some four times while it is written
PLACES = b"curate.places"  # key of the metadata that holds `starts` of a shuffle file
MAX_OPEN_SOURCES = 16  # files of a product that are written at once, each with a group in memory


class Regrouper:
    """Collects batches and gives them back as tables of GROUP_ROWS rows, or fewer where they are large.

    At most GROUP_ROWS rows are held. A single batch is never cut for its bytes: readers give batches of about 8 MiB.
    """

    def __init__(self) -> None:
        self.pending: list[pa.RecordBatch] = []
        self.rows = 0
        self.size = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Collect a batch; gives the groups that are full with it."""
        for start in range(0, batch.num_rows, GROUP_ROWS):
            part = batch.slice(start, GROUP_ROWS)
            if self.rows + part.num_rows > GROUP_ROWS:
                head = GROUP_ROWS - self.rows
                self._push(part.slice(0, head))
                yield self.take()
                part = part.slice(head)
            if self.rows and self.size + row_bytes(part) > GROUP_BYTES:
                yield self.take()
            self._push(part)
            if self.rows >= GROUP_ROWS or self.size >= GROUP_BYTES:
                yield self.take()

    def _push(self, part: pa.RecordBatch) -> None:
        if part.num_rows:
            self.pending.append(part)
            self.rows += part.num_rows
            self.size += row_bytes(part)

    def take(self) -> pa.Table:
        """The rows that are held as one table, of one chunk a column; none are held then."""
        table = pa.Table.from_batches(self.pending).unify_dictionaries().combine_chunks()
        self.pending, self.rows, self.size = [], 0, 0
        return table


class TableFile:
    """A Parquet (zstd 3) or Arrow IPC (uncompressed, mappable) file in the making, by the end of its name.

    `close` commits it; where no row was written, no file appears. `metadata` goes into the file's schema.
    """

    def __init__(self, store: Store, rel: str, metadata: dict[str, str] | None = None) -> None:
        self.store, self.rel, self.metadata = store, rel, metadata
        self.groups = Regrouper()
        self.rows = 0
        self._target: Target | None = None
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        for table in self.groups.add(batch):
            self._write(table)

    def _write(self, table: pa.Table) -> None:
        """Write a group. The first one's schema is that of the file; later ones are cast to it."""
        if self._writer is None:
            self._open(table.schema)
        self._writer.write_table(table.cast(self._schema))
        self.rows += table.num_rows

    def _open(self, schema: pa.Schema) -> None:
        if self.metadata:
            schema = schema.with_metadata({**(schema.metadata or {}), **self.metadata})
        self._target = self.store.create(self.rel)
        sink = pa.BufferedOutputStream(pa.PythonFile(self._target, mode="w"), 1 << 20)
        if self.rel.endswith(".parquet"):
            # No dictionary and no minimum and maximum for texts: they only cost space.
            names = [name for name in schema.names if name not in ("text", "extra")]
            settings = {"use_dictionary": names, "write_statistics": names, "write_batch_size": 16}
            self._writer = pq.ParquetWriter(sink, schema, compression="zstd", compression_level=3, **settings)
        else:
            # IPC allows one dictionary a column in a file: categories are written as plain strings.
            schema = pa.schema([_plain(f) for f in schema], metadata=schema.metadata)
            self._writer = pa.ipc.new_file(sink, schema)
        self._sink, self._schema = sink, schema

    def close(self) -> Written | None:
        """Write the last group and commit; None where there was no row. Leaves nothing where that fails."""
        try:
            if self.groups.rows:
                self._write(self.groups.take())
            if self._target is None:
                return None
            self._writer.close()
            self._sink.close()
        except BaseException:
            self.abort()
            raise
        return self._target.commit(self.rows)

    def abort(self) -> None:
        """Leave nothing of what was written so far."""
        _abandon(self._writer, self._target)


def _abandon(writer: Any, target: Target | None) -> None:
    """Give up a file in the making: the writer is closed, for it to let go of the target, which is then removed."""
    if target is not None and not target.closed:
        with contextlib.suppress(Exception):
            writer.close()
        target.abort()


def _plain(field: pa.Field) -> pa.Field:
    """A field with a dictionary column's values as its type."""
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


class ShuffleFile:
    """One Arrow IPC file a task, its rows grouped by partition.

    Rows are held until SPILL_BYTES are there, then written partition after partition: the file grows with the task, and
    memory does not. A spill has one batch or more for each partition that has rows.

    Where the batches of a partition stand is told by the file itself, in the metadata of its last batch, which has no
    rows: int32 starts[spills, partitions + 1]. Batches starts[s, p] to starts[s, p + 1] are those of partition p in
    spill s.

    `by` is the column with the hash that decides; None: there is one partition. `combine` merges the rows of a spill
    (counts of equal keys, for example) before they are written, so the receipt's rows are those after it.
    """

    def __init__(
        self, store: Store, rel: str, partitions: int, by: str | None, combine: Any = None, spill: int = SPILL_BYTES
    ) -> None:
        self.store, self.rel, self.by, self.combine, self.spill = store, rel, by, combine, spill
        self.partitions = partitions if by else 1
        self.pending: list[pa.RecordBatch] = []
        self.size = self.rows = self.batches = 0
        self.starts: list[np.ndarray] = []
        self._target: Target | None = None
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self.pending.append(batch)
        self.size += batch.nbytes
        if self.size >= self.spill:
            self._spill()

    def _spill(self) -> None:
        """Write the rows that are held, grouped by partition, and note where each partition begins."""
        table = pa.Table.from_batches(self.pending)
        self.pending, self.size = [], 0
        if self.combine:
            table = self.combine(table)
        table = table.cast(pa.schema([_plain(f) for f in table.schema]))
        if self._writer is None:
            self._schema = table.schema
            self._target = self.store.create(self.rel)
            self._sink = pa.BufferedOutputStream(pa.PythonFile(self._target, mode="w"), 1 << 20)
            self._writer = pa.ipc.new_file(self._sink, table.schema)
        counts = np.zeros(self.partitions + 1, np.int32)
        for p, part in partition_table(table, self.by, self.partitions):
            # Rows of one partition lie apart and are put together; a whole table is written as it is.
            for batch in (part.combine_chunks() if self.by else part).to_batches():
                self._writer.write_batch(batch)
                counts[p + 1] += 1
        self.starts.append(self.batches + np.cumsum(counts, dtype=np.int32))
        self.batches += int(counts.sum())
        self.rows += table.num_rows

    def close(self) -> Written | None:
        """Write the rest and the places, and commit; None where there was no row."""
        try:
            if self.pending:
                self._spill()
            if self._target is None:
                return None
            places = np.stack(self.starts).astype("<i4").tobytes()
            empty = pa.RecordBatch.from_pylist([], schema=self._schema)
            self._writer.write_batch(empty, custom_metadata={PLACES: places})
            self._writer.close()
            self._sink.close()
        except BaseException:
            self.abort()
            raise
        return self._target.commit(self.rows)

    def abort(self) -> None:
        """Leave nothing of what was written so far."""
        _abandon(self._writer, self._target)


def places_of(reader: Any, partitions: int, name: str) -> np.ndarray:
    """int32 [spills, partitions + 1] of an opened shuffle file: where the batches of each partition begin."""
    try:
        _, metadata = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        data = (metadata or {})[PLACES]
        return np.frombuffer(data, "<i4").reshape(-1, partitions + 1)
    except (KeyError, ValueError, pa.ArrowInvalid) as error:
        raise DamageError(name, f"no shuffle file of {partitions} partitions ({error})") from None


class SourceFiles:
    """A product with a file a source, where sources come from the data and may be many.

    The first MAX_OPEN_SOURCES are written as they come. Rows of later ones wait in one file in scratch, and become
    files one after the other at the end, so that the number of open files and buffers does not follow the sources.
    """

    def __init__(self, store: Store, scratch: Store, waiting: str, rel: Any) -> None:
        """`rel` gives the name of a source's file below `store`, `waiting` is the name of the waiting file in
        `scratch`."""
        self.store, self.scratch, self.waiting, self.rel = store, scratch, waiting, rel
        self.files: dict[str, TableFile] = {}
        self.late: dict[str, list[int]] = {}  # source -> batches in the waiting file
        self._target: Target | None = None
        self._writer: Any = None
        self._batches = 0

    def write(self, source: str, batch: pa.RecordBatch) -> None:
        """Write rows of one source."""
        if source in self.files or len(self.files) < MAX_OPEN_SOURCES:
            if source not in self.files:
                self.files[source] = TableFile(self.store, self.rel(source), {"source": source})
            self.files[source].write(batch)
            return
        if self._writer is None:
            self._target = self.scratch.create(self.waiting)
            self._sink = pa.BufferedOutputStream(pa.PythonFile(self._target, mode="w"), 1 << 20)
            self._schema = pa.schema([_plain(f) for f in batch.schema], metadata=batch.schema.metadata)
            self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._writer.write_batch(batch.cast(self._schema))
        self.late.setdefault(source, []).append(self._batches)
        self._batches += 1

    def close(self) -> Iterator[tuple[str, Written]]:
        """(source, its file), sources sorted."""
        found = {}
        for source, file in self.files.items():
            written = file.close()
            if written:
                found[source] = written
        if self._target is not None:
            self._writer.close()
            self._sink.close()
            self._target.commit(0)
            with pa.memory_map(str(self.scratch.local(self.waiting))) as mapped:
                reader = pa.ipc.open_file(mapped)
                for source, batches in self.late.items():
                    late = TableFile(self.store, self.rel(source), {"source": source})
                    for number in batches:
                        late.write(reader.get_batch(number))
                    written = late.close()
                    assert written is not None
                    found[source] = written
            self.scratch.delete(self.waiting)
        yield from sorted(found.items())

    def abort(self) -> None:
        """Leave nothing of what was written so far."""
        for file in self.files.values():
            file.abort()
        _abandon(self._writer, self._target)
        self.scratch.delete(self.waiting)


def partition_table(table: pa.Table, by: str | None, partitions: int) -> Iterable[tuple[int, pa.Table]]:
    """(partition, rows) for every partition that has rows; rows keep their order."""
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
    parts = [(_hashes(chunk) >> np.uint64(32)).astype(np.uint32) % np.uint32(partitions) for chunk in column.chunks]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def round_of(chunk: pa.Array, rounds: int) -> Any:
    """The round of every row: equal values share one, and the rows of a partition spread evenly over the rounds."""
    mixed = _hashes(chunk) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return (mixed * np.uint64(rounds) >> np.uint64(32)).astype(np.int64)


def _hashes(chunk: pa.Array) -> Any:
    """Numbers are hashes already. Bytes may be ids that someone else numbered 0, 1, 2: they are hashed here."""
    if not pa.types.is_fixed_size_binary(chunk.type):
        return chunk.to_numpy(zero_copy_only=False).astype(np.uint64)
    # An id has 16 bytes: two 64-bit words, each multiplied by an odd constant, then mixed, folded and multiplied again.
    halves = np.frombuffer(chunk.buffers()[1], "<u8", 2 * len(chunk), chunk.offset * 16).reshape(-1, 2)
    key = halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1] * np.uint64(0xD1B54A32D192ED03)
    return (key ^ key >> np.uint64(32)) * np.uint64(0xABC98388FB8FAC03)
