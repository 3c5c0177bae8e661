"""What became of a document: what every rule that dropped, cut or marked it measured, and where it lies now.

A document is looked for in the rejects and documents of a run, by its URL or by the beginning of its doc_id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema, stages
from curate.errors import ConfigError, CurateError, DataError
from curate.io.store import TEMPORARY
from curate.run.manifest import RunFolder
from curate.run.verdicts import EXCERPT

PLACES = ("documents", "heldout/documents")
LEAST_DIGITS, ALL_DIGITS = 8, 32  # of a doc_id in hex


@dataclass(frozen=True)
class Verdict:
    """One row of rejects/. value and limit are in `unit`; the span is in bytes of the text as it stood."""

    action: str  # "drop", "cut" or "mark"
    stage: str  # name of the step
    rule: str  # `stage.rule` or `preset.rule`
    value: float | None  # what the rule measured
    limit: float | None  # what it was compared with
    unit: str
    detail: str | None  # what is no number: a language, an error
    preset: str | None
    span_start: int | None
    span_end: int | None
    excerpt: str | None  # at most 200 characters, unless the recipe keeps texts


@dataclass(frozen=True)
class Place:
    """Where a document that stayed lies: `documents` or `heldout/documents`."""

    name: str  # of the folder
    n_copies: int | None  # documents that it stands for, itself included
    excerpt: str  # at most 200 characters


@dataclass(frozen=True)
class Found:
    """One document: where it came from, what was decided about it, and where it lies now."""

    doc_id: str  # 32 hex digits
    source: str | None  # the recipe's name for the input
    url: str | None
    origin_file: str | None  # input file, relative to the input's root
    origin_offset: int | None  # bytes into that file, or its row
    verdicts: tuple[Verdict, ...]  # cuts and marks first, a drop last
    places: tuple[Place, ...]  # none where it was dropped


@dataclass(frozen=True)
class Story:
    """The documents that a URL or the beginning of a doc_id names, by doc_id."""

    documents: tuple[Found, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `curate why --json` prints it."""
        return asdict(self)


def why(folder: RunFolder, document: str) -> Story:
    """The story of a document, named by URL or by the first 8 hex digits or more of its doc_id.

    Raises ConfigError where the name is neither or not enough, CurateError where no document has it, DataError where
    a file cannot be read.
    """
    by_url = "://" in document
    wanted = document if by_url else document.lower()
    digits = set(wanted) <= set("0123456789abcdef") and LEAST_DIGITS <= len(wanted) <= ALL_DIGITS
    if not by_url and not digits:
        raise ConfigError(f'"{document}" is neither a URL nor a doc_id ({LEAST_DIGITS} to {ALL_DIGITS} hex digits)')
    units = units_of(folder)
    rows: dict[str, Mapping[str, Any]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    places: dict[str, list[Place]] = {}
    for row in _search(folder, "rejects", wanted, by_url):
        rows.setdefault(row["doc_id"], row)
        verdicts.setdefault(row["doc_id"], []).append(_verdict(row, units))
    for name in PLACES:
        for row in _search(folder, name, wanted, by_url):
            rows[row["doc_id"]] = row
            place = Place(name, row.get("n_copies"), str(row.get("text") or "")[:EXCERPT])
            places.setdefault(row["doc_id"], []).append(place)
    if not rows:
        raise CurateError(f"{document}: no document of this run; did its task fail? see `curate status {folder.name}`")
    if len(rows) > 1 and not by_url:
        raise ConfigError(f"{document} is the beginning of {len(rows)} documents: {', '.join(sorted(rows)[:5])}")
    return Story(
        tuple(
            Found(
                doc_id=identity,
                **{key: row.get(key) for key in ("source", "url", "origin_file", "origin_offset")},
                verdicts=tuple(sorted(verdicts.get(identity, []), key=lambda v: v.action == "drop")),
                places=tuple(places.get(identity, ())),
            )
            for identity, row in sorted(rows.items())
        )
    )


def units_of(folder: RunFolder) -> dict[str, str]:
    """The unit of what each rule of the run's recipe measures; none where the recipe is not of this version."""
    record = folder.run_yaml() or {}
    units: dict[str, str] = {}
    for step in record.get("recipe", {}).get("steps", []):
        ((name, settings),) = step.items()
        try:
            stage = stages.load(name)
            given = {key: value for key, value in settings.items() if key in stage.config.model_fields}
            units.update(stage.rules(stage.config.model_validate(given)))
        except (CurateError, ValueError):
            continue
    return units


def _verdict(row: Mapping[str, Any], units: Mapping[str, str]) -> Verdict:
    """A row of rejects/ as a Verdict, with the unit of its rule."""
    given: dict[str, Any] = {name: row.get(name) for name in Verdict.__dataclass_fields__ if name != "unit"}
    return Verdict(**given, unit=units.get(row["rule"], ""))


def _search(folder: RunFolder, place: str, wanted: str, by_url: bool) -> Iterator[dict[str, Any]]:
    """The rows of a folder's Parquet files that have this URL, or whose doc_id begins with these digits."""
    store = folder.products
    for rel in sorted(store.list(place)):
        if not rel.endswith(".parquet") or rel.rpartition("/")[2].startswith(TEMPORARY):
            continue
        try:
            with store.open(rel) as handle:
                yield from _rows(handle, wanted, by_url)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{store.name}/{rel}: cannot be read: {error}; the command that made the run makes it again"
            ) from None


SHOWN = frozenset((*schema.DOCUMENT.names, *schema.REJECT.names))  # columns of the user's may be of any type


def _rows(handle: BinaryIO, wanted: str, by_url: bool) -> Iterator[dict[str, Any]]:
    """The rows of one Parquet file that are looked for, bytes as hex digits.

    Of every row group the key's column alone is read first, and the others only where a row matches.
    """
    file = pq.ParquetFile(handle)
    key = "url" if by_url else "doc_id"
    if key not in file.schema_arrow.names:
        return
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=[key]).column(0)
        if by_url:
            hits = pc.equal(column.cast(pa.string()), wanted)
        else:
            # Bytes hold two digits each; a last odd digit is compared below.
            hits = pc.starts_with(column.cast(pa.binary()), bytes.fromhex(wanted[: len(wanted) // 2 * 2]))
        places = pc.indices_nonzero(pc.fill_null(hits, False))
        shown = [name for name in file.schema_arrow.names if name in SHOWN]
        for row in file.read_row_group(group, columns=shown).take(places).to_pylist() if len(places) else ():
            found = {k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()}
            if by_url or found["doc_id"].startswith(wanted):  # an odd last digit
                yield found
