"""What a run's folder says about itself: run.yaml, a plan.json for each pass, a receipt for each task.

A receipt names the files that a task committed with their checksums, its counts for each step, and the fingerprint of
everything its output depends on. It is written after all of these files. A task whose receipt is there, with the right
fingerprint and its files in place, need not run again: that is all of resuming.

A receipt has a line for every file and every step, and none for partitions, so that it stays at some kilobytes.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate import schema
from curate.config import dump_yaml, parse_yaml
from curate.errors import ConfigError, ResumeError
from curate.io.store import LocalStore, RemoteStore, Store, Written, is_remote, open_store, write_bytes
from curate.schema import Kind

_CHECKSUM = ',\n "sha256": "'  # what stands between a receipt's facts and their checksum
CACHE = "cache"  # below scratch: copies of objects that must be mapped


@dataclass
class StepCounts:
    """What one step did in one task; rows_in = rows_out + dropped + set_aside, checked before commit."""

    step: str  # name of the op; of the heldout lane `name (heldout)`
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0  # of text, or of pages before extraction
    bytes_out: int = 0  # likewise
    untouched: int = 0  # rows that `only` or the lane kept from the step; part of rows_in and rows_out
    set_aside: int = 0  # rows that went over to the heldout lane
    dropped: dict[str, int] = field(default_factory=dict)  # rule -> rows that it dropped
    cut: dict[str, int] = field(default_factory=dict)  # rule -> spans that it cut out of texts
    marked: dict[str, int] = field(default_factory=dict)  # rule -> rows or spans that it marked; they stay
    seconds: float = 0.0  # of wall time in the op, over all batches

    def balances(self) -> bool:
        """Whether every row that came in went out, was dropped or was set aside."""
        return self.rows_in == self.rows_out + sum(self.dropped.values()) + self.set_aside

    def noted(self) -> int:
        """Rows in rejects/ that this step wrote."""
        return sum(self.dropped.values()) + sum(self.cut.values()) + sum(self.marked.values())


@dataclass(frozen=True)
class Output:
    """A file of a channel: the op (a phase of a step) and channel that wrote it, its lane and source."""

    op: str
    channel: str
    lane: str
    source: str
    product: bool  # below products; else in scratch
    file: Written


@dataclass
class Receipt:
    """What one task did. It is evidence: a task counts as done by its receipt alone."""

    task: str
    fingerprint: str
    kind: Kind = "document"  # what its documents are
    documents: dict[str, Written] = field(default_factory=dict)  # lane -> file
    rejects: Written | None = None  # None where nothing was rejected
    outputs: list[Output] = field(default_factory=list)
    steps: list[StepCounts] = field(default_factory=list)  # in the order of the pass; the reader first, where it counts
    # what the reader counted beside documents; only of the pass that reads the inputs first
    reader: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # lines of a phase for the user; they become warnings
    seconds: float = 0.0  # of wall time, the whole task
    peak_memory_bytes: int = 0  # the largest resident memory of the worker that ran it, up to then

    def to_json(self) -> str:
        """All of it as JSON whose last entry is the SHA-256 of the bytes before, so that a receipt that was damaged is
        not believed."""
        text = json.dumps(asdict(self), indent=1).removesuffix("\n}")
        return f'{text}{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}"\n}}'

    @classmethod
    def parse(cls, data: bytes) -> "Receipt | None":
        """The receipt, or None where it cannot be understood or is not what was written (then the task runs)."""
        try:
            facts, _, checksum = data.rpartition(_CHECKSUM.encode())
            if checksum != b'%s"\n}' % hashlib.sha256(facts).hexdigest().encode():
                return None
            found = json.loads(facts + b"}")
            found["documents"] = {lane: Written(**entry) for lane, entry in found["documents"].items()}
            found["rejects"] = Written(**found["rejects"]) if found["rejects"] else None
            found["outputs"] = [Output(**{**o, "file": Written(**o["file"])}) for o in found["outputs"]]
            found["steps"] = [StepCounts(**entry) for entry in found["steps"]]
            return cls(**found)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def of(self, op: str, channel: str) -> list[Output]:
        """The files of a channel, by lane and source."""
        return [output for output in self.outputs if output.op == op and output.channel == channel]

    def content(self) -> list[tuple[str, str]]:
        """(path, checksum) of every file: what the task made."""
        files = [*self.documents.values(), *([self.rejects] if self.rejects else []), *(o.file for o in self.outputs)]
        return sorted((file.path, file.sha256) for file in files)


class RunFolder:
    """The two stores of a run and the names in them.

    `products` holds run.yaml, receipts, plans, documents/ and everything else that is told of; `scratch` holds what
    only later tasks read: documents between passes, shuffled rows, side files.
    """

    def __init__(self, products: Store, scratch: Store) -> None:
        """Where scratch lies inside a local `--out`, both are one store."""
        self.products, self.scratch = products, scratch
        self.name = products.name

    @classmethod
    def at(cls, out: str | Path, scratch: str | Path | None = None) -> "RunFolder":
        """The folder of `--out` and `--scratch`; by default scratch lies inside a local out."""
        if scratch is None:
            products = open_store(out)
            if isinstance(products, RemoteStore):
                raise ConfigError(
                    f"{out}: a run whose products go to an object store needs a local or shared folder for its"
                    " scratch files: name one with --scratch FOLDER"
                )
            return cls(products, products)
        if is_remote(scratch):
            raise ConfigError(f"--scratch {scratch}: scratch files are mapped into memory; name a folder")
        place = Path(scratch).expanduser()
        if not is_remote(out) and place.resolve() == Path(out).expanduser().resolve():
            return cls.at(out)
        return cls(open_store(out, cache=place / CACHE), open_store(place))

    @property
    def one_store(self) -> bool:
        """Whether scratch lies inside the run's folder."""
        return self.products is self.scratch

    def address(self, *, product: bool) -> str:
        """Where a store lies, as a worker in any folder or on any machine is told: a URL or an absolute path."""
        store = self.store(product)
        return str(store.root.absolute()) if isinstance(store, LocalStore) else store.name

    def store(self, product: bool) -> Store:
        """The store of products, or scratch."""
        return self.products if product else self.scratch

    def receipt_path(self, pass_name: str, task: str) -> str:
        """Where the receipt of a task lies, below products."""
        return f"passes/{pass_name}/{task}.json"

    def receipt(self, pass_name: str, task: str, damaged: list[str] | None = None) -> Receipt | None:
        """The receipt of a task; None where there is none, or a damaged one, whose path is added to `damaged`."""
        path = self.receipt_path(pass_name, task)
        try:
            found = Receipt.parse(self.products.read(path))
        except OSError:
            return None
        if found is None and damaged is not None:
            damaged.append(path)
        return found

    def write_receipt(self, pass_name: str, receipt: Receipt) -> None:
        """Commit the receipt of a task: from then on it is done."""
        write_bytes(self.products, self.receipt_path(pass_name, receipt.task), receipt.to_json().encode())

    def plan_path(self, pass_name: str) -> str:
        """Where the plan.json of a pass lies, below products."""
        return f"passes/{pass_name}/plan.json"

    def plan(self, pass_name: str) -> dict[str, Any] | None:
        """The plan.json of a pass: its tasks, their fingerprints, the number of partitions."""
        try:
            found = json.loads(self.products.read(self.plan_path(pass_name)))
            return found if isinstance(found, dict) else None
        except (OSError, ValueError):
            return None

    def passes(self) -> list[str]:
        """The passes that were begun, in order."""
        names = {path.split("/")[1] for path in self.products.list("passes") if path.endswith("/plan.json")}
        return sorted(names)

    def run_yaml(self, *, renew: bool = False) -> dict[str, Any] | None:
        """The record of the run that the folder holds; None where it holds none.

        One that cannot be understood raises ResumeError; with `renew` it counts as an empty record, which is written
        anew.
        """
        try:
            data = self.products.read("run.yaml")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = parse_yaml(data.decode("utf-8", "replace"), f"{self.name}/run.yaml").data
        except ConfigError:
            found = None
        if isinstance(found, dict) and "recipe" in found:
            return found
        if renew:
            return {}
        raise ResumeError(
            f"{self.name}/run.yaml: this is not the record of a run; if one was here, and the file is damaged, add"
            " --update: it is written anew, and what this recipe made stays"
        )

    def write_run_yaml(self, record: dict[str, Any]) -> None:
        """Commit the record, with the version of our schemas."""
        record = {"schema": schema.VERSION, **record}
        write_bytes(self.products, "run.yaml", dump_yaml(record).encode())


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(key, old, new) for every leaf in which two resolved recipes differ; a step is named by its stage."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif path == "steps" and isinstance(old, list) and isinstance(new, list):
        yield from _step_differences(old, new)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{path}.{i}")
    elif old != new:
        yield path, old, new


def _step_differences(old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Differences between two lists of steps: of their order as a whole, else of each step's settings."""
    names_old = [next(iter(step)) for step in old]
    names_new = [next(iter(step)) for step in new]
    if names_old != names_new:
        yield "steps", " > ".join(names_old), " > ".join(names_new)
        return
    for name, a, b in zip(names_old, old, new, strict=True):
        yield from differences(a[name], b[name], name)
