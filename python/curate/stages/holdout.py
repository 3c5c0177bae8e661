"""holdout: a share of the documents is set aside for evaluation, whole clusters at a time.

The choice depends on the seed and on cluster_id (doc_id where no deduplication ran before), so that near-copies are
all on one side. More data can move a cluster: its id is that of its representative, and a new document may become the
representative. Documents set aside go to heldout/ and are tokenized there; no other step sees them.
"""

import hashlib

import pyarrow as pa

from curate.config import Settings, setting
from curate.stages.protocol import Applied, Phase, Stage


class Holdout(Settings):
    """How much is set aside, and by which seed."""

    share: float = setting(0.05, "share of clusters to set aside", ge=0, le=1)
    seed: int = setting(0, "seed of the selection", ge=0)


def apply(batch: pa.RecordBatch, config: Holdout) -> Applied:
    """Sets aside the rows whose hash, a number below 2^64, is below `share` of 2^64: the same rows in every run."""
    salt = f"holdout {config.seed} ".encode()
    limit = int(config.share * 2**64)
    ids = zip(batch.column("cluster_id").to_pylist(), batch.column("doc_id").to_pylist(), strict=True)
    aside = [int.from_bytes(hashlib.sha256(salt + (cluster or doc)).digest()[:8]) < limit for cluster, doc in ids]
    return Applied(batch, aside=pa.array(aside, pa.bool_()))


STAGE = Stage(
    name="holdout",
    version=1,
    summary="Set a share aside for evaluation, by cluster.",
    config=Holdout,
    phases=(Phase("apply", "each", apply=apply),),
)
