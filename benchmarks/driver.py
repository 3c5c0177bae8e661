"""The driver alone: 20,000 tasks a pass and 2,048 partitions, with an executor that only writes what tasks would leave.

    python -m benchmarks.driver --json

Simulated is the default recipe behind extraction: receipts, empty files of documents, and shuffle files with the
places of 2,048 partitions. Measured are the three things that a person waits for (planning, the same command again
with nothing to do, and `curate status`), in seconds of CPU, and the peak memory of the process that does them.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Report, run
from curate.io import inputs
from curate.io.inputs import InputSettings, Slice, TaskInput
from curate.io.store import LocalStore, Written
from curate.io.write import PLACES
from curate.run import driver, plan, status
from curate.run.call import Call, Work
from curate.run.manifest import Output, Receipt, RunFolder, StepCounts
from curate.run.outcome import Outcome
from curate.run.recipe import Recipe, Step
from curate.stages import load

TASKS, PARTITIONS = 20_000, 2_048
LIMIT_SECONDS, LIMIT_BYTES = 20.0, 1_000_000_000  # of the three together, and of memory; more fails
STEPS = ("normalize", "filter", "redact", "exact_dedup", "near_dedup")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


class Simulated:
    """An executor that writes receipts and files at once, without waiting for the disk."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.work: Work | None = None
        self.version = ""
        self.shuffle = _shuffle_file()

    def __enter__(self) -> "Simulated":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Receipt]]:
        for call in calls:
            if self.version != call.version:
                self.work, self.version = Work.load(Path(call.work)), call.version
            yield call, self._receipt(call)

    def _receipt(self, call: Call) -> Receipt:
        """Write the files that the task would leave, of 100 rows a step, and its receipt."""
        work = self.work
        assert work is not None
        receipt = Receipt(call.task, call.fingerprint, steps=[StepCounts(op.name, 100, 100) for op in work.ops])
        if "main" in call.documents_out:
            receipt.documents["main"] = self._file(call.documents_out["main"], b"")
        for op in work.ops:
            phase = next(p for p in load(op.stage).phases if p.name == op.phase)
            for channel in phase.emits:
                if channel.path is None:
                    rel = f"passes/{work.pass_name}/{call.task}.{op.name}.{channel.name}.arrow"
                    receipt.outputs.append(
                        Output(op.name, channel.name, "main", "", False, self._file(rel, self.shuffle))
                    )
        path = self.out / f"passes/{work.pass_name}/{call.task}.json"
        path.write_text(receipt.to_json())
        return receipt

    def _file(self, rel: str, data: bytes) -> Written:
        """Write a file below the run's folder; its record for the receipt."""
        path = self.out / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = EMPTY if not data else _digest(data)
        return Written(rel, 100, len(data), digest, str(path.stat().st_mtime_ns))


def _digest(data: bytes, known: dict[int, str] = {}) -> str:  # noqa: B006
    """SHA-256 of file content. Files of one length are equal here, so each length is hashed once."""
    import hashlib

    if len(data) not in known:
        known[len(data)] = hashlib.sha256(data).hexdigest()
    return known[len(data)]


def _shuffle_file() -> bytes:
    """A shuffle file of one spill whose partitions are all empty."""
    sink = pa.BufferOutputStream()
    schema = pa.schema({"key": pa.uint64()})
    with pa.ipc.new_file(sink, schema) as writer:
        places = np.zeros((1, PARTITIONS + 1), "<i4").tobytes()
        writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema), custom_metadata={PLACES: places})
    return bytes(sink.getvalue())


def _recipe() -> Recipe:
    """STEPS with their default settings."""
    steps = [Step(name, load(name), load(name).config()) for name in STEPS]
    return Recipe((InputSettings(path="simulated"),), tuple(steps), guard="off")


def _inputs() -> list[TaskInput]:
    """TASKS inputs of 32 MiB each, eight slices a file; nothing opens them."""
    slices = [Slice("crawl", f"part-{n // 8:05d}.jsonl", "jsonl", "web", start=n % 8, end=n % 8 + 1, size=1 << 25,
                    stamp="1") for n in range(TASKS)]  # fmt: skip
    return [TaskInput(f"{n:012x}", (piece,)) for n, piece in enumerate(slices)]


def simulation(report: Report) -> None:
    """CPU seconds of planning, resuming and listing, and the peak memory of all three."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        pid = os.fork()
        if pid == 0:  # the first run's memory must not count
            _run(out)
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("the simulated run failed")
        start = time.process_time()
        made, _ = _prepared()
        planned = time.process_time() - start
        start = time.process_time()
        outcome = _run(out)
        resumed = time.process_time() - start
        assert not sum(outcome.ran.values()), outcome.ran
        start = time.process_time()
        facts = status.status_of(RunFolder(LocalStore(out), LocalStore(out)))
        listed = time.process_time() - start
        assert facts.state == "finished", facts.state
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    note = f"{made.n_tasks:,} tasks in {len(made.passes)} passes, {PARTITIONS:,} partitions"
    report.row("plan", planned, "s", 1, note=note)
    report.row("resume_with_nothing_to_do", resumed, "s", 1)
    report.row("status", listed, "s", 1)
    report.row("all_three", planned + resumed + listed, "s", 1, note=f"at most {LIMIT_SECONDS:g} s")
    report.row("driver_memory", peak / 1e6, "MB", 1, note=f"at most {LIMIT_BYTES / 1e6:,.0f} MB")
    assert planned + resumed + listed <= LIMIT_SECONDS and peak <= LIMIT_BYTES


def _prepared(*_: Any, **__: Any) -> tuple[plan.Plan, inputs.Inputs]:
    """In place of driver.prepare, which would look for the input files."""
    return plan.make_plan(_recipe(), tuple(_inputs())), inputs.Inputs(())


def _run(out: Path) -> Outcome:
    """A run over the simulated inputs: what would read them or sample their text is replaced meanwhile."""
    before = driver.prepare, driver.open_executor, plan.partitions, driver.forecasts
    driver.prepare, plan.partitions = _prepared, lambda _: PARTITIONS  # type: ignore[assignment]
    driver.open_executor = lambda *_: Simulated(out)  # type: ignore[assignment,misc]
    driver.forecasts = lambda *_: []  # type: ignore[assignment]
    try:
        return driver.run(_recipe(), out, workers=2, memory=20 * 10**9)
    finally:
        driver.prepare, driver.open_executor, plan.partitions, driver.forecasts = before


if __name__ == "__main__":
    run("driver", [simulation], ["pyarrow"])
