"""Bits per byte of every source on held-out documents, beside those of two baselines.

    bits per byte = sum of -log2 p(token | before) over all tokens, ends of documents included / UTF-8 bytes

Unlike loss a token, it can be compared between models with different tokenizers. The baselines are a unigram (token
counts of the training shards plus one) and the same model before training. Documents are packed into rows as in
training: a token sees what is before it in its row and its document, at most one row length. Documents are the sample
that standard errors are of, since tokens of one document are alike.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import console
from curate.errors import DataError
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.evaluation.documents import document_nats
from train.evaluation.statistics import Score, ratio, shown
from train.model import build
from train.shards import Chunk, Manifest, Shards, Source, open_shards

UNIGRAM_TOKENS = 1 << 27  # counted of each source at most: seconds on one core, and the counts change little beyond

COUNTS = ("documents", "tokens", "text_bytes")
MODELS = ("model", "unigram", "untrained")


def unigram_nats(shards: Shards) -> npt.NDArray[np.float64]:
    """-ln p of every token id under the training shards' counts plus one (Laplace)."""
    vocab = shards.manifest.vocab_size
    counts = np.ones(vocab, dtype=np.int64)
    for source in shards.sources.values():
        seen = 0
        for chunk in source.chunks:
            values = chunk.values[chunk.offsets[0] : chunk.offsets[-1]][: UNIGRAM_TOKENS - seen]
            counts += np.bincount(values, minlength=vocab)[:vocab]
            seen += len(values)
    nats: npt.NDArray[np.float64] = -np.log(counts / counts.sum())
    return nats


def table_nats(
    nats: npt.NDArray[np.float64], source: Source, shards: Shards, documents: int
) -> npt.NDArray[np.float64]:
    """-ln p of the first documents of a source under a table by token id, each summed over its tokens."""
    found = []
    for chunk in source.chunks:
        values = chunk.values[chunk.offsets[0] : chunk.offsets[-1]]
        if len(values) and int(values.max()) >= shards.manifest.vocab_size:
            raise DataError(f"{source.name}: a token id is {values.max()}, beyond the vocabulary; run `curate` again")
        starts = chunk.offsets[:-1] - chunk.offsets[0]
        found.append(np.add.reduceat(nats[values], starts) if len(starts) else np.zeros(0))
    return np.concatenate(found)[:documents] if found else np.zeros(0)


def held_out(trained: checkpoint.Trained, data: Path, tokens: int = 0, baselines: bool = True) -> dict[str, Any]:
    """By source, and for all of them: bits per byte and perplexity with standard errors, on RUN/heldout/tokens.

    tokens: of each source, the first documents that hold so many (0: all). For a model with another tokenizer than the
    run's the texts are tokenized anew, and the baselines are left out, as they are without `baselines`. Raises
    DataError where there are no held-out documents.
    """
    model, settings = trained.model, trained.settings
    heldout = open_shards(data / "heldout" / "tokens")
    if heldout.manifest.tokenizer_sha256 != trained.facts["tokenizer_sha256"]:
        heldout, baselines = tokenized(trained, data), False
    if baselines:
        untrained = build(model.shape, settings.seed, model.device, model.dtype)
        table = unigram_nats(open_shards(data / "tokens"))
    sources: dict[str, Measured] = {}
    for name, source in heldout.sources.items():
        lengths = source.lengths()
        ends = np.cumsum(lengths, dtype=np.int64)
        documents = min(int(np.searchsorted(ends, tokens)) + 1, len(ends)) if tokens else len(ends)
        if not documents:
            continue
        how = (source, heldout.manifest, settings, documents, None)
        nats = {"model": document_nats(model, *how)}
        if baselines:
            nats["unigram"] = table_nats(table, source, heldout, documents)
            nats["untrained"] = document_nats(untrained, *how)
        sources[name] = Measured(lengths[:documents], source.document_bytes()[:documents], nats)
    if not sources:
        raise DataError(f"{data}/heldout/tokens holds no documents; give the recipe a `holdout` step")
    parts = list(sources.values())
    whole = Measured(
        np.concatenate([one.tokens for one in parts]),
        np.concatenate([one.text_bytes for one in parts]),
        {key: np.concatenate([one.nats[key] for one in parts]) for key in parts[0].nats},
    )
    return {name: one.scores() for name, one in {**sources, "all": whole}.items()}


