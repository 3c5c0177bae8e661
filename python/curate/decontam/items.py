"""Benchmark items from files: JSONL, JSON and Parquet with the keys that benchmarks use, and plain text.

An item has a question, and may have choices, an answer and a passage. Which keys hold them is said by lists of
alternatives: the first that an item has counts, and `a+b` joins several. The defaults know the layouts of CORE (query,
context, context_options; "Passage: … Question: … Choices: …" inside a query) and the usual columns of Hugging Face
data sets. A text file has an item a block, blocks being separated by empty lines.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import ConfigError, DataError
from curate.io.read import open_decompressed

QUESTION = ["question", "query", "problem", "prompt", "input", "goal", "ctx", "sentence", "premise", "context", "text"]
CHOICES = ["choices", "options", "endings", "sol1+sol2", "option1+option2", "choice1+choice2"]
ANSWER = [
    "gold", "answerKey", "chain_of_thought+answer", "answer", "label", "target", "solution", "canonical_solution",
    "continuation", "code", "output",
]  # fmt: skip
PASSAGE = ["passage", "article", "story", "support", "context"]
ID = ["id", "task_id", "question_id"]

FORMS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt")
LISTS = ("examples", "data", "rows", "questions", "items")  # keys of a JSON file that hold its items
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
_LABEL = re.compile(r"^(Passage|Context|Question|Choices|Answer):[ \t]*", re.MULTILINE)
_OPTIONS = re.compile(r"\n?Options:\n")
_OPTION_MARK = re.compile(r"^(\([A-Z]\)|[A-Z][.)]|-)\s*")
_LETTER = re.compile(r"\(?([A-Z])[.)]?")
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # what GSM8K's answers hold for a calculator


class Keys(NamedTuple):
    """Where an item's parts are: alternatives, the first that an item has counts."""

    question: list[str] = QUESTION
    choices: list[str] = CHOICES
    answer: list[str] = ANSWER
    passage: list[str] = PASSAGE
    id: list[str] = ID


class Item(NamedTuple):
    """A benchmark item. `row` counts the items of its file from 0; `id` is the item's own, or the row."""

    benchmark: str
    id: str
    row: int
    question: str
    choices: list[str]
    answer: str
    passage: str

    @property
    def name(self) -> str:
        """What rejects call it."""
        return f"{self.benchmark}:{self.id}"


def benchmark_name(path: Path) -> str:
    """The name of a file without suffixes: gsm8k of gsm8k.jsonl.zst."""
    name = path.name
    for suffix in (*COMPRESSED, *FORMS):
        name = name.removesuffix(suffix)
    return name


def read_items(path: Path, name: str, keys: Keys) -> list[Item]:
    """All items of a file; `name` is what messages call it.

    Raises DataError, with the line or the number of the item, where one is malformed or has the id of another, and
    where there is none; ConfigError where there is no such file, it is of no known form, or an item has
    none of the keys.
    """
    if not path.is_file():
        raise ConfigError(f"decontaminate.benchmarks: there is no file {name}")
    items: list[Item] = []
    places: dict[str, str] = {}
    for place, found in item_rows(path, name):
        item = _item(found, benchmark_name(path), len(items), keys, place)
        if item.id in places:
            raise DataError(
                f'{place}: the id "{item.id}" is that of {places[item.id]} too: findings are reported by id, so give'
                " each item its own, or name another key in `decontaminate.id`"
            )
        places[item.id] = place
        items.append(item)
    if not items:
        raise DataError(f"{name} holds no item: give a file with items, or leave it out of `decontaminate.benchmarks`")
    return items


