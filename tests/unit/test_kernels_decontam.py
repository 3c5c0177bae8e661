"""N-grams of normalized words against the rule written out, and hits against a search of every position."""

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import kernels
from oracles import ALPHABET, UNSPACED, hash_bytes, hash_ngrams, lower

DROPPED = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff'\u2019\u02bc]")
texts = st.lists(st.text(alphabet=ALPHABET + "1,2.3", max_size=60), max_size=6)


def text(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def normalized(value: str) -> list[str]:
    """NFKD of the whole, drop what is dropped, join numbers, split at what is no word, unspaced characters alone."""
    value = re.sub("(?<=[0-9])[.,](?=[0-9])", "", value)
    value = DROPPED.sub("", unicodedata.normalize("NFKD", value))
    words: list[str] = []
    open_ = full = False
    for c in value:
        mark = unicodedata.category(c).startswith("M")
        if not (c.isalnum() or (mark and open_)):
            open_ = full = False
            continue
        unspaced = not mark and UNSPACED.match(unicodedata.name(c, "")) is not None
        if open_ and not unspaced and (mark or not full):
            words[-1] += lower(c)
        else:
            words.append(lower(c))
            full = unspaced
        open_ = True
    return words


@settings(deadline=None)
@given(texts, st.integers(1, 4))
def test_hashes_follow_the_rule(values: list[str], n: int) -> None:
    expected = [hash_ngrams([hash_bytes(word.encode()) for word in normalized(value)], n) for value in values]
    assert kernels.ngram_hashes(text(values), n=n).to_pylist() == expected


@settings(deadline=None)
@given(texts, st.integers(1, 3), st.randoms())
def test_hits_are_all_positions_of_the_grams(values: list[str], n: int, random: object) -> None:
    hashes = kernels.ngram_hashes(text(values), n=n).to_pylist()
    pool = sorted({h for row in hashes for h in row} | {1, 2**63, 2**64 - 1})
    grams = [h for h in pool if random.random() < 0.5]  # type: ignore[attr-defined]
    row, gram, start, end = kernels.NgramFinder(pa.array(grams, pa.uint64()), n=n).hits(text(values))
    expected = [(i, grams.index(h)) for i, line in enumerate(hashes) for h in line if h in grams]
    assert list(zip(row.to_pylist(), gram.to_pylist(), strict=True)) == expected
    for i, g, s, e in zip(row.to_pylist(), gram.to_pylist(), start.to_pylist(), end.to_pylist(), strict=True):
        # A span holds its n-gram, unless a word is but a part of what one character decomposes to.
        span = values[i].encode()[s:e].decode()
        assert grams[g] in kernels.ngram_hashes(text([span]), n=n).to_pylist()[0]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="n is 0: it must be 1 to 64 words"):
        kernels.ngram_hashes(text(["a"]), n=0)
    with pytest.raises(ValueError, match="row 2 of grams is 1, not above 5 in the row before"):
        kernels.NgramFinder(pa.array([1, 5, 1], pa.uint64()), n=1)
    with pytest.raises(ValueError, match="row 0 of a UInt64 column is null"):
        kernels.NgramFinder(pa.array([None], pa.uint64()), n=1)
