"""What there is to read, and how it is cut into tasks.

Inputs are files, globs, folders, URLs (through fsspec) or the folder of another run. Listing them finds out all that
the plan needs: what each file is and whether it is a document in this company (forms.py, folder.py), and the footer of
every Parquet file, for row groups to cut at and the columns that the run carries on. Whatever is left out is told.

Folders named `key=value`, as Hive writes partitions, say something of all rows below: a known column, as `lang=en`, or
one of its own.

The cut is a pure function of the sorted files and their sizes. A large file becomes equal slices: of 8 MiB for a
compressed WARC, of 32 MiB for anything else. Small files of one input are put together into groups of at most that
size. A group also ends after a file whose name hashes to 0 mod 64: where a file is added, the groups before it and
those after the next such name stay as they were. A file that cannot be opened is a task of its own. A task's id is a
hash of its slices: the same on every machine.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from curate.config import ByteSize, Settings, setting
from curate.errors import ConfigError, DataError, SchemaError
from curate.io import columns, compressed, folder, forms, listing
from curate.io.compressed import Codec
from curate.io.folder import Candidate, Passed
from curate.io.forms import Format
from curate.io.listing import Found, stamp_of
from curate.schema import Kind

__all__ = [
    "Format", "InputFile", "InputSettings", "Inputs", "Passed", "Slice", "Survey", "TaskInput", "cut", "list_files",
    "reads_raw", "settled", "stamp_of", "survey",
]  # fmt: skip

WARC_SLICE = 8 << 20  # bytes of a compressed WARC; its pages are several times as long, and are extracted
SLICE = 32 << 20  # bytes as stored, of any other form
MAX_LINE = 64 << 20
_TOLD = 10  # repeated files that are named
AGAINST = "against"  # what the names of files begin with whose documents are only compared with

THREADS = 16  # files of an object store that are looked at at once


class InputSettings(Settings):
    """One entry of a recipe's `inputs`."""

    path: str = setting(..., "file, glob, folder, URL or the folder of another run; ~ and $VARIABLES are expanded")
    source: str = setting("main", "mixing domain that these documents belong to", min_length=1)
    format: Literal["auto", "warc", "wet", "jsonl", "parquet", "arrow", "csv", "tsv", "html", "text", "wiki", "tar"] = (
        setting(
            "auto",
            "what to read of a folder, or how to read a file; auto goes by content, name and the other files there",
        )
    )
    columns: dict[str, str] = setting(
        {},
        "names of columns or keys in the input, for example {text: content, url: meta.url}; meta.url is the key url of"
        " the object meta; a key that is named gets a column",
    )
    exclude: list[str] = setting([], "globs, relative to the folder, of files to leave out")
    root: str | None = setting(
        None,
        "folder that origin_file and doc_id are relative to; by default the folder given, or a file's own",
    )
    trust_ids: bool = setting(
        False,
        "keep doc_id, source, origin_file and origin_offset of these files, as of a finished run's folder; "
        "otherwise their own ids become source_id",
    )
    against: bool = setting(
        False,
        "only compare with these documents: what is like them goes, they stay, and nothing of them is written",
    )
    max_line: ByteSize = setting(
        MAX_LINE, "longest line of JSON, and longest text file; what is longer is dropped", unit="bytes", ge=1
    )
    verify_digests: bool = setting(
        False, "compare the digests in WARC records with their bytes; where they differ, the row gets a mark"
    )


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the run was planned; `stamp` changes when its content does.

    `groups` are runs of a Parquet file's row groups: (first, one past the last, bytes). rows and text_bytes stand in
    its footer; they are 0 for other files. A file that is not `readable` is listed so that its task fails by name.
    """

    path: str  # on this machine, or a URL
    rel: str  # the name that documents are identified by, relative to the input's root
    format: Format
    source: str  # mixing domain, from the recipe, or of the partition `source=` that it lies in
    columns: dict[str, str]  # the user's names: ours -> the input's
    size: int  # bytes as stored
    stamp: str  # size and time, or size and etag; listing.UNREADABLE where it cannot be opened
    codec: Codec | None = None  # how it is compressed; None: its first bytes tell
    partitions: dict[str, str] = field(default_factory=dict)  # what its folders say of all its rows
    kind: Kind = "document"  # of its rows
    carried: str = ""  # columns that are carried on (columns.to_text)
    trusted: bool = False  # its doc_id, source and origin are kept
    against: bool = False  # its documents are only compared with
    max_line: int = MAX_LINE  # bytes, of a line of JSON or a text file
    verify_digests: bool = False  # of the records of a WARC
    readable: bool = True
    groups: tuple[tuple[int, int | None, int], ...] = ()
    rows: int = 0
    text_bytes: int = 0


@dataclass(frozen=True)
class Slice:
    """Part of an input file: bytes [start, end), or row groups of a Parquet file; end is None for the whole.

    A slice holds what starts in it: the line, record, gzip member or zstd frame that begins before `end` is read to its
    end, and the one that began before `start` is left to the slice before. `carried` are the columns that all rows of
    the run have beside those of their kind (columns.to_text); `trusted` files keep their doc_id. Other fields are those
    of InputFile.
    """

    path: str
    rel: str
    format: Format
    source: str
    columns: dict[str, str] = field(default_factory=dict)
    start: int = 0
    end: int | None = None
    size: int = 0  # bytes as stored, of this part
    stamp: str = ""
    codec: Codec | None = None
    partitions: dict[str, str] = field(default_factory=dict)
    kind: Kind = "document"
    carried: str = ""
    trusted: bool = False
    against: bool = False
    max_line: int = MAX_LINE
    verify_digests: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, for fingerprints and plans."""
        return dict(vars(self))


