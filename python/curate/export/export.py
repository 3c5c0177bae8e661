"""`export`: a finished run's documents or token shards as files of a set size, and a manifest of them.

    documents-00000.jsonl.zst …  or  tokens-00000.bin …, heldout- before the name for the heldout lane
    manifest.json                what was exported, of what, and documents, tokens, bytes and SHA-256 of each file
    tokenizer.json               beside token ids: the tokenizer that made them

The bytes follow from the run and the settings alone. A file appears whole, then parts/<number>.json says what it holds;
after a kill the same call goes on behind the last file that has one, passing over the documents before it. When all
files are there the manifest says so, and parts/ goes.
"""

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from curate.errors import ConfigError
from curate.export.documents import SHAPES, Columns, DocumentFile, columns_of, records
from curate.export.settings import ExportSettings
from curate.export.tokens import Shards, Tally, TokenFile
from curate.io.lock import NAME as LOCK
from curate.io.lock import FolderLock
from curate.io.store import TEMPORARY_NAME, LocalStore, RemoteStore, Store, Written, open_store, write_bytes
from curate.run.manifest import RunFolder
from curate.run.status import DOCUMENTS, open_run, status_of

MANIFEST, PARTS, TOKENIZER = "manifest.json", "parts", "tokenizer.json"
VERSION = 1  # of the manifest
WATCHED = 1000  # documents between two calls of `watch`

Watch = Callable[["Exported"], None]


@dataclass
class Exported:
    """What was written, up to now."""

    files: list[dict[str, Any]] = field(default_factory=list)  # entries of the manifest
    documents: int = 0  # in `files` and in the file at hand
    total: int | None = None  # documents that there will be; None where a mixture decides
    bytes: int = 0  # of `files`
    kept: int = 0  # files that an earlier call had made
    manifest: dict[str, Any] = field(default_factory=dict)  # at the end
    warnings: list[str] = field(default_factory=list)


class _File(Protocol):
    """A file in the making: DocumentFile or TokenFile."""

    def commit(self) -> dict[str, Any]: ...
    def abort(self) -> None: ...


F = TypeVar("F", bound=_File)


def export(
    run: str | Path,
    settings: ExportSettings,
    out: str | Path,
    watch: Watch = lambda done: None,
    *,
    take_over: bool = False,
) -> Exported:
    """Write the files; `watch` is called while they grow.

    ConfigError where the run is not finished or lacks what the form needs, and where `out` holds anything else;
    DamageError where a file of the run is not what the run wrote.
    """
    folder = open_run(run)
    state = status_of(folder).state
    if state != "finished":
        raise ConfigError(f"{run}: this run is not finished ({state}); run its own command until it ends, then export")
    store = open_store(out)
    _check_apart(folder.products, store)
    work = _Tokens(folder, settings) if settings.reads_tokens else _Texts(folder, settings)
    with FolderLock(store, "curate export", take_over) as lock:
        done = Exported(total=work.total, warnings=list(lock.warnings))
        identity = {"version": VERSION, "export": _described(settings), "run": work.identity}
        done.files = _begin(store, identity)
        done.kept, done.bytes = len(done.files), sum(entry["bytes"] for entry in done.files)
        work.write(store, done, watch)
        done.manifest = {**identity, "finished": True, **work.facts(), **_sums(done.files), "files": done.files}
        write_bytes(store, MANIFEST, _json(done.manifest))
        for rel in list(store.list(PARTS)):
            store.delete(rel)
    done.warnings += work.warnings()
    return done


def _described(settings: ExportSettings) -> dict[str, Any]:
    """The settings as the manifest has them."""
    unit, limit = settings.limit
    facts: dict[str, Any] = {"form": settings.to, "lane": settings.lane, "file_ends_at": {unit: limit}}
    return facts if settings.reads_tokens else {**facts, "columns": list(settings.columns) or None}


def _sums(files: list[dict[str, Any]]) -> dict[str, int]:
    """Documents, bytes and, of token ids, tokens of all files."""
    names = [name for name in ("documents", "tokens", "bytes") if any(name in entry for entry in files)]
    return {name: sum(entry[name] for entry in files) for name in names}


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode() + b"\n"


def _check_apart(run: Store, out: Store) -> None:
    """ConfigError where `out` is the run's folder or inside of it: files there would belong to the run."""
    if isinstance(run, LocalStore) and isinstance(out, LocalStore):
        inside = out.root.absolute().resolve().is_relative_to(run.root.absolute().resolve())
    else:
        inside = f"{out.name}/".startswith(f"{run.name}/")
    if inside:
        raise ConfigError(f"--out {out.name}: this is inside of the run's folder; name a folder beside it")


