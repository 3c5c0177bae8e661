"""`make demo`: record a crawl, curate it, train a model on it, evaluate it, and say what happened.

Every step is a command that a user could type, and is printed before it runs. What is done already is not done
again: a second `make demo` ends in seconds.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from curate import console
from curate.run.machine import available_cores


def main() -> int:
    """The command line; returns the exit code of the step that failed, 130 after Ctrl-C, else 0."""
    parser = argparse.ArgumentParser(description="From a crawl to a trained, evaluated model, in minutes.")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything it makes")
    parser.add_argument("--workers", type=int, default=available_cores(), help="worker processes")
    parser.add_argument("--input", help="your own crawl (WARC files) instead of this machine's documentation")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to train")
    arguments = parser.parse_args()
    try:
        demo(arguments.out, arguments.workers, arguments.input, arguments.minutes)
    except subprocess.CalledProcessError as error:
        print(f"\nmake demo stopped: this command ended with exit code {error.returncode}:\n  {shown(error.cmd)}")
        return int(error.returncode) or 1
    except KeyboardInterrupt:
        print("\nstopped; make demo continues")
        return 130
    return 0


def demo(out: Path, workers: int, given: str | None, minutes: float) -> None:
    """All steps. `out` gets crawl/, run/ (curated data) and model/; for the user's own crawl, own/ and own-model/."""
    crawl, run, model = out / "crawl", out / ("own" if given else "run"), out / ("own-model" if given else "model")
    seconds: dict[str, float] = {}
    skipped: list[str] = []
    inputs = ["--input", f"web={given}"] if given else []
    if not given:
        step("record a crawl", seconds, [sys.executable, "pipelines/demo_crawl.py", "--out", str(crawl)])
        skipped = json.loads((crawl / "summary.json").read_bytes())["skipped"]
        if skipped:  # without Rust documentation: the recipe's inputs are replaced by the Python ones
            inputs = ["--input", "python_docs=$DEMO_CRAWL/python-*.warc.gz", "--input", "python_code=$PYTHON_STDLIB"]
    # The recipe names its inputs by these two variables.
    os.environ |= {"DEMO_CRAWL": str(crawl), "PYTHON_STDLIB": sysconfig.get_paths()["stdlib"]}
    curate, train = [sys.executable, "-m", "curate"], [sys.executable, "-m", "train"]
    options = ["--out", str(run), "--workers", str(workers), "--update"]
    told = step("curate", seconds, [*curate, "run", "pipelines/demo.yaml", *inputs, *options], show=False)
    forget_model_of_other_tokens(run, model)
    data = ["--data", str(run)]
    step("train", seconds, [*train, "run", *data, "--out", str(model), "--size", "5m", "--minutes", str(minutes)])
    checkpoint = ["--checkpoint", str(model)]
    step("evaluate", seconds, [*train, "eval", *data, *checkpoint], show=False)
    prompt = "The standard library" if not given else "The"
    sample = step(
        "generate", seconds, [*train, "generate", *checkpoint, "--prompt", prompt, "--tokens", "80"], show=False
    )
    summarize(run, model, seconds, told, sample, skipped)


def forget_model_of_other_tokens(run: Path, model: Path) -> None:
    """Remove the model where it was trained on other tokens than the run has now: training would refuse to continue.

    <model>.tokens, beside the model, holds the SHA-256 of the manifest of the tokens that it was trained on.
    """
    marker = model.with_name(f"{model.name}.tokens")
    tokens_now = hashlib.sha256((run / "tokens/manifest.json").read_bytes()).hexdigest()
    if model.exists() and (not marker.exists() or marker.read_text() != tokens_now):
        shutil.rmtree(model)
    marker.write_text(tokens_now)


def step(name: str, seconds: dict[str, float], command: list[str], *, show: bool = True) -> str:
    """Print and run one command, and note its seconds; returns what it wrote to stdout, printed too with `show`.

    Raises CalledProcessError where it fails.
    """
    print(f"\n== {name}\n$ {shown(command)}", flush=True)
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    seconds[name] = time.monotonic() - start
    if show or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def shown(command: list[str]) -> str:
    """The command as a user would type it."""
    words = [word if word != sys.executable else "python" for word in command]
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    return " ".join(words)


def summarize(run: Path, model: Path, seconds: dict[str, float], told: str, sample: str, skipped: list[str]) -> None:
    """The results in one screen. `told` is what `curate run` printed, the funnel; `skipped` what the crawl left out."""
    print("\n== summary")
    for line in skipped:
        print(f"left out: {line}")
    print(told.rstrip())
    kept = tokens(run)
    print(f"\n{kept['documents']:,} documents became {kept['tokens']:,} tokens for training")
    print(f"\nbits per byte on held-out text; lower is better\n{score_table(model)}\n")
    print(f"a sample:\n{console.wrap(sample.strip())}\n")
    print(console.table(["step", "seconds"], [[name, f"{value:.0f}"] for name, value in seconds.items()]))
    print(f"\ndocuments   {run}/documents/*.parquet")
    print(f"rejects     {run}/rejects/*.parquet")
    print(f"tokens      {run}/tokens/*/*.arrow")
    print(f"model       {model}")
    print("\nAsk why a document was dropped: curate why URL --out " + str(run))


def score_table(model: Path) -> str:
    """Bits per byte of the model and its baselines on held-out text, a row a source; lower is better."""
    sources = json.loads((model / "eval.json").read_bytes())["sources"]
    columns = list(next(iter(sources.values()))["bits_per_byte"])
    rows = []
    for name, entry in sources.items():
        bits, errors = entry["bits_per_byte"], entry["standard_error"]
        cells = [f"{bits[c]:.3f}" + (f" ±{errors[c]:.3f}" if errors[c] is not None else "") for c in columns]
        rows.append([name, *cells])
    return console.table(["source", *columns], rows)


def tokens(run: Path) -> dict[str, Any]:
    """Documents and tokens of the run over all sources."""
    sources = json.loads((run / "tokens/manifest.json").read_bytes())["sources"].values()
    return {key: sum(source[key] for source in sources) for key in ("documents", "tokens")}


if __name__ == "__main__":
    raise SystemExit(main())
