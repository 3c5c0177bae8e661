"""A training run on one process: set up, then step, log and save until the budget is spent.

    OUT/train.yaml      the settings, every one resolved            OUT/packing/      rows of each source
    OUT/mixture.yaml    the mixture as it was read                  OUT/checkpoints/  the newest `keep`
    OUT/tokenizer.json  of the shards                               OUT/metrics.jsonl one line a step

    OUT/run.lock        the process that trains here, while it does: two in one folder would overwrite each other

The same command continues a run that was stopped or killed, from the newest checkpoint and with losses equal to the
bit on the same machine and number of threads: the step number alone decides which rows come next, and no random
numbers are drawn. A 5 M model takes about 1 s for a step of 4,096 tokens on one core without AMX.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate import console
from curate.config import dump_yaml
from curate.errors import CurateError, ResumeError
from curate.io.lock import FolderLock
from curate.mixture import Mixture
from train import checkpoint, config
from train.config import Shape, TrainSettings
from train.loss import IGNORE, linear_cross_entropy
from train.machine import DTYPES, fast_bf16, pick_device, set_threads, stop_on_signal
from train.mixture import check_order, load_mixture, longest_order, make_order, natural_mixture, steps_of
from train.model import Model, build, count_parameters
from train.optim import AdamW, learning_rate
from train.order import RowOrder
from train.packing import Batch, Packed, pack, read_batch
from train.shards import Shards, check_tokenizer, open_shards

TIMED_STEPS = 10
UNTIMED_STEPS = 3
METRICS = "metrics.jsonl"


class Interrupted(CurateError):
    """A signal asked the run to stop; a checkpoint was written."""

    exit_code = 130


@dataclass
class Run:
    """Everything a step needs. `next_step` is the only state beside weights and moments."""

    out: Path
    settings: TrainSettings
    shards: Shards
    packed: list[Packed]
    order: RowOrder
    steps: int
    model: Model
    optimizer: AdamW
    device: torch.device
    next_step: int = 0

    @property
    def identity(self) -> dict[str, str]:
        """What a resumed run must share with the one it continues, by its name in index.json."""
        return {"data": self.shards.fingerprint, "plan": self.order.digest()}


@dataclass(frozen=True)
class Measured:
    """One step: loss in nats a token, norm of the gradient before clipping, wall-clock seconds."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


def setup(data: Path, out: Path, asked: TrainSettings, mixture_file: Path | None) -> Run:
    """Everything up to the first step: settings, shards, packing, budget, order, model, and the newest checkpoint.

    Raises the errors of the parts, before anything is trained.
    """
    device = pick_device(asked.device)
    recorded = config.read_settings(out)
    settings = config.adopt(asked, recorded, out) if recorded else config.resolve(asked, device.type, fast_bf16(device))
    settings = settings.model_copy(update={"threads": set_threads(settings.threads)})
    shards = open_shards(data / "tokens", settings.verify)
    manifest = shards.manifest
    tokenizer = check_tokenizer(data, manifest)
    default = data / "mixture.yaml"
    path = mixture_file or (default if default.exists() else None)
    mixture = load_mixture(path, manifest) if path else natural_mixture(manifest)
    sources = [source for source in shards.sources.values() if source.documents]
    packed = [pack(source, settings.sequence_length, manifest.end_of_document, out / "packing") for source in sources]
    shape = config.shape_of(settings, manifest.vocab_size)
    settings, order, steps = set_budget(settings, mixture, packed, shape, device)
    model = build(shape, settings.seed, device)
    run = Run(out, settings, shards, packed, order, steps, model, AdamW(model, settings.optim), device)
    if checkpoint.steps(out):
        resume(run)
    checkpoint.write_file(out / "tokenizer.json", tokenizer)
    checkpoint.write_file(out / "mixture.yaml", dump_yaml(mixture.model_dump()).encode())
    checkpoint.write_file(out / config.SETTINGS_FILE, config.write_settings(settings).encode())
    cut_metrics(out / METRICS, run.next_step)
    return run


