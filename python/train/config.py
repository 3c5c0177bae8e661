"""Settings of a training run: a named size, explicit fields that refine it, and what a resumed run may change.

A zero, a null or `auto` leaves a field to the size, the data or the machine. `resolve` fills those in once; the result
is written to OUT/train.yaml, and a resumed run takes it from there.
"""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from curate.config import Document, Settings, assign, dump_yaml, load_yaml, parse_assignment, setting, validate
from curate.errors import ConfigError, ResumeError
from train.sizes import FAMILIES, MUON_RATE, is_size, preset_of

Precision = Literal["auto", "bf16", "fp16", "fp32"]

SETTINGS_FILE = "train.yaml"

# Settings that a resumed run may change. They do not change the model that comes out, but for `threads`, `device`,
# `compile` and `parallel`, which change the last bits of sums.
EXECUTION = frozenset(
    {"threads", "device", "save_every", "keep", "verify", "recompute", "compile", "peak_tflops", "watch", "parallel"}
)


class ModelSettings(Settings):
    """The shape of the model; a zero takes the value that `size` stands for, a null that of `family`."""

    family: Literal["llama", "gpt2"] = setting("llama", "decides the fields that are null")
    layers: int = setting(0, "blocks", ge=0)
    width: int = setting(0, "width of the residual stream", ge=0)
    heads: int = setting(0, "query heads; the head dimension is width / heads", ge=0)
    kv_heads: int = setting(0, "key and value heads; divides heads, 1 is multi-query", ge=0)
    ffn_width: int = setting(0, "hidden width of the feed-forward layer, of each expert", ge=0)
    tied: bool | None = setting(None, "whether the head is the embedding matrix")
    norm: Literal["rms", "layer"] | None = setting(None, "RMSNorm or LayerNorm")
    activation: Literal["swiglu", "gelu"] | None = setting(None, "of the feed-forward layer")
    positions: Literal["rotary", "learned"] | None = setting(None, "how a token knows its place")
    bias: bool | None = setting(None, "biases in every matrix product but the head's")
    rope_theta: float = setting(10_000.0, "base of the rotary angles", gt=0)
    rope_scaling: Literal["none", "linear", "ntk", "yarn"] = setting("none", "for rows longer than rope_original")
    rope_factor: float = setting(1.0, "how many times longer", ge=1)
    rope_original: int = setting(0, "row length before scaling; 0: sequence_length / rope_factor", unit="tokens", ge=0)
    qk_norm: bool = setting(False, "RMSNorm of queries and keys, by head")
    window: int = setting(0, "positions that attention looks back; 0 for all", unit="tokens", ge=0)
    softcap: float = setting(0.0, "bends scores of the head to within this size; 0 for none", ge=0)
    norm_eps: float = setting(1e-5, "added to the mean square in norms", gt=0)
    experts: int = setting(0, "experts in place of each feed-forward layer; 0 for none", ge=0)
    experts_per_token: int = setting(2, "of them, those that compute a token", ge=1)
    shared_expert: bool = setting(False, "one more expert that computes every token")
    router: Literal["softmax", "sigmoid"] = setting("softmax", "scores of the experts")
    balance: Literal["loss", "bias", "none"] = setting("loss", "how experts are kept evenly loaded")
    balance_weight: float = setting(0.01, "of that loss, or the bias's step; 0.001 is usual for it", ge=0)
    router_z_weight: float = setting(0.001, "of the router's z-loss", ge=0)


