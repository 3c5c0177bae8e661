"""near_dedup: of documents with nearly the same words, one stays.

MinHash over word 5-grams, 14 bands of 8 rows: a pair of Jaccard similarity s becomes a candidate with
probability 1 - (1 - s^8)^14, which is .56 at .7, .92 at .8, .9996 at .9. Candidates are then verified by their
exact Jaccard similarity, so that what is dropped is as similar as the setting says.

    sign     band keys, partitioned by key; shingle hashes
    match    documents that share a key: pairs, by their smaller id
    verify   exact Jaccard of each pair
    cluster  connected components; which document of each stays
    apply    the copies are dropped, and counted on the one kept

A document with fewer words than one n-gram has no shingle: it is marked, and only exact_dedup can drop it.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.config import Settings, setting
from curate.stages.keep import KEEP_MEANING, RANK_COLUMNS, Keep, KeepList, keep_list, rank_columns
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage


class NearDedup(Settings):
    ngram: int = setting(5, "words in a shingle", unit="words", ge=1, le=64)
    bands: int = setting(14, "bands; more find less similar pairs", ge=1, le=1024)
    rows: int = setting(8, "MinHash values in a band; more find only more similar pairs", ge=1, le=64)
    verify: bool = setting(True, "check candidate pairs by their exact Jaccard similarity")
    min_jaccard: float = setting(0.7, "verified pairs below this are no copies", ge=0, le=1)
    keep: Keep = setting("first", KEEP_MEANING)
    seed: int = setting(1, "of the hash functions", ge=0)


def sign(batch: pa.RecordBatch, config: NearDedup) -> Applied:
    keys, shingles = kernels.minhash_sign(
        batch.column("text"), ngram=config.ngram, bands=config.bands, rows=config.rows, seed=config.seed
    )
    ids = batch.column("doc_id")
    signed = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    chosen = keys.take(pa.array(signed))
    emitted = pa.RecordBatch.from_pydict(
        {
            "band": pa.array(np.tile(np.arange(config.bands, dtype=np.uint16), len(signed))),
            "key": chosen.flatten(),
            "doc_id": ids.take(pa.array(np.repeat(signed, config.bands))),
        }
    )
    if not config.verify:
        shingles = pa.array([[]] * batch.num_rows, pa.large_list(pa.uint64()))
    documents = pa.RecordBatch.from_pydict({**rank_columns(batch), "shingles": shingles})
    return Applied(batch, _too_short(keys, config), {"keys": emitted, "documents": documents})


def _too_short(keys: pa.Array, config: NearDedup) -> pa.RecordBatch:
    rows = pc.indices_nonzero(keys.is_null()).cast(pa.int64())
    n = len(rows)
    data = {
        "row": rows,
        "action": ["mark"] * n,
        "rule": ["near_dedup.too_short"] * n,
        "limit": [float(config.ngram)] * n,
    }
    return schema.conform(pa.RecordBatch.from_pydict(data), schema.MARK)


def match(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table]:
    rows = reads.rows("sign.keys")
    if rows.num_rows == 0:
        return {}
    a, b = kernels.lsh_pairs(rows.column("band"), rows.column("key"), rows.column("doc_id"))
    return {"pairs": pa.table({"a": a, "b": b})}


def verify(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table]:
    """Distinct candidate pairs with their exact similarity; without `verify` all pairs, similarity unknown."""
    rows = reads.rows("match.pairs")
    if rows.num_rows == 0:
        return {}
    pairs = rows.group_by(["a", "b"]).aggregate([]).sort_by([("a", "ascending"), ("b", "ascending")])
    a, b = (pairs.column(name).combine_chunks() for name in ("a", "b"))
    if not config.verify:
        return {"pairs": pa.table({"a": a, "b": b, "jaccard": pa.nulls(len(a), pa.float64())})}
    documents = reads.table("sign.documents")
    needed = pc.unique(pa.concat_arrays([a, b]))
    place = pc.index_in(documents.column("doc_id"), value_set=needed)
    found = documents.filter(pc.is_valid(place))
    shingles = found.column("shingles").combine_chunks()
    ids = found.column("doc_id").combine_chunks()
    where = [pc.index_in(side, value_set=ids).cast(pa.uint32()) for side in (a, b)]
    jaccard = kernels.jaccard(shingles, *where)
    table = pa.table({"a": a, "b": b, "jaccard": jaccard})
    return {"pairs": table.filter(pc.greater_equal(table.column("jaccard"), config.min_jaccard))}


def cluster(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table]:
    pairs = reads.rows("verify.pairs")
    if pairs.num_rows == 0:
        return {}
    doc_id, group = kernels.clusters(pairs.column("a"), pairs.column("b"))
    members = pa.table({"doc_id": doc_id, "group": group})
    documents = reads.table("sign.documents").select(list(RANK_COLUMNS))
    ranks = documents.filter(pc.is_in(documents.column("doc_id"), value_set=doc_id))
    ends = pa.concat_tables(
        [pa.table({"doc_id": pairs.column(end), "jaccard": pairs.column("jaccard")}) for end in ("a", "b")]
    )
    nearest = ends.group_by("doc_id").aggregate([("jaccard", "max")]).rename_columns(["doc_id", "similarity"])
    table = members.join(ranks, "doc_id").join(nearest, "doc_id")
    return {"keep": keep_list(table, "group", config.keep)}


def open_keep_list(config: NearDedup, side: Side) -> tuple[KeepList, float | None]:
    return KeepList(side.table("cluster.keep")), config.min_jaccard if config.verify else None


def apply(batch: pa.RecordBatch, state: tuple[KeepList, float | None]) -> pa.RecordBatch:
    kept, limit = state
    return kept.apply(batch, "near_dedup.copy", limit)


STAGE = Stage(
    name="near_dedup",
    version=1,
    summary="Keep one of near-identical texts (MinHash).",
    config=NearDedup,
    phases=(
        Phase("sign", "each", apply=sign, emits=(Channel("keys", by="key"), Channel("documents"))),
        Phase("match", "part", run=match, reads=("sign.keys",), emits=(Channel("pairs", by="a"),)),
        Phase(
            "verify",
            "part",
            run=verify,
            reads=("match.pairs",),
            side=("sign.documents",),
            emits=(Channel("pairs"),),
        ),
        Phase(
            "cluster",
            "all",
            run=cluster,
            reads=("verify.pairs",),
            side=("sign.documents",),
            emits=(Channel("keep"),),
        ),
        Phase("apply", "each", open=open_keep_list, apply=apply, side=("cluster.keep",)),
    ),
)
