"""What a stage may rely on, and what a recipe may not do: rows, columns, channels, code, personal values, guards."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.config import parse_yaml
from curate.errors import ConfigError, GuardError
from curate.io.inputs import InputSettings
from curate.run import driver
from curate.run.recipe import Recipe, resolve, single_stage

ALLOW = ("walls",)


@pytest.fixture(autouse=True)
def small_slices(inline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.io.inputs.SLICE", 40_000)


def recipe(path: Path, *steps: Any, **more: Any) -> Recipe:
    text = json.dumps({"version": 1, "inputs": [{"path": str(path), "source": "web"}], "steps": list(steps), **more})
    return resolve(parse_yaml(text, "r.yaml"), allow_code=ALLOW)


def documents(out: Path, place: str = "documents") -> list[dict[str, Any]]:
    rows = [row for path in sorted((out / place).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row["origin_file"], row["origin_offset"]))


def rejects(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "rejects").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


# -- rows and columns ------------------------------------------------------------------------------------------

NAMES = ("heldout", "payload", "row", "key", "reject_rule", "reject_value", "verdict", "action", "rule", "aside")


def test_columns_of_any_name_pass_through(tmp_path: Path) -> None:
    """Names that the tool uses inside are the user's; a Parquet column stays one, a JSON key is in `extra`."""
    (tmp_path / "in").mkdir()
    mine: dict[str, Any] = {name: [f"{name} {i}" for i in range(20)] for name in NAMES}
    mine["heldout"] = pa.array([None, True, False, True] * 5)
    texts = [f"document number {i}" for i in range(20)]
    pq.write_table(pa.table({"text": texts, **mine}), tmp_path / "in/a.parquet")
    rows = [{"text": f"line {i}", **{name: [name, i] for name in NAMES}} for i in range(20)]
    corpus.write_jsonl(tmp_path / "in/b.jsonl", rows)
    outcome = driver.run(recipe(tmp_path / "in", "normalize", {"holdout": {"share": 0.0}}), tmp_path / "out")
    assert outcome.exit_code == 0 and not outcome.warnings
    found = documents(tmp_path / "out")
    assert len(found) == 40 and rejects(tmp_path / "out") == []
    table = [row for row in found if row["origin_file"] == "a.parquet"]
    for name in NAMES:
        assert [row[name] for row in table] == pa.array(mine[name]).to_pylist()
    lines = [json.loads(row["extra"]) for row in found if row["origin_file"] == "b.jsonl"]
    assert lines == [{name: [name, i] for name in NAMES} for i in range(20)]


def test_a_page_keeps_what_the_table_said_of_it(tmp_path: Path) -> None:
    rng = random.Random(1)
    pages = [corpus.page(corpus.article(rng)) for _ in range(6)]
    table = {"html": pages, "label": list("abcdef"), "title": [f"given {i}" for i in range(6)]}
    pq.write_table(pa.table(table), tmp_path / "pages.parquet")
    driver.run(recipe(tmp_path / "pages.parquet", "extract", "normalize"), tmp_path / "out")
    found = documents(tmp_path / "out")
    assert [row["label"] for row in found] == list("abcdef")
    assert [row["title"] for row in found] == ["A page"] * 6
    assert [json.loads(row["extra"])["title"] for row in found] == table["title"]


def test_a_stage_may_stand_before_extract(tmp_path: Path) -> None:
    pages = [
        (f"https://{'bad' if i % 3 else 'good'}.test/{i}", corpus.page(f"words of page {i} " * 20)) for i in range(9)
    ]
    corpus.write_warc(tmp_path / "c.warc.gz", pages)
    outcome = driver.run(recipe(tmp_path / "c.warc.gz", "walls:URLS", "extract"), tmp_path / "out")
    assert outcome.exit_code == 0
    assert len(documents(tmp_path / "out")) == 3
    assert Counter(row["rule"] for row in rejects(tmp_path / "out")) == {"urls.word": 6}
    with pytest.raises(ConfigError, match="normalize reads documents, and the inputs hold pages"):
        driver.run(recipe(tmp_path / "c.warc.gz", "normalize", "extract"), tmp_path / "other")
    corpus.write_jsonl(tmp_path / "d.jsonl", [{"text": "a document"}])
    with pytest.raises(ConfigError, match=r"extract reads pages .* leave this step out"):
        driver.run(recipe(tmp_path / "d.jsonl", "normalize", "extract"), tmp_path / "other")


# -- channels --------------------------------------------------------------------------------------------------


