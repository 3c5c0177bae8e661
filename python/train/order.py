"""Which rows a step reads: a pure function of (seed, phases, row number), the same for every world size.

A run is a sequence of rows g = 0, 1, 2, …; step n reads rows n * batch … (n + 1) * batch, and rank r of w takes
every w-th of them, from the r-th on. So nothing but the step number has to be saved, and a run may continue at
any step on any number of machines.

    phases   stretches of rows with their own weights of the sources
    blocks   512 rows of a phase; the rows of each source are apportioned by the largest remainders (Hamilton's
             method), and what rounding takes from a source is carried to the next block, over a cycle of 64
             blocks: a source with a weight of 1 / 30,000 is drawn too. Within a block the rows of a source are
             spread evenly with jitter, so that any part of it holds the weights to about one row.
    draws    the k-th draw of a source with R rows is row permutation(k mod R) of epoch k div R. The permutation
             is a Feistel network on two mixed digits (Black & Rogaway 2002): no table, computed at any place.

A block takes about 0.1 ms a source, so that the order runs at more than 50,000 rows a second from any start.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Word = npt.NDArray[np.uint64]

BLOCK = 512
CYCLE = 64
ROUNDS = 6


def _key(*parts: object) -> np.uint64:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _mix(x: Word) -> Word:
    """splitmix64's finalizer: every bit of the input changes half the bits of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(index: Int, size: int, key: np.uint64) -> Int:
    """The images of `index` (values 0 … size-1) under the permutation of 0 … size-1 that `key` names.

    A value is two digits x = left * b + right with a * b just above size; each round adds a hash of one digit to
    the other. An image beyond size is permuted again until it falls inside (cycle walking).
    """
    a = int(np.ceil(np.sqrt(size))) or 1
    b = -(-size // a)
    image: Word = index.astype(np.uint64)
    inside = np.zeros(image.shape, dtype=bool)
    while not inside.all():
        left, right = np.divmod(image[~inside], np.uint64(b))
        for turn in range(0, ROUNDS, 2):
            with np.errstate(over="ignore"):
                left = (left + _mix(right + key + np.uint64(turn)) % np.uint64(a)) % np.uint64(a)
                right = (right + _mix(left ^ key + np.uint64(turn + 1)) % np.uint64(b)) % np.uint64(b)
        image[~inside] = left * np.uint64(b) + right
        inside = image < size
    return image.astype(np.int64)


def apportion(total: int, quota: npt.NDArray[np.float64]) -> Int:
    """`total` seats by the method of the largest remainders; ties go to the earlier one."""
    exact = quota / quota.sum() * total
    seats: Int = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - seats), kind="stable")
    seats[order[: total - int(seats.sum())]] += 1
    return seats


@dataclass(frozen=True)
class Phase:
    """A stretch of `rows` rows; weights by source, positive, sum 1; max_epochs counts from the start of the run."""

    name: str
    rows: int
    weights: Mapping[str, float]
    max_epochs: Mapping[str, float]


