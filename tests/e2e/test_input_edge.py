"""Whole commands on inputs that must not be taken silently."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import corpus


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "documents").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def told(done: Any) -> str:
    return " ".join(done.err.split())


def test_a_run_over_its_own_folder_finds_the_same_documents_again(tmp_path: Path, curate: Any) -> None:
    corpus.write_jsonl(tmp_path / "in/a.jsonl", [{"text": f"text {i}"} for i in range(10)])
    for _ in range(2):
        done = curate("normalize", tmp_path / "in", "--out", tmp_path / "in/out", "--workers", 1)
        assert done.code == 0, done.err
        assert len(rows(tmp_path / "in/out")) == 10


def test_a_failed_run_is_no_input_and_a_finished_one_keeps_its_ids(tmp_path: Path, curate: Any) -> None:
    """One bad file takes no other with it; columns of the input are still there after two commands."""
    corpus.write_jsonl(tmp_path / "in/a.jsonl", [{"id": "x-1", "text": "one", "payload": {"deep": 1}, "heldout": None}])
    pq.write_table(pa.table({"text": ["two"], "label": [7]}), tmp_path / "in/b.parquet")
    (tmp_path / "in/c.jsonl").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in/pipe.jsonl")
    done = curate("normalize", tmp_path / "in", "--out", tmp_path / "r1", "--workers", 1)
    assert done.code == 1 and "c.jsonl" in told(done) and "a named pipe" in told(done)
    assert len(rows(tmp_path / "r1")) == 2
    done = curate("exact-dedup", tmp_path / "r1", "--out", tmp_path / "r2", "--workers", 1)
    assert done.code == 2 and "1 of its tasks failed" in told(done)

    (tmp_path / "in/c.jsonl").unlink()
    assert curate("normalize", tmp_path / "in", "--out", tmp_path / "r1", "--workers", 1, "--update").code == 0
    done = curate("exact-dedup", tmp_path / "r1", "--out", tmp_path / "r2", "--workers", 1)
    assert done.code == 0, done.err
    first, second = (sorted(rows(tmp_path / name), key=lambda row: row["text"]) for name in ("r1", "r2"))
    assert [row["doc_id"] for row in first] == [row["doc_id"] for row in second]
    for one, two in (first, second):
        assert (one["source_id"], one["extra"], one["label"]) == (
            "x-1",
            '{"payload": {"deep": 1}, "heldout": null}',
            None,
        )
        assert (two["label"], two["extra"], two["origin_file"]) == (7, None, "b.parquet")
