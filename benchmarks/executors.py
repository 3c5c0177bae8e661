"""The same run on a Ray cluster and on this machine's own workers: what a cluster costs.

    python -m benchmarks.executors --json

A cluster of two nodes with one core each, which is up before the clock runs, is compared with two local workers. The
two run one after the other, PAIRS times, so that other load on the machine meets both. The result is the pair with the
median difference, by the clock. The documents must be the same bytes. The input is PAGES generated pages of about 4 KB
of text in FILES files, each a task.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import Report, run

PAIRS = int(os.environ.get("CURATE_BENCH_PAIRS", "3"))
PAGES = int(os.environ.get("CURATE_BENCH_PAGES", "4000"))
FILES = 32
ALLOWED = 5.0, 0.05  # seconds, and share of the local time
RECIPE = """\
version: 1
inputs: [{path: PLACE/in, source: web}]
steps: [extract, normalize, langid, redact]
"""


def executors(report: Report) -> None:
    """Seconds by the clock of both, and how much longer Ray takes; the note says how much is allowed."""
    from tests.raycluster import Nodes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder)
        nodes = Nodes()
        try:
            pairs = [pair(folder, number, nodes.environment()) for number in range(PAIRS)]
        finally:
            nodes.cluster.shutdown()
    local, cluster = sorted(pairs, key=lambda both: both[1] - both[0])[len(pairs) // 2]
    shown = ", ".join(f"{a:.1f} and {b:.1f}" for a, b in pairs)
    report.row("local_two_workers", local, "s", PAIRS, note=f"{PAGES:,} pages; local and Ray of each pair: {shown}")
    report.row("ray_two_nodes", cluster, "s", PAIRS)
    allowed = ALLOWED[0] + ALLOWED[1] * local
    report.row("ray_adds", cluster - local, "s", PAIRS, note=f"allowed: 5 s + 5 % = {allowed:.1f} s")


def make_input(folder: Path) -> None:
    """Write the WARC files and the recipe into `folder`."""
    import random

    from tests import corpus

    rng = random.Random(1)
    for number in range(FILES):
        pages = []
        for page in range(PAGES // FILES):
            html = corpus.page(corpus.article(rng, 60), f"Page {page}")
            # Bytes that do not compress make a file large enough to be a task of its own.
            noise = f"<!--{rng.randbytes(9_000_000 // (PAGES // FILES)).hex()}-->".encode()
            pages.append((f"https://example.test/{number}/{page}", html.replace(b"<nav>", noise + b"<nav>")))
        corpus.write_warc(folder / f"in/part-{number:03}.warc.gz", pages)
    (folder / "recipe.yaml").write_text(RECIPE.replace("PLACE", str(folder)))


def pair(folder: Path, number: int, cluster: Mapping[str, str]) -> tuple[float, float]:
    """(seconds of two local workers, seconds of the cluster); which goes first alternates with `number`."""
    seconds, digests = {}, set()
    for kind in ("local", "ray") if number % 2 == 0 else ("ray", "local"):
        out = folder / f"{kind}-{number}"
        command = [sys.executable, "-m", "curate", "run", folder / "recipe.yaml", "--out", out]
        began = time.perf_counter()
        subprocess.run(
            [*map(str, command), "--workers", "2", "--executor", kind], env={**os.environ, **cluster},
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds[kind] = time.perf_counter() - began
        digests.add(digest(out))
    if len(digests) != 1:
        raise AssertionError("the cluster gives other bytes")
    return seconds["local"], seconds["ray"]


def digest(out: Path) -> str:
    """SHA-256 over the names and bytes of all files of documents."""
    total = hashlib.sha256()
    for path in sorted((out / "documents").iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    run("executors", [executors], ("ray", "pyarrow"))
