"""A training run: set up, then step, log and save until the budget is spent.

    OUT/train.yaml      the settings, every one resolved            OUT/packing/      rows of each source
    OUT/mixture.yaml    the mixture as it was read                  OUT/checkpoints/  the newest `keep`
    OUT/tokenizer.json  of the shards                               OUT/metrics.jsonl one line a step

    OUT/run.lock        the process that trains here, while it does: two in one folder would overwrite each other

The same command continues a run that was stopped or killed, from the newest checkpoint and with losses equal to the
bit on the same machine, number of threads and grid of processes: the step number alone decides which rows come next,
and no random numbers are drawn but those that seed and step decide. Of several processes (train.parallel) the first
alone logs and writes. A 5 M model takes about 1 s for a step of 4,096 tokens on one core without AMX.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate import console
from curate.config import dump_yaml
from curate.errors import ConfigError, CurateError, ResumeError
from train import checkpoint, config
from train.budget import set_budget
from train.config import Shape, TrainSettings
from train.diffusion import noised
from train.loader import Loader, StepRows
from train.machine import DTYPES, fast_bf16, pick_device, set_threads, stop_on_signal
from train.metrics import METRICS, Metrics, cut
from train.mixture import load_mixture, natural_mixture
from train.model import Model, build, count_parameters, fill, tensors_of
from train.optim import Optimizer
from train.packing import Batch, Weighted, documents_of, pack
from train.parallel import launch
from train.processes import Alone
from train.saver import Saver
from train.schedule import learning_rate, period_ends
from train.shards import Manifest, Shards, check_tokenizer, open_shards
from train.stages import Stage, plan_of, stages_of
from train.step import Done, Stepper

NAMED_DOCUMENTS = 20  # of a batch whose loss is not finite


class Interrupted(CurateError):
    """A signal asked the run to stop; a checkpoint was written."""

    exit_code = 130


@dataclass
class Run:
    """Everything a step needs. `next_step` is the only state beside weights, moments and the stepper's."""

    out: Path
    settings: TrainSettings
    processes: Alone
    shards: Shards
    stages: list[Stage]
    model: Model
    optimizer: Optimizer
    stepper: Stepper
    init: str = ""  # SHA-256 of the weights that the run started from, empty for those of the seed
    next_step: int = 0

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.stages[-1].stop

    @property
    def stage(self) -> Stage:
        """The stage of the next step, after the last step the last one."""
        return next((stage for stage in self.stages if self.next_step < stage.stop), self.stages[-1])

    def enter(self, stage: Stage) -> None:
        """Give the model the row length and angles of a stage."""
        self.model.shape, self.stepper.settings = stage.shape, stage.settings

    @property
    def identity(self) -> dict[str, str]:
        """What a resumed run must share with the one it continues, by its name in index.json."""
        return {"data": self.shards.fingerprint, "plan": plan_of(self.stages), "init": self.init}

    @property
    def last_phase(self) -> int:
        """Steps of the mixture's last phase, over which wsd goes down; 0 where there is one phase."""
        phases = self.stages[0].order.phases
        return math.ceil(phases[-1].rows / self.settings.batch_rows) if len(phases) > 1 else 0

    @property
    def tensors(self) -> dict[str, dict[str, checkpoint.Box]]:
        """All that a checkpoint holds of what is here; weights and moments themselves, not copies."""
        box, state = self.processes.box, {**self.optimizer.state(), **self.stepper.state()}
        return {
            "weights": {name: box(name, one) for name, one in tensors_of(self.model).items()},
            "optimizer": {key: box(key.partition(".")[2], one) for key, one in state.items()},
        }


