"""The measures of a collapse experiment by generation, as one HTML file; the numbers are in its element `data` too."""

import html
import json
from collections.abc import Sequence
from typing import Any

from train.plot import COLORS, STYLE, Line, panel


def page(rows: Sequence[dict[str, Any]], data: dict[str, Any], measures: dict[str, str]) -> str:
    """A panel a measure, a line for each part of real data kept; the mean of seeds. data: as collapse.json has it."""
    lines = []
    for keep in sorted({row["keep"] for row in rows}):
        some = [one for one in data["means"] if one["keep"] == keep]
        values = {key: [one[key]["value"] for one in some] for key in measures}
        lines.append(Line(f"{keep:.0%} of real documents kept", [float(one["generation"]) for one in some], values))
    panels = [panel(f"{title}, by generation", lines, key) for key, title in measures.items()]
    legend = "".join(
        f'<span class="run"><i style="background:{COLORS[n % len(COLORS)]}"></i>{html.escape(line.name)}</span>'
        for n, line in enumerate(lines)
    )
    kept = json.dumps(data).replace("</", "<\\/")
    return (
        f'<!doctype html><meta charset="utf-8"><title>collapse</title><style>{STYLE}</style>'
        f"<h1>Models that learn of models</h1><p>{legend}</p><main>{''.join(panels)}</main>"
        f'<script type="application/json" id="data">{kept}</script>\n'
    )
