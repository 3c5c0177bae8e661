"""Recipes to tokens: every step is a `curate` command that a person could type, and goes on where it was stopped."""

import shlex
import subprocess
import sys
from pathlib import Path

from curate import console
from curate.errors import ConfigError, CurateError
from train.ablation.plan import Plan
from train.shards import Shards, open_shards


def curate(*arguments: object) -> None:
    """Run a command, its messages shown. Raises CurateError where it fails."""
    words = [str(one) for one in arguments]
    console.err(f"curate {shlex.join(words)}")
    code = subprocess.run([sys.executable, "-m", "curate", *words], stdout=subprocess.DEVNULL).returncode
    if code:
        failed = CurateError(f"curate {shlex.join(words)}\nended with exit code {code}; its message is above")
        failed.exit_code = 130 if code in (130, -2) else code if code in (1, 2, 3) else 1
        raise failed


def make_data(plan: Plan) -> None:
    """Run all recipes, train the tokenizer where none is given, and encode documents and held-out texts."""
    workers = ("--workers", plan.workers) if plan.workers else ()
    inputs = [part for text in plan.inputs for part in ("--input", text)]
    for arm in plan.arms:
        curate("run", arm.recipe, "--out", plan.data(arm.name), *inputs, *workers)
    tokenizer = plan.tokenizer
    if tokenizer is None:
        tokenizer = plan.out / "tokenizer" / "tokenizer.json"
        if not tokenizer.exists():
            first = plan.data(plan.arms[0].name)
            curate(
                "train-tokenizer", first, "--vocab-size", plan.settings.vocab_size, "--out", tokenizer.parent, *workers
            )
    for arm in plan.arms:
        curate("tokenize", plan.data(arm.name), "--tokenizer", tokenizer, "--out", plan.tokens(arm.name), *workers)
    for name, path in plan.heldout.items():
        out = plan.out / "heldout" / name
        curate("tokenize", path, "--source", name, "--tokenizer", tokenizer, "--out", out, *workers)


def opened(folder: Path) -> Shards:
    """Shards of a folder that hold documents. Raises ConfigError where they hold none."""
    shards = open_shards(folder / "tokens")
    if not sum(source.documents for source in shards.sources.values()):
        raise ConfigError(f"{folder}: there are no documents; every one was dropped, or the path is wrong")
    return shards


def check_budget(plan: Plan) -> dict[str, int]:
    """Tokens of every arm. Raises ConfigError, before anything is trained, naming each that is too small."""
    have = {}
    for arm in plan.arms:
        sources = opened(plan.tokens(arm.name)).manifest.sources
        have[arm.name] = sum(counts["tokens"] for counts in sources.values())
    wanted, epochs = plan.training.tokens, plan.training.max_epochs
    short = [f"  {name}: {n:,} tokens, {n * epochs:,.0f} in {epochs:g} passes" for name, n in have.items()]
    least = min(have.values())
    if least * epochs < wanted:
        listing = "\n".join(short)
        raise ConfigError(
            f"{wanted:,} tokens are asked of every arm, and not all have them:\n{listing}\n"
            f"Give --tokens {int(least * epochs):,} or fewer, more inputs, or --set max_epochs={wanted / least:.3g}."
        )
    return have
