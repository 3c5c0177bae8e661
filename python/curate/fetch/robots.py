"""robots.txt as RFC 9309 reads it: which pages of a host may be asked for, and how often.

Protego parses and matches. The file is cut at the length that the RFC asks crawlers to read, and names of other
crawlers are made one name before: Protego gives every name in a group a copy of its rules, so that a hostile file of
500 KiB could otherwise take gigabytes.

A file that is not there (400 to 499, or redirects without end) allows everything. A host that fails (500 to 599, 429,
no answer) forbids everything until it is asked for the file again, ten minutes later.
"""

import re
import threading
import time
from urllib.parse import urljoin

from protego import Protego

from curate.fetch.http import FAILURES, PrivateAddressError, RedirectError, StoppedError, persistent, settled, words
from curate.fetch.settings import FetchSettings

MAX_ROBOTS = 500 << 10  # bytes of a robots.txt that are obeyed; RFC 9309 asks for no less
MAX_HEAD = 64 << 10  # bytes of the header before it
ROBOTS_SECONDS = 24 * 3600.0  # that rules are obeyed before they are asked for again; RFC 9309 asks for no more
FAILED_SECONDS = 600.0  # that a host forbids everything after its robots.txt could not be read

_AGENT = re.compile(r"\s*user(?:-|\s*)agent\b[\s:]*(\*|[a-z0-9_-]*)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]+")


class Rules:
    """What the robots.txt of a host says for our user agent."""

    def __init__(self, text: str, user_agent: str, failure: str | None, lasting: float) -> None:
        self.failure = failure  # why the file could not be read, which forbids everything
        self.until = time.monotonic() + lasting
        self.user_agent = user_agent
        self._parsed = Protego.parse(_without_others(text, user_agent))
        self.delay = self._parsed.crawl_delay(user_agent) or 0.0  # seconds between two requests that are asked for

    def allows(self, url: str) -> bool:
        """Whether the page may be asked for."""
        return self.failure is None and bool(self._parsed.can_fetch(url, self.user_agent))


def read_rules(page: str, settings: FetchSettings, private: bool, stop: threading.Event) -> Rules:
    """The rules of the host that `page` is on.

    PrivateAddressError where the host, or the one that it redirects to, has no address that may be asked.
    """
    url = urljoin(page, "/robots.txt")
    try:
        answer = persistent(lambda: settled(url, settings, MAX_HEAD + MAX_ROBOTS, private), settings, stop)
    except (PrivateAddressError, StoppedError):
        raise
    except RedirectError:
        return Rules("", settings.user_agent, None, ROBOTS_SECONDS)
    except FAILURES as error:
        return Rules("", settings.user_agent, words(error, settings), FAILED_SECONDS)
    if answer.status >= 500 or answer.status == 429:
        return Rules("", settings.user_agent, f"HTTP status {answer.status}", FAILED_SECONDS)
    body = answer.body if 200 <= answer.status < 300 else b""
    if answer.truncated or len(body) > MAX_ROBOTS:
        # What is left of a line that is cut could forbid or allow more than the line did.
        body = body[:MAX_ROBOTS].rpartition(b"\n")[0]
    return Rules(body.decode("utf-8-sig", "replace"), settings.user_agent, None, ROBOTS_SECONDS)


def _without_others(text: str, user_agent: str) -> str:
    """The file with one name in place of all that are neither in our user agent nor `*`."""
    ours = {"*", *_NAME.findall(user_agent.lower())}
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := _AGENT.match(line):
            name = found[1].lower()
            lines[number] = f"User-agent: {name if name in ours else '(others)'}"
    return "\n".join(lines)
