"""Tasks and their items, in the layouts of CORE and llm-foundry; which of them a file has is seen from its keys.

    choices     {"query": …, "choices": [… , …], "gold": 1}                one of several answers
    schema      {"context_options": [… , …], "continuation": …, "gold": 0} one of several beginnings
    cloze       {"context": …, "continuation": …}                          the words that follow
    generation  {"context": …, "answer": …, "aliases": […]}                a text that must match

`question` and `ctx` serve as `query`, `endings` as `choices` (HellaSwag's columns). The gold is a number from 0, a
letter, or a list of one of these, also under `answer` or `label`. A file of tasks is YAML with a list `icl_tasks`, as
llm-foundry has it. Files of items are read as `decontaminate` reads them, so that row numbers are those of
contaminated_items.parquet.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import field_validator

from curate import console
from curate.config import Settings, load_yaml, setting, validate
from curate.decontam.items import benchmark_name, item_rows
from curate.errors import ConfigError, DataError

Kind = Literal["choices", "schema", "cloze", "generation"]

# Kinds by the names of llm-foundry.
KINDS: dict[str, Kind] = {
    "multiple_choice": "choices",
    "schema": "schema",
    "language_modeling": "cloze",
    "generation_task_with_answers": "generation",
    "question_answering": "generation",
}
UNUSED = ("batch_size", "metric_names", "has_categories", "pad_tok_id", "max_seq_len")
_LETTER = re.compile(r"\(?([A-Z])[.)]?")


class Task(Settings):
    """One task, by the keys of llm-foundry's `icl_tasks`; `generated_tokens` and `random_baseline` are ours."""

    label: str = setting(..., "name of the task", min_length=1)
    dataset_uri: str = setting(..., "file of items, relative to the file of tasks or to eval_data beside it")
    icl_task_type: str = setting("", "multiple_choice, schema, language_modeling, generation_task_with_answers")
    num_fewshot: list[int] = setting([0], "examples before each item; several numbers are several tasks")
    prompt_string: str = setting("", "text before everything")
    question_prelimiter: str = setting("", "text before each question")
    continuation_delimiter: str = setting(" ", "text between a question and its answer")
    example_delimiter: str = setting("\n", "text between examples")
    cot_delimiter: str = setting("", "text between reasoning and answer; a generated answer begins behind it")
    early_stopping_criteria: list[str] = setting(["\n"], "a generated text ends before the first of these")
    do_normalization: bool = setting(True, "compare answers without case, punctuation and articles")
    fewshot_random_seed: int = setting(1234, "of the choice of examples", ge=0)
    generated_tokens: int = setting(64, "longest generated answer", unit="tokens", ge=1)
    random_baseline: float | None = setting(None, "share right by chance; without it 1 / choices, or 0", ge=0, lt=1)

    @field_validator("num_fewshot", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @field_validator("icl_task_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in KINDS:
            raise ValueError(f"must be one of {', '.join(KINDS)}, found {value!r}")
        return value


class Item(NamedTuple):
    """An item of a task. Candidate i is options[i] after contexts[i]; `gold` is the right one.

    A cloze has one candidate. A generation item has one context and no options, but `answers` that count as right and
    the `reasoning` that examples show before the first of them.
    """

    row: int
    contexts: tuple[str, ...]
    options: tuple[str, ...] = ()
    gold: int = 0
    answers: tuple[str, ...] = ()
    reasoning: str = ""


class TaskData(NamedTuple):
    """A task with its items. benchmark: the name that decontamination gives the file. digest: SHA-256 of the file."""

    task: Task
    kind: Kind
    shots: int
    items: list[Item]
    benchmark: str
    digest: str

    @property
    def name(self) -> str:
        """The label, with the number of examples where there are some."""
        return f"{self.task.label}, {self.shots}-shot" if self.shots else self.task.label

    @property
    def chance(self) -> float:
        """Share of items right by chance."""
        if self.task.random_baseline is not None:
            return self.task.random_baseline
        if self.kind not in ("choices", "schema"):
            return 0.0
        return sum(1 / len(item.options) for item in self.items) / len(self.items)


def load_tasks(files: list[Path], listing: Path | None, shots: int | None, **given: Any) -> list[TaskData]:
    """Tasks of item files and of a YAML list; shots and `given` settings replace those of every task.

    Raises ConfigError for a listing that is wrong, DataError with the place for an item that is.
    """
    changes = {key: value for key, value in given.items() if value is not None}
    if shots is not None:
        changes["num_fewshot"] = [shots]
    asked = [(Task(label=benchmark_name(path), dataset_uri=str(path)), path) for path in files]
    asked += _listed(listing) if listing else []
    found = [
        read_task(task.model_copy(update=changes), path, number)
        for task, path in asked
        for number in changes.get("num_fewshot", task.num_fewshot)
    ]
    names = [one.name for one in found]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two tasks are named {doubled!r}; give each a label of its own")
    return found


def _listed(path: Path) -> list[tuple[Task, Path]]:
    """The tasks of a YAML file, and where their items are."""
    document = load_yaml(path)
    listed = document.data.get("icl_tasks") if isinstance(document.data, Mapping) else document.data
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path}: expected a list of tasks under `icl_tasks`")
    at = ("icl_tasks",) if isinstance(document.data, Mapping) else ()
    found, unused = [], set()
    for number, entry in enumerate(listed):
        known = dict(entry) if isinstance(entry, Mapping) else entry
        if isinstance(known, dict):
            unused |= {key for key in UNUSED if known.pop(key, None) is not None}
        task = validate(Task, known, document, (*at, number))
        places = [path.parent / task.dataset_uri, path.parent / "eval_data" / task.dataset_uri]
        place = next((one for one in places if one.is_file()), None)
        if place is None:
            raise ConfigError(f"{document.at((*at, number, 'dataset_uri'))}: there is no file {places[0]}")
        found.append((task, place))
    if unused:
        console.err(f"note: {path}: keys that change nothing here: {', '.join(sorted(unused))}")
    return found


def read_task(task: Task, path: Path, shots: int) -> TaskData:
    """A task with all items of its file. Raises ConfigError and DataError naming the place."""
    if not path.is_file():
        raise ConfigError(f"--task {path}: there is no such file")
    if shots < 0:
        raise ConfigError(f"{task.label}: num_fewshot must be at least 0, found {shots}")
    kind: Kind | None = KINDS[task.icl_task_type] if task.icl_task_type else None
    items: list[Item] = []
    for place, found in item_rows(path, str(path)):
        if not isinstance(found, dict):
            raise DataError(f"{place}: not an item: expected an object, found {type(found).__name__}")
        kind = kind or kind_of(found, place)
        items.append(_encodable(_item(found, kind, len(items), place), place))
    if not items or not kind:
        raise DataError(f"{path} holds no items; nothing to evaluate")
    if shots >= len(items):
        raise ConfigError(f"{task.label}: {shots} examples are asked for, and there are {len(items)} items in all")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return TaskData(task, kind, shots, items, benchmark_name(path), digest)


def kind_of(found: Mapping[str, Any], place: str) -> Kind:
    """The layout that an item's keys show. Raises DataError where it is none."""
    if "context_options" in found:
        return "schema"
    if "choices" in found or "endings" in found:
        return "choices"
    if "continuation" in found:
        return "cloze"
    if "answer" in found:
        return "generation"
    raise DataError(
        f"{place}: no known layout: expected choices, context_options, continuation or answer; the item has "
        f"{', '.join(found)}"
    )


def _item(found: Mapping[str, Any], kind: Kind, row: int, place: str) -> Item:
    if kind == "choices":
        options = _texts(found, "choices" if "choices" in found else "endings", place)
        question = _text(found, ("query", "question", "ctx"), place)
        return Item(row, (question,) * len(options), options, _gold(found, len(options), place))
    if kind == "schema":
        contexts = _texts(found, "context_options", place)
        options = (_text(found, ("continuation",), place),) * len(contexts)
        return Item(row, contexts, options, _gold(found, len(contexts), place))
    context = _text(found, ("context", "query", "question"), place)
    if kind == "cloze":
        return Item(row, (context,), (_text(found, ("continuation",), place),))
    aliases = found.get("aliases") or []
    if not isinstance(aliases, list):
        raise DataError(f"{place}: aliases: expected a list of texts")
    reasoning = str(found.get("chain_of_thought") or "")
    answers = (_text(found, ("answer",), place), *(str(one) for one in aliases))
    return Item(row, (context,), answers=answers, reasoning=reasoning)


def _encodable(item: Item, place: str) -> Item:
    """The item, checked to be text. Raises DataError where it holds half of a surrogate pair."""
    try:
        "".join((*item.contexts, *item.options, *item.answers, item.reasoning)).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: not text: half of a surrogate pair, {error.object[error.start]!a}") from None
    return item


def _text(found: Mapping[str, Any], keys: tuple[str, ...], place: str) -> str:
    """The text under the first of these keys that there is."""
    key = next((key for key in keys if found.get(key) is not None), None)
    if key is None:
        raise DataError(f"{place}: the item has no {' or '.join(keys)}; it has {', '.join(found)}")
    value = found[key]
    if isinstance(value, str | int | float) and str(value).strip():
        return str(value)
    raise DataError(f"{place}: {key}: expected a text that is not empty, found {value!r}")


def _texts(found: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    values = found.get(key)
    if isinstance(values, Mapping):  # as Hugging Face has ARC's: {"text": […], "label": […]}
        values = values.get("text")
    if not isinstance(values, list) or len(values) < 2:
        raise DataError(f"{place}: {key}: expected a list of two or more texts")
    if not all(isinstance(one, str | int | float) and str(one).strip() for one in values):
        raise DataError(f"{place}: {key}: expected texts that are not empty, found {values!r}")
    return tuple(map(str, values))


def _gold(found: Mapping[str, Any], count: int, place: str) -> int:
    """The number of the right option."""
    key = next((key for key in ("gold", "answer", "label", "answerKey") if found.get(key) is not None), None)
    if key is None:
        raise DataError(f"{place}: the item has no gold: it must say which of its {count} options is right")
    value = found[key]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and (letter := _LETTER.fullmatch(value.strip())):
        value = ord(letter[1]) - ord("A")
    if isinstance(value, str) and re.fullmatch(r"\d{1,4}", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise DataError(f"{place}: {key}: {found[key]!r} names none of the {count} options, which count from 0")
    return value
