"""What each stage does to which text, and what it rejects with which value and limit."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate import schema, stages
from curate.config import validate
from curate.errors import ConfigError, DataError
from curate.stages import (
    holdout,
    langid,
    mix,
    normalize,
    redact,
)
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


def tidy(value: str) -> str:
    """What normalize makes of a text, with no more than two empty lines in a row."""
    return str(normalize.apply(batch(value), STATE).batch.column("text")[0])


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
        (
            "It isnâ€™t\nleft “alone” ﬁne — déjà vu Ｆｕｌｌ &amp; Ђ",
            "It isn’t\nleft “alone” fine — déjà vu Ｆｕｌｌ &amp; Ђ",
        ),
        ("voilÃ le dÃ©jÃ\xa0 vu\nGröße bleibt, «Её» тоже", "voilà le déjà vu\nGröße bleibt, «Её» тоже"),
    ],
)
def test_normalize(before: str, after: str) -> None:
    assert tidy(before) == after


@given(st.text())
def test_normalizing_again_changes_nothing(text: str) -> None:
    unrepaired = normalize.State(normalize.Normalize(mojibake=False))
    once = str(normalize.apply(batch(text), unrepaired).batch.column("text")[0])
    assert normalize.apply(batch(once), unrepaired).batch.column("text")[0].as_py() == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once and "\0" not in once and not once.startswith("\n") and not once.endswith("\n")


@example("ð ²©")
@example("â€ a")
@example("à² a")
@example("â €™ a")
@given(st.text(st.sampled_from("aÃ©â€™“”à Âß\x92ﬁ\n œ×²ðŸ˜\x80ЁВЂ»")))
def test_lines_that_the_gate_lets_pass_need_no_repair(text: str) -> None:
    column = pa.array([text], pa.large_string())
    assert normalize.repaired(column, STATE).to_pylist() == [STATE.fix(text, STATE.fixes)]


def test_lower_case_and_accents_are_for_those_who_ask() -> None:
    state = normalize.State(normalize.Normalize(lowercase=True, strip_accents=True))
    applied = normalize.apply(batch("Crème BRÛLÉE İ Ørsted Ёлка 中文"), state)
    assert applied.batch.column("text").to_pylist() == ["creme brulee i ørsted елка 中文"]


def test_text_that_becomes_empty_is_dropped() -> None:
    assert verdicts(normalize.apply(batch("\u200b \n", "x"), STATE)) == [
        ("normalize.empty", 0.0, 1.0, None),
        (None, 0.0, 1.0, None),
    ]


# -- langid ----------------------------------------------------------------------------------------------------


def test_langid_keeps_what_is_listed_and_says_what_it_saw() -> None:
    config = langid.LangId(keep=["en"], min_score=0.5)
    texts = batch(
        "The children walked home along the river and talked about the weather.",
        "Die Kinder gingen am Fluss entlang nach Hause und sprachen über das Wetter.",
        "12345 67890",
    )
    applied = langid.apply(texts, langid.open_state(config, Files()))  # type: ignore[arg-type]
    (kept, german, digits) = verdicts(applied)
    assert kept[0] is None and applied.batch.column("lang").to_pylist()[:2] == ["en", "de"]
    assert german[0] == "langid.keep" and german[3] == "de, not en"
    assert digits[0] == "langid.keep"


GERMAN = "Die Kinder gingen am Fluss entlang nach Hause und sprachen lange über das schlechte Wetter. "
ENGLISH = "The children walked home along the river and talked for a long time about the bad weather. "
CANTONESE = "佢哋喺度傾緊偈,唔知幾時先至返屋企,我哋都唔係好清楚佢哋講乜嘢。" * 3


def test_a_long_document_is_looked_at_in_several_places() -> None:
    def said(text: str, **config: Any) -> tuple[str, float]:
        applied = langid.apply(batch(text), langid.open_state(langid.LangId(**config), Files()))  # type: ignore[arg-type]
        return applied.batch.column("lang")[0].as_py(), applied.batch.column("lang_score")[0].as_py()

    half = ENGLISH * 60 + GERMAN * 60
    (first, alone), (label, score) = said(half, windows=0), said(half)
    assert first == "en" and alone > 0.9 and label in ("en", "de") and 0.4 < score < 0.7
    assert said(half, mixed=True)[0] == "mixed"
    assert said(ENGLISH * 6 + GERMAN * 114)[0] == "de"
    assert said(GERMAN * 120, mixed=True)[0] == "de" and said(ENGLISH, mixed=True)[0] == "en"


def test_a_macrolanguage_stands_for_its_languages() -> None:
    for folded, rule in ((True, None), (False, "langid.keep")):
        config = langid.LangId(keep=["zh"], macrolanguages=folded)
        applied = langid.apply(batch(CANTONESE), langid.open_state(config, Files()))  # type: ignore[arg-type]
        assert applied.batch.column("lang").to_pylist() == ["yue"]
        assert verdicts(applied)[0][0] == rule


# -- redact ----------------------------------------------------------------------------------------------------


def redacted(*texts: str, **settings: Any) -> Any:
    config = validate(redact.Redact, settings, name="redact")
    return redact.apply(batch(*texts), redact.State(config))


def test_redact_replaces_and_tells_the_span_only() -> None:
    applied = redacted("write to ann@example.org, or 8.8.8.8, or ann@example.org", "nothing here")
    assert applied.batch.column("text").to_pylist() == ["write to <EMAIL_1>, or <IP_1>, or <EMAIL_1>", "nothing here"]
    assert applied.batch.column("n_redactions").to_pylist() == [3, 0]
    spans = [(row["rule"], row["span_start"], row["span_end"]) for row in applied.marks.to_pylist()]
    assert spans == [("redact.email", 9, 24), ("redact.ip", 29, 36), ("redact.email", 41, 56)]
    assert applied.verdicts is None


def test_redact_drops_a_document_with_too_many_values_and_cuts_nothing_of_it() -> None:
    applied = redacted("a@b.org c@d.org", "a@b.org", max_hits=1, placeholder="[{type}]")
    assert applied.batch.column("text").to_pylist() == ["a@b.org c@d.org", "[EMAIL]"]
    assert verdicts(applied)[0][:3] == ("redact.too_many", 2.0, 1.0) and verdicts(applied)[1][0] is None
    assert [row["row"] for row in applied.marks.to_pylist()] == [1]


def test_redact_puts_made_up_values_in_place_of_real_ones() -> None:
    applied = redacted("ann@b.org, 8.8.8.8, (312) 644-2000", style="realistic")
    assert applied.batch.column("text").to_pylist() == ["reader1@example.org, 192.0.2.1, 202-555-0100"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"types": ["mail"]}, 'no type is named "mail"; the nearest is "email"|did you mean "email"'),
        ({"types": []}, "types"),
        ({"placeholder": "<{kind}>"}, r"only {type} and {n} can stand in braces"),
        ({"types": ["person"]}, "no pattern finds person: set `engine: presidio` and `model`"),
        ({"model": "x"}, "patterns use no model"),
        (
            {"engine": "presidio", "types": ["person", "location"]},
            "person, location need `model`: the folder of a spaCy",
        ),
        ({"engine": "presidio", "types": ["api_key"]}, "presidio has no recognizer for api_key"),
        ({"engine": "presidio", "model": "/no/such"}, "/no/such does not exist: give the folder"),
        ({"engine": "presidio", "model": __file__}, "is a file: give the folder"),
    ],
)
def test_redact_says_what_cannot_be_found_and_what_to_give(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage = stages.load("redact")
        stage.files(validate(stage.config, settings, name="redact"))


# -- holdout, mix ---------------------------------------------------------------------------------------------


def test_holdout_moves_whole_clusters_and_about_the_share() -> None:
    ids = [i.to_bytes(16) for i in range(4000)]
    clusters = [(i // 4).to_bytes(16) for i in range(4000)]
    table = batch(*["x"] * 4000, doc_id=ids).drop_columns(["cluster_id"])
    table = table.append_column("cluster_id", pa.array(clusters, schema.DOC_ID))
    aside = holdout.apply(table, holdout.Holdout(share=0.2)).aside.to_pylist()
    assert 0.16 < sum(aside) / 4000 < 0.24
    assert all(len(set(aside[i : i + 4])) == 1 for i in range(0, 4000, 4))


def manifest(**tokens: int) -> dict[str, Any]:
    return {"tokenizer_sha256": "0" * 64, "sources": {name: {"tokens": n} for name, n in tokens.items()}}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**9), min_size=1), st.floats(0.2, 10))
def test_mix_never_reads_a_source_too_often(sizes: dict[str, int], temperature: float) -> None:
    config = mix.Mix(temperature=temperature, max_epochs=2)
    (phase,) = mix.mixture(config, manifest(**sizes))["phases"]
    assert abs(sum(phase["weights"].values()) - 1) < 1e-5
    assert all(phase["weights"][n] * phase["tokens"] <= 2 * sizes[n] + 1e-6 * phase["tokens"] for n in sizes)


def test_extract_asks_for_one_character_at_least() -> None:
    with pytest.raises(ConfigError, match="min_chars: must be at least 1, found 0"):
        validate(stages.load("extract").config, {"min_chars": 0}, name="extract")


def test_mix_keeps_the_share_of_a_small_source() -> None:
    (phase,) = mix.mixture(mix.Mix(), manifest(small=100, large=10**12))["phases"]
    assert phase["weights"] == {"large": 1.0, "small": 1e-10}


def test_mix_refuses_what_cannot_be_and_names_it() -> None:
    with pytest.raises(ConfigError, match='no tokens of a source "books"; there are: code'):
        mix.mixture(mix.Mix(weights={"books": 1}), manifest(code=10))
    with pytest.raises(ConfigError, match="50 tokens are asked for, and 10 tokens read at most 4 times give 40"):
        mix.mixture(mix.Mix(tokens=50), manifest(code=10))
    with pytest.raises(ConfigError, match="no tokens to mix"):
        mix.mixture(mix.Mix(), manifest())


def test_every_settings_class_gives_the_same_from_its_own_json() -> None:
    required: dict[str, dict[str, Any]] = {
        "decontaminate": {"benchmarks": ["x.jsonl"]}, "url_filter": {"domains": ["x"]}, "take_down": {"urls": ["x"]},
        "word_filter": {"lists": ["x"]}, "quality": {"scores": "x.parquet"}, "label": {"model": "x"},
    }  # fmt: skip
    for entry in stages.STAGES:
        stage = stages.load(entry.name)
        config = stage.config.model_validate(required.get(entry.name, {}))
        assert stage.config.model_validate(json.loads(config.model_dump_json())) == config


# -- a function of the user's as a step --------------------------------------------------------------------------


def test_a_function_on_a_table_is_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_of_users.py").write_text(
        "import pyarrow.compute as pc\n"
        "def long(table): return pc.greater(pc.utf8_length(table['text']), 3)\n"
        "def loud(table): return table.set_column(1, 'text', pc.utf8_upper(table['text']))\n"
        "def wrong(table): return table.slice(1)\n"
        "def nothing(table): return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="add --allow-code mine_of_users"):
        stages.load("mine_of_users:long")

    def apply(name: str) -> Any:
        (phase,) = stages.load(f"mine_of_users:{name}", ["mine_of_users"]).phases
        assert phase.apply is not None
        return phase.apply(batch("ab", "abcd").select(["doc_id", "text"]), None)

    assert verdicts(apply("long")) == [("long.dropped", None, None, None), (None, None, None, None)]
    assert apply("loud").column("text").to_pylist() == ["AB", "ABCD"]
    for name, message in (("wrong", "returned 1 rows of doc_id, text; it was given 2"), ("nothing", "returned")):
        with pytest.raises(DataError, match=message):
            apply(name)
