"""`curate inputs`: what of a folder would be read, and how; nothing is read but the beginning of each file."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import AS_JSON, CONTEXT, INPUT_OPTIONS, input_settings, print_json, with_options

if TYPE_CHECKING:
    from curate.io.inputs import InputFile, Passed


@click.command(context_settings=CONTEXT)
@click.argument("paths", nargs=-1, required=True, metavar="INPUT...")
@with_options(*INPUT_OPTIONS, AS_JSON)
def inputs(paths: Sequence[str], as_json: bool, **options: Any) -> None:
    """Show what of a folder would be read.

    Lists the forms in which files would be read, and what is passed over
    and why; runs nothing.

    INPUT: files, globs, folders, URLs, or the folder of another run.
    """
    from curate.io.inputs import settled, survey
    from curate.report import terminal

    found = survey(input_settings(paths, options))
    if as_json:
        print_json({**inputs_json(found.files, found.passed), "warnings": found.warnings})
    else:
        console.out(terminal.inputs(found.files, found.passed))
        for warning in found.warnings:
            console.err(f"warning: {warning}")
    settled(found)  # what would stop a run stops this command, too


def inputs_json(files: Iterable["InputFile"], passed: Iterable["Passed"]) -> dict[str, Any]:
    """The same as data for a script: every file with its form, and what is passed over."""
    return {
        "read": [
            {"file": file.rel, "path": file.path, "format": file.format, "codec": file.codec, "bytes": file.size,
             "source": file.source, "kind": file.kind, "partitions": file.partitions}
            for file in files
        ],
        "passed_over": [one._asdict() for one in passed],
    }  # fmt: skip
