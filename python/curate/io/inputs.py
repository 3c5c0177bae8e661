"""What there is to read, and how it is cut into tasks.

Inputs are files, globs, folders, URLs (through fsspec) or the folder of another run. The cut is a pure function
of the sorted files and their sizes: a large file becomes equal slices (8 MiB of a WARC, 32 MiB of anything
else), small files of one input are put together, and such a group ends after a file whose name hashes to 0 mod
64, so that a new file moves few groups. A task's id is a hash of its slices: the same on every machine.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import fsspec

from curate.config import Settings, setting
from curate.errors import ConfigError

WARC_SLICE = 8 << 20
SLICE = 32 << 20

Format = Literal["warc", "wet", "jsonl", "parquet", "text"]
_COMPRESSED = (".gz", ".zst")
_KINDS: dict[str, Format] = {
    ".warc": "warc", ".wet": "wet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"
}  # fmt: skip
_TEXT = frozenset(
    (".txt", ".text", ".md", ".rst", ".tex", ".py", ".rs", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".js", ".ts")
    + (".go", ".rb", ".sh", ".sql", ".r", ".jl", ".scala", ".kt", ".swift", ".php", ".pl", ".lua", ".hs", ".ml")
    + (".css", ".toml", ".ini", ".cfg")
)


class InputSettings(Settings):
    """One entry of a recipe's `inputs`."""

    path: str = setting(..., "file, glob, folder, URL or the folder of another run; ~ and $VARIABLES are expanded")
    source: str = setting("main", "mixing domain that these documents belong to", min_length=1)
    format: Literal["auto", "warc", "wet", "jsonl", "parquet", "text"] = setting(
        "auto", "how to read the files; auto goes by their names, and a folder's other files are left alone"
    )
    columns: dict[str, str] = setting({}, "names of columns or keys in the input, for example {text: content}")
    exclude: list[str] = setting([], "globs, relative to the folder, of files to leave out")
    root: str | None = setting(
        None,
        "folder that origin_file and doc_id are relative to; by default the folder given, or a file's own",
    )


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the run was planned; `stamp` changes when its content does."""

    path: str
    rel: str
    format: Format
    source: str
    columns: dict[str, str]
    size: int
    stamp: str


@dataclass(frozen=True)
class Slice:
    """Part of an input file: bytes [start, end), or row groups of a Parquet file; end is None for the whole."""

    path: str
    rel: str
    format: Format
    source: str
    columns: dict[str, str] = field(default_factory=dict)
    start: int = 0
    end: int | None = None
    size: int = 0
    stamp: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TaskInput:
    """The slices that one task reads, in order; `limit` is the number of documents it may read, if any."""

    id: str
    slices: tuple[Slice, ...]
    limit: int | None = None

    @property
    def size(self) -> int:
        return sum(s.size for s in self.slices)


def reads_raw(slices: tuple[Slice, ...]) -> bool:
    """Whether these slices hold crawl records, which need `extract` before anything else."""
    return any(piece.format == "warc" for piece in slices)


def list_files(inputs: Sequence[InputSettings]) -> list[InputFile]:
    """Every file of every input, sorted within its input; ConfigError where an input matches nothing."""
    files: list[InputFile] = []
    for entry in inputs:
        files.extend(_list_input(entry))
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.rel, file.path)
        if other != file.path:
            raise ConfigError(
                f'two inputs hold a file named "{file.rel}": {other} and {file.path}; documents are identified by '
                "this name, so set `root` of both inputs to the folder above them"
            )
    return list({file.path: file for file in files}.values())


def _list_input(entry: InputSettings) -> list[InputFile]:
    given = os.path.expandvars(os.path.expanduser(entry.path))
    if "$" in given and "://" not in given:
        raise ConfigError(f"input {entry.path}: an environment variable in it is not set")
    fs, path = fsspec.core.url_to_fs(given)
    local = "file" in fs.protocol
    if any(mark in path for mark in "*?["):
        found = sorted(str(p) for p in fs.glob(path) if not fs.isdir(p))
        root = path[: next(i for i, c in enumerate(path) if c in "*?[")].rpartition("/")[0]
    elif fs.isdir(path):
        root = path = path.rstrip("/")
        if fs.exists(f"{path}/run.yaml") and fs.isdir(f"{path}/documents"):
            root = path = f"{path}/documents"
        found = _walk(path) if local else sorted(fs.find(path))
    else:
        if not (fs.exists(path) or (local and os.path.lexists(path))):
            raise ConfigError(f"input {entry.path}: no such file or folder")
        found, root = [path], path.rpartition("/")[0]
    if entry.root is not None:
        root = fsspec.core.url_to_fs(os.path.expandvars(os.path.expanduser(entry.root)))[1].rstrip("/")
    if entry.format != "auto" and len(found) > 1:  # of a folder's files, those that look like it, if any do
        found = [name for name in found if _format(name) == entry.format] or [n for n in found if not _format(n)]
    files = []
    for name in found:
        rel = name[len(root) :].lstrip("/") if name.startswith(root) else name
        kind = _format(name) if entry.format == "auto" else entry.format
        hidden = any(part.startswith(".") for part in rel.split("/"))
        if kind is None or hidden or any(_matches(rel, glob) for glob in entry.exclude):
            continue
        size, stamp = _stat(fs, name, local)
        address = name if local else fs.unstrip_protocol(name)
        files.append(InputFile(address, rel, kind, entry.source, entry.columns, size, stamp))
    if not files:
        known = ".warc[.gz|.zst], .wet.gz, .jsonl[.gz|.zst], .parquet, .txt and source code"
        raise ConfigError(f"input {entry.path}: nothing to read there (looked for {known}); `format` reads other names")
    return files


def _walk(top: str) -> list[str]:
    found: list[str] = []
    for folder, folders, names in os.walk(top):
        folders.sort()
        found.extend(os.path.join(folder, name) for name in names)
    return sorted(found)


def _matches(rel: str, glob: str) -> bool:
    """`**` spans folders, `*` does not; a pattern that names a folder leaves out all below it."""
    parts = re.split(r"(\*\*/?|\*|\?)", glob.rstrip("/"))
    table = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(table.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(pattern + "(?:/.*)?", rel) is not None


def _format(name: str) -> Format | None:
    """The format that a file's name tells, or None."""
    base = name.lower()
    for suffix in _COMPRESSED:
        base = base.removesuffix(suffix)
    if base.endswith(".warc.wet"):
        return "wet"
    suffix = os.path.splitext(base)[1]
    return _KINDS.get(suffix) or ("text" if suffix in _TEXT else None)


