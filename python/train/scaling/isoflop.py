"""Approach 2 of arXiv 2203.15556: at each budget of operations the size of least loss, and how it grows.

At one budget, loss against ln N is close to a parabola; its lowest point is the best size, and the best sizes of
several budgets lie on a line of ln N against ln C. A budget whose lowest loss is at its smallest or largest size tells
nothing about the minimum: it is refused, with the side on which sizes are missing. A parabola in ln N is biased where
the grid is wide or the two exponents differ (arXiv 2603.22339): approach 3 is the one to predict with.
"""

from typing import Any, NamedTuple

import numpy as np

from curate.errors import DataError
from train.scaling.fit import Points, interval
from train.scaling.laws import Array

SAME_BUDGET = 1.05  # runs whose operations differ by less are of one budget


class Valley(NamedTuple):
    """The best size at a budget of operations."""

    flops: float
    parameters: float
    tokens: float
    loss: float


def budgets(points: Points) -> list[Array]:
    """The numbers of the points of each budget, smallest budget first."""
    order = np.argsort(points.flops, kind="stable")
    ratio = points.flops[order][1:] / points.flops[order][:-1]
    return np.split(order, np.flatnonzero(ratio > SAME_BUDGET) + 1)


def valley(points: Points) -> Valley:
    """The lowest point of one budget's parabola. Raises DataError where its sizes do not bracket the minimum."""
    flops = float(np.exp(np.log(points.flops).mean()))
    sizes = np.unique(points.n)
    what = f"budget of {flops:.3g} operations"
    if len(sizes) < 3:
        raise DataError(f"{what}: {len(sizes)} sizes; a minimum needs three or more")
    mean_loss = np.array([points.loss[points.n == size].mean() for size in sizes])
    lowest = int(mean_loss.argmin())
    if lowest in (0, len(sizes) - 1):
        side, other = ("smallest", "smaller") if lowest == 0 else ("largest", "larger")
        raise DataError(
            f"{what}: the lowest loss is that of the {side} size, {sizes[lowest]:,.0f} parameters: the minimum is not "
            f"bracketed; add {other} sizes"
        )
    x = np.log(points.n / sizes[lowest])
    c, b, a = np.polyfit(x, points.loss, 2)
    place = -b / (2 * c) if c > 0 else np.inf
    if not x.min() < place < x.max():
        raise DataError(f"{what}: loss against size is no valley; give more sizes, or more seeds of each")
    best, cost = float(sizes[lowest] * np.exp(place)), float(np.median(points.flops / (points.n * points.d)))
    return Valley(flops, best, flops / (cost * best), float(a - b * b / (4 * c)))


def iso_flop(points: Points, unbracketed: bool, rounds: int, seed: int = 1) -> dict[str, Any]:
    """Best sizes by budget, exponents of N and D with 90 % intervals, and the budgets that were left out.

    unbracketed: leave out budgets that do not bracket their minimum instead of raising DataError.
    """
    groups, valleys, kept, refused = budgets(points), [], [], []
    for group in groups:
        try:
            valleys.append(valley(points.take(group)))
            kept.append(group)
        except DataError as error:
            refused.append(str(error))
    if refused and not unbracketed:
        raise DataError(
            "\n".join(["the runs do not bracket the best size at every budget:", *(f"  {one}" for one in refused)])
            + "\n--unbracketed leaves these budgets out"
        )
    found: dict[str, Any] = {"budgets": [one._asdict() for one in valleys], "refused": refused}
    if len(valleys) < 2:
        return found
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(rounds):
        try:
            again = [valley(points.take(rng.choice(group, len(group)))) for group in kept]
        except DataError:
            continue
        drawn.append(_exponents(again))
    for place, name in enumerate(("parameters_exponent", "tokens_exponent")):
        found[name] = _exponents(valleys)[place]
        found[f"{name}_interval"] = interval([one[place] for one in drawn])
    return found


def _exponents(valleys: list[Valley]) -> tuple[float, float]:
    """Of C in the best N and the best D."""
    x = np.log([one.flops for one in valleys])
    slopes = [
        np.polyfit(x, np.log(values), 1)[0] for values in ([v.parameters for v in valleys], [v.tokens for v in valleys])
    ]
    return float(slopes[0]), float(slopes[1])
