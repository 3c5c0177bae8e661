"""The learning loop: an evaluation of 1,000 items, fits of laws of scaling and of mixing, accuracies beside lm-eval.

    python -m benchmarks.learning_loop --write

`evaluation` scores four-choice items of ARC-easy under the 5M model (weights of a seed: time does not depend on them),
and beside it the same items by whole texts, each option with its context anew. `lm_eval` scores the same items by that
package's own machinery around the model; it is installed below target/peers.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.environments import overlay
from benchmarks.harness import Report, measure, run
from benchmarks.texts import SHARED, column, documents
from curate import _rust
from curate.tokenizer.files import Model as Merges
from curate.tokenizer.files import tokenizer_json
from curate.tokenizer.model import END_OF_DOCUMENT, open_encoder
from train import checkpoint
from train.config import load_settings, resolve, shape_of
from train.evaluation.likelihood import Scorer
from train.evaluation.prompts import GIVEN, prompts
from train.evaluation.tasks import Task, read_task
from train.machine import fast_bf16
from train.mixing.regression import draw_mixtures, fit_law, spearman
from train.model import build, tensors_of
from train.scaling.fit import CHINCHILLA, Points, bootstrap, fit
from train.scaling.laws import Chinchilla

HOME = Path(__file__).resolve().parents[1] / "target" / "bench-learning-loop"
VOCAB, ITEMS = 8192, 1000


def model() -> Path:
    """A 5M model with the weights of a seed and a tokenizer of 8,192 tokens; made where it is not there."""
    folder = HOME / "model"
    if checkpoint.steps(folder):
        return folder
    texts = column([text[:100_000] for _, _, text in documents("text", "books_en")][:100])
    pretokens = _rust.count_pretokens(texts, pattern="gpt2")
    trained = _rust.train_bpe(*map(pa.array, pretokens), vocab_size=VOCAB, special_tokens=[END_OF_DOCUMENT])
    vocab, left, right = map(pa.array, trained)
    content = tokenizer_json(Merges(vocab, left, right, _rust.pattern_expression("gpt2"), [END_OF_DOCUMENT]))
    settings = resolve(load_settings(None, (), size="5m"), "cpu", fast_bf16(torch.device("cpu")))
    shape = shape_of(settings, VOCAB)
    facts = {"data": "", "plan": "", "init": "", "end_of_document": 0, "tokenizer_sha256": ""}
    facts |= {"settings": settings.model_dump(), "shape": shape.model_dump()}
    checkpoint.write_file(folder / "tokenizer.json", content)
    checkpoint.save(folder, 0, {"weights": tensors_of(build(shape, 1))}, facts, keep=1)
    return folder


def items() -> Path:
    """1,000 four-choice items of ARC-easy."""
    path = HOME / "arc_easy.jsonl"
    if not path.exists():
        command = ["zstd", "-dcq", str(SHARED / "bench" / "bench_core.tar.zst")]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if member.name.endswith("arc_easy.jsonl"):
                    lines = archive.extractfile(member).read().decode().splitlines()
        four = [line for line in lines if len(json.loads(line)["choices"]) == 4][:ITEMS]
        checkpoint.write_file(path, "\n".join(four).encode())
    return path


def evaluation(report: Report) -> None:
    """Wall-clock of 1,000 items, by shared prefixes and by whole texts, on all cores."""
    trained = checkpoint.open_model(model(), torch.device("cpu"))
    encoder = open_encoder(model() / "tokenizer.json")
    for shots, count in ((0, ITEMS), (3, ITEMS // 5)):
        data = read_task(Task(label="arc_easy", dataset_uri=""), items(), shots)
        asked = [one.candidates for one in prompts(data, GIVEN, range(count)) if one]
        scorer = Scorer(trained.model, encoder, 0)
        ours = measure(lambda scorer=scorer, asked=asked: scorer.score(asked), rounds=1)
        alone = [[pair] for candidates in asked for pair in candidates]
        theirs = measure(lambda scorer=scorer, alone=alone: scorer.score(alone), rounds=1)
        whole = iter(theirs.result)
        pairs = [(one, next(whole)) for candidates in ours.result for one in (candidates or [None] * 4)]
        apart = max(abs(a.nats - b[0].nats) for a, b in pairs if a and b)
        long, threads = ours.result.count(None), torch.get_num_threads()
        note = f"at most {apart:.1g} nats apart; {long} items too long; {threads} threads"
        report.row(f"eval_{count}_items_{shots}_shot", ours.wall, "s", 1, "whole texts", theirs.wall, note)


def scaling(report: Report) -> None:
    """The fit of 243 points, and 200 draws of the bootstrap."""
    law, rng = Chinchilla(A=477, B=2140, E=1.817, alpha=0.347, beta=0.367), np.random.default_rng(1)
    sizes, budgets = np.geomspace(1 / 6, 6, 27), np.geomspace(6e18, 3e21, 9)
    n = np.concatenate([law.best(budget / 6)[0] * sizes for budget in budgets])
    flops = np.repeat(budgets, len(sizes))
    d = flops / 6 / n
    exact = Points(n, d, law.loss(n, d), flops, d)
    found = measure(lambda: fit(CHINCHILLA, exact), rounds=3)
    worst = max(abs(a / b - 1) for a, b in zip(found.result.law, law, strict=True))
    report.row("scaling_fit", found.cpu, "s", 3, note=f"{len(n)} points; parameters within {100 * worst:.1g} %")
    noisy = exact._replace(loss=exact.loss * np.exp(rng.normal(0, 0.003, len(n))))
    fitted = fit(CHINCHILLA, noisy)
    drawn = measure(lambda: bootstrap(CHINCHILLA, noisy, fitted, 200), rounds=1)
    report.row("scaling_bootstrap_200", drawn.cpu, "s", 1, note=f"{drawn.result[1]} draws could not be fitted")


def mixing(report: Report) -> None:
    """The law of 64 proxies of 17 sources, and how it orders 256 unseen mixtures, at 1 % noise."""
    found, seconds = [], 0.0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        prior = np.maximum(rng.dirichlet(np.ones(17)), 0.004)
        names = dict(zip(map(str, range(17)), prior / prior.sum(), strict=True))
        caps = {name: min(1.0, 15 * part) for name, part in names.items()}
        x = np.array([list(one.values()) for one in draw_mixtures(names, caps, 320, seed, (0.1, 5.0))])
        y = (1.5 + np.exp(0.4 + x @ rng.normal(0, 1, 17))) * np.exp(rng.normal(0, 0.01, len(x)))
        begin = time.process_time()
        law = fit_law(x[:64], y[:64])
        seconds = max(seconds, time.process_time() - begin)
        found.append(spearman(law.loss(x[64:]), y[64:]))
    report.row("mixing_spearman", min(found), "rho", 8, note=f"least of 8 tables; largest {max(found):.3f}")
    report.row("mixing_fit", seconds, "s", 8, note="slowest of 8")


def lm_eval(report: Report) -> None:
    """Accuracy of 200 items by lm-eval's own machinery around the model, and by `train eval`."""
    with tempfile.TemporaryDirectory() as made:
        path, folder = Path(made) / "arc.jsonl", Path(made) / "tasks"
        folder.mkdir()
        path.write_text("\n".join(items().read_text().splitlines()[:200]))
        facts = {
            "task": "arc_local", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{query}}",
            "doc_to_target": "gold", "doc_to_choice": "choices", "metric_list": [{"metric": "acc"}],
        }  # fmt: skip
        (folder / "arc.yaml").write_text(json.dumps(facts))
        ask = ["--task", str(path), "--format-items", "0", "--lm-eval", "arc_local", "--lm-eval-path", str(folder)]
        command = [sys.executable, "-m", "train", "eval", "--checkpoint", str(model()), *ask, "--json"]
        paths = [str(overlay("lm-eval")), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        done = json.loads(ran.stdout.splitlines()[-1])
    ours, theirs = done["tasks"]["arc"]["scores"]["accuracy"], done["lm_eval"]["arc_local"]["scores"]["acc"]
    note = f"standard errors {ours['standard_error']:.4f} and {theirs['standard_error']:.4f}"
    report.row("accuracy_200_items", ours["value"], "share", 1, "lm-eval", theirs["value"], note)


if __name__ == "__main__":
    run("learning_loop", [evaluation, scaling, mixing, lm_eval], ["torch", "numpy"])
