"""One command a stage: `curate near-dedup INPUT… --out DIR`, with an option for every setting of the stage."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from curate import console
from curate.cli.options import (
    CONTEXT,
    INPUT_OPTIONS,
    RUN_OPTIONS,
    given,
    input_settings,
    names,
    print_json,
    setting_option,
    with_options,
)
from curate.cli.runs import execute

if TYPE_CHECKING:
    from curate.stages.protocol import Stage

# What a recipe says beside the inputs, at the step and at the top.
AGAINST = click.option(
    "--against",
    multiple=True,
    metavar="INPUT",
    help="Only compare with these documents: what is like them goes, and nothing of them is written; may be repeated.",
)
STEP_OPTIONS = (
    click.option(
        "--only",
        multiple=True,
        metavar="NAME=VALUES",
        help="Work only on rows of these sources or languages, as source=web,books; others go through untouched.",
    ),
    click.option(
        "--keep-passes",
        type=click.Choice(["extract", "all", "none"]),
        default="extract",
        show_default=True,
        help="Which passes' documents stay beside the last.",
    ),
    click.option(
        "--guard",
        type=click.Choice(["on", "off"]),
        default="on",
        show_default=True,
        help="off: go on where the stage drops far more than is usual for it.",
    ),
)  # fmt: skip


def stage_command(name: str) -> click.Command:
    """`curate NAME INPUT… --out DIR`, with an option for every setting of the stage.

    It runs a recipe of this one step, so that the folder it makes is that of a run: it can be continued, looked at, and
    be the input of another run.
    """
    from curate import stages

    stage = stages.load(name)
    fields = stage.config.model_fields
    compares = any(phase.against for phase in stage.phases)

    def invoke(
        inputs: Sequence[str], only: Sequence[str], keep_passes: str, guard: str, limit: int | None,
        allow_code: Sequence[str], **options: Any,
    ) -> int:  # fmt: skip
        from curate.config import validate
        from curate.run.recipe import Only, single_stage

        # What is left in `options` afterwards are the options of the input, then those of the run.
        config = given({key: options.pop(key) for key in list(fields)}, fields)
        against = options.pop("against", ())
        entries = input_settings(inputs, options, against)
        rows = validate(Only, names(only, "--only"), name="--only")
        made = single_stage(
            name, config, entries, limit, only=rows, keep=keep_passes, guard=guard, allow_code=tuple(allow_code)
        )  # fmt: skip
        return execute(made, **options)

    added = with_options(
        click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
        *(setting_option(key, field) for key, field in fields.items()),
        *([AGAINST] if compares else []),
        *INPUT_OPTIONS,
        *STEP_OPTIONS,
        *RUN_OPTIONS,
    )
    command: click.Command = click.command(
        name.replace("_", "-"), context_settings=CONTEXT, help=_help(stage)
    )(added(invoke))  # fmt: skip
    return explaining(command) if name == "extract" else command


def _help(stage: "Stage") -> str:
    """The help of a stage's command: its summary, and the module's docstring after "name:".

    click folds paragraphs. Indented ones, such as tables and examples, keep their lines: "\\b" tells click so.
    """
    text = (sys.modules[f"curate.stages.{stage.name}"].__doc__ or stage.summary).partition(":")[2].strip()
    paragraphs = [f"\b\n{part}" if part.startswith(" ") else part for part in text.split("\n\n")]
    paragraphs[0] = paragraphs[0][:1].upper() + paragraphs[0][1:]
    inputs = "INPUT: files, globs, folders, URLs, or the folder of another run."
    return "\n\n".join([stage.summary, *paragraphs, inputs])


def explaining(command: click.Command) -> click.Command:
    """`curate extract` with `--explain PAGE`, which shows what is decided about one page and runs nothing.

    INPUT and --out, which a run requires, may then be left out; without --explain they are asked for as before.
    """
    explain = click.Option(
        ["--explain"],
        metavar="FILE|URL",
        help="Show every block of one page with its probability and what decided, and run nothing; "
        "a URL is looked for in INPUT, or asked for where there is none.",
    )
    command.params.insert(1, explain)
    run_stage = command.callback
    assert run_stage is not None

    def invoke(explain: str | None, **options: Any) -> Any:
        if explain is not None:
            return explain_page(explain, options)
        for parameter in ("inputs", "out"):
            if not options[parameter]:
                missing = next(p for p in command.params if p.name == parameter)
                raise click.MissingParameter(ctx=click.get_current_context(), param=missing)
        return run_stage(**options)

    for parameter in command.params:
        if parameter.name in ("inputs", "out"):
            parameter.required = False
    command.callback = invoke
    return command


def explain_page(page: str, options: dict[str, Any]) -> None:
    """Print what the extractor decides about a page with the settings given.

    `page` is a file or a URL, `options` are all other options of `curate extract`.
    """
    from curate.config import validate
    from curate.report.explain import facts, find, show
    from curate.stages.extract import Extract

    config = validate(Extract, given(options, Extract.model_fields), name="extract")
    found = facts(find(page, input_settings(options["inputs"], options)), config)
    if options["as_json"]:
        print_json(found)
    else:
        console.styled(show(found))
