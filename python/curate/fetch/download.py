"""Whole files over HTTP, in pieces: a download that was cut goes on where it stopped.

What the server said of a file (length, ETag) stands in OUT/.fetch.json from the first piece on. A part is continued by
a range request only while the server still has that very file (If-Range); otherwise it is begun anew. A file gets its
name when it has the length that was announced.
"""

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPException, IncompleteRead
from pathlib import Path

from curate.errors import ConfigError, CurateError
from curate.fetch import http
from curate.fetch.archive import PART
from curate.fetch.http import BYTES, FAILURES, HOPELESS, StoppedError, Stream, rest, retry_after, streamed
from curate.fetch.settings import CommonCrawlSettings

LEDGER = ".fetch.json"  # hidden, since it is no data
REFUSED = (*http.BUSY, 403)  # how Common Crawl answers who asks too often

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)  # Content-Range: from, to, length of the file


class StatusError(HTTPException):
    """An answer that no further try would change."""


class BusyError(HTTPException):
    """The server asks to come again after `wait` seconds."""

    def __init__(self, status: int, wait: float) -> None:
        super().__init__(f"HTTP status {status}")
        self.wait = wait


@dataclass(frozen=True)
class FileEntry:
    """A file as the server announced it."""

    url: str
    bytes: int  # its length
    etag: str
    validator: str  # its strong ETag, else its time of modification: what If-Range takes; "" where it has none


class Ledger:
    """The entries of a folder, by file name; any thread may use it."""

    def __init__(self, out: Path) -> None:
        self.path = out / LEDGER
        self.lock = threading.Lock()
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.entries = {name: FileEntry(**entry) for name, entry in found["files"].items()}
        except FileNotFoundError:
            self.entries = {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error}); remove it, and files are fetched again"
            ) from None

    def put(self, name: str, entry: FileEntry) -> None:
        """Set an entry, and write all of them."""
        with self.lock:
            self.entries[name] = entry
            text = json.dumps({"files": {key: asdict(one) for key, one in sorted(self.entries.items())}}, indent=1)
            new = self.path.with_name(f"{LEDGER}.new")
            with _on_disk(self.path):
                new.write_text(text + "\n", encoding="utf-8")
                new.replace(self.path)


class Download:
    """One file on its way from `url` to `path`."""

    def __init__(
        self, url: str, path: Path, settings: CommonCrawlSettings, ledger: Ledger, stop: threading.Event,
        arrived: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.url, self.path, self.settings, self.ledger, self.stop = url, path, settings, ledger, stop
        self.arrived = arrived  # told the bytes of each piece
        self.part = path.with_name(f"{path.name}{PART}")

    def is_here(self) -> bool:
        """Whether the file is whole already; ConfigError where one of its name is another."""
        if not self.path.exists():
            return False
        entry, size = self.ledger.entries.get(self.path.name), self.path.stat().st_size
        if entry is not None and (entry.url, entry.bytes) == (self.url, size):
            return True
        raise ConfigError(
            f"{self.path}: is not the file that was fetched from {self.url}; remove it, or give another folder"
        )

    def run(self) -> None:
        """Fetch it, again and again while that brings it further. One of FAILURES where it does not."""
        tries_left, pause = self.settings.retries, http.RETRY_SECONDS
        while True:
            before = self._there()
            try:
                return self._try()
            except FAILURES as error:
                if isinstance(error, (*HOPELESS, StatusError)):
                    raise
                if self._there() - before >= http.PIECE_BYTES:
                    tries_left, pause = self.settings.retries, http.RETRY_SECONDS
                if not tries_left:
                    raise
                tries_left -= 1
                rest(self.stop, max(pause, error.wait if isinstance(error, BusyError) else 0))
                pause = min(2 * pause, http.MAX_PAUSE)

    def _there(self) -> int:
        """Bytes of the part that can be continued."""
        entry = self.ledger.entries.get(self.path.name)
        if entry is None or not entry.validator or entry.url != self.url:
            return 0
        with contextlib.suppress(FileNotFoundError):
            return self.part.stat().st_size
        return 0

    def _try(self) -> None:
        """One request for what is missing. One of FAILURES where the file is not whole then."""
        start, headers = self._there(), dict(BYTES)
        entry = self.ledger.entries.get(self.path.name)
        if start and entry:
            if start == entry.bytes:
                return self._finish()
            headers |= {"Range": f"bytes={start}-", "If-Range": entry.validator}
        with streamed(self.url, self.settings, self.settings.allow_private, headers) as stream:
            status = stream.answer.status
            if status in REFUSED:
                raise BusyError(status, retry_after(stream.answer.headers, self.settings))
            if status not in (200, 206):
                raise StatusError(f"HTTP status {status}")
            announced = self._announced(stream, start)
            if status == 206 and (entry is None or (announced.bytes, announced.etag) != (entry.bytes, entry.etag)):
                self.part.unlink(missing_ok=True)
                raise HTTPException("the file has changed on the server")
            self.ledger.put(self.path.name, announced)
            self._receive(stream, start if status == 206 else 0, announced)
        self._finish()

    def _announced(self, stream: Stream, start: int) -> FileEntry:
        """What the server says of the file; StatusError where it says too little or gives other bytes of it."""
        answer, length = stream.answer, stream.answer.length
        if answer.status == 206:
            given = answer.headers.get("Content-Range", "")
            found = _RANGE.fullmatch(given)
            if not found or int(found[1]) != start:
                raise StatusError(f"other bytes than those from {start} on: {given[:100]!r}")
            length = int(found[2])
        if length is None:
            raise StatusError("the server does not say how long the file is")
        if length > self.settings.max_file_bytes:
            raise StatusError(f"{length:,} bytes long, more than --max-file-bytes {self.settings.max_file_bytes:,}")
        etag = answer.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
        return FileEntry(self.url, length, etag, validator)

    def _receive(self, stream: Stream, start: int, entry: FileEntry) -> None:
        """Append the body to the part, from `start` on. IncompleteRead where it ends early."""
        with _on_disk(self.part):
            file = self.part.open("r+b" if start else "wb", buffering=0)
        with file:
            with _on_disk(self.part):
                file.truncate(file.seek(start))
            while piece := stream.read():
                if self.stop.is_set():
                    raise StoppedError("stopped")
                with _on_disk(self.part):
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view) :]
                self.arrived(len(piece))
            if file.tell() != entry.bytes:
                raise IncompleteRead(b"", entry.bytes - file.tell())
            with _on_disk(self.part):
                os.fsync(file.fileno())

    def _finish(self) -> None:
        """Give the file its name, since it is whole."""
        with _on_disk(self.path):
            self.part.replace(self.path)


@contextlib.contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Tells a failure of the disk, which ends the fetch, from one of the network, which is tried again."""
    try:
        yield
    except OSError as error:
        raise CurateError(f"{path}: cannot be written: {error.strerror or error}") from error
