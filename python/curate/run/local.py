"""A pool of worker processes on this machine that survives a killed worker.

Calls go in and receipts come out, in any order. A worker that dies (out of memory, killed) is replaced and its call
tried once more; a second death is a TaskError. Workers end when the process that started them does: at once on Linux,
since another run may own the folder then, elsewhere within a second.

On Linux workers are forked: they start with every module that the driver has imported, so that a run pays for its
imports once (.6 s of CPU a worker otherwise). Elsewhere they are spawned, since forking is not safe there.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from curate.errors import CurateError, TaskError
from curate.run.call import Call
from curate.run.manifest import Receipt
from curate.run.worker import close_states, prepare_process, run_call

Outcome = tuple[Call, Receipt | CurateError]
ATTEMPTS = 2  # at a call whose worker died
PARENT_CHECK = 0.5  # seconds between two looks of a worker at whether its driver lives
_PDEATHSIG = 1  # of Linux's prctl: the signal that this process gets when its parent ends
FORK = sys.platform == "linux"


class _Worker:
    """A process, and the pipe for its calls and receipts."""

    def __init__(self, others: "Sequence[_Worker]") -> None:
        """Start the process. `others` are the workers that there are, whose pipes a forked process inherits."""
        context: Any = multiprocessing.get_context("fork" if FORK else "spawn")
        self.pipe, theirs = context.Pipe()
        # A forked process holds copies of the driver's ends of all pipes; it closes them.
        inherited = [self.pipe, *(other.pipe for other in others)] if FORK else []
        self.process = context.Process(target=_work, args=(theirs, inherited, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.call: Call | None = None

    def stop(self, patience: float = 0.0) -> None:
        """End it. An idle worker is asked to leave and has `patience` seconds to close its states; then it is
        killed."""
        if patience and self.call is None:
            with contextlib.suppress(OSError):
                self.pipe.send(None)
            self.process.join(patience)
        self.pipe.close()
        self.process.kill()
        self.process.join()


class LocalPool:
    """Executor (run/executor.py) over at most `workers` processes, each started when a call first needs it.

    `run` may be called once a pass; the workers stay. Use as a context manager: the workers end with it.
    """

    def __init__(self, workers: int) -> None:
        self.size = workers
        self.workers: list[_Worker] = []

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop(patience=2.0)

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        """Yield (call, receipt or error) as tasks end; a call is made when a worker is free for it."""
        source = iter(calls)
        again: list[Call] = []
        attempts: dict[str, int] = {}
        while True:
            # Every free worker gets a call, tried ones first; then wait for a result, or the end of a pipe.
            while sum(w.call is not None for w in self.workers) < self.size:
                call = again.pop() if again else next(source, None)
                if call is None:
                    break
                attempts[call.task] = attempts.get(call.task, 0) + 1
                worker = self._free()
                worker.call = call
                with contextlib.suppress(OSError):  # it is dead: the end of its pipe will tell
                    worker.pipe.send(call)
            busy = {worker.pipe: worker for worker in self.workers if worker.call}
            if not busy:
                return
            for pipe in wait(list(busy)):
                yield from self._received(busy[pipe], again, attempts)

    def _free(self) -> _Worker:
        """A worker without a call; a new one where all have one."""
        for worker in self.workers:
            if worker.call is None:
                return worker
        self.workers.append(_Worker(self.workers))
        return self.workers[-1]

    def _received(self, worker: _Worker, again: list[Call], attempts: dict[str, int]) -> Iterator[Outcome]:
        """What a busy worker gave, or the end of its pipe: then it died, and its call is tried again, ATTEMPTS times in
        all.

        A task that was killed may have committed files. Running it again replaces them with the same bytes.
        """
        call = worker.call
        assert call is not None
        worker.call = None
        try:
            yield call, worker.pipe.recv()
        except (EOFError, OSError):
            worker.stop()
            self.workers.remove(worker)
            if attempts[call.task] < ATTEMPTS:
                again.append(call)
            else:
                yield call, TaskError(f"{call.title}: its worker was killed {ATTEMPTS} times; out of memory?")


def _work(pipe: "Connection[Any, Any]", inherited: "Sequence[Connection[Any, Any]]", parent: int) -> None:
    """A worker's main: calls until None comes or the pipe closes.

    It ends with its driver: by the kernel's signal on Linux, and by a thread that looks every PARENT_CHECK seconds.
    """
    for other in inherited:
        other.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prepare_process()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):
            call = None
        if call is None:
            close_states()
            return
        try:
            outcome: Receipt | CurateError = run_call(call)
        except CurateError as error:
            outcome = error
        pipe.send(outcome)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK)
    os._exit(1)
