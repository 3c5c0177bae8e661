"""The `curate` command: recipe commands, and one command a stage whose options are made from the stage's settings.

runs.py has the commands about runs, stages.py makes those of the stages, audit.py, export.py, fetch.py, find.py,
inputs.py, presets.py and sweep.py have one each, and options.py what they share. Nothing heavy is imported until a
command needs it: `curate --help` answers within 0.3 s. So modules of this package import curate's other packages inside
of functions.
"""

import os
from collections.abc import Sequence

import click

from curate.cli import audit, classifier, export, fetch, find, inputs, presets, runs, stages, sweep
from curate.cli.options import CONTEXT
from curate.console import guarded
from curate.errors import ConfigError
from curate.stages import STAGES


def hyphened(name: str) -> str:
    """The name of a stage's command: `near-dedup` for near_dedup."""
    return name.replace("_", "-")


# Commands whose options are made from settings, which are imported when the command is asked for.
MADE = {
    "export": (export.export_command, export.SUMMARY),
    "fetch": (fetch.fetch_command, fetch.SUMMARY),
    "sweep": (sweep.sweep_command, sweep.SUMMARY),
    "train-classifier": (classifier.train_command, classifier.SUMMARY),
}


class Commands(click.Group):
    """The commands of `curate`. A stage's module, and those of MADE, are imported when their command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands: those about runs, sorted, then the stages in pipeline order."""
        return [*sorted([*super().list_commands(ctx), *MADE]), *(hyphened(entry.name) for entry in STAGES)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, made now if it is of MADE or a stage; None where there is none. Underscores serve, too."""
        if name in MADE:
            return MADE[name][0]()
        found = super().get_command(ctx, name)
        if found is None and name.replace("-", "_") in {entry.name for entry in STAGES}:
            return stages.stage_command(name.replace("-", "_"))
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown name is a ConfigError with the nearest known one."""
        if args and not args[0].startswith("-") and args[0].replace("_", "-") not in self.list_commands(ctx):
            from curate.config import suggest

            known = [name.replace("-", "_") for name in self.list_commands(ctx)]
            raise ConfigError(f'no command is named "{args[0]}"{suggest(args[0], known)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two lists in place of click's one, with summaries that need no stage to be imported."""
        with formatter.section("Runs"):
            known = {name: self.commands[name].get_short_help_str(60) for name in super().list_commands(ctx)}
            made = {name: summary for name, (_, summary) in MADE.items()}
            formatter.write_dl(sorted({**known, **made}.items()))
        with formatter.section("Stages, in pipeline order"):
            formatter.write_dl([(hyphened(entry.name), entry.summary) for entry in STAGES])


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="curate-train", prog_name="curate")
def cli() -> None:
    """From a web crawl to clean, deduplicated, tokenized training data.

    A recipe names inputs and steps:

    \b
        curate run pipelines/default.yaml --input crawl/ --out run/
        curate why 3f2a... --out run/      why a document was dropped
        curate status run/                 how far a run is

    Every stage is a command of its own, too:

    \b
        curate normalize docs.jsonl --out clean/
    """


for command in (
    runs.run, runs.plan, runs.status, runs.why, runs.clean, audit.audit, find.find, inputs.inputs, presets.presets
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the program. `arguments` are those of the process by default. errors.py lists the exit codes."""
    # NumPy's import would start a thread a core for linear algebra, .1 s of CPU; the work here is shared by processes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    raise SystemExit(guarded(cli, "curate", arguments))
