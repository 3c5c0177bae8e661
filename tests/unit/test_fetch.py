"""`curate fetch` against servers on loopback that behave, misbehave and mislead."""

import base64
import gzip
import hashlib
import http.server
import io
import re
import runpy
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator

from curate.config import validate
from curate.errors import ConfigError, CurateError, DataError
from curate.fetch import crawl
from curate.fetch import http as talking
from curate.fetch import links as linking
from curate.fetch.crawl import fetch
from curate.fetch.settings import FetchSettings
from curate.fetch.summary import FetchSummary
from webserver import HTML, Server, links, page, redirect

BINARY = bytes(range(256)) * 40


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1e\r\n<a href='/docs/from-chunked'>x\r\n4;note=1\r\n</a>\r\n0\r\nTrailer: 1\r\n\r\n"
)
ZIPPED = gzip.compress(b"<a href=/docs/from-gzip>x</a>" + b"<p>more</p>" * 500, mtime=0)
SITE: dict[str, Any] = {
    "/docs/": links(
        "a.html#part", "/docs/b.html?x=1&amp;y=2", "gone", "chunked", "gzip", "image.png", "loop/1", "early",
        "old", "busy", "interim", "skip/me", "/other/", "mailto:x@example.org", "http://[bad/",
        "umlaut-ü", "huge",
    ),
    "/docs/a.html": page(b"<base href='/docs/deep/'><iframe src = frame.html></iframe><A HREF=/docs/a.html>"),
    "/docs/b.html?x=1&y=2": links("/docs/"),
    "/docs/gone": page(b"<a href=/docs/never>no</a>", status=b"404 Not Found"),
    "/docs/chunked": CHUNKED,
    "/docs/gzip": page(ZIPPED, HTML + b"Content-Encoding: gzip\r\n"),
    "/docs/image.png": page(BINARY, b"Content-Type: image/png\r\n"),
    "/docs/loop/1": redirect("2"),
    "/docs/loop/2": redirect("1"),
    "/docs/early": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nnot as long",
    "/docs/old": redirect("new"),
    "/docs/new": b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>until the connection ends",
    "/docs/interim": b"HTTP/1.1 100 Continue\r\n\r\n" + page(b"after an interim answer"),
    "/docs/umlaut-%C3%BC": page(b"<p>encoded"),
    "/docs/huge": b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\n<a href=found>" + b"x" * 500_000 + b"<a href=cut>",
    "/docs/found": page(b"found"),
    "/docs/from-chunked": page(b"found"),
    "/docs/from-gzip": page(b"found"),
    "/docs/deep/frame.html": page(b"found"),
    "/docs/busy": [page(b"", status=b"503 Busy"), page(b"free again")],
    "/moved": redirect("/docs/"),
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(SITE) as running:
        yield running
        running.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "RETRY_SECONDS", 0.01)


def settings(**values: Any) -> FetchSettings:
    return validate(FetchSettings, {"timeout": 2.0, "max_bytes": 300_000, "allow_private": True, **values})


def responses(summary: FetchSummary) -> dict[str, tuple[Any, bytes]]:
    """URL -> (WARC headers, raw HTTP message), in file order, as warcio reads them, all digests verified."""
    found = {}
    for path in summary.files:
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, check_digests="raise"):
                record.raw_stream.read()
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, no_record_parse=True):
                if record.rec_type == "response":
                    url = record.rec_headers.get_header("WARC-Target-URI")
                    found[url] = (record.rec_headers, record.raw_stream.read())
    return found


def paths(summary: FetchSummary) -> list[str]:
    return [url.split("/", 3)[3] for url in responses(summary)]


