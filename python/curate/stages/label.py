"""label: a class for each document, by a classifier of yours (topic, format, register …).

`model` is a folder that `curate train-classifier` made, or a fastText model file. The most probable label goes into the
column `name` and its probability, 0..1, into `<name>_score`. An empty text gets a label, too: that of the model without
a word. With `keep` documents of other labels are dropped, with `min_score` those whose label is less sure.

    curate train-classifier --label forum=posts/ --label news=news/ --out m
    curate label docs/ --model m --name topic --out labeled
"""

from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from curate import schema
from curate.classifier.model import Opened, files_of, model_bytes, open_model
from curate.config import Settings, setting, suggest
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts


class Label(Settings):
    """The classifier, the columns, and which labels stay."""

    model: str = setting(..., "folder that train-classifier made, or a fastText model file", min_length=1)
    name: str = setting("label", "column of the label; its probability goes into NAME_score", min_length=1)
    keep: list[str] = setting([], "labels to keep; empty keeps all")
    min_score: float = setting(0.0, "a document whose label has a lower probability is dropped", ge=0, le=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        """ValueError for a column that means something else, and for a label that the model does not have."""
        for column in (self.name, f"{self.name}_score"):
            if schema.DOCUMENT.get_field_index(column) >= 0 and self.name not in ("lang", "quality"):
                raise ValueError(f'the column "{column}" has another meaning: choose another name')
        labels = open_model(self.model, "label.model").labels if self.keep else []
        for name in self.keep:
            if name not in labels:
                raise ValueError(f'the model has no label "{name}"{suggest(name, labels)}')
        return self


def open_state(config: Label, side: Side) -> tuple[Label, Opened]:
    """The settings and the model, once a worker."""
    return config, open_model(config.model, "label.model")


def apply(batch: pa.RecordBatch, state: tuple[Label, Opened]) -> Applied:
    """Sets the two columns; drops rows of other labels, or with a probability below the limit."""
    config, model = state
    table = model.scores(batch.column("text"))
    best = table.argmax(axis=1) if batch.num_rows else np.zeros(0, np.int64)
    values = table[np.arange(batch.num_rows), best]
    names = pa.array(model.labels, pa.string()).take(pa.array(best))
    batch = with_column(batch, config.name, names.dictionary_encode().cast(schema.CATEGORY))
    batch = with_column(batch, f"{config.name}_score", pa.array(values, pa.float32()))
    wrong = ~np.isin(best, [model.labels.index(name) for name in config.keep]) if config.keep else values < 0
    unsure = ~wrong & (values < config.min_score)
    pairs = zip(wrong.tolist(), unsure.tolist(), strict=True)
    rules = ["label.keep" if other else "label.min_score" if low else None for other, low in pairs]
    limits = [config.min_score if rule == "label.min_score" else None for rule in rules]
    details = [name if rule else None for name, rule in zip(names.to_pylist(), rules, strict=True)]
    return with_verdicts(batch, rules, values.astype(float).tolist(), limits, details)


STAGE = Stage(
    name="label",
    version=1,
    summary="A class for each document, by a classifier.",
    config=Label,
    expected=lambda config: (0.01, 1.0),
    rules=lambda config: {"label.keep": "probability", "label.min_score": "probability"},
    limits=lambda config: {"label.min_score": config.min_score},
    files=lambda config: {"model": files_of(config.model)},
    resources=lambda config: Resources(state_bytes=model_bytes(config.model)),
    phases=(Phase("apply", "each", open=open_state, apply=apply, side=("model",)),),
)
