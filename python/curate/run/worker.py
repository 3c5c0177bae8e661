"""A worker: how its process is prepared, and how it runs a call. Executors only schedule.

The state of an op (a model of 100 MB, a table, a child process) is opened once in a worker for each pass, not once a
task. It is closed when the worker turns to another pass, or ends.
"""

import contextlib
import ctypes
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curate import stages
from curate.errors import CurateError, TaskError
from curate.io.store import Store, failures_worded
from curate.run.call import Call, OpWork, Work
from curate.run.each import EachTask, OpenedOp
from curate.run.manifest import Receipt, RunFolder
from curate.run.reads import MappedFiles
from curate.run.single import SingleTask

# glibc's mallopt: blocks of a megabyte and more go back to the system when they are freed, and so does a free top of
# 4 MB. Otherwise glibc keeps the peak of the largest page: +50 % resident memory for 1 % of the time.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MALLOC = {_M_MMAP_THRESHOLD: 1 << 20, _M_TRIM_THRESHOLD: 4 << 20}


def prepare_process() -> None:
    """Settings of a process that runs tasks.

    It is one of many, so Arrow uses one thread. Memory that is freed goes back to the system. Ctrl-C is ignored here:
    the driver handles it and ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            for parameter, value in _MALLOC.items():
                libc.mallopt(parameter, value)


@dataclass
class _Pass:
    """The pass that this worker is in."""

    version: str  # `Call.version` of the calls that belong to it
    work: Work
    stores: Mapping[str, Store]  # "products" and "scratch"
    ops: list[OpenedOp]  # in the order of the pass, their states opened; empty states for part and all


_current: _Pass | None = None


def close_states() -> None:
    """Let go of what the ops of the current pass hold."""
    global _current
    leaving, _current = _current, None
    for op in leaving.ops if leaving else ():
        if op.phase.close and op.state is not None:
            op.phase.close(op.state)


def run_call(call: Call) -> Receipt:
    """Run a task, commit its files, write its receipt last, and return it.

    Since the receipt comes last, a task that is killed at any moment either has a receipt and all its files, or has no
    receipt and runs again. Raises CurateError subclasses as they are. Anything else, a panic of a kernel too, is raised
    as a TaskError that names the task.
    """
    start = time.perf_counter()
    try:
        here = _pass_of(call)
        with failures_worded(here.work.out):
            if here.work.shape == "each":
                receipt = EachTask(call, here.work, here.ops, here.stores).run()
            else:
                (op,) = here.ops
                receipt = SingleTask(call, here.work, op.phase, here.stores).run(op.config)
            receipt.seconds = round(time.perf_counter() - start, 3)
            # ru_maxrss is in KiB, on macOS in bytes.
            unit = 1 if sys.platform == "darwin" else 1024
            receipt.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            RunFolder(here.stores["products"], here.stores["scratch"]).write_receipt(call.pass_name, receipt)
        return receipt
    except CurateError:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except MemoryError as error:
        raise TaskError(f"{call.title} failed: memory does not suffice: {error}") from error
    except BaseException as error:
        raise TaskError(f"{call.title} failed: {type(error).__name__}: {error}") from error


def _pass_of(call: Call) -> _Pass:
    """The pass of the call, its ops opened: the worker's current one, or a new one that takes its place.

    If one op cannot be opened, those before it are closed, so that the next call of the pass starts from nothing.
    """
    global _current
    if _current is None or _current.version != call.version:
        close_states()
        work = Work.load(Path(call.work))
        folder = RunFolder.at(work.out, work.scratch)
        stores = {"products": folder.products, "scratch": folder.scratch}
        _current = _Pass(call.version, work, stores, [])
        try:
            for op in work.ops:
                _current.ops.append(_opened(op, work, stores))
        except BaseException:
            close_states()
            raise
    return _current


def _opened(op: OpWork, work: Work, stores: Mapping[str, Store]) -> OpenedOp:
    """An op with its settings validated and, for an each phase, its state; a phase without `open` has the settings as
    its state."""
    stage = stages.load(op.stage, work.allow_code)
    phase = next(p for p in stage.phases if p.name == op.phase)
    config = stage.config.model_validate(op.config)
    files = MappedFiles(op, stores, allowed=work.allow_code)
    state = (phase.open(config, files) if phase.open else config) if phase.shape == "each" else None
    return OpenedOp(op, stage, phase, config, state, files)
