"""Proxy regression: held-out losses as a law of the mixture's weights, and the mixture that the law calls best.

    loss_j(x) = e^c_j + exp(t_j . x)          (olmix; x: weights of the sources, sum 1)

Least squares of the losses with a small ridge, from the best of several starts: for a fixed e^c the logarithm of the
rest is linear in x. How well a proxy that was left out is foretold follows from the leverages, without fitting anew.
With 17 sources 64 proxies suffice; below two more than there are sources nothing is determined. The sum of such laws is
convex, and its least point under caps is found by mirror descent: steps in ln x, then shares above their caps are cut.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError, DataError
from curate.mixture import capped

Array = npt.NDArray[np.float64]

FLOORS = (0.05, 0.4, 0.7, 0.875, 0.96)  # e^c at the starts, as a part of the lowest loss
RIDGE = 1e-3  # on slopes, in units of the variance of the losses
LARGEST_DESCENT = 200  # steps
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
    theta = _descend(x, y, min((_start(x, y, part) for part in FLOORS), key=lambda one: _objective(one, x, y)))
    jacobian, residuals, left, _ = _linear(theta, x, y)
    leverage = np.einsum("ij,jk,ik->i", jacobian, np.linalg.inv(left), jacobian)
    without = y + residuals / np.maximum(1 - leverage, 1e-3)
    error = float(np.sqrt(np.square(without - y).mean()))
    return Law(float(np.exp(theta[-1])), theta[:-1], error, spearman(without, y))


def _start(x: Array, y: Array, part: float) -> Array:
    """theta, the slopes and c, of a weighted ridge regression of ln(loss - floor), the floor a part of the least loss.

    The weighted mean of the logarithms costs nothing: weights sum to 1, so that it adds to every slope.
    """
    floor = part * float(y.min())
    rest, z = y - floor, np.log(y - floor)
    w = np.square(rest / rest.mean())
    middle = float((w * z).sum() / w.sum())
    left = (x * w[:, None]).T @ x
    slopes = np.linalg.solve(left + 1e-3 * np.trace(left) / len(left) * np.eye(len(left)), x.T @ (w * (z - middle)))
    return np.append(slopes + middle, math.log(floor))


def _linear(theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """(derivatives [n, k + 1], residuals [n], left and right side of the next step) of the objective at theta."""
    rises = np.exp(np.minimum(x @ theta[:-1], 50.0))
    floor = math.exp(min(theta[-1], 50.0))
    jacobian = np.column_stack((x * rises[:, None], np.full(len(y), floor)))
    residuals = floor + rises - y
    left, right = jacobian.T @ jacobian, -jacobian.T @ residuals
    ridge = RIDGE * float(y.var()) * (np.eye(x.shape[1]) - 1 / x.shape[1])
    left[:-1, :-1] += ridge
    right[:-1] -= ridge @ theta[:-1]
    return jacobian, residuals, left, right


def _objective(theta: Array, x: Array, y: Array) -> float:
    """Squares of the residuals, and the ridge on how far slopes are from their mean."""
    residuals = np.exp(np.minimum(x @ theta[:-1], 50.0)) + np.exp(min(theta[-1], 50.0)) - y
    slopes = theta[:-1] - theta[:-1].mean()
    return float(residuals @ residuals + RIDGE * y.var() * slopes @ slopes)


def _descend(x: Array, y: Array, theta: Array) -> Array:
    """theta at the minimum of the objective, by damped steps (Levenberg and Marquardt)."""
    value, damping = _objective(theta, x, y), 1e-3
    for _ in range(LARGEST_DESCENT):
        _, _, left, right = _linear(theta, x, y)
        while damping < 1e12:
            trial = theta + np.linalg.solve(left + damping * np.diag(np.diag(left) + 1e-12), right)
            found = _objective(trial, x, y)
            if found <= value:
                break
            damping *= 4
        else:
            return theta
        gain, theta, value = value - found, trial, found
        damping = max(damping / 8, 1e-12)
        if gain <= 1e-10 * value:
            return theta
    return theta


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
