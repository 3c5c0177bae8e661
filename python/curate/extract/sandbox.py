"""A child process for parsers that may hang, crash or eat memory on hostile input.

One child a worker, one page at a time, half a millisecond a page for the pipe. A page that takes more than
`timeout` seconds of CPU time kills the child (the kernel does it, so a hang inside C code counts too); so does
one that takes four times that on the clock. The child has an address space limit, is recycled every 5,000
pages, and ends when its pipe closes. CPU time and not the clock decides, so that a busy machine does not change
what comes out.

Frames on the pipe: 4 bytes length, 1 byte status, then the payload; a request is two frames, a JSON header
and the page.
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

PAGES_PER_CHILD = 5000
_HEAD = struct.Struct("<IB")
OK, FAILED = 0, 1
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that no page causes."""


class Timeout(Exception):
    """The page took more than the allowed seconds."""


class Crashed(Exception):
    """The parser raised, ran out of memory, or took its process down; the message says which."""


class Killed(Crashed):
    """Something outside killed the child."""


class Sandbox:
    """Calls `module:function(page: bytes, **header) -> str` in a child. Close it, or let it go with the process."""

    def __init__(self, target: str, *, timeout: float, memory_bytes: int) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.target, self.timeout, self.memory_bytes = target, timeout, memory_bytes
        self.pages = 0

    def call(self, page: bytes, **header: Any) -> str:
        """The function's result for this page. Raises Timeout or Crashed; the next call starts a new child.

        A child that was ended from outside (by SIGKILL, as the kernel does when memory is short, or SIGTERM) says
        nothing about the page, so it is tried once more.
        """
        try:
            return self._call(page, header)
        except Killed:
            return self._call(page, header)

    def _call(self, page: bytes, header: dict[str, Any]) -> str:
        if self.child is None or self.pages >= PAGES_PER_CHILD:
            self.close()
            self._start()
        assert self.child is not None and self.child.stdin is not None
        self.pages += 1
        try:
            _send(self.child.stdin, OK, json.dumps(header).encode())
            _send(self.child.stdin, OK, page)
            status, data = self._receive(time.monotonic() + 4 * self.timeout)
        except (BrokenPipeError, EOFError):
            raise self._death() from None
        except TimeoutError:
            self.close()
            raise Timeout from None
        if status != OK:
            raise Crashed(data.decode("utf-8", "replace"))
        return data.decode("utf-8")

    def _start(self) -> None:
        arguments = [self.target, str(self.timeout), str(self.memory_bytes)]
        code = f"from curate.extract.sandbox import serve; serve(*{arguments!r})"
        self.child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )  # fmt: skip
        self.pages = 0

    def _receive(self, deadline: float) -> tuple[int, bytes]:
        assert self.child is not None and self.child.stdout is not None
        handle = self.child.stdout.fileno()
        size, status = _HEAD.unpack(_read_exactly(handle, _HEAD.size, deadline))
        return status, _read_exactly(handle, size, deadline)

    def _death(self) -> Exception:
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
    pipe.write(_HEAD.pack(len(data), status))
    pipe.write(data)
    pipe.flush()


def _read_exactly(handle: int, size: int, deadline: float) -> bytes:
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
    """The child's main loop: pages in on stdin, results out on the stdout it was started with."""
    import resource

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, name = target.partition(":")
    function: Callable[..., str] = getattr(import_module(module), name)
    requests = sys.stdin.buffer
    while True:
        header = _frame(requests)
        page = _frame(requests)
        if header is None or page is None:
            return
        signal.setitimer(signal.ITIMER_PROF, float(timeout))  # its default action ends the process
        try:
            status, data = OK, function(page, **json.loads(header)).encode("utf-8", "replace")
        except MemoryError:
            status, data = FAILED, f"out of memory ({int(memory_bytes) >> 20:,} MiB allowed)".encode()
        except Exception as error:
            status, data = FAILED, f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, status, data)


def _frame(pipe: BinaryIO) -> bytes | None:
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, _ = _HEAD.unpack(head)
    return pipe.read(size)
