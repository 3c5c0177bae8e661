"""The cut into tasks is a pure function of names and sizes; a slice owns what starts in it."""

import json
import os
import random
import socket
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.errors import ConfigError, CurateError
from curate.io import footers, inputs, read
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


@pytest.mark.parametrize("size", [2000, 20_000, 1 << 30])
def test_slices_of_a_plain_warc_give_every_record_once(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SLICE", size)
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(10))]
    plain = corpus.write_warc(tmp_path / "a.warc", pages, gz=False)
    tasks = cut(list_files([InputSettings(path=str(plain))]))
    assert len(tasks) == -(-plain.stat().st_size // size)
    assert [payload for _, payload in documents(tasks)] == [html for _, html in pages]


def test_parquet_is_cut_at_row_groups_and_its_footer_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"body": [f"text {i}" for i in range(100)]}), tmp_path / "a.parquet", row_group_size=10)
    whole = documents(cut(list_files([InputSettings(path=str(tmp_path), columns={"text": "body"})])))
    opened: list[object] = []
    parquet_file = footers.pq.ParquetFile
    open_one = lambda handle, **more: opened.append(1) or parquet_file(handle, **more)  # noqa: E731
    monkeypatch.setattr(footers.pq, "ParquetFile", open_one)
    monkeypatch.setattr(inputs, "SLICE", 400)
    listed = list_files([InputSettings(path=str(tmp_path), columns={"text": "body"})])
    tasks = cut(listed)
    assert len(tasks) > 1 and len(opened) == 1
    assert documents(tasks) == whole and [text for _, text in whole] == [f"text {i}" for i in range(100)]
    assert listed.files[0].rows == 100 and listed.files[0].text_bytes > 500


def test_small_parquet_files_are_put_together(tmp_path: Path) -> None:
    for i in range(300):
        pq.write_table(pa.table({"text": [f"text {i}"]}), tmp_path / f"{i:03d}.parquet")
    tasks = cut(list_files([InputSettings(path=str(tmp_path))]))
    assert len(tasks) < 15
    assert [text for _, text in documents(tasks)] == [f"text {i}" for i in range(300)]


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


# -- what is refused, and what is told -----------------------------------------------------------------------


def run_folder(path: Path, *, failures: tuple[str, ...] = (), finished: bool = True) -> Path:
    """A run's folder as another command finds it, with one document of its own identity."""
    (path / "documents").mkdir(parents=True)
    table = pa.table({"doc_id": pa.array([b"\1" * 16], pa.binary(16)), "text": ["of the run"], "source": ["web"]})
    pq.write_table(table, path / "documents/0123456789ab.parquet")
    (path / "documents/NOTES.txt").write_text("the user's own")
    (path / "passes/00-normalize").mkdir(parents=True)
    pq.write_table(table, path / "passes/00-normalize/0123456789ab.parquet")
    (path / "run.yaml").write_text("recipe:\n  version: 1\n")
    if finished:
        (path / "funnel.json").write_text(json.dumps({"failures": failures}))
    return path


@pytest.mark.parametrize("below", ["", "documents", "documents/*.parquet", "documents/0123456789ab.parquet"])
def test_a_finished_run_keeps_its_ids(tmp_path: Path, below: str) -> None:
    run_folder(tmp_path / "r")
    listed = list_files([InputSettings(path=f"{tmp_path}/r/{below}".rstrip("/"))])
    assert documents(cut(listed)) == [(b"\1" * 16, "of the run")]
    assert listed.trusted == (str(tmp_path / "r"),) and not listed.ids_may_repeat
    run_folder(tmp_path / "s")
    both = [InputSettings(path=str(tmp_path / name), root=str(tmp_path)) for name in "rs"]
    assert list_files(both).ids_may_repeat


@pytest.mark.parametrize("below", ["", "documents", "passes/00-normalize"])
def test_a_run_that_is_not_whole_is_refused(tmp_path: Path, below: str) -> None:
    def given() -> None:
        list_files([InputSettings(path=f"{tmp_path}/r/{below}".rstrip("/"))])

    folder = run_folder(tmp_path / "r", finished=False)
    with pytest.raises(ConfigError, match="this run is not finished"):
        given()
    (folder / "funnel.json").write_text('{"failures": ["task 1"]}')
    with pytest.raises(ConfigError, match="1 of its tasks failed"):
        given()
    (folder / "funnel.json").write_text('{"failures": []}')
    given()
    (folder / "run.lock").write_text("{}")
    with pytest.raises(ConfigError, match=r"run\.lock is there"):
        given()


