"""Mixtures: rules keep to their caps, proxies foretell losses, robust training finds the hard source."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import shards as made
from conftest import Finished
from curate.config import load_yaml
from curate.errors import ConfigError, DataError
from curate.mixture import capped
from train.config import Shape
from train.loss import IGNORE
from train.mixing.anneal import judged
from train.mixing.caps import epochs_worth, fit_caps
from train.mixing.doremi import Robust, State, token_weights
from train.mixing.regression import draw_mixtures, fit_law, solve, spearman
from train.model import build

SMALL = ["--size", "tiny"]
for setting in ("sequence_length=32", "batch_rows=4", "threads=1", "peak_tflops=1", "precision=fp32"):
    SMALL += ["--set", setting]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources: `easy` repeats one token, `plain` has a pattern, `hard` mixes eight patterns."""
    rng = np.random.default_rng(1)

    def documents(count: int, kinds: int) -> list[list[int]]:
        found = []
        for _ in range(count):
            step, token, tokens = int(rng.integers(kinds)) * 3 + 1, int(rng.integers(1, 60)), []
            for _ in range(30):
                tokens.append(token)
                token = (token * 5 + step) % 63 + 1 if kinds > 1 else 7
            found.append(tokens)
        return found

    kinds = {"easy": (60, 1), "plain": (40, 2), "hard": (30, 8)}
    sources = {name: documents(*how) for name, how in kinds.items()}
    heldout = {name: documents(6, how[1]) for name, how in kinds.items()}
    return made.write_run(tmp_path_factory.mktemp("data") / "run", sources, heldout)


def file(path: Path) -> dict:
    return dict(load_yaml(path).data)


# -- rules and caps ------------------------------------------------------------------------------------------------


def test_four_epochs_are_where_a_token_is_worth_82_percent() -> None:
    assert epochs_worth(math.exp(-3 / 15.387756)) == pytest.approx(4, abs=1e-9) and epochs_worth(1) == 1
    with pytest.raises(ConfigError, match="--worth: must be above 0"):
        epochs_worth(0)


def test_caps_cut_in_proportion_and_what_cannot_be_had_is_said() -> None:
    available = {"web": 1000, "book": 10, "code": 100}
    shares = fit_caps({"web": 0.2, "book": 0.6, "code": 0.2}, available, dict.fromkeys(available, 4.0), 400)
    assert shares == pytest.approx({"web": 0.45, "book": 0.1, "code": 0.45})
    assert capped({"a": 0.5, "b": 0.5}, {"a": 0.1, "b": 1.0}) == pytest.approx({"a": 0.1, "b": 0.9})
    with pytest.raises(ConfigError) as error:
        fit_caps({"book": 0.5, "code": 0.5}, available, dict.fromkeys(available, 4.0), 441)
    assert "441 tokens are asked for, and the caps allow 440" in str(error.value)
    assert "book: 10 tokens, 4 epochs, 40 at most" in str(error.value)


def test_a_rule_writes_a_mixture_with_its_evidence(data: Path, tmp_path: Path, train: Callable[..., Finished]) -> None:
    out = tmp_path / "mix.yaml"
    done = train("mixture", "rule", "--data", data, "--file", out, "--temperature", 2, "--factor", "h*=3", "--cap",
                 "hard=2", "--tokens", 4000)  # fmt: skip
    assert done.code == 0, done.err
    found, tokens = file(out), {"easy": 60 * 31, "plain": 40 * 31, "hard": 30 * 31}
    raw = {name: count**0.5 * (3 if name == "hard" else 1) for name, count in tokens.items()}
    rest = sum(raw.values()) - raw["hard"]
    most = 2 * tokens["hard"] / 4000
    wanted = {name: most if name == "hard" else raw[name] / rest * (1 - most) for name in raw}
    assert found["phases"][0]["weights"] == pytest.approx(wanted, rel=1e-6)
    evidence = found["evidence"]
    assert evidence["capped"] == ["hard"] and evidence["factors"] == {"hard": 3.0}
    facts = evidence["sources"]["hard"]
    worth = tokens["hard"] * (1 + 15.387756 * (1 - math.exp(-1 / 15.387756)))
    assert facts["epochs"] == pytest.approx(2, abs=1e-4) and facts["worth_tokens"] == pytest.approx(worth, abs=1)
    ran = train("run", "--data", data, "--out", tmp_path / "m", "--mixture", out, *SMALL, "--tokens", 1280, "--json")
    assert ran.code == 0, ran.err


