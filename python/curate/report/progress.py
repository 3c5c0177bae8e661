"""A run while it goes: on a terminal a bar a pass, on a pipe nothing, and in <out>/run.log a line for each event.

The log begins with what the stages forecast. A run whose products go to an object store has its log beside its scratch
files, since an object cannot be appended to.
"""

import contextlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate.console import err, harmless, wrap
from curate.report.terminal import forecast
from curate.run.manifest import Receipt
from curate.stages.protocol import Forecast

SHOWN = 20  # warnings that are printed; run.log has all
NAME_SHOWN = 30  # characters of a pass's name beside its bar


class Progress:
    """The Watcher (run/driver.py) of a command line run; a context manager, so that the bar is always removed.

    `folder` is where run.log is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run.log"
        self.bar: Any = None
        self.bars: list[Any] = []  # of the passes that are open: one may make files of an earlier one again
        self.documents = self.bytes = 0
        self.started = datetime.now(UTC)
        self.told: set[str] = set()  # warnings that were shown before work began

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=Console(stderr=True),
            )  # fmt: skip
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def log(self, text: str) -> None:
        """Append one line, with the time in UTC, to run.log. A log that cannot be written stops nothing."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {harmless(text)}\n")

    def warn(self, warnings: Sequence[str]) -> None:
        """What is known before work begins: the first SHOWN on standard error, all in the log."""
        self.told = set(warnings)
        lines = [f"warning: {text}" for text in warnings[:SHOWN]]
        if len(warnings) > SHOWN:
            lines.append(f"and {len(warnings) - SHOWN:,} more warnings, in run.log")
        for text in warnings:
            self.log(text)
        for line in lines:
            if self.bar:
                self.bar.console.print(wrap(line), markup=False, highlight=False, soft_wrap=True)
            else:
                err(line)

    def expect(self, forecasts: Sequence[Forecast]) -> None:
        """What the run will take and find, shown before it begins: on a terminal, and in the log."""
        for facts in forecasts:
            shown = forecast(facts)
            for line in shown.split("\n"):
                self.log(line)
            if self.bar:
                # Through the bar's own console, which keeps the bar below; `forecast` has made it harmless.
                self.bar.console.print(shown, markup=False, highlight=False, soft_wrap=True)

    def begin(self, name: str, tasks: int, done: int) -> None:
        """A pass begins: `tasks` are to run, `done` were done in an earlier invocation."""
        self.log(f"{name}: {tasks} tasks to run, {done} done before")
        self.documents = self.bytes = 0
        if self.bar:
            short = harmless(name if len(name) <= NAME_SHOWN else name[: NAME_SHOWN - 3] + "...")
            self.bars.append(self.bar.add_task(short, total=tasks, rate=""))
            self.started = datetime.now(UTC)

    def task(self, receipt: Receipt) -> None:
        """A task has ended: the bar moves on, with the documents and bytes of text a second of this pass."""
        if receipt.steps:
            self.documents += receipt.steps[0].rows_in
            self.bytes += max(step.bytes_in for step in receipt.steps)
        if self.bar:
            seconds = max(1e-3, (datetime.now(UTC) - self.started).total_seconds())
            rate = f"{self.documents:,} docs {self.bytes / seconds / 1e6:.1f} MB/s" if self.documents else ""
            self.bar.update(self.bars[-1], advance=1, rate=rate)

    def end(self) -> None:
        """The pass has ended: its bar goes."""
        if self.bar:
            self.bar.remove_task(self.bars.pop())
