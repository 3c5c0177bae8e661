"""The grid of processes: five axes, the coordinates of this process, and the groups along any of the axes.

    pipeline   blocks, one part after the other           context   positions of a row
    data       rows and, by FSDP, parameters              tensor    heads and hidden widths of a block
    expert     rows, and experts

Ranks are numbered with `tensor` fastest, so that the processes that talk most are neighbours.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from curate.errors import ConfigError
from train.config import ParallelSettings

AXES = ("pipeline", "data", "expert", "context", "tensor")
TIMEOUT = timedelta(minutes=10)  # of a message: a process that hangs ends the run after so long


class Group(NamedTuple):
    """Processes that talk to each other; `rank` is the place of this one in `ranks`. Without handle it is alone."""

    handle: dist.ProcessGroup | None
    ranks: tuple[int, ...]
    rank: int

    @property
    def size(self) -> int:
        return len(self.ranks)


def sizes_of(settings: ParallelSettings, world: int) -> dict[str, int]:
    """Processes along every axis; `data` is what the others leave. Raises ConfigError where they do not divide."""
    asked = {axis: getattr(settings, axis) for axis in AXES if axis != "data"}
    product = int(np.prod(list(asked.values())))
    if world % product:
        words = " x ".join(f"{axis} {n}" for axis, n in asked.items() if n > 1)
        raise ConfigError(
            f"parallel: {words} = {product} processes do not divide the {world} that there are; start a multiple of "
            f"{product}: torchrun --nproc-per-node {product} -m train run …"
        )
    return {axis: asked.get(axis, world // product) for axis in AXES}


class Mesh:
    """Coordinates and groups; every process makes the same groups in the same order."""

    def __init__(self, settings: ParallelSettings) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.sizes = sizes_of(settings, self.world)
        self._grid = np.arange(self.world).reshape(list(self.sizes.values()))
        at = np.argwhere(self._grid == self.rank)[0].tolist()
        self.at = dict(zip(AXES, at, strict=True))
        self.axes = {axis: self.along(axis) for axis in AXES}
        self.tensor, self.context, self.expert = (self.axes[axis] for axis in ("tensor", "context", "expert"))
        self.pipeline = self.axes["pipeline"]
        self.rows = self.along("data", "expert")
        self.tokens = self.along("data", "expert", "context")  # share weights that every token passes
        self.experts = self.along("data", "context")  # share the same experts
        self.outside = self.along("data", "expert", "context", "tensor")  # share what is before and after the blocks
        # The first and the last stage both hold an embedding that is the head too.
        self.ends = self._group(self._lines(["pipeline"])[:, [0, -1]]) if self.sizes["pipeline"] > 1 else self.pipeline

    def _lines(self, axes: Sequence[str]) -> np.ndarray:
        """The ranks that differ along these axes alone, a line a group."""
        last = [AXES.index(axis) for axis in axes]
        order = [n for n in range(len(AXES)) if n not in last] + last
        return self._grid.transpose(order).reshape(-1, int(np.prod([self.sizes[axis] for axis in axes])))

    def along(self, *axes: str) -> Group:
        """The group of this process along some axes."""
        return self._group(self._lines(axes))

    def _group(self, lines: np.ndarray) -> Group:
        found = Group(None, (self.rank,), 0)
        for line in lines.tolist():
            handle: Any = dist.new_group(line, timeout=TIMEOUT) if len(line) > 1 else None
            if self.rank in line:
                found = Group(handle, tuple(line), line.index(self.rank))
        return found

    @property
    def first(self) -> bool:
        """Whether this process holds the first blocks, and the embedding before them."""
        return self.pipeline.rank == 0

    @property
    def last(self) -> bool:
        """Whether this process holds the last blocks, and the head behind them."""
        return self.pipeline.rank == self.pipeline.size - 1


def connect(kind: str) -> tuple[torch.device, Any]:
    """Join the processes that torchrun started; returns the device of this one, and a store that all of them see."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
    device = torch.device("cpu")
    if kind == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "gloo" if kind == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=PrefixStore("messages", store), rank=rank, world_size=world)
    return device, PrefixStore("train", store)


def disconnect() -> None:
    """Leave the others, when all are done."""
    dist.destroy_process_group()
