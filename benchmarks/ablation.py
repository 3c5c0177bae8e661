"""Does curation pay: recipes over ../shared/data/crawl judged by the models they make, on held-out texts.

    ABLATION_SIZE=1m ABLATION_TOKENS=1_500_000 python -m benchmarks.ablation

All arms read the same crawl. Held out are English encyclopedia, book and news texts of ../shared/data/text, which no
arm was made from. A run of 1 M parameters takes some 5 minutes of a core; stopped, the same command goes on. Below
target/bench-ablation, ablation.html has the curves.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Report, run
from benchmarks.texts import SHARED, documents

ROOT = Path(__file__).resolve().parents[1]
SIZE = os.environ.get("ABLATION_SIZE", "1m")
TOKENS = os.environ.get("ABLATION_TOKENS", "1_500_000")
SEEDS = os.environ.get("ABLATION_SEEDS", "2")
HOME = ROOT / "target" / "bench-ablation"
OUT = HOME / f"{SIZE}-{TOKENS.replace('_', '')}"
HELDOUT = {"encyclopedia": "wiki", "book": "books_en", "news": "news_reuters"}
ARMS = {"raw": "ablation/raw.yaml", "default": "default.yaml", "fineweb": "ablation/fineweb.yaml"}
LETTERS = 400_000  # of each held-out text


def heldout() -> list[str]:
    """NAME=PATH of the held-out texts; the English ones of each file, a part of every document."""
    given = []
    for name, file in HELDOUT.items():
        path, room = HOME / f"{name}.jsonl", LETTERS
        given.append(f"{name}={path}")
        if path.exists():
            continue
        HOME.mkdir(parents=True, exist_ok=True)
        with path.open("w") as out:
            for _, language, text in documents("text", file):
                if language in ("", "en") and room > 0:
                    part = text[: 20_000 if name == "book" else 4_000]
                    room -= len(part)
                    out.write(json.dumps({"text": part}) + "\n")
    return given


def curation(report: Report) -> None:
    """Every arm against raw extraction."""
    arms = [f"{name}={ROOT / 'pipelines' / path}" for name, path in ARMS.items()]
    texts = [part for text in heldout() for part in ("--heldout", text)]
    asked = (
        "--tokens",
        TOKENS,
        "--size",
        SIZE,
        "--seeds",
        SEEDS,
        "--vocab-size",
        4096,
        "--heldout-tokens",
        60_000,
        "--points",
        2,
    )
    places = ("--input", f"web={SHARED / 'crawl'}", "--out", OUT, "--set", "threads=1", "--workers", 1, "--json")
    words = [sys.executable, "-m", "train", "ablate", *arms, *texts, *map(str, (*asked, *places))]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("stopped; the same command goes on")
    found = json.loads(done.stdout)
    lines = [[name, *(f"{by_arm[arm]['mean']:.4f}" for arm in ARMS)] for name, by_arm in found["bits_per_byte"].items()]
    what = f"{SIZE}, {int(TOKENS):,} tokens, {SEEDS} seeds"
    report.table(f"Bits per byte of held-out text, {what}", ["held out", *ARMS], lines)
    lines = []
    for one in found["differences"]:
        apart = one["difference"]
        interval = f"{apart['value']:+.4f} [{apart['low']:+.4f}, {apart['high']:+.4f}]"
        lines.append([one["heldout"], one["arm"], interval, " ".join(f"{x:+.4f}" for x in one["by_seed"])])
        if one["heldout"] == "all":
            note = f"{one['arm']} less raw, 95 %: {apart['low']:+.4f} to {apart['high']:+.4f}; {what}"
            report.row(f"{one['arm']}_less_raw", apart["value"], "bits", int(SEEDS), note=note)
    report.table("Less raw extraction, with 95 % intervals", ["held out", "arm", "difference", "by seed"], lines)
    for arm, rules in found["rules"].items():
        lines = [[row["rule"], f"{row['documents']:,}", f"{row['tokens']:,}"] for row in rules["removed"][:8]]
        report.table(f"What raw has and {arm} dropped", ["rule", "documents", "tokens"], lines)
    lines = [[name, f"{arm['tokens']:,}", f"{arm['epochs']:.2f}"] for name, arm in found["arms"].items()]
    report.table("Tokens of each arm", ["arm", "tokens", "passes"], lines)
    lines = [[one["heldout"], one["arm"], f"{100 * one['seen']['value']:.1f}"] for one in found["overlap"]]
    report.table("Stretches of 32 tokens that are in training, %", ["held out", "arm", "%"], lines)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run("ablation", [curation], ["torch", "numpy"])
