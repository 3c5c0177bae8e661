"""holdout: a share of the documents is set aside for evaluation, whole clusters at a time.

Who is set aside follows from (seed, cluster_id) alone, so near-copies never straddle the two sides and adding
data moves nobody. What is set aside goes to heldout/, is tokenized there, and meets no other step.
"""

import hashlib

import pyarrow as pa

from curate.config import Settings, setting
from curate.stages.protocol import Phase, Side, Stage


class Holdout(Settings):
    share: float = setting(0.05, "share of clusters to set aside", ge=0, le=1)
    seed: int = setting(0, "another seed, another choice", ge=0)


def open_config(config: Holdout, side: Side) -> Holdout:
    return config


def apply(batch: pa.RecordBatch, config: Holdout) -> pa.RecordBatch:
    salt = f"holdout {config.seed} ".encode()
    limit = int(config.share * 2**64)
    ids = zip(batch.column("cluster_id").to_pylist(), batch.column("doc_id").to_pylist(), strict=True)
    aside = [int.from_bytes(hashlib.sha256(salt + (cluster or doc)).digest()[:8]) < limit for cluster, doc in ids]
    return batch.append_column("heldout", pa.array(aside, pa.bool_()))


STAGE = Stage(
    name="holdout",
    version=1,
    summary="Set a share aside for evaluation, by cluster.",
    config=Holdout,
    phases=(Phase("apply", "each", open=open_config, apply=apply),),
)
