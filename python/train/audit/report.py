"""The result of an audit as lines of text; every rate with its interval."""

import math
from collections.abc import Iterator
from typing import Any

from curate import console
from train.intervals import Estimate

TITLES = {
    "n_copies": "copies",
    "mass": "near-duplicate mass",
    "occurrences": "times the span stands in training",
    "times_read": "times read",
    "last_step": "step of the last reading",
    "quality_score": "quality score",
    "source": "source",
}


HEADER = ["spans", "by heart, %", "tokens right, %", "never saw them, %"]


def percent(found: Estimate | None, digits: int = 2) -> str:
    """A share and its interval in percent, without the sign."""
    if found is None or not found.n:
        return "-"
    value, low, high = (f"{100 * x:.{digits}f}" for x in found[:3])
    return value if math.isnan(found.low) else f"{value} [{low}, {high}]"


def _row(name: str, found: dict[str, Any]) -> list[str]:
    return [name, f"{found['extracted'].n:,}", percent(found["extracted"]), percent(found["right"], 1),
            percent(found.get("reference"))]  # fmt: skip


def text(result: dict[str, Any]) -> str:
    """All tables, one below the other."""
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    settings, told, left = result["settings"], result["discoverable"], result["left_out"]
    asked = f"{settings['suffix']} tokens after a prefix of {settings['prefix']}"
    yield f"step {result['step']:,}: {asked}, intervals of 95 %"
    yield (
        f"of {result['documents']:,} documents {left['short']:,} have no piece that is long enough, {left['unread']:,} "
        "were not read"
    )
    if result["started_from_a_model"]:
        yield "the run started from another model's weights; what that one had read is not counted"
    if "n_copies" in result["groups"] and not result["copies_trained_on"]:
        yield "copies and mass count documents that were dropped before training; --copies names a run that says more"
    if result["copies_trained_on"] and left["copies_unknown"]:
        yield f"{result['copies']} does not know {left['copies_unknown']:,} of the documents"
    yield ""
    rows = [
        _row("training", told),
        _row("low entropy, apart", result["low_entropy"]),
        _row("held out", told["heldout"]),
    ]
    yield console.table(["", *HEADER], rows)
    yield f"tokens before the first wrong one: {told['tokens_known']}"
    yield from _groups(result)
    yield from _draws(result)
    yield ""
    yield console.table(["prefix", *HEADER], [_row(str(one["prefix"]), one) for one in result["sweep"]])
    if result["prefixes_left_out"]:
        yield f"no room in the model's rows for prefixes of {', '.join(map(str, result['prefixes_left_out']))}"
    if result["membership"]:
        yield ""
        cells = [
            [name, str(one["auc"]), percent(one["tpr_at_1_percent"])] for name, one in result["membership"].items()
        ]
        yield console.table(["training or held out?", "AUC", "true positives at 1 % false, %"], cells)
    else:
        yield "\nno held-out documents: attacks on membership were left out"
    yield from _canaries(result["canaries"])


def _groups(result: dict[str, Any]) -> Iterator[str]:
    for name, groups in result["groups"].items():
        yield ""
        rows = [_row(_label(one), one) for one in groups]
        yield console.table([TITLES[name], *HEADER], rows)
        if name in result["slopes"]:
            yield f"each doubling adds {percent(result['slopes'][name])} points to those by heart"


def _label(group: dict[str, Any]) -> str:
    if "name" in group:
        return str(group["name"])
    least, most = group["least"], group["most"]
    return f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"


def _draws(result: dict[str, Any]) -> Iterator[str]:
    settings = result["settings"]
    cells = [
        [f"{one['draws']:,}", f"{one['chance']:g}", percent(one["extracted"]), percent(one["heldout"]),
         percent(one["reference"])]
        for one in result["drawn"]
    ]  # fmt: skip
    yield ""
    how = f"temperature {settings['temperature']:g}, top_k {settings['top_k']}"
    yield f"spans whose suffix is among so many drawn ones with a chance of at least …, {how}"
    yield console.table(["draws", "chance", "training, %", "held out, %", "never saw them, %"], cells)


def _canaries(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    yield ""
    rows = [[f"{one['repeats']:g}", f"{one['exposure'].n}", str(one["exposure"])] for one in found["levels"]]
    yield console.table(["canaries planted", "n", f"exposure, bits of {found['candidates']:,} candidates"], rows)
    yield f"each doubling of 1 + repeats adds {found['bits_a_doubling']} bits"
