"""One teacher-forced pass over spans: what greedy generation would have written, without generating.

Greedy generation from a prefix gives the true suffix exactly where every token of the suffix is the likeliest after the
true tokens before it: up to the first token that differs, both have read the same. So one pass over prefix and suffix
together answers what `suffix` passes over one token each would. The prompt is what `train generate --prompt` gives: the
end-of-document id, which starts every document, then the prefix.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from curate.errors import ConfigError
from train.model import Model
from train.shards import Int

Floats = npt.NDArray[np.float32]

ROWS = 32  # spans of a forward pass
POSITIONS = 1024  # whose scores are in memory at once


class Drawing(NamedTuple):
    """How a sampled continuation is drawn: scores divided by `temperature`, of the top_k likeliest tokens (0: all)."""

    temperature: float = 1.0
    top_k: int = 40


class Forced(NamedTuple):
    """Of N spans: `correct` [N, S], whether a token of the suffix is the likeliest; `drawn` [N], ln of the probability
    that a drawn continuation is the suffix, -inf where top_k rules it out; `nats` [N, L], -ln p of every token, and
    `standard` [N, L], (ln p - mean) / deviation over the vocabulary, both weighted by p (Min-K%++)."""

    correct: npt.NDArray[np.bool_]
    drawn: Floats
    nats: Floats
    standard: Floats


def check_length(model: Model, length: int) -> None:
    """Raise ConfigError where spans are longer than the rows that the model was trained on."""
    limit = model.shape.sequence_length
    if length > limit:
        raise ConfigError(
            f"prefix and suffix together have {length} tokens, and the model was trained on rows of {limit}; "
            "give a shorter prefix or suffix"
        )


@torch.no_grad()
def forced(model: Model, spans_NL: Int, end_of_document: int, suffix: int, drawing: Drawing | None = None) -> Forced:
    """The pass. Without `drawing` only `correct` is worked out, and the others are empty."""
    n, length = spans_NL.shape
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(spans_NL), ROWS):
        span_BL = torch.from_numpy(spans_NL[start : start + ROWS]).to(model.device)
        x_BLC = model(_inputs(span_BL, end_of_document)).x_BTC
        if drawing is None:
            x_BSC, target_BS = x_BLC[:, -suffix:], span_BL[:, -suffix:]
            right = [
                model.head(x_nC).argmax(-1) == target_n
                for x_nC, target_n in zip(*(_chunks(x) for x in (x_BSC, target_BS)), strict=True)
            ]
            parts.append((torch.cat(right).view(target_BS.shape).cpu(),))
        else:
            parts.append(tuple(one.cpu() for one in _measured(model, x_BLC, span_BL, suffix, drawing)))
    none = np.zeros((n, 0), np.float32)
    if drawing is None or not parts:
        correct = torch.cat([one for (one,) in parts]).numpy() if parts else np.zeros((0, suffix), bool)
        empty = np.zeros((0, length), np.float32) if drawing else none
        return Forced(correct, none.sum(axis=1), empty, empty)
    return Forced(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def _inputs(span_BL: Tensor, end_of_document: int) -> Tensor:
    """What is before every token of the spans."""
    return torch.cat((torch.full_like(span_BL[:, :1], end_of_document), span_BL[:, :-1]), dim=1)


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """[B, T, …] as pieces of at most POSITIONS positions."""
    return torch.split(x.flatten(0, 1), POSITIONS)


def _measured(model: Model, x_BLC: Tensor, span_BL: Tensor, suffix: int, drawing: Drawing) -> tuple[Tensor, ...]:
    columns = []
    for x_nC, target_n in zip(_chunks(x_BLC), _chunks(span_BL), strict=True):
        score_nV, index_n1 = model.head(x_nC), target_n.unsqueeze(1)
        log_nV = score_nV.log_softmax(-1)
        p_nV = log_nV.exp()
        log_n = log_nV.gather(1, index_n1).squeeze(1)
        mean_n = (p_nV * log_nV).sum(-1)
        deviation_n = ((p_nV * log_nV.square()).sum(-1) - mean_n.square()).clamp(min=1e-12).sqrt()
        bent_nV = score_nV / drawing.temperature
        if 0 < drawing.top_k < bent_nV.shape[1]:
            least_n1 = bent_nV.topk(drawing.top_k).values[:, -1:]
            bent_nV = bent_nV.masked_fill(bent_nV < least_n1, -math.inf)
        drawn_n = bent_nV.gather(1, index_n1).squeeze(1) - bent_nV.logsumexp(-1)
        columns.append((score_nV.argmax(-1) == target_n, drawn_n, -log_n, (log_n - mean_n) / deviation_n))
    correct, drawn, nats, standard = (torch.cat(column).view(span_BL.shape) for column in zip(*columns, strict=True))
    return correct[:, -suffix:], drawn[:, -suffix:].sum(-1), nats, standard


def known(correct_NS: npt.NDArray[np.bool_]) -> Int:
    """How many tokens of each suffix greedy generation writes before the first wrong one."""
    wrong = ~correct_NS
    return np.asarray(np.where(wrong.any(axis=1), wrong.argmax(axis=1), correct_NS.shape[1]))


def extracted(drawn: Floats, n: int) -> npt.NDArray[np.float64]:
    """The chance that at least one of n drawn continuations is the suffix: 1 - (1 - p)^n, (n, p)-discoverable where it
    is p or more (arXiv 2410.19482)."""
    p = np.minimum(np.exp(drawn.astype(np.float64)), 1 - 1e-12)
    return np.asarray(-np.expm1(n * np.log1p(-p)))
