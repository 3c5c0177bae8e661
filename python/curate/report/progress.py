"""A run while it goes: a bar a pass on a terminal, nothing on a pipe, and a line an event in <out>/run.log,
what the run will take before all others."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate.report.terminal import wrap
from curate.run.manifest import Receipt


class Progress:
    """The watcher that driver.run tells; use as a context manager."""

    def __init__(self, out: Path) -> None:
        self.path = out / "run.log"
        self.bar: Any = None
        self.task_id: Any = None
        self.documents = self.bytes = 0

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=Console(stderr=True),
            )  # fmt: skip
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def log(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")

    def expect(self, lines: Sequence[str]) -> None:
        """What the run will take and find, told before it begins: on a terminal, and in the log."""
        for line in lines:
            self.log(line)
            if self.bar:
                self.bar.console.print(line if "\n" in line else wrap(line), markup=False, highlight=False)

    def begin(self, name: str, tasks: int, done: int) -> None:
        self.log(f"{name}: {tasks} tasks to run, {done} done before")
        self.documents = self.bytes = 0
        if self.bar:
            short = name if len(name) <= 30 else name[:27] + "..."
            self.task_id = self.bar.add_task(short, total=tasks, rate="")
            self.started = datetime.now(UTC)

    def task(self, receipt: Receipt) -> None:
        if receipt.steps:
            self.documents += receipt.steps[0].rows_in
            self.bytes += max(step.bytes_in for step in receipt.steps)
        if self.bar:
            seconds = max(1e-3, (datetime.now(UTC) - self.started).total_seconds())
            rate = f"{self.documents:,} docs {self.bytes / seconds / 1e6:.1f} MB/s" if self.documents else ""
            self.bar.update(self.task_id, advance=1, rate=rate)

    def end(self) -> None:
        if self.bar:
            self.bar.remove_task(self.task_id)
