"""`curate audit`: measure a stage on one's own documents. curate/audits/ does the work; this prints what it found."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import AS_JSON, COLUMNS, CONTEXT, MEMORY, OUT, WORKERS, print_json

if TYPE_CHECKING:
    from curate.config import Settings
    from curate.io.inputs import InputSettings


@click.group(context_settings=CONTEXT)
def audit() -> None:
    """Measure a stage on your own documents."""


@audit.command("dedup")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, metavar="DIR", type=OUT, help="Folder for the planted documents and the run.")
@click.option(
    "--sample",
    "size",
    metavar="N",
    default=900,
    show_default=True,
    type=click.IntRange(9),
    help="Documents to plant copies of.",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of near_dedup, as bands=20.")
@COLUMNS
@WORKERS
@MEMORY
@click.option("--seed", metavar="N", default=1, show_default=True, help="Chooses sample and edits.")
@AS_JSON
def audit_dedup_command(
    inputs: Sequence[str], out: Path, size: int, assignments: Sequence[str], columns: Sequence[str],
    workers: int | None, memory: int | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Plant copies at known similarity; report what is found.

    Takes a sample of the documents, plants edited, shifted, wrapped and
    re-cased copies, runs near_dedup over all of them, and prints the share
    found beside that of the formula.
    """
    from curate.audits.near_dedup import audit_dedup
    from curate.run.machine import available_cores
    from curate.stages.near_dedup import NearDedup

    config, _ = _settings(NearDedup, {}, assignments)
    facts = audit_dedup(
        _entries(inputs, columns), config, out, size=size, workers=workers or available_cores(), memory=memory,
        seed=seed,
    )  # fmt: skip
    if as_json:
        print_json(facts)
        return
    rows = [[x["pairs"], x["planted"], x["found"], f"{x['recall']:.3f}", f"{x['theory']:.3f}"] for x in facts["lines"]]
    console.out(console.table(["similarity or kind", "planted", "found", "recall", "theory"], rows))
    precision = "none" if facts["precision"] is None else f"{facts['precision']:.4f}"
    console.out(f"\n{facts['reported_pairs']:,} pairs reported, precision {precision}")


@audit.command("decontaminate")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", required=True, metavar="DIR", type=OUT, help="Folder for the planted documents and the run.")
@click.option("--benchmarks", multiple=True, required=True, metavar="FILE", help="Items to plant.  May be repeated.")
@click.option(
    "--sample", "size", metavar="N", default=200, show_default=True, type=click.IntRange(1), help="Items to plant."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of decontaminate, as rule=gpt3."
)
@COLUMNS
@WORKERS
@MEMORY
@click.option("--seed", metavar="N", default=1, show_default=True, help="Chooses items, documents and edits.")
@AS_JSON
def audit_decontaminate_command(
    inputs: Sequence[str], out: Path, benchmarks: Sequence[str], size: int, assignments: Sequence[str],
    columns: Sequence[str], workers: int | None, memory: int | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Plant benchmark items; report what is found.

    Plants items of your benchmarks into your documents: verbatim, re-wrapped,
    embedded, retyped, edited, shuffled and in parts. Adds texts that only look
    like items, runs decontaminate over all of them, and prints the share found
    of each kind, the precision, and what was found by mistake.
    """
    from curate.audits.decontaminate import audit_decontaminate
    from curate.run.machine import available_cores
    from curate.stages.decontaminate import Decontaminate

    _, config = _settings(Decontaminate, {"benchmarks": list(benchmarks)}, assignments)
    facts = audit_decontaminate(
        _entries(inputs, columns), config, out, size=size, workers=workers or available_cores(), memory=memory,
        seed=seed,
    )  # fmt: skip
    if as_json:
        print_json(facts)
        return
    rows = [[x["kind"], x["words"], x["planted"], x["found"], x["sure"], f"{x['recall']:.3f}"] for x in facts["lines"]]
    console.out(console.table(["planted", "question", "documents", "found", "sure", "recall"], rows))
    rows = [[x["family"], x["documents"], x["found"]] for x in facts["families"]]
    console.out("\n" + console.table(["not planted", "documents", "found"], rows))
    precision = "none" if facts["precision"] is None else f"{facts['precision']:.4f}"
    console.out(f"\n{facts['items']:,} items in {facts['documents']:,} documents, precision {precision}")


def _settings(
    model: type["Settings"], given: dict[str, Any], assignments: Sequence[str]
) -> tuple[dict[str, Any], "Settings"]:
    """Settings of a stage from `given` and what --set says, as data and validated.

    They are validated as a recipe's would be, so that a mistake is blamed on the --set that made it.
    """
    from curate.config import Document, assign, parse_assignment, validate

    document = Document(given, "", {})
    for text in assignments:
        path, value = parse_assignment(text)
        document.changed(assign(given, path, value, model, f"--set {text}"), f"--set {text}")
    return given, validate(model, given, document)


def _entries(inputs: Sequence[str], columns: Sequence[str]) -> list["InputSettings"]:
    """The inputs of an audit, whose columns are named by --columns."""
    from curate.config import parse_pairs, validate
    from curate.io.inputs import InputSettings

    named = parse_pairs(columns, "--columns")
    return [validate(InputSettings, {"path": path, "columns": named}, name="input") for path in inputs]


def _share(value: float | None) -> str:
    """A share as tables show it; a dash where there was nothing to share."""
    return "-" if value is None else f"{value:.3f}"


@audit.command("redact")
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option("--labels", metavar="FILE", type=click.Path(path_type=Path), help="JSONL of texts with their values.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of redact, as engine=presidio."
)
@COLUMNS
@AS_JSON
def audit_redact_command(
    inputs: Sequence[str], labels: Path | None, assignments: Sequence[str], columns: Sequence[str], as_json: bool
) -> None:
    """Measure redaction on labelled texts; look for values that documents still hold.

    A line of a labelled file is
    {"text": "to ann@example.org", "spans": [{"start": 3, "end": 18, "type": "email"}]},
    start and end in characters. Of INPUT, a run's folder for example, every
    document is searched again. No value is ever printed.
    """
    from curate.audits.redact import audit_documents, audit_labels
    from curate.stages.redact import Redact

    if not inputs and labels is None:
        raise click.UsageError("give documents to look through, or --labels FILE, or both")
    config = Redact.model_validate(_settings(Redact, {}, assignments)[0])
    facts = {
        **({"labels": audit_labels(labels, config)} if labels is not None else {}),
        **({"documents": audit_documents(_entries(inputs, columns), config)} if inputs else {}),
    }
    if as_json:
        print_json(facts)
        return
    if found := facts.get("labels"):
        rows = [[x["type"], x["labels"], x["found"], _share(x["precision"]), _share(x["recall"]), x["left"], x["again"]]
                for x in found["lines"]]  # fmt: skip
        console.out(console.table(["type", "labels", "found", "precision", "recall", "left", "found again"], rows))
        others = ", ".join(f"{kind} {n:,}" for kind, n in found["unscored"].items())
        console.out(f"\n{found['texts']:,} texts" + (f"; labels of other types: {others}" if others else ""))
    if found := facts.get("documents"):
        rows = [[x["type"], x["values"]] for x in found["lines"]]
        console.out(console.table(["type", "values still there"], rows))
        unread = "".join(f", {n:,} not read ({rule})" for rule, n in found["unread"].items())
        console.out(f"\n{found['documents']:,} documents, {found['with_values']:,} with values{unread}")
