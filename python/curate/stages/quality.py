"""quality: a quality score for each document, by a classifier or from a file, and which documents it keeps.

`model` is a folder that `curate train-classifier` made, or a fastText model file with the name of its good `label`; the
score is the probability of that label, 0..1, and goes into quality_score. An empty text is scored as the model scores
one without a word. Or `scores` names a Parquet file with doc_id and a score, or a folder of such files, as
`train score` writes them; the scores in `score_column` are joined by doc_id. Scores of another scale, bits per byte
for example, need a `column` of their own.

Documents are kept by their score in one of these ways, by the setting `keep`:

    all       only the score is set
    above     min_score or more, max_score or less; the threshold of the
              model's card where neither is set; min_scores by `by`
    sampled   with the probability (2 - score)^-alpha: some of the bad
              ones stay, the share of good ones grows with alpha

    curate quality docs/ --model good --keep above --out kept
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import model_validator

from curate import schema
from curate.classifier.model import Opened, files_of, model_bytes, open_model
from curate.config import Settings, setting, suggest
from curate.dedup.sorting import SortedBatches, id_bytes, key_view
from curate.errors import ConfigError, DataError
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts

SCORE = "quality_score"


class Quality(Settings):
    """Where the score comes from, and which scores stay."""

    model: str = setting("", "folder that train-classifier made, or a fastText model file")
    label: str = setting("", "the label of good documents; that of the model's card where not set")
    scores: str = setting("", "Parquet file of doc_id and score, or a folder of such files, in place of a model")
    score_column: str = setting("score", "column of the scores' files that has the score", min_length=1)
    column: str = setting(SCORE, "column of the score; one of your own where scores are not 0..1", min_length=1)
    keep: Literal["all", "above", "sampled"] = setting("all", "every document, those above min_score, or a sample")
    min_score: float | None = setting(None, "least score that stays (above)")
    max_score: float | None = setting(None, "greatest score that stays (above)")
    min_scores: dict[str, float] = setting({}, "other least scores, by the value of the column `by` (above)")
    by: str = setting("", "column whose values min_scores names, such as label or lang")
    alpha: float = setting(3.0, "how strongly a sample prefers high scores (sampled)", gt=0)
    seed: int = setting(1, "chooses the sample, with the doc_id (sampled)")
    missing: Literal["drop", "keep"] = setting("drop", "documents that have no row in `scores`")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """ValueError for settings that contradict each other, and for a label that the model does not have."""
        if bool(self.model) == bool(self.scores):
            raise ValueError("give either a model or scores")
        if self.scores and self.label:
            raise ValueError("scores have no labels: leave out label")
        if bool(self.min_scores) != bool(self.by):
            raise ValueError("min_scores and by belong together: give both")
        if self.column != SCORE and schema.DOCUMENT.get_field_index(self.column) >= 0:
            raise ValueError(f'the column "{self.column}" has another meaning: choose another')
        if self.model:
            model = open_model(self.model, "quality.model")
            self.good(model)
            if self.keep == "above":
                self.least(model)
        elif self.keep == "above":
            self.least(None)
        return self

    def good(self, model: Opened) -> int:
        """The place of the good label; ValueError where the model has no such label."""
        name = self.label or model.card.get("positive", "")
        if name in model.labels:
            return model.labels.index(name)
        what = f'the model has no label "{name}"' if name else "this model has no card: name its good label"
        raise ValueError(what + suggest(name, model.labels))

    def least(self, model: Opened | None) -> float:
        """The threshold of `above`; ValueError where neither the settings nor the card have one."""
        least = self.min_score
        if least is None and self.max_score is not None:
            return -math.inf
        if least is None and model is not None:
            least = model.card.get("threshold")
        if least is None:
            raise ValueError("there is no threshold beside the scores: set min_score or max_score")
        return float(least)


class State(NamedTuple):
    """The settings, and the model or the scores by doc_id, opened once a worker."""

    config: Quality
    model: Opened | None
    scores: SortedBatches | None


def score_files(path: str) -> list[str]:
    """The Parquet files of a path; ConfigError where there is none."""
    place = Path(path).expanduser()
    files = sorted(map(str, place.glob("**/*.parquet"))) if place.is_dir() else [path]
    if not files:
        raise ConfigError(f"quality.scores: {path}: no Parquet file in this folder")
    return files


def open_state(config: Quality, side: Side) -> State:
    """The model, or the scores sorted by doc_id. DataError where a file has no such columns, or a doc_id twice."""
    if config.model:
        return State(config, open_model(config.model, "quality.model"), None)
    parts = [_read(file.path, file.name, config.score_column) for file in side.files("scores")]
    table = pa.concat_tables(parts).sort_by("doc_id").combine_chunks()
    keys, where = key_view(table.column("doc_id").chunk(0)), f"quality.scores: {config.scores}"
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise DataError(f"{where}: doc_id {id_bytes(keys[twice[0]]).hex()} has two scores")
    scores = table.column("score").to_numpy()
    if not np.isfinite(scores).all():
        raise DataError(f"{where}: {(~np.isfinite(scores)).sum():,} scores are no finite number")
    if config.column == SCORE and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise DataError(
            f"{where}: scores reach from {scores.min():g} to {scores.max():g}, and quality_score is 0..1: name another"
            " column for them in quality.column"
        )
    return State(config, None, SortedBatches(table, "doc_id"))


def _read(path: Path, name: str, column: str) -> pa.Table:
    """(doc_id, score: float64) of a file."""
    try:
        table = pq.read_table(path, columns=["doc_id", column])
        ids = table.column("doc_id").cast(pa.binary()).cast(schema.DOC_ID)
        score = table.column(column).cast(pa.float64())
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(f"quality.scores: {name}: no table of doc_id (16 bytes) and {column}: {error}") from None
    if ids.null_count or score.null_count:
        raise DataError(f"quality.scores: {name}: {ids.null_count + score.null_count:,} values are null")
    return pa.table({"doc_id": ids, "score": score})


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Sets the score; drops rows without one, below their threshold, or not in the sample."""
    config = state.config
    scores = _scores(batch, state)
    kind = pa.float32() if config.column == SCORE else pa.float64()
    known = ~np.isnan(scores)
    batch = with_column(batch, config.column, pa.array(scores, kind, mask=~known))
    rules = np.full(batch.num_rows, None, object)
    limits = np.full(batch.num_rows, np.nan)
    if config.missing == "drop":
        rules[~known] = "quality.no_score"
    if config.keep == "above":
        limits = _limits(batch, config, config.least(state.model))
        rules[known & (scores < limits)] = "quality.min_score"
        if config.max_score is not None:
            over = known & (scores > config.max_score)
            rules[over], limits[over] = "quality.max_score", config.max_score
    elif config.keep == "sampled":
        limits = (2 - scores) ** -config.alpha
        rules[known & (_uniform(batch.column("doc_id"), config.seed) >= limits)] = "quality.sample"
    values, limits = pa.array(scores, mask=~known), pa.array(limits, mask=~np.isfinite(limits))
    return with_verdicts(batch, rules.tolist(), values, limits)


