"""A small, polite, breadth-first crawl over HTTP and HTTPS, recorded as WARC files.

From the seeds, pages are requested level by level, by a few threads, and written in exactly that order, so that the
files hold the same pages in the same order whatever the number of threads and the speed of the answers. Requests and
answers are recorded byte for byte as they travelled (chunked and compressed as they came), each record a gzip member
of its own. A page that fails is counted and listed, never fatal. A host is asked for its robots.txt first and then at
most once every `delay` seconds; loopback addresses are asked without either.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from curate.errors import ConfigError, CurateError, DataError
from curate.fetch.http import Answer, PrivateAddressError, exchange, is_loopback, is_public, words
from curate.fetch.links import absolute, folder, links
from curate.fetch.settings import FetchSettings
from curate.fetch.warcfile import WarcFiles

RETRY_SECONDS = 1.0  # before the first further try, doubled for each next
BUSY = (429, 500, 502, 503, 504)  # statuses that are worth a further try
MAX_WAIT = 60.0  # seconds that a Retry-After or a robots.txt may make us wait
MAX_REDIRECTS = 10  # in a row
MAX_FAILURES = 8  # in a row on one host, which is then left alone
MAX_ROBOTS = 512_000  # bytes of a robots.txt that are obeyed; RFC 9309 asks for no less


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


class _Host:
    """What must be remembered of a host between two requests."""

    def __init__(self, name: str | None) -> None:
        self.is_loopback = is_loopback(name)
        self.lock = threading.Lock()
        self.next_at = 0.0  # on the monotonic clock
        self.robots: RobotFileParser | None = None
        self.failures = 0  # in a row


class _Target(NamedTuple):
    """A URL in the queue, and by what rules it is asked for."""

    url: str
    redirects: int  # that led to it
    private: bool  # whether its host may be at an address that is not public


class _Task(NamedTuple):
    """A URL that a thread is asking for, or has asked for."""

    target: _Target
    host: _Host
    future: "Future[Answer]"


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
    urls = []
    for seed in seeds:
        url = absolute(seed)
        if url is None:
            raise ConfigError(f"{seed}: not a web address; write it like https://example.org/ (no user name)")
        urls.append(url)
    if not urls:
        raise ConfigError("no address to begin with; give at least one URL")
    crawl = _Crawl(settings, urls, WarcFiles(Path(out), settings))
    try:
        crawl.run(progress)
    except OSError as error:
        raise CurateError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from error
    if not crawl.writer.files:
        url, what = (*crawl.summary.errors, (urls[0], "robots.txt forbids it"))[0]
        raise DataError(f"nothing could be fetched: {url}: {what}; check the address and the network")
    return crawl.summary


class _Crawl:
    """The queue, and what is known of the hosts in it. Only `_fetch` and `_wait_turn` run in the threads."""

    def __init__(self, settings: FetchSettings, seeds: list[str], writer: WarcFiles) -> None:
        self.settings = settings
        self.writer = writer
        self.summary = FetchSummary(files=writer.files)
        self.seeds = set(seeds)
        self.scope = {url: folder(url) for url in seeds}
        if settings.scope:
            self.scope = {prefix: prefix for prefix in settings.scope}
        self.exclude = [re.compile(pattern) for pattern in settings.exclude]
        self.queue = deque(_Target(url, 0, settings.allow_private) for url in dict.fromkeys(seeds))
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
                # Four times the threads: they stay busy while a slow page at the head holds up the writing.
                while self._may_begin() and len(window) < 4 * self.settings.concurrency:
                    window.append(self._begin(pool))
                if not window:
                    return
                self._finish(window.popleft())
                self.summary.seconds = time.monotonic() - began
                if progress:
                    progress(self.summary)
        finally:
            # After an error or Ctrl-C threads end at their next wait; their answers are not written.
            self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self.writer.close()

    def _may_begin(self) -> bool:
        """Whether the queue holds a URL, and the budget of pages allows another."""
        return bool(self.queue) and self.summary.tried < self.settings.max_pages

    def _begin(self, pool: ThreadPoolExecutor) -> _Task:
        """Give the head of the queue to a thread. What is begun is written, so it counts as tried."""
        target = self.queue.popleft()
        self.summary.tried += 1
        parts = urlsplit(target.url)
        host = self.hosts.setdefault(f"{parts.scheme}://{parts.netloc}", _Host(parts.hostname))
        return _Task(target, host, pool.submit(self._fetch, target, host))

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
            summary.errors.append((task.target.url, words(error, self.settings)))
            return
        task.host.failures = 0
        self.writer.write(answer)
        summary.bytes += len(answer.response)
        summary.truncated += answer.truncated
        if answer.location is not None:
            summary.redirects += 1
            self._follow(answer, answer.location, task.target.redirects + 1)
        elif 200 <= answer.status < 300:
            summary.pages += 1
            for link in links(answer.body, answer.url) if answer.is_html else ():
                self._queue(link, 0, answer)
        else:
            summary.errors.append((task.target.url, f"HTTP status {answer.status}"))

    def _follow(self, answer: Answer, location: str, redirects: int) -> None:
        """Queue where a redirect leads. A seed's may leave the scope, and takes it along where none was set."""
        target = absolute(location, answer.url)
        if target is None or redirects > MAX_REDIRECTS:
            why = "leads to no web address" if target is None else f"would be number {redirects} in a row"
            self.summary.errors.append((answer.url, f"its redirect {why}: {location[:100]!r}"))
            return
        if answer.url in self.seeds:
            # A site that moved: http://example.org/ is really https://www.example.org/.
            self.seeds.add(target)
            if not self.settings.scope:
                self.scope.pop(answer.url, None)
                self.scope[target] = folder(target)
        self._queue(target, redirects, answer)

    def _queue(self, url: str, redirects: int, origin: Answer) -> None:
        """Queue where `origin` leads, unless it is known or out of scope. From a public page only public ones."""
        if url in self.seen or not (url in self.seeds or any(map(url.startswith, self.scope.values()))):
            return
        self.seen.add(url)
        if not any(pattern.search(url) for pattern in self.exclude):
            private = self.settings.allow_private and not is_public(origin.ip)
            self.queue.append(_Target(url, redirects, private))

    def _fetch(self, target: _Target, host: _Host) -> Answer:
        """One page: wait for the host's turn, ask, and ask again where it fails or is busy."""
        pause = RETRY_SECONDS
        for tries_left in range(self.settings.retries, -1, -1):
            self._wait_turn(target, host)
            try:
                answer = exchange(target.url, self.settings, self.settings.max_bytes, target.private)
                if answer.status not in BUSY:
                    break
                if answer.retry_after.isdecimal():
                    pause = max(pause, min(float(answer.retry_after), MAX_WAIT))
            except (OSError, HTTPException, ValueError) as error:
                if not tries_left or isinstance(error, PrivateAddressError):
                    raise
            if tries_left:
                self.stop.wait(pause)
                pause *= 2
        return answer

    def _wait_turn(self, target: _Target, host: _Host) -> None:
        """Return when the host may be asked; _Disallowed where it may not be asked for this page."""
        if self.stop.is_set():
            raise ConnectionAbortedError("interrupted")
        if host.failures >= MAX_FAILURES:
            raise ConnectionAbortedError(f"not asked for: {MAX_FAILURES} pages in a row failed on this host")
        if host.is_loopback:
            return
        # The lock is held while waiting, so that the requests to a host come one after the other.
        with host.lock:
            if host.robots is None:
                host.robots = _read_robots(target, self.settings)
            if not host.robots.can_fetch(self.settings.user_agent, target.url):
                raise _Disallowed
            asked = float(host.robots.crawl_delay(self.settings.user_agent) or 0)
            self.stop.wait(max(0.0, host.next_at - time.monotonic()))
            host.next_at = time.monotonic() + max(self.settings.delay, min(asked, MAX_WAIT))


def _read_robots(target: _Target, settings: FetchSettings) -> RobotFileParser:
    """The host's rules as RFC 9309 reads them: none where there is no file, all forbidden where it fails.

    PrivateAddressError where the host, or the one that it redirects to, has no address that may be asked.
    """
    url, lines, private = urljoin(target.url, "/robots.txt"), [], target.private
    try:
        for _ in range(MAX_REDIRECTS):
            answer = exchange(url, settings, MAX_ROBOTS, private)
            if answer.location is None:
                break
            url = absolute(answer.location, url) or url
            private = private and not is_public(answer.ip)
        if 200 <= answer.status < 300:
            lines = answer.body.decode("utf-8", "replace").splitlines()
        failed = answer.status >= 500
    except PrivateAddressError:
        raise
    except (OSError, HTTPException, ValueError):
        failed = True
    rules = RobotFileParser()
    rules.parse(["User-agent: *", "Disallow: /"] if failed else lines)
    return rules
