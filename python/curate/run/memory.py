"""How much memory a run may take (`--memory`), and what a task of it may hold.

    memory = the driver + workers x (an idle worker + the states of its steps + what its task holds)

What counts is private memory. Pages of mapped files do not: the system takes them back when it needs them. Workers
are reduced until every task has at least LEAST_TASK bytes, and phases whose tables would not fit work in rounds
(`Reads.parts`). How much there is decides how fast a run is, never what comes out: like the number of workers it
enters no fingerprint.
"""

import contextlib
import gc
from collections.abc import Iterator

from curate.errors import ConfigError
from curate.run.machine import memory_of_machine
from curate.stages.protocol import Resources

# Measured: private memory of a process that has imported what it needs and done nothing; what the driver holds of a
# task (its receipt and its place in the plan); and what a task takes that signs web text, most of it the row groups
# of Parquet that it reads and writes.
IDLE = 60_000_000
RECEIPT = 6_000
LEAST_TASK = 400_000_000
SHARE_OF_MACHINE = 0.75


class Budget:
    """Workers that fit, and bytes that a task may hold: one of many at once, or one that runs alone.

    `memory` is in bytes, None for three quarters of the machine's; `needs` is the most that a worker of any pass needs;
    `tasks` is their number over all passes. ConfigError where the memory does not suffice for one worker.
    """

    def __init__(
        self,
        memory: int | None,
        workers: int,
        needs: Resources | None = None,
        tasks: int = 0,
    ) -> None:
        needs = needs or Resources()
        self.memory = int(SHARE_OF_MACHINE * memory_of_machine()) if memory is None else memory
        self.driver = IDLE + RECEIPT * tasks
        self.worker = IDLE + needs.state_bytes
        self.least_task = LEAST_TASK + needs.batch_bytes
        least = self.driver + self.worker + self.least_task
        if self.memory < least:
            raise ConfigError(
                f"--memory: {self.memory / 1e6:,.0f} MB is below the least of {-(-least // 10**6):,} MB for this run"
                f" (driver {self.driver / 1e6:,.0f}, a worker {self.worker / 1e6:,.0f}, its task"
                f" {self.least_task / 1e6:,.0f}); give that or more"
            )
        # Least memory for all of them: what is left over is shared out in `task`.
        self.workers = min(workers, (self.memory - self.driver) // (self.worker + self.least_task))

    @property
    def idle(self) -> int:
        """Bytes of the driver and all workers before any task."""
        return self.driver + self.workers * self.worker

    @property
    def task(self) -> int:
        """Bytes for each of the tasks that run at once."""
        return (self.memory - self.driver) // self.workers - self.worker

    @property
    def lone_task(self) -> int:
        """Bytes for the only task of a pass, beside idle workers."""
        return self.memory - self.idle


@contextlib.contextmanager
def lasting_objects() -> Iterator[None]:
    """What is made inside stays as long as the process, so Python's garbage collector need not search it: beside 66,000
    receipts its searches take half of the driver's time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
