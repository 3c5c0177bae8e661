"""Everything that the two commands print passes through here, where it is made harmless.

URLs, texts, file names and error messages come from the web. A control character among them could move the cursor,
retitle the window or, as a bidirectional override, show a word as another. `harmless` writes each as a visible
escape (`\\x1b`, `\\u202e`); `wrap`, `table`, `out`, `err`, `styled` and `guarded` apply it, so that no caller can
forget. Nothing else in `curate` or `train` writes to a terminal.
"""

import contextlib
import errno
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click

from curate.errors import ConfigError, CurateError

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""

_UNPRINTABLE = re.compile(r"[^\n -~]")


def harmless(text: str, *, lines: bool = False) -> str:
    """`text` with every unprintable character as a visible escape; with `lines`, line feeds stay.

    Escaped are control and format characters (C0, C1, bidirectional, zero-width), line and paragraph separators,
    surrogates, private and unassigned ones. A byte of a file name that is not UTF-8 is shown by its value: `\\xff`.
    Printable text of any script is unchanged.
    """
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: _visible(found[0]), text if lines else text.replace("\n", r"\n"))


def _visible(character: str) -> str:
    """The character, or its escape. Spaces that Python calls unprintable, such as the no-break space, do no harm."""
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python holds a byte that it cannot decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def width() -> int:
    """Columns that messages and tables may fill."""
    return min(100, max(60, shutil.get_terminal_size((80, 24)).columns))


def wrap(message: str) -> str:
    """Each line of the message, made harmless and folded at the terminal's width; no word or path is broken."""
    folder = textwrap.TextWrapper(width(), break_long_words=False, break_on_hyphens=False)
    lines: list[str] = []
    for line in harmless(message, lines=True).split("\n"):
        folder.subsequent_indent = line[: len(line) - len(line.lstrip())] + "  "
        lines.extend(folder.wrap(line) or [""])
    return "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> str:
    """Plain columns of harmless cells; the first `left` are aligned left, the others right."""
    cells = [[harmless(str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(wide) if i < left else cell.rjust(wide)
            for i, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def size(n: float) -> str:
    """Bytes in three digits, by powers of 1,000: 5.24 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(n) < 999.5:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def count(n: float) -> str:
    """A whole number with separators: 1,000."""
    return f"{n:,.0f}"


def plural(n: int, noun: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def out(text: str = "") -> None:
    """Write lines of the result to standard output; what is not printable in them is escaped."""
    _write(sys.stdout, harmless(text, lines=True) + "\n")


def flow(text: str) -> None:
    """Write a part of the result to standard output, without ending its line."""
    _write(sys.stdout, harmless(text, lines=True))


def err(message: str) -> None:
    """Write a message to standard error, folded. Nothing can be said about one that cannot be written: it is lost."""
    with contextlib.suppress(Unwritten):
        _write(sys.stderr, wrap(message) + "\n")


def passing(text: str) -> None:
    """Show progress on a line of its own, which replaces that of the last call; on a terminal only."""
    if sys.stderr.isatty():
        with contextlib.suppress(Unwritten):
            _write(sys.stderr, f"\r{harmless(text)}\x1b[K")


def styled(lines: Iterable[Sequence[tuple[str, Mapping[str, Any]]]]) -> None:
    """Write lines made of (text, style) parts, styles being those of click.style; without styles on a pipe."""
    plain = not sys.stdout.isatty()
    for line in lines:
        parts = [(harmless(text), style) for text, style in line]
        shown = [text if plain or not style else click.style(text, **style) for text, style in parts]
        _write(sys.stdout, "".join(shown) + "\n")


def _write(stream: IO[str], text: str) -> None:
    """Write and flush; characters that the stream's encoding lacks are escaped. Unwritten where it fails."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        # Python flushes its streams when it exits, and would fail once more: from here on they lead nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise Unwritten(error.errno or 0, error.strerror or str(error)) from None


class Unwritten(Exception):
    """Standard output or error could not be written: (errno, its words)."""


def guarded(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code (see errors.py).

    A command's function returns None or its exit code. Errors that a person can act on (CurateError, usage, the
    operating system, memory, Ctrl-C) become one message on stderr. Anything else is a fault of this program and passes
    through, with its stack trace.
    """
    try:
        return _run(command, name, arguments)
    except CurateError as error:
        err(f"error: {error}")
        return error.exit_code
    except click.ClickException as error:
        err(f"error: {error.format_message()}")
        return 2
    except (KeyboardInterrupt, click.Abort):
        err("\nstopped; the same command continues")
        return STOPPED
    except MemoryError:
        err("error: memory does not suffice; give --memory a smaller size, or close other programs")
        return 1
    except Unwritten as error:
        number, words = error.args
        if number == errno.EPIPE:  # a reader that wants no more, as `head`, is no failure
            return 0
        err(f"error: standard output: {words}")
        return 1
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        err(f"error: {place}{error.strerror or error}; the same command continues")
        return 1


def _run(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    """As click.Command.main, which would take any broken pipe for that of standard output and say nothing."""
    completion = f"_{name.upper()}_COMPLETE"
    if completion in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, name, completion, os.environ[completion])
    try:
        with command.make_context(name, list(sys.argv[1:] if arguments is None else arguments)) as context:
            code = command.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    return code if isinstance(code, int) else 0


class Place(click.ParamType[str | Path]):
    """The type of an option or argument that names a path, whose `~` is expanded, or a URL of a store.

    With `made`, one where a folder can be made; with `local`, no URL.
    """

    name = "path"

    def __init__(self, *, made: bool = False, local: bool = False) -> None:
        self.made, self.local = made, local

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        """A Path, or the URL as text; ConfigError, naming the option, where it cannot serve."""
        text: str = os.fspath(value)
        name = param.opts[0] if param and param.opts[0].startswith("-") else "the folder"
        if "://" in text and self.local:
            raise ConfigError(f"{name} {text}: this must be on this machine; name a path")
        if "://" in text:
            _check_scheme(text, name)
            return text
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise ConfigError(f"{name} {text}: no user has this name; write the whole path") from None
        if self.made:
            _check_makeable(path, name)
        return path


def _check_scheme(url: str, name: str) -> None:
    """ConfigError where no storage library knows the scheme of a URL, or the library is not installed."""
    from fsspec.registry import get_filesystem_class

    scheme = url.partition("://")[0]
    try:
        get_filesystem_class(scheme)
    except ValueError:
        raise ConfigError(f'{name} {url}: no storage is named "{scheme}"; write a path, or s3://, gs://, …') from None
    except ImportError as error:
        raise ConfigError(f"{name} {url}: the library for {scheme}:// is not installed: {error}") from None


def _check_makeable(path: Path, name: str) -> None:
    """ConfigError where a folder is no folder, cannot be made, or cannot be written to."""
    place = path.absolute()
    # What must be writable is the nearest folder that exists.
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        what = "is a link to nothing" if place.is_symlink() else "is no folder"
        raise ConfigError(f"{name} {path}: {place} {what}; name another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{name} {path}: {place} cannot be written to; name another folder")
