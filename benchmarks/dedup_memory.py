"""Private memory of the phases of near_dedup and of lists by the rows they work on: what `curate plan` counts with.

    python -m benchmarks.dedup_memory            # two minutes

Each phase works on mapped files and writes what it emits, as in a run, in a process of its own that a thread
watches. Every document has a copy that shares half of its bands, which is the dearest that happens; or all documents
share one band and nothing else. The slope is that between the sizes; it must not be above the constant beside it, or
a run would take more than it was given.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Report, peak_memory, run
from curate import kernels, stages
from curate.dedup.costs import CLUSTER_BYTES, MATCH_BYTES, MERGE_BYTES, VERIFY_BYTES, member_bytes
from curate.dedup.sorting import ranges
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
    found = {"doc_a": _ids(names[0::2]), "doc_b": _ids(names[1::2])}
    listed = pa.table({**found, "jaccard": np.ones(rows)})
    shingles = pa.LargeListArray.from_arrays(np.zeros(len(names) + 1, np.int64), pa.array([], pa.uint64()))
    return {"verify.pairs": pa.table(found), "verify.listed": listed, "sign.documents": _documents(names, shingles)}


def components(rows: int) -> dict[str, pa.Table]:
    """As many members of components of two, alike in half of their bands."""
    names = np.sort(_names(rows).view("S16")).view("V16")
    keys = np.random.default_rng(2).integers(0, 2**64, (rows, BANDS), dtype=np.uint64)
    keys[1::2, : BANDS // 2] = keys[: rows // 2 * 2 : 2, : BANDS // 2]
    shingles = pa.LargeListArray.from_arrays(np.arange(rows + 1), pa.array(np.full(rows, 7, np.uint64)))
    documents = _documents(names, shingles)
    documents = documents.append_column("keys", pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), BANDS))
    members = pa.table({"root": _ids(names[::2].repeat(2)[:rows]), "doc_id": _ids(names)})
    return {"cluster.members": members, "sign.documents": documents}


def _documents(names: np.ndarray, shingles: pa.Array) -> pa.Table:
    n = len(names)
    files = pa.array(["a-folder/of-some-depth/and-a-file-0001.parquet"]).take(pa.array(np.zeros(n, np.int64)))
    return pa.table({"doc_id": _ids(names), "origin_file": files, "origin_offset": np.arange(n),
                     "n_copies": np.ones(n, np.uint32), "rank": np.zeros(n), "shingles": shingles})  # fmt: skip


def one_bucket(rows: int) -> dict[str, pa.Table]:
    """Rows of one bucket of documents that have nothing but a band key in common."""
    names = np.sort(_names(rows + 1).view("S16")).view("V16")
    made = {"first": _ids(names[:1].repeat(rows)), "key": np.zeros(rows, np.uint64), "member": _ids(names[1:])}
    values = pa.array(np.arange(len(names), dtype=np.uint64))
    shingles = pa.LargeListArray.from_arrays(np.arange(len(names) + 1), values)
    return {"match.members": pa.table(made), "sign.documents": _documents(names, shingles)}


def keep_lists(rows: int) -> dict[str, pa.Table]:
    """Keep lists of two copies each, in the order of their hashes."""
    names = _names(rows)
    listed = {"doc_id": _ids(names), "cluster_id": _ids(names[::2].repeat(2)[:rows]),
              "n_copies": np.full(rows, 2, np.uint32), "similarity": np.ones(rows)}  # fmt: skip
    return {"pick.keep": pa.table(listed)}


class Mapped:
    """Reads (stages/protocol.py) over files in a folder."""

    def __init__(self, folder: Path, memory: int) -> None:
        self.folder, self.memory = folder, memory

    def table(self, name: str) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / f"{name}.arrow"))).read_all()

    rows = table

    def files(self, name: str) -> list[SideFile]:
        return []

    def parts(
        self, own: pa.Table, others: list[pa.Table], by: str, row_bytes: int, held: int = 0
    ) -> Iterator[list[pa.Table]]:
        parts = ranges(own, by, row_bytes, max(0.75 * self.memory - held, self.memory / 8))
        return map(lambda part: [part, *others], parts)


def task_peak(stage: str, phase: str, make: str, rows: int, memory: int, settings: Mapping[str, Any]) -> float:
    """Bytes of private memory that a phase takes above what its process had before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for channel, table in globals()[make](rows).items():
            with pa.ipc.new_file(str(folder / f"{channel}.arrow"), table.schema) as writer:
                writer.write_table(table, max_chunksize=1 << 16)
            del table
        loaded = stages.load(stage)
        function = next(p.run for p in loaded.phases if p.name == phase)
        assert function is not None
        pa.default_memory_pool().release_unused()
        with Watch() as watch:
            _write(function(loaded.config(**settings), Mapped(folder, memory)), folder)  # type: ignore[arg-type]
        return watch.peak - watch.before


def _write(emitted: Any, folder: Path) -> None:
    """Every channel to its file."""
    writers: dict[str, Any] = {}
    for channel, table in emitted:
        if not isinstance(table, pa.Table):
            continue
        if channel not in writers:
            writers[channel] = pa.ipc.new_file(str(folder / f"out.{channel}.arrow"), table.schema)
        writers[channel].write_table(table)
    for writer in writers.values():
        writer.close()


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
        raise AssertionError(f"{name}: {slope:.0f} bytes a row, where the plan counts with {constant}")


def slopes(report: Report) -> None:
    """Bytes a row, without a limit: the peak at two sizes."""

    def phase(name: str, constant: int, stage: str, phase: str, make: str) -> None:
        _slope(report, name, constant, task_peak, stage, phase, make, SIZE, UNLIMITED, {})

    phase("match_a_key", MATCH_BYTES, "near_dedup", "match", "keys")
    phase("verify_a_member", VERIFY_BYTES, "near_dedup", "verify", "members")
    phase("verify_a_member_of_one_bucket", VERIFY_BYTES, "near_dedup", "verify", "one_bucket")
    _slope(report, "clusters_a_document", CLUSTER_BYTES, clusters_peak, SIZE)
    phase("choose_a_member", member_bytes(BANDS), "near_dedup", "choose", "components")
    phase("merge_a_row", MERGE_BYTES, "exact_dedup", "merge", "keep_lists")


def bounded(report: Report) -> None:
    """The peak where a task may hold 500 MB: it must be less."""
    limit = 500_000_000
    settings: Mapping[str, Any]
    for stage, phase, make, rows, settings in [
        ("near_dedup", "match", "keys", 10_000_000, {}),
        ("near_dedup", "verify", "members", 10_000_000, {}),
        ("near_dedup", "cluster", "pairs", 3_000_000, {}),
        ("near_dedup", "cluster", "pairs", 3_000_000, {"pairs": True}),
        ("near_dedup", "choose", "components", 3_000_000, {}),
        ("exact_dedup", "merge", "keep_lists", 20_000_000, {}),
    ]:
        peak = peak_memory(task_peak, stage, phase, make, rows, limit, settings)[2]
        name = f"{phase}{'_pairs' if settings else ''}_{rows // 1_000_000}m_rows_in_500_mb"
        report.row(name, peak / 1e6, "MB", 1)
        if peak > limit:
            raise AssertionError(f"{name}: {peak:,} bytes")


GROUPS: list[Callable[[Report], None]] = [slopes, bounded]

if __name__ == "__main__":
    run("dedup_memory", GROUPS, ["pyarrow"])
