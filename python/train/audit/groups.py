"""Rates of extraction by what is known of a span: copies, near-duplicate mass, how often and when it was read, source,
quality. A group has the rate of the same spans under a model that never saw them beside its own."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from train.intervals import NONE, Estimate, Floats, Ints, mean, proportion, slope

Bools = npt.NDArray[np.bool_]

DOUBLING = [2.0**n for n in range(1, 31)]  # 1, 2 to 3, 4 to 7, …
MASS = [1.25, 1.5, *DOUBLING]  # a near copy of Jaccard .4 makes a mass of 1.4
PARTS = 5  # groups of about equal size, and parts of the training run


class Outcome(NamedTuple):
    """Of N spans: whether the suffix is written by greedy generation, which share of its tokens are right, the same
    under the reference (None without one), and the cluster of each."""

    extracted: Bools
    right: Floats
    reference: Bools | None
    clusters: Ints

    def take(self, which: Bools) -> "Outcome":
        """These spans alone."""
        reference = None if self.reference is None else self.reference[which]
        return Outcome(self.extracted[which], self.right[which], reference, self.clusters[which])

    def data(self) -> dict[str, Any]:
        """Estimates: extracted, right, and with a reference that of the same spans and the difference of the two."""
        right = mean(self.right, self.clusters).within(0.0, 1.0)
        found = {"extracted": proportion(self.extracted, self.clusters), "right": right}
        if self.reference is not None:
            found["reference"] = proportion(self.reference, self.clusters)
            apart = self.extracted.astype(np.float64) - self.reference
            found["difference"] = mean(apart, self.clusters)
        return found


def by_limits(values: Floats, limits: Sequence[float], outcome: Outcome) -> Iterator[dict[str, Any]]:
    """A group for every stretch between two limits that holds a known value; `from` counts to it, `to` does not."""
    place = np.searchsorted(np.array(limits), values, side="right")
    edges = [-math.inf, *limits, math.inf]
    for group in np.unique(place[~np.isnan(values)]).tolist():
        here = (place == group) & ~np.isnan(values)
        bounds = {"from": _finite(edges[group]), "to": _finite(edges[group + 1])}
        span = {"least": float(values[here].min()), "most": float(values[here].max())}
        yield {**bounds, **span, **outcome.take(here).data()}


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def by_name(names: Sequence[str], outcome: Outcome) -> Iterator[dict[str, Any]]:
    """A group for every name."""
    values = np.array(names, dtype=object)
    for name in sorted(set(names)):
        yield {"name": name, **outcome.take(np.asarray(values == name, bool)).data()}


def all_groups(facts: Mapping[str, Floats], sources: Sequence[str], steps: int, outcome: Outcome) -> dict[str, Any]:
    """By measure its groups; measures that nothing is known of are left out."""
    limits: dict[str, Sequence[float]] = {
        "n_copies": DOUBLING,
        "mass": MASS,
        "occurrences": DOUBLING,
        "times_read": DOUBLING,
        "last_step": [steps * part / PARTS for part in range(1, PARTS)],
        "quality_score": quantiles(facts["quality_score"], PARTS),
    }
    found = {name: list(by_limits(facts[name], edges, outcome)) for name, edges in limits.items()}
    found["source"] = list(by_name(sources, outcome))
    return {name: rows for name, rows in found.items() if rows}


def quantiles(values: Floats, parts: int) -> list[float]:
    """Limits that cut the known values into at most `parts` groups of about equal size."""
    known = values[~np.isnan(values)]
    cuts: list[float] = np.unique(np.quantile(known, np.arange(1, parts) / parts)).tolist() if len(known) else []
    return cuts


def slopes(facts: Mapping[str, Floats], outcome: Outcome) -> dict[str, Estimate]:
    """What each doubling adds to the rate of extraction, by measure of copies."""
    found = {}
    for name in ("n_copies", "mass", "occurrences", "times_read"):
        known = ~np.isnan(facts[name]) & (facts[name] > 0)
        some = outcome.take(known)
        line = slope(np.log2(facts[name][known]), some.extracted.astype(np.float64), some.clusters)
        if line is not NONE:
            found[name] = line
    return found
