"""Bad input: a message that says what, where and what to do, the right exit code, and the rest still kept."""

import gzip
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.errors import CurateError
from curate.io import store


def kept(out: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in (out / "documents").glob("*.parquet"))


def rejects(out: Path) -> list[dict[str, Any]]:
    return [row for path in (out / "rejects").glob("*.parquet") for row in pq.read_table(path).to_pylist()]


def pages(n: int, seed: int = 3) -> list[tuple[str, bytes]]:
    return [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(n, seed))]


def test_empty_files_are_no_documents_and_no_error(tmp_path: Path, curate: Any) -> None:
    for name in ("a.jsonl", "b.warc.gz", "c.txt"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    corpus.write_jsonl(tmp_path / "in" / "d.jsonl", [{"text": "a whole document"}])
    done = curate("extract", tmp_path / "in", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert kept(tmp_path / "out") == 2  # d.jsonl's line, and the empty text file


def test_truncated_warc_keeps_whole_records_and_says_where_it_ends(tmp_path: Path, curate: Any) -> None:
    path = corpus.write_warc(tmp_path / "cut.warc.gz", pages(20))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 300])
    done = curate("extract", path, "--out", tmp_path / "out")
    assert done.code == 0 and "cut.warc.gz" in done.err and "ends inside a record" in done.err
    assert kept(tmp_path / "out") == 19
    assert [row["rule"] for row in rejects(tmp_path / "out")] == ["read.truncated"]


def test_garbage_between_members_costs_no_record(tmp_path: Path, curate: Any) -> None:
    first = corpus.write_warc(tmp_path / "a.warc.gz", pages(10)).read_bytes()
    second = corpus.write_warc(tmp_path / "b.warc.gz", pages(10, seed=4)).read_bytes()
    garbage = random.Random(1).randbytes(5000)
    path = tmp_path / "in" / "joined.warc.gz"
    path.parent.mkdir()
    path.write_bytes(first + garbage + second)
    done = curate("extract", path, "--out", tmp_path / "out")
    assert done.code == 0 and "5,000 bytes skipped" in done.err.replace("\n", " ").replace("  ", " ")
    assert kept(tmp_path / "out") == 20
    assert json.loads((tmp_path / "out/funnel.json").read_bytes())["reader"]["skipped_bytes"] == 5000


