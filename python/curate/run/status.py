"""How far the run in a folder is, told from its files alone: plans, receipts, products, the lock.

A task is done when its receipt carries the fingerprint that the plan of its pass has: after a change, the receipts of
before count for nothing. A run is finished where every planned task is done, the last invocation came to its end
(it writes funnel.json last, and removes the old one first), and the products that the receipts name are there.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from curate.errors import ConfigError
from curate.io.lock import NAME as LOCK
from curate.io.lock import Owner
from curate.io.store import open_store
from curate.run.manifest import Receipt, RunFolder

State = Literal["running", "failed", "unfinished", "incomplete", "finished"]
"""running: a process owns the folder; failed: tasks failed; unfinished: tasks are left to do, or the last invocation
was interrupted; incomplete: products are missing."""

DOCUMENTS = ("documents/", "heldout/")  # where the documents of the last pass lie; others are between passes


@dataclass(frozen=True)
class PassStatus:
    """How far one pass is."""

    name: str
    tasks: int  # that are planned
    done: int  # with a receipt of the planned fingerprint
    rows_out: int  # of its last step, over the tasks that are done


@dataclass(frozen=True)
class Status:
    """How far a run is; the first of its states that holds, in the order of `status_of`."""

    passes: tuple[PassStatus, ...]  # those that were begun, in order
    state: State
    failures: tuple[str, ...] = ()  # of the last invocation
    missing: tuple[str, ...] = ()  # products that receipts name and that are not there
    owner: str | None = None  # who holds the lock

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `curate status --json` prints it."""
        passes = [{"pass": p.name, **{k: v for k, v in asdict(p).items() if k != "name"}} for p in self.passes]
        return {**asdict(self), "passes": passes}


def open_run(out: str | Path) -> RunFolder:
    """The folder of a run, to look at: only its products are read. ConfigError where it holds no run."""
    products = open_store(out)
    folder = RunFolder(products, products)
    if products.stat("run.yaml") is None:
        raise ConfigError(f"{out}: no run is here (no run.yaml); name the folder that was given to --out")
    return folder


def status_of(folder: RunFolder) -> Status:
    """The state of the run in `folder`."""
    passes = []
    wanted: set[str] = set()
    for name in folder.passes():
        plan = folder.plan(name) or {}
        fingerprints: dict[str, str] = plan.get("fingerprints", {})
        done = rows = 0
        for task in plan.get("tasks", []):
            receipt = folder.receipt(name, task)
            if receipt is None or receipt.fingerprint != fingerprints.get(task):
                continue
            done += 1
            rows += receipt.steps[-1].rows_out if receipt.steps else 0
            wanted |= _products(receipt)
        passes.append(PassStatus(name, len(plan.get("tasks", [])), done, rows))
    owner = _owner(folder)
    failures = _failures(folder)
    # Products are looked for only where the last invocation came to its end: before it, some are not made yet.
    missing = _missing(folder, wanted) if failures is not None else []
    state: State = "finished"
    if owner:
        state = "running"
    elif failures:
        state = "failed"
    elif failures is None or not passes or any(p.done < p.tasks for p in passes):
        state = "unfinished"
    elif missing:
        state = "incomplete"
    return Status(tuple(passes), state, tuple(failures or ()), tuple(missing), owner)


def _products(receipt: Receipt) -> set[str]:
    """Files of a receipt that stay when the run has ended."""
    found = {output.file.path for output in receipt.outputs if output.product}
    found |= {file.path for file in receipt.documents.values() if file.path.startswith(DOCUMENTS)}
    return found | ({receipt.rejects.path} if receipt.rejects else set())


def _missing(folder: RunFolder, wanted: set[str]) -> list[str]:
    """Those of `wanted` that are not there; one listing a folder, since a run has thousands of files."""
    there: set[str] = set()
    for top in {path.split("/")[0] for path in wanted if "/" in path}:
        there.update(folder.products.list(top))
    return sorted(path for path in wanted - there if "/" in path or folder.products.stat(path) is None)


def _failures(folder: RunFolder) -> list[str] | None:
    """What failed in the last invocation; None where it did not come to its end."""
    try:
        found = json.loads(folder.products.read("funnel.json"))
        return [str(failure) for failure in found["failures"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner(folder: RunFolder) -> str | None:
    """The process that works in the folder, or may: one that is seen to have ended owns nothing."""
    try:
        data = folder.products.read(LOCK)
    except OSError:
        return None
    owner = Owner.parse(data)
    if owner is None:
        return f"an unknown process ({LOCK} does not say whose it is)"
    return None if owner.state() == "dead" else str(owner)
