"""`train mixture rule | join | plan | run | fit | solve | doremi | anneal` as commands."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate import console
from train.options import AS_JSON, DEVICE, FOLDER, OUT, OUT_FILE, SET, THREADS

if TYPE_CHECKING:
    from curate.mixture import Mixture

DATA = click.option("--data", required=True, type=FOLDER, metavar="RUN", help="Folder of a curate run with tokens.")
STUDY = click.option("--out", required=True, type=OUT, metavar="DIR", help="Folder of the work.")
FILE = click.option("--file", required=True, type=OUT_FILE, metavar="FILE", help="The MIXTURE file to write.")
TOKENS = click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Tokens of the mixture; all there are.")
EPOCHS = click.option(
    "--max-epochs", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Passes over a source at most (4)."
)
WORTH = click.option(
    "--worth", type=float, metavar="X", help="The same, as what a token is still worth at the end: 0.82 is 4 epochs."
)
CAP = click.option(
    "--cap", "caps", multiple=True, metavar="SOURCE=X", help="Epochs of one source; * stands for any characters."
)
SIZE = click.option("--size", metavar="NAME", default="1m", help="Parameters of the models that are trained (1m).")


def _epochs(max_epochs: float | None, worth: float | None) -> float:
    """The cap that the two options give."""
    from curate.errors import ConfigError
    from train.mixing.caps import epochs_worth

    if max_epochs is not None and worth is not None:
        raise ConfigError("--max-epochs and --worth say the same thing in two ways; give one")
    return epochs_worth(worth) if worth is not None else max_epochs or 4.0


def _show(mixture: "Mixture", file: Path, as_json: bool) -> None:
    if as_json:
        console.out(json.dumps(mixture.model_dump()))
        return
    phase, facts = mixture.phases[-1], mixture.evidence["sources"]
    rows = [
        [
            name[:30],
            f"{share:.4f}",
            f"{facts[name]['tokens']:,}",
            f"{facts[name]['epochs']:.3g}",
            f"{facts[name]['worth_tokens']:,}",
        ]
        for name, share in phase.weights.items()
    ]
    console.out(console.table(["source", "share", "tokens", "epochs", "worth new tokens"], rows))
    console.out(f"{phase.tokens:,} tokens; the mixture is in {file}")


@click.group("mixture")
def mixture() -> None:
    """Find the share of each source, and write it as a MIXTURE file.

    \b
    train mixture rule --data out --file mix.yaml --temperature 2
    train mixture join mix.yaml better.yaml --file all.yaml
    train mixture doremi --data out --out robust       robust training
    train mixture plan | run | fit | solve             proxy regression
    train mixture anneal --data out --out judged --init model --source new
    """


@mixture.command()
@DATA
@FILE
@TOKENS
@click.option("--temperature", type=float, default=1.0, metavar="T", help="1: in proportion; larger: evener (1).")
@click.option(
    "--factor", "factors", multiple=True, metavar="SOURCE=X", help="Raises or lowers a source; * for any characters."
)
@click.option(
    "--preset",
    type=click.Choice(["fineweb-2"]),
    help="Factors by number of copies, of sources that `curate buckets` made.",
)
@EPOCHS
@WORTH
@CAP
@AS_JSON
def rule(
    data: Path,
    file: Path,
    tokens: int | None,
    temperature: float,
    factors: tuple[str, ...],
    preset: str | None,
    max_epochs: float | None,
    worth: float | None,
    caps: tuple[str, ...],
    as_json: bool,
) -> None:
    """Weights by tokens^(1 / T), times factors, within caps on epochs.

    Sources can be made of columns: topic, quality tier, number of copies
    (`curate buckets --source-name {source}-{by}-{bucket}`).

    \b
    train mixture rule --data out --file mix.yaml --factor "*-9=3"
    """
    from train.mixing.rules import rule as make

    made = make(data, file, tokens, temperature, factors, _epochs(max_epochs, worth), caps, preset)
    _show(made, file, as_json)


@mixture.command()
@click.argument("first", type=FOLDER, metavar="MAIN")
@click.argument("last", type=FOLDER, metavar="ANNEAL")
@FILE
@click.option("--share", type=float, default=0.1, metavar="X", help="Of the tokens, at the end (0.1).")
def join(first: Path, last: Path, file: Path, share: float) -> None:
    """End one mixture with another, to anneal on.

    Train with a rate that goes to zero over the last phase:

    \b
    train run --data out --out model --mixture FILE \\
      --set optim.schedule=wsd --set optim.final_fraction=0
    """
    from train.mixing.rules import join as make

    made = make(first, last, share, file)
    words = ", ".join(f"{phase.tokens:,} tokens of {phase.name}" for phase in made.phases)
    console.out(f"{words}; the mixture is in {file}")


@mixture.command()
@DATA
@STUDY
@click.option("--proxies", type=click.IntRange(min=2), default=64, metavar="N", help="Models to train (64).")
@click.option("--tokens", required=True, type=click.IntRange(min=1), metavar="N", help="Tokens of each.")
@click.option("--strength", default="0.3,5", metavar="A,B", help="Of the draws: small strays far (0.3,5).")
@click.option("--seed", type=click.IntRange(min=0), default=1, metavar="N", help="Of the draws (1).")
@SIZE
@EPOCHS
@WORTH
@CAP
@SET
@AS_JSON
def plan(
    data: Path,
    out: Path,
    proxies: int,
    tokens: int,
    strength: str,
    seed: int,
    size: str,
    max_epochs: float | None,
    worth: float | None,
    caps: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw the mixtures of a regression; nothing is trained."""
    from curate.errors import ConfigError
    from train.config import load_settings
    from train.mixing.proxies import make_plan

    try:
        low, high = map(float, strength.split(","))
    except ValueError:
        raise ConfigError(f"--strength {strength}: expected two numbers, as 0.3,5") from None
    asked = load_settings(None, assignments, size=size)
    made = make_plan(data, out, proxies, tokens, asked, _epochs(max_epochs, worth), caps, (low, high), seed)
    words = f"{proxies:,} mixtures of {console.plural(len(made.prior), 'source')}, {proxies * tokens:,} tokens in all"
    console.out(json.dumps(made.model_dump()) if as_json else f"{words}; `train mixture run --out {out}` trains them")


