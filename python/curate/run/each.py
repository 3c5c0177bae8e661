"""An each task: its input is read once, and every batch goes through all ops of the pass in memory.

A batch has at most 4,096 rows and about 8 MiB. After each op the rows with a verdict are split off and written as
rejects, and the rows that are set aside go on in the heldout lane.

A task gets a receipt only if its counts balance. For every op, rows in = rows out + dropped + set aside. For the task,
rows read = rows in the files of documents + rows dropped, where each file counts the rows that were written to it, and
documents that are only compared with count for themselves.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.config import Settings
from curate.errors import DamageError, TaskError
from curate.io.read import ReadCounts, Rows, read, split_by_bytes
from curate.io.store import Store
from curate.io.write import GROUP_ROWS, ShuffleFile, SourceFiles, TableFile
from curate.run.call import Call, OpWork, Work, product_path
from curate.run.manifest import Output, Receipt, StepCounts
from curate.run.reads import MappedFiles, OwnRows
from curate.run.verdicts import Rejects, stays
from curate.schema import Kind
from curate.stages.protocol import Applied, Channel, Phase, Stage

AGAINST = "against"  # the lane of documents that are only compared with: none is written
LONGEST_SOURCE = 100  # characters of a source in the name of a file


@dataclass
class OpenedOp:
    """An op with its state, as a worker holds it for a pass."""

    work: OpWork
    stage: Stage
    phase: Phase
    config: Settings
    state: Any  # what the phase's `open` gave, or the settings; None for part and all
    files: MappedFiles  # its side files, mapped

    def function(self, lane: str) -> Callable[..., Applied | pa.RecordBatch] | None:
        """What is applied to the batches of a lane; None where the phase leaves them alone."""
        if lane == AGAINST:
            return self.phase.against
        return self.phase.apply if lane in self.phase.lanes else None


@dataclass
class _Progress:
    """What one op did in this task."""

    op: OpenedOp
    own: OwnRows | None  # the rows that earlier phases emitted for this task; None where the phase reads none
    counts: dict[str, StepCounts] = field(default_factory=dict)  # by lane
    added: list[pa.Field] | None = None  # columns that the op adds; None until that had to be found out

    def count(self, lane: str) -> StepCounts:
        """The counts of a lane. In receipts and rejects the heldout lane is named `filter (heldout)`."""
        name = self.op.work.name if lane == "main" else f"{self.op.work.name} ({lane})"
        return self.counts.setdefault(lane, StepCounts(name))


class EachTask:
    """One task of an each pass. `run` may be called once.

    `documents` are the files in the making by lane, `outputs` those of channels by (op, channel, lane). Each is created
    with its first row, so that a lane or channel without rows has no file.
    """

    def __init__(self, call: Call, work: Work, ops: list[OpenedOp], stores: Mapping[str, Store]) -> None:
        self.call, self.work, self.stores = call, work, stores
        self.steps = [_Progress(op, self._own(op)) for op in ops]
        # The reader counts as a step of its own, named `read`, before all ops.
        self.reading = StepCounts("read")
        self.read_counts = ReadCounts()
        self.rows_read = self.rows_dropped = self.rows_compared = 0
        self.kind: Kind = "document"  # of the rows that are written, once an op made them what they are
        self.written: pa.Schema | None = None  # of the first batch written; later ones are aligned to it
        self.documents: dict[str, TableFile] = {}
        self.outputs: dict[tuple[str, str, str], ShuffleFile | TableFile | SourceFiles] = {}
        rel = f"rejects/{work.pass_name}-{call.task}.parquet"
        self.rejects = Rejects(stores["products"], rel, keep_text=work.keep_text, hidden=work.hidden)

    def _own(self, op: OpenedOp) -> OwnRows | None:
        """The rows that the phases of this step emitted for the same task in an earlier pass."""
        if not op.phase.own:
            return None
        tables = {}
        for name in op.phase.own:
            files = self.call.own.get(f"{op.work.name}/{name}", [])
            mapped = MappedFiles(OpWork(**{**vars(op.work), "sides": {name: files}}), self.stores)
            tables[name] = mapped.table(name)
        return OwnRows(tables, self.call.title)

    def run(self) -> Receipt:
        """Read, judge, write and commit; returns the receipt, which the caller writes.

        Where anything fails, every file in the making is given up, so that only committed files bear their final names.
        """
        try:
            for rows, lane in self._batches():
                self.rows_read += rows.batch.num_rows
                self._push(self._judge_reading(rows), rows.kind, lane, 0)
            for step in self.steps:
                if step.own:
                    step.own.check()
            return self._receipt()
        except BaseException:
            for writer in (*self.documents.values(), *self.outputs.values(), self.rejects):
                writer.abort()
            raise

    # -- rows in ---------------------------------------------------------------------------------------------

    def _batches(self) -> Iterator[tuple[Rows, str]]:
        """(rows, lane) of the task's input: slices of input files, or documents of an earlier pass.

        The checksum of a file of documents is verified first, so that a damaged one raises DamageError before any row
        of it is used. The main lane comes before the heldout lane.
        """
        if self.call.input is not None:
            lane = AGAINST if self.call.input.against else "main"
            # No pass but the first has to read what none of its ops looks at and what is not written.
            if lane == "main" or self.work.records_reading or any(step.op.phase.against for step in self.steps):
                for rows in read(self.call.input, self.read_counts):
                    yield rows, lane
            return
        store = self.stores["products" if self.work.reads_products else "scratch"]
        kind: Kind = "raw" if self.call.kind == "raw" else "document"
        for lane, file in sorted(self.call.documents.items(), reverse=True):
            with store.open(file.path) as handle:
                verify(handle, file.path, file.sha256)
                for batch in groups_of(handle):
                    yield Rows(kind, schema.conform(batch, schema.SCHEMA_OF[kind]), None), lane

    def _judge_reading(self, rows: Rows) -> pa.RecordBatch:
        """The rows that the reader lets through.

        The rest are counted as dropped in every pass that reads the inputs, since the task must balance. Only the first
        such pass writes them to rejects/ and adds the reader's counts to its receipt, so that none is told twice.
        """
        batch = rows.batch
        if rows.verdicts is not None:
            keep = stays(rows.verdicts)
            if self.work.records_reading:
                self.rejects.judged(batch, rows.verdicts, self.reading, "read", None, private=False)
            batch = batch.filter(keep)
        self.rows_dropped += rows.batch.num_rows - batch.num_rows
        self.reading.rows_in += rows.batch.num_rows
        self.reading.bytes_in += content_bytes(rows.batch, rows.kind)
        self.reading.rows_out += batch.num_rows
        self.reading.bytes_out += content_bytes(batch, rows.kind)
        return batch

    # -- ops -------------------------------------------------------------------------------------------------

    def _push(self, batch: pa.RecordBatch, kind: Kind, lane: str, start: int) -> None:
        """Pass a batch through the ops from number `start` on, then write what is left of it.

        Rows that op number i sets aside are pushed through the ops from i + 1 on as a batch of the heldout lane. An op
        whose phase does not list a lane leaves its batches alone.
        """
        for index in range(start, len(self.steps)):
            if batch.num_rows == 0:
                return
            step = self.steps[index]
            if step.op.function(lane) is None:
                continue
            batch, aside = self._step(step, batch, kind, lane)
            if _reads(step.op, kind):
                kind = step.op.stage.makes or kind
            if aside is not None:
                self._push(aside, kind, "heldout", index + 1)
        if lane == AGAINST:
            self.rows_compared += batch.num_rows
        elif batch.num_rows and lane in self.call.documents_out:
            self.kind = kind
            if lane not in self.documents:
                store = self.stores["products" if self.work.writes_products else "scratch"]
                self.documents[lane] = TableFile(store, self.call.documents_out[lane])
            self.written = self.written or batch.schema
            self.documents[lane].write(_aligned(batch, self.written, self.call.title))

    def _step(
        self, step: _Progress, batch: pa.RecordBatch, kind: Kind, lane: str
    ) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """(rows that stay in the lane, rows set aside) of one op on one batch: select, apply, recombine, record.

        `chosen` are the rows that the op may see: all, those that `only` selects, or none where the op reads another
        kind. The others count as untouched, and come back in their old places.
        """
        count = step.count(lane)
        start = time.perf_counter()
        count.rows_in += batch.num_rows
        count.bytes_in += content_bytes(batch, kind)
        mask = _selected(batch, step.op.work.only) if _reads(step.op, kind) else pa.array([False] * batch.num_rows)
        chosen = batch if mask is None else batch.filter(mask)
        aside = None
        if chosen.num_rows:
            applied = self._applied(step, chosen, lane)
            verdicts, made = applied.verdicts, applied.batch
            keep = None if verdicts is None else stays(verdicts)
            if applied.marks is not None and applied.marks.num_rows:
                self.rejects.marked(
                    chosen, applied.marks, count, step.op.work.step, step.op.work.preset, private=step.op.stage.private
                )
            if verdicts is not None:
                self.rejects.judged(
                    made, verdicts, count, step.op.work.step, step.op.work.preset, private=step.op.stage.private
                )
            for name, rows in applied.emits.items():
                self._emit(step.op, name, rows, lane)
            # A row that is dropped is never set aside too: _outcome gives the verdict precedence.
            batch, aside = _outcome(batch, made, mask, keep, applied.aside)
            count.untouched += 0 if mask is None else len(mask) - chosen.num_rows
            dropped = 0 if keep is None else len(keep) - (pc.sum(keep).as_py() or 0)
            self.rows_dropped += dropped
            count.set_aside += 0 if aside is None else aside.num_rows
        else:
            count.untouched += batch.num_rows
            if step.own is None and (_reads(step.op, kind) or step.op.stage.makes == kind):
                batch = self._with_columns_of(step, batch, kind)
        count.rows_out += batch.num_rows
        count.bytes_out += content_bytes(batch, step.op.stage.makes or kind if _reads(step.op, kind) else kind)
        count.seconds += time.perf_counter() - start
        return batch, aside

    def _applied(self, step: _Progress, chosen: pa.RecordBatch, lane: str) -> Applied:
        """What the op's function for the lane made of the rows, checked.

        TaskError unless it gave as many rows as it was given, with a verdict and a flag for each where it gives any,
        and unless only phases that write documents drop rows or set them aside.
        """
        op = step.op
        function = op.function(lane)
        assert function is not None
        schema.require(chosen.schema, op.work.needs, op.work.step)
        arguments = (chosen, op.state) if step.own is None else (chosen, op.state, step.own)
        applied = function(*arguments)
        if not isinstance(applied, Applied):
            applied = Applied(applied)
        n = chosen.num_rows
        for what, found in (("rows", applied.batch), ("verdicts", applied.verdicts), ("flags", applied.aside)):
            if found is not None and len(found) != n:
                raise TaskError(f"{op.work.name} gave {len(found):,} {what} for {n:,} rows")
        if applied.aside is not None and applied.aside.null_count:
            raise TaskError(f"{op.work.name} left open whether {applied.aside.null_count:,} rows are set aside")
        changes = applied.aside is not None or (
            applied.verdicts is not None and not pc.all(stays(applied.verdicts)).as_py()
        )
        if changes and (not op.phase.documents or lane == AGAINST):
            raise TaskError(f"{op.work.name} only emits, and yet it drops rows or sets them aside")
        return applied

    def _with_columns_of(self, step: _Progress, batch: pa.RecordBatch, kind: Kind) -> pa.RecordBatch:
        """`batch`, on none of whose rows the op works, with the columns that the op adds, as nulls: which columns a
        task writes must depend neither on which rows come first nor on the kind of its input. Rows that are already
        what the op makes of another kind count too. The op is asked once a task, by applying it to no rows."""
        if step.added is None:
            assert step.op.phase.apply is not None
            step.added = []
            given = batch.slice(0, 0)
            if not _reads(step.op, kind):
                read: Kind = "raw" if step.op.work.rows == "raw" else "document"
                given = pa.RecordBatch.from_pylist([], schema=schema.SCHEMA_OF[read])
            # A stage that cannot work on no rows adds its columns when it has some.
            with contextlib.suppress(Exception):
                made = step.op.phase.apply(given, step.op.state)
                empty = made.batch if isinstance(made, Applied) else made
                step.added = [found for found in empty.schema if batch.schema.get_field_index(found.name) < 0]
        for found in step.added:
            if batch.schema.get_field_index(found.name) < 0:
                batch = batch.append_column(found, pa.nulls(batch.num_rows, found.type))
        return batch

    # -- files -----------------------------------------------------------------------------------------------

    def _emit(self, op: OpenedOp, name: str, rows: pa.RecordBatch, lane: str) -> None:
        """Write rows of a channel. Shuffle files hold both lanes; products have a file for each lane."""
        channel = next((c for c in op.phase.emits if c.name == name), None)
        if channel is None:
            raise TaskError(f"{op.work.name} emits into a channel that it does not declare: {name}")
        lane = lane if channel.path else "main"
        writer = self.outputs.get((op.work.name, name, lane))
        if writer is None:
            writer = self.outputs[op.work.name, name, lane] = self._writer(op, channel, lane)
        if isinstance(writer, SourceFiles):
            for source, part in _by_source(rows):
                writer.write(source, part)
        else:
            writer.write(rows)

    def _writer(self, op: OpenedOp, channel: Channel, lane: str) -> ShuffleFile | TableFile | SourceFiles:
        """The file of a channel in the making: shuffled rows in scratch, a product where the channel has a path.

        With {source} in its path a channel has a file for each source. A source is any text, so it is quoted as in a
        URL, its dots too: no source can name a folder above.
        """
        products, scratch = self.stores["products"], self.stores["scratch"]
        waiting = f"passes/{self.work.pass_name}/{self.call.task}.{op.work.name}.{channel.name}"
        if channel.path is None:
            return ShuffleFile(scratch, f"{waiting}.arrow", self.work.partitions, channel.by, channel.combine)
        folder, path = "" if lane == "main" else f"{lane}/", product_path(channel.path, op.work.step)

        def named(source: str) -> str:
            safe = quote(source, safe="").replace(".", "%2E")
            if not safe or len(safe) > LONGEST_SOURCE:  # no name of a file: a digest tells it apart
                safe = f"{safe[:LONGEST_SOURCE]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
            return folder + path.format(task=self.call.task, source=safe)

        if "{source}" in path:
            return SourceFiles(products, scratch, f"{waiting}.{lane}.waiting", named)
        return TableFile(products, named(""))

    def _receipt(self) -> Receipt:
        """Check the counts, close all files, which commits them, and check the files against the counts."""
        counts = [count for step in self.steps for count in step.counts.values()]
        if self.work.records_reading:
            counts.insert(0, self.reading)
        for count in counts:
            if not count.balances():
                raise TaskError(f"{self.call.title}: {count.step} lost rows: {count}")
            count.seconds = round(count.seconds, 3)
        receipt = Receipt(self.call.task, self.call.fingerprint, self.kind, steps=counts)
        for lane, file in self.documents.items():
            written = file.close()
            if written:
                receipt.documents[lane] = written
        receipt.rejects = self.rejects.close()
        for (op, name, lane), writer in self.outputs.items():
            if isinstance(writer, SourceFiles):
                receipt.outputs += [Output(op, name, lane, source, True, file) for source, file in writer.close()]
            elif found := writer.close():
                receipt.outputs.append(Output(op, name, lane, "", isinstance(writer, TableFile), found))
        self._balance(receipt)
        if self.call.input is not None and self.work.records_reading:
            seen = self.read_counts
            receipt.reader = {
                "documents": seen.documents, "bytes": seen.bytes, "skipped_bytes": seen.skipped_bytes,
                "other_records": dict(sorted(seen.other_records.items())), "warnings": seen.warnings,
                "columns": seen.about_columns(),
            }  # fmt: skip
        return receipt

    def _balance(self, receipt: Receipt) -> None:
        """TaskError unless the files hold every row.

        Rows read = rows in the files of documents + rows dropped, and every drop, cut and mark that was counted is a
        row of the rejects. A pass that writes no documents is held to the second rule only.
        """
        if self.call.documents_out:
            written = sum(file.rows for file in receipt.documents.values())
            if written + self.rows_dropped + self.rows_compared != self.rows_read:
                raise TaskError(
                    f"{self.call.title}: {self.rows_read:,} rows were read, {self.rows_dropped:,} dropped and"
                    f" {written:,} written"
                )
        noted, found = sum(count.noted() for count in receipt.steps), receipt.rejects.rows if receipt.rejects else 0
        if noted != found:
            raise TaskError(f"{self.call.title}: {noted:,} rows were rejected and {found:,} recorded")


def verify(handle: BinaryIO, path: str, sha256: str) -> None:
    """DamageError where a file's bytes are not those that the receipt names; they are read in pieces, never held."""
    if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:  # type: ignore[arg-type]
        raise DamageError(path, "its bytes are not those that were written")


