"""The questions that the demo decontaminates against are well formed, and right where Python can tell."""

import functools
import json
import math
import pathlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "pipelines" / "questions"
FILES = sorted(FOLDER.glob("*.jsonl"))

# The value of each expression, as repr shows it, is the right choice of the question.
EVALUATED = {
    "python-01": "(lambda collect: (collect(1), collect(2))[1])(lambda item, seen=[]: seen.append(item) or seen)",
    "python-02": "len({1, 1.0, True})",
    "python-04": "'abcdef'[-4:-1:2]",
    "python-08": "-7 // 2",
    "python-09": "-7 % 3",
    "python-11": "dict(zip('ab', range(5)))",
    "python-12": "(lambda a, *b: b and list(b[:-1]))(*range(5))",
    "python-16": "sorted(['b', 'A', 'c'], key=str.lower)",
    "python-23": "sum(1 for i in range(10, 0, -3))",
    "python-26": "'spam'.join(['1', '2', '3'])",
    "python-30": "[x * y for x in (1, 2) for y in (3, 4)]",
    "python-32": "(pathlib.Path('logs') / 'today.txt.gz').suffix",
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@functools.cache
def questions() -> tuple[dict[str, Any], ...]:
    return tuple(item for path in FILES for item in read(path))


def right(item: dict[str, Any]) -> str:
    choice = item["choices"][item["answer"]]
    assert isinstance(choice, str)
    return choice


def test_there_are_about_sixty_half_of_them_on_each_language() -> None:
    assert FILES and 55 <= len(questions()) <= 70
    languages = Counter(item["topic"].split()[0] for item in questions())
    assert set(languages) == {"python", "rust"} and languages["python"] == languages["rust"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_has_the_five_fields_and_a_valid_answer(path: Path) -> None:
    for item in read(path):
        assert list(item) == ["id", "question", "choices", "answer", "topic"], item["id"]
        assert len(set(item["choices"])) == 4 == len(item["choices"]), item["id"]
        assert all(isinstance(text, str) and text.strip() == text and text for text in item["choices"]), item["id"]
        assert item["answer"] in range(4), item["id"]
        assert item["question"].strip() == item["question"] and item["question"].endswith("?"), item["id"]


def test_ids_and_questions_are_unique() -> None:
    assert not [key for key, count in Counter(item["id"] for item in questions()).items() if count > 1]
    folded = Counter(" ".join(re.findall(r"\w+", item["question"].lower())) for item in questions())
    assert not [text for text, count in folded.items() if count > 1]


def test_questions_are_long_enough_for_thirteen_words_to_find_them() -> None:
    for item in questions():
        assert len(re.findall(r"\w+", item["question"])) >= 14, item["id"]


def test_answers_do_not_favor_a_place() -> None:
    places = Counter(item["answer"] for item in questions())
    assert max(places.values()) - min(places.values()) <= math.ceil(len(questions()) / 20)


@pytest.mark.parametrize("key", EVALUATED)
def test_python_agrees_with_the_answer(key: str) -> None:
    item = next(item for item in questions() if item["id"] == key)
    assert repr(eval(EVALUATED[key], {"pathlib": pathlib})) == right(item)


def test_python_agrees_about_the_comparison_of_fractions() -> None:
    item = next(item for item in questions() if item["id"] == "python-05")
    assert [choice for choice in item["choices"] if not eval(choice)] == [right(item)]


def test_python_agrees_about_what_can_be_in_a_set() -> None:
    item = next(item for item in questions() if item["id"] == "python-17")
    for choice in item["choices"]:
        if choice == right(item):
            hash(eval(choice))
        else:
            with pytest.raises(TypeError):
                hash(eval(choice))