@mixture.command()
@STUDY
@DEVICE
@THREADS
@AS_JSON
def run(out: Path, device: str, threads: int, as_json: bool) -> None:
    """Train and measure the proxies that are missing."""
    from curate.io.lock import FolderLock
    from train.mixing.proxies import run_proxies

    with FolderLock(out, "train mixture run"):
        done = run_proxies(out, device, threads)
    words = f"{done['measured']:,} of {done['proxies']:,} proxies measured, {done['measured_now']:,} now"
    console.out(json.dumps(done) if as_json else words)


@mixture.command()
@STUDY
@click.option("--weights", type=FOLDER, metavar="CSV", help="Mixtures of runs made elsewhere, a line each.")
@click.option("--losses", type=FOLDER, metavar="CSV", help="Their losses, a line each.")
@AS_JSON
def fit(out: Path, weights: Path | None, losses: Path | None, as_json: bool) -> None:
    """Fit held-out losses as a law of the weights; DIR takes law.json.

    The rank correlation is that of losses foretold for proxies left out.
    """
    from train.mixing.proxies import fit_table

    result = fit_table(out, weights, losses)
    if as_json:
        console.out(json.dumps(result))
        return
    rows = [
        [
            name[:30],
            f"{one['left_out_spearman']:.3f}",
            f"{one['left_out_error']:.4f}",
            f"{one['deviation_of_losses']:.4f}",
        ]
        for name, one in result["targets"].items()
    ]
    console.out(f"{result['proxies']} proxies, {len(result['sources'])} sources\n")
    console.out(console.table(["held-out source", "rank correlation", "error", "deviation of losses"], rows))


