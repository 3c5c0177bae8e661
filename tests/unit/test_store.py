"""What io/store.py promises of any place, and how it tells a store that cannot keep it. Object stores are played by
`Objects`, a file system in memory whose requests can be made to fail; tests/e2e/test_s3.py has a real server."""

import gc
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

import corpus
from curate.errors import ConfigError, DataError, FatalError
from curate.io import remote
from curate.io.inputs import InputSettings, cut, list_files
from curate.io.read import ReadCounts, read
from curate.io.store import PART_BYTES, LocalStore, RemoteStore, Store, open_store, self_test, sha256_of, write_bytes


class Objects(AbstractFileSystem):
    """Objects appear whole when an upload is committed. `before(request, path)` runs before each request, and
    `received(data)` changes what a read gives."""

    protocol = "objects"
    cachable = False
    held: dict[str, bytes] = {}  # noqa: RUF012 (one store for all instances)
    before: Callable[[str, str], None]
    received: Callable[[bytes], bytes]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        type(self).before("info", path)
        if path in self.held:
            data = self.held[path]
            return {"name": path, "size": len(data), "type": "file", "ETag": str(hash(data))}
        if any(name.startswith(f"{path}/") for name in self.held):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        below = {name[len(path) + 1 :].split("/")[0] for name in self.held if name.startswith(f"{path}/")}
        found = [self.info(f"{path}/{name}") for name in sorted(below)]
        return found if detail else [entry["name"] for entry in found]

    def find(self, path: str, **_: Any) -> list[str]:
        type(self).before("find", path)
        return [name for name in self.held if name.startswith(f"{path}/")]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        type(self).before("put", path)
        if mode == "create" and path in self.held:
            raise FileExistsError(path)
        self.held[path] = bytes(value)

    def rm_file(self, path: str) -> None:
        type(self).before("delete", path)
        if self.held.pop(path, None) is None:
            raise FileNotFoundError(path)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.held[path2] = self.held[path1]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "Upload":
        return Upload(self, path, mode, **options)


class Upload(AbstractBufferedFile):
    keeps = True  # whether its parts are held; else only their number of bytes

    def _initiate_upload(self) -> None:
        self.parts: list[bytes] = []

    def _upload_chunk(self, final: bool = False) -> bool:
        self.parts.append(self.buffer.getvalue() if self.keeps else bytes(0))
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        Objects.before("complete", self.path)
        self.fs.held[self.path] = b"".join(self.parts)

    def discard(self) -> None: ...

    def _fetch_range(self, start: int, end: int) -> bytes:
        Objects.before("get", self.path)
        return Objects.received(self.fs.held[self.path][start:end])


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Objects]]:
    monkeypatch.setattr(Objects, "held", {})
    monkeypatch.setattr(Objects, "before", staticmethod(lambda request, path: None), raising=False)
    monkeypatch.setattr(Objects, "received", staticmethod(lambda data: data), raising=False)
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    fsspec.register_implementation("objects", Objects, clobber=True)
    yield Objects


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path, objects: type[Objects]) -> Store:
    return open_store(tmp_path / "run" if request.param == "folder" else "objects://run", cache=tmp_path / "cache")


def fails(times: int, request: str, error: Exception) -> Callable[[str, str], None]:
    left = [times]

    def before(asked: str, path: str) -> None:
        if asked == request and left[0]:
            left[0] -= 1
            raise error

    return before


# -- every store ---------------------------------------------------------------------------------------------


def test_a_store_gives_back_what_it_took(store: Store) -> None:
    self_test(store)
    written = write_bytes(store, "a/b.json", b"some bytes")
    found = store.stat("a/b.json")
    assert found is not None and (found.bytes, found.stamp) == (written.bytes, written.stamp) == (10, written.stamp)
    assert store.read("a/b.json") == store.local("a/b.json").read_bytes() == b"some bytes"
    assert sha256_of(store, "a/b.json") == written.sha256
    write_bytes(store, "ab/c", b"")
    assert list(store.list("a")) == ["a/b.json"] and set(store.list("")) == {"a/b.json", "ab/c"}
    assert list(store.list("none")) == [] and store.stat("none") is None and store.stat("a") is None
    store.move("a/b.json", "d/e")
    assert set(store.list("")) == {"d/e", "ab/c"}
    store.delete("d/e")
    store.delete("d/e")
    with pytest.raises(FileNotFoundError):
        store.read("d/e")


