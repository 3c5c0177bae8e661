"""Tables and messages for an 80-column terminal."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def width() -> int:
    return min(100, max(60, shutil.get_terminal_size((80, 24)).columns))


def wrap(message: str) -> str:
    """Each line of the message folded at the terminal's width; words and paths are never broken."""
    lines = []
    for line in message.splitlines() or [""]:
        indent = line[: len(line) - len(line.lstrip())]
        folded = textwrap.wrap(
            line, width(), subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
        )
        lines.extend(folded or [""])
    return "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> str:
    """Plain columns; the first `left` to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(head), *(len(row[i]) for row in cells)]) for i, head in enumerate(header)]
    lines = []
    for row in [list(header), *cells]:
        parts = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def size(n: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if abs(n) < 999.5:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def count(n: float) -> str:
    return f"{n:,.0f}"


def funnel(data: Mapping[str, Any]) -> str:
    """The funnel of a run: documents and text in and out of every step, and why documents were dropped."""
    rows = []
    for step in data["steps"]:
        if step["step"] == "read" and not step["dropped"]:
            continue
        if "(" in step["step"] and not step["dropped"]:
            continue
        changes = bool(step["dropped"] or step["set_aside"] or step["cut"] or step["marked"])
        if not changes and "." in step["step"] and not step["step"].endswith("apply"):
            continue  # a phase that only counts
        share = step["rows_out"] / step["rows_in"] if step["rows_in"] else 1.0
        rows.append(
            [step["step"].removesuffix(".apply"), count(step["rows_in"]), count(step["rows_out"]), f"{share:.1%}",
             size(step["bytes_in"]), size(step["bytes_out"]), f"{step['seconds']:.1f}"]
        )  # fmt: skip
        for name in ("dropped", "cut", "marked"):
            ranked = sorted(step[name].items(), key=lambda item: (-item[1], item[0]))
            for rule, n in ranked[:12]:
                rows.append([f"  {'' if name == 'dropped' else name + ' '}{rule}", "", "", count(n), "", "", ""])
            if len(ranked) > 12:
                rows.append(
                    [
                        f"  and {len(ranked) - 12} more rules",
                        "",
                        "",
                        count(sum(n for _, n in ranked[12:])),
                        "",
                        "",
                        "",
                    ]
                )
        if step["set_aside"]:
            rows.append(["  set aside", "", "", count(step["set_aside"]), "", "", ""])
    return table(["step", "in", "out", "kept", "text in", "text out", "s"], rows)


def reader(data: Mapping[str, Any]) -> str:
    """One line on what the reader saw that is no document."""
    seen = data.get("reader", {})
    parts = [f"{count(n)} {kind}" for kind, n in sorted(seen.get("other_records", {}).items())]
    if seen.get("skipped_bytes"):
        parts.append(f"{count(seen['skipped_bytes'])} damaged bytes skipped")
    return f"not documents: {', '.join(parts)}" if parts else ""
