"""`train` as a user meets it: stop it anyhow, it continues with the same losses; then it scores and writes."""

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import corpus
import shards as made
from conftest import Finished, command
from curate.schema import doc_id
from curate.tokenizer.model import open_encoder

STEPS, T, BATCH = 30, 32, 4
SMALL = ["--size", "tiny", "--tokens", STEPS * T * BATCH]
SMALL += [part for text in (f"sequence_length={T}", f"batch_rows={BATCH}", "threads=1") for part in ("--set", text)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two sources with a real tokenizer of 400 tokens, a part of them held out."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(1)
    texts = [corpus.article(rng, 8) for _ in range(60)]
    path = folder / "tokenizer.json"
    path.write_bytes(made.tokenizer_of(texts))
    ids = pa.array(open_encoder(path).encode(pa.array(texts, pa.large_string()))).to_pylist()
    sources, heldout = {"web": ids[:35], "book": ids[35:50]}, {"web": ids[50:57], "book": ids[57:]}
    return made.write_run(folder / "run", sources, heldout, vocab_size=400, tokenizer=path.read_bytes())


def said(err: str) -> str:
    """A message without the ends of its lines, which depend on the length of paths."""
    return " ".join(err.split())


def losses(out: Path) -> list[float]:
    """By step; every step exactly once. JSON keeps every bit of a float."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 steps that nothing disturbed, every checkpoint kept."""
    out = tmp_path_factory.mktemp("whole") / "model"
    done = command("train", "run", "--data", data, "--out", out, *SMALL, "--set", "save_every=1", "--set", "keep=99")
    assert done.code == 0, done.err
    return out


def test_training_learns(whole: Path) -> None:
    found = losses(whole)
    assert len(found) == STEPS and found[0] == pytest.approx(6.0, abs=0.2) and found[-1] < found[0] - 0.5


@pytest.mark.parametrize("step", [1, 2, 13, 29])
def test_resumed_at_a_step_the_losses_and_weights_are_the_same_to_the_bit(
    step: int, data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out = tmp_path / "model"
    shutil.copytree(whole, out)
    for folder in (out / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    done = train("run", "--data", data, "--out", out, *SMALL)
    assert done.code == 0 and f"continuing at step {step} of 30" in done.err
    assert losses(out) == losses(whole)
    last = f"checkpoints/step-{STEPS:08}"
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert (out / last / name).read_bytes() == (whole / last / name).read_bytes()


def start(data: Path, out: Path) -> subprocess.Popen[str]:
    arguments = ["run", "--data", data, "--out", out, *SMALL, "--set", "save_every=3"]
    code = "import train.train as t, time, train.cli; step = t.step\n"
    code += "def slow(*a):\n    done = step(*a); time.sleep(0.02); return done\n"  # so that there is time to hit it
    code += "t.step = slow; train.cli.main()"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def wait_for_step(out: Path, step: int) -> None:
    for _ in range(6000):
        if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").read_text().count("\n") > step:
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached")


def test_killed_by_the_system_it_continues_with_the_same_losses(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out, rng = tmp_path / "model", random.Random()
    for step in (rng.randrange(3, 12), rng.randrange(14, 26)):
        process = start(data, out)
        wait_for_step(out, step)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = train("run", "--data", data, "--out", out, *SMALL)
    assert done.code == 0 and f"the lock of process {process.pid}" in said(done.err)
    assert losses(out) == losses(whole)


def test_a_second_trainer_is_refused_and_a_signal_to_stop_saves_and_says_how_to_continue(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out = tmp_path / "model"
    process = start(data, out)
    wait_for_step(out, 2)
    process.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile
    second = train("run", "--data", data, "--out", out, *SMALL)
    assert second.code == 2 and f"process {process.pid} on " in said(second.err) and "(`train run`" in said(second.err)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    stopped = len(losses(out))
    assert process.returncode == 130
    assert f"Stopped by SIGTERM after step {stopped} of 30; saved to" in said(err)
    assert "The same command continues." in err
    assert f"step-{stopped:08}" in os.listdir(out / "checkpoints")
    assert train("run", "--data", data, "--out", out, *SMALL).code == 0
    assert losses(out) == losses(whole) and not (out / "run.lock").exists()
    again = train("run", "--data", data, "--out", out, *SMALL)
    assert again.code == 0 and "has reached its 30 steps; there is nothing left to do" in again.out


def test_a_folder_of_another_run_is_refused_by_name(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    before = losses(whole)
    other = train("run", "--data", data, "--out", whole, *SMALL, "--set", "seed=2", "--set", "model.layers=1")
    assert other.code == 2
    assert "seed: 1 before, 2 now" in said(other.err) and "model.layers: 2 before, 1 now" in said(other.err)
    run = made.write_run(tmp_path / "run", {"web": made.sentences(1, 90)}, vocab_size=400)
    moved = train("run", "--data", run, "--out", whole, *SMALL)
    assert moved.code == 2 and "holds a run on other data: the token shards and the mixture or the budget" in said(
        moved.err
    )
    assert losses(whole) == before


def test_a_budget_of_time_is_measured_once_and_recorded(
    data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out = tmp_path / "model"
    timed = [*SMALL[:2], *SMALL[4:], "--minutes", 0.01]
    done = train("run", "--data", data, "--out", out, *timed, "--json")
    assert done.code == 0, done.err
    steps = done.json["steps"]
    assert f"tokens: {steps * T * BATCH}\n" in (out / "train.yaml").read_text()
    first = losses(out)
    shutil.rmtree(out / "checkpoints")
    assert train("run", "--data", data, "--out", out, *timed, "--json").json["steps"] == steps
    assert losses(out) == first


def test_evaluation_compares_with_a_unigram_and_an_untrained_model(
    data: Path, whole: Path, train: Callable[..., Finished]
) -> None:
    done = train("eval", "--checkpoint", whole, "--data", data, "--threads", 1)
    assert done.code == 0, done.err
    result = json.loads((whole / "eval.json").read_text())["sources"]
    assert list(result) == ["book", "web", "all"]
    for row in result.values():
        bits = row["bits_per_byte"]
        assert 0 < bits["model"] < bits["untrained"] and 0 < bits["unigram"] < bits["untrained"]
        nats = bits["untrained"] * row["text_bytes"] / row["tokens"] * 0.6931
        assert nats == pytest.approx(5.99, abs=0.1)  # ln 400
    assert max(map(len, done.out.splitlines())) <= 80 and "untrained" in done.out
    some = train("eval", "--checkpoint", whole, "--data", data, "--tokens", 10, "--json").json["sources"]
    assert some["web"]["documents"] == 1 and some["all"]["documents"] == 2


def test_a_model_folder_writes_text_without_the_data(
    whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    model = shutil.copytree(whole, tmp_path / "elsewhere")
    ask = ("generate", "--checkpoint", model, "--prompt", "The river", "--tokens", 20, "--threads", 1)
    one, same, other = train(*ask), train(*ask), train(*ask, "--seed", 2)
    assert one.code == 0 and one.out.startswith("The river") and len(one.out) > 15
    assert one.out == same.out != other.out
    facts = train(*ask, "--json").json
    assert facts["step"] == STEPS and facts["prompt"] + facts["text"] + "\n" == one.out


def test_several_prompts_are_continued_at_once_as_each_alone(whole: Path, train: Callable[..., Finished]) -> None:
    ask = ("generate", "--checkpoint", whole, "--tokens", 12, "--threads", 1, "--json", "--min-p", 0.01)
    together = train(*ask, "--prompt", "The river", "--prompt", "A", "--samples", 2)
    assert together.code == 0 and [row["prompt"] for row in together.json] == ["The river", "The river", "A", "A"]
    assert together.json[0]["text"] == train(*ask, "--prompt", "The river").json["text"]
    assert together.json[0]["text"] != together.json[1]["text"]


def test_scores_of_documents_sum_to_the_bits_of_their_source(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out = tmp_path / "scores.parquet"
    told = train("score", "--checkpoint", whole, "--data", data, "--out", out, "--heldout", "--threads", 1)
    assert told.code == 0 and "scored 10 documents" in told.out
    train("eval", "--checkpoint", whole, "--data", data, "--threads", 1)
    wanted = json.loads((whole / "eval.json").read_text())["sources"]
    table = pq.read_table(out)
    assert table.column("doc_id").to_pylist() == [
        doc_id(name, n) for name, count in (("book", 3), ("web", 7)) for n in range(count)
    ]
    for name in ("web", "book"):
        rows = table.filter(pc.equal(table.column("source"), name))
        assert sum(rows.column("n_tokens").to_pylist()) == wanted[name]["tokens"]
        bits = sum(rows.column("nats").to_pylist()) / math.log(2) / wanted[name]["text_bytes"]
        assert bits == pytest.approx(wanted[name]["bits_per_byte"]["model"], rel=1e-5)
    one = table.slice(0, 1).to_pylist()[0]
    assert 0 < one["bits_per_byte"] < 8 and one["source"] == "book"
    again = train("score", "--checkpoint", whole, "--data", data, "--out", tmp_path, "--threads", 1)
    assert again.code == 2 and "this is a folder; name a file" in said(again.err)


VARIANTS = {
    "mixture of experts": ["model.experts=4", "model.ffn_width=64", "optim.optimizer=muon"],
    "gpt2": ["model.family=gpt2", "optim.schedule=wsd", "recompute=true", "micro_rows=2"],
    "everything": ["model.qk_norm=true", "model.window=9", "model.softcap=20", "optim.z_weight=0.001",
                   "optim.schedule=wsd_s", "optim.periods=2", "keep=1", "model.experts=4", "model.ffn_width=64",
                   "model.balance=bias", "model.balance_weight=0.001", "model.shared_expert=true",
                   "precision=fp16", "optim.skip_deviations=6"],
    "longer rows at the end": ["long.factor=4", "long.fraction=0.4", "optim.optimizer=muon"],
    "masked diffusion": ["objective=masked_diffusion", "optim.learning_rate=0.01"],
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_trains_resumes_to_the_bit_and_is_drawn(
    variant: str, data: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    how = [part for text in VARIANTS[variant] for part in ("--set", text)]
    out, again = tmp_path / "model", tmp_path / "again"
    done = train("run", "--data", data, "--out", out, *SMALL, *how, "--set", "save_every=10")
    assert done.code == 0, done.err
    found = losses(out)
    assert found[-1] < found[0] - 0.2
    shutil.copytree(out, again)
    for folder in sorted((again / "checkpoints").iterdir())[1:]:
        shutil.rmtree(folder)
    assert train("run", "--data", data, "--out", again, *SMALL, *how).code == 0
    assert losses(again) == found
    last = f"checkpoints/step-{STEPS:08}/weights.safetensors"
    assert (out / last).read_bytes() == (again / last).read_bytes()
    if variant == "everything":  # the end of the first of two periods stays
        assert sorted(os.listdir(out / "checkpoints")) == [f"step-{STEPS // 2:08}", f"step-{STEPS:08}"]
    index = json.loads((out / f"checkpoints/step-{STEPS:08}/index.json").read_text())
    if variant == "longer rows at the end":
        assert (index["shape"]["sequence_length"], index["shape"]["rope_factor"]) == (4 * T, 4)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [line["tokens"] for line in lines] == [(n + 1) * T * BATCH for n in range(STEPS)]
    if variant in ("longer rows at the end", "masked diffusion"):
        done = train("eval", "--checkpoint", out, "--data", data, "--threads", 1, "--json")
        bits = done.json["sources"]["all"]["bits_per_byte"]
        assert bits["model"] < bits["untrained"]
        ask = ("--prompt", "The river", "--tokens", 9, "--threads", 1, "--json")
        text = train("generate", "--checkpoint", out, *ask).json
        assert 0 < text["tokens"] <= 9 and text == train("generate", "--checkpoint", out, *ask).json
    page = tmp_path / "runs.html"
    assert train("plot", out, again, "--out", page).code == 0
    text = page.read_text()
    drawn = json.loads(re.findall(r'id="data">(.*)</script>', text)[0])
    assert [one["name"] for one in drawn] == ["model", "again"] and drawn[0]["loss"] == found
    assert "loss of book" in drawn[0] and text.count("<svg") >= 9 and "http" not in text


def test_a_run_may_start_from_the_weights_of_a_model_and_takes_its_shape(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    out, exported, model = tmp_path / "model", tmp_path / "theirs", tmp_path / "back"
    assert train("export", "--checkpoint", whole, "--out", exported).code == 0
    assert train("import", "--from", exported, "--out", model).code == 0
    more = ["--tokens", 4 * T * BATCH, *SMALL[4:], "--set", "optim.warmup_steps=1", "--set", "optim.learning_rate=1e-4"]
    for init in (whole, model):
        shutil.rmtree(out, ignore_errors=True)
        done = train("run", "--data", data, "--out", out, "--init", init, *more)
        assert done.code == 0, done.err
        assert losses(out)[0] < losses(whole)[0] - 0.4
    same = train("run", "--data", data, "--out", out, "--init", whole, *more)
    assert same.code == 2 or "nothing left" in same.out
    other = train("run", "--data", data, "--out", out, *more)
    assert other.code == 2
    wide = train("run", "--data", data, "--out", tmp_path / "o", "--init", whole, *more, "--set", "model.ffn_width=64")
    assert wide.code == 1 and "a checkpoint of another model" in said(wide.err)


def test_metrics_tell_what_a_step_was_and_go_where_they_are_watched(
    data: Path, tmp_path: Path, train: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sent = tmp_path / "model", []
    client = SimpleNamespace(init=lambda **_: SimpleNamespace(log=lambda facts, step: sent.append((step, facts))))
    monkeypatch.setitem(sys.modules, "wandb", client)
    how = ["--set", "peak_tflops=0.001", "--set", "watch=[wandb]", "--tokens", 3 * T * BATCH, *SMALL[4:]]
    assert train("run", "--data", data, "--out", out, *how).code == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in sent] == [0, 1, 2] and sent[1][1]["loss"] == lines[1]["loss"]
    one = lines[2]
    assert set(one["loss_by_source"]) <= {"web", "book"} and one["tokens"] == 3 * T * BATCH
    low, high = min(one["loss_by_source"].values()), max(one["loss_by_source"].values())
    assert low - 1e-6 <= one["loss"] <= high + 1e-6
    counts = json.loads((data / "tokens" / "manifest.json").read_text())["sources"]
    bytes_a_token = sum(c["text_bytes"] for c in counts.values()) / sum(c["tokens"] for c in counts.values())
    assert one["bits_per_byte"] == pytest.approx(one["loss"] / math.log(2) / bytes_a_token, rel=0.05)
    assert one["mfu"] > 0 and one["memory_mb"] > 100 and 0 <= one["data_seconds"] <= one["seconds"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    missing = train("run", "--data", data, "--out", tmp_path / "other", *how)
    assert missing.code == 2 and "watch: wandb is not installed" in said(missing.err)


def test_a_full_disk_at_a_save_ends_the_run_and_the_same_command_continues(
    data: Path, whole: Path, tmp_path: Path, train: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import checkpoint

    out, write = tmp_path / "model", checkpoint.write_part

    def full(folder: Path, *rest: Any) -> Any:
        if int(folder.name[6:14]) > 5:
            raise OSError(28, "No space left on device")
        return write(folder, *rest)

    monkeypatch.setattr(checkpoint, "write_part", full)
    done = train("run", "--data", data, "--out", out, *SMALL, "--set", "save_every=5")
    assert done.code == 1 and "the checkpoint could not be written: [Errno 28] No space left" in said(done.err)
    monkeypatch.setattr(checkpoint, "write_part", write)
    assert train("run", "--data", data, "--out", out, *SMALL).code == 0
    assert losses(out) == losses(whole)


def test_a_loss_that_is_no_number_stops_the_run(
    data: Path, tmp_path: Path, train: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from train.processes import Alone

    accumulate = Alone.accumulate

    def broken(*arguments: Any) -> Any:
        summed = accumulate(*arguments)
        return summed._replace(loss=summed.loss * torch.nan)

    monkeypatch.setattr(Alone, "accumulate", broken)
    done = train("run", "--data", data, "--out", tmp_path / "model", *SMALL)
    assert done.code == 1 and "The loss is not finite at step 0" in done.err
    named = re.findall(r"\b[0-9a-f]{32}\b", done.err)
    known = {doc_id(name, n).hex() for name in ("web", "book") for n in range(35)}
    assert len(named) >= BATCH and set(named) <= known


ERRORS = {
    "no data": ("run --data nowhere --out m", "nowhere/tokens/manifest.json: no such file; --data takes"),
    "option": ("run --data nowhere --ot m", "No such option"),
    "setting": ("run --data d --out m --set sede=1", 'sede: no such setting; did you mean "seed"?'),
    "assignment": ("run --data d --out m --set seed", "expected KEY=VALUE"),
    "budget": ("run --data d --out m --tokens many", "tokens: expected a whole number, found 'many'"),
    "no model": ("generate --checkpoint nowhere", "nowhere: no checkpoint here"),
    "sampling": ("generate --checkpoint nowhere --top-p 2", "top_p: must be at most 1"),
    "device": ("run --data d --out m --set device=tpu", "device: must be auto, cpu or cuda"),
    "size": ("run --data d --out m --size huge", "size: must be a number of parameters such as 5m"),
    "long": ("run --data d --out m --set long.factor=2 --set model.family=gpt2", "long.factor: needs rotary positions"),
    "both ways": (
        "run --data d --out m --set objective=masked_diffusion --set model.window=9",
        "model.window: masked diffusion looks both ways",
    ),
    "plot": ("plot nowhere --out f.html", "nowhere/metrics.jsonl: no such file; give --out folders"),
    "import": ("import --from nowhere --out m", "nowhere: no model in a Hugging Face form"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_are_one_message_with_an_exit_code(what: str, train: Callable[..., Finished]) -> None:
    arguments, message = ERRORS[what]
    done = train(*arguments.split())
    assert done.code == 2 and done.err.startswith("error: ") and message in said(done.err) and done.out == ""
    assert max(map(len, done.err.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        *((name,) for name in ("run", "eval", "generate", "score", "plot", "export", "import", "mixture", "scaling")),
        *(("mixture", name) for name in ("rule", "join", "plan", "run", "fit", "solve", "doremi", "anneal")),
        *(("scaling", name) for name in ("plan", "run", "fit", "predict", "plot")),
    ],
)
def test_help_fits_a_terminal(arguments: tuple[str, ...], train: Callable[..., Finished]) -> None:
    done = train(*arguments, "--help")
    assert done.code == 0 and max(map(len, done.out.splitlines())) <= 80
    if arguments == ("run",):
        assert "optim.learning_rate" in done.out and "model.kv_heads" in done.out


def test_help_is_instant() -> None:
    code = "import sys, time; t = time.process_time(); sys.argv = ['train', '--help']\n"
    code += "import train.cli\ntry: train.cli.main()\nexcept SystemExit: pass\n"
    code += "print(time.process_time() - t, 'torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch_was_imported = done.stderr.split()
    assert float(seconds) < 0.3 and torch_was_imported == "False"