def item_rows(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """(place for messages, item as data) of a file; of a text file, the item is a text."""
    stem = path.name
    for suffix in COMPRESSED:
        stem = stem.removesuffix(suffix)
    form = Path(stem).suffix
    if form not in FORMS:
        raise ConfigError(f"{name}: benchmarks are files that end in {', '.join(FORMS)}, some compressed: rename it")
    if form == ".parquet":
        yield from _parquet(path, name)
        return
    with open_decompressed(str(path)) as handle:
        if form in (".jsonl", ".ndjson"):
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield f"{name}:{number}", _parsed(line, f"{name}:{number}")
            return
        data = handle.read()
    if form == ".txt":
        text = _decoded(data, name)
        at = 1
        for block in re.split(r"(\n[ \t\r]*\n\s*)", text):
            if block.strip():
                before = block[: len(block) - len(block.lstrip())]
                yield f"{name}:{at + before.count(chr(10))}", block.strip()
            at += block.count("\n")
        return
    found = _parsed(data, name)
    if isinstance(found, dict):
        found = next((found[key] for key in LISTS if isinstance(found.get(key), list)), found)
    if not isinstance(found, list):
        raise DataError(f"{name}: a JSON file of items is a list, or an object with one under {', '.join(LISTS)}")
    for number, one in enumerate(found, 1):
        yield f"{name}, item {number}", one


def _parquet(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a readable Parquet file: {error}") from None
    for number, row in enumerate(rows, 1):
        yield f"{name}, row {number}", row


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not valid UTF-8 at byte {error.start} (0x{data[error.start]:02x}): convert the file to UTF-8"
        ) from None


def _parsed(data: bytes, place: str) -> Any:
    """JSON as data; DataError where it is none."""
    try:
        return json.loads(_decoded(data, place))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not a benchmark item: {error}") from None


def _item(found: Any, benchmark: str, row: int, keys: Keys, place: str) -> Item:
    """An item of what a file holds at `place`."""
    if isinstance(found, str):
        return Item(benchmark, str(row), row, found, [], "", "")
    if not isinstance(found, dict):
        raise DataError(f"{place}: not a benchmark item: a {type(found).__name__}, where an object is needed")
    question_key, question = _schema(found) or _first(found, keys.question)
    if not question_key:
        raise ConfigError(
            f"{place}: none of the keys {', '.join(keys.question)}; the item has: {', '.join(found)}; "
            "name the one with its question in `decontaminate.question`"
        )
    choices = _texts(_first(found, keys.choices)[1])
    answer = _first(found, keys.answer)[1]
    passage = _first({key: value for key, value in found.items() if key != question_key}, keys.passage)[1]
    item = Item(
        benchmark,
        _text(_first(found, keys.id)[1]) or str(row),
        row,
        _text(question),
        choices,
        "",
        _text(passage),
    )
    item = _unlabelled(item)
    item = item._replace(answer=_CALCULATOR.sub("", _answer(answer, item.choices)).strip())
    try:
        "".join((*item[3:4], *item.choices, *item[5:], item.id)).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: not a benchmark item: half of a surrogate pair, {error.object[error.start]!a}"
        ) from None
    return item


def _schema(found: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The question of CORE's schema layout: the right one of several beginnings, and how it goes on."""
    options, gold = found.get("context_options"), found.get("gold")
    if not (isinstance(options, list) and options and isinstance(gold, int) and 0 <= gold < len(options)):
        return None
    return "context_options", f"{options[gold]} {found.get('continuation', '')}"


def _first(found: Mapping[str, Any], alternatives: list[str]) -> tuple[str, Any]:
    """(key, value) of the first alternative that an item has; ("", None) where it has none."""
    for one in alternatives:
        parts = one.split("+")
        values = [found.get(part) for part in parts]
        if all(value is not None for value in values):
            return one, values[0] if len(parts) == 1 else values
    return "", None


def _text(value: Any) -> str:
    """The text of a value; of a list one text a line."""
    return "\n".join(_texts(value))


def _texts(value: Any) -> list[str]:
    """The texts of a value: of a list those in it, of an object those under "text" or "value"."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, dict):
        return _texts(next((value[key] for key in ("text", "value") if key in value), None))
    return [str(value)]


def _unlabelled(item: Item) -> Item:
    """The item without the labels in its question, what they name put where it belongs."""
    question, choices, passage = item.question, item.choices, item.passage
    if _LABEL.match(question):
        parts = _LABEL.split(question)[1:]
        named: dict[str, str] = {}
        for label, text in zip(parts[::2], parts[1::2], strict=True):
            named[label] = f"{named.get(label, '')}\n{text}".strip()
        passage = named.get("Passage", passage)
        question = "\n".join(named[label] for label in ("Context", "Question") if named.get(label))
        choices = _options(named["Choices"]) if "Choices" in named else choices
    elif found := _OPTIONS.search(question):
        question, choices = question[: found.start()], choices or _options(question[found.end() :])
    return item._replace(question=question, choices=choices, passage=passage)


def _options(text: str) -> list[str]:
    """The options of a text, one a line, without letters or dashes before them."""
    return [_OPTION_MARK.sub("", line) for line in text.split("\n") if line.strip()]


def _answer(value: Any, choices: list[str]) -> str:
    """The text of an answer: of a place or a letter, the choice that it names."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if choices and isinstance(value, int | str) and not isinstance(value, bool):
        letter = _LETTER.fullmatch(str(value).strip())
        at = ord(letter[1]) - ord("A") if letter else int(value) if re.fullmatch(r"\d{1,3}", str(value).strip()) else -1
        if 0 <= at < len(choices):
            return choices[at]
    return _text(value)
