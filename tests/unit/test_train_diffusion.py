"""Masked diffusion: masks follow from seed and step, the model looks both ways, and text is filled in."""

import math

import numpy as np
import pytest
import torch

from train.config import Shape
from train.diffusion import draw, noised
from train.generate import Sampling, fill_in
from train.loss import IGNORE
from train.model import build

MASK = 60
SHAPE = Shape(vocab_size=61, sequence_length=24, layers=2, width=32, heads=4, kv_heads=2, ffn_width=40, tied=True,
              causal=False)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_masks_follow_from_seed_and_step_whatever_the_processes() -> None:
    rng = np.random.default_rng(1)
    targets, given = rng.integers(0, 60, (8, 500)), np.zeros((8, 500), dtype=np.int64)
    targets[:, 400:] = IGNORE
    inputs, weights = noised(targets, given, MASK, 1, 7)
    for places in (2, 4):
        for place in range(places):
            part = noised(targets[place::places], given[place::places], MASK, 1, 7, place, places)
            assert np.array_equal(part[0], inputs[place::places]) and np.array_equal(part[1], weights[place::places])
    masked = inputs == MASK
    assert np.array_equal(masked, weights > 0) and not masked[:, 400:].any() and not inputs[:, 400:].any()
    assert np.array_equal(inputs[~masked][:50], np.where(targets == IGNORE, 0, targets)[~masked][:50])
    shares = np.sort(masked[:, :400].mean(1))
    assert np.abs(np.diff(shares) - 1 / 8).max() < 0.1  # t is spread evenly
    assert np.mean([noised(targets, given, MASK, 1, step)[1][:, :400].mean() for step in range(200)]) == pytest.approx(
        1, abs=0.05
    )
    assert not np.array_equal(inputs, noised(targets, given, MASK, 2, 7)[0])


@pytest.mark.parametrize("documents", [None, torch.tensor([[0] * 10 + [1] * 14])])
def test_every_position_looks_both_ways_within_its_document(documents: torch.Tensor | None) -> None:
    model, row = build(SHAPE, 1), torch.randint(0, 60, (1, 24), generator=torch.Generator().manual_seed(1))
    other = row.clone()
    other[0, 9] = (other[0, 9] + 1) % 60
    changed = (model.logits(row, documents) - model.logits(other, documents)).abs().amax(-1)[0] > 1e-6
    assert changed[:10].all() and changed[10:].all() == (documents is None)


def test_the_estimate_of_a_model_that_knows_nothing_is_the_logarithm_of_its_vocabulary() -> None:
    model = build(SHAPE, 1)
    model.norm.weight.data.zero_()  # every token is as likely
    targets = torch.randint(0, 60, (3, 24), generator=torch.Generator().manual_seed(1))
    targets[0, 9:] = IGNORE
    nats = model.nats(torch.zeros_like(targets), targets)
    assert not nats[0, 9:].any()
    assert nats.sum().item() / (targets != IGNORE).sum().item() == pytest.approx(math.log(61), rel=0.1)
    assert torch.equal(model.nats(torch.zeros_like(targets[1:]), targets[1:]), nats[1:])
    inputs, weights = draw(targets, torch.zeros_like(targets), MASK, 31, 32)
    assert ((inputs == MASK) == (weights > 0)).all() and (inputs[0, 9:] == 0).all()


def test_text_is_filled_in_from_the_surest_place_on_and_ends_with_its_document() -> None:
    model = build(SHAPE, 1)
    for p in model.parameters():
        p.data *= 2
    how = Sampling(tokens=12, seed=3)
    text = fill_in(model, [5, 9, 9], how, 0, end_of_document=59)
    assert text == fill_in(model, [5, 9, 9], how, 0, 59) != fill_in(model, [5, 9, 9], how, 1, 59)
    assert 0 < len(text) <= 12 and MASK not in text and 59 not in text
    cut = fill_in(model, [5, 9, 9], how, 0, end_of_document=text[4])
    assert cut == text[: text.index(text[4])]
    assert len(fill_in(model, list(range(50)), how.model_copy(update={"temperature": 0.0}), 0, 60)) == 12
    greedy = how.model_copy(update={"temperature": 0.0, "tokens": 1})
    row = torch.tensor([[5, 9, MASK]])
    assert fill_in(model, [5, 9], greedy, 0, 60) == [model.logits(row)[0, 2, :MASK].argmax().item()]
