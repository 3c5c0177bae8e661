"""One run, one owner: a second process is refused by name, a dead owner's lock is taken over, nothing else is."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CurateError, LockError
from curate.io import lock
from curate.io.lock import NAME, FolderLock, Owner

HOLD = """
import sys
from curate.io.lock import FolderLock
with FolderLock(sys.argv[1], "curate run"):
    print("held", flush=True)
    sys.stdin.read()
"""
CONTEND = """
import sys
from curate.errors import LockError
from curate.io.lock import FolderLock
print("ready", flush=True)
sys.stdin.readline()
try:
    with FolderLock(sys.argv[1], "curate run"):
        print("held", flush=True)
        sys.stdin.readline()
except LockError:
    print("refused", flush=True)
    sys.stdin.readline()
"""


def start(code: str, folder: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline().strip() in ("held", "ready")
    return child


def written(folder: Path, **changes: Any) -> Owner:
    """A lock in the folder as this process would write it, with changes."""
    owner = Owner(**{**Owner.here("curate run").__dict__, **changes})
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(owner.encode())
    return owner


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_lock_names_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with FolderLock(folder, "curate run") as held:
        facts = json.loads((folder / NAME).read_bytes())
        assert facts["process"] == os.getpid() and facts["command"] == "curate run" and facts["started"]
        assert held.warnings == []
        with pytest.raises(LockError, match=rf"process {os.getpid()} on .*`curate run`, since 20"), \
             FolderLock(folder, "curate clean"):  # fmt: skip
            pass
        assert json.loads((folder / NAME).read_bytes()) == facts
    assert not folder.exists(), "a folder made for the lock goes with it where nothing else was put there"
    with FolderLock(folder, "curate run"):
        (folder / "funnel.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["funnel.json"]


def test_a_live_owner_is_refused_and_a_killed_one_taken_over(tmp_path: Path) -> None:
    child = start(HOLD, tmp_path)
    with pytest.raises(LockError, match=f"process {child.pid} on .* wait until it ends") as refused, \
         FolderLock(tmp_path, "curate run", take_over=True):  # fmt: skip
        pass
    assert refused.value.exit_code == 2
    child.send_signal(signal.SIGKILL)
    while Owner.parse((tmp_path / NAME).read_bytes()).state() == "alive":  # type: ignore[union-attr]
        pass  # not yet reaped, a dead process still has its number
    with FolderLock(tmp_path, "curate run") as held:
        assert len(held.warnings) == 1 and f"the lock of process {child.pid}" in held.warnings[0]
    child.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_later_process_of_the_same_number_and_an_earlier_boot_are_no_owners(tmp_path: Path) -> None:
    for changes in ({"started": "1"}, {"boot": "another"}, {"process": ended_process()}):
        owner = written(tmp_path, **changes)
        with FolderLock(tmp_path, "curate run") as held:
            assert str(owner) in held.warnings[0]


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"space": "pid:[1]"}])
def test_an_owner_that_cannot_be_seen_is_taken_over_only_when_told(tmp_path: Path, changes: dict[str, str]) -> None:
    written(tmp_path, **changes)
    with pytest.raises(LockError, match=r"cannot be seen from here\. If it has ended, give --take-over"), \
         FolderLock(tmp_path, "curate run"):  # fmt: skip
        pass
    with FolderLock(tmp_path, "curate run", take_over=True) as held:
        assert "taken over" in held.warnings[0]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"host": 1}', b"\xff"])
def test_a_lock_that_says_nothing_is_taken_over_only_when_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(LockError, match="does not say whose it is"), FolderLock(tmp_path, "curate run"):
        pass
    with FolderLock(tmp_path, "curate run", take_over=True):
        assert Owner.parse((tmp_path / NAME).read_bytes()) is not None


def test_a_lock_that_is_another_owners_by_now_stays(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "curate run"):
        other = written(tmp_path, host="elsewhere")
    assert Owner.parse((tmp_path / NAME).read_bytes()) == other


def test_of_many_that_find_a_dead_lock_one_takes_it_over(tmp_path: Path) -> None:
    written(tmp_path, process=ended_process())
    children = [start(CONTEND, tmp_path) for _ in range(5)]
    for child in children:
        child.stdin.write("go\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    answers = [child.stdout.readline().strip() for child in children]  # type: ignore[union-attr]
    for child in children:
        child.communicate("done\n")
    assert sorted(answers) == ["held"] + 4 * ["refused"]
    assert list(tmp_path.iterdir()) == []


def test_of_threads_at_once_over_a_store_one_takes_over_whoever_died_in_the_middle() -> None:
    """A store in memory, as an object store may be; the process that began a takeover has died, too."""

    class Memory:
        name = "memory"

        def __init__(self) -> None:
            self.files: dict[str, bytes] = {}
            self.guard = threading.Lock()

        def create_exclusive(self, rel: str, data: bytes) -> bool:
            with self.guard:
                return self.files.setdefault(rel, data) is data

        def read(self, rel: str) -> bytes:
            try:
                return self.files[rel]
            except KeyError:
                raise FileNotFoundError(rel) from None

        def delete(self, rel: str) -> None:
            self.files.pop(rel, None)

    dead = Owner(**{**Owner.here("curate run").__dict__, "process": ended_process()}).encode()
    for _ in range(20):
        store, held = Memory(), []
        store.files[NAME] = dead
        store.files[f"{NAME}.{lock.hashlib.sha256(dead).hexdigest()[:12]}"] = dead
        finish = threading.Barrier(4)

        def attempt(store: Memory = store, held: list[str] = held, finish: threading.Barrier = finish) -> None:
            try:
                with FolderLock(store, "curate run"):
                    held.append("held")
                    finish.wait()
            except LockError:
                finish.wait()

        threads = [threading.Thread(target=attempt) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1 and store.files == {}


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CurateError, match=r"file/run\.lock: cannot be written"), \
         FolderLock(tmp_path / "file", "curate run"):  # fmt: skip
        pass


def test_where_there_are_no_links_the_lock_is_as_exclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with FolderLock(tmp_path, "one"), pytest.raises(LockError, match="`one`"), FolderLock(tmp_path, "two"):
        pass
    assert list(tmp_path.iterdir()) == []
