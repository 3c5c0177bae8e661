"""Models in the forms of Hugging Face: `train export` writes one that `transformers` loads, `train import` reads one.

    our shape                                        their form
    RMSNorm, SwiGLU, rotary                          llama, mistral with a sliding window
    the same with experts (softmax, none shared)     mixtral
    LayerNorm, GELU, learned, tied, with biases      gpt2

A form is a config.json, weights in safetensors and a tokenizer.json. Nothing is unpickled: a model in .bin files is
refused. What a form cannot say (qk_norm, softcap) is refused too, rather than left out.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from curate.errors import ConfigError, CurateError, DataError
from train import checkpoint
from train.config import ModelSettings, Shape, TrainSettings, check_shape, shape_of
from train.machine import DTYPES, fast_bf16, pick_device
from train.model import Model, tensors_of

HOW = Literal["same", "transposed", "stacked"]


class Pair(NamedTuple):
    """One tensor of theirs. `same`: our tensor; `transposed`: ours, several one below the other, a matrix turned as
    GPT-2 keeps it; `stacked`: number `expert` of our tensor.
    """

    theirs: str
    ours: tuple[str, ...]
    how: HOW = "same"
    expert: int = 0


LLAMA_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
}
LLAMA_FFN = {"ffn.gate": "mlp.gate_proj", "ffn.up": "mlp.up_proj", "ffn.down": "mlp.down_proj"}
MIXTRAL_EXPERT = {"ffn.gate": "w1", "ffn.down": "w2", "ffn.up": "w3"}
GPT2_BLOCK = {"attention.out": "attn.c_proj", "ffn.up": "mlp.c_fc", "ffn.down": "mlp.c_proj"}
GPT2_NORMS = {"attention_norm": "ln_1", "ffn_norm": "ln_2"}


def form_of(shape: Shape) -> str:
    """The form that holds a shape. Raises ConfigError naming what no form holds."""
    if not shape.causal:
        raise ConfigError("objective: masked diffusion has no Hugging Face form here; the model cannot be exported")
    for name in ("qk_norm", "softcap", "shared_expert"):
        if getattr(shape, name):
            raise ConfigError(f"model.{name}: no Hugging Face form here has it; the model cannot be exported")
    parts = (shape.norm, shape.activation, shape.positions)
    if parts == ("rms", "swiglu", "rotary") and not (shape.experts and shape.router == "sigmoid"):
        if shape.experts and shape.balance == "bias":
            raise ConfigError("model.balance: experts chosen with a bias have no Hugging Face form here")
        if shape.bias and shape.window:
            raise ConfigError("model.bias: a model with a window and biases has no Hugging Face form here")
        return "mixtral" if shape.experts else "mistral" if shape.window else "llama"
    plain = shape.bias and shape.tied and shape.heads == shape.kv_heads and not shape.window
    if parts == ("layer", "gelu", "learned") and plain:
        return "gpt2"
    raise ConfigError(
        f"no Hugging Face form here has {shape.norm} norms, {shape.activation}, {shape.positions} positions"
        f"{' and experts with sigmoid scores' if shape.experts else ''} together; the model cannot be exported"
    )


def pairs(shape: Shape, form: str) -> Iterator[Pair]:
    """All tensors of a form, and ours that they are made of."""
    parts = ("weight", "bias") if shape.bias else ("weight",)
    if form == "gpt2":
        yield Pair("transformer.wte.weight", ("embedding.weight",))
        yield Pair("transformer.wpe.weight", ("position_embedding.weight",))
        for layer in range(shape.layers):
            here, there = f"blocks.{layer}.", f"transformer.h.{layer}."
            for part in parts:
                joined = tuple(f"{here}attention.{name}.{part}" for name in ("query", "key", "value"))
                yield Pair(f"{there}attn.c_attn.{part}", joined, "transposed")
                for ours, theirs in GPT2_BLOCK.items():
                    yield Pair(f"{there}{theirs}.{part}", (f"{here}{ours}.{part}",), "transposed")
                for ours, theirs in GPT2_NORMS.items():
                    yield Pair(f"{there}{theirs}.{part}", (f"{here}{ours}.{part}",))
        for part in parts:
            yield Pair(f"transformer.ln_f.{part}", (f"norm.{part}",))
        return
    yield Pair("model.embed_tokens.weight", ("embedding.weight",))
    yield Pair("model.norm.weight", ("norm.weight",))
    if not shape.tied:
        yield Pair("lm_head.weight", ("head.weight",))
    for layer in range(shape.layers):
        here, there = f"blocks.{layer}.", f"model.layers.{layer}."
        for ours, theirs in {**LLAMA_BLOCK, **({} if shape.experts else LLAMA_FFN)}.items():
            for part in parts if "norm" not in ours else ("weight",):
                yield Pair(f"{there}{theirs}.{part}", (f"{here}{ours}.{part}",))
        if shape.experts:
            yield Pair(f"{there}block_sparse_moe.gate.weight", (f"{here}ffn.router.weight",))
        for expert in range(shape.experts):
            for ours, theirs in MIXTRAL_EXPERT.items():
                name = f"{there}block_sparse_moe.experts.{expert}.{theirs}.weight"
                yield Pair(name, (f"{here}{ours}.weight",), "stacked", expert)


def to_theirs(shape: Shape, form: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names and in their layout."""
    found = {}
    for pair in pairs(shape, form):
        if pair.how == "stacked":
            one = tensors[pair.ours[0]][pair.expert]
        else:
            one = torch.cat([tensors[name] for name in pair.ours])
        turned = pair.how == "transposed" and one.dim() == 2
        found[pair.theirs] = (one.T if turned else one).contiguous()
    return found


