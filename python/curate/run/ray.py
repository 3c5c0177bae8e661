"""The calls of a run as tasks of a Ray cluster: `--executor ray`.

The cluster is there already (`ray start`, or a service that made it); RAY_ADDRESS names it, else the one on this
machine is taken. Its nodes have this package installed, see `--scratch` (and a local `--out` and local inputs) under
the same paths, and have what a store needs in their own environment: no credentials are sent. A call names files,
and a receipt comes back: no rows travel through Ray's object store.

Ray tries a call again only where its worker or node died; whatever a task itself raises comes back as the result. At
most WINDOW calls a slot are handed over at once, so that a run of many tasks does not fill the scheduler.
"""

import atexit
import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from curate.errors import ConfigError, CurateError, FatalError, TaskError
from curate.run.call import Call
from curate.run.manifest import Receipt
from curate.run.worker import close_states, prepare_process, run_call
from curate.stages.protocol import Resources

WINDOW = 2  # calls for each slot of the cluster: one that runs, one that waits beside it
RETRIES = 3  # after a worker or node died; local workers get one, whole nodes die more often
CONNECT = 10.0  # seconds for a connection to the cluster
LOOK = 5.0  # seconds between two looks at what the cluster has
PATIENCE = 120.0  # seconds that no node may be there for what is waiting: nodes are restarted


class RayCluster:
    """Executor (run/executor.py). Use as a context manager: it leaves the cluster at the end."""

    def __init__(self) -> None:
        """ConfigError where the package ray is not installed. Nothing is connected yet."""
        try:
            import ray
        except ImportError:
            raise ConfigError("--executor ray needs the package ray: install curate-train[ray]") from None
        self.ray: Any = ray
        self.joined = False  # whether this object joined the cluster, and so must leave it
        self.looked = 0.0  # when `nodes` was asked for, in seconds of time.monotonic
        self.nodes: list[dict[str, float]] = []  # resources of every node that is alive: CPU, GPU, ...

    def __enter__(self) -> "RayCluster":
        """Join the cluster, unless this process is in one already; ConfigError where none answers."""
        if not self.ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "auto")
            try:
                host, _, port = address.rpartition("://")[2].partition(":")
                if port:  # Ray itself tries for minutes where nobody listens
                    socket.create_connection((host, int(port)), timeout=CONNECT).close()
                self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="curate")
            except (OSError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}); start one with"
                    " `ray start --head`, or name it in RAY_ADDRESS"
                ) from None
            self.joined = True
        self.task = self.ray.remote(max_retries=RETRIES, retry_exceptions=False)(run_on_node)
        return self

    def __exit__(self, *_: object) -> None:
        if self.joined:
            self.ray.shutdown()

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Receipt | CurateError]]:
        """Yield (call, receipt or error) as tasks end.

        ConfigError where no node has what the first call needs; FatalError where for PATIENCE seconds nothing ended and
        no node has what the waiting calls need.
        """
        source = iter(calls)
        call = next(source, None)
        if call is not None and not self._slots(call.resources):
            raise ConfigError(f"{self._lacking(call.resources)}; add such a node, then run the command again")
        pending: dict[Any, Call] = {}
        seen = time.monotonic()  # when there was last a node for what is waiting
        while call is not None or pending:
            while call is not None and len(pending) < max(1, WINDOW * self._slots(call.resources)):
                needs = call.resources
                task = self.task.options(num_cpus=needs.cores, num_gpus=needs.gpus, name=f"curate {call.title}")
                pending[task.remote(call)] = call
                call = next(source, None)
            done, _ = self.ray.wait(list(pending), num_returns=1, timeout=LOOK)
            needs = next(iter(pending.values())).resources
            if done or self._slots(needs):
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise FatalError(f"{self._lacking(needs)} any more; the same command continues when there is one")
            for one in done:
                ended = pending.pop(one)
                yield ended, self._result(ended, one)

    def _slots(self, needs: Resources) -> int:
        """Calls that the nodes can run at once; asked for again after LOOK seconds, since nodes come and go."""
        if time.monotonic() - self.looked > LOOK or not self.nodes:
            self.nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            self.looked = time.monotonic()
        wanted = {"CPU": needs.cores, "GPU": needs.gpus}
        return sum(
            min((int(has.get(name, 0.0) / amount) for name, amount in wanted.items() if amount), default=1)
            for has in self.nodes
        )

    @staticmethod
    def _lacking(needs: Resources) -> str:
        """The beginning of a message: which resources no node has."""
        return f"no node of the Ray cluster has the {needs.cores:g} cores and {needs.gpus:g} GPUs that a task needs"

    def _result(self, call: Call, done: Any) -> Receipt | CurateError:
        """The receipt or error of a task that ended; Ray's own failures as a TaskError that names the task."""
        try:
            found: str | CurateError = self.ray.get(done)
        except self.ray.exceptions.RayError as error:  # its workers died, or none can load it
            return TaskError(f"{call.title}: no worker of the cluster has ended it: {str(error).strip()}")
        if isinstance(found, CurateError):
            return found
        receipt = Receipt.parse(found.encode())
        assert receipt is not None
        return receipt


@cache
def _prepare() -> None:
    """What a process of the cluster does before its first call."""
    prepare_process()
    atexit.register(close_states)


def run_on_node(call: Call) -> str | CurateError:
    """One call on a worker of the cluster: the receipt as JSON, or what went wrong.

    JSON keeps the receipt's classes out of Ray's serialization, and its checksum tells a receipt that was changed.
    """
    _prepare()
    if not Path(call.work).exists():
        return FatalError(
            f"{socket.gethostname()}: {call.work} is not there: all nodes must see --scratch (or a local --out) under"
            " the same path"
        )
    try:
        return run_call(call).to_json()
    except CurateError as error:
        return error
