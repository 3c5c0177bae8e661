"""What Parquet and Arrow files say of themselves before anything is run: columns, rows, and where to cut them."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from curate.io.compressed import is_local, open_file

_THREADS = 8  # footers of an object store wait for the network


class Footer(NamedTuple):
    """What the footer of one Parquet file says; of an Arrow file, its schema alone."""

    columns: pa.Schema  # names and types, as Arrow reads them
    # (first row group, one past the last, bytes) of runs of about the size asked for
    groups: tuple[tuple[int, int | None, int], ...] = ()
    rows: int = 0  # of the file
    text_bytes: int = 0  # of the columns of text or HTML, uncompressed


class File(Protocol):
    """What is to be known of a file whose footer is read: where it is, and how the user calls its columns."""

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def columns(self) -> Mapping[str, str]: ...


def read_footers(files: Iterable[File], run_bytes: int) -> list[Footer | None]:
    """The footer of every file in order, cut at about `run_bytes`; None of one that cannot be read as what it is."""

    def one(file: File) -> Footer | None:
        texts = {file.columns.get(name, name) for name in ("text", "html", "payload")}
        try:
            if file.format == "arrow":
                with open_arrow(file.path) as reader:
                    return Footer(reader.schema.remove_metadata())
            with open_file(file.path) as handle, pq.ParquetFile(handle) as opened:
                return _footer(opened, texts, run_bytes)
        except (OSError, pa.ArrowException):
            return None

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, files))


@contextlib.contextmanager
def open_arrow(path: str) -> Iterator[Any]:
    """A reader of an Arrow IPC file in either form: of the file form one with `num_record_batches`, of a stream one
    that gives its batches in turn. A file of this machine is mapped into memory.

    Raises OSError where it cannot be opened, ArrowException where it is no Arrow IPC.
    """
    with contextlib.ExitStack() as opened:
        local = is_local(path)
        source = opened.enter_context(
            pa.memory_map(os.fsencode(path)) if local else pa.PythonFile(open_file(path), "r")
        )
        form = source.read(6) == b"ARROW1"
        source.seek(0)
        yield opened.enter_context((pa.ipc.open_file if form else pa.ipc.open_stream)(source))


def _footer(file: pq.ParquetFile, texts: set[str], run_bytes: int) -> Footer:
    """The footer of an opened file; `texts` are the names of columns whose bytes count as text."""
    data = file.metadata
    places = [i for i in range(data.num_columns) if data.schema.column(i).path in texts]
    groups = [data.row_group(i) for i in range(data.num_row_groups)]
    text_bytes = sum(group.column(i).total_uncompressed_size for group in groups for i in places)
    runs = _runs([group.total_byte_size for group in groups], run_bytes)
    return Footer(file.schema_arrow.remove_metadata(), runs, data.num_rows, text_bytes)


def _runs(sizes: Sequence[int], run_bytes: int) -> tuple[tuple[int, int, int], ...]:
    """Neighboring row groups together until they hold `run_bytes`; one empty run for a file without row groups."""
    found, start, held = [], 0, 0
    for index, size in enumerate(sizes):
        held += size
        if held >= run_bytes or index + 1 == len(sizes):
            found.append((start, index + 1, held))
            start, held = index + 1, 0
    return tuple(found) or ((0, 0, 0),)
