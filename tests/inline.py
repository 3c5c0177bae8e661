"""An executor that runs tasks one after the other in this process, so that tests can reach into them."""

from collections.abc import Iterable, Iterator
from typing import Any

from curate.errors import CurateError
from curate.run.worker import close_states, run_call


class Inline:
    """Executor (curate/run/executor.py); what tasks opened is closed at the end."""

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None:
        close_states()

    def run(self, calls: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for call in calls:
            try:
                yield call, run_call(call)
            except CurateError as error:
                yield call, error
