"""Reading slices into RAW or DOCUMENT batches of about 8 MiB, losing nothing silently.

A row that cannot be used (a line that is not JSON, a record that is cut) comes out like any other, with its verdict
beside it: the run layer records it as a reject. What is no document (requests, revisits, warcinfo) and what could not
be read at all (garbage between members) is counted in `ReadCounts`.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from curate.errors import CurateError, DataError
from curate.io.batches import ReadCounts, Rows, split_by_bytes
from curate.io.compressed import open_decompressed
from curate.io.inputs import Format, Slice, TaskInput, stamp_of

__all__ = [
    "LIBRARIES", "VERSIONS", "ReadCounts", "Rows", "open_decompressed", "read", "reader_identity", "split_by_bytes"
]  # fmt: skip

VERSIONS: dict[Format, int] = {"warc": 2, "wet": 2, "jsonl": 3, "parquet": 3, "text": 2}
"""Of every form the version of its reader, raised when it gives other rows for the same file."""

LIBRARIES: dict[Format, tuple[str, ...]] = {
    "warc": ("fastwarc", "brotli", "zstandard"),
    "wet": ("fastwarc", "zstandard"),
    "jsonl": ("zstandard",),
    "parquet": ("pyarrow",),
    "text": ("zstandard",),
}
"""The distributions that decide what a reader gives, beside our own code."""


def reader_identity(form: Format) -> dict[str, Any]:
    """The version of a form's reader and of the libraries under it, as plain data for a fingerprint."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES[form]}
    return {"form": form, "version": VERSIONS[form], "libraries": libraries}


def read(task: TaskInput, counts: ReadCounts) -> Iterator[Rows]:
    """The rows of the task's slices in order, stopping after `task.limit` rows.

    Raises DataError where a slice cannot be opened, or changed since the run was planned; SchemaError where a table
    lacks what is needed.
    """
    left = task.limit
    for piece in task.slices:
        for rows in _slice(piece, counts):
            if left is not None and rows.batch.num_rows > left:
                rows = rows.slice(0, left)
            counts.documents += rows.batch.num_rows
            if rows.batch.num_rows:
                yield rows
            if left is not None:
                left -= rows.batch.num_rows
                if left <= 0:
                    break
        _check_unchanged(piece)
        if left is not None and left <= 0:
            break
        # Only what was read to its end counts: a limit may end within a slice.
        counts.bytes += piece.size


def _slice(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """The rows of one slice; what goes wrong with its file is a DataError that names it.

    Whatever the error, the file is looked at first: where it changed since the run was planned, that is what is told.
    """
    try:
        yield from _reader(piece.format)(piece, counts)
    except OSError as error:
        _check_unchanged(piece)
        raise DataError(f"{piece.path}: cannot be read: {error.strerror or error}") from None
    except CurateError:
        _check_unchanged(piece)
        raise
    except pa.ArrowException as error:
        _check_unchanged(piece)
        raise DataError(f"{piece.path}: cannot be read: {error}") from None


def _check_unchanged(piece: Slice) -> None:
    """DataError where the file is not what it was when the run was planned: its rows would be of no known file."""
    if piece.stamp in ("", "unreadable"):
        return
    now = stamp_of(piece.path)
    if now != piece.stamp:
        what = "is gone" if now == "unreadable" else "changed"
        raise DataError(
            f"{piece.path}: the file {what} since the run was planned (size and time were {piece.stamp}, are {now}); "
            "when it stays as it is, run the same command again with --update"
        )


def _reader(form: Format) -> Callable[[Slice, ReadCounts], Iterator[Rows]]:
    """The reader of a form; its libraries are imported when it is used."""
    if form == "jsonl":
        from curate.io.jsonl import read_jsonl

        return read_jsonl
    if form == "parquet":
        from curate.io.parquet import read_parquet

        return read_parquet
    if form == "text":
        from curate.io.textfiles import read_text

        return read_text
    from curate.io.warc import read_warc

    return read_warc
