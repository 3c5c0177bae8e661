"""Which rules make two arms different: the documents that one keeps and the other drops, by the rule that dropped them.

The same page has the same doc_id in every arm, so that an arm's rejects say what became of a document that the other
arm trained on; and `funnel.json` says what each rule did in all.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from curate.config import load_yaml
from curate.errors import DataError
from train.ablation.data import opened
from train.ablation.plan import Plan

NO_REJECT = "not among its documents or rejects"


def kept(plan: Plan, arm: str) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The doc_ids of an arm's documents, and their tokens."""
    ids, lengths = [], []
    for source in opened(plan.tokens(arm)).sources.values():
        lengths.append(source.lengths().astype(np.int64))
        ids += [chunk.doc_ids for chunk in source.chunks]
    return pa.concat_arrays(ids), np.concatenate(lengths)


def dropped_by(run: Path, ids: pa.Array, tokens: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Of documents that a run does not have: rule, documents and tokens (of the arm that has them), the most first."""
    files = sorted(map(str, (run / "rejects").glob("*.parquet")))
    rules: dict[bytes, str] = {}
    try:
        for batch in (
            ds.dataset(files, format="parquet").to_batches(columns=["doc_id", "action", "rule"]) if files else ()
        ):
            drop = pa.compute.equal(batch.column("action"), "drop")
            batch = batch.filter(pa.compute.and_(drop, pa.compute.is_in(batch.column("doc_id"), value_set=ids)))
            rules.update(zip(batch.column("doc_id").to_pylist(), batch.column("rule").to_pylist(), strict=True))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{run / 'rejects'}: cannot be read: {error}") from None
    totals: dict[str, list[int]] = {}
    for one, n in zip(ids.to_pylist(), tokens.tolist(), strict=True):
        total = totals.setdefault(rules.get(one, NO_REJECT), [0, 0])
        total[0] += 1
        total[1] += n
    rows = [{"rule": rule, "documents": total[0], "tokens": total[1]} for rule, total in totals.items()]
    return sorted(rows, key=lambda row: (-int(row["tokens"]), str(row["rule"])))


def difference(plan: Plan, first: str, second: str) -> dict[str, Any]:
    """What the arm `second` has that `first` has not, and the other way round.

    removed: documents of `first` that `second` dropped, by its rules. added: the other way round, by rules of `first`.
    changed: tokens by which documents of both differ, cuts of lines for example. steps: names of both recipes.
    """
    (ids_a, tokens_a), (ids_b, tokens_b) = kept(plan, first), kept(plan, second)
    place = pa.compute.index_in(ids_a, value_set=ids_b)
    alone_a = pa.compute.is_null(place).to_numpy(zero_copy_only=False)
    alone_b = pa.compute.is_null(pa.compute.index_in(ids_b, value_set=ids_a)).to_numpy(zero_copy_only=False)
    both = place.drop_null().to_numpy()
    return {
        "removed": dropped_by(plan.data(second), ids_a.filter(pa.array(alone_a)), tokens_a[alone_a]),
        "added": dropped_by(plan.data(first), ids_b.filter(pa.array(alone_b)), tokens_b[alone_b]),
        "shared_documents": len(both),
        "changed_tokens": int((tokens_b[both] - tokens_a[~alone_a]).sum()),
        "rules": changed_rules(funnel(plan.data(first)), funnel(plan.data(second))),
    }


def funnel(run: Path) -> dict[str, dict[str, Any]]:
    """By `step rule` what funnel.json says of it."""
    path = run / "funnel.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {f"{step['step']} {rule['rule']}": rule for step in found["steps"] for rule in step["rules"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def changed_rules(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules that one arm has and the other has not, or that took another number of rows; the most unlike first."""
    rows = []
    for name in sorted(first.keys() | second.keys()):
        a, b = first.get(name), second.get(name)
        counts = [one["rows"] if one else 0 for one in (a, b)]
        if counts[0] != counts[1]:
            limits = [one["limit"] if one else None for one in (a, b)]
            rule, action = (a or b or {})["rule"], (a or b or {})["action"]
            rows.append({"rule": rule, "action": action, "rows": counts, "limits": limits})
    return sorted(rows, key=lambda row: -abs(row["rows"][0] - row["rows"][1]))


def steps_of_recipe(recipe: Path) -> list[str]:
    """The names of a recipe's steps, in order."""
    data = load_yaml(recipe).data
    return [str(next(iter(step)) if isinstance(step, dict) else step) for step in data.get("steps", [])]
