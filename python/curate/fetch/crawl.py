"""A small, polite, breadth-first crawl over HTTP and HTTPS, recorded as WARC files.

From the seeds, pages are requested level by level, by a few threads, and written in exactly that order, so that the
files hold the same pages in the same order whatever the number of threads and the speed of the answers. Requests and
answers are recorded byte for byte as they travelled (chunked and compressed as they came), each record a gzip member
of its own. A page that fails is counted and listed, never fatal. A host is asked for its robots.txt first and then at
most once every `delay` seconds; loopback addresses are asked without either.

A fetch that was stopped is continued by the same command: the crawl begins anew, and pages that the files hold already
are read there. What failed, or was answered by a busy server, is asked for again.
"""

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from curate.errors import ConfigError, CurateError, DataError
from curate.fetch import http
from curate.fetch.archive import Place, block, read_archive
from curate.fetch.http import BUSY, FAILURES, MAX_REDIRECTS, Answer, StoppedError, is_public, persistent, rest
from curate.fetch.links import absolute, folder, links
from curate.fetch.robots import Rules, read_rules
from curate.fetch.settings import FetchSettings
from curate.fetch.summary import FetchSummary
from curate.fetch.warcfile import WarcFiles

MAX_FAILURES = 8  # in a row on one host, which is then left alone
MAX_RULES = 1000  # hosts whose robots.txt is held in memory; of the one longest held it is asked for again

# Reasons in FetchSummary.not_fetched.
ROBOTS = "forbidden by robots.txt"
SCOPE = "links outside the scope"
EXCLUDED = "links that --exclude matches"
BEYOND = "URLs beyond --max-pages"

Progress = Callable[[FetchSummary], None]


class _Host:
    """What must be remembered of a host between two requests."""

    def __init__(self, name: str | None) -> None:
        self.is_loopback = http.is_loopback(name)
        self.lock = threading.Lock()
        self.next_at = 0.0  # on the monotonic clock
        self.rules: Rules | None = None
        self.failures = 0  # in a row


class _Target(NamedTuple):
    """A URL in the queue, and by what rules it is asked for."""

    url: str
    via: tuple[str, ...]  # the redirects that led to it
    private: bool  # whether its host may be at an address that is not public


class _Task(NamedTuple):
    """A URL that a thread is asking for, or has asked for."""

    target: _Target
    host: _Host
    known: bool  # whether the files hold it already
    future: "Future[Answer]"


class _Disallowed(Exception):
    """The host's robots.txt forbids the page."""


class _Refused(Exception):
    """The page is not asked for, and why; no further try would be made either."""


def fetch(
    settings: FetchSettings, seeds: Sequence[str], out: str | Path, progress: Progress | None = None
) -> FetchSummary:
    """Record what can be reached from `seeds` within the scope as `out`/PREFIX-*.warc.gz.

    A file gets its name when it is complete; an interruption completes the one at hand. Files of that prefix in `out`
    are continued. ConfigError where a seed is no URL or the files cannot be continued, DataError where nothing at all
    could be fetched, CurateError where a file cannot be written.
    """
    urls = []
    for seed in seeds:
        url = absolute(seed)
        if url is None:
            raise ConfigError(f"{seed}: not a web address; write it like https://example.org/ (no user name)")
        urls.append(url)
    if not urls:
        raise ConfigError("no address to begin with; give at least one URL")
    out = Path(out)
    try:
        there = read_archive(out, settings.prefix)
        crawl = _Crawl(settings, urls, WarcFiles(out, settings, there), there.pages())
        crawl.run(progress)
    except OSError as error:
        raise CurateError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from error
    if not crawl.writer.files:
        url, what = (*crawl.summary.errors, (urls[0], "its robots.txt forbids it"))[0]
        raise DataError(f"nothing could be fetched: {url}: {what}; check the address and the network")
    return crawl.summary


def _by_turns(urls: list[str]) -> list[str]:
    """The URLs, each once, those of different hosts in turns: no host's pauses hold up the others."""
    urls = list(dict.fromkeys(urls))
    hosts: Counter[str] = Counter()
    turns = {}
    for url in urls:
        host = urlsplit(url).netloc
        turns[url] = hosts[host]
        hosts[host] += 1
    return sorted(urls, key=turns.__getitem__)


