"""Fits of a law to points (N, D, loss): variable projection over a grid, then Gauss and Newton, with Huber's loss.

    minimize  sum of Huber(ln predicted - ln loss),  with 1e-3 as the change from squares to absolute values

For fixed exponents the other parameters are linear and are solved for (arXiv 2603.22339), so that two are searched
instead of five: four grids of 13 x 13, each around the best of the one before. The last digits are found by steps of
Levenberg and Marquardt in all parameters. A grid of thousands of optimizer runs finds the same minimum in 20 times as
long. N and D are divided by their geometric means, for the numbers to be of one size.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from curate.errors import DataError
from train.scaling.laws import Array, Chinchilla, Kaplan

DELTA = 1e-3
GRIDS, SIDE = 4, 13
WEIGHINGS = 12  # of the residuals in the linear solution: Huber's loss as weighted squares
STEPS = 200


class Points(NamedTuple):
    """Measured runs, [n] each: parameters, tokens, loss in nats a token, operations, unique tokens."""

    n: Array
    d: Array
    loss: Array
    flops: Array
    unique: Array

    def take(self, index: Any) -> "Points":
        """Some of them."""
        return Points(*(part[index] for part in self))


class Form(NamedTuple):
    """A law as loss = (sum of coefficient_j basis_j(x))^power, basis and power depending on two exponents x.

    basis: (x [G, 2], n [m], d [m]) -> [G, m, k]. law: (coefficients [k], x [2], N0, D0) -> the law in true units.
    """

    name: str
    parameters: tuple[str, ...]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    basis: Callable[[Array, Array, Array], Array]
    power: Callable[[Array], Array]
    law: Callable[[Array, Array, float, float], Any]


def _chinchilla_basis(x_G2: Array, n: Array, d: Array) -> Array:
    parts = (np.ones((len(x_G2), len(n))), n ** -x_G2[:, :1], d ** -x_G2[:, 1:])
    return np.stack(parts, axis=-1)


def _kaplan_basis(x_G2: Array, n: Array, d: Array) -> Array:
    return np.stack((n ** -(x_G2[:, :1] / x_G2[:, 1:]), np.broadcast_to(1 / d, (len(x_G2), len(d)))), axis=-1)


def _kaplan_law(c: Array, x: Array, n0: float, d0: float) -> Kaplan:
    with np.errstate(over="ignore"):  # a law that does not converge is refused afterwards
        return Kaplan(float(c[0] ** (x[1] / x[0]) * n0), float(c[1] * d0), float(x[0]), float(x[1]))


def _chinchilla_law(c: Array, x: Array, n0: float, d0: float) -> Chinchilla:
    a, b = c[1] * n0 ** x[0], c[2] * d0 ** x[1]
    return Chinchilla(A=float(a), B=float(b), E=float(c[0]), alpha=float(x[0]), beta=float(x[1]))


CHINCHILLA = Form(
    "chinchilla",
    Chinchilla._fields,
    ((0.02, 1.6), (0.02, 1.6)),
    _chinchilla_basis,
    lambda x: np.ones(len(x)),
    _chinchilla_law,
)
KAPLAN = Form("kaplan", Kaplan._fields, ((0.01, 1.0), (0.01, 1.0)), _kaplan_basis, lambda x: x[:, 1], _kaplan_law)
FORMS = (CHINCHILLA, KAPLAN)


def huber(residuals: Array) -> Array:
    """Huber's loss of each residual, summed over the last axis."""
    size = np.abs(residuals)
    total: Array = np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).sum(axis=-1)
    return total


def _residuals(form: Form, theta: Array, n: Array, d: Array, log_loss: Array) -> Array:
    """ln predicted - ln loss; theta: ln of the coefficients, then the exponents."""
    x = theta[None, -2:]
    inner = form.basis(x, n, d)[0] @ np.exp(theta[:-2])
    residuals: Array = form.power(x)[0] * np.log(inner) - log_loss
    return residuals


