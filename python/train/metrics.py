"""What is known of every step: a line of metrics.jsonl, the progress on a terminal, and TensorBoard or W&B if asked.

    loss, loss_by_source   mean cross-entropy, nats a token, of all rows and of each source's that the step read
    bits_per_byte          the same by bytes: each source's nats, and its bytes a token on average over its shards
    grad_norm              before clipping         skipped      why the step changed nothing, where it did not
    mfu                    operations of the model as a part of the peak, which is given or measured at the start
    seconds, data_seconds  wall-clock of the step, and what of it was spent waiting for rows
    memory_mb              peak of the process, on a GPU of the device
    expert_load            of the busiest expert, as a multiple of the mean; 1 is even

Operations are 6 a token and parameter that multiplies, and 12 * layers * width * row length for attention, whatever
the mask: the usual count (arXiv 2204.02311).
"""

import importlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from curate.errors import ConfigError
from train.config import Shape, TrainSettings
from train.loader import StepRows
from train.machine import DTYPES
from train.model import Model
from train.shards import Manifest
from train.step import Done

METRICS = "metrics.jsonl"


def operations(shape: Shape) -> float:
    """Operations of forward and backward, a token; of the experts those that compute a token."""
    active = 0.0
    for name, p in Model(shape, "meta").named_parameters():
        if p.dim() < 2 or name == "position_embedding.weight" or (name == "embedding.weight" and not shape.tied):
            continue
        active += p.numel() * (shape.experts_per_token / shape.experts if p.dim() == 3 else 1.0)
    return 6 * active + 12 * shape.layers * shape.width * shape.sequence_length


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of square matrices, the best of five."""
    n = 8192 if device.type == "cuda" else 512
    a = torch.randn(n, n, device=device).to(dtype)
    best = math.inf
    for _ in range(5):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - begin)
    return 2 * n**3 / best


def peak_memory(device: torch.device) -> float:
    """Peak megabytes of this process, or of the device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


class Metrics:
    """Writes the lines of one run; to be used in a `with`."""

    def __init__(
        self,
        out: Path,
        settings: TrainSettings,
        shape: Shape,
        device: torch.device,
        manifest: Manifest,
        names: list[str],
        steps: int,
        world: int,
    ) -> None:
        """names: of the sources, by number. steps: of the whole run. world: processes, each with such a device."""
        self._names, self._steps, self._device = names, steps, device
        self._bytes_a_token = np.array([_bytes_a_token(manifest, name) for name in names])
        self._operations = {shape.sequence_length: operations(shape)}
        self._shape = shape
        peak = settings.peak_tflops * 1e12 or measured_peak(device, DTYPES[settings.precision])
        self._peak = world * peak
        self._file = (out / METRICS).open("a", encoding="utf-8")
        self._also = [WATCHERS[name](out, settings) for name in settings.watch]
        self._progress = _Progress(steps)

    def write(self, step: int, rate: float, done: Done, read: StepRows, seconds: float, data_seconds: float) -> None:
        """Note a step that took `seconds`."""
        length = read.batch.targets.shape[1]
        n_sources, tokens = len(self._names), len(read.rows) * length
        if length not in self._operations:
            self._operations[length] = operations(self._shape.model_copy(update={"sequence_length": length}))
        nats = np.bincount(read.sources, done.nats_B, n_sources)
        counts = np.bincount(read.sources, done.count_B, n_sources)
        total_bytes = float((counts * self._bytes_a_token).sum())
        facts: dict[str, Any] = {
            "step": step,
            "loss": float(nats.sum() / max(1, counts.sum())),
            "loss_by_source": {name: float(n / c) for name, n, c in zip(self._names, nats, counts, strict=True) if c},
            "bits_per_byte": round(float(nats.sum() / math.log(2)) / total_bytes, 5) if total_bytes else None,
            "objective": done.loss,
            "learning_rate": rate,
            "grad_norm": done.grad_norm,
            "tokens": (step + 1) * tokens,
            "seconds": round(seconds, 4),
            "data_seconds": round(data_seconds, 4),
            "tokens_per_second": round(tokens / seconds),
            "mfu": round(self._operations[length] * tokens / seconds / self._peak, 4),
            "memory_mb": round(peak_memory(self._device)),
        }
        if done.skipped:
            facts["skipped"] = done.skipped
        if done.load_LE is not None:
            facts["expert_load"] = round(float(done.load_LE.max() * done.load_LE.shape[1]), 3)
            facts["load_by_expert"] = [[round(float(load), 4) for load in line] for line in done.load_LE]
        self._file.write(json.dumps(facts) + "\n")
        self._file.flush()
        self._progress.show(step + 1, facts)
        for watcher in self._also:
            watcher(step, {key: value for key, value in facts.items() if isinstance(value, float | int)})

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()
        self._progress.close()


def _bytes_a_token(manifest: Manifest, name: str) -> float:
    counts = manifest.sources[name]
    return counts["text_bytes"] / counts["tokens"]


class _Progress:
    """A bar on stderr where that is a terminal."""

    def __init__(self, steps: int) -> None:
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            words = TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,} tokens/s  MFU {task.fields[mfu]}")
            columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(20), words, TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=steps, loss=math.nan, speed=0, mfu="")
            self._bar.start()

    def show(self, done: int, facts: dict[str, Any]) -> None:
        if self._bar:
            how = {"loss": facts["loss"], "speed": facts["tokens_per_second"], "mfu": f"{facts['mfu']:.0%}"}
            self._bar.update(self._task, completed=done, **how)

    def close(self) -> None:
        if self._bar:
            self._bar.stop()


Watcher = Callable[[int, dict[str, float]], None]


def tensorboard(out: Path, settings: TrainSettings) -> Watcher:
    """Writes event files to OUT/tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("watch: tensorboard is not installed; install tensorboard, or leave it out") from None
    writer = SummaryWriter(str(out / "tensorboard"))

    def write(step: int, facts: dict[str, float]) -> None:
        for key, value in facts.items():
            writer.add_scalar(key, value, step)

    return write


def wandb(out: Path, settings: TrainSettings) -> Watcher:
    """Sends metrics to Weights & Biases, under the name of the folder; its own variables say where and as whom."""
    try:
        client: Any = importlib.import_module("wandb")
    except ImportError:
        raise ConfigError("watch: wandb is not installed; install wandb, or leave it out") from None
    run = client.init(name=out.name, dir=str(out), config=settings.model_dump(), resume="allow")
    return lambda step, facts: run.log(facts, step=step)


WATCHERS: dict[str, Callable[[Path, TrainSettings], Watcher]] = {"tensorboard": tensorboard, "wandb": wandb}


def cut(path: Path, start: int) -> str:
    """metrics.jsonl without the lines of steps from `start` on, which will be done again, and without a torn line."""
    if not path.exists():
        return ""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < start:
                kept.append(line + "\n")
        except ValueError:
            continue
    return "".join(kept)
