"""Options that several commands share, and those that are made from the fields of a settings class."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import click

from curate import console
from curate.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from curate.io.inputs import InputSettings

# Of every command: -h is --help too, and help is at most 80 columns wide.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}

Decorator = Callable[[Any], Any]  # adds an option to a function, as click.option(…) does


class Size(click.ParamType[int]):
    """The type of an option in bytes: 800MB (10^6), 8GB or 8GiB (2^30), read by config.parse_size."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from curate.config import parse_size

        return value if isinstance(value, int) else parse_size(value, param.opts[0] if param else "size")


OUT = console.Place(made=True)  # a path or URL that is written to
FOLDER = console.Place()  # one that is there already

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
WORKERS = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    default=None,
    help="Worker processes.  [default: one for each core that this process may use]",
)
MEMORY = click.option(
    "--memory",
    metavar="SIZE",
    type=Size(),
    default=None,
    help="What all processes together may hold, as 800MB or 8GB: where more would be needed, fewer workers run and"
    " deduplication works in rounds.  [default: three quarters of what there is]",
)
LIMIT = click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=None,
    help="Read at most this many documents, spread over the inputs.",
)
ALLOW_CODE = click.option(
    "--allow-code",
    multiple=True,
    metavar="MODULE",
    help="Let the recipe run functions of this module or package of yours; may be repeated.",
)
# How inputs are read, on every command that reads some; a recipe has the same settings at each of its inputs.
COLUMNS = click.option(
    "--columns",
    multiple=True,
    metavar="NAME=KEY",
    help="Read the column NAME from this column or key of the input, for example text=content, or url=meta.url"
    " where meta is an object; may be repeated, or take several with commas.",
)
TRUST_IDS = click.option(
    "--trust-ids",
    is_flag=True,
    help="Keep the doc_ids of the input instead of making new ones; a repeat stops the run.",
)
TAKE_OVER = click.option(
    "--take-over", is_flag=True, help="Go ahead though a process that cannot be seen from here holds the folder."
)
RUN_OPTIONS = (
    click.option(
        "--out",
        required=True,
        metavar="DIR",
        type=OUT,
        help="Folder or URL of the run; the same command continues it.",
    ),
    click.option(
        "--scratch",
        metavar="DIR",
        type=OUT,
        default=None,
        help="Folder for what only the run itself reads; needed where --out is a URL.  [default: inside --out]",
    ),
    WORKERS,
    MEMORY,
    LIMIT,
    click.option("--update", is_flag=True, help="Go ahead where the folder holds another recipe's run."),
    TAKE_OVER,
    click.option("--verify-files", is_flag=True, help="Check every file of the run against its checksum first."),
    click.option(
        "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where tasks run."
    ),
    ALLOW_CODE,
    click.option("--json", "as_json", is_flag=True, help="Print the funnel as JSON."),
)
RECIPE_OPTIONS = (
    click.argument("recipe", type=FOLDER),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[SOURCE=]PATH",
        help="Read this instead of the recipe's inputs; may be repeated.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting, for example near_dedup.bands=20.",
    ),
    COLUMNS,
    TRUST_IDS,
)


FORMATS = ("auto", "warc", "wet", "jsonl", "parquet", "arrow", "csv", "tsv", "html", "text", "wiki", "tar")
# How a stage command reads its inputs: what a recipe says under `inputs`.
INPUT_OPTIONS = (
    click.option("--source", default="main", show_default=True, help="Mixing domain of the documents."),
    click.option(
        "--format",
        "input_format",
        type=click.Choice(FORMATS),
        default="auto",
        help="What to read of a folder, or how to read a file; auto goes by content, name and the other files there.",
    ),
    COLUMNS,
    TRUST_IDS,
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave out files of an input folder; may be repeated."
    ),
    click.option(
        "--root", metavar="DIR", default=None, help="Folder that file names in doc_ids are relative to."
    ),
)  # fmt: skip


def with_options(*options: Decorator) -> Decorator:
    """A decorator that adds several options to a command; they stand in the help in this order."""

    def add(function: Any) -> Any:
        # A decorator adds its option before those that are there.
        for option in reversed(options):
            function = option(function)
        return function

    return add


# -- options made from settings ------------------------------------------------------------------------------


