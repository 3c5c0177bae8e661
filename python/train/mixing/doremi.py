"""DoReMi (arXiv 2305.10429): the weights of sources that a small model under robust training asks for.

    1  a reference model is trained on the given mixture                    OUT/reference
    2  a proxy of its shape reads all sources alike often; at every step    OUT/proxy
           l_i = mean over the source's tokens of max(nats of the proxy - nats of the reference, 0)
           a_i ~ a_i exp(eta l_i), then a = (1 - smoothing) a + smoothing / k
       and the proxy is trained on the sum over sources of a_i times its mean loss there
    3  the weights are the mean of a over all steps                         OUT/mixture.yaml, OUT/weights.jsonl

The excess of a source is one number from all micro-batches and processes of a step, and the weights move once a step.
A source that the step does not read keeps its l_i. The weights start as those of the reference's mixture. Several
processes, which torchrun starts, share the rows; each holds the reference whole.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from curate import console
from curate.config import dump_yaml
from curate.errors import ConfigError, CurateError
from curate.mixture import Mixture, MixturePhase
from train import checkpoint
from train.config import TrainSettings
from train.loader import StepRows
from train.loss import IGNORE
from train.machine import stop_on_signal
from train.metrics import cut
from train.mixing.caps import by_pattern, fit_caps, tokens_of, write_mixture
from train.mixture import load_mixture, natural_mixture
from train.model import Model
from train.packing import Weighted
from train.parallel import launch
from train.processes import Alone, rows_of
from train.saver import Saver
from train.schedule import learning_rate
from train.shards import Int, open_shards
from train.train import Interrupted, Run, finish, open_loader, parameters_of, save, setup

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
WEIGHTS = "weights.jsonl"


class Robust(NamedTuple):
    """How the weights move."""

    eta: float = 1.0
    smoothing: float = 1e-3


class State:
    """Weights `alpha` and excess losses `excess` of the sources, [k] each, and the sum of alpha over the steps."""

    def __init__(self, reference: Array) -> None:
        self.alpha, self.excess, self.total = reference.copy(), np.zeros(len(reference)), np.zeros(len(reference))

    def update(self, sums: Array, counts: Array, how: Robust) -> None:
        """Move by the excess nats of a step, summed by source over `counts` tokens."""
        seen = counts > 0
        self.excess[seen] = sums[seen] / counts[seen]
        log_alpha = np.log(self.alpha) + how.eta * self.excess
        alpha = np.exp(log_alpha - log_alpha.max())
        self.alpha = (1 - how.smoothing) * alpha / alpha.sum() + how.smoothing / len(alpha)
        self.total += self.alpha

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ("alpha", "excess", "total")}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the values that `tensors` gave."""
        for name in ("alpha", "excess", "total"):
            setattr(self, name, tensors[name].numpy().copy())


def token_weights(alpha: Array, counts: Array, sources: Int) -> Floats:
    """Weight of the loss of each row's tokens [B], so that the mean of weighted losses is the sum of alpha_i times the
    mean loss of source i.

    alpha is scaled to sum 1 over the sources that the step reads; counts: tokens of each in the step.
    """
    share = np.where(counts > 0, alpha, 0.0)
    a_token = share / share.sum() / np.maximum(counts, 1) * counts.sum()
    return np.asarray(a_token[sources], dtype=np.float32)


def step(run: Run, reference: Model, state: State, read: StepRows, how: Robust) -> float:
    """Move the weights, then the proxy; returns its weighted loss."""
    settings, processes, k = run.settings, run.processes, len(state.alpha)
    batch, sources = read.batch, read.sources[processes.place :: processes.places]
    rows, size = rows_of(batch, run.model.device), settings.micro_rows // processes.places
    sums, tokens_B = np.zeros(k), (batch.targets != IGNORE).sum(1)
    for start in range(0, len(sources), size):
        some = rows.cut(start, start + size)
        excess_BT = processes.nats(run.model, some, settings) - Alone().nats(reference, some, settings)
        excess_BT = excess_BT.clamp(min=0)
        sums += np.bincount(sources[start : start + size], excess_BT.sum(1).double().cpu().numpy(), k)
    sums, counts = processes.added(np.stack((sums, np.bincount(sources, tokens_B, k))))
    state.update(sums, counts, how)
    weight_B = token_weights(state.alpha, counts, sources)
    weighted = Weighted(*batch, np.repeat(weight_B[:, None], batch.targets.shape[1], 1))
    done = run.stepper.step(weighted, learning_rate(run.next_step, run.steps, settings.optim, run.last_phase))
    if not done.skipped and not np.isfinite((done.loss, done.grad_norm)).all():
        raise CurateError(f"the loss of the proxy is not finite at step {run.next_step}; lower optim.learning_rate")
    run.next_step += 1
    return done.loss


def train_proxy(run: Run, reference: Model, state: State, out: Path, how: Robust) -> None:
    """Step until the budget is spent or a signal comes; OUT/weights.jsonl takes the weights of every step."""
    settings, processes, stopped = run.settings, run.processes, False
    with (
        stop_on_signal() as caught,
        Saver(processes) as saver,
        open_loader(run, run.stage) as loader,
        open_log(run, out) as log,
    ):
        while run.next_step < run.steps and not stopped:
            loss = step(run, reference, state, loader.read(run.next_step), how)
            if log:
                log.write(json.dumps(line_of(run, state, loss)) + "\n")
                log.flush()
                console.passing(f"robust step {run.next_step:,} of {run.steps:,}, loss {loss:.4f}")
            saver.check()
            stopped = processes.any(bool(caught))
            if stopped or run.next_step % settings.save_every == 0 or run.next_step == run.steps:
                save(run, saver, {"doremi": boxes(run, state)})
        saver.wait()
    if stopped and run.next_step < run.steps:
        raise Interrupted(
            f"Stopped by {caught[0] if caught else 'a signal'} after step {run.next_step:,} of {run.steps:,}.\n"
            "The same command continues."
        )
    if log:
        console.passing("")


