"""The trainers that are measured side by side, behind one face: ours, and nanoGPT's and nanochat's own code.

    NANOGPT=… NANOCHAT=… python -m benchmarks.trainer_systems speed nanochat --dtype bf16
    python -m benchmarks.trainer_systems learn ours --data RUN --steps 60 --rate 2 --seed 1

NANOGPT and NANOCHAT name folders with those projects, of the commits that COMMITS says. Their model, initialization and
optimizer are run as they are, with the schedules of their training scripts; the loop around them, and the rows, are the
same for all. Every system runs in a process of its own, because nanochat chooses its dtype when it is imported.

The shape is 4 layers of width 256 (heads of 64), rows of 256 tokens, 16 rows a step; what else a model has is as its
project has it (nanochat: value embeddings, untied head; nanoGPT: learned positions, GELU). Times are CPU seconds of
one thread.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

COMMITS = {"nanogpt": "3adf61e", "nanochat": "92d63d4"}
LAYERS, WIDTH, HEADS, LENGTH, ROWS = 4, 256, 4, 256, 16
HELD_OUT_TOKENS = 16_384  # of every source, at most: its first documents, at least one


class System(Protocol):
    """A model with its optimizer. `progress` is the part of the steps that are done, 0 … 1."""

    parameters: int

    def step(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor, step: int, steps: int) -> None:
        """One update; targets are -1 where nothing is to be predicted."""

    def nats(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor) -> float:
        """-ln p of all targets, summed."""


class Ours:
    """This project's 5m size, with its default optimizer, which is Muon, or with AdamW alone."""

    def __init__(self, vocab_size: int, dtype: str, rate: float, seed: int, optimizer: str = "muon") -> None:
        from train.config import load_settings, resolve, shape_of
        from train.machine import DTYPES
        from train.model import build, count_parameters
        from train.optim import Optimizer
        from train.step import Stepper

        given = [f"precision={dtype}", f"seed={seed}", f"optim.optimizer={optimizer}"]
        settings = resolve(load_settings(None, tuple(given), size="5m"), "cpu", False)
        optim = settings.optim.model_copy(update={"learning_rate": settings.optim.learning_rate * rate})
        self.settings = settings.model_copy(update={"optim": optim})
        self.model = build(shape_of(settings, vocab_size), seed, dtype=DTYPES[dtype])
        optimizer = Optimizer(self.model, optim, self.model.dtype)
        self.stepper = Stepper(self.model, optimizer, self.settings, torch.device("cpu"))
        self.parameters = count_parameters(self.model)

    def step(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor, step: int, steps: int) -> None:
        from train.packing import Batch
        from train.schedule import learning_rate

        batch = Batch(inputs.numpy(), targets.numpy(), documents.numpy())
        self.stepper.step(batch, learning_rate(step, steps, self.settings.optim))

    def nats(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor) -> float:
        return self.model.nats(inputs, targets, documents).sum(dtype=torch.float64).item()


