"""Settings of a training run: a named size, explicit fields that refine it, and what a resumed run may change.

A zero, a null or `auto` leaves a field to the size, the data or the machine. `resolve` fills those in once; the result
is written to OUT/train.yaml, and a resumed run takes it from there.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from curate.config import Document, Settings, assign, dump_yaml, load_yaml, parse_assignment, setting, validate
from curate.errors import ConfigError, ResumeError

Size = Literal["tiny", "1m", "5m", "16m", "124m", "350m", "1b"]
Precision = Literal["auto", "bf16", "fp32"]

SETTINGS_FILE = "train.yaml"


class SizePreset(NamedTuple):
    """The values that a size gives to the fields left open."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    sequence_length: int
    tied: bool
    learning_rate: float


# In the comments: parameters, and the vocabulary they are counted with.
SIZES: dict[str, SizePreset] = {
    "tiny": SizePreset(2, 64, 2, 1, 176, 128, True, 5e-3),  # 0.35 M, 4,096
    "1m": SizePreset(4, 128, 4, 2, 352, 128, True, 4e-3),  # 1.0 M, 2,048
    "5m": SizePreset(4, 256, 4, 2, 688, 256, True, 3e-3),  # 5.0 M, 8,192
    "16m": SizePreset(6, 384, 6, 2, 1024, 512, True, 2e-3),  # 12 M, 8,192
    "124m": SizePreset(12, 768, 12, 4, 2048, 1024, True, 6e-4),  # 101 M, 32,768
    "350m": SizePreset(24, 1024, 16, 4, 2816, 2048, True, 4e-4),  # 341 M, 32,768
    "1b": SizePreset(22, 2048, 32, 4, 5632, 2048, False, 4e-4),  # 1.10 G, 32,000
}

# Settings that a resumed run may change. They do not change the model that comes out, but for `threads` and `device`,
# which change the last bits of sums.
EXECUTION = frozenset({"threads", "device", "save_every", "keep", "verify"})


class ModelSettings(Settings):
    """The shape of the model; a zero takes the value that `size` stands for."""

    layers: int = setting(0, "blocks", ge=0)
    width: int = setting(0, "width of the residual stream", ge=0)
    heads: int = setting(0, "query heads; the head dimension is width / heads", ge=0)
    kv_heads: int = setting(0, "key and value heads; divides heads", ge=0)
    ffn_width: int = setting(0, "hidden width of the feed-forward layer", ge=0)
    tied: bool | None = setting(None, "whether the head is the embedding matrix")
    rope_theta: float = setting(10_000.0, "base of the rotary angles", gt=0)
    norm_eps: float = setting(1e-5, "added to the mean square in RMSNorm", gt=0)


class OptimSettings(Settings):
    """AdamW, linear warm-up and cosine decay."""

    learning_rate: float = setting(0.0, "peak; 0 takes the value of the size", ge=0)
    warmup_steps: int = setting(20, "linear from zero to the peak", unit="steps", ge=0)
    final_fraction: float = setting(0.1, "learning rate at the end, as a part of the peak", ge=0, le=1)
    weight_decay: float = setting(0.1, "on matrices only", ge=0)
    beta1: float = setting(0.9, "decay of the mean of gradients", ge=0, lt=1)
    beta2: float = setting(0.95, "decay of the mean of squared gradients", ge=0, lt=1)
    eps: float = setting(1e-8, "added to the root of the second moment", gt=0)
    clip: float = setting(1.0, "largest norm of the gradient; 0 for none", ge=0)


