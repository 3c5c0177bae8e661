"""The `train` command: run, eval, generate. Results on stdout, progress and errors on stderr.

Exit codes: 0 done, 1 the disk is full or training failed, 2 usage, settings or data that do not fit, 130 stopped
by a signal with a checkpoint written. Torch is imported when a command starts to work, so that help is instant.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import console

if TYPE_CHECKING:
    from curate.config import Settings

FOLDER = console.Place(local=True)
OUT = console.Place(local=True, made=True)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
DEVICE = click.option("--device", metavar="NAME", default="auto", help="cpu, cuda, or auto (the default).")
THREADS = click.option(
    "--threads", metavar="N", type=click.IntRange(min=0), default=0, help="CPU threads; 0, the default, takes all."
)


class RunCommand(click.Command):
    """`train run`, with every setting and its default at the end of its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from train.config import TrainSettings

        with formatter.section("Settings, for --config FILE and --set KEY=VALUE"):
            formatter.write_dl(list(describe(TrainSettings)))


def describe(model: type["Settings"], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, what it is) for every setting of a model, nested ones with their prefix."""
    from curate.config import Settings

    for name, field in model.model_fields.items():
        if isinstance(field.default, Settings):
            yield from describe(type(field.default), f"{prefix}{name}.")
            continue
        extra: Any = field.json_schema_extra
        unit = f", in {extra['unit']}" if extra else ""
        default = field.default if isinstance(field.default, str) else json.dumps(field.default)
        yield prefix + name, f"{field.description}{unit} [{default}]"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="curate-train", prog_name="train")
def cli() -> None:
    """Train a language model on the token shards that `curate` made.

    \b
    train run --data RUN --out MODEL --minutes 2     train, or continue
    train eval --checkpoint MODEL --data RUN         bits per byte, held out
    train generate --checkpoint MODEL --prompt TEXT  a sample
    """


@cli.command(cls=RunCommand)
@click.option(
    "--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run that ended with tokens."
)
@click.option(
    "--out", required=True, type=OUT, metavar="DIR", help="Folder of the model; the same command continues it."
)
@click.option("--mixture", type=FOLDER, metavar="FILE", help="Weights of the sources; without it RUN/mixture.yaml.")
@click.option("--config", "config_file", type=FOLDER, metavar="FILE", help="Settings as YAML.")
@click.option("--size", metavar="NAME", help="tiny, 1m, 5m (the default), 16m, 124m, 350m or 1b.")
@click.option("--tokens", metavar="N", help="Budget in tokens.")
@click.option("--minutes", metavar="N", help="Budget as time: ten steps are timed first.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting, for example optim.learning_rate=0.001.",
)
@click.option("--take-over", is_flag=True, help="Go on where a process of another host holds DIR and has ended.")
@AS_JSON
def run(data: Path, out: Path, mixture: Path | None, config_file: Path | None, size: str | None, tokens: str | None,
        minutes: str | None, assignments: tuple[str, ...], take_over: bool, as_json: bool) -> None:  # fmt: skip
    """Train a model, or continue one.

    DIR takes the checkpoints, metrics.jsonl with a line a step, the tokenizer
    and train.yaml with every setting. A run that was stopped, by Ctrl-C or by
    a power cut, continues with the same command and with the same losses.

    \b
    train run --data out --out model --minutes 2
    train run --data out --out model --size 16m --tokens 20_000_000
    train run --data out --out model --set batch_rows=32 --set seed=7
    """
    from train.config import load_settings

    settings = load_settings(config_file, assignments, size=size, tokens=tokens, minutes=minutes)
    from train.train import train

    result = train(data, out, settings, mixture, take_over=take_over)
    if as_json:
        console.out(json.dumps(result))
        return
    if not result["steps_now"]:
        console.out(f"{out} has reached its {result['steps']:,} steps; there is nothing left to do.")
        return
    console.out(f"trained {result['tokens']:,} tokens in {result['steps']:,} steps, loss {result['loss']:.4f}")
    speed = f"{result['tokens_per_second']:,} tokens/s"
    console.out(f"{result['seconds']:,.0f} s for the last {result['steps_now']:,} steps, {speed}")
    console.out(f"the model is in {result['checkpoint']}")


@cli.command("eval")
@click.option("--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint.")
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run with held-out tokens.")
@click.option(
    "--tokens",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Of each source at most about N; 0, the default, takes all.",
)
@DEVICE
@THREADS
@AS_JSON
def evaluate_command(checkpoint: Path, data: Path, tokens: int, device: str, threads: int, as_json: bool) -> None:
    """Bits per byte of every source on held-out text; lower is better.

    Beside the model stand a unigram of the training tokens and the same model
    before training. The result is also written to eval.json in the model's
    folder.

    \b
    train eval --checkpoint model --data out
    """
    from train.evaluate import evaluate, table

    result = evaluate(checkpoint, data, tokens, device, threads)
    console.out(json.dumps(result) if as_json else table(result))


@cli.command("generate")
@click.option("--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint.")
@click.option("--prompt", default="", metavar="TEXT", help="Beginning of the text; a new document without it.")
@click.option("--tokens", metavar="N", help="At most so many new tokens (100).")
@click.option("--temperature", metavar="X", help="0 takes the likeliest token, 1 draws as trained (0.8).")
@click.option("--top-k", metavar="N", help="Only the N likeliest tokens; 0 for all (0).")
@click.option("--top-p", metavar="X", help="Only the likeliest tokens that together hold X (0.95).")
@click.option("--seed", metavar="N", help="Another number, another sample (1).")
@DEVICE
@THREADS
@AS_JSON
def generate_command(
    checkpoint: Path, prompt: str, device: str, threads: int, as_json: bool, **given: str | None
) -> None:
    """Continue a text with a trained model.

    The sample depends on the prompt, the settings and the seed only.

    \b
    train generate --checkpoint model --prompt "A list is" --tokens 60
    """
    from curate.config import assign, parse_assignment, validate
    from train.generate import Sampling, complete

    values: dict[str, Any] = {}
    for key, value in given.items():
        if value is not None:
            assign(values, *parse_assignment(f"{key}={value}"))
    result = complete(checkpoint, prompt, validate(Sampling, values), device, threads)
    console.out(json.dumps(result) if as_json else result["prompt"] + result["text"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; exit codes are listed above."""
    # Threads that spin while they wait for each other take the core that the other one needs as soon as anything
    # else runs: 1,000 to 1,700 tokens/s against 3,600 to 4,300 on two busy cores. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    raise SystemExit(console.guarded(cli, "train", arguments))
