"""The trainer beside nanoGPT's and nanochat's own code: speed, start, loss, data, the CPU job, learning at equal time.

    python -m benchmarks.trainer loss order loader     # seconds to a minute each, no peer's code
    NANOGPT=… NANOCHAT=… python -m benchmarks.trainer speed
    TRAINER_SECONDS=180 python -m benchmarks.trainer learning     # 2 hours of a core at 180; 20 by default
    TRAINER_STEPS=293 python -m benchmarks.trainer muon     # and an hour of a core at 293; 60 by default

`trainer_systems.py` says how the peers are run. Each is measured in turns with ours, in processes of their own, one
thread. The corpus is ../shared/data/text, 8 domains, cleaned by nothing, tokenized by curate with 8,192 tokens, 5 % of
its documents held out; it is made once, below target/bench-trainer.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import Report, measure, run
from benchmarks.kneser_ney import KneserNey, grams
from benchmarks.texts import SHARED
from benchmarks.trainer_systems import LENGTH, ROWS
from train.config import read_settings
from train.intervals import mean
from train.loader import Loader
from train.loss import linear_cross_entropy
from train.machine import fast_bf16
from train.order import Phase, RowOrder
from train.packing import pack, read_batch
from train.shards import open_shards
from train.train import setup

HOME = Path(__file__).resolve().parents[1] / "target" / "bench-trainer"
SECONDS = float(os.environ.get("TRAINER_SECONDS", "20"))  # CPU time of a training run of `learning`
STEPS = int(os.environ.get("TRAINER_STEPS", "60"))  # steps of AdamW in `muon`; the CPU job takes 293
ROUNDS = int(os.environ.get("TRAINER_ROUNDS", "2"))  # processes of each system in `speed`
EAGER = "; nothing compiled (TORCHDYNAMO_DISABLE)" if os.environ.get("TORCHDYNAMO_DISABLE") else ""
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times each project's own learning rates
VARIANT_TOKENS = 400_000
VARIANTS = {
    "dense": (),
    "mixture of experts": ("model.experts=4",),
    "GPT-2": ("model.family=gpt2",),
    "masked diffusion": ("objective=masked_diffusion",),
}
PEERS = [name for name in ("nanogpt", "nanochat") if name.upper() in os.environ]


def corpus() -> Path:
    """A curate run over the texts, with held-out documents; made where it is not there."""
    out = HOME / "run"
    if not (out / "heldout" / "tokens" / "manifest.json").exists():
        HOME.mkdir(parents=True, exist_ok=True)
        inputs = [
            f"  - {{path: {path}, source: {path.name.partition('.')[0]}}}"
            for path in sorted((SHARED / "text").glob("*.jsonl.zst"))
        ]
        steps = "steps: [{holdout: {share: 0.05}}, {train_tokenizer: {vocab_size: 8192}}, tokenize]\n"
        (HOME / "recipe.yaml").write_text("\n".join(["version: 1", "inputs:", *inputs, steps]))
        command = ["curate", "run", str(HOME / "recipe.yaml"), "--out", str(out), "--workers", "1"]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return out


def system(*arguments: object) -> dict[str, float]:
    """What a process of `trainer_systems` prints."""
    command = [sys.executable, "-m", "benchmarks.trainer_systems", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(*arguments, done.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return result


def kept(*arguments: object) -> dict[str, float]:
    """As `system`; a benchmark that was stopped goes on, by systems.jsonl; remove that file to measure anew."""
    path, key = HOME / "systems.jsonl", " ".join(map(str, arguments))
    lines = path.read_text().splitlines() if path.exists() else []
    for line in map(json.loads, lines):
        if line["of"] == key:
            known: dict[str, float] = line["result"]
            return known
    result = system(*arguments)
    with path.open("a") as file:
        file.write(json.dumps({"of": key, "result": result}) + "\n")
    return result


# -- the parts -------------------------------------------------------------------------------------------------


def loss(report: Report) -> None:
    """Chunked linear cross-entropy beside linear and cross_entropy over all logits, forward and backward."""
    torch.set_num_threads(1)
    for vocab_size in (4096, 16384):
        x = torch.randn(4096, 256, requires_grad=True)
        weight = (torch.randn(vocab_size, 256) * 0.05).requires_grad_()
        target = torch.randint(0, vocab_size, (4096,))

        def ours(x: Any = x, weight: Any = weight, target: Any = target) -> tuple[float, Any]:
            total = linear_cross_entropy(x, weight, target)[0] / 4096
            return total.item(), torch.autograd.grad(total, (x, weight))

        def plain(x: Any = x, weight: Any = weight, target: Any = target) -> tuple[float, Any]:
            total = F.cross_entropy(x @ weight.T, target)
            return total.item(), torch.autograd.grad(total, (x, weight))

        mine, theirs = measure(ours), measure(plain)
        (a, grads), (b, wanted) = mine.result, theirs.result
        assert abs(a - b) <= 1e-6 * b, (a, b)
        apart = max((p - q).abs().max().item() for p, q in zip(grads, wanted, strict=True))
        note = f"4,096 x 256, fp32; loss equal to {abs(a - b) / b:.0e}, gradients to {apart:.0e}; logits 1/16 of memory"
        report.row(f"loss_{vocab_size}", mine.cpu, "s", mine.rounds, "cross_entropy of all logits", theirs.cpu, note)


def order(report: Report) -> None:
    """Rows a second of the order, from a cold start far into a run."""
    rows = {f"source{n}": 1_000_000 + n for n in range(8)}
    phases = [Phase("main", 10**9, {name: 1 / 8 for name in rows}, {})]

    def cold() -> None:
        RowOrder(1, rows, phases).take(987_654_321, 987_654_321 + 50_000)

    taken = measure(cold)
    report.row("order_rows", 50_000 / taken.cpu, "rows/s", taken.rounds, note="8 sources, from row 987,654,321")


def loader(report: Report) -> None:
    """Tokens a second of order and reading together, as training gets them."""
    shards = open_shards(corpus() / "tokens")
    sources = [source for source in shards.sources.values() if source.documents]
    weights = {source.name: 1.0 for source in sources}
    for length in (256, 1024, 2048):
        packed = [pack(source, length, shards.manifest.end_of_document) for source in sources]
        batch_rows, steps = 16, (1 << 24) // (16 * length)
        phases = [Phase("main", batch_rows * steps * 3, weights, {})]
        plan = RowOrder(1, {one.source.name: one.rows for one in packed}, phases)

        def read(packed: Any = packed, plan: Any = plan, steps: int = steps) -> None:
            with Loader(packed, plan, shards.manifest, 16, range(steps, 2 * steps)) as opened:
                for step in range(steps, 2 * steps):
                    opened.read(step)

        taken = measure(read, 3)
        note = f"{len(sources)} sources, 16 rows a step, from step {steps:,} on; CPU time of both threads"
        report.row(f"loader_{length}", batch_rows * steps * length / taken.cpu, "tokens/s", taken.rounds, note=note)


# -- beside the peers ------------------------------------------------------------------------------------------


def speed(report: Report) -> None:
    """Tokens a CPU second of a step, and the time to the first one, in turns; the best process of ROUNDS."""
    # A CPU without bf16 products emulates them: a step then takes minutes, in every project, and is measured once.
    fast = fast_bf16(torch.device("cpu"))
    dtypes = ("fp32", "bf16") if fast else ("fp32",)
    mine = [(name, dtype) for name in ("ours", "ours-adamw") for dtype in dtypes]
    others = [(peer, dtype) for peer in PEERS for dtype in ("fp32", "bf16")]
    best: dict[tuple[str, str], dict[str, float]] = {}
    for turn in range(ROUNDS):
        for kind in mine + others:
            emulated = kind[1] == "bf16" and not fast
            if emulated and turn:
                continue
            found = system("speed", kind[0], "--dtype", kind[1], "--steps", 1 if emulated else 4)
            before = best.get(kind, found)
            rate = max(before["tokens_per_second"], found["tokens_per_second"])
            first = min(before["first_step"], found["first_step"])
            best[kind] = {**found, "tokens_per_second": rate, "first_step": first}
    for name, dtype in mine:
        one = best[name, dtype]
        note = f"{dtype}, {one['parameters'] / 1e6:.1f} M parameters, vocabulary 4,096"
        report.row(f"step_{name}_{dtype}", one["tokens_per_second"], "tokens/s", ROUNDS, note=note)
        report.row(f"first_step_{name}_{dtype}", one["first_step"], "s", ROUNDS, note="from the start of the process")
    ours = max((best["ours", dtype] for dtype in dtypes), key=lambda one: one["tokens_per_second"])
    for peer, dtype in others:
        other, rate = best[peer, dtype], ours["tokens_per_second"]
        note = f"ours in its faster dtype; {peer} in {dtype}, {other['parameters'] / 1e6:.1f} M parameters{EAGER}"
        report.row(f"step_vs_{peer}_{dtype}", rate, "tokens/s", ROUNDS, peer, other["tokens_per_second"], note)
        report.row(
            f"first_step_vs_{peer}_{dtype}",
            ours["first_step"],
            "s",
            ROUNDS,
            peer,
            other["first_step"],
            EAGER.lstrip("; "),
        )


def job(report: Report) -> None:
    """`train run`, `train eval` and `train generate` with 1.2 M tokens and all cores, wall-clock."""
    data, out = corpus(), HOME / "job"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    train = [sys.executable, "-m", "train"]
    commands = [
        [*train, "run", "--data", str(data), "--out", str(out), "--size", "5m", "--tokens", "1_200_000", "--json"],
        [*train, "eval", "--data", str(data), "--checkpoint", str(out), "--tokens", "20_000", "--json"],
        [*train, "generate", "--checkpoint", str(out), "--prompt", "The", "--tokens", "60"],
    ]
    begin, results = time.perf_counter(), []
    for command in commands:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stderr=subprocess.DEVNULL)
        results.append(done.stdout)
    seconds = time.perf_counter() - begin
    bits = json.loads(results[1])["sources"]["all"]["bits_per_byte"]
    note = (
        f"1.2 M tokens; {bits['model']:.3f} bits a byte, unigram {bits['unigram']:.3f}; load {os.getloadavg()[0]:.1f}"
    )
    report.row("cpu_job", seconds, "s", 1, note=note)


def ngrams(report: Report) -> None:
    """The model of the CPU job beside a 5-gram Kneser-Ney model of the same rows, on the same held-out documents."""
    data, out = corpus(), HOME / "job"
    settings = read_settings(out)
    if settings is None:
        raise SystemExit("this compares the model of the group `job`: run that first")
    trained = setup(data, out, settings, None, None)
    stage = trained.stages[0]
    with Loader(stage.packed, stage.order, trained.shards.manifest, 16, range(trained.steps)) as opened:
        batches = [opened.read(step).batch for step in range(trained.steps)]
    end = trained.shards.manifest.end_of_document
    model = KneserNey(grams(_pieces(batches), end), trained.shards.manifest.vocab_size)
    heldout, found = open_shards(data / "heldout" / "tokens"), json.loads((out / "eval.json").read_text())["sources"]
    nats = 0.0
    for name, source in heldout.sources.items():
        packed = pack(source, settings.sequence_length, end, documents=found[name]["documents"])
        rows = np.arange(packed.rows)
        batch = read_batch([packed], np.zeros_like(rows), rows, heldout.manifest)
        nats += model.nats(grams(_pieces([batch]), end))
    bits = nats / math.log(2) / found["all"]["text_bytes"]
    report.row("bits_per_byte", found["all"]["bits_per_byte"]["model"], "bits", 1, "Kneser-Ney, 5-gram", bits)


def _pieces(batches: list[Any]) -> list[Any]:
    """Every document's piece of every row: the token before it, then its targets."""
    found = []
    for batch in batches:
        for inputs, targets, documents in zip(*batch, strict=True):
            for number in range(documents[targets >= 0].max() + 1):
                here = documents == number
                found.append(np.concatenate((inputs[here][:1], targets[here])))
    return found


