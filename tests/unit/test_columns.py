"""Columns and keys of any name, type and depth: the same rows give the same documents in every form."""

import importlib.util
import json
import subprocess
import sys
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
from curate.errors import ConfigError
from curate.io import columns, read
from curate.io.batches import BATCH_BYTES
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts
from curate.io.store import LocalStore
from curate.io.times import parse_time
from curate.io.write import TableFile
from curate.run import driver
from curate.run.each import groups_of
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
NAMES = [name for name in schema.DOCUMENT.names if name not in ("text", "extra")] + [
    "id",
    "date",
    "timestamp",
    "k",
    ".",
]


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
@settings(max_examples=40, deadline=None)
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


@pytest.mark.parametrize(
    "written",
    [1577836800, 1577836800.0, 1577836800_000, 1577836800_000_000, 1577836800_000_000_000, "1577836800", 20200101,
     "20200101000000", "2020-01-01", "2020-01-01T01:00+01:00", "2020-01-01 00:00:00.000000999 UTC",
     "Wed, 01 Jan 2020 00:00:00 GMT", "Wednesday, 01-Jan-20 00:00:00 GMT", "Wed Jan  1 00:00:00 2020"],
)  # fmt: skip
def test_a_time_is_read_in_every_published_form(written: Any) -> None:
    assert parse_time(written) == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", [True, 0, 2020, "2020", 10**30, 1e300, float("nan"), "soon", "May", "9" * 5000, [1]]
)
def test_what_is_no_time_is_none(written: Any) -> None:
    assert parse_time(written) is None


def test_values_that_a_column_cannot_hold_are_counted_once_a_column(tmp_path: Path) -> None:
    rows = [{"text": "t", "date": "soon", "n_copies": "2"}, {"text": "t", "date": "2020-01-01", "n_copies": [2]}] * 3
    corpus.write_jsonl(tmp_path / "a.jsonl", rows[:3])
    corpus.write_jsonl(tmp_path / "b.jsonl", rows[3:])
    outcome = driver.run(single_stage("normalize", {}, [InputSettings(path=str(tmp_path))]), tmp_path / "out")
    assert outcome.warnings == [
        '3 values of "date" cannot be read as times (crawled_at) and went into `extra`; one is text, in a.jsonl at 0',
        '3 values of "n_copies" cannot be read as whole numbers from 0 to 4,294,967,295 (n_copies) and went into'
        " `extra`; one is a list, in a.jsonl at 47",
    ]


# -- names that lead into objects --------------------------------------------------------------------------------


def test_a_nested_name_is_taken_out_of_its_object_and_a_key_with_the_dot_comes_first() -> None:
    row = {"meta": {"url": "a", "n": 1}, "meta.url": "b", "x": {"y.z": {"u": 2}}, "deep": {"er": {"k": 3}}}
    columns.lift(row, ["meta.url", "x.y.z.u", "deep.er.k", "meta.no", "text.url"])
    assert row == {"meta": {"url": "a", "n": 1}, "meta.url": "b", "x.y.z.u": 2, "deep.er.k": 3}
    columns.lift(row, ["meta.n"])
    assert row["meta"] == {"url": "a"} and row["meta.n"] == 1


def test_a_column_of_a_table_without_values_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,link\na text,\n")
    entry = InputSettings(path=str(tmp_path / "a.csv"), columns={"url": "link"})
    assert driver.run(single_stage("normalize", {}, [entry]), tmp_path / "out").exit_code == 0


def test_columns_are_named_alike_on_every_command(tmp_path: Path, said: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"content": "a text", "meta": {"url": "https://e.test/", "n": 1}}])
    entry = f"{{path: {tmp_path}/a.jsonl, columns: {{text: body}}}}"
    (tmp_path / "r.yaml").write_text(f"version: 1\ninputs: [{entry}]\nsteps: [normalize]\n")
    options = ("--columns", "text=content,url=meta.url", "--columns", "kind=meta.n")
    for command in (("normalize", tmp_path / "a.jsonl"), ("run", tmp_path / "r.yaml")):
        done = said(*command, *options, "--out", tmp_path / command[0])
        assert done.code == 0, done.err
        (row,) = pq.read_table(tmp_path / command[0] / "documents").to_pylist()
        assert (row["text"], row["url"], row["kind"], row["extra"]) == ("a text", "https://e.test/", "1", None)
    assert said("plan", tmp_path / "r.yaml", *options).code == 0


# -- identity ----------------------------------------------------------------------------------------------------


