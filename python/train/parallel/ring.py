"""Attention over rows whose positions lie on several processes: keys and values go round, a process a turn.

A row of T positions is cut into 2 n chunks for n processes; process r holds the chunks r and 2 n - 1 - r, so that
under a causal mask all have the same to do. Every process keeps its queries. In turn s it has the keys and values that
process r - s holds, adds what its queries see of them, and sends them on while it computes. What was seen in other
turns is scaled by the softmax's running maximum (Liu et al. 2023, arXiv 2310.01889; the sums of arXiv 2205.14135):

    out = sum_j exp(s_j - m) v_j / sum_j exp(s_j - m),    lse = m + ln sum_j exp(s_j - m)

Backward goes round once more: p = exp(s - lse) is computed again, and the gradients of keys and values travel with
them until they are home. Scores are in fp32, of `CHUNK` queries at once. Masks follow from positions and document
numbers, which every process knows of the whole row. Plain PyTorch, for CPUs with gloo and GPUs with nccl alike.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from train.parallel.mesh import Group

CHUNK = 1024  # queries whose scores are in memory at once


def positions_of(rank: int, size: int, length: int, device: torch.device | str = "cpu") -> Tensor:
    """The positions of a row of `length` that process `rank` of `size` holds, in rising order."""
    if size == 1:
        return torch.arange(length, device=device)
    chunk = length // (2 * size)
    low, high = rank * chunk, (2 * size - 1 - rank) * chunk
    return torch.cat((torch.arange(low, low + chunk, device=device), torch.arange(high, high + chunk, device=device)))


class Ring(NamedTuple):
    """What every process of a context group knows of the rows.

    length: positions of a row. documents_BT: of whole rows, None without a document mask. window: positions that
    attention looks back, 0 for all. causal: whether it looks backwards only.
    """

    group: Group
    length: int
    documents_BT: Tensor | None
    window: int
    causal: bool

    def attend(self, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor) -> Tensor:
        """Attention of the queries held here over the whole row, as in model.Attention."""
        result: Tensor = _RingAttention.apply(q_BHTD, k_BKTD, v_BKTD, self)
        return result

    def seen(self, rank: int, queries: slice, device: torch.device) -> Tensor:
        """Which keys of process `rank` some of the queries held here see, [1 or B, 1, T', S]."""
        query_T = positions_of(self.group.rank, self.group.size, self.length, device)[queries]
        key_S = positions_of(rank, self.group.size, self.length, device)
        far_TS = query_T[:, None] - key_S[None, :]
        seen_BTS = (far_TS >= 0 if self.causal else torch.ones_like(far_TS, dtype=torch.bool))[None]
        if self.window:
            seen_BTS = seen_BTS & (far_TS < self.window)
        if self.documents_BT is not None:
            seen_BTS = seen_BTS & (self.documents_BT[:, query_T, None] == self.documents_BT[:, None, key_S])
        return seen_BTS.unsqueeze(1)

    def pass_on(self, tensors: list[Tensor]) -> tuple[list[Tensor], list[dist.Work]]:
        """Start to send these to the next process and to receive those of the one before."""
        ranks, at = self.group.ranks, self.group.rank
        if len(ranks) == 1:
            return tensors, []
        after, before = ranks[(at + 1) % len(ranks)], ranks[at - 1]
        came = [torch.empty_like(one) for one in tensors]
        sends = [dist.P2POp(dist.isend, one, after, self.group.handle) for one in tensors]
        receives = [dist.P2POp(dist.irecv, one, before, self.group.handle) for one in came]
        # Every second process receives first, so that no two wait for each other.
        return came, dist.batch_isend_irecv([*sends, *receives] if at % 2 == 0 else [*receives, *sends])


def _scores(q_BHTD: Tensor, k_BKSD: Tensor, seen: Tensor) -> Tensor:
    """fp32 [B, H, T, S]; -inf where a query does not see."""
    scores = q_BHTD.float() @ _spread(k_BKSD, q_BHTD).float().transpose(-2, -1) / math.sqrt(q_BHTD.shape[-1])
    return scores.masked_fill(~seen, -math.inf)


def _spread(x_BKSD: Tensor, q_BHTD: Tensor) -> Tensor:
    """Every key or value head as often as query heads share it."""
    return x_BKSD.repeat_interleave(q_BHTD.shape[1] // x_BKSD.shape[1], 1)


def _gathered_heads(x_BHSD: Tensor, n_heads: int) -> Tensor:
    """The sum over query heads that share a key and value head."""
    batch, _, length, width = x_BHSD.shape
    return x_BHSD.view(batch, n_heads, -1, length, width).sum(2)


class _RingAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, ring: Ring) -> Tensor:
        out = torch.zeros(q_BHTD.shape, dtype=torch.float32, device=q_BHTD.device)
        top, total = (torch.full((*q_BHTD.shape[:3], 1), x, device=out.device) for x in (-math.inf, 0.0))
        here, size = [k_BKTD.contiguous(), v_BKTD.contiguous()], ring.group.size
        for turn in range(size):
            came, works = ring.pass_on(here) if turn < size - 1 else ([], [])
            k, v = here
            for start in range(0, q_BHTD.shape[2], CHUNK):
                rows = slice(start, start + CHUNK)
                q = q_BHTD[:, :, rows]
                scores = _scores(q, k, ring.seen((ring.group.rank - turn) % size, rows, q.device))
                before = top[:, :, rows]
                after = torch.maximum(before, scores.amax(-1, keepdim=True))
                safe = after.masked_fill(after == -math.inf, 0.0)  # where nothing was seen yet
                shrink, p = (before - safe).exp(), (scores - safe).exp()
                out[:, :, rows] = out[:, :, rows] * shrink + p @ _spread(v, q).float()
                total[:, :, rows] = total[:, :, rows] * shrink + p.sum(-1, keepdim=True)
                top[:, :, rows] = after
            for work in works:
                work.wait()
            here = came
        out, lse = out / total, top + total.log()
        ctx.ring = ring
        ctx.save_for_backward(q_BHTD, k_BKTD, v_BKTD, out, lse)
        return out.to(q_BHTD.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTD, k_BKTD, v_BKTD, out, lse = ctx.saved_tensors
        ring, size, n_kv = ctx.ring, ctx.ring.group.size, k_BKTD.shape[1]
        grad_q = torch.zeros(q_BHTD.shape, dtype=torch.float32, device=q_BHTD.device)
        grads = [torch.zeros(k_BKTD.shape, dtype=torch.float32, device=q_BHTD.device) for _ in range(2)]
        inner = (grad.float() * out).sum(-1, keepdim=True)
        here = [k_BKTD.contiguous(), v_BKTD.contiguous()]
        for turn in range(size):
            came, works = ring.pass_on(here) if turn < size - 1 else ([], [])
            k, v = here
            for start in range(0, q_BHTD.shape[2], CHUNK):
                rows = slice(start, start + CHUNK)
                q, slope = q_BHTD[:, :, rows], grad[:, :, rows].float()
                seen = ring.seen((ring.group.rank - turn) % size, rows, q.device)
                p = (_scores(q, k, seen) - lse[:, :, rows]).exp()
                bent = p * (slope @ _spread(v, q).float().transpose(-2, -1) - inner[:, :, rows])
                bent = bent / math.sqrt(q.shape[-1])
                grad_q[:, :, rows] += bent @ _spread(k, q).float()
                grads[0] += _gathered_heads(bent.transpose(-2, -1) @ q.float(), n_kv)
                grads[1] += _gathered_heads(p.transpose(-2, -1) @ slope, n_kv)
            for work in works:
                work.wait()
            grads, works = ring.pass_on(grads)  # after the last turn they are home
            for work in works:
                work.wait()
            here = came
        return grad_q.to(q_BHTD.dtype), grads[0].to(k_BKTD.dtype), grads[1].to(v_BKTD.dtype), None
