"""Linear layer and cross-entropy in one, a chunk of positions at a time, so that logits never fill the memory.

At 4,096 positions and a vocabulary of 8,192 the logits take 128 MiB in fp32 and as much again for their gradient;
in chunks of 256 positions they take 8 MiB and stay in the cache. The gradient is computed in the forward pass,
while a chunk's logits are at hand: d loss / d logits = softmax - one-hot, so that backward only multiplies by a
scalar. Logits are in the compute dtype, their softmax and both sums in fp32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -1  # the target of a position that counts for nothing: padding


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, weight_VC: Tensor, target_N: Tensor, chunk: int) -> Tensor:
        w_VC = weight_VC.to(x_NC.dtype)
        total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
        grad_x_NC = torch.empty_like(x_NC) if ctx.needs_input_grad[0] else None
        grad_w_VC = torch.zeros_like(weight_VC) if ctx.needs_input_grad[1] else None
        for start in range(0, x_NC.shape[0], chunk):
            x_nC, target_n = x_NC[start : start + chunk], target_N[start : start + chunk]
            counts_n1 = (target_n != IGNORE).unsqueeze(1)
            index_n1 = target_n.clamp(min=0).unsqueeze(1)
            logp_nV = F.log_softmax(F.linear(x_nC, w_VC), dim=-1, dtype=torch.float32)
            total -= (logp_nV.gather(1, index_n1) * counts_n1).sum()
            if grad_x_NC is None and grad_w_VC is None:
                continue
            grad_nV = logp_nV.exp_()
            grad_nV.scatter_add_(1, index_n1, torch.full_like(index_n1, -1, dtype=torch.float32))
            grad_nV = (grad_nV * counts_n1).to(x_NC.dtype)
            if grad_x_NC is not None:
                torch.mm(grad_nV, w_VC, out=grad_x_NC[start : start + chunk])
            if grad_w_VC is not None:
                grad_w_VC += grad_nV.T @ x_nC
        ctx.save_for_backward(grad_x_NC, grad_w_VC)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_x_NC, grad_w_VC = ctx.saved_tensors
        return (
            None if grad_x_NC is None else grad_x_NC * grad.to(grad_x_NC.dtype),
            None if grad_w_VC is None else grad_w_VC * grad,
            None,
            None,
        )


def linear_cross_entropy(x_BTC: Tensor, weight_VC: Tensor, target_BT: Tensor, chunk: int = 256) -> Tensor:
    """Sum over positions of -log softmax(x @ weight.T)[target], in nats, fp32 scalar.

    Positions whose target is IGNORE count for nothing. `chunk` positions are computed at once. The caller divides
    by the number of tokens of the whole step, so that micro-batches of unlike fill weigh what they hold.
    """
    loss: Tensor = _LinearCrossEntropy.apply(x_BTC.flatten(0, -2), weight_VC, target_BT.flatten(), chunk)
    return loss


@torch.no_grad()
def token_nats(x_BTC: Tensor, weight_VC: Tensor, target_BT: Tensor, chunk: int = 256) -> Tensor:
    """-log softmax(x @ weight.T)[target] of every position [B, T], nats, fp32; 0 where the target is IGNORE."""
    w_VC = weight_VC.to(x_BTC.dtype)
    nats_N = []
    x_NC, target_N = x_BTC.flatten(0, -2), target_BT.flatten()
    for start in range(0, len(target_N), chunk):
        logits_nV = F.linear(x_NC[start : start + chunk], w_VC).float()
        target_n = target_N[start : start + chunk]
        nats_N.append(F.cross_entropy(logits_nV, target_n, ignore_index=IGNORE, reduction="none"))
    return torch.cat(nats_N).view(target_BT.shape)
