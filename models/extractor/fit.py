"""Training of the block classifier: linear weights, then two stages of boosted trees.

    pages, truth --labels--> share of main text and weight of every block
    names, words of blocks --logistic regression--> linear weights           one model a fold, and one of all
    tokens of pages --logistic regression--> weights of the kinds of pages, one table a fold, and one of all
    rows (with the weights of other folds) --LightGBM--> first stage
    rows (with what first stages of other folds said) --LightGBM--> second stage

What a stage reads of the stage before always comes from a model that never saw the page's domain: a model looks
better on pages that it was trained on, and the next stage would learn to trust it too much. Rows come from the code
that extraction runs. The same pages and versions give the same bytes.
"""

import struct
import sys
import zlib
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
from models.extractor import documentation
from models.extractor.export import kind_table, model_file, table
from models.extractor.labels import label
from models.extractor.truth import KINDS, Page, domain, fold, pages

LEFT_OUT = frozenset({"daniel"})
"""Sources that are not trained on: DAnIEL's labels stand in a GPL repository, and it is the out-of-domain test."""

NOTHING = struct.pack("<I", 0)
"""A table of no weights."""
LINEAR = {"max_iter": 40, "tol": 1e-3}
NAME_C, WORD_C = 0.02, 0.05
KIND_C = 0.1
KIND_DOMAINS, KIND_TOKENS = 4, 1400
"""Tokens of the kinds of pages: of how many domains, and how many at most."""
EVERY_PAGE = 1
"""The token that every page has; the constants of the regression are its weights."""
NAME_DOMAINS, WORD_DOMAINS = 3, 6
"""A name or a word of fewer domains has no weight: it would say which site a page is of."""
TREES: dict[str, Any] = {
    "objective": "cross_entropy", "num_leaves": 28, "max_depth": 6, "max_bin": 63,
    "bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.25, "lambda_l2": 10,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "use_missing": False, "seed": 1, "verbose": -1,
}  # fmt: skip
FIRST = {**TREES, "learning_rate": 0.1, "min_data_in_leaf": 60}
SECOND = {**TREES, "learning_rate": 0.08, "min_data_in_leaf": 80}
FIRST_TREES, SECOND_TREES = 160, 120
SEEDS = (1, 2, 3)
"""A stage is the mean of this many boosters, which draw other blocks and features for every tree: what one of them
takes for a rule by chance the others do not."""

BLIND = (0.25, 0.15, 0.1)
"""Shares of the pages whose words, whose names, or both of which weigh nothing in training, so that neither an unknown
language nor a site that names its elements like nobody else is a surprise (and no tree trusts one weight too much)."""

MAX_PAGE_WEIGHT = 4.0
"""A page counts at most this much more than one whose every word is main text."""
SEGMENTS_WEIGHT = 1.5
DOMAIN_PAGES = 9
"""Of a domain of n pages more than this, each counts sqrt(9 / n): a site must not teach its own template."""
WCXB_WEIGHT = 1.5


@dataclass
class Tokens:
    """Which tokens the blocks have: float32 [blocks, tokens], counts of at most 2, and the tokens' hashes."""

    counts: sparse.csr_matrix
    hashes: np.ndarray


