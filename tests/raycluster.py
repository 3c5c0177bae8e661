"""A Ray cluster of two nodes on this machine, for tests and benchmarks."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Nodes:
    """A cluster with a head and one more node, each with one core; `variables` are in the environment of both."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        from ray.cluster_utils import Cluster

        self.variables = dict(variables or {})
        paths = [self.variables.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
        self.variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        for attempt in range(3):  # a node that has not come up in 15 seconds ends; a busy machine may take longer
            try:
                self.cluster = Cluster(initialize_head=True, head_node_args=self.settings(no_monitor=True))
                self.second = self.add()
                return
            except Exception:
                if attempt == 2:
                    raise

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "num_cpus": 1, "include_dashboard": False, "include_log_monitor": False,
            "object_store_memory": 80_000_000, "env_vars": self.variables, **more,
        }  # fmt: skip

    def add(self) -> Any:
        node = self.cluster.add_node(**self.settings())
        self.cluster.wait_for_nodes()
        return node

    def environment(self) -> dict[str, str]:
        """What a command needs to find the cluster, and the code that its nodes find."""
        return {"RAY_ADDRESS": self.cluster.address, "PYTHONPATH": self.variables["PYTHONPATH"]}

    def workers(self) -> list[int]:
        """Processes that run a task of ours now."""
        raylets = {info.process.pid for node in self.cluster.list_all_nodes() for info in node.all_processes["raylet"]}
        return [pid for pid, parent, name in processes() if parent in raylets and name.startswith("ray::curate ")]


def processes() -> Iterator[tuple[int, int, str]]:
    """(process, parent, command line) of all processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), int(stat[stat.rindex(")") + 2 :].split()[1]), name
