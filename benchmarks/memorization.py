"""The audit of memorization: one forced pass beside generation, and what an audit finds where copies were planted.

    python -m benchmarks.memorization extraction      # some seconds a span without a cache; no training
    python -m benchmarks.memorization planted         # trains two models of 1 M parameters, minutes each

`planted`: passages of ../shared/data/text of about 250 tokens, once to 32 times as they are, and with 16 near copies of
which a part of the words is exchanged; canaries at the beginning of some. The reference was trained on other passages.
Everything is made once, below target/bench-memorization.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Report, measure, run
from benchmarks.texts import documents
from train.audit.forced import Drawing, extracted, forced
from train.config import ModelSettings, Shape, resolve_model
from train.generate import Sampling, generate
from train.intervals import Estimate
from train.model import Model, build

HOME = Path(__file__).resolve().parents[1] / "target" / "bench-memorization"
PREFIX = SUFFIX = 50
END = 0
LETTERS = 900  # of a passage
COPIES = (1, 2, 4, 8, 16, 32)
EACH = 16  # passages of every kind
NEAR = {0.8: 0.0233, 0.5: 0.078}  # words exchanged so that 5-grams of words are alike by so much


def five_million() -> Model:
    """A model of 5 M parameters from its seed, sure enough of itself to repeat what it drew."""
    fields = resolve_model(ModelSettings(), "5m", 256).model_dump(exclude={"family"})
    model = build(Shape(vocab_size=8192, sequence_length=256, **fields), 1)
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    return model.eval()


def greedy(model: Model, prompts: list[list[int]], cached: bool = True) -> list[list[int]]:
    """What generation writes at temperature 0, all prompts in one batch."""
    texts: list[list[int]] = [[] for _ in prompts]
    for step in generate(model, prompts, END, Sampling(tokens=SUFFIX, temperature=0), cached):
        for row, token in step.items():
            texts[row].append(token)
    return texts


def spans_of(model: Model, count: int) -> np.ndarray:
    """Random prefixes, half of them with the suffix that the model writes."""
    prefixes = np.random.default_rng(1).integers(1, 8192, (count, PREFIX)).tolist()
    spans = []
    for number, (prefix, text) in enumerate(zip(prefixes, greedy(model, prefixes), strict=True)):
        suffix = (text + [1] * SUFFIX)[:SUFFIX]
        if number % 2:
            suffix[number % SUFFIX] = suffix[number % SUFFIX] % 8191 + 1
        spans.append(prefix + suffix)
    return np.array(spans)


def extraction(report: Report) -> None:
    """Spans a second: the forced pass beside generation in a batch, one by one, and without a cache; draws."""
    torch.set_num_threads(1)
    model = five_million()
    spans = spans_of(model, 32)
    mine = measure(lambda: forced(model, spans, END, SUFFIX), 3)
    found = mine.result.correct.all(axis=1)

    def generated(rows: np.ndarray, at_once: int, cached: bool) -> list[bool]:
        prompts = rows[:, :PREFIX].tolist()
        texts = [t for n in range(0, len(rows), at_once) for t in greedy(model, prompts[n : n + at_once], cached)]
        return [text == span for text, span in zip(texts, rows[:, PREFIX:].tolist(), strict=True)]

    ways = (("in a batch of 32", 32, 32, True), ("one by one", 8, 1, True), ("without a cache", 2, 1, False))
    for name, count, at_once, cached in ways:
        theirs = measure(lambda c=count, a=at_once, k=cached: generated(spans[:c], a, k), 2)
        assert theirs.result == found[:count].tolist()
        note = f"5 M parameters, fp32, one thread; {sum(theirs.result)} of {count} extracted by both"
        report.row(f"greedy_{name.replace(' ', '_')}", 32 / mine.cpu, "spans/s", 3, f"generation {name}",
                   count / theirs.cpu, note)  # fmt: skip
    drawn = measure(lambda: forced(model, spans, END, SUFFIX, Drawing(1.0, 40)), 3)
    draws = 10

    def sample() -> int:
        prompts = [prompt for prompt in spans[:4, :PREFIX].tolist() for _ in range(draws)]
        sampling = Sampling(tokens=SUFFIX, temperature=1.0, top_k=40, top_p=1.0)
        return sum(len(step) for step in generate(model, prompts, END, sampling))

    theirs = measure(sample, 1)
    chances = extracted(drawn.result.drawn, 100)
    note = f"100 draws of a span in batches of 40; mean chance {chances.mean():.3f}, and no noise of sampling"
    report.row("drawn_100", 32 / drawn.cpu, "spans/s", 3, "100 drawn continuations", 4 / (theirs.cpu * 10), note)


# -- copies and canaries that were planted ---------------------------------------------------------------------------


def passages() -> list[str]:
    """English passages, each from another place."""
    found = []
    for name, language, text in documents("text"):
        if name in ("books_en", "wiki", "docs_peps") and language in ("", "en"):
            found += [text[at : at + LETTERS] for at in range(2000, len(text) - LETTERS, 3 * LETTERS)]
    random.Random(1).shuffle(found)
    return found


def exchanged(text: str, share: float, rng: random.Random) -> str:
    """A near copy: a share of the words is another word of the text."""
    words = text.split(" ")
    return " ".join(rng.choice(words) if rng.random() < share else word for word in words)


def inputs() -> None:
    """inside.jsonl, outside.jsonl (held out) and other.jsonl (the reference's)."""
    if (HOME / "other.jsonl").exists():
        return
    rng, texts = random.Random(2), iter(passages())
    inside = [text for copies in COPIES for _ in range(EACH) for text in [next(texts)] * copies]
    for share in NEAR.values():
        for _ in range(EACH):
            base = next(texts)
            inside += [base, *(exchanged(base, share, rng) for _ in range(15))]
    rng.shuffle(inside)
    outside, other = [next(texts) for _ in range(300)], [next(texts) for _ in range(len(inside))]
    HOME.mkdir(parents=True, exist_ok=True)
    for name, rows in (("inside", inside), ("outside", outside), ("other", other)):
        (HOME / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))


