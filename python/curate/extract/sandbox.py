"""A child process for parsers that may hang, crash or eat memory on hostile input.

The child isolates faults, not privileges: it may open files and connections as its parent may. There is one child a
worker, with one page at a time; the pipe takes half a millisecond a page. A page that takes more than `timeout` seconds
of CPU time kills the child (the kernel does it, so a hang inside C code counts too), and so does one that takes four
times that on the clock. CPU time decides and not the clock, so that a busy machine does not change what comes out; the
clock is for a page that waits and computes nothing. The child has an address space limit, is replaced every 5,000
pages, and ends when its pipe closes.

Frames on the pipe: 4 bytes length (little-endian), 1 byte status, then the payload; a request is two frames, a JSON
header and the page.
"""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO

PREPARATION = 60.0  # seconds by the clock that a child may take to import what it needs
UNTIMED = "untimed"  # in a header: the call has no CPU timer
PAGES_PER_CHILD = 5000  # then a new child, in case parsers leak memory
_HEAD = struct.Struct("<IB")  # of a frame: length, status
OK, FAILED = 0, 1  # status: the payload is a result, or says what was raised
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that no page causes."""


class Timeout(Exception):
    """The page took more CPU time than allowed, or four times that on the clock."""


class Crashed(Exception):
    """The parser raised, ran out of memory, or took its process down; the message says which."""


class Killed(Crashed):
    """Something outside, such as the kernel when memory is short, ended the child."""


class Sandbox:
    """Calls `module:function(page: bytes, **header) -> str` in a child process; close it in the end.

    `timeout` is in seconds of CPU time a page, `memory_bytes` limits the address space of the child. `prepare` is the
    header of a first call of every child, without a page: what it imports must not count as the first page's time.
    """

    def __init__(
        self, target: str, *, timeout: float, memory_bytes: int, prepare: dict[str, Any] | None = None
    ) -> None:
        self.prepare = prepare
        self.child: subprocess.Popen[bytes] | None = None
        self.target, self.timeout, self.memory_bytes = target, timeout, memory_bytes
        self.pages = 0

    def call(self, page: bytes, **header: Any) -> str:
        """The function's result for this page; `header` are its further arguments, plain data.

        Raises Timeout or Crashed. Where the child ended, the next call starts another. A child that was ended from
        outside (by SIGKILL, as the kernel does when memory is short, or SIGTERM) says nothing about the page, so the
        page is tried once more.
        """
        try:
            return self._call(page, header)
        except Killed:
            return self._call(page, header)

    def open(self) -> None:
        """Start a child and prepare it. Raises Timeout or Crashed where it cannot be prepared."""
        self.close()
        self._start()
        if self.prepare is not None:
            self._exchange(b"", {**self.prepare, UNTIMED: True}, PREPARATION)

    def _call(self, page: bytes, header: dict[str, Any]) -> str:
        """One attempt. A child is started first if there is none, or if it has had its number of pages."""
        if self.child is None or self.pages >= PAGES_PER_CHILD:
            self.open()
        self.pages += 1
        return self._exchange(page, header, 4 * self.timeout)

    def _exchange(self, page: bytes, header: dict[str, Any], patience: float) -> str:
        """Send a page and wait at most `patience` seconds by the clock for its answer."""
        assert self.child is not None and self.child.stdin is not None
        try:
            _send(self.child.stdin, OK, json.dumps(header).encode())
            _send(self.child.stdin, OK, page)
            status, data = self._receive(time.monotonic() + patience)
        except (BrokenPipeError, EOFError):
            raise self._death() from None
        except TimeoutError:
            self.close()
            raise Timeout from None
        if status != OK:
            raise Crashed(data.decode("utf-8", "replace"))
        return data.decode("utf-8")

    def _start(self) -> None:
        """Start the child. It finds the same modules as this process, and what it prints to stderr is lost."""
        arguments = [self.target, str(self.timeout), str(self.memory_bytes)]
        code = f"from curate.extract.sandbox import serve; serve(*{arguments!r})"
        self.child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )  # fmt: skip
        self.pages = 0

    def _receive(self, deadline: float) -> tuple[int, bytes]:
        """(status, payload) of the next frame; TimeoutError at the deadline, EOFError if the child ended."""
        assert self.child is not None and self.child.stdout is not None
        handle = self.child.stdout.fileno()
        size, status = _HEAD.unpack(_read_exactly(handle, _HEAD.size, deadline))
        return status, _read_exactly(handle, size, deadline)

    def _death(self) -> Exception:
        """The exception for a child that has ended, by its exit code. SIGPROF is its CPU timer."""
        assert self.child is not None
        code = self.child.wait()
        self.close()
        if code == -signal.SIGPROF:
            return Timeout()
        if -code in FROM_OUTSIDE:
            return Killed(f"the parser's process was killed twice ({signal.Signals(-code).name}); out of memory?")
        return Crashed(f"the parser's process died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})")

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End the child, if there is one."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):
                try:
                    pipe.close()  # type: ignore[union-attr]
                except OSError:
                    pass
            self.child = None


def _send(pipe: Any, status: int, data: bytes) -> None:
    """Write one frame."""
    pipe.write(_HEAD.pack(len(data), status))
    pipe.write(data)
    pipe.flush()


def _read_exactly(handle: int, size: int, deadline: float) -> bytes:
    """`size` bytes from a file descriptor; TimeoutError at the deadline, EOFError where it ends before."""
    parts = []
    while size:
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(handle, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# -- the child -----------------------------------------------------------------------------------------------


def serve(target: str, timeout: str, memory_bytes: str) -> None:
    """The child's main loop: pages in on stdin, results out on the stdout that it was started with."""
    import resource

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    # Ctrl-C reaches all processes of a terminal; the parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, name = target.partition(":")
    function: Callable[..., str] = getattr(import_module(module), name)
    requests = sys.stdin.buffer
    while True:
        header = _frame(requests)
        page = _frame(requests)
        if header is None or page is None:
            return
        more = json.loads(header)
        if not more.pop(UNTIMED, False):
            signal.setitimer(signal.ITIMER_PROF, float(timeout))  # its default action ends the process
        try:
            status, data = OK, function(page, **more).encode("utf-8", "replace")
        except MemoryError:
            status, data = FAILED, f"out of memory ({int(memory_bytes) >> 20:,} MiB allowed)".encode()
        except Exception as error:
            status, data = FAILED, f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, status, data)


def _frame(pipe: BinaryIO) -> bytes | None:
    """The payload of the next frame; None where the pipe is closed."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, _ = _HEAD.unpack(head)
    return pipe.read(size)
