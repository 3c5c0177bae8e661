"""One task, from its call to its receipt; runs in a worker and knows nothing of other tasks or of the plan.

An each task reads its input once and passes every batch through all ops of its pass in memory. After each op
the rows with a verdict are split off and written as rejects, and the counts must balance before anything is
committed: rows in = rows out + dropped + set aside.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema, stages
from curate.errors import CurateError, TaskError
from curate.io.inputs import TaskInput
from curate.io.read import ReadCounts, read, split_by_bytes
from curate.io.write import (
    SPILL_BYTES,
    ShuffleFile,
    TableFile,
    Written,
    describe,
    partition_of,
    round_of,
    told,
    write_bytes,
)
from curate.run.manifest import Receipt, StepCounts
from curate.stages.protocol import Applied, Channel, Phase, SideFile, Stage


@dataclass(frozen=True)
class OpCall:
    """An op as data: the stage by name, its settings, and where its side files and reads lie."""

    name: str
    step: str
    stage: str
    phase: str
    config: dict[str, Any]
    only: dict[str, Any]
    sides: dict[str, tuple[SideFile, ...]] = field(default_factory=dict)
    reads: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = field(default_factory=dict)  # path, batches


@dataclass(frozen=True)
class Call:
    """All that a worker needs to run a task."""

    root: str
    pass_name: str
    task: str
    shape: str
    ops: tuple[OpCall, ...]
    fingerprint: str
    partitions: int
    memory: int  # bytes that the task may hold; how it is shared out changes no result
    keep_text: bool = False
    input: TaskInput | None = None
    documents: dict[str, str] = field(default_factory=dict)  # lane -> file, of the pass before
    documents_out: dict[str, str] = field(default_factory=dict)  # lane -> file to write, relative

    @property
    def title(self) -> str:
        what = self.input.slices[0].rel if self.input else ""
        return f"{self.pass_name} task {self.task}" + (f" ({what})" if what else "")


def run_task(call: Call) -> Receipt:
    """Run it, commit its files, write its receipt last, and return it.

    Raises CurateError subclasses as they are; anything else as a TaskError that names the task.
    """
    start = time.perf_counter()
    try:
        receipt = _EachTask(call).run() if call.shape == "each" else _run_single(call)
    except CurateError:
        raise
    except OSError as error:
        failure = told(error, Path(call.root))
        if isinstance(failure, CurateError):
            raise failure from None
        raise TaskError(f"{call.title} failed: {error}") from error
    except Exception as error:
        raise TaskError(f"{call.title} failed: {type(error).__name__}: {error}") from error
    receipt.seconds = round(time.perf_counter() - start, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    receipt.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    path = Path(call.root) / "passes" / call.pass_name / f"{call.task}.json"
    write_bytes(path, receipt.to_json().encode())
    return receipt


# -- what a phase is given -----------------------------------------------------------------------------------


class MappedFiles:
    """Side and Reads (stages/protocol.py) over memory-mapped files."""

    def __init__(self, op: OpCall, call: Call) -> None:
        self.op, self.root, self.memory = op, Path(call.root), call.memory
        by_part = call.shape == "part"
        self.partition, self.partitions = (int(call.task[1:]), call.partitions) if by_part else (0, 1)

    def files(self, name: str) -> list[SideFile]:
        return list(self.op.sides.get(name, ()))

    def path(self, name: str) -> Path:
        (file,) = self.op.sides[name]
        return file.path

    def table(self, name: str) -> pa.Table:
        return _concat([_open_ipc(file.path).read_all() for file in self.files(name)])

    def rows(self, name: str) -> pa.Table:
        tables: list[pa.Table] = []
        for path, places in self.op.reads[name]:
            reader = _open_ipc(self.root / path)
            tables.extend(pa.Table.from_batches([reader.get_batch(i)]) for i in places)
        return _concat(tables)

    def parts(
        self, own: pa.Table, others: Sequence[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        expected = own.num_rows + sum(table.num_rows for table in others) / self.partitions
        # A quarter is for what does not grow with the rows: buffers of files, and blocks that are half used. Where
        # what is held leaves little, an eighth is taken all the same, so that the rounds have an end.
        free = max(0.75 * self.memory - held, self.memory / 8)
        rounds = max(1, math.ceil(expected * row_bytes / free))
        for number in range(rounds):
            mine = own if rounds == 1 else _chosen(own, by, lambda c: round_of(c, rounds) == number)  # noqa: B023
            yield [mine, *(_chosen(table, by, lambda c: self._belongs(c, rounds, number)) for table in others)]  # noqa: B023

    def _belongs(self, column: pa.Array, rounds: int, number: int) -> Any:
        here = partition_of(pa.chunked_array([column]), self.partitions) == self.partition
        return here & (round_of(column, rounds) == number)


def _chosen(table: pa.Table, by: str, keep: Callable[[pa.Array], Any]) -> pa.Table:
    """The rows whose `by` is wanted, batch by batch: only they are copied out of a mapped file."""
    kept = [batch.filter(pa.array(keep(batch.column(by)))) for batch in table.to_batches()]
    return pa.Table.from_batches([batch for batch in kept if batch.num_rows], table.schema)


def _open_ipc(path: Path) -> Any:
    return pa.ipc.open_file(pa.memory_map(str(path)))


def _concat(tables: list[pa.Table]) -> pa.Table:
    """One table; of no tables, a table without columns and rows."""
    return pa.concat_tables(tables) if tables else pa.table({})


# -- each ----------------------------------------------------------------------------------------------------


class _Op:
    """An op opened in this task."""

    def __init__(self, call: OpCall, state: Any, stage: Stage, phase: Phase, config: Any) -> None:
        self.call, self.state, self.stage, self.phase = call, state, stage, phase
        self.preset = stage.presets(config)
        self.counts: dict[str, StepCounts] = {}

    def count(self, lane: str) -> StepCounts:
        name = self.call.name if lane == "main" else f"{self.call.name} ({lane})"
        return self.counts.setdefault(lane, StepCounts(name))


_opened: dict[tuple[str, str, str], tuple[OpCall, Any]] = {}  # the states of the pass a worker is in


def close_states() -> None:
    """Let go of what the ops of the last pass hold: models, and child processes."""
    _opened.clear()


def _open(call: Call, op: OpCall) -> _Op:
    stage = stages.load(op.stage)
    phase = next(p for p in stage.phases if p.name == op.phase)
    config = stage.config.model_validate(op.config)
    key = (call.root, call.pass_name, op.name)
    cached = _opened.get(key)
    if cached is None or cached[0] != op:
        for other in [k for k in _opened if k[:2] != key[:2]]:
            del _opened[other]
        state = phase.open(config, MappedFiles(op, call)) if phase.open else config
        _opened[key] = cached = (op, state)
    return _Op(op, cached[1], stage, phase, config)


class _EachTask:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.root = Path(call.root)
        self.ops = [_open(call, op) for op in call.ops]
        self.reading = StepCounts("read")
        self.writers: dict[str, TableFile | ShuffleFile] = {}
        self.read_counts = ReadCounts()

    def run(self) -> Receipt:
        try:
            for lane, batch in self._batches():
                self._push(batch, lane, 0)
            files = {role: writer.close() for role, writer in self.writers.items()}
        except BaseException:
            for writer in self.writers.values():
                writer.abort()
            raise
        return self._receipt({role: file for role, file in files.items() if file is not None})

    def _batches(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        if self.call.input is not None:
            for batch in read(self.call.input, self.read_counts):
                self.reading.rows_in += batch.num_rows
                self.reading.bytes_in += text_bytes(batch)
                kept = self._judge(batch, self.reading, "read", None, private=False)
                self.reading.rows_out += kept.num_rows
                self.reading.bytes_out += text_bytes(kept)
                yield "main", kept
            return
        for lane, path in self.call.documents.items():
            for group in pq.ParquetFile(self.root / path).iter_batches(batch_size=4096):
                for batch in split_by_bytes(group):
                    yield lane, schema.conform(batch, schema.DOCUMENT)

    def _push(self, batch: pa.RecordBatch, lane: str, start: int) -> None:
        """Pass a batch through the ops from `start` on, then write what is left of it."""
        for index in range(start, len(self.ops)):
            if batch.num_rows == 0:
                return
            batch = self._step(self.ops[index], batch, lane)
            if "heldout" in batch.schema.names:
                mask = batch.column("heldout")
                batch = batch.drop_columns(["heldout"])
                self._push(batch.filter(mask), "heldout", index + 1)
                batch = batch.filter(pc.invert(mask))
        if batch.num_rows and lane in self.call.documents_out:
            role = f"documents.{lane}"
            if role not in self.writers:
                self.writers[role] = TableFile(self.root / self.call.documents_out[lane], self.root)
            self.writers[role].write(batch)

    def _step(self, op: _Op, batch: pa.RecordBatch, lane: str) -> pa.RecordBatch:
        """One op on one batch: select, apply, recombine, record."""
        raw = "payload" in batch.schema.names
        if raw and "payload" not in op.stage.needs:
            raise TaskError(f"{op.call.step}: the input is raw HTML; put `extract` before this step")
        if lane not in op.phase.lanes or raw != ("payload" in op.stage.needs):
            return batch
        count = op.count(lane)
        start = time.perf_counter()
        count.rows_in += batch.num_rows
        count.bytes_in += text_bytes(batch)
        mask = _selected(batch, op.call.only)
        chosen = batch if mask is None else batch.filter(mask)
        if chosen.num_rows:
            assert op.phase.apply is not None
            schema.require(batch.schema, op.stage.needs, op.call.step)
            applied = op.phase.apply(chosen, op.state)
            if not isinstance(applied, Applied):
                applied = Applied(applied)
            if applied.batch.num_rows != chosen.num_rows:
                raise TaskError(f"{op.call.name} gave {applied.batch.num_rows} rows for {chosen.num_rows}")
            if applied.marks is not None and applied.marks.num_rows:
                self._mark(chosen, applied.marks, count, op)
            kept = self._judge(applied.batch, count, op.call.step, op.preset, private=op.stage.private)
            for name, rows in applied.emits.items():
                self._emit(op, name, rows, lane)
            batch = kept if mask is None else self._recombine(kept, applied.batch, batch, mask, count)
        else:
            count.untouched += batch.num_rows
        aside = pc.sum(batch.column("heldout")).as_py() or 0 if "heldout" in batch.schema.names else 0
        count.set_aside += aside
        count.rows_out += batch.num_rows - aside
        count.bytes_out += text_bytes(batch)
        count.seconds += time.perf_counter() - start
        return batch

    def _recombine(
        self,
        kept: pa.RecordBatch,
        judged: pa.RecordBatch,
        batch: pa.RecordBatch,
        mask: pa.Array,
        count: StepCounts,
    ) -> pa.RecordBatch:
        """The kept rows and the untouched ones, in their old order."""
        rest = batch.filter(pc.invert(mask))
        count.untouched += rest.num_rows
        chosen_at = pc.indices_nonzero(mask)
        verdicts = "reject_rule" in judged.schema.names
        if verdicts:
            chosen_at = chosen_at.filter(_stays(judged))
        rest_at = pc.indices_nonzero(pc.invert(mask))
        if "heldout" in kept.schema.names:
            rest = rest.append_column("heldout", pa.array([False] * rest.num_rows))
        table = pa.concat_tables(
            [pa.Table.from_batches([kept]), pa.Table.from_batches([rest])], promote_options="permissive"
        )
        order = pc.sort_indices(pa.concat_arrays([chosen_at, rest_at]))
        return _one_batch(table.take(order))

    def _judge(
        self, batch: pa.RecordBatch, count: StepCounts, step: str, preset: str | None, *, private: bool
    ) -> pa.RecordBatch:
        """Split off the rows with a verdict, write them as rejects, return the rest without the verdict columns."""
        if "reject_rule" not in batch.schema.names:
            return batch
        batch_rules = batch.column("reject_rule")
        if batch_rules.null_count < batch.num_rows:
            noted = batch.filter(pc.is_valid(batch_rules))
            n = noted.num_rows
            action = (
                noted.column("reject_action") if "reject_action" in noted.schema.names else pa.nulls(n, pa.string())
            )
            action = pc.fill_null(action, "drop")
            for rule, what in zip(noted.column("reject_rule").to_pylist(), action.to_pylist(), strict=True):
                tally = count.dropped if what == "drop" else count.marked
                tally[rule] = tally.get(rule, 0) + 1
            columns = {
                "action": action,
                "rule": noted.column("reject_rule"),
                "value": noted.column("reject_value"),
                "limit": noted.column("reject_limit"),
                "detail": noted.column("reject_detail"),
            }
            self._reject(noted, columns, step, preset, private)
            batch = batch.filter(_stays(batch))
        return batch.select([name for name in batch.schema.names if name not in schema.VERDICT.names])

    def _mark(self, batch: pa.RecordBatch, marks: pa.RecordBatch, count: StepCounts, op: _Op) -> None:
        for rule, action in zip(marks.column("rule").to_pylist(), marks.column("action").to_pylist(), strict=True):
            tally = count.cut if action == "cut" else count.marked
            tally[rule] = tally.get(rule, 0) + 1
        columns = {f.name: column for f, column in zip(marks.schema, marks.columns, strict=True) if f.name != "row"}
        self._reject(batch.take(marks.column("row")), columns, op.call.step, op.preset, op.stage.private)

    def _reject(
        self,
        rows: pa.RecordBatch,
        columns: Mapping[str, pa.Array],
        step: str,
        preset: str | None,
        private: bool,
    ) -> None:
        data = {
            **columns,
            "stage": pa.array([step] * rows.num_rows),
            "preset": pa.array([preset] * rows.num_rows, pa.string()),
        }
        for name in ("doc_id", "source", "url", "origin_file", "origin_offset"):
            if name in rows.schema.names:
                data[name] = rows.column(name)
        if "text" in rows.schema.names and not private:
            text = rows.column("text")
            data["excerpt"] = text if self.call.keep_text else pc.utf8_slice_codeunits(text, 0, 200)
        if "rejects" not in self.writers:
            path = self.root / "rejects" / f"{self.call.pass_name}-{self.call.task}.parquet"
            self.writers["rejects"] = TableFile(path, self.root)
        self.writers["rejects"].write(schema.conform(pa.RecordBatch.from_pydict(data), schema.REJECT))

    def _emit(self, op: _Op, name: str, rows: pa.RecordBatch, lane: str) -> None:
        channel = next(c for c in op.phase.emits if c.name == name)
        if channel.path is None:
            role = f"{op.call.name}/{name}"
            if role not in self.writers:
                self.writers[role] = _shuffle_file(self.call, op.call.name, channel)
            self.writers[role].write(rows)
            return
        for source, part in _by_source(rows) if "{source}" in channel.path else [("", rows)]:
            role = f"{op.call.name}/{name}:{lane}:{source}"
            if role not in self.writers:
                folder = "" if lane == "main" else f"{lane}/"
                path = channel.path.format(
                    task=self.call.task, step=op.call.step, source=quote(source, safe="").replace(".", "%2E")
                )
                self.writers[role] = TableFile(
                    self.root / (folder + path), self.root, {"source": source} if source else None
                )
            self.writers[role].write(part)

    def _receipt(self, files: dict[str, Written]) -> Receipt:
        counts = [op_count for op in self.ops for op_count in op.counts.values()]
        if self.call.input is not None:
            counts.insert(0, self.reading)
        for count in counts:
            if not count.balances():
                raise TaskError(f"{self.call.title}: {count.step} lost rows: {count}")
            count.seconds = round(count.seconds, 3)
        places = {role: w.places for role, w in self.writers.items() if isinstance(w, ShuffleFile)}
        reader = {}
        if self.call.input is not None:
            seen = self.read_counts
            reader = {"documents": seen.documents, "bytes": seen.bytes, "skipped_bytes": seen.skipped_bytes,
                      "other_records": dict(sorted(seen.other_records.items())), "warnings": seen.warnings}  # fmt: skip
        return Receipt(self.call.task, self.call.fingerprint, files, places, counts, reader)


def text_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of the documents' text, or of the pages where they are not extracted yet."""
    name = "text" if "text" in batch.schema.names else "payload"
    return pc.sum(pc.binary_length(batch.column(name))).as_py() or 0