def test_everything_reachable_is_recorded_breadth_first_exactly_as_it_came(server: Server, tmp_path: Path) -> None:
    summary = fetch(settings(exclude=["/skip/"]), [f"{server.root}/docs/"], tmp_path)
    assert paths(summary) == [
        "docs/", "docs/a.html", "docs/b.html?x=1&y=2", "docs/gone", "docs/chunked", "docs/gzip",
        "docs/image.png", "docs/loop/1", "docs/old", "docs/busy", "docs/interim", "docs/umlaut-%C3%BC",
        "docs/huge", "docs/deep/frame.html", "docs/from-chunked", "docs/from-gzip", "docs/loop/2", "docs/new",
        "docs/found",
    ]  # fmt: skip
    for url, (_, message) in responses(summary).items():
        sent = SITE[url.removeprefix(server.root)]
        if url.endswith("huge"):
            assert message == sent[:300_000]
        elif url.endswith("interim"):
            assert message == sent.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif url.endswith("busy"):
            assert message == sent[1]
        else:
            assert message == sent
    assert (summary.tried, summary.pages, summary.redirects, summary.truncated) == (20, 15, 3, 1)
    assert summary.bytes == sum(len(message) for _, message in responses(summary).values())
    assert summary.errors == [
        (f"{server.root}/docs/gone", "HTTP status 404"),
        (f"{server.root}/docs/early", "the connection ended before the answer did"),
        (f"{server.root}/docs/loop/2", "its redirect leads back to where it came from: '1'"),
    ]
    assert summary.not_fetched == {crawl.SCOPE: 1, crawl.EXCLUDED: 1, crawl.BEYOND: 0}
    assert server.asked.count("/docs/early") == 3, "a broken answer is worth two further tries"
    assert "/docs/skip/me" not in server.asked and "/other/" not in server.asked


def test_records_name_their_times_places_digests_and_each_other(server: Server, tmp_path: Path) -> None:
    summary = fetch(settings(), [f"{server.root}/docs/chunked"], tmp_path)
    with summary.files[0].open("rb") as stream:
        records = [
            (record.rec_type, record.rec_headers, record.raw_stream.read())
            for record in ArchiveIterator(stream, no_record_parse=True)
        ]
    assert [kind for kind, _, _ in records] == ["warcinfo", "request", "response", "request", "response"]
    (_, info, about), (_, request, asked), (_, response, message) = records[:3]
    assert info.protocol == "WARC/1.1" and info.get_header("WARC-Filename") == "crawl-00000.warc.gz"
    assert b"software: curate fetch\r\n" in about
    assert asked.startswith(b"GET /docs/chunked HTTP/1.1\r\nHost: 127.0.0.1:") and asked.endswith(b"\r\n\r\n")
    assert request.get_header("WARC-Concurrent-To") == response.get_header("WARC-Record-ID")
    assert response.get_header("WARC-Concurrent-To") == request.get_header("WARC-Record-ID")
    assert response.get_header("WARC-Warcinfo-ID") == info.get_header("WARC-Record-ID")
    assert response.get_header("WARC-IP-Address") == "127.0.0.1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", response.get_header("WARC-Date"))
    payload = message[message.index(b"\r\n\r\n") + 4 :]
    assert payload.startswith(b"1e\r\n"), "the payload is what travelled, chunks and all"
    digest = base64.b32encode(hashlib.sha1(payload).digest()).decode()
    assert response.get_header("WARC-Payload-Digest") == f"sha1:{digest}"
    ids = [headers.get_header("WARC-Record-ID") for _, headers, _ in records]
    assert len(set(ids)) == len(ids)


def test_fastwarc_reads_every_record_and_finds_its_digests_true(server: Server, tmp_path: Path) -> None:
    summary = fetch(settings(), [f"{server.root}/docs/"], tmp_path)
    expected = len(paths(summary))
    for verify in (False, True):
        kinds = [
            record.record_type
            for record in FastIterator(str(summary.files[0]), parse_http=False, verify_digests=verify)
        ]
        assert kinds.count(WarcRecordType.response) == kinds.count(WarcRecordType.request) == expected
    bodies = {}
    for record in FastIterator(str(summary.files[0]), record_types=WarcRecordType.response, parse_http=False):
        assert record.verify_block_digest(consume=False)
        record.parse_http()
        assert record.verify_payload_digest(consume=False)
        bodies[record.headers["WARC-Target-URI"].removeprefix(server.root)] = record.reader.read()
    assert bodies["/docs/image.png"] == BINARY
    assert gzip.decompress(bodies["/docs/gzip"]) == gzip.decompress(ZIPPED)


