"""The layers that a model is made of; each computes in the dtype of its input and draws its own initial weights.

Weights are fp32 and are cast where they are used: explicit, because autocast decides by lists that differ by device.
A layer knows its own fan-in, so that it draws its weights itself: `initialize` hands it a source of standard normal
numbers that depends on the seed and on the parameter's name alone. Every layout of a model over machines therefore
starts equal.
"""

import hashlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Device = torch.device | str

# (parameter's name within its layer, shape) -> standard normal numbers, fp32, on the CPU.
Normal = Callable[[str, tuple[int, ...]], Tensor]

EMBEDDING_DEVIATION = 0.02  # standard deviation of the initial embedding and head (GPT-2)


class Layer(nn.Module):
    """A module with parameters of its own, which it initializes itself."""

    def initialize(self, normal: Normal) -> None:
        raise NotImplementedError


class Linear(Layer):
    """[..., n_in] -> [..., n_out] by a weight [n_out, n_in] and, where asked for, a bias [n_out].

    deviation: standard deviation of the initial weights, 1 / root(n_in) by default. Biases start at 0.
    """

    def __init__(
        self, n_in: int, n_out: int, device: Device, *, bias: bool = False, deviation: float | None = None
    ) -> None:
        super().__init__()
        self.deviation = 1 / math.sqrt(n_in) if deviation is None else deviation
        self.weight = nn.Parameter(torch.empty(n_out, n_in, device=device))
        self.bias = nn.Parameter(torch.empty(n_out, device=device)) if bias else None

    def initialize(self, normal: Normal) -> None:
        self.weight.copy_(normal("weight", tuple(self.weight.shape)) * self.deviation)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Embedding(Layer):
    """[B, T] ids -> [B, T, C], rows of a weight [count, C]: of the vocabulary, or of the positions of a row."""

    def __init__(self, count: int, width: int, device: Device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width, device=device))

    def initialize(self, normal: Normal) -> None:
        self.weight.copy_(normal("weight", tuple(self.weight.shape)) * EMBEDDING_DEVIATION)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.embedding(ids_BT, self.weight)


class RMSNorm(Layer):
    """[..., C] -> [..., C]: x / root(mean over C of x^2, plus eps) * weight; the mean is taken in fp32."""

    def __init__(self, width: int, eps: float, device: Device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, device=device))
        self.eps = eps

    def initialize(self, normal: Normal) -> None:
        self.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(Layer):
    """[..., C] -> [..., C]: (x - mean) / root(variance + eps) * weight + bias."""

    def __init__(self, width: int, eps: float, device: Device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, device=device))
        self.bias = nn.Parameter(torch.empty(width, device=device))
        self.eps = eps

    def initialize(self, normal: Normal) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: of one that FSDP cut, its part without gradient; any other as it is."""
    cut: Any = tensor.detach() if hasattr(tensor, "to_local") else None
    return tensor if cut is None else cut.to_local()


def normal_numbers(seed: int, layer: str, own: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers for the parameter `layer`.`own`; they depend on the seed and that name alone."""
    # 63 bits, as many as a seed of torch may have.
    key = int.from_bytes(hashlib.sha256(f"{seed}:{layer}.{own}".encode()).digest()[:8], "little") >> 1
    return torch.randn(shape, generator=torch.Generator().manual_seed(key))


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Give every layer of a model its initial weights."""
    for name, layer in model.named_modules():
        if isinstance(layer, Layer):
            layer.initialize(partial(normal_numbers, seed, name))
