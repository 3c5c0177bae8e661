"""The rows of step after step, read by a thread while the model computes.

A block of steps of some 64,000 tokens is read at once, because short rows cost more to look up than to copy; the next
block is read while the steps of this one are trained on. Reading ahead changes nothing that comes out: a step's rows
follow from its number alone.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from curate.errors import ConfigError
from train.order import RowOrder
from train.packing import Batch, Packed, read_batch
from train.shards import Int, Manifest

BLOCK_TOKENS = 1 << 16


class StepRows(NamedTuple):
    """The tokens that one process reads in a step, and the source and packed row of each row of the whole step."""

    batch: Batch
    sources: Int
    rows: Int


class Loader:
    """Rows of the steps start, start + 1, … stop - 1 for rank `rank` of `world`; to be closed, or used in a `with`."""

    def __init__(
        self,
        packed: Sequence[Packed],
        order: RowOrder,
        manifest: Manifest,
        batch_rows: int,
        steps: range,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_rows % world:
            raise ConfigError(f"batch_rows: {batch_rows} rows cannot be shared by {world} processes alike")
        self._packed, self._order, self._manifest = packed, order, manifest
        self._batch_rows, self._steps, self._rank, self._world = batch_rows, steps, rank, world
        self._at_once = max(1, BLOCK_TOKENS // (batch_rows * packed[0].row_length))
        self._thread = ThreadPoolExecutor(1, "loader")
        self._block: list[StepRows] = []
        self._next = self._submit(steps.start)

    def _submit(self, start: int) -> "Future[list[StepRows]]":
        return self._thread.submit(self._read, start, min(start + self._at_once, self._steps.stop))

    def _read(self, start: int, stop: int) -> list[StepRows]:
        if start >= stop:
            return []
        taken = [self._order.step(step, self._batch_rows) for step in range(start, stop)]
        mine = slice(self._rank, None, self._world)
        sources, rows = (np.concatenate([one[mine] for one in part]) for part in zip(*taken, strict=True))
        batch, own = read_batch(self._packed, sources, rows, self._manifest), self._batch_rows // self._world
        cuts = [slice(first, first + own) for first in range(0, len(rows), own)]
        return [StepRows(Batch(*(part[cut] for part in batch)), *whole) for cut, whole in zip(cuts, taken, strict=True)]

    def read(self, step: int) -> StepRows:
        """The rows of a step; steps come in order. Raises what reading raised."""
        if not self._block:
            self._block = self._next.result()
            self._next = self._submit(step + len(self._block))
        return self._block.pop(0)

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
