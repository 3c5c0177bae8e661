"""Every stage takes time in proportion to its text, whatever the text.

Texts are the torture pages of the extractor, taken as they are, and texts that regular expressions and splitters like
least. Each is measured at n and at 4 n bytes: what is quadratic takes sixteen times as long, and is let through only
where it is too short to be told from noise.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import corpus
from curate import schema
from curate.stages import decontaminate, exact_dedup, filter, holdout, langid, line_dedup, near_dedup, normalize, redact
from curate.stages import train_tokenizer as training
from curate.stages.protocol import SideFile
from torture import PAGES

N = 30_000
NOISE = 0.06  # seconds of CPU time
RATIO = 10.0  # of the times at 4 n and n: 4 is linear, 16 quadratic

TEXTS: dict[str, Callable[[int], str]] = {
    "dots": lambda n: "." * n,
    "quotes": lambda n: '."' * (n // 2),
    "spaces": lambda n: " " * n + "x",
    "tabs_and_line_ends": lambda n: "\t \n" * (n // 3),
    "ideographic_stops": lambda n: "。" * (n // 3),
    "at_signs": lambda n: "a@" * (n // 2),
    "almost_addresses": lambda n: "a.b-c." * (n // 6) + "@",
    "digits": lambda n: "1." * (n // 2),
    "colons": lambda n: "::f" * (n // 3),
    "combining_marks": lambda n: "a" + "\u0301\u0327" * (n // 4),
    "one_word": lambda n: "x" * n,
    "one_line_of_words": lambda n: "word " * (n // 5),
    "carriage_returns": lambda n: "\r" * n,
    "zero_widths": lambda n: "\u200b" * (n // 3),
    "url": lambda n: "http://a.test/" + "%41&a=b" * (n // 7),
}


def column(n: int) -> Iterator[tuple[str, str]]:
    for name, page in PAGES.items():
        yield name, page(n).decode("utf-8", "replace")
    for name, text in TEXTS.items():
        yield name, text(n)


def batch(text: str) -> pa.RecordBatch:
    data = {"doc_id": pa.array([b"0" * 16], schema.DOC_ID), "text": [text], "url": [text[:2000]], "source": ["web"],
            "origin_file": ["f"], "origin_offset": [0]}  # fmt: skip
    return schema.conform(pa.RecordBatch.from_pydict(data), schema.DOCUMENT)


class Index:
    """What decontaminate's phase scan reads: an index of one item, without weights of its own."""

    allowed = ()

    def __init__(self) -> None:
        item = {"question": corpus.sentence(random.Random(1), 40), "choices": ["one choice", "another one"]}
        with tempfile.TemporaryDirectory() as folder:
            path = corpus.write_jsonl(Path(folder) / "items.jsonl", [item])
            self.path = path
            config = decontaminate.Decontaminate(benchmarks=[str(path)])
            self.tables = {f"index.{k}": v for k, v in decontaminate.index(config, self) if isinstance(v, pa.Table)}  # type: ignore[arg-type]
        weight = pa.array([2000] * self.tables["index.words"].num_rows, pa.uint16())
        self.tables["weigh.weights"] = pa.table({"weight": weight})

    def files(self, name: str) -> list[SideFile]:
        return [SideFile(self.path, self.path.name, 0, 0, "")]

    def table(self, name: str) -> pa.Table:
        return self.tables[name]


def stages() -> dict[str, Callable[[pa.RecordBatch], Any]]:
    nothing = Index()
    blank = normalize.State(normalize.Normalize())
    model = langid.open_state(langid.LangId(), nothing)
    rules = filter.State(filter.Filter(), nothing)
    values = redact.State(redact.Redact())
    scan = decontaminate.open_index(decontaminate.Decontaminate(benchmarks=["x"]), nothing)
    found: dict[str, Callable[[pa.RecordBatch], Any]] = {
        "normalize": lambda b: normalize.apply(b, blank),
        "langid": lambda b: langid.apply(b, model),
        "filter": lambda b: filter.apply(b, rules),
        "redact": lambda b: redact.apply(b, values),
        "holdout": lambda b: holdout.apply(b, holdout.Holdout()),
        "near_dedup": lambda b: near_dedup.sign(b, near_dedup.NearDedup()),
        "decontaminate": lambda b: decontaminate.scan(b, scan),
        "train_tokenizer": lambda b: training.count(b, training.TrainTokenizer()),
    }
    for of in ("raw", "normalized"):
        found[f"exact_dedup {of}"] = lambda b, of=of: exact_dedup.hash_texts(b, exact_dedup.ExactDedup(of=of))
    found["exact_dedup url"] = lambda b: exact_dedup.hash_texts(b, exact_dedup.ExactDedup(by="url"))
    for unit in ("line", "paragraph", "sentences"):
        found[f"line_dedup {unit}"] = lambda b, unit=unit: line_dedup.count(b, line_dedup.LineDedup(unit=unit))
    return found


def seconds(function: Callable[[pa.RecordBatch], Any], rows: pa.RecordBatch) -> float:
    """CPU time, the less of two tries."""
    tries = []
    for _ in range(2):
        start = time.process_time()
        function(rows)
        tries.append(time.process_time() - start)
        if tries[0] < NOISE / RATIO:
            break
    return min(tries)


@pytest.mark.parametrize("size", [N, pytest.param(20 * N, marks=pytest.mark.slow)])
def test_every_stage_takes_time_in_proportion_to_its_text(size: int) -> None:
    slow, ready = [], stages()
    for (name, small), (_, large) in zip(column(size), column(4 * size), strict=True):
        one, four = batch(small), batch(large)
        for stage, function in ready.items():
            after = seconds(function, four)
            if after > NOISE and after > RATIO * seconds(function, one):
                slow.append(f"{stage} on {name}: {seconds(function, one):.3f} s at {size:,}, {after:.3f} s at 4 times")
    assert not slow
