"""Text from a model, one token at a time for every row, with the keys and values of earlier positions kept.

A model of masked diffusion fills in all new tokens of a row instead (fill_in), a text after the other.

The end-of-document id starts the prompt, as it starts every document in training, and ends the text. A sample is a
function of (prompt, settings, seed, its number among those of the prompt), whatever rows stand beside it. When a text
grows beyond the row length that the model was trained with, it goes on from the last half of a row.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from curate.config import Settings, setting
from curate.errors import ConfigError
from train import checkpoint
from train.cache import Cache
from train.machine import pick_device, set_threads
from train.model import Model


class Sampling(Settings):
    """How the next token is chosen. In this order: repetition_penalty, temperature, top_k, top_p, min_p."""

    tokens: int = setting(100, "at most so many new ones", unit="tokens", ge=1)
    temperature: float = setting(0.8, "divides the scores; 0 takes the likeliest token", ge=0)
    top_k: int = setting(0, "only the k likeliest tokens; 0 for all", ge=0)
    top_p: float = setting(0.95, "only the likeliest tokens that together hold this probability", gt=0, le=1)
    min_p: float = setting(0.0, "only tokens at least so likely as a part of the likeliest", ge=0, le=1)
    repetition_penalty: float = setting(
        1.0, "divides positive scores of tokens that the text has, multiplies negative ones", gt=0
    )
    seed: int = setting(1, "of the sample", ge=0)


def choose(logits_V: Tensor, sampling: Sampling, generator: torch.Generator, text: Sequence[int] = ()) -> int:
    """A token id drawn from scores [V]; text: the ids so far."""
    if sampling.repetition_penalty != 1 and text:
        seen = torch.tensor(sorted(set(text)), device=logits_V.device)
        scores = logits_V[seen]
        factor = torch.where(scores > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
        logits_V = logits_V.index_copy(0, seen, scores * factor)
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    logits_V = logits_V / sampling.temperature
    if sampling.top_k:
        least = logits_V.topk(min(sampling.top_k, len(logits_V))).values[-1]
        logits_V = logits_V.masked_fill(logits_V < least, -torch.inf)
    p_V, order_V = logits_V.softmax(dim=-1).sort(descending=True, stable=True)
    outside_V = p_V.cumsum(dim=-1) - p_V >= sampling.top_p  # the token that crosses the limit still counts
    outside_V |= p_V < sampling.min_p * p_V[0]
    p_V = p_V.masked_fill(outside_V, 0.0).cpu()
    return int(order_V[torch.multinomial(p_V, 1, generator=generator)])


def generate(
    model: Model, prompts: Sequence[Sequence[int]], end_of_document: int, sampling: Sampling, cached: bool = True
) -> Iterator[dict[int, int]]:
    """New token ids of every prompt that goes on, by its number, a token each at a time.

    A row ends with the end-of-document id (not yielded) or at sampling.tokens. The n-th of equal prompts draws from the
    seed and n.
    Without `cached` every token is computed from the whole text again: the same result, slowly; for tests.
    """
    limit = model.shape.sequence_length
    texts = [[end_of_document, *prompt] for prompt in prompts]
    windows = {row: text[-limit:] for row, text in enumerate(texts)}
    seen: Counter[tuple[int, ...]] = Counter()
    draws = []
    for prompt in prompts:
        draws.append(_generator(sampling.seed, seen[tuple(prompt)]))
        seen[tuple(prompt)] += 1
    state = _Cached(model, limit) if cached else None
    for _ in range(sampling.tokens):
        for row, window in windows.items():
            if len(window) > limit:
                windows[row] = window[-(limit // 2) :]
        with torch.no_grad():
            logits = state.next_logits(windows) if state else {row: _plain(model, w) for row, w in windows.items()}
        new = {row: choose(logits[row], sampling, draws[row], texts[row]) for row in windows}
        windows = {row: [*windows[row], token] for row, token in new.items() if token != end_of_document}
        for row in windows:
            texts[row].append(new[row])
        if not windows:
            return
        yield {row: new[row] for row in windows}


def _generator(seed: int, number: int) -> torch.Generator:
    # 32 bits, all that torch's generator on the CPU takes of a seed.
    key = hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4]
    return torch.Generator().manual_seed(int.from_bytes(key, "little"))


def _plain(model: Model, window: Sequence[int]) -> Tensor:
    return model.logits(torch.tensor([window], device=model.device))[0, -1]


def fill_in(model: Model, prompt: Sequence[int], sampling: Sampling, number: int, end_of_document: int) -> list[int]:
    """New token ids behind a prompt, by masked diffusion: all start masked, and a pass over the row fixes one of them.

    Every masked place draws a token, and the place that is surest of its own keeps it (arXiv 2502.09992: low-confidence
    remasking). What follows the first end-of-document id is left out. number: of the sample among those of the prompt.
    """
    mask, limit = model.shape.vocab_size - 1, model.shape.sequence_length
    known = list(prompt)[-(limit - min(limit, sampling.tokens)) :] if sampling.tokens < limit else []
    row = torch.tensor([*known, *[mask] * min(sampling.tokens, limit)], device=model.device)
    generator, left = _generator(sampling.seed, number), list(range(len(known), len(row)))
    while left:
        with torch.no_grad():
            logits_TV = model.logits(row.unsqueeze(0))[0]
        logits_TV[:, mask] = -torch.inf
        sure_TV, text = logits_TV.softmax(-1), [one for one in row.tolist() if one != mask]
        drawn = {place: choose(logits_TV[place], sampling, generator, text) for place in left}
        best = max(left, key=lambda place: float(sure_TV[place, drawn[place]]))
        row[best] = drawn[best]
        left.remove(best)
    new: list[int] = row[len(known) :].tolist()
    return new[: new.index(end_of_document)] if end_of_document in new else new


class _Cached:
    """The cache of the rows that go on, and what it holds of each."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.model, self.capacity = model, capacity
        self.rows: list[int] = []
        self.cache: Cache | None = None

    def next_logits(self, windows: dict[int, list[int]]) -> dict[int, Tensor]:
        """Scores [V] of the token after every window. A window is what it was, with one token more, or a new one."""
        rows, model = list(windows), self.model
        if self.cache is None:
            # Prompts of every length at once: a row is padded at its right end up to the longest.
            counts = [len(windows[row]) for row in rows]
            padded = [windows[row] + [0] * (max(counts) - len(windows[row])) for row in rows]
            self.cache = Cache(model.shape, len(rows), self.capacity, model.dtype, model.device)
            logits_BV = model.next_logits(torch.tensor(padded, device=model.device), self.cache, counts)
        else:
            if rows != self.rows:
                self.cache = self.cache.keep([self.rows.index(row) for row in rows])
            for place, row in enumerate(rows):
                if len(windows[row]) != self.cache.lengths[place] + 1:  # cut: all but its last token anew
                    again, one = windows[row][:-1], self.cache.row(place)
                    if again:
                        model(torch.tensor([again], device=model.device), cache=one)
                    self.cache.lengths[place] = one.lengths[0]
            last = torch.tensor([[windows[row][-1]] for row in rows], device=model.device)
            logits_BV = model.next_logits(last, self.cache)
        self.rows = rows
        return dict(zip(rows, logits_BV, strict=True))