@dataclass(frozen=True)
class TaskInput:
    """The slices that one task reads, in order; `limit` is the number of documents it may read, if any."""

    id: str
    slices: tuple[Slice, ...]
    limit: int | None = None

    @property
    def size(self) -> int:
        """Bytes of all slices, as stored."""
        return sum(s.size for s in self.slices)

    @property
    def against(self) -> bool:
        """Whether its documents are only compared with."""
        return self.slices[0].against


@dataclass(frozen=True)
class Inputs:
    """Every file of every input, what was left out and why, and the inputs whose doc_ids are kept."""

    files: tuple[InputFile, ...]
    warnings: tuple[str, ...] = ()
    passed: tuple[Passed, ...] = ()  # files that are not read; the warnings name them too
    trusted: tuple[str, ...] = ()  # folders of runs, and paths with trust_ids
    # Several inputs keep their doc_ids, or the user vouches for them: the run must look for repeats.
    ids_may_repeat: bool = False

    def __iter__(self) -> Iterator[InputFile]:
        return iter(self.files)


def reads_raw(slices: tuple[Slice, ...]) -> bool:
    """Whether these slices hold crawl records, which need `extract` before their text can be read."""
    return any(piece.kind == "raw" for piece in slices)


# -- listing ---------------------------------------------------------------------------------------------------


@dataclass
class Survey:
    """What the inputs hold, before it is decided whether that will do."""

    inputs: Sequence["InputSettings"]
    chosen: list["_Chosen"] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    alone: set[int] = field(default_factory=set)  # numbers of the inputs that are one file, given by its name

    @property
    def files(self) -> list[InputFile]:
        """The files that would be read."""
        return [one.file for one in self.chosen]


def list_files(
    inputs: Sequence[InputSettings], out: str | Path | None = None, scratch: str | Path | None = None
) -> Inputs:
    """Every file of every input, sorted within its input. `out` and `scratch` are the folders the run writes to.

    Raises ConfigError where an input matches nothing, is mostly something else, is an unfinished run, or lies in a
    folder that the run writes to, and SchemaError where its tables have not the columns that are needed.
    """
    return settled(survey(inputs, out, scratch))


def survey(inputs: Sequence[InputSettings], out: str | Path | None = None, scratch: str | Path | None = None) -> Survey:
    """What the inputs hold.

    ConfigError where one cannot be listed, is an unfinished run, or lies where the run writes.
    """
    found = Survey(inputs)
    ours = [str(place) for place in (out, scratch) if place is not None]
    for number, entry in enumerate(inputs):
        _check_columns(entry)
        listed = listing.find(entry.path, entry.root, ours)
        if listed.alone:
            found.alone.add(number)
        _files_of(entry, listed, found)
        found.trusted += listed.runs or ([entry.path] if entry.trust_ids else [])
    return found


