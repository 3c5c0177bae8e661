"""The result of an ablation as lines of text, and as one HTML file that needs nothing else.

Every plot is in the file as data too: as JSON in the element `data`, which is what ablation.json holds.
"""

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

from curate import console
from train.ablation.compare import verdict
from train.intervals import Estimate
from train.plot import COLORS, STYLE, Line, panel

SHOWN_RULES = 6
WIDE, ROW, LABEL = 720, 22, 260


def signed(found: Estimate) -> str:
    """A difference with its interval."""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def text(result: dict[str, Any]) -> str:
    """The tables of the result."""
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    seeds = result["seeds"]
    yield f"bits per byte of held-out text after {result['tokens']:,} tokens, {console.plural(len(seeds), 'seed')}"
    arms = list(result["arms"])
    yield ""
    rows = [[name, *(f"{by_arm[arm]['mean']:.4f}" for arm in arms)] for name, by_arm in result["bits_per_byte"].items()]
    yield console.table(["held out", *arms], rows)
    yield ""
    rows = [
        [one["heldout"], one["arm"], signed(one["difference"]), " ".join(f"{x:+.4f}" for x in one["by_seed"]),
         verdict(one["difference"])]
        for one in result["differences"]
    ]  # fmt: skip
    yield console.table(["held out", f"less {arms[0]}", "difference, 95 %", "by seed", ""], rows, left=2)
    if len(seeds) == 1:
        yield "one seed: the intervals hold the choice of documents alone"
    if result["tasks"]:
        yield ""
        rows = [
            [one["task"], one["arm"], f"{one['accuracy'].n:,}", str(one["accuracy"]),
             signed(one["difference"]) if "difference" in one else "", f"{one['chance']:.3f}"]
            for one in result["tasks"]
        ]  # fmt: skip
        yield console.table(["task", "arm", "items", "share right", f"less {arms[0]}", "by chance"], rows, left=2)
    for arm in arms[1:]:
        yield from _rules(arm, arms[0], result["rules"][arm])
    repeated = [f"{name} {one['epochs']:.2f}" for name, one in result["arms"].items()]
    yield f"\npasses over each arm's tokens: {', '.join(repeated)}"
    seen = max(result["overlap"], key=lambda one: one["seen"].value)
    if seen["seen"].value > 0:
        share = 100 * seen["seen"].value
        yield f"of {seen['heldout']}, {share:.1f} % of stretches stand in the tokens of {seen['arm']}"


def _rules(arm: str, first: str, found: dict[str, Any]) -> Iterator[str]:
    yield ""
    for key, has, lacks in (("removed", first, arm), ("added", arm, first)):
        rows = found[key]
        total = sum(row["tokens"] for row in rows)
        yield f"{has} has {sum(row['documents'] for row in rows):,} documents, {total:,} tokens, that {lacks} dropped"
        cells = [[f"  {row['rule']}", f"{row['documents']:,}", f"{row['tokens']:,}"] for row in rows[:SHOWN_RULES]]
        if cells:
            yield console.table([f"  rule of {lacks}", "documents", "tokens"], cells)
    if found["changed_tokens"]:
        yield f"the {found['shared_documents']:,} documents of both have {found['changed_tokens']:+,} tokens in {arm}"


def page(result: dict[str, Any], training: Sequence[Line], data: dict[str, Any]) -> str:
    """The HTML file; training: a line an arm, of its metrics; data: the result as JSON holds it."""
    names = list(result["bits_per_byte"]) if len(result["curves"][0]["tokens"]) > 1 else []
    lines = [Line(one["arm"], [float(x) for x in one["tokens"]], one["bits_per_byte"]) for one in result["curves"]]
    panels = [panel(f"bits per byte of {name}, held out", lines, name) for name in names]
    panels.append(panel("loss of training, nats a token", training, "loss"))
    legend = "".join(
        f'<span class="run"><i style="background:{COLORS[n % len(COLORS)]}"></i>{html.escape(arm)}</span>'
        for n, arm in enumerate(result["arms"])
    )
    kept = json.dumps(data).replace("</", "<\\/")
    title = f"{len(result['arms'])} recipes, {result['tokens']:,} tokens each, {len(result['seeds'])} seeds"
    return (
        f'<!doctype html><meta charset="utf-8"><title>ablation</title><style>{STYLE}\n{EXTRA}</style>'
        f"<h1>{html.escape(title)}</h1>{intervals(result)}<p>{legend}</p><main>{''.join(panels)}</main>"
        f"<pre>{html.escape(console.harmless(text(result), lines=True))}</pre>"
        f'<script type="application/json" id="data">{kept}</script>\n'
    )


EXTRA = """.zero{stroke:#888}.interval{stroke-width:2}pre{overflow-x:auto}
.right{text-anchor:end;dominant-baseline:middle}"""


def intervals(result: dict[str, Any]) -> str:
    """Every difference as a point with its interval, as one SVG; left of the line the arm is better."""
    rows = result["differences"]
    reach = max(max(abs(one["difference"].low), abs(one["difference"].high)) for one in rows) * 1.05 or 1.0
    height, middle = ROW * len(rows) + 40, LABEL + (WIDE - LABEL) / 2

    def at(x: float) -> float:
        return middle + x / reach * (WIDE - LABEL - 10) / 2

    parts = [f'<line x1="{middle}" x2="{middle}" y1="4" y2="{height - 36}" class="zero"/>']
    order = {name: number for number, name in enumerate(result["arms"])}
    for number, one in enumerate(rows):
        found, y = one["difference"], 14 + ROW * number
        color = COLORS[order[one["arm"]] % len(COLORS)]
        label = html.escape(f"{one['heldout']}: {one['arm']}")
        parts.append(f'<text x="{LABEL - 8}" y="{y}" class="right">{label}</text>')
        ends = f'x1="{at(found.low):.1f}" x2="{at(found.high):.1f}" y1="{y}" y2="{y}"'
        parts.append(f'<line {ends} class="interval" style="stroke:{color}"/>')
        parts.append(f'<circle cx="{at(found.value):.1f}" cy="{y}" r="4" style="fill:{color}"/>')
    marks = [
        f'<text x="{at(x * 0.97):.1f}" y="{height - 20}" class="below">{x:+.3g}</text>' for x in (-reach, 0.0, reach)
    ]
    against = html.escape(str(rows[0]["against"]))
    caption = f"bits per byte less those of {against}, 95 % intervals; left is better"
    svg = f'<svg viewBox="0 0 {WIDE} {height}" role="img"><title>{caption}</title>{"".join(parts + marks)}</svg>'
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"
