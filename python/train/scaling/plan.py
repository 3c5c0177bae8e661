"""A scaling study as a list of runs: budgets of operations times sizes, one run a size and seed for all budgets.

    OUT/plan.json   budgets, sizes, what every run trains, what it costs

A run takes the largest budget with the schedule wsd_s, whose rate goes down at 1/2, 1/4 … of it too: the checkpoints
there are what runs of these budgets would have given. So budgets are halves of each other, and three of them cost as
much as the largest alone. Sizes lie around the best one that tokens a parameter of `ratio` foretell; a plan whose sizes
do not reach beyond it on both sides, at every budget, is refused.
"""

import json
from pathlib import Path
from typing import Any

from curate.config import Settings, setting, validate
from curate.errors import ConfigError, ResumeError
from train import checkpoint
from train.config import TrainSettings, resolve, shape_of
from train.scaling.laws import CHINCHILLA_RATIO
from train.scaling.points import cost_of, counts
from train.shards import open_shards
from train.sizes import is_size

FILE = "plan.json"
AROUND = (0.25, 0.5, 1.0, 2.0, 4.0)  # default sizes, as parts of the best one of the middle budget
REACH = 1.5  # tokens a parameter that the smallest and the largest size must be away from `ratio`, as a factor


class PlannedRun(Settings):
    """One training run."""

    name: str
    size: str
    seed: int
    tokens: int = setting(..., "of the largest budget", unit="tokens", gt=0)
    parameters: dict[str, int]
    flops_per_token: float


class Plan(Settings):
    """A study. `settings`: of `train run`, the same for all runs, before size, seed and tokens."""

    version: int = 1
    data: str
    fingerprint: str = setting(..., "of the shards")
    budgets: list[float] = setting(..., "largest first", unit="operations", min_length=1)
    ratio: float
    settings: dict[str, Any]
    runs: list[PlannedRun]

    @property
    def flops(self) -> float:
        """Operations of the whole study."""
        return sum(run.tokens * run.flops_per_token for run in self.runs)


def make_plan(
    data: Path, flops: float, halvings: int, sizes: list[str], seeds: int, asked: TrainSettings, ratio: float
) -> Plan:
    """The plan of `halvings` + 1 budgets, the largest `flops`. Raises ConfigError where sizes do not bracket."""
    shards = open_shards(data / "tokens")
    open_shards(data / "heldout" / "tokens")  # where losses are measured
    vocab, budgets = shards.manifest.vocab_size, [flops / 2**n for n in range(halvings + 1)]
    sizes = sizes or default_sizes(budgets[len(budgets) // 2], ratio)
    optim = asked.optim.model_copy(update={"schedule": "wsd_s", "periods": halvings + 1})
    runs = []
    for size in sizes:
        if not is_size(size):
            raise ConfigError(f'--sizes: must be numbers of parameters such as 5m or 1.5b, found "{size}"')
        settings = resolve(asked.model_copy(update={"size": size, "optim": optim}), "cpu", False)
        shape = shape_of(settings, vocab)
        cost, step = cost_of(shape), settings.batch_rows * settings.sequence_length
        # Whole steps of the smallest budget, so that all budgets end with one.
        tokens = max(1, round(flops / cost / step / 2**halvings)) * step * 2**halvings
        if tokens < 4 * step * 2**halvings:
            raise ConfigError(
                f"{size}: {flops:.3g} operations are {flops / cost / step:.0f} steps; the smallest of {halvings + 1} "
                "budgets would be less than 4 steps: raise --flops, lower --halvings or batch_rows"
            )
        for seed in range(1, seeds + 1):
            names: dict[str, Any] = {"name": f"{size}-s{seed}", "size": size, "seed": seed, "tokens": tokens}
            runs.append(PlannedRun(**names, parameters=counts(shape), flops_per_token=cost))
    check_brackets(runs, budgets, ratio)
    kept = asked.model_copy(update={"optim": optim}).model_dump(exclude={"size", "seed", "tokens", "minutes"})
    return Plan(data=str(data), fingerprint=shards.fingerprint, budgets=budgets, ratio=ratio, settings=kept, runs=runs)


def default_sizes(flops: float, ratio: float) -> list[str]:
    """Names of five sizes around the best one for a budget at 6 N D operations."""
    best = (flops / 6 / ratio) ** 0.5
    return [f"{max(0.1, part * best / 1e6):.2g}m" for part in AROUND]


def check_brackets(runs: list[PlannedRun], budgets: list[float], ratio: float) -> None:
    """Raise ConfigError for a budget whose sizes lie on one side of the best one, as `ratio` foretells it."""
    lines = []
    for part, budget in enumerate(budgets):
        ratios = {run.size: run.tokens / 2**part / run.parameters["with_head"] for run in runs}
        if len(ratios) < 3:
            raise ConfigError(f"--sizes: {len(ratios)} sizes; a minimum needs three or more")
        words = (
            f"  {budget:.3g} operations: {min(ratios.values()):.3g} to {max(ratios.values()):.3g} tokens a parameter"
        )
        best = (budget / 6 / ratio) ** 0.5 / 1e6
        if max(ratios.values()) < ratio * REACH:
            lines.append(f"{words}; add sizes smaller than {best:.2g}m")
        if min(ratios.values()) > ratio / REACH:
            lines.append(f"{words}; add sizes larger than {best:.2g}m")
    if lines:
        raise ConfigError(
            "\n".join([f"--sizes do not bracket the best one, at about {ratio:g} tokens a parameter:", *lines])
            + "\n--ratio gives another expectation"
        )


def write_plan(out: Path, plan: Plan) -> None:
    """Into OUT/plan.json. Raises ResumeError where another plan is there already."""
    path = out / FILE
    if path.exists() and read_plan(out) != plan:
        raise ResumeError(f"{path} is another plan; name another --out folder, or remove it and its runs")
    checkpoint.write_file(path, json.dumps(plan.model_dump(), indent=1).encode())


def read_plan(out: Path) -> Plan:
    """The plan in a folder. Raises ConfigError where there is none."""
    path = out / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no plan: {error}; `train scaling plan` makes one") from None
    return validate(Plan, content, name=str(path))


def described(plan: Plan, peak: float) -> str:
    """The plan as text; peak: operations a second of this machine, of which half is counted on."""
    hours = plan.flops / (peak / 2) / 3600
    lines = [
        f"{len(plan.runs)} runs, {plan.flops:.3g} operations, about {hours:,.1f} hours at half this machine's peak"
    ]
    lines.append(f"budgets: {', '.join(f'{one:.3g}' for one in plan.budgets)} operations")
    for run in plan.runs:
        parameters = run.parameters["with_head"]
        share = f"{run.tokens / parameters:,.1f} tokens a parameter (Chinchilla: {CHINCHILLA_RATIO:g})"
        lines.append(f"{run.name:>12}  {parameters:>13,} parameters  {run.tokens:>15,} tokens  {share}")
    return "\n".join(lines)