def _stays(batch: pa.RecordBatch) -> pa.Array:
    stays = pc.is_null(batch.column("reject_rule"))
    if "reject_action" in batch.schema.names:
        stays = pc.or_(stays, pc.fill_null(pc.equal(batch.column("reject_action"), "mark"), False))
    return stays


def _selected(batch: pa.RecordBatch, only: Mapping[str, list[str] | None]) -> pa.Array | None:
    mask = None
    for name, wanted in only.items():
        if wanted:
            column = batch.column(name).cast(pa.string())
            found = pc.fill_null(pc.is_in(column, value_set=pa.array(wanted)), False)
            mask = found if mask is None else pc.and_(mask, found)
    return mask


def _by_source(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(source, its rows without the source column), sources sorted."""
    column = pc.fill_null(rows.column("source").cast(pa.string()), "unknown")
    rest = rows.drop_columns(["source"])
    for source in sorted(pc.unique(column).to_pylist()):
        yield source, rest.filter(pc.equal(column, source))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.unify_dictionaries().combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _shuffle_file(call: Call, op: str, channel: Channel) -> ShuffleFile:
    root = Path(call.root)
    path = root / "passes" / call.pass_name / f"{call.task}.{op}.{channel.name}.arrow"
    spill = min(SPILL_BYTES, max(1 << 20, call.memory // 16))  # it is held some four times while it is written
    return ShuffleFile(path, root, call.partitions, channel.by, channel.combine, spill)


# -- part and all --------------------------------------------------------------------------------------------


def _run_single(call: Call) -> Receipt:
    (op,) = call.ops
    stage = stages.load(op.stage)
    phase = next(p for p in stage.phases if p.name == op.phase)
    config = stage.config.model_validate(op.config)
    assert phase.run is not None
    root = Path(call.root)
    outputs = phase.run(config, MappedFiles(op, call))
    receipt = Receipt(call.task, call.fingerprint)
    channels = {channel.name: channel for channel in phase.emits}
    writers: dict[str, TableFile | ShuffleFile] = {}
    try:
        for name, value in outputs.items() if isinstance(outputs, Mapping) else outputs:
            if name == "notes":
                receipt.notes = value.decode().splitlines()
                continue
            channel, role = channels[name], f"{op.name}/{name}"
            path = root / channel.path.format(task=call.task, step=op.step, source="") if channel.path else None
            if isinstance(value, bytes):
                assert path is not None, f"{role} has no path"
                write_bytes(path, value)
                receipt.files[role] = describe(path, root, 0)
                continue
            if role not in writers:
                writers[role] = TableFile(path, root) if path else _shuffle_file(call, op.name, channel)
            for batch in value.to_batches():
                writers[role].write(batch)
        for role, writer in writers.items():
            written = writer.close()
            if written:
                receipt.files[role] = written
                if isinstance(writer, ShuffleFile):
                    receipt.places[role] = writer.places
    except BaseException:
        for writer in writers.values():
            writer.abort()
        raise
    return receipt
