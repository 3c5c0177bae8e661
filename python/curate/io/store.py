"""Where bytes lie: the one seam between a run and the disk or object store that holds it.

A run has two stores. *Products* (`--out`) hold what a person wants and the receipts; they may be an object store.
*Scratch* (`--scratch`) holds what later tasks read by mapping it into memory, so it is a local or shared folder.

A file appears whole or not at all. On a disk it is written under a temporary name, synced and renamed. An object
store has no rename: an object appears when its upload completes, under its final name, and an upload that fails is
discarded. Bytes are hashed while they are written, so that nothing is read again for its checksum.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from curate.errors import ConfigError, FatalError

TEMPORARY = ".tmp-"
TEMPORARY_NAME = re.compile(r"\.tmp-[0-9a-f]{8}-")
BUFFER_BYTES = 1 << 20
READ_ATTEMPTS = 4  # of an object whose bytes arrive cut or not at all


@dataclass(frozen=True)
class Written:
    """A committed file, as receipts name it. `path` is relative to its store; `stamp` changes when the file does."""

    path: str
    rows: int
    bytes: int
    sha256: str
    stamp: str = ""


class Stat(NamedTuple):
    bytes: int
    stamp: str  # modification time in nanoseconds, or the etag of an object


class Target(Protocol):
    """A file in the making."""

    closed: bool

    def write(self, data: Any) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def commit(self, rows: int) -> Written:
        """Make it appear under its name."""

    def abort(self) -> None:
        """Leave nothing of it."""


class Store(Protocol):
    name: str  # the path or URL of its root, for messages

    def create(self, rel: str) -> Target:
        """A new file; one that is there already is replaced when the new one is committed."""

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Make a small file unless one of that name is there; whether it was made."""

    def open(self, rel: str) -> BinaryIO: ...
    def read(self, rel: str) -> bytes: ...
    def stat(self, rel: str) -> Stat | None:
        """None where there is no such file."""

    def list(self, prefix: str) -> Iterator[str]:
        """Files below a folder, in no order; links to folders are not followed."""

    def delete(self, rel: str) -> None:
        """Remove a file, and the folders that it leaves empty; nothing happens where it is gone."""

    def move(self, rel: str, to: str) -> None: ...
    def local(self, rel: str) -> Path:
        """A path on this machine with the file's bytes."""


class LocalStore:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def create(self, rel: str) -> "LocalTarget":
        return LocalTarget(self.root, rel)

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        path = self.root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return True

    def open(self, rel: str) -> BinaryIO:
        return open(self.root / rel, "rb")

    def read(self, rel: str) -> bytes:
        return (self.root / rel).read_bytes()

    def stat(self, rel: str) -> Stat | None:
        try:
            found = os.stat(self.root / rel)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stat(found.st_size, str(found.st_mtime_ns))

    def list(self, prefix: str) -> Iterator[str]:
        for folder, folders, names in os.walk(self.root / prefix):
            folders.sort()
            inside = os.path.relpath(folder, self.root)
            yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names))

    def delete(self, rel: str) -> None:
        path = self.root / rel
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root or folder.is_symlink():
                return
            try:
                folder.rmdir()
            except OSError:
                return  # not empty

    def move(self, rel: str, to: str) -> None:
        target = self.root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.root / rel, target)
        self.delete(rel)  # the folders that it left empty

    def local(self, rel: str) -> Path:
        return self.root / rel


