"""What a plan will take, before anything runs: documents, disk and memory, and what its stages forecast.

The figures are estimates: text by measured ratios and by the footers or first batches of inputs, disk and
memory by what stages say of themselves (`Stage.forecast`, `Stage.resources`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.errors import CurateError
from curate.io.inputs import InputFile
from curate.io.read import ReadCounts, read
from curate.run.memory import Budget
from curate.run.plan import Plan, partitions
from curate.stages.protocol import Amounts, Forecast

# Text is about a tenth of a crawl's HTML and HTML about five times its gzip: measured on 2,442 mixed pages.
TEXT_OF_WARC_GZ = 0.5
TEXT_OF_HTML = 0.1
TEXT_OF_OTHER = {"gzip": 3.5, "zstd": 4.0, "xz": 4.5, "bz2": 4.5, "lz4": 2.5}  # by codec
STORED = 0.4  # bytes of Parquet for a byte of text
SAMPLED_TASKS = 4  # that a plan looks into; a run, whose time it is, looks into one
SCALES = (1_000_000, 10_000_000, 100_000_000)  # documents that a plan looks ahead to
ON_DISK = "disk"  # columns of a forecast whose names begin with it are bytes on disk while the run goes


@dataclass(frozen=True)
class PassEstimate:
    """One pass of a plan."""

    name: str
    shape: str  # "each", "part" or "all"
    tasks: int
    documents_kept: bool  # its documents stay when the run has ended


@dataclass(frozen=True)
class Estimate:
    """What `curate plan` shows. Documents, disk and memory are estimates; the rest is exact."""

    files: int
    input_bytes: int  # as they are stored
    documents: int
    partitions: int
    passes: tuple[PassEstimate, ...]
    disk_bytes: int  # at the most, while it runs
    workers: int  # that fit the memory
    memory_bytes: int  # what all processes may hold
    memory_bytes_a_worker: int  # what a worker is expected to hold
    forecasts: tuple[Forecast, ...]  # of the stages that have one

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `curate plan --json` prints it."""
        passes = [{"pass": p.name, **{k: v for k, v in asdict(p).items() if k != "name"}} for p in self.passes]
        told = [forecast._asdict() for forecast in self.forecasts]
        return {**asdict(self), "passes": passes, "forecasts": told}


def estimate(plan: Plan, files: Iterable[InputFile], budget: Budget) -> Estimate:
    """What a plan will take with this budget."""
    files = list(files)
    text, documents = _text(plan, files, SAMPLED_TASKS)
    told = _forecasts(plan, files, budget, text, documents)
    return Estimate(
        files=len(files),
        input_bytes=sum(file.size for file in files),
        documents=int(documents),
        partitions=plan.partitions,
        passes=tuple(PassEstimate(p.name, p.shape, len(plan.task_ids(p.index)), p.kept) for p in plan.passes),
        disk_bytes=int(STORED * text * sum(p.shape == "each" for p in plan.passes) + sum(map(_disk_bytes, told))),
        workers=budget.workers,
        memory_bytes=budget.memory,
        memory_bytes_a_worker=budget.worker + budget.least_task,
        forecasts=tuple(told),
    )


def forecasts(plan: Plan, files: Iterable[InputFile], budget: Budget) -> list[Forecast]:
    """What each stage says of its settings, and expects of this input and of up to 100,000,000 documents like it."""
    if not any(step.stage.forecast for step in plan.recipe.steps):
        return _remarks(plan)  # nothing is sampled for nobody
    files = list(files)
    return _forecasts(plan, files, budget, *_text(plan, files, 1))


def _forecasts(plan: Plan, files: Sequence[InputFile], budget: Budget, text: float, documents: float) -> list[Forecast]:
    """Each stage's forecast for `documents` with `text` bytes, and for every larger number of SCALES."""
    total = sum(file.size for file in files)
    amounts = []
    for wanted in [documents, *(scale for scale in SCALES if scale > documents > 0)]:
        times = wanted / documents if documents else 1.0
        amounts.append(
            Amounts(
                documents=wanted,
                text_bytes=times * text,
                partitions=partitions(times * total),
                workers=budget.workers,
                idle=budget.idle,
                least_task=budget.least_task,
                task_memory=budget.task,
                lone_task_memory=budget.lone_task,
            )
        )
    return [*_remarks(plan), *(s.stage.forecast(s.config, amounts) for s in plan.recipe.steps if s.stage.forecast)]


def _remarks(plan: Plan) -> list[Forecast]:
    """What steps say of their settings on this machine, whatever the input."""
    told = [step.stage.remarks(step.config) for step in plan.recipe.steps]
    return [Forecast(sentences) for sentences in told if sentences]


def _disk_bytes(forecast: Forecast) -> float:
    """Bytes on disk that a forecast states for the input at hand, which is its first row."""
    if not forecast.rows:
        return 0.0
    first = forecast.rows[0][1:]
    return sum(n for name, n in zip(forecast.columns, first, strict=True) if name.startswith(ON_DISK))


def _text(plan: Plan, files: Sequence[InputFile], sampled: int) -> tuple[float, float]:
    """(bytes of text, documents): of Parquet by the footers, of others by ratios and some first batches."""
    text = documents = 0.0
    for file in files:
        text += file.text_bytes
        documents += file.rows
    others = 0.0
    for file in files:
        if file.format != "parquet":
            ratio = TEXT_OF_OTHER.get(file.codec or "", 1.0) * (TEXT_OF_HTML if file.kind == "raw" else 1.0)
            others += file.size * (TEXT_OF_WARC_GZ if file.format == "warc" else ratio)
    return text + others, documents + (others / max(1.0, _document_bytes(plan, sampled)) if others else 0.0)


def _document_bytes(plan: Plan, sampled: int) -> float:
    """The mean bytes of text of a document, by the first batches of a few tasks; 0 where none can be read."""
    rows, size = 0, 0.0
    for task in plan.inputs[:: max(1, len(plan.inputs) // sampled)][:sampled]:
        try:
            found = next(iter(read(task, ReadCounts())), None)
        except CurateError:
            continue  # the run will say so
        if found is not None:
            raw = found.kind == "raw"
            rows += found.batch.num_rows
            size += found.batch.column("payload" if raw else "text").nbytes * (TEXT_OF_HTML if raw else 1.0)
    return size / rows if rows else 0.0
