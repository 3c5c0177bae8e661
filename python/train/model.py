"""A Llama-compatible decoder, readable top to bottom: 5.0 M parameters at 4 layers, width 256, vocabulary 8,192.

    tokens -> embedding -> [ x + attention(norm(x)), x + swiglu(norm(x)) ] x layers -> norm -> head

RMSNorm before each branch (arXiv 1910.07467), rotary positions in the half-split layout (arXiv 2104.09864),
grouped-query attention (arXiv 2305.13245), SwiGLU (arXiv 2002.05202), no biases. Weights are fp32 and are cast
to the compute dtype where they are used: explicit, because autocast decides by lists that differ by device.

Names of tensors end with their shape, a letter a dimension:

    B  rows of the batch            H  query heads                  F  hidden width of the feed-forward layer
    T  positions of a row           K  key and value heads          V  tokens in the vocabulary
    S  positions that keys cover    G  query heads that share a key and value head, H / K
    C  width of the residual stream                                 D  width of a head, C / H

The parameters, by the names that checkpoints give them (each ends with `.weight`):

    embedding                    [V, C]      blocks.N.attention_norm      [C]
    blocks.N.attention.query     [H D, C]    blocks.N.ffn_norm            [C]
    blocks.N.attention.key       [K D, C]    blocks.N.ffn.gate, ffn.up    [F, C]
    blocks.N.attention.value     [K D, C]    blocks.N.ffn.down            [C, F]
    blocks.N.attention.out       [C, H D]    norm                         [C]
    head                         [V, C], absent where the embedding serves as the head (tied)
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import Shape

# Cosine and sine of every position's angles, [T, D] each.
Rope = tuple[Tensor, Tensor]


class Linear(nn.Module):
    """[..., n_in] -> [..., n_out] by an fp32 weight [n_out, n_in], computed in the dtype of the input."""

    def __init__(self, n_in: int, n_out: int, device: torch.device | str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):
    """[B, T] token ids -> [B, T, C], rows of an fp32 weight [V, C]."""

    def __init__(self, vocab_size: int, width: int, device: torch.device | str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width, device=device))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return F.embedding(tokens_BT, self.weight)


class RMSNorm(nn.Module):
    """[B, T, C] -> [B, T, C]: x / root(mean over C of x^2, plus eps) * weight; the mean is taken in fp32."""

    def __init__(self, width: int, eps: float, device: torch.device | str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, device=device))
        self.eps = eps

    def forward(self, x_BTC: Tensor) -> Tensor:
        return F.rms_norm(x_BTC, self.weight.shape, self.weight.to(x_BTC.dtype), self.eps)


class Cache:
    """Keys and values of the positions seen so far, one pair of tensors a block.

    Each is allocated for `capacity` positions, 2 * layers * B * K * capacity * D numbers in all: 0.5 MB in bf16 for a
    row of 256 positions of the 5 M model. `length` positions are filled, the same number in every block.
    """

    def __init__(self, shape: Shape, rows: int, capacity: int, dtype: torch.dtype, device: torch.device | str) -> None:
        size = (rows, shape.kv_heads, capacity, shape.head_width)
        self.keys_BKSD = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.values_BKSD = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.length = 0

    def append(self, layer: int, key_BKTD: Tensor, value_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store T new positions of a block; returns its keys and values [B, K, S, D] of all S = length + T.

        `length` stays as it is: the model raises it when the last block is done.
        """
        end = self.length + key_BKTD.shape[2]
        self.keys_BKSD[layer][:, :, self.length : end] = key_BKTD
        self.values_BKSD[layer][:, :, self.length : end] = value_BKTD
        return self.keys_BKSD[layer][:, :, :end], self.values_BKSD[layer][:, :, :end]


