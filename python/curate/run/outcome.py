"""What a run tells while it goes, and what it did."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from curate.errors import ConfigError, CurateError
from curate.run.funnel import Funnel
from curate.run.manifest import Receipt
from curate.stages.protocol import Forecast


class Watcher(Protocol):
    """What a run tells while it goes; report/progress.py shows it.

    `begin` of an earlier pass may come between `begin` and `end` of a pass, where files are made again for it.
    """

    def warn(self, warnings: Sequence[str]) -> None: ...  # once, before `expect`: what is known before work begins
    def expect(self, forecasts: Sequence[Forecast]) -> None: ...  # once, before the first pass
    def begin(self, name: str, tasks: int, done: int) -> None: ...  # tasks to run, tasks done before
    def task(self, receipt: Receipt) -> None: ...  # a task ended well
    def end(self) -> None: ...  # of the pass that began last


@dataclass
class Outcome:
    """What a run did; tasks that failed are part of it, not exceptions."""

    ran: dict[str, int] = field(default_factory=dict)  # pass -> tasks that ran
    current: dict[str, int] = field(default_factory=dict)  # pass -> tasks that were done before
    failures: list[CurateError] = field(default_factory=list)  # of tasks, and the GuardError that stopped the run
    warnings: list[str] = field(default_factory=list)  # for the user, in the order in which they came up
    funnel: Funnel = field(default_factory=lambda: Funnel([], {}, [], []))
    came_out: bool = False  # whether the first pass has the receipt of any task

    @property
    def exit_code(self) -> int:
        """0, or that of the failures: 2 where trying again changes nothing, 1 where it may.

        Trying again changes nothing where every failure has exit code 2 and one is a wrong setting, or no input could
        be read at all.
        """
        if not self.failures:
            return 0
        hopeless = any(isinstance(f, ConfigError) for f in self.failures) or not self.came_out
        return 2 if hopeless and all(f.exit_code == 2 for f in self.failures) else 1
