"""What a checkpoint has read: how often each packed row, and at which step for the last time.

The order of rows is a pure function of the settings in the checkpoint and of the mixture beside it, so that nothing
has to be recorded in training.
"""

from typing import NamedTuple

import numpy as np

from curate.errors import DataError
from train.checkpoint import Trained
from train.mixture import load_mixture, make_order, steps_of
from train.packing import Packed, pack
from train.shards import Int, Shards

BLOCK_ROWS = 1 << 16


class Read(NamedTuple):
    """By packed row of a source: times read, and the last step at which it was, -1 where never."""

    times: Int
    last_step: Int


class History(NamedTuple):
    """The packed sources as the run read them; `steps` is the number of steps that the checkpoint has done."""

    packed: list[Packed]
    read: list[Read]
    steps: int


def history(trained: Trained, shards: Shards) -> History:
    """Work the order out again. Raises DataError where the checkpoint was trained on other shards or by another one."""
    home, settings, facts = trained.folder.parent.parent, trained.settings, trained.facts
    if facts.get("data") != shards.fingerprint:
        raise DataError(
            f"{trained.folder}: was not trained on the tokens in {shards.folder}; --data takes the run that it was "
            "trained on"
        )
    end = shards.manifest.end_of_document
    sources = [source for source in shards.sources.values() if source.documents]
    packed = [pack(source, settings.sequence_length, end, home / "packing") for source in sources]
    mixture = load_mixture(home / "mixture.yaml", shards.manifest)
    rows = {one.source.name: one.rows for one in packed}
    order = make_order(settings, mixture, rows, steps_of(settings.tokens, settings))
    if order.digest() != facts.get("plan"):
        raise DataError(
            f"{trained.folder}: its order of rows does not follow from {home}/mixture.yaml and its settings; the file "
            "was changed after training"
        )
    read = [Read(np.zeros(one.rows, np.int64), np.full(one.rows, -1)) for one in packed]
    done = facts["step"] * settings.batch_rows
    for start in range(0, done, BLOCK_ROWS):
        stop = min(done, start + BLOCK_ROWS)
        sources_read, rows_read = order.take(start, stop)
        steps = np.arange(start, stop) // settings.batch_rows
        for number, one in enumerate(read):
            here = sources_read == number
            np.add.at(one.times, rows_read[here], 1)
            np.maximum.at(one.last_step, rows_read[here], steps[here])
    return History(packed, read, facts["step"])
