"""filter: heuristic quality rules, measured once and decided by a preset's table of limits.

The first rule that fails names the reject, with the value and the limit. Limits can be changed one by one
(`limits: {gopher.min_words: 30}`) and rules left out (`without: [gopher.stop_words]`); a rule name that the
preset lacks is an error, not a rule that silently does nothing. The measures of every document are written to
signals/, so that limits can be tried without reading the text again.
"""

import numpy as np
import pyarrow as pa
from pydantic import field_validator, model_validator

from curate import kernels
from curate.config import Settings, setting, suggest
from curate.filters.presets import preset
from curate.filters.rules import Rule
from curate.stages.protocol import Applied, Channel, Phase, Side, Stage, with_verdicts


class Filter(Settings):
    preset: str = setting("gopher@dclm", "table of rules; the part after @ says whose way of counting")
    limits: dict[str, float] = setting({}, "other limits than the preset's, by rule name")
    without: list[str] = setting([], "rules of the preset to leave out")
    signals: bool = setting(True, "write every measure of every document to signals/")

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str) -> str:
        return preset(name).name

    @model_validator(mode="after")
    def _known_rules(self) -> "Filter":
        names = [rule.name for rule in preset(self.preset).rules]
        for key in (*self.limits, *self.without):
            if key not in names:
                raise ValueError(f'{self.preset} has no rule "{key}"{suggest(key, names)}')
        return self


class State:
    def __init__(self, config: Filter, side: Side) -> None:
        self.rules = rules_of(config)
        self.signals = config.signals


def rules_of(config: Filter) -> list[tuple[Rule, float]]:
    """(rule, limit) in the preset's order."""
    table = preset(config.preset).rules
    return [(rule, config.limits.get(rule.name, rule.limit)) for rule in table if rule.name not in config.without]


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    signals = kernels.signals(batch.column("text"))
    n = batch.num_rows
    chosen: list[str | None] = [None] * n
    values: list[float | None] = [None] * n
    limits: list[float | None] = [None] * n
    decided = np.zeros(n, bool)
    for rule, limit in state.rules:
        measure = signals.field(rule.measure).to_numpy(zero_copy_only=False)
        fails = (measure < limit) if rule.bound == "min" else (measure > limit)
        for row in np.flatnonzero(fails & ~decided):
            chosen[row], values[row], limits[row] = rule.name, float(measure[row]), limit
        decided |= fails
    emits = {}
    if state.signals:
        columns = {signals.type.field(i).name: signals.field(i) for i in range(signals.type.num_fields)}
        emits["signals"] = pa.RecordBatch.from_pydict({"doc_id": batch.column("doc_id"), **columns})
    return with_verdicts(batch, chosen, values, limits, emits=emits)


STAGE = Stage(
    name="filter",
    version=1,
    summary="Heuristic quality rules, by preset.",
    config=Filter,
    presets=lambda config: config.preset,
    expected=lambda config: (0.02, 1.0),
    rules=lambda config: {rule.name: rule.unit for rule, _ in rules_of(config)},
    limits=lambda config: {rule.name: limit for rule, limit in rules_of(config)},
    phases=(
        Phase(
            "apply", "each", open=State, apply=apply, emits=(Channel("signals", path="signals/{step}-{task}.parquet"),)
        ),
    ),
)
