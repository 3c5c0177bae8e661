"""The WARC reader as the pipeline sees it: rows, verdicts, counts; fastwarc and warcio are asked what they read."""

import gzip
import io
import resource
import tarfile
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import brotli
import fsspec
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator as FastIterator
from warcio.archiveiterator import ArchiveIterator

import corpus
from curate import schema
from curate._rust import WarcReader
from curate.io.batches import ReadCounts
from curate.io.inputs import InputSettings, Slice, cut, list_files
from curate.io.read import read
from curate.io.warc import read_warc

PAGE = corpus.page("Words of a page that is long enough to be compressed. " * 20)


def record(block: bytes, *headers: str, kind: str = "response", media: str = "application/http") -> bytes:
    lines = [
        "WARC/1.1", f"WARC-Type: {kind}", "WARC-Target-URI: <https://example.test/>", "WARC-Date: 2026-01-02T03:04:05Z",
        f"Content-Type: {media}", f"Content-Length: {len(block)}", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def http(body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *headers, "", ""]).encode() + body


def rows(path: Path, counts: ReadCounts | None = None, **options: Any) -> list[dict[str, Any]]:
    """Every row as a dict, with its verdict's columns where it has one."""
    piece = Slice(str(path), path.name, options.pop("format", "warc"), "main", **options)
    found = []
    for given in read_warc(piece, counts or ReadCounts()):
        verdicts = given.verdicts.to_pylist() if given.verdicts else [{}] * given.batch.num_rows
        found += [row | verdict for row, verdict in zip(given.batch.to_pylist(), verdicts, strict=True)]
    return found


def one(tmp_path: Path, data: bytes, **options: Any) -> dict[str, Any]:
    (tmp_path / "one.warc").write_bytes(data)
    (row,) = rows(tmp_path / "one.warc", **options)
    return row


def deflated(data: bytes, bits: int) -> bytes:
    encoder = zlib.compressobj(wbits=bits)
    return encoder.compress(data) + encoder.flush()


def chunked(data: bytes, size: int = 300) -> bytes:
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x;note\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


ZIP, ZST, BR = gzip.compress, zstandard.ZstdCompressor().compress, brotli.compress
CODED: dict[str, tuple[str, bytes]] = {
    "gzip": ("Content-Encoding: gzip", ZIP(PAGE)),
    "two gzip members": ("Content-Encoding: x-gzip", ZIP(PAGE[:99]) + ZIP(PAGE[99:])),
    "zlib": ("Content-Encoding: deflate", deflated(PAGE, 15)),
    "raw deflate": ("Content-Encoding: Deflate", deflated(PAGE, -15)),
    "brotli": ("Content-Encoding: br", BR(PAGE)),
    "zstd": ("Content-Encoding: zstd", ZST(PAGE)),
    "two codings": ("Content-Encoding: br, gzip", ZIP(BR(PAGE))),
    "chunked": ("Transfer-Encoding: Chunked", chunked(PAGE)),
    "chunked and coded": ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip", chunked(ZIP(PAGE))),
    "chunked twice": ("Transfer-Encoding: chunked", chunked(chunked(PAGE))),
    "chunked undeclared": ("X: y", chunked(PAGE)),
    "gzip undeclared": ("X: y", ZIP(PAGE)),
    "gzip twice, declared once": ("Content-Encoding: gzip", ZIP(ZIP(PAGE))),
    "zstd undeclared": ("Content-Type: text/html", ZST(PAGE)),
    "zlib undeclared": ("Content-Type: text/html", deflated(PAGE, 15)),
    **{f"decoded before, {name}": (f"Content-Encoding: {name}", PAGE) for name in ("gzip", "deflate", "br", "zstd")},
    "chunks taken away before": ("Transfer-Encoding: chunked", PAGE),
    "unknown coding": ("Content-Encoding: utf-8", PAGE),
}


@pytest.mark.parametrize("name", CODED)
def test_a_body_is_decoded_whatever_its_headers_say(tmp_path: Path, name: str) -> None:
    header, body = CODED[name]
    row = one(tmp_path, record(http(body, header)))
    assert row["payload"] == PAGE and row.get("rule") is None


