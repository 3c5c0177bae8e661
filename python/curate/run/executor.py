"""Who runs calls: `local` on this machine, `ray` on a cluster. This is the one place that knows them."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from curate.errors import ConfigError, CurateError
from curate.run.call import Call
from curate.run.manifest import Receipt

EXECUTORS = ("local", "ray")


class Executor(Protocol):
    """Runs calls and yields (call, receipt or error) as they end, in any order.

    An executor takes a call from `calls` when a worker is free for it, or soon will be, so that a run of a million
    tasks holds few calls at once. A task that fails is yielded as its error, and the others go on.
    """

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Receipt | CurateError]]: ...


def open_executor(name: str, workers: int) -> AbstractContextManager[Executor]:
    """The executor of that name; ConfigError where there is none, or its library is missing."""
    if name == "local":
        from curate.run.local import LocalPool

        return LocalPool(workers)
    if name == "ray":
        from curate.run.ray import RayCluster

        return RayCluster()
    raise ConfigError(f'no executor is named "{name}"; known are: {", ".join(EXECUTORS)}')
