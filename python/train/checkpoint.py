"""Checkpoints: a folder of safetensors files and index.json, there completely or not at all.

    OUT/checkpoints/step-00000200/index.json              step, shape, settings, plan; size and sha256 of every file;
                                                          where every tensor lies
                                  weights.safetensors     fp32, by parameter name
                                  optimizer.safetensors   moments by parameter name, and the state of the steps

A tensor lies in one file or, where processes hold parts of it, in a box of several: `Reader` puts any box of it
together again, so that a checkpoint of n processes is read by any other number (saver.py). A checkpoint is written
under another name, every file and the folder are flushed to the disk, and then the folder is renamed, so that a kill or
a power cut leaves the old ones as they were. Old ones are renamed before they are removed. Loading verifies every
checksum; nothing is unpickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from curate.config import validate
from curate.errors import ConfigError, CurateError, DataError
from train.config import Shape, TrainSettings
from train.machine import DTYPES
from train.model import Model, fill, tensors_of

VERSION = 2
FOLDER = "checkpoints"
INDEX = "index.json"


class Box(NamedTuple):
    """A part of a tensor: from `start` on, of the size of `tensor`; `whole` is the shape of the tensor.

    kept: whether this process is the one that writes it to checkpoints, of those that hold the same.
    """

    tensor: Tensor
    start: tuple[int, ...]
    whole: tuple[int, ...]
    kept: bool = True


def box_of(one: Tensor | Box) -> Box:
    """A tensor that is held whole as a box."""
    return one if isinstance(one, Box) else Box(one, (0,) * one.dim(), tuple(one.shape))


Tensors = Mapping[str, Mapping[str, Tensor | Box]]  # by group ("weights", "optimizer"), then by name


def whole_lines(path: Path) -> bytes:
    """The lines of a file that grows, none where it is absent; a last one that was cut short is taken away."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_file(path, whole)
    return whole


def write_file(path: Path, content: Any) -> None:
    """Write bytes so that `path` holds all of them or what it held before. Raises CurateError if the disk refuses."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise CurateError(f"{path}: cannot be written: {error.strerror}") from None


def _flush(path: Path) -> None:
    """Make a file's content, or a folder's entries, last over a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(out: Path, step: int, tensors: Tensors, facts: dict[str, Any], keep: int, spare: Collection[int] = ()) -> Path:
    """Write the checkpoint of `step` below out/checkpoints, and remove all but the newest `keep` and those of `spare`.

    facts stand in index.json beside `step`, `files` and `tensors`. Raises CurateError where the disk refuses.
    """
    final, partial = places(out, step, str(os.getpid()))
    try:
        begin(partial)
        commit(partial, final, step, facts, [write_part(partial, name, group) for name, group in tensors.items()])
        prune(out, keep, spare)
    except (OSError, SafetensorError) as error:
        raise unwritten(final, error) from None
    return final


def places(out: Path, step: int, mark: str) -> tuple[Path, Path]:
    """The folder of a checkpoint, and the one in which it is written; mark: of the run that writes it."""
    return out / FOLDER / f"step-{step:08}", out / FOLDER / f".step-{step:08}.{mark}"


