"""Attacks that tell training text from other text by a model's probabilities; a higher score says training text.

    loss       mean ln p a token
    zlib       ln p of the text for each byte that zlib takes for it (Carlini 2021)
    min_k      mean ln p of the least likely fifth of the tokens (Min-K%, arXiv 2310.16789)
    min_k_pp   the same of (ln p - mean) / deviation over the vocabulary (Min-K%++, arXiv 2404.02936)
    reference  mean ln p less that of a model that never saw the text

Members are spans that training read, others spans of held-out documents. AUC is the chance that a member's score is the
higher one; the true positive rate is that at the limit which 1 % of the others exceed.
"""

from collections.abc import Mapping

import numpy as np

from train.audit.forced import Forced
from train.intervals import Estimate, Floats, Ints, auc, resampled, true_positives

SHARE = 0.2


def lowest(values: Floats, share: float = SHARE) -> Floats:
    """By row the mean of its lowest `share`, of one value at least."""
    k = max(1, round(share * values.shape[1]))
    return np.asarray(np.partition(values, k - 1, axis=1)[:, :k].mean(axis=1))


def scores(forced: Forced, zlib_bytes: Ints, reference: Forced | None) -> dict[str, Floats]:
    """By attack the score of every span."""
    log_p = -forced.nats.astype(np.float64)
    found = {
        "loss": log_p.mean(axis=1),
        "zlib": log_p.sum(axis=1) / np.maximum(zlib_bytes, 1),
        "min_k": lowest(log_p),
        "min_k_pp": lowest(forced.standard.astype(np.float64)),
    }
    if reference is not None:
        found["reference"] = log_p.mean(axis=1) + reference.nats.astype(np.float64).mean(axis=1)
    return found


def attack(
    members: Mapping[str, Floats], others: Mapping[str, Floats], clusters: Ints
) -> dict[str, dict[str, Estimate]]:
    """By attack `auc` and `tpr_at_1_percent`."""
    return {
        name: {
            "auc": resampled(auc, values, others[name], clusters),
            "tpr_at_1_percent": resampled(true_positives, values, others[name], clusters),
        }
        for name, values in members.items()
    }