def settled(found: Survey) -> Inputs:
    """The files of a survey with all that the plan needs; raises as `list_files`."""
    for number, entry in enumerate(found.inputs):
        mine = [one for one in found.chosen if one.entry is entry]
        left = [one for one in found.passed if one.input == entry.path]
        if not mine:
            told = "; ".join(str(one).partition(": ")[2] for one in left) or "it holds no files"
            raise ConfigError(f"input {entry.path}: nothing to read there: {told}")
        if entry.format == "auto" and number not in found.alone:
            folder.check(entry.path, sum(one.file.size for one in mine), left)
    warnings = [*found.warnings, *map(str, found.passed)]
    files = _with_columns(_without_repeats(found.chosen, warnings), found.inputs)
    may_repeat = len(found.trusted) > 1 or any(entry.trust_ids for entry in found.inputs)
    may_repeat |= bool(found.trusted) and any(entry.against for entry in found.inputs)
    # What is compared with comes first in every order that goes by places.
    files.sort(key=lambda file: not file.against)
    return Inputs(tuple(files), tuple(warnings), tuple(found.passed), tuple(found.trusted), may_repeat)


class _Chosen(NamedTuple):
    """A file that an input's settings choose."""

    entry: InputSettings
    file: InputFile
    identity: Any  # the same for two names of one file


def _check_columns(entry: InputSettings) -> None:
    """ConfigError where `columns` gives one name of the input to two of ours."""
    given = list(entry.columns.values())
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        both = " and as ".join(ours for ours, name in entry.columns.items() if name == twice)
        raise ConfigError(f'input {entry.path}: `columns` reads "{twice}" as {both}; name it once')


def _files_of(entry: InputSettings, found: Found, into: Survey) -> None:
    """Add to a survey the files of one input that its settings choose, and what is passed over of it."""
    into.warnings.extend(found.warnings)
    unused = set(entry.exclude)
    excluded = set()
    for name in found.names:
        matching = {glob for glob in entry.exclude if listing.matches(found.relative(name), glob)}
        unused -= matching
        if matching:
            excluded.add(name)
    into.warnings.extend(f'input {entry.path}: exclude "{glob}" matches no file' for glob in sorted(unused))
    candidates = _candidates(entry, found, excluded)
    kept, left = folder.choose(entry.path, candidates, entry.format, excluded, alone=found.alone)
    if found.hidden:
        names = tuple(found.relative(name) + "/" for name in found.hidden[: folder.NAMED])
        left.append(Passed(entry.path, "hidden folders, not looked into", len(found.hidden), 0, names))
    into.passed.extend(left)
    for suffix, what in ((".wacz", "the WARCs in it are read"), (".open", "still being written, by its name; read")):
        told = [one.rel for one in kept if one.name.lower().endswith(suffix)]
        if told:
            into.warnings.append(folder.listed(entry.path, what, told))
    into.chosen.extend(one for candidate in kept for one in _chosen(entry, found, candidate))


def _candidates(entry: InputSettings, found: Found, excluded: set[str]) -> list[Candidate]:
    """The files of an input as they are found. Of an object store only those are looked into whose names tell too
    little, since that takes a request each."""
    texts = frozenset(entry.columns.get(name, name) for name in ("text", "html", "payload"))

    def one(name: str) -> Candidate:
        rel, what = found.relative(name), found.special(name)
        if what:
            return Candidate(name, f"{rel} ({what})", 0, "", forms.Form(None, why=forms.UNKNOWN), what)
        size, stamp = found.stat(name)
        named = forms.by_name(name)[0]
        looked = stamp != listing.UNREADABLE and name not in excluded and (found.local or named in (None, "json"))
        head = found.head(name, forms.HEAD) if looked and size else b""
        return Candidate(name, rel, size, stamp, forms.of(name, head, size, texts))

    if found.local or len(found.names) < 2:
        return [one(name) for name in found.names]
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, found.names))


def _chosen(entry: InputSettings, found: Found, one: Candidate) -> Iterator[_Chosen]:
    """A file as an input of the run; of an archive of WARCs, its members."""
    form = one.form.format
    assert form is not None
    raw = form in ("warc", "html", "mhtml") or one.form.raw
    partitions = _partitions(one.rel) if form not in ("text", "html", "mhtml") else {}
    file = InputFile(
        found.address(one.name), one.rel, form, partitions.pop("source", entry.source), entry.columns, one.size,
        one.stamp, one.form.codec, partitions, kind="raw" if raw else "document",
        trusted=bool(found.runs) or entry.trust_ids, against=entry.against, max_line=entry.max_line,
        verify_digests=entry.verify_digests, readable=one.stamp != listing.UNREADABLE,
    )  # fmt: skip
    if entry.against:  # its files may have the names of those that are compared with them
        file = replace(file, rel=f"{AGAINST}/{file.rel}")
    identity = found.identity(one.name)
    if not (form == "warc" and one.name.lower().endswith(".wacz")):
        yield _Chosen(entry, file, identity)
        return
    try:
        members = compressed.warc_members(file.path)
    except (OSError, DataError):
        members = []  # a damaged archive is searched for records as it is
    for name, size, stored in members:
        # What is compressed twice cannot be entered in the middle.
        codec = forms.by_name(name)[1] if stored else ""
        path, rel = f"{file.path}/{name}", f"{file.rel}/{listing.shown(name)}"
        yield _Chosen(entry, replace(file, path=path, rel=rel, size=size, codec=codec), (identity, name))
    if not members:
        yield _Chosen(entry, file, identity)


