"""What a stage is: a name, a version, settings, and phases of three shapes. Plain functions, no hierarchy.

    each  a task per input slice. `open(config, side)` once a worker, then `apply(batch, state)` for every batch:
          the same rows in the same order, columns added. What became of the rows (dropped, set aside) is returned
          beside the batch, in `Applied`. `close(state)` when the worker leaves the pass.
    part  a task per partition of what earlier phases emitted: `run(config, reads) -> {channel: table}`.
    all   one task, likewise.

A channel is a named stream of rows that a phase emits. A later phase reads it in one of three ways:

    reads  partitioned `by` a column (a strong hash: uint64, or bytes that start with one): its own partition
    side   whole, as read-only mapped files
    own    the rows that the same task emitted, in row order: `apply(batch, state, own)`

With `path` a channel is a product of the run, written below the run's folder, where {task}, {step} and {source} are
filled in. The key "notes" of what `run` returns is reserved: its lines (bytes) become warnings of the run. Where all
that `run` makes would not fit memory, `run` is a generator of (channel, table) pairs, each written as it comes.

`apply`, `open` and `run` are pure: no clock, no global, no rank, no I/O but the files they are given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from curate import schema
from curate.config import Settings
from curate.schema import Kind

Shape = Literal["each", "part", "all"]


class Applied(NamedTuple):
    """What `apply` returns: the rows it was given, in the same order, and what became of them.

    verdicts  schema.VERDICT, one row a row of the batch; a row whose `rule` is null stays
    aside     booleans, one a row: true leaves the main lane for the heldout lane
    marks     schema.MARK: spans that were cut or marked, any number a row
    emits     channel -> rows
    """

    batch: pa.RecordBatch
    verdicts: pa.RecordBatch | None = None
    aside: pa.Array | None = None
    marks: pa.RecordBatch | None = None
    emits: Mapping[str, pa.RecordBatch] = {}


class SideFile(NamedTuple):
    """A committed file of a channel, or a file that a setting names; `name` is its path below the run's folder, or
    the user's own path. Task, lane and source are those that wrote it, empty where it is the user's."""

    path: Path
    name: str
    rows: int
    bytes: int
    sha256: str
    task: str = ""
    lane: str = "main"
    source: str = ""
    place: str = ""  # the store of the run that holds it, "products" or "scratch"; empty for the user's


class Side(Protocol):
    """Read-only files that earlier phases or the user provide."""

    allowed: Sequence[str]  # packages of the user whose code the command line allows

    def table(self, name: str) -> pa.Table:
        """All rows of a channel (`phase.channel`), memory-mapped, in task order; without columns where none were
        emitted."""

    def path(self, name: str) -> Path:
        """A single file: one named by the settings, or a product of an earlier stage (`stage.phase.channel`)."""

    def files(self, name: str) -> list[SideFile]:
        """The files of a channel, in task order."""


class Own(Protocol):
    """The rows that an earlier phase emitted for the task at hand."""

    def next(self, name: str, rows: int) -> pa.Table:
        """The next `rows` rows of a channel, in the order in which they were emitted; TaskError where there are
        fewer. At the end of the task every row must have been taken."""


class Reads(Side, Protocol):
    """What a part or all phase reads beside its side files."""

    memory: int  # bytes that the phase may hold beside mapped files

    def rows(self, name: str) -> pa.Table:
        """The rows of a channel that belong to this partition (of `all`: every row), in task order."""

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        """[own, *others] in so many rounds that one, at `row_bytes` bytes a row and beside `held` bytes, fits `memory`.

        Rows with the same value of the column `by` come in one round. `own` are rows of this partition; of `others`
        come those that would be in this partition, were they a channel partitioned by that column.
        """


@dataclass(frozen=True)
class Channel:
    name: str
    by: str | None = None  # partitioned by the hash in this column
    path: str | None = None  # a product, below the run's folder
    combine: Callable[[pa.Table], pa.Table] | None = None  # merges rows before they are written


@dataclass(frozen=True)
class Phase:
    name: str
    shape: Shape
    open: Callable[[Any, Side], Any] | None = None
    apply: Callable[..., Applied | pa.RecordBatch] | None = None
    run: Callable[[Any, Reads], Mapping[str, Any] | Iterable[tuple[str, Any]]] | None = None
    close: Callable[[Any], None] | None = None
    documents: bool = True  # False: it only emits, so that its documents need not be written again
    reads: tuple[str, ...] = ()  # channels read by partition: "phase.channel"
    side: tuple[str, ...] = ()  # whole channels, products of other stages, files of the settings
    own: tuple[str, ...] = ()  # channels of which the rows of the same task are read
    emits: tuple[Channel, ...] = ()
    lanes: tuple[str, ...] = ("main",)  # the heldout lane is what the holdout stage set aside
    settings: tuple[str, ...] | None = None  # names that enter this phase's fingerprint; None: all


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs; the memory budget and every executor read it."""

    cores: float = 1.0
    gpus: float = 0.0
    state_bytes: int = 0  # private memory that the opened state takes, a model for example
    batch_bytes: int = 0  # private memory at the peak of one batch, beyond what reading and writing take