def test_a_run_inside_the_input_is_passed_over_and_told(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "in/a.jsonl", [{"text": "mine"}])
    run_folder(tmp_path / "in/old", finished=False)
    (tmp_path / "in/linked").symlink_to(tmp_path)
    for path in (str(tmp_path / "in"), f"{tmp_path}/in/**/*"):
        listed = list_files([InputSettings(path=path, format="auto")])
        assert [file.rel for file in listed.files] == ["a.jsonl"]
        assert any("in/old: the folder of a run inside the input" in line for line in listed.warnings)
    assert any(
        "in/linked: a link to a folder" in line
        for line in list_files([InputSettings(path=str(tmp_path / "in"))]).warnings
    )


def test_the_run_reads_nothing_that_it_writes(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "in/a.jsonl", [{"text": "mine"}])
    corpus.write_jsonl(tmp_path / "in/out/b.jsonl", [{"text": "written"}])
    (tmp_path / "other").symlink_to(tmp_path / "in")
    listed = list_files([InputSettings(path=str(tmp_path / "in"))], out=tmp_path / "other/out")
    assert [file.rel for file in listed.files] == ["a.jsonl"] and "1 files in it are not read" in listed.warnings[0]
    for path, verb in (("in", "is"), ("in/a.jsonl", "lies in"), ("in/out", "lies in")):
        with pytest.raises(ConfigError, match=f"{verb} .*, where the run writes; choose another --out"):
            list_files([InputSettings(path=str(tmp_path / path))], out=str(tmp_path / "other"))


def test_a_file_is_read_once_by_whatever_names_it_is_given(tmp_path: Path) -> None:
    path = corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "once"}])
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    os.link(path, tmp_path / "c.jsonl")
    listed = list_files([InputSettings(path=str(tmp_path)), InputSettings(path=str(path))])
    assert len(documents(cut(listed))) == 1
    told = " ".join(listed.warnings)
    assert "b.jsonl: the same file as" in told and "c.jsonl: the same file as" in told and "given twice" in told


def test_pipes_and_sockets_are_told_and_not_waited_for_and_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    os.mkfifo(tmp_path / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.jsonl"))
    corpus.write_jsonl(tmp_path / os.fsdecode(b"caf\xe9.jsonl"), [{"text": "b"}])
    listed = list_files([InputSettings(path=str(tmp_path), exclude=["b/*.jsonl"])])
    assert [file.rel for file in listed.files] == ["a.jsonl", "caf\\xe9.jsonl"]
    assert [text for _, text in documents(cut(listed))] == ["a", "b"]
    told = "\n".join(listed.warnings)
    for words in (
        "a named pipe",
        "a socket",
        'exclude "b/*.jsonl" matches no',
    ):
        assert words in told
    with pytest.raises(ConfigError, match="a named pipe; give a file or a folder"):
        list_files([InputSettings(path=str(tmp_path / "pipe.jsonl"))])


def test_an_unreadable_file_takes_no_other_with_it(tmp_path: Path) -> None:
    for i in range(100):
        corpus.write_jsonl(tmp_path / f"{i:03d}.jsonl", [{"text": f"text {i}"}])
        pq.write_table(pa.table({"text": [f"table {i}"]}), tmp_path / f"{i:03d}.parquet")
    whole = {task.id for task in cut(list_files([InputSettings(path=str(tmp_path))]))}
    (tmp_path / "050x.jsonl").symlink_to("nowhere")
    (tmp_path / "050x.parquet").write_text("not parquet")
    pq.write_table(pa.table({"body": ["no text"]}), tmp_path / "050y.parquet")
    tasks = cut(list_files([InputSettings(path=str(tmp_path))]))
    bad = [task for task in tasks if task.id not in whole]
    assert whole <= {task.id for task in tasks} and [len(task.slices) for task in bad] == [1, 1, 1]
    for task in bad:
        with pytest.raises(CurateError, match=r"050[xy]"):
            documents([task])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nosuch://bucket/a.jsonl", "Protocol not known: nosuch; write a path, or a URL"),
        ("http://127.0.0.1:9/a.jsonl", "input http://127.0.0.1:9/a.jsonl: "),
        ("$NO_SUCH_VARIABLE/a", "an environment variable in it is not set"),
        ("~/no/such/folder", "no such file or folder"),
        (os.fsdecode(b"/caf\xe9"), "the name is not UTF-8"),
    ],
)
def test_an_address_that_cannot_be_listed_is_one_message(path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list_files([InputSettings(path=path)])
    assert message in str(caught.value)