class _Crawl:
    """The queue, and what is known of the hosts in it. Only `_fetch` and what it calls run in the threads."""

    def __init__(self, settings: FetchSettings, seeds: list[str], writer: WarcFiles, known: dict[str, Place]) -> None:
        self.settings = settings
        self.writer = writer
        self.known = known
        self.summary = FetchSummary(files=writer.files)
        self.seeds = set(seeds)
        self.scope = {url: folder(url) for url in seeds}
        if settings.scope:
            self.scope = {prefix: prefix for prefix in settings.scope}
        self.exclude = [re.compile(pattern) for pattern in settings.exclude]
        ordered = _by_turns(seeds)
        self.queue = deque(_Target(url, (), settings.allow_private) for url in ordered[: settings.max_pages])
        self.summary.not_fetched[BEYOND] += len(ordered) - len(self.queue)
        self.seen = set(seeds)
        self.hosts: dict[str, _Host] = {}
        self.ruled: deque[_Host] = deque()  # hosts whose rules are in memory, in the order of their reading
        self.stop = threading.Event()

    def run(self, progress: Progress | None) -> None:
        """Keep the threads busy with the head of the queue, and take their answers in the queue's order."""
        began = time.monotonic()
        window: deque[_Task] = deque()
        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="fetch")
        try:
            while True:
                # Four times the threads: they stay busy while a slow page at the head holds up the writing.
                while self.queue and len(window) < 4 * self.settings.concurrency:
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

    def _begin(self, pool: ThreadPoolExecutor) -> _Task:
        """Give the head of the queue to a thread. What is begun is written, so it counts as tried."""
        target = self.queue.popleft()
        self.summary.tried += 1
        parts = urlsplit(target.url)
        host = self.hosts.setdefault(f"{parts.scheme}://{parts.netloc}", _Host(parts.hostname))
        place = self.known.get(target.url)
        if place is not None and place.status not in BUSY:
            return _Task(target, host, True, pool.submit(self._recorded, place))
        return _Task(target, host, False, pool.submit(self._fetch, target, host))

    def _finish(self, task: _Task) -> None:
        """Write one answer, or list its failure, and queue where it leads."""
        summary = self.summary
        try:
            answer = task.future.result()
        except _Disallowed:
            summary.not_fetched[ROBOTS] += 1
            return
        except _Refused as error:
            summary.errors.append((task.target.url, f"not asked for: {error}"))
            return
        except FAILURES as error:
            task.host.failures += 1
            summary.errors.append((task.target.url, http.words(error, self.settings)))
            return
        if task.known:
            summary.known += 1
        else:
            task.host.failures = 0
            self.writer.write(answer)
            summary.bytes += len(answer.response)
        summary.truncated += answer.truncated
        if answer.location is not None:
            summary.redirects += 1
            self._follow(answer, answer.location, (*task.target.via, answer.url))
        elif 200 <= answer.status < 300:
            summary.pages += 1
            for link in links(answer.body, answer.url) if self.settings.follow and answer.is_html else ():
                self._queue(link, (), answer)
        else:
            summary.errors.append((task.target.url, f"HTTP status {answer.status}"))

    def _follow(self, answer: Answer, location: str, via: tuple[str, ...]) -> None:
        """Queue where a redirect leads. A seed's may leave the scope, and takes it along where none was set."""
        target = absolute(location, answer.url)
        if target is None or target in via or len(via) > MAX_REDIRECTS:
            why = f"would be number {len(via)} in a row"
            if target is None:
                why = "leads to no web address"
            elif target in via:
                why = "leads back to where it came from"
            self.summary.errors.append((answer.url, f"its redirect {why}: {location[:100]!r}"))
            return
        if answer.url in self.seeds:
            # A site that moved: http://example.org/ is really https://www.example.org/.
            self.seeds.add(target)
            if not self.settings.scope:
                self.scope.pop(answer.url, None)
                self.scope[target] = folder(target)
        self._queue(target, via, answer)

    def _queue(self, url: str, via: tuple[str, ...], origin: Answer) -> None:
        """Queue where `origin` leads, unless it is known. From a public page only public ones are asked for.

        What is left out is counted, a URL as often as it is found, so that memory is bounded by max_pages.
        """
        if url in self.seen:
            return
        summary = self.summary
        if not (url in self.seeds or url.startswith(tuple(self.scope.values()))):
            summary.not_fetched[SCOPE] += 1
        elif any(pattern.search(url) for pattern in self.exclude):
            summary.not_fetched[EXCLUDED] += 1
        elif summary.tried + len(self.queue) >= self.settings.max_pages:
            summary.not_fetched[BEYOND] += 1
        else:
            self.seen.add(url)
            private = self.settings.allow_private and not is_public(origin.ip)
            self.queue.append(_Target(url, via, private))

    def _recorded(self, place: Place) -> Answer:
        """A page as an earlier call recorded it."""
        return http.replayed(place.url, place.ip, place.date, block(place), self.settings.max_bytes)

    def _fetch(self, target: _Target, host: _Host) -> Answer:
        """One page: wait for the host's turn, ask, and ask again where it fails or is busy."""

        def ask() -> Answer:
            self._wait_turn(target, host)
            answer = http.exchange(target.url, self.settings, self.settings.max_bytes, target.private)
            if answer.status in BUSY:  # it asks all its visitors to wait
                host.next_at = max(host.next_at, time.monotonic() + http.retry_after(answer.headers, self.settings))
            return answer

        return persistent(ask, self.settings, self.stop)

    def _wait_turn(self, target: _Target, host: _Host) -> None:
        """Return when the host may be asked; _Disallowed or _Refused where it may not be asked for this page."""
        if self.stop.is_set():
            raise StoppedError("interrupted")
        if host.failures >= MAX_FAILURES:
            raise _Refused(f"{MAX_FAILURES} pages in a row failed on this host")
        if host.is_loopback:
            return
        # The lock is held while waiting, so that the requests to a host come one after the other.
        with host.lock:
            rules = self._rules(target, host)
            if rules.failure is not None:
                raise _Refused(f"its robots.txt cannot be read ({rules.failure}), which forbids everything")
            if not rules.allows(target.url):
                raise _Disallowed
            rest(self.stop, max(0.0, host.next_at - time.monotonic()))
            pause = max(self.settings.delay, min(rules.delay, self.settings.max_delay))
            host.next_at = time.monotonic() + pause

    def _rules(self, target: _Target, host: _Host) -> Rules:
        """What the host's robots.txt says; it is asked for where that is not known or out of date."""
        rules = host.rules
        if rules is None or time.monotonic() >= rules.until:
            rules = host.rules = read_rules(target.url, self.settings, target.private, self.stop)
            self.ruled.append(host)
            if len(self.ruled) > MAX_RULES:
                self.ruled.popleft().rules = None
        return rules
