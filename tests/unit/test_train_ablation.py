"""What `train ablate` compares, and how it names the rule that made the difference."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shards as made
from conftest import ROOT
from curate.errors import ConfigError, ResumeError
from curate.run.recipe import load_recipe
from curate.schema import REJECT, conform, doc_id
from train.ablation.compare import bits_per_byte, by_place, compare, differences, overlap, tables, verdict
from train.ablation.data import check_budget
from train.ablation.page import page
from train.ablation.plan import Ablation, Arm, Plan, check, named
from train.ablation.rules import NO_REJECT, difference
from train.ablation.runs import PLACES, Judged, Measured, judged, measure, open_given
from train.checkpoint import Trained
from train.config import Shape, TrainSettings
from train.evaluation.documents import document_nats
from train.intervals import plain
from train.model import build
from train.parts import Parts
from train.shards import open_shards

DOCUMENTS = made.sentences(1, 30)


def plan_of(out: Path, **changes: Any) -> Plan:
    """Two arms: `raw` with all documents, `kept` without ten of them, and a held-out text."""
    arms = []
    for name, count in (("raw", 30), ("kept", 20)):
        recipe = out / f"{name}.yaml"
        out.mkdir(parents=True, exist_ok=True)
        recipe.write_text("version: 1\ninputs: [{path: docs}]\nsteps: [normalize]\n")
        arms.append(Arm(name, recipe))
        folder = out / "out" / "arms" / name
        made.write_run(folder / "tokens", {"web": DOCUMENTS[:count]})
        write_run(folder / "data", [] if name == "raw" else range(20, 29))
    made.write_run(out / "out" / "heldout" / "news", {"news": made.sentences(7, 12)})
    settings = TrainSettings(size="tiny", tokens=1000, sequence_length=32, batch_rows=4)
    asked = Plan(out / "out", arms, {"news": "news.jsonl"}, [], None, [], Ablation(seeds=2), settings, None)
    return asked._replace(**changes)


def identity(number: int) -> bytes:
    """As made.write_shards gives it: two files, of 15 documents for 30 and 10 for 20."""
    return doc_id("web", number)


def write_run(run: Path, dropped: Any) -> None:
    rules = ["gopher.min_words" if n % 2 else "c4.sentences" for n in dropped]
    rows = {
        "doc_id": pa.array([identity(n) for n in dropped], pa.binary(16)),
        "action": ["drop"] * len(rules),
        "rule": rules,
    }
    (run / "rejects").mkdir(parents=True)
    if rules:
        pq.write_table(pa.table(conform(pa.RecordBatch.from_pydict(rows), REJECT)), run / "rejects" / "0.parquet")
    counted = {rule: rules.count(rule) for rule in sorted(set(rules))}
    steps = [
        {
            "step": "filter",
            "rules": [{"rule": r, "rows": n, "action": "drop", "limit": 50.0} for r, n in counted.items()],
        }
    ]
    (run / "funnel.json").write_text(json.dumps({"steps": steps}))


def test_the_documents_that_an_arm_lacks_are_put_down_to_its_rules(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    found = difference(plan, "raw", "kept")
    lengths = [len(tokens) + 1 for tokens in DOCUMENTS]
    by_rule = {row["rule"]: (row["documents"], row["tokens"]) for row in found["removed"]}
    assert by_rule == {
        "gopher.min_words": (4, sum(lengths[21:29:2])),
        "c4.sentences": (5, sum(lengths[20:29:2])),
        NO_REJECT: (1, lengths[29]),
    }
    assert found["added"] == [] and found["shared_documents"] == 20 and found["changed_tokens"] == 0
    assert [(row["rule"], row["rows"]) for row in found["rules"]] == [
        ("c4.sentences", [0, 5]),
        ("gopher.min_words", [0, 4]),
    ]


def test_differences_are_those_of_equal_seeds_on_equal_documents(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    heldout = open_given(plan).heldout
    rng = np.random.default_rng(1)
    base = rng.uniform(50, 150, (2, 12, len(PLACES)))
    tokens = np.full((12, len(PLACES)), 20)
    given = {"raw": base, "kept": base - 2.0}
    found = {
        arm: {seed: Judged({9: {"news": Measured(values[seed - 1], tokens)}}, {}) for seed in (1, 2)}
        for arm, values in given.items()
    }
    result = tables(plan, found, heldout)
    (row,) = differences(plan, result)
    size = sum(3 * len(document) for document in made.sentences(7, 12))
    exact = -2.0 * 12 * len(PLACES) / math.log(2) / size
    assert row["difference"].value == pytest.approx(exact) and row["by_seed"] == pytest.approx([exact] * 2)
    assert row["difference"].high < 0 and verdict(row["difference"]) == "better"
    bits = bits_per_byte(result.nats["news"]["raw"], result.bytes["news"])
    assert bits == pytest.approx(base.sum(axis=(1, 2)) / math.log(2) / size)
    places = by_place(plan, result)
    assert [one["from"] for one in places] == list(PLACES)
    assert all(one["difference"].value == pytest.approx(-2.0 / 20 / math.log(2)) for one in places)
    assert {one["arm"]: one["seen"].n for one in overlap(plan, heldout)}.keys() == {"raw", "kept"}


def test_nats_by_place_add_up_to_those_of_documents(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", {"news": made.sentences(3, 15)})
    shards = open_shards(run / "tokens")
    shape = Shape(vocab_size=64, sequence_length=32, layers=1, width=16, heads=2, kv_heads=1, ffn_width=24, tied=True)
    settings = TrainSettings(sequence_length=32, micro_rows=4, loss_chunk=64)
    model = build(shape, 1).eval()
    found = measure(Trained(model, settings, {}, run), shards, 10**9)
    plain = document_nats(model, shards.sources["news"], shards.manifest, settings)
    assert found.nats.sum(axis=1) == pytest.approx(plain, rel=1e-5)
    lengths = shards.sources["news"].lengths().astype(int)
    assert found.tokens.sum(axis=1).tolist() == lengths.tolist()
    # Of a row of 32 tokens 16 are in the first part; a longer document has several such.
    assert found.tokens[:, 0].tolist() == [n // 32 * 16 + min(16, n % 32) for n in lengths]


def test_the_arms_that_are_shipped_are_valid_recipes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    arms = {path.stem: path for path in (ROOT / "pipelines" / "ablation").glob("*.yaml")} | {
        "default": ROOT / "pipelines" / "default.yaml"
    }
    for name in ("fineweb-fasttext", "ensemble"):
        with pytest.raises(ConfigError, match="quality-model: no such file"):  # the user's own, as the recipe says
            load_recipe(arms.pop(name))
    steps = {name: [step.stage.name for step in load_recipe(path).steps] for name, path in arms.items()}
    assert all(names[0] == "extract" and "tokenize" not in names for names in steps.values())
    assert steps["raw"] == ["extract"] and steps["fineweb"].count("filter") == 2


def test_what_cannot_be_compared_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    check(plan)
    check(plan._replace(settings=Ablation(seeds=3)))  # more seeds go on with the models that there are
    with pytest.raises(ResumeError, match=r"another ablation:\n  points: 4 before, 2 now"):
        check(plan._replace(settings=Ablation(points=2)))
    with pytest.raises(ConfigError, match="two recipes or more"):
        check(plan._replace(arms=plan.arms[:1]))
    plan.arms[0].recipe.write_text("version: 1\nsteps: [normalize, tokenize]\n")
    with pytest.raises(ConfigError, match="tokenize: all arms of an ablation share one tokenizer"):
        check(plan)
    with pytest.raises(ConfigError, match=r"b is already x/b.jsonl; give it a name of its own: NAME=y/b.jsonl"):
        named(["x/b.jsonl", "y/b.jsonl"], "--heldout")
    have = check_budget(plan)
    assert have == {"raw": sum(map(len, DOCUMENTS)) + 30, "kept": sum(map(len, DOCUMENTS[:20])) + 20}
    large = plan._replace(training=plan.training.model_copy(update={"tokens": 10**6}))
    with pytest.raises(ConfigError, match=rf"Give --tokens {4 * have['kept']:,} or fewer") as told:
        check_budget(large)
    assert f"raw: {have['raw']:,} tokens" in str(told.value)


def test_models_are_trained_once_and_judged_on_texts_and_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    for place in ("arms/raw/tokens", "arms/kept/tokens", "heldout/news"):
        shutil.rmtree(plan.out / place)
        made.real_run(plan.out / place, documents=8)
    items = [{"query": "Which one?", "choices": ["the stone", "a letter", "no"], "gold": n % 3} for n in range(6)]
    items.append({"query": "long " * 60, "choices": ["a", "b"], "gold": 0})
    task = tmp_path / "which.jsonl"
    task.write_text("".join(json.dumps(item) + "\n" for item in items))
    training = plan.training.model_copy(update={"tokens": 512, "threads": 1, "sequence_length": 64})
    # The held-out text is one source; real_run makes two.
    manifest = json.loads((plan.out / "heldout/news/tokens/manifest.json").read_text())
    manifest["files"] = [file for file in manifest["files"] if file["source"] == "book"]
    made.edit_manifest(
        plan.out / "heldout/news", files=manifest["files"], sources={"book": manifest["sources"]["book"]}
    )
    plan = plan._replace(tasks=[task], training=training, settings=Ablation(seeds=2, points=2))
    given, parts = open_given(plan), Parts(plan.out / "measured", {})
    found = {arm.name: {seed: judged(plan, parts, arm.name, seed, given) for seed in plan.seeds} for arm in plan.arms}
    result = compare(plan, found, given, check_budget(plan), 256)
    # Both arms have the same data, so that equal seeds give equal models.
    (row,) = result["differences"]
    assert row["difference"].value == 0 and row["by_seed"] == [0, 0]
    raw, kept = result["tasks"]
    assert raw["too_long"] == 1 and raw["accuracy"].n == 6 and raw["accuracy"] == kept["accuracy"]
    assert kept["difference"].value == 0 and kept["by_seed"] == [0, 0]
    assert [one["tokens"] for one in result["curves"]] == [[256, 512]] * 2
    shown = page(result, [], plain(result))
    assert json.loads(shown.partition('id="data">')[2].partition("</script>")[0]) == plain(result)
    monkeypatch.setattr("train.ablation.runs.train", None)  # nothing is trained again
    assert judged(plan, parts, "raw", 1, given).texts.keys() == {1, 2}
