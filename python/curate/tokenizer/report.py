"""How well a tokenizer fits the text: fertility by source and language, tokens hardly used, samples shown split.

Fertility (tokens a word) is measured on a sample: the documents whose id begins with a byte below 16, one in sixteen
whatever the number of workers, and the first of every batch. Uses of tokens are counted over all documents.

Both are emitted as partial sums, a few rows a batch, and added up by functions that give the same rows however the
parts were grouped: add(add(a), add(b)) = add(a, b), in one order and of one type.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.tokenizer.model import Tokenizer

SAMPLES = (
    "In 2024, 1234567 people paid 3.14159 each.",
    "1 12 123 1234 12345 0x1F 1e-9",
    "def area(radius):\n    return 3.14159 * radius ** 2  # in m²\n",
    "for (int i = 0; i < n; ++i) { total += values[i]; }\n",
)
MEASURES = ("documents", "words", "text_bytes", "tokens")


def fertility(batch: pa.RecordBatch, n_tokens: pa.Array) -> pa.RecordBatch:
    """(source, lang, documents, words, text_bytes, tokens) of the sampled documents, a row each."""
    # Ids are hashes, so that the documents whose id begins with a small byte are a fair sample.
    first = np.array([doc_id[0] for doc_id in batch.column("doc_id").to_pylist()], np.uint8)
    chosen = first < 16
    chosen[:1] = True
    mask = pa.array(chosen)
    text = batch.column("text").filter(mask)
    words = kernels.signals(text).field("n_words").cast(pa.int64())
    named = {
        name: pc.fill_null(batch.column(name).cast(pa.string()).filter(mask), "unknown")
        if name in batch.schema.names
        else pa.array(["unknown"] * len(text))
        for name in ("source", "lang")
    }
    measures = [
        pa.array(np.ones(len(text), np.int64)), words,
        pc.binary_length(text).cast(pa.int64()), n_tokens.filter(mask).cast(pa.int64()),
    ]  # fmt: skip
    return pa.RecordBatch.from_pydict({**named, **dict(zip(MEASURES, measures, strict=True))})


def used(tokens: pa.Array) -> pa.RecordBatch:
    """(token, count) of every token that occurs, by id."""
    counts = np.bincount(tokens.flatten().to_numpy(zero_copy_only=False))
    ids = np.flatnonzero(counts)
    return pa.RecordBatch.from_pydict({"token": pa.array(ids, pa.uint32()), "count": pa.array(counts[ids], pa.int64())})


def add_fertility(table: pa.Table) -> pa.Table:
    """A row a (source, lang) with the sums, in that order."""
    return _sums(table, ["source", "lang"], MEASURES)


def add_used(table: pa.Table) -> pa.Table:
    """A row a token with the sum of its counts, by id."""
    return _sums(table, ["token"], ["count"])


def _sums(table: pa.Table, keys: Sequence[str], values: Sequence[str]) -> pa.Table:
    summed = table.group_by(list(keys)).aggregate([(name, "sum") for name in values])
    renamed = summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names])
    return renamed.select([*keys, *values]).sort_by([(key, "ascending") for key in keys])


def report(tokenizer: Tokenizer, fertilities: pa.Table, uses: pa.Table) -> bytes:
    """The content of report.json."""
    counts = np.zeros(len(tokenizer.vocab), np.int64)
    if uses.num_rows:
        uses = add_used(uses)
        counts[uses.column("token").to_numpy()] = uses.column("count").to_numpy()
    rows = add_fertility(fertilities).to_pylist() if fertilities.num_rows else []
    total = {name: sum(row[name] for row in rows) for name in MEASURES}
    content: dict[str, Any] = {
        "tokenizer_sha256": tokenizer.sha256,
        "vocab_size": len(tokenizer.vocab),
        "tokens_counted": int(counts.sum()),
        "tokens_never_used": int((counts == 0).sum()),
        "tokens_used_less_than_10_times": int((counts < 10).sum()),
        "tokens_used_less_than_100_times": int((counts < 100).sum()),
        "fertility_sample": _rates(total),
        "fertility_by_source_and_language": [{**row, **_rates(row)} for row in rows],
        "samples": _split(tokenizer, SAMPLES),
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def _rates(row: dict[str, Any]) -> dict[str, Any]:
    """The sums of a row with tokens a word and bytes a token, null where there is nothing to divide by."""
    per_word = round(row["tokens"] / row["words"], 3) if row["words"] else None
    per_token = round(row["text_bytes"] / row["tokens"], 3) if row["tokens"] else None
    return {**{name: row[name] for name in MEASURES}, "tokens_a_word": per_word, "bytes_a_token": per_token}


def _split(tokenizer: Tokenizer, samples: Sequence[str]) -> list[dict[str, Any]]:
    """Every sample with its tokens as text; a part of a character is shown as its bytes."""
    rows = tokenizer.encoder().encode_lists(samples)
    shown = [[tokenizer.vocab[i].as_py().decode(errors="backslashreplace") for i in row] for row in rows]
    return [{"text": text, "tokens": tokens} for text, tokens in zip(samples, shown, strict=True)]
