"""One step: gradients of the mean loss over its tokens, clipped, and applied unless the step is an outlier.

Every loss is a sum over tokens, divided by the tokens of the whole step, so that micro-batches of unlike fill weigh
what they hold, whatever number of processes computes them (processes.py). In fp16 the loss is multiplied by a power of
two before backward, so that small gradients do not vanish: halved where a gradient overflows, which skips the step,
doubled after 2,000 steps without.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from curate.errors import CurateError
from train.config import OptimSettings, TrainSettings
from train.model import Model
from train.moe import balance_by_bias
from train.optim import Optimizer, clip_, gradients
from train.packing import Batch, Weighted
from train.processes import Alone

WINDOW = 128  # steps by which outliers are judged
FIRST_SCALE, STEPS_TO_DOUBLE, LEAST_SCALE = 2.0**16, 2000, 2.0**-10


class Done(NamedTuple):
    """A step that was computed, over all processes.

    skipped: why its update was left out, empty where it was not.
    """

    loss: float
    grad_norm: float
    nats_B: npt.NDArray[np.float32]
    count_B: npt.NDArray[np.int64]
    load_LE: npt.NDArray[np.float32] | None
    skipped: str


class Stepper:
    """Computes steps; its state beside the model's and the optimizer's is small, and is saved with them."""

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        settings: TrainSettings,
        device: torch.device,
        processes: Alone | None = None,
    ) -> None:
        self.model, self.optimizer, self.settings, self.device = model, optimizer, settings, device
        self.processes = processes or Alone()
        self.outliers = Outliers(settings.optim)
        self.scale = FIRST_SCALE if settings.precision == "fp16" else 1.0
        self.good = 0  # steps since the scale changed

    def step(self, batch: Batch | Weighted, rate: float) -> Done:
        """One step at a learning rate. A loss that is not finite leaves everything as it was, and is the caller's."""
        summed = self.processes.accumulate(self.model, batch, self.settings, self.device, self.scale)
        found = gradients(self.model)
        grads = list(found.values())
        if self.scale != 1:
            torch._foreach_div_(grads, self.scale)
        norm = clip_(grads, self.settings.optim.clip, partial(self.processes.norm, list(found)))
        loss, grad_norm = torch.stack((summed.loss, norm.to(summed.loss.device))).tolist()
        skipped = self._why_not(loss, grad_norm)
        if skipped or not math.isfinite(loss) or not math.isfinite(grad_norm):
            self.optimizer.clear()
        else:
            self.optimizer.update(rate)
            if summed.load_LE is not None:
                balance_by_bias(self.model, summed.load_LE)
        load_LE = None if summed.load_LE is None else summed.load_LE.cpu().numpy()
        return Done(loss, grad_norm, summed.nats_B.cpu().numpy(), summed.count_B.cpu().numpy(), load_LE, skipped)

    def _why_not(self, loss: float, grad_norm: float) -> str:
        if self.settings.precision == "fp16" and math.isfinite(loss):
            if not math.isfinite(grad_norm):
                self.scale, self.good = self.scale / 2, 0
                if self.scale < LEAST_SCALE:
                    raise CurateError("gradients overflow fp16 at any loss scale; use precision=bf16 or fp32")
                return "overflow"
            self.good += 1
            if self.good == STEPS_TO_DOUBLE:
                self.scale, self.good = self.scale * 2, 0
        return self.outliers.judge(loss, grad_norm)

    def state(self) -> dict[str, Tensor]:
        """What the next step depends on, beside weights and moments."""
        facts = torch.tensor([self.scale, self.good], dtype=torch.float64)
        return {"step.scale": facts, "step.history": torch.from_numpy(self.outliers.history.copy())}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the values that `state` gave."""
        self.scale, good = tensors["step.scale"].tolist()
        self.good = int(good)
        self.outliers.history = tensors["step.history"].numpy().copy()


class Outliers:
    """Steps whose loss or gradient norm is far above those of the last 128 steps (as in OLMo-core's SkipStep)."""

    def __init__(self, settings: OptimSettings) -> None:
        self.deviations = settings.skip_deviations
        self.history: npt.NDArray[np.float64] = np.full((2, WINDOW), np.nan)  # losses, norms; the newest last

    def judge(self, loss: float, grad_norm: float) -> str:
        """Why the step is to be skipped, or an empty text; the step enters the history either way."""
        if not self.deviations:
            return ""
        found = ""
        for name, value, past in zip(("loss", "gradient norm"), (loss, grad_norm), self.history, strict=True):
            known = past[np.isfinite(past)]
            limit = known.mean() + self.deviations * known.std() if len(known) >= WINDOW // 2 else math.inf
            if value > limit and not found:
                found = f"{name} {value:.4g} above {limit:.4g}"
        self.history = np.concatenate((self.history[:, 1:], [[loss], [grad_norm]]), axis=1)
        return found
