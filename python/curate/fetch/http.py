"""One request and its answer over HTTP or HTTPS, recorded byte for byte as they travelled.

A host is resolved here, and only public addresses are connected to unless the caller says otherwise: a page of the web
must not make the crawler ask what runs on this machine or in its network (server-side request forgery). The address is
checked, not the name, which may resolve to anything.
"""

import contextlib
import functools
import io
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from curate.fetch.links import absolute
from curate.fetch.settings import AccessSettings

PAGE_TIMEOUTS = 4  # a whole page, or a piece of a file, may take as many times the timeout
PIECE_BYTES = 1 << 20  # of a file that is streamed
RETRY_SECONDS = 1.0  # before the first further try, doubled for each next
MAX_PAUSE = 60.0  # seconds between two tries where the server asks for none
BUSY = (429, 500, 502, 503, 504)  # statuses that are worth a further try
MAX_REDIRECTS = 10  # in a row
# Encodings are limited to gzip: every reader of WARC files can undo it.
PAGE = {"Accept": "text/html,*/*;q=0.5", "Accept-Encoding": "gzip"}
BYTES = {"Accept": "*/*", "Accept-Encoding": "identity"}  # headers of a request for a file as it lies there
FAILURES = (OSError, HTTPException, ValueError)  # what a request raises where it has no answer

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv6 addresses that hold an IPv4 address in their last 32 bits


class Answer(NamedTuple):
    """A page as it was asked for and as it came, and what the crawl needs to know of it."""

    url: str
    ip: str
    date: str
    request: bytes
    response: bytes  # as it travelled
    head_bytes: int  # where its payload begins
    status: int
    headers: HTTPMessage
    body: bytes  # decoded, for the links in it
    truncated: bool

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as the header has it."""
        location = self.headers.get("Location") if 300 <= self.status < 400 else None
        return location and location.encode("latin-1", "replace").decode("utf-8", "replace")

    @property
    def is_html(self) -> bool:
        """Whether it says so."""
        return self.headers.get_content_type() in ("text/html", "application/xhtml+xml")


class PrivateAddressError(OSError):
    """A host has no public address, and no other may be connected to."""


class StoppedError(OSError):
    """The fetch ends; no further request is made."""


class RedirectError(HTTPException):
    """A redirect leads nowhere, or never ends."""


HOPELESS = (PrivateAddressError, StoppedError, RedirectError, ssl.SSLCertVerificationError)  # no try mends these


class _TooLong(HTTPException):
    """A response went past its limit."""


class _Timed(io.RawIOBase):
    """The incoming bytes of a connection; each wait for them is limited, and so is the time until the deadline."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.connection = connection
        self.timeout = timeout
        self.renew()

    def renew(self) -> None:
        """Set the deadline, by which a page or a piece of a file must be here."""
        self.deadline = time.monotonic() + PAGE_TIMEOUTS * self.timeout

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

    def __init__(self, raw: Any, limit_bytes: int) -> None:
        super().__init__(raw)
        self.recorded = bytearray()
        self.limit_bytes = limit_bytes

    def makefile(self, mode: str) -> "_Wire":
        """What HTTPResponse calls on its socket to read from it."""
        return self

    def _keep(self, data: bytes) -> bytes:
        """Copy what was read; _TooLong once there is more than the limit."""
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


class _Passing(io.BufferedReader):
    """A connection of which nothing is kept; http.client takes it for its socket."""

    def makefile(self, mode: str) -> "_Passing":
        """What HTTPResponse calls on its socket to read from it."""
        return self


class Stream(NamedTuple):
    """An answer whose body is read piece by piece."""

    answer: HTTPResponse
    timed: _Timed

    def read(self) -> bytes:
        """The next PIECE_BYTES, fewer at the end, none after it; TimeoutError where they come too slowly."""
        self.timed.renew()
        return self.answer.read(PIECE_BYTES)


def exchange(
    url: str, settings: AccessSettings, limit_bytes: int, private: bool, headers: Mapping[str, str] = PAGE
) -> Answer:
    """Send one request and read its answer, of which limit_bytes are kept.

    OSError, HTTPException or ValueError where there is none; PrivateAddressError where the host has no public address,
    unless `private` allows others.
    """
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    request = _request(url, settings, headers)
    with _connect(url, settings.timeout, private) as connection:
        connection.sendall(request)
        wire = _Wire(_Timed(connection, settings.timeout), limit_bytes)
        return _read(wire, url, str(connection.getpeername()[0]), date, request, limit_bytes)


def replayed(url: str, ip: str, date: str, response: bytes, limit_bytes: int) -> Answer:
    """The answer that was recorded as `response`, limit_bytes of which were kept then; ValueError or HTTPException
    where it is none."""
    return _read(_Wire(io.BytesIO(response), len(response)), url, ip, date, b"", limit_bytes, cut=True)


def settled(
    url: str, settings: AccessSettings, limit_bytes: int, private: bool, headers: Mapping[str, str] = PAGE
) -> Answer:
    """As exchange, with redirects followed; HTTPException after MAX_REDIRECTS. Public hosts lead to public ones."""
    for _ in range(MAX_REDIRECTS + 1):
        answer = exchange(url, settings, limit_bytes, private, headers)
        if answer.location is None:
            return answer
        url, private = _next(answer.location, url, answer.ip, private)
    raise RedirectError(f"more than {MAX_REDIRECTS} redirects in a row, the last to {url}")


