"""`curate fetch --common-crawl` against an archive and an index on loopback that are busy, cut answers and lie."""

import base64
import gzip
import hashlib
import json
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from warcio.archiveiterator import ArchiveIterator

from curate.config import validate
from curate.errors import ConfigError, CurateError, DataError
from curate.fetch import download
from curate.fetch import http as talking
from curate.fetch.commoncrawl import BEYOND, FILES_BEYOND, PAGES_BEYOND, SKIPPED, TOO_LONG, UNREADABLE
from curate.fetch.commoncrawl import fetch_common_crawl as take
from curate.fetch.crawl import fetch
from curate.fetch.settings import CommonCrawlSettings, FetchSettings
from webserver import Server, page, redirect

CRAWL = "CC-MAIN-2026-05"
PLACE = "crawl-data/CC-MAIN-2026-05/segments/17.1/warc"
WET = [f"crawl-data/CC-MAIN-2026-05/segments/17.1/wet/CC-MAIN-2026-0000{number}.warc.wet.gz" for number in range(5)]


Fault = Callable[["Archive", str, bytes, socket.socket], bytes | None]


def sha1(data: bytes) -> str:
    return base64.b32encode(hashlib.sha1(data).digest()).decode()


def record(url: str, body: bytes, kind: str = "response", digest: str | None = None) -> bytes:
    """A record as a gzip member."""
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:x:{url}>\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Date: 2026-01-17T03:04:05Z\r\nWARC-Block-Digest: sha1:{sha1(block)}\r\n"
        f"WARC-Payload-Digest: sha1:{digest or sha1(body)}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0)


