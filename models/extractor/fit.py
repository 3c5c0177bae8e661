"""Training of the block classifier: linear weights, then two stages of boosted trees.

    pages, truth --labels--> share of main text and weight of every block
    names, words of blocks --logistic regression--> linear weights           one model a fold, and one of all
    rows (with the weights of other folds) --LightGBM--> first stage
    rows (with what first stages of other folds said) --LightGBM--> second stage

What a stage reads of the stage before always comes from a model that never saw the page's domain: a model looks
better on pages that it was trained on, and the next stage would learn to trust it too much. Rows come from the code
that extraction runs. The same pages and versions give the same bytes.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from curate import kernels
from models.extractor.export import model_file, quantized
from models.extractor.labels import label
from models.extractor.truth import Page, domain, fold, pages

NAME_SLOTS, WORD_SLOTS = 1 << 14, 1 << 15

LEFT_OUT = frozenset({"daniel"})
"""Sources that are not trained on: DAnIEL's labels stand in a GPL repository, and it is the out-of-domain test."""

LINEAR = {"max_iter": 40, "tol": 1e-3}
NAME_C, WORD_C = 0.02, 0.05
TREES: dict[str, Any] = {
    "objective": "cross_entropy", "num_leaves": 28, "max_depth": 6, "max_bin": 63,
    "bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.3, "lambda_l2": 10,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "use_missing": False, "seed": 1, "verbose": -1,
}  # fmt: skip
FIRST = {**TREES, "learning_rate": 0.08, "min_data_in_leaf": 60}
SECOND = {**TREES, "learning_rate": 0.06, "min_data_in_leaf": 80}
FIRST_TREES, SECOND_TREES = 200, 150

MAX_PAGE_WEIGHT = 4.0
"""A page counts at most this much more than one whose every word is main text."""
SEGMENTS_WEIGHT = 0.6
DOMAIN_PAGES = 9
"""Of a domain of n pages more than this, each counts sqrt(9 / n): a site must not teach its own template."""
WCXB_WEIGHT = 1.5


