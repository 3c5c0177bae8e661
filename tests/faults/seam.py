"""`curate` in a process of its own whose disk, clock and inputs fail where a test says so.

Processes are forked from a server that has imported what a run needs, so that one starts in a tenth of the time of
`python -m curate`. Faults come in where curate.io.store and curate.io.lock touch the disk; the workers of a run are
forked from its driver and inherit them. No mounts, no privileges.

Every touch is an event: its name, the file below the run's folder (temporary names as their final ones), and which
touch of that kind it is of that file in this process. A run without faults logs them; a scenario picks one.

    open      a file is about to be made         write     some of its bytes are about to be written
    sync      it is about to be synced           replace   it is about to get its name
    replaced  it has its name                    read      rows of an input were read (once a file and process)
"""

import contextlib
import errno
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import curate.cli
import curate.report.progress
import curate.run.driver
import curate.run.local
from curate import stages
from curate.io import lock, read, store

for _entry in stages.STAGES:
    stages.load(_entry.name)

CONTEXT = multiprocessing.get_context("forkserver")
LONGEST = 120  # seconds that a command may take
_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{8}-")


@dataclass(frozen=True)
class Event:
    name: str
    path: str
    count: int

    @property
    def of_worker(self) -> bool:
        """Whether a worker is at it: plans, indexes and what is told of the run are the driver's."""
        name = self.path.rpartition("/")[2]
        driver = (
            "plan.json",
            "work.json",
            "stale.json",
            "begun.json",
            "self-test",
            "run.yaml",
            "funnel.json",
            "run.lock",
        )
        return self.name == "read" or not (name in driver or name.endswith((".places", ".files")))


@dataclass(frozen=True)
class Fault:
    """What happens at an event, once: `full` (the disk is, and stays so), `full once`, `kill` or `end` (SIGKILL,
    SIGTERM to the process), `kill all`, `end all` (to the run), `flip` (a byte of the file `other`), `wait` (until the
    file `go` lies in the state folder), or `append`, `cut`, `replace` of the input `other`."""

    event: Event
    do: str
    other: str = ""


@dataclass(frozen=True)
class World:
    """What a process is told: the run's folder, a folder for what processes tell each other, faults, the clock."""

    out: str
    state: str
    fault: Fault | None = None
    log: bool = False
    clock: float = 0.0  # seconds that the clock is ahead


