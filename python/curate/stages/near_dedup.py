"""near_dedup: of documents with nearly the same words, one stays.

MinHash over word 5-grams, 14 bands of 8 rows: a pair of Jaccard similarity s becomes a candidate with
probability 1 - (1 - s^8)^14, which is .56 at .7, .92 at .8, .9996 at .9. Candidates are then verified by their
exact Jaccard similarity, so that what is dropped is as similar as the setting says.

    sign     band keys, partitioned by key; shingle hashes
    match    documents that share a key, by the smallest id among them
    verify   exact Jaccard, where it can still connect two documents
    cluster  connected components; which document of each stays
    apply    the copies are dropped, and counted on the one kept

Of 6,780 pairs of similarity 0.8 or more among 3,451 real documents, scheme classic reports 99.72 %, fss 99.65 %,
datasketch 99.71 %, and none that is below 0.7. classic is the default: only its rates are exactly the formula's.

A document with fewer words than one n-gram has no shingle: it is marked, and only exact_dedup can drop it.

Work that would not fit the memory of a run (`--memory`) is done in rounds: by key, by smallest id, by cluster. What
must be held at once is a bucket with its members, and 40 bytes for every document that has a copy.

With `save_index` the run's index/ folder keeps keys and shingles; a later run with `index` compares its documents
with those too, without reading their text. What was there stays; the new documents that are left are those that
one run over both would have left, had it preferred the old.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import kernels, schema
from curate.config import Settings, setting
from curate.errors import ConfigError, CurateError, DataError
from curate.stages.keep import (
    KEEP_LIST_BYTES,
    KEEP_MEANING,
    RANK_COLUMNS,
    SOURCES_MEANING,
    Keep,
    KeepList,
    check_keep,
    keep_list,
    names_of,
    rank_columns,
)
from curate.stages.protocol import Amounts, Applied, Channel, Phase, Reads, Side, Stage
from curate.stages.shape import best_shape, datasketch_parameters, found_share

GIANT = 1000  # members of a cluster that is told of
SAMPLED = 32  # of a giant cluster, compared with each other
PARAMETERS = "parameters.json"

KEY_DISK = 24  # bytes of a key and its doc_id
SHINGLE_DISK = 1.15  # bytes of hashes for a byte of text: 8 for each distinct word 5-gram, of some seven bytes
# Bytes of private memory that a row takes at the peak of a phase: `python -m benchmarks.dedup_memory` measures them,
# and fails where it is more. Rows that are picked for a round are copied once besides, which is counted here.
MATCH_BYTES = 100  # a key: 59 and its copy
VERIFY_BYTES = 200  # a member of a bucket: 139 and its copy, where each is the only one of its bucket
CLUSTER_BYTES = 40  # a document that has a pair, while components are found: 29; it must fit
LISTED_BYTES = 28  # the same afterwards
FOUND_BYTES = 300  # a pair that is written to pairs/
ID_BYTES = 100  # an id that is looked for in an index


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
        return {"version": 2, "scheme": self.scheme, "ngram": self.ngram, "bands": bands, "rows": rows,
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
        shingles=config.verify,
    )
    ids = batch.column("doc_id")
    signed = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    names = np.frombuffer(ids.buffers()[1], "V16", len(ids), ids.offset * 16)[signed].repeat(bands)
    owners = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, len(names), [None, pa.py_buffer(names.tobytes())])
    emitted = pa.RecordBatch.from_pydict({"key": keys.drop_null().flatten(), "doc_id": owners})
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


def match(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    rows = reads.rows("sign.keys")
    if rows.num_rows == 0:
        return
    for part in reads.parts(rows, _indexed(reads, "keys"), "key", MATCH_BYTES):
        keys = pa.concat_tables(part)
        first, key, member = kernels.lsh_buckets(keys.column("key"), keys.column("doc_id"))
        yield "members", pa.table({"first": first, "key": key, "member": member})


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


def verify(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Pairs of documents that are alike, by their exact similarity; without `verify` all that share a key."""
    rows = reads.rows("match.members")
    if rows.num_rows == 0:
        return
    documents: list[tuple[pa.Array, pa.Array]] | None = None
    if config.verify:
        tables = [reads.table("sign.documents"), *_indexed(reads, "documents")]
        batches = [batch for table in tables for batch in table.to_batches()]
        documents = [(batch.column("doc_id"), batch.column("shingles")) for batch in batches]
    for (part,) in reads.parts(rows, [], "first", VERIFY_BYTES):
        a, b, jaccard = kernels.bucket_pairs(part, documents, min_jaccard=config.min_jaccard, all=config.pairs)
        yield "pairs", pa.table({"doc_a": a, "doc_b": b, "jaccard": jaccard})


# -- cluster -------------------------------------------------------------------------------------------------


