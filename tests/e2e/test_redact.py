"""redact in a run: nothing that it replaces is left in any file of rejects, and a mark costs what it holds."""

import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import corpus
from curate.config import parse_yaml
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import Recipe, resolve, single_stage

VALUES = {
    "email": "ann.example@mail.example.org", "ip": "93.184.216.34", "phone": "+1 212-555-0143",
    "card": "4111 1111 1111 1111", "iban": "GB82 WEST 1234 5698 7654 32", "ssn": "514-69-0360",
    "mac": "00:1A:2B:3C:4D:5E", "wallet": "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
    "api_key": "ghp_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("inline")


def recipe(path: Path, *steps: Any, **more: Any) -> Recipe:
    text = json.dumps({"version": 1, "inputs": [{"path": str(path)}], "steps": list(steps), **more})
    return resolve(parse_yaml(text, "r.yaml"))


def alone(config: dict[str, Any], path: Path) -> Recipe:
    return single_stage("redact", config, [InputSettings(path=str(path))])


def rows_of(out: Path, place: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / place).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def documents(out: Path) -> list[dict[str, Any]]:
    return sorted(rows_of(out, "documents"), key=lambda row: (row["origin_file"], row["origin_offset"]))


def rejects(out: Path) -> list[dict[str, Any]]:
    return rows_of(out, "rejects")


def written(out: Path) -> str:
    """All that rejects say, and the texts of documents; other columns of documents are the user's."""
    rows = [
        rejects(out),
        *([row["text"] for row in rows_of(out, place)] for place in ("documents", "heldout/documents")),
    ]
    return json.dumps(rows, default=str, ensure_ascii=False)


def test_no_file_of_a_run_holds_a_value_of_any_type(tmp_path: Path) -> None:
    """In rejects of steps before and behind redact, in marks, in what is set aside: at the beginning of a text, across
    the end of an excerpt, in a URL."""
    rng = random.Random(5)
    rows = []
    for value in VALUES.values():
        rows += [{"text": f"{value} {corpus.article(rng)}", "url": f"https://a.test/?q={value.replace(' ', '')}"},
                 {"text": f"at {value}, too short"}]  # fmt: skip
        rows += [{"text": "word " * k + f"{value} and more words"} for k in (37, 39)]
    corpus.write_jsonl(tmp_path / "in/a.jsonl", rows + rows[:3])
    steps = ["normalize", {"filter": {"limits": {"gopher.min_words": 50}}}, {"line_dedup": {"min_count": 2}},
             {"redact": {"types": [*VALUES, "private_key"]}}, "exact_dedup", {"holdout": {"share": 0.3}}]  # fmt: skip
    outcome = driver.run(recipe(tmp_path / "in", *steps, keep="none"), tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    found = written(tmp_path / "out")
    for kind, value in VALUES.items():
        assert value not in found and value.replace(" ", "") not in found, kind
        assert f"<{kind.upper()}_1>" in found and f"<{kind.upper()}>" in found
    assert {row["stage"] for row in rejects(tmp_path / "out")} >= {"filter", "redact"}


def test_borders_of_addresses(tmp_path: Path) -> None:
    texts = {
        "IP:93.184.216.34 logged in": "IP:<IP_1> logged in",
        "client:2606:4700:4700::1111 ok": "client:<IP_1> ok",
        "mapped ::ffff:93.184.216.34 here": "mapped <IP_1> here",
        "nat64 64:ff9b::93.184.216.34 here": "nat64 <IP_1> here",
        "info@müller.example": "<EMAIL_1>",
        "иван@пример.рф": "<EMAIL_1>",
    }
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    driver.run(alone({}, tmp_path / "a.jsonl"), tmp_path / "out")
    assert [row["text"] for row in documents(tmp_path / "out")] == list(texts.values())


PEAK = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import single_stage
from inline import Inline
driver.open_executor = lambda *_: Inline()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
recipe = single_stage({stage!r}, {config!r}, [InputSettings(path={data!r})])
outcome = driver.run(recipe, {out!r})
assert outcome.exit_code == 0, outcome.failures
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def peak(stage: str, config: dict[str, Any], data: Path, out: Path) -> int:
    """Bytes that a run of one stage takes at its peak, above what its process had before."""
    code = PEAK.format(path=sys.path, stage=stage, config=config, data=str(data), out=str(out))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is that of Linux")
def test_a_mark_costs_what_it_holds_and_not_its_document(tmp_path: Path) -> None:
    """40,000 addresses in one document of 1.7 MB with a URL of 5 KB, and as many lines that are cut from one."""
    rows = [{"text": "".join(f"user{i}@example.com seen on the list\n" for i in range(40_000)),
             "url": "https://a.test/" + "x" * 5000}]  # fmt: skip
    corpus.write_jsonl(tmp_path / "many.jsonl", rows)
    used = [peak("redact", {}, tmp_path / "many.jsonl", tmp_path / "one")]
    assert len(rejects(tmp_path / "one")) == 40_000
    lines = "".join(f"this is line {i} of a page that repeats\n" for i in range(40_000))
    corpus.write_jsonl(tmp_path / "lines.jsonl", [{"text": lines + tail} for tail in "ab"])
    used.append(peak("line_dedup", {"min_count": 2}, tmp_path / "lines.jsonl", tmp_path / "two"))
    assert len(rejects(tmp_path / "two")) == 40_000
    print([f"{size / 1e6:.0f} MB" for size in used])
    assert max(used) < 200e6


def test_workers_change_no_byte(tmp_path: Path, curate: Any) -> None:
    rng = random.Random(3)
    for number in range(3):
        texts = [f"{rng.choice(list(VALUES.values()))} {corpus.article(rng)}" for _ in range(50)]
        corpus.write_jsonl(tmp_path / f"in/{number}.jsonl", [{"text": text} for text in texts])
    outs = []
    for workers in (1, 3):
        out = tmp_path / str(workers)
        done = curate("redact", tmp_path / "in", "--out", out, "--workers", workers, "--style", "realistic")
        assert done.code == 0, done.err
        outs.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*.parquet")})
    assert outs[0] == outs[1]


# -- presidio and models ---------------------------------------------------------------------------------------


def test_a_model_that_is_none_is_told_before_any_work(tmp_path: Path, curate: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "Ann"}])
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"x")
    options = ["--engine", "presidio", "--types", "person"]
    done = curate("redact", tmp_path / "a.jsonl", "--out", tmp_path / "out", *options, "--model", tmp_path / "model")
    said = " ".join(done.err.split())
    assert done.code == 2 and "is no model, it holds weights.bin: give the folder of a spaCy pipeline" in said
    assert not (tmp_path / "out").exists()


