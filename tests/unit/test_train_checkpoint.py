"""A checkpoint is there completely or not at all, and what it holds is checked when it is read."""

import json
import os
from pathlib import Path

import pytest
import torch

from curate.errors import ConfigError, CurateError, DataError
from train import checkpoint
from train.saver import Saver

FACTS = {"shape": {}, "settings": {}, "plan": "p"}


def tensors(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"weights": {"a": torch.full((5, 3), value)}, "optimizer": {"mean.a": torch.full((5, 3), -value)}}


def value_of(folder: Path) -> float:
    loaded = checkpoint.load(folder, tensors(0))
    assert (loaded["optimizer"]["mean.a"] == -loaded["weights"]["a"]).all()
    return loaded["weights"]["a"][0, 0].item()


def test_what_was_saved_is_loaded_and_the_oldest_go(tmp_path: Path) -> None:
    for step in range(1, 5):
        checkpoint.save(tmp_path, step, tensors(step), FACTS, keep=2)
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
    checkpoint.save(tmp_path, 1, tensors(1), FACTS, keep=1)

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
            checkpoint.save(tmp_path, step, tensors(step), FACTS, keep=1)
        except Killed:
            found = checkpoint.find(tmp_path)
            assert value_of(found) == checkpoint.read_index(found)["step"] == int(found.name[5:])
            left += 1
            continue
        break
    assert left > 8, "the save was never interrupted"
    assert value_of(checkpoint.find(tmp_path)) == step
    assert os.listdir(tmp_path / "checkpoints") == [f"step-{step:08}"]


def test_damage_is_found_and_named_and_the_checkpoint_before_it_offered(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, tensors(5), FACTS, keep=2)
    folder = checkpoint.save(tmp_path, 7, tensors(7), FACTS, keep=2)
    path = folder / "optimizer.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        DataError,
        match=r"optimizer\.safetensors: does not have the checksum that index\.json gives; remove the folder .*7 to "
        r"continue from the one before it, step-00000005",
    ):
        checkpoint.load(folder, tensors(0))
    path.unlink()
    with pytest.raises(DataError, match=r"optimizer\.safetensors: cannot be read"):
        checkpoint.load(folder, tensors(0))
    (folder / "index.json").write_text("{}")
    with pytest.raises(DataError, match=r"step-00000007/index\.json: version None; .*step-00000005"):
        checkpoint.load(folder, tensors(0))
    with pytest.raises(ConfigError, match=r"no checkpoint here; give the --out folder of a training run"):
        checkpoint.find(tmp_path / "elsewhere")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path, 1, tensors(1), FACTS, keep=1)
    with pytest.raises(DataError, match=r"weights: a has the shape \(5, 3\), and here \(5, 4\): .* no earlier one"):
        checkpoint.load(folder, {"weights": {"a": torch.zeros(5, 4)}})
    with pytest.raises(DataError, match=r"weights: b has the shape none, and here \(2,\)"):
        checkpoint.load(folder, {"weights": {"a": torch.zeros(5, 3), "b": torch.zeros(2)}})


def test_any_box_of_a_tensor_is_read_from_the_files_of_any_number_of_processes(tmp_path: Path) -> None:
    whole = torch.arange(7 * 6 * 2).view(7, 6, 2)
    cuts = [(0, 3, 0, 4), (3, 7, 0, 4), (0, 2, 4, 6), (2, 7, 4, 6)]  # four processes, two dimensions cut
    partial, final = tmp_path / ".partial", tmp_path / "checkpoints" / "step-00000003"
    partial.mkdir()
    final.parent.mkdir()
    parts = []
    for rank, (a, b, c, d) in enumerate(cuts):
        box = checkpoint.Box(whole[a:b, c:d], (a, c, 0), (7, 6, 2))
        parts.append(checkpoint.write_part(partial, "weights", {"w": box}, rank))
    checkpoint.commit(partial, final, 3, FACTS, parts)
    reader = checkpoint.Reader(final)
    assert torch.equal(reader.read("weights", "w"), whole)
    for world in (1, 2, 7):
        rows = [range(rank * 7 // world, (rank + 1) * 7 // world) for rank in range(world)]
        read = [reader.read("weights", "w", (one.start, 0, 0), (len(one), 6, 2)) for one in rows]
        assert torch.equal(torch.cat(read), whole)
    assert torch.equal(reader.read("weights", "w", (1, 3, 1), (4, 2, 1)), whole[1:5, 3:5, 1:])
    index = json.loads((final / "index.json").read_text())
    index["tensors"]["weights"]["w"]["boxes"].pop()
    (final / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"w: 64 of its numbers are in files"):
        checkpoint.Reader(final).read("weights", "w")


def test_a_saver_keeps_what_was_saved_when_training_goes_on_and_tells_of_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = tensors(1)
    with Saver() as saver:
        saver.save(tmp_path, 1, some, FACTS, 5)
        some["weights"]["a"].fill_(9)
        for step in range(2, 6):
            saver.save(tmp_path, step, tensors(step), FACTS, 2, spare=(1, 2))
        saver.wait()
        assert [int(path.name[5:]) for path in checkpoint.steps(tmp_path)] == [1, 2, 4, 5]
        assert value_of(checkpoint.steps(tmp_path)[0]) == 1
        monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        saver.save(tmp_path, 6, tensors(6), FACTS, 2)
        with pytest.raises(CurateError, match=r"step-00000006: the checkpoint could not be written: .*No space left"):
            saver.wait()
    assert checkpoint.find(tmp_path).name == "step-00000005"


def test_a_full_disk_is_a_message_and_keeps_what_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), FACTS, keep=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CurateError, match=r"step-00000002: the checkpoint could not be written: .*No space left"
    ) as error:
        checkpoint.save(tmp_path, 2, tensors(2), FACTS, keep=1)
    assert error.value.exit_code == 1
    assert value_of(checkpoint.find(tmp_path)) == 1
