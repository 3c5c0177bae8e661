"""What the deduplicating stages compare, keep, drop and cut, and what that costs."""

import itertools
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from curate import schema
from curate.dedup import clusters as cluster_room
from curate.dedup.canonical import canonical_url
from curate.dedup.costs import VERIFY_BYTES
from curate.dedup.keep import Keep, KeepList, keep_list, rank_columns
from curate.dedup.sorting import SortedBatches, key_view, merged, ranges
from curate.dedup.units import Unit, units_of
from curate.errors import CurateError, DataError
from curate.stages import exact_dedup, line_dedup, near_dedup
from curate.stages.protocol import SideFile, Stage


def doc_ids(numbers: Any) -> pa.Array:
    return pa.array([int(i).to_bytes(16) for i in numbers], schema.DOC_ID)


def batch(*texts: str, **columns: list[Any]) -> pa.RecordBatch:
    """DOCUMENT rows with these texts; ids are 0, 1, 2 … in 16 bytes."""
    n = len(texts)
    data: dict[str, Any] = {
        "text": list(texts), "source": ["web"] * n, "origin_file": ["f"] * n, "origin_offset": list(range(n)),
        **columns,
    }  # fmt: skip
    arrays = {name: pa.array(values) for name, values in data.items()}
    return schema.conform(pa.RecordBatch.from_pydict({"doc_id": doc_ids(range(n)), **arrays}), schema.DOCUMENT)


class Files:
    """Side files and reads given as tables; work is done in `rounds` rounds, by ascending ranges."""

    def __init__(self, tables: dict[str, pa.Table], rounds: int = 1, memory: int = 10**9) -> None:
        self.tables, self.rounds, self.memory = tables, rounds, memory

    def table(self, name: str) -> pa.Table:
        return self.tables.get(name, pa.table({}))

    rows = table

    def files(self, name: str) -> list[SideFile]:
        return []

    def parts(self, own: pa.Table, others: list[pa.Table], by: str, row_bytes: int, held: int = 0) -> Any:
        assert not others
        yield from ([part] for part in ranges(own, by, self.rounds, own.num_rows))


def run(stage: Stage, phase: str, reads: Files, **settings: Any) -> dict[str, pa.Table]:
    """The tables that a part or all phase emits, by channel."""
    function = next(p.run for p in stage.phases if p.name == phase)
    assert function is not None
    found: dict[str, list[Any]] = {}
    for name, value in function(stage.config(**settings), reads):  # type: ignore[arg-type, misc]
        found.setdefault(name, []).append(value)
    return {name: pa.concat_tables(values) for name, values in found.items() if isinstance(values[0], pa.Table)}


def verdicts(found: pa.RecordBatch | None, n: int) -> list[tuple[Any, ...]]:
    if found is None:
        return [(None,) * 4] * n
    return list(zip(*(found.column(name).to_pylist() for name in ("rule", "value", "limit", "detail")), strict=True))


def rows(*members: tuple[int, str, str, int, float]) -> pa.Table:
    """(id, group, file, offset, rank) rows as hash emits them."""
    return pa.table(
        {
            "doc_id": doc_ids(m[0] for m in members),
            "group": [m[1] for m in members],
            "origin_file": [m[2] for m in members],
            "origin_offset": [m[3] for m in members],
            "n_copies": pa.array([1] * len(members), pa.uint32()),
            "rank": [float(m[4]) for m in members],
        }
    )


# -- which copy stays ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_kept_copy_does_not_depend_on_the_order_of_rows(rng: random.Random) -> None:
    members = [(3, "g", "b", 0, 0), (1, "g", "a", 7, 0), (2, "g", "a", 2, 0), (4, "h", "a", 1, 0)]
    rng.shuffle(members)
    first = keep_list(rows(*members), "group")
    assert {int.from_bytes(i) for i in first.column("cluster_id").to_pylist()} == {2}
    assert first.num_rows == 3 and set(first.column("n_copies").to_pylist()) == {3}
    ranked = keep_list(rows(*((*m[:4], -m[0]) for m in members)), "group")
    assert {int.from_bytes(i) for i in ranked.column("cluster_id").to_pylist()} == {3}


def test_ranks_follow_the_keep_rule() -> None:
    docs = batch("a", "longer", "b")
    docs = docs.set_column(docs.schema.get_field_index("quality_score"), "quality_score", pa.array([0.5, None, 0.9]))
    docs = docs.set_column(docs.schema.get_field_index("source"), "source", pa.array(["web", "books", "wiki"]))
    ranks = {keep: rank_columns(docs, keep, ["wiki", "web"])["rank"].to_pylist() for keep in get_args(Keep)}
    assert ranks == {"first": [0, 0, 0], "longest": [-1, -6, -1], "quality": [-0.5, 1, pytest.approx(-0.9)],
                     "source": [1, 2, 0]}  # fmt: skip
    for settings_ in ({"keep": "source"}, {"sources": ["wiki"]}):
        with pytest.raises(ValueError, match="sources"):
            exact_dedup.ExactDedup(**settings_)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://WWW.Example.com:80/a/?b=2&a=1&utm_source=x#top", "example.com/a?a=1&b=2"),
        ("https://example.com/%7Euser/%e2%82%ac%2Fx", "example.com/~user/%E2%82%AC%2Fx"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://example.com/A?a=1&a=0", "example.com/A?a=0&a=1"),
        ("mailto:ann", "mailto:ann"),
        ("http://[bad", "http://[bad"),
        ("https://example.com:99999/", "https://example.com:99999/"),
    ],
)
def test_urls_have_one_form(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


def test_exact_dedup_compares_what_is_asked_for() -> None:
    docs = batch("Café  X", "cafe\u0301 x ", "Café  X")
    urls = pa.array(["http://a.org/x", None, "https://www.a.org/x/"])
    docs = docs.set_column(docs.schema.get_field_index("url"), "url", urls)
    for settings_, groups in [({}, [0, 1, 0]), ({"of": "normalized"}, [0, 0, 0]), ({"by": "url"}, [0, 0])]:
        config = exact_dedup.ExactDedup(**settings_)
        hashes = exact_dedup.hash_texts(docs, config).emits["hashes"].column("hash").to_pylist()
        assert [hashes.index(h) for h in hashes] == groups


def test_a_keep_list_drops_copies_and_counts_them_on_the_one_kept() -> None:
    listed = keep_list(rows((0, "g", "a", 0, 1), (2, "g", "a", 2, 1)), "group")
    copies = KeepList(listed).look_up(batch("a", "b", "c"), "exact_dedup.copy", None, "copy of")
    copy = ("exact_dedup.copy", None, None, f"copy of {(0).to_bytes(16).hex()}")
    assert verdicts(copies.verdicts, 3) == [(None,) * 4, (None,) * 4, copy]
    assert copies.n_copies.to_pylist() == [2, 1, 1]
    assert [int.from_bytes(i) for i in copies.cluster_id.to_pylist()] == [0, 1, 0]


def test_pages_are_compared_by_address_before_they_are_extracted() -> None:
    urls = ["http://a.org/x", None, "https://www.a.org/x/#y"]
    pages = pa.RecordBatch.from_pydict(
        {"doc_id": doc_ids(range(3)), "url": pa.array(urls), "payload": pa.array([b"<p>"] * 3),
         "origin_file": ["f"] * 3, "origin_offset": [0, 1, 2]}
    )  # fmt: skip
    config = exact_dedup.ExactDedup(by="url")
    assert exact_dedup.STAGE.rows(config) == "any" and exact_dedup.STAGE.needs(config) == ("url",)
    assert exact_dedup.STAGE.rows(exact_dedup.ExactDedup()) == "document"
    for phase in exact_dedup.STAGE.phases:  # which is given its own settings only
        if phase.apply:
            assert exact_dedup.STAGE.rows(config.model_validate(exact_dedup.STAGE.seen_by(phase, config))) == "any"
    assert exact_dedup.STAGE.needs(exact_dedup.ExactDedup(by="url", keep="longest")) == ("url", "text")
    pages = schema.conform(pages, schema.RAW)
    hashes = pa.Table.from_batches([exact_dedup.hash_texts(pages, config).emits["hashes"]])
    picked = run(exact_dedup.STAGE, "pick", Files({"hash.hashes": hashes}), by="url")
    kept = run(exact_dedup.STAGE, "merge", Files({"pick.keep": picked["keep"]}), by="url")
    applied = exact_dedup.apply(pages, exact_dedup.open_keep_list(config, Files({"merge.keep": kept["keep"]})))  # type: ignore[arg-type]
    assert [rule for rule, *_ in verdicts(applied.verdicts, 3)] == [None, None, "exact_dedup.copy"]
    assert applied.batch.column("n_copies").to_pylist() == [2, 1, 1]


# -- lists that are looked up ----------------------------------------------------------------------------------


def keep_lists(partitions: int, n: int) -> pa.Table:
    """A keep list of n pairs in so many partitions, each in the order of its groups."""
    rng = np.random.default_rng(1)
    ids = doc_ids(rng.permutation(2 * n))
    heads = ids.take(pa.array(np.repeat(np.arange(0, 2 * n, 2), 2)))
    whole = pa.table({"doc_id": ids, "cluster_id": heads, "n_copies": pa.array([2] * 2 * n, pa.uint32()),
                      "similarity": pa.nulls(2 * n, pa.float64())})  # fmt: skip
    cuts = np.linspace(0, 2 * n, partitions + 1).astype(int)
    return pa.concat_tables([whole.slice(a, b - a).combine_chunks() for a, b in itertools.pairwise(cuts)])


def test_lookups_cost_the_same_for_4_and_4096_partitions() -> None:
    """One batch of the list is searched, whatever the partitions its rows came from."""
    asked = doc_ids(range(0, 20_000, 7))
    probes, found = [], []
    for partitions in (4, 4096):
        listed = run(exact_dedup.STAGE, "merge", Files({"pick.keep": keep_lists(partitions, 10_000)}))["keep"]
        hits = list(SortedBatches(listed, "doc_id").find(key_view(asked)))
        probes.append(len(hits))
        found.append([rows.tolist() for _, rows, _ in hits])
    assert probes == [1, 1] and found[0] == found[1] == [list(range(len(asked)))]


@settings(deadline=None)
@given(st.lists(st.integers(0, 99), max_size=60), st.integers(1, 9), st.lists(st.integers(0, 120), max_size=40))
def test_a_list_in_batches_is_searched_like_one(listed: list[int], rows: int, asked: list[int]) -> None:
    order = sorted(set(listed))
    table = pa.table({"key": doc_ids(order), "number": pa.array(order, pa.int64())})
    table = pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)
    found = {}
    for found_in, at, places in SortedBatches(table, "key").find(key_view(doc_ids(asked))):
        found.update(zip(at.tolist(), found_in.column("number").take(pa.array(places)).to_pylist(), strict=True))
    assert found == {place: key for place, key in enumerate(asked) if key in order}


def batches(table: pa.Table) -> list[Any]:
    return [part.to_pydict() for part in table.to_batches()]


@pytest.mark.parametrize("memory", [10**9, 40_000, 4_000])
def test_a_merged_list_does_not_depend_on_memory(memory: int) -> None:
    listed = keep_lists(16, 500)
    tables = list(merged(listed, ["doc_id", "cluster_id"], 200, memory))
    assert [table.num_rows for table in tables] == [1000]
    assert batches(tables[0]) == batches(listed.sort_by("doc_id").combine_chunks())


# -- near duplicates -------------------------------------------------------------------------------------------


def near_copies() -> list[str]:
    """40 texts, most of them in chains of copies with a few words changed."""
    rng = random.Random(2)
    texts = []
    for _ in range(10):
        words = corpus.article(rng, 20).split(" ")
        for step in range(4):
            texts.append(" ".join(words))
            words = [*words[: 9 * step], f"new{step}", *words[9 * step + 1 :]]
    return texts


def detect(texts: list[str], rounds: int = 1, **settings: Any) -> dict[str, pa.Table]:
    """What every phase of near_dedup emits, by its name and channel."""
    signed = near_dedup.sign(batch(*texts), near_dedup.NearDedup(**settings)).emits
    tables = {f"sign.{name}": pa.Table.from_batches([rows]) for name, rows in signed.items()}
    for phase in ("match", "verify", "cluster", "choose", "merge"):
        made = run(near_dedup.STAGE, phase, Files(tables, rounds), **settings)
        tables |= {f"{phase}.{name}": table for name, table in made.items()}
    return tables


def test_near_dedup_verifies_by_exact_jaccard() -> None:
    rng = random.Random(2)
    text = corpus.article(rng, 40)
    words = text.split(" ")
    near = " ".join([*words[:150], "elsewhere", *words[151:]])
    other = corpus.article(random.Random(3), 40)
    config = near_dedup.NearDedup()
    texts = [text, near, other, "too short"]
    marks = near_dedup.sign(batch(*texts), config).marks
    assert marks is not None and [(m["row"], m["rule"]) for m in marks.to_pylist()] == [(3, "near_dedup.too_short")]
    found = detect(texts)

    def shingles(value: str) -> set[tuple[str, ...]]:
        w = "".join(c if c.isalnum() else " " for c in value.lower()).split()
        return {tuple(w[i : i + 5]) for i in range(len(w) - 4)}

    a, b = shingles(text), shingles(near)
    jaccard = len(a & b) / len(a | b)
    assert found["merge.keep"].column("similarity").to_pylist() == [1, pytest.approx(jaccard)]
    state = near_dedup.open_keep_list(config, Files(found))  # type: ignore[arg-type]
    dropped = verdicts(near_dedup.apply(batch(*texts), state).verdicts, 4)
    assert [rule for rule, *_ in dropped] == [None, "near_dedup.copy", None, None]
    assert dropped[1][1:] == (pytest.approx(jaccard), 0.7, f"copy of {(0).to_bytes(16).hex()}")


@pytest.mark.parametrize("settings", [{}, {"pairs": True, "keep": "longest"}, {"verify": False}])
def test_what_near_dedup_emits_does_not_depend_on_rounds(settings: dict[str, Any]) -> None:
    one, many = (detect(near_copies(), rounds, **settings) for rounds in (1, 7))
    assert one.keys() == many.keys() and 20 < one["merge.keep"].num_rows <= 40
    for name, table in one.items():
        if not name.startswith("choose."):
            assert batches(table) == batches(many[name]), name


@pytest.mark.parametrize("rule", ["star", "connected"])
def test_every_cluster_has_one_representative_and_all_of_its_copies(rule: str) -> None:
    listed = detect(near_copies(), cluster=rule)["merge.keep"].to_pylist()
    for cluster in {row["cluster_id"] for row in listed}:
        members = [row for row in listed if row["cluster_id"] == cluster]
        assert cluster == min(row["doc_id"] for row in members)
        assert {row["n_copies"] for row in members} == {len(members)}
        assert min(row["similarity"] for row in members) >= (0.7 if rule == "star" else 0)
    assert [row["doc_id"] for row in listed] == sorted(row["doc_id"] for row in listed)


def test_giant_clusters_are_reported_with_the_least_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "GIANT", 3)
    found = detect(near_copies())
    giants = found["merge.giants"].to_pylist()
    members = [row["members"] for row in giants]
    assert len(giants) > 3 and members == sorted(members, reverse=True) and min(members) >= 3
    assert all(0 < row["least_jaccard"] < 1 for row in giants)
    (line, *_) = cluster_room.giants_in_words(found["merge.giants"])
    assert f"a cluster of {members[0]} documents, represented by {giants[0]['cluster_id'].hex()}" in line
    assert f"is {giants[0]['least_jaccard']:.2f}" in line


def test_clusters_that_do_not_fit_are_refused_with_what_they_need() -> None:
    ids = [doc_ids(range(side, side + 100)) for side in (0, 100)]
    pairs = pa.table({"doc_a": ids[0], "doc_b": ids[1]})
    with pytest.raises(CurateError, match=r"200 documents have a copy.* 40 bytes each.* leaves 5,000.* 1 MB more"):
        cluster_room.check_memory(pairs, Files({}, memory=5000))


