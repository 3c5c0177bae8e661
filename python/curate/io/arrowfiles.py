"""Arrow IPC files, in the file form and as a stream (as `datasets.save_to_disk` writes it); rows as those of Parquet.

A record batch is decoded as a whole, since it has no smaller part; of a file of this machine that is not compressed
inside, it is mapped and not read into memory.
"""

from collections.abc import Iterator

import pyarrow as pa

from curate.errors import DataError
from curate.io.batches import ReadCounts, Rows
from curate.io.footers import open_arrow
from curate.io.inputs import Slice
from curate.io.parquet import Sorter, decoded_parts


def read_arrow(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """Rows as `read_parquet` gives them; what follows a damaged batch of a stream is counted as skipped.

    DataError where the file is no Arrow IPC, SchemaError where it has no text.
    """
    row = done = 0
    try:
        with open_arrow(piece.path) as reader:
            sorter = Sorter(piece, reader.schema, counts)
            for batch in _batches(reader):
                done += 1
                for part in decoded_parts(batch):
                    yield sorter.rows(part, row)
                    row += part.num_rows
    except pa.ArrowException as error:
        if not done:
            raise DataError(f"{piece.path}: not a readable Arrow file: {error}") from None
        counts.damage(
            piece.rel, f"from row {row:,} on it cannot be read: {error}", max(1, piece.size - piece.size // 2)
        )


def _batches(reader: object) -> Iterator[pa.RecordBatch]:
    """The record batches of either form."""
    if isinstance(reader, pa.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader  # type: ignore[misc]
