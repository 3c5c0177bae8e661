"""Spans of documents whose second part a model may know by heart: where they lie, and how often they are in training.

A span is `prefix + suffix` tokens of one piece of a document as training read it (packing.py), the end-of-document id
left out; of a document at most one is taken, so that spans are independent of each other. Which ones is decided by the
seed alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from train.audit.history import Read
from train.packing import Packed
from train.shards import Int, Shards, Source

Word = npt.NDArray[np.uint64]

# Windows are compared by a polynomial of their tokens modulo 2^64. The base is odd, so that it has an inverse: then
# sums from the beginning of a chunk serve all windows, and nothing is computed anew for each.
BASE = np.uint64(0x9E3779B97F4A7C15)
CHUNK_TOKENS = 1 << 22


class Spans(NamedTuple):
    """N spans; of each its tokens [N, L], the number of its source, the document there, the first token in it, and what
    training did with the row that holds it: times read, last step (-1: never)."""

    tokens: Int
    source: Int
    document: Int
    start: Int
    times: Int
    last_step: Int

    def take(self, which: Int) -> "Spans":
        """These of them."""
        return Spans(*(part[which] for part in self))


class Sampled(NamedTuple):
    """spans, and how many documents were passed over: `short` have no piece that is long enough, `unread` none in a row
    that training reached."""

    spans: Spans
    documents: int
    short: int
    unread: int


def sample(packed: Sequence[Packed], read: Sequence[Read] | None, length: int, count: int, seed: int) -> Sampled:
    """At most `count` spans of `length` tokens (0: of all documents); with `read`, of rows that were read."""
    found, short, unread, documents = [], 0, 0, 0
    for number, one in enumerate(packed):
        n = one.source.documents
        row = np.repeat(np.arange(one.rows), np.diff(one.first))
        last = one.start + one.length.astype(np.int64) == one.source.lengths()[one.doc]  # it ends with the end's id
        room = one.length.astype(np.int64) - last - length
        known = np.ones(len(row), bool) if read is None else read[number].times[row] > 0
        fits, documents = room >= 0, documents + n
        long = np.bincount(one.doc[fits], minlength=n) > 0
        seen = np.bincount(one.doc[fits & known], minlength=n) > 0
        short, unread = short + int((~long).sum()), unread + int((long & ~seen).sum())
        pieces = np.flatnonzero(fits & known)
        found.append(np.stack((np.full(len(pieces), number), pieces, one.doc[pieces], row[pieces], room[pieces])))
    source, piece, document, row, room = np.concatenate(found, axis=1) if found else np.zeros((5, 0), np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(piece))
    _, first = np.unique(np.stack((source, document))[:, order], axis=1, return_index=True)
    chosen = order[np.sort(first)[: count or None]]
    offset = (rng.random(len(chosen)) * (room[chosen] + 1)).astype(np.int64)
    spans = [
        _read(packed[s], p, d, r, o, length, read[s] if read else None)
        for s, p, d, r, o in zip(*(x[chosen].tolist() for x in (source, piece, document, row)), offset, strict=True)
    ]
    parts = list(zip(*spans, strict=True)) or [()] * 4
    tokens = np.array(parts[0], np.int64).reshape(-1, length)
    start, times, last_step = (np.array(part, np.int64) for part in parts[1:])
    return Sampled(Spans(tokens, source[chosen], document[chosen], start, times, last_step), documents, short, unread)


def _read(
    packed: Packed, piece: int, document: int, row: int, offset: int, length: int, read: Read | None
) -> tuple[Int, int, int, int]:
    """(tokens, first token in the document, times read, last step) of one span."""
    start = int(packed.start[piece]) + int(offset)
    tokens = document_tokens(packed.source, document)[start : start + length].astype(np.int64)
    return tokens, start, int(read.times[row]) if read else 0, int(read.last_step[row]) if read else -1


def document_tokens(source: Source, document: int) -> npt.NDArray[np.integer]:
    """The tokens of a document, the end-of-document id last."""
    number = int(np.searchsorted(source.first, document, side="right")) - 1
    chunk, place = source.chunks[number], document - int(source.first[number])
    return chunk.values[chunk.offsets[place] : chunk.offsets[place + 1]]


def occurrences(shards: Shards, spans_NL: Int) -> Int:
    """How often each span's tokens stand in the shards, one after the other, itself included.

    One pass over all tokens; equal hashes are compared token by token. A window never holds an end of a document, so
    that it lies in one document.
    """
    n, length = spans_NL.shape
    if not n:
        return np.zeros(0, np.int64)
    unique_UL, which = np.unique(spans_NL, axis=0, return_inverse=True)
    powers = _powers(BASE, CHUNK_TOKENS)
    wanted = (_mixed(unique_UL) * powers[:length]).sum(axis=1, dtype=np.uint64)
    order = np.argsort(wanted)
    counts = np.zeros(len(unique_UL), np.int64)
    inverse = _powers(np.uint64(pow(int(BASE), -1, 1 << 64)), CHUNK_TOKENS)
    for source in shards.sources.values():
        for chunk in source.chunks:
            first, end = int(chunk.offsets[0]), int(chunk.offsets[-1])
            for begin in range(first, end - length + 1, CHUNK_TOKENS - length + 1):
                tokens = chunk.values[begin : min(end, begin + CHUNK_TOKENS)]
                _count(tokens, unique_UL, wanted, order, powers, inverse, counts)
    return counts[which.reshape(-1)]


def _count(
    tokens: npt.NDArray[np.integer], unique_UL: Int, wanted: Word, order: Int, powers: Word, inverse: Word, counts: Int
) -> None:
    length = unique_UL.shape[1]
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(_mixed(tokens) * powers[: len(tokens)], dtype=np.uint64)))
    windows = (sums[length:] - sums[:-length]) * inverse[: len(tokens) - length + 1]
    ranked = wanted[order]
    place = np.minimum(np.searchsorted(ranked, windows), len(ranked) - 1)
    for at in np.flatnonzero(ranked[place] == windows).tolist():
        one = order[place[at]]
        counts[one] += bool((tokens[at : at + length] == unique_UL[one]).all())


def _mixed(tokens: npt.NDArray[np.integer]) -> Word:
    """Tokens as numbers that fill 64 bits, so that sums of them are unlike."""
    words = tokens.astype(np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):
        words = words * np.uint64(0xBF58476D1CE4E5B9)
        return words ^ (words >> np.uint64(29))


def _powers(base: np.uint64, count: int) -> Word:
    """base^0, base^1, … modulo 2^64."""
    powers = np.full(count, base)
    powers[0] = 1
    with np.errstate(over="ignore"):
        return np.multiply.accumulate(powers)
