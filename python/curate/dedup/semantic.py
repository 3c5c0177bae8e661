"""Documents as vectors of their words, and which of them mean nearly the same: what semantic_dedup is made of.

Vectors come from tfidf-svd, or from a static model (static_model.py).

tfidf-svd: words are hashed into 2^16 buckets and weighed by sqrt(count) x idf; the DIM directions in which a sample of
the corpus varies most (its first singular vectors) are the basis of the vectors. Vectors have int16 values and length
ONE, so that the dot of two is a whole number, the same on every machine: ONE^2 times their cosine.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.dedup.keep import RANK_COLUMNS, listed
from curate.dedup.sorting import LIST_ROWS

DIM = 256  # values of a vector of tfidf-svd
ONE = 8192  # the length of a vector
BUCKETS = 1 << 16
SAMPLED_A_BATCH = 1024  # documents of a batch whose words are sampled
FITTED = 8192  # documents that the basis is fitted to
TRAINED = 256  # vectors that k-means is trained with, a cluster
PER_CLUSTER = 512  # documents of a cluster, about
MOST_CLUSTERS = 4096
ROUNDS = 8  # of k-means
PER_DOCUMENT = 16  # documents that stay in a cluster with which a pair is noted
RANDOM_PAIRS = 20_000
QUANTILES = (0.5, 0.9, 0.99, 0.999)

PAIRS = pa.schema(
    [("doc_id", schema.DOC_ID), ("head", schema.DOC_ID), ("cosine", pa.float64()), ("rank", pa.float64()),
     ("origin_file", pa.string()), ("origin_offset", pa.int64()), ("n_copies", pa.uint32()),
     ("head_copies", pa.uint32())]
)  # fmt: skip


def sampled(hashes: np.ndarray) -> np.ndarray:
    """The rows of a batch that are sampled, ascending: those with the smallest hashes of their doc_ids."""
    return np.sort(np.argsort(hashes, kind="stable")[:SAMPLED_A_BATCH])


def inverse_frequencies(terms: pa.Table, documents: int) -> np.ndarray:
    """float32 [BUCKETS]: ln((1 + documents) / (1 + documents that have the bucket)) + 1."""
    having = np.zeros(BUCKETS, np.int64)
    if terms.num_rows:
        np.add.at(having, terms.column("bucket").to_numpy(), terms.column("documents").to_numpy())
    return (np.log((1 + documents) / (1 + having)) + 1).astype(np.float32)


def fitted(sample: pa.Table, idf: np.ndarray, seed: int) -> np.ndarray:
    """float32 [BUCKETS * DIM]: the basis, fitted to the FITTED documents of the sample with the smallest hashes.
    Buckets that none of these has are left out of the work, and have zeros."""
    order = np.argsort(sample.column("hash").to_numpy(), kind="stable")[:FITTED]
    rows = sample.select(["bucket", "count"]).take(pa.array(order)).combine_chunks()
    lists = rows.column("bucket").combine_chunks()
    used, place = np.unique(lists.flatten().to_numpy(), return_inverse=True)
    buckets = pa.LargeListArray.from_arrays(lists.offsets, pa.array(place.astype(np.uint32)))
    basis = np.zeros((BUCKETS, DIM), np.float32)
    found = kernels.word_basis(buckets, rows.column("count"), pa.array(idf[used]), dim=DIM, seed=seed)
    basis[used] = np.asarray(found).reshape(-1, DIM)
    return basis.reshape(-1)


def vector_type(dim: int) -> pa.DataType:
    """Of a column of vectors."""
    return pa.list_(pa.int16(), dim)


def dim_of(vectors: pa.Array | pa.ChunkedArray) -> int:
    """Values of each vector of a column."""
    return int(vectors.type.list_size)


def matrix(vectors: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int16 [rows, dim] of a column of vectors."""
    whole = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    values: np.ndarray = whole.flatten().to_numpy()
    return values.reshape(-1, dim_of(vectors))