class LocalTarget:
    """A file under a temporary name in its own folder, renamed when it is whole."""

    def __init__(self, root: Path, rel: str) -> None:
        self.root, self.rel = root, rel
        self.path = root / rel
        self.temporary = self.path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{self.path.name}")
        self.hash = hashlib.sha256()
        self.size = 0
        self.closed = False
        with failures_worded(root):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.temporary, "wb", buffering=BUFFER_BYTES)  # noqa: SIM115

    def write(self, data: Any) -> int:
        self.hash.update(data)
        with failures_worded(self.root):
            self.size += self.file.write(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None:
        """What Arrow's writers call when they are done; `commit` is what makes the file appear."""

    def commit(self, rows: int) -> Written:
        try:
            with failures_worded(self.root):
                self.file.flush()
                sync(self.file.fileno())
                self.file.close()
                os.replace(self.temporary, self.path)
                _sync_folder(self.path.parent)
                stamp = str(os.stat(self.path).st_mtime_ns)
        except BaseException:
            self.abort()
            raise
        self.closed = True
        return Written(self.rel, rows, self.size, self.hash.hexdigest(), stamp)

    def abort(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            self.file.close()
        self.temporary.unlink(missing_ok=True)


def sync(handle: int) -> None:
    """Bytes of an open file reach the disk."""
    os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    """The name of a new file reaches the disk, where the system can promise that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def failures_worded(where: Path | str) -> Iterator[None]:
    """Translate a full disk to FatalError and a place that cannot be written to ConfigError; let others through."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FatalError(
                f"{where}: the disk is full; make room and run the same command again to continue"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR):
            place = error.filename or where
            raise ConfigError(f"{place}: cannot be written: {error.strerror}; choose another place") from None
        raise


class RemoteStore:
    """A prefix of an object store, or any other file system that fsspec knows."""

    def __init__(self, fs: Any, root: str, name: str, cache: Path | None = None) -> None:
        self.fs, self.root, self.name, self.cache = fs, root.rstrip("/"), name, cache

    def _path(self, rel: str) -> str:
        return f"{self.root}/{rel}"

    def create(self, rel: str) -> "RemoteTarget":
        return RemoteTarget(self, rel)

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        try:
            self.fs.pipe_file(self._path(rel), data, mode="create")
        except FileExistsError:
            return False
        except (TypeError, NotImplementedError, ValueError):
            # The store has no create-if-absent: the best there is.
            if self.fs.exists(self._path(rel)):
                return False
            self.fs.pipe_file(self._path(rel), data)
        self._forget()
        return True

    def open(self, rel: str) -> BinaryIO:
        return self.fs.open(self._path(rel), "rb")  # type: ignore[no-any-return]

    def read(self, rel: str) -> bytes:
        """The whole object; a transfer that is cut is tried again."""
        for attempt in range(READ_ATTEMPTS):
            try:
                data: bytes = self.fs.cat_file(self._path(rel))
                found = self.stat(rel)
                if found is not None and len(data) == found.bytes:
                    return data
                error: Exception = OSError(f"{self.name}/{rel}: {len(data):,} bytes arrived")
            except FileNotFoundError:
                raise
            except Exception as cause:  # every file system has errors of its own
                error = cause
            if attempt == READ_ATTEMPTS - 1:
                raise OSError(f"{self.name}/{rel}: cannot be read: {error}") from error
        raise AssertionError

    def stat(self, rel: str) -> Stat | None:
        self._forget()
        try:
            info = self.fs.info(self._path(rel))
        except FileNotFoundError:
            return None
        if info.get("type") == "directory":
            return None
        mark = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
        return Stat(int(info["size"]), str(mark).strip('"'))

    def list(self, prefix: str) -> Iterator[str]:
        self._forget()
        place = self._path(prefix).rstrip("/")
        try:
            found = self.fs.find(place)
        except FileNotFoundError:
            return
        start = len(self.fs._strip_protocol(self.root)) + 1
        yield from sorted(path[start:] for path in found)

    def delete(self, rel: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(rel))
        self._forget()

    def move(self, rel: str, to: str) -> None:
        self.fs.copy(self._path(rel), self._path(to))
        self.delete(rel)

    def local(self, rel: str) -> Path:
        if self.cache is None:
            raise ConfigError(f"{self.name}: its files cannot be mapped; give a local folder with --scratch")
        found = self.stat(rel)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", f"{self.name}/{rel}")
        path = (
            self.cache / hashlib.sha256(f"{rel} {found.stamp} {found.bytes}".encode()).hexdigest()[:16] / Path(rel).name
        )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
            part.write_bytes(self.read(rel))
            os.replace(part, path)
        return path

    def _forget(self) -> None:
        """Drop listings that fsspec remembers: another process may have written since."""
        self.fs.invalidate_cache()


class RemoteTarget:
    """An object in the making: it appears when the upload completes."""

    def __init__(self, store: RemoteStore, rel: str) -> None:
        self.store, self.rel = store, rel
        self.hash = hashlib.sha256()
        self.size = 0
        self.closed = False
        self.file = store.fs.open(store._path(rel), "wb")

    def write(self, data: Any) -> int:
        data = bytes(data)
        self.hash.update(data)
        self.file.write(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None:
        """What Arrow's writers call when they are done; `commit` is what makes the object appear."""

    def commit(self, rows: int) -> Written:
        try:
            self.file.close()
        except BaseException:
            self.abort()
            raise
        self.closed = True
        found = self.store.stat(self.rel)
        if found is None or found.bytes != self.size:
            arrived = "nothing" if found is None else f"{found.bytes:,} bytes"
            raise OSError(f"{self.store.name}/{self.rel}: {self.size:,} bytes were written and {arrived} arrived")
        return Written(self.rel, rows, self.size, self.hash.hexdigest(), found.stamp)

    def abort(self) -> None:
        self.closed = True
        with contextlib.suppress(Exception):
            self.file.discard()
        with contextlib.suppress(Exception):
            self.file.closed = True


def open_store(place: str | Path, cache: Path | None = None) -> Store:
    """The store at a path or an fsspec URL; ConfigError where its scheme is unknown or its library is missing.

    `cache` is a folder for objects that must be mapped.
    """
    text = os.path.expanduser(str(place))
    if "://" not in text:
        return LocalStore(Path(text))
    if text.startswith("file://"):
        return LocalStore(Path(text.removeprefix("file://")))
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(text, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{text}: this address cannot be used: {error}") from None
    return RemoteStore(fs, root, text.rstrip("/"), cache)


def is_remote(place: str | Path) -> bool:
    return "://" in str(place) and not str(place).startswith("file://")


def write_bytes(store: Store, rel: str, data: bytes) -> Written:
    """Commit a small file."""
    target = store.create(rel)
    try:
        target.write(data)
    except BaseException:
        target.abort()
        raise
    return target.commit(0)


def sha256_of(store: Store, rel: str) -> str:
    """The checksum of a committed file's bytes as they are now."""
    with store.open(rel) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]


def self_test(store: Store) -> None:
    """Refuse (ConfigError) a store that does not keep what a run relies on: what was written is there at once,
    whole, under its name and in listings, can be replaced, and is gone when it is deleted."""
    rel = f"passes/{TEMPORARY}{secrets.token_hex(4)}-self-test"

    def demand(kept: bool, promise: str) -> None:
        if not kept:
            raise ConfigError(f"{store.name}: this store cannot hold a run: {promise}; choose another place")

    with failures_worded(store.name):
        try:
            for data in (b"one", b"another"):
                write_bytes(store, rel, data)
                found = store.stat(rel)
                demand(found is not None and found.bytes == len(data), "what was written is not there")
                demand(store.read(rel) == data, "what was written cannot be read back")
            demand(rel in store.list("passes"), "what was written is not listed")
        finally:
            store.delete(rel)
        demand(store.stat(rel) is None, "what was deleted is still there")
