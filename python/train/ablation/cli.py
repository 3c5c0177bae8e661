"""`train ablate`: which of several recipes makes the better model."""

import json
from pathlib import Path
from typing import Any

import click

from curate import console
from train.options import AS_JSON, FOLDER, OUT


@click.command()
@click.argument("recipes", nargs=-1, required=True, metavar="[NAME=]RECIPE...")
@click.option("--heldout", multiple=True, required=True, metavar="[NAME=]PATH", help="A text to judge by; repeatable.")
@click.option("--task", "tasks", multiple=True, type=FOLDER, metavar="FILE", help="Items of a task, as JSON lines.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of everything; the same command goes on.")
@click.option("--input", "inputs", multiple=True, metavar="[SOURCE=]PATH", help="In place of the recipes' inputs.")
@click.option("--tokenizer", type=FOLDER, metavar="FILE", help="tokenizer.json; by default trained on the first arm.")
@click.option("--tokens", required=True, metavar="N", help="Budget of every model in tokens.")
@click.option("--size", metavar="NAME", help="Parameters: 1m, 5m (the default) or any other.")
@click.option("--seeds", type=click.IntRange(1, 100), default=2, show_default=True, metavar="N", help="Models an arm.")
@click.option("--vocab-size", type=click.IntRange(300), default=8192, show_default=True, metavar="N",
              help="Tokens of the tokenizer, where it is trained here.")  # fmt: skip
@click.option("--points", type=click.IntRange(1, 100), default=4, show_default=True, metavar="N",
              help="Checkpoints of each model that are measured.")  # fmt: skip
@click.option("--task-items", type=click.IntRange(0), default=500, show_default=True, metavar="N",
              help="Of each task at most N items, drawn; 0 for all.")  # fmt: skip
@click.option("--heldout-tokens", type=click.IntRange(1), default=200_000, show_default=True, metavar="N",
              help="Of each held-out text at most about N.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of `train run`.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes of curate.")
@click.option("--take-over", is_flag=True, help="Go on where a process of another host holds DIR and has ended.")
@AS_JSON
def ablate(
    recipes: tuple[str, ...], heldout: tuple[str, ...], tasks: tuple[Path, ...], out: Path, inputs: tuple[str, ...],
    tokenizer: Path | None, tokens: str, size: str | None, assignments: tuple[str, ...], workers: int | None,
    take_over: bool, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Compare data recipes by the models that they make.

    Every recipe is run, its documents become tokens of one tokenizer, and
    models of equal size, tokens and seeds are trained on each. The first
    recipe is what the others are compared with, on bits per byte of held-out
    texts and on tasks, with intervals over seeds and documents; the rules that make the
    data of two arms different are named. DIR/ablation.html has the curves.

    \b
    train ablate pipelines/ablation/raw.yaml pipelines/default.yaml \\
        --input crawl/ --heldout books.jsonl --heldout news.jsonl \\
        --tokens 5_000_000 --out ablation
    """
    from train.ablation.plan import Ablation, Arm, Plan, named
    from train.config import load_settings

    arms = [Arm(name, Path(path).expanduser()) for name, path in named(recipes, "recipe").items()]
    training = load_settings(None, assignments, size=size, tokens=tokens)
    texts, how = named(heldout, "--heldout"), Ablation(**settings)
    asked = Plan(out, arms, texts, list(inputs), tokenizer, list(tasks), how, training, workers)
    from train.ablation.ablate import ablate as run
    from train.ablation.page import text
    from train.intervals import plain

    result = run(asked, take_over=take_over)
    console.out(
        json.dumps(plain(result)) if as_json else f"{text(result)}\n\nthe curves are in {out / 'ablation.html'}"
    )
