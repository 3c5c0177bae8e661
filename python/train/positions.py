"""Rotary positions: the angles by which queries and keys are turned, and how they are stretched for longer rows.

The angle of position t and pair i < D / 2 is t * f(i), with f(i) = theta^(-2 i / D) (arXiv 2104.09864), in the
half-split layout: the pair of x[i] is x[i + D / 2]. A model that was trained with rows of L tokens reads rows of
factor * L by one of

    linear   f(i) / factor, every position squeezed                                          (arXiv 2306.15595)
    ntk      theta * factor^(D / (D - 2)): fast pairs stay, the slowest is squeezed by factor
    yarn     pairs that turn more than 32 times in L stay, those that turn less than once are squeezed, a ramp
             between; cosine and sine are scaled by 0.1 ln(factor) + 1                        (arXiv 2309.00071)
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from train.config import Shape

YARN_FAST, YARN_SLOW = 32.0, 1.0  # turns within the original row length


class Rope(NamedTuple):
    """Cosine and sine of every position's angles, [T, D] each, or [B, 1, T, D] where rows are at unlike positions."""

    cos: Tensor
    sin: Tensor


def frequencies(shape: Shape) -> Tensor:
    """f(i) of the D / 2 pairs, radians a position, fp32."""
    width, theta, factor = shape.head_width, shape.rope_theta, shape.rope_factor
    if shape.rope_scaling == "ntk":
        theta *= factor ** (width / (width - 2))
    frequency = theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    if shape.rope_scaling == "linear":
        return frequency / factor
    if shape.rope_scaling == "yarn":

        def pair(turns: float) -> float:
            """The pair, as a fraction, that turns so often within the original row."""
            return width * math.log(shape.rope_original / (turns * 2 * math.pi)) / (2 * math.log(theta))

        low = max(math.floor(pair(YARN_FAST)), 0)
        high = min(math.ceil(pair(YARN_SLOW)), width - 1)
        ramp = ((torch.arange(width // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
        return frequency * (1 - ramp) + frequency / factor * ramp
    return frequency


def rotary(shape: Shape, positions: Tensor, dtype: torch.dtype) -> Rope:
    """Cosine and sine for positions [T] or [B, T]; the two halves of D hold the same angles.

    Angles are computed in fp32: in bf16 positions above 256 could not be told apart.
    """
    angle = positions.unsqueeze(-1).float() * frequencies(shape).to(positions.device)
    angle = torch.cat((angle, angle), dim=-1)
    if positions.dim() == 2:
        angle = angle.unsqueeze(1)
    scale = 0.1 * math.log(shape.rope_factor) + 1 if shape.rope_scaling == "yarn" else 1.0
    return Rope((angle.cos() * scale).to(dtype), (angle.sin() * scale).to(dtype))


def rotate(x_BHTD: Tensor, rope: Rope) -> Tensor:
    """Turn the pair (x[i], x[i + D/2]) of every head by its position's angle; [B, H, T, D] -> the same shape.

    The product of a turned query and a turned key then depends on the distance of their positions alone.
    """
    left, right = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * rope.cos + torch.cat((-right, left), dim=-1) * rope.sin
