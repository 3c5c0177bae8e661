"""What the trainer asks of its processes (train.processes), answered by those that torchrun started."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from curate.errors import ConfigError
from train.checkpoint import Box
from train.config import TrainSettings
from train.loss import IGNORE
from train.model import Model
from train.packing import Batch, Weighted
from train.parallel.collectives import all_sum
from train.parallel.mesh import Group, Mesh
from train.parallel.pipeline import Given, Pipe, Stage, one_forward_one_backward
from train.parallel.split import Part, split
from train.processes import Alone, Rows, Summed, rows_of


class Together(Alone):
    """One of the processes of a grid."""

    def __init__(self, settings: TrainSettings) -> None:
        """settings: resolved. Raises ConfigError where the grid does not fit the processes or the batch."""
        self.mesh = mesh = Mesh(settings.parallel)
        self.rank, self.world = mesh.rank, mesh.world
        self.place, self.places = mesh.rows.rank, mesh.rows.size
        self.everyone = Group(dist.group.WORLD, tuple(range(mesh.world)), mesh.rank)
        for name in ("batch_rows", "micro_rows"):
            rows = getattr(settings, name)
            if rows % self.places:
                raise ConfigError(
                    f"{name}: {rows} rows cannot be shared by {self.places} processes alike; give a multiple of "
                    f"{self.places}, or let parallel.* leave fewer of the {self.world} processes to share rows"
                )
        self.parts: dict[str, Part] = {}

    def split(self, model: Model) -> None:
        self.stage = Stage(model, self.mesh)
        self.parts = split(model, self.stage, self.mesh)

    def accumulate(
        self, model: Model, batch: Batch | Weighted, settings: TrainSettings, device: torch.device, scale: float = 1.0
    ) -> Summed:
        rows = rows_of(batch, device)
        n, size = settings.micro_rows // self.places, len(rows.inputs)
        count_B = all_sum(self._of_all((rows.targets != IGNORE).sum(1)), self.mesh.rows)
        count, given = count_B.sum(), list[Given]()
        micro_batches = [rows.cut(start, start + n) for start in range(0, size, n)]
        context = self.mesh.context.size
        pipe = Pipe(self.mesh.pipeline, (n, rows.inputs.shape[1] // context, model.shape.width), model.dtype, device)

        def forward(number: int, x: Tensor | None) -> Tensor:
            given.append(self.stage(x, micro_batches[number], settings))
            return given[-1].value

        def backward(number: int, x: Tensor | None, y: Tensor, grad: Tensor | None) -> None:
            extra = given[number].loss / count * scale
            if grad is None:
                torch.autograd.backward([y / count * scale + extra])
            elif extra.requires_grad:
                torch.autograd.backward([y, extra], [grad, torch.ones_like(extra)])
            else:
                torch.autograd.backward([y], [grad])

        one_forward_one_backward(pipe, len(micro_batches), forward, backward)
        self._add_ends(model)
        return self._summed(given, count_B, settings)

    @torch.no_grad()
    def nats(self, model: Model, rows: Rows, settings: TrainSettings) -> Tensor:
        if self.world > self.places:
            raise ConfigError("nats of tokens are known where processes share rows alone: leave parallel.* at 1")
        given: Given = self.stage(None, rows._replace(weights=None), settings)
        assert given.nats_BT is not None
        return given.nats_BT

    def added(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return all_sum(torch.from_numpy(numbers), self.mesh.rows).numpy()

    def _of_all(self, own_B: Tensor) -> Tensor:
        """The values of our rows at their places among all rows of the step, 0 elsewhere."""
        all_B = torch.zeros(len(own_B) * self.places, dtype=own_B.dtype, device=own_B.device)
        all_B[self.place :: self.places] = own_B
        return all_B

    def _add_ends(self, model: Model) -> None:
        """An embedding that is the head too is held by the first and the last stage; both get the sum of gradients."""
        mesh = self.mesh
        if mesh.ends.size > 1 and model.shape.tied and (mesh.first or mesh.last):
            grad = model.embedding.weight.grad
            assert grad is not None
            part = grad.to_local() if hasattr(grad, "to_local") else grad
            part.copy_(all_sum(part, mesh.ends))

    def _summed(self, given: list[Given], count_B: Tensor, settings: TrainSettings) -> Summed:
        """Losses and loads of all processes, by one message."""
        mesh, blocks, shape = self.mesh, list(self.stage.model.blocks), self.stage.model.shape
        device = count_B.device
        own = [one.nats_BT.sum(1) for one in given if one.nats_BT is not None]
        nats_B = self._of_all(torch.cat(own)) if own else torch.zeros(len(count_B), device=device)
        # What the blocks add is the same in a tensor group.
        extra = sum((one.loss.detach() for one in given), torch.zeros((), device=device))
        loss = extra if mesh.tensor.rank == 0 else torch.zeros_like(extra)
        if mesh.last:
            loss = loss + sum(one.value.detach() for one in given)
        load_LE = torch.zeros((shape.layers, max(1, shape.experts)), device=device)
        if shape.experts and mesh.outside.rank == 0:
            lines = [int(name) for name in blocks]
            load_LE[lines] = torch.stack([one.aux["load"] for one in given]).mean(0)
        told = torch.cat((loss.view(1), nats_B, load_LE.flatten()))
        told = all_sum(told, self.everyone)
        loss, nats_B = told[0] / count_B.sum(), told[1 : 1 + len(count_B)]
        load = told[1 + len(count_B) :].view(load_LE.shape) if shape.experts else None
        return Summed(loss, nats_B, count_B, load)

    def norm(self, names: Sequence[str], norms: Tensor) -> Tensor:
        copies = torch.tensor([self.parts[name].copies for name in names], device=norms.device)
        return all_sum((norms.square() / copies).sum(), self.everyone).sqrt()

    def box(self, name: str, tensor: Tensor) -> Box:
        if name not in self.parts:  # of the run, not of a parameter
            return Box(tensor, (0,) * tensor.dim(), tuple(tensor.shape), self.rank == 0)
        part = self.parts[name]
        return Box(tensor, part.box()[0], part.whole, part.kept and tensor.numel() > 0)

    def matrices(self, name: str, part: Tensor) -> tuple[int, ...]:
        whole = self.parts[name].whole
        return (len(part), *whole[1:]) if len(whole) == 3 else whole

    def whole(self, name: str, part: Tensor) -> Tensor:
        return self.parts[name].gather(part)

    def own(self, name: str, whole: Tensor) -> Tensor:
        return self.parts[name].take(whole)

    def any(self, flag: bool) -> bool:
        return all_sum(torch.tensor([float(flag)]), self.everyone).item() > 0

    def same(self, value: float) -> float:
        mine = torch.tensor([value if self.rank == 0 else 0.0], dtype=torch.float64)
        return all_sum(mine, self.everyone).item()

    @contextmanager
    def first(self) -> Iterator[None]:
        if self.rank:
            dist.barrier()
        yield
        if not self.rank:
            dist.barrier()
