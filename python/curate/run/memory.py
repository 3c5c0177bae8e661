"""How much memory a run may take (`--memory`), and what a task of it may hold.

    memory = this process + workers x (an idle worker + what its task holds)

What counts is private memory. Pages of mapped files do not: the system takes them back when it needs them. Fewer
workers run where the tasks of all would get less than a task needs to read, change and write documents; phases
whose tables would not fit work in rounds (`Reads.parts`). How much there is decides how fast a run is, never what
comes out: like the number of workers it enters no fingerprint.
"""

import os
import re
from pathlib import Path

from curate.errors import ConfigError

# Measured: private memory of a process that has imported what it needs and done nothing; and what a task takes that
# signs web text, most of it the row groups of Parquet that it reads and writes.
IDLE = 60_000_000
LEAST_TASK = 400_000_000
SHARE_OF_MACHINE = 0.75
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of "800MB", "8G", "1.5GiB"; ConfigError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if not found or found[2].upper() == "I":
        raise ConfigError(f'"{text}" is no amount of memory: write it as 800MB, 8GB or 8GiB')
    return int(float(found[1]) * _UNITS[found[2].upper()])


def of_machine() -> int:
    """Three quarters of this machine's memory, or of what the container may take where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or another system
    return int(SHARE_OF_MACHINE * total)


class Budget:
    """Workers that fit, and bytes that a task may hold: one of many at once, or one that runs alone."""

    def __init__(self, memory: int | None, workers: int) -> None:
        self.memory = memory or of_machine()
        least = 2 * IDLE + LEAST_TASK
        if self.memory < least:
            raise ConfigError(
                f"--memory: {self.memory:,} bytes are too few: a run takes {IDLE:,} bytes, a worker as many, and its"
                f" task {LEAST_TASK:,}; give {least // 10**6} MB or more"
            )
        self.workers = min(workers, (self.memory - IDLE) // (IDLE + LEAST_TASK))

    @property
    def task(self) -> int:
        """Bytes for each of the tasks that run at once."""
        return (self.memory - IDLE) // self.workers - IDLE

    @property
    def lone_task(self) -> int:
        """Bytes for the only task of a pass, beside idle workers."""
        return self.memory - IDLE - self.workers * IDLE
