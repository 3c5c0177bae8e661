"""Evaluation: scores by shared prefixes are those of whole texts, every score has its error, and nothing is cut."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import corpus
import shards
import tinymodels
from conftest import Finished
from curate.errors import ConfigError, DataError
from curate.tokenizer.model import open_encoder
from train import checkpoint
from train.evaluation import likelihood, statistics
from train.evaluation.contamination import Findings
from train.evaluation.likelihood import Scorer, encode_all
from train.evaluation.prompts import FORMATS, GIVEN, prompts, right
from train.evaluation.tasks import Item, Task, load_tasks, read_task

CHOICES = [
    {
        "query": f"The {color} river flows to the",
        "choices": ["sea", "hill and on", f"{color} town", "end"],
        "gold": n % 4,
    }
    for n, color in enumerate(["red", "blue", "green", "old", "new", "long", "wide", "cold"])
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymodels.write_model(tmp_path_factory.mktemp("model"))


def write(path: Path, items: list[Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


# -- likelihoods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("model.window=20",), ("model.family=gpt2",)])
@pytest.mark.parametrize("positions", [256, 1 << 14])
def test_shared_prefixes_give_the_scores_of_whole_texts(
    how: tuple[str, ...], positions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "POSITIONS", positions)
    trained = checkpoint.open_model(tinymodels.write_model(tmp_path, *how), torch.device("cpu"))
    encoder = open_encoder(tmp_path / "tokenizer.json")
    head = "An example of a text that all items begin with, so that it is computed once. "
    items = [[(f"{head}The item {n} of {n * 'many '}goes", f" {word}") for word in ("on", "on and on", "home again")]
             for n in range(6)]  # fmt: skip
    items += [
        [(f"{head}The {who} ", "went away for a while") for who in ("river", "town")],
        [("So", "it")],
        [("a ", "b")],
    ]
    found = Scorer(trained.model, encoder, 0).score(items)
    for candidates, scores in zip(items, found, strict=True):
        assert scores is not None and len(scores) == len(candidates)
        for (context, option), one in zip(candidates, scores, strict=True):
            before, whole = encode_all(encoder, [context.rstrip(), context + option])
            start = next((n for n, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
            sequence = torch.tensor([[0, *whole]])
            logp = trained.model.logits(sequence[:, :-1]).log_softmax(-1)[0].detach()
            picked = logp[torch.arange(len(whole)), sequence[0, 1:]][start:]
            assert one.nats == pytest.approx(-float(picked.sum()), abs=1e-4)
            assert (one.tokens, one.bytes) == (len(whole) - start, len(option.encode()))
            assert one.greedy == bool((logp.argmax(-1)[start:] == sequence[0, 1 + start :]).all())


def test_an_item_longer_than_the_context_has_no_score_and_one_as_long_has(model: Path) -> None:
    trained = checkpoint.open_model(model, torch.device("cpu"))
    encoder = open_encoder(model / "tokenizer.json")
    word = " 7"  # a token or two that never merge with the next
    per = len(encode_all(encoder, [word * 3])[0]) // 3
    fits = 128 // per
    scorer = Scorer(trained.model, encoder, 0)
    long, fitting = scorer.score([[("x", word * (fits + 1)), ("x", word)], [("7", word * (fits - 1))]])
    assert long is None and fitting is not None


# -- statistics ----------------------------------------------------------------------------------------------------


def test_errors_and_intervals_are_those_worked_out_by_hand() -> None:
    three = statistics.mean([1, 0, 1])
    assert three is not None and three.value == pytest.approx(2 / 3) and three.error == pytest.approx(1 / 3)
    assert statistics.mean([1.0]) == (1.0, None, 1) and statistics.mean([]) is None
    rng = np.random.default_rng(1)
    y = rng.uniform(50, 500, 400)
    x = y * 1.3 + rng.normal(0, 20, 400)
    found = statistics.ratio(x, y)
    drawn = [rng.integers(0, 400, 400) for _ in range(2000)]
    assert found is not None and found.error is not None
    assert found.error == pytest.approx(np.std([x[d].sum() / y[d].sum() for d in drawn]), rel=0.1)
    gap = statistics.difference_of_shares([True] * 9 + [False], [True] * 10 + [False] * 10)
    assert gap is not None and gap.value == pytest.approx(0.4)
    middle, error = 10 / 12 - 11 / 22, math.sqrt(10 * 2 / 12**3 + 0.25 / 22)
    assert (gap.low, gap.high) == pytest.approx((middle - 1.959964 * error, middle + 1.959964 * error))
    apart = statistics.difference_of_means([1.0, 2, 3, 4], [2.0, 4, 6, 8, 10])
    assert apart is not None and apart.value == -3.5 and apart.error == pytest.approx(math.sqrt(5 / 12 + 2))
    assert apart.high - apart.value == pytest.approx(2.5706 * apart.error)  # Welch: 5.5 degrees of freedom
    assert statistics.shown(statistics.mean([1.0])) == "n = 1, no error"


# -- tasks and prompts ---------------------------------------------------------------------------------------------


def test_layouts_are_seen_from_their_keys(tmp_path: Path) -> None:
    layouts: dict[str, dict[str, Any]] = {
        "choices": {"question": "Which?", "choices": ["x", "y"], "gold": [1]},
        "schema": {"context_options": ["The cup because the cup", "The cup because the tea"], "continuation": "fell",
                   "gold": 1},
        "cloze": {"context": "Once upon a", "continuation": "time"},
        "generation": {"context": "1 + 1", "answer": "2", "aliases": ["two"], "chain_of_thought": "1 and 1"},
    }  # fmt: skip
    for kind, item in layouts.items():
        found = read_task(Task(label=kind, dataset_uri=""), write(tmp_path / f"{kind}.jsonl", [item]), 0)
        assert found.kind == kind and found.benchmark == kind and found.items[0].row == 0
        assert found.items[0].gold == (1 if "gold" in item else 0)
    arc = {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
    hellaswag = {"ctx": "Which?", "endings": ["x", "y"], "label": "1"}
    for item in (arc, hellaswag):
        found = read_task(Task(label="a", dataset_uri=""), write(tmp_path / "a.jsonl", [item]), 0)
        assert found.items[0] == Item(0, ("Which?",) * 2, ("x", "y"), gold=1)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"query": "q", "choices": ["a", "b"]}, "t.jsonl:2: the item has no gold"),
        ({"query": "q", "choices": ["a", "b"], "gold": 2}, "gold: 2 names none of the 2 options"),
        ({"query": "q", "choices": ["a", "b"], "gold": True}, "gold: True names none"),
        ({"query": "q", "choices": ["a"], "gold": 0}, "choices: expected a list of two or more texts"),
        ({"query": "q", "choices": ["a", " "], "gold": 0}, "choices: expected texts that are not empty"),
        ({"choices": ["a", "b"], "gold": 0}, "the item has no query or question or ctx"),
        ({"query": "\ud800", "choices": ["a", "b"], "gold": 0}, "half of a surrogate pair"),
        (["q"], "not an item: expected an object"),
    ],
)
def test_an_item_that_is_wrong_is_named_by_its_line(item: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [CHOICES[0], item])
    with pytest.raises(DataError) as error:
        load_tasks([path], None, None)
    assert message in str(error.value) and "t.jsonl:2" in str(error.value)


def test_a_listing_of_tasks_is_read_and_its_mistakes_have_lines(tmp_path: Path) -> None:
    (tmp_path / "eval_data").mkdir()
    write(tmp_path / "eval_data" / "r.jsonl", CHOICES)
    listing = tmp_path / "core.yaml"
    head = "icl_tasks:\n- label: river\n  dataset_uri: r.jsonl\n  num_fewshot: [0, 2]\n"
    listing.write_text(head + "  icl_task_type: multiple_choice\n  continuation_delimiter: ': '\n  batch_size: 4\n")
    found = load_tasks([], listing, None)
    assert [one.name for one in found] == ["river", "river, 2-shot"] and found[0].task.continuation_delimiter == ": "
    for more, message in (("  num_fewshoot: 1\n", 'core.yaml:5: num_fewshoot: no such setting'),
                          ("  icl_task_type: multi\n", "core.yaml:5: icl_task_type: must be one of")):  # fmt: skip
        listing.write_text(head + more)
        with pytest.raises(ConfigError) as error:
            load_tasks([], listing, None)
        assert message in str(error.value)
    listing.write_text(head.replace("r.jsonl", "s.jsonl"))
    with pytest.raises(ConfigError, match=r"core.yaml:3: there is no file"):
        load_tasks([], listing, None)
    with pytest.raises(ConfigError, match="8 examples are asked for, and there are 8 items"):
        load_tasks([tmp_path / "eval_data" / "r.jsonl"], None, 8)


def test_a_prompt_is_its_examples_then_the_item_and_no_example_is_the_item_itself(tmp_path: Path) -> None:
    items = [{"query": f"Q{n}", "choices": ["x", "y"], "gold": n % 2} for n in range(5)]
    task = Task(label="t", dataset_uri="", continuation_delimiter=": ", example_delimiter="\n\n", prompt_string="Now.")
    data = read_task(task, write(tmp_path / "t.jsonl", items), 2)
    for prompt in prompts(data, GIVEN, range(5)):
        assert prompt is not None
        (context, option), (other, second) = prompt.candidates
        first, one, two, own = context.split("\n\n")
        assert (first, own, option, second, other) == ("Now.", f"Q{prompt.row}: ", "x", "y", context)
        assert one != two and own[:2] not in (one[:2], two[:2])
        assert all(shot == f"Q{shot[1]}: {'xy'[int(shot[1]) % 2]}" for shot in (one, two))


def test_letters_stand_for_the_same_options_in_any_order_and_listed_ones_are_found(tmp_path: Path) -> None:
    plain = {"query": "Question: Who?", "choices": ["he", "she", "it"], "gold": 2}
    listed = {"query": "Question: Who?\nChoices:\nA. he\nB. she\nC. it\nAnswer:", "choices": ["A", "B", "C"], "gold": 2}
    for item in (plain, listed):
        data = read_task(Task(label="t", dataset_uri=""), write(tmp_path / "t.jsonl", [item]), 0)
        shown = {form.name: prompts(data, form, [0])[0] for form in FORMATS["choices"]}
        assert shown["letters"].candidates[2] == ("Who?\nA. he\nB. she\nC. it\nAnswer: ", "C")
        assert shown["letters, reversed"].candidates[2] == ("Who?\nA. it\nB. she\nC. he\nAnswer: ", "A")
        assert shown["letters, rotated"].candidates[2] == ("Who?\nA. she\nB. it\nC. he\nAnswer: ", "B")
        assert shown["question and answer"].candidates[2] == ("Question: Who?\nAnswer: ", "it")
        assert {prompt.gold for prompt in shown.values()} == {2}


def test_a_generated_answer_is_cut_and_compared_as_the_task_says(tmp_path: Path) -> None:
    item = {"context": "How many?", "answer": "1,000", "aliases": ["a thousand"]}
    task = Task(label="t", dataset_uri="", cot_delimiter="#### ")
    data = read_task(task, write(tmp_path / "t.jsonl", [item]), 0)
    for written, wanted in (("so #### 1000.\nmore", True), ("The Thousand", True), ("so #### 10", False), ("", False)):
        assert right(written, data.items[0], task) == wanted, written
    assert not right("1000", data.items[0], task.model_copy(update={"do_normalization": False}))


# -- the command ---------------------------------------------------------------------------------------------------


def test_tasks_are_scored_with_errors_formats_and_by_contamination_and_a_second_time_read(
    model: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    long = {"query": "river " * 300, "choices": ["a", "b", "c", "d"], "gold": 0}
    task = write(tmp_path / "river.jsonl", [*CHOICES, long])
    tier = ["sure", "likely", "sure", None, None, None, None, None, None]
    columns = {"benchmark": ["river"] * 9, "row": pa.array(range(9)), "tier": pa.array(tier, pa.string())}
    pq.write_table(pa.table({**columns, "state": ["indexed"] * 7 + ["too_short"] * 2}), tmp_path / "found.parquet")
    ask = ("eval", "--checkpoint", model, "--task", task, "--threads", 1)
    done = train(*ask, "--contaminated", tmp_path / "found.parquet", "--json")
    assert done.code == 0, done.err
    one = done.json["tasks"]["river"]
    assert (one["items"], one["scored"], one["too_long"], one["chance"]) == (9, 8, 1, 0.25)
    assert set(one["scores"]) == {"accuracy", "by_token", "by_byte", "centered", "gold_bpb"}
    for score in one["scores"].values():
        assert score["n"] == 8 and score["standard_error"] is not None
    by_token, centered = (one["scores"][name]["value"] for name in ("by_token", "centered"))
    assert centered == pytest.approx((by_token - 0.25) / 0.75)
    assert len(one["formats"]["by_format"]) == 7 and one["formats"]["items"] == 8
    parts = one["contamination"]
    assert [parts[name]["n"] for name in ("clean", "dirty", "unknown")] == [4, 3, 1]
    assert parts["difference"]["value"] == pytest.approx(parts["dirty"]["value"] - parts["clean"]["value"])
    low, high = parts["difference"]["interval"]
    assert low < parts["difference"]["value"] < high
    shown = train(*ask, "--contaminated", tmp_path / "found.parquet")
    assert shown.code == 0 and "evaluated before with this model" in " ".join(shown.err.split())
    assert "1 item longer than the context" in shown.out and max(map(len, shown.out.splitlines())) <= 80
    assert shown.out.count("±") >= 8
    path = next((model / "eval").glob("river-*.parquet"))
    table = pq.read_table(path)
    path.write_bytes(b"PAR1")  # a damaged file is made anew
    assert train(*ask, "--json").json["tasks"]["river"]["scores"] == one["scores"]
    assert pq.read_table(path).equals(table)
    assert table.num_rows == 9 * 7 and set(table.column("state").to_pylist()) == {"scored", "too_long"}
    assert train(*ask, "--limit", 5, "--json").json["tasks"]["river"]["asked"] == 5


def test_cloze_schema_and_generated_answers_are_scored(
    model: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    cloze = write(tmp_path / "cloze.jsonl", [{"context": f"Once {n}", "continuation": "upon a time"} for n in range(3)])
    pair = {"context_options": ["The cup as the cup", "The cup as the tea"], "continuation": "fell", "gold": 0}
    schema = write(tmp_path / "schema.jsonl", [pair, {**pair, "gold": 1}])
    answers = write(tmp_path / "sums.jsonl", [{"context": f"{n} + 1 =", "answer": str(n + 1)} for n in range(4)])
    ask = [part for path in (cloze, schema, answers) for part in ("--task", path)]
    done = train("eval", "--checkpoint", model, *ask, "--threads", 1, "--json")
    assert done.code == 0, done.err
    found = done.json["tasks"]
    assert found["schema"]["scores"]["accuracy"]["value"] == 0.5 and found["schema"]["formats"]["items"] == 2
    assert found["cloze"]["scores"]["gold_bpb"]["value"] > 0 and found["cloze"]["scored"] == 3
    assert list(found["sums"]["scores"]) == ["accuracy", "centered"] and found["sums"]["scored"] == 4
    written = pq.read_table(next((model / "eval").glob("sums-*.parquet"))).column("written").to_pylist()
    assert any(written)
    assert "mean of the centered scores" in train("eval", "--checkpoint", model, *ask, "--threads", 1).out


def test_a_model_in_a_hugging_face_form_gives_the_same_scores(
    model: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    task = write(tmp_path / "river.jsonl", CHOICES)
    ask = ("--task", task, "--format-items", 0, "--threads", 1, "--json")
    assert train("export", "--checkpoint", model, "--out", tmp_path / "theirs").code == 0
    ours = train("eval", "--checkpoint", model, *ask).json["tasks"]
    theirs = train("eval", "--checkpoint", tmp_path / "theirs", *ask)
    assert theirs.code == 0, theirs.err
    assert theirs.json["tasks"]["river"]["scores"]["gold_bpb"]["value"] == pytest.approx(
        ours["river"]["scores"]["gold_bpb"]["value"],
        rel=0.02,  # bf16 where the machine has it
    )
    assert (tmp_path / "theirs" / "eval.json").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("", 2, "nothing to evaluate: give --data RUN for held-out text, or --task FILE"),
        ("--data {model} --contaminated x", 2, "--contaminated tells items of tasks apart"),
        ("--task nowhere.jsonl", 2, "--task nowhere.jsonl: there is no such file"),
        ("--task {task} --contaminated {model}", 2, "no contaminated_items.parquet here"),
        ("--task {task} --contaminated {few}", 1, "has 2 items of river, and the file of the task has 8"),
        ("--task {task} --contaminated {others}", 2, "has none of these tasks, but other"),
        ("--task {task} --task {task}", 2, "two tasks are named 'river'"),
    ],
)
def test_mistakes_are_one_message(
    options: str, code: int, message: str, model: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    task = write(tmp_path / "river.jsonl", CHOICES)
    places = {"model": model, "task": task}
    for name, benchmark in (("few", "river"), ("others", "other")):
        places[name] = tmp_path / f"{name}.parquet"
        columns = {
            "benchmark": [benchmark] * 2,
            "row": [0, 1],
            "tier": pa.nulls(2, pa.string()),
            "state": ["indexed"] * 2,
        }
        pq.write_table(pa.table(columns), places[name])
    done = train("eval", "--checkpoint", model, *options.format(**places).split())
    assert done.code == code and message in " ".join(done.err.split()), done.err


def test_held_out_text_has_errors_and_a_model_with_another_tokenizer_reads_the_texts(
    model: Path, tmp_path: Path, train: Callable[..., Finished]
) -> None:
    rng = random.Random(1)
    texts = [corpus.article(rng, 4) for _ in range(16)]
    ids = encode_all(open_encoder(model / "tokenizer.json"), texts)
    heldout = {"web": ids[8:12], "book": ids[12:]}
    run = shards.write_run(
        tmp_path / "run", {"web": ids[:8]}, heldout, vocab_size=tinymodels.VOCAB, tokenizer=tinymodels.tokenizer()
    )
    ask = ("eval", "--checkpoint", model, "--data", run, "--threads", 1)
    done = train(*ask, "--json")
    assert done.code == 0, done.err
    found = done.json["sources"]
    for row in found.values():
        for name in ("model", "unigram", "untrained"):
            assert row["standard_error"][name] > 0 and row["loss"][name]["standard_error"] > 0
            assert row["perplexity"][name]["value"] == pytest.approx(math.exp(row["loss"][name]["value"]))
        assert row["loss"]["model"] == row["loss"]["untrained"]  # the model of a seed is its own baseline
    text = train(*ask).out
    assert text.count("±") == 9 and max(map(len, text.splitlines())) <= 80
    manifest = run / "heldout" / "tokens" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(json.loads(manifest.read_text())["tokenizer_sha256"], "other"))
    missing = train(*ask)
    assert missing.code == 1 and "holds no texts of the held-out documents" in " ".join(missing.err.split())
    (run / "heldout" / "documents").mkdir()
    source = pa.array(["web"] * 4 + ["book"] * 4).dictionary_encode()
    columns = {"doc_id": pa.array([bytes(16)] * 8, pa.binary(16)), "source": source, "text": texts[8:]}
    pq.write_table(pa.table(columns), run / "heldout" / "documents" / "a.parquet")
    anew = train(*ask, "--json").json["sources"]
    for name, row in anew.items():
        assert list(row["bits_per_byte"]) == ["model"]
        assert row["loss"]["model"]["value"] == pytest.approx(found[name]["loss"]["model"]["value"], rel=1e-6)


def test_findings_are_found_below_a_run(tmp_path: Path) -> None:
    place = tmp_path / "run" / "decontaminate"
    place.mkdir(parents=True)
    columns = {"benchmark": ["b"], "row": [0], "tier": ["sure"], "state": ["indexed"]}
    pq.write_table(pa.table(columns), place / "contaminated_items.parquet")
    assert Findings(tmp_path / "run").benchmarks == ["b"]
    pq.write_table(pa.table({"row": [0]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column benchmark, state, tier"):
        Findings(tmp_path / "x.parquet")
