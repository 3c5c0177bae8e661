"""Bits per byte of every source on held-out documents, beside those of two baselines.

    bits per byte = sum of -log2 p(token | before) over all tokens, ends of documents included / UTF-8 bytes

Unlike loss a token, it can be compared between models with different tokenizers. The baselines are a unigram (token
counts of the training shards plus one) and the same model before training. Documents are packed into rows as in
training: a token sees what is before it in its row and its document, at most one row length.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import DataError
from train import checkpoint
from train.config import TrainSettings
from train.evaluation.documents import check_tokens, row_nats
from train.loss import IGNORE
from train.machine import pick_device, set_threads
from train.model import Model, build
from train.packing import Packed, pack, read_batch
from train.shards import Shards, open_shards

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


def model_nats(model: Model, packed: Packed, shards: Shards, settings: TrainSettings) -> float:
    """-ln p of all tokens of a packed source, summed."""
    return sum(
        float(nats_BT.sum(dtype=np.float64)) for _, _, nats_BT in row_nats(model, packed, shards.manifest, settings)
    )


def table_nats(nats: npt.NDArray[np.float64], packed: Packed, shards: Shards) -> float:
    """-ln p of all tokens of a packed source under a table by token id, summed."""
    total = 0.0
    for row in range(packed.rows):
        targets = read_batch([packed], np.zeros(1, dtype=np.int64), np.array([row]), shards.manifest).targets
        total += float(nats[targets[targets != IGNORE]].sum())
    return total


def evaluate(folder: Path, data: Path, tokens: int, device_name: str = "auto", threads: int = 0) -> dict[str, Any]:
    """Bits per byte of the checkpoint in `folder` on RUN/heldout/tokens; also written to eval.json of the model.

    tokens: of each source, the first documents that hold so many (0: all). Raises DataError where the held-out
    tokens are missing, empty, or made with another tokenizer than the model's.
    """
    set_threads(threads)
    device = pick_device(device_name)
    trained = checkpoint.open_model(folder, device)
    model, settings, index, found = trained
    heldout, training = open_shards(data / "heldout" / "tokens"), open_shards(data / "tokens")
    check_tokens(trained, heldout.manifest, data)
    untrained = build(model.shape, settings.seed, device, model.dtype)
    table, sources = unigram_nats(training), {}
    for name, source in heldout.sources.items():
        ends = np.cumsum(source.lengths(), dtype=np.int64)
        documents = min(int(np.searchsorted(ends, tokens)) + 1, len(ends)) if tokens else len(ends)
        if not documents:
            continue
        packed = pack(source, settings.sequence_length, heldout.manifest.end_of_document, documents=documents)
        nats = {
            "model": model_nats(model, packed, heldout, settings),
            "unigram": table_nats(table, packed, heldout),
            "untrained": model_nats(untrained, packed, heldout, settings),
        }
        counts = (documents, int(ends[documents - 1]), source.text_bytes(documents))
        sources[name] = {**dict(zip(COUNTS, counts, strict=True)), "nats": nats}
    if not sources:
        raise DataError(f"{data}/heldout/tokens holds no documents; give the recipe a `holdout` step")
    result = {"checkpoint": str(found), "step": index["step"], "sources": with_bits(sources)}
    home = checkpoint.tokenizer_of(found).parent
    checkpoint.write_file(home / "eval.json", json.dumps(result, indent=1).encode())
    return result


def with_bits(sources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sums a source as bits per byte, and the source `all`: total bits by total bytes."""
    totals: dict[str, Any] = {key: sum(row[key] for row in sources.values()) for key in COUNTS}
    totals["nats"] = {key: sum(row["nats"][key] for row in sources.values()) for key in MODELS}
    rows = {}
    for name, row in {**sources, "all": totals}.items():
        bits = {key: nats / math.log(2) / max(1, row["text_bytes"]) for key, nats in row["nats"].items()}
        rows[name] = {**{key: row[key] for key in COUNTS}, "bits_per_byte": bits}
    return rows


def table(result: dict[str, Any]) -> str:
    """The result as lines of at most 80 columns."""
    widths = {"documents": 10, "tokens": 11, "text_bytes": 12, "model": 8, "unigram": 9, "untrained": 11}
    heads = "".join(f"{name.removeprefix('text_'):>{width}}" for name, width in widths.items())
    first = min(18, max(6, *(len(name) for name in result["sources"])))
    lines = [f"bits per byte on held-out text, step {result['step']:,}", "", f"{'source':<{first}}{heads}"]
    for name, row in result["sources"].items():
        counts = "".join(f"{row[key]:>{widths[key]},}" for key in COUNTS)
        bits = "".join(f"{row['bits_per_byte'][model]:>{widths[model]}.3f}" for model in MODELS)
        lines.append(f"{name[:first]:<{first}}{counts}{bits}")
    return "\n".join(lines)
