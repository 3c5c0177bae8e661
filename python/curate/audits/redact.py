"""Audit of redaction: precision and recall on a labelled file, and what redacted texts still hold.

    curate audit redact --labels labels.jsonl      of the settings, by type
    curate audit redact run/                       values that documents still hold

A line of a labelled file has a text and its personal values, in characters of the text (`end` is exclusive), by the
types of redact or presidio's names for them:

    {"text": "Write to ann@example.org", "spans": [{"start": 9, "end": 24, "type": "email"}]}

A value that is found is right if a label of its type shares half of what the two cover together (intersection over
union >= 0.5). Labels of types that are not asked for are counted and not scored. No value is printed or returned.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from curate.errors import ConfigError, DataError
from curate.io.inputs import InputSettings, cut, list_files, reads_raw
from curate.io.read import ReadCounts, open_decompressed, read
from curate.redaction.kinds import ENTITIES, TYPES
from curate.stages.redact import Redact, Spans, State, close

OVERLAP = 0.5  # intersection over union of a label and what was found, from which on they are one
BATCH = 500  # texts of a labelled file that are looked at together
Place = tuple[int, int, str]  # first byte, end, type


class Labelled(NamedTuple):
    """A text and its labels, in bytes."""

    text: str
    spans: list[Place]


def read_labels(path: Path) -> Iterator[Labelled]:
    """The lines of a labelled file (.gz and .zst too); DataError with file and line where one is not as described."""
    try:
        handle = open_decompressed(str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    with handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                try:
                    yield _labelled(json.loads(line))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
                    raise DataError(
                        f'{path}:{number}: no labelled text: {what}; a line is {{"text": "…", "spans": [{{"start": 0,'
                        ' "end": 5, "type": "email"}]}}, in characters'
                    ) from None


def _labelled(row: dict[str, Any]) -> Labelled:
    text = row["text"]
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}")
    text.encode()  # refuses what is no character
    spans = []
    for label in row["spans"]:
        start, end, name = label["start"], label["end"], label["type"]
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
            raise ValueError(f"a span from {start!r} to {end!r} in a text of {len(text):,} characters")
        first = len(text[:start].encode())
        spans.append((first, first + len(text[start:end].encode()), ENTITIES.get(name, str(name))))
    return Labelled(text, spans)


class _Tally(NamedTuple):
    """Counts by type."""

    labels: Counter[str]  # labels
    recalled: Counter[str]  # labels that were found
    found: Counter[str]  # values found
    right: Counter[str]  # values found that are labels
    left: Counter[str]  # labels whose value the redacted text still holds
    again: Counter[str]  # values found in the redacted text


def audit_labels(path: Path, config: Redact) -> dict[str, Any]:
    """What the settings find in a labelled file.

    Returns texts, unscored (type -> labels of types that are not asked for), and lines by type: labels, found,
    precision and recall (0..1, None of nothing), left (labels whose value the redacted text still holds) and again
    (values that a second redaction of the redacted text would replace). ConfigError where the file has no text.
    """
    state = State(config)
    tally = _Tally(*(Counter() for _ in _Tally._fields))
    unscored: Counter[str] = Counter()
    texts, batch = 0, []
    try:
        for one in read_labels(path):
            texts += 1
            unscored.update(kind for *_, kind in one.spans if kind not in config.types)
            batch.append(one)
            if len(batch) == BATCH:
                _score(batch, state, tally)
                batch = []
        _score(batch, state, tally)
    finally:
        close(state)
    if not texts:
        raise ConfigError(f"{path} holds no labelled text: there is nothing to measure")
    lines = [
        {"type": kind, "labels": tally.labels[kind], "found": tally.found[kind],
         "precision": _share(tally.right[kind], tally.found[kind]),
         "recall": _share(tally.recalled[kind], tally.labels[kind]),
         "left": tally.left[kind], "again": tally.again[kind]}
        for kind in config.types
    ]  # fmt: skip
    return {"texts": texts, "unscored": dict(sorted(unscored.items())), "lines": lines}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _score(batch: Sequence[Labelled], state: State, tally: _Tally) -> None:
    """Add what is found in these texts to the counts."""
    texts = pa.array([one.text for one in batch], pa.large_string())
    spans, refused = state.find(texts)
    if refused:
        row, why = next(iter(refused.items()))
        raise DataError(
            f"the engine could not read labelled text {row + 1} of a batch: {why['rule']}; raise its limits"
        )
    found = _by_row(spans, len(batch))
    redacted = state.replaced(texts, spans)
    for one, places, after in zip(batch, found, redacted.to_pylist(), strict=True):
        labels = [label for label in one.spans if label[2] in state.config.types]
        data = one.text.encode()
        tally.labels.update(kind for *_, kind in labels)
        tally.found.update(kind for *_, kind in places)
        tally.right.update(place[2] for place in places if any(map(_is(place), labels)))
        tally.recalled.update(label[2] for label in labels if any(map(_is(label), places)))
        tally.left.update(kind for start, end, kind in labels if data[start:end].decode() in after)
    tally.again.update(kind for _, kind in _still(redacted, state)[0])


def _is(place: Place) -> Callable[[Place], bool]:
    """A function that says whether another place is the same one: of its type, sharing half of what both cover."""

    def same(other: Place) -> bool:
        shared = min(place[1], other[1]) - max(place[0], other[0])
        return place[2] == other[2] and shared >= OVERLAP * (max(place[1], other[1]) - min(place[0], other[0]))

    return same


def _by_row(spans: Spans, rows: int) -> list[list[Place]]:
    found: list[list[Place]] = [[] for _ in range(rows)]
    for row, *place in zip(*(column.to_pylist() for column in spans), strict=True):
        found[row].append((place[0], place[1], place[2]))
    return found


def _still(texts: pa.Array, state: State) -> tuple[list[tuple[int, str]], dict[int, dict[str, Any]]]:
    """(row, type) of every value that redaction would replace by something else, and row -> why it cannot be read."""
    spans, refused = state.find(texts)
    found = [(row, place) for row, places in enumerate(_by_row(spans, len(texts))) for place in places]
    if state.config.style == "realistic":  # a made-up value is replaced by itself
        after = state.replaced(texts, spans)
        values = {row: (texts[row].as_py().encode(), after[row].as_py()) for row, _ in found}
        found = [(row, p) for row, p in found if values[row][0][p[0] : p[1]].decode() not in values[row][1]]
    return [(row, place[2]) for row, place in found], refused


def audit_documents(inputs: Sequence[InputSettings], config: Redact) -> dict[str, Any]:
    """What documents hold that redaction would replace.

    Returns documents, with_values (documents that hold any), unread (documents that the engine could not read to the
    end, by rule) and lines: for each type its values. ConfigError where the inputs are pages without text, or none.
    """
    state = State(config)
    kinds: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    documents = holding = 0
    try:
        for task in cut(list_files(list(inputs)).files, None):
            if reads_raw(task.slices):
                raise ConfigError(
                    "audit redact reads documents with text: run `curate extract` first and give its folder"
                )
            for rows in read(task, ReadCounts()):
                text = rows.batch.column("text").fill_null("")
                found, refused = _still(text, state)
                unread.update(str(why["rule"]) for why in refused.values())
                documents += len(text)
                holding += len({row for row, _ in found})
                kinds.update(kind for _, kind in found)
    finally:
        close(state)
    if not documents:
        raise ConfigError("the input holds no document: there is nothing to look at")
    lines = [{"type": kind, "values": kinds[kind]} for kind in TYPES if kind in config.types]
    return {"documents": documents, "with_values": holding, "unread": dict(sorted(unread.items())), "lines": lines}
