"""`train scaling plan | run | fit | predict | plot` as commands."""

import json
from pathlib import Path

import click

from curate import console
from train.options import AS_JSON, DEVICE, FOLDER, OUT, OUT_FILE, SET, THREADS

STUDY = click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the study.")
WAY = click.option(
    "--count",
    type=click.Choice(["with_head", "all", "no_embedding"]),
    help="How parameters are counted; the straightest law's way by default.",
)


@click.group("scaling")
def scaling() -> None:
    """Plan, train and fit a scaling law, and predict larger runs.

    \b
    train scaling plan --data out --out study --flops 1e14
    train scaling run --out study                  continues where it stopped
    train scaling fit --out study
    train scaling predict --out study --flops 1e18
    train scaling plot --out study --file law.html
    """


@scaling.command()
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run with held-out tokens.")
@STUDY
@click.option("--flops", required=True, type=float, metavar="X", help="Operations of the largest budget.")
@click.option(
    "--halvings", type=click.IntRange(1, 8), default=2, metavar="N", help="Smaller budgets, each half of the next (2)."
)
@click.option("--sizes", metavar="A,B,C", help="Sizes as 1m,3m,10m; by default five around the best expected.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, metavar="N", help="Runs of each size (1).")
@click.option("--ratio", type=float, default=20.0, metavar="X", help="Expected best tokens a parameter (20).")
@SET
@AS_JSON
def plan(
    data: Path,
    out: Path,
    flops: float,
    halvings: int,
    sizes: str | None,
    seeds: int,
    ratio: float,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the runs of a study, and what they cost; nothing is trained.

    A run serves all budgets by its schedule (wsd_s). Sizes that do not
    bracket the best one at every budget are refused.
    """
    from curate.errors import ConfigError
    from train.config import load_settings
    from train.machine import fast_bf16, pick_device
    from train.metrics import measured_peak
    from train.scaling.plan import described, make_plan, write_plan

    if not flops > 0 or not ratio > 0:
        raise ConfigError(f"--flops and --ratio must be above 0, found {flops:g} and {ratio:g}")
    asked = load_settings(None, assignments)
    names = [one.strip() for one in sizes.split(",") if one.strip()] if sizes else []
    made = make_plan(data, flops, halvings, names, seeds, asked, ratio)
    write_plan(out, made)
    if as_json:
        console.out(json.dumps(made.model_dump()))
        return
    import torch

    device = pick_device(asked.device)
    console.out(described(made, measured_peak(device, torch.bfloat16 if fast_bf16(device) else torch.float32)))


@scaling.command()
@STUDY
@DEVICE
@THREADS
@AS_JSON
def run(out: Path, device: str, threads: int, as_json: bool) -> None:
    """Train and measure what the plan has and the folder lacks."""
    from curate.io.lock import FolderLock
    from train.scaling.runs import run_all

    with FolderLock(out, "train scaling run"):
        done = run_all(out, device, threads)
    words = f"{console.plural(done['points'], 'point')} of {console.plural(done['runs'], 'run')} in {out}"
    console.out(json.dumps(done) if as_json else f"{words}, {done['points_now']} new")


@scaling.command()
@STUDY
@click.option("--points", type=FOLDER, metavar="FILE", help="JSON lines of other runs, in place of DIR/points.jsonl.")
@click.option("--draws", type=click.IntRange(min=0), default=200, metavar="N", help="Of the bootstrap (200).")
@click.option("--unbracketed", is_flag=True, help="Leave out budgets whose sizes do not bracket their minimum.")
@AS_JSON
def fit(out: Path, points: Path | None, draws: int, unbracketed: bool, as_json: bool) -> None:
    """Fit loss against parameters and tokens; DIR takes fit.json.

    Kaplan's form, Chinchilla's approaches 2 and 3 with bootstrap intervals,
    the error of predicting the largest budget without it, and what repeated
    tokens are worth where runs repeat them.
    """
    from train.scaling.points import FILE
    from train.scaling.study import fit_points, fit_text, write_fit

    result = fit_points(points or out / FILE, unbracketed, draws)
    write_fit(out, result)
    console.out(json.dumps(result) if as_json else fit_text(result))


@scaling.command()
@STUDY
@click.option("--flops", type=float, metavar="X", help="Operations that training may take.")
@click.option("--params", type=float, metavar="N", help="Parameters.")
@click.option("--tokens", type=float, metavar="N", help="Training tokens.")
@click.option("--inference-tokens", type=float, metavar="N", help="Tokens that the model will answer in its life.")
@click.option("--unique-tokens", type=float, metavar="N", help="Different tokens that there are.")
@click.option("--rate", type=float, metavar="X", help="Operations a second; those of the runs by default.")
@WAY
@AS_JSON
def predict(
    out: Path,
    flops: float | None,
    params: float | None,
    tokens: float | None,
    inference_tokens: float | None,
    unique_tokens: float | None,
    rate: float | None,
    count: str | None,
    as_json: bool,
) -> None:
    """The best size for a budget, and the loss of a run, with intervals."""
    from train.scaling.study import Question, prediction_text, read_fit
    from train.scaling.study import predict as answer_of

    question = Question(flops, params, tokens, inference_tokens, unique_tokens)
    answer = answer_of(read_fit(out), question, count, rate)
    console.out(json.dumps(answer) if as_json else prediction_text(answer))


@scaling.command()
@STUDY
@click.option("--file", "page", required=True, type=OUT_FILE, metavar="FILE", help="HTML file; JSON goes beside it.")
def plot(out: Path, page: Path) -> None:
    """Draw the points and the law, as HTML and as JSON."""
    from train.scaling.chart import plot as draw
    from train.scaling.study import read_fit

    draw(read_fit(out), page)
    console.out(f"drew the law into {page}, its numbers into {page.with_suffix('.json')}")