def test_a_page_too_long_is_cut_and_says_so(server: Server, tmp_path: Path) -> None:
    summary = fetch(settings(max_bytes=5_000), [f"{server.root}/docs/huge"], tmp_path)
    headers, message = responses(summary)[f"{server.root}/docs/huge"]
    assert (len(message), headers.get_header("WARC-Truncated"), summary.truncated) == (5_000, "length", 1)


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_order_and_bytes_do_not_depend_on_threads_or_on_slow_answers(concurrency: int, tmp_path: Path) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.15)
        connection.sendall(links("child-of-slow"))

    names = [f"p{number}" for number in range(30)]
    site: dict[str, Any] = {f"/{name}": links(f"{name}-child") for name in names} | {
        "/": links(*names),
        "/p3": slow,
    }
    with Server(site) as server:
        summary = fetch(settings(concurrency=concurrency, max_pages=45), [f"{server.root}/"], tmp_path)
    children = ["child-of-slow" if name == "p3" else f"{name}-child" for name in names]
    assert paths(summary) == ["", *names, *children[:14]]


def test_a_server_that_hangs_or_drips_costs_its_timeout_and_no_more(tmp_path: Path) -> None:
    def hang(connection: socket.socket) -> None:
        time.sleep(3)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\n")
        for _ in range(60):
            connection.sendall(b"x")
            time.sleep(0.05)

    with Server({"/": links("hang", "drip", "fine"), "/hang": hang, "/drip": drip, "/fine": page(b"fine")}) as server:
        began = time.monotonic()
        summary = fetch(settings(timeout=0.2, retries=0), [f"{server.root}/"], tmp_path)
        assert time.monotonic() - began < 2
    assert paths(summary) == ["", "fine"]
    words = "no bytes for 0.2 s, or no whole page or MiB within 0.8 s"
    assert summary.errors == [(f"{server.root}/hang", words), (f"{server.root}/drip", words)]


def test_a_host_that_keeps_failing_is_left_alone(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(40)]
    site = {"/": links(*names)} | {f"/{name}": b"this is not HTTP\r\n\r\n" for name in names}
    with Server(site) as server:
        summary = fetch(settings(retries=0, concurrency=1), [f"{server.root}/"], tmp_path)
        assert len(server.asked) <= 1 + crawl.MAX_FAILURES + 4
    assert len(summary.errors) == 40
    assert "8 pages in a row failed" in summary.errors[-1][1]


def test_a_redirect_that_never_ends_is_followed_ten_times(tmp_path: Path) -> None:
    site = {f"/{number}": redirect(f"/{number + 1}") for number in range(50)}
    with Server(site) as server:
        summary = fetch(settings(), [f"{server.root}/0"], tmp_path)
    assert paths(summary) == [str(number) for number in range(11)]
    assert summary.errors == [(f"{server.root}/10", "its redirect would be number 11 in a row: '/11'")]


def test_a_seed_that_moved_takes_the_scope_with_it_unless_one_was_given(server: Server, tmp_path: Path) -> None:
    moved = fetch(settings(), [f"{server.root}/moved"], tmp_path / "free")
    assert "docs/a.html" in paths(moved) and "other/" not in paths(moved)
    bound = fetch(settings(scope=[f"{server.root}/elsewhere/"]), [f"{server.root}/moved"], tmp_path / "bound")
    assert paths(bound) == ["moved", "docs/"]


def test_files_rotate_at_their_size_and_each_is_whole(server: Server, tmp_path: Path) -> None:
    summary = fetch(settings(file_bytes=4_000, prefix="part"), [f"{server.root}/docs/"], tmp_path)
    assert len(summary.files) > 3
    assert sorted(tmp_path.iterdir()) == summary.files
    assert summary.files[1].name == "part-00001.warc.gz"
    assert len(paths(summary)) == summary.pages + summary.redirects + len(["gone", "skip/me"])
    for path in summary.files:
        with path.open("rb") as stream:
            assert next(iter(ArchiveIterator(stream))).rec_type == "warcinfo"


