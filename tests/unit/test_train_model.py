"""The model, its loss, its optimizer and its samples, against the plainest way to compute the same."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.cache import Cache
from train.config import Shape, load_settings, resolve, shape_of
from train.generate import Sampling, choose, generate
from train.loss import IGNORE, linear_cross_entropy
from train.model import Model, build, count_parameters
from train.optim import Optimizer, clip_, gradients
from train.schedule import learning_rate

SHAPE = Shape(vocab_size=61, sequence_length=24, layers=2, width=32, heads=4, kv_heads=2, ffn_width=40,
              tied=False, rope_theta=10_000.0, norm_eps=1e-5)  # fmt: skip
FP32 = torch.float32


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)


def tokens(rows: int, length: int) -> Tensor:
    return torch.randint(0, SHAPE.vocab_size, (rows, length))


def plain_forward(model: Model, row: Tensor) -> Tensor:
    """Logits of one row in fp64, position by position and head by head, rotary pairs as complex numbers."""
    weights = {name: p.detach().double() for name, p in model.named_parameters()}
    shape, half = model.shape, model.shape.head_width // 2

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean() + shape.norm_eps).sqrt() * weight

    def turn(x: Tensor, position: int) -> Tensor:
        angles = position * shape.rope_theta ** (-torch.arange(half).double() / half)
        turned = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half).double(), angles)
        return torch.cat((turned.real, turned.imag))

    xs = [weights["embedding.weight"][token] for token in row]
    for layer in range(shape.layers):
        of = {name.removeprefix(f"blocks.{layer}."): w for name, w in weights.items() if f"blocks.{layer}." in name}
        normed = [norm(x, of["attention_norm.weight"]) for x in xs]
        parts = {
            n: [(of[f"attention.{n}.weight"] @ x).split(shape.head_width) for x in normed]
            for n in ("query", "key", "value")
        }
        for t in range(len(xs)):
            heads = []
            for h in range(shape.heads):
                k = h // (shape.heads // shape.kv_heads)
                q = turn(parts["query"][t][h], t)
                scores = torch.stack([q @ turn(parts["key"][s][k], s) for s in range(t + 1)]) / math.sqrt(
                    shape.head_width
                )
                heads.append(sum(p * parts["value"][s][k] for s, p in enumerate(scores.softmax(0))))
            xs[t] = xs[t] + of["attention.out.weight"] @ torch.cat(heads)
        for t, x in enumerate(xs):
            n = norm(x, of["ffn_norm.weight"])
            xs[t] = x + of["ffn.down.weight"] @ (F.silu(of["ffn.gate.weight"] @ n) * (of["ffn.up.weight"] @ n))
    head = weights.get("head.weight", weights["embedding.weight"])
    return torch.stack([head @ norm(x, weights["norm.weight"]) for x in xs])


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_computes_what_its_formulas_say(tied: bool) -> None:
    model, row = build(SHAPE.model_copy(update={"tied": tied}), 1), tokens(1, 9)
    whole = model.logits(row)
    assert torch.allclose(whole[0].double(), plain_forward(model, row[0]), atol=1e-5)
    model.dtype = torch.bfloat16
    half = model.logits(row)
    assert half.dtype == FP32 and torch.allclose(half, whole, atol=0.02)


def test_a_masked_document_is_read_as_if_it_stood_alone() -> None:
    model, row = build(SHAPE, 1), tokens(1, 24)
    documents = torch.tensor([[0] * 7 + [1] * 12 + [2] * 5])
    together = model.logits(row, documents)
    for start, stop in ((0, 7), (7, 19), (19, 24)):
        alone = model.logits(row[:, start:stop])
        assert torch.allclose(together[:, start:stop], alone, atol=1e-5)
    without = model.logits(row)
    assert not torch.allclose(together[:, 7:], without[:, 7:], atol=1e-3)
    assert torch.allclose(together[:, :7], without[:, :7], atol=1e-5)


def test_initial_weights_follow_from_seed_and_name_alone() -> None:
    model, deeper = build(SHAPE, 1), build(SHAPE.model_copy(update={"layers": 3, "vocab_size": 99}), 1)
    same = {name: p for name, p in model.named_parameters()}
    for name, p in deeper.named_parameters():
        if name.startswith("blocks.1.") and not name.endswith(("out.weight", "down.weight")):
            assert torch.equal(p, same[name])
    assert not torch.equal(model.embedding.weight, build(SHAPE, 2).embedding.weight)
    assert not torch.equal(model.blocks["0"].attention.query.weight, model.blocks["1"].attention.query.weight)
    loss = model.loss(tokens(4, 24), tokens(4, 24)).total / 96
    assert loss.item() == pytest.approx(math.log(61), abs=0.05)


def test_sizes_have_the_parameters_that_they_promise() -> None:
    counts = {
        "5m": (8192, 5.0e6),
        "16m": (8192, 12e6),
        "124m": (32768, 101e6),
        "30m": (8192, 30e6),
        "1.5b": (32768, 1.5e9),
    }
    for size, (vocab, count) in counts.items():
        settings = resolve(load_settings(None, size=size), "cpu", False)
        assert count_parameters(Model(shape_of(settings, vocab), "meta")) == pytest.approx(count, rel=0.05)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize(("z_weight", "softcap", "scaled"), [(0.0, 0.0, False), (0.1, 0.0, True), (0.1, 2.0, True)])
def test_chunked_cross_entropy_equals_the_plain_one(chunk: int, z_weight: float, softcap: float, scaled: bool) -> None:
    x, weight = torch.randn(3, 25, 16, requires_grad=True), torch.randn(301, 16, requires_grad=True)
    target = torch.randint(0, 301, (3, 25))
    target[0, :5] = IGNORE
    scale = torch.rand(3, 25) if scaled else torch.ones(3, 25)
    logits = x @ weight.T
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    nats = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORE, reduction="none").view(3, 25)
    z = logits.logsumexp(-1).square() * (target != IGNORE)
    plain = ((nats + z_weight * z) * scale).sum() / 70
    wanted = torch.autograd.grad(plain, (x, weight))
    total, found_nats = linear_cross_entropy(x, weight, target, chunk, z_weight, softcap, scale if scaled else None)
    found = torch.autograd.grad(total / 70, (x, weight))
    assert abs(total.item() / 70 - plain.item()) <= 1e-6 * plain.item()
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= 2e-6
    assert found_nats[0, :5].abs().max() == 0 and torch.allclose(found_nats, nats, atol=1e-5)


def test_adamw_follows_its_formula_with_decay_on_matrices_only() -> None:
    model = build(SHAPE, 1)
    optimizer = Optimizer(model, load_settings(None, ("optim.optimizer=adamw", "optim.weight_decay=0.5")).optim)
    wanted = {name: (p.detach().double(), 0.0, 0.0) for name, p in model.named_parameters()}
    for step in range(4):
        for name, p in model.named_parameters():
            p.grad = torch.randn_like(p) if step != 2 else torch.zeros_like(p)
            g, (w, m, v) = p.grad.double(), wanted[name]
            m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
            decayed = w * (1 - 0.01 * 0.5) if p.dim() == 2 else w
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.95 ** (step + 1))
            wanted[name] = (decayed - 0.01 * m_hat / (v_hat.sqrt() + 1e-8), m, v)
        optimizer.update(0.01)
        for name, p in model.named_parameters():
            assert torch.allclose(p.double(), wanted[name][0], rtol=1e-5, atol=1e-6), name


def test_gradients_are_clipped_to_their_norm() -> None:
    model = build(SHAPE, 1)
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    norm = clip_(gradients(model).values(), 1.0)
    assert norm.item() == pytest.approx(3 * math.sqrt(count_parameters(model)), rel=1e-4)
    assert clip_(gradients(model).values(), 0.0).item() == pytest.approx(1, rel=1e-4)


def test_the_learning_rate_warms_up_and_follows_half_a_cosine_down() -> None:
    optim = load_settings(None, ("optim.learning_rate=1", "optim.warmup_steps=10", "optim.final_fraction=0.1")).optim
    rates = [learning_rate(step, 111, optim) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1 and rates[60] == pytest.approx(0.55) and rates[110] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(0, 1, optim) == 1
    unset = load_settings(None, ("optim.learning_rate=1",)).optim
    peaks = {steps: [learning_rate(step, steps, unset) for step in range(steps)].index(1) for steps in (1, 30, 1000)}
    assert peaks == {1: 0, 30: 2, 1000: 19}


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 1, "top_p": 1}, {"top_k": 5, "top_p": 0.7}])
def test_rows_of_any_length_are_continued_as_if_each_were_alone_and_without_a_cache(sampling: dict[str, float]) -> None:
    model = build(SHAPE.model_copy(update={"tied": True}), 1)
    for p in model.parameters():
        p.data *= 2  # otherwise all tokens are about equally likely
    prompts = [[5, 9, 9, 33], [], list(range(1, 50)), [7] * 20]  # beyond the row length too
    how = Sampling(tokens=60, seed=3, **sampling)
    together = [dict[int, int](one) for one in generate(model, prompts, 60, how)]
    assert together == list(generate(model, prompts, 60, how, cached=False))
    alone = [one[0] for one in generate(model, prompts[:1], 60, how)]
    assert alone == [one[0] for one in together if 0 in one]
    assert max(len(one) for one in together) == 4 and len(together) > 10


@pytest.mark.parametrize("changes", [{}, {"window": 5}, {"positions": "learned"}, {"kv_heads": 1, "qk_norm": True}])
def test_the_cache_gives_the_same_hidden_states_in_any_portions(changes: dict[str, Any]) -> None:
    model, row = build(SHAPE.model_copy(update=changes), 1), tokens(2, 20)
    whole = model(row).x_BTC
    cache = Cache(model.shape, 2, 20, FP32, "cpu")
    parts = [model(row[:, a:b], cache=cache).x_BTC for a, b in ((0, 6), (6, 7), (7, 15), (15, 20))]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_a_cache_holds_rows_of_different_lengths() -> None:
    model, row = build(SHAPE, 1), tokens(3, 20)
    cache = Cache(SHAPE, 3, 20, FP32, "cpu")
    lengths = [3, 9, 1]
    first = model.next_logits(row[:, :9], cache, lengths)
    second = model.next_logits(torch.stack([row[b, n] for b, n in enumerate(lengths)]).unsqueeze(1), cache)
    for b, n in enumerate(lengths):
        wanted = model.logits(row[b : b + 1, : n + 1])[0]
        assert torch.allclose(first[b], wanted[n - 1], atol=1e-5) and torch.allclose(second[b], wanted[n], atol=1e-5)
    assert cache.lengths == [4, 10, 2]


def test_sampling_keeps_to_its_limits() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])
    generator = torch.Generator().manual_seed(1)

    def drawn(**settings: float) -> set[int]:
        return {choose(logits, Sampling(**settings), generator) for _ in range(300)}

    assert drawn(temperature=0) == {0} == drawn(temperature=1, top_k=1)
    assert drawn(temperature=1, top_k=2, top_p=1) == {0, 4}
    assert drawn(temperature=1, top_p=0.5) == {0, 4}  # 0.45 alone is not yet half
    assert drawn(temperature=50, top_p=1) == {0, 1, 2, 3, 4}
    assert drawn(temperature=1, top_p=1, min_p=0.3) == {0, 1, 4}  # 1 / e^1 of the likeliest is 0.37
    penalized = Sampling(temperature=0, repetition_penalty=1.5)
    assert choose(logits, penalized, generator, text=[0, 3]) == 4 and choose(logits, penalized, generator, [0, 4]) == 0
