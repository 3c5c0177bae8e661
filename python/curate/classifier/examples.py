"""Examples for a classifier: parts of labeled documents, chosen by hash, equal by source, some sites held out.

A document is cut at white space into parts of a random length between the least and the greatest number of words. All
randomness comes from the seed and the document's place, so the same inputs give the same examples in any order of work.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import lookups
from curate.classifier.settings import TrainSettings
from curate.errors import ConfigError, DataError
from curate.io.inputs import InputSettings, cut, list_files, reads_raw
from curate.io.read import ReadCounts, open_decompressed, read

NGRAM = 13  # words in a row that two texts share only where one holds a part of the other
SHARED = 0.1  # part of an example's n-grams that held-out examples may have
_WORD = re.compile(r"\S+")


class Example(NamedTuple):
    """A part of a document. `order` is random and unique; examples are chosen and sorted by it."""

    order: bytes
    label: str
    source: str
    group: str  # its site, or its document where that has no address: held out as a whole
    text: str


@dataclass
class Chosen:
    """The examples, and what became of the documents."""

    train: list[Example] = field(default_factory=list)
    heldout: list[Example] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)  # of documents and of examples left out, by reason


def choose(inputs: Mapping[str, Sequence[InputSettings]], settings: TrainSettings) -> Chosen:
    """Examples of every label. ConfigError where a label has none in training or among those held out."""
    chosen = Chosen(counts={"documents": 0, "too_short": 0, "held_by_benchmarks": 0, "held_by_heldout": 0})
    for label, entries in inputs.items():
        found = _of_label(label, entries, settings, chosen.counts)
        for example in found:
            out = _share(settings.seed, "held out", example.group) < settings.holdout
            (chosen.heldout if out else chosen.train).append(example)
    chosen.train.sort()
    chosen.heldout.sort()
    if settings.benchmarks:
        kept = _without(chosen.train, _items(settings.benchmarks), 0.0)
        chosen.counts["held_by_benchmarks"], chosen.train = len(chosen.train) - len(kept), kept
    kept = _without(chosen.train, [example.text for example in chosen.heldout], SHARED)
    chosen.counts["held_by_heldout"], chosen.train = len(chosen.train) - len(kept), kept
    for name, part in (("training", chosen.train), ("the held-out part", chosen.heldout)):
        missing = sorted(set(inputs) - {example.label for example in part})
        if missing:
            raise ConfigError(
                f"no example of {', '.join(missing)} in {name}: give more documents, of several sites where they have"
                " addresses, or a lower least length in --words"
            )
    return chosen


def _of_label(
    label: str, entries: Sequence[InputSettings], settings: TrainSettings, counts: dict[str, Any]
) -> list[Example]:
    """At most `examples` examples of a label: as many of each source as it has, up to an equal share."""
    held: dict[str, list[tuple[int, Example]]] = {}
    for example in _parts(label, entries, settings, counts):
        heap = held.setdefault(example.source, [])
        # The heap's head is the one with the greatest order: it goes first.
        item = (-int.from_bytes(example.order), example)
        if len(heap) < settings.examples:
            heapq.heappush(heap, item)
        elif item > heap[0]:
            heapq.heapreplace(heap, item)
    by_source = {source: sorted(example for _, example in heap) for source, heap in sorted(held.items())}
    left, found = settings.examples, []
    for number, source in enumerate(sorted(by_source, key=lambda name: (len(by_source[name]), name))):
        taken = by_source[source][: left // (len(by_source) - number)]
        found += taken
        left -= len(taken)
    return found


def _parts(
    label: str, entries: Sequence[InputSettings], settings: TrainSettings, counts: dict[str, Any]
) -> Iterator[Example]:
    """All parts of all documents of a label."""
    least, most = settings.span
    for task in cut(list_files(list(entries)), None):
        if reads_raw(task.slices):
            raise ConfigError(f"{task.slices[0].path}: these are pages: run `curate extract` first and give its folder")
        for rows in read(task, ReadCounts()):
            columns = [rows.batch.column(name) for name in ("doc_id", "url", "source", "text")]
            sites = lookups.url_sites(pc.fill_null(columns[1].cast(pa.string()), "")).to_pylist()
            values = zip(columns[0].to_pylist(), sites, columns[2].to_pylist(), columns[3].to_pylist(), strict=True)
            for doc_id, site, source, text in values:
                counts["documents"] += 1
                some = False
                for order, part in _cut(text or "", doc_id, least, most, settings.seed):
                    some = True
                    yield Example(order, label, source or "main", site or doc_id.hex(), part)
                counts["too_short"] += not some


def _cut(text: str, doc_id: bytes, least: int, most: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """(order, part) of a text; a rest that is too short is left out."""
    words = [match.span() for match in _WORD.finditer(text)]
    place = number = 0
    while len(words) - place >= least:
        order = hashlib.sha256(b"%d %d " % (seed, number) + doc_id).digest()
        length = least + int.from_bytes(order[16:24]) % (most - least + 1)
        # What would be left too short goes with this part, where that is not too long.
        left = len(words) - place
        length = left if left <= most and left - length < least else min(length, left)
        yield order, text[words[place][0] : words[place + length - 1][1]]
        place, number = place + length, number + 1


def _share(seed: int, what: str, name: str) -> float:
    """A number of 0..1 from a seed and names."""
    return int.from_bytes(hashlib.sha256(f"{seed} {what} {name}".encode()).digest()[:8]) / 2.0**64


def _without(examples: list[Example], others: Sequence[str], share: float) -> list[Example]:
    """The examples of whose n-grams at most `share` stand in the other texts, too."""
    grams = lookups.ngram_hashes(pa.array(others, pa.large_string()), n=NGRAM).flatten()
    if not len(grams) or not examples:
        return examples
    distinct = np.unique(np.asarray(grams))
    own = lookups.ngram_hashes(pa.array([example.text for example in examples], pa.large_string()), n=NGRAM)
    found = np.isin(np.asarray(own.flatten()), distinct)
    lengths = np.asarray(pc.list_value_length(own))
    hits = (
        np.add.reduceat(np.append(found, False), np.append(0, np.cumsum(lengths)[:-1])) if len(found) else lengths * 0
    )
    hits = np.where(lengths > 0, hits, 0)
    return [example for example, n, of in zip(examples, hits, lengths, strict=True) if n <= share * of]


def _items(paths: Iterable[str]) -> list[str]:
    """The texts of benchmark items: all that is text in each line of JSONL files."""
    texts = []
    for path in paths:
        with open_decompressed(path) as handle:
            for number, line in enumerate(handle, 1):
                try:
                    texts.append("\n".join(_strings(json.loads(line)))) if line.strip() else None
                except ValueError as error:
                    raise DataError(f"{path}:{number}: not a benchmark item: {error}") from None
    return texts


def _strings(value: Any) -> Iterator[str]:
    """The texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from _strings(inside)
