"""Questions about a run's folder: how far it is, what became of a document, what a plan will cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import ConfigError, CurateError, DataError
from curate.io.inputs import WARC_SLICE, InputFile
from curate.io.read import ReadCounts, read
from curate.run import memory
from curate.run.manifest import RunFolder
from curate.run.memory import Budget
from curate.run.plan import Plan, partitions
from curate.run.task import text_bytes
from curate.stages.protocol import Amounts

# Text is about a tenth of a crawl's HTML and HTML about five times its gzip: measured on 2,442 mixed pages.
TEXT_OF_WARC_GZ = 0.5
TEXT_OF_OTHER = {".gz": 3.5, ".zst": 4.0}
FOOTERS = 32  # Parquet files that a plan looks into


def _folder(out: Path) -> RunFolder:
    folder = RunFolder(out)
    if not (out / "run.yaml").exists():
        raise ConfigError(f"{out}: no run is here (no run.yaml); name the folder that was given to --out")
    return folder


def progress_of(out: Path) -> dict[str, Any]:
    """Tasks done of planned for every pass that was begun, with a sentence that sums it up."""
    import json

    folder = _folder(out)
    passes: list[dict[str, Any]] = []
    for path in sorted((out / "passes").glob("*/plan.json")):
        name = path.parent.name
        tasks = json.loads(path.read_bytes())["tasks"]
        receipts = [r for task in tasks if (r := folder.receipt(name, task))]
        last = [r.steps[-1] for r in receipts if r.steps]
        passes.append(
            {
                "pass": name,
                "tasks": len(tasks),
                "done": len(receipts),
                "rows_out": sum(s.rows_out for s in last),
            }
        )
    funnel = out / "funnel.json"
    failures = json.loads(funnel.read_bytes())["failures"] if funnel.exists() else []
    behind = [p for p in passes if p["done"] < p["tasks"]]
    if failures:
        summary = f"{len(failures)} failed: " + "; ".join(failures[:3])
    elif behind:
        summary = f"in {behind[0]['pass']}; the same command continues"
    else:
        summary = "finished" if funnel.exists() else "not finished; the same command continues"
    return {"passes": passes, "failures": failures, "summary": summary}


SCALES = (1_000_000, 10_000_000, 100_000_000)  # documents that a plan looks ahead to


def estimate(plan: Plan, files: Iterable[InputFile], budget: Budget) -> dict[str, Any]:
    """What a plan will take; the byte figures are estimates from measured ratios."""
    files = list(files)
    total = sum(file.size for file in files)
    text, documents = _text(plan, files)
    names = [step.stage.name for step in plan.recipe.steps]
    stored = 0.4 * text * sum(p.shape == "each" for p in plan.passes)
    shuffled = text * (1.6 * ("near_dedup" in names) + 0.05 * ("exact_dedup" in names) + 0.5 * ("tokenize" in names))
    return {
        "files": len(files),
        "input_bytes": total,
        "documents": int(documents),
        "partitions": plan.partitions,
        "passes": [
            {"pass": p.name, "shape": p.shape, "tasks": len(plan.task_ids(p.index)), "documents_kept": p.kept}
            for p in plan.passes
        ],
        "disk_bytes": int(stored + shuffled),
        "forecast": forecast(plan, files, budget),
        "workers": budget.workers,
        "memory_bytes": budget.memory,
        "memory_bytes_a_worker": 400 << 20 if total < WARC_SLICE else 700 << 20,
    }


def forecast(plan: Plan, files: Iterable[InputFile], budget: Budget) -> list[str]:
    """What the plan's stages say of this input and of more like it; text with line ends is a table."""
    told = [(step.config, step.stage.forecast) for step in plan.recipe.steps if step.stage.forecast]
    if not told:
        return []
    files = list(files)
    total = sum(file.size for file in files)
    text, documents = _text(plan, files)
    idle = (1 + budget.workers) * memory.IDLE
    amounts = []
    for wanted in [documents, *(scale for scale in SCALES if scale > documents > 0)]:
        times = wanted / documents if documents else 1.0
        amounts.append(Amounts(wanted, times * text, partitions(times * total), budget.workers, idle,
                               memory.LEAST_TASK, budget.task, budget.lone_task))  # fmt: skip
    return [line for config, tell in told for line in tell(config, amounts)]


