"""decontaminate: documents that hold a benchmark item are dropped, or the item is cut out of them or marked.

    index    benchmark files become an index: where n-grams of items stand
    count    how common the words of items are in the documents, by a sample
    weigh    what each word tells, in bits
    scan     every position of every document is looked up; a rule decides
    report   contaminated_items.parquet, and the findings by benchmark

The rule `aligned` finds edited, re-wrapped and embedded copies: n-grams of 5 words lead to an item, and the document is
aligned with its question word by word. It has two tiers. A match of a question of 60 bits or more, or with nearly all
of its options or its answer beside it, is sure: the action applies to it. The others are only marked. The other rules
are those of other tools, for comparison; all their matches are sure (decontam/rules.py says what each counts).

contaminated_items.parquet has a row for every item: whether it was found, in which tier, at what score and where. An
evaluation joins it by (benchmark, row) to tell scores on clean items from those on found ones. It lists too the items
that cannot be found: too short, or made of words that too many items share.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, schema
from curate.config import Settings, setting
from curate.decontam import items as known
from curate.decontam.cuts import cut_out
from curate.decontam.rules import ALIGNED, RULES, RuleName
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Resources, Side, Stage, with_column

STATES = ("indexed", "too_short", "common", "shortened")  # by number, as the kernel gives them
SAMPLE_BYTES = 1 << 19  # of text of each batch, in which words are counted
FOUND, LIKELY, PIECES = "decontaminate.found", "decontaminate.likely", "decontaminate.pieces"

# Keys of items: alternatives, the first that an item has counts; `a+b` joins several.
KEYS_MEANING = "keys of an item that hold {}; the first that it has counts, and a+b joins several"


class Decontaminate(Settings):
    """Which items are looked for, by which rule, and what is done where one is found."""

    benchmarks: list[str] = setting(
        ..., "files of benchmark items: .jsonl, .json, .parquet or .txt, some compressed", min_length=1
    )
    question: list[str] = setting(known.QUESTION, KEYS_MEANING.format("its question"), min_length=1)
    choices: list[str] = setting(known.CHOICES, KEYS_MEANING.format("its choices"))
    answer: list[str] = setting(known.ANSWER, KEYS_MEANING.format("its answer, or the place or letter of a choice"))
    passage: list[str] = setting(known.PASSAGE, KEYS_MEANING.format("the passage that it asks about"))
    id: list[str] = setting(known.ID, KEYS_MEANING.format("its id; without one its row is its id"))
    rule: RuleName = setting(
        "aligned", "aligned finds edited copies; gpt3, datatrove, palm, llama3 and paragraph count n-grams as these do"
    )
    action: Literal["drop", "cut", "mark"] = setting(
        "drop", "what is done with sure matches: drop the document, cut them out of it, or only mark them"
    )
    margin: int = setting(200, "cut so much on both sides of a match, too", unit="characters", ge=0)
    min_piece: int = setting(200, "what a cut leaves shorter than this goes too", unit="characters", ge=0)
    max_cuts: int = setting(10, "a document with more cuts is dropped", ge=1)


# -- index ---------------------------------------------------------------------------------------------------


def index(config: Decontaminate, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """The items, and the columns by which they are found; what cannot be found becomes a warning.

    Raises ConfigError and DataError as read_items does, and where two files have one name.
    """
    items = _items(config, reads)
    rule, aligned = RULES[config.rule], config.rule == ALIGNED
    texts = [item.question if aligned else "\n".join((item.passage, item.question, item.answer)) for item in items]
    options = [item.choices if aligned else [] for item in items]
    counts = pa.array([len(one) for one in options], pa.uint32())
    made = kernels.index_items(
        pa.array(texts, pa.large_string()),
        pa.array([option for one in options for option in one], pa.large_string()),
        counts,
        pa.array([item.answer if aligned else "" for item in items], pa.large_string()),
        n=rule.n,
        max_items=rule.max_items,
        ngrams=not aligned,
    )
    states = made.state.to_numpy()
    table = {
        "benchmark": pa.array([item.benchmark for item in items]),
        "id": pa.array([item.id for item in items]),
        "row": pa.array([item.row for item in items], pa.int64()),
        "words": pc.list_value_length(made.question).cast(pa.uint32()),
        "state": pa.array([STATES[state] for state in states]),
        "option_count": counts,
        "question": made.question,
        "frequency": made.frequency,
        "answer": made.answer,
    }
    yield "items", pa.table(table)
    yield "options", pa.table({"option": made.option})
    yield "grams", pa.table({"gram": made.gram, "item": made.item, "place": made.place})
    if aligned:
        yield "words", pa.table({"word": made.word, "items": made.items})
    yield "notes", "\n".join(_not_looked_for(items, states)).encode()


def _items(config: Decontaminate, reads: Reads) -> list[known.Item]:
    """The items of all files."""
    keys = known.Keys(config.question, config.choices, config.answer, config.passage, config.id)
    files: dict[str, str] = {}
    items: list[known.Item] = []
    for file in reads.files("benchmarks"):
        found = known.read_items(file.path, file.name, keys)
        name = found[0].benchmark
        if name in files:
            raise ConfigError(
                f"{files[name]} and {file.name} are both the benchmark {name}, by which findings are reported: rename"
                " one of them"
            )
        files[name] = file.name
        items += found
    return items


def _not_looked_for(items: list[known.Item], states: np.ndarray) -> Iterator[str]:
    """A sentence for each benchmark with items that cannot be found, or only by their beginning."""
    reasons = {1: "are too short to be looked for", 2: "share all of their n-grams with too many others",
               3: "are looked for by their first words only"}  # fmt: skip
    names = np.array([item.benchmark for item in items])
    for name in dict.fromkeys(names.tolist()):
        of = names == name
        for state, reason in reasons.items():
            places = np.flatnonzero(of & (states == state))
            if len(places):
                yield (
                    f"{name}: {len(places):,} of {of.sum():,} items {reason}, as {items[places[0]].id}; "
                    "contaminated_items.parquet lists them"
                )


# -- count and weigh -----------------------------------------------------------------------------------------


def open_words(config: Decontaminate, side: Side) -> pa.Table:
    """The words of items, sorted; none for rules that weigh no words."""
    return side.table("index.words")


def count(batch: pa.RecordBatch, words: pa.Table) -> Applied:
    """Emits (word, stretches) of the words of items, and the number of stretches of 200 words in all.

    Words are counted in a part of the batch: the documents whose doc_id comes first by hash, up to SAMPLE_BYTES.
    """
    if not words.num_rows:
        return Applied(batch)
    ids = batch.column("doc_id").cast(pa.binary()).to_pylist()
    order = sorted(range(len(ids)), key=lambda row: schema.doc_id(ids[row].hex(), 0))
    sizes = pc.binary_length(batch.column("text")).to_numpy()[order]
    taken = order[: max(1, int(np.searchsorted(np.cumsum(sizes), SAMPLE_BYTES)))]
    counts, stretches = kernels.count_stretches(
        batch.column("text").take(pa.array(sorted(taken), pa.int64())), words.column("word")
    )
    there = pc.greater(counts, 0)
    word = words.column("word").combine_chunks().filter(there)
    counted = pa.RecordBatch.from_pydict({"word": word, "stretches": counts.filter(there).cast(pa.uint64())})
    total = pa.RecordBatch.from_pydict({"stretches": pa.array([stretches], pa.uint64())})
    return Applied(batch, emits={"words": counted, "total": total})


def add_up(rows: pa.Table) -> pa.Table:
    """One row a word, with the sum of its stretches."""
    made = rows.group_by("word").aggregate([("stretches", "sum")])
    return made.rename_columns(["word", "stretches"]).sort_by("word")


def add_up_total(rows: pa.Table) -> pa.Table:
    """One row: the sum."""
    return pa.table({"stretches": pa.array([pc.sum(rows.column("stretches")).as_py()], pa.uint64())})


def weigh(config: Decontaminate, reads: Reads) -> Mapping[str, pa.Table]:
    """(weight: uint16), a row for each word of index.words: the fewer items and documents have it, the more."""
    words = reads.table("index.words")
    if not words.num_rows:
        return {}
    listed = words.column("word").to_numpy()
    counts = np.zeros(len(listed), np.uint64)
    for batch in reads.table("count.words").to_batches():
        counts[np.searchsorted(listed, batch.column("word").to_numpy())] += batch.column("stretches").to_numpy()
    totals = reads.table("count.total")
    total = pc.sum(totals.column("stretches")).as_py() if totals.num_rows else 0
    # Frequencies are shares: beyond 32 bits both sides of the division are made smaller.
    shrink = max(1, -(-total // (2**32 - 1)))
    weight = kernels.word_weights(
        words.column("items"),
        pa.array((counts // shrink).astype(np.uint32)),
        items=reads.table("index.items").num_rows,
        stretches=total // shrink,
    )
    return {"weights": pa.table({"weight": weight})}


# -- scan ----------------------------------------------------------------------------------------------------


class State(NamedTuple):
    """The rule, opened once a worker over mapped columns, and the name of each item."""

    config: Decontaminate
    finder: kernels.AlignedFinder | kernels.NgramFinder
    benchmark: pa.ChunkedArray
    id: pa.ChunkedArray


def open_index(config: Decontaminate, side: Side) -> State:
    """The index of the phase index, with the weights of words where the rule has them."""
    items, grams = side.table("index.items"), side.table("index.grams")
    columns = {name: table.column(name) for table in (items, grams) for name in table.schema.names}
    if not grams.num_rows:
        empty = kernels.index_items(*(pa.array([], kind) for kind in _KINDS), n=1, max_items=1, ngrams=True)
        columns |= {"gram": empty.gram, "item": empty.item, "place": empty.place}
    rule = RULES[config.rule]
    finder: kernels.AlignedFinder | kernels.NgramFinder
    if config.rule == ALIGNED:
        options, words, weights = (side.table(name) for name in ("index.options", "index.words", "weigh.weights"))
        columns["option"] = options.column("option") if options.num_rows else pa.array([], pa.large_list(pa.uint32()))
        columns["word"] = words.column("word") if words.num_rows else pa.array([], pa.uint32())
        weight = weights.column("weight") if weights.num_rows else pa.array([], pa.uint16())
        finder = kernels.AlignedFinder(columns, weight, n=rule.n)
    else:
        finder = kernels.NgramFinder(columns, columns["words"], n=rule.n, counting=rule.counting, share=rule.share)
    return State(config, finder, items.column("benchmark"), items.column("id"))


_KINDS = (pa.large_string(), pa.large_string(), pa.uint32(), pa.large_string())


def scan(batch: pa.RecordBatch, state: State) -> Applied:
    """Looks for items in the texts. Sure matches have the effect of `action`; every match is marked with its span, its
    item (`detail`), score and limit, and emitted for the report.
    """
    found = state.finder.find(batch.column("text"))
    if not len(found.row):
        return Applied(batch)
    names = pc.binary_join_element_wise(state.benchmark.take(found.item), state.id.take(found.item), ":")
    names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    emitted = {
        "item": found.item,
        "doc_id": batch.column("doc_id").take(found.row),
        "score": found.score,
        "limit": found.limit,
        "evidence": pc.if_else(pc.less(found.evidence, 0), pa.scalar(None, pa.float64()), found.evidence),
        "sure": found.sure,
        "span_start": found.start.cast(pa.int64()),
        "span_end": found.end.cast(pa.int64()),
    }
    emits = {"found": pa.RecordBatch.from_pydict(emitted)}
    action = state.config.action
    if action == "drop":
        return Applied(batch, _dropped(batch.num_rows, found, names), marks=_marks(found, names), emits=emits)
    if action == "cut":
        return _cut(batch, found, names, state.config, emits)
    return Applied(batch, marks=_marks(found, names), emits=emits)


def _dropped(rows: int, found: kernels.FoundItems, names: pa.Array) -> pa.RecordBatch:
    """Verdicts on the rows with a sure match: the one with the highest score is named."""
    sure = np.flatnonzero(found.sure.to_numpy(zero_copy_only=False))
    row, score = found.row.to_numpy()[sure], found.score.to_numpy()[sure]
    order = np.lexsort((sure, -score, row))
    dropped, first = np.unique(row[order], return_index=True)
    best = sure[order][first]
    place = np.full(rows, -1)
    place[dropped] = best
    at = pa.array(place, mask=place < 0)
    rule = pc.if_else(pa.array(place >= 0), FOUND, pa.scalar(None, pa.string()))
    return schema.verdicts(rule, found.score.take(at), found.limit.take(at), names.take(at))


def _marks(found: kernels.FoundItems, names: pa.Array) -> pa.RecordBatch:
    """MARK rows, one a match."""
    rule = pc.if_else(found.sure, FOUND, LIKELY)
    return schema.marks(found.row, "mark", rule, found.start, found.end, found.score, found.limit, names)


def _cut(
    batch: pa.RecordBatch,
    found: kernels.FoundItems,
    names: pa.Array,
    config: Decontaminate,
    emits: Mapping[str, pa.RecordBatch],
) -> Applied:
    """Cuts sure matches with their margins. A document is dropped where nothing is left, or after too many cuts."""
    marks = _marks(found, names).to_pylist()
    others = [mark for mark in marks if mark["rule"] == LIKELY]
    texts: list[str] = batch.column("text").to_pylist()
    rules: list[str | None] = [None] * batch.num_rows
    values: list[float | None] = [None] * batch.num_rows
    details: list[str | None] = [None] * batch.num_rows
    for row in sorted({mark["row"] for mark in marks if mark["rule"] == FOUND}):
        sure = [mark for mark in marks if mark["row"] == row and mark["rule"] == FOUND]
        spans = [(mark["span_start"], mark["span_end"]) for mark in sure]
        left, cuts = cut_out(texts[row], spans, config.margin, config.min_piece)
        if not left or len(cuts) > config.max_cuts:
            rules[row], values[row], details[row] = PIECES, float(len(cuts)), sure[0]["detail"]
            others += sure
            continue
        texts[row] = left
        for start, end in cuts:
            within = [mark for mark in sure if mark["span_start"] < end and mark["span_end"] > start]
            best = max(within, key=lambda mark: mark["value"]) if within else sure[0]
            others.append({**best, "action": "cut", "span_start": start, "span_end": end})
    others.sort(key=lambda mark: (mark["row"], mark["span_start"], mark["span_end"]))
    return Applied(
        with_column(batch, "text", pa.array(texts, pa.large_string())),
        schema.verdicts(rules, values, float(config.max_cuts), details),
        marks=pa.RecordBatch.from_pylist(others, schema.MARK),
        emits=emits,
    )


# -- report --------------------------------------------------------------------------------------------------


def report(config: Decontaminate, reads: Reads) -> Iterator[tuple[str, pa.Table | bytes]]:
    """contaminated_items.parquet: every item and its best match; contamination.json: the numbers by benchmark."""
    items = reads.table("index.items")
    found = reads.table("scan.found")
    places = np.full(items.num_rows, -1)
    documents = np.zeros(items.num_rows, np.int64)
    if found.num_rows:
        item = found.column("item").to_numpy()
        sure = found.column("sure").to_numpy()
        order = np.lexsort((np.arange(len(item)), -found.column("score").to_numpy(), ~sure, item))
        ids, first = np.unique(item[order], return_index=True)
        places[ids] = order[first]
        pairs = found.select(["item", "doc_id"]).group_by(["item", "doc_id"]).aggregate([])
        np.add.at(documents, pairs.column("item").to_numpy(), 1)
    at = pa.array(places, mask=places < 0)
    columns = {name: items.column(name) for name in ("benchmark", "id", "row", "words", "state")}
    columns["tier"] = pa.nulls(items.num_rows, pa.string())
    columns["documents"] = pa.array(documents)
    best = found.take(at) if found.num_rows else None
    if best is not None:
        columns["tier"] = pc.if_else(best.column("sure"), "sure", "likely")
    for name, kind in _BEST.items():
        columns[name] = pa.nulls(items.num_rows, kind) if best is None else best.column(name)
    table = pa.table(columns)
    yield "items", table
    facts = list(_by_benchmark(table))
    yield "benchmarks", (json.dumps({"rule": config.rule, "benchmarks": facts}, indent=1) + "\n").encode()
    lines = [
        f"{one['benchmark']}: {one['sure'] + one['likely']:,} of {one['items']:,} items found, {one['sure']:,} for sure"
        for one in facts
        if one["sure"] + one["likely"]
    ]
    yield "notes", "\n".join(lines).encode()


_BEST = {
    "score": pa.float64(),
    "limit": pa.float64(),
    "evidence": pa.float64(),
    "doc_id": schema.DOC_ID,
    "span_start": pa.int64(),
    "span_end": pa.int64(),
}


def _by_benchmark(table: pa.Table) -> Iterator[dict[str, Any]]:
    """For each benchmark its items, those not looked for, and those found in either tier; matches count a document."""
    names = table.column("benchmark").to_numpy(zero_copy_only=False)
    states = table.column("state").to_numpy(zero_copy_only=False)
    tiers = np.array([tier or "" for tier in table.column("tier").to_pylist()])
    documents = table.column("documents").to_numpy()
    for name in dict.fromkeys(names.tolist()):
        of = names == name
        yield {
            "benchmark": name,
            "items": int(of.sum()),
            **{state: int((of & (states == state)).sum()) for state in STATES[1:]},
            **{tier: int((of & (tiers == tier)).sum()) for tier in ("sure", "likely")},
            "matches": int(documents[of].sum()),
        }


INDEXED_BY = ("benchmarks", "question", "choices", "answer", "passage", "id", "rule")

STAGE = Stage(
    name="decontaminate",
    version=4,
    summary="Take benchmark items out of documents.",
    config=Decontaminate,
    presets=lambda config: config.rule,
    rules=lambda config: {
        FOUND: "n-grams" if RULES[config.rule].counting == "any" else "share of the item",
        LIKELY: "share of the item",
        PIECES: "cuts",
    },
    resources=lambda config: Resources(state_bytes=48 << 20),
    files=lambda config: {"benchmarks": config.benchmarks},
    phases=(
        Phase(
            "index",
            "all",
            run=index,
            side=("benchmarks",),
            emits=(Channel("items"), Channel("options"), Channel("grams"), Channel("words")),
            settings=INDEXED_BY,
        ),
        Phase(
            "count",
            "each",
            open=open_words,
            apply=count,
            side=("index.words",),
            emits=(Channel("words", combine=add_up), Channel("total", combine=add_up_total)),
            documents=False,
            settings=("benchmarks",),
        ),
        Phase(
            "weigh",
            "all",
            run=weigh,
            side=("index.items", "index.words", "count.words", "count.total"),
            emits=(Channel("weights"),),
            settings=("benchmarks",),
        ),
        Phase(
            "scan",
            "each",
            open=open_index,
            apply=scan,
            side=("index.items", "index.options", "index.grams", "index.words", "weigh.weights"),
            emits=(Channel("found"),),
            settings=("benchmarks", "rule", "action", "margin", "min_piece", "max_cuts"),
        ),
        Phase(
            "report",
            "all",
            run=report,
            side=("index.items", "scan.found"),
            emits=(
                Channel("items", path="contaminated_items.parquet"),
                Channel("benchmarks", path="contamination.json"),
            ),
            settings=("benchmarks", "rule"),
        ),
    ),
)
