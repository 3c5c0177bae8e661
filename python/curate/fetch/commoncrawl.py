"""Common Crawl: whole files of a crawl, or single records that its index names.

A crawl lists its files in crawl-data/<CRAWL>/<kind>.paths.gz. Its index answers a URL pattern with JSON lines, page by
page: where each capture lies (file, offset, length) and the digest of its payload. A record is one gzip member, fetched
by a range request, checked against what the index says, and appended to a WARC file byte for byte.

Both ways keep the order of the list or of the index, whatever the number of requests at a time, and continue where an
earlier call stopped.
"""

import json
import posixpath
import re
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from curate.errors import ConfigError, CurateError, DataError
from curate.fetch.archive import GZIP, header, read_archive
from curate.fetch.download import REFUSED, Download, Ledger
from curate.fetch.http import BYTES, FAILURES, Answer, persistent, settled, words
from curate.fetch.settings import CommonCrawlSettings
from curate.fetch.summary import FetchSummary
from curate.fetch.warcfile import WarcFiles, sha1

MAX_LIST = 64 << 20  # bytes of a list of files, or of a page of the index, as they are before compression
MAX_RECORD = 64 << 20  # bytes of a record before compression
HEAD_BYTES = 64 << 10  # of an HTTP header

# Reasons in FetchSummary.not_fetched.
BEYOND = "records beyond --max-records"
FILES_BEYOND = "files of the list beyond --files"
SKIPPED = "files of the list passed over by --skip"
PAGES_BEYOND = "pages of the index beyond --max-records"
UNREADABLE = "lines of the index that name no record"
TOO_LONG = "records longer than --max-bytes"

_PATH = re.compile(r"[A-Za-z0-9_][\w.=-]*(/[A-Za-z0-9_][\w.=-]*)*", re.ASCII)

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[FetchSummary], None]


class Capture(NamedTuple):
    """A line of the index."""

    url: str
    timestamp: str  # 14 digits, UTC
    digest: str  # of the payload, SHA-1 in base32
    filename: str
    offset: int
    length: int


class RecordError(ValueError):
    """The bytes are not the record that the index names."""


def fetch_common_crawl(
    settings: CommonCrawlSettings, out: str | Path, progress: Progress | None = None
) -> FetchSummary:
    """Take the files, or with `url` the records, that the settings ask for into the folder `out`.

    What could not be taken is in the summary's errors; the same call again goes on with it. ConfigError where the crawl
    has no such list or the settings contradict each other, DataError where the list or the index cannot be had,
    CurateError where a file cannot be written.
    """
    if settings.url and settings.kind != "warc":
        raise ConfigError(f"kind: the index names records of warc files only, found {settings.kind!r} beside url")
    if not settings.url and settings.index_filter:
        raise ConfigError("index_filter: has a meaning only beside url; whole files are not looked up in the index")
    taking = _Taking(settings, Path(out), progress)
    try:
        if settings.url:
            taking.records()
        else:
            taking.whole_files()
    except OSError as error:
        raise CurateError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from error
    return taking.summary


