"""Parquet files that hold all of their rows, or do not exist."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError
from train.checkpoint import write_file


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file in one piece. Raises CurateError if the disk refuses."""
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(table, sink, compression="zstd")
    except pa.ArrowException as error:
        raise CurateError(f"{path}: cannot be written: {error}") from None
    write_file(path, sink.getvalue())