def _project(form: Form, x_G2: Array, n: Array, d: Array, loss: Array) -> tuple[Array, Array]:
    """(objective [G], coefficients [G, k]) at each pair of exponents; infinite where a coefficient is not positive."""
    power_G = form.power(x_G2)
    with np.errstate(over="ignore"):
        basis = form.basis(x_G2, n, d)
        target = loss ** (1 / power_G)[:, None]
    scale = np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), 1e-300)
    rows = basis / scale
    relative = power_G[:, None] / target  # of a residual of the target, as one of ln loss
    weights = np.ones_like(target)
    for _ in range(WEIGHINGS):
        w = weights * relative**2
        left = np.einsum("gmi,gm,gmj->gij", rows, w, rows)
        ridge = 1e-12 * np.trace(left, axis1=1, axis2=2)[:, None, None] * np.eye(rows.shape[-1])
        right = np.einsum("gmi,gm->gi", rows, w * target)
        solved = np.linalg.solve(left + ridge, right[..., None])
        inner = (rows @ solved)[..., 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            residuals = power_G[:, None] * np.log(inner / target)
        residuals = np.where(np.isfinite(residuals), residuals, 1e3)
        weights = np.minimum(1.0, DELTA / np.maximum(np.abs(residuals), 1e-300))
    coefficients = solved[..., 0] / scale[:, 0]
    objective = np.where((coefficients > 0).all(axis=1), huber(residuals), math.inf)
    return objective, coefficients


def _search(form: Form, n: Array, d: Array, loss: Array) -> Array:
    """The start of the last steps: theta at the best point of the nested grids. Raises DataError without one."""
    ranges, best, theta = list(form.ranges), math.inf, None
    for _ in range(GRIDS):
        axes = [np.geomspace(low, high, SIDE) for low, high in ranges]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        objective, coefficients = _project(form, grid, n, d, loss)
        place = int(objective.argmin())
        if objective[place] < best:
            best, theta = float(objective[place]), np.concatenate([np.log(coefficients[place]), grid[place]])
        if theta is None:
            break
        ranges = [
            (max(limits[0], at / (axis[1] / axis[0]) ** 1.5), min(limits[1], at * (axis[1] / axis[0]) ** 1.5))
            for at, axis, limits in zip(theta[-2:], axes, form.ranges, strict=True)
        ]
    if theta is None:
        raise DataError(
            f"the {form.name} law does not fit these points: no exponents give it positive terms; loss must fall with"
            " parameters and with tokens: give runs of more sizes and lengths"
        )
    return theta


def _polish(form: Form, theta: Array, n: Array, d: Array, log_loss: Array) -> tuple[Array, bool]:
    """(theta at the minimum, whether it was reached), by damped steps in all parameters at once."""
    damping, moved = 1e-3, 0
    residuals = _residuals(form, theta, n, d, log_loss)
    value = float(huber(residuals))
    for _ in range(STEPS):
        columns = []
        for place in range(len(theta)):
            step = np.zeros_like(theta)
            step[place] = 1e-6
            ahead, behind = (_residuals(form, theta + s * step, n, d, log_loss) for s in (1, -1))
            columns.append((ahead - behind) / 2e-6)
        jacobian = np.stack(columns, axis=1)
        weights = np.minimum(1.0, DELTA / np.maximum(np.abs(residuals), 1e-300))
        left = (jacobian * weights[:, None]).T @ jacobian
        right = -(jacobian * weights[:, None]).T @ residuals
        while damping < 1e12:
            change = np.linalg.solve(left + damping * np.diag(np.diag(left) + 1e-15), right)
            trial = theta + change
            with np.errstate(all="ignore"):
                after = _residuals(form, trial, n, d, log_loss) if (trial[-2:] > 0).all() else np.array([np.nan])
                found = float(huber(after)) if np.isfinite(after).all() else math.inf
            if found <= value:
                break
            damping *= 4
        else:
            return theta, True  # no step leads further down
        gain, theta, residuals, value = value - found, trial, after, found
        damping = max(damping / 8, 1e-12)
        moved = moved + 1 if gain <= 1e-13 * max(value, 1e-15) or np.abs(change).max() < 1e-10 else 0
        if moved >= 2:
            return theta, True
    return theta, False


class Fitted(NamedTuple):
    """A law, the objective at it, and the root of the mean square of ln predicted - ln loss."""

    law: Any
    objective: float
    deviation: float
    theta: Array


def fit(form: Form, points: Points, start: Array | None = None) -> Fitted:
    """The law nearest to the points. start: theta of a fit of nearly the same points, which saves the grids.

    Raises DataError for too few points, for points that the law cannot follow, and where the fit does not converge.
    """
    need = len(form.parameters)
    if len(np.unique(np.stack((points.n, points.d)), axis=1).T) <= need:
        raise DataError(
            f"too few points for the {form.name} law: it has {need} parameters, and there are {len(points.n)} points; "
            f"give runs of at least {need + 1} different sizes and lengths"
        )
    n0, d0 = (float(np.exp(np.log(part).mean())) for part in (points.n, points.d))
    n, d, log_loss = points.n / n0, points.d / d0, np.log(points.loss)
    # theta is in units of n0 and d0: a start from elsewhere is searched for by its exponents.
    theta = _search(form, n, d, points.loss) if start is None else _restart(form, start, n, d, points.loss)
    theta, converged = _polish(form, theta, n, d, log_loss)
    residuals = _residuals(form, theta, n, d, log_loss)
    law = form.law(np.exp(theta[:-2]), theta[-2:], n0, d0)
    if not converged or not all(math.isfinite(value) and value > 0 for value in law):
        raise DataError(
            f"the fit of the {form.name} law does not converge on these {len(points.n)} points (at {_words(law)}); "
            "sizes and lengths must vary more, or the law is not theirs"
        )
    if (np.exp(theta[:-2]) < 1e-6 * points.loss.min()).any():
        raise DataError(
            f"the {form.name} law fits these points with a term that vanishes ({_words(law)}): they do not determine "
            "it; give runs that vary more in sizes and lengths"
        )
    return Fitted(law, float(huber(residuals)), float(np.sqrt(np.square(residuals).mean())), theta)


def _restart(form: Form, start: Array, n: Array, d: Array, loss: Array) -> Array:
    """Coefficients by projection at the exponents of `start`."""
    objective, coefficients = _project(form, start[None, -2:], n, d, loss)
    if not math.isfinite(objective[0]):
        return _search(form, n, d, loss)
    return np.concatenate([np.log(coefficients[0]), start[-2:]])


def _words(law: Any) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in law._asdict().items())


