"""Every stage gives what it gave when its version was set: a changed output without a new version fails here.

A fixture is run through each stage; the digest is of the rows that come out (documents, rejects, products), not of
their files, so that another version of Parquet changes nothing. Where a stage is meant to give something else, raise
its `version` and put the line that the failure prints into GOLDEN.
"""

import hashlib
import json
import random
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import Recipe, Step, single_stage
from curate.stages import STAGES, load

GOLDEN: dict[str, tuple[int, str]] = {
    "url_filter": (1, "e06d2f9ac25f536c"),
    "take_down": (1, "90327303e9229383"),
    "extract": (11, "38fd5dcd0ed6148d"),
    "normalize": (3, "76e18d5cf2f9d535"),
    "langid": (3, "f56e868e01d4a70a"),
    "filter": (3, "ac6bca898e74b6c9"),
    "word_filter": (1, "76975924085ea4d0"),
    "quality": (1, "19748c1f6cc373e1"),
    "label": (1, "e12965cf28a8cc3b"),
    "buckets": (1, "e8c42ebd69e461b5"),
    "redact": (3, "b0541d350cd44c3f"),
    "exact_dedup": (3, "4bd13f3975ff6fa5"),
    "near_dedup": (7, "8396ddb90d7f7436"),
    "semantic_dedup": (1, "d46bdbdcee0743de"),
    "line_dedup": (2, "874eb6c5779d521c"),
    "substring_dedup": (3, "7ae435b1e85d6ae7"),
    "holdout": (1, "eea1c50ad0e29cb0"),
    "decontaminate": (4, "03e79207bf2671b7"),
    "train_tokenizer": (2, "757598b713b4b62a"),
    "tokenize": (4, "9799ddc606eeede8"),
    "mix": (3, "b896e673dbaa3e75"),
}

CONFIG: dict[str, dict[str, Any]] = {
    "langid": {"keep": ["en"]},
    "line_dedup": {"min_count": 2},
    "near_dedup": {"pairs": True, "save_index": True},
    "substring_dedup": {"min_length": 32, "keep_index": True},
    "train_tokenizer": {"vocab_size": 300},
    "holdout": {"share": 0.3},
    "buckets": {"column": "origin_offset", "by": "source", "count": 3, "source_name": "{by}-{bucket}"},
}


def model_file() -> bytes:
    """A fastText classifier of two dimensions that knows two words: river is good, the is bad."""
    made = struct.pack("<14id3iqq", 793712314, 12, 2, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4, 5, 3, 2, 9, -1)
    for word, kind in ((b"river", 0), (b"the", 0), (b"</s>", 0), (b"__label__good", 1), (b"__label__bad", 1)):
        made += word + struct.pack("<bqb", 0, 3, kind)
    for values in ((9.0, 0.0, 0.0, 3.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0)):
        made += struct.pack(f"<bqq{len(values)}f", 0, len(values) // 2, 2, *values)
    return made


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in JSONL and the same as pages in a WARC; lines, addresses and benchmark items among them."""
    folder = tmp_path_factory.mktemp("golden")
    rng = random.Random(11)
    texts = corpus.articles(30, seed=4)
    texts[3] += "\n\nwrite to ann@example.org or 8.8.8.8\n" + "the same footer in several documents\n"
    texts[4] += "\n\nthe same footer in several documents\n"
    texts[5] = "too short"
    texts[6] = "Die Kinder gingen am Fluss entlang nach Hause und sprachen über das Wetter. " * 8
    question = "Which of these statements about the borrow checker of this imaginary language is true?"
    texts[7] += f"\n\n{question}"
    texts[8] = "cafe\u0301\u00a0 x\r\n" + corpus.article(rng)
    rows = [{"text": t, "url": f"https://e.test/{i % 25}", "source": "web", "label": i} for i, t in enumerate(texts)]
    corpus.write_jsonl(folder / "docs/a.jsonl", rows)
    pages = [(f"https://e.test/{i}", corpus.page(t)) for i, t in enumerate(texts)]
    corpus.write_warc(folder / "pages/a.warc", pages, gz=False)  # compressed, its offsets would follow from the dates
    (folder / "lists").mkdir()
    lists = {
        "hosts": "nowhere.test",
        "words": "7\n8",
        "urls": "http://e.test/3?utm_source=x",
        "phrases": "river stone\nso",
    }
    for name, lines in lists.items():
        (folder / "lists" / name).write_text(lines)
    (folder / "model").mkdir()
    (folder / "model/model.bin").write_bytes(model_file())
    card = {"version": 1, "text": "plain", "positive": "good"}
    (folder / "model/card.json").write_text(json.dumps(card))
    corpus.write_jsonl(folder / "items.jsonl", [{"id": "q1", "question": question}])
    return folder


def rows_of(out: Path) -> str:
    """A digest of everything that a run made, as rows in the order of their files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        rel = path.relative_to(out)
        if rel.parts[0] in ("passes", "run.log", "run.yaml", "funnel.json"):
            continue
        if path.suffix == ".parquet":
            content = repr(pq.read_table(path).to_pylist())
        elif path.suffix == ".arrow":
            content = repr(pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist())
        else:
            content = path.read_text()
            if path.name == "manifest.json":  # it holds checksums of files
                found = json.loads(content)
                content = repr([{k: v for k, v in f.items() if k not in ("sha256", "bytes")} for f in found["files"]])
        digest.update(f"{rel}\n{content}\n".encode())
    return digest.hexdigest()[:16]


def recipe_of(name: str, fixture: Path) -> Recipe:
    """The stage alone; tokenize and mix with what they need before them."""
    CONFIG["url_filter"] = {"domains": [str(fixture / "lists/hosts")], "words": [str(fixture / "lists/words")]}
    CONFIG["take_down"] = {"urls": [str(fixture / "lists/urls")], "sites": [str(fixture / "lists/hosts")]}
    CONFIG["word_filter"] = {"lists": [str(fixture / "lists/phrases")], "action": "replace"}
    CONFIG["quality"] = {"model": str(fixture / "model"), "keep": "above", "min_score": 0.3}
    CONFIG["label"] = {"model": str(fixture / "model"), "name": "kind"}
    CONFIG["decontaminate"] = {"benchmarks": [str(fixture / "items.jsonl")]}
    before = {"tokenize": ["train_tokenizer"], "mix": ["train_tokenizer", "tokenize"]}.get(name, [])
    inputs = [InputSettings(path=str(fixture / ("pages" if name == "extract" else "docs")))]
    steps = []
    for one in (*before, name):
        stage = load(one)
        steps.append(Step(one, stage, stage.config.model_validate(CONFIG.get(one, {}))))
    return (
        Recipe(tuple(inputs), tuple(steps), guard="off") if before else single_stage(name, CONFIG.get(name, {}), inputs)
    )


@pytest.mark.parametrize("name", [entry.name for entry in STAGES])
def test_a_stage_gives_what_its_version_gave(name: str, fixture: Path, tmp_path: Path, inline: None) -> None:
    outcome = driver.run(recipe_of(name, fixture), tmp_path)
    assert outcome.exit_code == 0, outcome.failures
    now = (load(name).version, rows_of(tmp_path))
    assert GOLDEN.get(name) == now, f'another output, or another version: "{name}": {now},'.replace("'", '"')
