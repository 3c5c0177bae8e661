"""One request and its answer over HTTP or HTTPS, recorded byte for byte as they travelled.

A host is resolved here, and only public addresses are connected to unless the caller says otherwise: a page of the web
must not make the crawler ask what runs on this machine or in its network (server-side request forgery). The address is
checked, not the name, which may resolve to anything.
"""

import functools
import io
import ipaddress
import socket
import ssl
import time
import zlib
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from curate.fetch.settings import FetchSettings

PAGE_TIMEOUTS = 4  # a whole page may take as many times the timeout

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
    location: str | None  # of a redirect
    retry_after: str
    body: bytes  # decoded, for the links in it
    is_html: bool
    truncated: bool


class PrivateAddressError(OSError):
    """A host has no public address, and no other may be connected to."""


class _TooLong(HTTPException):
    """A response went past its limit."""


class _Timed(io.RawIOBase):
    """The incoming bytes of a connection; each wait for them is limited, and so is the time for the whole page."""

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


def exchange(url: str, settings: FetchSettings, limit_bytes: int, private: bool) -> Answer:
    """Send one request and read its answer, of which limit_bytes are kept.

    OSError, HTTPException or ValueError where there is none; PrivateAddressError where the host has no public address,
    unless `private` allows others.
    """
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: {settings.user_agent}\r\n"
        "Accept: text/html,*/*;q=0.5\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # Encodings are limited to gzip: every reader of WARC files can undo it.
    with _connect(url, settings.timeout, private) as connection:
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
    # The record is what travelled, so it may end in the middle of a chunk or of a compressed body.
    response = bytes(wire.recorded[:limit_bytes])
    while response[9:12] == b"100":  # an interim answer that nobody asked for is no part of this one
        interim_bytes = response.index(b"\r\n\r\n") + 4
        response, head_bytes = response[interim_bytes:], head_bytes - interim_bytes
    headers = answer.headers
    location = headers.get("Location") if 300 <= answer.status < 400 else None
    is_gzip = "gzip" in headers.get("Content-Encoding", "").lower()
    return Answer(
        url, ip, date, request, response, head_bytes, answer.status,
        location=location and location.encode("latin-1", "replace").decode("utf-8", "replace"),
        retry_after=headers.get("Retry-After", ""),
        body=_gunzip(body, limit_bytes) if is_gzip else bytes(body),
        is_html=headers.get_content_type() in ("text/html", "application/xhtml+xml"),
        truncated=truncated,
    )  # fmt: skip


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


def words(error: Exception, settings: FetchSettings) -> str:
    """A failure in words that need no knowledge of sockets."""
    if isinstance(error, TimeoutError):
        whole = PAGE_TIMEOUTS * settings.timeout
        return f"no bytes for {settings.timeout:g} s, or no whole page within {whole:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(error, IncompleteRead):
        return "the connection ended before the page did"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
