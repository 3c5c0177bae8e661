"""Masked diffusion with the same backbone: every position looks at every other one, and masked ones are predicted.

Training (arXiv 2502.09992): a row draws t in (0, 1), every token of it is masked with probability p = (1 - e) t + e,
e = 0.001, and the loss is -ln of the probability of the masked tokens, divided by p, over all tokens of the row: a
bound of -ln p of the row, in expectation. The mask is the last id of the model, one beyond those of the tokenizer.

The rows of a step have their t spread evenly over (0, 1), from a beginning that step and seed decide: a step's masks
are, as its rows, a function of seed and step alone, the same for any number of processes.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.loss import IGNORE

Int = npt.NDArray[np.int64]

LEAST = 1e-3  # probability of a mask at t = 0


def noised(
    targets: Int, inputs: Int, mask: int, seed: int, step: int, place: int = 0, places: int = 1
) -> tuple[Int, npt.NDArray[np.float32]]:
    """(inputs, weights) of a step's rows as they are trained on: some tokens masked, every token the target at its own
    place; weights are 1 / p at masked positions, 0 elsewhere.

    targets, inputs: of the step's rows every `places`-th from `place` on, as packing gives them; where a target is
    IGNORE the input stays.
    """
    rows, length = targets.shape
    key = int.from_bytes(hashlib.sha256(f"{seed}:masks:{step}".encode()).digest()[:8], "little")
    rng = np.random.default_rng(key)
    t = (rng.random() + np.arange(rows * places) / (rows * places)) % 1
    drawn = rng.random((rows * places, length))[place::places]
    p = ((1 - LEAST) * t + LEAST)[place::places, None]
    masked = (drawn < p) & (targets != IGNORE)
    known = np.where(targets == IGNORE, inputs, targets)
    return np.where(masked, mask, known), (masked / p).astype(np.float32)


def draw(targets_BT: Tensor, inputs_BT: Tensor, mask: int, number: int, of: int) -> tuple[Tensor, Tensor]:
    """(inputs, weights) of the number-th of some draws for an estimate, whose t are spread evenly over (0, 1).

    The same positions are masked in every row, so that an estimate does not depend on what is estimated beside it.
    """
    generator = torch.Generator().manual_seed(number)
    p = (1 - LEAST) * (number + 0.5) / of + LEAST
    here_T = (torch.rand(targets_BT.shape[1], generator=generator) < p).to(targets_BT.device)
    known_BT = torch.where(targets_BT == IGNORE, inputs_BT, targets_BT)
    masked_BT = here_T & (targets_BT != IGNORE)
    return torch.where(masked_BT, mask, known_BT), masked_BT.float() / p
