"""The `curate` command. Stage commands and their options are generated from the stages' settings.

Nothing heavy is imported until a command needs it: `curate --help` answers within 0.3 s.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import click

from curate.errors import ConfigError, CurateError
from curate.stages import STAGES

EXIT_PARTIAL = 1


class Commands(click.Group):
    """Recipe commands and one command a stage; a stage's module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*sorted([*super().list_commands(ctx), "fetch"]), *(entry.name.replace("_", "-") for entry in STAGES)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "fetch":
            return fetch_command()
        found = super().get_command(ctx, name)
        if found is None and name.replace("-", "_") in {entry.name for entry in STAGES}:
            return stage_command(name.replace("-", "_"))
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from curate.config import suggest

            known = [name.replace("-", "_") for name in self.list_commands(ctx)]
            raise ConfigError(f'no command is named "{args[0]}"{suggest(args[0], known)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Runs"):
            known = {name: self.commands[name].get_short_help_str(60) for name in super().list_commands(ctx)}
            formatter.write_dl(sorted({**known, "fetch": "Record web pages as WARC files."}.items()))
        with formatter.section("Stages, in pipeline order"):
            formatter.write_dl([(entry.name.replace("_", "-"), entry.summary) for entry in STAGES])


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


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


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that runs something."""
    options = [
        click.option(
            "--out",
            required=True,
            type=click.Path(path_type=Path),
            help="Folder of the run; the same command continues it.",
        ),
        click.option(
            "--workers", type=click.IntRange(1), default=None, help="Worker processes.  [default: one a core]"
        ),
        click.option(
            "--limit",
            type=click.IntRange(1),
            default=None,
            help="Read at most this many documents, spread over the inputs.",
        ),
        click.option("--update", is_flag=True, help="Go ahead where the folder holds another recipe's run."),
        click.option("--executor", default="local", show_default=True, help="Where tasks run."),
        click.option("--json", "as_json", is_flag=True, help="Print the funnel as JSON."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[SOURCE=]PATH",
    help="Read this instead of the recipe's inputs; may be repeated.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, for example near_dedup.bands=20.",
)
@run_options
def run(recipe: Path, inputs: Sequence[str], assignments: Sequence[str], **options: Any) -> None:
    """Run a recipe, or continue it where it stopped.

    What is done already is not done again; after a change of the recipe,
    --update runs again only what depends on the change.
    """
    from curate.run.recipe import load_recipe

    execute(load_recipe(recipe, inputs=inputs, assignments=assignments, limit=options["limit"]), **options)


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[SOURCE=]PATH", help="As for run.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="As for run.")
@click.option("--limit", type=click.IntRange(1), default=None, help="As for run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(recipe: Path, inputs: Sequence[str], assignments: Sequence[str], limit: int | None, as_json: bool) -> None:
    """Show what a recipe would do.

    Prints its passes, tasks and estimates of disk and memory; runs nothing.
    """
    from curate.report import terminal
    from curate.run.driver import prepare
    from curate.run.inspect import estimate
    from curate.run.recipe import load_recipe

    made, files = prepare(load_recipe(recipe, inputs=inputs, assignments=assignments, limit=limit))
    facts = estimate(made, files)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(
        f"{facts['files']:,} input files, {terminal.size(facts['input_bytes'])}, {facts['partitions']} partitions\n"
    )
    rows = [[p["pass"], p["shape"], p["tasks"], "yes" if p["documents_kept"] else ""] for p in facts["passes"]]
    click.echo(terminal.table(["pass", "shape", "tasks", "documents stay"], rows, left=2))
    click.echo(
        "\n" + terminal.wrap(
            f"Estimates: about {terminal.size(facts['disk_bytes'])} on disk while it runs, "
            f"about {terminal.size(facts['memory_bytes_a_worker'])} of memory a worker."
        )
    )  # fmt: skip
    for line in facts["forecast"]:
        click.echo("\n" + terminal.wrap(line))


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(out: Path, as_json: bool) -> None:
    """Show how far a run is.

    OUT is the folder that was given to --out.
    """
    from curate.report import terminal
    from curate.run.inspect import progress_of

    facts = progress_of(out)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    rows = [[p["pass"], p["done"], p["tasks"], terminal.count(p["rows_out"])] for p in facts["passes"]]
    click.echo(terminal.table(["pass", "done", "of", "rows out"], rows))
    click.echo(f"\n{facts['summary']}")


@cli.command()
@click.argument("document")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def why(document: str, out: Path, as_json: bool) -> None:
    """Say what became of a document.

    DOCUMENT is a doc_id, the beginning of one (8 digits or more), or a URL.
    """
    from curate.report import terminal
    from curate.run.inspect import explain, story

    found = explain(out, document)
    if as_json:
        click.echo(json.dumps(found, indent=1, default=str))
        return
    click.echo(terminal.wrap(story(found)))


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
def clean(out: Path) -> None:
    """Remove what interrupted tasks left.

    OUT is the folder that was given to --out.
    """
    from curate.run.driver import remove_leftovers

    if not out.is_dir():
        raise ConfigError(f"{out}: no such folder")
    found = remove_leftovers(out)
    click.echo(f"removed {len(found)} temporary file{'s' if len(found) != 1 else ''} from {out}")


@cli.group()
def audit() -> None:
    """Measure a stage on your own documents."""


@audit.command("dedup")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for the planted documents and the run."
)
@click.option(
    "--sample", "size", default=900, show_default=True, type=click.IntRange(9), help="Documents to plant copies of."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of near_dedup, as bands=20.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option("--seed", default=1, show_default=True, help="Chooses sample and edits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit_dedup_command(
    inputs: Sequence[str], out: Path, size: int, assignments: Sequence[str], workers: int, seed: int, as_json: bool
) -> None:
    """Plant copies at known similarity; report what is found.

    Takes a sample of the documents, plants edited, shifted, wrapped and
    re-cased copies, runs near_dedup and prints recall beside theory.
    """
    from curate.audit import audit_dedup
    from curate.config import assign, parse_assignment, validate
    from curate.io.inputs import InputSettings
    from curate.report import terminal

    config: dict[str, Any] = {}
    for text in assignments:
        assign(config, *parse_assignment(text))
    entries = [validate(InputSettings, {"path": path}) for path in inputs]
    facts = audit_dedup(entries, config, out, size=size, workers=workers, seed=seed)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    rows = [[x["pairs"], x["planted"], x["found"], f"{x['recall']:.3f}", f"{x['theory']:.3f}"] for x in facts["lines"]]
    click.echo(terminal.table(["similarity or kind", "planted", "found", "recall", "theory"], rows))
    precision = "none" if facts["precision"] is None else f"{facts['precision']:.4f}"
    click.echo(f"\n{facts['reported_pairs']:,} pairs reported, precision {precision}")


def fetch_command() -> click.Command:
    """`curate fetch URL… --out DIR`, with an option for every field of FetchSettings."""
    from curate.fetch import FetchSettings, fetch

    fields = FetchSettings.model_fields

    def invoke(urls: Sequence[str], out: Path, as_json: bool, **options: Any) -> None:
        from curate.config import validate
        from curate.report import terminal

        settings = validate(FetchSettings, _given(options), name="fetch")
        show = _fetch_progress if sys.stderr.isatty() else None
        summary = fetch(settings, urls, out, show)
        if show:
            click.echo("", err=True)
        files = [str(path) for path in summary.files]
        facts: dict[str, Any] = {
            "pages": summary.pages, "redirects": summary.redirects, "failed": len(summary.errors),
            "cut_off": summary.truncated, "forbidden": summary.disallowed, "bytes": summary.bytes,
            "seconds": round(summary.seconds, 1), "files": files,
        }  # fmt: skip
        if as_json:
            click.echo(json.dumps({**facts, "errors": summary.errors}, indent=1))
            return
        for url, what in summary.errors[:10]:
            click.echo(terminal.wrap(f"warning: {url}: {what}"), err=True)
        size, names = terminal.size(summary.bytes), ", ".join(files)
        click.echo(terminal.wrap(f"{summary.pages:,} pages, {size} in {summary.seconds:.0f} s -> {names}"))

    command: Any = click.command(
        "fetch",
        context_settings=CONTEXT,
        help="Record web pages as WARC files.\n\nFollows links breadth-first below the URLs given, politely: "
        "robots.txt, one request at a time to a host with a pause. Requests, responses and redirects are recorded "
        "as they travelled.",
    )
    for key, field in reversed(fields.items()):
        invoke = _option(key, field)(invoke)
    invoke = click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")(invoke)
    invoke = click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the files.")(invoke)
    invoke = click.argument("urls", nargs=-1, required=True, metavar="URL...")(invoke)
    made: click.Command = command(invoke)
    return made


def _fetch_progress(summary: Any) -> None:
    click.echo(f"\r{summary.tried:,} tried, {summary.pages:,} pages, {summary.bytes / 1e6:.1f} MB", nl=False, err=True)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, lists as lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items() if v not in (None, ())}


def execute(
    recipe: Any,
    *,
    out: Path,
    workers: int | None,
    limit: int | None,
    update: bool,
    executor: str,
    as_json: bool,
) -> None:
    """Run a resolved recipe and print its funnel; the exit code says whether all went well."""
    from curate.report import terminal
    from curate.report.progress import Progress
    from curate.run import driver

    with Progress(out) as watcher:
        outcome = driver.run(
            recipe,
            out,
            workers=workers or os.cpu_count() or 1,
            executor=executor,
            update=update,
            watcher=watcher,
        )
        for text in [*outcome.warnings, *map(str, outcome.failures)]:
            watcher.log(text)
    data = json.loads((out / "funnel.json").read_bytes())
    if as_json:
        click.echo(json.dumps({**data, "ran": outcome.ran, "warnings": outcome.warnings}, indent=1))
    else:
        click.echo(terminal.funnel(data))
        for line in filter(None, [terminal.reader(data)]):
            click.echo("\n" + terminal.wrap(line))
        ran, current = sum(outcome.ran.values()), sum(outcome.current.values())
        click.echo(f"\n{ran} tasks ran, {current} were up to date; documents in {out}/documents")
    for warning in outcome.warnings[:20]:
        click.echo(terminal.wrap(f"warning: {warning}"), err=True)
    if outcome.failures:
        for failure in outcome.failures[:20]:
            click.echo(terminal.wrap(f"error: {failure}"), err=True)
        n = len(outcome.failures)
        click.echo(
            terminal.wrap(
                f"{n} task{'s' if n > 1 else ''} failed; the same command tries {'them' if n > 1 else 'it'} again."
            ),
            err=True,
        )
        raise SystemExit(EXIT_PARTIAL)


# -- stage commands ------------------------------------------------------------------------------------------


def stage_command(name: str) -> click.Command:
    """`curate NAME INPUT… --out DIR`, with an option for every setting of the stage."""
    from curate import stages

    stage = stages.load(name)
    fields = stage.config.model_fields

    def invoke(inputs: Sequence[str], source: str, input_format: str, **options: Any) -> None:
        from curate.config import validate
        from curate.io.inputs import InputSettings
        from curate.run.recipe import single_stage

        config = _given({key: options.pop(key) for key in list(fields)})
        entries = [validate(InputSettings, {"path": path, "source": source, "format": input_format}) for path in inputs]
        execute(single_stage(name, config, entries, options["limit"]), **options)

    command: Any = click.command(name.replace("_", "-"), context_settings=CONTEXT, help=_stage_help(stage))
    invoke = run_options(invoke)
    invoke = click.option("--source", default="main", show_default=True, help="Mixing domain of the documents.")(invoke)
    formats = click.Choice(["auto", "warc", "wet", "jsonl", "parquet", "text"])
    by_name = click.option("--format", "input_format", type=formats, default="auto", help="How to read the inputs.")
    invoke = by_name(invoke)
    for key, field in reversed(fields.items()):
        invoke = _option(key, field)(invoke)
    invoke = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")(invoke)
    made: click.Command = command(invoke)
    return explaining(made) if name == "extract" else made


def explaining(command: click.Command) -> click.Command:
    """`curate extract` with `--explain PAGE`, which runs nothing: it shows what is decided about one page."""
    explain = click.Option(
        ["--explain"],
        metavar="FILE|URL",
        help="Show every block of one page with its probability and what decided, and run nothing; "
        "a URL is looked for in INPUT, or asked for where there is none.",
    )
    command.params.insert(1, explain)
    run_stage = command.callback
    assert run_stage is not None

    def invoke(explain: str | None, **options: Any) -> None:
        if explain is None:
            for parameter in ("inputs", "out"):
                if not options[parameter]:
                    missing = next(p for p in command.params if p.name == parameter)
                    raise click.MissingParameter(ctx=click.get_current_context(), param=missing)
            run_stage(**options)
            return
        from curate.config import validate
        from curate.io.inputs import InputSettings
        from curate.report.explain import facts, find, show

        inputs = [validate(InputSettings, {"path": path, "format": "auto"}) for path in options["inputs"]]
        found = facts(find(explain, inputs), options["comments"] or "keep")
        click.echo(json.dumps(found, indent=1) if options["as_json"] else show(found))

    for parameter in command.params:
        if parameter.name in ("inputs", "out"):
            parameter.required = False
    command.callback = invoke
    return command


def _stage_help(stage: Any) -> str:
    """The module's docstring without its name; indented paragraphs keep their lines."""
    module = sys.modules[f"curate.stages.{stage.name}"]
    text = (module.__doc__ or stage.summary).partition(":")[2].strip()
    paragraphs = [f"\b\n{part}" if part.startswith(" ") else part for part in text.split("\n\n")]
    paragraphs[0] = paragraphs[0][:1].upper() + paragraphs[0][1:]
    inputs = "INPUT: files, globs, folders, URLs, or the folder of another run."
    return "\n\n".join([stage.summary, *paragraphs, inputs])


def _option(key: str, field: Any) -> Callable[[Any], Any]:
    """The option of one setting; values are checked by the settings class, so that the words are the same."""
    unit = (field.json_schema_extra or {}).get("unit")
    default = field.default
    shown = (
        ""
        if default in (None, [], (), {}) or repr(default) == "PydanticUndefined"
        else f"  [default: {_show(default)}]"
    )
    text = f"{field.description[:1].upper()}{field.description[1:]}{f', in {unit}' if unit else ''}.{shown}"
    flag = f"--{key.replace('_', '-')}"
    kinds = [k for k in (get_args(field.annotation) or (field.annotation,)) if k is not type(None)]
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{key.replace('_', '-')}", key, default=None, help=text)
    if get_origin(field.annotation) in (list, tuple):
        return click.option(flag, key, multiple=True, metavar="TEXT", help=text + "  May be repeated.")
    literal = kinds and all(isinstance(k, str) for k in kinds)
    metavar = "|".join(kinds) if literal else {int: "N", float: "X"}.get(kinds[0], "TEXT")
    return click.option(flag, key, default=None, metavar=metavar, help=text)


def _show(default: Any) -> str:
    return {True: "yes", False: "no"}.get(default, str(default)) if isinstance(default, bool) else str(default)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: every failure a person can act on is one message and an exit code (errors.py)."""
    raise SystemExit(guarded(cli, "curate", arguments))


def guarded(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code, having worded the failure on stderr."""
    from curate.report.terminal import wrap

    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
        return 0
    except CurateError as error:
        click.echo(wrap(f"error: {error}"), err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(wrap(f"error: {error.format_message()}"), err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nstopped; the same command continues", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
