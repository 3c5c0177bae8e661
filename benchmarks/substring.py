"""Repeated substrings: what finds them, how fast, and beside whom.

    python -m benchmarks.substring             # some minutes
    python -m benchmarks.substring find

`method`: the kernels of substring_dedup (sampled hashes, verified byte for byte) beside the construction of one suffix
array of the same bytes by libsais, which any method of suffix arrays begins with. `peer`: the command beside
deduplicate-text-datasets (make, self-similar, collect), built from its source and named by DEDUP_DATASET; both cut
repeats of 400 bytes, and planted ones are looked for in what each says. `find`: the time of a query of `curate find`.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import texts
from benchmarks.harness import Report, measure, run, watched
from curate import kernels

N = 400  # bytes of a repeat
PLANTED = 2000


@cache
def corpus(limit: int = 60_000_000) -> tuple[list[str], list[tuple[int, str]]]:
    """Prose, mail, mathematics and code of so many bytes, as documents of some 4 KB, and repeats of 100 words planted
    in them: (the later document, words)."""
    rng = random.Random(1)
    found: list[str] = []
    size = 0
    for text in texts.mixed():
        for start in range(0, len(text), 4000):
            found.append(text[start : start + 4000])
            size += len(found[-1].encode())
        if size >= limit:
            break
    planted: list[tuple[int, int, str]] = []
    long = [i for i, text in enumerate(found) if len(text) > 3000]
    for _ in range(PLANTED):
        source, target = rng.choice(long), rng.choice(long)
        words = found[source].split(" ")
        start = rng.randrange(max(1, len(words) - 120))
        piece = " ".join(words[start : start + 100])
        if len(piece.encode()) >= N and source != target:
            place = found[target].find(" ", rng.randrange(2000))
            found[target] = f"{found[target][:place]} {piece} {found[target][place:]}"
            planted.append((source, target, piece))
    # A later one may have been planted inside of an earlier one.
    whole = [(max(a, b), piece) for a, b, piece in planted if piece in found[a] and piece in found[b]]
    return found, whole


def method(report: Report) -> None:
    """The kernels, one thread, texts in memory."""
    documents, _ = corpus()
    column = texts.column(documents)
    size = texts.size(column)
    sampled = measure(lambda: kernels.anchors(column, min_length=N), rounds=3)
    row, hashes, place = sampled.result
    table = pa.table({"hash": hashes, "part": pa.array(np.zeros(len(row), np.uint32)), "row": row, "place": place})
    compared = measure(lambda: kernels.repeats(table, [column], min_length=N, per_anchor=256), rounds=3)
    whole = "\0".join(documents).encode()
    array = measure(lambda: kernels.suffix_array(whole), rounds=1)
    ours = size / (sampled.cpu + compared.cpu) / 1e6
    theirs = array.rate(len(whole))
    note = f"{len(row):,} anchors, {size / len(row):.0f} bytes each; {len(compared.result[0]):,} repeats verified"
    report.row("sampled_hashes_with_verification", ours, "MB/s", 3, "suffix array", theirs, note)
    report.row("anchors", sampled.rate(size), "MB/s", 3)
    report.row("repeats", compared.rate(size), "MB/s", 3)


def peer(report: Report) -> None:
    """The commands, from files to what is to be cut."""
    documents, planted = corpus()
    size = sum(len(text.encode()) for text in documents)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        pq.write_table(pa.table({"text": documents}), folder / "in" / "a.parquet", row_group_size=2000)
        wall, cpu, memory = watched(
            [sys.executable, "-m", "curate", "substring-dedup", str(folder / "in"), "--out", str(folder / "out"),
             "--min-length", str(N), "--workers", "1"], folder)  # fmt: skip
        cut = {i: "" for i in range(len(documents))}
        for path in (folder / "out" / "rejects").glob("*"):
            for row in pq.read_table(path, filters=[("action", "==", "cut")]).to_pylist():
                data = documents[row["origin_offset"]].encode()
                cut[row["origin_offset"]] += data[row["span_start"] : row["span_end"]].decode() + "\0"
        found = sum(any(piece[20:-20] in text for text in cut[later].split("\0")) for later, piece in planted)
        note = (
            f"{wall:.0f} s wall; {memory:,.0f} MB; {found:,} of {len(planted):,} planted repeats cut in the later one"
        )
        theirs = None
        if binary := os.environ.get("DEDUP_DATASET"):
            theirs, told = _dedup_dataset(binary, documents, folder)
            note += told
        rate = size / theirs / 1e6 if theirs else None
        name = "deduplicate-text-datasets" if theirs else None
        report.row("substring_dedup_command", size / cpu / 1e6, "MB/s", 1, name, rate, note)


def _dedup_dataset(binary: str, documents: list[str], folder: Path) -> tuple[float, str]:
    """(CPU seconds, what it found) of the peer, one thread, over the texts in one file, apart by 4 bytes."""
    data = folder / "data.bin"
    with data.open("wb") as file:
        for number, text in enumerate(documents):
            file.write(b"\xff\xff" + number.to_bytes(4, "little") + text.encode())
    cache = folder / "cache"
    cache.mkdir()
    steps = [
        ["make", "--data-file", str(data)],
        ["self-similar", "--data-file", str(data), "--length-threshold", str(N), "--cache-dir", str(cache),
         "--num-threads", "1"],
        ["collect", "--data-file", str(data), "--cache-dir", str(cache), "--length-threshold", str(N)],
    ]  # fmt: skip
    cpu = peak = wall = 0.0
    for step in steps:
        used = watched([binary, *step], folder)
        wall, cpu, peak = wall + used[0], cpu + used[1], max(peak, used[2])
    spans = re.findall(r"^(\d+) (\d+)$", (folder / "log").read_text(), re.MULTILINE)
    return cpu, f"; the peer {wall:.0f} s wall, {peak:,.0f} MB, {len(spans):,} spans, all copies of a repeat among them"


def find(report: Report) -> None:
    """Queries over texts in blocks, files in the page cache; and the command, which starts an interpreter."""
    from curate.dedup.find import Texts

    documents, _ = corpus()
    rng = random.Random(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        pq.write_table(pa.table({"text": documents}), folder / "in" / "a.parquet", row_group_size=2000)
        out = folder / "out"
        subprocess.run(
            [sys.executable, "-m", "curate", "substring-dedup", str(folder / "in"), "--out", str(out), "--workers", "1",
             "--keep-index"], check=True, capture_output=True)  # fmt: skip
        searched = Texts(out)
        words = [text[100:130] for text in rng.sample([t for t in documents if len(t) > 200], 200)]
        counts, taken = [], []
        for query in words:
            began = time.perf_counter()
            count, hits = searched.find(query)
            next(hits, None)
            taken.append(time.perf_counter() - began)
            counts.append(count)
        stored = sum(path.stat().st_size for path in (out / "find").glob("*"))
        size = sum(len(text.encode()) for text in documents)
        note = f"median of 200 queries over {len(searched.rows)} blocks, {stored / size:.2f} bytes a byte of text"
        report.row("find_query", 1e3 * float(np.median(taken)), "ms", 1, note=note)


GROUPS: list[Callable[[Report], None]] = [method, peer, find]

if __name__ == "__main__":
    run("substring", GROUPS, ["pyarrow"])
