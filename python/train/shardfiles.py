"""Runs' folders made of tokens: for data that a model wrote, and for copies of a run with something changed."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from curate import schema
from train.checkpoint import write_file
from train.shards import Manifest

BATCH = 1024  # documents of a record batch


def link(path: Path, to: Path) -> None:
    """The file under another name, or a copy of it where the file system has no links."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


def link_beside(data: Path, out: Path, names: Sequence[str]) -> None:
    """Link files and folders of a run, those that there are."""
    for name in names:
        place = data / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                link(path, out / path.relative_to(data))


def write_shards(
    out: Path, data: Path, source: str, ids: Sequence[Sequence[int]], text_bytes: Sequence[int], like: Manifest
) -> None:
    """A run's folder `out` with these documents as the only source; tokenizer and held-out tokens are those of `data`.

    ids: without the end-of-document id. like: a manifest of the same tokenizer. The manifest comes last.
    """
    shutil.rmtree(out, ignore_errors=True)
    link_beside(data, out, ("tokenizer.json", "heldout"))
    kind = schema.TOKENS_16 if like.dtype == "uint16" else schema.TOKENS_32
    path = Path(source, "0.arrow")
    (out / "tokens" / source).mkdir(parents=True)
    rows = [[*one, like.end_of_document] for one in ids]
    columns = [
        pa.array([schema.doc_id(str(path), number) for number in range(len(rows))], pa.binary(16)),
        pa.array(rows, kind.field("tokens").type),
        pa.array([len(row) for row in rows], pa.uint32()),
        pa.array(list(text_bytes), pa.uint64()),
    ]
    with pa.ipc.new_file(str(out / "tokens" / path), kind) as writer:
        writer.write_table(pa.table(columns, schema=kind), max_chunksize=BATCH)
    content = (out / "tokens" / path).read_bytes()
    counts = {"documents": len(rows), "tokens": sum(map(len, rows)), "text_bytes": sum(text_bytes)}
    entry = {"path": str(path), "source": source, **counts, "bytes": len(content)}
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    made = {**like.model_dump(), "files": [entry], "sources": {source: counts}}
    write_file(out / "tokens" / "manifest.json", json.dumps(made, indent=1).encode())
