"""The learning rate of every step: up in a line over warmup_steps to the peak, then down to final_fraction of it.

    cosine   half a cosine down to the end
    linear   a line down to the end
    wsd      stays at the peak, then a line down over the last part of the run (arXiv 2404.06395)
    wsd_s    wsd several times: the run is cut into periods that end at 1, 1/2, 1/4 … of its steps, the rate goes down
             at the end of each and is back at the peak with the next step (arXiv 2410.05192). The checkpoint at the
             end of a period is what a run of so many steps would have given, so that one run yields several points

The part in which wsd goes down is `decay_fraction` of the run; where that is 0, the last phase of the MIXTURE, so that
rate and mixture anneal together, and a fifth of the run where it has one phase. In wsd_s it is that part of each
period. A warm-up is never longer than the first period; where warmup_steps is null, it is a tenth of that, and at most
20 steps: in a run of few steps no more of them are given to it.
"""

import math

from train.config import OptimSettings

DECAY_FRACTION = 0.2
WARMUP_FRACTION, WARMUP_STEPS = 0.1, 20  # of the first period, and at most


def period_ends(steps: int, settings: OptimSettings) -> list[int]:
    """Steps after which the rate has gone down, the end of the run among them; checkpoints there are kept."""
    periods = settings.periods if settings.schedule == "wsd_s" else 1
    return sorted({max(1, steps >> n) for n in range(periods)})


def decay_steps(period: int, settings: OptimSettings, last_phase: int) -> int:
    """Steps over which wsd and wsd_s go down at the end of a period of so many steps."""
    if settings.schedule == "wsd" and last_phase and not settings.decay_fraction:
        return last_phase
    return max(1, round((settings.decay_fraction or DECAY_FRACTION) * period))


def learning_rate(step: int, steps: int, settings: OptimSettings, last_phase: int = 0) -> float:
    """Of step 0 <= step < steps. last_phase: steps of the mixture's last phase, 0 where it has one phase."""
    ends = period_ends(steps, settings)
    asked = settings.warmup_steps
    if asked is None:
        asked = min(WARMUP_STEPS, round(WARMUP_FRACTION * ends[0]))
    warmup = min(asked, ends[0])
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    start = max((end for end in ends if end <= step), default=0)
    end = next(end for end in ends if step < end)
    top = max(start, warmup)  # the first step at the peak, then the last one
    if settings.schedule in ("wsd", "wsd_s"):
        top = max(top, end - 1 - decay_steps(end - start, settings, last_phase))
    progress = min(1.0, max(0.0, (step - top) / max(1, end - 1 - top)))
    height = 0.5 * (1 + math.cos(math.pi * progress)) if settings.schedule == "cosine" else 1 - progress
    low = settings.final_fraction
    return settings.learning_rate * (low + (1 - low) * height)
