"""Joining the processes that torchrun started, and ending all of them with one message where one fails."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from curate import console
from curate.errors import ConfigError, CurateError
from curate.io.lock import FolderLock
from train.config import TrainSettings
from train.machine import pick_device
from train.processes import Alone

NOTE, NOTE_SECONDS = "ended", 3.0


def world() -> int:
    """How many processes torchrun started, 1 where it did not."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in names) else 1


def world_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


def rank() -> int:
    """The number of this process."""
    return int(os.environ["RANK"]) if world() > 1 else 0


@contextmanager
def connected(name: str) -> Iterator[torch.device]:
    """The device `name` of this process, which has joined the others, where there are any.

    Of several processes that fail the first alone shows its error; the others end with the same exit code.
    """
    device = pick_device(name)
    if world() == 1:
        yield device
        return
    from train.parallel.mesh import connect, disconnect

    device, store = connect(device.type)
    try:
        yield device
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it as soon as one has ended: say why first
        lost = is_lost(error)
        if not told_first(store, lost):
            raise SystemExit(error.exit_code if isinstance(error, CurateError) else 1) from None
        if lost:
            raise CurateError(
                "A process of this run has ended, and the others cannot go on without it; torchrun says which.\n"
                "The same command continues from the last checkpoint."
            ) from None
        raise
    disconnect()


@contextmanager
def locked(folder: Path, holder: str, take_over: bool = False) -> Iterator[None]:
    """The lock of a folder, which the first process holds for all; its warnings are told. Raises LockError.

    holder: the command, for the message to another one.
    """
    if rank():
        yield
        return
    with FolderLock(folder, holder, take_over) as lock:
        for warning in lock.warnings:
            console.err(f"warning: {warning}")
        yield


def is_lost(error: BaseException) -> bool:
    """Whether an error says that a message to another process failed, as torch's and gloo's do."""
    import torch.distributed as dist

    words = ("gloo", "NCCL", "Connection", "peer", "Broken pipe")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def told_first(store: Any, lost: bool) -> bool:
    """Whether no other process has an error to show. One that lost another gives that one time to show its own."""
    mine, end = f"{rank()}", time.monotonic() + (NOTE_SECONDS if lost else 0.0)
    try:
        # One that was killed says nothing.
        while not store.check([NOTE]) and time.monotonic() < end:
            time.sleep(0.05)
        found: Any = store.compare_set(NOTE, "", mine)
        return bool(found.decode() == mine)
    except RuntimeError:  # torchrun has ended too
        return True


def processes_of(settings: TrainSettings) -> Alone:
    """The processes of a run with these settings, resolved; `connected` is around. Raises ConfigError where the grid
    does not fit."""
    if world() > 1:
        from train.parallel.together import Together

        return Together(settings)
    for axis, size in settings.parallel.model_dump().items():
        if size > 1:
            raise ConfigError(
                f"parallel.{axis}: {size} needs several processes: torchrun --nproc-per-node {size} -m train run …"
            )
    return Alone()
