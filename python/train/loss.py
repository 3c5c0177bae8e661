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
    def forward(
        ctx: Any,
        x_NC: Tensor,
        weight_VC: Tensor,
        target_N: Tensor,
        chunk: int,
        z_weight: float,
        softcap: float,
        scale_N: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        w_VC = weight_VC.to(x_NC.dtype)
        total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
        nats_N = torch.empty(x_NC.shape[0], dtype=torch.float32, device=x_NC.device)
        grad_x_NC = torch.empty_like(x_NC) if ctx.needs_input_grad[0] else None
        grad_w_VC = torch.zeros_like(weight_VC) if ctx.needs_input_grad[1] else None
        for start in range(0, x_NC.shape[0], chunk):
            here = slice(start, start + chunk)
            x_nC, target_n = x_NC[here], target_N[here]
            counts_n = (target_n != IGNORE).float()
            logits_nV, bend_nV = F.linear(x_nC, w_VC), None
            if softcap:
                tanh_nV = torch.tanh(logits_nV.float() / softcap)
                logits_nV, bend_nV = tanh_nV * softcap, 1 - tanh_nV * tanh_nV
            p_nV = torch.softmax(logits_nV, -1, dtype=torch.float32)
            # ln sum exp, by way of the likeliest token: at least as likely as 1 / V, its logarithm loses nothing.
            log_z_n = logits_nV.amax(-1).float() - p_nV.amax(-1).log()
            index_n1 = target_n.clamp(min=0).unsqueeze(1)
            nats_n = (log_z_n - logits_nV.gather(1, index_n1).squeeze(1).float()) * counts_n
            nats_N[here] = nats_n
            if scale_N is not None:
                counts_n = counts_n * scale_N[here]
            total += (counts_n * (nats_n + z_weight * log_z_n.square())).sum()
            if grad_x_NC is None and grad_w_VC is None:
                continue
            # slope * (softmax - one-hot / bent); the slope of a position is left to the narrow side of the products.
            bent_n = 1 + 2 * z_weight * log_z_n
            slope_nC = (counts_n * bent_n).to(x_NC.dtype).unsqueeze(1)
            grad_nV = p_nV.scatter_add_(1, index_n1, -1 / bent_n.unsqueeze(1))
            if bend_nV is not None:
                grad_nV.mul_(bend_nV)
            grad_nV = grad_nV.to(x_NC.dtype)
            if grad_x_NC is not None:
                torch.mm(grad_nV, w_VC, out=grad_x_NC[here]).mul_(slope_nC)
            if grad_w_VC is not None and grad_w_VC.dtype == grad_nV.dtype:
                grad_w_VC.addmm_(grad_nV.T, x_nC * slope_nC)
            elif grad_w_VC is not None:
                grad_w_VC += grad_nV.T @ (x_nC * slope_nC)
        ctx.save_for_backward(grad_x_NC, grad_w_VC)
        ctx.mark_non_differentiable(nats_N)
        return total, nats_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grad_x_NC, grad_w_VC = ctx.saved_tensors
        return (
            None if grad_x_NC is None else grad_x_NC * grad.to(grad_x_NC.dtype),
            None if grad_w_VC is None else grad_w_VC * grad,
            *(None,) * 5,
        )


def linear_cross_entropy(
    x_BTC: Tensor,
    weight_VC: Tensor,
    target_BT: Tensor,
    chunk: int = 256,
    z_weight: float = 0.0,
    softcap: float = 0.0,
    scale_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(sum over positions of the loss, fp32 scalar; -ln softmax(x @ weight.T)[target] of each, nats, [B, T]).

    The loss of a position is its nats plus z_weight * (ln sum exp)^2, times its scale where there is one. Positions
    whose target is IGNORE count for nothing. `chunk` positions are computed at once. softcap > 0 bends the scores to
    softcap * tanh(scores / softcap). The caller divides by the number of tokens of the whole step, so that
    micro-batches of unlike fill weigh what they hold.
    """
    scale_N = None if scale_BT is None else scale_BT.flatten()
    total, nats_N = _LinearCrossEntropy.apply(
        x_BTC.flatten(0, -2), weight_VC, target_BT.flatten(), chunk, z_weight, softcap, scale_N
    )
    return total, nats_N.view(target_BT.shape)
