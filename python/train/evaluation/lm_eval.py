"""A model as `lm-eval` takes one (its package is not among this one's): `train eval --lm-eval TASK`.

Likelihoods come from the same code as those of our own tasks, so that accuracies on the same prompts are equal. What
does not fit the model's context is not cut: such a request counts as -inf, and how many there were is told.
"""

import importlib
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from curate import console
from curate.errors import ConfigError
from curate.tokenizer.model import Encoder
from train.checkpoint import Trained
from train.evaluation.items import write
from train.evaluation.likelihood import Scorer, encode_all

GENERATED = 256  # tokens of an answer, where the task does not say


def _library(name: str) -> Any:
    """A module of lm-eval. Raises ConfigError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"--lm-eval: the package lm-eval cannot be used ({error}): pip install lm-eval") from None


def language_model(trained: Trained, encoder: Encoder) -> Any:
    """An `lm_eval.api.model.LM` of a model. Raises ConfigError where lm-eval is not installed."""
    base = _library("lm_eval.api.model").LM

    class LanguageModel(base):  # type: ignore[misc, valid-type]
        """The three requests of lm-eval."""

        def __init__(self) -> None:
            super().__init__()
            self.requests = Requests(trained, encoder)

        def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            return self.requests.likelihoods([request.args for request in requests])

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            return [self.requests.whole(request.args[0]) for request in requests]

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            return [self.requests.written(*request.args) for request in requests]

    return LanguageModel()


class Requests:
    """Answers to the requests; `too_long` counts those that do not fit the context."""

    def __init__(self, trained: Trained, encoder: Encoder) -> None:
        self.model, self.encoder = trained.model, encoder
        self.end_of_document: int = trained.facts["end_of_document"]
        self.scorer, self.too_long = Scorer(trained.model, encoder, self.end_of_document), 0

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """(ln p, whether it is the likeliest) of continuations; neighbors with one context share its computation."""
        groups = [list(group) for _, group in groupby(pairs, key=lambda pair: pair[0])]
        found: list[tuple[float, bool]] = []
        for group, scores in zip(groups, self.scorer.score(groups), strict=True):
            if scores is None:
                self.too_long += len(group)
                found += [(-math.inf, False)] * len(group)
            else:
                found += [(-one.nats, one.greedy) for one in scores]
        return found

    def whole(self, text: str) -> float:
        """ln p of a text; a longer one than a row is read in rows one after the other, as in training."""
        ids, length, total = encode_all(self.encoder, [text])[0], self.model.shape.sequence_length, 0.0
        sequence = [self.end_of_document, *ids]
        for start in range(0, len(ids), length):
            row = torch.tensor([sequence[start : start + length + 1]], device=self.model.device)
            total -= float(self.model.nats(row[:, :-1], row[:, 1:]).sum(dtype=torch.float64))
        return total

    def written(self, context: str, how: dict[str, Any]) -> str:
        """The likeliest continuation, up to the first of how["until"]."""
        if how.get("do_sample") and how.get("temperature", 0):
            raise ConfigError("--lm-eval: the task draws its answers; only greedy ones are generated here")
        until = how.get("until") or []
        stops, tokens = [until] if isinstance(until, str) else list(until), int(how.get("max_gen_toks", GENERATED))
        ids = encode_all(self.encoder, [context])[0]
        if len(ids) + tokens >= self.model.shape.sequence_length:
            self.too_long += 1
            return ""
        text = write(self.model, self.encoder, [ids], self.end_of_document, tokens, stops)[0]
        for stop in stops:
            text = text.split(stop, 1)[0]
        return text


def evaluate_tasks(
    trained: Trained, encoder: Encoder, names: Sequence[str], folder: Path | None, limit: int, shots: int | None
) -> dict[str, Any]:
    """Scores by task as lm-eval gives them: metric -> value and standard error. folder: of further tasks.

    Raises ConfigError where lm-eval is not installed, or knows no such task.
    """
    model, tasks = language_model(trained, encoder), _library("lm_eval.tasks")
    manager = tasks.TaskManager(include_path=str(folder) if folder else None)
    if unknown := [name for name in names if name not in manager.all_tasks]:
        raise ConfigError(f"--lm-eval {unknown[0]}: lm-eval knows no such task; --lm-eval-path names a folder of tasks")
    results = _library("lm_eval.evaluator").simple_evaluate(
        model=model,
        tasks=list(names),
        task_manager=manager,
        limit=limit or None,
        num_fewshot=shots,
        bootstrap_iters=1000,
    )
    if model.requests.too_long:
        console.err(
            f"note: {console.plural(model.requests.too_long, 'request')} longer than the context, counted as -inf"
        )
    found: dict[str, Any] = {}
    for name, row in results["results"].items():
        metrics: dict[str, Any] = {}
        for key, value in row.items():
            metric, _, filtered = key.partition(",")
            if filtered and not metric.endswith("_stderr") and isinstance(value, int | float):
                error = row.get(f"{metric}_stderr,{filtered}")
                metrics[metric] = {"value": value, "standard_error": error if isinstance(error, float) else None}
        found[name] = {"items": results.get("n-samples", {}).get(name, {}).get("effective"), "scores": metrics}
    return found


def table(results: dict[str, Any]) -> str:
    """The scores as a table; one without a standard error is not shown."""
    rows = []
    for name, one in results.items():
        for metric, score in one["scores"].items():
            error = score["standard_error"]
            words = "no standard error" if error is None else f"{score['value']:.3f} ±{error:.3f}"
            rows.append([name[:30], metric, str(one["items"] or ""), words])
    return console.table(["lm-eval task", "metric", "items", "score"], rows, left=2)
