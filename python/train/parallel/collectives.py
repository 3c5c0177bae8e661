"""Messages between the processes of a group that a gradient can pass; in a group of one they are nothing.

A tensor is either the same in every process of a group (its gradient is then also the same in every one), or every
process has its own. The four functions lead from the one to the other:

    copied    same -> used by each in its own way; the gradients of all are summed
    reduced   a summand of each -> their sum, the same in all; its gradient is that of every summand
    taken     same -> the part of each; the gradients of the parts are put together
    gathered  a part of each -> all parts, the same in all; of its gradient each takes its part
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from train.parallel.mesh import Group


def all_sum(x: Tensor, group: Group) -> Tensor:
    """The sum over the group, without gradient."""
    if group.size == 1:
        return x
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group.handle)
    return total


def all_parts(x: Tensor, group: Group) -> list[Tensor]:
    """The tensors of all processes, of one shape, without gradient."""
    if group.size == 1:
        return [x]
    parts = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(group.size)]
    dist.all_gather(parts, x.detach().contiguous(), group=group.handle)
    return parts


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return all_sum(grad, ctx.group), None


class _Reduced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        return all_sum(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return x.chunk(group.size, dim)[group.rank].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return torch.cat(all_parts(grad, ctx.group), ctx.dim), None, None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return torch.cat(all_parts(x, group), dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.chunk(ctx.group.size, ctx.dim)[ctx.group.rank].contiguous(), None, None


class _Exchanged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sent: list[int], received: list[int], group: Group) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _exchange(x, sent, received, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange(grad, ctx.received, ctx.sent, ctx.group), None, None, None


def _exchange(x: Tensor, sent: list[int], received: list[int], group: Group) -> Tensor:
    result = torch.empty((sum(received), *x.shape[1:]), dtype=x.dtype, device=x.device)
    dist.all_to_all_single(result, x.detach().contiguous(), received, sent, group=group.handle)
    return result


def copied(x: Tensor, group: Group) -> Tensor:
    """See above."""
    result: Tensor = _Copied.apply(x, group) if group.size > 1 else x
    return result


def reduced(x: Tensor, group: Group) -> Tensor:
    """See above."""
    result: Tensor = _Reduced.apply(x, group) if group.size > 1 else x
    return result


def taken(x: Tensor, group: Group, dim: int) -> Tensor:
    """See above; the group divides the dimension."""
    result: Tensor = _Taken.apply(x, group, dim) if group.size > 1 else x
    return result


def gathered(x: Tensor, group: Group, dim: int) -> Tensor:
    """See above; parts are of one size."""
    result: Tensor = _Gathered.apply(x, group, dim) if group.size > 1 else x
    return result


def exchanged(x: Tensor, sent: list[int], received: list[int], group: Group) -> Tensor:
    """Rows of x, the first sent[0] to the first process, the next sent[1] to the second …; what came, in that order."""
    result: Tensor = _Exchanged.apply(x, sent, received, group) if group.size > 1 else x
    return result