def clusters_of(documents: int) -> int:
    """How many clusters so many documents are divided into."""
    return min(MOST_CLUSTERS, max(1, documents // PER_CLUSTER))


def centers(vectors: np.ndarray, hashes: np.ndarray, seed: int) -> np.ndarray:
    """int16 [clusters, dim]: k-means over the vectors with the smallest hashes, TRAINED for each cluster."""
    count = clusters_of(len(vectors))
    chosen = np.sort(np.argsort(hashes, kind="stable")[: count * TRAINED])
    dim = vectors.shape[1]
    found = kernels.vector_centers(pa.array(vectors[chosen].reshape(-1)), dim=dim, k=count, rounds=ROUNDS, seed=seed)
    return np.asarray(found).reshape(-1, dim)


def quantiles_in_words(vectors: np.ndarray, seed: int) -> str:
    """The cosines of pairs of chance, by which a threshold can be chosen: what lies below says nothing."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, len(vectors), (2, RANDOM_PAIRS))
    dots = np.einsum("ij,ij->i", vectors[a[a != b]].astype(np.int64), vectors[b[a != b]].astype(np.int64))
    found = np.quantile(dots, QUANTILES) / ONE**2 if len(dots) else np.zeros(len(QUANTILES))
    told = ", ".join(f"{100 * q:g} % below {value:.3f}" for q, value in zip(QUANTILES, found, strict=True))
    return f"semantic_dedup: the cosines of random pairs: {told}"


def resolved(pairs: pa.Table) -> Iterator[pa.Table]:
    """The keep list that follows from PAIRS, sorted by doc_id, in batches of LIST_ROWS rows.

    In keep order a document goes for the nearest of the documents that it is paired with that stays; it stays where
    none of them does. A document without pairs stays, and one that is only compared with, whose rank is -inf.
    """
    pairs = pairs.filter(pc.greater(pairs.column("rank"), -np.inf))
    names = [(name, "ascending") for name in ("rank", "origin_file", "origin_offset", "doc_id")]
    order = pc.sort_indices(pairs, sort_keys=[*names, ("cosine", "descending"), ("head", "ascending")])
    pairs = pairs.take(order)
    ids = pc.unique(pa.chunked_array([*pairs.column("doc_id").chunks, *pairs.column("head").chunks]))
    ids = ids.take(pc.sort_indices(ids))
    numbers = {name: pc.index_in(pairs.column(name), ids).to_numpy() for name in ("doc_id", "head")}
    copies = np.ones(len(ids), np.uint64)
    copies[numbers["doc_id"]] = pairs.column("n_copies").to_numpy()
    copies[numbers["head"]] = pairs.column("head_copies").to_numpy()
    heads = np.arange(len(ids))
    cosines = np.ones(len(ids))
    for document, head, cosine in zip(
        numbers["doc_id"].tolist(), numbers["head"].tolist(), pairs.column("cosine").to_pylist(), strict=True
    ):
        if heads[document] == document and heads[head] == head:
            heads[document], cosines[document] = head, cosine
    keep = listed(ids, heads, copies, pa.array(cosines))
    for start in range(0, keep.num_rows, LIST_ROWS):
        yield keep.slice(start, LIST_ROWS)


def pairs_of(members: pa.Table, min_cosine: float) -> pa.Table:
    """PAIRS of the members of clusters: cluster, RANK_COLUMNS and vector."""
    names = ("cluster", "rank", "origin_file", "origin_offset", "doc_id")
    members = members.take(pc.sort_indices(members, sort_keys=[(n, "ascending") for n in names])).combine_chunks()
    clusters = members.column("cluster").to_numpy()
    starts = np.flatnonzero(np.diff(clusters, prepend=clusters[:1] + np.uint64(1)))
    vectors = matrix(members.column("vector")).reshape(-1)
    least = int(np.ceil(min_cosine * ONE**2))
    row, other, dot = kernels.alike_vectors(
        pa.array(vectors), pa.array(np.append(starts[1:], len(clusters))), dim=dim_of(members.column("vector")),
        least=least, per_vector=PER_DOCUMENT,
    )  # fmt: skip
    mine, theirs = (members.select(list(RANK_COLUMNS)).take(rows) for rows in (row, other))
    cosine = pc.divide(dot.cast(pa.float64()), float(ONE**2))
    columns = [mine.column("doc_id"), theirs.column("doc_id"), cosine, mine.column("rank"), mine.column("origin_file"),
               mine.column("origin_offset"), mine.column("n_copies"), theirs.column("n_copies")]  # fmt: skip
    return pa.table(columns, schema=PAIRS)
