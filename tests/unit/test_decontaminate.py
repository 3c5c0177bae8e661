"""Which files hold which items, what becomes of a document with one, and what the run says afterwards."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.decontam.cuts import cut_out
from curate.decontam.items import Item, Keys, read_items
from curate.errors import ConfigError, CurateError, DataError
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import single_stage

QUESTIONS = [
    "A lighthouse keeper polishes fourteen brass lenses every morning and ships seven of them to Lisbon each week; how"
    " many lenses remain after thirty days of storms?",
    "Which of these statements about the borrow checker of this imaginary language is true if a value is moved twice?",
    "Too short?",
]
FILLER = "Nothing in this paragraph is about it, and it goes on for a while about quite other matters. " * 6


def read(path: Path, **keys: list[str]) -> list[Item]:
    return read_items(path, path.name, Keys(**keys))


def only(path: Path, item: dict[str, Any], **keys: list[str]) -> tuple[str, list[str], str, str]:
    (found,) = read(corpus.write_jsonl(path / "bench.jsonl", [item]), **keys)
    return found.question, found.choices, found.answer, found.passage


# -- items -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("item", "question", "choices", "answer", "passage"), [
    # The layouts of CORE.
    ({"query": "Question: Who?", "choices": ["a man", "a dog"], "gold": 1}, "Who?", ["a man", "a dog"], "a dog", ""),
    ({"query": "Context: It rained.\nQuestion: Who?\nChoices:\nA. a man\nB. a dog\nAnswer:", "choices": ["A", "B"],
      "gold": 0}, "It rained.\nWho?", ["a man", "a dog"], "a man", ""),
    ({"query": "Passage: Long ago.\nQuestion: is it so\nAnswer:", "choices": ["no", "yes"], "gold": 1},
     "is it so", ["no", "yes"], "yes", "Long ago."),
    ({"context_options": ["Ann sat", "Bob sat"], "continuation": "down.", "gold": 1}, "Bob sat down.", [], "1", ""),
    ({"context": "And then she said", "continuation": "goodbye"}, "And then she said", [], "goodbye", ""),
    ({"context": "2 + 2?", "chain_of_thought": "It is <<2+2=4>>4.", "answer": "4"}, "2 + 2?", [], "It is 4.\n4", ""),
    ({"question": "q", "choices": ["x", "y"], "gold": [0]}, "q", ["x", "y"], "x", ""),
    # Columns of Hugging Face data sets.
    ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
     "q", ["x", "y"], "y", ""),
    ({"ctx": "A man is", "endings": ["up", "down"], "label": "1"}, "A man is", ["up", "down"], "down", ""),
    ({"goal": "g", "sol1": "s", "sol2": "t", "label": 0}, "g", ["s", "t"], "s", ""),
    ({"passage": "p", "question": "q", "answer": True}, "q", [], "True", "p"),
    ({"context": "p", "question": "q", "answers": None}, "q", [], "", "p"),
    ({"input": "Go left.\nOptions:\n- Yes\n- No", "target": "No"}, "Go left.", ["Yes", "No"], "No", ""),
    ({"input": "Go.\nOptions:\n(A) Yes\n(B) No", "target": "(B)"}, "Go.", ["Yes", "No"], "No", ""),
])  # fmt: skip
def test_the_layouts_of_benchmarks_are_known(
    tmp_path: Path, item: dict[str, Any], question: str, choices: list[str], answer: str, passage: str
) -> None:
    assert only(tmp_path, item) == (question, choices, answer, passage)


def test_keys_can_be_named(tmp_path: Path) -> None:
    item = {"text": "not this", "ask": "this", "more": "and this", "pick": ["a", "b"], "right": "A", "uid": "k7"}
    made = only(tmp_path, item, question=["none", "ask+more"], choices=["pick"], answer=["right"])
    assert made == ("this\nand this", ["a", "b"], "a", "")
    (found,) = read(tmp_path / "bench.jsonl", question=["ask"], id=["uid"])
    assert (found.name, found.row) == ("bench:k7", 0)


def test_items_come_from_every_form_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\nFirst item\nin two lines\n  \n\nSecond item\n")
    (tmp_path / "b.json").write_text(json.dumps({"canary": "x", "examples": [{"input": "i", "target": "t"}]}))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"question": "q"}\n\n{"question": "r", "id": 3}\n'))
    pq.write_table(pa.table({"question": ["q"], "choices": [["x", "y"]], "answer": [1]}), tmp_path / "d.parquet")
    assert [item.question for item in read(tmp_path / "a.txt")] == ["First item\nin two lines", "Second item"]
    assert [(item.name, item.question) for item in read(tmp_path / "b.json")] == [("b:0", "i")]
    assert [item.name for item in read(tmp_path / "c.jsonl.gz")] == ["c:0", "c:3"]
    assert [item.answer for item in read(tmp_path / "d.parquet")] == ["y"]


@pytest.mark.parametrize(("name", "content", "error", "message"), [
    ("b.jsonl", b"", DataError, "b.jsonl holds no item"),
    ("b.txt", b"\n \n", DataError, "b.txt holds no item"),
    ("b.jsonl", b'{"question": "q"}\n{"question": ', DataError, "b.jsonl:2: not a benchmark item: "),
    ("b.jsonl", b'{"question": "q"}\n[1]\n', DataError, "b.jsonl:2: not a benchmark item: a list"),
    ("b.jsonl", b'{"question": "caf\xe9"}', DataError, r"b.jsonl:1: not valid UTF-8 at byte 17 \(0xe9\)"),
    ("b.txt", b"caf\xe9", DataError, "b.txt: not valid UTF-8 at byte 3"),
    ("b.jsonl", b'{"question": "\\ud800"}', DataError, "b.jsonl:1: not a benchmark item: half of a surrogate pair"),
    ("b.jsonl", b'{"id": "x", "question": "q"}\n{"id": "x", "question": "r"}', DataError,
     'b.jsonl:2: the id "x" is that of b.jsonl:1 too'),
    ("b.jsonl", b'{"ask": "q", "id": 1}', ConfigError, "b.jsonl:1: none of the keys question, query.*has: ask, id"),
    ("b.json", b'{"a": 1}', DataError, "a JSON file of items is a list, or an object with one under examples"),
    ("b.parquet", b"PAR1 not really", DataError, "b.parquet: not a readable Parquet file"),
    ("b.csv", b"question\nq\n", ConfigError, "b.csv: benchmarks are files that end in .jsonl"),
])  # fmt: skip
def test_bad_benchmark_files_are_named(
    tmp_path: Path, name: str, content: bytes, error: type[CurateError], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read(tmp_path / name)


# -- cuts ------------------------------------------------------------------------------------------------------


def test_cuts_have_margins_and_leave_no_small_pieces() -> None:
    text = "\u00e9" * 50 + "ITEM" + "b" * 10 + "ITEM" + "c" * 50
    at = len(text[:50].encode())
    spans = [(at, at + 4), (at + 14, at + 18)]
    left, cuts = cut_out(text, spans, margin=2, min_piece=0)
    assert left == "\u00e9" * 48 + "\n\n" + "b" * 6 + "\n\n" + "c" * 48
    assert cuts == [(at - 4, at + 6), (at + 12, at + 20)]
    assert cut_out(text, spans, margin=2, min_piece=7) == ("\u00e9" * 48 + "\n\n" + "c" * 48, [(at - 4, at + 20)])
    assert cut_out(text, spans, margin=2, min_piece=49) == ("", [(0, len(text.encode()))])


# -- the stage -------------------------------------------------------------------------------------------------


def run(folder: Path, documents: Sequence[str], config: dict[str, Any], items: Any = None) -> Path:
    """The folder of a run of the stage over documents, in this process."""
    items = items or [{"id": f"q{i}", "question": question} for i, question in enumerate(QUESTIONS)]
    bench = corpus.write_jsonl(folder / "bench.jsonl", items)
    corpus.write_jsonl(folder / "in/a.jsonl", [{"text": text} for text in documents])
    recipe = single_stage(
        "decontaminate", {"benchmarks": [str(bench)], **config}, [InputSettings(path=str(folder / "in"))]
    )
    outcome = driver.run(recipe, folder / "out")
    if outcome.failures:
        raise outcome.failures[0]
    return folder / "out"


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob(name)) for row in pq.read_table(path).to_pylist()]


pytestmark = pytest.mark.usefixtures("inline")

DIRTY = f"{FILLER}\n\n{QUESTIONS[0].upper()}\n\n{FILLER}"
LIKELY = f"{FILLER}\n\nWho mends the old clock?\n\n{FILLER}"  # five words: nothing beside it makes it sure
SHORT = {"id": "clock", "question": "Who mends the old clock?", "choices": ["the quiet cooper", "a visiting tinker"]}


def test_a_document_with_an_item_is_dropped_and_told_why(tmp_path: Path) -> None:
    out = run(tmp_path, [FILLER, DIRTY, QUESTIONS[2]], {})
    assert [row["text"] for row in rows(out, "documents/*.parquet")] == [FILLER, QUESTIONS[2]]
    drop, mark = sorted(rows(out, "rejects/*.parquet"), key=lambda row: str(row["action"]))
    assert (drop["action"], drop["rule"], drop["detail"], drop["value"]) == (
        "drop",
        "decontaminate.found",
        "bench:q0",
        1.0,
    )
    assert (mark["action"], mark["preset"]) == ("mark", "aligned") and mark["limit"] == drop["limit"]
    assert DIRTY.encode()[mark["span_start"] : mark["span_end"]].decode() == QUESTIONS[0].upper().rstrip("?")
    items = rows(out, "contaminated_items.parquet")
    assert [(i["benchmark"], i["id"], i["row"], i["state"], i["tier"], i["documents"]) for i in items] == [
        ("bench", "q0", 0, "indexed", "sure", 1),
        ("bench", "q1", 1, "indexed", None, 0),
        ("bench", "q2", 2, "too_short", None, 0),
    ]
    assert items[0]["doc_id"] == drop["doc_id"] and items[0]["span_start"] == mark["span_start"]
    facts = json.loads((out / "contamination.json").read_text())
    assert facts == {"rule": "aligned", "benchmarks": [
        {"benchmark": "bench", "items": 3, "too_short": 1, "common": 0, "shortened": 0, "sure": 1, "likely": 0,
         "matches": 1}]}  # fmt: skip


def test_an_item_is_cut_out_of_its_document(tmp_path: Path) -> None:
    out = run(tmp_path, [DIRTY, QUESTIONS[0]], {"action": "cut", "margin": 30, "min_piece": 100})
    (left,) = rows(out, "documents/*.parquet")
    assert "LIGHTHOUSE" not in left["text"] and len(left["text"]) > 2 * len(FILLER) - 100
    cut, drop, mark = sorted(rows(out, "rejects/*.parquet"), key=lambda row: str(row["action"]))
    assert (cut["action"], cut["detail"]) == ("cut", "bench:q0")
    gone = DIRTY.encode()[cut["span_start"] : cut["span_end"]].decode()
    assert QUESTIONS[0].upper() in gone and len(gone) < len(QUESTIONS[0]) + 64
    assert (drop["rule"], drop["value"], mark["detail"]) == ("decontaminate.pieces", 1.0, "bench:q0")


def test_marks_change_nothing_and_what_is_likely_is_only_marked(tmp_path: Path) -> None:
    items = [{"id": "light", "question": QUESTIONS[0]}, SHORT]
    likely = QUESTIONS[0].replace("lighthouse", "signal").replace("brass", "glass").replace("Lisbon", "Porto")
    assert run(tmp_path / "a", [DIRTY, likely], {"action": "mark"}, items)
    out = run(tmp_path / "b", [LIKELY + f"\n\n{SHORT['choices'][0]}"], {}, items)
    assert len(rows(tmp_path / "a/out", "documents/*.parquet")) == 2
    assert {row["action"] for row in rows(tmp_path / "a/out", "rejects/*.parquet")} == {"mark"}
    assert len(rows(out, "documents/*.parquet")) == 1
    assert {row["rule"] for row in rows(out, "rejects/*.parquet")} <= {"decontaminate.likely"}


@pytest.mark.parametrize("rule", ["gpt3", "datatrove", "palm", "llama3", "paragraph"])
def test_the_rules_of_other_tools_find_a_copy(tmp_path: Path, rule: str) -> None:
    out = run(tmp_path, [FILLER, f"{FILLER}\n{QUESTIONS[0]}\n{FILLER}"], {"rule": rule})
    assert [row["text"] for row in rows(out, "documents/*.parquet")] == [FILLER]
    assert [item["tier"] for item in rows(out, "contaminated_items.parquet")] == ["sure", None, None]


def test_two_benchmarks_of_one_name_are_refused(tmp_path: Path) -> None:
    other = corpus.write_jsonl(tmp_path / "other/bench.jsonl", [{"question": QUESTIONS[1]}])
    with pytest.raises(ConfigError, match="are both the benchmark bench"):
        run(tmp_path, [FILLER], {"benchmarks": [str(tmp_path / "bench.jsonl"), str(other)]})


def test_a_benchmark_of_short_items_finds_nothing_and_lists_them(tmp_path: Path) -> None:
    out = run(tmp_path, [FILLER], {}, [{"question": "Why?"}, {"question": "How?"}])
    assert [row["state"] for row in rows(out, "contaminated_items.parquet")] == ["too_short"] * 2
