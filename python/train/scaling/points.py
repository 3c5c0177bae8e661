"""Points of a scaling study: what a run cost and reached, a JSON line each, with parameters counted in three ways.

    {"run": "5m-s1", "size": "5m", "seed": 1, "flops": 1e14, "tokens": 3276800, "unique_tokens": 9000000,
     "loss": 3.21, "standard_error": 0.02, "bits_per_byte": 1.31, "seconds": 61.0,
     "parameters": {"with_head": 4600000, "all": 5000000, "no_embedding": 2900000}}

    with_head       matrices of the blocks and of the head: what multiplies, the straightest law in nanochat's runs
    all             everything
    no_embedding    neither embedding nor head, as Kaplan counts

Files made elsewhere need flops, tokens, loss and parameters alone; a single number of parameters counts for all ways.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curate.errors import ConfigError, DataError
from train.config import Shape
from train.metrics import operations
from train.model import Model
from train.scaling.fit import Points

COUNTS = ("with_head", "all", "no_embedding")
FILE = "points.jsonl"


def counts(shape: Shape) -> dict[str, int]:
    """Parameters of a shape in the three ways; no memory is taken for them."""
    model = Model(shape, torch.device("meta"))
    every = sum(p.numel() for p in model.parameters())
    embedding = model.embedding.weight.numel()
    head = 0 if shape.tied else model.head.weight.numel()
    positions = model.position_embedding.weight.numel() if model.position_embedding is not None else 0
    inner = every - embedding - head - positions
    return {"with_head": inner + embedding, "all": every, "no_embedding": inner}


def cost_of(shape: Shape) -> float:
    """Operations of forward and backward, a token."""
    return operations(shape)


def read_points(path: Path) -> list[dict[str, Any]]:
    """The points of a file. Raises ConfigError where there is none, DataError naming the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: no points: {getattr(error, 'strerror', error)}; `train scaling run` makes them"
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            found.append(_point(line, f"{path}:{number}"))
    if not found:
        raise ConfigError(f"{path} holds no points; `train scaling run` makes them")
    return found


def _point(line: str, place: str) -> dict[str, Any]:
    try:
        point = json.loads(line)
        given = point["parameters"]
        point["parameters"] = given if isinstance(given, dict) else dict.fromkeys(COUNTS, given)
        values = [point["flops"], point["tokens"], point["loss"], *(point["parameters"][key] for key in COUNTS)]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: not a point: {type(error).__name__} {error}; it needs flops, tokens, loss, parameters"
        ) from None
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise DataError(f"{place}: flops, tokens, loss and parameters must be numbers above 0, found {value!r}")
    point.setdefault("unique_tokens", point["tokens"])
    return dict(point)


def arrays(points: list[dict[str, Any]], count: str) -> Points:
    """The points as arrays, with the parameters of one way of counting."""
    columns = (
        [p["parameters"][count] for p in points],
        *([p[key] for p in points] for key in ("tokens", "loss", "flops")),
    )
    n, d, loss, flops = (np.array(column, dtype=np.float64) for column in columns)
    unique = np.minimum(d, np.array([p["unique_tokens"] for p in points], dtype=np.float64))
    return Points(n, d, loss, flops, unique)
