"""What a worker is told, as plain data: the work of a pass, written once as a file, and the call of one task.

The work of a pass names its ops, their settings and side files. It may take megabytes, since every task of an earlier
pass may have made a side file. So it lies in scratch, and every worker reads it once in a pass. A call names what its
own task reads and writes, so that it does not grow with the number of tasks.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.io.inputs import TaskInput
from curate.io.store import Store, Written, write_bytes
from curate.stages.protocol import Resources, SideFile


def product_path(path: str, step: str) -> str:
    """The path of a channel's product for a step, {task} and {source} still open.

    The second use of a stage in a recipe (`near_dedup.2`) has files of its own: its number stands before the suffix.
    """
    number = step.rpartition(".")[2]
    if number.isdigit() and "{step}" not in path:
        root, _, suffix = path.rpartition(".")
        path = f"{root}.{number}.{suffix}"
    return path.replace("{step}", step)


@dataclass(frozen=True)
class OpWork:
    """An op as data: the stage by name, its settings, and where its side files lie."""

    name: str  # as `Op.name`: `filter`, or `exact_dedup.hash` for a stage of several phases
    step: str  # as the recipe numbers it: `filter`, `filter.2`
    stage: str  # what `stages.load` takes: a stage of ours, or `package.module:NAME`
    phase: str
    config: dict[str, Any]  # the settings that the phase reads
    only: dict[str, Any]  # the step's `only`: column -> values, or None for all rows
    rows: str  # the kind that it reads: raw, document, any
    needs: list[str]  # columns that must be there
    preset: str | None  # of the stage's rules; it is written beside every reject
    # name of a side file or channel -> its files, read whole
    sides: dict[str, list[SideFile]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)  # channel -> name in scratch of the index of its partitions


@dataclass(frozen=True)
class Work:
    """What all tasks of a pass share."""

    out: str  # path or URL of --out
    scratch: str | None  # path of --scratch; None: scratch lies in a local `out`
    pass_name: str
    shape: str  # "each", "part" or "all"
    ops: list[OpWork]
    partitions: int  # of every partitioned channel of the run
    records_reading: bool  # whether the reader's counts and rejects belong to this pass
    reads_products: bool  # its input documents lie below products, else in scratch
    writes_products: bool  # likewise the documents that it writes
    keep_text: bool  # rejects hold the whole text of dropped documents, not 200 characters
    hidden: list[str]  # types of personal values that rejects must not hold (redaction/kinds.py)
    allow_code: list[str]  # packages of the user that may be imported

    def write(self, store: Store) -> str:
        """Write it as a file of `store`, which is scratch; returns its name there."""
        rel = f"passes/{self.pass_name}/work.json"
        write_bytes(store, rel, json.dumps(asdict(self), indent=1, default=str).encode())
        return rel

    @classmethod
    def load(cls, path: Path) -> "Work":
        """Read what `write` wrote. Settings stay plain data: the worker validates them with the stage's class."""
        data = json.loads(path.read_bytes())
        data["ops"] = [OpWork(**{**op, "sides": _side_files(op["sides"])}) for op in data["ops"]]
        return cls(**data)


def _side_files(sides: dict[str, list[list[Any]]]) -> dict[str, list[SideFile]]:
    """Side files as JSON gave them (a NamedTuple becomes a list, its path a text) back to their type."""
    return {name: [SideFile(Path(path), *rest) for path, *rest in files] for name, files in sides.items()}


@dataclass(frozen=True)
class Call:
    """One task, as it is sent to a worker.

    Calls of one task may differ in `memory`, `resources`, `version` and in where files lie. None of these changes a
    byte of what the task writes, so none enters its fingerprint.
    """

    work: str  # path of the file with the pass's Work, on this machine or in a shared folder
    version: str  # new whenever that file is written; a worker reads the file again when it changes
    pass_name: str
    task: str
    fingerprint: str  # written into the receipt, by which a later run knows the task as done
    memory: int  # bytes that the task may hold beside mapped files
    resources: Resources = field(default_factory=Resources)  # what its worker needs
    partition: int = 0  # of a part task; else 0
    input: TaskInput | None = None  # what it reads where its pass reads the inputs; else None
    # lane -> file that it reads where its pass reads documents
    documents: dict[str, Written] = field(default_factory=dict)
    kind: str = "document"  # of the rows in these files: "raw" or "document"
    # lane -> name to write; empty: no documents are written
    documents_out: dict[str, str] = field(default_factory=dict)
    # "op/channel" -> files that the same task of an earlier pass wrote
    own: dict[str, list[SideFile]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What messages call the task: pass, task and the first input file that it reads."""
        what = self.input.slices[0].rel if self.input else ""
        return f"{self.pass_name} task {self.task}" + (f" ({what})" if what else "")