def test_ids_that_are_trusted_must_be_there_and_be_ids(tmp_path: Path) -> None:
    uuid = "12345678-9abc-def0-1234-56789abcdef0"
    rows = [{"text": "a", "doc_id": uuid}, {"text": "b", "doc_id": f"<urn:uuid:{'0' * 8}{uuid[8:]}>"}, {"text": "c"}]
    rows[2]["doc_id"] = "7"
    for name in ("a.parquet", "a.jsonl"):
        if name.endswith("t"):
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        else:
            corpus.write_jsonl(tmp_path / name, rows)
        entry = InputSettings(path=str(tmp_path / name), trust_ids=True)
        outcome = driver.run(single_stage("normalize", {}, [entry]), tmp_path / f"{name}.out")
        found = pq.read_table(tmp_path / f"{name}.out/documents").to_pylist()
        assert [row["doc_id"].hex() for row in found[:2]] == [
            uuid.replace("-", ""),
            "0" * 8 + uuid[8:].replace("-", ""),
        ]
        assert found[2]["extra"] == '{"doc_id": "7"}' and '1 value of "doc_id" cannot be read as' in outcome.warnings[0]
    pq.write_table(pa.table({"text": ["a"], "id": ["1"]}), tmp_path / "none.parquet")
    with pytest.raises(
        ConfigError, match="`trust_ids` reads doc_id, and no file there has such a column; there are: id"
    ):
        list_files([InputSettings(path=str(tmp_path / "none.parquet"), trust_ids=True)])


# -- one table ---------------------------------------------------------------------------------------------------


def test_the_documents_of_unlike_inputs_are_one_table(tmp_path: Path) -> None:
    if not importlib.util.find_spec("duckdb"):
        pytest.skip("duckdb is not installed")
    folder = tmp_path / "in"
    corpus.write_warc(
        folder / "crawl.warc.gz", [("https://e.test/", b"<p>" + b"a page of some words. " * 40 + b"</p>")]
    )
    corpus.write_jsonl(folder / "lines.jsonl", [{"text": "lines", "n": "one", "more": 1}])
    one = {"n": [1], "tags": pa.array([["x"]], pa.large_list(pa.large_string())), "nothing": pa.nulls(1), "odd": [1],
           "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}  # fmt: skip
    two = {"tags": pa.array([["y"]], pa.list_view(pa.string_view())), "odd": ["x"], "lang": ["de"]}
    pq.write_table(pa.table({"text": ["one"], **one}), folder / "one.parquet")
    pq.write_table(pa.table({"text": ["two"], **two}), folder / "two.parquet")
    pq.write_table(pa.table({"html": ["<p>" + "another page. " * 40 + "</p>"], "n": [2]}), folder / "pages.parquet")
    only = load("langid").config.model_validate({})
    steps = (Step("extract", load("extract"), load("extract").config()), Step("langid", load("langid"), only))
    assert driver.run(Recipe((InputSettings(path=str(folder)),), steps), tmp_path / "out").exit_code == 0
    files = sorted((tmp_path / "out/documents").iterdir())
    schemas = [pq.read_schema(file) for file in files]
    assert len(files) == 5 and all(found.equals(schemas[0], check_metadata=True) for found in schemas)
    assert schemas[0].names == [*schema.DOCUMENT.names, "map", "n", "nothing", "tags"]
    whole = pyarrow.dataset.dataset(tmp_path / "out/documents", schema=pa.unify_schemas(schemas)).to_table()
    assert sorted(filter(None, whole["n"].to_pylist())) == [1, 2] and whole.num_rows == 5
    query = f"SELECT count(*), sum(n), max(tags[1]) FROM '{tmp_path}/out/documents/*.parquet'"
    code = f'import duckdb; print(duckdb.sql("{query}").fetchall())'  # when it ends, it complains on stderr
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[(5, 3, 'y')]"


# -- types and sizes ---------------------------------------------------------------------------------------------


def bad(n: int) -> pa.Array:
    """n texts that are no UTF-8."""
    return pa.Array.from_buffers(pa.string(), n, pa.array([b"caf\xff"] * n).buffers())


def test_every_type_that_a_file_can_have_is_read(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "view": pa.array(["a", None], pa.string_view()), "bytes": pa.array([b"\0", None], pa.large_binary()),
        "words": pa.ListArray.from_arrays([0, 1, 2], bad(2)), "fixed": pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        "coded": pa.ListArray.from_arrays([0, 1, 1], pa.array(["x"]).dictionary_encode()), "null": pa.nulls(2),
        "money": pa.array([1, None], pa.decimal128(5, 2)), "took": pa.array([5, None], pa.duration("us")),
        "day": pa.array([1, None], pa.date32()), "clock": pa.array([1, None], pa.time64("us")),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None], pa.binary(16))),
        "struct": pa.array([{"deep": [{"at": datetime(2026, 1, 1)}]}, None]),
        "half": pa.array([0.5, None], pa.float16()), "views": pa.array([["v"], None], pa.list_view(pa.string_view())),
        "inner": pa.array([[["v"]], None], pa.list_(pa.list_view(pa.string()))),
    }  # fmt: skip
    others: dict[str, Any] = {"words": [1, 2], "struct": ["s", "s"], "bytes": [1.5, None], "coded": [True, None]}
    for text in (pa.array(["a", "b"], pa.string_view()), pa.array(["a", "b"]).dictionary_encode()):
        for alone in (True, False):  # as columns, and in `extra` beside a file that has other types
            if not alone:
                pq.write_table(pa.table({"text": ["a", "b"], **others}), tmp_path / "b.parquet")
            pq.write_table(pa.table({"text": text, **values}), tmp_path / "a.parquet")
            first, second, *_ = rows_of(tmp_path)
            assert first["more"]["words"] == ["caf\ufffd"] and first["more"]["coded"] == ["x"]
            assert set(first["more"]) == {*values} - {"null"} and set(second["more"]) == {"words", "coded"}
        (tmp_path / "b.parquet").unlink()
    for name, kind in ((name, column.type) for name, column in values.items()):
        assert columns.plain(kind) is not None or name in ("took", "inner")


