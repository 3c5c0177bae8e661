"""`curate audit dedup`: planted copies are found as theory says, and what is reported is alike."""

import json
import random
from pathlib import Path
from typing import Any

import corpus


def test_planted_copies_are_found_as_theory_says(curate: Any, tmp_path: Path) -> None:
    rng = random.Random(4)
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": corpus.article(rng, 30)}) + "\n" for _ in range(300)))
    done = curate(
        "audit", "dedup", path, "--out", tmp_path / "audit", "--sample", 270, "--set", "min_jaccard=0.6", "--json"
    )
    assert done.code == 0, done.err
    facts = done.json
    assert facts["documents"] == 270 and facts["precision"] >= 0.99
    for line in facts["lines"]:
        error = (max(line["theory"] * (1 - line["theory"]), 0.01) / line["planted"]) ** 0.5
        assert abs(line["recall"] - line["theory"]) < 4 * error + 0.02, line
    names = [line["pairs"] for line in facts["lines"]]
    assert "edited 0.7" in names and "re-cased" in names


def test_an_input_without_long_documents_is_told(curate: Any, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "short"}\n')
    done = curate("audit", "dedup", path, "--out", tmp_path / "audit")
    assert done.code == 2 and "no document of the input has 80 words" in done.err
