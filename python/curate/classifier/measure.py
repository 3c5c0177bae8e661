"""How good a classifier is on examples that it has not seen: ranks, precision and recall, confusion."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of examples kept, in the curve


def auc(good: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a good example scores higher than a bad one, equal scores counted half; NaN without either."""
    n_good, n_bad = int(good.sum()), int((~good).sum())
    if not n_good or not n_bad:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][good].sum() - n_good * (n_good + 1) / 2) / (n_good * n_bad))


def curve(good: np.ndarray, scores: np.ndarray) -> list[dict[str, float]]:
    """The threshold that keeps each of SHARES of the examples, and precision and recall there."""
    descending = np.sort(scores)[::-1]
    return [at(good, scores, float(descending[max(0, round(share * len(scores)) - 1)])) for share in SHARES]


def at(good: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """What a threshold keeps: its share of the examples, the share of good ones in it, its share of the good ones."""
    kept = scores >= threshold
    right = int((kept & good).sum())
    return {
        "threshold": threshold,
        "kept": float(kept.mean()),
        "precision": right / max(1, int(kept.sum())),
        "recall": right / max(1, int(good.sum())),
    }


def threshold_for(good: np.ndarray, scores: np.ndarray, keep: float | None, precision: float | None) -> float | None:
    """The threshold that keeps a share of the examples, or the lowest one with a precision; None where there is none.

    Without either it is 0.5.
    """
    if keep is not None:
        return float(np.sort(scores)[::-1][max(0, round(keep * len(scores)) - 1)])
    if precision is None:
        return 0.5
    order = np.argsort(-scores, kind="stable")
    shares = np.cumsum(good[order]) / np.arange(1, len(order) + 1)
    # A threshold keeps all examples of one score: only the last of them counts.
    last = np.append(scores[order][1:] < scores[order][:-1], True)
    reached = np.flatnonzero((shares >= precision) & last)
    return float(scores[order][reached[-1]]) if len(reached) else None


def confusion(labels: Sequence[str], true: np.ndarray, said: np.ndarray) -> dict[str, Any]:
    """Accuracy, the table of labels (true) by labels (said), and precision and recall of each."""
    table = np.zeros((len(labels), len(labels)), int)
    np.add.at(table, (true, said), 1)
    hits = np.diag(table)
    return {
        "accuracy": float(hits.sum() / max(1, table.sum())),
        "confusion": table.tolist(),
        "precision": (hits / np.maximum(1, table.sum(axis=0))).round(4).tolist(),
        "recall": (hits / np.maximum(1, table.sum(axis=1))).round(4).tolist(),
    }