def rotary(shape: Shape, start: int, length: int, device: torch.device | str) -> Rope:
    """Cosine and sine of the angles of positions start … start + length - 1, [T, D] each, fp32.

    The angle of position t and pair i < D / 2 is t * theta^(-2 i / D); the two halves of D hold the same angles.
    """
    half = torch.arange(0, shape.head_width, 2, dtype=torch.float32, device=device)
    frequency = shape.rope_theta ** (-half / shape.head_width)
    position = torch.arange(start, start + length, dtype=torch.float32, device=device)
    angle_TD = torch.outer(position, frequency).repeat(1, 2)
    return angle_TD.cos(), angle_TD.sin()


def rotate(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn the pair (x[i], x[i + D/2]) of every head by its position's angle; [B, H, T, D] -> the same shape.

    The product of a turned query and a turned key then depends on the distance of their positions alone.
    """
    left, right = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos_TD + torch.cat((-right, left), dim=-1) * sin_TD


class Attention(nn.Module):
    """Grouped-query attention, [B, T, C] -> [B, T, C]: G query heads share a key and value head.

    Scores are q · k / root(D) over the positions that the mask allows; keys and values take K / H of the memory that
    one pair for every query head would.
    """

    def __init__(self, shape: Shape, device: torch.device | str) -> None:
        super().__init__()
        self.n_heads, self.n_kv, self.head_width = shape.heads, shape.kv_heads, shape.head_width
        self.query = Linear(shape.width, shape.width, device)
        self.key = Linear(shape.width, shape.kv_heads * shape.head_width, device)
        self.value = Linear(shape.width, shape.kv_heads * shape.head_width, device)
        self.out = Linear(shape.width, shape.width, device)

    def forward(self, x_BTC: Tensor, rope: Rope, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        rows, length, _ = x_BTC.shape
        # Heads come before positions, as the kernel wants them: [B, T, H D] -> [B, T, H, D] -> [B, H, T, D].
        q_BHTD = self.query(x_BTC).view(rows, length, self.n_heads, self.head_width).transpose(1, 2)
        k_BKSD = self.key(x_BTC).view(rows, length, self.n_kv, self.head_width).transpose(1, 2)
        v_BKSD = self.value(x_BTC).view(rows, length, self.n_kv, self.head_width).transpose(1, 2)
        q_BHTD, k_BKSD = rotate(q_BHTD, *rope), rotate(k_BKSD, *rope)
        # From here on keys cover the positions of the cache too: S = T without one.
        if cache is not None:
            k_BKSD, v_BKSD = cache.append(layer, k_BKSD, v_BKSD)
        # A single new position may look at everything before it, so that it needs no mask either.
        causal = mask is None and length > 1
        y_BHTD = F.scaled_dot_product_attention(
            q_BHTD, k_BKSD, v_BKSD, attn_mask=mask, is_causal=causal, enable_gqa=self.n_kv < self.n_heads
        )
        y_BTC: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(rows, length, -1))
        return y_BTC


class FeedForward(nn.Module):
    """SwiGLU, [B, T, C] -> [B, T, F] -> [B, T, C]: down(silu(gate(x)) * up(x)), silu(x) = x * sigmoid(x)."""

    def __init__(self, shape: Shape, device: torch.device | str) -> None:
        super().__init__()
        self.gate = Linear(shape.width, shape.ffn_width, device)
        self.up = Linear(shape.width, shape.ffn_width, device)
        self.down = Linear(shape.ffn_width, shape.width, device)

    def forward(self, x_BTC: Tensor) -> Tensor:
        y_BTC: Tensor = self.down(F.silu(self.gate(x_BTC)) * self.up(x_BTC))
        return y_BTC


class Block(nn.Module):
    """One layer, [B, T, C] -> [B, T, C]: two branches, each of a norm and what it computes, added to the stream."""

    def __init__(self, shape: Shape, layer: int, device: torch.device | str) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = RMSNorm(shape.width, shape.norm_eps, device)
        self.attention = Attention(shape, device)
        self.ffn_norm = RMSNorm(shape.width, shape.norm_eps, device)
        self.ffn = FeedForward(shape, device)

    def forward(self, x_BTC: Tensor, rope: Rope, mask: Tensor | None, cache: Cache | None) -> Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), rope, mask, cache, self.layer)
        x_BTC = x_BTC + self.ffn(self.ffn_norm(x_BTC))
        return x_BTC


class Model(nn.Module):
    """The decoder up to the last norm; the head is applied by the loss, in chunks, or by `logits`.

    Blocks are kept in a dict under the names "0", "1", …, so that a part of the dict can be a pipeline stage and
    parameters keep their names whatever the number of machines that the model is spread over.
    """

    def __init__(self, shape: Shape, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.shape = shape
        self.embedding = Embedding(shape.vocab_size, shape.width, device)
        self.blocks = nn.ModuleDict({str(layer): Block(shape, layer, device) for layer in range(shape.layers)})
        self.norm = RMSNorm(shape.width, shape.norm_eps, device)
        self.head = None if shape.tied else Linear(shape.width, shape.vocab_size, device)

    @property
    def head_weight_VC(self) -> Tensor:
        """The matrix of the head: that of the embedding where the two are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(
        self, tokens_BT: Tensor, dtype: torch.dtype, documents_BT: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Normalized hidden states [B, T, C] in `dtype`.

        tokens_BT: int64 ids below V. documents_BT numbers the documents of each row; positions then attend within
        their own document only. With a cache the tokens continue what it holds, and it grows by them.
        """
        start = cache.length if cache else 0
        cos_TD, sin_TD = rotary(self.shape, start, tokens_BT.shape[1], tokens_BT.device)
        # Angles are computed in fp32: in bf16 positions above 256 could not be told apart.
        rope = cos_TD.to(dtype), sin_TD.to(dtype)
        mask = attention_mask(tokens_BT, documents_BT, start)
        x_BTC = self.embedding(tokens_BT).to(dtype)
        for block in self.blocks.values():
            x_BTC = block(x_BTC, rope, mask, cache)
        if cache:
            cache.length += tokens_BT.shape[1]
        hidden_BTC: Tensor = self.norm(x_BTC)
        return hidden_BTC

    def logits(self, x_BTC: Tensor) -> Tensor:
        """Scores of the next token [B, T, V], fp32."""
        logits_BTV: Tensor = F.linear(x_BTC, self.head_weight_VC.to(x_BTC.dtype)).float()
        return logits_BTV


def attention_mask(tokens_BT: Tensor, documents_BT: Tensor | None, start: int) -> Tensor | None:
    """True where a position may look: backwards, and within its document; [T, S], or [B, 1, T, S] with documents.

    None stands for plain causal attention, for which the kernel needs no mask and is faster. Documents are for
    training, where start is 0 and S = T.
    """
    length, device = tokens_BT.shape[1], tokens_BT.device
    if documents_BT is None and (start == 0 or length == 1):
        return None
    # Position start + t, the t-th of the new ones, sees positions 0 … start + t.
    causal_TS = torch.ones(length, start + length, dtype=torch.bool, device=device).tril(start)
    if documents_BT is None:
        return causal_TS
    return causal_TS & (documents_BT[:, None, :, None] == documents_BT[:, None, None, :])


def initialize(model: Model, seed: int) -> Model:
    """Initial weights from (seed, parameter name), so that every layout of the model over machines starts equal.

    Norms are 1. Other weights are normal with mean 0 and a standard deviation of 0.02 for the embedding and the head,
    1 / root(inputs) for matrices, and 1 / root(inputs * 2 * layers) for the two whose results are added to the residual
    stream: it is the sum of 2 * layers of them, and keeps its size whatever the depth (GPT-2's rule).
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data.fill_(1.0)
            continue
        # 63 bits, as many as a seed of torch may have.
        key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        deviation = 1 / math.sqrt(parameter.shape[1])
        if name.endswith(("attention.out.weight", "ffn.down.weight")):
            deviation /= math.sqrt(2 * model.shape.layers)
        if name in ("embedding.weight", "head.weight"):
            deviation = 0.02
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator).mul_(deviation))
    return model


def build(shape: Shape, seed: int, device: torch.device | str = "cpu") -> Model:
    """A model with initial weights."""
    return initialize(Model(shape, device), seed)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
