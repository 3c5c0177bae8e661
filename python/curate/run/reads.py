"""What a phase is given to read: side files, its partition of a channel, the rows of its own task. All of it mapped.

The rows of a partition lie in the shuffle files of all tasks. When a pass that reads a channel by partition begins,
the driver merges what these files say of their partitions into one index: int32 [partitions + 1, spills], a column
a spill of a file. A task maps it, looks at two of its rows, and opens the files that hold something for it.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import DamageError, TaskError
from curate.io.store import Store, write_bytes
from curate.io.write import partition_of, places_of, round_of
from curate.run.call import OpWork
from curate.stages.protocol import SideFile


def write_index(scratch: Store, rel: str, files: Sequence[str], partitions: int) -> None:
    """Merge the places of these shuffle files (names in `scratch`) into the index `rel`."""
    columns: list[np.ndarray] = []
    names: list[tuple[str, int]] = []
    for name in files:
        with pa.memory_map(str(scratch.local(name))) as mapped:
            starts = places_of(open_ipc_of(mapped, name), partitions, name)
            names.append((name, len(starts)))
            columns.append(starts.copy())
    merged = np.concatenate(columns) if columns else np.zeros((0, partitions + 1), np.int32)
    write_bytes(scratch, f"{rel}.places", np.ascontiguousarray(merged.T).astype("<i4").tobytes())
    write_bytes(scratch, f"{rel}.files", json.dumps(names).encode())


def places_in(scratch: Store, rel: str, partition: int, partitions: int) -> Iterator[tuple[str, int, int]]:
    """(file, first batch, end of batches) of a partition, in task order."""
    names: list[tuple[str, int]] = json.loads(scratch.read(f"{rel}.files"))
    spills = sum(count for _, count in names)
    if not spills:
        return
    merged = np.memmap(scratch.local(f"{rel}.places"), "<i4", "r", shape=(partitions + 1, spills))
    begin, end = np.array(merged[partition]), np.array(merged[partition + 1])
    owner = np.repeat(np.arange(len(names)), [count for _, count in names])
    for spill in np.flatnonzero(end > begin):
        yield names[owner[spill]][0], int(begin[spill]), int(end[spill])


def open_ipc(path: Path, name: str) -> Any:
    """A mapped Arrow file; DamageError where it is none."""
    return open_ipc_of(pa.memory_map(str(path)), name)


def open_ipc_of(mapped: Any, name: str) -> Any:
    with _damage_named(name):
        return pa.ipc.open_file(mapped)


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Translate what Arrow says of a file that it cannot read to DamageError: the file is made again."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DamageError(name, f"cannot be read ({error})") from None


class MappedFiles:
    """Side and Reads (stages/protocol.py)."""

    def __init__(
        self,
        op: OpWork,
        stores: Mapping[str, Store],
        *,
        partition: int | None = None,
        partitions: int = 1,
        memory: int = 0,
        allowed: Sequence[str] = (),
    ) -> None:
        self.op, self.stores, self.memory, self.allowed = op, stores, memory, allowed
        self.partition, self.partitions = (partition, partitions) if partition is not None else (0, 1)

    def files(self, name: str) -> list[SideFile]:
        return [self._here(file) for file in self.op.sides.get(name, ())]

    def _here(self, file: SideFile) -> SideFile:
        return file._replace(path=self.stores[file.place].local(file.name)) if file.place else file

    def path(self, name: str) -> Path:
        (file,) = self.op.sides[name]
        return self._here(file).path

    def table(self, name: str) -> pa.Table:
        tables = []
        for file in self.files(name):
            with _damage_named(file.name):
                tables.append(open_ipc(file.path, file.name).read_all())
        return concatenated(tables)

    def rows(self, name: str) -> pa.Table:
        if name not in self.op.reads:
            return self.table(name)
        tables: list[pa.Table] = []
        scratch = self.stores["scratch"]
        for path, begin, end in places_in(scratch, self.op.reads[name], self.partition, self.partitions):
            reader = open_ipc(scratch.local(path), path)
            with _damage_named(path):
                tables.append(pa.Table.from_batches([reader.get_batch(i) for i in range(begin, end)]))
        return concatenated(tables)

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        expected = own.num_rows + sum(table.num_rows for table in others) / self.partitions
        # Of the memory 75 % less what is held, and at least 1/8, so that the number of rounds is bounded; the rest is
        # for what does not grow with the rows, buffers of files for example.
        free = max(0.75 * self.memory - held, self.memory / 8)
        rounds = max(1, math.ceil(expected * row_bytes / free))
        for number in range(rounds):
            yield list(self._round(own, others, by, rounds, number))

    def _round(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, rounds: int, number: int
    ) -> Iterator[pa.Table]:
        yield own if rounds == 1 else _chosen(own, by, lambda column: round_of(column, rounds) == number)
        for table in others:
            yield _chosen(table, by, lambda column: self._belongs(column, rounds, number))

    def _belongs(self, column: pa.Array, rounds: int, number: int) -> Any:
        here = partition_of(pa.chunked_array([column]), self.partitions) == self.partition
        return here & (round_of(column, rounds) == number)


def _chosen(table: pa.Table, by: str, keep: Callable[[pa.Array], Any]) -> pa.Table:
    """The rows whose `by` is wanted, batch by batch: only they are copied out of a mapped file."""
    kept = [batch.filter(pa.array(keep(batch.column(by)))) for batch in table.to_batches()]
    return pa.Table.from_batches([batch for batch in kept if batch.num_rows], table.schema)


def concatenated(tables: list[pa.Table]) -> pa.Table:
    """One table; of no tables, a table without columns and rows."""
    return pa.concat_tables(tables) if tables else pa.table({})


class OwnRows:
    """Own (stages/protocol.py): the rows of channels that the same task emitted, taken in order."""

    def __init__(self, tables: Mapping[str, pa.Table], title: str) -> None:
        self.tables, self.title = tables, title
        self.taken = dict.fromkeys(tables, 0)

    def next(self, name: str, rows: int) -> pa.Table:
        table, start = self.tables[name], self.taken[name]
        if start + rows > table.num_rows:
            raise TaskError(f"{self.title}: {name} has {table.num_rows:,} rows, and {start + rows:,} were asked for")
        self.taken[name] += rows
        return table.slice(start, rows)

    def check(self) -> None:
        """TaskError unless every row was taken."""
        for name, table in self.tables.items():
            if self.taken[name] != table.num_rows:
                raise TaskError(f"{self.title}: of {table.num_rows:,} rows of {name} {self.taken[name]:,} were read")
