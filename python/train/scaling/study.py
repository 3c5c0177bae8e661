"""`train scaling fit` and `predict`: laws of all points with intervals, kept in OUT/fit.json, and what they foretell.

Laws are fitted for each way of counting parameters: the way whose law deviates least from the points is the one to
predict with. Where runs read their tokens more than once, the law is that of the runs that did not (of those of at
most four epochs where these are too few), and what repeated tokens are worth is fitted to the others.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate import console
from curate.errors import ConfigError, DataError
from train import checkpoint
from train.scaling import laws
from train.scaling.fit import CHINCHILLA, FORMS, Points, bootstrap, fit, huber, interval, leave_largest_out
from train.scaling.isoflop import iso_flop
from train.scaling.laws import CHINCHILLA_RATIO, Chinchilla
from train.scaling.points import COUNTS, arrays, read_points

FILE = "fit.json"
RANGE = (0.5, 500.0)  # of what repeated tokens and parameters are worth


def fit_points(path: Path, unbracketed: bool, rounds: int) -> dict[str, Any]:
    """The laws of a file of points, by way of counting parameters. Raises DataError where none can be had."""
    points = read_points(path)
    result: dict[str, Any] = {"points": len(points), "file": str(path), "rounds": rounds, "by_count": {}}
    speeds = [point["flops"] / point["seconds"] for point in points if point.get("seconds")]
    result["flops_per_second"] = max(speeds, default=None)
    for count in COUNTS:
        same = next((one for one in result["by_count"] if all(_alike(point, one, count) for point in points)), None)
        if not same:  # points made elsewhere count parameters in one way only
            result["by_count"][count] = _fit_count(arrays(points, count), unbracketed, rounds)
    deviations = {key: one["chinchilla"]["deviation"] for key, one in result["by_count"].items()}
    result["best_count"] = min(deviations, key=lambda key: deviations[key])
    return result


def _alike(point: dict[str, Any], one: str, other: str) -> bool:
    return bool(point["parameters"][one] == point["parameters"][other])


def _fit_count(points: Points, unbracketed: bool, rounds: int) -> dict[str, Any]:
    fresh, epochs = _fresh(points)
    cost = float(np.median(points.flops / (points.n * points.d)))
    found: dict[str, Any] = {"flops_per_parameter_and_token": cost, "epochs_up_to": epochs, "points": len(fresh.n)}
    for form in FORMS:
        try:
            one = fit(form, fresh)
        except DataError as error:
            if form is CHINCHILLA:
                raise
            found[form.name] = {"refused": str(error)}
            continue
        found[form.name] = {**one.law._asdict(), "deviation": one.deviation, "objective": one.objective}
        if form is CHINCHILLA:
            drawn, failed = bootstrap(form, fresh, one, rounds)
            found["bootstrap"] = [list(law) for law in drawn]
            found["bootstrap_failed"] = failed
            found["intervals"] = {name: interval([getattr(law, name) for law in drawn]) for name in Chinchilla._fields}
            left = leave_largest_out(form, fresh)
            found["leave_largest_out"] = left._asdict() if left else None
            found["repeated"] = _repeated(one.law, points)
    found["isoflop"] = iso_flop(points, unbracketed, rounds)
    return found


def _fresh(points: Points) -> tuple[Points, float]:
    """The runs that read their tokens once, or up to four times where those are too few; and how often that is."""
    epochs = points.d / points.unique
    need = len(CHINCHILLA.parameters) + 1
    for most in (1.0, 4.0, math.inf):
        kept = points.take(epochs <= most * 1.001)
        if len(kept.n) >= need:
            return kept, float(epochs.max()) if most == math.inf else most
    return points, float(epochs.max())


def _repeated(law: Chinchilla, points: Points) -> dict[str, Any]:
    """What repeated tokens and parameters are worth by the runs of more than one epoch; else as published."""
    more = points.take(points.d > points.unique * 1.001)
    found: dict[str, Any] = {"points": len(more.n)}
    values = [laws.REPEAT_TOKENS, laws.REPEAT_PARAMETERS]
    fitted = [False, False]
    if len(more.n) >= 3:

        def objective(tokens: float, parameters: float) -> float:
            predicted = laws.repeated_loss(law, more.n, more.d, more.unique, tokens, parameters)
            return float(huber(np.log(predicted) - np.log(more.loss)))

        beyond = bool((more.n > law.parameters_for(more.unique)).any())

        def best_parameters(tokens: float) -> float:
            return laws.minimum(lambda r: objective(tokens, r), *RANGE, 1e-4) if beyond else values[1]

        values[0] = laws.minimum(lambda r: objective(r, best_parameters(r)), *RANGE, 1e-4)
        values[1] = best_parameters(values[0])
        for place, default in enumerate((laws.REPEAT_TOKENS, laws.REPEAT_PARAMETERS)):
            # At the end of its range a value is not determined by the points.
            fitted[place] = (place == 0 or beyond) and RANGE[0] * 1.01 < values[place] < RANGE[1] / 1.01
            values[place] = values[place] if fitted[place] else default
    return found | {
        "tokens": values[0],
        "parameters": values[1],
        "tokens_fitted": fitted[0],
        "parameters_fitted": fitted[1],
    }


def write_fit(out: Path, result: dict[str, Any]) -> None:
    """Into OUT/fit.json."""
    checkpoint.write_file(out / FILE, json.dumps(result, indent=1).encode())


def read_fit(out: Path) -> dict[str, Any]:
    """OUT/fit.json. Raises ConfigError where there is none."""
    try:
        found: dict[str, Any] = json.loads((out / FILE).read_text(encoding="utf-8"))
        found["by_count"][found["best_count"]]["chinchilla"]["alpha"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{out / FILE}: no fit: {error}; `train scaling fit` makes one") from None
    return found


class Question(NamedTuple):
    """What to predict: the best run of `flops`, or the run of `parameters` and `tokens`, of which one may be open.

    inference_tokens: to be answered over the model's life. unique_tokens: as many different ones as there are.
    """

    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    inference_tokens: float | None = None
    unique_tokens: float | None = None


def predict(found: dict[str, Any], question: Question, count: str | None, rate: float | None) -> dict[str, Any]:
    """N, D, loss and its 90 % interval, operations and hours. Raises ConfigError for a question that says too little.

    count: the way of counting parameters, the best one without. rate: operations a second, that of the runs without.
    """
    way = count or found["best_count"]
    if way not in found["by_count"]:
        raise ConfigError(f"--count {way}: these points count parameters as {', '.join(found['by_count'])} alone")
    one = found["by_count"][way]
    law = Chinchilla(**{name: one["chinchilla"][name] for name in Chinchilla._fields})
    cost, constants = one["flops_per_parameter_and_token"], (one["repeated"]["tokens"], one["repeated"]["parameters"])
    parameters, tokens = _answer(law, cost, constants, question)
    losses = [_loss(Chinchilla(*row), parameters, tokens, question, constants) for row in one["bootstrap"]]
    flops, speed = cost * parameters * tokens, rate or found["flops_per_second"]
    return {
        "count": way,
        "parameters": parameters,
        "tokens": tokens,
        "loss": _loss(law, parameters, tokens, question, constants),
        "loss_interval": interval(losses),
        "flops": flops,
        "inference_flops": 2 * parameters * question.inference_tokens if question.inference_tokens else None,
        "tokens_per_parameter": tokens / parameters,
        "chinchilla_tokens_per_parameter": CHINCHILLA_RATIO,
        "epochs": max(1.0, tokens / question.unique_tokens) if question.unique_tokens else None,
        "hours": flops / speed / 3600 if speed else None,
    }


def _loss(
    law: Chinchilla, parameters: float, tokens: float, question: Question, constants: tuple[float, float]
) -> float:
    if question.unique_tokens:
        return float(laws.repeated_loss(law, parameters, tokens, question.unique_tokens, *constants))
    return float(law.loss(parameters, tokens))


def _answer(law: Chinchilla, cost: float, constants: tuple[float, float], asked: Question) -> tuple[float, float]:
    """(N, D) of a question."""
    given = [value for value in asked if value is not None]
    if any(not 0 < value < math.inf for value in given):
        raise ConfigError("numbers to predict for must be above 0")
    if asked.parameters and asked.tokens and not asked.flops:
        return asked.parameters, asked.tokens
    if asked.flops and not (asked.parameters and asked.tokens):
        product = asked.flops / cost
        if asked.parameters or asked.tokens:
            parameters = asked.parameters or product / (asked.tokens or 1)
            return parameters, product / parameters
        if asked.inference_tokens:
            loss = float(law.loss(*law.best(product)))
            return laws.best_for_inference(law, loss, asked.inference_tokens, cost)
        if asked.unique_tokens:
            return laws.best_repeated(law, product, asked.unique_tokens, constants)
        return law.best(product)
    if asked.tokens and not asked.flops:
        return float(law.parameters_for(asked.tokens)), asked.tokens
    if asked.parameters and not asked.flops:
        return asked.parameters, laws.minimum(
            lambda d: abs(math.log(law.parameters_for(d) / (asked.parameters or 1))), 1.0, 1e20
        )
    raise ConfigError("give --flops, --params or --tokens, or two of them")


# -- as text -----------------------------------------------------------------------------------------------------


def fit_text(result: dict[str, Any]) -> str:
    """The laws as lines of at most 80 columns."""
    lines = [f"{result['points']} points; L = E + A / N^alpha + B / D^beta, 90 % intervals of {result['rounds']} draws"]
    rows = []
    for count, one in result["by_count"].items():
        law, ranges = one["chinchilla"], one["intervals"]
        for name in Chinchilla._fields:
            span = ranges[name]
            words = f"{span[0]:.4g} to {span[1]:.4g}" if span else "none"
            rows.append([count if name == "A" else "", name, f"{law[name]:.5g}", words])
    lines += ["", console.table(["parameters", "", "value", "interval"], rows, left=2), ""]
    for count, one in result["by_count"].items():
        lines.append(f"{count}: deviates by {100 * one['chinchilla']['deviation']:.2f} % of loss{_kaplan(one)}")
        if left := one["leave_largest_out"]:
            lines.append(
                f"  the largest budget foretold without it: {100 * left['mean_error']:.2f} % off, at most "
                f"{100 * left['largest_error']:+.2f} %"
            )
        valleys = [
            [
                f"{v['flops']:.3g}",
                f"{v['parameters']:.4g}",
                f"{v['tokens']:.4g}",
                f"{v['tokens'] / v['parameters']:.3g}",
            ]
            for v in one["isoflop"]["budgets"]
        ]
        if valleys:
            heads = ["operations", "best N", "best D", f"D / N (Chinchilla: {CHINCHILLA_RATIO:g})"]
            lines += [f"  {line}" for line in console.table(heads, valleys, left=0).splitlines()]
        if "parameters_exponent" in one["isoflop"]:
            lines.append("  " + _exponents(one["isoflop"], one["chinchilla"]))
        lines += [console.wrap(f"  left out: {why}") for why in one["isoflop"]["refused"]]
    lines.append(f"the straightest law counts parameters as {result['best_count']}")
    return "\n".join(lines)


def _kaplan(one: dict[str, Any]) -> str:
    return f"; Kaplan's form {100 * one['kaplan']['deviation']:.2f} %" if "deviation" in one["kaplan"] else ""


def _exponents(found: dict[str, Any], law: dict[str, Any]) -> str:
    parts = []
    for name in ("parameters", "tokens"):
        span = found[f"{name}_exponent_interval"]
        words = f" ({span[0]:.3f} to {span[1]:.3f})" if span else ""
        parts.append(f"{name} ~ C^{found[f'{name}_exponent']:.3f}{words}")
    share = law["beta"] / (law["alpha"] + law["beta"])
    return (
        "approach 2: "
        + "\n              ".join(parts)
        + f"\n  approach 3: parameters ~ C^{share:.3f}, tokens ~ C^{1 - share:.3f}"
    )


def prediction_text(answer: dict[str, Any]) -> str:
    """A prediction as lines."""
    span = answer["loss_interval"]
    words = f" (90 %: {span[0]:.4f} to {span[1]:.4f})" if span else " (no interval: fewer than 20 draws)"
    lines = [
        f"parameters  {answer['parameters']:,.0f} ({answer['count']})",
        f"tokens      {answer['tokens']:,.0f}, {answer['tokens_per_parameter']:.3g} a parameter (Chinchilla: "
        f"{CHINCHILLA_RATIO:g})",
        f"loss        {answer['loss']:.4f}{words}",
        f"operations  {answer['flops']:.4g}",
    ]
    if answer["epochs"]:
        lines.append(f"epochs      {answer['epochs']:.3g}")
    if answer["inference_flops"]:
        lines.append(f"inference   {answer['inference_flops']:.4g} operations")
    if answer["hours"]:
        lines.append(f"hours       {answer['hours']:,.3g}")
    return "\n".join(lines)
