"""Exported models give transformers the same logits, and come back with the same weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import ConfigError, DataError
from train import checkpoint
from train.config import ModelSettings, TrainSettings, resolve, shape_of
from train.generate import Sampling, generate
from train.huggingface import export, import_
from train.model import build, tensors_of

SMALL: dict[str, Any] = {"layers": 2, "width": 32, "heads": 4, "ffn_width": 48, "norm_eps": 1e-5}
FORMS: dict[str, dict[str, Any]] = {
    "llama": {"kv_heads": 2, "tied": True},
    "llama with biases": {"kv_heads": 4, "tied": False, "bias": True, "rope_theta": 500_000.0},
    "llama linear": {"kv_heads": 1, "rope_scaling": "linear", "rope_factor": 2.0},
    "llama ntk": {"kv_heads": 2, "rope_scaling": "ntk", "rope_factor": 4.0},
    "llama yarn": {"kv_heads": 2, "rope_scaling": "yarn", "rope_factor": 4.0},
    "mistral": {"kv_heads": 2, "window": 7},
    "mixtral": {"kv_heads": 2, "experts": 4, "tied": False},
    "gpt2": {"family": "gpt2"},
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def save_model(out: Path, shape: dict[str, Any]) -> TrainSettings:
    asked = TrainSettings(sequence_length=64, model=ModelSettings(**SMALL | shape))
    settings = resolve(asked, "cpu", False)
    model = build(shape_of(settings, 67), 3)
    for p in model.parameters():
        p.data += (
            torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * 0.05
        )  # biases and norms too
    facts = {"shape": model.shape.model_dump(), "settings": settings.model_dump(), "tokenizer_sha256": "",
             "end_of_document": 0}  # fmt: skip
    checkpoint.write_file(out / "tokenizer.json", b"{}")
    checkpoint.save(out, 5, {"weights": tensors_of(model)}, facts, 1)
    return settings


@pytest.mark.parametrize("form", FORMS)
def test_transformers_computes_the_same_and_the_way_back_is_exact(form: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    save_model(tmp_path / "model", FORMS[form])
    told = export(tmp_path / "model", tmp_path / "theirs")
    assert told["form"] == form.split()[0]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32).eval()
    ours = checkpoint.open_model(tmp_path / "model", torch.device("cpu")).model
    tokens = torch.randint(0, 67, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = theirs(tokens).logits, ours.logits(tokens)
    assert (wanted - found).abs().max() <= 1e-4
    import_(tmp_path / "theirs", tmp_path / "back")
    back = checkpoint.open_model(tmp_path / "back", torch.device("cpu")).model
    for name, tensor in tensors_of(ours).items():
        assert torch.equal(tensors_of(back)[name], tensor), name
    assert torch.allclose(back.logits(tokens), found, atol=1e-6)
    if form in ("llama", "gpt2"):
        greedy = theirs.generate(tokens[:1, :9], max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
        sampling = Sampling(tokens=12, temperature=0)
        mine = [one[0] for one in generate(ours, [tokens[0, 1:9].tolist()], int(tokens[0, 0]), sampling)]
        assert mine == greedy[0, 9:].tolist()[: len(mine)] and len(mine) > 3


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"qk_norm": True}, r"model\.qk_norm: no Hugging Face form here has it"),
        ({"softcap": 30.0}, r"model\.softcap: no Hugging Face form"),
        ({"experts": 4, "balance": "bias"}, r"model\.balance: experts chosen with a bias"),
        ({"norm": "layer"}, r"no Hugging Face form here has layer norms, swiglu, rotary positions"),
    ],
)
def test_what_no_form_can_say_is_refused(shape: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model", shape)
    with pytest.raises(ConfigError, match=message):
        export(tmp_path / "model", tmp_path / "theirs")


def test_foreign_forms_and_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model", FORMS["llama"])
    there = tmp_path / "theirs"
    export(tmp_path / "model", there)
    config = json.loads((there / "config.json").read_text())
    changes = {
        r"model_type: qwen3; this trainer reads llama": {"model_type": "qwen3"},
        r"hidden_act: gelu; this trainer has silu": {"hidden_act": "gelu"},
        r"rope_type: llama3; this trainer reads": {"rope_parameters": {"rope_type": "llama3"}},
        r"head_dim: 16; here it is": {"head_dim": 16},
        r"q_proj\.weight has the shape \(32, 32\); \(64, 64\) expected|embed": {"hidden_size": 64, "head_dim": 16},
        r"holds tensors that have no place here, model\.layers\.1\.": {"num_hidden_layers": 1},
        r"lacks the tensor model\.layers\.2\.": {"num_hidden_layers": 3},
    }
    for message, change in changes.items():
        (there / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises((ConfigError, DataError), match=message):
            import_(there, tmp_path / "back")
    (there / "config.json").write_text(json.dumps(config))
    (there / "model.safetensors").rename(there / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"no \.safetensors file here; this trainer reads no pickled weights"):
        import_(there, tmp_path / "back")
    assert not (tmp_path / "back" / "checkpoints").exists()
