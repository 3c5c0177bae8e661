"""What this process may use of the machine: cores and memory, as the system and its control groups allow.

A container, a batch queue or `systemd-run` sets its limits in a control group of the process or of one above it.
Version 2 has them below /sys/fs/cgroup in the folder that /proc/self/cgroup names; version 1 has one tree a
controller. The least of all of them holds.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def available_cores(root: Path = ROOT) -> int:
    """Cores that the process may use: those it may be scheduled on, or whole cores of its quota where that is less.

    `root` holds proc/ and sys/; tests give another.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        for given, of in ((quota, period), (_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))):
            if given.isdecimal() and of.isdecimal() and int(of):  # "max" and -1 are no limit
                cores = min(cores, int(given) // int(of))
    return max(1, cores)


def memory_of_machine(root: Path = ROOT) -> int:
    """Bytes of memory that the process and its children may hold: the machine's, or the least limit of its groups."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _text(folder / name)
            if limit.isdecimal() and int(limit):
                total = min(total, int(limit))
    return total


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's control groups for a controller, each with its parents up to the mount."""
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not names:  # version 2; beside version 1 it is mounted as `unified`
            trees = [mounts, mounts / "unified"]
        elif controller in names.split(","):
            trees = [mounts / names, mounts / controller]
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for tree in trees:
            # A container may see its own group as the mount itself: a folder that is not there sets no limit.
            yield from (tree / part for part in (inside, *inside.parents))


def _text(path: Path) -> str:
    """The content of a small file; "" where it cannot be read, which sets no limit."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