def from_theirs(shape: Shape, form: str, theirs: dict[str, Tensor], model: Model) -> dict[str, Tensor]:
    """Their tensors as ours. Raises DataError where one is missing, of another shape, or has no place."""
    ours, left = {name: torch.empty(one.shape) for name, one in tensors_of(model).items()}, dict(theirs)
    for pair in pairs(shape, form):
        if pair.theirs not in left:
            raise DataError(f"the model lacks the tensor {pair.theirs}")
        one = left.pop(pair.theirs)
        if pair.how == "transposed" and one.dim() == 2:
            one = one.T
        targets = [ours[name] for name in pair.ours]
        if pair.how == "stacked":
            targets = [targets[0][pair.expert]]
        wanted = (sum(len(target) for target in targets), *targets[0].shape[1:])
        if tuple(one.shape) != wanted:
            raise DataError(f"the tensor {pair.theirs} has the shape {tuple(one.shape)}; {wanted} expected")
        for target, part in zip(targets, torch.split(one, [len(target) for target in targets]), strict=True):
            target.copy_(part)
    # Masks and angles that some versions save, and a head that is the embedding.
    known = ("attn.bias", "attn.masked_bias", "rotary_emb.inv_freq", *(("lm_head.weight",) if shape.tied else ()))
    unknown = sorted(name for name in left if not name.endswith(known))
    if unknown:
        raise DataError(f"the model holds tensors that have no place here, {unknown[0]} among {len(unknown)}")
    return ours


# -- config.json -----------------------------------------------------------------------------------------------


