"""Deduplication of what it does not expect: the right answer or a clear error, never a hang, nothing lost."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COMMANDS = ["exact-dedup", "near-dedup", "line-dedup"]
LONG = " ".join(f"word{i}" for i in range(40))


def write(path: Path, texts: pa.Array | list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    pq.write_table(pa.table({"text": column}), path, row_group_size=100_000)
    return path


def rows(out: Path, folder: str = "documents") -> int:
    return sum(pq.read_metadata(path).num_rows for path in (out / folder).glob("*.parquet"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ([], {"exact-dedup": 0, "near-dedup": 0, "line-dedup": 0}),
        ([""] * 50, {"exact-dedup": 1, "near-dedup": 50, "line-dedup": 50}),
        ([LONG] * 50, {"exact-dedup": 1, "near-dedup": 1, "line-dedup": 1}),
        ([LONG], {"exact-dedup": 1, "near-dedup": 1, "line-dedup": 1}),
        (["a b"] * 5 + ["\0\x01\ufffd" * 9], {"exact-dedup": 2, "near-dedup": 6, "line-dedup": 6}),
    ],
    ids=["no rows", "empty texts", "one text", "one row", "too short"],
)
def test_degenerate_columns(command: str, texts: list[str], kept: dict[str, int], curate: Any, tmp_path: Path) -> None:
    done = curate(command, write(tmp_path / "in.parquet", texts), "--out", tmp_path / "out", "--workers", 1)
    assert done.code == (0 if texts else 3), done.err  # inputs without rows stop at a guard
    assert rows(tmp_path / "out") == kept[command]


@pytest.mark.parametrize("shape", [["--bands", 1, "--rows", 1], ["--bands", 1000, "--rows", 1], ["--rows", 64]])
def test_more_slots_than_shingles(shape: list[Any], curate: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["one two three four five six", "one two three four five six", LONG])
    for scheme in ("classic", "fss"):
        out = tmp_path / scheme
        done = curate("near-dedup", path, "--out", out, "--workers", 1, "--scheme", scheme, *shape)
        assert done.code == 0 and rows(out) == 2, done.err


def test_a_damaged_partition_file_is_told_or_made_again(curate: Any, tmp_path: Path) -> None:
    """A file that was cut off no longer has the size of its receipt: its task runs again, and so nothing is lost."""
    path = write(tmp_path / "in.parquet", [LONG, LONG, LONG + " more", "other " * 9])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"version: 1\ninputs: [{{path: {path}}}]\nkeep: all\nsteps: [near_dedup: {{}}]\n")
    out = tmp_path / "out"
    assert curate("run", recipe, "--out", out, "--workers", 1).code == 0
    (keys,) = (out / "passes").glob("00-*/*.keys.arrow")
    keys.write_bytes(keys.read_bytes()[:200])
    for receipt in (out / "passes").glob("01-*/*.json"):
        receipt.unlink()
    done = curate("run", recipe, "--out", out, "--workers", 1)
    assert done.code == 0 and rows(out) == 2, done.err


def test_a_damaged_index_is_told(curate: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "old" / "a.parquet", [LONG, "other " * 9])
    assert curate("near-dedup", path, "--out", tmp_path / "first", "--save-index", "--workers", 1).code == 0
    index = tmp_path / "first" / "index"
    new = write(tmp_path / "new" / "b.parquet", [LONG + " x", "something else " * 20])
    done = curate("near-dedup", new, "--out", tmp_path / "good", "--index", index, "--workers", 1)
    assert done.code == 0 and rows(tmp_path / "good") == 1, done.err
    (keys,) = index.glob("keys-*.arrow")
    keys.write_bytes(keys.read_bytes()[:200])
    done = curate("near-dedup", new, "--out", tmp_path / "bad", "--index", index, "--workers", 1)
    assert done.code == 1 and "keys-" in done.err and "is damaged" in done.err
    (index / "parameters.json").write_text("{")
    done = curate("near-dedup", new, "--out", tmp_path / "worse", "--index", index)
    assert done.code == 2 and "no readable parameters.json" in done.err


@pytest.mark.slow
def test_a_million_equal_documents_are_one_cluster(curate: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", pa.array([LONG], pa.large_string()).take(pa.array(np.zeros(1_000_000, int))))
    began = time.perf_counter()
    done = curate("near-dedup", path, "--out", tmp_path / "out", "--workers", 2, "--json")
    assert done.code == 0, done.err
    peak = max(p["peak_memory_bytes"] for p in json.loads(done.out)["passes"])
    print(f"{time.perf_counter() - began:.0f} s, {peak / 2**20:.0f} MiB")
    assert rows(tmp_path / "out") == 1
    assert "a cluster of 1,000,000 documents" in done.err


@pytest.mark.slow
def test_a_document_of_200_mb(curate: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    large = " ".join(f"w{n}" for n in rng.integers(0, 10**7, 25_000_000))
    assert len(large) > 200e6
    path = write(tmp_path / "in.parquet", [large, LONG, large + " end"])
    done = curate("near-dedup", path, "--out", tmp_path / "out", "--workers", 1, "--json")
    assert done.code == 0, done.err
    print(f"{max(p['peak_memory_bytes'] for p in json.loads(done.out)['passes']) / 2**20:.0f} MiB")
    assert rows(tmp_path / "out") == 2
