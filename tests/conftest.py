"""What all tests share: where real data lies, and how to run the commands as a user does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    absent = pytest.mark.skip(reason=f"real data is absent: {SHARED}")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(absent)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data."""
    return SHARED


@dataclass
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(module: str, *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Finished:
    """Run `python -m curate` or `python -m train` with these arguments; Rust backtraces off, 80 columns."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "RUST_BACKTRACE": "0", **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def curate() -> Any:
    """`curate("run", "recipe.yaml", "--out", out)` -> Finished."""
    return lambda *arguments, **options: command("curate", *arguments, **options)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`said("status", folder)` -> Finished: as `curate`, but within this process, since an interpreter takes 0.3 s."""
    from curate.cli import cli
    from curate.console import guarded

    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Finished:
        code = guarded(cli, "curate", [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return run


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of runs that the test starts in this process run in it, so that the test can reach into them."""
    from curate.run import driver
    from inline import Inline

    monkeypatch.setattr(driver, "open_executor", lambda *_: Inline())


@pytest.fixture
def train(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`train("eval", "--checkpoint", model)` -> Finished: `python -m train` within this process."""
    from train.cli import main

    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Finished:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        return Finished(end.value.code, *capfd.readouterr())

    return run
