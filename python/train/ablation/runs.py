"""The models of an ablation, and what each makes of held-out texts: nats of every document, by place in the context.

Models that are finished and measured are not opened again; a model that was stopped goes on from its checkpoint.
"""

import math
import shutil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import console
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.ablation.data import opened
from train.ablation.plan import Plan
from train.config import TrainSettings, resolve
from train.evaluation.documents import row_nats
from train.evaluation.items import Evaluator
from train.evaluation.tasks import TaskData, load_tasks
from train.loss import IGNORE
from train.machine import fast_bf16, pick_device, set_threads
from train.mixture import steps_of
from train.packing import pack
from train.parts import Arrays, Parts
from train.shards import Shards, Source
from train.train import train

PLACES = (0, 16, 64, 256)  # first positions of the parts of a context that are told apart


class Measured(NamedTuple):
    """What a checkpoint makes of a held-out text: [D, P] nats and tokens of its documents by place in the context."""

    nats: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]


class Given(NamedTuple):
    """What every model is judged by: held-out texts and tasks, by name."""

    heldout: dict[str, Shards]
    tasks: list[TaskData]


class Judged(NamedTuple):
    """What a model gave: by step and held-out text, and by task 1 for each item that it gets right, 0 for one that it
    does not, NaN for one that is longer than its context."""

    texts: dict[int, dict[str, Measured]]
    tasks: dict[str, npt.NDArray[np.float64]]


def training(plan: Plan, seed: int) -> TrainSettings:
    """The settings of one model: `points` checkpoints on the way, all kept until they are measured."""
    device = pick_device(plan.training.device)
    resolved = resolve(plan.training, device.type, fast_bf16(device))
    every = math.ceil(steps_of(resolved.tokens, resolved) / plan.settings.points)
    return plan.training.model_copy(update={"seed": seed, "save_every": every, "keep": plan.settings.points + 1})


def heldout_documents(source: Source, tokens: int) -> int:
    """How many of the first documents of a held-out text hold about so many tokens."""
    ends = np.cumsum(source.lengths(), dtype=np.int64)
    return min(int(np.searchsorted(ends, tokens)) + 1, len(ends))


def open_given(plan: Plan) -> Given:
    """The held-out texts and the tasks. Raises ConfigError and DataError where they cannot be read."""
    heldout = {name: opened(plan.out / "heldout" / name) for name in plan.heldout}
    return Given(heldout, load_tasks(plan.tasks, None, None))


def judged(plan: Plan, parts: Parts, arm: str, seed: int, given: Given) -> Judged:
    """What a model gave; trained and measured here where that has not been done."""
    name = f"{arm}-{seed}-{opened(plan.tokens(arm)).fingerprint[:12]}"
    stored = parts.arrays(name, lambda: _train_and_measure(plan, arm, seed, given))
    texts: dict[int, dict[str, Measured]] = {}
    for step in stored["steps"].tolist():
        texts[step] = {
            name: Measured(*(stored[f"{step}.{name}.{kind}"] for kind in Measured._fields)) for name in given.heldout
        }
    return Judged(texts, {task.name: stored[f"task.{task.name}"] for task in given.tasks})


def _train_and_measure(plan: Plan, arm: str, seed: int, given: Given) -> Arrays:
    out = plan.run(arm, seed)
    console.err(f"{arm}, seed {seed}")
    train(plan.tokens(arm), out, training(plan, seed))
    set_threads(plan.training.threads)
    arrays: Arrays = {}
    folders = checkpoint.steps(out)
    for folder in folders:
        model = checkpoint.open_model(folder, pick_device(plan.training.device))
        for name, shards in given.heldout.items():
            one = measure(model, shards, plan.settings.heldout_tokens)
            arrays |= {f"{model.facts['step']}.{name}.{kind}": array for kind, array in one._asdict().items()}
    arrays["steps"] = np.array([int(folder.name[5:]) for folder in folders])
    if given.tasks:
        evaluator = Evaluator(model, open_encoder(out / "tokenizer.json"), out)
        for task in given.tasks:
            table, _ = evaluator.items(task, plan.settings.task_items, 0)
            right = table.column("accuracy").cast(pa.float64()).fill_null(math.nan)
            arrays[f"task.{task.name}"] = right.to_numpy()
    for folder in folders[:-1]:
        shutil.rmtree(folder)
    return arrays


def measure(trained: checkpoint.Trained, shards: Shards, tokens: int) -> Measured:
    """Nats and tokens of the first documents of a held-out text, by place in the context that the model has of them."""
    manifest, settings = shards.manifest, trained.settings
    (source,) = [one for one in shards.sources.values() if one.documents]
    documents = heldout_documents(source, tokens)
    packed = pack(source, settings.sequence_length, manifest.end_of_document, documents=documents)
    nats, counts = np.zeros((documents, len(PLACES))), np.zeros((documents, len(PLACES)), np.int64)
    for rows, batch, nats_BT in row_nats(trained.model, packed, manifest, settings, masked=True):
        pieces, _ = packed.pieces(rows)
        length = packed.length[pieces].astype(np.int64)
        # The targets of these rows, padding left out, are the pieces one after the other.
        document = np.repeat(packed.doc[pieces].astype(np.int64), length)
        place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        part = np.searchsorted(np.array(PLACES), place, side="right") - 1
        np.add.at(nats, (document, part), nats_BT[batch.targets != IGNORE].astype(np.float64))
        np.add.at(counts, (document, part), 1)
    return Measured(nats, counts)


def text_bytes(shards: Shards, documents: int) -> npt.NDArray[np.float64]:
    """UTF-8 bytes of the first documents of a held-out text."""
    (source,) = [one for one in shards.sources.values() if one.documents]
    sizes = np.concatenate([chunk.text_bytes for chunk in source.chunks])
    return sizes[:documents].astype(np.float64)
