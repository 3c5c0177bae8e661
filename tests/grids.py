"""Training steps on grids of processes, for tests: `python tests/grids.py PROCESSES OUT STEPS CASE…`.

A case is written as "tensor=2,model=experts": sizes of the grid and one of MODELS. The first process writes losses,
gradient norms, nats by row, loads and a norm of the weights by case to OUT as JSON. The processes are forked, since
importing torch takes longer than the steps. `run` called elsewhere takes the same steps in one process.
"""

import importlib
import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from train.config import ParallelSettings, Shape, TrainSettings, load_settings, resolve
from train.layers import local
from train.loss import IGNORE
from train.machine import DTYPES
from train.model import build
from train.optim import Optimizer
from train.packing import Batch
from train.parallel import launch
from train.step import Stepper

ROWS, T = 8, 32
DENSE = Shape(vocab_size=61, sequence_length=T, layers=4, width=32, heads=8, kv_heads=4, ffn_width=40, tied=True)
EXPERTS = DENSE.model_copy(update={"experts": 4, "ffn_width": 24, "tied": False})
MODELS: dict[str, tuple[Shape, tuple[str, ...]]] = {
    "dense": (DENSE, ()),
    "untied": (DENSE.model_copy(update={"tied": False, "window": 11, "qk_norm": True}), ("document_mask=false",)),
    "gpt2": (
        DENSE.model_copy(update={"norm": "layer", "activation": "gelu", "positions": "learned", "bias": True}),
        ("micro_rows=4", "recompute=true"),
    ),
    "experts": (EXPERTS, ("micro_rows=4",)),
    "bias": (EXPERTS.model_copy(update={"balance": "bias", "shared_expert": True, "balance_weight": 0.001}), ()),
    "one expert": (EXPERTS.model_copy(update={"experts_per_token": 1, "balance": "none", "router_z_weight": 0.0}), ()),
    "muon": (DENSE, ("optim.optimizer=muon", "micro_rows=2")),
    "muon experts": (EXPERTS, ("optim.optimizer=muon",)),
    "bf16": (DENSE, ("precision=bf16",)),
}


def batch(step: int, vocab: int) -> Batch:
    """Rows with something to learn, of documents of unlike lengths, some with padding."""
    rng = np.random.default_rng(step)
    inputs = (rng.integers(0, vocab, (ROWS, 1)) + np.arange(T) * rng.integers(1, 4, (ROWS, 1))) % vocab
    targets = np.roll(inputs, -1, 1)
    for row in range(3):
        targets[row, 7 + 5 * row :] = IGNORE
    documents = np.cumsum(rng.random((ROWS, T)) < 0.1, axis=1)
    return Batch(inputs, targets, documents)


def settings_of(case: str, changes: tuple[str, ...]) -> TrainSettings:
    grid = {key: int(size) for key, size in (part.split("=") for part in case.split(",")) if key != "model"}
    given = (f"batch_rows={ROWS}", f"sequence_length={T}", "precision=fp32", "loss_chunk=16", *changes)
    settings = resolve(load_settings(None, given, size="tiny"), "cpu", False)
    return settings.model_copy(update={"parallel": ParallelSettings(**grid)})


def run(case: str, steps: int) -> dict[str, Any]:
    """The losses, norms and loads of `steps` steps, and what is left of the weights."""
    name = dict(part.split("=") for part in case.split(",")).get("model", "dense")
    shape, changes = MODELS[name]
    settings = settings_of(case, changes)
    processes, cpu = launch.processes_of(settings), torch.device("cpu")
    model = build(shape, 1, dtype=DTYPES[settings.precision])
    model.recompute = settings.recompute
    if name == "one expert":  # all scores are equal, so that all tokens choose the first
        for block in model.blocks.values():
            block.ffn.router.weight.data.zero_()
    processes.split(model)
    optimizer = Optimizer(model, settings.optim, model.dtype, processes)
    stepper = Stepper(model, optimizer, settings, cpu, processes)
    found: dict[str, Any] = {"loss": [], "norm": [], "nats": [], "load": []}
    for step in range(steps):
        whole = batch(step, shape.vocab_size)
        done = stepper.step(Batch(*(part[processes.place :: processes.places] for part in whole[:3])), 3e-3)
        found["loss"].append(done.loss)
        found["norm"].append(done.grad_norm)
        found["nats"].append(done.nats_B.tolist())
        found["load"].append([] if done.load_LE is None else done.load_LE.tolist())
    names = [key for key, _ in model.named_parameters()]
    norms = torch.stack([local(one).float().norm() for _, one in model.named_parameters()])
    found["weights"] = processes.norm(names, norms).item()
    return found


def work(rank: int, world: int, port: int, out: str, steps: str, cases: list[str]) -> None:
    """What torchrun would start as process `rank`."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with launch.connected("cpu"):
        found = {case: run(case, int(steps)) for case in cases}
        if launch.rank() == 0:
            Path(out).write_text(json.dumps(found))


def main() -> None:
    torch.set_num_threads(1)
    importlib.import_module("train.parallel.together")  # once, not in each
    world, out, steps, *cases = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=work, args=(rank, int(world), port, out, steps, cases)) for rank in range(int(world))
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    raise SystemExit(any(process.exitcode for process in started))


if __name__ == "__main__":
    main()