def test_documents_with_copies_are_read_as_often_as_fineweb_2_reads_them(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    run = made.write_run(tmp_path / "run", {f"web-{n}": [[1] * 9] * 20 for n in range(6)})
    ask = ("mixture", "rule", "--data", run, "--file", tmp_path / "m.yaml", "--preset", "fineweb-2")
    done = train(*ask, "--max-epochs", 8, "--tokens", 20 * 200)
    assert done.code == 0, done.err
    sources = file(tmp_path / "m.yaml")["evidence"]["sources"]
    assert [sources[f"web-{n}"]["epochs"] for n in range(6)] == pytest.approx([1, 2, 3, 5, 8, 1], abs=1e-4)
    bad = train(*ask[:3], data, *ask[4:])
    assert bad.code == 2 and "no source is named by its number of copies" in bad.err


def test_a_mixture_ends_with_another_to_anneal_on(tmp_path: Path, train: Callable[..., Finished]) -> None:
    for name, weights in (("main", "{web: 1}"), ("better", "{book: 1}")):
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\nphases: [{{name: x, tokens: 900, weights: {weights}}}]\n")
    ask = ("mixture", "join", tmp_path / "main.yaml", tmp_path / "better.yaml", "--file", tmp_path / "all.yaml")
    assert train(*ask, "--share", 0.1).code == 0
    phases = file(tmp_path / "all.yaml")["phases"]
    found = [(phase["name"], phase["tokens"], phase["weights"]) for phase in phases]
    assert found == [("main", 810, {"web": 1}), ("anneal", 90, {"book": 1})]
    bad = train(*ask, "--share", 1)
    assert bad.code == 2 and "--share: must be between 0 and 1" in bad.err


# -- proxy regression ----------------------------------------------------------------------------------------------


def table(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(prior, mixtures, losses with noise, true slopes) of 320 mixtures of 17 sources."""
    rng = np.random.default_rng(seed)
    prior = np.maximum(rng.dirichlet(np.ones(17)), 0.004)
    names = dict(zip(map(str, range(17)), prior / prior.sum(), strict=True))
    drawn = draw_mixtures(names, {name: min(1.0, 15 * p) for name, p in names.items()}, 320, seed, (0.1, 5.0))
    x, slopes = np.array([list(one.values()) for one in drawn]), rng.normal(0, 1, 17)
    losses = (1.5 + np.exp(0.4 + x @ slopes)) * np.exp(rng.normal(0, noise, len(x)))
    return np.array(list(names.values())), x, losses, slopes


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_64_proxies_of_17_sources_foretell_the_order_of_unseen_mixtures(seed: int) -> None:
    _, x, losses, _ = table(seed, 0.01)
    law = fit_law(x[:64], losses[:64])
    assert spearman(law.loss(x[64:]), losses[64:]) >= 0.94
    assert law.left_out_spearman == pytest.approx(spearman(law.loss(x[64:]), losses[64:]), abs=0.05)


def test_the_best_mixture_is_the_least_of_the_law_under_its_caps() -> None:
    prior, x, losses, slopes = table(1, 0.002)
    law, caps = fit_law(x[:64], losses[:64]), np.minimum(1.0, 4 * prior)
    best, value = solve([law], np.ones(1), prior, caps, 0.05)
    assert best.sum() == pytest.approx(1) and (best <= caps + 1e-9).all()

    def objective(w: np.ndarray) -> float:
        return float(np.exp(w @ law.slopes) + 0.05 * (w * np.log(np.maximum(w, 1e-300) / prior)).sum())

    rng, names = np.random.default_rng(1), [str(n) for n in range(17)]
    limits = dict(zip(names, caps, strict=True))
    for _ in range(300):  # nothing near it or far from it is lower
        start = best if rng.random() < 0.5 else rng.dirichlet(np.ones(17))
        moved = np.maximum(start * np.exp(rng.normal(0, 0.1, 17)), 1e-12)
        other = capped(dict(zip(names, moved / moved.sum(), strict=True)), limits)
        assert objective(np.array(list(other.values()))) >= value - 1e-9
    assert np.exp(best @ slopes) < np.exp(prior @ slopes)


def test_too_few_proxies_and_losses_that_tell_nothing_are_refused() -> None:
    _, x, losses, _ = table(1, 0.01)
    for n, y, message in ((18, losses, "too few proxies: 18 for 17 sources; at least 19"),
                          (64, losses * np.nan, "losses must be numbers above 0"),
                          (64, losses * 0 + 2.0, "all proxies have the same loss")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            fit_law(x[:n], y[:n])
    with pytest.raises(ConfigError, match="drawn mixtures keep to the caps; the tightest allows a"):
        draw_mixtures({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}, 2, 1, (1.0, 1.0))
    assert spearman(np.array([1.0, 2, 2, 4]), np.array([1.0, 3, 3, 9])) == pytest.approx(1)


def test_tables_of_other_tools_are_fitted_and_solved(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    rng = np.random.default_rng(1)
    x = rng.dirichlet(np.ones(3), 30)
    weights = ["run,easy,hard,plain", *(f"{n},{','.join(map(str, row))}" for n, row in enumerate(x))]
    y = 1 + np.exp(x @ [0.5, -1.0, 0.2])
    losses = ["run,wiki", *(f"{n},{value}" for n, value in enumerate(y))]
    for name, lines in (("w.csv", weights), ("l.csv", losses)):
        (tmp_path / name).write_text("\n".join(lines))
    ask = ("--weights", tmp_path / "w.csv", "--losses", tmp_path / "l.csv")
    done = train("mixture", "fit", "--out", tmp_path, *ask)
    assert done.code == 0 and "wiki" in done.out, done.err
    out = tmp_path / "best.yaml"
    done = train("mixture", "solve", "--data", data, "--out", tmp_path, "--file", out, "--tokens", 5000)
    assert done.code == 0, done.err
    found = file(out)
    assert found["phases"][0]["weights"]["hard"] == pytest.approx(4 * 30 * 31 / 5000, rel=1e-3)  # at its cap
    low, high = found["evidence"]["gain"]["interval"]
    assert low <= found["evidence"]["gain"]["mean"] <= high < 0
    done = train("mixture", "solve", "--data", data, "--out", tmp_path, "--file", out, "--tokens", 50_000)
    assert done.code == 2 and "the caps allow 16,120" in done.err
    (tmp_path / "w.csv").write_text("run,easy,hard,plain\n0,1,1,1\n")
    assert "sum to 3.0000" in train("mixture", "fit", "--out", tmp_path, *ask).err


# -- robust training -----------------------------------------------------------------------------------------------


def test_the_weighted_loss_is_the_sum_of_the_means_of_the_sources() -> None:
    torch.set_num_threads(1)
    shape = Shape(vocab_size=61, sequence_length=24, layers=1, width=32, heads=2, kv_heads=1, ffn_width=40, tied=True)
    model, rng = build(shape, 1), np.random.default_rng(1)
    inputs, targets = (torch.from_numpy(rng.integers(0, 61, (6, 24))) for _ in range(2))
    targets[0, 5:] = IGNORE
    sources, alpha = np.array([0, 0, 2, 2, 2, 0]), np.array([0.2, 0.5, 0.3])
    counts = np.bincount(sources, (targets != IGNORE).sum(1), 3)
    weights = torch.from_numpy(token_weights(alpha, counts, sources))[:, None].expand(targets.shape).contiguous()
    total = model.loss(inputs, targets, weight_BT=weights).total / counts.sum()
    nats = model.nats(inputs, targets)
    means = [nats[sources == n].sum() / (targets[sources == n] != IGNORE).sum() for n in (0, 2)]
    assert total.item() == pytest.approx(float((0.2 * means[0] + 0.3 * means[1]) / 0.5), rel=1e-5)


def test_weights_move_by_the_excess_and_a_source_that_was_not_read_keeps_its_own() -> None:
    state, how = State(np.array([0.5, 0.25, 0.25])), Robust(1.0, 1e-3)
    state.update(np.array([10.0, 40.0, 0.0]), np.array([100.0, 100.0, 0.0]), how)
    raw = np.array([0.5 * math.exp(0.1), 0.25 * math.exp(0.4), 0.25])
    assert state.alpha == pytest.approx((1 - 1e-3) * raw / raw.sum() + 1e-3 / 3)
    state.update(np.array([0.0, 0.0, 30.0]), np.array([0.0, 0.0, 100.0]), how)
    assert state.excess == pytest.approx([0.1, 0.4, 0.3]) and state.total.sum() == pytest.approx(2)


def test_robust_training_continues_with_the_same_weights_and_writes_their_mean(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    ask = ["mixture", "doremi", "--data", data, "--out", tmp_path / "a", *SMALL, "--steps-tokens", 12 * 128]
    done = train(*ask, "--set", "save_every=5", "--set", "micro_rows=2", "--max-epochs", 99)
    assert done.code == 0, done.err
    found, log = file(tmp_path / "a" / "mixture.yaml"), tmp_path / "a" / "weights.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(12))
    for name, mean in found["evidence"]["mean_weights"].items():
        assert np.mean([line["weights"][name] for line in lines]) == pytest.approx(mean, abs=1e-6)
    for path in sorted((tmp_path / "a" / "proxy" / "checkpoints").iterdir())[-1:]:
        shutil.rmtree(path)  # the proxy goes on from an earlier checkpoint
    again = train(*ask, "--set", "save_every=5", "--set", "micro_rows=2", "--max-epochs", 99)
    assert again.code == 0 and file(tmp_path / "a" / "mixture.yaml") == found
    assert [json.loads(line) for line in log.read_text().splitlines()] == lines
    bad = train(*ask[:5], tmp_path / "b", *SMALL, "--eta", 0)
    assert bad.code == 2 and "--eta must be above 0" in bad.err


@pytest.mark.slow
def test_robust_training_finds_a_planted_hard_source_and_does_not_collapse(
    tmp_path: Path, train: Callable[..., Finished]
) -> None:
    tokens = [made.sentences(seed, 60, longest=40) for seed in (1, 2)]
    easy = {name: [[token] * 20 for _ in range(60)] for name, token in (("easy", 7), ("even", 9))}
    run = made.write_run(tmp_path / "run", {**easy, "hard": tokens[0]}, {"hard": tokens[1]})
    least = [
        part for text in ("layers=1", "width=32", "heads=2", "ffn_width=64") for part in ("--set", f"model.{text}")
    ]
    ask = ["mixture", "doremi", "--data", run, "--out", tmp_path / "a", *SMALL, *least, "--steps-tokens", 150 * 128]
    done = train(*ask, "--max-epochs", 99, "--set", "max_epochs=99", "--set", "optim.learning_rate=0.01")
    assert done.code == 0, done.err
    evidence = file(tmp_path / "a" / "mixture.yaml")["evidence"]
    weights, prior = evidence["mean_weights"], evidence["reference"]
    assert weights["hard"] == max(weights.values()) and weights["hard"] > 1.2 * prior["hard"], weights
    assert max(weights.values()) < 0.95 and min(weights.values()) > 3e-4


# -- runs of several models ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_proxies_are_planned_trained_fitted_and_solved(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out = tmp_path / "study"
    few = train("mixture", "plan", "--data", data, "--out", out, "--proxies", 4, "--tokens", 256, *SMALL)
    assert few.code == 2 and "--proxies 4: too few for 3 sources; at least 5" in few.err
    ask = ("mixture", "plan", "--data", data, "--out", out, "--proxies", 5, "--tokens", 256, *SMALL)
    assert train(*ask).code == 0
    assert "is another plan" in train(*ask, "--seed", 2).err
    first = train("mixture", "run", "--out", out, "--json")
    assert first.code == 0 and first.json == {"proxies": 5, "measured": 5, "measured_now": 5}, first.err
    table = (out / "table.jsonl").read_text()
    (out / "table.jsonl").write_text(table[:-20])  # a line that was cut short
    assert train("mixture", "run", "--out", out, "--json").json["measured_now"] == 1
    assert (out / "table.jsonl").read_text() == table
    assert train("mixture", "fit", "--out", out).code == 0
    done = train("mixture", "solve", "--data", data, "--out", out, "--file", tmp_path / "m.yaml", "--target", "hard")
    assert done.code == 0 and file(tmp_path / "m.yaml")["evidence"]["targets"] == ["hard"], done.err
    wrong = train("mixture", "solve", "--data", data, "--out", out, "--file", tmp_path / "m.yaml", "--target", "x")
    assert wrong.code == 2 and "--target x: the law has" in wrong.err


@pytest.mark.slow
def test_a_source_is_judged_by_annealing_with_and_without_it(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("version: 1\nphases: [{name: main, tokens: 2560, weights: {easy: 1, plain: 1}}]\n")
    model = tmp_path / "model"
    slow = ("--set", "optim.optimizer=adamw", "--set", "optim.warmup_steps=20")  # so that annealing has much to learn
    assert train("run", "--data", data, "--out", model, "--mixture", base, *SMALL, *slow).code == 0
    ask = (
        "mixture",
        "anneal",
        "--data",
        data,
        "--out",
        tmp_path / "a",
        "--init",
        model,
        "--mixture",
        base,
        "--seeds",
        2,
    )
    done = train(*ask, "--source", "hard", "--tokens", 1280, "--set", "threads=1", "--json")
    assert done.code == 0, done.err
    gap = done.json["differences"]["hard"]
    assert gap["value"] < 0 and gap["interval"][0] < gap["value"] < gap["interval"][1]
    runs = done.json["runs"]
    mean = np.mean([runs["with"][seed]["hard"] - runs["without"][seed]["hard"] for seed in ("1", "2")])
    assert gap["value"] == pytest.approx(mean)
    lines = [json.loads(line) for line in (tmp_path / "a" / "with-s1" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines]
    assert rates[-1] == 0 and rates == sorted(rates, reverse=True) and set(lines[0]["loss_by_source"]) > {"hard"}
    final = file(tmp_path / "a" / "mixture.yaml")
    assert [phase["name"] for phase in final["phases"]] == ["main", "anneal"] and final["evidence"]["arm"] == "with"
    mistakes = [
        (("--source", "x"), "no tokens of such a source"),
        (("--source", "hard", "--share", 2), "--share: must be between 0 and 1"),
        (("--source", "hard", "--tokens", 9000, "--share", 0.9), "lower --share or --tokens"),
        (("--source", "hard", "--seeds", 1), "an interval needs two or more"),
    ]
    for more, message in mistakes:
        bad = train(*ask, *more)
        assert bad.code == 2 and message in " ".join(bad.err.split()), bad.err


def test_a_judgement_is_paired_by_seed() -> None:
    runs = {"with": {1: {"all": 1.0}, 2: {"all": 3.0}}, "without": {1: {"all": 1.1}, 2: {"all": 3.1}}}
    gap = judged(runs, "new", 0.3, 10)["differences"]["all"]
    assert gap["value"] == pytest.approx(-0.1) and gap["interval"][1] < 0
