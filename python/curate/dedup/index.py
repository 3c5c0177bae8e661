"""The index of a data set: what a later run compares its documents with, without reading the old text.

index/parameters.json           what signatures depend on; two indexes compare only where it is equal
index/keys-TASK.arrow           (key: uint64, doc_id) of every band of every document
index/documents-TASK.arrow      RANK_COLUMNS and shingles (large_list<uint64>, empty without `verify`)
index/copies-TASK.arrow         (doc_id) of the documents that went; no document goes for one of them, while chains of
                                pairs (`cluster: connected`) may lead through them
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.costs import ID_BYTES
from curate.dedup.sorting import Rounds
from curate.errors import ConfigError, DataError

PARAMETERS = "parameters.json"


def index_files(folders: Iterable[str], parameters: Mapping[str, Any]) -> list[str]:
    """The files of the indexes in these folders.

    ConfigError where a folder is no index, or one that documents of these parameters cannot be compared with.
    """
    found: list[str] = []
    for folder in map(Path, folders):
        try:
            there = json.loads((folder / PARAMETERS).read_bytes())
        except (OSError, ValueError):
            raise ConfigError(
                f"near_dedup.index: {folder} is no index (no readable {PARAMETERS}); name the index/ folder of a run"
                " with save_index"
            ) from None
        other = [key for key in parameters if key != "shingles" and there.get(key) != parameters[key]]
        if other:
            was = ", ".join(f"{key} {there.get(key)} where this run has {parameters[key]}" for key in other)
            raise ConfigError(f"near_dedup.index: {folder} was made with {was}; use the same, or index that data again")
        if parameters["shingles"] and not there.get("shingles"):
            raise ConfigError(
                f"near_dedup.index: {folder} holds no shingles (made with verify: false); set it here too"
            )
        found += sorted(str(path) for path in folder.glob("*.arrow"))
    return found


def index_tables(paths: Iterable[Path], kind: Literal["keys", "documents", "copies"]) -> list[pa.Table]:
    """The mapped tables of one kind among the files of indexes; DataError where one cannot be read."""
    tables = []
    for path in paths:
        if not path.name.startswith(f"{kind}-"):
            continue
        try:
            tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"near_dedup.index: {path} is damaged ({error}); make that index again") from None
    return tables


def without_copies(keys: pa.Table, copies: Sequence[pa.Table]) -> pa.Table:
    """The rows of `keys`, which has a column doc_id, whose document stayed in its own run."""
    if not copies:
        return keys
    gone = pa.concat_tables(copies).column("doc_id").combine_chunks()
    return keys.filter(pc.invert(pc.is_in(keys.column("doc_id"), value_set=gone)))


def refuse_indexed_ids(documents: pa.Table, indexed: Sequence[pa.Table], rounds: Rounds) -> None:
    """DataError where a document has the doc_id of an indexed one, which would stand for it from then on."""
    if not indexed or not documents.num_rows:
        return
    places: list[tuple[str, int]] = []  # the first of each round
    count = 0
    documents = documents.select(["doc_id", "origin_file", "origin_offset"])
    ids = [table.select(["doc_id"]) for table in indexed]
    for mine, *theirs in rounds.parts(documents, ids, "doc_id", ID_BYTES):
        known = pa.concat_tables(theirs).column("doc_id").combine_chunks()
        same = mine.filter(pc.is_in(mine.column("doc_id"), value_set=known))
        count += same.num_rows
        same = same.sort_by([("origin_file", "ascending"), ("origin_offset", "ascending")])
        places += [(row["origin_file"] or "", row["origin_offset"] or 0) for row in same.slice(0, 1).to_pylist()]
    if count:
        file, offset = min(places)
        raise DataError(
            f"near_dedup.index: {count:,} documents have the doc_id of an indexed one, first {file} at {offset}:"
            " either this data is in the index, or its files have the same names; then set `root` of the input to a"
            " folder above"
        )
