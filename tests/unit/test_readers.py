"""What readers give: every value that an input holds, in a known column, in its own, or in `extra`."""

import gzip
import json
import re
import resource
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from curate import schema
from curate.errors import ConfigError, DataError, SchemaError
from curate.io import batches, columns, inputs, read
from curate.io.inputs import InputSettings, Slice, TaskInput, cut, list_files
from curate.io.read import ReadCounts, Rows, reader_identity
from curate.run import driver
from curate.run.recipe import single_stage


def everything(path: Path, counts: ReadCounts | None = None, **setting: Any) -> list[Rows]:
    tasks = cut(list_files([InputSettings(path=str(path), **setting)]))
    return [rows for task in tasks for rows in read.read(task, counts or ReadCounts())]


def documents(path: Path, **setting: Any) -> list[dict[str, Any]]:
    """The rows that have no verdict, as dicts of what is not null; `extra` as the object it is."""
    found = []
    for rows in everything(path, **setting):
        dropped = [None] * rows.batch.num_rows if rows.verdicts is None else rows.verdicts["rule"].to_pylist()
        for row, rule in zip(rows.batch.to_pylist(), dropped, strict=True):
            row["extra"] = json.loads(row["extra"]) if row["extra"] else None
            if rule is None:
                found.append({name: value for name, value in row.items() if value is not None})
    return found


def verdicts(path: Path, counts: ReadCounts | None = None, **setting: Any) -> list[tuple[Any, ...]]:
    """(rule, value, limit) of every row."""
    found: list[tuple[Any, ...]] = []
    for rows in everything(path, counts, **setting):
        if rows.verdicts is None:
            found += [(None, None, None)] * rows.batch.num_rows
        else:
            found += zip(*(rows.verdicts[name].to_pylist() for name in ("rule", "value", "limit")), strict=True)
    return found


# -- what goes where -------------------------------------------------------------------------------------------

RESERVED = ("heldout", "payload", "row", "key", "reject_rule", "reject_action", "verdict", "rule", "aside", "lane")


def test_columns_called_like_the_tools_own_words_are_just_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], **{name: [True] for name in RESERVED}}), tmp_path / "a.parquet")
    (rows,) = everything(tmp_path / "a.parquet")
    assert rows.kind == "document" and rows.verdicts is None
    assert rows.batch.schema.names == [*schema.DOCUMENT.names, *sorted(RESERVED)]
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "a", **dict.fromkeys(RESERVED, True)}])
    assert documents(tmp_path / "a.jsonl")[0]["extra"] == dict.fromkeys(RESERVED, True)


def test_all_documents_of_a_run_have_one_schema(tmp_path: Path) -> None:
    """Carried where all Parquet files that have a column agree on its type, null where a file lacks it."""
    pages = pa.table({"html": ["<p>a page</p>"], "label": [3], "lang": ["en"], "title": ["T"]})
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pages, folder / "pages.parquet")
    pq.write_table(pa.table({"text": ["one"], "label": [1], "odd": [1], "empty": pa.nulls(1)}), folder / "one.parquet")
    pq.write_table(pa.table({"text": ["two"], "odd": ["x"], "empty": ["full"]}), folder / "two.parquet")
    corpus.write_jsonl(folder / "lines.jsonl", [{"text": "three", "label": 2, "note": "n"}])
    (folder / "file.txt").write_text("four")
    corpus.write_warc(folder / "crawl.warc.gz", [("https://example.test/", b"<p>five</p>")])

    rows = everything(folder)
    carried = {kind: {f.schema for f in (r.batch for r in rows if r.kind == kind)} for kind in ("raw", "document")}
    assert [len(found) for found in carried.values()] == [1, 1]
    assert next(iter(carried["document"])).names[len(schema.DOCUMENT) :] == ["empty", "label"]
    assert next(iter(carried["raw"])).names[len(schema.RAW) :] == ["empty", "label", "lang"]
    found = {row.get("text") or row["payload"]: row for r in rows for row in r.batch.to_pylist()}
    assert found["one"]["label"] == 1 and found["one"]["extra"] == '{"odd": 1}' and found["one"]["empty"] is None
    assert found["two"]["label"] is None and found["two"]["extra"] == '{"odd": "x"}' and found["two"]["empty"] == "full"
    assert found["three"]["label"] is None and found["three"]["extra"] == '{"label": 2, "note": "n"}'
    page = found[b"<p>a page</p>"]
    assert (page["label"], page["lang"], page["extra"]) == (3, "en", '{"title": "T"}')  # extract writes the title


