"""`train audit`: what a model kept of its training data. Torch is imported when a command starts to work."""

import json
from pathlib import Path

import click

from curate import console
from train.options import AS_JSON, CHECKPOINT, DEVICE, FOLDER, OUT, THREADS
from train.settings import CHANGED, SettingsCommand, read_settings


@click.group()
def audit() -> None:
    """Measure what a model kept of its training data.

    \b
    train audit memorization --checkpoint MODEL --data RUN --out DIR
    train audit plant --data RUN --out PLANTED
    train audit synthetic --data RUN
    train audit collapse --data RUN --out DIR
    """


@audit.command("memorization", cls=SettingsCommand, settings=("train.audit.memorization", "Memorization"))
@CHECKPOINT
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of the run that it was trained on.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the result.")
@click.option("--reference", type=FOLDER, metavar="DIR", help="A model that never saw these tokens.")
@click.option("--copies", type=FOLDER, metavar="RUN", help="A run that compared the documents; without it --data.")
@CHANGED
@DEVICE
@THREADS
@AS_JSON
def memorization_command(
    checkpoint: Path, data: Path, out: Path, reference: Path | None, copies: Path | None,
    assignments: tuple[str, ...], device: str, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Which training text a model writes by heart, and why.

    Spans by copies, near-duplicate mass, when they were read, source and
    quality; draws; lengths of the prefix; attacks on membership; canaries.
    With --copies, of copies that were trained on: curate near-dedup RUN
    --pairs. Stopped, the same command goes on.

    \b
    train audit memorization --checkpoint model --data out --out audit
    """
    from train.audit.memorization import Memorization, memorization
    from train.audit.report import text
    from train.intervals import plain

    settings = read_settings(Memorization, assignments)
    result = memorization(checkpoint, data, out, settings, reference, copies, device, threads)
    console.out(json.dumps(plain(result)) if as_json else text(result))


@audit.command("plant", cls=SettingsCommand, settings=("train.audit.canaries", "Canaries"))
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run with tokens.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the run with canaries.")
@CHANGED
@AS_JSON
def plant_command(data: Path, out: Path, assignments: tuple[str, ...], as_json: bool) -> None:
    """Copy a run's tokens with canaries in them.

    Train on DIR, then audit the model with --data DIR: the exposure of
    canaries says how often a text must come before it is remembered.

    \b
    train audit plant --data out --out planted
    train run --data planted --out model --minutes 2
    """
    from train.audit.canaries import Canaries, plant

    result = plant(data, out, read_settings(Canaries, assignments))
    words = (
        f"planted {result['planted']:,} copies of {result['canaries']:,} canaries in {result['documents']:,} documents"
    )
    console.out(json.dumps(result) if as_json else f"{words}; the run is {out}")


@audit.command("synthetic")
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run.")
@AS_JSON
def synthetic_command(data: Path, as_json: bool) -> None:
    """The documents that models wrote: origin, prompts, diversity.

    Which generators wrote how many, how many lack a generator or the hash
    of a prompt; distinct n-grams, near copies among them, and how far they
    are from the run's real documents. Their share of what is trained on is
    capped by `curate mix`: synthetic, max_synthetic.

    \b
    train audit synthetic --data out
    """
    from train.audit.synthetic import check, table

    result = check(data)
    console.out(json.dumps(result) if as_json else table(result))


@audit.command("collapse", cls=SettingsCommand, settings=("train.audit.collapse", "Collapse"))
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="A run with tokens and held-out tokens.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of all generations and the result.")
@click.option("--size", metavar="NAME", help="Parameters of the models, as 1m (the default is 5m).")
@click.option("--tokens", metavar="N", help="Budget of each model; by default an epoch of what it learns from.")
@click.option("--train", "training", multiple=True, metavar="KEY=VALUE", help="One setting of `train run`.")
@CHANGED
@click.option("--take-over", is_flag=True, help="Go on where a process of another host holds DIR and has ended.")
@AS_JSON
def collapse_command(
    data: Path, out: Path, size: str | None, tokens: str | None, training: tuple[str, ...],
    assignments: tuple[str, ...], take_over: bool, as_json: bool,
) -> None:  # fmt: skip
    """What becomes of models that learn from texts of models.

    Lines of generations, with and without the real documents kept: bits
    per byte of real held-out text, and how varied the texts are. What the
    models write is marked as synthetic. DIR/collapse.html has the curves.

    \b
    train audit collapse --data out --out collapse --size 1m
    """
    from train.config import load_settings

    trained = load_settings(None, training, size=size, tokens=tokens)
    from train.audit.collapse import Collapse, collapse, table
    from train.intervals import plain

    result = collapse(data, out, read_settings(Collapse, assignments), trained, take_over=take_over)
    shown = f"{table(result)}\n\nthe curves are in {out / 'collapse.html'}"
    console.out(json.dumps(plain(result)) if as_json else shown)
