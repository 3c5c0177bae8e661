"""Where the words of a classifier start: at what the examples say of each word, so that few steps of training are left.

A mean of word vectors that start at random takes many steps until rare words count for what they tell and common ones
for little, and has learned the examples by heart by then. Here every label is an axis, and a word starts at the shares
of the labels among the examples that hold it, less those of a word that tells nothing, times its IDF.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

PRIOR = 0.1  # examples of each label, on average, that every word is taken to be in beside those that hold it


def vectors(
    labels: Sequence[str], tokens: Sequence[Sequence[str]], dim: int, min_count: int
) -> tuple[list[str], np.ndarray]:
    """(words, float64 [words, dim]) from the label and the tokens of each example.

    The words are those that the examples hold at least `min_count` times, in the order of their first place.
    """
    counts = Counter(word for words in tokens for word in words)
    places = {word: place for place, word in enumerate(word for word, n in counts.items() if n >= min_count)}
    sizes = Counter(labels)
    names = sorted(sizes)
    held = np.zeros((len(places), len(names)))
    for label, words in zip(labels, tokens, strict=True):
        held[[places[word] for word in set(words) if word in places], names.index(label)] += 1
    # Of labels as large as one another, so that a rare word does not speak for the largest label.
    rates = held / [sizes[name] for name in names] + PRIOR * len(names) / len(labels)
    told = rates / rates.sum(axis=1, keepdims=True) - 1 / len(names)
    return list(places), told * np.log(len(labels) / held.sum(axis=1, keepdims=True)) @ _axes(len(names), dim)


def _axes(labels: int, dim: int) -> np.ndarray:
    """[labels, dim]: a direction of length 1 for each label; nearly at right angles where there are more than dim."""
    if labels <= dim:
        return np.eye(labels, dim)
    found: np.ndarray = np.random.default_rng(1).choice([-1.0, 1.0], (labels, dim)) / np.sqrt(dim)
    return found


def lines(words: Sequence[str], found: np.ndarray) -> Iterator[str]:
    """The lines of a file of word vectors as fastText reads it."""
    yield f"{found.shape[0]} {found.shape[1]}\n"
    for word, row in zip(words, found, strict=True):
        yield f"{word} {' '.join(f'{value:.6g}' for value in row.tolist())}\n"
