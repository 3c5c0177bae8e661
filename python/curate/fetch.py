"""Record web pages as WARC files: a small, polite, breadth-first crawl over HTTP and HTTPS.

From the seeds, pages are requested level by level, by a few threads, and written in exactly that order, so
the files hold the same pages in the same order whatever the number of threads and the speed of the answers.
Requests and answers are recorded byte for byte as they travelled (chunked and compressed as they came), each
record a gzip member of its own. A page that fails is counted and listed, never fatal. A host is asked for its
robots.txt first and then at most once every `delay` seconds; loopback addresses are spared both.
"""

import base64
import functools
import gzip
import hashlib
import html
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from pydantic import field_validator

from curate.config import Settings, setting
from curate.errors import ConfigError, CurateError, DataError

PAGE_TIMEOUTS = 4  # a whole page may take as many times the timeout
RETRY_SECONDS = 1.0  # before the first further try, doubled for each next
BUSY = (429, 500, 502, 503, 504)  # statuses that are worth a further try
MAX_WAIT = 60.0  # seconds that a Retry-After or a robots.txt may make us wait
MAX_REDIRECTS = 10  # in a row
MAX_FAILURES = 8  # in a row on one host, which is then left alone
MAX_ROBOTS = 512_000  # bytes of a robots.txt that are obeyed; RFC 9309 asks for no less
MAX_URL = 2_000  # characters; longer links are traps

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
# No part of these runs past the tag that it began in, so their time is linear in the page whatever it holds.
_VALUE = rb"""\s*=\s*("[^"<>]*"|'[^'<>]*'|[^\s"'<>\\]+)"""
_LINK = re.compile(rb"<(?:a|area|i?frame)\s(?:[^<>]*?\s)?(?:href|src)" + _VALUE, re.I)
_BASE = re.compile(rb"<base\s(?:[^<>]*?\s)?href" + _VALUE, re.I)


class FetchSettings(Settings):
    """What to record, how far to follow links, and how gently."""

    scope: tuple[str, ...] = setting((), "URL prefixes to follow links in; empty: the folder of every seed")
    exclude: tuple[str, ...] = setting((), "regular expressions; links that match one are not followed")
    max_pages: int = setting(1000, "URLs to try at most, redirects and failures included", ge=1)
    max_bytes: int = setting(10 << 20, "length at which a response is cut off", unit="bytes", ge=1024)
    concurrency: int = setting(4, "threads; they never change the output", ge=1, le=64)
    delay: float = setting(1.0, "pause between requests to a host, loopback excepted", unit="seconds", ge=0)
    timeout: float = setting(15.0, "wait for the next bytes; four times it for a page", unit="seconds", gt=0)
    retries: int = setting(2, "further tries where a host fails or is busy", ge=0)
    user_agent: str = setting("curate-fetch", "name given to hosts and looked up in robots.txt", min_length=1)
    prefix: str = setting("crawl", "file names begin with it: PREFIX-00000.warc.gz")
    file_bytes: int = setting(1 << 30, "size at which the next file is begun", unit="bytes", ge=1)

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not (name.isascii() and name.isprintable()):
            raise ValueError(f"must be printable ASCII on one line, found {name!r}")
        return name

    @field_validator("prefix")
    @classmethod
    def _file_name(cls, prefix: str) -> str:
        if not re.fullmatch(r"\w[\w.-]*", prefix):
            raise ValueError(f"must be letters, digits, '_', '.' or '-', found {prefix!r}")
        return prefix


@dataclass
class FetchSummary:
    """What has been done so far; a progress callback sees it after every page."""

    tried: int = 0  # URLs taken from the queue, each counted once however often it was asked for
    pages: int = 0  # answered with a status of 200 to 299
    redirects: int = 0
    truncated: int = 0  # recorded in part, because they were longer than max_bytes
    disallowed: int = 0  # not asked for, because the host's robots.txt forbids it
    bytes: int = 0  # of the responses as they travelled, headers included
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)  # URL and what happened, in the queue's order


