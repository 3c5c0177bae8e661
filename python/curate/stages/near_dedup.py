"""near_dedup: of documents with nearly the same words, one stays.

MinHash over word 5-grams, 14 bands of 8 rows: a pair of Jaccard similarity s becomes a candidate with
probability 1 - (1 - s^8)^14, which is .56 at .7, .92 at .8, .9996 at .9. Candidates are then verified by their
exact Jaccard similarity, so that what is dropped is as similar as the setting says.

    sign     band keys, partitioned by key; shingle hashes
    match    documents that share a key, by the smallest id among them
    verify   exact Jaccard, where it can still connect two documents
    cluster  connected components; which document of each stays
    apply    the copies are dropped, and counted on the one kept

Of 6,780 pairs of similarity 0.8 or more among 3,451 real documents, scheme classic reports 99.50 %, fss 99.65 %,
datasketch 99.71 %, and none that is below 0.7. classic is the default: only its rates are exactly the formula's.

A document with fewer words than one n-gram has no shingle: it is marked, and only exact_dedup can drop it.

Work that would not fit the memory of a run (`--memory`) is done in rounds: by key, by smallest id, by cluster. What
must be held at once is a bucket with its members, some 100 bytes each, and 40 bytes for every document that has a
copy.

The `value` of a reject is its similarity to the nearest member of its cluster, which has the document that `detail`
names as the one that stays; between the two themselves it can be less, where a chain of near-copies joins them.

With `save_index` the run's index/ folder keeps keys and shingles; a later run with `index` compares its documents
with those too, without reading their text. What was there stays; the new documents that are left are those that
one run over both would have left, had it preferred the old.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import kernels, schema
from curate.config import Settings, setting
from curate.dedup.banding import datasketch_parameters, optimal_banding
from curate.dedup.clusters import (
    Documents,
    check_memory,
    distinct_pairs,
    find_clusters,
    giants,
    giants_in_words,
    keep_list,
)
from curate.dedup.costs import (
    COLUMNS,
    COLUMNS_IN_WORDS,
    MATCH_BYTES,
    VERIFY_BYTES,
    Volume,
    banding_in_words,
    costs,
)
from curate.dedup.index import PARAMETERS, index_files, index_tables, refuse_indexed_ids
from curate.dedup.keep import KEEP_MEANING, SOURCES_MEANING, Keep, KeepList, check_keep, columns_of, rank_columns
from curate.dedup.sorting import key_view, recut
from curate.stages.protocol import (
    Amounts,
    Applied,
    Channel,
    Forecast,
    Phase,
    Reads,
    Side,
    Stage,
    with_column,
)


class NearDedup(Settings):
    scheme: Literal["classic", "fss", "datasketch"] = setting(
        "classic",
        "how signatures are made: classic (independent permutations), fss (fast similarity sketch), or datasketch"
        " (bit for bit as that package's scheme `legacy` does from the same 32-bit hashes)",
    )
    ngram: int = setting(5, "words in a shingle", unit="words", ge=1, le=64)
    bands: int = setting(14, "bands; more find less similar pairs", ge=1, le=1024)
    rows: int = setting(8, "MinHash values in a band; more find only more similar pairs", ge=1, le=64)
    threshold: float | None = setting(
        None,
        "choose bands and rows, of bands x rows values in all, that tell pairs above and below this best apart",
        gt=0,
        lt=1,
    )
    verify: bool = setting(True, "check candidate pairs by their exact Jaccard similarity")
    min_jaccard: float = setting(0.7, "verified pairs below this are no copies", ge=0, le=1)
    keep: Keep = setting("first", KEEP_MEANING)
    sources: list[str] = setting([], SOURCES_MEANING)
    pairs: bool = setting(False, "write the pairs found to pairs/, those too that connect nothing new")
    index: list[str] = setting([], "index/ folders of earlier runs: what is like a document of theirs is dropped")
    save_index: bool = setting(False, "keep band keys and shingles in index/, for later runs")
    seed: int = setting(1, "of the hash functions", ge=0, lt=2**64)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_keep(self.keep, self.sources)
        if self.scheme == "datasketch" and self.seed >= 2**32:
            raise ValueError("scheme: datasketch takes seeds below 2^32")
        return self

    def banding(self) -> tuple[int, int]:
        """(bands, rows)."""
        if self.threshold is None:
            return self.bands, self.rows
        return optimal_banding(self.threshold, self.bands * self.rows)

    def parameters(self) -> dict[str, Any]:
        """What signatures depend on: an index of other parameters cannot be compared with."""
        bands, rows = self.banding()
        return {"version": 2, "scheme": self.scheme, "ngram": self.ngram, "bands": bands, "rows": rows,
                "seed": self.seed, "shingles": self.verify}  # fmt: skip


# -- sign ----------------------------------------------------------------------------------------------------


def sign(batch: pa.RecordBatch, config: NearDedup) -> Applied:
    bands, rows = config.banding()
    keys, shingles = kernels.minhash_sign(
        batch.column("text"),
        ngram=config.ngram,
        bands=bands,
        rows=rows,
        seed=config.seed,
        scheme=config.scheme,
        parameters=datasketch_parameters(bands * rows, config.seed) if config.scheme == "datasketch" else None,
        shingles=config.verify,
    )
    signed = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    ids = key_view(batch.column("doc_id"))[signed].repeat(bands)
    owners = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, len(ids), [None, pa.py_buffer(ids.tobytes())])
    emitted = pa.RecordBatch.from_pydict({"key": keys.drop_null().flatten(), "doc_id": owners})
    ranks = rank_columns(batch, config.keep, config.sources)
    documents = pa.RecordBatch.from_pydict({**ranks, "shingles": shingles})
    emits = {"keys": emitted, "documents": documents}
    if config.save_index:
        emits |= {"index_keys": emitted, "index_documents": documents}
    return Applied(batch, marks=_too_short(keys, config), emits=emits)


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


# -- match and verify ----------------------------------------------------------------------------------------

SHUFFLED_ROWS = 1 << 16  # of the batches in which partitioned rows are emitted


def match(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Documents that share a key, by the smallest doc_id among them."""
    rows = reads.rows("sign.keys")
    if rows.num_rows:
        yield from (("members", table) for table in recut(_buckets(rows, reads), SHUFFLED_ROWS))


