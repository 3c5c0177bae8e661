"""near_dedup: of documents with nearly the same words, one stays.

MinHash with banding (Broder 1997; arXiv 2107.06499 for training data) over word 5-grams: 14 bands of 8 values each,
by the settings `bands` and `rows`. A pair of Jaccard similarity s shares a band, and so becomes a candidate, with
probability 1 - (1 - s^8)^14, which is .56 at .7, .92 at .8, .9996 at .9. Candidates are then verified by their exact
Jaccard similarity, so that what is dropped is as similar as the setting says.

    sign     the keys of each document's bands; its shingle hashes
    match    documents that share a key, by the first of them
    verify   exact Jaccard of those that are not yet connected
    cluster  connected components
    choose   which documents of each component stay
    merge    one sorted list of what becomes of each document
    apply    the copies are dropped, and counted on the one kept

With `cluster: star` no document goes for one that it is not like. In keep order a document is compared with those that
stay and share a band key with it, those with most keys in common first, and goes for the first that is alike by
`min_jaccard` or more: the reject names that one (`copy of`) with the similarity of the two. Of one key 256 documents
that stay are compared with later ones; a run says where there were more. `cluster: connected` keeps one document of a
whole component, as other tools do: a chain of small changes joins what has little in common, and the value of a reject,
the similarity to the document that stays, may be far below `min_jaccard`.

Pages of one template with few words filled in are alike, too. A star of nine different documents or more, whose members
differ from the one that stays in the same places, is told as a template, and listed in templates/; with
`templates: 5` up to five different ones of it stay.

Of 6,780 pairs of similarity 0.8 or more among 3,451 real documents, scheme classic reports 99.50 %, fss 99.65 %,
datasketch 99.71 %, and none of them a pair below 0.7. classic is the default: only its rates are exactly those of the
formula.

A document with fewer words than one n-gram has no shingle: it is marked, and of the stages that drop copies only
exact_dedup compares it.

Which documents stay follows from their texts, the settings and the order of the files and rows; names of files, ids
and `pairs` change nothing.

Work that would not fit the memory of a run (`--memory`) is done in rounds: by key, by first document, by component.
What must be held at once are the members of the largest bucket (the documents that share one key), some 100 bytes each,
those of the largest component, some 1,200 bytes each, and 40 bytes for every document that has a copy.

With `save_index` the run's index/ folder keeps keys and shingles. A later run with `index` compares its documents
with those, too, without reading their text. Indexed documents come before all others in keep order; with
`cluster: star` only those count that stayed in their own run.
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
    Rule,
    beyond_in_words,
    check_memory,
    choose,
    components,
    distinct_pairs,
    giants_in_words,
    templates_in_words,
)
from curate.dedup.costs import (
    COLUMNS,
    COLUMNS_IN_WORDS,
    MATCH_BYTES,
    MERGE_BYTES,
    VERIFY_BYTES,
    Volume,
    banding_in_words,
    costs,
)
from curate.dedup.index import PARAMETERS, index_files, index_tables, refuse_indexed_ids, without_copies
from curate.dedup.keep import (
    KEEP_MEANING,
    SOURCES_MEANING,
    Keep,
    KeepList,
    before_all,
    check_keep,
    columns_of,
    rank_columns,
)
from curate.dedup.sorting import key_view, merged, recut
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
    """How signatures are made, which pairs count as copies, which copy stays, and what is written beside."""

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
    cluster: Literal["star", "connected"] | None = setting(
        None,
        "star: a document goes only for one that stays and is alike by min_jaccard; connected: one document stays of"
        " all that chains of pairs join; left out: star, or connected without verify",
    )
    templates: int = setting(
        1, "documents that stay of a star whose members differ in the same few places", unit="documents", ge=1
    )
    keep: Keep = setting("first", KEEP_MEANING)
    sources: list[str] = setting([], SOURCES_MEANING)
    pairs: bool = setting(
        False, "write the pairs found to pairs/, those too that connect nothing new; the same documents stay"
    )
    index: list[str] = setting([], "index/ folders of earlier runs: what is like a document of theirs is dropped")
    save_index: bool = setting(False, "keep band keys and shingles in index/, for later runs")
    seed: int = setting(1, "of the hash functions", ge=0, lt=2**64)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """ValueError where settings contradict each other, or datasketch could not take the seed."""
        check_keep(self.keep, self.sources)
        if self.cluster == "star" and not self.verify:
            raise ValueError(
                "cluster: star compares documents, and verify: false compares none: leave one of the two out"
            )
        if self.scheme == "datasketch" and self.seed >= 2**32:
            raise ValueError("scheme: datasketch takes seeds below 2^32")
        return self

    def banding(self) -> tuple[int, int]:
        """(bands, values in a band): as set, or with `threshold` the best of at most as many values in all."""
        if self.threshold is None:
            return self.bands, self.rows
        return optimal_banding(self.threshold, self.bands * self.rows)

    def rule(self) -> Rule:
        """How the documents that stay are chosen."""
        star = self.verify and self.cluster != "connected"
        return Rule(star, self.verify, self.min_jaccard, self.banding()[0], self.ngram, self.templates)

    def parameters(self) -> dict[str, Any]:
        """What signatures depend on: documents can only be compared with an index of equal parameters."""
        bands, rows = self.banding()
        return {"version": 4, "scheme": self.scheme, "ngram": self.ngram, "bands": bands, "rows": rows,
                "seed": self.seed, "shingles": self.verify}  # fmt: skip


# -- sign ----------------------------------------------------------------------------------------------------


def sign(batch: pa.RecordBatch, config: NearDedup) -> Applied:
    """Emits (key, doc_id) of every band of every document, its RANK_COLUMNS with keys and shingles; marks short ones.

    Without `verify` the lists of shingles are empty, since nothing reads them.
    """
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
    # Every signed document has `bands` keys: each id is repeated that often, as bytes, without Python objects.
    ids = key_view(batch.column("doc_id"))[signed].repeat(bands)
    owners = pa.FixedSizeBinaryArray.from_buffers(schema.DOC_ID, len(ids), [None, pa.py_buffer(ids.tobytes())])
    emitted = pa.RecordBatch.from_pydict({"key": keys.drop_null().flatten(), "doc_id": owners})
    ranks = rank_columns(batch, config.keep, config.sources)
    documents = pa.RecordBatch.from_pydict({**ranks, "keys": keys, "shingles": shingles})
    emits = {"keys": emitted, "documents": documents}
    if config.save_index:
        emits |= {"index_keys": emitted, "index_documents": documents}
    return Applied(batch, marks=_too_short(keys, config), emits=emits)


def sign_against(batch: pa.RecordBatch, config: NearDedup) -> Applied:
    """What `sign` emits, but for the index, for documents that stay before all others."""
    emits = sign(batch, config).emits
    return Applied(batch, emits={"keys": emits["keys"], "documents": before_all(emits["documents"])})


def _too_short(keys: pa.Array, config: NearDedup) -> pa.RecordBatch:
    """MARK rows of the documents without keys, which have fewer than `ngram` words."""
    rows = pc.indices_nonzero(keys.is_null())
    return schema.marks(rows, "mark", "near_dedup.too_short", None, None, limit=float(config.ngram))


# -- match and verify ----------------------------------------------------------------------------------------

SHUFFLED_ROWS = 1 << 16  # rows of a batch that is emitted: what is written does not depend on the rounds


def match(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """(first, key, member): the other documents of each bucket, and the first of it, by which they go on."""
    rows = reads.rows("sign.keys")
    if rows.num_rows:
        yield from (("members", table) for table in recut(_buckets(rows, config.rule().star, reads), SHUFFLED_ROWS))


def _buckets(rows: pa.Table, star: bool, reads: Reads) -> Iterator[pa.Table]:
    """The members of the buckets, a round at a time; a round holds all rows of its keys.

    Rows come in the order of tasks and of rows in a task, which is that of places in the input. Indexed documents come
    before all others; for a star, those that went in their own run do not come.
    """
    indexed = index_tables((file.path for file in reads.files("index")), "keys")
    copies = index_tables((file.path for file in reads.files("index")), "copies") if star else []

    def buckets(part: list[pa.Table]) -> pa.Table:
        keys = pa.concat_tables([*(without_copies(table, copies) for table in part[1:]), part[0]])
        first, key, member = kernels.lsh_buckets(keys.column("key"), keys.column("doc_id"))
        return pa.table({"first": first, "key": key, "member": member})

    return map(buckets, reads.parts(rows, indexed, "key", MATCH_BYTES))


def verify(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """pairs (doc_a, doc_b) that connect all documents that are alike; with `pairs` also `listed`, these and those that
    connect nothing new, with their similarity.

    Without `verify` nothing is compared: every member of a bucket is paired with the first.
    """
    rows = reads.rows("match.members")
    if not rows.num_rows:
        return
    compared: list[tuple[pa.Array, pa.Array]] | None = None
    if config.verify:
        compared = [(batch.column("doc_id"), batch.column("shingles")) for batch in _documents(reads).batches()]

    def pairs(part: list[pa.Table]) -> pa.Table:
        names = ("doc_a", "doc_b", "jaccard", "links")
        columns = kernels.bucket_pairs(part[0], compared, min_jaccard=config.min_jaccard, all=config.pairs)
        return pa.table(dict(zip(names, columns, strict=True)))

    # `map` holds no round's rows or pairs while the next ones are made.
    for table in recut(map(pairs, reads.parts(rows, [], "first", VERIFY_BYTES)), SHUFFLED_ROWS):
        yield "pairs", table.filter(pc.equal(table.column("links"), 1)).select(["doc_a", "doc_b"])
        if config.pairs:
            yield "listed", table.drop_columns(["links"])


def _documents(reads: Reads) -> Documents:
    """RANK_COLUMNS, keys and shingles of all documents of the run and of its indexes."""
    indexed = index_tables((file.path for file in reads.files("index")), "documents")
    return Documents(reads.table("sign.documents"), indexed)


# -- cluster, choose and merge -------------------------------------------------------------------------------


def cluster(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """(root, doc_id) of the members of connected components, and with `pairs` the distinct pairs.

    Raises DataError where a document has the id of an indexed one, and FatalError where memory does not suffice.
    """
    if config.save_index:
        yield "index_parameters", json.dumps(config.parameters()).encode()
    documents = _documents(reads)
    refuse_indexed_ids(documents.own, documents.indexed, reads)
    pairs = reads.rows("verify.pairs")
    if pairs.num_rows == 0:
        return
    check_memory(pairs, reads)
    yield from (("members", table) for table in components(pairs))
    if config.pairs:
        listed = reads.rows("verify.listed")
        yield from (("pairs", table) for table in distinct_pairs(listed, config.verify, reads.memory))


def choose_kept(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Keep list rows of the components of a partition; giant clusters; how often the limit of a key was met."""
    rows = reads.rows("cluster.members")
    if rows.num_rows == 0:
        return
    giants, templates, beyond = [], [], 0

    def keep() -> Iterator[pa.Table]:
        nonlocal beyond
        for found in choose(rows, _documents(reads), config.rule(), reads):
            giants.append(found.giants)
            templates.append(found.templates)
            beyond += found.beyond
            yield found.keep

    yield from (("keep", table) for table in recut(keep()))
    yield "giants", pa.concat_tables(giants)
    yield "templates", pa.concat_tables(templates)
    yield "beyond", pa.table({"beyond": pa.array([beyond], pa.int64())})


