"""The processes that a run is spread over, as the rest of the trainer sees them: here the one of a run that is alone.

`train.parallel` has the other kind, for a run that `torchrun` started as several. Nothing outside that room knows of
ranks, groups or messages: it asks for the gradients of a step, for the norm of all, for the box of a tensor that is
held here, and for what all processes have to agree on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.checkpoint import Box, box_of
from train.config import TrainSettings
from train.loss import IGNORE
from train.model import Model
from train.packing import Batch, Weighted


class Summed(NamedTuple):
    """What the forward passes of a step gave, over all processes; its gradients are in the parameters."""

    loss: Tensor  # what is minimized, a token
    nats_B: Tensor  # -ln p of the targets, weighted and summed by row
    count_B: Tensor  # targets of each row
    load_LE: Tensor | None  # share of the tokens by expert, a line a block


class Rows(NamedTuple):
    """A batch on the device (packing.Batch)."""

    inputs: Tensor
    targets: Tensor
    documents: Tensor
    weights: Tensor | None

    def cut(self, start: int, stop: int) -> "Rows":
        """Some of the rows."""
        return Rows(*(None if one is None else one[start:stop] for one in self))  # type: ignore[arg-type]


def rows_of(batch: Batch | Weighted, device: torch.device) -> Rows:
    """Move a batch to the device."""
    moved = [torch.from_numpy(one).to(device, non_blocking=True) for one in batch]
    return Rows(moved[0], moved[1], moved[2], moved[3] if len(moved) > 3 else None)


class Alone:
    """One process that holds everything."""

    rank, world = 0, 1
    place, places = 0, 1  # this process among those that share the rows of a step, and their number

    def split(self, model: Model) -> None:
        """Leave of the model what this process is to hold; called once, with initial weights in place."""

    def accumulate(
        self, model: Model, batch: Batch | Weighted, settings: TrainSettings, device: torch.device, scale: float = 1.0
    ) -> Summed:
        """Add up the gradients of a step, micro-batch by micro-batch; times `scale`. batch: the rows of this one."""
        inputs, targets, documents, weights = rows_of(batch, device)
        count_B = (targets != IGNORE).sum(1)
        count = count_B.sum()
        loss, nats_B, loads = torch.zeros((), device=device), [], []
        for start in range(0, len(inputs), settings.micro_rows):
            rows = slice(start, start + settings.micro_rows)
            losses = model.loss(
                inputs[rows],
                targets[rows],
                documents[rows] if settings.document_mask else None,
                chunk=settings.loss_chunk,
                z_weight=settings.optim.z_weight,
                weight_BT=None if weights is None else weights[rows],
            )
            share = losses.total / count
            (share * scale if scale != 1 else share).backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
            nats_B.append((losses.nats_BT if weights is None else losses.nats_BT * weights[rows]).sum(1))
            if "load" in losses.aux:
                loads.append(losses.aux["load"])
        return Summed(loss, torch.cat(nats_B), count_B, torch.stack(loads).mean(0) if loads else None)

    def nats(self, model: Model, rows: Rows, settings: TrainSettings) -> Tensor:
        """-ln p of every target [B, T], 0 where there is none; rows: some of those of this process."""
        documents = rows.documents if settings.document_mask else None
        return model.nats(rows.inputs, rows.targets, documents, chunk=settings.loss_chunk)

    def added(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum over the processes that share the rows of a step."""
        return numbers

    def norm(self, names: Sequence[str], norms: Tensor) -> Tensor:
        """The norm of all gradients from those of the parts that are held here, by name."""
        total: Tensor = torch.linalg.vector_norm(norms)
        return total

    def box(self, name: str, tensor: Tensor) -> Box:
        """Where a tensor held here lies: that of the parameter `name`, or one that goes with it."""
        return box_of(tensor)

    def matrices(self, name: str, part: Tensor) -> tuple[int, ...]:
        """The shape that `whole` gives."""
        return tuple(part.shape)

    def whole(self, name: str, part: Tensor) -> Tensor:
        """A tensor that goes with a parameter, with its matrices whole."""
        return part

    def own(self, name: str, whole: Tensor) -> Tensor:
        """What is held here of what `whole` gave."""
        return whole

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return flag

    def same(self, value: float) -> float:
        """The first process's value."""
        return value

    @contextmanager
    def first(self) -> Iterator[None]:
        """The first process does what is inside, then the others, who find what it left on the disk."""
        yield
