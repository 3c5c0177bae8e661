"""Where bytes lie: the one interface between a run and the disk or object store that holds it.

A run has two stores. *Products* (`--out`) hold what a person wants and the receipts; they may be an object store.
*Scratch* (`--scratch`) holds what later tasks read by mapping it into memory, so it is a local or shared folder.

A file appears whole or not at all. On a disk it is written under a temporary name, synced and renamed. An object store
has no rename: an object appears when its upload completes, under its final name, and an upload that fails is discarded.
Bytes are hashed while they are written, so that nothing is read again for its checksum.

Names (`rel`) are relative to the store, with / between folders. What a store must keep is tested by `self_test`.
"""

import builtins
import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from curate.errors import ConfigError, FatalError
from curate.io.remote import file_system, open_object, tried

TEMPORARY = ".tmp-"  # how names of files in the making begin
TEMPORARY_NAME = re.compile(r"\.tmp-[0-9a-f]{8}-")
BUFFER_BYTES = 1 << 20  # of a file in the making, and of a copy
PART_BYTES = 8 << 20  # of an upload; S3 takes 10,000 parts, so objects end at 80 GB

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """A committed file, as receipts name it. `path` is relative to its store; `stamp` changes when the file does."""

    path: str
    rows: int  # 0 where it is no table
    bytes: int
    sha256: str  # hex digits
    stamp: str = ""  # as Stat has it, after the commit; empty where the store told none


class Stat(NamedTuple):
    """What a store says of a file without reading it."""

    bytes: int
    stamp: str  # modification time in nanoseconds, or the etag of an object


class Target(Protocol):
    """A file in the making. It ends with `commit` or `abort`.

    Arrow's writers take it for a Python file: they use write, flush, close and closed.
    """

    closed: bool  # whether it was committed or given up

    def write(self, data: Any) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def commit(self, rows: int) -> Written:
        """Make it appear under its name, whole and on the disk, in place of an older one. FatalError where the disk is
        full or an upload fails."""

    def abort(self) -> None:
        """Leave nothing of it."""


class Store(Protocol):
    """A place for files with names; any thread or process may use it.

    `open`, `read` and `move` raise FileNotFoundError where the file is not there.
    """

    name: str  # the path or URL of its root, for messages

    def create(self, rel: str) -> Target:
        """A new file; one that is there already is replaced when the new one is committed."""

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Make a small file unless one of that name is there; whether it was made."""

    def open(self, rel: str) -> BinaryIO: ...  # to be read and sought
    def read(self, rel: str) -> bytes: ...  # the whole file
    def stat(self, rel: str) -> Stat | None:
        """None where there is no such file."""

    def list(self, prefix: str) -> Iterator[str]:
        """Files below a folder, in no order; a link to a folder is one of them, and is not followed."""

    def delete(self, rel: str) -> None:
        """Remove a file, and the folders that it leaves empty; nothing happens where it is gone."""

    def move(self, rel: str, to: str) -> None: ...  # an object is copied, then deleted: after a crash both may be there
    def local(self, rel: str) -> Path:
        """A path on this machine with the file's bytes: of an object, a copy in the cache."""


class LocalStore:
    """A folder. It need not exist: it is made with the first file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)
        self._made = False  # by create_exclusive: a folder made only for a lock goes with it

    def create(self, rel: str) -> "LocalTarget":
        return LocalTarget(self.root, rel)

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Write it under another name, synced, and link it to its own.

        A link is made in one step and only where the name is free, so that nobody ever reads half of it.
        """
        path = self.root / rel
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        self._made |= not self.root.is_dir()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                sync(file.fileno())
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            return _create_without_links(path, data)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def open(self, rel: str) -> BinaryIO:
        return open(self.root / rel, "rb")

    def read(self, rel: str) -> bytes:
        with open(f"{self.name}/{rel}", "rb", buffering=0) as file:
            return file.read()

    def stat(self, rel: str) -> Stat | None:
        try:
            found = os.stat(f"{self.name}/{rel}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if stat.S_ISDIR(found.st_mode) else Stat(found.st_size, str(found.st_mtime_ns))

    def list(self, prefix: str) -> Iterator[str]:
        for folder, folders, names in os.walk(self.root / prefix):
            folders.sort()
            inside = os.path.relpath(folder, self.root)
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names + links))

    def delete(self, rel: str) -> None:
        path = self.root / rel
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if (folder == self.root and not self._made) or folder.is_symlink():
                return
            try:
                folder.rmdir()
            except OSError:
                return  # not empty
            if folder == self.root:
                return

    def move(self, rel: str, to: str) -> None:
        target = self.root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.root / rel, target)
        self.delete(rel)  # the folders that it left empty

    def local(self, rel: str) -> Path:
        return self.root / rel