TRAIN = """
import random, sys
sys.modules |= {"torch": None, "transformers": None}  # spaCy imports them where they are installed, for seconds
import spacy
from spacy.training import Example

names = {"PERSON": ["Ann Miller", "Bob Stone", "Eva Marsh"], "GPE": ["Springfield", "Riverton"], "ORG": ["Acme"]}
pipeline = spacy.blank("en")
recognizer = pipeline.add_pipe("ner")
rng = random.Random(1)
examples = []
for _ in range(60):
    person, place, group = (rng.choice(names[label]) for label in names)
    text = rng.choice(["{} of {} works in {}.", "We met {} from {} near {} today."]).format(person, group, place)
    spans = [(text.find(v), text.find(v) + len(v), k) for k, v in (("PERSON", person), ("GPE", place), ("ORG", group))]
    examples.append(Example.from_dict(pipeline.make_doc(text), {"entities": spans}))
optimizer = pipeline.initialize(lambda: examples)
for _ in range(30):
    pipeline.update(examples, sgd=optimizer)
pipeline.to_disk(sys.argv[1])
spacy.blank("en").to_disk(sys.argv[1] + "-blank")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline that has learned a few names; beside it, ending in `-blank`, one without a recognizer."""
    if find_spec("presidio_analyzer") is None:
        pytest.skip("the extra pii is not installed")
    folder = tmp_path_factory.mktemp("model") / "ner"
    subprocess.run([sys.executable, "-c", TRAIN, str(folder)], check=True, timeout=300)
    return folder


def presidio(**settings: Any) -> dict[str, Any]:
    return {"engine": "presidio", **settings}


@pytest.mark.slow
def test_names_by_a_model_of_the_user(model: Path, tmp_path: Path) -> None:
    long = "We met Ann Miller from Acme near Riverton today.\nWrite to ann@example.org.\n"
    texts = [long + corpus.article(random.Random(2)), "Bob Stone of Acme works in Springfield."]
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    types = ["person", "location", "organization", "email"]
    steps = [{"filter": {"limits": {"gopher.min_words": 50}}}, {"redact": presidio(types=types, model=str(model))}]
    outcome = driver.run(recipe(tmp_path / "a.jsonl", *steps), tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    found = written(tmp_path / "out")
    (text,) = [row["text"] for row in documents(tmp_path / "out")]
    assert text.startswith("We met <PERSON_1> from <ORGANIZATION_1> near <LOCATION_1> today.\n")
    assert " to <EMAIL_1>.\n" in text
    assert not any(value in found for value in ("Ann", "Bob", "Acme", "Springfield", "ann@example.org"))
    assert {row["stage"] for row in rejects(tmp_path / "out")} == {"filter", "redact"}


@pytest.mark.skipif(find_spec("presidio_analyzer") is None, reason="the extra pii is not installed")
def test_what_the_engine_cannot_read_is_dropped_and_counted(tmp_path: Path) -> None:
    corpus.write_jsonl(
        tmp_path / "a.jsonl", [{"text": t} for t in ("to ann@example.org", "x" * 3000, "1 2 3 4 5 " * 280)]
    )
    config = presidio(types=["email", "phone"], max_bytes=2900, timeout=0.5, max_failures=1.0)
    outcome = driver.run(alone(config, tmp_path / "a.jsonl"), tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    assert documents(tmp_path / "out")[0]["text"] == "to <EMAIL_1>"
    dropped = {row["rule"] for row in rejects(tmp_path / "out") if row["action"] == "drop"}
    assert "redact.too_large" in dropped and dropped <= {"redact.too_large", "redact.timeout"}


@pytest.mark.slow
def test_a_pipeline_without_names_is_refused(model: Path, tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    config = presidio(types=["person"], model=f"{model}-blank")
    failures = driver.run(alone(config, tmp_path / "a.jsonl"), tmp_path / "out").failures
    assert "has no named entity recognizer (ner), its pipeline has nothing" in str(failures[0])
