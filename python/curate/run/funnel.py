"""The funnel of a run: how many rows went into and came out of every step, and which rule took how many.

Facts only, summed over the receipts of all tasks; report/ decides what of them is shown. As JSON it is funnel.json:

    {"steps": [{"step": "filter", "rows_in": 10, "rows_out": 8, "dropped": {"gopher.min_words": 2}, …,
                "rules": [{"rule": "gopher.min_words", "rows": 2, "action": "drop", "limit": 50.0, "unit": "words"}]}],
     "reader": {"other_records": {"request": 10}, "skipped_bytes": 0, …},
     "passes": [{"pass": "00-extract", "tasks": 3, "seconds": 1.5, "peak_memory_bytes": 180000000}],
     "failures": []}
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from curate.run.manifest import Receipt, StepCounts

Action = Literal["drop", "cut", "mark"]
_KEYS: dict[Action, str] = {"drop": "dropped", "cut": "cut", "mark": "marked"}  # in StepCounts and in funnel.json


class Named(Protocol):
    """A pass, of which only the name is needed: plans need not be imported here."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class RuleCount:
    """What one rule did in a step; `limit` is the number it compares with, None where it has none or it varies."""

    rule: str
    rows: int  # documents dropped or marked, or spans cut or marked
    action: Action
    limit: float | None = None
    unit: str = ""  # of the limit


@dataclass
class FunnelStep:
    """Rows and bytes of text of one step over all tasks; rows_in = rows_out + dropped + set_aside."""

    step: str  # name of the op; of the heldout lane `name (heldout)`
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    untouched: int = 0  # rows that `only` or the lane kept from the step; part of rows_in and rows_out
    set_aside: int = 0  # rows that went over to the heldout lane
    seconds: float = 0.0  # of wall time, summed over all tasks
    rules: list[RuleCount] = field(default_factory=list)

    def of(self, action: Action) -> list[RuleCount]:
        """The rules of one action, those that took most first."""
        return sorted((r for r in self.rules if r.action == action), key=lambda r: (-r.rows, r.rule))

    @property
    def share_kept(self) -> float:
        """Rows out of rows in, 0..1; 1 of nothing."""
        return self.rows_out / self.rows_in if self.rows_in else 1.0

    @property
    def changes_rows(self) -> bool:
        """Whether it dropped, set aside, cut or marked anything."""
        return bool(self.rules or self.set_aside)


@dataclass(frozen=True)
class PassTotals:
    """The tasks of one pass summed up."""

    name: str
    tasks: int
    seconds: float  # of all its tasks together
    peak_memory_bytes: int  # the largest worker's


@dataclass
class Funnel:
    """What a run did to its rows. `Funnel.of` makes one from receipts, `to_json` gives funnel.json."""

    steps: list[FunnelStep]  # in pipeline order
    reader: dict[str, Any]  # what was no document: other_records by kind, skipped_bytes, bytes, …
    passes: list[PassTotals]
    failures: list[str]  # messages of the tasks that failed in the last invocation, and of a guard

    @classmethod
    def of(
        cls,
        passes: Sequence[Named],
        receipts: Sequence[Mapping[str, "Receipt"]],
        failures: Iterable[object] = (),
        units: Mapping[tuple[str, str], str] | None = None,
        limits: Mapping[tuple[str, str], float] | None = None,
    ) -> "Funnel":
        """Sum the receipts of each pass (task -> receipt). `units` and `limits` are by step and rule."""
        steps: dict[str, FunnelStep] = {}
        counts: dict[str, dict[tuple[Action, str], int]] = {}
        reader: dict[str, Any] = {"other_records": {}, "skipped_bytes": 0, "bytes": 0}
        totals = []
        for one, of_tasks in zip(passes, receipts, strict=True):
            for receipt in of_tasks.values():
                _add(reader, {k: v for k, v in receipt.reader.items() if k not in ("warnings", "documents", "columns")})
                for count in receipt.steps:
                    step = steps.setdefault(count.step, FunnelStep(count.step))
                    _add_step(step, counts.setdefault(count.step, {}), count)
            totals.append(
                PassTotals(
                    one.name,
                    len(of_tasks),
                    round(sum(receipt.seconds for receipt in of_tasks.values()), 3),
                    max((receipt.peak_memory_bytes for receipt in of_tasks.values()), default=0),
                )
            )
        for name, step in steps.items():
            step.seconds = round(step.seconds, 3)
            step.rules = [
                RuleCount(rule, rows, action, (limits or {}).get((name, rule)), (units or {}).get((name, rule), ""))
                for (action, rule), rows in counts[name].items()
            ]
        return cls(list(steps.values()), reader, totals, [str(failure) for failure in failures])

    def to_json(self) -> dict[str, Any]:
        """Plain data, as funnel.json holds it."""
        steps = []
        for step in self.steps:
            data = asdict(step)
            by_action = {
                key: {count.rule: count.rows for count in step.rules if count.action == action}
                for action, key in _KEYS.items()
            }
            steps.append({**{k: v for k, v in data.items() if k != "rules"}, **by_action, "rules": data["rules"]})
        passes = [{"pass": p.name, **{k: v for k, v in asdict(p).items() if k != "name"}} for p in self.passes]
        return {"steps": steps, "reader": self.reader, "passes": passes, "failures": self.failures}


def _add_step(step: FunnelStep, rules: dict[tuple[Action, str], int], count: "StepCounts") -> None:
    """Add the counts of one task to the totals of a step, and its rules to `rules`."""
    for name in ("rows_in", "rows_out", "bytes_in", "bytes_out", "untouched", "set_aside", "seconds"):
        setattr(step, name, getattr(step, name) + getattr(count, name))
    for action, key in _KEYS.items():
        for rule, rows in getattr(count, key).items():
            rules[action, rule] = rules.get((action, rule), 0) + rows


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add numbers key by key, in nested mappings too; anything else stays as it came last."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            _add(total.setdefault(key, {}), value)
        elif isinstance(value, int | float):
            total[key] = round(total.get(key, 0) + value, 3)
        else:
            total[key] = value
