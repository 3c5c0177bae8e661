"""`train scaling plot`: loss against parameters at each budget and loss against tokens at each size, as one HTML file.

Both axes of parameters and tokens are logarithmic; points are the runs, lines the fitted law. All numbers stand in the
file too, in the element `data`, and beside it as JSON.
"""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from train.checkpoint import write_file
from train.plot import BOTTOM, COLORS, HEIGHT, LEFT, STYLE, TOP, WIDTH, ticks
from train.scaling.isoflop import budgets
from train.scaling.laws import Chinchilla
from train.scaling.points import arrays, read_points


class Series(NamedTuple):
    """Points of one kind, and the law's line through them; (x, loss) each."""

    name: str
    points: list[tuple[float, float]]
    line: list[tuple[float, float]]


def plot(found: dict[str, Any], out: Path) -> None:
    """Draw the fit of `study.fit_points` into the HTML file `out`, and its numbers into the JSON file beside it."""
    count = found["best_count"]
    points = arrays(read_points(Path(found["file"])), count)
    one = found["by_count"][count]
    law = Chinchilla(**{name: one["chinchilla"][name] for name in Chinchilla._fields})
    cost = one["flops_per_parameter_and_token"]
    by_budget, by_size = [], []
    for group in budgets(points):
        part = points.take(group)
        flops = float(np.median(part.flops))
        sizes = np.geomspace(part.n.min(), part.n.max(), 60)
        line = _pairs(sizes, law.loss(sizes, flops / cost / sizes))
        by_budget.append(Series(f"{flops:.2e} operations", _pairs(part.n, part.loss), line))
    for size in np.unique(points.n):
        part = points.take(points.n == size)
        tokens = np.geomspace(part.d.min(), part.d.max(), 60)
        by_size.append(
            Series(f"{size:.3g} parameters", _pairs(part.d, part.loss), _pairs(tokens, law.loss(size, tokens)))
        )
    panels = {f"loss against parameters ({count})": by_budget, "loss against tokens": by_size}
    data = {title: [series._asdict() for series in lines] for title, lines in panels.items()}
    content = json.dumps({"panels": data, "fit": found}, indent=1)
    body = "".join(panel(title, lines) for title, lines in panels.items())
    safe = content.replace("</", "<\\/")
    page = (
        f'<!doctype html><meta charset="utf-8"><title>scaling</title><style>{STYLE}</style><h1>scaling law</h1>'
        f'<main>{body}</main><script type="application/json" id="data">{safe}</script>'
    )
    write_file(out, page.encode())
    write_file(out.with_suffix(".json"), content.encode())


def _pairs(x: Any, y: Any) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def panel(title: str, lines: Sequence[Series]) -> str:
    """One SVG with its legend; x is logarithmic."""
    every = [pair for series in lines for pair in (*series.points, *series.line)]
    xs, ys = [math.log10(x) for x, _ in every], [y for _, y in every]
    left, right = min(xs) - 0.05, max(xs) + 0.05
    pad = (max(ys) - min(ys)) * 0.05 or 0.1
    low, high = min(ys) - pad, max(ys) + pad

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - 8) * (math.log10(x) - left) / (right - left)
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{html.escape(title)}</title>']
    for y in ticks(low, high):
        height = at(1.0, y)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{height:.1f}" y2="{height:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height:.1f}" class="left">{y:.4g}</text>')
    marks = [(at(10**x, low)[0], 10**x) for x in ticks(left, right)]
    parts += [f'<text x="{across:.1f}" y="{HEIGHT - 16}" class="below">{x:.2g}</text>' for across, x in marks]
    legend = []
    for number, series in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*pair) for pair in series.line))
        parts.append(f'<polyline points="{places}" style="stroke:{color}"/>')
        for x, y in (at(*pair) for pair in series.points):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{color}"/>')
        legend.append(f'<span class="run"><i style="background:{color}"></i>{html.escape(series.name)}</span>')
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{''.join(parts)}</svg>{''.join(legend)}</figure>"