def cluster(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    if config.save_index:
        yield "index_parameters", json.dumps(config.parameters()).encode()
    _tell_apart(reads)
    pairs = reads.rows("verify.pairs")
    if pairs.num_rows == 0:
        return
    _check_memory(pairs, reads)
    yield from _chosen(config, reads, pairs)
    if config.pairs:
        yield from _found(config, reads, pairs)


def _chosen(config: NearDedup, reads: Reads, pairs: pa.Table) -> Iterator[tuple[str, pa.Table | bytes]]:
    """The keep list, some clusters at a time, and what there is to tell of giants."""
    doc_id, root, nearest = kernels.clusters(pairs)
    # Where nothing was verified, nothing is known of the similarity.
    nearest = nearest if config.verify else pa.nulls(len(nearest), pa.float64())
    listed = pa.table({"doc_id": doc_id, "group": root, "similarity": nearest})
    giants: list[dict[str, Any]] = []
    for (members,) in reads.parts(listed, [], "group", KEEP_LIST_BYTES, held=LISTED_BYTES * listed.num_rows):
        if members.num_rows:
            keep = keep_list(_ranked(reads, members), "group")
            yield "keep", keep
            giants += _giants(config, reads, keep)
    yield from _told(giants)


def _tell_apart(reads: Reads) -> None:
    """Documents are known by their doc_id: one that an index holds already would be taken for the old one."""
    indexed = [table.select(["doc_id"]) for table in _indexed(reads, "documents")]
    documents = reads.table("sign.documents")
    if not indexed or not documents.num_rows:
        return
    count, first = 0, ("", 0)
    documents = documents.select(["doc_id", "origin_file", "origin_offset"])
    for mine, *theirs in reads.parts(documents, indexed, "doc_id", ID_BYTES):
        known = pa.concat_tables(theirs).column("doc_id").combine_chunks()
        same = mine.filter(pc.is_in(mine.column("doc_id"), value_set=known))
        if same.num_rows and not count:
            first = (same.column("origin_file")[0].as_py(), same.column("origin_offset")[0].as_py())
        count += same.num_rows
    if count:
        raise DataError(
            f"near_dedup.index: {count:,} documents have the doc_id of an indexed one, first {first[0]} at"
            f" {first[1]}: either this data is in the index, or its files have the same names; then set `root` of"
            " the input to a folder above"
        )


def _check_memory(pairs: pa.Table, reads: Reads) -> None:
    """CurateError where the documents that have a pair are too many to be joined to clusters in memory."""
    if 2 * pairs.num_rows * CLUSTER_BYTES <= reads.memory:
        return
    count = 0
    names = ("doc_a", "doc_b")
    ends = pa.concat_tables([pairs.select([name]).rename_columns(["doc_id"]) for name in names])
    for (part,) in reads.parts(ends, [], "doc_id", ID_BYTES):
        count += pc.count_distinct(part.column("doc_id")).as_py()
    if count * CLUSTER_BYTES > reads.memory:
        raise CurateError(
            f"near_dedup: {count:,} documents have a copy, and joining them to clusters takes {CLUSTER_BYTES} bytes"
            f" each, where --memory leaves {reads.memory:,}: run the same command again with"
            f" {(count * CLUSTER_BYTES - reads.memory) // 10**6 + 1} MB more"
        )


def _ranked(reads: Reads, members: pa.Table) -> pa.Table:
    """`members` (sorted by doc_id) with their RANK_COLUMNS; documents of an index come before all others."""
    listed = names_of(members.column("doc_id").combine_chunks())
    parts, places = [], []
    for table, old in [(reads.table("sign.documents"), False), *((t, True) for t in _indexed(reads, "documents"))]:
        for batch in table.select(list(RANK_COLUMNS)).to_batches():
            names = names_of(batch.column("doc_id"))
            at = np.minimum(np.searchsorted(listed, names), len(listed) - 1)
            here = listed[at] == names
            part = batch.filter(pa.array(here))
            if old:
                rank = pa.array(np.full(part.num_rows, -np.inf))
                part = part.set_column(part.schema.get_field_index("rank"), "rank", rank)
            parts.append(part)
            places.append(at[here])
    rest = members.drop_columns(["doc_id"]).take(pa.array(np.concatenate(places)))
    table = pa.Table.from_batches(parts)
    for name in rest.column_names:
        table = table.append_column(name, rest.column(name))
    return table


def _found(config: NearDedup, reads: Reads, pairs: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The distinct pairs in order. Partitions found them, each its own in order: they are merged range by range."""
    parts = [batch for batch in pairs.to_batches() if batch.num_rows]
    firsts = [names_of(batch.column("doc_a")) for batch in parts]
    rounds = math.ceil(pairs.num_rows * FOUND_BYTES / (reads.memory / 2))
    # Some values of each part in its order show where ranges of about one size end.
    samples = np.sort(np.concatenate([names[:: max(1, len(names) // (8 * rounds))] for names in firsts]))
    edges = samples[np.arange(1, rounds) * len(samples) // rounds]
    cuts = [np.concatenate([[0], np.searchsorted(names, edges), [len(names)]]).astype(int) for names in firsts]
    for number in range(rounds):
        slices = [part.slice(at[number], at[number + 1] - at[number]) for part, at in zip(parts, cuts, strict=True)]
        found = pa.Table.from_batches(slices).group_by(["doc_a", "doc_b"]).aggregate([("jaccard", "max")])
        found = found.rename_columns(["doc_a", "doc_b", "jaccard"])
        if not config.verify:
            found = found.set_column(2, "jaccard", pa.nulls(found.num_rows, pa.float64()))
        yield "found", found.sort_by([("doc_a", "ascending"), ("doc_b", "ascending")])


def _giants(config: NearDedup, reads: Reads, keep: pa.Table) -> list[dict[str, Any]]:
    """Clusters of GIANT members and more, with the least similarity of two in a sample: chains show by it."""
    sizes = keep.group_by("cluster_id").aggregate([("doc_id", "count")])
    sizes = sizes.filter(pc.greater_equal(sizes.column("doc_id_count"), GIANT))
    rows = []
    for name, count in zip(*(sizes.column(i).to_pylist() for i in ("cluster_id", "doc_id_count")), strict=True):
        ids = keep.filter(pc.equal(keep.column("cluster_id"), pa.scalar(name, schema.DOC_ID))).column("doc_id")
        sample = ids.take(pa.array(np.linspace(0, count - 1, SAMPLED).astype(np.int64)))
        rows.append({"cluster_id": name, "members": count, "least_jaccard": _diameter(config, reads, sample)})
    return rows


def _told(giants: list[dict[str, Any]]) -> Iterator[tuple[str, pa.Table | bytes]]:
    """The table of giants, largest first, and a note on the five largest."""
    if not giants:
        return
    giants = sorted(giants, key=lambda row: (-row["members"], row["cluster_id"]))
    notes = [
        f"near_dedup: a cluster of {row['members']:,} documents, {row['cluster_id'].hex()}"
        + (f", of which {SAMPLED} sampled are alike by {row['least_jaccard']:.2f} or more"
           if row["least_jaccard"] is not None else "")
        for row in giants[:5]
    ]  # fmt: skip
    kinds = pa.schema([("cluster_id", schema.DOC_ID), ("members", pa.int64()), ("least_jaccard", pa.float64())])
    yield "giants", pa.Table.from_pylist(giants, schema=kinds)
    yield "notes", "\n".join(notes).encode()


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


def forecast(config: NearDedup, amounts: Sequence[Amounts]) -> list[str]:
    """The S-curve in numbers, and what this many documents and more of the same take on disk and in memory."""
    bands, rows = config.shape()
    curve = ", ".join(f"{100 * found_share(s, bands, rows):.4g} % at {s}" for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95))
    missed = 100 * (1 - found_share(0.8, bands, rows))
    heads = ("keys", "shingles", "match", "clusters", "least", "peak")
    table = ["    documents" + "".join(f"{head:>10}" for head in heads)]
    for a in amounts:
        keys, shingles = a.documents * bands * KEY_DISK, a.text_bytes * SHINGLE_DISK if config.verify else 0.0
        match = a.documents * bands / a.partitions * MATCH_BYTES
        clusters = a.documents * CLUSTER_BYTES
        tasks = a.workers * min(max(match, a.least_task), a.task_memory)
        lone = min(clusters + a.documents * KEEP_LIST_BYTES, max(clusters, a.lone_task_memory))
        least = 2 * a.idle / (1 + a.workers) + max(a.least_task, clusters)
        figures = (keys, shingles, match, clusters, least, max(least, a.idle + max(tasks, lone)))
        table.append(f"{a.documents:13,.0f}" + "".join(f"{_size(figure):>10}" for figure in figures))
    return [
        f"near_dedup: {bands} bands of {rows} rows find, of the pairs of a Jaccard similarity, {curve}; of 100 pairs"
        f" at 0.8 it misses {missed:.3g}.",
        "near_dedup, for this input and for more of the same. On disk: keys and shingles. In memory: the keys that a"
        " task matches at once; the clusters, if every document has a copy; the least --memory that will do; and all"
        " processes at the peak with the memory of this run:",
        "\n".join(table),
    ]


def _size(n: float) -> str:
    """Bytes in three digits."""
    for unit in ("KB", "MB", "GB"):
        n /= 1000
        if n < 999.5:
            return f"{n:.3g} {unit}"
    return f"{n / 1000:.3g} TB"


SIGNED_BY = ("scheme", "ngram", "bands", "rows", "threshold", "seed", "verify")

STAGE = Stage(
    name="near_dedup",
    version=4,
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
                Channel("found", path="pairs/{task}.parquet"),
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