def open_log(run: Run, out: Path) -> AbstractContextManager[TextIO | None]:
    """OUT/weights.jsonl with the lines of the steps that are behind us; the first process writes it."""
    if run.processes.rank:
        return nullcontext()
    checkpoint.write_file(out / WEIGHTS, cut(out / WEIGHTS, run.next_step).encode())
    return (out / WEIGHTS).open("a", encoding="utf-8")


def line_of(run: Run, state: State, loss: float) -> dict[str, Any]:
    """What OUT/weights.jsonl has of the last step."""
    weights, excess = (
        dict(zip(run.stage.order.names, part.tolist(), strict=True)) for part in (state.alpha, state.excess)
    )
    return {"step": run.next_step - 1, "loss": loss, "weights": weights, "excess": excess}


def boxes(run: Run, state: State) -> dict[str, checkpoint.Box]:
    """The state as a checkpoint holds it."""
    return {name: run.processes.box(name, one) for name, one in state.tensors().items()}


def doremi(
    data: Path,
    out: Path,
    asked: TrainSettings,
    reference_mixture: Path | None,
    how: Robust,
    tokens: int | None,
    max_epochs: float,
    caps: tuple[str, ...],
) -> Mixture:
    """Train reference and proxy, or continue, and write OUT/mixture.yaml. Raises ConfigError as its parts do.

    asked: settings of both models. tokens: of the mixture that is written, all there are without.
    """
    if asked.long.factor > 1 or asked.objective != "next_token":
        raise ConfigError("robust training runs on next tokens, in rows of one length (long.factor=1)")
    if any(size > 1 for size in asked.parallel.model_dump().values()):
        raise ConfigError("robust training shares rows alone; leave parallel.* at 1")
    if not 0 <= how.smoothing < 1 or not how.eta > 0:
        raise ConfigError(f"--eta must be above 0 and --smoothing in [0, 1), found {how.eta:g} and {how.smoothing:g}")
    with launch.connected(asked.device) as device, launch.locked(out, "train mixture doremi"):
        return _doremi(data, out, asked, reference_mixture, how, tokens, max_epochs, caps, device)


def _doremi(
    data: Path, out: Path, asked: TrainSettings, reference_mixture: Path | None, how: Robust, tokens: int | None,
    max_epochs: float, caps: tuple[str, ...], device: torch.device,
) -> Mixture:  # fmt: skip
    manifest = open_shards(data / "tokens").manifest
    available = tokens_of(manifest)
    epochs = by_pattern(list(available), caps, "--cap", max_epochs)
    given = load_mixture(reference_mixture, manifest) if reference_mixture else natural_mixture(manifest)
    first = given.phases[0].weights
    names = [name for name in available if first.get(name, 0) > 0]
    if len(names) < 2:
        raise ConfigError("the mixture of the reference has one source: there is nothing to weigh")
    prior = np.array([first[name] for name in names]) / sum(first[name] for name in names)
    # An untouched budget is that of the given mixture; the proxy has the same.
    budget = {"tokens": asked.tokens or (0 if asked.minutes else given.tokens)}
    with launch.locked(out / "reference", "train mixture doremi"):
        first_run = setup(data, out / "reference", asked.model_copy(update=budget), reference_mixture, None, device)
        finish(first_run)
    with first_run.processes.first():  # whose checkpoint is on the disk
        reference = checkpoint.open_model(out / "reference", device)
    # The reference's resolved settings, so that both have one shape and budget.
    settings = reference.settings.model_copy(update={"max_epochs": 1e9})
    even = MixturePhase(name="even", tokens=settings.tokens, weights=dict.fromkeys(names, 1.0))
    path = out / "even.yaml"
    made = Mixture(version=1, tokenizer_sha256=manifest.tokenizer_sha256, phases=[even])
    checkpoint.write_file(path, dump_yaml(made.model_dump()).encode())
    run = setup(data, out / "proxy", settings, path, None, device)
    state = _state(run, names, prior)
    train_proxy(run, reference.model, state, out, how)
    order = {name: place for place, name in enumerate(run.stage.order.names)}
    mean = {name: float(state.total[order[name]]) for name in names}
    weights = {name: value / sum(mean.values()) for name, value in mean.items()}
    total = tokens or sum(available[name] for name in names)
    shares = fit_caps(weights, available, epochs, total)
    evidence: dict[str, Any] = {
        "method": "doremi",
        "eta": how.eta,
        "smoothing": how.smoothing,
        "steps": run.steps,
        "parameters": parameters_of(run),
        "reference": {name: round(float(value), 9) for name, value in zip(names, prior, strict=True)},
        "mean_weights": {name: round(value, 9) for name, value in weights.items()},
        "last_weights": {name: round(float(state.alpha[order[name]]), 9) for name in names},
        "last_excess": {name: round(float(state.excess[order[name]]), 6) for name in names},
    }
    return write_mixture(out / "mixture.yaml", manifest, total, shares, epochs, evidence)


def _state(run: Run, names: list[str], prior: Array) -> State:
    """The weights before the next step: those of the reference, or of the checkpoint that the proxy goes on from.

    Sources without a part in the reference's mixture have a weight too small to count.
    """
    by_name = dict(zip(names, prior.tolist(), strict=True))
    state = State(np.array([by_name.get(name, 1e-300) for name in run.stage.order.names]))
    if run.next_step:
        state.restore(checkpoint.load(checkpoint.find(run.out), {"doremi": state.tensors()})["doremi"])
    return state
