"""word_filter: documents with words of a list are dropped, or the words replaced; for adult and harmful words.

A list is a file that you name, a word or phrase a line, as LDNOOBW has them; a folder stands for all lists in it. Words
are compared in lower case, without accents and punctuation, as whole words: "class" holds none of its parts. In scripts
written without spaces (Chinese, Japanese, Thai) an entry is found wherever its characters stand in a row.

With `by_language` a list is for documents of the language that its file is named after (en, fr), as langid found it;
documents in other languages stay as they are. Each list is a rule, word_filter.en for example: `curate plan` tells what
was read of it, and one that finds nothing in 100,000 rows is a warning.

    curate word-filter docs/ --lists ldnoobw/en --out clean
    curate word-filter docs/ --lists ldnoobw/en --action replace --out clean
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import lookups, schema
from curate.blocklists import ListFile, entries_of, list_files, state_bytes
from curate.config import Settings, setting
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Phase, Resources, Side, Stage, with_column, with_verdicts

LONGEST = 16  # words of an entry; longer ones are told and left out


class WordFilter(Settings):
    """The lists, and what becomes of documents with their words."""

    lists: list[str] = setting(..., "files of words and phrases, or folders of such files", min_length=1)
    by_language: bool = setting(False, "a list is for documents of the language that its file is named after")
    action: Literal["drop", "replace"] = setting("drop", "drop the document, or replace the words")
    max_matches: int = setting(0, "a document with more is dropped, if its share is over max_share, too (drop)", ge=0)
    max_share: float = setting(0.0, "words of lists among all that stay (drop)", unit="0..1", ge=0, le=1)
    placeholder: str = setting("<WORD>", "what stands for a word (replace)")


def lists_of(config: WordFilter) -> list[ListFile]:
    """The lists of the settings; of a folder every file whose name has no capitals, which README and LICENSE have."""
    paths = []
    for path in config.lists:
        folder = Path(path).expanduser()
        if folder.is_dir():
            inside = sorted(str(p) for p in folder.iterdir() if p.is_file() and not p.name.split(".")[0].isupper())
            if not inside:
                raise ConfigError(f"word_filter.lists: {path}: no file in this folder")
            paths += inside
        else:
            paths.append(path)
    return [file._replace(name=file.name.removeprefix("words.")) for file in list_files({"words": paths})]


class Hits(NamedTuple):
    """Places of list words in a batch, sorted by (row, start, end, list): all int64."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    list: np.ndarray


class State:
    """The entries of all lists by their number of words, opened once a worker. ConfigError for a list without entry."""

    def __init__(self, config: WordFilter, side: Side | None = None) -> None:
        self.config = config
        self.files = lists_of(config)
        grams: dict[int, list[tuple[int, int]]] = {}  # words of an entry -> (hash, list)
        self.counts: list[tuple[int, int]] = []  # a list: (entries, lines that are none)
        for number, file in enumerate(self.files):
            entries = pa.array(entries_of(file.path), pa.string())
            lengths = pc.list_value_length(lookups.ngram_hashes(entries, n=1)).to_numpy()
            usable = (lengths > 0) & (lengths <= LONGEST)
            self.counts.append((int(usable.sum()), int((~usable).sum())))
            if not usable.any():
                raise ConfigError(f"word_filter.lists: {file.path}: no word in {len(entries):,} lines")
            for n in sorted(set(lengths[usable].tolist())):
                hashes = lookups.ngram_hashes(entries.filter(pa.array(lengths == n)), n=n)
                grams.setdefault(n, []).extend((gram, number) for gram in hashes.flatten().to_pylist())
        self.finders = [_finder(n, sorted(set(pairs))) for n, pairs in sorted(grams.items())]


class Finder(NamedTuple):
    """Entries of one number of words; the lists of entry i are lists[first[i]:first[i + 1]]."""

    finder: lookups.PhraseFinder
    first: np.ndarray
    lists: np.ndarray


def _finder(n: int, pairs: list[tuple[int, int]]) -> Finder:
    hashes, lists = np.array([gram for gram, _ in pairs], np.uint64), np.array([number for _, number in pairs])
    grams, first = np.unique(hashes, return_index=True)
    return Finder(lookups.PhraseFinder(pa.array(grams), n=n), np.append(first, len(lists)), lists)


