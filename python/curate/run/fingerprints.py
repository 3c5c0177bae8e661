"""What a task's output depends on, as one hash.

    op      stage, version, resolved settings it reads, `only`, versions of the libraries that make its content, the
            interpreter's Unicode version, checksums of the files that settings name
    read    of the inputs: path, size and stamp of every slice, version and libraries of the reader;
            of another pass's documents and own rows: their checksums;
            of what part and all tasks made: the fingerprints of these tasks. Their rows follow from them, but the
            order of the rows follows from the memory of the run, so that checksums would tell more than is true.

Memory, workers, executor and machine enter nowhere.
"""

import hashlib
import importlib.metadata
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from curate import plugins, schema
from curate.io.inputs import TaskInput
from curate.io.read import reader_identity
from curate.run.manifest import Receipt
from curate.run.plan import Op, Pass, Plan, Source
from curate.stages.protocol import SideFile


@cache
def version(distribution: str) -> str:
    """The installed version of a library."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def fingerprint(*parts: Any) -> str:
    """A hash of plain data (numbers, texts, lists, mappings); equal data gives an equal hash in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def readers_of(plan: Plan) -> dict[str, Any]:
    """Form of input -> what its reader is. Asked once a run: it looks into the metadata of installed packages."""
    forms = sorted({piece.format for task in plan.inputs for piece in task.slices})
    return {form: reader_identity(form) for form in forms}


def libraries_of(plan: Plan) -> dict[str, str]:
    """The versions of everything that makes the content of this run, for run.yaml."""
    names = {name for step in plan.recipe.steps for name in step.stage.libraries(step.config)}
    found = {name: version(name) for name in sorted(names)}
    for reader in readers_of(plan).values():
        found |= reader["libraries"]
    return {**found, "curate-train": version("curate-train"), "unicode": unicodedata.unidata_version}


def of_op(op: Op, user_files: dict[str, list[SideFile]], allow_code: Sequence[str] = ()) -> Any:
    """What an op does, and the user's files that it does it with."""
    stage = op.step.stage
    files = {name: [file.sha256 for file in found] for name, found in sorted(user_files.items())}
    libraries = {library: version(library) for library in stage.libraries(op.step.config)}
    config, only = stage.seen_by(op.phase, op.step.config), op.step.only.model_dump(mode="json")
    targets = [*stage.code(op.step.config), *([op.step.target] if op.step.target else [])]
    code = [plugins.digest(target, allow_code) for target in targets]
    return [stage.name, stage.version, op.phase.name, config, only, libraries, files, code]


def of_sources(sources: Iterable[Source], plan: Plan, receipts: list[dict[str, Receipt]]) -> list[Any]:
    """What a pass reads of earlier passes by partition or whole: the same for all its tasks."""
    found: list[Any] = []
    for source in sources:
        up = plan.passes[source.pass_index]
        made = sorted(receipts[source.pass_index].items())
        if up.shape == "each":
            files = [[o.file.path, o.file.sha256] for _, r in made for o in r.of(source.op, source.channel.name)]
        else:
            files = [[task, receipt.fingerprint] for task, receipt in made]
        found.append([source.op, source.channel.name, fingerprint(files)])
    return found


def of_pass(p: Pass, plan: Plan, ops: list[Any], receipts: list[dict[str, Receipt]], hidden: Sequence[str]) -> str:
    """What all tasks of a pass share; `ops` are those of `of_op`."""
    sources = of_sources([*p.reads.values(), *p.sides.values()], plan, receipts)
    shuffles = any(c.by for op in p.ops for c in op.phase.emits) or p.shape == "part"
    partitions = plan.partitions if shuffles else 0
    return fingerprint(
        schema.VERSION, unicodedata.unidata_version, ops, sources, partitions, plan.recipe.keep_text, hidden,
        p.records_reading, p.writes,
    )  # fmt: skip


def of_task(
    p: Pass,
    task: str,
    common: str,
    given: TaskInput | None,
    receipts: list[dict[str, Receipt]],
    readers: Mapping[str, Any],
) -> str:
    """The fingerprint of one task; `readers` are those of `readers_of`."""
    if p.shape != "each":
        return fingerprint(common, task)
    own = [
        [
            source.op,
            source.channel.name,
            [o.file.sha256 for o in receipts[source.pass_index][task].of(source.op, source.channel.name)],
        ]
        for source in p.own.values()
    ]
    if p.documents_from is None or (given is not None and given.against):
        assert given is not None
        forms = sorted({piece.format for piece in given.slices})
        return fingerprint(common, own, slices(given), [readers[form] for form in forms])
    made = receipts[p.documents_from][task]
    return fingerprint(common, own, made.kind, [[lane, f.sha256] for lane, f in sorted(made.documents.items())])


def slices(given: TaskInput) -> Any:
    """A task's slices without their place on this machine."""
    return [given.limit, [{k: v for k, v in piece.to_json().items() if k != "path"} for piece in given.slices]]
