"""Checkpoints written by a thread while training goes on; by one process, or by several that each write their part.

Several processes write into one folder, which they must all see: the first makes it, each writes
`<group>-<rank>.safetensors` and then `part-<rank>.json`, and when all of these are there the first makes the index of
them and gives the folder its name. They wait for each other by looking at the folder, so that no message comes between
those of training.
"""

import json
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from curate.errors import CurateError
from train import checkpoint
from train.checkpoint import Box, Tensors, box_of
from train.processes import Alone

PAUSE = 0.02  # seconds between two looks at the folder
FAILED = "failed-{:04}"


class Saver:
    """Saves one checkpoint at a time; tensors are copied first. To be used in a `with`."""

    def __init__(self, processes: Alone | None = None) -> None:
        self._processes = processes or Alone()
        # Names the folders of this start of the run alike in all processes, and unlike those of an earlier one.
        self._mark = f"{int(self._processes.same(time.time_ns() // 1000 % 2**50)):x}"
        self._thread = ThreadPoolExecutor(1, "saver")
        self._job: Future[Path] | None = None
        self._stopped = threading.Event()

    def save(
        self, out: Path, step: int, tensors: Tensors, facts: dict[str, Any], keep: int, spare: Collection[int] = ()
    ) -> None:
        """Start to save what this process keeps of the tensors. Raises what an earlier save raised."""
        self.wait()
        copies: dict[str, dict[str, Box]] = {}
        for group, part in tensors.items():
            boxes = {name: box_of(one) for name, one in part.items()}
            copies[group] = {
                name: box._replace(tensor=box.tensor.detach().to("cpu", copy=True))
                for name, box in boxes.items()
                if box.kept
            }
        save = checkpoint.save if self._processes.world == 1 else self._save_part
        self._job = self._thread.submit(save, out, step, copies, facts, keep, spare)

    def _save_part(
        self, out: Path, step: int, tensors: Tensors, facts: dict[str, Any], keep: int, spare: Collection[int]
    ) -> Path:
        """As checkpoint.save; in all processes but the first it ends when their part is written."""
        rank, world = self._processes.rank, self._processes.world
        final, partial = checkpoint.places(out, step, self._mark)
        try:
            if rank == 0:
                checkpoint.begin(partial)
            self._until(partial.is_dir)
            parts = [checkpoint.write_part(partial, name, group, rank) for name, group in tensors.items()]
            checkpoint.write_file(partial / f"part-{rank:04}.json", json.dumps(parts).encode())
            if rank == 0:
                files = [partial / f"part-{number:04}.json" for number in range(world)]
                self._until(lambda: _all_there(files))
                found = [part for file in files for part in json.loads(file.read_text(encoding="utf-8"))]
                for file in files:
                    file.unlink()
                checkpoint.commit(partial, final, step, facts, found)
                checkpoint.prune(out, keep, spare)
        except (OSError, SafetensorError) as error:
            if partial.is_dir():
                (partial / FAILED.format(rank)).touch()
            raise checkpoint.unwritten(final, error) from None
        return final

    def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            if self._stopped.wait(PAUSE):
                raise CurateError("the checkpoint was not finished, because the run ends")

    def wait(self) -> None:
        """Until what was started is on the disk. Raises CurateError where the disk refused."""
        job, self._job = self._job, None
        if job:
            job.result()

    def check(self) -> None:
        """Raise what a save that has ended raised."""
        if self._job and self._job.done():
            self.wait()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:  # others may have ended, so that their parts never come
            self._stopped.set()
        self._thread.shutdown()


def _all_there(files: list[Path]) -> bool:
    for number, file in enumerate(files):
        if file.with_name(FAILED.format(number)).exists():
            raise OSError(f"process {number} could not write its part")
    return all(file.exists() for file in files)
