"""The one place that imports a user's own code.

A recipe is data: naming a function in it runs nothing. A module is imported only where the command line allowed its
package (`--allow-code my_package`), or where an installed package offers the object as an entry point of the groups
below. The standard library is never a user's code: a page must not be given to `builtins:exec`.
"""

import hashlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from curate.errors import ConfigError

GROUPS = ("curate.stages", "curate.extractors")


def load(target: str, allowed: Sequence[str]) -> Any:
    """The object that `package.module:name` names.

    Raises ConfigError where the target is not well formed, its package is not allowed, or it cannot be imported.
    """
    check(target, allowed)
    module, _, name = target.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # whatever the user's module raises
        raise ConfigError(f"{target} cannot be imported: {type(error).__name__}: {error}") from None
    home = getattr(found, "__module__", None) or type(found).__module__
    ours = type(found).__module__ in ("curate.stages.protocol",)
    if not ours and not _allowed(str(home), allowed) and target not in _entry_points():
        raise ConfigError(f"{target} is not the package's own: it comes from {home}, which is not allowed")
    return found


def check(target: str, allowed: Sequence[str]) -> None:
    """Raise ConfigError unless the command line or an installed package allows this target; imports nothing."""
    module, colon, name = target.partition(":")
    parts = module.split(".")
    if not (colon and all(part.isidentifier() for part in parts) and name.isidentifier()):
        raise ConfigError(f'"{target}" names no function; write it as package.module:function')
    if parts[0] in sys.stdlib_module_names or parts[0] in ("curate", "train"):
        raise ConfigError(f"{target}: {parts[0]} is no code of yours; name a function of your own package")
    if target in _entry_points() or _allowed(module, allowed):
        return
    raise ConfigError(
        f"{target}: a recipe cannot run code by itself; if you trust the package {parts[0]}, add"
        f" --allow-code {parts[0]} to the command"
    )


def _allowed(module: str, allowed: Sequence[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)


def digest(target: str, allowed: Sequence[str]) -> str:
    """The checksum of the file that holds a user's function: another version of it gives other documents."""
    load(target, allowed)
    file = getattr(sys.modules[target.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


@cache
def _entry_points() -> frozenset[str]:
    """The targets that installed packages offer."""
    return frozenset(point.value for group in GROUPS for point in metadata.entry_points(group=group))