@cache
def start_server() -> None:
    """The process that all others are forked from. It finds modules where this one does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        CONTEXT.set_forkserver_preload(["pytest", "faults.seam"])
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Command:
    """A command that runs; its output goes to files in the world's state folder."""

    def __init__(self, arguments: Sequence[object], world: World) -> None:
        start_server()
        Path(world.state).mkdir(exist_ok=True)
        number = len(list(Path(world.state).glob("*.err")))
        self.arguments = [str(argument) for argument in arguments]
        self.said = [Path(world.state, f"{number}.{end}") for end in ("out", "err")]
        for path in self.said:
            path.touch()
        self.process = CONTEXT.Process(target=_main, args=(self.arguments, world, [str(path) for path in self.said]))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: int, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def workers(self) -> list[int]:
        return children(self.pid)

    def wait(self, seconds: float = LONGEST) -> "Finished | None":
        """What came of it; None where it still runs after so many seconds."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            return None
        out, err = (path.read_text(errors="replace") for path in self.said)
        return Finished(self.arguments, self.process.exitcode, out, " ".join(err.split()))

    def finish(self) -> "Finished":
        done = self.wait()
        if done is None:
            self.send(signal.SIGKILL, group=True)
            raise AssertionError(f"curate {' '.join(self.arguments)} did not end within {LONGEST} s")
        return done


@dataclass(frozen=True)
class Finished:
    arguments: list[str]
    code: int  # of the process; minus the signal that ended it
    out: str
    err: str  # its words, without line breaks

    def __str__(self) -> str:
        return f"curate {' '.join(self.arguments)}\n  exit {self.code}: {self.err or '(nothing on stderr)'}"


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _main(arguments: list[str], world: World, said: list[str]) -> None:
    with contextlib.suppress(OSError):
        os.setsid()
    for number, name in zip((1, 2), said, strict=True):
        handle = os.open(name, os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ["COLUMNS"] = "80"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _Seam(world).arm()
    curate.cli.main(arguments)


# -- inside that process -------------------------------------------------------------------------------------


class _Seam:
    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: Counter[tuple[str, str]] = Counter()
        self.full = Path(world.state, "full")

    def arm(self) -> None:
        """Take the place of what the store, the lock and the readers call."""
        replace, sync, reader = os.replace, store.sync, read._reader

        def replacing(source: Any, target: Any) -> None:
            self.at("replace", target)
            replace(source, target)
            if self.world.clock:
                now = time.time()
                os.utime(target, (now, now))
            self.at("replaced", target)

        def syncing(handle: int) -> None:
            self.at("sync", os.readlink(f"/proc/self/fd/{handle}"))
            sync(handle)

        def reading(form: Any) -> Any:
            def rows(piece: Any, counts: Any) -> Iterator[Any]:
                for number, found in enumerate(reader(form)(piece, counts)):
                    if number == 0:
                        self.at("read", f"{self.world.out}/{piece.rel}")
                    yield found

            return rows

        os.replace = replacing
        store.sync, store.open = syncing, self.open  # type: ignore[attr-defined]
        read._reader = reading
        if self.world.clock:
            _set_clock(self.world.clock)

    def open(self, path: Any, mode: str = "r", **more: Any) -> Any:
        if mode == "rb":
            return open(path, mode, **more)
        self.at("open", path)
        return _File(self, path, open(path, mode, **more))

    def at(self, name: str, path: Any, file: Any = None, data: Any = b"") -> None:
        """An event: logged, and its fault done."""
        rel = os.path.relpath(_TEMPORARY.sub("", os.fspath(path)), self.world.out)
        if rel.startswith(".."):
            return
        self.seen[name, rel] += 1
        event = Event(name, rel, self.seen[name, rel])
        if self.world.log:
            with open(f"{self.world.state}/events", "a") as log:
                log.write(f"{event.name}\t{event.path}\t{event.count}\n")
        if name not in ("read", "replaced") and self.full.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        fault = self.world.fault
        if fault and fault.event == event and self._first():
            self._do(fault, os.fspath(path), file, data)

    def _first(self) -> bool:
        """Whether no process has done the fault yet."""
        try:
            os.close(os.open(f"{self.world.state}/done", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _do(self, fault: Fault, path: str, file: Any, data: Any) -> None:
        if file is not None:  # half of it arrives
            file.write(memoryview(data)[: len(data) // 2])
            file.flush()
        if fault.do.startswith("full"):
            if fault.do == "full":
                self.full.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        number = signal.SIGKILL if fault.do.startswith("kill") else signal.SIGTERM
        if fault.do in ("kill all", "end all"):
            os.killpg(0, number)
            time.sleep(LONGEST)
        elif fault.do in ("kill", "end"):
            os.kill(os.getpid(), number)
            time.sleep(LONGEST)
        elif fault.do == "flip":
            flip(Path(fault.other), random.Random(path))
        elif fault.do == "wait":
            until = time.monotonic() + LONGEST
            while not Path(self.world.state, "go").exists() and time.monotonic() < until:
                time.sleep(0.005)
        else:
            change_input(Path(fault.other), fault.do)


class _File:
    """A file that is written through the seam."""

    def __init__(self, seam: _Seam, path: Any, file: Any) -> None:
        self.seam, self.path, self.file = seam, path, file
        self.fileno, self.flush, self.close = file.fileno, file.flush, file.close

    def write(self, data: Any) -> int:
        self.seam.at("write", self.path, self.file, data)
        return int(self.file.write(data))

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _set_clock(ahead: float) -> None:
    """Clocks that tell another time, for the code that asks for one."""
    real = time.time
    time.time = lambda: real() + ahead

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Shifted":
            return cls.fromtimestamp(real() + ahead, tz)

    lock.datetime = Shifted  # type: ignore[misc]
    curate.report.progress.datetime = Shifted  # type: ignore[misc]


# -- what a test does to files -------------------------------------------------------------------------------


def flip(path: Path, rng: random.Random) -> None:
    """Another value for one byte, in the file itself."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    with open(path, "r+b") as handle:
        handle.write(data)


def change_input(path: Path, how: str) -> None:
    """Append to a JSONL file, cut its last line off, or put another in its place."""
    lines = path.read_text().splitlines(keepends=True)
    if how == "append":
        with open(path, "a") as handle:
            handle.write(lines[0].replace("The ", "A ").replace("the ", "this "))
    elif how == "cut":
        os.truncate(path, len("".join(lines[:-1]).encode()))
    else:
        other = path.with_name(f"{path.name}.part")
        other.write_text("".join(lines[1:]))
        os.replace(other, path)


def backdate(path: Path, ago: timedelta) -> None:
    """Set a file's time back."""
    then = (datetime.now(UTC) - ago).timestamp()
    os.utime(path, (then, then))