def variants(report: Report) -> None:
    """The loss of small models of every kind as they train on 8 domains: that each of them learns."""
    data, lines = corpus(), []
    for name, given in VARIANTS.items():
        out = HOME / f"variant-{name.replace(' ', '-')}"
        subprocess.run(["rm", "-rf", str(out)], check=True)
        sets = [part for one in (*given, "batch_rows=16", "threads=1") for part in ("--set", one)]
        command = [sys.executable, "-m", "train", "run", "--data", str(data), "--out", str(out), "--size", "1m"]
        subprocess.run(
            [*command, "--tokens", str(VARIANT_TOKENS), "--json", *sets], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        tenths = np.array_split(np.array(losses), 10)
        lines.append([name, f"{losses[0]:.2f}", *(f"{part.mean():.2f}" for part in tenths)])
    header = ["model", "first step", *(f"tenth {n}" for n in range(1, 11))]
    title = f"Mean loss, nats a token, by tenths of {VARIANT_TOKENS:,} tokens (of diffusion a bound)"
    report.table(title, header, lines)


class Learned(NamedTuple):
    """What systems learn in SECONDS of CPU time: held-out bits per byte at each of RATES, by name."""

    tokens: dict[str, float]  # a CPU second
    steps: dict[str, int]
    tried: list[dict[str, float]]

    def best(self, name: str) -> float:
        """Of RATES."""
        return min(zip(RATES, self.tried, strict=True), key=lambda one: one[1][name])[0]


def learned(name: str, steps: int, rate: float, seed: int = 1) -> float:
    """Held-out bits per byte of one run."""
    given = ("learn", name, "--data", corpus(), "--steps", steps, "--rate", rate, "--seed", seed)
    return kept(*given)["bits_per_byte"]


def tried(names: tuple[str, ...]) -> Learned:
    """How many steps SECONDS are, the fastest step of each system says, measured in turns; systems then train in turns,
    so that what else the machine does changes no result."""
    timed = [{name: kept("speed", name, "--vocab-size", 8192, "--steps", n) for name in names} for n in (4, 5)]
    tokens = {name: max(one[name]["tokens_per_second"] for one in timed) for name in names}
    steps = {name: round(SECONDS * rate / (ROWS * LENGTH)) for name, rate in tokens.items()}
    return Learned(tokens, steps, [{name: learned(name, steps[name], rate) for name in names} for rate in RATES])


def learning(report: Report) -> None:
    """Held-out bits per byte after equal CPU time: at the projects' own rates, and at the best of five."""
    names = ("ours", "ours-adamw", *PEERS)
    found = tried(names)
    again = [{name: learned(name, found.steps[name], found.best(name), seed) for name in names} for seed in (2, 3, 4)]
    lines = []
    for name in names:
        ends = _interval([one[name] for one in again])
        behind = _interval([one[name] - one["ours"] for one in again], "+")
        own = found.tried[RATES.index(1.0)][name]
        lines.append([name, f"{found.tokens[name]:,.0f}", f"{found.steps[name]:,}", f"{own:.4f}",
                      f"{found.best(name):g} x", ends, behind])  # fmt: skip
    header = ["system", "tokens/s", "steps", "own rate", "best of five rates", "at the best, seeds 2 to 4", "less ours"]
    title = f"Bits per byte of held-out text after {SECONDS:g} CPU seconds each, fp32, one thread"
    report.table(title, header, lines)


def _interval(values: list[float], sign: str = "-") -> str:
    """The mean of independent runs, with half of its 95 % interval; sign "+" is shown before positive means, too."""
    found = mean(np.array(values), np.arange(len(values)))
    return f"{found.value:{sign}.4f} ± {found.high - found.value:.4f}"


def muon(report: Report) -> None:
    """Steps that Muon takes to the held-out bits per byte at which AdamW ends, each at its best rate in `learning`.

    Muon's steps are looked for by fifths of AdamW's, from .8 down to the first share that does not reach them, or up to
    all where .8 does not.
    """
    shorter = tried(("ours", "ours-adamw"))
    adamw, found = learned("ours-adamw", STEPS, shorter.best("ours-adamw")), dict[float, float]()
    share = 0.8
    while share <= 1.0:
        found[share] = learned("ours", round(STEPS * share), shorter.best("ours"))
        down = found[share] <= adamw
        following = round(share - 0.2 if down else share + 0.2, 1)
        if following in found or following < 0.1:
            break
        share = following
    reached = [share for share, bits in found.items() if bits <= adamw]
    ends = ", ".join(f"{share:.0%} of the steps {bits:.4f}" for share, bits in sorted(found.items()))
    rates = f"at {shorter.best('ours-adamw'):g} and {shorter.best('ours'):g} x their default rates"
    note = f"AdamW ends at {adamw:.4f} bits a byte, Muon with {ends}; {rates}"
    steps = round(STEPS * min(reached)) if reached else math.inf
    report.row("muon_steps", steps, "steps", 1, "AdamW", STEPS, note)


GROUPS = [loss, order, loader, speed, job, ngrams, variants, learning, muon]

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"peers: {', '.join(PEERS) or 'none named'}", file=sys.stderr)
    run("trainer", GROUPS, ["torch", "numpy"])
