"""The one dial: a number of parameters, and the shape that it stands for.

Seven sizes are tabled; any other is derived by the same proportions: a width of about 64 times the layers, heads 64
wide (128 from 1 G on), at most four key and value heads, a hidden width of 8/3 of the width. Parameters come out
within 3 % of what was asked, with a vocabulary of 8,192 (32,768 from 50 M on); below 2 M as near as can be.
"""

import re
from functools import cache
from typing import Any, NamedTuple


class SizePreset(NamedTuple):
    """The values that a size gives to the fields left open."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    sequence_length: int
    tied: bool
    learning_rate: float  # of AdamW


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

# Muon's learning rate is so many times that of the table. Of 1, 2 and 4 this is the best for the size 5m over 28 and
# over 118 steps of 4,096 tokens (benchmarks/trainer.md); the difference to 2 gets smaller with the steps.
MUON_RATE = 4.0

# What a family gives to the fields left open, beside the widths (config.resolve_model).
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": False},
    "gpt2": {"norm": "layer", "activation": "gelu", "positions": "learned", "bias": True},
}

_SIZE = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)([mb])")
LARGEST = 20e9


def is_size(name: str) -> bool:
    """Whether `preset_of` knows the size: one of the table, or as 60m, 2.7b up to 20b."""
    found = _SIZE.fullmatch(name)
    return name in SIZES or (found is not None and 1e5 <= _count(name) <= LARGEST)


def _count(name: str) -> float:
    found = _SIZE.fullmatch(name)
    assert found is not None
    return float(found[1]) * (1e6 if found[2] == "m" else 1e9)


def parameters(preset: SizePreset, vocab_size: int) -> int:
    """Parameters of the preset's Llama-shaped model, norms left out."""
    head_width = preset.width // preset.heads
    attention = 2 * preset.width**2 + 2 * preset.width * preset.kv_heads * head_width
    block = attention + 3 * preset.width * preset.ffn_width
    return preset.layers * block + (1 if preset.tied else 2) * vocab_size * preset.width


@cache
def preset_of(name: str) -> SizePreset:
    """The shape of a size: from the table, or derived; `is_size(name)` holds."""
    if name in SIZES:
        return SIZES[name]
    wanted = _count(name)
    vocab_size = 8192 if wanted < 50e6 else 32_768
    step = 64 if wanted < 50e6 else 128 if wanted < 1e9 else 512
    shapes = [
        _derive(width, layers, wanted)
        for width in range(step, 8192 + 1, step)
        for layers in range(max(2, width // 128), max(4, width // 48) + 1)
    ]
    # Of shapes within 3 % of the wanted count, that whose width is nearest to 64 times its layers.
    near = [one for one in shapes if abs(parameters(one, vocab_size) / wanted - 1) < 0.03]
    if not near:
        return min(shapes, key=lambda one: abs(parameters(one, vocab_size) - wanted))
    return min(near, key=lambda one: abs(one.width / (64 * one.layers) - 1))


def _derive(width: int, layers: int, wanted: float) -> SizePreset:
    heads = max(2, width // (64 if wanted < 1e9 else 128))
    kv_heads = next(n for n in (4, 3, 2, 1) if heads % n == 0 and n < heads)
    length = 256 if wanted < 10e6 else 512 if wanted < 50e6 else 1024 if wanted < 200e6 else 2048
    rate = min(5e-3, 3e-3 * (5e6 / wanted) ** 0.5)
    return SizePreset(
        layers, width, heads, kv_heads, round(width * 8 / 3 / 16) * 16, length, wanted < 1e9, float(f"{rate:.2g}")
    )
