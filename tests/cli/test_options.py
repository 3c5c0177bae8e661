"""Options are made from settings: what one takes on the command line is what the YAML key takes."""

from pathlib import Path
from typing import Any, Literal

import click
import pytest

from curate.cli.options import given, names, setting_option, with_options
from curate.cli.runs import report_failures
from curate.config import ByteSize, Settings, setting, validate
from curate.errors import ConfigError, CurateError, DataError, SchemaError
from curate.run.outcome import Outcome
from curate.stages import STAGES


class Made(Settings):
    bands: int = setting(14, "bands", ge=1)
    share: float | None = setting(None, "a share")
    verify: bool = setting(True, "check")
    kind: Literal["a", "b"] = setting("a", "which")
    size: ByteSize = setting(5 << 20, "larger ones are left out", unit="bytes")
    most: ByteSize | None = setting(None, "at most", unit="bytes")
    limits: dict[str, float] = setting({}, "limits by rule")
    weights: dict[str, str] | None = setting(None, "weights by source")
    files: list[str] = setting([], "files")


def parsed(*arguments: str) -> Made:
    caught: dict[str, Any] = {}

    @click.command()
    @with_options(*(setting_option(key, field) for key, field in Made.model_fields.items()))
    def command(**options: Any) -> None:
        caught.update(options)

    command.main(list(arguments), standalone_mode=False)
    return validate(Made, given(caught, Made.model_fields))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--bands", "20", "--share", "0.5", "--no-verify", "--kind", "b"],
         {"bands": 20, "share": 0.5, "verify": False, "kind": "b"}),
        (["--size", "8MB", "--most", "2KiB"], {"size": 8_000_000, "most": 2048}),
        (["--size", "123"], {"size": 123}),
        (["--limits", "gopher.min_words=30", "--limits", "a.b=1,c=2"],
         {"limits": {"gopher.min_words": 30, "a.b": 1, "c": 2}}),
        (["--weights", "web=1/3,my-books=2"], {"weights": {"web": "1/3", "my-books": "2"}}),
        (["--files", "a,b", "--files", "c"], {"files": ["a,b", "c"]}),
    ],
)  # fmt: skip
def test_what_an_option_takes(arguments: list[str], expected: dict[str, Any]) -> None:
    assert parsed(*arguments) == Made(**expected)


def test_the_help_shows_units_notations_and_defaults_as_one_writes_them() -> None:
    options = {key: setting_option(key, field) for key, field in Made.model_fields.items()}
    made = {key: option(lambda: None).__click_params__[0] for key, option in options.items()}
    shown = {key: (option.metavar, option.help) for key, option in made.items()}
    assert shown["size"] == ("SIZE", "Larger ones are left out, in bytes.  [default: 5MiB]")
    assert shown["most"][0] == "SIZE" and shown["kind"][0] == "a|b" and shown["share"][0] == "X"
    assert shown["limits"][0] == "NAME=X" and shown["weights"][0] == "NAME=TEXT"
    assert "May be repeated" in shown["limits"][1] and "[default: yes]" in shown["verify"][1]


def test_names_with_values() -> None:
    assert names(["source=web,books", "lang=en", "source=x"], "--only") == {"source": ["web", "books", "x"],
                                                                         "lang": ["en"]}  # fmt: skip
    with pytest.raises(ConfigError, match="--only web: expected NAME=VALUE"):
        names(["web"], "--only")


@pytest.mark.parametrize("entry", STAGES, ids=lambda entry: entry.name)
def test_every_setting_of_a_stage_in_bytes_is_a_size(entry: Any) -> None:
    from curate import stages
    from curate.config import is_size

    for name, field in stages.load(entry.name).config.model_fields.items():
        if (field.json_schema_extra or {}).get("unit") == "bytes":
            assert is_size(field.metadata), f"{entry.name}.{name} takes no size in words: make it a ByteSize"


@pytest.mark.parametrize(
    ("failures", "code", "message"),
    [
        ([], 0, ""),
        ([DataError("a.gz: cut")], 1, "1 task failed; the same command tries it again."),
        ([DataError("a"), SchemaError("b")], 1, "2 tasks failed; the same command tries them again."),
        ([ConfigError("mix.weights"), SchemaError("no text")], 2, "2 tasks failed; change what is named above"),
    ],
)
def test_the_exit_code_says_whether_trying_again_helps(
    failures: list[CurateError], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_failures(Outcome(failures=failures, came_out=True), []) == code
    shown = capsys.readouterr().err
    assert message in shown and ("the same command" in shown) == (code == 1)


def test_warnings_are_shown_up_to_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    report_failures(Outcome(), [f"w{n}" for n in range(25)])
    shown = capsys.readouterr().err
    assert shown.count("warning:") == 20 and "and 5 more warnings, in run.log" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "r.yaml", "--out", "o", "--memory", "0"], "--memory: must be more than 0, found 0"),
        (["run", "r.yaml", "--out", "o", "--memory", "much"], 'error: --memory: "much" is no size'),
        (["run", "r.yaml", "--out", "afile"], "--out afile: "),
        (["run", "r.yaml", "--out", "nosuch://bucket"], 'no storage is named "nosuch"'),
        (["run", "r.yaml", "--out", "o", "--executor", "slurm"], "'slurm' is not one of 'local', 'ray'"),
        (["run", "r\x1b[2J.yaml", "--out", "o"], r"error: r\x1b[2J.yaml: no such file"),
        (["status", "nowhere"], "nowhere: no run is here"),
        (["why", "3f2a3f2a", "--out", "."], ".: no run is here"),
        (["clean", "."], ".: no run is here"),
    ],
)
def test_mistakes_of_the_command_line(
    arguments: list[str], message: str, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("afile").write_text("")
    done = said(*arguments)
    assert done.code == 2 and done.out == ""
    assert message in " ".join(done.err.split()), done.err
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]