def setup(
    data: Path,
    out: Path,
    asked: TrainSettings,
    mixture_file: Path | None,
    init: Path | None,
    device: torch.device | None = None,
) -> Run:
    """Everything up to the first step: settings, shards, packing, budget, order, model, and the newest checkpoint.

    device: of this process, that of the settings by default. Raises the errors of the parts, before anything is
    trained.
    """
    device = device or pick_device(asked.device)
    recorded, origin = config.read_settings(out), checkpoint.find(init) if init else None
    if origin:
        asked = config.inherit(asked, checkpoint.settings_of(origin))
    settings = config.adopt(asked, recorded, out) if recorded else config.resolve(asked, device.type, fast_bf16(device))
    beside = launch.world_here()
    threads = set_threads(settings.threads if beside == 1 else asked.threads, beside)
    settings = settings.model_copy(update={"threads": threads})
    processes = launch.processes_of(settings)
    shards = open_shards(data / "tokens", settings.verify)
    manifest = shards.manifest
    tokenizer = check_tokenizer(data, manifest)
    default = data / "mixture.yaml"
    path = mixture_file or (default if default.exists() else None)
    mixture = load_mixture(path, manifest) if path else natural_mixture(manifest)
    sources = [source for source in shards.sources.values() if source.documents]
    with processes.first():
        packed = [pack(one, settings.sequence_length, manifest.end_of_document, out / "packing") for one in sources]
    shape = config.shape_of(settings, manifest.vocab_size)
    settings, order, steps = set_budget(settings, mixture, packed, shape, device, processes)
    model = start_model(shape, settings, device, manifest, origin)
    processes.split(model)
    optimizer = Optimizer(model, settings.optim, model.dtype, processes)
    stepper = Stepper(model, optimizer, settings, device, processes)
    alone = Stage(0, steps, settings, shape, packed, order)
    stages = stages_of(alone, mixture, manifest.end_of_document, out / "packing", processes)
    run = Run(out, settings, processes, shards, stages, model, optimizer, stepper)
    run.init = checkpoint.digest_of(origin) if origin else ""
    if checkpoint.steps(out):
        resume(run)
    run.enter(run.stage)
    if processes.rank == 0:
        checkpoint.write_file(out / "tokenizer.json", tokenizer)
        checkpoint.write_file(out / "mixture.yaml", dump_yaml(mixture.model_dump()).encode())
        checkpoint.write_file(out / config.SETTINGS_FILE, config.write_settings(settings).encode())
        checkpoint.write_file(out / METRICS, cut(out / METRICS, run.next_step).encode())
    return run


def start_model(
    shape: Shape, settings: TrainSettings, device: torch.device, manifest: Manifest, origin: Path | None
) -> Model:
    """The model before the first step: from the seed, or with the weights of the checkpoint `origin`."""
    model = build(shape, settings.seed, device, DTYPES[settings.precision])
    model.recompute = settings.recompute
    if origin:
        if checkpoint.read_index(origin)["tokenizer_sha256"] != manifest.tokenizer_sha256:
            raise ConfigError(f"--init {origin}: its tokenizer is another than that of the shards")
        fill(model, checkpoint.load(origin, {"weights": tensors_of(model)})["weights"])
    if settings.compile:
        for block in model.blocks.values():
            block.compile()
    return model


def resume(run: Run) -> None:
    """Put weights, moments and step of the newest checkpoint in place. Raises ResumeError naming what differs."""
    folder = checkpoint.find(run.out)
    index = checkpoint.read_index(folder)
    words = {"data": "the token shards", "plan": "the mixture or the budget", "init": "the model of --init"}
    differs = [words[key] for key, value in run.identity.items() if index.get(key) != value]
    if differs:
        raise ResumeError(
            f"{run.out} holds a run on other data: {' and '.join(differs)} changed.\n"
            "Give the same --data, --mixture and --init, or another --out folder."
        )
    tensors = checkpoint.load(folder, run.tensors, part=run.processes.world > 1)
    fill(run.model, tensors["weights"])
    run.optimizer.restore(tensors["optimizer"])
    run.stepper.restore(tensors["optimizer"])
    run.next_step = index["step"]


def step(run: Run, loader: Loader, metrics: Metrics | None) -> Done:
    """Read the rows of the next step, train on them, note it, count on. Raises CurateError where the loss or its
    gradient is not finite."""
    begin, number = time.perf_counter(), run.next_step
    read = loader.read(number)
    waited = time.perf_counter() - begin
    rate = learning_rate(number, run.steps, run.settings.optim, run.last_phase)
    done = run.stepper.step(rows_to_learn(run, read.batch), rate)
    if not done.skipped and not (math.isfinite(done.loss) and math.isfinite(done.grad_norm)):
        raise not_finite(run, done, read)
    if metrics:
        metrics.write(number, rate, done, read, time.perf_counter() - begin, waited)
    run.next_step = number + 1
    return done


def rows_to_learn(run: Run, batch: Batch) -> Batch | Weighted:
    """The rows of the next step as the objective takes them."""
    if run.model.shape.causal:
        return batch
    mask, processes = run.model.shape.vocab_size - 1, run.processes
    seed, places = run.settings.seed, (processes.place, processes.places)
    inputs, weights = noised(batch.targets, batch.inputs, mask, seed, run.next_step, *places)
    return Weighted(inputs, batch.targets, batch.documents, weights)


def not_finite(run: Run, done: Done, read: StepRows) -> CurateError:
    """The error that names the documents of the batch, those of rows without a finite loss first."""
    bad = [row for row, nats in enumerate(done.nats_B) if not math.isfinite(nats)] or list(range(len(read.rows)))
    ids = [one.hex() for one in documents_of(run.stage.packed, read.sources[bad], read.rows[bad])]
    more = f" and {len(ids) - NAMED_DOCUMENTS:,} more" if len(ids) > NAMED_DOCUMENTS else ""
    return CurateError(
        f"The loss is not finite at step {run.next_step} (loss {done.loss}, gradient norm {done.grad_norm}).\n"
        f"Its batch holds the documents {', '.join(ids[:NAMED_DOCUMENTS])}{more}.\n"
        f"Checkpoints up to here are in {run.out}; a lower optim.learning_rate, in another folder, usually helps."
    )


