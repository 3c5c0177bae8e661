"""Grids of processes train as one process does: first loss within 1e-5, twenty within 1e-3, gradients, loads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import grids
from curate.errors import ConfigError
from train.config import ParallelSettings
from train.parallel import ring
from train.parallel.mesh import Group, sizes_of

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["tensor=1", "tensor=2,model=gpt2", "pipeline=2", "context=2", "expert=2,model=experts"]
TWO = [*SHORT, "tensor=1,model=muon", "tensor=2,model=muon", "pipeline=2,model=untied", "context=2,model=untied",
       "tensor=2,model=untied", "tensor=1,model=bias", "expert=2,model=bias", "expert=2,model=muon experts",
       "expert=2,model=one expert", "tensor=2,model=bias", "pipeline=2,model=bias", "context=2,model=experts",
       "tensor=1,model=bf16",
       "pipeline=2,model=gpt2", "tensor=1,model=gpt2", "tensor=2,model=bf16", "pipeline=2,model=bf16",
       "context=2,model=bf16"]  # fmt: skip
FOUR = ["tensor=1", "tensor=2", "tensor=4", "pipeline=2", "pipeline=4,model=muon", "context=2", "context=4",
        "expert=2,model=experts", "expert=4,model=bias", "expert=2,model=muon experts", "tensor=2,model=gpt2",
        "tensor=2,context=2,model=untied", "tensor=2,pipeline=2", "context=2,pipeline=2,model=bias",
        "expert=2,tensor=2,model=bias", "expert=2,pipeline=2,model=experts", "expert=2,context=2,model=experts",
        "tensor=2,model=muon"]  # fmt: skip


def launch(processes: int, out: Path, steps: int, cases: list[str]) -> dict[str, Any]:
    """Run tests/grids.py; the results by case."""
    command = [sys.executable, str(ROOT / "grids.py"), str(processes), str(out), str(steps), *cases]
    path = os.pathsep.join([str(ROOT.parent / "python"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def compare(found: dict[str, Any], steps: int) -> None:
    torch.set_num_threads(1)
    alone: dict[str, Any] = {}
    for case, got in found.items():
        name = dict(part.split("=") for part in case.split(",")).get("model", "dense")
        wanted = alone.setdefault(name, grids.run(f"model={name}", steps))
        first, later = (1e-5, 1e-3) if name != "bf16" else (1e-3, 2e-2)
        assert got["loss"][0] == pytest.approx(wanted["loss"][0], abs=first), case
        assert got["loss"] == pytest.approx(wanted["loss"], abs=later), case
        assert got["norm"][0] == pytest.approx(wanted["norm"][0], rel=10 * first), case
        assert torch.allclose(torch.tensor(got["nats"][0]), torch.tensor(wanted["nats"][0]), atol=100 * first), case
        assert torch.allclose(torch.tensor(got["load"][0]), torch.tensor(wanted["load"][0]), atol=1e-6), case
        assert got["weights"] == pytest.approx(wanted["weights"], rel=later), case


def test_every_kind_of_parallelism_takes_the_steps_of_one_process(tmp_path: Path) -> None:
    compare(launch(2, tmp_path / "found.json", 2, SHORT), 2)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "cases"), [(2, TWO), (4, FOUR)])
def test_twenty_steps_on_grids_of_two_and_four(processes: int, cases: list[str], tmp_path: Path) -> None:
    compare(launch(processes, tmp_path / "found.json", 20, cases), 20)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("window", "documents"), [(0, False), (9, True)])
def test_attention_in_chunks_of_queries_is_plain_attention(
    causal: bool, window: int, documents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "CHUNK", 7)
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, n, 24, 8, generator=generator, requires_grad=True) for n in (4, 2, 2))
    numbers = torch.arange(24).expand(2, -1) // 10 if documents else None
    one = ring.Ring(Group(None, (0,), 0), 24, numbers, window, causal)
    seen = one.seen(0, slice(None), torch.device("cpu"))
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)
    found = one.attend(q, k, v)
    assert torch.allclose(found, wanted, atol=1e-6)
    probe = torch.randn(found.shape, generator=generator)
    grads = [torch.autograd.grad((y * probe).sum(), (q, k, v)) for y in (found, wanted)]
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    lower = torch.ones(24, 24, dtype=torch.bool).tril()
    assert window or documents or torch.equal(seen[0, 0], lower if causal else torch.ones_like(lower))


def test_positions_of_a_row_are_shared_so_that_all_see_as_much() -> None:
    shares = [ring.positions_of(rank, 4, 32) for rank in range(4)]
    assert sorted(torch.cat(shares).tolist()) == list(range(32)) and len({int(one.sum()) for one in shares}) == 1


def test_messages_are_sent_in_one_room_alone() -> None:
    for path in (ROOT.parent / "python" / "train").rglob("*.py"):
        assert path.parent.name == "parallel" or "torch.distributed" not in path.read_text(), path


def test_a_grid_divides_the_processes() -> None:
    sizes = sizes_of(ParallelSettings(tensor=2, pipeline=3), 12)
    assert sizes == {"pipeline": 3, "data": 2, "expert": 1, "context": 1, "tensor": 2}
    with pytest.raises(ConfigError, match=r"pipeline 3 x tensor 2|tensor 2 x pipeline 3 = 6 processes do not divide"):
        sizes_of(ParallelSettings(tensor=2, pipeline=3), 8)
