"""near_dedup: of documents with nearly the same words, one stays.

MinHash over word 5-grams, 14 bands of 8 rows: a pair of Jaccard similarity s becomes a candidate with
probability 1 - (1 - s^8)^14, which is .56 at .7, .92 at .8, .9996 at .9. Candidates are then verified by their
exact Jaccard similarity, so that what is dropped is as similar as the setting says.

    sign     band keys, partitioned by key; shingle hashes
    match    documents that share a key, by the smallest id among them
    verify   exact Jaccard, where it can still connect two documents
    cluster  connected components; which document of each stays
    apply    the copies are dropped, and counted on the one kept

A document with fewer words than one n-gram has no shingle: it is marked, and only exact_dedup can drop it.

With `save_index` the run's index/ folder keeps keys and shingles; a later run with `index` compares its documents
with those too, without reading their text. What was there stays; the new documents that are left are those that
one run over both would have left, had it preferred the old.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import kernels, schema
from curate.config import Settings, setting
from curate.errors import ConfigError, DataError
from curate.stages.keep import (
    KEEP_MEANING,
    RANK_COLUMNS,
    SOURCES_MEANING,
    Keep,
    KeepList,
    check_keep,
    keep_list,
    rank_columns,
)
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage
from curate.stages.shape import best_shape, datasketch_parameters, found_share

GIANT = 1000  # members of a cluster that is told of
SAMPLED = 32  # of a giant cluster, compared with each other
PARAMETERS = "parameters.json"


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

    def shape(self) -> tuple[int, int]:
        """(bands, rows)."""
        if self.threshold is None:
            return self.bands, self.rows
        return best_shape(self.threshold, self.bands * self.rows)

    def parameters(self) -> dict[str, Any]:
        """What signatures depend on: an index of other parameters cannot be compared with."""
        bands, rows = self.shape()
        return {"version": 1, "scheme": self.scheme, "ngram": self.ngram, "bands": bands, "rows": rows,
                "seed": self.seed, "shingles": self.verify}  # fmt: skip


# -- sign ----------------------------------------------------------------------------------------------------


def sign(batch: pa.RecordBatch, config: NearDedup) -> Applied:
    bands, rows = config.shape()
    keys, shingles = kernels.minhash_sign(
        batch.column("text"),
        ngram=config.ngram,
        bands=bands,
        rows=rows,
        seed=config.seed,
        scheme=config.scheme,
        parameters=datasketch_parameters(bands * rows, config.seed) if config.scheme == "datasketch" else None,
    )
    ids = batch.column("doc_id")
    signed = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    names = np.frombuffer(ids.buffers()[1], "V16", len(ids), ids.offset * 16)[signed].repeat(bands)
    owners = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, len(names), [None, pa.py_buffer(names.tobytes())])
    emitted = pa.RecordBatch.from_pydict({"key": keys.drop_null().flatten(), "doc_id": owners})
    if not config.verify:
        shingles = pa.array([[]] * batch.num_rows, pa.large_list(pa.uint64()))
    ranks = rank_columns(batch, config.keep, config.sources)
    documents = pa.RecordBatch.from_pydict({**ranks, "shingles": shingles})
    emits = {"keys": emitted, "documents": documents}
    if config.save_index:
        emits |= {"index_keys": emitted, "index_documents": documents}
    return Applied(batch, _too_short(keys, config), emits)


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


def match(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table]:
    rows = reads.rows("sign.keys")
    if rows.num_rows == 0:
        return {}
    tables = [rows, *(reads.belonging(table, "key") for table in _indexed(reads, "keys"))]
    keys = pa.concat_tables(tables)
    first, key, member = kernels.lsh_buckets(keys.column("key"), keys.column("doc_id"))
    return {"members": pa.table({"first": first, "key": key, "member": member})}


def _indexed(reads: Side, kind: str) -> list[pa.Table]:
    """The tables of one kind in the indexes of earlier runs."""
    paths = [file.path for file in reads.files("index") if file.path.name.startswith(f"{kind}-")]
    tables = []
    for path in paths:
        try:
            tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"near_dedup.index: {path} is damaged ({error}); make that index again") from None
    return tables


def verify(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table]:
    """Pairs of documents that are alike, by their exact similarity; without `verify` all that share a key."""
    rows = reads.rows("match.members")
    if rows.num_rows == 0:
        return {}
    documents: list[tuple[pa.Array, pa.Array]] | None = None
    if config.verify:
        tables = [reads.table("sign.documents"), *_indexed(reads, "documents")]
        batches = [batch for table in tables for batch in table.to_batches()]
        documents = [(batch.column("doc_id"), batch.column("shingles")) for batch in batches]
    first, key, member = (rows.column(name) for name in ("first", "key", "member"))
    a, b, jaccard = kernels.bucket_pairs(
        first, key, member, documents, min_jaccard=config.min_jaccard, all=config.pairs
    )
    if not config.verify:
        jaccard = pa.nulls(len(a), pa.float64())
    return {"pairs": pa.table({"doc_a": a, "doc_b": b, "jaccard": jaccard})}


# -- cluster -------------------------------------------------------------------------------------------------


def cluster(config: NearDedup, reads: Reads) -> Mapping[str, pa.Table | bytes]:
    out: dict[str, pa.Table | bytes] = {}
    if config.save_index:
        out["index_parameters"] = json.dumps(config.parameters()).encode()
    _tell_apart(reads)
    pairs = reads.rows("verify.pairs")
    if pairs.num_rows == 0:
        return out
    doc_id, group = kernels.clusters(pairs.column("doc_a"), pairs.column("doc_b"))
    members = pa.table({"doc_id": doc_id, "group": group})
    ends = [pa.table({"doc_id": pairs.column(e), "jaccard": pairs.column("jaccard")}) for e in ("doc_a", "doc_b")]
    nearest = pa.concat_tables(ends).group_by("doc_id").aggregate([("jaccard", "max")])
    nearest = nearest.rename_columns(["doc_id", "similarity"])
    table = members.join(_ranks(reads, doc_id), "doc_id").join(nearest, "doc_id")
    out["keep"] = keep_list(table, "group")
    out |= _giants(config, reads, out["keep"])
    if config.pairs:
        found = pairs.group_by(["doc_a", "doc_b"]).aggregate([("jaccard", "max")])
        found = found.rename_columns(["doc_a", "doc_b", "jaccard"])
        out["found"] = found.sort_by([("doc_a", "ascending"), ("doc_b", "ascending")])
    return out


def _tell_apart(reads: Reads) -> None:
    """Documents are known by their doc_id: one that an index holds already would be taken for the old one."""
    documents = reads.table("sign.documents")
    for table in _indexed(reads, "documents") if documents.num_rows else []:
        same = documents.filter(pc.is_in(documents.column("doc_id"), value_set=table.column("doc_id").combine_chunks()))
        if same.num_rows:
            file, offset = (same.column(name)[0].as_py() for name in ("origin_file", "origin_offset"))
            raise DataError(
                f"near_dedup.index: {same.num_rows:,} documents have the doc_id of an indexed one, first {file} at"
                f" {offset}: either this data is in the index, or its files have the same names; then set `root` of"
                " the input to a folder above"
            )


def _ranks(reads: Reads, listed: pa.Array) -> pa.Table:
    """RANK_COLUMNS of the documents listed; those of an index come before all others."""
    parts = []
    for table, old in [(reads.table("sign.documents"), False), *((t, True) for t in _indexed(reads, "documents"))]:
        part = table.select(list(RANK_COLUMNS))
        part = part.filter(pc.is_in(part.column("doc_id"), value_set=listed))
        if old:
            rank = pa.array(np.full(part.num_rows, -np.inf))
            part = part.set_column(part.schema.get_field_index("rank"), "rank", rank)
        parts.append(part)
    return pa.concat_tables(parts)


def _giants(config: NearDedup, reads: Reads, keep: Any) -> dict[str, pa.Table | bytes]:
    """Clusters of GIANT members and more, with the least similarity of two in a sample: chains show by it."""
    sizes = keep.group_by("cluster_id").aggregate([("doc_id", "count")])
    sizes = sizes.filter(pc.greater_equal(sizes.column("doc_id_count"), GIANT))
    sizes = sizes.sort_by([("doc_id_count", "descending"), ("cluster_id", "ascending")])
    rows = []
    for name, count in zip(*(sizes.column(i).to_pylist() for i in ("cluster_id", "doc_id_count")), strict=True):
        ids = keep.filter(pc.equal(keep.column("cluster_id"), pa.scalar(name, schema.DOC_ID))).column("doc_id")
        sample = ids.take(pa.array(np.linspace(0, count - 1, SAMPLED).astype(np.int64)))
        rows.append({"cluster_id": name, "members": count, "least_jaccard": _diameter(config, reads, sample)})
    if not rows:
        return {}
    told = [
        f"near_dedup: a cluster of {row['members']:,} documents, {row['cluster_id'].hex()}"
        + (f", of which {SAMPLED} sampled are alike by {row['least_jaccard']:.2f} or more"
           if row["least_jaccard"] is not None else "")
        for row in rows[:5]
    ]  # fmt: skip
    kinds = pa.schema([("cluster_id", schema.DOC_ID), ("members", pa.int64()), ("least_jaccard", pa.float64())])
    return {"giants": pa.Table.from_pylist(rows, schema=kinds), "notes": "\n".join(told).encode()}


def _diameter(config: NearDedup, reads: Reads, sample: pa.ChunkedArray) -> float | None:
    """The least similarity of two documents of a sample, where shingles were kept."""
    if not config.verify:
        return None
    tables = [reads.table("sign.documents"), *_indexed(reads, "documents")]
    found = [t.select(["shingles"]).filter(pc.is_in(t.column("doc_id"), value_set=sample.combine_chunks()))
             for t in tables]  # fmt: skip
    shingles = pa.concat_tables(found).column("shingles").combine_chunks()
    a, b = np.triu_indices(len(shingles), 1)
    similar = kernels.jaccard(shingles, pa.array(a.astype(np.uint32)), pa.array(b.astype(np.uint32)))
    return float(pc.min(similar).as_py())


# -- apply ---------------------------------------------------------------------------------------------------


def open_keep_list(config: NearDedup, side: Side) -> tuple[KeepList, float | None]:
    return KeepList(side.table("cluster.keep")), config.min_jaccard if config.verify else None


def apply(batch: pa.RecordBatch, state: tuple[KeepList, float | None]) -> pa.RecordBatch:
    kept, limit = state
    return kept.apply(batch, "near_dedup.copy", limit)


# -- settings ------------------------------------------------------------------------------------------------


def index_files(config: NearDedup) -> Mapping[str, Sequence[str]]:
    """The files of the indexes named; ConfigError where one is none, or of other parameters."""
    found: list[str] = []
    for name in config.index:
        folder = Path(name)
        try:
            there = json.loads((folder / PARAMETERS).read_bytes())
        except (OSError, ValueError):
            raise ConfigError(
                f"near_dedup.index: {folder} is no index (no readable {PARAMETERS}); name the index/ folder of a run"
                " with save_index"
            ) from None
        ours = config.parameters()
        other = [key for key in ours if key != "shingles" and there.get(key) != ours[key]]
        if other:
            was = ", ".join(f"{key} {there.get(key)} where this run has {ours[key]}" for key in other)
            raise ConfigError(f"near_dedup.index: {folder} was made with {was}; use the same, or index that data again")
        if config.verify and not there.get("shingles"):
            raise ConfigError(
                f"near_dedup.index: {folder} holds no shingles (made with verify: false); set it here too"
            )
        found += sorted(str(path) for path in folder.glob("*.arrow"))
    return {"index": found}


def forecast(config: NearDedup, text_bytes: float) -> list[str]:
    """The S-curve in numbers, and what 100 million documents would take."""
    bands, rows = config.shape()
    curve = ", ".join(f"{100 * found_share(s, bands, rows):.4g} % at {s}" for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95))
    missed = 100 * (1 - found_share(0.8, bands, rows))
    lines = [
        f"near_dedup: {bands} bands of {rows} rows find, of the pairs of a Jaccard similarity, {curve}; of 100 pairs"
        f" at 0.8 it misses {missed:.3g}."
    ]
    shingles = 1.1 * text_bytes if config.verify else 0.0  # 8 bytes for each of the words, of some seven bytes
    per_document = 24 * bands
    lines.append(
        f"near_dedup: {per_document} bytes of keys a document on disk"
        + (f", {shingles / 1e9:.2g} GB of shingles" if config.verify else "")
        + f"; 100,000,000 documents: {100e6 * per_document / 1e9:.0f} GB of keys, matched in partitions, and up to"
        f" {100e6 * 250 / 1e9:.0f} GB of memory for the clusters if every document has a copy."
    )
    return lines


STAGE = Stage(
    name="near_dedup",
    version=2,
    summary="Keep one of near-identical texts (MinHash).",
    config=NearDedup,
    files=index_files,
    forecast=forecast,
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
        ),
        Phase(
            "match",
            "part",
            run=match,
            reads=("sign.keys",),
            side=("index",),
            emits=(Channel("members", by="first"),),
        ),
        Phase(
            "verify",
            "part",
            run=verify,
            reads=("match.members",),
            side=("sign.documents", "index"),
            emits=(Channel("pairs"),),
        ),
        Phase(
            "cluster",
            "all",
            run=cluster,
            reads=("verify.pairs",),
            side=("sign.documents", "index"),
            emits=(
                Channel("keep"),
                Channel("found", path="pairs/{task}.parquet"),
                Channel("giants", path="clusters/{task}.parquet"),
                Channel("index_parameters", path=f"index/{PARAMETERS}"),
            ),
        ),
        Phase("apply", "each", open=open_keep_list, apply=apply, side=("cluster.keep",)),
    ),
)
