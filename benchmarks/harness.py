"""Work measured beside its peers: best of five, CPU and wall time, the machine's load; a table or a JSON list.

    def encode(report):
        ours = measure(lambda: encoder.encode(texts))
        theirs = measure(lambda: peer.encode_batch(texts), rounds=2)
        report.row("bpe_encode_english", ours.rate(size), "MB/s", ours.rounds, "tokenizers", theirs.rate(size))

    if __name__ == "__main__":
        run("tokenizer", [train, encode])

Times are CPU seconds of all threads of this process, because the machine is shared; the best round counts, for
noise only ever adds. Peak memory is measured in a process of its own (`peak_memory`). A ratio says how many
times better we are, whichever direction is better.
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

LOWER_IS_BETTER = {"s", "ns", "MB", "bits", "steps"}


class Timing(NamedTuple):
    cpu: float
    wall: float
    rounds: int
    result: Any

    def rate(self, n_bytes: int) -> float:
        """MB a CPU second."""
        return n_bytes / self.cpu / 1e6


def measure(work: Callable[[], Any], rounds: int = 5) -> Timing:
    """The best CPU and the best wall time of some rounds, and what the last round returned."""
    cpu = wall = float("inf")
    result = None
    for _ in range(rounds):
        result = None  # the last round's memory goes before the next begins
        began = time.process_time(), time.perf_counter()
        result = work()
        cpu = min(cpu, time.process_time() - began[0])
        wall = min(wall, time.perf_counter() - began[1])
    return Timing(cpu, wall, rounds, result)


def peak_memory(work: Callable[..., Any], *arguments: Any) -> tuple[float, float, Any]:
    """(MB before, MB at the peak, result) of `work(*arguments)` in a fresh process; work is a module's function."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(writer, work, arguments))
    child.start()
    writer.close()
    try:
        answer = reader.recv()
    except EOFError:
        raise MemoryError(f"{work.__name__}{arguments} ended without an answer") from None
    finally:
        child.join()
    return answer  # type: ignore[no-any-return]