def docs(folder: Path, n: int = 12, files: int = 3) -> Path:
    """Files each of which is a task of its own, or several."""
    rng = random.Random(3)
    for f in range(files):
        rows = [{"text": f"document {i} " + rng.randbytes(2_000).hex()} for i in range(n)]
        corpus.write_jsonl(folder / f"{f}.jsonl", rows)
    return folder


def test_a_phase_reads_the_rows_of_its_own_task(tmp_path: Path) -> None:
    plan, _ = driver.prepare(recipe(docs(tmp_path / "in", 45), "walls:VECTORS"))
    assert [p.name for p in plan.passes] == ["00-vectors.embed", "01-vectors.centroid", "02-vectors.assign"]
    assert len(plan.inputs) > 1
    outcome = driver.run(recipe(tmp_path / "in", "walls:VECTORS"), tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    near = [row["near"] for row in documents(tmp_path / "out")]
    assert len(near) == 135 and 40 < sum(near) < 95


def test_a_phase_that_reads_a_channel_of_the_open_pass_begins_a_new_one(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": f"document {i}"} for i in range(7)])
    plan, _ = driver.prepare(recipe(tmp_path / "a.jsonl", "normalize", "walls:TWO"))
    assert [p.name for p in plan.passes] == ["00-normalize+two.embed", "01-two.look"]
    driver.run(recipe(tmp_path / "a.jsonl", "normalize", "walls:TWO"), tmp_path / "out")
    assert [row["seen"] for row in documents(tmp_path / "out")] == [7] * 7


def test_a_pass_that_only_emits_writes_no_documents(tmp_path: Path) -> None:
    texts = ["the same", "another", "the same", "a third"]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts) + "no json\n")
    outcome = driver.run(recipe(tmp_path / "bad.jsonl", "exact_dedup", keep="all"), tmp_path / "out")
    assert outcome.exit_code == 0 and outcome.funnel.steps[0].step == "read"
    assert not list((tmp_path / "out/passes/00-exact_dedup.hash").glob("*.parquet"))
    assert [row["text"] for row in documents(tmp_path / "out")] == ["the same", "another", "a third"]
    # What the reader rejects is recorded once, though the input is read twice.
    assert Counter(r["rule"] for r in rejects(tmp_path / "out")) == {"read.not_json": 1, "exact_dedup.copy": 1}


def test_states_are_closed(tmp_path: Path) -> None:
    import walls

    walls.states.clear()
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    driver.run(recipe(tmp_path / "a.jsonl", "walls:CLOSES"), tmp_path / "out")
    assert walls.states == ["opened", "closed"]


# -- code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["builtins:exec", "builtins:eval", "os:system", "subprocess:run", "curate.plugins:load"]
)
@pytest.mark.parametrize("allowed", [(), ("builtins", "os", "subprocess", "curate")])
def test_no_recipe_runs_a_page_as_code(tmp_path: Path, target: str, allowed: tuple[str, ...]) -> None:
    """Neither by name, nor by what the command line allows; not as an extractor, nor as a stage."""
    mark = tmp_path / "ran"
    pq.write_table(pa.table({"html": [f"open({str(mark)!r}, 'w').write('x')".encode()]}), tmp_path / "p.parquet")
    for steps in ([{"extract": {"extractor": target}}], ["extract", target]):
        text = json.dumps({"version": 1, "inputs": [{"path": str(tmp_path / "p.parquet")}], "steps": steps})
        with pytest.raises(ConfigError, match="is no code of yours"):
            driver.run(resolve(parse_yaml(text, "r.yaml"), allow_code=allowed), tmp_path / "out")
    assert not mark.exists()


