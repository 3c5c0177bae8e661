"""Reading slices into RAW or DOCUMENT batches of about 8 MiB, losing nothing silently.

A row that cannot be used (a line that is not JSON, a record that is cut) comes out like any other, with its verdict
beside it: the run layer records it as a reject. What is no document (requests, revisits, warcinfo) and what could not
be read at all (garbage between members) is counted in `ReadCounts`.
"""

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import CurateError, DataError
from curate.io import columns
from curate.io.batches import ReadCounts, Rows, split_by_bytes
from curate.io.compressed import open_decompressed
from curate.io.inputs import Format, Slice, TaskInput, stamp_of

__all__ = [
    "LIBRARIES", "VERSIONS", "ReadCounts", "Rows", "open_decompressed", "read", "reader_identity", "split_by_bytes"
]  # fmt: skip

VERSIONS: dict[Format, int] = {
    "warc": 3, "wet": 3, "jsonl": 4, "json": 1, "parquet": 3, "arrow": 1, "csv": 1, "tsv": 1, "html": 1, "mhtml": 1,
    "text": 3, "wiki": 1, "tar": 1,
}  # fmt: skip
"""Of every form the version of its reader, raised when it gives other rows for the same file."""

LIBRARIES: dict[Format, tuple[str, ...]] = {
    "warc": (),
    "wet": (),
    "parquet": ("pyarrow",),
    "arrow": ("pyarrow",),
    **dict.fromkeys(("jsonl", "json", "csv", "tsv", "html", "mhtml", "text", "wiki", "tar"), ("zstandard",)),
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
        for rows in _reader(piece.format)(piece, counts):
            yield _with_partitions(rows, piece) if piece.partitions else rows
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


# Form -> module and function of its reader, imported when it is used.
_READERS: dict[Format, tuple[str, str]] = {
    "warc": ("warc", "read_warc"),
    "wet": ("warc", "read_warc"),
    "jsonl": ("jsonl", "read_jsonl"),
    "json": ("jsonl", "read_json"),
    "parquet": ("parquet", "read_parquet"),
    "arrow": ("arrowfiles", "read_arrow"),
    "csv": ("csvfiles", "read_csv"),
    "tsv": ("csvfiles", "read_csv"),
    "html": ("pages", "read_pages"),
    "mhtml": ("pages", "read_pages"),
    "text": ("textfiles", "read_text"),
    "wiki": ("wikifiles", "read_wiki"),
    "tar": ("tarfiles", "read_tar"),
}


def _reader(form: Format) -> Callable[[Slice, ReadCounts], Iterator[Rows]]:
    """The reader of a form."""
    module, name = _READERS[form]
    found: Callable[[Slice, ReadCounts], Iterator[Rows]] = getattr(importlib.import_module(f"curate.io.{module}"), name)
    return found


def _with_partitions(rows: Rows, piece: Slice) -> Rows:
    """The rows with what the folders of their file say: in a column of that name where the row has no value of its
    own, else in `extra`."""
    batch = rows.batch
    for name, value in piece.partitions.items():
        place = batch.schema.get_field_index(name)
        kind = batch.schema.field(place).type if place >= 0 else None
        plain = kind.value_type if kind is not None and pa.types.is_dictionary(kind) else kind
        made = None if plain is None else columns.converter(name, plain)(value)
        if made is None:
            place = batch.schema.get_field_index("extra")
            texts = [columns.joined(text, {name: value}) for text in batch.column(place).to_pylist()]
            filled = pa.array(texts, pa.large_string())
        else:
            filled = pc.fill_null(batch.column(place).cast(plain), pa.scalar(made, plain))
            filled = filled.dictionary_encode().cast(kind) if plain != kind else filled
        batch = batch.set_column(place, batch.schema.field(place), filled)
    return rows._replace(batch=batch)
