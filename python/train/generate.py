"""Text from a model, one token at a time, with the keys and values of earlier positions kept.

The end-of-document id starts the prompt, as it starts every document in training, and ends the text. A sample is
a function of (prompt, settings, seed). When the text grows beyond the row length that the model was trained with,
it goes on from the last half of a row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from curate.config import Settings, setting
from curate.errors import ConfigError
from train import checkpoint
from train.machine import DTYPES, pick_device, set_threads
from train.model import Cache, Model


class Sampling(Settings):
    """How the next token is chosen. The limits apply one after the other: temperature, top_k, top_p."""

    tokens: int = setting(100, "at most so many new ones", unit="tokens", ge=1)
    temperature: float = setting(0.8, "divides the scores; 0 takes the likeliest token", ge=0)
    top_k: int = setting(0, "only the k likeliest tokens; 0 for all", ge=0)
    top_p: float = setting(0.95, "only the likeliest tokens that together hold this probability", gt=0, le=1)
    seed: int = setting(1, "of the sample", ge=0)


def choose(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A token id drawn from scores [V]."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    logits_V = logits_V / sampling.temperature
    if sampling.top_k:
        least = logits_V.topk(min(sampling.top_k, len(logits_V))).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, -torch.inf)
    p_V, order_V = logits_V.softmax(dim=-1).sort(descending=True, stable=True)
    outside_V = p_V.cumsum(dim=-1) - p_V >= sampling.top_p  # the token that crosses the limit still counts
    p_V = p_V.masked_fill(outside_V, 0.0).cpu()
    return int(order_V[torch.multinomial(p_V, 1, generator=generator)])


@torch.no_grad()
def generate(
    model: Model, prompt: list[int], end_of_document: int, sampling: Sampling, dtype: torch.dtype, cached: bool = True
) -> Iterator[int]:
    """New token ids after `prompt`, until the end-of-document id (not yielded) or sampling.tokens.

    Without `cached` every token is computed from the whole text again: the same result, slowly; for tests.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    device, limit = model.embedding.weight.device, model.shape.sequence_length
    window = [end_of_document, *prompt][-limit:]
    cache, new = None, window
    for _ in range(sampling.tokens):
        if len(window) > limit:
            window = window[-(limit // 2) :]
            cache, new = None, window
        if cached and cache is None:
            cache = Cache(model.shape, 1, limit, dtype, device)
        tokens_BT = torch.tensor([new if cached else window], device=device)
        x_BTC = model(tokens_BT, dtype, cache=cache)
        token = choose(model.logits(x_BTC[:, -1:])[0, 0], sampling, generator)
        if token == end_of_document:
            return
        yield token
        window, new = [*window, token], [token]


def complete(folder: Path, prompt: str, sampling: Sampling, device: str = "auto", threads: int = 0) -> dict[str, Any]:
    """The continuation of `prompt` by the newest model in `folder`: prompt, text, tokens, step.

    Raises DataError where folder holds no model or no tokenizer, ConfigError where the prompt has no encoding.
    """
    from curate.tokenizer.model import open_encoder

    set_threads(threads)
    model, settings, index, found = checkpoint.open_model(folder, pick_device(device))
    encoder = open_encoder(checkpoint.tokenizer_of(found))
    try:
        ids = pa.array(encoder.encode(pa.array([prompt], pa.large_string()))).to_pylist()[0]
    except ValueError as error:
        raise ConfigError(f"--prompt: cannot be encoded: {error}") from None
    new = list(generate(model, ids, index["end_of_document"], sampling, DTYPES[settings.precision]))
    tokens = pa.array([new], pa.large_list(pa.uint16() if model.shape.vocab_size <= 1 << 16 else pa.uint32()))
    text = pa.array(encoder.decode(tokens)).to_pylist()[0].decode("utf-8", errors="replace")
    return {"prompt": prompt, "text": text, "tokens": len(new), "step": index["step"], "checkpoint": str(found)}
