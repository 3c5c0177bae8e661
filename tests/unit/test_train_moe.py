"""A mixture of experts computes what its formulas say, drops no token, and keeps its experts loaded."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import Shape
from train.model import Model, build
from train.moe import MixtureOfExperts, balance_by_bias

SHAPE = Shape(vocab_size=61, sequence_length=24, layers=2, width=32, heads=4, kv_heads=2, ffn_width=48, tied=True,
              experts=5, experts_per_token=2, balance_weight=0.3, router_z_weight=0.07)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)


def plain(mixture: MixtureOfExperts, x_NC: Tensor) -> Tensor:
    """Token by token and expert by expert."""
    rows = []
    for x in x_NC:
        logits = mixture.router.weight @ x
        scores = logits.softmax(-1) if mixture.shape.router == "softmax" else logits.sigmoid()
        choice = scores if mixture.choice_bias is None else scores + mixture.choice_bias
        best = choice.topk(mixture.shape.experts_per_token).indices
        y = torch.zeros_like(x) if mixture.shared is None else mixture.shared(x)
        for e in best:
            hidden = F.silu(mixture.gate.weight[e] @ x) * (mixture.up.weight[e] @ x)
            y = y + scores[e] / scores[best].sum() * (mixture.down.weight[e] @ hidden)
        rows.append(y)
    return torch.stack(rows)


VARIANTS = [
    {},
    {"router": "sigmoid", "shared_expert": True},
    {"router": "sigmoid", "balance": "bias"},
    {"experts_per_token": 1, "balance": "none"},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_tokens_get_the_experts_that_the_formulas_say_and_so_do_gradients(changes: dict[str, object]) -> None:
    mixture = build(SHAPE.model_copy(update=changes), 1).blocks["0"].ffn
    mixture.router.weight.data *= 50  # so that tokens choose differently
    if mixture.choice_bias is not None:
        mixture.choice_bias.copy_(torch.randn(5))
    x, probe = torch.randn(3, 7, 32, requires_grad=True), torch.randn(21, 32)
    y, aux = mixture(x)
    wanted = plain(mixture, x.flatten(0, 1))
    assert torch.allclose(y.flatten(0, 1), wanted, atol=1e-5)
    of = [x, *mixture.parameters()]
    found = torch.autograd.grad((y.flatten(0, 1) * probe).sum(), of)
    for a, b in zip(found, torch.autograd.grad((wanted * probe).sum(), of), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert aux["load"].sum().item() == pytest.approx(1) and len(aux["load"]) == 5
    assert ("balance" in aux) == (mixture.shape.balance == "loss")
    half = mixture.to(torch.float32)(x.detach().bfloat16())[0]
    assert torch.allclose(half.float().flatten(0, 1), wanted, atol=0.1)
    assert torch.allclose(mixture(x.detach().half())[0].float().flatten(0, 1), wanted, atol=0.02)


def test_losses_of_the_router_are_those_of_the_papers_and_enter_the_models_loss() -> None:
    model = build(SHAPE, 1)
    mixture, x = model.blocks["1"].ffn, torch.randn(2, 9, 32)
    _, aux = mixture(x)
    logits = x.flatten(0, 1) @ mixture.router.weight.T
    mean, chosen = logits.softmax(-1).mean(0), F.one_hot(logits.topk(2).indices, 5).sum((0, 1)) / 36
    assert aux["balance"].item() == pytest.approx(18 * 0.3 * 5 * (mean * chosen).sum().item(), rel=1e-5)
    assert aux["router_z"].item() == pytest.approx(0.07 * logits.logsumexp(-1).square().sum().item(), rel=1e-5)
    tokens = torch.randint(0, 61, (2, 24))
    losses = model.loss(tokens, tokens)
    extra = losses.aux["balance"] + losses.aux["router_z"]
    assert losses.total.item() == pytest.approx((losses.nats_BT.sum() + extra).item(), rel=1e-5)
    assert losses.aux["load"].shape == (2, 5)


def test_biases_move_towards_even_loads() -> None:
    model = build(SHAPE.model_copy(update={"balance": "bias", "balance_weight": 0.01}), 1)
    balance_by_bias(model, torch.tensor([[0.5, 0.1, 0.2, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]]))
    assert torch.allclose(model.blocks["0"].ffn.choice_bias, torch.tensor([-0.01, 0.01, 0, 0.01, 0.01]))
    x = torch.randn(1, 400, 32)
    first = model.blocks["0"].ffn(x)[1]["load"]
    for _ in range(100):
        balance_by_bias(model, torch.stack([block.ffn(x)[1]["load"] for block in model.blocks.values()]))
    assert model.blocks["0"].ffn(x)[1]["load"].max() < max(0.25, first.max())


def test_experts_start_unlike_each_other_and_with_their_own_fan_in() -> None:
    few, many = build(SHAPE, 1), build(SHAPE.model_copy(update={"experts": 9}), 1)
    gate, down = few.blocks["0"].ffn.gate.weight, few.blocks["0"].ffn.down.weight
    assert torch.equal(gate, many.blocks["0"].ffn.gate.weight[:5]) and not torch.equal(gate[0], gate[1])
    assert gate.std().item() == pytest.approx(32**-0.5, rel=0.05)
    assert down.std().item() == pytest.approx((48 * 4) ** -0.5, rel=0.05)
    assert few.blocks["0"].ffn.router.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert isinstance(few, Model)
