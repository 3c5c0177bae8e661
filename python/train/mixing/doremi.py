"""DoReMi (arXiv 2305.10429): the weights of sources that a small model under robust training asks for.

    1  a reference model is trained on the given mixture                    OUT/reference
    2  a proxy of its shape reads all sources alike often; at every step    OUT/proxy
           l_i = mean over the source's tokens of max(nats of the proxy - nats of the reference, 0)
           a_i ~ a_i exp(eta l_i), then a = (1 - smoothing) a + smoothing / k
       and the proxy is trained on the sum over sources of a_i times its mean loss there
    3  the weights are the mean of a over all steps                         OUT/mixture.yaml, OUT/weights.jsonl

The excess of a source is one number from all micro-batches of a step, and the weights move once a step. A source that
the step does not read keeps its l_i. The weights start as those of the reference's mixture.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

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
from train.loader import Loader
from train.loss import IGNORE
from train.machine import stop_on_signal
from train.metrics import cut
from train.mixing.caps import by_pattern, fit_caps, tokens_of, write_mixture
from train.mixture import load_mixture, natural_mixture
from train.model import Model
from train.optim import clip_, gradients
from train.packing import Batch
from train.parallel import launch
from train.schedule import learning_rate
from train.shards import open_shards
from train.train import Interrupted, Run, setup, train

Array = npt.NDArray[np.float64]
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


def token_weights(alpha: Array, sources: npt.NDArray[np.int64], targets: Tensor) -> Tensor:
    """Weight of each token's loss [B, T], so that their sum is that of alpha_i times the mean loss of source i.

    alpha is scaled to sum 1 over the sources that the step reads.
    """
    counts = np.bincount(sources, (targets != IGNORE).sum(1).numpy(), len(alpha))
    share = np.where(counts > 0, alpha, 0.0)
    a_token = share / share.sum() / np.maximum(counts, 1)
    weights: Tensor = torch.from_numpy(a_token[sources].astype(np.float32)).unsqueeze(1).expand(targets.shape)
    return weights


def step(run: Run, reference: Model, state: State, batch: Batch, sources: npt.NDArray[np.int64], how: Robust) -> float:
    """Move the weights, then the proxy; returns its weighted loss. sources: of each row of the batch."""
    settings, device, k = run.settings, run.model.device, len(state.alpha)
    inputs, targets, documents = (torch.from_numpy(array) for array in batch)
    parts = [slice(start, start + settings.micro_rows) for start in range(0, len(inputs), settings.micro_rows)]
    sums = np.zeros(k)
    counts = np.bincount(sources, (targets != IGNORE).sum(1).numpy(), k).astype(np.float64)
    tensors = [(inputs[rows].to(device), targets[rows].to(device), documents[rows].to(device)) for rows in parts]
    for rows, (x, y, docs) in zip(parts, tensors, strict=True):
        mask = docs if settings.document_mask else None
        excess_BT = run.model.nats(x, y, mask, chunk=settings.loss_chunk)
        excess_BT = (excess_BT - reference.nats(x, y, mask, chunk=settings.loss_chunk)).clamp(min=0)
        sums += np.bincount(sources[rows], excess_BT.sum(1).double().cpu().numpy(), k)
    state.update(sums, counts, how)
    weight_BT, loss = token_weights(state.alpha, sources, targets), 0.0
    for rows, (x, y, docs) in zip(parts, tensors, strict=True):
        mask, weights = docs if settings.document_mask else None, weight_BT[rows].contiguous().to(device)
        total = run.model.loss(x, y, mask, chunk=settings.loss_chunk, weight_BT=weights).total
        total.backward()  # type: ignore[no-untyped-call]
        loss += float(total.detach())
    if not np.isfinite(loss):
        raise CurateError(f"the loss of the proxy is not finite at step {run.next_step}; lower optim.learning_rate")
    clip_(list(gradients(run.model).values()), settings.optim.clip)
    run.optimizer.update(learning_rate(run.next_step, run.steps, settings.optim, run.last_phase))
    run.next_step += 1
    return loss


def train_proxy(run: Run, reference: Model, state: State, out: Path, how: Robust) -> None:
    """Step until the budget is spent or a signal comes; OUT/weights.jsonl takes the weights of every step."""
    names, settings = run.stage.order.names, run.settings
    steps = range(run.next_step, run.steps)
    known = cut(out / WEIGHTS, run.next_step)
    checkpoint.write_file(out / WEIGHTS, known.encode())
    with (
        stop_on_signal() as caught,
        Loader(run.stage.packed, run.stage.order, run.shards.manifest, settings.batch_rows, steps) as loader,
        (out / WEIGHTS).open("a", encoding="utf-8") as log,
    ):
        for number in steps:
            read = loader.read(number)
            loss = step(run, reference, state, read.batch, read.sources, how)
            line = {"step": number, "loss": loss, "weights": dict(zip(names, state.alpha.tolist(), strict=True)),
                    "excess": dict(zip(names, state.excess.tolist(), strict=True))}  # fmt: skip
            log.write(json.dumps(line) + "\n")
            log.flush()
            console.passing(f"robust step {number + 1:,} of {run.steps:,}, loss {loss:.4f}")
            if caught or run.next_step % settings.save_every == 0 or run.next_step == run.steps:
                _save(run, state)
            if caught and run.next_step < run.steps:
                raise Interrupted(
                    f"Stopped by {caught[0]} after step {run.next_step:,} of {run.steps:,}.\n"
                    "The same command continues."
                )
    console.passing("")


def _save(run: Run, state: State) -> None:
    facts = {
        **run.identity,
        "shape": run.model.shape.model_dump(),
        "settings": run.settings.model_dump(),
        "tokenizer_sha256": run.shards.manifest.tokenizer_sha256,
        "end_of_document": run.shards.manifest.end_of_document,
    }
    tensors: checkpoint.Tensors = {**run.tensors, "doremi": state.tensors()}
    checkpoint.save(run.out, run.next_step, tensors, facts, run.settings.keep)


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
    if asked.precision == "fp16":
        raise ConfigError("precision: robust training has no loss scale; use bf16 or fp32")
    if asked.long.factor > 1 or asked.objective != "next_token" or launch.world() > 1:
        raise ConfigError("robust training runs in one process, on next tokens, in rows of one length (long.factor=1)")
    if not 0 <= how.smoothing < 1 or not how.eta > 0:
        raise ConfigError(f"--eta must be above 0 and --smoothing in [0, 1), found {how.eta:g} and {how.smoothing:g}")
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
    train(data, out / "reference", asked.model_copy(update=budget), reference_mixture)
    reference = checkpoint.open_model(out / "reference", torch.device("cpu"))
    # The reference's resolved settings, so that both have one shape and budget.
    settings = reference.settings.model_copy(update={"max_epochs": 1e9})
    even = MixturePhase(name="even", tokens=settings.tokens, weights=dict.fromkeys(names, 1.0))
    path = out / "even.yaml"
    made = Mixture(version=1, tokenizer_sha256=manifest.tokenizer_sha256, phases=[even])
    checkpoint.write_file(path, dump_yaml(made.model_dump()).encode())
    run = setup(data, out / "proxy", settings, path, None)
    state = _state(run, names, prior)
    train_proxy(run, reference.model.to(run.model.device), state, out, how)
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
        "parameters": sum(p.numel() for p in run.model.parameters()),
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
