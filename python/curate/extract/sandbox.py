"""A child process for parsers that may hang, crash or eat memory on hostile input.

    worker -- control --> server -- fork --> child <-- pages, texts --> worker

The server imports the parser once and forks a child; where the child ends, it forks the next, which takes milliseconds
and not the second that the imports take. What enters the child is a page and plain arguments, what leaves it is text.
There is one child a worker, with one page at a time, and no page is given twice, but for one rule: a child that
something outside ended says nothing about its page, which is tried once more.

    time      A page may compute for `timeout` seconds of CPU time (the kernel ends the child then, so a hang inside C
              code counts too), or compute and wait for that long together. Time in which the child could run and the
              machine was busy with others does not count, so that a busy machine does not change what comes out.
    memory    The address space of the child is limited; a text may have MAX_TEXT bytes.
    files     The child can read them and change none (Landlock; besides, a limit of 0 bytes for files that it writes).
    network   The child can make no socket (seccomp).

The last two hold on Linux, where the kernel has these (`exposed` says what this machine lacks). The child is replaced
every 5,000 pages; it and all that it started end when it is killed, or when the worker ends.

Frames: 4 bytes length (little-endian), 1 byte status, then the payload. A request is two frames, a JSON header and the
page; an answer is one.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from curate import _rust
from curate.errors import FatalError

PREPARATION = 60.0  # seconds by the clock that the server may take to import what is needed
GRACE = (
    0.25  # seconds beyond the timeout before a page that computes and waits is ended: the kernel's timer comes first
)
SLICE = 1.0  # seconds of waiting after which is looked whether this process itself stood still
PAGES_PER_CHILD = 5000  # then a new child, in case parsers leak memory
MAX_TEXT = 256 << 20  # bytes of an answer
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The server's environment: libraries that start threads when they are imported would not survive the fork."""
_HEAD = struct.Struct("<IB")  # of a frame: length, status
_NUMBER = struct.Struct("<q")  # what the server answers: a process, or an exit code
OK, FAILED = 0, 1  # status: the payload is a result, or says what was raised
FORK, WAIT = b"F", b"W"  # what the server is told: fork a child for the socket that comes along, or wait for its end
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that no page causes."""


class Timeout(Exception):
    """The page took longer than allowed; the message says how."""


class Crashed(Exception):
    """The parser raised, ran out of memory, or took its process down; the message says which."""


class Killed(Crashed):
    """Something outside, such as the kernel when memory is short, ended the child."""


def exposed() -> list[str]:
    """What a child on this machine can do although it should not, each with the reason."""
    files, network = _rust.probe_confinement()
    found = [] if files is None else [f"change files ({files})"]
    return found if network is None else [*found, f"use the network ({network})"]


def remark(who: str) -> str:
    """For plan and log: that `who` runs in a child, and what a child on this machine can do although it should not."""
    found = exposed()
    able = f"can still {' and '.join(found)}" if found else "can change no file and use no network"
    return f"{who} runs in a process of its own, which {able}"


class _Child(NamedTuple):
    """A forked child: its process, the socket to it, and an open /proc file with its times, or -1."""

    pid: int
    pipe: socket.socket
    times: int

    def queued(self) -> float:
        """Seconds so far in which it could have run and another process did."""
        return int(os.pread(self.times, 100, 0).split()[1]) / 1e9 if self.times >= 0 else 0.0

    def close(self) -> None:
        """Close the socket and the file."""
        self.pipe.close()
        if self.times >= 0:
            os.close(self.times)


class Sandbox:
    """Calls `module:function(page: bytes, **header) -> str` in a child process; close it in the end.

    `timeout` is in seconds a page, `memory_bytes` limits the address space of the child. `prepare` is the header of a
    first call, without a page, which the server makes before it forks: what it imports counts as no page's time, and
    must survive a fork (threads that it leaves running would not).
    """

    def __init__(
        self, target: str, *, timeout: float, memory_bytes: int, prepare: dict[str, Any] | None = None
    ) -> None:
        self.child: _Child | None = None
        self.server: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.target, self.timeout, self.memory_bytes, self.prepare = target, timeout, memory_bytes, prepare
        self.pages = 0

    def call(self, page: bytes, **header: Any) -> str:
        """The function's result for this page; `header` are its further arguments, plain data.

        Raises Timeout or Crashed; where the child ended, the next call starts another. FatalError where none can be
        started.
        """
        try:
            return self._call(page, header)
        except Killed:
            return self._call(page, header)

    def open(self) -> None:
        """Start the server and a child. Raises Timeout or Crashed where the server cannot prepare."""
        try:
            self._open()
        except Killed:
            self._open()

    def _open(self) -> None:
        """One attempt at that; Killed where something outside ended the server."""
        self.close()
        mine, its = socket.socketpair()
        arguments = [self.target, self.timeout, self.memory_bytes, json.dumps(self.prepare)]
        code = f"from curate.extract.sandbox import serve; serve(*{arguments!r})"
        self.control = mine
        with its:
            # It finds the same modules as this process, and what it prints is lost.
            self.server = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=its.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )  # fmt: skip
        mine.settimeout(PREPARATION)
        try:
            size, status = _HEAD.unpack(_exactly(mine, _HEAD.size))
            words = _exactly(mine, size).decode("utf-8", "replace")
        except TimeoutError:
            self.close()
            raise Timeout(f"what it imports took more than {PREPARATION:.0f} s") from None
        except (EOFError, ConnectionError):
            ended = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                ended = self.server.wait(1.0)
            self.close()
            if ended is not None and -ended in FROM_OUTSIDE:
                name = signal.Signals(-ended).name
                raise Killed(f"its process was killed twice while it was prepared ({name})") from None
            raise Crashed("its process ended while it was prepared") from None
        if status != OK:
            self.close()
            raise Crashed(words)
        mine.settimeout(None)
        self._fork()

    def _call(self, page: bytes, header: dict[str, Any]) -> str:
        """One attempt. A child is started first if there is none, or if it has had its number of pages."""
        if self.child is not None and self.pages >= PAGES_PER_CHILD:
            self._end_child()
        if self.child is None:
            self._start()
        assert self.child is not None
        self.pages += 1
        try:
            status, data = self._exchange(self.child, page, json.dumps(header).encode())
        except (ConnectionError, EOFError):
            raise self._death() from None
        except TimeoutError:
            self._end_child()
            raise Timeout(f"killed: it computed and waited for {self.timeout:g} s") from None
        text = data.decode("utf-8", "replace")
        if status != OK:
            raise Crashed(text)
        return text

    def _start(self) -> None:
        """A child of the server; where there is none, or it has ended, of a new one."""
        if self.server is not None:
            try:
                self._fork()
                return
            except (ConnectionError, EOFError):
                pass  # something ended the server
        try:
            self.open()
        except (ConnectionError, EOFError, OSError) as error:
            self.close()
            raise FatalError(
                f"extract: no process can be started to parse pages ({error!r}); is memory short?"
            ) from None

    def _fork(self) -> None:
        """Have the server fork a child."""
        assert self.control is not None
        mine, its = socket.socketpair()
        try:
            with its:
                socket.send_fds(self.control, [FORK], [its.fileno()])
            (pid,) = _NUMBER.unpack(_exactly(self.control, _NUMBER.size))
        except BaseException:
            mine.close()
            raise
        try:
            times = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY)
        except OSError:
            times = -1
        self.child, self.pages = _Child(pid, mine, times), 0

    def _exchange(self, child: _Child, page: bytes, header: bytes) -> tuple[int, bytes]:
        """Send a page and wait for (status, payload) of its answer; TimeoutError where it takes too long."""
        child.pipe.settimeout(4 * self.timeout)  # it only reads now, however large the page is
        child.pipe.sendall(b"".join([_HEAD.pack(len(header), OK), header, _HEAD.pack(len(page), OK)]))
        child.pipe.sendall(page)
        wait = _Wait(child, self.timeout)
        size, status = _HEAD.unpack(wait.receive(_HEAD.size))
        if size > MAX_TEXT:
            self._end_child()
            raise Crashed(f"its text has {size:,} bytes, of at most {MAX_TEXT:,}")
        return status, wait.receive(size)

    def _death(self) -> Exception:
        """The exception for a child that has ended, by its exit code. SIGPROF is its CPU timer."""
        code = self._end_child()
        if code == -signal.SIGPROF:
            return Timeout(f"killed: it computed for {self.timeout:g} s")
        if code is None or -code in FROM_OUTSIDE:
            name = signal.Signals(-code).name if code else "with its server"
            return Killed(f"the parser's process was killed twice ({name}); out of memory?")
        return Crashed(f"the parser's process died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})")

    def _end_child(self) -> int | None:
        """End the child and what it started; returns its exit code, which is that of its own end where it came before,
        or None where the server has ended, too."""
        assert self.child is not None and self.control is not None
        child, self.child = self.child, None
        _kill(child.pid)
        child.close()
        try:
            self.control.sendall(WAIT)
            code: int = _NUMBER.unpack(_exactly(self.control, _NUMBER.size))[0]
            return code
        except (ConnectionError, EOFError):
            return None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End the child and the server, if there are any."""
        if self.child is not None:
            self._end_child()
        if self.control is not None:
            self.control.close()
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        self.control = self.server = None