def tokenized(trained: checkpoint.Trained, data: Path) -> Shards:
    """The held-out documents of a run as tokens of the model's own tokenizer, where that is another than the run's.

    Raises DataError where the run keeps no texts of them.
    """
    path, end = data / "heldout" / "documents", trained.facts["end_of_document"]
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise DataError(
            f"{data}: its tokens were made with another tokenizer than the one {trained.folder} was trained with, and "
            f"{path} holds no texts of the held-out documents"
        )
    encoder = open_encoder(checkpoint.tokenizer_of(trained.folder))
    chunks: dict[str, list[Chunk]] = {}
    for file in files:
        table = pq.read_table(file, columns=["doc_id", "source", "text"])
        names = table.column("source").cast(pa.string())
        for name in sorted(pc.unique(names).to_pylist()):
            part = table.filter(pc.equal(names, name)).combine_chunks()
            texts = part.column("text").cast(pa.large_string()).combine_chunks()
            ids = pa.array(encoder.encode(texts, end_of_document=end))
            sizes = pc.binary_length(texts).to_numpy().astype(np.uint64)
            ends, doc_ids = ids.offsets.to_numpy(), part.column("doc_id").combine_chunks()
            chunks.setdefault(name, []).append(Chunk(ends, ids.values.to_numpy(), sizes, doc_ids))
    facts = {"version": 1, "dtype": "uint32", "files": [], "sources": {}, "end_of_document": end}
    facts |= {"tokenizer_sha256": trained.facts["tokenizer_sha256"], "vocab_size": trained.model.shape.vocab_size}
    sources = {name: Source(name, chunks[name], "") for name in sorted(chunks)}
    return Shards(path, Manifest.model_validate(facts), sources)


class Measured(NamedTuple):
    """Documents: their tokens, their bytes, and their nats under every model."""

    tokens: npt.NDArray[Any]
    text_bytes: npt.NDArray[Any]
    nats: dict[str, npt.NDArray[np.float64]]

    def scores(self) -> dict[str, Any]:
        """Counts; bits per byte, loss (nats a token) and perplexity of every model, each with its standard error."""
        counts = (len(self.tokens), int(self.tokens.sum()), int(self.text_bytes.sum()))
        row: dict[str, Any] = dict(zip(COUNTS, counts, strict=True))
        bits = {key: ratio(nats / math.log(2), self.text_bytes) for key, nats in self.nats.items()}
        row["bits_per_byte"] = {key: one.value if one else None for key, one in bits.items()}
        row["standard_error"] = {key: one.error if one else None for key, one in bits.items()}
        row["loss"], row["perplexity"] = {}, {}
        for key, nats in self.nats.items():
            if found := ratio(nats, self.tokens):
                row["loss"][key] = found.data()
                # The error of exp(x) is exp(x) times that of x.
                value = math.exp(found.value)
                error = None if found.error is None else value * found.error
                row["perplexity"][key] = Score(value, error, found.n).data()
        return row


def table(sources: Mapping[str, Any], step: int) -> str:
    """The scores as lines of at most 80 columns."""
    models = [key for key in MODELS if key in sources["all"]["bits_per_byte"]]
    heads = ["source", "documents", "tokens", *models]
    lines = []
    for name, row in sources.items():
        cells = []
        for key in models:
            value, error = row["bits_per_byte"][key], row["standard_error"][key]
            cells.append(shown(None if value is None else Score(value, error, row["documents"])))
        lines.append([name[:14], f"{row['documents']:,}", f"{row['tokens']:,}", *cells])
    return f"bits per byte on held-out text, step {step:,}\n\n" + console.table(heads, lines)
