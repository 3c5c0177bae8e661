"""decontaminate: documents that hold a benchmark item, word for word, are dropped.

The 13-gram rule: the text of an item (each of its fields alone, and all fields together) is cut into word 13-grams, in
lower case and without punctuation and marks. A document is dropped if one of these 13-grams occurs in it. An item of
8 to 12 words is looked for as a whole; a shorter one is not looked for, since so few words occur together by chance.
The two lengths are those of GPT-3 (arXiv 2005.14165, appendix C). An n-gram that more than `max_items` items share is
boilerplate ("which of the following statements about") and is left out. The rule finds verbatim copies whatever
surrounds them, and 62 % of the items of which a tenth of the words was edited.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.config import Settings, setting
from curate.errors import ConfigError, DataError
from curate.io.read import open_decompressed
from curate.stages.protocol import Applied, Channel, Phase, Reads, Side, SideFile, Stage, with_verdicts


class Decontaminate(Settings):
    """Which items are looked for, and how much of one is evidence."""

    benchmarks: list[str] = setting(..., "JSONL files of benchmark items (.gz and .zst too)", min_length=1)
    fields: list[str] = setting(
        ["question", "choices"], "keys of an item that hold its text, or lists of texts", min_length=1
    )
    ngram: int = setting(13, "words that must match in a row", unit="words", ge=2, le=64)
    min_words: int = setting(8, "items shorter than this are not looked for", unit="words", ge=1)
    max_items: int = setting(4, "n-grams that more items share are left out", ge=1)


def index(config: Decontaminate, reads: Reads) -> Mapping[str, pa.Table]:
    """The n-grams to look for: (n: words, gram: uint64 hash, item: the first by name that has it), a row each.

    Rows are sorted by (n, gram). Raises ConfigError where no item is long enough to be looked for.
    """
    names: list[str] = []
    texts: list[str] = []
    for file in reads.files("benchmarks"):
        for name, item_texts in _items(file, config):
            names.extend([name] * len(item_texts))
            texts.extend(item_texts)
    column = pa.array(texts, pa.large_string())
    # The number of words of a text is that of its 1-grams. A text shorter than `ngram` is one n-gram of its own length.
    lengths = pc.list_value_length(kernels.ngram_hashes(column, n=1)).to_numpy()
    sizes = np.minimum(lengths, config.ngram)
    tables = []
    for n in sorted(set(sizes[sizes >= min(config.min_words, config.ngram)].tolist())):
        rows = np.flatnonzero(sizes == n)
        grams = kernels.ngram_hashes(column.take(pa.array(rows)), n=int(n))
        items = pa.array([names[row] for row in rows]).take(pc.list_parent_indices(grams))
        tables.append(pa.table({"n": pa.array([n] * len(items), pa.int64()), "gram": grams.flatten(), "item": items}))
    if not tables:
        raise ConfigError(
            f"decontaminate: no item of {', '.join(config.benchmarks)} has {config.min_words} words or more"
        )
    counted = pa.concat_tables(tables).group_by(["n", "gram"]).aggregate([("item", "min"), ("item", "count_distinct")])
    counted = counted.filter(pc.less_equal(counted.column("item_count_distinct"), config.max_items))
    rows_of = counted.sort_by([("n", "ascending"), ("gram", "ascending")])
    return {"grams": rows_of.select(["n", "gram", "item_min"]).rename_columns(["n", "gram", "item"])}


def _items(file: SideFile, config: Decontaminate) -> Iterator[tuple[str, list[str]]]:
    """(name, texts) of every item of a JSONL file: each of its fields alone, and all fields joined.

    Raises DataError with the line where one is no item, and ConfigError where it has none of the fields.
    """
    with open_decompressed(str(file.path)) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                fields = [_text(item[key]) for key in config.fields if key in item]
            except (ValueError, TypeError) as error:
                raise DataError(f"{file.name}:{number}: not a benchmark item: {error}") from None
            if not fields:
                has = ", ".join(item) if isinstance(item, dict) else type(item).__name__
                raise ConfigError(
                    f"{file.name}:{number}: none of the fields {', '.join(config.fields)}; the item has: {has}; "
                    "name the ones with its text in `decontaminate.fields`"
                )
            name = str(item.get("id", number))
            yield f"{file.path.name}:{name}", [*fields, *(["\n".join(fields)] if len(fields) > 1 else [])]


def _text(value: Any) -> str:
    """The text of a field; of a list, such as the choices of a question, one text a line."""
    return "\n".join(map(_text, value)) if isinstance(value, list) else str(value)


class State:
    """The n-grams of the phase index, opened for lookups once a worker, with a finder for each length n."""

    def __init__(self, config: Decontaminate, side: Side) -> None:
        table = side.table("index.grams")
        self.finders: list[tuple[kernels.NgramFinder, pa.ChunkedArray]] = []  # by n: n-grams, and the item of each
        for n in sorted(pc.unique(table.column("n")).to_pylist() if table.num_rows else []):
            part = table.filter(pc.equal(table.column("n"), n))
            self.finders.append((kernels.NgramFinder(part.column("gram"), n=n), part.column("item")))


def scan(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the rows in which an n-gram occurs: `value` is how many do, `detail` an item that one of them belongs to.

    Of several items the first that the shortest n-grams find is named.
    """
    n_rows = batch.num_rows
    hits = np.zeros(n_rows, np.int64)
    items: list[str | None] = [None] * n_rows
    for finder, names in state.finders:
        row, gram, _, _ = finder.hits(batch.column("text"))
        rows = row.to_numpy()
        hits += np.bincount(rows, minlength=n_rows)
        found, first_hit = np.unique(rows, return_index=True)
        for document, at in zip(found, first_hit, strict=True):
            if items[document] is None:
                items[document] = names[gram[int(at)].as_py()].as_py()
    rules = ["decontaminate.ngram" if count else None for count in hits]
    return with_verdicts(batch, rules, hits.astype(float).tolist(), 0.0, items)


STAGE = Stage(
    name="decontaminate",
    version=2,
    summary="Drop documents that hold benchmark items.",
    config=Decontaminate,
    rules=lambda config: {"decontaminate.ngram": "n-grams found"},
    files=lambda config: {"benchmarks": config.benchmarks},
    phases=(
        Phase("index", "all", run=index, side=("benchmarks",), emits=(Channel("grams"),)),
        Phase("scan", "each", open=State, apply=scan, side=("index.grams",)),
    ),
)