@contextlib.contextmanager
def streamed(url: str, settings: AccessSettings, private: bool, headers: Mapping[str, str]) -> Iterator[Stream]:
    """As settled, with a body that is read while the context lasts, and is of any length."""
    for _ in range(MAX_REDIRECTS + 1):
        with _connect(url, settings.timeout, private) as connection:
            connection.sendall(_request(url, settings, headers))
            timed = _Timed(connection, settings.timeout)
            answer = HTTPResponse(cast(socket.socket, _Passing(timed, 1 << 16)), method="GET")
            answer.begin()
            ip, location = str(connection.getpeername()[0]), answer.headers.get("Location")
            if not 300 <= answer.status < 400 or location is None:
                yield Stream(answer, timed)
                return
        url, private = _next(location, url, ip, private)
    raise RedirectError(f"more than {MAX_REDIRECTS} redirects in a row, the last to {url}")


def persistent(
    ask: Callable[[], Answer], settings: AccessSettings, stop: threading.Event, busy: Container[int] = BUSY
) -> Answer:
    """What `ask` gives, asked again with growing pauses where it fails or the server is busy.

    The last answer, or the last failure, where all tries end so; StoppedError once `stop` is set.
    """
    pause = RETRY_SECONDS
    for tries_left in range(settings.retries, -1, -1):
        wait = pause
        try:
            answer = ask()
            if answer.status not in busy or not tries_left:
                return answer
            wait = max(pause, retry_after(answer.headers, settings))
        except FAILURES as error:
            if not tries_left or isinstance(error, HOPELESS):
                raise
        rest(stop, wait)
        pause = min(2 * pause, MAX_PAUSE)
    raise AssertionError("unreachable: the last try returns or raises")


def rest(stop: threading.Event, seconds: float) -> None:
    """Wait; StoppedError once `stop` is set."""
    if stop.wait(seconds):
        raise StoppedError("stopped")


def retry_after(headers: HTTPMessage, settings: AccessSettings) -> float:
    """Seconds that a busy server asks to wait, at most max_delay; 0 where it does not say."""
    text = headers.get("Retry-After", "").strip()
    try:
        asked = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(asked, settings.max_delay))


def _next(location: str, url: str, ip: str, private: bool) -> tuple[str, bool]:
    """Where a redirect of `url`, which was answered from `ip`, leads, and whether that host may be private."""
    target = absolute(location, url)
    if target is None:
        raise RedirectError(f"its redirect leads to no web address: {location[:100]!r}")
    return target, private and not is_public(ip)


def _request(url: str, settings: AccessSettings, headers: Mapping[str, str]) -> bytes:
    """The request as it is sent."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", f"User-Agent: {settings.user_agent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("ascii")


def _read(wire: _Wire, url: str, ip: str, date: str, request: bytes, limit_bytes: int, cut: bool = False) -> Answer:
    """The answer on the wire, of whose decoded body limit_bytes are kept.

    With `cut`, one that ends early is taken as far as it is there.
    """
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
    except IncompleteRead:
        if not cut:
            raise
        truncated = True
    # The record is what travelled, so it may end in the middle of a chunk or of a compressed body.
    response = bytes(wire.recorded[: wire.limit_bytes])
    while response[9:12] == b"100":  # an interim answer that nobody asked for is no part of this one
        interim_bytes = response.index(b"\r\n\r\n") + 4
        response, head_bytes = response[interim_bytes:], head_bytes - interim_bytes
    if "gzip" in answer.headers.get("Content-Encoding", "").lower():
        body = bytearray(_gunzip(body, limit_bytes))
    return Answer(url, ip, date, request, response, head_bytes, answer.status, answer.headers, bytes(body), truncated)


def _connect(url: str, timeout: float, private: bool) -> socket.socket:
    """A connection to the first address of the host that may be asked and answers."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not private and not is_public(str(address[0])):
            failure = PrivateAddressError(
                f"not asked for: {address[0]} is no public address; --allow-private asks such hosts, if the URL is "
                "given or a page of theirs links to it"
            )
            continue
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
            return connection if parts.scheme == "http" else _tls().wrap_socket(connection, server_hostname=host)
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure


# Certificates are verified against the system's; loading these takes 60 ms, so once for all connections.
_tls = functools.cache(ssl.create_default_context)


def _gunzip(body: bytes | bytearray, limit_bytes: int) -> bytes:
    """The first limit_bytes of a compressed body, decompressed; nothing where it is damaged."""
    try:
        return zlib.decompressobj(47).decompress(body, limit_bytes)
    except zlib.error:
        return b""


def is_loopback(host: str | None) -> bool:
    """Whether a host is written as this machine; a name that merely resolves to it is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_public(host: str) -> bool:
    """Whether a numeric address is one of the public internet, and holds none that is not."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


def words(error: BaseException, settings: AccessSettings) -> str:
    """A failure in words that need no knowledge of sockets."""
    if isinstance(error, TimeoutError):
        whole = PAGE_TIMEOUTS * settings.timeout
        return f"no bytes for {settings.timeout:g} s, or no whole page or MiB within {whole:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, IncompleteRead):
        return "the connection ended before the answer did"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