class Writer:
    """A trained model with its tokenizer: text in, text out."""

    def __init__(self, folder: Path, device: str = "auto", threads: int = 0) -> None:
        """Raises DataError where folder holds no model or no tokenizer."""
        from curate.tokenizer.model import open_encoder

        set_threads(threads)
        self.trained = checkpoint.open_model(folder, pick_device(device))
        self.encoder = open_encoder(checkpoint.tokenizer_of(self.trained.folder))

    def encode(self, text: str) -> list[int]:
        """Token ids. Raises ConfigError where the text has no encoding."""
        try:
            ids: list[int] = pa.array(self.encoder.encode(pa.array([text], pa.large_string()))).to_pylist()[0]
        except ValueError as error:
            raise ConfigError(f"--prompt: cannot be encoded: {error}") from None
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 as U+FFFD."""
        item = pa.uint16() if self.trained.model.shape.vocab_size <= 1 << 16 else pa.uint32()
        decoded = pa.array(self.encoder.decode(pa.array([ids], pa.large_list(item)))).to_pylist()[0]
        return str(decoded.decode("utf-8", errors="replace"))

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, told: Callable[[str], None] | None = None
    ) -> list[dict[str, Any]]:
        """The continuation of every prompt: prompt, text, tokens.

        told: is given the text of the first prompt piece by piece, as it comes.
        """
        new: list[list[int]] = [[] for _ in prompts]
        shown = ""
        ids = [self.encode(prompt) for prompt in prompts]
        model, end = self.trained.model, self.trained.facts["end_of_document"]
        if not model.shape.causal:
            seen = Counter[str]()
            for row, prompt in enumerate(prompts):
                new[row] = fill_in(model, ids[row], sampling, seen[prompt], end)
                seen[prompt] += 1
        for tokens in generate(model, ids, end, sampling) if model.shape.causal else ():
            for row, token in tokens.items():
                new[row].append(token)
            if told and 0 in tokens:
                text = self.decode(new[0])
                if not text.endswith("\ufffd"):  # in the middle of a character
                    told(text[len(shown) :])
                    shown = text
        texts = [self.decode(one) for one in new]
        if told:
            told(texts[0][len(shown) :])
        return [
            {"prompt": prompt, "text": text, "tokens": len(one)}
            for prompt, text, one in zip(prompts, texts, new, strict=True)
        ]
