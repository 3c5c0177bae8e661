"""A web crawl to clean text: `curate run pipelines/default.yaml` beside datatrove's chain for FineWeb.

    python -m benchmarks.pipeline --json

Both read the 2,442 responses of ../shared/data/crawl, with one worker. CPU seconds are those of all processes of each,
start-up and planning included. curate does more (languages, redaction, exact and near duplicates). datatrove goes
without what needs a download (the URL filter's lists, the language filter's model), so that other languages reach its
quality filters, and may take 30 seconds a page for extraction where its default is one.

A second input, ten times the crawl in distinct pages (variations.py), tells start-up from slope: a page costs (CPU
seconds of ten - of one) / (pages of ten - of one). Start-up is the run of one short page, the best of STARTS: what the
line through both inputs leaves of the smaller is printed in its note, and is uncertain by a twentieth of 20 s. With
BASE=FOLDER in the environment another checkout is measured in the same way, in turns.

datatrove cannot be installed beside this project: it gets an environment of its own (environments.py).
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.harness import Report, run
from benchmarks.texts import SHARED
from benchmarks.variations import copies
from tests import corpus

ROOT = Path(__file__).resolve().parent.parent
CRAWL = SHARED / "crawl"
COPIES = 10  # of the crawl, in the larger input
STARTS = 9  # runs of one page
BASE = os.environ.get("BASE", "")  # another checkout, with its extension built, to measure in turns


def pipeline(report: Report) -> None:
    """Pages per CPU second of both, the gain by a second worker, and the seconds of every step."""
    if not CRAWL.is_dir():
        raise SystemExit(f"the real data that this benchmark reads is absent: {CRAWL}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        ours = curate(out / "ours", 1)
        two = curate(out / "two", 2)
        theirs = datatrove(out / "theirs")
    versions = ", ".join(f"{name} {version}" for name, version in theirs["versions"].items())
    note = f"{ours['pages']:,} pages, {ours['documents']:,} documents stay; {theirs['documents']:,} of datatrove's"
    beside = ("datatrove", ours["pages"] / theirs["cpu"])
    report.row("pages_a_core", ours["pages"] / ours["cpu"], "pages/s", 1, *beside, f"{note} ({versions})")
    speedup = ours["wall"] / two["wall"]
    report.row("two_workers", speedup, "x", 1, note=f"by the clock, {ours['wall']:.1f} s with one, the same documents")
    if ours["documents"] != two["documents"]:
        raise AssertionError(f"one worker keeps {ours['documents']} documents, two keep {two['documents']}")
    _table(report, "curate, seconds by the clock", ours)
    _table(report, "datatrove, seconds by the clock", theirs)


def slope(report: Report) -> None:
    """Pages per CPU second and seconds of start-up, by the two inputs; and two workers on the larger."""
    large = copies(CRAWL, ROOT / "target" / "bench" / "crawl10", COPIES)
    trees = {"": ROOT / "python", **({"base ": Path(BASE) / "python"} if BASE else {})}
    with tempfile.TemporaryDirectory() as folder:
        page = corpus.write_warc(Path(folder) / "page.warc.gz", [("https://page.test/", corpus.page("one page " * 40))])
        runs = [(name, curate(Path(folder) / f"{name}start{i}", 1, page, tree)) for i in range(STARTS)
                for name, tree in trees.items()]  # fmt: skip
        starts = {name: min(run["cpu"] for of, run in runs if of == name) for name in trees}
        for name, tree in trees.items():
            found = [curate(Path(folder) / f"{name}{i}", 1, crawl, tree) for i, crawl in enumerate((CRAWL, large))]
            one, ten = found
            seconds = (ten["cpu"] - one["cpu"]) / (ten["pages"] - one["pages"])
            left = one["cpu"] - one["pages"] * seconds
            note = f"{one['pages']:,} and {ten['pages']:,} pages, {one['cpu']:.1f} and {ten['cpu']:.1f} s of CPU"
            report.row(f"{name}slope", 1 / seconds, "pages/s", 1, note=note)
            report.row(f"{name}start_up", starts[name], "s", STARTS, note=f"of CPU, one page; by the line {left:.1f} s")
            two = curate(Path(folder) / f"{name}two", 2, large, tree)
            report.row(f"{name}two_workers_on_ten", ten["wall"] / two["wall"], "x", 1,
                       note=f"by the clock, {ten['wall']:.1f} s with one")  # fmt: skip


def _table(report: Report, title: str, found: dict[str, Any]) -> None:
    """A table of each step's seconds by the clock and the rows in and out, start-up and planning included."""
    steps = [*found["steps"], ("start-up and planning", found["wall"] - sum(s[1] for s in found["steps"]), "", "")]
    lines = []
    for name, seconds, rows_in, rows_out in steps:
        share = 100 * seconds / found["wall"]
        lines.append([name, f"{seconds:.2f}", f"{share:.1f} %", str(rows_in), str(rows_out)])
        report.row(f"{title.partition(',')[0]} {name}", seconds, "s", 1, note=f"{share:.1f} %", table=title)
    report.table(title, ["step", "seconds", "share", "rows in", "rows out"], lines)