def _in_child(writer: Any, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    before = _peak()
    result = work(*arguments)
    writer.send((before, _peak(), result))


def _peak() -> float:
    """The peak resident memory of this process in MB."""
    try:
        # A child's ru_maxrss begins with its parent's, this does not.
        line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _watch(process: int, cpu: dict[int, float]) -> int:
    """Private memory of a process and all below it; `cpu` gets what each has used, which wait() tells of few."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            below.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    total, found = 0, [process]
    for one in found:
        found += below.get(one, [])
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            ticks = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            continue
        cpu[one] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss_Anon"))
    return total


def watched(command: list[str], folder: Path) -> tuple[float, float, float]:
    """(wall, CPU seconds, MB) of a command with its children; its words are shown where it fails."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "TOKENIZERS_PARALLELISM": "false"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    peak, seen = 0, dict[int, float]()
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
        while process.poll() is None:
            looked = time.perf_counter()
            peak = max(peak, _watch(process.pid, seen))
            # The kernel walks all pages of a process to tell its memory: at most a twentieth of the time goes there.
            time.sleep(max(0.05, 20 * (time.perf_counter() - looked)))
        if process.returncode:
            raise RuntimeError(
                f"{command[:3]} ended with {process.returncode}:\n{(folder / 'log').read_text()[-3000:]}"
            )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, max(waited, sum(seen.values())), peak / 1e6


@dataclass
class Row:
    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    rounds: int
    note: str
    table: str = ""  # the table that shows it, where it has one of its own


@dataclass(frozen=True)
class Table:
    """Figures that are read side by side: a header and lines of cells, as they shall be shown."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        cells = [self.header, ["---"] * len(self.header), *self.lines]
        return ["", f"## {self.title}", "", *("| " + " | ".join(line) + " |" for line in cells)]


@dataclass
class Report:
    """The rows measured so far; each is told on stderr as it comes."""

    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def table(self, title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Show these cells as a table of their own, below the one of all rows."""
        self.tables.append(Table(title, header, lines))
        print("\n".join(self.tables[-1].markdown()), file=sys.stderr, flush=True)

    def row(
        self,
        name: str,
        value: float,
        unit: str,
        rounds: int,
        peer: str | None = None,
        peer_value: float | None = None,
        note: str = "",
        table: str = "",
    ) -> None:
        """One figure, beside its peer's. With `table` it is in the JSON list only, because that table shows it."""
        ratio = None
        if peer_value is not None:
            better, worse = (peer_value, value) if unit in LOWER_IS_BETTER else (value, peer_value)
            ratio = better / worse if worse else None
        made = Row(name, _short(value), unit, peer, _short(peer_value), _short(ratio), rounds, note, table)
        self.rows.append(made)
        if table:
            return
        print(f"{_line(made)}  (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


def _short(value: Any) -> Any:
    """Four digits are more than a shared machine can tell apart."""
    return None if value is None else float(f"{value:.4g}")


def _line(row: Row) -> str:
    beside = f"{row.peer} {row.peer_value:,g}" if row.peer else ""
    beside += f", {row.ratio:,g} x" if row.ratio is not None else ""
    return f"{row.name:36} {row.value:>12,g} {row.unit:10} {beside:34} {row.note}".rstrip()


def machine(packages: Sequence[str]) -> str:
    """Processor, cores, memory and versions; no names of hosts."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((s.partition(":")[2].strip() for s in lines if s.startswith("model name")), platform.machine())
    features = next((s for s in lines if s.startswith("flags")), "").split()
    best = next((f for f in ("avx512vbmi", "avx512bw", "avx2") if f in features), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    parts = [
        model,
        best,
        f"{os.cpu_count()} cores",
        f"{memory:.0f} GiB",
        f"CPython {platform.python_version()}",
        versions,
    ]
    return ", ".join(part for part in parts if part)


def markdown(title: str, report: Report, described: str, load: tuple[float, ...]) -> str:
    """The dated tables that are kept beside the benchmark."""
    lines = [
        f"# {title}", "",
        f"`python -m benchmarks.{title} --write`, {datetime.date.today().isoformat()}. {described}.",
        f"Load average when it began and ended: {load[0]:.1f}, {load[1]:.1f}. CPU time, best round; a ratio says how"
        " many times better than the peer.", "",
        "| name | value | unit | peer | peer's value | ratio | rounds | |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in [row for row in report.rows if not row.table]:
        cells = [
            r.name,
            f"{r.value:,g}",
            r.unit,
            r.peer or "",
            *("" if v is None else f"{v:,g}" for v in (r.peer_value, r.ratio)),
        ]
        lines.append("| " + " | ".join([*cells, str(r.rounds), r.note]) + " |")
    for table in report.tables:
        lines += table.markdown()
    return "\n".join(lines) + "\n"


def run(title: str, groups: Sequence[Callable[[Report], None]], packages: Sequence[str]) -> None:
    """The command line of one benchmark: `--json`, `--write`, and names of groups to run only those."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{title}")
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(group.__name__ for group in groups)}; all by default")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--write", action="store_true", help=f"write the table benchmarks/{title}.md")
    options = parser.parse_args()
    unknown = set(options.groups) - {group.__name__ for group in groups}
    if unknown:
        parser.error(f"no group is named {', '.join(sorted(unknown))}")
    described, began = machine(packages), os.getloadavg()[0]
    print(f"{described}; load {began:.1f}", file=sys.stderr)
    report = Report()
    for group in groups:
        if not options.groups or group.__name__ in options.groups:
            group(report)
    table = markdown(title, report, described, (began, os.getloadavg()[0]))
    if options.write:
        (Path(__file__).parent / f"{title}.md").write_text(table)
    print(json.dumps([asdict(row) for row in report.rows], indent=1) if options.json else table)