class _Wait:
    """The wait for the answer to one page, measured in what the child computed or waited."""

    def __init__(self, child: _Child, timeout: float) -> None:
        self.child, self.queued = child, child.queued()
        # Where the system does not tell how long the machine was busy with others, a page has four times as long.
        self.limit = timeout + GRACE if child.times >= 0 else 4 * timeout
        self.start = time.monotonic()

    def receive(self, size: int) -> bytes:
        """`size` bytes; TimeoutError where the page takes too long, EOFError or ConnectionError where the child ended.

        Time in which this process stood still, stopped with its whole group for example, does not count either.
        """
        buffer = bytearray(size)
        view, got = memoryview(buffer), 0
        while got < size:
            now = time.monotonic()
            left = self.limit - (now - self.start)
            if left <= 0:
                left += self.child.queued() - self.queued
                if left <= 0:
                    raise TimeoutError
            slice_ = min(max(left, 0.01), SLICE)
            self.child.pipe.settimeout(slice_)
            try:
                n = self.child.pipe.recv_into(view[got:])
            except TimeoutError:
                late = time.monotonic() - now - slice_
                self.start += late if late > GRACE else 0.0
                continue
            if not n:
                raise EOFError
            got += n
        return bytes(buffer)


def _exactly(pipe: socket.socket, size: int) -> bytes:
    """`size` bytes; EOFError where the other side ends before."""
    data = b""
    while len(data) < size:
        part = pipe.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _kill(pid: int) -> None:
    """End a child and what it started, which are a process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended


# -- the server ----------------------------------------------------------------------------------------------


def serve(target: str, timeout: float, memory_bytes: int, prepare: str) -> None:
    """The server's main: import and prepare, then fork a child whenever it is told to, by its standard input."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no child may hold the control
    # Ctrl-C reaches all processes of a terminal; the worker decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, name = target.partition(":")
    try:
        function: Callable[..., str] = getattr(import_module(module), name)
        if (header := json.loads(prepare)) is not None:
            function(b"", **header)
    except Exception as error:
        _send(control, FAILED, _words(error))
        return
    _send(control, OK, b"")
    gc.freeze()  # a collection in a child would copy the pages of what was imported
    pid = 0
    while True:
        message, sockets, _, _ = socket.recv_fds(control, 1, 1)
        if not message:  # the worker has ended
            if pid:
                _kill(pid)
            return
        if message == WAIT:
            _, status = os.waitpid(pid, 0)
            pid = 0
            control.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
            continue
        pid = os.fork()
        if not pid:
            control.close()
            _work(socket.socket(fileno=sockets[0]), function, timeout, memory_bytes)
            os._exit(0)
        os.close(sockets[0])
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass  # the child was faster
        control.sendall(_NUMBER.pack(pid))


