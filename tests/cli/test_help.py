"""Every command's help fits 80 columns and reads as if written for a person; the start is fast."""

import time
from typing import Any

import pytest

from curate.stages import STAGES

RUNS = ["clean", "fetch", "plan", "run", "status", "why"]
STAGE_COMMANDS = [entry.name.replace("_", "-") for entry in STAGES]


@pytest.mark.parametrize("name", ["", *RUNS, *STAGE_COMMANDS])
def test_help_fits_and_teaches(name: str, curate: Any) -> None:
    done = curate(*([name] if name else []), "--help")
    assert done.code == 0 and done.err == ""
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "Usage: curate" in done.out and "Options:" in done.out


def test_every_command_is_listed(curate: Any) -> None:
    out = curate("--help").out
    assert all(f"  {name} " in out for name in [*RUNS, *STAGE_COMMANDS])


def test_help_answers_within_300_ms(curate: Any) -> None:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        curate("--help")
        best = min(best, time.perf_counter() - start)
    assert best < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], 'no command is named "rum"; did you mean "run"?'),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "x.yaml"], "Missing option '--out'"),
        (["near-dedup", "x", "--out", "o", "--bandz", "3"], "No such option '--bandz'"),
        (["run", "x.yaml", "--out", "o", "--workers", "0"], "0 is not in the range x>=1"),
        (["why", "xyz", "--out", "nowhere"], "no run is here"),
    ],
)
def test_usage_mistakes_are_one_message_and_exit_2(arguments: list[str], message: str, curate: Any) -> None:
    done = curate(*arguments)
    assert done.code == 2 and done.out == ""
    assert message in " ".join(done.err.split()), done.err
    assert max(len(line) for line in done.err.splitlines()) <= 80 and "Traceback" not in done.err