BROKEN: dict[str, tuple[bytes, str, str | None]] = {
    "gzip ends early": (http(ZIP(PAGE)[:-20], "Content-Encoding: gzip"), "read.truncated", "mark"),
    "brotli ends early": (http(BR(PAGE)[:-9], "Content-Encoding: br"), "read.truncated", "mark"),
    "a chunk ends early": (http(chunked(PAGE)[:-30], "Transfer-Encoding: chunked"), "read.truncated", "mark"),
    "damaged gzip": (http(ZIP(PAGE)[:15] + b"\xff" * 30, "Content-Encoding: gzip"), "read.bad_encoding", None),
    "damaged zstd": (http(b"\x28\xb5\x2f\xfd" + b"\xff" * 30, "Content-Encoding: zstd"), "read.bad_encoding", None),
    "not found": (http(b"gone", status="HTTP/1.1 404 Not Found"), "read.http_status", None),
    "no HTTP": (b"\x00\x01\x02 what is this", "read.bad_http", None),
    "a bomb": (http(ZIP(bytes(80 << 20)), "Content-Encoding: gzip"), "read.too_large", None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_row_of_no_use_has_its_rule_and_no_body(tmp_path: Path, name: str) -> None:
    block, rule, action = BROKEN[name]
    row = one(tmp_path, record(block))
    assert (row["rule"], row["action"]) == (rule, action) and (row["payload"] is None) == (action is None)
    assert row["url"] == "https://example.test/"
    if action == "mark":
        assert PAGE.startswith(row["payload"]) and row["payload"]


def test_what_stands_in_headers_becomes_columns(tmp_path: Path) -> None:
    row = one(
        tmp_path, record(http(PAGE, 'CONTENT-TYPE: Text/HTML; a=b; Charset="ISO-8859-1"'), "WARC-Truncated: time")
    )
    assert (row["content_type"], row["charset"], row["source"]) == ("text/html", "iso-8859-1", "main")
    assert row["crawled_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) and row["origin_file"] == "one.warc"
    assert (row["rule"], row["action"], row["detail"]) == ("read.truncated", "mark", "the crawler cut it: time")
    assert row["doc_id"] == schema.doc_id("one.warc", 0)
    found = "WARC-Identified-Payload-Type: text/html"
    for header, expected in (
        ("Content-Type: application/octet-stream", "text/html"), ("X: y", "text/html"),
        ("Content-Type: image/png", "image/png"),
    ):  # fmt: skip
        assert one(tmp_path, record(http(PAGE, header), found))["content_type"] == expected
    for status in ("HTTP/2 200", "HTTP/1.1 200", "ICY 200 OK", "HTTP/3 200 "):
        assert one(tmp_path, record(http(PAGE, "Content-Type: text/html", status=status)))["payload"] == PAGE
    row = one(tmp_path, record(PAGE, kind="resource", media="text/html; charset=utf-8"))
    assert (row["payload"], row["content_type"], row["charset"]) == (PAGE, "text/html", "utf-8")


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("20080430204825", datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)),
        ("2026-02-29T00:00:00Z", None),
        ("2009-03-66T08:10:23-0700", None),
        ("yesterday", None),
    ],
)
def test_dates_of_every_form_that_archives_have(tmp_path: Path, date: str, expected: datetime | None) -> None:
    data = record(http(PAGE)).replace(b"2026-01-02T03:04:05Z", date.encode())
    counts = ReadCounts()
    assert one(tmp_path, data, counts=counts)["crawled_at"] == expected
    assert ("1 dates that cannot be read" in " ".join(counts.warnings)) == (expected is None)


def test_digests_are_compared_only_when_that_is_asked(tmp_path: Path) -> None:
    import base64
    import hashlib

    right = base64.b32encode(hashlib.sha1(chunked(PAGE)).digest()).decode()
    undone = hashlib.sha256(PAGE).hexdigest()
    block = http(chunked(PAGE), "Transfer-Encoding: chunked")
    for digest, rule in ((f"sha1:{right}", None), (f"sha256:{undone}", None), (f"sha1:{right[::-1]}", "read.digest")):
        data = record(block, f"WARC-Payload-Digest: {digest}")
        assert one(tmp_path, data, verify_digests=True).get("rule") == rule
        assert one(tmp_path, data).get("rule") is None


def test_wet_records_are_texts(tmp_path: Path) -> None:
    texts = ["Ein Text über Flüsse.\n", "", "three"]
    data = b"".join(gzip.compress(record(t.encode(), kind="conversion", media="text/plain")) for t in texts)
    data += gzip.compress(record("caf\xe9".encode("latin-1"), kind="conversion", media="text/plain"))
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(gzip.compress(record(b"x: y", kind="warcinfo", media="application/warc-fields")) + data)
    counts = ReadCounts()
    (task,) = cut(list_files([InputSettings(path=str(path))]))
    (given,) = read(task, counts)
    assert given.kind == "document" and given.batch.schema == schema.DOCUMENT
    assert given.batch["text"].to_pylist() == [*texts, "caf\ufffd"] and counts.other_records == {"warcinfo": 1}
    assert given.verdicts is not None and given.verdicts["rule"].to_pylist() == [None] * 3 + ["read.invalid_utf8"]


