"""check_ids: no two rows have the same doc_id. A run puts this stage first where ids come from its inputs.

doc_id is the key of every join: keep lists, rejects and `curate why` find rows by it, so that two rows with one id
could not be told apart. Ids that this tool makes are hashes of a place in the input, and differ. Ids that it takes
from the input (`--trust-ids`, several runs as inputs) may repeat. A repeat stops the run, and the message names both
rows.

The phase emit sends every id to a partition by its hash, so that equal ids meet in one task; check sorts the ids of a
partition and compares neighbors.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.config import Settings
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Stage

ROW_BYTES = 200  # memory of one id while its partition is sorted, the name of its file included


class CheckIds(Settings):
    pass


def emit(batch: pa.RecordBatch, config: CheckIds) -> Applied:
    """The id of every row with the place it came from (file, offset), which the message about a repeat shows."""
    columns = {name: batch.column(name) for name in ("doc_id", "origin_file", "origin_offset")}
    columns["origin_file"] = columns["origin_file"].cast(pa.string())
    return Applied(batch, emits={"ids": pa.RecordBatch.from_pydict(columns)})


def check(config: CheckIds, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
    """Raise ConfigError, naming both rows, at the first id of the partition that two rows have. Emits nothing."""
    rows = reads.rows("emit.ids")
    for (part,) in reads.parts(rows, [], "doc_id", ROW_BYTES) if rows.num_rows else []:
        table = part.sort_by([(name, "ascending") for name in ("doc_id", "origin_file", "origin_offset")])
        ids = table.column("doc_id").combine_chunks()
        same = np.flatnonzero(pc.equal(ids.slice(1), ids.slice(0, max(0, len(ids) - 1))).to_numpy(zero_copy_only=False))
        if len(same):
            at = int(same[0])
            first, second = (table.slice(at + i, 1).to_pylist()[0] for i in (0, 1))
            places = [f"{row['origin_file']} at {row['origin_offset']:,}" for row in (first, second)]
            raise ConfigError(
                f"the doc_id {first['doc_id'].hex()} is that of two rows: {' and '.join(places)}; read without"
                " --trust-ids (`trust_ids: false`), so that rows get ids of their own and keep these as source_id"
            )
    yield from ()  # makes this a generator of (channel, table) pairs, of which there are none


STAGE = Stage(
    name="check_ids",
    version=1,
    summary="No two rows have one doc_id.",
    config=CheckIds,
    rows=lambda config: "any",
    needs=lambda config: ("doc_id", "origin_file", "origin_offset"),
    phases=(
        Phase("emit", "each", apply=emit, against=emit, documents=False, emits=(Channel("ids", by="doc_id"),)),
        Phase("check", "part", run=check, reads=("emit.ids",)),
    ),
)