def command(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} ended with {done.returncode}")
    return done.stdout


def recipe(name: str, sources: dict[str, str], steps: list[Any]) -> Path:
    """Run a recipe over files of HOME; the run's folder."""
    given = [{"path": str(HOME / file), "source": source} for source, file in sources.items()]
    (HOME / f"{name}.yaml").write_text(json.dumps({"version": 1, "guard": "off", "inputs": given, "steps": steps}))
    command("curate", "run", HOME / f"{name}.yaml", "--out", HOME / name, "--workers", 1)
    return HOME / name


def audited() -> Any:
    """The audit of a model of 1 M parameters trained on what was planted."""
    inputs()
    aside = {"holdout": {"share": 1.0, "only": {"source": ["unseen"]}}}
    steps = [aside, {"train_tokenizer": {"vocab_size": 2048}}, "tokenize"]
    data = recipe("inside", {"seen": "inside.jsonl", "unseen": "outside.jsonl"}, steps)
    other = recipe("other", {"seen": "other.jsonl"}, [{"tokenize": {"tokenizer": str(data / "tokenizer.json")}}])
    planted = HOME / "planted"
    if not planted.exists():
        command("train", "audit", "plant", "--data", data, "--out", planted)
    compared = HOME / "compared"
    ways = ("--bands", 28, "--rows", 4, "--min-jaccard", 0.3, "--pairs", "--guard", "off")
    command("curate", "near-dedup", data, "--out", compared, *ways, "--workers", 1)
    for name, folder in (("model", planted), ("reference", other)):
        command("train", "run", "--data", folder, "--out", HOME / name, "--size", "1m", "--set", "threads=1")
    models = ("--checkpoint", HOME / "model", "--reference", HOME / "reference")
    sizes = [p for one in ("spans=800", "prefix=32", "suffix=32", "prefixes=[8, 32, 64]") for p in ("--set", one)]
    where = ("--data", planted, "--copies", compared, "--out", HOME / "audit", "--threads", 1)
    return json.loads(command("train", "audit", "memorization", *models, *where, *sizes, "--json"))


def planted(report: Report) -> None:
    """Rates by exact copies and by near-duplicate mass, exposure by repeats, attacks."""
    found = audited()
    for name in ("n_copies", "mass", "occurrences"):
        lines = [
            [f"{one['least']:.3g} to {one['most']:.3g}", f"{one['extracted']['n']:,}",
             *(shown(one[key], 100) for key in ("extracted", "right", "reference"))]
            for one in found["groups"][name]
        ]  # fmt: skip
        report.table(f"By {name}", ["from, to", "spans", "by heart, %", "tokens right, %", "reference, %"], lines)
    lines = [[f"{one['prefix']}", shown(one["extracted"], 100), shown(one["reference"], 100)] for one in found["sweep"]]
    report.table("By length of the prefix", ["tokens", "by heart, %", "reference, %"], lines)
    lines = [[f"{one['repeats']:g}", shown(one["exposure"], 1)] for one in found["canaries"]["levels"]]
    report.table("Exposure of canaries, bits of 1,024 candidates", ["planted", "exposure"], lines)
    lines = [
        [name, shown(one["auc"], 1), shown(one["tpr_at_1_percent"], 100)] for name, one in found["membership"].items()
    ]
    report.table("Training or held out", ["attack", "AUC", "true positives at 1 % false, %"], lines)
    rise, slope = found["canaries"]["bits_a_doubling"], found["slopes"]["n_copies"]
    report.row("exposure_a_doubling", rise["value"], "bits", 1, note=f"95 %: {rise['low']:.2f} to {rise['high']:.2f}")
    note = f"95 %: {100 * slope['low']:.2f} to {100 * slope['high']:.2f}; each doubling of copies adds to the rate"
    report.row("rate_a_doubling", 100 * slope["value"], "points", 1, note=note)


def shown(found: Any, factor: float) -> str:
    """A value with its interval."""
    if found is None or found["value"] is None:
        return "-"
    value, low, high = (found[key] for key in ("value", "low", "high"))
    estimate = Estimate(*(factor * x if x is not None else float("nan") for x in (value, low, high)), found["n"])
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run("memorization", [extraction, planted], ["torch", "numpy"])
