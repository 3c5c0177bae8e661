"""`train score`: how well a model predicts every document, as Parquet for quality filters and audits.

    doc_id, source, n_tokens, nats, bits_per_byte

A document is scored as it is read in training: from its start, or in pieces of a row where it is longer than that, and
never with anything of another document before it. bits_per_byte is null for a document without text.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from curate.errors import ConfigError, CurateError, DataError
from train import checkpoint
from train.config import TrainSettings
from train.loss import IGNORE
from train.machine import pick_device, set_threads
from train.model import Model
from train.packing import Batch, Packed, pack, read_batch
from train.shards import Int, Manifest, Source, open_shards

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("n_tokens", pa.uint32(), nullable=False),
        pa.field("nats", pa.float64(), nullable=False),
        pa.field("bits_per_byte", pa.float64()),
    ]
)


def row_nats(
    model: Model, packed: Packed, manifest: Manifest, settings: TrainSettings, masked: bool | None = None
) -> Iterator[tuple[Int, Batch, npt.NDArray[np.float32]]]:
    """(row numbers, rows, -ln p of every target [B, T]) of all rows of a packed source, some at a time.

    masked: no attention across documents; None does as in training.
    """
    masked = settings.document_mask if masked is None else masked
    for start in range(0, packed.rows, settings.micro_rows):
        rows = np.arange(start, min(start + settings.micro_rows, packed.rows))
        batch = read_batch([packed], np.zeros_like(rows), rows, manifest)
        inputs, targets, documents = (torch.from_numpy(array).to(model.device) for array in batch)
        nats_BT = model.nats(inputs, targets, documents if masked else None, chunk=settings.loss_chunk)
        yield rows, batch, nats_BT.cpu().numpy()


def document_nats(
    model: Model,
    source: Source,
    manifest: Manifest,
    settings: TrainSettings,
    documents: int | None = None,
    masked: bool | None = True,
) -> npt.NDArray[np.float64]:
    """-ln p of the first `documents` documents of a source (of all by default), each summed over its tokens.

    masked: as `row_nats` has it.
    """
    packed = pack(source, settings.sequence_length, manifest.end_of_document, documents=documents)
    nats = np.zeros(source.documents if documents is None else documents)
    for rows, batch, nats_BT in row_nats(model, packed, manifest, settings, masked):
        pieces, sums = piece_sums(packed, rows, nats_BT[batch.targets != IGNORE])
        np.add.at(nats, packed.doc[pieces], sums)
    return nats


def piece_sums(packed: Packed, rows: Int, values: npt.NDArray[Any]) -> tuple[Int, npt.NDArray[np.float64]]:
    """The pieces of these rows, and the sum of the values of each one's tokens.

    values: of all targets of the rows, padding left out: the pieces one after the other.
    """
    pieces, _ = packed.pieces(rows)
    starts = np.cumsum(packed.length[pieces], dtype=np.int64) - packed.length[pieces]
    return pieces, np.add.reduceat(values.astype(np.float64), starts)


def score(
    folder: Path, data: Path, out: Path, heldout: bool = False, device: str = "auto", threads: int = 0
) -> dict[str, Any]:
    """Score all documents of RUN/tokens, or of RUN/heldout/tokens, into the Parquet file `out`; returns a summary.

    Raises DataError where there are no documents or another tokenizer made them, CurateError if the disk refuses.
    """
    set_threads(threads)
    trained = checkpoint.open_model(folder, pick_device(device))
    place = data / "heldout" / "tokens" if heldout else data / "tokens"
    shards = open_shards(place)
    check_tokens(trained, shards.manifest, place)
    if not any(source.documents for source in shards.sources.values()):
        raise DataError(f"{place} holds no documents")
    if out.is_dir():
        raise ConfigError(f"--out {out}: this is a folder; name a file")
    partial, totals = out.with_name(f".{out.name}.{os.getpid()}"), {"documents": 0, "tokens": 0}
    names = pa.array(list(shards.sources), pa.string())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for number, source in enumerate(shards.sources.values()):
                nats = document_nats(trained.model, source, shards.manifest, trained.settings)
                writer.write_table(_table(source, nats, number, names))
                totals["documents"] += source.documents
                totals["tokens"] += int(source.lengths().sum())
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CurateError(f"{out}: cannot be written: {error.strerror or error}") from None
    return {"out": str(out), "checkpoint": str(trained.folder), "step": trained.facts["step"], **totals}


def check_tokens(trained: checkpoint.Trained, manifest: Manifest, place: Path) -> None:
    """Raise DataError where the tokens were made with another tokenizer than the model's."""
    if manifest.tokenizer_sha256 != trained.facts["tokenizer_sha256"]:
        raise DataError(
            f"{place}: its tokens were made with another tokenizer than the one {trained.folder} was trained with"
        )


def _table(source: Source, nats: npt.NDArray[np.float64], number: int, names: pa.Array) -> pa.Table:
    chunks = source.chunks
    sizes = np.concatenate([chunk.text_bytes for chunk in chunks]).astype(np.float64) if chunks else np.zeros(0)
    bits = np.divide(nats / math.log(2), sizes, out=np.zeros_like(nats), where=sizes > 0)
    columns = [
        pa.chunked_array([chunk.doc_ids for chunk in chunks], pa.binary(16)),
        pa.DictionaryArray.from_arrays(np.full(len(nats), number, dtype=np.int32), names),
        pa.array(source.lengths()),
        pa.array(nats),
        pa.array(bits, mask=sizes == 0),
    ]
    return pa.table(columns, schema=SCHEMA)