class _Answer(NamedTuple):
    url: str
    ip: str
    date: str
    request: bytes
    response: bytes  # as it travelled
    head_bytes: int  # where its payload begins
    status: int
    location: str | None  # of a redirect
    retry_after: str
    body: bytes  # decoded, for the links in it
    is_html: bool
    truncated: bool


class _Host:
    """What must be remembered of a host between two requests."""

    def __init__(self, name: str | None) -> None:
        self.is_loopback = _is_loopback(name)
        self.lock = threading.Lock()
        self.next_at = 0.0  # on the monotonic clock
        self.robots: RobotFileParser | None = None
        self.failures = 0  # in a row


class _Task(NamedTuple):
    url: str
    redirects: int  # that led to it
    host: _Host
    future: "Future[_Answer]"


class _TooLong(HTTPException):
    """A response went past its limit."""


class _Disallowed(Exception):
    """The host's robots.txt forbids the page."""


Progress = Callable[[FetchSummary], None]


def fetch(
    settings: FetchSettings, seeds: Sequence[str], out: str | Path, progress: Progress | None = None
) -> FetchSummary:
    """Record what can be reached from `seeds` within the scope as `out`/PREFIX-*.warc.gz.

    A file gets its name when it is complete; an interruption completes the one at hand. ConfigError where a
    seed is no URL or `out` holds files of that prefix already, DataError where nothing at all could be
    fetched, CurateError where a file cannot be written.
    """
    addresses = []
    for seed in seeds:
        address = _address(seed)
        if address is None:
            raise ConfigError(f"{seed}: not a web address; write it like https://example.org/ (no user name)")
        addresses.append(address)
    if not addresses:
        raise ConfigError("no address to begin with; give at least one URL")
    crawl = _Crawl(settings, addresses, _Writer(Path(out), settings))
    try:
        crawl.run(progress)
    except OSError as error:
        raise CurateError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from error
    if not crawl.writer.files:
        url, what = (*crawl.summary.errors, (addresses[0], "robots.txt forbids it"))[0]
        raise DataError(f"nothing could be fetched: {url}: {what}; check the address and the network")
    return crawl.summary


