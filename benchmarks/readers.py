"""Large single files: what a second worker gains, and whether memory follows the size of the file.

    python -m benchmarks.readers --json

A JSON-lines file of 3 GB (`curate normalize`) and a .warc.gz of 1 GB with a member a record (`curate extract`), each
read by one worker and by two, in turns. The documents must be the same bytes. Peak memory is that of the largest
process, for the file and for one of a tenth of its size. The texts are those of ../shared/data/text, numbered; the
archive is the crawl that benchmarks.pipeline varies ten times, twice over.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.executors import digest
from benchmarks.harness import Report, run
from benchmarks.texts import SHARED, documents
from benchmarks.variations import copies

HOME = Path(__file__).resolve().parents[1] / "target" / "bench"
GB = 1_000_000_000


class Run(NamedTuple):
    wall: float  # seconds by the clock
    cpu: float  # CPU seconds of all processes
    peak: float  # MB of the largest process
    digest: str  # of all documents


def jsonl(report: Report) -> None:
    """3 GB of JSON lines in one file, `curate normalize`."""
    _large_file(report, "jsonl", "normalize", json_lines(HOME / "large.jsonl", 3 * GB), json_lines(
        HOME / "small.jsonl", 3 * GB // 10))  # fmt: skip


def warc(report: Report) -> None:
    """1 GB of gzip members in one archive, `curate extract`."""
    crawl = copies(SHARED / "crawl", HOME / "crawl10", 10)
    _large_file(report, "warc", "extract", archive(crawl, HOME / "large.warc.gz", GB), archive(
        crawl, HOME / "small.warc.gz", GB // 10))  # fmt: skip


def _large_file(report: Report, form: str, stage: str, large: Path, small: Path) -> None:
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        tenth = _run(stage, small, Path(folder) / "small", 1)
        one = _run(stage, large, Path(folder) / "one", 1)
        two = _run(stage, large, Path(folder) / "two", 2)
    if one.digest != two.digest:
        raise AssertionError(f"two workers make other documents of {large} than one")
    size = large.stat().st_size
    note = f"{size / 1e9:.1f} GB; {one.wall:.1f} s with one worker, {two.wall:.1f} s with two, the same bytes"
    report.row(f"{form}_two_workers", one.wall / two.wall, "x", 1, note=note)
    report.row(f"{form}_rate", size / one.cpu / 1e6, "MB/s", 1, note=f"of the file, `curate {stage}`, a CPU second")
    note = f"largest process, {size / 1e9:.1f} GB; {tenth.peak:.0f} MB for {small.stat().st_size / 1e9:.1f} GB"
    report.row(f"{form}_peak", one.peak, "MB", 1, note=note)


def json_lines(path: Path, size: int) -> Path:
    """A JSON-lines file of at least `size` bytes, made once: every text with its number before it."""
    if not path.exists():
        lines = [text for _, _, text in documents("text")]
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".part"), "w", encoding="utf-8") as out:
            number = 0
            while out.tell() < size:
                for text in lines:
                    number += 1
                    out.write(json.dumps({"id": number, "text": f"{number}\n{text}"}, ensure_ascii=False) + "\n")
        path.with_suffix(".part").rename(path)
    return path


def archive(crawl: Path, path: Path, size: int) -> Path:
    """A .warc.gz of at least `size` bytes, made once: the archives of `crawl` one after the other."""
    if not path.exists():
        with open(path.with_suffix(".part"), "wb") as out:
            while out.tell() < size:
                for source in sorted(crawl.glob("*.warc.gz")):
                    out.write(source.read_bytes())
                    if out.tell() >= size:
                        break
        path.with_suffix(".part").rename(path)
    return path


def _run(stage: str, path: Path, out: Path, workers: int) -> Run:
    command = [sys.executable, "-m", "curate", stage, path, "--out", out, "--workers", workers]
    began = time.perf_counter()
    child = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise RuntimeError(f"curate {stage} {path} ended with {status}:\n{said[-2000:].decode(errors='replace')}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, digest(out))


if __name__ == "__main__":
    run("readers", [jsonl, warc], ["pyarrow"])
