"""Settings on the command line: read from KEY=VALUE, and shown with their defaults at the end of a command's help."""

import importlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from curate.config import Settings

S = TypeVar("S", bound="Settings")

CHANGED = click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting of those below.")


def describe(model: type["Settings"], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, what it is) for every setting of a model, nested ones with their prefix."""
    from curate.config import Settings

    for name, field in model.model_fields.items():
        if isinstance(field.default, Settings):
            yield from describe(type(field.default), f"{prefix}{name}.")
            continue
        extra: Any = field.json_schema_extra
        unit = f", in {extra['unit']}" if extra else ""
        default = field.default if isinstance(field.default, str) else json.dumps(field.default)
        yield prefix + name, f"{field.description}{unit} [{default}]"


class SettingsCommand(click.Command):
    """A command that ends its help with its settings; `settings` names their module and class."""

    def __init__(self, *args: Any, settings: tuple[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        module, name = self.settings
        with formatter.section("Settings, for --set KEY=VALUE"):
            formatter.write_dl(list(describe(getattr(importlib.import_module(module), name))))


def read_settings(kind: type[S], assignments: tuple[str, ...]) -> S:
    """Settings of a class from KEY=VALUE assignments. Raises ConfigError naming the assignment and the key."""
    from curate.config import Document, assign, parse_assignment, validate

    values: dict[str, Any] = {}
    document = Document(values, "", {})
    for text in assignments:
        flag = f"--set {text}"
        document.changed(assign(values, *parse_assignment(text), kind, flag), flag)
    return validate(kind, values, document)
