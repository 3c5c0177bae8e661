"""Settings: sizes, the nearest known key, and what a resumed run may change."""

from pathlib import Path

import pytest

from curate.errors import ConfigError, ResumeError
from train.config import SETTINGS_FILE, TrainSettings, adopt, load_settings, read_settings, resolve, write_settings


def test_a_size_fills_in_what_is_left_open_and_fields_win() -> None:
    settings = resolve(load_settings(None, ("model.layers=6", "batch_rows=32"), size="5m"), "cpu", True)
    assert (settings.model.layers, settings.model.width, settings.sequence_length) == (6, 256, 256)
    assert (settings.precision, settings.document_mask, settings.micro_rows) == ("bf16", True, 32)
    assert resolve(load_settings(None), "cuda", True).document_mask is False
    assert resolve(load_settings(None), "cpu", False).precision == "fp32"


def test_resolved_settings_are_written_and_read_again(tmp_path: Path) -> None:
    settings = resolve(load_settings(None, size="tiny", seed=9), "cpu", False)
    (tmp_path / SETTINGS_FILE).write_text(write_settings(settings))
    assert read_settings(tmp_path) == settings
    assert read_settings(tmp_path / "none") is None


MISTAKES = {
    "unknown": (("optim.learning_rat=1",), r'optim\.learning_rat: no such setting; did you mean "learning_rate"\?'),
    "size": (("size=huge",), r'size: must be a number of parameters such as 5m, 124m or 1b, found "huge"'),
    "experts": (("model.experts=1",), r"model\.experts_per_token: 2 of model\.experts, which is 1"),
    "experts of gpt2": (("model.experts=4", "model.family=gpt2"), r"model\.experts: experts are SwiGLU layers"),
    "rope": (
        ("model.rope_scaling=yarn",),
        r"model\.rope_scaling: yarn needs rotary positions and a model\.rope_factor",
    ),
    "range": (("batch_rows=0",), r"batch_rows: must be at least 1, found 0"),
    "text": (("tokens=many",), r"tokens: expected a whole number, found 'many'"),
    "heads": (("model.heads=3",), r"model\.heads: 3 does not divide model\.width, which is 256"),
    "kv": (("model.kv_heads=3",), r"model\.kv_heads: 3 does not divide model\.heads, which is 4"),
    "odd": (("model.width=12", "model.heads=4", "model.kv_heads=4"), r"odd head dimension"),
    "micro": (("micro_rows=5",), r"micro_rows: 5 does not divide batch_rows, which is 16"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_explained(what: str) -> None:
    assignments, message = MISTAKES[what]
    with pytest.raises(ConfigError, match=message):
        resolve(load_settings(None, assignments), "cpu", False)


def test_a_file_is_read_with_lines_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("size: tiny\noptim:\n  warmup: 3\n")
    with pytest.raises(
        ConfigError, match=r'small\.yaml:3: optim\.warmup: no such setting; did you mean "warmup_steps"'
    ):
        load_settings(path)
    path.write_text("size: tiny\nbatch_rows: 4\n")
    assert load_settings(path, ("batch_rows=8",)) == TrainSettings(size="tiny", batch_rows=8)


def test_a_resume_takes_what_was_recorded_and_refuses_what_differs(tmp_path: Path) -> None:
    asked = load_settings(None, ("minutes=2", "save_every=50"))
    recorded = resolve(asked, "cpu", True).model_copy(update={"tokens": 4096, "threads": 2})
    again = adopt(asked.model_copy(update={"save_every": 9}), recorded, tmp_path)
    assert again == recorded.model_copy(update={"save_every": 9})
    different = load_settings(None, ("minutes=3", "optim.weight_decay=0", "document_mask=false"))
    with pytest.raises(ResumeError) as error:
        adopt(different, recorded, tmp_path)
    message = str(error.value)
    assert "minutes: 2.0 before, 3.0 now" in message and "optim.weight_decay: 0.1 before, 0.0 now" in message
    assert "document_mask: True before, False now" in message and "seed" not in message and "save_every" not in message


@pytest.mark.parametrize(
    ("given", "assignments", "message"),
    [
        ({"tokens": "many"}, (), "--tokens many: tokens: expected a whole number, found 'many'"),
        ({}, ("optim.clip=true",), "--set optim.clip=true: optim.clip: expected a number, found true"),
        ({}, ("optim.beta1.x=1",), "optim.beta1: expected a number"),
    ],
)
def test_mistakes_of_the_command_line_name_their_flag(
    given: dict[str, str], assignments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("tokens: 5\noptim:\n  clip: 2\n")
    for path in (None, tmp_path / "c.yaml"):
        with pytest.raises(ConfigError) as caught:
            load_settings(path, assignments, **given)
        assert message in str(caught.value)
    assert load_settings(None, ("optim.clip=2",), tokens="20_000_000", size="1m", minutes=None).tokens == 20_000_000
