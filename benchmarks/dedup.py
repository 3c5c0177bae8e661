"""Deduplication beside its peers: hashing, MinHash from text to band keys, buckets and clusters.

    python -m benchmarks.dedup                 # all, some five minutes, nearly all of it the peers'
    python -m benchmarks.dedup minhash --json

One thread, but for the group two_cores. Peers get the text as we do: who wants tokens has them made by a regular
expression and joined in Python, which is part of the work. Results are checked: equal digests; for signatures, the
error of the Jaccard estimate of each side stands beside its speed.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # one thread for the peers, as for us

import hashlib
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import datasketch
import numpy as np
import pyarrow as pa
import rensa

from benchmarks import texts
from benchmarks.harness import Report, Timing, measure, peak_memory, run
from curate import kernels

SHAPE = {"ngram": 5, "bands": 14, "rows": 8, "seed": 1}
WORD = re.compile(r"\w+")
ID = pa.binary(16)


@cache
def web() -> pa.Array:
    """Every 25th of 25,750 web documents (terms of service, 45 KB on average, mostly English): 46 MB."""
    found = texts.documents("neardup", "ota_contrib_all")
    return texts.column([text for i, (_, _, text) in enumerate(found) if i % 25 == 0])


@cache
def books() -> pa.Array:
    """English books of some 500 KB each: sets of shingles that no near cache holds."""
    return texts.column([text for _, _, text in texts.documents("text", "books_en")])


@cache
def pieces(size: int = 2000, count: int = 20_000) -> pa.Array:
    """Documents of 1 to 3 KB, cut from the text."""
    rng = random.Random(1)
    whole = b" ".join(text.encode() for text in web().to_pylist())
    found, at = [], 0
    while len(found) < count and at + 2 * size < len(whole):
        length = rng.randrange(size // 2, size * 3 // 2)
        found.append(whole[at : at + length].decode(errors="ignore"))
        at += length
    return texts.column(found)


# -- sha256 --------------------------------------------------------------------------------------------------


def sha256(report: Report) -> None:
    """Digests of documents of 1 to 3 KB."""
    column = pieces()
    documents = [text.encode() for text in column.to_pylist()]
    size = texts.size(column)
    ours = measure(lambda: kernels.sha256(column))
    theirs = measure(lambda: [hashlib.sha256(text).digest() for text in documents])
    if ours.result.to_pylist() != theirs.result:
        raise AssertionError("digests differ from hashlib's")
    note = f"{len(column):,} documents, digests equal, {kernels.cpu_path()}"
    report.row("sha256_batch", ours.rate(size), "MB/s", ours.rounds, "hashlib", theirs.rate(size), note)


# -- minhash -------------------------------------------------------------------------------------------------


def shingles_of(text: str) -> list[str]:
    """The word 5-grams of a text, as one writes it in Python."""
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]


def rensa_keys(documents: list[str]) -> object:
    return rensa.RMinHash.digest_matrix_from_token_sets([shingles_of(text) for text in documents], 112, 1)


def datasketch_keys(documents: list[str]) -> list[np.ndarray]:
    made = []
    for text in documents:
        sketch = datasketch.MinHash(num_perm=112, seed=1, scheme="legacy")
        sketch.update_batch([shingle.encode() for shingle in shingles_of(text)])
        made.append(sketch.hashvalues)
    return made


def minhash(report: Report) -> None:
    """Text to band keys; the error of each side is measured in `accuracy`.

    The peers take tokens, so that words and n-grams are made in Python and are part of the work: how much of it
    stands in the note. `_with_shingles` also gives the sorted hashes that near_dedup verifies with.
    """
    for where, column in [("", web()), ("_books", books())]:
        few = column[: max(1, len(column) // 8)]
        documents, few_size, size = few.to_pylist(), texts.size(few), texts.size(column)
        fast = measure(lambda documents=documents: rensa_keys(documents), rounds=2)
        slow = measure(lambda documents=documents: datasketch_keys(documents), rounds=1)
        python = measure(lambda documents=documents: [shingles_of(text) for text in documents], rounds=2)
        share = f"of the peer's time {python.cpu / fast.cpu:.0%} goes to words and n-grams in Python"
        for scheme, suffix in [("classic", ""), ("fss", "_fss")]:
            ours = _sign(column, scheme=scheme)
            name, rate = f"minhash_text_to_keys{where}{suffix}", ours.rate(size)
            note = f"{kernels.cpu_path()}; {share}"
            report.row(name, rate, "MB/s", ours.rounds, "rensa", fast.rate(few_size), note)
            report.row(f"{name}_2", rate, "MB/s", ours.rounds, "datasketch", slow.rate(few_size))
            whole = _sign(column, scheme=scheme, shingles=True)
            report.row(f"{name}_with_shingles", whole.rate(size), "MB/s", whole.rounds, "rensa", fast.rate(few_size))


def _sign(column: pa.Array, scheme: str = "classic", shingles: bool = False) -> Timing:
    return measure(lambda: kernels.minhash_sign(column, scheme=scheme, shingles=shingles, **SHAPE))


def sketch(report: Report) -> None:
    """128 slots from shingle hashes that are there: documents of 2 KB, and web documents of 45 KB."""
    for where, column in [("2kb", pieces()), ("45kb", web())]:
        _, hashes = kernels.minhash_sign(column, **SHAPE)
        values, offsets = hashes.flatten().to_numpy(), hashes.offsets.to_numpy().tolist()
        ns = 1e9 / len(values)
        peer = measure(lambda v=values, o=offsets: rensa.RMinHash.digest_matrix_from_flat_token_hashes(v, o, 128, 1))
        for scheme in ("classic", "fss"):
            ours = measure(lambda h=hashes, scheme=scheme: kernels.minhash_slots(h, slots=128, seed=1, scheme=scheme))
            report.row(
                f"sketch_{where}_{scheme}", ours.cpu * ns, "ns", ours.rounds, "rensa", peer.cpu * ns, "a shingle"
            )


def languages(report: Report) -> None:
    """Text that is not ASCII: it must not be slower than half of English, which is measured beside it."""
    english = _sign(web()).rate(texts.size(web()))
    for name, chosen in [("chinese", {"zh"}), ("russian", {"ru"}), ("arabic", {"ar"}), ("german", {"de"})]:
        found = [text for _, lang, text in texts.documents("text") if lang in chosen]
        if not found:
            continue
        column = texts.column(found * 40)  # 40 times the same: the kernels remember nothing from text to text
        ours = _sign(column)
        rate = ours.rate(texts.size(column))
        note = f"{len(found)} texts; {rate / english:.2f} of English web text"
        report.row(f"minhash_text_to_keys_{name}", rate, "MB/s", ours.rounds, note=note)


def lower_paths(report: Report) -> None:
    """The same with better instructions forced off, each in a process of its own."""
    code = (
        "from benchmarks.dedup import *; c = web(); p = pieces();"
        "m = measure(lambda: kernels.minhash_sign(c, shingles=False, **SHAPE)); s = measure(lambda: kernels.sha256(p));"
        "print(kernels.cpu_path(), m.rate(texts.size(c)), s.rate(texts.size(p)))"
    )
    for path in ("avx2", "portable"):
        env = {**os.environ, "CURATE_CPU": path}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        name, keys, digests = done.stdout.split()
        report.row(f"minhash_text_to_keys_{name}", float(keys), "MB/s", 5)
        report.row(f"sha256_batch_{name}", float(digests), "MB/s", 5)


def two_cores(report: Report) -> None:
    """Wall time of one thread beside two, that take slices of documents; only an idle machine shows what it can."""
    column = web()
    slices = [column[at : at + 16] for at in range(0, len(column), 16)] * 8

    def sign(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda part: kernels.minhash_sign(part, shingles=False, **SHAPE), slices):
                pass

    one, two = measure(lambda: sign(1)), measure(lambda: sign(2))
    report.row("minhash_two_cores", one.wall / two.wall, "x", two.rounds, note="wall time of one thread by that of two")


def accuracy(report: Report) -> None:
    """RMSE of the Jaccard estimate from 112 slots, by that of independent slots; 400 pairs of sets at J = 0.8."""
    rng = np.random.default_rng(5)
    for n in (20, 60, 200, 1000):
        pool = rng.integers(0, 2**64, (400, n), dtype=np.uint64)
        cut = n // 10
        pairs = [np.sort(part) for row in pool for part in (row[:-cut], row[cut:])]
        jaccard = (n - 2 * cut) / n
        theory = (jaccard * (1 - jaccard) / 112) ** 0.5
        lists = pa.array(pairs, pa.large_list(pa.uint64()))
        theirs = _error(_rensa_slots(pairs), jaccard) / theory
        for scheme in ("classic", "fss"):
            slots = kernels.minhash_slots(lists, slots=112, seed=1, scheme=scheme)
            ours = _error(slots.flatten().to_numpy().reshape(-1, 112), jaccard) / theory
            report.row(f"rmse_{scheme}_n{n}", ours, "x theory", 1, note=f"rensa {theirs:.2f}")


def _rensa_slots(sets: list[np.ndarray]) -> np.ndarray:
    offsets = np.cumsum([0, *map(len, sets)]).tolist()
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(sets), offsets, 112, 1)
    return np.array(matrix.to_rows(), np.uint64).reshape(-1, 112)


def _error(slots: np.ndarray, jaccard: float) -> float:
    return float(np.sqrt((((slots[0::2] == slots[1::2]).mean(axis=1) - jaccard) ** 2).mean()))


# -- buckets and clusters ------------------------------------------------------------------------------------


def keys_of(documents: int, bands: int = 14) -> tuple[pa.Array, pa.Array]:
    """Band keys of documents of which a fifth are copies of another, in most of their bands."""
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**64, (documents, bands), dtype=np.uint64)
    copies = rng.choice(documents, documents // 5, replace=False)
    origin = rng.integers(0, documents, len(copies))
    same = rng.random((len(copies), bands)) < 0.7
    keys[copies] = np.where(same, keys[origin], keys[copies])
    names = rng.bytes(16 * documents)
    ids = np.frombuffer(names, "V16").repeat(bands)
    return pa.array(keys.reshape(-1)), pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(ids)])


def connect(key: pa.Array, doc_id: pa.Array) -> int:
    """Buckets, pairs and clusters; the number of documents with a copy."""
    members = pa.table(kernels.lsh_buckets(key, doc_id), ["first", "key", "member"])
    pairs = pa.table(kernels.bucket_pairs(members, None, min_jaccard=0.7, all=False)[:2], ["doc_a", "doc_b"])
    return len(kernels.clusters(pairs)[0])


def connect_rows(rows: int) -> float:
    """CPU seconds for so many key rows; a function of the module, for it runs in a process of its own."""
    key, doc_id = keys_of(rows // 10, 10)
    began = time.process_time()
    connect(key, doc_id)
    return time.process_time() - began


def clusters(report: Report) -> None:
    """From keys to clusters."""
    key, doc_id = keys_of(1_000_000)
    ours = measure(lambda: connect(key, doc_id))
    report.row("lsh_clusters_1m_documents", ours.cpu, "s", ours.rounds, note="14 bands, a fifth copies")
    _, peak, seconds = peak_memory(connect_rows, 10_000_000)
    report.row("lsh_10m_rows_peak", peak, "MB", 1, note=f"the whole process, keys included; {seconds:.1f} CPU s")


GROUPS: list[Callable[[Report], None]] = [
    sha256,
    minhash,
    sketch,
    languages,
    lower_paths,
    two_cores,
    accuracy,
    clusters,
]

if __name__ == "__main__":
    run("dedup", GROUPS, ["pyarrow", "datasketch", "rensa"])
