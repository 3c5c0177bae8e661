"""Stages that only tests use, as a user would write them: `walls:VECTORS` with --allow-code walls."""

import hashlib
from collections.abc import Iterator

import pyarrow as pa

from curate.config import Settings, setting
from curate.stages.protocol import Applied, Channel, Own, Phase, Reads, Side, Stage, with_column, with_verdicts


class Nothing(Settings):
    pass


def _vectors(batch: pa.RecordBatch) -> list[int]:
    return [int.from_bytes(hashlib.sha256(i).digest()[:4]) for i in batch.column("doc_id").to_pylist()]


def embed(batch: pa.RecordBatch, config: Nothing) -> Applied:
    rows = {"doc_id": batch.column("doc_id"), "vector": pa.array(_vectors(batch), pa.int64())}
    return Applied(batch, emits={"vectors": pa.RecordBatch.from_pydict(rows)})


def centroid(config: Nothing, reads: Reads) -> dict[str, pa.Table]:
    vectors = reads.table("embed.vectors").column("vector").to_pylist()
    return {"centroid": pa.table({"mean": pa.array([sum(vectors) // len(vectors)], pa.int64())})}


def open_mean(config: Nothing, side: Side) -> int:
    return int(side.table("centroid.centroid").column("mean")[0].as_py())


def assign(batch: pa.RecordBatch, mean: int, own: Own) -> pa.RecordBatch:
    rows = own.next("embed.vectors", batch.num_rows)
    assert rows.column("doc_id").combine_chunks().equals(batch.column("doc_id"))
    near = [value < mean for value in rows.column("vector").to_pylist()]
    return with_column(batch, "near", pa.array(near, pa.bool_()))


VECTORS = Stage(
    name="vectors",
    version=1,
    summary="A vector a document, compared with their mean.",
    config=Nothing,
    phases=(
        Phase("embed", "each", apply=embed, documents=False, emits=(Channel("vectors"),)),
        Phase("centroid", "all", run=centroid, side=("embed.vectors",), emits=(Channel("centroid"),)),
        Phase("assign", "each", open=open_mean, apply=assign, side=("centroid.centroid",), own=("embed.vectors",)),
    ),
)


def open_seen(config: Nothing, side: Side) -> int:
    return side.table("embed.vectors").num_rows


def count_seen(batch: pa.RecordBatch, seen: int) -> pa.RecordBatch:
    return with_column(batch, "seen", pa.array([seen] * batch.num_rows, pa.int64()))


TWO = Stage(
    name="two",
    version=1,
    summary="Two phases in a row, the second of which reads the first whole.",
    config=Nothing,
    phases=(
        Phase("embed", "each", apply=embed, documents=False, emits=(Channel("vectors"),)),
        Phase("look", "each", open=open_seen, apply=count_seen, side=("embed.vectors",)),
    ),
)


class Urls(Settings):
    word: str = setting("bad", "addresses with this word are dropped")


def urls(batch: pa.RecordBatch, config: Urls) -> Applied:
    rules = ["urls.word" if config.word in (url or "") else None for url in batch.column("url").to_pylist()]
    return with_verdicts(batch, rules, 1.0, 0.0)


URLS = Stage(
    name="urls",
    version=1,
    summary="Drop pages or documents by their address.",
    config=Urls,
    rows=lambda config: "any",
    needs=lambda config: ("url",),
    phases=(Phase("apply", "each", apply=urls),),
)


def halve(batch: pa.RecordBatch, config: Nothing) -> Applied:
    ranks = _vectors(batch)
    return with_verdicts(batch, ["half.chance" if rank % 2 else None for rank in ranks], 1.0, 0.0)


HALF = Stage(
    name="half",
    version=1,
    summary="Drop half of the documents.",
    config=Nothing,
    expected=lambda config: (0.9, 1.0),
    phases=(Phase("apply", "each", apply=halve),),
)

states: list[str] = []


def open_state(config: Nothing, side: Side) -> str:
    states.append("opened")
    return "state"


def close_state(state: str) -> None:
    states.append("closed")


CLOSES = Stage(
    name="closes",
    version=1,
    summary="Nothing, with a state.",
    config=Nothing,
    phases=(Phase("apply", "each", open=open_state, apply=lambda batch, state: batch, close=close_state),),
)


def fails(batch: pa.RecordBatch, config: Nothing) -> Iterator[None]:
    raise ValueError("a stage of the user's that fails")


FAILS = Stage(
    name="fails", version=1, summary="It fails.", config=Nothing, phases=(Phase("apply", "each", apply=fails),)
)


def parse(page: bytes, charset: str | None) -> str:
    """An extractor of the user's."""
    return "extracted " * 20 + page[:3].hex()
