"""What each stage does to which text, and what it rejects with which value and limit."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import language, schema, stages
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


def tidy(value: str) -> str:
    """What normalize makes of a text, with no more than two empty lines in a row."""
    return str(normalize.apply(batch(value), 2).batch.column("text")[0])


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
    assert tidy(before) == after


@given(st.text())
def test_normalizing_again_changes_nothing(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once and "\0" not in once and not once.startswith("\n") and not once.endswith("\n")


def test_text_that_becomes_empty_is_dropped() -> None:
    assert verdicts(normalize.apply(batch("\u200b \n", "x"), 2)) == [
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
    applied = langid.apply(texts, (config, language.load()))
    (kept, german, digits) = verdicts(applied)
    assert kept[0] is None and applied.batch.column("lang").to_pylist()[:2] == ["en", "de"]
    assert german[0] == "langid.keep" and german[3] == "de, not en"
    assert digits[0] == "langid.keep"


# -- redact ----------------------------------------------------------------------------------------------------


def test_redact_replaces_and_tells_the_span_only() -> None:
    applied = redact.apply(batch("write to ann@example.org, or 8.8.8.8", "nothing here"), redact.Redact())
    assert applied.batch.column("text").to_pylist() == ["write to <EMAIL>, or <IP_ADDRESS>", "nothing here"]
    assert applied.batch.column("n_redactions").to_pylist() == [2, 0]
    assert applied.marks is not None
    spans = [(row["rule"], row["span_start"], row["span_end"]) for row in applied.marks.to_pylist()]
    assert spans == [("redact.email", 9, 24), ("redact.ip", 29, 36)]


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
    for entry in stages.STAGES:
        stage = stages.load(entry.name)
        given_required = {"benchmarks": ["x.jsonl"]} if entry.name == "decontaminate" else {}
        config = stage.config.model_validate(given_required)
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
