"""Every stage gives what it gave when its version was set: a changed output without a new version fails here.

A fixture is run through each stage; the digest is of the rows that come out (documents, rejects, products), not of
their files, so that another version of Parquet changes nothing. Where a stage is meant to give something else, raise
its `version` and put the line that the failure prints into GOLDEN.
"""

import hashlib
import json
import random
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
from inline import Inline

GOLDEN: dict[str, tuple[int, str]] = {
    "extract": (5, "5962432a27c8fca5"),
    "normalize": (1, "996e747c5f13836a"),
    "langid": (2, "b8a8c4b7f02f291b"),
    "filter": (1, "58fea4775aabdcaa"),
    "redact": (2, "d3d54e43ba8c1b7b"),
    "exact_dedup": (3, "7333cf00d5ed51c6"),
    "near_dedup": (6, "12e422a3de629d31"),
    "semantic_dedup": (1, "cf5350d6e7786a36"),
    "line_dedup": (2, "a20b408b34bf9933"),
    "substring_dedup": (1, "493b521f287dcc0c"),
    "holdout": (1, "57fe50d3fa72e1c4"),
    "decontaminate": (3, "4810d5c232553d66"),
    "train_tokenizer": (2, "ff15221c6fc58299"),
    "tokenize": (4, "4ca3dc38936aa893"),
    "mix": (2, "876ea14c15ae41b7"),
}

CONFIG: dict[str, dict[str, Any]] = {
    "langid": {"keep": ["en"]},
    "line_dedup": {"min_count": 2},
    "near_dedup": {"pairs": True, "save_index": True},
    "substring_dedup": {"min_length": 32, "keep_index": True},
    "train_tokenizer": {"vocab_size": 300},
    "holdout": {"share": 0.3},
}


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
def test_a_stage_gives_what_its_version_gave(
    name: str, fixture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "open_executor", lambda *_: Inline())
    outcome = driver.run(recipe_of(name, fixture), tmp_path)
    assert outcome.exit_code == 0, outcome.failures
    now = (load(name).version, rows_of(tmp_path))
    assert GOLDEN.get(name) == now, f'another output, or another version: "{name}": {now},'.replace("'", '"')