def find(batch: pa.RecordBatch, state: State) -> Hits:
    """Every place with an entry of a list that is for its document; one of several lists is there once for each."""
    parts = [np.zeros((4, 0), np.int64)]
    for finder, first, lists in state.finders:
        row, gram, start, end = (np.asarray(column).astype(np.int64) for column in finder.find(batch.column("text")))
        counts = first[gram + 1] - first[gram]
        which = np.repeat(first[gram] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        parts.append(np.stack([*(np.repeat(column, counts) for column in (row, start, end)), lists[which]]))
    found = np.concatenate(parts, axis=1)
    if state.config.by_language:
        names = pa.array([file.name for file in state.files])
        langs = np.asarray(pc.fill_null(pc.index_in(batch.column("lang").cast(pa.string()), value_set=names), -1))
        found = found[:, langs[found[0]] == found[3]]
    return Hits(*found[:, np.lexsort(found[::-1])])


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the documents with too many matches, or replaces the words and records each span."""
    hits = find(batch, state)
    return _replaced(batch, state, hits) if state.config.action == "replace" else _judged(batch, state, hits)


def _judged(batch: pa.RecordBatch, state: State, hits: Hits) -> Applied:
    """Verdicts: value is the number of places, the rule that of the list with the first, `detail` the word there."""
    config, n = state.config, batch.num_rows
    places = np.unique(np.stack([hits.row, hits.start, hits.end]), axis=1)
    matches = np.bincount(places[0], minlength=n)
    wrong = matches > config.max_matches
    if config.max_share and wrong.any():
        words = pc.list_value_length(lookups.ngram_hashes(batch.column("text"), n=1)).to_numpy()
        wrong &= matches > config.max_share * words
    rules: list[str | None] = [None] * n
    details: list[str | None] = [None] * n
    rows, first = np.unique(hits.row, return_index=True)
    for row, at in zip(rows.tolist(), first.tolist(), strict=True):
        if wrong[row]:
            rules[row] = f"word_filter.{state.files[hits.list[at]].name}"
            details[row] = _bytes(batch, row)[hits.start[at] : hits.end[at]].decode()
    return with_verdicts(batch, rules, matches.astype(float).tolist(), float(config.max_matches), details)


def _bytes(batch: pa.RecordBatch, row: int) -> bytes:
    text: str = batch.column("text")[row].as_py()
    return text.encode()


def _replaced(batch: pa.RecordBatch, state: State, hits: Hits) -> Applied:
    """The texts with placeholders. Spans that overlap are replaced as one, a cut by the rule of the first's list."""
    texts = batch.column("text").to_pylist()
    placeholder = state.config.placeholder.encode()
    marks: list[dict[str, object]] = []
    for row, spans in _spans(hits):
        text, made, done = texts[row].encode(), [], 0
        for start, end, number in spans:
            made += [text[done:start], placeholder]
            done = end
            rule = f"word_filter.{state.files[number].name}"
            marks.append({"row": row, "action": "cut", "rule": rule, "span_start": start, "span_end": end})
        texts[row] = b"".join([*made, text[done:]]).decode()
    if not marks:
        return Applied(batch)
    changed = with_column(batch, "text", pa.array(texts, pa.large_string()))
    return Applied(changed, marks=pa.RecordBatch.from_pylist(marks, schema.MARK))


def _spans(hits: Hits) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """(row, [(start, end, list)]) of every row with hits; spans that overlap are joined."""
    rows, first = np.unique(hits.row, return_index=True)
    last = np.append(first, len(hits.row))[1:]
    for row, begin, end in zip(rows.tolist(), first.tolist(), last.tolist(), strict=True):
        spans: list[tuple[int, int, int]] = []
        columns = (hits.start[begin:end].tolist(), hits.end[begin:end].tolist(), hits.list[begin:end].tolist())
        for start, stop, number in zip(*columns, strict=True):
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(stop, spans[-1][1]), spans[-1][2])
            else:
                spans.append((start, stop, number))
        yield row, spans


def _remarks(config: WordFilter) -> list[str]:
    """What was read of each list."""
    state = State(config)
    found = []
    for file, (entries, unread) in zip(state.files, state.counts, strict=True):
        left = f"; {unread:,} lines hold no word or more than {LONGEST}" if unread else ""
        found.append(f"word_filter: {file.name} has {entries:,} entries{left}")
    return found


def files(config: WordFilter) -> Mapping[str, Sequence[str]]:
    """The list files."""
    return {"lists": [file.path for file in lists_of(config)]}


STAGE = Stage(
    name="word_filter",
    version=1,
    summary="Drop documents with listed words, or replace these.",
    config=WordFilter,
    needs=lambda config: ("text", "lang") if config.by_language else ("text",),
    expected=lambda config: (0.2, 1.0),
    rules=lambda config: {f"word_filter.{file.name}": "matches" for file in lists_of(config)},
    files=files,
    resources=lambda config: Resources(state_bytes=20 * state_bytes(lists_of(config))),
    remarks=_remarks,
    phases=(Phase("apply", "each", open=State, apply=apply, side=("lists",)),),
)
