"""Nothing hostile reaches a terminal, and every failure that a person can act on is one message."""

import ast
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from curate import console
from curate.errors import ConfigError, CurateError, GuardError

HOSTILE = ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\r", "\t", "\x00", "\x7f", "\u202e", "\u2066", "\u200b", "\u200f",
           "\u2028", "\u2029", "\ufeff", "\u00ad", "\x85", "\ud800", "\U000e0041"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_moves_a_cursor_or_hides_is_shown_as_an_escape(text: str) -> None:
    shown = console.harmless(text)
    assert shown.isprintable() and shown.startswith("\\")
    assert shown in console.table(["a"], [[text]]) and shown in console.wrap(f"x{text}")


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_or_bidi_character_survives(text: str) -> None:
    shown, lines = console.harmless(text), console.harmless(text, lines=True)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert console.harmless(shown) == shown
    assert "\n".join(console.harmless(line) for line in text.split("\n")) == lines
    lines.encode("utf-8")


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_printable_text_of_any_script_is_unchanged(text: str) -> None:
    assert console.harmless(text) == text


def test_a_byte_of_a_file_name_that_is_no_utf8_shows_as_itself() -> None:
    name = b"caf\xe9.jsonl".decode("utf-8", "surrogateescape")
    assert console.harmless(name) == r"caf\xe9.jsonl" and console.harmless("café 漢字 \u3000") == "café 漢字 \u3000"


def test_wrapping_keeps_lines_paths_and_indents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/a" * 60
    folded = console.wrap(f"  one {'word ' * 30}\n\n{path} ends")
    lines = folded.split("\n")
    assert max(len(line) for line in lines if path not in line) <= 80 and path in lines
    assert lines[1].startswith("    word") and "" in lines


def test_tables_sizes_and_counts() -> None:
    assert console.table(["name", "n"], [["a", "1,000"], ["long", "2"]]) == "name      n\na     1,000\nlong      2"
    sizes = [console.size(n) for n in (0, 999, 1000, 5_242_880, 2.5e13)]
    assert sizes == ["0 B", "999 B", "1 KB", "5.24 MB", "25 TB"]
    assert console.plural(1, "task") == "1 task" and console.plural(2000, "task") == "2,000 tasks"


def failing(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CurateError("the disk is full"), 1, "error: the disk is full"),
        (ConfigError("a\x1b[2J.yaml: wrong"), 2, r"error: a\x1b[2J.yaml: wrong"),
        (GuardError("too few rows"), 3, "error: too few rows"),
        (click.UsageError("no such option"), 2, "error: no such option"),
        (KeyboardInterrupt(), 130, "stopped; the same command continues"),
        (
            PermissionError(13, "Permission denied", "/x/\x1b"),
            1,
            r"error: /x/\x1b: Permission denied; the same command",
        ),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: Broken pipe"),  # not that of standard output
        (MemoryError(), 1, "error: memory does not suffice"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_are_one_message_and_a_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.guarded(failing(error), "curate", []) == code
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split()) and captured.out == ""


def test_a_fault_of_the_program_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        console.guarded(failing(ZeroDivisionError()), "curate", [])


SCRIPT = """
import sys, click
from curate import console
@click.command()
def say():
    for n in range(20_000):
        console.out(f"line {n} \\udcff é")
sys.exit(console.guarded(say, "say", []))
"""


@pytest.mark.parametrize(
    ("shell", "code", "out", "err"),
    [
        ('"$0" -c "$1" | head -n 1; exit ${PIPESTATUS[0]}', 0, "line 0 \\xff é\n", ""),
        ('"$0" -c "$1" > /dev/full', 1, "", "error: standard output: No space left on device\n"),
        ('PYTHONIOENCODING=ascii "$0" -c "$1" | tail -n 1', 0, "line 19999 \\xff \\xe9\n", ""),
        ('"$0" -c "$1" 2> /dev/full | tail -n 1', 0, "line 19999 \\xff é\n", ""),
    ],
    ids=["a reader that stops", "a full device", "an output without é", "an unwritable stderr"],
)
def test_an_output_that_cannot_take_it_makes_no_trace(shell: str, code: int, out: str, err: str) -> None:
    done = subprocess.run(["bash", "-c", shell, sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


@pytest.mark.parametrize("text", ["afile", "afile/below", "link", "nosuch://bucket/x", "~nobody-of-this-name/x"])
def test_a_place_where_no_folder_can_be_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("afile").write_text("")
    Path("link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=text):
        console.Place(made=True).convert(text, None, None)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert console.Place(made=True).convert("~/run", None, None) == tmp_path / "run"
    assert console.Place().convert("memory://run", None, None) == "memory://run"


@pytest.mark.parametrize("room", ["python/curate", "python/train"])
def test_nothing_but_the_console_writes_to_a_terminal(room: str) -> None:
    found = []
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.name != "console.py" else ():
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert not found
