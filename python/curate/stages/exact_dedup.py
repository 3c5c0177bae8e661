"""exact_dedup: of documents with the same text, one stays.

hash emits 16 bytes of SHA-256 of every text into partitions (two texts share them by chance once in 2^64
documents or so), pick finds the groups of a partition, apply drops the copies and counts them on the one kept.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.config import Settings, setting
from curate.stages.keep import KEEP_MEANING, Keep, KeepList, keep_list, rank_columns
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage


class ExactDedup(Settings):
    keep: Keep = setting("first", KEEP_MEANING)


def hash_texts(batch: pa.RecordBatch, config: ExactDedup) -> Applied:
    digest = kernels.sha256(batch.column("text")).cast(pa.binary())
    digest = pc.binary_slice(digest, 0, 16).cast(pa.binary(16))
    return Applied(batch, emits={"hashes": pa.RecordBatch.from_pydict({"hash": digest, **rank_columns(batch)})})


def pick(config: ExactDedup, reads: Reads) -> Mapping[str, pa.Table]:
    rows = reads.rows("hash.hashes")
    return {"keep": keep_list(rows, "hash", config.keep)} if rows.num_rows else {}


def open_keep_list(config: ExactDedup, side: Side) -> KeepList:
    return KeepList(side.table("pick.keep"))


def apply(batch: pa.RecordBatch, state: KeepList) -> pa.RecordBatch:
    return state.apply(batch, "exact_dedup.copy", None)


STAGE = Stage(
    name="exact_dedup",
    version=1,
    summary="Keep one of identical texts (SHA-256).",
    config=ExactDedup,
    phases=(
        Phase("hash", "each", apply=hash_texts, emits=(Channel("hashes", by="hash"),)),
        Phase("pick", "part", run=pick, reads=("hash.hashes",), emits=(Channel("keep"),)),
        Phase("apply", "each", open=open_keep_list, apply=apply, side=("pick.keep",)),
    ),
)
