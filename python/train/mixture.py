"""From a mixture file and a budget to the order of a run's rows: which share of them comes from which source, when.

curate/mixture.py says what a MIXTURE file is.

The trainer's budget, `tokens` or `minutes`, overrides the tokens of the file: its phases are then made longer or
shorter in proportion and keep their weights. Without a budget the phases have the tokens that the file says. Without
a file there is one phase of one epoch, in which every source has the weight of its tokens. max_epochs counts passes
over a source from the start of the run to the end of the phase; for a source that it does not name, the setting
`max_epochs` holds.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from curate.config import load_yaml, suggest, validate
from curate.errors import ConfigError, DataError
from curate.mixture import Mixture, MixturePhase
from train.config import TrainSettings
from train.order import Phase, RowOrder, apportion
from train.shards import Manifest


def load_mixture(path: Path, manifest: Manifest) -> Mixture:
    """Read a MIXTURE and check it against the shards. Raises ConfigError naming file, line and key."""
    document = load_yaml(path)
    mixture = validate(Mixture, document.data, document)
    if mixture.tokenizer_sha256 not in (None, manifest.tokenizer_sha256):
        where = document.at(("tokenizer_sha256",))
        raise ConfigError(
            f"{where}: the mixture was made for another tokenizer than the shards; run `curate mix` again"
        )
    known = sorted(name for name, counts in manifest.sources.items() if counts["tokens"])
    for number, phase in enumerate(mixture.phases):
        for name, weight in phase.weights.items():
            at = document.at(("phases", number, "weights", name))
            if weight < 0:
                raise ConfigError(f"{at}: the weight of {name} is {weight}; it must be at least 0")
            if weight > 0 and name not in known:
                raise ConfigError(f"{at}: no tokens of a source {name}{suggest(name, known)}")
        for name in phase.max_epochs:
            if name not in known:
                at = document.at(("phases", number, "max_epochs", name))
                raise ConfigError(f"{at}: no tokens of a source {name}{suggest(name, known)}")
        if not sum(phase.weights.values()):
            at = document.at(("phases", number, "weights"))
            raise ConfigError(f"{at}: all weights of the phase {phase.name} are 0")
    return mixture


def natural_mixture(manifest: Manifest) -> Mixture:
    """One epoch of everything, every source with the weight of its tokens."""
    tokens = {name: counts["tokens"] for name, counts in sorted(manifest.sources.items()) if counts["tokens"]}
    if not tokens:
        raise DataError("the shards hold no tokens; nothing to train on")
    total = sum(tokens.values())
    phase = MixturePhase(name="main", tokens=total, weights={name: n / total for name, n in tokens.items()})
    return Mixture(version=1, tokenizer_sha256=manifest.tokenizer_sha256, phases=[phase])


def steps_of(tokens: int, settings: TrainSettings) -> int:
    """Steps that a budget of tokens makes, at least one."""
    return max(1, round(tokens / (settings.batch_rows * settings.sequence_length)))


def make_order(settings: TrainSettings, mixture: Mixture, rows: Mapping[str, int], steps: int) -> RowOrder:
    """The order of `steps` steps; rows: packed rows of every source."""
    shares = apportion(steps * settings.batch_rows, np.array([float(phase.tokens) for phase in mixture.phases]))
    phases = []
    for phase, share in zip(mixture.phases, shares, strict=True):
        if share:
            limits = {name: phase.max_epochs.get(name, settings.max_epochs) for name in rows}
            phases.append(Phase(phase.name, int(share), phase.weights, limits))
    return RowOrder(settings.seed, rows, phases)


def check_order(order: RowOrder, row_length: int) -> None:
    """Raise ConfigError naming every source that runs out, with what is missing."""
    lines = []
    for phase, source, need, limit in order.shortfalls():
        have = order.rows[source]
        missing = round(need - limit * have) * row_length
        lines.append(
            f"  {source}: {need * row_length:,} tokens needed by the end of the phase {phase}, {have * row_length:,} "
            f"there are; with at most {limit:g} epochs {missing:,} are missing"
        )
    if lines:
        listing = "\n".join(lines)
        remedy = "Lower `tokens` or the source's weight, or raise its max_epochs."
        raise ConfigError(f"Some sources run out before the budget is spent:\n{listing}\n{remedy}")


def longest_order(
    settings: TrainSettings, mixture: Mixture, rows: Mapping[str, int], steps: int
) -> tuple[RowOrder, int]:
    """The longest order of at most `steps` steps in which no source runs out, and its steps.

    For a budget of time: the faster the machine, the more steps it asks for, and the data may not suffice for them.
    """
    order = make_order(settings, mixture, rows, steps)
    while steps > 1 and (short := order.shortfalls()):
        ratio = min(limit * order.rows[source] / need for _, source, need, limit in short)
        steps = max(1, min(steps - 1, int(steps * ratio)))
        order = make_order(settings, mixture, rows, steps)
    return order, steps