def config_of(shape: Shape, form: str, end_of_document: int) -> dict[str, Any]:
    """config.json of a form."""
    common = {"model_type": form, "vocab_size": shape.vocab_size, "tie_word_embeddings": shape.tied}
    common |= {"bos_token_id": end_of_document, "eos_token_id": end_of_document, "dtype": "float32"}
    if form == "gpt2":
        sizes: dict[str, Any] = {"n_positions": shape.sequence_length, "n_embd": shape.width, "n_layer": shape.layers}
        sizes |= {"n_head": shape.heads, "n_inner": shape.ffn_width, "activation_function": "gelu_new"}
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        architecture = {"architectures": ["GPT2LMHeadModel"], "layer_norm_epsilon": shape.norm_eps}
        return {**common, **sizes, **no_dropout, **architecture}
    theta, rope = shape.rope_theta, dict[str, Any](rope_type="default")
    if shape.rope_scaling == "ntk":  # nothing but another base
        theta *= shape.rope_factor ** (shape.head_width / (shape.head_width - 2))
    elif shape.rope_scaling != "none":
        rope = {"rope_type": shape.rope_scaling, "factor": shape.rope_factor}
        if shape.rope_scaling == "yarn":
            rope["original_max_position_embeddings"] = shape.rope_original
    names = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM"}
    config = {
        **common,
        "architectures": [names[form]],
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": shape.sequence_length,
        "rms_norm_eps": shape.norm_eps,
        # The newer versions read the first, the older ones the other two.
        "rope_parameters": {**rope, "rope_theta": theta},
        "rope_theta": theta,
        "rope_scaling": None if rope["rope_type"] == "default" else rope,
    }
    if form == "llama":
        config |= {"attention_bias": shape.bias, "mlp_bias": shape.bias}
    else:
        config["sliding_window"] = shape.window or None
    if form == "mixtral":
        config |= {"num_local_experts": shape.experts, "num_experts_per_tok": shape.experts_per_token}
        config |= {"router_aux_loss_coef": shape.balance_weight}
    return config


def settings_from(config: dict[str, Any]) -> tuple[ModelSettings, int]:
    """(complete model settings, row length) of a config.json. Raises ConfigError for what this trainer has not."""
    form = config.get("model_type")
    if form == "gpt2":
        width, heads = config["n_embd"], config["n_head"]
        _only(config, "activation_function", ("gelu_new", "gelu_pytorch_tanh"))
        settings = ModelSettings(
            family="gpt2", layers=config["n_layer"], width=width, heads=heads, kv_heads=heads,
            ffn_width=config.get("n_inner") or 4 * width, tied=True, norm="layer", activation="gelu",
            positions="learned", bias=True, norm_eps=config["layer_norm_epsilon"],
        )  # fmt: skip
        return settings, config["n_positions"]
    if form not in ("llama", "mistral", "mixtral"):
        raise ConfigError(f"model_type: {form}; this trainer reads llama, mistral, mixtral and gpt2")
    _only(config, "hidden_act", ("silu", "swish"))
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if (config.get("head_dim") or width // heads) != width // heads:
        raise ConfigError(f"head_dim: {config['head_dim']}; here it is hidden_size / num_attention_heads")
    bias = bool(config.get("attention_bias"))
    if bias != bool(config.get("mlp_bias")):
        raise ConfigError("attention_bias and mlp_bias differ; here all matrices have biases or none")
    settings = ModelSettings(
        layers=config["num_hidden_layers"], width=width, heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads, ffn_width=config["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings")), norm="rms", activation="swiglu", positions="rotary", bias=bias,
        norm_eps=config["rms_norm_eps"], window=config.get("sliding_window") or 0,
        experts=config.get("num_local_experts", 0) if form == "mixtral" else 0,
        experts_per_token=config.get("num_experts_per_tok", 2), **_rope(config),
    )  # fmt: skip
    return settings, config["max_position_embeddings"]


def _only(config: dict[str, Any], key: str, values: tuple[str, ...]) -> None:
    if config.get(key, values[0]) not in values:
        raise ConfigError(f"{key}: {config[key]}; this trainer has {' and '.join(values)}")


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta") or config.get("rope_theta") or 10_000.0
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return {"rope_theta": float(theta)}
    if kind not in ("linear", "yarn"):
        raise ConfigError(f"rope_type: {kind}; this trainer reads default, linear and yarn")
    original = rope.get("original_max_position_embeddings") or config["max_position_embeddings"]
    scaling = {"rope_scaling": kind, "rope_factor": float(rope["factor"]), "rope_original": int(original)}
    return {"rope_theta": float(theta), **scaling}


