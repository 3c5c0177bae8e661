"""Scores of tasks with their standard errors, from the tables of items: over all items, by format, clean and dirty.

accuracy   share of items whose gold candidate has the highest log-likelihood; of a cloze, whose words are the
           likeliest; of a generated answer, that match
by_token   the same with log-likelihood a token (CORE's way), by_byte a UTF-8 byte
centered   (score - chance) / (1 - chance), of the main score: by_token for choices, else accuracy
gold_bpb   bits per byte of the gold candidate, which still moves where a small model's accuracy does not
formats    the main score in every format, over the items that all formats scored
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import console
from curate.errors import ConfigError
from train.evaluation.contamination import GROUPS, Findings
from train.evaluation.items import Evaluator
from train.evaluation.statistics import (
    Score,
    difference_of_means,
    difference_of_shares,
    mean,
    ratio,
    shown,
)
from train.evaluation.tasks import Kind, TaskData

MAIN: dict[Kind, str] = {"choices": "by_token", "schema": "accuracy", "cloze": "accuracy", "generation": "accuracy"}
LN2 = math.log(2)
SHARES = ("accuracy", "by_byte", "by_token", "centered")
NAME = 22  # characters of a name that a table has room for


def evaluate_tasks(
    evaluator: Evaluator, tasks: Sequence[TaskData], findings: Findings | None, limit: int, format_items: int
) -> dict[str, Any]:
    """Results by task, and their mean centered score. Raises ConfigError where the findings are of no task."""
    if findings and not any(data.benchmark in findings.benchmarks for data in tasks):
        raise ConfigError(
            f"{findings.path} has none of these tasks, but {', '.join(findings.benchmarks)}: its benchmarks are named "
            "by their files"
        )
    found: dict[str, Any] = {}
    for data in tasks:
        groups = findings.groups(data) if findings else None
        console.passing(f"evaluating {data.name}")
        table, known = evaluator.items(data, limit, format_items)
        found[data.name] = score(data, table, groups)
        if findings and groups is None:
            console.err(f"note: {data.name}: {data.benchmark} is not in {findings.path}")
        console.passing("")
        if known:
            console.err(f"{data.name}: evaluated before with this model, items and settings")
    return found


def score(data: TaskData, table: pa.Table, groups: Any) -> dict[str, Any]:
    """The result of a task from its table of items; groups: of each item of the task, or None."""
    given = table.filter(pc.equal(table.column("format"), "given"))
    done = given.filter(pc.equal(given.column("state"), "scored"))
    main = MAIN[data.kind]
    result: dict[str, Any] = {
        "kind": data.kind,
        "shots": data.shots,
        "items": len(data.items),
        "asked": given.num_rows,
        "scored": done.num_rows,
        "too_long": given.num_rows - done.num_rows,
        "chance": data.chance,
        "main": main,
        "scores": {name: one.data() for name, one in _scores(data, done).items()},
    }
    if by_format := _formats(table, main):
        result["formats"] = by_format
    if groups is not None and done.num_rows:
        result["contamination"] = _contamination(done, groups, main)
    return result


def _scores(data: TaskData, done: pa.Table) -> dict[str, Score]:
    names = ["accuracy", "by_token", "by_byte"] if data.kind in ("choices", "schema") else ["accuracy"]
    found = {name: mean(_bools(done, name)) for name in names}
    main = found[MAIN[data.kind]]
    if main:
        found["centered"] = main.scaled(data.chance, 1 / (1 - data.chance))
    if data.kind != "generation":
        found["gold_bpb"] = ratio(_floats(done, "nats") / LN2, _floats(done, "bytes"))
    return {name: one for name, one in found.items() if one}


def _bools(table: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    values: npt.NDArray[np.bool_] = table.column(name).to_numpy().astype(bool)
    return values


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = table.column(name).to_numpy().astype(np.float64)
    return values


def _formats(table: pa.Table, main: str) -> dict[str, Any] | None:
    """The main score in every format; None where only the given one was asked."""
    values: dict[str, dict[int, bool]] = {}
    asked: set[int] = set()
    columns = (table.column(name).to_pylist() for name in ("format", "row", "state", main))
    for form, row, state, right in zip(*columns, strict=True):
        by_row = values.setdefault(form, {})
        if state == "scored":
            by_row[row] = right
        if form != "given":
            asked.add(row)
    # A format that can ask no item, as letters where there are none, is none of this task's.
    values = {form: by_row for form, by_row in values.items() if by_row}
    rows = sorted(asked.intersection(*values.values())) if values else []
    if len(values) < 2 or not rows:
        return None
    estimates = {form: mean([by_row[row] for row in rows]) for form, by_row in values.items()}
    found = {form: one for form, one in estimates.items() if one}
    middle = [one.value for one in found.values()]
    return {
        "items": len(rows),
        "left_out": len(asked) - len(rows),
        "score": main,
        "lowest": min(middle),
        "highest": max(middle),
        "standard_deviation": float(np.std(middle, ddof=1)),
        "by_format": {form: one.data() for form, one in found.items()},
    }


def _contamination(done: pa.Table, groups: Any, main: str) -> dict[str, Any]:
    """The main score on clean, dirty and unknown items, and dirty less clean."""
    group, right = groups[done.column("row").to_numpy()], _bools(done, main)
    result: dict[str, Any] = {"score": main}
    for name in GROUPS:
        found = mean(right[group == name])
        result[name] = found.data() if found else {"n": 0}
    dirty, clean = group == "dirty", group == "clean"
    gap = difference_of_shares(right[dirty], right[clean])
    result["difference"] = gap.data() if gap else None
    if done.column("nats").null_count == 0:
        bits = _floats(done, "nats") / LN2 / np.maximum(1, _floats(done, "bytes"))
        bpb = difference_of_means(bits[dirty], bits[clean])
        result["difference_gold_bpb"] = bpb.data() if bpb else None
    return result


def mean_centered(results: Mapping[str, Any]) -> Score | None:
    """The mean of the centered scores of two or more tasks; tasks are fixed, their items a sample."""
    found = [one["scores"]["centered"] for one in results.values() if "centered" in one["scores"]]
    if len(found) < 2 or any(one["standard_error"] is None for one in found):
        return None
    error = math.sqrt(sum(one["standard_error"] ** 2 for one in found)) / len(found)
    return Score(sum(one["value"] for one in found) / len(found), error, len(found))


# -- as text -----------------------------------------------------------------------------------------------------


def _share(one: Mapping[str, Any] | None) -> str:
    """A share with its error, without the zeros before the points."""
    if not one:
        return ""
    return re.sub(r"\b0\.", ".", shown(Score(one["value"], one["standard_error"], one["n"])))


def tables(results: Mapping[str, Any]) -> str:
    """The results as tables of at most 80 columns; every score with its standard error."""
    heads = ["task", "items", "accuracy", "by byte", "by token", "centered"]
    lines, notes, formats, groups = [], [], [], []
    for name, one in results.items():
        scores, name = one["scores"], name[:NAME]
        lines.append([name, f"{one['scored']:,}", *(_share(scores.get(key)) for key in SHARES)])
        if one["too_long"]:
            notes.append(f"{name}: {console.plural(one['too_long'], 'item')} longer than the context, without a score")
        if form := one.get("formats"):
            ends = sorted(form["by_format"].values(), key=lambda each: float(each["value"]))
            words = [_share(ends[0]), _share(ends[-1]), f"{form['standard_deviation']:.3f}"]
            formats.append([name, str(len(ends)), f"{form['items']:,}", *words])
        if parts := one.get("contamination"):
            groups.append([name, *_group_cells(parts)])
    text = console.table(heads, lines)
    if (found := mean_centered(results)) is not None:
        text += f"\nmean of the centered scores: {shown(found)}"
    if notes:
        text += "\n" + "\n".join(notes)
    if formats:
        heads = ["by format", "formats", "items", "lowest", "highest", "deviation"]
        text += "\n\n" + console.table(heads, formats)
    if groups:
        heads = ["in the corpus", "clean", "dirty", "dirty - clean, 95 %"]
        text += "\n\n" + console.table(heads, groups)
    return text


def _group_cells(parts: Mapping[str, Any]) -> list[str]:
    cells = [f"{_share(parts[key])} ({parts[key]['n']:,})" if parts[key]["n"] else "0" for key in ("clean", "dirty")]
    gap = parts["difference"]
    if not gap:
        return [*cells, "none"]
    low, high = gap["interval"]
    return [*cells, f"{gap['value']:+.3f} [{low:+.3f}, {high:+.3f}]"]
