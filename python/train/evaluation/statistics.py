"""Standard errors and intervals of scores: means over items, ratios over documents, differences of two groups.

    mean        s / root(n) of the items' values; items are taken as a sample of those that could have been asked
    ratio       sum of x / sum of y over documents, for bits per byte: by the delta method, the deviations x - r y count
    difference  of two proportions by Agresti and Caffo (2000): one success and one failure are added to each group, so
                that the interval holds its level in groups of ten items too
    paired      of two arms measured with the same seeds: Student's t on their differences

Every error is None where one item or none was measured: there is no telling then.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from train.intervals import Z, students

Array = npt.NDArray[np.float64]

LEVEL = 0.95


class Score(NamedTuple):
    """A score, its standard error, and of how many items or documents."""

    value: float
    error: float | None
    n: int

    def scaled(self, shift: float, factor: float) -> "Score":
        """(value - shift) * factor."""
        return Score((self.value - shift) * factor, None if self.error is None else self.error * abs(factor), self.n)

    def data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"value": self.value, "standard_error": self.error, "n": self.n}


class Difference(NamedTuple):
    """A difference, its standard error, and the interval that holds it at LEVEL."""

    value: float
    error: float
    low: float
    high: float

    def data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"value": self.value, "standard_error": self.error, "interval": [self.low, self.high], "level": LEVEL}


def mean(values: Any) -> Score | None:
    """Of the values of items; None where there are none."""
    x: Array = np.asarray(values, dtype=np.float64)
    if not len(x):
        return None
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else None
    return Score(float(x.mean()), error, len(x))


def ratio(numerators: Any, denominators: Any) -> Score | None:
    """Sum by sum over independent documents; None where the denominators are 0."""
    x, y = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    n, total = len(x), float(y.sum())
    if not total:
        return None
    value = float(x.sum()) / total
    if n < 2:
        return Score(value, None, n)
    return Score(value, math.sqrt(n / (n - 1) * float(np.square(x - value * y).sum())) / total, n)


def difference_of_shares(first: Any, second: Any) -> Difference | None:
    """Share of true values in `first` less that in `second`; None where one of them is empty."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if not len(a) or not len(b):
        return None
    spread, centers = 0.0, []
    for group in (a, b):
        center = (int(group.sum()) + 1) / (len(group) + 2)
        spread += center * (1 - center) / (len(group) + 2)
        centers.append(center)
    middle, error = centers[0] - centers[1], math.sqrt(spread)
    return Difference(float(a.mean() - b.mean()), error, max(-1.0, middle - Z * error), min(1.0, middle + Z * error))


def difference_of_means(first: Any, second: Any) -> Difference | None:
    """Mean of `first` less that of `second`, by Welch; None where one of them has fewer than two values."""
    a, b = mean(first), mean(second)
    if not a or not b or a.error is None or b.error is None:
        return None
    va, vb = a.error**2, b.error**2
    value, error = a.value - b.value, math.sqrt(va + vb)
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1)) if error else a.n + b.n - 2
    reach = students(max(1, math.floor(freedom))) * error
    return Difference(value, error, value - reach, value + reach)


def paired(differences: Sequence[float]) -> Difference | None:
    """The mean of differences of pairs; None for fewer than two pairs."""
    found = mean(differences)
    if not found or found.error is None:
        return None
    reach = students(found.n - 1) * found.error
    return Difference(found.value, found.error, found.value - reach, found.value + reach)


def shown(found: Score | None, digits: int = 3) -> str:
    """A score with its standard error; without one it is not shown."""
    if found is None:
        return "none"
    if found.error is None:
        return f"n = {found.n}, no error"
    return f"{found.value:.{digits}f} ±{found.error:.{digits}f}"