def _buckets(rows: pa.Table, reads: Reads) -> Iterator[pa.Table]:
    indexed = index_tables((file.path for file in reads.files("index")), "keys")

    def buckets(part: list[pa.Table]) -> pa.Table:
        keys = pa.concat_tables(part)
        first, key, member = kernels.lsh_buckets(keys.column("key"), keys.column("doc_id"))
        return pa.table({"first": first, "key": key, "member": member})

    return map(buckets, reads.parts(rows, indexed, "key", MATCH_BYTES))


def verify(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Pairs of documents that are alike, by their exact similarity; without `verify` all that share a key."""
    rows = reads.rows("match.members")
    if rows.num_rows:
        yield from (("pairs", table) for table in recut(_pairs(rows, config, reads), SHUFFLED_ROWS))


def _pairs(rows: pa.Table, config: NearDedup, reads: Reads) -> Iterator[pa.Table]:
    compared: list[tuple[pa.Array, pa.Array]] | None = None
    if config.verify:
        documents = _documents(reads)
        batches = [batch for table in (documents.own, *documents.indexed) for batch in table.to_batches()]
        compared = [(batch.column("doc_id"), batch.column("shingles")) for batch in batches]

    def pairs(part: list[pa.Table]) -> pa.Table:
        a, b, jaccard = kernels.bucket_pairs(part[0], compared, min_jaccard=config.min_jaccard, all=config.pairs)
        return pa.table({"doc_a": a, "doc_b": b, "jaccard": jaccard})

    # `map` holds no round's rows or pairs while the next ones are made.
    return map(pairs, reads.parts(rows, [], "first", VERIFY_BYTES))


def _documents(reads: Reads) -> Documents:
    indexed = index_tables((file.path for file in reads.files("index")), "documents")
    return Documents(reads.table("sign.documents"), indexed)


# -- cluster -------------------------------------------------------------------------------------------------


def cluster(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """Connected components of the pairs; which document of each stays; which are suspiciously large."""
    if config.save_index:
        yield "index_parameters", json.dumps(config.parameters()).encode()
    documents = _documents(reads)
    refuse_indexed_ids(documents.own, documents.indexed, reads)
    pairs = reads.rows("verify.pairs")
    if pairs.num_rows == 0:
        return
    check_memory(pairs, reads)
    found = find_clusters(pairs, documents, config.verify, reads)
    yield from (("keep", table) for table in keep_list(found))
    giant = giants(found, documents, config.verify)
    if giant.num_rows:
        yield "giants", giant
        yield "notes", "\n".join(giants_in_words(giant)).encode()
    del found
    if config.pairs:
        yield from (("pairs", table) for table in distinct_pairs(pairs, config.verify, reads.memory))


# -- apply ---------------------------------------------------------------------------------------------------


def open_keep_list(config: NearDedup, side: Side) -> tuple[KeepList, float | None]:
    return KeepList(side.table("cluster.keep")), config.min_jaccard if config.verify else None


def apply(batch: pa.RecordBatch, state: tuple[KeepList, float | None]) -> Applied:
    kept, limit = state
    copies = kept.look_up(batch, "near_dedup.copy", limit, "in the cluster of")
    batch = with_column(batch, "cluster_id", copies.cluster_id)
    return Applied(with_column(batch, "n_copies", copies.n_copies), copies.verdicts)


# -- what a plan says ----------------------------------------------------------------------------------------


def forecast(config: NearDedup, amounts: Sequence[Amounts]) -> Forecast:
    """The S-curve in numbers, and what this many documents and more of the same take on disk and in memory."""
    bands, rows = config.banding()
    sentences = [banding_in_words(bands, rows), COLUMNS_IN_WORDS]
    return Forecast(sentences, COLUMNS, [costs(Volume(*a), bands, config.verify) for a in amounts])


SIGNED_BY = ("scheme", "ngram", "bands", "rows", "threshold", "seed", "verify")

STAGE = Stage(
    name="near_dedup",
    version=5,
    summary="Keep one of near-identical texts (MinHash).",
    config=NearDedup,
    needs=lambda config: ("text", *columns_of(config.keep)),
    files=lambda config: {"index": index_files(config.index, config.parameters())},
    forecast=forecast,
    rules=lambda config: {
        "near_dedup.copy": "Jaccard similarity to the nearest member of the cluster",
        "near_dedup.too_short": "words",
    },
    limits=lambda config: {
        **({"near_dedup.copy": config.min_jaccard} if config.verify else {}),
        "near_dedup.too_short": config.ngram,
    },
    phases=(
        Phase(
            "sign",
            "each",
            apply=sign,
            emits=(
                Channel("keys", by="key"),
                Channel("documents"),
                Channel("index_keys", path="index/keys-{task}.arrow"),
                Channel("index_documents", path="index/documents-{task}.arrow"),
            ),
            documents=False,
            settings=(*SIGNED_BY, "keep", "sources", "save_index"),
        ),
        Phase(
            "match",
            "part",
            run=match,
            reads=("sign.keys",),
            side=("index",),
            emits=(Channel("members", by="first"),),
            settings=(),
        ),
        Phase(
            "verify",
            "part",
            run=verify,
            reads=("match.members",),
            side=("sign.documents", "index"),
            emits=(Channel("pairs"),),
            settings=("verify", "min_jaccard", "pairs"),
        ),
        Phase(
            "cluster",
            "all",
            run=cluster,
            reads=("verify.pairs",),
            side=("sign.documents", "index"),
            emits=(
                Channel("keep"),
                Channel("pairs", path="pairs/{task}.parquet"),
                Channel("giants", path="clusters/{task}.parquet"),
                Channel("index_parameters", path=f"index/{PARAMETERS}"),
            ),
            settings=(*SIGNED_BY, "pairs", "save_index"),
        ),
        Phase(
            "apply",
            "each",
            open=open_keep_list,
            apply=apply,
            side=("cluster.keep",),
            settings=("verify", "min_jaccard"),
        ),
    ),
)
