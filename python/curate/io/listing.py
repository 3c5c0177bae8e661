"""What files a path stands for: a file, a glob, a folder, a URL, or the folder of another run.

Nothing is left out silently. What a walk passes over (another run's folder, a folder that cannot be listed, a link
back to what is read already) is a warning, hidden folders are listed as such; an input that is no whole run, or that
the run would write over, is a ConfigError.
"""

import glob
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from curate.errors import ConfigError
from curate.io.compressed import archive_of
from curate.io.remote import HOPELESS, failure, file_system, open_object, tried

UNREADABLE = "unreadable"  # stamp of a file that cannot be opened
# Names in a run's folder; the run layer, which gives them, stands above this one.
RUN, LOCK, FUNNEL, DOCUMENTS = "run.yaml", "run.lock", "funnel.json", "documents"
_PRODUCTS = (DOCUMENTS, "heldout", "passes")  # folders of a run whose files are read as documents
# What is no file, and must not be opened: reading a pipe without a writer never ends.
_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


class LocalFiles:
    """What listing needs of a file system, by the names that fsspec has for it."""

    protocol = ("file", "local")
    isdir, exists = staticmethod(os.path.isdir), staticmethod(os.path.exists)

    def glob(self, pattern: str) -> list[str]:
        """Names of this machine that match, hidden ones too: these are left out later, by their names."""
        return glob.glob(pattern, recursive=True, include_hidden=True)


@dataclass
class Found:
    """The files of one input; `runs` are the finished runs that they are products of, if they are."""

    fs: Any  # LocalFiles, or a file system of fsspec
    local: bool  # whether it is this machine's
    root: str  # what names of documents are relative to
    names: list[str]  # as `fs` has them, sorted
    runs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # folders that were not looked into
    alone: bool = False  # it is one file, given by its name

    def relative(self, name: str) -> str:
        """The name that documents of the file are identified by; bytes in it that are not UTF-8 as \\xNN."""
        return shown(name[len(self.root) :].lstrip("/") if name.startswith(self.root) else name)

    def address(self, name: str) -> str:
        """The file as a path or URL, which a worker can open."""
        return name if self.local else str(self.fs.unstrip_protocol(name))

    def open(self, name: str) -> BinaryIO:
        """The file, to be read."""
        return open(name, "rb") if self.local else open_object(self.fs, name, self.address(name))

    def head(self, name: str, n: int) -> bytes:
        """Its first `n` bytes; none where it cannot be read: whoever reads it says so."""
        try:
            if self.local:
                with open(name, "rb", buffering=0) as handle:
                    return handle.read(n)
            return bytes(tried(lambda: self.fs.cat_file(name, start=0, end=n)))
        except Exception:  # every storage library has exceptions of its own
            return b""

    def stat(self, name: str) -> tuple[int, str]:
        """(bytes, stamp); the stamp of a file that cannot be opened is UNREADABLE."""
        return _local_stat(name) if self.local else _remote_stat(self.fs, name)

    def identity(self, name: str) -> Any:
        """The same for two names of one file."""
        if not self.local:
            return self.address(name)
        try:
            status = os.stat(name)
        except OSError:
            return name
        return status.st_dev, status.st_ino

    def special(self, name: str) -> str | None:
        """What a name is that is neither a file nor a link to one: reading it could wait for ever."""
        return special(name) if self.local else None


def find(given: str, root: str | None, ours: Sequence[str]) -> Found:
    """The files that `given` stands for, sorted, relative to `root` or the folder they were found in.

    `ours` are the folders that the run writes to: no file of theirs is an input.
    """
    fs, path = _opened(given, given)
    found = Found(fs, "file" in fs.protocol, "", [])
    if found.local and _not_utf8(path):
        raise ConfigError(f"input {shown(path)}: the name is not UTF-8; rename it, or give the folder above it")
    try:
        _list(found, given, path)
    except ConfigError:
        raise
    except Exception as error:  # every storage library has exceptions of its own
        if found.local and not isinstance(error, OSError):
            raise
        raise ConfigError(f"input {given}: cannot be listed: {type(error).__name__}: {error}") from None
    if root is not None:
        found.root = _opened(root, given)[1].rstrip("/")
    _without_ours(found, given, path, ours)
    return found


