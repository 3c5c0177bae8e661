"""`curate audit`: planted copies are found as theory says, and planted benchmark items as the rule promises."""

import json
import random
from pathlib import Path
from typing import Any

import corpus
from curate.audits.decontaminate import audit_decontaminate
from curate.io.inputs import InputSettings
from curate.stages.decontaminate import Decontaminate


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


def items(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Questions of 20 words, of some 8,000 that there are, with four options."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]

    def sentence(words: int) -> str:
        made = ["".join(rng.choices(syllables, k=2)) if rng.random() < 0.7 else corpus.sentence(rng, 1).lower()
                for _ in range(words)]  # fmt: skip
        return " ".join(made).capitalize()

    return [
        {"id": f"q{i}", "question": sentence(20) + "?", "choices": [sentence(4) for _ in range(4)], "answer": i % 4}
        for i in range(count)
    ]


def test_planted_items_are_found_and_nothing_else(inline: None, tmp_path: Path) -> None:
    rng = random.Random(6)
    bench = corpus.write_jsonl(tmp_path / "bench.jsonl", items(rng, 40))
    docs = corpus.write_jsonl(tmp_path / "docs.jsonl", [{"text": corpus.article(rng, 12)} for _ in range(60)])
    facts = audit_decontaminate(
        [InputSettings(path=str(docs))], Decontaminate(benchmarks=[str(bench)]), tmp_path / "audit",
        size=20, workers=1, seed=1,
    )  # fmt: skip
    assert facts["items"] == 20 and facts["precision"] == 1
    recall = {line["kind"]: line["recall"] for line in facts["lines"] if line["words"] == "all"}
    loose = {"retyped": 0.9, "5 % edits": 0.95, "10 % edits": 0.9, "embedded, 10 % edits": 0.85}
    assert len(recall) == 11 and not {kind: found for kind, found in recall.items() if found < loose.get(kind, 1)}
    assert {family["found"] for family in facts["families"]} == {0}
    assert {family["documents"] for family in facts["families"]} == {40, 60}


def test_the_audit_shows_what_another_rule_misses(curate: Any, tmp_path: Path) -> None:
    rng = random.Random(7)
    bench = corpus.write_jsonl(tmp_path / "bench.jsonl", items(rng, 2))
    docs = corpus.write_jsonl(tmp_path / "docs.jsonl", [{"text": corpus.article(rng, 12)} for _ in range(3)])
    done = curate("audit", "decontaminate", docs, "--benchmarks", bench, "--sample", 2, "--set", "rule=paragraph",
                  "--out", tmp_path / "audit", "--workers", 1)  # fmt: skip
    assert done.code == 0, done.err
    recall = {line[:20].strip(): line.split()[-1] for line in done.out.splitlines() if " all " in line}
    assert (recall["own paragraph"], recall["wrapped"]) == ("1.000", "0.000")
    missing = curate("audit", "decontaminate", docs, "--benchmarks", tmp_path / "no.jsonl", "--out", tmp_path / "x")
    assert missing.code == 2 and "no.jsonl" in missing.err


def test_decontamination_is_the_same_for_any_number_of_workers(curate: Any, tmp_path: Path) -> None:
    rng = random.Random(8)
    made = items(rng, 30)
    bench = corpus.write_jsonl(tmp_path / "bench.jsonl", made)
    for part in range(4):
        texts = [corpus.article(rng, 12) for _ in range(20)]
        texts[part] += "\n\n" + made[part]["question"]
        corpus.write_jsonl(tmp_path / f"in/{part}.jsonl", [{"text": text} for text in texts])
    outs = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        done = curate("decontaminate", tmp_path / "in", "--benchmarks", bench, "--action", "cut", "--out", out,
                      "--workers", workers)  # fmt: skip
        assert done.code == 0, done.err
        files = [*sorted(out.glob("documents/*")), *sorted(out.glob("rejects/*")), *sorted(out.glob("contamin*"))]
        outs.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert outs[0] == outs[1]
    facts = json.loads(outs[0]["contamination.json"])
    assert facts["benchmarks"][0]["sure"] == 4
