"""A stage of the model, and the 1F1B schedule: a forward pass, then a backward pass, of one micro-batch after another.

    warm-up     stage s of n computes n - 1 - s micro-batches forward
    steady      one forward, one backward: at most n - s micro-batches are in memory, however many a step has
    cool-down   backward of those that are left

A stage sends hidden states to the next and their gradients to the one before (arXiv 2104.04473). A run without
pipeline is the one stage of the same schedule.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from train.config import TrainSettings
from train.model import Model, Where, attention_mask
from train.moe import Aux, losses_of
from train.parallel.collectives import gathered, taken
from train.parallel.mesh import Group, Mesh
from train.parallel.ring import Ring, positions_of
from train.processes import Rows


class Given(NamedTuple):
    """What a stage makes of a micro-batch. value: hidden states for the next stage, of the last one the loss, a sum
    over the tokens that are held here. nats_BT: of the last one, weighted. loss: what the blocks add."""

    value: Tensor
    nats_BT: Tensor | None
    loss: Tensor
    aux: Aux


class Stage(nn.Module):
    """The blocks of this process and, in the first and last stage, what is before and behind them."""

    def __init__(self, model: Model, mesh: Mesh) -> None:
        super().__init__()
        self.model, self.mesh = model, mesh

    def forward(self, x_BTC: Tensor | None, rows: Rows, settings: TrainSettings) -> Given:
        """rows: of a micro-batch, whole. x_BTC: what the stage before gave, None in the first."""
        model, mesh, length = self.model, self.mesh, rows.inputs.shape[1]
        here = positions_of(mesh.context.rank, mesh.context.size, length, rows.inputs.device)
        own = here.chunk(mesh.tensor.size)[mesh.tensor.rank]  # outside the blocks
        if x_BTC is None:
            x_BTC = gathered(model.embed(rows.inputs[:, own], own), mesh.tensor, 1)
        documents = rows.documents if settings.document_mask else None
        x_BTC, aux = model.through(x_BTC, self._where(here, length, documents))
        losses = losses_of(aux)
        extra = torch.stack(losses).sum() if losses else torch.zeros((), device=x_BTC.device)
        if not mesh.last:
            return Given(x_BTC, None, extra, aux)
        weight_BT = None if rows.weights is None else rows.weights[:, own]
        total, nats_BT = model.head.cross_entropy(
            model.norm(taken(x_BTC, mesh.tensor, 1)),
            rows.targets[:, own],
            settings.loss_chunk,
            settings.optim.z_weight,
            weight_BT,
        )
        return Given(total, nats_BT if weight_BT is None else nats_BT * weight_BT, extra, aux)

    def _where(self, here: Tensor, length: int, documents_BT: Tensor | None) -> Where:
        model, context = self.model, self.mesh.context
        if context.size > 1:
            ring = Ring(context, length, documents_BT, model.shape.window, model.shape.causal)
            return Where(model.rope(here), None, None, ring.attend)
        mask = attention_mask(model.shape, length, here.device, documents_BT, None)
        return Where(model.rope(here), mask, None, causal=model.shape.causal)


class Pipe:
    """Messages of hidden states, of one size and type, between neighbouring stages."""

    def __init__(self, group: Group, size: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.group, self.size, self.dtype, self.device = group, size, dtype, device

    def exchange(
        self, ahead: Tensor | None = None, back: Tensor | None = None, *, before: bool = False, after: bool = False
    ) -> tuple[Tensor | None, Tensor | None]:
        """Send `ahead` to the next stage and `back` to the one before; receive from them where `before` and `after`
        say so. All at once, so that no two stages wait for each other; what leads out of the pipeline is nothing."""
        ranks, at = self.group.ranks, self.group.rank
        ops, got = [], list[Tensor | None]([None, None])
        for tensor, wanted, number, place in ((back, before, 0, at - 1), (ahead, after, 1, at + 1)):
            if not 0 <= place < len(ranks):
                continue
            if tensor is not None:
                ops.append(dist.P2POp(dist.isend, tensor.detach().contiguous(), ranks[place], self.group.handle))
            if wanted:
                got[number] = came = torch.empty(self.size, dtype=self.dtype, device=self.device)
                ops.append(dist.P2POp(dist.irecv, came, ranks[place], self.group.handle))
        for work in dist.batch_isend_irecv(ops) if ops else []:
            work.wait()
        return got[0], got[1]


def one_forward_one_backward(
    pipe: Pipe, micro_batches: int, forward: Callable[[int, Tensor | None], Tensor], backward: Callable[..., None]
) -> None:
    """Run the schedule.

    forward(number, what came) gives what goes on; backward(number, what came, what went on, gradient of that).
    """
    warmup = min(pipe.group.size - 1 - pipe.group.rank, micro_batches)
    held: list[tuple[int, Tensor | None, Tensor]] = []

    def ahead(number: int, x: Tensor | None) -> Tensor:
        y = forward(number, None if x is None else x.requires_grad_())
        held.append((number, x, y))
        return y

    def behind(grad: Tensor | None) -> Tensor | None:
        number, x, y = held.pop(0)
        backward(number, x, y, grad)
        return None if x is None else x.grad

    for number in range(warmup):
        x, _ = pipe.exchange(before=True)
        pipe.exchange(ahead=ahead(number, x))
    steady = micro_batches - warmup
    x = pipe.exchange(before=True)[0] if steady else None
    for number in range(steady):
        y = ahead(warmup + number, x)
        _, grad = pipe.exchange(ahead=y, after=True)
        back = behind(grad)
        x, _ = pipe.exchange(back=back, before=number < steady - 1)
    for _ in range(warmup):
        _, grad = pipe.exchange(after=True)
        pipe.exchange(back=behind(grad))
