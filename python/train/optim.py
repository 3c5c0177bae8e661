"""AdamW, and Muon for matrices; their only state are one or two moments a parameter, kept by name in fp32.

AdamW (arXiv 1711.05101), with n the number of updates so far:

    m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
    w = w - rate * decay * w - rate * (m / (1 - beta1^n)) / (root(v / (1 - beta2^n)) + eps)

Muon, for the matrices between embedding and head (Jordan 2024; scaled as in arXiv 2502.16982):

    m = momentum m + g                 u = the nearest orthogonal matrix to g + momentum m, by Newton-Schulz
    w = w - rate * decay * w - rate * 0.2 root(larger side) * u

The factor gives an update the size that AdamW's usually has at the same learning rate. Embedding, head, router, norms
and biases are AdamW's. Decay falls on matrices only, the embedding among them. AdamW is one fused kernel, about 5 ms
for 5 M parameters on one core. It is called directly, because building an optimizer of torch.optim imports a compiler:
4 s, longer than the first step.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from train.config import OptimSettings
from train.layers import local
from train.processes import Alone

# Newton-Schulz: x -> a x + b (x x') x + c (x x')^2 x takes the singular values to about 1 in five steps (Jordan 2024).
COEFFICIENTS, ROUNDS = (3.4445, -4.7750, 2.0315), 5
MUON_SCALE = 0.2


def orthogonalize(matrices_NRC: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices [N, R, C] with the same singular vectors and singular values of about 1 (0.7 to 1.2)."""
    a, b, c = COEFFICIENTS
    wide = matrices_NRC.shape[1] <= matrices_NRC.shape[2]
    x: Tensor = (matrices_NRC if wide else matrices_NRC.mT).to(dtype)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = (x if wide else x.mT).float()
    return result


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradients of the parameters that have one, by name; of each what this process holds."""
    return {name: local(p.grad) for name, p in model.named_parameters() if p.grad is not None}


@torch.no_grad()
def clip_(
    grads: Iterable[Tensor], limit: float, together: Callable[[Tensor], Tensor] = torch.linalg.vector_norm
) -> Tensor:
    """The norm of all gradients together; they are scaled down to `limit` where it is larger (0: never).

    together: the norm of all from the norms of each.
    """
    grads = list(grads)
    norm = together(torch.stack(torch._foreach_norm(grads)))
    if limit:
        torch._foreach_mul_(grads, (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


class Optimizer:
    """`moments` are tensors of the parameters' shapes by "mean.<name>", "square.<name>" and "momentum.<name>".

    Parameters, gradients and moments are the parts that this process holds. Only Muon needs whole matrices: they are
    put together, and every process computes those that it holds a part of.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: OptimSettings,
        dtype: torch.dtype = torch.float32,
        processes: Alone | None = None,
    ) -> None:
        """dtype: of the products in Muon."""
        self.settings, self.dtype, self.processes = settings, dtype, processes or Alone()
        self._owners = dict(model.named_parameters())
        self.parameters = {name: local(p) for name, p in self._owners.items()}
        self.updates = 0
        inside = [name for name, p in self.parameters.items() if name.startswith("blocks.") and p.dim() >= 2]
        muon = settings.optimizer == "muon"
        self.orthogonal = [name for name in inside if muon and not name.endswith("router.weight")]
        self.moments = {
            f"{kind}.{name}": torch.zeros_like(p)
            for name, p in self.parameters.items()
            for kind in (("momentum",) if name in self.orthogonal else ("mean", "square"))
        }

    @torch.no_grad()
    def update(self, rate: float) -> None:
        """One update by the gradients, which are cleared."""
        self.updates += 1
        self._muon(rate)
        rest = [name for name in self.parameters if name not in set(self.orthogonal)]
        for matrices in (True, False):
            self._adamw([n for n in rest if (self.parameters[n].dim() >= 2) == matrices], rate, matrices)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        for p in self._owners.values():
            p.grad = None

    def _grad(self, name: str) -> Tensor | None:
        grad = self._owners[name].grad
        return None if grad is None else local(grad)

    def _adamw(self, names: list[str], rate: float, decays: bool) -> None:
        settings = self.settings
        found = {name: self._grad(name) for name in names if self.parameters[name].numel()}
        grads = {name: grad for name, grad in found.items() if grad is not None}
        if not grads:
            return
        names, weights = list(grads), [self.parameters[name] for name in grads]
        torch._fused_adamw_(
            weights,
            list(grads.values()),
            [self.moments[f"mean.{name}"] for name in names],
            [self.moments[f"square.{name}"] for name in names],
            [],
            [torch.tensor(float(self.updates), device=p.device) for p in weights],
            lr=rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=settings.weight_decay if decays else 0.0,
            eps=settings.eps,
            amsgrad=False,
            maximize=False,
        )

    def _muon(self, rate: float) -> None:
        groups: dict[tuple[int, ...], list[str]] = {}
        for name in self.orthogonal:
            groups.setdefault(self.processes.matrices(name, self.parameters[name]), []).append(name)
        for shape, names in groups.items():
            # Matrices of one shape are one product; a stack of experts is so many matrices.
            momenta, grads = [self.moments[f"momentum.{name}"] for name in names], []
            for name, momentum in zip(names, momenta, strict=True):
                grad = self._grad(name)
                assert grad is not None
                momentum.mul_(self.settings.momentum).add_(grad)
                ahead = grad.add(momentum, alpha=self.settings.momentum)
                grads.append(self.processes.whole(name, ahead))
            flat = torch.stack(grads).view(-1, *shape[-2:])
            steps = orthogonalize(flat, self.dtype).view(len(names), *shape)
            scale = MUON_SCALE * math.sqrt(max(shape[-2:]))
            for name, step in zip(names, steps, strict=True):
                weight, own = self.parameters[name], self.processes.own(name, step)
                weight.mul_(1 - rate * self.settings.weight_decay).add_(own, alpha=-rate * scale)

    def state(self) -> dict[str, Tensor]:
        """The moments and the number of updates; the moments are the tensors themselves, not copies."""
        return {**self.moments, "updates": torch.tensor(self.updates)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the values that `state` gave."""
        for key, tensor in self.moments.items():
            tensor.copy_(tensors[key])
        self.updates = int(tensors["updates"])
