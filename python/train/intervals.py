"""Estimates with their intervals: proportions, means, slopes, paired differences, and how well a score tells two groups
apart. Every interval is of 95 %.

Rows of one cluster (copies of one document, answers to one question) are alike and count as less than so many
independent ones: variances are summed by cluster (Liang & Zeger 1986), and resampling draws whole clusters.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Z = 1.959964  # of the normal distribution, two-sided 95 %
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)  # 1 to 10 degrees
TIMES = 1000  # resamples of a bootstrap


class Estimate(NamedTuple):
    """A value with its interval; n is the number of rows that it rests on. NaN where there are too few of them."""

    value: float
    low: float
    high: float
    n: int

    def data(self) -> dict[str, Any]:
        """As JSON: null for what is not known."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{key: x if math.isfinite(x) else None for key, x in numbers.items()}, "n": self.n}

    def within(self, least: float, most: float) -> "Estimate":
        """With the interval cut to what the value can be."""
        return self._replace(low=max(self.low, least), high=min(self.high, most)) if self.n else self

    def __str__(self) -> str:
        return "-" if self.n == 0 else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def plain(value: Any) -> Any:
    """A result as JSON holds it: estimates as value, low, high and n."""
    if isinstance(value, Estimate):
        return value.data()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


NONE = Estimate(math.nan, math.nan, math.nan, 0)


def proportion(hits: npt.NDArray[np.bool_], clusters: Ints) -> Estimate:
    """Share of true rows, by Wilson's interval, with the number of rows lowered to what their clusters are worth."""
    n = len(hits)
    if not n:
        return NONE
    share = float(hits.mean())
    independent = float(len(np.unique(clusters)))
    if 0 < share < 1 and independent < n:
        spread = np.bincount(clusters, hits - share)
        independent = min(float(n), share * (1 - share) / max(float(spread @ spread) / n**2, 1e-300))
    middle = (share + Z**2 / (2 * independent)) / (1 + Z**2 / independent)
    half = Z / (1 + Z**2 / independent) * math.sqrt(share * (1 - share) / independent + Z**2 / (4 * independent**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)


def mean(values: Floats, clusters: Ints) -> Estimate:
    """The mean, by Student's interval over clusters; for differences of pairs as well."""
    n = len(values)
    groups = len(np.unique(clusters))
    if groups < 2:
        return NONE if not n else Estimate(float(values.mean()), math.nan, math.nan, n)
    middle = float(values.mean())
    spread = np.bincount(clusters, values - middle)
    error = math.sqrt(float(spread @ spread) * groups / (groups - 1)) / n
    half = students(groups - 1) * error
    return Estimate(middle, middle - half, middle + half, n)


def slope(x: Floats, y: Floats, clusters: Ints) -> Estimate:
    """Of the line through the points by least squares, in y a unit of x; robust to clusters and unlike spreads."""
    groups = len(np.unique(clusters))
    around = x - x.mean() if len(x) else x
    square = float(around @ around)
    if groups < 3 or square == 0:
        return NONE
    tilt = float(around @ y) / square
    rest = y - y.mean() - tilt * around
    spread = np.bincount(clusters, around * rest)
    half = students(groups - 2) * math.sqrt(float(spread @ spread) * groups / (groups - 2)) / square
    return Estimate(tilt, tilt - half, tilt + half, len(x))


def students(degrees: int) -> float:
    """The two-sided 95 % point of Student's t; beyond ten degrees by Cornish and Fisher's expansion, to 1e-3."""
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    return Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)


def auc(members: Floats, others: Floats) -> float:
    """The chance that a member's score is above another's, ties counted half (Mann & Whitney)."""
    scores = np.concatenate((members, others))
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = float(ranks[place[: len(members)]].sum())
    return (total - len(members) * (len(members) + 1) / 2) / (len(members) * len(others))


def true_positives(members: Floats, others: Floats, share: float = 0.01) -> float:
    """Share of members above the limit that at most `share` of the others exceed."""
    allowed = math.floor(share * len(others))
    limit = np.sort(others)[::-1][allowed]
    return float((members > limit).mean())


def resampled(
    statistic: Callable[[Floats, Floats], float], members: Floats, others: Floats, clusters: Ints, seed: int = 0
) -> Estimate:
    """A statistic of two groups by a percentile bootstrap; clusters are those of the members."""
    if min(len(members), len(others)) < 2:
        return NONE
    rng = np.random.default_rng(seed)
    draw = cluster_draws(clusters, rng)
    found = [statistic(members[draw()], others[rng.integers(0, len(others), len(others))]) for _ in range(TIMES)]
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(statistic(members, others), float(low), float(high), len(members))


def cluster_draws(clusters: Ints, rng: np.random.Generator) -> Callable[[], Ints]:
    """A function that gives the rows of as many clusters as there are, drawn with replacement."""
    order = np.argsort(clusters, kind="stable")
    counts = np.unique(clusters, return_counts=True)[1]
    starts = np.cumsum(counts) - counts

    def draw() -> Ints:
        chosen = rng.integers(0, len(counts), len(counts))
        sizes = counts[chosen]
        place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(order[np.repeat(starts[chosen], sizes) + place])

    return draw


def paired(values: Floats, weights: Floats, seed: int = 0) -> Estimate:
    """A difference of ratios measured by seeds and documents, [S, D]: sum of values over sum of weights [D].

    Both are drawn with replacement (Owen's pigeonhole bootstrap, 2007), so that the interval holds the noise of
    training and that of the choice of documents. n is the number of documents.
    """
    seeds, documents = values.shape
    if not documents:
        return NONE
    value = float(values.mean(0).sum() / weights.sum())
    rng = np.random.default_rng(seed)
    found = np.empty(TIMES)
    for time in range(TIMES):
        times = np.bincount(rng.integers(0, documents, documents), minlength=documents)
        chosen = values[rng.integers(0, seeds, seeds)].mean(0)
        found[time] = (chosen @ times) / max(float(weights @ times), 1e-300)
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(value, float(low), float(high), documents)