def test_code_runs_only_where_the_command_allows_it(tmp_path: Path, curate: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("open('imported', 'w').close()\n")
    (tmp_path / "mine/page.py").write_text("def parse(page, charset):\n    return 'my text'\n")
    pq.write_table(pa.table({"html": [b"<p>x"]}), tmp_path / "p.parquet")
    env = {"PYTHONPATH": f"{tmp_path}:{Path(driver.__file__).parents[2]}"}
    command = ("extract", "p.parquet", "--out", "out", "--extractor", "mine.page:parse")
    refused = curate(*command, cwd=tmp_path, env=env)
    assert refused.code == 2 and "add --allow-code mine" in " ".join(refused.err.split())
    assert not (tmp_path / "imported").exists() and not (tmp_path / "out/run.yaml").exists()
    done = curate(*command, "--allow-code", "mine", cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert [row["text"] for row in documents(tmp_path / "out")] == ["my text"]
    assert "mine" not in (tmp_path / "out/run.yaml").read_text().replace("mine.page:parse", "")


# -- personal values -------------------------------------------------------------------------------------------

ADDRESS, IP = "ann.example@mail.example.org", "8.8.8.8"


def test_no_reject_holds_what_redact_replaces(tmp_path: Path) -> None:
    """Rejects of every step, earlier ones too: excerpts, addresses across their end, URLs and details."""
    long = "word " * 37 + f"x {ADDRESS} and more"
    texts = [f"write to {ADDRESS} or {IP}", long, f"{IP} {corpus.article(random.Random(1))}"]
    assert long.find(ADDRESS) < 200 < long.find(ADDRESS) + len(ADDRESS)
    rows = [{"text": t, "url": f"https://a.test/?mail={ADDRESS}"} for t in texts]
    corpus.write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.jsonl").write_text(f"not json: {ADDRESS}\n" + json.dumps({"body": "x", ADDRESS: 1}) + "\n")
    steps = ["normalize", {"filter": {"limits": {"gopher.min_words": 50}}}, "redact"]
    driver.run(recipe(tmp_path, *steps), tmp_path / "out")
    found = rejects(tmp_path / "out")
    assert {row["stage"] for row in found} == {"read", "filter", "redact"}
    assert any("<EMAIL>" in (row["excerpt"] or "") for row in found)
    for row in found:
        for value in row.values():
            assert ADDRESS not in str(value) and IP not in str(value) and "ann.ex" not in str(value), row
    for path in (tmp_path / "out/rejects").iterdir():
        assert ADDRESS.encode() not in path.read_bytes()


def test_what_would_keep_personal_values_is_refused(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    with pytest.raises(ConfigError, match="keep_text writes whole texts"):
        driver.run(recipe(tmp_path / "a.jsonl", "redact", keep_text=True), tmp_path / "out")
    with pytest.raises(ConfigError, match="holdout stands before redact"):
        driver.run(recipe(tmp_path / "a.jsonl", "holdout", "redact"), tmp_path / "out")


def test_a_span_costs_a_row_and_not_a_copy_of_the_text(tmp_path: Path) -> None:
    """20,000 addresses in one document of 600 KB: copies of the text would take 12 GB."""
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": " ".join(f"a{i}@example.org" for i in range(20_000))}])
    before = pa.total_allocated_bytes()
    outcome = driver.run(recipe(tmp_path / "a.jsonl", "redact"), tmp_path / "out")
    assert outcome.exit_code == 0, outcome.failures
    assert documents(tmp_path / "out")[0]["n_redactions"] == len(rejects(tmp_path / "out")) == 20_000
    assert pa.total_allocated_bytes() - before < 100 << 20


# -- guards and idle settings ----------------------------------------------------------------------------------


def test_a_yield_outside_its_band_stops_the_run(tmp_path: Path, curate: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": f"document {i}"} for i in range(1200)])
    with pytest.raises(GuardError, match=r"half kept \d\d\.\d% of 1,200 rows, where 90% to 100% are expected") as told:
        driver.run(recipe(tmp_path / "a.jsonl", "normalize", "walls:HALF"), tmp_path / "out")
    assert str(told.value).count("half.chance 1 (limit 0)  document") == 20
    assert "half.guard=off" in str(told.value)
    for more in ({"guard": "off"}, {"guard": [0.2, 0.8]}):
        step = {"walls:HALF": more}
        assert driver.run(recipe(tmp_path / "a.jsonl", "normalize", step), tmp_path / "out", update=True).exit_code == 0
    assert driver.run(recipe(tmp_path / "a.jsonl", "walls:HALF", guard="off"), tmp_path / "o2").exit_code == 0
    small = corpus.write_jsonl(tmp_path / "small/a.jsonl", [{"text": f"document {i}"} for i in range(900)])
    assert driver.run(recipe(small, "walls:HALF"), tmp_path / "o3").exit_code == 0
    (tmp_path / "r.yaml").write_text("version: 1\ninputs: [{path: a.jsonl}]\nsteps: [filter]\n")
    done = curate("run", "r.yaml", "--out", "o4", cwd=tmp_path)
    assert done.code == 3 and "filter kept 0.0% of 1,200 rows" in " ".join(done.err.split()), done.err


def test_settings_that_meet_nothing_are_told(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": f"document {i}"} for i in range(10)])
    (tmp_path / "a.txt").write_text("a document")  # rows of tables may name sources of their own
    with pytest.raises(ConfigError, match='no input has the source "wbe"; did you mean "web"'):
        driver.run(recipe(tmp_path / "a.txt", {"filter": {"only": {"source": ["wbe"]}}}), tmp_path / "out")
    some = recipe(tmp_path / "a.txt", {"normalize": {"only": {"source": ["web", "books"]}}})
    assert driver.run(some, tmp_path / "some").warnings == ['normalize.only.source: no input has the source "books"']
    with pytest.raises(ConfigError, match="must not be empty"):
        recipe(tmp_path / "a.jsonl", {"filter": {"only": {"source": []}}})
    outcome = driver.run(recipe(tmp_path / "a.jsonl", {"filter": {"only": {"lang": ["en"]}}}), tmp_path / "out")
    assert "filter.only: none of 10 rows is of lang: [en]; the step did nothing" in outcome.warnings


# -- receipts and fingerprints ---------------------------------------------------------------------------------


def receipts(out: Path) -> dict[str, Any]:
    paths = [path for path in out.glob("passes/*/*.json") if path.name not in ("plan.json", "work.json")]
    return {path.relative_to(out).as_posix(): json.loads(path.read_bytes()) for path in paths}


def test_memory_enters_no_fingerprint(tmp_path: Path) -> None:
    """Another budget, other rounds and spills: the same fingerprints, and the same bytes in every product."""
    docs(tmp_path / "in", 12)
    steps = ["exact_dedup", {"line_dedup": {"min_count": 2}}, {"train_tokenizer": {"vocab_size": 300}}, "tokenize"]
    made = []
    for name, memory in (("small", 700_000_000), ("large", 8_000_000_000)):
        outcome = driver.run(recipe(tmp_path / "in", *steps), tmp_path / name, memory=memory)
        assert outcome.exit_code == 0, outcome.failures
        made.append({path: receipt["fingerprint"] for path, receipt in receipts(tmp_path / name).items()})
    assert made[0] == made[1]


def test_receipts_stay_small_and_a_part_opens_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.run import plan, reads

    sizes = {}
    docs(tmp_path / "in", 12)
    for partitions in (4, 1024):
        monkeypatch.setattr(plan, "partitions", lambda _, n=partitions: n)
        opened: list[str] = []
        real = reads.open_ipc

        def counted(path: Path, name: str, real: Any = real, opened: list[str] = opened) -> Any:
            opened.append(name)
            return real(path, name)

        monkeypatch.setattr(reads, "open_ipc", counted)
        out = tmp_path / str(partitions)
        assert driver.run(recipe(tmp_path / "in", "exact_dedup"), out).exit_code == 0
        monkeypatch.setattr(reads, "open_ipc", real)
        sizes[partitions] = max(len(json.dumps(r)) for path, r in receipts(out).items() if "hash" in path)
        shuffled = [name for name in opened if name.endswith("hash.hashes.arrow")]
        if partitions == 1024:
            assert len(shuffled) <= 36  # a file is opened for a partition only where it holds one of its 36 rows
    assert abs(sizes[4] - sizes[1024]) < 16  # seconds have more or fewer digits


def test_another_reader_library_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.write_jsonl(tmp_path / "c.jsonl", [{"text": "words of a document"}])
    run = lambda: driver.run(recipe(tmp_path / "c.jsonl", "normalize"), tmp_path / "out")  # noqa: E731
    assert run().ran == {"00-normalize": 1} and run().ran == {"00-normalize": 0}
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert run().ran == {"00-normalize": 1}


def test_a_file_of_the_users_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.run import resume

    corpus.write_jsonl(tmp_path / "in/a.jsonl", [{"text": "a document"}])
    question = "Which of these statements about the borrow checker of this language is true in general?"
    corpus.write_jsonl(tmp_path / "items.jsonl", [{"question": question}])
    made = recipe(tmp_path / "in", {"decontaminate": {"benchmarks": [str(tmp_path / "items.jsonl")]}})
    hashed: list[str] = []
    real = resume.sha256_of
    monkeypatch.setattr(resume, "sha256_of", lambda store, rel: hashed.append(rel) or real(store, rel))
    for _ in range(2):
        assert driver.run(made, tmp_path / "out").exit_code == 0
    assert hashed == ["items.jsonl"]


def test_repeated_ids_that_are_trusted_stop_the_run(tmp_path: Path) -> None:
    one, two = (
        corpus.write_jsonl(tmp_path / f"{n}/a.jsonl", [{"text": f"text {n} {i}"} for i in range(1)]) for n in "xy"
    )
    for path in (one, two):
        driver.run(single_stage("normalize", {}, [InputSettings(path=str(path))]), path.parent / "out")
    both = [InputSettings(path=str(p.parent / "out"), root=str(tmp_path)) for p in (one, two)]
    outcome = driver.run(single_stage("normalize", {}, both), tmp_path / "out")
    assert outcome.exit_code == 2
    assert "is that of two rows: a.jsonl at 0 and a.jsonl at 0" in str(outcome.failures[0]), outcome.failures


def test_a_failing_stage_of_the_users_fails_its_task_by_name(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    outcome = driver.run(recipe(tmp_path / "a.jsonl", "walls:FAILS"), tmp_path / "out")
    assert outcome.exit_code == 1 and "a stage of the user's that fails" in str(outcome.failures[0])


# -- folders and names -------------------------------------------------------------------------------------------


def test_a_finished_run_is_an_input_of_its_documents_alone(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "in/a[1].jsonl", [{"text": f"document {i}"} for i in range(5)])
    corpus.write_jsonl(tmp_path / "in/a1.jsonl", [{"text": "another file"}])
    one = [InputSettings(path=str(tmp_path / "in/a[1].jsonl"))]  # a file's name before it is a pattern
    driver.run(single_stage("exact_dedup", {}, one, keep="all"), tmp_path / "run")
    again = driver.run(single_stage("normalize", {}, [InputSettings(path=str(tmp_path / "run"))]), tmp_path / "again")
    assert again.exit_code == 0
    rows = documents(tmp_path / "again")
    assert [row["text"] for row in rows] == [f"document {i}" for i in range(5)]
    assert {row["doc_id"] for row in rows} == {row["doc_id"] for row in documents(tmp_path / "run")}
    (tmp_path / "run/funnel.json").unlink()
    with pytest.raises(ConfigError, match="run"):
        driver.run(single_stage("normalize", {}, [InputSettings(path=str(tmp_path / "run"))]), tmp_path / "third")


def test_two_uses_of_a_stage_have_files_of_their_own(tmp_path: Path) -> None:
    text = corpus.article(random.Random(1), 40)
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": text}, {"text": text.replace("the", "a", 2)}])
    steps = [{"near_dedup": {"pairs": True, "min_jaccard": least}} for least in (0.99, 0.5)]
    for ran in (True, False):
        outcome = driver.run(recipe(tmp_path / "a.jsonl", *steps, keep="all"), tmp_path / "out")
        assert outcome.exit_code == 0 and not outcome.warnings and bool(sum(outcome.ran.values())) == ran
    assert (tmp_path / "out/pairs/all.2.parquet").exists()


def test_a_file_that_was_there_is_never_removed(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    driver.run(recipe(tmp_path / "a.jsonl", "near_dedup"), tmp_path / "out")
    mine = tmp_path / "out/pairs/all.parquet"
    mine.parent.mkdir()
    mine.write_text("my own")
    for bands in (10, 11):
        step = {"near_dedup": {"bands": bands}}
        outcome = driver.run(recipe(tmp_path / "a.jsonl", step), tmp_path / "out", update=True)
        assert mine.read_text() == "my own" and any("pairs/all.parquet" in text for text in outcome.warnings)


def test_words_are_not_put_beside_documents_before_they_are_redacted(tmp_path: Path) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    for steps in (["train_tokenizer", "tokenize", "redact"], ["normalize", "train_tokenizer", "redact"]):
        with pytest.raises(ConfigError, match="train_tokenizer stands before redact"):
            driver.run(recipe(tmp_path / "a.jsonl", *steps), tmp_path / "out")


def test_what_the_users_package_imports_is_not_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "borrows.py").write_text("from subprocess import run\ndef own(page, charset):\n    return 'x'\n")
    monkeypatch.syspath_prepend(tmp_path)
    from curate import plugins

    assert plugins.load("borrows:own", ("borrows",))(b"", None) == "x"
    with pytest.raises(ConfigError, match="comes from subprocess"):
        plugins.load("borrows:run", ("borrows",))


def test_sources_of_any_name_become_files(tmp_path: Path) -> None:
    names = ["", "x" * 300, "a/b", ".."]
    pq.write_table(pa.table({"text": ["some text " * 20] * 4, "source": names}), tmp_path / "a.parquet")
    made = recipe(tmp_path / "a.parquet", {"train_tokenizer": {"vocab_size": 300}}, "tokenize")
    for _ in range(2):
        outcome = driver.run(made, tmp_path / "out")
        assert outcome.exit_code == 0 and not any("files that are not" in text for text in outcome.warnings)
    assert len(list((tmp_path / "out/tokens").glob("*/*.arrow"))) == 4
