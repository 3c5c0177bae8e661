"""What a run's folder says about itself: run.yaml, a plan.json a pass, and a receipt a task, written last.

A receipt names the files a task committed with their checksums, its counts a step, and the fingerprint of
everything its output depends on. A task whose receipt is there, with the right fingerprint and its files in
place, need not run again: that is all of resuming.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from curate import schema
from curate.config import dump_yaml, load_yaml
from curate.errors import ResumeError
from curate.io.write import Written, write_bytes

PRODUCTS = ("documents", "rejects", "signals", "tokens", "heldout", "tokenizer", "pairs", "clusters", "index")
ROOT_PRODUCTS = ("tokenizer.json", "mixture.yaml")


@dataclass
class StepCounts:
    """What one step did in one task; rows_in = rows_out + dropped + set_aside, checked before commit."""

    step: str
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    untouched: int = 0  # rows that `only` or the lane kept from the step; part of rows_in and rows_out
    set_aside: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def balances(self) -> bool:
        return self.rows_in == self.rows_out + sum(self.dropped.values()) + self.set_aside


@dataclass
class Receipt:
    task: str
    fingerprint: str
    files: dict[str, Written] = field(default_factory=dict)  # role -> file: documents.main, rejects, op/channel
    places: dict[str, list[list[int]]] = field(default_factory=dict)  # op/channel -> batches of each partition
    steps: list[StepCounts] = field(default_factory=list)
    reader: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, path: Path) -> "Receipt | None":
        """The receipt at path, or None where there is none or it cannot be understood (then the task runs)."""
        try:
            data = json.loads(path.read_bytes())
            data["files"] = {role: Written(**entry) for role, entry in data["files"].items()}
            data["steps"] = [StepCounts(**entry) for entry in data["steps"]]
            return cls(**data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


class RunFolder:
    """Paths below a run's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def passes(self, name: str) -> Path:
        return self.root / "passes" / name

    def receipt_path(self, pass_name: str, task: str) -> Path:
        return self.passes(pass_name) / f"{task}.json"

    def receipt(self, pass_name: str, task: str) -> Receipt | None:
        return Receipt.load(self.receipt_path(pass_name, task))

    def present(self, files: Iterable[Written]) -> bool:
        """Whether all files are there with the size that was committed."""
        for file in files:
            try:
                if (self.root / file.path).stat().st_size != file.bytes:
                    return False
            except OSError:
                return False
        return True

    def read_run_yaml(self) -> dict[str, Any] | None:
        path = self.root / "run.yaml"
        if not path.exists():
            return None
        data = load_yaml(path).data
        if not isinstance(data, dict) or "recipe" not in data:
            raise ResumeError(f"{path}: not the record of a run; choose another --out, or remove the file")
        return data

    def write_run_yaml(self, recipe: dict[str, Any], inputs: dict[str, str], libraries: dict[str, str]) -> None:
        tools = {"curate": version("curate-train"), "schema": schema.VERSION, "libraries": libraries}
        text = dump_yaml({"recipe": recipe, "tools": tools, "inputs": inputs})
        write_bytes(self.root / "run.yaml", text.encode())


@cache
def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def fingerprint(*parts: Any) -> str:
    """A hash of plain data; equal data gives an equal fingerprint in every process."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(key, old, new) for every leaf in which two resolved recipes differ; a step is named by its stage."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(k for k in new if k not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            found += differences(old.get(key), new.get(key), inner)
        return found
    if path == "steps" and isinstance(old, list) and isinstance(new, list):
        return _step_differences(old, new)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [d for i, (a, b) in enumerate(zip(old, new, strict=True)) for d in differences(a, b, f"{path}.{i}")]
    return [] if old == new else [(path, old, new)]


def _step_differences(old: list[Any], new: list[Any]) -> list[tuple[str, Any, Any]]:
    names_old = [next(iter(step)) for step in old]
    names_new = [next(iter(step)) for step in new]
    if names_old != names_new:
        return [("steps", " > ".join(names_old), " > ".join(names_new))]
    return [d for name, a, b in zip(names_old, old, new, strict=True) for d in differences(a[name], b[name], name)]
