"""Configuration mistakes are worded here and nowhere else."""

import time
from pathlib import Path

import pytest

from curate.config import (
    ByteSize,
    Settings,
    assign,
    dump_yaml,
    load_yaml,
    parse_assignment,
    parse_pairs,
    parse_size,
    parse_yaml,
    setting,
    show_size,
    validate,
)
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
        ("name: x\ninner: 3", "r.yaml:2: inner: expected settings such as {depth: 3}, found 3"),
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
        ("a: 1\nb: !!python/object:os.system {}\n", "r.yaml:2: the tag !!python/object:os.system makes no setting"),
        ("a: !mine x", "r.yaml:1: the tag !mine makes no setting"),
        ("a: !!int many", "r.yaml:1: 'many' is no !!int"),
        ("a: " + "9" * 5000, "is no !!int"),
        ("{[a]: b}", "r.yaml:1: a key must be text or a number"),
        ("a: &a [*a]", "r.yaml:1: an alias stands inside of what it repeats"),
        ("a: &a {<<: *a}", "r.yaml:1: an alias stands inside of what it repeats"),
        ("a: {<<: 3}", "r.yaml:1: `<<` merges mappings"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("[" * 20_000, "nested too deeply"),
        ("- " * 20_000, "nested too deeply"),
    ],
)
def test_yaml_is_read_as_data_only(text: str, message: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "r.yaml")
    assert message in str(caught.value) and time.process_time() - started < 1


def test_merge_keys_and_aliases_give_what_they_name() -> None:
    document = parse_yaml("- &a {path: a, source: books}\n- {<<: *a, path: b}\n- *a\n", "r.yaml")
    assert document.data == [
        {"path": "a", "source": "books"},
        {"path": "b", "source": "books"},
        {"path": "a", "source": "books"},
    ]
    assert document.at((1, "source")) == "r.yaml:1" and document.at((1, "path")) == "r.yaml:2"
    first = parse_yaml("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y]}", "r.yaml")
    assert first.data["z"] == {"a": 1, "b": 1, "c": 2}


def test_aliases_that_grow_without_end_are_refused_at_once() -> None:
    lists = ["a0: &a0 [x,x,x,x,x,x,x,x,x]", *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))]
    started = time.process_time()
    with pytest.raises(ConfigError, match="aliases repeat more than 100,000 values"):
        parse_yaml("\n".join(lists), "r.yaml")
    merges = ["a0: &a0 {k: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))]
    assert parse_yaml("\n".join(merges), "r.yaml").data["a39"] == {"k": 1}
    assert time.process_time() - started < 1


def test_what_looks_like_no_plain_number_is_text() -> None:
    text = "{day: 2024-01-01, 1.50: yes, n: 1_000, '5': \"5\", none: ~}"
    assert parse_yaml(text, "r.yaml").data == {"day": "2024-01-01", "1.50": "yes", "n": 1000, "5": "5", "none": None}


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "latin.yaml")


class Typed(Settings):
    n: int | None = setting(1, "a count")
    share: float = setting(0.5, "a share")
    flag: bool = setting(False, "a flag")
    word: str = setting("x", "a word")
    limits: dict[str, float] = setting({}, "limits by rule")
    counts: list[int] = setting([], "counts")
    either: bool | int = setting(1, "a flag or a count")
    size: ByteSize = setting(1000, "a size", unit="bytes", ge=10)
    nested: Inner = setting(Inner(), "nested")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"n": True}, "n: expected a whole number, found true"),
        ({"share": False}, "share: expected a number, found false"),
        ({"limits": {"a.b": True}}, "limits: expected a number"),
        ({"counts": [1, True]}, "counts: expected a whole number"),
        ({"word": True}, "word: expected text, found true"),
        ({"word": 7}, "word: expected text, found 7"),
        ({"flag": 1}, "flag: expected true or false, found 1"),
        ({"nested": {"depth": True}}, "nested.depth: expected a whole number, found true"),
        ({"share": "inf"}, "share: expected a finite number"),
        ({"size": "much"}, 'size: "much" is no size: write it as 800MB, 8GB or 8GiB'),
        ({"size": "9B"}, "size: must be at least 10, found 9"),
        ({"size": True}, "size: expected a whole number, found true"),
        ({"size": 1.5}, "size: expected a whole number, found 1.5"),
    ],
)
def test_true_is_no_number_and_a_number_is_no_truth(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Typed, data)
    assert message in str(caught.value)


