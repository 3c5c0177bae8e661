"""A decoder, readable top to bottom: 5.0 M parameters at 4 layers, width 256, vocabulary 8,192.

    tokens -> embedding -> [ x + attention(norm(x)), x + feed_forward(norm(x)) ] x layers -> norm -> head

The shape chooses the parts. The family `llama`: RMSNorm (arXiv 1910.07467), rotary positions (positions.py),
grouped-query attention (arXiv 2305.13245), SwiGLU (arXiv 2002.05202), no biases. The family `gpt2`: LayerNorm,
learned positions, multi-head attention, GELU, biases. With experts the feed-forward layer is a mixture (moe.py).

Names of tensors end with their shape, a letter a dimension:

    B  rows of the batch            H  query heads                  F  hidden width of the feed-forward layer
    T  positions of a row           K  key and value heads          V  tokens in the vocabulary
    S  positions that keys cover    C  width of the residual stream D  width of a head, C / H

The parameters, by the names that checkpoints give them (each ends with `.weight`; with biases, `.bias` beside it):

    embedding                    [V, C]      blocks.N.attention_norm, blocks.N.ffn_norm  [C]
    position_embedding           [T, C], learned positions only
    blocks.N.attention.query     [H D, C]    blocks.N.ffn.gate, ffn.up    [F, C], up alone with GELU
    blocks.N.attention.key       [K D, C]    blocks.N.ffn.down            [C, F]
    blocks.N.attention.value     [K D, C]    blocks.N.ffn.router          [E, C], experts only; their gate, up
    blocks.N.attention.out       [C, H D]                                 and down are then [E, F, C] and [E, C, F]
    blocks.N.attention.query_norm, key_norm  [D], with qk_norm            norm   [C]
    head                         [V, C], absent where the embedding serves as the head (tied)
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.cache import Cache
from train.config import Shape
from train.diffusion import draw
from train.layers import (
    EMBEDDING_DEVIATION,
    Device,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Normal,
    RMSNorm,
    initialize,
    local,
)
from train.loss import linear_cross_entropy
from train.moe import Aux, MixtureOfExperts, collect, losses_of
from train.positions import Rope, rotary, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q [B, H, T, D], k and v [B, K, S, D] -> [B, H, T, D]


DRAWS = 32  # of masks, by which masked diffusion estimates


class Where(NamedTuple):
    """What every block needs to know of the positions it computes.

    rope: their angles, None with learned positions. mask: which keys each may see, None for all before it. attend:
    computes attention in place of the kernel, where the keys of a row lie on several machines.
    """

    rope: Rope | None
    mask: Tensor | None
    cache: Cache | None
    attend: Attend | None = None
    causal: bool = True  # without a mask: whether only what is before is seen


class Hidden(NamedTuple):
    """Normalized hidden states [B, T, C], and what the blocks tell beside them (moe.Aux)."""

    x_BTC: Tensor
    aux: Aux


class Losses(NamedTuple):
    """total: the scalar to minimize, a sum over tokens, to be divided by the tokens of the whole step.
    nats_BT: -ln p of every target, without gradient, 0 where the target is IGNORE.
    """

    total: Tensor
    nats_BT: Tensor
    aux: Aux


def norm_of(shape: Shape, device: Device) -> RMSNorm | LayerNorm:
    return (RMSNorm if shape.norm == "rms" else LayerNorm)(shape.width, shape.norm_eps, device)


class Attention(nn.Module):
    """Grouped-query attention, [B, T, C] -> [B, T, C]: H / K query heads share a key and value head.

    Scores are q · k / root(D) over the positions that the mask allows; keys and values take K / H of the memory that
    one pair for every query head would. K = H is multi-head attention, K = 1 multi-query attention.
    """

    def __init__(self, shape: Shape, device: Device) -> None:
        super().__init__()
        self.head_width = shape.head_width
        kv_width = shape.kv_heads * shape.head_width
        self.query = Linear(shape.width, shape.width, device, bias=shape.bias)
        self.key = Linear(shape.width, kv_width, device, bias=shape.bias)
        self.value = Linear(shape.width, kv_width, device, bias=shape.bias)
        # The residual stream is the sum of 2 * layers branches, and keeps its size whatever the depth (GPT-2's rule).
        deviation = 1 / math.sqrt(shape.width * 2 * shape.layers)
        self.out = Linear(shape.width, shape.width, device, bias=shape.bias, deviation=deviation)
        self.query_norm = RMSNorm(shape.head_width, shape.norm_eps, device) if shape.qk_norm else None
        self.key_norm = RMSNorm(shape.head_width, shape.norm_eps, device) if shape.qk_norm else None

    def forward(self, x_BTC: Tensor, where: Where, layer: int) -> Tensor:
        rows, length, _ = x_BTC.shape
        q_BTHD = self.query(x_BTC).view(rows, length, -1, self.head_width)
        k_BTKD = self.key(x_BTC).view(rows, length, -1, self.head_width)
        v_BTKD = self.value(x_BTC).view(rows, length, -1, self.head_width)
        if self.query_norm is not None and self.key_norm is not None:
            q_BTHD, k_BTKD = self.query_norm(q_BTHD), self.key_norm(k_BTKD)
        # Heads come before positions, as the kernel wants them.
        q_BHTD, k_BKSD, v_BKSD = (x.transpose(1, 2) for x in (q_BTHD, k_BTKD, v_BTKD))
        if where.rope is not None:
            q_BHTD, k_BKSD = rotate(q_BHTD, where.rope), rotate(k_BKSD, where.rope)
        # From here on keys cover the positions of the cache too: S = T without one.
        if where.cache is not None:
            k_BKSD, v_BKSD = where.cache.append(layer, k_BKSD, v_BKSD)
        if where.attend is not None:
            y_BHTD = where.attend(q_BHTD, k_BKSD, v_BKSD)
        else:
            # A single new position may look at everything before it, so that it needs no mask either.
            causal, grouped = where.causal and where.mask is None and length > 1, k_BTKD.shape[2] < q_BTHD.shape[2]
            y_BHTD = F.scaled_dot_product_attention(
                q_BHTD, k_BKSD, v_BKSD, attn_mask=where.mask, is_causal=causal, enable_gqa=grouped
            )
        y_BTC: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(rows, length, -1))
        return y_BTC


class FeedForward(nn.Module):
    """[B, T, C] -> [B, T, F] -> [B, T, C]: down(silu(gate(x)) * up(x)), SwiGLU, or down(gelu(up(x)))."""

    def __init__(self, shape: Shape, device: Device) -> None:
        super().__init__()
        width, hidden, bias = shape.width, shape.ffn_width, shape.bias
        self.gate = Linear(width, hidden, device, bias=bias) if shape.activation == "swiglu" else None
        self.up = Linear(width, hidden, device, bias=bias)
        self.down = Linear(hidden, width, device, bias=bias, deviation=1 / math.sqrt(hidden * 2 * shape.layers))

    def forward(self, x_BTC: Tensor) -> Tensor:
        up_BTF = self.up(x_BTC)
        # GPT-2's approximation of GELU by tanh.
        y_BTF = F.gelu(up_BTF, approximate="tanh") if self.gate is None else F.silu(self.gate(x_BTC)) * up_BTF
        y_BTC: Tensor = self.down(y_BTF)
        return y_BTC


class Block(nn.Module):
    """One layer, [B, T, C] -> [B, T, C]: two branches, each of a norm and what it computes, added to the stream.

    Beside the stream it returns scalars, none where the feed-forward layer is dense.
    """

    def __init__(self, shape: Shape, layer: int, device: Device) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = norm_of(shape, device)
        self.attention = Attention(shape, device)
        self.ffn_norm = norm_of(shape, device)
        self.ffn: FeedForward | MixtureOfExperts
        if shape.experts:
            self.ffn = MixtureOfExperts(shape, device, FeedForward(shape, device) if shape.shared_expert else None)
        else:
            self.ffn = FeedForward(shape, device)

    def forward(self, x_BTC: Tensor, where: Where) -> tuple[Tensor, Aux]:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), where, self.layer)
        if isinstance(self.ffn, MixtureOfExperts):
            y_BTC, aux = self.ffn(self.ffn_norm(x_BTC))
            return x_BTC + y_BTC, aux
        return x_BTC + self.ffn(self.ffn_norm(x_BTC)), {}


class Head(Layer):
    """[..., C] -> [..., V]: scores of the next token, by the embedding's matrix where the two are tied.

    softcap > 0 keeps scores within (-softcap, softcap) by softcap * tanh(scores / softcap).
    """

    def __init__(self, shape: Shape, embedding: Embedding, device: Device) -> None:
        super().__init__()
        self.tied, self.softcap = shape.tied, shape.softcap
        own = None if shape.tied else nn.Parameter(torch.empty(shape.vocab_size, shape.width, device=device))
        self.weight = embedding.weight if own is None else own

    def initialize(self, normal: Normal) -> None:
        if not self.tied:
            self.weight.copy_(normal("weight", tuple(self.weight.shape)) * EMBEDDING_DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """Scores in fp32."""
        logits = F.linear(x, self.weight.to(x.dtype)).float()
        return self.softcap * torch.tanh(logits / self.softcap) if self.softcap else logits

    def cross_entropy(
        self, x_BTC: Tensor, target_BT: Tensor, chunk: int, z_weight: float, weight_BT: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As loss.linear_cross_entropy."""
        return linear_cross_entropy(x_BTC, self.weight, target_BT, chunk, z_weight, self.softcap, weight_BT)


