"""Keys and values of the positions seen so far, for rows of different lengths.

Row b is filled up to lengths[b]. New tokens of a row follow what it holds, wherever the other rows end: prompts of
different lengths are given padded at their right end with the count of real tokens, the padding is written where the
next tokens will be, and no query looks beyond its own position. So every token has the position that it has alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from train.config import Shape


class Cache:
    """A pair of tensors [B, K, capacity, D] a block.

    2 * layers * B * K * capacity * D numbers in all: 0.5 MB in bf16 for a row of 256 positions of the 5 M model.
    """

    def __init__(self, shape: Shape, rows: int, capacity: int, dtype: torch.dtype, device: torch.device | str) -> None:
        size = (rows, shape.kv_heads, capacity, shape.head_width)
        self.keys_BKSD = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.values_BKSD = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.lengths = [0] * rows

    def positions(self, new: int) -> Tensor:
        """Positions [B, T] of `new` tokens a row."""
        starts = torch.tensor(self.lengths, device=self.keys_BKSD[0].device)
        return starts.unsqueeze(1) + torch.arange(new, device=starts.device)

    def append(self, layer: int, key_BKTD: Tensor, value_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store T new positions of a block; returns its keys and values [B, K, S, D] up to the longest row's end.

        `lengths` stay as they are: the model raises them when the last block is done.
        """
        new = key_BKTD.shape[2]
        at_BT = self.positions(new)
        row_B1 = torch.arange(len(self.lengths), device=at_BT.device).unsqueeze(1)
        # Indexed on both sides of K, so that the indexed dimensions come first: [B, T, K, D].
        self.keys_BKSD[layer][row_B1, :, at_BT] = key_BKTD.transpose(1, 2)
        self.values_BKSD[layer][row_B1, :, at_BT] = value_BKTD.transpose(1, 2)
        end = max(self.lengths) + new
        return self.keys_BKSD[layer][:, :, :end], self.values_BKSD[layer][:, :, :end]

    def advance(self, counts: Sequence[int]) -> None:
        """Rows have grown by so many tokens."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]

    def row(self, row: int) -> "Cache":
        """An empty cache of one row that writes into the memory of row `row` of this one."""
        part = object.__new__(Cache)
        part.keys_BKSD = [keys[row : row + 1] for keys in self.keys_BKSD]
        part.values_BKSD = [values[row : row + 1] for values in self.values_BKSD]
        part.lengths = [0]
        return part

    def keep(self, rows: Sequence[int]) -> "Cache":
        """A cache of these rows alone, copied; for rows that have ended, and for many continuations of one prompt."""
        part = object.__new__(Cache)
        index = torch.tensor(rows, device=self.keys_BKSD[0].device)
        part.keys_BKSD = [keys[index] for keys in self.keys_BKSD]
        part.values_BKSD = [values[index] for values in self.values_BKSD]
        part.lengths = [self.lengths[row] for row in rows]
        return part
