"""What a stage is: a name, a version, settings, and phases of three shapes. Plain functions, no hierarchy.

    each  a task per input slice. `open(config, side)` once a worker, then `apply(batch, state)` for every batch:
          the same rows in the same order, columns added. What became of the rows (dropped, set aside) is returned
          beside the batch, in `Applied`. `close(state)` when the worker leaves the pass.
    part  a task per partition of what earlier phases emitted: `run(config, reads) -> {channel: table}`.
    all   one task, likewise.

A channel is a named stream of rows that a phase emits. A later phase reads it in one of three ways:

    reads  its own partition, of a channel partitioned `by` a column (a strong hash: uint64, or 16 bytes)
    side   the whole channel, as read-only mapped files
    own    the rows that the same task emitted, in row order: `apply(batch, state, own)`

With `path` a channel is a product of the run, written below the run's folder, where {task}, {step} and {source} are
filled in. The key "notes" of what `run` returns is reserved: its lines (bytes) become warnings of the run. Where all
that `run` makes would not fit memory, `run` is a generator of (channel, table) pairs, each written as it comes.

`apply`, `open` and `run` are pure: no clock, no global, no rank, no I/O but the files they are given. So a task that
is run again gives the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from curate import schema
from curate.config import Settings
from curate.errors import DataError
from curate.schema import Kind

Shape = Literal["each", "part", "all"]  # how a phase is divided into tasks


class Applied(NamedTuple):
    """What `apply` returns: the rows it was given, in the same order, and what became of them.

    verdicts  schema.VERDICT, one row for each row of the batch; a row whose `rule` is null stays
    aside     booleans, one a row: true moves the row from the main lane to the heldout lane
    marks     schema.MARK: spans that were cut or marked, any number for a row
    emits     channel -> rows, of any number
    """

    batch: pa.RecordBatch
    verdicts: pa.RecordBatch | None = None
    aside: pa.Array | None = None
    marks: pa.RecordBatch | None = None
    emits: Mapping[str, pa.RecordBatch] = {}


class SideFile(NamedTuple):
    """A committed file of a channel, or a file that a setting names.

    `name` is its path below the run's folder, or the user's own path. task, lane and source are those that wrote it;
    of a user's file, task and source are empty.
    """

    path: Path  # where this machine can open or map it
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

    memory: int  # bytes of private memory that the phase may hold; mapped files do not count

    def rows(self, name: str) -> pa.Table:
        """The rows of a channel that belong to this partition (of `all`: every row), in task order."""

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        """[own, *others] in as many rounds as it takes for one to fit `memory`.

        A row takes `row_bytes` bytes of private memory while a round is worked on; the caller holds `held` bytes all
        the time. Rows with the same value of the column `by` come in the same round. `own` are rows of this partition;
        of `others` come those that would be in this partition, were they a channel partitioned by `by`.
        """


@dataclass(frozen=True)
class Channel:
    """Rows that a phase emits under a name: to later phases by `by` or as a whole, or as a product of the run."""

    name: str
    by: str | None = None  # partitioned by the hash in this column
    path: str | None = None  # a product, below the run's folder
    words: bool = False  # its rows hold words of the documents
    only_with: str | None = None  # a setting without which nothing is emitted
    combine: Callable[[pa.Table], pa.Table] | None = None  # adds rows up before they are written; any number of times


@dataclass(frozen=True)
class Phase:
    """One part of a stage's work, and what it reads and emits. An each phase has `apply`, the others have `run`.

    Names in `reads`, `side` and `own` are "phase.channel" of this stage, "stage.phase.channel" of another, or, in
    `side`, a key of Stage.files.
    """

    name: str
    shape: Shape
    open: Callable[[Any, Side], Any] | None = None
    apply: Callable[..., Applied | pa.RecordBatch] | None = None
    against: Callable[..., Applied] | None = None  # for documents that are only compared with; it may only emit
    run: Callable[[Any, Reads], Mapping[str, Any] | Iterable[tuple[str, Any]]] | None = None
    close: Callable[[Any], None] | None = None
    documents: bool = True  # False: it only emits, so that its documents need not be written again
    reads: tuple[str, ...] = ()  # channels read by partition
    side: tuple[str, ...] = ()  # whole channels, products of other stages, files of the settings
    own: tuple[str, ...] = ()  # channels of which the rows of the same task are read
    emits: tuple[Channel, ...] = ()
    lanes: tuple[str, ...] = ("main",)  # the heldout lane is what the holdout stage set aside
    settings: tuple[str, ...] | None = None  # names that enter this phase's fingerprint; None: all


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs; the memory budget and every executor read it."""

    cores: float = 1.0  # CPU cores that a task keeps busy
    gpus: float = 0.0  # GPUs that a task keeps; less than 1 where several tasks share one
    state_bytes: int = 0  # private memory that the opened state takes, a model for example
    batch_bytes: int = 0  # private memory at the peak of one batch, beyond what reading and writing take


class Failures(NamedTuple):
    """Rules that drop a row because the step failed at it, and the share of rows at which the run stops."""

    rules: Sequence[str]
    share: float
    setting: str  # that says so


