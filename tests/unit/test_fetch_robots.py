"""`curate fetch` and robots.txt: RFC 9309 to the letter, from servers that fail, loop and attack."""

import time
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from curate.config import validate
from curate.errors import DataError
from curate.fetch import crawl, robots
from curate.fetch import http as talking
from curate.fetch.crawl import fetch
from curate.fetch.settings import FetchSettings
from curate.fetch.summary import FetchSummary
from webserver import Server, links, page, redirect


@pytest.fixture(autouse=True)
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is treated as any other host, with robots.txt and pauses; retries are quick."""
    monkeypatch.setattr(talking, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(talking, "is_loopback", lambda host: False)


def settings(**values: Any) -> FetchSettings:
    return validate(FetchSettings, {"timeout": 2.0, "delay": 0, "allow_private": True, **values})


def paths(summary: FetchSummary) -> list[str]:
    """What was recorded, in its order."""
    found = []
    for path in summary.files:
        with path.open("rb") as stream:
            urls = [
                one.rec_headers.get_header("WARC-Target-URI")
                for one in ArchiveIterator(stream)
                if one.rec_type == "response"
            ]
        found += [url.split("/", 3)[3] for url in urls]
    return found


def test_robots_txt_is_obeyed_and_the_host_given_its_pauses(tmp_path: Path) -> None:
    """The longest rule counts, of the group that names us; a Crawl-delay up to max_delay."""
    rules = b"User-agent: curate-fetch\nDisallow: /secret\nAllow: /secret/but*this$\nCrawl-delay: 90\n\n"
    site = {
        "/robots.txt": [page(b"", status=b"503 Busy"), page(rules + b"User-agent: *\nDisallow: /\n", b"")],
        "/": links("open", "secret/x", "secret/but-not-this", "secret/but-this?not"), "/open": page(b"open"),
        "/secret/but-not-this": page(b"allowed"),
    }  # fmt: skip
    with Server(site) as server:
        began = time.monotonic()
        summary = fetch(settings(max_delay=0.2), [f"{server.root}/"], tmp_path)
        assert 0.4 < time.monotonic() - began < 2
    assert paths(summary) == ["", "open", "secret/but-not-this"]
    assert (summary.not_fetched[crawl.ROBOTS], summary.errors) == (2, [])
    assert sorted(server.asked) == ["/", "/open", "/robots.txt", "/robots.txt", "/secret/but-not-this"]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (page(b"", status=b"404 No"), None),
        (redirect("/robots.txt"), None),
        (page(b"", status=b"500 No"), "HTTP status 500"),
        (b"garbage\r\n\r\n", "garbage"),
    ],
    ids=["missing", "looping", "failing", "garbage"],
)
def test_a_robots_txt_that_is_missing_allows_and_one_that_fails_forbids(
    answer: bytes, failure: str | None, tmp_path: Path
) -> None:
    with Server({"/robots.txt": answer, "/": page(b"here")}) as server:
        if failure is None:
            assert fetch(settings(), [f"{server.root}/"], tmp_path).pages == 1
        else:
            with pytest.raises(DataError, match=rf"not asked for: its robots\.txt cannot be read \({failure}"):
                fetch(settings(), [f"{server.root}/"], tmp_path)
            assert "/" not in server.asked


def test_a_robots_txt_that_failed_is_asked_for_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robots, "FAILED_SECONDS", 0.0)
    site = {"/robots.txt": [page(b"", status=b"500 No"), page(b"")], "/a": page(b"a"), "/b": page(b"b")}
    with Server(site) as server:
        summary = fetch(settings(retries=0, concurrency=1), [f"{server.root}/a", f"{server.root}/b"], tmp_path)
    assert paths(summary) == ["b"] and [url for url, _ in summary.errors] == [f"{server.root}/a"]


def test_a_hostile_robots_txt_is_obeyed_up_to_500_kib_in_little_time_and_memory(tmp_path: Path) -> None:
    """Ten thousand names for twenty thousand rules, patterns full of stars, and 10 MB in all."""
    names = b"".join(b"User-agent: a%d\n" % number for number in range(10_000))
    stars = b"".join(b"Disallow: /%d*a*a*a*a*a*a*a*b\n" % number for number in range(9_000))
    head = names + b"User-agent: *\n" + stars + b"Disallow: /early\n"
    assert len(head) < robots.MAX_ROBOTS
    filler = b"#" * (robots.MAX_ROBOTS - len(head) - len(b"\nDisallow: /"))
    text = head + filler + b"\nDisallow: /late\n" + b"Disallow: /\n" * 800_000
    with Server({"/robots.txt": page(text, b""), "/late": page(b"late")}) as server:
        began = time.process_time()
        summary = fetch(settings(), [f"{server.root}/late", f"{server.root}/early"], tmp_path)
        assert time.process_time() - began < 1.5
    assert paths(summary) == ["late"] and summary.not_fetched[crawl.ROBOTS] == 1