def _partitions(rel: str) -> dict[str, str]:
    """What the folders of a file say, as Hive names them: `lang=en/year=2024/part-0.parquet` gives both."""
    found = {}
    for part in rel.split("/")[:-1]:
        named = re.fullmatch(r"([A-Za-z_]\w{0,63})=(.*)", part)
        if named and named[2] != "__HIVE_DEFAULT_PARTITION__":
            found[named[1]] = columns.valid_text(unquote(named[2]))[0]
    return {name: value for name, value in found.items() if name not in _NO_PARTITIONS}


# Names of columns that no folder may set for all rows.
_NO_PARTITIONS = frozenset((*columns.OURS - {"source"}, "text", "html", "payload"))


def _without_repeats(chosen: list[_Chosen], warnings: list[str]) -> list[_Chosen]:
    """A file that is given twice, by two names too, once; ConfigError where two files would share a name."""
    by_identity: dict[Any, str] = {}
    by_name: dict[str, str] = {}
    kept, again = [], []
    for one in chosen:
        path = one.file.path
        if one.identity in by_identity:
            other = by_identity[one.identity]
            again.append(f"{path}: given twice; read once" if path == other else f"{path}: the same file as {other}")
            continue
        by_identity[one.identity] = path
        other = by_name.setdefault(one.file.rel, path)
        if other != path:
            raise ConfigError(
                f'two inputs hold a file named "{one.file.rel}": {other} and {path}; documents are identified by '
                "this name, so set `root` of both inputs to the folder above them"
            )
        kept.append(one)
    warnings.extend(again[:_TOLD])
    if len(again) > _TOLD:
        warnings.append(f"{len(again) - _TOLD:,} more files are given twice or have two names; each is read once")
    return kept


def _with_columns(chosen: list[_Chosen], inputs: Sequence[InputSettings]) -> list[InputFile]:
    """The files with what the footers of all Parquet files say, and with the columns that the run carries on.

    A file with a footer that cannot be read is not `readable`; one without the needed columns is not either, unless no
    file of the input has them: then the setting is wrong, and SchemaError is raised before anything runs.
    """
    files = [one.file for one in chosen]
    places = [i for i, file in enumerate(files) if file.format in ("parquet", "arrow") and file.readable]
    tables: dict[int, columns.Table] = {}
    names: dict[int, list[str]] = {}
    faults: dict[int, SchemaError] = {}
    if places:
        from curate.io.footers import read_footers

        for i, footer in zip(places, read_footers([files[i] for i in places], SLICE), strict=True):
            file = files[i]
            files[i] = replace(file, readable=False)
            if footer is None:
                continue
            lifted = columns.Lift.of(footer.columns, file.columns.values())
            names[i] = sorted({*lifted.names, *lifted.schema.names})
            try:
                tables[i] = columns.table_of(lifted.schema, file.columns, trusted=file.trusted, where=file.path)
            except SchemaError as error:
                faults[i] = error
                continue
            files[i] = replace(
                file, kind=tables[i].kind, groups=footer.groups, rows=footer.rows, text_bytes=footer.text_bytes
            )
    for entry in inputs:
        mine = [i for i, one in enumerate(chosen) if one.entry is entry]
        if mine and all(files[i].format in ("parquet", "arrow") for i in mine):
            _check_found(entry, [names[i] for i in mine if i in names])
            if mine[0] in faults and all(i in faults for i in mine):
                raise faults[mine[0]]
    named = {ours for file in files if file.format in _NAMED_COLUMNS for ours in file.columns}
    named |= {name for file in files for name in file.partitions}
    own = [table for i, table in tables.items() if not files[i].against]
    schemas = columns.carried(own, named, pages=any(file.kind == "raw" for file in files))
    texts = {kind: columns.to_text(found) for kind, found in schemas.items()}
    return [replace(file, carried=texts[file.kind]) for file in files]


# Forms whose columns are known when they are read; what the setting `columns` names is carried as text.
_NAMED_COLUMNS: tuple[Format, ...] = ("jsonl", "json", "csv", "tsv", "tar")


