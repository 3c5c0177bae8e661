"""WARC and ARC files, whole or damaged: every response becomes a row, everything else is counted.

All of it is done in Rust (`rust/warc`): members and frames, records, HTTP, codings, columns. Here a slice is opened,
and its batches get the columns that are the same for all rows.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import pyarrow as pa

from curate import schema
from curate._rust import WarcReader
from curate.io import columns
from curate.io.batches import ReadCounts, Rows
from curate.io.compressed import is_local, open_file
from curate.io.inputs import Slice
from curate.schema import Kind


def read_warc(piece: Slice, counts: ReadCounts) -> Iterator[Rows]:
    """RAW rows of a WARC's responses and resources, or DOCUMENT rows of a WET's conversions.

    A row's origin_offset is the byte of its record in the file, in a compressed file that of its member. Where a member
    holds several records, their number in it tells their ids apart.
    """
    kind: Kind = "document" if piece.format == "wet" else "raw"
    fields = pa.schema([*schema.SCHEMA_OF[kind], *columns.from_text(piece.carried)])
    # A file of this machine is opened there; what is remote, or inside of an archive, is read through Python.
    with nullcontext(piece.path) if is_local(piece.path) else open_file(piece.path) as source:
        reader = WarcReader(
            source, piece.rel, start=piece.start, end=piece.end, wet=kind == "document", verify=piece.verify_digests
        )
        # Nothing here holds a batch while the next one is read: its memory is then used again.
        yield from iter(lambda: _rows(reader, piece, counts, fields), None)


def _rows(reader: WarcReader, piece: Slice, counts: ReadCounts, fields: pa.Schema) -> Rows | None:
    """The reader's next batch with all columns of `fields`; None at the end."""
    found = reader.next_batch()
    _count(reader, piece, counts)
    if found is None:
        return None
    given = {name: pa.array(column) for name, column in found.items()}
    kind: Kind = "document" if piece.format == "wet" else "raw"
    constant = {"source": piece.source, "origin_file": piece.rel}
    return Rows(kind, _batch(given, fields, constant), _verdicts(given))


def _batch(given: dict[str, pa.Array], fields: pa.Schema, constant: dict[str, str]) -> pa.RecordBatch:
    """The columns that the reader gave in the order of the schema, and those that are one value or null."""
    rows = len(given["doc_id"])
    arrays = []
    for field in fields:
        if field.name in constant:
            indices = pa.array([0] * rows, pa.int32())
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array([constant[field.name]])))
        elif field.name in given:
            column = given[field.name]
            arrays.append(column if column.type == field.type else column.cast(field.type))
        else:
            arrays.append(pa.nulls(rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


def _verdicts(given: dict[str, pa.Array]) -> pa.RecordBatch | None:
    """The verdicts of a batch's rows; None where no row has one."""
    if "verdict.rule" not in given:
        return None
    columns_of = [given[f"verdict.{field.name}"] for field in schema.VERDICT]
    return pa.RecordBatch.from_arrays(columns_of, schema=schema.VERDICT)


def _count(reader: WarcReader, piece: Slice, counts: ReadCounts) -> None:
    """Take over what the reader saw beside rows since it was last asked."""
    others, notes, more, undated = reader.counts()
    counts.other_records.update(dict(others))
    for offset, what, skipped in notes:
        counts.damage(piece.rel, f"{what} at byte {offset:,}", skipped)
    for what, places, skipped in more:
        counts.skipped_bytes += skipped
        told = f" ({skipped:,} bytes skipped)" if skipped else ""
        counts.warnings.append(f"{piece.rel}: {what} at {places:,} more places{told}")
    if undated:
        counts.warnings.append(f"{piece.rel}: {undated:,} dates that cannot be read; crawled_at is null there")
