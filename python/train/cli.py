"""The `train` command: run, eval, generate, score, plot, export, import. Results on stdout, all else on stderr.

Exit codes: 0 done, 1 the disk is full or training failed, 2 usage, settings or data that do not fit, 130 stopped
by a signal with a checkpoint written. Torch is imported when a command starts to work, so that help is instant.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from curate import console
from train.ablation.cli import ablate
from train.audit.cli import audit
from train.evaluation.cli import evaluate_command
from train.mixing.cli import mixture
from train.options import AS_JSON, DEVICE, FOLDER, OUT, OUT_FILE, THREADS
from train.scaling.cli import scaling
from train.settings import describe


class RunCommand(click.Command):
    """`train run`, with every setting and its default at the end of its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from train.config import TrainSettings

        with formatter.section("Settings, for --config FILE and --set KEY=VALUE"):
            formatter.write_dl(list(describe(TrainSettings)))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="curate-train", prog_name="train")
def cli() -> None:
    """Train a language model on the token shards that `curate` made.

    \b
    train run --data RUN --out MODEL --minutes 2     train, or continue
    train eval --checkpoint MODEL --data RUN         bits per byte, held out
    train eval --checkpoint MODEL --task FILE        scores of tasks
    train generate --checkpoint MODEL --prompt TEXT  a sample
    train score --checkpoint MODEL --data RUN        the same by document
    train plot MODEL MODEL --out FILE                runs side by side
    train export --checkpoint MODEL --out DIR        for Hugging Face
    train mixture rule --data RUN --file FILE        shares of the sources
    train scaling plan --data RUN --out DIR          a law of size and tokens
    train audit memorization …                       what it knows by heart
    train ablate RECIPE RECIPE …                     which data is better
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
@click.option("--init", type=FOLDER, metavar="DIR", help="A model whose weights the run starts from.")
@click.option("--size", metavar="NAME", help="Parameters: 1m, 5m (the default), 60m, 124m, 1b or any other.")
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
def run(data: Path, out: Path, mixture: Path | None, config_file: Path | None, init: Path | None, size: str | None,
        tokens: str | None, minutes: str | None, assignments: tuple[str, ...], take_over: bool,
        as_json: bool) -> None:  # fmt: skip
    """Train a model, or continue one.

    DIR takes the checkpoints, metrics.jsonl with a line a step, the tokenizer
    and train.yaml with every setting. A run that was stopped, by Ctrl-C or by
    a power cut, continues with the same command and with the same losses.

    \b
    train run --data out --out model --minutes 2
    train run --data out --out model --size 16m --tokens 20_000_000
    train run --data out --out model --set batch_rows=32 --set seed=7

    \b
    Several processes, or GPUs; parallel.* below says how they share the work:
    torchrun --nproc-per-node 4 -m train run --data out --out model
    """
    from train.config import load_settings

    settings = load_settings(config_file, assignments, size=size, tokens=tokens, minutes=minutes)
    from train.train import train

    result = train(data, out, settings, mixture, init, take_over=take_over)
    if not result:  # a process that torchrun started beside the first
        return
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


@cli.command("generate")
@click.option("--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint.")
@click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT", help="Beginning of the text; a new document without it."
)
@click.option("--samples", type=click.IntRange(min=1), default=1, metavar="N", help="Texts a prompt (1).")
@click.option("--tokens", metavar="N", help="At most so many new tokens (100).")
@click.option("--temperature", metavar="X", help="0 takes the likeliest token, 1 draws as trained (0.8).")
@click.option("--top-k", metavar="N", help="Only the N likeliest tokens; 0 for all (0).")
@click.option("--top-p", metavar="X", help="Only the likeliest tokens that together hold X (0.95).")
@click.option("--min-p", metavar="X", help="Only tokens at least X as likely as the likeliest (0).")
@click.option("--repetition-penalty", metavar="X", help="Above 1 avoids tokens that the text has (1).")
@click.option("--seed", metavar="N", help="Another number, another sample (1).")
@DEVICE
@THREADS
@AS_JSON
def generate_command(
    checkpoint: Path,
    prompts: tuple[str, ...],
    samples: int,
    device: str,
    threads: int,
    as_json: bool,
    **given: str | None,
) -> None:
    """Continue texts with a trained model.

    A sample depends on the prompt, the settings and the seed only. A single
    text is written as it comes; --prompt may be given many times.

    \b
    train generate --checkpoint model --prompt "A list is" --tokens 60
    train generate --checkpoint model --prompt A --prompt B --samples 4
    """
    from curate.config import assign, parse_assignment, validate
    from train.generate import Sampling, Writer

    values: dict[str, Any] = {}
    for key, value in given.items():
        if value is not None:
            assign(values, *parse_assignment(f"{key}={value}"))
    sampling, asked = validate(Sampling, values), [prompt for prompt in prompts or ("",) for _ in range(samples)]
    writer = Writer(checkpoint, device, threads)
    alone = len(asked) == 1 and not as_json
    if alone:
        console.flow(asked[0])
    results = writer.complete(asked, sampling, console.flow if alone else None)
    facts = {"step": writer.trained.facts["step"], "checkpoint": str(writer.trained.folder)}
    if alone:
        console.out()
    elif as_json:
        rows = [{**result, **facts} for result in results]
        console.out(json.dumps(rows[0] if len(rows) == 1 else rows))
    else:
        console.out("\n\n".join(result["prompt"] + result["text"] for result in results))


@cli.command("score")
@click.option("--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint.")
@click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run with tokens.")
@click.option("--out", required=True, type=OUT_FILE, metavar="FILE", help="Parquet file of the scores.")
@click.option("--heldout", is_flag=True, help="Score the held-out documents instead.")
@DEVICE
@THREADS
@AS_JSON
def score_command(
    checkpoint: Path, data: Path, out: Path, heldout: bool, device: str, threads: int, as_json: bool
) -> None:
    """Bits per byte of every document under a model, as Parquet.

    A row a document: doc_id, source, n_tokens, nats, bits_per_byte.

    \b
    train score --checkpoint model --data out --out scores.parquet
    """
    from train.evaluation.documents import score

    result = score(checkpoint, data, out, heldout, device, threads)
    words = f"scored {result['documents']:,} documents, {result['tokens']:,} tokens, into {out}"
    console.out(json.dumps(result) if as_json else words)


@cli.command("plot")
@click.argument("runs", nargs=-1, required=True, type=FOLDER, metavar="MODEL...")
@click.option("--out", required=True, type=OUT_FILE, metavar="FILE", help="HTML file.")
def plot_command(runs: tuple[Path, ...], out: Path) -> None:
    """Draw the metrics of runs side by side, as one HTML file.

    \b
    train plot model other-model --out curves.html
    """
    from train.plot import plot

    plot(runs, out)
    console.out(f"drew {console.plural(len(runs), 'run')} into {out}")


@cli.command("export")
@click.option("--checkpoint", required=True, type=FOLDER, metavar="DIR", help="Folder of a model or of one checkpoint.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the exported model.")
@click.option("--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="Of the weights (fp32).")
@AS_JSON
def export_command(checkpoint: Path, out: Path, dtype: str, as_json: bool) -> None:
    """Write a model in the form of Hugging Face that its shape has.

    These are llama, mistral, mixtral and gpt2; transformers loads them.

    \b
    train export --checkpoint model --out exported
    """
    from train.huggingface import export

    result = export(checkpoint, out, dtype)
    console.out(json.dumps(result) if as_json else f"wrote the {result['form']} model {out}")


@cli.command("import")
@click.option("--from", "folder", required=True, type=FOLDER, metavar="DIR", help="A model in a Hugging Face form.")
@click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the model.")
@AS_JSON
def import_command(folder: Path, out: Path, as_json: bool) -> None:
    """Make a model of one in the form llama, mistral, mixtral or gpt2.

    Go on with eval, generate, or run --init; weights must be safetensors.

    \b
    train import --from exported --out model
    """
    from train.huggingface import import_

    result = import_(folder, out)
    console.out(json.dumps(result) if as_json else f"read the {result['form']} model; it is in {result['checkpoint']}")


cli.add_command(evaluate_command)
cli.add_command(mixture)
cli.add_command(scaling)
cli.add_command(audit)
cli.add_command(ablate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; exit codes are listed above."""
    # Threads that spin while they wait for each other take the core that the other one needs as soon as anything
    # else runs: 1,000 to 1,700 tokens/s against 3,600 to 4,300 on two busy cores. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    raise SystemExit(console.guarded(cli, "train", arguments))