# -- files -----------------------------------------------------------------------------------------------------


def export(folder: Path, out: Path, dtype: str = "fp32") -> dict[str, Any]:
    """Write the newest model of `folder` to `out` in the form of its shape; returns a summary.

    Raises ConfigError where the shape has no form, DataError where the checkpoint is damaged, CurateError if the disk
    refuses.
    """
    trained = checkpoint.open_model(folder, pick_device("cpu"))
    shape, facts = trained.model.shape, trained.facts
    form, kind = form_of(shape), DTYPES[dtype]
    tensors = {k: one.to(kind) for k, one in to_theirs(shape, form, tensors_of(trained.model)).items()}
    config = {**config_of(shape, form, facts["end_of_document"]), "dtype": str(kind).removeprefix("torch.")}
    tokenizer = checkpoint.tokenizer_of(trained.folder).read_bytes()
    checkpoint.write_file(out / "config.json", json.dumps(config, indent=2).encode())
    checkpoint.write_file(out / "tokenizer.json", tokenizer)
    facts_of_tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.sequence_length}
    checkpoint.write_file(out / "tokenizer_config.json", json.dumps(facts_of_tokenizer, indent=2).encode())
    partial = out / ".model.safetensors"
    try:
        save_file({k: one.detach() for k, one in tensors.items()}, partial, metadata={"format": "pt"})
        partial.chmod((out / "config.json").stat().st_mode)
        partial.replace(out / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise CurateError(f"{out}: the weights could not be written: {error}") from None
    return {"out": str(out), "form": form, "checkpoint": str(trained.folder), "tensors": len(tensors)}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files, in fp32. Raises ConfigError where there are none, DataError where
    one cannot be read."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: no .safetensors file here; this trainer reads no pickled weights (.bin, .pt)")
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                found.update({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from None
    return found


def import_(folder: Path, out: Path) -> dict[str, Any]:
    """Make the model folder `out` from one in a Hugging Face form; returns a summary.

    Its only checkpoint is of step 0, for `train eval`, `train generate` and `train run --init`. Raises ConfigError
    where the form is another one, DataError where files are damaged or do not fit together.
    """
    if checkpoint.steps(out):
        raise ConfigError(f"--out {out}: holds a model; name another folder")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = (folder / "tokenizer.json").read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no model in a Hugging Face form: {error}") from None
    try:
        model_settings, length = settings_from(config)
        check_shape(model_settings)
    except KeyError as error:
        raise ConfigError(f"{folder}/config.json: lacks {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{folder}/config.json: {error}") from None
    # As it was saved, so that a model of fp32 computes the same on every machine.
    is_bf16 = (config.get("dtype") or config.get("torch_dtype")) == "bfloat16"
    precision: Any = "bf16" if is_bf16 and fast_bf16(pick_device("auto")) else "fp32"
    settings = TrainSettings(
        sequence_length=length, model=model_settings, precision=precision, micro_rows=16, loss_chunk=256,
        document_mask=True, compile=False,
    )  # fmt: skip
    shape = shape_of(settings, config["vocab_size"])
    weights = read_weights(folder)
    if config["model_type"] == "gpt2":  # the head's names, or the plain model's
        weights = {
            k if k.startswith(("transformer.", "lm_head.")) else f"transformer.{k}": t for k, t in weights.items()
        }
    model = Model(shape)
    try:
        tensors = from_theirs(shape, form_of(shape), weights, model)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None
    end = config.get("eos_token_id")
    facts = {
        "data": "", "plan": "", "init": "", "shape": shape.model_dump(), "settings": settings.model_dump(),
        "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest(),
        "end_of_document": end[0] if isinstance(end, list) else end or 0,
    }  # fmt: skip
    checkpoint.write_file(out / "tokenizer.json", tokenizer)
    found = checkpoint.save(out, 0, {"weights": tensors}, facts, keep=1)
    return {"out": str(out), "form": config["model_type"], "checkpoint": str(found), "tensors": len(tensors)}
