"""`train ablate`: from recipes to the difference that they make, in one command that goes on where it was stopped."""

import json
import math
from typing import Any

import numpy as np

from curate import console
from curate.io.lock import FolderLock
from train import checkpoint
from train.ablation.compare import compare
from train.ablation.data import check_budget, make_data
from train.ablation.page import page
from train.ablation.plan import Plan, check
from train.ablation.runs import judged, open_given, training
from train.config import resolve
from train.intervals import plain
from train.machine import fast_bf16, pick_device
from train.parts import Parts
from train.plot import Line, read_run


def ablate(plan: Plan, *, take_over: bool = False) -> dict[str, Any]:
    """Run all that is missing, and compare; returns what ablation.json holds, as Estimates.

    Raises ConfigError and ResumeError before anything runs, CurateError where a command of `curate` fails, Interrupted
    after a signal, with everything done so far kept.
    """
    with FolderLock(plan.out, "train ablate", take_over) as lock:
        for warning in lock.warnings:
            console.err(f"warning: {warning}")
        check(plan)
        make_data(plan)
        have, given = check_budget(plan), open_given(plan)
        texts = {name: shards.fingerprint for name, shards in given.heldout.items()}
        facts = {"version": 1, "heldout": texts, "tokens": plan.settings.heldout_tokens}
        asked = {"tasks": [task.digest for task in given.tasks], "items": plan.settings.task_items}
        parts = Parts(plan.out / "measured", {**facts, **asked})
        found = {
            arm.name: {seed: judged(plan, parts, arm.name, seed, given) for seed in plan.seeds} for arm in plan.arms
        }
        device = pick_device(plan.training.device)
        resolved = resolve(training(plan, 1), device.type, fast_bf16(device))
        result = compare(plan, found, given, have, resolved.batch_rows * resolved.sequence_length)
        data = plain(result)
        checkpoint.write_file(plan.out / "ablation.json", json.dumps(data, indent=1).encode())
        lines = [_training(plan, arm.name) for arm in plan.arms]
        checkpoint.write_file(plan.out / "ablation.html", page(result, lines, data).encode())
    return result


def _training(plan: Plan, arm: str) -> Line:
    """The loss of an arm's models, the mean of the seeds."""
    runs = [read_run(plan.run(arm, seed), arm) for seed in plan.seeds]
    loss = np.array([run.values["loss"] for run in runs]).mean(axis=0)
    return Line(arm, runs[0].tokens, {"loss": [x if math.isfinite(x) else math.nan for x in loss.tolist()]})
