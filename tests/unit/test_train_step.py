"""Steps: what gradients they add up, which they skip, how the rate goes, and what Muon does."""

import numpy as np
import pytest
import torch

from curate.errors import CurateError
from train import step as module
from train.config import Shape, TrainSettings, load_settings, resolve
from train.loss import IGNORE
from train.model import build
from train.optim import Optimizer, gradients, orthogonalize
from train.packing import Batch
from train.processes import Alone
from train.schedule import learning_rate, period_ends
from train.step import LEAST_SCALE, Outliers, Stepper

SHAPE = Shape(vocab_size=61, sequence_length=24, layers=2, width=32, heads=4, kv_heads=2, ffn_width=40, tied=True)
CPU = torch.device("cpu")
accumulate = Alone().accumulate


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def settings(*assignments: str) -> TrainSettings:
    return resolve(load_settings(None, ("batch_rows=8", *assignments), size="tiny"), "cpu", False)


def batch(seed: int = 1) -> Batch:
    """Eight rows, some of them mostly padding."""
    rng = np.random.default_rng(seed)
    inputs, targets = rng.integers(0, 61, (8, 24)), rng.integers(0, 61, (8, 24))
    for row in range(4):
        targets[row, 3 + row :] = IGNORE
    return Batch(inputs, targets, np.tile(np.arange(24) // 9, (8, 1)))


@pytest.mark.parametrize("how", ["micro_rows=1", "micro_rows=4", "recompute=true", "precision=fp16"])
def test_micro_batches_of_unlike_fill_recomputation_and_scaling_leave_the_gradient_as_it_is(how: str) -> None:
    wanted_model, model = build(SHAPE, 1), build(SHAPE, 1)
    wanted = accumulate(wanted_model, batch(), settings(), CPU)
    scale = 256.0 if "fp16" in how else 1.0
    model.recompute = "recompute" in how
    if scale != 1:
        model.dtype = torch.float16
    found = accumulate(model, batch(), settings(how), CPU, scale)
    exact = 1e-6 if scale == 1 else 2e-3
    assert found.loss.item() == pytest.approx(wanted.loss.item(), rel=exact)
    assert torch.allclose(found.nats_B, wanted.nats_B, rtol=exact) and torch.equal(found.count_B, wanted.count_B)
    assert wanted.loss.item() == pytest.approx((wanted.nats_B.sum() / wanted.count_B.sum()).item(), rel=1e-6)
    for name, grad in gradients(model).items():
        assert torch.allclose(grad / scale, gradients(wanted_model)[name], atol=1e-6 if scale == 1 else 1e-3), name


def stepper(*assignments: str) -> Stepper:
    how = settings(*assignments)
    model = build(SHAPE, 1, dtype=torch.float16 if how.precision == "fp16" else torch.float32)
    return Stepper(model, Optimizer(model, how.optim), how, CPU)


def test_an_overflow_in_fp16_halves_the_scale_and_skips_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    one = stepper("precision=fp16")
    before = one.model.embedding.weight.detach().clone()
    one.scale = 2.0**40
    while (done := one.step(batch(), 0.1)).skipped:
        assert done.skipped == "overflow" and torch.equal(one.model.embedding.weight, before)
    assert 1 < one.scale < 2.0**40 and not torch.equal(one.model.embedding.weight, before)
    other = stepper("precision=fp16")
    other.restore(one.state())
    assert (other.scale, other.good) == (one.scale, 1)
    monkeypatch.setattr(module, "clip_", lambda *_: torch.tensor(torch.inf))
    one.scale = LEAST_SCALE
    with pytest.raises(CurateError, match="gradients overflow fp16 at any loss scale; use precision=bf16 or fp32"):
        one.step(batch(), 0.1)


def test_steps_far_above_those_before_are_skipped_and_the_history_is_saved() -> None:
    how = settings("optim.skip_deviations=4").optim
    outliers, rng = Outliers(how), np.random.default_rng(1)
    told = [outliers.judge(*pair) for pair in rng.normal(3, 0.1, (200, 2))]
    assert set(told) == {""}
    assert outliers.judge(9.0, 3.0).startswith("loss 9 above 3.") and outliers.judge(3.0, 9.0).startswith("gradient no")
    one = stepper("optim.skip_deviations=4")
    one.outliers.history = outliers.history.copy()
    before, updates = one.model.embedding.weight.detach().clone(), one.optimizer.updates
    one.outliers.history[:] = rng.normal(0.001, 0.0001, one.outliers.history.shape)
    done = one.step(batch(), 0.1)
    assert done.skipped and torch.equal(one.model.embedding.weight, before) and one.optimizer.updates == updates
    other = stepper()
    other.restore(one.state())
    assert np.array_equal(other.outliers.history, one.outliers.history)


def test_the_schedules_go_down_where_they_say() -> None:
    def rates(steps: int, *assignments: str, last_phase: int = 0) -> list[float]:
        given = ("optim.learning_rate=1", "optim.warmup_steps=10", "optim.final_fraction=0.1", *assignments)
        how = load_settings(None, tuple(f"{text}" for text in given)).optim
        return [learning_rate(step, steps, how, last_phase) for step in range(steps)]

    line = rates(111, "optim.schedule=linear")
    assert line[10] == 1 and line[60] == pytest.approx(0.55) and line[110] == pytest.approx(0.1)
    wsd = rates(100, "optim.schedule=wsd")
    assert set(wsd[9:80]) == {1} and wsd[80] < 1 and wsd[89] == pytest.approx(0.55) and wsd[99] == pytest.approx(0.1)
    anneal = rates(100, "optim.schedule=wsd", last_phase=50)
    assert set(anneal[9:50]) == {1} and anneal[74] == pytest.approx(0.55)
    named = rates(100, "optim.schedule=wsd", "optim.decay_fraction=0.1", last_phase=50)
    assert set(named[9:90]) == {1} and named[90] < 1
    several = rates(400, "optim.schedule=wsd_s", "optim.periods=3")
    how = load_settings(None, ("optim.schedule=wsd_s",)).optim
    assert period_ends(400, how) == [100, 200, 400]
    for start, end in ((10, 100), (100, 200), (200, 400)):
        assert several[start] == 1 and several[end - 1] == pytest.approx(0.1)
        assert sum(rate < 1 for rate in several[start:end]) == round(0.2 * (end - start if start != 10 else 100))
    for name in ("cosine", "linear", "wsd", "wsd_s"):
        assert 0 < rates(1, f"optim.schedule={name}")[0] <= 1


def test_muon_moves_matrices_along_orthogonal_steps_and_the_rest_as_adamw() -> None:
    matrices = torch.randn(3, 20, 33)
    values = torch.linalg.svdvals(orthogonalize(matrices, torch.float32))
    assert values.min() > 0.6 and values.max() < 1.25
    turned = orthogonalize(matrices.mT, torch.float32).mT
    assert torch.allclose(turned, orthogonalize(matrices, torch.float32), atol=1e-4)
    model, plain = build(SHAPE, 1), build(SHAPE, 1)
    muon = Optimizer(model, settings("optim.optimizer=muon", "optim.weight_decay=0").optim)
    adamw = Optimizer(plain, settings("optim.optimizer=adamw", "optim.weight_decay=0").optim)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for one in (model, plain):
        accumulate(one, batch(), settings(), CPU)
    muon.update(0.01)
    adamw.update(0.01)
    for name, p in model.named_parameters():
        inside = name.startswith("blocks.") and p.dim() == 2
        assert (name in muon.orthogonal) == inside
        if inside:
            size = (p - before[name]).pow(2).mean().sqrt().item()
            rank = min(p.shape) / max(p.shape)
            assert size == pytest.approx(0.01 * 0.2 * max(p.shape) ** 0.5 * (rank / min(p.shape)) ** 0.5, rel=0.35), (
                name
            )
        else:
            assert torch.equal(p, dict(plain.named_parameters())[name]), name
    assert set(muon.state()) == {*muon.moments, "updates"} and f"momentum.{muon.orthogonal[0]}" in muon.moments