class Archive(Server):
    """Files with ranges and ETags, the list of them, and an index of two captures a page."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lines: list[bytes] = []  # of the index
        self.tag = '"1"'
        self.faults: list[Fault] = []  # the next answers to paths that begin with `faulty`
        self.faulty = "/"
        super().__init__({})

    def put(self, name: str, members: dict[str, bytes]) -> None:
        """Add a file of records by URL, and its lines of the index."""
        path, data = f"{PLACE}/{name}", b""
        for url, member in members.items():
            body = gzip.decompress(member).partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2][:-4]
            line = {
                "urlkey": "x", "timestamp": "20260117030405", "url": url, "mime": "text/html", "status": "200",
                "digest": sha1(body), "length": str(len(member)), "offset": str(len(data)), "filename": path,
            }  # fmt: skip
            self.lines.append(json.dumps(line).encode())
            data += member
        self.files[path] = data

    def answer(self, path: str, request: bytes, connection: socket.socket) -> bytes | None:
        if self.faults and path.startswith(self.faulty):
            return self.faults.pop(0)(self, path, request, connection)
        if path in self.site:
            return super().answer(path, request, connection)
        if path.startswith(f"/{CRAWL}-index?"):
            return self.index(parse_qs(urlsplit(path).query))
        if path == f"/crawl-data/{CRAWL}/wet.paths.gz":
            return page(gzip.compress("\n".join(WET).encode()), b"Content-Type: binary/octet-stream\r\n")
        data = self.files.get(path[1:])
        return page(b"", b"", b"404 Not Found") if data is None else self.ranged(data, request)

    def ranged(self, data: bytes, request: bytes) -> bytes:
        """The file, or the part of it that is asked for if it is still the same."""
        head = b"ETag: %s\r\n" % self.tag.encode()
        asked = re.search(rb"\r\nRange: bytes=(\d+)-(\d*)\r\n", request)
        condition = re.search(rb"\r\nIf-Range: (.*?)\r\n", request)
        if not asked or (condition and condition[1].decode() != self.tag):
            return page(data, head)
        start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
        part = data[start:stop]
        head += b"Content-Range: bytes %d-%d/%d\r\n" % (start, start + len(part) - 1, len(data))
        return page(part, head, b"206 Partial Content")

    def index(self, query: dict[str, list[str]]) -> bytes:
        """As a CDX server: the number of pages, or one of them."""
        wanted = query["url"][0]
        lines = [line for line in self.lines if wanted.rstrip("*").encode() in line]
        pages = (len(lines) + 1) // 2
        if not lines:
            return page(b'{"message": "No Captures found for: x"}', b"", b"404 Not Found")
        if "showNumPages" in query:
            return page(b'{"pages": %d, "pageSize": 5, "blocks": 9}' % pages)
        number = int(query["page"][0])
        assert number < pages and query["output"] == ["json"]
        return page(b"".join(line + b"\n" for line in lines[2 * number : 2 * number + 2]))


def status(line: bytes, head: bytes = b"") -> Fault:
    return lambda archive, path, request, connection: page(b"", head, line)


BUSY = [status(b"503 Slow Down"), status(b"403 Forbidden"), status(b"503 Slow Down", b"Retry-After: 0\r\n")]


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setattr(talking, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(talking, "PIECE_BYTES", 10_000)
    with Archive() as running:
        yield running
        running.shutdown(socket.SHUT_RDWR)


def settings(archive: Archive, **values: Any) -> CommonCrawlSettings:
    base = {"common_crawl": CRAWL, "data_base": archive.root, "index_base": archive.root, "allow_private": True}
    return validate(CommonCrawlSettings, {**base, "timeout": 2.0, "retries": 3, **values})


def noise(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


# -- whole files -----------------------------------------------------------------------------------------------


@pytest.fixture
def wet(archive: Archive) -> Archive:
    archive.files = {path: noise(60_000 + number, number) for number, path in enumerate(WET)}
    return archive


def test_files_of_the_list_are_taken_whole_and_once(wet: Archive, tmp_path: Path, said: Any) -> None:
    """As the command says it; the list's other files are counted, busy answers are waited out."""
    wet.faults = list(BUSY)
    command = ["fetch", "--common-crawl", CRAWL, "--kind", "wet", "--files", 2, "--skip", 1, "--out", tmp_path / "o"]
    command += ["--data-base", wet.root, "--allow-private"]
    done = said(*command, "--json")
    assert done.code == 0, done.err
    names = [Path(path).name for path in WET[1:3]]
    assert [Path(file).name for file in done.json["files"]] == names
    assert [(tmp_path / "o" / name).read_bytes() for name in names] == [wet.files[path] for path in WET[1:3]]
    assert done.json["not_fetched"] == {SKIPPED: 1, FILES_BEYOND: 2}
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [".fetch.json", *names]
    entry = json.loads((tmp_path / "o/.fetch.json").read_text())["files"][names[0]]
    assert (entry["bytes"], entry["etag"]) == (60_001, '"1"')
    wet.asked[:] = []
    again = said(*command)
    assert again.code == 0 and "2 files (2 asked for were there already)" in again.out
    assert wet.asked == [f"/crawl-data/{CRAWL}/wet.paths.gz"]
    (tmp_path / "o" / names[1]).write_bytes(b"mine")
    refused = said(*command)
    assert refused.code == 2 and "is not the file that was fetched from" in " ".join(refused.err.split())


def cut(keep: int) -> Fault:
    """An answer that ends after `keep` bytes of its body."""

    def answer(archive: Archive, path: str, request: bytes, connection: socket.socket) -> bytes:
        head, end, body = archive.ranged(archive.files[path[1:]], request).partition(b"\r\n\r\n")
        return head + end + body[:keep]

    return answer


