"""The trainer on one GPU: tokens a second and MFU of a dense 124M and 1.1B model and of a mixture of experts.

    make bench-gpu                       # some ten minutes; writes benchmarks/trainer_gpu.md
    python -m benchmarks.trainer_gpu dense_124m

Steps are those of `train run` (bf16, torch.compile, chunked loss, Muon, one synchronization a step) on random tokens.
MFU is a part of PEAK, the datasheet's 989 TFLOP/s in bf16 of H100 and H200. Peers' published figures stand beside:
llm.c 124M 475,000 tokens/s on an H100, nanotron 1B 42,000. With BENCH_DATA naming a curate run, a 124M model is also
trained for 300 s, and its bits per byte given.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.harness import Report, run
from train.config import TrainSettings, load_settings, resolve, shape_of
from train.metrics import operations
from train.model import build, count_parameters
from train.optim import Optimizer
from train.packing import Batch
from train.step import Stepper

PEAK = 989e12
WARM, TIMED = 5, 15


def stepper(vocab_size: int, size: str, *given: str) -> tuple[Stepper, TrainSettings]:
    """A model on the GPU, its blocks compiled, with its optimizer."""
    device = torch.device("cuda")
    settings = resolve(load_settings(None, ("precision=bf16", *given), size=size), "cuda", True)
    model = build(shape_of(settings, vocab_size), 1, device, torch.bfloat16)
    for block in model.blocks.values():
        block.compile()
    return Stepper(model, Optimizer(model, settings.optim, torch.bfloat16), settings, device), settings


def measured(report: Report, name: str, peer: str, theirs: float | None, vocab_size: int, *given: str) -> None:
    """One row: tokens a second, with MFU, memory and where time goes in the note and on stderr."""
    one, settings = stepper(vocab_size, *given)
    shape = (settings.batch_rows, settings.sequence_length)
    tokens = torch.randint(0, vocab_size, (shape[0], shape[1] + 1)).numpy()
    batch = Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy(), tokens[:, 1:].copy())
    for _ in range(WARM):
        one.step(batch, 1e-4)
    begin = time.perf_counter()
    for _ in range(TIMED):
        one.step(batch, 1e-4)
    seconds = (time.perf_counter() - begin) / TIMED
    rate = shape[0] * shape[1] / seconds
    mfu, memory = rate * operations(one.model.shape) / PEAK, torch.cuda.max_memory_allocated() / 2**30
    note = f"{count_parameters(one.model) / 1e6:,.0f} M parameters, MFU {mfu:.1%}, {memory:.0f} GiB"
    report.row(name, rate, "tokens/s", 1, peer or None, theirs, note)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        one.step(batch, 1e-4)
    print(profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=15), file=sys.stderr)
    del one
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def dense_124m(report: Report) -> None:
    """GPT-2's size and vocabulary, rows of 1,024."""
    given = ("124m", "model.kv_heads=12", "model.ffn_width=2048", "batch_rows=512", "micro_rows=64")
    measured(report, "dense_124m", "llm.c, published", 475_000, 50_304, *given)


def dense_1b(report: Report) -> None:
    """TinyLlama's size, rows of 2,048."""
    given = ("1b", "batch_rows=128", "micro_rows=16")
    measured(report, "dense_1b", "nanotron 1B, published", 42_000, 32_000, *given)


def experts(report: Report) -> None:
    """Eight experts, two a token, on the trunk of the 124M model; MFU of the active parameters."""
    given = ("124m", "model.experts=8", "model.ffn_width=1408", "batch_rows=256", "micro_rows=32")
    measured(report, "experts_8_top2", "", None, 50_304, *given)


def learning(report: Report) -> None:
    """Bits per byte of a 124M model after 300 s, start and compilation included."""
    data = os.environ.get("BENCH_DATA")
    if not data:
        print("BENCH_DATA names no run; bits per byte after 300 s are not measured", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        out, train = Path(folder) / "model", [sys.executable, "-m", "train"]
        given = ["--size", "124m", "--minutes", "5", "--set", "batch_rows=128", "--set", "micro_rows=32"]
        subprocess.run([*train, "run", "--data", data, "--out", str(out), *given], check=True)
        subprocess.run([*train, "eval", "--data", data, "--checkpoint", str(out)], check=True)
        bits = json.loads((out / "eval.json").read_text())["sources"]["all"]["bits_per_byte"]
    report.row("bits_per_byte_300s", bits["model"], "bits", 1, "unigram", bits["unigram"])


if __name__ == "__main__":
    if not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here; run this where there is one")
    print(torch.cuda.get_device_name(), file=sys.stderr)
    run("trainer_gpu", [dense_124m, dense_1b, experts, learning], ["torch"])