def test_two_fetches_of_the_same_pages_give_the_same_record_ids(server: Server, tmp_path: Path) -> None:
    runs = [fetch(settings(), [f"{server.root}/docs/"], tmp_path / name) for name in ("one", "two")]
    ids = [[headers.get_header("WARC-Record-ID") for headers, _ in responses(run).values()] for run in runs]
    assert ids[0] == ids[1]


def test_a_stopped_fetch_goes_on_and_asks_for_nothing_twice(server: Server, tmp_path: Path) -> None:
    """Pages that the files hold are read there; what failed or was busy is asked for again."""

    def interrupt(summary: FetchSummary) -> None:
        if summary.pages == 3:
            raise KeyboardInterrupt

    seeds, whole = [f"{server.root}/docs/"], tmp_path / "whole"
    fetch(settings(), seeds, whole)
    with pytest.raises(KeyboardInterrupt):
        fetch(settings(), seeds, tmp_path, interrupt)
    first = tmp_path / "crawl-00000.warc.gz"
    assert paths(FetchSummary(files=[first])) == ["docs/", "docs/a.html", "docs/b.html?x=1&y=2"]
    before, server.asked[:] = first.read_bytes(), []
    summary = fetch(settings(), seeds, tmp_path)
    assert summary.files == [first, tmp_path / "crawl-00001.warc.gz"] and first.read_bytes() == before
    assert paths(summary) == paths(FetchSummary(files=[whole / first.name]))
    assert not {"/docs/", "/docs/a.html"} & set(server.asked)
    assert (summary.tried, summary.known) == (21, 3)

    few = fetch(settings(max_pages=2), seeds, tmp_path / "few")
    assert (few.pages, few.not_fetched[crawl.BEYOND]) == (2, 14)
    assert fetch(settings(max_pages=3), seeds, tmp_path / "few").known == 2

    server.asked[:] = []
    again = fetch(settings(), seeds, tmp_path)
    assert set(server.asked) == {"/docs/early"}, "only what has failed"
    assert (again.pages, again.errors, again.known) == (summary.pages, summary.errors, 20)
    assert again.files == summary.files and again.bytes == 0
    ids = [headers.get_header("WARC-Record-ID") for headers, _ in responses(again).values()]
    assert len(set(ids)) == 20


def test_a_killed_fetch_leaves_whole_records_and_goes_on_behind_them(tmp_path: Path) -> None:
    def slow(connection: socket.socket) -> bytes:
        time.sleep(0.05)
        return page(b"a page")

    names = [f"p{number}" for number in range(60)]
    with Server({"/": links(*names)} | {f"/{name}": slow for name in names}) as server:
        code = "from curate.fetch.crawl import *\n"
        code += f"fetch(FetchSettings(allow_private=True), ['{server.root}/'], {str(tmp_path)!r})"
        child = subprocess.Popen([sys.executable, "-c", code])
        while len(server.asked) < 20:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        [part] = tmp_path.iterdir()
        assert part.name == "crawl-00000.warc.gz.part", "an unfinished file has no final name"
        written = paths(FetchSummary(files=[part]))
        assert 10 <= len(written) < 40
        # As after a kill in the middle of a write: the request of a page, and half of its response.
        request, half = gzip.compress(b"WARC/1.1\r\nWARC-Type: request\r\n\r\n"), gzip.compress(b"x" * 99)[:20]
        with part.open("ab") as file:
            file.write(request + half)
        server.site = {f"/{name}": page(b"a page") for name in names}
        server.asked[:] = []
        summary = fetch(settings(), [f"{server.root}/"], tmp_path)
    assert list(tmp_path.iterdir()) == summary.files and len(summary.files) == 1
    assert paths(summary) == ["", *names] and (summary.pages, summary.known) == (61, len(written))
    assert sorted(server.asked) == sorted(f"/{path}" for path in ["", *names][len(written) :])


def test_a_full_disk_leaves_whole_records_and_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() > 2_000:
                super().write(data[:7])  # as a disk does: a part fits
                raise OSError(28, "No space left on device")
            return super().write(data[:1_000])

    monkeypatch.setattr(io, "FileIO", Full)
    with pytest.raises(CurateError, match="cannot be written: No space left on device") as failure:
        fetch(settings(), [f"{server.root}/docs/"], tmp_path)
    assert failure.value.exit_code == 1
    assert paths(FetchSummary(files=[tmp_path / "crawl-00000.warc.gz"]))


