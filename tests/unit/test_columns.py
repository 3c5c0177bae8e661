"""Columns and keys of any name, type and depth: the same rows give the same documents in every form."""

import json
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from curate import schema
from curate.io import columns, parquet, read
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts
from curate.io.times import parse_time
from curate.run import driver
from curate.run.recipe import Recipe, Step, single_stage
from curate.stages import load

PLACE = ("doc_id", "origin_file", "origin_offset")


def rows_of(path: Path, counts: ReadCounts | None = None, **setting: Any) -> list[dict[str, Any]]:
    """Every row with its rule: known columns that are not null, and all else as one object, carried or in `extra`."""
    found = []
    for task in cut(list_files([InputSettings(path=str(path), **setting)])):
        for rows in read.read(task, counts or ReadCounts()):
            rules = [None] * len(rows.batch) if rows.verdicts is None else rows.verdicts["rule"].to_pylist()
            for row, rule in zip(rows.batch.to_pylist(), rules, strict=True):
                extra = json.loads(row.pop("extra") or "{}")
                known = {k: row.pop(k) for k in schema.DOCUMENT.names if k in row and k not in PLACE}
                more = {k: v for k, v in row.items() if k not in PLACE} | extra
                text = known.pop("text") if rule is None else None
                found.append(_dense({**known, "text": text, "rule": rule, "more": more}))
    return found


def _dense(value: Any) -> Any:
    """A value without nulls and objects without keys: a struct of Parquet has every key in every row."""
    if isinstance(value, dict):
        return {k: v for k, one in value.items() if (v := _dense(one)) is not None and v != {}}
    return [_dense(one) for one in value] if isinstance(value, list) else value


# -- the same rows -----------------------------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=["Cs"])
_TIMES = st.sampled_from(["2020-01-01", "soon", "20200101000000", "Wed, 01 Jan 2020 00:00:00 GMT", "1577836800", ""])
VALUES: list[Any] = [
    st.text(LETTERS, max_size=5), _TIMES, st.booleans(),
    st.integers(-(2**40), 2**40), st.integers(10**8, 10**18), st.sampled_from([0, 1]),
    st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1), st.sampled_from(["0.5", "3", "true", "ab" * 16]),
    st.lists(st.integers(0, 9), max_size=2), st.fixed_dictionaries({"a": st.integers(0, 9)}),
]  # fmt: skip
NAMES = [name for name in schema.DOCUMENT.names if name not in ("text", "extra")] + ["id", "date", "timestamp", "k", "."]


@st.composite
def tables(draw: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows in which every column holds values of one type, or nulls, some of them inside objects; and a setting
    `columns` that finds the text, and some known columns that are inside objects."""
    n = draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
    of = {name: draw(st.lists(st.none() | draw(st.sampled_from(VALUES)), min_size=n, max_size=n)) for name in names}
    of["text"] = draw(st.lists(st.none() | st.text(LETTERS, min_size=1, max_size=3), min_size=n, max_size=n))
    prefix = {name: draw(st.sampled_from(["", "meta.", "meta.deep."])) for name in of}
    rows = []
    for i in range(n):
        row: dict[str, Any] = {"meta": {"deep": {"other": i}}}
        for name, values in of.items():
            target = row
            for key in prefix[name].split(".")[:-1]:
                target = target[key]
            target[name] = values[i]
        rows.append(row)
    given = {name: prefix[name] + name for name in of if name in schema.DOCUMENT.names and draw(st.booleans())}
    return rows, {**given, "text": prefix["text"] + "text"}


@given(tables())
@settings(max_examples=60, deadline=None)
def test_the_same_rows_give_the_same_documents_in_every_form(tmp_path_factory: Any, table: Any) -> None:
    rows, names = table
    folder = tmp_path_factory.getbasetemp()
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    corpus.write_jsonl(folder / "a.jsonl", rows)
    seen = {name: ReadCounts() for name in ("a.parquet", "a.jsonl")}
    of_table, of_lines = (rows_of(folder / name, counts, columns=names) for name, counts in seen.items())
    assert of_table == of_lines
    told = [{key: one.values for key, one in counts.aside.items()} for counts in seen.values()]
    assert told[0] == told[1]
