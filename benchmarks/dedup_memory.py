"""Private memory of near_dedup's phases by the rows they work on: the slopes that `curate plan` counts with.

    python -m benchmarks.dedup_memory            # a minute

Each phase runs as a task, on mapped files as in a run, in a process of its own that a thread watches. Every document
has a copy that shares half of its bands, which is the dearest that happens. The slope is that between the sizes; it
must not be above the constant beside it, or a run would take more than it was given.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Report, peak_memory, run
from curate import kernels
from curate.run.task import Call, OpCall, run_task
from curate.stages import near_dedup
from curate.stages.keep import KEEP_LIST_BYTES
from curate.stages.protocol import SideFile

BANDS = 14
ID = pa.binary(16)
UNLIMITED = 1 << 40
SIZE = object()  # where the number of rows stands among arguments


def _ids(names: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(names), [None, pa.py_buffer(names.tobytes())])


def _names(count: int) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(1).bytes(16 * count), "V16")


def keys(rows: int) -> dict[str, pa.Table]:
    """Keys of rows / 14 documents, each but for a half of its bands like the one before it."""
    documents = rows // BANDS
    table = np.random.default_rng(2).integers(0, 2**64, (documents, BANDS), dtype=np.uint64)
    table[1::2, : BANDS // 2] = table[: documents // 2 * 2 : 2, : BANDS // 2]
    owners = _ids(_names(documents).repeat(BANDS))
    return {"sign.keys": pa.table({"key": table.reshape(-1), "doc_id": owners})}


def members(rows: int) -> dict[str, pa.Table]:
    """Rows of buckets: pairs of documents that share one key, and their shingles, which are few and equal."""
    names = np.sort(_names(2 * rows).view("S16")).view("V16")
    made = {"first": _ids(names[0::2]), "key": np.arange(rows, dtype=np.uint64), "member": _ids(names[1::2])}
    shingles = pa.LargeListArray.from_arrays(np.arange(len(names) + 1), pa.array(np.full(len(names), 7, np.uint64)))
    return {"match.members": pa.table(made), "sign.documents": _documents(names, shingles)}


def pairs(rows: int) -> dict[str, pa.Table]:
    """As many pairs of two documents each."""
    names = np.sort(_names(2 * rows).view("S16")).view("V16")
    found = {"doc_a": _ids(names[0::2]), "doc_b": _ids(names[1::2]), "jaccard": np.ones(rows)}
    shingles = pa.LargeListArray.from_arrays(np.zeros(len(names) + 1, np.int64), pa.array([], pa.uint64()))
    return {"verify.pairs": pa.table(found), "sign.documents": _documents(names, shingles)}


def _documents(names: np.ndarray, shingles: pa.Array) -> pa.Table:
    n = len(names)
    files = pa.array(["a-folder/of-some-depth/and-a-file-0001.parquet"]).take(pa.array(np.zeros(n, np.int64)))
    return pa.table({"doc_id": _ids(names), "origin_file": files, "origin_offset": np.arange(n),
                     "n_copies": np.ones(n, np.uint32), "rank": np.zeros(n), "shingles": shingles})  # fmt: skip


def task_peak(phase: str, make: str, rows: int, memory: int, settings: dict[str, Any]) -> float:
    """Bytes of private memory that a task of this phase takes above what its process had before."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        reads: dict[str, Any] = {}
        sides: dict[str, Any] = {}
        for name, table in globals()[make](rows).items():
            path = root / f"{name}.arrow"
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table, max_chunksize=1 << 16)
            if name == "sign.documents":
                sides[name] = (SideFile(path, path.name, table.num_rows, path.stat().st_size, ""),)
            else:
                reads[name] = ((path.name, tuple(range(-(-table.num_rows >> 16)))),)
            del table
        op = OpCall(f"near_dedup.{phase}", "near_dedup", "near_dedup", phase, settings, {}, sides, reads)
        shape = next(p.shape for p in near_dedup.STAGE.phases if p.name == phase)
        task = "all" if shape == "all" else "p0000"
        call = Call(folder, "00-x", task, shape, (op,), "", 1, memory)
        pa.default_memory_pool().release_unused()
        with Watch() as watch:
            run_task(call)
        return watch.peak - watch.before


class Watch:
    """The peak of this process's private memory while a block runs."""

    def __enter__(self) -> "Watch":
        self.before = self.peak = _private()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.done.is_set():
            self.peak = max(self.peak, _private())
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def _private() -> int:
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def clusters_peak(rows: int) -> float:
    """Bytes that the kernel takes for clusters of as many documents."""
    table = pairs(rows // 2)["verify.pairs"]
    with Watch() as watch:
        kernels.clusters(table)
    return watch.peak - watch.before


def _slope(report: Report, name: str, constant: int, work: Callable[..., Any], *arguments: Any) -> None:
    os.environ["MIMALLOC_PURGE_DELAY"] = "0"  # as workers have it
    sizes = (1_000_000, 4_000_000)
    few, many = (peak_memory(work, *(size if a is SIZE else a for a in arguments))[2] for size in sizes)
    slope = (many - few) / (sizes[1] - sizes[0])
    note = f"{few / 1e6:.0f} MB at {sizes[0]:,}, {many / 1e6:.0f} MB at {sizes[1]:,}; counted with {constant}"
    report.row(name, slope, "bytes", 1, note=note)
    if slope > constant:
        raise AssertionError(f"{name}: {slope:.0f} bytes a row, where near_dedup counts with {constant}")


def slopes(report: Report) -> None:
    """Bytes a row, without a limit: the peak at two sizes."""
    _slope(report, "match_a_key", near_dedup.MATCH_BYTES, task_peak, "match", "keys", SIZE, UNLIMITED, {})
    _slope(report, "verify_a_member", near_dedup.VERIFY_BYTES, task_peak, "verify", "members", SIZE, UNLIMITED, {})
    _slope(report, "clusters_a_document", near_dedup.CLUSTER_BYTES, clusters_peak, SIZE)
    # A pair has two documents. What the keep list takes stands beside what was found of the clusters.
    both = 2 * (near_dedup.LISTED_BYTES + KEEP_LIST_BYTES)
    _slope(report, "keep_list_a_pair", both, task_peak, "cluster", "pairs", SIZE, UNLIMITED, {})


def bounded(report: Report) -> None:
    """The peak where a task may hold 500 MB: it must be less."""
    limit = 500_000_000
    for phase, make, rows, settings in [
        ("match", "keys", 10_000_000, {}),
        ("verify", "members", 10_000_000, {}),
        ("cluster", "pairs", 3_000_000, {}),
        ("cluster", "pairs", 3_000_000, {"pairs": True}),
    ]:
        peak = peak_memory(task_peak, phase, make, rows, limit, settings)[2]
        name = f"{phase}{'_pairs' if settings else ''}_{rows // 1_000_000}m_rows_in_500_mb"
        report.row(name, peak / 1e6, "MB", 1)
        if peak > limit:
            raise AssertionError(f"{name}: {peak:,} bytes")


GROUPS: list[Callable[[Report], None]] = [slopes, bounded]

if __name__ == "__main__":
    run("dedup_memory", GROUPS, ["pyarrow"])
