"""Deduplication against plain definitions: every column type, every instruction set, every mistake of a caller."""

import hashlib
import json
import os
import random
import subprocess
import sys
import unicodedata
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import _rust, kernels
from curate.dedup.banding import datasketch_parameters
from oracles import ALPHABET, finish, hash_bytes, hash_ngrams, stream, words

TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]
texts = st.lists(st.text(alphabet=ALPHABET, max_size=60), max_size=8)
ids = st.integers(0, 40).map(lambda n: hashlib.md5(bytes([n])).digest())
ID = pa.binary(16)


def text(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.large_string())


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_columns_of_every_text_type_and_slice(type_: pa.DataType) -> None:
    values = ["", "a", "漢字", "x" * 200, "end"]
    column = pa.array([v.encode() for v in values]).cast(type_)
    expected = [hashlib.sha256(v.encode()).digest() for v in values]
    assert kernels.sha256(column).to_pylist() == expected
    assert kernels.sha256(column[1:4]).to_pylist() == expected[1:4]
    assert kernels.sha256(column[:0]).to_pylist() == []
    assert kernels.sha256(pa.chunked_array([column[:2], column[2:]])).to_pylist() == expected
    assert kernels.sha256(column).type == pa.binary(32)


@given(st.lists(st.text(alphabet="ae\u0301\u0323\u0327\u1100\u1161\u11a8\u212b\uac00 x", max_size=20), max_size=8))
def test_composed_texts_are_those_of_unicodedata(values: list[str]) -> None:
    assert kernels.nfc(text(values)).to_pylist() == [unicodedata.normalize("NFC", value) for value in values]


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_digests_are_those_of_hashlib(values: list[bytes]) -> None:
    assert kernels.sha256(pa.array(values, pa.binary())).to_pylist() == [hashlib.sha256(v).digest() for v in values]


def finish_band(band: int, slots: list[int]) -> int:
    """The key of a band of slots."""
    key = finish(band + 1)
    for low, high in zip(slots[0::2], [*slots[1::2], 0], strict=False):
        key = finish((key << 23 | key >> 41) & (2**64 - 1) ^ (high << 32 | low))
    return key


def signature(value: str, ngram: int, bands: int, rows: int, seed: int) -> tuple[list[int] | None, list[int]]:
    """MinHash by its definition."""
    shingles = sorted(set(hash_ngrams([hash_bytes(word.encode()) for word, _, _ in words(value)], ngram)))
    if not shingles:
        return None, []
    slots = []
    for slot, number in enumerate(stream(seed, bands * rows)):
        factor = number >> 32 | 1
        halves = [s >> 32 if slot % 2 else s & 0xFFFFFFFF for s in shingles]
        slots.append(min(factor * half % 2**32 for half in halves))
    keys = [finish_band(band, slots[band * rows : (band + 1) * rows]) for band in range(bands)]
    return keys, shingles


@settings(deadline=None)
@given(texts, st.sampled_from([(1, 3, 4), (2, 14, 8), (3, 5, 3)]), st.integers(0, 2**64 - 1))
def test_signatures_follow_the_definition(values: list[str], shape: tuple[int, int, int], seed: int) -> None:
    ngram, bands, rows = shape
    keys, shingles = kernels.minhash_sign(text(values), ngram=ngram, bands=bands, rows=rows, seed=seed)
    expected = [signature(value, ngram, bands, rows, seed) for value in values]
    assert keys.type.list_size == bands
    assert list(zip(keys.to_pylist(), shingles.to_pylist(), strict=True)) == expected
    alone, none = kernels.minhash_sign(text(values), ngram=ngram, bands=bands, rows=rows, seed=seed, shingles=False)
    assert alone.equals(keys) and none.to_pylist() == [[]] * len(values)


