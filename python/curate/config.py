"""Settings, YAML, and the one function that words every configuration error.

A `Settings` class is a frozen pydantic model that refuses unknown keys; each field is made by `setting` with a
description and, where it has one, a unit. The command line options and the YAML keys are generated from these
fields, so a fact about a setting is written once. A `Document` remembers the line of every key, and the flag of the
command line where one changed it, so that an error reads

    recipe.yaml:12: near_dedup.bandz: no such setting; did you mean "bands"?
    --set near_dedup.bands=0: near_dedup.bands: must be at least 1, found 0
"""

import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticKnownError

from curate.errors import ConfigError

Location = tuple[str | int, ...]  # keys and places in lists, from the top of a document

# -- settings --------------------------------------------------------------------------------------------------


class Settings(BaseModel):
    """Base of every configuration: immutable, without unknown keys, infinities or NaN, and `true` is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes true for 1 and 1 for true; here each is a mistake."""
        wanted = _scalars(cls.model_fields[info.field_name or ""].annotation)
        for found in _leaves(value) if wanted else ():
            if isinstance(found, bool) and bool not in wanted and wanted & {int, float}:
                raise PydanticKnownError("float_type" if float in wanted else "int_type")
            if wanted == {bool} and isinstance(found, int | float) and not isinstance(found, bool):
                raise PydanticKnownError("bool_type")
        return value


M = TypeVar("M", bound=BaseModel)


def setting(default: Any, description: str, *, unit: str | None = None, **limits: Any) -> Any:
    """A field of a Settings class. A default of `...` makes it required; limits are pydantic's (ge, min_length).

    The description is a phrase without a full stop: the help of the option is made of it and the unit.
    """
    extra = {"unit": unit} if unit else None
    return Field(default, description=description, json_schema_extra=extra, **limits)  # type: ignore[arg-type]


def _scalars(annotation: Any) -> set[type]:
    """The scalar types that a field's annotation admits, in lists and as values of mappings too; none: anything."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(value) for value in inner}
    if origin is dict or origin is Annotated:
        return _scalars(inner[1] if origin is dict else inner[0])
    if inner:
        found = [_scalars(one) for one in inner if one not in (type(None), Ellipsis)]
        return set().union(*found) if all(found) else set()
    return {annotation} if annotation in (bool, int, float, str) else set()


def _leaves(value: Any) -> Iterator[Any]:
    """All values in nested lists and mappings, without the keys; a scalar is its own only value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


# -- sizes -----------------------------------------------------------------------------------------------------

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?I?)B?", re.IGNORECASE | re.ASCII)


def _bytes(value: Any) -> Any:
    """The number of bytes that a text such as "8MB" stands for; other types are left to pydantic.

    Raises ValueError where the text is no size.
    """
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found or found[2].upper() == "I":
        raise ValueError(f'"{value}" is no size: write it as 800MB, 8GB or 8GiB, or as a number of bytes')
    return int(float(found[1]) * _UNITS[found[2].upper()])


_IN_WORDS = BeforeValidator(_bytes)
ByteSize = Annotated[int, _IN_WORDS]
"""A setting in bytes: given as 8388608, "8MB" (10^6) or "8MiB" (2^20), kept as an int."""


def is_size(metadata: Iterable[Any]) -> bool:
    """Whether the metadata of a field, or of an annotation, are those of a ByteSize."""
    return any(one is _IN_WORDS for one in metadata)


