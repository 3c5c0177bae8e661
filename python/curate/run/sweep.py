"""What a filter step would keep by other limits, from the measures that its run wrote to signals/.

The texts are not read; only the documents shown beside a limit are looked up, in documents/ and rejects/.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.config import suggest, validate
from curate.errors import ConfigError, DataError
from curate.filters.sweep import Axis, Cell, Near, RuleShare, Sweep, parse_axis
from curate.io.store import TEMPORARY
from curate.run.manifest import RunFolder
from curate.run.verdicts import EXCERPT
from curate.stages.filter import Filter, lines_of, rules_of

BATCH = 1 << 17  # rows of measures in memory at a time


@dataclass(frozen=True)
class Sample:
    """A document close to a limit; `text` is how it begins, empty where it is in no file of the run."""

    near: Near
    source: str
    url: str
    text: str


@dataclass(frozen=True)
class Swept:
    """All that a sweep found."""

    step: str
    documents: int
    kept: int
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    shares: tuple[RuleShare, ...]
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `curate sweep --json` prints it."""

        def share(kept: int) -> float | None:
            return round(kept / self.documents, 6) if self.documents else None

        return {
            "step": self.step,
            "documents": self.documents,
            "kept": self.kept,
            "share": share(self.kept),
            "rules": [asdict(one) for one in self.shares],
            "cells": [{**asdict(cell), "share": share(cell.kept)} for cell in self.cells],
            "samples": [
                {**one.near._asdict(), "source": one.source, "url": one.url, "text": one.text} for one in self.samples
            ],
            "warnings": list(self.warnings),
        }


def sweep(
    folder: RunFolder,
    vary: Sequence[str],
    *,
    step: str | None = None,
    changes: Mapping[str, Any] | None = None,
    near: int = 5,
    moved: Path | None = None,
) -> Swept:
    """Sweep the limits of a filter step of a run.

    `vary` are axes as `gopher.min_words=20,50,100`; none: what each rule drops is counted. `changes` are settings of
    the filter that hold in place of the run's. `near` documents are shown on either side of a limit. `moved` is a
    Parquet file to write every move to. ConfigError where the run has no such step, or it wrote no measures.
    """
    name, config, warnings = _step(folder, step, changes or {})
    rules = rules_of(config)
    axes = [parse_axis(text, rules, [rule.name for rule, _ in lines_of(config)]) for text in vary]
    found = Sweep(rules, axes, near)
    files = [rel for rel in sorted(folder.products.list("signals"))
             if rel.startswith(f"signals/{name}-") and not rel.rpartition("/")[2].startswith(TEMPORARY)]  # fmt: skip
    if not files:
        raise ConfigError(f"{folder.name}: {name} wrote no measures; run it with `signals: true`")
    writer = None
    for ids, measures in _batches(folder, files, found.measures()):
        found.add(ids, measures)
        if moved is not None:
            for batch in found.moves(ids, measures):
                writer = writer or pq.ParquetWriter(moved, batch.schema)
                writer.write_batch(batch)
    if writer:
        writer.close()
    samples = _samples(folder, found.nearest())
    return Swept(name, found.documents, found.kept, tuple(axes), tuple(found.cells()), tuple(found.shares()),
                 tuple(samples), tuple(warnings))  # fmt: skip


def _step(folder: RunFolder, wanted: str | None, changes: Mapping[str, Any]) -> tuple[str, Filter, list[str]]:
    """The name and settings of the filter step, with `changes`; and what the sweep leaves out."""
    record = folder.run_yaml() or {}
    steps: dict[str, Mapping[str, Any]] = {}
    for entry in record.get("recipe", {}).get("steps", []):
        ((stage, settings),) = entry.items()
        if stage == "filter":
            steps[f"filter.{len(steps) + 1}" if steps else "filter"] = settings
    if not steps:
        raise ConfigError(f"{folder.name}: the run has no filter step")
    if wanted is None and len(steps) > 1:
        raise ConfigError(f"{folder.name}: the run has {', '.join(steps)}; name one with --step")
    name = wanted or next(iter(steps))
    if name not in steps:
        raise ConfigError(f'{folder.name}: no filter step is named "{name}"{suggest(name, list(steps))}')
    settings = {key: value for key, value in steps[name].items() if key in Filter.model_fields}
    if "preset" in changes or "rules" in changes:
        # What was said about rules of other presets would be refused.
        settings |= {"limits": {}, "without": []}
    merged = {**settings.get("limits", {}), **changes.get("limits", {})}
    config: Filter = validate(Filter, {**settings, **changes, "limits": merged}, name=name)
    warnings = []
    if config.groups:
        warnings.append(f"{name}.groups: limits by {config.by} are left out of the sweep")
    return name, config, warnings


def _batches(
    folder: RunFolder, files: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[pa.Array, dict[str, np.ndarray]]]:
    """(doc_ids, measures by name) of the files, some rows at a time."""
    for rel in files:
        with folder.products.open(rel) as handle:
            try:
                file = pq.ParquetFile(handle)
                lacking = [name for name in names if name not in file.schema_arrow.names]
                if lacking:
                    raise ConfigError(
                        f"{folder.name}/{rel}: has no measure {lacking[0]}; it was written by another version: run the"
                        " filter again"
                    )
                for batch in file.iter_batches(BATCH, columns=["doc_id", *names]):
                    columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
                    yield batch.column("doc_id"), columns
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{folder.name}/{rel}: cannot be read: {error}; run the filter again") from None


def _samples(folder: RunFolder, near: Sequence[Near]) -> list[Sample]:
    """The documents with their source, URL and beginning, from documents/ and rejects/."""
    samples = {one.doc_id: Sample(one, "", "", "") for one in near}
    wanted = pa.array([bytes.fromhex(identity) for identity in samples], pa.binary(16))
    for place in ("documents", "rejects"):
        for rel in sorted(folder.products.list(place)) if samples else ():
            if not rel.endswith(".parquet") or rel.rpartition("/")[2].startswith(TEMPORARY):
                continue
            with folder.products.open(rel) as handle:
                file = pq.ParquetFile(handle)
                text = "text" if "text" in file.schema_arrow.names else "excerpt"
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, columns=["doc_id"]).column(0)
                    places = pc.indices_nonzero(pc.is_in(ids, wanted))
                    if len(places):
                        rows = file.read_row_group(group, columns=["doc_id", "source", "url", text]).take(places)
                        _fill(samples, rows, text)
    return [replace(samples[one.doc_id], near=one) for one in near]


def _fill(samples: dict[str, Sample], rows: pa.Table, text: str) -> None:
    for row in rows.to_pylist():
        old = samples[row["doc_id"].hex()]
        if not old.text:
            begin = (row[text] or "")[:EXCERPT]
            samples[old.near.doc_id] = Sample(old.near, row["source"] or "", row["url"] or "", begin)
