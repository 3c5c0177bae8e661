"""Corpora of documents that are alike in many ways, made on the spot, and the exact similarity of all their pairs."""

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from scipy import sparse

from curate import kernels

KINDS = ("products", "tweets", "code", "cjk")


def texts(kind: str, count: int, seed: int = 1) -> list[str]:
    """`count` documents of one of KINDS, in an order of chance."""
    rng = random.Random(seed)
    made = {"products": _product, "tweets": _tweet, "code": _code, "cjk": _cjk}[kind]
    found: list[str] = []
    while len(found) < count:
        found.append(made(rng, found))
    rng.shuffle(found)
    return found


def _words(rng: random.Random, count: int, names: int = 3000) -> list[str]:
    return [f"w{int(rng.random() ** 2 * names)}" for _ in range(count)]


TEMPLATE = (
    "Buy the new {0} {1} online today in our shop with free delivery to your door in two days. The {0} {1} comes in"
    " {2} and weighs only {3} grams, has a battery for {4} hours and costs {5} euros with all taxes. Every order of a"
    " {1} can be sent back within thirty days at no cost, and our friendly team answers all of your questions by mail"
    " or phone on every day of the week from nine to five. {6}"
)


def _product(rng: random.Random, before: list[str]) -> str:
    """A page of one template: most differ in all of seven slots, some in one of a page that is there."""
    if before and rng.random() < 0.2:
        words = rng.choice(before).split()
        words[rng.randrange(len(words))] = f"only{rng.randrange(10**6)}"
        return " ".join(words)
    slots = [f"brand{rng.randrange(80)}", f"model{rng.randrange(3000)}", f"color{rng.randrange(12)}"]
    return TEMPLATE.format(*slots, *(rng.randrange(900) for _ in range(3)), " ".join(_words(rng, rng.randrange(12))))


def _tweet(rng: random.Random, before: list[str]) -> str:
    """Some twenty words; a third are passed on with a few words before, behind or changed."""
    if before and rng.random() < 0.35:
        words = rng.choice(before).split()
        change = rng.randrange(4)
        if change == 0:
            words = ["RT", f"user{rng.randrange(500)}", *words]
        elif change == 1:
            words = [*words, f"tag{rng.randrange(500)}"]
        elif change == 2:
            words[rng.randrange(len(words))] = f"x{rng.randrange(10**6)}"
        return " ".join(words)
    return " ".join(_words(rng, rng.randrange(8, 32)))


LICENCE = " ".join(_words(random.Random(7), 150))


def _code(rng: random.Random, before: list[str]) -> str:
    """A source file below one licence text: short ones are alike by it alone."""
    if before and rng.random() < 0.4:
        words = rng.choice(before).split()
        for _ in range(rng.randrange(1, 6)):
            words[rng.randrange(len(words))] = f"v{rng.randrange(10**6)}"
        return " ".join(words)
    return f"{LICENCE} " + " ".join(_words(rng, rng.choice([10, 30, 60, 200, 400])))


def _cjk(rng: random.Random, before: list[str]) -> str:
    """Han characters, each of which is a word; half are copies with some characters changed, left out or added."""
    if before and rng.random() < 0.5:
        characters = list(rng.choice(before))
        for _ in range(rng.randrange(1, 1 + len(characters) // 25)):
            place = rng.randrange(len(characters))
            characters[place : place + rng.randrange(2)] = [chr(0x4E00 + rng.randrange(4000))]
        return "".join(characters)
    return "".join(chr(0x4E00 + int(rng.random() ** 2 * 4000)) for _ in range(rng.randrange(60, 300)))


def similar_pairs(
    documents: list[str], least: float, ngram: int = 5
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(a, b, jaccard) of all pairs a < b of a similarity of `least` and more, some rows at a time.

    By brute force: intersections are a product of matrices, with shingles that many documents have as dense columns.
    """
    column = pa.array(documents, pa.large_string())
    _, shingles = kernels.minhash_sign(column, ngram=ngram, bands=1, rows=1, seed=1)
    offsets, values = shingles.offsets.to_numpy(), shingles.flatten().to_numpy()
    known, columns = np.unique(values, return_inverse=True)
    n, sizes = len(documents), np.diff(offsets)
    whole = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, offsets), shape=(n, len(known)))
    common = np.bincount(columns, minlength=len(known)) > n // 50
    dense, rare = np.asarray(whole[:, common].todense()), whole[:, ~common].tocsr()
    turned = rare.T.tocsr()
    for start in range(0, n, 500):
        rows = slice(start, min(start + 500, n))
        shared = dense[rows] @ dense.T + (rare[rows] @ turned).toarray()
        union = sizes[rows][:, None] + sizes[None, :] - shared
        jaccard = np.divide(shared, union, out=np.zeros_like(shared, np.float64), where=union > 0)
        a, b = np.nonzero(jaccard >= least)
        later = b > a + start
        yield a[later] + start, b[later], jaccard[a[later], b[later]]
