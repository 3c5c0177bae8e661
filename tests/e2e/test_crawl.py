"""The main job on a real crawl: 4 WARC files, 2,442 responses, within 4 minutes and 4 GiB on 2 cores."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import ROOT

pytestmark = pytest.mark.realdata

RESPONSES, REVISITS, REQUESTS, WARCINFO = 2442, 36, 2359, 4


class MemoryOfTree(threading.Thread):
    """Samples the memory (PSS, so that shared pages count once) of a process and all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, False

    def run(self) -> None:
        while not self.ended:
            self.peak = max(self.peak, sum(map(self._pss, self._tree())))
            time.sleep(0.25)

    def _tree(self) -> list[int]:
        found, waiting = [], [self.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    waiting += map(int, path.read_text().split())
                except OSError:
                    continue
        return found

    @staticmethod
    def _pss(pid: int) -> int:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, int]:
    """(run folder, seconds, peak bytes of all its processes) of the default recipe with 2 workers."""
    out = tmp_path_factory.mktemp("crawl") / "run"
    arguments = ["run", ROOT / "pipelines/default.yaml", "--input", shared / "crawl", "--out", out, "--workers", "2"]
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "curate", *map(str, arguments)], stdout=subprocess.DEVNULL)
    memory = MemoryOfTree(process.pid)
    memory.start()
    assert process.wait(timeout=900) == 0
    memory.ended = True
    return out, time.monotonic() - start, memory.peak


def test_time_and_memory(run: tuple[Path, float, int]) -> None:
    _, seconds, peak = run
    print(f"default.yaml on crawl/: {seconds:.0f} s, {peak / 2**30:.2f} GiB")
    assert seconds < 240 and peak < 4 * 2**30


def test_every_response_is_one_document_or_one_drop(run: tuple[Path, float, int]) -> None:
    out, _, _ = run
    documents = [
        i for p in (out / "documents").glob("*") for i in pq.read_table(p, columns=["doc_id"])["doc_id"].to_pylist()
    ]
    rejects = [row for p in (out / "rejects").glob("*") for row in pq.read_table(p).to_pylist()]
    dropped = [row["doc_id"] for row in rejects if row["action"] == "drop"]
    assert len(documents) + len(dropped) == RESPONSES
    assert len(set(documents) | set(dropped)) == RESPONSES
    assert all(row["rule"] and row["stage"] for row in rejects)
    numeric = [row for row in rejects if row["rule"].startswith("gopher.")]
    assert all(row["value"] is not None and row["limit"] is not None for row in numeric)
    assert all(row["excerpt"] is None for row in rejects if row["stage"] == "redact")


def test_what_is_no_document_is_counted_and_every_task_balances(run: tuple[Path, float, int]) -> None:
    out, _, _ = run
    reader = json.loads((out / "funnel.json").read_bytes())["reader"]
    assert reader["other_records"] == {"request": REQUESTS, "revisit": REVISITS, "warcinfo": WARCINFO}
    assert reader["skipped_bytes"] == 0
    for path in (out / "passes").glob("*/*.json"):
        if path.name == "plan.json":
            continue
        for step in json.loads(path.read_bytes())["steps"]:
            assert step["rows_in"] == step["rows_out"] + sum(step["dropped"].values()) + step["set_aside"]


def test_crawled_again_is_a_copy(run: tuple[Path, float, int], shared: Path) -> None:
    """The manifest names 83 re-crawls; those whose original was kept so far are dropped as its copies."""
    import zstandard

    out, _, _ = run
    raw = zstandard.ZstdDecompressor().stream_reader((shared / "crawl/manifest.jsonl.zst").read_bytes()).read()
    manifest = [json.loads(line) for line in raw.splitlines()]
    url_of = {row["record_id"]: row["url"] for row in manifest}
    twins = {row["url"]: url_of[row["dup_of"]] for row in manifest if row.get("dup_of")}
    fate: dict[str, str] = {}
    for folder in ("rejects", "documents"):
        for path in (out / folder).glob("*.parquet"):
            for row in pq.read_table(path).to_pylist():
                if folder == "documents" or row["action"] == "drop":
                    fate[row["url"]] = row.get("rule") or "kept"
    both_kept = [(a, b) for a, b in twins.items() if fate.get(a) == fate.get(b) == "kept"]
    assert len(twins) == 83 and not both_kept, Counter(fate[a] for a in twins)
