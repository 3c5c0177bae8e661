"""Banding: which pairs the bands and rows of a MinHash signature find, and how many of each find what is wanted.

    P(found at similarity s) = 1 - (1 - s^rows)^bands

The optimal banding for a threshold t is the one, of all with bands x rows <= hashes, with the least sum of two
areas under this curve: what it finds below t, and what it misses above. 112 hashes give 9 x 12 at 0.8 and 16 x 7
at 0.7.
"""

from functools import cache

import numpy as np
import pyarrow as pa

_PRIME = (1 << 61) - 1


def found_share(similarity: float, bands: int, rows: int) -> float:
    """The probability that a pair of this similarity shares a band."""
    return float(1 - (1 - similarity**rows) ** bands)


@cache
def optimal_banding(threshold: float, hashes: int) -> tuple[int, int]:
    """(bands, rows) of at most `hashes` values for a threshold; ties go to more rows."""
    s = (np.arange(1000) + 0.5) / 1000
    least, banding = np.inf, (1, 1)
    for rows in range(min(hashes, 64), 0, -1):
        for bands in range(1, min(hashes // rows, 1024) + 1):
            found = 1 - (1 - s**rows) ** bands
            error = float(np.where(s < threshold, found, 1 - found).mean())
            if error < least - 1e-12:
                least, banding = error, (bands, rows)
    return banding


@cache
def datasketch_parameters(slots: int, seed: int) -> tuple[pa.Array, pa.Array]:
    """The permutations (a, b) that `datasketch.MinHash(num_perm=slots, seed=seed)` draws."""
    stream = np.random.RandomState(seed)
    drawn = [
        (stream.randint(1, _PRIME, dtype=np.uint64), stream.randint(0, _PRIME, dtype=np.uint64)) for _ in range(slots)
    ]
    a, b = zip(*drawn, strict=True)
    return pa.array(a, pa.uint64()), pa.array(b, pa.uint64())
