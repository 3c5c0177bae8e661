"""Every item of a task under a model, in every format, as a table that is kept: the raw results of an evaluation.

    OUT/eval/<task>-<key>.parquet    format, row, state, accuracy, by_token, by_byte, nats, bytes, written

The key is a hash of the weights, the items and the settings, so that a repeated evaluation reads what is there, and one
that was stopped goes on with the next task. `state` is scored, too_long (a candidate is longer than the model's
context) or unlike (the format cannot ask this item). accuracy, by_token and by_byte: whether the gold candidate has the
highest log-likelihood, whole, a token and a byte; of a cloze and a generated answer, whether it is the right one.
nats and bytes are those of the gold candidate.
"""

import contextlib
import hashlib
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from curate.tokenizer.model import Encoder
from train import checkpoint
from train.evaluation.likelihood import Scored, Scorer, encode_all
from train.evaluation.prompts import FORMATS, GIVEN, Format, Prompt, prompts, right
from train.evaluation.tasks import TaskData
from train.generate import Sampling, generate
from train.model import Model

VERSION = 1  # of the scores; raised when they come out otherwise
SCHEMA = pa.schema(
    [
        pa.field("format", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("accuracy", pa.bool_()),
        pa.field("by_token", pa.bool_()),
        pa.field("by_byte", pa.bool_()),
        pa.field("nats", pa.float64()),
        pa.field("bytes", pa.int32()),
        pa.field("written", pa.large_string()),
    ]
)
WRITTEN_ROWS = 32  # answers that are generated at once


def sample(data: TaskData, count: int, seed: int) -> list[int]:
    """`count` rows of a task in order, drawn by the seed; all of them where count is 0 or larger."""
    rows = range(len(data.items))
    return sorted(random.Random(seed).sample(rows, count)) if 0 < count < len(rows) else list(rows)


class Evaluator:
    """A model with its tokenizer, and the folder of its results."""

    def __init__(self, trained: checkpoint.Trained, encoder: Encoder, out: Path) -> None:
        self.trained, self.encoder, self.out = trained, encoder, out
        self.scorer = Scorer(trained.model, encoder, trained.facts["end_of_document"])
        weights = checkpoint.digest_of(trained.folder)
        self.identity = [weights, trained.facts["tokenizer_sha256"], str(trained.model.dtype)]

    def items(self, data: TaskData, limit: int, format_items: int) -> tuple[pa.Table, bool]:
        """The table of a task, and whether it was there already.

        limit: at most so many items, 0 for all. format_items: of these, so many in the other formats, 0 for none.
        """
        asked = [VERSION, data.task.model_dump(exclude={"num_fewshot", "dataset_uri"}), data.shots, data.digest]
        key = hashlib.sha256(json.dumps([self.identity, asked, limit, format_items]).encode()).hexdigest()[:16]
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in data.name)
        path = self.out / "eval" / f"{name}-{key}.parquet"
        with contextlib.suppress(OSError, pa.ArrowException):  # not there, or damaged: made anew
            return pq.read_table(path), True
        rows = sample(data, limit, data.task.fewshot_random_seed)
        tables = [self._format(data, GIVEN, rows)]
        some = rows if format_items >= len(rows) else sorted(random.Random(1).sample(rows, format_items))
        if some:
            tables += [self._format(data, form, some) for form in FORMATS[data.kind]]
        table = pa.concat_tables(tables)
        content = io.BytesIO()
        pq.write_table(table, content)
        checkpoint.write_file(path, content.getvalue())
        return table, False

    def _format(self, data: TaskData, form: Format, rows: Sequence[int]) -> pa.Table:
        """The results of some items in one format."""
        asked = prompts(data, form, rows)
        known = [prompt for prompt in asked if prompt]
        found = self._written(data, known) if data.kind == "generation" else self._likely(data, known)
        results = iter(found)
        lines = [
            {"format": form.name, "row": row, **(next(results) if prompt else {"state": "unlike"})}
            for row, prompt in zip(rows, asked, strict=True)
        ]
        return pa.Table.from_pylist(lines, SCHEMA)

    def _likely(self, data: TaskData, known: Sequence[Prompt]) -> list[dict[str, Any]]:
        lines = []
        for prompt, scores in zip(known, self.scorer.score([one.candidates for one in known]), strict=True):
            lines.append({"state": "too_long"} if scores is None else _judged(scores, prompt.gold))
        return lines

    def _written(self, data: TaskData, known: Sequence[Prompt]) -> list[dict[str, Any]]:
        """Greedy answers. The prompt and the longest answer must fit the context, since nothing is cut."""
        task, model, end = data.task, self.trained.model, self.trained.facts["end_of_document"]
        lines: list[dict[str, Any]] = [{"state": "too_long"} for _ in known]
        ids = encode_all(self.encoder, [one.candidates[0][0].rstrip() for one in known])
        room = model.shape.sequence_length - 1 - task.generated_tokens
        fitting = sorted((n for n in range(len(known)) if len(ids[n]) <= room), key=lambda n: (len(ids[n]), n))
        for start in range(0, len(fitting), WRITTEN_ROWS):
            batch = fitting[start : start + WRITTEN_ROWS]
            asked = [ids[n] for n in batch]
            texts = write(model, self.encoder, asked, end, task.generated_tokens, task.early_stopping_criteria)
            for number, text in zip(batch, texts, strict=True):
                item = data.items[known[number].row]
                lines[number] = {"state": "scored", "accuracy": right(text, item, task), "written": text}
        return lines


def write(
    model: Model,
    encoder: Encoder,
    ids: Sequence[Sequence[int]],
    end_of_document: int,
    tokens: int,
    stops: Sequence[str],
) -> list[str]:
    """The likeliest continuations of prompts, until each holds one of the stops or has `tokens` tokens."""
    sampling = Sampling(tokens=tokens, temperature=0)
    new: list[list[int]] = [[] for _ in ids]
    texts = [""] * len(ids)
    item = pa.large_list(pa.uint16() if model.shape.vocab_size <= 1 << 16 else pa.uint32())
    with torch.no_grad():
        for step in generate(model, ids, end_of_document, sampling):
            for row, token in step.items():
                new[row].append(token)
            decoded = pa.array(encoder.decode(pa.array([new[row] for row in step], item))).to_pylist()
            for row, content in zip(step, decoded, strict=True):
                texts[row] = content.decode("utf-8", errors="replace")
            # Only text before a stop counts, so that rows that have one may go on while others need more.
            if all(any(stop in texts[row] for stop in stops if stop) for row in step):
                break
    return texts


def _judged(scores: Sequence[Scored], gold: int) -> dict[str, Any]:
    one = scores[gold]
    line: dict[str, Any] = {"state": "scored", "nats": one.nats, "bytes": one.bytes, "accuracy": one.greedy}
    if len(scores) > 1:
        nats, tokens, sizes = (
            np.array(part) for part in zip(*((s.nats, s.tokens, s.bytes) for s in scores), strict=True)
        )
        line["accuracy"] = int(nats.argmin()) == gold
        line["by_token"] = int((nats / tokens).argmin()) == gold
        line["by_byte"] = int((nats / sizes).argmin()) == gold
    return line