def _create_without_links(path: Path, data: bytes) -> bool:
    """Where the file system has no hard links: a kill within microseconds may leave an empty file."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as file:
        file.write(data)
    return True


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
        """Sync, rename, sync the folder: after a power cut there is the whole file, or none, and never a receipt
        without it."""
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
    """A prefix of an object store, or any other file system that fsspec knows.

    Every request is tried again where that may help (io/remote.py). What still fails is told in one way: ConfigError
    where the store forbids it or the bucket is not there, else FatalError, since then nothing can go on.
    """

    def __init__(self, fs: Any, root: str, name: str, cache: Path | None = None) -> None:
        """`root` is the prefix as `fs` names it, `name` the URL for messages, `cache` a local folder for `local`."""
        self.fs, self.root, self.name, self.cache = fs, root.rstrip("/"), name, cache

    def path(self, rel: str) -> str:
        """The name of a file as the file system of fsspec has it."""
        return f"{self.root}/{rel}"

    def ask(self, rel: str, action: Callable[[], T]) -> T:
        """What a request about `rel` gives. FileNotFoundError and FileExistsError are answers, not failures."""
        self.fs.invalidate_cache()  # fsspec remembers listings, and another process may have written since
        try:
            return tried(action)
        except (FileNotFoundError, FileExistsError):
            raise
        except PermissionError as error:
            raise ConfigError(f"{self.name}/{rel}: access is denied: {error}; check address and credentials") from None
        except Exception as error:  # every library has errors of its own
            what = f"{type(error).__name__}: {error}"
            raise FatalError(
                f"{self.name}/{rel}: the store does not do what it is asked ({what}); run the same command again to"
                " continue"
            ) from error

    def create(self, rel: str) -> "RemoteTarget":
        return RemoteTarget(self, rel)

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Atomic where the store has create-if-absent, as S3 has. Elsewhere two processes that look at the same
        moment may both succeed."""
        made = False
        if self.stat(rel) is None:  # some stores take no notice of the condition
            made = self._created(rel, data)
        # An answer that was lost on its way is asked for again, and then the file is there: it may be this one.
        return made or self._holds(rel, data)

    def _created(self, rel: str, data: bytes) -> bool:
        """Ask for the file to be made if it is absent; False where the store says that it is there."""

        def create() -> None:
            try:
                self.fs.pipe_file(self.path(rel), data, mode="create")
            except (TypeError, NotImplementedError, ValueError):  # no create-if-absent in this library
                self.fs.pipe_file(self.path(rel), data)
            except OSError as error:
                if error.errno == errno.EINVAL and self._info(rel) is not None:  # how some word a failed condition
                    raise FileExistsError(errno.EEXIST, "it is there", rel) from None
                raise

        try:
            self._sent(rel, create)
        except FileExistsError:
            return False
        return True

    def _holds(self, rel: str, data: bytes) -> bool:
        """Whether the file is there and has just this content."""
        try:
            return self.read(rel) == data
        except FileNotFoundError:
            return False

    def _sent(self, rel: str, action: Callable[[], T]) -> T:
        """As `ask`, for requests that write: there a missing file means that the bucket is missing."""
        try:
            return self.ask(rel, action)
        except FileNotFoundError as error:
            raise ConfigError(f"{self.name}/{rel}: cannot be written: {error}; check the address") from None

    def open(self, rel: str) -> BinaryIO:
        return self.ask(rel, lambda: open_object(self.fs, self.path(rel), f"{self.name}/{rel}"))

    def read(self, rel: str) -> bytes:
        def whole() -> bytes:
            with open_object(self.fs, self.path(rel), f"{self.name}/{rel}") as file:
                return file.read()

        return self.ask(rel, whole)

    def stat(self, rel: str) -> Stat | None:
        info = self.ask(rel, lambda: self._info(rel))
        if info is None or info.get("type") == "directory":
            return None
        mark = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
        return Stat(int(info["size"]), str(mark).strip('"'))

    def _info(self, rel: str) -> dict[str, Any] | None:
        """What the library tells of an object or folder; None where there is none."""
        try:
            found: dict[str, Any] = self.fs.info(self.path(rel))
            return found
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[str]:
        place = self.path(prefix).rstrip("/")
        try:
            found = self.ask(prefix, lambda: self.fs.find(place))
        except FileNotFoundError:
            return
        start = len(self.fs._strip_protocol(self.root)) + 1
        # A store may show an empty object for a folder, and of a file's own name the file.
        yield from sorted(path[start:] for path in found if path.startswith(f"{place}/") and not path.endswith("/"))

    def delete(self, rel: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.ask(rel, lambda: self.fs.rm_file(self.path(rel)))

    def move(self, rel: str, to: str) -> None:
        self.ask(rel, lambda: self.fs.copy(self.path(rel), self.path(to)))
        self.delete(rel)

    def local(self, rel: str) -> Path:
        """A copy in the cache, made when it is first asked for.

        Its folder is named after the object's stamp and size, so an object that changed is copied again. The copy is
        renamed when it is whole: several workers of a machine may make the same one at once.
        """
        if self.cache is None:
            raise ConfigError(f"{self.name}: its files cannot be mapped; give a local folder with --scratch")
        found = self.stat(rel)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", f"{self.name}/{rel}")
        version = hashlib.sha256(f"{self.name}/{rel} {found.stamp} {found.bytes}".encode()).hexdigest()[:16]
        path = self.cache / version / Path(rel).name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
            with self.open(rel) as source, failures_worded(self.cache), open(part, "wb") as copy:
                shutil.copyfileobj(source, copy, BUFFER_BYTES)
            os.replace(part, path)
        return path

    def remove_uploads(self) -> builtins.list[str]:
        """Give up the uploads that were begun below this store and never completed, which nothing else shows and
        which cost as files do; returns the names that they would have had."""
        if not (hasattr(self.fs, "list_multipart_uploads") and hasattr(self.fs, "abort_mpu")):
            return []
        bucket, _, below = self.root.partition("/")
        removed = []
        for upload in self.ask("", lambda: self.fs.list_multipart_uploads(bucket)):
            key = upload["Key"]
            if key.startswith(f"{below}/"):
                with contextlib.suppress(FileNotFoundError):
                    self.ask(key, functools.partial(self.fs.abort_mpu, bucket, key, upload["UploadId"]))
                removed.append(key.removeprefix(f"{below}/"))
        return removed


class RemoteTarget:
    """An object in the making. It appears under its name when `commit` has sent the last of it, and not before.

    Up to PART_BYTES are held and sent in one request. What is longer goes in parts of that size as it comes, so that
    memory does not follow the object; the store puts them together when it is told to, and only then.
    """

    def __init__(self, store: RemoteStore, rel: str) -> None:
        self.store, self.rel = store, rel
        self.hash = hashlib.sha256()
        self.size = 0
        self.closed = False
        self.held = bytearray()
        self.upload: Any = None  # a file of fsspec, which is not committed by closing it

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.hash.update(view)
        self.size += view.nbytes
        self.held += view
        if len(self.held) >= PART_BYTES:
            self._send()
        return view.nbytes

    def _send(self) -> None:
        """Send what is held as a part of the upload, which the first part begins."""

        def begin() -> Any:
            return self.store.fs.open(self.store.path(self.rel), "wb", block_size=PART_BYTES, autocommit=False)

        if self.upload is None:
            self.upload = self.store._sent(self.rel, begin)
        # Not tried again here: a part that was sent twice would be there twice. The library tries again below.
        held, self.held = self.held, bytearray()
        self._once(lambda: self.upload.write(bytes(held)))

    def _once(self, action: Callable[[], Any]) -> None:
        """Do what must not be done twice; FatalError where it fails."""
        try:
            action()
        except Exception as error:
            raise FatalError(
                f"{self.store.name}/{self.rel}: the upload broke off ({type(error).__name__}: {error}); run the same"
                " command again to continue"
            ) from error

    def flush(self) -> None: ...

    def close(self) -> None:
        """What Arrow's writers call when they are done; `commit` is what makes the object appear."""

    def commit(self, rows: int) -> Written:
        """Send the rest and have the object appear, then ask for its size: UnkeptError where it is not what was
        written."""
        store, path = self.store, self.store.path(self.rel)
        try:
            if self.upload is None:
                data = bytes(self.held)
                store._sent(self.rel, lambda: store.fs.pipe_file(path, data))
            else:
                self._send()
                self._once(self.upload.close)
                self._complete()
            found = store.stat(self.rel)
            if found is None or found.bytes != self.size:
                arrived = "nothing" if found is None else f"{found.bytes:,} bytes"
                raise UnkeptError(
                    f"{store.name}/{self.rel}: {self.size:,} bytes were written and {arrived} arrived; run the same"
                    " command again to continue"
                )
        except BaseException:
            self.abort()
            raise
        self.closed = True
        self.held = bytearray()
        return Written(self.rel, rows, self.size, self.hash.hexdigest(), found.stamp)

    def _complete(self) -> None:
        """Have the parts put together. Where the answer is lost, the object itself says whether it was done."""
        try:
            self.upload.commit()
        except Exception:
            if self.store.stat(self.rel) is None or sha256_of(self.store, self.rel) != self.hash.hexdigest():
                self._once(self.upload.commit)

    def abort(self) -> None:
        self.closed = True
        self.held = bytearray()
        if self.upload is not None:
            with contextlib.suppress(Exception):
                self.upload.discard()
            with contextlib.suppress(Exception):
                self.upload.closed = True  # or it would send what it holds when it is collected


def open_store(place: str | Path, cache: Path | None = None) -> Store:
    """The store at a path or an fsspec URL; ConfigError for a file, an unknown scheme, or a missing library.

    `cache` is a folder for objects that must be mapped.
    """
    text = os.path.expanduser(str(place).removeprefix("file://"))
    if not is_remote(text):
        if os.path.exists(text) and not os.path.isdir(text):
            raise ConfigError(f"{text}: this is a file; name a folder")
        return LocalStore(Path(text))
    try:
        fs, root = file_system(text, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{text}: this address cannot be used: {error}") from None
    return RemoteStore(fs, root, text.rstrip("/"), cache)


def is_remote(place: str | Path) -> bool:
    """Whether a path is a URL of an object store; file:// is this machine."""
    return "://" in str(place) and not str(place).startswith("file://")


def write_bytes(store: Store, rel: str, data: bytes) -> Written:
    """Commit a small file of no rows."""
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


class UnkeptError(FatalError):
    """What a store took is not there."""


def self_test(store: Store) -> None:
    """Refuse (ConfigError) a store that does not keep what a run relies on: what was written is there at once,
    whole, under its name and in listings, can be replaced, and is gone when it is deleted."""
    rel = f"passes/{TEMPORARY}{secrets.token_hex(4)}-self-test"

    def demand(kept: bool, promise: str) -> None:
        """ConfigError unless a promise is kept."""
        if not kept:
            raise ConfigError(f"{store.name}: this store cannot hold a run: {promise}; choose another place")

    with failures_worded(store.name):
        demand(store.stat(rel) is None, "a file is there that nobody wrote")
        try:
            for data in (b"one", b"two", b"another"):
                try:
                    written = write_bytes(store, rel, data)
                except UnkeptError:
                    written = None
                found = store.stat(rel)
                demand(
                    written is not None and found == (len(data), written.stamp),
                    "what was written is not there, or not at once",
                )
                demand(store.read(rel) == data, "what was written cannot be read back, or not at once")
                demand(rel in store.list("passes"), "what was written is not listed, or not at once")
            demand(not store.create_exclusive(rel, b"more"), "a file is made where one is already")
        finally:
            store.delete(rel)
        demand(store.stat(rel) is None, "what was deleted is still there")
        demand(rel not in store.list("passes"), "what was deleted is still listed")
