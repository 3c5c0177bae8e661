"""Which document of which source comes when: the mixture, applied to whole documents.

A phase of a mixture gives each source a number of tokens, its weight times the tokens of the phase. A document begins
where its source has given a share s = tokens before it / tokens due; documents stand in the order of s, equal ones in
that of their sources' names. So every stretch of the phase holds the weights to about one document a source, and a
source gives what is due and less than one document more. Sources are read in the order of their shards, from the start
again where more is due than they hold.

The stage mix rounds weights to six digits. What is due is made whole passes over a source where it is that but for the
rounding, so that a mixture of one pass over everything writes every document once.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ConfigError
from curate.mixture import Mixture, MixturePhase

ROUNDING = 1e-6  # share of a phase by which a rounded weight may be wrong

Int = npt.NDArray[np.int64]


class Documents(NamedTuple):
    """Documents that follow each other in a source: document i has the tokens values[starts[i] : starts[i + 1]]."""

    source: str
    epoch: int  # passes over the source before this one
    ids: pa.Array
    starts: Int  # one more than documents
    values: npt.NDArray[np.unsignedinteger]

    @property
    def documents(self) -> int:
        """Documents."""
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """Tokens of all."""
        return int(self.starts[-1] - self.starts[0])

    def part(self, first: int, end: int) -> "Documents":
        """Documents `first` to `end`, exclusive."""
        return self._replace(ids=self.ids.slice(first, end - first), starts=self.starts[first : end + 1])


Read = Callable[[str, int], Iterator[Documents]]  # (source, epoch) -> its documents in shard order


def due(phase: MixturePhase, available: Mapping[str, int]) -> dict[str, int]:
    """Tokens that each source gives in a phase; `available`: tokens of each. ConfigError for a source without any."""
    total = sum(phase.weights.values())
    found = {}
    for name, weight in sorted(phase.weights.items()):
        if weight <= 0:
            continue
        have = available.get(name, 0)
        if not have:
            raise ConfigError(f"mixture.yaml: the phase {phase.name} takes tokens of {name}, and there are none")
        tokens = weight / total * phase.tokens
        whole = round(tokens / have) * have
        found[name] = whole if whole and abs(whole - tokens) <= ROUNDING * phase.tokens else max(1, round(tokens))
    return found


def mixed(mixture: Mixture, available: Mapping[str, int], read: Read) -> Iterator[Documents]:
    """The documents of all phases, as runs of documents of one source."""
    cursors = {name: _Cursor(name, read) for name in sorted(available)}
    for phase in mixture.phases:
        wanted = due(phase, available)
        for name, tokens in wanted.items():
            cursors[name].begin(tokens)
        # Of each source the share at which its next document begins. The smallest is next, up to where another is.
        heads = [(0.0, name) for name in sorted(wanted)]
        while heads:
            _, name = heapq.heappop(heads)
            yield cursors[name].take(heads[0] if heads else None)
            if (share := cursors[name].share) < 1:
                heapq.heappush(heads, (share, name))


@dataclass
class _Cursor:
    """Where the reading of a source stands, and of the batch at hand the share at which each document begins."""

    name: str
    read: Read
    epoch: int = -1
    batches: Iterator[Documents] = field(default_factory=lambda: iter(()))
    batch: Documents | None = None
    place: int = 0  # of the next document in the batch
    given: int = 0  # tokens of this phase before the batch; negative where the phase began inside of it
    due: int = 1
    shares: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(1))

    def begin(self, due: int) -> None:
        """A phase begins that takes `due` tokens."""
        self.due, self.given = due, 0
        if self.batch is not None:
            self.given = -self.batch.part(0, self.place).tokens
            self._measure()

    @property
    def share(self) -> float:
        """The share of what is due that was given."""
        return float(self.shares[self.place])

    def take(self, limit: tuple[float, str] | None) -> Documents:
        """The next document, and those after it that begin before `limit` and before all that is due is given."""
        if self.batch is None or self.place == self.batch.documents:
            self._next()
        assert self.batch is not None
        rest = self.shares[self.place : -1]
        end = np.searchsorted(rest, 1.0, "left")
        if limit is not None:
            end = min(end, np.searchsorted(rest, limit[0], "right" if self.name < limit[1] else "left"))
        first, self.place = self.place, self.place + max(1, int(end))
        return self.batch.part(first, self.place)

    def _next(self) -> None:
        """Go on to the next batch that has documents, from the start of the source again after its last."""
        if self.batch is not None:
            self.given += self.batch.tokens
        while (batch := next(self.batches, None)) is None or not batch.documents:
            if batch is None:
                self.epoch += 1
                self.batches = self.read(self.name, self.epoch)
        self.batch, self.place = batch, 0
        self._measure()

    def _measure(self) -> None:
        """Note the shares of the batch: of n documents, n beginnings and the end of the last."""
        assert self.batch is not None
        self.shares = (self.given + self.batch.starts - self.batch.starts[0]) / self.due


def one_after_the_other(sources: Sequence[str], read: Read) -> Iterator[Documents]:
    """Every source once, sorted by name: the order of a run without a mixture."""
    for name in sorted(sources):
        yield from read(name, 0)
