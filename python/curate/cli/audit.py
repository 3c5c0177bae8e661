"""`curate audit`: measure a stage on one's own documents. curate/audits/ does the work; this prints what it found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from curate import console
from curate.cli.options import AS_JSON, COLUMNS, CONTEXT, MEMORY, OUT, WORKERS, print_json


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
    from curate.config import Document, assign, parse_assignment, parse_pairs, validate
    from curate.io.inputs import InputSettings
    from curate.run.machine import available_cores
    from curate.stages.near_dedup import NearDedup

    config: dict[str, Any] = {}
    # The settings are validated as a recipe's would be, so that a mistake is blamed on the --set that made it.
    document = Document(config, "", {})
    for text in assignments:
        path, value = parse_assignment(text)
        document.changed(assign(config, path, value, NearDedup, f"--set {text}"), f"--set {text}")
    validate(NearDedup, config, document)
    named = parse_pairs(columns, "--columns")
    entries = [validate(InputSettings, {"path": path, "columns": named}, name="input") for path in inputs]
    facts = audit_dedup(
        entries, config, out, size=size, workers=workers or available_cores(), memory=memory, seed=seed
    )  # fmt: skip
    if as_json:
        print_json(facts)
        return
    rows = [[x["pairs"], x["planted"], x["found"], f"{x['recall']:.3f}", f"{x['theory']:.3f}"] for x in facts["lines"]]
    console.out(console.table(["similarity or kind", "planted", "found", "recall", "theory"], rows))
    precision = "none" if facts["precision"] is None else f"{facts['precision']:.4f}"
    console.out(f"\n{facts['reported_pairs']:,} pairs reported, precision {precision}")
