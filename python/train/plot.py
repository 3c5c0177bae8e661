"""`train plot`: the metrics of runs side by side, as one HTML file that needs nothing else.

Every panel is an SVG of one measure against tokens, a line a run; at most 400 points a line, each the mean of the
steps that it stands for. The points are in the file too, as JSON in the element `data`.
"""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate.errors import ConfigError, DataError
from train.checkpoint import write_file
from train.metrics import METRICS

POINTS = 400
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 300, 64, 34, 12
COLORS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8a5fbf", "#c77d1e", "#4f6d7a", "#b5338a", "#6b8e23")
MEASURES = {
    "loss": "loss, nats a token",
    "bits_per_byte": "bits a byte of the training rows",
    "grad_norm": "norm of the gradient",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens a second",
    "mfu": "operations as a part of the peak",
    "data_seconds": "seconds of a step spent waiting for rows",
    "memory_mb": "peak memory, MB",
    "expert_load": "load of the busiest expert, 1 is even",
}


class Line(NamedTuple):
    """The points of a run: tokens, and values by measure, NaN where a step has none."""

    name: str
    tokens: list[float]
    values: dict[str, list[float]]


def read_run(folder: Path, name: str) -> Line:
    """The metrics of one run, thinned out. Raises ConfigError where there are none, DataError for other lines."""
    path = folder / METRICS
    try:
        rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        measured = {key: np.array([row.get(key) for row in rows], dtype=np.float64) for key in (*MEASURES, "tokens")}
        sources = sorted({source for row in rows for source in row["loss_by_source"]})
        for source in sources:
            of_source = [row["loss_by_source"].get(source) for row in rows]
            measured[f"loss of {source}"] = np.array(of_source, dtype=np.float64)
    except OSError:
        raise ConfigError(f"{path}: no such file; give --out folders of training runs") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the metrics of a run: {error}") from None
    if not rows:
        raise ConfigError(f"{path}: no step has been done yet")
    groups = np.array_split(np.arange(len(rows)), min(POINTS, len(rows)))
    thin = {key: [_mean(values[group]) for group in groups] for key, values in measured.items()}
    return Line(name, thin.pop("tokens"), thin)


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high, about `count` of them."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= count)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def panel(title: str, lines: Sequence[Line], measure: str) -> str:
    """One SVG, or nothing where no run has the measure."""
    series = []
    for number, line in enumerate(lines):
        values = line.values.get(measure, [])
        points = [(x, y) for x, y in zip(line.tokens, values, strict=False) if not math.isnan(y)]
        if points:
            series.append((COLORS[number % len(COLORS)], points))
    if not series:
        return ""
    xs, ys = [x for _, points in series for x, _ in points], [y for _, points in series for _, y in points]
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    low, high, right = low - pad, high + pad, max(xs)

    def at(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 8) * x / right
        return f"{across:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{html.escape(title)}</title>']
    for y in ticks(low, high):
        height = at(0, y).split(",")[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{height}" y2="{height}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height}" class="left">{y:.4g}</text>')
    for x in ticks(0, right):
        across = at(x, low).split(",")[0]
        parts.append(f'<text x="{across}" y="{HEIGHT - 16}" class="below">{_short(x)}</text>')
    for color, points in series:
        places = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{places}" style="stroke:{color}"/>')
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{''.join(parts)}</svg></figure>"


def _short(n: float) -> str:
    """1500000 as 1.5 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.3g}"


STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:24px;max-width:1200px}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:18px}
figure{margin:0}figcaption{font-weight:600}svg{width:100%}
polyline{fill:none;stroke-width:1.6}.grid{stroke:#ddd}text{font-size:12px;fill:#444}
.left{text-anchor:end;dominant-baseline:middle}.below{text-anchor:middle}
.run{margin-right:18px;white-space:nowrap}.run i{display:inline-block;width:14px;height:4px;margin:0 6px 3px 0}"""


def page(lines: Sequence[Line]) -> str:
    """The HTML of all panels."""
    sources = sorted({key for line in lines for key in line.values if key.startswith("loss of ")})
    panels = [panel(title, lines, key) for key, title in MEASURES.items()]
    panels += [panel(f"{key}, nats a token", lines, key) for key in sources]
    legend = "".join(
        f'<span class="run"><i style="background:{COLORS[n % len(COLORS)]}"></i>{html.escape(line.name)}</span>'
        for n, line in enumerate(lines)
    )
    data = [{"name": line.name, "tokens": line.tokens, **line.values} for line in lines]
    # NaN is no JSON, and "</" would end the element.
    kept = [
        {k: [None if v != v else v for v in vs] if isinstance(vs, list) else vs for k, vs in d.items()} for d in data
    ]
    text = json.dumps(kept).replace("</", "<\\/")
    return (
        f'<!doctype html><meta charset="utf-8"><title>training runs</title><style>{STYLE}</style>'
        f"<h1>Training runs, by tokens</h1><p>{legend}</p><main>{''.join(panels)}</main>"
        f'<script type="application/json" id="data">{text}</script>\n'
    )


def plot(runs: Sequence[Path], out: Path) -> None:
    """Draw the runs in these folders into the file `out`."""
    if out.is_dir():
        raise ConfigError(f"--out {out}: this is a folder; name a file")
    short = [run.name for run in runs]
    names = [str(run) if short.count(run.name) > 1 else run.name for run in runs]
    write_file(out, page([read_run(run, name) for run, name in zip(runs, names, strict=True)]).encode())