def parse_size(text: str, flag: str = "--memory") -> int:
    """Bytes of "800MB", "8G", "1.5GiB"; ConfigError, naming the flag, for anything else, and for 0."""
    try:
        found: int = _bytes(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None
    if found < 1:
        raise ConfigError(f"{flag}: must be more than 0, found {text}")
    return found


def show_size(n: int) -> str:
    """A number of bytes as a person would write it, without rounding: 5MiB, 30MB, 1234."""
    for power in ("TI", "GI", "MI", "KI", "T", "G", "M", "K"):
        if n and n % _UNITS[power] == 0:
            return f"{n // _UNITS[power]}{power.replace('I', 'i')}B"
    return str(n)


# -- YAML ------------------------------------------------------------------------------------------------------

MAX_COPIES = 100_000  # values that aliases may repeat in one document
MAX_DEPTH = 50  # levels of nesting: the scanner takes time with the square of the depth
_TAG = "tag:yaml.org,2002:"


class Document:
    """A YAML document as plain data, with the line of every key and list item.

    Where the command line changed a value, `changed` notes its flag, which error messages then name in place of the
    line.
    """

    def __init__(self, data: Any, name: str, lines: Mapping[Location, int]) -> None:
        self.data = data
        self.name = name
        self.lines = dict(lines)
        self.flags: dict[Location, str] = {}

    def at(self, location: Location) -> str:
        """Where the value at `location`, or the nearest key around it, was given: `file:line`, or the flag that set it.

        Where flags set parts of that value, they come first: `--set filter.limits.a=1, with recipe.yaml:5`. Empty for
        a document without a name.
        """
        place = self.name
        for end in range(len(location), -1, -1):
            if flag := self.flags.get(location[:end]):
                return flag
            if (line := self.lines.get(location[:end])) is not None:
                place = f"{self.name}:{line}"
                break
        inside = [flag for at, flag in self.flags.items() if at[: len(location)] == location]
        return ", with ".join([*inside, place]) if place else ", ".join(inside)

    def changed(self, location: Location, flag: str) -> None:
        """Note that the value at `location` was set by `flag`, for example `--set near_dedup.bands=0`."""
        self.lines = {at: line for at, line in self.lines.items() if at[: len(location)] != location}
        self.flags[location] = flag


def load_yaml(path: str | Path) -> Document:
    """Read a YAML file as data, never as code. Every mistake in it is a ConfigError with its line, if it has one."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: byte {error.start:,} is not UTF-8") from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """As load_yaml, for text that is already in memory; `name` stands for the file in error messages."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.scanner import Scanner

    class Shallow(Scanner):
        """The scanner's time is the square of the depth: 5,000 brackets take 4 s before anyone sees them."""

        def fetch_flow_collection_start(self, *token: Any, **pushed: Any) -> None:
            super().fetch_flow_collection_start(*token, **pushed)
            if len(self.flow_context) > MAX_DEPTH:
                raise RecursionError

    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = Shallow
    yaml.composer.warn_double_anchors = False
    builder = _Builder(name, yaml.constructor.construct_object)
    try:
        tree = yaml.compose(text)
        data = None if tree is None else builder.build(tree, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else "?"
        raise ConfigError(f"{name}:{line}: this is not YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        raise ConfigError(f"{name}: this is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{name}: this is nested too deeply; at most {MAX_DEPTH} levels are read") from None
    return Document(data, name, builder.lines)


class _Builder:
    """Makes plain data of composed YAML nodes: tags make no objects, merge keys and aliases are resolved.

    A node that an alias repeats is built anew at each place, so that every value has its line; how many may be
    repeated in all is limited, since 9 lists of 9 aliases each are 10^9 values in 400 bytes.
    """

    def __init__(self, name: str, construct: Any) -> None:
        self.name, self.construct = name, construct
        self.lines: dict[Location, int] = {}
        self.open: list[Any] = []  # the nodes around the one that is built
        self.built: dict[int, Any] = {}  # id of a node -> its value, of scalars only
        self.copies = 0
        self.pairs: dict[int, dict[str, tuple[int, Any]] | None] = {}

    def build(self, node: Any, location: Location) -> Any:
        """The plain data of a node; notes the line of every key and item below it."""
        self._allow(node)
        if node.id == "scalar":
            if id(node) not in self.built:
                self.built[id(node)] = self._scalar(node)
            return self.built[id(node)]
        self.built[id(node)] = None
        self.open.append(node)
        data: Any
        if node.id == "sequence":
            data = []
            for index, item in enumerate(node.value):
                self.lines[*location, index] = item.start_mark.line + 1
                data.append(self.build(item, (*location, index)))
        else:
            data = {}
            for key, (line, value) in self._pairs(node).items():
                self.lines[*location, key] = line
                data[key] = self.build(value, (*location, key))
        self.open.pop()
        return data

    def _allow(self, node: Any) -> None:
        """Refuse what is no plain data, too deep, too often repeated, or inside of itself."""
        plain = {"scalar": ("str", "int", "float", "bool", "null", "timestamp", "merge"),
                 "sequence": ("seq",), "mapping": ("map",)}  # fmt: skip
        if str(node.tag).removeprefix(_TAG) not in plain[node.id]:
            tag = str(node.tag).replace(_TAG, "!!")
            self._refuse(node, f"the tag {tag} makes no setting: write text, numbers, lists and `key: value` alone")
        if any(node is outer for outer in self.open):
            self._refuse(node, "an alias stands inside of what it repeats")
        if len(self.open) >= MAX_DEPTH:
            self._refuse(node, f"this is nested too deeply; at most {MAX_DEPTH} levels are read")
        self.copies += id(node) in self.built
        if self.copies > MAX_COPIES:
            self._refuse(node, f"aliases repeat more than {MAX_COPIES:,} values; write fewer")

    def _scalar(self, node: Any) -> Any:
        """The value of a scalar; dates stay text, since no setting is a date."""
        if str(node.tag).removeprefix(_TAG) in ("str", "timestamp", "merge"):
            return node.value
        try:
            return self.construct(node)
        except (ValueError, LookupError, OverflowError, ArithmeticError):
            tag = str(node.tag).replace(_TAG, "!!")
            self._refuse(node, f"{_show(node.value)} is no {tag}")

    def _pairs(self, node: Any) -> dict[str, tuple[int, Any]]:
        """key -> (line, node) of a mapping; what `<<` merges into it comes first, and its own keys replace that."""
        known = self.pairs.get(id(node), self)
        if isinstance(known, dict):
            return known
        if known is None:
            self._refuse(node, "an alias stands inside of what it repeats")
        self.pairs[id(node)] = None
        own: dict[str, tuple[int, Any]] = {}
        merged: dict[str, tuple[int, Any]] = {}
        for key, value in node.value:
            if key.id != "scalar":
                self._refuse(key, "a key must be text or a number")
            if key.value in own:
                self._refuse(key, f'the key "{key.value}" stands here twice; remove one')
            own[key.value] = (key.start_mark.line + 1, value)
            if str(key.tag) == f"{_TAG}merge":
                del own[key.value]
                sources = value.value if value.id == "sequence" else [value]
                for source in sources:
                    if source.id != "mapping":
                        self._refuse(key, "`<<` merges mappings: give it an alias of one, or a list of them")
                    merged = {**self._pairs(source), **merged}
        self.pairs[id(node)] = {**merged, **own}
        return {**merged, **own}

    def _refuse(self, node: Any, what: str) -> NoReturn:
        """Raise ConfigError with the line of the node."""
        raise ConfigError(f"{self.name}:{node.start_mark.line + 1}: {what}")


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


# -- checks and their words -------------------------------------------------------------------------------------


def validate(model: type[M], data: Any, document: Document | None = None, location: Location = (), name: str = "") -> M:
    """`data` as a `model`, or a ConfigError that lists every mistake in words.

    `location` is where data stands in `document` (for line numbers); `name` prefixes the keys in messages.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{_where(document, location)}{name or 'this'}: expected settings as `key: value`, found {_show(data)}"
        )
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
    """A message for each of pydantic's findings: where it was given, its key, and what is wrong."""
    messages = []
    for error in errors:
        # pydantic puts names of validators and types, as "function-before[…]", between keys; they are no keys.
        loc = tuple(part for part in error["loc"] if not (isinstance(part, str) and part.endswith("]")))
        key = ".".join(str(part) for part in (*([name] if name else []), *loc))
        messages.append(f"{_where(document, (*base, *loc))}{key}: {_wording(model, loc, error)}")
    return messages


def _where(document: Document | None, location: Location) -> str:
    """The beginning of a message: the place and a colon, or nothing where the place is unknown."""
    place = document.at(location) if document else ""
    return f"{place}: " if place else ""


def _wording(model: type[BaseModel], loc: Location, error: ErrorDetails) -> str:
    """One of pydantic's findings in the words of this program; the kinds that can occur are few."""
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
    if kind == "finite_number":
        return f"expected a finite number, found {value}"
    if kind.startswith("model"):
        first, *others = _fields_at(model, loc)
        given = error.get("input")
        example = f"{{{first}: {given if isinstance(given, (str, int, float)) else '…'}}}"
        rest = f"; other keys are: {', '.join(others)}" if others else ""
        return f"expected settings such as {example}, found {value}{rest}"
    expectations = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text",
             "list": "a list", "tuple": "a list", "dict": "`key: value` settings"}  # fmt: skip
    for prefix, expected in expectations.items():
        if kind.startswith(prefix):
            return f"expected {expected}, found {value}"
    return f"not a valid value: {value}"


def _fields_at(model: type[BaseModel], loc: Location) -> list[str]:
    """The field names of the nested model at `loc`, for suggestions."""
    for part in loc:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = (_model_of(field.annotation) if field else None) or model
    return list(model.model_fields)


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean "bands"?` where one is near, else the list of what is known."""
    near = difflib.get_close_matches(word.replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are: {', '.join(sorted(known))}" if known else ""


def fill(pattern: str, **values: str) -> str:
    """`pattern` with {name} replaced by values; ValueError for a name that there is not, and for any other braces."""
    try:
        parts = list(Formatter().parse(pattern))
        names = [name for _, name, form, conversion in parts if name is not None]
        plain = not any(form or conversion for _, _, form, conversion in parts)
    except ValueError:
        names, plain = [], False
    if not plain or not set(names) <= values.keys():
        known = " and ".join(f"{{{name}}}" for name in values)
        raise ValueError(f'in "{pattern}" only {known} may stand in braces')
    return pattern.format(**values)


def _show(value: Any) -> str:
    """A value in a message, written as in YAML and cut to 60 characters."""
    text = (
        {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else repr(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."


# -- what the command line says -------------------------------------------------------------------------------


def parse_assignment(assignment: str, flag: str = "--set") -> tuple[list[str], Any]:
    """`near_dedup.bands=20` as (["near_dedup", "bands"], 20); the value is read as YAML."""
    key, equals, value = assignment.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{flag} {assignment}: expected KEY=VALUE, for example {flag} near_dedup.bands=20")
    first, *rest = key.split(".")
    return [first.replace("-", "_"), *rest], parse_yaml(value, f"{flag} {assignment}").data


def assign(
    data: dict[str, Any], path: Sequence[str], value: Any, model: type[BaseModel] | None = None, flag: str = ""
) -> Location:
    """Set `data[path[0]][path[1]]…`, making the mappings on the way; returns the keys of the place.

    `model` is the settings class of `data`. It says which part of the path is a setting, whose hyphens are
    underscores, and which the key of a mapping, dots and hyphens included: filter.limits.gopher.min_words. Raises
    ConfigError, beginning with `flag`, where the path leads into something that holds no settings.
    """
    keys: list[str] = []
    for place in range(len(path)):
        field = None if model is None else model.model_fields.get(path[place].replace("-", "_"))
        keys.append(path[place].replace("-", "_") if field or model is None else path[place])
        if place == len(path) - 1:
            break
        if field is not None and _is_mapping(field.annotation):
            data = _inside(data, keys, flag)
            keys.append(".".join(path[place + 1 :]))
            break
        data = _inside(data, keys, flag)
        model = _model_of(field.annotation) if field else None
    data[keys[-1]] = value
    return tuple(keys)


def _inside(data: dict[str, Any], keys: Sequence[str], flag: str) -> dict[str, Any]:
    """The mapping at the last of `keys`; made where there is none."""
    if data.get(keys[-1]) is None:
        data[keys[-1]] = {}
    found = data[keys[-1]]
    if not isinstance(found, dict):
        raise ConfigError(f"{flag}{': ' if flag else ''}{'.'.join(keys)} is {_show(found)} and holds no settings")
    return found


def _is_mapping(annotation: Any) -> bool:
    """Whether a field's type is a dict, or a union with one."""
    return get_origin(annotation) is dict or any(_is_mapping(one) for one in get_args(annotation))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The settings class among a field's types."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def parse_pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """A mapping setting as options give it, repeated or with commas: `--limits a.b=30,c=2`. Values stay text."""
    pairs: dict[str, str] = {}
    for text in texts:
        for part in re.split(r",(?=[^,=]+=)", text):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not key or not equals:
                raise ConfigError(f"{flag} {text}: expected NAME=VALUE; repeat {flag}, or put commas between several")
            if key in pairs:
                raise ConfigError(f"{flag} {text}: {key} was given before; give it once")
            pairs[key] = value
    return pairs


def split_source(text: str) -> tuple[str, str]:
    """(source, path) of `[SOURCE=]PATH`; the source is "" where none is given."""
    source, equals, path = text.partition("=")
    # A path may hold `=` itself; only letters, digits, - and _ before it are a source.
    return (source, path) if equals and source.replace("_", "").replace("-", "").isalnum() else ("", text)