class _Crawl:
    """The queue, and what is known of the hosts in it. Only `_fetch` and `_wait_turn` run in the threads."""

    def __init__(self, settings: FetchSettings, seeds: list[str], writer: "_Writer") -> None:
        self.settings = settings
        self.writer = writer
        self.summary = FetchSummary(files=writer.files)
        self.seeds = set(seeds)
        self.scope = {url: _folder(url) for url in seeds}
        if settings.scope:
            self.scope = {prefix: prefix for prefix in settings.scope}
        self.exclude = [re.compile(pattern) for pattern in settings.exclude]
        self.queue = deque((url, 0) for url in dict.fromkeys(seeds))
        self.seen = set(seeds)
        self.hosts: dict[str, _Host] = {}
        self.stop = threading.Event()

    def run(self, progress: Progress | None) -> None:
        """Keep the threads busy with the head of the queue, and take their answers in the queue's order."""
        began = time.monotonic()
        window: deque[_Task] = deque()
        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="fetch")
        try:
            while True:
                while self._may_begin() and len(window) < 4 * self.settings.concurrency:
                    window.append(self._begin(pool))
                if not window:
                    return
                self._finish(window.popleft())
                self.summary.seconds = time.monotonic() - began
                if progress:
                    progress(self.summary)
        finally:
            self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self.writer.close()

    def _may_begin(self) -> bool:
        return bool(self.queue) and self.summary.tried < self.settings.max_pages

    def _begin(self, pool: ThreadPoolExecutor) -> _Task:
        url, redirects = self.queue.popleft()
        self.summary.tried += 1
        parts = urlsplit(url)
        host = self.hosts.setdefault(f"{parts.scheme}://{parts.netloc}", _Host(parts.hostname))
        return _Task(url, redirects, host, pool.submit(self._fetch, url, host))

    def _finish(self, task: _Task) -> None:
        """Write one answer, or list its failure, and queue where it leads."""
        summary = self.summary
        try:
            answer = task.future.result()
        except _Disallowed:
            summary.disallowed += 1
            return
        except (OSError, HTTPException, ValueError) as error:
            task.host.failures += 1
            summary.errors.append((task.url, _words(error, self.settings)))
            return
        task.host.failures = 0
        self.writer.write(answer)
        summary.bytes += len(answer.response)
        summary.truncated += answer.truncated
        if answer.location is not None:
            summary.redirects += 1
            self._follow(answer, answer.location, task.redirects + 1)
        elif 200 <= answer.status < 300:
            summary.pages += 1
            for link in _links(answer):
                self._queue(link, 0)
        else:
            summary.errors.append((task.url, f"HTTP status {answer.status}"))

    def _follow(self, answer: _Answer, location: str, redirects: int) -> None:
        """Queue where a redirect leads. A seed's may leave the scope, and takes it along where none was set."""
        target = _address(location, answer.url)
        if target is None or redirects > MAX_REDIRECTS:
            why = "leads to no web address" if target is None else f"would be number {redirects} in a row"
            self.summary.errors.append((answer.url, f"its redirect {why}: {location[:100]!r}"))
            return
        inward = _is_loopback(urlsplit(target).hostname) and not _is_loopback(urlsplit(answer.url).hostname)
        if answer.url in self.seeds and not inward:  # the web has no business with what runs on this machine
            self.seeds.add(target)
            if not self.settings.scope:
                self.scope.pop(answer.url, None)
                self.scope[target] = _folder(target)
        self._queue(target, redirects)

    def _queue(self, url: str, redirects: int) -> None:
        if url in self.seen or not (url in self.seeds or any(map(url.startswith, self.scope.values()))):
            return
        self.seen.add(url)
        if not any(pattern.search(url) for pattern in self.exclude):
            self.queue.append((url, redirects))

    def _fetch(self, url: str, host: _Host) -> _Answer:
        """One page: wait for the host's turn, ask, and ask again where it fails or is busy."""
        pause = RETRY_SECONDS
        for tries_left in range(self.settings.retries, -1, -1):
            self._wait_turn(url, host)
            try:
                answer = _exchange(url, self.settings, self.settings.max_bytes)
                if answer.status not in BUSY:
                    break
                if answer.retry_after.isdecimal():
                    pause = max(pause, min(float(answer.retry_after), MAX_WAIT))
            except (OSError, HTTPException, ValueError):
                if not tries_left:
                    raise
            if tries_left:
                self.stop.wait(pause)
                pause *= 2
        return answer

    def _wait_turn(self, url: str, host: _Host) -> None:
        """Return when the host may be asked; _Disallowed where it may not be asked for this page."""
        if self.stop.is_set():
            raise ConnectionAbortedError("interrupted")
        if host.failures >= MAX_FAILURES:
            raise ConnectionAbortedError(f"not asked for: {MAX_FAILURES} pages in a row failed on this host")
        if host.is_loopback:
            return
        with host.lock:
            if host.robots is None:
                host.robots = _read_robots(url, self.settings)
            if not host.robots.can_fetch(self.settings.user_agent, url):
                raise _Disallowed
            asked = float(host.robots.crawl_delay(self.settings.user_agent) or 0)
            self.stop.wait(max(0.0, host.next_at - time.monotonic()))
            host.next_at = time.monotonic() + max(self.settings.delay, min(asked, MAX_WAIT))


def _read_robots(url: str, settings: FetchSettings) -> RobotFileParser:
    """The host's rules as RFC 9309 reads them: none where there is no file, all forbidden where it fails."""
    address, lines = urljoin(url, "/robots.txt"), []
    try:
        for _ in range(MAX_REDIRECTS):
            answer = _exchange(address, settings, MAX_ROBOTS)
            if answer.location is None:
                break
            address = _address(answer.location, address) or address
        if 200 <= answer.status < 300:
            lines = answer.body.decode("utf-8", "replace").splitlines()
        failed = answer.status >= 500
    except (OSError, HTTPException, ValueError):
        failed = True
    rules = RobotFileParser()
    rules.parse(["User-agent: *", "Disallow: /"] if failed else lines)
    return rules


