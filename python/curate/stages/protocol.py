"""What a stage is: a name, a version, settings, and phases of three shapes. Plain functions, no hierarchy.

    each  a task per input file slice. `open(config, side)` once a worker, then `apply(batch, state)` for every
          batch: the same rows in the same order, columns added. A row is dropped by filling the VERDICT columns
          (schema.py); the run layer splits, counts and records. Apply may also emit rows into channels.
    part  a task per partition of what earlier phases emitted: `run(config, reads) -> {channel: table}`.
    all   one task, likewise.

A channel is a named stream of rows that a phase emits. With `by` it is partitioned by that column (a strong
hash: uint64, or bytes that start with one); without, it is read whole by a later phase as a side file. With
`path` it is a product of the run, written below the run's folder, where {task} and {source} are filled in.
What `run` returns under "notes" (bytes, a line each) is no channel: the run shows it as warnings. Where all of
what it makes would not fit memory, `run` is a generator of (channel, table) pairs, each written as it comes.
`apply`, `open` and `run` are pure: no clock, no global, no rank, no I/O but the side files they are given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from curate.config import Settings

Shape = Literal["each", "part", "all"]


class Applied(NamedTuple):
    """What `apply` returns where the batch alone does not say it all."""

    batch: pa.RecordBatch
    marks: pa.RecordBatch | None = None  # schema.MARK: spans cut or marked
    emits: Mapping[str, pa.RecordBatch] = {}


class SideFile(NamedTuple):
    """A committed file; `name` is its path below the run's folder, or the user's own path."""

    path: Path
    name: str
    rows: int
    bytes: int
    sha256: str


class Side(Protocol):
    """Read-only files that earlier phases or the user provide."""

    def table(self, name: str) -> pa.Table:
        """All rows of a channel (`phase.channel`), memory-mapped, in task order."""

    def path(self, name: str) -> Path:
        """A single file: one named by the settings, or a product of an earlier stage (`stage.phase.channel`)."""

    def files(self, name: str) -> list[SideFile]:
        """The files of a channel, in task order."""


class Reads(Side, Protocol):
    """What a part or all phase reads beside its side files."""

    memory: int  # bytes that the phase may hold beside mapped files

    def rows(self, name: str) -> pa.Table:
        """The rows of a channel that belong to this partition (of `all`: every row), in task order."""

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        """[own, *others] in so many rounds that one, at row_bytes a row and beside `held` bytes, fits `memory`.

        Rows with the same value of the column `by` come in one round. `own` are rows of this partition; of
        `others` come those that would be in this partition, were they a channel partitioned by that column.
        """


@dataclass(frozen=True)
class Channel:
    name: str
    by: str | None = None
    path: str | None = None
    combine: Callable[[pa.Table], pa.Table] | None = None  # merges rows before they are written


@dataclass(frozen=True)
class Phase:
    name: str
    shape: Shape
    open: Callable[[Any, Side], Any] | None = None
    apply: Callable[[pa.RecordBatch, Any], Applied | pa.RecordBatch] | None = None
    run: Callable[[Any, Reads], Mapping[str, Any] | Iterable[tuple[str, Any]]] | None = None
    reads: tuple[str, ...] = ()  # channels read by partition: "phase.channel"
    side: tuple[str, ...] = ()  # whole channels, products of other stages, files of the settings
    emits: tuple[Channel, ...] = ()
    lanes: tuple[str, ...] = ("main",)  # the heldout lane is what the holdout stage set aside
    settings: tuple[str, ...] | None = None  # those it reads, None for all: it sees the others at their defaults


@dataclass(frozen=True)
class Stage:
    name: str
    version: int
    summary: str
    config: type[Settings]
    phases: tuple[Phase, ...]
    needs: tuple[str, ...] = ("text",)  # columns that must be there; `payload` marks a reader of RAW
    own_pass: bool = False  # its documents are kept, since they cost most to make
    private: bool = False  # no excerpt of what it touches may be written
    libraries: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # their versions decide its output
    files: Callable[[Any], Mapping[str, Sequence[str]]] = field(default=lambda config: {})  # paths in settings
    presets: Callable[[Any], str | None] = field(default=lambda config: None)
    forecast: Callable[[Any, Sequence["Amounts"]], list[str]] | None = None  # what a plan says of it

    def seen_by(self, phase: Phase, config: Settings) -> dict[str, Any]:
        """The settings as plain data that a phase depends on, which are all that it is given."""
        data = config.model_dump(mode="json")
        return data if phase.settings is None else {name: data[name] for name in phase.settings}


class Amounts(NamedTuple):
    """What a plan expects a stage to meet, and the memory in bytes that a run gives it."""

    documents: float
    text_bytes: float
    partitions: int
    workers: int
    idle: int  # all processes before any task
    least_task: int  # a task that reads, changes and writes documents
    task_memory: int  # what a task may hold
    lone_task_memory: int  # what the only task of a pass may hold


def with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with the column replaced, or appended where there is none."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, batch.schema.field(index).with_type(values.type), values)


def with_verdict(
    batch: pa.RecordBatch, rule: list[str | None] | pa.Array, value: Any = None, limit: Any = None, detail: Any = None
) -> pa.RecordBatch:
    """`batch` with the VERDICT columns: row i is dropped where rule[i] is not None.

    value, limit and detail are lists or arrays of a length with rule, or one value for all rows.
    """
    n = batch.num_rows
    columns = {"reject_rule": rule, "reject_value": value, "reject_limit": limit, "reject_detail": detail}
    for name, values in columns.items():
        kind = pa.string() if name in ("reject_rule", "reject_detail") else pa.float64()
        listed = values if isinstance(values, list | pa.Array) else [values] * n
        batch = batch.append_column(name, pa.array(listed, kind))
    return batch
