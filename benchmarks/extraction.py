"""The extractor of main text beside its peers: quality, speed, memory, hostile pages, encodings.

    python -m benchmarks.extraction                    # all, some twenty minutes, most of it the peers'
    python -m benchmarks.extraction speed --json

quality: our texts are those of a five-fold cross-validation by registered domain, so that no page is scored by a
model that saw its site; pages of DAnIEL are scored by models that saw none of its pages. Peers run on the same pages,
each in a child that may take 30 CPU seconds a page; a page that gives nothing counts with an empty text. The metric
and its intervals are those of `models.extractor.score`.

speed: CPU seconds from a page's bytes to its text, one thread. Peers get every 8th page, and so do we beside them.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import peers
from benchmarks.encodings import encodings
from benchmarks.harness import Report, measure, run
from benchmarks.texts import SHARED
from curate import kernels
from curate.extract.sandbox import Crashed, Sandbox, Timeout
from models.extractor.score import Estimate, Scores, evaluate
from models.extractor.truth import Page, pages
from tests.torture import PAGES

OURS = "blocks"
CRAWL, MORE = SHARED / "crawl", SHARED / "crawl_more"
EVERY = 8
BATCH_BYTES = 8 << 20  # as the reader cuts them
TORTURE_BYTES = 5_000_000
ALLOWED = 90.0  # CPU seconds of six extractions of one hostile page
GRAIN = 0.01  # seconds below which memory that is touched first, and the clock, make the time


@cache
def crawl() -> tuple[Page, ...]:
    """The 2,359 distinct pages of ../shared/data/crawl."""
    if not CRAWL.is_dir():
        raise SystemExit(f"the real data that this benchmark reads is absent: {CRAWL}")
    return tuple(pages(CRAWL))


# -- quality -------------------------------------------------------------------------------------------------


def quality(report: Report) -> None:
    """F1 of every extractor in every group of pages, ours out of fold."""
    from models.extractor.fit import cross_validate

    judged = [page for page in crawl() if page.truth is not None]
    scores = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a child a peer does the work; nothing is timed here
        running = {name: pool.submit(peers.outcomes, name, judged) for name in peers.PEERS}
        scores[OURS] = evaluate(judged, cross_validate(CRAWL, MORE))
        for name, future in running.items():
            found = future.result()
            failed = [o.failure for o in found.values() if o.failure]
            print(f"{name}: {len(failed)} pages failed {sorted(set(failed))[:3]}", file=sys.stderr, flush=True)
            scores[name] = evaluate(judged, {key: outcome.text for key, outcome in found.items()})
    compare(report, scores)


def compare(report: Report, scores: Mapping[str, Scores]) -> None:
    """A table of all, one of us beside trafilatura, and a row for every figure."""
    ours, theirs = scores[OURS], scores["trafilatura"]
    title, lines, differences = "F1 and its 95 % interval", [], []
    for group in ours.groups:
        found = {name: each.f1(group) for name, each in scores.items()}
        lines.append([group, str(ours.count(group)), *(_interval(estimate) for estimate in found.values())])
        mean, above = ours.mean(group), ours.above(theirs, group)
        differences.append([group, _short(mean.precision), _short(mean.recall), _short(mean.f1), _interval(above, "+")])
        for name, estimate in found.items():
            if name not in (OURS, "trafilatura"):
                note = (
                    f"[{found[OURS].low:.3f}, {found[OURS].high:.3f}], peer [{estimate.low:.3f}, {estimate.high:.3f}]"
                )
                report.row(f"{group} F1", found[OURS].value, "F1", 1, name, estimate.value, note, table=title)
        report.row(f"{group} F1", mean.f1, "F1", 1, "trafilatura", found["trafilatura"].value, _interval(above, "+"))
    report.table(title, ["group", "pages", *scores], lines)
    header = ["group", "precision", "recall", "F1", "F1 above trafilatura's and its 95 % interval"]
    report.table(f"{OURS} beside trafilatura", header, differences)


def _short(value: float, sign: str = "") -> str:
    """.838, +.042: three digits, and no zero before the point."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.3f}"


