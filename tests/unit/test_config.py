"""Configuration mistakes are worded here and nowhere else."""

from pathlib import Path

import pytest

from curate.config import Settings, assign, dump_yaml, load_yaml, parse_assignment, parse_yaml, setting, validate
from curate.errors import ConfigError


class Inner(Settings):
    depth: int = setting(1, "levels", ge=0, le=9)


class Outer(Settings):
    bands: int = setting(14, "bands", ge=1)
    name: str = setting(..., "a name", min_length=1)
    inner: Inner = setting(Inner(), "nested")
    kind: str | None = setting(None, "optional")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bandz: 3\nname: x", 'r.yaml:1: bandz: no such setting; did you mean "bands"?'),
        ("bands: 3", "name: this setting is required; add `name:`"),
        ("name: x\nbands: 0", "r.yaml:2: bands: must be at least 1, found 0"),
        ("name: x\nbands: many", "r.yaml:2: bands: expected a whole number, found 'many'"),
        ("name: [1]\n", "r.yaml:1: name: expected text, found [1]"),
        ("name: x\ninner:\n  depht: 2", 'r.yaml:3: inner.depht: no such setting; did you mean "depth"?'),
        ("name: x\ninner: {depth: 10}", "r.yaml:2: inner.depth: must be at most 9, found 10"),
        ("name: x\ninner: 3", "r.yaml:2: inner: expected `key: value` settings, found 3"),
        ("name: ''", "r.yaml:1: name: must not be empty"),
    ],
)
def test_each_mistake_has_its_words_and_its_line(text: str, message: str) -> None:
    document = parse_yaml(text, "r.yaml")
    with pytest.raises(ConfigError) as caught:
        validate(Outer, document.data, document)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'r.yaml:3: the key "a" stands here twice'),
        ("a: [1, 2\nb: 3\n", "r.yaml:2: this is not YAML"),
        ("a: !!python/object:os.system {}\n", ""),
    ],
)
def test_yaml_is_read_as_data_only(text: str, message: str) -> None:
    if message:
        with pytest.raises(ConfigError, match=message.replace('"', ".")):
            parse_yaml(text, "r.yaml")
    else:
        assert parse_yaml(text, "r.yaml").data == {"a": {}}  # a tag makes no object


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "latin.yaml")


def test_assignments_are_read_as_yaml() -> None:
    data: dict[str, object] = {"near_dedup": {"rows": 8}}
    for text in ("near-dedup.bands=20", "near_dedup.verify=false", "keep=all", "mix.weights={web: 0.5}"):
        assign(data, *parse_assignment(text))
    assert data == {
        "near_dedup": {"rows": 8, "bands": 20, "verify": False},
        "keep": "all",
        "mix": {"weights": {"web": 0.5}},
    }
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_assignment("bands")


def test_what_is_dumped_is_read_back() -> None:
    data = {"b": 1, "a": [{"x": 0.5, "y": None}, "text: with colon"], "c": {"d": True}}
    assert parse_yaml(dump_yaml(data), "dump").data == data
    assert dump_yaml(data).startswith("b: 1\n")  # in the order given
