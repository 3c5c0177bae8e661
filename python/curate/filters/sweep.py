"""What other limits would keep: counted from measures, for a grid of limits at once.

A document that passes all rules that are not varied falls, by each varied rule, between two of its limits. A histogram
over these places, summed along each axis, has the number of documents that every cell of the grid keeps: one pass over
the measures, however many cells there are.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curate.config import suggest
from curate.errors import ConfigError
from curate.filters.rules import Rule

MOST_CELLS = 10_000
IDS_CELLS = 100  # at most so many cells have the ids of documents that move listed
IDS = 10  # of documents that move, a cell


@dataclass(frozen=True)
class Axis:
    """A rule whose limit is varied; limits rise. `limit` is the one that holds now."""

    rule: Rule
    limit: float
    limits: tuple[float, ...]

    def places(self, measures: Mapping[str, np.ndarray]) -> np.ndarray:
        """For each document the place of the first limit that keeps it in `order`, len(limits) where none does."""
        values, n = measures[self.rule.measure], len(self.limits)
        strict, above = self.rule.comparison in ("<", ">"), self.rule.comparison in (">=", ">")
        found = np.searchsorted(self.limits, values, "left" if strict == above else "right")
        found = np.where(np.isnan(values), n, n - found if above else found)
        return np.where(self.rule.spares(measures), 0, found)

    def order(self) -> tuple[float, ...]:
        """The limits from the one that keeps fewest to the one that keeps most."""
        return self.limits[::-1] if self.rule.comparison in (">=", ">") else self.limits


def parse_axis(text: str, rules: Sequence[tuple[Rule, float]], lines: Sequence[str] = ()) -> Axis:
    """The axis that `gopher.min_words=20,50,100` or `gopher.min_words=20:200:10` (from, to, step) is.

    ConfigError where it is neither, or no rule has the name; `lines` are names of rules on lines.
    """
    name, equals, rest = text.partition("=")
    known = {rule.name: (rule, limit) for rule, limit in rules}
    if not equals or not rest:
        raise ConfigError(f"--vary {text}: expected RULE=LIMIT,LIMIT or RULE=FROM:TO:STEP")
    if name in lines:
        raise ConfigError(f"--vary {name}: the rule cuts lines, which takes the text; run the filter again for it")
    if name not in known:
        raise ConfigError(f'--vary: no rule is named "{name}"{suggest(name, list(known))}')
    try:
        numbers = [float(part) for part in rest.replace(":", ",").split(",")]
    except ValueError:
        raise ConfigError(f"--vary {text}: a limit must be a number") from None
    if not np.isfinite(numbers).all():
        raise ConfigError(f"--vary {text}: a limit must be a finite number")
    if ":" in rest:
        if len(numbers) != 3 or numbers[2] <= 0 or numbers[1] < numbers[0]:
            raise ConfigError(f"--vary {text}: write FROM:TO:STEP, with a step above 0 and FROM not above TO")
        start, end, step = numbers
        steps = int((end - start) / step + 1e-9) + 1
        if steps > MOST_CELLS:
            raise ConfigError(f"--vary {text}: {steps:,} limits, more than {MOST_CELLS:,}")
        numbers = [float(f"{start + step * i:.12g}") for i in range(steps)]
    rule, limit = known[name]
    return Axis(rule, limit, tuple(sorted(set(numbers))))


@dataclass(frozen=True)
class Cell:
    """One choice of limits: documents kept, and those that move against the limits that hold now."""

    limits: dict[str, float]
    kept: int
    enter: int  # kept here, dropped now
    leave: int  # dropped here, kept now
    entering: tuple[str, ...] = ()  # doc_ids of the first IDS of them
    leaving: tuple[str, ...] = ()


class Near(NamedTuple):
    """A document close to a limit, which alone decides about it."""

    rule: str
    kept: bool
    value: float
    doc_id: str


@dataclass(frozen=True)
class RuleShare:
    """Documents that fail a rule at the limit that holds now: at all, first of all rules, and no other rule."""

    rule: str
    limit: float
    fails: int
    first: int
    alone: int


@dataclass
class Sweep:
    """Counts documents batch by batch; `near` documents on either side of each limit are kept."""

    rules: Sequence[tuple[Rule, float]]
    axes: Sequence[Axis]
    near: int = 5
    documents: int = 0
    kept: int = 0
    _all: np.ndarray = field(init=False)
    _now: np.ndarray = field(init=False)
    _fails: np.ndarray = field(init=False)
    _near: dict[tuple[str, bool], list[tuple[float, str, float]]] = field(default_factory=dict)
    _ids: dict[tuple[float, ...], tuple[list[str], list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = [axis.rule.name for axis in self.axes]
        if len(twice) != len(set(twice)):
            raise ConfigError(f"--vary: {next(n for n in twice if twice.count(n) > 1)} is varied twice")
        if self._cells() > MOST_CELLS:
            raise ConfigError(f"--vary: {self._cells():,} cells, more than {MOST_CELLS:,}; name fewer limits")
        shape = [len(axis.limits) + 1 for axis in self.axes]
        self._all, self._now = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._fails = np.zeros((3, len(self.rules)), np.int64)

    def _cells(self) -> int:
        return int(np.prod([len(axis.limits) for axis in self.axes])) if self.axes else 0

    def measures(self) -> list[str]:
        """The measures that `add` reads, each once."""
        return list(dict.fromkeys(part.measure for rule, _ in self.rules for part in rule.parts))

    def add(self, ids: pa.Array, measures: Mapping[str, np.ndarray]) -> None:
        """Count documents: their doc_ids, and their measures by name."""
        n = len(ids)
        varied = {axis.rule.name for axis in self.axes}
        fails = np.array([rule.fails(measures, limit) for rule, limit in self.rules])
        total = fails.sum(axis=0)
        now = total == 0
        self.documents += n
        self.kept += int(now.sum())
        self._fails[0] += fails.sum(axis=1)
        self._fails[1] += np.bincount(fails.argmax(axis=0)[~now], minlength=len(self.rules))
        self._fails[2] += (fails & (total == 1)).sum(axis=1)
        fixed = np.array([rule.name not in varied for rule, _ in self.rules])
        if not self.axes:
            return
        others = ~fails[fixed].any(axis=0) if fixed.any() else np.ones(n, bool)
        places = [axis.places(measures) for axis in self.axes]
        flat = np.ravel_multi_index(places, self._all.shape)
        size = self._all.size
        self._all += np.bincount(flat[others], minlength=size).reshape(self._all.shape)
        self._now += np.bincount(flat[now], minlength=size).reshape(self._all.shape)
        for place, (rule, limit) in enumerate(self.rules):
            if rule.name in varied:
                alone = (total - fails[place] == 0) & ~rule.spares(measures) & ~np.isnan(measures[rule.measure])
                self._nearest(rule, limit, ids, measures[rule.measure], alone, fails[place])
        if self._cells() <= IDS_CELLS:
            self._list_ids(ids, places, others, now)

    def _nearest(
        self, rule: Rule, limit: float, ids: pa.Array, values: np.ndarray, alone: np.ndarray, fails: np.ndarray
    ) -> None:
        """Keep the documents nearest to the limit, of those about which this rule alone decides."""
        for kept in (True, False):
            rows = np.flatnonzero(alone & (fails != kept))
            distance = np.abs(values[rows] - limit)
            # Of equal distances all may be wanted: which of them stay is decided by doc_id.
            if len(rows) > self.near and self.near:
                rows = rows[distance <= np.partition(distance, self.near - 1)[self.near - 1]]
            taken = ids.take(pa.array(rows)).to_pylist()
            found = [(abs(float(values[row]) - limit), identity.hex(), float(values[row]))
                     for row, identity in zip(rows, taken, strict=True)]  # fmt: skip
            key = (rule.name, kept)
            self._near[key] = sorted([*self._near.get(key, []), *found])[: self.near]

    def _list_ids(self, ids: pa.Array, places: list[np.ndarray], others: np.ndarray, now: np.ndarray) -> None:
        for cell in itertools.product(*(range(len(axis.limits)) for axis in self.axes)):
            entering, leaving = self._ids.setdefault(cell, ([], []))
            if len(entering) >= IDS and len(leaving) >= IDS:
                continue
            kept = others & np.all([found <= at for found, at in zip(places, cell, strict=True)], axis=0)
            for listed, rows in ((entering, kept & ~now), (leaving, now & ~kept)):
                first = np.flatnonzero(rows)[: IDS - len(listed)]
                listed.extend(identity.hex() for identity in ids.take(pa.array(first)).to_pylist())

    def moves(self, ids: pa.Array, measures: Mapping[str, np.ndarray]) -> Iterator[pa.RecordBatch]:
        """Of every cell the documents that move: doc_id, the limits as text, and whether they enter or leave."""
        fails = {rule.name: rule.fails(measures, limit) for rule, limit in self.rules}
        varied = {axis.rule.name for axis in self.axes}
        now = ~np.any(list(fails.values()), axis=0)
        others = ~np.any([np.zeros(len(ids), bool), *(f for name, f in fails.items() if name not in varied)], axis=0)
        places = [axis.places(measures) for axis in self.axes]
        for cell in itertools.product(*(range(len(axis.limits)) for axis in self.axes)):
            kept = others & np.all([found <= at for found, at in zip(places, cell, strict=True)], axis=0)
            rows = np.flatnonzero(kept != now)
            limits = ", ".join(f"{name}={limit:g}" for name, limit in self._limits(cell).items())
            yield pa.RecordBatch.from_pydict({
                "doc_id": ids.take(pa.array(rows)),
                "limits": pa.repeat(limits, len(rows)),
                "move": pa.array(np.where(kept[rows], "enters", "leaves"), pa.string()),
            })  # fmt: skip

    def _limits(self, cell: Sequence[int]) -> dict[str, float]:
        return {axis.rule.name: axis.order()[at] for axis, at in zip(self.axes, cell, strict=True)}

    def cells(self) -> list[Cell]:
        """Every cell, by rising limits, the last axis fastest."""
        kept, now = self._all, self._now
        for axis in range(len(self.axes)):
            kept, now = kept.cumsum(axis=axis), now.cumsum(axis=axis)
        made = []
        for cell in itertools.product(*(range(len(axis.limits)) for axis in self.axes)) if self.axes else ():
            both = int(now[cell])
            entering, leaving = self._ids.get(cell, ([], []))
            made.append(
                Cell(self._limits(cell), int(kept[cell]), int(kept[cell]) - both, self.kept - both, tuple(entering),
                     tuple(leaving))
            )  # fmt: skip
        return sorted(made, key=lambda one: tuple(one.limits.values()))

    def shares(self) -> list[RuleShare]:
        """What each rule drops at the limits that hold now."""
        return [
            RuleShare(rule.name, limit, *map(int, self._fails[:, place]))
            for place, (rule, limit) in enumerate(self.rules)
        ]

    def nearest(self) -> list[Near]:
        """The documents nearest to each limit, kept ones first, by distance."""
        return [Near(rule, kept, value, identity) for (rule, kept), found in self._near.items()
                for _, identity, value in found]  # fmt: skip
