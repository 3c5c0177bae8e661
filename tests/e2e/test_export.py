"""`curate export`: what other readers find in the files, which documents in which order, and what a kill leaves."""

import csv
import gzip
import hashlib
import itertools
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from conftest import Finished
from curate.config import parse_yaml
from curate.errors import ConfigError
from curate.export import export as exporting
from curate.export.export import export
from curate.export.order import Documents, mixed
from curate.export.settings import ExportSettings
from curate.mixture import Mixture
from curate.run import driver
from curate.run.recipe import resolve
from inline import Inline

ODD = ['a "quoted" word', "two\nlines\r\nthree", "comma, né 🙂", "\ttab", "NaN", "null"]
HALF = {"weights": {"web": 0.5, "book": 0.5}, "max_epochs": 2}


def run(folder: Path, name: str, *steps: Any) -> Path:
    inputs = [{"path": str(folder / "in/web.jsonl"), "source": "web"}]
    inputs.append({"path": str(folder / "in/book.parquet"), "source": "book"})
    text = json.dumps({"version": 1, "inputs": inputs, "steps": list(steps)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "open_executor", lambda *_: Inline())
        assert driver.run(resolve(parse_yaml(text, "r.yaml")), folder / name).exit_code == 0
    return folder / name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `mixed`, `plain` (no mixture) and `texts` (no tokens) over the same 60 documents."""
    folder = tmp_path_factory.mktemp("export")
    texts = corpus.articles(54, seed=3)
    rows = [{"text": text, "url": f"https://e.test/{i}", "mine": [i, None]} for i, text in enumerate(texts[:34])]
    rows += [{"text": text} for text in ODD]
    corpus.write_jsonl(folder / "in/web.jsonl", rows)
    table = {"text": texts[34:], "tags": [["a", None]] * 20, "grade": pa.array([0.1] * 20, pa.float32())}
    table |= {"seen": pa.array([1_700_000_000_123_456_789] * 20, pa.timestamp("ns"))}
    pq.write_table(pa.table(table), folder / "in/book.parquet")
    tokens = ({"train_tokenizer": {"vocab_size": 300}}, "tokenize")
    run(folder, "mixed", *tokens, {"mix": HALF})
    run(folder, "plain", {"holdout": {"share": 0.2}}, *tokens)
    run(folder, "texts", "normalize")
    return folder


def exported(made: Path, name: str, out: Path, **options: Any) -> list[Path]:
    """The files of an export, checked against its manifest."""
    export(made / name, ExportSettings(**options), out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["finished"] and not (out / "parts").exists()
    named = [one for entry in manifest["files"] for one in (entry, entry.get("order"), entry.get("index")) if one]
    for entry in named:
        content = (out / entry["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    there = {path.name for path in out.iterdir()} - {"manifest.json", "tokenizer.json"}
    assert there == {entry["path"] for entry in named}
    return [out / entry["path"] for entry in manifest["files"]]


def documents(run: Path, place: str = "documents") -> list[dict[str, Any]]:
    return [row for path in sorted((run / place).glob("*.parquet")) for row in read_rows(path)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    names = [name for name in table.schema.names if name != "seen"]  # nanoseconds are no Python time
    return table.select(names).to_pylist()


# -- documents -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "opened"), [("jsonl", open), ("jsonl.gz", gzip.open), ("jsonl.zst", zstandard.open)], ids=str
)
def test_json_lines_hold_every_column(made: Path, tmp_path: Path, form: str, opened: Callable[..., Any]) -> None:
    files = exported(made, "texts", tmp_path / "out", to=form, documents=25)
    assert [path.name for path in files] == [f"documents-{n:05}.{form}" for n in range(3)]
    lines = [line for path in files for line in opened(path, "rt", encoding="utf-8", newline="\n")]
    wanted = documents(made / "texts")
    assert len(lines) == len(wanted) == 60
    for line, row in zip(lines, wanted, strict=True):
        found = json.loads(line)
        assert found["text"] == row["text"] and found["doc_id"] == row["doc_id"].hex() and found["url"] == row["url"]
        assert found["extra"] == (row["extra"] and json.loads(row["extra"]))  # an object, not its text
        assert found["tags"] == row["tags"]
        assert (found["grade"], found["seen"]) in ((None, None), (0.1, "2023-11-14T22:13:20.123456789"))
    assert any(json.loads(line)["extra"] == {"mine": [3, None]} for line in lines)


def test_csv_tells_null_from_empty_and_names_what_does_not_fit(made: Path, tmp_path: Path) -> None:
    (path,) = exported(made, "texts", tmp_path / "out", to="csv")
    wanted = documents(made / "texts")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [row["text"] for row in wanted]
    assert [row["url"] for row in rows] == [row["url"] or "" for row in wanted]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert list(manifest["columns_left_out"]) == ["tags"] and "tags" not in rows[0]
    options = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
    table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=options)
    assert table.column("text").to_pylist() == [row["text"] for row in wanted]
    assert table.column("url").to_pylist() == [row["url"] for row in wanted]
    with pytest.raises(ConfigError, match="--columns tags: csv cannot hold it: a cell holds no list"):
        export(made / "texts", ExportSettings(to="csv", columns=("tags",)), tmp_path / "no")


def test_webdataset_has_a_text_and_its_record_a_sample(made: Path, tmp_path: Path) -> None:
    files = exported(made, "texts", tmp_path / "out", to="webdataset", size=30_000, columns=("url",))
    assert all(path.stat().st_size >= 30_000 for path in files[:-1]) and len(files) > 1
    samples = []
    for path in files:
        with tarfile.open(path) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        assert len(members) % 2 == 0
        for (name, text), (beside, record) in zip(members[::2], members[1::2], strict=True):
            assert name.removesuffix(".txt") == beside.removesuffix(".json")
            samples.append((name.removesuffix(".txt"), text.decode(), json.loads(record)))
    rows = documents(made / "texts")
    known = [(r["doc_id"].hex(), r["text"], {"doc_id": r["doc_id"].hex(), "url": r["url"]}) for r in rows]
    assert samples == known


def test_the_heldout_lane_is_an_export_of_its_own(made: Path, tmp_path: Path) -> None:
    aside = documents(made / "plain", "heldout/documents")
    (path,) = exported(made, "plain", tmp_path / "a", to="jsonl", lane="heldout", columns=("text",))
    assert path.name == "heldout-documents-00000.jsonl" and 0 < len(aside) < 60
    assert [json.loads(line) for line in path.open()] == [{"text": row["text"]} for row in aside]
    (path,) = exported(made, "plain", tmp_path / "b", to="bin", lane="heldout")
    assert len(pq.read_table(tmp_path / "b/heldout-tokens-00000.order.parquet")) == len(aside)


# -- tokens ----------------------------------------------------------------------------------------------------


def shards(run: Path) -> dict[str, list[list[int]]]:
    """Token ids of every document, by source, in the order of the manifest."""
    found: dict[str, list[list[int]]] = {}
    for file in json.loads((run / "tokens/manifest.json").read_text())["files"]:
        table = pa.ipc.open_file(pa.memory_map(str(run / "tokens" / file["path"]))).read_all()
        found.setdefault(file["source"], []).extend(table.column("tokens").to_pylist())
    return found


def test_without_a_mixture_bin_is_the_shards_one_after_the_other(made: Path, tmp_path: Path) -> None:
    files = exported(made, "plain", tmp_path / "out", to="bin", tokens=1000)
    found = shards(made / "plain")
    wanted = [document for source in sorted(found) for document in found[source]]
    parts = [np.memmap(path, dtype="<u2", mode="r") for path in files]
    assert np.concatenate(parts).tolist() == [token for document in wanted for token in document]
    end = json.loads((tmp_path / "out/manifest.json").read_text())["end_of_document"]
    assert all(part[-1] == end and len(part) >= 1000 for part in parts[:-1]) and len(parts) > 3
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (made / "plain/tokenizer.json").read_bytes()


def read_indexed(path: Path) -> list[list[int]]:
    """Sequences of a .bin by its .idx, as readers of that form find them."""
    index, ids = path.with_suffix(".idx").read_bytes(), path.read_bytes()
    assert index[:9] == b"MMIDIDX\0\0" and index[9:17] == (1).to_bytes(8, "little")
    kind = {4: "<i4", 8: "<u2"}[index[17]]
    sequences, documents = np.frombuffer(index, "<u8", 2, 18).tolist()
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    starts = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    ends = np.frombuffer(index, "<i8", documents, 34 + 12 * sequences)
    assert ends.tolist() == list(range(sequences + 1)) and len(index) == 34 + 12 * sequences + 8 * documents
    return [np.frombuffer(ids, kind, n, at).tolist() for n, at in zip(lengths, starts, strict=True)]


def test_megatron_has_the_documents_of_the_mixture_in_its_order(made: Path, tmp_path: Path) -> None:
    files = exported(made, "mixed", tmp_path / "out", to="megatron", documents=20)
    found = shards(made / "mixed")
    sequences = [sequence for path in files for sequence in read_indexed(path)]
    order = [row for path in files for row in pq.read_table(path.with_suffix(".order.parquet")).to_pylist()]
    assert len(sequences) == len(order) and [len(s) for s in sequences] == [row["n_tokens"] for row in order]
    places: Counter[str] = Counter()
    for sequence, row in zip(sequences, order, strict=True):
        epoch, place = divmod(places[row["source"]], len(found[row["source"]]))
        assert sequence == found[row["source"]][place] and row["epoch"] == epoch
        places[row["source"]] += 1
    given = Counter({name: sum(row["n_tokens"] for row in order if row["source"] == name) for name in places})
    due = sum(len(document) for documents in found.values() for document in documents) / 2
    longest = max(len(document) for documents in found.values() for document in documents)
    assert all(due <= tokens < due + longest for tokens in given.values())
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["mixture"]["phases"][0]["weights"] == HALF["weights"]
    for name, entry in manifest["sources"].items():
        assert (entry["documents_written"], entry["tokens_written"]) == (places[name], given[name])
        assert entry["documents_left_out"] == max(0, len(found[name]) - places[name])


LENGTHS = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1)


def batches(lengths: dict[str, list[int]], source: str, epoch: int, size: int) -> Iterator[Documents]:
    """Documents of which the i-th of a source holds its own number i, in batches of `size`."""
    for start in range(0, len(lengths[source]), size):
        part = np.array(lengths[source][start : start + size])
        ids = pa.array([bytes([start + i]) * 16 for i in range(len(part))], pa.binary(16))
        values = np.repeat(np.arange(start, start + len(part)), part).astype("u2")
        yield Documents(source, epoch, ids, np.concatenate([[0], np.cumsum(part)]), values)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 5), st.lists(st.integers(1, 9), min_size=3, max_size=3), st.integers(1, 300))
def test_every_stretch_of_a_phase_holds_the_weights(
    lengths: dict[str, list[int]], size: int, weights: list[int], tokens: int
) -> None:
    shares = {name: weight / 10 for name, weight in zip(sorted(lengths), weights, strict=False)}
    phase = {"name": "a", "tokens": tokens, "weights": shares}
    mixture = Mixture(version=1, phases=[phase, {**phase, "name": "b"}])  # type: ignore[list-item]
    available = {name: sum(found) for name, found in lengths.items()}
    runs = list(mixed(mixture, available, lambda source, epoch: batches(lengths, source, epoch, size)))
    given_tokens: Counter[str] = Counter()
    order = [
        (r.source, r.epoch, int(n), int(v))
        for r in runs
        for n, v in zip(np.diff(r.starts), first_values(r), strict=True)
    ]
    seen: Counter[str] = Counter()
    for source, epoch, length, value in order:
        # Documents of a source come in the order of its shards, epoch after epoch.
        assert divmod(seen[source], len(lengths[source])) == (epoch, value)
        seen[source] += 1
        given_tokens[source] += length
    longest = max(max(found) for found in lengths.values())
    for name, share in shares.items():
        due = 2 * tokens * share / sum(shares.values())
        # Each of the two phases may be one document over; due is whole tokens.
        assert due - 2 <= given_tokens[name] <= due + 2 * longest + 2


def first_values(run: Documents) -> list[int]:
    """The first token of each document, after a check that its others are the same."""
    parts = [run.values[start:end] for start, end in itertools.pairwise(run.starts)]
    assert all(len(set(part.tolist())) == 1 for part in parts)
    return [int(part[0]) for part in parts]


@settings(deadline=None, max_examples=40)
@given(LENGTHS)
def test_a_mixture_of_one_epoch_with_rounded_weights_writes_every_document_once(lengths: dict[str, list[int]]) -> None:
    available = {name: sum(found) for name, found in lengths.items()}
    total = sum(available.values())
    weights = {name: round(count / total, 6) for name, count in available.items()}
    mixture = Mixture(version=1, phases=[{"name": "main", "tokens": total, "weights": weights}])  # type: ignore[list-item]
    runs = list(mixed(mixture, available, lambda source, epoch: batches(lengths, source, epoch, 4)))
    assert Counter({n: sum(r.documents for r in runs if r.source == n) for n in lengths}) == Counter(
        {name: len(found) for name, found in lengths.items()}
    )
    assert all(run.epoch == 0 for run in runs)


# -- again, and refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl.zst", "megatron"])
def test_a_stopped_export_goes_on_and_gives_the_same_bytes(
    made: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        p.name: p.read_bytes()
        for p in (exported(made, "mixed", tmp_path / "a", to=form, documents=9), tmp_path / "a")[1].iterdir()
    }
    monkeypatch.setattr(exporting, "WATCHED", 1)

    def stop(done: exporting.Exported) -> None:
        if len(done.files) == 3:
            raise KeyboardInterrupt

    out = tmp_path / "b"
    options = ExportSettings(to=form, documents=9)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        export(made / "mixed", options, out, stop)
    assert not json.loads((out / "manifest.json").read_text())["finished"]
    (out / ".tmp-0123abcd-documents-00003").write_bytes(b"left by a kill")
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*-0000[012].*")}
    assert export(made / "mixed", options, out).kept == 3
    assert {p.name: p.read_bytes() for p in out.iterdir()} == wanted
    assert kept == {path.name: path.stat().st_mtime_ns for path in out.glob("*-0000[012].*")}
    # Once more: nothing to do. A file that is gone is made again.
    assert export(made / "mixed", options, out).kept == len(
        list(tmp_path.glob("a/*-0000?.bin" if form == "megatron" else "a/*.zst"))
    )
    next(out.glob("*-00001.*")).unlink()
    assert export(made / "mixed", options, out).kept == 1
    assert {p.name: p.read_bytes() for p in out.iterdir()} == wanted


def test_refusals_say_what_to_do(made: Path, tmp_path: Path, said: Callable[..., Finished]) -> None:
    def refused(*arguments: Any) -> str:
        done = said("export", *arguments)
        assert done.code == 2 and not done.out, (done.code, done.out, done.err)
        return " ".join(done.err.split())

    texts, out = made / "texts", tmp_path / "out"
    assert "'webdataset', 'bin' or 'megatron', found 'parquet'" in refused(texts, "--to", "parquet", "--out", out)
    assert "no run is here" in refused(made / "in", "--to", "csv", "--out", out)
    assert "add the step tokenize" in refused(texts, "--to", "bin", "--out", out)
    assert "give one of them" in refused(texts, "--to", "csv", "--size", "1MB", "--documents", 3, "--out", out)
    assert "give --size or --documents" in refused(texts, "--to", "csv", "--tokens", 3, "--out", out)
    assert 'did you mean "text"?' in refused(texts, "--to", "csv", "--columns", "txet", "--out", out)
    assert "no documents that holdout set aside" in refused(texts, "--to", "csv", "--lane", "heldout", "--out", out)
    assert "inside of the run's folder" in refused(texts, "--to", "csv", "--out", texts / "documents")
    assert not out.exists()
    assert "holds no export (book.parquet is there)" in refused(texts, "--to", "csv", "--out", made / "in")
    assert said("export", texts, "--to", "csv", "--out", out, "--json").json["documents"] == 60
    assert "holds an export with another form" in refused(texts, "--to", "jsonl", "--out", out)
    assert "an export of another run" in refused(made / "plain", "--to", "csv", "--out", out)
    funnel = (texts / "funnel.json").read_bytes()
    (texts / "funnel.json").unlink()
    assert "not finished (unfinished)" in refused(texts, "--to", "csv", "--out", tmp_path / "new")
    (texts / "funnel.json").write_bytes(funnel)
