"""The run layer's promises, held on whole commands: nothing lost, same bytes, only what changed runs again."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import corpus
from curate.stages import STAGES, load

PRODUCTS = ("documents", "rejects", "signals", "tokens", "heldout", "tokenizer")

RECIPE = """\
version: 1
inputs:
  - {path: PATH, format: warc, source: web}
steps:
  - extract: {extractor: resiliparse}
  - normalize
  - filter
  - redact
  - exact_dedup
  - near_dedup
  - holdout: {share: 0.1}
  - train_tokenizer: {vocab_size: 400}
  - tokenize
  - mix
keep: KEEP
"""


def digest(out: Path) -> dict[str, str]:
    """Every product file's name and SHA-256."""
    files = [path for top in PRODUCTS for path in sorted((out / top).rglob("*")) if path.is_file()]
    files += [out / "tokenizer.json", out / "mixture.yaml"]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 small WARC files of 40 pages, one task each (they are large enough not to be put together)."""
    folder = tmp_path_factory.mktemp("crawl")
    texts = corpus.articles(320)
    rng = random.Random(7)
    for f in range(8):
        pages = []
        for i, text in enumerate(texts[f * 40 : (f + 1) * 40]):
            # Incompressible comments make the files large enough that each is a task of its own.
            noise = f"<!--{rng.randbytes(90_000).hex()}-->".encode()
            pages.append(
                (f"https://example.test/{f}/{i}", corpus.page(text, f"Page {i}").replace(b"<nav>", noise + b"<nav>"))
            )
        corpus.write_warc(folder / f"part-{f}.warc.gz", pages)
    return folder


def recipe(folder: Path, crawl: Path, keep: str = "extract", **changes: str) -> Path:
    path = folder / "recipe.yaml"
    text = RECIPE.replace("PATH", str(crawl)).replace("KEEP", keep)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, crawl: Path, curate: Any) -> Path:
    """A finished run with one worker."""
    folder = tmp_path_factory.mktemp("finished")
    done = curate("run", recipe(folder, crawl), "--out", folder / "out", "--workers", 1)
    assert done.code == 0, done.err
    return folder / "out"


def receipts(out: Path) -> dict[str, int]:
    """Every receipt below out with the time it was written."""
    return {
        path.relative_to(out / "passes").as_posix(): path.stat().st_mtime_ns
        for path in (out / "passes").glob("*/*.json")
        if path.name not in ("plan.json", "work.json")
    }


def written_again(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, at in after.items() if before.get(name) != at}


def test_every_page_is_one_document_or_one_reject(finished: Path) -> None:
    kept = [row["doc_id"] for path in (finished / "documents").glob("*") for row in pq.read_table(path).to_pylist()]
    aside = [r["doc_id"] for p in (finished / "heldout/documents").glob("*") for r in pq.read_table(p).to_pylist()]
    rejects = [row for path in (finished / "rejects").glob("*") for row in pq.read_table(path).to_pylist()]
    dropped = [row["doc_id"] for row in rejects if row["action"] == "drop"]
    assert sorted(kept + aside + dropped) == sorted(set(kept + aside + dropped))
    assert len(kept + aside + dropped) == 320
    assert {row["rule"] for row in rejects} >= {"exact_dedup.copy", "near_dedup.copy"}
    assert len(aside) > 0 and len(list((finished / "heldout/tokens/web").glob("*.arrow"))) > 0


def test_the_tokenizer_is_reported(finished: Path) -> None:
    report = json.loads((finished / "tokenizer/report.json").read_bytes())
    (row,) = report["fertility_by_source_and_language"]
    assert row["source"] == "web" and 1 < row["tokens_a_word"] < 6 and 1 < row["bytes_a_token"] < 8
    assert report["vocab_size"] == 400 and 0 < report["tokens_never_used"] < 300
    assert all("".join(sample["tokens"]).startswith(sample["text"][:10]) for sample in report["samples"])


def test_counts_balance_in_every_task(finished: Path) -> None:
    for path in (finished / "passes").glob("*/*.json"):
        if path.name not in ("plan.json", "work.json"):
            for step in json.loads(path.read_bytes())["steps"]:
                assert step["rows_in"] == step["rows_out"] + sum(step["dropped"].values()) + step["set_aside"], path


def test_two_workers_give_the_same_bytes_as_one(finished: Path, crawl: Path, tmp_path: Path, curate: Any) -> None:
    done = curate("run", recipe(tmp_path, crawl), "--out", tmp_path / "out", "--workers", 2)
    assert done.code == 0, done.err
    assert digest(tmp_path / "out") == digest(finished)


def test_a_run_killed_twelve_times_gives_the_same_bytes(finished: Path, crawl: Path, tmp_path: Path) -> None:
    """SIGKILL to the whole process group at random moments, then the same command again, until it ends."""
    path = recipe(tmp_path, crawl)
    arguments = [sys.executable, "-m", "curate", "run", str(path), "--out", str(tmp_path / "out"), "--workers", "2"]
    rng = random.Random(12)
    kills = 0
    started = time.monotonic()
    while kills < 12:
        process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, err = process.communicate(timeout=rng.uniform(0.8, 3.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, err.decode()
        # It ended before it could be killed: take something away, so that there is work to interrupt.
        shutil.rmtree(tmp_path / "out" / "passes" / rng.choice(sorted(os.listdir(tmp_path / "out" / "passes"))))
        assert time.monotonic() - started < 300
    done = subprocess.run(arguments, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert digest(tmp_path / "out") == digest(finished)


def test_a_second_run_does_nothing(finished: Path, crawl: Path, curate: Any) -> None:
    before = receipts(finished)
    done = curate("run", finished.parent / "recipe.yaml", "--out", finished)
    assert done.code == 0 and " 0 tasks ran" in f" {done.out.splitlines()[-1]}"
    assert receipts(finished) == before


def test_a_deleted_receipt_runs_that_task_and_nothing_else(crawl: Path, tmp_path: Path, curate: Any) -> None:
    """What reads it depends on the bytes that it made, and these are the same."""
    out = tmp_path / "out"
    path = recipe(tmp_path, crawl, keep="all")
    assert curate("run", path, "--out", out).code == 0
    expected = digest(out)
    extracted = sorted((out / "passes/00-extract").glob("*.json"))
    task = next(p.stem for p in extracted if p.name != "plan.json")
    (out / "passes/00-extract" / f"{task}.json").unlink()
    before = receipts(out)
    assert curate("run", path, "--out", out).code == 0
    again = written_again(before, receipts(out))
    assert digest(out) == expected
    assert again == {f"00-extract/{task}.json"}


def test_a_new_file_runs_its_tasks_and_the_shuffles_behind_them(crawl: Path, tmp_path: Path, curate: Any) -> None:
    folder = tmp_path / "crawl"
    shutil.copytree(crawl, folder)
    out = tmp_path / "out"
    path = recipe(tmp_path, folder, keep="all")
    assert curate("run", path, "--out", out).code == 0
    before = receipts(out)
    pages = [
        (f"https://example.test/new/{i}", corpus.page(text)) for i, text in enumerate(corpus.articles(40, seed=99))
    ]
    corpus.write_warc(folder / "part-9.warc.gz", pages)
    done = curate("run", path, "--out", out)
    assert done.code == 0, done.err
    again = written_again(before, receipts(out))
    old = {name.rpartition("/")[2] for name in before if name.startswith("00-")}
    assert not {n for n in again if n.startswith(("00-", "01-")) and n.rpartition("/")[2] in old}
    assert any(name.startswith("02-") for name in again)
    fresh = tmp_path / "fresh"
    assert curate("run", path, "--out", fresh).code == 0
    assert digest(out) == digest(fresh)


def test_another_configuration_is_refused_and_update_runs_what_depends_on_it(
    crawl: Path, tmp_path: Path, curate: Any
) -> None:
    out = tmp_path / "out"
    assert curate("run", recipe(tmp_path, crawl), "--out", out).code == 0
    before = receipts(out)
    changed = recipe(tmp_path, crawl, near_dedup="near_dedup: {bands: 20}")
    refused = curate("run", changed, "--out", out)
    assert refused.code == 2 and "near_dedup.bands: 14 -> 20" in refused.err and "--update" in refused.err
    assert receipts(out) == before
    assert curate("run", changed, "--out", out, "--update").code == 0
    again = written_again(before, receipts(out))
    assert not [name for name in again if name.startswith("00-")]
    fresh = tmp_path / "fresh"
    assert curate("run", changed, "--out", fresh).code == 0
    assert digest(out) == digest(fresh)


def test_a_phase_runs_again_only_for_a_setting_that_it_reads(crawl: Path, tmp_path: Path, curate: Any) -> None:
    """Another `min_jaccard` verifies again, and signs and matches nothing again."""
    out = tmp_path / "out"
    assert curate("run", recipe(tmp_path, crawl, keep="all"), "--out", out).code == 0
    before = receipts(out)
    changed = recipe(tmp_path, crawl, keep="all", near_dedup="near_dedup: {min_jaccard: 0.9}")
    assert curate("run", changed, "--out", out, "--update").code == 0
    again = {name.partition("/")[0] for name in written_again(before, receipts(out))}
    assert any(name.endswith("near_dedup.verify") for name in again)
    assert not [name for name in again if name.endswith(("near_dedup.sign", "near_dedup.match"))]
    fresh = tmp_path / "fresh"
    assert curate("run", changed, "--out", fresh).code == 0
    assert digest(out) == digest(fresh)


@pytest.mark.parametrize("name", [entry.name for entry in STAGES])
def test_a_phase_names_settings_that_there_are(name: str) -> None:
    """What a phase is given are those at their values and all others at their defaults."""
    stage = load(name)
    for phase in stage.phases:
        assert set(phase.settings or ()) <= set(stage.config.model_fields)


def test_changed_input_is_refused_and_update_follows_it(crawl: Path, tmp_path: Path, curate: Any) -> None:
    folder = tmp_path / "crawl"
    folder.mkdir()
    for name in ("part-0.warc.gz", "part-1.warc.gz"):
        shutil.copy(crawl / name, folder)
    out = tmp_path / "out"
    path = recipe(tmp_path, folder)
    assert curate("run", path, "--out", out).code == 0
    (folder / "part-1.warc.gz").unlink()
    refused = curate("run", path, "--out", out)
    assert refused.code == 2 and "part-1.warc.gz: gone" in refused.err
    assert curate("run", path, "--out", out, "--update").code == 0
    fresh = tmp_path / "fresh"
    assert curate("run", path, "--out", fresh).code == 0
    assert digest(out) == digest(fresh)


def test_limit_reads_so_many_documents(crawl: Path, tmp_path: Path, curate: Any) -> None:
    done = curate("normalize", crawl, "--out", tmp_path / "x", "--limit", 3)
    assert done.code == 2 and "put `extract` before it" in " ".join(done.err.split())
    done = curate("extract", crawl, "--out", tmp_path / "out", "--limit", 21, "--extractor", "resiliparse", "--json")
    assert done.code == 0 and done.json["steps"][0]["rows_in"] == 21


def test_a_run_in_which_every_document_is_dropped_ends_well(tmp_path: Path, curate: Any) -> None:
    """Steps restricted by `only`, shuffles and products meet no rows; what cannot be made without text is told."""
    corpus.write_jsonl(tmp_path / "in.jsonl", [{"text": f"too short {i}"} for i in range(3)])
    text = f"version: 1\ninputs: [{{path: {tmp_path}/in.jsonl, source: web}}]\nsteps:\n"
    text += "  - normalize\n  - filter: {only: {source: [web]}}\n  - exact_dedup\n  - near_dedup\n  - holdout\n"
    (tmp_path / "r.yaml").write_text(text)
    done = curate("run", tmp_path / "r.yaml", "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert {step["step"]: step["dropped"] for step in done.json["steps"]}["filter"] == {"gopher.min_words": 3}
    assert list((tmp_path / "out/documents").iterdir()) == []
    (tmp_path / "r2.yaml").write_text(text + "  - train_tokenizer\n  - tokenize\n  - mix\n")
    done = curate("run", tmp_path / "r2.yaml", "--out", tmp_path / "out2")
    assert done.code == 2 and "there is no text to train on" in " ".join(done.err.split())


def test_why_tells_the_truth(finished: Path, curate: Any) -> None:
    rejects = [row for path in (finished / "rejects").glob("*") for row in pq.read_table(path).to_pylist()]
    copy = next(row for row in rejects if row["rule"] == "exact_dedup.copy")
    told = curate("why", copy["doc_id"].hex(), "--out", finished)
    assert told.code == 0 and "exact_dedup.copy" in told.out and copy["detail"] in " ".join(told.out.split())
    original = copy["detail"].removeprefix("copy of ")
    assert original in curate("why", original, "--out", finished).out
    kept = [row for path in (finished / "documents").glob("*") for row in pq.read_table(path).to_pylist()]
    several = next(row for row in kept if row["n_copies"] > 1)
    told = curate("why", several["doc_id"].hex()[:12], "--out", finished)
    assert f"it is in documents/, standing for {several['n_copies']} copies" in " ".join(told.out.split())
    by_url = curate("why", copy["url"], "--out", finished)
    assert copy["doc_id"].hex() in by_url.out
    assert curate("why", "0" * 32, "--out", finished).code == 1
    assert curate("why", "nonsense", "--out", finished).code == 2


def test_status_and_clean(finished: Path, curate: Any) -> None:
    assert "finished" in curate("status", finished).out
    leftover = finished / "documents" / ".tmp-0123abcd-x.parquet"
    leftover.write_bytes(b"half a file")
    assert "removed 1 temporary file" in curate("clean", finished).out
    assert not leftover.exists()
