"""Spans that were tried: the passes of the models over them, their texts, and what is known of their documents."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate import console
from curate.tokenizer.model import Encoder
from train.audit.copies import Copies, columns_of, copies_of, numbers
from train.audit.forced import Drawing, Forced, forced, known
from train.audit.spans import Sampled, Spans, occurrences
from train.checkpoint import Trained
from train.intervals import Floats, Ints
from train.parts import Parts
from train.shards import Shards

BLOCK = 4096  # spans of a part that is kept

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("heldout", pa.bool_(), nullable=False),
        pa.field("start", pa.uint32(), nullable=False),  # first token of the span in the document
        pa.field("extracted", pa.bool_(), nullable=False),  # greedy generation gives the whole suffix
        pa.field("tokens_known", pa.uint32(), nullable=False),  # of the suffix before the first wrong one
        pa.field("share_right", pa.float64(), nullable=False),  # of the suffix's tokens, each after the true ones
        pa.field("ln_drawn", pa.float64(), nullable=False),  # ln p that a drawn continuation is the suffix
        pa.field("nats", pa.float64(), nullable=False),  # -ln p of the span
        pa.field("zlib_ratio", pa.float64(), nullable=False),
        pa.field("reference_extracted", pa.bool_()),
        pa.field("reference_nats", pa.float64()),
        pa.field("n_copies", pa.float64()),
        pa.field("mass", pa.float64()),
        pa.field("occurrences", pa.float64()),  # of the span's tokens in the training tokens
        pa.field("times_read", pa.float64()),
        pa.field("last_step", pa.float64()),
        pa.field("quality_score", pa.float64()),
    ]
)


class Tried(NamedTuple):
    """Spans of training or of held-out documents, with what the models make of them and their texts."""

    sampled: Sampled
    doc_ids: list[bytes]
    sources: list[str]
    own: Forced
    other: Forced | None
    text_bytes: Ints
    zlib_bytes: Ints

    @property
    def ratio(self) -> Floats:
        """Compressed bytes by bytes."""
        return np.asarray(self.zlib_bytes / np.maximum(self.text_bytes, 1))


class Models(NamedTuple):
    """The audited model, one that never saw the data or None, and how continuations are drawn."""

    own: Trained
    other: Trained | None
    encoder: Encoder
    vocab_size: int
    suffix: int
    drawing: Drawing


def try_spans(models: Models, parts: Parts, name: str, shards: Shards | None, sampled: Sampled) -> Tried:
    """The passes of both models over spans of these shards; `name` is that of the parts kept."""
    spans = sampled.spans
    names = [source.name for source in shards.sources.values() if source.documents] if shards else []
    own = passes(parts, f"{name}-own", models.own, spans.tokens, models.suffix, models.drawing)
    other = None
    if models.other is not None:
        other = passes(parts, f"{name}-reference", models.other, spans.tokens, models.suffix, models.drawing)
    texts = decode(models.encoder, spans.tokens, models.vocab_size)
    sources = [names[number] for number in spans.source.tolist()]
    sizes = np.array([len(text) for text in texts], np.int64)
    packed = np.array([len(zlib.compress(text)) for text in texts], np.int64)
    return Tried(sampled, _doc_ids(shards, names, spans), sources, own, other, sizes, packed)


def passes(
    parts: Parts, name: str, model: Trained, tokens_NL: Ints, suffix: int, drawing: Drawing | None = None
) -> Forced:
    """`forced`, some spans at a time, each block kept."""
    found, end = [], model.facts["end_of_document"]
    for start in range(0, max(1, len(tokens_NL)), BLOCK):
        console.passing(f"{name}: {start:,} of {len(tokens_NL):,} spans")
        block = tokens_NL[start : start + BLOCK]

        def make(block: Ints = block) -> dict[str, Any]:
            return forced(model.model, block, end, suffix, drawing)._asdict()

        found.append(parts.arrays(f"{name}-{start}", make))
    return Forced(*(np.concatenate([one[field] for one in found]) for field in Forced._fields))


def decode(encoder: Encoder, rows: Sequence[Sequence[int]] | Ints, vocab_size: int) -> list[bytes]:
    """The UTF-8 bytes of every row of tokens."""
    item = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    decoded: list[bytes] = pa.array(encoder.decode(pa.array(list(rows), pa.large_list(item)))).to_pylist()
    return decoded


def _doc_ids(shards: Shards | None, names: Sequence[str], spans: Spans) -> list[bytes]:
    ids: list[bytes] = [b""] * len(spans.source)
    for number, name in enumerate(names):
        here = np.flatnonzero(spans.source == number)
        found = shards.sources[name].doc_ids(spans.document[here]) if shards else []
        for place, one in zip(here.tolist(), found, strict=True):
            ids[place] = one
    return ids


class Known(NamedTuple):
    """What is known of the spans' documents, by name, NaN where it is not; and the cluster of each."""

    facts: dict[str, Floats]
    clusters: Ints


def look_up(tried: Tried, shards: Shards, data: Path, copies: Path) -> Known:
    """Join the columns of data/documents, the copies that the run `copies` found, and what training did."""
    ids, spans, n = tried.doc_ids, tried.sampled.spans, len(tried.doc_ids)
    own = np.unique(np.array([one.hex() for one in ids]), return_inverse=True)[1].astype(np.int64)
    found = copies_of(copies, ids) or Copies(own, np.full(n, np.nan), np.full(n, np.nan))
    score = columns_of(data, ids, ["quality_score"]).get("quality_score")
    facts = {
        "n_copies": found.n_copies,
        "mass": found.mass,
        "occurrences": occurrences(shards, spans.tokens).astype(np.float64),
        "times_read": spans.times.astype(np.float64),
        "last_step": np.where(spans.last_step < 0, np.nan, spans.last_step),
        "quality_score": np.full(n, np.nan) if score is None else numbers(score),
    }
    return Known(facts, found.cluster)


def span_table(tried: Tried, known_: Known, heldout: bool) -> pa.Table:
    """Rows of spans.parquet."""
    n, own, other = len(tried.doc_ids), tried.own, tried.other
    none = [None] * n
    columns: dict[str, Any] = {
        "doc_id": tried.doc_ids,
        "source": tried.sources,
        "heldout": [heldout] * n,
        "start": tried.sampled.spans.start,
        "extracted": own.correct.all(axis=1),
        "tokens_known": known(own.correct),
        "share_right": own.correct.mean(axis=1),
        "ln_drawn": own.drawn,
        "nats": own.nats.sum(axis=1, dtype=np.float64),
        "zlib_ratio": tried.ratio,
        "reference_extracted": none if other is None else other.correct.all(axis=1),
        "reference_nats": none if other is None else other.nats.sum(axis=1, dtype=np.float64),
        **known_.facts,
    }
    return pa.table([_column(columns[field.name], field) for field in SCHEMA], schema=SCHEMA)


def _column(values: Any, field: pa.Field) -> pa.Array:
    kind = field.type
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    return pa.array(values, kind, from_pandas=pa.types.is_floating(kind))