class NanoGPT:
    """nanoGPT's model and AdamW, as its train.py runs them: fp32 on a CPU, clipping at 1, half a cosine to a tenth."""

    def __init__(self, vocab_size: int, dtype: str, rate: float, seed: int) -> None:
        sys.path.insert(0, os.environ["NANOGPT"])
        from model import GPT, GPTConfig

        torch.manual_seed(seed)
        config = GPTConfig(LENGTH, vocab_size, LAYERS, HEADS, WIDTH, dropout=0.0, bias=False)
        self.model, self.rate, self.dtype = GPT(config), 6e-4 * rate, dtype
        self.optimizer = self.model.configure_optimizers(0.1, self.rate, (0.9, 0.95), "cpu")
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def _loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bf16"):
            return self.model(inputs, targets)[1]

    def step(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor, step: int, steps: int) -> None:
        warmup = min(100, steps // 10)
        progress = (step - warmup) / max(1, steps - warmup)
        height = (step + 1) / (warmup + 1) if step < warmup else 0.1 + 0.45 * (1 + math.cos(math.pi * progress))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * height
        self._loss(inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def nats(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor) -> float:
        return self._loss(inputs, targets).item() * int((targets != -1).sum())


class Nanochat:
    """nanochat's model and MuonAdamW; rates and schedules of base_train.py for this batch, all windows long."""

    def __init__(self, vocab_size: int, dtype: str, rate: float, seed: int) -> None:
        os.environ["NANOCHAT_DTYPE"] = {"bf16": "bfloat16", "fp32": "float32"}[dtype]
        sys.path.insert(0, os.environ["NANOCHAT"])
        from nanochat.gpt import GPT, GPTConfig

        torch.manual_seed(seed)
        config = GPTConfig(LENGTH, vocab_size, LAYERS, HEADS, HEADS, WIDTH, window_pattern="L")
        self.model = GPT(config)
        self.model.init_weights()
        scale = rate * (ROWS * LENGTH / 2**19) ** 0.5
        rates = {"unembedding_lr": 0.008, "embedding_lr": 0.3, "scalar_lr": 0.5, "matrix_lr": 0.02}
        self.optimizer = self.model.setup_optimizer(**{name: one * scale for name, one in rates.items()})
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def step(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor, step: int, steps: int) -> None:
        warmup, down = min(40, steps // 10), round(0.65 * steps)
        height = 1.0
        if step < warmup:
            height = (step + 1) / warmup
        elif step > steps - down:
            height = 0.05 + 0.95 * (steps - step) / down
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * height
            if group["kind"] == "muon":
                group["momentum"] = 0.85 + 0.12 * min(1.0, step / 400)
        self.model(inputs, targets).backward()
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def nats(self, inputs: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor) -> float:
        return self.model(inputs, targets, loss_reduction="sum").item()


SYSTEMS: dict[str, Any] = {
    "ours": Ours,
    "ours-adamw": lambda *given: Ours(*given, optimizer="adamw"),
    "nanogpt": NanoGPT,
    "nanochat": Nanochat,
}


def speed(name: str, dtype: str, vocab_size: int, steps: int) -> dict[str, float]:
    """CPU seconds of the best step, and wall seconds from the start of the process to the end of the first one."""
    system: System = SYSTEMS[name](vocab_size, dtype, 1.0, 1)
    tokens = torch.randint(0, vocab_size, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    documents = torch.arange(LENGTH).expand(ROWS, LENGTH) // 100
    best, first = math.inf, 0.0
    for number in range(steps):
        begin = time.process_time()
        system.step(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), documents.contiguous(), number, steps)
        best = min(best, time.process_time() - begin)
        first = first or time.clock_gettime(time.CLOCK_BOOTTIME) - _started()
    return {"tokens_per_second": ROWS * LENGTH / best, "first_step": first, "parameters": system.parameters}


def _started() -> float:
    """When this process began, in seconds since boot."""
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


def rows(data: Path, seed: int, steps: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """The rows of every step of a run over the token shards, one epoch's worth or more."""
    from train.loader import Loader
    from train.mixture import natural_mixture
    from train.order import Phase, RowOrder
    from train.packing import pack
    from train.shards import open_shards

    shards = open_shards(data / "tokens")
    sources = [source for source in shards.sources.values() if source.documents]
    packed = [pack(source, LENGTH, shards.manifest.end_of_document) for source in sources]
    weights = natural_mixture(shards.manifest).phases[0].weights
    order = RowOrder(seed, {one.source.name: one.rows for one in packed}, [Phase("main", steps * ROWS, weights, {})])
    with Loader(packed, order, shards.manifest, ROWS, range(steps)) as loader:
        for step in range(steps):
            yield tuple(torch.from_numpy(part.copy()) for part in loader.read(step).batch)


def learn(name: str, dtype: str, data: Path, steps: int, rate: float, seed: int) -> dict[str, float]:
    """Bits per byte of held-out text after so many steps, and the CPU seconds that they took."""
    from train.packing import pack, read_batch
    from train.shards import open_shards

    heldout = open_shards(data / "heldout" / "tokens")
    system: System = SYSTEMS[name](heldout.manifest.vocab_size, dtype, rate, seed)
    begin = time.process_time()
    for number, batch in enumerate(rows(data, seed, steps)):
        system.step(*batch, number, steps)
    spent = time.process_time() - begin
    nats, n_bytes = 0.0, 0
    for source in heldout.sources.values():
        documents = max(1, int((np.cumsum(source.lengths()) <= HELD_OUT_TOKENS).sum()))
        packed = pack(source, LENGTH, heldout.manifest.end_of_document, documents=documents)
        n_bytes += int(source.document_bytes()[:documents].sum())
        for start in range(0, packed.rows, ROWS):
            some = np.arange(start, min(start + ROWS, packed.rows))
            batch = read_batch([packed], np.zeros_like(some), some, heldout.manifest)
            nats += system.nats(*(torch.from_numpy(part) for part in batch))
    return {"bits_per_byte": nats / math.log(2) / n_bytes, "steps": steps, "seconds": spent, "rate": rate, "seed": seed}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer_systems")
    parser.add_argument("what", choices=["speed", "learn"])
    parser.add_argument("system", choices=list(SYSTEMS))
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rate", type=float, default=1.0, help="times the project's own learning rates")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "speed":
        result = speed(given.system, given.dtype, given.vocab_size, given.steps or 8)
    else:
        result = learn(given.system, given.dtype, given.data, given.steps or 60, given.rate, given.seed)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