def _check_found(entry: InputSettings, names: list[list[str]]) -> None:
    """ConfigError where an input's settings name what no Parquet file of it has."""
    there = sorted({name for of_file in names for name in of_file})
    missing = [name for name in columns.wanted(entry.columns, trusted=entry.trust_ids) if name not in there]
    if there and missing:
        ours = next((ours for ours, given in entry.columns.items() if given == missing[0]), None)
        what = f'`columns` reads "{missing[0]}" as {ours}' if ours else f"`trust_ids` reads {missing[0]}"
        raise ConfigError(
            f"input {entry.path}: {what}, and no file there has such a column; there are: {columns.listed(there)}"
        )


# -- cutting ---------------------------------------------------------------------------------------------------


def cut(files: Iterable[InputFile], limit: int | None = None) -> list[TaskInput]:
    """The tasks that read these files.

    `limit` documents in all are shared out evenly over the tasks: the first tasks get the remainder, and a task that
    would get none is left out. What is only compared with is read whole. A group holds files that are read alike: of
    one source, form, kind, and with equal settings.
    """
    groups: list[list[Slice]] = []
    open_group: list[Slice] = []
    held = 0
    previous: tuple[Any, ...] | None = None
    for file in files:
        slices = list(_slices(file))
        if not file.readable:  # its task fails, and takes no other file with it
            groups.append(slices)
            continue
        size = sum(s.size for s in slices)
        kind = (
            file.source,
            file.format,
            file.kind,
            file.trusted,
            file.against,
            file.max_line,
            file.verify_digests,
            sorted(file.columns.items()),
        )
        if open_group and (len(slices) > 1 or held + size > _target(file) or kind != previous):
            groups.append(open_group)
            open_group, held = [], 0
        if len(slices) > 1:
            groups.extend([s] for s in slices)
        else:
            open_group.extend(slices)
            held += size
            if _ends_group(file.rel):
                groups.append(open_group)
                open_group, held = [], 0
        previous = kind
    if open_group:
        groups.append(open_group)
    compared = sum(group[0].against for group in groups)  # they come first
    quotas = [None] * compared + _share(limit, len(groups) - compared)
    return [TaskInput(_task_id(g, q), tuple(g), q) for g, q in zip(groups, quotas, strict=True) if q != 0]


def _share(limit: int | None, n: int) -> list[int | None]:
    """`limit` in `n` whole parts that differ by at most 1; None for each where there is no limit."""
    if limit is None:
        return [None] * n
    return [limit // n + (i < limit % n) for i in range(n)]


def _target(file: InputFile) -> int:
    """Bytes as stored that a task should read of such files."""
    return WARC_SLICE if file.format == "warc" and file.codec else SLICE


def _slices(file: InputFile) -> Iterator[Slice]:
    """The slices of one file, in order.

    Parquet is cut at row groups, plain JSON lines and WARC at any byte: their readers find the next line, record, gzip
    member or zstd frame themselves. Nothing else can be entered in the middle, so that it is one slice.
    """
    common: dict[str, Any] = {name: getattr(file, name) for name in _SHARED}
    if file.format in ("parquet", "arrow"):
        for start, end, size in file.groups or ((0, None, file.size),):
            yield Slice(**common, start=start, end=end, size=size)
        return
    lines = file.format == "jsonl" and not file.codec
    packed = not file.codec and compressed.archive_of(file.path)[1]  # perhaps compressed by its archive
    records = file.format in ("warc", "wet") and not packed
    parts = -(-file.size // _target(file)) if lines or records else 1
    if parts <= 1:
        yield Slice(**common, start=0, end=None, size=file.size)
        return
    edges = [file.size * i // parts for i in range(parts + 1)]
    for start, end in itertools.pairwise(edges):
        yield Slice(**common, start=start, end=end, size=end - start)


# Fields of InputFile that its slices have too.
_SHARED = [f.name for f in fields(InputFile) if f.name in {f.name for f in fields(Slice)} and f.name != "size"]


def _ends_group(rel: str) -> bool:
    """Whether a group of small files ends after this one: by its name alone, for 1 in 64."""
    return hashlib.sha256(rel.encode()).digest()[0] % 64 == 0


def _task_id(slices: Sequence[Slice], quota: int | None) -> str:
    """12 hex digits from the slices' names and bounds and the limit: the same on every machine."""
    text = "\n".join(f"{s.rel}\0{s.start}\0{s.end}" for s in slices) + ("" if quota is None else f"\nlimit {quota}")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