def set_budget(
    settings: TrainSettings, mixture: Mixture, packed: list[Packed], shape: Shape, device: torch.device
) -> tuple[TrainSettings, RowOrder, int]:
    """Settings with `tokens` filled in, the order of rows and its steps. A budget of minutes is measured here, once."""
    rows = {one.source.name: one.rows for one in packed}
    if not settings.tokens and settings.minutes:
        order, steps = longest_order(settings, mixture, rows, timed_steps(settings, shape, device))
    else:
        steps = steps_of(settings.tokens or mixture.tokens, settings)
        order = make_order(settings, mixture, rows, steps)
    check_order(order, settings.sequence_length)
    tokens = settings.tokens or steps * settings.batch_rows * settings.sequence_length
    return settings.model_copy(update={"tokens": tokens}), order, steps


def timed_steps(settings: TrainSettings, shape: Shape, device: torch.device) -> int:
    """How many steps fit into `minutes`: ten are timed, after three that warm up, on a model that is thrown away.

    The median counts, so that one disturbed step does not; the time spent here is part of the minutes.
    """
    console.err(f"timing {TIMED_STEPS} steps")
    begin = time.perf_counter()
    model = build(shape, settings.seed, device)
    optimizer = AdamW(model, settings.optim)
    size = (settings.batch_rows, settings.sequence_length)
    tokens = torch.arange(size[0] * size[1]).view(size).remainder(shape.vocab_size).numpy()
    batch = Batch(tokens, tokens, tokens // settings.sequence_length)
    seconds = []
    for _ in range(UNTIMED_STEPS + TIMED_STEPS):
        start = time.perf_counter()
        losses(model, batch, settings, device).item()
        optimizer.update(0, 0.0).item()
        seconds.append(time.perf_counter() - start)
    median = sorted(seconds[UNTIMED_STEPS:])[TIMED_STEPS // 2]
    left = settings.minutes * 60 - (time.perf_counter() - begin)
    return max(1, round(left / median))


def resume(run: Run) -> None:
    """Put weights, moments and step of the newest checkpoint in place. Raises ResumeError naming what differs."""
    folder = checkpoint.find(run.out)
    index = checkpoint.read_index(folder)
    words = {"data": "the token shards", "plan": "the mixture or the budget"}
    differs = [words[key] for key, value in run.identity.items() if index[key] != value]
    if differs:
        raise ResumeError(
            f"{run.out} holds a run on other data: {' and '.join(differs)} changed.\n"
            "Give the same --data and --mixture, or another --out folder."
        )
    tensors = checkpoint.load(folder)
    run.model.load_state_dict(tensors["weights"])
    run.optimizer.restore(tensors["optimizer"])
    run.next_step = index["step"]


def losses(model: Model, batch: Batch, settings: TrainSettings, device: torch.device) -> torch.Tensor:
    """Mean loss over the tokens of the step, with its gradients added up over micro-batches."""
    inputs, targets, documents = (torch.from_numpy(array).to(device) for array in batch)
    count = (targets != IGNORE).sum()
    total = torch.zeros((), device=device)
    for start in range(0, len(inputs), settings.micro_rows):
        rows = slice(start, start + settings.micro_rows)
        mask = documents[rows] if settings.document_mask else None
        x_BTC = model(inputs[rows], DTYPES[settings.precision], mask)
        loss = linear_cross_entropy(x_BTC, model.head_weight_VC, targets[rows], settings.loss_chunk) / count
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def step(run: Run) -> Measured:
    """Read the rows of the next step, train on them, count on. Raises CurateError where the loss is not finite."""
    begin, number, settings = time.perf_counter(), run.next_step, run.settings
    batch = read_batch(run.packed, *run.order.step(number, settings.batch_rows), run.shards.manifest)
    rate = learning_rate(number, run.steps, settings.optim)
    loss = losses(run.model, batch, settings, run.device)
    norm = run.optimizer.update(number, rate)
    measured = Measured(number, loss.item(), rate, norm.item(), batch.targets.size, time.perf_counter() - begin)
    if not torch.isfinite(loss + norm):
        raise CurateError(
            f"The loss is not finite at step {number} (loss {measured.loss}, gradient norm {measured.grad_norm}).\n"
            f"Checkpoints up to here are in {run.out}; a lower optim.learning_rate, in another folder, usually helps."
        )
    run.next_step = number + 1
    return measured


def cut_metrics(path: Path, start: int) -> None:
    """Drop the lines of steps that will be done again, and a line that was torn by a kill."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < start:
                kept.append(line + "\n")
        except ValueError:
            continue
    checkpoint.write_file(path, "".join(kept).encode())


def log(run: Run, measured: Measured, metrics: Any) -> None:
    """A line of metrics.jsonl, and the progress line where stderr is a terminal."""
    rate = measured.tokens / measured.seconds
    facts = {**measured.__dict__, "seconds": round(measured.seconds, 4), "tokens_per_second": round(rate)}
    facts["tokens"] = run.next_step * measured.tokens
    metrics.write(json.dumps(facts) + "\n")
    metrics.flush()
    left = round((run.steps - run.next_step) * measured.seconds)
    line = f"step {run.next_step:,} of {run.steps:,}  loss {measured.loss:.4f}  {rate:,.0f} tokens/s"
    console.passing(f"{line}  {left // 60}:{left % 60:02} left")


def save(run: Run) -> Path:
    """A checkpoint of the state before `next_step`."""
    tensors = {"weights": dict(run.model.state_dict()), "optimizer": run.optimizer.state()}
    facts = {
        **run.identity,
        "shape": run.model.shape.model_dump(),
        "settings": run.settings.model_dump(),
        "tokenizer_sha256": run.shards.manifest.tokenizer_sha256,
        "end_of_document": run.shards.manifest.end_of_document,
    }
    return checkpoint.save(run.out, run.next_step, tensors, facts, run.settings.keep)


def train(
    data: Path, out: Path, asked: TrainSettings, mixture_file: Path | None = None, *, take_over: bool = False
) -> dict[str, Any]:
    """Train, or continue to train, the model in `out` on the shards of the run `data`; returns a summary.

    take_over: also where a process of another host, which cannot be seen from here, holds the folder. Raises LockError,
    ConfigError, DataError, ResumeError before the first step; Interrupted after SIGINT or SIGTERM, with a checkpoint
    written; CurateError where the loss is not finite or the disk is full.
    """
    with FolderLock(out, "train run", take_over) as lock:
        for warning in lock.warnings:
            console.err(f"warning: {warning}")
        return _train(setup(data, out, asked, mixture_file))


def _train(run: Run) -> dict[str, Any]:
    """Step until the budget is spent or a signal comes."""
    begin, first, measured = time.perf_counter(), run.next_step, None
    tokens = run.settings.batch_rows * run.settings.sequence_length
    console.err(f"{count_parameters(run.model):,} parameters, {run.settings.precision} on {run.device}")
    console.err(f"{run.steps:,} steps of {tokens:,} tokens")
    if first:
        console.err(f"continuing at step {first:,} of {run.steps:,}")
    with stop_on_signal() as caught, (run.out / METRICS).open("a", encoding="utf-8") as metrics:
        while run.next_step < run.steps:
            measured = step(run)
            log(run, measured, metrics)
            if caught or run.next_step == run.steps or run.next_step % run.settings.save_every == 0:
                folder = save(run)
            if caught and run.next_step < run.steps:
                raise Interrupted(
                    f"Stopped by {caught[0]} after step {run.next_step:,} of {run.steps:,}; saved to {folder}.\n"
                    "The same command continues."
                )
    console.passing("")
    return summary(run, first, measured, time.perf_counter() - begin)


def summary(run: Run, first: int, measured: Measured | None, seconds: float) -> dict[str, Any]:
    """What `train run --json` prints; loss is that of the last step, null where the run had ended before."""
    size = run.settings.batch_rows * run.settings.sequence_length
    return {
        "out": str(run.out),
        "checkpoint": str(checkpoint.find(run.out)),
        "parameters": count_parameters(run.model),
        "steps": run.steps,
        "tokens": run.steps * size,
        "steps_now": run.steps - first,
        "seconds": round(seconds, 2),
        "tokens_per_second": round((run.steps - first) * size / seconds) if run.steps > first else None,
        "loss": measured.loss if measured else None,
    }
