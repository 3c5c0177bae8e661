"""Redaction beside datatrove's PIIFormatter and presidio: speed, hostile input, precision and recall.

    python -m benchmarks.redaction            # some two minutes, nearly all of them the peers'
    python -m benchmarks.redaction speed

Ours is find and replace together, for all six default types, on one thread. The peers are measured in processes of
their own (datatrove in another environment), by CPU time within them, start and imports excluded. datatrove looks for
e-mail and IPv4 addresses alone; presidio for the same six types as ours, on the engine without a language model.
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from benchmarks import environments, texts
from benchmarks.harness import Report, measure, run
from curate import kernels
from curate.redaction.kinds import BY_PATTERN, ENTITIES, ON_DEMAND

SHOWN = {"news_reuters": "news", "forum_20news": "forum", "docs_peps": "docs"}
STRESS = {
    "a.a.a.": 200_000, "1 2 3 4 5 ": 330_000, "123 4567 89.01 ": 330_000, "@": 1_000_000, "a@": 1_000_000,
    "7": 1_000_000, "1.1.1.": 1_000_000, "1:": 1_000_000, "a@b.co ": 1_000_000, "+1 212-555-0143 ": 1_000_000,
}  # fmt: skip


@cache
def prose() -> pa.Array:
    """News, mail and documentation: 25 MB."""
    return texts.column([text for name, _, text in texts.documents("text") if name in SHOWN])


@cache
def web() -> pa.Array:
    """The main text of 1,465 real pages: 8 MB."""
    with (texts.SHARED / "crawl" / "ground_truth.jsonl.zst").open("rb") as file:
        rows = map(json.loads, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"))
        return texts.column([row["main"] for row in rows if row.get("main")])


def redacted(column: pa.Array, kinds: Any = BY_PATTERN) -> pa.Array:
    return kernels.replace_spans(column, *kernels.find_personal(column, kinds=kinds), placeholder="<{type}_{n}>")


def peer(name: str, column: pa.Array) -> dict[str, Any]:
    """What the peer says of these texts."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(column.to_pylist(), file)
        file.flush()
        script = Path(__file__).with_name("pii_peers.py")
        command = [sys.executable if name == "presidio" else environments.python(name), script, name, file.name]
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def head(column: pa.Array, size: int) -> pa.Array:
    """Every so many-th text, `size` bytes of them together."""
    step = max(1, texts.size(column) // size)
    return column.take(pa.array(range(0, len(column), step)))


def speed(report: Report) -> None:
    for name, column in (("prose", prose()), ("web_text", web())):
        size = texts.size(column)
        ours = measure(lambda column=column: redacted(column))
        for peer_name, share in (("datatrove", 4_000_000), ("presidio", 500_000)):
            part = head(column, share)
            theirs = peer(peer_name, part)
            rate = texts.size(part) / theirs["cpu"] / 1e6
            said = f"{size / 1e6:.0f} MB, {peer_name} {theirs['version']} {texts.size(part) / 1e6:.1f} MB"
            report.row(f"redact_{name}", ours.rate(size), "MB/s", ours.rounds, peer_name, rate, said)
        every = measure(lambda column=column: redacted(column, (*BY_PATTERN, *ON_DEMAND)))
        report.row(f"redact_{name}_on_demand", every.rate(size), "MB/s", every.rounds, note="all ten types")


def stress(report: Report) -> None:
    for unit, size in STRESS.items():
        column = texts.column([unit * (size // len(unit))])
        took = measure(lambda column=column: redacted(column))
        note = f"{size / 1e3:.0f} KB of {unit!r}: {took.cpu * 1e3:.2f} ms"
        report.row("redact_stress", took.rate(size), "MB/s", took.rounds, note=note)


def labelled() -> list[dict[str, Any]]:
    """The texts of synth_dataset_v2, which were made from templates."""
    archive = next((texts.SHARED / "pii").glob("*.tar.zst"))
    with archive.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
            member = next(m for m in tar if m.name.endswith("synth_dataset_v2.json"))
            return json.load(tar.extractfile(member))  # type: ignore[arg-type,no-any-return]


def quality(report: Report) -> None:
    """Precision and recall by type; a span is right where half of what it and a label cover is shared."""
    rows = labelled()
    column = texts.column([row["full_text"] for row in rows])
    truth = [
        [(s["start_position"], s["end_position"], ENTITIES.get(s["entity_type"], "")) for s in row["spans"]]
        for row in rows
    ]
    ours: list[list[tuple[int, int, str]]] = [[] for _ in rows]
    found = kernels.find_personal(column, kinds=BY_PATTERN)
    data = [row["full_text"].encode() for row in rows]
    for row, start, end, kind in zip(*(part.to_pylist() for part in found), strict=True):
        ours[row].append((len(data[row][:start].decode()), len(data[row][:end].decode()), kind))
    said = peer("presidio", column)
    theirs = [[(start, end, ENTITIES.get(entity, "")) for start, end, entity in spans] for spans in said["spans"]]
    lines = []
    for kind in BY_PATTERN:
        labels = sum(k == kind for spans in truth for *_, k in spans)
        shares = [f"{share:.3f}" for spans in (ours, theirs) for share in _precision_recall(truth, spans, kind)]
        lines.append([kind, str(labels), *shares])
    header = ["type", "labels", "precision", "recall", f"presidio {said['version']} precision", "recall"]
    report.table("synth_dataset_v2 of presidio-research, 1,500 texts made from templates", header, lines)


def _precision_recall(truth: Any, spans: Any, kind: str) -> tuple[float, float]:
    def matched(one: Any, others: Any) -> int:
        return sum(any(_same(a, b) for b in others if b[2] == kind) for a in one if a[2] == kind)

    found, labels = (sum(k == kind for one in side for *_, k in one) for side in (spans, truth))
    right = sum(matched(a, b) for a, b in zip(spans, truth, strict=True))
    recalled = sum(matched(b, a) for a, b in zip(spans, truth, strict=True))
    return right / max(1, found), recalled / max(1, labels)


def _same(a: tuple[int, int, str], b: tuple[int, int, str]) -> bool:
    return min(a[1], b[1]) - max(a[0], b[0]) >= 0.5 * (max(a[1], b[1]) - min(a[0], b[0]))


if __name__ == "__main__":
    run("redaction", [speed, stress, quality], ["pyarrow"])