def bootstrap(form: Form, points: Points, fitted: Fitted, rounds: int, seed: int = 1) -> tuple[list[Any], int]:
    """Laws fitted to points drawn with replacement, and of how many draws none could be fitted."""
    rng, laws, failed = np.random.default_rng(seed), [], 0
    for _ in range(rounds):
        try:
            laws.append(fit(form, points.take(rng.integers(0, len(points.n), len(points.n))), fitted.theta).law)
        except DataError:
            failed += 1
    return laws, failed


def interval(values: Sequence[float], level: float = 0.9) -> tuple[float, float] | None:
    """The middle part of bootstrap values; None for fewer than 20."""
    if len(values) < 20:
        return None
    low, high = np.quantile(np.asarray(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class LeftOut(NamedTuple):
    """How a fit without the largest runs predicts them: relative errors of loss."""

    points: int
    flops: float
    mean_error: float
    largest_error: float


def leave_largest_out(form: Form, points: Points) -> LeftOut | None:
    """Fit without the points of the largest budget (within 10 % of it), and predict them; None where too few stay."""
    largest = points.flops >= points.flops.max() / 1.1
    try:
        law = fit(form, points.take(~largest)).law
    except DataError:
        return None
    out = points.take(largest)
    errors = law.loss(out.n, out.d) / out.loss - 1
    worst = float(errors[np.abs(errors).argmax()])
    return LeftOut(int(largest.sum()), float(out.flops.max()), float(np.abs(errors).mean()), worst)