def _text(plan: Plan, files: Sequence[InputFile]) -> tuple[float, float]:
    """(bytes of text, documents): of Parquet by the footers of some files, of others by ratios and a first batch."""
    text = documents = 0.0
    tables = [file for file in files if file.format == "parquet"]
    some = tables[:: max(1, len(tables) // FOOTERS)][:FOOTERS]
    footers = [(file.size, *_footer(file)) for file in some]
    sampled = sum(size for size, _, _ in footers)
    if sampled:
        times = sum(file.size for file in tables) / sampled
        text += times * sum(of_text for _, of_text, _ in footers)
        documents += times * sum(rows for _, _, rows in footers)
    others = 0.0
    for file in files:
        if file.format != "parquet":
            ratio = TEXT_OF_OTHER.get("." + file.path.rpartition(".")[2].lower(), 1.0)
            others += file.size * (TEXT_OF_WARC_GZ if file.format == "warc" else ratio)
    return text + others, documents + (others / max(1.0, _document_bytes(plan)) if others else 0.0)


def _footer(file: InputFile) -> tuple[int, int]:
    """(bytes of the text column as it is in memory, rows) of a Parquet file; zeros where it cannot be read."""
    try:
        with fsspec.open(file.path, "rb") as handle:
            data = pq.ParquetFile(handle).metadata
            groups = [data.row_group(i) for i in range(data.num_row_groups)]
            columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    except (OSError, pa.ArrowInvalid):
        return 0, 0
    texts = [c for c in columns if c.path_in_schema in ("text", "html")] or columns
    return sum(column.total_uncompressed_size for column in texts), data.num_rows


def _document_bytes(plan: Plan) -> float:
    """The mean bytes of text of a document, by the first batch of a few inputs; of a page a tenth is text."""
    rows, size = 0, 0.0
    for task in plan.inputs[:: max(1, len(plan.inputs) // 4)][:4]:
        try:
            batch = next(iter(read(task, ReadCounts())), None)
        except CurateError:
            continue  # the run will say so
        if batch is not None:
            rows += batch.num_rows
            size += text_bytes(batch) * (1.0 if "text" in batch.schema.names else 0.1)
    return size / rows if rows else 0.0


# -- why -----------------------------------------------------------------------------------------------------


def explain(out: Path, document: str) -> dict[str, Any]:
    """The rejects and the row of a document, found by doc_id prefix (8 hex digits or more) or URL.

    Raises ConfigError where the name is neither, CurateError where nothing is found.
    """
    _folder(out)
    by_url = "://" in document
    if not by_url and (len(document) < 8 or not set(document.lower()) <= set("0123456789abcdef")):
        raise ConfigError(f'"{document}" is neither a URL nor a doc_id (8 to 32 hex digits)')
    rejects = _search(sorted((out / "rejects").glob("*.parquet")), document, by_url)
    places = {"documents": out / "documents", "heldout": out / "heldout" / "documents"}
    kept: dict[str, list[dict[str, Any]]] = {}
    for place, folder in places.items():
        rows = _search(sorted(folder.glob("*.parquet")), document, by_url)
        if rows:
            kept[place] = [{**row, "text": row["text"][:200]} for row in rows]
    ids = {row["doc_id"] for row in rejects} | {row["doc_id"] for rows in kept.values() for row in rows}
    if not ids:
        raise CurateError(f"{document}: no document of this run; did its task fail? see `curate status {out}`")
    if len(ids) > 1 and not by_url:
        raise ConfigError(f"{document} is the beginning of {len(ids)} documents: {', '.join(sorted(ids)[:5])}")
    return {"documents": sorted(ids), "rejects": rejects, "kept": kept}


def _search(paths: Iterable[Path], document: str, by_url: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in paths:
        try:
            file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path}: cannot be read: {error}") from None
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=["url" if by_url else "doc_id"]).column(0)
            if by_url:
                hits = pc.indices_nonzero(pc.fill_null(pc.equal(column, document), False))
            else:
                prefix = document.lower()
                hits = pa.array([i for i, v in enumerate(column.to_pylist()) if v.hex().startswith(prefix)], pa.int64())
            if len(hits):
                rows = file.read_row_group(group).take(hits).to_pylist()
                found.extend({k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()} for row in rows)
    return found


def story(found: dict[str, Any]) -> str:
    """What explain found, in sentences."""
    lines = []
    for identity in found["documents"]:
        rejects = [r for r in found["rejects"] if r["doc_id"] == identity]
        about = next(
            iter(
                [
                    *rejects,
                    *(row for rows in found["kept"].values() for row in rows if row["doc_id"] == identity),
                ]
            )
        )
        lines.append(f"document {identity}")
        lines.append(
            f"  from {about['origin_file']} at {about['origin_offset']:,}"
            + (f", {about['url']}" if about["url"] else "")
        )
        for r in sorted(rejects, key=lambda r: r["action"] == "drop"):
            lines.append("  " + _sentence(r))
            if r["excerpt"]:
                lines.append(f"    begins: {' '.join(r['excerpt'].split())[:160]}")
        for place, rows in found["kept"].items():
            for row in rows:
                if row["doc_id"] == identity:
                    copies = row.get("n_copies") or 1
                    lines.append(f"  it is in {place}/" + (f", standing for {copies} copies" if copies > 1 else ""))
    return "\n".join(lines)


def _sentence(r: dict[str, Any]) -> str:
    verb = {"drop": "dropped", "cut": "a span was cut", "mark": "marked"}[r["action"]]
    text = f"{verb} by {r['stage']}: {r['rule']}"
    if r["value"] is not None:
        text += f", measured {r['value']:g}"
    if r["limit"] is not None:
        text += f", limit {r['limit']:g}"
    if r["preset"]:
        text += f" (preset {r['preset']})"
    if r["detail"]:
        text += f": {r['detail']}"
    if r["span_start"] is not None:
        text += f" (bytes {r['span_start']:,} to {r['span_end']:,})"
    return text