def setting_option(key: str, field: "FieldInfo") -> Decorator:
    """The option of one setting: its flag, its help with unit and default, and how often it may be given.

    click passes the words on unchecked: the settings class checks them, as it does those of a recipe, so that a mistake
    has the same message in both. An option that is not given is None, so that the default is the settings class's.
    """
    flag = flag_of(key)
    extra: Any = field.json_schema_extra or {}
    unit, text = extra.get("unit"), field.description or ""
    text = f"{text[:1].upper()}{text[1:]}{f', in {unit}' if unit else ''}.{_shown_default(field)}"
    if field.annotation in (bool, bool | None):
        return click.option(f"{flag}/--no-{flag[2:]}", key, default=None, help=text)
    shape, metavar = _kind(field.annotation, list(field.metadata))
    if shape == "one":
        return click.option(flag, key, default=None, metavar=metavar, help=text)
    return click.option(flag, key, multiple=True, metavar=metavar, help=f"{text}  May be repeated.")


def flag_of(key: str) -> str:
    """The flag of a setting: `--min-score` for min_score."""
    return "--" + key.replace("_", "-")


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> tuple[Literal["one", "list", "mapping"], str]:
    """How a setting of this type is given, and what stands for its value in the help.

    one: once; list: may be repeated; mapping: NAME=VALUE, may be repeated. `metadata` are those of the pydantic field,
    by which a size in bytes is told from another int.
    """
    from curate.config import is_size

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one", "|".join(map(str, inner))
    if origin is dict:
        return "mapping", f"NAME={_kind(inner[1])[1]}"
    if origin in (list, tuple):
        return "list", _kind(inner[0])[1]
    if origin is Annotated:
        return _kind(inner[0], inner[1:])
    if inner:  # X | None
        return _kind(next(one for one in inner if one is not type(None)), metadata)
    if is_size(metadata):
        return "one", "SIZE"
    return "one", {int: "N", float: "X"}.get(annotation, "TEXT")


def _shown_default(field: "FieldInfo") -> str:
    """The default as the end of an option's help; nothing where there is none or it is empty."""
    from curate.config import show_size

    default = field.default
    if field.is_required() or default in (None, [], (), {}):
        return ""
    if isinstance(default, bool):
        return f"  [default: {'yes' if default else 'no'}]"
    if _kind(field.annotation, list(field.metadata))[1] == "SIZE":
        return f"  [default: {show_size(default)}]"
    return f"  [default: {default}]"


def given(options: Mapping[str, Any], fields: Mapping[str, "FieldInfo"]) -> dict[str, Any]:
    """The settings whose options were given, in the form that the settings class validates.

    `options` are click's values by setting name, and have every name in `fields`.
    """
    from curate.config import parse_pairs

    found: dict[str, Any] = {}
    for key, field in fields.items():
        value = options[key]
        if value is None or value == ():
            continue
        shape, _ = _kind(field.annotation)
        found[key] = parse_pairs(value, flag_of(key)) if shape == "mapping" else value
        if shape == "list":
            found[key] = list(value)
    return found


def print_json(data: Any) -> None:
    """Results for a script: ASCII only, so that nothing in them is anything but text on a terminal."""
    console.out(json.dumps(data, indent=1, default=str))


def input_settings(paths: Sequence[str], options: dict[str, Any], against: Sequence[str] = ()) -> list["InputSettings"]:
    """The inputs of a stage command, one for each path, all read in the same way; `against` are those that are only
    compared with.

    Removes from `options` those that say how to read. Raises ConfigError where one of them is wrong.
    """
    from curate.config import parse_pairs, validate
    from curate.io.inputs import InputSettings

    shared = {
        "source": options.pop("source"),
        "format": options.pop("input_format"),
        "columns": parse_pairs(options.pop("columns"), "--columns"),
        "exclude": list(options.pop("exclude")),
        "root": options.pop("root"),
        **({"trust_ids": True} if options.pop("trust_ids") else {}),
    }
    found = [validate(InputSettings, {"path": path, **shared}, name="input") for path in paths]
    compared = [validate(InputSettings, {"path": path, "against": True, **shared}, name="input") for path in against]
    return found + compared


def names(values: Iterable[str], flag: str) -> dict[str, list[str]]:
    """`source=web,books` and `lang=en` as {"source": ["web", "books"], "lang": ["en"]}; ConfigError for other forms."""
    found: dict[str, list[str]] = {}
    for text in values:
        key, equals, rest = text.partition("=")
        if not equals or not key or not rest:
            raise ConfigError(f"{flag} {text}: expected NAME=VALUE, for example {flag} source=web")
        found.setdefault(key, []).extend(rest.split(","))
    return found
