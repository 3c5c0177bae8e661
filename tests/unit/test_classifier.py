"""Classifiers: the kernel beside the fasttext package, training, and the stages that apply them."""

import json
import random
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stages import Files, batch, verdicts

import corpus
from conftest import Finished
from curate import lookups, schema
from curate.classifier import measure, start
from curate.classifier.model import open_model
from curate.config import parse_yaml, validate
from curate.errors import ConfigError, DataError
from curate.run import driver
from curate.run.recipe import resolve
from curate.stages import buckets, label, langid, quality

GOOD = ["analysis", "theory", "evidence", "therefore", "history", "method"]
BAD = ["buy", "cheap", "click", "discount", "offer", "login"]
EITHER = ["the", "of", "and", "Größe", "漢字", "в"]


def text(rng: random.Random, own: list[str], words: int = 40) -> str:
    return (
        " ".join(rng.choice(own if rng.random() < 0.3 else EITHER) for _ in range(words)).capitalize() + ", ok!\n1 23"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of two kinds in JSONL, and a classifier made of them by the command."""
    made = tmp_path_factory.mktemp("classifier")
    rng = random.Random(5)
    for name, own in (("good", GOOD), ("bad", BAD)):
        rows = [{"text": text(rng, own), "url": f"http://{name}{i % 30}.test/{i}"} for i in range(120)]
        corpus.write_jsonl(made / f"{name}.jsonl", rows)
    return made


ARGUMENTS = ("--words", "5-30", "--dim", "8", "--bucket", "500", "--min-count", "1", "--holdout", "0.3")


def trained(said: Any, folder: Path, out: str, *more: str) -> Finished:
    return said("train-classifier", "--positive", f"x={folder}/good.jsonl", "--negative", f"{folder}/bad.jsonl",
                *ARGUMENTS, *more, "--out", folder / out)  # fmt: skip


def by_fasttext(model: Any, texts: list[str], labels: list[str]) -> np.ndarray:
    """Probabilities in the order of `labels`, at most 1. fastText leaves out labels of a tree below 1e-5."""
    found = []
    for one in texts:
        names, scores = model.predict(one.replace("\n", " "), k=-1)
        said = dict(zip((name.removeprefix("__label__") for name in names), scores, strict=True))
        found.append([float(np.minimum(1.0, said.get(name, np.nan))) for name in labels])
    return np.array(found)


# -- the kernel ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Any]:
    """fastText models of every loss, with character n-grams and quantized: name -> (fasttext's, ours)."""
    rng = random.Random(2)
    lines = [
        f"__label__{k} {' '.join(text(rng, own).split())}"
        for _ in range(60)
        for k, own in enumerate((GOOD, BAD, EITHER))
    ]
    data = folder / "lines.txt"
    data.write_text("\n".join(lines), encoding="utf-8")
    made = {}
    every: dict[str, dict[str, Any]] = {
        "softmax": {"loss": "softmax", "wordNgrams": 3},
        "hs": {"loss": "hs", "minn": 2, "maxn": 4},
        "ova": {"loss": "ova"},
        "ns": {"loss": "ns"},
        "quantized": {"loss": "softmax", "minn": 2, "maxn": 3, "dim": 16, "bucket": 900},
        "wide": {"dim": 2},
    }
    for name, options in every.items():  # fmt: skip
        options = {"dim": 8, "bucket": 300, "epoch": 15, "lr": 0.8, "thread": 1, "verbose": 0, **options}
        model = fasttext.train_supervised(str(data), **options)
        if name == "quantized":
            model.quantize(input=str(data), qnorm=True, cutoff=300, retrain=False)
        path = folder / f"{name}.bin"
        model.save_model(str(path))
        made[name] = (model, lookups.Classifier(path.read_bytes()))
    return made


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*GOOD, *BAD, *EITHER, "unknown", "x\ty", "__label__0", "</s>", "🙂", "a\u00a0b", "\0"]))
)
def test_scores_are_those_of_fasttext(models: dict[str, Any], words: list[str]) -> None:
    one = " ".join(words)
    for name, (theirs, ours) in models.items():
        found = np.asarray(ours.scores(pa.array([one]), form="raw").flatten())
        expected = by_fasttext(theirs, [one], ours.labels)[0]
        assert np.allclose(found, np.where(np.isnan(expected), 0, expected), atol=2e-5 if name == "hs" else 2e-6), name


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    for content in (
        b"",
        b"\0" * 100,
        b"not a model",
        (793712314).to_bytes(4, "little") + b"\x0c\0\0\0" + b"\xff" * 200,
    ):
        (tmp_path / "x.bin").write_bytes(content)
        with pytest.raises(ConfigError, match=r"quality.model: .*x.bin: this is no fastText classifier"):
            validate(quality.Quality, {"model": str(tmp_path / "x.bin")})
    with pytest.raises(ConfigError, match="no such file"):
        validate(label.Label, {"model": str(tmp_path / "none.bin"), "keep": ["a"]})