class Model(nn.Module):
    """The decoder. Weights are fp32; `dtype` is that of the products, and may be set at any time.

    Blocks are kept in a dict under the names "0", "1", …, so that a part of the dict can be a pipeline stage and
    parameters keep their names whatever the number of machines that the model is spread over.
    """

    def __init__(self, shape: Shape, device: Device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        self.recompute = False  # whether backward computes every block's inside again instead of keeping it
        self.embedding = Embedding(shape.vocab_size, shape.width, device)
        learned = shape.positions == "learned"
        self.position_embedding = Embedding(shape.sequence_length, shape.width, device) if learned else None
        self.blocks = nn.ModuleDict({str(layer): Block(shape, layer, device) for layer in range(shape.layers)})
        self.norm = norm_of(shape, device)
        self.head = Head(shape, self.embedding, device)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(
        self,
        tokens_BT: Tensor,
        documents_BT: Tensor | None = None,
        cache: Cache | None = None,
        counts: Sequence[int] | None = None,
    ) -> Hidden:
        """Hidden states in `dtype`.

        tokens_BT: int64 ids below V. documents_BT numbers the documents of each row; positions then attend within
        their own document only. With a cache the tokens continue what it holds, and row b grows by counts[b] of them
        (by all without counts); what follows those in the row is padding.
        """
        length, device = tokens_BT.shape[1], tokens_BT.device
        positions = cache.positions(length) if cache else torch.arange(length, device=device)
        mask = attention_mask(self.shape, length, device, documents_BT, cache)
        where = Where(self.rope(positions), mask, cache, causal=self.shape.causal)
        x_BTC, aux = self.through(self.embed(tokens_BT, positions), where)
        if cache:
            cache.advance(counts if counts is not None else [length] * len(tokens_BT))
        return Hidden(self.norm(x_BTC), aux)

    def embed(self, tokens_BT: Tensor, positions: Tensor) -> Tensor:
        """What enters the first block, in `dtype`; positions: [T], or [B, T] with a cache."""
        x_BTC: Tensor = self.embedding(tokens_BT)
        if self.position_embedding is not None:
            # Padding may stand beyond the last position; nothing reads it.
            x_BTC = x_BTC + self.position_embedding(positions.clamp(max=self.shape.sequence_length - 1))
        return x_BTC.to(self.dtype)

    def rope(self, positions: Tensor) -> Rope | None:
        """The angles of positions, where they are rotary."""
        return rotary(self.shape, positions, self.dtype) if self.shape.positions == "rotary" else None

    def through(self, x_BTC: Tensor, where: Where) -> tuple[Tensor, Aux]:
        """What the blocks make of the stream, and what they tell beside it."""
        parts = []
        for block in self.blocks.values():
            x_BTC, aux = self._compute(block, x_BTC, where)
            parts.append(aux)
        return x_BTC, collect(parts)

    def _compute(self, block: nn.Module, x_BTC: Tensor, where: Where) -> tuple[Tensor, Aux]:
        if not (self.recompute and torch.is_grad_enabled()):
            result: tuple[Tensor, Aux] = block(x_BTC, where)
            return result
        from torch.utils.checkpoint import checkpoint  # takes a while to import

        result = checkpoint(block, x_BTC, where, use_reentrant=False, preserve_rng_state=False)
        return result

    def logits(self, tokens_BT: Tensor, documents_BT: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Scores of the next token after every position, fp32 [B, T, V]."""
        logits_BTV: Tensor = self.head(self(tokens_BT, documents_BT, cache).x_BTC)
        return logits_BTV

    def next_logits(self, tokens_BT: Tensor, cache: Cache, counts: Sequence[int] | None = None) -> Tensor:
        """Scores of the next token after the last real position of every row, fp32 [B, V]; see `forward`."""
        x_BTC = self(tokens_BT, None, cache, counts).x_BTC
        last = torch.tensor(counts if counts is not None else [x_BTC.shape[1]] * len(x_BTC), device=x_BTC.device) - 1
        logits_BV: Tensor = self.head(x_BTC[torch.arange(len(last), device=last.device), last])
        return logits_BV

    def loss(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        documents_BT: Tensor | None = None,
        *,
        chunk: int = 256,
        z_weight: float = 0.0,
        weight_BT: Tensor | None = None,
    ) -> Losses:
        """Cross-entropy of the targets, with the z-loss and the losses of the blocks; sums over tokens.

        chunk: positions whose logits are in memory at once. z_weight: of (ln sum exp logits)^2. weight_BT: of each
        position's loss, 1 by default; DoReMi's domain weights are such.
        """
        x_BTC, aux = self(tokens_BT, documents_BT)
        total, nats_BT = self.head.cross_entropy(x_BTC, targets_BT, chunk, z_weight, weight_BT)
        return Losses(sum(losses_of(aux), total), nats_BT, aux)

    @torch.no_grad()
    def nats(
        self, tokens_BT: Tensor, targets_BT: Tensor, documents_BT: Tensor | None = None, *, chunk: int = 256
    ) -> Tensor:
        """-ln p of every target, fp32 [B, T]; 0 where the target is IGNORE. Of masked diffusion an estimate of a bound
        of the row's sum, the mean of DRAWS draws."""
        if self.shape.causal:
            return self.head.cross_entropy(self(tokens_BT, documents_BT).x_BTC, targets_BT, chunk, 0.0, None)[1]
        nats_BT = torch.zeros(targets_BT.shape, device=targets_BT.device)
        for number in range(DRAWS):
            inputs_BT, weight_BT = draw(targets_BT, tokens_BT, self.shape.vocab_size - 1, number, DRAWS)
            x_BTC = self(inputs_BT, documents_BT).x_BTC
            nats_BT += self.head.cross_entropy(x_BTC, targets_BT, chunk, 0.0, None)[1] * weight_BT / DRAWS
        return nats_BT


def attention_mask(
    shape: Shape, length: int, device: Device, documents_BT: Tensor | None, cache: Cache | None
) -> Tensor | None:
    """True where a position may look: backwards, within the window and its document; [1 or B, 1, T, S].

    None stands for plain attention, causal or not, for which the kernel needs no mask and is faster. Documents are for
    training, where there is no cache and S = T. A model that is not causal looks forwards too, and has no window.
    """
    starts = cache.lengths if cache else [0]
    span = max(starts) + length
    alike = len(set(starts)) == 1
    windowed = 0 < shape.window < span
    if documents_BT is None and not windowed and alike and (starts[0] == 0 or length == 1):
        return None
    # Position start + t, the t-th of the new ones, sees positions 0 … start + t.
    start_B11 = torch.tensor(starts[:1] if alike else starts, device=device).view(-1, 1, 1)
    query_BT1 = start_B11 + torch.arange(length, device=device).view(1, -1, 1)
    key_S = torch.arange(span, device=device)
    seen_BTS = key_S <= query_BT1 if shape.causal else torch.ones_like(key_S <= query_BT1)
    if windowed:
        seen_BTS = seen_BTS & (key_S > query_BT1 - shape.window)
    if documents_BT is not None:
        seen_BTS = seen_BTS & (documents_BT[:, :, None] == documents_BT[:, None, :])
    return seen_BTS.unsqueeze(1)


def build(shape: Shape, seed: int, device: Device = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """A model with initial weights."""
    model = Model(shape, device, dtype)
    initialize(model, seed)
    return model


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All that a checkpoint holds of a model: every parameter once, by its first name, and the routers' biases; of
    each what this process holds."""
    return {name: local(one) for name, one in (*model.named_parameters(), *model.named_buffers())}


@torch.no_grad()
def fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the values of `tensors` in place; the names and shapes are those of `tensors_of`."""
    for name, tensor in tensors_of(model).items():
        tensor.copy_(tensors[name])


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
