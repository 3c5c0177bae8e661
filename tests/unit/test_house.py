"""The house rules that a program can check: imports, file sizes, and what must appear in no file."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from curate import stages
from curate.cli.stages import stage_command
from curate.config import Settings

TRACKED = [
    ROOT / name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if (ROOT / name).is_file()
]


def test_imports_keep_their_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("suffix", [".py", ".rs"])
def test_files_are_short_enough_to_read(suffix: str) -> None:
    long = {p.name: n for p in TRACKED if p.suffix == suffix and (n := len(p.read_text().splitlines())) > 600}
    assert not long


def test_functions_are_short_enough_to_read() -> None:
    files = [path for path in TRACKED if path.suffix == ".py" and path.is_relative_to(ROOT / "python")]
    functions = [
        (path.name, node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert not [f"{name}:{f.name}" for name, f in functions if (f.end_lineno or 0) - f.lineno >= 60]


def test_no_machine_path_or_registry_host_is_in_any_file() -> None:
    # A class of one letter in each name, so that the pattern is not itself what it looks for.
    hosts = [r"pythonhoste[d]\.org", r"pyp[i]\.org", r"static\.crate[s]\.io", r"index\.crate[s]"]
    pattern = re.compile("|".join([r"/(?:root|home)/\w", *hosts]))
    found = []
    for path in TRACKED:
        if path.suffix not in (".bin", ".png"):
            found += [f"{path.name}: {m.group()}" for m in pattern.finditer(path.read_text(errors="replace"))]
    assert not found


@pytest.mark.parametrize("entry", stages.STAGES, ids=lambda entry: entry.name)
def test_every_stage_is_complete(entry: stages.Entry) -> None:
    """The table, the module and the settings agree; every setting is described, every default is valid."""
    stage = stages.load(entry.name)
    assert (stage.name, stage.summary) == (entry.name, entry.summary)
    assert issubclass(stage.config, Settings)
    for name, field in stage.config.model_fields.items():
        assert field.description, f"{entry.name}.{name} is not described"
    # Settings become options of the stage's command, beside those of every run.
    options = [name for option in stage_command(entry.name).params for name in option.opts]
    assert len(options) == len(set(options))
    for phase in stage.phases:
        assert (phase.apply is not None) == (phase.shape == "each")
        assert (phase.run is not None) == (phase.shape != "each")
