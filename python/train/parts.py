"""What a command has computed so far, kept beside its result, so that the same command goes on where it was stopped."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from train.checkpoint import write_file

Arrays = dict[str, npt.NDArray[Any]]


class Parts:
    """Arrays by name below `folder`/parts; those of other settings or models are removed."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = folder / "parts" / key
        for other in (folder / "parts").glob("*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def arrays(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of this name: read where they are there, made and written where not."""
        path = self.folder / f"{name}.safetensors"
        try:
            return load_file(path)
        except (OSError, SafetensorError):  # not there, or cut short
            made = make()
            write_file(path, save({key: np.ascontiguousarray(array) for key, array in made.items()}))
            return made

    def remove(self) -> None:
        """All of them, once the result is written."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)
