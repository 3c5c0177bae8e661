"""Settings, YAML and the one function that words every configuration error.

A `Settings` class is a frozen pydantic model that refuses unknown keys; each field is made by `setting` with
a description and, where it has one, a unit. The command line options and the YAML keys are generated from
these fields, so a fact about a setting is written once. `load_yaml` remembers the line of every key, so that
an error reads `recipe.yaml:12: near_dedup.bandz: no such setting; did you mean "bands"?`.
"""

import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from curate.errors import ConfigError

Location = tuple[str | int, ...]


class Settings(BaseModel):
    """Base of every configuration: immutable, strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def setting(default: Any, description: str, *, unit: str | None = None, **limits: Any) -> Any:
    """A field of a Settings class; a default of `...` makes it required; limits are pydantic's (ge, min_length)."""
    extra = {"unit": unit} if unit else None
    return Field(default, description=description, json_schema_extra=extra, **limits)  # type: ignore[arg-type]


class Document:
    """A YAML document as plain data, with the line of every key and list item."""

    def __init__(self, data: Any, name: str, lines: Mapping[Location, int]) -> None:
        self.data = data
        self.name = name
        self.lines = lines

    def at(self, location: Location) -> str:
        """`file:line` of the nearest enclosing key that the file holds."""
        for end in range(len(location), -1, -1):
            line = self.lines.get(location[:end])
            if line is not None:
                return f"{self.name}:{line}"
        return self.name


def load_yaml(path: str | Path) -> Document:
    """Read a YAML file as data, never as code. Duplicate keys and syntax errors are ConfigErrors with their line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """As load_yaml, for text that is already in memory; `name` stands in error messages."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        found = str(error.problem).split('"')
        key = found[1] if len(found) > 1 else "a key"
        raise ConfigError(f'{name}:{line}: the key "{key}" stands here twice; remove one') from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else "?"
        raise ConfigError(f"{name}:{line}: this is not YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        raise ConfigError(f"{name}: this is not YAML: {str(error).splitlines()[0]}") from None
    lines: dict[Location, int] = {}
    return Document(_plain(tree, (), lines), name, lines)


def _plain(node: Any, location: Location, lines: dict[Location, int]) -> Any:
    """ruamel's annotated containers as dicts, lists and scalars, recording where each stood."""
    if isinstance(node, dict):
        for key in node:
            lines[(*location, key)] = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
        return {str(key): _plain(value, (*location, key), lines) for key, value in node.items()}
    if isinstance(node, list):
        for index in range(len(node)):
            lines[(*location, index)] = node.lc.item(index)[0] + 1  # type: ignore[attr-defined]
        return [_plain(value, (*location, index), lines) for index, value in enumerate(node)]
    for scalar in (bool, int, float, str):  # ruamel's scalars carry formatting; bool first, it is an int
        if isinstance(node, scalar):
            return scalar(node)
    return node


def dump_yaml(data: Any) -> str:
    """Plain data as block-style YAML, keys in the order given."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def validate(model: type[M], data: Any, document: Document | None = None, location: Location = (), name: str = "") -> M:
    """`data` as a `model`, or a ConfigError that lists every mistake in words.

    `location` is where data stands in `document` (for line numbers); `name` prefixes the keys in messages.
    """
    if not isinstance(data, Mapping):
        where = f"{document.at(location)}: " if document else ""
        raise ConfigError(f"{where}{name or 'this'}: expected settings as `key: value`, found {_show(data)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, error.errors(), document, location, name))) from None


def _explain(
    model: type[BaseModel],
    errors: Iterable[ErrorDetails],
    document: Document | None,
    base: Location,
    name: str,
) -> list[str]:
    messages = []
    for error in errors:
        loc = tuple(part for part in error["loc"] if not (isinstance(part, str) and part.endswith("]")))
        where = f"{document.at((*base, *loc))}: " if document else ""
        key = ".".join(str(part) for part in (*([name] if name else []), *loc))
        messages.append(f"{where}{key}: {_wording(model, loc, error)}")
    return messages


def _wording(model: type[BaseModel], loc: Location, error: ErrorDetails) -> str:
    """One of pydantic's findings in our words; the kinds that can occur are few."""
    kind, context, value = error["type"], error.get("ctx", {}), _show(error.get("input"))
    if kind == "extra_forbidden":
        return f"no such setting{suggest(str(loc[-1]), _fields_at(model, loc[:-1]))}"
    if kind == "missing":
        return f"this setting is required; add `{loc[-1]}:`"
    bounds = {"greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"),
              "less_than_equal": ("le", "at most"), "less_than": ("lt", "less than")}  # fmt: skip
    if kind in bounds:
        bound, words = bounds[kind]
        return f"must be {words} {context[bound]}, found {value}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}, found {value}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", error["msg"]))
    if kind in ("too_short", "string_too_short"):
        return f"must not be empty (at least {context['min_length']}), found {value}"
    expectations = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text",
             "list": "a list", "tuple": "a list", "dict": "`key: value` settings",
             "model": "`key: value` settings"}  # fmt: skip
    for prefix, expected in expectations.items():
        if kind.startswith(prefix):
            return f"expected {expected}, found {value}"
    return f"not a valid value: {value}"


def _fields_at(model: type[BaseModel], loc: Location) -> list[str]:
    """The field names of the nested model at `loc`, for suggestions."""
    for part in loc:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = field.annotation if field else None
        candidates = [inner, *getattr(inner, "__args__", ())]
        model_at = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model_at is not None:
            model = model_at
    return list(model.model_fields)


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean "bands"?` where one is near, else the list of what is known."""
    near = difflib.get_close_matches(word.replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are: {', '.join(sorted(known))}" if known else ""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def parse_assignment(assignment: str) -> tuple[list[str], Any]:
    """`near_dedup.bands=20` as (["near_dedup", "bands"], 20); the value is read as YAML."""
    key, equals, value = assignment.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {assignment}: expected KEY=VALUE, for example --set near_dedup.bands=20")
    return key.replace("-", "_").split("."), parse_yaml(value, f"--set {assignment}").data


def assign(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set `data[path[0]][path[1]]…`, making the mappings on the way."""
    for part in path[:-1]:
        data = data.setdefault(part, {})
    data[path[-1]] = value
