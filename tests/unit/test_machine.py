"""What the process may use is the least of machine, affinity and control groups, its own and those above."""

import os
from pathlib import Path

import pytest

from curate.run.machine import available_cores, memory_of_machine

CORES = len(os.sched_getaffinity(0))


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a\n", {"sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 1),  # half a core is one
        ("0::/a\n", {"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, CORES),
        ("0::/host/path\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),  # a container sees its group as the root
        ("3:cpu,cpuacct:/a\n", {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000\n",
                                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 1),
        ("3:cpu:/a\n", {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                        "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n"}, CORES),
        ("0::/other\n", {"sys/fs/cgroup/a/cpu.max": "100000 100000\n"}, CORES),  # of another group
        ("", {}, CORES),
    ],
)  # fmt: skip
def test_cores(groups: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert available_cores(machine(tmp_path, groups, files)) == cores


def test_affinity_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/a/b\n", {"sys/fs/cgroup/a/memory.max": "1000000000", "sys/fs/cgroup/a/b/memory.max": "max"}, 10**9),
        ("0::/a\n", {"sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/a/memory.high": "5000"}, 5000),
        ("7:memory:/a\n", {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2000000"}, 2_000_000),
        ("7:memory:/a\n", {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(2**63 - 4096)}, None),  # none
        ("", {}, None),
    ],
)
def test_memory(groups: str, files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_of_machine(machine(tmp_path, groups, files)) == (limit or whole)