def test_flipped_bytes_cost_their_record_only(tmp_path: Path, curate: Any) -> None:
    path = corpus.write_warc(tmp_path / "flip.warc.gz", pages(30))
    data = bytearray(path.read_bytes())
    for i in range(len(data) // 2, len(data) // 2 + 40):
        data[i] ^= 0xFF
    path.write_bytes(bytes(data))
    done = curate("extract", path, "--out", tmp_path / "out")
    assert done.code == 0 and "flip.warc.gz" in done.err
    assert kept(tmp_path / "out") >= 28


def test_bad_lines_are_rejects_with_their_reason(tmp_path: Path, curate: Any) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(
        b'{"text": "good one"}\n'
        b"not json at all\n"
        b'{"body": "no text key"}\n'
        b'{"text": "caf\xff latin"}\n'
        b'["a list"]\n'
        b'{"text": "good two"}'
    )
    done = curate("normalize", path, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert kept(tmp_path / "out") == 3
    found = {(row["action"], row["rule"]) for row in rejects(tmp_path / "out")}
    assert found == {("drop", "read.not_json"), ("drop", "read.no_text"), ("mark", "read.invalid_utf8")}
    assert any("the line has: body" in (row["detail"] or "") for row in rejects(tmp_path / "out"))


def test_damaged_gzip_keeps_the_lines_before(tmp_path: Path, curate: Any) -> None:
    rng = random.Random(0)
    text = "".join(json.dumps({"text": f"{i} {rng.randbytes(40).hex()}"}) + "\n" for i in range(2000))
    data = gzip.compress(text.encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(data[: len(data) // 2])
    done = curate("normalize", tmp_path / "cut.jsonl.gz", "--out", tmp_path / "out")
    assert done.code == 0 and "damaged after" in done.err
    assert 500 < kept(tmp_path / "out") < 1500


def test_parquet_without_text_fails_alone(tmp_path: Path, curate: Any) -> None:
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "bad.parquet")
    pq.write_table(pa.table({"text": ["fine"]}), tmp_path / "good.parquet")
    done = curate("normalize", tmp_path, "--out", tmp_path / "out")
    assert done.code == 1 and "bad.parquet" in done.err and "columns: {text: NAME}" in done.err
    assert kept(tmp_path / "out") == 1


def test_unreadable_file_fails_alone_and_is_tried_again(tmp_path: Path, curate: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/loop.jsonl").symlink_to("loop.jsonl")
    rng = random.Random(0)
    corpus.write_jsonl(tmp_path / "in/zgood.jsonl", [{"text": corpus.article(rng)} for _ in range(5)])
    corpus.write_jsonl(tmp_path / "in/large.jsonl", [{"text": rng.randbytes(20_000).hex()} for _ in range(900)])
    done = curate("normalize", tmp_path / "in", "--out", tmp_path / "out")
    assert (
        done.code == 1 and "loop.jsonl" in done.err and "the same command tries it again" in done.err.replace("\n", " ")
    )
    assert kept(tmp_path / "out") >= 900
    (tmp_path / "in/loop.jsonl").unlink()
    corpus.write_jsonl(tmp_path / "in/loop.jsonl", [{"text": "now it can be read"}])
    done = curate("normalize", tmp_path / "in", "--out", tmp_path / "out", "--update")
    assert done.code == 0, done.err
    assert kept(tmp_path / "out") == 906


def test_full_disk_stops_the_run_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "sync", full)
    with pytest.raises(CurateError, match="the disk is full; make room and run the same command again"):
        store.write_bytes(store.LocalStore(tmp_path), "x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_ends_with_exit_code_1_and_the_run_goes_on_when_there_is_room(tmp_path: Path, curate: Any) -> None:
    """A real full disk: a file system of 1 MB in memory, which only root may mount."""
    rng = random.Random(0)
    for i in range(4):
        rows = [{"text": rng.randbytes(600).hex()} for _ in range(400)]
        corpus.write_jsonl(tmp_path / f"in/{i}.jsonl", rows)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        arguments = ("normalize", tmp_path / "in", "--out", small / "out", "--workers", 1)
        done = curate(*arguments)
        assert done.code == 1 and "the disk is full; make room" in " ".join(done.err.split()), done.err
        assert "Traceback" not in done.err
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        done = curate(*arguments)
        assert done.code == 0, done.err
        assert kept(small / "out") == 1600
        curate("clean", small / "out")
        assert not list(small.rglob(".tmp-*"))
    finally:
        subprocess.run(["umount", small], check=True)


RECIPE = "version: 1\ninputs: [{path: IN}]\nsteps:\n"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("  - near_dedup: {bandz: 3}\n", 'near_dedup.bandz: no such setting; did you mean "bands"?'),
        ("  - normalise\n", 'no stage is named "normalise"; did you mean "normalize"?'),
        ("  - near_dedup: {bands: x}\n", "near_dedup.bands: expected a whole number, found 'x'"),
        ("  - near_dedup: {bands: 0}\n", "near_dedup.bands: must be at least 1, found 0"),
        ("  - filter: {preset: gofer@dclm}\n", 'no preset is named "gofer@dclm"; did you mean "gopher@dclm"?'),
        ("  - filter: {limits: {gopher.min_word: 3}}\n", 'no rule "gopher.min_word"; did you mean "gopher.min_words"?'),
        ("  - tokenize\n", "put a `train_tokenizer` step before it, or set `tokenize.tokenizer`"),
        ("  - tokenize: {tokenizer: nowhere.json}\n", "nowhere.json: no such file"),
        (
            "  - normalize\n  - extract\n",
            "extract reads pages (WARC or HTML), and the inputs give documents: leave this step out",
        ),
        ("  - normalize\nsteps: [normalize]\n", 'the key "steps" stands here twice'),
        ("  - normalize\n  - [x]\n", "a step is a stage's name"),
        ("  - normalize\nkeeps: all\n", 'keeps: no such setting; did you mean "keep"?'),
        ("  - langid: {keep: [english]}\n", 'no language is named "english"'),
        ("  - normalize: {max_blank_lines: {}}\n", "expected a whole number"),
    ],
)
def test_recipe_mistakes_are_told_with_their_line(tmp_path: Path, curate: Any, steps: str, message: str) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "words " * 60}])
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("IN", str(tmp_path / "a.jsonl")) + steps)
    done = curate("run", path, "--out", tmp_path / "out", "--workers", 1)
    told = " ".join(done.err.split())
    assert done.code == 2 and message in told, told
    assert "Traceback" not in done.err and max(map(len, done.err.splitlines())) <= 200


def test_missing_recipe_input_and_folder(tmp_path: Path, curate: Any) -> None:
    assert curate("run", tmp_path / "no.yaml", "--out", tmp_path / "o").code == 2
    done = curate("normalize", tmp_path / "nothing", "--out", tmp_path / "o")
    assert done.code == 2 and "no such file or folder" in " ".join(done.err.split())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    done = curate("normalize", tmp_path / "mine/letter.txt", "--out", tmp_path / "mine")
    assert done.code == 2 and "choose another --out" in " ".join(done.err.split())
    assert curate("status", tmp_path / "mine").code == 2


def test_two_files_of_one_name_are_refused(tmp_path: Path, curate: Any) -> None:
    corpus.write_jsonl(tmp_path / "a/x.jsonl", [{"text": "one"}])
    corpus.write_jsonl(tmp_path / "b/x.jsonl", [{"text": "two"}])
    done = curate("normalize", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert done.code == 2 and "set `root`" in " ".join(done.err.split())


def test_hostile_pages_are_rejects(tmp_path: Path, curate: Any) -> None:
    hostile = [
        ("https://h.test/deep", b"<html><body>" + b"<div>" * 40_000 + b"deep words here" + b"</body></html>"),
        ("https://h.test/binary", b"%PDF-1.7" + bytes(range(256)) * 40),
        ("https://h.test/large", b"<p>" + b"x" * (11 << 20) + b"</p>"),
        ("https://h.test/empty", b""),
        ("https://h.test/fine", corpus.page(corpus.article(random.Random(1)))),
    ]
    corpus.write_warc(tmp_path / "h.warc.gz", hostile)
    done = curate("extract", tmp_path / "h.warc.gz", "--out", tmp_path / "out", "--workers", 1)
    assert done.code == 0, done.err
    reasons = {row["url"].rpartition("/")[2]: row["rule"] for row in rejects(tmp_path / "out")}
    assert reasons["binary"] == "extract.not_html" and reasons["large"] == "extract.too_large"
    assert reasons["empty"] == "extract.empty" and "fine" not in reasons
    assert kept(tmp_path / "out") + len(reasons) == 5