class OptimSettings(Settings):
    """Muon or AdamW, warm-up and decay, and when a step is left out."""

    optimizer: Literal["adamw", "muon"] = setting("muon", "Muon for matrices, AdamW for the rest; or AdamW for all")
    learning_rate: float = setting(0.0, "peak; 0 takes the value of size and optimizer", ge=0)
    schedule: Literal["cosine", "linear", "wsd", "wsd_s"] = setting("cosine", "how the rate goes down")
    warmup_steps: int | None = setting(
        None, "linear from zero to the peak; null: a tenth of the run, at most 20", unit="steps", ge=0
    )
    decay_fraction: float = setting(0.0, "part in which wsd goes down; 0: the mixture's last phase, or 0.2", ge=0, le=1)
    periods: int = setting(3, "periods of wsd_s, each half as long as the next", ge=1, le=20)
    final_fraction: float = setting(0.1, "learning rate at the end, as a part of the peak", ge=0, le=1)
    weight_decay: float = setting(0.1, "on matrices only", ge=0)
    beta1: float = setting(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = setting(0.95, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = setting(1e-8, "added to the root of the second moment", gt=0)
    momentum: float = setting(0.95, "of Muon", ge=0, lt=1)
    clip: float = setting(1.0, "largest norm of the gradient; 0 for none", ge=0)
    z_weight: float = setting(0.0, "of (ln sum exp scores)^2 in the loss; 1e-4 is usual", ge=0)
    skip_deviations: float = setting(
        0.0,
        "leave out a step whose loss or gradient norm is so many standard deviations above the last 128; 0: none",
        ge=0,
    )


class LongSettings(Settings):
    """The last part of a run, in longer rows."""

    factor: int = setting(1, "rows of the last part are so many times longer; 1: there is none", ge=1)
    fraction: float = setting(0.1, "of the steps, at the end", gt=0, lt=1)
    rope_scaling: Literal["none", "linear", "ntk", "yarn"] = setting("yarn", "of the rotary angles, by the factor")
    rope_theta: float = setting(0.0, "base of the angles from there on; 0: as before", ge=0)


class ParallelSettings(Settings):
    """The processes of a run that torchrun started, as a grid: their product divides the number of processes, and
    what is left over shares rows and, by FSDP, weights and moments."""

    tensor: int = setting(1, "processes that share heads and hidden width of a block; divides kv_heads", ge=1)
    context: int = setting(1, "processes that share the positions of a row, by ring attention", ge=1)
    expert: int = setting(1, "processes that share the experts; divides experts", ge=1)
    pipeline: int = setting(1, "processes that share the blocks, one after the other (1F1B)", ge=1)


class TrainSettings(Settings):
    """A training run. The budget is `tokens`, or `minutes`, or the tokens of the mixture, or without one an epoch."""

    size: str = setting("5m", "parameters of the model, as 5m, 60m or 1b; the model.* settings refine it")
    seed: int = setting(1, "of the initial weights and of the data order", ge=0)
    tokens: int = setting(0, "budget; scales the phases of a mixture", unit="tokens", ge=0)
    minutes: float = setting(
        0.0, "budget as time: ten steps are timed, then it is fixed in tokens", unit="minutes", ge=0
    )
    sequence_length: int = setting(0, "length of a row", unit="tokens", ge=0)
    batch_rows: int = setting(16, "rows in a step", unit="rows", ge=1)
    micro_rows: int = setting(
        0, "rows in one forward pass of all processes; 0: batch_rows, less with a pipeline", unit="rows", ge=0
    )
    objective: Literal["next_token", "masked_diffusion"] = setting("next_token", "what the model learns to predict")
    precision: Precision = setting("auto", "of the products; weights and optimizer are fp32")
    document_mask: bool | None = setting(None, "no attention across documents of a row; null: where it is free")
    loss_chunk: int = setting(0, "positions whose logits are in memory at once; 0: 256, on a GPU 4,096", ge=0)
    recompute: bool = setting(False, "backward computes every block again: less memory, a third more time")
    compile: bool | None = setting(None, "compile blocks by torch.compile; null: on a GPU, without messages in blocks")
    max_epochs: float = setting(
        4.0, "passes over a source at most, where the mixture does not say", unit="epochs", gt=0
    )
    save_every: int = setting(200, "a checkpoint after so many steps, and at the end", unit="steps", ge=1)
    keep: int = setting(2, "how many checkpoints stay, those at the ends of wsd_s periods apart", ge=1)
    threads: int = setting(0, "CPU threads; 0 takes all", ge=0)
    device: str = setting("auto", "cpu, cuda, or auto: cuda where there is one")
    verify: bool = setting(False, "check the checksums of all token shards before the start")
    peak_tflops: float = setting(0.0, "peak that MFU is a part of; 0: measured at the start", unit="TFLOP/s", ge=0)
    watch: list[Literal["tensorboard", "wandb"]] = setting([], "where metrics also go, beside metrics.jsonl")
    model: ModelSettings = Field(default=ModelSettings(), description="the shape of the model")
    optim: OptimSettings = Field(default=OptimSettings(), description="the optimizer")
    long: LongSettings = Field(default=LongSettings(), description="a last part in longer rows")
    parallel: ParallelSettings = Field(default=ParallelSettings(), description="the grid of processes")


class Shape(Settings):
    """The complete shape of a model; stands in every checkpoint. Fields as in ModelSettings."""

    vocab_size: int
    sequence_length: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    tied: bool
    norm: Literal["rms", "layer"] = "rms"
    activation: Literal["swiglu", "gelu"] = "swiglu"
    positions: Literal["rotary", "learned"] = "rotary"
    bias: bool = False
    rope_theta: float = 10_000.0
    rope_scaling: Literal["none", "linear", "ntk", "yarn"] = "none"
    rope_factor: float = 1.0
    rope_original: int = 0
    qk_norm: bool = False
    window: int = 0
    softcap: float = 0.0
    norm_eps: float = 1e-5
    experts: int = 0
    experts_per_token: int = 2
    shared_expert: bool = False
    router: Literal["softmax", "sigmoid"] = "softmax"
    balance: Literal["loss", "bias", "none"] = "loss"
    balance_weight: float = 0.01
    router_z_weight: float = 0.001
    causal: bool = True  # false in masked diffusion, whose mask is the last id

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def load_settings(path: str | Path | None, assignments: tuple[str, ...] = (), **given: Any) -> TrainSettings:
    """Settings from a YAML file, then KEY=VALUE assignments, then keyword values that are not None.

    Raises ConfigError naming file, line and key, with the nearest known key.
    """
    document = load_yaml(path) if path else Document({}, "", {})
    data: Any = {} if document.data is None else document.data
    if not isinstance(data, dict):
        return validate(TrainSettings, data, document)  # ConfigError
    for text in assignments:
        flag = f"--set {text}"
        document.changed(assign(data, *parse_assignment(text), TrainSettings, flag), flag)
    for key, value in given.items():
        if value is not None:
            document.changed(assign(data, [key], value, TrainSettings), f"--{key} {value}")
    return validate(TrainSettings, data, document)


def resolve(settings: TrainSettings, device: str, fast_bf16: bool) -> TrainSettings:
    """`settings` with everything filled in that size, family and machine decide; `tokens` stays as it is.

    device: "cpu" or "cuda". fast_bf16: whether bf16 products are faster than fp32 there. Raises ConfigError
    where the fields do not fit together.
    """
    if not is_size(settings.size):
        raise ConfigError(f'size: must be a number of parameters such as 5m, 124m or 1b, found "{settings.size}"')
    preset, optim = preset_of(settings.size), settings.optim
    usual_rate = preset.learning_rate * (MUON_RATE if optim.optimizer == "muon" else 1)
    length = settings.sequence_length or preset.sequence_length
    # A pipeline is busy while there are several micro-batches on the way: up to twice its stages.
    stages = settings.parallel.pipeline
    parts = max(n for n in range(1, 2 * stages + 1) if n == 1 or (stages > 1 and settings.batch_rows % n == 0))
    micro = settings.micro_rows or settings.batch_rows // parts
    if settings.long.factor > 1 and (settings.model.family == "gpt2" or settings.model.rope_scaling != "none"):
        raise ConfigError("long.factor: needs rotary positions that are not scaled before: family=llama")
    if settings.objective == "masked_diffusion" and settings.model.window:
        raise ConfigError("model.window: masked diffusion looks both ways and has no window")
    if settings.batch_rows % micro:
        raise ConfigError(f"micro_rows: {micro} does not divide batch_rows, which is {settings.batch_rows}")
    mask, precision, grid = settings.document_mask, settings.precision, settings.parallel
    messages = grid.tensor * grid.context * grid.expert > 1  # within blocks, which torch.compile does not join
    return settings.model_copy(
        update={
            "model": resolve_model(settings.model, settings.size, length),
            "optim": optim.model_copy(update={"learning_rate": optim.learning_rate or usual_rate}),
            "sequence_length": length,
            "micro_rows": micro,
            "precision": ("bf16" if fast_bf16 else "fp32") if precision == "auto" else precision,
            "document_mask": device == "cpu" if mask is None else mask,
            "loss_chunk": settings.loss_chunk or (256 if device == "cpu" else 4096),
            "compile": device != "cpu" and not messages if settings.compile is None else settings.compile,
        }
    )


def resolve_model(model: ModelSettings, size: str, sequence_length: int) -> ModelSettings:
    """The shape with everything filled in that size and family decide. Raises ConfigError as `resolve`."""
    preset, family = preset_of(size), FAMILIES[model.family]
    shape: dict[str, Any] = {key: value for key, value in family.items() if getattr(model, key) is None}
    for name in ("layers", "width", "heads", "kv_heads", "ffn_width"):
        shape[name] = getattr(model, name) or getattr(preset, name)
    if model.family == "gpt2":  # multi-head attention, and a hidden width of 4 * width
        shape["kv_heads"] = model.kv_heads or shape["heads"]
        shape["ffn_width"] = model.ffn_width or 4 * shape["width"]
    if model.tied is None:
        shape["tied"] = preset.tied or model.family == "gpt2"
    if model.rope_scaling != "none":
        shape["rope_original"] = model.rope_original or math.ceil(sequence_length / model.rope_factor)
    resolved = model.model_copy(update=shape)
    check_shape(resolved)
    return resolved


def check_shape(model: ModelSettings) -> None:
    """Raise ConfigError where the fields of a complete shape do not fit together."""
    for whole, part in (("width", "heads"), ("heads", "kv_heads")):
        if getattr(model, whole) % getattr(model, part):
            raise ConfigError(
                f"model.{part}: {getattr(model, part)} does not divide model.{whole}, which is {getattr(model, whole)}"
            )
    if model.positions == "rotary" and model.width // model.heads % 2:
        raise ConfigError(
            f"model.heads: {model.heads} heads in a width of {model.width} give an odd head dimension; "
            "rotary angles need an even one"
        )
    if model.rope_scaling != "none" and (model.positions != "rotary" or model.rope_factor == 1):
        raise ConfigError(
            f"model.rope_scaling: {model.rope_scaling} needs rotary positions and a model.rope_factor above 1"
        )
    if model.experts and (model.activation != "swiglu" or model.bias):
        raise ConfigError("model.experts: experts are SwiGLU layers without biases; use the family llama")
    if model.experts and model.experts_per_token > model.experts:
        raise ConfigError(
            f"model.experts_per_token: {model.experts_per_token} of model.experts, which is {model.experts}"
        )


def shape_of(settings: TrainSettings, vocab_size: int) -> Shape:
    """The model's shape from resolved settings and the vocabulary of the shards."""
    fields = settings.model.model_dump(exclude={"family"})
    causal = settings.objective == "next_token"
    size = vocab_size if causal else vocab_size + 1  # the mask
    return Shape(vocab_size=size, sequence_length=settings.sequence_length, causal=causal, **fields)


def inherit(asked: TrainSettings, origin: TrainSettings) -> TrainSettings:
    """`asked` with the shape of the model that a run starts from, but for the model.* settings that were given."""
    defaults = ModelSettings()
    given = {name: value for name, value in asked.model if value != getattr(defaults, name)}
    length = asked.sequence_length or origin.sequence_length
    shape = {"size": origin.size, "model": origin.model.model_copy(update=given), "sequence_length": length}
    if asked.objective == TrainSettings().objective:
        shape["objective"] = origin.objective
    return asked.model_copy(update=shape)


def adopt(asked: TrainSettings, recorded: TrainSettings, out: Path) -> TrainSettings:
    """The recorded settings, with the execution settings asked for now; the way a run is resumed.

    A setting left to the machine (zero, null, auto) takes what was recorded. Raises ResumeError naming every
    other key that differs.
    """
    before, defaults, differences = _flat(recorded), _flat(TrainSettings()), []
    for key, now in _flat(asked).items():
        left_open = now == defaults[key] and now in (0, None, "auto", [])
        if key.split(".")[0] not in EXECUTION and now != before[key] and not left_open:
            differences.append(f"  {key}: {before[key]} before, {now} now")
    if differences:
        listing = "\n".join(differences)
        raise ResumeError(
            f"{out} holds a run with other settings:\n{listing}\nGive the same settings, or another --out folder."
        )
    execution = {key: getattr(asked, key) for key in EXECUTION if getattr(asked, key) not in (0, None, "auto", [])}
    execution["parallel"] = asked.parallel  # its defaults are a choice too
    return recorded.model_copy(update=execution)


def _flat(settings: Settings, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        flat.update(_flat(value, f"{name}.") if isinstance(value, Settings) else {prefix + name: value})
    return flat


def write_settings(settings: TrainSettings) -> str:
    """The resolved settings as YAML, every key written out."""
    return dump_yaml(settings.model_dump())


def read_settings(out: Path) -> TrainSettings | None:
    """The resolved settings of the run in `out`, or None where there is none."""
    path = out / SETTINGS_FILE
    if not path.exists():
        return None
    document = load_yaml(path)
    return validate(TrainSettings, document.data, document)
