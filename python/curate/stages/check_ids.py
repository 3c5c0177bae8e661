"""check_ids: no two rows have one doc_id. A run puts it first where ids come from its inputs and could repeat.

doc_id is the key of every join; two rows with one id would be told apart by nothing. Ids that this tool makes differ;
those that are trusted (`--trust-ids`, several runs as inputs) may not. A repeat stops the run and names both rows.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.config import Settings
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Stage

ROW_BYTES = 200  # that a row of ids takes while it is looked through, file names included


class CheckIds(Settings):
    pass


def emit(batch: pa.RecordBatch, config: CheckIds) -> Applied:
    columns = {name: batch.column(name) for name in ("doc_id", "origin_file", "origin_offset")}
    columns["origin_file"] = columns["origin_file"].cast(pa.string())
    return Applied(batch, emits={"ids": pa.RecordBatch.from_pydict(columns)})


def check(config: CheckIds, reads: Reads) -> Iterator[tuple[str, pa.Table]]:
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
    yield from ()


STAGE = Stage(
    name="check_ids",
    version=1,
    summary="No two rows have one doc_id.",
    config=CheckIds,
    rows=lambda config: "any",
    needs=lambda config: ("doc_id", "origin_file", "origin_offset"),
    phases=(
        Phase("emit", "each", apply=emit, documents=False, emits=(Channel("ids", by="doc_id"),)),
        Phase("check", "part", run=check, reads=("emit.ids",)),
    ),
)