def _scores(batch: pa.RecordBatch, state: State) -> np.ndarray:
    """The score of each row, NaN for none. Those of a model are rounded to 32 bits, as the column has them."""
    if state.model is not None:
        return state.model.scores(batch.column("text"))[:, state.config.good(state.model)].astype(np.float64)
    assert state.scores is not None
    scores = np.full(batch.num_rows, np.nan)
    for listed, rows, places in state.scores.find(key_view(batch.column("doc_id"))):
        scores[rows] = listed.column("score").to_numpy()[places]
    return scores


def _limits(batch: pa.RecordBatch, config: Quality, least: float) -> np.ndarray:
    """The threshold of each row: that of its value of `by` where it has one of its own."""
    limits = np.full(batch.num_rows, least)
    if config.by:
        values = batch.column(config.by).cast(pa.string())
        at = np.asarray(pc.fill_null(pc.index_in(values, value_set=pa.array(list(config.min_scores))), -1))
        own = np.array(list(config.min_scores.values()))
        limits = np.where(at < 0, limits, own[at])
    # Scores have 32 bits: a limit of as many lets the score that it names stay.
    return limits.astype(np.float32).astype(np.float64) if config.column == SCORE else limits


def _uniform(doc_id: pa.Array, seed: int) -> np.ndarray:
    """A number of 0..1 for each document, from its doc_id and the seed alone."""
    prefix = b"%d " % seed
    heads = [hashlib.sha256(prefix + identity).digest()[:8] for identity in doc_id.to_pylist()]
    return np.frombuffer(b"".join(heads), "<u8") / 2.0**64


def needs(config: Quality) -> Sequence[str]:
    """The columns that the score and its threshold are made from."""
    return ("text" if config.model else "doc_id", *([config.by] if config.by else []))


def files(config: Quality) -> Mapping[str, Sequence[str]]:
    """The model's files, and the files of scores."""
    return {
        "model": files_of(config.model) if config.model else [],
        "scores": score_files(config.scores) if config.scores else [],
    }


def _state_bytes(config: Quality) -> int:
    if config.model:
        return model_bytes(config.model)
    paths = [Path(name).expanduser() for name in score_files(config.scores)]
    return sum(4 * path.stat().st_size for path in paths if path.is_file())


def _used(config: Quality) -> list[str]:
    """The rules that can drop a document under these settings."""
    bounds = (("min_score", config.max_score is None or config.min_score is not None or bool(config.by)),
              ("max_score", config.max_score is not None))  # fmt: skip
    used = [f"quality.{name}" for name, set_ in bounds if set_] if config.keep == "above" else []
    used += ["quality.sample"] if config.keep == "sampled" else []
    return used + (["quality.no_score"] if config.scores and config.missing == "drop" else [])


RULES = {
    "quality.min_score": "score",
    "quality.max_score": "score",
    "quality.sample": "score; limit: probability",
    "quality.no_score": "",
}

STAGE = Stage(
    name="quality",
    version=1,
    summary="A quality score for each document; keep by score.",
    config=Quality,
    needs=needs,
    expected=lambda config: (0.01, 1.0),
    rules=lambda config: {rule: RULES[rule] for rule in _used(config)},
    files=files,
    resources=lambda config: Resources(state_bytes=_state_bytes(config)),
    phases=(Phase("apply", "each", open=open_state, apply=apply, side=("model", "scores")),),
)