@dataclass
class Corpus:
    """Pages with a truth, their blocks one after the other, and what is known about each block.

    `share` is float32 [blocks], -1 where nothing is known; `weight` float32 [blocks], 0 there. `blind` (int64
    [pages]) says whose words (1), names (2) or both (3) weigh nothing, `folder` (int64
    [pages]) which folder a page is from.
    """

    pages: list[Page]
    folder: np.ndarray
    bytes: pa.LargeBinaryArray
    charsets: pa.StringArray
    first_block: np.ndarray
    folds: np.ndarray
    blind: np.ndarray
    share: np.ndarray
    weight: np.ndarray
    names: "Tokens"
    words: "Tokens"
    kinds: "Tokens"
    """What each page has: its rows are pages."""
    kind: np.ndarray
    """int64 [pages]: the number of its kind in KINDS, -1 where nobody says."""

    @property
    def fold_of_block(self) -> np.ndarray:
        return np.repeat(self.folds, np.diff(self.first_block))

    def of_folder(self, number: int) -> list[Page]:
        """The pages of one folder."""
        return [page for page, folder in zip(self.pages, self.folder, strict=True) if folder == number]

    def only(self, chosen: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """The bytes and charsets of the pages that are chosen (bool [pages])."""
        return self.bytes.filter(pa.array(chosen)), self.charsets.filter(pa.array(chosen))


def load(folders: Sequence[Path], without: frozenset[str], folds: int) -> Corpus:
    """Every page with a truth of the folders, and documentation; those of sources in `without` get no labels."""
    crawled = [[page for page in pages(folder) if page.truth] for folder in folders]
    return corpus_of([*crawled, list(documentation.pages())], without, folds)


def corpus_of(by_folder: Sequence[list[Page]], without: frozenset[str], folds: int) -> Corpus:
    """The pages of some folders as a corpus."""
    found = [page for within in by_folder for page in within]
    data = pa.array([page.html for page in found], pa.large_binary())
    charsets = pa.array([page.charset or "" for page in found], pa.string())
    counts, texts, names, words, kinds = kernels.html_blocks(data, charsets)
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
    # Sources that are left out have one domain together, so that no token is known because of them.
    numbers: dict[str, int] = {}
    own = [domain(page.url) if page.source not in without else "" for page in found]
    of_page = np.array([numbers.setdefault(name, len(numbers)) for name in own])
    domain_of_block = np.repeat(of_page, np.diff(first_block))
    return Corpus(
        pages=found,
        folder=np.repeat(np.arange(len(by_folder)), [len(within) for within in by_folder]),
        bytes=data,
        charsets=charsets,
        first_block=first_block,
        folds=np.array([fold(page.url, folds) for page in found]),
        blind=np.array([_blind(page) for page in found]),
        share=share,
        weight=weight,
        names=_tokens(names, domain_of_block, NAME_DOMAINS),
        words=_tokens(words, domain_of_block, WORD_DOMAINS),
        kinds=_tokens(kinds, of_page, KIND_DOMAINS),
        kind=np.array([KINDS.index(page.page_type) if page.page_type in KINDS else -1 for page in found]),
    )


def _blind(page: Page) -> int:
    """0, or which weights a page has to do without in training: 1 those of words, 2 those of names, 3 both."""
    drawn = zlib.crc32(page.record_id.encode()) / 2**32
    return (int(np.searchsorted(np.cumsum(BLIND), drawn, side="right")) + 1) % (len(BLIND) + 1)


def _weights(words: np.ndarray, share: np.ndarray, whole: bool) -> np.ndarray:
    """What each block of a page counts: errors are counted in words, as F1 counts them."""
    if not whole:
        known: np.ndarray = np.where(share >= 0, np.minimum(words, 60) + 3.0, 0.0)
        return np.asarray(known / max(known.sum(), 1.0) * SEGMENTS_WEIGHT)
    relative = words / max((words * share).sum(), 40.0)
    return np.asarray(relative / max(relative.sum() / MAX_PAGE_WEIGHT, 1.0) + 0.003)


def _tokens(lists: pa.LargeListArray, domain_of_block: np.ndarray, min_domains: int) -> Tokens:
    """The tokens that occur in blocks of `min_domains` domains or more."""
    offsets, values = lists.offsets.to_numpy(), lists.values.to_numpy()
    block_of = np.repeat(np.arange(len(lists)), np.diff(offsets))
    hashes, place = np.unique(values, return_inverse=True)
    pairs = np.unique(place.astype(np.int64) * (domain_of_block.max() + 1) + domain_of_block[block_of])
    domains = np.bincount(pairs // (domain_of_block.max() + 1), minlength=len(hashes))
    kept = domains >= min_domains
    column = np.cumsum(kept) - 1
    within = kept[place]
    counts = sparse.csr_matrix(
        (np.ones(within.sum(), np.float32), (block_of[within], column[place[within]])), shape=(len(lists), kept.sum())
    )
    counts.sum_duplicates()
    counts.data = np.minimum(counts.data, 2)
    return Tokens(counts, hashes[kept])


def fit_linear(corpus: Corpus, rows: np.ndarray) -> tuple[bytes, bytes]:
    """The tables of names and of words, learned from these blocks."""
    importance = corpus.weight[rows] * len(rows) / corpus.weight[rows].sum()
    main = corpus.share[rows] > 0.5
    names, words = (
        table(
            tokens.hashes,
            LogisticRegression(C=c, **LINEAR).fit(tokens.counts[rows], main, sample_weight=importance).coef_[0],
        )
        for tokens, c in ((corpus.names, NAME_C), (corpus.words, WORD_C))
    )
    return names, words


def fit_kinds(corpus: Corpus, chosen: np.ndarray) -> bytes:
    """The table of the kinds of pages, learned from the chosen pages (bool [pages]) that have one."""
    pages = np.flatnonzero(chosen & (corpus.kind >= 0))
    if len(np.unique(corpus.kind[pages])) < 2:
        return NOTHING
    fitted = _kind_regression().fit(corpus.kinds.counts[pages] > 0, corpus.kind[pages])
    weights = np.zeros((len(corpus.kinds.hashes), len(KINDS)))
    weights[:, fitted.classes_] = fitted.coef_.T
    # A kind that no page has is never the most probable.
    every = corpus.kinds.hashes == EVERY_PAGE
    constants = weights[every][0][fitted.classes_] + fitted.intercept_
    weights[every] = -2.0
    weights[np.ix_(every, fitted.classes_)] = constants
    return kind_table(corpus.kinds.hashes, weights, KIND_TOKENS)


def _kind_regression() -> LogisticRegression:
    """Kinds count alike, however many pages they have: half of the labelled pages are articles."""
    return LogisticRegression(C=KIND_C, max_iter=60, tol=1e-3, class_weight="balanced")


def fit_trees(rows: np.ndarray, corpus: Corpus, blocks: np.ndarray, settings: dict[str, Any], trees: int) -> list[Any]:
    """Boosters of the blocks `blocks`, whose features are in `rows` (float32 [all blocks, features])."""
    data = lightgbm.Dataset(rows[blocks], corpus.share[blocks], weight=corpus.weight[blocks], params=settings)
    return [lightgbm.train({**settings, "seed": seed}, data, trees) for seed in SEEDS]


def probabilities(boosters: Sequence[Any], rows: np.ndarray) -> np.ndarray:
    """What the mean of the boosters says of rows: float64 [rows], 0..1."""
    raw = [booster.predict(rows, raw_score=True, num_threads=1) for booster in boosters]
    return np.asarray(1 / (1 + np.exp(-np.mean(raw, axis=0))))


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
    tables = []
    for k in range(folds):
        tables.append((*fit_linear(corpus, others[k]), fit_kinds(corpus, corpus.folds != k)))
        say(f"linear weights without fold {k}")
    first_rows = _rows(corpus, tables, None)
    said = np.zeros(len(first_rows), np.float32)
    first = []
    for k in range(folds):
        first.append(fit_trees(first_rows, corpus, others[k], FIRST, FIRST_TREES))
        out = fold_of_block == k
        said[out] = probabilities(first[k], first_rows[out])
        say(f"first stage without fold {k}")
    second_rows = _rows(corpus, tables, said)
    models = []
    for k in range(folds):
        second = fit_trees(second_rows, corpus, others[k], SECOND, SECOND_TREES)
        models.append(model_file(b"".join(tables[k]), first[k], second))
        say(f"second stage without fold {k}")
    return Fitted(models, first_rows, second_rows)


def _rows(corpus: Corpus, tables: list[tuple[bytes, bytes, bytes]], said: np.ndarray | None) -> np.ndarray:
    """Features of all blocks (float32 [blocks, features]), each page's with the tables of its fold."""
    rows = None
    for k, (names, words, kinds) in enumerate(tables):
        for blind, linear in enumerate((names + words, names + NOTHING, NOTHING + words, NOTHING * 2)):
            if not (corpus.blind == blind).any():
                continue
            chosen = (corpus.folds == k) & (corpus.blind == blind)
            within = np.repeat(chosen, np.diff(corpus.first_block))
            spoken = None if said is None else pa.array(said[within])
            part = kernels.html_rows(*corpus.only(chosen), tables=linear + kinds, said=spoken)
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
    tables = (*fit_linear(corpus, known), fit_kinds(corpus, np.ones(len(corpus.pages), bool)))
    return model_file(b"".join(tables), first, second)


def extract_folds(
    corpus: Corpus, models: Iterable[bytes], policies: Sequence[str] = ("balanced",)
) -> dict[str, dict[str, Any]]:
    """What the model that was trained without its fold makes of every page: the columns of kernels.extract_html."""
    rows: dict[str, dict[str, Any]] = {}
    for k, model in enumerate(models):
        rows |= extract(corpus, corpus.folds == k, model, policies)
    return rows


def extract(
    corpus: Corpus, chosen: np.ndarray, model: bytes, policies: Sequence[str] = ("balanced",)
) -> dict[str, dict[str, Any]]:
    """What a model makes of the chosen pages (bool [pages]): the columns of kernels.extract_html."""
    extracted = kernels.extract_html(*corpus.only(chosen), policies=policies, model=model)
    ids = [page.record_id for page, within in zip(corpus.pages, chosen, strict=True) if within]
    return dict(zip(ids, extracted.to_pylist(), strict=True))


def texts_of_folds(corpus: Corpus, models: Iterable[bytes]) -> dict[str, str]:
    """The text of every page by the model that was trained without its fold."""
    return {name: row["text"] for name, row in extract_folds(corpus, models).items()}


def cross_validate(
    crawl: Path, more: Path | None = None, without: frozenset[str] = LEFT_OUT, folds: int = 5
) -> dict[str, str]:
    """Out-of-fold texts of every page with a truth in both folders; folds are made by registered domain."""
    corpus = load([crawl] + ([more] if more else []), without, folds)
    fitted = fit_folds(corpus, folds, lambda words: print(words, file=sys.stderr, flush=True))
    return texts_of_folds(corpus, fitted.models)
