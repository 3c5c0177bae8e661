"""The arms of an ablation side by side: bits per byte of held-out texts, and every arm less the first, with intervals.

A difference is that of models with the same seed on the same documents; both are resampled (intervals.paired). With one
seed the interval holds the choice of documents alone, and says nothing of another start of training.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from train.ablation.data import opened
from train.ablation.plan import Plan
from train.ablation.rules import difference, steps_of_recipe
from train.ablation.runs import PLACES, Given, Judged, text_bytes
from train.audit.spans import occurrences, sample
from train.intervals import Estimate, Floats, mean, paired, proportion
from train.packing import pack
from train.shards import Shards

OVERLAP_TOKENS, OVERLAP_SPANS = 32, 300
ALL = "all"

Found = dict[str, dict[int, Judged]]  # by arm and seed


class Tables(NamedTuple):
    """By held-out text, `all` of them too: nats by arm [S, D], bytes [D], and by arm nats and tokens by place."""

    nats: dict[str, dict[str, Floats]]
    bytes: dict[str, Floats]
    places: dict[str, dict[str, tuple[Floats, Floats]]]


def tables(plan: Plan, found: Found, heldout: dict[str, Shards]) -> Tables:
    """The last checkpoint of every model."""
    nats: dict[str, dict[str, Floats]] = {name: {} for name in heldout}
    places: dict[str, dict[str, tuple[Floats, Floats]]] = {name: {} for name in heldout}
    sizes: dict[str, Floats] = {}
    for name, shards in heldout.items():
        for arm in plan.arms:
            texts = [found[arm.name][seed].texts for seed in plan.seeds]
            last = [steps[max(steps)][name] for steps in texts]
            whole = np.stack([one.nats for one in last])
            nats[name][arm.name] = whole.sum(axis=2)
            places[name][arm.name] = (whole, last[0].tokens.astype(np.float64))
        sizes[name] = text_bytes(shards, whole.shape[1])
    if len(heldout) > 1:
        nats[ALL] = {arm.name: np.concatenate([nats[name][arm.name] for name in heldout], axis=1) for arm in plan.arms}
        sizes[ALL] = np.concatenate([sizes[name] for name in heldout])
    return Tables(nats, sizes, places)


def bits_per_byte(nats: Floats, sizes: Floats) -> Floats:
    """Of every seed, from the nats of its documents [S, D]."""
    return np.asarray(nats.sum(axis=1) / math.log(2) / sizes.sum())


def differences(plan: Plan, made: Tables) -> list[dict[str, Any]]:
    """By held-out text and arm: bits per byte less those of the first arm; below 0 the arm is better."""
    first, rows = plan.arms[0].name, []
    for name, by_arm in made.nats.items():
        for arm in plan.arms[1:]:
            apart, sizes = (by_arm[arm.name] - by_arm[first]) / math.log(2), made.bytes[name]
            by_seed = (apart.sum(axis=1) / sizes.sum()).tolist()
            found = paired(apart, sizes)
            rows.append({"heldout": name, "arm": arm.name, "against": first, "difference": found, "by_seed": by_seed})
    return rows


def by_place(plan: Plan, made: Tables) -> list[dict[str, Any]]:
    """As `differences`, in bits a token, by the place of the token in its context."""
    first, rows = plan.arms[0].name, []
    for name, by_arm in made.places.items():
        for arm in plan.arms[1:]:
            for part, start in enumerate(PLACES):
                tokens = by_arm[first][1][:, part]
                if not tokens.sum():
                    continue
                apart = (by_arm[arm.name][0][:, :, part] - by_arm[first][0][:, :, part]) / math.log(2)
                row = {"heldout": name, "arm": arm.name, "against": first, "from": start}
                rows.append({**row, "difference": paired(apart, tokens)})
    return rows


def overlap(plan: Plan, heldout: dict[str, Shards]) -> list[dict[str, Any]]:
    """By held-out text and arm: the share of stretches of 32 tokens that stand in the arm's training tokens."""
    rows = []
    for name, shards in heldout.items():
        (source,) = [one for one in shards.sources.values() if one.documents]
        packed = [pack(source, 256, shards.manifest.end_of_document)]
        spans = sample(packed, None, OVERLAP_TOKENS, OVERLAP_SPANS, 1).spans.tokens
        for arm in plan.arms:
            seen = occurrences(opened(plan.tokens(arm.name)), spans) > 0
            rows.append({"heldout": name, "arm": arm.name, "seen": proportion(seen, np.arange(len(seen)))})
    return rows