def test_batches_are_of_eight_mib_and_of_one_schema(tmp_path: Path) -> None:
    pages = [(f"https://example.test/{i}", bytes([65 + i]) * (3 << 20)) for i in range(7)]
    path = corpus.write_warc(tmp_path / "a.warc.gz", pages)
    given = list(read_warc(Slice(str(path), "a", "warc", "main"), ReadCounts()))
    assert [rows.batch.num_rows for rows in given] == [2, 2, 2, 1]
    assert {rows.batch.schema for rows in given} == {schema.RAW}
    assert [row["payload"] for rows in given for row in rows.batch.to_pylist()] == [html for _, html in pages]


def test_a_remote_file_gives_the_same_rows(tmp_path: Path) -> None:
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(30))]
    path = corpus.write_warc(tmp_path / "a.warc.gz", pages)
    with fsspec.open("memory://crawl/a.warc.gz", "wb") as handle:
        handle.write(path.read_bytes())
    piece = Slice("memory://crawl/a.warc.gz", "a.warc.gz", "warc", "main", start=2000, end=9000)
    found = [row for given in read_warc(piece, ReadCounts()) for row in given.batch.to_pylist()]
    assert found == rows(path, start=2000, end=9000) and 3 < len(found) < 30
    with pytest.raises(OSError, match="No such file"):
        rows(tmp_path / "absent.warc")

    class Failing(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        WarcReader(Failing(), "a")


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_fastwarc_and_warcio_read_the_same_records(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(20))]
    path = corpus.write_warc(tmp_path / "a.warc", pages, gz=pack is gzip.compress)
    counts = ReadCounts()
    ours = [(row["url"], row["payload"]) for row in rows(path, counts)]
    with open(path, "rb") as handle:
        fast = [
            (r.headers["WARC-Target-URI"], r.reader.read())
            for r in FastIterator(handle)
            if r.is_http and r.http_headers.status_code
        ]
    with open(path, "rb") as handle:
        slow = [
            (r.rec_headers["WARC-Target-URI"], r.content_stream().read())
            for r in ArchiveIterator(handle) if r.rec_type == "response"
        ]  # fmt: skip
    assert ours == slow == [pair for pair in fast if pair[1]] and counts.other_records == {"warcinfo": 1, "request": 20}


# -- real files ------------------------------------------------------------------------------------------------

# Their bytes are no records: a line of text, a line end, 55 bytes of garbage. warcio counts one each.
NO_RECORDS = ("input-nonarc.arc", "invalid-warcheaderversion-20.warc", "invalid-warcreader-diagnosis-1.warc")
# These lack a part of a record; each must be told.
LOSSY = ("clipped.warc.gz", "corrupted-mid-record.warc.gz.open", "redirect.warc", "example-space-in-url.arc")


def _counted(data: bytes, name: str) -> tuple[int, int]:
    """(records, places of damage) of a file."""
    reader = WarcReader(io.BytesIO(data), name)
    records = 0
    while (batch := reader.next_batch()) is not None:
        records += len(batch["doc_id"])
    others, notes, more, _ = reader.counts()
    return records + sum(n for _, n in others), len(notes) + len(more)


@pytest.mark.realdata
def test_every_record_that_others_read_is_read_and_damage_is_told(shared: Path) -> None:
    lines = (shared / "warc_edge/observed.tsv").read_bytes().decode().strip("\n").split("\n")  # a field may hold \r
    names, *fields = (line.split("\t") for line in lines)
    observed = [dict(zip(names, values, strict=True)) for values in fields]
    packed = zstandard.ZstdDecompressor().stream_reader((shared / "warc_edge/warc_edge.tar.zst").read_bytes()).read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = {m.name: f.read() for m in archive if (f := archive.extractfile(m)) is not None}
    assert len(observed) == len(files) == 165
    fewer, silent, slowest = [], [], 0.0
    for row in observed:
        name = row["file"]
        data = next(data for path, data in files.items() if path.endswith(name))
        began = time.process_time()
        records, damaged = _counted(data, name)
        slowest = max(slowest, time.process_time() - began)
        if records < max(int(row["warcio_records"] or 0), int(row["fastwarc_records"] or 0)):
            fewer.append(name)
        if name.endswith(LOSSY) and not damaged:
            silent.append(name)
    assert sorted(name.rpartition("__")[2] for name in fewer) == sorted(NO_RECORDS)
    assert not silent and slowest < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


@pytest.mark.realdata
def test_real_files_hold_what_fastwarc_reads(shared: Path) -> None:
    for path in sorted((shared / "warc_real").iterdir()):
        data = path.read_bytes()
        theirs = sum(1 for _ in FastIterator(io.BytesIO(data), parse_http=False))
        assert _counted(data, path.name) == (theirs, 0), path.name