class _Taking:
    """One call. Only `_record` and downloads run in the threads."""

    def __init__(self, settings: CommonCrawlSettings, out: Path, progress: Progress | None) -> None:
        self.settings, self.out, self.progress = settings, out, progress
        self.summary = FetchSummary()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.began = monotonic()

    def _arrived(self, count: int) -> None:
        """Count bytes, in any thread, and show it."""
        with self.lock:
            self.summary.bytes += count
            self.summary.seconds = monotonic() - self.began
            if self.progress:
                self.progress(self.summary)

    def _ordered(self, work: Iterable[T], do: Callable[[T], R]) -> "Iterator[tuple[T, Future[R]]]":
        """Each item with what `do` gives or raises for it, some at a time, in their order."""
        window: deque[tuple[T, Future[R]]] = deque()
        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="fetch")
        try:
            for item in work:
                window.append((item, pool.submit(do, item)))
                if len(window) >= 4 * self.settings.concurrency:
                    yield window.popleft()
            yield from window
        finally:
            # After an error or Ctrl-C threads end at their next wait or piece.
            self.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    # -- whole files -------------------------------------------------------------------------------------------

    def whole_files(self) -> None:
        """Download the files of the list that are asked for."""
        settings, summary = self.settings, self.summary
        paths = self._list()
        wanted = paths[settings.skip : settings.skip + settings.files]
        if not wanted:
            raise ConfigError(f"skip: {settings.skip} of {len(paths)} files of the list leaves none; give less")
        summary.not_fetched[SKIPPED] += min(settings.skip, len(paths))
        summary.not_fetched[FILES_BEYOND] += len(paths) - min(len(paths), settings.skip + settings.files)
        if len({posixpath.basename(path) for path in wanted}) < len(wanted):
            raise DataError(f"the {settings.kind} files of {settings.common_crawl}: two have the same name; take fewer")
        self.out.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(self.out)
        work = [
            Download(_url(settings.data_base, path), self.out / posixpath.basename(path), settings, ledger, self.stop,
                     self._arrived)
            for path in wanted
        ]  # fmt: skip
        here = {download.path for download in work if download.is_here()}

        def run(download: Download) -> None:
            if download.path not in here:
                download.run()

        for download, done in self._ordered(work, run):
            summary.tried += 1
            summary.known += download.path in here
            try:
                done.result()
                summary.pages += 1
                summary.files.append(download.path)
            except FAILURES as error:
                summary.errors.append((download.url, words(error, settings)))

    def _list(self) -> list[str]:
        """The paths of the crawl's files of the kind, below the base address."""
        crawl, kind = self.settings.common_crawl, self.settings.kind
        url = _url(self.settings.data_base, f"crawl-data/{crawl}/{kind}.paths.gz")
        answer = self._answered(url, MAX_LIST)
        if answer.status == 404:
            raise ConfigError(f"common_crawl: {crawl} has no {kind} files at {url}; check the name of the crawl")
        try:
            text = _inflated(answer.body, MAX_LIST) if answer.body[:2] == b"\x1f\x8b" else answer.body
            paths = text.decode("ascii").split()
        except (zlib.error, ValueError) as error:
            raise DataError(f"{url}: is no list of files: {error}") from None
        bad = next((path for path in paths if not _PATH.fullmatch(path)), None)
        if bad is not None or not paths:
            raise DataError(f"{url}: is no list of files: {bad[:100]!r}" if bad else f"{url}: names no file")
        return paths

    # -- records -----------------------------------------------------------------------------------------------

    def records(self) -> None:
        """Take the records that the index has for the patterns, but those that are here already."""
        settings, summary = self.settings, self.summary
        there = read_archive(self.out, settings.prefix)
        here = {(place.url, _digits(place.date), place.digest.removeprefix("sha1:")) for place in there.records}
        writer = WarcFiles(self.out, settings, there)
        summary.files = writer.files

        def record(capture: Capture) -> bytes | None:
            known = (capture.url, capture.timestamp, capture.digest) in here
            return None if known else self._record(capture)

        try:
            for capture, done in self._ordered(self._captures(), record):
                summary.tried += 1
                try:
                    member = done.result()
                except FAILURES as error:
                    what = f"{capture.filename} at {capture.offset}: {words(error, settings)}"
                    summary.errors.append((capture.url, what))
                    continue
                summary.pages += 1
                if member is None:
                    summary.known += 1
                else:
                    writer.take(member)
                    self._arrived(len(member))
        finally:
            writer.close()

    def _captures(self) -> Iterator[Capture]:
        """What the index has for all patterns, each record once, up to max_records."""
        settings, summary = self.settings, self.summary
        seen: set[tuple[str, int]] = set()
        for pattern in settings.url:
            pages = self._pages(pattern)
            if not pages:
                summary.errors.append((pattern, f"the index of {settings.common_crawl} has no record of it"))
            for page in range(pages):
                if len(seen) >= settings.max_records:
                    summary.not_fetched[PAGES_BEYOND] += pages - page
                    break
                for capture in self._page(pattern, page):
                    place = (capture.filename, capture.offset)
                    if place in seen:
                        continue
                    if capture.length > settings.max_bytes:
                        summary.not_fetched[TOO_LONG] += 1
                    elif len(seen) >= settings.max_records:
                        summary.not_fetched[BEYOND] += 1
                    else:
                        seen.add(place)
                        yield capture

    def _pages(self, pattern: str) -> int:
        """How many pages the index has for a pattern; 0 where it knows nothing."""
        answer = self._asked(pattern, showNumPages="true")
        try:
            pages = 0 if answer is None else json.loads(answer.body)["pages"]
            if not isinstance(pages, int) or pages < 0:
                raise ValueError(f"{pages!r} pages")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{self.settings.index_base}: no answer of an index for {pattern}: {error}") from None
        return pages

    def _page(self, pattern: str, page: int) -> Iterator[Capture]:
        """The captures on a page; lines that are none are counted."""
        answer = self._asked(pattern, page=str(page))
        for line in answer.body.splitlines() if answer else ():
            capture = _capture(line)
            if capture is None:
                self.summary.not_fetched[UNREADABLE] += 1
            else:
                yield capture

    def _asked(self, pattern: str, **more: str) -> Answer | None:
        """An answer of the index; None where it knows nothing of the pattern."""
        crawl = self.settings.common_crawl
        query = [("url", pattern), ("output", "json"), *more.items()]
        query += [("filter", condition) for condition in self.settings.index_filter]
        answer = self._answered(f"{self.settings.index_base}/{crawl}-index?{urlencode(query)}", MAX_LIST)
        if answer.status == 404:
            if b"No Captures found" in answer.body:
                return None
            raise ConfigError(f"common_crawl: {crawl} has no index at {answer.url}; check the name of the crawl")
        return answer

    def _answered(self, url: str, limit_bytes: int) -> Answer:
        """The whole answer, of status 200 or 404; DataError where there is none."""
        settings = self.settings

        def ask() -> Answer:
            return settled(url, settings, limit_bytes, settings.allow_private, BYTES)

        try:
            answer = persistent(ask, settings, self.stop, REFUSED)
        except FAILURES as error:
            raise DataError(f"{url}: {words(error, settings)}; check the address and the network") from None
        if answer.truncated:
            raise DataError(f"{url}: longer than {limit_bytes:,} bytes, which no list or page of an index is")
        if answer.status not in (200, 404):
            what = answer.body[:200].decode("utf-8", "replace").strip()
            raise DataError(
                f"{url}: HTTP status {answer.status}{f': {what}' if what else ''}; the same command tries it again"
            )
        return answer

    def _record(self, capture: Capture) -> bytes:
        """The gzip member of a record; RecordError where it is not what the index names."""
        settings, url = self.settings, _url(self.settings.data_base, capture.filename)
        asked = {**BYTES, "Range": f"bytes={capture.offset}-{capture.offset + capture.length - 1}"}

        def ask() -> Answer:
            return settled(url, settings, HEAD_BYTES + capture.length, settings.allow_private, asked)

        answer = persistent(ask, settings, self.stop, REFUSED)
        if answer.status != 206:
            what = "the server ignores ranges" if answer.status == 200 else f"HTTP status {answer.status}"
            raise HTTPException(what)
        check_record(answer.body, capture)
        return answer.body