# -- training --------------------------------------------------------------------------------------------------


def test_the_same_command_gives_the_same_bytes_and_a_card_of_what_it_saw(said: Any, folder: Path) -> None:
    first, second = trained(said, folder, "one", "--json"), trained(said, folder, "two")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (folder / "one/model.bin").read_bytes() == (folder / "two/model.bin").read_bytes()
    card = json.loads((folder / "one/card.json").read_text())
    assert card == json.loads((folder / "two/card.json").read_text()) == first.json
    assert card["labels"] == ["negative", "positive"] and card["threshold"] == 0.5 and card["heldout"]["auc"] > 0.95
    assert sorted(p.name for p in (folder / "one").iterdir()) == ["card.json", "model.bin"]
    assert "* the threshold of the card" in second.out
    again = trained(said, folder, "one")
    assert again.code == 2 and "not empty" in again.err
    assert card["data"]["documents"] == 240 and card["data"]["train"][1]["source"] == "x"


def test_thresholds_follow_from_a_target(said: Any, folder: Path) -> None:
    assert trained(said, folder, "keep", "--target-keep", "0.2").code == 0
    card = json.loads((folder / "keep/card.json").read_text())
    assert card["heldout"]["at_threshold"]["kept"] == pytest.approx(0.2, abs=0.02)
    assert "give one of them" in trained(said, folder, "no", "--target-keep", "0.2", "--target-precision", "1").err


def test_held_out_and_benchmark_text_is_not_trained_on(said: Any, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "good.jsonl").read_text().splitlines()]
    item = " ".join(rows[0]["text"].split()[:16])
    (folder / "items.jsonl").write_text(json.dumps({"question": item}) + "\n")
    copies = [{**row, "url": f"http://copy{i}.test/"} for i, row in enumerate(rows)]
    corpus.write_jsonl(folder / "copies.jsonl", [*rows, *copies])
    classes = ("--label", f"a={folder}/copies.jsonl", "--label", f"b={folder}/bad.jsonl", "--out", folder / "l")
    given = (*ARGUMENTS, "--words", "30-60", "--benchmarks", folder / "items.jsonl", "--json")
    done = said("train-classifier", *classes, *given)
    assert done.code == 0, done.err
    data = done.json["data"]
    assert data["held_by_benchmarks"] in (1, 2) and data["held_by_heldout"] > 20
    assert "confusion" in done.json["heldout"] and "threshold" not in done.json


def test_words_start_at_the_labels_that_hold_them() -> None:
    labels, tokens = ["a"] * 8 + ["b"] * 2, [["the", "x", "x"]] * 8 + [["the", "y"], ["the", "x", "once"]]
    words, found = start.vectors(labels, tokens, 3, 2)
    assert words == ["the", "x"] and found.shape == (2, 3)  # y and once are too rare
    assert not found[0].any()  # what every text holds tells nothing
    # All of a and half of b hold x; each has .02 more, from the prior: (1.02, .52) / 1.54 less a half, times the IDF.
    assert np.allclose(found[1] / np.log(10 / 9), [1.02 / 1.54 - 0.5, 0.52 / 1.54 - 0.5, 0])
    many = [f"l{i}" for i in range(50)]
    _, found = start.vectors(many, [[f"w{i}"] for i in range(50)], 16, 1)
    alike = found @ found.T / np.outer(np.linalg.norm(found, axis=1), np.linalg.norm(found, axis=1))
    assert found.shape == (50, 16) and np.abs(alike[~np.eye(50, dtype=bool)]).mean() < 0.3