# -- what is there already -------------------------------------------------------------------------------------


def _begin(store: Store, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the folder ours, or find it so: the entries of the files that are there, up to the first that is not whole.

    ConfigError where it holds anything else than this export.
    """
    try:
        found = json.loads(store.read(MANIFEST))
    except OSError:
        found = None
    except ValueError:
        found = {}
    if found is None:
        others = [rel for rel in store.list("") if not (rel.startswith(LOCK) or _is_temporary(rel))]
        if others:
            raise ConfigError(
                f"--out {store.name}: this folder is not empty and holds no export ({others[0]} is there); name another"
                " folder, or an empty one"
            )
    elif not isinstance(found, dict) or any(found.get(key) != value for key, value in identity.items()):
        raise ConfigError(f"--out {store.name}: {_difference(found, identity)}; name another folder, or empty this one")
    entries = list(_entries(store, found or {}))
    if found is None or (found["finished"] and len(entries) < len(found["files"])):
        write_bytes(store, MANIFEST, _json({**identity, "finished": False}))
    _remove_leftovers(store)
    return entries


def _difference(found: Any, identity: dict[str, Any]) -> str:
    """What a manifest says that is not of this export."""
    if not isinstance(found, dict) or not isinstance(found.get("export"), dict):
        return f"{MANIFEST} in it is not that of an export"
    for key, value in identity["export"].items():
        if found["export"].get(key) != value:
            return f"it holds an export with another {key} ({json.dumps(found['export'].get(key))})"
    return "it holds an export of another run, or of this run before it changed"


def _entries(store: Store, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Entries of the files from the first on, as long as they are there in full."""
    for number in itertools.count():
        if manifest.get("finished"):
            if number == len(manifest["files"]):
                return
            entry = manifest["files"][number]
        else:
            try:
                entry = json.loads(store.read(f"{PARTS}/{number:05}.json"))
            except (OSError, ValueError):
                return
        for file in (entry, *(entry[name] for name in ("order", "index") if name in entry)):
            there = store.stat(file["path"])
            if there is None or there.bytes != file["bytes"]:
                return
        yield entry


def _is_temporary(rel: str) -> bool:
    return TEMPORARY_NAME.match(rel.rpartition("/")[2]) is not None


def _remove_leftovers(store: Store) -> None:
    """Remove what a kill left of files in the making."""
    for rel in list(store.list("")):
        if _is_temporary(rel):
            store.delete(rel)
    if isinstance(store, RemoteStore):
        store.remove_uploads()


@contextlib.contextmanager
def _next_file(store: Store, done: Exported, stem: str, create: Callable[[str], F]) -> Iterator[F]:
    """The next file, which is committed at the end, then noted."""
    number = len(done.files)
    file = create(f"{stem}-{number:05}")
    try:
        yield file
        entry = file.commit()
    except BaseException:
        file.abort()
        raise
    write_bytes(store, f"{PARTS}/{number:05}.json", _json(entry))
    done.files.append(entry)
    done.bytes += entry["bytes"]


# -- documents -------------------------------------------------------------------------------------------------


class _Texts:
    """The export of documents."""

    def __init__(self, folder: RunFolder, settings: ExportSettings) -> None:
        self.folder, self.settings = folder, settings
        self.files = _documents(folder, settings.lane)
        self.total: int | None = sum(file.rows for file in self.files)
        self.columns: Columns = columns_of(folder, self.files, settings)
        content = "\n".join(f"{file.path} {file.sha256}" for file in self.files)
        self.identity = {"documents_sha256": hashlib.sha256(content.encode()).hexdigest()}

    def write(self, store: Store, done: Exported, watch: Watch) -> None:
        """Write the files that are not there."""
        limit, shape, names = self.settings.limit, SHAPES[self.settings.to], self.columns.names
        stem = "documents" if self.settings.lane == "main" else "heldout-documents"
        done.documents = sum(entry["documents"] for entry in done.files)
        left = records(self.folder, self.files, names, shape.encode, skip=done.documents)
        record = next(left, None)
        while record is not None:
            with _next_file(store, done, stem, lambda name: DocumentFile(store, name, shape, names, limit)) as file:
                while record is not None and not file.full:
                    file.write(record)
                    done.documents += 1
                    if done.documents % WATCHED == 0:
                        watch(done)
                    record = next(left, None)

    def facts(self) -> dict[str, Any]:
        """What the manifest says beside the files."""
        return {"columns": list(self.columns.names), "columns_left_out": self.columns.left_out}

    def warnings(self) -> list[str]:
        """What was left out, in words."""
        left_out = self.columns.left_out.items()
        return [f"the column {name} is not written: {why}; jsonl can hold it" for name, why in left_out]


def _documents(folder: RunFolder, lane: str) -> list[Written]:
    """The files of the run's documents, sorted by name. ConfigError where there are none, or pages in their place."""
    found = {}
    for name in folder.passes():
        plan = folder.plan(name) or {}
        for task in plan.get("tasks", []):
            receipt = folder.receipt(name, task)
            if receipt is None or receipt.fingerprint != plan["fingerprints"].get(task):
                continue
            file = receipt.documents.get(lane)
            if file is not None and file.path.startswith(DOCUMENTS):
                if receipt.kind == "raw":
                    raise ConfigError(f"{folder.name}: this run's rows are pages without text; extract them first")
                found[file.path] = file
    if not found:
        what = "documents" if lane == "main" else "documents that holdout set aside"
        raise ConfigError(f"{folder.name}: this run has no {what}; there is nothing to export")
    return [found[path] for path in sorted(found)]


# -- tokens ----------------------------------------------------------------------------------------------------


class _Tokens:
    """The export of token shards."""

    def __init__(self, folder: RunFolder, settings: ExportSettings) -> None:
        self.folder, self.settings = folder, settings
        self.shards = Shards(folder, settings.lane)
        if not sum(self.shards.available.values()):
            raise ConfigError(f"{folder.name}: this run has no tokens; there is nothing to export")
        self.tallies: dict[str, Tally] = {}
        mixture = self.shards.mixture
        counts = self.shards.manifest["sources"].values()
        self.total = None if mixture else sum(entry["documents"] for entry in counts)
        self.mixture = mixture.model_dump(mode="json") if mixture else None
        content = json.dumps([self.shards.files, self.mixture], sort_keys=True)
        self.identity = {"tokens_sha256": hashlib.sha256(content.encode()).hexdigest()}

    def write(self, store: Store, done: Exported, watch: Watch) -> None:
        """Write the files that are not there."""
        form, dtype = self.settings.to, self.shards.dtype
        stem = "tokens" if self.settings.lane == "main" else "heldout-tokens"
        limit = self.settings.limit
        tokenizer = self.folder.products.read(TOKENIZER)
        if store.stat(TOKENIZER) is None:
            write_bytes(store, TOKENIZER, tokenizer)
        skip = sum(entry["documents"] for entry in done.files)
        runs = self._counted(done, watch)
        run = next(runs, None)
        while run is not None:
            # What earlier calls have written is gone through again, for its counts, and not read.
            passed = min(skip, run.documents)
            skip -= passed
            if passed == run.documents:
                run = next(runs, None)
                continue
            run = run.part(passed, run.documents)
            with _next_file(store, done, stem, lambda name: TokenFile(store, name, form, dtype, limit)) as file:
                while run is not None and not file.full:
                    room = file.room(run)
                    file.write(run.part(0, room))
                    run = run.part(room, run.documents) if room < run.documents else next(runs, None)

    def _counted(self, done: Exported, watch: Watch) -> Iterator[Any]:
        """All runs of documents, counted by source."""
        shown = 0
        for run in self.shards.runs():
            self.tallies.setdefault(run.source, Tally()).add(run)
            done.documents += run.documents
            if done.documents - shown >= WATCHED:
                shown = done.documents
                watch(done)
            yield run

    def facts(self) -> dict[str, Any]:
        """What the manifest says beside the files."""
        names = ("tokenizer_sha256", "vocab_size", "end_of_document", "dtype")
        facts = {name: self.shards.manifest[name] for name in names}
        if self.settings.to == "megatron" and facts["dtype"] == "uint32":
            facts["dtype"] = "int32"
        return {**facts, "mixture": self.mixture, "sources": self.shards.sources(self.tallies)}

    def warnings(self) -> list[str]:
        """What the mixture leaves out, in words."""
        return [
            f"{entry['documents_left_out']:,} of {entry['documents']:,} documents of {name} are in no file: the mixture"
            " takes fewer tokens than there are"
            for name, entry in self.shards.sources(self.tallies).items()
            if entry["documents_left_out"]
        ]
