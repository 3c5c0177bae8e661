"""`torchrun -m train run` as a user meets it: one log, one message, and it goes on with any number of processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import shards as made
from conftest import Finished, command
from train import checkpoint

STEPS, T, BATCH = 8, 32, 8
CPU = torch.device("cpu")
HOW = ["--size", "tiny", "--tokens", STEPS * T * BATCH]
HOW += [part for text in (f"sequence_length={T}", f"batch_rows={BATCH}", "threads=1", "save_every=2", "keep=9",
                          "model.kv_heads=2", "peak_tflops=1") for part in ("--set", text)]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = {"web": made.sentences(1, 60), "book": made.sentences(2, 30)}
    return made.write_run(tmp_path_factory.mktemp("data") / "run", sources, vocab_size=64)


def start(processes: int, *arguments: object, verb: str = "run", **variables: str) -> "subprocess.Popen[str]":
    """`torchrun -m train VERB …`, started."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **variables}
    full = [*torchrun, "-m", "train", *verb.split(), *map(str, arguments)]
    return subprocess.Popen(full, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(processes: int, *arguments: object, verb: str = "run") -> Finished:
    """The same, and ended; without torchrun where it is one process."""
    if processes == 1:
        return command("train", *verb.split(), *arguments)
    process = start(processes, *arguments, verb=verb)
    out, err = process.communicate(timeout=300)
    return Finished(process.returncode, out, err)


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


def cut(out: Path, step: int) -> None:
    """Forget the checkpoints after a step."""
    for folder in checkpoint.steps(out):
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)


@pytest.mark.slow
def test_a_run_goes_on_with_one_two_four_and_one_process_and_reads_the_same_rows(data: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "model"
    assert train(1, "--data", data, "--out", whole, *HOW).code == 0
    shutil.copytree(whole, out)
    for step, processes, *grid in ((2, 2), (4, 4, "--set", "parallel.tensor=2"), (6, 1)):
        cut(out, step)
        done = train(processes, "--data", data, "--out", out, *HOW, *grid)
        assert done.code == 0, done.err
        assert f"continuing at step {step} of {STEPS}" in done.err and done.err.count("continuing") == 1
        assert done.out.count("trained") == 1
        assert losses(out) == pytest.approx(losses(whole), abs=1e-4)
    names = {path.name for path in (checkpoint.steps(out)[2]).iterdir()}
    assert {"index.json", "weights-0000.safetensors", "optimizer-0003.safetensors"} <= names
    last = [checkpoint.open_model(one, CPU).model for one in (out, whole)]
    for a, b in zip(*(one.parameters() for one in last), strict=True):
        assert (a - b).abs().max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "grid", [(), ("--set", "parallel.pipeline=2", "--set", "micro_rows=2"),
             ("--set", "parallel.expert=2", "--set", "model.experts=4", "--set", "optim.optimizer=muon")],
    ids=["fsdp", "pipeline", "experts"],
)  # fmt: skip
def test_a_run_of_two_that_was_killed_continues_to_the_bit(grid: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "model"
    assert train(2, "--data", data, "--out", whole, *HOW, *grid).code == 0
    shutil.copytree(whole, out)
    cut(out, 4)
    assert train(2, "--data", data, "--out", out, *HOW, *grid).code == 0
    assert losses(out) == losses(whole)
    files = sorted(path for path in checkpoint.find(whole).iterdir() if path.suffix == ".safetensors")
    assert len(files) == 4 and all(
        path.read_bytes() == (checkpoint.find(out) / path.name).read_bytes() for path in files
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "grid"),
    [("long.factor=4 long.fraction=0.4", "parallel.context=2"), ("objective=masked_diffusion", "parallel.tensor=2")],
    ids=["longer rows", "masked diffusion"],
)
def test_longer_rows_and_masked_diffusion_are_shared_too(how: str, grid: str, data: Path, tmp_path: Path) -> None:
    given = [part for text in how.split() for part in ("--set", text)]
    found = []
    for processes, more in ((1, []), (2, ["--set", grid])):
        out = tmp_path / f"{processes}"
        done = train(processes, "--data", data, "--out", out, *HOW, *given, *more)
        assert done.code == 0, done.err
        found.append(losses(out))
    assert found[0] == pytest.approx(found[1], abs=1e-4) and found[0][-1] < found[0][0]


