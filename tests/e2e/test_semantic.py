"""semantic_dedup: copies in nearly the same words are found, other documents are not, whatever the workers."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import single_stage


def documents(rng: random.Random, count: int, copies: int) -> tuple[list[str], dict[int, int]]:
    """Texts on subjects of their own words, and copies of some without a tenth of their words: copy -> original."""
    words = [f"w{i}" for i in range(4000)]
    texts = []
    for _ in range(count):
        subject = rng.sample(words, 150)
        texts.append(" ".join(rng.choices(subject, k=200) + rng.choices(words[:200], k=100)))
    originals = rng.sample(range(count), copies)
    planted = {}
    for original in originals:
        planted[len(texts)] = original
        texts.append(" ".join(word for word in texts[original].split() if rng.random() > 0.1))
    return texts, planted


def write(folder: Path, texts: list[str], files: int = 2) -> Path:
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(texts)), files)):
        pq.write_table(pa.table({"text": [texts[i] for i in rows], "number": rows}), folder / f"{number}.parquet")
    return folder


def run(folder: Path, out: Path, **settings: Any) -> tuple[dict[int, int], list[dict[str, Any]], list[str]]:
    """(dropped -> the one that its reject names, rejects, warnings)."""
    done = driver.run(single_stage("semantic_dedup", settings, [InputSettings(path=str(folder))]), out)
    assert done.exit_code == 0, done.failures
    starts = np.cumsum([0, *(pq.read_metadata(path).num_rows for path in sorted(folder.iterdir()))])
    kept = {row["doc_id"]: row["number"] for row in pq.read_table(out / "documents").to_pylist()}
    rejects = [row for path in (out / "rejects").glob("*") for row in pq.read_table(path).to_pylist()]
    number = lambda row: int(starts[int(row["origin_file"][0])]) + row["origin_offset"]  # noqa: E731
    return {number(r): kept[bytes.fromhex(r["detail"][-32:])] for r in rejects}, rejects, done.warnings


def test_planted_copies_are_found_and_others_are_not(inline: None, tmp_path: Path) -> None:
    texts, planted = documents(random.Random(1), 1200, 120)
    folder = write(tmp_path / "in", texts)
    found, rejects, notes = run(folder, tmp_path / "out")
    right = sum(found.get(copy) == original for copy, original in planted.items())
    assert right >= 0.95 * len(planted) and len(found) - right <= 0.01 * len(texts)
    assert all(row["value"] >= 0.97 == row["limit"] and row["detail"].startswith("like ") for row in rejects)
    assert any("the cosines of random pairs: 50 % below 0" in note for note in notes)
    vectors = pa.concat_tables(
        pa.ipc.open_file(path).read_all() for path in (tmp_path / "out" / "embeddings").glob("*.arrow")
    )
    assert vectors.num_rows == len(texts) and vectors.schema.names == ["doc_id", "vector"]
    marked = run(folder, tmp_path / "marked", mark=True)[1]
    assert {row["action"] for row in marked} == {"mark"} and len(marked) == len(rejects)
    assert pq.read_table(tmp_path / "marked" / "documents").num_rows == len(texts)


def test_documents_go_for_those_that_they_are_only_compared_with(curate: Any, tmp_path: Path) -> None:
    texts, planted = documents(random.Random(4), 300, 40)
    compared = write(tmp_path / "compared", [texts[original] for original in planted.values()] * 2, files=1)
    folder = write(tmp_path / "in", [texts[copy] for copy in planted] + texts[:20])
    done = curate("semantic-dedup", folder, "--against", compared, "--out", tmp_path / "out", "--min-cosine", 0.9)
    assert done.code == 0, done.err
    kept = pq.read_table(tmp_path / "out" / "documents").column("number").to_pylist()
    own = {len(planted) + place for place in range(20) if place not in planted.values()}
    assert own <= set(kept) and len(set(kept) - own) <= 2


def test_workers_decide_nothing(curate: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", documents(random.Random(2), 300, 40)[0], files=3)
    seen = set()
    for workers in (1, 2):
        out = tmp_path / str(workers)
        done = curate("semantic-dedup", folder, "--out", out, "--workers", workers)
        assert done.code == 0, done.err
        seen.add(
            tuple(
                path.read_bytes()
                for top in ("documents", "embeddings", "rejects")
                for path in sorted((out / top).iterdir())
            )
        )
    assert len(seen) == 1


def test_texts_without_words_and_single_texts_pass(inline: None, tmp_path: Path) -> None:
    assert run(write(tmp_path / "in", ["", "?!", ""], files=1), tmp_path / "out")[0] == {}
    assert run(write(tmp_path / "one", ["a single text of some words"], files=1), tmp_path / "two")[0] == {}


@pytest.mark.slow
def test_24000_chunks_within_a_minute(curate: Any, tmp_path: Path) -> None:
    texts, planted = documents(random.Random(3), 22_000, 2000)
    folder = write(tmp_path / "in", texts)
    done = curate("semantic-dedup", folder, "--out", tmp_path / "out", "--workers", 2, "--json")
    assert done.code == 0, done.err
    print(json.dumps(done.json["passes"]), len(planted))
