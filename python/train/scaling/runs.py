"""The runs of a plan, one after the other: each is trained, then its checkpoints are measured on held-out text.

OUT/runs/<name>/   a training run, which continues where it stopped
OUT/points.jsonl   a line for every checkpoint that ends a period; what is there is not measured again
"""

import json
from pathlib import Path
from typing import Any

from curate import console
from curate.config import validate
from curate.errors import ResumeError
from train import checkpoint
from train.config import TrainSettings
from train.evaluation.bits_per_byte import held_out
from train.machine import pick_device, set_threads
from train.metrics import METRICS
from train.scaling.plan import Plan, PlannedRun, read_plan
from train.scaling.points import FILE, read_points
from train.schedule import period_ends
from train.shards import open_shards
from train.train import train


def run_all(out: Path, device: str = "auto", threads: int = 0) -> dict[str, Any]:
    """Everything of OUT/plan.json that is missing; returns counts. Raises ResumeError where the shards have changed."""
    plan = read_plan(out)
    data = Path(plan.data)
    shards = open_shards(data / "tokens")
    if shards.fingerprint != plan.fingerprint:
        raise ResumeError(f"{data}: the token shards are not those that {out} was planned for; make a new plan")
    unique = sum(counts["tokens"] for counts in shards.manifest.sources.values())
    known = {(point["run"], point["tokens"]) for point in _known(out)}
    added = 0
    for number, run in enumerate(plan.runs):
        settings = _settings(plan, run, device, threads)
        step = settings.batch_rows * _row_length(settings)
        ends = period_ends(run.tokens // step, settings.optim)
        missing = [end for end in ends if (run.name, end * step) not in known]
        if not missing:
            continue
        console.err(f"run {number + 1} of {len(plan.runs)}: {run.name}")
        train(data, out / "runs" / run.name, settings)
        for end in missing:
            point = _measure(out / "runs" / run.name, run, end, end * step, unique, data, device, threads)
            with (out / FILE).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(point) + "\n")
            added += 1
    return {"out": str(out), "runs": len(plan.runs), "points": len(_known(out)), "points_now": added}


def _known(out: Path) -> list[dict[str, Any]]:
    """The points that are there; the end of a line that was cut short is taken away."""
    path = out / FILE
    return read_points(path) if checkpoint.whole_lines(path).strip() else []


def _settings(plan: Plan, run: PlannedRun, device: str, threads: int) -> TrainSettings:
    given = {**plan.settings, "size": run.size, "seed": run.seed, "tokens": run.tokens}
    settings = validate(TrainSettings, given, name="plan.json: settings")
    return settings.model_copy(update={"device": device, "threads": threads})


def _row_length(settings: TrainSettings) -> int:
    from train.sizes import preset_of

    return settings.sequence_length or preset_of(settings.size).sequence_length


def _measure(
    folder: Path, run: PlannedRun, step: int, tokens: int, unique: int, data: Path, device: str, threads: int
) -> dict[str, Any]:
    """The point of the checkpoint after a step."""
    set_threads(threads)
    trained = checkpoint.open_model(folder / checkpoint.FOLDER / f"step-{step:08}", pick_device(device))
    whole = held_out(trained, data, baselines=False)["all"]
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()[:step]
    rows = [json.loads(line) for line in lines]
    return {
        "run": run.name,
        "size": run.size,
        "seed": run.seed,
        "tokens": tokens,
        "unique_tokens": min(unique, tokens),
        "flops": tokens * run.flops_per_token,
        "parameters": run.parameters,
        "loss": whole["loss"]["model"]["value"],
        "standard_error": whole["loss"]["model"]["standard_error"],
        "bits_per_byte": whole["bits_per_byte"]["model"],
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }
