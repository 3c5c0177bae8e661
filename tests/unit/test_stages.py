"""What each stage does to which text, and what it rejects with which value and limit."""

import itertools
import json
import random
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpus
from curate import kernels, schema, stages
from curate.errors import ConfigError
from curate.filters import gopher
from curate.stages import (
    decontaminate,
    exact_dedup,
    filter,
    holdout,
    langid,
    line_dedup,
    mix,
    near_dedup,
    normalize,
    redact,
)
from curate.stages.keep import Keep, KeepList, keep_list, rank_columns
from curate.stages.protocol import Applied, SideFile


def batch(*texts: str, **columns: list[Any]) -> pa.RecordBatch:
    """DOCUMENT rows with these texts; ids are 0, 1, 2 … in 16 bytes."""
    n = len(texts)
    data: dict[str, Any] = {
        "doc_id": [i.to_bytes(16) for i in range(n)], "text": list(texts), "source": ["web"] * n,
        "origin_file": ["f"] * n, "origin_offset": list(range(n)), "n_copies": [1] * n, **columns,
    }  # fmt: skip
    arrays = {name: pa.array(values) for name, values in data.items() if name != "doc_id"}
    ids = pa.array(data["doc_id"], schema.DOC_ID)
    return schema.conform(pa.RecordBatch.from_pydict({"doc_id": ids, **arrays}), schema.DOCUMENT)


class Files:
    """Side files and reads given as tables and paths."""

    def __init__(self, tables: dict[str, pa.Table] | None = None, paths: dict[str, list[Path]] | None = None) -> None:
        self.tables, self._paths = tables or {}, paths or {}

    def table(self, name: str) -> pa.Table:
        return self.tables[name]

    rows = table
    memory = 10**9

    def parts(self, own: pa.Table, others: list[pa.Table], by: str, row_bytes: int, held: int = 0) -> Any:
        yield [own, *others]

    def path(self, name: str) -> Path:
        return self._paths[name][0]

    def files(self, name: str) -> list[SideFile]:
        return [SideFile(path, path.name, 0, path.stat().st_size, "") for path in self._paths.get(name, [])]


def verdicts(applied: Applied | pa.RecordBatch) -> list[tuple[Any, ...]]:
    assert isinstance(applied, Applied) and applied.verdicts is not None
    columns = [applied.verdicts.column(name).to_pylist() for name in ("rule", "value", "limit", "detail")]
    return list(zip(*columns, strict=True))


# -- normalize -------------------------------------------------------------------------------------------------

STATE = normalize.State(normalize.Normalize())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("line  \t\n\n\n\n\n\nnext", "line\n\n\nnext"),
        ("def f():\n    return  1", "def f():\n    return  1"),
        ("cafe\u0301 \u00a0x\u2009y", "café  x y"),
        ("so\u00adft\u200b \ufeffmark\x00\x07", "soft mark"),
        ("می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"),
        ("\n\n  \nindented\n\n", "indented"),
        ("  first line keeps its indentation", "  first line keeps its indentation"),
    ],
)
def test_normalize(before: str, after: str) -> None:
    assert normalize.normalize(before, STATE) == after


@given(st.text())
def test_normalizing_again_changes_nothing(text: str) -> None:
    once = normalize.normalize(text, STATE)
    assert normalize.normalize(once, STATE) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once and "\0" not in once and not once.startswith("\n") and not once.endswith("\n")


def test_text_that_becomes_empty_is_dropped() -> None:
    assert verdicts(normalize.apply(batch("\u200b \n", "x"), STATE)) == [
        ("normalize.empty", 0.0, 1.0, None),
        (None, 0.0, 1.0, None),
    ]


# -- langid and filter -----------------------------------------------------------------------------------------


def test_langid_keeps_what_is_listed_and_says_what_it_saw() -> None:
    config = langid.LangId(keep=["en"], min_score=0.5)
    texts = batch(
        "The children walked home along the river and talked about the weather.",
        "Die Kinder gingen am Fluss entlang nach Hause und sprachen über das Wetter.",
        "12345 67890",
    )
    applied = langid.apply(texts, (config, langid.load_model()))
    (kept, german, digits) = verdicts(applied)
    assert kept[0] is None and applied.batch.column("lang").to_pylist()[:2] == ["en", "de"]
    assert german[0] == "langid.keep" and german[3] == "de, not en"
    assert digits[0] == "langid.keep"


def test_every_rule_has_its_measure() -> None:
    measures = {name for name, _, _ in kernels.measures()}
    assert {rule.measure for rule in gopher.DCLM.rules} <= measures
    assert len({rule.name for rule in gopher.DCLM.rules}) == len(gopher.DCLM.rules)


def test_the_first_rule_that_fails_names_the_reject() -> None:
    rng = random.Random(5)
    good = corpus.article(rng)
    texts = batch(
        good,
        "too short",
        "\n".join(["the same line of that and with have to be"] * 40),
        good.replace(". ", "... ") + " ...... ......" * 20,
    )
    state = filter.State(filter.Filter(), Files())
    found = verdicts(filter.apply(texts, state))
    assert found[0][0] is None
    assert found[1][:3] == ("gopher.min_words", 2.0, 50.0)
    assert found[2][0] == "gopher.duplicate_lines" and found[2][1] == 1.0
    assert found[3][0] == "gopher.symbols" and found[3][1] > 0.1
    lenient = filter.State(filter.Filter(limits={"gopher.min_words": 2}, without=["gopher.stop_words"]), Files())
    assert verdicts(filter.apply(texts, lenient))[1][0] != "gopher.min_words"


# -- redact ----------------------------------------------------------------------------------------------------


def test_redact_replaces_and_tells_the_span_only() -> None:
    applied = redact.apply(batch("write to ann@example.org, or 8.8.8.8", "nothing here"), redact.Redact())
    assert applied.batch.column("text").to_pylist() == ["write to <EMAIL>, or <IP_ADDRESS>", "nothing here"]
    assert applied.batch.column("n_redactions").to_pylist() == [2, 0]
    assert applied.marks is not None
    spans = [(row["rule"], row["span_start"], row["span_end"]) for row in applied.marks.to_pylist()]
    assert spans == [("redact.email", 9, 24), ("redact.ip", 29, 36)]


# -- deduplication ---------------------------------------------------------------------------------------------


def rows(*members: tuple[int, str, str, int, float]) -> pa.Table:
    """(id, group, file, offset, rank) rows as hash emits them."""
    return pa.table(
        {
            "doc_id": pa.array([m[0].to_bytes(16) for m in members], schema.DOC_ID),
            "group": [m[1] for m in members],
            "origin_file": [m[2] for m in members],
            "origin_offset": [m[3] for m in members],
            "n_copies": pa.array([1] * len(members), pa.uint32()),
            "rank": [float(m[4]) for m in members],
        }
    )


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
    assert exact_dedup.canonical_url(url) == canonical


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
    applied = KeepList(listed).apply(batch("a", "b", "c"), "exact_dedup.copy", None)
    assert [rule for rule, *_ in verdicts(applied)] == [None, None, "exact_dedup.copy"]
    assert verdicts(applied)[2][3] == f"copy of {(0).to_bytes(16).hex()}"
    assert applied.column("n_copies").to_pylist() == [2, 1, 1]
    assert applied.column("cluster_id").to_pylist()[1] == (1).to_bytes(16)


def test_near_dedup_verifies_by_exact_jaccard() -> None:
    rng = random.Random(2)
    text = corpus.article(rng, 40)
    words = text.split(" ")
    near = " ".join([*words[:150], "elsewhere", *words[151:]])
    other = corpus.article(random.Random(3), 40)
    applied = near_dedup.sign(batch(text, near, other, "too short"), near_dedup.NearDedup())
    assert applied.marks is not None and [m["rule"] for m in applied.marks.to_pylist()] == ["near_dedup.too_short"]
    keys, documents = (pa.Table.from_batches([applied.emits[name]]) for name in ("keys", "documents"))
    config = near_dedup.NearDedup()
    members = dict(near_dedup.match(config, Files({"sign.keys": keys})))["members"]
    verified = dict(near_dedup.verify(config, Files({"match.members": members, "sign.documents": documents})))["pairs"]

    def shingles(value: str) -> set[tuple[str, ...]]:
        w = "".join(c if c.isalnum() else " " for c in value.lower()).split()
        return {tuple(w[i : i + 5]) for i in range(len(w) - 4)}

    a, b = shingles(text), shingles(near)
    assert [round(x, 12) for x in verified.column("jaccard").to_pylist()] == [round(len(a & b) / len(a | b), 12)]
    listed = dict(near_dedup.cluster(config, Files({"verify.pairs": verified, "sign.documents": documents})))["keep"]
    dropped = near_dedup.apply(batch(text, near, other, "too short"), (KeepList(listed), 0.7))
    assert [rule for rule, *_ in verdicts(dropped)] == [None, "near_dedup.copy", None, None]


def lines_left(config: line_dedup.LineDedup, *texts: str) -> tuple[list[str], list[tuple[int, str, float]]]:
    """(texts that stay, (row, what was cut, documents)) after count, pick and apply."""
    docs = batch(*texts)
    emitted = pa.Table.from_batches([line_dedup.count(docs, config).emits["units"]])
    picked = dict(line_dedup.pick(config, Files({"count.units": line_dedup.combine(emitted)})))
    repeated = picked.get("repeated", pa.table({}))
    applied = line_dedup.apply(docs, line_dedup.open_repeated(config, Files({"pick.repeated": repeated})))
    stays = [rule is None for rule, *_ in verdicts(applied)]
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


@given(
    st.lists(st.text(alphabet="ab. \n\u3002é!", max_size=40), max_size=6),
    st.sampled_from(["line", "paragraph", "sentences"]),
)
def test_units_add_up_to_the_text(texts: list[str], unit: Any) -> None:
    pieces = line_dedup.cut_up(texts, line_dedup.LineDedup(unit=unit))
    assert ["".join(pieces.units[a:b]) for a, b in itertools.pairwise(pieces.starts)] == texts


# -- holdout, decontaminate, mix -------------------------------------------------------------------------------


def test_holdout_moves_whole_clusters_and_about_the_share() -> None:
    ids = [i.to_bytes(16) for i in range(4000)]
    clusters = [(i // 4).to_bytes(16) for i in range(4000)]
    table = batch(*["x"] * 4000, doc_id=ids).drop_columns(["cluster_id"])
    table = table.append_column("cluster_id", pa.array(clusters, schema.DOC_ID))
    aside = holdout.apply(table, holdout.Holdout(share=0.2)).aside.to_pylist()
    assert 0.16 < sum(aside) / 4000 < 0.24
    assert all(len(set(aside[i : i + 4])) == 1 for i in range(0, 4000, 4))


def test_decontaminate_finds_an_item_however_it_is_wrapped(tmp_path: Path) -> None:
    question = "Which of these statements about the borrow checker of this imaginary language is true in general?"
    item = {"id": "q1", "question": question, "choices": ["It runs at night.", "It has three wheels and a bell."]}
    short = {"id": "q2", "question": "Too short?", "choices": ["a", "b"]}
    path = corpus.write_jsonl(tmp_path / "items.jsonl", [item, short])
    config = decontaminate.Decontaminate(benchmarks=[str(path)])
    grams = decontaminate.index(config, Files(paths={"benchmarks": [path]}))["grams"]
    state = decontaminate.State(config, Files({"index.grams": grams}))
    wrapped = "Intro words.\n" + question.upper().replace(" ", "\n") + " And more text follows here."
    found = verdicts(decontaminate.scan(batch(wrapped, "a clean document", question[:50], "Too short?"), state))
    assert [rule for rule, *_ in found] == ["decontaminate.ngram", None, None, None]
    assert found[0][1] >= 3 and found[0][3] == "items.jsonl:q1"


def test_a_benchmark_file_without_the_fields_is_refused(tmp_path: Path) -> None:
    path = corpus.write_jsonl(tmp_path / "items.jsonl", [{"prompt": "x"}])
    with pytest.raises(ConfigError, match="the item has: prompt"):
        decontaminate.index(decontaminate.Decontaminate(benchmarks=[str(path)]), Files(paths={"benchmarks": [path]}))


def manifest(**tokens: int) -> dict[str, Any]:
    return {"tokenizer_sha256": "0" * 64, "sources": {name: {"tokens": n} for name, n in tokens.items()}}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**9), min_size=1), st.floats(0.2, 10))
def test_mix_never_reads_a_source_too_often(sizes: dict[str, int], temperature: float) -> None:
    config = mix.Mix(temperature=temperature, max_epochs=2)
    (phase,) = mix.mixture(config, manifest(**sizes))["phases"]
    assert abs(sum(phase["weights"].values()) - 1) < 1e-5
    assert all(phase["weights"][n] * phase["tokens"] <= 2 * sizes[n] + 1e-6 * phase["tokens"] for n in sizes)


def test_mix_refuses_what_cannot_be_and_names_it() -> None:
    with pytest.raises(ConfigError, match='no tokens of a source "books"; there are: code'):
        mix.mixture(mix.Mix(weights={"books": 1}), manifest(code=10))
    with pytest.raises(ConfigError, match="50 tokens are asked for, and 10 tokens read at most 4 times give 40"):
        mix.mixture(mix.Mix(tokens=50), manifest(code=10))
    with pytest.raises(ConfigError, match="no tokens to mix"):
        mix.mixture(mix.Mix(), manifest())


def test_every_settings_class_gives_the_same_from_its_own_json() -> None:
    for entry in stages.STAGES:
        stage = stages.load(entry.name)
        given_required = {"benchmarks": ["x.jsonl"]} if entry.name == "decontaminate" else {}
        config = stage.config.model_validate(given_required)
        assert stage.config.model_validate(json.loads(config.model_dump_json())) == config
