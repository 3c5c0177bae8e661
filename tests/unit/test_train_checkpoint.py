"""A checkpoint is there completely or not at all, and what it holds is checked when it is read."""

import os
from pathlib import Path

import pytest
import torch

from curate.errors import ConfigError, CurateError, DataError
from train import checkpoint


def tensors(value: float) -> checkpoint.Tensors:
    return {"weights": {"a": torch.full((5, 3), value)}, "optimizer": {"exp_avg.a": torch.full((5, 3), -value)}}


def value_of(folder: Path) -> float:
    loaded = checkpoint.load(folder)
    assert set(loaded) == {"weights", "optimizer"}
    return loaded["weights"]["a"][0, 0].item()


def test_what_was_saved_is_loaded_and_the_oldest_go(tmp_path: Path) -> None:
    for step in range(1, 5):
        checkpoint.save(tmp_path, step, tensors(step), {"plan": "p"}, keep=2)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-00000003", "step-00000004"]
    newest = checkpoint.find(tmp_path)
    assert value_of(newest) == 4 and checkpoint.find(newest) == newest
    assert checkpoint.read_index(newest)["plan"] == "p" and checkpoint.read_index(newest)["step"] == 4
    assert sorted(path.name for path in newest.iterdir()) == [
        "index.json",
        "optimizer.safetensors",
        "weights.safetensors",
    ]


def test_a_save_interrupted_anywhere_leaves_a_checkpoint_that_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), {}, keep=1)

    class Killed(BaseException):
        pass

    calls, left = [0], 0
    for module, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir")):
        original = getattr(module, name)

        def counted(*args: object, original: object = original, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] > left:
                raise Killed
            return original(*args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(module, name, counted)
    step = 2
    while left < 40:
        calls[0] = 0
        try:
            checkpoint.save(tmp_path, step, tensors(step), {}, keep=1)
        except Killed:
            found = checkpoint.find(tmp_path)
            assert value_of(found) == checkpoint.read_index(found)["step"] == int(found.name[5:])
            left += 1
            continue
        break
    assert left > 8, "the save was never interrupted"
    assert value_of(checkpoint.find(tmp_path)) == step
    assert os.listdir(tmp_path / "checkpoints") == [f"step-{step:08}"]


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path, 7, tensors(7), {}, keep=1)
    path = folder / "optimizer.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        DataError, match=r"optimizer\.safetensors: does not have the checksum that index\.json gives; remove"
    ):
        checkpoint.load(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"optimizer\.safetensors: cannot be read"):
        checkpoint.load(folder)
    with pytest.raises(ConfigError, match=r"no checkpoint here; give the --out folder of a training run"):
        checkpoint.find(tmp_path / "elsewhere")


def test_a_full_disk_is_a_message_and_keeps_what_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), {}, keep=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CurateError, match=r"step-00000002: the checkpoint could not be written: .*No space left"
    ) as error:
        checkpoint.save(tmp_path, 2, tensors(2), {}, keep=1)
    assert error.value.exit_code == 1
    assert value_of(checkpoint.find(tmp_path)) == 1
