"""Commands about runs: run, plan, status, why, clean; and `execute`, the end of every command that runs something."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate import console
from curate.cli.inputs import inputs_json
from curate.cli.options import (
    ALLOW_CODE,
    AS_JSON,
    FOLDER,
    LIMIT,
    MEMORY,
    RECIPE_OPTIONS,
    RUN_OPTIONS,
    TAKE_OVER,
    WORKERS,
    print_json,
    with_options,
)

if TYPE_CHECKING:
    from curate.run.outcome import Outcome
    from curate.run.recipe import Recipe

EXIT_PARTIAL, EXIT_CONFIG = 1, 2  # exit codes of failures: trying again may help, or something must be changed
SHOWN = 20  # warnings, and errors, that are printed; run.log has all


@click.command()
@with_options(*RECIPE_OPTIONS, *RUN_OPTIONS)
def run(
    recipe: Path, inputs: Sequence[str], assignments: Sequence[str], columns: Sequence[str], trust_ids: bool,
    limit: int | None, allow_code: Sequence[str], **options: object,
) -> int:  # fmt: skip
    """Run a recipe, or continue it where it stopped.

    What is done already is not done again; after a change of the recipe,
    --update runs again only what depends on the change.
    """
    made = _recipe(recipe, inputs, assignments, columns, trust_ids, limit, allow_code)
    return execute(made, **options)  # type: ignore[arg-type]


@click.command()
@with_options(*RECIPE_OPTIONS, WORKERS, MEMORY, LIMIT, ALLOW_CODE, AS_JSON)
def plan(
    recipe: Path, inputs: Sequence[str], assignments: Sequence[str], columns: Sequence[str], trust_ids: bool,
    workers: int | None, memory: int | None, limit: int | None, allow_code: Sequence[str], as_json: bool,
) -> None:  # fmt: skip
    """Show what a recipe would do.

    Prints what of the inputs would be read how, its passes, tasks and estimates of disk and memory, for this input
    and for up to 100,000,000 documents like it; runs nothing.
    """
    from curate.report import terminal
    from curate.run.driver import prepare
    from curate.run.estimate import estimate
    from curate.run.machine import available_cores
    from curate.run.memory import Budget

    made = _recipe(recipe, inputs, assignments, columns, trust_ids, limit, allow_code)
    planned, found = prepare(made)
    budget = Budget(memory, workers or available_cores(), planned.resources, planned.n_tasks)
    facts = estimate(planned, found.files, budget)
    if as_json:
        print_json({**facts.to_json(), "inputs": inputs_json(found.files, found.passed), "warnings": found.warnings})
    else:
        console.out(terminal.inputs(found.files, found.passed))
        console.out("\n" + terminal.estimate(facts))


def _recipe(
    recipe: Path, inputs: Sequence[str], assignments: Sequence[str], columns: Sequence[str], trust_ids: bool,
    limit: int | None, allow_code: Sequence[str],
) -> "Recipe":  # fmt: skip
    """The recipe as the options of a command change it."""
    from curate.config import parse_pairs
    from curate.run.recipe import load_recipe

    return load_recipe(
        recipe, inputs=inputs, assignments=assignments, columns=parse_pairs(columns, "--columns"), trust_ids=trust_ids,
        limit=limit, allow_code=tuple(allow_code),
    )  # fmt: skip


@click.command()
@click.argument("out", type=FOLDER)
@AS_JSON
def status(out: str | Path, as_json: bool) -> None:
    """Show how far a run is.

    OUT is the folder that was given to --out.
    """
    from curate.report import terminal
    from curate.run.status import open_run, status_of

    facts = status_of(open_run(out))
    if as_json:
        print_json({**facts.to_json(), "summary": terminal.summary(facts)})
    else:
        console.out(terminal.status(facts))


@click.command()
@click.argument("document")
@click.option("--out", required=True, metavar="DIR", type=FOLDER, help="Folder of the run.")
@AS_JSON
def why(document: str, out: str | Path, as_json: bool) -> None:
    """Say what became of a document.

    DOCUMENT is a doc_id, the beginning of one (8 digits or more), or a URL.
    """
    from curate.report import terminal
    from curate.run.status import open_run
    from curate.run.why import why as story_of

    story = story_of(open_run(out), document)
    if as_json:
        print_json(story.to_json())
    else:
        console.out(terminal.story(story))


@click.command()
@click.argument("out", type=FOLDER)
@TAKE_OVER
def clean(out: str | Path, take_over: bool) -> None:
    """Remove what interrupted tasks left.

    OUT is the folder that was given to --out. Only this program's own
    temporary files are removed, and only where a run is.
    """
    from curate.run.driver import locked
    from curate.run.status import open_run
    from curate.run.tidy import remove_leftovers

    folder = open_run(out)  # ConfigError where no run is
    with locked(folder, "curate clean", take_over=take_over):
        found = remove_leftovers(folder)
    console.out(f"removed {console.plural(len(found), 'temporary file')} from {out}")


def execute(
    recipe: "Recipe",
    *,
    out: str | Path,
    scratch: Path | None,
    workers: int | None,
    memory: int | None,
    update: bool,
    take_over: bool,
    verify_files: bool,
    executor: str,
    as_json: bool,
) -> int:
    """Run a resolved recipe, print its funnel, and return the exit code (see errors.py).

    The options are those of RUN_OPTIONS; `workers` and `memory` (bytes) are None for the defaults. Tables and results
    go to stdout; progress, warnings and failures to stderr, and to run.log.
    """
    from curate.report import terminal
    from curate.report.progress import Progress
    from curate.run import driver
    from curate.run.machine import available_cores

    # run.log grows by appending, which an object store cannot do: there it is written to scratch.
    place = Path(scratch) if scratch is not None and isinstance(out, str) else Path(out)
    with Progress(place) as watcher:
        outcome = driver.run(
            recipe,
            out,
            scratch=scratch,
            workers=workers or available_cores(),
            executor=executor,
            memory=memory,
            update=update,
            take_over=take_over,
            verify=verify_files,
            watcher=watcher,
        )
        later = [text for text in outcome.warnings if text not in watcher.told]
        for text in [*later, *map(str, outcome.failures)]:
            watcher.log(text)
    if as_json:
        print_json({**outcome.funnel.to_json(), "ran": outcome.ran, "warnings": outcome.warnings})
    else:
        console.out(terminal.funnel(outcome.funnel))
        if line := terminal.reader(outcome.funnel):
            console.out("\n" + console.wrap(line))
        ran, current = sum(outcome.ran.values()), sum(outcome.current.values())
        console.out(f"\n{console.plural(ran, 'task')} ran, {current:,} were up to date; documents in {out}/documents")
    return report_failures(outcome, later)


def report_failures(outcome: "Outcome", warnings: Sequence[str]) -> int:
    """Print warnings and failures to stderr; returns the exit code: 0, or the one that the failures call for."""
    for warning in warnings[:SHOWN]:
        console.err(f"warning: {warning}")
    if len(warnings) > SHOWN:
        console.err(f"and {len(warnings) - SHOWN:,} more warnings, in run.log")
    failures = outcome.failures
    if not failures:
        return 0
    for failure in failures[:SHOWN]:
        console.err(f"error: {failure}")
    code = outcome.exit_code
    what = console.plural(len(failures), "task") + " failed"
    if code == EXIT_CONFIG:
        console.err(f"{what}; change what is named above, then run the command again.")
    elif code == EXIT_PARTIAL:
        console.err(f"{what}; the same command tries {'it' if len(failures) == 1 else 'them'} again.")
    return code