class RowOrder:
    """The order in which a run reads rows, over sources with `rows[name]` packed rows each."""

    def __init__(self, seed: int, rows: Mapping[str, int], phases: Sequence[Phase]) -> None:
        self.seed, self.rows, self.phases = seed, dict(sorted(rows.items())), tuple(phases)
        self.names = list(self.rows)
        self.starts = np.cumsum([0, *(phase.rows for phase in phases)])  # first row of each phase, then the end
        self._cycles = [self._cycle(phase) for phase in phases]
        self._cached: tuple[tuple[int, int], tuple[Int, Int]] | None = None
        self._before = [np.zeros(len(self.names), dtype=np.int64)]  # draws of each source before each phase
        for index, phase in enumerate(phases):
            self._before.append(self._draws_until(index, phase.rows))

    def _cycle(self, phase: Phase) -> Int:
        """Draws of every source before each block of a cycle, [CYCLE + 1, sources]."""
        weights: npt.NDArray[np.float64] = np.array([phase.weights.get(name, 0.0) for name in self.names])
        weights /= weights.sum()
        drawn = np.zeros((CYCLE + 1, len(weights)), dtype=np.int64)
        for block in range(CYCLE):
            due = np.maximum(weights * BLOCK * (block + 1) - drawn[block], 0.0)
            drawn[block + 1] = drawn[block] + apportion(BLOCK, due)
        return drawn

    def _draws_until(self, phase: int, rows: int) -> Int:
        """Draws of every source before row `rows` of a phase, earlier phases included."""
        block, rest = divmod(rows, BLOCK)
        whole, part = divmod(block, CYCLE)
        drawn: Int = self._before[phase] + whole * self._cycles[phase][CYCLE] + self._cycles[phase][part]
        return drawn + np.bincount(self._sources(phase, block)[:rest], minlength=len(self.names))

    def _sources(self, phase: int, block: int) -> Int:
        """The source of each of a block's 512 rows: of n rows of a source, the i-th is at a random place in the i-th
        of n equal parts of the block."""
        cycle, turn = self._cycles[phase], block % CYCLE
        counts = cycle[turn + 1] - cycle[turn]
        sources = np.repeat(np.arange(len(counts)), counts)
        ranks = np.arange(BLOCK) - np.repeat(np.cumsum(counts) - counts, counts)
        with np.errstate(over="ignore"):
            noise = _mix(np.arange(BLOCK, dtype=np.uint64) + _key(self.seed, "block", phase, block))
        place = (ranks + (noise >> np.uint64(11)) / 2.0**53) / counts[sources]
        order: Int = np.argsort(place, kind="stable")
        return sources[order]

    def _block(self, phase: int, block: int) -> tuple[Int, Int]:
        """(source, packed row) of a block's 512 rows. The last block is remembered."""
        if self._cached and self._cached[0] == (phase, block):
            return self._cached[1]
        sources, rows = self._sources(phase, block), np.empty(BLOCK, dtype=np.int64)
        before = self._draws_until(phase, block * BLOCK)
        for source, name in enumerate(self.names):
            places = np.flatnonzero(sources == source)
            if places.size == 0:
                continue
            epochs, index = np.divmod(before[source] + np.arange(places.size), self.rows[name])
            for epoch in np.unique(epochs):
                now = epochs == epoch
                rows[places[now]] = permute(index[now], self.rows[name], _key(self.seed, "rows", name, epoch))
        self._cached = ((phase, block), (sources, rows))
        return sources, rows

    @property
    def total(self) -> int:
        """Rows of the whole run."""
        return int(self.starts[-1])

    def take(self, start: int, stop: int) -> tuple[Int, Int]:
        """(source, packed row) of the run's rows start … stop-1; sources are numbered as in `names`."""
        sources, rows = [], []
        while start < stop:
            phase = int(np.searchsorted(self.starts, start, side="right")) - 1
            block, place = divmod(start - int(self.starts[phase]), BLOCK)
            n = min(stop, int(self.starts[phase + 1]), start + BLOCK - place) - start
            block_sources, block_rows = self._block(phase, block)
            sources.append(block_sources[place : place + n])
            rows.append(block_rows[place : place + n])
            start += n
        return np.concatenate(sources), np.concatenate(rows)

    def step(self, step: int, batch_rows: int, rank: int = 0, world: int = 1) -> tuple[Int, Int]:
        """What rank `rank` of `world` reads in a step: every world-th row of the batch, from the rank-th on."""
        sources, rows = self.take(step * batch_rows, (step + 1) * batch_rows)
        return sources[rank::world], rows[rank::world]

    def shortfalls(self) -> list[tuple[str, str, int, float]]:
        """(phase, source, rows needed so far, epochs allowed so far) wherever more is needed than allowed.

        Up to 0.1 % and two rows more are allowed, since weights and blocks are rounded.
        """
        short = []
        for index, phase in enumerate(self.phases):
            for source, name in enumerate(self.names):
                need, limit = int(self._before[index + 1][source]), phase.max_epochs.get(name, np.inf)
                if need > limit * self.rows[name] * 1.001 + 2:
                    short.append((phase.name, name, need, float(limit)))
        return short

    def digest(self) -> str:
        """SHA-256 of all that the order depends on; checkpoints hold it, under the name `plan`."""
        phases = [[p.name, p.rows, sorted(p.weights.items())] for p in self.phases]
        facts = {"seed": self.seed, "rows": self.rows, "phases": phases, "version": [BLOCK, CYCLE, ROUNDS]}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