class _Timed(io.RawIOBase):
    """The incoming bytes of a connection, with a limit on the whole page beside the one on each wait."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.connection = connection
        self.timeout = timeout
        self.deadline = time.monotonic() + PAGE_TIMEOUTS * timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(min(self.timeout, left))
        return self.connection.recv_into(buffer)


class _Wire(io.BufferedReader):
    """A connection that keeps a copy of all that is read from it; http.client takes it for its socket."""

    def __init__(self, raw: _Timed, limit_bytes: int) -> None:
        super().__init__(raw)
        self.recorded = bytearray()
        self.limit_bytes = limit_bytes

    def makefile(self, mode: str) -> "_Wire":
        return self

    def _keep(self, data: bytes) -> bytes:
        self.recorded += data
        if len(self.recorded) > self.limit_bytes:
            raise _TooLong(f"longer than {self.limit_bytes} bytes")
        return data

    def read(self, size: int | None = -1, /) -> bytes:
        return self._keep(super().read(size))

    def read1(self, size: int = -1, /) -> bytes:
        return self._keep(super().read1(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._keep(super().readline(size))


def _exchange(url: str, settings: FetchSettings, limit_bytes: int) -> _Answer:
    """Send one request and read its answer. OSError, HTTPException or ValueError where there is none."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: {settings.user_agent}\r\n"
        "Accept: text/html,*/*;q=0.5\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with _connect(url, settings.timeout) as connection:
        ip = str(connection.getpeername()[0])
        connection.sendall(request)
        wire = _Wire(_Timed(connection, settings.timeout), limit_bytes)
        answer = HTTPResponse(cast(socket.socket, wire), method="GET")
        answer.begin()
        head_bytes, body, truncated = len(wire.recorded), bytearray(), False
        try:
            while piece := answer.read(1 << 16):
                body += piece
            if answer.length:  # http.client itself is silent where a body ends early
                raise IncompleteRead(b"", answer.length)
        except _TooLong:
            truncated = True
    response = bytes(wire.recorded[:limit_bytes])
    while response[9:12] == b"100":  # an interim answer that nobody asked for is no part of this one
        interim_bytes = response.index(b"\r\n\r\n") + 4
        response, head_bytes = response[interim_bytes:], head_bytes - interim_bytes
    headers = answer.headers
    location = headers.get("Location") if 300 <= answer.status < 400 else None
    is_gzip = "gzip" in headers.get("Content-Encoding", "").lower()
    return _Answer(
        url, ip, date, request, response, head_bytes, answer.status,
        location=location and location.encode("latin-1", "replace").decode("utf-8", "replace"),
        retry_after=headers.get("Retry-After", ""),
        body=_gunzip(body, limit_bytes) if is_gzip else bytes(body),
        is_html=headers.get_content_type() in ("text/html", "application/xhtml+xml"),
        truncated=truncated,
    )  # fmt: skip


def _connect(url: str, timeout: float) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = socket.create_connection((parts.hostname or "", port), timeout)
    if parts.scheme == "http":
        return connection
    try:
        return _tls().wrap_socket(connection, server_hostname=parts.hostname)
    except BaseException:
        connection.close()
        raise


_tls = functools.cache(ssl.create_default_context)


def _gunzip(body: bytes | bytearray, limit_bytes: int) -> bytes:
    """The beginning of a compressed body; nothing where it is damaged."""
    try:
        return zlib.decompressobj(47).decompress(body, limit_bytes)
    except zlib.error:
        return b""


def _links(answer: _Answer) -> list[str]:
    """The addresses that a page links to or frames, in their order, each once."""
    if not answer.is_html:
        return []
    base = _BASE.search(answer.body)
    root = (_address(_attribute(base), answer.url) if base else None) or answer.url
    found = (_address(_attribute(match), root) for match in _LINK.finditer(answer.body))
    return list(dict.fromkeys(link for link in found if link))


def _attribute(match: re.Match[bytes]) -> str:
    return html.unescape(match[1].strip(b"\"'").decode("utf-8", "replace"))


def _address(link: str, base: str = "") -> str | None:
    """`link` as an absolute URL without fragment, safe in a header line; None where it is no web address."""
    try:
        parts = urlsplit(urljoin(base, link.strip()))
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or parts.username is not None:
        return None
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{port}"
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~[]") or "/"
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~[]?") if parts.query else ""
    url = f"{parts.scheme}://{netloc}{path}{query}"
    return url if len(url) <= MAX_URL else None


