"""`curate export RUN --to FORM --out DIR`, with an option for every field of ExportSettings."""

from pathlib import Path
from typing import Any

import click

from curate import console
from curate.cli.options import (
    AS_JSON,
    CONTEXT,
    FOLDER,
    OUT,
    TAKE_OVER,
    given,
    print_json,
    setting_option,
    with_options,
)

SUMMARY = "Write a run's documents or tokens for other programs."
HELP = f"""{SUMMARY}

RUN is the folder of a finished run. Documents become JSON lines, CSV or WebDataset tar files; token shards become
flat files of ids (bin) or those of Megatron-LM (megatron), in the order of the run's mixture where it has one.

CSV: a null is an empty cell, text stands in quotes and keeps its line ends."""


def export_command() -> click.Command:
    """The command. ExportSettings is imported here, since its fields become the options."""
    from curate.export.settings import FORMS, ExportSettings

    fields = {key: field for key, field in ExportSettings.model_fields.items() if key != "to"}
    added = with_options(
        click.argument("run", type=FOLDER),
        click.option("--to", required=True, metavar="FORM", help=f"Form of the files: {', '.join(FORMS)}."),
        *(setting_option(key, field) for key, field in fields.items()),
        click.option("--out", required=True, metavar="DIR", type=OUT, help="Folder or URL for the files."),
        TAKE_OVER,
        AS_JSON,
    )
    made: click.Command = click.command("export", context_settings=CONTEXT, help=HELP)(added(export_run))
    return made


def export_run(run: str | Path, out: str | Path, take_over: bool, as_json: bool, **options: Any) -> None:
    """Export, showing on a terminal how far it is, and print what was written."""
    from curate.config import validate
    from curate.export.export import export
    from curate.export.settings import ExportSettings

    settings = validate(ExportSettings, given(options, ExportSettings.model_fields), name="export")
    done = export(run, settings, out, _progress, take_over=take_over)
    console.passing("")  # removes the line of progress
    for warning in done.warnings:
        console.err(f"warning: {warning}")
    if as_json:
        print_json(done.manifest)
        return
    facts, new = done.manifest, len(done.files) - done.kept
    tokens = f", {facts['tokens']:,} tokens" if "tokens" in facts else ""
    files = console.plural(len(done.files), "file") + (f" ({done.kept:,} were there)" if done.kept and new else "")
    size = console.size(facts["bytes"])
    there = " (all were there)" if not new else ""
    console.out(console.wrap(f"{facts['documents']:,} documents{tokens} in {files}, {size} -> {out}{there}"))


def _progress(done: Any) -> None:
    """Shows an Exported on the line of the terminal that the last call wrote."""
    total = f" of {done.total:,}" if done.total is not None else ""
    written = console.size(done.bytes)
    console.passing(f"{done.documents:,}{total} documents, {console.plural(len(done.files), 'file')}, {written}")
