"""How long a run is: a budget of tokens, of time, or that of the mixture, as a number of steps and their order."""

import time

import torch

from curate import console
from curate.mixture import Mixture
from train.config import Shape, TrainSettings
from train.machine import DTYPES
from train.mixture import check_order, longest_order, make_order, steps_of
from train.model import build
from train.optim import Optimizer
from train.order import RowOrder
from train.packing import Batch, Packed
from train.processes import Alone
from train.step import Stepper

TIMED_STEPS = 10
UNTIMED_STEPS = 3


def set_budget(
    settings: TrainSettings,
    mixture: Mixture,
    packed: list[Packed],
    shape: Shape,
    device: torch.device,
    processes: Alone,
) -> tuple[TrainSettings, RowOrder, int]:
    """Settings with `tokens` filled in, the order of rows and its steps. A budget of minutes is measured here, once."""
    rows = {one.source.name: one.rows for one in packed}
    if not settings.tokens and settings.minutes:
        order, steps = longest_order(settings, mixture, rows, timed_steps(settings, shape, device, processes))
    else:
        steps = steps_of(settings.tokens or mixture.tokens, settings)
        order = make_order(settings, mixture, rows, steps)
    check_order(order, settings.sequence_length)
    tokens = settings.tokens or steps * settings.batch_rows * settings.sequence_length
    return settings.model_copy(update={"tokens": tokens}), order, steps


def timed_steps(settings: TrainSettings, shape: Shape, device: torch.device, processes: Alone) -> int:
    """How many steps fit into `minutes`: ten are timed, after three that warm up, on a model that is thrown away.

    The median counts, so that one disturbed step does not, and of several processes the first one's; the time spent
    here is part of the minutes.
    """
    if processes.rank == 0:
        console.err(f"timing {TIMED_STEPS} steps")
    begin = time.perf_counter()
    model = build(shape, settings.seed, device, DTYPES[settings.precision])
    processes.split(model)
    stepper = Stepper(model, Optimizer(model, settings.optim, model.dtype, processes), settings, device, processes)
    size = (settings.batch_rows // processes.places, settings.sequence_length)
    tokens = torch.arange(size[0] * size[1]).view(size).remainder(shape.vocab_size).numpy()
    batch = Batch(tokens, tokens, tokens // settings.sequence_length)
    seconds = []
    for _ in range(UNTIMED_STEPS + TIMED_STEPS):
        start = time.perf_counter()
        stepper.step(batch, 0.0)
        seconds.append(time.perf_counter() - start)
    median = sorted(seconds[UNTIMED_STEPS:])[TIMED_STEPS // 2]
    left = settings.minutes * 60 - (time.perf_counter() - begin)
    return int(processes.same(max(1, round(left / median))))
