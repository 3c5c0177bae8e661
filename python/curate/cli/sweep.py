"""`curate sweep`: what a filter step would keep by other limits, from the measures of its run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from curate import console
from curate.cli.options import AS_JSON, CONTEXT, FOLDER, given, print_json, setting_option, with_options

SUMMARY = "Try limits of the filter on measures of a run."
CHANGES = ("preset", "limits", "without", "rules")  # settings of filter that can be others than the run's


def sweep_command() -> click.Command:
    """`curate sweep OUT --vary RULE=LIMITS`, with the options of the filter that say which rules there are."""
    from curate.stages.filter import Filter

    fields = {name: Filter.model_fields[name] for name in CHANGES}

    def invoke(
        out: str | Path, vary: Sequence[str], step: str | None, near: int, plot: Path | None, moved: Path | None,
        as_json: bool, **options: Any,
    ) -> None:  # fmt: skip
        from curate.report import sweep as report
        from curate.run.status import open_run
        from curate.run.sweep import sweep

        found = sweep(open_run(out), vary, step=step, changes=given(options, fields), near=near, moved=moved)
        if plot is not None:
            plot.write_text(report.page(found), encoding="utf-8")
        if as_json:
            print_json(found.to_json())
            return
        console.out(report.show(found))
        for warning in found.warnings:
            console.err(f"warning: {warning}")

    help_text = """Try limits of the filter on measures of a run.

    OUT is the folder of a run with a filter step that wrote signals/. The
    texts are not read again. Without --vary: what each rule drops.

    \b
        curate sweep run/ --vary gopher.min_words=20,50,100
        curate sweep run/ --vary gopher.alpha_words=0.5:0.9:0.05 --plot p.html

    Two rules that are varied make a grid of all pairs. "enter" and "leave"
    are documents that move against the limits of the run.
    """
    file = click.Path(dir_okay=False, path_type=Path)
    decorate = with_options(
        click.argument("out", type=FOLDER),
        click.option("--vary", multiple=True, metavar="RULE=LIMITS",
                     help="Limits to try, as 20,50,100 or FROM:TO:STEP; may be repeated."),
        click.option("--step", metavar="NAME", help="The filter step, where the run has several: filter.2."),
        *(setting_option(name, field) for name, field in fields.items()),
        click.option("--near", metavar="N", default=5, show_default=True, type=click.IntRange(0, 100),
                     help="Documents to show on either side of a limit."),
        click.option("--plot", metavar="FILE", type=file, help="Write a page with plots, complete in itself."),
        click.option("--moved", metavar="FILE", type=file, help="Write every document that moves to a Parquet file."),
        AS_JSON,
    )  # fmt: skip
    command: click.Command = click.command("sweep", context_settings=CONTEXT, help=help_text)(decorate(invoke))
    return command