def test_a_slice_says_what_is_carried_so_that_another_input_makes_another_task(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one"], "label": [1]}), tmp_path / "a.parquet")
    (before,) = cut(list_files([InputSettings(path=str(tmp_path))]))
    pq.write_table(pa.table({"text": ["two"], "label": ["x"]}), tmp_path / "b.parquet")
    after = cut(list_files([InputSettings(path=str(tmp_path))]))
    assert columns.from_text(before.slices[0].carried).names == ["label"]
    assert {piece.carried for task in after for piece in task.slices} == {""}
    assert before.slices[0].to_json() != after[0].slices[0].to_json()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KNOWN = schema.DOCUMENT.names + list(columns.ALIASES)
UNKNOWN = st.dictionaries(
    st.sampled_from([*RESERVED, "html", "a", "a_"]) | st.text().filter(lambda key: key not in KNOWN), VALUES, max_size=5
)


@given(st.lists(UNKNOWN, min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_whatever_a_line_has_comes_back_from_extra(tmp_path_factory: Any, unknown: list[dict[str, Any]]) -> None:
    path = corpus.write_jsonl(tmp_path_factory.getbasetemp() / "a.jsonl", [{"text": "t", **one} for one in unknown])
    task = TaskInput("t", (Slice(str(path), "a.jsonl", "jsonl", "main"),))
    found = [text for rows in read.read(task, ReadCounts()) for text in rows.batch["extra"].to_pylist()]
    assert [json.loads(text) if text else {} for text in found] == unknown


def test_the_same_rows_as_lines_and_as_parquet_give_the_same_documents(tmp_path: Path) -> None:
    rows = [
        {"id": f"n-{i}", "text": f"text {i}", "url": f"https://e.test/{i}", "date": f"2026-01-0{i + 1}T00:00:00Z",
         "title": None if i else "T", "lang": "en", "lang_score": 0.5, "quality_score": "high", "n_copies": i + 1,
         "cluster_id": "not an id", "origin_file": "theirs", "synthetic": bool(i), "n_tokens": -1}
        for i in range(3)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a")
    corpus.write_jsonl(tmp_path / "b", rows)
    tables, lines = documents(tmp_path / "a", format="parquet"), documents(tmp_path / "b", format="jsonl")
    place = ("doc_id", "origin_file", "origin_offset")  # where they lie: the only difference
    strip = [[{k: v for k, v in row.items() if k not in place} for row in found] for found in (tables, lines)]
    assert strip[0] == strip[1]
    assert strip[0][0] == {
        "source": "main", "source_id": "n-0", "text": "text 0", "url": "https://e.test/0", "title": "T", "lang": "en",
        "crawled_at": datetime(2026, 1, 1, tzinfo=UTC), "lang_score": 0.5, "n_copies": 1, "synthetic": False,
        "extra": {"quality_score": "high", "cluster_id": "not an id", "origin_file": "theirs", "n_tokens": -1},
    }  # fmt: skip


def test_values_that_json_has_not_are_text_in_extra(tmp_path: Path) -> None:
    one = {
        "bytes": [b"\x00\xff"], "time": [datetime(2026, 1, 1, 12)], "nested": [{"at": datetime(2026, 1, 2), "n": 1.5}],
        "infinite": [float("inf")], "category": pa.array(["c"]).dictionary_encode(), "list": [[1, None]],
    }  # fmt: skip
    two = {name: ["another type"] if name not in ("bytes", "category") else [1] for name in one}
    pq.write_table(pa.table({"text": ["a"], **one}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"], **two}), tmp_path / "b.parquet")
    extra = documents(tmp_path)[0]["extra"]
    assert extra["bytes"] == "00ff" and extra["time"].startswith("2026-01-01 12:00") and extra["infinite"] == "inf"
    assert extra["nested"]["n"] == 1.5 and extra["nested"]["at"].startswith("2026-01-02")
    assert extra["category"] == "c" and extra["list"] == [1, None]


def test_a_named_key_gets_a_column_of_text(tmp_path: Path) -> None:
    rows = [{"body": "one", "my_label": {"deep": 1}, "text": "not this"}, {"body": "two", "my_label": "plain"}]
    corpus.write_jsonl(tmp_path / "a.jsonl", rows)
    found = documents(tmp_path / "a.jsonl", columns={"text": "body", "label": "my_label"})
    assert [(row["text"], row["label"]) for row in found] == [("one", '{"deep": 1}'), ("two", "plain")]
    assert found[0]["extra"] == {"text": "not this"}


def test_a_name_of_the_setting_comes_before_its_namesake(tmp_path: Path) -> None:
    rows = [{"text": "t", "content": "c"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    corpus.write_jsonl(tmp_path / "a.jsonl", rows)
    for path in (tmp_path / "a.parquet", tmp_path / "a.jsonl"):
        (one,) = documents(path, columns={"text": "content"})
        assert (one["text"], one["extra"]) == ("c", {"text": "t"})
        (swapped,) = documents(path, columns={"text": "content", "content": "text"})
        assert (swapped["text"], swapped["content"]) == ("c", "t")
        with pytest.raises(ConfigError, match='`columns` reads "content" as text and as title; name it once'):
            everything(path, columns={"text": "content", "title": "content"})


def test_a_row_without_the_column_that_is_named_is_not_read_by_its_namesake(tmp_path: Path) -> None:
    rows = [{"text": "LABEL", "content": "c", "when": "2020-01-01"}, {"text": "LABEL", "date": "2021-01-01"}]
    corpus.write_jsonl(tmp_path / "a.jsonl", rows)
    names = {"text": "content", "crawled_at": "when"}
    assert [rule for rule, *_ in verdicts(tmp_path / "a.jsonl", columns=names)] == [None, "read.no_text"]
    _, second = (row for rows in everything(tmp_path / "a.jsonl", columns=names) for row in rows.batch.to_pylist())
    assert second["crawled_at"] is None


def test_a_name_that_is_nowhere_is_an_error_with_the_names_there_are(tmp_path: Path) -> None:
    rows = [{"text": "t", "meta": {"link": "https://e.test/"}}]
    for path in (tmp_path / "a.parquet", tmp_path / "sub.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(ConfigError, match=r'reads "adress" as url, .* there are: meta, meta\.link, text$'):
        everything(tmp_path, columns={"url": "adress"})
    pq.write_table(pa.table({"body": ["t"]}), tmp_path / "b.parquet")
    with pytest.raises(SchemaError, match=r"no column `text` \(nor `html`\); it has: body; .* --columns text=NAME"):
        everything(tmp_path / "b.parquet")

    corpus.write_jsonl(tmp_path / "c.jsonl", [{"text": "t", "meta": {"link": "x"}}, {"text": "t", "link": "x"}])
    recipe = single_stage("normalize", {}, [InputSettings(path=str(tmp_path / "c.jsonl"), columns={"url": "meta.ulr"})])
    told = 'reads "meta.ulr", and no row of the source main has it; the rows have: link, meta, meta.link, text;'
    with pytest.raises(ConfigError, match=re.escape(told)):
        driver.run(recipe, tmp_path / "out")
    sample = driver.run(replace(recipe, limit=1), tmp_path / "sample")  # a key may be in the lines that were not read
    assert sample.exit_code == 0 and 'reads "meta.ulr"' in sample.warnings[0]
    for name in ("link", "meta.link"):  # a key that some lines have is there
        recipe = single_stage("normalize", {}, [InputSettings(path=str(tmp_path / "c.jsonl"), columns={"url": name})])
        assert driver.run(recipe, tmp_path / name).exit_code == 0


# -- identity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_foreign_id_is_a_source_id_unless_it_is_trusted(tmp_path: Path, name: str) -> None:
    identity = bytes(15) + b"\x07"
    rows = [
        {"doc_id": identity.hex(), "id": 5, "source": "theirs", "origin_file": "f", "origin_offset": 9, "text": "a"}
    ]
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        corpus.write_jsonl(tmp_path / name, rows)
    (row,) = documents(tmp_path / name)
    assert row["doc_id"] == schema.doc_id(name, 0) and row["source_id"] == identity.hex()
    assert (row["origin_file"], row["origin_offset"]) == (name, 0)
    assert row["extra"]["origin_file"] == "f" and row["extra"]["origin_offset"] == 9
    assert 5 in (row["extra"].get("id"), row.get("id"))
    (row,) = documents(tmp_path / name, trust_ids=True)
    assert (row["doc_id"], row["source_id"]) == (identity, "5")
    assert (row["source"], row["origin_file"], row["origin_offset"]) == ("theirs", "f", 9)
    assert list_files([InputSettings(path=str(tmp_path / name), trust_ids=True)]).ids_may_repeat


def test_binary_ids_are_hex_and_a_source_that_is_no_text_is_not_the_domain(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "doc_id": pa.array([bytes(16), None], pa.binary(16)), "source": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = documents(tmp_path / "a.parquet", source="mine")
    assert first["source_id"] == "00" * 16 and "source_id" not in second
    assert first["source"] == "mine" and first["extra"] == {"source": 1}


def test_what_a_trusted_extra_holds_stays(tmp_path: Path) -> None:
    rows = {"text": ["a", "b"], "doc_id": [bytes(16), bytes(15) + b"1"], "extra": ['{"k": 1, "odd": 2}', None]}
    pq.write_table(pa.table({**rows, "odd": ["x", None], "good": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({**rows, "odd": [1, 2]}), tmp_path / "b.parquet")
    first, second, *_ = documents(tmp_path, trust_ids=True)
    assert first["extra"] == {"k": 1, "odd": 2, "odd_": "x"} and "extra" not in second
    assert documents(tmp_path)[0]["extra"]["extra"] == '{"k": 1, "odd": 2}'  # untrusted: a column like any other


# -- damage and size -------------------------------------------------------------------------------------------


def test_a_line_that_is_too_long_is_a_reject_and_the_next_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "first"}',
        b'{"text": "' + b"x" * 5000 + b'"}',
        b'{"text": "' + b"y" * 88 + b'"}',
        b'{"text": "z"}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\r\n".join(lines))
    dropped = ("read.too_large", float(len(lines[1])), 100.0)
    assert verdicts(path, max_line=100) == [(None, None, None), dropped, (None, None, None), (None, None, None)]
    offsets = [row["origin_offset"] for row in documents(path, max_line=100)]
    assert offsets == [0, len(lines[0]) + 2 + len(lines[1]) + 2, path.stat().st_size - len(lines[3])]
    path.with_suffix(".txt").write_bytes(b"x" * 101)
    assert verdicts(path.with_suffix(".txt"), max_line=100) == [("read.too_large", 101.0, 100.0)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_small_file_that_expands_takes_little_memory_and_time(tmp_path: Path, suffix: str) -> None:
    """256 MB in one line, from a few KB."""
    zeros = b" " * (1 << 24)
    path = tmp_path / f"a.jsonl{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(zeros, 6) * 16 + gzip.compress(b'\n{"text": "after"}\n'))
    else:
        compressor = zstandard.ZstdCompressor(level=3).compressobj()
        parts = [compressor.compress(zeros) for _ in range(16)]
        path.write_bytes(b"".join(parts) + compressor.compress(b'\n{"text": "after"}\n') + compressor.flush())
    assert path.stat().st_size < 300_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [rule for rule, *_ in verdicts(path, max_line=1 << 20)] == ["read.too_large", None]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_what_damage_takes_of_a_compressed_file_is_counted(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"{i * 7919:x} words of line {i}"}) + "\n" for i in range(6_000)).encode()
    frames = zstandard.ZstdCompressor(write_checksum=True)
    gz, zst = gzip.compress(lines), frames.compress(lines)
    wrong = bytearray(zst)
    wrong[-1] ^= 1  # of the checksum
    cases = {
        "whole.jsonl.gz": (gz + gzip.compress(b"") + b"\0" * 100, 6_000, False),
        "cut.jsonl.gz": (gz[: len(gz) // 2], 2_500, True),
        "garbage.jsonl.gz": (gz + b"garbage", 6_000, True),
        "whole.jsonl.zst": (b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zst, 6_000, False),
        "cut.jsonl.zst": (zst[: len(zst) * 3 // 4], 3_000, True),
        "checksum.jsonl.zst": (bytes(wrong), 6_000, True),
    }
    for name, (data, least, damaged) in cases.items():
        (tmp_path / name).write_bytes(data)
        counts = ReadCounts()
        found = sum(rows.batch.num_rows for rows in everything(tmp_path / name, counts))
        assert found >= least and (counts.skipped_bytes > 0) == bool(counts.warnings) == damaged, name
        assert counts.skipped_bytes <= len(data)


def test_an_input_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "x" * 1000}] * 20_000)
    (task,) = cut(list_files([InputSettings(path=str(path))]))
    reading = read.read(task, ReadCounts())
    next(reading)
    with open(path, "r+b") as handle:
        handle.truncate(12_000_000)
    with pytest.raises(DataError, match="changed since the run was planned"):
        list(reading)
    path.unlink()
    with pytest.raises(DataError, match="is gone"):
        list(read.read(task, ReadCounts()))


def test_a_damaged_row_group_costs_its_rows_only(tmp_path: Path) -> None:
    texts = [f"text {i * 7919:x}" for i in range(3000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=1000)
    column = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    counts = ReadCounts()
    found = [text for rows in everything(path, counts) for text in rows.batch["text"].to_pylist()]
    assert found == texts[:1000] + texts[2000:]
    assert "1,000 rows from row 1,000 on cannot be read" in counts.warnings[0] and counts.skipped_bytes > 1000


def test_a_column_of_categories_is_carried_as_its_values_in_whole_batches(tmp_path: Path) -> None:
    n = 20_000
    sites = pa.array([f"https://site-{i}.example.test/{'p' * 400}" for i in range(n)])
    table = pa.table({"text": ["short"] * n, "site": sites.dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=n)
    found = [rows.batch for rows in everything(tmp_path / "a.parquet")]
    assert len(found) < 20 and found[0].schema.field("site").type == pa.string()
    assert all(batches.row_bytes(batch) <= batches.BATCH_BYTES for batch in found)
    assert pa.chunked_array([batch["site"] for batch in found]).to_pylist() == sites.to_pylist()


def test_text_that_is_no_utf8_is_mended_and_marked(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xff", b"fine"]).buffers())
    pq.write_table(pa.table({"text": bad, "note": bad}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": pa.array([b"raw \xff", None])}), tmp_path / "b.parquet")
    rows = everything(tmp_path)
    assert [text for r in rows for text in r.batch["text"].to_pylist()] == ["caf\ufffd", "fine", "raw \ufffd", ""]
    assert rows[0].batch["note"].to_pylist() == ["caf\ufffd", "fine"]
    found = [row for r in rows if r.verdicts is not None for row in r.verdicts.to_pylist()]
    assert [(row["rule"], row["action"]) for row in found] == [
        ("read.invalid_utf8", "mark"), (None, None), ("read.invalid_utf8", "mark"), ("read.no_text", None)
    ]  # fmt: skip


def test_lines_nested_too_deeply_and_strange_values_are_rejects_not_crashes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = "[" * 100_000 + "]" * 100_000
    strange = '{"text": "b", "k": NaN, "n": 1e999, "\\ud800": "\\udc00"}'
    path.write_text(f'{{"text": "a", "k": {deep}}}\n{strange}\n{{"text": 5}}\n\ufeff\n')
    assert [rule for rule, *_ in verdicts(path)] == ["read.not_json", None, "read.no_text"]
    assert documents(path)[0]["extra"] == {"k": "nan", "n": "inf", "\ud800": "\udc00"}


def test_every_form_has_a_reader_with_a_version_and_libraries() -> None:
    forms = set(inputs.Format.__args__)  # type: ignore[attr-defined]
    assert set(read.VERSIONS) == set(read.LIBRARIES) == forms
    for form in forms:
        known = reader_identity(form)
        assert known["version"] >= 1 and all(known["libraries"].values())
        assert callable(read._reader(form))
