"""A pool of worker processes on this machine that survives a killed worker.

Calls go in and receipts come out, in any order. A worker that dies (out of memory, killed) is replaced and its
call tried once more; a second death is a TaskError. Workers end when the process that started them does: each
watches a pipe whose other end that process holds. Kernels and Arrow run single-threaded inside a worker: the
pool is the parallelism.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from curate.errors import CurateError, TaskError
from curate.run.manifest import Receipt
from curate.run.task import Call, close_states, run_task

Outcome = tuple[Call, Receipt | CurateError]
ATTEMPTS = 2

# Buffers of a megabyte and more go back to the system when they are freed: otherwise glibc and Arrow keep what the
# largest page took, in case there are more, and every worker stays half as large again. It costs 1 % of the time.
_MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
}


class _Worker:
    """A process, the pipe for calls and receipts, and the pipe whose closing ends it."""

    def __init__(self) -> None:
        # Arrow's allocator is to give freed pages back at once, and not when it thinks that it may.
        os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        reader, self.life = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(theirs, reader), daemon=True)
        with _environment(_MEMORY):  # both are read when a process starts, and before any of our code
            self.process.start()
        theirs.close()
        reader.close()
        self.call: Call | None = None

    def stop(self, patience: float = 0.0) -> None:
        """End it: an idle worker leaves by itself when its pipe closes."""
        self.pipe.close()
        if patience and self.call is None:
            self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.life.close()


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """These variables for the processes started within; what the user has set stays."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


class LocalPool:
    """`run` may be called once a pass; the workers stay. Use as a context manager."""

    def __init__(self, workers: int) -> None:
        self.size = workers
        self.workers: list[_Worker] = []

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop(patience=2.0)

    def run(self, calls: Sequence[Call]) -> Iterator[Outcome]:
        """Yield (call, receipt or error) as tasks end."""
        waiting = list(reversed(calls))
        attempts: dict[str, int] = {}
        while len(self.workers) < min(self.size, len(calls)):
            self.workers.append(_Worker())
        while waiting or any(worker.call for worker in self.workers):
            for worker in self.workers:
                if worker.call is None and waiting:
                    self._send(worker, waiting.pop(), attempts)
            busy = {worker.pipe: worker for worker in self.workers if worker.call}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                call = worker.call
                assert call is not None
                worker.call = None
                try:
                    yield call, worker.pipe.recv()
                except (EOFError, OSError):
                    self._replace(worker)
                    if attempts[call.task] < ATTEMPTS:
                        waiting.append(call)
                    else:
                        yield (
                            call,
                            TaskError(f"{call.title}: its worker was killed {ATTEMPTS} times; out of memory?"),
                        )

    def _send(self, worker: _Worker, call: Call, attempts: dict[str, int]) -> None:
        attempts[call.task] = attempts.get(call.task, 0) + 1
        worker.call = call
        try:
            worker.pipe.send(call)
        except OSError:
            pass  # it is dead: the loop sees the end of its pipe and replaces it

    def _replace(self, dead: _Worker) -> None:
        dead.stop()
        self.workers[self.workers.index(dead)] = _Worker()


def _work(pipe: "Connection[Any, Any]", life: "Connection[Any, Any]") -> None:
    """A worker's main: calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):
            close_states()
            return
        outcome: Receipt | CurateError
        try:
            outcome = run_task(call)
        except CurateError as error:
            outcome = error
        except BaseException as error:  # a panic in a kernel is no Exception
            outcome = TaskError(f"{call.title} failed: {type(error).__name__}: {error}")
        pipe.send(outcome)


def _end_with_parent(life: "Connection[Any, Any]") -> None:
    try:
        life.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