def test_a_classifier_of_labels_counts_a_word_once_as_fasttext_does_distinct_ones(said: Any, folder: Path) -> None:
    classes = ("--label", f"good={folder}/good.jsonl", "--label", f"bad={folder}/bad.jsonl")
    done = said("train-classifier", *classes, *ARGUMENTS, "--json", "--out", folder / "distinct")
    assert done.code == 0 and done.json["text"] == "distinct" and done.json["heldout"]["accuracy"] > 0.95, done.err
    model = open_model(str(folder / "distinct"), "label.model")
    rng = random.Random(4)
    texts = [text(rng, GOOD), text(rng, BAD), " ".join(GOOD[:2] * 900), *ODD]
    distinct = [" ".join(dict.fromkeys(line.split())) for line in lookups.plain_tokens(pa.array(texts)).to_pylist()]
    theirs = by_fasttext(fasttext.load_model(str(folder / "distinct/model.bin")), distinct, model.labels)
    assert np.allclose(model.scores(pa.array(texts)), theirs, atol=2e-6)
    refused = said("train-classifier", *classes, "--distinct", "--word-ngrams", "2", "--out", folder / "none")
    assert refused.code == 2 and "no n-grams can be made of words that count once" in refused.err
    card = folder / "distinct/card.json"
    card.write_text(card.read_text().replace('"text": "distinct"', '"text": "reversed"'))
    with pytest.raises(ConfigError, match=r"card\.json: text is 'reversed'; a model reads one of plain, distinct"):
        open_model(str(folder / "distinct"), "label.model")


def test_what_cannot_be_trained_is_told(said: Any, folder: Path) -> None:
    bad = said("train-classifier", "--label", f"a={folder}/good.jsonl", "--out", folder / "x")
    assert bad.code == 2 and "needs two classes" in bad.err
    bad = trained(said, folder, "y", "--words", "500-600")
    assert bad.code == 2 and "no example of negative, positive in training" in bad.err
    bad = trained(said, folder, "z", "--words", "9-1")
    assert bad.code == 2 and "is no span of words" in bad.err


def test_ranks_count_equal_scores_half() -> None:
    good = np.array([True, True, False, False])
    assert measure.auc(good, np.array([1.0, 0.5, 0.5, 0.0])) == 0.875
    assert measure.threshold_for(good, np.array([0.9, 0.8, 0.8, 0.1]), None, 1.0) == 0.9
    assert measure.threshold_for(~good, np.array([0.9, 0.8, 0.8, 0.1]), None, 1.0) is None


# -- quality ---------------------------------------------------------------------------------------------------

ODD = ["", "word", "🙂" * 50, "0 1 2 3", "مرحبا بالعالم", "x" * 200_000, "</s> and more", "\0"]


def test_quality_scores_every_text_and_keeps_by_the_card(said: Any, folder: Path) -> None:
    if not (folder / "one").exists():
        assert trained(said, folder, "one").code == 0
    rng = random.Random(9)
    texts = [text(rng, GOOD), text(rng, BAD), *ODD]
    config = validate(quality.Quality, {"model": str(folder / "one"), "keep": "above"})
    applied = quality.apply(batch(*texts), quality.open_state(config, Files()))  # type: ignore[arg-type]
    scores = applied.batch.column("quality_score").to_pylist()
    assert scores[0] > 0.5 > scores[1] and all(0 <= score <= 1 for score in scores)
    assert [rule for rule, *_ in verdicts(applied)][:2] == [None, "quality.min_score"]
    # As fasttext itself scores the same tokens.
    theirs = fasttext.load_model(str(folder / "one/model.bin"))
    tokens = lookups.plain_tokens(pa.array(texts)).to_pylist()
    expected = by_fasttext(theirs, tokens, ["positive"])[:, 0]
    assert np.allclose(scores, expected, atol=2e-6)


def test_sampling_follows_from_seed_and_doc_id(said: Any, folder: Path) -> None:
    ids = [i.to_bytes(16) for i in range(4000)]
    table = pa.table({"doc_id": pa.array(ids, schema.DOC_ID), "score": np.linspace(0, 1, 4000)})
    pq.write_table(table, folder / "scores.parquet")
    config = quality.Quality(scores=str(folder / "scores.parquet"), keep="sampled", alpha=3)
    state = quality.open_state(config, Files(paths={"scores": [folder / "scores.parquet"]}))  # type: ignore[arg-type]
    rows = batch(*["t"] * 4000)
    kept = [rule is None for rule, *_ in verdicts(quality.apply(rows, state))]
    assert kept == [rule is None for rule, *_ in verdicts(quality.apply(rows, state))]
    assert np.mean(kept[:400]) == pytest.approx(0.135, abs=0.05) and np.mean(kept[-400:]) == pytest.approx(
        0.86, abs=0.06
    )