def _opened(address: str, given: str) -> tuple[Any, str]:
    """(file system, path in it) of a path or URL, ~ and $VARIABLES expanded; ConfigError where it cannot be used."""
    expanded = os.path.expandvars(os.path.expanduser(address))
    if "$" in expanded and "://" not in expanded:
        raise ConfigError(f"input {given}: an environment variable in it is not set")
    if "://" not in expanded:
        return LocalFiles(), os.path.abspath(expanded)  # fsspec costs .1 s of CPU, which local files need not pay
    try:
        fs, path = file_system(expanded)
    except ImportError as error:
        raise ConfigError(f"input {given}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"input {given}: {error}; write a path, or a URL as s3://bucket/folder") from None
    return fs, str(path)


def _list(found: Found, given: str, path: str) -> None:
    """Fill in names, root and runs of what a path stands for: a glob, a folder, or one file.

    Of a run's folder only its Parquet documents are listed. In any other folder, folders of runs are passed over.
    """
    fs = found.fs
    if any(mark in path for mark in "*?[") and not (found.local and os.path.lexists(path)):
        found.names = sorted(str(p) for p in tried(lambda: fs.glob(path)) if not _is_folder(fs, p))
        found.root = path[: next(i for i, c in enumerate(path) if c in "*?[")].rpartition("/")[0]
        _products_or_none(found)
        return
    what = special(path) if found.local else None
    if what:
        raise ConfigError(f"input {given}: {what}; give a file or a folder")
    named = os.path.splitext(path)[1] and not found.local  # asking a web server for a listing would fetch the file
    if not named and _is_folder(fs, path):
        found.root = path.rstrip("/")
        if _is_run(found, found.root):
            found.root += f"/{DOCUMENTS}"
        found.runs = _runs_of(found, {found.root})
        found.names = sorted(_walk(found, found.root) if found.local else map(str, tried(lambda: fs.find(found.root))))
        if found.runs:  # only what a run writes, whatever others put beside it
            found.names = [name for name in found.names if name.endswith(".parquet")]
        elif not found.local:
            _without_runs(found, {name.removesuffix(f"/{RUN}") for name in found.names if name.endswith(f"/{RUN}")})
        return
    if not (tried(lambda: fs.exists(path)) or (found.local and os.path.lexists(path))):
        raise ConfigError(f"input {given}: no such file or folder")
    found.names, found.root, found.alone = [path], path.rpartition("/")[0], True
    found.runs = _runs_of(found, {found.root})


def _is_folder(fs: Any, path: str) -> bool:
    """Whether a path is a folder; of an object store, whether objects have it as their prefix."""
    return bool(tried(lambda: fs.isdir(path)))


def _walk(found: Found, top: str) -> Iterator[str]:
    """The files of a folder of this machine at any depth; what is passed over becomes a warning.

    A linked folder is walked under the name of its link, after all that lies below `top` itself, so that what is there
    too keeps its own name. No folder is walked twice.
    """
    seen: set[tuple[int, int]] = set()
    links = [top]
    while links:
        path = links.pop(0)
        if path != top and (why := _not_to_follow(found, path, seen)):
            found.warnings.append(why)
            continue
        more: list[str] = []
        yield from _tree(found, path, seen, more)
        links += sorted(more)


def _not_to_follow(found: Found, link: str, seen: set[tuple[int, int]]) -> str:
    """Why a link to a folder is not followed; "" where it is."""
    if f"{os.path.realpath(os.path.dirname(link))}/".startswith(f"{os.path.realpath(link).rstrip('/')}/"):
        return f"{shown(link)}: a link to a folder that holds it; not followed"
    if _folder_id(link) in seen:
        return f"{shown(link)}: a link to a folder that is read already; not followed"
    return _passed_over(link) if _is_run(found, link) else ""


def _tree(found: Found, top: str, seen: set[tuple[int, int]], links: list[str]) -> Iterator[str]:
    """The files below a folder, without following links, which are added to `links`; its folders join `seen`."""

    def cannot(error: OSError) -> None:
        found.warnings.append(f"{shown(str(error.filename))}: cannot be listed: {error.strerror}; not read")

    for folder, folders, names in os.walk(top, onerror=cannot):
        seen.add(_folder_id(folder))
        for name in sorted(folders):
            path = os.path.join(folder, name)
            keep = False
            if name.startswith("."):
                found.hidden.append(path)
            elif os.path.islink(path):
                links.append(path)
            elif _is_run(found, path):
                found.warnings.append(_passed_over(path))
            else:
                keep = _folder_id(path) not in seen
            if not keep:
                folders.remove(name)
        yield from (os.path.join(folder, name) for name in names)


def _folder_id(path: str) -> tuple[int, int]:
    """The same for two names of one folder; of what cannot be looked at, of no other."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, hash(path)
    return status.st_dev, status.st_ino


def special(name: str) -> str | None:
    """What a name is that is neither a file, a folder, nor a link to one; else None."""
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return None
    return next((what for test, what in _SPECIAL if test(mode)), None)


# -- other runs, and this one --------------------------------------------------------------------------------


def _is_run(found: Found, folder: str) -> bool:
    """Whether a folder holds a run: its run.yaml begins with the recipe."""
    path = f"{folder}/{RUN}"
    try:
        with found.open(path) as handle:
            return bool(re.search(rb"^recipe:", handle.read(4096), re.MULTILINE))
    except (FileNotFoundError, PermissionError, ValueError):
        return False
    except OSError:
        if found.local:
            return False
        raise  # a store that does not answer says nothing about what it holds


def _runs_of(found: Found, folders: set[str]) -> list[str]:
    """The finished runs that these folders hold products of; ConfigError where one is not finished."""
    runs = []
    for folder in sorted(folders):
        parts = folder.split("/")
        places = [i for i in range(1, len(parts)) if parts[i] in _PRODUCTS]
        run = next((one for i in reversed(places) if _is_run(found, one := "/".join(parts[:i]))), None)
        if run is not None and run not in runs:
            _check_finished(found, run)
            runs.append(run)
    return runs


def _products_or_none(found: Found) -> None:
    """Of a glob: the products of runs, where it finds nothing else, or what lies in no run's folder."""
    folders = {name.rpartition("/")[0] for name in found.names}
    if folders and all(set(folder.split("/")) & set(_PRODUCTS) for folder in folders):
        found.runs = _runs_of(found, folders)
    if not found.runs:
        _without_runs(found, None)


def _check_finished(found: Found, run: str) -> None:
    """ConfigError where a run was stopped, goes on, or has failed tasks: its documents are not all there."""
    if tried(lambda: found.fs.exists(f"{run}/{LOCK}")):
        raise ConfigError(
            f"input {run}: this run is not finished ({LOCK} is there): it is still running, or was stopped; "
            "let it end, or continue it with the command that began it"
        )
    try:
        with found.open(f"{run}/{FUNNEL}") as handle:
            failures = json.load(handle)["failures"]
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(
            f"input {run}: this run is not finished (it has no whole {FUNNEL}); continue it with the command that "
            "began it"
        ) from None
    if failures:
        raise ConfigError(
            f"input {run}: {len(failures):,} of its tasks failed, so that documents are missing: {failures[0]}; "
            "run its command again first"
        )


def _passed_over(run: str) -> str:
    """The warning on a run's folder inside an input."""
    return f"{shown(run)}: the folder of a run inside the input; not read (to read its documents, give it by name)"


def _without_runs(found: Found, candidates: set[str] | None) -> None:
    """Leave out files that lie in the folder of a run below the input.

    `candidates` are folders with a run.yaml, where they are known from a listing; None: each folder is looked at, once.
    """
    known: dict[str, bool] = {}

    def inside(folder: str) -> bool:
        if len(folder) <= len(found.root):
            return False
        if folder not in known:
            above = inside(folder.rpartition("/")[0])
            known[folder] = above or ((candidates is None or folder in candidates) and _is_run(found, folder))
            if known[folder] and not above:
                found.warnings.append(_passed_over(folder))
        return known[folder]

    found.names = [name for name in found.names if not inside(name.rpartition("/")[0])]


def _without_ours(found: Found, given: str, path: str, ours: Sequence[str]) -> None:
    """Leave out what lies in a folder the run writes to; ConfigError where the input itself does."""
    for place in ours:
        if ("://" not in place) != found.local:
            continue
        folder = (os.path.realpath(os.path.expanduser(place)) if found.local else place.partition("://")[2]).rstrip("/")
        where = os.path.realpath(path) if found.local else path.lstrip("/")
        if f"{where}/".startswith(f"{folder}/"):
            inside = "is" if where.rstrip("/") == folder else "lies in"
            raise ConfigError(f"input {given} {inside} {place}, where the run writes; choose another --out")
        real = os.path.realpath if found.local else (lambda name: str(name).lstrip("/"))
        below = [name for name in found.names if f"{real(name)}".startswith(f"{folder}/")]
        if below:
            ours_too = set(below)
            found.names = [name for name in found.names if name not in ours_too]
            found.warnings.append(f"{place}: the run writes there; {len(below):,} files in it are not read as input")


# -- stamps and names ------------------------------------------------------------------------------------------


def stamp_of(path: str) -> str:
    """What a file is now, as text that changes when its content does; UNREADABLE where it cannot be opened.

    Of a member of an archive it is that of the archive.
    """
    path = archive_of(path)[0]
    if "://" not in path:
        return _local_stat(path)[1]
    fs, name = file_system(path)
    fs.invalidate_cache()
    return _remote_stat(fs, name)[1]


def _local_stat(name: str) -> tuple[int, str]:
    """(bytes, stamp) of a file of this machine."""
    try:
        status = os.stat(name)
    except OSError:
        return 0, UNREADABLE
    if not os.access(name, os.R_OK):
        return status.st_size, UNREADABLE
    return status.st_size, f"{status.st_size}-{status.st_mtime_ns}"


def _remote_stat(fs: Any, name: str) -> tuple[int, str]:
    """(bytes, stamp) of an object; OSError where the store does not answer, which says nothing about the object."""
    try:
        info = tried(lambda: fs.info(name))
    except HOPELESS:
        return 0, UNREADABLE
    except Exception as error:
        raise failure(name, error) from error
    mark = info.get("etag") or info.get("ETag") or info.get("LastModified") or info.get("mtime") or ""
    return int(info.get("size") or 0), f"{info.get('size')}-{mark}"


def matches(rel: str, pattern: str) -> bool:
    """`**` spans folders, `*` does not; a pattern that names a folder leaves out all below it."""
    parts = re.split(r"(\*\*/?|\*|\?)", pattern.rstrip("/"))
    table = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = "".join(table.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(expression + "(?:/.*)?", rel) is not None


def _not_utf8(name: str) -> bool:
    """Whether a name holds bytes that are not UTF-8, which Python has as lone surrogates."""
    try:
        name.encode()
        return False
    except UnicodeEncodeError:
        return True


def shown(name: str) -> str:
    """A file name that can be printed: bytes that are not UTF-8 as \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
