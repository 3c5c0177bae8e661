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


def test_reading_that_gives_no_document_stops_the_run_with_the_reason(tmp_path: Path, said: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"content": f"text {i}"} for i in range(4)])
    arguments = ("normalize", tmp_path / "a.jsonl", "--out", tmp_path / "out", "--workers", 1)
    done = said(*arguments)
    words = told(done)
    assert done.code == 3 and "no document came out of reading: all 4 rows were dropped (read.no_text 4)" in words
    assert 'no text under the key "text"; the line has: content' in words and "--guard off" in words
    assert said(*arguments, "--guard", "off", "--update").code == 0 and rows(tmp_path / "out") == []
    assert said(*arguments[:3], tmp_path / "named", "--columns", "text=content", "--workers", 1).code == 0
    (tmp_path / "empty.jsonl").write_bytes(b"")
    done = said("normalize", tmp_path / "empty.jsonl", "--out", tmp_path / "none", "--workers", 1)
    assert done.code == 3 and "no document came out of reading: the inputs hold no rows" in told(done)


def test_inputs_and_plan_show_what_would_be_read_how(tmp_path: Path, said: Any) -> None:
    folder = tmp_path / "in"
    corpus.write_jsonl(folder / "lang=en/a.jsonl", [{"text": "one"}])
    (folder / "README.md").write_text("# A card")
    (folder / "_SUCCESS").write_bytes(b"")
    shown = said("inputs", folder)
    assert shown.code == 0
    words = " ".join(shown.out.split())
    assert "read: 1 file, 16 B, JSON lines: lang=en/a.jsonl not read: 1 file, 8 B, data cards" in words
    facts = said("inputs", folder, "--json").json
    assert [(one["file"], one["format"], one["partitions"]) for one in facts["read"]] == [
        ("lang=en/a.jsonl", "jsonl", {"lang": "en"})
    ]
    assert {name for one in facts["passed_over"] for name in one["names"]} == {"README.md", "_SUCCESS"}
    (tmp_path / "r.yaml").write_text(f"version: 1\ninputs: [{{path: {folder}}}]\nsteps: [normalize]\n")
    planned = said("plan", tmp_path / "r.yaml", "--workers", 1)
    assert shown.out.strip() in planned.out and "00-normalize" in planned.out
    assert said("plan", tmp_path / "r.yaml", "--workers", 1, "--json").json["inputs"] == {
        key: facts[key] for key in ("read", "passed_over")
    }
    (folder / "weights.bin").write_bytes(bytes(1000))
    done = said("inputs", folder)
    assert done.code == 2 and "weights.bin" in done.out and "most of it would not be read" in told(done)
    done = said("normalize", folder, "--out", tmp_path / "out", "--exclude", "*.bin", "--workers", 1)
    assert done.code == 0 and "not read, data cards and licences: README.md" in told(done)
    assert [(row["text"], row["lang"]) for row in rows(tmp_path / "out")] == [("one", "en")]