def _interval(estimate: Estimate, sign: str = "") -> str:
    value, low, high = (_short(figure, sign) for figure in estimate)
    return f"{value} [{low}, {high}]"


# -- speed ---------------------------------------------------------------------------------------------------


def batches(chosen: Iterable[Page]) -> list[tuple[pa.Array, pa.Array]]:
    """(pages, charsets) of some 8 MiB each, as the stage gets them."""
    made: list[tuple[pa.Array, pa.Array]] = []
    group: list[Page] = []
    size = 0
    for page in chosen:
        group.append(page)
        size += len(page.html)
        if size >= BATCH_BYTES:
            made.append(_columns(group))
            group, size = [], 0
    return made + ([_columns(group)] if group else [])


def _columns(group: list[Page]) -> tuple[pa.Array, pa.Array]:
    return pa.array([p.html for p in group], pa.large_binary()), pa.array([p.charset or "" for p in group], pa.string())


def extracted(given: list[tuple[pa.Array, pa.Array]]) -> int:
    """Take the text of every page; the number of characters, so that there is something to compare."""
    return sum(pc.sum(pc.utf8_length(_text(*batch))).as_py() or 0 for batch in given)


def _text(html: pa.Array, charsets: pa.Array) -> pa.Array:
    return kernels.extract_html(html, charsets).field("text")


def speed(report: Report) -> None:
    """Pages a CPU second, beside the peers; the slowest pages; two processes."""
    chosen = crawl()
    size, count = sum(len(page.html) for page in chosen), len(chosen)
    given = batches(chosen)
    ours = measure(lambda: extracted(given), rounds=5)
    note = f"{count:,} pages, {size / count / 1e3:.0f} KB each, {ours.rate(size):.0f} MB/s, {kernels.cpu_path()}"
    report.row("pages_a_core", count / ours.cpu, "pages/s", ours.rounds, note=note)
    sample = chosen[::EVERY]
    few = batches(sample)
    beside = measure(lambda: extracted(few), rounds=5)
    for name in peers.PEERS:
        found = peers.outcomes(name, sample)
        rate = len(found) / sum(outcome.seconds for outcome in found.values())
        note = f"every {EVERY}th page, {len(found)} of them"
        report.row(f"pages_a_core_{name}", len(sample) / beside.cpu, "pages/s", beside.rounds, name, rate, note)
    _slowest(report, chosen)
    _two_processes(report)


def _slowest(report: Report, chosen: Iterable[Page]) -> None:
    """CPU time of a page alone, best of three."""
    given = [_columns([page]) for page in chosen]
    times = sorted(measure(lambda batch=batch: _text(*batch), rounds=3).cpu for batch in given)
    for name, at in [("median", 0.5), ("99th percentile", 0.99), ("slowest", 1.0)]:
        value = times[min(len(times) - 1, int(at * len(times)))]
        report.row(f"page_{name.replace(' ', '_')}", 1e3 * value, "ms", 3)


def _two_processes(report: Report) -> None:
    """How many times faster two processes are than one, by the clock and by CPU time; best of three."""
    one, two = _processes(1), _processes(2)
    note = "all pages, shared out evenly; by the clock"
    report.row("two_processes", one[0] / two[0], "x", 3, note=note)
    note = "CPU seconds of one process by those of the longer of two, which other work on the machine changes less"
    report.row("two_processes_cpu", one[1] / two[1], "x", 3, note=note)


def _processes(n: int) -> tuple[float, float]:
    """(seconds by the clock, CPU seconds of the process that took most) for n processes that share the pages."""
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(n)
    children = [context.Process(target=_share, args=(i, n, barrier, results)) for i in range(n)]
    for child in children:
        child.start()
    found = [results.get() for _ in children]
    for child in children:
        child.join()
    rounds = list(zip(*found, strict=True))
    wall = min(max(end for _, end, _ in r) - min(begin for begin, _, _ in r) for r in rounds)
    return wall, min(max(cpu for _, _, cpu in r) for r in rounds)


def _share(index: int, n: int, barrier: Any, results: Any) -> None:
    given = batches(crawl()[index::n])
    rounds = []
    for _ in range(3):
        barrier.wait()
        began = time.perf_counter(), time.process_time()
        extracted(given)
        rounds.append((began[0], time.perf_counter(), time.process_time() - began[1]))
    results.put(rounds)