@pytest.mark.realdata
def test_datasketch_signatures_are_those_of_the_package(shared: Path) -> None:
    """On real text, from the same shingles; their band keys follow, so an exchange is exact. datatrove's too."""
    import datasketch
    import numpy as np
    import zstandard

    packed = (shared / "neardup" / "licenses.jsonl.zst").read_bytes()
    lines = zstandard.ZstdDecompressor().stream_reader(packed).readall()
    documents = [json.loads(line)["text"] for line in lines.decode().splitlines()[:60]]
    a, b = datasketch_parameters(112, 7)
    shape = {"ngram": 5, "bands": 14, "rows": 8, "seed": 7}
    keys, shingles = kernels.minhash_sign(text(documents), scheme="datasketch", parameters=(a, b), **shape)
    slots = kernels.mersenne_slots(shingles, a, b, mask=2**32 - 1).to_pylist()
    for row, values in enumerate(shingles.to_pylist()):
        peer = datasketch.MinHash(num_perm=112, seed=7, hashfunc=lambda h: h & 0xFFFFFFFF, scheme="legacy")
        peer.update_batch(values)
        assert slots[row] == peer.hashvalues.tolist()
        expected = [finish_band(band, slots[row][band * 8 : band * 8 + 8]) for band in range(14)]
        assert keys[row].as_py() == (expected if values else None)
    prime = np.uint64((1 << 61) - 1)
    wide = kernels.mersenne_slots(shingles, a, b, mask=2**64 - 1).to_pylist()
    for row, values in enumerate(shingles.to_pylist()):
        if values:  # datatrove: (shingles a + b) % prime, all bits
            images = (np.array(values, np.uint64)[:, None] * a.to_numpy() + b.to_numpy()) % prime
            assert wide[row] == images.min(axis=0).tolist()


def test_fss_differs_from_classic_and_finds_what_is_near() -> None:
    words_ = [f"w{i % 97}x{i}" for i in range(300)]
    near = " ".join(words_[:150] + ["changed"] + words_[151:])
    keys, _ = kernels.minhash_sign(text([" ".join(words_), near, "a b c d e f"]), scheme="fss", **SIGN)
    classic, _ = kernels.minhash_sign(text([" ".join(words_)]), **SIGN)
    a, b, c = map(set, keys.to_pylist())
    assert len(a & b) >= 8 and not a & c and not a & set(classic[0].as_py())


def test_every_instruction_set_gives_the_same_bytes() -> None:
    code = """if True:
        import hashlib, random, pyarrow as pa
        from curate import kernels
        rng = random.Random(5)
        docs = [" ".join(rng.choice("Alpha béta 漢字 gamma_2 x Straße".split()) for _ in range(n)) for n in range(300)]
        column = pa.array(docs, pa.large_string())
        results = [kernels.sha256(column), *kernels.minhash_sign(column, ngram=5, bands=14, rows=8, seed=1),
                   kernels.signals(column), kernels.index_items(column, column.slice(0, 0),
                   pa.array([0] * len(column), pa.uint32()), column, n=3, max_items=9, ngrams=True).gram]
        print(kernels.cpu_path(), hashlib.sha256(repr([r.to_pylist() for r in results]).encode()).hexdigest())
    """
    seen = {}
    for name in ("portable", "avx2", "avx512"):
        env = {**os.environ, "CURATE_CPU": name}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        path, digest = done.stdout.split()
        seen[path] = digest
    assert "portable" in seen
    assert len(set(seen.values())) == 1, seen


