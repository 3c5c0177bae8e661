"""What near-duplicate detection finds, and what it costs in memory and on disk, by the rows that it works on.

The bytes of memory are private memory of a process at the peak of a phase: `python -m benchmarks.dedup_memory`
measures them, and fails where it is more. Rows that are picked for a round are copied once, which is counted here.
"""

from typing import NamedTuple

from curate.dedup.banding import found_share

KEY_DISK = 32  # bytes of a band key with its doc_id, and beside the shingles
SHINGLE_DISK = 1.15  # bytes of hashes for a byte of text: 8 for each distinct word 5-gram, of some seven bytes

MATCH_BYTES = 100  # a band key: 59 and its copy
VERIFY_BYTES = 210  # a member of a bucket, in buckets of two: 163 and its copy; 88 in one bucket of millions
CLUSTER_BYTES = 40  # a document that has a pair, while they are joined to components; must fit
KEEP_LIST_BYTES = 320  # a member of a group while its representative is chosen: 265 with names of files of 46
STAR_BYTES = 60  # and for each of its band keys, where these decide with what it is compared
MERGE_BYTES = 200  # a row of a keep list, or a repeated unit, while the parts of the list are merged
PAIR_BYTES = 300  # a pair that is written to pairs/
ID_BYTES = 100  # an id that is looked for in an index, or counted
ANCHOR_DISK = 32  # bytes of an anchor of substring_dedup
ANCHOR_BYTES = 150  # an anchor while those of its partition are matched
SPAN_BYTES = 200  # a span while those of all partitions are joined
UNIT_BYTES = 200  # a row of counts of line_dedup while they are added up


class Volume(NamedTuple):
    """So many documents, and the memory there is for them."""

    documents: float
    text_bytes: float
    partitions: int
    workers: int
    idle: int  # bytes of the driver and all workers, before any task
    least_task: int  # bytes, the least that a task needs
    task_memory: int  # bytes that each of the tasks that run at once may hold
    lone_task_memory: int  # bytes that the only task of a pass may hold


COLUMNS = ("disk keys", "disk shingles", "match", "clusters", "least", "peak")


def banding_in_words(bands: int, rows: int) -> str:
    """The S-curve in numbers."""
    curve = ", ".join(f"{100 * found_share(s, bands, rows):.4g} % at {s}" for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95))
    missed = 100 * (1 - found_share(0.8, bands, rows))
    return (
        f"near_dedup: {bands} bands of {rows} rows find, of the pairs of a Jaccard similarity, {curve}; of 100 pairs"
        f" at 0.8 it misses {missed:.3g}."
    )


COLUMNS_IN_WORDS = (
    "near_dedup, for this input and for more of the same. On disk: keys and shingles. In memory: the keys that a"
    " task matches at once; the clusters, if every document has a copy; the least --memory that will do; and all"
    " processes at the peak with the memory of this run."
)


def costs(volume: Volume, bands: int, verify: bool) -> tuple[float, ...]:
    """The number of documents, and bytes, one value a name in COLUMNS."""
    v = volume
    keys, shingles = v.documents * bands * KEY_DISK, v.text_bytes * SHINGLE_DISK if verify else 0.0
    match = v.documents * bands / v.partitions * MATCH_BYTES
    choose = v.documents / v.partitions * member_bytes(bands)
    clusters = v.documents * CLUSTER_BYTES
    tasks = v.workers * min(max(match, choose, v.least_task), v.task_memory)
    lone = min(clusters + v.documents * MERGE_BYTES, max(clusters, v.lone_task_memory))
    least = 2 * v.idle / (1 + v.workers) + max(v.least_task, clusters)
    return v.documents, keys, shingles, match, clusters, least, max(least, v.idle + max(tasks, lone))


def member_bytes(bands: int) -> int:
    """Bytes of a member of a component, with `bands` keys, while it is decided which of them stay."""
    return KEEP_LIST_BYTES + STAR_BYTES * bands


def anchors_of(text_bytes: float, min_length: int) -> float:
    """Anchors of so many bytes of text: two for every three quarters of the length of a repeat."""
    return 2 * text_bytes / (min_length - max(16, min_length // 4) + 2)
