"""The calls of a run as tasks of a Ray cluster: `--executor ray`.

The cluster is there already (`ray start`, or a service that made it); RAY_ADDRESS names it, else the one on this
machine is taken. Its nodes have this package installed and see `--scratch` (and a local `--out`) under the same path.
A call names files, and a receipt comes back: no rows travel through Ray's object store.

Ray tries a call again only where its worker or node died; whatever a task itself raises comes back as the result. At
most WINDOW calls a slot are handed over at once, so that a run of many tasks does not fill the scheduler.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

from curate.errors import ConfigError, CurateError, TaskError
from curate.run.call import Call
from curate.run.manifest import Receipt
from curate.stages.protocol import Resources

WINDOW = 2
RETRIES = 3  # after a worker or node died; local workers get one, whole nodes die more often
MISSING = "--executor ray needs the package ray: install curate-train[ray]"


class RayCluster:
    """Executor (run/executor.py). Use as a context manager: it leaves the cluster at the end."""

    def __init__(self, resources: Resources) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError(MISSING) from None
        self.ray: Any = ray
        self.resources = resources
        self.joined = False

    def __enter__(self) -> "RayCluster":
        if not self.ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "auto")
            try:
                self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="curate")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}); start one with"
                    " `ray start --head`, or name it in RAY_ADDRESS"
                ) from None
            self.joined = True
        self.task = self.ray.remote(
            num_cpus=self.resources.cores,
            num_gpus=self.resources.gpus,
            max_retries=RETRIES,
            retry_exceptions=False,
        )(_run)
        return self

    def __exit__(self, *_: object) -> None:
        if self.joined:
            self.ray.shutdown()

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Receipt | CurateError]]:
        """Yield (call, receipt or error) as tasks end."""
        source = iter(calls)
        pending: dict[Any, Call] = {}
        while True:
            while len(pending) < self._window() and (call := next(source, None)) is not None:
                pending[self.task.remote(call)] = call
            if not pending:
                return
            (done, *_), _ = self.ray.wait(list(pending), num_returns=1)
            call = pending.pop(done)
            yield call, self._result(call, done)

    def _window(self) -> int:
        """Calls that may be with the cluster at once; it may grow and shrink while the run goes."""
        has = self.ray.cluster_resources()
        slots = has.get("CPU", 1.0) / max(self.resources.cores, 0.01)
        if self.resources.gpus:
            slots = min(slots, has.get("GPU", 0.0) / self.resources.gpus)
        return max(1, int(WINDOW * slots))

    def _result(self, call: Call, done: Any) -> Receipt | CurateError:
        try:
            found: str | CurateError = self.ray.get(done)
        except self.ray.exceptions.RayError as error:
            return TaskError(f"{call.title}: its worker died {RETRIES + 1} times: {str(error).splitlines()[0]}")
        if isinstance(found, CurateError):
            return found
        receipt = Receipt.parse(found.encode())
        assert receipt is not None
        return receipt


_prepared = False


def _run(call: Call) -> str | CurateError:
    """One call on a worker of the cluster: the receipt as JSON, or what went wrong."""
    global _prepared
    from curate.run.worker import prepare_process, run_call

    if not _prepared:
        prepare_process()
        _prepared = True
    try:
        return run_call(call).to_json()
    except CurateError as error:
        return error
