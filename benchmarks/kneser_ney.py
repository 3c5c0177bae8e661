"""An interpolated Kneser-Ney model of token n-grams, for what a small model has to beat (Chen & Goodman 1998).

    p_n(w | h) = max(c(h w) - D, 0) / c(h) + D * types(h) / c(h) * p_(n-1)(w | h without its first token)

c counts tokens at the highest order, and below it the distinct tokens before the n-gram. D = n1 / (n1 + 2 n2) by
order, n1 and n2 being how many n-grams are counted once and twice; p_0 is uniform. An n-gram is known by a 64-bit
polynomial of its tokens: of ten million, two are alike with a chance below 1e-5.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ORDER = 5
PRIME = np.uint64(0x9E3779B97F4A7C15)
Keys = npt.NDArray[np.uint64]


def grams(pieces: Sequence[npt.NDArray[np.int64]], start: int) -> npt.NDArray[np.int64]:
    """All n-grams of ORDER tokens that end at a target, [N, ORDER]; pieces are a token before, then the targets."""
    parts = []
    for piece in pieces:
        padded = np.concatenate((np.full(ORDER - 2, start), piece))
        parts.append(np.lib.stride_tricks.sliding_window_view(padded, ORDER))
    return np.concatenate(parts)


def keys(tokens: npt.NDArray[np.int64]) -> Keys:
    """The key of every row of tokens."""
    key = np.full(len(tokens), np.uint64(tokens.shape[1] + 1))
    for column in tokens.T:
        key = (key ^ column.astype(np.uint64)) * PRIME
        key ^= key >> np.uint64(29)
    return key


class Level:
    """The counts of one order: of n-grams, and of their contexts."""

    def __init__(self, tokens: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        """tokens: distinct n-grams [M, n]."""
        order = np.argsort(keys(tokens))
        self.keys, self.counts = keys(tokens)[order], counts[order]
        context = keys(tokens[:, :-1])
        self.contexts, inverse = np.unique(context, return_inverse=True)
        self.totals, self.types = np.bincount(inverse, counts), np.bincount(inverse)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once else 0.0

    def probability(self, tokens: npt.NDArray[np.int64], lower: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """p of the last token of every n-gram; lower: under the order below, which also stands for unseen contexts."""
        found, place = _find(self.keys, keys(tokens))
        count = np.where(found, self.counts[place], 0)
        known, where = _find(self.contexts, keys(tokens[:, :-1]))
        total = np.where(known, self.totals[where], 1)
        mixed = np.maximum(count - self.discount, 0) / total + self.discount * self.types[where] / total * lower
        return np.where(known, mixed, lower)


def _find(sorted_keys: Keys, wanted: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    place = np.searchsorted(sorted_keys, wanted).clip(max=len(sorted_keys) - 1)
    return sorted_keys[place] == wanted, place


class KneserNey:
    """Trained on n-grams as `grams` gives them."""

    def __init__(self, tokens: npt.NDArray[np.int64], vocab_size: int) -> None:
        self.vocab_size, self.levels = vocab_size, []
        _, first, counts = np.unique(keys(tokens), return_index=True, return_counts=True)
        distinct = tokens[first]
        for _ in range(ORDER):
            self.levels.append(Level(distinct, counts))
            shorter = distinct[:, 1:]
            _, first, counts = np.unique(keys(shorter), return_index=True, return_counts=True)
            distinct = shorter[first]

    def nats(self, tokens: npt.NDArray[np.int64]) -> float:
        """-ln p of the last token of every n-gram, summed."""
        p = np.full(len(tokens), 1 / self.vocab_size)
        for order, level in enumerate(reversed(self.levels), 1):
            p = level.probability(tokens[:, ORDER - order :], p)
        return float(-np.log(p).sum())
