"""A mixture of experts in place of the feed-forward layer: every token is computed by k of E experts.

    scores   softmax or sigmoid of router(x), fp32 [N, E]          experts  the k best by score (+ bias)
    weights  the scores of the chosen, scaled to sum 1             output   sum of weight * expert(x)  (+ shared(x))

There is no capacity: tokens are sorted by expert and every expert multiplies as many rows as came to it, in one
grouped product, so that none is dropped and none is padded. Names of dimensions are those of model.py, and

    N  tokens, B * T        E  experts        k  experts of a token        M  rows of the grouped product, N * k

Experts are kept evenly loaded in one of two ways. `loss`: with f = share of the M rows and P = mean score of an
expert, balance_weight * E * sum(f * P) is added to the loss of every token (arXiv 2101.03961). `bias`: a bias, used
for the choice only, rises by balance_weight after every step for experts below the mean load and falls for those
above it (arXiv 2408.15664). The router's z-loss, router_z_weight * (ln sum exp)^2, keeps its numbers small.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import Shape
from train.layers import EMBEDDING_DEVIATION, Device, Layer, Linear, Normal

# What a block tells beside its output. `balance` and `router_z` are losses, summed over tokens; `load` is [E], the
# share of the rows that each expert computed.
Aux = dict[str, Tensor]


class Experts(Layer):
    """E matrices [n_out, n_in], each drawn from the seed, the name and its own number."""

    def __init__(self, experts: int, n_in: int, n_out: int, device: Device, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation
        self.weight = nn.Parameter(torch.empty(experts, n_out, n_in, device=device))

    def initialize(self, normal: Normal) -> None:
        for number, expert in enumerate(self.weight):
            expert.copy_(normal(f"weight.{number}", tuple(expert.shape)) * self.deviation)

    def forward(self, x_MC: Tensor, ends_E: Tensor) -> Tensor:
        """Rows up to ends_E[0] by the first matrix, from there up to ends_E[1] by the second, and so on."""
        weight = self.weight.to(x_MC.dtype)
        if x_MC.dtype != torch.float16:
            return F.grouped_mm(x_MC, weight.transpose(1, 2), offs=ends_E)
        # The kernel has no fp16.
        parts = pairwise([0, *ends_E.tolist()])
        return torch.cat([F.linear(x_MC[a:b], one) for (a, b), one in zip(parts, weight, strict=True)])


class MixtureOfExperts(nn.Module):
    """[B, T, C] -> [B, T, C]; the experts are SwiGLU layers of the shape's ffn_width. shared: computes every token."""

    choice_bias: Tensor | None

    def __init__(self, shape: Shape, device: Device, shared: nn.Module | None) -> None:
        super().__init__()
        self.shape = shape
        down = 1 / math.sqrt(shape.ffn_width * 2 * shape.layers)
        self.router = Linear(shape.width, shape.experts, device, deviation=EMBEDDING_DEVIATION)
        self.gate = Experts(shape.experts, shape.width, shape.ffn_width, device, 1 / math.sqrt(shape.width))
        self.up = Experts(shape.experts, shape.width, shape.ffn_width, device, 1 / math.sqrt(shape.width))
        self.down = Experts(shape.experts, shape.ffn_width, shape.width, device, down)
        self.shared = shared
        bias = torch.zeros(shape.experts, device=device) if shape.balance == "bias" else None
        self.register_buffer("choice_bias", bias)

    def forward(self, x_BTC: Tensor) -> tuple[Tensor, Aux]:
        x_NC, k = x_BTC.flatten(0, -2), self.shape.experts_per_token
        logits_NE = F.linear(x_NC.float(), self.router.weight)
        scores_NE = logits_NE.softmax(-1) if self.shape.router == "softmax" else logits_NE.sigmoid()
        choice_NE = scores_NE if self.choice_bias is None else scores_NE + self.choice_bias
        expert_Nk = choice_NE.topk(k, dim=-1).indices
        weight_Nk = scores_NE.gather(1, expert_Nk)
        weight_Nk = weight_Nk / weight_Nk.sum(-1, keepdim=True)
        # Rows sorted by expert, and the way back. Every index is unique, so that its gradient is exact and repeatable.
        order_M = expert_Nk.flatten().argsort(stable=True)
        back_M = torch.empty_like(order_M).scatter_(0, order_M, torch.arange(len(order_M), device=order_M.device))
        rows_E = torch.bincount(expert_Nk.flatten(), minlength=self.shape.experts)
        y_MC = self.compute(x_NC.unsqueeze(1).expand(-1, k, -1).flatten(0, 1)[order_M], rows_E)
        y_NkC = y_MC[back_M].view(len(x_NC), k, -1)
        y_NC = (y_NkC * weight_Nk.to(x_BTC.dtype).unsqueeze(-1)).sum(1)
        if self.shared is not None:
            y_NC = y_NC + self.shared(x_NC)
        return y_NC.view(x_BTC.shape), self._aux(logits_NE, scores_NE, rows_E)

    def compute(self, x_MC: Tensor, rows_E: Tensor) -> Tensor:
        """Rows sorted by expert, rows_E of each, through the experts."""
        ends_E = rows_E.cumsum(0).to(torch.int32)
        y_MC: Tensor = self.down(F.silu(self.gate(x_MC, ends_E)) * self.up(x_MC, ends_E), ends_E)
        return y_MC

    def counted(self, rows_E: Tensor) -> Tensor:
        """The rows of each expert by which load is judged: those of this pass."""
        return rows_E

    def _aux(self, logits_NE: Tensor, scores_NE: Tensor, rows_E: Tensor) -> Aux:
        rows_E = self.counted(rows_E)
        load_E = rows_E / rows_E.sum()
        n_tokens, experts = scores_NE.shape
        aux = {"load": load_E, "router_z": self.shape.router_z_weight * logits_NE.logsumexp(-1).square().sum()}
        if self.shape.balance == "loss":
            mean_E = (scores_NE / scores_NE.sum(-1, keepdim=True)).mean(0)
            aux["balance"] = self.shape.balance_weight * n_tokens * experts * (load_E * mean_E).sum()
        return aux


def collect(parts: list[Aux]) -> Aux:
    """The scalars of all blocks as one: losses summed, `load` stacked to [blocks with experts, E]."""
    names = {name for part in parts for name in part}
    found = {name: torch.stack([part[name] for part in parts if name in part]) for name in sorted(names)}
    return {name: values if name == "load" else values.sum() for name, values in found.items()}


def losses_of(aux: Aux) -> list[Tensor]:
    """Those of the scalars that are losses."""
    return [aux[name] for name in ("balance", "router_z") if name in aux]


@torch.no_grad()
def balance_by_bias(model: nn.Module, load_LE: Tensor) -> None:
    """Move the biases of every mixture towards even loads; load_LE: of the whole step, a line a block of the model."""
    for name, mixture in model.named_modules():
        if isinstance(mixture, MixtureOfExperts) and mixture.choice_bias is not None:
            load_E = load_LE[int(name.split(".")[1])]  # blocks.N.ffn
            mixture.choice_bias += mixture.shape.balance_weight * torch.sign(1 / len(load_E) - load_E)