def _folder(url: str) -> str:
    path = url.partition("?")[0]
    return path[: path.rindex("/") + 1]


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _words(error: Exception, settings: FetchSettings) -> str:
    """A failure in words that need no knowledge of sockets."""
    if isinstance(error, TimeoutError):
        whole = PAGE_TIMEOUTS * settings.timeout
        return f"no bytes for {settings.timeout:g} s, or no whole page within {whole:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, IncompleteRead):
        return "the connection ended before the page did"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Writer:
    """WARC/1.1 files of request and response records, a gzip member each, cut at a size."""

    def __init__(self, out: Path, settings: FetchSettings) -> None:
        self.out = out
        self.settings = settings
        self.files: list[Path] = []
        self.count = 0  # pages written
        self.file: io.FileIO | None = None
        self.info_id = ""
        old = min(out.glob(f"{settings.prefix}-*.warc.gz"), default=None)
        if old is not None:
            raise ConfigError(f"{old}: stands here already; remove it, or give another folder or prefix")

    def write(self, answer: _Answer) -> None:
        """Append the two records of a page; OSError where the disk refuses."""
        self.count += 1
        if self.file is None:
            self._open(answer.date)
        ids = [_record_id(kind, self.count, answer.url) for kind in ("request", "response")]
        common = {
            "WARC-Date": answer.date, "WARC-Target-URI": answer.url, "WARC-IP-Address": answer.ip,
            "WARC-Warcinfo-ID": self.info_id,
        }  # fmt: skip
        request = {"WARC-Type": "request", "WARC-Record-ID": ids[0], "WARC-Concurrent-To": ids[1]}
        response = {"WARC-Type": "response", "WARC-Record-ID": ids[1], "WARC-Concurrent-To": ids[0]}
        response["WARC-Payload-Digest"] = _digest(answer.response[answer.head_bytes :])
        if answer.truncated:
            response["WARC-Truncated"] = "length"
        self._append(
            _record(request | common, "application/http; msgtype=request", answer.request)
            + _record(response | common, "application/http; msgtype=response", answer.response)
        )

    def _open(self, date: str) -> None:
        name = f"{self.settings.prefix}-{len(self.files):05}.warc.gz"
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = io.FileIO(self.out / f"{name}.part", "w")
        self.files.append(self.out / name)
        self.info_id = _record_id("warcinfo", self.count, name)
        head = {"WARC-Type": "warcinfo", "WARC-Record-ID": self.info_id}
        head |= {"WARC-Date": date, "WARC-Filename": name}
        body = {"software": "curate fetch", "format": "WARC File Format 1.1"}
        body["http-header-user-agent"] = self.settings.user_agent
        self._append(_record(head, "application/warc-fields", _fields(body)))

    def _append(self, records: bytes) -> None:
        """All of `records` or, where the disk is full or the user interrupts, nothing."""
        assert self.file is not None
        whole_bytes, rest = self.file.tell(), memoryview(records)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except BaseException:
            self.file.truncate(whole_bytes)
            raise
        if self.file.tell() >= self.settings.file_bytes:
            self.close()

    def close(self) -> None:
        """Complete the file at hand, which gives it its name."""
        if self.file is not None:
            self.file.close()
            self.file = None
            self.files[-1].with_name(f"{self.files[-1].name}.part").replace(self.files[-1])


def _record(head: dict[str, str], content_type: str, block: bytes) -> bytes:
    head = {**head, "WARC-Block-Digest": _digest(block), "Content-Type": content_type}
    head["Content-Length"] = str(len(block))
    return gzip.compress(b"WARC/1.1\r\n" + _fields(head) + b"\r\n" + block + b"\r\n\r\n", 6, mtime=0)


def _fields(fields: dict[str, str]) -> bytes:
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def _record_id(kind: str, order: int, name: str) -> str:
    """The same crawl of the same pages gives the same identities, which documents are known by."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {order} {name}')}>"