def test_scores_are_joined_by_doc_id(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    ids = pa.array([(2).to_bytes(16), (0).to_bytes(16)], schema.DOC_ID)

    def state(**config: Any) -> Any:
        made = validate(quality.Quality, {"scores": str(path), **config})
        return quality.open_state(made, Files(paths={"scores": [path]}))  # type: ignore[arg-type]

    pq.write_table(pa.table({"doc_id": ids, "bits": [0.9, 3.5]}), path)
    config = {"column": "bits_per_byte", "score_column": "bits", "keep": "above", "max_score": 1.0}
    applied = quality.apply(batch("a", "b", "c"), state(**config))
    assert applied.batch.column("bits_per_byte").to_pylist() == [3.5, None, 0.9]
    assert [(rule, limit) for rule, _, limit, _ in verdicts(applied)] == [
        ("quality.max_score", 1.0), ("quality.no_score", None), (None, None)]  # fmt: skip
    with pytest.raises(DataError, match=r"scores reach from 0.9 to 3.5, and quality_score is 0..1"):
        state(score_column="bits")
    with pytest.raises(DataError, match="no table of doc_id"):
        state()
    pq.write_table(pa.table({"doc_id": pa.concat_arrays([ids, ids]), "score": [0.1] * 4}), path)
    with pytest.raises(DataError, match="has two scores"):
        state()
    for wrong, message in (
        ({"keep": "above"}, "set min_score"),
        ({"model": "x"}, "either"),
        ({"by": "lang"}, "together"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(quality.Quality, {"scores": str(path), **wrong})


# -- label, buckets, langid with a file ------------------------------------------------------------------------


def test_label_writes_the_best_and_its_probability(models: dict[str, Any], folder: Path) -> None:
    config = validate(
        label.Label, {"model": str(folder / "softmax.bin"), "name": "topic", "keep": ["0"], "min_score": 0.4}
    )
    applied = label.apply(batch(" ".join(GOOD * 3), " ".join(BAD * 3), ""), label.open_state(config, Files()))  # type: ignore[arg-type]
    assert applied.batch.column("topic").to_pylist()[:2] == ["0", "1"]
    assert all(1 / 3 <= score <= 1 for score in applied.batch.column("topic_score").to_pylist())
    assert [rule for rule, *_ in verdicts(applied)][:2] == [None, "label.keep"]
    with pytest.raises(ConfigError, match='the model has no label "00"; did you mean "0"'):
        validate(label.Label, {"model": str(folder / "softmax.bin"), "keep": ["00"]})
    with pytest.raises(ConfigError, match="has another meaning"):
        validate(label.Label, {"model": str(folder / "softmax.bin"), "name": "text"})


def test_buckets_are_equal_parts_of_each_kind(tmp_path: Path) -> None:
    config = buckets.Buckets(by="lang", count=4, source_name="{by}-{bucket}")
    scores = [i / 100 for i in range(40)] + [0.5 + i / 100 for i in range(40)] + [None]
    rows = batch(*["t"] * 81, lang=["en"] * 40 + ["de"] * 41, quality_score=scores)
    emitted = buckets.count(rows, config).emits["counts"]
    made = buckets.limits(config, Files({"count.counts": pa.Table.from_batches([emitted])}))  # type: ignore[arg-type]
    pq.write_table(made["limits"], tmp_path / "l.parquet")
    state = buckets.open_state(config, Files(paths={"limits.limits": [tmp_path / "l.parquet"]}))  # type: ignore[arg-type]
    applied = buckets.apply(rows, state).batch
    expected = [i // 10 for i in range(40)]
    assert applied.column("quality_score_bucket").to_pylist() == [*expected, *expected, None]
    assert (
        applied.column("source").to_pylist()[9:11] == ["en-0", "en-1"] and applied.column("source")[80].as_py() == "web"
    )
    with pytest.raises(ConfigError, match="may stand in braces"):
        validate(buckets.Buckets, {"source_name": "{lang}"})


def test_buckets_may_have_fixed_edges(tmp_path: Path) -> None:
    config = buckets.Buckets(column="n_copies", edges=[2, 3, 5], source_name="{source}-{bucket}")
    rows = batch(*["t"] * 6, n_copies=[1, 2, 4, 5, 900, None])
    emitted = buckets.count(rows, config).emits["counts"]
    made = buckets.limits(config, Files({"count.counts": pa.Table.from_batches([emitted])}))  # type: ignore[arg-type]
    assert "notes" not in made
    pq.write_table(made["limits"], tmp_path / "l.parquet")
    state = buckets.open_state(config, Files(paths={"limits.limits": [tmp_path / "l.parquet"]}))  # type: ignore[arg-type]
    applied = buckets.apply(rows, state).batch
    assert applied.column("n_copies_bucket").to_pylist() == [0, 1, 2, 3, 3, None]
    assert applied.column("source").to_pylist() == ["web-0", "web-1", "web-2", "web-3", "web-3", "web"]
    with pytest.raises(ConfigError, match="each larger than the one before"):
        validate(buckets.Buckets, {"edges": [3, 2]})


def test_langid_takes_a_fasttext_file(models: dict[str, Any], folder: Path) -> None:
    path = str(folder / "softmax.bin")
    config = validate(langid.LangId, {"model": path, "keep": ["0"], "source_name": "{source}.{lang}"})
    rows = batch(" ".join(GOOD * 4), " ".join(BAD * 4))
    applied = langid.apply(rows, langid.open_state(config, Files()))  # type: ignore[arg-type]
    theirs = models["softmax"][0].predict([row.replace("\n", " ") for row in rows.column("text").to_pylist()])
    assert (
        applied.batch.column("lang").to_pylist()
        == [name[0].removeprefix("__label__") for name in theirs[0]]
        == ["0", "1"]
    )
    assert applied.batch.column("source").to_pylist() == ["web.0", "web.1"]
    assert [rule for rule, *_ in verdicts(applied)] == [None, "langid.keep"]
    with pytest.raises(ConfigError, match='no language is named "en"'):
        validate(langid.LangId, {"model": path, "keep": ["en"]})
    assert open_model(path, "m").labels == open_model(path, "m").labels


# -- awkward texts ---------------------------------------------------------------------------------------------

AWKWARD = {
    "empty": "", "blank": " \n\t", "one word": "word", "emoji": "😀🎉 " * 200, "digits": "12345 67890 " * 100,
    "right to left": "שלום עולם ומלואו. " * 40, "half a pair": "a \ud800 in the middle of it", "nulls": "\0\x1f",
}  # fmt: skip
"""JSON can spell half of a surrogate pair."""


def measured(path: Path, folder: Path, out: Path) -> tuple[pa.Table, pa.Table, Any]:
    """(documents, signals, outcome) of a run of all steps that measure, over a file of texts."""
    model = str(folder / "awkward")
    steps = [
        {"filter": {"preset": [], "rules": ["n_chars >= 0"]}}, "langid", {"label": {"model": model, "name": "topic"}},
        {"quality": {"model": model, "label": "positive"}}, {"buckets": {"by": "topic", "count": 2}}, "redact",
        {"filter": {"preset": [], "rules": ["quality_score >= 0 or n_words < 1", "column:topic_score >= 0"]}},
    ]  # fmt: skip
    text = json.dumps({"version": 1, "inputs": [{"path": str(path)}], "steps": steps, "guard": "off"})
    outcome = driver.run(resolve(parse_yaml(text, "r.yaml")), out)
    tables = [
        pa.concat_tables([pq.read_table(file) for file in sorted(out.glob(pattern))], promote_options="default")
        for pattern in ("documents/*.parquet", "signals/*.parquet")
    ]
    return tables[0], tables[1], outcome


def finite(table: pa.Table) -> bool:
    numbers = [c for c, field in zip(table.columns, table.schema, strict=True) if pa.types.is_floating(field.type)]
    return all(np.isfinite(c.drop_null().to_numpy()).all() for c in numbers)


def test_awkward_texts_have_defined_values_in_every_step(inline: None, said: Any, folder: Path, tmp_path: Path) -> None:
    assert trained(said, folder, "awkward").code == 0
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in AWKWARD.values()])
    documents, signals, outcome = measured(tmp_path / "a.jsonl", folder, tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    assert documents.num_rows == len(AWKWARD) and finite(documents) and finite(signals)
    texts = documents.sort_by("origin_offset").column("text").to_pylist()
    assert texts == [text.replace("\ud800", "\ufffd") for text in AWKWARD.values()]


@pytest.mark.slow
def test_a_line_of_fifty_megabytes_passes_every_step_that_measures(
    inline: None, said: Any, folder: Path, tmp_path: Path
) -> None:
    assert (folder / "awkward").is_dir() or trained(said, folder, "awkward").code == 0
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "a word, and more. " * 2_800_000}, {"text": "x" * 50_000_000}])
    documents, signals, outcome = measured(tmp_path / "a.jsonl", folder, tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    assert (documents.num_rows, finite(signals)) == (2, True)
