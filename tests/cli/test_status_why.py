"""What a run's folder says of itself, with folders that the test writes: status, why, and how they are shown."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import schema
from curate.config import dump_yaml
from curate.io.lock import Owner
from curate.io.store import LocalStore, Written
from curate.run.funnel import Funnel
from curate.run.manifest import Output, Receipt, RunFolder, StepCounts
from curate.run.status import status_of

PASS = "00-filter"
TASKS = ["t1", "t2"]
ESCAPES = "\x1b]0;PWNED\x07 \x1b[31mred \u202e text\nerror: a line of its own"
FIRST, SECOND = bytes(range(16)), bytes(range(1, 17))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A finished run of two tasks: one document stays, one is dropped."""
    store = LocalStore(tmp_path / "run")
    folder = RunFolder(store, store)
    root = store.root
    steps = [{"filter": {"preset": "gopher@dclm"}}]
    write(root / "run.yaml", dump_yaml({"schema": 2, "recipe": {"version": 1, "steps": steps}, "inputs": {}}))
    write(root / f"passes/{PASS}/plan.json", json.dumps({"tasks": TASKS, "fingerprints": {"t1": "f1", "t2": "f2"}}))
    about = {"source": "web", "url": "https://e.test/\x1b[2J", "origin_file": "a\x1b.jsonl", "origin_offset": 12}
    reject = {"doc_id": SECOND, "action": "drop", "stage": "filter", "rule": "gopher.min_words", "value": 3.0,
              "limit": 50.0, "detail": None, "preset": "gopher@dclm", "excerpt": ESCAPES, **about}  # fmt: skip
    document = {"doc_id": FIRST, "text": "a text", "n_copies": 3, **about}
    table(root / "rejects/00-filter-t1.parquet", [reject], schema.REJECT)
    table(root / "documents/t1.parquet", [document], schema.DOCUMENT)
    table(root / "documents/t2.parquet", [], schema.DOCUMENT)
    for task in TASKS:
        dropped = {"gopher.min_words": 1} if task == "t1" else {}
        rejects = Written("rejects/00-filter-t1.parquet", 1, 1, "") if task == "t1" else None
        folder.write_receipt(PASS, Receipt(
            task, "f" + task[1], documents={"main": Written(f"documents/{task}.parquet", 1, 1, "")}, rejects=rejects,
            steps=[StepCounts("filter", 2 if dropped else 0, 1 if dropped else 0, dropped=dropped)],
        ))  # fmt: skip
    write(root / "funnel.json", json.dumps({"failures": []}))
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def table(path: Path, rows: list[dict[str, Any]], kind: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, kind), path)


def root(folder: RunFolder) -> Path:
    return Path(folder.name)


def test_a_whole_run_is_finished(folder: RunFolder, said: Any) -> None:
    done = said("status", root(folder))
    assert done.code == 0 and done.out.splitlines()[-1] == "finished"
    assert done.out.splitlines()[1].split() == [PASS, "2", "2", "1"]
    facts = said("status", root(folder), "--json").json
    assert facts["state"] == "finished" and facts["summary"] == "finished" and facts["missing"] == []
    assert facts["passes"] == [{"pass": PASS, "tasks": 2, "done": 2, "rows_out": 1}]


def test_receipts_of_another_fingerprint_are_not_done(folder: RunFolder) -> None:
    write(root(folder) / f"passes/{PASS}/plan.json", json.dumps({"tasks": TASKS, "fingerprints": {"t1": "f1"}}))
    found = status_of(folder)
    assert (found.state, found.passes[0].done) == ("unfinished", 1)


def test_a_run_without_an_end_is_not_finished(folder: RunFolder, said: Any) -> None:
    (root(folder) / "funnel.json").unlink()  # as at the start of an update, where all receipts are still there
    assert said("status", root(folder)).out.splitlines()[-1] == "not finished; the same command continues"


@pytest.mark.parametrize("gone", ["documents/t2.parquet", "rejects/00-filter-t1.parquet"])
def test_a_run_without_its_products_is_not_finished(folder: RunFolder, gone: str, said: Any) -> None:
    (root(folder) / gone).unlink()
    shown = " ".join(said("status", root(folder)).out.split())
    assert f"not finished: 1 file of it missing, {gone}; the same command makes" in shown


def test_products_of_channels_are_looked_for_too(folder: RunFolder) -> None:
    receipt = folder.receipt(PASS, "t1")
    assert receipt
    for name, product in (("signals/t1.parquet", True), ("tokenizer.json", True), ("passes/x/keys", False)):
        receipt.outputs.append(Output("filter", "signals", "main", "", product, Written(name, 0, 0, "")))
    folder.write_receipt(PASS, receipt)
    found = status_of(folder)
    assert (found.state, found.missing) == ("incomplete", ("signals/t1.parquet", "tokenizer.json"))


