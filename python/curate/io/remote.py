"""Objects read through fsspec: in ranges, each tried again when it fails, and never short without an error.

A connection may break in the middle of an object, a server may be too busy to answer, and libraries differ in what they
then raise, or give fewer bytes and say nothing. Here a read gives what the object holds or raises OSError (EIO). Every
reader takes that for a failure of the network, and none for the end of the file. An object of which the store does not
tell the size is the exception: its end is where the store says it is.
"""

import errno
import io
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

ATTEMPTS = 4  # at one request; libraries of stores have their own attempts below it
PAUSE = 0.2  # seconds before the second attempt, four times as long before every later one
BLOCK_BYTES = 4 << 20  # what is asked for at once where a file is read in pieces
# Answers that are the same however often the store is asked.
HOPELESS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

T = TypeVar("T")

_kept: dict[int, Any] = {}  # id -> every file system that was made, so that none is collected


def file_system(address: str, **options: Any) -> tuple[Any, str]:
    """(the file system of a path or URL, the path in it), as fsspec.core.url_to_fs, which keeps one for all callers.

    It is never collected. A forked worker would collect its parent's and close the connections of that, which takes
    them out of the epoll that both share: the parent would wait in vain for what they bring.
    """
    import fsspec

    fs, path = fsspec.core.url_to_fs(address, **options)
    _kept[id(fs)] = fs
    return fs, str(path)


def tried(action: Callable[[], T]) -> T:
    """What `action` gives, after up to ATTEMPTS with 0.2, 0.8 and 3.2 seconds between them.

    HOPELESS errors are raised at once, others after the last attempt. The action must be one that may be done twice.
    """
    pause = PAUSE
    for left in range(ATTEMPTS - 1, -1, -1):
        try:
            return action()
        except HOPELESS:
            raise
        except Exception:  # every library has errors of its own
            if not left:
                raise
        time.sleep(pause)
        pause *= 4
    raise AssertionError


def open_object(fs: Any, path: str, name: str) -> BinaryIO:
    """The bytes of an object as a file that can be read and sought; `name` stands in messages.

    Raises HOPELESS errors as they are and anything else as OSError (EIO), here and when it is read.
    """

    def opened() -> Any:
        return fs.open(path, "rb", block_size=BLOCK_BYTES)

    try:
        return io.BufferedReader(_Object(tried(opened), name), BLOCK_BYTES // 4)
    except HOPELESS:
        raise
    except Exception as error:
        raise failure(name, error) from error


def failure(name: str, error: Exception) -> OSError:
    """An error of some library as the one that readers know for the network's."""
    return OSError(errno.EIO, f"{error or type(error).__name__}", name)


class _Object(io.RawIOBase):
    """An object as a raw file. `at` is the position here; the file of the library is moved there before each read."""

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.called = file, name
        self.size: int | None = getattr(file, "size", None)
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self.file.seekable())

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = self.file.seek(offset, whence)
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Up to len(buffer) bytes from `at` on, in one range; 0 at the end only. OSError (EIO) after the last
        attempt."""
        wanted = len(buffer)
        if self.size is not None:
            wanted = max(0, min(wanted, self.size - self.at))

        def ranged() -> bytes:
            if self.file.tell() != self.at:
                self.file.seek(self.at)
            found: bytes = self.file.read(wanted)
            if self.size is not None and len(found) < wanted:
                raise OSError(errno.EIO, f"{len(found):,} of {wanted:,} bytes at {self.at:,} arrived", self.called)
            return found

        try:
            data = tried(ranged)
        except Exception as error:
            raise failure(self.called, error) from error
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()
