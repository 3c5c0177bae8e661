"""A sweep of limits as tables for a terminal, and as a page with plots that needs nothing else."""

from html import escape

from curate.console import count, table, wrap
from curate.filters.sweep import Axis, Cell
from curate.run.sweep import Sample, Swept

ROWS = 60  # of a table on a terminal
_WIDTH, _HEIGHT, _MARGIN = 640, 260, 56  # of a plot, in pixels


def show(facts: Swept) -> str:
    """What the rules drop now; with axes, what each cell would keep, and documents beside the limits."""
    share = facts.kept / facts.documents if facts.documents else 0.0
    parts = [wrap(f"{facts.step}: {count(facts.kept)} of {count(facts.documents)} documents stay ({share:.2%})")]
    if not facts.axes:
        rows = [[one.rule, f"{one.limit:g}", count(one.fails), count(one.first), count(one.alone)]
                for one in facts.shares]  # fmt: skip
        parts.append(table(["rule", "limit", "fail", "first", "no other"], rows))
        return "\n\n".join(parts)
    names = [axis.rule.name for axis in facts.axes]
    cells = [[*(f"{cell.limits[name]:g}" for name in names), count(cell.kept), f"{_share(cell, facts):.2%}",
              count(cell.enter), count(cell.leave)] for cell in facts.cells[:ROWS]]  # fmt: skip
    parts.append(table([*names, "kept", "share", "enter", "leave"], cells, left=0))
    if len(facts.cells) > ROWS:
        parts.append(f"and {len(facts.cells) - ROWS:,} more; --json and --plot have all")
    for axis in facts.axes:
        for kept in (True, False):
            mine = [one for one in facts.samples if one.near.rule == axis.rule.name and one.near.kept is kept]
            parts += ["\n".join([wrap(_title(axis, kept)), *map(_line, mine)])] if mine else []
    return "\n\n".join(parts)


def _share(cell: Cell, facts: Swept) -> float:
    return cell.kept / facts.documents if facts.documents else 0.0


def _title(axis: Axis, kept: bool) -> str:
    side = "kept, nearest to the limit" if kept else "dropped by this rule alone, nearest to the limit"
    return f"{axis.rule.name} {axis.limit:g} {axis.rule.unit}, {side}:"


def _line(sample: Sample) -> str:
    begin = " ".join(sample.text.split())[:80]
    return wrap(f"  {sample.near.doc_id[:12]} {sample.near.value:.4g} {sample.source} {begin}")


# -- page ------------------------------------------------------------------------------------------------------


def page(facts: Swept) -> str:
    """The sweep as one HTML page: a plot and a table; no script, and nothing is loaded from elsewhere."""
    share = facts.kept / facts.documents if facts.documents else 0.0
    body = [
        f"<h1>Limits of {escape(facts.step)}</h1>",
        f"<p>{facts.kept:,} of {facts.documents:,} documents stay now ({share:.2%}).</p>",
    ]
    body += [_plot(axis, facts) for axis in facts.axes]
    header = [*(axis.rule.name for axis in facts.axes), "kept", "share", "enter", "leave"]
    lines = [
        [*(f"{limit:g}" for limit in cell.limits.values()), f"{cell.kept:,}", f"{_share(cell, facts):.2%}",
         f"{cell.enter:,}", f"{cell.leave:,}"]
        for cell in facts.cells
    ]  # fmt: skip
    if not facts.axes:
        header = ["rule", "limit", "fail", "first", "no other"]
        lines = [[one.rule, f"{one.limit:g}", f"{one.fails:,}", f"{one.first:,}", f"{one.alone:,}"]
                 for one in facts.shares]  # fmt: skip
    body.append(_table(header, lines))
    if facts.samples:
        samples = [[one.near.rule, "kept" if one.near.kept else "dropped", f"{one.near.value:.4g}",
                    one.near.doc_id[:12], one.source, one.text] for one in facts.samples]  # fmt: skip
        body += ["<h2>Documents beside the limits</h2>",
                 _table(["rule", "now", "value", "doc_id", "source", "text"], samples)]  # fmt: skip
    return _PAGE.replace("BODY", "\n".join(body))


def _table(header: list[str], lines: list[list[str]]) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>\n" for line in lines)
    return f"<table><tr>{cells}</tr>\n{rows}</table>"


def _plot(axis: Axis, facts: Swept) -> str:
    """Share kept by the limits of one axis: a line for each choice of the other axes' limits."""
    name = axis.rule.name
    low, high = min(*axis.limits, axis.limit), max(*axis.limits, axis.limit)
    span = high - low or 1.0
    lines: dict[tuple[float, ...], list[Cell]] = {}
    for cell in facts.cells:
        lines.setdefault(tuple(limit for rule, limit in cell.limits.items() if rule != name), []).append(cell)

    def x(limit: float) -> float:
        return _MARGIN + (limit - low) / span * (_WIDTH - 2 * _MARGIN)

    def y(share: float) -> float:
        return _HEIGHT - _MARGIN / 2 - share * (_HEIGHT - _MARGIN)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts += [
            f'<line class="grid" x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>',
            f'<text x="{_MARGIN - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>',
        ]
    parts += [
        f'<text x="{x(limit):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{limit:g}</text>'
        for limit in sorted({low, high, axis.limit})
    ]
    parts.append(
        f'<line class="now" x1="{x(axis.limit):.1f}" x2="{x(axis.limit):.1f}" y1="{y(1):.1f}" y2="{y(0):.1f}"/>'
    )
    for cells in lines.values():
        points = " ".join(f"{x(cell.limits[name]):.1f},{y(_share(cell, facts)):.1f}" for cell in cells)
        parts.append(f'<polyline points="{points}"/>')
    title = f"<h2>{escape(name)}: share kept by its limit ({escape(axis.rule.unit)})</h2>"
    note = f"<p>The dashed line is the limit now, {axis.limit:g}."
    note += " A line for each choice of the other limits.</p>" if len(lines) > 1 else "</p>"
    return f"{title}{''.join(parts)}</svg>{note}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Limits</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
svg { width: 100%; max-width: 720px; font-size: 11px }
polyline { fill: none; stroke: #1f5fa8; stroke-width: 2 }
.grid { stroke: #ddd } .now { stroke: #b33; stroke-dasharray: 4 3 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: 2px 10px; text-align: right; vertical-align: top }
th { border-bottom: 1px solid #999 } td:last-child { text-align: left }
</style></head><body>
BODY
</body></html>
"""
