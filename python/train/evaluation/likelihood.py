"""-ln p of continuations under a model; what several of them share is computed once.

The candidates of an item mostly share their context, and the items of a task their first lines. So a batch goes
through the model in three parts, each continuing the keys and values of the one before:

    head      what all items of the batch begin with     1 row
    context   what the candidates of an item share        a row an item
    rest      where candidates differ                     a row a candidate

Four options of 10 tokens after 60 tokens of context are 100 positions instead of 280. A text is read as in training:
the end-of-document id first. White space at the end of a context belongs to the continuation, since tokens begin with
their space; the tokens of the continuation are those of the whole text from the first on that differs from the
context's. An item with a candidate longer than a training row has no score (None).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from curate.errors import ConfigError
from curate.tokenizer.model import Encoder
from train.cache import Cache
from train.model import Model

Candidates = Sequence[tuple[str, str]]  # (context, continuation) of each
POSITIONS = 1 << 12  # of all rows of a batch: 16 MB of keys and values of the 5 M model in fp32
ON_GPU = 16  # times as many there
REST = 1 << 10  # positions of the rows whose rests are computed at once, so that alike lengths are together
AT_ONCE = 1 << 10  # items whose tokens are in memory at once
HEAD = 16  # a shorter common head is not worth a pass of its own
LOGITS = 1 << 10  # positions whose logits are in memory at once


class Scored(NamedTuple):
    """A continuation: -ln p of all its tokens, how many they are, its UTF-8 bytes, and whether each was likeliest."""

    nats: float
    tokens: int
    bytes: int
    greedy: bool


class _Group(NamedTuple):
    """An item as tokens: sequences[i] with the end-of-document id first, scored from starts[i] on; all begin with the
    `shared` first tokens of sequences[0]."""

    number: int
    sequences: list[list[int]]
    starts: list[int]
    bytes: list[int]
    shared: int


def encode_all(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts. Raises ConfigError where one has no encoding."""
    try:
        ids = encoder.encode_lists(texts)
    except ValueError as error:
        raise ConfigError(f"a text of the task cannot be encoded: {error}") from None
    return ids


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share at their start."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))


def _tokenize(encoder: Encoder, end_of_document: int, items: Sequence[Candidates], longest: int) -> Iterator[_Group]:
    """The items that fit, as tokens."""
    pairs = [(context.rstrip(), context + option) for candidates in items for context, option in candidates]
    contexts = dict.fromkeys(context for context, _ in pairs)
    ids = dict(zip(contexts, encode_all(encoder, list(contexts)), strict=True))
    wholes, at = encode_all(encoder, [whole for _, whole in pairs]), 0
    for number, candidates in enumerate(items):
        sequences, starts = [], []
        for (context, _), whole in zip(pairs[at:], wholes[at : at + len(candidates)], strict=False):
            sequences.append([end_of_document, *whole])
            starts.append(1 + min(_common(ids[context], whole), len(whole) - 1))
        at += len(candidates)
        if max(map(len, sequences)) - 1 > longest:
            continue
        shared = min([*starts, *(_common(sequences[0], one) for one in sequences[1:])])
        yield _Group(number, sequences, starts, [len(option.encode()) for _, option in candidates], shared)