class TrainSettings(Settings):
    """A training run. The budget is `tokens`, or `minutes`, or the tokens of the mixture, or without one an epoch."""

    size: Size = setting("5m", "size of the model; the model.* settings refine it")
    seed: int = setting(1, "of the initial weights and of the data order", ge=0)
    tokens: int = setting(0, "budget; scales the phases of a mixture", unit="tokens", ge=0)
    minutes: float = setting(
        0.0, "budget as time: ten steps are timed, then it is fixed in tokens", unit="minutes", ge=0
    )
    sequence_length: int = setting(0, "length of a row", unit="tokens", ge=0)
    batch_rows: int = setting(16, "rows in a step", unit="rows", ge=1)
    micro_rows: int = setting(0, "rows in one forward pass; 0 takes batch_rows", unit="rows", ge=0)
    precision: Precision = setting("auto", "of the products; weights and optimizer are fp32")
    document_mask: bool | None = setting(None, "no attention across documents of a row; null: where it is free")
    loss_chunk: int = setting(256, "positions whose logits are in memory at once", unit="tokens", ge=1)
    max_epochs: float = setting(
        4.0, "passes over a source at most, where the mixture does not say", unit="epochs", gt=0
    )
    save_every: int = setting(200, "a checkpoint after so many steps, and at the end", unit="steps", ge=1)
    keep: int = setting(2, "how many checkpoints stay", ge=1)
    threads: int = setting(0, "CPU threads; 0 takes all", ge=0)
    device: str = setting("auto", "cpu, cuda, or auto: cuda where there is one")
    verify: bool = setting(False, "check the checksums of all token shards before the start")
    model: ModelSettings = Field(default=ModelSettings(), description="the shape of the model")
    optim: OptimSettings = Field(default=OptimSettings(), description="the optimizer")


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
    rope_theta: float
    norm_eps: float

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
    """`settings` with everything filled in that size and machine decide; `tokens` stays as it is.

    device: "cpu" or "cuda". fast_bf16: whether bf16 products are faster than fp32 there. Raises ConfigError
    where the fields do not fit together.
    """
    preset = SIZES[settings.size]
    fields = ("layers", "width", "heads", "kv_heads", "ffn_width")
    shape: dict[str, Any] = {name: getattr(settings.model, name) or getattr(preset, name) for name in fields}
    shape["tied"] = preset.tied if settings.model.tied is None else settings.model.tied
    for whole, part in (("width", "heads"), ("heads", "kv_heads")):
        if shape[whole] % shape[part]:
            raise ConfigError(f"model.{part}: {shape[part]} does not divide model.{whole}, which is {shape[whole]}")
    if shape["width"] // shape["heads"] % 2:
        raise ConfigError(
            f"model.heads: {shape['heads']} heads in a width of {shape['width']} give an odd head dimension; "
            "rotary angles need an even one"
        )
    micro = settings.micro_rows or settings.batch_rows
    if settings.batch_rows % micro:
        raise ConfigError(f"micro_rows: {micro} does not divide batch_rows, which is {settings.batch_rows}")
    mask, optim = settings.document_mask, settings.optim
    return settings.model_copy(
        update={
            "model": settings.model.model_copy(update=shape),
            "optim": optim.model_copy(update={"learning_rate": optim.learning_rate or preset.learning_rate}),
            "sequence_length": settings.sequence_length or preset.sequence_length,
            "micro_rows": micro,
            "precision": ("bf16" if fast_bf16 else "fp32") if settings.precision == "auto" else settings.precision,
            "document_mask": device == "cpu" if mask is None else mask,
        }
    )


def shape_of(settings: TrainSettings, vocab_size: int) -> Shape:
    """The model's shape from resolved settings and the vocabulary of the shards."""
    fields = settings.model.model_dump()
    return Shape(vocab_size=vocab_size, sequence_length=settings.sequence_length, **fields)


def adopt(asked: TrainSettings, recorded: TrainSettings, out: Path) -> TrainSettings:
    """The recorded settings, with the execution settings asked for now; the way a run is resumed.

    A setting left to the machine (zero, null, auto) takes what was recorded. Raises ResumeError naming every
    other key that differs.
    """
    before, defaults, differences = _flat(recorded), _flat(TrainSettings()), []
    for key, now in _flat(asked).items():
        left_open = now == defaults[key] and now in (0, None, "auto")
        if key not in EXECUTION and now != before[key] and not left_open:
            differences.append(f"  {key}: {before[key]} before, {now} now")
    if differences:
        listing = "\n".join(differences)
        raise ResumeError(
            f"{out} holds a run with other settings:\n{listing}\nGive the same settings, or another --out folder."
        )
    execution = {key: getattr(asked, key) for key in EXECUTION if getattr(asked, key) not in (0, "auto")}
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
