"""One run, one owner: a folder is locked by the file `run.lock`, which names the process that works there.

    {"host": "node7", "process": 4711, "started": "183045", "boot": "6ca2…", "space": "pid:[4026531836]",
     "command": "curate run", "since": "2026-05-09T07:29:33+00:00"}

`started` is the process's start in clock ticks after boot (/proc), which tells a process from a later one of the same
number; `boot` is the kernel's boot id, `space` its PID namespace. The lock of a process of this host that has ended is
taken over. That of another host or container cannot be judged from here and is refused, unless the user says
otherwise with `take_over`.

Only whole locks appear, and only where none is. To take over a lock, a process must first hold a second lock,
`run.lock.<digest of the first>`, so that of several that find the same dead lock one alone removes it, and none ever
removes the lock that another has just made. Where a newcomer makes its lock between the removal and the new lock, it
is the owner.
"""

import contextlib
import hashlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from curate.errors import CurateError, LockError
from curate.io.store import LocalStore

NAME = "run.lock"

State = Literal["alive", "dead", "unknown"]


class LockStore(Protocol):
    """What a lock needs of the place it lies in. `name` stands in messages."""

    @property
    def name(self) -> str: ...

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Make the file with all of `data`, in one step; False, and nothing is changed, where it exists."""

    def read(self, rel: str) -> bytes:
        """The content; FileNotFoundError where there is no such file."""

    def delete(self, rel: str) -> None:
        """Remove the file, if there is one."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock, as the lock file names it."""

    host: str
    process: int
    started: str  # clock ticks between boot and the start of the process; "" where the system does not tell
    boot: str  # identifies the boot of the host; "" where the system does not tell
    space: str  # PID namespace, which differs between containers of one host; "" where the system does not tell
    command: str
    since: str  # UTC, for people

    @classmethod
    def here(cls, command: str) -> "Owner":
        """This process, as the owner of a lock."""
        process = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        started = process_start(process) or ""
        return cls(socket.gethostname(), process, started, boot_id(), process_space(), command, since)

    @classmethod
    def parse(cls, data: bytes) -> "Owner | None":
        """The owner that a lock file names; None where it is no lock file."""
        try:
            owner = cls(**json.loads(data))
        except (ValueError, TypeError):
            return None
        expected = cls.__annotations__
        return owner if all(isinstance(value, expected[name]) for name, value in asdict(owner).items()) else None

    def encode(self) -> bytes:
        """The content of the lock file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def state(self) -> State:
        """Whether the process still runs; unknown where it cannot be seen from here."""
        here = Owner.here("")
        # The order matters: a process number means something only within one boot and one PID namespace of one host.
        if self.host != here.host:
            return "unknown"
        if self.boot != here.boot:
            return "dead"
        if self.space != here.space:
            return "unknown"
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return "dead"
        except (PermissionError, OverflowError):
            pass  # it runs as another user
        started = process_start(self.process)
        if started is None or (started and self.started and started != self.started):
            return "dead"
        return "alive"

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} (`{self.command}`, since {self.since})"


class FolderLock:
    """The lock of a folder for as long as the context lasts.

        with FolderLock(out, "curate run") as lock:
            for warning in lock.warnings: ...

    Raises LockError where another process owns the folder, CurateError where the lock cannot be written.
    """

    def __init__(self, place: str | Path | LockStore, command: str, take_over: bool = False) -> None:
        self.store: LockStore = LocalStore(Path(place)) if isinstance(place, str | Path) else place
        self.command, self.take_over = command, take_over
        self.owner: Owner | None = None  # this process, while it holds the lock
        self.warnings: list[str] = []  # whose lock was taken over

    def __enter__(self) -> "FolderLock":
        owner = Owner.here(self.command)
        try:
            self._acquire(NAME, owner)
        except OSError as error:
            raise CurateError(f"{self.store.name}/{NAME}: cannot be written: {error.strerror or error}") from None
        self.owner = owner
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        owner, self.owner = self.owner, None
        if owner is not None and owner.process == os.getpid():  # a forked child owns nothing
            self._release(NAME, owner)

    def _acquire(self, rel: str, owner: Owner) -> None:
        """Make the lock file `rel`, taking over that of a dead process. LockError where its owner lives."""
        while not self.store.create_exclusive(rel, owner.encode()):
            try:
                found = self.store.read(rel)
            except FileNotFoundError:
                continue  # released just now
            other = Owner.parse(found)
            self._check(other)
            removal = f"{rel}.{hashlib.sha256(found).hexdigest()[:12]}"
            self._acquire(removal, owner)
            try:
                if self._holds(rel, found):
                    self.store.delete(rel)
                    if rel == NAME:
                        self.warnings.append(
                            f"{self.store.name}: the lock of {other or 'an unknown owner'} was taken over"
                        )
            finally:
                self._release(removal, owner)

    def _check(self, other: Owner | None) -> None:
        """Raise LockError unless the lock of `other` may be taken over."""
        state: State = other.state() if other else "unknown"
        if state == "dead" or (state == "unknown" and self.take_over):
            return
        where = self.store.name
        if other is None:
            raise LockError(
                f"{where}: {NAME} does not say whose it is; if nothing else works in this folder, give --take-over"
            )
        if state == "alive":
            raise LockError(
                f"{where}: {other} works in this folder; wait until it ends, stop it, or name another folder"
            )
        raise LockError(
            f"{where}: {other} works in this folder, or did: it cannot be seen from here. If it has ended, "
            "give --take-over; otherwise wait, or name another folder"
        )

    def _holds(self, rel: str, data: bytes) -> bool:
        """Whether the file has just this content: it may have been removed or made anew since it was read."""
        try:
            return self.store.read(rel) == data
        except FileNotFoundError:
            return False

    def _release(self, rel: str, owner: Owner) -> None:
        """Remove the lock if it is ours. Where that fails, the lock stays, and is found dead later."""
        with contextlib.suppress(OSError):
            if self._holds(rel, owner.encode()):
                self.store.delete(rel)


def process_start(process: int) -> str | None:
    """Clock ticks from boot to the start of a process; None where it only waits to be reaped, "" where not told."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = text[text.rindex(")") + 2 :].split()  # after the name, which may hold anything
    state, started = fields[0], fields[19]
    return None if state in ("Z", "X") else started


def boot_id() -> str:
    """Changes with every boot of the kernel; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_space() -> str:
    """The PID namespace of this process; "" where the system does not tell."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
