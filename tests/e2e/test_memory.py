"""--memory: kept by all processes together, and no byte of what comes out depends on it."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.config import parse_size
from curate.errors import ConfigError
from curate.run.memory import IDLE, LEAST_TASK, Budget

LEAST = 2 * IDLE + LEAST_TASK
RECEIPTS = 1_000_000  # bytes that the receipts of these small runs stay below


def private_bytes(process: int) -> int:
    """Private memory of a process and all below it: what mapped files hold can be taken back and does not count."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            below.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    total, found = 0, [process]
    for one in found:
        found += below.get(one, [])
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
    return total


def watched(*arguments: object) -> tuple[int, str]:
    """(peak of private memory, what went wrong) of a command."""
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, private_bytes(process.pid))
            time.sleep(0.01)
        assert process.stderr is not None
        return peak, process.stderr.read()


def products(out: Path) -> dict[str, str]:
    paths = [path for top in ("documents", "rejects", "pairs") for path in sorted((out / top).rglob("*.parquet"))]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60,000 documents of 20 words, a third of them copies of another but for the last word."""
    words = np.random.default_rng(1).integers(0, 10**6, (60_000, 20))
    words[40_000:] = words[:20_000]
    words[40_000:, -1] += 1
    folder = tmp_path_factory.mktemp("many")
    for number, part in enumerate(np.array_split(words, 3)):
        texts = pa.array([" ".join(map(str, row)) for row in part.tolist()], pa.large_string())
        pq.write_table(pa.table({"text": texts}), folder / f"{number}.parquet", row_group_size=10_000)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="private memory is read from /proc")
def test_the_least_memory_is_kept_and_gives_the_same_bytes(many: Path, tmp_path: Path) -> None:
    """200 bands make 12,000,000 key rows, which take more where there is more."""
    options = ["--bands", 200, "--rows", 4, "--pairs"]
    free, errors = watched("near-dedup", many, "--out", tmp_path / "free", "--workers", 2, *options)
    assert not errors
    peak, errors = watched(
        "near-dedup", many, "--out", tmp_path / "tight", "--memory", LEAST + RECEIPTS, "--workers", 2, *options
    )
    assert not errors
    print(f"{free / 1e6:.0f} MB without a limit, {peak / 1e6:.0f} MB of {LEAST / 1e6:.0f} MB with it")
    assert peak <= LEAST + RECEIPTS and peak < free
    assert products(tmp_path / "tight") == products(tmp_path / "free")
    assert sum(pq.read_metadata(path).num_rows for path in (tmp_path / "free" / "documents").iterdir()) == 40_000


def test_rounds_change_no_byte(inline: None, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousandth of the memory every phase works in many rounds."""
    from curate.io.inputs import InputSettings
    from curate.run import driver
    from curate.run.recipe import single_stage

    monkeypatch.setattr("curate.io.inputs.SLICE", 1 << 20)  # a task a file
    recipe = single_stage("near_dedup", {"pairs": True, "bands": 30}, [InputSettings(path=str(many))], 9_000)
    for name, size in [("one", LEAST), ("many", LEAST // 1000)]:
        monkeypatch.setattr(Budget, "task", size)
        monkeypatch.setattr(Budget, "lone_task", size)
        assert not driver.run(recipe, tmp_path / name).failures
    assert products(tmp_path / "one") == products(tmp_path / "many")
    assert len(list((tmp_path / "one" / "pairs").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "size"), [("800MB", 800e6), ("8G", 8e9), ("1.5GiB", 1.5 * 2**30), ("1000000", 1e6), ("2 tb", 2e12)]
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


def test_what_cannot_be_kept_is_refused(curate: Any, many: Path, tmp_path: Path) -> None:
    done = curate("near-dedup", many, "--out", tmp_path / "out", "--memory", "519MB")
    assert done.code == 2 and "519 MB is below the least of 521 MB for this run" in " ".join(done.err.split())
    for wrong in ("much", "8iB", "-1GB", ""):
        with pytest.raises(ConfigError, match="is no size"):
            parse_size(wrong)


def test_fewer_workers_run_where_all_would_not_fit() -> None:
    assert Budget(LEAST, 8).workers == 1
    assert Budget(LEAST + IDLE + LEAST_TASK, 8).workers == 2
    wide = Budget(10**10, 8)
    assert wide.workers == 8 and IDLE + 8 * (IDLE + wide.task) <= 10**10 and wide.lone_task + 9 * IDLE == 10**10


def test_a_plan_says_what_documents_take(curate: Any, many: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"version: 1\ninputs: [{{path: {many}}}]\nsteps: [near_dedup]\n")
    done = curate("plan", recipe, "--memory", "2GB", "--workers", 2)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    lines = [line.split() for line in done.out.splitlines() if "MB" in line or "GB" in line]
    rows = {first: rest for first, *rest in lines if first.replace(",", "").isdigit()}
    # 60,000 documents have 14 keys of 32 bytes each.
    assert rows["60,000"][:2] == ["26.9", "MB"]
    assert rows["100,000,000"][:2] == ["44.8", "GB"] and rows["100,000,000"][6:] == [
        "4",
        "GB",
        "4.12",
        "GB",
        "4.18",
        "GB",
    ]


def test_what_a_run_takes_and_misses_is_told_before_it_begins(curate: Any, many: Path, tmp_path: Path) -> None:
    done = curate("near-dedup", many, "--out", tmp_path / "out", "--limit", 100, "--bands", 20, "--rows", 5)
    assert done.code == 0 and not done.err
    log = (tmp_path / "out" / "run.log").read_text()
    before = log[: log.index("tasks to run")]
    assert "20 bands of 5 rows find" in before and "100,000,000" in before
