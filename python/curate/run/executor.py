"""Who runs calls: `local` on this machine, `ray` on a cluster. This is the one place that knows them."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from curate.errors import ConfigError, CurateError
from curate.run.call import Call
from curate.run.manifest import Receipt

EXECUTORS = ("local", "ray")


class Executor(Protocol):
    """Runs calls and yields (call, receipt or error) in any order. Calls are taken as workers become free."""

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
