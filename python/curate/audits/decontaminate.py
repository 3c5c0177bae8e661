"""Audit of decontamination: items of the user's benchmarks planted into the user's documents, found or missed.

    curate audit decontaminate data/ --benchmarks gsm8k.jsonl --out audit/

Plants a sample of items in every way of audits/planting.py, adds texts that only look like items and the documents as
they are, runs the stage, and reads its rejects. An item counts as found where the document is marked with it or with
one of the same question. Precision is that of the marks in planted documents, without those that the document has as
it is.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curate import schema
from curate.audits.planting import UNSPACED, Planter, look_alikes
from curate.audits.sample import WORD, sample
from curate.config import Settings
from curate.decontam.items import Item, Keys, read_items
from curate.io.inputs import InputSettings

HOST_WORDS = 80  # at least, of a document in which items are planted
HOST_CHARACTERS = 8000  # of it are used, so that an audit costs what its items cost
LENGTHS = ((0, 8, "under 8 words"), (8, 14, "8 to 13 words"), (14, 10**9, "14 words or more"))  # of a question
OWN = "documents as they are"
COUNTED = re.compile(rf"{UNSPACED.pattern}|[^\W_]+")  # words; in scripts without spaces each character is one


class Planted(NamedTuple):
    """A document of the audit: what is in it, and the item, None for what only looks like one."""

    kind: str
    item: Item | None
    text: str


def planted_documents(items: list[Item], hosts: list[str], size: int, seed: int) -> list[Planted]:
    """The planted documents of `size` items, those that only look like items, and the hosts themselves.

    Items are those whose name, hashed with the seed, comes first.
    """
    order = sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item.name}".encode()).digest())
    planter = Planter(hosts, seed)
    made = [Planted(kind, item, text) for item in order[:size] for kind, text in planter.plants(item)]
    passages = [item.passage for item in order if len(WORD.findall(item.passage)) >= HOST_WORDS // 4]
    made += [Planted(family, None, text) for family, text in look_alikes(planter, passages)]
    return made + [Planted(OWN, None, host) for host in hosts]


def audit_decontaminate(
    inputs: list[InputSettings],
    config: Settings,
    out: Path,
    *,
    size: int,
    workers: int,
    seed: int,
    memory: int | None = None,
) -> dict[str, Any]:
    """Plant items, decontaminate, and compare: recall by kind and length, precision, and what was found by mistake.

    `config` are settings of decontaminate; `out` gets planted.parquet and run/. Returns items (planted), documents,
    precision (None without marks), lines (kind, words, planted, found, sure, recall 0..1), and families (family,
    documents, found). Raises the first failure of the run.
    """
    from curate.run import driver
    from curate.run.recipe import single_stage

    settings: dict[str, Any] = config.model_dump(mode="json")
    keys = Keys(*(settings[name] for name in Keys._fields))
    items = [item for path in settings["benchmarks"] for item in read_items(Path(path), path, keys)]
    hosts = [text[:HOST_CHARACTERS] for text in sample(inputs, 4 * size, seed, HOST_WORDS)]
    planted = planted_documents(items, hosts, size, seed)
    ids = [hashlib.sha256(f"{seed} {place}".encode()).digest()[:16] for place in range(len(planted))]
    out.mkdir(parents=True, exist_ok=True)
    columns = [pa.array(ids, schema.DOC_ID), pa.array([one.text for one in planted], pa.large_string())]
    pq.write_table(pa.table(columns, names=["doc_id", "text"]), out / "planted.parquet", row_group_size=1000)
    recipe = single_stage(
        "decontaminate",
        {**settings, "action": "mark"},
        [InputSettings(path=str(out / "planted.parquet"), trust_ids=True)],
        None,
    )
    outcome = driver.run(recipe, out / "run", workers=workers, memory=memory, update=True)
    if outcome.failures:
        raise outcome.failures[0]
    marks = _marks(out / "run")
    return compared(planted, [marks.get(identity, []) for identity in ids], items)


def compared(planted: list[Planted], marks: list[list[tuple[str, bool]]], items: list[Item]) -> dict[str, Any]:
    """What was found of what was planted; `marks` are (item, whether it is sure) of each planted document."""
    questions = {item.name: same_question(item) for item in items}
    own = {name for one, found in zip(planted, marks, strict=True) if one.kind == OWN for name, _ in found}
    right = wrong = 0
    seen: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    families: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one, found in zip(planted, marks, strict=True):
        if one.item is None:
            families[one.kind][0] += 1
            families[one.kind][1] += bool([name for name, _ in found if one.kind == OWN or name not in own])
            continue
        wanted = same_question(one.item)
        hits = [sure for name, sure in found if questions[name] == wanted]
        right += len(hits)
        wrong += sum(questions[name] != wanted and name not in own for name, _ in found)
        for words in ("all", length_of(one.item)):
            counts = seen[one.kind, words]
            counts[0] += 1
            counts[1] += bool(hits)
            counts[2] += any(hits)
    lines = [
        {"kind": kind, "words": words, "planted": n, "found": found, "sure": sure, "recall": round(found / n, 4)}
        for (kind, words), (n, found, sure) in seen.items()
    ]
    return {
        "items": len({one.item.name for one in planted if one.item}),
        "documents": len(planted),
        "precision": round(right / (right + wrong), 4) if right + wrong else None,
        "lines": lines,
        "families": [{"family": name, "documents": n, "found": found} for name, (n, found) in families.items()],
    }


def same_question(item: Item) -> str:
    """Equal for items that ask the same, in whatever typography."""
    return re.sub(r"[\W_]+", "", item.question.lower())


def length_of(item: Item) -> str:
    """The range of LENGTHS that a question is in."""
    words = len(COUNTED.findall(item.question))
    return next(name for low, high, name in LENGTHS if low <= words < high)


def _marks(out: Path) -> dict[bytes, list[tuple[str, bool]]]:
    """(item, whether it is sure) of every mark in the rejects of a run, by doc_id."""
    found: dict[bytes, list[tuple[str, bool]]] = defaultdict(list)
    for path in _parquet(out / "rejects"):
        table = pq.read_table(path, columns=["doc_id", "rule", "detail"]).to_pydict()
        for identity, rule, item in zip(table["doc_id"], table["rule"], table["detail"], strict=True):
            if rule in ("decontaminate.found", "decontaminate.likely"):
                found[identity].append((item, rule == "decontaminate.found"))
    return found


def _parquet(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("*.parquet")) if folder.is_dir() else []