def check_record(member: bytes, capture: Capture) -> None:
    """RecordError unless the bytes are one whole gzip member that holds just the record of the capture."""
    if len(member) != capture.length:
        raise RecordError(f"{len(member):,} bytes, of which the index says {capture.length:,}")
    try:
        record = _inflated(member, MAX_RECORD)
    except (zlib.error, ValueError) as error:
        raise RecordError(f"no whole gzip member: {error}") from None
    head, _, rest = record.partition(b"\r\n\r\n")
    fields = header(head)
    length = fields.get("content-length", "")
    if not head.startswith(b"WARC/") or not length.isdecimal() or rest[int(length) :] != b"\r\n\r\n":
        raise RecordError("no whole WARC record")
    if fields.get("warc-target-uri", "").strip("<>") != capture.url:
        raise RecordError(f"a record of another URL: {fields.get('warc-target-uri', '')[:200]!r}")
    block = rest[: int(length)]
    _compare("block", fields.get("warc-block-digest", ""), block)
    if fields.get("warc-type") != "revisit":  # whose digest is that of a payload elsewhere
        payload = block.partition(b"\r\n\r\n")[2] if block.startswith(b"HTTP/") else block
        _compare("payload", fields.get("warc-payload-digest", ""), payload)
        _compare("payload", f"sha1:{capture.digest}", payload)


def _compare(what: str, digest: str, data: bytes) -> None:
    """RecordError where a SHA-1 digest is not that of the data; others are not checked."""
    name, _, value = digest.partition(":")
    if name.lower() == "sha1" and len(value) == 32 and value.upper() != (found := sha1(data)):
        raise RecordError(f"its {what} has the digest {found}, not {value}")


def _inflated(data: bytes, limit_bytes: int) -> bytes:
    """What one whole gzip member, and nothing behind it, holds. zlib.error or ValueError otherwise."""
    member = zlib.decompressobj(GZIP)
    out = member.decompress(data, limit_bytes)
    if member.unconsumed_tail:
        raise ValueError(f"more than {limit_bytes:,} bytes when decompressed")
    if not member.eof or member.unused_data:
        raise ValueError("it is cut" if not member.eof else "something follows it")
    return out


def _capture(line: bytes) -> Capture | None:
    """A line of the index; None where it is none."""
    try:
        found = json.loads(line)
        url, timestamp, digest, path = (str(found[key]) for key in ("url", "timestamp", "digest", "filename"))
        capture = Capture(url, timestamp, digest, path, int(found["offset"]), int(found["length"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    usable = _PATH.fullmatch(capture.filename) and capture.offset >= 0 and capture.length > 0
    return capture if usable else None


def _digits(date: str) -> str:
    """A WARC date as the index writes it: 14 digits."""
    return re.sub(r"\D", "", date)[:14]


def _url(base: str, path: str) -> str:
    """The address of a path below a base address."""
    return f"{base}/{quote(path)}"
