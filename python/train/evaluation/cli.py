"""`train eval` as a command."""

import json
from pathlib import Path

import click

from curate import console
from train.options import AS_JSON, CHECKPOINT, DEVICE, FOLDER, THREADS


@click.command("eval")
@CHECKPOINT
@click.option("--data", type=FOLDER, metavar="RUN", help="Folder of a curate run with held-out tokens.")
@click.option(
    "--tokens",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Of each source at most about N; 0, the default, takes all.",
)
@click.option("--task", "tasks", multiple=True, type=FOLDER, metavar="FILE", help="Items of a task, as JSON lines.")
@click.option("--tasks", "listing", type=FOLDER, metavar="FILE", help="A YAML list of tasks (icl_tasks).")
@click.option("--shots", type=click.IntRange(min=0), metavar="N", help="Examples before each item.")
@click.option("--delimiter", metavar="TEXT", help="Between question and answer; a space by default.")
@click.option("--contaminated", type=FOLDER, metavar="FILE", help="contaminated_items.parquet, or the run with it.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Items of each task, drawn; 0 for all."
)
@click.option(
    "--format-items",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    help="Of these, so many are asked in other formats too (100).",
)
@click.option("--lm-eval", "lm_eval", multiple=True, metavar="NAME", help="A task of the package lm-eval.")
@click.option("--lm-eval-path", type=FOLDER, metavar="DIR", help="Folder of further tasks of lm-eval.")
@DEVICE
@THREADS
@AS_JSON
def evaluate_command(
    checkpoint: Path,
    data: Path | None,
    tokens: int,
    tasks: tuple[Path, ...],
    listing: Path | None,
    shots: int | None,
    delimiter: str | None,
    contaminated: Path | None,
    limit: int,
    format_items: int,
    lm_eval: tuple[str, ...],
    lm_eval_path: Path | None,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Bits per byte of held-out text, and scores of tasks.

    Every figure has its standard error. Beside the bits per byte stand those
    of a unigram of the training tokens and of the model before training.

    Tasks are files in the layouts of CORE and llm-foundry. Each is also asked
    in other formats, because a score moves with the words of the question.
    With --contaminated, scores are given for items that the corpus holds and
    for those it does not. Items longer than the model's context get no score
    and are counted. DIR takes eval.json, and eval/ with every item; DIR may
    be a model in a Hugging Face form.

    \b
    train eval --checkpoint model --data out
    train eval --checkpoint model --task core/arc_easy.jsonl --shots 5
    train eval --checkpoint model --tasks core.yaml --contaminated out
    """
    from train.evaluation.evaluate import Asked, evaluate, text

    wanted = Asked(
        data, tokens, tasks, listing, shots, delimiter, contaminated, limit, format_items, lm_eval, lm_eval_path
    )
    result = evaluate(checkpoint, wanted, device, threads)
    console.out(json.dumps(result) if as_json else text(result))