@mixture.command("solve")
@DATA
@STUDY
@FILE
@TOKENS
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Losses that count; all sources by default.")
@click.option("--closeness", type=float, default=0.05, metavar="X", help="Pull to the proportional mixture (0.05).")
@EPOCHS
@WORTH
@CAP
@AS_JSON
def solve_command(
    data: Path,
    out: Path,
    file: Path,
    tokens: int | None,
    targets: tuple[str, ...],
    closeness: float,
    max_epochs: float | None,
    worth: float | None,
    caps: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the mixture that the fitted law calls best, within caps."""
    from train.mixing.proxies import best_mixture

    made = best_mixture(data, out, file, tokens, targets, closeness, _epochs(max_epochs, worth), caps)
    _show(made, file, as_json)
    if not as_json:
        gain = made.evidence["gain"]
        span = f", 90 %: {gain['interval'][0]:+.4f} to {gain['interval'][1]:+.4f}" if gain["interval"] else ""
        console.out(f"mean loss foretold, less that of the proportional mixture: {gain['mean']:+.4f}{span}")


@mixture.command()
@DATA
@STUDY
@click.option("--reference", type=FOLDER, metavar="FILE", help="MIXTURE of the reference; in proportion without.")
@click.option("--eta", type=float, default=1.0, metavar="X", help="Step of the weights (1).")
@click.option("--smoothing", type=float, default=1e-3, metavar="X", help="Part that all sources share (0.001).")
@click.option("--steps-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens that each model is trained on.")
@SIZE
@TOKENS
@EPOCHS
@WORTH
@CAP
@SET
@AS_JSON
def doremi(
    data: Path,
    out: Path,
    reference: Path | None,
    eta: float,
    smoothing: float,
    steps_tokens: int | None,
    size: str,
    tokens: int | None,
    max_epochs: float | None,
    worth: float | None,
    caps: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Weights by robust training of a small model (DoReMi).

    A reference model is trained, then a proxy whose weights rise where it is
    worse than the reference. DIR/mixture.yaml has the mean weights,
    DIR/weights.jsonl those of every step. Several processes share the rows:

    \b
    torchrun --nproc-per-node 2 -m train mixture doremi ...
    """
    from train.config import load_settings
    from train.mixing.doremi import Robust
    from train.mixing.doremi import doremi as make
    from train.parallel import launch

    asked = load_settings(None, assignments, size=size, tokens=str(steps_tokens) if steps_tokens else None)
    made = make(data, out, asked, reference, Robust(eta, smoothing), tokens, _epochs(max_epochs, worth), caps)
    if launch.rank() == 0:
        _show(made, out / "mixture.yaml", as_json)


@mixture.command()
@DATA
@STUDY
@click.option("--init", required=True, type=FOLDER, metavar="DIR", help="The model that is annealed.")
@click.option("--source", required=True, metavar="NAME", help="The source that is judged.")
@click.option("--share", type=float, default=0.3, metavar="X", help="Of the source in its mixture (0.3).")
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Of each run; a tenth of what DIR has read.")
@click.option("--seeds", type=int, default=3, metavar="N", help="Pairs of runs (3).")
@click.option("--mixture", "base", type=FOLDER, metavar="FILE", help="The base; in proportion to tokens without.")
@EPOCHS
@WORTH
@SET
@AS_JSON
def anneal(
    data: Path,
    out: Path,
    init: Path,
    source: str,
    share: float,
    tokens: int | None,
    seeds: int,
    base: Path | None,
    max_epochs: float | None,
    worth: float | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Judge a source by annealing a model with and without it.

    The learning rate goes to zero; differences of held-out bits per byte are
    paired by seed. DIR takes anneal.json and mixture.yaml.
    """
    from curate.io.lock import FolderLock
    from train.config import load_settings
    from train.mixing.anneal import anneal as judge
    from train.mixing.anneal import text

    given = load_settings(None, assignments)
    epochs = _epochs(max_epochs, worth)
    with FolderLock(out, "train mixture anneal"):
        result = judge(data, out, init, source, share, tokens, seeds, base, epochs, given)
    console.out(json.dumps(result) if as_json else text(result))
