"""What a worker is told, as plain data: the work of a pass, written once as a file, and the call of one task.

The work of a pass names its ops, their settings and side files. It may be megabytes (a side file a task), so it
lies in scratch and every worker reads it once a pass; calls stay small however many tasks there are.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.io.inputs import TaskInput
from curate.io.store import Store, Written, write_bytes
from curate.stages.protocol import Resources, SideFile


@dataclass(frozen=True)
class OpWork:
    """An op as data: the stage by name, its settings, and where its side files lie."""

    name: str
    step: str
    stage: str
    phase: str
    config: dict[str, Any]  # the settings that the phase reads
    only: dict[str, Any]
    rows: str  # the kind that it reads: raw, document, any
    needs: list[str]  # columns that must be there
    preset: str | None
    sides: dict[str, list[SideFile]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)  # channel -> the index of its partitions, in scratch


@dataclass(frozen=True)
class Work:
    """What all tasks of a pass share."""

    out: str
    scratch: str | None
    pass_name: str
    shape: str
    ops: list[OpWork]
    partitions: int
    records_reading: bool
    reads_products: bool  # the documents it reads lie below products; else in scratch
    writes_products: bool  # likewise those that it writes
    keep_text: bool
    hidden: dict[str, str | None]  # kinds of personal values that rejects must not hold, and what stands for them
    allow_code: list[str]

    def write(self, store: Store) -> str:
        """Write it as a file of `store`; returns its name."""
        rel = f"passes/{self.pass_name}/work.json"
        write_bytes(store, rel, json.dumps(asdict(self), indent=1, default=str).encode())
        return rel

    @classmethod
    def load(cls, path: Path) -> "Work":
        data = json.loads(path.read_bytes())
        data["ops"] = [OpWork(**{**op, "sides": _side_files(op["sides"])}) for op in data["ops"]]
        return cls(**data)


def _side_files(sides: dict[str, list[list[Any]]]) -> dict[str, list[SideFile]]:
    return {name: [SideFile(Path(path), *rest) for path, *rest in files] for name, files in sides.items()}


@dataclass(frozen=True)
class Call:
    """One task. Everything that decides how fast it runs, and nothing else, may differ between two calls of it."""

    work: str  # path of the file with the pass's Work, on this machine or a shared folder
    version: str  # changes when that file does
    pass_name: str
    task: str
    fingerprint: str
    memory: int  # bytes that the task may hold
    resources: Resources = field(default_factory=Resources)  # what its worker needs
    partition: int = 0
    input: TaskInput | None = None
    documents: dict[str, Written] = field(default_factory=dict)  # lane -> file to read
    kind: str = "document"  # of those
    documents_out: dict[str, str] = field(default_factory=dict)  # lane -> file to write; none: they are not written
    own: dict[str, list[SideFile]] = field(default_factory=dict)  # "op/channel" -> files of this task

    @property
    def title(self) -> str:
        what = self.input.slices[0].rel if self.input else ""
        return f"{self.pass_name} task {self.task}" + (f" ({what})" if what else "")
