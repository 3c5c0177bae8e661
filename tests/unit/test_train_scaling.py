"""Scaling laws: known laws are found again, published values come out, and grids that tell nothing are refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shards
from conftest import Finished
from curate.errors import ConfigError, DataError
from train.scaling import laws
from train.scaling.fit import CHINCHILLA, KAPLAN, Points, bootstrap, fit, interval, leave_largest_out
from train.scaling.isoflop import iso_flop
from train.scaling.laws import DATA_CONSTRAINED, Chinchilla, Kaplan, repeated_loss
from train.scaling.study import Question, fit_points, predict

LAW = Chinchilla(A=477, B=2140, E=1.817, alpha=0.347, beta=0.367)
SIZES = np.geomspace(1 / 6, 6, 15)
BUDGETS = np.geomspace(6e18, 3e21, 9)


def grid(law: Any = LAW, sizes: Any = SIZES, noise: float = 0.0, budgets: Any = BUDGETS) -> Points:
    """Nine budgets, 15 sizes around the best one of each."""
    n = np.concatenate([LAW.best(budget / 6)[0] * sizes for budget in budgets])
    flops = np.repeat(budgets, len(sizes))
    d = flops / 6 / n
    loss = law.loss(n, d) * np.exp(np.random.default_rng(1).normal(0, noise, len(n)))
    return Points(n, d, loss, flops, d)


def write(path: Path, points: Points, **more: Any) -> Path:
    lines = [
        json.dumps({"parameters": n, "tokens": d, "loss": loss, "flops": c, "unique_tokens": u, **more})
        for n, d, loss, c, u in zip(*points, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_parameters_of_a_law_are_found_within_one_percent_wild_points_or_not() -> None:
    points = grid()
    wild = points._replace(loss=points.loss * np.where(np.arange(len(points.n)) % 27 == 3, 1.1, 1.0))
    for one in (points, wild):
        assert fit(CHINCHILLA, one).law == pytest.approx(LAW, rel=0.01)
    kaplan = Kaplan(Nc=8.8e13, Dc=5.4e13, alpha_n=0.076, alpha_d=0.095)
    assert fit(KAPLAN, grid(kaplan)).law == pytest.approx(kaplan, rel=0.01)


def test_intervals_hold_the_truth_and_the_largest_runs_are_foretold() -> None:
    points = grid(noise=0.003)
    fitted = fit(CHINCHILLA, points)
    drawn, failed = bootstrap(CHINCHILLA, points, fitted, 24)
    assert len(drawn) + failed == 24 and failed < 3
    for name in ("alpha", "beta", "E"):
        span = interval([getattr(law, name) for law in drawn], 0.99)
        assert span is not None and span[0] < getattr(LAW, name) < span[1]
    left = leave_largest_out(CHINCHILLA, points)
    assert left is not None and left.points == 15 and left.mean_error < 0.005


def test_repeated_tokens_are_worth_what_was_published() -> None:
    values = [
        repeated_loss(DATA_CONSTRAINED, 6.34e9, 242e9, 25e9),
        repeated_loss(DATA_CONSTRAINED, 8.67e9, 178e9, 25e9),
    ]
    assert values == pytest.approx([2.2256440889984477, 2.2269634075087867], abs=1e-9)
    assert repeated_loss(LAW, 1e9, 1e10, 1e12) == LAW.loss(1e9, 1e10)


def test_the_best_runs_are_the_lowest_points_of_their_laws() -> None:
    parameters, tokens = LAW.best(1e20)
    assert parameters * tokens == pytest.approx(1e20)
    assert all(LAW.loss(parameters, tokens) < LAW.loss(parameters * f, tokens / f) for f in (0.9, 1.1))
    assert LAW.parameters_for(tokens) == pytest.approx(parameters)
    few, many = (
        laws.best_repeated(LAW, 1e20, tokens / 20, (15.4, 5.3)),
        laws.best_repeated(LAW, 1e20, 1e14, (15.4, 5.3)),
    )
    assert few[0] < many[0] == pytest.approx(parameters, rel=1e-3)  # with little data, a smaller model and more epochs
    loss = float(LAW.loss(parameters, tokens))
    smaller, longer = laws.best_for_inference(LAW, loss, 1e13, 6.0)
    assert smaller < parameters and longer > tokens and float(LAW.loss(smaller, longer)) == pytest.approx(loss)

    def cost(n: float) -> float:
        return 6 * n * LAW.tokens_for(n, loss) + 2 * n * 1e13

    assert all(cost(smaller) <= cost(smaller * f) for f in (0.98, 1.02))
    with pytest.raises(ConfigError, match=r"no model reaches a loss of 1\.8"):
        laws.best_for_inference(LAW, 1.8, 1e12, 6.0)


def test_approach_2_finds_the_exponents_and_refuses_budgets_that_do_not_bracket() -> None:
    found = iso_flop(grid(noise=0.0005), False, 40)
    share = LAW.beta / (LAW.alpha + LAW.beta)
    assert found["parameters_exponent"] == pytest.approx(share, abs=0.02) and len(found["budgets"]) == 9
    assert found["parameters_exponent"] + found["tokens_exponent"] == pytest.approx(1)
    low, high = found["parameters_exponent_interval"]
    assert low <= found["parameters_exponent"] <= high
    for sizes, words in ((np.geomspace(1.5, 6, 5), "of the smallest size"), (np.geomspace(0.1, 0.6, 5), "add larger")):
        with pytest.raises(DataError) as error:
            iso_flop(grid(sizes=sizes), False, 0)
        assert words in str(error.value) and str(error.value).count("budget of") == 9
        assert len(iso_flop(grid(sizes=sizes), True, 0)["refused"]) == 9


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (grid(budgets=BUDGETS[:1]).take(slice(0, 5)), "too few points for the chinchilla law"),
        (grid()._replace(loss=3 - 0.1 * np.log10(1e30 / grid().n)), "chinchilla law"),  # more parameters, more loss
    ],
)
def test_points_that_no_law_follows_are_refused_in_words(points: Points, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(CHINCHILLA, points)


def test_runs_that_repeat_their_tokens_tell_what_these_are_worth(tmp_path: Path) -> None:
    points = grid()
    unique = points.d / np.tile([1, 1, 8, 20, 60], 27)
    repeated = repeated_loss(LAW, points.n, points.d, unique, 12.0, 5.309743)
    loss = np.where(unique < points.d, repeated, points.loss)
    path = write(tmp_path / "p.jsonl", points._replace(loss=loss, unique=unique))
    one = fit_points(path, True, 0)["by_count"]["with_head"]
    assert one["epochs_up_to"] == 1 and one["repeated"]["tokens"] == pytest.approx(12, rel=0.05)
    assert one["chinchilla"]["alpha"] == pytest.approx(LAW.alpha, rel=0.01)


def test_a_study_is_fitted_drawn_and_asked_from_the_command_line(
    tmp_path: Path, train: Callable[..., Finished]
) -> None:
    points = write(tmp_path / "p.jsonl", grid(noise=0.002), seconds=3600.0)
    done = train("scaling", "fit", "--out", tmp_path, "--points", points, "--draws", 25)
    assert done.code == 0, done.err
    assert "(Chinchilla: 20)" in done.out and "approach 2" in done.out and max(map(len, done.out.splitlines())) <= 80
    told = train("scaling", "predict", "--out", tmp_path, "--flops", 6e21, "--json").json
    parameters, tokens = LAW.best(1e21)
    assert told["parameters"] == pytest.approx(parameters, rel=0.2) and told["hours"] == pytest.approx(2, rel=0.01)
    low, high = told["loss_interval"]
    assert low < LAW.loss(parameters, tokens) < high
    for ask in (["--params", 1e9], ["--tokens", 1e10], ["--flops", 1e21, "--inference-tokens", 1e12],
                ["--flops", 1e21, "--unique-tokens", 1e9], ["--params", 1e9, "--tokens", 1e10]):  # fmt: skip
        assert train("scaling", "predict", "--out", tmp_path, *ask).code == 0
    assert train("scaling", "plot", "--out", tmp_path, "--file", tmp_path / "law.html").code == 0
    data = json.loads((tmp_path / "law.json").read_text())
    assert [len(one["points"]) for one in data["panels"]["loss against parameters (with_head)"]] == [15] * 9
    assert "<circle" in (tmp_path / "law.html").read_text()


@pytest.mark.slow
def test_a_study_is_planned_trained_and_continued(tmp_path: Path, train: Callable[..., Finished]) -> None:
    run = shards.write_run(tmp_path / "run", {"web": shards.sentences(1, 60)}, {"web": shards.sentences(2, 8)})
    small = []
    for setting in ("sequence_length=32", "batch_rows=2", "precision=fp32", "peak_tflops=1", "max_epochs=99",
                    "model.layers=1", "model.heads=2", "model.kv_heads=1", "optim.optimizer=adamw"):  # fmt: skip
        small += ["--set", setting]
    out = tmp_path / "study"
    ask = ("scaling", "plan", "--data", run, "--out", out, "--halvings", 1, *small)
    one = train(*ask, "--flops", 3e9, "--sizes", "0.5m,1m,2m", "--ratio", 20)
    assert one.code == 2 and "add sizes smaller than" in one.err and "do not bracket" in one.err
    done = train(*ask, "--flops", 3e9, "--sizes", "0.5m,1m,2m", "--ratio", 0.02)
    assert done.code == 0 and "3 runs" in done.out and "(Chinchilla: 20)" in done.out, done.err
    assert "is another plan" in train(*ask, "--flops", 3e9, "--sizes", "0.5m,1m,2m", "--ratio", 0.021).err
    first = train("scaling", "run", "--out", out, "--threads", 1, "--json")
    assert first.code == 0 and first.json["points_now"] == 6, first.err
    lines = (out / "points.jsonl").read_text()
    (out / "points.jsonl").write_text(lines[:-30])  # a line that was cut short
    assert train("scaling", "run", "--out", out, "--threads", 1, "--json").json["points_now"] == 1
    assert (out / "points.jsonl").read_text() == lines
    points = [json.loads(line) for line in lines.splitlines()]
    assert [point["tokens"] for point in points[::2]] == [point["tokens"] / 2 for point in points[1::2]]
    for point in points:
        assert point["standard_error"] > 0 and point["unique_tokens"] <= point["tokens"] and point["seconds"] > 0
        counts = point["parameters"]
        assert counts["no_embedding"] < counts["with_head"] <= counts["all"]
    refused = train("scaling", "fit", "--out", out)
    assert refused.code == 1 and "do not bracket the best size at every budget" in refused.err


@pytest.mark.parametrize(
    ("line", "ask", "message"),
    [
        ('{"parameters": 1, "tokens": 1, "loss": 1}', ["fit"], "p.jsonl:1: not a point: KeyError 'flops'"),
        ('{"parameters": 1, "tokens": 1, "loss": NaN, "flops": 1}', ["fit"], "must be numbers above 0, found nan"),
        ("", ["fit"], "holds no points"),
        ("", ["predict"], "no fit"),
    ],
)
def test_mistakes_are_one_message(
    line: str, ask: list[str], message: str, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(line + "\n")
    more = ["--points", path] if ask == ["fit"] else ["--flops", 1e20]
    done = train("scaling", *ask, "--out", tmp_path, *more)
    assert done.code in (1, 2) and message in " ".join(done.err.split()), done.err


def test_a_question_that_says_too_little_is_refused() -> None:
    one = {"chinchilla": LAW._asdict(), "flops_per_parameter_and_token": 6.0, "bootstrap": [],
           "repeated": {"tokens": 15.0, "parameters": 5.0}}  # fmt: skip
    found = {"best_count": "all", "flops_per_second": None, "by_count": {"all": one}}
    with pytest.raises(ConfigError, match="give --flops, --params or --tokens"):
        predict(found, Question(), None, None)
    answer = predict(found, Question(flops=6e20), None, None)
    assert answer["loss_interval"] is None and math.isclose(answer["flops"], 6e20) and answer["hours"] is None
