"""AdamW with linear warm-up and cosine decay; its only state are two moments a parameter, kept by name.

    m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2        (arXiv 1711.05101)
    w = w - rate * decay * w - rate * (m / (1 - beta1^n)) / (root(v / (1 - beta2^n)) + eps)

n and the rate follow from the step number. Decay falls on matrices only, the embedding among them; norms are
vectors. One fused kernel updates 5 M parameters in about 5 ms on one core. It is called directly, because building
an optimizer of torch.optim imports a compiler: 4 s, longer than the first step.
"""

import math

import torch
from torch import Tensor, nn

from train.config import OptimSettings


def learning_rate(step: int, steps: int, settings: OptimSettings) -> float:
    """Of step 0 <= step < steps: up in a line to the peak, then half a cosine down to final_fraction of it."""
    peak, warmup = settings.learning_rate, min(settings.warmup_steps, steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    low = settings.final_fraction
    return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class AdamW:
    """`mean` and `square` are the moments by parameter name, of the parameters' shapes, fp32."""

    def __init__(self, model: nn.Module, settings: OptimSettings) -> None:
        self.settings = settings
        self.parameters = dict(model.named_parameters())
        self.mean = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.square = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int, rate: float) -> Tensor:
        """Update number `step`, from 0, by the gradients, which are cleared; returns their norm before clipping."""
        settings = self.settings
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip or math.inf)
        for matrices in (True, False):
            names = [name for name, p in self.parameters.items() if (p.dim() >= 2) == matrices]
            weights: list[Tensor] = [self.parameters[name] for name in names]
            torch._fused_adamw_(
                weights,
                [p.grad for p in weights if p.grad is not None],
                [self.mean[name] for name in names],
                [self.square[name] for name in names],
                [],
                [torch.tensor(step + 1.0, device=p.device) for p in weights],
                lr=rate,
                beta1=settings.beta1,
                beta2=settings.beta2,
                weight_decay=settings.weight_decay if matrices else 0.0,
                eps=settings.eps,
                amsgrad=False,
                maximize=False,
            )
        for p in self.parameters.values():
            p.grad = None
        return norm

    def state(self) -> dict[str, Tensor]:
        """The moments as `mean.<parameter>` and `square.<parameter>`; the tensors themselves, not copies."""
        moments = {"mean": self.mean, "square": self.square}
        return {f"{kind}.{name}": tensor for kind, tensors in moments.items() for name, tensor in tensors.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the values that `state` gave."""
        for key, tensor in self.state().items():
            tensor.copy_(tensors[key])