def begin(partial: Path) -> None:
    """Make the folder in which a checkpoint is written, and remove what was left of others."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    for leftover in partial.parent.glob(".step-*"):
        shutil.rmtree(leftover)
    partial.mkdir()


def prune(out: Path, keep: int, spare: Collection[int]) -> None:
    """Remove all checkpoints but the newest `keep` and those of the steps `spare`."""
    for folder in steps(out)[:-keep]:
        if int(folder.name[5:]) not in spare:
            _remove(folder)


def unwritten(final: Path, error: Exception) -> CurateError:
    """The error that says that a checkpoint could not be written."""
    return CurateError(f"{final}: the checkpoint could not be written: {error}\nEarlier checkpoints are as they were.")


def write_part(partial: Path, group: str, tensors: Mapping[str, Tensor | Box], rank: int | None = None) -> Any:
    """Write the tensors of a group that one process holds, to <group>.safetensors or <group>-<rank>.safetensors.

    Returns what `commit` puts into the index: the file, and the boxes in it.
    """
    path = partial / (f"{group}.safetensors" if rank is None else f"{group}-{rank:04}.safetensors")
    boxes = {name: box_of(one) for name, one in tensors.items()}
    save_file({name: box.tensor.detach().contiguous() for name, box in boxes.items()}, path)
    path.chmod(partial.stat().st_mode & 0o666)  # safetensors makes its files private
    _flush(path)
    file = {"path": path.name, "bytes": path.stat().st_size, "sha256": _digest(path)}
    return {
        "file": file,
        "group": group,
        "boxes": {
            name: {"start": list(box.start), "shape": list(box.tensor.shape), "whole": list(box.whole)}
            for name, box in boxes.items()
        },
    }


def commit(partial: Path, final: Path, step: int, facts: dict[str, Any], parts: list[Any]) -> None:
    """Write the index of all parts and give the folder its name."""
    tensors: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, box in part["boxes"].items():
            entry = tensors.setdefault(part["group"], {}).setdefault(name, {"shape": box["whole"], "boxes": []})
            entry["boxes"].append({"file": part["file"]["path"], "start": box["start"], "shape": box["shape"]})
    index = {"version": VERSION, "step": step, **facts, "files": [part["file"] for part in parts], "tensors": tensors}
    write_file(partial / INDEX, json.dumps(index).encode())
    _flush(partial)
    if final.exists():  # left by an earlier attempt at the same step
        _remove(final)
    partial.rename(final)
    _flush(final.parent)


def _remove(folder: Path) -> None:
    """Take a checkpoint away; renamed first, so that half of it never looks like one."""
    doomed = folder.with_name(f".{folder.name}.old")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def steps(out: Path) -> list[Path]:
    """The folders of all checkpoints of a run, oldest first."""
    return sorted((out / FOLDER).glob("step-*"))


def find(folder: Path) -> Path:
    """The checkpoint that `folder` is, or the newest of the run it holds. Raises ConfigError where there is none."""
    if (folder / INDEX).exists():
        return folder
    found = steps(folder)
    if not found:
        raise ConfigError(
            f"{folder}: no checkpoint here; give the --out folder of a training run, or one of its "
            "checkpoints/step-… folders"
        )
    return found[-1]


def read_index(checkpoint: Path) -> dict[str, Any]:
    """index.json of a checkpoint. Raises DataError where it is missing, unreadable or of another version."""
    path = checkpoint / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; {_advice(checkpoint)}") from None
    if not isinstance(index, dict) or index.get("version") != VERSION:
        found = index.get("version") if isinstance(index, dict) else "none"
        raise DataError(f"{path}: version {found}; this trainer reads version {VERSION}; {_advice(checkpoint)}")
    missing = [key for key in ("step", "shape", "settings", "files", "tensors") if key not in index]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}: no checkpoint of this trainer; {_advice(checkpoint)}")
    return index


def _advice(checkpoint: Path) -> str:
    """What to do about a checkpoint that cannot be used: the one before it is offered, where there is one."""
    before = [folder for folder in steps(checkpoint.parent.parent) if folder.name < checkpoint.name]
    if not before:
        return "there is no earlier one; give another --out folder to start anew"
    return f"remove the folder {checkpoint} to continue from the one before it, {before[-1].name}"


class Reader:
    """The tensors of a checkpoint, or boxes of them, whatever number of processes wrote it.

    Every file is checked against the index when it is first read. Raises DataError naming the file.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.folder, self.index = checkpoint, read_index(checkpoint)
        self._open: dict[str, Any] = {}

    def _file(self, name: str) -> Any:
        if name not in self._open:
            path, listed = self.folder / name, {file["path"]: file["sha256"] for file in self.index["files"]}
            if _digest(path) != listed.get(name):
                advice = _advice(self.folder)
                raise DataError(f"{path}: does not have the checksum that {INDEX} gives; {advice}")
            self._open[name] = safe_open(path, "pt")
        return self._open[name]

    def names(self, group: str) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of a group."""
        return {name: tuple(entry["shape"]) for name, entry in self.index["tensors"].get(group, {}).items()}

    def read(
        self, group: str, name: str, start: tuple[int, ...] | None = None, size: tuple[int, ...] | None = None
    ) -> Tensor:
        """The box of a tensor from `start` on, of the given size; the whole tensor by default."""
        entry = self.index["tensors"][group][name]
        shape = tuple(entry["shape"])
        start, size = start or (0,) * len(shape), shape if size is None else size
        wanted: Tensor | None = torch.empty(size) if 0 in size else None
        covered = 0
        for box in entry["boxes"]:
            low = [max(a, b) for a, b in zip(start, box["start"], strict=True)]
            high = [min(a + n, b + m) for a, n, b, m in zip(start, size, box["start"], box["shape"], strict=True)]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            part = self._read_slice(box["file"], name, low, high, box["start"])
            wanted = torch.empty(size, dtype=part.dtype) if wanted is None else wanted
            wanted[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))] = part
            covered += part.numel()
        if wanted is None or covered != wanted.numel():
            raise DataError(
                f"{self.folder / INDEX}: {name}: {covered} of its numbers are in files; {_advice(self.folder)}"
            )
        return wanted

    def _read_slice(self, file: str, name: str, low: list[int], high: list[int], start: list[int]) -> Tensor:
        try:
            source = self._file(file)
            if not low:
                whole: Tensor = source.get_tensor(name)
                return whole
            cut = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            part: Tensor = source.get_slice(name)[cut]
            return part
        except (OSError, SafetensorError) as error:
            raise DataError(f"{self.folder / file}: cannot be read: {error}; {_advice(self.folder)}") from None


def load(checkpoint: Path, wanted: Tensors, part: bool = False) -> dict[str, dict[str, Tensor]]:
    """The tensors of a checkpoint by group, of each the box that is wanted; `wanted` are tensors, or boxes of them, of
    the names and shapes that there must be. part: there may be others too, which other processes hold.

    Raises DataError where a file is damaged, or where the checkpoint is that of another model.
    """
    reader, tensors = Reader(checkpoint), {}
    for group, some in wanted.items():
        boxes = {name: box_of(one) for name, one in some.items()}
        there, here = reader.names(group), {name: box.whole for name, box in boxes.items()}
        names = here.keys() if part else there.keys() | here.keys()
        wrong = sorted(name for name in names if there.get(name) != here.get(name))
        if wrong:
            name = wrong[0]
            raise DataError(
                f"{checkpoint / INDEX}: {group}: {name} has the shape {there.get(name, 'none')}, and here "
                f"{here.get(name, 'none')}: a checkpoint of another model; {_advice(checkpoint)}"
            )
        tensors[group] = {
            name: reader.read(group, name, box.start, tuple(box.tensor.shape)) for name, box in boxes.items()
        }
    return tensors


def settings_of(checkpoint: Path) -> TrainSettings:
    """The resolved settings of the run that wrote a checkpoint."""
    return validate(TrainSettings, read_index(checkpoint)["settings"], name=f"{checkpoint / INDEX}: settings")


def digest_of(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's weights, as the index gives it."""
    weights = sorted(f["sha256"] for f in read_index(checkpoint)["files"] if f["path"].startswith("weights"))
    return hashlib.sha256("\n".join(weights).encode()).hexdigest()


class Trained(NamedTuple):
    """A model with the weights of a checkpoint, and what the checkpoint says of itself."""

    model: Model
    settings: TrainSettings
    facts: dict[str, Any]
    folder: Path


def open_model(folder: Path, device: torch.device) -> Trained:
    """The model of a checkpoint, or of the newest one of a run. Raises ConfigError and DataError as its parts do."""
    found = find(folder)
    index, settings = read_index(found), settings_of(found)
    shape = validate(Shape, index["shape"], name=f"{found / INDEX}: shape")
    model = Model(shape, device, DTYPES[settings.precision])
    fill(model, load(found, {"weights": tensors_of(model)})["weights"])
    return Trained(model.eval(), settings, index, found)


def tokenizer_of(checkpoint: Path) -> Path:
    """The tokenizer.json that belongs to a checkpoint: in its folder, or in that of the run."""
    for folder in (checkpoint, checkpoint.parent.parent):
        if (folder / "tokenizer.json").exists():
            return folder / "tokenizer.json"
    raise DataError(
        f"{checkpoint}: no tokenizer.json here or in {checkpoint.parent.parent}; copy the one of the data run there"
    )
