"""Checkpoints: a folder of safetensors files and index.json, there completely or not at all.

    OUT/checkpoints/step-00000200/index.json              step, shape, settings, plan; size and sha256 of every file
                                  weights.safetensors     fp32, by parameter name
                                  optimizer.safetensors   moments by parameter name

A checkpoint is written under another name, every file and the folder are flushed to the disk, and then the folder
is renamed, so that a kill or a power cut leaves the old ones as they were. Old ones are renamed before they are
removed. Loading verifies every checksum; nothing is unpickled.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from curate.config import validate
from curate.errors import ConfigError, CurateError, DataError
from train.config import Shape, TrainSettings
from train.model import Model

VERSION = 1
FOLDER = "checkpoints"
INDEX = "index.json"

Tensors = dict[str, dict[str, Tensor]]  # by file ("weights", "optimizer"), then by name


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


def save(out: Path, step: int, tensors: Tensors, facts: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step` below out/checkpoints, and remove all but the newest `keep`.

    facts stand in index.json beside `step` and `files`. Raises CurateError where the disk refuses.
    """
    root = out / FOLDER
    final, partial = root / f"step-{step:08}", root / f".step-{step:08}.{os.getpid()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob(".step-*"):
            shutil.rmtree(leftover)
        partial.mkdir()
        files = []
        for name, group in tensors.items():
            path = partial / f"{name}.safetensors"
            save_file({key: value.detach().contiguous() for key, value in group.items()}, path)
            path.chmod(partial.stat().st_mode & 0o666)  # safetensors makes its files private
            _flush(path)
            files.append({"path": path.name, "bytes": path.stat().st_size, "sha256": _digest(path)})
        index = {"version": VERSION, "step": step, **facts, "files": files}
        write_file(partial / INDEX, json.dumps(index, indent=1).encode())
        _flush(partial)
        if final.exists():  # left by an earlier attempt at the same step
            _remove(final)
        partial.rename(final)
        _flush(root)
        for old in steps(out)[:-keep]:
            _remove(old)
    except (OSError, SafetensorError) as error:
        raise CurateError(
            f"{final}: the checkpoint could not be written: {error}\nEarlier checkpoints are as they were."
        ) from None
    return final


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
        raise DataError(f"{path}: cannot be read: {error}") from None
    if index.get("version") != VERSION:
        raise DataError(f"{path}: version {index.get('version')}; this trainer reads version {VERSION}")
    return index


def load(checkpoint: Path, names: tuple[str, ...] = ("weights", "optimizer")) -> Tensors:
    """The tensors of a checkpoint's files, every file checked against the index. Raises DataError naming the file."""
    listed = {file["path"]: file for file in read_index(checkpoint)["files"]}
    advice = f"remove {checkpoint} to continue from an earlier one"
    tensors = {}
    for name in names:
        path = checkpoint / f"{name}.safetensors"
        try:
            if _digest(path) != listed[path.name]["sha256"]:
                raise DataError(f"{path}: does not have the checksum that {INDEX} gives; {advice}")
            tensors[name] = load_file(path)
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be read: {error}; {advice}") from None
    return tensors


class Trained(NamedTuple):
    """A model with the weights of a checkpoint, and what the checkpoint says of itself."""

    model: Model
    settings: TrainSettings
    facts: dict[str, Any]
    folder: Path


def open_model(folder: Path, device: torch.device) -> Trained:
    """The model of a checkpoint, or of the newest one of a run. Raises ConfigError and DataError as its parts do."""
    found = find(folder)
    index = read_index(found)
    settings = validate(TrainSettings, index["settings"], name=f"{found / INDEX}: settings")
    model = Model(validate(Shape, index["shape"], name=f"{found / INDEX}: shape"), device)
    model.load_state_dict(load(found, ("weights",))["weights"])
    return Trained(model, settings, index, found)


def tokenizer_of(checkpoint: Path) -> Path:
    """The tokenizer.json that belongs to a checkpoint: in its folder, or in that of the run."""
    for folder in (checkpoint, checkpoint.parent.parent):
        if (folder / "tokenizer.json").exists():
            return folder / "tokenizer.json"
    raise DataError(
        f"{checkpoint}: no tokenizer.json here or in {checkpoint.parent.parent}; copy the one of the data run there"
    )
