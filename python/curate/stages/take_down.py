"""take_down: what you are asked to remove is removed, and a report says which requests were met.

Requests are files of one entry a line: addresses (the page itself, in any of the forms in which an address is written:
scheme, www., order and tracking parameters of the query do not matter), sites (a host with all hosts below it), and
doc_ids (32 hexadecimal digits, as `curate why` and the rejects print them). It works on pages and on documents.

The report is take_down/take_down.parquet in the run's folder: every request and the number of rows that it removed.
How many of each kind were asked for and found is told at the end of the run, too.

    curate take-down run/ --sites requests.txt --out cleaned
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from curate import lookups, schema
from curate.blocklists import entries_of, list_files, state_bytes
from curate.config import Settings, setting
from curate.dedup.canonical import canonical_url
from curate.errors import ConfigError
from curate.stages.protocol import Applied, Channel, Phase, Reads, Resources, Side, Stage, with_verdicts

KINDS = ("doc_ids", "urls", "sites")  # a row that several requests name counts for the first of these
RULE = {"doc_ids": "take_down.doc_id", "urls": "take_down.url", "sites": "take_down.site"}
_HEX = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


class TakeDown(Settings):
    """The requests, by what their lines are."""

    urls: list[str] = setting([], "files of addresses")
    sites: list[str] = setting([], "files of hosts; a host stands for all below it")
    doc_ids: list[str] = setting([], "files of doc_ids")

    @model_validator(mode="after")
    def _has_requests(self) -> Self:
        if not any(getattr(self, kind) for kind in KINDS):
            raise ValueError("name a file of requests: urls, sites and doc_ids are all empty")
        return self


def requests(config: TakeDown) -> dict[str, list[str]]:
    """Kind -> its distinct requests in the order of the files, as they are written there.

    ConfigError for a file without a request, and for a doc_id that is none.
    """
    found: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for path in getattr(config, kind):
            entries = entries_of(path)
            if not entries:
                raise ConfigError(f"take_down.{kind}: {path}: no request in this file")
            wrong = next((entry for entry in entries if kind == "doc_ids" and not _HEX.fullmatch(entry)), None)
            if wrong is not None:
                raise ConfigError(f'take_down.doc_ids: {path}: "{wrong[:60]}" is no doc_id, 32 hexadecimal digits')
            found[kind] |= dict.fromkeys(entries)
    return {kind: list(entries) for kind, entries in found.items()}


class State:
    """What is looked for, opened once a worker; ConfigError for a site that is no host.

    `covered` has, by kind, the number of the request that stands for each request as well: an equal one before it, or
    a host above it.
    """

    def __init__(self, config: TakeDown, side: Side | None = None) -> None:
        self.asked = asked = requests(config)
        self.doc_ids = pa.array([bytes.fromhex(entry) for entry in asked["doc_ids"]], schema.DOC_ID)
        self.urls = pa.array([canonical_url(entry) for entry in asked["urls"]], pa.string())
        # Each site is a list of its own, so that the number of the list tells the request.
        self.sites = lookups.UrlLists([("domains", entry.encode()) for entry in asked["sites"]], min_soft_words=1)
        for entry, (hosts, _, _) in zip(asked["sites"], self.sites.added, strict=True):
            if not hosts:
                raise ConfigError(f'take_down.sites: "{entry[:60]}" is no host')
        self.covered = {
            "doc_ids": _index(self.doc_ids, self.doc_ids),
            "urls": _index(self.urls, self.urls),
            "sites": np.asarray(self.sites.find(pa.array(asked["sites"], pa.string()))[0]),
        }


def apply(batch: pa.RecordBatch, state: State) -> Applied:
    """Drops the rows that a request names, and emits (kind, request, rows) of the requests that it met."""
    n = batch.num_rows
    kinds, places = np.full(n, -1), np.full(n, -1)
    for number, places_of in enumerate(_places(batch, state)):
        free = (kinds < 0) & (places_of >= 0)
        kinds[free], places[free] = number, places_of[free]
    rules = pa.array([RULE[kind] for kind in KINDS]).take(pa.array(kinds, mask=kinds < 0))
    met = kinds >= 0
    pairs, counts = np.unique(np.stack([kinds[met], places[met]]), axis=1, return_counts=True)
    rows = {"kind": pairs[0].astype(np.int8), "request": pairs[1].astype(np.int64), "rows": counts.astype(np.int64)}
    return with_verdicts(batch, rules, emits={"met": pa.RecordBatch.from_pydict(rows)})


def _places(batch: pa.RecordBatch, state: State) -> list[np.ndarray]:
    """Of each kind, the number of the request that names each row, -1 where none does."""
    at = batch.schema.get_field_index("url")
    urls = pc.fill_null(batch.column(at).cast(pa.string()), "") if at >= 0 else pa.array([""] * batch.num_rows)
    nothing = np.full(batch.num_rows, -1)
    by_url = _index(pa.array([canonical_url(url) for url in urls.to_pylist()], pa.string()), state.urls)
    return [
        _index(batch.column("doc_id"), state.doc_ids),
        np.where(np.asarray(pc.equal(urls, "")), -1, by_url) if len(state.urls) else nothing,
        np.asarray(state.sites.find(urls)[0]) if state.asked["sites"] else nothing,
    ]


def _index(column: pa.Array, wanted: pa.Array) -> np.ndarray:
    """The place in `wanted` of each value, -1 for none."""
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=wanted), -1)).astype(np.int64)


def add_up(table: pa.Table) -> pa.Table:
    """One row a request."""
    summed = table.group_by(["kind", "request"]).aggregate([("rows", "sum")])
    return summed.rename_columns(["kind", "request", "rows"]).sort_by([("kind", "ascending"), ("request", "ascending")])


def report(config: TakeDown, reads: Reads) -> Mapping[str, Any]:
    """Every request with the rows that it removed, and how many were met as notes of the run.

    A request that another one covers removes no rows of its own, and is not counted among those asked for.
    """
    state, table = State(config), reads.table("apply.met")
    removed: dict[tuple[int, int], int] = {}
    for row in add_up(table).to_pylist() if table.num_rows else ():
        removed[row["kind"], row["request"]] = row["rows"]
    lines, notes = [], []
    for number, kind in enumerate(KINDS):
        asked, covered = state.asked[kind], state.covered[kind].tolist()
        own = [place for place, by in enumerate(covered) if place == by]
        for place, (request, by) in enumerate(zip(asked, covered, strict=True)):
            lines.append({"kind": kind, "request": request, "rows": removed.get((number, place), 0),
                          "covered_by": None if place == by else asked[by]})  # fmt: skip
        if asked:
            met = [removed[number, place] for place in own if (number, place) in removed]
            notes.append(f"take_down: {len(met):,} of {len(own):,} {kind} asked for were found, in {sum(met):,} rows;"
                         " take_down/ has a line for each request")  # fmt: skip
    fields = {"kind": pa.string(), "request": pa.string(), "rows": pa.int64(), "covered_by": pa.string()}
    return {"report": pa.Table.from_pylist(lines, pa.schema(fields)), "notes": "\n".join(notes).encode()}


def files(config: TakeDown) -> Mapping[str, Sequence[str]]:
    """The files of requests by the setting that names them."""
    return {kind: getattr(config, kind) for kind in KINDS}


STAGE = Stage(
    name="take_down",
    version=1,
    summary="Remove addresses, sites and doc_ids on request.",
    config=TakeDown,
    rows=lambda config: "any",
    needs=lambda config: ("doc_id",),
    rules=lambda config: {RULE[kind]: "" for kind in KINDS if getattr(config, kind)},
    files=files,
    resources=lambda config: Resources(state_bytes=4 * state_bytes(list_files(files(config)))),
    phases=(
        Phase("apply", "each", open=State, apply=apply, side=KINDS, emits=(Channel("met", combine=add_up),)),
        Phase(
            "report", "all", run=report, side=("apply.met", *KINDS),
            emits=(Channel("report", path="take_down/{step}.parquet"),),
        ),
    ),
)  # fmt: skip