def _work(pipe: socket.socket, function: Callable[..., str], timeout: float, memory_bytes: int) -> None:
    """The child's main loop: pages in, texts out, until the worker closes the socket."""
    _give_up(memory_bytes)
    requests = pipe.makefile("rb")
    while True:
        header = _frame(requests)
        page = _frame(requests)
        if header is None or page is None:
            return
        signal.setitimer(signal.ITIMER_PROF, timeout)  # its default action ends the process
        try:
            status, data = OK, function(page, **json.loads(header)).encode("utf-8", "replace")
            if len(data) > MAX_TEXT:
                status, data = FAILED, f"its text has {len(data):,} bytes, of at most {MAX_TEXT:,}".encode()
        except MemoryError:
            status, data = FAILED, f"out of memory ({memory_bytes >> 20:,} MiB allowed)".encode()
        except Exception as error:
            status, data = FAILED, _words(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(pipe, status, data)


def _give_up(memory_bytes: int) -> None:
    """What the child can no longer do: hold more memory, leave its group's fate, change files, use the network."""
    import resource

    os.setpgid(0, 0)
    for limit, amount in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (amount, amount))
    _rust.confine()


def _words(error: Exception) -> bytes:
    """What an exception says, in an answer."""
    return f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")


def _send(pipe: socket.socket, status: int, data: bytes) -> None:
    """Write one frame."""
    pipe.sendall(_HEAD.pack(len(data), status))
    pipe.sendall(data)


def _frame(pipe: BinaryIO) -> bytes | None:
    """The payload of the next frame; None where the socket is closed."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, _ = _HEAD.unpack(head)
    data = pipe.read(size)
    return data if len(data) == size else None