def groups_of(handle: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows of a file of documents, a row group at a time: TableFile writes groups of about GROUP_BYTES, or of one
    row. No more than a group is held."""
    file = pq.ParquetFile(handle)
    for index in range(file.num_row_groups):
        for batch in file.iter_batches(row_groups=[index], batch_size=GROUP_ROWS):
            yield from split_by_bytes(batch)


def content_bytes(batch: pa.RecordBatch, kind: Kind) -> int:
    """Bytes of the documents' text, or of the pages where they are not extracted yet."""
    index = batch.schema.get_field_index("text" if kind == "document" else "payload")
    return 0 if index < 0 else pc.sum(pc.binary_length(batch.column(index))).as_py() or 0


def _reads(op: OpenedOp, kind: Kind) -> bool:
    """Whether an op works on rows of this kind; an op that does not lets them through untouched."""
    return op.work.rows in ("any", kind)


def _selected(batch: pa.RecordBatch, only: Mapping[str, list[str] | None]) -> pa.Array | None:
    """The rows that `only` lets the op work on, as a mask; None for all of them.

    A row must match every column that `only` names. A batch without such a column has no row that matches.
    """
    mask = None
    for name, wanted in only.items():
        if wanted is not None:
            index = batch.schema.get_field_index(name)
            column = pa.nulls(batch.num_rows, pa.string()) if index < 0 else batch.column(index).cast(pa.string())
            found = pc.is_in(column, value_set=pa.array(wanted, pa.string()))
            mask = found if mask is None else pc.and_(mask, found)
    return mask


def _outcome(
    batch: pa.RecordBatch, made: pa.RecordBatch, mask: pa.Array | None, keep: pa.Array | None, aside: pa.Array | None
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """(rows that stay, rows set aside): untouched rows and those that the op made, in their old order.

    `made`, `keep` and `aside` have one entry a row that the op saw, `mask` one a row of `batch`. Where `only` left rows
    untouched, the two parts are joined by their places in `batch`; columns that the op added are null in the others.
    """
    leaves = aside if aside is None or keep is None else pc.and_(aside, keep)
    away = None if leaves is None else made.filter(leaves)
    if keep is None and leaves is None:
        here = pa.array([True] * made.num_rows)
    else:
        here = keep if leaves is None else pc.invert(leaves) if keep is None else pc.and_(keep, pc.invert(leaves))
    kept = made.filter(here)
    if mask is None or made.num_rows == batch.num_rows:
        return kept, away
    rest = batch.filter(pc.invert(mask))
    order = pc.sort_indices(
        pa.concat_arrays([pc.indices_nonzero(mask).filter(here), pc.indices_nonzero(pc.invert(mask))])
    )
    both = [pa.Table.from_batches([kept]), pa.Table.from_batches([rest])]
    return _one_batch(pa.concat_tables(both, promote_options="permissive").take(order)), away


def _by_source(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(source, its rows without the source column), sources sorted."""
    column = pc.fill_null(rows.column("source").cast(pa.string()), "unknown")
    rest = rows.drop_columns(["source"])
    for source in sorted(pc.unique(column).to_pylist()):
        yield source, rest.filter(pc.equal(column, source))


def _aligned(batch: pa.RecordBatch, wanted: pa.Schema, title: str) -> pa.RecordBatch:
    """`batch` with the columns of the first batch that the task wrote.

    A step with `only` adds its columns where it worked, so a later batch may lack them: they are null there. A column
    that the first batch did not have is a TaskError, since the file's schema is fixed by then.
    """
    if batch.schema.names == wanted.names:
        return batch
    unknown = [name for name in batch.schema.names if wanted.get_field_index(name) < 0]
    if unknown:
        raise TaskError(f"{title}: the columns {', '.join(unknown)} are not in all batches")
    return schema.conform(batch, wanted)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch; of dictionary columns the dictionaries are merged first."""
    batches = table.unify_dictionaries().combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
