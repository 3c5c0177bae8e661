"""List files that settings name: where they lie, what each is called, and what is in it.

A list is a text file of one entry a line; compressed files are read, too. Its name in rules is that of its file without
endings, or of its folder where the file is called domains or urls, as in the collection of the University of Toulouse
(adult/domains, adult/urls). A folder stands for the lists of that form in it and one level below.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import ConfigError
from curate.io.read import open_decompressed

IN_FOLDERS = ("domains", "urls")  # files that are read of a folder; each is the kind of its entries
LARGEST = 1 << 30  # bytes of a list, decompressed
NAMES = 8  # of files that are not read, in a sentence


class ListFile(NamedTuple):
    """A list by its kind, its path, and its name in rules."""

    kind: str
    path: str
    name: str


def list_files(settings: Mapping[str, Sequence[str]], folders: Iterable[str] = ()) -> list[ListFile]:
    """The lists of `settings` (kind -> paths), then those of `folders`, each with a name of its own.

    ConfigError for a folder without lists.
    """
    found = [(kind, path) for kind, paths in settings.items() for path in paths]
    for folder in folders:
        inside = sorted(p for p in Path(folder).expanduser().glob("**/*") if _is_list(p, Path(folder).expanduser()))
        if not inside:
            raise ConfigError(f"{folder}: no folder with files named {' or '.join(IN_FOLDERS)}")
        found += [(path.name, str(path)) for path in inside]
    names: list[str] = []
    for kind, path in found:
        name = f"{kind}.{_name(Path(path))}"
        names.append(name if name not in names else f"{name}-{sum(n.startswith(name) for n in names) + 1}")
    return [ListFile(kind, path, name) for (kind, path), name in zip(found, names, strict=True)]


def _is_list(path: Path, folder: Path) -> bool:
    return path.name in IN_FOLDERS and path.is_file() and len(path.relative_to(folder).parts) <= 2


def _name(path: Path) -> str:
    """What a list is called: `adult` for adult/domains and for adult.txt.gz."""
    stem = path.name.split(".")[0] or path.name
    return path.parent.name if stem in IN_FOLDERS and path.parent.name else stem


def passed_over(step: str, folders: Iterable[str]) -> list[str]:
    """A sentence a folder on its files that are no lists of hosts or addresses, such as UT1's `expressions`."""
    sentences = []
    for name in folders:
        folder = Path(name).expanduser()
        others = sorted(p for p in folder.rglob("*") if p.is_file() and not _is_list(p, folder))
        kinds = Counter(path.name for path in others)
        if kinds:
            lines = sum(_lines(path) for path in others)
            shown = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common(NAMES))
            more = f" and {len(kinds) - NAMES:,} names more" if len(kinds) > NAMES else ""
            sentences.append(f"{step}: {name} has {len(others):,} files with {lines:,} lines that are not read: {shown}"
                             f"{more}; patterns among them are not applied")  # fmt: skip
    return sentences


def _lines(path: Path) -> int:
    """Lines of a file that hold something; 0 where it cannot be read."""
    try:
        with path.open("rb") as handle:
            return sum(bool(line.strip()) for line in handle)
    except OSError:
        return 0


def read_list(path: str | Path) -> bytes:
    """The bytes of a list, decompressed. ConfigError where there is no file, or more than LARGEST bytes of it."""
    place = Path(path).expanduser()
    if not place.is_file():
        raise ConfigError(f"{path}: no such list")
    with open_decompressed(str(place)) as handle:
        content: bytes = handle.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(f"{path}: this list has more than {LARGEST:,} bytes")
    return content


def entries_of(path: str | Path) -> list[str]:
    """The lines of a list in UTF-8, without comments (`#`), empty lines and white space at both ends."""
    lines = read_list(path).decode("utf-8-sig", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def state_bytes(files: Iterable[ListFile]) -> int:
    """Private memory of the opened lists: some three times their bytes, eight times those of compressed ones."""
    paths = [Path(file.path).expanduser() for file in files]
    return sum((8 if p.suffix in (".gz", ".zst", ".xz") else 3) * p.stat().st_size for p in paths if p.is_file())


def told(step: str, counts: Sequence[tuple[ListFile, Any]]) -> list[str]:
    """A sentence a list on what was read of it: (entries, public suffixes, lines not read) of each."""
    sentences = []
    for file, (entries, suffixes, unread) in counts:
        text = f"{step}: {file.name} has {entries:,} entries"
        if suffixes:
            text += f"; {suffixes:,} of them are public suffixes and stand for that host alone"
        if unread:
            text += f"; {unread:,} lines are of a form that is not read"
        sentences.append(text)
    return sentences
