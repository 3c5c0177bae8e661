"""exact_dedup: of documents with the same text, or the same address, one stays.

The phase hash emits the first 16 bytes of the SHA-256 of every text, partitioned so that equal hashes meet in one
task (among fewer than some 2^64 documents no two different texts share a hash). pick finds the groups of equal hashes
and chooses which document of each stays, merge joins what all partitions found to one keep list, and apply drops the
copies and counts them on the document that stays.

What is compared, by the settings `by` and `of`:

    text, raw           byte for byte
    text, normalized    after NFC, lower-casing, joining white space
    url                 the address in canonical form; documents without
                        an address stay. Pages that are not extracted
                        yet can be compared in this way, too
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import kernels
from curate.config import Settings, setting
from curate.dedup.canonical import canonical_url, normal_texts
from curate.dedup.costs import KEEP_LIST_BYTES, MERGE_BYTES
from curate.dedup.keep import (
    KEEP_MEANING,
    SOURCES_MEANING,
    Keep,
    KeepList,
    before_all,
    check_keep,
    columns_of,
    keep_list,
    rank_columns,
)
from curate.dedup.sorting import merged, recut
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, Stage, with_column


class ExactDedup(Settings):
    """What makes two documents copies of each other, and which copy stays."""

    by: Literal["text", "url"] = setting("text", "what makes two documents copies: their text or their address")
    of: Literal["raw", "normalized"] = setting(
        "raw", "compare texts byte for byte, or after NFC, lower-casing and joining white space"
    )
    keep: Keep = setting("first", KEEP_MEANING)
    sources: list[str] = setting([], SOURCES_MEANING)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_keep(self.keep, self.sources)
        return self


def needs(config: ExactDedup) -> Sequence[str]:
    """The columns that the comparison and the rule for which copy stays read."""
    return (config.by, *columns_of(config.keep))


def hash_texts(batch: pa.RecordBatch, config: ExactDedup) -> Applied:
    """(hash: 16 bytes, RANK_COLUMNS of dedup/keep.py) of every row, and by url of every row that has one."""
    compared = batch
    if config.by == "url":
        urls = pa.array([canonical_url(url or "") for url in batch.column("url").to_pylist()], pa.large_string())
        named = pc.not_equal(urls, "")  # documents without an address are no copies of each other
        compared, column = batch.filter(named), urls.filter(named)
    else:
        column = batch.column("text") if config.of == "raw" else normal_texts(batch.column("text"))
    digest = kernels.sha256(column).cast(pa.binary())
    digest = pc.binary_slice(digest, 0, 16).cast(pa.binary(16))
    ranks = rank_columns(compared, config.keep, config.sources)
    return Applied(batch, emits={"hashes": pa.RecordBatch.from_pydict({"hash": digest, **ranks})})


def hash_against(batch: pa.RecordBatch, config: ExactDedup) -> Applied:
    """What hash_texts emits, for documents that stay before all others."""
    return Applied(batch, emits={"hashes": before_all(hash_texts(batch, config).emits["hashes"])})


def pick(config: ExactDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Keep list rows of the groups of a partition, in the order of the hashes; a document without a copy has no row."""
    rows = reads.rows("hash.hashes")
    parts = reads.parts(rows, [], "hash", KEEP_LIST_BYTES) if rows.num_rows else iter(())
    yield from (("keep", table) for table in recut(map(lambda part: keep_list(part[0], "hash"), parts)))


def merge(config: ExactDedup, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """The keep list of the run: the rows of all partitions sorted by doc_id, for lookups by binary search."""
    listed = reads.rows("pick.keep")
    # Where two documents have one doc_id, their clusters decide which comes first.
    # A quarter of the memory is for what does not grow with the rows, buffers of files for example.
    tables = merged(listed, ["doc_id", "cluster_id"], MERGE_BYTES, 0.75 * reads.memory) if listed.num_rows else iter(())
    yield from (("keep", table) for table in tables)


def open_keep_list(config: ExactDedup, side: Side) -> KeepList:
    """The keep list, mapped from its file, once a worker."""
    return KeepList(side.table("merge.keep"))


def apply(batch: pa.RecordBatch, state: KeepList) -> Applied:
    """Sets cluster_id and n_copies of every row, and drops the copies; `detail` names the document that stays."""
    copies = state.look_up(batch, "exact_dedup.copy", None, "copy of")
    batch = with_column(batch, "cluster_id", copies.cluster_id)
    return Applied(with_column(batch, "n_copies", copies.n_copies), copies.verdicts)


STAGE = Stage(
    name="exact_dedup",
    version=3,
    summary="Keep one of identical texts (SHA-256).",
    config=ExactDedup,
    rows=lambda config: "any" if config.by == "url" else "document",
    needs=needs,
    rules=lambda config: {"exact_dedup.copy": ""},
    phases=(
        Phase(
            "hash",
            "each",
            apply=hash_texts,
            against=hash_against,
            emits=(Channel("hashes", by="hash"),),
            documents=False,
        ),
        Phase("pick", "part", run=pick, reads=("hash.hashes",), emits=(Channel("keep"),), settings=()),
        Phase("merge", "all", run=merge, reads=("pick.keep",), emits=(Channel("keep"),), settings=()),
        # `by` decides which rows the stage reads.
        Phase("apply", "each", open=open_keep_list, apply=apply, side=("merge.keep",), settings=("by",)),
    ),
)
