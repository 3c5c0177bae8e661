"""The cut into tasks is a pure function of names and sizes; a slice owns what starts in it."""

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.errors import ConfigError
from curate.io import inputs, read
from curate.io.inputs import InputSettings, cut, list_files


def documents(tasks: list[inputs.TaskInput]) -> list[tuple[bytes, str]]:
    found = []
    for task in tasks:
        for rows in read.read(task, read.ReadCounts()):
            texts = rows.batch.column("payload" if rows.kind == "raw" else "text").to_pylist()
            found += list(zip(rows.batch.column("doc_id").to_pylist(), texts, strict=True))
    return found


@pytest.mark.parametrize("size", [200, 1000, 1 << 30])
def test_slices_of_a_jsonl_file_give_every_line_once(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SLICE", size)
    rows = [{"text": f"line {i} " + "é" * (i % 37)} for i in range(300)]
    path = corpus.write_jsonl(tmp_path / "a.jsonl", rows)
    tasks = cut(list_files([InputSettings(path=str(path))]))
    assert len(tasks) == -(-path.stat().st_size // size)
    found = documents(tasks)
    assert [text for _, text in found] == [row["text"] for row in rows]
    assert len({identity for identity, _ in found}) == 300
    monkeypatch.setattr(inputs, "SLICE", 1 << 30)  # the cut decides nothing about identity
    assert documents(cut(list_files([InputSettings(path=str(path))]))) == found


@pytest.mark.parametrize("size", [2000, 20_000, 1 << 30])
def test_slices_of_a_warc_give_every_record_once(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "WARC_SLICE", size)
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(50))]
    path = corpus.write_warc(tmp_path / "a.warc.gz", pages)
    tasks = cut(list_files([InputSettings(path=str(path))]))
    assert [payload for _, payload in documents(tasks)] == [html for _, html in pages]


def test_a_plain_warc_reads_like_its_gzip(tmp_path: Path) -> None:
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(10))]
    plain = corpus.write_warc(tmp_path / "a.warc", pages, gz=False)
    tasks = cut(list_files([InputSettings(path=str(plain))]))
    assert [payload for _, payload in documents(tasks)] == [html for _, html in pages]


def test_parquet_is_cut_at_row_groups_and_keeps_its_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [i.to_bytes(16) for i in range(100)]
    table = pa.table(
        {"body": [f"text {i}" for i in range(100)], "doc_id": pa.array(ids, pa.binary(16)), "extra": range(100)}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    monkeypatch.setattr(inputs, "SLICE", 400)
    tasks = cut(list_files([InputSettings(path=str(tmp_path), columns={"text": "body"})]))
    assert len(tasks) > 1
    assert documents(tasks) == [(identity, f"text {i}") for i, identity in enumerate(ids)]
    batch = next(read.read(tasks[0], read.ReadCounts()))
    assert batch.schema.names[-1] == "extra"  # unknown columns are carried on


def test_a_new_file_moves_few_groups(tmp_path: Path) -> None:
    for i in range(500):
        (tmp_path / f"module_{i:03d}.py").write_text(f"x = {i}\n")
    before = {task.id for task in cut(list_files([InputSettings(path=str(tmp_path))]))}
    (tmp_path / "module_123a.py").write_text("y = 1\n")
    after = {task.id for task in cut(list_files([InputSettings(path=str(tmp_path))]))}
    assert len(before) > 3 and len(after - before) <= 2


def test_ids_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        corpus.write_jsonl(tmp_path / place / "sub/a.jsonl", [{"text": "same"}])
    found = [documents(cut(list_files([InputSettings(path=str(tmp_path / p))]))) for p in ("here", "there")]
    assert found[0] == found[1]


def test_listing_by_folder_glob_format_and_exclusion(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", "sub/test/c.py", "sub/notes.md", ".hidden/d.py", "image.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")

    def names(**settings: object) -> list[str]:
        return [f.rel for f in list_files([InputSettings(**{"path": str(tmp_path), **settings})])]  # type: ignore[arg-type]

    assert names() == ["a.py", "sub/b.py", "sub/notes.md", "sub/test/c.py"]
    assert names(exclude=["**/test", "*.md"]) == ["a.py", "sub/b.py", "sub/notes.md"]
    assert names(path=f"{tmp_path}/sub/*.py") == ["b.py"]
    assert names(path=f"{tmp_path}/a.py", root=str(tmp_path.parent)) == [f"{tmp_path.name}/a.py"]
    with pytest.raises(ConfigError, match="nothing to read there"):
        names(exclude=["*", "sub"])


def test_limit_is_shared_out(tmp_path: Path) -> None:
    for name in "abc":
        corpus.write_jsonl(tmp_path / f"{name}.jsonl", [{"text": f"{name}{i}"} for i in range(10)])
    files = list_files([InputSettings(path=str(tmp_path / f"{n}.jsonl"), source=n) for n in "abc"])
    found = Counter(text[0] for _, text in documents(cut(files, 8)))
    assert found == {"a": 3, "b": 3, "c": 2}


def test_chunked_bodies_whether_decoded_already_or_not() -> None:
    from curate.io.warc import dechunk

    assert dechunk(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n") == b"hello world"
    assert dechunk(b"<html>decoded before it was archived</html>") == b"<html>decoded before it was archived</html>"
    assert dechunk(b"5\r\nhello\r\nnot a size") == b"hellonot a size"


def test_a_plain_warc_loses_nothing_around_damage_and_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "WARC_SLICE", 2000)
    parts = []
    for n in range(3):
        pages = [
            (f"https://example.test/{n}/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(5, seed=n))
        ]
        parts.append(corpus.write_warc(tmp_path / f"{n}.warc", pages, gz=False).read_bytes())
    path = tmp_path / "in" / "plain_named.warc.gz"
    path.parent.mkdir()
    path.write_bytes((b"garbage " * 20 + b"\r\n").join(parts))
    found = documents(cut(list_files([InputSettings(path=str(path))])))
    assert len(found) == len({identity for identity, _ in found}) == 15


def test_zstd_lines_come_out_up_to_the_damage_and_the_damage_is_told(tmp_path: Path) -> None:
    import zstandard

    rng = random.Random(1)
    lines = [f'{{"text": "{i} {rng.randbytes(60).hex()}"}}\n' for i in range(4000)]
    half = len(lines) // 2
    long_window = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    frames = [
        zstandard.ZstdCompressor(compression_params=long_window).compress("".join(part).encode())
        for part in (lines[:half], lines[half:])
    ]
    for name, data, least, warned in (
        ("whole", b"".join(frames), 4000, False),
        ("cut", b"".join(frames)[:-100_000], 2000, True),
        ("trailing", b"".join(frames) + b"garbage", 4000, True),
    ):
        path = tmp_path / f"{name}.jsonl.zst"
        path.write_bytes(data)
        counts = read.ReadCounts()
        (task,) = cut(list_files([InputSettings(path=str(path))]))
        found = sum(rows.batch.num_rows for rows in read.read(task, counts))
        assert found >= least and bool(counts.warnings) == warned, name
