"""Every command's help fits 80 columns and reads as if written for a person; the start is fast."""

import resource
import subprocess
import sys
from typing import Any

import pytest

from curate.stages import STAGES

RUNS = ["audit", "clean", "fetch", "inputs", "plan", "run", "status", "why"]
STAGE_COMMANDS = [entry.name.replace("_", "-") for entry in STAGES]
HEAVY = ("pydantic", "pyarrow", "numpy", "ruamel", "fsspec", "rich")


@pytest.mark.parametrize("name", ["", *RUNS, *STAGE_COMMANDS])
def test_help_fits_and_teaches(name: str, said: Any) -> None:
    done = said(*([name] if name else []), "--help")
    assert done.code == 0 and done.err == ""
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "Usage: curate" in done.out and "Options:" in done.out


def test_every_command_is_listed(said: Any) -> None:
    out = said("--help").out
    assert all(f"  {name} " in out for name in [*RUNS, *STAGE_COMMANDS])


def test_help_answers_within_300_ms_and_imports_nothing_heavy() -> None:
    """In CPU time of the whole process, on which others on the machine have little influence."""
    command = [sys.executable, "-m", "curate", "--help"]
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < 0.3
    told = subprocess.run([command[0], "-X", "importtime", *command[1:]], capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "click" in imported and not imported & set(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], 'no command is named "rum"; did you mean "run"?'),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "x.yaml"], "Missing option '--out'"),
        (["normalize", "--out", "o"], "Missing argument 'INPUT...'"),
        (["extract", "--out", "o"], "Missing argument 'INPUT...'"),
        (["near-dedup", "x", "--out", "o", "--bandz", "3"], "No such option '--bandz'"),
        (["normalize", "x", "--out", "o", "--only", "web"], "--only web: expected NAME=VALUE"),
        (["normalize", "x", "--out", "o", "--only", "sauce=web"], 'sauce: no such setting; did you mean "source"?'),
        (["normalize", "x", "--out", "o", "--columns", "text"], "--columns text: expected NAME=VALUE"),
        (["filter", "x", "--out", "o", "--limits", "gopher.min_wrods=3"], 'did you mean "gopher.min_words"?'),
        (["run", "x.yaml", "--out", "o", "--workers", "0"], "0 is not in the range x>=1"),
        (["why", "xyz", "--out", "nowhere"], "no run is here"),
    ],
)
def test_usage_mistakes_are_one_message_and_exit_2(
    arguments: list[str], message: str, said: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = said(*arguments)
    assert done.code == 2 and done.out == ""
    assert message in " ".join(done.err.split()), done.err
    assert max(len(line) for line in done.err.splitlines()) <= 80


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("filter.limits.gopher.min_wrods=30", '"gopher.min_wrods"; did you mean "gopher.min_words"?'),
        ("filter.limits.gopher.min_words=true", "filter.limits: expected a number"),
        ("exact-dedup.keep=biggest", "exact_dedup.keep: must be"),
        ("keep=some", "keep: must be 'extract', 'all' or 'none', found 'some'"),
        ("exact_dedup.keep.x=1", "keep is 'first' and holds no settings"),
        ("redact.x=1", 'the recipe has no step "redact"'),
    ],
)
def test_a_mistake_in_set_is_blamed_on_the_flag(
    assignment: str, message: str, said: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "r.yaml").write_text(
        "version: 1\ninputs: [{path: a.jsonl}]\nkeep: all\nsteps:\n- filter\n- exact_dedup: {keep: first}\n"
    )
    done = said("plan", "r.yaml", "--set", assignment)
    words = " ".join(done.err.split())
    assert done.code == 2 and words.startswith(f"error: --set {assignment}") and message in words


def test_rule_names_with_dots_are_keys_of_set(said: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "r.yaml").write_text("version: 1\ninputs: [{path: a.jsonl}]\nsteps: [filter]\n")
    done = said("plan", "r.yaml", "--set", "filter.limits.gopher.min_words=30", "--workers", "1")
    assert done.code == 0 and "00-filter" in done.out, done.err