def test_failures_are_named_and_harmless(folder: RunFolder, said: Any) -> None:
    write(root(folder) / "funnel.json", json.dumps({"failures": ["a\x1b[2J.gz: cut"] * 5}))
    shown = said("status", root(folder)).out
    assert "5 failed: " in shown and r"a\x1b[2J.gz: cut" in shown and "and 2 more" in " ".join(shown.split())


def test_the_owner_of_a_lock_is_named_while_it_lives(folder: RunFolder, said: Any) -> None:
    lock = root(folder) / "run.lock"
    lock.write_bytes(Owner.here("curate run").encode())
    shown = " ".join(said("status", root(folder)).out.split())
    assert f"running: process {os.getpid()} on " in shown and "`curate run`" in shown
    dead = json.loads(lock.read_bytes()) | {"boot": "another boot"}
    lock.write_text(json.dumps(dead))
    assert status_of(folder).state == "finished"


def test_why_tells_the_verdict_with_its_limit_and_unit(folder: RunFolder, said: Any) -> None:
    done = said("why", SECOND.hex()[:9], "--out", root(folder))
    assert done.code == 0
    words = " ".join(done.out.split())
    assert f"document {SECOND.hex()} from a\\x1b.jsonl at 12, https://e.test/\\x1b[2J" in words
    assert "dropped by filter: gopher.min_words, measured 3 words, limit 50 words (preset gopher@dclm)" in words
    (found,) = said("why", SECOND.hex(), "--out", root(folder), "--json").json["documents"]
    (verdict,) = found["verdicts"]
    assert (verdict["value"], verdict["limit"], verdict["unit"], found["places"]) == (3.0, 50.0, "words", [])


def test_why_says_where_a_document_is(folder: RunFolder, said: Any) -> None:
    assert "it is in documents/, standing for 3 copies" in said("why", FIRST.hex(), "--out", root(folder)).out
    both = said("why", "https://e.test/\x1b[2J", "--out", root(folder)).out
    assert FIRST.hex() in both and SECOND.hex() in both


def test_nothing_hostile_and_no_line_of_its_own_comes_out(folder: RunFolder, said: Any) -> None:
    shown = said("why", SECOND.hex(), "--out", root(folder)).out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "\\x1b]0;PWNED\\x07" in shown and "\\u202e" in shown
    assert not any(line.startswith("error:") for line in shown.split("\n"))


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ("nonsense", 2, "is neither a URL nor a doc_id (8 to 32 hex digits)"),
        ("0001020", 2, "is neither a URL"),
        ("f" * 8, 1, "no document of this run; did its task fail?"),
        ("https://e.test/none", 1, "no document of this run"),
    ],
)
def test_documents_that_are_not_there(document: str, code: int, message: str, folder: RunFolder, said: Any) -> None:
    done = said("why", document, "--out", root(folder))
    assert done.code == code and message in " ".join(done.err.split())


def test_a_damaged_product_is_named(folder: RunFolder, said: Any) -> None:
    (root(folder) / "documents/t2.parquet").write_bytes(b"PAR1 not quite PAR1")
    done = said("why", FIRST.hex(), "--out", root(folder))
    assert done.code == 1 and "documents/t2.parquet: cannot be read" in " ".join(done.err.split())


def test_clean_removes_our_temporary_files_and_no_others(folder: RunFolder, said: Any) -> None:
    write(root(folder) / "documents/.tmp-0a1b2c3d-t1.parquet", "half a file")
    write(root(folder) / "documents/.tmp-settings", "of another program")
    done = said("clean", root(folder))
    assert done.code == 0 and "removed 1 temporary file from" in done.out
    assert (root(folder) / "documents/.tmp-settings").exists()


def test_the_funnel_sums_tasks_and_keeps_its_keys(folder: RunFolder) -> None:
    class Pass:
        name = PASS

    receipts = {task: receipt for task in TASKS if (receipt := folder.receipt(PASS, task))}
    receipts["t1"].reader = {"other_records": {"request": 2}, "skipped_bytes": 7, "bytes": 100, "warnings": ["w"]}
    funnel = Funnel.of(
        [Pass()],
        [receipts],
        ["t3 failed"],
        {("filter", "gopher.min_words"): "words"},
        {("filter", "gopher.min_words"): 50.0},
    )
    data = funnel.to_json()
    assert list(data) == ["steps", "reader", "passes", "failures"] and data["failures"] == ["t3 failed"]
    (step,) = data["steps"]
    assert (step["rows_in"], step["rows_out"], step["dropped"], step["cut"]) == (2, 1, {"gopher.min_words": 1}, {})
    assert step["rules"] == [{"rule": "gopher.min_words", "rows": 1, "action": "drop", "limit": 50.0, "unit": "words"}]
    assert data["reader"] == {"other_records": {"request": 2}, "skipped_bytes": 7, "bytes": 100}
    assert data["passes"] == [{"pass": PASS, "tasks": 2, "seconds": 0, "peak_memory_bytes": 0}]
    json.dumps(data)
