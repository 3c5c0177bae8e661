"""What a folder holds: published layouts read as they come, in their own company, and nothing is passed over unsaid."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import corpus
from curate.errors import ConfigError
from curate.io import folder, forms, read
from curate.io.inputs import Inputs, InputSettings, cut, list_files
from curate.io.listing import Found
from curate.io.read import ReadCounts

TEXTS = ("one of two short texts about a river", "two of two short texts about a bridge")


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def texts(key: str = "text", **more: Any) -> bytes:
    return lines(*({key: text, **more} for text in TEXTS))


def table(form: str = "parquet", key: str = "text", **more: list[Any]) -> bytes:
    data, sink = pa.table({key: list(TEXTS), **more}), pa.BufferOutputStream()
    if form == "parquet":
        pq.write_table(data, sink)
    else:
        make = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with make(sink, data.schema) as writer:
            writer.write_table(data)
    return sink.getvalue().to_pybytes()


def tar(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def rows(listed: Inputs, counts: ReadCounts | None = None) -> list[dict[str, Any]]:
    """The rows that stay."""
    found = []
    for task in cut(listed):
        for part in read.read(task, counts or ReadCounts()):
            gone = [None] * part.batch.num_rows if part.verdicts is None else part.verdicts["rule"].to_pylist()
            action = [None] * part.batch.num_rows if part.verdicts is None else part.verdicts["action"].to_pylist()
            for row, rule, what in zip(part.batch.to_pylist(), gone, action, strict=True):
                if rule is None or what == "mark":
                    found.append({name: value for name, value in row.items() if value is not None})
    return found


def listed(path: Path, **settings: Any) -> Inputs:
    return list_files([InputSettings(path=str(path), **settings)])


def left(found: Inputs) -> dict[str, tuple[str, ...]]:
    return {one.why: one.names for one in found.passed}


CARD = b"---\nlicense: other\n---\n# A card\nWords about the data set, and about whom to ask.\n"
STATE = b'{\n  "_data_files": [{"filename": "data-00000-of-00001.arrow"}],\n  "_split": "train"\n}\n'
REPOSITORY = {"README.md": CARD, ".gitattributes": b"*.parquet filter=lfs\n"}
WIKI = "".join(
    f'<doc id="{i}" url="https://w.test/{i}" title="T {i}">\nT {i}\n\n{t}\n</doc>\n' for i, t in enumerate(TEXTS)
)

# Layout -> its files, the settings that reading it takes, and what its first document must have beside the text.
LAYOUTS: dict[str, tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]] = {
    "FineWeb": (
        {**REPOSITORY, "data/CC-MAIN-2024-10/000_00000.parquet": table(url=["https://e.test/"] * 2, dump=["d"] * 2)},
        {},
        {"url": "https://e.test/", "dump": "d"},
    ),
    "C4": (
        {**REPOSITORY, "en/c4-train.00000-of-01024.json.gz": gzip.compress(texts(url="https://e.test/"))},
        {},
        {"url": "https://e.test/"},
    ),
    "RedPajama 1": (
        {**REPOSITORY, "RedPajama-Data-1T.py": b"import datasets\n", "arxiv/a.jsonl": texts(meta={"k": 1})},
        {},
        {"extra": '{"meta": {"k": 1}}'},
    ),
    "RedPajama 2": (
        {
            **REPOSITORY,
            "sample/documents/2023-06/0000/en_head.json.gz": gzip.compress(texts("raw_content")),
            "sample/quality_signals/2023-06/0000/en_head.signals.json.gz": gzip.compress(lines({"id": "x"})),
            "sample/duplicates/2023-06/0000/en_head.duplicates.parquet": table(key="digest"),
        },
        {"columns": {"text": "raw_content"}},
        {},
    ),
    "Dolma": (
        {
            "v1/documents/a-0000.json.gz": gzip.compress(texts(id="a-1", metadata={"k": 1})),
            "v1/attributes/toxic/a-0000.json.gz": gzip.compress(lines({"id": "a-1", "attributes": {}})),
        },
        {},
        {"source_id": "a-1"},
    ),
    "Wikipedia, lines": ({"AA/wiki_00": texts(id="1", url="https://w.test/1")}, {}, {"url": "https://w.test/1"}),
    "Wikipedia, articles": ({"AA/wiki_00": WIKI.encode()}, {}, {"url": "https://w.test/0", "title": "T 0"}),
    "StarCoder": (
        {**REPOSITORY, "python/train-00000-of-00059.parquet": table(key="content", max_stars_count=[1, 2])},
        {"columns": {"text": "content"}},
        {"max_stars_count": 1},
    ),
    "CulturaX": (
        {**REPOSITORY, "vi/vi_part_00000.parquet": table(url=["u"] * 2), "vi/checksum.sha256": b"0" * 64},
        {},
        {"url": "u"},
    ),
    "OSCAR": (
        {**REPOSITORY, "en_meta/en_meta_part_1.jsonl.zst": zstandard.compress(texts("content", metadata={"k": 1}))},
        {"columns": {"text": "content"}},
        {},
    ),
    "save_to_disk": (
        {
            "dataset_dict.json": b'{"splits": ["train"]}',
            "train/data-00000-of-00001.arrow": table("stream"),
            "train/cache-0123456789abcdef.arrow": table("stream"),
            "train/dataset_info.json": b"{\n}",
            "train/state.json": STATE,
        },
        {},
        {},
    ),
    "hive": (
        {"_SUCCESS": b"", "lang=en/year=2024/part-0.snappy.parquet": table(), "_temporary/0/part-1.parquet": table()},
        {},
        {"lang": "en", "year": "2024"},
    ),
    "WebDataset": (
        {
            "shard-000000.tar": tar(
                {f"{i:06}{suffix}": data for i, text in enumerate(TEXTS) for suffix, data in
                 ((".txt", text.encode()), (".json", b'{"url": "https://e.test/"}'), (".jpg", b"\xff\xd8" * 999))}
            )
        },
        {},
        {"source_id": "000000", "url": "https://e.test/"},
    ),
    "Scrapy": ({"items.jl": texts(url="https://e.test/")}, {}, {"url": "https://e.test/"}),
    "one object a file": (
        {f"{i}.json": json.dumps({"text": text}, indent=2).encode() for i, text in enumerate(TEXTS)},
        {},
        {},
    ),
    "an array": ({"train.json": json.dumps([{"text": text} for text in TEXTS]).encode()}, {}, {}),
    "a table": ({"LICENSE": b"as it is", "train.csv": f'id,text\n1,"{TEXTS[0]}"\n2,{TEXTS[1]}\n'.encode()}, {}, {}),
    "Arrow": ({"train.arrow": table("file", label=[1, 2])}, {}, {"label": 1}),
    "WET": ({"crawl.warc.wet": b"".join(
        b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (len(text), text.encode())
        for text in TEXTS)}, {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_read_as_they_come(tmp_path: Path, name: str) -> None:
    files, settings, first = LAYOUTS[name]
    found = listed(write(tmp_path, files), **settings)
    made = rows(found)
    assert [row["text"].removeprefix(f"T {i}\n\n") for i, row in enumerate(made)] == list(TEXTS)
    assert first.items() <= made[0].items()
    # Every file is read, or is named in what was passed over.
    seen = {file.rel for file in found.files} | {one for names in left(found).values() for one in names}
    assert seen == set(files) and all(any(one in told for told in found.warnings) for names in left(found).values()
                                      for one in names)  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress), (".zstd", zstandard.compress),
        (".xz", lzma.compress), (".bz2", bz2.compress), (".lz4", lambda data: pa.compress(data, "lz4", asbytes=True)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["lines", "array", "pretty", "utf-8-sig", "utf-16"])
def test_json_in_every_layout_and_compression(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], layout: str
) -> None:
    """Whatever the name says of lines or arrays; the file is larger than what is looked at."""
    odd = 'a "quoted\\" {text}] \u00e9\u4e2d '
    given = [{"text": f"{i} {odd}{corpus.sentence(random.Random(i))}"} for i in range(500)]
    if layout == "array":
        data = json.dumps(given).encode()
    elif layout == "pretty":
        data = "\n".join(json.dumps(row, indent=4, ensure_ascii=False) for row in given).encode()
    else:
        data = lines(*given).decode().encode("utf-8" if layout == "lines" else layout)
    for name in ("a.json", "b.jsonl"):
        found = listed(write(tmp_path, {name + suffix: pack(data)}) / (name + suffix))
        made = rows(found)
        assert [row["text"] for row in made] == [row["text"] for row in given]
        if layout in ("lines", "array"):  # the bytes at the offset are the object's
            assert json.loads(data[made[7]["origin_offset"] :].partition(b"}, {" if layout == "array" else b"\n")[0]
                              + (b"}" if layout == "array" else b"")) == given[7]  # fmt: skip


# -- company ---------------------------------------------------------------------------------------------------


def test_what_a_file_is_follows_from_content_name_and_company(tmp_path: Path) -> None:
    page = corpus.page("words of a page")
    source = {"pkg/__init__.py": b"x = 1\n" * 40, "pkg/a.jl": b"f(x) = x\n", "README.md": CARD, "package.json": b"{}",
              "docs/index.html": page[:100]}  # fmt: skip
    found = listed(write(tmp_path / "program", source))
    assert [file.rel for file in found.files] == ["README.md", "pkg/__init__.py", "pkg/a.jl"]
    assert {file.format for file in found.files} == {"text"}
    saved = {"e.test/index.html": page, "e.test/a?b=1": page, "e.test/style.css": b"p {}" * 900, "e.test/i.png": b"\0"}
    found = listed(write(tmp_path / "saved", saved))
    assert {file.rel: file.format for file in found.files} == {"e.test/index.html": "html", "e.test/a?b=1": "html"}
    assert left(found) == {folder.PARTS: ("e.test/style.css", "e.test/i.png")}
    assert [row["url"] for row in rows(found)] == ["https://e.test/a?b=1", "https://e.test/"]
    data = {"a.jsonl": texts(), "notes.txt": b"a text", "load.py": b"x", "LICENSE.txt": b"y", "page.html": page[:20]}
    found = listed(write(tmp_path / "data", data))
    assert {file.rel: file.format for file in found.files} == {"a.jsonl": "jsonl", "notes.txt": "text"}
    assert set(left(found)) == {folder.CARDS, folder.BESIDE["data"]["text"], folder.BESIDE["data"]["pages"]}
    # A file that is given by its name has no company.
    assert listed(tmp_path / "data/load.py").files[0].format == "text"
    assert listed(tmp_path / "data/LICENSE.txt").files[0].format == "text"


def test_a_folder_that_would_mostly_be_passed_over_stops_unless_told(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": texts(), "big.bin": b"\0" * 2000, "loose.xyz": b"words"})
    with pytest.raises(ConfigError, match=r"most of it would not be read \(2,005 bytes.*big\.bin.*`format`.*`exclude`"):
        listed(tmp_path)
    found = listed(tmp_path, exclude=["*.bin"])
    assert [file.rel for file in found.files] == ["a.jsonl"]
    assert left(found) == {folder.EXCLUDED: ("big.bin",), forms.UNKNOWN: ("loose.xyz",)}
    assert [file.rel for file in listed(tmp_path, format="jsonl").files] == ["a.jsonl"]
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99999\n"
    write(tmp_path / "pointers", {"a.parquet": pointer, "b.jsonl": texts()})
    with pytest.raises(ConfigError, match=r"99,999 bytes.*Git LFS pointers.*a\.parquet"):
        listed(tmp_path / "pointers")
    with pytest.raises(ConfigError, match="nothing to read there: not read, Git LFS pointers"):
        listed(tmp_path / "pointers/a.parquet")


def test_wat_is_told_as_no_documents_whatever_its_name(tmp_path: Path) -> None:
    def record(kind: bytes, body: bytes) -> bytes:
        return b"WARC/1.0\r\nWARC-Type: %b\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (kind, len(body), body)

    data = record(b"warcinfo", b"software: x\r\n") + record(b"metadata", b'{"Container": {}, "Envelope": {}}')
    write(tmp_path, {"a.warc.gz": gzip.compress(data), "b.jsonl": texts()})
    assert left(listed(tmp_path)) == {forms.WAT: ("a.warc.gz",)}


def test_linked_folders_are_followed_once_and_cycles_told(tmp_path: Path) -> None:
    write(tmp_path, {"in/a/x.jsonl": texts(), "other/y.jsonl": texts(), "other/in/z.jsonl": texts()})
    (tmp_path / "in/0-other").symlink_to(tmp_path / "other")
    (tmp_path / "in/again").symlink_to(tmp_path / "other/in")
    (tmp_path / "in/a/up").symlink_to(tmp_path)
    (tmp_path / "other/back").symlink_to(tmp_path / "in")
    found = listed(tmp_path / "in")
    assert [file.rel for file in found.files] == ["0-other/in/z.jsonl", "0-other/y.jsonl", "a/x.jsonl"]
    told = "\n".join(found.warnings)
    assert "in/again: a link to a folder that is read already" in told
    assert "in/a/up: a link to a folder that holds it" in told
    assert "in/0-other/back: a link to a folder that is read already" in told


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, {"a[1].jsonl": texts(), "a1.jsonl": texts()})
    assert [file.rel for file in listed(tmp_path / "a[1].jsonl").files] == ["a[1].jsonl"]


def test_looking_takes_no_more_than_the_beginning_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.jsonl": texts() * 1000, "b.csv": b"text\n" + b"words\n" * 10_000})
    taken: list[int] = []
    head = Found.head

    def counted(self: Found, name: str, n: int) -> bytes:
        data = head(self, name, n)
        taken.append(len(data))
        return data

    monkeypatch.setattr(Found, "head", counted)
    listed(tmp_path)
    assert taken == [forms.HEAD, forms.HEAD]


def test_a_name_that_is_no_utf8_has_stable_ids(tmp_path: Path) -> None:
    made = []
    for place in ("here", "there"):
        corpus.write_jsonl(tmp_path / place / os.fsdecode(b"caf\xe9.jsonl"), [{"text": "a"}])
        made.append([(row["doc_id"], row["origin_file"]) for row in rows(listed(tmp_path / place))])
    assert made[0] == made[1] and made[0][0][1] == "caf\\xe9.jsonl"
