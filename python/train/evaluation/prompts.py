"""What a model is shown: an item in one of several formats, after examples in the same format.

    prompt_string, then each example as context + answer, then the item's context, joined by example_delimiter

The format `given` is the task's own. The others ask the same item in other words, with the options listed and named by
letters too, in several orders; how far a score moves between them says how much of it is the format's. Letters stand
for the same options whatever the order, so that an item's candidates keep their numbers.
"""

import random
import re
import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

from train.evaluation.tasks import Item, Kind, Task, TaskData

LETTERS = string.ascii_uppercase
_HEAD = re.compile(r"^(?:Question|Q):[ \t]*")
_TAIL = re.compile(r"\n?(?:Answer|A):[ \t]*$")
_LISTED = re.compile(r"^[ \t]*\(?([A-Z])[.)][ \t]+(.+)$", re.MULTILINE)
_LIST_HEAD = re.compile(r"\n(?:Choices|Options):[ \t]*$")


class Shown(NamedTuple):
    """An item in a format: candidate i is options[i] after contexts[i], white space included."""

    contexts: tuple[str, ...]
    options: tuple[str, ...]


class Format(NamedTuple):
    """A way to ask; `show` gives None for an item that cannot be asked so."""

    name: str
    show: Callable[[Item, Task], Shown | None]


class Prompt(NamedTuple):
    """An item as the model reads it: candidates as (context, option); a generation item has the option ''."""

    row: int
    gold: int
    candidates: tuple[tuple[str, str], ...]


def _given(item: Item, task: Task) -> Shown:
    contexts = tuple(f"{task.question_prelimiter}{one}{task.continuation_delimiter}" for one in item.contexts)
    return Shown(contexts, item.options)


def _framed(before: str, after: str) -> Callable[[Item, Task], Shown | None]:
    """A format that puts texts around the context, labels that it has taken off."""

    def show(item: Item, task: Task) -> Shown | None:
        question, options = _plain(item)
        if question is None:
            return Shown(tuple(before + _bare(one) + after for one in item.contexts), item.options)
        return Shown((before + question + after,) * len(options), options)

    return show


def _lettered(order: Callable[[Sequence[int]], Sequence[int]]) -> Callable[[Item, Task], Shown | None]:
    """A format that lists the options under letters, in an order, and asks for the letter."""

    def show(item: Item, task: Task) -> Shown | None:
        question, options = _plain(item)
        if question is None or len(options) > len(LETTERS):
            return None
        places = list(order(range(len(options))))
        lines = [f"{LETTERS[place]}. {options[number]}" for place, number in enumerate(places)]
        context = "\n".join([question, *lines, "Answer: "])
        return Shown((context,) * len(options), tuple(LETTERS[places.index(number)] for number in range(len(options))))

    return show


def _bare(text: str) -> str:
    return _TAIL.sub("", _HEAD.sub("", text))


def _plain(item: Item) -> tuple[str | None, tuple[str, ...]]:
    """(question without labels, options as texts) of a choices item whose options share one context; else (None, ()).

    Where the question itself lists options under letters and the options are these letters, the listed texts are the
    options.
    """
    if not item.options or len(set(item.contexts)) > 1 or len(item.options) < 2:
        return None, ()
    question, options = _bare(item.contexts[0]), item.options
    listed = list(_LISTED.finditer(question))[-len(options) :]
    if [one[1] for one in listed] == list(options):
        head = question[: listed[0].start()].rstrip("\n")
        return _LIST_HEAD.sub("", head), tuple(one[2].strip() for one in listed)
    return question, options


GIVEN = Format("given", _given)
FRAMED = (
    Format("new line", _framed("", "\n")),
    Format("question and answer", _framed("Question: ", "\nAnswer: ")),
    Format("Q and A", _framed("Q: ", "\nA: ")),
)
FORMATS: dict[Kind, tuple[Format, ...]] = {
    "choices": (
        *FRAMED,
        Format("letters", _lettered(lambda places: places)),
        Format("letters, reversed", _lettered(lambda places: places[::-1])),
        Format("letters, rotated", _lettered(lambda places: [*places[1:], places[0]])),
    ),
    "schema": (
        Format("text", _framed("Text: ", " ")),
        Format("finish", _framed("Finish the text.\n", " ")),
    ),
    "cloze": (
        Format("text", _framed("Text: ", " ")),
        Format("finish", _framed("Finish the text.\n", " ")),
    ),
    "generation": FRAMED,
}


def prompts(data: TaskData, form: Format, rows: Sequence[int]) -> list[Prompt | None]:
    """The items `rows` in a format, None for one that cannot be asked so."""
    return [_prompt(data, form, data.items[row]) for row in rows]


def _prompt(data: TaskData, form: Format, item: Item) -> Prompt | None:
    shown = form.show(item, data.task)
    if shown is None:
        return None
    before = _examples(data, form, item.row)
    if before is None:
        return None
    joined = before + (data.task.example_delimiter if before else "")
    options = shown.options or ("",)
    return Prompt(
        item.row,
        item.gold,
        tuple((joined + context, option) for context, option in zip(shown.contexts, options, strict=True)),
    )


def _examples(data: TaskData, form: Format, row: int) -> str | None:
    """The text before an item: its examples are drawn from the others by (seed, row) alone."""
    task, parts = data.task, [data.task.prompt_string] if data.task.prompt_string else []
    if not data.shots:
        return task.prompt_string
    drawn = random.Random(f"{task.fewshot_random_seed}:{row}").sample(range(len(data.items) - 1), data.shots)
    for number in drawn:
        example = data.items[number + (number >= row)]
        shown = form.show(example, task)
        if shown is None:
            return None
        answer = shown.options[example.gold] if shown.options else _worked(example, task)
        parts.append(shown.contexts[example.gold if shown.options else 0] + answer)
    return task.example_delimiter.join(parts)


def _worked(item: Item, task: Task) -> str:
    """The answer of a generation item as an example shows it."""
    return f"{item.reasoning}{task.cot_delimiter}{item.answers[0]}" if task.cot_delimiter else item.answers[0]


def right(written: str, item: Item, task: Task) -> bool:
    """Whether a generated text, cut as the task says, is one of the answers."""
    found = final_answer(written, task)
    if task.do_normalization:
        return _normal(found) in {_normal(one) for one in item.answers}
    return found.strip() in {one.strip() for one in item.answers}


def final_answer(written: str, task: Task) -> str:
    """The text up to the first stop, from the last cot_delimiter on."""
    for stop in task.early_stopping_criteria:
        written = written.split(stop, 1)[0] if stop else written
    if task.cot_delimiter and task.cot_delimiter in written:
        written = written.rsplit(task.cot_delimiter, 1)[1]
    return written


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _normal(text: str) -> str:
    """Lower case, without punctuation, articles and repeated spaces: as SQuAD compares answers."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