def curves(plan: Plan, found: Found, heldout: dict[str, Shards], row_tokens: int) -> list[dict[str, Any]]:
    """By arm: tokens trained on, and by held-out text bits per byte there, the mean of the seeds."""
    lines = []
    for arm in plan.arms:
        steps = sorted(found[arm.name][1].texts)
        by_text = {}
        for name, shards in heldout.items():
            values = []
            for step in steps:
                nats = np.stack([found[arm.name][seed].texts[step][name].nats.sum(axis=1) for seed in plan.seeds])
                values.append(float(bits_per_byte(nats, text_bytes(shards, nats.shape[1])).mean()))
            by_text[name] = values
        lines.append({"arm": arm.name, "tokens": [step * row_tokens for step in steps], "bits_per_byte": by_text})
    return lines


def compare(plan: Plan, found: Found, given: Given, have: dict[str, int], row_tokens: int) -> dict[str, Any]:
    """Everything that ablation.json holds, as Estimates."""
    heldout = given.heldout
    made, first = tables(plan, found, heldout), plan.arms[0].name
    rates = {
        name: {
            arm.name: {"mean": float(bits.mean()), "by_seed": bits.tolist()}
            for arm in plan.arms
            for bits in [bits_per_byte(by_arm[arm.name], made.bytes[name])]
        }
        for name, by_arm in made.nats.items()
    }
    arms = {
        arm.name: {
            "recipe": str(arm.recipe),
            "steps": steps_of_recipe(arm.recipe),
            "tokens": have[arm.name],
            "epochs": plan.training.tokens / have[arm.name],
        }
        for arm in plan.arms
    }
    return {
        "arms": arms,
        "tokens": plan.training.tokens,
        "size": plan.training.size,
        "seeds": list(plan.seeds),
        "heldout": {name: {"documents": len(size), "bytes": int(size.sum())} for name, size in made.bytes.items()},
        "bits_per_byte": rates,
        "differences": differences(plan, made),
        "tasks": tasks(plan, found, given),
        "by_place": by_place(plan, made),
        "overlap": overlap(plan, heldout),
        "rules": {arm.name: difference(plan, first, arm.name) for arm in plan.arms[1:]},
        "curves": curves(plan, found, heldout, row_tokens),
    }


def tasks(plan: Plan, found: Found, given: Given) -> list[dict[str, Any]]:
    """By task and arm: the share of items right, and that share less the first arm's; above 0 the arm is better.

    Items that an arm's context does not hold are left out of all arms, and counted.
    """
    first, rows = plan.arms[0].name, []
    for task in given.tasks:
        right = {arm.name: np.stack([found[arm.name][s].tasks[task.name] for s in plan.seeds]) for arm in plan.arms}
        scored = ~np.isnan(np.stack(list(right.values()))).any(axis=(0, 1))
        for arm in plan.arms:
            own = right[arm.name][:, scored]
            row = {"task": task.name, "arm": arm.name, "chance": task.chance, "too_long": int((~scored).sum())}
            row["accuracy"] = mean(own.mean(axis=0), np.arange(own.shape[1]))
            if arm.name != first:
                apart = own - right[first][:, scored]
                row |= {"difference": paired(apart, np.ones(own.shape[1])), "by_seed": apart.mean(axis=1).tolist()}
            rows.append(row)
    return rows


def verdict(found: Estimate) -> str:
    """In a word: which side of 0 the interval lies on."""
    return "better" if found.high < 0 else "worse" if found.low > 0 else "no difference shown"
