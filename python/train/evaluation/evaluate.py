"""`train eval`: what a model knows, on held-out text and on tasks, into eval.json of the model's folder.

    eval.json       checkpoint, step; `sources`: bits per byte and perplexity; `tasks`: scores; `lm_eval`: those of
                    that package. What was not asked for this time stays, if it was measured on the same weights
    eval/*.parquet  every item of every task; a stopped evaluation goes on from them

A model in a Hugging Face form (llama, mistral, mixtral, gpt2) is imported for the time of the evaluation.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import ConfigError
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.evaluation import bits_per_byte, lm_eval, scores
from train.evaluation.contamination import Findings
from train.evaluation.items import Evaluator
from train.evaluation.tasks import TaskData, load_tasks
from train.machine import pick_device, set_threads

FILE = "eval.json"


class Asked(NamedTuple):
    """What an evaluation is asked for; files and folders as given on the command line.

    tokens: of each source, 0 for all. limit: items of each task, 0 for all. format_items: of these, those asked in
    other formats too, 0 for none. lm_eval: names of tasks of that package; lm_eval_path: a folder of further ones.
    """

    data: Path | None = None
    tokens: int = 0
    tasks: Sequence[Path] = ()
    listing: Path | None = None
    shots: int | None = None
    delimiter: str | None = None
    contaminated: Path | None = None
    limit: int = 0
    format_items: int = 0
    lm_eval: Sequence[str] = ()
    lm_eval_path: Path | None = None


@contextmanager
def opened(folder: Path, device: str) -> Iterator[tuple[checkpoint.Trained, Path]]:
    """A model and the folder that its results go to; a model in a Hugging Face form is imported first."""
    if not checkpoint.steps(folder) and not (folder / checkpoint.INDEX).exists() and (folder / "config.json").exists():
        from train.huggingface import import_

        with tempfile.TemporaryDirectory(prefix="train-eval-") as made:
            import_(folder, Path(made) / "model")
            yield checkpoint.open_model(Path(made) / "model", pick_device(device)), folder
        return
    trained = checkpoint.open_model(folder, pick_device(device))
    yield trained, checkpoint.tokenizer_of(trained.folder).parent


def evaluate(folder: Path, asked: Asked, device: str = "auto", threads: int = 0) -> dict[str, Any]:
    """Evaluate the model in `folder`; returns what eval.json then holds, of what was asked for.

    Raises ConfigError and DataError for tasks, data and models that cannot be read, before anything is computed.
    """
    if not (asked.data or asked.tasks or asked.listing or asked.lm_eval):
        raise ConfigError("nothing to evaluate: give --data RUN for held-out text, or --task FILE, or both")
    if asked.contaminated and not (asked.tasks or asked.listing):
        raise ConfigError("--contaminated tells items of tasks apart; give --task FILE too")
    set_threads(threads)
    tasks = load_tasks(list(asked.tasks), asked.listing, asked.shots, continuation_delimiter=asked.delimiter)
    findings = Findings(asked.contaminated) if asked.contaminated else None
    with opened(folder, device) as (trained, home):
        if (tasks or asked.lm_eval) and not trained.model.shape.causal:
            raise ConfigError("tasks ask for the next token; a model of masked diffusion is measured by --data alone")
        facts = {
            "checkpoint": str(folder if trained.folder.parent != home / checkpoint.FOLDER else trained.folder),
            "step": trained.facts["step"],
            "weights": checkpoint.digest_of(trained.folder),
        }
        found: dict[str, Any] = {}
        if asked.data:
            found["sources"] = bits_per_byte.held_out(trained, asked.data, asked.tokens)
        if tasks:
            found["tasks"] = _tasks(trained, home, tasks, findings, asked)
        if asked.lm_eval:
            encoder = open_encoder(checkpoint.tokenizer_of(trained.folder))
            found["lm_eval"] = lm_eval.evaluate_tasks(
                trained, encoder, asked.lm_eval, asked.lm_eval_path, asked.limit, asked.shots
            )
    checkpoint.write_file(home / FILE, json.dumps({**facts, **_before(home, facts), **found}, indent=1).encode())
    return {**facts, **found}


def _tasks(
    trained: checkpoint.Trained, home: Path, tasks: list[TaskData], findings: Findings | None, asked: Asked
) -> dict[str, Any]:
    encoder = open_encoder(checkpoint.tokenizer_of(trained.folder))
    evaluator = Evaluator(trained, encoder, home)
    return scores.evaluate_tasks(evaluator, tasks, findings, asked.limit, asked.format_items)


def _before(home: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The parts of an earlier eval.json that were measured on the same weights."""
    try:
        known = json.loads((home / FILE).read_text(encoding="utf-8"))
        same = known.get("weights") == facts["weights"]
        return {key: known[key] for key in ("sources", "tasks", "lm_eval") if same and key in known}
    except (OSError, ValueError, AttributeError):
        return {}


def text(result: dict[str, Any]) -> str:
    """The result as tables."""
    parts = []
    if "sources" in result:
        parts.append(bits_per_byte.table(result["sources"], result["step"]))
    if "tasks" in result:
        parts.append(scores.tables(result["tasks"]))
    if "lm_eval" in result:
        parts.append(lm_eval.table(result["lm_eval"]))
    return "\n\n".join(parts)