def save(run: Run, saver: Saver, beside: checkpoint.Tensors | None = None) -> None:
    """Start to write a checkpoint of the state before `next_step`; beside: groups that it holds too."""
    facts = {
        **run.identity,
        "shape": run.model.shape.model_dump(),
        "settings": run.stepper.settings.model_dump(),
        "tokenizer_sha256": run.shards.manifest.tokenizer_sha256,
        "end_of_document": run.shards.manifest.end_of_document,
    }
    kept = period_ends(run.steps, run.settings.optim) if run.settings.optim.schedule == "wsd_s" else ()
    saver.save(run.out, run.next_step, {**run.tensors, **(beside or {})}, facts, run.settings.keep, kept)


def train(
    data: Path,
    out: Path,
    asked: TrainSettings,
    mixture_file: Path | None = None,
    init: Path | None = None,
    *,
    take_over: bool = False,
) -> dict[str, Any]:
    """Train, or continue to train, the model in `out` on the shards of the run `data`; returns a summary, in the first
    process that torchrun started, and nothing in the others.

    init: a model whose weights the run starts from. take_over: also where a process of another host, which cannot be
    seen from here, holds the folder. Raises LockError, ConfigError, DataError, ResumeError before the first step;
    Interrupted after SIGINT or SIGTERM, with a checkpoint written; CurateError where the loss is not finite or the
    disk is full.
    """
    with launch.connected(asked.device) as device, launch.locked(out, "train run", take_over):
        return finish(setup(data, out, asked, mixture_file, init, device))


def finish(run: Run) -> dict[str, Any]:
    """Step until the budget is spent or a signal comes; returns and raises as `train`."""
    begin, first, done, settings = time.perf_counter(), run.next_step, None, run.settings
    processes, stopped, ends = run.processes, False, period_ends(run.steps, settings.optim)
    with stop_on_signal() as caught, Saver(processes) as saver, open_metrics(run) as metrics:
        while run.next_step < run.steps and not stopped:
            stage = run.stage
            run.enter(stage)
            with open_loader(run, stage) as loader:
                while run.next_step < stage.stop and not stopped:
                    done = step(run, loader, metrics)
                    saver.check()
                    stopped = processes.any(bool(caught))
                    if stopped or run.next_step in ends or run.next_step % settings.save_every == 0:
                        save(run, saver)
        saver.wait()
    if stopped and run.next_step < run.steps:
        raise Interrupted(
            f"Stopped by {caught[0] if caught else 'a signal'} after step {run.next_step:,} of {run.steps:,}; saved to "
            f"{checkpoint.places(run.out, run.next_step, '')[0]}.\nThe same command continues."
        )
    return {} if processes.rank else summary(run, first, done, time.perf_counter() - begin)


def open_loader(run: Run, stage: Stage) -> Loader:
    """The rows of what is left of a stage, those of this process."""
    left, rows, processes = range(run.next_step, stage.stop), stage.settings.batch_rows, run.processes
    manifest = run.shards.manifest
    return Loader(stage.packed, stage.order, manifest, rows, left, processes.place, processes.places)


def open_metrics(run: Run) -> AbstractContextManager[Metrics | None]:
    """The metrics of the run, which the first process writes, and what it says of the run before the first step."""
    processes, settings, shape = run.processes, run.settings, run.model.shape
    if processes.rank:
        return nullcontext()
    where = f" in {processes.world} processes" if processes.world > 1 else ""
    console.err(f"{parameters_of(run):,} parameters, {settings.precision} on {run.model.device}{where}")
    console.err(f"{run.steps:,} steps of {settings.batch_rows * settings.sequence_length:,} tokens")
    if run.next_step:
        console.err(f"continuing at step {run.next_step:,} of {run.steps:,}")
    names, manifest = run.stage.order.names, run.shards.manifest
    return Metrics(run.out, settings, shape, run.model.device, manifest, names, run.steps, processes.world)


def parameters_of(run: Run) -> int:
    """Parameters of the whole model, of which this process may hold a part."""
    return count_parameters(Model(run.model.shape, "meta"))


def summary(run: Run, first: int, done: Done | None, seconds: float) -> dict[str, Any]:
    """What `train run --json` prints; loss is that of the last step, null where the run had ended before."""
    size = run.settings.batch_rows * run.settings.sequence_length
    return {
        "out": str(run.out),
        "checkpoint": str(checkpoint.find(run.out)),
        "parameters": parameters_of(run),
        "steps": run.steps,
        "tokens": run.steps * size,
        "steps_now": run.steps - first,
        "seconds": round(seconds, 2),
        "tokens_per_second": round((run.steps - first) * size / seconds) if run.steps > first else None,
        "loss": float(done.nats_B.sum() / done.count_B.sum()) if done else None,
    }