def curate(out: Path, workers: int, crawl: Path = CRAWL, tree: Path | None = None) -> dict[str, Any]:
    """Run the default recipe on `crawl` into `out`; `tree` is the python/ folder of a checkout, which gives the recipe.

    Returns wall and cpu seconds, pages, documents, and steps: (name, seconds by the receipts, rows in, rows out).
    """
    recipe = (tree.parent if tree else ROOT) / "pipelines" / "default.yaml"
    command = [sys.executable, "-m", "curate", "run", str(recipe)]
    env = {"PYTHONPATH": str(tree)} if tree else None
    done = _timed([*command, "--input", str(crawl), "--out", str(out), "--workers", str(workers)], env)
    funnel = json.loads((out / "funnel.json").read_text())["steps"]
    steps = [(step["step"], step["seconds"], step["rows_in"], step["rows_out"]) for step in funnel]
    paths = [path for path in out.glob("passes/*/*.json") if path.name not in ("plan.json", "work.json")]
    receipts = [json.loads(path.read_text()) for path in paths]
    files = sum(receipt["seconds"] for receipt in receipts) - sum(seconds for _, seconds, _, _ in steps)
    steps = [(name, seconds, *rows) for name, seconds, *rows in steps if name != "read"]
    steps.append(("reading and writing files", files, "", ""))
    return {**done, "steps": steps, "pages": funnel[0]["rows_in"], "documents": funnel[-1]["rows_out"]}


def datatrove(out: Path) -> dict[str, Any]:
    """Run datatrove_chain.py in datatrove's own environment; returns what `curate` does but pages, and versions."""
    script = Path(__file__).with_name("datatrove_chain.py")
    done = _timed(
        [str(environments.python("datatrove")), str(script), str(CRAWL), str(out), "1"], env={"PYTHONPATH": ""}
    )
    said = json.loads(done.pop("out").splitlines()[-1])
    steps = []
    for step in said["steps"]:
        rows = step.get("total", step.get("documents", ""))
        name = " ".join(word for word in step["name"].split() if word.isascii() and word != "-")
        steps.append((name, step["seconds"], rows, step.get("forwarded", rows)))
    return {**done, "steps": steps, "documents": said["steps"][-1]["total"], "versions": said["versions"]}


def _timed(command: list[str], env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a command: wall and cpu (of all its processes) in seconds, and out, what it printed."""
    before, began = _used(), time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return {"wall": time.perf_counter() - began, "cpu": _used() - before, "out": done.stdout}


def _used() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run("pipeline", [pipeline, slope], ["trafilatura", "resiliparse"])