def test_an_unknown_instruction_set_is_refused() -> None:
    code = "from curate import kernels; kernels.cpu_path()"
    env = {**os.environ, "CURATE_CPU": "sse9"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert 'CURATE_CPU is "sse9": use portable, avx2 or avx512' in done.stderr


def test_near_duplicates_share_a_band_and_others_none() -> None:
    rng = random.Random(1)
    vocabulary = [f"w{i}" for i in range(5000)]
    base = [rng.choice(vocabulary) for _ in range(400)]
    near = base[:200] + ["changed"] + base[201:]
    other = [rng.choice(vocabulary) for _ in range(400)]
    keys, shingles = kernels.minhash_sign(
        text([" ".join(d) for d in (base, near, other)]), ngram=5, bands=14, rows=8, seed=1
    )
    a, b, c = map(set, keys.to_pylist())
    assert len(a & b) >= 10 and not a & c
    pairs = pa.array([0, 0], pa.uint32()), pa.array([1, 2], pa.uint32())
    similar, different = kernels.jaccard(shingles, *pairs).to_pylist()
    assert similar == pytest.approx(391 / 401) and different == 0


@given(st.lists(st.tuples(st.integers(0, 5).map(lambda n: n * 0x2AAAAAAAAAAAAAAA), ids), max_size=120))
def test_buckets_hold_each_id_once_in_the_order_of_rows(rows: list[tuple[int, bytes]]) -> None:
    buckets: dict[int, dict[bytes, None]] = {}
    for key, doc in rows:
        buckets.setdefault(key, {})[doc] = None
    expected = [(next(iter(b)), key, member) for key, b in sorted(buckets.items()) for member in list(b)[1:]]
    key, doc = zip(*rows, strict=True) if rows else ([], [])
    columns = kernels.lsh_buckets(pa.array(key, pa.uint64()), pa.array(doc, ID))
    assert list(zip(*(c.to_pylist() for c in columns), strict=True)) == expected


DOCUMENTS = st.lists(st.frozensets(st.integers(0, 6), max_size=6), min_size=12, max_size=12)
BUCKETS = st.lists(st.frozensets(st.integers(0, 11), min_size=2, max_size=8), max_size=5)


@settings(deadline=None)
@given(DOCUMENTS, BUCKETS, st.integers(1, 12))
def test_pairs_of_buckets_are_those_alike(documents: list[Any], buckets: list[Any], cut: int) -> None:
    """All pairs of a bucket with `all`; without, few pairs that connect the same documents, the same with both."""
    name = [bytes([i]) * 16 for i in range(12)]
    alike: dict[tuple[bytes, bytes], float] = {}
    rows = []
    for key, bucket in enumerate(buckets):
        first, *others = sorted(bucket)
        rows += [(name[first], key, name[other]) for other in others]
        for a, b in combinations(sorted(bucket), 2):
            both, either = documents[a] & documents[b], documents[a] | documents[b]
            if either and len(both) / len(either) >= 0.5:
                alike[name[a], name[b]] = len(both) / len(either)
    first, key, member = zip(*rows, strict=True) if rows else ([], [], [])
    members = bucket_rows(first, key, member)
    shingles = sets(*(sorted(d) for d in documents))
    parts = [(pa.array(name[:cut], ID), shingles[:cut]), (pa.array(name[cut:], ID), shingles[cut:])]
    a, b, jaccard, links = (c.to_pylist() for c in kernels.bucket_pairs(members, parts, min_jaccard=0.5, all=True))
    assert dict(zip(zip(a, b, strict=True), jaccard, strict=True)) == alike
    few = [c.to_pylist() for c in kernels.bucket_pairs(members, parts, min_jaccard=0.5, all=False)]
    linked = [row for row, link in zip(zip(a, b, strict=True), links, strict=True) if link]
    assert list(zip(*few[:2], strict=True)) == linked and all(few[3])
    seen, expected = kernels.clusters(edges(*few[:2])), kernels.clusters(edges(*zip(*alike, strict=True)))
    assert [c.to_pylist() for c in seen] == [c.to_pylist() for c in expected]


def bucket_rows(first: Any, key: Any, member: Any) -> pa.Table:
    return pa.table({"first": pa.array(first, ID), "key": pa.array(key, pa.uint64()), "member": pa.array(member, ID)})


def edges(a: Any = (), b: Any = ()) -> pa.Table:
    return pa.table({"doc_a": pa.array(a, ID), "doc_b": pa.array(b, ID)})


@given(st.lists(st.tuples(ids, ids), max_size=60), st.integers(0, 60))
def test_clusters_are_the_components(pairs: list[tuple[bytes, bytes]], cut: int) -> None:
    """Of pairs in two parts: each document once, with its component's smallest."""
    component = {doc: {doc} for pair in pairs for doc in pair}
    for a, b in pairs:
        union = component[a] | component[b]
        component.update((doc, union) for doc in union)
    table = edges(*zip(*pairs, strict=True)) if pairs else edges()
    doc_id, root = (c.to_pylist() for c in kernels.clusters(pa.concat_tables([table[:cut], table[cut:]])))
    assert doc_id == sorted(component)
    assert [doc_id[place] for place in root] == [min(component[doc]) for doc in doc_id]


@given(st.lists(st.lists(ids, max_size=9, unique=True), max_size=4), st.sets(ids))
def test_ids_are_found_where_they_stand(parts: list[list[bytes]], wanted: set[bytes]) -> None:
    asked = sorted(wanted)
    part, row = (c.to_pylist() for c in kernels.id_places([pa.array(p, ID) for p in parts], pa.array(asked, ID)))
    for doc, place in zip(asked, zip(part, row, strict=True), strict=True):
        where = [(i, p.index(doc)) for i, p in enumerate(parts) if doc in p]
        assert place == (where[-1] if where else (2**32 - 1, 2**32 - 1))


def u32(*values: int) -> pa.Array:
    return pa.array(values, pa.uint32())


def sets(*values: list[int] | None) -> pa.Array:
    return pa.array(values, pa.large_list(pa.uint64()))


ONE, TWO = pa.array([b"1" * 16], ID), pa.array([b"2" * 16], ID)
RULE = {"min_jaccard": 0.5, "all": False}
SIGN = {"ngram": 5, "bands": 14, "rows": 8, "seed": 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.sha256(text(["a", None])), "row 1 of a text column is null"),
        (lambda: kernels.minhash_sign(pa.array([b"ok", b"a\xff"]), **SIGN), "row 1 is not UTF-8: byte 1"),
        (lambda: kernels.minhash_sign(text(["a"]), **{**SIGN, "ngram": 0}), "ngram is 0: it must be 1 to 64"),
        (lambda: kernels.minhash_sign(text(["a"]), **{**SIGN, "bands": 2000}), "bands is 2000: it must be 1 to 1024"),
        (lambda: kernels.jaccard(sets([1], [3, 2]), u32(0), u32(1)), "row 1 of shingles is not sorted"),
        (lambda: kernels.jaccard(sets([1]), u32(0), u32(7)), "pair 0 names row 7 of shingles, which has 1 rows"),
        (lambda: kernels.jaccard(sets([1]), u32(0), u32()), "b has 0 rows where a has 1"),
        (
            lambda: kernels.bucket_pairs(bucket_rows(ONE, [1], TWO), [], **RULE),
            "document 3131.* shares a band",
        ),
        (
            lambda: kernels.text_units(text(["a"]), unit="word"),
            'unit is "word": use one of line, paragraph or sentence',
        ),
        (lambda: kernels.text_units(text(["a", None]), unit="line"), "row 1 of a text column is null"),
        (lambda: kernels.nfc(pa.array([b"ok", b"a\xff"])), "row 1 is not UTF-8: byte 1"),
        (lambda: kernels.lsh_buckets(pa.array([1], pa.uint64()), ONE[:0]), "doc_id has 0 rows where key has 1"),
        (lambda: kernels.minhash_sign(text(["a"]), scheme="rho", **SIGN), 'scheme "rho": use classic or fss'),
        (lambda: kernels.jaccard(sets([1], None), u32(), u32()), "row 1 of a list column is null"),
        (lambda: _rust.clusters([(ONE, ONE[:0])]), "b has 0 rows where a has 1"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a column of text or binary, got Int64"):
        _rust.sha256(pa.array([1]))
    with pytest.raises(TypeError, match="expected an Arrow array, got list"):
        _rust.sha256(["a"])
    with pytest.raises(TypeError, match=r"expected a column of fixed_size_binary\(16\)"):
        _rust.clusters([(pa.array([b"a"], pa.binary(1)), pa.array([b"b"], pa.binary(1)))])
