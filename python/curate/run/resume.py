"""What a folder holds already, and whether this run may go on there."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from curate.errors import ConfigError, ResumeError
from curate.io.inputs import InputFile
from curate.io.store import LocalStore, sha256_of
from curate.run.manifest import RunFolder, differences
from curate.run.recipe import Recipe
from curate.stages.protocol import SideFile

SHOWN = 10  # differences, or files, that a message names


def check_resume(
    folder: RunFolder, old: Mapping[str, Any] | None, recipe: Recipe, files: Iterable[InputFile], *, update: bool
) -> None:
    """Refuse (ResumeError) a folder that was made with another recipe, or whose inputs changed or are gone.

    `old` is the folder's run.yaml, None where it has none. Then the folder must hold nothing but what a run leaves
    before it has written run.yaml. With `update` a changed recipe and changed inputs are accepted. Files that are new
    below the same inputs go ahead: they invalidate no committed task.
    """
    if old is None:
        if any(not _ours(rel) for rel in folder.products.list("")):
            raise ResumeError(f"{folder.name}: this folder is not empty and holds no run; choose another --out")
        return
    if update:
        return
    changed = list(differences(old["recipe"], recipe.resolved()))
    if changed:
        lines = [f"  {key}: {_short(a)} -> {_short(b)}" for key, a, b in changed[:SHOWN]]
        raise ResumeError(
            f"{folder.name}: this folder holds a run of another recipe:\n" + "\n".join(lines)
            + "\nAdd --update to go ahead: the steps that depend on this run again, and what no longer belongs"
            " is removed. Or choose another --out."
        )  # fmt: skip
    # A file that could not be read when it was recorded may have become readable: that is no change.
    now = {file.rel: file.stamp for file in files}
    gone = [
        f"  {rel}: {'changed' if rel in now else 'gone'}"
        for rel, stamp in old.get("inputs", {}).items()
        if now.get(rel) != stamp and stamp != "unreadable"
    ]
    if gone:
        more = f"\n  and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        raise ResumeError(
            f"{folder.name}: inputs of this run are not what they were:\n" + "\n".join(gone[:SHOWN]) + more
            + "\nAdd --update to go ahead: their tasks and what reads them run again."
        )  # fmt: skip


def _ours(rel: str) -> bool:
    """What a run leaves before it has written run.yaml; or its folders as links, which someone made to other disks."""
    return rel in ("run.log", "documents", "heldout", "passes", "rejects") or rel.startswith(
        ("run.lock", "passes/", ".tmp-")
    )


def _short(value: Any) -> str:
    """A value in at most 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


class UserFiles:
    """The files that settings name (models, benchmarks, indexes), each hashed once.

    A model may have gigabytes. So its size, time and checksum stand in run.yaml, and it is read again only where its
    size or time changed.
    """

    def __init__(self, recorded: Mapping[str, Any] | None) -> None:
        """`recorded` is the run.yaml of an earlier invocation; None where there is none."""
        self.recorded = dict((recorded or {}).get("files", {}))
        self.found: dict[str, SideFile] = {}
        self.stamps: dict[str, str] = {}  # as they were before the files were hashed

    def get(self, name: str, step: str) -> SideFile:
        """The file as a side file; ConfigError, which names the step, where there is none."""
        path = Path(name).expanduser().resolve()
        if str(path) not in self.found:
            if not path.is_file():
                raise ConfigError(f"{step}: {name}: no such file")
            status = path.stat()
            old = self.recorded.get(str(path), {})
            same = (old.get("bytes"), old.get("stamp")) == (status.st_size, str(status.st_mtime_ns))
            digest = old["sha256"] if same else sha256_of(LocalStore(path.parent), path.name)
            self.stamps[str(path)] = str(status.st_mtime_ns)
            self.found[str(path)] = SideFile(path, str(path), 0, status.st_size, digest)
        return self.found[str(path)]

    def record(self) -> dict[str, Any]:
        """path -> bytes, stamp and sha256 of every file that was asked for: `files` of run.yaml."""
        return {
            name: {"bytes": file.bytes, "stamp": self.stamps[name], "sha256": file.sha256}
            for name, file in sorted(self.found.items())
        }