@dataclass
class Corpus:
    """Pages with a truth, their blocks one after the other, and what is known about each block.

    `share` is float32 [blocks], -1 where nothing is known; `weight` float32 [blocks], 0 there.
    """

    pages: list[Page]
    bytes: pa.LargeBinaryArray
    charsets: pa.StringArray
    first_block: np.ndarray
    folds: np.ndarray
    share: np.ndarray
    weight: np.ndarray
    names: sparse.csr_matrix
    words: sparse.csr_matrix

    @property
    def fold_of_block(self) -> np.ndarray:
        return np.repeat(self.folds, np.diff(self.first_block))

    def only(self, chosen: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """The bytes and charsets of the pages that are chosen (bool [pages])."""
        return self.bytes.filter(pa.array(chosen)), self.charsets.filter(pa.array(chosen))


def load(folders: Sequence[Path], without: frozenset[str], folds: int) -> Corpus:
    """Every page with a truth of the folders; those of sources in `without` get no labels."""
    found = [page for folder in folders for page in pages(folder) if page.truth]
    data = pa.array([page.html for page in found], pa.large_binary())
    charsets = pa.array([page.charset or "" for page in found], pa.string())
    counts, texts, names, words = kernels.html_blocks(data, charsets)
    first_block = np.concatenate([[0], np.cumsum(counts.to_numpy())])
    share = np.full(len(texts), -1, np.float32)
    weight = np.zeros(len(texts), np.float32)
    of_domain = Counter(domain(page.url) for page in found if page.source not in without)
    for at, page in enumerate(found):
        blocks = slice(first_block[at], first_block[at + 1])
        labels = None
        if page.source not in without:
            labels = label(page, texts[blocks.start : blocks.stop].to_pylist())
        if labels is None:
            continue
        share[blocks] = labels.share
        weight[blocks] = _weights(labels.words, labels.share, labels.whole)
        weight[blocks] *= min(1.0, np.sqrt(DOMAIN_PAGES / of_domain[domain(page.url)]))
        if page.source.startswith("wcxb"):
            weight[blocks] *= WCXB_WEIGHT
    return Corpus(
        pages=found,
        bytes=data,
        charsets=charsets,
        first_block=first_block,
        folds=np.array([fold(page.url, folds) for page in found]),
        share=share,
        weight=weight,
        names=_counts(names, NAME_SLOTS),
        words=_counts(words, WORD_SLOTS),
    )


def _weights(words: np.ndarray, share: np.ndarray, whole: bool) -> np.ndarray:
    """What each block of a page counts: errors are counted in words, as F1 counts them."""
    if not whole:
        known = np.where(share >= 0, np.minimum(words, 60) + 3.0, 0.0)
        return known / max(known.sum(), 1.0) * SEGMENTS_WEIGHT
    relative = words / max((words * share).sum(), 40.0)
    relative /= max(relative.sum() / MAX_PAGE_WEIGHT, 1.0)
    return relative + 0.003


def _counts(lists: pa.LargeListArray, slots: int) -> sparse.csr_matrix:
    """How often each slot occurs in each list, at most 2: float32 [lists, slots]."""
    values = lists.values.to_numpy()
    matrix = sparse.csr_matrix(
        (np.ones(len(values), np.float32), values.astype(np.int32), lists.offsets.to_numpy()),
        shape=(len(lists), slots),
    )
    matrix.sum_duplicates()
    matrix.data = np.minimum(matrix.data, 2)
    return matrix


def fit_linear(corpus: Corpus, rows: np.ndarray) -> bytes:
    """The quantized weights of names and words, learned from these blocks."""
    importance = corpus.weight[rows] * len(rows) / corpus.weight[rows].sum()
    main = corpus.share[rows] > 0.5
    fitted = [
        LogisticRegression(C=c, **LINEAR).fit(matrix[rows], main, sample_weight=importance).coef_[0]
        for matrix, c in ((corpus.names, NAME_C), (corpus.words, WORD_C))
    ]
    return quantized(np.concatenate(fitted))


def fit_trees(rows: np.ndarray, corpus: Corpus, blocks: np.ndarray, settings: dict[str, Any], trees: int) -> Any:
    """A booster of the blocks `blocks`, whose features are in `rows` (float32 [all blocks, features])."""
    data = lightgbm.Dataset(rows[blocks], corpus.share[blocks], weight=corpus.weight[blocks], params=settings)
    return lightgbm.train(settings, data, trees)


@dataclass
class Fitted:
    """A model file for every fold, trained without it, and what training on everything needs."""

    models: list[bytes]
    first_rows: np.ndarray
    second_rows: np.ndarray


def fit_folds(corpus: Corpus, folds: int, say: Any = lambda words: None) -> Fitted:
    """A model for each fold, by the pages of the others."""
    fold_of_block = corpus.fold_of_block
    known = np.flatnonzero((corpus.share >= 0) & (corpus.weight > 0))
    others = [known[fold_of_block[known] != k] for k in range(folds)]
    linear = []
    for k in range(folds):
        linear.append(fit_linear(corpus, others[k]))
        say(f"linear weights without fold {k}")
    first_rows = _rows(corpus, linear, None)
    said = np.zeros(len(first_rows), np.float32)
    first = []
    for k in range(folds):
        first.append(fit_trees(first_rows, corpus, others[k], FIRST, FIRST_TREES))
        out = fold_of_block == k
        said[out] = first[k].predict(first_rows[out], num_threads=1)
        say(f"first stage without fold {k}")
    second_rows = _rows(corpus, linear, said)
    models = []
    for k in range(folds):
        second = fit_trees(second_rows, corpus, others[k], SECOND, SECOND_TREES)
        models.append(model_file(linear[k], first[k], second))
        say(f"second stage without fold {k}")
    return Fitted(models, first_rows, second_rows)


def _rows(corpus: Corpus, linear: list[bytes], said: np.ndarray | None) -> np.ndarray:
    """Features of all blocks (float32 [blocks, features]), each page's with the linear weights of its fold."""
    fold_of_block = corpus.fold_of_block
    rows = None
    for k, weights in enumerate(linear):
        within = fold_of_block == k
        spoken = None if said is None else pa.array(said[within])
        part = kernels.html_rows(*corpus.only(corpus.folds == k), linear=weights, said=spoken)
        part = part.to_numpy().reshape(within.sum(), -1)
        rows = np.empty((len(within), part.shape[1]), np.float32) if rows is None else rows
        rows[within] = part
    assert rows is not None
    return rows


def fit_all(corpus: Corpus, fitted: Fitted) -> bytes:
    """The model of all pages; what its stages read of each other still comes from the folds."""
    known = np.flatnonzero((corpus.share >= 0) & (corpus.weight > 0))
    first = fit_trees(fitted.first_rows, corpus, known, FIRST, FIRST_TREES)
    second = fit_trees(fitted.second_rows, corpus, known, SECOND, SECOND_TREES)
    return model_file(fit_linear(corpus, known), first, second)


def texts_of_folds(corpus: Corpus, models: Iterable[bytes]) -> dict[str, str]:
    """The text of every page by the model that was trained without its fold."""
    texts: dict[str, str] = {}
    for k, model in enumerate(models):
        chosen = corpus.folds == k
        extracted = kernels.extract_html(*corpus.only(chosen), model=model)
        ids = [page.record_id for page, within in zip(corpus.pages, chosen, strict=True) if within]
        texts.update(zip(ids, extracted.field("text").to_pylist(), strict=True))
    return texts


def cross_validate(
    crawl: Path, more: Path | None = None, without: frozenset[str] = LEFT_OUT, folds: int = 5
) -> dict[str, str]:
    """Out-of-fold texts of every page with a truth in both folders; folds are made by registered domain."""
    corpus = load([crawl] + ([more] if more else []), without, folds)
    fitted = fit_folds(corpus, folds, lambda words: print(words, file=sys.stderr, flush=True))
    return texts_of_folds(corpus, fitted.models)