class Scorer:
    """Scores continuations under one model."""

    def __init__(self, model: Model, encoder: Encoder, end_of_document: int) -> None:
        self.model, self.encoder, self.end_of_document = model, encoder, end_of_document

    def score(self, items: Sequence[Candidates]) -> list[list[Scored] | None]:
        """The candidates of every item; None for an item longer than the model's context."""
        found: list[list[Scored] | None] = []
        for start in range(0, len(items), AT_ONCE):
            found += self._score(items[start : start + AT_ONCE])
        return found

    def _score(self, items: Sequence[Candidates]) -> list[list[Scored] | None]:
        found: list[list[Scored] | None] = [None] * len(items)
        groups = list(_tokenize(self.encoder, self.end_of_document, items, self.model.shape.sequence_length))
        # Alike lengths go together, so that little is padded.
        groups.sort(key=lambda one: (one.shared, max(map(len, one.sequences)), one.number))
        for batch in _batches(groups, POSITIONS * self._scale):
            with torch.no_grad():
                for group, scores in zip(batch, self._batch(batch), strict=True):
                    found[group.number] = scores
        return found

    def _batch(self, groups: Sequence[_Group]) -> list[list[Scored]]:
        prefixes = [group.sequences[0][: group.shared] for group in groups]
        rests = [one[group.shared : -1] for group in groups for one in group.sequences]
        widest, long = max(map(len, rests)), max(map(len, prefixes))
        head = min(_common(prefixes[0], one) for one in prefixes)
        head = min(head, min(map(len, prefixes)) - 1)
        cache = self._cache(1 if head >= HEAD else len(groups), long + widest)
        if head >= HEAD:
            self._forward([prefixes[0][:head]], cache)
            cache, prefixes = cache.keep([0] * len(groups)), [one[head:] for one in prefixes]
        hidden_BTC = self._forward(prefixes, cache)
        last = torch.tensor([len(one) - 1 for one in prefixes], device=hidden_BTC.device)
        last_BC = hidden_BTC[torch.arange(len(prefixes), device=last.device), last]
        owner = [row for row, group in enumerate(groups) for _ in group.sequences]
        return self._gather(groups, owner, last_BC, self._continue(rests, owner, cache))

    def _continue(self, rests: Sequence[Sequence[int]], owner: Sequence[int], cache: Cache) -> list[Tensor]:
        """Hidden states [T, C] of each rest, after the row of the cache that owns it; the longest first."""
        found = [torch.empty(0)] * len(rests)
        order = sorted((row for row in range(len(rests)) if rests[row]), key=lambda row: (len(rests[row]), row))
        while order:
            # The longest that fit, so that the rows of a pass are alike.
            rows = order[-max(1, REST * self._scale // len(rests[order[-1]])) :]
            del order[-len(rows) :]
            hidden_RTC = self._forward([rests[row] for row in rows], cache.keep([owner[row] for row in rows]))
            for row, hidden_TC in zip(rows, hidden_RTC, strict=True):
                found[row] = hidden_TC[: len(rests[row])]
        return found

    @property
    def _scale(self) -> int:
        return ON_GPU if self.model.device.type == "cuda" else 1

    def _cache(self, rows: int, capacity: int) -> Cache:
        return Cache(self.model.shape, rows, capacity, self.model.dtype, self.model.device)

    def _forward(self, rows: Sequence[Sequence[int]], cache: Cache) -> Tensor:
        """Hidden states [B, T, C] of rows that continue what the cache holds, padded at their right ends."""
        counts = [len(row) for row in rows]
        padded = [[*row, *[0] * (max(counts) - len(row))] for row in rows]
        x_BTC: Tensor = self.model(torch.tensor(padded, device=self.model.device), None, cache, counts).x_BTC
        return x_BTC

    def _gather(
        self, groups: Sequence[_Group], owner: Sequence[int], last_BC: Tensor, rests: Sequence[Tensor]
    ) -> list[list[Scored]]:
        """Scores from hidden states: position p of a sequence predicts its token p + 1."""
        states, targets, counts, row = [], [], [], 0
        for group in groups:
            for sequence, start in zip(group.sequences, group.starts, strict=True):
                if start == group.shared:
                    states.append(last_BC[owner[row]].unsqueeze(0))
                if len(rests[row]):
                    states.append(rests[row][max(0, start - group.shared - 1) :])
                targets += sequence[start:]
                counts.append(len(sequence) - start)
                row += 1
        nats, greedy = self._predict(torch.cat(states), torch.tensor(targets, device=last_BC.device))
        sums = iter(zip(torch.split(nats, counts), torch.split(greedy, counts), counts, strict=True))
        found = []
        for group in groups:
            scores = []
            for size in group.bytes:
                one, hits, count = next(sums)
                scores.append(Scored(float(one.sum()), count, size, bool(hits.all())))
            found.append(scores)
        return found

    def _predict(self, x_NC: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """(-ln p of each target in fp64, whether it was the likeliest token), on the CPU."""
        nats, hits = [], []
        for start in range(0, len(x_NC), LOGITS):
            logits_nV = self.model.head(x_NC[start : start + LOGITS])
            target_n = target_N[start : start + LOGITS]
            nats.append(torch.nn.functional.cross_entropy(logits_nV, target_n, reduction="none").double().cpu())
            hits.append((logits_nV.argmax(-1) == target_n).cpu())
        return torch.cat(nats), torch.cat(hits)


def _batches(groups: Sequence[_Group], positions: int) -> Iterator[list[_Group]]:
    """Groups put together while all rows, at the length of the longest, are at most so many positions."""
    batch: list[_Group] = []
    rows = width = 0
    for group in groups:
        wider = max(width, max(map(len, group.sequences)))
        if batch and (rows + len(group.sequences)) * wider > positions:
            yield batch
            batch, rows, wider = [], 0, max(map(len, group.sequences))
        batch.append(group)
        rows, width = rows + len(group.sequences), wider
    if batch:
        yield batch