UNLIKE = """
import sys
import numpy as np, pyarrow as pa
from curate import kernels
n = int(sys.argv[1])
def ids(numbers): return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(numbers), [None, pa.py_buffer(
    np.stack([numbers.astype('>u8'), numbers.astype('>u8') * 7], 1).tobytes())])
numbers = np.arange(n, dtype=np.uint64) * np.uint64(2**64 // n)
first = ids(np.zeros(n - 1, np.uint64))
members = pa.table({"first": first, "key": np.zeros(n - 1, np.uint64), "member": ids(numbers[1:])})
sets = pa.LargeListArray.from_arrays(np.arange(n + 1), pa.array(np.arange(n, dtype=np.uint64)))
kernels.cpu_path()
def kilobytes(name): return int(next(s for s in open("/proc/self/status") if s.startswith(name)).split()[1])
held = kilobytes("VmRSS")
pairs = kernels.bucket_pairs(members, [(ids(numbers), sets)], min_jaccard=0.7, all=False)
assert len(pairs[0]) == 0
print((kilobytes("VmHWM") - held) * 1024 / n)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_a_bucket_of_unlike_documents_takes_what_the_plan_says() -> None:
    """Each is compared with 64 others; nothing is held of that but a bit (8 bytes a document)."""
    command = [sys.executable, "-c", UNLIKE, "60000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < VERIFY_BYTES


# -- lines, paragraphs, sentences ------------------------------------------------------------------------------


def lines_left(config: line_dedup.LineDedup, *texts: str) -> tuple[list[str], list[tuple[int, str, float]]]:
    """(texts that stay, (row, what was cut, documents)) after count, pick, merge and apply."""
    docs = batch(*texts)
    counted = line_dedup.combine(pa.Table.from_batches([line_dedup.count(docs, config).emits["units"]]))
    settings = config.model_dump()
    picked = run(line_dedup.STAGE, "pick", Files({"count.units": counted}, rounds=3), **settings)
    made = run(line_dedup.STAGE, "merge", Files({"pick.repeated": picked.get("repeated", pa.table({}))}), **settings)
    side = Files({"merge.repeated": made.get("repeated", pa.table({}))})
    applied = line_dedup.apply(docs, line_dedup.open_repeated(config, side))  # type: ignore[arg-type]
    stays = [rule is None for rule, *_ in verdicts(applied.verdicts, len(texts))]
    left = [text for text, ok in zip(applied.batch.column("text").to_pylist(), stays, strict=True) if ok]
    marks = applied.marks.to_pylist() if applied.marks else []
    cut = [(m["row"], texts[m["row"]].encode()[m["span_start"] : m["span_end"]].decode(), m["value"]) for m in marks]
    return left, cut


def test_line_dedup_cuts_what_many_documents_share() -> None:
    footer = "© 2024 Example, all rights reserved\n"
    texts = [f"Story {name} é.\n{footer.replace('4', str(i))}end" for i, name in enumerate("abc")]
    first, none = (line_dedup.LineDedup(min_count=3, keep=keep) for keep in ("first", "none"))
    left, cut = lines_left(first, *texts)
    (kept,) = (i for i, text in enumerate(texts) if text in left)
    assert [text for i, text in enumerate(left) if i != kept] == [
        f"Story {'abc'[i]} é.\nend" for i in {0, 1, 2} - {kept}
    ]
    assert cut == [(i, footer.replace("4", str(i)), 3) for i in {0, 1, 2} - {kept}]
    assert [row for row, *_ in lines_left(none, *texts)[1]] == [0, 1, 2]
    assert lines_left(line_dedup.LineDedup(min_count=4), *texts) == (texts, [])
    assert lines_left(line_dedup.LineDedup(min_count=3, min_length=99), *texts) == (texts, [])
    assert lines_left(none, footer, footer, f"{footer}more") == (["more"], [(i, footer, 3) for i in range(3)])


def test_line_dedup_takes_paragraphs_and_three_sentences() -> None:
    shared = "We use cookies here. They are good ones. Accept them now. "
    texts = [f"{shared}Only {name} is here. The rest differs {name}." for name in ("this", "that")]
    left, cut = lines_left(line_dedup.LineDedup(unit="sentences", min_count=2), *texts)
    assert sorted(text.startswith(shared) for text in left) == [False, True]
    assert {text.removeprefix(shared) for text in left} == {text.removeprefix(shared) for text in texts}
    assert "".join(span for _, span, _ in cut) == shared
    paragraphs = ["one two three four five\nsix\n\nseven", "eight\n\nOne two three four five six"]
    left, cut = lines_left(line_dedup.LineDedup(unit="paragraph", min_count=2), *paragraphs)
    assert left in ([paragraphs[0], "eight"], ["seven", paragraphs[1]]) and len(cut) == 1


DEFINED = {
    "line": re.compile(r"[^\n]*\n|[^\n]+"),
    "paragraph": re.compile(r".+?(?:\n[^\S\n]*\n\s*|\Z)", re.DOTALL),
    "sentences": re.compile(r".+?(?:[.!?\u2026]+[\"')\]\u201d]*\s+|[\u3002\uff01\uff1f]+\s*|\n\s*|\Z)", re.DOTALL),
}


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="ab. \n\t\x1c\x85\u2003\u3002\uff01é!?\u2026\"')]\u201d", max_size=40), max_size=6),
    st.sampled_from(get_args(Unit)),
)
def test_units_are_those_of_their_definition_and_add_up_to_the_text(texts: list[str], unit: Any) -> None:
    column = pa.array(["before", *texts], pa.large_string())[1:]
    units = units_of(column, unit, 1)
    found = [units.texts[int(a) : int(b)].to_pylist() for a, b in itertools.pairwise(units.starts)]
    assert found == [DEFINED[unit].findall(text) for text in texts]
    assert ["".join(row) for row in found] == texts


@pytest.mark.parametrize("unit", get_args(Unit))
def test_half_a_megabyte_of_anything_is_cut_in_linear_time(unit: Any) -> None:
    for pattern in (".", '."', "\n ", "? ", "a\n"):
        column = pa.array([pattern * (2**19 // len(pattern))], pa.large_string())
        began = time.process_time()
        units_of(column, unit, 20)
        assert time.process_time() - began < 1, pattern


def test_cutting_takes_memory_by_spans_and_not_by_texts_times_spans() -> None:
    """7 documents of 800 KB that share 10,000 lines: 70,000 spans."""
    shared = "".join(f"this is shared line {chr(97 + i // 676)}{chr(97 + i // 26 % 26)}{chr(97 + i % 26)} of many\n"
                     for i in range(10_000))  # fmt: skip
    texts = [shared + f"only in {name}. " * 40_000 for name in "abcdefg"]
    config = line_dedup.LineDedup(keep="none")
    docs = batch(*texts)
    counted = line_dedup.combine(pa.Table.from_batches([line_dedup.count(docs, config).emits["units"]]))
    pa.default_memory_pool().release_unused()
    state = line_dedup.State(config, SortedBatches(counted, "hash"))
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    applied = line_dedup.apply(docs, state)
    assert applied.marks is not None and applied.marks.num_rows > 60_000
    assert applied.marks.nbytes < 120 * applied.marks.num_rows
    assert pool.bytes_allocated() - before < 3 * docs.nbytes


# -- addresses and texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://a.org/" + "%41" * 350_000, "http://" + "\u0301\u0316" * 500_000, "http://a.org/?" + "&a" * 500_000,
     "http://" + "\u0301\u0316" * 5_000 + ".org/"],
)  # fmt: skip
def test_an_address_that_no_server_takes_is_compared_as_it_is(url: str) -> None:
    began = time.process_time()
    assert canonical_url(url) == url and time.process_time() - began < 0.1


def test_a_megabyte_of_marks_is_compared_in_linear_time() -> None:
    began = time.process_time()
    docs = batch("\u0301\u0316" * 250_000, " " * 2**20, "a\u0301\u0316 ", "\u00c1\u0316")
    hashes = exact_dedup.hash_texts(docs, exact_dedup.ExactDedup(of="normalized")).emits["hashes"].column("hash")
    assert hashes[2] == hashes[3] and time.process_time() - began < 1.5


def test_documents_that_an_index_holds_are_refused() -> None:
    from curate.dedup.index import refuse_indexed_ids

    class Whole(Files):
        def parts(self, own: pa.Table, others: list[pa.Table], *_: Any, **__: Any) -> Iterator[list[pa.Table]]:
            yield [own, *others]

    mine = pa.table({"doc_id": doc_ids([3, 1, 2]), "origin_file": ["b", "a", "c"], "origin_offset": [5, 7, 9]})
    with pytest.raises(DataError, match="2 documents have the doc_id of an indexed one, first a at 7"):
        refuse_indexed_ids(mine, [pa.table({"doc_id": doc_ids([1, 3, 8])})], Whole({}))
    refuse_indexed_ids(mine, [pa.table({"doc_id": doc_ids([8])})], Whole({}))