NOT_PUBLIC = [
    "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "::1", "fe80::1%lo", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_of_the_public_internet_are_known(address: str) -> None:
    assert not talking.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_public_internet_are_asked(address: str) -> None:
    assert talking.is_public(address)


def test_only_public_addresses_are_connected_to_unless_told(server: Server, tmp_path: Path) -> None:
    """By number or by name; the address that a name has is what counts, and nothing is sent to it."""
    for url in (server.root, server.root.replace("127.0.0.1", "localhost")):
        with pytest.raises(DataError, match=r"(127\.0\.0\.1|::1) is no public address; --allow-private"):
            fetch(settings(allow_private=False), [f"{url}/docs/"], tmp_path)
    assert server.asked == []


def test_a_public_page_cannot_send_us_to_a_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a redirect of a seed, nor of its robots.txt, nor by a link, even where private hosts are allowed."""
    monkeypatch.setattr(crawl, "is_public", lambda ip: ip == "127.0.0.1")
    monkeypatch.setattr(talking, "is_public", lambda ip: ip == "127.0.0.1")
    with Server({}) as server:
        private = server.root.replace("127.0.0.1", "127.0.0.9")
        server.site = {
            "/moved": redirect(f"{private}/"), "/": links(f"{private}/linked", "fine"), "/fine": page(b"fine"),
            "/robots.txt": redirect(f"{private}/robots.txt"),
        }  # fmt: skip
        scope = [f"{server.root}/", f"{private}/"]
        summary = fetch(settings(scope=scope), [f"{server.root}/moved", f"{server.root}/"], tmp_path / "links")
        assert paths(summary) == ["moved", "", "fine"]
        refused = [url for url, what in summary.errors if "127.0.0.9 is no public address" in what]
        assert refused == [f"{private}/", f"{private}/linked"]
        monkeypatch.setattr(talking, "is_loopback", lambda host: False)
        with pytest.raises(DataError, match=r"127\.0\.0\.9 is no public address"):
            fetch(settings(), [f"{server.root}/"], tmp_path / "robots")


def test_nothing_fetched_is_an_error_that_names_the_cause(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DataError, match=r"nothing could be fetched: .*connection refused") as failure:
            fetch(settings(), [url], tmp_path)
    assert failure.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_or_damaged_are_not_continued(server: Server, tmp_path: Path) -> None:
    seeds = [f"{server.root}/docs/found"]
    [path] = fetch(settings(), seeds, tmp_path).files
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ConfigError, match=r"crawl-00000\.warc\.gz: damaged after byte \d+; remove it") as failure:
        fetch(settings(), seeds, tmp_path)
    assert failure.value.exit_code == 2
    path.write_bytes(gzip.compress(b"WARC/1.0\r\nWARC-Type: warcinfo\r\n\r\nsoftware: another\r\n\r\n"))
    with pytest.raises(ConfigError, match="was not written by `curate fetch`"):
        fetch(settings(), seeds, tmp_path)
    assert fetch(settings(prefix="second"), seeds, tmp_path).pages == 1


def test_a_list_is_fetched_by_turns_of_its_hosts_without_links(said: Any, tmp_path: Path) -> None:
    with Server({"/a": links("/b"), "/c": redirect("/d"), "/d": links("/e")}) as one, Server({"/x": page(b"x")}) as two:
        listed = tmp_path / "urls.txt"
        listed.write_text(f"# mine\n{one.root}/a\n{one.root}/c\n\n{two.root}/x\n{two.root}/gone\n{one.root}/a\n")
        command = ["fetch", "--list", listed, "--out", tmp_path / "out", "--allow-private", "--json"]
        done = said(*command)
        assert done.code == 0, done.err
        facts = done.json
        assert (facts["pages"], facts["redirects"], facts["not_fetched"]) == (3, 1, {})
        assert facts["errors"] == [[f"{two.root}/gone", "HTTP status 404"]]
        [file] = map(Path, facts["files"])
        urls = [f"{one.root}/a", f"{two.root}/x", f"{one.root}/c", f"{two.root}/gone", f"{one.root}/d"]
        assert list(responses(FetchSummary(files=[file]))) == urls
        assert [path.name for path in file.parent.iterdir()] == [file.name], "the lock is gone"
        again = said(*command[:-1])
    assert "3 pages (5 asked for were there already)" in again.out and "1 failed" in again.out


@pytest.mark.parametrize(
    "seed",
    ["example.org", "ftp://example.org/", "file:///etc/passwd", "http://user:secret@127.0.0.1/", "http://"],
)
def test_seeds_that_are_no_web_addresses_are_refused(seed: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a web address") as failure:
        fetch(settings(), [seed], tmp_path)
    assert failure.value.exit_code == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exclude": ["("]}, r"exclude: '\(' is no regular expression"),
        ({"prefix": "../up"}, r"prefix: must be letters"),
        ({"user_agent": "a\r\nX: y"}, "user_agent: must be printable"),
        ({"max_pages": 0}, "max_pages: must be at least 1, found 0"),
        ({"max_page": 1}, 'no such setting; did you mean "max_pages"'),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_links_cannot_smuggle_lines_into_a_request_or_a_record(tmp_path: Path) -> None:
    body = b'<a href="/a&#13;&#10;X-Evil: 1">x</a><a href="/b\r\n c">x</a>'
    with Server({"/": page(body)}) as server:
        fetch(settings(), [f"{server.root}/"], tmp_path)
    assert sorted(server.asked) == ["/", "/aX-Evil:%201", "/b%20c"]


@pytest.mark.parametrize("text", [b"<a ", b"<a href=", b'<a href="', b"<a href ", b"<a " + b"href='\"" * 3])
def test_finding_links_takes_linear_time_on_hostile_pages(text: bytes) -> None:
    body = b"<a " + text * (2_000_000 // len(text))
    began = time.process_time()
    assert len(list(linking.LINK.finditer(body))) < len(body)
    assert time.process_time() - began < 2


class Secure(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(page(b"secure"))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_https_pages_are_recorded_and_unknown_certificates_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += f" -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Secure) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"https://localhost:{server.server_address[1]}/"
        with pytest.raises(DataError, match="certificate"):
            fetch(settings(retries=0), [url], tmp_path / "refused")
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(talking, "_tls", lambda: trusting)
        summary = fetch(settings(), [url], tmp_path / "trusted")
        server.shutdown()
    assert responses(summary)[url][1] == page(b"secure")


def test_the_demo_records_both_sites_once_and_again_only_when_something_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = runpy.run_path(str(Path(__file__).parents[2] / "pipelines" / "demo_crawl.py"))
    first = demo["crawl"](tmp_path, 20)
    assert first["pages"] >= 18 and first["sources"]["python_docs"]["errors"] == []
    assert "rust_docs" in first["sources"] or first["skipped"]
    files = [tmp_path / name for source in first["sources"].values() for name in source["files"]]
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / "summary.json"])
    urls = paths(FetchSummary(files=[path for path in files if path.name.startswith("python-")]))
    assert urls[:3] == ["", "index.html", "topics.html"]
    capsys.readouterr()
    assert demo["crawl"](tmp_path, 20) == first
    assert "already" in capsys.readouterr().out
    files[-1].write_bytes(b"damaged")
    assert demo["crawl"](tmp_path, 20)["pages"] == first["pages"]
    assert files[-1].stat().st_size > 1_000 and "already" not in capsys.readouterr().out


def test_the_documentation_server_does_not_show_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "not-for-a-crawl")
    demo = runpy.run_path(str(Path(__file__).parents[2] / "pipelines" / "demo_crawl.py"))
    with demo["serve_pydoc"]() as root:
        summary = fetch(settings(max_pages=1, timeout=20.0), [f"{root}os.html"], tmp_path)
    [(_, message)] = responses(summary).values()
    assert b"environ</strong> =" in message and b"SOME_TOKEN" not in message