def merge(config: NearDedup, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """The keep list of the run, sorted by doc_id for lookups by binary search, and what there is to tell."""
    listed = reads.rows("choose.keep")
    if config.save_index:
        yield "index_copies", pa.schema([("doc_id", schema.DOC_ID)]).empty_table()  # the file says that it is whole
    if listed.num_rows == 0:
        return
    # A quarter of the memory is for what does not grow with the rows, buffers of files for example.
    for table in merged(listed, ["doc_id"], MERGE_BYTES, 0.75 * reads.memory):
        yield "keep", table
        if config.save_index:
            gone = table.filter(pc.not_equal(table.column("doc_id"), table.column("cluster_id")))
            yield "index_copies", gone.select(["doc_id"])
    lines: list[str] = []
    for name, in_words in (("giants", giants_in_words), ("templates", templates_in_words)):
        found = reads.rows(f"choose.{name}")
        if found.num_rows:
            found = found.sort_by([("members", "descending"), ("cluster_id", "ascending")])
            yield name, found
            lines += in_words(found)
    if beyond := pc.sum(reads.rows("choose.beyond").column("beyond")).as_py():
        lines.append(beyond_in_words(beyond))
    yield "notes", "\n".join(lines).encode()


# -- apply ---------------------------------------------------------------------------------------------------


def open_keep_list(config: NearDedup, side: Side) -> tuple[KeepList, float | None]:
    """The keep list, mapped from its file, and the limit that rejects show, once a worker."""
    return KeepList(side.table("merge.keep")), config.min_jaccard if config.rule().star else None


def apply(batch: pa.RecordBatch, state: tuple[KeepList, float | None]) -> Applied:
    """Sets cluster_id and n_copies of every row, and drops the copies; `detail` names the document that stays."""
    kept, limit = state
    what = "in the cluster of" if limit is None else "copy of"
    copies = kept.look_up(batch, "near_dedup.copy", limit, what)
    batch = with_column(batch, "cluster_id", copies.cluster_id)
    return Applied(with_column(batch, "n_copies", copies.n_copies), copies.verdicts)


# -- what a plan says ----------------------------------------------------------------------------------------


def forecast(config: NearDedup, amounts: Sequence[Amounts]) -> Forecast:
    """What this banding finds, and what these and larger numbers of documents take on disk and in memory."""
    bands, rows = config.banding()
    sentences = [banding_in_words(bands, rows), COLUMNS_IN_WORDS]
    return Forecast(sentences, COLUMNS, [costs(Volume(*a), bands, config.verify) for a in amounts])


# Settings that keys and shingles depend on; other settings leave the phase sign up to date.
SIGNED_BY = ("scheme", "ngram", "bands", "rows", "threshold", "seed", "verify")
CHOSEN_BY = ("cluster", "verify", "min_jaccard", "bands", "rows", "threshold")

STAGE = Stage(
    name="near_dedup",
    version=7,
    summary="Keep one of near-identical texts (MinHash).",
    config=NearDedup,
    needs=lambda config: ("text", *columns_of(config.keep)),
    files=lambda config: {"index": index_files(config.index, config.parameters())},
    forecast=forecast,
    rules=lambda config: {
        "near_dedup.copy": "Jaccard similarity to the document that stays",
        "near_dedup.too_short": "words",
    },
    limits=lambda config: {
        **({"near_dedup.copy": config.min_jaccard} if config.rule().star else {}),
        "near_dedup.too_short": config.ngram,
    },
    phases=(
        Phase(
            "sign",
            "each",
            apply=sign,
            against=sign_against,
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
            settings=("cluster", "verify"),
        ),
        Phase(
            "verify",
            "part",
            run=verify,
            reads=("match.members",),
            side=("sign.documents", "index"),
            emits=(Channel("pairs"), Channel("listed")),
            settings=("verify", "min_jaccard", "pairs"),
        ),
        Phase(
            "cluster",
            "all",
            run=cluster,
            reads=("verify.pairs", "verify.listed"),
            side=("sign.documents", "index"),
            emits=(
                Channel("members", by="root"),
                Channel("pairs", path="pairs/{task}.parquet"),
                Channel("index_parameters", path=f"index/{PARAMETERS}"),
            ),
            settings=(*SIGNED_BY, "pairs", "save_index"),
        ),
        Phase(
            "choose",
            "part",
            run=choose_kept,
            reads=("cluster.members",),
            side=("sign.documents", "index"),
            emits=(Channel("keep"), Channel("giants"), Channel("templates"), Channel("beyond")),
            settings=(*CHOSEN_BY, "ngram", "templates"),
        ),
        Phase(
            "merge",
            "all",
            run=merge,
            reads=("choose.keep", "choose.giants", "choose.templates", "choose.beyond"),
            emits=(
                Channel("keep"),
                Channel("giants", path="clusters/{task}.parquet"),
                Channel("templates", path="templates/{task}.parquet"),
                Channel("index_copies", path="index/copies-{task}.arrow"),
            ),
            settings=("save_index",),
        ),
        Phase(
            "apply",
            "each",
            open=open_keep_list,
            apply=apply,
            side=("merge.keep",),
            settings=CHOSEN_BY,
        ),
    ),
)
