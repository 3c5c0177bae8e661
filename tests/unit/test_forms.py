"""The readers of CSV, saved pages, tar samples and JSON that is no lines: what they give, tell, and do not take."""

import bz2
import gzip
import io
import json
import lzma
import resource
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import corpus
from curate.errors import SchemaError
from curate.io import read
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts


def everything(path: Path, counts: ReadCounts | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Every row as a dict of what is not null, with its verdict: (rule, action)."""
    found = []
    for task in cut(list_files([InputSettings(path=str(path), **settings)])):
        for rows in read.read(task, counts or ReadCounts()):
            verdicts = [None] * rows.batch.num_rows if rows.verdicts is None else rows.verdicts.to_pylist()
            for row, verdict in zip(rows.batch.to_pylist(), verdicts, strict=True):
                row = {name: value for name, value in row.items() if value is not None}
                if verdict and verdict["rule"]:
                    row["verdict"] = (verdict["rule"], verdict["action"])
                found.append(row)
    return found


def told(rows: list[dict[str, Any]], name: str = "text") -> list[tuple[Any, Any]]:
    return [(row.get(name), row.get("verdict")) for row in rows]


# -- JSON ------------------------------------------------------------------------------------------------------


def test_a_repeated_key_is_told_and_no_value_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "1", "text": "2", "k": {"x": 1, "x": 2}, "text": "3"}\n{"text": "4"}\n')
    first, second = everything(tmp_path / "a.jsonl")
    assert first["text"] == "3" and first["verdict"] == ("read.repeated_key", "mark") and "verdict" not in second
    assert json.loads(first["extra"]) == {"k": {"x": 2, "x_": 1}, "text_": ["1", "2"]}


def test_what_is_no_object_in_an_array_costs_itself(tmp_path: Path) -> None:
    data = '[{"text": "a"}, 5, {"text": "b" "c"},\n {"text": "d\n}, {"text": "e"}, {"text": "f"}]  trailing'
    (tmp_path / "a.json").write_text(data)
    rows = everything(tmp_path / "a.json")
    useless = ("read.not_json", None)
    assert told(rows)[:3] == [("a", None), ("5", useless), ('{"text": "b" "c"}', useless)]
    assert told(rows)[-3:] == [("e", None), ("f", None), ("trailing", useless)]
    assert [verdict for _, verdict in told(rows)].count(useless) == 4
    (tmp_path / "cut.json").write_text(data[:20])
    assert told(everything(tmp_path / "cut.json"))[-1][1] == useless
    large = json.dumps([{"text": "x" * 300}, {"text": "y"}])
    (tmp_path / "large.json").write_text(large)
    assert [row.get("verdict") for row in everything(tmp_path / "large.json", max_line=100)] == [
        ("read.too_large", None), None
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b'["' + b'\\"' * 2_000_000,
        b"[" + b"{" * 1_000_000,
        b'{\n"' + b"\\" * 4_000_001,
        b"[" + b'"' * 4_000_000,
        b"[1,2\n" * 60_000,
    ],
    ids=["quotes", "deep", "backslashes", "odd", "strays"],
)  # fmt: skip
def test_hostile_json_takes_linear_time(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    begin = time.process_time()
    assert all("verdict" in row for row in everything(tmp_path / "a.json", max_line=1 << 20))
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress, lambda data: pa.compress(data, "lz4", asbytes=True)])
def test_what_expands_takes_little_memory_and_damage_is_told(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    end = b'\n{"text": "after"}\n'
    path = tmp_path / "a.jsonl"
    path.write_bytes(pack(b" " * (32 << 20) + end))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [row.get("verdict") for row in everything(path, max_line=1 << 20)] == [("read.too_large", None), None]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 << 10  # KiB
    lines = "".join(json.dumps({"text": f"{i * 7919:x} words of line {i}"}) + "\n" for i in range(4_000)).encode()
    whole = pack(lines)
    path.write_bytes(whole[: len(whole) // 2])
    counts = ReadCounts()
    assert len(everything(path, counts)) < 3_900 and "damaged after" in counts.warnings[0] and counts.skipped_bytes
    path.write_bytes(whole + whole)  # one stream after the other
    assert len(everything(path)) == 8_000


# -- CSV -------------------------------------------------------------------------------------------------------


def test_csv_with_quotes_line_ends_ragged_rows_and_a_mark(tmp_path: Path) -> None:
    data = '\ufeffid,text,n\r\n1,"two\nlines, ""quoted""",5\r\n\r\n2,short\r\n3,long,6,7,8\r\n4,,9\r\n5,caf\udce9,0\r\n'
    (tmp_path / "a.csv").write_bytes(data.encode("utf-8", "surrogateescape"))
    rows = everything(tmp_path / "a.csv")
    assert told(rows) == [
        ('two\nlines, "quoted"', None), ("short", ("read.ragged_row", "mark")), ("long", ("read.ragged_row", "mark")),
        ("4,,9\r\n", ("read.no_text", None)), ("caf\ufffd", ("read.invalid_utf8", "mark")),
    ]  # fmt: skip
    assert [row.get("source_id") for row in rows] == ["1", "2", "3", "4", "5"]
    assert json.loads(rows[0]["extra"]) == {"n": "5"}
    assert json.loads(rows[2]["extra"]) == {"n": "6", "more_values": ["7", "8"]}
    assert rows[0]["origin_offset"] == len("\ufeffid,text,n\r\n".encode())
    (tmp_path / "b.tsv").write_text('text\tn\na "quoted" word\t1\n')
    assert told(everything(tmp_path / "b.tsv")) == [('a "quoted" word', None)]
    (tmp_path / "c.csv").write_text("text;n\neins, zwei;1\n")
    assert told(everything(tmp_path / "c.csv")) == [("eins, zwei", None)]
    (tmp_path / "d.csv").write_text("body,n\nx,1\n")
    assert told(everything(tmp_path / "d.csv", columns={"text": "body"})) == [("x", None)]
    with pytest.raises(SchemaError, match="no column `text`; it has: body, n"):
        everything(tmp_path / "d.csv")


def test_a_quote_that_is_never_closed_is_told_and_linear(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nfine\n" + '"open\n' * 60_001)
    begin = time.process_time()
    rows = everything(tmp_path / "a.csv", max_line=2000)
    assert told(rows)[0] == ("fine", None) and time.process_time() - begin < 5
    (tmp_path / "b.csv").write_text('text\n"open\n' + "x\n" * 3000 + "after\n")
    rows = everything(tmp_path / "b.csv", max_line=2000)
    assert told(rows)[0] == ('"open\n', ("read.too_large", None)) and told(rows)[-1] == ("after", None)


# -- pages -----------------------------------------------------------------------------------------------------


def test_the_address_of_a_saved_page_is_its_own_word_or_its_place(tmp_path: Path) -> None:
    page = corpus.page("words of the page").decode()
    when = "Thu Jan 01 2026 10:00:00 GMT+0100 (CET)"
    single = f"<!--\n Page saved with SingleFile \n url: https://e.test/a?b=1&c=2 \n saved date: {when}\n-->"
    canonical = '<head><link href="https://canon.test/x" rel="canonical">'
    pages = {
        "single.html": page.replace("<head>", f"{single}<head>"),
        "saved.htm": "<!-- saved from url=(0020)https://s.test/page -->\n" + page,
        "canonical.html": page.replace("<head>", canonical),
        "w.test/dir/index.html": page.replace("<head>", canonical),
        "http/w.test+8080/a b.html": page,
        "plain/page.html": page,
        "archive.mhtml": "From: <Saved by Blink>\r\nSnapshot-Content-Location: https://m.test/\r\nDate: Thu, 1 Jan 2026"
        ' 09:00:00 -0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\ttype="text/html";\r\n\tboundary='
        '"--x"\r\n\r\n----x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: '
        "quoted-printable\r\nContent-Location: https://m.test/\r\n\r\n<html><body><p>"
        "caf=C3=A9 =\r\nau lait</body></html>\r\n----x\r\n"
        "Content-Type: image/png\r\n\r\nx\r\n----x--\r\n",
    }  # fmt: skip
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    rows = {row["origin_file"]: row for row in everything(tmp_path)}
    assert {name: row.get("url") for name, row in rows.items()} == {
        "single.html": "https://e.test/a?b=1&c=2",
        "saved.htm": "https://s.test/page",
        "canonical.html": "https://canon.test/x",
        "w.test/dir/index.html": "https://w.test/dir/",
        "http/w.test+8080/a b.html": "http://w.test:8080/a%20b.html",
        "plain/page.html": None,
        "archive.mhtml": "https://m.test/",
    }
    nine = datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert rows["single.html"]["crawled_at"] == rows["archive.mhtml"]["crawled_at"] == nine
    assert rows["archive.mhtml"]["payload"].decode() == "<html><body><p>caf\u00e9 au lait</body></html>"
    assert rows["archive.mhtml"]["charset"] == "utf-8" and rows["plain/page.html"]["content_type"] == "text/html"
    assert all("payload" in row for row in rows.values())


@pytest.mark.parametrize(
    "data",
    [
        b"<html>" + b"<!--" * 200_000,
        b"<html>" + b"<link rel=canonical " * 60_000,
        b'Content-Type: multipart/related; boundary="x"\r\n\r\n' + b"--x\r\n" * 200_000,
    ],
    ids=["comments", "links", "parts"],
)
def test_hostile_pages_take_linear_time(tmp_path: Path, data: bytes) -> None:
    begin = time.process_time()
    for name in ("a.html", "a.mhtml"):
        (tmp_path / name).write_bytes(data)
        assert len(everything(tmp_path / name)) == 1
    assert time.process_time() - begin < 3


# -- archives --------------------------------------------------------------------------------------------------


def test_tar_samples_with_long_names_pages_and_a_missing_end(tmp_path: Path) -> None:
    def archive(members: dict[str, bytes], form: int) -> bytes:
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as made:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        return sink.getvalue()

    deep = "d/" * 120
    texts = {f"{deep}{i:04}.txt": f"text {i}".encode() for i in range(40)} | {f"{deep}0039.png": b"x" * 3000}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = archive(texts, form)
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
        counts = ReadCounts()
        assert [row["text"] for row in everything(tmp_path / "a.tar.gz", counts)] == [f"text {i}" for i in range(40)]
        assert counts.other_records == {"tar member .png": 1}
    (tmp_path / "b.tar").write_bytes(data[: len(data) // 2])
    counts = ReadCounts()
    assert 0 < len(everything(tmp_path / "b.tar", counts)) < 40 and "the archive lacks its end" in counts.warnings[0]
    pages = {"e.test/0.html": b"<p>page</p>", "e.test/0.url": b"https://e.test/zero", "e.test/1.html": b"<p>one</p>"}
    (tmp_path / "c.tar").write_bytes(archive(pages, tarfile.USTAR_FORMAT))
    rows = everything(tmp_path / "c.tar")
    assert [(row["url"], row["payload"]) for row in rows] == [
        ("https://e.test/zero", b"<p>page</p>"), ("https://e.test/1.html", b"<p>one</p>")
    ]  # fmt: skip


def test_wacz_is_read_through_and_names_its_members(tmp_path: Path) -> None:
    import zipfile

    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(6))]
    inner = corpus.write_warc(tmp_path / "x/data.warc.gz", pages)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.wacz", "w", kind) as made:
            made.writestr("pages/pages.jsonl", "{}")
            made.write(inner, "archive/data.warc.gz")
        rows = everything(tmp_path / "a.wacz")
        assert [row["payload"] for row in rows] == [html for _, html in pages]
        assert {row["origin_file"] for row in rows} == {"a.wacz/archive/data.warc.gz"}
