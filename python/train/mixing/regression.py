"""Proxy regression: held-out losses as a law of the mixture's weights, and the mixture that the law calls best.

    loss_j(x) = e^c_j + exp(t_j . x)          (olmix; x: weights of the sources, sum 1)

For a fixed e^c the logarithm of the rest is linear in x, so that t is a weighted ridge regression and c and the ridge
are chosen from a grid by the error of leaving one proxy out, which the regression gives without fitting anew. With 17
sources 64 proxies suffice; below two more than there are sources nothing is determined. The sum of such laws is convex,
and its least point under caps is found by mirror descent: steps in ln x, then the shares above their caps are cut.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError, DataError
from curate.mixture import capped

Array = npt.NDArray[np.float64]

FLOORS = (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.875, 0.925, 0.96, 0.98)  # e^c as a part of the lowest loss
RIDGES = tuple(10.0**power for power in range(-8, 3))
ZERO = 2e-4  # a smaller weight of a drawn mixture is 0
STEPS = 5000
TRIES = 2000  # draws for each mixture that is wanted


class Law(NamedTuple):
    """Of one target: e^c, t, and how well it foretells a proxy that was left out."""

    floor: float
    slopes: Array  # [k]
    left_out_error: float  # root of the mean square, in units of the loss
    left_out_spearman: float

    def loss(self, x: Array) -> Array:
        """Of weights [..., k]."""
        return self.floor + np.exp(x @ self.slopes)


def draw_mixtures(
    prior: Mapping[str, float], caps: Mapping[str, float], count: int, seed: int, strengths: tuple[float, float]
) -> list[dict[str, float]]:
    """`count` mixtures around a prior: Dirichlet(strength * k * prior^0.5), strengths spread evenly in their logarithm.

    caps: largest share of each source. Raises ConfigError where almost no draw keeps to them.
    """
    names, rng = list(prior), np.random.default_rng(seed)
    root = np.sqrt(np.array([prior[name] for name in names]))
    base, most = root / root.sum() * len(names), np.array([caps[name] for name in names])
    found: list[dict[str, float]] = []
    for _ in range(TRIES * count):
        strength = math.exp(rng.uniform(math.log(strengths[0]), math.log(strengths[1])))
        x = rng.dirichlet(strength * base)
        x = np.where(x < ZERO, 0.0, x)
        x /= x.sum()
        if (x <= most * (1 + 1e-9)).all():
            found.append({name: float(f"{value:.9g}") for name, value in zip(names, x, strict=True)})
        if len(found) == count:
            return found
    tight = min(names, key=lambda name: caps[name] / prior[name])
    raise ConfigError(
        f"only {len(found):,} of {TRIES * count:,} drawn mixtures keep to the caps; the tightest allows {tight} a "
        f"share of {caps[tight]:.3g}: ask the proxies for fewer tokens, or raise --max-epochs"
    )


def spearman(a: Array, b: Array) -> float:
    """Rank correlation; ties have the mean of their ranks. 0 where one side is constant."""

    def ranks(values: Array) -> Array:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        middle: Array = (ends - (counts - 1) / 2)[inverse]
        return middle

    ra, rb = ranks(a), ranks(b)
    if ra.std() == 0 or rb.std() == 0:
        return 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def fit_law(x: Array, y: Array) -> Law:
    """The law of one target from mixtures x [n, k] and losses y [n].

    Raises DataError for too few proxies, and for losses that are no positive numbers or all alike.
    """
    n, k = x.shape
    if n < k + 2:
        raise DataError(
            f"too few proxies: {n} for {k} sources; at least {k + 2} are needed, and {max(64, 4 * k)} are usual: give "
            "`train mixture plan` a larger --proxies, and run again"
        )
    if not np.isfinite(y).all() or (y <= 0).any():
        raise DataError(f"losses must be numbers above 0, found {y[~(np.isfinite(y) & (y > 0))][0]}")
    if y.std() < 1e-12 * y.mean():
        raise DataError("all proxies have the same loss: their mixtures tell nothing")
    best: tuple[float, float, Array, Array] | None = None
    for part in FLOORS:
        floor = part * float(y.min())
        rest = y - floor
        for ridge in RIDGES:
            slopes, left_out = _ridge(x, np.log(rest), rest / rest.mean(), ridge)
            predicted = floor + np.exp(np.minimum(left_out, 50.0))
            error = float(np.sqrt(np.square(predicted - y).mean()))
            if best is None or error < best[0]:
                best = (error, floor, slopes, predicted)
    assert best is not None
    return Law(best[1], best[2], best[0], spearman(best[3], y))


def _ridge(x: Array, z: Array, scale: Array, ridge: float) -> tuple[Array, Array]:
    """(t of the weighted ridge regression z = t . x around the weighted mean of z, predictions of each point without
    it). scale: of each residual. The mean itself costs nothing: weights sum to 1, so that it adds to every slope."""
    w = scale**2
    middle = float((w * z).sum() / w.sum())
    rows = x * scale[:, None]
    left = rows.T @ rows
    inverse = np.linalg.inv(left + ridge * np.trace(left) / len(left) * np.eye(len(left)))
    slopes = inverse @ (rows.T @ (scale * (z - middle)))
    hat = np.einsum("ij,jk,ik->i", rows, inverse, rows)
    fitted = x @ slopes
    without = z - middle - (z - middle - fitted) / np.maximum(1 - hat, 1e-6)
    return slopes + middle, without + middle


def fit_laws(x: Array, losses: Mapping[str, Array]) -> dict[str, Law]:
    """A law for every target. Raises DataError naming the target that has none."""
    found = {}
    for name, y in losses.items():
        try:
            found[name] = fit_law(x, y)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
    return found


def solve(laws: Sequence[Law], importance: Array, prior: Array, caps: Array, closeness: float) -> tuple[Array, float]:
    """(x, objective) of the least sum of importance * exp(t . x) + closeness * KL(x || prior) under caps.

    Raises DataError where the steps do not come to rest.
    """
    slopes = np.stack([law.slopes for law in laws])
    names = [str(number) for number in range(len(prior))]
    limits = dict(zip(names, map(float, caps), strict=True))

    def project(x: Array) -> Array:
        shares = capped(dict(zip(names, map(float, x / x.sum()), strict=True)), limits)
        kept: Array = np.maximum(np.array([shares[name] for name in names]), 1e-15)
        return kept

    def value(x: Array) -> float:
        return float(importance @ np.exp(slopes @ x) + closeness * (x * np.log(x / prior)).sum())

    x = project(np.maximum(prior, 1e-12))
    now, rate = value(x), 1.0
    for _ in range(STEPS):
        gradient = (importance * np.exp(slopes @ x)) @ slopes + closeness * (np.log(x / prior) + 1)
        gradient = gradient - gradient @ x
        while rate > 1e-12:
            trial = project(x * np.exp(np.clip(-rate * gradient, -20, 20)))
            found = value(trial)
            # Enough of what the slope promises (Armijo), so that steps cannot creep.
            if found <= now + 0.3 * float(gradient @ (trial - x)):
                break
            rate /= 2
        else:
            return x, now
        moved = float(np.abs(trial - x).sum())
        x, now, rate = trial, found, min(rate * 1.5, 1e3)
        if moved < 1e-9:
            return x, now
    raise DataError(f"the best mixture was not found in {STEPS:,} steps: raise --closeness, which steadies it")


def predictions(laws: Mapping[str, Law], x: Array) -> dict[str, Any]:
    """Loss of every target at a mixture."""
    return {name: float(law.loss(x)) for name, law in laws.items()}