class Forecast(NamedTuple):
    """What a stage expects of an input: sentences, and bytes at several numbers of documents.

    `rows` are (documents, bytes, bytes, …), one value a name in `columns` after the documents.
    """

    sentences: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[float]] = ()


class Amounts(NamedTuple):
    """The expected volume, and the memory in bytes that the run has for it."""

    documents: float
    text_bytes: float
    partitions: int
    workers: int
    idle: int  # the driver and all workers, before any task
    least_task: int  # the least a task needs to read, change and write documents
    task_memory: int  # what each of the tasks that run at once may hold
    lone_task_memory: int  # what the only task of a pass may hold


@dataclass(frozen=True)
class Stage:
    """A step's implementation. Fields that are functions take the resolved config."""

    name: str
    version: int  # bumped when the output changes for the same input and settings
    summary: str
    config: type[Settings]
    phases: tuple[Phase, ...]
    rows: Callable[[Any], Literal["raw", "document", "any"]] = field(default=lambda config: "document")
    makes: Kind | None = None  # the kind of its rows afterwards, where that changes
    needs: Callable[[Any], Sequence[str]] = field(default=lambda config: ("text",))  # columns that must be there
    own_pass: bool = False  # a pass of its own, whose documents are kept, since they cost most to make
    private: bool = False  # it handles personal values: no excerpt of what it touches may be written
    hides: Callable[[Any], Mapping[str, str | None]] = field(default=lambda config: {})  # kind -> what replaces it
    resources: Callable[[Any], Resources] = field(default=lambda config: Resources())
    expected: Callable[[Any], tuple[float, float] | None] = field(default=lambda config: None)  # share of rows kept
    libraries: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # their versions decide its output
    files: Callable[[Any], Mapping[str, Sequence[str]]] = field(default=lambda config: {})  # paths in settings
    code: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # `module:name` of the user's functions
    presets: Callable[[Any], str | None] = field(default=lambda config: None)
    rules: Callable[[Any], Mapping[str, str]] = field(default=lambda config: {})  # rule -> unit of value and limit
    limits: Callable[[Any], Mapping[str, float]] = field(default=lambda config: {})  # rule -> what it compares with
    forecast: Callable[[Any, Sequence[Amounts]], Forecast] | None = None

    def seen_by(self, phase: Phase, config: Settings) -> dict[str, Any]:
        """The settings as plain data that a phase depends on, which are all that it is given."""
        data = config.model_dump(mode="json")
        return data if phase.settings is None else {name: data[name] for name in phase.settings}


def with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with the column replaced, or appended where there is none."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, batch.schema.field(index).with_type(values.type), values)


def with_verdicts(
    batch: pa.RecordBatch,
    rule: list[str | None] | pa.Array,
    value: Any = None,
    limit: Any = None,
    detail: Any = None,
    **more: Any,
) -> Applied:
    """`batch` with a verdict on every row whose rule is not None: it is dropped. See schema.verdicts."""
    return Applied(batch, schema.verdicts(rule, value, limit, detail), **more)