def test_values_of_options_and_of_yaml_mean_the_same() -> None:
    assert validate(Typed, {"n": "20", "share": "0.5", "flag": "true", "limits": {"a": "3"}}) == validate(
        Typed, {"n": 20, "share": 0.5, "flag": True, "limits": {"a": 3}}
    )
    assert validate(Typed, {"either": True}).either is True and validate(Typed, {"n": None}).n is None


@pytest.mark.parametrize(
    ("text", "size"),
    [(8388608, 8 << 20), ("8388608", 8 << 20), ("8MiB", 8 << 20), ("8MB", 8e6), ("1.5 gib", 1.5 * 2**30), ("2T", 2e12)],
)
def test_sizes_are_bytes_or_words_and_stay_numbers(text: object, size: float) -> None:
    settings = validate(Typed, {"size": text})
    assert settings.size == size and settings.model_dump(mode="json")["size"] == size
    assert parse_size(str(text)) == size
    assert parse_size(show_size(settings.size)) == size


def test_a_size_of_a_flag_is_more_than_nothing() -> None:
    for text, message in [
        ("0", "must be more than 0"),
        ("8iB", "is no size"),
        ("-1GB", "is no size"),
        ("", "is no size"),
    ]:
        with pytest.raises(ConfigError, match=f"--memory: .*{message}"):
            parse_size(text)


def test_assignments_are_read_as_yaml() -> None:
    data: dict[str, object] = {"near_dedup": {"rows": 8}}
    for text in ("near-dedup.bands=20", "near_dedup.verify=false", "keep=all", "mix.weights={web: 0.5}"):
        assign(data, *parse_assignment(text))
    assert data == {
        "near_dedup": {"rows": 8, "bands": 20, "verify": False},
        "keep": "all",
        "mix": {"weights": {"web": 0.5}},
    }
    for wrong in ("bands", "=3", "a..b=3"):
        with pytest.raises(ConfigError, match=f"--set {wrong}: expected KEY=VALUE"):
            parse_assignment(wrong)


def test_the_settings_class_says_where_a_key_with_dots_begins() -> None:
    data: dict[str, object] = {"limits": {"gopher.min_words": 1}}
    path, value = parse_assignment("limits.gopher.max-words=30")
    assert assign(data, path, value, Typed) == ("limits", "gopher.max-words")
    assert assign(data, ["nested", "depth"], 3, Typed) == ("nested", "depth")
    assert data == {"limits": {"gopher.min_words": 1, "gopher.max-words": 30}, "nested": {"depth": 3}}
    with pytest.raises(ConfigError, match=r"--set n\.x=1: n is 5 and holds no settings"):
        assign({"n": 5}, ["n", "x"], 1, Typed, "--set n.x=1")


def test_a_mistake_of_the_command_line_names_its_flag() -> None:
    document = parse_yaml("name: x\nbands: 3\ninner: {depth: 2}", "r.yaml")
    for flag, path, value in (("--set bands=0", ["bands"], 0), ("--set inner.depth=10", ["inner", "depth"], 10)):
        document.changed(assign(document.data, path, value, Outer), flag)
    with pytest.raises(ConfigError) as caught:
        validate(Outer, document.data, document)
    assert str(caught.value).splitlines() == [
        "--set bands=0: bands: must be at least 1, found 0",
        "--set inner.depth=10: inner.depth: must be at most 9, found 10",
    ]


def test_mappings_of_options() -> None:
    assert parse_pairs(["a.b=30,c=1/3", "d=x,y"], "--limits") == {"a.b": "30", "c": "1/3", "d": "x,y"}
    for texts, message in [(["a"], "--limits a: expected NAME=VALUE"), (["a=1", "a=2"], "a was given before")]:
        with pytest.raises(ConfigError, match=message):
            parse_pairs(texts, "--limits")


def test_what_is_dumped_is_read_back() -> None:
    data = {"b": 1, "a": [{"x": 0.5, "y": None}, "text: with colon"], "c": {"d": True}}
    assert parse_yaml(dump_yaml(data), "dump").data == data
    assert dump_yaml(data).startswith("b: 1\n")  # in the order given
