"""How varied a set of texts is, and how far from another set: what is lost first where models learn from models.

    distinct n-grams    different n-grams of words among all of them, n = 1 to 4 (Li 2016, "distinct-n")
    copies              documents that have a near copy in the set (5-grams of words, Jaccard .5 or more), and how many
                        documents the largest cluster of such has
    distance            Jensen-Shannon divergence of the frequencies of words, and of pairs of words, from those of the
                        other set, in bits: 0 for equal ones, 1 where nothing is shared

All are worked out on equally many words of each set, drawn by document, since shares of distinct n-grams fall with the
size of a text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.schema import doc_id

WORD = re.compile(r"\w+")
BANDS, ROWS = 20, 4  # finds pairs of Jaccard .5 with a chance of .72, of .7 with .996
MIN_JACCARD = 0.5


def words_of(texts: Sequence[str], limit: int) -> list[list[str]]:
    """The lower-cased words of the first documents that hold `limit` of them; the last one is cut."""
    found, left = [], limit
    for text in texts:
        words = WORD.findall(text.lower())[:left]
        left -= len(words)
        found.append(words)
        if left <= 0:
            break
    return found


def grams(documents: Sequence[Sequence[str]], n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram of words stands in the documents."""
    return Counter(tuple(words[at : at + n]) for words in documents for at in range(len(words) - n + 1))


def distance(a: Counter[tuple[str, ...]], b: Counter[tuple[str, ...]]) -> float:
    """Jensen-Shannon divergence of two distributions, in bits."""
    keys = sorted(a.keys() | b.keys())
    p, q = (np.array([counts[key] for key in keys], np.float64) for counts in (a, b))
    if not p.sum() or not q.sum():
        return 1.0
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def to_middle(x: np.ndarray) -> float:
        here = x > 0
        return float((x[here] * np.log2(x[here] / middle[here])).sum())

    return max(0.0, (to_middle(p) + to_middle(q)) / 2)


def cluster_sizes(texts: Sequence[str]) -> list[int]:
    """How many documents each cluster of near copies has, the largest first; documents without one are left out."""
    if not texts:
        return []
    column = pa.array(list(texts), pa.large_string())
    keys, shingles = kernels.minhash_sign(column, ngram=5, bands=BANDS, rows=ROWS, seed=1)
    ids = pa.array([doc_id("text", number) for number in range(len(texts))], pa.binary(16))
    signed = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    owners = ids.take(pa.array(np.repeat(signed, BANDS)))
    first, key, member = kernels.lsh_buckets(keys.drop_null().flatten(), owners)
    if not len(first):
        return []
    members = pa.table({"first": first, "key": key, "member": member})
    a, b, _, _ = kernels.bucket_pairs(members, [(ids, shingles)], min_jaccard=MIN_JACCARD, all=False)
    if not len(a):
        return []
    _, roots = kernels.clusters(pa.table({"doc_a": a, "doc_b": b}))
    return sorted(Counter(roots.to_pylist()).values(), reverse=True)


def diversity(texts: Sequence[str], real: Sequence[str], limit: int = 200_000) -> dict[str, Any]:
    """Measures of `texts`, with `real` as the other set; `limit`: words that are counted of each at most."""
    total = min(limit, *(sum(len(WORD.findall(text)) for text in some) for some in (texts, real)))
    own, other = words_of(texts, total), words_of(real, total)
    distinct = {}
    for n in range(1, 5):
        counts = grams(own, n)
        distinct[str(n)] = len(counts) / max(1, counts.total())
    sizes = cluster_sizes(texts)
    return {
        "documents": len(texts),
        "words": total,
        "distinct": distinct,
        "in_copies": sum(sizes) / max(1, len(texts)),
        "largest_cluster": sizes[0] if sizes else 1,
        "distance": {str(n): distance(grams(own, n), grams(other, n)) for n in (1, 2)},
    }