def test_files_and_groups_without_rows_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for rows in (table.slice(0, 0), table, table.slice(0, 0)):
            writer.write_table(rows)
    pq.write_table(table.slice(0, 0), tmp_path / "b.parquet")
    assert [row["text"] for row in rows_of(tmp_path)] == ["a", "b"]


def seen_within(path: Path, most: int) -> int:
    """The bytes of all rows of a file, which is read with at most `most` bytes allocated at any time."""
    (task,) = cut(list_files([InputSettings(path=str(path))]))
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        seen = sum(rows.batch.nbytes for rows in read.read(task, ReadCounts()))
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < most
    return seen


@pytest.mark.parametrize("kind", ["dictionary", "plain", "list", "shared", "nulls first"])
def test_a_small_file_that_decodes_to_much_takes_little_memory(tmp_path: Path, kind: str) -> None:
    """150 MB of text from less than 2 MB."""
    n, large = 150, "word " * 200_000
    coded = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array([large]))
    settings: dict[str, Any] = {}
    column: Any = coded
    if kind != "dictionary":  # written with a dictionary, and read as text
        settings["store_schema"] = False
    if kind == "shared":
        column = coded.dictionary_decode()
        settings |= {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
    if kind == "nulls first":
        column = pa.concat_arrays([coded.slice(0, 0), *[pa.array([None] * 1000).cast(coded.type), coded]])
    if kind == "list":
        column = pa.ListArray.from_arrays(pa.array(range(n + 1), pa.int32()), coded)
    table = pa.table({"text": column}) if kind != "list" else pa.table({"text": ["a"] * n, "tags": column})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", **settings)
    del table, column, coded
    assert (tmp_path / "a.parquet").stat().st_size < 2_000_000
    assert seen_within(tmp_path / "a.parquet", 120_000_000) > 140_000_000


@pytest.mark.parametrize("kind", ["dictionary", "list", "struct", "runs"])
def test_a_batch_of_an_arrow_file_is_cut_before_it_is_decoded(tmp_path: Path, kind: str) -> None:
    n, large = 150, pa.array(["word " * 200_000])
    column: Any = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), large)
    if kind == "list":
        column = pa.ListArray.from_arrays(pa.array(range(n + 1), pa.int32()), column)
    if kind == "struct":
        column = pa.StructArray.from_arrays([column], ["inside"])
    if kind == "runs":
        column = pa.RunEndEncodedArray.from_arrays(pa.array([n], pa.int32()), large)
    batch = pa.record_batch({"text": ["a"] * n, "note": column})
    with pa.ipc.new_file(tmp_path / "a.arrow", batch.schema) as writer:
        writer.write_batch(batch)
    assert seen_within(tmp_path / "a.arrow", 100_000_000) > 140_000_000


@pytest.mark.slow
def test_a_row_group_of_more_than_two_gigabytes_is_read_piece_by_piece(tmp_path: Path) -> None:
    words = pa.array([("word " * 20_000)[i:] for i in range(100)])
    table = pa.table({"text": pa.chunked_array([words] * 230)})  # the same 10 MB again and again
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1 << 20, use_dictionary=False, compression="zstd")
    assert pq.read_metadata(tmp_path / "a.parquet").row_group(0).total_byte_size > 1 << 31
    assert seen_within(tmp_path / "a.parquet", 100_000_000) > 1 << 31


def test_documents_of_an_earlier_pass_are_read_a_group_at_a_time(tmp_path: Path) -> None:
    file = TableFile(LocalStore(tmp_path), "a.parquet")
    batch = pa.RecordBatch.from_pydict({"text": ["a"] * 100, "note": ["n" * 1_000_000] * 100})
    for i in range(100):
        file.write(batch.slice(i, 1))
    file.close()
    with open(tmp_path / "a.parquet", "rb") as handle:
        sizes = [(part.num_rows, part.nbytes) for part in groups_of(handle)]
    assert sum(rows for rows, _ in sizes) == 100 and max(size for _, size in sizes) <= BATCH_BYTES
