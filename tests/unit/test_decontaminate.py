"""Which documents hold a benchmark item, and what an item is."""

from pathlib import Path

import pyarrow as pa
import pytest

import corpus
from curate import schema
from curate.errors import ConfigError
from curate.stages import decontaminate
from curate.stages.protocol import SideFile


def batch(*texts: str) -> pa.RecordBatch:
    ids = pa.array([i.to_bytes(16) for i in range(len(texts))], schema.DOC_ID)
    return schema.conform(pa.RecordBatch.from_pydict({"doc_id": ids, "text": list(texts)}), schema.DOCUMENT)


class Files:
    """A file of benchmark items, or the table of n-grams made from it."""

    def __init__(self, grams: pa.Table | None = None, path: Path | None = None) -> None:
        self.grams, self.item_file = grams, path

    def table(self, name: str) -> pa.Table:
        return self.grams

    def files(self, name: str) -> list[SideFile]:
        path = self.item_file
        return [SideFile(path, path.name, 0, path.stat().st_size, "")] if path else []


def test_an_item_is_found_an_item_however_it_is_wrapped(tmp_path: Path) -> None:
    question = "Which of these statements about the borrow checker of this imaginary language is true in general?"
    item = {"id": "q1", "question": question, "choices": ["It runs at night.", "It has three wheels and a bell."]}
    short = {"id": "q2", "question": "Too short?", "choices": ["a", "b"]}
    path = corpus.write_jsonl(tmp_path / "items.jsonl", [item, short])
    config = decontaminate.Decontaminate(benchmarks=[str(path)])
    grams = decontaminate.index(config, Files(path=path))["grams"]
    state = decontaminate.State(config, Files(grams))  # type: ignore[arg-type]
    wrapped = "Intro words.\n" + question.upper().replace(" ", "\n") + " And more text follows here."
    found = decontaminate.scan(batch(wrapped, "a clean document", question[:50], "Too short?"), state).verdicts
    assert found is not None
    assert found.column("rule").to_pylist() == ["decontaminate.ngram", None, None, None]
    assert found.column("value")[0].as_py() >= 3 and found.column("detail")[0].as_py() == "items.jsonl:q1"


def test_a_benchmark_file_without_the_fields_is_refused(tmp_path: Path) -> None:
    path = corpus.write_jsonl(tmp_path / "items.jsonl", [{"prompt": "x"}])
    with pytest.raises(ConfigError, match="the item has: prompt"):
        decontaminate.index(decontaminate.Decontaminate(benchmarks=[str(path)]), Files(path=path))


def test_no_grams_find_nothing() -> None:
    state = decontaminate.State(decontaminate.Decontaminate(benchmarks=["x"]), Files(pa.table({})))  # type: ignore[arg-type]
    found = decontaminate.scan(batch("some text"), state).verdicts
    assert found is not None and found.column("rule").to_pylist() == [None]