@pytest.mark.slow
def test_robust_training_moves_its_weights_by_the_rows_of_all_processes(data: Path, tmp_path: Path) -> None:
    logs = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}"
        ask = (
            "--data",
            data,
            "--out",
            out,
            "--steps-tokens",
            STEPS * T * BATCH,
            *HOW[:2],
            *HOW[4:],
            "--max-epochs",
            99,
        )
        done = train(processes, *ask, verb="mixture doremi")
        assert done.code == 0 and done.out.count("the mixture is in") == 1, done.err
        logs.append([json.loads(line) for line in (out / "weights.jsonl").read_text().splitlines()])
    assert [line["step"] for line in logs[1]] == list(range(STEPS))
    for alone, shared in zip(*logs, strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], abs=1e-4)
        assert shared["weights"] == pytest.approx(alone["weights"], abs=1e-5)
        assert shared["excess"] == pytest.approx(alone["excess"], abs=1e-4)
    cut(out / "proxy", 4)  # as if it had been killed; it goes on to the bit
    assert train(2, *ask, verb="mixture doremi").code == 0
    assert [json.loads(line) for line in (out / "weights.jsonl").read_text().splitlines()] == logs[1]


def own(err: str) -> str:
    """What the processes said, without what torchrun adds."""
    return " ".join(err.split())


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_with_one_message(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    process = start(2, "--data", data, "--out", out, *HOW, "--tokens", 4000 * T * BATCH, "--set", "max_epochs=10000")
    while not (out / "checkpoints" / "step-00000004").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    os.kill(max(map(int, children.split())), signal.SIGKILL)
    _, err = process.communicate(timeout=90)
    assert process.returncode != 0
    assert own(err).count("error: A process of this run has ended, and the others cannot go on without it") == 1
    assert "The same command continues from the last checkpoint." in own(err)
    assert not re.search(r"Traceback.*train/train\.py", own(err))


@pytest.mark.slow
def test_a_signal_stops_all_processes_after_the_same_step(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    process = start(2, "--data", data, "--out", out, *HOW, "--tokens", 4000 * T * BATCH, "--set", "max_epochs=10000")
    while not (out / "checkpoints" / "step-00000002").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=90)
    found = re.findall(r"Stopped by (?:SIGTERM|a signal) after step ([\d,]+) of 4,000; saved to", own(err))
    assert len(found) == 1 and checkpoint.find(out).name == f"step-{int(found[0].replace(',', '')):08}", err
    assert checkpoint.Reader(checkpoint.find(out)).names("weights")
    assert not (out / "run.lock").exists()


@pytest.mark.slow
def test_what_does_not_fit_is_said_once(data: Path, tmp_path: Path) -> None:
    for more, words in (
        ("batch_rows=9", "batch_rows: 9 rows cannot be shared by 2 processes alike; give a multiple of 2"),
        ("parallel.tensor=4", "parallel: tensor 4 = 4 processes do not divide the 2 that there are"),
        ("parallel.expert=2", "parallel.expert: 2 does not divide model.experts, which is 0"),
    ):
        done = train(2, "--data", data, "--out", tmp_path / "model", *HOW, "--set", more)
        assert done.code != 0 and own(done.err).count(f"error: {words}") == 1, done.err


def test_a_grid_without_torchrun_says_how_to_start_it(data: Path, tmp_path: Path) -> None:
    done = train(1, "--data", data, "--out", tmp_path / "model", *HOW, "--set", "parallel.tensor=2")
    assert done.code == 2
    assert "parallel.tensor: 2 needs several processes: torchrun --nproc-per-node 2 -m train run" in own(done.err)
