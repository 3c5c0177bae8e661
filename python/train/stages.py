"""The stages of a run: rows of one length, and then, where `long.factor` says so, a last part in longer rows.

A long row holds what `factor` short ones do, so that a step keeps its tokens, its learning rate and its place in the
mixture; there are as many rows less of them. Documents are packed anew, so that longer ones stay whole, and rotary
angles are stretched to the new length (positions.py). Weights and moments go on as they are.

The order of long rows is that of a run that had them from the beginning, entered where the stage begins: a function of
seed, plan and step as ever. It shuffles other rows, so that some documents of the first stage come again, and as many
others not.
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from curate.errors import ConfigError
from curate.mixture import Mixture
from train.config import Shape, TrainSettings
from train.mixture import check_order, make_order
from train.order import RowOrder
from train.packing import Packed, pack
from train.processes import Alone


class Stage(NamedTuple):
    """Steps start … stop - 1 of a run. settings: those of the run, with row length, rows and angles of the stage."""

    start: int
    stop: int
    settings: TrainSettings
    shape: Shape
    packed: list[Packed]
    order: RowOrder


def stages_of(first: Stage, mixture: Mixture, end_of_document: int, cache: Path, processes: Alone) -> list[Stage]:
    """All stages of a run, of which `first` is the first as long as it would be alone. cache: of packings.

    Raises ConfigError where longer rows do not fit the batch, or a source runs out.
    """
    settings, long = first.settings, first.settings.long
    if long.factor == 1:
        return [first]
    rows, length = settings.batch_rows // long.factor, settings.sequence_length * long.factor
    micro = math.gcd(rows, max(1, settings.micro_rows // long.factor))
    if settings.batch_rows % long.factor or rows % processes.places or micro % processes.places:
        raise ConfigError(
            f"long.factor: rows {long.factor} times as long leave {settings.batch_rows} / {long.factor} rows a step "
            f"and {settings.micro_rows} / {long.factor} a forward pass, for {processes.places} processes; give "
            "batch_rows and micro_rows that can be divided so"
        )
    scaled = {} if long.rope_scaling == "none" else {"rope_factor": float(long.factor)}
    scaled |= {"rope_theta": long.rope_theta} if long.rope_theta else {}
    angles = {**scaled, "rope_scaling": long.rope_scaling, "rope_original": settings.sequence_length if scaled else 0}
    changes = {"sequence_length": length, "batch_rows": rows, "micro_rows": micro}
    shape = first.shape.model_copy(update={**angles, "sequence_length": length})
    changed = settings.model_copy(update={**changes, "model": settings.model.model_copy(update=angles)})
    with processes.first():
        packed = [pack(one.source, length, end_of_document, cache) for one in first.packed]
    order = make_order(changed, mixture, {one.source.name: one.rows for one in packed}, first.stop)
    check_order(order, length)
    start = first.stop - max(1, round(first.stop * long.fraction))
    if start < 1:
        raise ConfigError(f"long.fraction: {long.fraction:g} of {first.stop} steps leaves none for the rows before")
    return [first._replace(stop=start), Stage(start, first.stop, changed, shape, packed, order)]


def plan_of(stages: list[Stage]) -> str:
    """SHA-256 of the order of all rows of a run; checkpoints hold it, under the name `plan`."""
    digests = [stage.order.digest() for stage in stages]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join([*digests, str(stages[-1].start)]).encode()).hexdigest()