# -- memory --------------------------------------------------------------------------------------------------


def memory(report: Report) -> None:
    """Peak resident memory of a worker of `curate extract`: on the crawl, on hostile pages just below the largest that
    are read unless one asks for more, and on hostile pages of 10 MB where one does.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, source, options in [
            ("crawl", CRAWL, []),
            ("hostile_pages", _hostile(Path(folder) / "5.warc", TORTURE_BYTES), []),
            ("hostile_pages_10mb", _hostile(Path(folder) / "10.warc", 2 * TORTURE_BYTES), ["--max-bytes", "16777216"]),
        ]:
            out = Path(folder) / name
            command = [sys.executable, "-m", "curate", "extract", str(source), "--out", str(out)]
            options = ["--format", "warc", "--workers", "1", *options]
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            peak = max(json.loads(path.read_text())["peak_memory_bytes"] for path in receipts(out))
            report.row(f"worker_memory_{name}", peak / 2**20, "MiB", 1, note="peak resident, Python and Arrow included")


def receipts(run_folder: Path) -> list[Path]:
    """The receipts of a run's tasks."""
    return [path for path in sorted(run_folder.glob("passes/*/*.json")) if path.name != "plan.json"]


def _hostile(path: Path, size: int) -> Path:
    """A WARC of the hostile pages."""
    with path.open("wb") as file:
        for name, page in PAGES.items():
            file.write(_record(name, page(size)))
    return path


def _record(name: str, page: bytes) -> bytes:
    """A WARC response."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:torture:{abs(hash(name))}>\r\n"
        f"WARC-Target-URI: https://torture.example/{len(name)}\r\nWARC-Date: 2025-01-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


# -- torture -------------------------------------------------------------------------------------------------


def torture_seconds(page: bytes) -> str:
    """The sandbox's entry: CPU seconds of one page, best of three, and bytes of its text."""
    batch = pa.array([page], pa.large_binary()), pa.array([""], pa.string())
    done = measure(lambda: _text(*batch), rounds=3)
    return json.dumps([done.cpu, len(done.result[0].as_py() or "")])


def torture(report: Report) -> None:
    """Hostile pages of 5 and 10 MB: seconds of each, and how many times longer the second takes."""
    title, lines = "Hostile pages", []
    sandbox = Sandbox("benchmarks.extraction:torture_seconds", timeout=ALLOWED, memory_bytes=peers.MEMORY)
    slowest, steepest = (0.0, ""), (0.0, "")
    for name, make in PAGES.items():
        try:
            (once, _), (twice, text) = (json.loads(sandbox.call(make(n * TORTURE_BYTES))) for n in (1, 2))
        except (Timeout, Crashed) as error:
            print(f"{name}: {error or 'more than the time allowed'}", file=sys.stderr, flush=True)
            once, twice, text = GRAIN, ALLOWED, 0  # it counts as slow and as steep
        growth = max(twice, GRAIN) / max(once, GRAIN)
        slowest, steepest = max(slowest, (twice, name)), max(steepest, (growth, name))
        report.row(f"torture {name}", twice, "s", 3, note=f"{growth:.2f} x the time at half its size", table=title)
        lines.append([f"`{name}`", f"{once:.3f}", f"{twice:.3f}", f"{growth:.2f}", f"{text:,}"])
    sandbox.close()
    report.row("torture_slowest", slowest[0], "s", 3, note=f"{slowest[1]}, {2 * TORTURE_BYTES / 1e6:.0f} MB")
    report.row("torture_steepest", steepest[0], "x", 3, note=f"time at 10 MB by time at 5 MB: {steepest[1]}")
    report.table(title, ["page", "5 MB, s", "10 MB, s", "ratio", "characters of text"], lines)


if __name__ == "__main__":
    groups: list[Callable[[Report], None]] = [quality, speed, memory, torture, encodings]
    packages = ["trafilatura", "resiliparse", "readability-lxml", "justext", "charset-normalizer"]
    run("extraction", groups, packages)