def test_a_copy_to_map_follows_the_object(objects: type[Objects], tmp_path: Path) -> None:
    store = open_store("objects://run", cache=tmp_path)
    write_bytes(store, "x", b"old")
    assert store.local("x").read_bytes() == b"old"
    write_bytes(store, "x", b"new")
    assert store.local("x").read_bytes() == b"new"


@pytest.mark.parametrize("size", [100, PART_BYTES + 100])
def test_nothing_is_there_before_the_commit(store: Store, size: int) -> None:
    def begun() -> Any:
        target = store.create("x")
        target.write(bytes(size))
        target.flush()
        target.close()
        return target

    def visible() -> list[str]:
        return [rel for rel in store.list("") if "/.tmp-" not in f"/{rel}"]

    target = begun()
    assert visible() == []
    target.abort()
    assert list(store.list("")) == []
    target = begun()
    del target
    gc.collect()
    assert visible() == []
    assert begun().commit(1).bytes == size and visible() == ["x"]


def test_one_alone_makes_a_file(store: Store) -> None:
    assert store.create_exclusive("run.lock", b"first")
    assert not store.create_exclusive("run.lock", b"second")
    assert store.read("run.lock") == b"first"


# -- object stores that fail ---------------------------------------------------------------------------------


def test_an_object_is_written_in_parts_of_bounded_memory(
    objects: type[Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upload, "keeps", False)
    target = open_store("objects://run").create("x")
    data = bytes(1 << 20)
    tracemalloc.start()
    for _ in range(200):
        target.write(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * PART_BYTES


@pytest.mark.parametrize("request_", ["info", "find", "put", "delete", "get"])
def test_a_request_that_fails_is_made_again(objects: type[Objects], request_: str) -> None:
    store = open_store("objects://run")
    objects.before = staticmethod(fails(3, request_, ConnectionError("reset")))
    self_test(store)
    objects.before = staticmethod(fails(10**6, request_, ConnectionError("reset")))
    with pytest.raises(FatalError, match="run the same command again"):
        self_test(store)


def test_access_that_is_denied_is_told_at_once(objects: type[Objects]) -> None:
    objects.before = staticmethod(fails(1, "put", PermissionError("Forbidden")))
    with pytest.raises(ConfigError, match="access is denied"):
        write_bytes(open_store("objects://run"), "x", b"")


def test_a_lock_whose_answer_was_lost_is_ours(objects: type[Objects], monkeypatch: pytest.MonkeyPatch) -> None:
    put, lost = objects.pipe_file, [True]

    def losing(self: Objects, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        put(self, path, value, mode)
        if lost.pop() if lost else False:
            raise ConnectionError("reset")

    monkeypatch.setattr(objects, "pipe_file", losing)
    assert open_store("objects://run").create_exclusive("run.lock", b"mine")


def test_a_completed_upload_whose_answer_was_lost_is_committed(
    objects: type[Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Upload.commit

    def losing(self: Upload) -> None:
        if self.path in self.fs.held:
            raise FileNotFoundError("no such upload")
        complete(self)
        raise ConnectionError("reset")

    monkeypatch.setattr(Upload, "commit", losing)
    assert write_bytes(open_store("objects://run"), "x", bytes(PART_BYTES + 1)).bytes == PART_BYTES + 1


class Stale:
    """Ways in which a store may fail to keep its promises."""

    @staticmethod
    def reads(objects: type[Objects]) -> None:
        first: dict[int, bytes] = {}
        objects.received = staticmethod(lambda data: first.setdefault(len(data), data))

    @staticmethod
    def listings(objects: type[Objects]) -> None:
        objects.find = lambda self, path, **_: []  # type: ignore[method-assign]

    @staticmethod
    def sizes(objects: type[Objects]) -> None:
        info, seen = objects.info, {}

        def first(self: Objects, path: str, **_: Any) -> dict[str, Any]:
            return seen.setdefault(path, info(self, path))

        objects.info = first  # type: ignore[method-assign]

    @staticmethod
    def deletions(objects: type[Objects]) -> None:
        objects.rm_file = lambda self, path: None  # type: ignore[method-assign]

    @staticmethod
    def writes(objects: type[Objects]) -> None:
        put = objects.pipe_file
        objects.pipe_file = lambda self, path, value, **o: put(self, path, value[:2], **o)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (Stale.reads, "cannot be read back, or not at once"),
        (Stale.listings, "is not listed, or not at once"),
        (Stale.sizes, "is not there, or not at once"),
        (Stale.deletions, "what was deleted is still there"),
        (Stale.writes, "is not there, or not at once"),
    ],
)
def test_a_store_that_cannot_keep_the_promises_is_refused(
    objects: type[Objects], monkeypatch: pytest.MonkeyPatch, what: Callable[[type[Objects]], None], why: str
) -> None:
    for name in ("info", "find", "rm_file", "pipe_file"):
        monkeypatch.setattr(objects, name, getattr(objects, name))  # put back at the end
    what(objects)
    with pytest.raises(ConfigError, match=f"objects://run: this store cannot hold a run: .*{why}"):
        self_test(open_store("objects://run"))


# -- reading over a network that fails -----------------------------------------------------------------------

TEXTS = [f"Document number {i}. " + "Some words of it. " * 40 for i in range(60)]


def files_of(folder: Path) -> dict[str, bytes]:
    """The same documents in files of every form."""
    import gzip

    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    table = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), table, row_group_size=10)
    pages = [(f"https://example.test/{i}", corpus.page(text)) for i, text in enumerate(TEXTS)]
    packed = corpus.write_warc(folder / "packed.warc.gz", pages).read_bytes()
    plain = corpus.write_warc(folder / "plain.warc", pages, gz=False).read_bytes()
    return {
        "lines.jsonl": lines, "lines.jsonl.gz": gzip.compress(lines), "table.parquet": table.getvalue(),
        "packed.warc.gz": packed, "plain.warc": plain, "one.txt": TEXTS[0].encode(),
    }  # fmt: skip


FORMS = ("lines.jsonl", "lines.jsonl.gz", "table.parquet", "packed.warc.gz", "plain.warc", "one.txt")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", ["cut", "broken", "strange"])
def test_an_input_that_arrives_cut_is_never_a_short_input(
    objects: type[Objects], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, fault: str
) -> None:
    data = files_of(tmp_path)[form]
    objects.held[f"in/{form}"] = data
    monkeypatch.setattr(remote, "BLOCK_BYTES", 4096)
    (task,) = cut(list_files([InputSettings(path=f"objects://in/{form}")]).files)

    def rows() -> int:
        return sum(batch.batch.num_rows for batch in read(task, ReadCounts()))

    class StrangeError(Exception):
        """What a library raises for a broken connection, and no OSError."""

    errors = {"broken": OSError("connection reset"), "strange": StrangeError("payload is not complete")}
    whole, reads = rows(), [0]

    def now_and_then(data: bytes) -> bytes:
        reads[0] += 1
        return data if reads[0] % 2 else failing(data)

    def failing(data: bytes) -> bytes:
        if fault == "cut":
            return data[: len(data) // 2]
        raise errors[fault]

    objects.received = staticmethod(now_and_then)
    assert rows() == whole > 0
    objects.received = staticmethod(failing)
    with pytest.raises(DataError):
        rows()


def test_a_folder_is_local_and_a_url_is_remote(tmp_path: Path) -> None:
    assert isinstance(open_store(tmp_path), LocalStore) and isinstance(open_store(f"file://{tmp_path}"), LocalStore)
    assert isinstance(open_store("memory://run"), RemoteStore)
    with pytest.raises(ConfigError, match="nothing://x"):
        open_store("nothing://x")