def _stat(fs: fsspec.AbstractFileSystem, name: str, local: bool) -> tuple[int, str]:
    """(size, stamp); a file that cannot be looked at is still listed, so that its task fails by name."""
    try:
        if local:
            status = os.stat(name)
            return status.st_size, f"{status.st_size}-{status.st_mtime_ns}"
        info = fs.info(name)
    except OSError:
        return 0, "unreadable"
    mark = info.get("etag") or info.get("ETag") or info.get("LastModified") or info.get("mtime") or ""
    return int(info.get("size") or 0), f"{info.get('size')}-{mark}"


def cut(files: Iterable[InputFile], limit: int | None = None) -> list[TaskInput]:
    """The tasks that read these files. `limit` documents in all are shared out evenly over the tasks."""
    groups: list[list[Slice]] = []
    open_group: list[Slice] = []
    previous: tuple[Any, ...] | None = None
    for file in files:
        slices = list(_slices(file))
        kind = (file.source, file.format, sorted(file.columns.items()))
        full = sum(s.size for s in open_group) + file.size > _target(file.format)
        alone = len(slices) > 1 or file.format == "parquet"
        if open_group and (alone or full or kind != previous):
            groups.append(open_group)
            open_group = []
        if alone:
            groups.extend([s] for s in slices)
        else:
            open_group.extend(slices)
            if _ends_group(file.rel):
                groups.append(open_group)
                open_group = []
        previous = kind
    if open_group:
        groups.append(open_group)
    quotas = _share(limit, len(groups))
    return [TaskInput(_task_id(g, q), tuple(g), q) for g, q in zip(groups, quotas, strict=True) if q != 0]


def _share(limit: int | None, n: int) -> list[int | None]:
    if limit is None:
        return [None] * n
    return [limit // n + (i < limit % n) for i in range(n)]


def _target(kind: Format) -> int:
    return WARC_SLICE if kind == "warc" else SLICE


def _slices(file: InputFile) -> Iterator[Slice]:
    common: dict[str, Any] = {"path": file.path, "rel": file.rel, "format": file.format, "source": file.source,
              "columns": file.columns, "stamp": file.stamp}  # fmt: skip
    if file.format == "parquet":
        for start, end, size in _row_groups(file):
            yield Slice(**common, start=start, end=end, size=size)
        return
    lower = file.path.lower()
    plain_lines = file.format == "jsonl" and not lower.endswith(_COMPRESSED)
    members = file.format in ("warc", "wet") and lower.endswith(".gz")
    parts = -(-file.size // _target(file.format)) if plain_lines or members else 1
    if parts <= 1:
        yield Slice(**common, start=0, end=None, size=file.size)
        return
    edges = [file.size * i // parts for i in range(parts + 1)]
    for start, end in itertools.pairwise(edges):
        yield Slice(**common, start=start, end=end, size=end - start)


def _row_groups(file: InputFile) -> Iterator[tuple[int, int | None, int]]:
    """Runs of row groups of about SLICE bytes; a file that cannot be opened is one slice, whose task says why."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with fsspec.open(file.path, "rb") as handle:
            metadata = pq.read_metadata(handle)
    except (OSError, pa.ArrowInvalid):
        yield 0, None, file.size
        return
    if metadata.num_row_groups == 0:
        yield 0, 0, file.size
    start = size = 0
    for index in range(metadata.num_row_groups):
        size += metadata.row_group(index).total_byte_size
        if size >= SLICE or index + 1 == metadata.num_row_groups:
            yield start, index + 1, size
            start, size = index + 1, 0


def _ends_group(rel: str) -> bool:
    return hashlib.sha256(rel.encode()).digest()[0] % 64 == 0


def _task_id(slices: Sequence[Slice], quota: int | None) -> str:
    text = "\n".join(f"{s.rel}\0{s.start}\0{s.end}" for s in slices) + ("" if quota is None else f"\nlimit {quota}")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