class Forecast(NamedTuple):
    """What a stage expects of an input: sentences, and bytes at several numbers of documents.

    `rows` are (documents, bytes, bytes, …): after the number of documents, one value for each name in `columns`. The
    first row is for the input at hand.
    """

    sentences: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[float]] = ()


class Amounts(NamedTuple):
    """The expected volume of a run, and the memory in bytes that it may use."""

    documents: float  # estimated, as is text_bytes
    text_bytes: float  # UTF-8 bytes of their texts
    partitions: int  # that channels are divided into
    workers: int
    idle: int  # the driver and all workers, before any task
    least_task: int  # the least a task needs to read, change and write documents
    task_memory: int  # what each of the tasks that run at once may hold
    lone_task_memory: int  # what the only task of a pass may hold


@dataclass(frozen=True)
class Stage:
    """What a step of a recipe runs. Fields that are functions take the resolved settings."""

    name: str
    version: int  # bumped when the output changes for the same input and settings
    summary: str  # one sentence of the list of commands
    config: type[Settings]
    phases: tuple[Phase, ...]
    rows: Callable[[Any], Literal["raw", "document", "any"]] = field(default=lambda config: "document")
    makes: Kind | None = None  # the kind of its rows afterwards, where that changes
    needs: Callable[[Any], Sequence[str]] = field(default=lambda config: ("text",))  # columns that must be there
    own_pass: bool = False  # a pass of its own, whose documents are kept, since they cost most to make
    private: bool = False  # it handles personal values: no excerpt of what it touches may be written
    hides: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # types of values (redaction/kinds.py)
    resources: Callable[[Any], Resources] = field(default=lambda config: Resources())
    expected: Callable[[Any], tuple[float, float] | None] = field(default=lambda config: None)  # share of rows kept
    failures: Callable[[Any], Failures | None] = field(default=lambda config: None)
    libraries: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # their versions decide its output
    files: Callable[[Any], Mapping[str, Sequence[str]]] = field(default=lambda config: {})  # paths in settings
    code: Callable[[Any], Sequence[str]] = field(default=lambda config: ())  # `module:name` of the user's functions
    presets: Callable[[Any], str | None] = field(default=lambda config: None)  # name that rejects carry
    rules: Callable[[Any], Mapping[str, str]] = field(default=lambda config: {})  # rule -> unit of value and limit
    limits: Callable[[Any], Mapping[str, float]] = field(default=lambda config: {})  # rule -> what it compares with
    forecast: Callable[[Any, Sequence[Amounts]], Forecast] | None = None
    remarks: Callable[[Any], Sequence[str]] = field(
        default=lambda config: ()
    )  # for plan and log: sentences on settings

    def seen_by(self, phase: Phase, config: Settings) -> dict[str, Any]:
        """The settings that a phase depends on, as plain data; it is given these alone, others at their defaults."""
        data = config.model_dump(mode="json")
        return data if phase.settings is None else {name: data[name] for name in phase.settings}


class NoSettings(Settings):
    """Of a step that is a plain function."""


def of_function(target: str, function: Callable[[pa.Table], Any]) -> Stage:
    """The stage that a user's function is; `target` is its import path.

    The function is given the documents of a batch as a table. It returns booleans, one a row (false drops it), or a
    table of the same rows and columns with other values, such as another text. Anything else is a DataError.
    """
    name = target.partition(":")[2]
    rule = f"{name}.dropped"

    def apply(batch: pa.RecordBatch, state: Any) -> Applied | pa.RecordBatch:
        found = function(pa.Table.from_batches([batch]))
        if isinstance(found, pa.RecordBatch):
            found = pa.Table.from_batches([found])
        if isinstance(found, pa.Table):
            if found.schema.names != batch.schema.names or found.num_rows != batch.num_rows:
                raise DataError(
                    f"{target} returned {found.num_rows} rows of {', '.join(found.schema.names)}; it was given"
                    f" {batch.num_rows} rows of {', '.join(batch.schema.names)}, and must return the same"
                )
            cast = found.cast(batch.schema).combine_chunks()
            return cast.to_batches()[0] if cast.num_rows else batch
        try:
            stays = found if isinstance(found, pa.Array | pa.ChunkedArray) else pa.array(found)
        except (pa.ArrowException, TypeError):
            raise DataError(f"{target} returned {type(found).__name__}; it must return a table or booleans") from None
        if stays.type != pa.bool_() or len(stays) != batch.num_rows or stays.null_count:
            raise DataError(
                f"{target} returned {len(stays)} values of {stays.type}, {stays.null_count} of them null; it must"
                f" return a table, or {batch.num_rows} booleans: true for a row that stays"
            )
        return with_verdicts(batch, [None if one else rule for one in stays.to_pylist()])

    return Stage(
        name=name,
        version=1,
        summary=f"The function {target}.",
        config=NoSettings,
        rules=lambda config: {rule: ""},
        phases=(Phase("apply", "each", apply=apply),),
    )


def with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with the column `name` replaced in its place, or appended where there is none."""
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
    """`batch` with a verdict on every row whose rule is not None: the row is dropped.

    value, limit and detail are as schema.verdicts takes them; `more` are further fields of Applied.
    """
    return Applied(batch, schema.verdicts(rule, value, limit, detail), **more)