def test_a_file_that_is_cut_again_and_again_goes_on_where_it_was(wet: Archive, tmp_path: Path) -> None:
    """As long as each try brings it further; a busy server and a slow one in between."""

    def drip(archive: Archive, path: str, request: bytes, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        for _ in range(40):
            connection.sendall(b"x")
            time.sleep(0.02)

    wet.faulty = f"/{WET[0]}"
    wet.faults = [drip, cut(20_000), BUSY[0], cut(12_000), cut(5), cut(11_000)]
    summary = take(settings(wet, kind="wet", retries=2, timeout=0.1), tmp_path)
    assert summary.errors == []
    assert summary.files[0].read_bytes() == wet.files[WET[0]]
    ranges = [found[1] for request in wet.requests if (found := re.search(rb"Range: bytes=(\d+)-\r", request))]
    assert ranges == [b"20000", b"20000", b"32000", b"32005", b"43005"]
    assert summary.bytes == 60_000


def test_a_part_of_an_earlier_call_goes_on_unless_the_file_has_changed(wet: Archive, tmp_path: Path) -> None:
    for tag, expected in [('"1"', 20_000), ('"2"', None)]:
        out = tmp_path / tag.strip('"')
        wet.faulty, wet.faults, wet.tag = f"/{WET[0]}", [cut(20_000)], '"1"'
        stopped = take(settings(wet, kind="wet", retries=0), out)
        assert stopped.errors == [(f"{wet.root}/{WET[0]}", "the connection ended before the answer did")]
        assert [path.name for path in sorted(out.iterdir())] == [".fetch.json", f"{Path(WET[0]).name}.part"]
        wet.tag = tag
        summary = take(settings(wet, kind="wet", retries=0), out)
        assert summary.errors == [] and summary.files[0].read_bytes() == wet.files[WET[0]]
        assert summary.bytes == (60_000 - expected if expected else 60_000)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 99, "does not say how long the file is"),
        (page(b"x" * 99, b"Content-Range: bytes 5-103/200\r\n", b"206 Partial"), "other bytes than those from 0 on"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99000000000\r\n\r\n", "more than --max-file-bytes"),
        (page(b"", b"", b"404 Not Found"), "HTTP status 404"),
        (redirect("again"), "more than 10 redirects in a row"),
        (redirect("http://[bad/"), "leads to no web address"),
    ],
    ids=["endless", "other bytes", "too long", "gone", "loop", "nowhere"],
)
def test_what_is_not_the_file_is_refused_at_once_and_the_others_are_taken(
    wet: Archive, tmp_path: Path, answer: bytes, message: str
) -> None:
    wet.site = {f"/{WET[0]}": answer, f"/{Path(WET[0]).parent}/again": answer}
    summary = take(settings(wet, kind="wet", files=2), tmp_path)
    assert [(url, message in what) for url, what in summary.errors] == [(f"{wet.root}/{WET[0]}", True)]
    assert [path.name for path in summary.files] == [Path(WET[1]).name]
    assert wet.asked.count(f"/{WET[0]}") == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_ends_it_and_is_no_reason_to_ask_again(
    wet: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(CurateError, match=r"wet\.gz\.part: cannot be written: No space left on device"):
        take(settings(wet, kind="wet"), tmp_path)
    assert wet.asked.count(f"/{WET[0]}") == 1


def test_only_public_addresses_are_connected_to_unless_told(wet: Archive, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1 is no public address"):
        take(settings(wet, kind="wet", allow_private=False), tmp_path)
    assert wet.asked == []


# -- records ---------------------------------------------------------------------------------------------------


URLS = [f"https://example.org/{name}" for name in ("a", "b", "c", "d", "e")]


@pytest.fixture
def indexed(archive: Archive) -> Archive:
    members = {url: record(url, f"<p>{url}".encode() + noise(3_000, n)) for n, url in enumerate(URLS)}
    archive.put("one.warc.gz", {url: members[url] for url in URLS[:3]})
    archive.put("two.warc.gz", {url: members[url] for url in URLS[3:]})
    return archive


def taken(files: list[Path]) -> list[str]:
    """URLs of the records, whose digests are verified."""
    urls = []
    for path in files:
        with path.open("rb") as stream:
            for one in ArchiveIterator(stream, check_digests="raise"):
                one.raw_stream.read()
                urls += [one.rec_headers.get_header("WARC-Target-URI")] if one.rec_type == "response" else []
    return urls


def test_records_are_taken_byte_for_byte_in_the_order_of_the_index(indexed: Archive, tmp_path: Path) -> None:
    indexed.faults = list(BUSY)
    patterns = ["https://example.org/*", "https://example.org/b", "https://nowhere.example/*"]
    summary = take(settings(indexed, url=patterns), tmp_path)
    assert taken(summary.files) == URLS
    assert (summary.tried, summary.pages, summary.known) == (5, 5, 0)
    assert summary.errors == [(patterns[2], f"the index of {CRAWL} has no record of it")]
    [file] = summary.files
    assert file.name == "crawl-00000.warc.gz" and list(tmp_path.iterdir()) == [file]
    whole = b"".join(indexed.files.values())
    assert file.read_bytes().endswith(whole), "what the archive has, behind a warcinfo record"

    indexed.asked[:] = []
    again = take(settings(indexed, url=patterns), tmp_path)
    assert (again.tried, again.pages, again.known, again.bytes) == (5, 5, 5, 0)
    assert not [path for path in indexed.asked if path.endswith(".warc.gz")]
    assert taken(again.files) == URLS


def test_a_record_of_the_archive_is_no_page_that_was_asked_for(indexed: Archive, tmp_path: Path) -> None:
    """Both ways may write into one folder: each finds there what it has fetched itself."""
    indexed.put("own.warc.gz", {f"{indexed.root}/own": record(f"{indexed.root}/own", b"of the archive")})
    indexed.site = {"/own": page(b"of the web")}
    for _ in range(2):
        take(settings(indexed, url=[f"{indexed.root}/own"]), tmp_path)
        summary = fetch(FetchSettings(allow_private=True), [f"{indexed.root}/own"], tmp_path)
    assert taken(summary.files) == [f"{indexed.root}/own"] * 2 and (summary.pages, summary.known) == (1, 1)
    assert indexed.asked.count("/own") == 1


def test_a_stopped_look_up_goes_on_behind_its_last_record(indexed: Archive, tmp_path: Path) -> None:
    def stop(summary: Any) -> None:
        if summary.pages == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(settings(indexed, url=["https://example.org/*"]), tmp_path, stop)
    summary = take(settings(indexed, url=["https://example.org/*"]), tmp_path)
    assert taken(summary.files) == URLS and (summary.pages, summary.known, len(summary.files)) == (5, 2, 2)


def test_what_is_left_out_is_counted(indexed: Archive, tmp_path: Path) -> None:
    big = "https://example.org/big"
    indexed.put("big.warc.gz", {big: record(big, noise(5_000))})
    bad = [b"https://example.org/ is no JSON", b'{"url": "https://example.org/x", "offset": "x"}']
    indexed.lines = [*bad, indexed.lines[5], *indexed.lines[:5]]
    summary = take(settings(indexed, url=["https://example.org/*"], max_records=3, max_bytes=4_000), tmp_path)
    assert taken(summary.files) == URLS[:3]
    assert {**summary.not_fetched} == {UNREADABLE: 2, TOO_LONG: 1, PAGES_BEYOND: 1}
    few = take(settings(indexed, url=["https://example.org/*"], max_records=2, max_bytes=4_000), tmp_path / "few")
    assert few.not_fetched[BEYOND] == 1 and few.not_fetched[PAGES_BEYOND] == 1


LIES: list[tuple[str, Any, str]] = [
    ("other length", lambda data, line: line.update(length=str(int(line["length"]) - 9)), "no whole gzip member"),
    ("other digest", lambda data, line: line.update(digest="A" * 32), "its payload has the digest"),
    ("other place", lambda data, line: line.update(offset="7"), "no whole gzip member"),
    ("beyond the end", lambda data, line: line.update(offset="9999999"), "bytes, of which the index says"),
    ("other url", lambda data, line: line.update(url="https://example.org/z"), "a record of another URL"),
    ("no file", lambda data, line: line.update(filename="gone.warc.gz"), "HTTP status 404"),
    ("two records", lambda data, line: line.update(length=str(len(data))), "something follows it"),
]


@pytest.mark.parametrize(("lie", "message"), [one[1:] for one in LIES], ids=[one[0] for one in LIES])
def test_bytes_that_are_not_the_record_are_left_out_with_the_reason(
    indexed: Archive, tmp_path: Path, lie: Any, message: str
) -> None:
    line = json.loads(indexed.lines[0])
    lie(indexed.files[f"{PLACE}/one.warc.gz"], line)
    indexed.lines[0] = json.dumps(line).encode()
    summary = take(settings(indexed, url=["https://example.org/*"]), tmp_path)
    assert taken(summary.files) == URLS[1:]
    [(url, what)] = summary.errors
    assert url == line["url"] and message in what and line["filename"] in what


def test_a_damaged_block_and_a_bomb_are_left_out_and_a_revisit_is_taken(indexed: Archive, tmp_path: Path) -> None:
    names = [f"https://example.net/{name}" for name in ("damaged", "bomb", "revisit")]
    wrong = gzip.decompress(record(names[0], b"<p>text")).replace(b"<p>", b"<b>")
    members = [gzip.compress(wrong), gzip.compress(bytes(65 << 20), 1), record(names[2], b"", "revisit", "B" * 32)]
    for url, member in zip(names, members, strict=True):
        path = f"{PLACE}/{url[-4:]}.warc.gz"
        indexed.files[path] = member
        line = {"url": url, "timestamp": "20260117030405", "digest": "B" * 32, "filename": path, "offset": 0}
        indexed.lines.append(json.dumps({**line, "length": len(member)}).encode())
    summary = take(settings(indexed, url=["https://example.net/*"]), tmp_path)
    assert [url for url, _ in summary.errors] == names[:2] and summary.pages == 1
    assert "its block has the digest" in summary.errors[0][1]
    assert "more than 67,108,864 bytes when decompressed" in summary.errors[1][1]


def test_a_server_that_ignores_ranges_is_told(
    indexed: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "ranged", lambda data, request: page(data + noise(2 << 20)))
    summary = take(settings(indexed, url=["https://example.org/a"]), tmp_path)
    assert [what for _, what in summary.errors] == [f"{PLACE}/one.warc.gz at 0: the server ignores ranges"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"common_crawl": "../up"}, ConfigError, "common_crawl: must be the name of a crawl"),
        ({"data_base": "ftp://x"}, ConfigError, "data_base: must be a web address"),
        ({"url": ["x"], "kind": "wet"}, ConfigError, "kind: the index names records of warc files only"),
        ({"index_filter": ["=status:200"]}, ConfigError, "index_filter: has a meaning only beside url"),
        ({"common_crawl": "CC-MAIN-1999-01"}, ConfigError, "CC-MAIN-1999-01 has no warc files at http"),
        ({"kind": "wet", "skip": 5}, ConfigError, "skip: 5 of 5 files of the list leaves none"),
        ({"kind": "wat"}, DataError, "is no list of files: '<html>'"),
    ],
)
def test_mistakes_are_told_in_words(
    archive: Archive, tmp_path: Path, values: dict[str, Any], error: type[Exception], message: str
) -> None:
    archive.site = {f"/crawl-data/{CRAWL}/wat.paths.gz": page(b"<html>")}
    with pytest.raises(error, match=message):
        take(settings(archive, **values), tmp_path)
    assert not tmp_path.exists() or list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to fetch; give a URL"),
        (["--common-crawl", CRAWL, "https://example.org/"], "look URLs up in it with --url"),
        (["--common-crawl", CRAWL, "--scope", "x"], "--scope: has a meaning only without --common-crawl"),
        (["https://example.org/", "--kind", "wet"], "--kind: has a meaning only with --common-crawl"),
        (["https://example.org/", "--list", "x"], "--list: stands in place of URLs"),
        (["--list", "nowhere.txt"], "--list nowhere.txt: No such file"),
    ],
)
def test_the_two_ways_are_not_mixed(arguments: list[str], message: str, said: Any, tmp_path: Path) -> None:
    done = said("fetch", *arguments, "--out", tmp_path / "out")
    assert done.code == 2 and message in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()
